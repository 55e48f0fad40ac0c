/* SPDX-License-Identifier: Apache-2.0
 * pg_store.c - definitions, participants, lists, journal and counts on PostgreSQL; the schema itself.
 */
#include "coordinator/base/digest.h"
#include "coordinator/io/pg_internal.h"
#include "sql/migrations.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char one[] = "{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://hotel:8080/a\"},"
	"\"compensate\":{\"url\":\"http://hotel:8080/c\"}}}}";
static const char two[] = "{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://bank/a\"},"
	"\"compensate\":{\"url\":\"http://bank/c\"}}}}";

/* ---- definitions ----------------------------------------------------------------- */

static struct answer put(struct harness *h, struct end *e, const char *name, const char *document)
{
	struct answer a = { 0 };
	uint8_t       hash[32];

	digest_sha256(str_of(document), hash);
	e->store.definition_put(e->store.ctx, str_of(name), str_of(document), hash, &somebody, on_definition_put, &a);
	harness_wait(h, &a.done);
	return a;
}

static struct answer get(struct harness *h, struct end *e, const char *name, uint32_t version)
{
	struct answer a = { 0 };

	e->store.definition(e->store.ctx, str_of(name), version, on_definition, &a);
	ok(!a.done, "no answer comes before the verb returns");
	harness_wait(h, &a.done);
	return a;
}

struct seen {
	bool     done;
	size_t   n;
	char     names[300];
	uint32_t first_version;
	bool     document, hash;
};

static void on_definitions(void *arg, enum log_result result, const struct definition_row *rows, size_t n)
{
	struct seen *s = arg;

	s->done = true;
	s->n = result == LOG_DONE ? n : 0;
	s->names[0] = '\0';
	for (size_t i = 0; i < n; i++)
		snprintf(s->names + strlen(s->names), sizeof s->names - strlen(s->names), "%.*s.%u ",
		         (int)rows[i].name.n, rows[i].name.p, rows[i].version);
	if (n > 0) {
		uint8_t hash[32];

		digest_sha256(rows[0].document, hash);
		s->first_version = rows[0].version;
		s->document = str_is(rows[0].document, one) || str_is(rows[0].document, two);
		s->hash = memcmp(hash, rows[0].hash, sizeof hash) == 0;
	}
}

static void test_definitions(struct harness *h)
{
	struct store_port *a = &h->a.store;
	struct seen        s = { 0 };
	struct answer      r = put(h, &h->a, "trip", one);
	uint32_t           found;

	ok(r.result == LOG_DONE && r.flag && r.version == 1, "a new definition is version 1");
	r = put(h, &h->b, "trip", one);
	ok(r.result == LOG_DONE && !r.flag && r.version == 1, "the same again, by another replica, changes nothing");
	ok(a->definition_cached(a->ctx, STR("trip"), 0, &found) != NULL && found == 1, "whoever put it has it in memory");
	ok(a->definition_cached(a->ctx, STR("nobody"), 0, &found) == NULL, "and nothing else");
	r = put(h, &h->b, "trip", two);
	ok(r.flag && r.version == 2, "another content is version 2");
	r = put(h, &h->b, "trip", one);
	ok(r.flag && r.version == 3, "the first content once more is the newest again");
	harness_sleep(h, 1100);
	ok(a->definition_cached(a->ctx, STR("trip"), 0, &found) == NULL, "after a second the newest must be asked for");
	ok(a->definition_cached(a->ctx, STR("trip"), 1, &found) != NULL && found == 1, "a version never grows old");
	r = get(h, &h->a, "trip", 0);
	ok(r.def && r.version == 3, "the newest is found");
	r = get(h, &h->a, "trip", 2);
	ok(r.def && r.version == 2, "and any version");
	r = get(h, &h->a, "trip", 0);
	ok(r.def && r.version == 3, "now from memory");
	r = get(h, &h->a, "trip", 9);
	ok(r.result == LOG_DONE && !r.def, "no such version");
	r = get(h, &h->a, "nobody", 0);
	ok(r.result == LOG_DONE && !r.def, "no such name");

	a->definition_rows(a->ctx, STR("trip"), 0, on_definitions, &s);
	harness_wait(h, &s.done);
	ok(s.n == 1 && s.first_version == 3 && s.document && s.hash, "the newest row is whole");
	put(h, &h->a, "alpha", two);
	put(h, &h->a, "Zeta", two);
	s.done = false;
	a->definition_list(a->ctx, (struct str){ 0 }, 2, on_definitions, &s);
	harness_wait(h, &s.done);
	ok(strcmp(s.names, "Zeta.1 alpha.1 ") == 0, "a page of the newest of each name, in bytewise order: %s", s.names);
	s.done = false;
	a->definition_list(a->ctx, STR("alpha"), 100, on_definitions, &s);
	harness_wait(h, &s.done);
	ok(strcmp(s.names, "trip.3 ") == 0, "and the page after it: %s", s.names);
	r = put(h, &h->a, "bad", "{\"a\":\"\xff\"}");
	ok(r.result == LOG_BAD_DATA, "what is no UTF-8 is bad data");
}

