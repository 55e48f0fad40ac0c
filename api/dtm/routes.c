/* SPDX-License-Identifier: Apache-2.0
 * routes.c - what clients ask: a gid, prepare, submit, abort, branches, the state of things.
 */
#include "api/audit.h"
#include "api/dtm/dtm.h"
#include "api/places.h"
#include "coordinator/base/uuid.h"

#include <string.h>

#define DTM_VERSION "v1.19.0" /* the last whose protocol this is */

/* ---- small things ------------------------------------------------------------------- */

void handle_dtm_version(struct request *r)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"version\":\"" DTM_VERSION "\"}");
	dtm_data(r, &body);
}

static void answer_ping(struct request *r)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"msg\":\"pong\"}");
	dtm_data(r, &body);
}

void handle_dtm_ping(struct request *r)
{
	answer_ping(r);
}

void handle_dtm_ping_post(struct request *r)
{
	answer_ping(r);
}

/* 22 digits of base 57 hold 128 bits, as in the ids that DTM makes. In the order of the bytes of their digits, so that ids
 * made one after another stand side by side in the log's index. */
static void short_id(struct uuid id, char out[23])
{
	static const char DIGITS[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	const unsigned    base = sizeof DIGITS - 1;

	for (int at = 21; at >= 0; at--) {
		unsigned rest = 0;

		for (unsigned i = 0; i < sizeof id.b; i++) {
			rest = rest << 8 | id.b[i];
			id.b[i] = (uint8_t)(rest / base);
			rest %= base;
		}
		out[at] = DIGITS[rest];
	}
	out[22] = '\0';
}

void dtm_new_gid(struct request *r)
{
	const struct clock_port *clock = &r->api->ports.clock;
	uint64_t                 random = clock->random(clock->ctx);
	struct buf               body = { 0 };
	char                     text[23];

	short_id(uuid_v7(request_now(r), random, clock->random(clock->ctx)), text);
	buf_fmt(&body, "{\"dtm_result\":\"SUCCESS\",\"gid\":\"%s\"}", text);
	dtm_data(r, &body);
}

void handle_dtm_new_gid(struct request *r)
{
	dtm_new_gid(r);
}

/* ---- prepare ---------------------------------------------------------------------------- */

static void on_prepared(struct request *r, const struct view *view)
{
	(void)view;
	dtm_ok(r);
}

static void on_prepared_before(struct request *r, const struct view *view)
{
	if (view->row.phase == PHASE_PREPARED)
		dtm_ok(r);
	else
		dtm_failure(r, "current status '%s', cannot prepare.", dtm_status(view->row.phase));
}

/* Takes the buffer's memory. */
static void keep_document(struct request *r, struct buf *doc)
{
	dtm_of(r)->document = arena_str(request_arena(r), buf_view(doc));
	buf_fini(doc);
}

static void prepare_with(struct request *r, struct buf *doc, bool fine)
{
	keep_document(r, doc);
	if (fine)
		dtm_begin(r, on_prepared, on_prepared_before);
}

static void prepare_msg(struct request *r)
{
	struct buf doc = { 0 };
	bool       fine = msg_document(r, true, &doc);

	prepare_with(r, &doc, fine);
}

void dtm_prepare(struct request *r)
{
	struct buf doc = { 0 };

	if (!dtm_read_trans(r))
		return;
	switch (dtm_of(r)->trans.kind) {
	case DTM_TCC:
	case DTM_XA:
		open_document(r, &doc);
		prepare_with(r, &doc, true);
		return;
	case DTM_MSG:
		dtm_with_topics(r, prepare_msg);
		return;
	case DTM_SAGA:
	case DTM_WORKFLOW:
		dtm_error(r, "a %s is not prepared", dtm_kind_name(dtm_of(r)->trans.kind));
		return;
	}
}

void handle_dtm_prepare(struct request *r)
{
	if (dtm_body(r))
		dtm_prepare(r);
}

/* ---- commands ------------------------------------------------------------------------------ */

void dtm_command_failed(struct request *r, enum command_result result, const struct err *err)
{
	switch (result) {
	case COMMAND_APPLIED:
	case COMMAND_UNKNOWN:
		dtm_error(r, "no TransGlobal with gid: %.*s found", (int)r->gid.n, r->gid.p);
		return;
	case COMMAND_INVALID:
		dtm_error(r, "%s", err ? err->text : "it cannot be done");
		return;
	case COMMAND_DIFFERS:
		dtm_error(r, "this branch is registered with other content: UniqueKeyConflict");
		return;
	case COMMAND_AWAY:
		dtm_error(r, "the database is away; the same again is safe");
		return;
	case COMMAND_LATE:
		dtm_error(r, "its owner has not answered in time; the same again is safe");
		return;
	case COMMAND_LOST:
		dtm_error(r, "it is not known whether it was done; the same again is safe");
		return;
	}
}

static struct command *new_command(struct request *r, enum command_kind kind)
{
	struct command *c = &dtm_of(r)->command;

	*c = (struct command){ .kind = kind, .gid = r->gid, .request_id = r->request_id };
	return c;
}

/* What only operators do is journalled and audited; clients of DTM have no names but their tokens'. */
static void be_operator(struct request *r, struct command *c, const char *role, const char *reason)
{
	c->actor = request_principal(r)->name;
	c->role = str_of(role);
	c->reason = str_of(reason);
}

/* ---- submit ----------------------------------------------------------------------------------- */

static void refuse_submit(struct request *r, enum phase phase)
{
	/* Misspelt in DTM, and clients may look for it. */
	dtm_failure(r, "current status '%s', cannot sumbmit.", dtm_status(phase));
}

static void begin_msg(struct request *r);

static void on_confirmed(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                         const struct err *err)
{
	struct request *r = arg;
	bool            is_msg = dtm_of(r)->trans.kind == DTM_MSG;

	if (result == COMMAND_UNKNOWN && is_msg && !dtm_of(r)->was_begun)
		begin_msg(r);
	else if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED || (verdict == VERDICT_ALREADY && !phase_is_ended(view->row.phase)))
		dtm_answer_submitted(r, view);
	else
		refuse_submit(r, view->row.phase);
}

