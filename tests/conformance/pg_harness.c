/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/pg_harness.h"

#include "coordinator/base/digest.h"
#include "sql/statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_back(void *ctx)
{
	((struct end *)ctx)->backs++;
}

static void on_lease_lost(void *ctx)
{
	((struct end *)ctx)->losses++;
}

static void trace_line(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail)
{
	(void)ctx;
	(void)gid;
	if (getenv("SAGAD_TEST_TRACE") != NULL)
		printf("# %d %s %s\n", (int)level, event, detail);
}

bool end_open(struct harness *h, struct end *e, const char *dsn)
{
	struct pg_config config = { .dsn = dsn, .lease_mode = h->mode, .lease_ttl_ms = h->ttl_ms, .clock = &e->clock,
		                    .trace = { .line = trace_line }, .keep_inbox_ms = 1, .keep_replica_ms = 1,
		                    .on_back = on_back, .on_lease_lost = on_lease_lost, .ctx = e };

	clock_init(&e->clock);
	e->backs = e->losses = 0;
	e->pg = pg_open(&h->loop, &config, &h->err);
	if (e->pg == NULL)
		return false;
	pg_ports(e->pg, &e->log, &e->lease, &e->store);
	return true;
}

static void on_closed(void *ctx)
{
	*(bool *)ctx = true;
}

void end_close(struct harness *h, struct end *e)
{
	bool closed = false;

	if (e->pg == NULL)
		return;
	pg_close(e->pg, on_closed, &closed);
	harness_wait(h, &closed);
	e->pg = NULL;
}

static bool is_up(const struct end *e)
{
	struct pg_stats stats;

	pg_stats(e->pg, &stats);
	return stats.log_up && stats.work_up && stats.store_up;
}

bool harness_open(struct harness *h, const char *prefix, const char **why)
{
	struct pg_schema schema;

	memset(h, 0, sizeof *h);
	if (!pg_database_make(&h->database, prefix, why))
		return false;
	uv_loop_init(&h->loop);
	*why = h->err.text;
	if (!pg_migrate(h->database.dsn, &schema, &h->err) || !end_open(h, &h->a, h->database.dsn) ||
	    !end_open(h, &h->b, h->database.dsn))
		return false;
	harness_until(h, is_up(&h->a) && is_up(&h->b), 10000);
	*why = "no connection";
	return is_up(&h->a) && is_up(&h->b);
}

bool harness_switch(struct harness *h, enum pg_lease_mode mode)
{
	end_close(h, &h->a);
	end_close(h, &h->b);
	h->mode = mode;
	if (!end_open(h, &h->a, h->database.dsn) || !end_open(h, &h->b, h->database.dsn))
		return false;
	harness_until(h, is_up(&h->a) && is_up(&h->b), 10000);
	return is_up(&h->a) && is_up(&h->b);
}

void harness_close(struct harness *h)
{
	end_close(h, &h->a);
	end_close(h, &h->b);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&h->loop) != 0)
		printf("Bail out! a handle was left open\n");
	pg_database_drop(&h->database);
}

