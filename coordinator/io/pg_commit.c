/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>
#include <string.h>

struct commit_job {
	struct pg_job       job;
	const struct batch *batch;
	batch_done         *done;
	void               *arg;
	int64_t             sent_us; /* boot */
	int                 stand, fresh, insert, change; /* which statement of the job; -1: none */
	bool                marks[]; /* per begin, then per change: done */
};

/* ---- is it fit to be sent? ------------------------------------------------------ */

static bool are_storable(const struct str *const texts[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_storable(*texts[i]))
			return false;
	return true;
}

static bool begin_is_storable(const struct row *r)
{
	const struct str *texts[] = { &r->gid, &r->definition, &r->document, &r->input, &r->labels,
		                      &r->traceparent, &r->progress };

	return !phase_is_ended(r->phase) && are_storable(texts, sizeof texts / sizeof texts[0]);
}

static bool entry_is_storable(const struct entry *e)
{
	const struct str *texts[] = { &e->gid, &e->what, &e->step, &e->op, &e->outcome, &e->detail, &e->actor };

	return are_storable(texts, sizeof texts / sizeof texts[0]);
}

static bool batch_is_storable(const struct batch *b)
{
	for (size_t i = 0; i < b->begin_count; i++)
		if (!begin_is_storable(&b->begins[i]))
			return false;
	for (size_t i = 0; i < b->change_count; i++) {
		const struct change *c = &b->changes[i];
		if (c->ended != phase_is_ended(c->phase) || !is_storable(c->gid) || !is_storable(c->progress) || !is_storable(c->document))
			return false;
	}
	for (size_t i = 0; i < b->entry_count; i++)
		if (!entry_is_storable(&b->entries[i]))
			return false;
	for (size_t i = 0; i < b->deed_count; i++)
		if (!deed_is_storable(&b->deeds[i]))
			return false;
	return true;
}

/* ---- parameters --------------------------------------------------------------------- */

/* One array parameter out of one expression over the items `it` of a batch. */
#define ARRAY(p, type, item, it, items, n, value) \
	do { \
		params_array(p, type, n); \
		for (size_t index_ = 0; index_ < (n); index_++) { \
			it = &(items)[index_]; \
			item(p, value); \
		} \
	} while (0)

/* As ARRAY, over the begins that are fresh, or those that are not. */
#define BEGINS(p, type, item, value) \
	do { \
		params_array(p, type, n); \
		for (size_t index_ = 0; index_ < b->begin_count; index_++) { \
			r = &b->begins[index_]; \
			if (r->fresh == fresh) \
				item(p, value); \
		} \
	} while (0)

/* Of columns that most rows have no value for. */
#define OPTIONAL_BEGINS(p, type, item, value) \
	do { \
		BEGINS(p, type, item, value); \
		params_no_nulls(p); \
	} while (0)

static void item_version(struct pg_params *p, const struct row *r)
{
	if (r->definition.n > 0)
		item_i32(p, (int32_t)r->definition_version);
	else
		item_null(p);
}

static void item_hash(struct pg_params *p, const struct row *r)
{
	item_bytes(p, r->hash, sizeof r->hash);
}

/* The least and the greatest gid of those begins. */
static void put_range(struct pg_params *p, const struct batch *b, bool fresh)
{
	struct str low = { 0 }, high = { 0 };

	for (size_t i = 0; i < b->begin_count; i++) {
		struct str gid = b->begins[i].gid;

		if (b->begins[i].fresh != fresh)
			continue;
		if (low.p == NULL || str_cmp(gid, low) < 0)
			low = gid;
		if (high.p == NULL || str_cmp(gid, high) > 0)
			high = gid;
	}
	params_text(p, low);
	params_text(p, high);
}

static void put_begins(struct pg_params *p, const struct batch *b, bool fresh, size_t n)
{
	const struct row *r;

	params_uuid(p, b->me);
	put_range(p, b, fresh);
	BEGINS(p, PG_TEXT, item_text, r->gid);
	BEGINS(p, PG_TEXT, item_text, str_of(phase_name(r->phase)));
	BEGINS(p, PG_TIMESTAMPTZ, item_time, r->created_at);
	OPTIONAL_BEGINS(p, PG_TIMESTAMPTZ, item_time, r->deadline_at);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->definition);
	OPTIONAL_BEGINS(p, PG_INT4, item_version, r);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->document);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->input);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->labels);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->traceparent);
	BEGINS(p, PG_BYTEA, item_hash, r);
	BEGINS(p, PG_INT8, item_i64, r->retention_ms);
	BEGINS(p, PG_INT2, item_i16, (int16_t)r->format);
	BEGINS(p, PG_TEXT, item_text, r->progress);
}

