/* SPDX-License-Identifier: Apache-2.0
 * txn.c - an event comes in, the next state and what to do go out.
 */
#include "coordinator/core/txn_internal.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

/* ---- birth --------------------------------------------------------------------- */

static struct step newborn(const struct plan_step *ps)
{
	/* A step without a try of ours: its caller tries it as soon as it has joined. */
	return (struct step){ .state = ps->has & HAS_TRY ? STEP_PENDING : STEP_TRIED };
}

static enum phase phase_at_birth(const struct txn *t)
{
	if (t->plan->open)
		return PHASE_PREPARED;
	return t->start_at == 0 && order_all_tried(t) ? PHASE_CONFIRMING : PHASE_TRYING;
}

void txn_init(struct txn *t, const struct plan *plan, int64_t start_at, int64_t deadline_at)
{
	struct step *steps = t->steps;

	*t = (struct txn){ .plan = plan, .version = 1, .start_at = start_at,
			   .deadline_at = deadline_at, .step_count = plan->step_count,
			   .steps = steps };
	for (uint16_t i = 0; i < t->step_count; i++)
		t->steps[i] = newborn(&plan->steps[i]);
	t->phase = phase_at_birth(t);
}

/* ---- commands -------------------------------------------------------------------- */

static enum verdict on_confirm(struct work *w)
{
	struct txn *t = w->t;

	if (!t->plan->open)
		return VERDICT_NOT_OPEN;
	if (phase_is_decided(t->phase)) {
		if (t->phase == PHASE_ABANDONED)
			return VERDICT_ENDED;
		return t->cause == CAUSE_NONE ? VERDICT_ALREADY : VERDICT_DECIDED;
	}
	if (!order_all_tried(t))
		return VERDICT_NOT_READY;
	decide_confirm(t);
	if (w->ev->u.confirm.start_at > w->ev->now)
		t->start_at = w->ev->u.confirm.start_at;
	return VERDICT_ACCEPTED;
}

static enum verdict on_cancel(struct work *w)
{
	if (phase_is_decided(w->t->phase)) {
		if (w->t->phase == PHASE_ABANDONED)
			return VERDICT_ENDED;
		return w->t->cause == CAUSE_NONE ? VERDICT_DECIDED : VERDICT_ALREADY;
	}
	if (txn_in_doubt(w->t))
		return VERDICT_IN_DOUBT;
	decide_cancel(w, w->ev->u.cancel.cause, 0);
	return VERDICT_ACCEPTED;
}

static enum verdict on_join(struct work *w)
{
	const struct plan *plan = w->ev->u.join.plan;
	struct txn        *t = w->t;

	if (!t->plan->open || t->plan->mode == MODE_MESSAGE)
		return VERDICT_NOT_OPEN;
	if (t->phase == PHASE_ABANDONED)
		return VERDICT_ENDED;
	if (t->phase != PHASE_PREPARED)
		return VERDICT_DECIDED;
	if (t->step_count >= TXN_STEPS_MAX)
		return VERDICT_LIMIT;
	assert(plan->step_count == t->step_count + 1 && plan->steps[t->step_count].joined);
	t->plan = plan;
	t->steps[t->step_count] = newborn(&plan->steps[t->step_count]);
	t->step_count++;
	return VERDICT_ACCEPTED;
}

static enum verdict on_pause(struct txn *t, bool pause)
{
	if (phase_is_ended(t->phase))
		return VERDICT_ENDED;
	if (t->paused == pause)
		return VERDICT_ALREADY;
	t->paused = pause;
	return VERDICT_ACCEPTED;
}

static bool retry_step(struct step *s)
{
	const struct step before = *s;

	attempt_retry(s);
	return before.next_at != 0 || before.put_off_until != 0 || attempt_differs(&before, s);
}

static enum verdict on_retry(struct work *w)
{
	struct txn *t = w->t;
	bool        changed = t->stuck != STUCK_NONE;

