/* SPDX-License-Identifier: Apache-2.0
 * engine.c - one replica on a fake log: what a caller sees of begins, commands, waits and leaving.
 */
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
	bool               lose_next;
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

static const struct plan *plan_of(void *ctx, struct definition *def)
{
	(void)ctx;
	return &def->plan;
}

static struct definition *hold(void *ctx, struct definition *def)
{
	(void)ctx;
	def->count++;
	return def;
}

static void drop(void *ctx, struct definition *def)
{
	(void)ctx;
	def->count--;
}

static enum join_result join(void *ctx, struct definition *def, struct str document,
                             struct definition **grown, struct str *text, struct err *err)
{
	(void)ctx, (void)def, (void)document, (void)grown, (void)text;
	err_set(err, ERR_INVALID, "nothing joins here");
	return JOIN_INVALID;
}

static enum join_result patch(void *ctx, struct definition *def, struct str step, struct str changes,
                              struct definition **grown, struct str *text, struct err *err)
{
	(void)ctx, (void)def, (void)step, (void)changes, (void)grown, (void)text;
	err_set(err, ERR_INVALID, "nothing changes here");
	return JOIN_INVALID;
}

static int step_find(void *ctx, struct definition *def, struct str name)
{
	(void)ctx;
	return name.n == 1 && name.p[0] >= '0' && name.p[0] < '0' + def->plan.step_count ? name.p[0] - '0' : -1;
}

static struct str step_name(void *ctx, struct definition *def, uint16_t step)
{
	static const char names[] = "01";

	(void)ctx, (void)def;
	return (struct str){ names + step, 1 };
}

static struct definition *compile(void *ctx, struct str name, uint32_t version, struct str document)
{
	(void)version, (void)document;
	return hold(ctx, str_is(name, "tcc") ? &tcc : &saga);
}

static int64_t clock_now(void *ctx)
{
	return 1000000 + ((struct world *)ctx)->loop.now;
}

static int64_t clock_boot(void *ctx)
{
	return 5000 + ((struct world *)ctx)->loop.now;
}

static uint64_t chance(void *ctx)
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

static void call_ends(void *arg)
{
	struct test_call *c = arg;

	c->done(c->arg, &c->answer);
	free(c);
}

static uint64_t call_start(void *ctx, const struct call_request *r, call_done *done, void *arg)
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

static void call_abort(void *ctx, uint64_t handle)
{
	(void)ctx, (void)handle; /* no test here drops a transaction with an open call */
}

static void poke(void *ctx, struct str address, struct str gid)
{
	(void)ctx, (void)address, (void)gid;
}

static void trace(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail)
{
	(void)ctx;
	if (getenv("TRACE") != NULL)
		printf("# %d %s %.*s %s\n", (int)level, event, (int)gid.n, gid.p, detail);
}

static bool is_held(void *ctx, int64_t key, int64_t mark)
{
	return fake_locks_is_held(((struct world *)ctx)->locks, key, mark);
}

static bool is_unreadable(void *ctx, struct str gid)
{
	struct world *w = ctx;
	bool          yes = str_eq(gid, w->unreadable);

	w->refusals += yes;
	return yes;
}

static void bad(void *ctx, const char *what)
{
	(void)ctx;
	ok(false, "the log is used as port.h says: %s", what);
}

static void fate(void *ctx, enum fake_verb verb, struct fake_fate *f)
{
	struct world *w = ctx;

	*f = (struct fake_fate){ .arrive_ms = 1, .answer_ms = 1 };
	if (verb == FAKE_COMMIT) {
		f->refuse = w->fate.refuse;
		w->fate = (struct fake_fate){ 0 };
	}
}

static bool is_blocked(void *ctx, struct str gid)
{
	return str_eq(((struct world *)ctx)->blocked, gid);
}

static bool survives(void *ctx, enum fake_verb verb)
{
	(void)ctx, (void)verb;
	return true;
}

static int64_t lease_delay(void *ctx)
{
	(void)ctx;
	return 1;
}

static void lease_lost(void *ctx)
{
	engine_on_lease_lost(((struct world *)ctx)->e);
}

static void woken(void *ctx)
{
	struct world *w = ctx;

	if (w->e == NULL)
		return;
	while (engine_next_at(w->e) <= clock_boot(w))
		engine_tick(w->e);
	engine_flush(w->e);
}

/* Time passes; the engine's own timer is looked at every millisecond. */
static void run(struct world *w, int64_t ms)
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

