/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pg_conn.h"

#include "coordinator/base/mem.h"
#include "coordinator/io/clock.h"
#include "coordinator/io/pg_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 2000, SCOUTING_MS = 10 };
enum { REPLAN_FIRST_MS = 1000, REPLAN_MAX_MS = 3600 * 1000, REPLAN_FACTOR = 4 };
/* A commit waits no longer for a lock: somebody who left his transaction open holds up his rows, not the
 * batch. Whoever reloads a row of unknown fate waits on purpose, for the old session's lock. */
#define COMMIT_LOCK_MS "200"

#define X(name, connections, text) [SQL_##name] = { "s_" #name, text, connections },
static const struct {
	const char *name, *text;
	unsigned    connections;
} statements[STATEMENT_COUNT] = { STATEMENTS(X) };
#undef X

/* ---- what answers mean -------------------------------------------------------- */

enum log_result pg_state_result(const char state[6])
{
	if (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 || strcmp(state, "55P03") == 0 ||
	    strcmp(state, "23505") == 0)
		return LOG_AGAIN;
	/* Data exceptions, integrity, program limits, what triggers and policies of the owner of the database
	 * say, a damaged row: this row is at fault, not the server, and the others must not wait for it. */
	static const char rows_own[][3] = { "22", "23", "27", "38", "39", "44", "54", "P0" };
	for (size_t i = 0; i < sizeof rows_own / sizeof rows_own[0]; i++)
		if (strncmp(state, rows_own[i], 2) == 0)
			return LOG_BAD_DATA;
	if (strcmp(state, "XX001") == 0)
		return LOG_BAD_DATA;
	/* 53 resources, 57 intervention, 25006 read only, 42 somebody changed the schema, ... */
	return LOG_AWAY;
}

/* An error without SQLSTATE is libpq's own: the connection is gone and nobody knows how far the server
 * came. If the session died when every statement had been answered, which is in the commit, nobody knows either;
 * before that, the server said that it did not get there. */
static enum log_result job_verdict(const struct pg_job *j)
{
	bool died = j->fatal && (unsigned)j->failed_at >= j->sent;

	if (j->doubt)
		return LOG_LOST;
	if (j->failed_at < 0)
		return LOG_DONE;
	if (died || j->state[0] == '\0')
		return j->only_reads ? LOG_AWAY : LOG_LOST;
	return pg_state_result(j->state);
}

/* ---- jobs --------------------------------------------------------------------------- */

void pg_job_begin(struct pg_job *job, struct pg_conn *c)
{
	job->conn = c;
	job->failed_at = -1;
	job->result = LOG_DONE;
	list_init(&job->node);
	if (c->state != CONN_READY) {
		job->sealed = true;
		job->result = LOG_AWAY;
	}
}

struct pg_params *pg_job_params(struct pg_job *job)
{
	params_clear(&job->conn->params);
	return &job->conn->params;
}

void pg_job_add(struct pg_job *job, enum statement statement)
{
	struct pg_conn   *c = job->conn;
	struct pg_params *p = &c->params;

	if (job->sealed)
		return;
	assert(statements[statement].connections & c->statements);
	assert(job->sent < JOB_STATEMENTS_MAX);
	params_seal(p);
	if (PQsendQueryPrepared(c->link.db, statements[statement].name, p->n, p->values, p->lengths,
	                        p->formats, 1) != 1) {
		/* Without its Sync nothing of it can be committed. */
		job->sealed = true;
		job->result = LOG_AWAY;
		return;
	}
	c->pg->statements++;
	job->sent++;
}

void pg_job_send(struct pg_job *job, job_done *done)
{
	struct pg_conn *c = job->conn;

	job->done = done;
	job->sent_at = clock_boot_ms();
	if (job->sealed) {
		pg_later(c->pg, job);
		if (c->state == CONN_READY)
			pg_link_break(&c->link, PQerrorMessage(c->link.db));
		return;
	}
	job->sealed = true;
	list_push(&c->flight, &job->node);
	if (PQpipelineSync(c->link.db) != 1) {
		pg_link_break(&c->link, PQerrorMessage(c->link.db));
		return;
	}
	pg_link_flush(&c->link);
}