/* What put_alike() does not send for each is the same in all fresh ones. */
static bool are_alike(const struct batch *b, const struct row *first)
{
	for (size_t i = 0; i < b->begin_count; i++) {
		const struct row *r = &b->begins[i];

		if (!r->fresh)
			continue;
		if (r->deadline_at != 0 || r->document.n > 0 || r->labels.n > 0 || r->traceparent.n > 0)
			return false;
		if (r->phase != first->phase || r->definition_version != first->definition_version ||
		    r->retention_ms != first->retention_ms || r->format != first->format)
			return false;
		if (!str_eq(r->definition, first->definition) || !str_eq(r->progress, first->progress))
			return false;
	}
	return true;
}

static void put_alike(struct pg_params *p, const struct batch *b, const struct row *first, size_t n)
{
	const bool        fresh = true;
	const struct row *r;

	params_uuid(p, b->me);
	put_range(p, b, fresh);
	params_text(p, str_of(phase_name(first->phase)));
	params_optional(p, first->definition);
	if (first->definition.n > 0)
		params_i32(p, (int32_t)first->definition_version);
	else
		params_null(p);
	params_i64(p, first->retention_ms);
	params_i16(p, (int16_t)first->format);
	params_text(p, first->progress);
	BEGINS(p, PG_TEXT, item_text, r->gid);
	BEGINS(p, PG_TIMESTAMPTZ, item_time, r->created_at);
	OPTIONAL_BEGINS(p, PG_TEXT, item_optional, r->input);
	BEGINS(p, PG_BYTEA, item_hash, r);
}

/* A release always names a time, since a null one means "keeps its owner". */
static int64_t release_at(const struct change *c)
{
	if (!c->release || c->ended)
		return 0;
	return c->due_at != 0 ? c->due_at : 1;
}

static void item_document(struct pg_params *p, struct str document)
{
	if (document.p == NULL)
		item_null(p);
	else
		item_text(p, document);
}

/* Null: it is not stuck. */
static void item_stuck(struct pg_params *p, enum stuck stuck)
{
	if (stuck == STUCK_NONE)
		item_null(p);
	else
		item_text(p, str_of(stuck_name(stuck)));
}

/* Null: it is not paused. */
static void item_paused(struct pg_params *p, bool paused)
{
	if (paused)
		item_bool(p, true);
	else
		item_null(p);
}

/* As ARRAY, of what most changes do not say. */
#define OPTIONAL_ARRAY(p, type, item, it, items, n, value) \
	do { \
		ARRAY(p, type, item, it, items, n, value); \
		params_no_nulls(p); \
	} while (0)

/* They say what every change says, and nothing more, of rows that have changed hands equally often. */
static bool are_steps(const struct batch *b)
{
	for (size_t i = 0; i < b->change_count; i++) {
		const struct change *c = &b->changes[i];

		if (c->stuck != STUCK_NONE || c->paused || c->document.p != NULL || release_at(c) != 0)
			return false;
		if (c->epoch != b->changes[0].epoch)
			return false;
	}
	return true;
}

static void put_changes(struct pg_params *p, const struct batch *b, bool steps)
{
	const struct change *c;
	size_t               n = b->change_count;

	params_uuid(p, b->me);
	if (steps)
		params_i64(p, (int64_t)b->changes[0].epoch);
	else
		ARRAY(p, PG_INT8, item_i64, c, b->changes, n, (int64_t)c->epoch);
	ARRAY(p, PG_TEXT, item_text, c, b->changes, n, c->gid);
	ARRAY(p, PG_INT8, item_i64, c, b->changes, n, (int64_t)c->version);
	ARRAY(p, PG_TEXT, item_text, c, b->changes, n, str_of(phase_name(c->phase)));
	ARRAY(p, PG_TEXT, item_text, c, b->changes, n, c->progress);
	params_time(p, b->at);
	if (steps)
		return;
	OPTIONAL_ARRAY(p, PG_TEXT, item_stuck, c, b->changes, n, c->stuck);
	OPTIONAL_ARRAY(p, PG_BOOL, item_paused, c, b->changes, n, c->paused);
	OPTIONAL_ARRAY(p, PG_TEXT, item_document, c, b->changes, n, c->document);
	OPTIONAL_ARRAY(p, PG_TIMESTAMPTZ, item_time, c, b->changes, n, release_at(c));
}

