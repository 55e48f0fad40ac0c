/* SPDX-License-Identifier: Apache-2.0
 * command.c - what callers, services and operators ask of running transactions, and whether the answers are true.
 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

/* ---- the answers ------------------------------------------------------------------- */

static void check_applied(struct request *q, enum verdict v, const struct view *view)
{
	const struct record *rec = q->rec;
	struct world        *w = rec->w;
	bool                 yes = v == VERDICT_ACCEPTED || v == VERDICT_ALREADY;

	if (!rec->exists) {
		violated(w, 30, "%s: a command is applied to a row that has not landed", rec->gid);
		return;
	}
	if (view == NULL)
		violated(w, 31, "%s: a command is applied and nothing is shown", rec->gid);
	else if (view->row.version > rec->version)
		violated(w, 32, "%s: an answer shows version %llu, the log has %llu", rec->gid,
		         (unsigned long long)view->row.version, (unsigned long long)rec->version);
	else
		client_is_shown(q, &view->row);
	if (yes && q->c.kind == COMMAND_CANCEL && rec->decision != DECISION_CANCEL)
		violated(w, 33, "%s: cancel is answered \"%s\", the log has not decided so", rec->gid, verdict_name(v));
	if (yes && q->c.kind == COMMAND_CONFIRM && rec->decision != DECISION_CONFIRM)
		violated(w, 34, "%s: confirm is answered \"%s\", the log has not decided so", rec->gid, verdict_name(v));
	if (v == VERDICT_DECIDED && rec->decision == DECISION_NONE)
		violated(w, 35, "%s: answered \"decided\", the log has decided nothing", rec->gid);
	if (v == VERDICT_ENDED && !rec->ended)
		violated(w, 36, "%s: answered \"ended\", it has not", rec->gid);
	if (yes && q->c.kind == COMMAND_ABANDON && rec->txn.phase != PHASE_ABANDONED)
		violated(w, 37, "%s: abandoned, says the answer, not the log", rec->gid);
	if (yes && q->c.kind == COMMAND_JOIN) {
		bool there = false;

		for (uint16_t i = 0; i < rec->txn.step_count; i++)
			there |= strcmp(rec->def->names[i], q->step) == 0;
		if (!there)
			violated(w, 38, "%s: %s has joined, says the answer, not the log", rec->gid, q->step);
	}
	if (yes && q->c.kind == COMMAND_COMPLETE && q->c.op == OP_TRY && rec->decision == DECISION_NONE)
		for (uint16_t i = 0; i < rec->txn.step_count; i++)
			if (strcmp(rec->def->names[i], q->step) == 0 && rec->txn.steps[i].state == STEP_PENDING)
				violated(w, 39, "%s: %s is complete, says the answer, not the log", rec->gid, q->step);
}

static void joined(struct request *q, enum command_result result, enum verdict v)
{
	struct record *rec = q->rec;

	if (result == COMMAND_APPLIED && (v == VERDICT_ACCEPTED || v == VERDICT_ALREADY)) {
		rec->w->seen->joins++;
		for (uint16_t i = 0; i < rec->txn.step_count && i < STEPS_MAX; i++)
			if (strcmp(rec->def->names[i], q->step) == 0 && (rec->txn.plan->steps[i].has & HAS_TRY) == 0 &&
			    !service_try_by_caller(rec, i))
				return;
		rec->joins++;
		command_script(rec, 1 + 20 * (int64_t)choose(rec->w, 10));
	} else if (result != COMMAND_APPLIED && result != COMMAND_UNKNOWN) {
		command_script(rec, 100);
	} else {
		rec->caller_done = true;
	}
}

static void scripted(struct request *q, enum command_result result, enum verdict v)
{
	struct record *rec = q->rec;

	if (q->c.kind == COMMAND_JOIN) {
		joined(q, result, v);
		return;
	}
	/* The callers' confirm and cancel, and callbacks of services: asked until they are heard. */
	bool heard = result == COMMAND_APPLIED && v != VERDICT_NOT_READY && v != VERDICT_IN_DOUBT;
	if (heard || result == COMMAND_UNKNOWN || rec->ended) {
		rec->caller_done = true; /* should a failover forget it, his back-check says that he does not go on */
		return;
	}
	if (q->c.kind == COMMAND_CONFIRM || q->c.kind == COMMAND_CANCEL)
		command_script(rec, 200);
}

