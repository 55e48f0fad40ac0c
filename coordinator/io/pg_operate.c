/* SPDX-License-Identifier: Apache-2.0
 * pg_operate.c - what people pause, and the audit of what they did.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>

enum { PAUSES_MAX = 10000, AUDIT_EXAMINES = 1000 };

struct operate_job {
	struct pg_job job;
	pause_done   *done;
	pauses_done  *rows_done;
	deeds_done   *deeds_done;
	unsigned      limit;
	void         *arg;
};

static struct operate_job *open_job(struct pg *pg, bool only_reads, void *arg)
{
	struct operate_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = only_reads;
	return j;
}

/* ---- deeds --------------------------------------------------------------------------- */

bool deed_is_storable(const struct deed *d)
{
	return is_storable(d->kind) && is_storable(d->target) && is_storable(d->action) && is_storable(d->actor) &&
	       is_storable(d->role) && is_storable(d->reason) && is_storable(d->request_id) &&
	       is_storable(d->step) && is_storable(d->op) && is_storable(d->detail);
}

void put_deed(struct pg_params *p, const struct deed *d)
{
	params_uuid(p, d->replica);
	params_text(p, d->kind);
	params_text(p, d->target);
	params_text(p, d->action);
	params_text(p, d->actor);
	params_text(p, d->role);
	params_optional(p, d->reason);
	params_optional(p, d->request_id);
	params_optional(p, d->detail);
}

/* ---- pauses ---------------------------------------------------------------------------- */

static void on_paused(struct pg_job *job)
{
	struct operate_job *j = (struct operate_job *)job;
	bool                is_told = rows_of(job) > 0;

	j->done(j->arg, job->result, is_told && cell_bool(job->results[0], 0, 0),
	        is_told && cell_bool(job->results[0], 0, 1));
	pg_job_free(job);
}

static void write_pause(struct pg *pg, enum statement statement, const struct pause_row *row,
                        const struct deed *deed, pause_done *done, void *arg)
{
	struct operate_job *j = open_job(pg, false, arg);
	struct pg_params   *p = pg_job_params(&j->job);

	j->done = done;
	if (!is_storable(row->name) || !deed_is_storable(deed)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_paused);
		return;
	}
	put_deed(p, deed);
	params_text(p, str_of(pause_kind_name(row->kind)));
	params_text(p, row->name);
	pg_job_add(&j->job, statement);
	pg_job_send(&j->job, on_paused);
}

static void store_pause(void *ctx, const struct pause_row *row, const struct deed *deed, pause_done *done, void *arg)
{
	write_pause(ctx, SQL_PAUSE, row, deed, done, arg);
}

static void store_unpause(void *ctx, const struct pause_row *row, const struct deed *deed, pause_done *done,
                          void *arg)
{
	write_pause(ctx, SQL_UNPAUSE, row, deed, done, arg);
}

static void store_pause_look(void *ctx, const struct pause_row *row, pause_done *done, void *arg)
{
	struct operate_job *j = open_job(ctx, true, arg);
	struct pg_params   *p = pg_job_params(&j->job);

	j->done = done;
	if (!is_storable(row->name)) {
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_paused);
		return;
	}
	params_text(p, str_of(pause_kind_name(row->kind)));
	params_text(p, row->name);
	pg_job_add(&j->job, SQL_PAUSE_LOOK);
	pg_job_send(&j->job, on_paused);
}

static bool kind_of(struct str text, enum pause_kind *out)
{
	for (int i = 0; i < PAUSE_KIND_COUNT; i++)
		if (str_is(text, pause_kind_name((enum pause_kind)i))) {
			*out = (enum pause_kind)i;
			return true;
		}
	return false;
}

