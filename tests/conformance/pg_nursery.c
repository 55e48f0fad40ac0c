/* SPDX-License-Identifier: Apache-2.0
 * pg_nursery.c - rows that are over soon are in no index of owners, and are found all the same.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

enum { GID = UUID_TEXT + 1 };

/* The next of gids that grow, made like those of the daemon. */
static struct str make_gid(struct harness *h, char gid[GID])
{
	static uint64_t serial;

	serial++;
	return str_of(uuid_text(uuid_v7(clock_now_ms(&h->a.clock), 0, serial << 20), gid));
}

static bool begin_gid(struct harness *h, struct uuid me, struct str gid)
{
	struct row r = make_row(me, gid);

	return begin_row(h, &h->a, &r) == LOG_DONE;
}

static bool change(struct harness *h, struct uuid me, struct change c)
{
	struct answer a;

	c.progress = STR("{}");
	return commit_batch(h, &h->a, &(struct batch){ .me = me, .changes = &c, .change_count = 1 }, &a) == LOG_DONE && a.changed;
}

static bool is_young(struct harness *h, struct str gid)
{
	return strcmp(pg_database_ask(&h->database, "SELECT young FROM sagad.transaction WHERE gid = '%.*s'",
	                              (int)gid.n, gid.p), "t") == 0;
}

static struct uuid make_replica(struct harness *h, int64_t key)
{
	struct uuid me = make_id();

	ok(enroll(h, &h->a, me, key), "a replica enrols");
	return me;
}

/* As if four seconds and more had gone by. */
static void move_on(struct harness *h, struct uuid me)
{
	char id[GID];

	pg_database_run(&h->database, "UPDATE sagad.replica SET nursery_at = nursery_until WHERE id = '%s'", uuid_text(me, id));
}

/* What happens every two seconds. All of its jobs are done when a later one is. */
static void tick(struct harness *h, struct uuid me)
{
	struct answer a = { 0 };

	h->a.log.report(h->a.log.ctx, me, 1, 0, on_done, &a);
	harness_wait(h, &a.done);
	for (int i = 0; i < 5; i++) {
		a = (struct answer){ 0 };
		h->a.log.still_live(h->a.log.ctx, me, on_done, &a);
		harness_wait(h, &a.done);
	}
}

static bool is_open(struct harness *h, struct uuid me)
{
	char id[GID];

	return strcmp(pg_database_ask(&h->database, "SELECT nursery_from < nursery_until FROM sagad.replica "
	                              "JOIN sagad.replica_beat USING (id) WHERE id = '%s'", uuid_text(me, id)), "t") == 0;
}

static void mine(struct harness *h, struct uuid me, const char *after, unsigned limit, struct answer *a)
{
	*a = (struct answer){ 0 };
	h->a.log.mine(h->a.log.ctx, me, str_of(after), limit, on_rows, a);
	harness_wait(h, &a->done);
}

/* A begin that fails leaves its caller in doubt, of those before it as well. */
static void fail_begin(struct harness *h, struct uuid me, struct str gid)
{
	struct row r = make_row(me, gid);

	r.fresh = true;
	ok(begin_row(h, &h->a, &r) != LOG_DONE, "a begin fails");
}

static unsigned s_left; /* of the one that was asked for */
static bool     s_owns;
static struct uuid s_id;

static void on_members(void *arg, enum log_result result, const struct member *m, size_t n)
{
	struct answer *a = arg;

	for (size_t i = 0; result == LOG_DONE && i < n; i++)
		if (uuid_eq(m[i].id, s_id)) {
			s_left = m[i].rows;
			s_owns = m[i].owns;
		}
	a->done = true;
}

static void ask_members(struct harness *h, struct uuid id)
{
	struct answer a = { 0 };

	s_id = id;
	h->a.log.members(h->a.log.ctx, on_members, &a);
	harness_wait(h, &a.done);
}

static void fence(struct harness *h, struct uuid me, struct uuid dead, int64_t key)
{
	struct answer a = { 0 };

	h->a.log.fence(h->a.log.ctx, me, dead, key, 0, on_done, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE, "it is fenced");
}

