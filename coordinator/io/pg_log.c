/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>

/* ---- verbs that give whole rows ------------------------------------------------- */

/* The job to fill; rows_send() sends it. */
static struct rows_job *rows_open(struct pg *pg, bool only_reads, rows_done *done, void *arg)
{
	struct rows_job *j = mem_alloc(sizeof *j);

	j->done = done;
	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = only_reads;
	return j;
}

static void rows_send(struct rows_job *j, enum statement statement)
{
	pg_job_add(&j->job, statement);
	pg_job_send(&j->job, rows_finish);
}

enum { SKIP_FOR_MS = 10000 };

struct look_job {
	struct pg_job job;
	look_done    *done;
	void         *arg;
};

static void on_page(struct pg_job *job)
{
	struct rows_job *j = (struct rows_job *)job;
	struct pg_page  *page = j->page;

	if (job->result == LOG_DONE) {
		page->limit *= 2;
		if (page->limit > j->asked)
			page->limit = 0;
	} else if (job->result == LOG_BAD_DATA && j->limit > 1) {
		page->limit = j->limit / 2;
	} else if (job->result == LOG_BAD_DATA) {
		page->limit = 1;
		page->skip++;
		page->skip_until = clock_boot_ms() + SKIP_FOR_MS;
		pg_trace(job->conn->pg, TRACE_ERROR, "row_passed_over",
		         "sqlstate=%s advice=\"a transaction cannot be taken over: see statement_failed\"", job->state);
	}
	rows_finish(job);
}

/* Parameters for limit and rows to pass over. */
static unsigned page_limit(struct rows_job *j, struct pg_page *page, unsigned asked)
{
	if (page->skip > 0 && clock_boot_ms() >= page->skip_until)
		page->skip = 0;
	j->page = page;
	j->asked = asked;
	j->limit = page->limit > 0 && page->limit < asked ? page->limit : asked;
	return j->limit;
}

static void log_reload(void *ctx, struct uuid me, const struct str *gids, size_t n, rows_done *done, void *arg)
{
	struct rows_job  *j = rows_open(ctx, false, done, arg);
	struct pg_params *p = pg_job_params(&j->job);

	params_uuid(p, me);
	params_texts(p, gids, n);
	rows_send(j, SQL_RELOAD);
}

static void adopt_page(struct pg *pg, struct uuid me, struct uuid dead, struct str after, unsigned limit,
                       enum danger danger, rows_done *done, void *arg)
{
	struct rows_job  *j = rows_open(pg, false, done, arg);
	struct pg_params *p = pg_job_params(&j->job);

	params_uuid(p, me);
	params_uuid(p, dead);
	params_text(p, after);
	params_i32(p, (int32_t)page_limit(j, &pg->adopting, danger == DANGER_HIGH ? 1 : limit));
	params_i32(p, (int32_t)danger);
	params_i32(p, ROW_FORMAT);
	params_i32(p, (int32_t)pg->adopting.skip);
	pg_job_add(&j->job, SQL_ADOPT);
	pg_job_send(&j->job, on_page);
}

static void on_cleared(struct pg *pg, const struct pg_adoption *a)
{
	adopt_page(pg, a->me, a->dead, (struct str){ 0 }, a->limit, DANGER_NONE, a->done, a->arg);
}

/* A pass begins with what the dead one had begun a moment before. */
static void log_adopt(void *ctx, struct uuid me, struct uuid dead, struct str after, unsigned limit,
                      enum danger danger, rows_done *done, void *arg)
{
	if (after.n == 0 && danger == DANGER_NONE)
		pg_nursery_clear(ctx, &(struct pg_adoption){ me, dead, limit, done, arg }, on_cleared);
	else
		adopt_page(ctx, me, dead, after, limit, danger, done, arg);
}

