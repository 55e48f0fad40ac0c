/* SPDX-License-Identifier: Apache-2.0
 * fake.c - the fake log keeps the contract of log_port, also where connections break.
 */
#include "tests/conformance/log_suite.h"
#include "coordinator/base/mem.h"
#include "tests/lib/fake_lease.h"
#include "tests/lib/fake_log.h"
#include "tests/lib/tap.h"

#include <stdlib.h>

enum { EPOCH_MS = 1790000100, NURSERY_MS = 4000 };

struct definition { /* nothing of it matters here but that holds and drops balance */
	int held;
};

static struct fake {
	struct fake_loop   loop;
	struct fake_end    end_a, end_b;
	struct fake_db    *db;
	struct fake_log   *a, *b;
	struct log_port    port_a, port_b;
	struct definition  def;
	int64_t            keys[4];
	struct fake_fate   fate;
	bool               survives;
	uint64_t           seed;
	unsigned           bad;
} f;

static int64_t now_ms(void *ctx)
{
	(void)ctx;
	return 1000 * (int64_t)EPOCH_MS + f.loop.now;
}

static struct definition *hold(void *ctx, struct definition *def)
{
	(void)ctx;
	def->held++;
	return def;
}

static void drop(void *ctx, struct definition *def)
{
	(void)ctx;
	def->held--;
}

static struct definition *compile(void *ctx, struct str name, uint32_t version, struct str document)
{
	(void)name;
	return str_is(document, "broken") || version == 999999 ? NULL : hold(ctx, &f.def);
}

static bool is_held(void *ctx, int64_t key, int64_t mark)
{
	(void)ctx, (void)mark;
	for (int i = 0; i < 4; i++)
		if (key != 0 && f.keys[i] == key)
			return true;
	return false;
}

static void set_lock(void *ctx, int64_t key, bool held)
{
	(void)ctx;
	for (int i = 0; i < 4; i++)
		if (f.keys[i] == (held ? 0 : key)) {
			f.keys[i] = held ? key : 0;
			return;
		}
}

static void bad(void *ctx, const char *what)
{
	(void)ctx;
	f.bad++;
	printf("# %s\n", what);
}

static void fate(void *ctx, enum fake_verb verb, struct fake_fate *out)
{
	(void)ctx;
	(void)verb;
	*out = f.fate;
}

static bool survives(void *ctx, enum fake_verb verb)
{
	(void)ctx;
	(void)verb;
	return f.survives;
}

static bool pump(void *ctx, const bool *done)
{
	(void)ctx;
	while (!*done)
		if (!fake_loop_step(&f.loop))
			return false;
	return true;
}

static void nothing(void *arg)
{
	*(bool *)arg = true;
}

static void sleep_ms(void *ctx, int64_t ms)
{
	bool done = false;

	fake_loop_post(&f.loop, NULL, ms, nothing, NULL, &done);
	pump(ctx, &done);
}

static uint64_t draw(void *ctx)
{
	(void)ctx;
	f.seed = f.seed * 6364136223846793005u + 1442695040888963407u;
	return f.seed ^ f.seed >> 29;
}

static void report(void *ctx, bool pass, const char *what)
{
	(void)ctx;
	ok(pass, "%s", what);
}

/* ---- what the suite cannot ask of a real server at will --------------------------- */

struct answer {
	bool            done;
	enum log_result result;
	size_t          n;
	uint64_t        version;
};

static void on_batch(void *arg, enum log_result result, const struct batch_result *r)
{
	*(struct answer *)arg = (struct answer){ true, result, r != NULL, 0 };
}

static void on_rows(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	*(struct answer *)arg = (struct answer){ true, result, n, n > 0 ? rows[0].version : 0 };
}

static void on_done(void *arg, enum log_result result)
{
	*(struct answer *)arg = (struct answer){ true, result, 0, 0 };
}

static const struct uuid me = { { 1 } }, young_me = { { 7 } };

static struct row a_row(const char *gid)
{
	return (struct row){ .gid = str_of(gid), .owner = me, .epoch = 1, .version = 1,
		             .phase = PHASE_TRYING, .progress = STR("{}") };
}

static void enroll(void)
{
	struct answer got = { 0 };
	struct member m = { .id = me, .lock_key = 5, .weight = 1 };

	f.fate = (struct fake_fate){ 0 };
	f.port_a.enroll(f.port_a.ctx, &m, on_done, &got);
	pump(NULL, &got.done);
}

