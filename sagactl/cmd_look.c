/* SPDX-License-Identifier: Apache-2.0
 * cmd_look.c - why one does not move, what is stuck, everything at a glance.
 */
#include "sagactl/ctl.h"

#include <string.h>

/* "payment:8080, breaker open since 3m ago" */
static void add_participant(struct ctl *c, const struct json *p, struct buf *out)
{
	struct str breaker = look_text(c, p, "breaker");

	buf_str(out, look_text(c, p, "name"));
	if (breaker.n && !str_is(breaker, "closed")) {
		buf_fmt(out, ", breaker %.*s, ", (int)breaker.n, breaker.p);
		look_ago(c, p, "breaker_since", out);
	}
	if (look_paused(p))
		buf_cstr(out, ", paused");
}

static void add_step(struct ctl *c, struct grid *g, const struct json *s)
{
	const struct json *error = look(s, "last_error");
	struct buf         text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(c, s, "name"));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "op"));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "why"));
	look_ago(c, s, "until", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "failed_attempts"));
	buf_clear(&text);
	if (error) {
		buf_fmt(&text, "%.*s (", (int)look_text(c, error, "detail").n, look_text(c, error, "detail").p);
		look_ago(c, error, "at", &text);
		buf_char(&text, ')');
	}
	grid_add(g, STYLE_PLAIN, text.n ? buf_view(&text) : STR("-"));
	buf_clear(&text);
	add_participant(c, look(s, "participant"), &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_fini(&text);
}

static void add_owner(struct ctl *c, const struct json *t)
{
	const struct json *owner = look(t, "owner");
	struct str         state = look_text(c, owner, "state"), id = look_text(c, owner, "id");
	struct buf         line = { 0 };

	if (!owner)
		return;
	buf_fmt(&line, "owner %.*s: %.*s", (int)id.n, id.p, (int)state.n, state.p);
	if (look(owner, "lease_age_ms")) {
		buf_cstr(&line, ", last sign of life ");
		span_add(&line, (int64_t)look_number(owner, "lease_age_ms"));
		buf_cstr(&line, " old");
	}
	buf_cstr(&line, look_true(owner, "answered") ? "" : "; it was not asked or did not answer: this is from the log");
	style_add(&c->out, c->color, STYLE_DIM, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

static void show_explanation(struct ctl *c, const struct json *t)
{
	struct grid        g = { .heads = { "STEP", "OP", "WHY", "UNTIL", "FAILED", "LAST ERROR", "PARTICIPANT" } };
	const struct json *steps = look(t, "steps");
	struct str         hint = look_text(c, t, "hint");

	style_add(&c->out, c->color, STYLE_BOLD, look_text(c, t, "sentence"));
	buf_char(&c->out, '\n');
	style_add(&c->out, c->color, STYLE_YELLOW, hint);
	buf_cstr(&c->out, hint.n ? "\n\n" : "\n");
	for (const struct json *s = steps ? steps->first : NULL; s; s = s->next)
		add_step(c, &g, s);
	if (g.n)
		grid_write(&g, c->color, &c->out);
	add_owner(c, t);
	grid_fini(&g);
}

enum exit_status run_txn_explain(struct ctl *c)
{
	struct buf       path = { 0 };
	enum exit_status status;

	buf_cstr(&path, "/v1/transactions");
	path_add(&path, str_of(c->args.words[0]));
	buf_cstr(&path, "/explain");
	status = ctl_get(c, path.p);
	buf_fini(&path);
	if (status == EXIT_DONE && ctl_has(c, FLAG_json))
		ctl_raw(c);
	else if (status == EXIT_DONE)
		show_explanation(c, c->answer.json);
	return status;
}

/* ---- stuck ------------------------------------------------------------------------------------------ */

static void add_group(struct ctl *c, void *arg, const struct json *s)
{
	struct grid *g = arg;
	struct str   definition = look_text(c, s, "definition"), sample = look_text(c, s, "sample");
	struct buf   age = { 0 };

	if (sample.n == 0)
		sample = look_text(c, s, "sample_gid");
	grid_add(g, STYLE_BOLD, look_text(c, s, "count"));
	grid_add(g, STYLE_RED, look_text(c, s, "reason"));
	grid_add(g, STYLE_PLAIN, definition.n ? definition : STR("-"));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "step"));
	grid_add(g, STYLE_PLAIN, look_text(c, s, "participant"));
	look_ago(c, s, look(s, "oldest") ? "oldest" : "oldest_at", &age);
	grid_add(g, STYLE_PLAIN, buf_view(&age));
	grid_add(g, STYLE_BOLD, sample);
	grid_add(g, STYLE_PLAIN, look_text(c, s, "error"));
	buf_fini(&age);
}

enum exit_status run_stuck(struct ctl *c)
{
	struct grid      g = { .heads = { "COUNT", "REASON", "DEFINITION", "STEP", "PARTICIPANT", "OLDEST", "SAMPLE", "ERROR" } };
	struct buf       path = { 0 };
	enum exit_status status;

	buf_cstr(&path, "/v1/stuck");
	status = ctl_list(c, &path, add_group, &g);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json)) {
		if (g.n)
			grid_write(&g, c->color, &c->out);
		else
			buf_cstr(&c->out, "nothing is stuck\n");
	}
	grid_fini(&g);
	buf_fini(&path);
	return status;
}

/* ---- overview ---------------------------------------------------------------------------------------- */

void show_overview(struct ctl *c, const struct json *o)
{
	show_value(c, o, 0);
}

enum exit_status run_overview(struct ctl *c)
{
	enum exit_status status = ctl_get(c, "/v1/overview");

	if (status == EXIT_DONE && ctl_has(c, FLAG_json))
		ctl_raw(c);
	else if (status == EXIT_DONE)
		show_overview(c, c->answer.json);
	return status;
}
