/* SPDX-License-Identifier: Apache-2.0
 * libsaga_world.c - a service on libsaga that a test can kill at the worst moment, and a client.
 *
 *   libsaga_world serve ADDRESS:PORT DSN [SECRET]    at /hold, /hold/confirm, /hold/cancel
 *   libsaga_world client SAGAD-URLS SERVICE-URL
 */
#include "participants/libsaga/saga/mhd.h"
#include "participants/libsaga/saga/saga.h"
#include "tests/lib/tap.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the service ------------------------------------------------------------------------- */

struct world {
	struct saga_pool *pool;
	struct saga_client *client; /* reports what was answered 202 */
};

static bool asked(const struct saga_call *call, const char *name, int64_t *value)
{
	struct saga_slice found;

	return saga_json_find((struct saga_slice){ call->body, call->body_size }, name, &found) &&
	       saga_json_integer(found, value);
}

/* {"stall_ms": n}: the try is slow to begin, so that its cancel overtakes it. */
static bool stall(void *ctx, const struct saga_call *call, struct saga_answer *answer)
{
	int64_t ms;

	(void)ctx;
	(void)answer;
	if (asked(call, "stall_ms", &ms))
		nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
	return true;
}

static enum saga_result hold(void *ctx, PGconn *db, const struct saga_call *call,
                             struct saga_answer *answer)
{
	const char *params[] = { call->gid, call->step, saga_op_name(call->op) };
	PGresult *r;
	int64_t value;
	bool good;

	(void)ctx;
	r = PQexecParams(db, "INSERT INTO effect (gid, step, op) VALUES ($1, $2, $3) RETURNING n",
	                 3, NULL, params, NULL, NULL, 0);
	good = PQresultStatus(r) == PGRES_TUPLES_OK;
	if (good)
		saga_answer_printf(answer, "{\"n\":  %s, \"price\": 1.10}", PQgetvalue(r, 0, 0));
	PQclear(r);
	if (!good)
		return SAGA_FAILED;
	if (call->op == SAGA_TRY && asked(call, "refuse", &value))
		return SAGA_REFUSED;
	return call->op == SAGA_TRY && asked(call, "ongoing", &value) ? SAGA_ONGOING : SAGA_DONE;
}

struct work { /* what goes on behind a 202 */
	struct world *world;
	char gid[SAGA_GID_MAX + 1], step[SAGA_STEP_MAX + 1], callback[500];
};

static void *finish(void *arg)
{
	struct work *w = arg;
	struct saga_answer answer = { 0 };
	struct saga_error error;
	PGconn *db = saga_pool_take(w->world->pool);
	enum saga_settled settled;

	PQclear(PQexec(db, "BEGIN"));
	saga_answer_printf(&answer, "{\"finished\": true}");
	settled = saga_settle(db, w->gid, w->step, SAGA_TRY, SAGA_DONE, &answer);
	PQclear(PQexec(db, settled == SAGA_SETTLED_KEPT ? "COMMIT" : "ROLLBACK"));
	saga_pool_give(w->world->pool, db);
	if (settled == SAGA_SETTLED_KEPT &&
	    !saga_report(w->world->client, w->callback, answer.body, NULL, &error))
		fprintf(stderr, "%s\n", error.text);
	saga_answer_fini(&answer);
	free(w);
	return NULL;
}

/* Behind the commit and before the answer: where a service that dies leaves most doubt. */
static void after(void *ctx, const struct saga_call *call, const struct saga_answer *answer)
{
	struct world *world = ctx;
	pthread_t thread;
	int64_t value;

	if (answer->log[0])
		fprintf(stderr, "%d %s\n", answer->status, answer->log);
	if (!call)
		return;
	if (asked(call, "die", &value) && call->attempt == 1)
		kill(getpid(), SIGKILL);
	if (answer->status == 202 && call->attempt == 1 && call->callback.n < 500) {
		struct work *w = calloc(1, sizeof(*w));

		w->world = world;
		memcpy(w->gid, call->gid, sizeof(w->gid));
		memcpy(w->step, call->step, sizeof(w->step));
		memcpy(w->callback, call->callback.p, call->callback.n);
		pthread_create(&thread, NULL, finish, w);
		pthread_detach(thread);
	}
}

