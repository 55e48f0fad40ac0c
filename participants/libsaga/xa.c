/* SPDX-License-Identifier: Apache-2.0
 * xa.c - try prepares, confirm commits that, cancel rolls it back. The try's row of the barrier is
 * a part of what it prepares: it is there exactly if the effect is, and as long as that is prepared
 * nobody can have a row of that step. Who wants one waits, and is made to give up soon.
 */
#include "participants/libsaga/saga/xa.h"
#include "participants/libsaga/database.h"
#include "participants/libsaga/internal.h"
#include "sql/barrier/calls.h"
#include "sql/barrier/xa_calls.h"

#include <stdio.h>
#include <stdlib.h>

enum { ID_MAX = 200 }; /* as PostgreSQL has it, with the zero byte: "saga:", 128, ':', 64 fit */

/* ---- small words ------------------------------------------------------------------------- */

/* The second word of two: PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED. */
static bool second_phase(PGconn *db, const char *words, const char *id, char *state)
{
	char *quoted = PQescapeLiteral(db, id, strlen(id)), sql[2 * ID_MAX + 40];
	bool done = false;

	state[0] = '\0';
	if (quoted) {
		snprintf(sql, sizeof(sql), "%s %s", words, quoted);
		done = db_command(db, sql, words, state);
	}
	PQfreemem(quoted);
	return done;
}

static bool is_gone(const char *state)
{
	return !strcmp(state, "42704"); /* undefined_object: nothing is prepared under that id */
}

static void id_of(const struct saga_call *call, char out[ID_MAX])
{
	snprintf(out, ID_MAX, "saga:%s:%s", call->gid, call->step);
}

static void answer_failed(PGconn *db, struct saga_answer *answer)
{
	char log[sizeof(answer->log)];

	snprintf(log, sizeof(log), "%s", answer->log[0] ? answer->log : PQerrorMessage(db));
	db_roll_back(db);
	saga_answer_fini(answer);
	memcpy(answer->log, log, sizeof(log));
	saga_answer_result(answer, SAGA_TRY, SAGA_FAILED);
}

/* ---- the barrier ------------------------------------------------------------------------- */

/* In a transaction that it begins. */
static enum entry enter(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	enum entry entry = ENTRY_FAILED;

	if (db_command(db, "BEGIN", "BEGIN", NULL) && db_command(db, XA_IMPATIENT, "SET", NULL))
		entry = db_ask(db, call, answer);
	if (entry != ENTRY_FAILED && !db_command(db, XA_PATIENT, "SET", NULL))
		entry = ENTRY_FAILED;
	return entry;
}

static bool keep(PGconn *db, const struct saga_call *call, const struct saga_answer *answer)
{
	char status[16];
	const char *params[] = { call->gid, call->step, saga_op_name(call->op), status,
		                 answer->body };
	PGresult *r;
	bool kept;

	snprintf(status, sizeof(status), "%d", answer->status);
	r = db_query(db, BARRIER_KEEP, 5, params);
	kept = r && PQntuples(r) == 1 && *PQgetvalue(r, 0, 0) == 't';
	PQclear(r);
	return kept;
}

static bool commit(PGconn *db)
{
	return db_command(db, "COMMIT", "COMMIT", NULL);
}

/* ---- try --------------------------------------------------------------------------------- */

static bool is_prepared(PGconn *db, const char *id, bool *found)
{
	PGresult *r = db_query(db, XA_FIND, 1, &id);
	bool known = r != NULL;

	*found = known && PQntuples(r) > 0;
	PQclear(r);
	return known;
}

/* Rolled back is what it wrote; that it was refused stays. */
static bool keep_refusal(PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	struct saga_answer earlier = { 0 };
	enum entry entry;

	db_roll_back(db);
	entry = enter(db, call, &earlier);
	if (entry == ENTRY_ANSWERED) { /* somebody came in between: that is what happened */
		saga_answer_fini(answer);
		*answer = earlier;
		return commit(db);
	}
	saga_answer_fini(&earlier);
	return entry == ENTRY_RUN && keep(db, call, answer) && commit(db);
}

static bool prepare(PGconn *db, const struct saga_call *call, const char *id,
                    struct saga_answer *answer)
{
	char state[6];

