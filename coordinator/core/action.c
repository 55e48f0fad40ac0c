/* SPDX-License-Identifier: Apache-2.0
 * action.c - what can be asked of a transaction now: by asking txn_step, and forgetting what it did.
 */
#include "coordinator/core/txn_internal.h"

#include <assert.h>

const struct action_fact *action_fact(enum action a)
{
#define X(name, text, phases, of_step, is_typed, effect, why_not) \
	[ACTION_##name] = { text, effect, why_not, phases, of_step, is_typed },
	static const struct action_fact facts[ACTION_COUNT] = { TXN_ACTIONS(X) };
#undef X

	assert((int)a < ACTION_COUNT);
	return &facts[a];
}

bool txn_is_as_at(const struct txn *t, uint64_t version)
{
	return version <= t->version && version >= (t->same_since != 0 ? t->same_since : t->version);
}

static struct event event_of(const struct txn *t, enum action a, uint16_t step, int op)
{
	struct event ev = { .kind = EV_TICK };

	switch (a) {
	case ACTION_CONFIRM:
		ev.kind = EV_CONFIRM;
		return ev;
	case ACTION_CANCEL:
		ev.kind = EV_CANCEL;
		ev.u.cancel.cause = CAUSE_OPERATOR;
		return ev;
	case ACTION_PAUSE:
		ev.kind = EV_PAUSE;
		return ev;
	case ACTION_RESUME:
		ev.kind = EV_UNPAUSE;
		return ev;
	case ACTION_RETRY:
		ev.kind = EV_RETRY;
		return ev;
	case ACTION_RELEASE:
		ev.kind = EV_RELEASE;
		return ev;
	case ACTION_ABANDON:
		ev.kind = EV_ABANDON;
		return ev;
	case ACTION_RESOLVE:
	case ACTION_SKIP:
		ev.kind = EV_ANSWER;
		ev.u.answer.step = step;
		ev.u.answer.op = (enum op)op;
		ev.u.answer.from = FROM_PERSON;
		ev.u.answer.outcome = OUTCOME_OK;
		ev.u.answer.skip = a == ACTION_SKIP;
		return ev;
	case ACTION_PATCH:
		ev.kind = EV_PATCH;
		ev.u.patch.plan = t->plan;
		ev.u.patch.step = step;
		ev.u.patch.moved = op;
		return ev;
	}
	assert(0 && "there is no other action");
	return ev;
}

enum verdict txn_judge(const struct txn *t, int64_t now, enum action a, uint16_t step, int op)
{
	struct step   steps[TXN_STEPS_MAX];
	struct call   calls[TXN_STEPS_MAX + 1];
	struct update up = { .next = { .steps = steps }, .calls = calls };
	struct event  ev = event_of(t, a, step, op);

	ev.now = now;
	txn_step(t, &ev, &up);
	return up.verdict;
}
