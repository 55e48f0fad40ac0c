/* SPDX-License-Identifier: Apache-2.0 */
#include "api/transactions.h"

struct page { /* of GET /v1/transactions, and of its journal */
	struct list_filter filter;
	uint64_t           filters; /* hash, for the cursor */
	struct str         after;
	unsigned           limit;
	struct buf         body;
};

/* ---- filters --------------------------------------------------------------------- */

/* Of all parameters but cursor and limit, in any order. */
static uint64_t hash_filters(const struct query *q)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < q->n; i++)
		if (!str_is(q->name[i], "cursor") && !str_is(q->name[i], "limit"))
			sum += str_hash(q->value[i], str_hash(q->name[i], 1));
	return sum;
}

static bool read_phase(struct str text, int *phase)
{
	for (int i = 0; i < PHASE_COUNT; i++) {
		if (str_is(text, phase_name((enum phase)i))) {
			*phase = i;
			return true;
		}
	}
	return false;
}

static bool read_older_than(struct str text, int64_t now, int64_t *before)
{
	int64_t ms;

	if (text_to_time(text, before))
		return true;
	if (!text_to_ms(text, &ms))
		return false;
	*before = now - ms;
	return true;
}

/* What is wrong with one filter, or NULL. */
static const char *read_filter(struct request *r, struct str name, struct str value, struct list_filter *f)
{
	if (str_is(name, "phase"))
		return read_phase(value, &f->phase) ? NULL : "phase is one of the phases of a transaction";
	if (str_is(name, "stuck")) {
		f->stuck = str_is(value, "true");
		return f->stuck || str_is(value, "false") ? NULL : "stuck is true or false";
	}
	if (str_is(name, "older_than"))
		return read_older_than(value, request_now(r), &f->created_before)
		               ? NULL
		               : "older_than is a duration like 10m, or a time like 2026-01-31T12:00:00Z";
	/* An empty one would silently match everything. */
	if (value.n == 0 && (str_is(name, "definition") || str_is(name, "participant")))
		return "definition and participant are not empty; leave out what shall not be filtered";
	if (str_is(name, "definition"))
		f->definition = value;
	else if (str_is(name, "participant"))
		f->participant = value;
	else if (str_starts(name, STR("label."))) {
		f->label_name = (struct str){ name.p + 6, name.n - 6 };
		f->label_value = value;
		return f->label_name.n ? NULL : "a label is asked for as label.NAME=VALUE";
	}
	return NULL;
}

static bool read_filters(struct request *r, struct page *p)
{
	const struct str *cursor = query_get(&r->query, "cursor");

	p->filter = (struct list_filter){ .phase = -1, .stuck = -1 };
	for (size_t i = 0; i < r->query.n; i++) {
		const char *wrong = read_filter(r, r->query.name[i], r->query.value[i], &p->filter);

		if (wrong) {
			request_problem(r, PROBLEM_BAD_REQUEST, "The query cannot be read: %s.", wrong);
			return false;
		}
	}
	p->filters = hash_filters(&r->query);
	if (!cursor || cursor_read(*cursor, p->filters, request_arena(r), &p->after))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST,
	                "The cursor is not one of ours, or was made for other filters; start without it.");
	return false;
}

/* ---- GET /v1/transactions -------------------------------------------------------------- */

/* The store filters by one label; further ones are looked at here. */
static bool has_labels(struct request *r, const struct row *row)
{
	struct json_error err;
	struct json      *labels = NULL, *have;

	for (size_t i = 0; i < r->query.n; i++) {
		struct str name = r->query.name[i];

		if (!str_starts(name, STR("label.")))
			continue;
		if (!labels)
			labels = json_parse(arena_str(request_arena(r), row->labels), request_arena(r), &err);
		have = labels ? json_find(labels, (struct str){ name.p + 6, name.n - 6 }) : NULL;
		if (!have || have->type != JSON_STRING ||
		    !str_eq(json_text(have, request_arena(r)), r->query.value[i]))
			return false;
	}
	return true;
}

static void show_item(void *arg, const struct view *view)
{
	struct request *r = arg;
	struct page    *p = r->own;

	request_item(&p->body);
	show_transaction(&p->body, view, transaction_failover(r, &view->row), SHOW_ROW);
}

static void on_list(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct request *r = arg;
	struct page    *p = r->own;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (has_labels(r, &rows[i]))
			engine_view(r->api->engine, &rows[i], show_item, r);
	request_answer_page(r, &p->body, p->filters, page->next);
}

void handle_transaction_list(struct request *r)
{
	static const char *const KNOWN[] = { "phase", "definition", "label.", "stuck", "older_than",
		                             "participant", "limit", "cursor", NULL };
	struct store_port       *store = &r->api->store;
	struct page             *p = arena_alloc(request_arena(r), sizeof *p);

	r->own = p;
	if (!request_only(r, KNOWN) || !request_limit(r, &p->limit) || !read_filters(r, p))
		return;
	store->list(store->ctx, &p->filter, p->after, p->limit, on_list, r);
}

/* ---- GET /v1/transactions/{gid}/journal --------------------------------------------------- */

static void on_journal(void *arg, enum log_result result, const struct entry_row *rows, size_t n)
{
	struct request *r = arg;
	struct page    *p = r->own;
	struct buf      next = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		request_item(&p->body);
		show_entry(&p->body, &rows[i]);
	}
	if (n == p->limit)
		buf_u64(&next, rows[n - 1].number);
	request_answer_page(r, &p->body, p->filters, buf_view(&next));
	buf_fini(&next);
}

static void on_journal_owner(void *arg, enum log_result result, const struct view *view)
{
	struct request    *r = arg;
	struct page       *p = r->own;
	struct store_port *store = &r->api->store;
	uint64_t           after = 0;

	if (!transaction_is_there(r, result, view))
		return;
	if (p->after.n && !text_to_u64(p->after, &after)) {
		request_problem(r, PROBLEM_BAD_REQUEST, "The cursor is not one of ours.");
		return;
	}
	store->journal(store->ctx, r->gid, after, p->limit, on_journal, r);
}

void handle_transaction_journal(struct request *r)
{
	static const char *const KNOWN[] = { "limit", "cursor", NULL };
	struct page             *p = arena_alloc(request_arena(r), sizeof *p);

	r->own = p;
	if (!request_only(r, KNOWN) || !request_gid(r) || !request_limit(r, &p->limit) || !read_filters(r, p))
		return;
	engine_read(r->api->engine, r->gid, on_journal_owner, r);
}
