/* SPDX-License-Identifier: Apache-2.0
 * commit.c - the batch is sent whole, then each member learns its fate.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 1000, AGAIN_MS = 10 };

void commit_want(struct engine *e, struct owned *o, enum commit_kind kind)
{
	assert(o->commit == COMMIT_NONE && !o->gone);
	o->commit = kind;
	o->again = o->blocked = o->alone = false;
	list_push(&e->collecting, &o->commit_link);
	e->collecting_n++;
	if (e->wanted_at == 0)
		e->wanted_at = boot_ms(e);
}

void commit_settle(struct engine *e, struct uuid id, enum verdict verdict)
{
	struct settle *s = mem_alloc(sizeof *s);

	s->s = (struct settled){ .id = id, .verdict = verdict };
	list_push(&e->settles, &s->link);
}

static bool has_settle(const struct list *list, struct uuid id)
{
	for (const struct list *l = list->next; l != list; l = l->next)
		if (uuid_eq(list_entry(l, struct settle, link)->s.id, id))
			return true;
	return false;
}

bool commit_settles(const struct engine *e, struct uuid id)
{
	return has_settle(&e->settles, id) || has_settle(&e->batch.settles, id) ||
	       has_settle(&e->settled_lately, id);
}

static void free_settles(struct list *list)
{
	for (struct list *l; (l = list_pop(list)) != NULL;)
		free(list_entry(l, struct settle, link));
}

void commit_forget_settled(struct engine *e)
{
	free_settles(&e->settled_lately);
}

/* An inbox read under way may still show them. */
static void keep_settled(struct engine *e)
{
	for (struct list *l; (l = list_pop(&e->batch.settles)) != NULL;)
		list_push(&e->settled_lately, l);
	if (!e->inbox_busy)
		commit_forget_settled(e);
}

/* ---- the answer ---------------------------------------------------------------------- */

static struct owned *pop_of(struct list *members)
{
	struct list *l = list_pop(members);

	if (l == NULL)
		return NULL;
	struct owned *o = list_entry(l, struct owned, commit_link);
	o->sent = false;
	return o;
}

static struct owned *pop_member(struct engine *e)
{
	return pop_of(&e->batch.members);
}

/* It was on no list when a failover asked for all that is remembered. */
static void rest(struct engine *e, struct owned *o, uint64_t sent_in)
{
	o->unproven = o->unproven || sent_in != e->failovers;
	owned_rest(e, o);
}

/* Its transaction is not ours any more: the command looks for it elsewhere. */
static void settle_gone_order(struct engine *e, struct owned *o)
{
	struct order *order = o->deciding != NULL ? o->deciding->order : NULL;

	if (order == NULL)
		return;
	o->deciding->order = NULL;
	order_route(e, order);
}

/* Back to the front of the next batch, in order. */
static void put_back(struct engine *e)
{
	struct batch_work *b = &e->batch;
	struct list       *first = e->collecting.next;

	for (struct owned *o; (o = pop_member(e)) != NULL;) {
		if (o->gone) {
			owned_answer_begins(e, o, BEGIN_AWAY, BEGIN_AWAY);
			settle_gone_order(e, o);
			rest(e, o, b->failovers);
			continue;
		}
		list_push(first, &o->commit_link);
		e->collecting_n++;
	}
	for (struct list *l; (l = list_pop(&b->settles)) != NULL;)
		list_push(&e->settles, l);
}

static void pause_commits(struct engine *e, uint32_t ms)
{
	e->commit_at = boot_ms(e) + about(e, ms);
	chore_in(e, CHORE_COMMIT, e->commit_at - boot_ms(e));
}

/* Not inserted: whoever waits is told at once and may ask another replica. */
static void begins_away(struct engine *e)
{
	list_each(l, after, &e->collecting) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (o->commit == COMMIT_BEGIN)
			owned_drop(e, o, BEGIN_AWAY);
	}
}

/*
 * Nobody hangs because the database does. What was not sent is not inserted, and while we may not act
 * another replica may; what was sent is in doubt after a TTL, when we ourselves give the log up, and sooner
 * if the lease went as well. The rows go their way: only their callers are told.
 */
