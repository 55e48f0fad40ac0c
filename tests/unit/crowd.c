/* SPDX-License-Identifier: Apache-2.0
 * crowd.c - many replicas on one fake database: who finds the dead, how soon, at what cost, and who takes their rows.
 */
#include "coordinator/engine/engine.h"
#include "tests/lib/fake_lease.h"
#include "tests/lib/fake_log.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

enum { CROWD_MAX = 200, TTL_MS = 10000, STEADY_MS = 25000, WORST_MS = TTL_MS + 1500 };

struct definition {
	struct plan plan;
};

static const struct plan_step steps[] = {
	{ .kind = KIND_COMPENSATABLE, .has = HAS_TRY | HAS_CANCEL, .poll_ms = 1000,
	  .retry = { .initial_ms = 100, .max_ms = 60000, .factor_milli = 2000 } },
};
static struct definition saga = { .plan = { .mode = MODE_SAGA, .step_count = 1, .max_parallel = 1,
					    .stuck_after_ms = 900000, .steps = steps } };

struct crowd;

struct replica {
	struct crowd      *w;
	bool               up, deaf;     /* deaf: its watch never hears anything */
	struct fake_end    end;
	struct fake_log   *log;
	struct fake_lease *lease;
	struct lease_port  lease_port;
	struct ports       ports;
	struct engine     *e;
	struct uuid        me;
	int64_t            tick_at;
	char               address[24];
};

struct crowd {
	struct fake_loop   loop;
	struct fake_db    *db;
	struct fake_locks *locks;
	struct replica     replicas[CROWD_MAX];
	unsigned           n, begun;
	uint64_t           random, probes, calls;
	int64_t            page_ms;      /* that the database takes for a page of adopted rows */
	uint64_t           looks;        /* for parked rows that are due */
	int64_t            looked_at, gap_ms; /* the longest between two looks */
	int64_t            look_ms;      /* that the database takes for one */
	uint64_t           reads;        /* of the inbox */
};

/* ---- ports ------------------------------------------------------------------------------ */

static const struct plan *plan_of(void *ctx, struct definition *def)
{
	(void)ctx;
	return &def->plan;
}

static struct definition *hold(void *ctx, struct definition *def)
{
	(void)ctx;
	return def;
}

static void drop(void *ctx, struct definition *def)
{
	(void)ctx, (void)def;
}

static struct definition *compile(void *ctx, struct str name, uint32_t version, struct str document)
{
	(void)ctx, (void)name, (void)version, (void)document;
	return &saga;
}

static int step_find(void *ctx, struct definition *def, struct str name)
{
	(void)ctx, (void)def, (void)name;
	return -1;
}

static struct str step_name(void *ctx, struct definition *def, uint16_t step)
{
	(void)ctx, (void)def, (void)step;
	return STR("only");
}

static int64_t db_now(void *ctx)
{
	return 1790000000000 + ((struct crowd *)ctx)->loop.now;
}

static int64_t clock_now(void *ctx)
{
	return db_now(((struct replica *)ctx)->w);
}

static int64_t clock_boot(void *ctx)
{
	return 5000 + ((struct replica *)ctx)->w->loop.now;
}

