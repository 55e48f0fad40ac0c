/* SPDX-License-Identifier: Apache-2.0
 * pg.c - the log on PostgreSQL keeps the contract of log_port; what only a real server can show.
 */
#include "coordinator/base/digest.h"
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/log_suite.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char plain[] =
	"{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://h/a\"},"
	"\"compensate\":{\"url\":\"http://h/c\"}}}}";
static const char grown[] =
	"{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://h/a\"},"
	"\"compensate\":{\"url\":\"http://h/c\"}},\"b\":{\"action\":{\"url\":\"http://h/b\"},"
	"\"compensate\":{\"url\":\"http://h/d\"}}}}";

/* ---- the suite ------------------------------------------------------------------ */

static bool suite_pump(void *ctx, const bool *done)
{
	return harness_wait(ctx, done);
}

static void suite_sleep(void *ctx, int64_t ms)
{
	harness_sleep(ctx, ms);
}

static int64_t suite_now(void *ctx)
{
	return clock_now_ms(&((struct harness *)ctx)->a.clock);
}

static uint64_t suite_random(void *ctx)
{
	uint64_t v;

	(void)ctx;
	digest_random(&v, sizeof v);
	return v;
}

static void suite_lock(void *ctx, int64_t key, bool held)
{
	pg_database_run(&((struct harness *)ctx)->database, "SELECT pg_advisory_%s(%lld)", held ? "lock" : "unlock",
	                (long long)key);
}

static void suite_failover(void *ctx, bool on)
{
	pg_database_run(&((struct harness *)ctx)->database,
	                on ? "INSERT INTO sagad.timeline VALUES (now(), 0, 900, true)"
	                   : "DELETE FROM sagad.timeline WHERE timeline = 900");
}

static void suite_report(void *ctx, bool pass, const char *what)
{
	(void)ctx;
	ok(pass, "%s", what);
}

static void run_suite(struct harness *h, struct str prefix)
{
	struct log_suite suite = { .a = &h->a.log, .b = &h->b.log, .ctx = h, .pump = suite_pump, .sleep = suite_sleep,
		                   .now_ms = suite_now, .random = suite_random, .lock = suite_lock,
		                   .failover = suite_failover,
		                   .ok = suite_report, .prefix = prefix, .document = str_of(plain),
		                   .grown = str_of(grown), .broken = STR("{\"steps\":7}"), .name = STR("known"),
		                   .version = 1 };

	log_suite_run(&suite);
}

/* Once with gids that are chosen, and once with such as we make: their rows are young (pg_nursery.c). */
static void run_suites(struct harness *h)
{
	enum { AHEAD_MS = 6000 }; /* in the nursery for ten seconds from now on */
	struct answer put = { 0 };
	uint8_t       hash[32] = { 1 };
	char          gid[UUID_TEXT + 1];

	h->a.store.definition_put(h->a.store.ctx, STR("known"), str_of(plain), hash, &somebody, on_definition_put,
	                            &put);
	harness_wait(h, &put.done);
	ok(put.result == LOG_DONE && put.flag && put.version == 1, "a definition is registered");
	run_suite(h, STR("suite"));
	pg_database_run(&h->database, "TRUNCATE sagad.transaction, sagad.journal, sagad.inbox");
	uuid_text(uuid_v7(clock_now_ms(&h->a.clock) + AHEAD_MS, 0, 0), gid);
	run_suite(h, (struct str){ gid, 18 });
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE young AND gid LIKE '%.18s%%'",
	                        gid)) > 20, "rows of the second suite were young");
}

/* ---- connections that break ---------------------------------------------------------- */

static int terminate(struct harness *h, const char *name)
{
	return atoi(pg_database_ask(&h->database,
	                            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
	                            "WHERE application_name = '%s' AND datname = current_database()", name));
}

static void test_reconnects(struct harness *h)
{
	unsigned      backs = h->a.backs;
	struct answer a = { 0 };
	struct str    gid = STR("nobody");

	ok(backs == 1, "the first connection is news, once");
	terminate(h, "sagad log");
	terminate(h, "sagad work");
	harness_sleep(h, 20);
	h->a.log.read(h->a.log.ctx, &gid, 1, on_rows, &a);
	ok(!a.done, "no answer comes before the verb returns");
	harness_sleep(h, 5);
	ok(a.done && a.result == LOG_AWAY, "while it is away, it says so at once");
	harness_until(h, h->a.backs == backs + 1, 5000);
	ok(h->a.backs == backs + 1, "it comes back by itself and says so once");
	a = (struct answer){ 0 };
	h->a.log.read(h->a.log.ctx, &gid, 1, on_rows, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && a.n == 0, "and works");
	harness_until(h, h->b.backs == 2, 5000);
}

