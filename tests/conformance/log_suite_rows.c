/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/log_suite_internal.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_row(const struct row *got, const struct row *want)
{
	return str_eq(got->gid, want->gid) && uuid_eq(got->owner, want->owner) &&
	       got->epoch == want->epoch && got->version == want->version &&
	       got->phase == want->phase && got->stuck == want->stuck && got->paused == want->paused &&
	       got->adoptions == want->adoptions && got->created_at == want->created_at &&
	       got->ended_at == want->ended_at && got->due_at == want->due_at &&
	       got->deadline_at == want->deadline_at && str_eq(got->definition, want->definition) &&
	       got->definition_version == want->definition_version &&
	       str_eq(got->document, want->document) && str_eq(got->input, want->input) &&
	       str_eq(got->labels, want->labels) && str_eq(got->traceparent, want->traceparent) &&
	       memcmp(got->hash, want->hash, sizeof got->hash) == 0 &&
	       got->retention_ms == want->retention_ms && got->format == want->format &&
	       str_eq(got->progress, want->progress);
}

static struct row read_back(struct suite *s, struct str gid)
{
	const struct row *r = suite_read_one(s, gid);

	return r != NULL ? *r : (struct row){ 0 };
}

/* Begins, changes, compare and set. */
void suite_commits(struct suite *s)
{
	const struct log_port *a = s->given->a;
	struct str             gid = suite_gid(s, "a");
	struct row             r = suite_row(s, gid);
	struct row             got;

	suite_ok(s, suite_begin(s, gid), "a begin inserts");
	suite_ok(s, !suite_begin(s, gid) && s->result == LOG_DONE, "the same gid again does not, and is no error");
	suite_ok(s, suite_apply(s, a, s->me, suite_change(&r, "{\"p\":2}")), "a change applies");
	got = read_back(s, gid);
	r.version = 2;
	r.progress = STR("{\"p\":2}");
	suite_ok(s, same_row(&got, &r), "version grows by one, progress is the new one, nothing else moves");

	struct change wrong = suite_change(&r, "{\"p\":3}");
	wrong.version = 1;
	suite_ok(s, !suite_apply(s, a, s->me, wrong) && s->result == LOG_DONE, "an old version misses");
	wrong.version = 3;
	suite_ok(s, !suite_apply(s, a, s->me, wrong), "a version of the future misses");
	wrong.version = 2;
	wrong.epoch = 2;
	suite_ok(s, !suite_apply(s, a, s->me, wrong), "another epoch misses");
	wrong.epoch = 1;
	suite_ok(s, !suite_apply(s, s->given->b, s->you, wrong), "another owner misses");
	wrong.gid = suite_gid(s, "nobody");
	suite_ok(s, !suite_apply(s, a, s->me, wrong), "a row that is not there misses");
	got = read_back(s, gid);
	suite_ok(s, same_row(&got, &r), "what missed has changed nothing");

	/* One batch: a new row, one that is there, a hit, a miss. */
	struct row    begins[2] = { suite_row(s, suite_gid(s, "b")), suite_row(s, gid) };
	struct str    other = suite_gid(s, "c");
	suite_begin(s, other);
	struct row    c = suite_row(s, other);
	struct change changes[2] = { suite_change(&c, "{\"p\":9}"), suite_change(&c, "{}") };
	changes[1].gid = suite_gid(s, "none");
	changes[0].phase = PHASE_CONFIRMING;
	changes[0].stuck = STUCK_OVERDUE;
	changes[0].paused = true;
	suite_commit(s, a, &(struct batch){ .me = s->me, .begins = begins, .begin_count = 2,
	                                    .changes = changes, .change_count = 2 });
	suite_ok(s, s->result == LOG_DONE && s->begun[0] && !s->begun[1] && s->changed[0] && !s->changed[1],
	         "a batch says of each part whether it was done");
	got = read_back(s, other);
	suite_ok(s, got.phase == PHASE_CONFIRMING && got.stuck == STUCK_OVERDUE && got.paused,
	         "phase, stuck and paused are written");
	got = read_back(s, begins[0].gid);
	suite_ok(s, same_row(&got, &begins[0]), "and the new row is as it was given");

	/* Gids that were made a moment ago. */
	begins[0] = suite_row(s, suite_gid(s, "d"));
	begins[1] = suite_row(s, suite_gid(s, "e"));
	begins[0].fresh = true;
	suite_commit(s, a, &(struct batch){ .me = s->me, .begins = begins, .begin_count = 2 });
	suite_ok(s, s->result == LOG_DONE && s->begun[0] && s->begun[1], "fresh and other rows are begun in one batch");
	got = read_back(s, begins[0].gid);
	suite_ok(s, same_row(&got, &begins[0]), "the fresh one is as it was given");
	begins[1] = suite_row(s, suite_gid(s, "f"));
	suite_commit(s, a, &(struct batch){ .me = s->me, .begins = begins, .begin_count = 2 });
	suite_ok(s, s->result == LOG_AGAIN && suite_read_one(s, begins[1].gid) == NULL,
	         "a fresh gid that exists fails its batch");
	begins[0].fresh = false;
	suite_commit(s, a, &(struct batch){ .me = s->me, .begins = begins, .begin_count = 2 });
	suite_ok(s, s->result == LOG_DONE && !s->begun[0] && s->begun[1], "and is found when it is not fresh any more");

	/* The end. */
	got = read_back(s, suite_gid(s, "b"));
	begins[0] = suite_row(s, suite_gid(s, "b"));
	struct change end = suite_change(&got, "{\"p\":\"end\"}");
	end.phase = PHASE_CONFIRMED;
	end.ended = true;
	suite_ok(s, suite_apply(s, a, s->me, end), "a transaction ends");
	got = read_back(s, begins[0].gid);
	suite_ok(s, uuid_is_nil(got.owner) && got.due_at == 0 && got.phase == PHASE_CONFIRMED,
	         "nobody owns an ended one, and it is not due");
	suite_ok(s, llabs(got.ended_at - s->given->now_ms(s->given->ctx)) < 5000, "it ended now");
	end.version = 2;
	suite_ok(s, !suite_apply(s, a, s->me, end), "and cannot be changed any more");
}