/* Seeded, not drawn: each run is the same. */
static uint64_t chance(void *ctx)
{
	uint64_t z = ((struct replica *)ctx)->w->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t call_start(void *ctx, const struct call_request *r, call_done *done, void *arg)
{
	(void)r, (void)done, (void)arg; /* its participant hangs */
	return ++((struct replica *)ctx)->w->calls;
}

static void call_abort(void *ctx, uint64_t handle)
{
	(void)ctx, (void)handle;
}

static void poke(void *ctx, struct str address, struct str gid)
{
	struct crowd *w = ((struct replica *)ctx)->w;

	for (unsigned i = 0; i < w->n; i++)
		if (w->replicas[i].up && str_is(address, w->replicas[i].address))
			engine_on_poke(w->replicas[i].e, gid);
}

static void trace(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail)
{
	const struct replica *r = ctx;

	(void)level, (void)gid;
	if (getenv("TRACE") != NULL)
		printf("# [%6lld] %s %s %s\n", (long long)r->w->loop.now, r->address, event, detail);
}

static void lease_open(void *ctx, int64_t key, uint32_t ttl_ms, lease_done *done, void *arg)
{
	struct replica *r = ctx;

	r->lease_port.open(r->lease_port.ctx, key, ttl_ms, done, arg);
}

static void lease_beat(void *ctx, lease_done *done, void *arg)
{
	struct replica *r = ctx;

	r->lease_port.beat(r->lease_port.ctx, done, arg);
}

static void lease_close(void *ctx)
{
	struct replica *r = ctx;

	r->lease_port.close(r->lease_port.ctx);
}

static void lease_probe(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct replica *r = ctx;

	r->w->probes++;
	r->lease_port.probe(r->lease_port.ctx, key, done, arg);
}

static void lease_watch(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct replica *r = ctx;

	if (!r->deaf)
		r->lease_port.watch(r->lease_port.ctx, key, done, arg);
}

static void lease_unwatch(void *ctx)
{
	struct replica *r = ctx;

	r->lease_port.unwatch(r->lease_port.ctx);
}

static int64_t lease_delay(void *ctx)
{
	(void)ctx;
	return 1;
}

static void lease_lost(void *ctx)
{
	engine_on_lease_lost(((struct replica *)ctx)->e);
}

static void fate(void *ctx, enum fake_verb verb, struct fake_fate *f)
{
	const struct replica *r = ctx;

	*f = (struct fake_fate){ .arrive_ms = verb == FAKE_ADOPT ? 1 + r->w->page_ms
	                                      : verb == FAKE_LOOK ? 1 + r->w->look_ms : 1, .answer_ms = 1 };
}

static void on_answered(void *ctx, enum fake_verb verb, enum log_result result, size_t n, bool heard)
{
	struct crowd *w = ctx;

	(void)result, (void)n, (void)heard;
	w->reads += verb == FAKE_INBOX_READ;
	if (verb != FAKE_LOOK)
		return;
	if (w->loop.now - w->looked_at > w->gap_ms)
		w->gap_ms = w->loop.now - w->looked_at;
	w->looked_at = w->loop.now;
	w->looks++;
}

static bool survives(void *ctx, enum fake_verb verb)
{
	(void)ctx, (void)verb;
	return true;
}

static bool is_held(void *ctx, int64_t key, int64_t mark)
{
	return fake_locks_is_held(((struct crowd *)ctx)->locks, key, mark);
}

static struct lease_sight sight(void *ctx, int64_t key)
{
	return fake_locks_sight(((struct crowd *)ctx)->locks, key);
}

static void fenced(void *ctx, int64_t key)
{
	fake_locks_end(((struct crowd *)ctx)->locks, key);
}

static void bad(void *ctx, const char *what)
{
	(void)ctx;
	ok(false, "the log is used as port.h says: %s", what);
}

/* ---- a replica's loop -------------------------------------------------------------------- */

static void tick(void *arg)
{
	struct replica *r = arg;

	if (r->tick_at != 0 && r->tick_at <= r->w->loop.now) {
		r->tick_at = 0;
		engine_tick(r->e);
	}
}

static void arm(struct replica *r)
{
	int64_t next = engine_next_at(r->e);

	if (next == INT64_MAX)
		return;
	int64_t at = next - 5000 > r->w->loop.now ? next - 5000 : r->w->loop.now;
	if (r->tick_at != 0 && r->tick_at <= at)
		return;
	r->tick_at = at;
	fake_loop_post(&r->w->loop, &r->end, at - r->w->loop.now, tick, NULL, r);
}

static void woken(void *ctx)
{
	struct replica     *r = ctx;
	struct engine_stats s;

	if (!r->up)
		return;
	engine_flush(r->e);
	engine_stats(r->e, &s);
	r->me = s.me;
	arm(r);
}

static void run(struct crowd *w, int64_t ms)
{
	int64_t until = w->loop.now + ms;

	for (;;) {
		struct heap_node *next = heap_first(&w->loop.queue);

		if (next == NULL || next->at > until)
			break;
		fake_loop_step(&w->loop);
	}
	w->loop.now = until;
}

/* ---- life and death ------------------------------------------------------------------------ */

static void start(struct crowd *w, unsigned i, uint32_t weight, bool row)
{
	struct replica      *r = &w->replicas[i];
	struct engine_config c = { .ttl_ms = TTL_MS, .beat_ms = 2000, .margin_ms = 1000, .fence_delay_ms = 250,
				   .park_after_ms = 5000, .transactions_max = 200000, .batch_rows = 300,
				   .batch_bytes = 1 << 18, .weight = weight };

	r->w = w;
	snprintf(r->address, sizeof r->address, "http://r%u", i);
	c.address = str_of(r->address);
	fake_end_init(&r->end, &w->loop, woken, r);
	r->log = fake_log_open(&(struct fake_log_config){ .db = w->db, .end = &r->end, .ctx = r, .fate = fate,
							  .survives = survives }, &r->ports.log);
	r->lease = fake_lease_open(&(struct fake_lease_config){ .locks = w->locks, .end = &r->end, .ctx = r,
								.delay = lease_delay, .lost = lease_lost,
								.row = row }, &r->lease_port);
	r->ports.lease = (struct lease_port){ r, lease_open, lease_beat, lease_close, lease_probe, lease_watch,
					      lease_unwatch };
	r->ports.definition = (struct definition_port){ .ctx = r, .plan = plan_of, .hold = hold, .drop = drop,
							.step_find = step_find, .step_name = step_name };
	r->ports.clock = (struct clock_port){ r, clock_now, clock_boot, chance };
	r->ports.caller = (struct caller_port){ r, call_start, call_abort };
	r->ports.poke = (struct poke_port){ r, poke };
	r->ports.trace = (struct trace_port){ .ctx = r, .line = trace };
	r->up = true;
	r->e = engine_open(&c, &r->ports);
	engine_start(r->e);
	woken(r);
}

static void end_process(struct replica *r)
{
	r->up = false;
	engine_close(r->e);
	fake_log_close(r->log);
	fake_lease_close(r->lease);
	fake_end_die(&r->end);
}

static struct crowd *crowd_open(unsigned n, bool row)
{
	struct crowd          *w = calloc(1, sizeof *w);
	struct fake_db_config  db = { .ctx = w, .loop = &w->loop, .now_ms = db_now, .compile = compile,
				      .definition = { .ctx = w, .plan = plan_of, .hold = hold, .drop = drop },
				      .is_held = is_held, .sight = sight, .fenced = fenced, .bad = bad,
				      .answered = on_answered };

	w->random = 7;
	w->n = n;
	fake_loop_init(&w->loop);
	w->db = fake_db_open(&db);
	w->locks = fake_locks_open(&w->loop);
	for (unsigned i = 0; i < n; i++) {
		start(w, i, 100, row);
		run(w, 13);
	}
	run(w, STEADY_MS);
	return w;
}

static void crowd_close(struct crowd *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->replicas[i].up)
			end_process(&w->replicas[i]);
	for (unsigned i = 0; i < w->n; i++)
		fake_end_fini(&w->replicas[i].end);
	fake_loop_fini(&w->loop);
	fake_locks_close(w->locks);
	fake_db_close(w->db);
	free(w);
}