static size_t adopt(struct harness *h, struct uuid me, struct uuid dead, struct answer *a)
{
	*a = (struct answer){ 0 };
	h->a.log.adopt(h->a.log.ctx, me, dead, (struct str){ 0 }, 10, DANGER_NONE, on_rows, a);
	harness_wait(h, &a->done);
	return a->n;
}

static void test_life(struct harness *h)
{
	struct uuid   me = make_replica(h, 1);
	struct answer a = { 0 };
	char          one[GID], two[GID], three[GID];

	ok(begin_gid(h, me, make_gid(h, one)) && is_young(h, str_of(one)), "the first row that a replica begins is young");
	ok(begin_gid(h, me, make_gid(h, two)) && is_young(h, str_of(two)), "and the next");
	ok(begin_gid(h, me, STR("chosen")) && !is_young(h, STR("chosen")), "one whose gid was chosen is not");
	make_gid(h, three);
	memcpy(three, "0000", 4);
	ok(begin_gid(h, me, str_of(three)) && !is_young(h, str_of(three)), "nor is one whose gid is old");
	mine(h, me, "", 10, &a);
	ok(a.n == 2 && strncmp(a.gids, three, 36) == 0 && strcmp(a.gids + 37, "chosen ") == 0,
	   "of young ones that it was told of the list of its own says nothing");
	fail_begin(h, me, str_of(one));
	mine(h, me, "", 10, &a);
	ok(a.n == 4 && strncmp(a.gids, three, 36) == 0 && strncmp(a.gids + 37, one, 36) == 0 &&
	   strcmp(a.gids + 3 * 37, "chosen ") == 0, "all of them are mine, in the order of gids");
	mine(h, me, one, 1, &a);
	ok(a.n == 1 && strcmp(a.gid, two) == 0, "and page by page");
	ok(change(h, me, (struct change){ .gid = str_of(one), .epoch = 1, .version = 1, .phase = PHASE_CONFIRMED, .ended = true }),
	   "a young one ends");
	a = (struct answer){ 0 };
	h->a.log.read(h->a.log.ctx, &(struct str){ one, 36 }, 1, on_rows, &a);
	harness_wait(h, &a.done);
	ok(a.n == 1 && uuid_is_nil(a.row.owner) && a.row.phase == PHASE_CONFIRMED, "and is nobody's");
	ok(!change(h, me, (struct change){ .gid = str_of(one), .epoch = 1, .version = 2, .phase = PHASE_CONFIRMED, .ended = true }),
	   "who ended it cannot change it any more");
	a = (struct answer){ 0 };
	h->a.log.reload(h->a.log.ctx, me, &(struct str){ one, 36 }, 1, on_rows, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && a.n == 0, "nor read it again as his own");
	ok(change(h, me, (struct change){ .gid = str_of(two), .epoch = 1, .version = 1, .phase = PHASE_TRYING, .release = true }) &&
	   !is_young(h, str_of(two)), "one that is parked is grown");
	a = (struct answer){ 0 };
	h->a.log.claim(h->a.log.ctx, me, str_of(two), on_rows, &a);
	harness_wait(h, &a.done);
	mine(h, me, one, 10, &a);
	ok(a.n == 2 && strncmp(a.gids, two, 36) == 0, "and mine again when I take it up");
}

