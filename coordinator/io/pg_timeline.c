/* SPDX-License-Identifier: Apache-2.0
 * pg_timeline.c - failovers: a server on a timeline that nobody has met before was promoted.
 *
 * A server behind the newest timeline we know of was replaced, whatever it believes itself: no session stays
 * there. What was unfinished at a failover is marked by its times alone: no row is written.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

enum { LOOK_EVERY_MS = 5000 };

/* ---- a server says on which timeline it is ------------------------------------------- */

static void leave(struct pg_conn *c, int32_t timeline)
{
	if (c->timeline != 0 && c->timeline < timeline)
		pg_link_break(&c->link, "another server was promoted");
}

/* Before any answer of the new server: what is known from the old one may be more than it holds. */
static void failed_over(struct pg *pg, int32_t timeline)
{
	pg_trace(pg, TRACE_WARN, "failover_met", "timeline=%d before=%d", timeline, pg->timeline);
	pg->timeline = pg->told = timeline;
	if (pg->config.on_failover != NULL)
		pg->config.on_failover(pg->config.ctx, 0, true);
	leave(&pg->log, timeline);
	leave(&pg->work, timeline);
	leave(&pg->store, timeline);
	if (pg->lease.timeline != 0 && pg->lease.timeline < timeline && pg->lease.link.db != NULL)
		pg_link_break(&pg->lease.link, "another server was promoted");
	if (pg->watch.is_on && pg->watch.link.db != NULL)
		pg_link_break(&pg->watch.link, "another server was promoted");
}

const char *pg_timeline_meet(struct pg *pg, int32_t timeline)
{
	if (timeline == 0 || timeline == pg->timeline)
		return NULL;
	if (timeline < pg->timeline)
		return "this server was replaced by a failover: another one is on a newer timeline";
	if (pg->timeline == 0)
		pg->timeline = timeline;
	else
		failed_over(pg, timeline);
	return NULL;
}

/* ---- what replicas have met ----------------------------------------------------------- */

static void note_unsafe(struct pg *pg, bool unsafe)
{
	if (unsafe && !pg->unsafe_standby)
		pg_trace(pg, TRACE_WARN, "unsafe_standby",
		         "advice=\"a failover can lose decisions: set synchronous_standby_names\"");
	pg->unsafe_standby = unsafe;
}

/* We came when it was over, or were the first to see it: others may still bring back what it lost. */
static void tell_late(struct pg *pg)
{
	if (pg->failover_n == 0 || pg->told == pg->timeline)
		return;
	pg->told = pg->timeline;
	int64_t ago = clock_now_ms(pg->config.clock) - pg->failovers[0];
	if (pg->config.on_failover != NULL)
		pg->config.on_failover(pg->config.ctx, ago > 0 ? ago : 0, false);
}

static void take_list(struct pg *pg, const PGresult *list)
{
	pg->failover_n = 0;
	pg->failover_unfinished = PQntuples(list) > 0 ? cell_i64(list, 0, 1) : 0;
	for (int i = 0; i < PQntuples(list) && pg->failover_n < FAILOVERS_MAX; i++)
		pg->failovers[pg->failover_n++] = cell_time(list, i, 0);
}

static void on_looked(struct pg_job *job)
{
	struct pg      *pg = job->conn->pg;
	const bool      is_note = job->sent == 3; /* and not only the two behind it */
	const PGresult *note = is_note ? job->results[0] : NULL, *list = job->results[is_note];
	const PGresult *standbys = job->results[is_note + 1];

	if (job->result == LOG_DONE) { /* else it is all asked again */
		pg->is_noted = true;
		if (note != NULL && PQntuples(note) > 0 && cell_bool(note, 0, 1))
			pg_trace(pg, TRACE_WARN, "failover", "timeline=%d unfinished=%lld advice=\"without a "
			         "synchronous standby their last commits may be lost: see attention of each\"",
			         cell_i32(note, 0, 0), (long long)cell_i64(note, 0, 2));
		take_list(pg, list);
		note_unsafe(pg, cell_bool(standbys, 0, 0));
		tell_late(pg);
	}
	pg_job_free(job);
}

/* A session stays on its timeline, so that is noted once. */
static void look(struct pg *pg)
{
	struct pg_job *job = mem_alloc(sizeof *job);

	pg_job_begin(job, &pg->work);
	if (!pg->is_noted) {
		pg_job_params(job);
		pg_job_add(job, SQL_TIMELINE_NOTE);
	}
	params_i32(pg_job_params(job), FAILOVERS_MAX);
	pg_job_add(job, SQL_TIMELINE_READ);
	pg_job_params(job);
	pg_job_add(job, SQL_STANDBYS);
	pg_job_send(job, on_looked);
}

void pg_timeline_look(struct pg *pg)
{
	pg->is_noted = false;
	look(pg);
}

int64_t pg_timeline_failover_at(void *ctx, int64_t created_at, int64_t ended_at)
{
	const struct pg *pg = ctx;

	for (size_t i = 0; i < pg->failover_n; i++)
		if (created_at < pg->failovers[i] && (ended_at == 0 || ended_at >= pg->failovers[i]))
			return pg->failovers[i];
	return 0;
}

/* ---- now and then --------------------------------------------------------------------- */

/* A standby may be added, and another replica may have met a failover, while our sessions live on. */
static void on_timer(void *arg)
{
	struct pg *pg = arg;

	if (pg->work.state == CONN_READY)
		look(pg);
	pg_timer_start(pg->timeline_timer, LOOK_EVERY_MS);
}

void pg_timeline_init(struct pg *pg)
{
	pg->timeline_timer = pg_timer_open(&pg->handles, on_timer, pg);
	pg_timer_start(pg->timeline_timer, LOOK_EVERY_MS);
}

void pg_timeline_fini(struct pg *pg)
{
	pg_timer_close(pg->timeline_timer);
}