void commit_begins(struct engine *e)
{
	const struct batch_work *b = &e->batch;
	int64_t                  limit = e->acting ? (int64_t)e->config.ttl_ms : BEGIN_DOUBT_MS;
	bool                     late = b->busy && boot_ms(e) - b->sent_at >= limit;

#ifdef BUG_BEGINS_HANG
	return;
#endif
	if (late)
		e->log_away = true;
	if (late || !e->acting)
		begins_away(e);
	for (struct list *l = b->members.next; late && l != &b->members; l = l->next)
		owned_answer_begins(e, list_entry(l, struct owned, commit_link), BEGIN_LOST, BEGIN_LOST);
	if (b->busy && !late)
		chore_soon(e, CHORE_BEGINS, b->sent_at + limit - boot_ms(e));
	doubt_begins(e);
}

static void log_away(struct engine *e)
{
	put_back(e);
	e->log_away = true;
	begins_away(e);
	e->commit_pause_ms = e->commit_pause_ms == 0 ? PAUSE_FIRST_MS : 2 * e->commit_pause_ms;
	if (e->commit_pause_ms > PAUSE_MAX_MS)
		e->commit_pause_ms = PAUSE_MAX_MS;
	pause_commits(e, e->commit_pause_ms);
}

/*
 * The log refuses one row, and says so again when it stands alone: then what the deciding event
 * brought is thrown away, and the transaction is stuck until a person looks at it. The second time,
 * its outputs and errors go too; the third time it is left alone until it is read again.
 */
static void bad_row(struct engine *e, struct owned *o)
{
	struct queued *q = o->deciding;

	say(e, TRACE_ERROR, "bad_row", o->row.gid, "refused=%u", o->refused + 1);
	if (o->commit == COMMIT_BEGIN) {
		o->commit = COMMIT_NONE;
		owned_drop(e, o, BEGIN_REFUSED);
		return;
	}
	bool driven = o->commit == COMMIT_CHANGE;
	o->commit = COMMIT_NONE;
	o->deciding = NULL;
	o->refused++;
	if (o->grown != NULL)
		e->ports.definition.drop(e->ports.definition.ctx, o->grown);
	o->grown = NULL;
	if (q != NULL && q->order != NULL) {
		if (q->order->from_inbox)
			commit_settle(e, q->order->id, VERDICT_NO_STEP);
		order_fail(e, q->order, COMMAND_INVALID, NULL);
	}
	if (q != NULL)
		queued_free(q);
	if (o->refused > 2 || !driven) {
		owned_drop(e, o, BEGIN_LOST);
		return;
	}
	/* The call it ended is over, whatever the row says. */
	for (uint16_t i = 0; i < o->txn.step_count; i++)
		if (o->calls[i] == NULL)
			o->txn.steps[i].open_op = 0;
	if (o->check_call == NULL)
		o->txn.check.open_op = 0;
	o->resume_due = true;
	o->adopted = true;
	if (o->unproven) /* nothing is decided before the log stands where we do */
		failover_behind(e, o);
	drive_stuck(e, o, STUCK_BAD_ROW);
}

static void log_bad_data(struct engine *e)
{
	size_t n = e->batch.wire.begin_count + e->batch.wire.change_count;

	if (n > 1) {
		e->row_limit = (uint32_t)(n / 2);
		put_back(e);
		return;
	}
	struct owned *o = pop_member(e);
	if (o == NULL) { /* verdicts alone: they are asked for again through the inbox */
		free_settles(&e->batch.settles);
		return;
	}
	put_back(e); /* the verdicts in it are innocent */
	if (!o->gone) {
		bad_row(e, o);
		return;
	}
	owned_answer_begins(e, o, BEGIN_REFUSED, BEGIN_LOST);
	settle_gone_order(e, o);
	rest(e, o, e->batch.failovers);
}