static void log_take_due(void *ctx, struct uuid me, unsigned limit, rows_done *done, void *arg)
{
	struct pg        *pg = ctx;
	struct rows_job  *j = rows_open(pg, false, done, arg);
	struct pg_params *p = pg_job_params(&j->job);

	params_uuid(p, me);
	params_i32(p, (int32_t)page_limit(j, &pg->due, limit));
	params_i32(p, ROW_FORMAT);
	params_i32(p, (int32_t)pg->due.skip);
	pg_job_add(&j->job, SQL_TAKE_DUE);
	pg_job_send(&j->job, on_page);
}

static void on_look(struct pg_job *job)
{
	struct look_job *j = (struct look_job *)job;
	PGresult        *r = job->results[0];
	struct look      found = { 0 };

	if (rows_of(job) > 0)
		found = (struct look){ .due = cell_bool(r, 0, 0), .commands = cell_bool(r, 0, 1) };
	j->done(j->arg, job->result, found);
	pg_job_free(job);
}

static void log_look(void *ctx, look_done *done, void *arg)
{
	struct pg       *pg = ctx;
	struct look_job *j = mem_alloc(sizeof *j);

	j->done = done;
	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = true;
	params_i32(pg_job_params(&j->job), ROW_FORMAT);
	pg_job_add(&j->job, SQL_LOOK);
	pg_job_send(&j->job, on_look);
}

static void log_claim(void *ctx, struct uuid me, struct str gid, rows_done *done, void *arg)
{
	struct rows_job  *j = rows_open(ctx, false, done, arg);
	struct pg_params *p = pg_job_params(&j->job);

	params_uuid(p, me);
	params_text(p, gid);
	params_i32(p, ROW_FORMAT);
	rows_send(j, SQL_CLAIM);
}

/* Nobody can have stored a gid that cannot be stored, but whoever asks may name one. */
static void read_gids(struct pg *pg, enum statement statement, const struct str *gids, size_t n, rows_done *done,
                      void *arg)
{
	struct rows_job  *j = rows_open(pg, true, done, arg);
	struct pg_params *p = pg_job_params(&j->job);
	size_t            fit = 0;

	for (size_t i = 0; i < n; i++)
		fit += is_storable(gids[i]);
	params_array(p, PG_TEXT, fit);
	for (size_t i = 0; i < n; i++)
		if (is_storable(gids[i]))
			item_text(p, gids[i]);
	rows_send(j, statement);
}

static void log_read(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg)
{
	read_gids(ctx, SQL_READ, gids, n, done, arg);
}

static void log_ended(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg)
{
	read_gids(ctx, SQL_READ_ENDED, gids, n, done, arg);
}

/* ---- gids alone --------------------------------------------------------------------- */

static void on_mine(struct pg_job *job)
{
	struct rows_job *j = (struct rows_job *)job;
	PGresult        *r = job->results[0];
	size_t           n = job->result == LOG_DONE && r != NULL ? (size_t)PQntuples(r) : 0;
	struct row      *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++) {
		rows[i].gid = cell_text(r, (int)i, 0);
		rows[i].epoch = (uint64_t)cell_i64(r, (int)i, 1);
		rows[i].version = (uint64_t)cell_i64(r, (int)i, 2);
	}
	j->done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void log_mine(void *ctx, struct uuid me, struct str after, unsigned limit, rows_done *done, void *arg)
{
	struct rows_job  *j = rows_open(ctx, true, done, arg);
	struct pg_params *p = pg_job_params(&j->job);

	params_uuid(p, me);
	params_text(p, after);
	params_i32(p, (int32_t)limit);
	pg_nursery_put_doubts(j->job.conn->pg, p);
	pg_job_add(&j->job, SQL_MINE);
	pg_job_send(&j->job, on_mine);
}

void pg_log_port(struct pg *pg, struct log_port *port)
{
	*port = (struct log_port){
		.ctx = pg,
		.commit = pg_commit,
		.reload = log_reload,
		.restore = pg_restore,
		.mine = log_mine,
		.adopt = log_adopt,
		.look = log_look,
		.take_due = log_take_due,
		.claim = log_claim,
		.read = log_read,
		.ended = log_ended,
	};
	pg_inbox_verbs(port);
	pg_member_verbs(port);
}
