/* SPDX-License-Identifier: Apache-2.0
 * answer.c - what the answer to a call, a callback or a person teaches us.
 */
#include "coordinator/core/txn_internal.h"

#include <stddef.h>

static const struct step *find_step(const struct txn *t, uint16_t i)
{
	if (i < t->step_count)
		return &t->steps[i];
	return i == TXN_CHECK && plan_is_checked(t->plan) ? &t->check : NULL;
}

static const struct retry *find_retry(const struct txn *t, uint16_t i)
{
	return i == TXN_CHECK ? &t->plan->check_retry : &t->plan->steps[i].retry;
}

static bool can_be_cancelled(const struct txn *t, uint16_t i)
{
	switch (t->plan->steps[i].kind) {
	case KIND_COMPENSATABLE:
		return true;
	case KIND_PIVOT:
		return t->plan->steps[i].has & HAS_CANCEL;
	case KIND_RETRIABLE:
		break;
	}
	return false;
}

static void on_unknown(struct work *w, uint16_t i, enum op op, struct step *s)
{
	const struct retry *r = find_retry(w->t, i);

	attempt_unknown(s, r, w->ev);
	if (op == OP_CONFIRM && w->ev->u.answer.gone)
		s->stuck = STUCK_GONE;
	if ((op != OP_TRY && op != OP_CHECK) || r->attempts == 0 || s->attempts < r->attempts)
		return;
	if (op == OP_TRY && can_be_cancelled(w->t, i))
		decide_cancel(w, CAUSE_ATTEMPTS, i);
	else
		s->stuck = STUCK_ATTEMPTS;
}

static void on_ok(struct txn *t, enum op op, struct step *s)
{
	attempt_reset(s);
	switch (op) {
	case OP_TRY:
		s->state = STEP_TRIED;
		return;
	case OP_CONFIRM:
		s->state = STEP_CONFIRMED;
		return;
	case OP_CANCEL:
		s->state = STEP_CANCELLED;
		return;
	case OP_CHECK:
		s->state = STEP_TRIED;
		decide_confirm(t);
		return;
	}
}

/* Only a try before the decision, and the back-check, can be answered with "no". */
static bool can_refuse(const struct txn *t, enum op op)
{
	return !phase_is_decided(t->phase) && (op == OP_TRY || op == OP_CHECK);
}

static void on_refused(struct work *w, uint16_t i, enum op op, struct step *s)
{
	s->state = STEP_REFUSED;
	decide_cancel(w, op == OP_CHECK ? CAUSE_CHECK : CAUSE_REFUSED, op == OP_CHECK ? 0 : i);
}

/* A 409 may mean "your other request is still in progress": once there was one
 * whose fate we do not know, it proves nothing. */
static bool proves_nothing(const struct event *ev, const struct step *s)
{
	return ev->u.answer.bare_conflict && ev->u.answer.outcome == OUTCOME_REFUSED &&
	       ev->u.answer.op == OP_TRY && ev->u.answer.from == FROM_CALL &&
	       (s->attempts > 0 || s->misconfigured > 0 ||
	        (s->flags & (STEP_IN_DOUBT | STEP_IS_ONGOING)));
}

static enum outcome judge(const struct work *w, enum op op, const struct step *s)
{
	enum outcome outcome = w->ev->u.answer.outcome;

	if ((unsigned)outcome >= OUTCOME_COUNT || proves_nothing(w->ev, s))
		return OUTCOME_UNKNOWN;
#ifdef BUG_UNKNOWN_IS_REFUSED
	if (outcome == OUTCOME_UNKNOWN && can_refuse(w->t, op))
		return OUTCOME_REFUSED;
#endif
	if (op == OP_CONFIRM && w->ev->u.answer.gone && outcome != OUTCOME_OK)
		return OUTCOME_UNKNOWN;
	return outcome == OUTCOME_REFUSED && !can_refuse(w->t, op) ? OUTCOME_UNKNOWN : outcome;
}

/* Of the op that the step waits for. */
static void learn(struct work *w, uint16_t i, enum op op, struct step *s)
{
	const uint32_t poll_ms = i == TXN_CHECK ? w->t->plan->check_poll_ms
	                                        : w->t->plan->steps[i].poll_ms;

	switch (judge(w, op, s)) {
	case OUTCOME_OK:
		if (op == OP_CHECK && !order_all_tried(w->t)) { /* a step that we try is not ok: ask again when it may be */
			attempt_ongoing(s, poll_ms, w->ev);
			return;
		}
		s->flags = (uint8_t)(s->flags & ~STEP_IS_SKIPPED); /* what was skipped before is behind it */
		on_ok(w->t, op, s);
		return;
	case OUTCOME_REFUSED:
		on_refused(w, i, op, s);
		return;
	case OUTCOME_ONGOING:
		attempt_ongoing(s, poll_ms, w->ev);
		return;
	case OUTCOME_UNKNOWN:
		on_unknown(w, i, op, s);
		return;
	case OUTCOME_MISCONFIGURED:
		attempt_misconfigured(s, find_retry(w->t, i), w->ev);
		return;
	}
}

static bool taught_nothing(const struct work *w, enum op op, const struct step *s)
{
	const enum outcome outcome = judge(w, op, s);

	return outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_MISCONFIGURED;
}

/* It was sent before a person changed how the step is called. It is told, but uses up no attempt and delays nothing:
 * or the old URL's failure would put off the new one, or be the last that retry allows. */
static void learn_outdated(struct work *w, struct step *s)
{
	s->flags |= STEP_IN_DOUBT;
	w->told = true;
}

/* Our try was open when cancel was decided. Its output may be what the cancel needs,
 * so it is recorded before the cancel goes out. */
