/* SPDX-License-Identifier: Apache-2.0
 * invariant.c - what must hold at every write of the log, at every call, and at the end.
 */
#include "tests/sim/world.h"

#include <string.h>

/* ---- every write -------------------------------------------------------------------- */

static bool is_settled_state(enum step_state s)
{
	return s == STEP_UNTRIED || s == STEP_CONFIRMED || s == STEP_CANCELLED;
}

/* What was answered before goes on being told, whoever writes the row. */
static bool is_told(const struct note *old, const struct note *now)
{
	if (old->joined_at != now->joined_at || (old->tried_at != 0 && now->tried_at == 0))
		return false;
	return old->op == OP_TRY || (old->tried_at == now->tried_at && old->refused == now->refused);
}

static void check_steps(struct record *rec, const struct txn *old, const struct note *old_notes)
{
	struct world *w = rec->w;
	bool          spoilt = old->stuck == STUCK_BAD_ROW || rec->txn.stuck == STUCK_BAD_ROW;

	if (rec->txn.step_count < old->step_count)
		violated(w, 50, "%s: steps have vanished", rec->gid);
	for (uint16_t i = 0; i < old->step_count && i < rec->txn.step_count; i++) {
		enum step_state a = old->steps[i].state, b = rec->txn.steps[i].state;

		if (a != b && (is_settled_state(a) || (a == STEP_TRIED && !is_settled_state(b))))
			violated(w, 51, "%s: step %u goes from %s back to %s", rec->gid, i, step_state_name(a),
			         step_state_name(b));
		if (old_notes[i].output.n > 0 && !spoilt && !str_eq(old_notes[i].output, rec->notes[i].output))
			violated(w, 52, "%s: the output of step %u is lost or another", rec->gid, i);
		if (!spoilt && !is_told(&old_notes[i], &rec->notes[i]))
			violated(w, 113, "%s: when step %u joined or was tried is lost or another", rec->gid, i);
	}
}

static void check_keys(struct record *rec, struct uuid by, const struct row *before, const struct row *after)
{
	struct world *w = rec->w;
	bool          let_go = uuid_is_nil(after->owner);

	if (before->ended_at != 0)
		violated(w, 53, "%s: changes after its end", rec->gid);
	if (after->version != before->version + 1)
		violated(w, 54, "%s: version goes from %llu to %llu", rec->gid, (unsigned long long)before->version,
		         (unsigned long long)after->version);
	if (after->epoch == before->epoch ? !uuid_eq(before->owner, by) || (!let_go && !uuid_eq(after->owner, by))
	                                  : after->epoch <= before->epoch || !uuid_eq(after->owner, by))
		violated(w, 55, "%s: two owners in one epoch", rec->gid);
	if ((after->ended_at != 0) != phase_is_ended(after->phase) ||
	    (after->ended_at != 0 && (!let_go || after->due_at != 0)) ||
	    (after->ended_at == 0 && let_go != (after->due_at != 0)))
		violated(w, 56, "%s: phase, owner, due_at and ended_at do not fit together", rec->gid);
	if (before->phase != after->phase && !txn_may_move(before->phase, after->phase))
		violated(w, 57, "%s: moves from %s to %s", rec->gid, phase_name(before->phase), phase_name(after->phase));
}

static enum decision decision_of(enum phase phase)
{
	return phase == PHASE_CONFIRMING || phase == PHASE_CONFIRMED   ? DECISION_CONFIRM
	       : phase == PHASE_CANCELLING || phase == PHASE_CANCELLED ? DECISION_CANCEL
	                                                               : DECISION_NONE;
}

static void note_decision(struct record *rec, enum phase phase)
{
	enum decision d = decision_of(phase);

	if (d == DECISION_NONE || d == rec->decision)
		return;
	if (rec->decision != DECISION_NONE)
		violated(rec->w, 58, "%s: the decision is revised", rec->gid);
	rec->decision = d;
	if (d == DECISION_CANCEL && rec->txn.cause == CAUSE_DEADLINE &&
	    (rec->deadline_at == 0 || world_latest(rec->w) + SKEW_MAX_MS < rec->deadline_at))
		violated(rec->w, 59, "%s: is cancelled by a deadline that has not passed", rec->gid);
}

static bool has_cancel(const struct record *rec, uint16_t step)
{
	return (rec->txn.plan->steps[step].has & HAS_CANCEL) != 0;
}

