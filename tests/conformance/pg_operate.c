/* SPDX-License-Identifier: Apache-2.0
 * pg_operate.c - what people do, on PostgreSQL: the audit, what is paused, actions on many
 * transactions.
 */
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

/* ---- the audit ------------------------------------------------------------------------- */

struct book {
	bool            done;
	enum log_result result;
	size_t          n;
	uint64_t        next;
	struct deed_row first;      /* its texts are gone, but for: */
	char            lines[600]; /* "actor action target;" of each */
	bool            is_whole;   /* the first has every member that test_deeds() gave it */
};

static const struct deed whole = { .actor = STR("ada"),
	                           .role = STR("operator"),
	                           .kind = STR("transaction"),
	                           .target = STR("w-1"),
	                           .action = STR("patch"),
	                           .step = STR("pay"),
	                           .op = STR("try"),
	                           .reason = STR("moved \xc3\xa9"),
	                           .request_id = STR("r-1"),
	                           .detail = STR("{\"url\":\"http://x\"}"),
	                           .before = 1,
	                           .after = 2 };

static bool is_whole(const struct deed *d)
{
	return str_eq(d->actor, whole.actor) && str_eq(d->role, whole.role) &&
	       str_eq(d->kind, whole.kind) && str_eq(d->target, whole.target) &&
	       str_eq(d->action, whole.action) && str_eq(d->step, whole.step) &&
	       str_eq(d->op, whole.op) && str_eq(d->reason, whole.reason) &&
	       str_eq(d->request_id, whole.request_id) && str_eq(d->detail, whole.detail) &&
	       d->before == 1 && d->after == 2;
}

static void on_deeds(void *arg, enum log_result result, const struct deed_row *rows, size_t n,
                     uint64_t next)
{
	struct book *b = arg;

	b->done = true;
	b->result = result;
	b->n = n;
	b->next = next;
	for (size_t i = 0; i < n; i++)
		snprintf(b->lines + strlen(b->lines), sizeof b->lines - strlen(b->lines),
		         "%.*s %.*s %.*s;", (int)rows[i].deed.actor.n, rows[i].deed.actor.p,
		         (int)rows[i].deed.action.n, rows[i].deed.action.p,
		         (int)rows[i].deed.target.n, rows[i].deed.target.p);
	if (n > 0) {
		b->first = rows[0];
		b->is_whole = is_whole(&rows[0].deed);
	}
}

static struct book audit(struct harness *h, const struct deed_filter *filter, unsigned limit)
{
	struct book b = { 0 };

	h->b.store.audit(h->b.store.ctx, filter, limit, on_deeds, &b);
	ok(!b.done, "no answer comes before the verb returns");
	harness_wait(h, &b.done);
	return b;
}

static struct book audit_of(struct harness *h, const char *kind, const char *target)
{
	return audit(h, &(struct deed_filter){ .kind = str_of(kind), .target = str_of(target) },
	             100);
}

static struct deed by(const char *actor, const char *kind, const char *target, const char *action)
{
	return (struct deed){ .actor = str_of(actor),
		              .role = STR("operator"),
		              .kind = str_of(kind),
		              .target = str_of(target),
		              .action = str_of(action),
		              .reason = STR("why") };
}

static struct change change_of(const char *gid, uint64_t version)
{
	return (struct change){ .gid = str_of(gid),
		                .epoch = 1,
		                .version = version,
		                .phase = PHASE_TRYING,
		                .paused = true,
		                .progress = STR("{}") };
}