/* What most rows of a batch do not have, some have, or none. */
void suite_mixed(struct suite *s)
{
	struct row    rows[2] = { suite_row(s, suite_gid(s, "bare")), suite_row(s, suite_gid(s, "full")) }, got[2];
	struct change changes[2];
	struct batch  batch = { .me = s->me, .changes = changes, .change_count = 2 };

	rows[0].deadline_at = 0;
	rows[0].input = rows[0].labels = rows[0].traceparent = (struct str){ 0 };
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = rows, .begin_count = 2 });
	for (int i = 0; i < 2; i++)
		got[i] = read_back(s, rows[i].gid);
	suite_ok(s, same_row(&got[0], &rows[0]) && same_row(&got[1], &rows[1]), "a row that lacks what its neighbour has");
	struct row alone = rows[0];
	alone.gid = suite_gid(s, "alone");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &alone, .begin_count = 1 });
	got[0] = read_back(s, alone.gid);
	suite_ok(s, same_row(&got[0], &alone), "and one where all lack it");

	for (int i = 0; i < 2; i++)
		changes[i] = suite_change(&rows[i], "{}");
	changes[1].stuck = STUCK_ATTEMPTS;
	changes[1].paused = true;
	changes[1].document = s->given->grown;
	suite_commit(s, s->given->a, &batch);
	for (int i = 0; i < 2; i++)
		got[i] = read_back(s, rows[i].gid);
	suite_ok(s, s->changed[0] && s->changed[1] && got[0].stuck == STUCK_NONE && !got[0].paused &&
	            str_eq(got[0].document, s->given->document) && got[1].stuck == STUCK_ATTEMPTS && got[1].paused &&
	            str_eq(got[1].document, s->given->grown), "one of two changes says that it is stuck and paused");
	for (int i = 0; i < 2; i++)
		changes[i] = (struct change){ .gid = rows[i].gid, .epoch = 1, .version = 2, .phase = PHASE_TRYING, .progress = STR("{}") };
	suite_commit(s, s->given->a, &batch);
	got[1] = read_back(s, rows[1].gid);
	suite_ok(s, s->changed[1] && got[1].stuck == STUCK_NONE && !got[1].paused && uuid_eq(got[1].owner, s->me) &&
	            str_eq(got[1].document, s->given->grown), "that it is no more is said by nothing at all");
	for (int i = 0; i < 2; i++) {
		changes[i].version = 3;
		changes[i].stuck = i == 0 ? STUCK_OVERDUE : STUCK_NONE;
		changes[i].paused = i == 1;
		suite_ok(s, suite_apply(s, s->given->a, s->me, changes[i]), "a change that says one thing more");
		got[i] = read_back(s, rows[i].gid);
		suite_ok(s, got[i].stuck == changes[i].stuck && got[i].paused == changes[i].paused, "is stuck, or is paused");
	}
	suite_reload(s, s->me, &rows[1].gid, 1);
	for (int i = 0; i < 2; i++)
		changes[i] = (struct change){ .gid = rows[i].gid, .epoch = (uint64_t)i + 1, .version = (uint64_t)i + 4,
			                      .phase = PHASE_TRYING, .progress = STR("{}") };
	suite_commit(s, s->given->a, &batch);
	suite_ok(s, s->changed[0] && s->changed[1], "changes of two epochs in one batch");
}

