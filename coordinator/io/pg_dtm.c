/* SPDX-License-Identifier: Apache-2.0
 * pg_dtm.c - what api/dtm/ lists and keeps: its transactions by age, sleepers, topics.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMN_LAST = 22, COLUMN_EXAMINED = 23, COLUMN_PLACE = 24 };

struct dtm_job {
	struct pg_job job;
	list_done    *list_done;
	dtm_kvs_done *kvs_done;
	dtm_kv_done  *kv_done;
	unsigned      limit;
	void         *arg;
};

static struct dtm_job *open_job(struct pg *pg, bool only_reads, void *arg)
{
	struct dtm_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = only_reads;
	return j;
}

/* ---- transactions ------------------------------------------------------------------ */

#define YEAR_2100_US 4102444800000000

/* "MICROSECONDS-GID"; false: it is none of ours. */
static bool read_place(struct str text, uint64_t *us, struct str *gid)
{
	const char *dash = text.n > 0 ? memchr(text.p, '-', text.n) : NULL;

	if (dash == NULL || !text_to_u64((struct str){ text.p, (size_t)(dash - text.p) }, us) ||
	    *us > YEAR_2100_US)
		return false;
	*gid = (struct str){ dash + 1, text.n - (size_t)(dash - text.p) - 1 };
	return true;
}

static void deliver_list(struct pg_job *job)
{
	struct dtm_job *j = (struct dtm_job *)job;
	PGresult       *r = job->results[0];
	size_t          total = rows_of(job), n = 0;
	/* A page without a hit is one row of nulls that says how far it came. */
	size_t          hits = total == 1 && cell_is_null(r, 0, 0) ? 0 : total;
	struct row     *rows = mem_array(hits, sizeof *rows);
	struct list_page page = { .examined = total > 0 ? (uint64_t)cell_i64(r, 0, COLUMN_EXAMINED)
		                                        : 0 };

	for (size_t i = 0; i < hits; i++)
		n += row_decode(job->conn->pg, r, (int)i, &rows[n]);
	if (hits > 0 && hits >= j->limit)
		page.next = cell_text(r, (int)hits - 1, COLUMN_PLACE);
	else if (total > 0 && cell_i64(r, 0, COLUMN_EXAMINED) >= LIST_EXAMINES)
		page.next = cell_text(r, 0, COLUMN_LAST);
	j->list_done(j->arg, job->result, rows, n, &page);
	for (size_t i = 0; i < n; i++)
		row_release(&rows[i]);
	free(rows);
	pg_job_free(job);
}

static void on_list(struct pg_job *job)
{
	if (job->result == LOG_DONE &&
	    rows_fetch_definitions(job->conn->pg, job, job->results[0], job->conn, deliver_list))
		return;
	deliver_list(job);
}

static void put_phases(struct pg_params *p, unsigned phases)
{
	struct str names[PHASE_COUNT];
	size_t     n = 0;

	for (unsigned i = 0; i < PHASE_COUNT; i++)
		if (phases & 1u << i)
			names[n++] = str_of(phase_name((enum phase)i));
	params_texts(p, names, n);
}

static void dtm_list(void *ctx, const struct dtm_filter *f, struct str after, unsigned limit,
                     list_done *done, void *arg)
{
	struct dtm_job   *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);
	uint64_t          us = YEAR_2100_US;
	struct str        gid = { 0 };

	j->list_done = done;
	j->limit = limit;
	if (!is_storable(f->kind) || !is_storable(after) ||
	    (after.n > 0 && !read_place(after, &us, &gid))) {
		pg_job_refuse(&j->job, LOG_DONE, deliver_list); /* nothing stored can match */
		return;
	}
	params_i64(p, (int64_t)us);
	params_text(p, gid);
	params_i32(p, LIST_EXAMINES);
	params_i32(p, (int32_t)limit);
	put_phases(p, f->phases);
	params_optional(p, f->kind);
	params_time(p, f->since);
	params_time(p, f->until);
	pg_job_add(&j->job, SQL_DTM_LIST);
	pg_job_send(&j->job, on_list);
}

