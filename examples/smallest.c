/* SPDX-License-Identifier: Apache-2.0
 * smallest.c - a whole service on libsaga: seats that are held, then sold or set free.
 */
#include <saga/mhd.h>

#include <stdio.h>
#include <unistd.h>

/* Each runs in a transaction that libsaga has opened behind the barrier: once,
 * however often it is called. */
static enum saga_result hold(void *ctx, PGconn *db, const struct saga_call *call,
                             struct saga_answer *answer)
{
	const char *who[] = { call->gid, call->step };
	PGresult *r = PQexecParams(db, "UPDATE seat SET holder = $1 || '/' || $2 WHERE number ="
				       " (SELECT number FROM seat WHERE holder IS NULL"
				       " LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING number",
				   2, NULL, who, NULL, NULL, 0);
	enum saga_result result = PQresultStatus(r) != PGRES_TUPLES_OK ? SAGA_FAILED
	                          : PQntuples(r) ? SAGA_DONE : SAGA_REFUSED;

	(void)ctx;
	if (result == SAGA_DONE)
		saga_answer_printf(answer, "{\"seat\": %s}", PQgetvalue(r, 0, 0));
	if (result == SAGA_REFUSED)
		saga_answer_error(answer, "sold out");
	PQclear(r);
	return result;
}

static enum saga_result settle(void *sql, PGconn *db, const struct saga_call *call,
                               struct saga_answer *answer)
{
	const char *who[] = { call->gid, call->step };
	PGresult *r = PQexecParams(db, sql, 2, NULL, who, NULL, NULL, 0);
	enum saga_result result = PQresultStatus(r) == PGRES_COMMAND_OK ? SAGA_DONE : SAGA_FAILED;

	(void)answer;
	PQclear(r);
	return result;
}

static void tell(void *ctx, const struct saga_call *call, const struct saga_answer *answer)
{
	(void)ctx;
	if (answer->log[0])
		fprintf(stderr, "%s: %d %s\n", call ? call->gid : "no call", answer->status,
		        answer->log);
}

int main(int argc, char **argv)
{
	static char sell[] = "UPDATE seat SET sold = true WHERE holder = $1 || '/' || $2";
	static char release[] = "UPDATE seat SET holder = NULL WHERE holder = $1 || '/' || $2";
	static const struct saga_route routes[] = {
		{ .path = "/seats", .op = SAGA_TRY, .handler = hold },
		{ .path = "/seats/confirm", .op = SAGA_CONFIRM, .handler = settle, .ctx = sell },
		{ .path = "/seats/cancel", .op = SAGA_CANCEL, .handler = settle, .ctx = release },
	};
	struct saga_service service = { .routes = routes, .route_count = 3, .after = tell };
	struct saga_mhd_options options = { .listen = argc == 3 ? argv[1] : NULL };
	struct saga_error error = { .text = "usage: smallest ADDRESS:PORT DSN" };
	struct saga_mhd *mhd = NULL;
	PGconn *db;

	if (argc == 3)
		service.pool = saga_pool_open(argv[2], NULL, 8, &error);
	if (service.pool) {
		db = saga_pool_take(service.pool);
		if (saga_barrier_setup(db, &error))
			mhd = saga_mhd_open(&service, &options, &error);
		saga_pool_give(service.pool, db);
	}
	if (!mhd) {
		fprintf(stderr, "%s\n", error.text);
		return 2;
	}
	pause(); /* until a signal ends it: whoever was not answered will be called again */
	return 0;
}
