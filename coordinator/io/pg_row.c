/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "participants/definition.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ---------------------------------------------------------------------- */

bool cell_is_null(const PGresult *r, int i, int column)
{
	return PQgetisnull(r, i, column);
}

struct str cell_text(const PGresult *r, int i, int column)
{
	return (struct str){ PQgetvalue(r, i, column), (size_t)PQgetlength(r, i, column) };
}

/* A cell of another width is not ours to read: 0. */
int64_t cell_i64(const PGresult *r, int i, int column)
{
	uint64_t v = 0;

	if (PQgetlength(r, i, column) == sizeof v)
		memcpy(&v, PQgetvalue(r, i, column), sizeof v);
	return (int64_t)be64toh(v);
}

int32_t cell_i32(const PGresult *r, int i, int column)
{
	uint32_t v = 0;

	if (PQgetlength(r, i, column) == sizeof v)
		memcpy(&v, PQgetvalue(r, i, column), sizeof v);
	return (int32_t)be32toh(v);
}

static int16_t cell_i16(const PGresult *r, int i, int column)
{
	uint16_t v = 0;

	if (PQgetlength(r, i, column) == sizeof v)
		memcpy(&v, PQgetvalue(r, i, column), sizeof v);
	return (int16_t)be16toh(v);
}

int64_t cell_time(const PGresult *r, int i, int column)
{
	return cell_is_null(r, i, column) ? 0 : pg_time_to_ms(cell_i64(r, i, column));
}

bool cell_bool(const PGresult *r, int i, int column)
{
	return PQgetlength(r, i, column) == 1 && PQgetvalue(r, i, column)[0] != 0;
}

