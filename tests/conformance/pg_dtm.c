/* SPDX-License-Identifier: Apache-2.0
 * pg_dtm.c - what api/dtm/ lists and keeps, on PostgreSQL: its transactions by age, sleepers, keys
 * and values that many change at once.
 */
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

#define EVERY_PHASE ((1u << PHASE_COUNT) - 1)

/* ---- keys and values ------------------------------------------------------------------- */

struct kvs {
	bool            done;
	enum log_result result;
	bool            changed;
	size_t          n;
	uint64_t        version;
	int64_t         created_at, updated_at;
	size_t          v_bytes;
	char            text[300]; /* "k=v;" of each, if they are short */
};

static void on_kv(void *arg, enum log_result result, bool changed)
{
	struct kvs *a = arg;

	a->done = true;
	a->result = result;
	a->changed = changed;
}

static void on_kvs(void *arg, enum log_result result, const struct dtm_kv_row *rows, size_t n)
{
	struct kvs *a = arg;

	a->done = true;
	a->result = result;
	a->n = n;
	for (size_t i = 0; i < n && rows[i].v.n < 50; i++)
		snprintf(a->text + strlen(a->text), sizeof a->text - strlen(a->text),
		         "%.*s=%.*s;", (int)rows[i].k.n, rows[i].k.p, (int)rows[i].v.n,
		         rows[i].v.p);
	if (n == 0)
		return;
	a->version = rows[0].version;
	a->created_at = rows[0].created_at;
	a->updated_at = rows[0].updated_at;
	a->v_bytes = rows[0].v.n;
}

static struct kvs put(struct harness *h, struct end *e, struct str cat, struct str k, struct str v,
                      uint64_t version)
{
	const struct dtm_kv_row row = { .cat = cat, .k = k, .v = v, .version = version };
	struct kvs              a = { 0 };

	e->store.dtm_kv_write(e->store.ctx, &row, on_kv, &a);
	ok(!a.done, "no answer comes before the verb returns");
	harness_wait(h, &a.done);
	return a;
}

static struct kvs get(struct harness *h, struct str cat, struct str k, struct str after,
                      unsigned limit)
{
	struct kvs a = { 0 };

	h->b.store.dtm_kv_read(h->b.store.ctx, cat, k, after, limit, on_kvs, &a);
	harness_wait(h, &a.done);
	return a;
}

static struct kvs del(struct harness *h, struct str cat, struct str k)
{
	struct kvs a = { 0 };

	h->a.store.dtm_kv_delete(h->a.store.ctx, cat, k, on_kv, &a);
	harness_wait(h, &a.done);
	return a;
}

static bool has_changed(struct kvs a)
{
	return a.result == LOG_DONE && a.changed;
}

static bool is_as_it_was(struct kvs a)
{
	return a.result == LOG_DONE && !a.changed;
}

static void test_versions(struct harness *h)
{
	const struct str cat = STR("topics"), k = STR("one"), none = { 0 };
	struct kvs       a = get(h, cat, k, none, 1), first;

	ok(a.result == LOG_DONE && a.n == 0, "there is nothing");
	ok(is_as_it_was(put(h, &h->a, cat, k, STR("x"), 1)), "nothing has no version to change");
	ok(is_as_it_was(del(h, cat, k)), "and cannot be deleted");
	ok(has_changed(put(h, &h->a, cat, k, STR("x"), 0)), "what is not there is made");
	first = get(h, cat, k, none, 1);
	ok(first.n == 1 && first.version == 1 && strcmp(first.text, "one=x;") == 0,
	   "as version 1: %s", first.text);
	ok(first.created_at > 1700000000000 && first.updated_at == first.created_at, "with its age");
	ok(is_as_it_was(put(h, &h->b, cat, k, STR("y"), 0)), "it is made once");
	ok(is_as_it_was(put(h, &h->b, cat, k, STR("y"), 2)), "a version that is none yet");
	harness_sleep(h, 5);
	ok(has_changed(put(h, &h->b, cat, k, STR("y"), 1)), "the version that it has");
	ok(is_as_it_was(put(h, &h->a, cat, k, STR("z"), 1)), "a version that it had");
	a = get(h, cat, k, none, 1);
	ok(a.version == 2 && strcmp(a.text, "one=y;") == 0 && a.created_at == first.created_at &&
	           a.updated_at > first.updated_at,
	   "it grew by one and kept the time at which it was made: %s", a.text);
	ok(is_as_it_was(del(h, STR("other"), k)), "another category is another thing");
	ok(has_changed(del(h, cat, k)) && is_as_it_was(del(h, cat, k)), "it is deleted once");
	ok(has_changed(put(h, &h->a, cat, k, STR("x"), 0)), "and may come again");
	ok(get(h, cat, k, none, 1).version == 1 && has_changed(del(h, cat, k)), "as another one");
}

