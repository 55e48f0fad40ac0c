/* SPDX-License-Identifier: Apache-2.0
 * cmd_look.c - why one does not move, what is stuck, everything at a glance.
 */
#include "sagactl/ctl.h"

#include <stdio.h>

/* "payment:8080, breaker open since 3m ago" */
static void add_participant(struct ctl *c, json_t *p, struct buf *out)
{
	struct str breaker = look_text(p, "breaker");

	buf_str(out, look_text(p, "name"));
	if (breaker.n && !str_is(breaker, "closed")) {
		buf_fmt(out, ", breaker %.*s, ", (int)breaker.n, breaker.p);
		look_ago(c, p, "breaker_since", out);
	}
	if (look_paused(p))
		buf_cstr(out, ", paused");
}

static void add_step(struct ctl *c, struct grid *g, json_t *s)
{
	json_t *error = look(s, "last_error");
	struct buf         text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(s, "name"));
	grid_add(g, STYLE_PLAIN, look_text(s, "op"));
	grid_add(g, STYLE_PLAIN, look_text(s, "why"));
	look_ago(c, s, "until", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, look_text(s, "failed_attempts"));
	buf_clear(&text);
	if (error) {
		buf_fmt(&text, "%.*s (", (int)look_text(error, "detail").n, look_text(error, "detail").p);
		look_ago(c, error, "at", &text);
		buf_char(&text, ')');
	}
	grid_add(g, STYLE_PLAIN, text.n ? buf_view(&text) : STR("-"));
	buf_clear(&text);
	add_participant(c, look(s, "participant"), &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_fini(&text);
}