/* Makes one thing of a begin another; false: there is nothing more. */
static bool vary(struct row *r, unsigned thing, struct str document)
{
	switch (thing) {
	case 0: return true;
	case 1: r->phase = PHASE_PREPARED; return true;
	case 2: r->definition = STR("another"); return true;
	case 3: r->definition_version++; return true;
	case 4: r->definition = (struct str){ 0 }, r->definition_version = 0; return true;
	case 5: r->retention_ms++; return true;
	case 6: r->format--; return true;
	case 7: r->progress = STR("{\"p\":2}"); return true;
	case 8: r->input = STR("2"); return true;
	case 9: r->input = (struct str){ 0 }; return true;
	case 10: r->hash[15] ^= 1; return true;
	case 11: r->created_at++; return true;
	case 12: r->deadline_at = r->created_at + 1; return true;
	case 13: r->document = document; return true;
	case 14: r->labels = STR("{\"a\":\"b\"}"); return true;
	case 15: r->traceparent = STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); return true;
	default: return false;
	}
}

/* Two fresh begins that differ in one thing or in none, and an ordinary one: what is the same may be sent once. */
void suite_alike(struct suite *s)
{
	bool more = true;

	for (unsigned thing = 0; more; thing++) {
		struct row rows[3];
		bool       same = true;

		for (unsigned i = 0; i < 3; i++) {
			rows[i] = suite_row(s, suite_text(s, "%.*s-%u", (int)suite_gid(s, "x").n, suite_gid(s, "x").p, thing * 3 + i));
			rows[i].deadline_at = 0;
			rows[i].definition = STR("some");
			rows[i].definition_version = 7;
			rows[i].document = rows[i].labels = rows[i].traceparent = (struct str){ 0 };
			rows[i].fresh = i < 2;
		}
		/* Either of them is the first. */
		more = vary(&rows[thing % 2], thing, s->given->document);
		suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = rows, .begin_count = thing % 3 == 0 ? 3 : 2 });
		for (unsigned i = 0; i < 2; i++) {
			struct row got = read_back(s, rows[i].gid);
			same = same && s->result == LOG_DONE && same_row(&got, &rows[i]);
		}
		suite_ok(s, same, "fresh begins that differ in thing %u are as they were given", thing);
	}
}

