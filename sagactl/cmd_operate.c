/* SPDX-License-Identifier: Apache-2.0
 * cmd_operate.c - participants, replicas, and who did what.
 */
#include "sagactl/ctl.h"

#include <poll.h>

enum { POLL_MS = 200 };

/* ---- participants ------------------------------------------------------------------------------ */

static void add_number(struct grid *g, const json_t *t, const char *name)
{
	struct str text = look_text(t, name);

	grid_add(g, STYLE_PLAIN, text.n ? text : STR("-"));
}

static void show_names(struct ctl *c, json_t *items)
{
	json_t     *p;
	size_t      i;
	struct grid g = { .heads = { "NAME", "BASE URL", "IN FLIGHT AT MOST", "SECRET", "" } };

	json_array_foreach(items, i, p) {
		grid_add(&g, STYLE_BOLD, look_text(p, "name"));
		grid_add(&g, STYLE_PLAIN, look_text(p, "base_url"));
		add_number(&g, p, "max_in_flight");
		add_number(&g, p, "secret");
		grid_add(&g, STYLE_YELLOW, look_paused(p) ? STR("paused") : STR(""));
	}
	if (g.n)
		grid_write(&g, c->color, &c->out);
	else
		buf_cstr(&c->out, "no participant has a name\n");
	grid_fini(&g);
}

/* "breaker open for 3m, put off until ..." */
static void add_troubles(struct ctl *c, json_t *t, struct buf *out)
{
	struct str breaker = look_text(t, "breaker");

	if (breaker.n && !str_is(breaker, "closed")) {
		buf_fmt(out, "breaker %.*s, ", (int)breaker.n, breaker.p);
		look_ago(c, t, "breaker_since", out);
	}
	if (look(t, "throttled_until")) {
		buf_fmt(out, "%sthrottled, called again ", out->n ? "; " : "");
		look_ago(c, t, "throttled_until", out);
	}
	if (look_paused(t))
		buf_fmt(out, "%spaused", out->n ? "; " : "");
}

static void show_targets(struct ctl *c, json_t *targets)
{
	json_t     *t;
	size_t      i;
	struct grid g = { .heads = { "CALLED FROM THIS REPLICA", "IN FLIGHT", "QUEUED", "CALLS", "FAILED", "ERROR RATE", "P50 MS",
	                             "P99 MS", "" } };

	json_array_foreach(targets, i, t) {
		struct buf troubles = { 0 };

		grid_add(&g, STYLE_BOLD, look_text(t, "name"));
		add_number(&g, t, "in_flight");
		add_number(&g, t, "queued");
		add_number(&g, t, "calls");
		add_number(&g, t, "failures");
		add_number(&g, t, "error_rate");
		add_number(&g, t, "p50_ms");
		add_number(&g, t, "p99_ms");
		add_troubles(c, t, &troubles);
		grid_add(&g, STYLE_RED, buf_view(&troubles));
		buf_fini(&troubles);
	}
	if (g.n) {
		buf_char(&c->out, '\n');
		grid_write(&g, c->color, &c->out);
	}
	grid_fini(&g);
}

enum exit_status run_participant_list(struct ctl *c)
{
	enum exit_status status = ctl_get(c, "/v1/participants");

	if (status == EXIT_DONE && ctl_has(c, FLAG_json)) {
		ctl_raw(c);
	} else if (status == EXIT_DONE) {
		show_names(c, look(c->answer.json, "items"));
		show_targets(c, look(c->answer.json, "targets"));
	}
	return status;
}

/* ,"name":number of what is given. */
static enum exit_status add_given(struct ctl *c, struct buf *body, const char *member, enum flag f)
{
	uint64_t   n;
	struct err err;

	if (!ctl_has(c, f))
		return EXIT_DONE;
	if (!text_to_u64(str_of(c->args.values[f]), &n)) {
		err_set(&err, ERR_INVALID, "--%s: a whole number is wanted, not `%s`", flag_fact(f)->name, c->args.values[f]);
		return ctl_usage(&err);
	}
	buf_fmt(body, ",\"%s\":%llu", member, (unsigned long long)n);
	return EXIT_DONE;
}

static const struct { const char *member; enum flag flag; } NUMBERS[] = {
	{ "max_in_flight", FLAG_max_in_flight }, { "breaker_percent", FLAG_breaker_percent },
	{ "retry_percent", FLAG_retry_percent },
};

