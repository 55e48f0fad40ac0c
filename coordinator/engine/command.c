/* SPDX-License-Identifier: Apache-2.0
 * command.c - what people and programs ask of a running transaction, wherever it is driven.
 *
 * In memory here: queued. Ended: answered from its last state. Parked: taken, then queued.
 * Another replica's: put into the inbox; its owner applies it, and we ask for the verdict.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 10, RETRY_MS = 50, ASK_FIRST_MS = 5 };

/* ---- where is its transaction? -------------------------------------------------------- */

void order_queue(struct engine *e, struct order *order, struct owned *o)
{
	struct queued *q;

	if (o->queue_n >= QUEUE_MAX) {
		order_fail(e, order, COMMAND_AWAY, NULL);
		return;
	}
	q = mem_alloc(sizeof *q);
	q->order = order;
	list_init(&q->link);
	order->state = ORDER_QUEUED;
	order->o = o;
	if (order->done != NULL)
		order_wake_at(e, order, order->until);
	drive_queue(e, o, q);
}

/* It has ended: what would the core say? Nothing is left to commit. */
static void judge_ended(struct engine *e, struct order *order, const struct row *row)
{
	struct owned *o = owned_load(e, row);
	struct queued q = { .order = order };

	o->gone = true;
	if (!o->readable) {
		order_refuse(e, order, COMMAND_INVALID, NULL);
	} else if (order_event(e, order, o, &q)) {
		struct step  *other = o->steps[1];
		struct update up = { .next = { .steps = other }, .calls = e->call_scratch };

		q.ev.now = now_ms(e);
		txn_step(&o->txn, &q.ev, &up);
		order_conclude(e, order, up.verdict, o);
	}
	note_free(&q.note);
	owned_rest(e, o);
}

/* Parked, and not as the caller saw it: nobody takes it for that. */
static bool judge_changed(struct engine *e, struct order *order, const struct row *row)
{
	struct owned *o;
	bool          changed;

	if (order->c.if_version == 0)
		return false;
	o = owned_load(e, row);
	o->gone = true;
	changed = !o->readable || order_is_changed(order, &o->txn);
	if (changed && o->readable)
		order_conclude(e, order, VERDICT_CHANGED, o);
	else if (changed)
		order_refuse(e, order, COMMAND_INVALID, NULL);
	owned_rest(e, o);
	return changed;
}

static void on_claim(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct order  *order = arg;
	struct engine *e = order->e;

	turn_begin(e);
	order->state = ORDER_ROUTE;
	if (result == LOG_DONE && n > 0) {
		take_row(e, &rows[0], !is_first_taken(&rows[0]));
		struct owned *o = owned_get(e, rows[0].gid);
		if (o != NULL && !o->readable && o->row.format <= ROW_FORMAT) {
			order_refuse(e, order, COMMAND_INVALID, NULL);
		} else {
			/* One of the inbox is read again: it may have been applied before we got the row. */
			chore_soon(e, CHORE_INBOX, 0);
			order_route(e, order);
		}
	} else if (result == LOG_AWAY) {
		order_fail(e, order, COMMAND_AWAY, NULL);
	} else {
		if (result == LOG_LOST)
			doubt_mine_soon(e, 0);
		order_wake_at(e, order, boot_ms(e) + AGAIN_MS);
	}
	turn_end(e);
}

static void on_put(void *arg, enum log_result result);

void order_put(struct engine *e, struct order *order)
{
	struct buf       body = { 0 };
	struct inbox_row row = { .id = order->id, .gid = order->c.gid,
				 .command = str_of(command_name(order->c.kind)) };

	inbox_write(&order->c, &body);
	row.body = buf_view(&body);
	order->state = ORDER_PUTTING;
	order->put_again = false;
	heap_remove(&e->order_timers, &order->timer);
	e->ports.log.inbox_put(e->ports.log.ctx, &row, on_put, order);
	buf_fini(&body);
}