static void test_lost_commit_lands_later(void)
{
	struct answer begun = { 0 }, again = { 0 }, change = { 0 }, loaded = { 0 }, fenced = { 0 };
	struct row    r = a_row("late");
	struct str    gid = r.gid;
	struct batch  begin = { .me = me, .begins = &r, .begin_count = 1 };
	struct change c = { .gid = gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{}") };
	struct batch  changes = { .me = me, .changes = &c, .change_count = 1 };

	enroll();
	f.fate = (struct fake_fate){ .arrive_ms = 1, .land_ms = 100, .answer_ms = 1 };
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &begun);
	sleep_ms(NULL, 10);
	fake_log_break(f.a, FAKE_COMMITS | FAKE_OTHERS);
	pump(NULL, &begun.done);
	ok(begun.result == LOG_LOST && begun.n == 0, "a commit whose connection broke is lost");
	ok(fake_db_row(f.db, gid) == NULL, "it has not landed yet");
	f.port_a.reload(f.port_a.ctx, me, &gid, 1, on_rows, &loaded);
	pump(NULL, &loaded.done);
	ok(loaded.result == LOG_AWAY, "without a connection all is away");
	fake_log_restore(f.a, FAKE_COMMITS | FAKE_OTHERS);
	loaded.done = false;
	f.fate = (struct fake_fate){ 0 };
	f.port_b.fence(f.port_b.ctx, (struct uuid){ { 9 } }, me, 5, 0, on_done, &fenced);
	f.port_a.reload(f.port_a.ctx, me, &gid, 1, on_rows, &loaded);
	pump(NULL, &loaded.done);
	ok(loaded.result == LOG_DONE && loaded.n == 0, "a reload does not see an insert that has not landed");
	ok(!fenced.done, "a fence waits for the begin under way");
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &again);
	sleep_ms(NULL, 20);
	ok(!again.done, "nor does the same begin again go on before the first is settled");
	sleep_ms(NULL, 100);
	ok(fake_db_row(f.db, gid) != NULL, "it lands, later");
	ok(fenced.done && fenced.result == LOG_DONE, "then the fence is done");
	ok(again.done && again.result == LOG_FENCED, "and the second begin is too late");

	f.fate = (struct fake_fate){ .land_ms = 100 };
	f.port_a.commit(f.port_a.ctx, &changes, on_batch, &change);
	sleep_ms(NULL, 10);
	fake_log_break(f.a, FAKE_COMMITS);
	f.fate = (struct fake_fate){ 0 };
	loaded = (struct answer){ 0 };
	f.port_a.reload(f.port_a.ctx, me, &gid, 1, on_rows, &loaded);
	sleep_ms(NULL, 10);
	ok(change.result == LOG_LOST && !loaded.done, "a reload waits for the row of a lost commit");
	pump(NULL, &loaded.done);
	ok(loaded.n == 1 && loaded.version == 3, "and sees what it did");
	fake_log_restore(f.a, FAKE_COMMITS);
}

static void test_refusals(void)
{
	struct answer got = { 0 };
	struct row    r = a_row("refused");
	struct batch  begin = { .me = me, .begins = &r, .begin_count = 1 };

	f.fate = (struct fake_fate){ .refuse = LOG_AGAIN };
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &got);
	ok(!got.done, "no answer comes before the verb returns");
	pump(NULL, &got.done);
	ok(got.result == LOG_AGAIN && fake_db_row(f.db, r.gid) == NULL, "a refused commit does nothing");
	f.fate = (struct fake_fate){ .arrive_ms = 10 };
	got.done = false;
	f.survives = false;
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &got);
	fake_log_break(f.a, FAKE_COMMITS);
	fake_log_restore(f.a, FAKE_COMMITS);
	pump(NULL, &got.done);
	sleep_ms(NULL, 50);
	ok(got.result == LOG_LOST && f.bad == 0, "a commit lost on its way is lost");
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &got);
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &got);
	ok(f.bad == 1, "two commits at a time break the contract");
	sleep_ms(NULL, 50);
	f.bad = 0;
}

