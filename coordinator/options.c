/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/options.h"

#include "coordinator/base/digest.h"
#include "coordinator/options_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 256 << 10, DSN_BYTES_MAX = 16 << 10, SECTION_MAX = 256 };

const struct option_row option_rows[] = {
#define X(field, name, type, def, min, max, unit, sentence) \
	{ name, OPTION_##type, def, min, max, unit, sentence, offsetof(struct options, field) },
	OPTIONS(X)
#undef X
};

const size_t option_count = sizeof option_rows / sizeof option_rows[0];

/* The sources, weakest first: a stronger one overwrites. */
enum source { SOURCE_NONE, SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct reading {
	struct options *o;
	enum source     from[sizeof option_rows / sizeof option_rows[0]];
	struct err     *err;
};

/* ---- values ------------------------------------------------------------------------------- */

bool option_bytes(struct str text, uint64_t *out)
{
	static const struct {
		const char *name;
		unsigned    shift;
	} units[] = { { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "", 0 } };
	size_t digits = 0;

	while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
		digits++;
	if (!text_to_u64((struct str){ text.p, digits }, out))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (str_is((struct str){ text.p + digits, text.n - digits }, units[i].name)) {
			if (*out > UINT64_MAX >> units[i].shift)
				return false;
			*out <<= units[i].shift;
			return true;
		}
	return false;
}

const char *option_range(const struct option_row *row, uint64_t v, char out[32])
{
	switch (row->type) {
	case OPTION_MS:
		return text_of_ms((int64_t)v, out);
	case OPTION_BYTES:
		if (v >= 1 << 20 && v % (1 << 20) == 0)
			snprintf(out, 32, "%lluMiB", (unsigned long long)(v >> 20));
		else if (v >= 1 << 10 && v % (1 << 10) == 0)
			snprintf(out, 32, "%lluKiB", (unsigned long long)(v >> 10));
		else
			snprintf(out, 32, "%llu", (unsigned long long)v);
		return out;
	case OPTION_TEXT: case OPTION_WORD: case OPTION_U32:
		break;
	}
	snprintf(out, 32, "%llu", (unsigned long long)v);
	return out;
}

/* Is value one of the words of "a|b|c"? */
static bool is_word(const char *words, struct str value)
{
	while (*words != '\0') {
		size_t n = strcspn(words, "|");

		if (str_eq((struct str){ words, n }, value))
			return true;
		words += n + (words[n] == '|');
	}
	return false;
}

static bool refuse(struct reading *r, const struct option_row *row, const char *source,
                   struct str value)
{
	char low[32], high[32];

	value.n = value.n > 60 ? 60 : value.n;
	if (row->type == OPTION_WORD)
		return err_set(r->err, ERR_INVALID, "%s: \"%.*s\" is not allowed; choose one of %s",
		               source, (int)value.n, value.p, row->unit);
	if (row->type == OPTION_TEXT)
		return err_set(r->err, ERR_INVALID, "%s: the text holds a NUL byte", source);
	return err_set(r->err, ERR_INVALID, "%s: \"%.*s\" is not allowed; give a %s from %s to %s",
	               source, (int)value.n, value.p, option_kind(row->type),
	               option_range(row, row->min, low), option_range(row, row->max, high));
}

const char *option_kind(enum option_type type)
{
	switch (type) {
	case OPTION_TEXT:  return "text";
	case OPTION_WORD:  return "word";
	case OPTION_U32:   return "number";
	case OPTION_MS:    return "duration (as 250ms, 10s, 5m)";
	case OPTION_BYTES: return "size (as 4096, 64KiB, 1MiB)";
	}
	return "";
}

static bool set_value(struct reading *r, const struct option_row *row, const char *source,
                      struct str value)
{
	void    *field = (char *)r->o + row->offset;
	int64_t  ms;
	uint64_t v = 0;

	switch (row->type) {
	case OPTION_WORD:
		if (!is_word(row->unit, value))
			return refuse(r, row, source, value);
		*(const char **)field = arena_str(&r->o->arena, value).p;
		return true;
	case OPTION_TEXT:
		if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
			return refuse(r, row, source, value);
		*(const char **)field = arena_str(&r->o->arena, value).p;
		return true;
	case OPTION_U32:
		if (!text_to_u64(value, &v) || v < row->min || v > row->max)
			return refuse(r, row, source, value);
		*(uint32_t *)field = (uint32_t)v;
		return true;
	case OPTION_MS:
		if (!text_to_ms(value, &ms) || (uint64_t)ms < row->min || (uint64_t)ms > row->max)
			return refuse(r, row, source, value);
		*(int64_t *)field = ms;
		return true;
	case OPTION_BYTES:
		if (!option_bytes(value, &v) || v < row->min || v > row->max)
			return refuse(r, row, source, value);
		*(uint64_t *)field = v;
		return true;
	}
	return false;
}

static const struct option_row *find_row(struct str name)
{
	for (size_t i = 0; i < option_count; i++)
		if (str_is(name, option_rows[i].name))
			return &option_rows[i];
	return NULL;
}

static size_t field_size(enum option_type type)
{
	switch (type) {
	case OPTION_TEXT: case OPTION_WORD: return sizeof(const char *);
	case OPTION_U32:                    return sizeof(uint32_t);
	case OPTION_MS:                     return sizeof(int64_t);
	case OPTION_BYTES:                  return sizeof(uint64_t);
	}
	return 0;
}

/* A value from a weaker source than the one there is still has to be right. */
static bool take(struct reading *r, const struct option_row *row, enum source from,
                 const char *source, struct str value)
{
	const size_t i = (size_t)(row - option_rows);
	char         kept[sizeof(uint64_t)];
	void        *field = (char *)r->o + row->offset;
	const size_t size = field_size(row->type);
	bool         weaker = from < r->from[i];

	memcpy(kept, field, size);
	if (!set_value(r, row, source, value))
		return false;
	if (weaker)
		memcpy(field, kept, size);
	else
		r->from[i] = from;
	return true;
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool take_command(struct reading *r, const char *word, bool *seen)
{
	static const struct {
		const char          *name;
		enum options_command command;
	} commands[] = {
		{ "run", OPTIONS_RUN }, { "migrate", OPTIONS_MIGRATE }, { "check", OPTIONS_CHECK }
	};

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (!*seen && strcmp(word, commands[i].name) == 0) {
			r->o->command = commands[i].command;
			*seen = true;
			return true;
		}
	return err_set(r->err, ERR_INVALID,
	               "\"%s\" is no command; there are: run (the default), migrate, check, token", word);
}

/* Alone, as in `sagad --chaos --dsn=…`: another night each time, and the log tells which. */
static bool draw_seed(struct reading *r, const struct option_row *row, const char *flag)
{
	uint32_t seed;
	char     text[16];

	digest_random(&seed, sizeof seed);
	snprintf(text, sizeof text, "%lu", (unsigned long)(seed > 0 ? seed : 1));
	return take(r, row, SOURCE_FLAG, flag, str_of(text));
}

static bool take_flag(struct reading *r, int argc, char **argv, int *at)
{
	const char              *flag = argv[*at];
	const char              *equals = strchr(flag, '=');
	const size_t             end = equals ? (size_t)(equals - flag) : strlen(flag);
	const struct str         name = { flag + 2, end - 2 };
	const struct option_row *row = find_row(name);
	char                     source[64];

	if (row == NULL)
		return err_set(r->err, ERR_INVALID, "--%.*s is no option; see sagad --help",
		               (int)name.n, name.p);
	if (equals == NULL && row->offset == offsetof(struct options, chaos) &&
	    (*at + 1 == argc || argv[*at + 1][0] < '0' || argv[*at + 1][0] > '9'))
		return draw_seed(r, row, flag);
	if (equals == NULL && *at + 1 == argc)
		return err_set(r->err, ERR_INVALID, "--%s needs a value: --%s=%s", row->name,
		               row->name, row->unit);
	snprintf(source, sizeof source, "--%s", row->name);
	return take(r, row, SOURCE_FLAG, source, str_of(equals ? equals + 1 : argv[++*at]));
}

static bool wants(int argc, char **argv, const char *a, const char *b)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], a) == 0 || strcmp(argv[i], b) == 0)
			return true;
	return false;
}