/* What a row carries, and reading it. */
void suite_rows(struct suite *s)
{
	struct str gid = suite_gid(s, "inline");
	struct row r = suite_row(s, gid), got;

	suite_begin(s, gid);
	got = read_back(s, gid);
	suite_ok(s, same_row(&got, &r), "every field comes back as it was given");
	suite_ok(s, s->def_seen, "with its document compiled");

	struct change c = suite_change(&r, "{\"p\":2}");
	c.document = s->given->grown;
	suite_ok(s, suite_apply(s, s->given->a, s->me, c), "steps can join");
	got = read_back(s, gid);
	suite_ok(s, str_eq(got.document, s->given->grown) && s->def_seen, "the new document is kept and compiled");
	c.version = 2;
	c.document = (struct str){ 0 };
	suite_apply(s, s->given->a, s->me, c);
	got = read_back(s, gid);
	suite_ok(s, str_eq(got.document, s->given->grown), "a change without one leaves it");

	if (s->given->name.n > 0) {
		struct row named = suite_row(s, suite_gid(s, "named"));

		named.document = (struct str){ 0 };
		named.definition = s->given->name;
		named.definition_version = s->given->version;
		named.labels = named.traceparent = (struct str){ 0 };
		named.deadline_at = 0;
		suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &named, .begin_count = 1 });
		got = read_back(s, named.gid);
		suite_ok(s, same_row(&got, &named), "empty fields come back empty");
		suite_ok(s, s->def_seen, "a definition is found by its name and version");
		named.gid = suite_gid(s, "unknown");
		named.definition_version = 999999;
		suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &named, .begin_count = 1 });
		got = read_back(s, named.gid);
		suite_ok(s, got.gid.n > 0 && !s->def_seen, "a row of an unknown version can be read, without a definition");
	}
	if (s->given->broken.n > 0) {
		struct row broken = suite_row(s, suite_gid(s, "broken"));

		broken.document = s->given->broken;
		suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &broken, .begin_count = 1 });
		got = read_back(s, broken.gid);
		suite_ok(s, got.gid.n > 0 && !s->def_seen, "a row whose document does not compile can be read");
	}

	struct str gids[3] = { gid, suite_gid(s, "nobody"), suite_gid(s, "second") };
	suite_begin(s, gids[2]);
	suite_read(s, gids, 3);
	suite_ok(s, s->result == LOG_DONE && s->n == 2, "reading gives those that are there");
	suite_ended(s, gids, 3);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "none of them has ended");
	struct row    second = suite_row(s, gids[2]);
	struct change end = suite_change(&second, "{}");
	end.phase = PHASE_CANCELLED;
	end.ended = true;
	suite_apply(s, s->given->a, s->me, end);
	suite_ended(s, gids, 3);
	suite_ok(s, s->n == 1 && str_eq(s->rows[0].gid, gids[2]) && s->rows[0].phase == PHASE_CANCELLED,
	         "then one has, and only that is given");
}

/* In one that nothing else is about, in one of a step that joined, and each beside a begin: these are written apart. */
void suite_ends(struct suite *s)
{
	static const char *const names[] = { "end-0", "end-1", "end-2", "end-3", "other-0", "other-1", "other-2", "other-3" };
	const int64_t at = s->given->now_ms(s->given->ctx) - 5000;

	for (int i = 0; i < 4; i++) {
		struct row    row = suite_row(s, suite_gid(s, names[i])), other = suite_row(s, suite_gid(s, names[4 + i]));
		struct change end = suite_change(&row, "{}");

		suite_begin(s, row.gid);
		end.phase = PHASE_CONFIRMED;
		end.ended = true;
		if (i % 2 != 0)
			end.document = s->given->grown;
		suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .at = at + i, .changes = &end, .change_count = 1,
		                                              .begins = &other, .begin_count = i < 2 ? 0 : 1 });
		suite_ok(s, s->result == LOG_DONE && read_back(s, row.gid).ended_at == at + i, "what ends has ended when the batch says, %d", i);
		if (i >= 2)
			suite_ok(s, read_back(s, other.gid).ended_at == 0, "what began beside it has not, %d", i);
	}
}

static bool begin_with(struct suite *s, const char *name, struct str input)
{
	struct row r = suite_row(s, suite_gid(s, name));

	r.input = input;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &r, .begin_count = 1 });
	if (s->result != LOG_DONE || !s->begun[0])
		return false;
	struct row got = read_back(s, r.gid);
	return str_eq(got.input, input);
}

