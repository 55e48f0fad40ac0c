/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/template_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- the forest of paths ------------------------------------------------------ */

static int add_node(struct template_compiler *c, struct template_node node)
{
	struct template_paths *paths = c->paths;

	if (paths->n == TEMPLATE_NODES_MAX)
		return -1;
	if (paths->n == paths->cap) {
		struct template_node *old = paths->nodes;

		paths->cap = paths->cap ? 2 * paths->cap : 8;
		paths->nodes = arena_array(c->arena, paths->cap, sizeof *old);
		if (old != NULL)
			memcpy(paths->nodes, old, paths->n * sizeof *old);
	}
	paths->nodes[paths->n] = node;
	return (int)paths->n++;
}

static int find_root(struct template_compiler *c, enum template_root root, unsigned step)
{
	for (unsigned i = 0; i < c->paths->n; i++)
		if (c->paths->nodes[i].root == root && c->paths->nodes[i].step == step)
			return (int)i;
	return add_node(c, (struct template_node){ .root = root, .step = step });
}

static int find_child(struct template_compiler *c, int parent, struct template_node want)
{
	struct template_node *nodes = c->paths->nodes;
	int                   child;

	for (unsigned i = nodes[parent].child; i != 0; i = nodes[i].next)
		if (nodes[i].by_index == want.by_index && nodes[i].index == want.index &&
		    str_eq(nodes[i].name, want.name))
			return (int)i;
	want.next = nodes[parent].child;
	if ((child = add_node(c, want)) < 0)
		return -1;
	c->paths->nodes[parent].child = (uint16_t)child;
	c->paths->nodes[parent].children++;
	return child;
}

/* ---- reading a hole -------------------------------------------------------------- */

static char peek(const struct template_hole *h)
{
	return h->at < h->text.n ? h->text.p[h->at] : '\0';
}

