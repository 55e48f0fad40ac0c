/* SPDX-License-Identifier: Apache-2.0
 * libsaga.c - saga_serve() on a real PostgreSQL: the barrier's truth table, races, and what a
 * database does to a handler.
 */
#include "participants/libsaga/saga/saga.h"
#include "tests/lib/pg_database.h"
#include "tests/lib/tap.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct pg_database base;

/* ---- a handler that does as it is told --------------------------------------------------- */

struct script {
	enum saga_result result;
	int status;
	const char *body;
	const char *sql[3];   /* run in its transaction, up to the first NULL */
	const char *sql_once; /* the first time only */
	int runs;
	bool failed_says_refused; /* a statement that fails is a refusal */
};

static enum saga_result act(void *ctx, PGconn *db, const struct saga_call *call,
                            struct saga_answer *answer)
{
	struct script *s = ctx;
	const char *sql[4] = { s->runs ? NULL : s->sql_once, s->sql[0], s->sql[1], s->sql[2] };

	(void)call;
	s->runs++;
	for (int i = 0; i < 4; i++) {
		PGresult *r = sql[i] ? PQexec(db, sql[i]) : NULL;
		bool good = !sql[i] || PQresultStatus(r) == PGRES_COMMAND_OK ||
		            PQresultStatus(r) == PGRES_TUPLES_OK;

		PQclear(r);
		if (!good)
			return s->failed_says_refused ? SAGA_REFUSED : SAGA_FAILED;
	}
	answer->status = s->status;
	if (s->body)
		saga_answer_body(answer, s->body, strlen(s->body));
	return s->result;
}

static struct saga_call call_of(const char *gid, enum saga_op op)
{
	struct saga_call call = {
		.op = op, .epoch = -1, .accepted_ms = SAGA_NO_TIME, .deadline_ms = SAGA_NO_TIME
	};

	snprintf(call.gid, sizeof(call.gid), "%s", gid);
	snprintf(call.step, sizeof(call.step), "a");
	return call;
}

/* The status; the answer's body in a buffer that the next call uses again. */
static const char *said;
static char logged[200];
static int serve(PGconn *db, const char *gid, enum saga_op op, struct script *s)
{
	static char body[1000];
	struct saga_call call = call_of(gid, op);
	struct saga_answer answer;
	int status;

	saga_serve(db, &call, act, s, &answer);
	status = answer.status;
	snprintf(body, sizeof(body), "%s", answer.body ? answer.body : "");
	said = body;
	memcpy(logged, answer.log, sizeof(logged));
	saga_answer_fini(&answer);
	return status;
}

/* ---- the truth table --------------------------------------------------------------------- */

static const char *text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static enum saga_op op_of(const char *name)
{
	return !strcmp(name, "try")       ? SAGA_TRY
	       : !strcmp(name, "confirm") ? SAGA_CONFIRM
	                                  : SAGA_CANCEL;
}

static enum saga_result result_of(enum saga_op op, int status)
{
	if (status == 202 || status == 425)
		return SAGA_ONGOING;
	if (status == 410)
		return SAGA_GONE;
	return op == SAGA_TRY && status >= 400 ? SAGA_REFUSED : SAGA_DONE;
}

static int64_t from_now_ms(int64_t s)
{
	return atoll(pg_database_ask(
		&base, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + %lld000",
		(long long)s));
}

static bool act_call(const json_t *act_, const char *gid)
{
	const json_t *keep = json_object_get(act_, "keep");
	struct script s = { .result = SAGA_DONE, .status = 204, .body = "" };
	struct saga_call call = call_of(gid, op_of(text(act_, "op")));
	struct saga_answer answer;
	bool ran = !strcmp(text(act_, "answer"), "run"), fits;
	int wanted = (int)json_integer_value(json_object_get(act_, "status"));

	if (json_object_get(act_, "epoch"))
		call.epoch = json_integer_value(json_object_get(act_, "epoch"));
	if (json_object_get(act_, "deadline_s"))
		call.deadline_ms =
			from_now_ms(json_integer_value(json_object_get(act_, "deadline_s")));
	if (keep) {
		s.status = (int)json_integer_value(json_object_get(keep, "status"));
		s.result = result_of(call.op, s.status);
		s.body = text(keep, "body");
	}
	if (json_is_true(json_object_get(act_, "rollback")))
		s.result = SAGA_FAILED;
	saga_serve(base.db, &call, act, &s, &answer);
	fits = s.runs == ran && (!wanted || answer.status == wanted);
	if (text(act_, "body"))
		fits &= answer.body && !strcmp(answer.body, text(act_, "body"));
	if (!fits)
		printf("# %s: %d runs, %d %s\n", text(act_, "op"), s.runs, answer.status,
		       answer.body ? answer.body : "");
	saga_answer_fini(&answer);
	return fits;
}

