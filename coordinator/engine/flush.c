/* SPDX-License-Identifier: Apache-2.0
 * flush.c - when what is wanted is sent, and who is told when no answer comes.
 */
#include "coordinator/engine/engine_internal.h"

bool commit_is_under_way(const struct engine *e)
{
	for (size_t i = 0; i < BATCHES_MAX; i++)
		if (e->batches[i].busy)
			return true;
	return false;
}

bool commit_is_owed(const struct engine *e)
{
#ifdef BUG_OWES_FOR_ONE
	return e->batches[0].busy && e->batches[0].life != e->life;
#endif
	for (size_t i = 0; i < BATCHES_MAX; i++)
		if (e->batches[i].busy && e->batches[i].life != e->life)
			return true;
	return false;
}

/* ---- sending ------------------------------------------------------------------------- */

/*
 * Behind one under way, if enough has collected: a commit has its price, however few rows it has. Not while it looks for a
 * row that fails or waits, nor when it was sent in another life of ours or of the log's: then what it says comes first.
 */
static bool may_follow(const struct engine *e, const struct batch_work *first)
{
	const struct owned *next;

	if (e->config.batch_behind == 0 || e->collecting_n < e->config.batch_behind || list_is_empty(&e->collecting))
		return false;
	if (e->row_limit < e->config.batch_rows || e->log_away || e->blocked_at != INT64_MAX)
		return false;
	if (first->wire.hasty || first->life != e->life || first->failovers != e->failovers)
		return false;
	next = list_entry(e->collecting.next, struct owned, commit_link);
	return !next->again && !next->alone;
}

/* The one to be filled, or NULL: it is not the time. */
static struct batch_work *next_batch(struct engine *e)
{
	struct batch_work *b = &e->batches[0], *other = &e->batches[1];

	if (b->busy) {
		b = &e->batches[1];
		other = &e->batches[0];
	}
	if (b->busy || (other->busy && !may_follow(e, other)))
		return NULL;
	return b;
}

void engine_flush(struct engine *e)
{
	struct batch_work *b;

	if (list_is_empty(&e->collecting) && list_is_empty(&e->settles))
		return;
	b = next_batch(e);
	if (b == NULL)
		return;
	if (e->commit_at != 0 && boot_ms(e) < e->commit_at)
		return;
	if (!lease_may_act(e))
		return;
	e->commit_at = 0;
	batch_fill(b);
	if (e->blocked_at != INT64_MAX)
		chore_soon(e, CHORE_COMMIT, e->blocked_at - boot_ms(e));
	if (list_is_empty(&b->members) && list_is_empty(&b->settles))
		return;
	b->busy = true;
	b->life = e->life;
	b->failovers = e->failovers;
	b->row_limit = e->row_limit;
	b->sent_at = boot_ms(e);
	chore_soon(e, CHORE_BEGINS, e->config.ttl_ms);
	e->ports.log.commit(e->ports.log.ctx, &b->wire, commit_answered, b);
}

/* ---- when no answer comes ------------------------------------------------------------ */

/* True: it has been under way for too long. */
static bool doubt_batch(struct engine *e, const struct batch_work *b, int64_t limit)
{
	if (!b->busy)
		return false;
	if (boot_ms(e) - b->sent_at < limit) {
		chore_soon(e, CHORE_BEGINS, b->sent_at + limit - boot_ms(e));
		return false;
	}
	for (struct list *l = b->members.next; l != &b->members; l = l->next)
		owned_answer_begins(e, list_entry(l, struct owned, commit_link), BEGIN_LOST, BEGIN_LOST);
	return true;
}

/*
 * Nobody hangs because the database does. What was not sent is not inserted, and while we may not act
 * another replica may; what was sent is in doubt after a TTL, when we ourselves give the log up, and sooner
 * if the lease went as well. The rows go their way: only their callers are told.
 */
void commit_begins(struct engine *e)
{
	int64_t limit = e->acting ? (int64_t)e->config.ttl_ms : BEGIN_DOUBT_MS;
	bool    late = false;

#ifdef BUG_BEGINS_HANG
	return;
#endif
	for (size_t i = 0; i < BATCHES_MAX; i++)
		late = doubt_batch(e, &e->batches[i], limit) || late;
	if (late)
		e->log_away = true;
	if (late || !e->acting)
		begins_away(e);
	doubt_begins(e);
}