/* The row is locked by somebody else, so that the commit hangs where we want it. */
static void test_ended_in_a_commit(struct harness *h, struct uuid me)
{
	struct row    r = make_row(me, STR("hangs"));
	struct change c = { .gid = r.gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{}") };
	struct batch  b = { .me = me, .changes = &c, .change_count = 1 };
	struct answer a = { 0 };
	unsigned      backs = h->a.backs;

	begin_row(h, &h->a, &r);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = 'hangs' FOR UPDATE");
	h->a.log.commit(h->a.log.ctx, &b, on_batch, &a);
	harness_sleep(h, 50);
	ok(!a.done, "a commit waits for a row lock");
	terminate(h, "sagad log");
	harness_wait(h, &a.done);
	ok(a.result == LOG_AWAY, "a session that the server ended before COMMIT has not done it, and says so");
	harness_until(h, h->a.backs > backs, 5000);

	a = (struct answer){ 0 };
	backs = h->a.backs;
	h->a.log.commit(h->a.log.ctx, &b, on_batch, &a);
	harness_sleep(h, 50);
	shutdown(PQsocket(h->a.pg->log.link.db), SHUT_RDWR);
	harness_wait(h, &a.done);
	ok(a.result == LOG_LOST && a.times == 1, "a commit whose connection broke is lost");
	pg_database_run(&h->database, "COMMIT");
	harness_until(h, h->a.backs > backs, 5000);
	ok(h->a.backs > backs, "and the log comes back");

	struct answer loaded = { 0 };
	h->a.log.reload(h->a.log.ctx, me, &r.gid, 1, on_rows, &loaded);
	harness_wait(h, &loaded.done);
	ok(loaded.n == 1 && loaded.row.epoch == 2, "it is read again");
	ok(commit_batch(h, &h->a, &b, &a) == LOG_DONE && !a.changed, "and what was lost cannot land any more");
}

static void test_reload_waits(struct harness *h, struct uuid me)
{
	struct row    r = make_row(me, STR("late"));
	struct answer a = { 0 };

	begin_row(h, &h->a, &r);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "UPDATE sagad.transaction SET version = 2, progress = '{\"p\":2}' WHERE gid = 'late'");
	h->a.log.reload(h->a.log.ctx, me, &r.gid, 1, on_rows, &a);
	harness_sleep(h, 100);
	ok(!a.done, "a reload waits for a commit that is still landing");
	pg_database_run(&h->database, "COMMIT");
	harness_wait(h, &a.done);
	ok(a.n == 1 && a.row.version == 3 && a.row.epoch == 2, "and sees what it did");
}

/* How long does the batch wait for somebody's lock, before it is to be made again? On a busy machine the quickest of some
 * tells how long a hasty one does; of others any that waits so long. */
static bool waits_ms(struct harness *h, const struct batch *b, int from, int to)
{
	for (int i = 0; i < 20; i++) {
		const int64_t began = clock_boot_ms();
		struct answer a;
		int           ms;

		if (commit_batch(h, &h->a, b, &a) != LOG_AGAIN)
			return false;
		ms = (int)(clock_boot_ms() - began);
		printf("# %d ms\n", ms);
		if (ms >= from && ms < to)
			return true;
	}
	return false;
}

/* Whoever is told to make it again does. */
static enum log_result commit_at_last(struct harness *h, const struct batch *b, struct answer *a)
{
	for (int i = 0; i < 20 && commit_batch(h, &h->a, b, a) == LOG_AGAIN; i++)
		harness_sleep(h, 1);
	return a->result;
}

