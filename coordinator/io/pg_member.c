/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>
#include <string.h>

enum { REPORT_SAME_MS = 6000 };

struct member_job {
	struct pg_job job;
	log_done     *done;
	members_done *members_done;
	void         *arg;
	int           right; /* of a fence: statements before it that ask whether we may */
};

static struct member_job *open_job(struct pg *pg, bool only_reads, log_done *done, void *arg)
{
	struct member_job *j = mem_alloc(sizeof *j);

	j->done = done;
	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = only_reads;
	return j;
}

static void on_plain(struct pg_job *job)
{
	struct member_job *j = (struct member_job *)job;

	j->done(j->arg, job->result);
	pg_job_free(job);
}

/* ---- our own row ------------------------------------------------------------------ */

static void on_enrolled(struct pg_job *job)
{
	struct member_job *j = (struct member_job *)job;
	enum log_result    result = job->result;

	/* The id is not live: nothing was written or read, nothing came back. */
	if (result == LOG_DONE && PQntuples(job->results[0]) == 0)
		result = LOG_FENCED;
	j->done(j->arg, result);
	pg_job_free(job);
}

static void add_report(struct pg_job *job, struct uuid me, double speed, double load)
{
	struct pg_params *p = pg_job_params(job);

	params_uuid(p, me);
	params_f64(p, speed);
	params_f64(p, load);
	pg_job_add(job, SQL_REPORT);
}

static void log_enroll(void *ctx, const struct member *me, log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);
	struct pg_params  *p = pg_job_params(&j->job);

	params_uuid(p, me->id);
	params_i64(p, me->lock_key);
	params_i32(p, (int32_t)me->weight);
	params_text(p, me->address);
	pg_job_add(&j->job, SQL_ENROLL);
	add_report(&j->job, me->id, me->speed, me->load);
	pg_job_send(&j->job, on_enrolled);
}

static void log_still_live(void *ctx, struct uuid me, log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);

	params_uuid(pg_job_params(&j->job), me);
	pg_job_add(&j->job, SQL_STILL_LIVE);
	pg_job_send(&j->job, on_enrolled);
}

static bool is_near(double a, double b, double by)
{
	return a - b < by && b - a < by;
}

/* Each report is a commit: an idle replica says only now and then that it is still idle. */
static bool is_told(const struct pg_told *t, struct uuid me, double speed, double load)
{
	return t->at != 0 && uuid_eq(t->me, me) && clock_boot_ms() - t->at < REPORT_SAME_MS &&
	       is_near(t->load, load, 0.01) && is_near(t->speed, speed, 0.01 * speed);
}

static void on_reported(struct pg_job *job)
{
	if (job->result != LOG_DONE)
		job->conn->pg->reported.at = 0;
	on_plain(job);
}

static void log_report(void *ctx, struct uuid me, double speed, double load, log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);
	struct pg_told    *told = &((struct pg *)ctx)->reported;

	if (is_told(told, me, speed, load)) {
		pg_job_refuse(&j->job, LOG_DONE, on_plain);
	} else {
		*told = (struct pg_told){ .me = me, .speed = speed, .load = load, .at = clock_boot_ms() };
		add_report(&j->job, me, speed, load);
		pg_job_send(&j->job, on_reported);
	}
	pg_nursery_tick(ctx, me);
}

static void log_retire(void *ctx, struct uuid me, log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);

	params_uuid(pg_job_params(&j->job), me);
	pg_job_add(&j->job, SQL_RETIRE);
	pg_job_send(&j->job, on_plain);
}

/* ---- the others ---------------------------------------------------------------------- */

static bool state_of(struct str text, enum member_state *out)
{
	static const struct {
		const char       *text;
		enum member_state state;
	} states[] = { { "live", MEMBER_LIVE }, { "drained", MEMBER_DRAINED }, { "fenced", MEMBER_FENCED } };

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (str_is(text, states[i].text)) {
			*out = states[i].state;
			return true;
		}
	return false;
}

