/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/database.h"
#include "participants/libsaga/internal.h"
#include "sql/barrier/calls.h"

#include <libpq-events.h>
#include <stdio.h>
#include <stdlib.h>

PGresult *db_query(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	PQclear(r);
	return NULL;
}

bool db_command(PGconn *db, const char *sql, const char *tag, char *state)
{
	PGresult *r = PQexec(db, sql);
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	bool done = PQresultStatus(r) == PGRES_COMMAND_OK && !strcmp(PQcmdStatus(r), tag);

	if (state)
		snprintf(state, 6, "%s", code ? code : "");
	PQclear(r);
	return done;
}

void db_roll_back(PGconn *db)
{
	if (PQtransactionStatus(db) != PQTRANS_IDLE)
		db_command(db, "ROLLBACK", "ROLLBACK", NULL);
}

const char *db_ms(int64_t ms, char out[24])
{
	if (ms == SAGA_NO_TIME)
		return NULL;
	snprintf(out, 24, "%lld", (long long)ms);
	return out;
}

/* ---- the barrier ------------------------------------------------------------------------- */

enum entry db_ask(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	/* A step without a deadline is swept by when its transaction was accepted. */
	int64_t until_ms =
		call->deadline_ms != SAGA_NO_TIME ? call->deadline_ms : call->accepted_ms;
	char epoch[24], deadline[24];
	const char *params[] = { call->gid, call->step, saga_op_name(call->op),
		                 db_ms(call->epoch >= 0 ? call->epoch : SAGA_NO_TIME, epoch),
		                 db_ms(until_ms, deadline) };
	PGresult *r = db_query(db, BARRIER_ASK, 5, params);
	enum entry entry = ENTRY_ANSWERED;

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

/* ---- what has failed --------------------------------------------------------------------- */

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
	/* No other command's tag: COMMIT of a transaction that has failed says ROLLBACK. */
	if (watch && (!strcmp(PQcmdStatus(made->result), "COMMIT") ||
	              !strcmp(PQcmdStatus(made->result), "PREPARE TRANSACTION")))
		watch->committed = true;
	if (watch && state && PQresultStatus(made->result) == PGRES_FATAL_ERROR)
		snprintf(watch->state, sizeof(watch->state), "%.5s", state);
	return 1;
}

void watch_begin(struct watch *w, PGconn *db)
{
	/* A reset takes the registration along; to do it again does no harm. */
	PQregisterEventProc(db, on_event, "saga", NULL);
	PQsetInstanceData(db, on_event, w);
	w->state[0] = '\0';
	w->committed = false;
}

void watch_end(PGconn *db)
{
	PQsetInstanceData(db, on_event, NULL);
}

static bool is_state(const struct watch *w, const char *state)
{
	return !strncmp(w->state, state, strlen(state));
}

bool watch_is_retry(const struct watch *w)
{
	return is_state(w, "40001") || is_state(w, "40P01");
}

bool watch_is_down(const struct watch *w, PGconn *db)
{
	static const char *const classes[] = { "08", "40", "53", "55", "57", "58", "XX" };

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (is_state(w, classes[i]))
			return true;
	return PQstatus(db) != CONNECTION_OK;
}

bool watch_is_ended(const struct watch *w, PGconn *db)
{
	return w->committed || PQtransactionStatus(db) == PQTRANS_IDLE;
}
