/* SPDX-License-Identifier: Apache-2.0
 * message.c - prepare, commit, confirm; and what is known when one of them goes wrong.
 */
#include "participants/libsaga/saga/message.h"
#include "participants/libsaga/database.h"
#include "participants/libsaga/internal.h"
#include "sql/barrier/calls.h"

#include <stdlib.h>

enum { ATTEMPTS = 5 };

enum saga_messaged saga_message(PGconn *db, const char *gid, const char *deadline,
				struct saga_error *error)
{
	const char *params[] = { gid, deadline };
	enum saga_messaged is = SAGA_MESSAGE_ERROR;
	const char *state;
	PGresult *r;

	/* What is remembered would be committed at once, whatever becomes of the work. */
	if (PQtransactionStatus(db) == PQTRANS_IDLE) {
		saga_fail(error, SAGA_E_ARGUMENT, "begin a transaction before saga_message()");
		return SAGA_MESSAGE_ERROR;
	}
	r = PQexecParams(db, BARRIER_MESSAGE, 2, NULL, params, NULL, NULL, 0);
	state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
		is = *PQgetvalue(r, 0, 0) == 't' ? SAGA_MESSAGE_RUN : SAGA_MESSAGE_DUPLICATE;
	else if (state && !strcmp(state, "SG410"))
		is = SAGA_MESSAGE_LATE;
	if (is == SAGA_MESSAGE_LATE || is == SAGA_MESSAGE_ERROR)
		saga_fail(error, SAGA_E_DATABASE, "%s", PQerrorMessage(db));
	if (is == SAGA_MESSAGE_LATE && error)
		error->retryable = false;
	PQclear(r);
	return is;
}

const char *saga_sent_meaning(enum saga_sent sent)
{
	switch (sent) {
#define X(name, text) \
	case SAGA_SENT_##name: return text;
		SAGA_SENDS(X)
#undef X
	}
	return "";
}

/* ---- the sender's own transaction -------------------------------------------------------- */

struct sending {
	PGconn *db;
	saga_work *work;
	void *ctx;
	const struct saga_transaction *prepared;
	struct saga_error *error;
	struct watch watch;
	bool began;
};

static enum saga_sent failed(struct sending *s, enum saga_sent as)
{
	saga_fail(s->error, SAGA_E_DATABASE, "%s", PQerrorMessage(s->db));
	db_roll_back(s->db);
	return as;
}

/* An answer other than COMMIT is a "no"; none at all is not: the session was lost in between. */
static enum saga_sent commit(struct sending *s)
{
	if (s->watch.committed || PQtransactionStatus(s->db) != PQTRANS_INTRANS) {
		saga_fail(s->error, SAGA_E_DATABASE, "the transaction had failed, or was ended by "
						     "the work itself");
		db_roll_back(s->db);
		return SAGA_SENT_FAILED;
	}
	if (db_command(s->db, "COMMIT", "COMMIT", NULL))
		return SAGA_SENT_DONE;
	return failed(s, PQstatus(s->db) == CONNECTION_OK ? SAGA_SENT_FAILED : SAGA_SENT_UNKNOWN);
}

static enum saga_sent once(struct sending *s)
{
	enum saga_result result;

	s->began = db_command(s->db, "BEGIN", "BEGIN", NULL);
	if (!s->began)
		return failed(s, SAGA_SENT_FAILED);
	switch (saga_message(s->db, s->prepared->gid, s->prepared->deadline, s->error)) {
	case SAGA_MESSAGE_RUN: break;
	case SAGA_MESSAGE_DUPLICATE: db_roll_back(s->db); return SAGA_SENT_DONE;
	case SAGA_MESSAGE_LATE: db_roll_back(s->db); return SAGA_SENT_LATE;
	case SAGA_MESSAGE_ERROR: return failed(s, SAGA_SENT_FAILED);
	}
	result = s->work(s->ctx, s->db, s->prepared);
	if (result == SAGA_DONE)
		return commit(s);
	if (watch_is_down(&s->watch, s->db))
		return failed(s, SAGA_SENT_FAILED);
	db_roll_back(s->db);
	saga_fail(s->error, SAGA_E_REFUSED, "the work did not say that it is done");
	return result == SAGA_FAILED ? SAGA_SENT_FAILED : SAGA_SENT_REFUSED;
}

