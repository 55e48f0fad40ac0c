/* SPDX-License-Identifier: Apache-2.0
 * explain_route.c - GET …/explain: asks the replica that drives the transaction, since only it knows all of it.
 */
#include "api/audit.h"
#include "api/explain.h"
#include "api/transactions.h"

enum { ASK_MS = 1000 };

static const char *const NOTHING[] = { NULL };

struct asking {
	struct explain_facts facts;
	struct uuid          owner;
	void               (*begin)(struct request *r);
	bool                 looked; /* who paused it: the audit was asked */
	struct pause_row     paused;
};

/* ---- facts ----------------------------------------------------------------------------------- */

struct search {
	struct str         name;
	struct api_target *found;
	bool               is_found;
};

static void look(void *arg, const struct api_target *t)
{
	struct search *s = arg;

	if (s->is_found || !str_eq(t->name, s->name))
		return;
	s->is_found = true;
	*s->found = *t;
}

static bool find_target(void *ctx, struct str name, struct api_target *out)
{
	const struct request    *r = ctx;
	const struct api_config *c = &r->api->config;
	struct search            s = { name, out, false };

	if (c->targets != NULL)
		c->targets(c->ctx, look, &s);
	return s.is_found;
}

static const struct pause_row *find_pause(void *ctx, enum pause_kind kind, struct str name)
{
	const struct request    *r = ctx;
	const struct api_config *c = &r->api->config;

	return c->pause_of != NULL ? c->pause_of(c->ctx, kind, name) : NULL;
}

static int64_t call_ms(void *ctx, uint16_t step)
{
	const struct request *r = ctx;

	return engine_call_ms(r->api->engine, r->gid, step);
}