/* Payloads come back byte by byte, or are refused as bad data, alone. */
void suite_payloads(struct suite *s)
{
	char *big = mem_alloc(1 << 20);

	memset(big, 'x', 1 << 20);
	suite_ok(s, begin_with(s, "empty", (struct str){ 0 }), "an empty input");
	suite_ok(s, begin_with(s, "odd", STR(" {\"a\" : 1.10,\n\t\"a\":'$1 \\\\x41 %s \" ; -- }")), "odd characters");
	suite_ok(s, begin_with(s, "unicode", STR("\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8d \xc2\x80 \xef\xbf\xbf\"")), "unicode");
	suite_ok(s, begin_with(s, "big", (struct str){ big, 1 << 20 }), "one megabyte");
	free(big);
	suite_ok(s, !begin_with(s, "nul", (struct str){ "a\0b", 3 }) && s->result == LOG_BAD_DATA,
	         "a NUL byte is bad data");
	suite_ok(s, !begin_with(s, "utf8", STR("\"\xff\xfe\"")) && s->result == LOG_BAD_DATA,
	         "what is no UTF-8 is bad data");
	suite_ok(s, !begin_with(s, "surrogate", STR("\"\xed\xa0\x80\"")) && s->result == LOG_BAD_DATA,
	         "a surrogate is bad data");

	/* The whole batch is refused; each half can be sent again. */
	struct str gid = suite_gid(s, "good");
	suite_begin(s, gid);
	struct row    r = suite_row(s, gid), begin = suite_row(s, suite_gid(s, "new"));
	struct change bad = suite_change(&r, "\"\xff\"");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &begin, .begin_count = 1,
	                                              .changes = &bad, .change_count = 1 });
	suite_ok(s, s->result == LOG_BAD_DATA, "a change that cannot be stored is bad data");
	suite_ok(s, suite_read_one(s, begin.gid) == NULL, "nothing else in its batch was done");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &begin, .begin_count = 1 });
	suite_ok(s, s->result == LOG_DONE && s->begun[0], "and the log goes on");

	char       gid129[129];
	memset(gid129, '~', sizeof gid129);
	struct str longest = { gid129, 128 };
	memcpy(gid129, s->given->prefix.p, s->given->prefix.n);
	snprintf(gid129 + s->given->prefix.n, 40, "%016llx\"'\\%%", (unsigned long long)s->given->random(s->given->ctx));
	gid129[strlen(gid129)] = '~';
	suite_ok(s, suite_begin(s, longest) && suite_read_one(s, longest) != NULL, "a gid of 128 odd characters");

	struct entry e = { .gid = gid, .at = 1790000000000, .what = STR("attempt"), .step = STR("pay"),
		           .op = STR("try"), .outcome = STR("unknown"), .attempt = 3, .status = 503,
		           .detail = STR("upstream says \xe2\x80\x9cno\xe2\x80\x9d"), .replica = s->me };
	struct change good = suite_change(&r, "{\"p\":2}");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .changes = &good, .change_count = 1,
	                                              .entries = &e, .entry_count = 1 });
	suite_ok(s, s->result == LOG_DONE && s->changed[0], "a line for the journal goes with a change");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .entries = &e, .entry_count = 1 });
	suite_ok(s, s->result == LOG_DONE, "or alone");
}

