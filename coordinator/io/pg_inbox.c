/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>

struct inbox_job {
	struct pg_job  job;
	log_done      *done;
	inbox_done    *rows_done;
	verdicts_done *verdicts_done;
	void          *arg;
};

static struct inbox_job *open_job(struct pg *pg, bool only_reads, void *arg)
{
	struct inbox_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->work);
	j->job.only_reads = only_reads;
	return j;
}

static void on_plain(struct pg_job *job)
{
	struct inbox_job *j = (struct inbox_job *)job;

	j->done(j->arg, job->result);
	pg_job_free(job);
}

static void inbox_put(void *ctx, const struct inbox_row *row, log_done *done, void *arg)
{
	struct inbox_job *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->done = done;
	if (!is_storable(row->gid) || !is_storable(row->command) || !is_storable(row->body)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_plain);
		return;
	}
	params_uuid(p, row->id);
	params_text(p, row->gid);
	params_text(p, row->command);
	params_optional(p, row->body);
	pg_job_add(&j->job, SQL_INBOX_PUT);
	pg_job_send(&j->job, on_plain);
}

static void on_read(struct pg_job *job)
{
	struct inbox_job *j = (struct inbox_job *)job;
	PGresult         *r = job->results[0];
	size_t            n = job->result == LOG_DONE && r != NULL ? (size_t)PQntuples(r) : 0;
	struct inbox_row *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++)
		rows[i] = (struct inbox_row){
			.id = cell_uuid(r, (int)i, 0),
			.gid = cell_text(r, (int)i, 1),
			.command = cell_text(r, (int)i, 2),
			.body = cell_text(r, (int)i, 3),
		};
	j->rows_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void inbox_read(void *ctx, struct uuid me, unsigned limit, inbox_done *done, void *arg)
{
	struct inbox_job *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->rows_done = done;
	params_uuid(p, me);
	params_i32(p, (int32_t)limit);
	params_i32(p, ROW_FORMAT);
	pg_job_add(&j->job, SQL_INBOX_READ);
	pg_job_send(&j->job, on_read);
}

static bool verdict_of(struct str text, enum verdict *out)
{
#define X(name, word, ...) \
	if (str_is(text, word)) { \
		*out = VERDICT_##name; \
		return true; \
	}
	TXN_VERDICTS(X)
#undef X
	return false;
}

static void on_verdicts(struct pg_job *job)
{
	struct inbox_job *j = (struct inbox_job *)job;
	PGresult         *r = job->results[0];
	int               total = job->result == LOG_DONE && r != NULL ? PQntuples(r) : 0;
	struct settled   *rows = mem_array((size_t)total, sizeof *rows);
	size_t            n = 0;

	for (int i = 0; i < total; i++) {
		rows[n].id = cell_uuid(r, i, 0);
		if (verdict_of(cell_text(r, i, 1), &rows[n].verdict))
			n++;
	}
	j->verdicts_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void inbox_verdicts(void *ctx, const struct uuid *ids, size_t n, verdicts_done *done, void *arg)
{
	struct inbox_job *j = open_job(ctx, true, arg);

	j->verdicts_done = done;
	params_uuids(pg_job_params(&j->job), ids, n);
	pg_job_add(&j->job, SQL_INBOX_VERDICTS);
	pg_job_send(&j->job, on_verdicts);
}

static void inbox_forget(void *ctx, const struct uuid *ids, size_t n, log_done *done, void *arg)
{
	struct inbox_job *j = open_job(ctx, false, arg);

	j->done = done;
	params_uuids(pg_job_params(&j->job), ids, n);
	pg_job_add(&j->job, SQL_INBOX_FORGET);
	pg_job_send(&j->job, on_plain);
}

void pg_inbox_verbs(struct log_port *port)
{
	port->inbox_put = inbox_put;
	port->inbox_read = inbox_read;
	port->inbox_verdicts = inbox_verdicts;
	port->inbox_forget = inbox_forget;
}
