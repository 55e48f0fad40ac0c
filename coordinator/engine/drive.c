/* SPDX-License-Identifier: Apache-2.0
 * drive.c - decide, commit, act: events go through the core one at a time per transaction.
 */
#include "coordinator/engine/engine_internal.h"

#include <assert.h>

enum { CROWDED_PARK_MS = 200 };

/* May the next event be decided on? One commit per transaction at most; and nothing
 * while we may not act: what the core then counts as an open call would start late. */
static bool is_free(const struct engine *e, const struct owned *o)
{
	return e->acting && !o->gone && !o->unborn && !o->doubt && !o->unproven && o->commit == COMMIT_NONE;
}

/* K > 1: what sleeps at all is for others, who may have room. */
static int64_t park_after_ms(const struct engine *e)
{
	bool crowded = e->stats.load > 1 && CROWDED_PARK_MS < e->config.park_after_ms;

	return crowded ? CROWDED_PARK_MS : e->config.park_after_ms;
}

static bool may_park(const struct engine *e, const struct owned *o, int64_t now)
{
	return is_free(e, o) && !e->draining && o->open_calls == 0 && !o->held && list_is_empty(&o->queue) &&
	       (o->timer_at == 0 || o->timer_at > now + park_after_ms(e));
}

static int64_t linger_ms(const struct engine *e)
{
	return park_after_ms(e) < LINGER_MS ? park_after_ms(e) : LINGER_MS;
}

static void arm(struct engine *e, struct owned *o)
{
	int64_t at = o->timer_at != 0 ? o->timer_at : INT64_MAX;
	int64_t now = now_ms(e);

	if (may_park(e, o, now) && o->idle_since + linger_ms(e) < at)
		at = o->idle_since + linger_ms(e);
	if (at == INT64_MAX)
		heap_remove(&e->timers, &o->seat.timer);
	else if (o->seat.timer.index == 0 || o->seat.timer.at != at)
		heap_put(&e->timers, &o->seat.timer, at);
}

/* ---- one event ------------------------------------------------------------------ */

static void log_move(struct engine *e, const struct owned *o, const struct txn *next)
{
	if (next->phase != o->txn.phase)
		e->ports.trace.line(e->ports.trace.ctx, TRACE_DEBUG, phase_name(next->phase),
		                    o->row.gid, txn_move_text(o->txn.phase, next->phase));
	if (next->stuck != o->txn.stuck && next->stuck != STUCK_NONE)
		say(e, TRACE_WARN, "stuck", o->row.gid, "reason=%s why=\"%s\"",
		    stuck_name(next->stuck), stuck_text(next->stuck));
}

static void take_state(struct owned *o, const struct txn *next)
{
	o->txn = *next;
	o->row.version = next->version;
	o->row.phase = next->phase;
	o->row.stuck = next->stuck;
	o->row.paused = next->paused;
	o->row.deadline_at = next->deadline_at;
}

static void drop_grown(struct engine *e, struct owned *o)
{
	if (o->grown != NULL)
		e->ports.definition.drop(e->ports.definition.ctx, o->grown);
	o->grown = NULL;
	o->grown_text = (struct str){ 0 };
}

/* As it is now, after the answer. */
static enum step_state state_of(const struct owned *o, const struct queued *q)
{
	return txn_step_at(&o->txn, q->ev.u.answer.step)->state;
}

static struct note *note_of(struct owned *o, const struct queued *q)
{
	uint16_t step = q->ev.u.answer.step;

	return step == TXN_CHECK ? &o->check : &o->notes[step];
}

/* Nothing durable changed: it is in force at once. */
static void settle_unchanged(struct engine *e, struct owned *o, struct queued *q,
                             const struct update *up)
{
	take_state(o, &up->next);
	o->timer_at = up->timer_at;
	if (q == NULL)
		return;
	/* What it taught stays for people to see, but an output counts only with its commit. */
	const bool answers = q->call != NULL && q->ev.kind == EV_ANSWER;
	if (answers && q->ev.u.answer.outcome != OUTCOME_OK)
		note_take(note_of(o, q), &q->note, q->ev.u.answer.op, state_of(o, q));
	else if (answers)
		note_count(note_of(o, q), &q->note, q->ev.u.answer.op, state_of(o, q));
	if (q->order != NULL && q->order->from_inbox) {
		commit_settle(e, q->order->id, up->verdict);
		order_free(e, q->order);
	} else if (q->order != NULL) {
		order_applied(e, q->order, up->verdict, o);
	}
	queued_free(q);
}

