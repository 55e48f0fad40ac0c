/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "participants/definition.h"

#include <stdlib.h>

enum { LIST_LIMIT_MAX = 1000, COLUMN_LAST = 22, COLUMN_EXAMINED = 23, COLUMN_PLACE = 24 };

struct store_job {
	struct pg_job         job;
	participant_put_done *put_done;
	participants_done    *participants_done;
	entries_done         *entries_done;
	list_done            *list_done;
	counts_done          *counts_done;
	struct str            participant; /* of a list */
	unsigned              limit;
	void                 *arg;
};

static struct store_job *open_job(struct pg *pg, bool only_reads, void *arg)
{
	struct store_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = only_reads;
	return j;
}

/* ---- participants ------------------------------------------------------------------- */

static void on_participant_put(struct pg_job *job)
{
	struct store_job *j = (struct store_job *)job;

	j->put_done(j->arg, job->result, rows_of(job) > 0 ? (uint64_t)cell_i64(job->results[0], 0, 0) : 0);
	pg_job_free(job);
}

static void put_percent(struct pg_params *p, int percent)
{
	if (percent < 0)
		params_null(p);
	else
		params_i32(p, percent);
}

static int percent_of(const PGresult *r, int row, int column)
{
	return cell_is_null(r, row, column) ? -1 : cell_i32(r, row, column);
}

static void store_participant_put(void *ctx, const struct participant_row *row, int64_t expected,
                                  const struct deed *deed, participant_put_done *done, void *arg)
{
	struct store_job *j = open_job(ctx, false, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->put_done = done;
	if (!is_storable(row->name) || !is_storable(row->base_url) || !is_storable(row->secret) ||
	    !deed_is_storable(deed)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_participant_put);
		return;
	}
	put_deed(p, deed);
	params_text(p, row->name);
	params_text(p, row->base_url);
	params_i32(p, (int32_t)row->max_in_flight);
	params_optional(p, row->secret);
	put_percent(p, row->breaker_percent);
	put_percent(p, row->retry_percent);
	params_i64(p, expected);
	pg_job_add(&j->job, SQL_PARTICIPANT_PUT);
	pg_job_send(&j->job, on_participant_put);
}

static void on_participants(struct pg_job *job)
{
	struct store_job       *j = (struct store_job *)job;
	PGresult               *r = job->results[0];
	size_t                  n = rows_of(job);
	struct participant_row *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++)
		rows[i] = (struct participant_row){
			.name = cell_text(r, (int)i, 0),
			.base_url = cell_text(r, (int)i, 1),
			.max_in_flight = (uint32_t)cell_i32(r, (int)i, 2),
			.secret = cell_text(r, (int)i, 3),
			.version = (uint64_t)cell_i64(r, (int)i, 4),
			.breaker_percent = percent_of(r, (int)i, 5),
			.retry_percent = percent_of(r, (int)i, 6),
		};
	j->participants_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void store_participant_list(void *ctx, participants_done *done, void *arg)
{
	struct store_job *j = open_job(ctx, true, arg);

	j->participants_done = done;
	params_i32(pg_job_params(&j->job), PARTICIPANTS_MAX);
	pg_job_add(&j->job, SQL_PARTICIPANT_LIST);
	pg_job_send(&j->job, on_participants);
}

/* ---- transactions ---------------------------------------------------------------------- */

static bool is_wanted(const struct store_job *j, const struct row *row)
{
	return j->participant.n == 0 || (row->def != NULL && definition_calls(row->def, j->participant));
}

/* Where to go on: behind the last row if the page was cut by its limit, behind the last row looked at
 * if that was cut, else nowhere. */
static struct str next_of(const struct store_job *j, const PGresult *r, size_t n)
{
	if (n > 0 && n >= j->limit)
		return cell_text(r, (int)n - 1, 0);
	if (n > 0 && cell_i64(r, 0, COLUMN_EXAMINED) >= LIST_EXAMINES)
		return cell_text(r, 0, COLUMN_LAST);
	return (struct str){ 0 };
}

