/* SPDX-License-Identifier: Apache-2.0
 * order.c - who goes when: tries along the DAG, confirms along it, cancels against it.
 */
#include "coordinator/core/txn_internal.h"

#include <assert.h>

static bool after_all(const struct txn *t, uint16_t i,
                      bool (*done)(const struct txn *t, uint16_t i))
{
	const struct plan_step *ps = &t->plan->steps[i];

	for (unsigned k = 0; k < ps->after_n; k++)
		if (!done(t, t->plan->edges[ps->after_at + k]))
			return false;
	return true;
}

static bool is_tried(const struct txn *t, uint16_t i)
{
	return t->steps[i].state == STEP_TRIED;
}

static bool kind_is_tried(const struct txn *t, enum step_kind kind)
{
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->plan->steps[i].kind == kind && !is_tried(t, i))
			return false;
	return true;
}

bool order_all_tried(const struct txn *t)
{
	return kind_is_tried(t, KIND_COMPENSATABLE) && kind_is_tried(t, KIND_PIVOT);
}

/* Of a pending step, before the decision. */
static bool try_may_start(const struct txn *t, uint16_t i)
{
	switch (t->plan->steps[i].kind) {
	case KIND_COMPENSATABLE:
#ifdef BUG_DEPENDENT_BEFORE_OUTCOME
		return true;
#else
		return after_all(t, i, is_tried);
#endif
	case KIND_PIVOT: /* it stands after compensatable steps only: all of them are ok */
		return kind_is_tried(t, KIND_COMPENSATABLE);
	case KIND_RETRIABLE:
		return false;
	}
	assert(0 && "plan_check lets no other kind pass");
	return false;
}

bool order_may_be_tried(const struct txn *t, uint16_t i)
{
	return i < t->step_count && t->start_at == 0 && !phase_is_decided(t->phase) &&
	       t->steps[i].state == STEP_PENDING && try_may_start(t, i);
}

bool order_is_confirmed(const struct txn *t, uint16_t i)
{
	const struct plan_step *ps = &t->plan->steps[i];

	if (ps->kind == KIND_RETRIABLE)
		return is_tried(t, i);
	return !(ps->has & HAS_CONFIRM) || t->steps[i].state == STEP_CONFIRMED;
}

bool order_is_cancelled(const struct txn *t, uint16_t i)
{
	const struct step *s = &t->steps[i];

	switch (s->state) {
	case STEP_UNTRIED:
	case STEP_CANCELLED:
		return true;
	case STEP_REFUSED:
#ifdef BUG_SKIP_REFUSED_STEP
		return true;
#endif
	case STEP_PENDING:
	case STEP_TRIED:
	case STEP_CONFIRMED:
		/* Nothing to call, but while our own try is open its effect may still come. */
		return !(t->plan->steps[i].has & HAS_CANCEL) && s->open_op == 0;
	}
	assert(0 && "txn_check lets no other state pass");
	return false;
}

/* ---- cancel goes in reverse ------------------------------------------------ */

/* The sweep starts at the steps nobody stands behind and goes on through those that
 * have nothing left to cancel: so a step without a cancel passes the order on. */
struct sweep {
	const struct txn *t;
	uint16_t         *ready;
	uint16_t          ready_n;
	uint16_t          done_n;
	uint16_t          done[TXN_STEPS_MAX];
	uint16_t          waits[TXN_STEPS_MAX]; /* for how many steps behind it */
};

static void sweep_reach(struct sweep *w, uint16_t i)
{
	if (order_is_cancelled(w->t, i))
		w->done[w->done_n++] = i;
	else
		w->ready[w->ready_n++] = i;
}

static void sweep_release(struct sweep *w, uint16_t i)
{
	if (--w->waits[i] == 0)
		sweep_reach(w, i);
}

static bool joined_before(const struct plan *plan, uint16_t i)
{
	return i > 0 && plan->steps[i].joined; /* then all of them joined */
}

/* The pivot stands behind every compensatable step, said or not; a step that joined
 * stands behind those that joined before it. */
