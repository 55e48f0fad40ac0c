/* SPDX-License-Identifier: Apache-2.0
 * txn_random.c - random events over random plans; what must hold, holds after each.
 *
 *   txn_random.t [first-seed] [count]
 */
#include "tests/unit/txn_words.h"

enum { EVENTS = 60, FINISH_MAX = 2000 };

/* What the world outside knows; kept apart from the state it checks. */
struct world {
	struct bench b;
	uint64_t     seed, random;
	uint8_t      open[WORDS_STEPS + 1]; /* 1 + op of the call under way; last the check */
	bool         called[WORDS_STEPS][OP_COUNT]; /* ever */
	const char  *wrong;
};

/* A walk that never comes to these places proves nothing about them. */
#define SEEN(X)                                                                   \
	X(confirmed) X(cancelled) X(abandoned) X(in_doubt) X(stuck) X(joined) X(reloaded) \
	X(lost_commit) X(late_ok) X(parallel) X(check) X(paused) X(delayed) X(not_ready) \
	X(put_off)
static struct {
#define X(name) unsigned long name;
	SEEN(X)
#undef X
} seen;

static uint32_t draw(struct world *w, uint32_t n)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

static void must(struct world *w, bool holds, const char *what)
{
	if (!holds && w->wrong == NULL)
		w->wrong = what;
}

/* ---- plans -------------------------------------------------------------------- */

static void draw_step(struct world *w, char **p, int i, int pivot, bool retriable)
{
	char sep = '<';

	*p += sprintf(*p, " %c:", 'a' + i);
	if (retriable)
		*p += sprintf(*p, "r");
	else
		*p += sprintf(*p, "%s%s%s", i == pivot ? "p" : "", draw(w, 3) ? "" : "n",
		              draw(w, 2) ? "" : "k");
	for (int k = 0; k < i; k++)
		if (draw(w, 3) == 0 && (retriable || k != pivot)) {
			*p += sprintf(*p, "%c%c", sep, 'a' + k);
			sep = ',';
		}
}

static void draw_plan(struct world *w)
{
	static const char *const modes[] = { "saga", "tcc", "open", "message" };
	const uint32_t           mode = draw(w, 5) % 4;
	const int                n = 1 + (int)draw(w, mode == 2 ? 2 : 6);
	const int pivot = mode < 2 && draw(w, 2) ? (int)draw(w, (uint32_t)n) : -1;
	char      text[512], *p = text;
	uint16_t  step;

	p += sprintf(p, "%s attempts=%u overdue=%u jitter=%u parallel=%u", modes[mode],
	             draw(w, 4), 500 * draw(w, 5), draw(w, 2), 1 + draw(w, 5));
	for (int i = 0; i < n; i++)
		if (mode == 2)
			p += sprintf(p, " %c%s", 'a' + i, draw(w, 2) ? ":u" : "");
		else
			draw_step(w, &p, i, pivot, mode == 3 || (pivot >= 0 ? i > pivot
			                                  : i > 0 && i == n - 1 && draw(w, 2)));
	words_plan(&w->b, text);
	if (plan_check(&w->b.plan, &step) != NULL)
		words_fail(plan_check(&w->b.plan, &step), text);
}

/* ---- events ------------------------------------------------------------------- */

static enum outcome draw_outcome(struct world *w)
{
	return draw(w, 2) ? OUTCOME_OK : (enum outcome)draw(w, OUTCOME_COUNT);
}

