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
	const struct str texts[] = { c->gid, c->step, c->body, c->actor, c->reason, c->role, c->request_id };
	struct str      *copies[7];
	size_t           size = 0;
	struct order    *order;
	char            *at;

	for (size_t i = 0; i < 7; i++)
		size += texts[i].n;
	order = mem_alloc(sizeof *order + size);
	order->e = e;
	order->c = *c;
	copies[0] = &order->c.gid;
	copies[1] = &order->c.step;
	copies[2] = &order->c.body;
	copies[3] = &order->c.actor;
	copies[4] = &order->c.reason;
	copies[5] = &order->c.role;
	copies[6] = &order->c.request_id;
	at = order->text;
	for (size_t i = 0; i < 7; i++) {
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

bool order_is_changed(const struct order *order, const struct txn *t)
{
	return order->c.if_version != 0 && !txn_is_as_at(t, order->c.if_version);
}

bool order_event(struct engine *e, struct order *order, struct owned *o, struct queued *q)
{
	struct ask asked = { 0 };

	if (order_is_changed(order, &o->txn)) {
		order_conclude(e, order, VERDICT_CHANGED, o);
		return false;
	}
	note_free(&q->note);
	q->note = (struct note){ 0 };
	switch (ask_event(e, &order->c, o->row.def, &o->txn, &q->ev, &q->note, &asked)) {
	case ASK_EVENT:
		o->grown = asked.grown;
		o->grown_text = asked.grown_text;
		if (o->grown != NULL)
			owned_room(o, e->ports.definition.plan(e->ports.definition.ctx, o->grown)->step_count);
		return true;
	case ASK_VERDICT:
		order_conclude(e, order, asked.verdict, o);
		return false;
	case ASK_REFUSED:
		return order_refuse(e, order, asked.result, asked.err.kind != ERR_NONE ? &asked.err : NULL);
	}
	return false;
}

static bool patch_is_fit(struct engine *e, struct order *order, const struct row *row)
{
	const struct definition_port *d = &e->ports.definition;
	struct definition            *grown = NULL;
	struct str                    text;
	struct err                    err = { .kind = ERR_NONE };

	if (row->def == NULL || d->step_find(d->ctx, row->def, order->c.step) < 0)
		return true;
	if (d->patch(d->ctx, row->def, order->c.step, order->c.body, &grown, &text, &err) == JOIN_NEW) {
		d->drop(d->ctx, grown);
		return true;
	}
	order_fail(e, order, COMMAND_INVALID, &err);
	return false;
}

/* The owner has one word for all that he cannot carry out: told apart here, where the caller is. */
bool order_is_fit(struct engine *e, struct order *order, const struct row *row)
{
	const struct definition_port *d = &e->ports.definition;
	struct definition            *grown = NULL;
	struct str                    text;
	struct err                    err = { .kind = ERR_NONE };

	if (order->c.kind == COMMAND_PATCH)
		return patch_is_fit(e, order, row);
	if (order->c.kind != COMMAND_JOIN || row->def == NULL || !ask_takes_steps(d->plan(d->ctx, row->def)))
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