static bool is_live(const struct crowd *w, unsigned i)
{
	const struct member *m = fake_db_member(w->db, w->replicas[i].me);

	return m != NULL && m->state == MEMBER_LIVE;
}

/* How long until no dead one counts as live; -1: longer than the worst that is allowed. And nobody else is fenced. */
static int64_t until_fenced(struct crowd *w)
{
	int64_t begin = w->loop.now;
	bool    waits = true;

	while (waits && w->loop.now - begin <= WORST_MS) {
		run(w, 1);
		waits = false;
		for (unsigned i = 0; i < w->n; i++)
			waits = waits || (!w->replicas[i].up && is_live(w, i));
	}
	for (unsigned i = 0; i < w->n; i++)
		if (w->replicas[i].up && !w->replicas[i].end.frozen && !is_live(w, i))
			ok(false, "replica %u lives and is fenced", i);
	return waits ? -1 : w->loop.now - begin;
}

/* The one whose id is the next after that of r, of those that are up. */
static struct replica *ring_next(struct crowd *w, const struct replica *r)
{
	struct replica *next = NULL, *first = NULL;

	for (unsigned i = 0; i < w->n; i++) {
		struct replica *o = &w->replicas[i];

		if (!o->up || o == r)
			continue;
		if (first == NULL || memcmp(o->me.b, first->me.b, sizeof o->me.b) < 0)
			first = o;
		if (memcmp(o->me.b, r->me.b, sizeof o->me.b) > 0 &&
		    (next == NULL || memcmp(o->me.b, next->me.b, sizeof o->me.b) < 0))
			next = o;
	}
	return next != NULL ? next : first;
}

