/* SPDX-License-Identifier: Apache-2.0
 * engine_world.h - one replica on a fake log, and its callers, for tests that go step by step.
 */
#ifndef TESTS_UNIT_ENGINE_WORLD_H
#define TESTS_UNIT_ENGINE_WORLD_H

#include "coordinator/engine/engine.h"
#include "tests/lib/fake_lease.h"
#include "tests/lib/fake_log.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

/* ---- a small world: one database, one replica, services that say what the test wants ------- */

struct definition {
	struct plan plan;
	int         count;
};

static const struct plan_step saga_steps[] = {
	{ .kind = KIND_COMPENSATABLE, .has = HAS_TRY | HAS_CANCEL, .poll_ms = 1000,
	  .retry = { .initial_ms = 100, .max_ms = 60000, .factor_milli = 10000 } },
	{ .kind = KIND_COMPENSATABLE, .has = HAS_TRY | HAS_CANCEL, .poll_ms = 1000, .after_n = 1,
	  .retry = { .initial_ms = 100, .max_ms = 60000, .factor_milli = 10000 } },
};
static const uint16_t saga_edges[] = { 0 };
static struct definition saga = { .plan = { .mode = MODE_SAGA, .step_count = 2, .max_parallel = 2,
					    .stuck_after_ms = 900000, .steps = saga_steps,
					    .edges = saga_edges }, .count = 1 };
static struct definition tcc = { .plan = { .mode = MODE_TCC, .open = true, .max_parallel = 2,
					   .stuck_after_ms = 900000 }, .count = 1 };

struct world {
	struct fake_loop   loop;
	struct fake_end    end;
	struct fake_db    *db;
	struct fake_locks *locks;
	struct fake_log   *log;
	struct fake_lease *lease;
	struct ports       ports;
	struct engine     *e;
	uint64_t           random, calls;
	char               trail[400];   /* "0try 1try 0cancel", in the order of calls */
	enum outcome       say[2][OP_COUNT];
	int64_t            put_off_ms;   /* not 0: no call is made at all */
	struct str         output;
	struct str         blocked;      /* a gid: somebody else holds that row locked */
	struct str         unreadable;   /* a gid: nobody can read that row */
	int                refusals;     /* of pages that asked for it */
	struct fake_fate   fate;         /* of the next commit only */
	int                commits[LOG_RESULT_COUNT]; /* how they were answered */
	bool               unheld;       /* no lease is held, says the server */
	bool               lose_next;
	unsigned           ended[PHASE_COUNT]; /* told to traces */
	bool               ended_right;        /* of the last one: the row says the same */
	bool               drained;
	/* what came back */
	int                begins[8];    /* how often each begin_result was told */
	int                told, result;
	enum verdict       verdict;
	enum phase         phase;
	uint64_t           version;
	struct str         shown_output;
	char               output_text[64];
};

static inline const struct plan *plan_of(void *ctx, struct definition *def)
{
	(void)ctx;
	return &def->plan;
}

static inline struct definition *hold(void *ctx, struct definition *def)
{
	(void)ctx;
	def->count++;
	return def;
}

static inline void drop(void *ctx, struct definition *def)
{
	(void)ctx;
	def->count--;
}

static inline enum join_result join(void *ctx, struct definition *def, struct str document,
                                    struct definition **grown, struct str *text, struct err *err)
{
	(void)ctx, (void)def, (void)document, (void)grown, (void)text;
	err_set(err, ERR_INVALID, "nothing joins here");
	return JOIN_INVALID;
}

static inline enum join_result patch(void *ctx, struct definition *def, struct str step, struct str changes,
                                     struct definition **grown, struct str *text, struct err *err)
{
	(void)ctx, (void)def, (void)step, (void)changes, (void)grown, (void)text;
	err_set(err, ERR_INVALID, "nothing changes here");
	return JOIN_INVALID;
}

static inline int step_find(void *ctx, struct definition *def, struct str name)
{
	(void)ctx;
	return name.n == 1 && name.p[0] >= '0' && name.p[0] < '0' + def->plan.step_count ? name.p[0] - '0' : -1;
}

static inline struct str step_name(void *ctx, struct definition *def, uint16_t step)
{
	static const char names[] = "01";

	(void)ctx, (void)def;
	return (struct str){ names + step, 1 };
}

static inline struct definition *compile(void *ctx, struct str name, uint32_t version, struct str document)
{
	(void)version, (void)document;
	return hold(ctx, str_is(name, "tcc") ? &tcc : &saga);
}

static inline int64_t clock_now(void *ctx)
{
	return 1000000 + ((struct world *)ctx)->loop.now;
}

static inline int64_t clock_boot(void *ctx)
{
	return 5000 + ((struct world *)ctx)->loop.now;
}

static inline uint64_t chance(void *ctx)
{
	struct world *w = ctx;

	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return w->random >> 16;
}