static void block(struct engine *e, struct owned *o)
{
	if (o->unproven) { /* whoever holds it locked: the log must stand where we do first */
		list_remove(&o->commit_link);
		e->collecting_n--;
		doubt_add(e, o);
		return;
	}
	if (!o->blocked)
		say(e, TRACE_WARN, "row_blocked", o->row.gid, "advice=\"somebody else holds it locked: see pg_locks\"");
	o->blocked = true;
	list_remove(&o->commit_link);
	list_push(&e->collecting, &o->commit_link);
	if (e->blocked_at == INT64_MAX)
		e->blocked_at = boot_ms(e) + BLOCKED_MS;
}

/* It will not do here: whoever asked may ask another replica, or wait for who has begun it. */
static void begin_again(struct engine *e, struct owned *o, bool barred)
{
	if (barred)
		barred_add(e, o->row.gid);
	owned_drop(e, o, barred ? BEGIN_BARRED : BEGIN_AWAY);
}

/*
 * Not done, and no fault of the log's, which did answer: a deadlock, or somebody else holds a row locked, for
 * a moment or over lunch. Halved until that row stands alone; then it is sent on its own while the others go on.
 */
static void log_again(struct engine *e, bool barred)
{
	size_t        n = e->batch.wire.begin_count + e->batch.wire.change_count;
	struct owned *o = n == 1 ? list_entry(e->batch.members.next, struct owned, commit_link) : NULL;
	bool          stays = o != NULL && !o->gone;

	e->log_away = false;
	e->wanted_at = boot_ms(e);
	lease_heard(e);
	if (n > 1)
		e->row_limit = (uint32_t)(n / 2);
	put_back(e);
	pause_commits(e, AGAIN_MS);
	if (stays && !o->again)
		o->again = true;
	else if (stays && o->commit == COMMIT_BEGIN)
		begin_again(e, o, barred);
	else if (stays)
		block(e, o);
}

/* One got through, or the server is a new one: whoever held it may have let the others go as well. */
void commit_unblock(struct engine *e)
{
	list_each(l, after, &e->collecting)
		list_entry(l, struct owned, commit_link)->blocked = false;
}

static void lost(struct engine *e)
{
	say(e, TRACE_WARN, "commit_lost", (struct str){ 0 }, "rows=%zu",
	    e->batch.wire.begin_count + e->batch.wire.change_count);
	for (struct owned *o; (o = pop_member(e)) != NULL;) {
		if (!o->gone) {
			doubt_add(e, o);
			continue;
		}
		owned_answer_begins(e, o, BEGIN_LOST, BEGIN_LOST);
		if (o->deciding != NULL && o->deciding->order != NULL)
			o->deciding->order->doubt = true;
		settle_gone_order(e, o);
		rest(e, o, e->batch.failovers);
	}
	keep_settled(e); /* still in the inbox, or settled */
	pause_commits(e, PAUSE_FIRST_MS);
}

/* Dropped while it was under way: only its callers are left. */
static void done_gone(struct engine *e, struct owned *o, bool did, uint64_t sent_in)
{
	struct queued *q = o->deciding;

	owned_answer_begins(e, o, did ? BEGIN_DONE : BEGIN_LOST, BEGIN_LOST);
	if (did)
		drive_learned(e, o);
	if (did && q != NULL && q->order != NULL) {
		order_applied(e, q->order, q->order->verdict, o);
		q->order = NULL;
	}
	settle_gone_order(e, o);
	rest(e, o, sent_in);
}

static void born(struct engine *e, struct owned *o)
{
	o->commit = COMMIT_NONE;
	o->unborn = false;
	e->stats.begun++;
	owned_answer_begins(e, o, BEGIN_DONE, BEGIN_EXISTS);
	drive_resume(e, o, false);
}

static void count_deed(struct engine *e, const struct queued *q)
{
	if (q != NULL && q->order != NULL && q->order->c.actor.n > 0)
		e->counts.deeds[q->order->c.kind]++;
}