/* The change of this gid, looked for from *at on and around, or NULL. */
static const struct change *change_of(const struct batch *b, struct str gid, size_t *at)
{
	for (size_t tried = 0; tried < b->change_count; tried++) {
		const struct change *c = &b->changes[(*at + tried) % b->change_count];

		if (!str_eq(c->gid, gid))
			continue;
		*at = (size_t)(c - b->changes);
		return c;
	}
	return NULL;
}

/* The changes by what they were made of: for statements that speak of those that applied. */
static void put_change_keys(struct pg_params *p, const struct batch *b)
{
	const struct change *c;

	ARRAY(p, PG_TEXT, item_text, c, b->changes, b->change_count, c->gid);
	ARRAY(p, PG_INT8, item_i64, c, b->changes, b->change_count, (int64_t)c->epoch);
	ARRAY(p, PG_INT8, item_i64, c, b->changes, b->change_count, (int64_t)c->version);
}

/* Entries stand in the order of the changes that they speak of. Null: it speaks of none. */
static void put_spoken_of(struct pg_params *p, const struct batch *b, bool versions)
{
	size_t at = 0;

	params_array(p, PG_INT8, b->entry_count);
	for (size_t i = 0; i < b->entry_count; i++) {
		const struct change *c = change_of(b, b->entries[i].gid, &at);

		if (c == NULL)
			item_null(p);
		else
			item_i64(p, (int64_t)(versions ? c->version : c->epoch));
	}
}

static void put_entries(struct pg_params *p, const struct batch *b)
{
	const struct entry *e;
	size_t              n = b->entry_count;

	ARRAY(p, PG_TEXT, item_text, e, b->entries, n, e->gid);
	ARRAY(p, PG_TIMESTAMPTZ, item_time, e, b->entries, n, e->at != 0 ? e->at : 1);
	ARRAY(p, PG_TEXT, item_text, e, b->entries, n, e->what);
	ARRAY(p, PG_TEXT, item_optional, e, b->entries, n, e->step);
	ARRAY(p, PG_TEXT, item_optional, e, b->entries, n, e->op);
	ARRAY(p, PG_TEXT, item_optional, e, b->entries, n, e->outcome);
	ARRAY(p, PG_INT4, item_i32, e, b->entries, n, (int32_t)e->attempt);
	ARRAY(p, PG_INT4, item_i32, e, b->entries, n, e->status);
	ARRAY(p, PG_TEXT, item_optional, e, b->entries, n, e->detail);
	ARRAY(p, PG_TEXT, item_optional, e, b->entries, n, e->actor);
	ARRAY(p, PG_UUID, item_uuid, e, b->entries, n, e->replica);
	put_spoken_of(p, b, false);
	put_spoken_of(p, b, true);
}

static void put_deeds(struct pg_params *p, const struct batch *b)
{
	const struct deed *d;
	size_t             n = b->deed_count;

	params_uuid(p, b->me);
	ARRAY(p, PG_TEXT, item_text, d, b->deeds, n, d->target);
	ARRAY(p, PG_TEXT, item_text, d, b->deeds, n, d->action);
	ARRAY(p, PG_TEXT, item_text, d, b->deeds, n, d->actor);
	ARRAY(p, PG_TEXT, item_text, d, b->deeds, n, d->role);
	ARRAY(p, PG_TEXT, item_optional, d, b->deeds, n, d->reason);
	ARRAY(p, PG_TEXT, item_optional, d, b->deeds, n, d->step);
	ARRAY(p, PG_TEXT, item_optional, d, b->deeds, n, d->op);
	ARRAY(p, PG_TEXT, item_optional, d, b->deeds, n, d->request_id);
	ARRAY(p, PG_TEXT, item_optional, d, b->deeds, n, d->detail);
	ARRAY(p, PG_INT8, item_i64, d, b->deeds, n, (int64_t)d->before);
	ARRAY(p, PG_INT8, item_i64, d, b->deeds, n, (int64_t)d->after);
	put_change_keys(p, b);
}