static void count(struct world *w, enum command_result result, enum verdict v, const struct request *q)
{
	struct seen *s = w->seen;

	s->commands_applied += result == COMMAND_APPLIED;
	s->commands_away += result == COMMAND_AWAY;
	s->commands_late += result == COMMAND_LATE;
	if (result != COMMAND_APPLIED)
		return;
	s->decided += v == VERDICT_DECIDED;
	s->in_doubt += v == VERDICT_IN_DOUBT;
	s->not_ready += v == VERDICT_NOT_READY;
	s->pauses += v == VERDICT_ACCEPTED && q->c.kind == COMMAND_PAUSE;
	s->skips += v == VERDICT_ACCEPTED && q->c.kind == COMMAND_SKIP;
	s->patches += v == VERDICT_ACCEPTED && q->c.kind == COMMAND_PATCH;
	s->unsafe_patches += v == VERDICT_UNSAFE;
	s->releases += v == VERDICT_ACCEPTED && q->c.kind == COMMAND_RELEASE;
	s->callbacks += v == VERDICT_ACCEPTED && (q->c.kind == COMMAND_COMPLETE || q->c.kind == COMMAND_FAIL);
}

static void on_command(void *arg, enum command_result result, enum verdict v, const struct view *view,
                       const struct err *err)
{
	struct request *q = arg;
	struct record  *rec = q->rec;
	struct world   *w = rec->w;
	static const char *const names[] = { "applied", "unknown", "invalid", "differs", "away", "late", "lost" };

	say(w, "     %s: r%u answers %s %s: %s, %s", rec->gid, q->r->number, command_name(q->c.kind), q->step,
	    names[result], result == COMMAND_APPLIED ? verdict_name(v) : "-");
	world_mix(w, (uint64_t)result << 8 | (uint64_t)v);
	count(w, result, v, q);
	if (result == COMMAND_APPLIED)
		check_applied(q, v, view);
	if (result == COMMAND_UNKNOWN && q->existed && rec->exists)
		violated(w, 40, "%s: r%u does not know it", rec->gid, q->r->number);
	if (result == COMMAND_INVALID && (err == NULL || err->text[0] == '\0'))
		violated(w, 41, "%s: %s is called invalid without a reason", rec->gid, command_name(q->c.kind));
	const struct row *row = fake_db_row(w->db, str_of(rec->gid));
	if (result == COMMAND_INVALID && (q->c.kind == COMMAND_CONFIRM || q->c.kind == COMMAND_CANCEL) &&
	    row != NULL && row->format > ROW_FORMAT && world_latest(w) > rec->newer_at + 100)
		violated(w, 99, "%s: is judged by a version that cannot read it", rec->gid);
	if (q->scripted)
		scripted(q, result, v);
	request_end(q);
}

void request_send_command(struct request *q)
{
	say(q->rec->w, "     %s: r%u is told %s %s", q->rec->gid, q->r->number, command_name(q->c.kind), q->step);
	engine_command(q->r->engine, &q->c, on_command, q);
}

static struct request *new_command(struct record *rec, enum command_kind kind)
{
	struct request *q = request_new(rec, request_send_command);

	q->c.kind = kind;
	q->c.gid = str_of(rec->gid);
	return q;
}

static void name_step(struct request *q, uint16_t step)
{
	snprintf(q->step, sizeof q->step, "%s", q->rec->def->names[step]);
	q->c.step = str_of(q->step);
}

/* ---- what a caller does ---------------------------------------------------------------- */

static void script_join(struct record *rec, int64_t delay_ms)
{
	struct request *q = new_command(rec, COMMAND_JOIN);
	/* Every other one is called by the coordinator. */
	unsigned has = HAS_CONFIRM | HAS_CANCEL | (rec->joins % 2 == 1 ? HAS_TRY : 0u);

	snprintf(q->step, sizeof q->step, "j%u", rec->joins);
	snprintf(q->body, sizeof q->body, "{\"name\":\"%s\",\"has\":%u}", q->step, has);
	q->c.body = str_of(q->body);
	q->scripted = true;
	request_post(q, delay_ms);
}

static void script_decide(struct record *rec, enum command_kind kind, int64_t delay_ms)
{
	struct request *q = new_command(rec, kind);

	q->scripted = true;
	request_post(q, delay_ms);
}

void command_script(struct record *rec, int64_t delay_ms)
{
	struct world *w = rec->w;
	bool          message = rec->first_def->plan.mode == MODE_MESSAGE;

	if (!rec->first_def->plan.open || rec->caller_done || rec->ended)
		return;
	if (fault(w, FAULT_CLIENTS, 6)) { /* it dies; the deadline or the back-check decides */
		rec->caller_done = true;
		return;
	}
	if (!message && rec->joins < rec->join_n && rec->txn.step_count < STEPS_MAX)
		script_join(rec, delay_ms);
	else if (message ? !rec->sender_ok : choose(w, 4) == 3)
		script_decide(rec, COMMAND_CANCEL, delay_ms);
	else
		script_decide(rec, COMMAND_CONFIRM, delay_ms);
}

