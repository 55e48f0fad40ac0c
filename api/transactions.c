/* SPDX-License-Identifier: Apache-2.0 */
#include "api/transactions.h"

#include "api/places.h"
#include "api/start.h"
#include "coordinator/base/digest.h"
#include "participants/definition.h"

#include <string.h>

enum { USUAL_BYTES = 1600 }; /* an answer about a transaction of two steps has room */

static const char *const WAIT_ONLY[] = { "wait", NULL };

/* ---- answers --------------------------------------------------------------------- */

int64_t transaction_failover(const struct request *r, const struct row *row)
{
	const struct store_port *store = &r->api->store;

	return store->failover_at(store->ctx, row->created_at, row->ended_at);
}

void transaction_answer(struct request *r, unsigned status, const struct view *view, enum show how)
{
	struct buf body = exchange_room(r->x);

	buf_reserve(&body, USUAL_BYTES);
	request_etag(r, view->row.version);
	if (r->replayed)
		request_header(r, "Saga-Replayed", "true");
	if (r->prefer.minimal)
		request_header(r, "Preference-Applied", "return=minimal");
	show_transaction(&body, view, transaction_failover(r, &view->row), r->prefer.minimal ? SHOW_MINIMAL : how);
	buf_char(&body, '\n');
	request_answer(r, status, &body);
}

bool transaction_is_there(struct request *r, enum log_result result, const struct view *view)
{
	if (view)
		return true;
	if (result == LOG_DONE)
		request_problem(r, PROBLEM_TRANSACTION_UNKNOWN, NULL);
	else
		request_away(r, result);
	return false;
}

struct wait_answer {
	unsigned ended, running;
};

/* The transaction exists, so that losing the database while waiting is no error:
 * the caller learns what is known. */
static void on_end(void *arg, enum log_result result, const struct view *view)
{
	struct request           *r = arg;
	const struct wait_answer *how = r->own;
	struct buf                body = { 0 };

	(void)result;
	if (view) {
		transaction_answer(r, phase_is_ended(view->row.phase) ? how->ended : how->running, view, SHOW_STATE);
		return;
	}
	if (r->replayed)
		request_header(r, "Saga-Replayed", "true");
	buf_cstr(&body, "{\"gid\":");
	buf_json(&body, r->gid);
	buf_cstr(&body, "}\n");
	request_answer(r, how->running, &body);
}

void transaction_answer_or_wait(struct request *r, const struct view *view, unsigned ended, unsigned running)
{
	struct wait_answer *how;

	bool has_ended = phase_is_ended(view->row.phase);

	if (has_ended || !r->prefer.wait) {
		transaction_answer(r, has_ended ? ended : running, view, SHOW_STATE);
		return;
	}
	how = arena_alloc(request_arena(r), sizeof *how);
	*how = (struct wait_answer){ ended, running };
	r->own = how;
	request_wait(r, on_end);
}

/* ---- GET /v1/transactions/{gid} ------------------------------------------------------ */

static void answer_get(struct request *r, const struct view *view)
{
	struct str  none_match = exchange_header(r->x, "If-None-Match");
	struct etag etag;

	if (none_match.n && etag_read(none_match, &etag) && etag_fits(&etag, view->row.version)) {
		request_etag(r, view->row.version);
		request_answer_as(r, 304, NULL, NULL);
		return;
	}
	transaction_answer(r, 200, view, SHOW_ALL);
}

static void on_get_waited(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	if (transaction_is_there(r, result, view))
		answer_get(r, view);
}

static void on_get(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	if (!transaction_is_there(r, result, view))
		return;
	if (r->prefer.wait && !phase_is_ended(view->row.phase))
		request_wait(r, on_get_waited);
	else
		answer_get(r, view);
}

void handle_transaction_get(struct request *r)
{
	if (!request_only(r, WAIT_ONLY) || !request_gid(r) || !request_may_wait(r))
		return;
	engine_read(r->api->engine, r->gid, on_get, r);
}

/* ---- POST /v1/transactions --------------------------------------------------------------- */

struct begin {
	struct start start;
	bool         gid_is_ours; /* we made it: nobody can have begun it before */
	uint8_t      hash[16];
};