static bool read_flags(struct reading *r, int argc, char **argv)
{
	bool seen = false;

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
			if (!take_flag(r, argc, argv, &i))
				return false;
		} else if (!take_command(r, argv[i], &seen)) {
			return false;
		}
	return true;
}

/* ---- the environment ----------------------------------------------------------------------- */

void option_env_name(const struct option_row *row, char out[64])
{
	size_t n = (size_t)snprintf(out, 64, "SAGAD_%s", row->name);

	for (size_t i = 0; i < n; i++)
		if (out[i] == '.' || out[i] == '-')
			out[i] = '_';
		else if (out[i] >= 'a' && out[i] <= 'z')
			out[i] = (char)(out[i] - 'a' + 'A');
}

static bool read_env(struct reading *r, char **env)
{
	for (; env != NULL && *env != NULL; env++) {
		const char *equals = strchr(*env, '=');

		/* Other programs have SAGAD_ names, too (SAGAD_TEST_DSN). */
		if (equals == NULL || strncmp(*env, "SAGAD_", 6) != 0)
			continue;
		for (size_t i = 0; i < option_count; i++) {
			char name[64];

			option_env_name(&option_rows[i], name);
			if (str_is((struct str){ *env, (size_t)(equals - *env) }, name) &&
			    !take(r, &option_rows[i], SOURCE_ENV, name, str_of(equals + 1)))
				return false;
		}
	}
	return true;
}