/* A deed stands and falls with the change that it speaks of. */
static void test_deeds(struct harness *h, struct uuid me)
{
	struct row    rows[] = { make_row(me, STR("w-1")), make_row(me, STR("w-2")) };
	struct change changes[] = { change_of("w-1", 1), change_of("w-2", 7) };
	struct deed   deeds[] = { whole, by("ada", "transaction", "w-2", "pause") };
	struct answer a;
	struct book   b;

	deeds[0].replica = me;
	commit_batch(h, &h->a, &(struct batch){ .me = me, .begins = rows, .begin_count = 2 }, &a);
	commit_batch(h, &h->a,
	             &(struct batch){ .me = me,
	                              .changes = changes,
	                              .change_count = 2,
	                              .deeds = deeds,
	                              .deed_count = 2 },
	             &a);
	ok(a.result == LOG_DONE && a.changed, "of two changes in a commit one applies");
	b = audit_of(h, "transaction", "w-1");
	ok(b.n == 1 && b.is_whole && uuid_eq(b.first.deed.replica, me),
	   "its line is in the audit, with all that it says: %s", b.lines);
	int64_t now = clock_now_ms(&h->a.clock);
	ok(b.first.at > now - 60000 && b.first.at < now + 60000, "at the time of the commit");
	b = audit_of(h, "transaction", "w-2");
	ok(b.result == LOG_DONE && b.n == 0,
	   "that of the other, which had changed meanwhile, is not");
	commit_batch(h, &h->a,
	             &(struct batch){ .me = make_id(),
	                              .begins = &rows[0],
	                              .begin_count = 1,
	                              .changes = changes,
	                              .change_count = 1,
	                              .deeds = deeds,
	                              .deed_count = 1 },
	             &a);
	ok(a.result == LOG_FENCED && audit_of(h, "transaction", "w-1").n == 1,
	   "nor that of a commit that was refused");
	struct deed bad = whole;
	bad.reason = STR("\xff");
	changes[0].version = 2;
	commit_batch(h, &h->a,
	             &(struct batch){ .me = me,
	                              .changes = changes,
	                              .change_count = 1,
	                              .deeds = &bad,
	                              .deed_count = 1 },
	             &a);
	ok(a.result == LOG_BAD_DATA && audit_of(h, "transaction", "w-1").n == 1,
	   "what cannot be stored of it is bad data, and then nothing is changed");
}

static void test_audit(struct harness *h, struct uuid me)
{
	static const char *const ACTORS[] = { "ada", "bo", "ada", "cy" };
	struct row    row = make_row(me, STR("x-1"));
	struct answer a;
	struct book   b;

	begin_row(h, &h->a, &row);
	for (uint64_t i = 0; i < 4; i++) {
		struct change c = change_of("x-1", i + 1);
		struct deed   d = by(ACTORS[i], "transaction", "x-1", i % 2 ? "resume" : "pause");

		commit_batch(h, &h->a,
		             &(struct batch){ .me = me,
		                              .changes = &c,
		                              .change_count = 1,
		                              .deeds = &d,
		                              .deed_count = 1 },
		             &a);
	}
	b = audit_of(h, "transaction", "x-1");
	ok(strcmp(b.lines, "cy resume x-1;ada pause x-1;bo resume x-1;ada pause x-1;") == 0 &&
	           b.next == 0,
	   "newest first: %s", b.lines);
	ok(audit_of(h, "definition", "x-1").n == 0 && audit_of(h, "transaction", "x").n == 0,
	   "of a kind, and of a whole name");
	b = audit(h, &(struct deed_filter){ .target = STR("x-1"), .actor = STR("ada") }, 100);
	ok(b.n == 2, "by who did it");
	b = audit(h,
	          &(struct deed_filter){
			  .target = STR("x-1"), .actor = STR("ada"), .action = STR("resume") },
	          100);
	ok(b.n == 0 && b.next == 0, "and what: filters combine");
	int64_t last = audit_of(h, "transaction", "x-1").first.at;
	b = audit(h, &(struct deed_filter){ .target = STR("x-1"), .since = last + 1 }, 100);
	ok(b.n == 0, "since then there was nothing");
	b = audit(h, &(struct deed_filter){ .target = STR("x-1"), .until = last + 1000 }, 100);
	ok(b.n == 4, "before then there was");
	b = audit(h, &(struct deed_filter){ .kind = STR("transaction") }, 3);
	ok(strcmp(b.lines, "cy resume x-1;ada pause x-1;bo resume x-1;") == 0 && b.next != 0,
	   "a page of all");
	b = audit(h, &(struct deed_filter){ .kind = STR("transaction"), .below = b.next }, 3);
	ok(strcmp(b.lines, "ada pause x-1;ada patch w-1;") == 0 && b.next == 0,
	   "and the page behind it, the last: %s", b.lines);
	pg_database_run(
		&h->database,
		"INSERT INTO sagad.audit (at, kind, target, action, actor, role) "
		"SELECT now(), 'bulk', "
		"'much', 'x', 'x', 'x' FROM generate_series(1, 1500)");
	b = audit(h, &(struct deed_filter){ .actor = STR("bo") }, 10);
	ok(b.n == 0 && b.next != 0, "a page looks at a bounded number of lines");
	b = audit(h, &(struct deed_filter){ .actor = STR("bo"), .below = b.next }, 10);
	ok(b.n == 1 && b.next == 0, "until the end");
	b = audit(h, &(struct deed_filter){ .actor = STR("\xff") }, 10);
	ok(b.result == LOG_DONE && b.n == 0, "what cannot be stored matches nothing");
}

