/* SPDX-License-Identifier: Apache-2.0
 * inbox.c - commands on their way between replicas: written, read, applied once, their verdicts asked for.
 *
 * A command leaves the inbox (gets its verdict) in the same commit as its effect. A read that was
 * sent before such a commit may still show it: hence the numbers of reads.
 */
#include "coordinator/base/json.h"
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>

enum { INBOX_EVERY_MS = 250, ASK_MAX_MS = 100, RETRY_MS = 50 };

/* ---- the body ----------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *name, struct str text)
{
	if (text.n == 0)
		return;
	if (out->p[out->n - 1] != '{')
		buf_char(out, ',');
	buf_json(out, str_of(name));
	buf_char(out, ':');
	buf_json(out, text);
}

void inbox_write(const struct command *c, struct buf *out)
{
	struct buf version = { 0 }, start_at = { 0 };

	buf_u64(&version, c->if_version);
	buf_i64(&start_at, c->start_at);
	buf_char(out, '{');
	put_text(out, "step", c->step);
	put_text(out, "op", str_of(op_name(c->op)));
	put_text(out, "outcome", str_of(outcome_name(c->outcome)));
	put_text(out, "body", c->body);
	put_text(out, "actor", c->actor);
	put_text(out, "reason", c->reason);
	put_text(out, "role", c->role);
	put_text(out, "request_id", c->request_id);
	put_text(out, "moves", c->moves ? STR("true") : (struct str){ 0 });
	put_text(out, "if_version", c->if_version != 0 ? buf_view(&version) : (struct str){ 0 });
	put_text(out, "start_at", c->start_at != 0 ? buf_view(&start_at) : (struct str){ 0 });
	buf_char(out, '}');
	buf_fini(&version);
	buf_fini(&start_at);
}

static struct str text_of(const struct json *top, const char *name, struct arena *arena)
{
	const struct json *v = json_get(top, name);

	return v != NULL && v->type == JSON_STRING ? json_text(v, arena) : (struct str){ 0 };
}

static bool parse_body(struct str body, struct arena *arena, struct command *c)
{
	struct json_error why;
	struct json      *top = json_parse(body, arena, &why);
	struct str        op, outcome, version, start_at;
	uint64_t          at = 0;
	int               i;

	if (top == NULL || top->type != JSON_OBJECT)
		return false;
	c->step = text_of(top, "step", arena);
	c->body = text_of(top, "body", arena);
	c->actor = text_of(top, "actor", arena);
	c->reason = text_of(top, "reason", arena);
	c->role = text_of(top, "role", arena);
	c->request_id = text_of(top, "request_id", arena);
	c->moves = str_is(text_of(top, "moves", arena), "true");
	version = text_of(top, "if_version", arena);
	if (version.n > 0 && !text_to_u64(version, &c->if_version))
		return false;
	start_at = text_of(top, "start_at", arena);
	if (start_at.n > 0 && (!text_to_u64(start_at, &at) || at > INT64_MAX))
		return false;
	c->start_at = (int64_t)at;
	op = text_of(top, "op", arena);
	outcome = text_of(top, "outcome", arena);
	for (i = 0; i < OP_COUNT && !str_is(op, op_name((enum op)i)); i++)
		;
	if (i == OP_COUNT)
		return false;
	c->op = (enum op)i;
	for (i = 0; i < OUTCOME_COUNT && !str_is(outcome, outcome_name((enum outcome)i)); i++)
		;
	if (i == OUTCOME_COUNT)
		return false;
	c->outcome = (enum outcome)i;
	return true;
}

/* NULL: what stands there is no command. */
struct order *inbox_parse(struct engine *e, const struct inbox_row *row)
{
	struct command c = { .gid = row->gid };
	struct arena   arena = { 0 };
	struct order  *order = NULL;

	if (command_parse(row->command, &c.kind) && parse_body(row->body, &arena, &c)) {
		order = order_new(e, &c);
		order->from_inbox = true;
		order->id = row->id;
	}
	arena_fini(&arena);
	return order;
}

/* ---- the owner reads ----------------------------------------------------------------- */

static bool is_known(const struct engine *e, struct uuid id)
{
	for (const struct list *l = e->orders.next; l != &e->orders; l = l->next) {
		const struct order *order = list_entry(l, struct order, link);

		if (order->from_inbox && uuid_eq(order->id, id))
			return true;
	}
	return commit_settles(e, id);
}

static void take_command(struct engine *e, const struct inbox_row *row)
{
	struct owned *o = owned_get(e, row->gid);
	struct order *order;

	if (is_known(e, row->id))
		return;
	if (o != NULL && (o->inbox_seen >= e->inbox_reads || o->queue_n >= QUEUE_MAX))
		return; /* may be settled by now; or the next look finds room */
	order = inbox_parse(e, row);
	if (order == NULL) {
		say(e, TRACE_ERROR, "bad_command", row->gid, "no=command");
		commit_settle(e, row->id, VERDICT_NO_STEP);
		return;
	}
	order_look(e, order);
}