/* Which young rows are listed: those that began before something went wrong. */
static void test_doubt(struct harness *h)
{
	struct uuid   me = make_replica(h, 16);
	struct answer a = { 0 };
	char          one[GID], two[GID], three[GID];
	unsigned      backs = h->a.backs;

	begin_gid(h, me, make_gid(h, one));
	ok(h->a.pg->nursery.doubted == 0 || h->a.pg->nursery.doubted <= h->a.pg->nursery.until, "nothing is doubted ahead");
	h->a.pg->nursery.doubted = 0;
	mine(h, me, "", 10, &a);
	ok(a.n == 0, "a young row that its replica was told of is not listed");
	pg_database_run(&h->database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sagad log' "
	                "AND datname = current_database()");
	harness_until(h, h->a.backs > backs, 5000);
	mine(h, me, "", 10, &a);
	ok(h->a.backs > backs && a.n == 1 && strcmp(a.gid, one) == 0, "it is when there is a new session");
	h->a.pg->nursery.moved_at = 0;
	begin_gid(h, me, make_gid(h, two));
	uuid_text(uuid_v7(clock_now_ms(&h->a.clock) + 4000, 0, 0), three);
	h->a.pg->nursery.doubted = clock_now_ms(&h->a.clock) + 1000; /* as if seconds had gone by since */
	ok(begin_gid(h, me, str_of(three)) && is_young(h, str_of(three)), "a row begins behind that");
	mine(h, me, "", 10, &a);
	ok(a.n == 2 && strncmp(a.gids + 37, two, 36) == 0, "rows that begin long behind it are not listed");
	fail_begin(h, me, str_of(three));
	mine(h, me, "", 10, &a);
	ok(a.n == 3, "until the next doubt");
}

static void test_leaving(struct harness *h)
{
	enum { MANY = 1200 };
	struct uuid   me = make_replica(h, 2);
	struct answer a = { 0 };
	char          over[GID], open[GID], late[GID], (*gids)[GID] = mem_array(MANY, sizeof *gids);
	struct row   *rows = mem_array(MANY, sizeof *rows);

	begin_gid(h, me, make_gid(h, over));
	begin_gid(h, me, make_gid(h, open));
	change(h, me, (struct change){ .gid = str_of(over), .epoch = 1, .version = 1, .phase = PHASE_CONFIRMED, .ended = true });
	tick(h, me);
	ok(is_young(h, str_of(open)), "as long as the nursery is where it was, a row is young");
	move_on(h, me);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = '%s' FOR UPDATE", open);
	tick(h, me);
	ok(is_young(h, str_of(open)) && is_open(h, me), "one that somebody has locked is waited for by nobody, and stays");
	mine(h, me, "", 10, &a);
	ok(a.n == 1, "and is still found");
	pg_database_run(&h->database, "COMMIT");
	tick(h, me);
	ok(!is_young(h, str_of(open)) && is_young(h, str_of(over)), "who is open when it moves on, leaves; who has ended, does not");
	ok(!is_open(h, me), "and the nursery is empty");
	begin_gid(h, me, make_gid(h, late));
	ok(!is_young(h, str_of(late)), "what begins behind it is in the index from its birth");
	mine(h, me, "", 10, &a);
	ok(a.n == 2, "both are mine");
	for (int i = 0; i < MANY; i++)
		rows[i] = make_row(me, make_gid(h, gids[i]));
	h->a.pg->nursery.moved_at = 0;
	commit_batch(h, &h->a, &(struct batch){ .me = me, .begins = rows, .begin_count = MANY }, &a);
	ok(a.flag && is_young(h, str_of(gids[0])) && is_open(h, me), "it opens again at another place");
	move_on(h, me);
	tick(h, me);
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE young AND gid >= '%s'", gids[0])) == 0 &&
	   !is_open(h, me), "many leave in small portions");
	free(gids);
	free(rows);
}

/* A session that is gone for us may still begin what it was told: until then nothing moves. */
static void test_another_session(struct harness *h)
{
	struct uuid me = make_replica(h, 3);
	char        id[GID], gid[GID];

	uuid_text(me, id);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.replica WHERE id = '%s' FOR SHARE", id);
	ok(begin_gid(h, me, make_gid(h, gid)) && !is_young(h, str_of(gid)) && !is_open(h, me),
	   "a nursery does not move while another session begins rows");
	pg_database_run(&h->database, "COMMIT");
	h->a.pg->nursery.moved_at = 0;
	ok(begin_gid(h, me, make_gid(h, gid)) && is_young(h, str_of(gid)), "it does behind it");
}

