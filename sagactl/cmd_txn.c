/* SPDX-License-Identifier: Apache-2.0
 * cmd_txn.c - begin transactions and look at them.
 */
#include "sagactl/ctl.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WAIT_MAX_MS = 20000, PROGRESS_MS = 2000, NOT_NOW_MS = 500, WATCH_MS = 500 };

static void txn_path(struct buf *path, const char *gid, const char *more)
{
	buf_clear(path);
	buf_cstr(path, "/v1/transactions");
	path_add(path, str_of(gid));
	buf_cstr(path, more);
}

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_ended(struct ctl *c)
{
	return look(c->answer.json, "ended_at") != NULL;
}

static void print_transaction(struct ctl *c)
{
	if (ctl_has(c, FLAG_json))
		ctl_raw(c);
	else
		show_transaction(c);
}

/* ---- wait ------------------------------------------------------------------------------------ */

/* On a terminal alone: a line that is written over. */
static void show_progress(struct ctl *c, int64_t waited_ms)
{
	struct buf line = { 0 };

	if (!c->can_ask || ctl_has(c, FLAG_json))
		return;
	buf_cstr(&line, "\r\033[K");
	if (waited_ms >= 0) {
		span_add(&line, waited_ms);
		buf_cstr(&line, "  ");
		show_state(c, c->answer.json, &line);
	}
	dprintf(2, "%s", line.p);
	buf_fini(&line);
}

/* One look that lasts until the end, or that long. */
static enum exit_status look_for_end(struct ctl *c, const char *gid, int64_t turn_ms)
{
	struct buf       path = { 0 };
	char             text[32];
	enum exit_status status;

	txn_path(&path, gid, "");
	if (turn_ms > 0)
		query_add(&path, "wait", str_of(text_of_ms(turn_ms, text)));
	status = ctl_try(c, &(struct ask){ .method = "GET", .path = path.p, .wait_ms = turn_ms });
	buf_fini(&path);
	return status;
}

/* Until it has ended or the time is over; c->answer is the transaction as it is then. The first look waits for
 * nothing: a replica that is frozen is found out in a time-out, not in one and the wait. "Not now" is no reason to stop:
 * whoever waits may have begun while a database fails over. */
static enum exit_status wait_for_end(struct ctl *c, const char *gid, int64_t wait_ms)
{
	const int64_t    end = monotonic_ms() + wait_ms;
	enum exit_status status = look_for_end(c, gid, 0);
	bool             is_over = false;

	while (status == EXIT_DONE && !is_over) {
		int64_t left = end - monotonic_ms(), turn = c->can_ask ? PROGRESS_MS : WAIT_MAX_MS;
		bool    not_now = c->answer.status == 503 || c->answer.status == 429;

		is_over = left <= 0 || (!not_now && (c->answer.status != 200 || is_ended(c)));
		if (is_over)
			break;
		if (not_now)
			poll(NULL, 0, NOT_NOW_MS);
		else
			show_progress(c, wait_ms - left);
		status = look_for_end(c, gid, left < turn ? left : turn);
	}
	show_progress(c, -1);
	return status == EXIT_DONE && c->answer.status != 200 ? ctl_problem(c) : status;
}

static enum exit_status exit_of_end(struct ctl *c)
{
	if (!is_ended(c))
		return EXIT_ELAPSED;
	return str_is(look_text(c->answer.json, "result"), "succeeded") ? EXIT_DONE : EXIT_NOT_WELL;
}

enum exit_status run_txn_wait(struct ctl *c)
{
	int64_t          wait_ms;
	struct buf       line = { 0 };
	enum exit_status status = ctl_duration(c, FLAG_wait, INT64_C(24) * 3600 * 1000, &wait_ms);

	if (status == EXIT_DONE)
		status = wait_for_end(c, c->args.words[0], wait_ms);
	if (status != EXIT_DONE)
		return status;
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
	} else {
		buf_fmt(&line, "%s ", c->args.words[0]);
		show_state(c, c->answer.json, &line);
		style_add(&c->out, c->color, STYLE_PLAIN, buf_view(&line));
		buf_char(&c->out, '\n');
	}
	buf_fini(&line);
	return exit_of_end(c);
}

/* ---- start ------------------------------------------------------------------------------------- */

static bool add_labels(const struct args *a, struct buf *body, struct err *err)
{
	buf_cstr(body, a->label_n ? ",\"labels\":{" : "");
	for (size_t i = 0; i < a->label_n; i++) {
		const char *equals = strchr(a->labels[i], '=');

		if (!equals || equals == a->labels[i])
			return err_set(err, ERR_INVALID, "--label: NAME=TEXT is wanted, not `%s`", a->labels[i]);
		buf_cstr(body, i ? "," : "");
		buf_json(body, (struct str){ a->labels[i], (size_t)(equals - a->labels[i]) });
		buf_char(body, ':');
		buf_json(body, str_of(equals + 1));
	}
	buf_cstr(body, a->label_n ? "}" : "");
	return true;
}

static void add_member(struct ctl *c, struct buf *body, enum flag f, const char *name)
{
	if (!ctl_has(c, f))
		return;
	buf_fmt(body, ",\"%s\":", name);
	buf_json(body, str_of(c->args.values[f]));
}

