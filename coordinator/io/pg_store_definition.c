/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/arena.h"
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PUT_TRIES = 10 };

/* ---- put -------------------------------------------------------------------------- */

struct put_job {
	struct pg_job        job;
	struct str           name, document;
	uint8_t              hash[32];
	struct deed          deed;   /* its texts in deed_text */
	struct arena         deed_text;
	unsigned             tries;
	definition_put_done *done;
	void                *arg;
};

static void on_put(struct pg_job *job);

static void send_put(struct pg *pg, struct put_job *j)
{
	pg_job_begin(&j->job, &pg->store);
	struct pg_params *p = pg_job_params(&j->job);
	put_deed(p, &j->deed);
	params_text(p, j->name);
	params_bytes(p, j->hash, sizeof j->hash);
	params_text(p, j->document);
	pg_job_add(&j->job, SQL_DEFINITION_PUT);
	pg_job_send(&j->job, on_put);
}

static void end_put(struct put_job *j, enum log_result result, bool created, uint32_t version)
{
	j->done(j->arg, result, created, version);
	free((char *)j->name.p);
	free((char *)j->document.p);
	arena_fini(&j->deed_text);
	pg_job_free(&j->job);
}

/* No row: another replica made the next version between our look and our insert. */
static void on_put(struct pg_job *job)
{
	struct put_job *j = (struct put_job *)job;
	struct pg      *pg = job->conn->pg;
	PGresult       *r = job->results[0];

	if (job->result == LOG_DONE && PQntuples(r) == 0 && ++j->tries < PUT_TRIES) {
		PQclear(r);
		memset(job, 0, sizeof *job);
		send_put(pg, j);
		return;
	}
	if (job->result != LOG_DONE || PQntuples(r) == 0) {
		end_put(j, job->result == LOG_DONE ? LOG_AGAIN : job->result, false, 0);
		return;
	}
	uint32_t version = (uint32_t)cell_i32(r, 0, 1);
	definitions_put(pg, j->name, version, j->document);
	definitions_note_newest(&pg->definitions, j->name, version);
	end_put(j, LOG_DONE, cell_bool(r, 0, 0), version);
}

static void on_put_refused(struct pg_job *job)
{
	end_put((struct put_job *)job, job->result, false, 0);
}

static struct deed copy_deed(const struct deed *d, struct arena *arena)
{
	struct deed copy = *d;

	copy.actor = arena_str(arena, d->actor);
	copy.role = arena_str(arena, d->role);
	copy.kind = arena_str(arena, d->kind);
	copy.target = arena_str(arena, d->target);
	copy.action = arena_str(arena, d->action);
	copy.step = copy.op = (struct str){ 0 };
	copy.reason = arena_str(arena, d->reason);
	copy.request_id = arena_str(arena, d->request_id);
	copy.detail = arena_str(arena, d->detail);
	return copy;
}

static void store_definition_put(void *ctx, struct str name, struct str document, const uint8_t hash[32],
                                 const struct deed *deed, definition_put_done *done, void *arg)
{
	struct pg      *pg = ctx;
	struct put_job *j = mem_alloc(sizeof *j);

	j->name = str_dup(name);
	j->document = str_dup(document);
	memcpy(j->hash, hash, sizeof j->hash);
	j->deed = copy_deed(deed, &j->deed_text);
	j->done = done;
	j->arg = arg;
	if (!is_storable(name) || !is_storable(document) || !deed_is_storable(deed)) {
		pg_job_begin(&j->job, &pg->store);
		pg_job_refuse(&j->job, LOG_BAD_DATA, on_put_refused);
		return;
	}
	send_put(pg, j);
}

/* ---- rows ---------------------------------------------------------------------------- */

struct read_job {
	struct pg_job     job;
	definitions_done *rows_done;
	definition_done  *done;
	struct str        name;
	uint32_t          version; /* 0: the newest */
	void             *arg;
};

static struct read_job *open_read(struct pg *pg, void *arg)
{
	struct read_job *j = mem_alloc(sizeof *j);

	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = true;
	return j;
}