/* mine and reload. */
void suite_pages(struct suite *s)
{
	/* Bytewise order, unlike most languages': digits, capitals, _, small letters, ~. */
	static const char *const names[] = { "-1", "10", "9", "A", "Z", "_", "a", "b", "~" };
	enum { N = sizeof names / sizeof names[0] };
	struct str gids[N], all[N + 1];

	for (size_t i = 0; i < N; i++) {
		gids[i] = suite_gid(s, names[(i * 5) % N]);
		suite_begin(s, gids[i]);
	}
	struct str after = { 0 };
	size_t     seen = 0;
	bool       in_order = true, short_pages = true;
	for (unsigned page = 0; page < 10; page++) {
		suite_mine(s, s->me, after, 2);
		short_pages &= s->n <= 2;
		for (size_t i = 0; i < s->n && seen < N; i++) {
			in_order &= str_eq(s->rows[i].gid, suite_gid(s, names[seen])) && s->rows[i].epoch == 1 &&
			            s->rows[i].version == 1;
			after = s->rows[i].gid;
			seen++;
		}
		if (s->n == 0)
			break;
	}
	suite_ok(s, seen == N && in_order, "pages of mine are in bytewise order, each row once");
	suite_ok(s, short_pages, "and no longer than asked");
	suite_mine(s, s->you, (struct str){ 0 }, 100);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "nothing is the other's");

	memcpy(all, gids, sizeof gids);
	all[N] = suite_gid(s, "nobody");
	suite_reload(s, s->me, all, N + 1);
	bool grown = s->n == N;
	for (size_t i = 0; i < s->n; i++)
		grown &= s->rows[i].epoch == 2 && s->rows[i].version == 2 && uuid_eq(s->rows[i].owner, s->me) &&
		         str_is(s->rows[i].progress, "{\"p\":1}");
	suite_ok(s, grown && s->def_seen, "a reload gives them whole, epoch and version grown");
	struct row    r = suite_row(s, gids[0]);
	struct change old = suite_change(&r, "{}");
	suite_ok(s, !suite_apply(s, s->given->a, s->me, old), "a change from before the reload misses");
	old.epoch = old.version = 2;
	suite_ok(s, suite_apply(s, s->given->a, s->me, old), "one from after it applies");
	suite_reload(s, s->you, all, N + 1);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "a reload gives nothing of another's");
	struct row got = read_back(s, gids[1]);
	suite_ok(s, got.epoch == 2 && got.version == 2, "and does not touch it");
}

static bool park(struct suite *s, struct str gid, int64_t due_at)
{
	struct row    r = suite_row(s, gid);
	struct change c = suite_change(&r, "{\"p\":\"parked\"}");

	suite_begin(s, gid);
	c.release = true;
	c.due_at = due_at;
	return suite_apply(s, s->given->a, s->me, c);
}

/* take_due may find rows of others, too: those are counted out. */
static const struct row *taken(struct suite *s, struct str gid)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->rows[i].gid, gid))
			return &s->rows[i];
	return NULL;
}

static bool looks(struct suite *s, bool due, bool commands)
{
	suite_look(s, s->given->b);
	return s->result == LOG_DONE && s->look.due == due && s->look.commands == commands;
}

/* The first of all, so that nobody else has left anything. */
void suite_looks(struct suite *s)
{
	int64_t        now = s->given->now_ms(s->given->ctx);
	struct str     past = suite_gid(s, "past"), mine = suite_gid(s, "mine");
	struct settled done = { suite_id(s), VERDICT_DECIDED };

	if (s->given->used)
		return;
	suite_ok(s, looks(s, false, false), "a look finds nothing when there is nothing");
	suite_begin(s, mine);
	park(s, suite_gid(s, "far"), now + 3600000);
	park(s, suite_gid(s, "never"), AT_NEVER);
	suite_ok(s, looks(s, false, false), "nor what is owned, or parked and not due");
	park(s, past, now - 1000);
	suite_ok(s, looks(s, true, false), "what is due is seen");
	suite_take_due(s, s->me, 100);
	suite_ok(s, looks(s, false, false), "until it is taken");
	suite_inbox_put(s, done.id, mine, "{}");
	suite_ok(s, looks(s, false, true), "a command is seen, also by who may not read it");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .settled = &done, .settled_count = 1 });
	suite_ok(s, looks(s, false, false), "until it has its verdict");
}