static void wake(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static bool run_until(struct harness *h, const bool *done, uint64_t ms)
{
	uv_timer_t timer;
	bool       late = false;

	uv_update_time(&h->loop);
	uv_timer_init(&h->loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, wake, ms, 0);
	while (!(done != NULL && *done) && !late)
		uv_run(&h->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&h->loop, UV_RUN_NOWAIT);
	return done != NULL && *done;
}

bool harness_wait(struct harness *h, const bool *done)
{
	return run_until(h, done, 10000);
}

void harness_sleep(struct harness *h, int64_t ms)
{
	run_until(h, NULL, (uint64_t)ms);
}

/* ---- answers --------------------------------------------------------------------- */

static void answered(struct answer *a, enum log_result result, size_t n)
{
	a->done = true;
	a->times++;
	a->result = result;
	a->n = n;
}

void on_batch(void *arg, enum log_result result, const struct batch_result *r)
{
	struct answer *a = arg;

	answered(a, result, 0);
	a->flag = a->begins > 0 && r->begun[0];
	a->changed = a->changes > 0 && r->changed[0];
}

static void copy_rows(struct answer *a, const struct row *rows, size_t n)
{
	size_t used = 0;

	a->gids[0] = '\0';
	for (size_t i = 0; i < n && used + rows[i].gid.n + 2 < sizeof a->gids; i++)
		used += (size_t)snprintf(a->gids + used, sizeof a->gids - used, "%.*s ", (int)rows[i].gid.n, rows[i].gid.p);
	if (n > 0) {
		a->row = rows[0];
		a->def = rows[0].def != NULL;
		str_cstr(rows[0].gid, a->gid, sizeof a->gid);
	}
}

void on_rows(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	answered(arg, result, n);
	copy_rows(arg, rows, n);
}

void on_done(void *arg, enum log_result result)
{
	answered(arg, result, 0);
}

void on_lease(void *arg, enum lease_result result, const struct err *err)
{
	struct answer *a = arg;

	answered(a, LOG_DONE, 0);
	a->lease = result;
	a->err = err != NULL ? *err : (struct err){ 0 };
}

void on_probe(void *arg, enum log_result result, bool is_free, struct lease_sight sight)
{
	answered(arg, result, 0);
	((struct answer *)arg)->flag = is_free;
	((struct answer *)arg)->sight = sight;
}

const struct deed somebody = { .actor = { "somebody", 8 }, .role = { "admin", 5 }, .kind = { "definition", 10 },
	                       .target = { "it", 2 }, .action = { "register", 8 } };

void on_definition_put(void *arg, enum log_result result, bool created, uint32_t version)
{
	answered(arg, result, 0);
	((struct answer *)arg)->flag = created;
	((struct answer *)arg)->version = version;
}

void on_definition(void *arg, enum log_result result, struct definition *def, uint32_t version)
{
	answered(arg, result, 0);
	((struct answer *)arg)->def = def != NULL;
	((struct answer *)arg)->version = version;
}

void on_list(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	answered(arg, result, n);
	copy_rows(arg, rows, n);
	str_cstr(page->next, ((struct answer *)arg)->next, sizeof ((struct answer *)arg)->next);
	((struct answer *)arg)->examined = page->examined;
}

int harness_misplaced(struct harness *h)
{
	return atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction t "
		"WHERE (t.owner IS NULL AND t.ended_at IS NULL) <> (t.due_at IS NOT NULL) "
		"OR (t.ended_at IS NOT NULL) <> (" IS_ENDED("t.phase") ")"));
}

/* ---- common moves ------------------------------------------------------------------- */

struct uuid make_id(void)
{
	uint64_t r[2];

	digest_random(r, sizeof r);
	return uuid_v4(r[0], r[1]);
}

struct row make_row(struct uuid me, struct str gid)
{
	return (struct row){ .gid = gid, .owner = me, .epoch = 1, .version = 1, .phase = PHASE_TRYING,
		             .created_at = 1790000000000, .retention_ms = 60000, .format = 1, .progress = STR("{}") };
}

bool enroll(struct harness *h, struct end *e, struct uuid me, int64_t key)
{
	struct member m = { .id = me, .lock_key = key, .address = STR("http://127.0.0.1:1"), .weight = 1 };
	struct answer a = { 0 };

	e->log.enroll(e->log.ctx, &m, on_done, &a);
	return harness_wait(h, &a.done) && a.result == LOG_DONE;
}

enum log_result commit_batch(struct harness *h, struct end *e, const struct batch *b, struct answer *a)
{
	*a = (struct answer){ .begins = b->begin_count, .changes = b->change_count };
	e->log.commit(e->log.ctx, b, on_batch, a);
	harness_wait(h, &a->done);
	return a->result;
}

enum log_result begin_row(struct harness *h, struct end *e, struct row *row)
{
	struct answer a;

	return commit_batch(h, e, &(struct batch){ .me = row->owner, .begins = row, .begin_count = 1 }, &a);
}
