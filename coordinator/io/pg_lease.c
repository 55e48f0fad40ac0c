/* SPDX-License-Identifier: Apache-2.0
 * pg_lease.c - our own lease, a lock of its session or a row that each beat writes; and probes of others.
 */
#include "coordinator/base/digest.h"
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opening a lock goes SESSION -> TAKE -> PROOF -> held, or TAKE -> CLEAR -> taken. Three round trips, since
 * a pooler in transaction mode may change the backend between any two of them. A row cannot be taken by
 * others: ROW_SESSION -> ROW_OPEN -> held. */
enum lease_step { STEP_SESSION, STEP_TAKE, STEP_CLEAR, STEP_PROOF, STEP_ROW_SESSION, STEP_ROW_OPEN };

static bool is_row(const struct pg_lease *l)
{
	const struct pg *pg = l->link.arg;

	return pg->config.lease_mode == PG_LEASE_ROW;
}

/* ---- how an open ends -------------------------------------------------------------- */

static void end_open(struct pg_lease *l, enum lease_result result, const struct err *err)
{
	lease_done *done = l->done;

	l->done = NULL;
	if (result != LEASE_HELD) {
		pg_timer_stop(l->timer);
		pg_link_close(&l->link);
		l->state = LEASE_CLOSED;
		l->timeline = 0;
	} else {
		l->state = LEASE_OPEN;
	}
	done(l->arg, result, err);
}

static void refuse(struct pg_lease *l, const char *what)
{
	struct err err;

	err_set(&err, ERR_REFUSED, "%s", what);
	end_open(l, LEASE_REFUSED, &err);
}

/* ---- statements ----------------------------------------------------------------------- */

static bool ask(struct pg_lease *l, const char *sql)
{
	l->beat_at = clock_boot_ms();
	if (PQsendQuery(l->link.db, sql) != 1)
		return false;
	pg_link_flush(&l->link);
	pg_timer_start(l->timer, l->ttl_ms);
	return true;
}

static void ask_step(struct pg_lease *l, enum lease_step step)
{
	char      sql[1024];
	long long key = (long long)l->key;

	l->step = step;
	switch (step) {
	case STEP_SESSION:
		/* A statement that hangs must not add to the time until the lock is free. */
		snprintf(sql, sizeof sql, SQL_LEASE_SESSION, l->ttl_ms / 2, l->ttl_ms, l->ttl_ms);
		break;
	case STEP_TAKE:
		snprintf(sql, sizeof sql, SQL_LEASE_TAKE, key);
		break;
	case STEP_CLEAR:
		snprintf(sql, sizeof sql, SQL_LEASE_CLEAR, l->name);
		break;
	case STEP_PROOF:
		snprintf(sql, sizeof sql, SQL_LEASE_PROOF, key, key);
		break;
	case STEP_ROW_SESSION:
		snprintf(sql, sizeof sql, SQL_LEASE_ROW_SESSION, l->ttl_ms / 2, l->ttl_ms);
		break;
	case STEP_ROW_OPEN:
		snprintf(sql, sizeof sql, SQL_LEASE_ROW_OPEN, key, (long long)l->session, l->ttl_ms);
		break;
	}
	if (!ask(l, sql))
		pg_timer_start(l->timer, 0);
}

static bool is_true(const PGresult *r, int column)
{
	return strcmp(PQgetvalue(r, 0, column), "t") == 0;
}

/* libpq is told the number of whoever answered the connect: a pooler's is not the backend's. */
static bool is_same_backend(struct pg_lease *l, const PGresult *r, int column)
{
	return atoi(PQgetvalue(r, 0, column)) == PQbackendPID(l->link.db);
}

static const char a_pooler[] =
	"a connection pooler answers instead of PostgreSQL; the lease is a lock of one session: "
	"name the database server itself in the DSN, or run every replica with lease.mode=row";

/* A lease on a server that was replaced counts for nothing; then the next host is tried. */
static bool is_newest_server(struct pg_lease *l, const char *timeline)
{
	int32_t     number = (int32_t)strtol(timeline, NULL, 10);
	uint64_t    life = l->link.life;
	const char *fault = pg_timeline_meet(l->link.arg, number);

	if (life != l->link.life) /* it was news: whoever heard it wants the lease anew */
		return false;
	if (fault == NULL) {
		l->timeline = number;
		return true;
	}
	l->link.turn++;
	pg_link_break(&l->link, fault);
	return false;
}

static void on_take(struct pg_lease *l, const PGresult *r)
{
	if (!is_same_backend(l, r, 0)) {
		refuse(l, a_pooler);
	} else if ((uint32_t)atoi(PQgetvalue(r, 0, 1)) != l->ttl_ms) {
		refuse(l, "idle_session_timeout cannot be set for this session; let the role set it, without a pooler");
	} else if (is_true(r, 2)) {
		refuse(l, "this server is a standby, whose locks mean nothing; name the primary in the DSN");
	} else if (is_newest_server(l, PQgetvalue(r, 0, 4))) {
		ask_step(l, is_true(r, 3) ? STEP_PROOF : STEP_CLEAR);
	}
}

