/* SPDX-License-Identifier: Apache-2.0
 * pg_lease.c - the lease on PostgreSQL: the advisory lock, its beats, probes and watches.
 */
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
	ok(watch.flag && watch.times == 1 && after - before < 100, "the end of the holder is seen in %d ms",
	   (int)(after - before));
	ok(open_lease(h, &h->a, 80, TTL_MS * 10, &a) == LEASE_HELD, "and the watcher kept nothing");

	watch = (struct answer){ 0 };
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 100);
	ok(sessions(h, "sagad watch") == 1, "a watch is one session");
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

	open_lease(h, &h->a, 80, TTL_MS * 10, &a);
	h->b.lease.watch(h->b.lease.ctx, 80, on_probe, &watch);
	harness_sleep(h, 100);
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	                              "WHERE application_name = 'sagad watch' AND datname = current_database()");
	harness_wait(h, &watch.done);
	ok(watch.result == LOG_AWAY && !watch.flag, "a watch whose session broke says so");
	h->a.lease.close(h->a.lease.ctx);
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
	test_refusals(&h);
	harness_close(&h);
	return tap_done();
}