static void check_cancelled(struct record *rec)
{
	struct world *w = rec->w;

	for (uint16_t i = 0; i < rec->txn.step_count && i < STEPS_MAX; i++) {
		const struct effect *e = &rec->effects[i];
		const struct step   *s = &rec->txn.steps[i];

		if (s->flags & (STEP_IS_RESOLVED | STEP_IS_SKIPPED))
			continue;
		if (s->state == STEP_UNTRIED && e->asked[OP_TRY])
			violated(w, 60, "%s: step %u is called untried, and was called", rec->gid, i);
		if (has_cancel(rec, i) && e->tried && !e->cancelled)
			violated(w, 61, "%s: is cancelled and step %u is left tried", rec->gid, i);
		if (rec->txn.plan->steps[i].kind == KIND_PIVOT && !has_cancel(rec, i) && e->tried)
			violated(w, 62, "%s: is cancelled and its pivot is done", rec->gid);
	}
	if (rec->txn.plan->mode == MODE_MESSAGE && rec->sender_ok && !rec->anyone_cancels && !rec->resolved)
		violated(w, 63, "%s: the message is dropped, its sender has committed", rec->gid);
}

static void check_confirmed(struct record *rec)
{
	struct world *w = rec->w;

	for (uint16_t i = 0; i < rec->txn.step_count && i < STEPS_MAX; i++) {
		const struct effect *e = &rec->effects[i];

		if ((rec->txn.steps[i].flags & STEP_IS_RESOLVED) || rec->skipped[i])
			continue;
		if (!e->tried)
			violated(w, 64, "%s: is confirmed and step %u was never done", rec->gid, i);
		if ((rec->txn.plan->steps[i].has & HAS_CONFIRM) && !e->confirmed)
			violated(w, 65, "%s: is confirmed and step %u is not", rec->gid, i);
		if (e->cancelled)
			violated(w, 66, "%s: is confirmed and step %u is cancelled", rec->gid, i);
	}
	if (rec->txn.plan->mode == MODE_MESSAGE && !rec->sender_ok && !rec->resolved)
		violated(w, 67, "%s: the message is sent, its sender has not committed", rec->gid);
}

static void count_end(struct record *rec)
{
	struct seen *s = rec->w->seen;

	s->confirmed += rec->txn.phase == PHASE_CONFIRMED;
	s->cancelled += rec->txn.phase == PHASE_CANCELLED;
	s->abandoned += rec->txn.phase == PHASE_ABANDONED;
	s->by_refusal += rec->txn.cause == CAUSE_REFUSED;
	s->by_attempts += rec->txn.cause == CAUSE_ATTEMPTS;
	s->by_deadline += rec->txn.cause == CAUSE_DEADLINE;
	s->by_check += rec->txn.cause == CAUSE_CHECK;
	s->by_client += rec->txn.cause == CAUSE_CLIENT;
}

static void count_write(struct world *w, const struct record *rec, const struct row *before, const struct row *after)
{
	struct seen *s = w->seen;

	if (before == NULL)
		return;
	s->adopted += after->adoptions > before->adoptions;
	s->adopted_solo += after->adoptions > before->adoptions && before->adoptions >= 2;
	s->parked += before->due_at == 0 && after->due_at != 0;
	s->parked_for_good += before->due_at == 0 && after->due_at == AT_NEVER;
	s->stuck += before->stuck == STUCK_NONE && after->stuck != STUCK_NONE;
	s->bad_rows += before->stuck != STUCK_BAD_ROW && after->stuck == STUCK_BAD_ROW;
	s->in_doubt_pivots += rec->txn.plan != NULL && txn_in_doubt(&rec->txn);
}

/* A person may send calls elsewhere, but not the cancel of what somebody has tried. */
static void check_moves(struct record *rec, const struct definition *now)
{
	for (uint16_t i = 0; rec->def != NULL && rec->txn.plan != NULL && i < rec->txn.step_count && i < STEPS_MAX; i++)
		if ((now->moved[i] & ~rec->def->moved[i] & 1u << OP_CANCEL) && rec->effects[i].asked[OP_TRY])
			violated(rec->w, 112, "%s: the cancel of step %u goes elsewhere, and it was tried", rec->gid, i);
}

