/* SPDX-License-Identifier: Apache-2.0
 * pg_lease.c - the lease on PostgreSQL, as a lock and as a row: beats, probes, watches, fences.
 */
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

enum { TTL_MS = 2000 };

static enum lease_result open_lease(struct harness *h, struct end *e, int64_t key, uint32_t ttl_ms, struct answer *a)
{
	*a = (struct answer){ 0 };
	e->lease.open(e->lease.ctx, key, ttl_ms, on_lease, a);
	harness_wait(h, &a->done);
	return a->lease;
}

static enum lease_result beat(struct harness *h, struct end *e)
{
	struct answer a = { 0 };

	e->lease.beat(e->lease.ctx, on_lease, &a);
	harness_wait(h, &a.done);
	return a.lease;
}

static bool probe(struct harness *h, struct end *e, int64_t key)
{
	struct answer a = { 0 };

	e->lease.probe(e->lease.ctx, key, on_probe, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE, "a probe is answered");
	return a.flag;
}

static struct lease_sight sight_of(struct harness *h, int64_t key)
{
	struct answer a = { 0 };

	h->b.lease.probe(h->b.lease.ctx, key, on_probe, &a);
	harness_wait(h, &a.done);
	return a.sight;
}

/* As if the clock had been set after the last beat: the row is as old as that by it. */
static void age(struct harness *h, int64_t key, int ms)
{
	pg_database_run(&h->database, "UPDATE sagad.lease SET seen_at = clock_timestamp() - %d * interval '1 ms' "
	                "WHERE key = %lld", ms, (long long)key);
}

static int sessions(struct harness *h, const char *name)
{
	return atoi(pg_database_ask(&h->database, "SELECT count(*) FROM pg_stat_activity "
	                            "WHERE application_name LIKE '%s%%' AND datname = current_database()", name));
}

