/* SPDX-License-Identifier: Apache-2.0
 * cmd_look.c - why one does not move, what is stuck, everything at a glance.
 */
#include "sagactl/ctl.h"

#include <string.h>

enum exit_status run_txn_explain(struct ctl *c)
{
	struct buf         path = { 0 };
	enum exit_status   status;
	const struct json *t;

	buf_cstr(&path, "/v1/transactions");
	path_add(&path, str_of(c->args.words[0]));
	buf_cstr(&path, "/explain");
	status = ctl_get(c, path.p);
	buf_fini(&path);
	if (status != EXIT_DONE)
		return status;
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return EXIT_DONE;
	}
	t = c->answer.json;
	style_add(&c->out, c->color, STYLE_BOLD, look_text(c, t, "sentence"));
	buf_cstr(&c->out, "\n\n");
	show_value(c, t, 0);
	return EXIT_DONE;
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
