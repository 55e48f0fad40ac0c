/* SPDX-License-Identifier: Apache-2.0
 * pg_bulk.c - actions on many transactions: rows that one live replica at a time works on.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>

struct bulk_job {
	struct pg_job job;
	log_done     *done;
	bulks_done   *rows_done;
	bulk_saved   *saved;
	pause_done   *cancelled;
	void         *arg;
};

static struct bulk_job *open_job(struct pg *pg, bool only_reads, void *arg)
{
	struct bulk_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = only_reads;
	return j;
}

static bool state_of(struct str text, enum bulk_state *out)
{
#define X(name, word) \
	if (str_is(text, word)) { \
		*out = BULK_##name; \
		return true; \
	}
	BULK_STATES(X)
#undef X
	return false;
}

static bool decode(const PGresult *r, int i, struct bulk_row *row)
{
	*row = (struct bulk_row){
		.id = cell_uuid(r, i, 0),
		.action = cell_text(r, i, 2),
		.filter = cell_text(r, i, 3),
		.actor = cell_text(r, i, 4),
		.role = cell_text(r, i, 5),
		.reason = cell_text(r, i, 6),
		.request_id = cell_text(r, i, 7),
		.rate = (uint32_t)cell_i32(r, i, 8),
		.created_at = cell_time(r, i, 9),
		.ended_at = cell_time(r, i, 10),
		.runner = cell_uuid(r, i, 11),
		.epoch = (uint64_t)cell_i64(r, i, 12),
		.matched = (uint64_t)cell_i64(r, i, 13),
		.done = (uint64_t)cell_i64(r, i, 14),
		.refused = (uint64_t)cell_i64(r, i, 15),
		.failed = (uint64_t)cell_i64(r, i, 16),
		.position = cell_text(r, i, 17),
		.page = cell_text(r, i, 18),
		.refusals = cell_text(r, i, 19),
		.examined = (uint64_t)cell_i64(r, i, 20),
	};
	return state_of(cell_text(r, i, 1), &row->state);
}

static void on_rows(struct pg_job *job)
{
	struct bulk_job *j = (struct bulk_job *)job;
	size_t           total = rows_of(job), n = 0;
	struct bulk_row *rows = mem_array(total, sizeof *rows);

	for (size_t i = 0; i < total; i++)
		n += decode(job->results[0], (int)i, &rows[n]);
	j->rows_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void on_plain(struct pg_job *job)
{
	struct bulk_job *j = (struct bulk_job *)job;

	j->done(j->arg, job->result);
	pg_job_free(job);
}

static void bulk_put(void *ctx, const struct bulk_row *row, const struct deed *deed, log_done *done, void *arg)
{
	struct bulk_job  *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->done = done;
	if (!is_storable(row->filter) || !is_storable(row->action) || !deed_is_storable(deed)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_plain);
		return;
	}
	put_deed(p, deed);
	params_uuid(p, row->id);
	params_i32(p, (int32_t)row->rate);
	params_text(p, row->action);
	params_text(p, row->filter);
	pg_job_add(&j->job, SQL_BULK_PUT);
	pg_job_send(&j->job, on_plain);
}

static void bulk_rows(void *ctx, struct uuid id, struct uuid below, unsigned limit, bulks_done *done, void *arg)
{
	static const struct uuid last = { { 255, 255, 255, 255, 255, 255, 255, 255,
		                            255, 255, 255, 255, 255, 255, 255, 255 } };
	struct bulk_job  *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->rows_done = done;
	if (!uuid_is_nil(id)) {
		params_uuid(p, id);
		pg_job_add(&j->job, SQL_BULK_ONE);
	} else {
		params_uuid(p, uuid_is_nil(below) ? last : below);
		params_i32(p, (int32_t)limit);
		pg_job_add(&j->job, SQL_BULK_LIST);
	}
	pg_job_send(&j->job, on_rows);
}

static void bulk_claim(void *ctx, struct uuid me, const struct uuid *passed, size_t n, bulks_done *done, void *arg)
{
	struct bulk_job  *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->rows_done = done;
	params_uuid(p, me);
	params_uuids(p, passed, n);
	pg_job_add(&j->job, SQL_BULK_CLAIM);
	pg_job_send(&j->job, on_rows);
}

static void on_saved(struct pg_job *job)
{
	struct bulk_job *j = (struct bulk_job *)job;

	j->saved(j->arg, job->result, rows_of(job) > 0 && cell_bool(job->results[0], 0, 0));
	pg_job_free(job);
}

static void bulk_save(void *ctx, const struct bulk_row *row, bulk_saved *done, void *arg)
{
	struct bulk_job  *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->saved = done;
	params_uuid(p, row->id);
	params_i64(p, (int64_t)row->epoch);
	params_i64(p, (int64_t)row->matched);
	params_i64(p, (int64_t)row->done);
	params_i64(p, (int64_t)row->refused);
	params_i64(p, (int64_t)row->failed);
	params_text(p, row->position);
	params_text(p, row->page);
	params_text(p, row->refusals);
	params_bool(p, row->state == BULK_DONE);
	params_i64(p, (int64_t)row->examined);
	pg_job_add(&j->job, SQL_BULK_SAVE);
	pg_job_send(&j->job, on_saved);
}

static void on_cancelled(struct pg_job *job)
{
	struct bulk_job *j = (struct bulk_job *)job;
	bool             is_told = rows_of(job) > 0;

	j->cancelled(j->arg, job->result, is_told && cell_bool(job->results[0], 0, 0),
	             is_told && cell_bool(job->results[0], 0, 1));
	pg_job_free(job);
}

static void bulk_cancel(void *ctx, struct uuid id, const struct deed *deed, pause_done *done, void *arg)
{
	struct bulk_job  *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->cancelled = done;
	if (!deed_is_storable(deed)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_cancelled);
		return;
	}
	put_deed(p, deed);
	params_uuid(p, id);
	pg_job_add(&j->job, SQL_BULK_CANCEL);
	pg_job_send(&j->job, on_cancelled);
}

void pg_bulk_verbs(struct store_port *port)
{
	port->bulk_put = bulk_put;
	port->bulk_rows = bulk_rows;
	port->bulk_claim = bulk_claim;
	port->bulk_save = bulk_save;
	port->bulk_cancel = bulk_cancel;
}