/* Half the answers are to calls that are open; the others may be nonsense. */
static void draw_answer(struct world *w, struct event *ev)
{
	uint32_t i = draw(w, WORDS_STEPS + 1);

	ev->kind = EV_ANSWER;
	ev->u.answer.from = (enum source)(draw(w, 8) ? FROM_CALL : 1 + draw(w, 2));
	ev->u.answer.op = (enum op)draw(w, OP_COUNT + 1);
	for (uint32_t k = 0; k <= WORDS_STEPS && draw(w, 20); k++) {
		i = (i + 1) % (WORDS_STEPS + 1);
		if (w->open[i] != 0)
			break;
	}
	if (w->open[i] != 0 && draw(w, 10))
		ev->u.answer.op = (enum op)(w->open[i] - 1);
	ev->u.answer.step = i == WORDS_STEPS ? (uint16_t)TXN_CHECK : (uint16_t)i;
	ev->u.answer.outcome = draw(w, 40) ? draw_outcome(w) : (enum outcome)OUTCOME_COUNT;
	ev->u.answer.bare_conflict = draw(w, 4) == 0;
	ev->u.answer.gone = draw(w, 8) == 0;
	ev->u.answer.retry_after_ms = draw(w, 4) ? 0 : (int64_t)draw(w, 900) - 100;
}

/* The call was not made after all. */
static void draw_put_off(struct world *w, struct event *ev)
{
	const uint16_t step = ev->u.answer.step;
	const enum op  op = ev->u.answer.op;

	ev->kind = EV_PUT_OFF;
	ev->u.put_off.step = step;
	ev->u.put_off.op = op;
	ev->u.put_off.until = w->b.now + draw(w, 400);
	ev->u.put_off.failing = draw(w, 2);
}

static void draw_command(struct world *w)
{
	static const char *const commands[] = { "confirm", "confirm", "cancel", "cancel operator",
		"join", "join u", "pause", "unpause", "unpause", "unpause", "retry", "retry",
		"stuck poison", "resume", "abandon", "room" };
	const char *text = commands[draw(w, sizeof commands / sizeof commands[0])];

	if (text[0] == 'j' && w->b.t.step_count >= WORDS_STEPS)
		text = "tick";
	words_event(&w->b, text);
}

static void draw_event(struct world *w)
{
	struct bench  *b = &w->b;
	const uint32_t kind = draw(w, 20);

	b->now += draw(w, 60);
	if (kind < 4 && b->up.timer_at > b->now)
		b->now = b->up.timer_at;
	words_event(b, "tick");
	if (kind >= 6 && kind < 18)
		draw_answer(w, &b->ev);
	if (kind == 6 && b->ev.u.answer.from == FROM_CALL)
		draw_put_off(w, &b->ev);
	else if (kind >= 18)
		draw_command(w);
	b->ev.random = draw(w, UINT32_MAX);
}

/* ---- what must hold ------------------------------------------------------------ */

static bool has(const struct bench *b, uint16_t i, unsigned op)
{
	return b->up.next.plan->steps[i].has & 1u << op;
}

/* Does step i stand directly behind step k? Said, implied by the pivot, or joined later. */
static bool stands_behind(const struct plan *plan, uint16_t i, uint16_t k)
{
	const struct plan_step *ps = &plan->steps[i];

	for (unsigned e = 0; e < ps->after_n; e++)
		if (plan->edges[ps->after_at + e] == k)
			return true;
	if (ps->kind == KIND_PIVOT && plan->steps[k].kind == KIND_COMPENSATABLE)
		return true;
	return ps->joined && i > k;
}

static bool may_try(const struct bench *b, uint16_t i)
{
	const struct txn *t = &b->up.next;

	if ((t->phase == PHASE_CONFIRMING) != (t->plan->steps[i].kind == KIND_RETRIABLE))
		return false;
	for (uint16_t k = 0; k < t->step_count; k++)
		if (stands_behind(t->plan, i, k) && !t->plan->steps[i].joined &&
		    t->steps[k].state != STEP_CONFIRMED &&
		    (t->steps[k].state != STEP_TRIED ||
		     (t->phase == PHASE_CONFIRMING && has(b, k, OP_CONFIRM))))
			return false;
	return t->phase == PHASE_CONFIRMING || !phase_is_decided(t->phase);
}