/* A page that was cut by its limit has examined what stands up to its last row. */
static uint64_t examined(const struct store_job *j, const PGresult *r, size_t n)
{
	if (n > 0 && n >= j->limit)
		return (uint64_t)cell_i64(r, (int)n - 1, COLUMN_PLACE);
	return (uint64_t)cell_i64(r, 0, COLUMN_EXAMINED);
}

static void deliver_list(struct pg_job *job)
{
	struct store_job *j = (struct store_job *)job;
	struct pg        *pg = job->conn->pg;
	PGresult         *r = job->results[0];
	size_t            total = rows_of(job), n = 0;
	struct row       *rows = mem_array(total, sizeof *rows);
	/* A page without a hit is one row of nulls that says how far it came. */
	size_t            hits = total == 1 && cell_is_null(r, 0, 0) ? 0 : total;

	for (size_t i = 0; i < hits; i++) {
		if (!row_decode(pg, r, (int)i, &rows[n]))
			continue;
		if (is_wanted(j, &rows[n]))
			n++;
		else
			row_release(&rows[n]);
	}
	struct list_page page = { .next = hits == 0 && total == 1 && cell_i64(r, 0, COLUMN_EXAMINED) >= LIST_EXAMINES
		                  ? cell_text(r, 0, COLUMN_LAST) : next_of(j, r, hits),
		                  .examined = total > 0 ? examined(j, r, hits) : 0 };
	j->list_done(j->arg, job->result, rows, n, &page);
	for (size_t i = 0; i < n; i++)
		row_release(&rows[i]);
	free(rows);
	free((char *)j->participant.p);
	pg_job_free(job);
}

static void on_list(struct pg_job *job)
{
	struct pg *pg = job->conn->pg;

	if (job->result == LOG_DONE &&
	    rows_fetch_definitions(pg, job, job->results[0], job->conn, deliver_list))
		return;
	deliver_list(job);
}

static bool filter_is_storable(const struct list_filter *f, struct str after)
{
	return is_storable(f->definition) && is_storable(f->label_name) && is_storable(f->label_value) &&
		is_storable(after);
}

static void store_list(void *ctx, const struct list_filter *f, struct str after, unsigned limit, list_done *done,
                       void *arg)
{
	struct store_job *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->list_done = done;
	j->limit = limit == 0 || limit > LIST_LIMIT_MAX ? LIST_LIMIT_MAX : limit;
	if (!filter_is_storable(f, after)) { /* nothing stored can match */
		pg_job_refuse(&j->job, LOG_DONE, deliver_list);
		return;
	}
	if (f->participant.n > 0)
		j->participant = str_dup(f->participant);
	params_text(p, after);
	params_i32(p, LIST_EXAMINES);
	params_i32(p, (int32_t)j->limit);
	params_optional(p, f->phase < 0 ? (struct str){ 0 } : str_of(phase_name((enum phase)f->phase)));
	if (f->stuck < 0)
		params_null(p);
	else
		params_bool(p, f->stuck > 0);
	params_optional(p, f->definition);
	params_time(p, f->created_before);
	params_optional(p, f->label_name);
	params_text(p, f->label_value);
	pg_job_add(&j->job, SQL_LIST);
	pg_job_send(&j->job, on_list);
}

/* ---- what is stuck ------------------------------------------------------------------------- */

static void deliver_stuck(struct pg_job *job)
{
	struct store_job *j = (struct store_job *)job;
	PGresult         *r = job->results[0];
	size_t            total = rows_of(job), n = 0;
	struct row       *rows = mem_array(total, sizeof *rows);

	for (size_t i = 0; i < total; i++)
		if (row_decode(job->conn->pg, r, (int)i, &rows[n]))
			n++;
	struct list_page page = { .next = total > 0 && total == j->limit ? cell_text(r, (int)total - 1, 0) : (struct str){ 0 },
		                  .examined = total };
	j->list_done(j->arg, job->result, rows, n, &page);
	for (size_t i = 0; i < n; i++)
		row_release(&rows[i]);
	free(rows);
	pg_job_free(job);
}

static void on_stuck(struct pg_job *job)
{
	if (job->result == LOG_DONE &&
	    rows_fetch_definitions(job->conn->pg, job, job->results[0], job->conn, deliver_stuck))
		return;
	deliver_stuck(job);
}