void pg_job_refuse(struct pg_job *job, enum log_result result, job_done *done)
{
	assert(job->sent == 0);
	job->done = done;
	job->result = result;
	pg_later(job->conn->pg, job);
}

void pg_job_free(struct pg_job *job)
{
	for (unsigned i = 0; i < JOB_STATEMENTS_MAX; i++)
		PQclear(job->results[i]);
	free(job);
}

/* ---- answers --------------------------------------------------------------------------- */

/* A bad cast (STAND, FENCE_LOCK, ...) or no answer to whether a row is young (INSERT_FRESH). */
static bool is_on_purpose(const char *state, const PGresult *r)
{
	const char *column = PQresultErrorField(r, PG_DIAG_COLUMN_NAME);

	return strcmp(state, "22P02") == 0 || (strcmp(state, "23502") == 0 && column != NULL && strcmp(column, "young") == 0);
}

static void note_error(struct pg_conn *c, struct pg_job *j, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	char        said[PG_SAID_MAX];

	if (j->failed_at >= 0)
		return;
	j->failed_at = (int)j->got;
	snprintf(j->state, sizeof j->state, "%s", state ? state : "");
	j->fatal = severity == NULL || strcmp(severity, "ERROR") != 0;
	/* Messages of class 22 and 23 may quote what was stored. */
	bool quotes = strncmp(j->state, "22", 2) == 0 || strncmp(j->state, "23", 2) == 0;
	j->fails_on_purpose = is_on_purpose(j->state, r);
	if (!j->fails_on_purpose)
		pg_trace(c->pg, TRACE_WARN, "statement_failed", "session=\"%s\" sqlstate=%s error=\"%s\"", c->name,
		         j->state[0] ? j->state : "none", pg_said(quotes ? NULL : text, said));
}

static void finish(struct pg_conn *c, struct pg_job *j)
{
	list_remove(&j->node);
	j->result = job_verdict(j);
	pg_later(c->pg, j);
}

static void take_result(struct pg_conn *c, PGresult *r)
{
	struct pg_job *j = list_entry(c->flight.next, struct pg_job, node);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_PIPELINE_SYNC) {
		PQclear(r);
		finish(c, j);
		return;
	}
	if (status == PGRES_FATAL_ERROR)
		note_error(c, j, r);
	if ((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && j->got < JOB_STATEMENTS_MAX)
		j->results[j->got] = r;
	else
		PQclear(r);
	j->got++;
}

/* Takes every answer that is complete. NULL only separates statements. */
static void on_link_input(void *arg)
{
	struct pg_conn *c = arg;
	struct pg      *pg = c->pg;
	uint64_t        life = c->link.life;
	int             nulls = 0;

	while (life == c->link.life && !list_is_empty(&c->flight) && !PQisBusy(c->link.db) && nulls < 3) {
		PGresult *r = PQgetResult(c->link.db);

		nulls = r == NULL ? nulls + 1 : 0;
		if (r != NULL) {
			c->heard_at = clock_boot_ms();
			take_result(c, r);
		}
	}
	if (life == c->link.life && list_is_empty(&c->flight))
		PQisBusy(c->link.db); /* reads notices and news of the session's end */
	pg_run_later(pg);
}

/* A synchronous standby did not confirm and somebody (a time-out, a person) ended the wait: committed
 * here, perhaps not there. The server says so in a warning and calls it success. */
static void on_notice(void *arg, const PGresult *r)
{
	struct pg_conn *c = arg;
	const char     *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char     *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (c->state != CONN_READY || list_is_empty(&c->flight) || state == NULL || severity == NULL)
		return;
	if (strcmp(severity, "WARNING") == 0 && (strcmp(state, "01000") == 0 || strcmp(state, "57P01") == 0)) {
		struct pg_job *j = list_entry(c->flight.next, struct pg_job, node);
		j->doubt = !j->only_reads;
	}
}

/* ---- the session's life ---------------------------------------------------------------------- */

