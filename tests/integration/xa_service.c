/* SPDX-License-Identifier: Apache-2.0
 * xa_service.c - a bank of one table on libsaga's XA adapter, for tests.
 *
 *	xa_service DSN HOST:PORT        serve POST /hold, /confirm, /cancel until killed
 *	xa_service DSN sweep URL AGE_S  one sweep: prints what it did
 */
#include "participants/libsaga/saga/mhd.h"
#include "participants/libsaga/saga/saga.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool says(const struct saga_call *call, const char *word)
{
	return call->body_size && memmem(call->body, call->body_size, word, strlen(word)) != NULL;
}

/* Written before the work's fate is known, so that a roll-back has something to undo. */
static bool book(PGconn *db, const char *gid)
{
	PGresult *r = PQexecParams(db, "INSERT INTO booked (gid) VALUES ($1)", 1, NULL, &gid, NULL,
	                           NULL, 0);
	bool done = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return done;
}

static enum saga_result hold(void *ctx, PGconn *db, const struct saga_call *call,
                             struct saga_answer *answer)
{
	(void)ctx;
	if (!book(db, call->gid))
		return SAGA_FAILED;
	if (says(call, "sleep"))
		sleep(30); /* killed meanwhile */
	if (says(call, "break")) /* an error that the handler does not look at */
		PQclear(PQexec(db, "SELECT 1 / 0"));
	if (says(call, "commit"))
		PQclear(PQexec(db, "COMMIT"));
	if (says(call, "begin"))
		PQclear(PQexec(db, "BEGIN"));
	if (says(call, "refuse")) {
		saga_answer_error(answer, "sold out");
		return SAGA_REFUSED;
	}
	return says(call, "fail") ? SAGA_FAILED : SAGA_DONE;
}

static int fail(const struct saga_error *error)
{
	fprintf(stderr, "xa_service: %s\n", error->text);
	return 1;
}

static void tell(void *ctx, const struct saga_call *call, const struct saga_answer *answer)
{
	(void)ctx;
	if (answer->log[0])
		fprintf(stderr, "%s: HTTP %d: %s\n", call ? call->gid : "no call", answer->status,
		        answer->log);
}

static int serve(const char *dsn, const char *listen)
{
	static const struct saga_route routes[] = {
		{ .path = "/hold", .op = SAGA_TRY, .handler = hold, .prepared = true },
		{ .path = "/confirm", .op = SAGA_CONFIRM, .prepared = true },
		{ .path = "/cancel", .op = SAGA_CANCEL, .prepared = true },
	};
	struct saga_error error = { 0 };
	struct saga_service service = { .routes = routes, .route_count = 3, .after = tell };
	struct saga_mhd *mhd;
	sigset_t set;
	int got;

	service.pool = saga_pool_open(dsn, NULL, 4, &error);
	if (!service.pool)
		return fail(&error);
	PGconn *db = saga_pool_take(service.pool);
	bool ready = saga_barrier_setup(db, &error) && saga_xa_ready(db, &error);
	saga_pool_give(service.pool, db);
	if (!ready)
		return fail(&error);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	mhd = saga_mhd_open(&service, &(struct saga_mhd_options){ .listen = listen }, &error);
	if (!mhd)
		return fail(&error);
	puts("ready");
	fflush(stdout);
	sigwait(&set, &got);
	saga_mhd_close(mhd);
	saga_pool_close(service.pool);
	return 0;
}

static int sweep(const char *dsn, const char *url, int older_than_s)
{
	struct saga_error error = { 0 };
	struct saga_xa_swept swept;
	struct saga_client_options options = { .urls = url, .patience_ms = 500 };
	struct saga_client *client = saga_client_open(&options, &error);
	PGconn *db = PQconnectdb(dsn);
	bool done = client && saga_xa_sweep(db, client, older_than_s, &swept, &error);

	if (done)
		printf("{\"seen\": %u, \"rolled_back\": %u, \"committed\": %u, \"left\": %u}\n",
		       swept.seen, swept.rolled_back, swept.committed, swept.left);
	PQfinish(db);
	saga_client_close(client);
	return done ? 0 : fail(&error);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return serve(argv[1], argv[2]);
	if (argc == 5 && !strcmp(argv[2], "sweep"))
		return sweep(argv[1], argv[3], atoi(argv[4]));
	fprintf(stderr, "usage: xa_service DSN HOST:PORT | xa_service DSN sweep URL AGE_S\n");
	return 2;
}
