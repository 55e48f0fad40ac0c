/* SPDX-License-Identifier: Apache-2.0 */
#include "api/show.h"

#include "coordinator/base/mem.h"
#include "participants/definition.h"

#include <stdlib.h>

enum { STEPS_FEW = 16 };

/* What stands in front of a value: one piece, since an answer has fifty of them. */
#define MEMBER(name) STR(",\"" name "\":")

static void put_name(struct buf *out, const char *name)
{
	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":");
}

static void put_time(struct buf *out, struct str member, int64_t at)
{
	char text[32];

	buf_str(out, member);
	if (at <= 0 || at == AT_NEVER) {
		buf_cstr(out, "null");
		return;
	}
	buf_char(out, '"');
	buf_cstr(out, text_of_time(at, text));
	buf_char(out, '"');
}

static void put_text(struct buf *out, struct str member, struct str value)
{
	buf_str(out, member);
	buf_json(out, value);
}

/* A word of ours: nothing in it needs to be escaped. */
static void put_word(struct buf *out, struct str member, const char *word)
{
	buf_str(out, member);
	buf_char(out, '"');
	buf_cstr(out, word);
	buf_char(out, '"');
}

static void put_uuid(struct buf *out, struct str member, struct uuid id)
{
	char text[UUID_TEXT + 1];

	if (!uuid_is_nil(id)) {
		put_word(out, member, uuid_text(id, text));
		return;
	}
	buf_str(out, member);
	buf_cstr(out, "null");
}

static void put_flag(struct buf *out, struct str member, bool value)
{
	buf_str(out, member);
	buf_str(out, value ? STR("true") : STR("false"));
}

static void put_number(struct buf *out, struct str member, uint64_t value)
{
	buf_str(out, member);
	buf_u64(out, value);
}

/* Stored JSON was checked when it came; an empty one is null. */
static void put_raw(struct buf *out, struct str member, struct str json)
{
	buf_str(out, member);
	buf_str(out, json.n ? json : STR("null"));
}

void show_time(struct buf *out, const char *name, int64_t at)
{
	put_name(out, name);
	put_time(out, STR(""), at);
}

void show_text(struct buf *out, const char *name, struct str value)
{
	put_name(out, name);
	buf_json(out, value);
}

void show_uuid(struct buf *out, const char *name, struct uuid id)
{
	put_name(out, name);
	put_uuid(out, STR(""), id);
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
	struct str   few[STEPS_FEW], *outputs = n <= STEPS_FEW ? few : mem_array(n, sizeof *outputs);
	struct scope scope = { v->row.def, v->row.gid, v->row.created_at, v->row.input, outputs };
	struct err   err;
	bool         fine;

	for (uint16_t i = 0; i < n; i++)
		outputs[i] = v->notes[i].output;
	/* A template that reads an output nobody gave: there is nothing to show but why. */
	buf_str(out, MEMBER("output"));
	fine = definition_output(v->row.def, &scope, out, &err);
	if (!fine) {
		buf_cstr(out, "null");
		put_text(out, MEMBER("output_error"), str_of(err.text));
	}
	if (outputs != few)
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
	put_word(out, STR(",\"waiting\":{\"for\":"), w.reason);
	put_time(out, MEMBER("until"), w.until);
	if (w.step >= 0)
		put_text(out, MEMBER("step"), step_name(v, (uint16_t)w.step));
	buf_char(out, '}');
}

/* ---- its parts ------------------------------------------------------------------------ */

static void show_stuck(struct buf *out, enum stuck stuck, int64_t since)
{
	if (stuck == STUCK_NONE) {
		buf_cstr(out, ",\"stuck\":null");
		return;
	}
	put_word(out, STR(",\"stuck\":{\"reason\":"), stuck_name(stuck));
	put_time(out, MEMBER("since"), since);
	put_text(out, MEMBER("detail"), str_of(stuck_text(stuck)));
	buf_char(out, '}');
}

static void show_last_error(struct buf *out, const struct note *n)
{
	if (n->at == 0) {
		buf_cstr(out, ",\"last_error\":null");
		return;
	}
	buf_fmt(out, ",\"last_error\":{\"status\":%d", n->status);
	put_text(out, MEMBER("detail"), n->error);
	put_time(out, MEMBER("at"), n->at);
	buf_char(out, '}');
}

