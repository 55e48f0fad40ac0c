/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/scenario.h"

#include "coordinator/base/mem.h"
#include "tests/bench/document.h"
#include "tests/bench/floor.h"
#include "tests/bench/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_BYTES = 500, DIRECT_CLIENTS = 64, HUNG = 10, SETTLE_S = 120 };

static const char prefer_wait[] = "Prefer: wait=60\r\n";

/* ---- common parts ---------------------------------------------------------------------- */

static double ms_at(const struct histogram *h, double share)
{
	return h->n > 0 ? (double)histogram_at(h, share) / 1e6 : NAN;
}

static void latencies(struct figures *f, const struct histogram *h)
{
	f->p50_ms = ms_at(h, 0.5);
	f->p99_ms = ms_at(h, 0.99);
	f->p999_ms = ms_at(h, 0.999);
}

static void no_figures(struct figures *f)
{
#define X(field, ...) f->field = NAN;
	FIGURES(X)
#undef X
	memset(f->more, 0, sizeof f->more);
	memset(f->by_statement, 0, sizeof f->by_statement);
}

static void add_more(struct figures *f, const char *name, double value)
{
	for (unsigned i = 0; i < MORE_MAX; i++)
		if (f->more[i].name == NULL) {
			f->more[i] = (struct more){ name, value };
			return;
		}
}

static void per_saga(struct figures *f, const struct usage *from, const struct usage *to)
{
	double n = to->ended - from->ended;

	f->coordinator_us = (double)(to->coordinator_ns - from->coordinator_ns) / 1e3 / n;
	f->postgres_us = (double)(to->postgres_ns - from->postgres_ns) / 1e3 / n;
	f->stub_us = (double)(to->stub_ns - from->stub_ns) / 1e3 / n;
	f->wal_bytes = (to->wal_bytes - from->wal_bytes) / n;
	f->commits = (to->commits - from->commits) / n;
	f->statements = (to->statements - from->statements) / n;
	f->rows = (to->rows - from->rows) / n;
	f->rows_a_commit = (to->rows - from->rows) / (to->commits - from->commits);
	f->page_images = (to->page_images - from->page_images) / n;
}

static void memory(struct bench *b, struct figures *f)
{
	struct meter_memory m;

	world_memory(&b->w, &m);
	f->rss_mib = m.rss_mib;
	f->pss_mib = m.pss_mib;
}

/* Until nothing is under way any more. */
static void settle(struct bench *b)
{
	int64_t limit = wire_now_ns() + (int64_t)SETTLE_S * 1000000000;

	while (world_metric(&b->w, "sagad_owned_transactions") > 0) {
		if (wire_now_ns() > limit)
			world_die("transactions do not end within two minutes");
		usleep(1000);
	}
}

static void start(struct bench *b, const struct scenario *s, const char *const flags[])
{
	world_empty(&b->w);
	world_start(&b->w, s->replicas, flags);
	documents_register(&b->w);
}

static void load_of(const struct bench *b, const struct scenario *s, struct load_config *c, struct buf *body)
{
	const size_t bytes = s->input_bytes ? s->input_bytes : INPUT_BYTES;

	*c = (struct load_config){ .paths = { "/v1/transactions" }, .calls = 1, .clients = s->clients,
		                   .headers = s->wait ? prefer_wait : "" };
	if (s->definition != NULL) {
		document_begin(body, s->definition, bytes);
	} else {
		document_dtm(&b->w, body, bytes);
		c->paths[0] = "/api/dtmsvr/submit";
	}
	c->body = buf_view(body);
}

static void load(struct bench *b, const struct scenario *s, double seconds, double rate, struct load_result *r,
                 uint64_t *cpu_ns)
{
	struct load_config c;
	struct buf         body = { 0 };

	load_of(b, s, &c, &body);
	c.seconds = seconds;
	c.rate = rate;
	*cpu_ns = world_load(&b->w, &c, r);
	if (r->failed > 0)
		world_die("%s: %llu of %llu requests failed, the first with status %u", s->name,
		          (unsigned long long)r->failed, (unsigned long long)(r->failed + r->done), r->first_failure);
	buf_fini(&body);
}

