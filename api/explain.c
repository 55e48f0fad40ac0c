/* SPDX-License-Identifier: Apache-2.0 */
#include "api/explain_internal.h"

#include "participants/definition.h"

#include <string.h>

/* ---- facts of one step ------------------------------------------------------------------------- */

struct str explain_step_name(const struct explain_facts *f, int step)
{
	return definition_step_name(f->view.row.def, (uint16_t)step);
}

const struct step *explain_step(const struct explain_facts *f, int step)
{
	return step == TXN_CHECK ? &f->view.txn->check : &f->view.txn->steps[step];
}

const struct note *explain_note(const struct explain_facts *f, int step)
{
	return step == TXN_CHECK ? f->view.check : &f->view.notes[step];
}

struct str explain_target(const struct explain_facts *f, int step, int op)
{
	return definition_target(f->view.row.def, (uint16_t)step, (enum op)op);
}

bool explain_find_target(const struct explain_facts *f, int step, int op, struct api_target *out)
{
	return f->target != NULL && f->target(f->ctx, explain_target(f, step, op), out);
}

const struct pause_row *explain_find_pause(const struct explain_facts *f, enum pause_kind kind, struct str name)
{
	return f->pause != NULL && name.n > 0 ? f->pause(f->ctx, kind, name) : NULL;
}

/* ---- why: of one step that waits -------------------------------------------------------------------- */

static bool is_target_paused(const struct explain_facts *f, int step, int op)
{
	return explain_find_pause(f, PAUSE_PARTICIPANT, explain_target(f, step, op)) != NULL;
}

/* What keeps calls to this participant, which nobody has paused, from being made now. */
static struct explain_wait wait_of_target(const struct explain_facts *f, int step, int op, int64_t until)
{
	struct api_target t;

	if (!explain_find_target(f, step, op, &t))
		return (struct explain_wait){ WHY_NO_OWNER, until };
	if (strcmp(t.breaker, "closed") != 0)
		return (struct explain_wait){ WHY_BREAKER, until };
	if (t.quiet_ms > 0)
		return (struct explain_wait){ WHY_THROTTLED, until };
	return (struct explain_wait){ f->is_owner ? WHY_BUDGET : WHY_NO_OWNER, until };
}

static struct explain_wait wait_of_stuck(enum stuck stuck)
{
	switch (stuck) {
	case STUCK_ATTEMPTS: return (struct explain_wait){ WHY_ATTEMPTS, 0 };
	case STUCK_MISCONFIGURED: return (struct explain_wait){ WHY_MISCONFIGURED, 0 };
	case STUCK_GONE: return (struct explain_wait){ WHY_GONE, 0 };
	case STUCK_POISON: return (struct explain_wait){ WHY_POISON, 0 };
	case STUCK_BAD_ROW: return (struct explain_wait){ WHY_BAD_ROW, 0 };
	case STUCK_NONE:
	case STUCK_OVERDUE:
		break;
	}
	return (struct explain_wait){ WHY_NOTHING, 0 };
}

static bool has_room(const struct explain_facts *f)
{
	unsigned open = 0;

	for (uint16_t i = 0; i < f->view.txn->step_count; i++)
		open += f->view.txn->steps[i].open_op != 0;
	return open < f->view.txn->plan->max_parallel;
}

/* The message is asked about when its deadline has passed, and not before. */
static int64_t not_before(const struct explain_facts *f, int step)
{
	const struct step *s = explain_step(f, step);

	if (step == TXN_CHECK && f->view.txn->deadline_at > s->next_at)
		return f->view.txn->deadline_at;
	return s->next_at;
}

struct explain_wait explain_wait_of(const struct explain_facts *f, int step, int op)
{
	const struct step *s = explain_step(f, step);
	const int64_t      due = f->view.row.due_at != AT_NEVER ? f->view.row.due_at : 0;
	const int64_t      at = not_before(f, step);
	const bool         is_early = step == TXN_CHECK && s->attempts == 0 && at > f->now;