static void show_cause(struct buf *out, const struct view *v)
{
	const struct txn *t = v->txn;

	if (t->cause == CAUSE_NONE) {
		buf_cstr(out, ",\"cause\":null");
		return;
	}
	put_word(out, STR(",\"cause\":{\"kind\":"), cause_name(t->cause));
	if ((t->cause == CAUSE_REFUSED || t->cause == CAUSE_ATTEMPTS) && t->cause_step < t->step_count) {
		put_text(out, MEMBER("step"), step_name(v, t->cause_step));
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
		put_word(out, MEMBER("op"), op_name((enum op)op));
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
	put_word(out, STR(",\"last_answer\":{\"op\":"), op_name(n->op));
	put_time(out, MEMBER("at"), n->answered_at);
	buf_char(out, '}');
}

/* While nothing came after it, the state and the last answer tell it. */
static void show_try_answer(struct buf *out, const struct note *n, enum step_state state)
{
	if (n->tried_at == 0 || (n->op == OP_TRY && (state == STEP_TRIED || state == STEP_REFUSED)))
		return;
	put_word(out, STR(",\"try_answer\":{\"outcome\":"), outcome_name(n->refused ? OUTCOME_REFUSED : OUTCOME_OK));
	put_time(out, MEMBER("at"), n->tried_at);
	buf_char(out, '}');
}

static void show_step(struct buf *out, const struct view *v, uint16_t i)
{
	const struct step *s = &v->txn->steps[i];

	buf_cstr(out, "{\"name\":");
	buf_json(out, step_name(v, i));
	put_word(out, MEMBER("kind"), step_kind_name(v->txn->plan->steps[i].kind));
	put_word(out, MEMBER("state"), step_state_name(s->state));
	show_op(out, v->txn, i);
	put_number(out, MEMBER("attempts"), count_calls(s, &v->notes[i], txn_wanted(v->txn, i)));
	if (s->attempts)
		put_number(out, MEMBER("failed_attempts"), s->attempts);
	if (s->first_at)
		put_time(out, MEMBER("failing_since"), s->first_at);
	if (s->next_at)
		put_time(out, MEMBER("next_at"), s->next_at);
	if (s->stuck != STUCK_NONE)
		put_word(out, MEMBER("stuck"), stuck_name(s->stuck));
	if (s->flags & STEP_IS_ONGOING)
		put_flag(out, MEMBER("ongoing"), true);
	if (s->flags & STEP_IS_RESOLVED)
		put_flag(out, MEMBER("resolved"), true);
	if (s->flags & STEP_IS_SKIPPED)
		put_flag(out, MEMBER("skipped"), true);
	if (v->notes[i].joined_at)
		put_time(out, MEMBER("joined_at"), v->notes[i].joined_at);
	show_try_answer(out, &v->notes[i], s->state);
	show_last_answer(out, &v->notes[i]);
	show_last_error(out, &v->notes[i]);
	put_raw(out, MEMBER("output"), v->notes[i].output);
	buf_char(out, '}');
}

static void show_check(struct buf *out, const struct view *v)
{
	const struct step *s = &v->txn->check;

	if (!plan_is_checked(v->txn->plan))
		return;
	buf_fmt(out, ",\"check\":{\"attempts\":%u", count_calls(s, v->check, OP_CHECK));
	if (s->attempts)
		put_number(out, MEMBER("failed_attempts"), s->attempts);
	put_time(out, MEMBER("next_at"), s->next_at);
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
		put_text(out, MEMBER("definition"), row->definition);
		put_number(out, MEMBER("definition_version"), row->definition_version);
	} else {
		buf_cstr(out, ",\"definition\":null");
	}
	if (result)
		put_word(out, MEMBER("result"), result);
	else
		buf_cstr(out, ",\"result\":null");
	put_flag(out, MEMBER("paused"), row->paused);
	put_raw(out, MEMBER("labels"), row->labels);
	put_time(out, MEMBER("created_at"), row->created_at);
	put_time(out, MEMBER("deadline_at"), row->deadline_at);
	put_time(out, MEMBER("ended_at"), row->ended_at);
	put_uuid(out, MEMBER("owner"), row->owner);
	put_number(out, MEMBER("epoch"), row->epoch);
	put_number(out, MEMBER("adoptions"), row->adoptions);
}

/* Not stuck: it goes on. But a person should know that the database may have forgotten some of it. */
static void show_attention(struct buf *out, int64_t failover_at)
{
	if (failover_at == 0) {
		buf_cstr(out, ",\"attention\":null");
		return;
	}
	buf_cstr(out, ",\"attention\":{\"reason\":\"failover\"");
	put_time(out, MEMBER("at"), failover_at);
	buf_char(out, '}');
}

void show_transaction(struct buf *out, const struct view *v, int64_t failover_at, enum show how)
{
	const struct txn *t = v->txn;

	buf_cstr(out, "{\"gid\":");
	buf_json(out, v->row.gid);
	put_word(out, MEMBER("phase"), phase_name(v->row.phase));
	put_number(out, MEMBER("version"), v->row.version);
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
		put_word(out, MEMBER("mode"), mode_name(t->plan->mode));
		if (t->start_at)
			put_time(out, MEMBER("start_at"), t->start_at);
		show_cause(out, v);
		show_steps(out, v);
	}
	if (t && v->row.def && v->row.phase == PHASE_CONFIRMED)
		show_output(out, v);
	else
		buf_cstr(out, ",\"output\":null");
	if (how == SHOW_ALL) {
		show_actions(out, v);
		put_raw(out, MEMBER("input"), v->row.input);
		if (v->row.document.n)
			put_raw(out, MEMBER("document"), v->row.document);
	}
	buf_char(out, '}');
}

void show_entry(struct buf *out, const struct entry_row *row)
{
	const struct entry *e = &row->entry;
	char                replica[UUID_TEXT + 1];

	buf_fmt(out, "{\"number\":%llu", (unsigned long long)row->number);
	put_time(out, MEMBER("at"), e->at);
	put_text(out, MEMBER("what"), e->what);
	if (e->step.n)
		put_text(out, MEMBER("step"), e->step);
	if (e->op.n)
		put_text(out, MEMBER("op"), e->op);
	if (e->outcome.n)
		put_text(out, MEMBER("outcome"), e->outcome);
	if (e->attempt)
		put_number(out, MEMBER("attempt"), e->attempt);
	if (e->status)
		put_number(out, MEMBER("status"), (uint64_t)e->status);
	if (e->detail.n)
		put_text(out, MEMBER("detail"), e->detail);
	if (e->actor.n)
		put_text(out, MEMBER("actor"), e->actor);
	if (!uuid_is_nil(e->replica))
		put_text(out, MEMBER("replica"), str_of(uuid_text(e->replica, replica)));
	buf_char(out, '}');
}
