/* SPDX-License-Identifier: Apache-2.0
 * show.c - a transaction, and anything else, for people.
 */
#include "sagactl/ctl.h"
#include "sagactl/verbatim.h"

#include <string.h>

enum { LABEL_WIDTH = 12, VALUE_DEPTH_MAX = 16 };

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
static void add_error(struct ctl *c, json_t *error, struct buf *out)
{
	uint64_t status = look_number(error, "status");

	if (!error)
		return;
	if (status)
		buf_fmt(out, "%llu ", (unsigned long long)status);
	buf_str(out, look_text(error, "detail"));
	buf_cstr(out, " (");
	look_ago(c, error, "at", out);
	buf_char(out, ')');
}

static void add_cause(struct ctl *c, json_t *cause, struct buf *out)
{
	struct str step = look_text(cause, "step");

	if (!cause)
		return;
	buf_str(out, look_text(cause, "kind"));
	if (step.n)
		buf_fmt(out, " at step %.*s", (int)step.n, step.p);
	if (look(cause, "last_error")) {
		buf_cstr(out, ": ");
		add_error(c, look(cause, "last_error"), out);
	}
}

static void add_waiting(struct ctl *c, json_t *waiting, struct buf *out)
{
	struct str step = look_text(waiting, "step");

	if (!waiting)
		return;
	buf_str(out, look_text(waiting, "for"));
	if (step.n)
		buf_fmt(out, " of step %.*s", (int)step.n, step.p);
	if (look(waiting, "until")) {
		buf_cstr(out, ", ");
		look_ago(c, waiting, "until", out);
	}
}

static void add_stuck(struct ctl *c, json_t *stuck, struct buf *out)
{
	if (!stuck)
		return;
	buf_str(out, look_text(stuck, "reason"));
	if (look(stuck, "since")) {
		buf_cstr(out, ", ");
		look_ago(c, stuck, "since", out);
	}
	buf_cstr(out, ": ");
	buf_str(out, look_text(stuck, "detail"));
}

static void add_labels(json_t *labels, struct buf *out)
{
	const char *name;
	json_t     *l;

	json_object_foreach(labels, name, l) {
		struct str text = text_of_json(l);

		buf_fmt(out, "%s%s=%.*s", out->n ? " " : "", name, (int)text.n, text.p);
	}
}

static void add_time(struct ctl *c, json_t *t, const char *name, const char *label)
{
	struct buf text = { 0 };

	if (look(t, name)) {
		buf_str(&text, look_text(t, name));
		buf_cstr(&text, " (");
		look_ago(c, t, name, &text);
		buf_char(&text, ')');
		add_buf(c, label, STYLE_PLAIN, &text);
	}
	buf_fini(&text);
}

void show_state(struct ctl *c, json_t *t, struct buf *out)
{
	struct str result = look_text(t, "result");

	buf_str(out, look_text(t, "phase"));
	if (str_is(result, "mixed"))
		buf_cstr(out, ", result mixed");
	if (look_paused(t))
		buf_cstr(out, ", paused");
	if (look(t, "stuck")) {
		buf_cstr(out, ", stuck: ");
		buf_str(out, look_text(look(t, "stuck"), "reason"));
	}
	if (look(t, "cause")) {
		buf_cstr(out, ", because of ");
		add_cause(c, look(t, "cause"), out);
	}
}

static void show_heads(struct ctl *c, json_t *t)
{
	struct str definition = look_text(t, "definition"), phase = look_text(t, "phase");
	struct buf text = { 0 };

	add_line(c, "gid", STYLE_BOLD, look_text(t, "gid"));
	buf_str(&text, phase);
	if (str_is(look_text(t, "result"), "mixed"))
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
	add_labels(look(t, "labels"), &text);
	add_buf(c, "labels", STYLE_PLAIN, &text);
	add_time(c, t, "created_at", "begun");
	add_time(c, t, "start_at", "starts");
	add_time(c, t, "deadline_at", "deadline");
	add_time(c, t, "ended_at", "ended");
	add_line(c, "owner", STYLE_DIM, look_text(t, "owner"));
	add_line(c, "version", STYLE_PLAIN, look_text(t, "version"));
	buf_fini(&text);
}