static void on_put(void *arg, enum log_result result)
{
	struct order  *order = arg;
	struct engine *e = order->e;

	turn_begin(e);
	if (result == LOG_DONE) {
		order->state = ORDER_ASKING;
		order->ask_ms = ASK_FIRST_MS;
		order_wake_at(e, order, boot_ms(e) + ASK_FIRST_MS);
		if (order->address[0] == '\0' || !uuid_is_nil(order->c.id))
			chore_soon(e, CHORE_INBOX, 0); /* it may be ours, or anybody's */
		if (order->address[0] != '\0')
			e->ports.poke.poke(e->ports.poke.ctx, str_of(order->address), order->c.gid);
	} else if (result == LOG_AWAY && !order->maybe_put) {
		order_fail(e, order, COMMAND_AWAY, NULL);
	} else if (result == LOG_BAD_DATA) {
		order_fail(e, order, COMMAND_INVALID, NULL);
	} else { /* the same id again is the same command */
		order->maybe_put = order->maybe_put || result == LOG_LOST;
		order_wake_at(e, order, boot_ms(e) + RETRY_MS);
	}
	turn_end(e);
}

static void send_to_owner(struct engine *e, struct order *order, const struct row *row)
{
	if (order->from_inbox) { /* its owner finds it there */
		order_free(e, order);
		return;
	}
	if (!order_is_fit(e, order, row))
		return;
	order->id = order->c.id;
	if (uuid_is_nil(order->id))
		order->id = uuid_v7(now_ms(e), random_u64(e), random_u64(e));
	order->address = (char *)(uintptr_t)str_dup(members_address(e, row->owner)).p;
	order_put(e, order);
}

/* Nobody drives it, and to take or judge it one must read it: in the inbox a replica of a newer version
 * finds the command. */
static bool is_for_newer(const struct engine *e, const struct row *row)
{
#ifdef BUG_JUDGES_NEWER
	return false;
#endif
	return row->format > ROW_FORMAT && (uuid_is_nil(row->owner) || uuid_eq(row->owner, e->me));
}

static void on_row(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct order  *order = arg;
	struct engine *e = order->e;

	turn_begin(e);
	order->state = ORDER_ROUTE;
	if (order->done == NULL && !order->from_inbox) {
		order_free(e, order); /* too late for its caller, and nothing was done */
	} else if (result == LOG_AWAY) {
		order_fail(e, order, COMMAND_AWAY, NULL);
	} else if (result != LOG_DONE || (n == 0 && failover_holds(e))) {
		order_wake_at(e, order, boot_ms(e) + RETRY_MS);
	} else if (n == 0) {
		order_refuse(e, order, COMMAND_UNKNOWN, NULL);
	} else if (is_for_newer(e, &rows[0]) || !uuid_is_nil(order->c.id)) {
		send_to_owner(e, order, &rows[0]);
	} else if (phase_is_ended(rows[0].phase)) {
		judge_ended(e, order, &rows[0]);
	} else if (uuid_is_nil(rows[0].owner) && judge_changed(e, order, &rows[0])) {
		; /* and told so */
	} else if (uuid_is_nil(rows[0].owner) && e->acting && !e->draining && !failover_holds(e)) {
		order->state = ORDER_CLAIMING;
		e->ports.log.claim(e->ports.log.ctx, e->me, rows[0].gid, on_claim, order);
	} else if (uuid_is_nil(rows[0].owner) || uuid_eq(rows[0].owner, e->me)) {
		if (!uuid_is_nil(rows[0].owner))
			doubt_hint(e, rows[0].gid);
		order_wake_at(e, order, boot_ms(e) + RETRY_MS);
	} else {
		send_to_owner(e, order, &rows[0]);
	}
	turn_end(e);
}

void order_look(struct engine *e, struct order *order)
{
	struct owned *o = owned_get(e, order->c.gid);

	if (o != NULL && o->readable && uuid_is_nil(order->c.id)) {
		order_queue(e, order, o);
		return;
	}
	order->state = ORDER_READING;
	heap_remove(&e->order_timers, &order->timer);
	if (order->done != NULL)
		order_wake_at(e, order, order->until);
	e->ports.log.read(e->ports.log.ctx, &order->c.gid, 1, on_row, order);
}