static void world_open(struct world *w)
{
	static const struct engine_config config = {
		.ttl_ms = 2000, .beat_ms = 500, .margin_ms = 300, .fence_delay_ms = 250,
		.park_after_ms = 5000, .transactions_max = 100, .batch_rows = 8, .batch_bytes = 65536,
		.weight = 100, .address = { "http://a", 8 } };
	struct definition_port definition = { .ctx = w, .plan = plan_of, .hold = hold, .drop = drop,
					      .join = join, .patch = patch, .step_find = step_find, .step_name = step_name };
	struct fake_db_config db = { .ctx = w, .loop = &w->loop, .now_ms = clock_now, .definition = definition,
				     .compile = compile, .is_held = is_held, .bad = bad,
				     .is_blocked = is_blocked, .is_unreadable = is_unreadable,
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
	w->ports.trace = (struct trace_port){ .ctx = w, .line = trace };
	w->e = engine_open(&config, &w->ports);
	engine_start(w->e);
	run(w, 100);
}

static void world_close(struct world *w)
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

static void hear(struct world *w, const struct view *view)
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

static void on_begin(void *arg, enum begin_result result, const struct view *view)
{
	struct world *w = arg;

	w->begins[result]++;
	w->result = (int)result;
	hear(w, view);
}

static void on_view(void *arg, enum log_result result, const struct view *view)
{
	struct world *w = arg;

	w->result = (int)result;
	hear(w, view);
}

static void on_command(void *arg, enum command_result result, enum verdict verdict,
                       const struct view *view, const struct err *err)
{
	struct world *w = arg;

	(void)err;
	w->result = (int)result;
	w->verdict = verdict;
	hear(w, view);
}

static void begin(struct world *w, const char *gid, struct definition *def, int64_t deadline_in)
{
	struct row row = { .gid = str_of(gid), .def = def, .input = STR("{\"n\":1}"), .retention_ms = 86400000,
			   .definition = def == &tcc ? STR("tcc") : STR("saga"), .definition_version = 1 };

	engine_begin(w->e, &row, 0, deadline_in ? clock_now(w) + deadline_in : 0, on_begin, w);
}

static void command(struct world *w, const char *gid, enum command_kind kind)
{
	struct command c = { .kind = kind, .gid = str_of(gid), .step = STR("0") };

	engine_command(w->e, &c, on_command, w);
}

static const struct row *row_of(struct world *w, const char *gid)
{
	return fake_db_row(w->db, str_of(gid));
}

static struct engine_stats stats(struct world *w)
{
	struct engine_stats s;

	engine_stats(w->e, &s);
	return s;
}

/* ---- the tests --------------------------------------------------------------------------------- */

static void test_saga(struct world *w)
{
	ok(stats(w).state == ENGINE_LIVE, "a replica becomes live by itself");
	begin(w, "a", &saga, 0);
	ok(w->told == 0, "nothing is promised before the log has it");
	engine_wait(w->e, STR("a"), clock_now(w) + 5000, on_view, w);
	run(w, 2);
	ok(w->told == 0 && w->trail[0] == '\0', "and nobody is called");
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1, "the begin is done");
	ok(strcmp(w->trail, "0try 1try") == 0, "its steps are tried in order: %s", w->trail);
	ok(w->told == 2 && w->phase == PHASE_CONFIRMED, "who waits hears of the end");
	ok(strcmp(w->output_text, "{\"id\":7}") == 0, "and sees the output");
	ok(row_of(w, "a")->phase == PHASE_CONFIRMED && fake_db_entries(w->db) == 0, "the log has it, without a journal");
	ok(stats(w).owned == 0 && stats(w).open_calls == 0, "and nothing stays in memory");
}

static void test_refused(struct world *w)
{
	w->say[1][OP_TRY] = OUTCOME_REFUSED;
	begin(w, "r", &saga, 0);
	run(w, 100);
	ok(strcmp(w->trail, "0try 1try 1cancel 0cancel") == 0, "a refusal undoes both steps, in reverse: %s", w->trail);
	ok(row_of(w, "r")->phase == PHASE_CANCELLED, "and the log says so");
	ok(fake_db_entries(w->db) == 1, "the refusal stands in the journal");
}

static void test_twice(struct world *w)
{
	begin(w, "t", &saga, 0);
	begin(w, "t", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1 && w->begins[BEGIN_EXISTS] == 1, "of two begins at once one is done");
	begin(w, "t", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_EXISTS] == 2 && w->phase == PHASE_CONFIRMED, "one after the end is shown the end");
	ok(strcmp(w->trail, "0try 1try") == 0, "and every step was tried once");
}

