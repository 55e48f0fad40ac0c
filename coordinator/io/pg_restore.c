/* SPDX-License-Identifier: Apache-2.0
 * pg_restore.c - after a failover: rows as they were last known go back into the log.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>

typedef void put_item(struct pg_params *p, const struct row *r); /* one element of a column */

static void put(struct pg_params *p, enum pg_type type, const struct row *rows, size_t n, put_item *item)
{
	params_array(p, type, n);
	for (size_t i = 0; i < n; i++)
		item(p, &rows[i]);
}

static void gid(struct pg_params *p, const struct row *r) { item_text(p, r->gid); }
static void epoch(struct pg_params *p, const struct row *r) { item_i64(p, (int64_t)r->epoch); }
static void version(struct pg_params *p, const struct row *r) { item_i64(p, (int64_t)r->version); }
static void phase(struct pg_params *p, const struct row *r) { item_text(p, str_of(phase_name(r->phase))); }
static void stuck(struct pg_params *p, const struct row *r) { item_text(p, str_of(stuck_name(r->stuck))); }
static void paused(struct pg_params *p, const struct row *r) { item_bool(p, r->paused); }
static void adoptions(struct pg_params *p, const struct row *r) { item_i32(p, (int32_t)r->adoptions); }
static void created_at(struct pg_params *p, const struct row *r) { item_time(p, r->created_at); }
static void ended_at(struct pg_params *p, const struct row *r) { item_time(p, r->ended_at); }
static void deadline_at(struct pg_params *p, const struct row *r) { item_time(p, r->deadline_at); }
static void definition(struct pg_params *p, const struct row *r) { item_optional(p, r->definition); }
static void document(struct pg_params *p, const struct row *r) { item_optional(p, r->document); }
static void input(struct pg_params *p, const struct row *r) { item_optional(p, r->input); }
static void labels(struct pg_params *p, const struct row *r) { item_optional(p, r->labels); }
static void traceparent(struct pg_params *p, const struct row *r) { item_optional(p, r->traceparent); }
static void hash(struct pg_params *p, const struct row *r) { item_bytes(p, r->hash, sizeof r->hash); }
static void retention(struct pg_params *p, const struct row *r) { item_i64(p, r->retention_ms); }
static void format(struct pg_params *p, const struct row *r) { item_i16(p, (int16_t)r->format); }
static void progress(struct pg_params *p, const struct row *r) { item_text(p, r->progress); }

/* A row stands in one place: owned, parked (a null time would mean owned) or ended. */
static void due_at(struct pg_params *p, const struct row *r)
{
	bool is_parked = uuid_is_nil(r->owner) && r->ended_at == 0;

	item_time(p, !is_parked ? 0 : r->due_at != 0 ? r->due_at : 1);
}

static void definition_version(struct pg_params *p, const struct row *r)
{
	if (r->definition.n > 0)
		item_i32(p, (int32_t)r->definition_version);
	else
		item_null(p);
}

/* In the order of the statement. */
static const struct {
	enum pg_type type;
	put_item    *item;
} columns[] = {
	{ PG_TEXT, gid },         { PG_INT8, epoch },          { PG_INT8, version },
	{ PG_TEXT, phase },       { PG_TEXT, stuck },          { PG_BOOL, paused },
	{ PG_INT4, adoptions },   { PG_TIMESTAMPTZ, created_at }, { PG_TIMESTAMPTZ, ended_at },
	{ PG_TIMESTAMPTZ, due_at }, { PG_TIMESTAMPTZ, deadline_at }, { PG_TEXT, definition },
	{ PG_INT4, definition_version }, { PG_TEXT, document }, { PG_TEXT, input },
	{ PG_TEXT, labels },      { PG_TEXT, traceparent },    { PG_BYTEA, hash },
	{ PG_INT8, retention },   { PG_INT2, format },         { PG_TEXT, progress },
};

/* What must hold before the statement itself: a row of ours, and that the failover was noted. */
enum { STILL_LIVE, NOTED, RESTORED };

static void on_restored(struct pg_job *job)
{
	struct rows_job *j = (struct rows_job *)job;
	const PGresult  *live = job->results[STILL_LIVE], *r = job->results[RESTORED];
	size_t           n = job->result == LOG_DONE && r != NULL ? (size_t)PQntuples(r) : 0;
	struct row      *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++)
		rows[i].gid = cell_text(r, (int)i, 0);
	/* The note was this session's first statement, and failed: nothing would be restored, as if all had diverged. */
	if (job->failed_at == NOTED && job->result == LOG_BAD_DATA) {
		job->result = LOG_AGAIN;
		pg_timeline_look(job->conn->pg);
	}
	if (job->result == LOG_DONE && PQntuples(live) == 0)
		j->done(j->arg, LOG_FENCED, NULL, 0);
	else
		j->done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

void pg_restore(void *ctx, struct uuid me, const struct row *rows, size_t n, rows_done *done, void *arg)
{
	struct pg        *pg = ctx;
	struct rows_job  *j = mem_alloc(sizeof *j);
	struct pg_params *p;

	j->done = done;
	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	params_uuid(pg_job_params(&j->job), me);
	pg_job_add(&j->job, SQL_STILL_LIVE);
	pg_job_params(&j->job);
	pg_job_add(&j->job, SQL_TIMELINE_NOTED);
	p = pg_job_params(&j->job);
	params_uuid(p, me);
	for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
		put(p, columns[i].type, rows, n, columns[i].item);
	pg_job_add(&j->job, SQL_RESTORE);
	pg_job_send(&j->job, on_restored);
}