static bool make_start(struct ctl *c, struct buf *body, struct err *err)
{
	const char   *word = c->args.words[0], *at = strrchr(word, '@');
	struct source input = { 0 };
	uint64_t      version;
	bool          fine = true;

	buf_cstr(body, "{\"definition\":");
	buf_json(body, (struct str){ word, at ? (size_t)(at - word) : strlen(word) });
	if (at && !text_to_u64(str_of(at + 1), &version))
		return err_set(err, ERR_INVALID, "NAME or NAME@VERSION is wanted, not `%s`", word);
	if (at)
		buf_fmt(body, ",\"version\":%llu", (unsigned long long)version);
	add_member(c, body, FLAG_gid, "gid");
	add_member(c, body, FLAG_deadline, "deadline");
	add_member(c, body, FLAG_start_at, "start_at");
	if (!add_labels(&c->args, body, err))
		return false;
	if (ctl_has(c, FLAG_input))
		fine = source_value(&input, c->args.values[FLAG_input], err);
	buf_cstr(body, ",\"input\":");
	buf_str(body, fine && input.json.n ? input.json : STR("{}"));
	buf_char(body, '}');
	source_fini(&input);
	return fine;
}

/* The gid of the answer, which outlives it. */
static void keep_gid(struct ctl *c, struct buf *gid)
{
	buf_clear(gid);
	buf_str(gid, look_text(c->answer.json, "gid"));
}

static void print_start(struct ctl *c, const char *gid, bool replayed)
{
	struct buf line = { 0 };

	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return;
	}
	buf_fmt(&line, "%s ", gid);
	show_state(c, c->answer.json, &line);
	buf_cstr(&line, replayed ? " (begun before)" : "");
	style_add(&c->out, c->color, STYLE_PLAIN, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

static enum exit_status begin(struct ctl *c, const struct buf *body, int64_t wait_ms)
{
	struct buf       gid = { 0 };
	enum exit_status status = ctl_send(c, &(struct ask){ .method = "POST", .path = "/v1/transactions",
	                                                     .body = buf_view(body),
	                                                     .idempotency_key = c->args.values[FLAG_idempotency_key] });
	bool             replayed = c->answer.replayed;

	if (status == EXIT_DONE) {
		keep_gid(c, &gid);
		if (ctl_has(c, FLAG_wait))
			status = wait_for_end(c, gid.p, wait_ms);
	}
	if (status == EXIT_DONE) {
		print_start(c, gid.p, replayed);
		status = ctl_has(c, FLAG_wait) ? exit_of_end(c) : EXIT_DONE;
	}
	buf_fini(&gid);
	return status;
}

enum exit_status run_txn_start(struct ctl *c)
{
	struct buf       body = { 0 };
	struct err       err;
	int64_t          wait_ms;
	enum exit_status status = ctl_duration(c, FLAG_wait, 0, &wait_ms);

	if (status == EXIT_DONE && !make_start(c, &body, &err))
		status = ctl_usage(&err);
	if (status == EXIT_DONE)
		status = begin(c, &body, wait_ms);
	buf_fini(&body);
	return status;
}

/* ---- look ----------------------------------------------------------------------------------------- */

enum exit_status run_txn_get(struct ctl *c)
{
	struct buf       path = { 0 };
	enum exit_status first = EXIT_DONE;

	for (size_t i = 0; i < c->args.word_n; i++) {
		txn_path(&path, c->args.words[i], "");
		enum exit_status status = ctl_get(c, path.p);
		if (status == EXIT_DONE) {
			buf_cstr(&c->out, i && !ctl_has(c, FLAG_json) ? "\n" : "");
			print_transaction(c);
		}
		first = first == EXIT_DONE ? status : first;
	}
	buf_fini(&path);
	return first;
}

static void say_change(struct ctl *c, json_t *t)
{
	struct buf line = { 0 };
	json_t    *s;
	size_t     i;
	char       now[32];

	buf_fmt(&line, "%.8s  ", text_of_time((int64_t)time(NULL) * 1000, now) + 11);
	show_state(c, t, &line);
	json_array_foreach(look(t, "steps"), i, s) {
		struct str name = look_text(s, "name"), state = look_text(s, "state");

		buf_fmt(&line, "  %.*s %.*s", (int)name.n, name.p, (int)state.n, state.p);
		if (look(s, "op") && look_number(s, "attempts") > 1)
			buf_fmt(&line, " (call %llu)", (unsigned long long)look_number(s, "attempts"));
	}
	style_add(&c->out, c->color, style_of_phase(look_text(t, "phase")), buf_view(&line));
	buf_char(&c->out, '\n');
	ctl_flush(c);
	buf_fini(&line);
}

/* Every version is an ETag: 304 while nothing has changed. */
enum exit_status run_txn_watch(struct ctl *c)
{
	struct buf       path = { 0 };
	char             seen[64] = "";
	int64_t          every_ms;
	enum exit_status status = ctl_duration(c, FLAG_interval, WATCH_MS, &every_ms);

	txn_path(&path, c->args.words[0], "");
	while (status == EXIT_DONE) {
		status = ctl_try(c, &(struct ask){ .method = "GET", .path = path.p, .if_none_match = str_of(seen) });
		if (status != EXIT_DONE || c->answer.status == 304) {
			poll(NULL, 0, status == EXIT_DONE ? (int)every_ms : 0);
			continue;
		}
		if (c->answer.status != 200) {
			status = ctl_problem(c);
			break;
		}
		memcpy(seen, c->answer.etag, sizeof seen);
		if (ctl_has(c, FLAG_json))
			ctl_raw(c), ctl_flush(c);
		else
			say_change(c, c->answer.json);
		if (is_ended(c)) {
			status = exit_of_end(c);
			break;
		}
		poll(NULL, 0, (int)every_ms);
	}
	buf_fini(&path);
	return status;
}

static void add_row(struct ctl *c, void *arg, json_t *t)
{
	struct grid *g = arg;
	struct str   definition = look_text(t, "definition"), phase = look_text(t, "phase");
	struct buf   text = { 0 };

	grid_add(g, STYLE_BOLD, look_text(t, "gid"));
	grid_add(g, style_of_phase(phase), phase);
	grid_add(g, STYLE_PLAIN, definition.n ? definition : STR("-"));
	look_ago(c, t, "created_at", &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	if (look(t, "stuck"))
		buf_fmt(&text, "stuck: %.*s", (int)look_text(look(t, "stuck"), "reason").n,
		        look_text(look(t, "stuck"), "reason").p);
	if (look_paused(t))
		buf_fmt(&text, "%spaused", text.n ? ", " : "");
	grid_add(g, look(t, "stuck") ? STYLE_RED : STYLE_YELLOW, buf_view(&text));
	buf_fini(&text);
}

/* The filters of the command line as those of the API. */
static bool add_filters(struct ctl *c, struct buf *path, struct err *err)
{
	static const struct { enum flag flag; const char *name; } FILTERS[] = {
		{ FLAG_phase, "phase" }, { FLAG_definition, "definition" }, { FLAG_older_than, "older_than" },
		{ FLAG_participant, "participant" },
	};

	for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++)
		if (ctl_has(c, FILTERS[i].flag))
			query_add(path, FILTERS[i].name, str_of(c->args.values[FILTERS[i].flag]));
	if (ctl_has(c, FLAG_stuck))
		query_add(path, "stuck", STR("true"));
	for (size_t i = 0; i < c->args.label_n; i++) {
		const char *label = c->args.labels[i], *equals = strchr(label, '=');
		struct buf  name = { 0 };

		if (!equals)
			return err_set(err, ERR_INVALID, "--label: NAME=TEXT is wanted, not `%s`", label);
		buf_fmt(&name, "label.%.*s", (int)(equals - label), label);
		query_add(path, name.p, str_of(equals + 1));
		buf_fini(&name);
	}
	return true;
}

enum exit_status run_txn_list(struct ctl *c)
{
	struct grid      g = { .heads = { "GID", "PHASE", "DEFINITION", "BEGUN", "" } };
	struct buf       path = { 0 };
	struct err       err;
	enum exit_status status;

	buf_cstr(&path, "/v1/transactions");
	status = add_filters(c, &path, &err) ? ctl_list(c, &path, add_row, &g) : ctl_usage(&err);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json))
		grid_write(&g, c->color, &c->out);
	grid_fini(&g);
	buf_fini(&path);
	return status;
}