/* Clients that begin sagas at replicas that run already. */
static void measure(struct bench *b, const struct scenario *s, double rate, struct figures *f)
{
	static struct load_result r;
	struct usage              from, to;
	uint64_t                  cpu_ns;

	no_figures(f);
	load(b, s, b->warm_seconds, rate, &r, &cpu_ns);
	settle(b);
	if (b->by_statement && !statements_forget(b->w.db))
		world_die("the server has no pg_stat_statements");
	world_usage(&b->w, &from);
	load(b, s, b->seconds, rate, &r, &cpu_ns);
	if (!s->wait)
		settle(b);
	world_usage(&b->w, &to);
	latencies(f, &r.latency);
	per_saga(f, &from, &to);
	if (b->by_statement && !statements_read(b->w.db, to.ended - from.ended, f->by_statement))
		world_die("the server does not say what its statements cost");
	/* Who does not wait has begun them, not seen their end. */
	f->per_s = s->wait ? (double)r.in_time / r.seconds
	                   : (to.ended - from.ended) / ((double)(to.at_ns - from.at_ns) / 1e9);
	f->generator_us = (double)cpu_ns / 1e3 / (double)r.done;
	memory(b, f);
}

/* ---- scenarios --------------------------------------------------------------------------- */

static void run_with(struct bench *b, const struct scenario *s, const char *const flags[], struct figures *f)
{
	start(b, s, flags);
	measure(b, s, 0, f);
	world_stop(&b->w);
}

static void run_curl(struct bench *b, const struct scenario *s, struct figures *f)
{
	static const char *const flags[] = { "--calls.client=curl", NULL };

	run_with(b, s, flags, f);
}

static void run_connect(struct bench *b, const struct scenario *s, struct figures *f)
{
	static const char *const flags[] = { "--calls.client=connect", NULL };

	run_with(b, s, flags, f);
}

static void run_plain(struct bench *b, const struct scenario *s, struct figures *f)
{
	static const char *const flags[] = { "--max-transactions=2000000", NULL };

	run_with(b, s, flags, f);
	if (strcmp(s->name, "wait-64") == 0)
		b->wait_64_per_s = f->per_s;
}

/* Half of what 64 clients get, on time: what a service that is not overloaded sees. */
static void run_open(struct bench *b, const struct scenario *s, struct figures *f)
{
	start(b, s, NULL);
	if (b->wait_64_per_s <= 0) {
		measure(b, s, 0, f);
		b->wait_64_per_s = f->per_s;
	}
	measure(b, s, b->wait_64_per_s / 2, f);
	world_stop(&b->w);
}

/* Ten steps take 500 ms: what is beyond that is the engine's, and a little the machine's: the same calls without it. */
static void run_slow(struct bench *b, const struct scenario *s, struct figures *f)
{
	static struct load_result r;
	struct load_config        c = { .calls = 10, .clients = s->clients, .seconds = b->seconds / 2, .host_count = 1,
		                        .hosts = { { 0x7f000001, world_stub_port(&b->w) } } };
	struct buf                body = { 0 };

	run_plain(b, s, f);
	add_more(f, "overhead", (f->p50_ms - 500) / 500);
	for (unsigned i = 0; i < c.calls; i++)
		c.paths[i] = "/delay/50";
	document_input(&body, INPUT_BYTES);
	c.body = buf_view(&body);
	world_load(&b->w, &c, &r);
	buf_fini(&body);
	add_more(f, "beyond_calls", f->p50_ms / ms_at(&r.latency, 0.5) - 1);
}