static void test_held(struct harness *h)
{
	struct answer a;

	ok(probe(h, &h->b, -5), "a key that nobody holds is free");
	ok(open_lease(h, &h->a, -5, TTL_MS, &a) == LEASE_HELD && a.times == 1, "a lease is opened %s", a.err.text);
	ok(!probe(h, &h->b, -5), "then its key is not free");
	ok(!probe(h, &h->b, -5), "a probe leaves nothing behind");
	ok(sessions(h, "sagad lease fffffffffffffffb") == 1, "the session carries the key in its name");
	ok(beat(h, &h->a) == LEASE_HELD, "a beat is answered");
	int64_t server = strtoll(pg_database_ask(&h->database, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
	                         NULL, 10);
	int64_t off = clock_now_ms(&h->a.clock) - server;
	ok(off > -50 && off < 50, "and keeps the clock right: %d ms off", (int)off);

	struct answer three[3] = { { 0 } };
	for (int i = 0; i < 3; i++)
		h->a.lease.beat(h->a.lease.ctx, on_lease, &three[i]);
	ok(!three[0].done, "no answer comes before the verb returns");
	harness_wait(h, &three[2].done);
	ok(three[0].times == 1 && three[1].times == 1 && three[2].times == 1, "beats that overlap are answered, each once");
	h->a.lease.close(h->a.lease.ctx);
	harness_sleep(h, 30);
	ok(probe(h, &h->b, -5), "closing lets the key go at once");
	ok(beat(h, &h->a) == LEASE_LOST, "a beat without a lease is lost");
	ok(h->a.losses == 0, "closing is no news");
}

static void test_time_out(struct harness *h)
{
	struct answer a;

	open_lease(h, &h->a, 77, TTL_MS, &a);
	for (int i = 0; i < 6; i++) {
		harness_sleep(h, TTL_MS / 4);
		ok(beat(h, &h->a) == LEASE_HELD, "beats keep it beyond its time");
	}
	unsigned losses = h->a.losses;
	harness_sleep(h, TTL_MS - 300);
	ok(!probe(h, &h->b, 77), "without a beat it is held for nearly its time");
	harness_sleep(h, 600);
	ok(probe(h, &h->b, 77), "and no longer");
	ok(h->a.losses == losses + 1, "its owner is told, once");
	ok(beat(h, &h->a) == LEASE_LOST, "and its beats are lost");
}

/* How old a row is nobody says: whoever looks compares what he sees. */
static void test_marks(struct harness *h)
{
	struct answer a;

	open_lease(h, &h->a, 77, TTL_MS, &a);
	struct lease_sight opened = sight_of(h, 77);
	ok(opened.mark != 0 && opened.ttl_ms == TTL_MS, "a row has a mark and says for how long it is good");
	harness_sleep(h, TTL_MS + 300);
	ok(!probe(h, &h->b, 77), "without a beat it stays");
	ok(sight_of(h, 77).mark == opened.mark, "as it is");
	ok(beat(h, &h->a) == LEASE_HELD, "a beat renews it, however late");
	struct lease_sight later = sight_of(h, 77);
	ok(later.mark != opened.mark && later.mark != 0, "and marks it anew");
	age(h, 77, 3600000);
	ok(beat(h, &h->a) == LEASE_HELD, "also when the clock was set forward by an hour");
	age(h, 77, -3600000);
	ok(beat(h, &h->a) == LEASE_HELD && sight_of(h, 77).mark != later.mark, "or back");
	later = sight_of(h, 77);
	ok(open_lease(h, &h->a, 77, TTL_MS, &a) == LEASE_HELD && sight_of(h, 77).mark != later.mark,
	   "another opening is another mark");
	h->a.lease.close(h->a.lease.ctx);
	harness_until(h, probe(h, &h->b, 77), 500);
	ok(sight_of(h, 77).mark == 0, "who lets it go leaves none");
}

/* One replica and its session from before a broken connection: the newer opening counts. */
static void test_opened_twice(struct harness *h)
{
	struct answer a;

	open_lease(h, &h->a, 78, TTL_MS, &a);
	ok(open_lease(h, &h->b, 78, TTL_MS, &a) == LEASE_HELD, "a row is opened again at once");
	h->a.lease.close(h->a.lease.ctx);
	harness_sleep(h, 50);
	ok(!probe(h, &h->b, 78), "the session before cannot let it go");
	open_lease(h, &h->a, 78, TTL_MS, &a);
	open_lease(h, &h->b, 78, TTL_MS, &a);
	unsigned losses = h->a.losses;
	ok(beat(h, &h->a) == LEASE_LOST && h->a.losses == losses + 1, "beats of the session before are lost");
	h->a.lease.close(h->a.lease.ctx);
	ok(!probe(h, &h->b, 78) && beat(h, &h->b) == LEASE_HELD, "those of the newer one count");
	open_lease(h, &h->a, 78, TTL_MS, &a);
	h->a.lease.close(h->a.lease.ctx);
	h->b.lease.close(h->b.lease.ctx);
	harness_sleep(h, 50);
	ok(probe(h, &h->b, 78), "only whoever opened it last can");

	open_lease(h, &h->a, 79, TTL_MS, &a);
	struct answer beats = { 0 };
	losses = h->a.losses;
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	                              "WHERE application_name LIKE 'sagad lease%%' AND datname = current_database()");
	h->a.lease.beat(h->a.lease.ctx, on_lease, &beats);
	harness_wait(h, &beats.done);
	harness_sleep(h, 20);
	ok(beats.lease == LEASE_LOST && h->a.losses == losses + 1, "a session that the server ended is lost, once");
	h->a.lease.close(h->a.lease.ctx);
	harness_sleep(h, 20);
	ok(!probe(h, &h->b, 79), "but the row holds for its time");
	ok(open_lease(h, &h->a, 79, TTL_MS, &a) == LEASE_HELD, "and is opened again");
	h->a.lease.close(h->a.lease.ctx);
}

