/* SPDX-License-Identifier: Apache-2.0
 * ask.c - a command as an event of its transaction, whoever decides on it.
 */
#include "coordinator/base/json.h"
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

bool ask_takes_steps(const struct plan *plan)
{
	return plan->open && plan->mode != MODE_MESSAGE;
}

static enum ask_result verdict(struct ask *asked, enum verdict v)
{
	asked->verdict = v;
	return ASK_VERDICT;
}

static enum ask_result refused(struct ask *asked, enum command_result result)
{
	asked->result = result;
	asked->grown = NULL;
	return ASK_REFUSED;
}

/* If it takes no steps the core says so; whether the step's document makes sense is beside the point. */
static enum ask_result ask_join(struct engine *e, const struct command *c, struct definition *def,
                                const struct txn *t, struct event *ev, struct ask *asked)
{
	const struct definition_port *d = &e->ports.definition;

	ev->kind = EV_JOIN;
	ev->u.join.plan = t->plan;
	if (!ask_takes_steps(t->plan))
		return ASK_EVENT;
	switch (d->join(d->ctx, def, c->body, &asked->grown, &asked->grown_text, &asked->err)) {
	case JOIN_NEW:
		ev->u.join.plan = d->plan(d->ctx, asked->grown);
		return ASK_EVENT;
	case JOIN_SAME:
		asked->grown = NULL;
		return verdict(asked, VERDICT_ALREADY);
	case JOIN_DIFFERS:
		return refused(asked, COMMAND_DIFFERS);
	case JOIN_INVALID:
		return refused(asked, COMMAND_INVALID);
	}
	return refused(asked, COMMAND_INVALID);
}

static enum ask_result ask_patch(struct engine *e, const struct command *c, struct definition *def, struct event *ev,
                                 struct ask *asked)
{
	const struct definition_port *d = &e->ports.definition;
	int                           step = d->step_find(d->ctx, def, c->step);

	if (step < 0)
		return verdict(asked, VERDICT_NO_STEP);
	if (d->patch(d->ctx, def, c->step, c->body, &asked->grown, &asked->grown_text, &asked->err) != JOIN_NEW)
		return refused(asked, COMMAND_INVALID);
	ev->kind = EV_PATCH;
	ev->u.patch.plan = d->plan(d->ctx, asked->grown);
	ev->u.patch.step = (uint16_t)step;
	ev->u.patch.moved = c->moves ? (int)c->op : -1;
	return ASK_EVENT;
}

static bool is_person(const struct command *c)
{
	return c->kind == COMMAND_RESOLVE || c->kind == COMMAND_SKIP;
}

static enum outcome outcome_of(const struct command *c)
{
	if (c->kind == COMMAND_RESOLVE)
		return c->outcome;
	return c->kind == COMMAND_COMPLETE || c->kind == COMMAND_SKIP ? OUTCOME_OK : OUTCOME_REFUSED;
}

static void take_note(struct engine *e, const struct command *c, struct note *note)
{
	if (!is_person(c)) /* who is no answer */
		note->answered_at = now_ms(e);
	if (c->kind == COMMAND_FAIL) {
		note->error = c->body.n > 0 ? str_dup(c->body) : (struct str){ 0 };
		note->at = now_ms(e);
	} else if (c->body.n > 0 && outcome_of(c) == OUTCOME_OK) {
		note->output = str_dup(c->body);
	}
}

static enum ask_result ask_answer(struct engine *e, const struct command *c, struct definition *def,
                                  const struct txn *t, struct event *ev, struct note *note, struct ask *asked)
{
	const struct definition_port *d = &e->ports.definition;
	int                           step;

	step = c->op == OP_CHECK && plan_is_checked(t->plan) ? TXN_CHECK : d->step_find(d->ctx, def, c->step);
	if (step < 0)
		return verdict(asked, VERDICT_NO_STEP);
	if (c->kind != COMMAND_FAIL && c->body.n > 0 && !json_is_valid(c->body)) {
		err_set(&asked->err, ERR_INVALID, "the output is not JSON");
		return refused(asked, COMMAND_INVALID);
	}
	ev->kind = EV_ANSWER;
	ev->u.answer.step = (uint16_t)step;
	ev->u.answer.op = c->op;
	ev->u.answer.from = is_person(c) ? FROM_PERSON : FROM_CALLBACK;
	ev->u.answer.outcome = outcome_of(c);
	ev->u.answer.skip = c->kind == COMMAND_SKIP;
	take_note(e, c, note);
	return ASK_EVENT;
}

static enum ask_result plain(struct event *ev, enum event_kind kind)
{
	ev->kind = kind;
	return ASK_EVENT;
}

enum ask_result ask_event(struct engine *e, const struct command *c, struct definition *def, const struct txn *t,
                          struct event *ev, struct note *note, struct ask *asked)
{
	switch (c->kind) {
	case COMMAND_CONFIRM:
		ev->u.confirm.start_at = c->start_at;
		return plain(ev, EV_CONFIRM);
	case COMMAND_CANCEL:
		ev->u.cancel.cause = c->actor.n > 0 ? CAUSE_OPERATOR : CAUSE_CLIENT;
		return plain(ev, EV_CANCEL);
	case COMMAND_JOIN:
		return ask_join(e, c, def, t, ev, asked);
	case COMMAND_COMPLETE:
	case COMMAND_FAIL:
	case COMMAND_RESOLVE:
	case COMMAND_SKIP:
		return ask_answer(e, c, def, t, ev, note, asked);
	case COMMAND_PAUSE:
		return plain(ev, EV_PAUSE);
	case COMMAND_UNPAUSE:
		return plain(ev, EV_UNPAUSE);
	case COMMAND_RETRY:
		return plain(ev, EV_RETRY);
	case COMMAND_PATCH:
		return ask_patch(e, c, def, ev, asked);
	case COMMAND_RELEASE:
		return plain(ev, EV_RELEASE);
	case COMMAND_ABANDON:
		return plain(ev, EV_ABANDON);
	}
	return refused(asked, COMMAND_INVALID);
}
