/* SPDX-License-Identifier: Apache-2.0
 * bulk.c - POST, GET and cancel of actions on many transactions.
 */
#include "api/bulk.h"

#include "api/audit.h"
#include "api/show.h"
#include "coordinator/base/digest.h"

#include <string.h>

/* A replica's clock is the database's as far as a round trip tells, and transactions have the replica's time: one that
 * was answered before the action began may look younger than that. */
enum { DRY_PAGES_MAX = 50, CLOCKS_DIFFER_MS = 1000 };

/* ---- filters ------------------------------------------------------------------------ */

bool bulk_action(struct str text, enum command_kind *out)
{
	static const enum command_kind ACTIONS[] = { COMMAND_PAUSE, COMMAND_UNPAUSE, COMMAND_RETRY, COMMAND_CANCEL,
		                                     COMMAND_RELEASE };

	for (size_t i = 0; i < sizeof ACTIONS / sizeof ACTIONS[0]; i++)
		if (str_is(text, command_name(ACTIONS[i]))) {
			*out = ACTIONS[i];
			return true;
		}
	return false;
}

static const char *read_phase(struct str text, struct list_filter *f)
{
	for (int i = 0; i < PHASE_COUNT; i++)
		if (str_is(text, phase_name((enum phase)i))) {
			f->phase = i;
			return NULL;
		}
	return "one of the phases of a transaction is wanted";
}

static const char *read_older_than(struct str text, int64_t created_at, struct list_filter *f)
{
	int64_t at, ms;

	if (text_to_ms(text, &ms))
		at = created_at - ms;
	else if (!text_to_time(text, &at))
		return "a duration like 10m, or a time like 2026-01-31T12:00:00Z is wanted";
	if (at < f->created_before)
		f->created_before = at;
	return NULL;
}

static const char *read_labels(const struct json *labels, struct arena *arena, struct bulk_filter *f)
{
	if (labels->type != JSON_OBJECT || labels->n == 0)
		return "an object of strings, not empty, is wanted";
	for (const struct json *m = labels->first; m; m = m->next)
		if (m->type != JSON_STRING)
			return "an object of strings, not empty, is wanted";
	f->labels = labels;
	f->list.label_name = labels->first->key;
	f->list.label_value = json_text(labels->first, arena);
	return NULL;
}

static const char *read_member(const struct json *m, int64_t created_at, struct arena *arena, struct bulk_filter *f)
{
	struct str text = m->type == JSON_STRING ? json_text(m, arena) : (struct str){ 0 };

	if (str_is(m->key, "labels"))
		return read_labels(m, arena, f);
	if (str_is(m->key, "stuck")) {
		f->list.stuck = m->type == JSON_TRUE;
		return m->type == JSON_TRUE || m->type == JSON_FALSE ? NULL : "true or false is wanted";
	}
	if (text.n == 0)
		return "a string, not empty, is wanted";
	if (str_is(m->key, "phase"))
		return read_phase(text, &f->list);
	if (str_is(m->key, "older_than"))
		return read_older_than(text, created_at, &f->list);
	if (str_is(m->key, "definition"))
		f->list.definition = text;
	else if (str_is(m->key, "participant"))
		f->list.participant = text;
	else
		return "phase, definition, stuck, older_than, participant and labels are known here";
	return NULL;
}

const char *bulk_filter_read(const struct json *filter, int64_t created_at, struct arena *arena, struct bulk_filter *out,
                             struct str *pointer)
{
	*out = (struct bulk_filter){ .list = { .phase = -1, .stuck = -1,
		                                .created_before = created_at + CLOCKS_DIFFER_MS } };
	*pointer = (struct str){ 0 };
	if (filter->type != JSON_OBJECT || filter->n == 0)
		return "a filter names what is meant: an object, not empty";
	for (const struct json *m = filter->first; m; m = m->next) {
		const char *wrong = read_member(m, created_at, arena, out);

		*pointer = m->key;
		if (wrong)
			return wrong;
	}
	return NULL;
}

static bool has_label(const struct json *labels, const struct json *wanted, struct arena *arena)
{
	const struct json *have = json_find(labels, wanted->key);

	return have && have->type == JSON_STRING && str_eq(json_text(have, arena), json_text(wanted, arena));
}