static void decode(struct record *rec, const struct row *row)
{
	struct arena        old_memory = rec->memory;
	struct txn          old = rec->txn;
	const struct note  *old_notes = rec->notes;
	struct err          err = { 0 };

	rec->memory = (struct arena){ 0 };
	check_moves(rec, row->def);
	rec->def = row->def;
	rec->txn = (struct txn){ .plan = &row->def->plan, .phase = row->phase, .stuck = row->stuck,
		                 .paused = row->paused, .version = row->version };
	if (!progress_read(row->progress, row->format, row->created_at, &rec->memory, &rec->txn, &rec->notes,
	                   &rec->check_note, &err)) {
		violated(rec->w, 68, "%s: its progress cannot be read: %s", rec->gid, err.text);
		rec->txn.plan = NULL;
	} else {
		for (uint16_t i = 0; i < rec->txn.step_count; i++)
			if (str_is(rec->notes[i].error, UNSENT))
				violated(rec->w, 18, "%s: a call that never left counts as one of step %u", rec->gid, i);
		if (old.plan != NULL)
			check_steps(rec, &old, old_notes);
	}
	arena_fini(&old_memory);
}

/* Nothing beyond it is known to anybody. */
void invariant_rebase(struct record *rec, const struct row *row)
{
	rec->txn.plan = NULL;
	rec->exists = row != NULL;
	rec->ended = row != NULL && phase_is_ended(row->phase);
	rec->decision = DECISION_NONE;
	rec->heard = rec->version = row != NULL ? row->version : 0;
	rec->told = rec->told < rec->version ? rec->told : rec->version;
	if (row == NULL)
		return;
	rec->epoch = row->epoch;
	rec->created_at = (uint64_t)row->created_at;
	decode(rec, row);
	rec->decision = decision_of(row->phase);
}

void invariant_restored(void *world, struct uuid by, const struct row *before, const struct row *row)
{
	struct world  *w = world;
	struct record *rec = world_record(w, row->gid);

	(void)by;
	if (rec == NULL)
		return;
	w->seen->restored++;
	rec->echo = false;
	say(w, "     %s: comes back as %s v%llu e%llu", rec->gid, phase_name(row->phase),
	    (unsigned long long)row->version, (unsigned long long)row->epoch);
	if (row->version > rec->version || (before != NULL && row->version <= before->version))
		violated(w, 105, "%s: comes back as v%llu, and was v%llu", rec->gid, (unsigned long long)row->version,
		         (unsigned long long)rec->version);
	if (row->version == rec->version && (row->epoch != rec->epoch || decision_of(row->phase) != rec->decision))
		violated(w, 106, "%s: comes back as another than it was", rec->gid);
}

/* Its caller asks another replica again, which finds no row and begins it; soon whoever knows it better
 * writes over that. What is called meanwhile is the same with the same keys; but nothing exact can be said then. */
static bool is_echo(struct record *rec, struct uuid by, const struct row *before, const struct row *row)
{
	struct world *w = rec->w;

	if (before == NULL && rec->exists && w->loop.now < w->calm_until) {
		rec->echo = true;
		rec->echo_by = by;
	}
	/* Its deadline may have passed meanwhile: then what was decided is decided anew, the other way. */
	enum decision d = decision_of(row->phase);
	w->adrift |= rec->echo && (row->version >= rec->version || (d != DECISION_NONE && d != rec->decision));
	return rec->echo;
}

static bool was_unfenced(const struct world *w, struct uuid id)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (w->replicas[i].unfenced && uuid_eq(w->replicas[i].me, id))
			return true;
	return false;
}

/* A living replica was told of more. Whoever was fenced cannot know that it was if the fence is lost as well:
 * it goes on with its rows, as it last knew them, unless those who had taken them are back before it. */
static void check_past(struct record *rec, struct uuid by, const struct row *before)
{
	uint64_t stood = before != NULL ? before->version : 0;

	if (!rec->exists || stood >= rec->version)
		return;
	if (was_unfenced(rec->w, by))
		rec->w->adrift = true;
	else
		violated(rec->w, 107, "%s: goes on from v%llu, a living replica knows v%llu", rec->gid,
		         (unsigned long long)stood, (unsigned long long)rec->version);
}

