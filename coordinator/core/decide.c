/* SPDX-License-Identifier: Apache-2.0
 * decide.c - confirm, cancel, the end, and what the clock decides.
 */
#include "coordinator/core/txn_internal.h"

/*
 *              refused, deadline, cancel            confirm, check ok
 *   cancelling <------------------------ prepared ----------------------> confirming
 *   cancelling <------------------------ trying   ----------------------> confirming
 *       |      refused, attempts, deadline,         all compensatable steps     |
 *       |      cancel                               and the pivot are ok        |
 *       v                                                                       v
 *   cancelled         any of the four -> abandoned, by a person             confirmed
 *
 * What is left to do may be nothing: then the arrow goes on to the end in the same commit.
 */

bool decide_is_held(const struct txn *t)
{
	return t->paused || t->stuck >= STUCK_POISON;
}

/* ---- decisions -------------------------------------------------------------- */

static void reset_steps(struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++)
		attempt_reset(&t->steps[i]);
	attempt_reset(&t->check);
}

void decide_confirm(struct txn *t)
{
	t->phase = PHASE_CONFIRMING;
	reset_steps(t);
}

/* Whether a step may have been tried is asked of the old state: what this very
 * commit makes startable was not called yet, and will not be. A refused step is not
 * spared: an earlier attempt of ours may still land after the refusal. */
void decide_cancel(struct work *w, enum cause cause, uint16_t step)
{
	struct txn *t = w->t;

	t->phase = PHASE_CANCELLING;
	t->cause = cause;
	t->cause_step = step;
	t->start_at = 0;
	reset_steps(t);
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->steps[i].state == STEP_PENDING && !order_may_be_tried(w->old, i))
			t->steps[i].state = STEP_UNTRIED;
}

void decide_end(struct txn *t, enum phase phase)
{
	t->phase = phase;
	t->start_at = 0;
	t->paused = false;
	t->stuck = STUCK_NONE;
	t->stuck_at = 0;
	reset_steps(t);
	for (uint16_t i = 0; i < t->step_count; i++)
		t->steps[i].open_op = 0; /* a call whose answer can teach nothing any more */
	t->check.open_op = 0;
}

static bool is_finished(const struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->phase == PHASE_CONFIRMING ? !order_is_confirmed(t, i)
		                                 : !order_is_cancelled(t, i))
			return false;
	return true;
}

void decide_settle(struct txn *t)
{
	if (t->phase == PHASE_TRYING && t->start_at == 0 && order_all_tried(t))
		decide_confirm(t);
	if (t->phase == PHASE_CONFIRMING && is_finished(t))
		decide_end(t, PHASE_CONFIRMED);
	else if (t->phase == PHASE_CANCELLING && is_finished(t))
		decide_end(t, PHASE_CANCELLED);
}

/* ---- time ---------------------------------------------------------------------- */

bool decide_deadline_can_cancel(const struct txn *t)
{
#ifdef BUG_CANCEL_IN_DOUBT
	const bool in_doubt = false;
#else
	const bool in_doubt = txn_in_doubt(t);
#endif

	return t->deadline_at != 0 && !phase_is_decided(t->phase) &&
	       !plan_is_checked(t->plan) && !in_doubt;
}

/* The doubt, too, is asked of the old state: a pivot that this commit makes startable
 * was not called yet. */
static bool deadline_cancels(const struct work *w)
{
	return !phase_is_decided(w->t->phase) && w->ev->now >= w->old->deadline_at &&
	       decide_deadline_can_cancel(w->old);
}

void decide_by_time(struct work *w)
{
	struct txn   *t = w->t;
	const int64_t now = w->ev->now;

	if (decide_is_held(t))
		return;
	if (deadline_cancels(w))
		decide_cancel(w, CAUSE_DEADLINE, 0);
	if (t->start_at != 0 && now >= t->start_at)
		t->start_at = 0;
	for (uint16_t i = 0; i < t->step_count; i++)
		attempt_overdue(&t->steps[i], t->plan->stuck_after_ms, now);
	attempt_overdue(&t->check, t->plan->stuck_after_ms, now);
}
