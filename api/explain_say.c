/* SPDX-License-Identifier: Apache-2.0
 * explain_say.c - the sentences of an explanation.
 */
#include "api/explain_internal.h"

#include <stdio.h>
#include <string.h>

enum { SOON_MS = 10 * 60 * 1000, NAMES_MAX = 5, SHORT_ID = 8 };

/* ---- words ----------------------------------------------------------------------------------- */

/* "850 ms", "12 s", "3 min", "5 h", "4 d": what a person takes in at a glance. */
static const char *span(int64_t ms, char out[32])
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
	        op_name((enum op)x->op), span(f->now - n->at, ago));
	say_target(f, x, out);
	buf_fmt(out, " (%.*s)", (int)n->error.n, n->error.p);
}

static void say_until(const struct explain_facts *f, const char *what, int64_t until, struct buf *out)
{
	char in[32];

	if (until > f->now)
		buf_fmt(out, "; %s in %s", what, span(until - f->now, in));
	else
		buf_fmt(out, "; %s now", what);
}

static void say_pause(const struct explain_facts *f, const struct pause_row *p, struct buf *out)
{
	char ago[32];

	buf_fmt(out, "paused %s ago by %.*s (%.*s)", span(f->now - p->since, ago), (int)p->actor.n, p->actor.p,
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
	buf_fmt(out, " is open since %s", span(t.breaker_ms, ago));
}

static void say_calling(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const int64_t ms = call_ms(f, x->step);
	char          since[32];

	buf_fmt(out, ": %s is under way to ", op_name((enum op)x->op));
	say_target(f, x, out);
	if (ms >= 0)
		buf_fmt(out, ", for %s", span(ms, since));
}

static void say_ongoing(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct note *n = explain_note(f, x->step);
	char               ago[32];

	buf_cstr(out, ": ");
	say_target(f, x, out);
	buf_fmt(out, " works on its %s", op_name((enum op)x->op));
	if (n->answered_at != 0)
		buf_fmt(out, " (it said so %s ago)", span(f->now - n->answered_at, ago));
	say_until(f, "it is asked again", x->until, out);
}

void explain_say_step(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct pause_row *pause;

	say_step(f, x, out);
	switch (x->why) {
	case WHY_CALLING:
		say_calling(f, x, out);
		return;
	case WHY_ONGOING:
		say_ongoing(f, x, out);
		return;
	case WHY_BACK_OFF:
		say_last(f, x, out);
		say_until(f, "the next attempt comes", x->until, out);
		if (explain_find_target(f, x->step, x->op, &(struct api_target){ 0 })) {
			struct buf breaker = { 0 };

			say_breaker(f, x, &breaker);
			if (breaker.n > 0)
				buf_fmt(out, "; %s", breaker.p);
			buf_fini(&breaker);
		}
		return;
	case WHY_BREAKER:
		buf_fmt(out, " waits with its %s: ", op_name((enum op)x->op));
		say_breaker(f, x, out);
		say_until(f, "it asks again", x->until, out);
		return;
	case WHY_THROTTLED:
		buf_fmt(out, " waits with its %s: ", op_name((enum op)x->op));
		say_target(f, x, out);
		buf_cstr(out, " said 429, too many requests");
		say_until(f, "the call comes", x->until, out);
		return;
	case WHY_BUDGET:
		buf_fmt(out, " waits with its %s: too many retries to ", op_name((enum op)x->op));
		say_target(f, x, out);
		buf_cstr(out, " fail, and it has used up its share");
		say_until(f, "it asks again", x->until, out);
		return;
	case WHY_PAUSED_PARTICIPANT:
		buf_fmt(out, " waits with its %s: calls to ", op_name((enum op)x->op));
		say_target(f, x, out);
		buf_cstr(out, " were ");
		pause = explain_find_pause(f, PAUSE_PARTICIPANT, explain_target(f, x->step, x->op));
		if (pause != NULL)
			say_pause(f, pause, out);
		return;
	case WHY_FULL:
		buf_fmt(out, " waits for a place in the queue of calls to ");
		say_target(f, x, out);
		return;
	case WHY_ATTEMPTS:
		say_last(f, x, out);
		buf_cstr(out, "; its attempts are used up, and it cannot be cancelled");
		return;
	case WHY_MISCONFIGURED:
		say_last(f, x, out);
		buf_cstr(out, "; the call or its answer is not as the contract wants");
		return;
	case WHY_GONE:
		say_last(f, x, out);
		buf_cstr(out, "; the participant no longer has what must be confirmed");
		return;
	case WHY_PARALLEL:
		buf_fmt(out, " waits with its %s: %u calls of this transaction are under way, as many as may be", op_name((enum op)x->op),
		        f->view.txn->plan->max_parallel);
		return;
	case WHY_NO_OWNER:
		buf_fmt(out, " waits with its %s", op_name((enum op)x->op));
		say_until(f, "it is taken up", x->until, out);
		return;
	case WHY_ABOUT:
		buf_fmt(out, " is about to be called: its %s is due", op_name((enum op)x->op));
		return;
	case WHY_DECISION:
		buf_cstr(out, " is made when its deadline has passed and the sender has decided nothing");
		say_until(f, "that is", x->until, out);
		return;
	case WHY_ENDED:
	case WHY_DATABASE:
	case WHY_DOUBT:
	case WHY_FAILOVER:
	case WHY_SUSPENDED:
	case WHY_DRAINING:
	case WHY_COMMITTING:
	case WHY_OWNER_FENCED:
	case WHY_OWNER_SILENT:
	case WHY_PAUSED:
	case WHY_UNREADABLE:
	case WHY_POISON:
	case WHY_BAD_ROW:
	case WHY_NOT_STARTED:
	case WHY_NOTHING:
		break;
	}
}

static void say_owner_gone(const struct explain_facts *f, struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	buf_fmt(out, "Its owner, replica %.*s, %s", SHORT_ID, uuid_text(f->view.row.owner, id),
	        f->owner == OWNER_FENCED ? "is dead and fenced" : "has left");
	if (f->owner_age_ms >= 0)
		buf_fmt(out, " (last heard of %s ago)", span(f->owner_age_ms, ago));
	buf_cstr(out, "; no other replica has taken the transaction over yet");
}

static void say_owner_silent(const struct explain_facts *f, struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	buf_fmt(out, "Its owner, replica %.*s, does not answer", SHORT_ID, uuid_text(f->view.row.owner, id));
	if (f->owner_age_ms >= 0)
		buf_fmt(out, " (it reported to the database %s ago)", span(f->owner_age_ms, ago));
}

static void say_end(const struct explain_facts *f, struct buf *out)
{
	char ago[32];

	buf_fmt(out, "It has ended: %s, %s ago", phase_name(f->view.row.phase), span(f->now - f->view.row.ended_at, ago));
	if (f->view.txn != NULL && f->view.row.phase == PHASE_CANCELLED)
		buf_fmt(out, " (cause: %s)", cause_name(f->view.txn->cause));
}

void explain_say_whole(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	char text[32];

	switch (x->why) {
	case WHY_ENDED:
		say_end(f, out);
		return;
	case WHY_DATABASE:
		buf_cstr(out, "The database cannot be reached, so that nothing can be committed");
		if (f->database.last_error != NULL && f->database.last_error[0] != '\0')
			buf_fmt(out, " (%s)", f->database.last_error);
		return;
	case WHY_DOUBT:
		buf_fmt(out, "The database connection broke in a commit of it; whether that was done is being found out, since %s",
		        span(f->inside.doubt_ms, text));
		return;
	case WHY_FAILOVER:
		buf_cstr(out, "The database failed over, and it is not known yet whether the new primary has all of it");
		return;
	case WHY_SUSPENDED:
		buf_fmt(out, "Its owner is not sure of its lease (%s), and calls nobody", engine_state_name(f->state));
		return;
	case WHY_DRAINING:
		buf_cstr(out, "Its owner is leaving and releases it for other replicas");
		return;
	case WHY_COMMITTING:
		buf_cstr(out, "A commit of it is under way");
		return;
	case WHY_OWNER_FENCED:
		say_owner_gone(f, out);
		return;
	case WHY_OWNER_SILENT:
		say_owner_silent(f, out);
		return;
	case WHY_PAUSED:
		buf_fmt(out, "A person has paused it while it was %s; the journal says who and why", phase_name(f->view.row.phase));
		return;
	case WHY_UNREADABLE:
		buf_fmt(out, "This replica cannot read it (format %u): its definition is missing, or a newer version wrote it",
		        f->view.row.format);
		return;
	case WHY_POISON:
		buf_cstr(out, "Replicas died again and again while driving it, so nobody drives it any more");
		return;
	case WHY_BAD_ROW:
		buf_cstr(out, "The database refused to store its progress, so nobody drives it any more");
		return;
	case WHY_NOT_STARTED:
		buf_fmt(out, "It begins in %s, as its start_at says", span(x->until - f->now, text));
		return;
	case WHY_DECISION:
		buf_fmt(out, "It waits for its caller to confirm or cancel (%u steps have joined)", f->view.txn->step_count);
		return;
	case WHY_NOTHING:
		buf_fmt(out, "It is %s, and nothing that sagad knows of keeps it", phase_name(f->view.row.phase));
		return;
	case WHY_NO_OWNER:
	case WHY_ATTEMPTS:
	case WHY_MISCONFIGURED:
	case WHY_GONE:
	case WHY_CALLING:
	case WHY_FULL:
	case WHY_PAUSED_PARTICIPANT:
	case WHY_BREAKER:
	case WHY_THROTTLED:
	case WHY_BUDGET:
	case WHY_ONGOING:
	case WHY_BACK_OFF:
	case WHY_PARALLEL:
	case WHY_ABOUT:
		break;
	}
}

/* ---- what stands beside it ---------------------------------------------------------------------------- */

static void say_behind(const struct explain_facts *f, struct buf *out)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < f->view.txn->step_count; i++) {
		if (!explain_waits_behind(f->view.txn, i) || n++ >= NAMES_MAX)
			continue;
		buf_cstr(out, n == 1 ? " Behind it wait: " : ", ");
		buf_str(out, explain_step_name(f, i));
	}
	if (n > NAMES_MAX)
		buf_fmt(out, " and %u more", n - NAMES_MAX);
	if (n > 0)
		buf_char(out, '.');
}

