/* SPDX-License-Identifier: Apache-2.0
 * json.c - RFC 8259, one pass, no recursion, nothing is copied.
 */
#include "participants/libsaga/internal.h"

#include <stdlib.h>

struct reader {
	const char *p, *end;
};

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static bool skip_char(struct reader *r, char c)
{
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool is_digit(const struct reader *r)
{
	return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static bool skip_digits(struct reader *r)
{
	if (!is_digit(r))
		return false;
	while (is_digit(r))
		r->p++;
	return true;
}

static bool skip_number(struct reader *r)
{
	skip_char(r, '-');
	if (!skip_char(r, '0') && !skip_digits(r))
		return false;
	if (skip_char(r, '.') && !skip_digits(r))
		return false;
	if (skip_char(r, 'e') || skip_char(r, 'E')) {
		if (!skip_char(r, '+'))
			skip_char(r, '-');
		return skip_digits(r);
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits behind \u, or -1. */
static int take_hex(struct reader *r)
{
	int v = 0;

	if (r->end - r->p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(*r->p++);

		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

/* Behind the opening quote. */
static bool skip_string(struct reader *r)
{
	const char *begin = r->p;

	while (r->p < r->end) {
		unsigned char c = (unsigned char)*r->p++;

		if (c == '"')
			return is_utf8(begin, (size_t)(r->p - begin));
		if (c < ' ')
			return false;
		if (c != '\\')
			continue;
		if (r->p == r->end)
			return false;
		c = (unsigned char)*r->p++;
		if (c == 'u' ? take_hex(r) < 0 : !c || !strchr("\"\\/bfnrt", c))
			return false;
	}
	return false;
}

static bool skip_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n))
		return false;
	r->p += n;
	return true;
}

static bool skip_scalar(struct reader *r)
{
	if (r->p == r->end)
		return false;
	switch (*r->p) {
	case '"': r->p++; return skip_string(r);
	case 't': return skip_word(r, "true");
	case 'f': return skip_word(r, "false");
	case 'n': return skip_word(r, "null");
	default: return skip_number(r);
	}
}

static bool skip_name(struct reader *r)
{
	skip_blanks(r);
	if (!skip_char(r, '"') || !skip_string(r))
		return false;
	skip_blanks(r);
	return skip_char(r, ':');
}

/* One value, blanks before it. Which brackets are open stands in the bits of `objects`. */
static bool skip_value(struct reader *r)
{
	uint64_t objects = 0;
	unsigned depth = 0;

	for (;;) {
		skip_blanks(r);
		if (r->p < r->end && (*r->p == '{' || *r->p == '[')) {
			bool object = *r->p++ == '{';

			if (depth == SAGA_JSON_DEPTH)
				return false;
			skip_blanks(r);
			if (!skip_char(r, object ? '}' : ']')) {
				objects = objects << 1 | object;
				depth++;
				if (object && !skip_name(r))
					return false;
				continue;
			}
		} else if (!skip_scalar(r)) {
			return false;
		}
		/* Behind a value: close what ends here, or go on to the next. */
		for (;;) {
			if (!depth)
				return true;
			skip_blanks(r);
			if (skip_char(r, ','))
				break;
			if (!skip_char(r, objects & 1 ? '}' : ']'))
				return false;
			objects >>= 1;
			depth--;
		}
		if ((objects & 1) && !skip_name(r))
			return false;
	}
}

bool saga_json_valid(struct saga_slice json)
{
	struct reader r = { json.p, json.p + json.n };

	if (!json.n || !skip_value(&r))
		return false;
	skip_blanks(&r);
	return r.p == r.end;
}

bool json_next(struct saga_slice json, size_t *at, struct saga_slice *name,
               struct saga_slice *value)
{
	struct reader r = { json.p + *at, json.p + json.n };
	bool object;

	if (!json.n)
		return false;
	object = json.p[0] == '{';
	skip_blanks(&r);
	if (!*at ? !skip_char(&r, object ? '{' : '[') : !skip_char(&r, ','))
		return false;
	skip_blanks(&r);
	if (object) {
		const char *quote = r.p;

		if (!skip_char(&r, '"') || !skip_string(&r))
			return false;
		if (name)
			*name = (struct saga_slice){ quote + 1, (size_t)(r.p - quote) - 2 };
		skip_blanks(&r);
		if (!skip_char(&r, ':'))
			return false;
		skip_blanks(&r);
	}
	value->p = r.p;
	if (!skip_value(&r))
		return false;
	value->n = (size_t)(r.p - value->p);
	*at = (size_t)(r.p - json.p);
	return true;
}

static struct saga_slice without_blanks(struct saga_slice json)
{
	struct reader r = { json.p, json.p + json.n };

	skip_blanks(&r);
	return (struct saga_slice){ r.p, (size_t)(r.end - r.p) };
}

bool saga_json_find(struct saga_slice json, const char *name, struct saga_slice *value)
{
	struct saga_slice found, object = without_blanks(json);
	size_t at = 0, n = strlen(name);

	if (!saga_json_valid(json) || object.p[0] != '{')
		return false;
	while (json_next(object, &at, &found, value))
		if (found.n == n && !memcmp(found.p, name, n))
			return true;
	return false;
}

/* ---- scalars ----------------------------------------------------------------------------- */

/* As base/json_look.c: this library is in other programs and shares no objects with sagad. */
static size_t put_utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Behind the backslash; half a surrogate pair becomes U+FFFD. */
static size_t take_escape(struct reader *r, char out[4])
{
	static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	char c = *r->p++;
	uint32_t v;

	if (c != 'u') {
		out[0] = means[strchr(plain, c) - plain];
		return 1;
	}
	v = (uint32_t)take_hex(r);
	if (v >= 0xd800 && v < 0xe000) {
		struct reader second = *r;
		int low = skip_char(&second, '\\') && skip_char(&second, 'u') ? take_hex(&second)
		                                                              : -1;

		if (v < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			v = 0x10000 + ((v - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
			*r = second;
		} else {
			v = 0xfffd;
		}
	}
	return put_utf8(v, out);
}

bool saga_json_text(struct saga_slice value, char *out, size_t size)
{
	struct reader r = { value.p, value.p + value.n };
	size_t n = 0;

	if (size)
		out[0] = '\0';
	if (value.n < 2 || value.p[0] != '"' || !saga_json_valid(value))
		return false;
	for (r.p++; *r.p != '"';) {
		char bytes[4] = { *r.p };
		size_t more = 1;

		if (*r.p++ == '\\')
			more = take_escape(&r, bytes);
		if (!bytes[0] || n + more >= size) {
			if (size)
				out[0] = '\0';
			return false;
		}
		memcpy(out + n, bytes, more);
		n += more;
	}
	out[n] = '\0';
	return true;
}

bool saga_json_integer(struct saga_slice value, int64_t *out)
{
	bool negative = value.n && value.p[0] == '-';
	struct saga_slice digits = { value.p + negative, value.n - negative };
	uint64_t v;

	if (!slice_number(digits, (uint64_t)INT64_MAX + negative, &v) ||
	    (digits.n > 1 && digits.p[0] == '0'))
		return false;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

char *saga_json_quote(const char *text)
{
	struct text t = { 0 };

	text_json(&t, text);
	if (t.failed)
		text_free(&t);
	return t.p;
}

/* RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
bool is_utf8(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + n;

	while (p < end) {
		unsigned char c = *p++;
		unsigned low = 0x80, high = 0xbf;
		int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2
		                                       : c >= 0xf0 && c < 0xf5 ? 3 : -1;

		if (more < 0 || end - p < more)
			return false;
		if (c == 0xe0)
			low = 0xa0;
		else if (c == 0xed)
			high = 0x9f;
		else if (c == 0xf0)
			low = 0x90;
		else if (c == 0xf4)
			high = 0x8f;
		for (; more > 0; more--, low = 0x80, high = 0xbf)
			if (*p < low || *p++ > high)
				return false;
	}
	return true;
}