static void decide(struct engine *e, struct owned *o, struct event *ev, struct queued *q)
{
	struct step  *other = o->txn.steps == o->steps[0] ? o->steps[1] : o->steps[0];
	struct update up = { .next = { .steps = other }, .calls = e->call_scratch };

	ev->now = now_ms(e);
	ev->random = (uint32_t)random_u64(e);
	o->idle_since = ev->now;
	txn_step(&o->txn, ev, &up);
	if (up.flags & DO_RELEASE) {
		o->deciding = q;
		q->order->verdict = up.verdict;
		drive_release(e, o, ev->now);
		return;
	}
	if (up.next.plan == o->txn.plan)
		drop_grown(e, o); /* the step did not join, though the deadline may have decided */
	if (!(up.flags & DO_COMMIT)) {
		settle_unchanged(e, o, q, &up);
		calls_start(e, o, &o->txn);
		return;
	}
	o->next = up.next;
	o->next_timer_at = up.timer_at;
	o->deciding = q;
	if (q != NULL && q->order != NULL)
		q->order->verdict = up.verdict;
#ifdef BUG_ACT_BEFORE_COMMIT
	calls_start(e, o, &o->next);
#endif
	commit_want(e, o, COMMIT_CHANGE);
}

static void decide_queued(struct engine *e, struct owned *o, struct queued *q)
{
	if (q->call != NULL) {
		calls_close(e, o, q->call);
	} else {
		o->queue_n--;
		if (!order_event(e, q->order, o, q)) {
			queued_free(q);
			return;
		}
	}
	decide(e, o, &q->ev, q);
}

/* Events that carry nothing. False: there is none. */
static bool decide_signal(struct engine *e, struct owned *o)
{
	struct event ev = { .kind = EV_TICK };

	if (o->stuck_due != STUCK_NONE) {
		ev.kind = EV_STUCK;
		ev.u.stuck.stuck = o->stuck_due;
		o->stuck_due = STUCK_NONE;
	} else if (o->resume_due && !e->draining) {
		ev.kind = EV_RESUME;
		ev.u.resume.adopted = o->adopted;
		o->resume_due = false;
	} else if (o->room_due && !e->draining) {
		ev.kind = EV_ROOM;
		o->room_due = false;
	} else if (o->tick_due && !e->draining && list_is_empty(&o->queue)) {
		o->tick_due = false;
	} else {
		return false;
	}
	decide(e, o, &ev, NULL);
	return true;
}

void drive_run(struct engine *e, struct owned *o)
{
	while (is_free(e, o)) {
		struct list *l;

		if (decide_signal(e, o))
			continue;
		l = list_pop(&o->queue);
		if (l == NULL)
			break;
		decide_queued(e, o, list_entry(l, struct queued, link));
	}
	if (o->gone || o->unborn)
		return;
	arm(e, o);
	fold_want(e, o);
}

void drive_queue(struct engine *e, struct owned *o, struct queued *q)
{
	list_push(&o->queue, &q->link);
	if (q->order != NULL)
		o->queue_n++;
	drive_run(e, o);
}

void drive_resume(struct engine *e, struct owned *o, bool adopted)
{
	if (!o->readable) {
		commit_want(e, o, COMMIT_BAD_ROW);
		return;
	}
	o->resume_due = true;
	o->adopted = adopted;
	o->idle_since = now_ms(e);
	drive_run(e, o);
}

void drive_stuck(struct engine *e, struct owned *o, enum stuck stuck)
{
	o->stuck_due = stuck;
	drive_run(e, o);
}

/* ---- its commit is done ------------------------------------------------------------ */

static void take_grown(struct engine *e, struct owned *o)
{
	if (o->grown == NULL)
		return;
	e->ports.definition.drop(e->ports.definition.ctx, o->row.def);
	o->row.def = o->grown;
	o->row.document = o->grown_text;
	o->grown = NULL;
}

static void answer_deciding(struct engine *e, struct owned *o)
{
	struct queued *q = o->deciding;

	o->deciding = NULL;
	if (q == NULL)
		return;
	if (q->ev.kind == EV_ANSWER)
		note_take(note_of(o, q), &q->note, q->ev.u.answer.op, state_of(o, q));
	if (q->order != NULL) {
		if (q->order->from_inbox)
			o->inbox_seen = e->inbox_reads;
#ifdef BUG_INBOX_TWICE
		if (q->order->from_inbox)
			commit_settle(e, q->order->id, q->order->verdict);
#endif
		order_applied(e, q->order, q->order->verdict, o);
	}
	queued_free(q);
}