struct test_call {
	struct world      *w;
	call_done         *done;
	void              *arg;
	struct call_answer answer;
};

static inline void call_ends(void *arg)
{
	struct test_call *c = arg;

	c->done(c->arg, &c->answer);
	free(c);
}

static inline uint64_t call_start(void *ctx, const struct call_request *r, call_done *done, void *arg)
{
	struct world     *w = ctx;
	struct test_call *c = calloc(1, sizeof *c);
	size_t            n = strlen(w->trail);

	snprintf(w->trail + n, sizeof w->trail - n, "%s%d%s", n ? " " : "", r->step, op_name(r->op));
	*c = (struct test_call){ .w = w, .done = done, .arg = arg };
	c->answer.outcome = w->say[r->step][r->op];
	c->answer.status = c->answer.outcome == OUTCOME_OK ? 200 : 503;
	if (c->answer.outcome == OUTCOME_OK)
		c->answer.output = w->output;
	if (w->put_off_ms > 0)
		c->answer = (struct call_answer){ .outcome = OUTCOME_UNKNOWN, .put_off_ms = w->put_off_ms,
			                          .failing = true, .line = 7 };
	fake_loop_post(&w->loop, &w->end, 1, call_ends, free, c);
	return ++w->calls;
}

static inline void call_abort(void *ctx, uint64_t handle)
{
	(void)ctx, (void)handle; /* no test here drops a transaction with an open call */
}

static inline void poke(void *ctx, struct str address, struct str gid)
{
	(void)ctx, (void)address, (void)gid;
}

static inline void trace(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail)
{
	(void)ctx;
	if (getenv("TRACE") != NULL)
		printf("# %d %s %.*s %s\n", (int)level, event, (int)gid.n, gid.p, detail);
}

static inline void on_trace_ended(void *ctx, const struct row *row, const struct txn *txn)
{
	struct world *w = ctx;

	w->ended[txn->phase]++;
	w->ended_right = row->version > 1 && row->phase == txn->phase && row->ended_at > 0;
}

static inline bool is_held(void *ctx, int64_t key, int64_t mark)
{
	struct world *w = ctx;

	return !w->unheld && fake_locks_is_held(w->locks, key, mark);
}

static inline bool is_unreadable(void *ctx, struct str gid)
{
	struct world *w = ctx;
	bool          yes = str_eq(gid, w->unreadable);

	w->refusals += yes;
	return yes;
}

static inline void bad(void *ctx, const char *what)
{
	(void)ctx;
	ok(false, "the log is used as port.h says: %s", what);
}

static inline void fate(void *ctx, enum fake_verb verb, struct fake_fate *f)
{
	struct world *w = ctx;

	*f = (struct fake_fate){ .arrive_ms = 1, .answer_ms = 1 };
	if (verb == FAKE_COMMIT) {
		f->refuse = w->fate.refuse;
		f->answer_ms += w->fate.answer_ms;
		w->fate = (struct fake_fate){ 0 };
	}
}

static inline void answered(void *ctx, enum fake_verb verb, enum log_result result, size_t n, bool heard)
{
	(void)n, (void)heard;
	if (verb == FAKE_COMMIT)
		((struct world *)ctx)->commits[result]++;
}

static inline bool is_blocked(void *ctx, struct str gid)
{
	return str_eq(((struct world *)ctx)->blocked, gid);
}

static inline bool survives(void *ctx, enum fake_verb verb)
{
	(void)ctx, (void)verb;
	return true;
}

static inline int64_t lease_delay(void *ctx)
{
	(void)ctx;
	return 1;
}

static inline void lease_lost(void *ctx)
{
	engine_on_lease_lost(((struct world *)ctx)->e);
}

static inline void woken(void *ctx)
{
	struct world *w = ctx;

	if (w->e == NULL)
		return;
	while (engine_next_at(w->e) <= clock_boot(w))
		engine_tick(w->e);
	engine_flush(w->e);
}

/* Time passes; the engine's own timer is looked at every millisecond. */
static inline void run(struct world *w, int64_t ms)
{
	int64_t until = w->loop.now + ms;

	while (w->loop.now < until) {
		struct heap_node *next = heap_first(&w->loop.queue);

		if (next != NULL && next->at <= w->loop.now) {
			fake_loop_step(&w->loop);
		} else {
			w->loop.now++;
			woken(w);
		}
	}
}