static int64_t dead_since(const struct pg *pg, struct uuid id)
{
	for (size_t i = 0; i < pg->grave_n; i++)
		if (uuid_eq(pg->graves[i].id, id))
			return pg->graves[i].seen_at;
	return clock_boot_ms();
}

/* How long somebody has been dead the database's clock need not know: it may be set. */
static void keep_graves(struct pg *pg, const struct member *members, size_t n)
{
	struct pg_grave *graves = mem_array(n, sizeof *graves);
	size_t           dead = 0;

	for (size_t i = 0; i < n; i++)
		if (members[i].state != MEMBER_LIVE)
			graves[dead++] = (struct pg_grave){ members[i].id, dead_since(pg, members[i].id) };
	free(pg->graves);
	pg->graves = graves;
	pg->grave_n = dead;
}

static void on_members(struct pg_job *job)
{
	struct member_job *j = (struct member_job *)job;
	PGresult          *r = job->results[0];
	int                total = job->result == LOG_DONE && r != NULL ? PQntuples(r) : 0;
	struct member     *members = mem_array((size_t)total, sizeof *members);
	size_t             n = 0;

	for (int i = 0; i < total; i++) {
		struct member *m = &members[n];

		*m = (struct member){
			.id = cell_uuid(r, i, 0),
			.lock_key = cell_i64(r, i, 1),
			.address = cell_text(r, i, 3),
			.weight = (uint32_t)cell_i32(r, i, 4),
			.speed = cell_f64(r, i, 5),
			.load = cell_f64(r, i, 6),
			.started_at = cell_time(r, i, 7),
			.seen_at = cell_time(r, i, 8),
			.fenced_by = cell_uuid(r, i, 9),
			.owns = cell_bool(r, i, 10),
			.rows = (uint32_t)cell_i32(r, i, 11),
			.lease = cell_sight(r, i, 12),
		};
		if (state_of(cell_text(r, i, 2), &m->state))
			n++;
	}
	if (job->result == LOG_DONE)
		keep_graves(job->conn->pg, members, n);
	j->members_done(j->arg, job->result, members, n);
	free(members);
	pg_job_free(job);
}

static void log_members(void *ctx, members_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, true, NULL, arg);

	j->members_done = done;
	pg_job_params(&j->job);
	pg_job_add(&j->job, SQL_MEMBERS);
	pg_job_send(&j->job, on_members);
}

static void on_fenced(struct pg_job *job)
{
	struct member_job *j = (struct member_job *)job;
	enum log_result    result = job->result;

	/* FENCE_LOCK and FENCE_LEASE fail with a bad cast while the lease is held, FENCE_RIGHT if ours is not. */
	if (job->failed_at >= 0 && job->failed_at < j->right + 2 && strcmp(job->state, "22P02") == 0)
		result = job->failed_at < j->right ? LOG_AWAY : LOG_AGAIN;
	if (job->failed_at >= 0 && job->failed_at < j->right)
		pg_trace(job->conn->pg, TRACE_WARN, "fence_withheld", "why=\"our own lease is not held on this server\"");
	j->done(j->arg, result);
	pg_job_free(job);
}

/* A lease that is a row is compared by its mark, and may be behind a pooler or a cluster of servers. */
static void add_right(struct member_job *j, const struct pg *pg)
{
	struct pg_params *p;

	if (pg->config.lease_mode == PG_LEASE_ROW || pg->lease.state != LEASE_OPEN)
		return;
	p = pg_job_params(&j->job);
	params_i64(p, pg->lease.server_started);
	params_i64(p, pg->lease.key);
	pg_job_add(&j->job, SQL_FENCE_RIGHT);
	j->right = 1;
}

/* One transaction: a row read in the statement that takes a lock is the row from before it. */
static void log_fence(void *ctx, struct uuid me, struct uuid dead, int64_t lock_key, int64_t mark,
                      log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);
	struct pg_params  *p;

	add_right(j, ctx);
	p = pg_job_params(&j->job);
	params_i64(p, lock_key);
	pg_job_add(&j->job, SQL_FENCE_LOCK);
	p = pg_job_params(&j->job);
	params_i64(p, lock_key);
	params_i64(p, mark);
	pg_job_add(&j->job, SQL_FENCE_LEASE);
	p = pg_job_params(&j->job);
	params_uuid(p, me);
	params_uuid(p, dead);
	params_i32(p, MEMBER_ROWS_MAX);
	pg_job_add(&j->job, SQL_FENCE);
	pg_job_send(&j->job, on_fenced);
}

