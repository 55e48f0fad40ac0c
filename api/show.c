/* SPDX-License-Identifier: Apache-2.0 */
#include "api/show.h"

#include "coordinator/base/mem.h"
#include "participants/definition.h"

#include <stdlib.h>

void show_time(struct buf *out, const char *name, int64_t at)
{
	char text[32];

	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	if (at <= 0 || at == AT_NEVER) {
		buf_cstr(out, "\":null");
		return;
	}
	buf_cstr(out, "\":\"");
	buf_cstr(out, text_of_time(at, text));
	buf_char(out, '"');
}

void show_text(struct buf *out, const char *name, struct str value)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":");
	buf_json(out, value);
}

void show_uuid(struct buf *out, const char *name, struct uuid id)
{
	char text[UUID_TEXT + 1];

	if (uuid_is_nil(id)) {
		buf_cstr(out, ",\"");
		buf_cstr(out, name);
		buf_cstr(out, "\":null");
		return;
	}
	show_text(out, name, str_of(uuid_text(id, text)));
}

/* A word of ours: nothing in it needs to be escaped. */
static void show_word(struct buf *out, const char *name, const char *word)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":\"");
	buf_cstr(out, word);
	buf_char(out, '"');
}

static void show_flag(struct buf *out, const char *name, bool value)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, value ? "\":true" : "\":false");
}

static void show_number(struct buf *out, const char *name, uint64_t value)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":");
	buf_u64(out, value);
}

/* Stored JSON was checked when it came; an empty one is null. */
static void show_raw(struct buf *out, const char *name, struct str json)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":");
	buf_str(out, json.n ? json : STR("null"));
}

static struct str step_name(const struct view *v, uint16_t step)
{
	return v->row.def ? definition_step_name(v->row.def, step) : STR("");
}

/* ---- what it came to ---------------------------------------------------------- */

/* A person's word that goes against the decision makes the result mixed; and so does a call that nobody made. */
static bool is_resolved_against(const struct txn *t)
{
	for (uint16_t i = 0; i < t->step_count; i++) {
		const struct step *s = &t->steps[i];

		if (s->flags & STEP_IS_SKIPPED)
			return true;
		if (!(s->flags & STEP_IS_RESOLVED))
			continue;
		if (t->phase == PHASE_CONFIRMED && (s->state == STEP_CANCELLED || s->state == STEP_REFUSED))
			return true;
		if (t->phase == PHASE_CANCELLED && (s->state == STEP_CONFIRMED || s->state == STEP_TRIED))
			return true;
	}
	return false;
}

const char *show_result(const struct view *v)
{
	if (!phase_is_ended(v->row.phase))
		return NULL;
	if (v->row.phase == PHASE_ABANDONED || (v->txn && is_resolved_against(v->txn)))
		return "mixed";
	return v->row.phase == PHASE_CONFIRMED ? "succeeded" : "cancelled";
}

static void show_output(struct buf *out, const struct view *v)
{
	uint16_t     n = v->txn->step_count;
	struct str  *outputs = mem_array(n ? n : 1, sizeof *outputs);
	struct scope scope = { v->row.def, v->row.gid, v->row.created_at, v->row.input, outputs };
	struct buf   text = { 0 };
	struct err   err;
	bool         fine;

	for (uint16_t i = 0; i < n; i++)
		outputs[i] = v->notes[i].output;
	/* A template that reads an output nobody gave: there is nothing to show but why. */
	fine = definition_output(v->row.def, &scope, &text, &err);
	if (!fine)
		buf_clear(&text);
	show_raw(out, "output", buf_view(&text));
	if (!fine)
		show_text(out, "output_error", str_of(err.text));
	buf_fini(&text);
	free(outputs);
}

/* ---- what it waits for -------------------------------------------------------------- */

struct waiting {
	const char *reason; /* NULL: for nothing one could name */
	int         step;   /* -1: none in particular */
	int64_t     until;  /* 0: open */
};

