/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/floor.h"

#include "coordinator/base/mem.h"
#include "coordinator/io/pg_params.h"
#include "tests/bench/wire.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GID = 36, INPUT = 500, STATEMENTS = 4 };

/* A table of the product's own shape, with its indexes and checks. */
static const char prepare_session[] =
	"SET client_min_messages = warning; SET enable_hashjoin = off; SET enable_mergejoin = off; "
	"SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; "
	"DROP TABLE IF EXISTS floor; CREATE TABLE floor (LIKE sagad.transaction INCLUDING ALL); "
	"ALTER TABLE floor SET (fillfactor = 40)";

static const char insert[] =
	"INSERT INTO floor (owner, epoch, version, stuck, paused, young, adoptions, gid, phase, created_at, definition, "
	"definition_version, input, hash, retention_ms, format, progress) "
	"SELECT '00000000-0000-4000-8000-000000000000', 1, 1, 'none', false, true, 0, n.gid, 'trying', now(), 'bench', 1, "
	"n.input, '\\x0123456789abcdef0123456789abcdef', 604800000, 1, "
	"'{\"steps\":[{},{}]}' FROM (SELECT unnest($1::text[]), unnest($2::text[])) AS n(gid, input)";

static const char change[] =
	"UPDATE floor t SET version = t.version + 1, progress = n.progress, "
	"phase = CASE WHEN n.ended THEN 'confirmed' ELSE t.phase END, "
	"ended_at = CASE WHEN n.ended THEN now() END "
	"FROM (SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::boolean[]) "
	"LIMIT cardinality($1::text[])) AS n(gid, version, progress, ended) "
	"WHERE t.gid = n.gid AND t.epoch = 1 AND t.version = n.version RETURNING t.gid";

struct floor {
	PGconn          *db;
	unsigned         batch;
	char           (*gids)[GID + 1]; /* of three generations */
	char             input[INPUT + 1];
	uint64_t         serial;
	struct pg_params params;
};

static bool fail(struct floor *f, const char *what)
{
	fprintf(stderr, "bench: log floor: %s: %s\n", what, PQerrorMessage(f->db));
	return false;
}

static bool run_plain(struct floor *f, const char *sql)
{
	PGresult *r = PQexec(f->db, sql);
	bool      done = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return done || fail(f, "preparing");
}

static bool prepare(struct floor *f, const char *name, const char *sql)
{
	PGresult *r = PQprepare(f->db, name, sql, 0, NULL);
	bool      done = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return done || fail(f, name);
}

static struct str gid_of(struct floor *f, uint64_t generation, unsigned i)
{
	return (struct str){ f->gids[(generation % 3) * f->batch + i], GID };
}

static bool send_params(struct floor *f, const char *name)
{
	struct pg_params *p = &f->params;

	params_seal(p);
	return PQsendQueryPrepared(f->db, name, p->n, p->values, p->lengths, p->formats, 1) == 1;
}

static bool send_insert(struct floor *f, uint64_t generation)
{
	struct pg_params *p = &f->params;

	params_clear(p);
	params_array(p, PG_TEXT, f->batch);
	for (unsigned i = 0; i < f->batch; i++) {
		char *gid = f->gids[(generation % 3) * f->batch + i];

		f->serial++;
		uuid_text(uuid_v7(1790000000000 + (int64_t)f->serial, f->serial, i), gid);
		item_text(p, str_of(gid));
	}
	params_array(p, PG_TEXT, f->batch);
	for (unsigned i = 0; i < f->batch; i++)
		item_text(p, (struct str){ f->input, INPUT });
	return send_params(f, "insert");
}

/* The last two generations: the older one ends. */
static bool send_change(struct floor *f, uint64_t generation)
{
	struct pg_params *p = &f->params;
	unsigned          ages = generation < 2 ? (unsigned)generation : 2, n = ages * f->batch;

	params_clear(p);
	params_array(p, PG_TEXT, n);
	for (unsigned i = 0; i < n; i++)
		item_text(p, gid_of(f, generation - 1 - i / f->batch, i % f->batch));
	params_array(p, PG_INT8, n);
	for (unsigned i = 0; i < n; i++)
		item_i64(p, 1 + i / f->batch);
	params_array(p, PG_TEXT, n);
	for (unsigned i = 0; i < n; i++)
		item_text(p, STR("{\"steps\":[{\"answered\":12,\"output\":38},{}],\"outputs\":["
		                 "{\"id\":\"0123456789abcdef\",\"state\":\"ok\"}]}"));
	params_array(p, PG_BOOL, n);
	for (unsigned i = 0; i < n; i++)
		item_bool(p, i >= f->batch);
	return send_params(f, "change");
}

static bool run_commit(struct floor *f, uint64_t generation)
{
	bool sent = PQsendQueryPrepared(f->db, "begin", 0, NULL, NULL, NULL, 1) && send_insert(f, generation) &&
	            (generation == 0 || send_change(f, generation)) &&
	            PQsendQueryPrepared(f->db, "commit", 0, NULL, NULL, NULL, 1) && PQpipelineSync(f->db);
	int  nulls = 0;

	if (!sent)
		return fail(f, "sending");
	while (nulls < 2) { /* a null ends each statement; none comes behind the sync */
		PGresult      *r = PQgetResult(f->db);
		ExecStatusType status = PQresultStatus(r);

		PQclear(r);
		if (status == PGRES_PIPELINE_SYNC)
			return true;
		nulls = r == NULL ? nulls + 1 : 0;
		if (r != NULL && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			return fail(f, "a commit");
	}
	return fail(f, "a commit");
}

static bool run_commits(struct floor *f, double seconds, struct floor_result *r)
{
	int64_t  start = wire_now_ns(), now = start;
	uint64_t n = 0;

	while (now < start + (int64_t)(seconds * 1e9)) {
		if (!run_commit(f, n++))
			return false;
		histogram_add(&r->commit, (uint64_t)(wire_now_ns() - now));
		now = wire_now_ns();
	}
	r->seconds = (double)(now - start) / 1e9;
	r->per_s = (double)(n * f->batch) / r->seconds;
	return true;
}

bool floor_run(const char *dsn, unsigned batch, double seconds, struct floor_result *r)
{
	struct floor f = { .db = PQconnectdb(dsn), .batch = batch };
	bool         done;

	memset(r, 0, sizeof *r);
	memset(f.input, 'x', INPUT);
	f.input[0] = f.input[INPUT - 1] = '"';
	f.gids = mem_array((size_t)batch * 3, sizeof *f.gids);
	done = PQstatus(f.db) == CONNECTION_OK ? run_plain(&f, prepare_session) : fail(&f, "connecting");
	done = done && prepare(&f, "insert", insert) && prepare(&f, "change", change) && prepare(&f, "begin", "BEGIN") &&
	       prepare(&f, "commit", "COMMIT") && PQenterPipelineMode(f.db) == 1 && run_commits(&f, seconds, r);
	PQfinish(f.db);
	params_fini(&f.params);
	free(f.gids);
	return done;
}
