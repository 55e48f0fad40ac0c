/* SPDX-License-Identifier: Apache-2.0
 * fill_hole.c - ${reference ?? reference ?? literal}: the first with a value; null gives way to
 * what stands behind it.
 */
#include "participants/libsaga/fill.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ALTERNATIVES_MAX = 8, DEPTH_MAX = 32, INDEX_MAX = 100000, SHOWN = 60 };

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define DIGITS  "0123456789"

struct hole {
	struct filling *f;
	const char *begin, *at;
	bool settled; /* something that is not null was found */
	bool found;
};

bool fill_wrong(struct filling *f, enum saga_filled state, const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	f->state = state;
	return saga_fail(f->error, state == SAGA_FILL_ERROR ? SAGA_E_MEMORY : SAGA_E_ARGUMENT,
	                 "%s", text);
}

static bool wrong(struct hole *h, const char *what)
{
	return fill_wrong(h->f, SAGA_FILL_BAD_TEMPLATE, "%s, at %zu of \"%.*s\"", what,
	                  (size_t)(h->at - h->begin), SHOWN, h->begin);
}

char *fill_decode(struct filling *f, struct saga_slice string)
{
	char *text = malloc(string.n + 1);

	if (!text)
		fill_wrong(f, SAGA_FILL_ERROR, "out of memory");
	else if (!saga_json_text(string, text, string.n + 1)) {
		free(text);
		text = NULL;
		fill_wrong(f, SAGA_FILL_BAD_TEMPLATE, "a zero byte");
	}
	return text;
}

/* ---- values ------------------------------------------------------------------------------ */

static void consider(struct hole *h, struct saga_slice json)
{
	if (h->settled)
		return;
	h->found = true;
	h->settled = json.n != 4 || memcmp(json.p, "null", 4) != 0;
	text_free(&h->f->value);
	text_add(&h->f->value, json.p, json.n);
}

static void consider_text(struct hole *h, const char *text)
{
	struct text json = { 0 };

	if (text)
		text_json(&json, text);
	else
		text_cstr(&json, "null");
	h->f->value.failed |= json.failed;
	if (!json.failed)
		consider(h, (struct saga_slice){ json.p, json.n });
	text_free(&json);
}

static void consider_now(struct hole *h)
{
	int64_t ms = h->f->sources->now_ms, s = ms / 1000 - (ms % 1000 < 0);
	time_t seconds = (time_t)s;
	char text[64];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
	         tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms - s * 1000));
	consider_text(h, text);
}

static struct saga_slice bare(struct saga_slice json)
{
	while (json.n && strchr(" \t\r\n", json.p[0])) {
		json.p++;
		json.n--;
	}
	while (json.n && strchr(" \t\r\n", json.p[json.n - 1]))
		json.n--;
	return json;
}

/* Is the name, as it stands in JSON, that one? */
static bool is_named(struct saga_slice raw, struct saga_slice name)
{
	struct saga_slice quoted = { raw.p - 1, raw.n + 2 };
	char text[300];

	if (!memchr(raw.p, '\\', raw.n))
		return raw.n == name.n && !memcmp(raw.p, name.p, name.n);
	return saga_json_text(quoted, text, sizeof(text)) && strlen(text) == name.n &&
	       !memcmp(text, name.p, name.n);
}

/* One step down. n of name is 0: to the index. */
static bool go_down(struct saga_slice *json, struct saga_slice name, uint64_t index)
{
	struct saga_slice raw, value;
	size_t at = 0;

	if (!json->n || json->p[0] != (name.n ? '{' : '['))
		return false;
	while (json_next(*json, &at, &raw, &value))
		if (name.n ? is_named(raw, name) : !index--) {
			*json = value;
			return true;
		}
	return false;
}

/* ---- words ------------------------------------------------------------------------------- */

static bool take(struct hole *h, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(h->at, text, n) != 0)
		return false;
	h->at += n;
	return true;
}

static struct saga_slice take_word(struct hole *h)
{
	struct saga_slice word = { h->at, strspn(h->at, LETTERS DIGITS "-") };

	if (!strspn(h->at, LETTERS))
		word.n = 0;
	h->at += word.n;
	return word;
}