/* Copies of the one transaction of this definition that is in the table, by number. */
static void copy_rows(struct bench *b, const char *definition, unsigned from, unsigned n, const char *due_at)
{
	world_sql(&b->w,
	          "DO $do$ DECLARE cols text; vals text; BEGIN "
	          "SELECT string_agg(quote_ident(attname), ','), string_agg(CASE attname "
	          "WHEN 'gid' THEN '''01900000-0000-7000-8000-'' || lpad(to_hex(i), 12, ''0'')' "
	          "WHEN 'due_at' THEN '%s' WHEN 'progress' THEN '$$' || (SELECT regexp_replace(progress, "
	          "'\"start_at\":[0-9]+,?', '') FROM sagad.transaction WHERE definition = '%s' LIMIT 1) || '$$' "
	          "ELSE 't.' || quote_ident(attname) END, ',') INTO cols, vals FROM pg_attribute "
	          "WHERE attrelid = 'sagad.transaction'::regclass AND attnum > 0 AND NOT attisdropped; "
	          "EXECUTE format('INSERT INTO sagad.transaction (%%s) SELECT %%s FROM "
	          "(SELECT * FROM sagad.transaction WHERE definition = %%L LIMIT 1) t, generate_series(%u, %u) i', "
	          "cols, vals, '%s'); END $do$",
	          due_at, definition, from, from + n - 1, definition);
}

/* A transaction of this definition that sleeps and has left memory. */
static void park_one(struct bench *b, const char *definition)
{
	struct buf body = { 0 };

	document_begin_at(&body, definition, INPUT_BYTES, "1h");
	world_post(&b->w, "/v1/transactions", body.p);
	settle(b);
	buf_fini(&body);
}

static double drain(struct bench *b, const struct scenario *s, unsigned hung, struct figures *f)
{
	static const char *const park[] = { "--park-after=100ms", NULL }, *const none[] = { NULL };
	const unsigned           each = b->backlog / HUNG, wanted = each * (HUNG - 1);
	struct usage             from = { 0 }, to;
	int64_t                  at, limit;

	start(b, s, park);
	for (unsigned i = 0; i < HUNG - 1 + hung; i++) {
		char name[16];

		snprintf(name, sizeof name, i < HUNG - 1 ? "part-%u" : "hung", i);
		park_one(b, name);
		copy_rows(b, name, 1 + i * each, each, "now() + interval ''1 day''");
	}
	world_stop(&b->w);
	world_sql(&b->w, "DELETE FROM sagad.transaction WHERE gid NOT LIKE '01900000-%%'");
	world_sql(&b->w, "UPDATE sagad.transaction SET due_at = now()");
	world_sql(&b->w, "VACUUM ANALYZE sagad.transaction");
	world_start(&b->w, s->replicas, none);
	at = wire_now_ns();
	limit = at + (int64_t)SETTLE_S * 1000000000;
	while (world_metric(&b->w, "sagad_transactions_ended_total{phase=\"confirmed\"}") < wanted) {
		if (wire_now_ns() > limit)
			world_die("%s: the backlog does not drain", s->name);
		usleep(2000);
	}
	world_usage(&b->w, &to);
	per_saga(f, &from, &to);
	memory(b, f);
	f->per_s = wanted / ((double)(to.at_ns - at) / 1e9);
	f->wal_bytes = f->stub_us = f->postgres_us = NAN; /* the set-up is in them */
	world_stop(&b->w);
	return (double)(to.at_ns - at) / 1e9;
}

static void run_hung(struct bench *b, const struct scenario *s, struct figures *f)
{
	struct figures alone_figures;
	double         alone, with;

	no_figures(f);
	no_figures(&alone_figures);
	alone = drain(b, s, 0, &alone_figures);
	with = drain(b, s, 1, f);
	add_more(f, "time_ratio", with / alone);
}

