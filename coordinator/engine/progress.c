/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/progress.h"

#include "coordinator/base/json.h"

#include <string.h>

/*
 * {"deadline_at":…,"steps":[{"state":"tried","answered":7},{"answered":12,"output":9},{}],"outputs":[{"id":"7"}]}
 *
 * A step that does not say its state is pending, or tried if it has an output. Each says when it was
 * answered last, in ms since created_at; for which op only if its state does not tell, and after how
 * many calls if not after one. Once that is not its try, or the state is not that of it, it says as well
 * when that was answered ("tried", "refused"); and when it joined, if it did ("joined").
 *
 * Outputs come from outside and stand last, verbatim, each announced by its length in its step. So
 * they are cut out before the rest is parsed: neither their depth nor their size counts towards
 * limits that would make a row unreadable which was fit to be written.
 */
static const char outputs_mark[] = ",\"outputs\":[";

/* ---- writing ------------------------------------------------------------ */

/* Members are separated by commas, but the first one is not. */
static void put_name(struct buf *out, const char *name)
{
	if (out->p[out->n - 1] != '{')
		buf_char(out, ',');
	buf_char(out, '"');
	buf_cstr(out, name);
	buf_add(out, "\":", 2);
}

static void put_number(struct buf *out, const char *name, int64_t v)
{
	if (v == 0)
		return;
	put_name(out, name);
	buf_i64(out, v);
}

static void put_word(struct buf *out, const char *name, const char *word)
{
	put_name(out, name);
	buf_char(out, '"');
	buf_cstr(out, word);
	buf_char(out, '"');
}

static void put_flag(struct buf *out, const char *name, bool set)
{
	if (!set)
		return;
	put_name(out, name);
	buf_cstr(out, "true");
}

/* The op that brings a step into its state, or is the first to leave it. */
static enum op usual_op(enum step_state state)
{
	switch (state) {
	case STEP_PENDING:
	case STEP_TRIED:
	case STEP_REFUSED:
	case STEP_UNTRIED:
		return OP_TRY;
	case STEP_CONFIRMED:
		return OP_CONFIRM;
	case STEP_CANCELLED:
		return OP_CANCEL;
	}
	return OP_TRY;
}

/* A person may have confirmed or cancelled it, without an answer. */
static bool is_try_told(const struct note *note, enum step_state state)
{
	return note->op == OP_TRY && usual_op(state) == OP_TRY;
}

void progress_keep_try(struct note *note, enum step_state state)
{
	if (!is_try_told(note, state))
		return;
	note->refused = state == STEP_REFUSED;
	note->tried_at = state == STEP_TRIED || state == STEP_REFUSED ? note->answered_at : 0;
}

/* The state that is not written: an output comes with a try that is ok. */
static enum step_state silent_state(const struct note *note)
{
	return note->output.n > 0 ? STEP_TRIED : STEP_PENDING;
}

/* Clocks of two replicas may differ by a little. */
static void put_since(struct buf *out, const char *name, int64_t at, int64_t created_at)
{
	if (at == 0)
		return;
	put_name(out, name);
	buf_i64(out, at > created_at ? at - created_at : 0);
}

static void put_answered(struct buf *out, const struct step *s, const struct note *note,
                         int64_t created_at)
{
	if (note->answered_at == 0)
		return;
	if (!is_try_told(note, s->state))
		put_since(out, note->refused ? "refused" : "tried", note->tried_at, created_at);
	put_since(out, "answered", note->answered_at, created_at);
	if (note->op != usual_op(s->state))
		put_word(out, "answered_op", op_name(note->op));
	if (note->calls != 1) {
		put_name(out, "calls");
		buf_i64(out, note->calls);
	}
}