static void test_death(struct harness *h)
{
	struct uuid   me = make_replica(h, 4), dead = make_replica(h, 5);
	struct answer a = { 0 };
	char          over[GID], held[GID], open[GID], id[GID];

	begin_gid(h, dead, make_gid(h, over));
	begin_gid(h, dead, make_gid(h, held));
	begin_gid(h, dead, make_gid(h, open));
	begin_gid(h, dead, STR("grown"));
	change(h, dead, (struct change){ .gid = str_of(over), .epoch = 1, .version = 1, .phase = PHASE_CONFIRMED, .ended = true });
	fence(h, me, dead, 5);
	ask_members(h, dead);
	ok(s_left == 3 && s_owns, "young rows count among those that it left: %u", s_left);
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = '%s' FOR UPDATE", held);
	ok(adopt(h, me, dead, &a) == 2 && strncmp(a.gids, open, 36) == 0, "they are taken over with the others");
	ask_members(h, dead);
	ok(s_owns, "but for one that somebody has locked");
	pg_database_run(&h->database, "COMMIT");
	ok(adopt(h, me, dead, &a) == 1 && strcmp(a.gid, held) == 0, "and that one later");
	ok(adopt(h, me, dead, &a) == 0, "no more than that");
	ask_members(h, dead);
	ok(!s_owns && !is_open(h, dead), "then its nursery is empty");
	ok(atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE owner = '%s' AND ended_at IS NULL",
	                        uuid_text(dead, id))) == 0, "and nothing open is its own");
}

static void test_counts(struct harness *h)
{
	struct uuid me = make_replica(h, 6);
	char        gid[GID];
	int         before = atoi(pg_database_ask(&h->database, "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL"));

	begin_gid(h, me, make_gid(h, gid));
	ok(atoi(pg_database_ask(&h->database, "SELECT (SELECT count(*) FROM sagad.transaction t WHERE t.owner IS NOT NULL AND "
	                        IS_GROWN ") + (SELECT count(*) FROM sagad.transaction t WHERE t.due_at IS NOT NULL) + "
	                        "(SELECT count(*) " OF_NURSERIES("t.gid", "") " WHERE y.is_open)")) == before + 1,
	   "what is open is in one of two indexes or in a nursery");
}

static void on_counts(void *arg, enum log_result result, const struct counts *c)
{
	struct answer *a = arg;

	a->result = result;
	a->flag = c->complete;
	a->n = c->by_phase[PHASE_TRYING];
	a->done = true;
}

/* Where so many rows lie that not all are looked at, nobody says that they are all there are. */
static void test_many(struct harness *h)
{
	struct uuid   me = make_replica(h, 15);
	struct answer a = { 0 };
	char          gid[4][GID];

	pg_database_run(&h->database, "DELETE FROM sagad.transaction");
	pg_database_run(&h->database, "UPDATE sagad.replica_beat b SET nursery_from = nursery_until FROM sagad.replica r WHERE r.id = b.id");
	for (int i = 0; i < 4; i++)
		begin_gid(h, me, make_gid(h, gid[i]));
	for (int i = 0; i < 3; i++)
		change(h, me, (struct change){ .gid = str_of(gid[i]), .epoch = 1, .version = 1, .phase = PHASE_CONFIRMED, .ended = true });
	h->a.store.counts(h->a.store.ctx, 4, on_counts, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && a.n == 1 && a.flag, "the counts are of all that is open");
	a = (struct answer){ 0 };
	h->a.store.counts(h->a.store.ctx, 3, on_counts, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && a.n == 1 && !a.flag, "and say so if there was more to look at than they may");
}

/* Nobody begins anything: the nursery shuts, and looks for its rows are short again. */
static void test_idle(struct harness *h)
{
	struct uuid me = make_replica(h, 7);
	char        gid[GID];

	begin_gid(h, me, make_gid(h, gid));
	h->a.pg->nursery.born_at -= 5000;
	tick(h, me);
	ok(!is_open(h, me) && !is_young(h, str_of(gid)), "a nursery where nothing is born is shut");
	ok(begin_gid(h, me, make_gid(h, gid)) && is_young(h, str_of(gid)) && is_open(h, me), "and opened by the next row");
}

