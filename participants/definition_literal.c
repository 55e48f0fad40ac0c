/* SPDX-License-Identifier: Apache-2.0
 * definition_literal.c - headers of all calls that are sent as they are written: no templates, as many and as long as
 * there is room for. A façade writes them into documents of its own; from outside the member is refused.
 */
#include "participants/definition_internal.h"

#include "participants/template_internal.h"

#include <string.h>
#include <strings.h>

bool definition_header_is_ours(struct str name)
{
	static const char *const taken[] = {
		"idempotency-key", "content-length", "host",   "transfer-encoding", "connection",
		"keep-alive",      "traceparent",    "expect", "upgrade",           "te",
		"trailer"
	};

	if ((name.n >= 5 && strncasecmp(name.p, "saga-", 5) == 0) ||
	    (name.n >= 8 && strncasecmp(name.p, "webhook-", 8) == 0))
		return true;
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		if (name.n == strlen(taken[i]) && strncasecmp(name.p, taken[i], name.n) == 0)
			return true;
	return false;
}

/* The value, once it is known to be one. */
static bool read_value(struct compiler *c, const struct json *h, struct str *value)
{
	if (!text_is_token(h->key)) {
		finding_add(c, h, "this is no header name");
		return false;
	}
	if (definition_header_is_ours(h->key)) {
		finding_add(c, h, "this header is set by the coordinator and cannot be given");
		return false;
	}
	if (!field_is(c, h, JSON_STRING))
		return false;
	*value = json_text(h, &c->scratch);
	for (size_t i = 0; i < value->n; i++)
		if (!template_header_char((unsigned char)value->p[i])) {
			finding_add(c, h, "a header's value has no control characters; byte 0x%02x is one",
				    (unsigned char)value->p[i]);
			return false;
		}
	return true;
}

static bool is_blank(struct str text)
{
	size_t i = 0;

	while (i < text.n && text.p[i] == ' ')
		i++;
	return i == text.n;
}

static struct str line_of(struct arena *arena, struct str name, struct str value)
{
	const bool   empty = is_blank(value); /* "Name;": see call.c */
	const size_t n = name.n + (empty ? 1 : 2 + value.n);
	char        *line = arena_alloc(arena, n + 1);

	memcpy(line, name.p, name.n);
	if (empty) {
		line[name.n] = ';';
	} else {
		memcpy(line + name.n, ": ", 2);
		memcpy(line + name.n + 2, value.p, value.n);
	}
	return (struct str){ line, n };
}

static bool is_named(struct str name, const char *other)
{
	return name.n == strlen(other) && strncasecmp(name.p, other, name.n) == 0;
}

void parse_literal_headers(struct compiler *c, const struct json *node)
{
	struct literal_headers *all = &c->d->literal;
	struct str             *lines, value;

	if (node == NULL || !field_is(c, node, JSON_OBJECT))
		return;
	lines = arena_array(&c->d->arena, node->n, sizeof *lines);
	all->lines = lines;
	for (const struct json *h = node->first; h != NULL; h = h->next) {
		if (!read_value(c, h, &value))
			continue;
		lines[all->n++] = line_of(&c->d->arena, h->key, value);
		all->has_type |= is_named(h->key, "content-type");
		all->has_accept |= is_named(h->key, "accept");
	}
}