double cell_f64(const PGresult *r, int i, int column)
{
	uint64_t bits = (uint64_t)cell_i64(r, i, column);
	double   v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

struct uuid cell_uuid(const PGresult *r, int i, int column)
{
	struct uuid u = { { 0 } };

	if (PQgetlength(r, i, column) == sizeof u.b)
		memcpy(u.b, PQgetvalue(r, i, column), sizeof u.b);
	return u;
}

struct lease_sight cell_sight(const PGresult *r, int i, int column)
{
	struct lease_sight sight = { 0 };

	if (!cell_is_null(r, i, column)) {
		int64_t ttl_ms = cell_i64(r, i, column + 1);

		sight.mark = cell_i64(r, i, column);
		sight.ttl_ms = ttl_ms < 0 ? 0 : ttl_ms > INT32_MAX ? INT32_MAX : (uint32_t)ttl_ms;
	}
	return sight;
}

/* Most texts are ASCII: eight bytes at a time, looking for a zero or a high bit. */
bool is_storable(struct str text)
{
	const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
	size_t         i = 0;

	for (uint64_t two[2]; i + sizeof two <= text.n; i += sizeof two) {
		memcpy(two, text.p + i, sizeof two);
		if (((two[0] - ones) | two[0] | (two[1] - ones) | two[1]) & highs)
			break;
	}
	for (uint64_t word; i + sizeof word <= text.n; i += sizeof word) {
		memcpy(&word, text.p + i, sizeof word);
		if (((word - ones) | word) & highs)
			break;
	}
	struct str rest = { text.p + i, text.n - i };
	for (; rest.n > 0 && rest.n < sizeof highs && (signed char)rest.p[0] > 0; rest.p++)
		rest.n--;
	return rest.n == 0 || (memchr(rest.p, '\0', rest.n) == NULL && text_is_utf8(rest));
}

/* ---- rows -------------------------------------------------------------------------- */

enum { /* in the order of ROW_COLUMNS */
	COLUMN_GID, COLUMN_OWNER, COLUMN_EPOCH, COLUMN_VERSION, COLUMN_PHASE, COLUMN_STUCK, COLUMN_PAUSED,
	COLUMN_ADOPTIONS, COLUMN_CREATED_AT, COLUMN_ENDED_AT, COLUMN_DUE_AT, COLUMN_DEADLINE_AT,
	COLUMN_DEFINITION, COLUMN_DEFINITION_VERSION, COLUMN_DOCUMENT, COLUMN_INPUT, COLUMN_LABELS,
	COLUMN_TRACEPARENT, COLUMN_HASH, COLUMN_RETENTION_MS, COLUMN_FORMAT, COLUMN_PROGRESS
};

static bool phase_of(struct str text, enum phase *out)
{
#define X(name, word, ...) \
	if (str_is(text, word)) { \
		*out = PHASE_##name; \
		return true; \
	}
	TXN_PHASES(X)
#undef X
	return false;
}

static bool stuck_of(struct str text, enum stuck *out)
{
#define X(name, word, ...) \
	if (str_is(text, word)) { \
		*out = STUCK_##name; \
		return true; \
	}
	TXN_STUCKS(X)
#undef X
	return false;
}

static struct definition *find_definition(struct pg *pg, const struct row *row)
{
	struct definition *def = NULL;

	if (row->document.n > 0) /* with a name: changed for this transaction alone */
		return definitions_compile_own(row->definition, row->document);
	if (row->definition.n > 0)
		def = definitions_get(&pg->definitions, row->definition, row->definition_version);
	return def != NULL ? definition_hold(def) : NULL;
}

bool row_decode(struct pg *pg, const PGresult *r, int i, struct row *row)
{
	struct str hash = cell_text(r, i, COLUMN_HASH);

	*row = (struct row){
		.gid = cell_text(r, i, COLUMN_GID),
		.owner = cell_uuid(r, i, COLUMN_OWNER),
		.epoch = (uint64_t)cell_i64(r, i, COLUMN_EPOCH),
		.version = (uint64_t)cell_i64(r, i, COLUMN_VERSION),
		.paused = cell_bool(r, i, COLUMN_PAUSED),
		.adoptions = (uint32_t)cell_i32(r, i, COLUMN_ADOPTIONS),
		.created_at = cell_time(r, i, COLUMN_CREATED_AT),
		.ended_at = cell_time(r, i, COLUMN_ENDED_AT),
		.due_at = cell_time(r, i, COLUMN_DUE_AT),
		.deadline_at = cell_time(r, i, COLUMN_DEADLINE_AT),
		.definition = cell_text(r, i, COLUMN_DEFINITION),
		.definition_version = (uint32_t)cell_i32(r, i, COLUMN_DEFINITION_VERSION),
		.document = cell_text(r, i, COLUMN_DOCUMENT),
		.input = cell_text(r, i, COLUMN_INPUT),
		.labels = cell_text(r, i, COLUMN_LABELS),
		.traceparent = cell_text(r, i, COLUMN_TRACEPARENT),
		.retention_ms = cell_i64(r, i, COLUMN_RETENTION_MS),
		.format = (uint16_t)cell_i16(r, i, COLUMN_FORMAT),
		.progress = cell_text(r, i, COLUMN_PROGRESS),
	};
	if (hash.n == sizeof row->hash)
		memcpy(row->hash, hash.p, sizeof row->hash);
	if (!phase_of(cell_text(r, i, COLUMN_PHASE), &row->phase) ||
	    !stuck_of(cell_text(r, i, COLUMN_STUCK), &row->stuck))
		return false;
	row->def = find_definition(pg, row);
	return true;
}

void row_release(struct row *row)
{
	definition_drop(row->def);
	row->def = NULL;
}

/* ---- definitions that rows name ----------------------------------------------------------- */

/* The first statement's rows wait in `waiting` while their definitions are fetched. */
struct fetch_job {
	struct pg_job  job;
	struct pg_job *waiting;
	job_done      *next;
};

static void on_fetched(struct pg_job *job)
{
	struct fetch_job *f = (struct fetch_job *)job;
	struct pg        *pg = job->conn->pg;
	PGresult         *r = job->results[0];

	for (int i = 0; r != NULL && i < PQntuples(r); i++)
		definitions_put(pg, cell_text(r, i, 0), (uint32_t)cell_i32(r, i, 1), cell_text(r, i, 2));
	/* Without its definition a row would look unfit for good, when only the database was away. */
	if (job->result != LOG_DONE)
		f->waiting->result = f->waiting->only_reads ? LOG_AWAY : LOG_LOST;
	f->next(f->waiting);
	pg_job_free(job);
}

static bool is_missing(struct pg *pg, const PGresult *r, int i)
{
	struct str name = cell_text(r, i, COLUMN_DEFINITION);

	return name.n > 0 && cell_is_null(r, i, COLUMN_DOCUMENT) &&
		definitions_get(&pg->definitions, name, (uint32_t)cell_i32(r, i, COLUMN_DEFINITION_VERSION)) == NULL;
}

bool rows_fetch_definitions(struct pg *pg, struct pg_job *job, const PGresult *r, struct pg_conn *c, job_done *next)
{
	struct str *names = NULL;
	int32_t    *versions = NULL;
	size_t      n = 0;

	for (int i = 0; r != NULL && i < PQntuples(r); i++) {
		struct str name = cell_text(r, i, COLUMN_DEFINITION);
		int32_t    version = cell_i32(r, i, COLUMN_DEFINITION_VERSION);
		size_t     at = 0;

		if (!is_missing(pg, r, i))
			continue;
		while (at < n && !(versions[at] == version && str_eq(names[at], name)))
			at++;
		if (at < n)
			continue;
		names = mem_grow(names, n + 1, sizeof *names);
		versions = mem_grow(versions, n + 1, sizeof *versions);
		names[n] = name;
		versions[n++] = version;
	}
	if (n == 0)
		return false;
	struct fetch_job *f = mem_alloc(sizeof *f);
	f->waiting = job;
	f->next = next;
	pg_job_begin(&f->job, c);
	f->job.only_reads = true;
	struct pg_params *p = pg_job_params(&f->job);
	params_texts(p, names, n);
	params_array(p, PG_INT4, n);
	for (size_t i = 0; i < n; i++)
		item_i32(p, versions[i]);
	pg_job_add(&f->job, SQL_DEFINITIONS_NAMED);
	pg_job_send(&f->job, on_fetched);
	free(names);
	free(versions);
	return true;
}

static void deliver(struct pg_job *job)
{
	struct rows_job *j = (struct rows_job *)job;
	struct pg       *pg = job->conn->pg;
	PGresult        *r = job->results[0];
	int              total = job->result == LOG_DONE && r != NULL ? PQntuples(r) : 0;
	struct row      *rows = mem_array((size_t)total, sizeof *rows);
	size_t           n = 0;

	for (int i = 0; i < total; i++) {
		if (row_decode(pg, r, i, &rows[n]))
			n++;
		else
			pg_trace(pg, TRACE_ERROR, "row_unreadable", "reason=\"unknown phase or stuck\"");
	}
	j->done(j->arg, job->result, rows, n);
	for (size_t i = 0; i < n; i++)
		row_release(&rows[i]);
	free(rows);
	pg_job_free(job);
}

void rows_finish(struct pg_job *job)
{
	struct pg *pg = job->conn->pg;

	if (job->result == LOG_DONE && rows_fetch_definitions(pg, job, job->results[0], job->conn, deliver))
		return;
	deliver(job);
}