void invariant_wrote(void *world, struct uuid by, const struct row *before, const struct row *row)
{
	struct world  *w = world;
	struct record *rec = world_record(w, (row != NULL ? row : before)->gid);

	if (rec == NULL || row == NULL || row->def == NULL) {
		violated(w, 69, "a row nobody began, or that is deleted too early, or without a plan");
		return;
	}
	if (is_echo(rec, by, before, row))
		return;
	check_past(rec, by, before);
	failover_note(rec, row);
	if (before == NULL && !uuid_is_nil(by)) /* nil: its caller in SQL */
		client_check_birth(rec, by);
	else if (before != NULL && before->format > ROW_FORMAT)
		violated(w, 98, "%s: is written by a version that cannot read it", rec->gid);
	rec->exists = true;
	rec->version = row->version;
	rec->epoch = row->epoch;
	rec->created_at = (uint64_t)row->created_at;
	if (before != NULL)
		check_keys(rec, by, before, row);
	decode(rec, row);
	if (rec->txn.plan == NULL || w->code != 0)
		return;
	note_decision(rec, row->phase);
	for (uint16_t i = 0; i < rec->txn.step_count; i++) {
		rec->resolved |= (rec->txn.steps[i].flags & STEP_IS_RESOLVED) != 0;
		rec->skipped[i] |= (rec->txn.steps[i].flags & STEP_IS_SKIPPED) != 0;
	}
	rec->resolved |= (rec->txn.check.flags & STEP_IS_RESOLVED) != 0;
	count_write(w, rec, before, row);
	say(w, "     %s: the log says %s v%llu e%llu%s%s%s %.*s", rec->gid, phase_name(row->phase),
	    (unsigned long long)row->version, (unsigned long long)row->epoch, row->paused ? " paused" : "",
	    row->due_at != 0 ? " parked" : "", row->stuck != STUCK_NONE ? " stuck" : "", (int)row->progress.n,
	    row->progress.p);
	world_mix(w, row->version << 16 | row->epoch << 8 | (uint64_t)row->phase);
	if (!phase_is_ended(row->phase))
		return;
	rec->ended = true;
	count_end(rec);
	if (row->phase == PHASE_CANCELLED)
		check_cancelled(rec);
	if (row->phase == PHASE_CONFIRMED)
		check_confirmed(rec);
}

/* By its sender's clock: the number is a UUIDv7. */
static int64_t put_at(const struct inbox_row *row)
{
	int64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | row->id.b[i];
	return ms;
}

void invariant_settled(void *world, const struct inbox_row *row, enum verdict verdict, bool again)
{
	struct world *w = world;

	const struct row    *of = fake_db_row(w->db, row->gid);
	const struct record *rec = world_record(w, row->gid);

	if (of != NULL && rec != NULL && of->format > ROW_FORMAT && !again &&
	    put_at(row) > rec->newer_at + SKEW_MAX_MS)
		violated(w, 99, "%.*s: its command is settled by a version that cannot read it", (int)row->gid.n,
		         row->gid.p);
	say(w, "     %.*s: a command of the inbox is settled: %s", (int)row->gid.n, row->gid.p, verdict_name(verdict));
	w->seen->settled += !again;
}

/* ---- every call --------------------------------------------------------------------------- */

/* The outcome is in the log. */
static bool is_tried(const struct record *rec, uint16_t step)
{
	enum step_state s = rec->txn.steps[step].state;

	return s == STEP_TRIED || s == STEP_CONFIRMED || s == STEP_CANCELLED;
}

static bool is_done_confirming(const struct record *rec, uint16_t step)
{
	enum step_state s = rec->txn.steps[step].state;

	return (rec->txn.plan->steps[step].has & HAS_CONFIRM) ? s == STEP_CONFIRMED
	                                                      : s == STEP_TRIED || s == STEP_CONFIRMED;
}

static bool is_behind(const struct record *rec, uint16_t step, uint16_t earlier)
{
	const struct plan      *p = rec->txn.plan;
	const struct plan_step *s = &p->steps[step];

	if (s->joined)
		return step > earlier;
	for (uint16_t i = 0; i < s->after_n; i++)
		if (p->edges[s->after_at + i] == earlier)
			return true;
	return false;
}

static void check_try(struct record *rec, uint16_t step)
{
	struct world           *w = rec->w;
	const struct plan_step *s = &rec->txn.plan->steps[step];

	if (s->kind == KIND_RETRIABLE && rec->decision != DECISION_CONFIRM)
		violated(w, 70, "%s: retriable step %u is called, confirm is not in the log", rec->gid, step);
	for (uint16_t i = 0; i < rec->txn.step_count; i++) {
		bool pivot_waits = s->kind == KIND_PIVOT && rec->txn.plan->steps[i].kind == KIND_COMPENSATABLE;

		if (pivot_waits || (!s->joined && is_behind(rec, step, i)))
			if (s->kind == KIND_RETRIABLE ? !is_done_confirming(rec, i) : !is_tried(rec, i))
				violated(w, 71, "%s: step %u is called before the outcome of step %u is in the log",
				         rec->gid, step, i);
	}
}