/* Many replicas put different contents under one name at once: every one becomes a version. */
static void test_definitions_at_once(struct harness *h)
{
	enum { N = 12 };
	struct answer a[N] = { { 0 } };
	uint8_t       hash[32] = { 0 };
	unsigned      versions = 0;

	for (int i = 0; i < N; i++) {
		struct end *e = i % 2 == 0 ? &h->a : &h->b;

		hash[0] = (uint8_t)(100 + i);
		e->store.definition_put(e->store.ctx, STR("race"), i % 2 ? str_of(one) : str_of(two), hash,
		                        &somebody, on_definition_put, &a[i]);
	}
	for (int i = 0; i < N; i++) {
		harness_wait(h, &a[i].done);
		if (a[i].result == LOG_DONE && a[i].version >= 1 && a[i].version <= N)
			versions |= 1u << a[i].version;
	}
	ok(versions == (1u << (N + 1)) - 2, "twelve at once are twelve versions (%x)", versions);
}

/* ---- participants ----------------------------------------------------------------------- */

struct services {
	bool     done;
	size_t   n;
	char     text[300];
};

static void on_participants(void *arg, enum log_result result, const struct participant_row *rows, size_t n)
{
	struct services *s = arg;

	s->done = true;
	s->n = result == LOG_DONE ? n : 0;
	s->text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		snprintf(s->text + strlen(s->text), sizeof s->text - strlen(s->text), "%.*s %.*s %u %d %d %.*s %u;",
		         (int)rows[i].name.n, rows[i].name.p, (int)rows[i].base_url.n, rows[i].base_url.p,
		         rows[i].max_in_flight, rows[i].breaker_percent, rows[i].retry_percent, (int)rows[i].secret.n, rows[i].secret.p, (unsigned)rows[i].version);
}

static void on_participant_put(void *arg, enum log_result result, uint64_t version)
{
	struct answer *a = arg;

	a->done = true;
	a->result = result;
	a->version = (uint32_t)version;
}

static uint32_t put_participant(struct harness *h, const struct participant_row *row, int64_t expected)
{
	struct store_port *p = &h->a.store;
	struct answer      a = { 0 };

	p->participant_put(p->ctx, row, expected, &somebody, on_participant_put, &a);
	harness_wait(h, &a.done);
	return a.result == LOG_DONE ? a.version : UINT32_MAX;
}

static void test_participants(struct harness *h)
{
	struct participant_row row = { .name = STR("hotel"), .base_url = STR("http://h:1"), .max_in_flight = 7,
	                               .breaker_percent = 50, .retry_percent = -1 };
	struct services        s = { 0 };

	ok(put_participant(h, &row, PARTICIPANT_PUT_KNOWN) == 0 && put_participant(h, &row, 1) == 0,
	   "no participant is made where one is expected");
	ok(put_participant(h, &row, PARTICIPANT_PUT_ALWAYS) == 1, "a participant is put");
	row.base_url = STR("http://h:2");
	row.secret = STR("hotel-key");
	ok(put_participant(h, &row, 1) == 2, "and put anew at the version that is expected");
	row.base_url = STR("http://h:3");
	ok(put_participant(h, &row, 1) == 0 && put_participant(h, &row, INT64_MAX) == 0, "not at another");
	h->b.store.participant_list(h->b.store.ctx, on_participants, &s);
	harness_wait(h, &s.done);
	ok(strcmp(s.text, "hotel http://h:2 7 50 -1 hotel-key 2;") == 0, "and listed as it is now: %s", s.text);
}