void command_again(struct request *q)
{
	if (q->send != request_send_command)
		client_begin(q->rec, 300);
	else if (q->c.kind == COMMAND_JOIN || q->c.kind == COMMAND_CONFIRM || q->c.kind == COMMAND_CANCEL)
		command_script(q->rec, 300);
}

/* ---- what services tell ------------------------------------------------------------------ */

void command_callback(struct record *rec, uint16_t step, enum op op, bool ok, struct str output)
{
	struct request *q = new_command(rec, ok ? COMMAND_COMPLETE : COMMAND_FAIL);

	name_step(q, step);
	q->c.op = op;
	if (ok && output.n > 0)
		str_cstr(output, q->body, sizeof q->body);
	else if (!ok)
		snprintf(q->body, sizeof q->body, "sorry");
	q->c.body = str_of(q->body);
	request_post(q, 1);
}

/* ---- what people ask, wait for and read --------------------------------------------------- */

static void check_view(struct request *q, enum log_result result, const struct view *view)
{
	struct record *rec = q->rec;
	struct world  *w = rec->w;

	if (result != LOG_DONE)
		return;
	if (view == NULL) {
		if (q->existed && rec->exists)
			violated(w, 42, "%s: r%u shows nothing", rec->gid, q->r->number);
		return;
	}
	if (!rec->exists || view->row.version > rec->version)
		violated(w, 43, "%s: r%u shows what is not in the log", rec->gid, q->r->number);
	else if (phase_is_ended(view->row.phase) && view->row.phase != rec->txn.phase)
		violated(w, 44, "%s: r%u shows it %s, the log says %s", rec->gid, q->r->number,
		         phase_name(view->row.phase), phase_name(rec->txn.phase));
	client_is_shown(q, &view->row);
	if (view->txn != NULL && view->txn->phase != view->row.phase)
		violated(w, 45, "%s: r%u shows two phases at once", rec->gid, q->r->number);
}

static void read_elsewhere(const struct request *q);

static void on_read(void *arg, enum log_result result, const struct view *view)
{
	struct request *q = arg;

	q->rec->w->seen->reads++;
	check_view(q, result, view);
	if (!q->again && view != NULL && result == LOG_DONE)
		read_elsewhere(q);
	request_end(q);
}

static void on_waited(void *arg, enum log_result result, const struct view *view)
{
	struct request *q = arg;
	struct world   *w = q->rec->w;
	bool            ended = view != NULL && phase_is_ended(view->row.phase);

	say(w, "     %s: r%u ends a wait, %s", q->rec->gid, q->r->number, ended ? "it has ended" : "in vain");
	w->seen->waits_ended += ended;
	w->seen->waits_in_vain += !ended;
	check_view(q, result, view);
	if (result == LOG_DONE && view != NULL && !ended && replica_latest(q->r) < q->until)
		violated(w, 46, "%s: r%u ends a wait before its time", q->rec->gid, q->r->number);
	request_end(q);
}

static void send_read(struct request *q)
{
	engine_read(q->r->engine, str_of(q->rec->gid), on_read, q);
}

/* Whoever was shown something and asks the others at once is shown nothing older. No choice of its own. */
static void read_elsewhere(const struct request *q)
{
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct replica *r = &q->rec->w->replicas[i];

		if (r == q->r)
			continue;
		struct request *other = request_new(q->rec, send_read);
		other->again = true;
		request_post_to(other, r);
	}
}

static void send_wait(struct request *q)
{
	uint64_t handle = engine_wait(q->r->engine, str_of(q->rec->gid), q->until, on_waited, q);

	if (choose(q->rec->w, 8) == 7) { /* the client left at once */
		engine_unwait(q->r->engine, handle);
		request_end(q);
	}
}

static void post_wait(struct record *rec)
{
	struct request *q = request_new(rec, send_wait);

	q->until = world_now(rec->w) + 50 + 300 * (int64_t)choose(rec->w, 10);
	request_post(q, 0);
}

static void post_simple(struct record *rec, enum command_kind kind, bool person)
{
	struct request *q = new_command(rec, kind);

	if (person) {
		snprintf(q->body, sizeof q->body, "because %u.", ++rec->w->reasons);
		q->c.actor = STR("olivia");
		q->c.reason = str_of(q->body);
	}
	rec->anyone_cancels |= kind == COMMAND_CANCEL;
	request_post(q, 0);
}