static void check_confirm(struct record *rec, uint16_t step)
{
	if (rec->decision != DECISION_CONFIRM)
		violated(rec->w, 72, "%s: confirm of step %u is called, not decided in the log", rec->gid, step);
	for (uint16_t i = 0; i < rec->txn.step_count; i++)
		if (!rec->txn.plan->steps[step].joined && is_behind(rec, step, i) && !is_done_confirming(rec, i))
			violated(rec->w, 73, "%s: confirm of step %u is called before that of step %u is done", rec->gid,
			         step, i);
}

static void check_cancel(struct replica *r, struct record *rec, uint16_t step)
{
	struct world *w = rec->w;

	if (rec->decision != DECISION_CANCEL)
		violated(w, 74, "%s: cancel of step %u is called, not decided in the log", rec->gid, step);
	if (service_is_open(r, rec, step, OP_TRY))
		violated(w, 75, "%s: cancel of step %u is called while its try is open", rec->gid, step);
	for (uint16_t i = 0; i < rec->txn.step_count; i++) {
		enum step_state s = rec->txn.steps[i].state;

		if (is_behind(rec, i, step) && has_cancel(rec, i) && s != STEP_CANCELLED && s != STEP_UNTRIED)
			violated(w, 76, "%s: step %u is cancelled before step %u, which came after it", rec->gid, step, i);
	}
}

static void check_request(struct replica *r, const struct call_request *req, struct record *rec)
{
	struct world *w = rec->w;

	if (req->epoch > rec->epoch)
		violated(w, 77, "%s: called with an epoch the log does not know", rec->gid);
	if (req->attempt == 0 || req->created_at != (int64_t)rec->created_at || !str_eq(req->input, rec->input) ||
	    req->deadline_at != rec->deadline_at)
		violated(w, 78, "%s: called with another attempt, time, input or deadline than it has", rec->gid);
	if (rec->ended && req->epoch == rec->epoch)
		violated(w, 79, "%s: called by its owner after its end", rec->gid);
	for (enum op op = OP_TRY; req->step != TXN_CHECK && op <= OP_CANCEL; op++)
		if (service_is_open(r, rec, req->step, op))
			violated(w, 80, "%s: two calls of step %u at a time", rec->gid, req->step);
}

/* What the log says about waiting binds the owner of that epoch; one before knows an older log. */
static void check_patience(struct replica *r, const struct call_request *req, struct record *rec)
{
	struct world      *w = rec->w;
	const struct step *s = req->step == TXN_CHECK ? &rec->txn.check : &rec->txn.steps[req->step];

	if (req->epoch != rec->epoch)
		return;
	if (rec->txn.paused)
		violated(w, 86, "%s: called while it is paused", rec->gid);
	if (rec->txn.stuck == STUCK_POISON || rec->txn.stuck == STUCK_BAD_ROW ||
	    (s->stuck != STUCK_NONE && s->stuck != STUCK_OVERDUE))
		violated(w, 87, "%s: step %u is called while it waits for a person", rec->gid, req->step);
	if ((s->flags & STEP_IS_ONGOING) == 0 && replica_latest(r) < s->next_at) /* else it is only a hint */
		violated(w, 88, "%s: step %u is called before its time", rec->gid, req->step);
	if (replica_latest(r) < rec->txn.start_at)
		violated(w, 89, "%s: called before it starts", rec->gid);
	if (req->op != OP_CHECK && service_open_calls(r, rec) >= rec->txn.plan->max_parallel)
		violated(w, 97, "%s: more calls at a time than its plan allows", rec->gid);
}

