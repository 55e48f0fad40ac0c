/* SPDX-License-Identifier: Apache-2.0
 * bulk.c - POST of an action on many transactions, and its dry run.
 */
#include "api/audit.h"
#include "api/bulk.h"

enum { DRY_PAGES_MAX = 50 };

struct wish {
	struct bulk_row    row;
	struct person      person;
	struct bulk_filter filter;
	enum command_kind  kind;
	/* of a dry run */
	struct str         after;
	unsigned           pages;
	uint64_t           examined, matched, accepted, refusals[VERDICT_COUNT];
};

static void on_put(void *arg, enum log_result result)
{
	struct request    *r = arg;
	const struct wish *w = r->own;
	char               id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	r->api->counters.deeds[DEED_BULK_START]++;
	bulk_run_look(r->api->bulk);
	request_header(r, "Location", "/v1/bulk/%s", uuid_text(w->row.id, id));
	bulk_answer(r, 202, &w->row);
}

static void put(struct request *r)
{
	struct wish       *w = r->own;
	struct store_port *store = &r->api->store;
	struct clock_port *clock = &r->api->ports.clock;
	uint64_t           a = clock->random(clock->ctx);
	struct buf         detail = { 0 };
	struct deed        deed;
	char              *id = arena_alloc(request_arena(r), UUID_TEXT + 1);

	w->row.id = uuid_v7(request_now(r), a, clock->random(clock->ctx));
	deed = person_deed(r, &w->person, "bulk", str_of(uuid_text(w->row.id, id)), command_name(w->kind));
	buf_cstr(&detail, "{\"filter\":");
	buf_str(&detail, w->row.filter);
	buf_fmt(&detail, ",\"rate\":%u}", w->row.rate);
	deed.detail = request_keep(r, &detail);
	store->bulk_put(store->ctx, &w->row, &deed, on_put, r);
}

/* ---- a dry run counts ------------------------------------------------------------------------ */

static void look(struct request *r);

static void on_foreseen(void *arg, const struct foresight *f)
{
	struct wish *w = arg;

	if (f->verdict == VERDICT_ACCEPTED || f->verdict == VERDICT_ALREADY)
		w->accepted++;
	else
		w->refusals[f->verdict]++;
}

static void foresee(void *arg, const struct view *view)
{
	struct request *r = arg;
	struct wish    *w = r->own;
	struct err      err = { .kind = ERR_NONE };
	struct command  c = { .kind = w->kind, .gid = view->row.gid, .actor = w->person.actor };

	w->matched++;
	engine_foresee(r->api->engine, view, &c, on_foreseen, w, &err);
}

static void answer_dry(struct request *r, bool complete)
{
	const struct wish *w = r->own;
	struct buf         body = { 0 };
	bool               first = true;

	buf_fmt(&body, "{\"dry_run\":true,\"would\":{\"action\":\"%s\",\"examined\":%llu,\"matched\":%llu,\"done\":%llu,\"complete\":%s,\"refusals\":{",
	        command_name(w->kind), (unsigned long long)w->examined, (unsigned long long)w->matched, (unsigned long long)w->accepted,
	        complete ? "true" : "false");
	for (int v = 0; v < VERDICT_COUNT; v++) {
		if (w->refusals[v] == 0)
			continue;
		buf_fmt(&body, "%s\"%s\":%llu", first ? "" : ",", verdict_name((enum verdict)v),
		        (unsigned long long)w->refusals[v]);
		first = false;
	}
	buf_cstr(&body, "}},\"calls\":[]}\n");
	request_answer(r, 200, &body);
}

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct request *r = arg;
	struct wish    *w = r->own;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (bulk_filter_fits(&w->filter, &rows[i]))
			engine_view(r->api->engine, &rows[i], foresee, r);
	w->examined += page->examined;
	w->after = arena_str(request_arena(r), page->next);
	if (w->after.n == 0 || ++w->pages >= DRY_PAGES_MAX)
		answer_dry(r, w->after.n == 0);
	else
		look(r);
}

static void look(struct request *r)
{
	struct wish       *w = r->own;
	struct store_port *store = &r->api->store;

	store->list(store->ctx, &w->filter.list, w->after, 1000, on_page, r);
}

/* ---- reading it ---------------------------------------------------------------------------------- */

static void read_filter(struct request *r, struct wish *w)
{
	const struct json *filter = json_get(r->body, "filter");
	const char        *wrong = "a filter names what is meant: an object, not empty";
	struct buf         pointer = { 0 };
	struct str         at = { 0 };

	if (filter) {
		w->row.filter = filter->raw;
		wrong = bulk_filter_read(filter, request_now(r), request_arena(r), &w->filter, &at);
	}
	if (!wrong)
		return;
	buf_cstr(&pointer, "/filter");
	if (at.n) {
		buf_char(&pointer, '/');
		buf_str(&pointer, at);
	}
	request_error(r, pointer.p, "%s", wrong);
	buf_fini(&pointer);
}

static bool read_wish(struct request *r, struct wish *w, bool *dry)
{
	static const char *const MEMBERS[] = { "action", "filter", "rate", "reason", "actor", "dry_run", NULL };
	const struct json       *rate = json_get(r->body, "rate"), *wants_dry = json_get(r->body, "dry_run");
	struct str               action = { 0 };
	uint64_t                 n = BULK_RATE_DEFAULT;

	request_members(r, MEMBERS);
	person_read(r, &w->person);
	request_text(r, "action", &action);
	if (!bulk_action(action, &w->kind))
		request_error(r, "/action", "pause, resume, retry, cancel or release is wanted: the others need a gid typed");
	if (rate && (!json_u64(rate, &n) || n < 1 || n > BULK_RATE_MAX))
		request_error(r, "/rate", "a whole number from 1 to %d is wanted: actions a second", BULK_RATE_MAX);
	if (wants_dry && wants_dry->type != JSON_TRUE && wants_dry->type != JSON_FALSE)
		request_error(r, "/dry_run", "true or false is wanted");
	*dry = *dry || (wants_dry && wants_dry->type == JSON_TRUE);
	read_filter(r, w);
	w->row.action = action;
	w->row.rate = (uint32_t)n;
	w->row.actor = w->person.actor;
	w->row.reason = w->person.reason;
	w->row.created_at = request_now(r);
	return request_is_clean(r);
}

void handle_bulk_begin(struct request *r)
{
	static const char *const KNOWN[] = { "dry_run", NULL };
	struct wish             *w = arena_alloc(request_arena(r), sizeof *w);
	bool                     dry;

	r->own = w;
	if (!request_only(r, KNOWN) || !request_dry_run(r, &dry) || !request_json(r, false) || !read_wish(r, w, &dry))
		return;
	if (r->if_match.given && !r->if_match.any)
		request_problem(r, PROBLEM_BAD_REQUEST, "This has no version: send no If-Match.");
	else if (dry)
		look(r);
	else
		put(r);
}
