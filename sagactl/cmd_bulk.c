/* SPDX-License-Identifier: Apache-2.0
 * cmd_bulk.c - one action on many transactions, and how far it is.
 */
#include "sagactl/ctl.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WATCH_MS = 500 };

static void bulk_path(struct buf *path, const char *id)
{
	buf_clear(path);
	buf_cstr(path, "/v1/bulk");
	if (id)
		path_add(path, str_of(id));
}

static bool is_over(struct ctl *c)
{
	struct str state = look_text(c->answer.json, "state");

	return str_is(state, "done") || str_is(state, "cancelled") || str_is(state, "failed");
}

/* "retry running: 40 matched, 38 done, 2 refused" */
static void add_counts(const json_t *b, struct buf *out)
{
	static const char *const COUNTS[] = { "matched", "done", "refused", "failed" };
	struct str               action = look_text(b, "action"), state = look_text(b, "state");
	const char              *between = ": ";

	buf_fmt(out, "%.*s %.*s", (int)action.n, action.p, (int)state.n, state.p);
	for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
		struct str n = look_text(b, COUNTS[i]);

		if (n.n == 0)
			continue;
		buf_fmt(out, "%s%.*s %s", between, (int)n.n, n.p, COUNTS[i]);
		between = ", ";
	}
}

static void print_bulk(struct ctl *c)
{
	struct buf line = { 0 };

	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return;
	}
	buf_str(&line, look_text(c->answer.json, "id"));
	buf_cstr(&line, " ");
	add_counts(c->answer.json, &line);
	style_add(&c->out, c->color, STYLE_PLAIN, buf_view(&line));
	buf_char(&c->out, '\n');
	show_value(c, look(c->answer.json, "refusals"), 1);
	buf_fini(&line);
}

/* ---- start ------------------------------------------------------------------------------------- */

static void add_text(struct ctl *c, struct buf *filter, enum flag f, const char *name)
{
	if (!ctl_has(c, f))
		return;
	buf_fmt(filter, "%s\"%s\":", filter->n ? "," : "", name);
	buf_json(filter, str_of(c->args.values[f]));
}

static bool make_filter(struct ctl *c, struct buf *filter, struct err *err)
{
	add_text(c, filter, FLAG_phase, "phase");
	add_text(c, filter, FLAG_definition, "definition");
	add_text(c, filter, FLAG_older_than, "older_than");
	add_text(c, filter, FLAG_participant, "participant");
	if (ctl_has(c, FLAG_stuck))
		buf_fmt(filter, "%s\"stuck\":true", filter->n ? "," : "");
	if (c->args.label_n)
		buf_fmt(filter, "%s\"labels\":{", filter->n ? "," : "");
	for (size_t i = 0; i < c->args.label_n; i++) {
		const char *label = c->args.labels[i], *equals = strchr(label, '=');

		if (!equals)
			return err_set(err, ERR_INVALID, "--label: NAME=TEXT is wanted, not `%s`", label);
		buf_cstr(filter, i ? "," : "");
		buf_json(filter, (struct str){ label, (size_t)(equals - label) });
		buf_char(filter, ':');
		buf_json(filter, str_of(equals + 1));
	}
	buf_cstr(filter, c->args.label_n ? "}" : "");
	return filter->n > 0 ||
	       err_set(err, ERR_INVALID, "on which transactions? Give a filter: --stuck, --definition, --phase, …");
}

static enum exit_status make_body(struct ctl *c, struct buf *body)
{
	struct buf       filter = { 0 };
	struct err       err;
	uint64_t         rate;
	enum exit_status status = ctl_number(c, FLAG_rate, 0, &rate);

	if (status == EXIT_DONE && !make_filter(c, &filter, &err))
		status = ctl_usage(&err);
	if (status == EXIT_DONE)
		status = ctl_begin_body(c, body);
	if (status == EXIT_DONE) {
		buf_cstr(body, ",\"action\":");
		buf_json(body, str_of(c->args.words[0]));
		buf_fmt(body, ",\"filter\":{%s}", filter.p);
		if (rate)
			buf_fmt(body, ",\"rate\":%llu", (unsigned long long)rate);
		buf_char(body, '}');
	}
	buf_fini(&filter);
	return status;
}

/* ---- watch -------------------------------------------------------------------------------------- */

/* On a terminal alone. total: how many there were when it began; 0: not known, and so no bar. */
static void show_progress(struct ctl *c, uint64_t total, bool last)
{
	const json_t *b = c->answer.json;
	struct buf    line = { 0 };

	if (!c->can_ask || ctl_has(c, FLAG_json))
		return;
	buf_cstr(&line, "\r\033[K");
	if (!last && total) {
		bar_add(&line, look_number(b, "done") + look_number(b, "refused") + look_number(b, "failed"), total);
		buf_cstr(&line, "  ");
	}
	if (!last)
		add_counts(b, &line);
	dprintf(2, "%s", line.p);
	buf_fini(&line);
}

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum exit_status watch(struct ctl *c, const char *id, uint64_t total, int64_t every_ms, int64_t wait_ms)
{
	const int64_t    began = monotonic_ms();
	struct buf       path = { 0 };
	enum exit_status status;

	bulk_path(&path, id);
	for (;;) {
		status = ctl_get(c, path.p);
		if (status != EXIT_DONE || is_over(c))
			break;
		if (monotonic_ms() - began >= wait_ms) {
			status = EXIT_ELAPSED;
			break;
		}
		show_progress(c, total, false);
		poll(NULL, 0, (int)every_ms);
	}
	show_progress(c, total, true);
	if (status == EXIT_DONE || status == EXIT_ELAPSED)
		print_bulk(c);
	if (status == EXIT_DONE && (look_number(c->answer.json, "failed") || !str_is(look_text(c->answer.json, "state"), "done")))
		status = EXIT_NOT_WELL;
	buf_fini(&path);
	return status;
}