static void test_park(struct world *w)
{
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "p", &saga, 0);
	run(w, 15000);
	ok(stats(w).parked >= 1 && stats(w).owned == 0, "what waits long is put back into the log");
	ok(uuid_is_nil(row_of(w, "p")->owner) && row_of(w, "p")->due_at > clock_now(w), "with its time");
	w->say[0][OP_TRY] = OUTCOME_OK;
	command(w, "p", COMMAND_RETRY);
	run(w, 300);
	ok(w->result == COMMAND_APPLIED && w->verdict == VERDICT_ACCEPTED, "a command takes it out again");
	ok(row_of(w, "p")->phase == PHASE_CONFIRMED, "and it goes on");
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "q", &saga, 0);
	run(w, 15000);
	w->say[0][OP_TRY] = OUTCOME_OK;
	run(w, 60000);
	ok(stats(w).taken_due >= 1 && row_of(w, "q")->phase == PHASE_CONFIRMED, "another is taken when it is due");
}

static void test_put_off(struct world *w)
{
	w->put_off_ms = 3000;
	begin(w, "o", &saga, 0);
	run(w, 1000);
	ok(stats(w).calls_put_off == 1 && stats(w).calls == 0 && stats(w).open_calls == 0,
	   "a call that was put off was not made");
	ok(fake_db_entries(w->db) == 0 && row_of(w, "o")->version == 2, "it is no attempt, and is told the log once");
	engine_on_room(w->e, 8);
	run(w, 1000);
	ok(strcmp(w->trail, "0try") == 0, "room at another participant wakes nobody: %s", w->trail);
	w->put_off_ms = 0;
	engine_on_room(w->e, 7);
	run(w, 100);
	ok(row_of(w, "o")->phase == PHASE_CONFIRMED, "room at its own wakes it before its time: %s", w->trail);
	w->put_off_ms = 30000;
	begin(w, "l", &saga, 0);
	run(w, 10000);
	ok(stats(w).owned == 0 && row_of(w, "l")->due_at > clock_now(w), "for longer it is parked");
	w->put_off_ms = 0;
	engine_on_room(w->e, 7);
	run(w, 30000);
	ok(row_of(w, "l")->phase == PHASE_CONFIRMED, "and taken up again at its time");
}

static void test_put_off_deadline(struct world *w)
{
	w->put_off_ms = 30000;
	begin(w, "d", &saga, 2000);
	run(w, 3000);
	w->put_off_ms = 0;
	ok(row_of(w, "d")->phase == PHASE_CANCELLING, "its deadline does not wait for the participant");
	engine_on_room(w->e, 7);
	run(w, 40000);
	ok(row_of(w, "d")->phase == PHASE_CANCELLED, "the cancel does: %s", w->trail);
}

static void test_commands(struct world *w)
{
	begin(w, "c", &tcc, 600000);
	run(w, 10);
	command(w, "c", COMMAND_CONFIRM);
	run(w, 10);
	ok(w->result == COMMAND_APPLIED && w->verdict == VERDICT_ACCEPTED && w->phase == PHASE_CONFIRMED,
	   "an open transaction is confirmed by its caller");
	command(w, "c", COMMAND_CANCEL);
	run(w, 10);
	ok(w->verdict == VERDICT_DECIDED, "and cannot be cancelled then");
	command(w, "nobody", COMMAND_CANCEL);
	run(w, 10);
	ok(w->result == COMMAND_UNKNOWN, "there is no such transaction");
	command(w, "c", COMMAND_COMPLETE);
	run(w, 10);
	ok(w->verdict == VERDICT_NO_STEP, "nor such a step");
}

static void test_away(struct world *w)
{
	begin(w, "w", &saga, 0);
	w->fate.refuse = LOG_AWAY;
	run(w, 4);
	ok(w->begins[BEGIN_AWAY] == 1 && row_of(w, "w") == NULL, "without a log a begin is refused at once");
	begin(w, "w", &saga, 0);
	run(w, 1);
	ok(w->begins[BEGIN_AWAY] == 2, "and so is the next");
	engine_on_log_back(w->e);
	begin(w, "w", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1, "when it is back, begins are taken");
	w->say[1][OP_TRY] = OUTCOME_REFUSED;
	begin(w, "x", &saga, 0);
	run(w, 4);
	w->fate.refuse = LOG_AWAY;
	run(w, 2000);
	ok(row_of(w, "x")->phase == PHASE_CANCELLED, "and what was decided meanwhile was kept and sent again");
}

static void test_lost(struct world *w)
{
	begin(w, "l", &saga, 0);
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 500);
	ok(w->told == 0 && w->trail[0] == '\0', "a begin whose answer was lost is not answered by a guess");
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 1, "it had landed, and is told so when it is read again");
	ok(row_of(w, "l")->phase == PHASE_CONFIRMED && row_of(w, "l")->epoch == 2, "and it goes on, one epoch later");
}