static inline void world_open(struct world *w)
{
	static const struct engine_config config = {
		.ttl_ms = 2000, .beat_ms = 500, .margin_ms = 300, .fence_delay_ms = 250,
		.park_after_ms = 5000, .transactions_max = 100, .batch_rows = 8, .batch_bytes = 65536, .batch_behind = 2,
		.weight = 100, .address = { "http://a", 8 }, .keep_bytes = 1 << 20 };
	struct definition_port definition = { .ctx = w, .plan = plan_of, .hold = hold, .drop = drop,
					      .join = join, .patch = patch, .step_find = step_find, .step_name = step_name };
	struct fake_db_config db = { .ctx = w, .loop = &w->loop, .now_ms = clock_now, .definition = definition,
				     .compile = compile, .is_held = is_held, .bad = bad,
				     .is_blocked = is_blocked, .is_unreadable = is_unreadable,
				     .answered = answered, .remembers = true,
				     .unstorable = STR("poison") };
	struct fake_log_config log = { .end = &w->end, .ctx = w, .fate = fate, .survives = survives };
	struct fake_lease_config lease = { .end = &w->end, .ctx = w, .delay = lease_delay, .lost = lease_lost };

	*w = (struct world){ .random = 7, .output = STR("{\"id\":7}") };
	fake_loop_init(&w->loop);
	fake_end_init(&w->end, &w->loop, woken, w);
	w->db = fake_db_open(&db);
	w->locks = fake_locks_open(&w->loop);
	log.db = w->db;
	lease.locks = w->locks;
	w->log = fake_log_open(&log, &w->ports.log);
	w->lease = fake_lease_open(&lease, &w->ports.lease);
	w->ports.definition = definition;
	w->ports.clock = (struct clock_port){ w, clock_now, clock_boot, chance };
	w->ports.caller = (struct caller_port){ w, call_start, call_abort };
	w->ports.poke = (struct poke_port){ w, poke };
	w->ports.trace = (struct trace_port){ .ctx = w, .line = trace, .ended = on_trace_ended };
	w->e = engine_open(&config, &w->ports);
	engine_start(w->e);
	run(w, 100);
}

static inline void world_close(struct world *w)
{
	engine_close(w->e);
	w->e = NULL;
	fake_end_die(&w->end);
	fake_log_close(w->log);
	fake_lease_close(w->lease);
	fake_loop_fini(&w->loop);
	fake_locks_close(w->locks);
	fake_db_close(w->db);
	fake_end_fini(&w->end);
}

/* ---- what callers do and hear --------------------------------------------------------------- */

static inline void hear(struct world *w, const struct view *view)
{
	w->told++;
	if (view == NULL)
		return;
	w->phase = view->row.phase;
	w->version = view->row.version;
	w->output_text[0] = '\0';
	if (view->txn != NULL && view->txn->step_count > 0)
		str_cstr(view->notes[0].output, w->output_text, sizeof w->output_text);
}

static inline void on_begin(void *arg, enum begin_result result, const struct view *view)
{
	struct world *w = arg;

	w->begins[result]++;
	w->result = (int)result;
	hear(w, view);
}

static inline void on_view(void *arg, enum log_result result, const struct view *view)
{
	struct world *w = arg;

	w->result = (int)result;
	hear(w, view);
}

static inline void on_command(void *arg, enum command_result result, enum verdict verdict,
                              const struct view *view, const struct err *err)
{
	struct world *w = arg;

	(void)err;
	w->result = (int)result;
	w->verdict = verdict;
	hear(w, view);
}

static inline void begin(struct world *w, const char *gid, struct definition *def, int64_t deadline_in)
{
	struct row row = { .gid = str_of(gid), .def = def, .input = STR("{\"n\":1}"), .retention_ms = 86400000,
			   .definition = def == &tcc ? STR("tcc") : STR("saga"), .definition_version = 1 };

	engine_begin(w->e, &row, 0, deadline_in ? clock_now(w) + deadline_in : 0, on_begin, w);
}

/* As if its gid had been made a moment ago. */
static inline void begin_fresh(struct world *w, const char *gid)
{
	struct row row = { .gid = str_of(gid), .def = &saga, .definition = STR("saga"), .definition_version = 1,
			   .input = STR("{}"), .retention_ms = 86400000, .fresh = true };

	engine_begin(w->e, &row, 0, 0, on_begin, w);
}

static inline void command(struct world *w, const char *gid, enum command_kind kind)
{
	struct command c = { .kind = kind, .gid = str_of(gid), .step = STR("0") };

	engine_command(w->e, &c, on_command, w);
}

static inline const struct row *row_of(struct world *w, const char *gid)
{
	return fake_db_row(w->db, str_of(gid));
}

static inline struct engine_stats stats(struct world *w)
{
	struct engine_stats s;

	engine_stats(w->e, &s);
	return s;
}

/* Each in a world of its own. */
static inline int play(void (*const tests[])(struct world *w), size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct world w;

		world_open(&w);
		tests[i](&w);
		world_close(&w);
		ok(saga.count == 1 && tcc.count == 1, "every definition that was held is let go");
		saga.count = tcc.count = 1;
	}
	return tap_done();
}

#endif