static void on_inbox(void *arg, enum log_result result, const struct inbox_row *rows, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->inbox_busy = false;
	if (result == LOG_DONE)
		e->stats.inbox_depth = n;
	if (result == LOG_DONE && e->inbox_life == e->life && e->acting && !e->draining) {
		for (size_t i = 0; i < n && e->orders_n < ORDERS_MAX; i++)
			take_command(e, &rows[i]);
	}
	commit_forget_settled(e);
	chore_soon(e, CHORE_INBOX, e->inbox_again ? 0 : INBOX_EVERY_MS);
	e->inbox_again = false;
	turn_end(e);
}

void inbox_look(struct engine *e)
{
	if (e->inbox_busy) {
		e->inbox_again = true;
		return;
	}
	if (!e->acting || e->draining)
		return;
	e->inbox_busy = true;
	e->inbox_reads++;
	e->inbox_life = e->life;
	e->ports.log.inbox_read(e->ports.log.ctx, e->me, INBOX_PAGE, on_inbox, e);
}

/* Who looks for due rows often enough, in turns, need not read an inbox that was seen empty. */
void inbox_told(struct engine *e, bool commands)
{
	if (commands) {
		chore_soon(e, CHORE_INBOX, 0);
	} else if (e->chore_at[CHORE_INBOX] > boot_ms(e) && e->chore_at[CHORE_INBOX] != INT64_MAX) {
		e->stats.inbox_depth = 0;
		chore_in(e, CHORE_INBOX, INBOX_EVERY_MS);
	}
}

void engine_on_poke(struct engine *e, struct str gid)
{
	if (members_poked(e, gid))
		return;
	doubt_hint(e, gid);
	chore_soon(e, CHORE_INBOX, 0);
}

/* ---- the sender asks -------------------------------------------------------------------- */

static void on_forget(void *arg, enum log_result result)
{
	(void)arg;
	(void)result; /* settled rows are swept anyway */
}

static void on_show(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct order  *order = arg;
	struct engine *e = order->e;

	turn_begin(e);
	if (order->done == NULL) {
		order_free(e, order);
	} else if (order->put_again) {
		order_put(e, order);
	} else if (result != LOG_DONE || (n == 0 && failover_holds(e))) {
		heap_put(&e->order_timers, &order->timer, boot_ms(e) + RETRY_MS);
	} else if (n == 0) {
		order_fail(e, order, COMMAND_UNKNOWN, NULL);
	} else if (order_is_fit(e, order, &rows[0])) {
		struct owned *o = owned_load(e, &rows[0]);

		o->gone = true;
		order_applied(e, order, order->verdict, o);
		owned_rest(e, o);
	}
	turn_end(e);
}

void order_show(struct engine *e, struct order *order)
{
	if (order->put_again) {
		order_put(e, order);
		return;
	}
	order->state = ORDER_SHOWING;
	heap_remove(&e->order_timers, &order->timer);
	e->ports.log.read(e->ports.log.ctx, &order->c.gid, 1, on_show, order);
}

static const struct settled *find_verdict(const struct settled *rows, size_t n, struct uuid id)
{
	for (size_t i = 0; i < n; i++)
		if (uuid_eq(rows[i].id, id))
			return &rows[i];
	return NULL;
}

static void on_verdicts(void *arg, enum log_result result, const struct settled *rows, size_t n)
{
	struct engine *e = arg;
	struct uuid    done[VERDICTS_PAGE];
	size_t         done_n = 0;

	turn_begin(e);
	e->verdicts_busy = false;
	list_each(l, after, &e->orders) {
		struct order         *order = list_entry(l, struct order, link);
		const struct settled *s;

		if (!order->asked)
			continue;
		order->asked = false;
		s = find_verdict(rows, result == LOG_DONE ? n : 0, order->id);
		if (s != NULL && done_n < VERDICTS_PAGE && uuid_is_nil(order->c.id))
			done[done_n++] = order->id;
		if (order->done == NULL) {
			order_free(e, order);
		} else if (order->put_again) {
			order_put(e, order);
		} else if (s != NULL) {
			order->verdict = s->verdict;
			order_show(e, order);
		} else {
			order->ask_ms = 2 * order->ask_ms < ASK_MAX_MS ? 2 * order->ask_ms : ASK_MAX_MS;
			order_ask_in(e, order, order->ask_ms);
		}
	}
	if (done_n > 0)
		e->ports.log.inbox_forget(e->ports.log.ctx, done, done_n, on_forget, e);
	turn_end(e);
}

void inbox_ask(struct engine *e)
{
	struct uuid ids[VERDICTS_PAGE];
	size_t      n = 0;
	int64_t     now = boot_ms(e);

	if (e->verdicts_busy) {
		chore_soon(e, CHORE_VERDICTS, 1);
		return;
	}
	list_each(l, after, &e->orders) {
		struct order *order = list_entry(l, struct order, link);

		if (order->state != ORDER_ASKING || order->ask_at > now)
			continue;
		if (n == VERDICTS_PAGE) {
			chore_soon(e, CHORE_VERDICTS, 1);
			break;
		}
		order->asked = true;
		ids[n++] = order->id;
	}
	if (n == 0)
		return;
	e->verdicts_busy = true;
	e->ports.log.inbox_verdicts(e->ports.log.ctx, ids, n, on_verdicts, e);
}