/* ---- lists -------------------------------------------------------------------------------- */

static void list(struct harness *h, const struct list_filter *f, const char *after, unsigned limit, struct answer *a)
{
	char from[129];

	snprintf(from, sizeof from, "%s", after); /* may be part of *a */
	*a = (struct answer){ 0 };
	h->b.store.list(h->b.store.ctx, f, str_of(from), limit, on_list, a);
	harness_wait(h, &a->done);
}

static void fill(struct harness *h, struct uuid me)
{
	struct row    rows[6];
	struct answer a;
	const char   *gids[] = { "l-0", "l-1", "l-2", "l-3", "l-4", "l-5" };

	for (int i = 0; i < 6; i++) {
		rows[i] = make_row(me, str_of(gids[i]));
		rows[i].definition = STR("trip");
		rows[i].definition_version = i < 3 ? 1 : 2;
		rows[i].created_at += i * 1000;
	}
	rows[1].labels = STR("{\"shop\":\"7\",\"k\\u00e9y\":\"x\"}");
	rows[2].labels = STR("{\"shop\":\"8\"}");
	rows[4].definition = (struct str){ 0 };
	rows[4].document = str_of(one);
	commit_batch(h, &h->a, &(struct batch){ .me = me, .begins = rows, .begin_count = 6 }, &a);
	struct change c = { .gid = STR("l-3"), .epoch = 1, .version = 1, .phase = PHASE_CONFIRMING,
		            .stuck = STUCK_OVERDUE, .progress = STR("{}") };
	commit_batch(h, &h->a, &(struct batch){ .me = me, .changes = &c, .change_count = 1 }, &a);
}

static void test_lists(struct harness *h, struct uuid me)
{
	struct list_filter any = { .phase = -1, .stuck = -1 }, f;
	struct answer      a;

	fill(h, me);
	list(h, &any, "l-", 100, &a);
	ok(strcmp(a.gids, "l-0 l-1 l-2 l-3 l-4 l-5 ") == 0 && a.next[0] == '\0' && a.def, "all in order: %s", a.gids);
	list(h, &any, "l-", 4, &a);
	ok(strcmp(a.gids, "l-0 l-1 l-2 l-3 ") == 0 && strcmp(a.next, "l-3") == 0 && a.examined == 4, "a page, and where to go on");
	f = any;
	f.stuck = 1;
	list(h, &f, "l-", 1, &a);
	ok(strcmp(a.next, "l-3") == 0 && a.examined == 4, "what was passed by on the way counts as looked at");
	list(h, &any, "l-3", 4, &a);
	ok(strcmp(a.gids, "l-4 l-5 ") == 0 && a.next[0] == '\0' && a.examined == 2, "the last page says so");
	f = any;
	f.phase = PHASE_CONFIRMING;
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-3 ") == 0, "by phase");
	f = any;
	f.stuck = 1;
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-3 ") == 0, "the stuck ones");
	f.stuck = 0;
	list(h, &f, "l-", 100, &a);
	ok(strcmp(a.gids, "l-0 l-1 l-2 l-4 l-5 ") == 0, "those that are not");
	f = any;
	f.definition = STR("trip");
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-0 l-1 l-2 l-3 l-5 ") == 0, "by definition");
	f = any;
	f.label_name = STR("shop");
	f.label_value = STR("8");
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-2 ") == 0, "by label");
	f.label_name = STR("k\xc3\xa9y");
	f.label_value = STR("x");
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-1 ") == 0, "however that is written");
	f = any;
	f.created_before = 1790000002000;
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-0 l-1 ") == 0, "by age");
	f = any;
	f.participant = STR("hotel:8080");
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-0 l-1 l-2 l-4 ") == 0, "by who is called: %s", a.gids);
	f.label_name = STR("shop");
	f.label_value = STR("7");
	f.phase = PHASE_TRYING;
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-1 ") == 0, "filters combine");
	f.label_value = STR("\xff");
	list(h, &f, "", 100, &a);
	ok(a.result == LOG_DONE && a.n == 0 && a.next[0] == '\0', "what cannot be stored matches nothing");
	/* Labels are checked before they are stored; a row that came otherwise must not break the list. */
	pg_database_run(&h->database, "UPDATE sagad.transaction SET labels = 'no json' WHERE gid = 'l-5'");
	f = any;
	f.label_name = STR("shop");
	f.label_value = STR("8");
	list(h, &f, "", 100, &a);
	ok(strcmp(a.gids, "l-2 ") == 0, "labels that are no object match nothing");
}