	saga_answer_fini(answer);
	saga_answer_result(answer, SAGA_TRY, SAGA_DONE);
	if (!keep(db, call, answer))
		return false;
	if (second_phase(db, "PREPARE TRANSACTION", id, state))
		return true;
	/* A transaction that has failed "prepares" with the tag ROLLBACK and without an error. */
	if (!state[0] && PQstatus(db) == CONNECTION_OK)
		snprintf(answer->log, sizeof(answer->log),
		         "the transaction had failed and could not be prepared");
	return false;
}

static bool serve_try(PGconn *db, const struct saga_call *call, saga_handler *handler, void *ctx,
                      const char *id, struct saga_answer *answer)
{
	enum saga_result result;
	struct watch watch;
	enum entry entry;
	bool found;

	if (!is_prepared(db, id, &found))
		return false;
	if (found) {
		saga_answer_result(answer, SAGA_TRY, SAGA_DONE);
		return true;
	}
	entry = enter(db, call, answer);
	if (entry != ENTRY_RUN)
		return entry == ENTRY_ANSWERED && commit(db);
	watch_begin(&watch, db);
	result = handler(ctx, db, call, answer);
	watch_end(db);
	if (watch_is_ended(&watch, db)) {
		snprintf(answer->log, sizeof(answer->log),
		         "the handler ended the transaction itself");
		return false;
	}
	if (result == SAGA_DONE)
		return prepare(db, call, id, answer);
	if (result != SAGA_REFUSED && result != SAGA_GONE)
		return false;
	saga_answer_result(answer, SAGA_TRY, result);
	return keep_refusal(db, call, answer);
}

/* ---- confirm and cancel ------------------------------------------------------------------ */

static bool serve_confirm(PGconn *db, const struct saga_call *call, const char *id,
                          struct saga_answer *answer)
{
	char state[6];
	enum entry entry;

	/* Gone: committed by an earlier confirm, or never there. The barrier's row tells which. */
	if (!second_phase(db, "COMMIT PREPARED", id, state) && !is_gone(state))
		return false;
	entry = enter(db, call, answer);
	if (entry == ENTRY_RUN) {
		saga_answer_result(answer, SAGA_CONFIRM, SAGA_DONE);
		if (!keep(db, call, answer))
			return false;
	}
	return entry != ENTRY_FAILED && commit(db);
}

static bool serve_cancel(PGconn *db, const struct saga_call *call, const char *id,
                         struct saga_answer *answer)
{
	char state[6];
	enum entry entry;

	if (!second_phase(db, "ROLLBACK PREPARED", id, state) && !is_gone(state))
		return false;
	/* Forbids the try that may still come. One that is at work now is waited for a moment. */
	entry = enter(db, call, answer);
	if (entry == ENTRY_RUN) { /* the row was committed with the effect */
		db_roll_back(db);
		answer->status = 409;
		saga_answer_error(answer, "it was confirmed");
		return true;
	}
	return entry != ENTRY_FAILED && commit(db);
}

void saga_xa_serve(PGconn *db, const struct saga_call *call, saga_handler *handler, void *ctx,
		   struct saga_answer *answer)
{
	char id[ID_MAX];
	bool done = false;

	memset(answer, 0, sizeof(*answer));
	if (PQstatus(db) != CONNECTION_OK)
		PQreset(db);
	id_of(call, id);
	switch (call->op) {
	case SAGA_TRY:
		done = serve_try(db, call, handler, ctx, id, answer);
		break;
	case SAGA_CONFIRM:
		done = serve_confirm(db, call, id, answer);
		break;
	case SAGA_CANCEL:
		done = serve_cancel(db, call, id, answer);
		break;
	case SAGA_CHECK:
		snprintf(answer->log, sizeof(answer->log), "nothing is prepared for a check");
		break;
	}
	if (!done)
		answer_failed(db, answer);
}

/* ---- at the start ------------------------------------------------------------------------ */