static void hold(struct pg_lease *l, const char *server_ms)
{
	clock_heard(((struct pg *)l->link.arg)->config.clock, strtoll(server_ms, NULL, 10), l->beat_at,
	            clock_boot_ms());
	pg_timer_stop(l->timer);
	end_open(l, LEASE_HELD, NULL);
}

static void on_step(struct pg_lease *l, const PGresult *r)
{
	struct err err;
	bool       good = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1;

	if (l->step == STEP_CLEAR) {
		err_set(&err, ERR_CONFLICT, "another session holds the lock of this incarnation");
		end_open(l, LEASE_TAKEN, &err);
	} else if (!good) {
		const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

		if (state != NULL && strcmp(state, "42704") == 0)
			refuse(l, "the server has no idle_session_timeout: PostgreSQL 14 or newer is needed");
		else
			pg_link_break(&l->link, PQresultErrorMessage(r));
	} else if (l->step == STEP_SESSION) {
		if (is_same_backend(l, r, 3))
			ask_step(l, STEP_TAKE);
		else
			refuse(l, a_pooler);
	} else if (l->step == STEP_TAKE) {
		on_take(l, r);
	} else if (l->step == STEP_ROW_SESSION) {
		if (is_newest_server(l, PQgetvalue(r, 0, 7)))
			ask_step(l, STEP_ROW_OPEN);
	} else if (l->step == STEP_ROW_OPEN) {
		hold(l, PQgetvalue(r, 0, 0));
	} else if (!is_same_backend(l, r, 0) || !is_true(r, 1)) {
		refuse(l, "the lock is not in pg_locks: advisory locks do not work as in PostgreSQL here; "
		       "run every replica with lease.mode=row");
	} else {
		l->server_started = strtoll(PQgetvalue(r, 0, 3), NULL, 10);
		hold(l, PQgetvalue(r, 0, 2));
	}
}

/* ---- beats -------------------------------------------------------------------------------- */

static void send_beat(struct pg_lease *l)
{
	char sql[400];

	if (l->beat_n == 0 || l->beat_sent)
		return;
	l->beat_sent = true;
	if (is_row(l))
		snprintf(sql, sizeof sql, SQL_LEASE_ROW_BEAT, (long long)l->key, (long long)l->session);
	else
		snprintf(sql, sizeof sql, SQL_LEASE_BEAT);
	if (!ask(l, sql))
		pg_timer_start(l->timer, 0);
}

static void end_beat(struct pg_lease *l, enum lease_result result)
{
	lease_done *done = l->beats[0].done;
	void       *arg = l->beats[0].arg;

	l->beat_n--;
	memmove(l->beats, l->beats + 1, l->beat_n * sizeof l->beats[0]);
	done(arg, result, NULL);
}

static void on_beat(struct pg_lease *l, const PGresult *r)
{
	struct pg *pg = l->link.arg;
	uint64_t   life = l->link.life;

	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1) {
		bool over = PQresultStatus(r) == PGRES_TUPLES_OK;
		pg_link_break(&l->link, over ? "the lease was over before this beat came" : PQresultErrorMessage(r));
		return;
	}
	clock_heard(pg->config.clock, strtoll(PQgetvalue(r, 0, 0), NULL, 10), l->beat_at, clock_boot_ms());
	pg_timer_stop(l->timer);
	l->beat_sent = false;
	end_beat(l, LEASE_HELD);
	if (life == l->link.life)
		send_beat(l);
}

/* ---- the session ------------------------------------------------------------------------------ */

static void on_up(void *arg)
{
	struct pg_lease *l = &((struct pg *)arg)->lease;

	ask_step(l, is_row(l) ? STEP_ROW_SESSION : STEP_SESSION);
}

static void on_input(void *arg)
{
	struct pg_lease *l = &((struct pg *)arg)->lease;
	uint64_t         life = l->link.life;
	bool             asked = l->state == LEASE_OPENING || l->beat_sent;

	while (asked && life == l->link.life && !PQisBusy(l->link.db)) {
		PGresult *r = PQgetResult(l->link.db);

		if (r == NULL)
			break;
		/* The NULL that ends this statement has come with it: take it before the next is sent. */
		while (!PQisBusy(l->link.db)) {
			PGresult *end = PQgetResult(l->link.db);
			if (end == NULL)
				break;
			PQclear(end);
		}
		if (l->state == LEASE_OPENING)
			on_step(l, r);
		else
			on_beat(l, r);
		PQclear(r);
	}
}

