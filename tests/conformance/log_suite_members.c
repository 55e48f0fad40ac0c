/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/log_suite_internal.h"

#include <stdlib.h>

static const struct inbox_row *in_inbox(const struct suite *s, struct uuid id)
{
	for (size_t i = 0; i < s->n; i++)
		if (uuid_eq(s->inbox[i].id, id))
			return &s->inbox[i];
	return NULL;
}

static void settle(struct suite *s, const struct settled *done)
{
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .settled = done, .settled_count = 1 });
}

void suite_inbox(struct suite *s)
{
	struct str              gid = suite_gid(s, "mine"), parked = suite_gid(s, "parked");
	struct uuid             id = suite_id(s), second = suite_id(s), third = suite_id(s);
	const struct log_port  *a = s->given->a, *b = s->given->b;
	const struct inbox_row *in;

	suite_begin(s, gid);
	suite_begin(s, parked);
	struct row    p = suite_row(s, parked);
	struct change release = suite_change(&p, "{}");
	release.release = true;
	release.due_at = AT_NEVER;
	suite_apply(s, a, s->me, release);

	suite_inbox_put(s, id, gid, "{\"reason\":\"\xc3\xa9\"}");
	suite_ok(s, s->result == LOG_DONE, "a command is put");
	suite_inbox_put(s, id, gid, "{\"reason\":\"\xc3\xa9\"}");
	suite_ok(s, s->result == LOG_DONE, "the same again is no error");
	suite_inbox_read(s, a, s->me, 100);
	in = in_inbox(s, id);
	suite_ok(s, in != NULL && str_eq(in->gid, gid) && str_is(in->command, "cancel") &&
	                 str_is(in->body, "{\"reason\":\"\xc3\xa9\"}"),
	         "its owner reads it as it was put");
	size_t times = 0;
	for (size_t i = 0; i < s->n; i++)
		times += uuid_eq(s->inbox[i].id, id);
	suite_ok(s, times == 1, "once");
	suite_inbox_read(s, b, s->you, 100);
	suite_ok(s, in_inbox(s, id) == NULL, "another replica does not");
	suite_inbox_put(s, second, parked, "{}");
	suite_inbox_read(s, b, s->you, 100);
	suite_ok(s, in_inbox(s, second) != NULL, "anybody reads one for a parked transaction");
	suite_inbox_verdicts(s, &id, 1);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "there is no verdict yet");

	struct row     r = suite_row(s, gid);
	struct change  c = suite_change(&r, "{\"p\":2}");
	struct settled done = { id, VERDICT_ACCEPTED };
	suite_commit(s, a, &(struct batch){ .me = s->me, .changes = &c, .change_count = 1,
	                                    .settled = &done, .settled_count = 1 });
	suite_ok(s, s->result == LOG_DONE && s->changed[0], "it is applied together with its change");
	suite_inbox_read(s, a, s->me, 100);
	suite_ok(s, in_inbox(s, id) == NULL, "then it is not read again");
	struct uuid ids[3] = { id, second, suite_id(s) };
	suite_inbox_verdicts(s, ids, 3);
	suite_ok(s, s->n == 1 && uuid_eq(s->verdicts[0].id, id) && s->verdicts[0].verdict == VERDICT_ACCEPTED,
	         "and its verdict can be read");
	suite_inbox_put(s, id, gid, "{}");
	suite_inbox_read(s, a, s->me, 100);
	suite_ok(s, in_inbox(s, id) == NULL, "put once more it stays applied");
	done.verdict = VERDICT_DECIDED;
	settle(s, &done);
	suite_inbox_verdicts(s, ids, 3);
	suite_ok(s, s->n == 1 && s->verdicts[0].verdict == VERDICT_ACCEPTED, "the first verdict stands");

	suite_inbox_put(s, third, gid, "{}");
	settle(s, &(struct settled){ third, VERDICT_ALREADY });
	suite_inbox_verdicts(s, &third, 1);
	suite_ok(s, s->n == 1 && s->verdicts[0].verdict == VERDICT_ALREADY, "one that changes nothing is settled too");
	suite_inbox_forget(s, ids, 1);
	suite_ok(s, s->result == LOG_DONE, "a verdict that was read is forgotten");
	suite_inbox_verdicts(s, ids, 1);
	suite_ok(s, s->result == LOG_DONE && s->n == 0, "and gone");
	for (int i = 0; i < 3; i++)
		suite_inbox_put(s, suite_id(s), gid, "{}");
	suite_inbox_read(s, a, s->me, 2);
	suite_ok(s, s->n == 2, "no more are read than asked");
}