static void test_bounded_page(struct harness *h, struct uuid me)
{
	struct list_filter f = { .phase = PHASE_CONFIRMED, .stuck = -1 };
	struct answer      a;
	char               id[UUID_TEXT + 1];

	pg_database_run(&h->database, "INSERT INTO sagad.transaction (epoch, version, created_at, retention_ms, adoptions, "
	                "format, paused, owner, gid, phase, stuck, hash, progress) SELECT 1, 1, now(), 0, 0, 1, false, '%s', "
	                "'m-' || to_char(i, 'FM0000'), 'trying', 'none', '', '{}' FROM generate_series(1, 1500) i",
	                uuid_text(me, id));
	list(h, &f, "m-", 10, &a);
	ok(a.n == 0 && strcmp(a.next, "m-1000") == 0 && a.examined == 1000, "a page looks at a bounded number of rows: next is %s", a.next);
	list(h, &f, a.next, 10, &a);
	ok(a.n == 0 && a.next[0] == '\0', "until the end");
}

struct lines {
	bool     done;
	size_t   n;
	uint64_t numbers[8];
	bool     right;
};

static void on_entries(void *arg, enum log_result result, const struct entry_row *rows, size_t n)
{
	struct lines *l = arg;

	l->done = true;
	l->n = result == LOG_DONE ? n : 0;
	for (size_t i = 0; i < n && i < 8; i++)
		l->numbers[i] = rows[i].number;
	l->right = n > 0 && str_is(rows[0].entry.what, "attempt") && str_is(rows[0].entry.step, "pay") &&
		str_is(rows[0].entry.op, "try") && str_is(rows[0].entry.outcome, "unknown") &&
		rows[0].entry.attempt == 3 && rows[0].entry.status == 503 && rows[0].entry.at == 1790000000123 &&
		str_is(rows[0].entry.detail, "no") && rows[0].entry.actor.n == 0 && str_is(rows[0].entry.gid, "l-0");
}

static void test_journal(struct harness *h, struct uuid me)
{
	struct entry  e[3];
	struct answer a;
	struct lines  l = { 0 };

	for (int i = 0; i < 3; i++)
		e[i] = (struct entry){ .gid = STR("l-0"), .at = 1790000000123, .what = STR("attempt"), .step = STR("pay"),
			               .op = STR("try"), .outcome = STR("unknown"), .attempt = 3 + (uint32_t)i,
			               .status = 503, .detail = STR("no"), .replica = me };
	for (int i = 0; i < 2; i++)
		commit_batch(h, &h->a, &(struct batch){ .me = me, .entries = e, .entry_count = 3 }, &a);
	h->a.store.journal(h->a.store.ctx, STR("l-0"), 0, 100, on_entries, &l);
	harness_wait(h, &l.done);
	bool grow = l.n == 6;
	for (size_t i = 1; i < l.n; i++)
		grow &= l.numbers[i] > l.numbers[i - 1];
	ok(grow && l.right, "the journal's lines are numbered upwards, and whole");
	ok(l.numbers[5] < (1ull << 53), "with numbers that fit a double");
	uint64_t third = l.numbers[2];
	l.done = false;
	h->a.store.journal(h->a.store.ctx, STR("l-0"), third, 2, on_entries, &l);
	harness_wait(h, &l.done);
	ok(l.n == 2 && l.numbers[0] > third, "and can be read in pages");
}

