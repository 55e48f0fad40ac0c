/* SPDX-License-Identifier: Apache-2.0
 * bulk_run.c - runs one bulk action at a time: a page of gids is written down, then acted on, then counted.
 *
 * Whoever takes over begins with the page that was written last. Each command has an id made of the action's and
 * the gid, so that the inbox applies it once, whoever sends it how often.
 */
#include "api/bulk.h"

#include "coordinator/base/digest.h"
#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 1000, IDLE_MS = 3000, AGAIN_MS = 500, PAGE_ROWS_MAX = 100, TRIES_MAX = 20, PASSED_MAX = 32 };

struct item {
	struct bulk_run *run;
	struct str       gid;      /* in run->page_text */
	int64_t          at;       /* boot_ms; when to send it, again perhaps */
	unsigned         tries;
	bool             sent, over;
};

enum run_state { RUN_IDLE, RUN_CLAIMING, RUN_LISTING, RUN_SAVING, RUN_ACTING, RUN_WAITING };

struct bulk_run {
	struct api        *api;
	enum run_state     state;
	int64_t            next_at;    /* boot_ms */
	bool               again;      /* one may have come since the last look */
	struct uuid        passed[PASSED_MAX]; /* those that we cannot run: a newer version's */
	size_t             passed_n;
	struct bulk_counts counts;
	/* the action in hand; texts in the arena */
	struct arena       arena;
	struct bulk_row    row;
	struct bulk_filter filter;
	enum command_kind  kind;
	struct bulk_refusals refusals;
	/* the page in hand */
	struct arena       page_text;
	struct item        items[PAGE_ROWS_MAX];
	size_t             item_n, left;
	int64_t            paced_us;   /* on boot_ms' clock: no item before, whichever page it stands in */
	bool               is_last;    /* behind this page nothing is to be looked at */
	struct buf         saved_page, saved_refusals; /* of the save under way */
};

static int64_t boot_ms(const struct bulk_run *run)
{
	return run->api->ports.clock.boot_ms(run->api->ports.clock.ctx);
}

static void rest(struct bulk_run *run, int64_t ms)
{
	arena_fini(&run->arena);
	arena_fini(&run->page_text);
	run->arena = run->page_text = (struct arena){ 0 };
	run->state = RUN_IDLE;
	run->next_at = boot_ms(run) + (run->again ? 0 : ms);
	run->again = false;
}

/* The same question again, after a moment: the database is away. */
static void wait(struct bulk_run *run)
{
	run->state = RUN_WAITING;
	run->next_at = boot_ms(run) + AGAIN_MS;
}

/* ---- saving --------------------------------------------------------------------------- */

static void go_on(struct bulk_run *run);

static void on_saved(void *arg, enum log_result result, bool saved)
{
	struct bulk_run *run = arg;

	if (result != LOG_DONE) /* once more: the same values, if nobody has taken it over */
		wait(run);
	else if (!saved || run->row.state == BULK_DONE)
		rest(run, saved ? 0 : LOOK_MS); /* done; else cancelled (and counted), or another's by now */
	else
		go_on(run);
}

static void save(struct bulk_run *run)
{
	struct store_port *store = &run->api->store;
	bool               first = true;

	buf_clear(&run->saved_page);
	buf_char(&run->saved_page, '[');
	for (size_t i = 0; i < run->item_n; i++) {
		if (run->items[i].over)
			continue;
		if (!first)
			buf_char(&run->saved_page, ',');
		buf_json(&run->saved_page, run->items[i].gid);
		first = false;
	}
	buf_char(&run->saved_page, ']');
	bulk_refusals_write(&run->refusals, &run->saved_refusals);
	run->row.page = buf_view(&run->saved_page);
	run->row.refusals = buf_view(&run->saved_refusals);
	run->state = RUN_SAVING;
	store->bulk_save(store->ctx, &run->row, on_saved, run);
}

/* ---- acting ------------------------------------------------------------------------------ */

static void end_item(struct item *it)
{
	struct bulk_run *run = it->run;

	it->over = true;
	if (--run->left == 0)
		save(run);
}

static void on_verdict(struct bulk_run *run, enum verdict verdict)
{
	if (verdict == VERDICT_ACCEPTED || verdict == VERDICT_ALREADY) {
		run->row.done++;
		run->counts.done++;
		return;
	}
	run->row.refused++;
	run->counts.refused++;
	run->refusals.by_verdict[verdict]++;
}