static bool needs_person(const struct step *s)
{
	return s->stuck == STUCK_ATTEMPTS || s->stuck == STUCK_MISCONFIGURED || s->stuck == STUCK_GONE;
}

/* Of the steps that wait: a call under way tells more than the next attempt, and
 * the next attempt more than a person who has to come. */
static int64_t call_at(const struct step *s, int64_t due_at)
{
	int64_t at = s->next_at > s->put_off_until ? s->next_at : s->put_off_until;

	/* What puts off is not stored: parked without a time of its own, a step waits for that of its row. */
	return at == 0 && due_at != AT_NEVER ? due_at : at;
}

static struct waiting wait_of_steps(const struct txn *t, int64_t due_at)
{
	struct waiting retry = { NULL, -1, 0 }, person = { NULL, -1, 0 };

	for (uint16_t i = 0; i < t->step_count; i++) {
		const struct step *s = &t->steps[i];

		if (txn_wanted(t, i) < 0)
			continue;
		if (needs_person(s)) {
			person = (struct waiting){ "operator", i, 0 };
			continue;
		}
		const int64_t at = call_at(s, due_at);
		if (s->open_op || at == 0)
			return (struct waiting){ "answer", i, 0 };
		if (retry.reason && retry.until <= at)
			continue;
		retry = (struct waiting){ s->flags & STEP_IS_ONGOING ? "participant" : "retry", i, at };
	}
	return retry.reason ? retry : person;
}

static struct waiting wait_of(const struct view *v)
{
	const struct txn *t = v->txn;

	if (v->row.paused)
		return (struct waiting){ "resume", -1, 0 };
	if (v->row.stuck == STUCK_POISON || v->row.stuck == STUCK_BAD_ROW || !t)
		return (struct waiting){ "operator", -1, 0 };
	if (t->start_at)
		return (struct waiting){ "start", -1, t->start_at };
	struct waiting w = wait_of_steps(t, v->row.due_at);
	if (!w.reason && t->phase == PHASE_PREPARED)
		return (struct waiting){ "decision", -1, t->deadline_at };
	return w;
}

static void show_waiting(struct buf *out, const struct view *v)
{
	struct waiting w = { NULL, -1, 0 };

	if (!phase_is_ended(v->row.phase))
		w = wait_of(v);
	if (!w.reason) {
		buf_cstr(out, ",\"waiting\":null");
		return;
	}
	buf_fmt(out, ",\"waiting\":{\"for\":\"%s\"", w.reason);
	show_time(out, "until", w.until);
	if (w.step >= 0)
		show_text(out, "step", step_name(v, (uint16_t)w.step));
	buf_char(out, '}');
}

/* ---- its parts ------------------------------------------------------------------------ */

static void show_stuck(struct buf *out, enum stuck stuck, int64_t since)
{
	if (stuck == STUCK_NONE) {
		buf_cstr(out, ",\"stuck\":null");
		return;
	}
	buf_fmt(out, ",\"stuck\":{\"reason\":\"%s\"", stuck_name(stuck));
	show_time(out, "since", since);
	show_text(out, "detail", str_of(stuck_text(stuck)));
	buf_char(out, '}');
}

static void show_last_error(struct buf *out, const struct note *n)
{
	if (n->at == 0) {
		buf_cstr(out, ",\"last_error\":null");
		return;
	}
	buf_fmt(out, ",\"last_error\":{\"status\":%d", n->status);
	show_text(out, "detail", n->error);
	show_time(out, "at", n->at);
	buf_char(out, '}');
}

static void show_cause(struct buf *out, const struct view *v)
{
	const struct txn *t = v->txn;

	if (t->cause == CAUSE_NONE) {
		buf_cstr(out, ",\"cause\":null");
		return;
	}
	buf_fmt(out, ",\"cause\":{\"kind\":\"%s\"", cause_name(t->cause));
	if ((t->cause == CAUSE_REFUSED || t->cause == CAUSE_ATTEMPTS) && t->cause_step < t->step_count) {
		show_text(out, "step", step_name(v, t->cause_step));
		show_last_error(out, &v->notes[t->cause_step]);
	}
	buf_char(out, '}');
}