static void show_location(struct request *r)
{
	struct buf path = { 0 };

	buf_cstr(&path, "/v1/transactions/");
	percent_encode(r->gid, &path);
	exchange_set_header(r->x, "Location", buf_view(&path));
	buf_fini(&path);
}

static void answer_replay(struct request *r, const struct view *view)
{
	const struct begin *b = r->own;

	if (memcmp(view->row.hash, b->hash, sizeof b->hash) != 0) {
		request_problem(r, PROBLEM_KEY_REUSED,
		                "A transaction with this gid was begun by a request with another body.");
		return;
	}
	r->replayed = true;
	show_location(r);
	transaction_answer_or_wait(r, view, 200, 202);
}

static void on_begun(void *arg, enum begin_result result, const struct view *view)
{
	struct request     *r = arg;
	struct engine_stats stats;

	switch (result) {
	case BEGIN_DONE:
		show_location(r);
		transaction_answer_or_wait(r, view, 201, r->prefer.wait ? 202 : 201);
		return;
	case BEGIN_EXISTS:
		answer_replay(r, view);
		return;
	case BEGIN_BUSY:
		request_problem(r, PROBLEM_TOO_MANY_TRANSACTIONS, NULL);
		return;
	case BEGIN_AWAY:
		engine_stats(r->api->engine, &stats);
		request_problem(r, stats.state == ENGINE_LIVE ? PROBLEM_UNAVAILABLE : PROBLEM_NOT_LIVE, NULL);
		return;
	case BEGIN_BARRED:
		request_problem(r, PROBLEM_GID_BARRED, NULL);
		return;
	case BEGIN_LOST:
		request_problem(r, PROBLEM_FATE_UNKNOWN, NULL);
		return;
	case BEGIN_REFUSED:
		request_problem(r, PROBLEM_INVALID_REQUEST, "The database cannot store this transaction.");
		return;
	}
}

static void begin_with(struct request *r, struct definition *def, uint32_t version)
{
	struct begin *b = r->own;
	struct start *s = &b->start;
	struct str    traceparent = exchange_header(r->x, "traceparent");
	struct row    row = {
		.gid = r->gid,
		.def = def,
		.definition = s->definition,
		.definition_version = version,
		.document = s->definition.n ? (struct str){ 0 } : definition_document(def),
		.input = s->input,
		.labels = s->labels,
		.traceparent = traceparent_is_valid(traceparent) ? traceparent : (struct str){ 0 },
		.retention_ms = definition_retention_ms(def),
		.fresh = b->gid_is_ours,
	};
	int64_t limit_ms = definition_deadline_ms(def);
	bool    is_open = definition_plan(def)->open;

	memcpy(row.hash, b->hash, sizeof row.hash);
	if (s->deadline_at == 0 && limit_ms > 0)
		s->deadline_at = (s->start_at ? s->start_at : request_now(r)) + limit_ms;
	/* Its caller may die before he decides. */
	if (is_open && s->deadline_at == 0) {
		request_error(r, "/deadline", "an open TCC, or a message, needs a deadline: its caller may never decide");
		request_problem(r, PROBLEM_INVALID_REQUEST, NULL);
		return;
	}
	r->gid_is_new = false; /* from here on it may exist */
	engine_begin(r->api->engine, &row, s->start_at, s->deadline_at, on_begun, r);
}

static void on_definition(void *arg, enum log_result result, struct definition *def, uint32_t version)
{
	struct request     *r = arg;
	const struct begin *b = r->own;

	if (result != LOG_DONE) {
		request_away(r, result);
	} else if (!def) {
		request_error(r, b->start.version ? "/version" : "/definition", "there is no such definition");
		request_problem(r, PROBLEM_DEFINITION_UNKNOWN, NULL);
	} else {
		begin_with(r, def, version);
	}
}

static void begin_named(struct request *r)
{
	const struct start *s = &((struct begin *)r->own)->start;
	struct store_port  *store = &r->api->store;
	uint32_t            version = 0;
	struct definition  *def = store->definition_cached(store->ctx, s->definition, s->version, &version);

	if (def)
		begin_with(r, def, version);
	else
		store->definition(store->ctx, s->definition, s->version, on_definition, r);
}