void suite_parking(struct suite *s)
{
	int64_t           now = s->given->now_ms(s->given->ctx);
	struct str        past = suite_gid(s, "past"), far = suite_gid(s, "far"), never = suite_gid(s, "never");
	struct str        soon = suite_gid(s, "soon");
	const struct row *r;

	suite_ok(s, park(s, past, now - 1000) && park(s, far, now + 3600000) && park(s, never, AT_NEVER),
	         "rows are released");
	struct row got = read_back(s, far);
	suite_ok(s, uuid_is_nil(got.owner) && got.due_at == now + 3600000 && got.version == 2 && got.epoch == 1,
	         "a released row is nobody's, and due when it said");
	got = read_back(s, never);
	suite_ok(s, got.due_at == AT_NEVER, "or never");
	suite_mine(s, s->me, (struct str){ 0 }, 100);
	suite_ok(s, s->n == 0, "it is not mine any more");
	struct change old = suite_change(&got, "{}");
	old.epoch = 1;
	suite_ok(s, !suite_apply(s, s->given->a, s->me, old), "nor can I change it");

	suite_take_due(s, s->you, 100);
	r = taken(s, past);
	suite_ok(s, r != NULL && uuid_eq(r->owner, s->you) && r->due_at == 0 && r->epoch == 2 && r->version == 3 &&
	                 r->adoptions == 0 && str_is(r->progress, "{\"p\":\"parked\"}") && s->def_seen,
	         "what is due is taken, whole, epoch and version grown");
	suite_ok(s, taken(s, far) == NULL && taken(s, never) == NULL, "what is not due is not");
	suite_take_due(s, s->me, 100);
	suite_ok(s, s->result == LOG_DONE && taken(s, past) == NULL, "it is taken once");
	park(s, soon, s->given->now_ms(s->given->ctx) + 300);
	suite_take_due(s, s->me, 100);
	suite_ok(s, taken(s, soon) == NULL, "not yet due");
	s->given->sleep(s->given->ctx, 600);
	suite_take_due(s, s->me, 100);
	suite_ok(s, taken(s, soon) != NULL, "and then due");

	char name[24];
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "n%d", i);
		park(s, suite_gid(s, name), now - 1000);
	}
	size_t total = 0, most = 0;
	for (int i = 0; i < 6; i++) {
		suite_take_due(s, s->me, 2);
		most = s->n > most ? s->n : most;
		total += s->n;
	}
	suite_ok(s, most == 2 && total == 5, "in batches no bigger than asked, and none is left");

	suite_claim(s, s->given->b, s->you, never);
	suite_ok(s, s->n == 1 && uuid_eq(s->rows[0].owner, s->you) && s->rows[0].due_at == 0 &&
	                 s->rows[0].epoch == 2 && s->rows[0].version == 3 && s->def_seen,
	         "a parked row can be claimed, due or not");
	suite_claim(s, s->given->a, s->me, never);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "once");
	suite_claim(s, s->given->a, s->me, suite_gid(s, "nobody"));
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "a row that is not there cannot");
	struct str    ended = suite_gid(s, "ended");
	suite_begin(s, ended);
	struct row    e = suite_row(s, ended);
	struct change end = suite_change(&e, "{}");
	end.phase = PHASE_ABANDONED;
	end.ended = true;
	suite_apply(s, s->given->a, s->me, end);
	suite_claim(s, s->given->a, s->me, ended);
	suite_ok(s, s->n == 0, "nor can one that has ended");
}

static void kill_me(struct suite *s)
{
	suite_fence(s, s->you, s->me, s->my_key);
	suite_ok(s, s->result == LOG_DONE, "the first replica is fenced");
}