	if (phase_is_ended(t->phase))
		return VERDICT_ENDED;
	t->stuck = STUCK_NONE;
	for (uint16_t i = 0; i < t->step_count; i++)
		changed |= retry_step(&t->steps[i]);
	changed |= retry_step(&t->check);
	w->told = changed; /* a person did it */
	return changed ? VERDICT_ACCEPTED : VERDICT_ALREADY;
}

/* Before the decision, and nobody can have called it; or the decision found that nobody had. */
static bool is_surely_untried(const struct txn *t, uint16_t i)
{
	if (t->steps[i].state == STEP_UNTRIED)
		return true;
	return t->steps[i].state == STEP_PENDING && t->steps[i].open_op == 0 && !phase_is_decided(t->phase) &&
	       !order_may_be_tried(t, i);
}

/* Is this op of the step still to come, or under way? */
static bool is_to_come(const struct txn *t, uint16_t i, enum op op)
{
	const struct step *s = &t->steps[i];

	if (!(t->plan->steps[i].has & 1u << op))
		return false;
	switch (op) {
	case OP_TRY:
		return s->state == STEP_PENDING && t->phase != PHASE_CANCELLING;
	case OP_CONFIRM:
		return s->state != STEP_CONFIRMED && t->phase != PHASE_CANCELLING;
	case OP_CANCEL:
		return s->state != STEP_CANCELLED && t->phase != PHASE_CONFIRMING;
	case OP_CHECK:
		break;
	}
	return false;
}

/* The effect may be where the try went: a cancel sent elsewhere would undo nothing. */
static enum verdict on_patch(struct work *w)
{
	const uint16_t i = w->ev->u.patch.step;
	const int      moved = w->ev->u.patch.moved;
	struct txn    *t = w->t;

	if (phase_is_ended(t->phase))
		return VERDICT_ENDED;
	if (i >= t->step_count || (moved >= 0 && !is_to_come(t, i, (enum op)moved)))
		return VERDICT_NO_STEP;
#ifndef BUG_MOVES_CANCEL
	if (moved == OP_CANCEL && !is_surely_untried(t, i))
		return VERDICT_UNSAFE;
#endif
	assert(w->ev->u.patch.plan->step_count == t->step_count);
	t->plan = w->ev->u.patch.plan;
	attempt_retry(&t->steps[i]);
	if (t->steps[i].open_op != 0)
		t->steps[i].flags |= STEP_IS_PATCHED;
	return VERDICT_ACCEPTED;
}

static enum verdict on_release(struct work *w)
{
	if (phase_is_ended(w->t->phase))
		return VERDICT_ENDED;
	w->up->flags |= DO_RELEASE;
	return VERDICT_ACCEPTED;
}

static enum verdict on_abandon(struct txn *t)
{
	if (t->phase == PHASE_ABANDONED)
		return VERDICT_ALREADY;
	if (phase_is_ended(t->phase))
		return VERDICT_ENDED;
	decide_end(t, PHASE_ABANDONED);
	return VERDICT_ACCEPTED;
}

static void on_stuck(struct work *w)
{
	const enum stuck stuck = w->ev->u.stuck.stuck;

	assert(stuck == STUCK_POISON || stuck == STUCK_BAD_ROW);
	if (phase_is_ended(w->t->phase))
		return;
	if (w->t->stuck != stuck)
		w->t->stuck_at = w->ev->now;
	w->t->stuck = stuck;
}

/* Whatever waits may have been sent by somebody before us. */
static void on_resume(struct work *w)
{
	uint16_t ready[TXN_STEPS_MAX];
	uint16_t n;

	if (!w->ev->u.resume.adopted)
		return;
	n = order_ready(w->old, ready);
	for (uint16_t k = 0; k < n; k++)
		w->t->steps[ready[k]].flags |= STEP_IN_DOUBT;
}

static void on_room(struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++)
		t->steps[i].put_off_until = 0;
	t->check.put_off_until = 0;
}