static void test_haste(struct harness *h, struct uuid me)
{
	struct row    held = make_row(me, STR("haste-held")), open = make_row(me, STR("haste-open")), free_row = make_row(me, STR("haste-free"));
	struct change change = { .gid = held.gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{}") };
	struct batch  changes = { .me = me, .changes = &change, .change_count = 1 }, begins = { .me = me, .begins = &open, .begin_count = 1 };
	struct batch  stands = { .me = me, .begins = &free_row, .begin_count = 1 };
	struct answer a;
	char          id[UUID_TEXT + 1];

	begin_row(h, &h->a, &held);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = 'haste-held' FOR UPDATE");
	pg_database_run(&h->database, "INSERT INTO sagad.transaction (epoch, version, created_at, retention_ms, adoptions, format, paused, "
	                "gid, phase, stuck, hash, progress, owner) VALUES (1, 1, now(), 0, 0, 1, false, 'haste-open', 'trying', 'none', '', '{}', '%s')",
	                uuid_text(me, id));
	ok(waits_ms(h, &changes, 195, INT_MAX), "a commit waits for a row that somebody has locked, and is then to be made again");
	changes.hasty = begins.hasty = stands.hasty = true;
	ok(waits_ms(h, &changes, 15, 150), "a hasty one waits a tenth as long");
	ok(waits_ms(h, &begins, 15, 150), "so for a gid that somebody begins");
	pg_database_run(&h->database, "UPDATE sagad.replica SET lock_key = lock_key WHERE id = '%s'", id);
	ok(waits_ms(h, &stands, 15, 150), "and for its own row of replica");
	changes.hasty = false;
	ok(waits_ms(h, &changes, 195, INT_MAX), "the next commit of that session takes its time");
	pg_database_run(&h->database, "ROLLBACK");
	ok(commit_at_last(h, &begins, &a) == LOG_DONE && a.flag, "where nobody is in the way, haste changes nothing");
	changes.hasty = true;
	ok(commit_at_last(h, &changes, &a) == LOG_DONE && a.changed, "for neither");
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = 'haste-held' FOR UPDATE");
	changes.hasty = false;
	change.version = 2;
	ok(waits_ms(h, &changes, 195, INT_MAX), "nor for those behind one that was done");
	pg_database_run(&h->database, "ROLLBACK");
}

/* A begin that a fence overtakes: it waits for the fence and then reads what the fence wrote. */
static void test_begin_against_fence(struct harness *h, bool fresh)
{
	struct uuid   me = make_id();
	char          gid[UUID_TEXT + 1], id[UUID_TEXT + 1];
	struct row    r = make_row(me, str_of(uuid_text(me, gid)));
	struct answer a = { 0 };

	r.fresh = fresh;
	enroll(h, &h->a, me, 4711);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "UPDATE sagad.replica SET state = 'fenced', left_at = now(), fenced_by = id "
	                              "WHERE id = '%s'", uuid_text(me, id));
	h->a.log.commit(h->a.log.ctx, &(struct batch){ .me = me, .begins = &r, .begin_count = 1 }, on_batch, &a);
	harness_sleep(h, 100);
	ok(!a.done, "a%s begin waits for a fence under way", fresh ? " fresh" : "");
	pg_database_run(&h->database, "COMMIT");
	harness_wait(h, &a.done);
	ok(a.result == LOG_FENCED, "and is then refused");
	ok(pg_database_ask(&h->database, "SELECT gid FROM sagad.transaction WHERE gid = '%s'", gid)[0] == '\0',
	   "it has inserted nothing");
}

/* The other order: what a begin holds, a fence waits for. */
static void test_fence_against_begin(struct harness *h)
{
	struct uuid   me = make_id(), you = make_id();
	struct answer a = { 0 };
	char          id[UUID_TEXT + 1];

	enroll(h, &h->a, you, 4712);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.replica WHERE id = '%s' FOR SHARE", uuid_text(you, id));
	h->b.log.fence(h->b.log.ctx, me, you, 4712, 0, on_done, &a);
	harness_sleep(h, 100);
	ok(!a.done, "a fence waits for a begin under way");
	pg_database_run(&h->database, "COMMIT");
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE, "and is then done");
}

/* Of a gid that we made, or of one that somebody chose. */
static struct row some_begin(struct harness *h, struct uuid me, bool fresh, char gid[UUID_TEXT + 1])
{
	struct uuid id = make_id();

	/* Fresh ones are in the nursery, so they grow with the time. */
	uuid_text(fresh ? uuid_v7(clock_now_ms(&h->a.clock), 0, (uint64_t)id.b[0] << 40) : id, gid);
	struct row r = make_row(me, str_of(gid));
	r.fresh = fresh;
	return r;
}

