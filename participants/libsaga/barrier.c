/* SPDX-License-Identifier: Apache-2.0
 * barrier.c - one call in one transaction: what the barrier says, the work, what is kept, the
 * commit.
 */
#include "participants/libsaga/database.h"
#include "participants/libsaga/internal.h"
#include "sql/barrier/calls.h"

#include <stdio.h>
#include <stdlib.h>

enum { ATTEMPTS = 5 };

/* ---- the barrier ------------------------------------------------------------------------- */

/* Of a message: what its sender's own commit, or that there was none, says. */
static enum entry check(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	char deadline[24];
	const char *params[] = { call->gid, db_ms(call->deadline_ms, deadline) };
	PGresult *r = db_query(db, BARRIER_CHECK, 2, params);
	enum entry entry = ENTRY_FAILED;

	if (r && PQntuples(r) == 1 &&
	    saga_answer_body(answer, PQgetvalue(r, 0, 1), (size_t)PQgetlength(r, 0, 1))) {
		answer->status = atoi(PQgetvalue(r, 0, 0));
		entry = ENTRY_ANSWERED;
	}
	PQclear(r);
	return entry;
}

static enum saga_settled keep(PGconn *db, const char *gid, const char *step, enum saga_op op,
			      const struct saga_answer *answer)
{
	char status[16];
	const char *params[] = { gid, step, saga_op_name(op), status, answer->body };
	enum saga_settled settled = SAGA_SETTLED_ERROR;
	PGresult *r;

	if (answer->body && memchr(answer->body, '\0', answer->body_size))
		return SAGA_SETTLED_ERROR; /* no text, and the rest of it would be lost */
	snprintf(status, sizeof(status), "%d", answer->status);
	r = db_query(db, BARRIER_KEEP, 5, params);
	if (r && PQntuples(r) == 1)
		settled = *PQgetvalue(r, 0, 0) == 't' ? SAGA_SETTLED_KEPT : SAGA_SETTLED_FORBIDDEN;
	PQclear(r);
	return settled;
}

enum saga_settled saga_settle(PGconn *db, const char *gid, const char *step, enum saga_op op,
			      enum saga_result result, struct saga_answer *answer)
{
	saga_answer_result(answer, op, result);
	return keep(db, gid, step, op, answer);
}

/* ---- one call ---------------------------------------------------------------------------- */

struct serving {
	PGconn *db;
	const struct saga_call *call;
	saga_handler *handler;
	void *ctx;
	struct saga_answer *answer;
	struct watch watch;
	bool began;    /* a transaction of ours was open */
	bool was_away; /* once no transaction could be opened, and the session was made anew */
	bool refusing; /* the handler has refused: the answer only has to be kept */
};

enum turn { TURN_OVER, TURN_AGAIN, TURN_FAILED };

static enum turn failed(struct serving *s)
{
	bool again = watch_is_retry(&s->watch) || (!s->began && !s->was_away);

	if (!s->answer->log[0] || s->watch.state[0])
		snprintf(s->answer->log, sizeof(s->answer->log), "database: %s",
		         PQerrorMessage(s->db));
	one_line(s->answer->log);
	s->was_away |= !s->began;
	db_roll_back(s->db);
	return again ? TURN_AGAIN : TURN_FAILED;
}

/* What the transaction did is known only when COMMIT was answered with COMMIT. */
static enum turn commit(struct serving *s)
{
	if (PQtransactionStatus(s->db) != PQTRANS_INTRANS ||
	    !db_command(s->db, "COMMIT", "COMMIT", NULL))
		return failed(s);
	return TURN_OVER;
}

static enum turn roll_back(struct serving *s)
{
	db_roll_back(s->db);
	return TURN_OVER;
}

static enum turn handle_result(struct serving *s, enum saga_result result)
{
	enum saga_op op = s->call->op;
	bool refusal = op == SAGA_TRY && (result == SAGA_REFUSED || result == SAGA_GONE);