static bool act_settle(const json_t *act_, const char *gid)
{
	const json_t *keep = json_object_get(act_, "keep");
	enum saga_op op = op_of(text(keep, "op"));
	int status = (int)json_integer_value(json_object_get(keep, "status"));
	struct saga_answer answer = { .status = status };
	enum saga_settled settled;

	saga_answer_body(&answer, text(keep, "body"), strlen(text(keep, "body")));
	settled = saga_settle(base.db, gid, "a", op, result_of(op, status), &answer);
	saga_answer_fini(&answer);
	if (json_is_true(json_object_get(act_, "kept")))
		return settled == SAGA_SETTLED_KEPT;
	return settled == (json_is_false(json_object_get(act_, "kept")) ? SAGA_SETTLED_FORBIDDEN
	                                                                : SAGA_SETTLED_ERROR);
}

/* What no handler of libsaga can do: keep an answer that settles nothing, or
 * roll back an empty cancel. */
static bool beyond_us(const json_t *do_)
{
	bool beyond = false;
	json_t *a;
	size_t i;

	json_array_foreach(do_, i, a) {
		const char *answer = text(a, "answer"), *kept = text(a, "kept");

		beyond |= (json_object_get(a, "rollback") && answer && strcmp(answer, "run")) ||
			  (answer && !strcmp(answer, "error")) || (kept && !strcmp(kept, "error"));
	}
	return beyond;
}

static bool run_case(const json_t *c)
{
	bool fits = true;
	json_t *a;
	size_t i;

	json_array_foreach(json_object_get(c, "do"), i, a) {
		long long age = json_integer_value(json_object_get(a, "age_s")),
			  sweep = json_integer_value(json_object_get(a, "sweep_s"));

		if (text(a, "op"))
			fits &= act_call(a, "g");
		else if (json_object_get(a, "keep"))
			fits &= act_settle(a, "g");
		else if (age)
			pg_database_run(
				&base,
				"UPDATE sagad_barrier_step"
				" SET seen_at = seen_at - interval '%lld s',"
				" deadline = deadline - interval '%lld s'",
				age, age);
		else if (!text(a, "deleted"))
			pg_database_run(&base, "SELECT sagad_barrier_sweep('%lld s')", sweep);
	}
	return fits;
}

static void test_truth_table(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	json_t *root, *c;
	size_t i, ran = 0;

	snprintf(path, sizeof(path), "%s/participants/vectors/barrier.json", srcdir ? srcdir : ".");
	root = json_load_file(path, 0, NULL);
	json_array_foreach(json_object_get(root, "cases"), i, c) {
		if (json_object_get(c, "on") || beyond_us(json_object_get(c, "do")))
			continue;
		pg_database_run(&base, "TRUNCATE sagad_barrier_step;"
				       "UPDATE sagad_barrier_mark SET swept = '-infinity'");
		ok(run_case(c), "barrier: %s", text(c, "name"));
		ran++;
	}
	ok(ran > 30, "%zu cases of the truth table", ran);
	json_decref(root);
}

/* ---- what a handler may do --------------------------------------------------------------- */

static const char *count(const char *gid)
{
	return pg_database_ask(&base, "SELECT count(*) FROM effect WHERE gid = '%s'", gid);
}