static void learn_late(struct step *s, const struct event *ev)
{
	if (ev->u.answer.outcome == OUTCOME_OK)
		s->state = STEP_TRIED;
	else if (ev->u.answer.outcome == OUTCOME_REFUSED)
		s->state = STEP_REFUSED;
}

/* Nothing but our own call settled this op since it went out. */
static bool is_unsettled(const struct txn *t, enum op op, const struct step *s)
{
	switch (op) {
	case OP_TRY:
		return s->state == STEP_PENDING;
	case OP_CONFIRM:
		return s->state == STEP_TRIED;
	case OP_CANCEL:
		return s->state != STEP_CANCELLED;
	case OP_CHECK:
		return !phase_is_decided(t->phase);
	}
	return false;
}

/* A call of ours ended. What a callback or a person settled meanwhile stays. */
static void on_call_ended(struct work *w, uint16_t i, struct step *s)
{
	const enum op op = w->ev->u.answer.op;

	if (s == NULL || s->open_op == 0 || s->open_op != 1u + op)
		return;
	s->open_op = 0;
#ifdef BUG_REVISE_DECISION
	if (w->t->phase == PHASE_CONFIRMING && w->ev->u.answer.outcome == OUTCOME_REFUSED) {
		decide_cancel(w, CAUSE_REFUSED, i);
		return;
	}
#endif
	if (!is_unsettled(w->t, op, s))
		return;
	if (op == OP_TRY && w->t->phase == PHASE_CANCELLING)
		learn_late(s, w->ev);
	else if ((s->flags & STEP_IS_PATCHED) && taught_nothing(w, op, s))
		learn_outdated(w, s);
	else
		learn(w, i, op, s);
}

/* The outcome that the log has for this op, or -1. */
static int recorded(enum op op, const struct step *s)
{
	switch (op) {
	case OP_TRY:
	case OP_CHECK:
		if (s->state == STEP_TRIED || s->state == STEP_CONFIRMED)
			return OUTCOME_OK;
		return s->state == STEP_REFUSED ? OUTCOME_REFUSED : -1;
	case OP_CONFIRM:
		return s->state == STEP_CONFIRMED ? OUTCOME_OK : -1;
	case OP_CANCEL:
		return s->state == STEP_CANCELLED ? OUTCOME_OK : -1;
	}
	return -1;
}

/* Why a report of a callback or a person changes nothing, or ACCEPTED. The same
 * report again is no conflict, whatever happened since: its first answer may be lost. */
static enum verdict judge_report(const struct txn *t, const struct event *ev)
{
	const struct step *s = find_step(t, ev->u.answer.step);
	const enum op op = ev->u.answer.op;
	const int     outcome = (int)ev->u.answer.outcome;
	const bool    is_first = op == OP_TRY || op == OP_CHECK;

	if (s == NULL || (unsigned)op >= OP_COUNT ||
	    (op == OP_CHECK) != (ev->u.answer.step == TXN_CHECK))
		return VERDICT_NO_STEP;
	if (ev->u.answer.skip && op == OP_CHECK) /* that would be a decision nobody made */
		return VERDICT_NO_STEP;
	if (recorded(op, s) == outcome)
		return VERDICT_ALREADY;
	if (phase_is_ended(t->phase))
		return is_first && t->phase != PHASE_ABANDONED ? VERDICT_DECIDED : VERDICT_ENDED;
	if (order_expects(t, ev->u.answer.step, op))
		return outcome == OUTCOME_OK || outcome == OUTCOME_REFUSED ? VERDICT_ACCEPTED
		                                                           : VERDICT_ALREADY;
	if (!phase_is_decided(t->phase) || !is_first)
		return VERDICT_NO_STEP;
	if (t->phase == PHASE_CONFIRMING && s->state == STEP_PENDING && op == OP_TRY)
		return VERDICT_NO_STEP; /* a retriable step whose turn has not come */
	return VERDICT_DECIDED;
}

static enum verdict on_report(struct work *w, uint16_t i, struct step *s)
{
	const enum verdict verdict = judge_report(w->t, w->ev);
	const enum op      op = w->ev->u.answer.op;

	if (verdict != VERDICT_ACCEPTED)
		return verdict;
	if (w->ev->u.answer.from == FROM_PERSON &&
	    (w->ev->u.answer.outcome == OUTCOME_OK || can_refuse(w->t, op)))
		s->flags |= w->ev->u.answer.skip ? 0 : STEP_IS_RESOLVED;
	learn(w, i, op, s);
	if (w->ev->u.answer.skip)
		s->flags |= STEP_IS_SKIPPED;
	return VERDICT_ACCEPTED;
}

static struct step *step_at(struct txn *t, uint16_t i)
{
	if (find_step(t, i) == NULL)
		return NULL;
	return i == TXN_CHECK ? &t->check : &t->steps[i];
}

/* A try that cancel has overtaken is only closed: what puts off one op says nothing about the next. */
void answer_put_off(struct work *w)
{
	const uint16_t i = w->ev->u.put_off.step;
	const enum op  op = w->ev->u.put_off.op;
	struct step   *s = step_at(w->t, i);

	if (s == NULL || s->open_op != 1u + op)
		return;
	s->open_op = 0;
	if (order_expects(w->t, i, op) && !(s->flags & STEP_IS_PATCHED))
		attempt_put_off(s, w->ev);
}

enum verdict answer_take(struct work *w)
{
	const uint16_t i = w->ev->u.answer.step;
	struct step   *s = step_at(w->t, i);

	if (w->ev->u.answer.from != FROM_CALL)
		return on_report(w, i, s);
	on_call_ended(w, i, s);
	return VERDICT_ACCEPTED;
}
