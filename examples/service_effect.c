/* SPDX-License-Identifier: Apache-2.0
 * service_effect.c - the barrier, the items and the ledger of an example service.
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
	" quantity bigint NOT NULL, held bigint NOT NULL, UNIQUE (gid, step, op));"                \
	"CREATE TABLE IF NOT EXISTS \"%1$s\".barrier ("                                            \
	" gid text, step text, op text, made_by text NOT NULL,"                                    \
	" status int, reply text, PRIMARY KEY (gid, step, op));"                                   \
	"SET search_path = \"%1$s\""

/* ---- the least of libpq --------------------------------------------------------- */

/* NULL unless the statement succeeded. All parameters are text. */
static PGresult *run_sql(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	fprintf(stderr, "database: %s", PQresultErrorMessage(r));
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
	r = PQexec(db, "COMMIT");
	ok = !strcmp(PQcmdStatus(r), "COMMIT"); /* a failed one says ROLLBACK */
	if (!ok)
		fprintf(stderr, "%s: cannot set up the tables: %s", s->name, PQerrorMessage(db));
	PQclear(r);
	return ok;
}

/* ---- the barrier ------------------------------------------------------------------ */

static const char *effect_op(enum effect e)
{
	switch (e) {
	case EFFECT_TAKE:
	case EFFECT_HOLD: return "try";
	case EFFECT_CONFIRM: return "confirm";
	case EFFECT_GIVE_BACK:
	case EFFECT_RELEASE: return "cancel";
	}
	return "";
}

/* 1: the line is ours, 0: it was there (also when its maker committed while we
 * waited for him), -1: the database failed. */
static int barrier_enter(PGconn *db, const struct service_call *c, const char *op,
			 const char *made_by)
{
	const char *params[] = { c->gid, c->step, op, made_by };

	return run_change(db,
			  "INSERT INTO barrier (gid, step, op, made_by) VALUES ($1, $2, $3, $4)"
			  " ON CONFLICT DO NOTHING",
			  4, params);
}

static bool barrier_keep(PGconn *db, const struct service_call *c, const char *op,
			 const struct service_reply *reply)
{
	char status[16];
	const char *params[] = { c->gid, c->step, op, status, reply->body };

	snprintf(status, sizeof(status), "%d", reply->status);
	return run_change(db,
			  "UPDATE barrier SET status = $4::int, reply = $5"
			  " WHERE gid = $1 AND step = $2 AND op = $3",
			  5, params) == 1;
}

/* The answer given the first time; a try that its own cancel forbade is refused. */
static bool barrier_recall(PGconn *db, const struct service_call *c, const char *op,
			   struct service_reply *reply)
{
	const char *params[] = { c->gid, c->step, op };
	PGresult *r = run_sql(db,
			      "SELECT made_by, status, reply FROM barrier"
			      " WHERE gid = $1 AND step = $2 AND op = $3",
			      3, params);

	if (!r || PQntuples(r) != 1) {
		PQclear(r);
		return false;
	}
	if (strcmp(PQgetvalue(r, 0, 0), op)) {
		reply->status = 409;
		reply->refused = true;
		snprintf(reply->body, sizeof(reply->body),
			 "{\"refused\": \"its cancel came first\"}");
	} else {
		reply->status = atoi(PQgetvalue(r, 0, 1));
		reply->refused = reply->status == 422;
		snprintf(reply->body, sizeof(reply->body), "%s", PQgetvalue(r, 0, 2));
	}
	PQclear(r);
	return true;
}

/* ---- effects ------------------------------------------------------------------------ */