static void put_step(struct buf *out, const struct step *s, const struct note *note,
                     int64_t created_at)
{
	buf_char(out, '{');
	if (s->state != silent_state(note))
		put_word(out, "state", step_state_name(s->state));
	put_since(out, "joined", note->joined_at, created_at);
	if (s->stuck != STUCK_NONE)
		put_word(out, "stuck", stuck_name(s->stuck));
	put_flag(out, "ongoing", s->flags & STEP_IS_ONGOING);
	put_flag(out, "resolved", s->flags & STEP_IS_RESOLVED);
	put_flag(out, "skipped", s->flags & STEP_IS_SKIPPED);
	put_number(out, "attempts", s->attempts);
	put_number(out, "misconfigured", s->misconfigured);
	put_number(out, "first_at", s->first_at);
	put_number(out, "next_at", s->next_at);
	put_answered(out, s, note, created_at);
	put_number(out, "status", note->status);
	put_number(out, "error_at", note->at);
	if (note->error.n > 0) {
		put_name(out, "error");
		buf_json(out, note->error);
	}
	put_number(out, "output", (int64_t)note->output.n);
	buf_char(out, '}');
}

static void put_outputs(struct buf *out, const struct note *notes, uint16_t n)
{
	bool first = true;

	for (uint16_t i = 0; i < n; i++) {
		if (notes[i].output.n == 0)
			continue;
		if (first)
			buf_cstr(out, outputs_mark);
		else
			buf_char(out, ',');
		buf_str(out, notes[i].output);
		first = false;
	}
	if (!first)
		buf_char(out, ']');
}

void progress_write(struct buf *out, const struct txn *t, int64_t created_at,
                    const struct note *notes, const struct note *check)
{
	struct note bare = *check;

	bare.output = (struct str){ 0 };
	buf_char(out, '{');
	put_number(out, "start_at", t->start_at);
	put_number(out, "deadline_at", t->deadline_at);
	put_number(out, "stuck_at", t->stuck_at);
	put_number(out, "same_since", (int64_t)t->same_since);
	if (t->cause != CAUSE_NONE) {
		put_word(out, "cause", cause_name(t->cause));
		put_number(out, "cause_step", t->cause_step);
	}
	if (plan_is_checked(t->plan)) {
		put_name(out, "check");
		put_step(out, &t->check, &bare, created_at);
	}
	put_name(out, "steps");
	buf_char(out, '[');
	for (uint16_t i = 0; i < t->step_count; i++) {
		if (i > 0)
			buf_char(out, ',');
		put_step(out, &t->steps[i], &notes[i], created_at);
	}
	buf_char(out, ']');
	put_outputs(out, notes, t->step_count);
	buf_char(out, '}');
}

/* ---- reading ------------------------------------------------------------ */

struct reader {
	struct arena *arena;
	struct err   *err;
	int64_t       created_at;
	bool          failed;
	bool          op_named, state_named; /* of the step that is being read */
};

static void fail(struct reader *r, const char *what)
{
	if (!r->failed)
		err_set(r->err, ERR_INVALID, "the progress of this row cannot be read: %s", what);
	r->failed = true;
}

static int64_t read_number(struct reader *r, const struct json *v, int64_t max)
{
	int64_t n = 0;

	if (!json_i64(v, &n) || n < 0 || n > max) {
		fail(r, "a number is out of range");
		return 0;
	}
	return n;
}

static int find_word(struct reader *r, const struct json *v, const char *(*name)(int i), int count)
{
	if (v->type == JSON_STRING) {
		struct str text = json_text(v, r->arena);

		for (int i = 0; i < count; i++)
			if (str_is(text, name(i)))
				return i;
	}
	fail(r, "a word is unknown");
	return 0;
}

static const char *state_word(int i)
{
	return step_state_name((enum step_state)i);
}

static const char *stuck_word(int i)
{
	return stuck_name((enum stuck)i);
}

static const char *op_word(int i)
{
	return op_name((enum op)i);
}

static const char *cause_word(int i)
{
	return cause_name((enum cause)i);
}

static uint8_t read_flag(struct reader *r, const struct json *v, uint8_t bit)
{
	if (v->type != JSON_TRUE)
		fail(r, "a flag is not true");
	return bit;
}

static void read_error(struct reader *r, const struct json *v, struct note *note)
{
	if (v->type == JSON_STRING)
		note->error = json_text(v, r->arena);
	else
		fail(r, "an error is no text");
}

static void read_since(struct reader *r, const struct json *v, int64_t *at)
{
	if (__builtin_add_overflow(r->created_at, read_number(r, v, INT64_MAX), at))
		fail(r, "a number is out of range");
	else if (*at <= 0) /* 0 would be: never */
		*at = 1;
}

