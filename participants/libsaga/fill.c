/* SPDX-License-Identifier: Apache-2.0
 * fill.c - templates of definitions as sagad fills them (participants/vectors/templates.json).
 */
#include "participants/libsaga/fill.h"

#include <stdlib.h>

enum { BODY_MAX = 1 << 20, LINE_MAX = 8000 };

/* In a JSON string, with the short escapes. */
static void add_escaped(struct text *out, const char *s, size_t n)
{
	static const char plain[] = "\"\\\b\f\n\r\t", means[] = "\"\\bfnrt";

	for (const char *end = s + n; s < end; s++) {
		const char *known = *s ? strchr(plain, *s) : NULL;

		if (known)
			text_printf(out, "\\%c", means[known - plain]);
		else if ((unsigned char)*s < ' ')
			text_printf(out, "\\u%04x", (unsigned char)*s);
		else
			text_add(out, s, 1);
	}
}

/* ---- texts: a path, a header, a body that is no JSON ------------------------------------- */

struct path { /* of a URL, as far as it was made */
	size_t segment; /* where it begins */
	bool filled;    /* a value stands in it */
	bool query;
};

static bool end_segment(struct filling *f, struct path *p)
{
	size_t n = f->out.n - p->segment;
	const char *segment = f->out.p ? f->out.p + p->segment : "";

	if (p->filled && !p->query &&
	    (!n || (n == 1 && *segment == '.') || (n == 2 && !memcmp(segment, "..", 2))))
		return fill_wrong(f, SAGA_FILL_NO_VALUE,
		                  "a value made a path segment empty, \".\" or \"..\"");
	p->filled = false;
	return true;
}

static bool is_hex(char c)
{
	return c && strchr("0123456789abcdefABCDEF", c);
}

static bool add_path_literal(struct filling *f, struct path *p, const char *s, size_t n)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "._~!$&'()*+,;=:@/?-";

	for (const char *end = s + n; s < end; s++) {
		if (*s == '#')
			return fill_wrong(f, SAGA_FILL_BAD_TEMPLATE,
			                  "a fragment (#...) is never sent: remove it");
		if (*s == '%' && end - s > 2 && s[1] == '2' && (s[2] | 0x20) == 'e')
			return fill_wrong(f, SAGA_FILL_BAD_TEMPLATE,
			                  "write a dot as a dot, not as %%2e");
		if (*s == '%' ? end - s < 3 || !is_hex(s[1]) || !is_hex(s[2]) : !strchr(plain, *s))
			return fill_wrong(f, SAGA_FILL_BAD_TEMPLATE,
			                  "a character cannot stand in a URL: percent-encode it");
		if ((*s == '/' || *s == '?') && !p->query) {
			if (!end_segment(f, p))
				return false;
			p->query = *s == '?';
			p->segment = f->out.n + 1;
		}
		text_add(&f->out, s, 1);
	}
	return true;
}

static bool fits_header(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == '\x7f')
			return false;
	return true;
}

static bool add_literal(struct filling *f, struct path *p, const char *s, size_t n)
{
	if (f->place == SAGA_PLACE_PATH)
		return add_path_literal(f, p, s, n);
	if (f->place == SAGA_PLACE_HEADER && !fits_header(s, n))
		return fill_wrong(f, SAGA_FILL_BAD_TEMPLATE,
		                  "a header's value has no control characters");
	text_add(&f->out, s, n);
	return true;
}

static void add_percent(struct text *out, const char *s)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *s; s++)
		if (strchr(plain, *s))
			text_add(out, s, 1);
		else
			text_printf(out, "%%%02X", (unsigned char)*s);
}

/* What the hole that was read last is as a text. */
static bool add_value(struct filling *f, struct path *p)
{
	struct saga_slice json = { f->value.p, f->value.n };
	bool string = *json.p == '"';
	char *text = string ? fill_decode(f, json) : NULL;
	const char *s = string ? text : json.p;
	bool ok = s != NULL;

	if (ok && !string && f->place != SAGA_PLACE_TEXT &&
	    (*json.p == '{' || *json.p == '[' || *json.p == 'n'))
		ok = fill_wrong(f, SAGA_FILL_NO_VALUE,
		                "null, an object or an array fits neither a URL nor a header");
	if (ok && f->place == SAGA_PLACE_HEADER && !fits_header(s, strlen(s)))
		ok = fill_wrong(f, SAGA_FILL_NO_VALUE,
		                "a value has a character that cannot stand in a header");
	if (ok && f->place == SAGA_PLACE_PATH)
		add_percent(&f->out, s);
	else if (ok)
		text_cstr(&f->out, s);
	p->filled = true;
	free(text);
	return ok;
}

/* Up to the next hole; $${ stands for ${. */
static const char *next_hole(const char *at)
{
	while ((at = strchr(at, '$')) != NULL) {
		if (at[1] == '{')
			return at;
		at += at[1] == '$' && at[2] == '{' ? 3 : 1;
	}
	return NULL;
}

