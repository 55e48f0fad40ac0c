/* SPDX-License-Identifier: Apache-2.0
 * global.c - prepare, submit, abort: a global transaction begins and is decided.
 */
#include "api/audit.h"
#include "api/dtm/dtm.h"

/* ---- prepare ----------------------------------------------------------------------------- */

static void on_prepared(struct request *r, const struct view *view)
{
	(void)view;
	dtm_ok(r);
}

static void on_prepared_before(struct request *r, const struct view *view)
{
	if (!dtm_is_same_kind(r, view))
		return;
	if (view->row.phase == PHASE_PREPARED)
		dtm_ok(r);
	else
		dtm_failure(r, "current status '%s', cannot prepare.", dtm_status(view->row.phase));
}

/* Takes the buffer's memory. */
static void prepare_with(struct request *r, struct buf *doc, bool fine)
{
	dtm_of(r)->document = request_keep(r, doc);
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
	case DTM_WORKFLOW:
		workflow_prepare(r, on_prepared, on_prepared_before);
		return;
	case DTM_SAGA:
		dtm_error(r, "a saga is not prepared");
		return;
	}
}

void handle_dtm_prepare(struct request *r)
{
	if (dtm_body(r))
		dtm_prepare(r);
}

/* ---- submit ------------------------------------------------------------------------------ */

static void refuse_submit(struct request *r, enum phase phase)
{
	/* Misspelt in DTM, and clients may look for it. */
	dtm_failure(r, "current status '%s', cannot sumbmit.", dtm_status(phase));
}

/* Also one that has succeeded: who has not heard it asks again, and takes 409 for a rollback. */
static bool is_submitted(enum phase phase)
{
	return phase == PHASE_TRYING || phase == PHASE_CONFIRMING || phase == PHASE_CONFIRMED;
}

static void begin_msg(struct request *r);

static void on_confirmed(void *arg, enum command_result result, enum verdict verdict,
                         const struct view *view, const struct err *err)
{
	struct request *r = arg;
	bool            is_msg = dtm_of(r)->trans.kind == DTM_MSG;

	if (result == COMMAND_UNKNOWN && is_msg && !dtm_of(r)->was_begun)
		begin_msg(r);
	else if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED ||
	         (verdict == VERDICT_ALREADY && is_submitted(view->row.phase)))
		dtm_answer_submitted(r, view);
	else
		refuse_submit(r, view->row.phase);
}

static void confirm(struct request *r)
{
	struct command *c = dtm_command(r, COMMAND_CONFIRM);
	int64_t         delay = 0;

	if (dtm_of(r)->trans.kind == DTM_MSG && !msg_delay(r, &delay))
		return;
	c->start_at = delay > 0 ? request_now(r) + delay : 0;
	engine_command(r->api->engine, c, on_confirmed, r);
}

static void confirm_found(struct request *r, const struct view *view)
{
	if (view == NULL)
		dtm_command_failed(r, COMMAND_UNKNOWN, NULL);
	else if (dtm_is_same_kind(r, view))
		confirm(r);
}

static void on_submitted(struct request *r, const struct view *view)
{
	dtm_answer_submitted(r, view);
}

/* Submitted before: nothing is called again, whatever DTM does. Who waits for the result asks for
 * it again, and hears the reason that he missed; the others hear that they are late. */
static void on_submitted_before(struct request *r, const struct view *view)
{
	if (!dtm_is_same_kind(r, view))
		return;
	if (view->row.phase == PHASE_PREPARED)
		confirm(r);
	else if (!dtm_is_same_content(r, view))
		dtm_failure(r, "the gid is that of a transaction with other steps; current "
		               "status '%s', cannot sumbmit.",
		            dtm_status(view->row.phase));
	else if (is_submitted(view->row.phase) || dtm_of(r)->trans.wait_result)
		dtm_answer_submitted(r, view);
	else
		refuse_submit(r, view->row.phase);
}

static void begin_with(struct request *r, struct buf *doc, bool fine)
{
	dtm_of(r)->document = request_keep(r, doc);
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

/* Its topics are looked at only where it is new: they may have gone since. */
static void msg_found(struct request *r, const struct view *view)
{
	if (view == NULL)
		begin_msg(r);
	else
		on_submitted_before(r, view);
}

void dtm_submit(struct request *r)
{
	if (!dtm_read_trans(r))
		return;
	if (dtm_of(r)->trans.kind != DTM_WORKFLOW && !dtm_may_wait(r))
		return;
	switch (dtm_of(r)->trans.kind) {
	case DTM_SAGA:
		begin_saga(r);
		return;
	case DTM_MSG: /* who gave a back-check has mostly prepared it */
		if (dtm_of(r)->trans.query_prepared.n > 0 || dtm_names_topics(r))
			dtm_find(r, msg_found);
		else
			begin_msg(r);
		return;
	case DTM_TCC:
	case DTM_XA:
		dtm_find(r, confirm_found);
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

/* ---- abort ------------------------------------------------------------------------------- */

static void refuse_abort(struct request *r, enum phase phase)
{
	const struct str kind = dtm_of(r)->trans.kind_text;

	dtm_failure(r, "trans type: '%.*s' current status '%s', cannot abort.", (int)kind.n, kind.p,
	            dtm_status(phase));
}

static void on_aborted(void *arg, enum command_result result, enum verdict verdict,
                       const struct view *view, const struct err *err)
{
	struct request *r = arg;

	if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED ||
	         (verdict == VERDICT_ALREADY && view->row.phase == PHASE_CANCELLING))
		dtm_ok(r);
	else
		refuse_abort(r, view->row.phase);
}

/* A saga is not to be aborted by who claims that it is a tcc, nor the other way round. */
static bool can_abort(struct str claimed, const struct view *view)
{
	const enum phase phase = view->row.phase;
	bool claims = str_is(claimed, "tcc") || str_is(claimed, "xa") || str_is(claimed, "msg");

	if (!claims || dtm_is(view, DTM_SAGA) || dtm_is(view, DTM_WORKFLOW))
		return false;
	return phase == PHASE_PREPARED || (phase == PHASE_CANCELLING && !dtm_is(view, DTM_MSG));
}

/* What is too long for the journal is cut, between two letters. */
static struct str reason_of(struct str text)
{
	if (text.n <= REASON_BYTES_MAX)
		return text;
	text.n = REASON_BYTES_MAX;
	while (text.n > 0 && ((unsigned char)text.p[text.n] & 0xc0) == 0x80)
		text.n--;
	return text;
}

static void abort_found(struct request *r, const struct view *view)
{
	if (view == NULL) {
		dtm_command_failed(r, COMMAND_UNKNOWN, NULL);
	} else if (!can_abort(dtm_of(r)->trans.kind_text, view)) {
		refuse_abort(r, view->row.phase);
	} else {
		struct command *c = dtm_command(r, COMMAND_CANCEL);

		c->reason = reason_of(dtm_of(r)->trans.rollback_reason);
		engine_command(r->api->engine, c, on_aborted, r);
	}
}

void dtm_abort(struct request *r)
{
	if (dtm_read_abort(r))
		dtm_find(r, abort_found);
}

void handle_dtm_abort(struct request *r)
{
	if (dtm_body(r))
		dtm_abort(r);
}

