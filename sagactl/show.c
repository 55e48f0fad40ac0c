/* SPDX-License-Identifier: Apache-2.0
 * show.c - a transaction, and anything else, for people.
 */
#include "sagactl/ctl.h"

#include <string.h>

enum { LABEL_WIDTH = 12, VALUE_DEPTH_MAX = 8 };

enum style style_of_phase(struct str phase)
{
	if (str_is(phase, "confirmed"))
		return STYLE_GREEN;
	if (str_is(phase, "cancelled") || str_is(phase, "cancelling"))
		return STYLE_YELLOW;
	return str_is(phase, "abandoned") ? STYLE_RED : STYLE_PLAIN;
}

static void add_line(struct ctl *c, const char *label, enum style style, struct str text)
{
	if (text.n == 0)
		return;
	buf_fmt(&c->out, "%-*s", LABEL_WIDTH, label);
	style_add(&c->out, c->color, style, text);
	buf_char(&c->out, '\n');
}

static void add_buf(struct ctl *c, const char *label, enum style style, struct buf *text)
{
	add_line(c, label, style, buf_view(text));
	buf_clear(text);
}

/* "503 no room (12s ago)" */
static void add_error(struct ctl *c, const struct json *error, struct buf *out)
{
	uint64_t status = look_number(error, "status");

	if (!error)
		return;
	if (status)
		buf_fmt(out, "%llu ", (unsigned long long)status);
	buf_str(out, look_text(c, error, "detail"));
	buf_cstr(out, " (");
	look_ago(c, error, "at", out);
	buf_char(out, ')');
}

static void add_cause(struct ctl *c, const struct json *cause, struct buf *out)
{
	struct str step = look_text(c, cause, "step");

	if (!cause)
		return;
	buf_str(out, look_text(c, cause, "kind"));
	if (step.n)
		buf_fmt(out, " at step %.*s", (int)step.n, step.p);
	if (look(cause, "last_error")) {
		buf_cstr(out, ": ");
		add_error(c, look(cause, "last_error"), out);
	}
}

static void add_waiting(struct ctl *c, const struct json *waiting, struct buf *out)
{
	struct str step = look_text(c, waiting, "step");

	if (!waiting)
		return;
	buf_str(out, look_text(c, waiting, "for"));
	if (step.n)
		buf_fmt(out, " of step %.*s", (int)step.n, step.p);
	if (look(waiting, "until")) {
		buf_cstr(out, ", ");
		look_ago(c, waiting, "until", out);
	}
}

static void add_stuck(struct ctl *c, const struct json *stuck, struct buf *out)
{
	if (!stuck)
		return;
	buf_str(out, look_text(c, stuck, "reason"));
	if (look(stuck, "since")) {
		buf_cstr(out, ", ");
		look_ago(c, stuck, "since", out);
	}
	buf_cstr(out, ": ");
	buf_str(out, look_text(c, stuck, "detail"));
}

static void add_labels(struct ctl *c, const struct json *labels, struct buf *out)
{
	for (const struct json *l = labels ? labels->first : NULL; l; l = l->next) {
		struct str text = l->type == JSON_STRING ? json_text(l, &c->answer.arena) : l->raw;

		buf_fmt(out, "%s%.*s=%.*s", out->n ? " " : "", (int)l->key.n, l->key.p, (int)text.n, text.p);
	}
}

static void add_time(struct ctl *c, const struct json *t, const char *name, const char *label)
{
	struct buf text = { 0 };

	if (look(t, name)) {
		buf_str(&text, look_text(c, t, name));
		buf_cstr(&text, " (");
		look_ago(c, t, name, &text);
		buf_char(&text, ')');
		add_buf(c, label, STYLE_PLAIN, &text);
	}
	buf_fini(&text);
}

void show_state(struct ctl *c, const struct json *t, struct buf *out)
{
	struct str result = look_text(c, t, "result");

	buf_str(out, look_text(c, t, "phase"));
	if (str_is(result, "mixed"))
		buf_cstr(out, ", result mixed");
	if (look_paused(t))
		buf_cstr(out, ", paused");
	if (look(t, "stuck")) {
		buf_cstr(out, ", stuck: ");
		buf_str(out, look_text(c, look(t, "stuck"), "reason"));
	}
	if (look(t, "cause")) {
		buf_cstr(out, ", because of ");
		add_cause(c, look(t, "cause"), out);
	}
}

static void show_heads(struct ctl *c, const struct json *t)
{
	struct str definition = look_text(c, t, "definition"), phase = look_text(c, t, "phase");
	struct buf text = { 0 };

	add_line(c, "gid", STYLE_BOLD, look_text(c, t, "gid"));
	buf_str(&text, phase);
	if (str_is(look_text(c, t, "result"), "mixed"))
		buf_cstr(&text, " (mixed)");
	add_buf(c, "phase", style_of_phase(phase), &text);
	add_stuck(c, look(t, "stuck"), &text);
	add_buf(c, "stuck", STYLE_RED, &text);
	if (look_paused(t))
		add_line(c, "paused", STYLE_YELLOW, STR("by a person, until it is resumed"));
	add_waiting(c, look(t, "waiting"), &text);
	add_buf(c, "waits for", STYLE_PLAIN, &text);
	add_cause(c, look(t, "cause"), &text);
	add_buf(c, "cause", STYLE_PLAIN, &text);
	if (look(t, "attention"))
		add_line(c, "attention", STYLE_YELLOW, STR("a failover of the database met it unfinished: look at its effects"));
	if (definition.n)
		buf_fmt(&text, "%.*s@%llu", (int)definition.n, definition.p,
		        (unsigned long long)look_number(t, "definition_version"));
	add_buf(c, "definition", STYLE_PLAIN, &text);
	add_labels(c, look(t, "labels"), &text);
	add_buf(c, "labels", STYLE_PLAIN, &text);
	add_time(c, t, "created_at", "begun");
	add_time(c, t, "start_at", "starts");
	add_time(c, t, "deadline_at", "deadline");
	add_time(c, t, "ended_at", "ended");
	add_line(c, "owner", STYLE_DIM, look_text(c, t, "owner"));
	add_line(c, "version", STYLE_PLAIN, look_text(c, t, "version"));
	buf_fini(&text);
}