static void test_refusals(void)
{
	struct script late = { .result = SAGA_REFUSED,
		               .body = "{\"why\": 1}",
		               .sql = { "INSERT INTO effect VALUES ('late')" } };
	struct script taken = { .result = SAGA_DONE, .sql = { "INSERT INTO effect VALUES ('one')" },
				.failed_says_refused = true };
	struct script away = {
		.sql = { "DO $$ BEGIN RAISE 'disk full' USING ERRCODE = '53100'; END $$" },
		.failed_says_refused = true
	};
	struct script cannot = { .result = SAGA_REFUSED };

	ok(serve(base.db, "late", SAGA_TRY, &late) == 422 && !strcmp(count("late"), "0"),
	   "what was written before a refusal is not there");
	ok(serve(base.db, "late", SAGA_TRY, &late) == 422 && !strcmp(said, "{\"why\": 1}") &&
	           late.runs == 1,
	   "and the refusal is kept");
	ok(serve(base.db, "late", SAGA_CANCEL, &cannot) == 200 && !cannot.runs,
	   "there is nothing to cancel");
	pg_database_run(&base, "INSERT INTO effect VALUES ('one')");
	ok(serve(base.db, "one", SAGA_TRY, &taken) == 422,
	   "a constraint that fails may be a refusal");
	ok(serve(base.db, "one", SAGA_TRY, &taken) == 422 && taken.runs == 1, "which is kept, too");
	ok(serve(base.db, "full", SAGA_TRY, &away) == 503 && strstr(logged, "disk full") &&
	           !strchr(logged, '\n'),
	   "a disk that is full is none: %s", logged);
	ok(serve(base.db, "full", SAGA_TRY, &away) == 503 && away.runs == 2, "and is not kept");
	ok(serve(base.db, "two", SAGA_TRY, &(struct script){ .result = SAGA_DONE }) == 204,
	   "a try");
	ok(serve(base.db, "two", SAGA_CONFIRM, &cannot) == 500, "a confirm cannot be refused");
	ok(serve(base.db, "two", SAGA_CONFIRM, &(struct script){ .result = SAGA_GONE }) == 410,
	   "but what it needs may be gone");
	ok(serve(base.db, "two", SAGA_CONFIRM, &(struct script){ .result = SAGA_DONE }) == 204,
	   "which is not for ever");
}

static void test_failures(void)
{
	struct script ends = { .result = SAGA_DONE,
		               .sql = { "INSERT INTO effect VALUES ('ends')", "ROLLBACK" } };
	struct script halves = { .result = SAGA_DONE,
		                 .sql = { "INSERT INTO effect VALUES ('halves')", "COMMIT; BEGIN",
		                          "INSERT INTO effect VALUES ('halves')" } };
	struct script no = { .result = SAGA_REFUSED,
		             .sql = { "COMMIT AND CHAIN", "INSERT INTO effect VALUES ('no')" } };
	struct script anew = { .result = SAGA_DONE,
		               .sql = { "ROLLBACK; BEGIN", "INSERT INTO effect VALUES ('anew')" } };
	struct script undoes = { .result = SAGA_DONE,
		                 .sql = { "SAVEPOINT mine", "INSERT INTO effect VALUES ('undoes')",
		                          "ROLLBACK TO SAVEPOINT mine" } };
	struct script swallows = { .result = SAGA_DONE,
		                   .sql = { "INSERT INTO effect VALUES ('swallows')" } };
	struct script cut = { .result = SAGA_DONE,
		              .sql_once = "SELECT pg_terminate_backend(pg_backend_pid())",
		              .sql = { "INSERT INTO effect VALUES ('cut')" } };
	struct script late = { .result = SAGA_DONE,
		               .sql = { "INSERT INTO effect VALUES ('deferred')",
		                        "INSERT INTO child VALUES ('no such')" } };
	PGconn *db = PQconnectdb(base.dsn);

	ok(serve(db, "ends", SAGA_TRY, &ends) == 500 && !strcmp(count("ends"), "0"),
	   "who ends the transaction is told off");
	ok(serve(db, "halves", SAGA_TRY, &halves) == 500 && !strcmp(count("halves"), "1") &&
		   !strcmp(logged, "the handler ended the transaction itself"),
	   "so is who begins another: what it has committed stays, the rest does not");
	ok(serve(db, "no", SAGA_TRY, &no) == 500 && !strcmp(count("no"), "0"),
	   "who commits and then refuses has not refused");
	ok(serve(db, "anew", SAGA_TRY, &anew) == 503 && !strcmp(count("anew"), "0"),
	   "who rolls back and begins anew has no row to keep an answer in");
	ok(serve(db, "undoes", SAGA_TRY, &undoes) == 204 && !strcmp(count("undoes"), "0"),
	   "a savepoint is the handler's own affair");
	ok(serve(db, "swallows", SAGA_TRY, &swallows) == 204, "a session is fit for the next");
	ok(serve(db, "cut", SAGA_TRY, &cut) == 503 && !strcmp(count("cut"), "0"),
	   "a session that is cut: unknown");
	ok(serve(db, "cut", SAGA_TRY, &cut) == 204 && !strcmp(count("cut"), "1"),
	   "then it is made anew, and done");
	ok(serve(db, "deferred", SAGA_TRY, &late) == 503 && !strcmp(count("deferred"), "0"),
	   "a COMMIT that was not one is no answer");
	/* The session dies between two calls: nothing has happened yet, so
	 * nobody need hear of it. */
	pg_database_run(&base, "SELECT pg_terminate_backend(%d)", PQbackendPID(db));
	ok(serve(db, "again", SAGA_TRY, &(struct script){ .result = SAGA_DONE }) == 204,
	   "a session that died between calls");
	PQfinish(db);
	db = PQconnectdb("host=/nowhere");
	ok(serve(db, "away", SAGA_TRY, &(struct script){ .result = SAGA_DONE }) == 503,
	   "no database: unknown");
	PQfinish(db);
	ok(serve(NULL, "none", SAGA_TRY, &(struct script){ .result = SAGA_DONE }) == 503,
	   "no session at all: the same");
}

