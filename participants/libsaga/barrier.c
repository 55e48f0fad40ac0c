/* SPDX-License-Identifier: Apache-2.0
 * barrier.c - one call in one transaction: what the barrier says, the work, what is kept, the
 * commit.
 */
#include "participants/libsaga/barrier.h"
#include "participants/libsaga/internal.h"
#include "participants/libsaga/saga/service.h"
#include "sql/barrier/calls.h"

#include <libpq-events.h>
#include <stdio.h>
#include <stdlib.h>

enum { ATTEMPTS = 5 };

/* ---- what the database says -------------------------------------------------------------- */

struct watch { /* the SQLSTATE of the last statement that failed, ours or the handler's */
	char state[6];
};

/* A handler's failed statements are its own affair, but for those after which
 * all has to be done again. */
static int on_event(PGEventId id, void *info, void *ctx)
{
	const PGEventResultCreate *made = info;
	struct watch *watch;
	const char *state;

	(void)ctx;
	if (id != PGEVT_RESULTCREATE)
		return 1;
	watch = PQinstanceData(made->conn, on_event);
	state = PQresultErrorField(made->result, PG_DIAG_SQLSTATE);
	if (watch && state && PQresultStatus(made->result) == PGRES_FATAL_ERROR)
		snprintf(watch->state, sizeof(watch->state), "%.5s", state);
	return 1;
}

static bool is_state(const struct watch *w, const char *state)
{
	return !strncmp(w->state, state, strlen(state));
}

/* Nothing is wrong with the work: it met somebody else's. */
static bool worth_another(const struct watch *w)
{
	return is_state(w, "40001") || is_state(w, "40P01");
}

/* The database could not do its work, so that what it failed at says nothing about the work. */
static bool database_failed(PGconn *db, const struct watch *w)
{
	static const char *const classes[] = { "08", "40", "53", "55", "57", "58", "XX" };

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (is_state(w, classes[i]))
			return true;
	return PQstatus(db) != CONNECTION_OK;
}

static PGresult *run(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	PQclear(r);
	return NULL;
}

static bool command(PGconn *db, const char *sql)
{
	PGresult *r = PQexec(db, sql);
	/* COMMIT of a transaction that has failed says ROLLBACK. */
	bool done = PQresultStatus(r) == PGRES_COMMAND_OK && !strcmp(PQcmdStatus(r), sql);

	PQclear(r);
	return done;
}

/* ---- the barrier ------------------------------------------------------------------------- */

static const char *in_ms(int64_t ms, char out[24])
{
	if (ms == SAGA_NO_TIME)
		return NULL;
	snprintf(out, 24, "%lld", (long long)ms);
	return out;
}

enum entry { ENTRY_RUN, ENTRY_ANSWERED, ENTRY_FAILED };

static enum entry enter(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	/* A step without a deadline is swept by when its transaction was accepted. */
	int64_t until_ms =
		call->deadline_ms != SAGA_NO_TIME ? call->deadline_ms : call->accepted_ms;
	char epoch[24], deadline[24];
	const char *params[] = { call->gid, call->step, saga_op_name(call->op), NULL,
				 in_ms(until_ms, deadline) };
	enum entry entry = ENTRY_ANSWERED;
	PGresult *r;

	if (call->epoch >= 0) {
		snprintf(epoch, sizeof(epoch), "%lld", (long long)call->epoch);
		params[3] = epoch;
	}
	r = run(db, BARRIER_ASK, 5, params);
	if (!r || PQntuples(r) != 1) {
		entry = ENTRY_FAILED;
	} else if (!strcmp(PQgetvalue(r, 0, 0), "run")) {
		entry = ENTRY_RUN;
	} else {
		answer->status = atoi(PQgetvalue(r, 0, 1));
		if (!PQgetisnull(r, 0, 2) &&
		    !saga_answer_body(answer, PQgetvalue(r, 0, 2), (size_t)PQgetlength(r, 0, 2)))
			entry = ENTRY_FAILED;
	}
	PQclear(r);
	return entry;
}

