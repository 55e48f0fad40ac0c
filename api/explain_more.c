/* SPDX-License-Identifier: Apache-2.0
 * explain_more.c - the sentences about a transaction as a whole, and what stands beside them.
 */
#include "api/explain_internal.h"

enum { SOON_MS = 10 * 60 * 1000, NAMES_MAX = 5, SHORT_ID = 8 };

/* ---- the whole --------------------------------------------------------------------------- */

static void say_owner_gone(const struct explain_facts *f, const struct explanation *x,
                           struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	(void)x;
	buf_fmt(out, "Its owner, replica %.*s, %s", SHORT_ID, uuid_text(f->view.row.owner, id),
	        f->owner == OWNER_FENCED ? "is dead and fenced" : "has left");
	if (f->owner_age_ms >= 0)
		buf_fmt(out, " (last heard of %s ago)", explain_span(f->owner_age_ms, ago));
	buf_cstr(out, "; no other replica has taken the transaction over yet");
}

static void say_owner_silent(const struct explain_facts *f, const struct explanation *x,
                             struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	(void)x;
	buf_fmt(out, "Its owner, replica %.*s, does not answer", SHORT_ID,
	        uuid_text(f->view.row.owner, id));
	if (f->owner_age_ms >= 0)
		buf_fmt(out, " (it reported to the database %s ago)",
		        explain_span(f->owner_age_ms, ago));
}

static void say_end(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	char ago[32];

	(void)x;
	buf_fmt(out, "It has ended: %s, %s ago", phase_name(f->view.row.phase),
	        explain_span(f->now - f->view.row.ended_at, ago));
	if (f->view.txn != NULL && f->view.row.phase == PHASE_CANCELLED)
		buf_fmt(out, " (cause: %s)", cause_name(f->view.txn->cause));
}

static void say_paused(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const char *phase = phase_name(f->view.row.phase);

	(void)x;
	if (f->paused == NULL) {
		buf_fmt(out, "A person has paused it while it was %s; the journal says who and why",
		        phase);
		return;
	}
	buf_cstr(out, "It was ");
	explain_say_pause(f, f->paused, out);
	buf_fmt(out, " while it was %s", phase);
}

static void say_database(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	(void)x;
	buf_cstr(out, "The database cannot be reached, so that nothing can be committed");
	if (f->database.last_error != NULL && f->database.last_error[0] != '\0')
		buf_fmt(out, " (%s)", f->database.last_error);
}

static void say_doubt(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	char since[32];

	(void)x;
	buf_fmt(out, "The database connection broke in a commit of it; whether that was "
	             "done is being found out, since %s",
	        explain_span(f->inside.doubt_ms, since));
}

static void say_failover(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	(void)f, (void)x;
	buf_cstr(out, "The database failed over, and it is not known yet whether the new "
	              "primary has all of it");
}

static void say_suspended(const struct explain_facts *f, const struct explanation *x,
                          struct buf *out)
{
	(void)x;
	buf_fmt(out, "Its owner is not sure of its lease (%s), and calls nobody",
	        engine_state_name(f->state));
}

static void say_draining(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	(void)f, (void)x;
	buf_cstr(out, "Its owner is leaving and releases it for other replicas");
}

static void say_committing(const struct explain_facts *f, const struct explanation *x,
                           struct buf *out)
{
	(void)f, (void)x;
	buf_cstr(out, "A commit of it is under way");
}

static void say_unreadable(const struct explain_facts *f, const struct explanation *x,
                           struct buf *out)
{
	(void)x;
	buf_fmt(out, "This replica cannot read it (format %u): its definition is missing, "
	             "or a newer version wrote it",
	        f->view.row.format);
}

static void say_poison(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	(void)f, (void)x;
	buf_cstr(out, "Replicas died again and again while driving it, so nobody drives "
	              "it any more");
}

static void say_bad_row(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	(void)f, (void)x;
	buf_cstr(out, "The database refused to store its progress, so nobody drives it "
	              "any more");
}

static void say_not_started(const struct explain_facts *f, const struct explanation *x,
                            struct buf *out)
{
	char in[32];

	buf_fmt(out, "It begins in %s, as its start_at says", explain_span(x->until - f->now, in));
}

static void say_decision(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	(void)x;
	buf_fmt(out, "It waits for its caller to confirm or cancel (%u steps have joined)",
	        f->view.txn->step_count);
}

static void say_nothing(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	(void)x;
	buf_fmt(out, "It is %s, and nothing that sagad knows of keeps it",
	        phase_name(f->view.row.phase));
}

