/* SPDX-License-Identifier: Apache-2.0
 * check.c - may a row that came back from the log be given to txn_step?
 */
#include "coordinator/core/txn.h"

#include <stddef.h>

enum {
	FLAGS_ALL = STEP_IS_ONGOING | STEP_IS_RESOLVED | STEP_IN_DOUBT | STEP_IS_SKIPPED,
	PENDING = 1u << STEP_PENDING,
	TRIED = 1u << STEP_TRIED,
	REFUSED = 1u << STEP_REFUSED,
	UNTRIED = 1u << STEP_UNTRIED,
	CONFIRMED = 1u << STEP_CONFIRMED,
	CANCELLED = 1u << STEP_CANCELLED,
	ANY = (1u << STEP_STATE_COUNT) - 1
};

static const int64_t time_max = INT64_MAX / 4; /* so that adding a delay cannot overflow */

/* A retriable step is not touched before confirm is decided, and never cancelled. */
static unsigned retriable_states(enum phase phase)
{
	switch (phase) {
	case PHASE_PREPARED:
	case PHASE_TRYING:
		return PENDING;
	case PHASE_CONFIRMING:
		return PENDING | TRIED;
	case PHASE_CONFIRMED:
		return TRIED;
	case PHASE_CANCELLING:
	case PHASE_CANCELLED:
		return UNTRIED;
	case PHASE_ABANDONED:
		break;
	}
	return ANY;
}

static unsigned legal_states(enum phase phase, const struct plan_step *ps)
{
	const unsigned called = ps->has & HAS_TRY ? PENDING | UNTRIED | REFUSED : 0;
	const unsigned undone = ps->has & HAS_CANCEL ? CANCELLED : 0;

	if (ps->kind == KIND_RETRIABLE)
		return retriable_states(phase);
	switch (phase) {
	case PHASE_PREPARED:
	case PHASE_TRYING:
		return TRIED | (called & PENDING);
	case PHASE_CONFIRMING:
		return TRIED | (ps->has & HAS_CONFIRM ? CONFIRMED : 0);
	case PHASE_CONFIRMED:
		return ps->has & HAS_CONFIRM ? CONFIRMED : TRIED;
	case PHASE_CANCELLING:
		return TRIED | called | undone;
	case PHASE_CANCELLED:
		return undone ? undone | (called & UNTRIED) : TRIED | called;
	case PHASE_ABANDONED:
		break;
	}
	return ANY;
}

static bool time_is_sane(int64_t at)
{
	return at >= 0 && at <= time_max;
}

static const char *check_step(const struct step *s)
{
	if ((unsigned)s->state >= STEP_STATE_COUNT)
		return "a step is in no state that exists";
	if ((unsigned)s->stuck > STUCK_GONE)
		return "a step is stuck for no reason that exists";
	if (s->flags & ~(unsigned)FLAGS_ALL)
		return "a step has flags that do not exist";
	if (s->open_op != 0)
		return "a step that was just read has an open call";
	if (!time_is_sane(s->first_at) || !time_is_sane(s->next_at))
		return "a time of a step is out of range";
	return NULL;
}

/* Outcomes are logged before what stands behind them is tried; the pivot stands
 * behind every compensatable step. */
static bool is_out_of_order(const struct txn *t, uint16_t i)
{
	const struct plan_step *ps = &t->plan->steps[i];

	if (t->phase != PHASE_TRYING || t->steps[i].state != STEP_TRIED)
		return false;
	for (unsigned k = 0; k < ps->after_n; k++)
		if (t->steps[t->plan->edges[ps->after_at + k]].state != STEP_TRIED)
			return true;
	for (uint16_t k = 0; ps->kind == KIND_PIVOT && k < t->step_count; k++)
		if (t->plan->steps[k].kind == KIND_COMPENSATABLE &&
		    t->steps[k].state != STEP_TRIED)
			return true;
	return false;
}

static const char *check_steps(const struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++) {
		const char *why = check_step(&t->steps[i]);

		if (why != NULL)
			return why;
		if (!(legal_states(t->phase, &t->plan->steps[i]) & 1u << t->steps[i].state))
			return "a step is in a state that its phase does not allow";
		if (t->start_at != 0 && t->phase == PHASE_TRYING &&
		    t->steps[i].state != STEP_PENDING)
			return "a step was tried before the transaction was started";
		if (is_out_of_order(t, i))
			return "a step was tried before one that it stands behind";
	}
	return check_step(&t->check);
}

static const char *check_cause(const struct txn *t)
{
	bool cancels = t->phase == PHASE_CANCELLING || t->phase == PHASE_CANCELLED;

	if ((unsigned)t->cause >= CAUSE_COUNT)
		return "the cause of the cancel does not exist";
	if (t->phase != PHASE_ABANDONED && cancels != (t->cause != CAUSE_NONE))
		return "a cancel has a cause, and nothing else has one";
	if ((t->cause == CAUSE_REFUSED || t->cause == CAUSE_ATTEMPTS) &&
	    t->cause_step >= t->step_count)
		return "the cause of the cancel is a step that does not exist";
	return NULL;
}

const char *txn_check(const struct txn *t)
{
	const char *why;

	if (t->plan == NULL || t->step_count != t->plan->step_count ||
	    t->step_count > TXN_STEPS_MAX)
		return "the steps are not those of the plan";
	if (t->version == 0)
		return "the version is 0";
	if ((unsigned)t->phase >= PHASE_COUNT)
		return "the phase does not exist";
	if (t->phase == PHASE_PREPARED ? !t->plan->open
	                               : t->phase == PHASE_TRYING && t->plan->open)
		return "the plan is never in this phase";
	if ((unsigned)t->stuck >= STUCK_COUNT)
		return "it is stuck for no reason that exists";
	if (t->stuck_at < 0 || t->start_at < 0 || t->deadline_at < 0)
		return "a time is negative";
	why = check_cause(t);
	return why != NULL ? why : check_steps(t);
}