/* ---- files --------------------------------------------------------------------------------- */

bool options_file(const char *path, size_t max, struct arena *arena, struct str *out,
                  struct err *err)
{
	char   *bytes = arena_alloc(arena, max + 1);
	size_t  n = 0;
	ssize_t got;
	int     fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, ERR_INVALID, "%s cannot be read: %s", path, strerror(errno));
	while ((got = read(fd, bytes + n, max + 1 - n)) > 0)
		n += (size_t)got;
	if (got < 0)
		err_set(err, ERR_INVALID, "%s cannot be read: %s", path, strerror(errno));
	close(fd);
	if (got < 0)
		return false;
	if (n > max)
		return err_set(err, ERR_INVALID, "%s is larger than %zu bytes", path, max);
	while (n > 0 && strchr(" \t\r\n", bytes[n - 1]) != NULL && bytes[n - 1] != '\0')
		n--;
	bytes[n] = '\0';
	*out = (struct str){ bytes, n };
	return true;
}

static struct str trimmed(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

static bool take_line(struct reading *r, const char *path, unsigned number, struct str line)
{
	const char              *equals;
	const struct option_row *row;
	struct str               name, value;
	char                     source[160];

	line = trimmed(line);
	if (line.n == 0 || line.p[0] == '#')
		return true;
	snprintf(source, sizeof source, "%.140s:%u", path, number);
	equals = memchr(line.p, '=', line.n);
	if (equals == NULL)
		return err_set(r->err, ERR_INVALID, "%s: a line is `name = value`, or begins with #",
		               source);
	name = trimmed((struct str){ line.p, (size_t)(equals - line.p) });
	value = trimmed((struct str){ equals + 1, line.n - (size_t)(equals - line.p) - 1 });
	row = find_row(name);
	if (row == NULL || strcmp(row->name, "config") == 0)
		return err_set(r->err, ERR_INVALID,
		               "%s: \"%.*s\" is no option of a file; see sagad --help", source,
		               (int)(name.n > 60 ? 60 : name.n), name.p);
	return take(r, row, SOURCE_FILE, source, value);
}

static bool read_config(struct reading *r, const char *path)
{
	struct str text;
	unsigned   number = 0;

	if (!options_file(path, CONFIG_BYTES_MAX, &r->o->arena, &text, r->err))
		return false;
	while (text.n > 0) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t      n = end != NULL ? (size_t)(end - text.p) : text.n;

		if (!take_line(r, path, ++number, (struct str){ text.p, n }))
			return false;
		n += end != NULL;
		text = (struct str){ text.p + n, text.n - n };
	}
	return true;
}

static bool read_dsn_file(struct reading *r)
{
	struct str dsn;

	if (r->o->dsn_file[0] == '\0')
		return true;
	if (r->o->dsn[0] != '\0')
		return err_set(r->err, ERR_INVALID, "dsn and dsn-file are both given; keep one");
	if (!options_file(r->o->dsn_file, DSN_BYTES_MAX, &r->o->arena, &dsn, r->err))
		return false;
	r->o->dsn = dsn.p;
	return true;
}

/* ---- all of it ----------------------------------------------------------------------------- */

bool options_read(struct options *o, int argc, char **argv, char **env, struct err *err)
{
	struct reading r = { .o = o, .err = err };

	*o = (struct options){ .command = OPTIONS_RUN };
	for (size_t i = 0; i < option_count; i++)
		if (!take(&r, &option_rows[i], SOURCE_DEFAULT, option_rows[i].name,
		          str_of(option_rows[i].def)))
			goto failed;
	if (wants(argc, argv, "--help", "-h")) {
		o->command = OPTIONS_HELP;
		return true;
	}
	if (wants(argc, argv, "--version", "-V")) {
		o->command = OPTIONS_VERSION;
		return true;
	}
	if (read_flags(&r, argc, argv) && read_env(&r, env) &&
	    (o->config[0] == '\0' || read_config(&r, o->config)) && read_dsn_file(&r))
		return true;
failed:
	options_fini(o);
	return false;
}

void options_fini(struct options *o)
{
	arena_fini(&o->arena);
}