/* ---- pauses ------------------------------------------------------------------------------- */

struct told {
	bool            done, is_known, changed;
	enum log_result result;
};

static void on_paused(void *arg, enum log_result result, bool is_known, bool changed)
{
	*(struct told *)arg = (struct told){ true, is_known, changed, result };
}

typedef void pause_verb(void *ctx, const struct pause_row *row, const struct deed *deed,
                        pause_done *done, void *arg);

static struct told ask_pause(struct harness *h, pause_verb *verb, enum pause_kind kind,
                             const char *name, const char *actor)
{
	struct pause_row row = {
		.kind = kind, .name = str_of(name), .actor = str_of(actor), .reason = STR("why")
	};
	struct deed      deed = by(actor, pause_kind_name(kind), name,
                              verb == h->a.store.pause ? "pause" : "resume");
	struct told      t = { 0 };

	verb(h->a.store.ctx, &row, &deed, on_paused, &t);
	harness_wait(h, &t.done);
	return t;
}

static struct told look(struct harness *h, enum pause_kind kind, const char *name)
{
	struct pause_row row = { .kind = kind, .name = str_of(name) };
	struct told      t = { 0 };

	h->b.store.pause_look(h->b.store.ctx, &row, on_paused, &t);
	harness_wait(h, &t.done);
	return t;
}

struct list_of_pauses {
	bool   done;
	size_t n;
	char   lines[400];
};

static void on_pauses(void *arg, enum log_result result, const struct pause_row *rows, size_t n)
{
	struct list_of_pauses *l = arg;

	l->done = true;
	l->n = result == LOG_DONE ? n : 0;
	for (size_t i = 0; i < n; i++)
		snprintf(l->lines + strlen(l->lines), sizeof l->lines - strlen(l->lines),
		         "%s %.*s %.*s %.*s;", pause_kind_name(rows[i].kind), (int)rows[i].name.n,
		         rows[i].name.p, (int)rows[i].actor.n, rows[i].actor.p,
		         (int)rows[i].reason.n, rows[i].reason.p);
}