static void say_overdue(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct step *s = explain_step(f, x->step);
	char               since[32];

	if (s->stuck == STUCK_OVERDUE)
		buf_fmt(out, " It has had no success for %s and is marked stuck (overdue): a person should look.",
		        span(f->now - s->first_at, since));
}

/* What the deadline will do, if that is soon. */
static void say_deadline(const struct explain_facts *f, struct buf *out)
{
	const struct txn *t = f->view.txn;
	char              in[32];

	if (t->deadline_at == 0 || phase_is_decided(t->phase) || t->plan->mode == MODE_MESSAGE ||
	    t->deadline_at > f->now + SOON_MS)
		return;
	if (txn_in_doubt(t))
		buf_cstr(out, " A pivot may have been done: its outcome decides, not the deadline.");
	else if (t->deadline_at > f->now)
		buf_fmt(out, " Its deadline in %s decides cancel.", span(t->deadline_at - f->now, in));
	else
		buf_fmt(out, " Its deadline passed %s ago and decides cancel as soon as it can.", span(f->now - t->deadline_at, in));
}

static void say_owner(const struct explain_facts *f, struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	switch (f->owner) {
	case OWNER_US:
	case OWNER_LIVE:
		buf_fmt(out, " It is owned by replica %.*s%s", SHORT_ID, uuid_text(f->view.row.owner, id),
		        f->owner == OWNER_US ? " (this one)" : "");
		if (f->owner_age_ms >= 0)
			buf_fmt(out, ", whose lease is %s old", span(f->owner_age_ms, ago));
		buf_char(out, '.');
		return;
	case OWNER_NOBODY:
		if (f->view.row.due_at == AT_NEVER)
			buf_cstr(out, " No replica drives it until a person does something.");
		else
			buf_cstr(out, " No replica drives it until then; any of them takes it up when it is due.");
		return;
	case OWNER_LEFT:
	case OWNER_FENCED:
	case OWNER_UNKNOWN:
		return;
	}
}

static void say_definition(const struct explain_facts *f, struct buf *out)
{
	const struct pause_row *p = explain_find_pause(f, PAUSE_DEFINITION, f->view.row.definition);

	if (p == NULL)
		return;
	buf_cstr(out, " New starts of its definition were ");
	say_pause(f, p, out);
	buf_cstr(out, "; those that run go on.");
}

void explain_say_more(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	if (x->step >= 0) {
		say_overdue(f, x, out);
		say_behind(f, out);
	}
	if (f->view.txn != NULL && x->why != WHY_PAUSED)
		say_deadline(f, out);
	say_definition(f, out);
	say_owner(f, out);
}
