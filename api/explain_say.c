/* SPDX-License-Identifier: Apache-2.0
 * explain_say.c - the sentence about the step that keeps a transaction.
 */
#include "api/explain_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- words ----------------------------------------------------------------------------------- */

/* "850 ms", "12 s", "3 min", "5 h", "4 d": what a person takes in at a glance. */
const char *explain_span(int64_t ms, char out[32])
{
	static const struct {
		int64_t     below, unit;
		const char *name;
	} units[] = { { 1000, 1, "ms" },           { 120 * 1000, 1000, "s" },      { 7200 * 1000, 60 * 1000, "min" },
		      { 48 * 3600 * 1000, 3600 * 1000, "h" }, { INT64_MAX, 86400 * 1000, "d" } };
	size_t i = 0;

	if (ms < 0)
		ms = 0;
	while (ms >= units[i].below)
		i++;
	snprintf(out, 32, "%lld %s", (long long)(ms / units[i].unit), units[i].name);
	return out;
}

static int64_t call_ms(const struct explain_facts *f, int step)
{
	return f->is_owner && f->call_ms != NULL ? f->call_ms(f->ctx, (uint16_t)step) : -1;
}

/* ---- one step ------------------------------------------------------------------------------------------ */

static void say_target(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct str prefix = STR("participant:");
	struct str       target = explain_target(f, x->step, x->op);

	if (str_starts(target, prefix))
		target = (struct str){ target.p + prefix.n, target.n - prefix.n };
	buf_str(out, target);
}

static void say_step(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	if (x->step == TXN_CHECK) {
		buf_cstr(out, "The check of its sender");
		return;
	}
	buf_cstr(out, "Step ");
	buf_str(out, explain_step_name(f, x->step));
}

/* "attempt 7 of try failed 12 s ago at payment:8080 (HTTP 503: …)" */
static void say_last(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct note *n = explain_note(f, x->step);
	const struct step *s = explain_step(f, x->step);
	char               ago[32];

	if (n->at == 0 || (int)n->op != x->op) {
		buf_fmt(out, ": %s was not answered yet by ", op_name((enum op)x->op));
		say_target(f, x, out);
		return;
	}
	buf_fmt(out, ": attempt %u of %s failed %s ago at ", s->attempts + s->misconfigured > 0 ? s->attempts + s->misconfigured
	                                                                                         : n->calls,
	        op_name((enum op)x->op), explain_span(f->now - n->at, ago));
	say_target(f, x, out);
	buf_fmt(out, " (%.*s)", (int)n->error.n, n->error.p);
}

static void say_until(const struct explain_facts *f, const char *what, int64_t until,
                      struct buf *out)
{
	char in[32];

	if (until > f->now)
		buf_fmt(out, "; %s in %s", what, explain_span(until - f->now, in));
	else
		buf_fmt(out, "; %s now", what);
}

void explain_say_pause(const struct explain_facts *f, const struct pause_row *p, struct buf *out)
{
	char ago[32];

	buf_fmt(out, "paused %s ago by %.*s (%.*s)", explain_span(f->now - p->since, ago), (int)p->actor.n, p->actor.p,
	        (int)p->reason.n, p->reason.p);
}

static void say_breaker(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	struct api_target t;
	char              ago[32];

	if (!explain_find_target(f, x->step, x->op, &t) || strcmp(t.breaker, "closed") == 0)
		return;
	buf_cstr(out, "the breaker of ");
	say_target(f, x, out);
	buf_fmt(out, " is open since %s", explain_span(t.breaker_ms, ago));
}

static void say_calling(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const int64_t ms = call_ms(f, x->step);
	char          since[32];

	buf_fmt(out, ": %s is under way to ", op_name((enum op)x->op));
	say_target(f, x, out);
	if (ms >= 0)
		buf_fmt(out, ", for %s", explain_span(ms, since));
}

static void say_ongoing(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct note *n = explain_note(f, x->step);
	char               ago[32];

	buf_cstr(out, ": ");
	say_target(f, x, out);
	buf_fmt(out, " works on its %s", op_name((enum op)x->op));
	if (n->answered_at != 0)
		buf_fmt(out, " (it said so %s ago)", explain_span(f->now - n->answered_at, ago));
	say_until(f, "it is asked again", x->until, out);
}