static void test_bad_row(struct world *w)
{
	w->output = STR("\"poison\"");
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "b%d", i);
		begin(w, gid, &tcc, 600000);
	}
	begin(w, "bad", &saga, 0);
	run(w, 3000);
	ok(w->begins[BEGIN_DONE] == 7, "a row that cannot be stored leaves the others alone");
	ok(row_of(w, "bad")->stuck == STUCK_BAD_ROW, "and is stuck until a person looks");
	w->output = STR("1");
	command(w, "bad", COMMAND_RETRY);
	run(w, 500);
	ok(row_of(w, "bad")->phase == PHASE_CONFIRMED, "who has it called again");
	struct row row = { .gid = STR("poison"), .def = &saga, .definition = STR("saga"), .input = STR("\"poison\"") };
	engine_begin(w->e, &row, 0, 0, on_begin, w);
	run(w, 500);
	ok(w->begins[BEGIN_REFUSED] == 1, "a begin that cannot be stored is refused for good");
}

/* Somebody forgot an open transaction in which he locked a row. */
static void test_blocked(struct world *w)
{
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "k%d", i);
		begin(w, gid, &saga, 600000);
	}
	begin(w, "blocked", &saga, 0);
	run(w, 3);
	w->blocked = STR("blocked");
	run(w, 1000);
	int confirmed = 0;
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "k%d", i);
		confirmed += row_of(w, gid)->phase == PHASE_CONFIRMED;
	}
	ok(confirmed == 6, "a row that somebody holds locked leaves the others alone");
	run(w, 10000);
	ok(stats(w).state == ENGINE_LIVE && row_of(w, "blocked")->phase == PHASE_TRYING,
	   "it waits for hours, and that is no dead log");
	w->blocked = (struct str){ 0 };
	run(w, 1500);
	ok(row_of(w, "blocked")->phase == PHASE_CONFIRMED, "and goes on when it is let go");
}

/* Of some that are in doubt together one cannot be read: a damaged block. */
static void test_unreadable(struct world *w)
{
	char gid[16];
	int  confirmed = 0;

	for (int i = 0; i < 7; i++) {
		snprintf(gid, sizeof gid, "u%d", i);
		begin(w, gid, &saga, 600000);
		if (i == 3)
			begin(w, "unreadable", &saga, 600000);
	}
	w->unreadable = STR("unreadable");
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 100);
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 1000);
	for (int i = 0; i < 7; i++) {
		snprintf(gid, sizeof gid, "u%d", i);
		confirmed += row_of(w, gid)->phase == PHASE_CONFIRMED;
	}
	ok(confirmed == 7, "a row that cannot be read again leaves the others alone: %d of 7 go on", confirmed);
	run(w, 10000);
	ok(row_of(w, "unreadable")->version == 1 && w->refusals < 20, "it is asked for now and then: %d times", w->refusals);
	w->unreadable = (struct str){ 0 };
	run(w, 1500);
	ok(row_of(w, "unreadable")->phase == PHASE_CONFIRMED, "and goes on when it can be read");
}

static void test_suspended(struct world *w)
{
	fake_lease_cut(w->lease, true);
	run(w, 1800);
	ok(stats(w).state == ENGINE_SUSPENDED, "without heartbeats it stops before the server lets the lease go");
	begin(w, "s", &saga, 0);
	run(w, 10);
	ok(w->begins[BEGIN_AWAY] == 1, "and takes nothing");
	fake_lease_cut(w->lease, false);
	run(w, 5000);
	ok(stats(w).state == ENGINE_LIVE && stats(w).incarnations == 1, "then it goes on as the same, since nobody fenced it");
}

static void on_drained(void *arg)
{
	((struct world *)arg)->drained = true;
}

static void test_drain(struct world *w)
{
	begin(w, "d", &tcc, 600000);
	run(w, 10);
	engine_drain(w->e, 1000, on_drained, w);
	begin(w, "e", &saga, 0);
	run(w, 200);
	ok(w->begins[BEGIN_AWAY] == 1, "who leaves takes nothing new");
	ok(w->drained && stats(w).state == ENGINE_GONE, "and is gone soon");
	ok(uuid_is_nil(row_of(w, "d")->owner), "what it had is free for others");
	ok(fake_db_member(w->db, stats(w).me)->state == MEMBER_DRAINED, "and nobody needs to fence it");
}

int main(void)
{
	static void (*const tests[])(struct world *w) = {
		test_saga, test_refused, test_twice, test_park, test_put_off, test_put_off_deadline, test_commands, test_away,
		test_lost, test_bad_row, test_blocked, test_unreadable, test_suspended, test_drain };

	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		struct world w;

		world_open(&w);
		tests[i](&w);
		world_close(&w);
		ok(saga.count == 1 && tcc.count == 1, "every definition that was held is let go");
		saga.count = tcc.count = 1;
	}
	return tap_done();
}