static void add_entry(struct ctl *c, void *arg, json_t *e)
{
	struct grid *g = arg;
	struct str   step = look_text(e, "step"), op = look_text(e, "op"), what = look_text(e, "what");
	struct str   actor = look_text(e, "actor"), outcome = look_text(e, "outcome");
	bool         by_person = actor.n > 0;
	struct buf   text = { 0 };

	(void)c;
	grid_add(g, STYLE_DIM, look_text(e, "at"));
	grid_add(g, by_person ? STYLE_BOLD : STYLE_PLAIN, what);
	buf_fmt(&text, "%.*s %.*s", (int)step.n, step.p, (int)op.n, op.p);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_clear(&text);
	buf_str(&text, outcome);
	if (look(e, "status"))
		buf_fmt(&text, "%s%llu", text.n ? " " : "", (unsigned long long)look_number(e, "status"));
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_BOLD, actor);
	grid_add(g, STYLE_PLAIN, look_text(e, "detail"));
	buf_fini(&text);
}

enum exit_status run_txn_journal(struct ctl *c)
{
	struct grid      g = { .heads = { "TIME", "WHAT", "STEP", "OUTCOME", "WHO", "DETAIL" } };
	struct buf       path = { 0 };
	enum exit_status status;

	txn_path(&path, c->args.words[0], "/journal");
	status = ctl_list(c, &path, add_entry, &g);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json)) {
		if (g.n)
			grid_write(&g, c->color, &c->out);
		else
			buf_cstr(&c->out, "no attempt failed, and nobody did anything\n");
	}
	grid_fini(&g);
	buf_fini(&path);
	return status;
}
