/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/template_internal.h"

#include "coordinator/base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A template being compiled. */
struct draft {
	struct template_compiler *c;
	const struct json        *node; /* what errors are about */
	enum template_place       place;
	struct template_part     *parts;
	size_t                    n, cap;
};

static void add_part(struct draft *d, struct template_part part)
{
	if (d->n == d->cap) {
		d->cap = d->cap ? 2 * d->cap : 16;
		d->parts = mem_grow(d->parts, d->cap, sizeof *d->parts);
	}
	d->parts[d->n++] = part;
}

static void add_text(struct draft *d, struct str text)
{
	struct template_part *last = d->n ? &d->parts[d->n - 1] : NULL;

	if (text.n == 0)
		return;
	if (last != NULL && last->operands == NULL && last->text.p + last->text.n == text.p)
		last->text.n += text.n;
	else
		add_part(d, (struct template_part){ .text = text });
}

/* RFC 3986: unreserved, sub-delims, ":", "@", "/", "?", and percent-encoded bytes. */
static bool is_url_char(struct str text, size_t at)
{
	char c = text.p[at];

	if (c == '%')
		return text.n - at >= 3 && isxdigit((unsigned char)text.p[at + 1]) &&
		       isxdigit((unsigned char)text.p[at + 2]);
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~!$&'()*+,;=:@/?", c) != NULL);
}

/* RFC 9110, section 5.5: printable ASCII, and the bytes above it, which are UTF-8 here. */
bool template_header_char(unsigned char c)
{
	return c >= 0x20 && c != 0x7f;
}

static void check_literal(struct draft *d, struct str text)
{
	char sentence[120];

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (d->place == TEMPLATE_PATH && c == '%' && text.n - i >= 3 &&
		    text.p[i + 1] == '2' && (text.p[i + 2] | 0x20) == 'e') {
			d->c->report(d->c->ctx, d->node, "write a dot as a dot, not as %2e");
			return;
		}

		if (d->place == TEMPLATE_HEADER ? template_header_char(c) : is_url_char(text, i))
			continue;
		if (d->place == TEMPLATE_HEADER)
			snprintf(sentence, sizeof sentence,
				 "a header's value has no control characters; byte 0x%02x is one", c);
		else if (c == '#')
			snprintf(sentence, sizeof sentence,
				 "a fragment (#...) is never sent: remove it");
		else
			snprintf(sentence, sizeof sentence,
				 "byte 0x%02x cannot stand in a URL: percent-encode it", c);
		d->c->report(d->c->ctx, d->node, sentence);
		return;
	}
}

/* A piece of a string, as it must stand in its place. */
static void add_literal(struct draft *d, struct str text)
{
	struct buf b = { 0 };

	if (d->place != TEMPLATE_JSON) {
		if (d->place != TEMPLATE_TEXT)
			check_literal(d, text);
		add_text(d, text);
		return;
	}
	buf_json(&b, text);
	if (b.n == text.n + 2)
		add_text(d, text);
	else
		add_text(d, arena_str(d->c->arena, (struct str){ b.p + 1, b.n - 2 }));
	buf_fini(&b);
}

static void add_hole(struct draft *d, const struct template_hole *h, bool whole)
{
	struct template_operand *operands = arena_array(d->c->arena, h->n, sizeof *operands);

	memcpy(operands, h->operands, h->n * sizeof *operands);
	for (uint8_t i = 0; i < h->n; i++)
		if (h->steps[i] >= 0)
			d->c->reads(d->c->ctx, d->node, h->steps[i], i + 1 < h->n);
	add_part(
	    d, (struct template_part){
		   .text = { h->text.p, h->at }, .operands = operands, .n = h->n, .whole = whole });
}

static size_t find_dollar(struct str text, size_t from)
{
	const char *p = from < text.n ? memchr(text.p + from, '$', text.n - from) : NULL;

	return p != NULL ? (size_t)(p - text.p) : text.n;
}

static bool is_hole(struct str text, size_t at)
{
	return text.n - at >= 2 && text.p[at] == '$' && text.p[at + 1] == '{';
}

/* The pieces of one string. The quotes, if it has any, fall away around a hole that is
 * the whole string: its value keeps its type. */
static void cut_text(struct draft *d, struct str text, struct str open, struct str close)
{
	size_t done = 0, at = find_dollar(text, 0);

	for (; at < text.n; at = find_dollar(text, at)) {
		struct template_hole h = { .c = d->c,
					   .node = d->node,
					   .text = { text.p + at, text.n - at } };

		if (text.n - at >= 3 && is_hole(text, at + 1)) { /* $${ */
			add_text(d, open);
			add_literal(d, (struct str){ text.p + done, at - done });
			open.n = 0;
			done = at + 1;
			at += 3;
			continue;
		}
		if (!is_hole(text, at)) {
			at++;
			continue;
		}
		if (!template_read_hole(&h))
			return;
		if (at == 0 && h.at == text.n && open.n > 0) {
			add_hole(d, &h, true);
			return;
		}
		add_text(d, open);
		add_literal(d, (struct str){ text.p + done, at - done });
		open.n = 0;
		add_hole(d, &h, false);
		at += h.at;
		done = at;
	}
	add_text(d, open);
	add_literal(d, (struct str){ text.p + done, text.n - done });
	add_text(d, close);
}

static struct template *finish(struct draft *d)
{
	struct template *t = arena_alloc(d->c->arena, sizeof *t);

	t->place = d->place;
	t->n = d->n;
	t->parts = arena_array(d->c->arena, d->n, sizeof *t->parts);
	if (d->n > 0)
		memcpy(t->parts, d->parts, d->n * sizeof *t->parts);
	free(d->parts);
	return t;
}

struct template *template_of_text(struct template_compiler *c, const struct json *node,
				  struct str text, enum template_place place)
{
	struct draft d = { .c = c, .node = node, .place = place };

	cut_text(&d, text, (struct str){ 0 }, (struct str){ 0 });
	return finish(&d);
}

/* Has this string a "${" in it? Its text, if so. */
static bool has_hole(const struct json *node, struct arena *arena, struct str *text)
{
	if (node->type != JSON_STRING || (memchr(node->raw.p, '$', node->raw.n) == NULL &&
					  memchr(node->raw.p, '\\', node->raw.n) == NULL))
		return false;
	*text = json_text(node, arena);
	for (size_t at = find_dollar(*text, 0); at < text->n; at = find_dollar(*text, at + 1))
		if (is_hole(*text, at))
			return true;
	return false;
}

static const struct json *next_node(const struct json *node, const struct json *root)
{
	if (node->first != NULL)
		return node->first;
	while (node != root && node->next == NULL)
		node = node->parent;
	return node == root ? NULL : node->next;
}

struct template *template_of_json(struct template_compiler *c, const struct json *root)
{
	struct draft d = { .c = c, .place = TEMPLATE_JSON };
	const char  *done = root->raw.p;
	struct str   text;

	for (const struct json *node = root; node != NULL; node = next_node(node, root)) {
		const char *end = node->raw.p + node->raw.n;

		if (!has_hole(node, c->arena, &text))
			continue;
		d.node = node;
		add_text(&d, (struct str){ done, (size_t)(node->raw.p - done) });
		cut_text(&d, text, (struct str){ node->raw.p, 1 }, (struct str){ end - 1, 1 });
		done = end;
	}
	add_text(&d, (struct str){ done, (size_t)(root->raw.p + root->raw.n - done) });
	return finish(&d);
}

bool template_is_constant(const struct template *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->parts[i].operands != NULL)
			return false;
	return true;
}