	if (s->stuck > STUCK_OVERDUE)
		return wait_of_stuck(s->stuck);
	if (s->open_op != 0)
		return (struct explain_wait){ f->is_owner && f->inside.held ? WHY_FULL : WHY_CALLING, 0 };
	if (f->view.row.paused)
		return (struct explain_wait){ WHY_PAUSED, 0 };
	/* Whatever else it waits for: no attempt is made before somebody resumes it. */
	if (!is_early && is_target_paused(f, step, op))
		return (struct explain_wait){ WHY_PAUSED_PARTICIPANT, 0 };
	if (s->put_off_until > f->now)
		return wait_of_target(f, step, op, s->put_off_until);
	if (at > f->now && s->flags & STEP_IS_ONGOING)
		return (struct explain_wait){ WHY_ONGOING, at };
	if (at > f->now)
		return (struct explain_wait){ is_early ? WHY_DECISION : WHY_BACK_OFF, at };
	/* Not stored, and so not in a row that was put off and then parked. */
	if (due > f->now)
		return wait_of_target(f, step, op, due);
	if (!f->is_owner)
		return (struct explain_wait){ uuid_is_nil(f->view.row.owner) ? WHY_NO_OWNER : WHY_ABOUT, due };
	if (f->inside.held)
		return (struct explain_wait){ WHY_FULL, 0 };
	return (struct explain_wait){ has_room(f) ? WHY_ABOUT : WHY_PARALLEL, 0 };
}

/* A call under way tells more than the next attempt, that more than a person who has to come. */
static int rank(const struct explain_wait *w)
{
	switch (w->why) {
	case WHY_CALLING:
	case WHY_FULL:
	case WHY_ABOUT:
		return 0;
	case WHY_ATTEMPTS:
	case WHY_MISCONFIGURED:
	case WHY_GONE:
		return 2;
	case WHY_PARALLEL:
	case WHY_NOTHING:
		return 3;
	case WHY_ENDED:
	case WHY_DATABASE:
	case WHY_DOUBT:
	case WHY_FAILOVER:
	case WHY_SUSPENDED:
	case WHY_DRAINING:
	case WHY_COMMITTING:
	case WHY_OWNER_FENCED:
	case WHY_OWNER_SILENT:
	case WHY_NO_OWNER:
	case WHY_PAUSED:
	case WHY_UNREADABLE:
	case WHY_POISON:
	case WHY_BAD_ROW:
	case WHY_NOT_STARTED:
	case WHY_DECISION:
	case WHY_PAUSED_PARTICIPANT:
	case WHY_BREAKER:
	case WHY_THROTTLED:
	case WHY_BUDGET:
	case WHY_ONGOING:
	case WHY_BACK_OFF:
		break;
	}
	return 1;
}

static bool is_sooner(const struct explain_wait *a, const struct explain_wait *b)
{
	if (rank(a) != rank(b))
		return rank(a) < rank(b);
	return a->until != 0 && (b->until == 0 || a->until < b->until);
}

static void look_at_step(const struct explain_facts *f, int step, struct explanation *x)
{
	const int    op = txn_wanted(f->view.txn, (uint16_t)step);
	struct explain_wait  w;

	if (op < 0)
		return;
	w = explain_wait_of(f, step, op);
	if (x->step >= 0 && !is_sooner(&w, &(struct explain_wait){ x->why, x->until }))
		return;
	x->why = w.why;
	x->until = w.until;
	x->step = step;
	x->op = op;
}

static void look_at_steps(const struct explain_facts *f, struct explanation *x)
{
	const struct txn *t = f->view.txn;

	x->why = WHY_NOTHING;
	if (t->start_at != 0) {
		x->why = WHY_NOT_STARTED;
		x->until = t->start_at;
		return;
	}
	for (int i = 0; i < t->step_count; i++)
		look_at_step(f, i, x);
	look_at_step(f, TXN_CHECK, x);
	if (x->step >= 0 || t->phase != PHASE_PREPARED)
		return;
	x->why = WHY_DECISION;
	x->until = t->deadline_at;
}

