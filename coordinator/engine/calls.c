/* SPDX-License-Identifier: Apache-2.0
 * calls.c - the calls of a transaction to its participants: started only while we may act.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>

enum { HELD_MS = 100, HELD_PAGE_MIN = 16, HELD_PAGE_MAX = 4096, WAKE_PAGE = 500 };

static void count_answer(struct engine *e, enum op op, enum outcome outcome)
{
	e->counts.calls[op][outcome]++;
	e->stats.calls_answered++;
}

static struct str own_str(struct str s)
{
	return s.n > 0 ? str_dup(s) : (struct str){ 0 };
}

/*
 * 412 says that somebody with a newer epoch called: no outcome, and perhaps no longer ours. It
 * counts as an answer that taught nothing: its commit compares owner and epoch, and if the row has
 * changed hands that commit misses and the row is read again.
 */
static void fill_answer(struct open_call *c, const struct call_answer *a)
{
	struct queued *q = &c->answer;
	enum outcome   outcome = a->stale_epoch ? OUTCOME_UNKNOWN : a->outcome;
	int64_t        now = now_ms(c->o->e);

	q->ev.kind = EV_ANSWER;
	q->ev.u.answer.step = c->step;
	q->ev.u.answer.op = c->op;
	q->ev.u.answer.from = FROM_CALL;
	q->ev.u.answer.outcome = outcome;
	q->ev.u.answer.bare_conflict = a->bare_conflict;
	q->ev.u.answer.gone = a->gone;
	q->ev.u.answer.retry_after_ms = a->retry_after_ms;
	q->note.answered_at = now;
	q->note.calls = 1;
	if (outcome == OUTCOME_OK) {
		q->note.output = own_str(a->output);
		return;
	}
	q->note.status = a->status;
	/* 202 is for the journal; last_error is not the place for a sign of life. */
	q->note.at = outcome == OUTCOME_ONGOING ? 0 : now;
	q->note.error = own_str(a->error);
}

static void hold_back(struct engine *e, struct open_call *c);
static void put_off(struct engine *e, struct open_call *c, const struct call_answer *a);

static bool is_unsent(const struct call_answer *a)
{
#ifdef BUG_UNSENT_COUNTS
	return false;
#endif
	return a->unsent;
}

static void on_answer(void *arg, const struct call_answer *a)
{
	struct open_call *c = arg;
	struct owned     *o = c->o;
	struct engine    *e = o->e;

	turn_begin(e);
	c->handle = 0;
	o->open_calls--;
	if (is_unsent(a)) {
		hold_back(e, c);
		turn_end(e);
		return;
	}
	if (a->put_off_ms > 0) {
		put_off(e, c, a);
		turn_end(e);
		return;
	}
	count_answer(e, c->op, a->stale_epoch ? OUTCOME_UNKNOWN : a->outcome);
	if (a->outcome == OUTCOME_OK)
		e->steps_done++;
	fill_answer(c, a);
	drive_queue(e, o, &c->answer);
	turn_end(e);
}

void calls_give_up(struct engine *e, struct open_call *c)
{
	static const struct call_answer none = { .outcome = OUTCOME_UNKNOWN,
						 .error = { "the coordinator left", 20 } };

	if (c->handle == 0)
		return;
	e->ports.caller.abort(e->ports.caller.ctx, c->handle);
	count_answer(e, c->op, OUTCOME_UNKNOWN);
	c->handle = 0;
	c->o->open_calls--;
	fill_answer(c, &none);
	drive_queue(e, c->o, &c->answer);
}

static struct open_call **slot_of(struct owned *o, uint16_t step)
{
	return step == TXN_CHECK ? &o->check_call : &o->calls[step];
}

/* From here the answer belongs to whoever decides on it. */
void calls_close(struct engine *e, struct owned *o, struct open_call *c)
{
	(void)e;
	*slot_of(o, c->step) = NULL;
}

uint32_t calls_ended(const struct owned *o, uint16_t step, enum op op)
{
	const struct note *note = step == TXN_CHECK ? &o->check : &o->notes[step];

	return note->op == op ? note->calls : 0;
}

static void start(struct engine *e, struct owned *o, const struct txn *t, uint16_t step)
{
	const struct step  *s = txn_step_at(t, step);
	struct open_call   *c = mem_alloc(sizeof *c);
	struct call_request r = { .def = o->row.def, .gid = o->row.gid, .step = step,
				  .op = (enum op)(s->open_op - 1),
				  .attempt = s->attempts + s->misconfigured + 1u,
				  .call = calls_ended(o, step, (enum op)(s->open_op - 1)),
				  .epoch = o->row.epoch, .created_at = o->row.created_at,
				  .deadline_at = t->deadline_at, .input = o->row.input,
				  .outputs = e->outputs, .traceparent = o->row.traceparent };

	for (uint16_t i = 0; i < o->txn.step_count; i++)
		e->outputs[i] = o->notes[i].output;
	c->o = o;
	c->step = step;
	c->op = r.op;
	c->started_at = now_ms(e);
	c->answer.call = c;
	c->answer.attempt = r.attempt;
	list_init(&c->answer.link);
	*slot_of(o, step) = c;
	o->open_calls++;
	e->stats.calls++;
	c->handle = e->ports.caller.start(e->ports.caller.ctx, &r, on_answer, c);
}