static bool may_cancel(const struct world *w, uint16_t i)
{
	const struct txn *t = &w->b.up.next;

	for (uint16_t k = 0; k < t->step_count; k++)
		if (stands_behind(t->plan, k, i) && t->steps[k].state != STEP_UNTRIED &&
		    t->steps[k].state != STEP_CANCELLED &&
		    (has(&w->b, k, OP_CANCEL) || t->steps[k].open_op != 0))
			return false;
	return t->phase == PHASE_CANCELLING && !w->called[i][OP_CONFIRM];
}

static void check_call(struct world *w, const struct call *c, bool closed[static WORDS_STEPS + 1])
{
	const struct bench *b = &w->b;
	const struct txn   *t = &b->up.next;
	const uint16_t      i = c->step == TXN_CHECK ? WORDS_STEPS : c->step;

	must(w, w->open[i] == 0 || closed[i], "a call was open already");
	must(w, !t->paused && t->stuck < STUCK_POISON && t->start_at == 0, "a call while held");
	if (c->op == OP_CHECK) {
		must(w, t->phase == PHASE_PREPARED && b->now >= t->deadline_at, "an early check");
		seen.check++;
		return;
	}
	must(w, has(b, i, c->op), "a call that does not exist");
	must(w, t->steps[i].next_at <= b->now && t->steps[i].put_off_until <= b->now, "a call before its time");
	if (c->op == OP_TRY)
		must(w, may_try(b, i), "a try before what it stands behind");
	if (c->op == OP_CONFIRM)
		must(w, t->phase == PHASE_CONFIRMING && !w->called[i][OP_CANCEL], "confirm");
	if (c->op == OP_CANCEL)
		must(w, may_cancel(w, i), "a cancel out of order");
}

/* Whose open call this event ends, or -1. */
static int closed_by(const struct world *w, const struct event *ev)
{
	uint16_t step;
	enum op  op;

	if (ev->kind == EV_ANSWER && ev->u.answer.from == FROM_CALL) {
		step = ev->u.answer.step;
		op = ev->u.answer.op;
	} else if (ev->kind == EV_PUT_OFF) {
		step = ev->u.put_off.step;
		op = ev->u.put_off.op;
	} else {
		return -1;
	}
	step = step == TXN_CHECK ? WORDS_STEPS : step;
	return step <= WORDS_STEPS && w->open[step] == 1 + op ? step : -1;
}

static void check_calls(struct world *w)
{
	const struct bench *b = &w->b;
	const struct event *ev = &b->ev;
	bool                closed[WORDS_STEPS + 1] = { false };
	uint16_t            open = 0;
	int                 i = closed_by(w, ev);

	if (i >= 0)
		closed[i] = true;
	for (uint16_t k = 0; k < b->up.call_count; k++)
		check_call(w, &b->up.calls[k], closed);
	for (uint16_t k = 0; k < b->up.next.step_count; k++)
		open = (uint16_t)(open + (b->up.next.steps[k].open_op != 0));
	must(w, b->up.call_count == 0 || open <= b->plan.max_parallel, "too many calls");
	must(w, (b->up.call_count > 0) == !!(b->up.flags & DO_CALLS), "DO_CALLS");
	seen.parallel += open > 1;
}

static void check_end(struct world *w)
{
	const struct bench *b = &w->b;
	const struct txn   *t = &b->up.next;

	must(w, (b->up.flags & DO_FINISH) && b->up.timer_at == 0, "an end goes on");
	for (uint16_t i = 0; i < t->step_count; i++) {
		if (t->phase == PHASE_CANCELLED && has(b, i, OP_CANCEL))
			must(w, t->steps[i].state == STEP_CANCELLED || !w->called[i][OP_TRY],
			     "left tried after cancelled");
		if (t->phase == PHASE_CONFIRMED)
			must(w, t->steps[i].state == (has(b, i, OP_CONFIRM) ? STEP_CONFIRMED
			                                                    : STEP_TRIED),
			     "left open after confirmed");
	}
}