/* What a newer version has written is for those who read it. */
void suite_inbox_newer(struct suite *s)
{
	struct str  gid = suite_gid(s, "newer"), older = suite_gid(s, "older"), none = suite_gid(s, "none");
	struct uuid id = suite_id(s), second = suite_id(s), third = suite_id(s);
	struct row  r = suite_row(s, gid);

	r.format = ROW_FORMAT + 1;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &r, .begin_count = 1 });
	suite_ok(s, s->result == LOG_DONE && s->begun[0] && suite_begin(s, older), "a row of a newer format, and one of ours");
	suite_inbox_put(s, id, gid, "{}");
	suite_inbox_put(s, second, older, "{}");
	suite_inbox_put(s, third, none, "{}");
	suite_inbox_read(s, s->given->a, s->me, 1000);
	suite_ok(s, in_inbox(s, id) == NULL, "its command is not for a version that cannot read it");
	suite_ok(s, in_inbox(s, second) != NULL && in_inbox(s, third) != NULL,
	         "the other's is, and that of one that is not there");
}

/* A change that does not apply takes its command's verdict with it. */
void suite_inbox_misses(struct suite *s)
{
	struct str  gid = suite_gid(s, "lost"), other = suite_gid(s, "kept");
	struct uuid id = suite_id(s), second = suite_id(s);

	suite_begin(s, gid);
	suite_begin(s, other);
	suite_inbox_put(s, id, gid, "{}");
	suite_inbox_put(s, second, other, "{}");
	struct row     r = suite_row(s, gid), k = suite_row(s, other);
	struct change  changes[2] = { suite_change(&r, "{}"), suite_change(&k, "{}") };
	struct settled both[2] = { { id, VERDICT_ACCEPTED }, { second, VERDICT_ACCEPTED } };
	changes[0].version = 7;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .changes = changes, .change_count = 2,
	                                              .settled = both, .settled_count = 2 });
	suite_ok(s, s->result == LOG_DONE && !s->changed[0] && s->changed[1], "of two changes one misses");
	suite_inbox_read(s, s->given->a, s->me, 100);
	suite_ok(s, in_inbox(s, id) != NULL, "its command waits on");
	suite_ok(s, in_inbox(s, second) == NULL, "the other's is settled");
	struct uuid ids[2] = { id, second };
	suite_inbox_verdicts(s, ids, 2);
	suite_ok(s, s->n == 1 && uuid_eq(s->verdicts[0].id, second), "and only that has a verdict");

	struct change bad = suite_change(&r, "\"\xff\"");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .changes = &bad, .change_count = 1,
	                                              .settled = both, .settled_count = 1 });
	suite_inbox_verdicts(s, ids, 1);
	suite_ok(s, s->n == 0, "a refused batch settles nothing");
}

void suite_members(struct suite *s)
{
	const struct member *m = suite_member(s, s->me);

	suite_ok(s, m != NULL && m->state == MEMBER_LIVE && m->lock_key == s->my_key && m->weight == 100 &&
	                 str_is(m->address, "http://127.0.0.1:1") && !m->owns && uuid_is_nil(m->fenced_by),
	         "an enrolled replica is live, as it said");
	suite_ok(s, m != NULL && llabs(m->started_at - s->given->now_ms(s->given->ctx)) < 5000, "it started now");
	suite_enroll(s, s->given->a, s->me, s->my_key);
	suite_ok(s, s->result == LOG_DONE, "enrolling again is no error");
	suite_still_live(s, s->me);
	suite_ok(s, s->result == LOG_DONE, "asked, its row says live");
	suite_still_live(s, suite_id(s));
	suite_ok(s, s->result == LOG_FENCED, "who has no row is not live, and asking makes none");
	suite_begin(s, suite_gid(s, "one"));
	suite_report(s, s->me, 1234.5, 0.75);
	suite_ok(s, s->result == LOG_DONE, "it reports");
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL && m->owns && m->rows == 0, "who has unfinished rows, owns; nobody counts while it lives");
	suite_ok(s, m != NULL && m->speed > 1234 && m->speed < 1235 && m->load > 0.74 && m->load < 0.76 &&
	                 llabs(m->seen_at - s->given->now_ms(s->given->ctx)) < 5000,
	         "speed, load and when it was seen are kept");
	m = suite_member(s, s->you);
	suite_ok(s, m != NULL && !m->owns, "the other owns nothing");
}