static enum verdict take_event(struct work *w)
{
	switch (w->ev->kind) {
	case EV_RESUME:
		on_resume(w);
		return VERDICT_ACCEPTED;
	case EV_TICK:
		return VERDICT_ACCEPTED;
	case EV_ANSWER:
		return answer_take(w);
	case EV_PUT_OFF:
		answer_put_off(w);
		return VERDICT_ACCEPTED;
	case EV_ROOM:
		on_room(w->t);
		return VERDICT_ACCEPTED;
	case EV_CONFIRM:
		decide_by_time(w); /* a deadline that has passed was there first */
		return on_confirm(w);
	case EV_CANCEL:
		return on_cancel(w);
	case EV_JOIN:
		decide_by_time(w);
		return on_join(w);
	case EV_PAUSE:
		return on_pause(w->t, true);
	case EV_UNPAUSE:
		return on_pause(w->t, false);
	case EV_RETRY:
		return on_retry(w);
	case EV_STUCK:
		on_stuck(w);
		return VERDICT_ACCEPTED;
	case EV_PATCH:
		return on_patch(w);
	case EV_RELEASE:
		return on_release(w);
	case EV_ABANDON:
		return on_abandon(w->t);
	}
	assert(0 && "the engine sends no other event");
	return VERDICT_ACCEPTED;
}

/* ---- what to do now --------------------------------------------------------------- */

/* The row tells the worst of its steps; what only EV_RETRY clears stays. */
static void mark_stuck(struct work *w)
{
	struct txn *t = w->t;
	enum stuck  worst = t->check.stuck;

	if (t->stuck >= STUCK_POISON)
		return;
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->steps[i].stuck > worst)
			worst = t->steps[i].stuck;
	if (worst != w->old->stuck)
		t->stuck_at = worst == STUCK_NONE ? 0 : w->ev->now;
	t->stuck = worst;
}

static void start_call(struct work *w, uint16_t step, enum op op, struct step *s)
{
	s->open_op = (uint8_t)(1 + op);
	s->flags = (uint8_t)(s->flags & ~STEP_IS_PATCHED);
	w->up->calls[w->up->call_count++] = (struct call){ .step = step, .op = op };
	w->up->flags |= DO_CALLS;
}

static bool may_be_called(const struct work *w, const struct step *s)
{
#ifdef BUG_CANCEL_WITH_OPEN_TRY
	if (w->t->phase == PHASE_CANCELLING && s->open_op == 1 + OP_TRY)
		return true;
#endif
	return s->open_op == 0 && !attempt_is_stopped(s) && s->next_at <= w->ev->now &&
	       s->put_off_until <= w->ev->now;
}

static void start_steps(struct work *w)
{
	struct txn *t = w->t;
	uint16_t    ready[TXN_STEPS_MAX];
	uint16_t    open = 0;
	uint16_t    n = order_ready(t, ready);

	for (uint16_t i = 0; i < t->step_count; i++)
		open = (uint16_t)(open + (t->steps[i].open_op != 0));
	for (uint16_t k = 0; k < n && open < t->plan->max_parallel; k++) {
		struct step  *s = &t->steps[ready[k]];
		const enum op op = order_op(t, ready[k]);

		if (!may_be_called(w, s) || !(t->plan->steps[ready[k]].has & 1u << op))
			continue;
		start_call(w, ready[k], op, s);
		open++;
	}
}

static void start_calls(struct work *w)
{
	struct txn *t = w->t;

	if (decide_is_held(t))
		return;
	start_steps(w);
	if (order_expects(t, TXN_CHECK, OP_CHECK) && t->deadline_at != 0 &&
	    w->ev->now >= t->deadline_at && may_be_called(w, &t->check))
		start_call(w, TXN_CHECK, OP_CHECK, &t->check);
}

/* ---- the timer ---------------------------------------------------------------------- */

/* What is due now was done now, or waits for an answer: only the future needs a tick. */
static void want_tick(struct work *w, int64_t at)
{
	if (at > w->ev->now && (w->up->timer_at == 0 || at < w->up->timer_at))
		w->up->timer_at = at;
}