static void show_op(struct buf *out, const struct txn *t, uint16_t step)
{
	int op = txn_wanted(t, step);

	if (op < 0)
		buf_cstr(out, ",\"op\":null");
	else
		show_text(out, "op", str_of(op_name((enum op)op)));
}

/* Of the op it waits for, else of the one it was answered last; a call under way counts. */
static uint32_t count_calls(const struct step *s, const struct note *n, int wanted)
{
	const int op = wanted >= 0 ? wanted : (int)n->op;
	uint32_t  calls = n->answered_at && (int)n->op == op ? n->calls : 0;

	return s->open_op == 1 + op && calls < UINT32_MAX ? calls + 1 : calls;
}

static void show_last_answer(struct buf *out, const struct note *n)
{
	if (n->answered_at == 0) {
		buf_cstr(out, ",\"last_answer\":null");
		return;
	}
	buf_fmt(out, ",\"last_answer\":{\"op\":\"%s\"", op_name(n->op));
	show_time(out, "at", n->answered_at);
	buf_char(out, '}');
}

/* While nothing came after it, the state and the last answer tell it. */
static void show_try_answer(struct buf *out, const struct note *n, enum step_state state)
{
	if (n->tried_at == 0 || (n->op == OP_TRY && (state == STEP_TRIED || state == STEP_REFUSED)))
		return;
	buf_cstr(out, ",\"try_answer\":{\"outcome\":\"");
	buf_cstr(out, outcome_name(n->refused ? OUTCOME_REFUSED : OUTCOME_OK));
	buf_char(out, '"');
	show_time(out, "at", n->tried_at);
	buf_char(out, '}');
}

static void show_step(struct buf *out, const struct view *v, uint16_t i)
{
	const struct step *s = &v->txn->steps[i];

	buf_cstr(out, "{\"name\":");
	buf_json(out, step_name(v, i));
	show_word(out, "kind", step_kind_name(v->txn->plan->steps[i].kind));
	show_word(out, "state", step_state_name(s->state));
	show_op(out, v->txn, i);
	show_number(out, "attempts", count_calls(s, &v->notes[i], txn_wanted(v->txn, i)));
	if (s->attempts)
		show_number(out, "failed_attempts", s->attempts);
	if (s->first_at)
		show_time(out, "failing_since", s->first_at);
	if (s->next_at)
		show_time(out, "next_at", s->next_at);
	if (s->stuck != STUCK_NONE)
		show_text(out, "stuck", str_of(stuck_name(s->stuck)));
	if (s->flags & STEP_IS_ONGOING)
		show_flag(out, "ongoing", true);
	if (s->flags & STEP_IS_RESOLVED)
		show_flag(out, "resolved", true);
	if (s->flags & STEP_IS_SKIPPED)
		show_flag(out, "skipped", true);
	if (v->notes[i].joined_at)
		show_time(out, "joined_at", v->notes[i].joined_at);
	show_try_answer(out, &v->notes[i], s->state);
	show_last_answer(out, &v->notes[i]);
	show_last_error(out, &v->notes[i]);
	show_raw(out, "output", v->notes[i].output);
	buf_char(out, '}');
}

static void show_check(struct buf *out, const struct view *v)
{
	const struct step *s = &v->txn->check;

	if (!plan_is_checked(v->txn->plan))
		return;
	buf_fmt(out, ",\"check\":{\"attempts\":%u", count_calls(s, v->check, OP_CHECK));
	if (s->attempts)
		show_number(out, "failed_attempts", s->attempts);
	show_time(out, "next_at", s->next_at);
	show_last_answer(out, v->check);
	show_last_error(out, v->check);
	buf_char(out, '}');
}