static void confirm(struct request *r)
{
	struct command *c = new_command(r, COMMAND_CONFIRM);
	int64_t         delay = 0;

	if (dtm_of(r)->trans.kind == DTM_MSG && !msg_delay(r, &delay))
		return;
	c->start_at = delay > 0 ? request_now(r) + delay : 0;
	engine_command(r->api->engine, c, on_confirmed, r);
}

static void on_submitted(struct request *r, const struct view *view)
{
	dtm_answer_submitted(r, view);
}

/* Submitted before: nothing is called again, whatever DTM does. */
static void on_submitted_before(struct request *r, const struct view *view)
{
	if (view->row.phase == PHASE_TRYING || view->row.phase == PHASE_CONFIRMING)
		dtm_answer_submitted(r, view);
	else if (view->row.phase == PHASE_PREPARED)
		confirm(r);
	else
		refuse_submit(r, view->row.phase);
}

static void begin_with(struct request *r, struct buf *doc, bool fine)
{
	keep_document(r, doc);
	dtm_of(r)->was_begun = true;
	if (fine)
		dtm_begin(r, on_submitted, on_submitted_before);
}

static void begin_saga(struct request *r)
{
	struct buf doc = { 0 };
	bool       fine = saga_document(r, &doc);

	begin_with(r, &doc, fine);
}

static void begin_msg_now(struct request *r)
{
	struct buf doc = { 0 };
	int64_t    delay = 0;
	bool       fine = msg_document(r, false, &doc) && msg_delay(r, &delay);

	if (delay > 0)
		dtm_of(r)->start_at = request_now(r) + delay;
	begin_with(r, &doc, fine);
}

static void begin_msg(struct request *r)
{
	dtm_with_topics(r, begin_msg_now);
}

void dtm_submit(struct request *r)
{
	if (!dtm_read_trans(r))
		return;
	switch (dtm_of(r)->trans.kind) {
	case DTM_SAGA:
		begin_saga(r);
		return;
	case DTM_MSG: /* who gave a back-check has mostly prepared it */
		if (dtm_of(r)->trans.query_prepared.n > 0)
			confirm(r);
		else
			begin_msg(r);
		return;
	case DTM_TCC:
	case DTM_XA:
		confirm(r);
		return;
	case DTM_WORKFLOW:
		workflow_submit(r);
		return;
	}
}

void handle_dtm_submit(struct request *r)
{
	if (dtm_body(r))
		dtm_submit(r);
}

/* ---- abort ----------------------------------------------------------------------------------------- */

static void refuse_abort(struct request *r, enum phase phase)
{
	dtm_failure(r, "trans type: '%s' current status '%s', cannot abort.", dtm_kind_name(dtm_of(r)->trans.kind),
	            dtm_status(phase));
}

static void on_aborted(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                       const struct err *err)
{
	struct request *r = arg;

	if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED || (verdict == VERDICT_ALREADY && view->row.phase == PHASE_CANCELLING))
		dtm_ok(r);
	else
		refuse_abort(r, view->row.phase);
}

/* A saga is not to be aborted by who claims that it is a tcc. */
static void on_abort_view(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;
	struct dtm     *d = dtm_of(r);
	enum dtm_kind   kind;

	if (result != LOG_DONE) {
		dtm_away(r, result);
	} else if (view == NULL || !dtm_kind_of(&view->row, &kind)) {
		dtm_error(r, "no TransGlobal with gid: %.*s found", (int)r->gid.n, r->gid.p);
	} else if (kind == DTM_SAGA || kind == DTM_WORKFLOW || (view->row.phase != PHASE_PREPARED && view->row.phase != PHASE_CANCELLING)) {
		refuse_abort(r, view->row.phase);
	} else {
		struct command *c = new_command(r, COMMAND_CANCEL);

		c->reason = d->trans.rollback_reason;
		if (c->reason.n > REASON_BYTES_MAX)
			c->reason.n = REASON_BYTES_MAX;
		engine_command(r->api->engine, c, on_aborted, r);
	}
}