void suite_adoption(struct suite *s)
{
	enum { N = 10 };
	struct str  gids[N];
	bool        by_me[N] = { false }, by_you[N] = { false };
	struct uuid third = suite_id(s);
	struct str  mine_after = { 0 }, your_after = { 0 };
	bool        right = true;
	char        name[24];

	suite_enroll(s, s->given->a, third, 7);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "g%d", i);
		gids[i] = suite_gid(s, name);
		suite_begin(s, gids[i]);
	}
	kill_me(s);
	for (int turn = 0; turn < 2 * N; turn++) {
		bool        third_s = turn % 2 == 0;
		struct str *after = third_s ? &mine_after : &your_after;

		suite_adopt(s, third_s ? s->given->a : s->given->b, third_s ? third : s->you, s->me, *after, 2, DANGER_NONE);
		right &= s->n <= 2;
		for (size_t i = 0; i < s->n; i++) {
			for (int k = 0; k < N; k++)
				if (str_eq(s->rows[i].gid, gids[k]))
					(third_s ? by_me : by_you)[k] = true;
			right &= s->rows[i].epoch == 2 && s->rows[i].version == 2 && s->rows[i].adoptions == 1 &&
			         uuid_eq(s->rows[i].owner, third_s ? third : s->you);
			if (str_cmp(s->rows[i].gid, *after) > 0)
				*after = s->rows[i].gid;
		}
	}
	bool disjoint = true, all = true, both = false, two = false;
	for (int k = 0; k < N; k++) {
		disjoint &= !(by_me[k] && by_you[k]);
		all &= by_me[k] || by_you[k];
		both |= by_me[k];
		two |= by_you[k];
	}
	suite_ok(s, disjoint && all, "every row is adopted by exactly one");
	suite_ok(s, both && two, "and both get some");
	suite_ok(s, right, "epoch, version and adoptions grow by one");
	struct row    old = suite_row(s, gids[0]);
	suite_ok(s, !suite_apply(s, s->given->a, s->me, suite_change(&old, "{}")), "the dead one's changes miss");

	/* Twice adopted without progress: among few from now on. Four times: alone. */
	suite_fence(s, s->you, third, 7);
	suite_adopt(s, s->given->b, s->you, third, (struct str){ 0 }, 100, DANGER_SOME);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "once adopted, a row is ordinary");
	struct uuid later[4];
	for (size_t i = 0; i < 4; i++) {
		later[i] = suite_id(s);
		suite_enroll(s, s->given->a, later[i], 8 + (int64_t)i);
	}
	suite_adopt(s, s->given->a, later[0], third, (struct str){ 0 }, 100, DANGER_NONE);
	size_t n = s->n;
	suite_ok(s, n > 2 && s->rows[0].adoptions == 2, "adopted again");
	struct row    first = s->rows[0];
	suite_ok(s, suite_apply(s, s->given->a, later[0], suite_change(&first, "{\"p\":\"on\"}")), "one makes progress");
	struct row got = read_back(s, first.gid);
	suite_ok(s, got.adoptions == 0, "which forgets its adoptions");
	suite_fence(s, s->you, later[0], 8);
	suite_adopt(s, s->given->a, later[1], later[0], (struct str){ 0 }, 100, DANGER_NONE);
	suite_ok(s, s->n == 1 && str_eq(s->rows[0].gid, first.gid), "only that one is ordinary now");
	suite_adopt(s, s->given->a, later[1], later[0], (struct str){ 0 }, 100, DANGER_HIGH);
	suite_ok(s, s->n == 0, "none of the others is in high danger");
	suite_adopt(s, s->given->a, later[1], later[0], (struct str){ 0 }, 2, DANGER_SOME);
	suite_ok(s, s->n == 2 && s->rows[0].adoptions == 3, "the others are adopted a few at a time");
	suite_adopt(s, s->given->a, later[1], later[0], (struct str){ 0 }, 100, DANGER_SOME);
	suite_ok(s, s->n == n - 3, "until there are none");
	suite_fence(s, s->you, later[1], 9);
	suite_adopt(s, s->given->a, later[2], later[1], (struct str){ 0 }, 100, DANGER_SOME);
	suite_ok(s, s->n == n - 1 && s->rows[0].adoptions == 4, "and once more");
	suite_fence(s, s->you, later[2], 10);
	size_t alone = 0;
	bool   single = true;
	for (size_t i = 0; i < n + 1; i++) {
		suite_adopt(s, s->given->a, later[3], later[2], (struct str){ 0 }, 100, DANGER_HIGH);
		single &= s->n <= 1 && (s->n == 0 || s->rows[0].adoptions == 5);
		alone += s->n;
	}
	suite_ok(s, single && alone == n - 1, "then one at a time");
}