static void test_pages(struct harness *h)
{
	const char *const names[] = { "b", "a", "\xc3\xa4", "B", "aa", "a%", "a_" };
	const struct str  cat = STR("pages"), none = { 0 };
	struct kvs        a;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		put(h, &h->a, cat, str_of(names[i]), STR("1"), 0);
	put(h, &h->a, STR("pagesx"), STR("c"), STR("1"), 0);
	a = get(h, cat, none, none, 100);
	ok(strcmp(a.text, "B=1;a=1;a%=1;a_=1;aa=1;b=1;\xc3\xa4=1;") == 0,
	   "one category in the order of bytes: %s", a.text);
	a = get(h, cat, none, none, 2);
	ok(strcmp(a.text, "B=1;a=1;") == 0, "a page: %s", a.text);
	a = get(h, cat, none, STR("a"), 2);
	ok(strcmp(a.text, "a%=1;a_=1;") == 0, "behind a key: %s", a.text);
	a = get(h, cat, none, STR("a`"), 1);
	ok(strcmp(a.text, "aa=1;") == 0, "that need not exist: %s", a.text);
	ok(get(h, cat, none, STR("\xc3\xa4"), 2).n == 0, "and behind the last there is nothing");
	a = get(h, cat, STR("a%"), none, 9);
	ok(strcmp(a.text, "a%=1;") == 0, "a key is no pattern: %s", a.text);
	ok(get(h, STR(""), none, none, 9).n == 0, "the category without a name is empty");
}

/* Many change one version at once, by both replicas: one of them does. */
static void test_versions_at_once(struct harness *h)
{
	enum { N = 12, ROUNDS = 4 };
	const struct str cat = STR("race"), k = STR("k"), none = { 0 };
	struct kvs       a[N];
	char             v[N][8];

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned changed = 0, winner = 0;

		memset(a, 0, sizeof a);
		for (unsigned i = 0; i < N; i++) {
			struct store_port *s = i % 2 == 0 ? &h->a.store : &h->b.store;

			snprintf(v[i], sizeof v[i], "%u.%u", round, i);
			s->dtm_kv_write(s->ctx,
			                &(struct dtm_kv_row){ .cat = cat,
			                                      .k = k,
			                                      .v = str_of(v[i]),
			                                      .version = round },
			                on_kv, &a[i]);
		}
		for (unsigned i = 0; i < N; i++) {
			harness_wait(h, &a[i].done);
			if (has_changed(a[i])) {
				changed++;
				winner = i;
			}
		}
		struct kvs now = get(h, cat, k, none, 1);
		ok(changed == 1 && now.version == round + 1, "of twelve one is first (%u, %llu)",
		   changed, (unsigned long long)now.version);
		ok(strncmp(now.text + 2, v[winner], strlen(v[winner])) == 0 &&
		           now.text[2 + strlen(v[winner])] == ';',
		   "and what it wrote stands: %s", now.text);
	}
}