static void add_step(struct ctl *c, struct grid *g, const struct json *s)
{
	struct str stuck = look_text(c, s, "stuck"), op = look_text(c, s, "op");
	struct buf text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(c, s, "name"));
	buf_str(&text, look_text(c, s, "state"));
	if (stuck.n)
		buf_fmt(&text, ", stuck: %.*s", (int)stuck.n, stuck.p);
	if (look_true(s, "resolved"))
		buf_cstr(&text, ", by hand");
	grid_add(g, stuck.n ? STYLE_RED : STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, op.n ? op : STR("-"));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "attempts"));
	buf_clear(&text);
	look_ago(c, s, "next_at", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	add_error(c, look(s, "last_error"), &text);
	grid_add(g, STYLE_PLAIN, text.n ? buf_view(&text) : STR("-"));
	buf_fini(&text);
}

static void show_steps(struct ctl *c, const struct json *t)
{
	const struct json *steps = look(t, "steps");
	struct grid        g = { .heads = { "STEP", "STATE", "WAITS FOR", "CALLS", "NEXT", "LAST ERROR" } };

	for (const struct json *s = steps ? steps->first : NULL; s; s = s->next)
		add_step(c, &g, s);
	if (g.n) {
		buf_char(&c->out, '\n');
		grid_write(&g, c->color, &c->out);
	}
	grid_fini(&g);
}

void show_transaction(struct ctl *c, const struct json *t)
{
	const struct json *actions = look(t, "actions");
	struct buf         list = { 0 };

	show_heads(c, t);
	for (const struct json *a = actions && actions->type == JSON_ARRAY ? actions->first : NULL; a; a = a->next) {
		struct str name = look_text(c, a, "action"), step = look_text(c, a, "step"), op = look_text(c, a, "op");

		buf_fmt(&list, "%s%.*s%s%.*s%s%.*s", list.n ? ", " : "", (int)name.n, name.p, step.n ? " " : "", (int)step.n,
		        step.p, op.n ? " " : "", (int)op.n, op.p);
	}
	add_buf(c, "possible", STYLE_DIM, &list);
	show_steps(c, t);
	if (look(t, "input") || look(t, "output"))
		buf_char(&c->out, '\n');
	if (look(t, "input"))
		add_line(c, "input", STYLE_PLAIN, look(t, "input")->raw);
	if (look(t, "output"))
		add_line(c, "output", STYLE_GREEN, look(t, "output")->raw);
	add_line(c, "output", STYLE_RED, look_text(c, t, "output_error"));
	buf_fini(&list);
}

/* ---- anything ------------------------------------------------------------------------------ */

static bool is_leaf(const struct json *node)
{
	return (node->type != JSON_ARRAY && node->type != JSON_OBJECT) || node->n == 0;
}

static void add_indent(struct buf *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		buf_cstr(out, "  ");
}

static void add_leaf(struct ctl *c, const struct json *node)
{
	style_add(&c->out, c->color, STYLE_PLAIN,
	          node->type == JSON_STRING ? json_text(node, &c->answer.arena) : node->raw);
	buf_char(&c->out, '\n');
}

static void add_name(struct ctl *c, const struct json *node, unsigned depth)
{
	add_indent(&c->out, depth);
	if (node->parent->type == JSON_ARRAY) {
		buf_cstr(&c->out, "- ");
		return;
	}
	text_clean(&c->out, node->key);
	buf_cstr(&c->out, ": ");
}

/* In the order of the text; without recursion. */
static const struct json *next_of(const struct json *node, const struct json *root, unsigned *depth)
{
	if (!is_leaf(node) && *depth < VALUE_DEPTH_MAX) {
		++*depth;
		return node->first;
	}
	while (node != root && !node->next) {
		node = node->parent;
		--*depth;
	}
	return node == root ? NULL : node->next;
}

void show_value(struct ctl *c, const struct json *root, unsigned indent)
{
	unsigned depth = 0;

	if (!root)
		return;
	if (is_leaf(root)) {
		add_indent(&c->out, indent);
		add_leaf(c, root);
		return;
	}
	for (const struct json *node = next_of(root, root, &depth); node; node = next_of(node, root, &depth)) {
		if (node->type == JSON_NULL)
			continue;
		add_name(c, node, indent + depth - 1);
		if (is_leaf(node) || depth == VALUE_DEPTH_MAX)
			add_leaf(c, node);
		else
			buf_char(&c->out, '\n');
	}
}