static void add_owner(struct ctl *c, json_t *t)
{
	json_t *owner = look(t, "owner");
	struct str         state = look_text(owner, "state"), id = look_text(owner, "id");
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

static void show_explanation(struct ctl *c, json_t *t)
{
	struct grid        g = { .heads = { "STEP", "OP", "WHY", "UNTIL", "FAILED", "LAST ERROR", "PARTICIPANT" } };
	json_t            *s;
	size_t             i;
	struct str         hint = look_text(t, "hint");

	style_add(&c->out, c->color, STYLE_BOLD, look_text(t, "sentence"));
	buf_char(&c->out, '\n');
	style_add(&c->out, c->color, STYLE_YELLOW, hint);
	buf_cstr(&c->out, hint.n ? "\n\n" : "\n");
	json_array_foreach(look(t, "steps"), i, s)
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

static struct grid stuck_grid(void)
{
	return (struct grid){ .heads = { "COUNT", "REASON", "DEFINITION", "STEP", "PARTICIPANT", "OLDEST", "SAMPLE", "ERROR" } };
}

static void add_groups(struct ctl *c, struct grid *g, json_t *groups)
{
	json_t *s;
	size_t  i;

	json_array_foreach(groups, i, s) {
		struct str definition = look_text(s, "definition");
		struct buf text = { 0 };

		grid_add(g, STYLE_BOLD, look_text(s, "count"));
		grid_add(g, STYLE_RED, look_text(s, "reason"));
		grid_add(g, STYLE_PLAIN, definition.n ? definition : STR("-"));
		buf_fmt(&text, "%.*s %.*s", (int)look_text(s, "step").n, look_text(s, "step").p,
		        (int)look_text(s, "op").n, look_text(s, "op").p);
		grid_add(g, STYLE_PLAIN, buf_view(&text));
		grid_add(g, STYLE_PLAIN, look_text(s, "participant"));
		buf_clear(&text);
		look_ago(c, s, "oldest_at", &text);
		grid_add(g, STYLE_PLAIN, buf_view(&text));
		grid_add(g, STYLE_BOLD, look_text(s, "sample"));
		grid_add(g, STYLE_PLAIN, look_text(s, "error"));
		buf_fini(&text);
	}
}

enum exit_status run_stuck(struct ctl *c)
{
	struct grid      g = stuck_grid();
	enum exit_status status = ctl_get(c, "/v1/stuck");

	if (status == EXIT_DONE && ctl_has(c, FLAG_json)) {
		ctl_raw(c);
	} else if (status == EXIT_DONE) {
		add_groups(c, &g, look(c->answer.json, "items"));
		if (g.n)
			grid_write(&g, c->color, &c->out);
		else
			buf_cstr(&c->out, "nothing is stuck\n");
		if (!look_true(c->answer.json, "complete"))
			ctl_say(c, "there are more: these are of the %llu that were looked at",
			        (unsigned long long)look_number(c->answer.json, "examined"));
	}
	grid_fini(&g);
	return status;
}

/* ---- overview ---------------------------------------------------------------------------------------- */

static void add_unfinished(struct ctl *c, json_t *u)
{
	json_t     *phases = look(u, "by_phase"), *p;
	const char *name;
	struct buf  line = { 0 };

	buf_fmt(&line, "%s%llu", look_true(u, "at_least") ? "at least " : "", (unsigned long long)look_number(u, "count"));
	json_object_foreach(phases, name, p)
		if (!str_is(text_of_json(p), "0"))
			buf_fmt(&line, ", %s %.*s", name, (int)text_of_json(p).n, text_of_json(p).p);
	buf_fmt(&line, "; %llu parked", (unsigned long long)look_number(u, "parked"));
	if (look_number(u, "overdue_ms") > 0) {
		buf_cstr(&line, ", the oldest due ");
		span_add(&line, (int64_t)look_number(u, "overdue_ms"));
		buf_cstr(&line, " ago");
	}
	buf_cstr(&c->out, "unfinished  ");
	style_add(&c->out, c->color, STYLE_PLAIN, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

static void add_rates(const json_t *rates, struct buf *line)
{
	struct str begun = look_text(rates, "begun"), ended = look_text(rates, "ended"), calls = look_text(rates, "calls");

	buf_fmt(line, "a second %.*s begun, %.*s ended, %.*s calls", (int)begun.n, begun.p, (int)ended.n, ended.p,
	        (int)calls.n, calls.p);
}

/* Of all replicas that answered; who did not is named. */
static void add_everywhere(struct ctl *c, const json_t *all)
{
	json_t    *id;
	size_t     i;
	struct buf line = { 0 };

	buf_fmt(&line, "driven      %llu by %llu replicas; ", (unsigned long long)look_number(all, "owned"),
	        (unsigned long long)look_number(all, "answered"));
	add_rates(look(all, "rates"), &line);
	json_array_foreach(look(all, "silent"), i, id)
		buf_fmt(&line, "%s%.*s", i ? ", " : "; no answer from ", (int)text_of_json(id).n, text_of_json(id).p);
	style_add(&c->out, c->color, json_array_size(look(all, "silent")) ? STYLE_YELLOW : STYLE_PLAIN, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

/* In production nobody would look for it. */
static void add_chaos(struct ctl *c, const json_t *o)
{
	json_t    *all = look(look(o, "everywhere"), "chaos"), *id;
	struct str seed = look_text(look(o, "here"), "chaos");
	size_t     i;
	struct buf line = { 0 };

	if (json_array_size(all) == 0)
		return;
	buf_cstr(&c->out, "chaos       ");
	buf_cstr(&line, "calls go wrong on purpose at ");
	json_array_foreach(all, i, id)
		buf_fmt(&line, "%s%.*s", i ? ", " : "", (int)text_of_json(id).n, text_of_json(id).p);
	if (seed.n > 0 && !str_is(seed, "null"))
		buf_fmt(&line, "; the seed of the one that answers is %.*s", (int)seed.n, seed.p);
	style_add(&c->out, c->color, STYLE_RED, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

static void add_replicas(struct ctl *c, struct grid *g, json_t *replicas, struct str answering)
{
	json_t *r;
	size_t  i;

	json_array_foreach(replicas, i, r) {
		struct str state = look_text(r, "state"), id = look_text(r, "id"), owned = look_text(r, "owned");
		struct buf seen = { 0 };

		grid_add(g, STYLE_BOLD, id);
		grid_add(g, str_is(state, "live") ? STYLE_GREEN : STYLE_RED, state);
		grid_add(g, STYLE_PLAIN, look_text(r, "load"));
		grid_add(g, STYLE_PLAIN, look_text(r, "speed"));
		grid_add(g, STYLE_PLAIN, owned.n ? owned : look_true(r, "owns") ? STR("some") : STR("none"));
		look_ago(c, r, "seen_at", &seen);
		grid_add(g, STYLE_PLAIN, buf_view(&seen));
		grid_add(g, STYLE_DIM, str_eq(id, answering) ? STR("answers this") : STR(""));
		buf_fini(&seen);
	}
}

static void add_paused_calls(struct ctl *c, struct grid *g, json_t *participants)
{
	json_t *p;
	size_t  i;

	json_array_foreach(participants, i, p) {
		struct buf text = { 0 };

		grid_add(g, STYLE_BOLD, look_text(p, "name"));
		grid_add(g, STYLE_RED, look_text(p, "breaker"));
		look_ago(c, p, "since", &text);
		grid_add(g, STYLE_PLAIN, buf_view(&text));
		buf_clear(&text);
		look_ago(c, p, "throttled_until", &text);
		grid_add(g, STYLE_PLAIN, buf_view(&text));
		grid_add(g, STYLE_PLAIN, look_text(p, "put_off"));
		grid_add(g, STYLE_PLAIN, look_text(p, "replicas"));
		buf_fini(&text);
	}
}

static void add_table(struct ctl *c, struct grid *g)
{
	if (g->n) {
		buf_char(&c->out, '\n');
		grid_write(g, c->color, &c->out);
	}
	grid_fini(g);
}

void show_overview(struct ctl *c, json_t *o)
{
	json_t *stuck = look(o, "stuck"), *all = look(o, "everywhere");
	struct grid        groups = stuck_grid();
	struct grid        replicas = { .heads = { "REPLICA", "STATE", "LOAD", "SPEED", "OWNED", "SEEN", "" } };
	struct grid        participants = { .heads = { "CALLS PAUSE FOR", "BREAKER", "SINCE", "THROTTLED", "PUT OFF", "AT REPLICAS" } };
	char               text[64];

	add_unfinished(c, look(o, "unfinished"));
	snprintf(text, sizeof text, "%s%llu", look_true(stuck, "at_least") ? "at least " : "",
	         (unsigned long long)look_number(stuck, "count"));
	buf_cstr(&c->out, "stuck       ");
	style_add(&c->out, c->color, look_number(stuck, "count") ? STYLE_RED : STYLE_GREEN, str_of(text));
	buf_char(&c->out, '\n');
	add_everywhere(c, all);
	add_chaos(c, o);
	add_groups(c, &groups, look(stuck, "groups"));
	add_table(c, &groups);
	add_replicas(c, &replicas, look(o, "replicas"), look_text(look(o, "here"), "replica"));
	add_table(c, &replicas);
	add_paused_calls(c, &participants, look(all, "participants"));
	add_table(c, &participants);
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