static void test_restart(void)
{
	struct answer got = { 0 };
	struct row    r = a_row("restart");
	struct batch  begin = { .me = me, .begins = &r, .begin_count = 1 };

	f.fate = (struct fake_fate){ .land_ms = 50 };
	f.port_a.commit(f.port_a.ctx, &begin, on_batch, &got);
	sleep_ms(NULL, 10);
	fake_db_restart(f.db);
	pump(NULL, &got.done);
	sleep_ms(NULL, 100);
	ok(got.result == LOG_LOST && fake_db_row(f.db, r.gid) == NULL, "a restart undoes what has not landed");
	fake_log_restore(f.a, FAKE_COMMITS | FAKE_OTHERS);
	fake_log_restore(f.b, FAKE_COMMITS | FAKE_OTHERS);
}

/* How many rows are mine. */
static size_t count_mine(void)
{
	struct answer got = { 0 };

	f.port_a.mine(f.port_a.ctx, young_me, (struct str){ 0 }, 100, on_rows, &got);
	pump(NULL, &got.done);
	return got.n;
}

static void begin_young(const char *gid)
{
	struct answer got = { 0 };
	struct row    r = a_row(gid);

	r.owner = young_me;
	r.created_at = now_ms(NULL);
	f.port_a.commit(f.port_a.ctx, &(struct batch){ .me = young_me, .begins = &r, .begin_count = 1 }, on_batch, &got);
	pump(NULL, &got.done);
	sleep_ms(NULL, 10);
}

/* What port.h lets a log leave out of the list of rows. */
static void test_left_out(void)
{
	struct answer got = { 0 };
	struct member m = { .id = young_me, .lock_key = 6, .weight = 1 };

	f.fate = (struct fake_fate){ 0 };
	f.port_a.enroll(f.port_a.ctx, &m, on_done, &got);
	pump(NULL, &got.done);
	begin_young("young-1");
	ok(count_mine() == 0, "a row that its owner was told of is left out");
	f.fate = (struct fake_fate){ .refuse = LOG_AGAIN };
	begin_young("young-2");
	f.fate = (struct fake_fate){ 0 };
	ok(count_mine() == 1, "until a begin fails");
	begin_young("young-3");
	ok(count_mine() == 1, "that shows nothing of those behind it");
	fake_log_break(f.a, FAKE_COMMITS);
	fake_log_restore(f.a, FAKE_COMMITS);
	ok(count_mine() == 2, "but a new session does");
	begin_young("young-4");
	sleep_ms(NULL, NURSERY_MS);
	ok(count_mine() == 3, "and time");
}

static void set_failover(void *ctx, bool on)
{
	(void)ctx;
	fake_db_first_epoch(f.db, on ? 900u << 24 : 0);
}

int main(void)
{
	struct fake_db_config db = { .loop = &f.loop, .now_ms = now_ms, .compile = compile,
		                     .definition = { .hold = hold, .drop = drop },
		                     .is_held = is_held, .bad = bad, .nursery_ms = NURSERY_MS };
	struct log_suite      suite = { .a = &f.port_a, .b = &f.port_b, .pump = pump, .sleep = sleep_ms,
		                        .now_ms = now_ms, .random = draw, .lock = set_lock,
		                        .failover = set_failover,
		                        .ok = report, .prefix = STR("suite"), .document = STR("{}"),
		                        .grown = STR("{\"grown\":1}"), .broken = STR("broken"),
		                        .name = STR("known"), .version = 1 };

	f.seed = 1;
	f.survives = true;
	fake_loop_init(&f.loop);
	fake_end_init(&f.end_a, &f.loop, NULL, NULL);
	fake_end_init(&f.end_b, &f.loop, NULL, NULL);
	f.db = fake_db_open(&db);
	f.a = fake_log_open(&(struct fake_log_config){ f.db, &f.end_a, NULL, fate, survives }, &f.port_a);
	f.b = fake_log_open(&(struct fake_log_config){ f.db, &f.end_b, NULL, fate, survives }, &f.port_b);
	log_suite_run(&suite);
	f.fate = (struct fake_fate){ .arrive_ms = 3, .land_ms = 5, .answer_ms = 2 };
	suite.prefix = STR("slow");
	suite.used = true;
	log_suite_run(&suite);
	ok(f.bad == 0, "the suite itself keeps the contract");
	test_lost_commit_lands_later();
	test_refusals();
	test_restart();
	test_left_out();
	fake_log_close(f.a);
	fake_log_close(f.b);
	fake_end_fini(&f.end_a);
	fake_end_fini(&f.end_b);
	fake_loop_fini(&f.loop);
	fake_db_close(f.db);
	ok(f.def.held == 0, "every definition held was dropped");
	return tap_done();
}
