/* SPDX-License-Identifier: Apache-2.0
 * all.c - a list of many, newest first.
 */
#include "api/dtm/dtm.h"

#include "api/show.h"

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

struct gap { /* in the body, for what the journal tells of one transaction */
	size_t         at;
	const char    *name;
	struct reason *why;
};

struct page {
	struct request *r;
	struct buf      body;
	struct gap     *gaps;
	size_t          n, next;
};

static void show(void *arg, const struct view *view)
{
	struct page *p = arg;

	if (p->body.p[p->body.n - 1] == '}')
		buf_char(&p->body, ',');
	dtm_show_transaction(p->r, view, &p->body);
	if (dtm_is_reason_elsewhere(view))
		p->gaps[p->n++] = (struct gap){
			.at = p->body.n - 1, /* before its brace */
			.name = view->row.phase == PHASE_CONFIRMED ? "result"
			                                           : "rollback_reason",
			.why = dtm_reason_of(p->r, view),
		};
}

static void answer_filled(struct page *p, struct str text)
{
	struct buf whole = { 0 };
	size_t     at = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct gap *gap = &p->gaps[i];

		buf_str(&whole, (struct str){ text.p + at, gap->at - at });
		at = gap->at;
		if (gap->why->text.n > 0)
			show_text(&whole, gap->name, gap->why->text);
	}
	buf_str(&whole, (struct str){ text.p + at, text.n - at });
	dtm_data(p->r, &whole);
}

/* One after the other: a page may have many, and other requests want the connections too. */
static void fill_next(struct request *r, struct reason *why)
{
	struct page *p = dtm_of(r)->own;

	(void)why;
	if (p->next < p->n)
		dtm_find_reason(p->gaps[p->next++].why, fill_next);
	else
		answer_filled(p, dtm_of(r)->document);
}

static void answer_page(struct page *p, struct str next)
{
	struct request *r = p->r;

	buf_cstr(&p->body, "],\"next_position\":");
	buf_json(&p->body, next);
	buf_char(&p->body, '}');
	if (p->n == 0) {
		dtm_data(r, &p->body);
		return;
	}
	dtm_of(r)->document = request_keep(r, &p->body);
	fill_next(r, NULL);
}

static struct page *page_of(struct request *r, size_t n)
{
	struct page *p = arena_alloc(request_arena(r), sizeof *p);

	*p = (struct page){ .r = r, .gaps = arena_array(request_arena(r), n, sizeof *p->gaps) };
	dtm_of(r)->own = p;
	dtm_of(r)->reason_later = true;
	buf_cstr(&p->body, "{\"transactions\":[");
	return p;
}

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n,
                    const struct list_page *page)
{
	struct page *p;

	if (result != LOG_DONE) {
		dtm_away(arg, result);
		return;
	}
	p = page_of(arg, n);
	for (size_t i = 0; i < n; i++)
		engine_view(p->r->api->engine, &rows[i], show, p);
	answer_page(p, page->next);
}

static void answer_one(struct request *r, const struct view *view)
{
	struct page *p = page_of(r, 1);

	if (view)
		show(p, view);
	answer_page(p, (struct str){ 0 });
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
			dtm_find(r, answer_one);
		return;
	}
	if (dtm_read_limit(r, &limit) && read_time(r, "createTimeStart", &filter.since) &&
	    read_time(r, "createTimeEnd", &filter.until))
		store->dtm_list(store->ctx, &filter, dtm_param(r, "position"), limit, on_page, r);
}
