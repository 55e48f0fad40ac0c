/* SPDX-License-Identifier: Apache-2.0
 * plan.c - is this plan one that the machine can run?
 */
#include "coordinator/core/txn.h"

#include <stddef.h>

enum {
	HOUR_MS = 3600 * 1000,
	DAY_MS = 24 * HOUR_MS,
	FACTOR_MIN = 1000,
	FACTOR_MAX = 100000,
	HAS_ALL = HAS_TRY | HAS_CONFIRM | HAS_CANCEL
};

static const char *check_retry(const struct retry *r)
{
	if (r->initial_ms < 1 || r->initial_ms > HOUR_MS)
		return "the first delay of a retry must be 1 ms to 1 h";
	if (r->max_ms < r->initial_ms || r->max_ms > DAY_MS)
		return "the longest delay of a retry must be its first delay to 1 d";
	if (r->factor_milli < FACTOR_MIN || r->factor_milli > FACTOR_MAX)
		return "the factor of a retry must be 1 to 100";
	return NULL;
}

static const char *check_calls(const struct plan_step *ps)
{
	if (ps->has & ~(unsigned)HAS_ALL)
		return "a step has a try, a confirm and a cancel, nothing else";
	if (ps->kind == KIND_RETRIABLE && ps->has != HAS_TRY)
		return "a retriable step has an action and nothing else";
	if (!ps->joined && !(ps->has & HAS_TRY))
		return "a step of a definition has a try";
	return NULL;
}

static const char *check_joined(const struct plan *plan, uint16_t i)
{
	const struct plan_step *ps = &plan->steps[i];

	if (!ps->joined)
		return NULL;
	if (!plan->open || plan->mode != MODE_TCC)
		return "a step joins an open tcc transaction only";
	if (ps->kind != KIND_COMPENSATABLE)
		return "a step that joins is compensatable";
	if (ps->after_n != 0)
		return "a step that joins has no after";
	return NULL;
}

/* A way back must not start behind the point of no return. */
static const char *check_after(const struct plan *plan, uint16_t i)
{
	const struct plan_step *ps = &plan->steps[i];

	if (ps->after_at + ps->after_n > TXN_EDGES_MAX)
		return "the plan has too many edges";
	for (unsigned k = 0; k < ps->after_n; k++) {
		uint16_t before = plan->edges[ps->after_at + k];

		if (before >= plan->step_count)
			return "after names a step that does not exist";
		if (plan->steps[before].kind == KIND_COMPENSATABLE || before == i)
			continue;
		if (ps->kind == KIND_COMPENSATABLE)
			return "a compensatable step stands behind a pivot or a retriable one";
		if (ps->kind == KIND_PIVOT)
			return "the pivot stands behind a retriable step";
	}
	return NULL;
}

static const char *check_step(const struct plan *plan, uint16_t i)
{
	const struct plan_step *ps = &plan->steps[i];
	const char             *why;

	if ((unsigned)ps->kind >= KIND_COUNT)
		return "a step is compensatable, pivot or retriable";
	if (plan->mode == MODE_MESSAGE && ps->kind != KIND_RETRIABLE)
		return "a message has only retriable steps";
	if (plan->open && plan->mode == MODE_TCC && !ps->joined)
		return "an open tcc transaction has only steps that joined";
	why = check_calls(ps);
	if (why == NULL)
		why = check_joined(plan, i);
	if (why == NULL)
		why = check_after(plan, i);
	if (why == NULL)
		why = check_retry(&ps->retry);
	return why;
}

static bool find_second_pivot(const struct plan *plan, uint16_t *step)
{
	bool seen = false;

	for (*step = 0; *step < plan->step_count; ++*step) {
		if (plan->steps[*step].kind != KIND_PIVOT)
			continue;
		if (seen)
			return true;
		seen = true;
	}
	return false;
}

/* ---- cycles ------------------------------------------------------------------ */

/* Takes away, again and again, what no step left stands behind. A cycle stays. */
static void strip(const struct plan *plan, bool *left)
{
	uint16_t waits[TXN_STEPS_MAX] = { 0 }, free_steps[TXN_STEPS_MAX];
	uint16_t n = 0;

	for (uint16_t i = 0; i < plan->step_count; i++)
		for (unsigned k = 0; k < plan->steps[i].after_n; k++)
			waits[plan->edges[plan->steps[i].after_at + k]]++;
	for (uint16_t i = 0; i < plan->step_count; i++) {
		left[i] = waits[i] != 0;
		if (!left[i])
			free_steps[n++] = i;
	}
	while (n > 0) {
		const struct plan_step *ps = &plan->steps[free_steps[--n]];

		for (unsigned k = 0; k < ps->after_n; k++) {
			uint16_t before = plan->edges[ps->after_at + k];

			if (--waits[before] == 0) {
				left[before] = false;
				free_steps[n++] = before;
			}
		}
	}
}

static uint16_t left_behind(const struct plan *plan, const bool *left, uint16_t step)
{
	for (uint16_t i = 0; i < plan->step_count; i++)
		for (unsigned k = 0; left[i] && k < plan->steps[i].after_n; k++)
			if (plan->edges[plan->steps[i].after_at + k] == step)
				return i;
	return step;
}

/* What is left is a cycle and what stands before one: going on to a step behind
 * as often as there are steps ends on the cycle. */
static bool find_cycle(const struct plan *plan, uint16_t *step)
{
	bool left[TXN_STEPS_MAX];

	strip(plan, left);
	for (*step = 0; *step < plan->step_count && !left[*step]; ++*step)
		;
	if (*step == plan->step_count)
		return false;
	for (uint16_t k = 0; k < plan->step_count; k++)
		*step = left_behind(plan, left, *step);
	return true;
}

/* ---- the whole ----------------------------------------------------------------- */

static const char *check_head(const struct plan *plan)
{
	if ((unsigned)plan->mode >= MODE_COUNT)
		return "the mode is saga, tcc or message";
	if (plan->step_count > TXN_STEPS_MAX)
		return "the plan has too many steps";
	if (plan->open && plan->mode == MODE_SAGA)
		return "a saga is never open";
	if (!plan->open && plan->step_count == 0)
		return "the plan has no steps";
	if (plan->max_parallel < 1 || plan->max_parallel > TXN_STEPS_MAX)
		return "max_parallel must be 1 to the limit of steps";
	if (plan->has_check && !plan->open)
		return "only what is open has a check";
	return plan_is_checked(plan) ? check_retry(&plan->check_retry) : NULL;
}

const char *plan_check(const struct plan *plan, uint16_t *step)
{
	const char *why = check_head(plan);

	*step = TXN_CHECK;
	if (why != NULL)
		return why;
	for (*step = 0; *step < plan->step_count; ++*step) {
		why = check_step(plan, *step);
		if (why != NULL)
			return why;
	}
	if (find_second_pivot(plan, step))
		return "the plan has more than one pivot";
	if (find_cycle(plan, step))
		return "the step stands behind itself";
	return NULL;
}