static void show_steps(struct buf *out, const struct view *v)
{
	buf_cstr(out, ",\"steps\":[");
	for (uint16_t i = 0; i < v->txn->step_count; i++) {
		if (i > 0)
			buf_char(out, ',');
		show_step(out, v, i);
	}
	buf_char(out, ']');
	show_check(out, v);
}

static void show_row(struct buf *out, const struct row *row, const char *result)
{
	if (row->definition.n) {
		show_text(out, "definition", row->definition);
		show_number(out, "definition_version", row->definition_version);
	} else {
		buf_cstr(out, ",\"definition\":null");
	}
	if (result)
		show_word(out, "result", result);
	else
		buf_cstr(out, ",\"result\":null");
	show_flag(out, "paused", row->paused);
	show_raw(out, "labels", row->labels);
	show_time(out, "created_at", row->created_at);
	show_time(out, "deadline_at", row->deadline_at);
	show_time(out, "ended_at", row->ended_at);
	show_uuid(out, "owner", row->owner);
	show_number(out, "epoch", row->epoch);
	show_number(out, "adoptions", row->adoptions);
}

/* Not stuck: it goes on. But a person should know that the database may have forgotten some of it. */
static void show_attention(struct buf *out, int64_t failover_at)
{
	if (failover_at == 0) {
		buf_cstr(out, ",\"attention\":null");
		return;
	}
	buf_cstr(out, ",\"attention\":{\"reason\":\"failover\"");
	show_time(out, "at", failover_at);
	buf_char(out, '}');
}

void show_transaction(struct buf *out, const struct view *v, int64_t failover_at, enum show how)
{
	const struct txn *t = v->txn;

	buf_cstr(out, "{\"gid\":");
	buf_json(out, v->row.gid);
	show_word(out, "phase", phase_name(v->row.phase));
	show_number(out, "version", v->row.version);
	if (how == SHOW_MINIMAL) {
		buf_char(out, '}');
		return;
	}
	show_row(out, &v->row, show_result(v));
	show_stuck(out, v->row.stuck, t ? t->stuck_at : 0);
	show_attention(out, failover_at);
	if (how == SHOW_ROW) {
		buf_char(out, '}');
		return;
	}
	show_waiting(out, v);
	if (t) {
		show_text(out, "mode", str_of(mode_name(t->plan->mode)));
		if (t->start_at)
			show_time(out, "start_at", t->start_at);
		show_cause(out, v);
		show_steps(out, v);
	}
	if (t && v->row.def && v->row.phase == PHASE_CONFIRMED)
		show_output(out, v);
	else
		buf_cstr(out, ",\"output\":null");
	if (how == SHOW_ALL) {
		show_actions(out, v);
		show_raw(out, "input", v->row.input);
		if (v->row.document.n)
			show_raw(out, "document", v->row.document);
	}
	buf_char(out, '}');
}

void show_entry(struct buf *out, const struct entry_row *row)
{
	const struct entry *e = &row->entry;
	char                replica[UUID_TEXT + 1];

	buf_fmt(out, "{\"number\":%llu", (unsigned long long)row->number);
	show_time(out, "at", e->at);
	show_text(out, "what", e->what);
	if (e->step.n)
		show_text(out, "step", e->step);
	if (e->op.n)
		show_text(out, "op", e->op);
	if (e->outcome.n)
		show_text(out, "outcome", e->outcome);
	if (e->attempt)
		show_number(out, "attempt", e->attempt);
	if (e->status)
		show_number(out, "status", (uint64_t)e->status);
	if (e->detail.n)
		show_text(out, "detail", e->detail);
	if (e->actor.n)
		show_text(out, "actor", e->actor);
	if (!uuid_is_nil(e->replica))
		show_text(out, "replica", str_of(uuid_text(e->replica, replica)));
	buf_char(out, '}');
}