static void on_counts(void *arg, enum log_result result, const struct counts *c)
{
	if (result == LOG_DONE)
		*(struct counts *)arg = *c;
	((struct counts *)arg)->by_phase[PHASE_ABANDONED] = 1; /* done */
}

static void test_counts(struct harness *h)
{
	struct counts c = { 0 };

	pg_database_run(&h->database, "UPDATE sagad.transaction SET owner = NULL, due_at = 'infinity' WHERE gid = 'l-3'");
	h->a.store.counts(h->a.store.ctx, 0, on_counts, &c);
	harness_until(h, c.by_phase[PHASE_ABANDONED] == 1, 5000);
	ok(c.by_phase[PHASE_TRYING] == 1505 && c.by_phase[PHASE_CONFIRMING] == 1 && c.stuck == 1 && c.parked == 1,
	   "unfinished rows are counted by phase, stuck and parked ones besides");
	uint64_t by_reason = 0;
	for (int v = 0; v < STUCK_COUNT; v++)
		by_reason += v == STUCK_NONE ? 0 : c.by_stuck[v];
	ok(by_reason == 1 && c.overdue_ms == 0, "stuck ones by reason; what only a person can move is not overdue");
	c = (struct counts){ 0 };
	pg_database_run(&h->database, "UPDATE sagad.transaction SET due_at = now() - interval '1 min' WHERE gid = 'l-3'");
	h->a.store.counts(h->a.store.ctx, 0, on_counts, &c);
	harness_until(h, c.by_phase[PHASE_ABANDONED] == 1, 5000);
	ok(c.overdue_ms >= 59000 && c.overdue_ms < 120000, "and how long the oldest parked one has been due");
}

static void stuck(struct harness *h, const char *after, unsigned limit, struct answer *a)
{
	char from[129];

	snprintf(from, sizeof from, "%s", after); /* may be part of *a */
	*a = (struct answer){ 0 };
	h->b.store.stuck(h->b.store.ctx, str_of(from), limit, on_list, a);
	harness_wait(h, &a->done);
}

static void test_stuck(struct harness *h)
{
	struct answer a;

	pg_database_run(&h->database, "UPDATE sagad.transaction SET stuck = 'gone' WHERE gid IN ('l-0', 'l-5')");
	stuck(h, "", 100, &a);
	ok(strcmp(a.gids, "l-0 l-3 l-5 ") == 0 && a.next[0] == '\0' && a.def, "what is stuck, and nothing else: %s", a.gids);
	stuck(h, "", 2, &a);
	ok(strcmp(a.gids, "l-0 l-3 ") == 0 && strcmp(a.next, "l-3") == 0, "a page of it, and where to go on");
	stuck(h, a.next, 2, &a);
	ok(strcmp(a.gids, "l-5 ") == 0 && a.next[0] == '\0', "the last page says so");
	pg_database_run(&h->database, "UPDATE sagad.transaction SET stuck = 'none' WHERE gid IN ('l-0', 'l-5')");
}

/* ---- the schema ------------------------------------------------------------------------------ */

/* Are these exactly the words of that text? */
static bool is_list(const char *text, const char *const words[], size_t n)
{
	size_t said = 0, known = 0;
	bool   inside = false;

	/* Words stand between quotes, in an array with commas between. */
	for (const char *p = text; *p != '\0'; p++) {
		size_t length = strcspn(p, "'{},");

		inside ^= *p == '\'';
		if (!inside || length == 0)
			continue;
		said++;
		for (size_t i = 0; i < n; i++)
			known += strlen(words[i]) == length && memcmp(p, words[i], length) == 0;
		p += length - 1;
	}
	return said == n && known == n;
}