/* What is in the way when it is shut is there again at the next look, and the one after. */
static void test_stuck(struct harness *h)
{
	struct uuid me = make_replica(h, 8);
	char        gid[GID], id[GID];
	uint64_t    least = UINT64_MAX;

	begin_gid(h, me, make_gid(h, gid));
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.transaction WHERE gid = '%s' FOR UPDATE", gid);
	h->a.pg->nursery.born_at -= 5000;
	tick(h, me);
	ok(is_open(h, me) && is_young(h, str_of(gid)), "a row that is locked keeps a nursery open that is to be shut");
	pg_database_run(&h->database, "COMMIT");
	tick(h, me);
	ok(!is_open(h, me) && !is_young(h, str_of(gid)), "until it is not locked any more");
	begin_gid(h, me, make_gid(h, gid));
	pg_database_run(&h->database, "BEGIN");
	pg_database_run(&h->database, "SELECT FROM sagad.replica WHERE id = '%s' FOR SHARE", uuid_text(me, id));
	h->a.pg->nursery.born_at -= 5000;
	tick(h, me);
	ok(is_open(h, me), "nor is it shut while another session begins rows");
	pg_database_run(&h->database, "COMMIT");
	tick(h, me);
	ok(!is_open(h, me) && !is_young(h, str_of(gid)), "but behind it");
	for (int i = 0; i < 3; i++) { /* others look at something now and then */
		uint64_t before = h->a.pg->statements;
		tick(h, me);
		if (h->a.pg->statements - before < least)
			least = h->a.pg->statements - before;
	}
	ok(least == 5, "then it costs nothing: there are no statements but those of this test");
}

/* Fails whatever moves the nursery of that replica. */
static void break_nursery(struct harness *h, struct uuid id)
{
	char text[GID];

	pg_database_run(&h->database, "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS "
	                "$$BEGIN RAISE EXCEPTION 'refused by the test'; END$$");
	pg_database_run(&h->database, "CREATE TRIGGER refuse BEFORE UPDATE OF nursery_from ON sagad.replica_beat FOR EACH ROW "
	                "WHEN (OLD.id = '%s') EXECUTE FUNCTION pg_temp.refuse()", uuid_text(id, text));
}

static void mend_nursery(struct harness *h)
{
	pg_database_run(&h->database, "DROP TRIGGER refuse ON sagad.replica_beat");
	pg_database_run(&h->database, "DROP FUNCTION pg_temp.refuse()");
}

static void test_failure(struct harness *h)
{
	struct uuid   me = make_replica(h, 9), dead = make_replica(h, 10);
	struct answer a = { 0 };
	char          gid[GID];

	begin_gid(h, me, make_gid(h, gid));
	break_nursery(h, me);
	h->a.pg->nursery.born_at -= 5000;
	tick(h, me);
	ok(is_open(h, me) && is_young(h, str_of(gid)), "a shut that fails changes nothing");
	mend_nursery(h);
	tick(h, me);
	ok(!is_open(h, me) && !is_young(h, str_of(gid)), "and is done by the next");
	begin_gid(h, dead, make_gid(h, gid));
	begin_gid(h, dead, STR("grown-too"));
	fence(h, me, dead, 10);
	break_nursery(h, dead);
	ok(adopt(h, me, dead, &a) == 0 && a.result != LOG_DONE && a.times == 1,
	   "whoever cannot clear the nursery of a dead one is told so, and takes nothing");
	mend_nursery(h);
	ok(adopt(h, me, dead, &a) == 2 && a.result == LOG_DONE, "and all of it when he can");
}

static void test_clock(struct harness *h)
{
	struct uuid me = make_replica(h, 13);
	char        ahead[GID], back[GID], id[GID];

	begin_gid(h, me, make_gid(h, ahead));
	uuid_text(uuid_v7(clock_now_ms(&h->a.clock) + 3600000, 0, 0), ahead); /* the clock is set an hour ahead */
	pg_database_run(&h->database, "UPDATE sagad.replica SET nursery_at = '%.8s', nursery_until = '%.8sg' WHERE id = '%s'",
	                ahead, ahead, uuid_text(me, id));
	ok(begin_gid(h, me, str_of(ahead)) && is_young(h, str_of(ahead)), "what begins when the clock is ahead is young");
	h->a.pg->nursery.moved_at = 0;
	ok(begin_gid(h, me, make_gid(h, back)) && !is_young(h, str_of(back)), "behind that it is not when the clock is set back");
	tick(h, me);
	ok(!is_open(h, me) && !is_young(h, str_of(ahead)), "the nursery is emptied there");
	h->a.pg->nursery.moved_at = 0;
	ok(begin_gid(h, me, make_gid(h, back)) && is_young(h, str_of(back)) && is_open(h, me), "and opened where the clock is now");
}