/* Of a message: what its sender's own commit, or that there was none, says. */
static enum entry check(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	char deadline[24];
	const char *params[] = { call->gid, in_ms(call->deadline_ms, deadline) };
	PGresult *r = run(db, BARRIER_CHECK, 2, params);
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
	r = run(db, BARRIER_KEEP, 5, params);
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

bool saga_barrier_setup(PGconn *db, struct saga_error *error)
{
	bool alone = PQtransactionStatus(db) == PQTRANS_IDLE;
	struct text script = { 0 };
	PGresult *r;
	bool ok;

	/* Two processes may start at once: CREATE … IF NOT EXISTS collides without the lock. */
	text_cstr(&script, barrier_lock);
	for (const char *const *part = barrier_script; *part; part++)
		text_cstr(&script, *part);
	if (script.failed) {
		text_free(&script);
		return saga_fail(error, SAGA_E_MEMORY, "out of memory");
	}
	if (alone)
		command(db, "BEGIN");
	r = PQexec(db, script.p);
	ok = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;
	if (!ok)
		saga_fail(error, SAGA_E_DATABASE, "cannot set up the barrier: %s",
		          PQerrorMessage(db));
	PQclear(r);
	text_free(&script);
	if (alone && !command(db, ok ? "COMMIT" : "ROLLBACK") && ok)
		ok = saga_fail(error, SAGA_E_DATABASE, "cannot set up the barrier: %s",
		               PQerrorMessage(db));
	return ok;
}

bool saga_barrier_sweep(PGconn *db, int64_t retention_s, int64_t *deleted, struct saga_error *error)
{
	char seconds[24];
	const char *params[] = { seconds };
	PGresult *r;
	bool ok;

	snprintf(seconds, sizeof(seconds), "%lld", (long long)retention_s);
	r = run(db, BARRIER_SWEEP, 1, params);
	ok = r && PQntuples(r) == 1;
	if (!ok)
		saga_fail(error, SAGA_E_DATABASE, "cannot sweep the barrier: %s",
		          PQerrorMessage(db));
	else if (deleted)
		*deleted = atoll(PQgetvalue(r, 0, 0));
	PQclear(r);
	return ok;
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
	bool again = worth_another(&s->watch) || (!s->began && !s->was_away);

	if (!s->answer->log[0] || s->watch.state[0])
		snprintf(s->answer->log, sizeof(s->answer->log), "database: %s",
		         PQerrorMessage(s->db));
	one_line(s->answer->log);
	s->was_away |= !s->began;
	if (PQtransactionStatus(s->db) != PQTRANS_IDLE)
		command(s->db, "ROLLBACK");
	return again ? TURN_AGAIN : TURN_FAILED;
}

/* What the transaction did is known only when COMMIT was answered with COMMIT. */
static enum turn commit(struct serving *s)
{
	if (PQtransactionStatus(s->db) != PQTRANS_INTRANS || !command(s->db, "COMMIT"))
		return failed(s);
	return TURN_OVER;
}

static enum turn roll_back(struct serving *s)
{
	if (PQtransactionStatus(s->db) != PQTRANS_IDLE)
		command(s->db, "ROLLBACK");
	return TURN_OVER;
}

static enum turn handle_result(struct serving *s, enum saga_result result)
{
	enum saga_op op = s->call->op;
	bool refusal = op == SAGA_TRY && (result == SAGA_REFUSED || result == SAGA_GONE);

	if (worth_another(&s->watch) ||
	    (result != SAGA_FAILED && database_failed(s->db, &s->watch)))
		return failed(s);
	if (PQtransactionStatus(s->db) == PQTRANS_IDLE) {
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
	s->began = command(s->db, "BEGIN");
	if (s->began && s->call->op != SAGA_CHECK)
		entry = enter(s->db, s->call, s->answer);
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
	s->began = command(s->db, "BEGIN");
	if (s->began)
		entry = enter(s->db, s->call, s->answer);
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
		/* A reset takes the registration along; to do it again does no harm. */
		PQregisterEventProc(db, on_event, "saga", NULL);
		PQsetInstanceData(db, on_event, &s.watch);
		s.watch.state[0] = '\0';
		turn = s.refusing ? keep_refusal(&s) : work(&s);
	}
	PQsetInstanceData(db, on_event, NULL);
	if (turn == TURN_OVER)
		return;
	free(answer->body);
	answer->body = NULL;
	answer->body_size = 0;
	answer->status = 0;
	answer->retry_after_s = 0;
	saga_answer_result(answer, call->op, SAGA_FAILED);
}