/* Memory for each of some transactions that are begun and stay. */
static double bytes_each(struct bench *b, const struct scenario *s, const char *definition, const char *start_at)
{
	static const char *const  stay[] = { "--park-after=1d", NULL };
	static struct load_result r;
	struct meter_memory       before, after;
	struct buf                body = { 0 };
	struct load_config        c = { .paths = { "/v1/transactions" }, .calls = 1, .clients = 64, .count = b->known };
	uint64_t                  cpu_ns;

	start(b, s, stay);
	load(b, s, b->warm_seconds, 0, &r, &cpu_ns);
	settle(b);
	world_memory(&b->w, &before);
	document_begin_at(&body, definition, INPUT_BYTES, start_at);
	c.body = buf_view(&body);
	c.seconds = SETTLE_S;
	world_load(&b->w, &c, &r);
	if (r.done != b->known)
		world_die("%s: %llu of %u could be begun", s->name, (unsigned long long)r.done, b->known);
	world_memory(&b->w, &after);
	buf_fini(&body);
	world_kill(&b->w);
	return (after.pss_mib - before.pss_mib) * (1 << 20) / b->known;
}

/* Parked ones cost rows only: how long it takes to start beside them. What the replica knows of costs memory. */
static void run_sleeping(struct bench *b, const struct scenario *s, struct figures *f)
{
	static const char *const park[] = { "--park-after=100ms", NULL }, *const none[] = { NULL };
	double                   start_ms;

	no_figures(f);
	start(b, s, park);
	park_one(b, "two");
	copy_rows(b, "two", 1, b->many, "now() + interval ''1 day''");
	world_stop(&b->w);
	start_ms = world_start(&b->w, s->replicas, none);
	usleep(300000); /* the first looks for due ones, members and the like are over */
	memory(b, f);
	world_stop(&b->w);
	add_more(f, "rows", b->many);
	add_more(f, "start_ms", start_ms);
	add_more(f, "bytes_each_sleeping", bytes_each(b, s, "two", "1h"));
	add_more(f, "bytes_each_active", bytes_each(b, s, "hung", "0ms"));
}

/* ---- pairs ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * What differs by a few hundredths is not seen in rounds that lie minutes apart on a machine with a life of its own. So
 * the two ways take turns, each first every other time, and what counts is the median of the ratios of neighbours.
 */
static double ratio_of_pairs(struct bench *b, const struct scenario *s, struct figures *f,
                             void (*way)(struct bench *b, const struct scenario *s, bool second, struct figures *f))
{
	const unsigned pairs = b->seconds < 1 ? 1 : PAIRS;
	double         ratios[PAIRS], seconds = b->seconds, warm = b->warm_seconds;
	struct figures first;

	b->seconds = seconds / 2;
	b->warm_seconds = b->seconds / 4;
	for (unsigned i = 0; i < pairs; i++)
		for (unsigned k = 0; k < 2; k++) {
			bool second = (i + k) % 2 == 1;

			way(b, s, second, second ? f : &first);
			if (k == 1)
				ratios[i] = f->per_s / first.per_s;
		}
	b->seconds = seconds;
	b->warm_seconds = warm;
	qsort(ratios, pairs, sizeof *ratios, compare);
	return ratios[pairs / 2];
}

/* The table of transactions and a spare one change places. */
static void swap_tables(struct bench *b)
{
	world_sql(&b->w, "ALTER TABLE sagad.transaction RENAME TO other; "
	                 "ALTER TABLE sagad.spare RENAME TO transaction; ALTER TABLE sagad.other RENAME TO spare");
}

static void beside_rows(struct bench *b, const struct scenario *s, bool second, struct figures *f)
{
	if (second)
		swap_tables(b);
	else
		world_sql(&b->w, "TRUNCATE sagad.transaction");
	world_start(&b->w, s->replicas, NULL);
	documents_register(&b->w);
	measure(b, s, 0, f);
	world_stop(&b->w);
	if (second)
		swap_tables(b);
}

