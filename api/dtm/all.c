/* SPDX-License-Identifier: Apache-2.0
 * all.c - a list of many, newest first.
 */
#include "api/dtm/dtm.h"

/* ---- reading ----------------------------------------------------------------------------- */

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

/* ---- GET /all ---------------------------------------------------------------------------- */

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

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n,
                    const struct list_page *page)
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
	struct dtm_filter  filter = { .phases = phases_of(dtm_param(r, "status")),
		                      .kind = dtm_param(r, "transType") };
	struct str         gid = dtm_param(r, "gid");
	unsigned           limit;

	if (gid.n > 0) {
		if (dtm_read_gid(r, gid))
			engine_read(r->api->engine, r->gid, on_one, r);
		return;
	}
	if (dtm_read_limit(r, &limit) && read_time(r, "createTimeStart", &filter.since) &&
	    read_time(r, "createTimeEnd", &filter.until))
		store->dtm_list(store->ctx, &filter, dtm_param(r, "position"), limit, on_page, r);
}