void invariant_call(struct replica *r, const struct call_request *req, struct record *rec)
{
	struct world *w = rec->w;

	if (!replica_may_act(r))
		violated(w, 81, "%s: r%u calls past its lease", rec->gid, r->number);
	w->adrift |= rec->echo || (uuid_eq(r->me, rec->echo_by) && !uuid_is_nil(r->me));
	if (!rec->exists || rec->txn.plan == NULL) {
		violated(w, 82, "%s: called, and no row has landed", rec->gid);
		return;
	}
	if (req->step == TXN_CHECK ? req->op != OP_CHECK : req->step >= rec->txn.step_count ||
	                             (rec->txn.plan->steps[req->step].has & 1u << req->op) == 0) {
		violated(w, 83, "%s: %s of step %u is called, there is none", rec->gid, op_name(req->op), req->step);
		return;
	}
	check_request(r, req, rec);
	check_patience(r, req, rec);
	switch (req->op) {
	case OP_TRY: check_try(rec, req->step); break;
	case OP_CONFIRM: check_confirm(rec, req->step); break;
	case OP_CANCEL: check_cancel(r, rec, req->step); break;
	case OP_CHECK: break;
	}
	for (uint16_t i = 0; req->outputs != NULL && i < rec->txn.step_count; i++)
		if (is_tried(rec, i) && rec->notes[i].output.n > 0 && req->outputs[i].n > 0 &&
		    !str_eq(req->outputs[i], rec->notes[i].output))
			violated(w, 84, "%s: called with another output of step %u than the log has", rec->gid, i);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* In the log, as it was last known. */
static bool stands(const struct record *rec)
{
	const struct row *row = fake_db_row(rec->w->db, str_of(rec->gid));

	return row != NULL && row->version >= rec->version;
}

bool invariant_all_ended(const struct world *w)
{
	struct engine_stats s;

	if (client_waits(w) || fake_db_inbox(w->db, false) > 0)
		return false;
	for (unsigned i = 0; i < w->record_n; i++)
		if (w->records[i].exists && (!w->records[i].ended || !stands(&w->records[i])))
			return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		if (w->replicas[i].engine == NULL)
			return false;
		engine_stats(w->replicas[i].engine, &s);
		if (s.owned > 0 || s.open_calls > 0 || s.waiters > 0 || s.queued_changes > 0)
			return false;
	}
	return true;
}

static bool is_up(const struct world *w, struct uuid id)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (w->replicas[i].up && uuid_eq(w->replicas[i].me, id))
			return true;
	return false;
}

void invariant_dead_are_fenced(struct world *w)
{
	const struct member *m;

	if (w->loop.now < FAULTS_MS + FENCED_MS)
		return;
	for (size_t i = 0; (m = fake_db_member_at(w->db, i)) != NULL; i++)
		if (m->state == MEMBER_LIVE && !is_up(w, m->id))
			violated(w, 110, "a dead replica still counts as live");
}

static void check_record(struct world *w, struct record *rec)
{
	if (rec->acked && !rec->exists)
		violated(w, 90, "%s: was promised, and is not in the log", rec->gid);
	if (rec->wanted && !rec->acked)
		violated(w, 91, "%s: nobody takes it", rec->gid);
	if (!rec->exists)
		return;
	const struct row *row = fake_db_row(w->db, str_of(rec->gid));
	if (!stands(rec)) {
		violated(w, 108, "%s: has not come back as it was known", rec->gid);
	} else if (!rec->ended) {
		const struct member *m = fake_db_member(w->db, row->owner);

		violated(w, uuid_is_nil(row->owner) ? 92 : 93, "%s: has not ended: %s, %s, %s%s", rec->gid,
		         phase_name(row->phase), uuid_is_nil(row->owner) ? "parked" : "owned",
		         m == NULL ? "by nobody known" : m->state == MEMBER_LIVE ? "by a live one" : "by a dead one",
		         row->stuck != STUCK_NONE ? ", stuck" : "");
	} else if (row->phase == PHASE_CANCELLED) {
		check_cancelled(rec);
	} else if (row->phase == PHASE_CONFIRMED) {
		check_confirmed(rec);
	}
}

void invariant_end(struct world *w)
{
	struct engine_stats s;

	for (unsigned i = 0; i < w->record_n && w->code == 0; i++)
		check_record(w, &w->records[i]);
	if (fake_db_inbox(w->db, false) > 0)
		violated(w, 94, "a command is left in the inbox");
	for (unsigned i = 0; i < REPLICAS; i++) {
		if (w->replicas[i].engine == NULL)
			continue;
		engine_stats(w->replicas[i].engine, &s);
		if (!list_is_empty(&w->replicas[i].requests))
			violated(w, 95, "r%u has left a client without an answer", i);
		if (s.owned > 0 || s.open_calls > 0 || s.waiters > 0 || s.queued_changes > 0)
			violated(w, 96, "r%u still has %llu transactions, %llu calls, %llu waiters", i,
			         (unsigned long long)s.owned, (unsigned long long)s.open_calls,
			         (unsigned long long)s.waiters);
	}
}