/* wait-64 beside rows that nobody needs any more, in turn with wait-64 in an empty table. */
static void run_finished(struct bench *b, const struct scenario *s, struct figures *f)
{
	struct buf body = { 0 };

	start(b, s, NULL);
	document_begin(&body, "two", INPUT_BYTES);
	world_post(&b->w, "/v1/transactions", body.p);
	buf_fini(&body);
	settle(b);
	world_stop(&b->w);
	copy_rows(b, "two", 1, b->many, "NULL");
	world_sql(&b->w, "CREATE TABLE sagad.spare (LIKE sagad.transaction INCLUDING ALL) WITH (fillfactor = 40)");
	swap_tables(b);
	world_sql(&b->w, "VACUUM ANALYZE sagad.spare");
	world_sql(&b->w, "CHECKPOINT");
	double ratio = ratio_of_pairs(b, s, f, beside_rows);
	add_more(f, "of_empty", ratio);
	world_sql(&b->w, "DROP TABLE sagad.spare");
}

static void so_many_replicas(struct bench *b, const struct scenario *s, bool second, struct figures *f)
{
	world_empty(&b->w);
	world_start(&b->w, second ? s->replicas : 1, NULL);
	documents_register(&b->w);
	measure(b, s, 0, f);
	world_stop(&b->w);
}

/* In turn with one replica. */
static void run_replicas(struct bench *b, const struct scenario *s, struct figures *f)
{
	double ratio = ratio_of_pairs(b, s, f, so_many_replicas);

	add_more(f, "of_one", ratio);
}

static void by_dtm(struct bench *b, const struct scenario *s, bool second, struct figures *f)
{
	struct scenario way = *s;

	way.definition = second ? NULL : s->definition;
	start(b, &way, NULL);
	measure(b, &way, 0, f);
	world_stop(&b->w);
}

/* In turn with the same saga by our own API, from a definition that is registered. */
static void run_dtm(struct bench *b, const struct scenario *s, struct figures *f)
{
	double ratio = ratio_of_pairs(b, s, f, by_dtm);

	add_more(f, "of_native", ratio);
}

static void tool(struct bench *b, const char *verb, const char *rest)
{
	char command[4096];

	snprintf(command, sizeof command, "'%s' %s '%s-standby' %s >/dev/null", b->postgres_tool, verb,
	         b->postgres_folder, rest);
	if (system(command) != 0)
		world_die("%s failed", command);
}