static void test_pauses(struct harness *h, struct uuid me)
{
	struct store_port    *s = &h->a.store;
	struct list_of_pauses l = { 0 };
	struct told           t = ask_pause(h, s->pause, PAUSE_PARTICIPANT, "hotel:80", "ada");
	char                  id[UUID_TEXT + 1], other[UUID_TEXT + 1];

	ok(t.result == LOG_DONE && t.is_known && t.changed, "a host is paused, whoever calls it");
	t = ask_pause(h, s->pause, PAUSE_PARTICIPANT, "hotel:80", "bo");
	ok(t.is_known && !t.changed, "whoever comes second changes nothing");
	t = look(h, PAUSE_PARTICIPANT, "hotel:80");
	ok(t.is_known && t.changed, "it is so");
	t = look(h, PAUSE_PARTICIPANT, "hotel:81");
	ok(t.is_known && !t.changed, "another is not");
	ok(!ask_pause(h, s->pause, PAUSE_PARTICIPANT, "participant:nobody", "ada").is_known,
	   "a name has to be registered");
	ok(!ask_pause(h, s->pause, PAUSE_DEFINITION, "nothing", "ada").is_known,
	   "and so has a definition");
	ok(!ask_pause(h, s->pause, PAUSE_REPLICA, uuid_text(make_id(), other), "ada").is_known,
	   "and a replica has to live");
	ok(ask_pause(h, s->pause, PAUSE_REPLICA, uuid_text(me, id), "ada").changed,
	   "one that does is told to leave");
	s->pauses(s->ctx, on_pauses, &l);
	harness_wait(h, &l.done);
	ok(l.n == 2 && strncmp(l.lines, "participant hotel:80 ada why;replica ", 37) == 0,
	   "all are listed, with who and why: %s", l.lines);
	ok(strcmp(audit_of(h, "participant", "hotel:80").lines, "ada pause hotel:80;") == 0,
	   "one line in the audit");
	ok(audit_of(h, "definition", "nothing").n == 0, "and none of what was not done");
	t = ask_pause(h, s->unpause, PAUSE_PARTICIPANT, "hotel:80", "bo");
	ok(t.is_known && t.changed && !look(h, PAUSE_PARTICIPANT, "hotel:80").changed,
	   "it is resumed");
	t = ask_pause(h, s->unpause, PAUSE_PARTICIPANT, "hotel:80", "bo");
	ok(t.is_known && !t.changed, "once");
	ok(strcmp(audit_of(h, "participant", "hotel:80").lines,
	          "bo resume hotel:80;ada pause hotel:80;") == 0,
	   "by whom is told");
	ask_pause(h, s->unpause, PAUSE_REPLICA, id, "ada");
}

/* ---- actions on many ------------------------------------------------------------------------- */

struct bulks {
	bool            done;
	enum log_result result;
	size_t          n;
	struct bulk_row first; /* its texts are gone, but for: */
	char            page[60], refusals[60], position[60], filter[60];
	struct uuid     ids[8];
};

static void on_bulks(void *arg, enum log_result result, const struct bulk_row *rows, size_t n)
{
	struct bulks *b = arg;

	b->done = true;
	b->result = result;
	b->n = n;
	for (size_t i = 0; i < n && i < 8; i++)
		b->ids[i] = rows[i].id;
	if (n == 0)
		return;
	b->first = rows[0];
	str_cstr(rows[0].page, b->page, sizeof b->page);
	str_cstr(rows[0].refusals, b->refusals, sizeof b->refusals);
	str_cstr(rows[0].position, b->position, sizeof b->position);
	str_cstr(rows[0].filter, b->filter, sizeof b->filter);
}

static struct bulks bulk_one(struct harness *h, struct uuid id)
{
	struct bulks b = { 0 };

	h->b.store.bulk_rows(h->b.store.ctx, id, (struct uuid){ { 0 } }, 1, on_bulks, &b);
	harness_wait(h, &b.done);
	return b;
}

static struct bulks claim(struct harness *h, struct end *e, struct uuid me,
                          const struct uuid *passed, size_t n)
{
	struct bulks b = { 0 };

	e->store.bulk_claim(e->store.ctx, me, passed, n, on_bulks, &b);
	harness_wait(h, &b.done);
	return b;
}