enum exit_status run_bulk_watch(struct ctl *c)
{
	int64_t          every_ms;
	enum exit_status status = ctl_duration(c, FLAG_interval, WATCH_MS, &every_ms);

	return status == EXIT_DONE ? watch(c, c->args.words[0], 0, every_ms, INT64_MAX) : status;
}

static const char DRY_PATH[] = "/v1/bulk?dry_run=true";

/* Whoever sits at a terminal is told how many it is before it begins, and sees a bar. */
static enum exit_status count(struct ctl *c, const struct buf *body, uint64_t *total)
{
	enum exit_status status;

	*total = 0;
	if (!c->can_ask || ctl_has(c, FLAG_json) || ctl_has(c, FLAG_dry_run))
		return EXIT_DONE;
	status = ctl_send(c, &(struct ask){ .method = "POST", .path = DRY_PATH, .body = buf_view(body) });
	if (status == EXIT_DONE && look_true(look(c->answer.json, "would"), "complete"))
		*total = look_number(look(c->answer.json, "would"), "matched");
	return status;
}

static enum exit_status ask(struct ctl *c, uint64_t total)
{
	char question[128] = "It will be done to all that match (--dry-run counts them). Is that meant?";

	if (total)
		snprintf(question, sizeof question, "It will be done to all that match: %llu now. Is that meant?",
		         (unsigned long long)total);
	return ctl_confirm(c, question);
}

enum exit_status run_bulk_start(struct ctl *c)
{
	struct buf       body = { 0 }, id = { 0 };
	const char      *path = ctl_has(c, FLAG_dry_run) ? DRY_PATH : "/v1/bulk";
	uint64_t         total;
	int64_t          wait_ms;
	enum exit_status status = ctl_duration(c, FLAG_wait, 0, &wait_ms);

	if (status == EXIT_DONE)
		status = make_body(c, &body);
	if (status == EXIT_DONE)
		status = count(c, &body, &total);
	if (status == EXIT_DONE)
		status = ask(c, total);
	if (status == EXIT_DONE)
		status = ctl_send(c, &(struct ask){ .method = "POST", .path = path, .body = buf_view(&body) });
	if (status == EXIT_DONE) {
		buf_str(&id, look_text(c->answer.json, "id"));
		if (ctl_has(c, FLAG_dry_run) && !ctl_has(c, FLAG_json))
			ctl_show_dry_run(c);
		else if (ctl_has(c, FLAG_wait) && id.n)
			status = watch(c, id.p, total, WATCH_MS, wait_ms);
		else
			print_bulk(c);
	}
	buf_fini(&body);
	buf_fini(&id);
	return status;
}

/* ---- look, cancel ----------------------------------------------------------------------------------- */

static void add_bulk(struct ctl *c, void *arg, json_t *b)
{
	struct grid *g = arg;
	struct buf   text = { 0 };

	(void)c;
	grid_add(g, STYLE_BOLD, look_text(b, "id"));
	add_counts(b, &text);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	grid_add(g, STYLE_PLAIN, look_text(b, "actor"));
	grid_add(g, STYLE_PLAIN, look_text(b, "reason"));
	buf_fini(&text);
}

enum exit_status run_bulk_list(struct ctl *c)
{
	struct grid      g = { .heads = { "ID", "WHAT", "WHO", "REASON" } };
	struct buf       path = { 0 };
	enum exit_status status;

	bulk_path(&path, NULL);
	status = ctl_list(c, &path, add_bulk, &g);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json))
		grid_write(&g, c->color, &c->out);
	grid_fini(&g);
	buf_fini(&path);
	return status;
}

enum exit_status run_bulk_get(struct ctl *c)
{
	struct buf       path = { 0 };
	enum exit_status status;

	bulk_path(&path, c->args.words[0]);
	status = ctl_get(c, path.p);
	if (status == EXIT_DONE)
		print_bulk(c);
	buf_fini(&path);
	return status;
}

enum exit_status run_bulk_cancel(struct ctl *c)
{
	struct buf       path = { 0 }, body = { 0 };
	enum exit_status status = ctl_begin_body(c, &body);

	bulk_path(&path, c->args.words[0]);
	buf_cstr(&path, "/cancel");
	if (status == EXIT_DONE)
		status = ctl_write(c, "POST", &path, &body, 0);
	if (status == EXIT_DONE && ctl_has(c, FLAG_dry_run) && !ctl_has(c, FLAG_json))
		ctl_show_dry_run(c);
	else if (status == EXIT_DONE)
		print_bulk(c);
	buf_fini(&path);
	buf_fini(&body);
	return status;
}
