/* SPDX-License-Identifier: Apache-2.0
 * holds.c - a service that sets things aside: pieces in a warehouse, or money in wallets. A TCC
 * participant on libsaga.
 *
 *   holds ADDRESS:PORT DSN SCHEMA    try, confirm and cancel at /holds, …/confirm, …/cancel
 */
#include <saga/mhd.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 100, SESSIONS = 8 };

/* What is there and how much of it is set aside; and who has set what aside, once for each step. */
static const char setup_sql[] =
	"CREATE TABLE IF NOT EXISTS stock (name text PRIMARY KEY, amount bigint NOT NULL,"
	" held bigint NOT NULL DEFAULT 0,"
	" CHECK (held >= 0 AND amount >= held));"
	"CREATE TABLE IF NOT EXISTS hold (gid text, step text, name text NOT NULL,"
	" amount bigint NOT NULL,"
	" state text NOT NULL DEFAULT 'held', PRIMARY KEY (gid, step))";

static const char take_sql[] =
	"WITH taken AS (UPDATE stock SET held = held + $4::bigint"
	" WHERE name = $3 AND amount - held >= $4::bigint"
	" RETURNING name)"
	" INSERT INTO hold (gid, step, name, amount) SELECT $1, $2, name, $4::bigint FROM taken";
static const char left_sql[] = "SELECT held FROM stock WHERE name = $1";
static const char confirm_sql[] =
	"WITH h AS (UPDATE hold SET state = 'gone' WHERE gid = $1 AND step = $2 AND state = 'held'"
	" RETURNING name, amount)"
	" UPDATE stock s SET amount = s.amount - h.amount, held = held - h.amount"
	" FROM h WHERE s.name = h.name";
static const char cancel_sql[] =
	"WITH h AS (UPDATE hold SET state = 'back' WHERE gid = $1 AND step = $2 AND state = 'held'"
	" RETURNING name, amount)"
	" UPDATE stock s SET held = held - h.amount FROM h WHERE s.name = h.name";

struct order {
	char name[NAME_MAX_BYTES];
	int64_t amount;
};

static bool read_order(const struct saga_call *call, struct order *out)
{
	struct saga_slice body = { call->body, call->body_size }, value;

	return saga_json_find(body, "name", &value) &&
	       saga_json_text(value, out->name, sizeof(out->name)) &&
	       saga_json_find(body, "amount", &value) && saga_json_integer(value, &out->amount) &&
	       out->amount > 0;
}

/* What needs no database is looked at before there is a session. */
static bool check_order(void *ctx, const struct saga_call *call, struct saga_answer *answer)
{
	struct order order;

	(void)ctx;
	if (read_order(call, &order))
		return true;
	answer->status = 400;
	saga_answer_error(answer, "the body is {\"name\": …, \"amount\": a whole number above 0}");
	return false;
}

/* How many rows it changed; -1: the database failed. */
static int change(PGconn *db, const char *sql, int n, const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	int rows = -1;

	if (PQresultStatus(r) == PGRES_COMMAND_OK)
		sscanf(PQcmdTuples(r), "%d", &rows);
	PQclear(r);
	return rows;
}

/* A refusal says how much is set aside: as long as that is not nothing, some of
 * it may come back. */
static enum saga_result refuse(PGconn *db, const char *name, struct saga_answer *answer)
{
	const char *params[] = { name };
	PGresult *r = PQexecParams(db, left_sql, 1, NULL, params, NULL, NULL, 0);
	bool good = PQresultStatus(r) == PGRES_TUPLES_OK;

	if (good)
		saga_answer_printf(answer, "{\"error\": \"not enough\", \"held\": %s}",
				   PQntuples(r) ? PQgetvalue(r, 0, 0) : "0");
	PQclear(r);
	return good ? SAGA_REFUSED : SAGA_FAILED;
}

static enum saga_result take(void *ctx, PGconn *db, const struct saga_call *call,
                             struct saga_answer *answer)
{
	struct order order;
	char amount[24];
	const char *params[] = { call->gid, call->step, order.name, amount };
	int rows;

	(void)ctx;
	if (!read_order(call, &order))
		return SAGA_FAILED;
	snprintf(amount, sizeof(amount), "%lld", (long long)order.amount);
	rows = change(db, take_sql, 4, params);
	if (rows < 0)
		return SAGA_FAILED;
	return rows ? SAGA_DONE : refuse(db, order.name, answer);
}

/* Confirm and cancel: what was set aside is found by its step. The barrier lets
 * in one of the two, once. */
static enum saga_result settle(void *sql, PGconn *db, const struct saga_call *call,
                               struct saga_answer *answer)
{
	const char *params[] = { call->gid, call->step };

	(void)answer;
	return change(db, sql, 2, params) == 1 ? SAGA_DONE : SAGA_FAILED;
}

static void tell(void *ctx, const struct saga_call *call, const struct saga_answer *answer)
{
	(void)ctx;
	if (answer->log[0])
		fprintf(stderr, "%s: %d %s\n", call ? call->gid : "no call", answer->status,
		        answer->log);
}

static bool live(void *ctx, const struct saga_request *request, struct saga_answer *answer)
{
	(void)ctx;
	answer->status = 200;
	return !strcmp(request->path, "/livez") && saga_answer_printf(answer, "{\"live\": true}");
}

static bool set_up(struct saga_pool *pool, const char *schema, struct saga_error *error)
{
	PGconn *db = saga_pool_take(pool);
	char sql[2000];
	PGresult *r;
	bool ok;

	snprintf(sql, sizeof(sql), "CREATE SCHEMA IF NOT EXISTS %s; %s", schema, setup_sql);
	r = PQexec(db, sql);
	ok = PQresultStatus(r) == PGRES_COMMAND_OK;
	if (!ok)
		snprintf(error->text, sizeof(error->text), "%.300s", PQerrorMessage(db));
	PQclear(r);
	ok = ok && saga_barrier_setup(db, error);
	saga_pool_give(pool, db);
	return ok;
}

int main(int argc, char **argv)
{
	static const struct saga_route routes[] = {
		{ .path = "/holds", .op = SAGA_TRY, .handler = take, .before = check_order },
		{ .path = "/holds/confirm", .op = SAGA_CONFIRM, .handler = settle,
		  .ctx = (void *)(uintptr_t)confirm_sql },
		{ .path = "/holds/cancel", .op = SAGA_CANCEL, .handler = settle,
		  .ctx = (void *)(uintptr_t)cancel_sql },
	};
	struct saga_service service = {
		.routes = routes, .route_count = 3, .after = tell, .other = live
	};
	struct saga_mhd_options options = { .listen = argc == 4 ? argv[1] : NULL };
	struct saga_error error = { .text = "usage: holds ADDRESS:PORT DSN SCHEMA" };
	struct saga_mhd *mhd = NULL;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4)
		service.pool = saga_pool_open(argv[2], argv[3], SESSIONS, &error);
	if (service.pool && set_up(service.pool, argv[3], &error))
		mhd = saga_mhd_open(&service, &options, &error);
	if (!mhd) {
		fprintf(stderr, "%s\n", error.text);
		return 2;
	}
	pause(); /* until a signal ends it: whoever was not answered calls again */
	return 0;
}
