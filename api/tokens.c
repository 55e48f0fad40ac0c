/* SPDX-License-Identifier: Apache-2.0 */
#include "api/tokens.h"

#include "coordinator/base/arena.h"
#include "coordinator/base/digest.h"
#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct token_set {
	struct arena arena;
	struct token tokens[TOKENS_MAX];
	size_t       n;
};

/* ---- words ------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts the next word off the front; the empty slice at the end. */
static struct str next_word(struct str *line)
{
	struct str word;

	while (line->n > 0 && is_blank(*line->p)) {
		line->p++;
		line->n--;
	}
	word = (struct str){ line->p, 0 };
	while (word.n < line->n && !is_blank(word.p[word.n]))
		word.n++;
	line->p += word.n;
	line->n -= word.n;
	return word;
}

static struct str behind(struct str word, struct str prefix)
{
	return (struct str){ word.p + prefix.n, word.n - prefix.n };
}

bool roles_parse(struct str text, unsigned *out)
{
	enum role role;

	*out = 0;
	while (text.n > 0) {
		const char *comma = memchr(text.p, ',', text.n);
		size_t      n = comma ? (size_t)(comma - text.p) : text.n;

		if (!role_parse((struct str){ text.p, n }, &role))
			return false;
		*out |= 1u << role;
		n += comma != NULL;
		text = (struct str){ text.p + n, text.n - n };
		if (comma && text.n == 0)
			return false;
	}
	return *out != 0;
}

void roles_write(unsigned roles, struct buf *out)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		enum role held;

		if (!(roles & 1u << i) || !role_parse(str_of(role_name((enum role)i)), &held))
			continue;
		buf_cstr(out, out->n ? ", " : "");
		buf_cstr(out, role_name(held));
	}
}

bool token_name_is_valid(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (i > 0 && (c == '-' || c == '_' || c == '.' || c == '@'))))
			return false;
	}
	return name.n > 0 && name.n <= TOKEN_NAME_MAX;
}

/* ---- lines ------------------------------------------------------------------------------------- */

static bool read_hash(struct str hex, uint8_t out[32])
{
	for (size_t i = 0; hex.n == 64 && i < 32; i++) {
		int high = text_hex(hex.p[2 * i]), low = text_hex(hex.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return hex.n == 64;
}

static bool is_certificate_name(struct str name)
{
	static const struct str KINDS[] = { STR("CN="), STR("DNS="), STR("URI="), STR("EMAIL=") };

	for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
		if (str_starts(name, KINDS[i]) && name.n > KINDS[i].n)
			return true;
	return false;
}

static bool read_proof(struct str word, struct arena *arena, struct token *t)
{
	const struct str hash = STR("sha256:"), cert = STR("cert:");

	if (str_starts(word, hash))
		return read_hash(behind(word, hash), t->hash);
	if (!str_starts(word, cert) || !is_certificate_name(behind(word, cert)))
		return false;
	t->certificate = arena_str(arena, behind(word, cert));
	return true;
}

static bool read_until(struct str word, int64_t *until)
{
	const struct str prefix = STR("until:");

	*until = INT64_MAX;
	return word.n == 0 || (str_starts(word, prefix) && text_to_time(behind(word, prefix), until));
}

/* What is wrong with it, or NULL. */
static const char *read_line(struct str line, struct arena *arena, struct token *t)
{
	struct str name = next_word(&line), roles = next_word(&line), proof = next_word(&line);

	*t = (struct token){ .principal.is_known = true };
	if (!token_name_is_valid(name))
		return "a name has up to 64 letters, digits and -_.@, and begins with a letter or digit";
	if (!roles_parse(roles, &t->principal.roles))
		return "the second word lists roles: service, reader, operator, admin, with commas between";
	if (!read_proof(proof, arena, t))
		return "the third word is sha256: and 64 hexadecimal digits, or cert:CN=… (DNS=, URI=, EMAIL=)";
	if (!read_until(next_word(&line), &t->until))
		return "the fourth word is until: and a time, as in until:2027-01-01T00:00:00Z";
	if (next_word(&line).n > 0)
		return "there is a fifth word";
	t->principal.name = arena_str(arena, name);
	return NULL;
}

static bool add_line(struct token_set *s, struct str line, unsigned number, struct err *err)
{
	const char *comment = line.n ? memchr(line.p, '#', line.n) : NULL;
	const char *wrong;

	if (comment)
		line.n = (size_t)(comment - line.p);
	struct str rest = line;
	if (next_word(&rest).n == 0)
		return true;
	if (s->n == TOKENS_MAX)
		return err_set(err, ERR_LIMIT, "line %u: a tokens file has at most %d tokens", number, TOKENS_MAX);
	wrong = read_line(line, &s->arena, &s->tokens[s->n++]);
	return wrong == NULL || err_set(err, ERR_INVALID, "line %u: %s", number, wrong);
}

struct token_set *tokens_parse(struct str text, struct err *err)
{
	struct token_set *s = mem_alloc(sizeof *s);
	unsigned          number = 0;

	while (text.n > 0) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t      n = end ? (size_t)(end - text.p) : text.n;

		if (!add_line(s, (struct str){ text.p, n }, ++number, err)) {
			tokens_free(s);
			return NULL;
		}
		n += end != NULL;
		text = (struct str){ text.p + n, text.n - n };
	}
	return s;
}

void tokens_free(struct token_set *s)
{
	if (s == NULL)
		return;
	arena_fini(&s->arena);
	free(s);
}

size_t tokens_count(const struct token_set *s)
{
	return s->n;
}

/* ---- looking ------------------------------------------------------------------------------------ */

const struct token *tokens_find(const struct token_set *s, struct str token)
{
	const struct token *found = NULL;
	uint8_t             hash[32];

	digest_sha256(token, hash);
	for (size_t i = 0; i < s->n; i++)
		if (s->tokens[i].certificate.n == 0 && digest_same(s->tokens[i].hash, hash, sizeof hash))
			found = &s->tokens[i];
	return found;
}

const struct token *tokens_find_certificate(const struct token_set *s, const struct str *names, size_t n)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < n; k++)
			if (s->tokens[i].certificate.n > 0 && str_eq(s->tokens[i].certificate, names[k]))
				return &s->tokens[i];
	return NULL;
}

/* ---- making --------------------------------------------------------------------------------------- */

void token_make(struct str name, struct str roles, int64_t until, struct buf *token, struct buf *line)
{
	uint8_t random[32], hash[32];
	char    hex[65], time[32];

	digest_random(random, sizeof random);
	digest_hex(random, sizeof random, hex);
	buf_fmt(token, "sagad_%s", hex); /* a prefix by which scanners for lost secrets know it */
	digest_sha256(buf_view(token), hash);
	digest_hex(hash, sizeof hash, hex);
	buf_fmt(line, "%.*s %.*s sha256:%s", (int)name.n, name.p, (int)roles.n, roles.p, hex);
	if (until != INT64_MAX)
		buf_fmt(line, " until:%s", text_of_time(until, time));
}