static void test_stale_session(struct harness *h)
{
	struct answer a, b;

	/* Two ends with one key are what one replica and its session from before a broken connection are. */
	open_lease(h, &h->a, 78, 60000, &a);
	unsigned losses = h->a.losses;
	ok(open_lease(h, &h->b, 78, 60000, &b) == LEASE_TAKEN && b.err.text[0] != '\0', "our own stale session is in the way");
	harness_sleep(h, 50);
	ok(h->a.losses == losses + 1, "it was ended");
	ok(open_lease(h, &h->b, 78, 60000, &b) == LEASE_HELD, "so that the lease is ours when asked again");
	h->b.lease.close(h->b.lease.ctx);

	pg_database_run(&h->database, "SELECT pg_advisory_lock(79)");
	ok(open_lease(h, &h->a, 79, TTL_MS, &a) == LEASE_TAKEN, "a stranger's lock is in the way");
	ok(open_lease(h, &h->a, 79, TTL_MS, &a) == LEASE_TAKEN, "and stays");
	pg_database_run(&h->database, "SELECT pg_advisory_unlock(79)");
	ok(open_lease(h, &h->a, 79, TTL_MS, &a) == LEASE_HELD, "until it goes");

	struct answer beats = { 0 };
	losses = h->a.losses;
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	                              "WHERE application_name LIKE 'sagad lease%%' AND datname = current_database()");
	h->a.lease.beat(h->a.lease.ctx, on_lease, &beats);
	harness_wait(h, &beats.done);
	harness_sleep(h, 20);
	ok(beats.lease == LEASE_LOST && h->a.losses == losses + 1, "a session that the server ended is lost, once");
}

static void test_watch(struct harness *h)
{
	struct answer a, watch = { 0 }, other = { 0 };

	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_wait(h, &watch.done);
	ok(watch.result == LOG_DONE && watch.flag, "a watch on a free key tells at once");
	open_lease(h, &h->a, 80, TTL_MS * 10, &a);
	watch = (struct answer){ 0 };
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 300);
	ok(!watch.done, "on one that is held it waits");
	ok(!probe(h, &h->b, 80), "and takes nothing from its owner");
	ok(beat(h, &h->a) == LEASE_HELD, "who goes on beating");
	h->a.lease.close(h->a.lease.ctx);
	int64_t before = clock_boot_ms();
	harness_wait(h, &watch.done);
	int64_t after = clock_boot_ms();
	ok(watch.flag && watch.times == 1 && after - before < (h->mode == PG_LEASE_ROW ? 400 : 100), "the end of the holder is seen in %d ms",
	   (int)(after - before));
	ok(open_lease(h, &h->a, 80, TTL_MS * 10, &a) == LEASE_HELD, "and the watcher kept nothing");

	watch = (struct answer){ 0 };
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 100);
	ok(sessions(h, "sagad watch") == (h->mode == PG_LEASE_LOCK), "a lock is watched by one session, a row by none");
	h->b.lease.watch(h->b.lease.ctx, 81, on_probe, &other);
	harness_wait(h, &other.done);
	ok(!watch.done && other.flag, "a new watch takes the place of the old");
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 100);
	h->b.lease.unwatch(h->b.lease.ctx);
	harness_until(h, sessions(h, "sagad watch") == 0, 4000);
	ok(sessions(h, "sagad watch") == 0, "the server notices watches that nobody waits for");
	h->a.lease.close(h->a.lease.ctx);
	harness_sleep(h, 100);
	ok(!watch.done, "and their answers are dropped");

	if (h->mode == PG_LEASE_ROW)
		return;
	open_lease(h, &h->a, 80, TTL_MS * 10, &a);
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 100);
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	                              "WHERE application_name = 'sagad watch' AND datname = current_database()");
	harness_wait(h, &watch.done);
	ok(watch.result == LOG_AWAY && !watch.flag, "a watch whose session broke says so");
	h->a.lease.close(h->a.lease.ctx);
}

/* Not all the time: whoever wants to know its end looks himself. */
static void test_watch_of_a_row(struct harness *h)
{
	struct answer   a, watch = { 0 };
	struct pg_stats stats;

	open_lease(h, &h->a, 82, TTL_MS, &a);
	pg_stats(h->b.pg, &stats);
	uint64_t statements = stats.statements;
	h->b.lease.watch(h->b.lease.ctx, 82, on_probe, &watch);
	harness_sleep(h, TTL_MS + 300);
	pg_stats(h->b.pg, &stats);
	ok(!watch.done, "the watch of a row that nobody renews says nothing");
	ok(stats.statements - statements <= 14, "with %d looks", (int)(stats.statements - statements));
	h->a.lease.close(h->a.lease.ctx);
	harness_wait(h, &watch.done);
	ok(watch.result == LOG_DONE && watch.flag && watch.sight.mark == 0, "until it is let go");
}

/* ---- fences ------------------------------------------------------------------------ */

static enum log_result fence_seen(struct harness *h, struct uuid me, struct uuid dead, int64_t key, int64_t mark)
{
	struct answer a = { 0 };