static bool fill_text(struct filling *f, const char *at)
{
	struct path path = { 0 };

	for (;;) {
		const char *hole = next_hole(at), *end = hole ? hole : at + strlen(at);

		while (at < end) {
			const char *escape = strstr(at, "$${");
			size_t n = escape && escape < end ? (size_t)(escape - at)
			                                  : (size_t)(end - at);

			if (!add_literal(f, &path, at, n))
				return false;
			at += n + (at + n < end);
			if (at < end) { /* the second $ and its brace */
				if (!add_literal(f, &path, at, 2))
					return false;
				at += 2;
			}
		}
		if (!hole)
			break;
		if (!fill_hole(f, &at) || !add_value(f, &path))
			return false;
	}
	return f->place != SAGA_PLACE_PATH || path.query || end_segment(f, &path);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static bool add_inside_string(struct filling *f)
{
	const char *json = f->value.p;

	if (!strcmp(json, "null"))
		return fill_wrong(f, SAGA_FILL_NO_VALUE,
		                  "null has no text: give a default with ??");
	if (*json == '"')
		text_add(&f->out, json + 1, f->value.n - 2);
	else
		add_escaped(&f->out, json, f->value.n);
	return true;
}

/* A string that holds nothing but one hole becomes its value, and keeps its type. */
static bool fill_string(struct filling *f, const char *at)
{
	const char *hole = next_hole(at);

	if (hole == at) {
		if (!fill_hole(f, &at))
			return false;
		if (!*at) {
			text_add(&f->out, f->value.p, f->value.n);
			return true;
		}
		at = hole;
	}
	text_cstr(&f->out, "\"");
	for (;; hole = next_hole(at)) {
		const char *end = hole ? hole : at + strlen(at);

		for (; at < end; at++)
			if (strncmp(at, "$${", 3) != 0)
				add_escaped(&f->out, at, 1);
			else {
				text_cstr(&f->out, "${");
				at += 2;
			}
		if (!hole)
			break;
		if (!fill_hole(f, &at) || !add_inside_string(f))
			return false;
	}
	text_cstr(&f->out, "\"");
	return true;
}

/* Behind the string that begins at s, of JSON that is valid. */
static const char *string_end(const char *s)
{
	for (s++; *s != '"'; s++)
		s += *s == '\\';
	return s + 1;
}

static bool fill_json(struct filling *f, const char *at)
{
	if (!saga_json_valid(slice(at)))
		return fill_wrong(f, SAGA_FILL_BAD_TEMPLATE, "the body is no JSON");
	while (*at) {
		size_t n = strcspn(at, "\"");
		const char *end;
		char *text;
		bool ok;

		text_add(&f->out, at, n);
		at += n;
		if (!*at)
			break;
		end = string_end(at);
		n = (size_t)(end - at);
		if (end[strspn(end, " \t\r\n")] == ':') { /* a name */
			text_add(&f->out, at, n);
			at = end;
			continue;
		}
		text = fill_decode(f, (struct saga_slice){ at, n });
		if (!text)
			return false;
		ok = true;
		if (strstr(text, "${"))
			ok = fill_string(f, text);
		else
			text_add(&f->out, at, n);
		free(text);
		if (!ok)
			return false;
		at = end;
	}
	return true;
}

/* ---- all of it --------------------------------------------------------------------------- */

static bool are_json(const struct saga_sources *sources)
{
	bool are = !sources->input || saga_json_valid(slice(sources->input));

	for (size_t i = 0; i < sources->output_count; i++)
		are &= !sources->outputs[i].json ||
		       saga_json_valid(slice(sources->outputs[i].json));
	return are;
}

enum saga_filled saga_fill(const char *source, enum saga_place place,
			   const struct saga_sources *sources, char **out, struct saga_error *error)
{
	bool body = place == SAGA_PLACE_JSON || place == SAGA_PLACE_TEXT;
	struct filling f = { .sources = sources, .place = place, .error = error };

	*out = NULL;
	text_cstr(&f.out, "");
	if (!are_json(sources))
		fill_wrong(&f, SAGA_FILL_ERROR, "input or an output is no JSON");
	else if (place == SAGA_PLACE_JSON)
		fill_json(&f, source);
	else
		fill_text(&f, source);
	if (f.state == SAGA_FILL_DONE && f.out.failed)
		fill_wrong(&f, SAGA_FILL_ERROR, "out of memory");
	if (f.state == SAGA_FILL_DONE && f.out.n > (body ? BODY_MAX : LINE_MAX))
		fill_wrong(&f, SAGA_FILL_NO_VALUE, "it became larger than %d bytes",
		           body ? BODY_MAX : LINE_MAX);
	if (f.state == SAGA_FILL_DONE)
		*out = f.out.p;
	else
		text_free(&f.out);
	text_free(&f.value);
	return f.state;
}