static void end(struct engine *e, struct owned *o)
{
	o->row.ended_at = o->written_at;
	o->row.owner = (struct uuid){ 0 };
	o->keep = true;
	tell_ended(e, &o->row, &o->txn);
	wait_ended(e, o);
	owned_drop(e, o, BEGIN_LOST);
}

/* As the log has it now. */
static void released(struct owned *o)
{
	o->row.version++;
	o->row.owner = (struct uuid){ 0 };
	o->row.due_at = o->written_at;
	o->keep = true;
}

/* It has grown, and nobody here drives it any more: only a failover asks for what it was. */
void drive_learned(struct engine *e, struct owned *o)
{
	struct queued *q = o->deciding;

	o->keep = o->readable;
	switch (o->commit) {
	case COMMIT_CHANGE:
		count_move(e, o, &o->next);
		take_state(o, &o->next);
		take_grown(e, o);
		o->row.adoptions = 0;
		if (q != NULL && q->ev.kind == EV_ANSWER)
			note_take(note_of(o, q), &q->note, q->ev.u.answer.op, state_of(o, q));
		if (phase_is_ended(o->txn.phase)) {
			o->row.ended_at = o->written_at;
			o->row.owner = (struct uuid){ 0 };
			tell_ended(e, &o->row, &o->txn);
		}
		return;
	case COMMIT_RELEASE:
		released(o);
		return;
	case COMMIT_BEGIN:
		o->unborn = false;
		return;
	case COMMIT_NONE:
	case COMMIT_BAD_ROW:
		return;
	}
}

void drive_applied(struct engine *e, struct owned *o)
{
	enum commit_kind kind = o->commit;

	assert(kind == COMMIT_CHANGE || kind == COMMIT_RELEASE || kind == COMMIT_BAD_ROW);
	o->commit = COMMIT_NONE;
	if (kind != COMMIT_CHANGE) {
		e->stats.parked++;
		if (kind == COMMIT_RELEASE)
			released(o);
		if (o->deciding != NULL) /* a person wants somebody else to drive it */
			adopt_later(e);
		answer_deciding(e, o);
		owned_drop(e, o, BEGIN_LOST);
		return;
	}
	log_move(e, o, &o->next);
	count_move(e, o, &o->next);
	take_state(o, &o->next);
	take_grown(e, o);
	o->timer_at = o->next_timer_at;
	o->row.adoptions = 0;
	o->refused = 0;
	if (o->wary)
		e->wary_n--;
	o->wary = false;
	answer_deciding(e, o);
	if (phase_is_ended(o->txn.phase)) {
		end(e, o);
		return;
	}
	calls_start(e, o, &o->txn);
	drive_run(e, o);
}

/* ---- time -------------------------------------------------------------------------- */

void drive_release(struct engine *e, struct owned *o, int64_t due_at)
{
	o->written_at = due_at;
	if (o->deciding != NULL) /* what a person wanted has changed it: who saw the same as he looks again */
		o->txn.same_since = 0;
	else if (o->txn.same_since == 0)
		o->txn.same_since = o->txn.version;
	commit_want(e, o, COMMIT_RELEASE);
}

void drive_timer(struct engine *e, struct owned *o)
{
	int64_t now = now_ms(e);

	heap_remove(&e->timers, &o->seat.timer);
	if (o->timer_at != 0 && o->timer_at <= now) {
		o->timer_at = 0; /* the tick names the next one */
		o->tick_due = true;
		drive_run(e, o);
	} else if (may_park(e, o, now) && now >= o->idle_since + linger_ms(e)) {
		drive_release(e, o, o->timer_at != 0 ? o->timer_at : AT_NEVER);
	} else {
		arm(e, o);
		fold_want(e, o);
	}
}

/* Asks the core what is to be done now. */
void drive_tick(struct engine *e, struct owned *o)
{
	o->tick_due = true;
	drive_run(e, o);
}

void drive_room(struct engine *e, struct owned *o)
{
	o->room_due = true;
	drive_run(e, o);
}

void drive_all(struct engine *e)
{
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		if (o == NULL) /* it waits for its time */
			continue;
		if (is_free(e, o) && o->readable)
			calls_start(e, o, &o->txn);
		drive_run(e, o);
	}
}

void drive_crowded(struct engine *e)
{
	fold_wake_all(e);
	list_each(l, after, &e->owned)
		arm(e, fold_awake(l));
}