static void run_standby(struct bench *b, const struct scenario *s, struct figures *f)
{
	char other[2048];

	snprintf(other, sizeof other, "'%s'", b->postgres_folder);
	world_empty(&b->w);
	tool(b, "remove", "");
	tool(b, "standby", other);
	world_sql(&b->w, "ALTER SYSTEM SET synchronous_standby_names = '*'");
	world_sql(&b->w, "SELECT pg_reload_conf()");
	while (world_number(&b->w, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") < 1)
		usleep(10000);
	run_plain(b, s, f);
	world_sql(&b->w, "ALTER SYSTEM RESET synchronous_standby_names");
	world_sql(&b->w, "SELECT pg_reload_conf()");
	tool(b, "remove", "");
}

const struct scenario scenarios[] = {
	{ "wait-1", "two steps, one client", run_plain, "two", 1, 1, 0, true },
	{ "wait-16", "two steps, 16 clients", run_plain, "two", 16, 1, 0, true },
	{ "wait-64", "two steps, 64 clients", run_plain, "two", 64, 1, 0, true },
	{ "wait-256", "two steps, 256 clients", run_plain, "two", 256, 1, 0, true },
	{ "wait-64-connect", "wait-64, connections by libcurl as for https://", run_connect, "two", 64, 1, 0, true },
	{ "wait-256-connect", "wait-256, connections by libcurl as for https://", run_connect, "two", 256, 1, 0, true },
	{ "wait-64-curl", "wait-64, calls by libcurl", run_curl, "two", 64, 1, 0, true },
	{ "wait-256-curl", "wait-256, calls by libcurl", run_curl, "two", 256, 1, 0, true },
	{ "open-half", "two steps on time, at half the rate of wait-64", run_open, "two", 64, 1, 0, true },
	{ "nowait-64", "two steps, nobody waits for the end", run_plain, "two", 64, 1, 0, false },
	{ "refused-64", "the second step refuses, both are cancelled", run_plain, "refused", 64, 1, 0, true },
	{ "tcc-64", "two branches: try and confirm each", run_plain, "tcc", 64, 1, 0, true },
	{ "dtm-64", "wait-64 as DTM's clients submit it, in turn with wait-64", run_dtm, "two", 64, 1, 0, true },
	{ "parallel-10", "ten steps at once, 16 clients", run_plain, "parallel", 16, 1, 0, true },
	{ "slow-10x50", "ten steps of 50 ms, 16 clients", run_slow, "slow", 16, 1, 0, true },
	{ "hung-1-of-10", "a backlog for ten participants, one of them hung", run_hung, NULL, 0, 1, 0, false },
	{ "sleeping-1m", "parked transactions in the table", run_sleeping, "two", 64, 1, 0, true },
	{ "finished-1m", "wait-64 beside finished rows, in turn with an empty table", run_finished, "two", 64, 1, 0, true },
	{ "replicas-2", "wait-256 with two replicas, in turn with one", run_replicas, "two", 256, 2, 0, true },
	{ "replicas-4", "wait-256 with four replicas, in turn with one", run_replicas, "two", 256, 4, 0, true },
	{ "input-1k", "wait-64 with inputs of 1 KiB", run_plain, "two", 64, 1, 1 << 10, true },
	{ "input-64k", "wait-64 with inputs of 64 KiB", run_plain, "two", 64, 1, 64 << 10, true },
	{ "standby-sync", "wait-64, commits wait for a standby as well", run_standby, "two", 64, 1, 0, true },
};

const size_t scenario_count = sizeof scenarios / sizeof scenarios[0];

/* ---- floors ------------------------------------------------------------------------------- */

static void direct(struct bench *b, unsigned clients, double seconds, struct load_result *r)
{
	struct load_config c = { .paths = { "/ok", "/ok" }, .calls = 2, .clients = clients,
		                 .seconds = seconds, .host_count = 2 };
	struct buf         body = { 0 };

	document_input(&body, INPUT_BYTES);
	c.body = buf_view(&body);
	for (uint32_t i = 0; i < 2; i++)
		c.hosts[i] = (struct load_host){ 0x7f000001 + i, world_stub_port(&b->w) };
	world_load(&b->w, &c, r);
	buf_fini(&body);
	if (r->failed > 0 || r->done == 0)
		world_die("direct calls of the stub fail");
}

double floors_direct(struct bench *b)
{
	static struct load_result r;

	direct(b, DIRECT_CLIENTS, b->seconds / 8, &r);
	return (double)r.in_time / r.seconds;
}

void floors_run(struct bench *b, struct floors *f)
{
	static const unsigned      batches[] = { 100, 300 };
	static struct load_result  r;
	static struct floor_result log;

	direct(b, 1, b->seconds / 2, &r);
	f->direct_1_ms = ms_at(&r.latency, 0.5);
	direct(b, DIRECT_CLIENTS, b->seconds / 2, &r);
	f->direct_per_s = (double)r.in_time / r.seconds;
	f->log_per_s = 0;
	for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
		if (!floor_run(b->w.config.dsn, batches[i], b->seconds / 2, &log))
			exit(1);
		f->log_per_s = log.per_s > f->log_per_s ? log.per_s : f->log_per_s;
	}
	if (!floor_run(b->w.config.dsn, 1, b->seconds / 2, &log))
		exit(1);
	f->commit_ms = ms_at(&log.commit, 0.5);
	world_sql(&b->w, "DROP TABLE floor");
}
