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
	for (size_t i = 0; i < BATCHES_MAX; i++)
		if (has_settle(&e->batches[i].settles, id))
			return true;
	return has_settle(&e->settles, id) || has_settle(&e->settled_lately, id);
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
static void keep_settled(struct batch_work *b)
{
	struct engine *e = b->e;

	for (struct list *l; (l = list_pop(&b->settles)) != NULL;)
		list_push(&e->settled_lately, l);
	if (!e->inbox_busy)
		commit_forget_settled(e);
}

/* ---- the answer ---------------------------------------------------------------------- */

static struct owned *pop_member(struct list *members)
{
	struct list *l = list_pop(members);

	if (l == NULL)
		return NULL;
	struct owned *o = list_entry(l, struct owned, commit_link);
	o->sent = false;
	return o;
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
static void put_back(struct batch_work *b)
{
	struct engine *e = b->e;
	struct list   *first = e->collecting.next;

	for (struct owned *o; (o = pop_member(&b->members)) != NULL;) {
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

void begins_away(struct engine *e)
{
	list_each(l, after, &e->collecting) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (o->commit == COMMIT_BEGIN)
			owned_drop(e, o, BEGIN_AWAY);
	}
}

static void log_away(struct batch_work *b)
{
	struct engine *e = b->e;

	put_back(b);
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

static size_t rows_of(const struct batch_work *b)
{
	return b->wire.begin_count + b->wire.change_count;
}

/* The other batch under way may have been halved more. */
static void halve(struct batch_work *b)
{
	size_t half = rows_of(b) / 2;

	if (half < b->e->row_limit)
		b->e->row_limit = (uint32_t)half;
}

static void log_bad_data(struct batch_work *b)
{
	struct engine *e = b->e;

	if (rows_of(b) > 1) {
		halve(b);
		put_back(b);
		return;
	}
	struct owned *o = pop_member(&b->members);
	if (o == NULL) { /* verdicts alone: they are asked for again through the inbox */
		free_settles(&b->settles);
		return;
	}
	put_back(b); /* the verdicts in it are innocent */
	if (!o->gone) {
		bad_row(e, o);
		return;
	}
	owned_answer_begins(e, o, BEGIN_REFUSED, BEGIN_LOST);
	settle_gone_order(e, o);
	rest(e, o, b->failovers);
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
static void log_again(struct batch_work *b, bool barred)
{
	struct engine *e = b->e;
	size_t         n = rows_of(b);
	struct owned  *o = n == 1 ? list_entry(b->members.next, struct owned, commit_link) : NULL;
	bool           stays = o != NULL && !o->gone;

	e->log_away = false;
	e->wanted_at = boot_ms(e);
	lease_heard(e);
	if (n > 1)
		halve(b);
	put_back(b);
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

static void lost(struct batch_work *b)
{
	struct engine *e = b->e;

	say(e, TRACE_WARN, "commit_lost", (struct str){ 0 }, "rows=%zu", rows_of(b));
	for (struct owned *o; (o = pop_member(&b->members)) != NULL;) {
		if (!o->gone) {
			doubt_add(e, o);
			continue;
		}
		owned_answer_begins(e, o, BEGIN_LOST, BEGIN_LOST);
		if (o->deciding != NULL && o->deciding->order != NULL)
			o->deciding->order->doubt = true;
		settle_gone_order(e, o);
		rest(e, o, b->failovers);
	}
	keep_settled(b); /* still in the inbox, or settled */
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
static void log_done_well(struct batch_work *b, const struct batch_result *r)
{
	struct engine *e = b->e;
	const uint64_t sent_in = b->failovers;
	size_t         begins = 0, changes = 0;
	struct list    members;

	e->log_away = false;
	e->commit_pause_ms = 0;
	e->commit_at = 0;
	if (b->row_limit <= e->row_limit) /* else it says nothing of what is looked for since */
		e->row_limit = 2 * e->row_limit > e->config.batch_rows ? e->config.batch_rows : 2 * e->row_limit;
	e->wanted_at = list_is_empty(&e->collecting) && !commit_is_under_way(e) ? 0 : boot_ms(e);
	lease_heard(e);
	keep_settled(b);
	list_init(&members);
	list_move(&members, &b->members);
	engine_flush(e);
	for (struct owned *o; (o = pop_member(&members)) != NULL;)
		learn(e, o, o->commit == COMMIT_BEGIN ? r->begun[begins++] : r->changed[changes++], sent_in);
}

void commit_answered(void *batch, enum log_result result, const struct batch_result *r)
{
	struct batch_work *b = batch;
	struct engine     *e = b->e;

	turn_begin(e);
	b->busy = false;
#ifdef BUG_SLOT_USED_TWICE
	e->batches[0].busy = false;
#endif
#ifdef BUG_LOST_IS_FAILED
	if (result == LOG_LOST)
		result = LOG_AWAY;
#endif
	e->counts.commits[result]++;
	switch (result) {
	case LOG_DONE:
		log_done_well(b, r);
		break;
	case LOG_FENCED:
		put_back(b);
		if (b->life == e->life)
			lease_over(e, "the log refused its begins");
		break;
	case LOG_AGAIN:
		log_again(b, r->barred);
		break;
	case LOG_BAD_DATA:
		log_bad_data(b);
		break;
	case LOG_AWAY:
		log_away(b);
		break;
	case LOG_LOST:
		lost(b);
		break;
	}
	lease_try(e);
	turn_end(e);
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
	for (size_t i = 0; i < BATCHES_MAX; i++) {
		struct batch_work *b = &e->batches[i];

		for (struct owned *o; (o = pop_member(&b->members)) != NULL;)
			if (o->gone)
				owned_free(o);
		free_settles(&b->settles);
		batch_fini(b);
	}
	free_settles(&e->settles);
	free_settles(&e->settled_lately);
	barred_fini(e);
}