static void sweep_count(struct sweep *w)
{
	const struct plan *plan = w->t->plan;
	uint16_t           pivots = 0;

	for (uint16_t i = 0; i < w->t->step_count; i++)
		pivots = (uint16_t)(pivots + (plan->steps[i].kind == KIND_PIVOT));
	for (uint16_t i = 0; i < w->t->step_count; i++)
		w->waits[i] = plan->steps[i].kind == KIND_COMPENSATABLE ? pivots : 0;
	for (uint16_t i = 0; i < w->t->step_count; i++) {
		const struct plan_step *ps = &plan->steps[i];

		for (unsigned k = 0; k < ps->after_n; k++)
			w->waits[plan->edges[ps->after_at + k]]++;
		if (joined_before(plan, i))
			w->waits[i - 1]++;
	}
}

static void sweep_pass(struct sweep *w, uint16_t i)
{
	const struct plan      *plan = w->t->plan;
	const struct plan_step *ps = &plan->steps[i];

	for (uint16_t k = w->t->step_count; ps->kind == KIND_PIVOT && k-- > 0;)
		if (plan->steps[k].kind == KIND_COMPENSATABLE)
			sweep_release(w, k);
	for (unsigned k = 0; k < ps->after_n; k++)
		sweep_release(w, plan->edges[ps->after_at + k]);
	if (joined_before(plan, i))
		sweep_release(w, (uint16_t)(i - 1));
}

static uint16_t ready_to_cancel(const struct txn *t, uint16_t *ready)
{
	struct sweep w;

	w.t = t;
	w.ready = ready;
	w.ready_n = w.done_n = 0;
	sweep_count(&w);
	for (uint16_t i = t->step_count; i-- > 0;)
		if (w.waits[i] == 0)
			sweep_reach(&w, i);
	for (uint16_t k = 0; k < w.done_n; k++)
		sweep_pass(&w, w.done[k]);
	return w.ready_n;
}

/* ---- what may go on now ------------------------------------------------------ */

static bool may_go_on(const struct txn *t, uint16_t i)
{
	switch (t->phase) {
	case PHASE_PREPARED:
	case PHASE_TRYING:
		return order_may_be_tried(t, i);
	case PHASE_CONFIRMING:
		return !order_is_confirmed(t, i) && after_all(t, i, order_is_confirmed);
	case PHASE_CANCELLING: /* the sweep knows */
	case PHASE_CONFIRMED:
	case PHASE_CANCELLED:
	case PHASE_ABANDONED:
		break;
	}
	return false;
}

uint16_t order_ready(const struct txn *t, uint16_t *ready)
{
	uint16_t n = 0;

	if (t->start_at != 0)
		return 0;
	if (t->phase == PHASE_CANCELLING) {
#ifdef BUG_FORWARD_CANCEL_ORDER
		for (uint16_t i = 0; i < t->step_count; i++)
			if (!order_is_cancelled(t, i))
				return (void)(ready[0] = i), 1;
#endif
		return ready_to_cancel(t, ready);
	}
	for (uint16_t i = 0; i < t->step_count; i++)
		if (may_go_on(t, i))
			ready[n++] = i;
	return n;
}

enum op order_op(const struct txn *t, uint16_t i)
{
	if (t->phase == PHASE_CANCELLING)
		return OP_CANCEL;
	if (t->phase == PHASE_CONFIRMING && t->plan->steps[i].kind != KIND_RETRIABLE)
		return OP_CONFIRM;
	return OP_TRY;
}

static bool check_is_wanted(const struct txn *t)
{
	return t->phase == PHASE_PREPARED && plan_is_checked(t->plan) && t->start_at == 0;
}

static bool is_ready(const struct txn *t, uint16_t i)
{
	uint16_t ready[TXN_STEPS_MAX];
	uint16_t n = order_ready(t, ready);

	for (uint16_t k = 0; k < n; k++)
		if (ready[k] == i)
			return true;
	return false;
}

int txn_wanted(const struct txn *t, uint16_t step)
{
	if (step == TXN_CHECK)
		return check_is_wanted(t) ? OP_CHECK : -1;
	if (!is_ready(t, step))
		return -1;
	if (t->steps[step].open_op != 0) /* an open call of the op before comes first */
		return t->steps[step].open_op - 1;
	return (int)order_op(t, step);
}

bool order_expects(const struct txn *t, uint16_t i, enum op op)
{
	return txn_wanted(t, i) == (int)op && (i == TXN_CHECK || order_op(t, i) == op);
}

bool txn_in_doubt(const struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->plan->steps[i].kind == KIND_PIVOT)
			return !(t->plan->steps[i].has & HAS_CANCEL) && order_may_be_tried(t, i);
	return false;
}