static void test_beatless(struct harness *h)
{
	struct uuid   me = make_replica(h, 14);
	struct answer a = { 0 };
	char          gid[GID], id[GID];

	pg_database_run(&h->database, "DELETE FROM sagad.replica_beat WHERE id = '%s'", uuid_text(me, id));
	ok(begin_gid(h, me, make_gid(h, gid)) && !is_young(h, str_of(gid)), "no row of a replica without a beat is young");
	mine(h, me, "", 10, &a);
	ok(a.n == 1, "so it is found");
	tick(h, me);
	h->a.pg->nursery.moved_at = 0;
	ok(begin_gid(h, me, make_gid(h, gid)) && is_young(h, str_of(gid)), "with the first beat they are");
}

#define X(name, connections, text) text,
static const char *const s_texts[] = { STATEMENTS(X) };
#undef X

/* As the statement answers: "more over". */
static const char *leave(struct harness *h, struct uuid me, const char *limit, const char *looks)
{
	static char answer[8];
	char        id[GID];
	PGresult   *r = PQexecParams(h->database.db, s_texts[SQL_NURSERY_LEAVE], 3, NULL,
	                             (const char *const[]){ uuid_text(me, id), limit, looks }, NULL, NULL, 0);

	snprintf(answer, sizeof answer, "%s %s", PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "-",
	         PQntuples(r) == 1 ? PQgetvalue(r, 0, 1) : "-");
	PQclear(r);
	return answer;
}

static bool is_from(struct harness *h, struct uuid me, const char *gid)
{
	char id[GID];

	return strcmp(pg_database_ask(&h->database, "SELECT nursery_from FROM sagad.replica_beat WHERE id = '%s'",
	                              uuid_text(me, id)), gid) == 0;
}

/* Between two rows of ours there may be millions of others. */
static void test_bounds(struct harness *h)
{
	struct uuid   other = make_replica(h, 11), me = make_replica(h, 12);
	struct answer a = { 0 };
	char          first[GID], between[6][GID], last[GID];

	begin_gid(h, me, make_gid(h, first));
	for (int i = 0; i < 6; i++)
		begin_gid(h, other, make_gid(h, between[i]));
	h->a.pg->nursery = (struct pg_nursery){ 0 };
	begin_gid(h, me, make_gid(h, last));
	move_on(h, me);
	pg_database_run(&h->database, "UPDATE sagad.replica_beat SET nursery_from = '%s' WHERE nursery_from < '%s'", first, first);
	ok(strcmp(leave(h, me, "10", "4"), "t f") == 0 && is_from(h, me, between[2]) && !is_young(h, str_of(first)) &&
	   is_young(h, str_of(last)), "as many rows are looked at as may be, whosever they are");
	ok(strcmp(leave(h, me, "10", "4"), "t f") == 0 && is_from(h, me, between[5]), "the next look begins with the last of them");
	ok(strcmp(leave(h, me, "10", "4"), "f t") == 0 && !is_open(h, me) && !is_young(h, str_of(last)), "to the end");
	mine(h, me, "", 10, &a);
	ok(a.n == 2 && is_young(h, str_of(between[0])), "those of others are left alone");
	ok(strcmp(leave(h, me, "10", "4"), "f t") == 0, "and then nothing is left to do");
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_nursery", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	test_life(&h);
	test_leaving(&h);
	test_another_session(&h);
	test_death(&h);
	test_counts(&h);
	test_idle(&h);
	test_stuck(&h);
	test_failure(&h);
	test_bounds(&h);
	test_clock(&h);
	test_beatless(&h);
	test_many(&h);
	test_doubt(&h);
	ok(harness_misplaced(&h) == 0, "each row of all these tests is owned, parked or ended, as its phase says");
	harness_close(&h);
	return tap_done();
}