/* A delete beside an update: whatever comes first, nothing of the other remains half. */
static void test_delete_at_once(struct harness *h)
{
	const struct str cat = STR("gone"), none = { 0 };

	for (unsigned i = 0; i < 8; i++) {
		struct kvs deleted = { 0 }, written = { 0 }, now;
		char       k[8];

		snprintf(k, sizeof k, "k%u", i);
		put(h, &h->a, cat, str_of(k), STR("x"), 0);
		h->a.store.dtm_kv_delete(h->a.store.ctx, cat, str_of(k), on_kv, &deleted);
		h->b.store.dtm_kv_write(h->b.store.ctx,
		                        &(struct dtm_kv_row){ .cat = cat,
		                                              .k = str_of(k),
		                                              .v = STR("y"),
		                                              .version = 1 },
		                        on_kv, &written);
		harness_wait(h, &deleted.done);
		harness_wait(h, &written.done);
		now = get(h, cat, str_of(k), none, 1);
		ok(has_changed(deleted) && written.result == LOG_DONE && now.n == 0,
		   "it is gone, whoever was first (written: %d)", written.changed);
	}
}

static void test_bad_texts(struct harness *h)
{
	const struct str cat = STR("bad"), none = { 0 }, nul = { "a\0b", 3 }, latin = STR("\xe4");
	char            *big = malloc(1 << 20), noise[4000];
	unsigned         seed = 1;
	struct kvs       a;

	ok(put(h, &h->a, cat, nul, STR("x"), 0).result == LOG_BAD_DATA, "a key with NUL");
	ok(put(h, &h->a, cat, STR("k"), nul, 0).result == LOG_BAD_DATA, "a value with NUL");
	ok(put(h, &h->a, latin, STR("k"), STR("x"), 0).result == LOG_BAD_DATA, "what is no UTF-8");
	ok(put(h, &h->a, cat, STR("k"), latin, 3).result == LOG_BAD_DATA, "in an update as well");
	a = get(h, cat, nul, none, 1);
	ok(a.result == LOG_DONE && a.n == 0, "what cannot be stored is not found");
	a = get(h, latin, none, none, 9);
	ok(a.result == LOG_DONE && a.n == 0, "in no category");
	a = get(h, cat, none, nul, 9);
	ok(a.result == LOG_DONE && a.n == 0, "behind no key");
	ok(is_as_it_was(del(h, cat, nul)) && is_as_it_was(del(h, latin, STR("k"))), "nor deleted");
	for (size_t i = 0; i < sizeof noise; i++) {
		seed = seed * 1103515245 + 12345;
		noise[i] = (char)('0' + (seed >> 16) % 70);
	}
	a = put(h, &h->a, cat, (struct str){ noise, sizeof noise }, STR("x"), 0);
	ok(a.result == LOG_BAD_DATA, "a key too long for an index is bad data (%d)", a.result);
	memset(big, 'x', 1 << 20);
	ok(has_changed(put(h, &h->a, cat, STR("big"), (struct str){ big, 1 << 20 }, 0)) &&
	           get(h, cat, STR("big"), none, 1).v_bytes == 1 << 20,
	   "a mebibyte of value is none, and the connection is as it was");
	ok(has_changed(put(h, &h->a, cat, STR(""), STR(""), 0)), "an empty key is one");
	ok(get(h, cat, none, none, 9).n == 1, "that no scan tells: there is nothing before it");
	free(big);
}

/* ---- transactions ------------------------------------------------------------------------ */

struct found {
	bool            done;
	enum log_result result;
	size_t          n;
	uint64_t        examined;
	char            gids[600], next[200];
};

static void on_found(void *arg, enum log_result result, const struct row *rows, size_t n,
                     const struct list_page *page)
{
	struct found *f = arg;

	f->done = true;
	f->result = result;
	f->n = n;
	f->examined = page->examined;
	str_cstr(page->next, f->next, sizeof f->next);
	for (size_t i = 0; i < n && strlen(f->gids) + rows[i].gid.n + 2 < sizeof f->gids; i++)
		snprintf(f->gids + strlen(f->gids), sizeof f->gids - strlen(f->gids), "%.*s ",
		         (int)rows[i].gid.n, rows[i].gid.p);
}

static struct found list(struct harness *h, const struct dtm_filter *filter, const char *after,
                         unsigned limit)
{
	struct found f = { 0 };

	h->b.store.dtm_list(h->b.store.ctx, filter, str_of(after), limit, on_found, &f);
	ok(!f.done, "no answer comes before the verb returns");
	harness_wait(h, &f.done);
	return f;
}