/* With begins in the batch, only a count says whether all changes applied: which, is asked for then. */
static void test_some_miss(struct harness *h, bool fresh)
{
	struct uuid   me = make_id();
	struct row    row, good = make_row(me, STR("miss-good")), stale = make_row(me, STR("miss-stale"));
	struct change changes[] = {
		{ .gid = good.gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{\"p\":1}") },
		{ .gid = stale.gid, .epoch = 1, .version = 1, .phase = PHASE_TRYING, .progress = STR("{\"p\":2}") },
	};
	struct batch  b = { .me = me, .begins = &row, .begin_count = 1, .changes = changes, .change_count = 2 };
	char          gid[UUID_TEXT + 1];
	struct answer a = { 0 };

	pg_database_run(&h->database, "DELETE FROM sagad.transaction WHERE gid LIKE 'miss-%%'");
	enroll(h, &h->a, me, 98);
	h->a.log.report(h->a.log.ctx, me, 1, 0, on_done, &a); /* so that there is a nursery */
	harness_wait(h, &a.done);
	begin_row(h, &h->a, &good);
	begin_row(h, &h->a, &stale);
	pg_database_run(&h->database, "UPDATE sagad.transaction SET version = 2 WHERE gid = 'miss-stale'");
	row = some_begin(h, me, fresh, gid);
	ok(commit_batch(h, &h->a, &b, &a) == LOG_DONE && a.flag && a.changed, "one that applied is told from one that did not%s",
	   fresh ? ", beside a fresh begin" : "");
	struct change turned[] = { changes[1], changes[0] };
	b.changes = turned;
	row = some_begin(h, me, fresh, gid);
	turned[1].version = 2;
	ok(commit_batch(h, &h->a, &b, &a) == LOG_DONE && a.flag && !a.changed, "and the other way round");
	ok(strcmp(pg_database_ask(&h->database, "SELECT string_agg(version || progress, ' ' ORDER BY gid) FROM sagad.transaction "
	                          "WHERE gid LIKE 'miss-%%'"), "3{\"p\":1} 2{}") == 0, "as it is in the table");
	row = some_begin(h, me, fresh, gid);
	ok(commit_batch(h, &h->a, &b, &a) == LOG_DONE && a.flag && !a.changed, "what another commit of the same made of it does not count");
}

/* Two who adopt at once: neither waits for the other's rows, and no row is taken twice. */
static void test_adoption_at_once(struct harness *h)
{
	struct uuid   dead = make_id(), me = make_id(), you = make_id();
	struct answer mine = { 0 }, yours = { 0 }, fenced = { 0 };
	char          gid[24];

	enroll(h, &h->a, dead, 1);
	enroll(h, &h->a, me, 2);
	enroll(h, &h->b, you, 3);
	for (int i = 0; i < 20; i++) {
		snprintf(gid, sizeof gid, "adopt-%02d", i);
		struct row r = make_row(dead, str_of(gid));
		begin_row(h, &h->a, &r);
	}
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, &mine);
	harness_wait(h, &mine.done);
	ok(mine.result == LOG_DONE && mine.n == 0, "nobody takes the rows of a live replica");
	h->a.log.fence(h->a.log.ctx, me, dead, 1, 0, on_done, &fenced);
	harness_wait(h, &fenced.done);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid < 'adopt-05' AND gid >= 'adopt' FOR UPDATE");
	mine = (struct answer){ 0 };
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, &mine);
	h->b.log.adopt(h->b.log.ctx, you, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, &yours);
	harness_wait(h, &mine.done);
	harness_wait(h, &yours.done);
	pg_database_run(&h->database, "COMMIT");
	ok(mine.n + yours.n == 15, "what somebody else has locked is passed over: %zu and %zu", mine.n, yours.n);
	ok(strcmp(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE gid LIKE 'adopt-%%' "
	                                        "AND epoch = 2 AND adoptions = 1"), "15") == 0,
	   "every other row is taken once");

	/* A replica that is fenced itself adopts nothing. */
	fenced.done = false;
	h->b.log.fence(h->b.log.ctx, you, me, 2, 0, on_done, &fenced);
	harness_wait(h, &fenced.done);
	mine = (struct answer){ 0 };
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, &mine);
	harness_wait(h, &mine.done);
	ok(mine.result == LOG_DONE && mine.n == 0, "a fenced replica adopts nothing");
}