/* What is on its way is asked for again, by the same id, until its verdict is known. */
static void on_command(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                       const struct err *err)
{
	struct item     *it = arg;
	struct bulk_run *run = it->run;

	(void)view, (void)err;
	it->sent = false;
	switch (result) {
	case COMMAND_APPLIED:
		on_verdict(run, verdict);
		break;
	case COMMAND_UNKNOWN:
		run->row.refused++;
		run->counts.refused++;
		run->refusals.unknown++;
		break;
	case COMMAND_INVALID:
	case COMMAND_DIFFERS:
		run->row.failed++;
		run->counts.failed++;
		break;
	case COMMAND_AWAY:
	case COMMAND_LATE:
	case COMMAND_LOST:
		if (++it->tries < TRIES_MAX) {
			it->at = boot_ms(run) + AGAIN_MS;
			if (it->at < run->next_at)
				run->next_at = it->at;
			return;
		}
		run->row.failed++;
		run->counts.failed++;
		break;
	}
	end_item(it);
}

static void send(struct item *it)
{
	struct bulk_run *run = it->run;
	char             id[UUID_TEXT + 1];
	struct buf       name = { 0 };
	struct command   c = { .kind = run->kind, .gid = it->gid, .actor = run->row.actor, .role = run->row.role,
		               .reason = run->row.reason, .request_id = run->row.request_id };

	buf_cstr(&name, uuid_text(run->row.id, id));
	buf_char(&name, ' ');
	buf_str(&name, it->gid);
	c.id = digest_uuid_v5(buf_view(&name));
	buf_fini(&name);
	it->sent = true;
	engine_command(run->api->engine, &c, on_command, it);
}

/* As many as their time has come. */
static void act(struct bulk_run *run)
{
	int64_t now = boot_ms(run), next = INT64_MAX;

	for (size_t i = 0; i < run->item_n; i++) {
		struct item *it = &run->items[i];

		if (it->over || it->sent)
			continue;
		if (it->at <= now)
			send(it);
		else if (it->at < next)
			next = it->at;
	}
	run->next_at = next;
}

static void add_item(struct bulk_run *run, struct str gid)
{
	struct item  *it = &run->items[run->item_n];
	const int64_t now_us = boot_ms(run) * 1000, at_us = run->paced_us > now_us ? run->paced_us : now_us;

	run->paced_us = at_us + 1000000 / run->row.rate;
	*it = (struct item){ .run = run, .gid = arena_str(&run->page_text, gid), .at = at_us / 1000 };
	run->item_n++;
	run->left++;
}

/* ---- the next page ------------------------------------------------------------------------- */

/* Behind the last page, too: whoever takes over does not know that it was the last, and must not count it again. */
static struct str behind(const struct bulk_run *run, const struct row *rows, size_t n, struct str next)
{
	if (next.n > 0)
		return next;
	return n > 0 ? rows[n - 1].gid : run->row.position;
}

static void on_list(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct bulk_run *run = arg;
	struct arena     was;

	if (result != LOG_DONE) {
		wait(run);
		return;
	}
	was = run->page_text; /* the position so far is in it */
	run->page_text = (struct arena){ 0 };
	run->item_n = run->left = 0;
	for (size_t i = 0; i < n && run->item_n < PAGE_ROWS_MAX; i++)
		if (bulk_filter_fits(&run->filter, &rows[i]))
			add_item(run, rows[i].gid);
	run->is_last = page->next.n == 0;
	run->row.position = arena_str(&run->page_text, behind(run, rows, n, page->next));
	arena_fini(&was);
	run->row.matched += run->item_n;
	run->row.examined += page->examined;
	if (run->is_last && run->item_n == 0)
		run->row.state = BULK_DONE;
	save(run);
}

static void list(struct bulk_run *run)
{
	struct store_port *store = &run->api->store;
	unsigned           limit = run->row.rate < PAGE_ROWS_MAX ? run->row.rate : PAGE_ROWS_MAX;

	run->state = RUN_LISTING;
	store->list(store->ctx, &run->filter.list, run->row.position, limit, on_list, run);
}

/* A page that was saved is acted on; one that is over makes room for the next. Each was counted in the save that
 * moved the position behind it. */
static void go_on(struct bulk_run *run)
{
	if (run->left > 0) {
		run->state = RUN_ACTING;
		act(run);
	} else if (run->is_last) {
		run->row.state = BULK_DONE;
		save(run);
	} else {
		list(run);
	}
}