static bool other(void *ctx, const struct saga_request *request, struct saga_answer *answer)
{
	(void)ctx;
	(void)request;
	answer->status = 200;
	return saga_answer_printf(answer, "{\"live\": true}");
}

static bool setup(struct saga_pool *pool)
{
	struct saga_error error = { 0 };
	PGconn *db = saga_pool_take(pool);
	bool made = saga_barrier_setup(db, &error);
	PGresult *r = PQexec(
		db,
		"CREATE TABLE IF NOT EXISTS effect (n bigserial, gid text, step text, op text)");

	made &= PQresultStatus(r) == PGRES_COMMAND_OK;
	if (!made)
		fprintf(stderr, "%s %s\n", error.text, PQerrorMessage(db));
	PQclear(r);
	saga_pool_give(pool, db);
	return made;
}

static int serve(const char *listen, const char *dsn, const char *secret)
{
	static const struct saga_route routes[] = {
		{ .path = "/hold", .op = SAGA_TRY, .handler = hold, .before = stall },
		{ .path = "/hold/confirm", .op = SAGA_CONFIRM, .handler = hold },
		{ .path = "/hold/cancel", .op = SAGA_CANCEL, .handler = hold },
		{ .path = "/check", .op = SAGA_CHECK },
	};
	struct saga_client_options client = { .urls = "http://127.0.0.1:9" };
	struct saga_mhd_options at = { .listen = listen };
	struct saga_error error;
	struct world world = { saga_pool_open(dsn, NULL, 4, &error),
		               saga_client_open(&client, &error) };
	struct saga_service service = { .pool = world.pool,
		                        .routes = routes,
		                        .route_count = 4,
		                        .other = other,
		                        .after = after,
		                        .ctx = &world };
	struct saga_mhd *mhd;
	sigset_t stop;
	int got;

	if (!world.pool || !world.client || !setup(world.pool))
		return 1;
	if (secret) {
		service.trust.secrets = &secret;
		service.trust.secret_count = 1;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	mhd = saga_mhd_open(&service, &at, &error);
	if (mhd)
		sigwait(&stop, &got);
	else
		fprintf(stderr, "%s\n", error.text);
	saga_mhd_close(mhd);
	saga_client_close(world.client);
	saga_pool_close(world.pool);
	return mhd ? 0 : 1;
}

/* ---- the client -------------------------------------------------------------------------- */

static struct saga_client *client;
static const char *service_url;
static struct saga_error error;

static void test_define(void)
{
	struct saga_start start = { .definition = "libsaga-hold", .wait_ms = 20000 };
	struct saga_transaction txn;
	char document[500];
	int64_t first = 0, second = 0;

	snprintf(document, sizeof(document),
	         "{\"steps\": {\"a\": {\"action\": {\"url\": \"%s/hold\"},"
	         " \"compensate\": {\"url\": \"%s/hold/cancel\"}}}}",
	         service_url, service_url);
	ok(saga_define(client, "libsaga-hold", document, &first, &error) && first > 0,
	   "a definition: %s", error.text);
	ok(saga_define(client, "libsaga-hold", document, &second, &error) && second == first,
	   "the same changes nothing");
	ok(saga_start(client, &start, &txn, &error) && !strcmp(txn.phase, "confirmed"),
	   "it runs: %s", error.text);
	saga_transaction_fini(&txn);
	ok(!saga_define(client, "libsaga-hold", "{\"steps\": {\"a\": {}}}", NULL, &error) &&
	           !strcmp(error.problem.code, "definition_invalid") &&
	           error.problem.error_count > 0 &&
	           !strcmp(error.problem.errors[0].pointer, "/steps/a"),
	   "a wrong one: %s %s", error.problem.errors[0].pointer, error.problem.errors[0].detail);
}

static void test_start(void)
{
	struct saga_start start = { .input = "{\"n\": 12345678901234567890, \"price\": 1.10}",
		                    .wait_ms = 20000,
		                    .labels = "{\"by\": \"libsaga\"}" };
	struct saga_transaction txn;
	char document[1000], gid[SAGA_GID_MAX + 1];

	snprintf(
		document, sizeof(document),
		" {\"steps\": {\"a\": {\"action\": {\"url\": \"%s/hold\"},"
		" \"compensate\": {\"url\": \"%s/hold/cancel\"}}},"
		" \"output\": {\"given\": \"${input.n}\"}} ",
		service_url, service_url);
	start.document = document;
	ok(saga_start(client, &start, &txn, &error) && txn.ended &&
	           !strcmp(txn.phase, "confirmed") && !strcmp(txn.result, "succeeded") &&
	           !txn.replayed,
	   "a saga: %s %s", txn.phase, error.text);
	ok(txn.output.n &&
	           !strncmp(txn.output.p, "{\"given\": 12345678901234567890}", txn.output.n),
	   "its output, as it was written: %.*s", (int)txn.output.n, txn.output.p);
	memcpy(gid, txn.gid, sizeof(gid));
	saga_transaction_fini(&txn);
	start.gid = gid;
	ok(saga_start(client, &start, &txn, &error) && txn.replayed && txn.ended,
	   "the same again is the same");
	saga_transaction_fini(&txn);
	start.input = "{\"n\": 1}";
	ok(!saga_start(client, &start, &txn, &error) && error.code == SAGA_E_PROBLEM &&
	           error.problem.status == 422 &&
	           !strcmp(error.problem.code, "idempotency_key_reused") && !error.retryable,
	   "%s", error.text);
	ok(saga_get(client, gid, &txn, &error) && txn.version > 0 && !txn.stuck && !txn.paused,
	   "looked at");
	saga_transaction_fini(&txn);
	ok(!saga_cancel(client, gid, "too late", 0, NULL, &error) &&
	           !strcmp(error.problem.code, "decided"),
	   "%s", error.text);
	ok(!saga_get(client, "no/such%gid", &txn, &error) && error.problem.status == 404, "%s",
	   error.text);
}

static void test_ongoing(void)
{
	struct saga_start start = { .input = "{\"ongoing\": 1}" };
	struct saga_transaction txn;
	char document[1000], gid[SAGA_GID_MAX + 1];

	snprintf(
		document, sizeof(document),
		"{\"steps\": {\"a\": {\"poll\": \"60s\", \"action\": {\"url\": \"%s/hold\"},"
		" \"compensate\": {\"url\": \"%s/hold/cancel\"}}},"
		" \"output\": {\"a\": \"${steps.a.output}\"}}",
		service_url, service_url);
	start.document = document;
	ok(saga_start(client, &start, &txn, &error) && !txn.ended, "a step that goes on: %s",
	   error.text);
	memcpy(gid, txn.gid, sizeof(gid));
	saga_transaction_fini(&txn);
	ok(saga_wait(client, gid, 20000, &txn, &error) && txn.ended && txn.output.n &&
	           strstr(txn.output.p, "{\"finished\": true}"),
	   "reported back: %s %.*s %s", txn.phase, (int)txn.output.n,
	   txn.output.p ? txn.output.p : "", error.text);
	saga_transaction_fini(&txn);
}

static struct saga_branch branch(const char *name, const char *data)
{
	static char urls[3][300];

	snprintf(urls[0], sizeof(urls[0]), "%s/hold", service_url);
	snprintf(urls[1], sizeof(urls[1]), "%s/hold/confirm", service_url);
	snprintf(urls[2], sizeof(urls[2]), "%s/hold/cancel", service_url);
	return (struct saga_branch){ .name = name,
		                     .try_url = urls[0],
		                     .confirm_url = urls[1],
		                     .cancel_url = urls[2],
		                     .data = data };
}

static void test_tcc(void)
{
	struct saga_branch a = branch("a", "{\"x\": 1}"), b = branch("b", NULL),
			   no = branch("no", "{\"refuse\": 1}"), away = branch("away", NULL);
	struct saga_tcc *tcc = saga_tcc_open(client, NULL, &error);
	struct saga_transaction txn;
	struct saga_answer answer;

	ok(tcc && saga_tcc_try(tcc, &a, &answer, &error) == SAGA_DONE &&
	           strstr(answer.body, "\"price\": 1.10"),
	   "a try, and what it said: %s", error.text);
	saga_answer_fini(&answer);
	ok(saga_tcc_try(tcc, &b, NULL, &error) == SAGA_DONE, "another");
	ok(saga_tcc_confirm(tcc, &txn, &error) && !strcmp(txn.phase, "confirmed"), "confirmed: %s",
	   error.text);
	saga_transaction_fini(&txn);
	saga_tcc_close(tcc);

	tcc = saga_tcc_open(client, NULL, &error);
	ok(saga_tcc_try(tcc, &a, NULL, &error) == SAGA_DONE, "one is done");
	ok(saga_tcc_try(tcc, &no, NULL, &error) == SAGA_REFUSED, "the other refused: %s",
	   error.text);
	ok(!saga_tcc_confirm(tcc, &txn, &error), "so it cannot be confirmed: %s", error.text);
	ok(saga_wait(client, saga_tcc_gid(tcc), 20000, &txn, &error) &&
	           !strcmp(txn.phase, "cancelled"),
	   "it is cancelled");
	saga_transaction_fini(&txn);
	saga_tcc_close(tcc);

	tcc = saga_tcc_open(client, NULL, &error);
	away.try_url = "http://127.0.0.1:9/";
	away.attempts = 2;
	ok(saga_tcc_try(tcc, &away, NULL, &error) == SAGA_FAILED && error.code == SAGA_E_UNKNOWN,
	   "no answer: %s", error.text);
	saga_tcc_close(tcc);
}

static void leave_scope(char gid[SAGA_GID_MAX + 1])
{
	struct saga_branch a = branch("a", NULL);
	SAGA_TCC_SCOPE struct saga_tcc *tcc = saga_tcc_open(client, NULL, &error);

	snprintf(gid, SAGA_GID_MAX + 1, "%s", saga_tcc_gid(tcc));
	if (saga_tcc_try(tcc, &a, NULL, &error) == SAGA_DONE)
		return; /* and forget to confirm */
	ok(false, "the try: %s", error.text);
}

static void test_scope(void)
{
	struct saga_transaction txn;
	char gid[SAGA_GID_MAX + 1];

	leave_scope(gid);
	ok(saga_wait(client, gid, 20000, &txn, &error) && !strcmp(txn.phase, "cancelled"),
	   "a scope that is left is cancelled: %s", txn.phase);
	saga_transaction_fini(&txn);
}

/* Its calls are signed by sagad, under a name whose secret the service has, too. */
static void test_signed(void)
{
	struct saga_tcc_options options = { .deadline = "30s" };
	struct saga_tcc *tcc = saga_tcc_open(client, &options, &error);
	struct saga_transaction txn;

	ok(saga_tcc_join(
		   tcc,
		   "{\"name\": \"s\", \"call_try\": true,"
		   " \"try\": {\"participant\": \"signed\", \"path\": \"/hold\"},"
		   " \"confirm\": {\"participant\": \"signed\", \"path\": \"/hold/confirm\"},"
		   " \"cancel\": {\"participant\": \"signed\", \"path\": \"/hold/cancel\"}}",
		   &error),
	   "a try that sagad makes and signs: %s", error.text);
	ok(saga_tcc_confirm(tcc, &txn, &error) && !strcmp(txn.phase, "confirmed"),
	   "confirmed when it is done: %s", error.text);
	saga_transaction_fini(&txn);
	saga_tcc_close(tcc);
}

int main(int argc, char **argv)
{
	struct saga_client_options options = { .timeout_ms = 5000, .patience_ms = 20000 };

	if (argc >= 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
	if (argc != 4)
		return 2;
	options.urls = argv[2];
	service_url = argv[3];
	client = saga_client_open(&options, &error);
	test_define();
	test_start();
	test_ongoing();
	test_tcc();
	test_scope();
	test_signed();
	saga_client_close(client);
	return tap_done();
}
