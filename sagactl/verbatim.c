/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/verbatim.h"

#include "coordinator/base/json.h"

#include <string.h>

bool verbatim_member(struct str object, const char *name, struct str *value)
{
	return json_member(object, name, value);
}

static void skip(struct str text, size_t *at, const char *these)
{
	while (*at < text.n && text.p[*at] && strchr(these, text.p[*at]))
		++*at;
}

bool verbatim_item(struct str array, size_t *at, struct str *item)
{
	if (*at == 0) {
		skip(array, at, " \t\r\n");
		if (*at >= array.n || array.p[*at] != '[')
			return false;
		++*at;
	}
	skip(array, at, " \t\r\n,");
	if (*at >= array.n || array.p[*at] == ']')
		return false;
	*item = json_next(array, at);
	return item->n > 0;
}

bool verbatim_is_number(struct str json)
{
	return json.n > 0 && (json.p[0] == '-' || (json.p[0] >= '0' && json.p[0] <= '9')) &&
	       json_is_valid(json);
}

/* Behind the quote that ends the string which begins at `at`. */
static size_t end_of_string(struct str json, size_t at)
{
	for (at++; at < json.n && json.p[at] != '"'; at++)
		at += json.p[at] == '\\';
	return at < json.n ? at + 1 : json.n;
}

static size_t end_of_number(struct str json, size_t at)
{
	while (at < json.n && json.p[at] && strchr("+-.0123456789eE", json.p[at]))
		at++;
	return at;
}

void verbatim_numbers(struct str json, struct buf *out)
{
	for (size_t at = 0, end; at < json.n; at = end) {
		const char c = json.p[at];
		const bool may_be = c == '-' || (c >= '0' && c <= '9');

		end = c == '"' ? end_of_string(json, at)
		      : may_be ? end_of_number(json, at)
		               : at + 1;
		struct str part = { json.p + at, end - at };
		bool       is_number = may_be && verbatim_is_number(part);
		buf_cstr(out, is_number ? "\"" : "");
		buf_str(out, part);
		buf_cstr(out, is_number ? "\"" : "");
	}
}