	h->b.log.fence(h->b.log.ctx, me, dead, key, mark, on_done, &a);
	harness_wait(h, &a.done);
	return a.result;
}

static enum log_result fence(struct harness *h, struct uuid me, struct uuid dead, int64_t key)
{
	return fence_seen(h, me, dead, key, 0);
}

static bool is_live(struct harness *h, struct uuid id)
{
	struct answer a = { 0 };

	h->b.log.still_live(h->b.log.ctx, id, on_done, &a);
	harness_wait(h, &a.done);
	return a.result == LOG_DONE;
}

/* A lease of either kind, whatever kind whoever fences has himself. */
static void test_fence(struct harness *h, int64_t key)
{
	struct uuid   owner = make_id(), other = make_id();
	struct answer a;

	enroll(h, &h->a, owner, key);
	enroll(h, &h->b, other, key + 1);
	open_lease(h, &h->a, key, TTL_MS, &a);
	ok(fence(h, other, owner, key) == LOG_AGAIN && is_live(h, owner), "who holds a lease is not fenced");
	ok(beat(h, &h->a) == LEASE_HELD, "and does not feel it");
	h->a.lease.close(h->a.lease.ctx);
	harness_until(h, probe(h, &h->b, key), 500);
	ok(fence(h, other, owner, key) == LOG_DONE && !is_live(h, owner), "who let it go is");
	ok(fence(h, other, owner, key) == LOG_DONE, "a second fence finds it done");
	ok(open_lease(h, &h->a, key, TTL_MS, &a) == LEASE_HELD && !is_live(h, owner),
	   "the lease can be had again, but its owner's row says that it is over");
	h->a.lease.close(h->a.lease.ctx);
}

/* Whose own lock is gone, with the server that gave it or without, is the last who may call a free lock a death. */
static void test_right_to_fence(struct harness *h)
{
	struct uuid   owner = make_id(), judge = make_id();
	struct answer a, fenced = { 0 };
	unsigned      losses = h->b.losses;

	enroll(h, &h->a, owner, 110);
	enroll(h, &h->b, judge, 111);
	ok(open_lease(h, &h->b, 111, TTL_MS, &a) == LEASE_HELD, "who judges holds a lease");
	h->b.pg->lease.server_started--;
	ok(fence(h, judge, owner, 110) == LOG_AWAY && is_live(h, owner), "got from a server that was started before this one: he may not");
	h->b.pg->lease.server_started++;
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = "
	                "'sagad lease ' || lpad(to_hex(111), 16, '0')");
	h->b.log.fence(h->b.log.ctx, judge, owner, 110, 0, on_done, &fenced); /* before he has heard of it */
	harness_wait(h, &fenced.done);
	ok(fenced.result == LOG_AWAY && is_live(h, owner), "ended, and he has not heard of it: nor may he");
	harness_until(h, h->b.losses > losses, 2000);
	ok(open_lease(h, &h->b, 111, TTL_MS, &a) == LEASE_HELD && fence(h, judge, owner, 110) == LOG_DONE && !is_live(h, owner),
	   "held again, he may");
	h->b.lease.close(h->b.lease.ctx);
}

static void test_late_beats(struct harness *h)
{
	struct uuid   owner = make_id(), other = make_id();
	struct answer a, late = { 0 };

	enroll(h, &h->a, owner, 85);
	enroll(h, &h->b, other, 86);
	open_lease(h, &h->a, 85, TTL_MS, &a);
	int64_t mark = sight_of(h, 85).mark;
	ok(beat(h, &h->a) == LEASE_HELD && fence_seen(h, other, owner, 85, mark) == LOG_AGAIN && is_live(h, owner),
	   "a row that was renewed since it was looked at holds");
	ok(beat(h, &h->a) == LEASE_HELD, "and its owner does not feel it");
	mark = sight_of(h, 85).mark;
	ok(fence_seen(h, other, owner, 85, mark) == LOG_DONE && !is_live(h, owner), "one that was not is ended");
	ok(beat(h, &h->a) == LEASE_LOST, "and a beat that comes too late does not revive it");

	/* The beat waits for the fence, and then finds the row ended, whatever the clock says. */
	open_lease(h, &h->a, 85, TTL_MS, &a);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "UPDATE sagad.lease SET state = 'ended' WHERE key = 85");
	h->a.lease.beat(h->a.lease.ctx, on_lease, &late);
	harness_sleep(h, 200);
	ok(!late.done, "a beat waits for a fence under way");
	pg_database_run(&h->database, "COMMIT");
	harness_wait(h, &late.done);
	ok(late.lease == LEASE_LOST, "and is refused after it");

	/* And the other way round: the fence waits for the beat, and then finds the row renewed. */
	struct answer fenced = { 0 };
	owner = make_id();
	enroll(h, &h->a, owner, 87);
	open_lease(h, &h->a, 87, TTL_MS, &a);
	mark = sight_of(h, 87).mark;
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "UPDATE sagad.lease SET seen_at = clock_timestamp() WHERE key = 87");
	h->b.log.fence(h->b.log.ctx, other, owner, 87, mark, on_done, &fenced);
	harness_sleep(h, 200);
	ok(!fenced.done, "a fence waits for a beat under way");
	pg_database_run(&h->database, "COMMIT");
	harness_wait(h, &fenced.done);
	ok(fenced.result == LOG_AGAIN && is_live(h, owner), "and gives way to it");
	h->a.lease.close(h->a.lease.ctx);
}