/* ---- held back ------------------------------------------------------------------------ */

/*
 * A survivor that adopts 60,000 transactions wants as many calls at once. A queue that is full says nothing
 * about a participant: it must use up no attempt and cause no commit. The state is as if nobody had wanted
 * the call yet; a few of those that wait are looked at again ten times a second, more when there is room.
 */
static void forget_open(struct txn *t, uint16_t step, enum op op)
{
	struct step *s;

	if (step != TXN_CHECK && step >= t->step_count)
		return;
	s = txn_step_at(t, step);
	if (s->open_op == 1u + op)
		s->open_op = 0;
}

static void hold_back(struct engine *e, struct open_call *c)
{
	struct owned *o = c->o;

	calls_close(e, o, c);
	forget_open(&o->txn, c->step, c->op);
	if (o->commit == COMMIT_CHANGE)
		forget_open(&o->next, c->step, c->op);
	queued_free(&c->answer);
	e->stats.calls--;
	e->held_refused++;
	if (o->held)
		return;
	o->held = true;
	list_push(&e->held, &o->held_link);
	e->held_n++;
	chore_soon(e, CHORE_HELD, HELD_MS);
}

static void let_go(struct engine *e, struct owned *o)
{
	if (!o->held)
		return;
	o->held = false;
	list_remove(&o->held_link);
	e->held_n--;
}

void calls_release(struct engine *e, struct owned *o)
{
	let_go(e, o);
	o->put_off = false;
	list_remove(&o->put_off_link);
}

void calls_held(struct engine *e)
{
	size_t n = e->held_refused > e->held_page / 2 ? e->held_page / 2 : 2 * e->held_page;

	e->held_page = n < HELD_PAGE_MIN ? HELD_PAGE_MIN : n > HELD_PAGE_MAX ? HELD_PAGE_MAX : n;
	e->held_refused = 0;
	for (n = 0; n < e->held_page && !list_is_empty(&e->held); n++) {
		struct owned *o = list_entry(e->held.next, struct owned, held_link);

		let_go(e, o);
		drive_tick(e, o);
	}
	if (e->held_n > 0)
		chore_soon(e, CHORE_HELD, HELD_MS);
}

/* ---- put off ---------------------------------------------------------------------------- */

/*
 * A participant that is down takes no calls: the step sleeps, and its transaction is parked like one that backs
 * off, so that an outage costs rows and no memory. Who is still here when it comes back is woken at once.
 */
static void put_off(struct engine *e, struct open_call *c, const struct call_answer *a)
{
	struct owned  *o = c->o;
	struct queued *q = &c->answer;

	e->stats.calls--;
	e->stats.calls_put_off++;
	q->ev.kind = EV_PUT_OFF;
	q->ev.u.put_off.step = c->step;
	q->ev.u.put_off.op = c->op;
	q->ev.u.put_off.until = now_ms(e) + a->put_off_ms;
	q->ev.u.put_off.failing = a->failing;
	o->put_off_line = a->line;
	if (!o->put_off) {
		o->put_off = true;
		list_push(&e->put_off, &o->put_off_link);
	}
	drive_queue(e, o, q);
}

void engine_on_room(struct engine *e, uint64_t line)
{
	turn_begin(e);
	list_each(l, after, &e->put_off)
		if (line == 0 || list_entry(l, struct owned, put_off_link)->put_off_line == line) {
			list_remove(l);
			list_push(&e->waking, l);
		}
	if (!list_is_empty(&e->waking))
		chore_soon(e, CHORE_ROOM, 0);
	turn_end(e);
}

void calls_wake(struct engine *e)
{
	for (unsigned n = 0; n < WAKE_PAGE && !list_is_empty(&e->waking); n++) {
		struct owned *o = list_entry(list_pop(&e->waking), struct owned, put_off_link);

		o->put_off = false;
		drive_room(e, o);
	}
	if (!list_is_empty(&e->waking))
		chore_soon(e, CHORE_ROOM, 0);
}

/* What the core wants open meanwhile it will want again. */
static void keep_back(struct owned *o)
{
	for (uint16_t i = 0; i < o->txn.step_count; i++)
		if (o->calls[i] == NULL)
			o->txn.steps[i].open_op = 0;
	if (o->check_call == NULL)
		o->txn.check.open_op = 0;
}

/* ---- starting -------------------------------------------------------------------------- */

/*
 * What the state counts as open and nobody has called yet. Derived, not listed: after a time in
 * which we could not act the same look starts what was held back.
 */
void calls_start(struct engine *e, struct owned *o, const struct txn *t)
{
	if (e->draining || o->unproven)
		return;
	if (o->held) {
		keep_back(o);
		return;
	}
	for (uint16_t i = 0; i < t->step_count; i++)
		if (t->steps[i].open_op != 0 && o->calls[i] == NULL) {
			if (!lease_may_act(e))
				return;
			start(e, o, t, i);
		}
	if (t->check.open_op != 0 && o->check_call == NULL && lease_may_act(e))
		start(e, o, t, TXN_CHECK);
}