/* ---- the dead are found ------------------------------------------------------------------------ */

static void test_cost(unsigned n, unsigned most)
{
	struct crowd *w = crowd_open(n, false);
	uint64_t      before = w->probes;

	run(w, 20000);
	uint64_t per_s = (w->probes - before) / 20;
	ok(per_s > 0 && per_s <= most, "%u replicas look at each other %llu times a second", n,
	   (unsigned long long)per_s);
	crowd_close(w);
}

/* Every k-th stays. */
static void test_kill(unsigned n, unsigned k, bool row, int64_t worst_ms)
{
	struct crowd *w = crowd_open(n, row);
	unsigned      dead = 0;

	for (unsigned i = 0; i < n; i++)
		if (i % k != k / 2) {
			end_process(&w->replicas[i]);
			dead++;
		}
	int64_t ms = until_fenced(w);
	ok(ms >= 0 && ms <= worst_ms, "%u of %u killed at once: all fenced after %lld ms%s", dead, n, (long long)ms,
	   row ? " (leases are rows)" : "");
	crowd_close(w);
}

static void test_deaf(unsigned n, unsigned k)
{
	struct crowd *w = crowd_open(n, false);
	unsigned      dead = 0;

	for (unsigned i = 0; i < n; i++) {
		w->replicas[i].deaf = true;
		lease_unwatch(&w->replicas[i]);
	}
	for (unsigned i = 0; i < n; i++)
		if (i % k != k / 2) {
			end_process(&w->replicas[i]);
			dead++;
		}
	int64_t ms = until_fenced(w);
	ok(ms >= 0, "%u of %u killed, and no watch is heard: all fenced after %lld ms", dead, n, (long long)ms);
	crowd_close(w);
}

/* The dead one's watcher sleeps: it keeps its lease for a TTL, and nobody else waits for the dead one. */
static void test_frozen_watcher(unsigned n, bool row)
{
	struct crowd   *w = crowd_open(n, row);
	struct replica *watcher = &w->replicas[n / 2], *dead = ring_next(w, watcher);

	watcher->end.frozen = true;
	end_process(dead);
	int64_t ms = until_fenced(w);
	ok(ms >= 0, "the watcher of a dead one is frozen: fenced after %lld ms%s", (long long)ms,
	   row ? " (leases are rows)" : "");
	run(w, WORST_MS - (ms > 0 ? ms : 0));
	ok(!is_live(w, (unsigned)(watcher - w->replicas)), "and the watcher as well");
	crowd_close(w);
}

/* Whoever has just come may not judge for a TTL; others look there as well. */
static void test_new_watcher(void)
{
	struct crowd *w = crowd_open(20, false);

	w->n = 40;
	for (unsigned i = 20; i < 40; i++)
		start(w, i, 100, false);
	run(w, 3000);
	for (unsigned i = 0; i < 20; i += 2)
		end_process(&w->replicas[i]);
	int64_t ms = until_fenced(w);
	ok(ms >= 0, "ten killed, and half of those who look are new: all fenced after %lld ms", (long long)ms);
	crowd_close(w);
}

/* ---- what is due is looked for in turns ------------------------------------------------------------ */

static void watch_looks(struct crowd *w, int64_t ms)
{
	w->looked_at = w->loop.now;
	w->looks = 0;
	w->gap_ms = 0;
	run(w, ms);
}

static void test_turns(unsigned n, unsigned most, int64_t worst_ms)
{
	struct crowd *w = crowd_open(n, false);

	watch_looks(w, 20000);
	ok(w->gap_ms <= worst_ms && w->looks / 20 <= most,
	   "%u replicas look for what is due %llu times a second, at the latest after %lld ms", n,
	   (unsigned long long)w->looks / 20, (long long)w->gap_ms);
	if (n == 1) {
		crowd_close(w);
		return;
	}
	end_process(&w->replicas[n / 2]);
	watch_looks(w, 5000);
	ok(w->gap_ms <= 3 * worst_ms, "one is killed: two turns are missed at most, %lld ms", (long long)w->gap_ms);
	watch_looks(w, 5000);
	ok(w->gap_ms <= worst_ms, "and closes: %lld ms", (long long)w->gap_ms);
	crowd_close(w);
}

