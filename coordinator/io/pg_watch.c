/* SPDX-License-Identifier: Apache-2.0
 * pg_watch.c - waits for the end of another replica's lease, in the way that suits that lease.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdio.h>
#include <string.h>

/*
 * First the lease is looked at. A lock is waited for, on a session of its own, since nothing else can be
 * asked of one that waits, and a new one each time: the end of the session is also the end of a wait that
 * nobody wants any more (client_connection_check_interval makes the server notice). A row cannot be waited
 * for: it is looked at now and then, whether it was let go. So are locks by those whose leases are rows, for
 * their pooler may not have a session to spare.
 */
enum { AWAY_AFTER_MS = 250, LOOK_MIN_MS = 100, LOOK_MAX_MS = 1000 };

struct look_job {
	struct pg_job job;
	uint64_t      number; /* of the watch that asked */
};

static void end_watch(struct pg_watch *w, enum log_result result, bool is_free)
{
	probe_done *done = w->done;

	w->is_on = false;
	pg_timer_stop(w->timer);
	pg_link_close(&w->link);
	done(w->arg, result, is_free, (struct lease_sight){ 0 });
}

/* Not at once: whoever watches will ask again, and a database that is away must not make that a loop. */
static void go_away(struct pg_watch *w)
{
	w->is_away = true;
	pg_timer_start(w->timer, AWAY_AFTER_MS);
}

/* ---- looking -------------------------------------------------------------------------- */

static uint32_t look_pause_ms(const struct pg *pg)
{
	uint32_t pause = pg->lease.ttl_ms / 8;

	if (pause < LOOK_MIN_MS)
		return LOOK_MIN_MS;
	return pause > LOOK_MAX_MS ? LOOK_MAX_MS : pause;
}

static void on_looked(struct pg_job *job)
{
	struct pg       *pg = job->conn->pg;
	struct pg_watch *w = &pg->watch;
	const PGresult  *r = job->results[0];
	bool             answered = job->result == LOG_DONE && PQntuples(r) == 1;

	if (!w->is_on || w->number != ((struct look_job *)job)->number) {
		pg_job_free(job);
		return;
	}
	bool is_row = answered && !cell_is_null(r, 0, 1);
	if (!answered)
		go_away(w);
	else if (cell_bool(r, 0, 0))
		end_watch(w, LOG_DONE, true);
	else if (is_row || pg->config.lease_mode == PG_LEASE_ROW)
		pg_timer_start(w->timer, look_pause_ms(pg));
	else
		pg_link_open(&w->link, "sagad watch");
	pg_job_free(job);
}

static void look(struct pg *pg)
{
	struct look_job *j = mem_alloc(sizeof *j);

	j->number = pg->watch.number;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = true;
	params_i64(pg_job_params(&j->job), pg->watch.key);
	pg_job_add(&j->job, SQL_PROBE);
	pg_job_send(&j->job, on_looked);
}

static void on_timer(void *arg)
{
	struct pg *pg = arg;

	if (pg->watch.is_away)
		end_watch(&pg->watch, LOG_AWAY, false);
	else
		look(pg);
}

/* ---- waiting --------------------------------------------------------------------------- */

static void on_up(void *arg)
{
	struct pg_watch *w = &((struct pg *)arg)->watch;
	char             sql[400];

	snprintf(sql, sizeof sql, SQL_WATCH_SESSION "; " SQL_WATCH, (long long)w->key);
	w->asked = PQsendQuery(w->link.db, sql) == 1;
	if (w->asked)
		pg_link_flush(&w->link);
	else
		go_away(w);
}

static void on_input(void *arg)
{
	struct pg_watch *w = &((struct pg *)arg)->watch;
	PGresult        *r;
	bool             failed = false;

	while (w->asked && !PQisBusy(w->link.db)) {
		if ((r = PQgetResult(w->link.db)) == NULL) {
			w->asked = false;
			break;
		}
		w->granted = PQresultStatus(r) == PGRES_TUPLES_OK;
		failed = failed || (!w->granted && PQresultStatus(r) != PGRES_COMMAND_OK);
		PQclear(r);
	}
	if (w->asked)
		return;
	if (w->granted && !failed)
		end_watch(w, LOG_DONE, true);
	else
		pg_link_break(&w->link, "the watch was refused");
}

static void on_down(void *arg, const char *why)
{
	struct pg       *pg = arg;
	struct pg_watch *w = &pg->watch;
	char             said[PG_SAID_MAX];

	pg_trace(pg, TRACE_DEBUG, "watch_broken", "error=\"%s\"", pg_said(why, said));
	if (w->is_on)
		go_away(w);
}

/* ---- the port ---------------------------------------------------------------------------- */

static void lease_unwatch(void *ctx)
{
	struct pg_watch *w = &((struct pg *)ctx)->watch;

	w->is_on = false;
	pg_timer_stop(w->timer);
	pg_link_close(&w->link);
}

static void lease_watch(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct pg       *pg = ctx;
	struct pg_watch *w = &pg->watch;

	lease_unwatch(ctx);
	w->number++;
	w->is_on = true;
	w->is_away = w->asked = w->granted = false;
	w->key = key;
	w->done = done;
	w->arg = arg;
	look(pg);
}

void pg_watch_verbs(struct lease_port *port)
{
	port->watch = lease_watch;
	port->unwatch = lease_unwatch;
}

void pg_watch_init(struct pg *pg)
{
	struct pg_watch *w = &pg->watch;

	pg_link_init(&w->link, &pg->handles, &pg->dsn);
	w->link.on_up = on_up;
	w->link.on_input = on_input;
	w->link.on_down = on_down;
	w->link.arg = pg;
	w->timer = pg_timer_open(&pg->handles, on_timer, pg);
}

void pg_watch_fini(struct pg *pg)
{
	lease_unwatch(pg);
	pg_link_fini(&pg->watch.link);
	pg_timer_close(pg->watch.timer);
}