/* False: it is something else. */
static bool read_when(struct reader *r, const struct json *v, struct note *note)
{
	if (str_is(v->key, "answered")) {
		read_since(r, v, &note->answered_at);
	} else if (str_is(v->key, "joined")) {
		read_since(r, v, &note->joined_at);
	} else if (str_is(v->key, "tried")) {
		read_since(r, v, &note->tried_at);
	} else if (str_is(v->key, "refused")) {
		read_since(r, v, &note->tried_at);
		note->refused = true;
	} else {
		return false;
	}
	return true;
}

static void read_member(struct reader *r, const struct json *v, struct step *s, struct note *note)
{
	if (str_is(v->key, "state")) {
		s->state = (enum step_state)find_word(r, v, state_word, STEP_STATE_COUNT);
		r->state_named = true;
	} else if (str_is(v->key, "stuck"))
		s->stuck = (enum stuck)find_word(r, v, stuck_word, STUCK_COUNT);
	else if (str_is(v->key, "ongoing"))
		s->flags |= read_flag(r, v, STEP_IS_ONGOING);
	else if (str_is(v->key, "resolved"))
		s->flags |= read_flag(r, v, STEP_IS_RESOLVED);
	else if (str_is(v->key, "skipped")) /* a version that does not know it forgets it: for people alone */
		s->flags |= read_flag(r, v, STEP_IS_SKIPPED);
	else if (str_is(v->key, "attempts"))
		s->attempts = (uint32_t)read_number(r, v, UINT32_MAX);
	else if (str_is(v->key, "misconfigured"))
		s->misconfigured = (uint16_t)read_number(r, v, UINT16_MAX);
	else if (str_is(v->key, "first_at"))
		s->first_at = read_number(r, v, INT64_MAX);
	else if (str_is(v->key, "next_at"))
		s->next_at = read_number(r, v, INT64_MAX);
	else if (str_is(v->key, "answered_op")) {
		note->op = (enum op)find_word(r, v, op_word, OP_COUNT);
		r->op_named = true;
	} else if (str_is(v->key, "calls"))
		note->calls = (uint32_t)read_number(r, v, UINT32_MAX);
	else if (str_is(v->key, "status"))
		note->status = (int)read_number(r, v, 999);
	else if (str_is(v->key, "error_at"))
		note->at = read_number(r, v, INT64_MAX);
	else if (str_is(v->key, "error"))
		read_error(r, v, note);
	else if (str_is(v->key, "output"))
		note->output.n = (size_t)read_number(r, v, INT32_MAX);
	else if (read_when(r, v, note))
		return;
	/* what else there is a newer version has written */
}

static void read_step(struct reader *r, const struct json *v, struct step *s, struct note *note)
{
	if (v->type != JSON_OBJECT) {
		fail(r, "a step is no object");
		return;
	}
	note->calls = 1;
	r->op_named = r->state_named = false;
	for (const struct json *m = v->first; m != NULL; m = m->next)
		read_member(r, m, s, note);
	if (!r->state_named)
		s->state = silent_state(note);
	if (note->answered_at == 0)
		note->calls = 0;
	if (!r->op_named || note->answered_at == 0)
		note->op = usual_op(s->state);
	progress_keep_try(note, s->state);
}

static void read_steps(struct reader *r, const struct json *v, struct txn *t, struct note *notes)
{
	uint16_t i = 0;

	if (v->type != JSON_ARRAY || v->n != t->step_count) {
		fail(r, "its steps are not those of its definition");
		return;
	}
	for (const struct json *s = v->first; s != NULL; s = s->next, i++)
		read_step(r, s, &t->steps[i], &notes[i]);
}

static void read_top(struct reader *r, const struct json *top, struct txn *t, struct note *notes,
                     struct note *check)
{
	bool has_steps = false;