static bool is_word(struct saga_slice s, const char *word)
{
	return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

/* .name, or [index] with n of *name 0. */
static bool take_part(struct hole *h, struct saga_slice *name, uint64_t *index)
{
	struct saga_slice digits;

	*name = (struct saga_slice){ 0 };
	if (!take(h, "[")) {
		h->at++;
		*name = take_word(h);
		return name->n || wrong(h, "a name is expected behind the dot");
	}
	digits = (struct saga_slice){ h->at, strspn(h->at, DIGITS) };
	if (!slice_number(digits, INDEX_MAX - 1, index) || h->at[digits.n] != ']')
		return wrong(h, "an index is a whole number below 100000, as in [0]");
	h->at += digits.n + 1;
	return true;
}

/* steps.NAME.output; *json without n: it has none. */
static bool take_step(struct hole *h, struct saga_slice *json)
{
	const struct saga_sources *from = h->f->sources;
	struct saga_slice name = { 0 };
	size_t i = 0;

	if (take(h, "."))
		name = take_word(h);
	if (!name.n)
		return wrong(h, "write steps.NAME.output");
	while (i < from->output_count && !is_word(name, from->outputs[i].step))
		i++;
	if (i == from->output_count)
		return wrong(h, "there is no step of that name");
	if (!take(h, ".") || !is_word(take_word(h), "output"))
		return wrong(h, "of a step only the output can be read: steps.NAME.output");
	*json = bare(slice(from->outputs[i].json));
	return true;
}

static bool take_reference(struct hole *h, struct saga_slice root)
{
	bool plain = is_word(root, "gid") || is_word(root, "definition") || is_word(root, "now");
	struct saga_slice json = { 0 }, name;
	bool there = true;
	uint64_t index;
	int depth = 0;

	if (is_word(root, "input"))
		json = bare(slice(h->f->sources->input ? h->f->sources->input : "null"));
	else if (is_word(root, "steps") && !take_step(h, &json))
		return false;
	else if (!plain && !is_word(root, "steps"))
		return wrong(h, "a reference begins with input, steps, gid, definition or now");
	while (*h->at == '.' || *h->at == '[') {
		if (plain)
			return wrong(h, "gid, definition and now are texts and have no parts");
		if (depth++ == DEPTH_MAX)
			return wrong(h, "a reference goes at most 32 levels deep");
		if (!take_part(h, &name, &index))
			return false;
		there = there && go_down(&json, name, index);
	}
	if (is_word(root, "gid"))
		consider_text(h, h->f->sources->gid);
	else if (is_word(root, "definition"))
		consider_text(h, h->f->sources->definition);
	else if (plain)
		consider_now(h);
	else if (there && json.n)
		consider(h, json);
	return true;
}

static bool take_literal(struct hole *h)
{
	struct saga_slice json = { h->at, strspn(h->at, LETTERS DIGITS "+.-") };

	if (take(h, "'")) {
		size_t n = strcspn(h->at, "'");
		struct text text = { 0 };

		if (!h->at[n])
			return wrong(h, "the closing ' is missing");
		text_add(&text, h->at, n);
		if (!text.failed)
			consider_text(h, text.p);
		text_free(&text);
		h->at += n + 1;
		return true;
	}
	if (*h->at == '"') {
		json.n = 1;
		while (h->at[json.n] && h->at[json.n] != '"')
			json.n += h->at[json.n] == '\\' && h->at[json.n + 1] ? 2 : 1;
		json.n += h->at[json.n] == '"';
	}
	if (!saga_json_valid(json))
		return wrong(h, "a reference, or a literal like \"text\", 'text', 12, true or null "
				"is expected");
	consider(h, json);
	h->at += json.n;
	return true;
}

/* *literal: is it one? */
static bool take_operand(struct hole *h, bool first, bool *literal)
{
	const char *begin = h->at;
	struct saga_slice word = take_word(h);

	*literal = !word.n || is_word(word, "true") || is_word(word, "false") ||
	           is_word(word, "null");
	if (!*literal)
		return take_reference(h, word);
	if (first)
		return wrong(h, "a reference is expected: input, steps.NAME.output, gid, "
				"definition or now");
	h->at = begin;
	return take_literal(h);
}

static void skip_blanks(struct hole *h)
{
	h->at += strspn(h->at, " ");
}

static bool take_hole(struct hole *h)
{
	bool literal = false;

	for (int n = 0;; n++) {
		skip_blanks(h);
		if (n == ALTERNATIVES_MAX)
			return wrong(h, "one ${…} has at most 8 alternatives");
		if (!take_operand(h, n == 0, &literal))
			return false;
		skip_blanks(h);
		if (take(h, "}"))
			return true;
		if (!take(h, "??"))
			return wrong(h, "?? or } is expected");
		if (literal)
			return wrong(h, "nothing can follow a literal: it is never missing");
	}
}

bool fill_hole(struct filling *f, const char **at)
{
	struct hole h = { .f = f, .begin = *at, .at = *at + 2 };

	text_free(&f->value);
	if (!take_hole(&h))
		return false;
	*at = h.at;
	if (f->value.failed)
		return fill_wrong(f, SAGA_FILL_ERROR, "out of memory, or a text is not UTF-8");
	if (!h.found)
		return fill_wrong(f, SAGA_FILL_NO_VALUE,
		                  "%.*s has no value: there is no such member or output; give a "
		                  "default with ??",
		                  (int)(h.at - h.begin), h.begin);
	return true;
}
