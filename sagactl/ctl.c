/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/ctl.h"

#include "sagactl/verbatim.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_DEFAULT = 50, LIST_MAX = 1000000, PAGE_MAX = 200, TYPED_MAX = 1100 };

/* ---- printing ---------------------------------------------------------------------------- */

static void write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

void ctl_flush(struct ctl *c)
{
	write_all(STDOUT_FILENO, c->out.p, c->out.n);
	buf_clear(&c->out);
}

/* One answer for each word: with --json they are one array. */
static bool is_array(const struct ctl *c)
{
	const char *words = command_fact(c->args.cmd)->args;

	return c->args.word_n > 1 && (strcmp(words, "GID...") == 0 || strcmp(words, "FILE...") == 0);
}

void ctl_raw(struct ctl *c)
{
	struct str body = buf_view(&c->answer.body);

	while (body.n > 0 && body.p[body.n - 1] == '\n')
		body.n--;
	if (is_array(c))
		buf_cstr(&c->out, c->raw_n > 0 ? ",\n" : "[");
	buf_str(&c->out, body);
	if (!is_array(c))
		buf_char(&c->out, '\n');
	c->raw_n++;
}

void ctl_end_raw(struct ctl *c)
{
	if (is_array(c) && c->raw_n > 0)
		buf_cstr(&c->out, "]\n");
}

void ctl_say(struct ctl *c, const char *fmt, ...)
{
	char       text[2048];
	struct buf line = { 0 };
	va_list    ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_cstr(&line, "sagactl: ");
	text_clean(&line, str_of(text));
	buf_char(&line, '\n');
	ctl_flush(c);
	write_all(STDERR_FILENO, line.p, line.n);
	buf_fini(&line);
}

enum exit_status ctl_usage(const struct err *err)
{
	struct buf line = { 0 };

	buf_cstr(&line, "sagactl: ");
	text_clean(&line, str_of(err->text));
	buf_char(&line, '\n');
	write_all(STDERR_FILENO, line.p, line.n);
	buf_fini(&line);
	return EXIT_USAGE;
}

bool ctl_has(const struct ctl *c, enum flag f)
{
	return args_has(&c->args, f);
}

enum exit_status ctl_duration(struct ctl *c, enum flag f, int64_t by_default, int64_t *ms)
{
	const char *text = c->args.values[f];
	struct err  err;

	*ms = by_default;
	if (!text || text_to_ms(str_of(text), ms))
		return EXIT_DONE;
	err_set(&err, ERR_INVALID, "--%s: a duration like 20s or 5m is wanted, not `%s`", flag_fact(f)->name, text);
	return ctl_usage(&err);
}

enum exit_status ctl_number(struct ctl *c, enum flag f, uint64_t by_default, uint64_t *n)
{
	const char *text = c->args.values[f];
	struct err  err;

	*n = by_default;
	if (!text || (text_to_u64(str_of(text), n) && *n > 0))
		return EXIT_DONE;
	err_set(&err, ERR_INVALID, "--%s: a whole number from 1 on is wanted, not `%s`", flag_fact(f)->name, text);
	return ctl_usage(&err);
}

/* ---- looking --------------------------------------------------------------------------------- */

json_t *look(const json_t *node, const char *name)
{
	json_t *found = json_object_get(node, name);

	return json_is_null(found) ? NULL : found;
}

struct str text_of_json(const json_t *node)
{
	if (json_is_string(node))
		return (struct str){ json_string_value(node), json_string_length(node) };
	return json_is_boolean(node) ? str_of(json_is_true(node) ? "true" : "false") : STR("");
}

struct str look_text(const json_t *node, const char *name)
{
	return text_of_json(look(node, name));
}

int64_t look_time(const json_t *node, const char *name)
{
	int64_t ms = 0;

	return text_to_time(look_text(node, name), &ms) ? ms : 0;
}

bool look_true(const json_t *node, const char *name)
{
	return json_is_true(look(node, name));
}

bool look_paused(const json_t *node)
{
	const json_t *found = look(node, "paused");

	return found && !json_is_false(found);
}