/* ---- whose is it? ----------------------------------------------------------------------------- */

static struct str keep(struct bulk_run *run, struct str text)
{
	return arena_str(&run->arena, text);
}

static bool take(struct bulk_run *run, const struct bulk_row *row)
{
	struct json_error err;
	struct json      *filter, *page;
	struct str        pointer;

	run->row = *row;
	run->row.action = keep(run, row->action);
	run->row.actor = keep(run, row->actor);
	run->row.role = keep(run, row->role);
	run->row.reason = keep(run, row->reason);
	run->row.request_id = keep(run, row->request_id);
	run->row.position = keep(run, row->position);
	run->row.refusals = keep(run, row->refusals);
	filter = json_parse(keep(run, row->filter), &run->arena, &err);
	page = json_parse(keep(run, row->page), &run->arena, &err);
	if (!filter || !page || !bulk_action(run->row.action, &run->kind) || run->row.rate == 0 ||
	    bulk_filter_read(filter, row->created_at, &run->arena, &run->filter, &pointer) != NULL)
		return false;
	bulk_refusals_read(&run->refusals, run->row.refusals, &run->arena);
	run->item_n = run->left = 0;
	run->is_last = false;
	for (struct json *gid = page->first; gid && run->item_n < PAGE_ROWS_MAX; gid = gid->next)
		if (gid->type == JSON_STRING)
			add_item(run, json_text(gid, &run->arena));
	return true;
}

static void on_claimed(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct bulk_run   *run = arg;
	struct trace_port *t = &run->api->ports.trace;
	char               id[UUID_TEXT + 1], line[120] = "id=";

	if (result != LOG_DONE || n == 0) { /* whoever is asked for one looks at once; the others are for when he dies */
		rest(run, result == LOG_DONE ? IDLE_MS : LOOK_MS);
		return;
	}
	strcat(line, uuid_text(rows[0].id, id));
	t->line(t->ctx, TRACE_INFO, "bulk_taken", (struct str){ 0 }, line);
	if (take(run, &rows[0])) {
		go_on(run);
		return;
	}
	/* A newer version's: it stays claimed until we leave, and is passed by. */
	if (run->passed_n < PASSED_MAX)
		run->passed[run->passed_n++] = rows[0].id;
	rest(run, LOOK_MS);
}

static void claim(struct bulk_run *run)
{
	struct store_port  *store = &run->api->store;
	struct engine_stats stats;

	engine_stats(run->api->engine, &stats);
	if (stats.state != ENGINE_LIVE) {
		rest(run, LOOK_MS);
		return;
	}
	run->state = RUN_CLAIMING;
	run->next_at = INT64_MAX;
	run->again = false;
	store->bulk_claim(store->ctx, stats.me, run->passed, run->passed_n, on_claimed, run);
}

void bulk_run_tick(struct bulk_run *run)
{
	if (run == NULL || boot_ms(run) < run->next_at)
		return;
	run->next_at = INT64_MAX;
	switch (run->state) {
	case RUN_IDLE:
		claim(run);
		return;
	case RUN_WAITING:
		if (run->left == 0 && run->item_n == 0 && run->row.state == BULK_RUNNING)
			list(run);
		else
			save(run);
		return;
	case RUN_ACTING:
		act(run);
		return;
	case RUN_CLAIMING:
	case RUN_LISTING:
	case RUN_SAVING:
		return; /* an answer moves it on */
	}
}

int64_t bulk_run_next_at(const struct bulk_run *run)
{
	return run != NULL ? run->next_at : INT64_MAX;
}

void bulk_run_look(struct bulk_run *run)
{
	run->again = true;
	if (run->state == RUN_IDLE)
		run->next_at = 0;
}

void bulk_run_counts(const struct bulk_run *run, struct bulk_counts *out)
{
	*out = run != NULL ? run->counts : (struct bulk_counts){ 0 };
	out->running = run != NULL && run->state != RUN_IDLE && run->state != RUN_CLAIMING;
}

struct bulk_run *bulk_run_open(struct api *a)
{
	struct bulk_run *run = mem_alloc(sizeof *run);

	run->api = a;
	run->next_at = boot_ms(run) + LOOK_MS;
	return run;
}

void bulk_run_close(struct bulk_run *run)
{
	if (run == NULL)
		return;
	arena_fini(&run->arena);
	arena_fini(&run->page_text);
	buf_fini(&run->saved_page);
	buf_fini(&run->saved_refusals);
	free(run);
}