/* Only adoptions from a fenced incarnation count once a row is dangerous. */
static void test_drained_is_no_poison(struct harness *h)
{
	struct uuid   dead = make_id(), me = make_id();
	struct row    r = make_row(dead, STR("not-poison"));
	struct answer a = { 0 };

	enroll(h, &h->a, dead, 11);
	enroll(h, &h->a, me, 12);
	begin_row(h, &h->a, &r);
	pg_database_run(&h->database, "UPDATE sagad.transaction SET adoptions = 2 WHERE gid = 'not-poison'");
	h->a.log.retire(h->a.log.ctx, dead, on_done, &a);
	harness_wait(h, &a.done);
	a = (struct answer){ 0 };
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_SOME, on_rows, &a);
	harness_wait(h, &a.done);
	ok(a.n == 1 && a.row.adoptions == 2, "taken over from one that left in good order: not counted");
}

static size_t take(struct harness *h, struct uuid me, struct uuid dead, struct answer *a)
{
	size_t n = 0;

	*a = (struct answer){ 0 };
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, a);
	harness_wait(h, &a->done);
	n += a->n;
	*a = (struct answer){ 0 };
	h->a.log.take_due(h->a.log.ctx, me, 10, on_rows, a);
	harness_wait(h, &a->done);
	n += a->n;
	*a = (struct answer){ 0 };
	h->a.log.claim(h->a.log.ctx, me, STR("newer-asleep"), on_rows, a);
	harness_wait(h, &a->done);
	return n + a->n;
}

static void on_inbox(void *arg, enum log_result result, const struct inbox_row *rows, size_t n)
{
	size_t newer = 0;

	for (size_t i = 0; i < n; i++)
		newer += str_is(rows[i].gid, "newer-due");
	*(struct answer *)arg = (struct answer){ .done = true, .result = result, .n = newer };
}

/* In a rolling upgrade: what a newer version wrote is left to those who can read it. */
static void test_newer_rows(struct harness *h)
{
	struct uuid      dead = make_id(), me = make_id();
	struct row       owned = make_row(dead, STR("newer-owned")), due = make_row(dead, STR("newer-due"));
	struct row       asleep = make_row(dead, STR("newer-asleep"));
	struct inbox_row command = { make_id(), STR("newer-due"), STR("cancel"), STR("{}") };
	struct answer    a = { 0 };

	enroll(h, &h->a, dead, 13);
	enroll(h, &h->a, me, 14);
	owned.format = due.format = asleep.format = ROW_FORMAT + 1;
	ok(begin_row(h, &h->a, &owned) == LOG_DONE && begin_row(h, &h->a, &due) == LOG_DONE &&
	   begin_row(h, &h->a, &asleep) == LOG_DONE, "rows of a newer format are there");
	pg_database_run(&h->database, "UPDATE sagad.transaction SET owner = NULL, due_at = CASE gid WHEN 'newer-due' "
	                "THEN now() ELSE 'infinity' END WHERE gid IN ('newer-due', 'newer-asleep')");
	h->a.log.inbox_put(h->a.log.ctx, &command, on_done, &a);
	harness_wait(h, &a.done);
	a = (struct answer){ 0 };
	h->a.log.retire(h->a.log.ctx, dead, on_done, &a);
	harness_wait(h, &a.done);
	ok(take(h, me, dead, &a) == 0, "none of them is taken");
	a = (struct answer){ 0 };
	h->a.log.inbox_read(h->a.log.ctx, me, 10, on_inbox, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && a.n == 0, "nor are commands for them");
	pg_database_run(&h->database, "UPDATE sagad.transaction SET format = %d WHERE gid LIKE 'newer-%%'", ROW_FORMAT);
	a = (struct answer){ 0 };
	h->a.log.inbox_read(h->a.log.ctx, me, 10, on_inbox, &a);
	harness_wait(h, &a.done);
	ok(a.n == 1, "whoever knows their format reads the command");
	ok(take(h, me, dead, &a) == 3, "and takes the rows");
	a = (struct answer){ 0 };
	h->a.log.inbox_forget(h->a.log.ctx, &command.id, 1, on_done, &a);
	harness_wait(h, &a.done);
}

/* ---- refusals of the server ----------------------------------------------------------------- */