/* What a failover without a synchronous standby may do, or a person who sets the server's clock. */
static void test_rows_gone_and_clocks_set(struct harness *h)
{
	struct uuid   owner = make_id(), other = make_id();
	struct answer a, b;

	enroll(h, &h->a, owner, 88);
	enroll(h, &h->b, other, 89);
	open_lease(h, &h->a, 88, TTL_MS, &a);
	pg_database_run(&h->database, "DELETE FROM sagad.lease WHERE key = 88");
	ok(beat(h, &h->a) == LEASE_LOST, "without its row a lease is lost");
	ok(probe(h, &h->b, 88), "its key is free");
	ok(fence(h, other, owner, 88) == LOG_DONE, "and a fence leaves a row behind");
	ok(strcmp(pg_database_ask(&h->database, "SELECT state FROM sagad.lease WHERE key = 88"), "ended") == 0,
	   "that says so to a beat still on its way");

	owner = make_id();
	enroll(h, &h->a, owner, 90);
	open_lease(h, &h->a, 90, TTL_MS, &a);
	open_lease(h, &h->b, 89, TTL_MS, &b);
	for (int i = -1; i <= 1; i += 2) {
		int64_t mark = sight_of(h, 90).mark;

		age(h, 90, i * 3600000);
		ok(fence(h, other, owner, 90) == LOG_AGAIN && fence_seen(h, other, owner, 90, mark) == LOG_AGAIN &&
		   is_live(h, owner), "whoever judges is not misled by a clock that is set %s", i > 0 ? "forward" : "back");
		ok(beat(h, &h->a) == LEASE_HELD && beat(h, &h->b) == LEASE_HELD, "nor is who is judged");
	}
	age(h, 90, -3600000);
	ok(fence_seen(h, other, owner, 90, sight_of(h, 90).mark) == LOG_DONE && !is_live(h, owner),
	   "and a dead one is fenced however young its row looks");
	h->b.lease.close(h->b.lease.ctx);
}

static void on_members_seen(void *arg, enum log_result result, const struct member *m, size_t n)
{
	(void)m, (void)n;
	((struct answer *)arg)->done = true;
	((struct answer *)arg)->result = result;
}

static void sweep(struct harness *h, bool all)
{
	struct answer a = { 0 };

	h->a.log.sweep(h->a.log.ctx, all, on_done, &a);
	harness_wait(h, &a.done);
}

static bool swept_to(struct harness *h, const char *place, int rows)
{
	char want[40];

	snprintf(want, sizeof want, "%s %d", place, rows);
	return strcmp(pg_database_ask(&h->database, "SELECT s.position || ' ' || (SELECT count(*) FROM sagad.transaction) FROM sagad.sweep s "
	                              "WHERE s.name = 'transaction'"), want) == 0;
}

/* One more than a page. */
static void make_kept_rows(struct harness *h)
{
	pg_database_run(&h->database, "DELETE FROM sagad.transaction; UPDATE sagad.sweep SET position = ''");
	pg_database_run(&h->database, "INSERT INTO sagad.transaction (epoch, version, created_at, ended_at, retention_ms, adoptions, "
	                "format, paused, gid, phase, stuck, hash, progress) SELECT 1, 1, now(), now() - interval '1 hour', "
	                "86400000, 0, 1, false, 's-' || to_char(i, 'FM0000'), 'confirmed', 'none', '', '{}' "
	                "FROM generate_series(1, 2001) i");
}