static void check_row(struct world *w)
{
	const struct txn *t = &w->b.up.next;
	struct step       rows[WORDS_STEPS + 1];
	struct txn        row = *t;

	for (uint16_t i = 0; i < t->step_count; i++) {
		rows[i] = t->steps[i];
		rows[i].open_op = 0;
		must(w, !w->called[i][OP_TRY] || rows[i].state != STEP_UNTRIED,
		     "untried, but called");
	}
	row.steps = rows;
	row.check.open_op = 0;
	must(w, txn_check(&row) == NULL, "a row that would be refused");
}

static void check_update(struct world *w)
{
	const struct bench *b = &w->b;
	const struct txn   *t = &b->t, *next = &b->up.next;
	const bool          commits = b->up.flags & DO_COMMIT;

	must(w, next->version == t->version + commits, "version");
	must(w, next->phase == t->phase || (commits && txn_may_move(t->phase, next->phase)),
	     "an illegal move");
	must(w, !phase_is_ended(t->phase) || !commits, "an end is not the end");
	must(w, b->up.timer_at == 0 || b->up.timer_at > b->now, "a timer in the past");
	if (txn_in_doubt(t) && next->phase == PHASE_CANCELLING)
		must(w, b->ev.kind == EV_ANSWER, "cancelled in doubt");
	if (next->cause == CAUSE_REFUSED && t->cause == CAUSE_NONE)
		must(w, b->ev.u.answer.outcome == OUTCOME_REFUSED, "no answer taken as a no");
	check_calls(w);
	check_row(w);
	if (phase_is_ended(next->phase))
		check_end(w);
}

/* A tick at the time it asked for must do something or ask for a later one. */
static void check_timer(struct world *w)
{
	struct bench *b = &w->b;
	const int64_t timer_at = b->up.timer_at;
	struct event  tick = { .kind = EV_TICK, .now = timer_at };
	struct bench  copy;

	if (timer_at == 0)
		return;
	copy = *b;
	copy.up.next.steps = copy.next_steps;
	copy.up.calls = copy.calls;
	txn_step(&b->t, &tick, &copy.up);
	must(w, copy.up.flags != 0 || copy.up.timer_at == 0 || copy.up.timer_at > timer_at,
	     "a busy timer");
}

/* ---- the engine around it -------------------------------------------------------- */

static void count_seen(const struct world *w)
{
	const struct bench *b = &w->b;
	const enum phase    now = b->up.next.phase;

	seen.confirmed += now == PHASE_CONFIRMED && b->t.phase != now;
	seen.cancelled += now == PHASE_CANCELLED && b->t.phase != now;
	seen.abandoned += now == PHASE_ABANDONED && b->t.phase != now;
	seen.in_doubt += b->ev.kind == EV_CANCEL && b->up.verdict == VERDICT_IN_DOUBT;
	seen.not_ready += b->ev.kind == EV_CONFIRM && b->up.verdict == VERDICT_NOT_READY;
	seen.joined += b->up.next.step_count > b->t.step_count;
	seen.stuck += b->up.next.stuck != STUCK_NONE;
	seen.paused += b->t.paused && (b->up.flags & DO_COMMIT);
	seen.delayed += b->t.start_at != 0 && b->up.next.start_at == 0;
	seen.put_off += b->ev.kind == EV_PUT_OFF && closed_by(w, &b->ev) >= 0;
	seen.late_ok += b->t.phase == PHASE_CANCELLING && b->ev.kind == EV_ANSWER &&
	                b->ev.u.answer.op == OP_TRY && (b->up.flags & DO_COMMIT);
}

static void act(struct world *w)
{
	struct bench *b = &w->b;

	words_apply(b);
	for (uint16_t k = 0; k < b->up.call_count; k++) {
		const struct call *c = &b->up.calls[k];

		w->open[c->step == TXN_CHECK ? WORDS_STEPS : c->step] = (uint8_t)(1 + c->op);
		if (c->step != TXN_CHECK)
			w->called[c->step][c->op] = true;
	}
	if (phase_is_ended(b->t.phase))
		memset(w->open, 0, sizeof w->open);
	for (uint16_t i = 0; i < b->t.step_count; i++)
		must(w, b->t.steps[i].open_op == w->open[i], "open calls are miscounted");
	check_timer(w);
}