/* sent_in: how many failovers there had been when it was sent. */
static void learn(struct engine *e, struct owned *o, bool did, uint64_t sent_in)
{
#ifdef BUG_IGNORE_EPOCH
	did = did || o->commit == COMMIT_CHANGE;
#endif
	if (o->blocked)
		commit_unblock(e);
	if (o->alone)
		barred_forget(e, o->row.gid);
	if (did)
		count_deed(e, o->deciding);
	/* The last answer of a server that has been replaced proves nothing. */
	o->unproven = did ? sent_in != e->failovers : o->unproven;
	if (o->gone) {
		done_gone(e, o, did, sent_in);
	} else if (!did && o->commit == COMMIT_BEGIN) {
		begin_taken(e, o);
	} else if (!did) {
		e->stats.missed_rows++;
		doubt_add(e, o);
	} else if (o->commit == COMMIT_BEGIN) {
		born(e, o);
	} else {
		drive_applied(e, o);
	}
	if (did && o->unproven && !o->gone)
		failover_behind(e, o);
}

/*
 * What collected meanwhile is sent before the members learn: then the database works on it while we make the
 * calls and give the answers that they want. The batch is the new one from there on.
 */
static void log_done_well(struct engine *e, const struct batch_result *r)
{
	const uint64_t sent_in = e->batch.failovers;
	size_t         begins = 0, changes = 0;
	struct list    members;

	e->log_away = false;
	e->commit_pause_ms = 0;
	e->commit_at = 0;
	e->row_limit = 2 * e->row_limit > e->config.batch_rows ? e->config.batch_rows
	                                                       : 2 * e->row_limit;
	e->wanted_at = list_is_empty(&e->collecting) ? 0 : boot_ms(e);
	lease_heard(e);
	keep_settled(e);
	list_init(&members);
	list_move(&members, &e->batch.members);
	engine_flush(e);
	for (struct owned *o; (o = pop_of(&members)) != NULL;)
		learn(e, o, o->commit == COMMIT_BEGIN ? r->begun[begins++] : r->changed[changes++], sent_in);
}

static void on_commit(void *arg, enum log_result result, const struct batch_result *r)
{
	struct engine *e = arg;

	turn_begin(e);
	e->batch.busy = false;
#ifdef BUG_LOST_IS_FAILED
	if (result == LOG_LOST)
		result = LOG_AWAY;
#endif
	e->counts.commits[result]++;
	switch (result) {
	case LOG_DONE:
		log_done_well(e, r);
		break;
	case LOG_FENCED:
		put_back(e);
		if (e->batch.life == e->life)
			lease_over(e, "the log refused its begins");
		break;
	case LOG_AGAIN:
		log_again(e, r->barred);
		break;
	case LOG_BAD_DATA:
		log_bad_data(e);
		break;
	case LOG_AWAY:
		log_away(e);
		break;
	case LOG_LOST:
		lost(e);
		break;
	}
	lease_try(e);
	turn_end(e);
}

void engine_flush(struct engine *e)
{
	struct batch_work *b = &e->batch;

	if (b->busy || (list_is_empty(&e->collecting) && list_is_empty(&e->settles)))
		return;
	if (e->commit_at != 0 && boot_ms(e) < e->commit_at)
		return;
	if (!lease_may_act(e))
		return;
	e->commit_at = 0;
	batch_fill(e);
	if (e->blocked_at != INT64_MAX)
		chore_soon(e, CHORE_COMMIT, e->blocked_at - boot_ms(e));
	if (list_is_empty(&b->members) && list_is_empty(&b->settles))
		return;
	b->busy = true;
	b->life = e->life;
	b->failovers = e->failovers;
	b->sent_at = boot_ms(e);
	chore_soon(e, CHORE_BEGINS, e->config.ttl_ms);
	e->ports.log.commit(e->ports.log.ctx, &b->wire, on_commit, e);
}

void commit_retry(struct engine *e)
{
	/* Nothing to send: the next begin may find out whether the log is back. */
	if (list_is_empty(&e->collecting))
		e->log_away = false;
	engine_flush(e);
}

void commit_fini(struct engine *e)
{
	struct batch_work *b = &e->batch;

	for (struct owned *o; (o = pop_member(e)) != NULL;)
		if (o->gone)
			owned_free(o);
	free_settles(&b->settles);
	free_settles(&e->settles);
	free_settles(&e->settled_lately);
	free(b->begins);
	free(b->changes);
	free(b->entries);
	free(b->deeds);
	free(b->settled);
	free(b->text_at);
	buf_fini(&b->text);
	barred_fini(e);
}