/* What is not in here concerns a step. */
static explain_say *const says[] = {
	[WHY_ENDED] = say_end,
	[WHY_DATABASE] = say_database,
	[WHY_DOUBT] = say_doubt,
	[WHY_FAILOVER] = say_failover,
	[WHY_SUSPENDED] = say_suspended,
	[WHY_DRAINING] = say_draining,
	[WHY_COMMITTING] = say_committing,
	[WHY_OWNER_FENCED] = say_owner_gone,
	[WHY_OWNER_SILENT] = say_owner_silent,
	[WHY_PAUSED] = say_paused,
	[WHY_UNREADABLE] = say_unreadable,
	[WHY_POISON] = say_poison,
	[WHY_BAD_ROW] = say_bad_row,
	[WHY_NOT_STARTED] = say_not_started,
	[WHY_DECISION] = say_decision,
	[WHY_NOTHING] = say_nothing,
};

void explain_say_whole(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	if ((size_t)x->why < sizeof says / sizeof says[0] && says[x->why] != NULL)
		says[x->why](f, x, out);
}

/* ---- what stands beside it --------------------------------------------------------------- */

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

/* Those that could be called if others were not: they wait for none of them in particular. */
static void say_parallel(const struct explain_facts *f, const struct explanation *x,
                         struct buf *out)
{
	unsigned n = 0;

	for (int i = 0; i < f->view.txn->step_count && x->why != WHY_PARALLEL; i++) {
		const int op = txn_wanted(f->view.txn, (uint16_t)i);

		if (op < 0 || explain_wait_of(f, i, op).why != WHY_PARALLEL || n++ >= NAMES_MAX)
			continue;
		buf_cstr(out, n == 1 ? " For a call to end (max_parallel) wait: " : ", ");
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
		buf_fmt(out, " It has had no success for %s and is marked stuck (overdue): a "
		             "person should look.",
		        explain_span(f->now - s->first_at, since));
}

/* What the deadline will do, if that is soon. */
static void say_deadline(const struct explain_facts *f, struct buf *out)
{
	const struct txn *t = f->view.txn;
	char              in[32];

	if (t->deadline_at == 0 || phase_is_decided(t->phase) || plan_is_checked(t->plan) ||
	    t->deadline_at > f->now + SOON_MS)
		return;
	if (txn_in_doubt(t))
		buf_cstr(out,
		         " A pivot may have been done: its outcome decides, not the deadline.");
	else if (t->deadline_at > f->now)
		buf_fmt(out, " Its deadline in %s decides cancel.",
		        explain_span(t->deadline_at - f->now, in));
	else
		buf_fmt(out, " Its deadline passed %s ago and decides cancel as soon as it can.",
		        explain_span(f->now - t->deadline_at, in));
}

/* "Until then" is said after a sentence that has a time. */
static void say_nobody(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const int64_t due = f->view.row.due_at;
	char          in[32];

	if (due == AT_NEVER)
		buf_cstr(out, " No replica drives it until a person does something.");
	else if (x->until != 0)
		buf_cstr(out, " No replica drives it until then; any of them takes it up when it "
		              "is due.");
	else if (due > f->now)
		buf_fmt(out, " No replica drives it until it is due in %s; any of them takes it up "
		             "then.",
		        explain_span(due - f->now, in));
	else
		buf_cstr(out, " No replica drives it; it is due, and any of them takes it up.");
}

static void say_owner(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	char id[UUID_TEXT + 1], ago[32];

	switch (f->owner) {
	case OWNER_US:
	case OWNER_LIVE:
		buf_fmt(out, " It is owned by replica %.*s%s", SHORT_ID,
		        uuid_text(f->view.row.owner, id),
		        f->owner == OWNER_US ? " (this one)" : "");
		if (f->owner_age_ms >= 0)
			buf_fmt(out,
			        f->owner == OWNER_US ? ", whose lease is %s old"
			                             : ", which reported to the database %s ago",
			        explain_span(f->owner_age_ms, ago));
		buf_char(out, '.');
		return;
	case OWNER_NOBODY:
		say_nobody(f, x, out);
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
	explain_say_pause(f, p, out);
	buf_cstr(out, "; those that run go on.");
}

void explain_say_more(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	if (x->step >= 0) {
		say_overdue(f, x, out);
		say_parallel(f, x, out);
		say_behind(f, out);
	}
	if (f->view.txn != NULL && x->why != WHY_PAUSED)
		say_deadline(f, out);
	say_definition(f, out);
	say_owner(f, x, out);
}
