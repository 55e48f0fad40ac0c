/* SPDX-License-Identifier: Apache-2.0
 * fake_wait.c - who waits for whom: a commit that has arrived and not landed holds its rows.
 */
#include "tests/lib/fake_log_internal.h"

static bool names(const struct batch *b, struct str gid)
{
	for (size_t i = 0; i < b->begin_count; i++)
		if (str_eq(b->begins[i].gid, gid))
			return true;
	for (size_t i = 0; i < b->change_count; i++)
		if (str_eq(b->changes[i].gid, gid))
			return true;
	return false;
}

/* By a commit that has arrived and not landed. */
bool fake_db_is_locked(const struct fake_op *op, struct str gid)
{
	list_each(it, after, &op->db->ops) {
		const struct fake_op *other = list_entry(it, struct fake_op, server_link);

		if (other != op && other->stage == STAGE_LANDING && names(&other->batch, gid))
			return true;
	}
	return false;
}

static bool commit_must_wait(const struct fake_op *op)
{
	const struct batch *b = &op->batch;

	for (size_t i = 0; i < b->begin_count; i++)
		if (fake_db_is_locked(op, b->begins[i].gid))
			return true;
	for (size_t i = 0; i < b->change_count; i++)
		if (fake_db_is_locked(op, b->changes[i].gid))
			return true;
	return false;
}

/* A begin under way holds its replica's row in share mode: a fence waits for it. */
static bool member_is_shared(const struct fake_op *op, struct uuid id)
{
	list_each(it, after, &op->db->ops) {
		const struct fake_op *other = list_entry(it, struct fake_op, server_link);

		if (other != op && other->stage == STAGE_LANDING && other->batch.begin_count > 0 &&
		    uuid_eq(other->batch.me, id))
			return true;
	}
	return false;
}

bool fake_db_must_wait(const struct fake_op *op)
{
	switch (op->verb) {
	case FAKE_COMMIT: return commit_must_wait(op);
	case FAKE_RELOAD:
	case FAKE_CLAIM:
		/* An insert that has not landed is invisible: nothing to wait for. */
		for (size_t i = 0; i < op->n; i++)
			if (fake_db_row(op->db, op->gids[i]) != NULL && fake_db_is_locked(op, op->gids[i]))
				return true;
		return false;
	case FAKE_RESTORE:
		for (size_t i = 0; i < op->n; i++)
			if (fake_db_is_locked(op, op->known[i].gid))
				return true;
		return false;
	case FAKE_FENCE: return member_is_shared(op, op->other);
	case FAKE_RETIRE: return member_is_shared(op, op->me);
	case FAKE_MINE:
	case FAKE_ADOPT:
	case FAKE_LOOK:
	case FAKE_TAKE_DUE:
	case FAKE_READ:
	case FAKE_ENDED:
	case FAKE_INBOX_PUT:
	case FAKE_INBOX_READ:
	case FAKE_INBOX_VERDICTS:
	case FAKE_INBOX_FORGET:
	case FAKE_ENROLL:
	case FAKE_STILL_LIVE:
	case FAKE_REPORT:
	case FAKE_MEMBERS:
	case FAKE_SWEEP: return false;
	}
	return false;
}