/* Again after a deadlock, after a session that had died before, and after a COMMIT that was not
 * answered: whether it was done the barrier tells, once it has ended. */
static enum saga_sent run(struct sending *s)
{
	enum saga_sent sent = SAGA_SENT_FAILED;
	bool unknown = false, was_away = false;

	for (int i = 0; i < ATTEMPTS; i++) {
		if (PQstatus(s->db) != CONNECTION_OK)
			PQreset(s->db);
		watch_begin(&s->watch, s->db);
		sent = once(s);
		unknown |= sent == SAGA_SENT_UNKNOWN;
		if (sent != SAGA_SENT_UNKNOWN &&
		    (sent != SAGA_SENT_FAILED || (s->began && !watch_is_retry(&s->watch)) ||
		     (!s->began && was_away)))
			break;
		was_away |= !s->began;
	}
	watch_end(s->db);
	return unknown && sent == SAGA_SENT_FAILED ? SAGA_SENT_UNKNOWN : sent;
}

/* After this nobody can commit it any more, not even another who sends the same at this moment.
 * Status 200: somebody has. */
static bool forbid(PGconn *db, const struct saga_transaction *message, int *status)
{
	char ms[24];
	int64_t deadline_ms;
	const char *params[] = { message->gid, NULL };
	PGresult *r = NULL;
	bool known;

	if (slice_time(slice(message->deadline), &deadline_ms))
		params[1] = db_ms(deadline_ms, ms);
	if (db_command(db, "BEGIN", "BEGIN", NULL))
		r = db_query(db, BARRIER_CHECK, 2, params);
	known = r && PQntuples(r) == 1;
	*status = known ? atoi(PQgetvalue(r, 0, 0)) : 0;
	PQclear(r);
	known = known && db_command(db, "COMMIT", "COMMIT", NULL);
	db_roll_back(db);
	return known;
}

/* ---- all of it --------------------------------------------------------------------------- */

/* What sagad says takes the place of what it said before. */
static void replace(struct saga_transaction *out, struct saga_transaction *later)
{
	later->replayed = out->replayed;
	saga_transaction_fini(out);
	*out = *later;
}

static enum saga_sent confirm(struct saga_client *client, int wait_ms,
			      struct saga_transaction *out, struct saga_error *error)
{
	struct saga_transaction later;

	if (!saga_confirm(client, out->gid, wait_ms, &later, error))
		return SAGA_SENT_ASKED;
	replace(out, &later);
	return SAGA_SENT_DONE;
}

/* The work has said no. Where that does not arrive the check, at the deadline, says the same. */
static enum saga_sent take_back(struct saga_client *client, PGconn *db,
				struct saga_transaction *out)
{
	struct saga_transaction later;
	int status;

	if (!forbid(db, out, &status))
		return SAGA_SENT_REFUSED;
	if (status == 200)
		return SAGA_SENT_DONE;
	if (saga_cancel(client, out->gid, "its sender did not commit", 0, &later, NULL))
		replace(out, &later);
	return SAGA_SENT_REFUSED;
}

static bool is_message(const struct saga_transaction *txn)
{
	struct saga_slice json = { txn->json, txn->json_size }, mode;
	char word[16];

	return saga_json_find(json, "mode", &mode) && saga_json_text(mode, word, sizeof(word)) &&
	       !strcmp(word, "message") && txn->deadline[0];
}

enum saga_sent saga_send(struct saga_client *client, PGconn *db, const struct saga_start *message,
			 saga_work *work, void *ctx, struct saga_transaction *out,
			 struct saga_error *error)
{
	struct sending s = { .db = db, .work = work, .ctx = ctx, .prepared = out, .error = error };
	struct saga_start prepare = *message;
	enum saga_sent sent;

	prepare.wait_ms = 0;
	if (!saga_start(client, &prepare, out, error))
		return SAGA_SENT_FAILED;
	if (!is_message(out)) {
		saga_fail(error, SAGA_E_ARGUMENT, "%s is no message with a deadline", out->gid);
		return SAGA_SENT_FAILED;
	}
	sent = run(&s);
	if (sent == SAGA_SENT_REFUSED)
		sent = take_back(client, db, out);
	return sent == SAGA_SENT_DONE ? confirm(client, message->wait_ms, out, error) : sent;
}