static void put_settled(struct pg_params *p, const struct batch *b)
{
	const struct settled *s;

	params_uuid(p, b->me);
	ARRAY(p, PG_UUID, item_uuid, s, b->settled, b->settled_count, s->id);
	ARRAY(p, PG_TEXT, item_text, s, b->settled, b->settled_count, str_of(verdict_name(s->verdict)));
	put_change_keys(p, b);
}

/* ---- the answer ------------------------------------------------------------------------- */

static void mark(bool *marks, size_t n, const PGresult *r, struct str (*gid_of)(const struct batch *, size_t),
                 const struct batch *b)
{
	size_t at = 0;

	/* Rows come back in the order they were sent, some missing; the wrap makes no use of that. */
	for (int i = 0; r != NULL && i < PQntuples(r); i++) {
		struct str gid = cell_text(r, i, 0);
		size_t     tried = 0;

		while (tried < n && !str_eq(gid_of(b, at), gid)) {
			at = at + 1 < n ? at + 1 : 0;
			tried++;
		}
		if (tried < n)
			marks[at] = true;
	}
}

static struct str begin_gid(const struct batch *b, size_t i)
{
	return b->begins[i].gid;
}

static struct str change_gid(const struct batch *b, size_t i)
{
	return b->changes[i].gid;
}

static enum log_result commit_result(const struct commit_job *j)
{
	const struct pg_job *job = &j->job;

	/* How they fail when our replica row is not live. */
	if (job->failed_at >= 0 && job->fails_on_purpose && (job->failed_at == j->stand || job->failed_at == j->fresh))
		return LOG_FENCED;
	return job->result;
}

/* Only the gid of a begin makes that statement wait for another transaction. */
static bool is_barred(const struct commit_job *j)
{
	return j->insert >= 0 && j->job.failed_at == j->insert && strcmp(j->job.state, "55P03") == 0;
}

static struct commit_job *open_job(struct pg *pg, const struct batch *b, batch_done *done, void *arg)
{
	struct commit_job *j = mem_alloc(sizeof *j + b->begin_count + b->change_count);

	*j = (struct commit_job){ .batch = b, .done = done, .arg = arg, .stand = -1, .fresh = -1, .insert = -1, .change = -1,
	                          .sent_us = clock_boot_us() };
	memset(j->marks, 0, b->begin_count + b->change_count);
	pg_job_begin(&j->job, &pg->log);
	return j;
}

static void deliver(struct commit_job *j, enum log_result result)
{
	if (result != LOG_DONE && j->batch->begin_count > 0)
		pg_nursery_doubt(j->job.conn->pg);
	j->done(j->arg, result, &(struct batch_result){ j->marks, j->marks + j->batch->begin_count, is_barred(j) });
	pg_job_free(&j->job);
}

/* False: not all of them applied, and the answer does not name those that did. */
static bool mark_changes(struct commit_job *j)
{
	const struct batch *b = j->batch;
	PGresult           *r = j->job.results[j->change];

	if (b->begin_count == 0)
		mark(j->marks + b->begin_count, b->change_count, r, change_gid, b);
	else if (r == NULL || strtoul(PQcmdTuples(r), NULL, 10) != b->change_count)
		return false;
	else
		memset(j->marks + b->begin_count, true, b->change_count);
	return true;
}

/* Who cannot be told which of the changes applied reads all of them again. */
static void on_told(struct pg_job *job)
{
	struct commit_job  *j = (struct commit_job *)job;
	const struct batch *b = j->batch;

	if (job->result == LOG_DONE)
		mark(j->marks + b->begin_count, b->change_count, job->results[0], change_gid, b);
	deliver(j, job->result == LOG_DONE ? LOG_DONE : LOG_LOST);
}

/* Almost always all changes apply: it is cheaper to ask when some do not. */
static void ask_which(struct commit_job *first)
{
	const struct batch  *b = first->batch;
	const struct change *c;
	struct commit_job   *j = open_job(first->job.conn->pg, b, first->done, first->arg);
	struct pg_params    *p = pg_job_params(&j->job);
	size_t               i = 0;

	memcpy(j->marks, first->marks, b->begin_count);
	j->job.only_reads = true;
	ARRAY(p, PG_TEXT, item_text, c, b->changes, b->change_count, c->gid);
	if (first->stand >= 0)
		params_i64(p, cell_i64(first->job.results[first->stand], 0, 0));
	else
		params_null(p);
	while (i + 1 < b->begin_count && !b->begins[i].fresh)
		i++;
	params_text(p, b->begins[i].gid);
	pg_job_add(&j->job, SQL_CHANGED);
	pg_job_send(&j->job, on_told);
	pg_job_free(&first->job);
}