	if (!s->watch.committed &&
	    (watch_is_retry(&s->watch) ||
	     (result != SAGA_FAILED && watch_is_down(&s->watch, s->db))))
		return failed(s);
	if (watch_is_ended(&s->watch, s->db)) {
		db_roll_back(s->db);
		saga_answer_fini(s->answer);
		s->answer->status = 500;
		snprintf(s->answer->log, sizeof(s->answer->log),
		         "the handler ended the transaction itself");
		saga_answer_error(s->answer, "a mistake in the service");
		return TURN_OVER;
	}
	saga_answer_result(s->answer, op, result);
	if (refusal && !s->refusing) {
		/* Nothing that was written before the refusal may stay. Between
		 * this and what keeps it a duplicate may come and fare better:
		 * then that is the answer to both. */
		s->refusing = true;
		roll_back(s);
		return TURN_AGAIN;
	}
	if (result == SAGA_FAILED || (op == SAGA_CONFIRM && result == SAGA_GONE) ||
	    s->answer->status >= 500)
		return roll_back(s);
	if (op == SAGA_CHECK)
		return result == SAGA_DONE ? commit(s) : roll_back(s);
	if (keep(s->db, s->call->gid, s->call->step, op, s->answer) != SAGA_SETTLED_KEPT) {
		if (!s->watch.state[0])
			snprintf(s->answer->log, sizeof(s->answer->log),
			         "the answer could not be kept");
		return failed(s);
	}
	return commit(s);
}

/* The work, in a transaction that the barrier has let in. */
static enum turn work(struct serving *s)
{
	enum entry entry = ENTRY_RUN;

	saga_answer_fini(s->answer);
	s->began = db_command(s->db, "BEGIN", "BEGIN", NULL);
	if (s->began && s->call->op != SAGA_CHECK)
		entry = db_ask(s->db, s->call, s->answer);
	else if (s->began && !s->handler)
		entry = check(s->db, s->call, s->answer);
	if (!s->began || entry == ENTRY_FAILED)
		return failed(s);
	if (entry == ENTRY_ANSWERED)
		return commit(s);
	return handle_result(s, s->handler(s->ctx, s->db, s->call, s->answer));
}

/* What the work came to before it was rolled back is kept, unless somebody was quicker. */
static enum turn keep_refusal(struct serving *s)
{
	struct saga_answer refusal = *s->answer;
	enum entry entry = ENTRY_FAILED;

	memset(s->answer, 0, sizeof(*s->answer));
	s->began = db_command(s->db, "BEGIN", "BEGIN", NULL);
	if (s->began)
		entry = db_ask(s->db, s->call, s->answer);
	if (entry == ENTRY_ANSWERED) {
		saga_answer_fini(&refusal);
		s->refusing = false;
		return commit(s);
	}
	saga_answer_fini(s->answer);
	*s->answer = refusal;
	if (entry == ENTRY_FAILED)
		return failed(s);
	return handle_result(s, s->answer->status == 410 ? SAGA_GONE : SAGA_REFUSED);
}

void saga_serve(PGconn *db, const struct saga_call *call, saga_handler *handler, void *ctx,
		struct saga_answer *answer)
{
	struct serving s = {
		.db = db, .call = call, .handler = handler, .ctx = ctx, .answer = answer
	};
	enum turn turn = TURN_AGAIN;

	memset(answer, 0, sizeof(*answer));
	for (int i = 0; i < ATTEMPTS && turn == TURN_AGAIN; i++) {
		if (PQstatus(db) != CONNECTION_OK)
			PQreset(db);
		watch_begin(&s.watch, db);
		turn = s.refusing ? keep_refusal(&s) : work(&s);
	}
	watch_end(db);
	if (turn == TURN_OVER)
		return;
	free(answer->body);
	answer->body = NULL;
	answer->body_size = 0;
	answer->status = 0;
	answer->retry_after_s = 0;
	saga_answer_result(answer, call->op, SAGA_FAILED);
}