static bool ledger_write(PGconn *db, const struct service_call *c, const char *item,
			 long long quantity, long long held)
{
	char q[32], h[32];
	const char *params[] = { c->gid, c->step, effect_op(c->effect), item, q, h };

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

static bool apply_try(PGconn *db, const struct service *s, const struct service_call *c,
		      struct service_reply *reply)
{
	char amount[32];
	const char *params[] = { c->item, amount };
	int first = barrier_enter(db, c, "try", "try");
	PGresult *r;
	bool enough, ok = true;

	if (first <= 0)
		return first == 0 && barrier_recall(db, c, "try", reply);
	snprintf(amount, sizeof(amount), "%lld", c->amount);
	r = run_sql(db, "SELECT quantity - held >= $2::bigint FROM item WHERE name = $1 FOR UPDATE",
		    2, params);
	if (!r)
		return false;
	enough = PQntuples(r) == 1 && !strcmp(PQgetvalue(r, 0, 0), "t");
	PQclear(r);
	if (enough) {
		reply->status = 201;
		snprintf(reply->body, sizeof(reply->body), "{\"id\": \"%s-%s-%s\", \"%s\": %lld}",
			 s->name, c->gid, c->step, s->amount_field, c->amount);
		ok = c->effect == EFFECT_TAKE ? ledger_write(db, c, c->item, -c->amount, 0)
					      : ledger_write(db, c, c->item, 0, c->amount);
	} else {
		reply->status = 422;
		reply->refused = true;
		snprintf(reply->body, sizeof(reply->body), "{\"refused\": \"%s has no %lld %s\"}",
			 c->item, c->amount, s->amount_field);
	}
	return ok && barrier_keep(db, c, "try", reply);
}

/* What the try of this step did: 1 found, 0 nothing, -1 the database failed. */
static int find_try(PGconn *db, const struct service_call *c, char *item, size_t size,
		    long long *quantity, long long *held)
{
	const char *params[] = { c->gid, c->step };
	PGresult *r = run_sql(db,
			      "SELECT item, quantity, held FROM ledger"
			      " WHERE gid = $1 AND step = $2 AND op = 'try'",
			      2, params);
	int n = r ? PQntuples(r) : -1;

	if (n == 1) {
		snprintf(item, size, "%s", PQgetvalue(r, 0, 0));
		*quantity = atoll(PQgetvalue(r, 0, 1));
		*held = atoll(PQgetvalue(r, 0, 2));
	}
	PQclear(r);
	return n;
}

/* Confirm and cancel: undo or complete what the try did, whatever the body says. */
static bool apply_second(PGconn *db, const struct service_call *c, struct service_reply *reply)
{
	const char *op = effect_op(c->effect);
	const char *other = c->effect == EFFECT_CONFIRM ? "cancel" : "confirm";
	char item[SERVICE_WORD_MAX];
	long long quantity = 0, held = 0;
	int first, found;

	/* A cancel makes the try's line too, so that a try that comes later finds it. */
	if (c->effect != EFFECT_CONFIRM && barrier_enter(db, c, "try", "cancel") < 0)
		return false;
	first = barrier_enter(db, c, op, op);
	if (first <= 0)
		return first == 0 && barrier_recall(db, c, op, reply);
	found = find_try(db, c, item, sizeof(item), &quantity, &held);
	if (found < 0)
		return false;
	if (run_change(db, "SELECT 1 FROM barrier WHERE gid = $1 AND step = $2 AND op = $3", 3,
		       (const char *[]){ c->gid, c->step, other }) != 0 ||
	    (c->effect == EFFECT_CONFIRM && !found)) {
		reply->status =
		    410; /* remembered as the answer, so that nobody gets another one later */
		snprintf(reply->body, sizeof(reply->body),
			 "{\"error\": \"nothing is held for this step\"}");
	} else {
		reply->status = 200;
		snprintf(reply->body, sizeof(reply->body), "{\"done\": %s}",
			 found ? "true" : "false");
		if (found && !ledger_write(db, c, item,
					   c->effect == EFFECT_CONFIRM ? -held : -quantity, -held))
			return false;
	}
	return barrier_keep(db, c, op, reply);
}

bool effect_apply(PGconn *db, const struct service *s, const struct service_call *call,
		  struct service_reply *reply)
{
	bool is_try = call->effect == EFFECT_TAKE || call->effect == EFFECT_HOLD;
	PGresult *r;
	bool ok;

	PQclear(PQexec(db, "BEGIN"));
	ok = is_try ? apply_try(db, s, call, reply) : apply_second(db, call, reply);
	r = PQexec(db, ok ? "COMMIT" : "ROLLBACK");
	/* COMMIT of a failed transaction answers ROLLBACK. */
	ok = ok && !strcmp(PQcmdStatus(r), "COMMIT");
	PQclear(r);
	if (!ok) {
		reply->status = 503;
		reply->refused = false;
		snprintf(reply->body, sizeof(reply->body), "{\"error\": \"the database is away\"}");
	}
	return ok;
}

char *effect_show(PGconn *db, const struct service *s)
{
	static const char sql[] =
	    "SELECT json_build_object("
	    "'items', (SELECT coalesce(json_agg(i ORDER BY i.name), '[]') FROM item i),"
	    "'ledger', (SELECT coalesce(json_agg(l ORDER BY l.line), '[]') FROM"
	    " (SELECT * FROM ledger ORDER BY line DESC LIMIT 1000) l))";
	PGresult *r = run_sql(db, sql, 0, NULL);
	char *text = r && PQntuples(r) == 1 ? strdup(PQgetvalue(r, 0, 0)) : NULL;

	(void)s;
	PQclear(r);
	return text;
}