static void draw_by_program(struct world *w, struct record *rec)
{
	struct request *q;

	switch (choose(w, 7)) {
	case 1: post_wait(rec); break;
	case 2: post_simple(rec, COMMAND_CANCEL, false); break;
	case 3:
		/* Of open ones the script confirms: only it knows that all is tried. */
		if (!rec->first_def->plan.open || (rec->first_def->plan.mode == MODE_MESSAGE && rec->sender_ok))
			post_simple(rec, COMMAND_CONFIRM, false);
		break;
	case 4:
		q = new_command(rec, COMMAND_JOIN);
		snprintf(q->step, sizeof q->step, "x");
		snprintf(q->body, sizeof q->body, choose(w, 2) ? "{\"what\":1}" : "{\"name\":\"x\",\"has\":7}");
		q->c.body = str_of(q->body);
		request_post(q, 0);
		break;
	default:
		request_post(request_new(rec, send_read), 0);
		break;
	}
}

static void resolve(struct world *w, struct record *rec)
{
	struct request *q;
	uint16_t        step = (uint16_t)choose(w, STEPS_MAX);

	if (rec->txn.plan == NULL || step >= rec->txn.step_count)
		return;
	int op = txn_wanted(&rec->txn, step);
	if (op < 0)
		return;
	q = new_command(rec, COMMAND_RESOLVE);
	name_step(q, step);
	q->c.op = (enum op)op;
	q->c.outcome = choose(w, 3) == 2 ? OUTCOME_REFUSED : OUTCOME_OK;
	snprintf(q->body, sizeof q->body, "because %u.", ++w->reasons);
	q->c.actor = STR("olivia");
	q->c.reason = str_of(q->body);
	request_post(q, 0);
}

/* Of a step that waits: to go on without it, or to be called otherwise. */
static void post_of_step(struct world *w, struct record *rec, enum command_kind kind)
{
	struct request *q;
	uint16_t        step = (uint16_t)choose(w, STEPS_MAX);

	if (rec->txn.plan == NULL || step >= rec->txn.step_count)
		return;
	int op = txn_wanted(&rec->txn, step);
	if (kind == COMMAND_SKIP && op < 0)
		return;
	q = new_command(rec, kind);
	name_step(q, step);
	if (kind == COMMAND_SKIP) {
		q->c.op = (enum op)op;
	} else if (choose(w, 2) == 1) {
		q->c.op = (enum op)choose(w, OP_CHECK);
		q->c.moves = true;
		snprintf(q->line, sizeof q->line, "\"moved %d\"", (int)q->c.op);
		q->c.body = str_of(q->line);
	} else {
		q->c.body = STR("\"slower\"");
	}
	snprintf(q->body, sizeof q->body, "because %u.", ++w->reasons);
	q->c.actor = STR("olivia");
	q->c.reason = str_of(q->body);
	request_post(q, 0);
}

static void draw_by_person(struct world *w, struct record *rec)
{
	switch (choose(w, 12)) {
	case 1:
	case 2: post_simple(rec, COMMAND_PAUSE, true); break;
	case 3:
	case 4: post_simple(rec, COMMAND_UNPAUSE, true); break;
	case 5:
	case 6: post_simple(rec, COMMAND_RETRY, true); break;
	case 7: post_simple(rec, COMMAND_CANCEL, true); break;
	case 8: resolve(w, rec); break;
	case 9:
		if (choose(w, 4) == 3)
			post_simple(rec, COMMAND_ABANDON, true);
		break;
	case 10: post_of_step(w, rec, choose(w, 2) ? COMMAND_PATCH : COMMAND_SKIP); break;
	case 11: post_simple(rec, COMMAND_RELEASE, true); break;
	default: break;
	}
}

void command_draw(struct world *w, struct record *rec)
{
	bool programs = (w->kinds & 1u << FAULT_COMMANDS) != 0, people = (w->kinds & 1u << FAULT_OPERATORS) != 0;

	if (!rec->wanted)
		return;
	if (people && (!programs || choose(w, 2) == 1))
		draw_by_person(w, rec);
	else
		draw_by_program(w, rec);
}

/* In quiet times an operator looks after what only a person can move. */
void command_repair(struct record *rec)
{
	if (!rec->exists || rec->ended)
		return;
	if (rec->txn.paused)
		post_simple(rec, COMMAND_UNPAUSE, true);
	else if (rec->txn.stuck != STUCK_NONE && rec->txn.stuck != STUCK_OVERDUE)
		post_simple(rec, COMMAND_RETRY, true);
}