static void want_step_tick(struct work *w, const struct step *s)
{
	if (s->open_op == 0 && !attempt_is_stopped(s))
		want_tick(w, s->next_at > s->put_off_until ? s->next_at : s->put_off_until);
	if (s->first_at != 0 && s->stuck == STUCK_NONE && w->t->plan->stuck_after_ms > 0)
		want_tick(w, s->first_at + w->t->plan->stuck_after_ms);
}

static void set_timer(struct work *w)
{
	const struct txn *t = w->t;

	if (decide_is_held(t) || phase_is_ended(t->phase))
		return;
	want_tick(w, t->start_at);
	if (decide_deadline_can_cancel(t) || order_expects(t, TXN_CHECK, OP_CHECK))
		want_tick(w, t->deadline_at);
	for (uint16_t i = 0; i < t->step_count; i++)
		want_step_tick(w, &t->steps[i]);
	want_step_tick(w, &t->check);
}

/* ---- the step -------------------------------------------------------------------------- */

static bool differs(const struct txn *a, const struct txn *b)
{
	if (a->plan != b->plan || a->phase != b->phase || a->stuck != b->stuck ||
	    a->paused != b->paused || a->cause != b->cause || a->cause_step != b->cause_step ||
	    a->stuck_at != b->stuck_at || a->start_at != b->start_at ||
	    a->step_count != b->step_count || attempt_differs(&a->check, &b->check))
		return true;
	for (uint16_t i = 0; i < a->step_count; i++)
		if (attempt_differs(&a->steps[i], &b->steps[i]))
			return true;
	return false;
}

static void assert_sound(const struct txn *t)
{
	assert((unsigned)t->phase < PHASE_COUNT);
	assert(t->step_count == t->plan->step_count && t->step_count <= TXN_STEPS_MAX);
	assert(t->version > 0);
}

static void assert_legal(const struct work *w)
{
	const struct txn *t = w->t;

	assert_sound(t);
#ifndef BUG_REVISE_DECISION
	assert(t->phase == w->old->phase || txn_may_move(w->old->phase, t->phase));
#endif
	if (!phase_is_ended(t->phase))
		return;
	assert(w->up->call_count == 0 && w->up->timer_at == 0);
	for (uint16_t i = 0; i < t->step_count; i++)
		assert(t->steps[i].open_op == 0);
}

/* Decide, commit, act: the log must know before anybody else does. */
static void seal(struct work *w)
{
	if (w->told || differs(w->old, w->t)) {
		w->up->flags |= DO_COMMIT;
		w->t->version++;
		w->t->same_since = 0;
	}
	if (phase_is_ended(w->t->phase))
		w->up->flags |= DO_FINISH;
	assert_legal(w);
}

static void copy(const struct txn *t, struct update *up)
{
	struct step *steps = up->next.steps;

	up->flags = 0;
	up->call_count = 0;
	up->timer_at = 0;
	up->next = *t;
	up->next.steps = steps;
	if (t->step_count > 0)
		memcpy(steps, t->steps, t->step_count * sizeof *steps);
}

/* An outcome that decides confirm goes before a deadline that has passed as well:
 * what everybody has just done need not be undone. */
static void go_on(struct work *w)
{
	decide_settle(w->t);
	decide_by_time(w);
	decide_settle(w->t);
	mark_stuck(w);
	start_calls(w);
	set_timer(w);
}

void txn_step(const struct txn *t, const struct event *ev, struct update *up)
{
	struct work w = { .old = t, .ev = ev, .up = up, .t = &up->next };

	assert_sound(t);
	copy(t, up);
	up->verdict = take_event(&w);
	/* Who gives it away decides nothing more: whoever takes it does. */
	if (!phase_is_ended(w.t->phase) && !(up->flags & DO_RELEASE))
		go_on(&w);
	seal(&w);
}
