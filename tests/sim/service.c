/* SPDX-License-Identifier: Apache-2.0
 * service.c - the participants: idempotent, with a barrier, slow, forgetful of answers; and the network to them.
 */
#include "tests/sim/world.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_PAUSE_MS = 100 };

/* One request of a replica, with all that names it: copies under way, its answer, its time-out. */
struct sent {
	struct list        link;     /* replica.calls while open */
	struct replica    *r;
	struct record     *rec;
	uint64_t           handle, epoch;
	uint16_t           step;
	enum op            op;
	uint32_t           attempt;
	bool               open;
	unsigned           refs;
	struct call_answer answer;
	char               output[48];
	call_done         *done;
	void              *arg;
};

static void release(struct sent *s)
{
	if (--s->refs == 0)
		free(s);
}

static void close_call(struct sent *s)
{
	if (!s->open)
		return;
	s->open = false;
	list_remove(&s->link);
	release(s);
}

static const char *step_text(const struct sent *s)
{
	return s->step == TXN_CHECK ? "check" : s->rec->def->names[s->step];
}

/* ---- what a service does ------------------------------------------------------------- */

static struct call_answer answer_ok(struct sent *s, const struct effect *e)
{
	struct call_answer a = { .outcome = OUTCOME_OK, .status = 200 };

	if (s->op == OP_TRY && e->output_n > 0) {
		memcpy(s->output, e->output, e->output_n);
		a.output = (struct str){ s->output, e->output_n };
	}
	return a;
}

static struct call_answer answer_of(enum outcome outcome, int status, const char *error)
{
	return (struct call_answer){ .outcome = outcome, .status = status, .error = str_of(error) };
}

static void draw_output(struct world *w, struct record *rec, struct effect *e, uint16_t step)
{
	const char *bad = fault(w, FAULT_BAD_TEXT, 6) ? "!unstorable!" : "";

	if (choose(w, 3) == 2)
		return;
	e->output_n = (unsigned)snprintf(e->output, sizeof e->output, "{\"t\":%u,\"s\":%u%s%s%s}", rec->number, step,
	                                 *bad ? ",\"x\":\"" : "", bad, *bad ? "\"" : "");
}

static struct call_answer do_try(struct sent *s, struct effect *e, bool sticky)
{
	struct world *w = s->r->w;

	w->seen->late_tries += e->cancelled;
#ifdef BUG_NO_BARRIER
	e->tried = e->tried && !e->cancelled;
	e->cancelled = false;
#endif
	if (e->cancelled) /* it came after its own cancel */
		return answer_of(OUTCOME_REFUSED, 409, "cancelled before");
	if (e->tried) {
		if (!w->faults && memmem(e->output, e->output_n, "!unst", 5) != NULL)
			e->output_n = 0;
		return answer_ok(s, e);
	}
	/* Without a cancel nothing can undo a second thought: such a service gives one answer for good. */
	if ((sticky && e->refused) || fault(w, FAULT_REFUSE, 8)) {
		e->refused = true;
		w->seen->refusals++;
		return answer_of(OUTCOME_REFUSED, 422, "no");
	}
	e->tried = true;
	draw_output(w, s->rec, e, s->step);
	return answer_ok(s, e);
}

static struct call_answer do_confirm(struct sent *s, struct effect *e)
{
	struct world *w = s->r->w;

	if (!e->tried && (s->rec->txn.steps[s->step].flags & STEP_IS_RESOLVED) == 0 &&
	    !s->rec->skipped[s->step])
		violated(w, 10, "%s: %s is confirmed and was never tried", s->rec->gid, step_text(s));
	if (e->cancelled)
		violated(w, 11, "%s: %s is confirmed and cancelled", s->rec->gid, step_text(s));
	if (!e->confirmed && fault(w, FAULT_ODD_ANSWERS, 24)) {
		struct call_answer a = answer_of(OUTCOME_REFUSED, 410, "gone");

		w->seen->gone++;
		a.gone = true;
		return a;
	}
	e->confirmed = true;
	return answer_ok(s, e);
}

static struct call_answer do_cancel(struct sent *s, struct effect *e)
{
	if (e->confirmed)
		violated(s->r->w, 12, "%s: %s is cancelled and confirmed", s->rec->gid, step_text(s));
	e->cancelled = true;
	return answer_ok(s, e);
}