static struct uuid bulk_put(struct harness *h)
{
	char            id[UUID_TEXT + 1];
	struct bulk_row row = { .id = uuid_v7(clock_now_ms(&h->a.clock), (uint64_t)rand(), 1),
		                .action = STR("pause"),
		                .rate = 7,
		                .filter = STR("{\"phase\":\"trying\"}") };
	struct deed     deed = by("ada", "bulk", uuid_text(row.id, id), "pause");
	struct answer   a = { 0 };

	h->a.store.bulk_put(h->a.store.ctx, &row, &deed, on_done, &a);
	harness_wait(h, &a.done);
	ok(a.result == LOG_DONE && audit_of(h, "bulk", id).n == 1,
	   "one is begun, and the audit knows by whom");
	harness_sleep(h, 2); /* ids of another millisecond */
	return row.id;
}

struct save {
	bool            done, saved;
	enum log_result result;
};

static void on_saved(void *arg, enum log_result result, bool saved)
{
	*(struct save *)arg = (struct save){ true, saved, result };
}

static bool save(struct harness *h, const struct bulk_row *row, const char *page, uint64_t done,
                 enum bulk_state state)
{
	struct bulk_row r = { .id = row->id,
		              .epoch = row->epoch,
		              .state = state,
		              .examined = 40,
		              .matched = 3,
		              .done = done,
		              .refused = 1,
		              .position = STR("g-3"),
		              .page = str_of(page),
		              .refusals = STR("{\"ended\":1}") };
	struct save     s = { 0 };

	h->a.store.bulk_save(h->a.store.ctx, &r, on_saved, &s);
	harness_wait(h, &s.done);
	return s.result == LOG_DONE && s.saved;
}

static struct told cancel(struct harness *h, struct uuid id)
{
	char        text[UUID_TEXT + 1];
	struct deed deed = by("bo", "bulk", uuid_text(id, text), "cancel");
	struct told t = { 0 };

	h->b.store.bulk_cancel(h->b.store.ctx, id, &deed, on_paused, &t);
	harness_wait(h, &t.done);
	return t;
}

static void test_bulk_claims(struct harness *h, struct uuid me, struct uuid other)
{
	struct uuid  id = bulk_put(h), later = bulk_put(h);
	struct bulks b = bulk_one(h, id), c;

	ok(b.n == 1 && b.first.state == BULK_RUNNING && b.first.epoch == 0 && b.first.rate == 7 &&
	           uuid_is_nil(b.first.runner) && strcmp(b.filter, "{\"phase\":\"trying\"}") == 0 &&
	           b.first.examined == 0,
	   "it is born running, with nobody to run it");
	b = claim(h, &h->b, make_id(), NULL, 0);
	ok(b.result == LOG_DONE && b.n == 0, "who does not live takes none");
	b = claim(h, &h->a, me, NULL, 0);
	ok(b.n == 1 && uuid_eq(b.first.id, id) && b.first.epoch == 1 && uuid_eq(b.first.runner, me),
	   "the oldest is taken first");
	c = claim(h, &h->b, other, NULL, 0);
	ok(c.n == 1 && uuid_eq(c.first.id, later), "by the next the next one");
	ok(claim(h, &h->b, other, &later, 1).n == 0, "and then there is none: their runners live");
	b = claim(h, &h->a, me, NULL, 0);
	ok(b.n == 1 && uuid_eq(b.first.id, id) && b.first.epoch == 2,
	   "who never heard of his claim asks again, and gets it");
	ok(claim(h, &h->a, me, &id, 1).n == 0, "but not what he cannot run");
	pg_database_run(
		&h->database,
		"UPDATE sagad.replica SET state = 'fenced', left_at = now(), fenced_by = id"
		" WHERE lock_key = 2");
	c = claim(h, &h->a, me, &id, 1);
	ok(c.n == 1 && uuid_eq(c.first.id, later) && c.first.epoch == 2,
	   "that of a dead one goes to who lives");
	struct bulk_row stale = c.first;
	stale.epoch = 1;
	ok(!save(h, &stale, "[]", 9, BULK_RUNNING) && bulk_one(h, later).first.done == 0,
	   "and the dead one saves nothing of it any more");
	c = (struct bulks){ 0 };
	h->b.store.bulk_rows(h->b.store.ctx, (struct uuid){ { 0 } }, (struct uuid){ { 0 } }, 8,
	                     on_bulks, &c);
	harness_wait(h, &c.done);
	ok(c.n == 2 && uuid_eq(c.ids[0], later) && uuid_eq(c.ids[1], id),
	   "they are listed, newest first");
	c = (struct bulks){ 0 };
	h->b.store.bulk_rows(h->b.store.ctx, (struct uuid){ { 0 } }, later, 8, on_bulks, &c);
	harness_wait(h, &c.done);
	ok(c.n == 1 && uuid_eq(c.ids[0], id), "and in pages");
	cancel(h, id);
	cancel(h, later);
}

