/* SPDX-License-Identifier: Apache-2.0
 * log_suite_restore.c - what a replica knows comes back after a failover, only forward and only in time.
 */
#include "tests/conformance/log_suite_internal.h"

#include <string.h>

static bool is_restored(struct suite *s, const struct row *known)
{
	suite_restore(s, s->me, known, 1);
	return s->result == LOG_DONE && s->n == 1 && str_eq(s->rows[0].gid, known->gid);
}

static bool is_ignored(struct suite *s, const struct row *known)
{
	suite_restore(s, s->me, known, 1);
	return s->result == LOG_DONE && s->n == 0;
}

static void missing(struct suite *s)
{
	struct row        known = suite_row(s, suite_gid(s, "missing"));
	const struct row *r;

	known.epoch = 3;
	known.version = 7;
	known.phase = PHASE_CONFIRMING;
	known.progress = STR("{\"p\":7}");
	suite_ok(s, is_restored(s, &known), "a row that is missing comes back");
	r = suite_read_one(s, known.gid);
	suite_ok(s, r != NULL && r->epoch == 3 && r->version == 7 && r->phase == PHASE_CONFIRMING &&
	                 uuid_eq(r->owner, s->me) && str_eq(r->progress, known.progress) &&
	                 str_eq(r->input, known.input) && str_eq(r->labels, known.labels) &&
	                 r->created_at == known.created_at && r->deadline_at == known.deadline_at &&
	                 r->retention_ms == known.retention_ms && memcmp(r->hash, known.hash, sizeof r->hash) == 0,
	         "exactly as it was");
	suite_ok(s, is_ignored(s, &known), "once more changes nothing");
	struct change c = suite_change(&known, "{\"p\":8}");
	suite_ok(s, suite_apply(s, s->given->a, s->me, c), "and its owner goes on where it was");
	suite_ok(s, is_ignored(s, &known), "the older state does not come back then");
}

static void older(struct suite *s)
{
	struct row        known = suite_row(s, suite_gid(s, "older"));
	const struct row *r;

	suite_begin(s, known.gid);
	known.version = 4;
	known.progress = STR("{\"p\":4}");
	known.stuck = STUCK_OVERDUE;
	suite_ok(s, is_restored(s, &known), "a row that is older is brought forward");
	known.owner = (struct uuid){ 0 };
	known.version = 5;
	known.due_at = AT_NEVER;
	suite_ok(s, is_restored(s, &known), "as parked, if it was");
	r = suite_read_one(s, known.gid);
	suite_ok(s, r != NULL && uuid_is_nil(r->owner) && r->due_at == AT_NEVER && r->version == 5 &&
	                 r->stuck == STUCK_OVERDUE, "for a person to move");
	known.version = 9;
	known.due_at = 0;
	known.stuck = STUCK_NONE;
	known.phase = PHASE_CANCELLED;
	known.ended_at = 1790000003000;
	suite_ok(s, is_restored(s, &known), "or as ended");
	r = suite_read_one(s, known.gid);
	suite_ok(s, r != NULL && r->phase == PHASE_CANCELLED && r->ended_at == 1790000003000 &&
	                 uuid_is_nil(r->owner) && r->due_at == 0, "at its time");
	known.version = 10;
	known.phase = PHASE_CONFIRMED;
	suite_ok(s, is_ignored(s, &known), "no decision is turned round");
}

/* Two replicas knew it, one of them longer. */
static void two(struct suite *s)
{
	struct row first = suite_row(s, suite_gid(s, "two")), second = first;

	first.version = 5;
	first.owner = (struct uuid){ 0 };
	first.due_at = 1790000005000;
	second.owner = s->you;
	second.epoch = 2;
	second.version = 6;
	suite_restore_at(s, s->given->b, s->you, &second, 1);
	suite_ok(s, s->n == 1, "who knew it last restores it");
	suite_ok(s, is_ignored(s, &first), "and who knew it before does not take it back");
	suite_ok(s, uuid_eq(suite_read_one(s, first.gid)->owner, s->you), "so it has the last owner");
}

static void late(struct suite *s)
{
	struct row known = suite_row(s, suite_gid(s, "late"));

	suite_begin(s, known.gid);
	suite_reload(s, s->me, &known.gid, 1);
	suite_ok(s, s->n == 1 && s->rows[0].epoch > 1000000, "taken since, it has an epoch above all that were before");
	known.epoch = 9;
	known.version = 9;
	suite_ok(s, is_ignored(s, &known), "and is not turned back");
}

static void many(struct suite *s)
{
	struct row rows[50];

	for (int i = 0; i < 50; i++) {
		char n[8] = { 'm', (char)('0' + i / 10), (char)('0' + i % 10), '\0' };

		rows[i] = suite_row(s, suite_gid(s, n));
		rows[i].version = 2;
		if (i % 2 == 0)
			suite_begin(s, rows[i].gid);
	}
	suite_restore(s, s->me, rows, 50);
	suite_ok(s, s->result == LOG_DONE && s->n == 50, "many at once");
}

void suite_restoring(struct suite *s)
{
	struct row known = suite_row(s, suite_gid(s, "before"));

	known.version = 3;
	suite_ok(s, is_ignored(s, &known), "without a failover nothing is restored");
	s->given->failover(s->given->ctx, true);
	missing(s);
	older(s);
	two(s);
	late(s);
	many(s);
	suite_fence(s, s->you, s->me, s->my_key);
	suite_restore(s, s->me, &known, 1);
	suite_ok(s, s->result == LOG_FENCED && s->n == 0, "who was fenced restores nothing");
	s->given->failover(s->given->ctx, false);
}