uint64_t look_number(const json_t *node, const char *name)
{
	uint64_t n = 0;

	return text_to_u64(look_text(node, name), &n) ? n : 0;
}

void look_ago(struct ctl *c, json_t *node, const char *name, struct buf *out)
{
	int64_t at = look_time(node, name);

	if (at)
		ago_add(out, at, c->answer.date);
	else
		buf_char(out, '-');
}

/* ---- asking sagad ----------------------------------------------------------------------------- */

static enum exit_status exit_of(long status)
{
	switch (status) {
	case 401:
	case 403:
		return EXIT_FORBIDDEN;
	case 404:
		return EXIT_UNKNOWN;
	case 409:
	case 412:
	case 428:
		return EXIT_CONFLICT;
	case 429:
	case 503:
		return EXIT_NOT_NOW;
	default:
		return EXIT_REFUSED;
	}
}

enum exit_status ctl_problem(struct ctl *c)
{
	const json_t *problem = c->answer.json;
	json_t       *e;
	size_t        i;
	struct str         detail = look_text(problem, "detail"), title = look_text(problem, "title");
	struct str         gid = look_text(problem, "gid"), code = look_text(problem, "code");

	if (detail.n == 0)
		detail = title;
	if (detail.n > 0)
		ctl_say(c, "%.*s%s%.*s (%ld %.*s)", (int)gid.n, gid.p, gid.n ? ": " : "", (int)detail.n, detail.p,
		        c->answer.status, (int)code.n, code.p);
	else
		ctl_say(c, "the answer was HTTP status %ld, and it is not sagad's", c->answer.status);
	json_array_foreach(look(problem, "errors"), i, e) {
		struct str pointer = look_text(e, "pointer"), text = look_text(e, "detail");

		ctl_say(c, "  %.*s%s%.*s", (int)pointer.n, pointer.p, pointer.n ? ": " : "", (int)text.n, text.p);
	}
	if (c->answer.retry_after_s > 0)
		ctl_say(c, "  the same again may work in %ld s", c->answer.retry_after_s);
	return exit_of(c->answer.status);
}

enum exit_status ctl_try(struct ctl *c, const struct ask *ask)
{
	struct err err;

	if (client_send(&c->client, ask, &c->answer, &err))
		return EXIT_DONE;
	ctl_say(c, "no answer from %s", err.text);
	ctl_say(c, "  is sagad running there? --url or SAGAD_URL names another place");
	return EXIT_UNREACHABLE;
}

enum exit_status ctl_send(struct ctl *c, const struct ask *ask)
{
	enum exit_status status = ctl_try(c, ask);

	if (status != EXIT_DONE)
		return status;
	if (c->answer.status >= 200 && c->answer.status < 300) {
		if (c->answer.json || !strstr(c->answer.type, "json"))
			return EXIT_DONE;
		ctl_say(c, "the answer says that it is JSON, and is not");
		return EXIT_REFUSED;
	}
	return ctl_problem(c);
}

enum exit_status ctl_get(struct ctl *c, const char *path)
{
	return ctl_send(c, &(struct ask){ .method = "GET", .path = path });
}

/* ---- lists --------------------------------------------------------------------------------------- */

struct listing {
	uint64_t   limit, n;
	struct buf items; /* for --json */
	struct buf cursor;
};

static void take_page(struct ctl *c, struct listing *l, ctl_item *each, void *arg)
{
	const json_t *items = look(c->answer.json, "items");
	struct str    array = { 0 }, raw;
	size_t        at = 0;

	verbatim_member(buf_view(&c->answer.body), "items", &array);
	for (size_t i = 0; i < json_array_size(items) && l->n < l->limit; i++, l->n++) {
		if (!ctl_has(c, FLAG_json)) {
			each(c, arg, json_array_get(items, i));
		} else if (verbatim_item(array, &at, &raw)) {
			buf_cstr(&l->items, l->n ? ",\n" : "");
			buf_str(&l->items, raw);
		}
	}
	buf_clear(&l->cursor);
	buf_str(&l->cursor, look_text(c->answer.json, "next_cursor"));
}