/* A page in which nothing is over is not followed by the next at once. */
static void test_sweeps_are_seldom(struct harness *h)
{
	make_kept_rows(h);
	sweep(h, true);
	ok(swept_to(h, "s-2000", 2001), "a page of rows that are kept is passed over");
	for (int i = 0; i < 7; i++)
		sweep(h, false);
	ok(swept_to(h, "s-2000", 2001), "the next seven sweeps are not worth it");
	sweep(h, false);
	ok(swept_to(h, "", 2001), "the eighth goes on");
	pg_database_run(&h->database, "UPDATE sagad.transaction SET retention_ms = 0 WHERE gid <= 's-0001' OR gid = 's-2001'");
	sweep(h, true);
	ok(swept_to(h, "s-2000", 2000), "where something was over");
	sweep(h, false);
	ok(swept_to(h, "", 1999), "the next follows at once");
	pg_database_run(&h->database, "DELETE FROM sagad.transaction");
}

/* How large the table is, the server is made to say: its own function is behind ours on the path. */
static void pretend_size(struct harness *h, const char *bytes)
{
	pg_database_run(&h->database, "CREATE OR REPLACE FUNCTION fake.pg_relation_size(regclass) RETURNS bigint LANGUAGE sql "
	                "AS 'SELECT %s::bigint'", bytes);
}

/* Of the sweeps behind one that has moved and found nothing, how many were left out? */
static int sweeps_left_out(struct harness *h)
{
	int n = 0;

	pg_database_run(&h->database, "UPDATE sagad.sweep SET position = ''");
	sweep(h, true);
	while (n < 20 && !swept_to(h, "", 2001)) {
		sweep(h, false);
		n++;
	}
	return n - 1;
}

/* A large table is come through within the hour: the larger, the sooner comes the next page. */
static void test_pace_of_sweeps(struct harness *h)
{
	static const struct {
		const char *bytes, *what;
		int         left_out;
	} rows[] = {
		{ "0", "nothing", 7 },
		{ "900000000", "900 MB", 7 },
		{ "910000000", "910 MB", 6 },
		{ "1200000000", "1.2 GB", 5 },
		{ "2400000000", "2.4 GB", 2 },
		{ "3600000000", "3.6 GB", 1 },
		{ "3700000000", "3.7 GB", 0 },
		{ "9000000000000", "9 TB", 0 },
	};
	const unsigned backs = h->a.backs;

	make_kept_rows(h);
	pg_database_run(&h->database, "CREATE SCHEMA fake");
	pretend_size(h, "0");
	pg_database_run(&h->database, "ALTER DATABASE %s SET search_path = fake, pg_catalog", h->database.name);
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
	                "AND pid <> pg_backend_pid()");
	harness_until(h, h->a.backs > backs, 5000);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		pretend_size(h, rows[i].bytes);
		int n = sweeps_left_out(h);
		ok(n == rows[i].left_out, "a table of %s: %d sweeps are left out behind one", rows[i].what, n);
	}
	pg_database_run(&h->database, "ALTER DATABASE %s RESET search_path", h->database.name);
	pg_database_run(&h->database, "DROP SCHEMA fake CASCADE; DELETE FROM sagad.transaction");
}

/* A statement of it may still be giving it rows: how long it has been dead a clock that was set must not say. */
static void test_dead_replicas_stay_a_while(struct harness *h)
{
	struct uuid   dead = make_id();
	struct answer a = { 0 };
	char          id[UUID_TEXT + 1];

	enroll(h, &h->b, dead, 120);
	pg_database_run(&h->database, "UPDATE sagad.replica SET state = 'fenced', fenced_by = id, left_at = now() - interval '1 year' "
	                "WHERE id = '%s'", uuid_text(dead, id));
	sweep(h, true);
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.replica WHERE id = '%s'", id)) == 1, "who seems to have died long ago, and was not seen dead, stays");
	h->a.log.members(h->a.log.ctx, on_members_seen, &a);
	harness_wait(h, &a.done);
	harness_sleep(h, 10);
	sweep(h, true);
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.replica WHERE id = '%s'", id)) == 0, "once seen dead for a while it goes");
}