static struct call_answer do_check(struct sent *s)
{
	s->rec->check_asked = true;
	/* Of an open tcc whose caller has died he never confirms. */
	if (s->rec->first_def->plan.has_check)
		return s->rec->caller_done ? answer_of(OUTCOME_REFUSED, 404, "nobody goes on with it") : answer_of(OUTCOME_ONGOING, 202, "");
	return s->rec->sender_ok ? answer_of(OUTCOME_OK, 200, "") : answer_of(OUTCOME_REFUSED, 404, "never happened");
}

static struct call_answer carry_out(struct sent *s)
{
	static struct effect none;

	if (s->op == OP_CHECK)
		return do_check(s);
	const struct plan_step *p = &s->rec->txn.plan->steps[s->step];
	struct effect          *e = s->step < STEPS_MAX ? &s->rec->effects[s->step] : &none;
	switch (s->op) {
	case OP_TRY: return do_try(s, e, (p->has & HAS_CANCEL) == 0 && p->kind != KIND_RETRIABLE);
	case OP_CONFIRM: return do_confirm(s, e);
	case OP_CANCEL: return do_cancel(s, e);
	case OP_CHECK: break;
	}
	return answer_of(OUTCOME_MISCONFIGURED, 400, "what?");
}

/* ---- work that takes its time: 202, then a callback or nothing ----------------------------- */

struct work {
	struct sent *s;
	bool         calls_back;
};

static void drop_work(void *arg)
{
	struct work *k = arg;

	release(k->s);
	free(k);
}

static void finish_work(void *arg)
{
	struct work   *k = arg;
	struct sent   *s = k->s;
	struct world  *w = s->r->w;
	struct effect *e = &s->rec->effects[s->step];

	if (e->pending && e->pending_op == s->op) {
		e->pending = false;
		struct call_answer a = carry_out(s);
		say(w, "     %s: %s of %s is finished: %s", s->rec->gid, op_name(s->op), step_text(s),
		    outcome_name(a.outcome));
		if (k->calls_back && (a.outcome == OUTCOME_OK || a.outcome == OUTCOME_REFUSED))
			command_callback(s->rec, s->step, s->op, a.outcome == OUTCOME_OK, a.output);
	}
	drop_work(k);
}

static bool take_time(struct sent *s, struct call_answer *a)
{
	struct world  *w = s->r->w;
	struct effect *e = &s->rec->effects[s->step];

	if (e->pending && e->pending_op == s->op) {
		*a = answer_of(OUTCOME_ONGOING, 202, "");
		/* A copy that the network made of that very request is not told 409: the contract lets a
		 * first attempt's 409 mean no. */
		bool is_copy = e->pending_epoch == s->epoch && e->pending_attempt == s->attempt;
		if (!is_copy && fault(w, FAULT_ODD_ANSWERS, 3)) {
			*a = answer_of(OUTCOME_REFUSED, 409, "in progress");
			a->bare_conflict = s->op == OP_TRY;
			w->seen->conflicts++;
		}
		return true;
	}
	bool done = s->op == OP_TRY ? e->tried : s->op == OP_CONFIRM ? e->confirmed : e->cancelled;
	if (done || !fault(w, FAULT_ASYNC, 3))
		return false;
	e->pending = true;
	e->pending_op = s->op;
	e->pending_epoch = s->epoch;
	e->pending_attempt = s->attempt;
	struct work *k = mem_alloc(sizeof *k);
	*k = (struct work){ s, choose(w, 2) == 1 };
	s->refs++;
	after(w, 20 + 100 * (int64_t)choose(w, 10), finish_work, drop_work, k);
	w->seen->ongoing++;
	*a = answer_of(OUTCOME_ONGOING, 202, "");
	if (choose(w, 4) == 1)
		a->retry_after_ms = 500;
	return true;
}