/* Behind an old snapshot a look may have to pass over a million dead entries of the index. */
static void test_long_looks(void)
{
	struct crowd *w = crowd_open(3, false);

	w->look_ms = 300;
	run(w, 5000);
	watch_looks(w, 30000);
	ok(w->looks >= 15 && w->looks <= 30, "looks of 300 ms: each makes %llu in 30 s, a tenth of its time",
	   (unsigned long long)w->looks / 3);
	w->look_ms = 0;
	run(w, 5000);
	watch_looks(w, 5000);
	ok(w->gap_ms <= 65, "and all is well again when they are short: %lld ms", (long long)w->gap_ms);
	crowd_close(w);
}

static void on_put(void *arg, enum log_result result)
{
	(void)arg, (void)result;
}

/* A command is read soon, though nobody is told of it; and an empty inbox is not read where looks are frequent. */
static void test_inbox(unsigned n, unsigned most, int64_t worst_ms)
{
	struct crowd          *w = crowd_open(n, false);
	const struct log_port *log = &w->replicas[n / 2].ports.log;
	struct inbox_row       row = { .gid = STR("nobody's"), .command = STR("cancel"), .body = STR("{}") };
	int64_t                worst = 0;

	w->reads = 0;
	run(w, 20000);
	ok(w->reads / 20 <= most, "%u replicas read an empty inbox %llu times a second", n,
	   (unsigned long long)w->reads / 20);
	for (int i = 0; i < 20; i++) {
		int64_t put_at = w->loop.now;

		row.id.b[0] = (unsigned char)(i + 1);
		log->inbox_put(log->ctx, &row, on_put, w);
		run(w, 3);
		while (fake_db_inbox(w->db, false) > 0 && w->loop.now - put_at < 1000)
			run(w, 1);
		if (w->loop.now - put_at > worst)
			worst = w->loop.now - put_at;
		run(w, 37);
	}
	ok(worst <= worst_ms, "what is put there without a poke has its verdict after %lld ms at the latest",
	   (long long)worst);
	crowd_close(w);
}

/* ---- their rows are taken ------------------------------------------------------------------------- */

static void on_begin(void *arg, enum begin_result result, const struct view *view)
{
	(void)view;
	((struct crowd *)arg)->begun += result == BEGIN_DONE;
}

static void begin_many(struct crowd *w, struct replica *r, unsigned rows)
{
	for (unsigned i = 0; i < rows; i++) {
		char       gid[40];
		struct row row = { .def = &saga, .definition = STR("saga"), .definition_version = 1,
				   .input = STR("{\"n\":1}"), .retention_ms = 86400000 };

		snprintf(gid, sizeof gid, "0190d5c6-7e8f-7000-8000-%012u", i);
		row.gid = str_of(gid);
		engine_begin(r->e, &row, 0, 0, on_begin, w);
		if (i % 1000 == 999)
			run(w, 20);
	}
	run(w, 2000);
}

static uint64_t owned_by(const struct replica *r)
{
	struct engine_stats s;

	engine_stats(r->e, &s);
	return s.owned;
}

/* The strong one is the last to have its share, and the weak one must not help itself meanwhile. */
static void test_shares(unsigned rows, int64_t page_ms, int64_t worst_ms)
{
	static const uint32_t weights[] = { 1, 2, 5 };
	struct crowd *w = crowd_open(1, false);
	int64_t       begin;
	uint64_t      taken = 0;

	w->page_ms = page_ms;
	w->n = 4;
	for (unsigned i = 0; i < 3; i++)
		start(w, i + 1, weights[i], false);
	run(w, STEADY_MS);
	begin_many(w, &w->replicas[0], rows);
	ok(w->begun == rows && owned_by(&w->replicas[0]) == rows, "%u transactions are owned by one", w->begun);
	end_process(&w->replicas[0]);
	for (begin = w->loop.now; taken < rows && w->loop.now - begin < 3 * worst_ms;) {
		run(w, 10);
		taken = 0;
		for (unsigned i = 1; i < 4; i++)
			taken += owned_by(&w->replicas[i]);
	}
	ok(taken == rows && w->loop.now - begin <= worst_ms, "%llu of them are adopted within %lld ms of its death",
	   (unsigned long long)taken, (long long)(w->loop.now - begin));
	for (unsigned i = 0; i < 3; i++) {
		double share = (double)owned_by(&w->replicas[i + 1]) / rows, want = weights[i] / 8.0;

		ok(share > want * 0.9 && share < want * 1.1, "weight %u of 8: %.1f %% of them, wanted %.1f",
		   weights[i], 100 * share, 100 * want);
	}
	crowd_close(w);
}