void order_route(struct engine *e, struct order *order)
{
	if (order->from_inbox || order->done == NULL) {
		order_free(e, order); /* still in the inbox; or too late for its caller */
		return;
	}
	if (order->doubt) {
		order_fail(e, order, COMMAND_LOST, NULL);
		return;
	}
	order->state = ORDER_ROUTE;
	order->o = NULL;
	order_wake_at(e, order, boot_ms(e));
}

/* ---- time --------------------------------------------------------------------------------- */

static void take_back(struct order *order)
{
	list_each(l, after, &order->o->queue) {
		struct queued *q = list_entry(l, struct queued, link);

		if (q->order != order)
			continue;
		list_remove(l);
		order->o->queue_n--;
		queued_free(q);
		return;
	}
}

void order_ask_in(struct engine *e, struct order *order, int64_t ms)
{
	order_wake_at(e, order, boot_ms(e) + ms);
}

/* Too late for its caller. What a port still owes an answer (is_asked) stays until that. */
static void give_up(struct engine *e, struct order *order, bool is_asked)
{
	switch (order->state) {
	case ORDER_ROUTE:
		order_fail(e, order, COMMAND_AWAY, NULL);
		return;
	case ORDER_ASKING:
		order_answer(e, order, COMMAND_LATE, VERDICT_NO_STEP, NULL, NULL);
		if (!order->asked)
			order_free(e, order);
		return;
	case ORDER_READING:
	case ORDER_CLAIMING:
		order_answer(e, order, COMMAND_AWAY, VERDICT_NO_STEP, NULL, NULL);
		return;
	case ORDER_PUTTING:
	case ORDER_SHOWING:
		order_answer(e, order, COMMAND_LATE, VERDICT_NO_STEP, NULL, NULL);
		if (!is_asked)
			order_free(e, order);
		return;
	case ORDER_QUEUED:
		/* Not decided on yet: taken back. In a commit: it may well be done. */
		if (order->o->deciding != NULL && order->o->deciding->order == order) {
			order_answer(e, order, COMMAND_LATE, VERDICT_NO_STEP, NULL, NULL);
			return;
		}
		take_back(order);
		order_fail(e, order, COMMAND_AWAY, NULL);
		return;
	}
}

static void wake(struct engine *e, struct order *order)
{
	int64_t now = boot_ms(e);

	if (order->done != NULL && now >= order->until) {
		give_up(e, order, false);
		return;
	}
	switch (order->state) {
	case ORDER_ROUTE:
		order_look(e, order);
		return;
	case ORDER_PUTTING:
		order_put(e, order);
		return;
	case ORDER_ASKING:
		chore_soon(e, CHORE_VERDICTS, 0);
		return;
	case ORDER_SHOWING:
		order_show(e, order);
		return;
	case ORDER_READING:
	case ORDER_CLAIMING:
	case ORDER_QUEUED:
		return; /* the answer of a port, or its turn, moves it on */
	}
}

void order_timers(struct engine *e)
{
	int64_t now = boot_ms(e);

	for (struct heap_node *n; (n = heap_first(&e->order_timers)) != NULL && n->at <= now;) {
		heap_remove(&e->order_timers, n);
		wake(e, list_entry(n, struct order, timer));
	}
}

/* On leaving. Who still waits for a port stays until its answer. */
void orders_away(struct engine *e)
{
	list_each(l, after, &e->orders) {
		struct order *order = list_entry(l, struct order, link);

		give_up(e, order, order->timer.index == 0); /* no timer: a port has it */
	}
}

/* ---- from outside ---------------------------------------------------------------------------- */

void engine_command(struct engine *e, const struct command *c, command_done *done, void *arg)
{
	struct order *order;

	e->stats.commands++;
	if (!lease_may_act(e) || e->draining || e->log_away || e->orders_n >= ORDERS_MAX ||
	    c->gid.n > GID_MAX) {
		struct reply *r = reply_new(e, arg, COMMAND_AWAY, NULL);

		r->command = done;
		r->verdict = VERDICT_NO_STEP;
		return;
	}
	order = order_new(e, c);
	order->done = done;
	order->arg = arg;
	order_look(e, order);
}
