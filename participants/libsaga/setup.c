/* SPDX-License-Identifier: Apache-2.0
 * setup.c - the barrier is made where it is missing, and cleaned up now and then.
 */
#include "participants/libsaga/barrier.h"
#include "participants/libsaga/database.h"
#include "participants/libsaga/internal.h"
#include "sql/barrier/calls.h"

#include <stdio.h>
#include <stdlib.h>

/* Who may use the barrier need not be allowed to make it, so this looks before anything is made. */
static bool is_there(PGconn *db, bool *there)
{
	PGresult *r = db_query(db, BARRIER_HAS_VERSION, 0, NULL);
	bool known = r && PQntuples(r) == 1;
	bool has = known && !PQgetisnull(r, 0, 0);

	*there = false;
	PQclear(r);
	if (!has)
		return known;
	r = db_query(db, BARRIER_VERSION, 0, NULL);
	known = r && PQntuples(r) == 1;
	*there = known && !strcmp(PQgetvalue(r, 0, 0), barrier_version);
	PQclear(r);
	return known;
}

static bool cannot(PGconn *db, const PGresult *r, struct saga_error *error)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *why = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	/* insufficient_privilege; no schema of the search_path may be used */
	bool forbidden = state && (!strcmp(state, "42501") || !strcmp(state, "3F000"));

	return saga_fail(error, SAGA_E_DATABASE, "cannot set up the barrier: %s%s",
	                 why ? why : PQerrorMessage(db),
	                 forbidden ? "; it is missing here, or another version of it is there: run"
	                             " sql/barrier/postgresql.sql as a role that may make it, and "
	                             "give this one the rights that docs/barrier.md lists"
	                           : "");
}

static bool run_script(PGconn *db, struct saga_error *error)
{
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
	r = PQexec(db, script.p);
	text_free(&script);
	ok = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;
	if (!ok)
		cannot(db, r, error);
	PQclear(r);
	return ok;
}

bool saga_barrier_setup(PGconn *db, struct saga_error *error)
{
	bool alone = PQtransactionStatus(db) == PQTRANS_IDLE, there;

	if (!is_there(db, &there))
		return cannot(db, NULL, error);
	if (there)
		return true;
	if (alone && !db_command(db, "BEGIN", "BEGIN", NULL))
		return cannot(db, NULL, error);
	if (!run_script(db, error)) {
		if (alone)
			db_roll_back(db);
		return false;
	}
	return !alone || db_command(db, "COMMIT", "COMMIT", NULL) || cannot(db, NULL, error);
}

bool saga_barrier_sweep(PGconn *db, int64_t retention_s, int64_t *deleted, struct saga_error *error)
{
	char seconds[24];
	const char *params[] = { seconds };
	PGresult *r;
	bool ok;

	snprintf(seconds, sizeof(seconds), "%lld", (long long)retention_s);
	r = db_query(db, BARRIER_SWEEP, 1, params);
	ok = r && PQntuples(r) == 1;
	if (!ok)
		saga_fail(error, SAGA_E_DATABASE, "cannot sweep the barrier: %s",
		          PQerrorMessage(db));
	else if (deleted)
		*deleted = atoll(PQgetvalue(r, 0, 0));
	PQclear(r);
	return ok;
}