	for (const struct json *m = top->first; m != NULL; m = m->next) {
		if (str_is(m->key, "start_at"))
			t->start_at = read_number(r, m, INT64_MAX);
		else if (str_is(m->key, "deadline_at"))
			t->deadline_at = read_number(r, m, INT64_MAX);
		else if (str_is(m->key, "stuck_at"))
			t->stuck_at = read_number(r, m, INT64_MAX);
		else if (str_is(m->key, "same_since")) /* a version that does not know it forgets it: people look again */
			t->same_since = (uint64_t)read_number(r, m, INT64_MAX);
		else if (str_is(m->key, "cause"))
			t->cause = (enum cause)find_word(r, m, cause_word, CAUSE_COUNT);
		else if (str_is(m->key, "cause_step"))
			t->cause_step = (uint16_t)read_number(r, m, UINT16_MAX);
		else if (str_is(m->key, "check"))
			read_step(r, m, &t->check, check);
		else if (str_is(m->key, "steps")) {
			read_steps(r, m, t, notes);
			has_steps = true;
		} /* what else there is a newer version has written */
	}
	if (!has_steps)
		fail(r, "it has no steps");
}

/* tail stands right behind the mark and holds what the lengths in the notes announce. */
static void cut_outputs(struct reader *r, struct str tail, struct note *notes, uint16_t n)
{
	bool first = true;

	for (uint16_t i = 0; i < n; i++) {
		struct str *output = &notes[i].output;

		if (output->n == 0)
			continue;
		if (!first && !str_starts(tail, STR(","))) {
			fail(r, "an output is missing");
			return;
		}
		if (!first)
			tail = (struct str){ tail.p + 1, tail.n - 1 };
		if (output->n > tail.n) {
			fail(r, "an output is missing");
			return;
		}
		output->p = tail.p;
		tail = (struct str){ tail.p + output->n, tail.n - output->n };
		if (!json_is_valid(*output))
			fail(r, "an output is not JSON");
		*output = arena_str(r->arena, *output);
		first = false;
	}
	if (!str_is(tail, first ? "" : "]}"))
		fail(r, "something stands behind its outputs");
}

/* The text without outputs, and these; all in the arena. */
static struct json *parse_head(struct reader *r, struct str text, struct str *tail)
{
	const char       *mark = text.n ? memmem(text.p, text.n, outputs_mark, sizeof outputs_mark - 1)
	                                : NULL;
	struct json_error why;
	struct json      *top;

	*tail = (struct str){ 0 };
	if (mark != NULL) {
		size_t head = (size_t)(mark - text.p);
		char  *copy = arena_alloc(r->arena, head + 1);

		memcpy(copy, text.p, head);
		copy[head] = '}';
		*tail = (struct str){ mark + sizeof outputs_mark - 1,
			              text.n - head - (sizeof outputs_mark - 1) };
		text = (struct str){ copy, head + 1 };
	}
	top = json_parse(text, r->arena, &why);
	if (top == NULL || top->type != JSON_OBJECT) {
		fail(r, top == NULL ? why.text : "it is no object");
		return NULL;
	}
	return top;
}

bool progress_read(struct str text, uint16_t format, int64_t created_at, struct arena *arena,
                   struct txn *t, struct note **notes, struct note *check, struct err *err)
{
	struct reader r = { .arena = arena, .err = err, .created_at = created_at };
	struct str    tail;
	const char   *wrong;

	if (format != PROGRESS_FORMAT)
		return err_set(err, ERR_INVALID,
		               "the progress of this row has format %u; this version reads %d",
		               (unsigned)format, PROGRESS_FORMAT);
	t->start_at = t->deadline_at = t->stuck_at = 0;
	t->same_since = 0;
	t->cause = CAUSE_NONE;
	t->cause_step = 0;
	t->check = (struct step){ 0 };
	t->step_count = t->plan->step_count;
	t->steps = arena_array(arena, (size_t)t->step_count + 1, sizeof *t->steps);
	*notes = arena_array(arena, (size_t)t->step_count + 1, sizeof **notes);
	*check = (struct note){ 0 };

	struct json *top = parse_head(&r, text, &tail);
	if (top != NULL) {
		read_top(&r, top, t, *notes, check);
		if (check->output.n > 0)
			fail(&r, "a check has no output");
		if (!r.failed)
			cut_outputs(&r, tail, *notes, t->step_count);
	}
	if (t->same_since > t->version)
		t->same_since = 0;
	if (r.failed)
		return false;
	wrong = txn_check(t);
	if (wrong != NULL)
		return err_set(err, ERR_INVALID, "the progress of this row is impossible: %s", wrong);
	return true;
}