static void test_bulk_saves(struct harness *h, struct uuid me)
{
	struct uuid     id = bulk_put(h);
	struct bulk_row row = claim(h, &h->a, me, NULL, 0).first;
	struct bulks    b;
	struct told     t;
	char            text[UUID_TEXT + 1];

	ok(save(h, &row, "[\"g-1\"]", 0, BULK_RUNNING), "a page is written before it is acted on");
	b = bulk_one(h, id);
	ok(strcmp(b.page, "[\"g-1\"]") == 0 && strcmp(b.position, "g-3") == 0 &&
	           strcmp(b.refusals, "{\"ended\":1}") == 0 && b.first.matched == 3 &&
	           b.first.refused == 1 && b.first.examined == 40,
	   "whoever takes over goes on with it");
	t = cancel(h, id);
	ok(t.is_known && t.changed, "it is cancelled");
	t = cancel(h, id);
	ok(t.is_known && !t.changed && !cancel(h, make_id()).is_known,
	   "once; another nobody knows");
	ok(!save(h, &row, "[\"g-2\"]", 1, BULK_RUNNING) && bulk_one(h, id).first.done == 0,
	   "no new page of it is begun");
	ok(!save(h, &row, "[]", 2, BULK_RUNNING), "the one that was on its way does not go on");
	b = bulk_one(h, id);
	ok(b.first.done == 2 && b.first.state == BULK_CANCELLED && b.first.ended_at != 0 &&
	           strcmp(b.page, "[]") == 0,
	   "but is counted");
	ok(!save(h, &row, "[]", 2, BULK_DONE) && bulk_one(h, id).first.state == BULK_CANCELLED,
	   "and is not done");
	ok(claim(h, &h->a, me, NULL, 0).n == 0, "nobody takes it");
	uuid_text(id, text);
	ok(audit_of(h, "bulk", text).n == 2 && audit_of(h, "bulk", text).first.deed.before == 1 &&
	           audit_of(h, "bulk", text).first.deed.after == 2,
	   "two lines in the audit, of two versions");
	id = bulk_put(h);
	row = claim(h, &h->a, me, NULL, 0).first;
	ok(save(h, &row, "[]", 3, BULK_DONE), "another is done");
	b = bulk_one(h, id);
	ok(b.first.state == BULK_DONE && b.first.ended_at != 0 && b.first.done == 3,
	   "with all counts");
	t = cancel(h, id);
	ok(t.is_known && !t.changed && bulk_one(h, id).first.state == BULK_DONE,
	   "what is over is not cancelled");
}

int main(void)
{
	struct harness h;
	const char    *why;

	if (!harness_open(&h, "sagad_operate", &why)) {
		printf("1..0 # SKIP %s\n", why);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	struct uuid me = make_id(), other = make_id();
	enroll(&h, &h.a, me, 1);
	enroll(&h, &h.b, other, 2);
	test_deeds(&h, me);
	test_audit(&h, me);
	test_pauses(&h, me);
	test_bulk_claims(&h, me, other);
	test_bulk_saves(&h, me);
	harness_close(&h);
	return tap_done();
}