static void add_step(struct ctl *c, struct grid *g, json_t *s)
{
	struct str stuck = look_text(s, "stuck"), op = look_text(s, "op");
	struct buf text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(s, "name"));
	buf_str(&text, look_text(s, "state"));
	if (stuck.n)
		buf_fmt(&text, ", stuck: %.*s", (int)stuck.n, stuck.p);
	if (look_true(s, "resolved"))
		buf_cstr(&text, ", by hand");
	grid_add(g, stuck.n ? STYLE_RED : STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, op.n ? op : STR("-"));
	grid_add(g, STYLE_PLAIN, look_text(s, "attempts"));
	buf_clear(&text);
	look_ago(c, s, "next_at", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	add_error(c, look(s, "last_error"), &text);
	grid_add(g, STYLE_PLAIN, text.n ? buf_view(&text) : STR("-"));
	buf_fini(&text);
}

static void show_steps(struct ctl *c, json_t *t)
{
	json_t     *s;
	size_t      i;
	struct grid g = { .heads = { "STEP", "STATE", "WAITS FOR", "CALLS", "NEXT", "LAST ERROR" } };

	json_array_foreach(look(t, "steps"), i, s)
		add_step(c, &g, s);
	if (g.n) {
		buf_char(&c->out, '\n');
		grid_write(&g, c->color, &c->out);
	}
	grid_fini(&g);
}

/* As it came: people compare the digits of amounts. */
static void add_verbatim(struct ctl *c, const char *name, enum style style)
{
	struct str value;

	if (verbatim_member(buf_view(&c->answer.body), name, &value) && !str_is(value, "null"))
		add_line(c, name, style, value);
}

void show_transaction(struct ctl *c)
{
	json_t    *t = c->answer.json, *a;
	size_t     i;
	struct buf list = { 0 };

	show_heads(c, t);
	json_array_foreach(look(t, "actions"), i, a) {
		struct str name = look_text(a, "action"), step = look_text(a, "step"), op = look_text(a, "op");

		buf_fmt(&list, "%s%.*s%s%.*s%s%.*s", list.n ? ", " : "", (int)name.n, name.p, step.n ? " " : "", (int)step.n,
		        step.p, op.n ? " " : "", (int)op.n, op.p);
	}
	add_buf(c, "possible", STYLE_DIM, &list);
	show_steps(c, t);
	if (look(t, "input") || look(t, "output"))
		buf_char(&c->out, '\n');
	add_verbatim(c, "input", STYLE_PLAIN);
	add_verbatim(c, "output", STYLE_GREEN);
	add_line(c, "output", STYLE_RED, look_text(t, "output_error"));
	buf_fini(&list);
}

/* ---- anything ------------------------------------------------------------------------------ */

struct level {
	json_t *node;
	size_t  n;    /* children seen */
	void   *iter; /* of an object */
};

/* The next child with its name (NULL in an array); NULL: that was the last. */
static json_t *next_child(struct level *l, const char **name)
{
	*name = NULL;
	if (json_is_array(l->node))
		return json_array_get(l->node, l->n++);
	l->iter = l->n++ ? json_object_iter_next(l->node, l->iter) : json_object_iter(l->node);
	*name = l->iter ? json_object_iter_key(l->iter) : NULL;
	return l->iter ? json_object_iter_value(l->iter) : NULL;
}

static bool is_leaf(const json_t *node)
{
	return json_array_size(node) == 0 && json_object_size(node) == 0;
}

static void add_leaf(struct ctl *c, const json_t *node)
{
	struct str empty = json_is_array(node) ? STR("[]") : json_is_object(node) ? STR("{}") : text_of_json(node);

	style_add(&c->out, c->color, STYLE_PLAIN, empty);
	buf_char(&c->out, '\n');
}

/* "name: ", or the dash of an array's item; the first member of an object that is one stands beside its dash. */
static void add_name(struct ctl *c, const char *name, unsigned depth, bool leaf, bool *dash)
{
	if (!name && !leaf) {
		*dash = true;
		return;
	}
	for (unsigned i = *dash; i < depth; i++)
		buf_cstr(&c->out, "  ");
	buf_cstr(&c->out, *dash ? "- " : "");
	*dash = false;
	if (name)
		text_clean(&c->out, str_of(name));
	buf_cstr(&c->out, !name ? "- " : leaf ? ": " : ":\n");
}

void show_value(struct ctl *c, json_t *root, unsigned indent)
{
	struct level levels[VALUE_DEPTH_MAX] = { { .node = root } };
	unsigned     depth = root ? 1 : 0;
	bool         dash = false;

	while (depth > 0) {
		const char *name;
		json_t     *child = next_child(&levels[depth - 1], &name);

		if (!child) {
			depth--;
			continue;
		}
		if (json_is_null(child))
			continue;
		add_name(c, name, indent + depth - 1, is_leaf(child), &dash);
		if (is_leaf(child))
			add_leaf(c, child);
		else if (depth < VALUE_DEPTH_MAX)
			levels[depth++] = (struct level){ .node = child };
	}
}