/* " waits with its try: " */
static void say_waits(const struct explanation *x, struct buf *out)
{
	buf_fmt(out, " waits with its %s: ", op_name((enum op)x->op));
}

static void say_back_off(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	struct buf breaker = { 0 };

	say_last(f, x, out);
	say_until(f, "the next attempt comes", x->until, out);
	say_breaker(f, x, &breaker);
	if (breaker.n > 0)
		buf_fmt(out, "; %s", breaker.p);
	buf_fini(&breaker);
}

static void say_behind_breaker(const struct explain_facts *f, const struct explanation *x,
                               struct buf *out)
{
	say_waits(x, out);
	say_breaker(f, x, out);
	say_until(f, "it asks again", x->until, out);
}

static void say_throttled(const struct explain_facts *f, const struct explanation *x,
                          struct buf *out)
{
	say_waits(x, out);
	say_target(f, x, out);
	buf_cstr(out, " said 429, too many requests");
	say_until(f, "the call comes", x->until, out);
}

static void say_budget(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	say_waits(x, out);
	buf_cstr(out, "too many retries to ");
	say_target(f, x, out);
	buf_cstr(out, " fail, and it has used up its share");
	say_until(f, "it asks again", x->until, out);
}

static void say_paused(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct pause_row *pause = explain_find_pause(f, PAUSE_PARTICIPANT, explain_target(f, x->step, x->op));

	say_waits(x, out);
	buf_cstr(out, "calls to ");
	say_target(f, x, out);
	buf_cstr(out, " were ");
	if (pause != NULL)
		explain_say_pause(f, pause, out);
}

static void say_full(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	buf_cstr(out, " waits for a place in the queue of calls to ");
	say_target(f, x, out);
}

static void say_attempts(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	say_last(f, x, out);
	buf_cstr(out, "; its attempts are used up, and it cannot be cancelled");
}

static void say_misconfigured(const struct explain_facts *f, const struct explanation *x,
                              struct buf *out)
{
	say_last(f, x, out);
	buf_cstr(out, "; the call or its answer is not as the contract wants");
}

static void say_gone(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	say_last(f, x, out);
	buf_cstr(out, "; the participant no longer has what must be confirmed");
}

static void say_parallel(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	say_waits(x, out);
	buf_fmt(out, "%u calls of this transaction are under way, as many as may be", f->view.txn->plan->max_parallel);
}

static void say_no_owner(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	buf_fmt(out, " waits with its %s", op_name((enum op)x->op));
	say_until(f, "it is taken up", x->until, out);
}

static void say_about(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	(void)f;
	buf_fmt(out, " is about to be called: its %s is due", op_name((enum op)x->op));
}

static void say_decision(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	buf_cstr(out, " is made when its deadline has passed and the sender has decided nothing");
	say_until(f, "that is", x->until, out);
}

/* Behind the name of the step. What is not in here concerns the transaction as a whole. */
static explain_say *const says[] = {
	[WHY_CALLING] = say_calling,
	[WHY_ONGOING] = say_ongoing,
	[WHY_BACK_OFF] = say_back_off,
	[WHY_BREAKER] = say_behind_breaker,
	[WHY_THROTTLED] = say_throttled,
	[WHY_BUDGET] = say_budget,
	[WHY_PAUSED_PARTICIPANT] = say_paused,
	[WHY_FULL] = say_full,
	[WHY_ATTEMPTS] = say_attempts,
	[WHY_MISCONFIGURED] = say_misconfigured,
	[WHY_GONE] = say_gone,
	[WHY_PARALLEL] = say_parallel,
	[WHY_NO_OWNER] = say_no_owner,
	[WHY_ABOUT] = say_about,
	[WHY_DECISION] = say_decision,
};

void explain_say_step(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	say_step(f, x, out);
	if ((size_t)x->why < sizeof says / sizeof says[0] && says[x->why] != NULL)
		says[x->why](f, x, out);
}