static void keep(struct ctl *c, const json_t *known, const char *member, enum flag f, struct buf *body)
{
	struct str value = look_text(known, member);

	if (value.n == 0 || ctl_has(c, f))
		return;
	buf_fmt(body, ",\"%s\":", member);
	if (f == FLAG_secret)
		buf_json(body, value);
	else
		buf_str(body, value);
}

/* What is known of it and not given anew stays: a PUT replaces all. */
static enum exit_status add_known(struct ctl *c, const char *name, struct buf *body)
{
	enum exit_status   status = ctl_get(c, "/v1/participants");
	const json_t      *items, *known = NULL;
	struct err         err;

	if (status != EXIT_DONE)
		return status;
	items = look(c->answer.json, "items");
	for (size_t i = 0; i < json_array_size(items) && !known; i++)
		known = str_is(look_text(json_array_get(items, i), "name"), name) ? json_array_get(items, i) : NULL;
	if (c->args.word_n < 2 && !known) {
		err_set(&err, ERR_INVALID, "%s is not known yet: give its base URL", name);
		return ctl_usage(&err);
	}
	buf_cstr(body, "{\"base_url\":");
	buf_json(body, c->args.word_n > 1 ? str_of(c->args.words[1]) : look_text(known, "base_url"));
	for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
		keep(c, known, NUMBERS[i].member, NUMBERS[i].flag, body);
	keep(c, known, "secret", FLAG_secret, body);
	return EXIT_DONE;
}

enum exit_status run_participant_put(struct ctl *c)
{
	const char      *name = c->args.words[0];
	struct buf       path = { 0 }, body = { 0 };
	enum exit_status status = add_known(c, name, &body);

	buf_cstr(&path, "/v1/participants");
	path_add(&path, str_of(name));
	ctl_add_person(c, &path);
	for (size_t i = 0; status == EXIT_DONE && i < sizeof NUMBERS / sizeof *NUMBERS; i++)
		status = add_given(c, &body, NUMBERS[i].member, NUMBERS[i].flag);
	if (ctl_has(c, FLAG_secret)) {
		buf_cstr(&body, ",\"secret\":");
		buf_json(&body, str_of(c->args.values[FLAG_secret]));
	}
	if (status == EXIT_DONE)
		status = ctl_write(c, "PUT", &path, &body, 0);
	if (status == EXIT_DONE && ctl_has(c, FLAG_json))
		ctl_raw(c);
	else if (status == EXIT_DONE && ctl_has(c, FLAG_dry_run))
		ctl_show_dry_run(c);
	else if (status == EXIT_DONE)
		buf_fmt(&c->out, "%s is known to this replica, and to the others within two seconds\n", name);
	buf_fini(&path);
	buf_fini(&body);
	return status;
}

enum exit_status run_participant_pause(struct ctl *c)
{
	return ctl_operate(c, "participants", "pause", "is not called any more; its steps wait");
}

enum exit_status run_participant_resume(struct ctl *c)
{
	return ctl_operate(c, "participants", "resume", "is called again");
}

/* ---- replicas -------------------------------------------------------------------------------------- */

static void add_replica(struct ctl *c, struct grid *g, json_t *r)
{
	struct str  state = look_text(r, "state");
	bool        live = str_is(state, "live");
	struct buf  text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(r, "id"));
	grid_add(g, live ? STYLE_GREEN : STYLE_YELLOW, state);
	grid_add(g, STYLE_PLAIN, look_text(r, "address"));
	look_ago(c, r, "started_at", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	look_ago(c, r, "seen_at", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	add_number(g, r, "load");
	add_number(g, r, "share");
	grid_add(g, live ? STYLE_PLAIN : STYLE_RED, look_true(r, "owns") ? STR("yes") : STR("no"));
	if (look_true(r, "answering"))
		buf_cstr(&text, "answers this");
	if (look_true(r, "draining") || look_paused(r))
		buf_fmt(&text, "%sdraining", text.n ? ", " : "");
	if (look(r, "fenced_by"))
		buf_fmt(&text, "%sfenced by %.*s", text.n ? ", " : "", (int)look_text(r, "fenced_by").n,
		        look_text(r, "fenced_by").p);
	grid_add(g, STYLE_DIM, buf_view(&text));
	buf_fini(&text);
}

enum exit_status run_replica_list(struct ctl *c)
{
	struct grid        g = { .heads = { "ID", "STATE", "ADDRESS", "STARTED", "SEEN", "LOAD", "SHARE", "OWNS", "" } };
	enum exit_status   status = ctl_get(c, "/v1/replicas");
	json_t            *r;
	size_t             i;

	if (status != EXIT_DONE)
		return status;
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return EXIT_DONE;
	}
	json_array_foreach(look(c->answer.json, "items"), i, r)
		add_replica(c, &g, r);
	grid_write(&g, c->color, &c->out);
	grid_fini(&g);
	return EXIT_DONE;
}