static const char *setup_fault(const PGresult *r)
{
	if (r == NULL || PQntuples(r) != 1)
		return "the server did not answer as PostgreSQL does";
	if (cell_bool(r, 0, 0))
		return "this server is a standby in recovery: name the primary in the DSN";
	if (!str_is(cell_text(r, 0, 1), "UTF8"))
		return "the database's encoding must be UTF8: create it with ENCODING 'UTF8'";
	if (cell_i32(r, 0, 2) < SERVER_VERSION_MIN)
		return "the server is older than PostgreSQL 14";
	if (cell_bool(r, 0, 5))
		return "the database is read-only";
	return NULL;
}

/* Often enough to see in time that an answer is overdue. */
static void look_soon(struct pg_conn *c)
{
	uint32_t pause = pg_patience_ms(c->pg) / 20;

	pg_timer_start(c->timer, pause < 1000 ? pause : 1000);
}

static void on_setup(struct pg_job *j)
{
	struct pg_conn *c = j->conn;
	struct pg      *pg = c->pg;
	const char     *fault = NULL;
	char            text[96];

	if (c->state != CONN_SETUP) {
		pg_job_free(j);
		return;
	}
	if (j->result != LOG_DONE) {
		snprintf(text, sizeof text, "the session could not be set up (SQLSTATE %s%s)", j->state,
		         strncmp(j->state, "42P01", 5) == 0 || strncmp(j->state, "3F000", 5) == 0
		                 ? ": run sagad migrate" : "");
		fault = text;
	} else {
		fault = setup_fault(j->results[1]);
	}
	int32_t timeline = fault == NULL ? cell_i32(j->results[1], 0, 6) : 0;
	if (fault == NULL && (fault = pg_timeline_meet(pg, timeline)) != NULL)
		c->link.turn++; /* the next host */
	if (fault == NULL) {
		clock_heard(pg->config.clock, cell_i64(j->results[1], 0, 3), j->sent_at, clock_boot_ms());
		pg->unsafe_standby = cell_bool(j->results[1], 0, 4);
	}
	pg_job_free(j);
	if (fault != NULL) {
		pg_link_break(&c->link, fault);
		return;
	}
	c->state = CONN_READY;
	c->timeline = timeline;
	c->backoff_ms = 0;
	c->replan_ms = REPLAN_FIRST_MS;
	c->replan_at = clock_boot_ms() + c->replan_ms;
	pg->connects++;
	look_soon(c);
	pg_conn_changed(pg);
}

/* Results 0 and 1 are the settings and the server's answers; a failed Parse fails the job. */
static void on_link_up(void *arg)
{
	struct pg_conn *c = arg;
	PGconn         *db = c->link.db;
	struct pg_job  *j = mem_alloc(sizeof *j);
	char            timeout[16];
	const char     *values[2] = { timeout, c->statements & ON_LOG ? COMMIT_LOCK_MS : "0" };

	PQsetNoticeReceiver(db, on_notice, c);
	snprintf(timeout, sizeof timeout, "%u", c->pg->config.statement_timeout_ms);
	c->state = CONN_SETUP;
	look_soon(c);
	j->conn = c;
	j->failed_at = -1;
	j->only_reads = true;
	j->done = on_setup;
	j->sent_at = clock_boot_ms();
	bool sent = PQenterPipelineMode(db) == 1 &&
		PQsendQueryParams(db, SQL_SESSION, 2, NULL, values, NULL, NULL, 1) == 1 &&
		PQsendQueryParams(db, SQL_SERVER, 0, NULL, NULL, NULL, NULL, 1) == 1;
	for (int i = 0; sent && i < STATEMENT_COUNT; i++)
		if (statements[i].connections & c->statements)
			sent = PQsendPrepare(db, statements[i].name, statements[i].text, 0, NULL) == 1;
	list_push(&c->flight, &j->node);
	if (!sent || PQpipelineSync(db) != 1) {
		pg_link_break(&c->link, "the session could not be set up");
		return;
	}
	pg_link_flush(&c->link);
}

