/* SPDX-License-Identifier: Apache-2.0
 * request_read.c - what a request brings: its body, its parameters.
 */
#include "api/request.h"

#include <stdio.h>
#include <string.h>

bool request_is_clean(struct request *r)
{
	if (r->errors.n == 0)
		return true;
	request_problem(r, PROBLEM_INVALID_REQUEST, NULL);
	return false;
}

/* json_parse() counts depth itself; this only tells its error from the others. */
static bool is_too_deep(struct str text, size_t at)
{
	unsigned depth = 0;
	bool     in_string = false;

	for (size_t i = 0; i <= at && i < text.n; i++) {
		char c = text.p[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
	}
	return depth > JSON_DEPTH_MAX;
}

static bool read_body(struct request *r, bool optional, unsigned levels)
{
	struct json_error err;
	struct str        text = buf_view(&r->x->body);
	struct str        type = exchange_header(r->x, "Content-Type");

	if (text.n == 0 && optional)
		text = STR("{}");
	else if (type.n && !media_type_is_json(type)) {
		request_problem(r, PROBLEM_MEDIA_TYPE, NULL);
		return false;
	}
	r->body = json_outline(text, levels, request_arena(r), &err);
	if (!r->body) {
		request_error(r, err.pointer, "%s (at byte %zu)", err.text, err.at);
		request_problem(
			r, is_too_deep(text, err.at) ? PROBLEM_JSON_TOO_DEEP : PROBLEM_INVALID_JSON,
			NULL);
		return false;
	}
	if (r->body->type != JSON_OBJECT) {
		request_error(r, "", "an object is wanted, not %s", json_type_name(r->body->type));
		return request_is_clean(r);
	}
	return true;
}

bool request_json(struct request *r, bool optional)
{
	return read_body(r, optional, JSON_DEPTH_MAX + 1);
}

bool request_outline(struct request *r)
{
	return read_body(r, false, 3);
}

bool request_gid(struct request *r)
{
	struct str gid = request_param(r, 0);

	if (!gid_is_valid(gid)) {
		request_problem(r, PROBLEM_TRANSACTION_UNKNOWN,
		                "A gid is 1 to 128 printable ASCII characters without space, "
		                "quotes and backslash.");
		return false;
	}
	r->gid = gid;
	return true;
}

bool request_only(struct request *r, const char *const *known)
{
	const struct str *name = query_unknown(&r->query, known);
	char              text[64];

	if (!name)
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "The query parameter \"%s\" is not known here.",
	                str_cstr(*name, text, sizeof text));
	return false;
}

bool request_limit(struct request *r, unsigned *limit)
{
	const struct str *text = query_get(&r->query, "limit");
	uint64_t          n = PAGE_DEFAULT;

	if (text && (!text_to_u64(*text, &n) || n < 1 || n > PAGE_MAX)) {
		request_problem(r, PROBLEM_BAD_REQUEST, "limit is a number from 1 to %d.",
		                PAGE_MAX);
		return false;
	}
	*limit = (unsigned)n;
	return true;
}

void request_text(struct request *r, const char *name, struct str *out)
{
	struct json *m = json_get(r->body, name);
	char         pointer[64];

	if (!m)
		return;
	if (m->type == JSON_STRING) {
		*out = json_text(m, request_arena(r));
		return;
	}
	snprintf(pointer, sizeof pointer, "/%s", name);
	request_error(r, pointer, "a string is wanted, not %s", json_type_name(m->type));
}

void request_members(struct request *r, const char *const *known)
{
	struct buf pointer = { 0 };

	for (struct json *m = r->body->first; m; m = m->next) {
		const char *const *k = known;

		while (*k && !str_is(m->key, *k))
			k++;
		if (*k)
			continue;
		buf_clear(&pointer);
		json_pointer(m, &pointer);
		request_error(r, pointer.p, "this member is not known here");
	}
	buf_fini(&pointer);
}