static void store_stuck(void *ctx, struct str after, unsigned limit, list_done *done, void *arg)
{
	struct store_job *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->list_done = done;
	j->limit = limit;
	params_text(p, after);
	params_i32(p, (int32_t)limit);
	pg_job_add(&j->job, SQL_STUCK);
	pg_job_send(&j->job, on_stuck);
}

static void on_journal(struct pg_job *job)
{
	struct store_job *j = (struct store_job *)job;
	PGresult         *r = job->results[0];
	size_t            n = rows_of(job);
	struct entry_row *rows = mem_array(n, sizeof *rows);

	for (size_t k = 0; k < n; k++) {
		int i = (int)k;

		rows[k].number = (uint64_t)cell_i64(r, i, 0);
		rows[k].entry = (struct entry){
			.gid = cell_text(r, i, 1),
			.at = cell_time(r, i, 2),
			.what = cell_text(r, i, 3),
			.step = cell_text(r, i, 4),
			.op = cell_text(r, i, 5),
			.outcome = cell_text(r, i, 6),
			.attempt = (uint32_t)cell_i32(r, i, 7),
			.status = cell_i32(r, i, 8),
			.detail = cell_text(r, i, 9),
			.actor = cell_text(r, i, 10),
			.replica = cell_uuid(r, i, 11),
		};
	}
	j->entries_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void store_journal(void *ctx, struct str gid, uint64_t after, unsigned limit, entries_done *done, void *arg)
{
	struct store_job *j = open_job(ctx, true, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->entries_done = done;
	params_text(p, gid);
	params_i64(p, after > INT64_MAX ? INT64_MAX : (int64_t)after);
	params_i32(p, (int32_t)limit);
	pg_job_add(&j->job, SQL_JOURNAL_READ);
	pg_job_send(&j->job, on_journal);
}

static void on_counts(struct pg_job *job)
{
	struct store_job *j = (struct store_job *)job;
	PGresult         *r = job->results[0];
	struct counts     c = { 0 };
	uint64_t          all = 0;
	bool              cut = false; /* a row without a phase says so of a nursery */

	for (size_t k = 0; k < rows_of(job); k++) {
		int        i = (int)k;
		struct str phase = cell_text(r, i, 0);
		uint64_t   n = (uint64_t)cell_i64(r, i, 3);

		cut = cut || phase.n == 0;
		for (int v = 0; v < PHASE_COUNT; v++)
			if (str_is(phase, phase_name((enum phase)v)))
				c.by_phase[v] += n;
		for (int v = 0; v < STUCK_COUNT; v++)
			if (str_is(cell_text(r, i, 1), stuck_name((enum stuck)v)))
				c.by_stuck[v] += n;
		c.stuck += str_is(cell_text(r, i, 1), stuck_name(STUCK_NONE)) ? 0 : n;
		c.parked += cell_bool(r, i, 2) ? n : 0;
		if (c.overdue_ms < cell_i64(r, i, 4))
			c.overdue_ms = cell_i64(r, i, 4);
	}
	for (int v = 0; v < PHASE_COUNT; v++)
		all += c.by_phase[v];
	c.complete = !cut && c.parked < j->limit && all - c.parked < j->limit;
	j->counts_done(j->arg, job->result, &c);
	pg_job_free(job);
}

static void store_counts(void *ctx, unsigned limit, counts_done *done, void *arg)
{
	struct store_job *j = open_job(ctx, true, arg);

	j->counts_done = done;
	j->limit = limit > 0 && limit < COUNTS_MAX ? limit : COUNTS_MAX;
	params_i32(pg_job_params(&j->job), (int32_t)j->limit);
	pg_job_add(&j->job, SQL_COUNTS);
	pg_job_send(&j->job, on_counts);
}

void pg_store_port(struct pg *pg, struct store_port *port)
{
	*port = (struct store_port){
		.ctx = pg,
		.participant_put = store_participant_put,
		.participant_list = store_participant_list,
		.list = store_list,
		.journal = store_journal,
		.counts = store_counts,
		.stuck = store_stuck,
		.failover_at = pg_timeline_failover_at,
	};
	pg_store_definition_verbs(port);
	pg_operate_verbs(port);
	pg_doctor_verb(port);
	pg_dtm_verbs(port);
}