static void on_pauses(struct pg_job *job)
{
	struct operate_job *j = (struct operate_job *)job;
	PGresult           *r = job->results[0];
	size_t              total = rows_of(job), n = 0;
	struct pause_row   *rows = mem_array(total, sizeof *rows);

	for (size_t k = 0; k < total; k++) {
		int i = (int)k;

		if (!kind_of(cell_text(r, i, 0), &rows[n].kind))
			continue; /* a newer version's */
		rows[n].name = cell_text(r, i, 1);
		rows[n].since = cell_time(r, i, 2);
		rows[n].actor = cell_text(r, i, 3);
		rows[n].reason = cell_text(r, i, 4);
		n++;
	}
	j->rows_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void store_pauses(void *ctx, pauses_done *done, void *arg)
{
	struct operate_job *j = open_job(ctx, true, arg);

	j->rows_done = done;
	params_i32(pg_job_params(&j->job), PAUSES_MAX);
	pg_job_add(&j->job, SQL_PAUSES);
	pg_job_send(&j->job, on_pauses);
}

/* ---- the audit --------------------------------------------------------------------------- */

enum { COLUMN_LAST = 15, COLUMN_EXAMINED = 16, COLUMN_IN_TIME = 17 };

static struct deed_row decode(const PGresult *r, int i)
{
	return (struct deed_row){
		.number = (uint64_t)cell_i64(r, i, 0),
		.at = cell_time(r, i, 1),
		.deed = {
			.before = (uint64_t)cell_i64(r, i, 2),
			.after = (uint64_t)cell_i64(r, i, 3),
			.replica = cell_uuid(r, i, 4),
			.kind = cell_text(r, i, 5),
			.target = cell_text(r, i, 6),
			.action = cell_text(r, i, 7),
			.actor = cell_text(r, i, 8),
			.role = cell_text(r, i, 9),
			.reason = cell_text(r, i, 10),
			.step = cell_text(r, i, 11),
			.op = cell_text(r, i, 12),
			.request_id = cell_text(r, i, 13),
			.detail = cell_text(r, i, 14),
		},
	};
}

/* Behind the last row if the page was cut by its limit; behind the last one examined if that was cut, and
 * it is not older than all that is wanted; else nowhere. */
static uint64_t next_of(const struct operate_job *j, const PGresult *r, size_t n)
{
	if (n > 0 && n >= j->limit)
		return (uint64_t)cell_i64(r, (int)n - 1, 0);
	if (PQntuples(r) > 0 && cell_i64(r, 0, COLUMN_EXAMINED) >= AUDIT_EXAMINES && cell_bool(r, 0, COLUMN_IN_TIME))
		return (uint64_t)cell_i64(r, 0, COLUMN_LAST);
	return 0;
}

static void on_deeds(struct pg_job *job)
{
	struct operate_job *j = (struct operate_job *)job;
	PGresult           *r = job->results[0];
	size_t              total = rows_of(job);
	/* A page without a hit is one row of nulls that says how far it came. */
	size_t              n = total == 1 && cell_is_null(r, 0, 0) ? 0 : total;
	struct deed_row    *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++)
		rows[i] = decode(r, (int)i);
	j->deeds_done(j->arg, job->result, rows, n, total > 0 ? next_of(j, r, n) : 0);
	free(rows);
	pg_job_free(job);
}

static void store_audit(void *ctx, const struct deed_filter *f, unsigned limit, deeds_done *done, void *arg)
{
	struct operate_job *j = open_job(ctx, true, arg);
	struct pg_params   *p = pg_job_params(&j->job);

	j->deeds_done = done;
	j->limit = limit;
	if (!is_storable(f->kind) || !is_storable(f->target) || !is_storable(f->actor) || !is_storable(f->action)) {
		pg_job_refuse(&j->job, LOG_DONE, on_deeds); /* nothing stored can match */
		return;
	}
	params_i64(p, f->below == 0 || f->below > INT64_MAX ? INT64_MAX : (int64_t)f->below);
	params_i32(p, AUDIT_EXAMINES);
	params_i32(p, (int32_t)limit);
	params_optional(p, f->target);
	params_optional(p, f->kind);
	params_optional(p, f->actor);
	params_optional(p, f->action);
	params_time(p, f->since);
	params_time(p, f->until);
	pg_job_add(&j->job, f->target.n > 0 ? SQL_AUDIT_OF : SQL_AUDIT_ALL);
	pg_job_send(&j->job, on_deeds);
}

void pg_operate_verbs(struct store_port *port)
{
	port->pause = store_pause;
	port->unpause = store_unpause;
	port->pause_look = store_pause_look;
	port->pauses = store_pauses;
	port->audit = store_audit;
	pg_bulk_verbs(port);
}
