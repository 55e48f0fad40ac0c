/* SPDX-License-Identifier: Apache-2.0
 * service.c - what libsaga costs a service for a call: `service DSN [calls [rounds]]`, medians,
 * on a database of its own; next to the same work without libsaga.
 */
#include "participants/libsaga/saga/saga.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_MAX = 31, BODY_BYTES = 500, HEADERS = 13 };

static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
static const char *const secrets[] = { secret };

struct sample {
	double wall_us, cpu_us;
};

struct world {
	struct saga_pool *pool;
	struct saga_route route;
	struct saga_service service;
	struct saga_request request;
	struct saga_header headers[HEADERS];
	char gid[48], key[80], id[SAGA_WEBHOOK_ID_MAX], stamp[24], signature[SAGA_SIGNATURE_MAX];
	char body[BODY_BYTES + 1];
	long serial;
};

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static double now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the call --------------------------------------------------------------------------------- */

/* The headers of sagad, as they come from any HTTP server. */
static void make_call(struct world *w, long number)
{
	const struct saga_header headers[HEADERS] = {
		{ "Host", "hotel.example" }, { "Accept", "application/json" }, { "Content-Type", "application/json" },
		{ "Saga-Id", w->gid }, { "Saga-Step", "hotel" }, { "Saga-Op", "try" }, { "Saga-Attempt", "1" },
		{ "Saga-Epoch", "1" }, { "Saga-Deadline", "2126-01-01T00:00:00.000Z" }, { "Idempotency-Key", w->key },
		{ "webhook-id", w->id }, { "webhook-timestamp", w->stamp }, { "webhook-signature", w->signature } };
	const time_t now = time(NULL);

	snprintf(w->gid, sizeof(w->gid), "01a2084d-9d50-7c2b-b3a1-%012ld", number);
	snprintf(w->key, sizeof(w->key), "\"%s:hotel:try\"", w->gid);
	snprintf(w->stamp, sizeof(w->stamp), "%lld", (long long)now);
	saga_webhook_id(w->gid, "hotel", SAGA_TRY, w->id);
	if (!saga_sign(secret, w->id, now, w->body, BODY_BYTES, w->signature))
		die("no signature");
	memcpy(w->headers, headers, sizeof(headers));
	w->request = (struct saga_request){ .method = "POST", .path = "/hotel", .headers = w->headers,
		                            .header_count = HEADERS, .body = w->body, .body_size = BODY_BYTES };
}

static bool insert(PGconn *db, const char *gid)
{
	PGresult *r = PQexecParams(db, "INSERT INTO booking (gid) VALUES ($1)", 1, NULL, &gid, NULL, NULL, 0);
	bool good = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return good;
}

static enum saga_result book(void *ctx, PGconn *db, const struct saga_call *call, struct saga_answer *answer)
{
	(void)ctx;
	(void)answer;
	return insert(db, call->gid) ? SAGA_DONE : SAGA_FAILED;
}

/* ---- what is measured --------------------------------------------------------------------------- */

static void read_call(struct world *w, const struct saga_trust *trust)
{
	struct saga_call call;

	if (saga_call_read(&w->request, trust, time(NULL), &call) != SAGA_FAULT_NONE)
		die("a call is not understood");
}

static void run_read(struct world *w)
{
	read_call(w, NULL);
}

static void run_verify(struct world *w)
{
	read_call(w, &w->service.trust);
}

static void run_bare(struct world *w)
{
	PGconn *db = saga_pool_take(w->pool);

	PQclear(PQexec(db, "BEGIN"));
	if (!insert(db, w->gid))
		die(PQerrorMessage(db));
	PQclear(PQexec(db, "COMMIT"));
	saga_pool_give(w->pool, db);
}

static void run_handle(struct world *w)
{
	struct saga_answer answer = { 0 };

	saga_service_handle(&w->service, &w->request, &answer);
	if (answer.status != 204)
		die(answer.log);
	saga_answer_fini(&answer);
}

static const struct {
	const char *what;
	void (*run)(struct world *w);
	bool each_new, in_database;
} rows[] = {
	{ "read (13 headers)", run_read, false, false },
	{ "read and verify (500 bytes)", run_verify, false, false },
	{ "the work alone: begin, insert, commit", run_bare, true, true },
	{ "all: read, verify, barrier, the work, answer", run_handle, true, true },
	{ "all, of a duplicate", run_handle, false, true },
};

/* Calls are made before the clock runs for them. */
static struct sample measure(struct world *w, size_t row, long calls)
{
	struct sample sum = { 0, 0 };

	make_call(w, ++w->serial);
	if (!rows[row].each_new && rows[row].in_database)
		run_handle(w); /* the first of its duplicates */
	for (long i = 0; i < calls; i++) {
		if (rows[row].each_new)
			make_call(w, ++w->serial);
		const double cpu = now_us(CLOCK_PROCESS_CPUTIME_ID), wall = now_us(CLOCK_MONOTONIC);

		rows[row].run(w);
		sum.wall_us += now_us(CLOCK_MONOTONIC) - wall;
		sum.cpu_us += now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	}
	return (struct sample){ sum.wall_us / (double)calls, sum.cpu_us / (double)calls };
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(v[0]), by_size);
	return v[n / 2];
}

static void set_up(struct world *w, const char *dsn)
{
	struct saga_error error = { 0 };
	PGconn *db;

	w->pool = saga_pool_open(dsn, NULL, 1, &error);
	if (!w->pool)
		die(error.text);
	db = saga_pool_take(w->pool);
	if (PQstatus(db) != CONNECTION_OK || !saga_barrier_setup(db, &error))
		die(error.text[0] ? error.text : PQerrorMessage(db));
	PQclear(PQexec(db, "SET client_min_messages = warning"));
	PQclear(PQexec(db, "CREATE TABLE IF NOT EXISTS booking (n bigserial PRIMARY KEY, gid text)"));
	PQclear(PQexec(db, "TRUNCATE booking, sagad_barrier"));
	saga_pool_give(w->pool, db);
	memset(w->body, 'x', BODY_BYTES);
	memcpy(w->body, "{\"order\":\"", 10);
	memcpy(w->body + BODY_BYTES - 2, "\"}", 2);
	w->route = (struct saga_route){ .path = "/hotel", .op = SAGA_TRY, .handler = book };
	w->service = (struct saga_service){ .pool = w->pool, .trust = { .secrets = secrets, .secret_count = 1 },
		                            .routes = &w->route, .route_count = 1 };
}

int main(int argc, char **argv)
{
	static struct world w;
	const long calls = argc > 2 ? atol(argv[2]) : 2000;
	const int rounds = argc > 3 ? atoi(argv[3]) : 5;

	if (argc < 2 || calls < 1 || rounds < 1 || rounds > ROUNDS_MAX)
		die("usage: service DSN [calls [rounds]]");
	set_up(&w, argv[1]);
	printf("%-48s %10s %10s   us a call, medians of %d\n", "", "wall", "CPU", rounds);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double wall[ROUNDS_MAX], cpu[ROUNDS_MAX];

		for (int k = 0; k < rounds; k++) {
			const struct sample s = measure(&w, i, rows[i].in_database ? calls : 20 * calls);

			wall[k] = s.wall_us;
			cpu[k] = s.cpu_us;
		}
		printf("%-48s %10.1f %10.1f\n", rows[i].what, median(wall, rounds), median(cpu, rounds));
	}
	saga_pool_close(w.pool);
	return 0;
}
