/* SPDX-License-Identifier: Apache-2.0
 * order.c - a command on its way: made, answered, and what it is as an event of its transaction.
 */
#include "coordinator/base/json.h"
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- an order's life --------------------------------------------------------------- */

struct order *order_new(struct engine *e, const struct command *c)
{
	const struct str texts[] = { c->gid, c->step, c->body, c->actor, c->reason };
	struct str      *copies[5];
	size_t           size = 0;
	struct order    *order;
	char            *at;

	for (size_t i = 0; i < 5; i++)
		size += texts[i].n;
	order = mem_alloc(sizeof *order + size);
	order->e = e;
	order->c = *c;
	copies[0] = &order->c.gid;
	copies[1] = &order->c.step;
	copies[2] = &order->c.body;
	copies[3] = &order->c.actor;
	copies[4] = &order->c.reason;
	at = order->text;
	for (size_t i = 0; i < 5; i++) {
		if (texts[i].n > 0)
			memcpy(at, texts[i].p, texts[i].n);
		*copies[i] = (struct str){ at, texts[i].n };
		at += texts[i].n;
	}
	order->asked_at = boot_ms(e);
	order->until = order->asked_at + ORDER_MS;
	list_push(&e->orders, &order->link);
	e->orders_n++;
	return order;
}

void order_free(struct engine *e, struct order *order)
{
	heap_remove(&e->order_timers, &order->timer);
	list_remove(&order->link);
	e->orders_n--;
	free(order->address);
	free(order);
}

void order_wake_at(struct engine *e, struct order *order, int64_t at)
{
	order->ask_at = at;
	if (order->done != NULL && order->until < at)
		at = order->until;
	heap_put(&e->order_timers, &order->timer, at);
}

void order_answer(struct engine *e, struct order *order, enum command_result result,
                   enum verdict verdict, struct owned *o, const struct err *err)
{
	struct reply *r;

	if (order->done == NULL)
		return;
	count_command(e, order);
	r = reply_new(e, order->arg, (int)result, o);
	r->command = order->done;
	r->verdict = verdict;
	if (err != NULL)
		r->err = mem_copy(err, sizeof *err);
	order->done = NULL;
}

void order_applied(struct engine *e, struct order *order, enum verdict verdict, struct owned *o)
{
	if (order->from_inbox)
		e->stats.inbox_commands++;
	order_answer(e, order, COMMAND_APPLIED, verdict, o, NULL);
	order_free(e, order);
}

void order_fail(struct engine *e, struct order *order, enum command_result result,
                const struct err *err)
{
	struct err other;

	if (result == COMMAND_INVALID && err == NULL) {
		err_set(&other, ERR_INVALID, "this transaction cannot take it: its row cannot be read or stored");
		err = &other;
	}
	order_answer(e, order, result, VERDICT_NO_STEP, NULL, err);
	order_free(e, order);
}

/* Its verdict, when nothing is to be committed. */
void order_conclude(struct engine *e, struct order *order, enum verdict verdict, struct owned *o)
{
	if (order->from_inbox)
		commit_settle(e, order->id, verdict);
	order_applied(e, order, verdict, o);
}

/* Its inbox row cannot be carried out; the sender looks for himself why. */
bool order_refuse(struct engine *e, struct order *order, enum command_result result,
                   const struct err *err)
{
	if (order->from_inbox)
		commit_settle(e, order->id,
		              err != NULL && err->kind == ERR_LIMIT ? VERDICT_LIMIT : VERDICT_NO_STEP);
	order_fail(e, order, result, err);
	return false;
}

/* ---- an order as an event ----------------------------------------------------------- */

/* If not, the core says so; whether the step's document makes sense is beside the point. */
static bool takes_steps(const struct plan *plan)
{
	return plan->open && plan->mode != MODE_MESSAGE;
}

static bool join_event(struct engine *e, struct order *order, struct owned *o, struct queued *q)
{
	const struct definition_port *d = &e->ports.definition;
	struct err                    err = { .kind = ERR_NONE };

	if (!takes_steps(o->txn.plan)) {
		q->ev.kind = EV_JOIN;
		q->ev.u.join.plan = o->txn.plan;
		return true;
	}
	switch (d->join(d->ctx, o->row.def, order->c.body, &o->grown, &o->grown_text, &err)) {
	case JOIN_NEW:
		q->ev.kind = EV_JOIN;
		q->ev.u.join.plan = d->plan(d->ctx, o->grown);
		owned_room(o, q->ev.u.join.plan->step_count);
		return true;
	case JOIN_SAME:
		o->grown = NULL;
		order_conclude(e, order, VERDICT_ALREADY, o);
		return false;
	case JOIN_DIFFERS:
		o->grown = NULL;
		return order_refuse(e, order, COMMAND_DIFFERS, NULL);
	case JOIN_INVALID:
		o->grown = NULL;
		return order_refuse(e, order, COMMAND_INVALID, &err);
	}
	return false;
}