static void add_replica_sweep(struct member_job *j, const struct pg *pg)
{
	const int64_t before = clock_boot_ms() - (int64_t)pg->config.keep_replica_ms;
	struct uuid  *old = mem_array(pg->grave_n, sizeof *old);
	size_t        n = 0;

	for (size_t i = 0; i < pg->grave_n; i++)
		if (pg->graves[i].seen_at < before)
			old[n++] = pg->graves[i].id;
	params_uuids(pg_job_params(&j->job), old, n);
	pg_job_add(&j->job, SQL_SWEEP_REPLICA);
	free(old);
}

static void add_rare_sweeps(struct member_job *j, const struct pg *pg)
{
	struct pg_params *p = pg_job_params(&j->job);

	params_i32(p, SWEEP_ROWS);
	params_i64(p, pg->config.keep_inbox_ms);
	pg_job_add(&j->job, SQL_SWEEP_INBOX);
	add_replica_sweep(j, pg);
	params_i64(pg_job_params(&j->job), pg->config.keep_replica_ms);
	pg_job_add(&j->job, SQL_SWEEP_LEASE);
	p = pg_job_params(&j->job);
	params_i32(p, SWEEP_AUDIT_ROWS);
	params_i64(p, pg->config.keep_audit_ms);
	pg_job_add(&j->job, SQL_SWEEP_AUDIT);
	pg_job_params(&j->job);
	pg_job_add(&j->job, SQL_SWEEP_PAUSE);
	pg_job_params(&j->job);
	pg_job_add(&j->job, SQL_SWEEP_BULK);
}

/* Bytes of the table that a sweep every second comes through: 1 kB a row. */
static const int64_t SWEPT_HOURLY = 3600LL * SWEEP_ROWS * 1000;

/* How many sweeps may be left out behind this one. It stands where it stood: all that is kept fits into one page, or another
 * replica is at it. It moved and found nothing: as many as let it come around within the hour. */
static unsigned sweeps_to_spare(const struct pg_job *job)
{
	int64_t bytes, pace;

	if (job->result != LOG_DONE || job->results[0] == NULL)
		return 0;
	if (PQntuples(job->results[0]) == 0)
		return SWEEPS_SPARED;
	bytes = cell_i64(job->results[0], 0, 1);
	pace = SWEPT_HOURLY / (bytes > 0 ? bytes : 1);
	if (cell_i64(job->results[0], 0, 0) > 0 || pace <= 1)
		return 0;
	return pace <= SWEEPS_SPARED ? (unsigned)pace - 1 : SWEEPS_SPARED;
}

static void on_swept(struct pg_job *job)
{
	struct pg *pg = job->conn->pg;

	pg->sweeps_spared = sweeps_to_spare(job);
	on_plain(job);
}

static void log_sweep(void *ctx, bool all, log_done *done, void *arg)
{
	struct member_job *j = open_job(ctx, false, done, arg);
	struct pg         *pg = ctx;

	if (!all && pg->sweeps_spared > 0) {
		pg->sweeps_spared--;
		pg_job_refuse(&j->job, LOG_DONE, on_plain);
		return;
	}
	params_i32(pg_job_params(&j->job), SWEEP_ROWS);
	pg_job_add(&j->job, SQL_SWEEP);
	if (all)
		add_rare_sweeps(j, ctx);
	pg_job_send(&j->job, on_swept);
}

void pg_member_verbs(struct log_port *port)
{
	port->enroll = log_enroll;
	port->still_live = log_still_live;
	port->report = log_report;
	port->members = log_members;
	port->fence = log_fence;
	port->retire = log_retire;
	port->sweep = log_sweep;
}