static void on_down(void *arg, const char *why)
{
	struct pg       *pg = arg;
	struct pg_lease *l = &pg->lease;
	char             said[PG_SAID_MAX];
	bool             was_open = l->state == LEASE_OPEN;
	unsigned         n = l->beat_n;
	struct err       err;

	pg_timer_stop(l->timer);
	l->state = LEASE_CLOSED;
	l->timeline = 0;
	l->beat_sent = false;
	pg_trace(pg, TRACE_WARN, "lease_broken", "error=\"%s\"", pg_said(why, said));
	err_set(&err, ERR_UNAVAILABLE, "%s", why);
	if (l->done != NULL) {
		lease_done *done = l->done;
		l->done = NULL;
		done(l->arg, LEASE_LOST, &err);
		return;
	}
	uint64_t life = l->link.life;
	while (n-- > 0 && life == l->link.life && l->beat_n > 0)
		end_beat(l, LEASE_LOST);
	if (was_open && life == l->link.life && pg->config.on_lease_lost != NULL)
		pg->config.on_lease_lost(pg->config.ctx);
}

static void on_timer(void *arg)
{
	struct pg_lease *l = &((struct pg *)arg)->lease;

	pg_link_break(&l->link, "no answer");
}

/* ---- the port ------------------------------------------------------------------------------------ */

/* By another session, since this one may be waiting for the answer to a beat. If it gets lost, the row
 * ends by itself. */
static void free_row(struct pg *pg)
{
	struct pg_job    *j = mem_alloc(sizeof *j);
	struct pg_params *p;

	pg_job_begin(j, &pg->work);
	p = pg_job_params(j);
	params_i64(p, pg->lease.key);
	params_i64(p, pg->lease.session);
	pg_job_add(j, SQL_LEASE_FREE);
	pg_job_send(j, pg_job_free);
}

static void lease_close(void *ctx)
{
	struct pg       *pg = ctx;
	struct pg_lease *l = &pg->lease;

	if (l->state == LEASE_OPEN && is_row(l))
		free_row(pg);
	pg_timer_stop(l->timer);
	pg_link_close(&l->link);
	l->state = LEASE_CLOSED;
	l->timeline = 0;
	l->done = NULL;
	l->beat_n = 0;
	l->beat_sent = false;
}

static void lease_open(void *ctx, int64_t key, uint32_t ttl_ms, lease_done *done, void *arg)
{
	struct pg_lease *l = &((struct pg *)ctx)->lease;

	lease_close(ctx);
	l->key = key;
	l->ttl_ms = ttl_ms;
	digest_random(&l->session, sizeof l->session);
	l->done = done;
	l->arg = arg;
	l->state = LEASE_OPENING;
	snprintf(l->name, sizeof l->name, "sagad lease %016llx", (unsigned long long)key);
	pg_link_open(&l->link, l->name);
}

/* A beat of a lease that is not held, and a probe: both end as jobs do. */
struct lease_job {
	struct pg_job job;
	lease_done   *beat_done;
	probe_done   *probe_done;
	void         *arg;
};

static struct lease_job *open_job(struct pg *pg, void *arg)
{
	struct lease_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = true;
	return j;
}

static void on_late_beat(struct pg_job *job)
{
	struct lease_job *j = (struct lease_job *)job;

	j->beat_done(j->arg, LEASE_LOST, NULL);
	pg_job_free(job);
}

static void lease_beat(void *ctx, lease_done *done, void *arg)
{
	struct pg       *pg = ctx;
	struct pg_lease *l = &pg->lease;

	if (l->state != LEASE_OPEN || l->beat_n == BEATS_MAX) {
		struct lease_job *j = open_job(pg, arg);

		j->beat_done = done;
		pg_job_refuse(&j->job, LOG_AWAY, on_late_beat);
		return;
	}
	l->beats[l->beat_n].done = done;
	l->beats[l->beat_n].arg = arg;
	l->beat_n++;
	send_beat(l);
}

static void on_probe(struct pg_job *job)
{
	struct lease_job *j = (struct lease_job *)job;
	bool              answered = job->result == LOG_DONE && PQntuples(job->results[0]) == 1;

	j->probe_done(j->arg, job->result, answered && cell_bool(job->results[0], 0, 0),
	              answered ? cell_sight(job->results[0], 0, 1) : (struct lease_sight){ 0 });
	pg_job_free(job);
}

static void lease_probe(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct lease_job *j = open_job(ctx, arg);

	j->probe_done = done;
	params_i64(pg_job_params(&j->job), key);
	pg_job_add(&j->job, SQL_PROBE);
	pg_job_send(&j->job, on_probe);
}

void pg_lease_port(struct pg *pg, struct lease_port *port)
{
	*port = (struct lease_port){
		.ctx = pg,
		.open = lease_open,
		.beat = lease_beat,
		.close = lease_close,
		.probe = lease_probe,
	};
	pg_watch_verbs(port);
}

void pg_lease_init(struct pg *pg)
{
	struct pg_lease *l = &pg->lease;

	pg_link_init(&l->link, &pg->handles, &pg->dsn);
	l->link.on_up = on_up;
	l->link.on_input = on_input;
	l->link.on_down = on_down;
	l->link.arg = pg;
	l->timer = pg_timer_open(&pg->handles, on_timer, pg);
}

void pg_lease_fini(struct pg *pg)
{
	lease_close(pg);
	pg_link_fini(&pg->lease.link);
	pg_timer_close(pg->lease.timer);
}