static enum exit_status get_page(struct ctl *c, const struct buf *path, const struct listing *l)
{
	struct buf       page = { 0 };
	char             limit[24];
	enum exit_status status;

	buf_str(&page, buf_view(path));
	snprintf(limit, sizeof limit, "%llu",
	         (unsigned long long)(l->limit - l->n < PAGE_MAX ? l->limit - l->n : PAGE_MAX));
	query_add(&page, "limit", str_of(limit));
	if (l->cursor.n)
		query_add(&page, "cursor", buf_view(&l->cursor));
	status = ctl_get(c, page.p);
	buf_fini(&page);
	return status;
}

static void end_list(struct ctl *c, const struct listing *l)
{
	if (ctl_has(c, FLAG_json)) {
		buf_cstr(&c->out, "{\"items\":[");
		buf_str(&c->out, buf_view(&l->items));
		buf_cstr(&c->out, "],\"next_cursor\":");
		if (l->cursor.n)
			buf_json(&c->out, buf_view(&l->cursor));
		else
			buf_cstr(&c->out, "null");
		buf_cstr(&c->out, "}\n");
	}
}

enum exit_status ctl_list(struct ctl *c, struct buf *path, ctl_item *each, void *arg)
{
	struct listing   l = { 0 };
	enum exit_status status = ctl_number(c, FLAG_limit, LIST_DEFAULT, &l.limit);

	if (l.limit > LIST_MAX)
		l.limit = LIST_MAX;
	do {
		if (status == EXIT_DONE)
			status = get_page(c, path, &l);
		if (status == EXIT_DONE)
			take_page(c, &l, each, arg);
	} while (status == EXIT_DONE && l.cursor.n > 0 && l.n < l.limit);
	if (status == EXIT_DONE)
		end_list(c, &l);
	if (status == EXIT_DONE && l.cursor.n > 0 && !ctl_has(c, FLAG_limit) && !ctl_has(c, FLAG_json))
		c->cut_at = l.n;
	buf_fini(&l.items);
	buf_fini(&l.cursor);
	return status;
}

/* ---- writes ---------------------------------------------------------------------------------------- */