static void on_link_down(void *arg, const char *why)
{
	struct pg_conn *c = arg;
	struct pg      *pg = c->pg;
	char            said[PG_SAID_MAX];
	struct list    *node;
	uint32_t        random = (uint32_t)(uv_hrtime() >> 10);

	while ((node = list_pop(&c->flight)) != NULL) {
		struct pg_job *j = list_entry(node, struct pg_job, node);

		if (j->failed_at >= 0)
			j->result = job_verdict(j);
		else
			j->result = j->only_reads ? LOG_AWAY : LOG_LOST;
		pg_later(pg, j);
	}
	if (c->state == CONN_READY)
		pg->breaks++;
	c->state = CONN_DOWN;
	c->timeline = 0;
	snprintf(pg->last_error, sizeof pg->last_error, "%s", why);
	pg_trace(pg, TRACE_WARN, "session_broken", "session=\"%s\" error=\"%s\"", c->name, pg_said(why, said));
	/* The first try at once would meet the same fault; jitter keeps replicas apart. */
	c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_MIN_MS : c->backoff_ms * 2;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
	pg_timer_start(c->timer, c->backoff_ms / 2 + random % (c->backoff_ms / 2 + 1));
	pg_conn_changed(pg);
}

/* statement_timeout ends what the server works on; this, a server that is gone without a word. A job may have
 * waited long behind others that were answered. */
static bool is_silent(const struct pg_conn *c)
{
	const struct pg_job *oldest = list_entry(c->flight.next, struct pg_job, node);
	int64_t              since;

	if (list_is_empty(&c->flight))
		return false;
	since = oldest->sent_at > c->heard_at ? oldest->sent_at : c->heard_at;
	return clock_boot_ms() - since > pg_patience_ms(c->pg);
}

/*
 * A plan is made once a session, perhaps while the table was empty: then reading it whole is as good as any other
 * way, and would remain so until the server next looks at the table, a minute or, without autovacuum, for ever.
 * So plans are made anew while the session is young, ever more seldom.
 */
static void replan(struct pg_conn *c)
{
	struct pg_job *j;

	if (clock_boot_ms() < c->replan_at)
		return;
	c->replan_ms = c->replan_ms > REPLAN_MAX_MS / REPLAN_FACTOR ? REPLAN_MAX_MS : c->replan_ms * REPLAN_FACTOR;
	c->replan_at = clock_boot_ms() + c->replan_ms;
	j = mem_alloc(sizeof *j);
	pg_job_begin(j, c);
	j->only_reads = true;
	if (PQsendQueryParams(c->link.db, SQL_REPLAN, 0, NULL, NULL, NULL, NULL, 1) == 1)
		j->sent++;
	else
		j->sealed = true;
	pg_job_send(j, pg_job_free);
}

static void on_timer(void *arg)
{
	struct pg_conn *c = arg;

	if (c->state == CONN_DOWN && pg_scout_is_first(c->pg)) {
		pg_timer_start(c->timer, SCOUTING_MS);
		return;
	}
	if (c->state == CONN_DOWN) {
		c->state = CONN_CONNECTING;
		pg_link_open(&c->link, c->name);
		return;
	}
	if (is_silent(c)) {
		pg_link_break(&c->link, "no answer");
		return;
	}
	look_soon(c);
	if (c->state == CONN_READY)
		replan(c);
}

void pg_conn_open(struct pg_conn *c, struct pg *pg, const char *name, unsigned connections)
{
	c->pg = pg;
	c->name = name;
	c->statements = connections;
	list_init(&c->flight);
	pg_link_init(&c->link, &pg->handles, &pg->dsn);
	c->link.on_up = on_link_up;
	c->link.on_input = on_link_input;
	c->link.on_down = on_link_down;
	c->link.arg = c;
	c->timer = pg_timer_open(&pg->handles, on_timer, c);
	pg_timer_start(c->timer, 0);
}

void pg_conn_close(struct pg_conn *c)
{
	struct list *node;

	pg_link_fini(&c->link);
	pg_timer_close(c->timer);
	while ((node = list_pop(&c->flight)) != NULL)
		pg_job_free(list_entry(node, struct pg_job, node));
	params_fini(&c->params);
	c->state = CONN_DOWN;
}