void dtm_abort(struct request *r)
{
	if (dtm_read_trans(r))
		engine_read(r->api->engine, r->gid, on_abort_view, r);
}

void handle_dtm_abort(struct request *r)
{
	if (dtm_body(r))
		dtm_abort(r);
}

/* ---- branches ------------------------------------------------------------------------------------------ */

static void on_joined(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                      const struct err *err)
{
	struct request *r = arg;

	(void)view;
	if (result == COMMAND_APPLIED && (verdict == VERDICT_ACCEPTED || verdict == VERDICT_ALREADY))
		dtm_ok(r);
	else if (result == COMMAND_APPLIED && verdict == VERDICT_LIMIT)
		dtm_error(r, "too many branches: %d is the limit", TXN_STEPS_MAX);
	else if (result == COMMAND_APPLIED || result == COMMAND_UNKNOWN)
		dtm_failure(r, "no trans with gid: %.*s status: prepared found", (int)r->gid.n, r->gid.p);
	else
		dtm_command_failed(r, result, err);
}

static bool is_flat(struct request *r)
{
	for (const struct json *m = r->body->first; m != NULL; m = m->next)
		if (m->type != JSON_STRING && m->type != JSON_NULL) {
			dtm_error(r, "a branch is registered with strings alone; this is none: %.*s",
			          (int)(m->key.n > 64 ? 64 : m->key.n), m->key.p);
			return false;
		}
	return true;
}

/* Old clients name no trans_type: their route does. */
void dtm_register(struct request *r, enum dtm_kind usual)
{
	struct str      type = dtm_text(r, r->body, "trans_type");
	enum dtm_kind   kind = usual;
	struct buf      doc = { 0 };
	struct json_error err;
	struct command *c;

	if (!is_flat(r) || !dtm_read_gid(r, dtm_text(r, r->body, "gid")))
		return;
	if (str_is(type, "tcc"))
		kind = DTM_TCC;
	else if (str_is(type, "xa"))
		kind = DTM_XA;
	else if (str_is(type, "workflow"))
		kind = DTM_WORKFLOW;
	if (type.n > 0 && !str_is(type, dtm_kind_name(kind))) {
		dtm_error(r, "unknow trans type: %.*s", (int)(type.n > 64 ? 64 : type.n), type.p);
		return;
	}
	if (!(kind == DTM_WORKFLOW ? workflow_branch(r, &doc) : branch_document(r, kind, &doc))) {
		buf_fini(&doc);
		return;
	}
	c = new_command(r, COMMAND_JOIN);
	c->body = arena_str(request_arena(r), buf_view(&doc));
	buf_fini(&doc);
	if (places_check_step(r, json_parse(c->body, request_arena(r), &err)))
		engine_command(r->api->engine, c, on_joined, r);
	else
		dtm_error(r, "a branch is where calls are refused (calls.deny, calls.allow)");
}

void handle_dtm_register_branch(struct request *r)
{
	if (dtm_body(r))
		dtm_register(r, DTM_TCC);
}

void handle_dtm_register_tcc_branch(struct request *r)
{
	handle_dtm_register_branch(r);
}

void handle_dtm_register_xa_branch(struct request *r)
{
	if (dtm_body(r))
		dtm_register(r, DTM_XA);
}

/* ---- operators' ------------------------------------------------------------------------------------------ */

static void on_stopped(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                       const struct err *err)
{
	struct request *r = arg;

	if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED)
		dtm_ok(r);
	else
		dtm_failure(r, "global transaction force stop error. status: %s. error:", dtm_status(view->row.phase));
}

void handle_dtm_force_stop(struct request *r)
{
	struct command *c;

	if (!dtm_body(r) || !dtm_read_gid(r, dtm_text(r, r->body, "gid")))
		return;
	c = new_command(r, COMMAND_ABANDON);
	be_operator(r, c, "admin", "forceStop of DTM's protocol");
	engine_command(r->api->engine, c, on_stopped, r);
}

static void on_retried(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                       const struct err *err)
{
	(void)verdict, (void)view;
	if (result != COMMAND_APPLIED)
		dtm_command_failed(arg, result, err);
	else
		dtm_ok(arg);
}

void handle_dtm_reset_next_cron_time(struct request *r)
{
	struct command *c;

	if (!dtm_body(r) || !dtm_read_gid(r, dtm_text(r, r->body, "gid")))
		return;
	c = new_command(r, COMMAND_RETRY);
	be_operator(r, c, "operator", "resetNextCronTime of DTM's protocol");
	engine_command(r->api->engine, c, on_retried, r);
}
