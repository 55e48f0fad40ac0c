/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/json_internal.h"

#include <assert.h>
#include <string.h>

/* ---- decoding: total on any bytes, exact on valid ones ------------------------ */

static int hex4(struct str s, size_t at)
{
	int v = 0;

	if (at + 4 > s.n)
		return -1;
	for (size_t i = at; i < at + 4; i++) {
		int d = text_hex(s.p[i]);

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

int32_t json_unicode_at(struct str s, size_t at, size_t *used)
{
	int high = hex4(s, at + 2), low;

	*used = 6;
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || at + 8 > s.n || s.p[at + 6] != '\\' || s.p[at + 7] != 'u')
		return -1;
	low = hex4(s, at + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*used = 12;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t utf8_put(int32_t c, char *out)
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

char json_unescaped(char c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/': return c;
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	}
	return '\0';
}

/* One character of a string's inside: its bytes to out (4 at most), their count to
 * *n. Returns how much of s it took, never 0; broken escapes stand for themselves. */
static size_t decode_one(struct str s, size_t at, char *out, size_t *n)
{
	size_t  used;
	int32_t c;

	*n = 1;
	out[0] = s.p[at];
	if (s.p[at] != '\\' || at + 1 >= s.n)
		return 1;
	if (s.p[at + 1] != 'u') {
		out[0] = json_unescaped(s.p[at + 1]);
		return 2;
	}
	if ((c = json_unicode_at(s, at, &used)) < 0)
		return 1;
	*n = utf8_put(c, out);
	return used;
}

struct str json_decode(struct str inner, struct arena *arena)
{
	char  *out;
	size_t n = 0, part;

	if (inner.n == 0 || memchr(inner.p, '\\', inner.n) == NULL)
		return inner;
	out = arena_alloc(arena, inner.n + 4); /* decoding never lengthens */
	for (size_t at = 0; at < inner.n; n += part) {
		const char *next = memchr(inner.p + at, '\\', inner.n - at);

		if (next == inner.p + at) {
			at += decode_one(inner, at, out + n, &part);
			continue;
		}
		part = next != NULL ? (size_t)(next - inner.p) - at : inner.n - at;
		memcpy(out + n, inner.p + at, part);
		at += part;
	}
	return (struct str){ out, n };
}

static bool decodes_to(struct str inner, struct str key)
{
	char   c[4];
	size_t done = 0, n;

	for (size_t at = 0; at < inner.n; done += n) {
		at += decode_one(inner, at, c, &n);
		if (n > key.n - done || memcmp(c, key.p + done, n) != 0)
			return false;
	}
	return done == key.n;
}

/* ---- looking at a tree ------------------------------------------------------------- */

struct json *json_find(const struct json *object, struct str key)
{
	if (object == NULL || object->type != JSON_OBJECT)
		return NULL;
	for (struct json *child = object->first; child != NULL; child = child->next)
		if (str_eq(child->key, key))
			return child;
	return NULL;
}

struct json *json_get(const struct json *object, const char *key)
{
	return json_find(object, str_of(key));
}

struct json *json_at(const struct json *array, size_t index)
{
	struct json *child;

	if (array == NULL || array->type != JSON_ARRAY || index >= array->n)
		return NULL;
	for (child = array->first; index > 0; index--)
		child = child->next;
	return child;
}

struct str json_text(const struct json *string, struct arena *arena)
{
	assert(string->type == JSON_STRING);
	return json_decode((struct str){ string->raw.p + 1, string->raw.n - 2 }, arena);
}

bool json_u64(const struct json *number, uint64_t *out)
{
	return number != NULL && number->type == JSON_NUMBER && text_to_u64(number->raw, out);
}

bool json_i64(const struct json *number, int64_t *out)
{
	uint64_t   v;
	struct str digits;

	if (number == NULL || number->type != JSON_NUMBER)
		return false;
	digits = number->raw;
	if (digits.p[0] != '-') {
		if (!text_to_u64(digits, &v) || v > INT64_MAX)
			return false;
		*out = (int64_t)v;
		return true;
	}
	digits = (struct str){ digits.p + 1, digits.n - 1 };
	if (!text_to_u64(digits, &v) || v > (uint64_t)INT64_MAX + 1)
		return false;
	*out = v == 0 ? 0 : -(int64_t)(v - 1) - 1;
	return true;
}

const char *json_type_name(enum json_type type)
{
	switch (type) {
	case JSON_NULL: return "null";
	case JSON_FALSE:
	case JSON_TRUE: return "a boolean";
	case JSON_NUMBER: return "a number";
	case JSON_STRING: return "a string";
	case JSON_ARRAY: return "an array";
	case JSON_OBJECT: return "an object";
	}
	return "nothing";
}

void json_pointer_key(struct buf *out, struct str key)
{
	buf_char(out, '/');
	for (size_t i = 0; i < key.n; i++) {
		if (key.p[i] == '~')
			buf_cstr(out, "~0");
		else if (key.p[i] == '/')
			buf_cstr(out, "~1");
		else
			buf_char(out, key.p[i]);
	}
}

void json_pointer(const struct json *node, struct buf *out)
{
	const struct json *path[JSON_DEPTH_MAX + 1];
	size_t             n = 0;

	for (; node->parent != NULL; node = node->parent) {
		assert(n < sizeof path / sizeof path[0]);
		path[n++] = node;
	}
	while (n-- > 0) {
		uint64_t index = 0;

		if (path[n]->parent->type == JSON_OBJECT) {
			json_pointer_key(out, path[n]->key);
			continue;
		}
		for (const struct json *it = path[n]->parent->first; it != path[n]; it = it->next)
			index++;
		buf_char(out, '/');
		buf_u64(out, index);
	}
}

/* ---- stepping over valid text without a tree ------------------------------------- */

/* A quote behind an odd number of backslashes is none: with an even one these are among themselves. */
static size_t string_end(struct str s, size_t at)
{
	while (++at < s.n) {
		const char  *quote = memchr(s.p + at, '"', s.n - at);
		const size_t start = at;
		size_t       back;

		if (quote == NULL)
			return s.n;
		back = at = (size_t)(quote - s.p);
		while (back > start && s.p[back - 1] == '\\')
			back--;
		if ((at - back) % 2 == 0)
			return at + 1;
	}
	return s.n;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static size_t space_end(struct str s, size_t at)
{
	while (at < s.n && is_space(s.p[at]))
		at++;
	return at;
}

struct str json_trim(struct str s)
{
	const size_t start = space_end(s, 0);

	if (start == s.n) /* nothing, which may stand nowhere */
		return (struct str){ 0 };
	while (is_space(s.p[s.n - 1]))
		s.n--;
	return (struct str){ s.p + start, s.n - start };
}

static size_t scalar_end(struct str s, size_t at)
{
	while (at < s.n && strchr(",]} \n\t\r", s.p[at]) == NULL)
		at++;
	return at;
}

struct str json_next(struct str s, size_t *at)
{
	size_t start = space_end(s, *at), i = start, depth = 0;

	if (start >= s.n) {
		*at = s.n;
		return (struct str){ 0 };
	}
	if (s.p[i] != '"' && s.p[i] != '{' && s.p[i] != '[') {
		i = scalar_end(s, i);
	} else {
		while (i < s.n) {
			if (s.p[i] == '"')
				i = string_end(s, i) - 1;
			else if (s.p[i] == '{' || s.p[i] == '[')
				depth++;
			else if (s.p[i] == '}' || s.p[i] == ']')
				depth--;
			i++;
			if (depth == 0)
				break;
		}
	}
	*at = space_end(s, i);
	return (struct str){ s.p + start, i - start };
}

bool json_name(struct str s, size_t *at, struct str *inner)
{
	size_t start = space_end(s, *at), end;

	if (start < s.n && (s.p[start] == ',' || s.p[start] == '{'))
		start = space_end(s, start + 1);
	if (start >= s.n || s.p[start] != '"')
		return false;
	end = string_end(s, start);
	*inner = (struct str){ s.p + start + 1, end > start + 1 ? end - start - 2 : 0 };
	*at = space_end(s, end);
	if (*at < s.n && s.p[*at] == ':')
		(*at)++;
	return true;
}

bool json_name_is(struct str inner, struct str key)
{
	if (inner.n == 0 || memchr(inner.p, '\\', inner.n) == NULL)
		return str_eq(inner, key);
	return decodes_to(inner, key);
}

bool json_member(struct str valid_object, const char *key, struct str *raw)
{
	struct str name, wanted = str_of(key), value;
	size_t     at = space_end(valid_object, 0);

	if (at >= valid_object.n || valid_object.p[at] != '{')
		return false;
	while (json_name(valid_object, &at, &name)) {
		value = json_next(valid_object, &at);
		if (json_name_is(name, wanted)) {
			*raw = value;
			return true;
		}
	}
	return false;
}