static void skip_space(struct template_hole *h)
{
	while (peek(h) == ' ')
		h->at++;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool complain(struct template_hole *h, const char *what)
{
	struct str from = { h->text.p, h->text.n < 60 ? h->text.n : 60 };
	char       source[64], sentence[200];

	str_cstr(from, source, sizeof source);
	snprintf(sentence, sizeof sentence, "%s, at byte %zu of \"%s\"", what, h->at, source);
	h->c->report(h->c->ctx, h->node, sentence);
	return false;
}

static struct str read_word(struct template_hole *h)
{
	size_t start = h->at;

	if (is_letter(peek(h)))
		while (is_letter(peek(h)) || is_digit(peek(h)) || peek(h) == '-')
			h->at++;
	return (struct str){ h->text.p + start, h->at - start };
}

static bool read_index(struct template_hole *h, struct template_node *out)
{
	size_t   start = ++h->at;
	uint64_t v;

	while (is_digit(peek(h)))
		h->at++;
	if (peek(h) != ']' || !text_to_u64((struct str){ h->text.p + start, h->at - start }, &v) ||
	    v >= JSON_NODES_MAX)
		return complain(h, "an index is a whole number below 100000, as in [0]");
	h->at++;
	*out = (struct template_node){ .by_index = true, .index = (uint32_t)v };
	return true;
}

static bool read_path(struct template_hole *h, int node, uint16_t *out)
{
	struct template_node part;

	for (int depth = 0; peek(h) == '.' || peek(h) == '['; depth++) {
		if (depth == TEMPLATE_DEPTH_MAX)
			return complain(h, "a reference goes at most 32 levels deep");
		if (peek(h) == '[') {
			if (!read_index(h, &part))
				return false;
		} else {
			h->at++;
			part = (struct template_node){ .name = read_word(h) };
			if (part.name.n == 0)
				return complain(h, "a name is expected behind the dot");
		}
		if ((node = find_child(h->c, node, part)) < 0)
			return complain(
			    h, "one call reads too many different values: 1024 is the limit");
	}
	*out = (uint16_t)node;
	return true;
}

/* steps.NAME.output */
static int read_output_root(struct template_hole *h, int *step)
{
	struct str name = { 0 };

	if (peek(h) == '.') {
		h->at++;
		name = read_word(h);
	}
	if (name.n == 0)
		return complain(h, "write steps.NAME.output"), -1;
	if ((*step = h->c->step(h->c->ctx, name)) < 0)
		return complain(h, "there is no step of that name"), -1;
	if (peek(h) == '.')
		h->at++;
	if (!str_is(read_word(h), "output"))
		return complain(h, "of a step only the output can be read: steps.NAME.output"), -1;
	return find_root(h->c, ROOT_OUTPUT, (unsigned)*step);
}

static bool read_reference(struct template_hole *h, struct str root)
{
	struct template_compiler *c = h->c;
	int                      *step = &h->steps[h->n], node;

	*step = -1;
	if (str_is(root, "input"))
		node = find_root(c, ROOT_INPUT, 0);
	else if (str_is(root, "gid"))
		node = find_root(c, ROOT_GID, 0);
	else if (str_is(root, "definition"))
		node = find_root(c, ROOT_DEFINITION, 0);
	else if (str_is(root, "now"))
		node = find_root(c, ROOT_NOW, 0);
	else if (str_is(root, "steps")) {
		if ((node = read_output_root(h, step)) < 0)
			return false;
	} else
		return complain(h, "a reference begins with input, steps, gid, definition or now");
	if (node < 0)
		return complain(h, "one call reads too many different values: 1024 is the limit");
	if (!str_is(root, "input") && *step < 0 && (peek(h) == '.' || peek(h) == '['))
		return complain(h, "gid, definition and now are texts and have no parts");
	return read_path(h, node, &h->operands[h->n++].node);
}

static bool keep_literal(struct template_hole *h, struct str json)
{
	h->operands[h->n].literal = json;
	h->steps[h->n++] = -1;
	return true;
}

/* 'text': quotes that need no backslashes inside a JSON document. */
static bool read_single_quoted(struct template_hole *h)
{
	size_t     start = ++h->at;
	struct buf b = { 0 };

	while (h->at < h->text.n && peek(h) != '\'')
		h->at++;
	if (h->at == h->text.n)
		return complain(h, "the closing ' is missing");
	buf_json(&b, (struct str){ h->text.p + start, h->at - start });
	keep_literal(h, arena_str(h->c->arena, buf_view(&b)));
	buf_fini(&b);
	h->at++;
	return true;
}

static bool read_literal(struct template_hole *h)
{
	size_t     start = h->at;
	struct str json;

	if (peek(h) == '\'')
		return read_single_quoted(h);
	if (peek(h) == '"') {
		for (h->at++; h->at < h->text.n && peek(h) != '"'; h->at++)
			h->at += peek(h) == '\\';
		h->at = h->at < h->text.n ? h->at + 1 : h->text.n;
	} else {
		while (is_letter(peek(h)) || is_digit(peek(h)) ||
		       (peek(h) != '\0' && strchr("+-.", peek(h))))
			h->at++;
	}
	json = (struct str){ h->text.p + start, h->at - start };
	if (!json_is_valid(json)) {
		h->at = start;
		return complain(h, "a reference, or a literal like \"text\", 'text', 12, true or "
				   "null is expected");
	}
	return keep_literal(h, arena_str(h->c->arena, json));
}

static bool read_operand(struct template_hole *h)
{
	size_t     start = h->at;
	struct str word;

	if (h->n == TEMPLATE_OPERANDS_MAX)
		return complain(h, "one ${…} has at most 8 alternatives");
	word = read_word(h);
	if (word.n > 0 && !str_is(word, "true") && !str_is(word, "false") && !str_is(word, "null"))
		return read_reference(h, word);
	if (h->n == 0)
		return complain(
		    h, "a reference is expected: input, steps.NAME.output, gid, definition or now");
	h->at = start;
	return read_literal(h);
}

bool template_read_hole(struct template_hole *h)
{
	h->at = 2;
	for (;;) {
		skip_space(h);
		if (!read_operand(h))
			return false;
		skip_space(h);
		if (peek(h) == '}') {
			h->at++;
			return true;
		}
		if (peek(h) != '?' || h->at + 1 >= h->text.n || h->text.p[h->at + 1] != '?')
			return complain(h, "?? or } is expected");
		if (h->operands[h->n - 1].literal.p != NULL)
			return complain(h, "nothing can follow a literal: it is never missing");
		h->at += 2;
	}
}