static void on_committed(struct pg_job *job)
{
	struct commit_job  *j = (struct commit_job *)job;
	const struct batch *b = j->batch;
	enum log_result     result = commit_result(j);
	struct pg          *pg = job->conn->pg;

	if (b->begin_count > 0)
		pg_nursery_answered(pg);
	if (job->sent > 0) {
		tally_add(&pg->batch_us, TALLY_BATCH_US, (uint64_t)(clock_boot_us() - j->sent_us));
		tally_add(&pg->batch_rows, TALLY_ROWS, b->begin_count + b->change_count);
	}
	for (size_t i = 0; result == LOG_DONE && i < b->begin_count; i++)
		j->marks[i] = b->begins[i].fresh; /* one that was not inserted would have failed the batch */
	if (result == LOG_DONE && j->insert >= 0)
		mark(j->marks, b->begin_count, job->results[j->insert], begin_gid, b);
	/* Committed here, perhaps not on the standby: what was in doubt is read again after a reconnect. */
	if (job->doubt && job->conn->state == CONN_READY)
		pg_link_break(&job->conn->link, "a synchronous standby did not confirm a commit");
	if (result == LOG_DONE && j->change >= 0 && !mark_changes(j)) {
		ask_which(j);
		return;
	}
	deliver(j, result);
}

/* ---- the batch ------------------------------------------------------------------------------ */

static int add(struct pg_job *job, enum statement statement)
{
	int place = (int)job->sent;

	pg_job_add(job, statement);
	return place;
}

static void add_begins(struct commit_job *j)
{
	const struct batch *b = j->batch;
	const struct row   *first = NULL;
	size_t              fresh = 0;

	for (size_t i = b->begin_count; i-- > 0;)
		if (b->begins[i].fresh) {
			first = &b->begins[i];
			fresh++;
		}
	if (fresh < b->begin_count) {
		params_uuid(pg_job_params(&j->job), b->me);
		j->stand = add(&j->job, SQL_STAND);
	}
	if (fresh > 0 && are_alike(b, first)) {
		put_alike(pg_job_params(&j->job), b, first, fresh);
		j->fresh = add(&j->job, SQL_INSERT_ALIKE);
	} else if (fresh > 0) {
		put_begins(pg_job_params(&j->job), b, true, fresh);
		j->fresh = add(&j->job, SQL_INSERT_FRESH);
	}
	if (fresh < b->begin_count) {
		put_begins(pg_job_params(&j->job), b, false, b->begin_count - fresh);
		j->insert = add(&j->job, SQL_INSERT);
	}
}

static void add_changes(struct commit_job *j)
{
	const struct batch *b = j->batch;
	const bool          steps = are_steps(b);

	put_changes(pg_job_params(&j->job), b, steps);
	if (b->begin_count > 0)
		j->change = add(&j->job, steps ? SQL_STEP : SQL_CHANGE);
	else
		j->change = add(&j->job, steps ? SQL_STEP_TELL : SQL_CHANGE_TELL);
}

void pg_commit(void *ctx, const struct batch *b, batch_done *done, void *arg)
{
	struct pg         *pg = ctx;
	struct commit_job *j = open_job(pg, b, done, arg);
	struct pg_job     *job = &j->job;

	if (!batch_is_storable(b)) {
		pg_job_refuse(job, LOG_BAD_DATA, on_committed);
		return;
	}
	if (b->hasty) {
		pg_job_params(job);
		add(job, SQL_HASTEN);
	}
	if (b->begin_count > 0) {
		pg_nursery_move(job, b->me);
		add_begins(j);
	}
	if (b->change_count > 0)
		add_changes(j);
	if (b->entry_count > 0) {
		put_entries(pg_job_params(job), b);
		add(job, SQL_JOURNAL);
	}
	if (b->deed_count > 0) {
		put_deeds(pg_job_params(job), b);
		add(job, SQL_AUDIT);
	}
	if (b->settled_count > 0) {
		put_settled(pg_job_params(job), b);
		add(job, SQL_SETTLE);
	}
	pg_job_send(job, on_committed);
}
