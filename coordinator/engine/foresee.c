/* SPDX-License-Identifier: Apache-2.0
 * foresee.c - what a command would do, by the core that would do it; nothing is kept.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

/* Each round ends a call or makes time pass to the next one; a step has three of each, and few retries count. */
enum { ROUNDS_MAX = 4 * TXN_STEPS_MAX };

struct dream {
	struct txn       t;
	struct step      steps[2][TXN_STEPS_MAX + 1];
	struct call      calls[TXN_STEPS_MAX + 1];
	struct foresight seen;
	struct foreseen  list[3 * TXN_STEPS_MAX];
	struct txn       after;
	struct step      after_steps[TXN_STEPS_MAX + 1];
	int64_t          now;
};

static void copy_txn(struct txn *to, struct step *steps, const struct txn *t)
{
	*to = *t;
	to->steps = steps;
	if (t->step_count > 0)
		memcpy(steps, t->steps, t->step_count * sizeof *steps);
}

static struct update step(struct dream *d, struct event *ev)
{
	struct step  *other = d->t.steps == d->steps[0] ? d->steps[1] : d->steps[0];
	struct update up = { .next = { .steps = other }, .calls = d->calls };

	ev->now = d->now;
	txn_step(&d->t, ev, &up);
	d->t = up.next;
	return up;
}

static void note_calls(struct dream *d, const struct update *up, bool at_once)
{
	for (uint16_t i = 0; i < up->call_count && d->seen.call_n < 3 * TXN_STEPS_MAX; i++)
		d->list[d->seen.call_n++] = (struct foreseen){ up->calls[i].step, up->calls[i].op, at_once };
}

static bool end_one_call(struct dream *d, struct event *ev)
{
	for (uint16_t i = 0; i < d->t.step_count; i++) {
		if (d->t.steps[i].open_op == 0)
			continue;
		*ev = (struct event){ .kind = EV_ANSWER };
		ev->u.answer.step = i;
		ev->u.answer.op = (enum op)(d->t.steps[i].open_op - 1);
		ev->u.answer.from = FROM_CALL;
		ev->u.answer.outcome = OUTCOME_OK;
		return true;
	}
	return false;
}

/* The next call that only waits for its time. */
static bool pass_time(struct dream *d, struct event *ev)
{
	int64_t at = INT64_MAX;

	for (uint16_t i = 0; i < d->t.step_count; i++)
		if (txn_wanted(&d->t, i) >= 0 && d->t.steps[i].next_at > d->now && d->t.steps[i].next_at < at)
			at = d->t.steps[i].next_at;
	if (at == INT64_MAX || (d->t.deadline_at != 0 && at >= d->t.deadline_at && !phase_is_decided(d->t.phase)))
		return false;
	d->now = at;
	*ev = (struct event){ .kind = EV_TICK };
	return true;
}

/* As if every call were answered with success. */
static void go_on(struct dream *d)
{
	struct event ev;

	for (unsigned round = 0; round < ROUNDS_MAX && !phase_is_ended(d->t.phase); round++) {
		if (!end_one_call(d, &ev) && !pass_time(d, &ev))
			break;
		struct update up = step(d, &ev);
		note_calls(d, &up, false);
	}
	d->seen.has_end = phase_is_ended(d->t.phase);
	d->seen.end = d->t.phase;
}

/* Of one that is driven elsewhere, or by nobody, the calls under way are not known: those that whoever has it in
 * memory would have made. */
static void wake(struct engine *e, struct dream *d, const struct view *view)
{
	struct event ev = { .kind = EV_RESUME };

	copy_txn(&d->t, d->steps[0], view->txn);
	d->now = now_ms(e);
	if (!uuid_eq(view->row.owner, e->me) && !phase_is_ended(d->t.phase))
		step(d, &ev);
}

static void dream(struct engine *e, struct dream *d, const struct view *view, struct event *ev)
{
	struct update up;

	wake(e, d, view);
	up = step(d, ev);
	d->seen.verdict = up.verdict;
	copy_txn(&d->after, d->after_steps, &d->t);
	d->seen.before = view->txn;
	d->seen.after = &d->after;
	d->seen.calls = d->list;
	if (up.verdict != VERDICT_ACCEPTED)
		return;
	note_calls(d, &up, true);
	go_on(d);
}

enum command_result engine_foresee(struct engine *e, const struct view *view, const struct command *c,
                                   foresight_show *show, void *arg, struct err *err)
{
	struct ask   asked = { 0 };
	struct event   ev = { .kind = EV_TICK };
	struct note    note = { 0 };
	struct dream  *d;
	enum command_result result = COMMAND_APPLIED;

	if (view->txn == NULL || view->row.def == NULL) {
		err_set(err, ERR_INVALID, "this transaction cannot take it: its row cannot be read");
		return COMMAND_INVALID;
	}
	d = mem_alloc(sizeof *d);
	d->seen.def = view->row.def;
	switch (ask_event(e, c, view->row.def, view->txn, &ev, &note, &asked)) {
	case ASK_EVENT:
		if (asked.grown != NULL)
			d->seen.def = asked.grown;
		dream(e, d, view, &ev);
		break;
	case ASK_VERDICT:
		d->seen.verdict = asked.verdict;
		break;
	case ASK_REFUSED:
		*err = asked.err;
		result = asked.result;
		break;
	}
	if (c->if_version != 0 && !txn_is_as_at(view->txn, c->if_version))
		d->seen = (struct foresight){ .verdict = VERDICT_CHANGED, .def = d->seen.def };
	if (result == COMMAND_APPLIED)
		show(arg, &d->seen);
	if (asked.grown != NULL)
		e->ports.definition.drop(e->ports.definition.ctx, asked.grown);
	note_free(&note);
	free(d);
	return result;
}
