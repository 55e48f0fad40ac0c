/* SPDX-License-Identifier: Apache-2.0
 * bulk_look.c - how far an action on many transactions has come, and its end by a person.
 */
#include "api/audit.h"
#include "api/bulk.h"
#include "api/show.h"

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

/* What a person can change of it is that it runs: its counts are no change. */
enum { VERSION_RUNNING = 1, VERSION_OVER = 2 };

static unsigned version_of(const struct bulk_row *b)
{
	return b->state == BULK_RUNNING ? VERSION_RUNNING : VERSION_OVER;
}

static void show_bulk(struct buf *out, const struct bulk_row *b)
{
	char id[UUID_TEXT + 1];

	buf_fmt(out, "{\"id\":\"%s\",\"version\":%u,\"state\":\"%s\"", uuid_text(b->id, id),
	        version_of(b), state_name(b->state));
	show_text(out, "action", b->action);
	buf_cstr(out, ",\"filter\":");
	buf_str(out, b->filter);
	show_text(out, "actor", b->actor);
	show_text(out, "reason", b->reason);
	buf_fmt(out, ",\"rate\":%u", b->rate);
	show_time(out, "created_at", b->created_at);
	show_time(out, "ended_at", b->ended_at);
	show_uuid(out, "runner", b->runner);
	buf_fmt(out,
	        ",\"examined\":%llu,\"matched\":%llu,\"done\":%llu,\"refused\":%llu,"
	        "\"failed\":%llu,\"refusals\":",
	        (unsigned long long)b->examined, (unsigned long long)b->matched,
	        (unsigned long long)b->done, (unsigned long long)b->refused,
	        (unsigned long long)b->failed);
	buf_str(out, b->refusals.n ? b->refusals : STR("{}"));
	buf_char(out, '}');
}

void bulk_answer(struct request *r, unsigned status, const struct bulk_row *b)
{
	struct buf body = { 0 };

	request_etag(r, version_of(b));
	show_bulk(&body, b);
	buf_char(&body, '\n');
	request_answer(r, status, &body);
}

/* ---- GET --------------------------------------------------------------------------------- */

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
	for (size_t i = 0; i < n; i++) {
		request_item(&body);
		show_bulk(&body, &rows[i]);
	}
	request_answer_page(r, &body, 0,
	                    n < p->limit ? (struct str){ 0 }
	                                 : str_of(uuid_text(rows[n - 1].id, id)));
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
	if (cursor &&
	    (!cursor_read(*cursor, 0, request_arena(r), &below) || !uuid_parse(below, &p->id))) {
		request_problem(r, PROBLEM_BAD_REQUEST,
		                "The cursor is not one of ours; start without it.");
		return;
	}
	store->bulk_rows(store->ctx, (struct uuid){ { 0 } }, p->id, p->limit, on_list, r);
}

static void on_one(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	if (request_found(arg, result, n, PROBLEM_BULK_UNKNOWN))
		bulk_answer(arg, 200, &rows[0]);
}

static bool read_id(struct request *r, struct page *p)
{
	r->own = p;
	if (uuid_parse(request_param(r, 0), &p->id) && !uuid_is_nil(p->id))
		return true;
	request_problem(r, PROBLEM_BULK_UNKNOWN, NULL);
	return false;
}

void handle_bulk_get(struct request *r)
{
	static const char *const NOTHING[] = { NULL };
	struct store_port       *store = &r->api->store;
	struct page             *p = arena_alloc(request_arena(r), sizeof *p);

	if (request_only(r, NOTHING) && read_id(r, p))
		store->bulk_rows(store->ctx, p->id, (struct uuid){ { 0 } }, 1, on_one, r);
}

/* ---- cancel ------------------------------------------------------------------------------ */

struct ending {
	struct page   page; /* first: what is read of a request's own */
	struct person person;
	bool          dry;
};

static void say_changed(struct request *r)
{
	request_problem(r, PROBLEM_VERSION_CONFLICT, "It has ended: its version is %d now.",
	                VERSION_OVER);
}

static void on_cancelled(void *arg, enum log_result result, bool is_known, bool changed)
{
	struct request    *r = arg;
	const struct page *p = r->own;
	struct store_port *store = &r->api->store;

	if (!request_found(r, result, is_known, PROBLEM_BULK_UNKNOWN))
		return;
	r->api->counters.deeds[DEED_BULK_CANCEL] += changed;
	if (!changed && !etag_fits(&r->if_match, VERSION_OVER))
		say_changed(r);
	else
		store->bulk_rows(store->ctx, p->id, (struct uuid){ { 0 } }, 1, on_one, r);
}

static void answer_dry(struct request *r, const struct bulk_row *b)
{
	struct buf body = { 0 };
	char       id[UUID_TEXT + 1];
	bool       changes = b->state == BULK_RUNNING;

	buf_fmt(&body,
	        "{\"dry_run\":true,\"would\":{\"action\":\"cancel\",\"kind\":\"bulk\","
	        "\"name\":\"%s\","
	        "\"state\":\"%s\",\"changed\":%s,\"matched\":%llu,\"done\":%llu},\"calls\":[]}\n",
	        uuid_text(b->id, id), state_name(changes ? BULK_CANCELLED : b->state),
	        changes ? "true" : "false", (unsigned long long)b->matched,
	        (unsigned long long)b->done);
	request_answer(r, 200, &body);
}

/* Of a dry run; and where If-Match names another version than that of a running one, which is
 * none to end. */
static void on_looked(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct request      *r = arg;
	const struct ending *e = r->own;

	if (!request_found(r, result, n, PROBLEM_BULK_UNKNOWN))
		return;
	if (!etag_fits(&r->if_match, version_of(&rows[0])))
		request_problem(r, PROBLEM_VERSION_CONFLICT, "It is %s: its version is %u.",
		                state_name(rows[0].state), version_of(&rows[0]));
	else if (e->dry)
		answer_dry(r, &rows[0]);
	else
		bulk_answer(r, 200, &rows[0]);
}

/* What is on its way is still applied, and counted: a second's worth at most. */
void handle_bulk_cancel(struct request *r)
{
	static const char *const KNOWN[] = { "dry_run", NULL };
	static const char *const MEMBERS[] = { "reason", "actor", NULL };
	struct store_port       *store = &r->api->store;
	struct ending           *e = arena_alloc(request_arena(r), sizeof *e);
	struct deed              deed;
	char                    *id = arena_alloc(request_arena(r), UUID_TEXT + 1);

	*e = (struct ending){ .person = { .reason = STR("") } };
	if (!request_only(r, KNOWN) || !request_dry_run(r, &e->dry) || !read_id(r, &e->page) ||
	    !request_json(r, true))
		return;
	request_members(r, MEMBERS);
	person_read(r, &e->person);
	if (!request_is_clean(r))
		return;
	if (e->dry || !etag_fits(&r->if_match, VERSION_RUNNING)) {
		store->bulk_rows(store->ctx, e->page.id, (struct uuid){ { 0 } }, 1, on_looked, r);
		return;
	}
	deed = person_deed(r, &e->person, "bulk", str_of(uuid_text(e->page.id, id)), "cancel");
	store->bulk_cancel(store->ctx, e->page.id, &deed, on_cancelled, r);
}