bool explain_waits_behind(const struct txn *t, uint16_t i)
{
	const struct step      *s = &t->steps[i];
	const struct plan_step *ps = &t->plan->steps[i];

	if (txn_wanted(t, i) >= 0)
		return false;
	switch (t->phase) {
	case PHASE_PREPARED:
	case PHASE_TRYING:
		return s->state == STEP_PENDING;
	case PHASE_CONFIRMING:
		return ps->kind == KIND_RETRIABLE ? s->state == STEP_PENDING
		                                  : (ps->has & HAS_CONFIRM) && s->state != STEP_CONFIRMED;
	case PHASE_CANCELLING:
		return (ps->has & HAS_CANCEL) && s->state != STEP_CANCELLED && s->state != STEP_UNTRIED;
	case PHASE_CONFIRMED:
	case PHASE_CANCELLED:
	case PHASE_ABANDONED:
		break;
	}
	return false;
}

/* ---- why: of the whole ------------------------------------------------------------------------------- */

static bool look_at_row(const struct explain_facts *f, struct explanation *x)
{
	const struct row *row = &f->view.row;

	if (phase_is_ended(row->phase))
		x->why = WHY_ENDED;
	else if (row->paused)
		x->why = WHY_PAUSED;
	else if (row->stuck >= STUCK_POISON)
		x->why = wait_of_stuck(row->stuck).why;
	else if (f->view.txn == NULL)
		x->why = WHY_UNREADABLE;
	else
		return false;
	return true;
}

/* What stands in the way of every step. */
static bool look_at_owner(const struct explain_facts *f, struct explanation *x)
{
	if (f->is_owner && !f->database.up)
		x->why = WHY_DATABASE;
	else if (f->is_owner && f->inside.doubt)
		x->why = WHY_DOUBT;
	else if (f->is_owner && f->inside.unproven)
		x->why = WHY_FAILOVER;
	else if (f->is_owner && (f->state == ENGINE_SUSPENDED || f->state == ENGINE_STARTING))
		x->why = WHY_SUSPENDED;
	else if (f->is_owner && f->state == ENGINE_DRAINING && f->inside.open_calls == 0)
		x->why = WHY_DRAINING;
	else if (f->is_owner && (f->inside.committing || f->inside.unborn))
		x->why = WHY_COMMITTING;
	else if (f->owner == OWNER_FENCED || f->owner == OWNER_LEFT)
		x->why = WHY_OWNER_FENCED;
	else if (f->owner == OWNER_LIVE && f->owner_silent)
		x->why = WHY_OWNER_SILENT;
	else
		return false;
	return true;
}

void explain(const struct explain_facts *f, struct explanation *x)
{
	struct explanation inner = { .why = WHY_NOTHING, .step = -1, .op = -1 };

	*x = inner;
	if (look_at_row(f, x)) {
		explain_say_whole(f, x, &x->sentence);
		buf_char(&x->sentence, '.');
		if (x->why != WHY_ENDED)
			explain_say_more(f, x, &x->sentence);
		return;
	}
	look_at_steps(f, &inner);
	*x = inner;
	if (look_at_owner(f, x)) {
		explain_say_whole(f, x, &x->sentence);
		buf_cstr(&x->sentence, ". As last known: ");
	}
	if (inner.step >= 0)
		explain_say_step(f, &inner, &x->sentence);
	else
		explain_say_whole(f, &inner, &x->sentence);
	buf_char(&x->sentence, '.');
	explain_say_more(f, x, &x->sentence);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

const char *why_name(enum why w)
{
#define X(name, text, hint) [WHY_##name] = text,
	static const char *const names[] = { WHYS(X) };
#undef X

	return names[w];
}

const char *why_hint(enum why w)
{
#define X(name, text, hint) [WHY_##name] = hint,
	static const char *const hints[] = { WHYS(X) };
#undef X

	return hints[w];
}
