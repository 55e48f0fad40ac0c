/* SPDX-License-Identifier: Apache-2.0
 * all.c - many at once: a list, newest first, and waiting calls that are to be made now.
 */
#include "api/dtm/dtm.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, RESET_TIMEOUT_S = 105, RESET_EXAMINES = 2000 };

/* ---- reading -------------------------------------------------------------------------- */

static bool read_limit(struct request *r, unsigned *limit)
{
	struct str text = dtm_param(r, "limit");
	uint64_t   n = LIMIT_DEFAULT;

	if (text.n > 0 && (!text_to_u64(text, &n) || n < 1)) {
		dtm_error(r, "limit must be a number from 1 on");
		return false;
	}
	*limit = n > LIMIT_MAX ? LIMIT_MAX : (unsigned)n;
	return true;
}

/* Milliseconds since the epoch, as text. */
static bool read_time(struct request *r, const char *name, int64_t *at)
{
	struct str text = dtm_param(r, name);
	uint64_t   ms = 0;

	if (text.n > 0 && (!text_to_u64(text, &ms) || ms > 4102444800000)) {
		dtm_error(r, "%s must be milliseconds since 1970, at most those of 2100", name);
		return false;
	}
	*at = (int64_t)ms;
	return true;
}

static unsigned phases_of(struct str status)
{
	unsigned phases = 0;

	for (unsigned i = 0; i < PHASE_COUNT; i++)
		if (status.n == 0 || str_is(status, dtm_status((enum phase)i)))
			phases |= 1u << i;
	return phases;
}

/* ---- GET /all ----------------------------------------------------------------------------- */

struct page {
	struct request *r;
	struct buf      body;
};

static void show(void *arg, const struct view *view)
{
	struct page *p = arg;

	if (p->body.p[p->body.n - 1] == '}')
		buf_char(&p->body, ',');
	dtm_show_transaction(p->r, view, &p->body);
}

static void answer_page(struct page *p, struct str next)
{
	buf_cstr(&p->body, "],\"next_position\":");
	buf_json(&p->body, next);
	buf_char(&p->body, '}');
	dtm_data(p->r, &p->body);
}

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct page p = { .r = arg };

	if (result != LOG_DONE) {
		dtm_away(arg, result);
		return;
	}
	buf_cstr(&p.body, "{\"transactions\":[");
	for (size_t i = 0; i < n; i++)
		engine_view(p.r->api->engine, &rows[i], show, &p);
	answer_page(&p, page->next);
}

static void on_one(void *arg, enum log_result result, const struct view *view)
{
	struct page   p = { .r = arg };
	enum dtm_kind kind;

	if (result != LOG_DONE) {
		dtm_away(arg, result);
		return;
	}
	buf_cstr(&p.body, "{\"transactions\":[");
	if (view && dtm_kind_of(&view->row, &kind))
		show(&p, view);
	answer_page(&p, (struct str){ 0 });
}

void handle_dtm_all(struct request *r)
{
	struct store_port *store = &r->api->store;
	struct dtm_filter  filter = { .phases = phases_of(dtm_param(r, "status")), .kind = dtm_param(r, "transType") };
	struct str         gid = dtm_param(r, "gid");
	unsigned           limit;

	if (gid.n > 0) {
		if (dtm_read_gid(r, gid))
			engine_read(r->api->engine, r->gid, on_one, r);
		return;
	}
	if (read_limit(r, &limit) && read_time(r, "createTimeStart", &filter.since) && read_time(r, "createTimeEnd", &filter.until))
		store->dtm_list(store->ctx, &filter, dtm_param(r, "position"), limit, on_page, r);
}

/* ---- GET /resetCronTime ------------------------------------------------------------------------ */

struct reset {
	struct str *gids;
	size_t      n, at, done;
	unsigned    limit;
};

static void reset_next(struct request *r);

static void on_reset(void *arg, enum command_result result, enum verdict verdict, const struct view *view, const struct err *err)
{
	struct request *r = arg;
	struct reset   *s = dtm_of(r)->own;

	(void)view, (void)err;
	s->done += result == COMMAND_APPLIED && verdict == VERDICT_ACCEPTED;
	reset_next(r);
}

/* One after the other: each is a commit of its own, and nobody is in a hurry. Those that wait for nothing but a decision, or for their
 * start, do not count: they would be there again for who asks until nothing remains. */
static void reset_next(struct request *r)
{
	struct dtm   *d = dtm_of(r);
	struct reset *s = d->own;
	struct buf    body = { 0 };

	if (s->at < s->n && s->done < s->limit) {
		d->command = (struct command){ .kind = COMMAND_RETRY, .gid = s->gids[s->at++], .role = STR("operator"),
			                       .actor = request_principal(r)->name, .request_id = r->request_id,
			                       .reason = STR("resetCronTime of DTM's protocol") };
		engine_command(r->api->engine, &d->command, on_reset, r);
		return;
	}
	buf_fmt(&body, "{\"has_remaining\":%s,\"succeed_count\":%zu}", s->done == s->limit ? "true" : "false", s->done);
	dtm_data(r, &body);
}

static void on_sleepers(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct request *r = arg;
	struct reset   *s = dtm_of(r)->own;

	(void)page;
	if (result != LOG_DONE) {
		dtm_away(r, result);
		return;
	}
	s->gids = arena_array(request_arena(r), n, sizeof *s->gids);
	for (size_t i = 0; i < n; i++)
		s->gids[s->n++] = arena_str(request_arena(r), rows[i].gid);
	reset_next(r);
}

void handle_dtm_reset_cron_time(struct request *r)
{
	struct store_port *store = &r->api->store;
	struct reset      *s = arena_alloc(request_arena(r), sizeof *s);
	struct str         text = dtm_param(r, "timeout");
	uint64_t           seconds = RESET_TIMEOUT_S;

	dtm_of(r)->own = s;
	if (text.n > 0 && (!text_to_u64(text, &seconds) || seconds > 315360000)) {
		dtm_error(r, "timeout must be a number of seconds, at most ten years");
		return;
	}
	if (read_limit(r, &s->limit))
		store->dtm_sleepers(store->ctx, (int64_t)seconds * r->api->config.dtm_second_ms, RESET_EXAMINES, on_sleepers, r);
}