/* Load went through one replica alone for a day: that says nothing of the others. */
static void test_idle_shares(void)
{
	struct member m[4] = { { .weight = 100, .speed = 970 }, { .weight = 100, .speed = 1 },
			       { .weight = 100, .speed = 0 }, { .weight = 100, .speed = 1000, .state = MEMBER_FENCED } };
	double        s[4];

	engine_shares(m, 4, s);
	ok(s[0] > 0.33 && s[0] < 0.34 && s[1] == s[0] && s[2] == s[0] && s[3] == 0,
	   "who was idle has the share of the one that was not: %.2f %.2f %.2f, a dead one %.2f", s[0], s[1], s[2], s[3]);
	m[1].speed = 485;
	engine_shares(m, 4, s);
	ok(s[0] > 0.443 && s[0] < 0.445 && s[1] * 2 > s[0] * 0.99 && s[1] * 2 < s[0] * 1.01 && s[2] > s[1] && s[2] < s[0],
	   "two have shown something: the idle one counts as their mean: %.2f %.2f %.2f", s[0], s[1], s[2]);
	m[2].speed = 97.1;
	engine_shares(m, 4, s);
	ok(s[2] < s[1] / 4, "a tenth of the fastest is slow, and not idle: %.2f", s[2]);
	m[0].weight = 300;
	m[2].speed = 1;
	m[1].load = 1.5;
	engine_shares(m, 4, s);
	ok(s[1] == 0 && s[0] > s[2] * 3 && s[0] + s[2] > 0.999, "weights count, and who has no room takes nothing: %.2f %.2f",
	   s[0], s[2]);
	m[0].speed = m[2].speed = m[1].load = 0;
	m[1].speed = 0.5;
	engine_shares(m, 4, s);
	ok(s[0] > 0.599 && s[0] < 0.601 && s[1] == s[2], "if none has shown anything only weights count: %.2f %.2f", s[0], s[1]);
}

/* Calls hang, so nothing makes progress, and one owner dies after the other: any row may be the killer. All the
 * same nobody waits for hours until his turn has come. */
static void test_deaths_in_a_row(unsigned rows, int64_t worst_ms)
{
	struct crowd *w = crowd_open(5, false);
	int64_t       begin;

	begin_many(w, &w->replicas[0], rows);
	for (unsigned i = 0; i < 4; i++) {
		end_process(&w->replicas[i]);
		if (i != 1) /* two of them at once */
			run(w, i < 3 ? STEADY_MS : 0);
	}
	for (begin = w->loop.now; owned_by(&w->replicas[4]) < rows && w->loop.now - begin < 3 * worst_ms;)
		run(w, 10);
	ok(owned_by(&w->replicas[4]) == rows && w->loop.now - begin <= worst_ms,
	   "three deaths in a row without any progress: the last one has all %llu after %lld ms",
	   (unsigned long long)owned_by(&w->replicas[4]), (long long)(w->loop.now - begin));
	crowd_close(w);
}

int main(void)
{
	test_cost(50, 35);
	test_cost(200, 140);
	test_kill(3, 3, false, 300);
	test_kill(50, 2, false, 1000);
	test_kill(50, 50, false, 1500);
	test_kill(200, 200, false, 3000);
	test_kill(50, 50, true, WORST_MS);
	test_deaf(50, 2);
	test_deaf(50, 50);
	test_frozen_watcher(50, false);
	test_frozen_watcher(50, true);
	test_new_watcher();
	test_turns(1, 17, 65);
	test_turns(3, 17, 65);
	test_turns(50, 17, 65);
	test_long_looks();
	test_inbox(1, 0, 70);
	test_inbox(3, 0, 70);
	test_inbox(50, 200, 70);
	test_idle_shares();
	test_shares(20000, 5, 2000);
	test_shares(100000, 25, 5000);
	test_deaths_in_a_row(2000, 15000);
	return tap_done();
}
