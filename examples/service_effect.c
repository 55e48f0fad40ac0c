/* SPDX-License-Identifier: Apache-2.0
 * service_effect.c - the items and the ledger of an example service.
 */
#include "examples/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ledger is append-only: `quantity` is what an item gained, `held` what was
 * set aside of it. Both columns of item are the sums of it, plus the beginning. */
#define SETUP_SQL                                                                                  \
	"BEGIN; SELECT pg_advisory_xact_lock(hashtext('%1$s'));"                                   \
	"CREATE SCHEMA IF NOT EXISTS \"%1$s\";"                                                    \
	"CREATE TABLE IF NOT EXISTS \"%1$s\".item ("                                               \
	" name text PRIMARY KEY, opening bigint NOT NULL,"                                         \
	" quantity bigint NOT NULL, held bigint NOT NULL DEFAULT 0,"                               \
	" CHECK (held >= 0 AND quantity >= held));"                                                \
	"CREATE TABLE IF NOT EXISTS \"%1$s\".ledger ("                                             \
	" line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"                                   \
	" at timestamptz NOT NULL DEFAULT clock_timestamp(),"                                      \
	" gid text NOT NULL, step text NOT NULL, op text NOT NULL, item text NOT NULL,"            \
	" quantity bigint NOT NULL, held bigint NOT NULL, UNIQUE (gid, step, op))"

/* ---- the least of libpq --------------------------------------------------------- */

/* NULL unless the statement succeeded. All parameters are text. */
static PGresult *run_sql(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	PQclear(r);
	return NULL;
}

/* Rows changed, or -1. */
static int run_change(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = run_sql(db, sql, n, params);
	int rows = r ? atoi(PQcmdTuples(r)) : -1;

	PQclear(r);
	return rows;
}

bool effect_setup(PGconn *db, const struct service *s)
{
	struct saga_error error = { 0 };
	char sql[2000];
	PGresult *r;
	bool ok;

	/* Two processes may start at once: CREATE … IF NOT EXISTS collides without the lock. */
	snprintf(sql, sizeof(sql), SETUP_SQL, s->name);
	PQclear(PQexec(db, sql));
	for (const struct service_item *i = s->items; i->name; i++) {
		char quantity[32];
		const char *params[] = { i->name, quantity };

		snprintf(quantity, sizeof(quantity), "%lld", i->quantity);
		run_change(
		    db,
		    "INSERT INTO item (name, opening, quantity) VALUES ($1, $2::bigint, $2::bigint)"
		    " ON CONFLICT DO NOTHING",
		    2, params);
	}
	ok = saga_barrier_setup(db, &error);
	r = PQexec(db, "COMMIT");
	ok &= !strcmp(PQcmdStatus(r), "COMMIT"); /* a failed one says ROLLBACK */
	if (!ok)
		fprintf(stderr, "%s: cannot set up the tables: %s%s", s->name, error.text,
		        PQerrorMessage(db));
	PQclear(r);
	return ok;
}

/* ---- effects ------------------------------------------------------------------------ */

static bool ledger_write(PGconn *db, const struct saga_call *c, const char *item,
                         long long quantity, long long held)
{
	char q[32], h[32];
	const char *params[] = { c->gid, c->step, saga_op_name(c->op), item, q, h };

	snprintf(q, sizeof(q), "%lld", quantity);
	snprintf(h, sizeof(h), "%lld", held);
	if (run_change(db,
		       "INSERT INTO ledger (gid, step, op, item, quantity, held)"
		       " VALUES ($1, $2, $3, $4, $5::bigint, $6::bigint)",
		       6, params) != 1)
		return false;
	return run_change(
		   db,
		   "UPDATE item SET quantity = quantity + $2::bigint, held = held + $3::bigint"
		   " WHERE name = $1",
		   3, (const char *[]){ item, q, h }) == 1;
}

enum saga_result effect_try(PGconn *db, const struct service *s, const struct saga_call *c,
                            const char *item, long long amount, bool hold,
                            struct saga_answer *answer)
{
	char text[32];
	const char *params[] = { item, text };
	PGresult *r;
	bool enough;

	snprintf(text, sizeof(text), "%lld", amount);
	r = run_sql(db, "SELECT quantity - held >= $2::bigint FROM item WHERE name = $1 FOR UPDATE",
	            2, params);
	if (!r)
		return SAGA_FAILED;
	enough = PQntuples(r) == 1 && !strcmp(PQgetvalue(r, 0, 0), "t");
	PQclear(r);
	if (!enough) {
		saga_answer_printf(answer, "{\"refused\": \"%s has no %lld %s\"}", item, amount,
		                   s->amount_field);
		return SAGA_REFUSED;
	}
	if (!ledger_write(db, c, item, hold ? 0 : -amount, hold ? amount : 0))
		return SAGA_FAILED;
	answer->status = 201;
	saga_answer_printf(answer, "{\"id\": \"%s-%s-%s\", \"%s\": %lld}", s->name, c->gid, c->step,
			   s->amount_field, amount);
	return SAGA_DONE;
}

/* The barrier lets it in only after a try that did something, and only once. */
enum saga_result effect_second(PGconn *db, const struct saga_call *c, struct saga_answer *answer)
{
	const char *params[] = { c->gid, c->step };
	long long quantity, held;
	bool done;
	PGresult *r = run_sql(db,
			      "SELECT item, quantity, held FROM ledger"
			      " WHERE gid = $1 AND step = $2 AND op = 'try'",
			      2, params);

	if (!r || PQntuples(r) != 1) {
		PQclear(r);
		return SAGA_FAILED;
	}
	quantity = atoll(PQgetvalue(r, 0, 1));
	held = atoll(PQgetvalue(r, 0, 2));
	done = ledger_write(db, c, PQgetvalue(r, 0, 0), c->op == SAGA_CONFIRM ? -held : -quantity,
	                    -held);
	PQclear(r);
	saga_answer_printf(answer, "{\"done\": true}");
	return done ? SAGA_DONE : SAGA_FAILED;
}

bool effect_show(PGconn *db, struct saga_answer *answer)
{
	static const char sql[] =
	    "SELECT json_build_object("
	    "'items', (SELECT coalesce(json_agg(i ORDER BY i.name), '[]') FROM item i),"
	    "'ledger', (SELECT coalesce(json_agg(l ORDER BY l.line), '[]') FROM"
	    " (SELECT * FROM ledger ORDER BY line DESC LIMIT 1000) l))";
	PGresult *r = run_sql(db, sql, 0, NULL);
	bool ok = r && PQntuples(r) == 1 &&
		  saga_answer_body(answer, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0));

	PQclear(r);
	return ok;
}