void suite_fencing(struct suite *s)
{
	const struct member *m;
	struct str           gid = suite_gid(s, "one");

	suite_begin(s, gid);
	s->given->lock(s->given->ctx, s->my_key, true);
	suite_fence(s, s->you, s->me, s->my_key);
	suite_ok(s, s->result == LOG_AGAIN, "who holds its lock is not fenced");
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL && m->state == MEMBER_LIVE, "and lives");
	s->given->lock(s->given->ctx, s->my_key, false);
	suite_fence(s, s->you, s->me, s->my_key);
	suite_ok(s, s->result == LOG_DONE, "without its lock it is fenced");
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL && m->state == MEMBER_FENCED && uuid_eq(m->fenced_by, s->you) && m->owns && m->rows == 1,
	         "the row says so, and by whom; its transactions are still its own");
	suite_fence(s, s->you, s->me, s->my_key);
	suite_ok(s, s->result == LOG_DONE, "fencing twice is no error");
	suite_enroll(s, s->given->a, s->me, s->my_key);
	suite_ok(s, s->result == LOG_FENCED, "it cannot enrol again");
	suite_still_live(s, s->me);
	suite_ok(s, s->result == LOG_FENCED, "and is told so when it asks");
	suite_ok(s, !suite_begin(s, suite_gid(s, "two")) && s->result == LOG_FENCED, "nor begin anything");
	suite_ok(s, suite_read_one(s, suite_gid(s, "two")) == NULL, "nothing was inserted");

	/* Begins and changes in one batch stand or fall together. */
	struct row    r = suite_row(s, gid), begin = suite_row(s, suite_gid(s, "three"));
	struct change c = suite_change(&r, "{\"p\":2}");
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &begin, .begin_count = 1,
	                                              .changes = &c, .change_count = 1 });
	suite_ok(s, s->result == LOG_FENCED, "a batch with a begin of a fenced one is refused");
	const struct row *got = suite_read_one(s, gid);
	suite_ok(s, got != NULL && got->version == 1, "whole");

	struct uuid stranger = suite_id(s);
	struct row  s_row = suite_row(s, suite_gid(s, "four"));
	s_row.owner = stranger;
	suite_commit(s, s->given->a, &(struct batch){ .me = stranger, .begins = &s_row, .begin_count = 1 });
	suite_ok(s, s->result == LOG_FENCED, "who never enrolled cannot begin");
}

void suite_retirement(struct suite *s)
{
	const struct member *m;

	suite_retire(s, s->me);
	suite_ok(s, s->result == LOG_DONE, "a replica that owns nothing retires");
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL && m->state == MEMBER_DRAINED, "and is drained");
	suite_retire(s, s->me);
	suite_ok(s, s->result == LOG_DONE, "twice is no error");
	suite_enroll(s, s->given->a, s->me, s->my_key);
	suite_ok(s, s->result == LOG_FENCED, "it cannot enrol again");
	suite_ok(s, !suite_begin(s, suite_gid(s, "one")) && s->result == LOG_FENCED, "nor begin anything");
	suite_fence(s, s->you, s->me, s->my_key);
	suite_ok(s, s->result == LOG_DONE, "fencing it is no error");
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL && m->state == MEMBER_DRAINED, "and it stays drained");
}

void suite_sweeping(struct suite *s)
{
	struct str           kept = suite_gid(s, "kept"), old = suite_gid(s, "old"), running = suite_gid(s, "running");
	const struct member *m;

	suite_begin(s, kept);
	struct row k = suite_row(s, kept), o = suite_row(s, old);
	o.retention_ms = 0;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &o, .begin_count = 1 });
	struct row still = suite_row(s, running);
	still.retention_ms = 0;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &still, .begin_count = 1 });
	struct change ends[2] = { suite_change(&k, "{}"), suite_change(&o, "{}") };
	ends[0].phase = ends[1].phase = PHASE_CONFIRMED;
	ends[0].ended = ends[1].ended = true;
	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .changes = ends, .change_count = 2 });
	s->given->sleep(s->given->ctx, 50);
	suite_sweep(s);
	suite_ok(s, s->result == LOG_DONE, "it sweeps");
	suite_ok(s, suite_read_one(s, old) == NULL, "an ended row past its retention is gone");
	suite_ok(s, suite_read_one(s, kept) != NULL, "one within it is kept");
	suite_ok(s, suite_read_one(s, running) != NULL, "one that has not ended is kept");

	suite_fence(s, s->you, s->me, s->my_key);
	suite_sweep(s);
	m = suite_member(s, s->me);
	suite_ok(s, m != NULL, "a dead replica that rows name is kept");
	suite_adopt(s, s->given->b, s->you, s->me, (struct str){ 0 }, 100, DANGER_NONE);
	suite_ok(s, s->n == 1, "its row is adopted");
	suite_sweep(s);
	m = suite_member(s, s->me);
	suite_ok(s, m == NULL, "then it is gone");
	m = suite_member(s, s->you);
	suite_ok(s, m != NULL, "a live one stays");
}