/* One line from the terminal, without its end; false: nobody answered. */
static bool ask_person(struct ctl *c, const char *question, char *out, size_t size)
{
	size_t n = 0;
	char   byte;

	ctl_flush(c);
	write_all(STDERR_FILENO, question, strlen(question));
	while (read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n')
		if (n + 1 < size)
			out[n++] = byte;
	out[n] = '\0';
	return n > 0;
}

static const char *person(const struct ctl *c)
{
	const char          *given = c->args.values[FLAG_actor];
	const struct passwd *me;

	if (given)
		return given;
	me = getpwuid(getuid());
	return me && *me->pw_name ? me->pw_name : "operator";
}

static enum exit_status find_reason(struct ctl *c, char *typed, size_t size, const char **reason)
{
	struct err err;

	*reason = c->args.values[FLAG_reason];
	if (*reason && **reason)
		return EXIT_DONE;
	if (c->can_ask && ask_person(c, "reason: ", typed, size)) {
		*reason = typed;
		return EXIT_DONE;
	}
	if (ctl_has(c, FLAG_dry_run)) {
		*reason = "dry run";
		return EXIT_DONE;
	}
	err_set(&err, ERR_INVALID, "say why: --reason (or -m); it is kept with what was done");
	return ctl_usage(&err);
}

enum exit_status ctl_begin_body(struct ctl *c, struct buf *body)
{
	char             typed[TYPED_MAX];
	const char      *reason;
	enum exit_status status = find_reason(c, typed, sizeof typed, &reason);

	if (status != EXIT_DONE)
		return status;
	buf_cstr(body, "{\"reason\":");
	buf_json(body, str_of(reason));
	buf_cstr(body, ",\"actor\":");
	buf_json(body, str_of(person(c)));
	return EXIT_DONE;
}

void ctl_add_person(struct ctl *c, struct buf *path)
{
	query_add(path, "actor", str_of(person(c)));
	if (ctl_has(c, FLAG_reason))
		query_add(path, "reason", str_of(c->args.values[FLAG_reason]));
}

enum exit_status ctl_write(struct ctl *c, const char *method, struct buf *path, struct buf *body, int64_t wait_ms)
{
	const char      *version = c->args.values[FLAG_if_version];
	struct buf       if_match = { 0 };
	enum exit_status status;

	buf_char(body, '}');
	if (ctl_has(c, FLAG_dry_run))
		query_add(path, "dry_run", STR("true"));
	if (version)
		buf_fmt(&if_match, "\"%s\"", version);
	status = ctl_send(c, &(struct ask){ .method = method, .path = path->p, .body = buf_view(body),
	                                    .if_match = buf_view(&if_match), .wait_ms = wait_ms });
	buf_fini(&if_match);
	return status;
}

enum exit_status ctl_confirm_gid(struct ctl *c, const char *gid, const char *what)
{
	const char *given = c->args.values[FLAG_confirm];
	struct buf  question = { 0 };
	char        typed[TYPED_MAX] = "";
	struct err  err;
	bool        same;

	if (ctl_has(c, FLAG_dry_run))
		return EXIT_DONE;
	if (!given && c->can_ask) {
		buf_fmt(&question, "%s Type its gid to go on: ", what);
		ask_person(c, question.p, typed, sizeof typed);
		buf_fini(&question);
		given = typed;
	}
	same = given && strcmp(given, gid) == 0;
	if (same)
		return EXIT_DONE;
	if (given)
		err_set(&err, ERR_INVALID, "that is not its gid; nothing was done");
	else
		err_set(&err, ERR_INVALID, "%s Give its gid again: --confirm %s", what, gid);
	return ctl_usage(&err);
}

enum exit_status ctl_confirm(struct ctl *c, const char *question)
{
	char       typed[TYPED_MAX] = "";
	struct buf text = { 0 };
	struct err err;
	bool       yes = ctl_has(c, FLAG_yes) || ctl_has(c, FLAG_dry_run);

	if (yes)
		return EXIT_DONE;
	if (!c->can_ask) {
		err_set(&err, ERR_INVALID, "%s Then give --yes", question);
		return ctl_usage(&err);
	}
	buf_fmt(&text, "%s [y/N] ", question);
	ask_person(c, text.p, typed, sizeof typed);
	buf_fini(&text);
	if (strcmp(typed, "y") == 0 || strcmp(typed, "yes") == 0)
		return EXIT_DONE;
	err_set(&err, ERR_INVALID, "nothing was done");
	return ctl_usage(&err);
}

void ctl_show_dry_run(struct ctl *c)
{
	json_t *calls = look(c->answer.json, "calls");

	buf_cstr(&c->out, "nothing was done; it would be:\n");
	show_value(c, look(c->answer.json, "would"), 1);
	if (json_array_size(calls) == 0)
		return;
	buf_cstr(&c->out, "  calls:\n");
	show_value(c, calls, 2);
}

enum exit_status ctl_operate(struct ctl *c, const char *noun, const char *verb, const char *done)
{
	struct buf       path = { 0 }, body = { 0 };
	enum exit_status status = ctl_begin_body(c, &body);

	buf_fmt(&path, "/v1/%s", noun);
	path_add(&path, str_of(c->args.words[0]));
	buf_fmt(&path, "/%s", verb);
	if (status == EXIT_DONE)
		status = ctl_write(c, "POST", &path, &body, 0);
	if (status == EXIT_DONE && ctl_has(c, FLAG_json))
		ctl_raw(c);
	else if (status == EXIT_DONE && ctl_has(c, FLAG_dry_run))
		ctl_show_dry_run(c);
	else if (status == EXIT_DONE)
		buf_fmt(&c->out, "%s %s\n", c->args.words[0], done);
	buf_fini(&path);
	buf_fini(&body);
	return status;
}
