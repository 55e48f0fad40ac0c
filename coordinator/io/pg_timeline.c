/* SPDX-License-Identifier: Apache-2.0
 * pg_timeline.c - failovers: a server on a timeline that nobody has met before was promoted.
 *
 * What was unfinished at that moment is marked by its times alone: no row is written.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

static void on_looked(struct pg_job *job)
{
	struct pg      *pg = job->conn->pg;
	const PGresult *note = job->results[0], *list = job->results[1];

	if (job->result != LOG_DONE) { /* the next connect looks again */
		pg_job_free(job);
		return;
	}
	if (PQntuples(note) > 0 && cell_bool(note, 0, 1))
		pg_trace(pg, TRACE_WARN, "failover", "timeline=%d unfinished=%lld advice=\"without a synchronous "
		         "standby their last commits may be lost: see attention of each\"",
		         cell_i32(note, 0, 0), (long long)cell_i64(note, 0, 2));
	pg->failover_n = 0;
	for (int i = 0; i < PQntuples(list) && pg->failover_n < FAILOVERS_MAX; i++)
		pg->failovers[pg->failover_n++] = cell_time(list, i, 0);
	pg_job_free(job);
}

void pg_timeline_look(struct pg *pg)
{
	struct pg_job *job = mem_alloc(sizeof *job);

	pg_job_begin(job, &pg->work);
	pg_job_params(job);
	pg_job_add(job, SQL_TIMELINE_NOTE);
	params_i32(pg_job_params(job), FAILOVERS_MAX);
	pg_job_add(job, SQL_TIMELINE_READ);
	pg_job_send(job, on_looked);
}

int64_t pg_timeline_failover_at(void *ctx, int64_t created_at, int64_t ended_at)
{
	const struct pg *pg = ctx;

	for (size_t i = 0; i < pg->failover_n; i++)
		if (created_at < pg->failovers[i] && (ended_at == 0 || ended_at >= pg->failovers[i]))
			return pg->failovers[i];
	return 0;
}