static void test_refusals(struct harness *h, struct uuid me)
{
	struct row    r = make_row(me, STR("refused"));
	struct answer a;

	ok(commit_batch(h, &h->a, &(struct batch){ .me = me }, &a) == LOG_DONE, "an empty batch is done");
	r.gid = (struct str){ "", 0 };
	ok(begin_row(h, &h->a, &r) == LOG_BAD_DATA, "an empty gid is bad data");
	r.gid = STR("refused");
	r.phase = PHASE_CONFIRMED;
	ok(begin_row(h, &h->a, &r) == LOG_BAD_DATA, "a begin that has ended is bad data");
	r.phase = PHASE_TRYING;
	pg_database_run(&h->database, "ALTER DATABASE %s SET default_transaction_read_only = on", h->database.name);
	pg_database_run(&h->database, "REVOKE ALL ON sagad.transaction FROM PUBLIC");
	pg_database_run(&h->database, "ALTER TABLE sagad.transaction RENAME TO away");
	ok(begin_row(h, &h->a, &r) == LOG_AWAY, "a table that is away is a log that is away");
	pg_database_run(&h->database, "ALTER TABLE sagad.away RENAME TO transaction");
	pg_database_run(&h->database, "ALTER DATABASE %s RESET default_transaction_read_only", h->database.name);
	ok(begin_row(h, &h->a, &r) == LOG_DONE, "and goes on when it is back");
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "LOCK TABLE sagad.journal IN ACCESS EXCLUSIVE MODE");
	pg_database_run(&h->database, "ROLLBACK");
}

/* A server that is there and says nothing: its process stands still. */
static void test_silent_server(struct harness *h)
{
	struct end    c = { 0 };
	struct uuid   me = make_id();
	struct row    r = make_row(me, STR("silent"));

	h->ttl_ms = 1000;
	ok(end_open(h, &c, h->database.dsn), "a replica with a short lease");
	harness_until(h, c.backs > 0, 5000);
	enroll(h, &c, me, 22);
	pid_t pid = (pid_t)atoi(pg_database_ask(&h->database, "SELECT pid FROM pg_stat_activity WHERE datname = "
	                                        "current_database() AND application_name = 'sagad log' "
	                                        "ORDER BY backend_start DESC LIMIT 1"));
	if (pid <= 0 || kill(pid, SIGSTOP) != 0) {
		printf("# not on the server's machine: its silence is not tested\n");
		end_close(h, &c);
		return;
	}
	unsigned backs = c.backs;
	int64_t  before = clock_boot_ms();
	ok(begin_row(h, &c, &r) == LOG_LOST, "a commit that nobody answers is lost");
	int ms = (int)(clock_boot_ms() - before);
	ok(ms >= 2000 && ms < 2600, "after two of its lease's times: %d ms", ms);
	harness_until(h, c.backs > backs, 2000);
	ok(begin_row(h, &c, &r) == LOG_DONE, "and a new session goes on");
	kill(pid, SIGCONT);
	harness_sleep(h, 100);
	struct answer read = { 0 };
	c.log.read(c.log.ctx, &r.gid, 1, on_rows, &read);
	harness_wait(h, &read.done);
	ok(read.n == 1 && read.row.version == 1, "what the silent one still does changes nothing");
	h->ttl_ms = 0;
	end_close(h, &c);
}