bool saga_xa_ready(PGconn *db, struct saga_error *error)
{
	PGresult *r = db_query(db, XA_LIMIT, 0, NULL);
	bool some, barrier;

	if (!r)
		return saga_fail(error, SAGA_E_DATABASE,
		                 "cannot ask for max_prepared_transactions: %s",
		                 PQerrorMessage(db));
	some = atoi(PQgetvalue(r, 0, 0)) > 0;
	barrier = *PQgetvalue(r, 0, 1) == 't';
	PQclear(r);
	if (!some)
		return saga_fail(
			error, SAGA_E_DATABASE,
			"max_prepared_transactions is 0, so that nothing can be prepared:"
			" set it to at least max_connections and restart the server");
	if (!barrier)
		return saga_fail(
			error, SAGA_E_DATABASE,
			"there is no sagad_barrier_step in the search_path: saga_barrier_setup()");
	return true;
}

/* ---- the sweep --------------------------------------------------------------------------- */

enum fate { FATE_ABORT, FATE_COMMIT, FATE_OPEN };

/* What will become of it, if sagad is the one to say. What a person has
 * abandoned a person has to end. */
static enum fate ask_fate(struct saga_client *client, const char *gid)
{
	struct saga_transaction txn = { 0 };
	struct saga_error error = { 0 };
	enum fate fate = FATE_OPEN;

	if (saga_get(client, gid, &txn, &error)) {
		if (txn.ended)
			fate = !strcmp(txn.phase, "confirmed") ? FATE_COMMIT :
			       !strcmp(txn.phase, "cancelled") ? FATE_ABORT : FATE_OPEN;
		saga_transaction_fini(&txn);
	} else if (error.code == SAGA_E_PROBLEM &&
	           !strcmp(error.problem.code, "transaction_unknown")) {
		fate = FATE_ABORT; /* presumed: decided otherwise, it would be confirming */
	}
	return fate;
}

/* "saga:GID:STEP": a step has no colon, a gid may have some. */
static bool call_of(const char *id, enum saga_op op, struct saga_call *out)
{
	const char *gid = id + strlen("saga:"), *colon = strrchr(id, ':');
	size_t n = (size_t)(colon - gid);

	memset(out, 0, sizeof(*out));
	if (colon < gid || n == 0 || n > SAGA_GID_MAX || strlen(colon + 1) == 0 ||
	    strlen(colon + 1) > SAGA_STEP_MAX)
		return false;
	memcpy(out->gid, gid, n);
	strcpy(out->step, colon + 1);
	out->op = op;
	out->epoch = -1;
	out->accepted_ms = out->deadline_ms = SAGA_NO_TIME;
	return true;
}

/* As if sagad had called: the barrier's row says it as well. */
static bool end_it(PGconn *db, const char *id, enum fate fate)
{
	struct saga_call call;
	struct saga_answer answer;
	bool done;

	if (!call_of(id, fate == FATE_COMMIT ? SAGA_CONFIRM : SAGA_CANCEL, &call))
		return false;
	saga_xa_serve(db, &call, NULL, NULL, &answer);
	done = answer.status >= 200 && answer.status < 300;
	saga_answer_fini(&answer);
	return done;
}

static void sweep_one(PGconn *db, struct saga_client *client, const char *id, int64_t age_s,
                      struct saga_xa_swept *out)
{
	struct saga_call call;
	enum fate fate = call_of(id, SAGA_CANCEL, &call) ? ask_fate(client, call.gid) : FATE_OPEN;

	out->seen++;
	if (fate == FATE_OPEN || !end_it(db, id, fate)) {
		out->left++;
		if (age_s > out->oldest_s)
			out->oldest_s = age_s;
	} else if (fate == FATE_COMMIT) {
		out->committed++;
	} else {
		out->rolled_back++;
	}
}

bool saga_xa_sweep(PGconn *db, struct saga_client *client, int older_than_s,
                   struct saga_xa_swept *out, struct saga_error *error)
{
	char age[16];
	const char *params[] = { age };
	PGresult *r;

	memset(out, 0, sizeof(*out));
	snprintf(age, sizeof(age), "%d", older_than_s);
	r = db_query(db, XA_OLD, 1, params);
	if (!r)
		return saga_fail(error, SAGA_E_DATABASE, "cannot list prepared transactions: %s",
		                 PQerrorMessage(db));
	for (int i = 0; i < PQntuples(r); i++)
		sweep_one(db, client, PQgetvalue(r, i, 0), strtoll(PQgetvalue(r, i, 1), NULL, 10),
		          out);
	PQclear(r);
	return true;
}