static bool check_lists(struct harness *h, const char *constraint, const char *const words[], size_t n)
{
	return is_list(pg_database_ask(&h->database, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '%s'",
	                               constraint), words, n);
}

#define X(name, text, ...) text,
static const char *const phases[] = { TXN_PHASES(X) };
static const char *const stucks[] = { TXN_STUCKS(X) };
static const char *const verdicts[] = { TXN_VERDICTS(X) };
#undef X
#define X(name, text, ended, ...) (ended) ? (text) : NULL,
static const char *const ended_phases[] = { TXN_PHASES(X) };
#undef X

static void test_words(struct harness *h)
{
	const char *ended[PHASE_COUNT];
	size_t      n = 0;

	for (size_t i = 0; i < PHASE_COUNT; i++)
		if (ended_phases[i] != NULL)
			ended[n++] = ended_phases[i];
	ok(check_lists(h, "phase_word", phases, PHASE_COUNT), "the schema's phases are the core's");
	ok(is_list(IS_ENDED(""), ended, n), "the statements' ended ones as well");
	ok(check_lists(h, "stuck_word", stucks, STUCK_COUNT), "the schema's stuck reasons are the core's");
	ok(check_lists(h, "inbox_verdict", verdicts, VERDICT_COUNT), "the schema's verdicts are the core's");
	ok(strcmp(pg_database_ask(&h->database, "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes "
	                          "WHERE schemaname = 'sagad' AND tablename = 'transaction'"),
	          "transaction_dtm transaction_due transaction_owner transaction_pkey transaction_stuck") == 0,
	   "the transaction has these indexes and no other");
	ok(strcmp(pg_database_ask(&h->database, "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
	                          "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'sagad'"), "0") == 0 &&
	   strcmp(pg_database_ask(&h->database, "SELECT count(*) FROM pg_sequences WHERE schemaname = 'sagad' "
	                          " AND sequencename <> 'audit_number_seq'"), "0") == 0,
	   "there are no triggers, and no sequence but the audit's");
	ok(strcmp(pg_database_ask(&h->database, "SELECT count(*) FROM pg_constraint WHERE contype = 'c' "
	                          "AND conrelid = 'sagad.transaction'::regclass"), "0") == 0,
	   "nor is there a check of a transaction that each commit would read anew");
}