/* d-1 and d-2 are of one moment; d-5 is another's. */
static void fill(struct harness *h, struct uuid me)
{
	static const char *const labels[] = { "{\"dtm\":\"saga\"}", "{\"dtm\":\"tcc\"}",
		                              "{\"dtm\":\"tcc\"}",  "{\"dtm\":\"msg\"}",
		                              "{\"dtm\":\"saga\"}", "{\"a\":\"b\"}" };
	static const char *const gids[] = { "d-0", "d-1", "d-2", "d-3", "d-4", "d-5" };
	static const int64_t     age[] = { 0, 1000, 1000, 2000, 3000, 4000 };
	struct row               rows[6];
	struct answer            a;

	for (int i = 0; i < 6; i++) {
		rows[i] = make_row(me, str_of(gids[i]));
		rows[i].created_at += age[i];
		rows[i].labels = str_of(labels[i]);
	}
	rows[3].phase = PHASE_PREPARED;
	commit_batch(h, &h->a, &(struct batch){ .me = me, .begins = rows, .begin_count = 6 }, &a);
}

static bool is_list(struct found f, const char *gids, bool more)
{
	return f.result == LOG_DONE && strcmp(f.gids, gids) == 0 && (f.next[0] != '\0') == more;
}

static void test_list_pages(struct harness *h)
{
	const struct dtm_filter any = { .phases = EVERY_PHASE };
	struct found            f = list(h, &any, "", 100);

	ok(is_list(f, "d-4 d-3 d-2 d-1 d-0 ", false), "newest first, and ours alone: %s", f.gids);
	f = list(h, &any, "", 2);
	ok(is_list(f, "d-4 d-3 ", true), "a page: %s", f.gids);
	f = list(h, &any, f.next, 1);
	ok(is_list(f, "d-2 ", true), "one of two of the same moment: %s", f.gids);
	f = list(h, &any, f.next, 2);
	ok(is_list(f, "d-1 d-0 ", true), "the other: %s", f.gids);
	f = list(h, &any, f.next, 2);
	ok(is_list(f, "", false), "and the end: %s", f.gids);
	static const char *const NO_PLACES[] = { "x", "-", "-d-2", "7", "1e9-d", "-1-d", " 1-d",
		                                 "99999999999999999999-d", "\xff",
		                                 "4000000000000000000-d", "9000000000000000000-d" };
	for (size_t i = 0; i < sizeof NO_PLACES / sizeof *NO_PLACES; i++) {
		f = list(h, &any, NO_PLACES[i], 9);
		ok(is_list(f, "", false), "no place of ours is behind everything: %s", NO_PLACES[i]);
	}
}

static void test_list_filters(struct harness *h)
{
	struct dtm_filter any = { .phases = EVERY_PHASE }, f;
	struct found      found;

	f = any;
	f.phases = 1u << PHASE_PREPARED;
	ok(is_list(list(h, &f, "", 9), "d-3 ", false), "by phase");
	f.phases = 0;
	ok(is_list(list(h, &f, "", 9), "", false), "of no phase");
	f = any;
	f.kind = STR("tcc");
	ok(is_list(list(h, &f, "", 9), "d-2 d-1 ", false), "by kind");
	found = list(h, &f, "", 1);
	ok(is_list(found, "d-2 ", true) && is_list(list(h, &f, found.next, 1), "d-1 ", true),
	   "in pages");
	static const char *const NO_KINDS[] = { "tc", "tccx", "t%", "%", "___", "tcc\"", "\\", "'" };
	for (size_t i = 0; i < sizeof NO_KINDS / sizeof *NO_KINDS; i++) {
		f.kind = str_of(NO_KINDS[i]);
		found = list(h, &f, "", 9);
		ok(is_list(found, "", false), "a kind is no pattern: %s finds %s", NO_KINDS[i],
		   found.gids);
	}
	f.kind = (struct str){ "a\0b", 3 };
	ok(is_list(list(h, &f, "", 9), "", false), "what cannot be stored is of no kind");
	f = any;
	f.since = 1790000001000;
	f.until = 1790000002000;
	ok(is_list(list(h, &f, "", 9), "d-3 d-2 d-1 ", false), "by age, both ends with it");
	f.kind = STR("msg");
	f.phases = 1u << PHASE_PREPARED;
	ok(is_list(list(h, &f, "", 9), "d-3 ", false), "filters combine");
	f.since = 1790000009000;
	ok(is_list(list(h, &f, "", 9), "", false), "and may leave nothing");
}