static bool is_live(struct ctl *c, const char *id)
{
	json_t *r;
	size_t  i;

	json_array_foreach(look(c->answer.json, "items"), i, r)
		if (str_is(look_text(r, "id"), id))
			return str_is(look_text(r, "state"), "live");
	return false;
}

/* Told is not gone: calls under way may end first. */
static enum exit_status wait_until_gone(struct ctl *c, const char *id, int64_t wait_ms)
{
	enum exit_status status = EXIT_DONE;

	for (int64_t waited_ms = 0; status == EXIT_DONE; waited_ms += POLL_MS) {
		status = ctl_get(c, "/v1/replicas");
		if (status != EXIT_DONE || !is_live(c, id))
			break;
		if (waited_ms >= wait_ms)
			return EXIT_ELAPSED;
		poll(NULL, 0, POLL_MS);
	}
	return status;
}

enum exit_status run_replica_drain(struct ctl *c)
{
	int64_t          wait_ms;
	enum exit_status status = ctl_duration(c, FLAG_wait, 0, &wait_ms);

	if (status == EXIT_DONE)
		status = ctl_confirm(c, "It will do nothing until it is started again. Is that meant?");
	if (status == EXIT_DONE)
		status = ctl_operate(c, "replicas", "drain", "hands over what it drives, and stays up, not ready; SIGTERM ends it");
	if (status == EXIT_DONE && wait_ms > 0 && !ctl_has(c, FLAG_dry_run))
		status = wait_until_gone(c, c->args.words[0], wait_ms);
	return status;
}

/* ---- who did what ------------------------------------------------------------------------------------- */

static void add_deed(struct ctl *c, void *arg, json_t *e)
{
	struct grid *g = arg;
	struct str   step = look_text(e, "step"), target = look_text(e, "target"), kind = look_text(e, "kind");
	struct buf   text = { 0 };

	(void)c;
	grid_add(g, STYLE_DIM, look_text(e, "at"));
	grid_add(g, STYLE_BOLD, look_text(e, "actor"));
	grid_add(g, STYLE_PLAIN, look_text(e, "action"));
	if (!str_is(kind, "transaction"))
		buf_fmt(&text, "%.*s ", (int)kind.n, kind.p);
	buf_str(&text, target);
	if (step.n)
		buf_fmt(&text, " %.*s", (int)step.n, step.p);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, look_text(e, "reason"));
	buf_fini(&text);
}

enum exit_status run_audit(struct ctl *c)
{
	static const struct { enum flag flag; const char *name; } FILTERS[] = {
		{ FLAG_gid, "gid" }, { FLAG_definition, "definition" }, { FLAG_participant, "participant" },
		{ FLAG_replica, "replica" }, { FLAG_bulk, "bulk" },
		{ FLAG_by, "actor" }, { FLAG_action, "action" }, { FLAG_since, "since" }, { FLAG_until, "until" },
	};
	struct grid      g = { .heads = { "TIME", "WHO", "ACTION", "ON", "REASON" } };
	struct buf       path = { 0 };
	enum exit_status status;

	buf_cstr(&path, "/v1/audit");
	for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++)
		if (ctl_has(c, FILTERS[i].flag))
			query_add(&path, FILTERS[i].name, str_of(c->args.values[FILTERS[i].flag]));
	status = ctl_list(c, &path, add_deed, &g);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json)) {
		if (g.n)
			grid_write(&g, c->color, &c->out);
		else
			buf_cstr(&c->out, "nobody did anything of that kind\n");
	}
	grid_fini(&g);
	buf_fini(&path);
	return status;
}