static void test_again(void)
{
	/* A serialization failure says nothing about the work. */
	const char *once = "DO $$ BEGIN RAISE 'meet' USING ERRCODE = '40001'; END $$";
	struct script s = { .result = SAGA_DONE,
		            .status = 201,
		            .body = "{\"n\": 1.10}",
		            .sql_once = once,
		            .sql = { "INSERT INTO effect VALUES ('again')" } };
	struct script refuses = { .result = SAGA_REFUSED,
		                  .sql_once = once,
		                  .failed_says_refused = true };
	struct script never = { .sql = { once }, .result = SAGA_DONE };

	ok(serve(base.db, "serial", SAGA_TRY, &s) == 201 && s.runs == 2 &&
	           !strcmp(said, "{\"n\": 1.10}"),
	   "a serialization failure is begun again");
	ok(serve(base.db, "serial-no", SAGA_TRY, &refuses) == 422 && refuses.runs == 2,
	   "also where the handler took it for a refusal");
	ok(serve(base.db, "never", SAGA_TRY, &never) == 503 && never.runs == 5, "not for ever");
}

static void test_sweep(void)
{
	struct saga_error error;
	int64_t deleted = -1;

	pg_database_run(
		&base,
		"TRUNCATE sagad_barrier_step;"
		"INSERT INTO sagad_barrier_step (gid, step, deadline, seen_at)"
		" VALUES ('old', 'a', now() - interval '3 days', now() - interval '3 days'),"
		" ('new', 'a', now(), now())");
	ok(saga_barrier_sweep(base.db, 86400, &deleted, &error) && deleted == 1,
	   "what is old is swept");
	ok(!saga_barrier_sweep(base.db, 60, NULL, &error) && error.code == SAGA_E_DATABASE, "%s",
	   error.text);
}