bool bulk_filter_fits(const struct bulk_filter *f, const struct row *row)
{
	struct arena      arena = { 0 };
	struct json_error err;
	struct json      *labels;
	bool              fits = true;

	if (phase_is_ended(row->phase)) /* nothing can be asked of it */
		return false;
	if (!f->labels || f->labels->n < 2)
		return true;
	labels = json_parse(row->labels, &arena, &err);
	for (const struct json *m = f->labels->first; m && fits; m = m->next)
		fits = labels && has_label(labels, m, &arena);
	arena_fini(&arena);
	return fits;
}

/* ---- showing ---------------------------------------------------------------------------- */

static const char *state_name(enum bulk_state s)
{
	switch (s) {
#define X(name, text) case BULK_##name: return text;
	BULK_STATES(X)
#undef X
	}
	return "unknown";
}

static void show_bulk(struct buf *out, const struct bulk_row *b)
{
	char id[UUID_TEXT + 1];

	buf_fmt(out, "{\"id\":\"%s\",\"state\":\"%s\"", uuid_text(b->id, id), state_name(b->state));
	show_text(out, "action", b->action);
	buf_cstr(out, ",\"filter\":");
	buf_str(out, b->filter);
	show_text(out, "actor", b->actor);
	show_text(out, "reason", b->reason);
	buf_fmt(out, ",\"rate\":%u", b->rate);
	show_time(out, "created_at", b->created_at);
	show_time(out, "ended_at", b->ended_at);
	if (uuid_is_nil(b->runner))
		buf_cstr(out, ",\"runner\":null");
	else
		show_text(out, "runner", str_of(uuid_text(b->runner, id)));
	buf_fmt(out, ",\"matched\":%llu,\"done\":%llu,\"refused\":%llu,\"failed\":%llu,\"refusals\":",
	        (unsigned long long)b->matched, (unsigned long long)b->done, (unsigned long long)b->refused,
	        (unsigned long long)b->failed);
	buf_str(out, b->refusals.n ? b->refusals : STR("{}"));
	buf_char(out, '}');
}

/* ---- POST /v1/bulk ------------------------------------------------------------------------- */

struct wish {
	struct bulk_row    row;
	struct person      person;
	struct bulk_filter filter;
	enum command_kind  kind;
	/* of a dry run */
	struct str         after;
	unsigned           pages;
	uint64_t           matched, accepted, refusals[VERDICT_COUNT];
};

static void on_put(void *arg, enum log_result result)
{
	struct request    *r = arg;
	const struct wish *w = r->own;
	struct buf         body = { 0 };
	char               id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	bulk_run_look(r->api->bulk);
	request_header(r, "Location", "/v1/bulk/%s", uuid_text(w->row.id, id));
	show_bulk(&body, &w->row);
	buf_char(&body, '\n');
	request_answer(r, 202, &body);
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
	deed.detail = arena_str(request_arena(r), buf_view(&detail));
	buf_fini(&detail);
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

	buf_fmt(&body, "{\"dry_run\":true,\"would\":{\"action\":\"%s\",\"matched\":%llu,\"done\":%llu,\"complete\":%s,\"refusals\":{",
	        command_name(w->kind), (unsigned long long)w->matched, (unsigned long long)w->accepted,
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

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n, struct str next)
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
	w->after = arena_str(request_arena(r), next);
	if (next.n == 0 || ++w->pages >= DRY_PAGES_MAX)
		answer_dry(r, next.n == 0);
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
	if (dry)
		look(r);
	else
		put(r);
}

/* ---- GET, and cancel ---------------------------------------------------------------------------------- */

struct page {
	unsigned    limit;
	struct uuid id;
};

static void on_list(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct request    *r = arg;
	const struct page *p = r->own;
	struct buf         body = { 0 };
	char               id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	buf_cstr(&body, "{\"items\":[");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_cstr(&body, ",\n");
		show_bulk(&body, &rows[i]);
	}
	if (n < p->limit) {
		buf_cstr(&body, "],\"next_cursor\":null}\n");
	} else {
		buf_cstr(&body, "],\"next_cursor\":\"");
		cursor_write(0, str_of(uuid_text(rows[n - 1].id, id)), &body);
		buf_cstr(&body, "\"}\n");
	}
	request_answer(r, 200, &body);
}