static void on_sleepers(struct pg_job *job)
{
	struct dtm_job *j = (struct dtm_job *)job;
	size_t          n = rows_of(job);
	struct row     *rows = mem_array(n, sizeof *rows);
	const struct list_page page = { .examined = n };

	for (size_t i = 0; i < n; i++)
		rows[i].gid = cell_text(job->results[0], (int)i, 0);
	j->list_done(j->arg, job->result, rows, n, &page);
	free(rows);
	pg_job_free(job);
}

static void dtm_sleepers(void *ctx, int64_t longer_ms, unsigned limit, list_done *done, void *arg)
{
	struct dtm_job   *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->list_done = done;
	params_i64(p, longer_ms);
	params_i32(p, (int32_t)limit);
	pg_job_add(&j->job, SQL_DTM_SLEEPERS);
	pg_job_send(&j->job, on_sleepers);
}

/* ---- keys and values ----------------------------------------------------------------- */

static void on_kvs(struct pg_job *job)
{
	struct dtm_job    *j = (struct dtm_job *)job;
	PGresult          *r = job->results[0];
	size_t             n = rows_of(job);
	struct dtm_kv_row *rows = mem_array(n, sizeof *rows);

	for (size_t k = 0; k < n; k++) {
		int i = (int)k;

		rows[k] = (struct dtm_kv_row){ .k = cell_text(r, i, 0),
			                       .v = cell_text(r, i, 1),
			                       .version = (uint64_t)cell_i64(r, i, 2),
			                       .created_at = cell_time(r, i, 3),
			                       .updated_at = cell_time(r, i, 4) };
	}
	j->kvs_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void dtm_kv_read(void *ctx, struct str cat, struct str k, struct str after, unsigned limit,
                        dtm_kvs_done *done, void *arg)
{
	struct dtm_job   *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->kvs_done = done;
	if (!is_storable(cat) || !is_storable(k) || !is_storable(after)) {
		pg_job_refuse(&j->job, LOG_DONE, on_kvs);
		return;
	}
	params_text(p, cat);
	params_optional(p, k);
	params_text(p, after);
	params_i32(p, (int32_t)limit);
	pg_job_add(&j->job, SQL_DTM_KV_READ);
	pg_job_send(&j->job, on_kvs);
}

static void on_kv(struct pg_job *job)
{
	struct dtm_job *j = (struct dtm_job *)job;

	j->kv_done(j->arg, job->result, rows_of(job) > 0);
	pg_job_free(job);
}

static void dtm_kv_write(void *ctx, const struct dtm_kv_row *row, dtm_kv_done *done, void *arg)
{
	struct dtm_job   *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->kv_done = done;
	if (!is_storable(row->cat) || !is_storable(row->k) || !is_storable(row->v)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_kv);
		return;
	}
	params_text(p, row->cat);
	params_text(p, row->k);
	params_text(p, row->v);
	if (row->version > 0)
		params_i64(p, (int64_t)row->version);
	pg_job_add(&j->job, row->version > 0 ? SQL_DTM_KV_UPDATE : SQL_DTM_KV_INSERT);
	pg_job_send(&j->job, on_kv);
}

static void dtm_kv_delete(void *ctx, struct str cat, struct str k, dtm_kv_done *done, void *arg)
{
	struct dtm_job   *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->kv_done = done;
	if (!is_storable(cat) || !is_storable(k)) {
		pg_job_refuse(&j->job, LOG_DONE, on_kv);
		return;
	}
	params_text(p, cat);
	params_text(p, k);
	pg_job_add(&j->job, SQL_DTM_KV_DELETE);
	pg_job_send(&j->job, on_kv);
}

void pg_dtm_verbs(struct store_port *port)
{
	port->dtm_list = dtm_list;
	port->dtm_sleepers = dtm_sleepers;
	port->dtm_kv_read = dtm_kv_read;
	port->dtm_kv_write = dtm_kv_write;
	port->dtm_kv_delete = dtm_kv_delete;
}