static void test_deadline(void)
{
	struct script s = { .result = SAGA_DONE };
	struct saga_call call = call_of("dated", SAGA_TRY);
	struct saga_answer answer;

	call.accepted_ms = 1795423254123;
	saga_serve(base.db, &call, act, &s, &answer);
	saga_answer_fini(&answer);
	ok(!strcmp(pg_database_ask(&base, "SELECT extract(epoch FROM deadline)"
				   " FROM sagad_barrier_step WHERE gid = 'dated'"),
	           "1795423254.123000"),
	   "without a deadline it is swept by when it was accepted");
	call.op = SAGA_CANCEL;
	call.deadline_ms = 1795423999000;
	saga_serve(base.db, &call, act, &s, &answer);
	saga_answer_fini(&answer);
	ok(!strcmp(pg_database_ask(&base, "SELECT extract(epoch FROM deadline)"
				   " FROM sagad_barrier_step WHERE gid = 'dated'"),
	           "1795423999.000000") &&
	           s.runs == 2,
	   "with one by that");
}

/* Without a handler the database says whether what a message stands for was committed. */
static int serve_check(const char *gid)
{
	struct saga_call call = call_of(gid, SAGA_CHECK);
	struct saga_answer answer;
	int status;

	saga_serve(base.db, &call, NULL, NULL, &answer);
	status = answer.status;
	saga_answer_fini(&answer);
	return status;
}

static void test_check(void)
{
	struct script yes = { .result = SAGA_DONE }, no = { .result = SAGA_REFUSED };

	pg_database_run(&base, "SELECT sagad_message('sent', now() + interval '1 minute')");
	ok(serve_check("sent") == 200 && serve_check("sent") == 200,
	   "a message whose commit happened");
	ok(serve_check("unsent") == 422 && serve_check("unsent") == 422,
	   "one whose commit did not");
	ok(!strcmp(pg_database_ask(&base,
	                           "SELECT sagad_message('unsent', now() + interval '1 minute')"),
	           ""),
	   "and then it cannot happen any more");

	ok(serve(base.db, "m", SAGA_CHECK, &yes) == 204 &&
	           serve(base.db, "m", SAGA_CHECK, &no) == 422 && no.runs == 1,
	   "a check is asked each time");
}

/* ---- side by side ------------------------------------------------------------------------ */

enum { THREADS = 4, ROUNDS = 25 };

struct racer {
	pthread_t thread;
	struct saga_pool *pool;
	pthread_barrier_t *line;
	enum saga_op op;
	int status[ROUNDS];
	char body[ROUNDS][40];
};

/* Writes a line whose number is in the answer. */
static enum saga_result write_line(void *ctx, PGconn *db, const struct saga_call *call,
                                   struct saga_answer *answer)
{
	const char *params[] = { call->gid, saga_op_name(call->op) };
	PGresult *r = PQexecParams(db, "INSERT INTO line (gid, op) VALUES ($1, $2) RETURNING n", 2,
	                           NULL, params, NULL, NULL, 0);
	bool good = PQresultStatus(r) == PGRES_TUPLES_OK;

	(void)ctx;
	if (good)
		saga_answer_printf(answer, "{\"n\": %s}", PQgetvalue(r, 0, 0));
	PQclear(r);
	return good ? SAGA_DONE : SAGA_FAILED;
}

static void *race(void *arg)
{
	struct racer *r = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct saga_answer answer;
		char gid[40];

		snprintf(gid, sizeof(gid), "race-%d", i);
		struct saga_call call = call_of(gid, r->op);

		pthread_barrier_wait(r->line);
		PGconn *db = saga_pool_take(r->pool);

		saga_serve(db, &call, write_line, NULL, &answer);
		saga_pool_give(r->pool, db);
		r->status[i] = answer.status;
		snprintf(r->body[i], sizeof(r->body[i]), "%s", answer.body ? answer.body : "");
		saga_answer_fini(&answer);
	}
	return NULL;
}

/* Two tries and two cancels of one step at once: at most one of each does something, and never a
 * cancel without its try, nor a try that stays. */