static struct definition_row decode(const PGresult *r, int i)
{
	struct definition_row row = {
		.name = cell_text(r, i, 0),
		.version = (uint32_t)cell_i32(r, i, 1),
		.document = cell_text(r, i, 3),
		.created_at = cell_time(r, i, 4),
	};
	struct str hash = cell_text(r, i, 2);

	if (hash.n == sizeof row.hash)
		memcpy(row.hash, hash.p, sizeof row.hash);
	return row;
}

static void on_rows(struct pg_job *job)
{
	struct read_job       *j = (struct read_job *)job;
	PGresult              *r = job->results[0];
	size_t                 n = job->result == LOG_DONE && r != NULL ? (size_t)PQntuples(r) : 0;
	struct definition_row *rows = mem_array(n, sizeof *rows);

	for (size_t i = 0; i < n; i++)
		rows[i] = decode(r, (int)i);
	j->rows_done(j->arg, job->result, rows, n);
	free(rows);
	pg_job_free(job);
}

static void store_definition_rows(void *ctx, struct str name, uint32_t version, definitions_done *done, void *arg)
{
	struct read_job  *j = open_read(ctx, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->rows_done = done;
	params_text(p, name);
	params_i32(p, (int32_t)version);
	pg_job_add(&j->job, SQL_DEFINITION_ROW);
	pg_job_send(&j->job, on_rows);
}

static void store_definition_list(void *ctx, struct str after, unsigned limit, definitions_done *done, void *arg)
{
	struct read_job  *j = open_read(ctx, arg);
	struct pg_params *p = pg_job_params(&j->job);

	j->rows_done = done;
	params_text(p, after);
	params_i32(p, (int32_t)limit);
	pg_job_add(&j->job, SQL_DEFINITION_LIST);
	pg_job_send(&j->job, on_rows);
}

/* ---- compiled ------------------------------------------------------------------------- */

static void end_definition(struct read_job *j, enum log_result result, struct definition *def, uint32_t version)
{
	j->done(j->arg, result, def, version);
	free((char *)j->name.p);
	pg_job_free(&j->job);
}

static void on_definition(struct pg_job *job)
{
	struct read_job   *j = (struct read_job *)job;
	struct pg         *pg = job->conn->pg;
	PGresult          *r = job->results[0];
	struct definition *def = NULL;
	uint32_t           version = 0;

	if (job->result == LOG_DONE && PQntuples(r) > 0) {
		struct definition_row row = decode(r, 0);

		version = row.version;
		def = definitions_put(pg, row.name, version, row.document);
		if (j->version == 0)
			definitions_note_newest(&pg->definitions, row.name, version);
	}
	end_definition(j, job->result, def, version);
}

static struct definition *store_definition_cached(void *ctx, struct str name, uint32_t version, uint32_t *found)
{
	struct pg *pg = ctx;

	if (version == 0)
		version = definitions_newest(&pg->definitions, name);
	*found = version;
	return version == 0 ? NULL : definitions_get(&pg->definitions, name, version);
}

/* It was in memory when asked for, and nothing but memory pressure takes it out again. */
static void on_cached(struct pg_job *job)
{
	struct read_job   *j = (struct read_job *)job;
	struct definition *def = definitions_get(&job->conn->pg->definitions, j->name, j->version);

	end_definition(j, def != NULL ? LOG_DONE : LOG_AWAY, def, j->version);
}

static void store_definition(void *ctx, struct str name, uint32_t version, definition_done *done, void *arg)
{
	struct pg        *pg = ctx;
	struct read_job  *j = open_read(pg, arg);
	struct pg_params *p = pg_job_params(&j->job);
	uint32_t          found;

	j->done = done;
	j->name = str_dup(name);
	j->version = version;
	if (store_definition_cached(pg, name, version, &found) != NULL) {
		j->version = found;
		pg_job_refuse(&j->job, LOG_DONE, on_cached);
		return;
	}
	params_text(p, name);
	params_i32(p, (int32_t)version);
	pg_job_add(&j->job, SQL_DEFINITION_ROW);
	pg_job_send(&j->job, on_definition);
}

void pg_store_definition_verbs(struct store_port *port)
{
	port->definition_put = store_definition_put;
	port->definition_rows = store_definition_rows;
	port->definition_list = store_definition_list;
	port->definition = store_definition;
	port->definition_cached = store_definition_cached;
}