static void play(struct world *w)
{
	struct bench       *b = &w->b;
	const struct event *ev = &b->ev;

	txn_step(&b->t, ev, &b->up);
	check_update(w);
	count_seen(w);
	if (closed_by(w, ev) >= 0)
		w->open[closed_by(w, ev)] = 0;
}

/* Another owner reads the row: it knows nothing of the calls that are under way. */
static void reload(struct world *w)
{
	struct bench *b = &w->b;

	for (uint16_t i = 0; i < b->t.step_count; i++) {
		b->steps[i].open_op = 0;
		b->steps[i].flags &= (uint8_t)~STEP_IN_DOUBT;
		b->steps[i].put_off_until = 0;
	}
	b->t.check.open_op = 0;
	memset(w->open, 0, sizeof w->open);
	seen.reloaded++;
	words_event(b, "resume adopted");
	play(w);
	act(w);
}

static void go(struct world *w)
{
	play(w);
	if ((w->b.up.flags & DO_COMMIT) && draw(w, 15) == 0) {
		seen.lost_commit++;
		reload(w);
	} else {
		act(w);
	}
}

/* The faults are over: everybody says ok. It must come to an end. */
static const char *next_push(struct world *w, char text[static 64])
{
	struct bench *b = &w->b;

	if (b->t.paused)
		return "unpause";
	for (uint16_t i = 0; i <= WORDS_STEPS; i++)
		if (w->open[i] != 0) {
			snprintf(text, 64, "%s %c ok", op_name((enum op)(w->open[i] - 1)),
			         i == WORDS_STEPS ? '?' : 'a' + i);
			return text;
		}
	if (b->up.timer_at != 0) {
		b->now = b->up.timer_at;
		return "tick";
	}
	if (b->t.phase == PHASE_PREPARED && b->t.stuck == STUCK_NONE)
		return draw(w, 2) ? "confirm" : "cancel";
	return "retry";
}

static void finish(struct world *w)
{
	char text[64];

	for (int k = 0; k < FINISH_MAX && !phase_is_ended(w->b.t.phase) && !w->wrong; k++) {
		words_event(&w->b, next_push(w, text));
		play(w);
		act(w);
	}
	must(w, phase_is_ended(w->b.t.phase), "it never ends");
}

static const char *walk(uint64_t seed)
{
	static struct world w;
	struct bench       *b = &w.b;

	w = (struct world){ .seed = seed, .random = seed * 0x2545f4914f6cdd1du };
	draw_plan(&w);
	b->t.steps = b->steps;
	txn_init(&b->t, &b->plan, draw(&w, 4) ? 0 : b->now + draw(&w, 500),
	         b->plan.open || draw(&w, 3) == 0 ? b->now + draw(&w, 3000) : 0);
	words_event(b, "resume");
	play(&w);
	act(&w);
	for (int k = 0; k < EVENTS && w.wrong == NULL; k++) {
		if (draw(&w, 25) == 0) {
			reload(&w);
			continue;
		}
		draw_event(&w);
		go(&w);
	}
	finish(&w);
	return w.wrong;
}

int main(int argc, char **argv)
{
	const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
	uint64_t       seed = first;
	const char    *wrong = NULL;

	while (seed < first + count && (wrong = walk(seed)) == NULL)
		seed++;
	ok(wrong == NULL, "what must hold, holds in %llu random walks", (unsigned long long)count);
	if (wrong != NULL)
		printf("# seed %llu: %s\n", (unsigned long long)seed, wrong);
#define X(name) ok(seen.name > 0 || count < 500, "some walks saw: " #name);
	SEEN(X)
#undef X
	return tap_done();
}