/* Of 1,500 that no filter lets pass a page looks at a bounded number, and says how far it came. */
static void test_list_is_bounded(struct harness *h, struct uuid me)
{
	struct dtm_filter f = { .phases = EVERY_PHASE, .kind = STR("tcc") };
	struct found      found;
	char              id[UUID_TEXT + 1];

	pg_database_run(&h->database,
	                "INSERT INTO sagad.transaction (epoch, version, created_at, retention_ms, "
	                "adoptions, format, paused, owner, gid, phase, stuck, hash, progress, labels) "
	                "SELECT 1, 1, now(), 0, 0, 1, false, '%s', 'n-' || to_char(i, 'FM0000'), "
	                "'trying', 'none', '', '{}', '{\"dtm\":\"saga\"}' FROM generate_series(1, 1500) i",
	                uuid_text(me, id));
	found = list(h, &f, "", 9);
	ok(is_list(found, "", true) && found.examined == 1000, "a page without a hit goes on at %s",
	   found.next);
	found = list(h, &f, found.next, 9);
	ok(is_list(found, "d-2 d-1 ", false), "until it finds them: %s", found.gids);
}

/* ---- sleepers ------------------------------------------------------------------------------- */

static struct found sleepers(struct harness *h, int64_t longer_ms, unsigned limit)
{
	struct found f = { 0 };

	h->b.store.dtm_sleepers(h->b.store.ctx, longer_ms, limit, on_found, &f);
	harness_wait(h, &f.done);
	return f;
}

static void sleep_until(struct harness *h, const char *gid, const char *due)
{
	pg_database_run(&h->database,
	                "UPDATE sagad.transaction SET owner = NULL, due_at = %s WHERE gid = '%s'",
	                due, gid);
}

static void test_sleepers(struct harness *h)
{
	struct found f = sleepers(h, 0, 9);

	ok(f.result == LOG_DONE && f.n == 0, "nobody sleeps");
	sleep_until(h, "d-0", "now() + interval '3 hours'");
	sleep_until(h, "d-1", "now() + interval '1 hour'");
	sleep_until(h, "d-2", "now() - interval '1 hour'");
	sleep_until(h, "d-3", "'infinity'");
	sleep_until(h, "d-5", "now() + interval '2 hours'");
	f = sleepers(h, 0, 9);
	ok(strcmp(f.gids, "d-1 d-0 ") == 0, "those of ours that are due some day, soonest first: %s",
	   f.gids);
	f = sleepers(h, 7200 * 1000, 9);
	ok(strcmp(f.gids, "d-0 ") == 0, "those that sleep for longer than that: %s", f.gids);
	f = sleepers(h, 0, 1);
	ok(strcmp(f.gids, "d-1 ") == 0, "so many of them: %s", f.gids);
	f = sleepers(h, 3650ll * 86400 * 1000, 9);
	ok(f.result == LOG_DONE && f.n == 0, "nobody sleeps for ten years");
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_dtm", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	struct uuid me = make_id(), other = make_id();
	enroll(&h, &h.a, me, 1);
	enroll(&h, &h.b, other, 2);
	test_versions(&h);
	test_pages(&h);
	test_versions_at_once(&h);
	test_delete_at_once(&h);
	test_bad_texts(&h);
	fill(&h, me);
	test_list_pages(&h);
	test_list_filters(&h);
	test_list_is_bounded(&h, me);
	test_sleepers(&h);
	harness_close(&h);
	return tap_done();
}