static bool answer_oddly(struct sent *s, struct call_answer *a)
{
	struct world *w = s->r->w;

	if (s->epoch < s->rec->epoch_seen && fault(w, FAULT_STALE, 2)) {
		*a = (struct call_answer){ .outcome = OUTCOME_UNKNOWN, .stale_epoch = true, .status = 412 };
		w->seen->stale_epochs++;
		return true;
	}
	if (!fault(w, FAULT_ODD_ANSWERS, 8))
		return false;
	if (choose(w, 2) == 1) {
		*a = answer_of(OUTCOME_MISCONFIGURED, 404, "no such path");
		w->seen->misconfigured++;
		return true;
	}
	bool with_effect = choose(w, 2) == 1;
	if (with_effect)
		carry_out(s);
	*a = answer_of(OUTCOME_UNKNOWN, 503, "busy");
	if (choose(w, 4) == 1)
		a->retry_after_ms = 700;
	return true;
}

/* ---- on the way there and back -------------------------------------------------------------- */

static void drop_ref(void *arg)
{
	release(arg);
}

static void deliver(void *arg)
{
	struct sent *s = arg;

	if (s->open) {
		struct call_answer a = s->answer;

		close_call(s);
		say(s->r->w, "r%u %s: %s(%s) -> %s", s->r->number, s->rec->gid, op_name(s->op), step_text(s),
		    outcome_name(a.outcome));
		s->done(s->arg, &a);
	}
	release(s);
}

/* No decision, no effect: what arrives here must have been in the log before. */
static void check_decision(struct sent *s)
{
	struct record *rec = s->rec;
	struct world  *w = s->r->w;

	if (!rec->exists) {
		violated(w, 13, "%s: a call arrives, but no row has landed", rec->gid);
		return;
	}
	if (s->op == OP_CONFIRM && rec->decision != DECISION_CONFIRM)
		violated(w, 14, "%s: confirm(%s) arrives, not decided in the log", rec->gid, step_text(s));
	if (s->op == OP_CANCEL && rec->decision != DECISION_CANCEL)
		violated(w, 15, "%s: cancel(%s) arrives, not decided in the log", rec->gid, step_text(s));
}

static void arrive(void *arg)
{
	struct sent   *s = arg;
	struct world  *w = s->r->w;
	struct record *rec = s->rec;

	check_decision(s);
	if (w->code != 0 || rec->txn.plan == NULL || (s->step != TXN_CHECK && s->step >= rec->txn.plan->step_count)) {
		release(s);
		return;
	}
	struct call_answer a;
	if (!answer_oddly(s, &a) && (s->op == OP_CHECK || !take_time(s, &a)))
		a = carry_out(s);
	if (s->epoch > rec->epoch_seen)
		rec->epoch_seen = s->epoch;
	say(w, "     %s: %s(%s) #%u of epoch %llu: %s", rec->gid, op_name(s->op), step_text(s), s->attempt,
	    (unsigned long long)s->epoch, outcome_name(a.outcome));
	world_mix(w, (uint64_t)s->op << 8 | (uint64_t)a.outcome << 4 | s->step);
	s->answer = a; /* of a repeated request the last one */
	if (fault(w, FAULT_LOST_CALLS, 8)) {
		w->seen->answers_lost++;
		release(s);
		return;
	}
	fake_loop_post(&w->loop, &s->r->end, wire_ms(w), deliver, drop_ref, s);
}

static void time_out(void *arg)
{
	struct sent *s = arg;

	if (s->open) {
		s->r->w->seen->timeouts++;
		s->answer = answer_of(OUTCOME_UNKNOWN, 0, "time-out");
	}
	deliver(s);
}

static void travel(struct sent *s)
{
	s->refs++;
	after(s->r->w, wire_ms(s->r->w), arrive, drop_ref, s);
}

/* Leaves the process; the time-out counts from here. */
static void leave(struct sent *s)
{
	struct replica *r = s->r;
	struct world   *w = r->w;

	if (!replica_may_act(r))
		violated(w, 85, "%s: r%u sends a call past its lease", s->rec->gid, r->number);
	s->refs++;
	fake_loop_post(&w->loop, &r->end, CALL_TIMEOUT_MS, time_out, drop_ref, s);
	if (fault(w, FAULT_LOST_CALLS, 8))
		w->seen->requests_lost++;
	else
		travel(s);
	if (fault(w, FAULT_TWICE, 6)) {
		w->seen->requests_twice++;
		travel(s);
	}
}