static enum outcome outcome_of(const struct command *c)
{
	if (c->kind == COMMAND_RESOLVE)
		return c->outcome;
	return c->kind == COMMAND_COMPLETE ? OUTCOME_OK : OUTCOME_REFUSED;
}

static bool answer_event(struct engine *e, struct order *order, struct owned *o, struct queued *q)
{
	const struct definition_port *d = &e->ports.definition;
	const struct command         *c = &order->c;
	struct err                    err;
	int                           step;

	step = c->op == OP_CHECK && o->txn.plan->mode == MODE_MESSAGE
	               ? TXN_CHECK
	               : d->step_find(d->ctx, o->row.def, c->step);
	if (step < 0) {
		order_conclude(e, order, VERDICT_NO_STEP, o);
		return false;
	}
	if (c->kind != COMMAND_FAIL && c->body.n > 0 && !json_is_valid(c->body)) {
		err_set(&err, ERR_INVALID, "the output is not JSON");
		return order_refuse(e, order, COMMAND_INVALID, &err);
	}
	q->ev.kind = EV_ANSWER;
	q->ev.u.answer.step = (uint16_t)step;
	q->ev.u.answer.op = c->op;
	q->ev.u.answer.from = c->kind == COMMAND_RESOLVE ? FROM_PERSON : FROM_CALLBACK;
	q->ev.u.answer.outcome = outcome_of(c);
	note_free(&q->note);
	q->note = (struct note){ 0 };
	if (c->kind != COMMAND_RESOLVE) /* a person is no answer */
		q->note.answered_at = now_ms(e);
	if (c->kind == COMMAND_FAIL) {
		q->note.error = c->body.n > 0 ? str_dup(c->body) : (struct str){ 0 };
		q->note.at = now_ms(e);
	} else if (c->body.n > 0 && outcome_of(c) == OUTCOME_OK) {
		q->note.output = str_dup(c->body);
	}
	return true;
}

bool order_is_changed(const struct order *order, uint64_t version)
{
	return order->c.if_version != 0 && order->c.if_version != version;
}

bool order_event(struct engine *e, struct order *order, struct owned *o, struct queued *q)
{
	if (order_is_changed(order, o->row.version)) {
		order_conclude(e, order, VERDICT_CHANGED, o);
		return false;
	}
	switch (order->c.kind) {
	case COMMAND_CONFIRM:
		q->ev.kind = EV_CONFIRM;
		return true;
	case COMMAND_CANCEL:
		q->ev.kind = EV_CANCEL;
		q->ev.u.cancel.cause = order->c.actor.n > 0 ? CAUSE_OPERATOR : CAUSE_CLIENT;
		return true;
	case COMMAND_JOIN:
		return join_event(e, order, o, q);
	case COMMAND_COMPLETE:
	case COMMAND_FAIL:
	case COMMAND_RESOLVE:
		return answer_event(e, order, o, q);
	case COMMAND_PAUSE:
		q->ev.kind = EV_PAUSE;
		return true;
	case COMMAND_UNPAUSE:
		q->ev.kind = EV_UNPAUSE;
		return true;
	case COMMAND_RETRY:
		q->ev.kind = EV_RETRY;
		return true;
	case COMMAND_ABANDON:
		q->ev.kind = EV_ABANDON;
		return true;
	}
	return order_refuse(e, order, COMMAND_INVALID, NULL);
}

/* The owner has one word for all that he cannot carry out: told apart here, where the caller is. */
bool order_is_fit(struct engine *e, struct order *order, const struct row *row)
{
	const struct definition_port *d = &e->ports.definition;
	struct definition            *grown = NULL;
	struct str                    text;
	struct err                    err = { .kind = ERR_NONE };

	if (order->c.kind != COMMAND_JOIN || row->def == NULL || !takes_steps(d->plan(d->ctx, row->def)))
		return true;
	switch (d->join(d->ctx, row->def, order->c.body, &grown, &text, &err)) {
	case JOIN_NEW:
		d->drop(d->ctx, grown);
		return true;
	case JOIN_SAME:
		return true;
	case JOIN_DIFFERS:
		order_fail(e, order, COMMAND_DIFFERS, NULL);
		return false;
	case JOIN_INVALID:
		order_fail(e, order, COMMAND_INVALID, &err);
		return false;
	}
	return true;
}