static void gather(struct request *r, struct explain_facts *f)
{
	struct engine_stats stats;

	engine_stats(r->api->engine, &stats);
	f->now = request_now(r);
	f->me = stats.me;
	f->state = stats.state;
	f->database = api_database(r->api);
	f->target = find_target;
	f->pause = find_pause;
	f->call_ms = call_ms;
	f->ctx = r;
	f->owner = OWNER_NOBODY;
	f->owner_age_ms = -1;
	if (!f->is_owner)
		return;
	f->owner = OWNER_US;
	f->owner_age_ms = stats.lease_age_ms;
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* What was looked at is another turn's by now: from the beginning. */
static void on_who_paused(void *arg, enum log_result result, const struct deed_row *rows, size_t n, uint64_t next)
{
	struct request *r = arg;
	struct asking  *a = r->own;

	(void)next;
	a->looked = true;
	if (result == LOG_DONE && n > 0)
		a->paused = (struct pause_row){ .since = rows[0].at, .actor = arena_str(request_arena(r), rows[0].deed.actor),
			                        .reason = arena_str(request_arena(r), rows[0].deed.reason) };
	a->begin(r);
}

/* Only the newest counts: a pause of what is paused changes nothing and leaves no line. */
static void ask_who_paused(struct request *r)
{
	const struct deed_filter filter = { .kind = STR("transaction"), .target = r->gid, .action = STR("pause") };
	struct store_port       *store = &r->api->store;

	store->audit(store->ctx, &filter, 1, on_who_paused, r);
}

static void answer(struct request *r, struct explain_facts *f)
{
	const struct asking *a = r->own;
	struct explanation   x;
	struct buf           body = { 0 };

	if (f->view.row.paused && !phase_is_ended(f->view.row.phase) && !a->looked && f->database.up) {
		ask_who_paused(r);
		return;
	}
	f->paused = a->paused.since != 0 ? &a->paused : NULL;
	explain(f, &x);
	if (x.why == WHY_DATABASE) {
		/* What this replica last knew, but it cannot vouch for it. */
		request_problem(r, PROBLEM_UNAVAILABLE, "%s", x.sentence.p);
	} else {
		explain_show(f, &x, &body);
		buf_char(&body, '\n');
		request_answer(r, 200, &body);
	}
	buf_fini(&x.sentence);
}

/* True: it is in memory here, and all is said. */
static bool answer_as_owner(struct request *r)
{
	struct explain_facts f = { 0 };

	if (!engine_inside(r->api->engine, r->gid, &f.inside))
		return false;
	f.is_owner = true;
	f.view = f.inside.view;
	gather(r, &f);
	answer(r, &f);
	return true;
}

static void begin(struct request *r, void (*how)(struct request *r))
{
	struct asking *a = arena_alloc(request_arena(r), sizeof *a);

	if (!request_only(r, NOTHING) || !request_gid(r))
		return;
	*a = (struct asking){ .begin = how };
	r->own = a;
	how(r);
}

static void explain_own(struct request *r)
{
	if (!answer_as_owner(r))
		request_problem(r, PROBLEM_TRANSACTION_UNKNOWN, "This replica does not drive it.");
}

void handle_replica_explain(struct request *r)
{
	begin(r, explain_own);
}

/* ---- of another replica's ------------------------------------------------------------------------- */

static enum owner_kind kind_of(enum member_state s)
{
	switch (s) {
	case MEMBER_LIVE: return OWNER_LIVE;
	case MEMBER_DRAINED: return OWNER_LEFT;
	case MEMBER_FENCED: return OWNER_FENCED;
	}
	return OWNER_UNKNOWN;
}

static void on_silent_row(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;
	struct asking  *a = r->own;

	if (!transaction_is_there(r, result, view) || answer_as_owner(r))
		return;
	a->facts.view = *view;
	/* It went to somebody else meanwhile. */
	if (!uuid_eq(view->row.owner, a->owner))
		a->facts.owner = uuid_is_nil(view->row.owner) ? OWNER_NOBODY : OWNER_UNKNOWN;
	a->facts.now = request_now(r);
	answer(r, &a->facts);
}

/* The owner's answer is the answer. */
static void on_asked(void *arg, int status, struct str body)
{
	struct request *r = arg;
	struct asking  *a = r->own;
	struct buf      copy = { 0 };

	if (status == 200) {
		buf_str(&copy, body);
		request_answer(r, 200, &copy);
		return;
	}
	a->facts.owner_silent = status == 0;
	engine_read(r->api->engine, r->gid, on_silent_row, r);
}

static void on_members(void *arg, enum log_result result, const struct member *members, size_t n)
{
	struct request          *r = arg;
	struct asking           *a = r->own;
	const struct api_config *c = &r->api->config;
	struct str               address = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	a->facts.owner = OWNER_UNKNOWN;
	for (size_t i = 0; i < n; i++) {
		if (!uuid_eq(members[i].id, a->owner))
			continue;
		a->facts.owner = kind_of(members[i].state);
		a->facts.owner_age_ms = members[i].seen_at > 0 ? request_now(r) - members[i].seen_at : -1;
		if (members[i].state == MEMBER_LIVE)
			address = members[i].address;
	}
	if (address.n > 0 && c->ask != NULL)
		c->ask(c->ctx, address, "/internal/explain/", r->gid, ASK_MS, on_asked, r);
	else
		engine_read(r->api->engine, r->gid, on_silent_row, r);
}

static void on_view(void *arg, enum log_result result, const struct view *view)
{
	struct request  *r = arg;
	struct asking   *a = r->own;
	struct log_port *log = &r->api->ports.log;

	if (!transaction_is_there(r, result, view))
		return;
	if (answer_as_owner(r))
		return;
	gather(r, &a->facts);
	a->facts.view = *view;
	if (uuid_is_nil(view->row.owner)) {
		answer(r, &a->facts);
		return;
	}
	a->owner = view->row.owner;
	log->members(log->ctx, on_members, r);
}

static void explain_any(struct request *r)
{
	if (!answer_as_owner(r))
		engine_read(r->api->engine, r->gid, on_view, r);
}

void handle_transaction_explain(struct request *r)
{
	begin(r, explain_any);
}