static void begin_inline(struct request *r)
{
	const struct start *s = &((struct begin *)r->own)->start;
	struct findings     findings = { .arena = request_arena(r) };
	struct definition  *def = definition_compile(s->document, DEFINITION_INLINE, STR(""), &findings);

	if (def) {
		if (places_check(r, def, &r->errors) > 0)
			request_problem(r, PROBLEM_DEFINITION_INVALID, NULL);
		else
			begin_with(r, def, 0);
		definition_drop(def);
		return;
	}
	for (size_t i = 0; i < findings.n; i++)
		if (!findings.items[i].warning)
			problem_add_error(&r->errors, findings.items[i].pointer, findings.items[i].detail);
	request_problem(r, findings.too_many_steps ? PROBLEM_TOO_MANY_STEPS : PROBLEM_DEFINITION_INVALID, NULL);
}

static bool is_paused(const struct request *r)
{
	const struct api_config *c = &r->api->config;
	const struct begin      *b = r->own;

	return b->start.definition.n && c->pause_of && c->pause_of(c->ctx, PAUSE_DEFINITION, b->start.definition);
}

/* What runs goes on, and whoever began it may ask again. */
static void on_maybe_begun(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	if (result != LOG_DONE)
		request_away(r, result);
	else if (view)
		answer_replay(r, view);
	else
		request_problem(r, PROBLEM_DEFINITION_PAUSED, NULL);
}

static void begin(struct request *r)
{
	const struct begin *b = r->own;

	if (is_paused(r) && b->gid_is_ours)
		on_maybe_begun(r, LOG_DONE, NULL);
	else if (is_paused(r))
		engine_read(r->api->engine, r->gid, on_maybe_begun, r);
	else if (b->start.definition.n)
		begin_named(r);
	else
		begin_inline(r);
}

/* A deadline that has passed is an error in a new request, not in one that is sent
 * again after its transaction began. */
static void on_maybe_replay(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	if (result != LOG_DONE) {
		request_away(r, result);
	} else if (view) {
		answer_replay(r, view);
	} else {
		request_error(r, "/deadline", "the deadline must be after the start");
		request_problem(r, PROBLEM_INVALID_REQUEST, NULL);
	}
}

static bool choose_gid(struct request *r, struct begin *b)
{
	struct str  header = exchange_header(r->x, "Idempotency-Key"), key;
	struct uuid id;

	r->gid = b->start.gid;
	if (r->gid.n)
		return true;
	/* An empty one is a caller's mistake: without a key he would begin twice. */
	if (header.p) {
		if (!idempotency_key_read(header, request_arena(r), &key)) {
			request_problem(r, PROBLEM_BAD_REQUEST,
			                "Idempotency-Key is 1 to %d printable ASCII characters, quoted or bare.",
			                IDEMPOTENCY_KEY_MAX);
			return false;
		}
		id = digest_uuid_v5(key);
	} else {
		struct clock_port *clock = &r->api->ports.clock;
		uint64_t           a = clock->random(clock->ctx);

		id = uuid_v7(request_now(r), a, clock->random(clock->ctx));
		b->gid_is_ours = r->gid_is_new = true;
	}
	char *text = arena_alloc(request_arena(r), UUID_TEXT + 1);
	r->gid = str_of(uuid_text(id, text));
	return true;
}

void handle_transaction_begin(struct request *r)
{
	struct begin *b = arena_alloc(request_arena(r), sizeof *b);
	uint8_t       digest[32];

	r->own = b;
	if (!request_only(r, WAIT_ONLY) || !request_outline(r) || !request_may_wait(r))
		return;
	start_read(r->body, request_now(r), request_arena(r), &r->errors, &b->start);
	if (!request_is_clean(r) || !choose_gid(r, b))
		return;
	digest_sha256(buf_view(&r->x->body), digest);
	memcpy(b->hash, digest, sizeof b->hash);
	if (!b->start.is_too_late)
		begin(r);
	else if (b->gid_is_ours)
		on_maybe_replay(r, LOG_DONE, NULL);
	else
		engine_read(r->api->engine, r->gid, on_maybe_replay, r);
}