void handle_bulk_list(struct request *r)
{
	static const char *const KNOWN[] = { "limit", "cursor", NULL };
	const struct str        *cursor = query_get(&r->query, "cursor");
	struct page             *p = arena_alloc(request_arena(r), sizeof *p);
	struct store_port       *store = &r->api->store;
	struct str               below = { 0 };

	r->own = p;
	if (!request_only(r, KNOWN) || !request_limit(r, &p->limit))
		return;
	if (cursor && (!cursor_read(*cursor, 0, request_arena(r), &below) || !uuid_parse(below, &p->id))) {
		request_problem(r, PROBLEM_BAD_REQUEST, "The cursor is not one of ours; start without it.");
		return;
	}
	store->bulk_rows(store->ctx, (struct uuid){ { 0 } }, p->id, p->limit, on_list, r);
}

static void on_one(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct request *r = arg;
	struct buf      body = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	if (n == 0) {
		request_problem(r, PROBLEM_BULK_UNKNOWN, NULL);
		return;
	}
	show_bulk(&body, &rows[0]);
	buf_char(&body, '\n');
	request_answer(r, 200, &body);
}

static struct page *read_id(struct request *r)
{
	struct page *p = arena_alloc(request_arena(r), sizeof *p);

	r->own = p;
	if (uuid_parse(request_param(r, 0), &p->id) && !uuid_is_nil(p->id))
		return p;
	request_problem(r, PROBLEM_BULK_UNKNOWN, NULL);
	return NULL;
}

void handle_bulk_get(struct request *r)
{
	static const char *const NOTHING[] = { NULL };
	struct store_port       *store = &r->api->store;
	struct page             *p;

	if (request_only(r, NOTHING) && (p = read_id(r)) != NULL)
		store->bulk_rows(store->ctx, p->id, (struct uuid){ { 0 } }, 1, on_one, r);
}

static void on_cancelled(void *arg, enum log_result result, bool is_known, bool changed)
{
	struct request    *r = arg;
	const struct page *p = r->own;
	struct store_port *store = &r->api->store;

	(void)changed;
	if (result != LOG_DONE)
		request_away(r, result);
	else if (!is_known)
		request_problem(r, PROBLEM_BULK_UNKNOWN, NULL);
	else
		store->bulk_rows(store->ctx, p->id, (struct uuid){ { 0 } }, 1, on_one, r);
}

static void on_looked(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct request *r = arg;
	struct buf      body = { 0 };
	char            id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	if (n == 0) {
		request_problem(r, PROBLEM_BULK_UNKNOWN, NULL);
		return;
	}
	bool changes = rows[0].state == BULK_RUNNING;
	buf_fmt(&body, "{\"dry_run\":true,\"would\":{\"action\":\"cancel\",\"kind\":\"bulk\",\"name\":\"%s\","
	               "\"state\":\"%s\",\"changed\":%s,\"matched\":%llu,\"done\":%llu},\"calls\":[]}\n",
	        uuid_text(rows[0].id, id), state_name(changes ? BULK_CANCELLED : rows[0].state),
	        changes ? "true" : "false", (unsigned long long)rows[0].matched, (unsigned long long)rows[0].done);
	request_answer(r, 200, &body);
}

/* What is on its way is still applied: a second's worth at most. */
void handle_bulk_cancel(struct request *r)
{
	static const char *const KNOWN[] = { "dry_run", NULL }, *const MEMBERS[] = { "reason", "actor", NULL };
	struct store_port       *store = &r->api->store;
	struct person            person = { .reason = STR("") };
	struct page             *p;
	struct deed              deed;
	char                    *id = arena_alloc(request_arena(r), UUID_TEXT + 1);
	bool                     dry;

	if (!request_only(r, KNOWN) || !request_dry_run(r, &dry) || (p = read_id(r)) == NULL || !request_json(r, true))
		return;
	request_members(r, MEMBERS);
	person_read(r, &person);
	if (!request_is_clean(r))
		return;
	if (dry) {
		store->bulk_rows(store->ctx, p->id, (struct uuid){ { 0 } }, 1, on_looked, r);
		return;
	}
	deed = person_deed(r, &person, "bulk", str_of(uuid_text(p->id, id)), "cancel");
	store->bulk_cancel(store->ctx, p->id, &deed, on_cancelled, r);
}