static void test_races(void)
{
	struct saga_error error;
	struct racer racers[THREADS];
	pthread_barrier_t line;
	struct saga_pool *pool = saga_pool_open(base.dsn, "public", THREADS - 1, &error);
	bool same = true;
	int settled = 0;

	pthread_barrier_init(&line, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		racers[i].pool = pool;
		racers[i].line = &line;
		racers[i].op = i < 2 ? SAGA_TRY : SAGA_CANCEL;
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(racers[i].thread, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		same &= !strcmp(racers[0].body[i], racers[1].body[i]) &&
		        !strcmp(racers[2].body[i], racers[3].body[i]);
		settled += racers[0].status[i] < 500 && racers[2].status[i] < 300;
	}
	ok(same, "duplicates that come at once get the same answer");
	ok(settled == ROUNDS, "everybody got one: %d", settled);
	ok(!strcmp(pg_database_ask(&base, "SELECT count(*) FROM line"),
	           pg_database_ask(&base, "SELECT count(DISTINCT (gid, op)) FROM line")),
	   "no effect came twice");
	ok(!strcmp(pg_database_ask(&base, "SELECT count(*) FROM (SELECT gid FROM line GROUP BY gid"
	                                  " HAVING array_agg(op ORDER BY n) <> '{try,cancel}') x"),
	           "0"),
	   "a try that was done was undone after it, and nothing was undone that was not done");
	saga_pool_close(pool);
	pthread_barrier_destroy(&line);
}

/* As a service that may use the barrier, but make nothing. */
static void test_few_rights(void)
{
	int pid = PQbackendPID(base.db);
	struct script s = { .result = SAGA_DONE };
	struct saga_error error = { 0 };

	pg_database_run(
		&base,
		"RESET ROLE; SET search_path = public;"
		"REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
		"GRANT SELECT, INSERT, UPDATE, DELETE ON sagad_barrier_step TO nobody_%d;"
		"GRANT SELECT, UPDATE ON sagad_barrier_mark TO nobody_%d; SET ROLE nobody_%d",
		pid, pid, pid);
	ok(saga_barrier_setup(base.db, &error), "a barrier that is there need not be made: %s",
	   error.text);
	ok(serve(base.db, "few", SAGA_TRY, &s) == 204 && s.runs == 1, "and it can be used");
	pg_database_run(
		&base,
		"RESET ROLE; CREATE OR REPLACE FUNCTION sagad_barrier_version() RETURNS text"
		" LANGUAGE sql AS $$ SELECT 'older' $$; SET ROLE nobody_%d",
		pid);
	ok(!saga_barrier_setup(base.db, &error) && strstr(error.text, "another version"), "%s",
	   error.text);
	pg_database_run(&base, "RESET ROLE; DROP OWNED BY nobody_%d; DROP ROLE nobody_%d", pid,
	                pid);
	ok(saga_barrier_setup(base.db, &error), "who may make it makes it anew");
	ok(!strcmp(pg_database_ask(&base, "SELECT sagad_barrier_version() <> 'older'"), "t"),
	   "an older one is replaced");
}

static void test_setup(void)
{
	struct saga_error error;

	ok(saga_barrier_setup(base.db, &error), "the barrier is made");
	ok(saga_barrier_setup(base.db, &error), "and made again");
	ok(!strcmp(pg_database_ask(&base, "SELECT to_regclass('sagad_barrier_step') IS NOT NULL"),
	           "t"),
	   "it is there");
	pg_database_run(
		&base,
		"CREATE SCHEMA locked; CREATE ROLE nobody_%d;"
		"SET search_path = locked; SET ROLE nobody_%d",
		PQbackendPID(base.db), PQbackendPID(base.db));
	ok(!saga_barrier_setup(base.db, &error) && error.code == SAGA_E_DATABASE &&
	           !strchr(error.text, '\n'),
	   "%s", error.text);
	ok(PQtransactionStatus(base.db) == PQTRANS_IDLE, "nothing is left open");
	ok(strstr(error.text, "docs/barrier.md") != NULL, "and it says what to do");
	test_few_rights();
	pg_database_run(
		&base,
		"CREATE TABLE effect (gid text PRIMARY KEY);"
		"CREATE TABLE child (gid text REFERENCES effect DEFERRABLE INITIALLY DEFERRED);"
		"CREATE TABLE line (n serial, gid text, op text)");
}

int main(void)
{
	const char *why;

	if (!pg_database_make(&base, "libsaga", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return 0;
	}
	test_setup();
	test_truth_table();
	test_refusals();
	test_failures();
	test_again();
	test_deadline();
	test_sweep();
	test_check();
	test_races();
	pg_database_drop(&base);
	return tap_done();
}
