/* SPDX-License-Identifier: Apache-2.0
 * pg_commit.c - what fails in the commit itself, behind every statement's answer, and the batches behind such a one.
 */
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

/* What a row whose gid begins so meets when it is committed, as a constraint that somebody deferred would. */
static const struct {
	const char     *gid, *state;
	enum log_result result;
} faults[] = {
	{ "late-bad", "P0001", LOG_BAD_DATA },
	{ "late-check", "23514", LOG_BAD_DATA },
	{ "late-again", "40001", LOG_AGAIN },
	{ "late-full", "53100", LOG_AWAY },
};

static void plant_faults(struct harness *h)
{
	pg_database_run(&h->database,
	                "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
	                "IF NEW.gid = 'late-dies' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); END IF; "
	                "RAISE EXCEPTION 'planted by the test' USING ERRCODE = substr(NEW.gid, 1, 5); END$$; "
	                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON sagad.transaction DEFERRABLE INITIALLY DEFERRED "
	                "FOR EACH ROW WHEN (NEW.gid LIKE '%%late-%%') EXECUTE FUNCTION late(); "
	                "ALTER TABLE sagad.transaction ADD CONSTRAINT fate CHECK (gid <> 'fate-bad')");
}

static int count_gid(struct harness *h, const char *gid)
{
	return atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE gid = '%s'", gid));
}

static void test_fails_in_the_commit(struct harness *h, struct uuid me)
{
	unsigned backs = h->a.backs;

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		char          gid[40], behind[40];
		struct answer first, second;

		snprintf(gid, sizeof gid, "%s-%s", faults[i].state, faults[i].gid);
		snprintf(behind, sizeof behind, "behind-%zu", i);
		struct row   r = make_row(me, str_of(gid)), next = make_row(me, str_of(behind));
		struct batch one = { .me = me, .begins = &r, .begin_count = 1 }, two = { .me = me, .begins = &next, .begin_count = 1 };
		first = second = (struct answer){ .begins = 1 };
		h->a.log.commit(h->a.log.ctx, &one, on_batch, &first);
		h->a.log.commit(h->a.log.ctx, &two, on_batch, &second);
		harness_wait(h, &second.done);
		ok(first.done && first.result == faults[i].result, "%s in the commit itself is told", faults[i].state);
		ok(count_gid(h, gid) == 0, "nothing of it is there");
		ok(second.result == LOG_DONE && second.flag && count_gid(h, behind) == 1, "the one behind it is done");
	}
	ok(h->a.backs == backs, "all of them in one session");
}

/* Nobody is told how far the commit came. */
static void test_dies_in_the_commit(struct harness *h, struct uuid me)
{
	struct row    r = make_row(me, STR("late-dies")), next = make_row(me, STR("behind-the-dead"));
	struct batch  one = { .me = me, .begins = &r, .begin_count = 1 }, two = { .me = me, .begins = &next, .begin_count = 1 };
	struct answer first = { .begins = 1 }, second = { .begins = 1 };
	unsigned      backs = h->a.backs;

	h->a.log.commit(h->a.log.ctx, &one, on_batch, &first);
	h->a.log.commit(h->a.log.ctx, &two, on_batch, &second);
	harness_wait(h, &second.done);
	ok(first.result == LOG_LOST && first.times == 1, "a session that ends in the commit leaves it in doubt");
	ok(second.result == LOG_LOST && second.times == 1, "and so the one behind it");
	harness_until(h, h->a.backs > backs, 5000);
	ok(begin_row(h, &h->a, &next) == LOG_DONE, "the log comes back");
}

/* A statement that fails takes what stands before it in its batch with it, and nothing of the batches around it. */
static void test_each_has_its_own_fate(struct harness *h, struct uuid me)
{
	struct row    good = make_row(me, STR("fate-good")), bad = make_row(me, STR("fate-bad")), last = make_row(me, STR("fate-last"));
	struct row    pair[2];
	struct answer a[3] = { { .begins = 1 }, { .begins = 2 }, { .begins = 1 } };

	pair[0] = bad;
	pair[0].gid = STR("fate-with-bad");
	pair[1] = bad;
	struct batch b[3] = { { .me = me, .begins = &good, .begin_count = 1 }, { .me = me, .begins = pair, .begin_count = 2 },
		              { .me = me, .begins = &last, .begin_count = 1 } };
	for (int i = 0; i < 3; i++)
		h->a.log.commit(h->a.log.ctx, &b[i], on_batch, &a[i]);
	harness_wait(h, &a[2].done);
	ok(a[0].result == LOG_DONE && a[1].result == LOG_BAD_DATA && a[2].result == LOG_DONE, "three batches, and the second is refused");
	ok(a[0].flag && a[2].flag && count_gid(h, "fate-good") == 1 && count_gid(h, "fate-last") == 1, "the others are done");
	ok(count_gid(h, "fate-with-bad") == 0 && count_gid(h, "fate-bad") == 0, "and nothing of it is");
}

/* Which changes applied is asked behind the batch that was sent meanwhile. */
static void test_asks_behind_the_next(struct harness *h, struct uuid me)
{
	struct row    good = make_row(me, STR("ask-good")), row = make_row(me, STR("ask-begin")), next = make_row(me, STR("ask-next"));
	struct answer first = { .begins = 1, .changes = 2 }, second = { .begins = 1 };
	struct change changes[] = {
		{ .gid = STR("ask-nobody"), .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{}") },
		{ .gid = good.gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{\"p\":1}") },
	};
	struct batch one = { .me = me, .begins = &row, .begin_count = 1, .changes = changes, .change_count = 2 };
	struct batch two = { .me = me, .begins = &next, .begin_count = 1 };

	begin_row(h, &h->a, &good);
	h->a.log.commit(h->a.log.ctx, &one, on_batch, &first);
	h->a.log.commit(h->a.log.ctx, &two, on_batch, &second);
	harness_wait(h, &first.done);
	ok(first.result == LOG_DONE && first.flag && !first.changed, "a change that did not apply is told from one that did");
	ok(second.done && second.result == LOG_DONE && second.flag, "and the batch behind it was answered first");
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_pg_commit", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	struct uuid me = make_id();
	enroll(&h, &h.a, me, 31);
	plant_faults(&h);
	test_fails_in_the_commit(&h, me);
	test_dies_in_the_commit(&h, me);
	test_each_has_its_own_fate(&h, me);
	test_asks_behind_the_next(&h, me);
	harness_close(&h);
	return tap_done();
}