static void test_dead_rows_go(struct harness *h)
{
	struct uuid   live = make_id();
	struct answer a = { 0 };

	enroll(h, &h->a, live, 92);
	pg_database_run(&h->database, "INSERT INTO sagad.lease SELECT k, 1, 2000, now() - interval '1 hour', 'held' "
	                "FROM unnest(ARRAY[91, 92]) k");
	h->a.log.sweep(h->a.log.ctx, true, on_done, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && strcmp(pg_database_ask(&h->database, "SELECT string_agg(key::text, ',') FROM "
	   "sagad.lease WHERE key IN (91, 92)"), "92") == 0, "rows that no live replica names are swept");
}

/* While the mode of a cluster is changed replicas of both kinds stand side by side. */
static void test_both_kinds(struct harness *h)
{
	struct answer a, watch = { 0 };

	end_close(h, &h->b);
	h->mode = h->mode == PG_LEASE_ROW ? PG_LEASE_LOCK : PG_LEASE_ROW;
	ok(end_open(h, &h->b, h->database.dsn), "a replica of the other kind");
	harness_until(h, h->b.backs > 0, 5000);
	ok(open_lease(h, &h->a, 93, TTL_MS, &a) == LEASE_HELD && open_lease(h, &h->b, 94, TTL_MS, &a) == LEASE_HELD,
	   "each has its lease");
	ok(!probe(h, &h->b, 93) && !probe(h, &h->a, 94), "which the other sees");
	h->b.lease.watch(h->b.lease.ctx, 93, on_probe, &watch);
	harness_sleep(h, 400);
	ok(!watch.done, "a watch over the other kind waits");
	h->a.lease.close(h->a.lease.ctx);
	int64_t before = clock_boot_ms();
	harness_wait(h, &watch.done);
	ok(watch.flag && clock_boot_ms() - before < 600, "until it is let go: %d ms", (int)(clock_boot_ms() - before));
	test_fence(h, h->mode == PG_LEASE_ROW ? 100 : 102);
	h->b.lease.close(h->b.lease.ctx);
}

static void test_refusals(struct harness *h)
{
	struct end    c = { 0 };
	struct answer a;
	char          dsn[1200];

	snprintf(dsn, sizeof dsn, "%s port=1", h->database.dsn);
	ok(end_open(h, &c, dsn), "a server that is away is no error at the start");
	ok(open_lease(h, &c, 90, TTL_MS, &a) == LEASE_LOST && a.err.text[0] != '\0', "but no lease: %s", a.err.text);
	a = (struct answer){ 0 };
	c.lease.watch(c.lease.ctx, 90, on_probe, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_AWAY, "no watch");
	a = (struct answer){ 0 };
	c.lease.probe(c.lease.ctx, 90, on_probe, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_AWAY && !a.flag, "and no probe");
	/* Closing with everything under way: nothing is called any more. */
	a = (struct answer){ 0 };
	c.lease.open(c.lease.ctx, 90, TTL_MS, on_lease, &a);
	c.lease.watch(c.lease.ctx, 90, on_probe, &a);
	c.lease.probe(c.lease.ctx, 90, on_probe, &a);
	end_close(h, &c);
	ok(a.times == 0, "after closing nothing is called");
	ok(!end_open(h, &c, "host=x frobnicate=1") && strstr(h->err.text, "frobnicate") != NULL,
	   "a DSN that cannot be read is: %s", h->err.text);
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_lease", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	test_held(&h);
	test_stale_session(&h);
	test_watch(&h);
	test_time_out(&h);
	test_fence(&h, 104);
	test_right_to_fence(&h);
	test_both_kinds(&h);
	ok(harness_switch(&h, PG_LEASE_ROW), "leases are rows now");
	test_held(&h);
	test_opened_twice(&h);
	test_watch(&h);
	test_watch_of_a_row(&h);
	test_marks(&h);
	test_fence(&h, 106);
	test_late_beats(&h);
	test_rows_gone_and_clocks_set(&h);
	test_dead_rows_go(&h);
	test_dead_replicas_stay_a_while(&h);
	test_sweeps_are_seldom(&h);
	test_pace_of_sweeps(&h);
	test_both_kinds(&h);
	test_refusals(&h);
	harness_close(&h);
	return tap_done();
}