/* Calls queue behind others to the same participant; the queue asks again before it sends. */
static void queue(void *arg)
{
	struct sent  *s = arg;
	struct world *w = s->r->w;

	if (s->open && !engine_may_act(s->r->engine)) {
		w->seen->calls_held++;
		fake_loop_post(&w->loop, &s->r->end, QUEUE_PAUSE_MS, queue, drop_ref, s);
		return;
	}
	if (s->open)
		leave(s);
	release(s);
}

static void there_is_room(void *arg)
{
	struct replica *r = arg;

	if (r->engine != NULL)
		engine_on_room(r->engine, 1);
}

/* Its queue is full, or its breaker is open. */
static bool is_unsent(struct sent *s)
{
	struct world *w = s->r->w;

	if (!fault(w, FAULT_SLOW_CALLS, 6))
		return false;
	s->refs++;
	s->answer = answer_of(OUTCOME_UNKNOWN, 0, UNSENT);
	if (choose(w, 3) == 2) {
		w->seen->calls_put_off++;
		s->answer.put_off_ms = 10 + 200 * (int64_t)choose(w, 40);
		s->answer.failing = choose(w, 2) == 1;
		s->answer.line = 1;
		if (choose(w, 2) == 1)
			fake_loop_post(&w->loop, &s->r->end, 10 * (int64_t)choose(w, 100), there_is_room, NULL, s->r);
	} else {
		w->seen->calls_unsent++;
		s->answer.unsent = true;
	}
	fake_loop_post(&w->loop, &s->r->end, 0, deliver, drop_ref, s);
	return true;
}

static uint64_t port_start(void *ctx, const struct call_request *req, call_done *done, void *arg)
{
	struct replica *r = ctx;
	struct world   *w = r->w;
	struct record  *rec = world_record(w, req->gid);
	struct sent    *s = mem_alloc(sizeof *s);

	*s = (struct sent){ .r = r, .rec = rec, .handle = ++r->handle, .epoch = req->epoch, .step = req->step,
		            .op = req->op, .attempt = req->attempt, .open = true, .refs = 1, .done = done,
		            .arg = arg };
	if (rec == NULL) {
		list_push(&r->calls, &s->link);
		violated(w, 16, "r%u calls for a transaction nobody began", r->number);
		return s->handle;
	}
	say(w, "r%u %s: calls %s(%s) #%u", r->number, rec->gid, op_name(s->op), step_text(s), s->attempt);
	invariant_call(r, req, rec);
	list_push(&r->calls, &s->link);
	if (is_unsent(s))
		return s->handle;
	if (req->step < STEPS_MAX)
		rec->effects[req->step].asked[req->op] = true;
	if (fault(w, FAULT_SLOW_CALLS, 6)) {
		s->refs++;
		fake_loop_post(&w->loop, &r->end, 50 * (int64_t)choose(w, 40), queue, drop_ref, s);
	} else {
		leave(s);
	}
	return s->handle;
}

static void port_abort(void *ctx, uint64_t handle)
{
	struct replica *r = ctx;

	list_each(it, next, &r->calls) {
		struct sent *s = list_entry(it, struct sent, link);

		if (s->handle == handle) {
			close_call(s);
			return;
		}
	}
	violated(r->w, 17, "r%u aborts a call that is not open", r->number);
}

void service_port(struct replica *r, struct caller_port *port)
{
	*port = (struct caller_port){ .ctx = r, .start = port_start, .abort = port_abort };
}

void service_drop_calls(struct replica *r)
{
	list_each(it, next, &r->calls)
		close_call(list_entry(it, struct sent, link));
}

bool service_is_open(const struct replica *r, const struct record *rec, uint16_t step, enum op op)
{
	list_each(it, next, &r->calls) {
		const struct sent *s = list_entry(it, struct sent, link);

		if (s->rec == rec && s->step == step && s->op == op)
			return true;
	}
	return false;
}

unsigned service_open_calls(const struct replica *r, const struct record *rec)
{
	unsigned n = 0;

	list_each(it, next, &r->calls) {
		const struct sent *s = list_entry(it, struct sent, link);

		n += s->rec == rec && s->step != TXN_CHECK;
	}
	return n;
}

/* Of a joined step whose caller tries it himself. */
bool service_try_by_caller(struct record *rec, uint16_t step)
{
	struct effect *e = &rec->effects[step];

	if (e->cancelled)
		return false;
	e->tried = true;
	return true;
}