static void test_session(struct harness *h)
{
	struct answer a = { 0 };

	/* Whatever the server's default is, what was promised is on disk. */
	pg_database_run(&h->database, "ALTER DATABASE %s SET synchronous_commit = off", h->database.name);
	pg_database_run(&h->database, "ALTER DATABASE %s SET enable_hashjoin = on", h->database.name);
	unsigned backs = h->a.backs;
	terminate(h, "sagad log");
	harness_until(h, h->a.backs > backs, 5000);
	struct uuid me = make_id();
	struct row  r = make_row(me, STR("session"));
	enroll(h, &h->a, me, 21);
	/* A trigger sees the settings of the session that commits. */
	pg_database_run(&h->database,
	                "CREATE TABLE seen (settings text); "
	                "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO seen VALUES "
	                "(concat_ws(' ', current_setting('synchronous_commit'), current_setting('enable_hashjoin'), "
	                "current_setting('enable_seqscan'), current_setting('plan_cache_mode'), "
	                "current_setting('TimeZone'), current_setting('statement_timeout'), "
	                "current_setting('idle_in_transaction_session_timeout'))); RETURN NULL; END$$; "
	                "CREATE TRIGGER look AFTER INSERT ON sagad.transaction EXECUTE FUNCTION look()");
	char input[8192];
	memset(input, ' ', sizeof input);
	input[0] = '1';
	r.input = (struct str){ input, sizeof input };
	begin_row(h, &h->a, &r);
	ok(strcmp(pg_database_ask(&h->database,
	                          "SELECT (pg_column_compression(t.input) = (SELECT CASE WHEN 'lz4' = ANY (s.enumvals) "
	                          "THEN 'lz4' ELSE 'pglz' END FROM pg_settings s WHERE s.name = 'default_toast_compression'))::text "
	                          "FROM sagad.transaction t WHERE t.gid = 'session'"), "true") == 0,
	   "a long input is compressed the quick way, where the server has it");
	ok(strcmp(pg_database_ask(&h->database, "SELECT settings FROM seen"),
	          "on off off force_generic_plan UTC 10s 10s") == 0, "the session that commits is set as it must be: %s",
	   pg_database_ask(&h->database, "SELECT settings FROM seen"));
	pg_database_run(&h->database, "DROP TRIGGER look ON sagad.transaction; DROP TABLE seen");
	pg_database_run(&h->database, "ALTER DATABASE %s RESET synchronous_commit", h->database.name);
	(void)a;
}

/* A session tells its counts after a commit, at most once a second. */
static void count_updates(struct harness *h, struct uuid me, int *all, int *hot)
{
	struct row r = make_row(me, STR("flush"));

	harness_sleep(h, 1100);
	begin_row(h, &h->a, &r);
	harness_sleep(h, 50);
	*all = atoi(pg_database_ask(&h->database, "SELECT n_tup_upd FROM pg_stat_user_tables "
	                                          "WHERE relname = 'transaction'"));
	*hot = atoi(pg_database_ask(&h->database, "SELECT n_tup_hot_upd FROM pg_stat_user_tables "
	                                          "WHERE relname = 'transaction'"));
}

/* Neither steps nor the end touch an index: 254 bytes of WAL against 508 and more. */
static void test_hot_updates(struct harness *h, struct uuid me)
{
	enum { N = 100 };
	struct row    rows[N];
	struct change changes[N];
	char          gids[N][UUID_TEXT + 1];
	struct answer a;
	int           all, hot, all_after, hot_after;

	for (int i = 0; i < N; i++) {
		uuid_text(uuid_v7(clock_now_ms(&h->a.clock), 0, (uint64_t)i), gids[i]);
		rows[i] = make_row(me, str_of(gids[i]));
		changes[i] = (struct change){ .gid = rows[i].gid, .epoch = 1, .progress = STR("{\"p\":1}") };
	}
	count_updates(h, me, &all, &hot);
	commit_batch(h, &h->a, &(struct batch){ .me = me, .begins = rows, .begin_count = N }, &a);
	for (int step = 1; step <= 2; step++) {
		for (int i = 0; i < N; i++) {
			changes[i].version = (uint64_t)step;
			changes[i].ended = step == 2;
			changes[i].phase = step == 2 ? PHASE_CONFIRMED : PHASE_TRYING;
		}
		commit_batch(h, &h->a, &(struct batch){ .me = me, .changes = changes, .change_count = N }, &a);
	}
	count_updates(h, me, &all_after, &hot_after);
	/* A row at the end of a full page moves now and then. */
	ok(all_after - all >= 200 && hot_after - hot >= 180, "a step and the end of a hundred rows are HOT updates: %d of %d",
	   hot_after - hot, all_after - all);
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_pg", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	struct uuid me = make_id();
	test_reconnects(&h);
	run_suites(&h);
	enroll(&h, &h.a, me, 99);
	test_ended_in_a_commit(&h, me);
	test_reload_waits(&h, me);
	test_haste(&h, me);
	test_some_miss(&h, false);
	test_some_miss(&h, true);
	test_begin_against_fence(&h, false);
	test_begin_against_fence(&h, true);
	test_fence_against_begin(&h);
	test_adoption_at_once(&h);
	test_drained_is_no_poison(&h);
	test_newer_rows(&h);
	test_refusals(&h, me);
	test_silent_server(&h);
	test_session(&h);
	test_hot_updates(&h, me);
	ok(harness_misplaced(&h) == 0, "each row of all these tests is owned, parked or ended, as its phase says");
	harness_close(&h);
	return tap_done();
}