static void test_migrations(struct harness *h)
{
	struct err  err = { 0 };
	const char *dsn = h->database.dsn;
	pid_t       pids[4];
	int         good = 0, status;
	const int   known = (int)migration_count;
	struct pg_schema schema;

	ok(pg_migrate(dsn, &schema, &err), "migrating again changes nothing");
	ok(pg_check(dsn, PG_LEASE_LOCK, &schema, &err), "a replica could run here");
	ok(schema.version == known && schema.known == known, "and is of this version");
	pg_database_run(&h->database, "INSERT INTO sagad.schema_version VALUES (%d, 'next', 'x', now(), %d)", known + 1,
	                known);
	ok(pg_migrate(dsn, &schema, &err) && pg_check(dsn, PG_LEASE_LOCK, &schema, &err) &&
	   schema.version == known + 1 && schema.known == known, "a newer schema that bears with us is welcome");
	pg_database_run(&h->database, "INSERT INTO sagad.schema_version VALUES (%d, 'later', 'x', now(), %d)", known + 2,
	                known + 1);
	ok(!pg_migrate(dsn, &schema, &err) && err.kind == ERR_REFUSED && strstr(err.text, "newer sagad") != NULL,
	   "one that does not is refused: %s", err.text);
	ok(!pg_check(dsn, PG_LEASE_LOCK, &schema, &err) && err.kind == ERR_REFUSED, "by the check as well");
	pg_database_run(&h->database, "DELETE FROM sagad.schema_version WHERE version > %d", known);
	pg_database_run(&h->database, "UPDATE sagad.schema_version SET checksum = 'other' WHERE version = 1");
	ok(!pg_migrate(dsn, &schema, &err) && err.kind == ERR_REFUSED, "another build's migration is refused: %s", err.text);
	pg_database_run(&h->database, "INSERT INTO sagad.schema_version VALUES (99, 'future', 'x', now())");
	pg_database_run(&h->database, "DELETE FROM sagad.schema_version WHERE version <= %d", known);
	/* It says nothing of older programs: none can work with it. */
	ok(!pg_migrate(dsn, &schema, &err) && err.kind == ERR_REFUSED && strstr(err.text, "newer") != NULL,
	   "a newer schema is refused: %s", err.text);
	end_close(h, &h->a);
	end_close(h, &h->b);
	pg_database_run(&h->database, "DROP SCHEMA sagad CASCADE");
	ok(!pg_check(dsn, PG_LEASE_LOCK, &schema, &err) && err.kind == ERR_REFUSED, "without a schema: %s", err.text);
	/* Four replicas start at once on an empty database. */
	fflush(stdout);
	for (int i = 0; i < 4; i++)
		if ((pids[i] = fork()) == 0)
			_exit(pg_migrate(dsn, &schema, &err) ? 0 : 1);
	for (int i = 0; i < 4; i++)
		good += waitpid(pids[i], &status, 0) == pids[i] && status == 0;
	ok(good == 4, "four that migrate at once all succeed");
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.schema_version")) == (int)migration_count,
	   "and did it once");
	ok(pg_check(dsn, PG_LEASE_LOCK, &schema, &err), "a replica could run there");

	ok(!pg_migrate("host=127.0.0.1 port=1", &schema, &err) && err.kind == ERR_UNAVAILABLE, "no server: %s", err.text);
	char other[1300];
	snprintf(other, sizeof other, "%s dbname=nobody_%s", h->database.dsn, h->database.name);
	ok(!pg_migrate(other, &schema, &err) && err.kind == ERR_REFUSED, "no database: %s", err.text);
	ok(!pg_migrate("postgres://[", &schema, &err) && err.kind == ERR_INVALID, "no DSN: %s", err.text);
}

/* As if the server had been promoted: its timeline is one that nobody has met. */
static void test_failover(struct harness *h, struct uuid me)
{
	struct store_port *s = &h->a.store;
	int64_t            now = clock_now_ms(&h->a.clock);
	unsigned           backs = h->a.backs;

	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.timeline WHERE NOT is_failover")) == 1,
	   "the first timeline that replicas meet is remembered");
	ok(s->failover_at(s->ctx, now - 1000, 0) == 0, "and is no failover");
	struct row row = make_row(me, STR("met-by-failover"));
	begin_row(h, &h->a, &row);
	pg_database_run(&h->database, "UPDATE sagad.timeline SET timeline = timeline - 1");
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	                "WHERE application_name LIKE 'sagad %%' AND datname = current_database()");
	harness_until(h, h->a.backs > backs, 5000);
	harness_until(h, s->failover_at(s->ctx, now - 1000, 0) != 0, 5000);
	int64_t at = s->failover_at(s->ctx, now - 1000, 0);
	ok(at >= now - 1000 && at < now + 20000, "a new one is a failover");
	ok(atoi(pg_database_ask(&h->database, "SELECT unfinished FROM sagad.timeline WHERE is_failover")) >= 1,
	   "what was unfinished is counted");
	ok(s->failover_at(s->ctx, at + 1, 0) == 0, "what began later is not marked");
	ok(s->failover_at(s->ctx, now - 1000, at - 1) == 0, "nor what had ended");
	ok(s->failover_at(s->ctx, now - 1000, at + 1) == at, "what ended since is");
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_store", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	struct uuid me = make_id();
	enroll(&h, &h.a, me, 1);
	test_definitions(&h);
	test_definitions_at_once(&h);
	test_participants(&h);
	test_lists(&h, me);
	test_bounded_page(&h, me);
	test_journal(&h, me);
	test_counts(&h);
	test_stuck(&h);
	test_words(&h);
	test_failover(&h, me);
	test_migrations(&h);
	harness_close(&h);
	return tap_done();
}
