/* SPDX-License-Identifier: Apache-2.0
 * txn_words.h - transactions, events and updates as text, so that tests read as sentences.
 *
 *   plan    "saga a b<a p:pn<a,b r:r<p"  modes saga, tcc, open (tcc whose steps joined), message;
 *           after ':' p pivot, r retriable, n no cancel, k confirm too, u its caller tries it;
 *           before the steps parallel=N, overdue=N, attempts=N, jitter=1, initial=N, poll=N, …
 *   state   "trying tt.Tr"  a state letter per step (. pending, t tried, r refused, u untried,
 *           c confirmed, x cancelled), with T, C or X behind it a try, confirm or cancel is open;
 *           then words: ? (an open check), paused, poison, deadline=N, start=N, b.attempts=N, …
 *   event   "try b ok", "callback try b refused", "person cancel a ok", "cancel", "confirm later" (in 3 s), "@1500 tick", …
 *   update  "commit try(b) cancel(a) finish accepted"
 */
#ifndef TESTS_UNIT_TXN_WORDS_H
#define TESTS_UNIT_TXN_WORDS_H

#include "coordinator/core/txn.h"
#include "tests/lib/tap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_NOW = 1000, WORDS_STEPS = 16 };

struct bench {
	struct plan      plan, grown;
	struct plan_step plan_steps[WORDS_STEPS + 1];
	uint16_t         edges[WORDS_STEPS * WORDS_STEPS];
	struct txn       t;
	struct step      steps[WORDS_STEPS + 1];
	struct retry     retry; /* of the steps, and of the check */
	uint32_t         poll_ms;
	struct event     ev;
	struct update    up;
	struct step      next_steps[WORDS_STEPS + 1];
	struct call      calls[WORDS_STEPS + 1];
	int64_t          now;
	char             text[256]; /* of the last update */
};

static inline void words_fail(const char *what, const char *text)
{
	fprintf(stderr, "# a test speaks badly: %s in \"%s\"\n", what, text);
	abort();
}

/* Takes the next word; false at the end. */
static inline bool words_next(const char **at, char word[static 64])
{
	size_t n;

	*at += strspn(*at, " ");
	n = strcspn(*at, " ");
	if (n == 0)
		return false;
	if (n >= 64)
		words_fail("long word", *at);
	memcpy(word, *at, n);
	word[n] = '\0';
	*at += n;
	return true;
}

static inline uint16_t words_step(char name)
{
	if (name < 'a' || name >= 'a' + WORDS_STEPS)
		words_fail("step name", (char[]){ name, '\0' });
	return (uint16_t)(name - 'a');
}

/* ---- plans ----------------------------------------------------------------- */

static inline struct plan_step words_plan_step(const struct bench *b)
{
	const struct plan *plan = &b->plan;
	struct plan_step   ps = { .has = HAS_TRY | HAS_CANCEL, .poll_ms = b->poll_ms,
				   .retry = b->retry };

	if (plan->mode == MODE_TCC)
		ps.has |= HAS_CONFIRM;
	if (plan->mode == MODE_MESSAGE) {
		ps.kind = KIND_RETRIABLE;
		ps.has = HAS_TRY;
	}
	ps.joined = plan->open && plan->mode == MODE_TCC;
	return ps;
}

static inline void words_plan_flag(struct plan_step *ps, char flag)
{
	if (flag == 'p') {
		ps->kind = KIND_PIVOT;
	} else if (flag == 'r') {
		ps->kind = KIND_RETRIABLE;
		ps->has = HAS_TRY;
	} else if (flag == 'n') {
		ps->has &= ~(unsigned)HAS_CANCEL;
	} else if (flag == 'k') {
		ps->has |= HAS_CONFIRM;
	} else if (flag == 'u') {
		ps->has &= ~(unsigned)HAS_TRY;
	} else {
		words_fail("step flag", (char[]){ flag, '\0' });
	}
}

static inline void words_plan_option(struct bench *b, const char *word)
{
	uint32_t value = (uint32_t)atoi(strchr(word, '=') + 1);

	if (strncmp(word, "parallel=", 9) == 0)
		b->plan.max_parallel = (uint16_t)value;
	else if (strncmp(word, "overdue=", 8) == 0)
		b->plan.stuck_after_ms = value;
	else if (strncmp(word, "attempts=", 9) == 0)
		b->retry.attempts = value;
	else if (strncmp(word, "initial=", 8) == 0)
		b->retry.initial_ms = value;
	else if (strncmp(word, "max=", 4) == 0)
		b->retry.max_ms = value;
	else if (strncmp(word, "factor=", 7) == 0)
		b->retry.factor_milli = value;
	else if (strncmp(word, "poll=", 5) == 0)
		b->poll_ms = value;
	else if (strncmp(word, "jitter=", 7) == 0)
		b->retry.jitter = value != 0;
	else if (strncmp(word, "check=", 6) == 0)
		b->plan.has_check = value != 0;
	else
		words_fail("plan option", word);
	b->plan.check_retry = b->retry;
}

static inline void words_plan_step_of(struct bench *b, const char *word, uint16_t *edges)
{
	struct plan_step *ps = &b->plan_steps[b->plan.step_count++];
	const char       *p = word + 1;

	if (words_step(word[0]) != b->plan.step_count - 1)
		words_fail("steps are named a, b, c and so on", word);
	*ps = words_plan_step(b);
	ps->after_at = *edges;
	if (*p == ':')
		while (*++p != '\0' && *p != '<')
			words_plan_flag(ps, *p);
	for (; *p != '\0'; p += 2) /* "<a,b" */
		b->edges[(*edges)++] = words_step(p[1]);
	ps->after_n = (uint16_t)(*edges - ps->after_at);
}

static inline void words_plan(struct bench *b, const char *text)
{
	struct plan *plan = &b->plan;
	uint16_t     edges = 0;
	char         word[64];

	memset(b, 0, sizeof *b);
	b->now = WORDS_NOW;
	b->up.next.steps = b->next_steps;
	b->up.calls = b->calls;
	b->poll_ms = 300;
	b->retry = (struct retry){ .initial_ms = 100, .max_ms = 1000, .factor_milli = 2000 };
	*plan = (struct plan){ .max_parallel = TXN_STEPS_MAX, .check_retry = b->retry,
			       .check_poll_ms = 300, .steps = b->plan_steps, .edges = b->edges };
	if (!words_next(&text, word))
		words_fail("no mode", text);
	plan->mode = word[0] == 's' ? MODE_SAGA : word[0] == 'm' ? MODE_MESSAGE : MODE_TCC;
	plan->open = word[0] == 'o' || word[0] == 'm';
	while (words_next(&text, word)) {
		if (strchr(word, '=') != NULL)
			words_plan_option(b, word);
		else
			words_plan_step_of(b, word, &edges);
	}
}

/* ---- states ----------------------------------------------------------------- */

static const char words_states[] = ".trucx", words_ops[] = "TCX?";

static inline void words_set(struct bench *b, const char *word)
{
	struct txn  *t = &b->t;
	const char  *eq = strchr(word, '=');
	int64_t      value = eq ? atoll(eq + 1) : 0;
	struct step *s = &t->check;

	if (strcmp(word, "?") == 0) {
		t->check.open_op = 1 + OP_CHECK;
	} else if (strcmp(word, "paused") == 0) {
		t->paused = true;
	} else if (strcmp(word, "poison") == 0) {
		t->stuck = STUCK_POISON;
	} else if (strncmp(word, "deadline=", 9) == 0) {
		t->deadline_at = value;
	} else if (strncmp(word, "start=", 6) == 0) {
		t->start_at = value;
	} else if (strchr(word, '.') != NULL) {
		if (word[0] != '?')
			s = &t->steps[words_step(word[0])];
		if (strncmp(word + 2, "attempts", 8) == 0)
			s->attempts = (uint32_t)value;
		else if (strncmp(word + 2, "misconfigured", 13) == 0)
			s->misconfigured = (uint16_t)value;
		else if (strncmp(word + 2, "first", 5) == 0)
			s->first_at = value;
		else if (strncmp(word + 2, "next", 4) == 0)
			s->next_at = value;
		else if (strncmp(word + 2, "off", 3) == 0)
			s->put_off_until = value;
		else if (strncmp(word + 2, "stuck", 5) == 0)
			s->stuck = (enum stuck)value;
		else if (strcmp(word + 2, "ongoing") == 0)
			s->flags |= STEP_IS_ONGOING;
		else if (strcmp(word + 2, "doubt") == 0)
			s->flags |= STEP_IN_DOUBT;
		else
			words_fail("what is set", word);
	} else {
		words_fail("what is set", word);
	}
}

static inline enum phase words_phase(const char *word)
{
	for (int i = 0; i < PHASE_COUNT; i++)
		if (strcmp(word, phase_name((enum phase)i)) == 0)
			return (enum phase)i;
	words_fail("phase", word);
	return PHASE_PREPARED;
}

static inline void words_state(struct bench *b, const char *text)
{
	const char *p, *whole = text;
	char        word[64];

	b->t = (struct txn){ .plan = &b->plan, .version = 1, .steps = b->steps,
			     .step_count = b->plan.step_count };
	memset(b->steps, 0, sizeof b->steps);
	words_next(&text, word);
	b->t.phase = words_phase(word);
	if (b->t.phase == PHASE_CANCELLING || b->t.phase == PHASE_CANCELLED)
		b->t.cause = CAUSE_CLIENT;
	text += strspn(text, " ");
	for (uint16_t i = 0; i < b->t.step_count; i++) {
		p = *text ? strchr(words_states, *text) : NULL;
		if (p == NULL)
			words_fail("state", whole);
		b->steps[i].state = (enum step_state)(p - words_states);
		text++;
		if (*text && (p = strchr("TCX", *text)) != NULL) {
			b->steps[i].open_op = (uint8_t)(1 + (p - "TCX"));
			text++;
		}
	}
	while (words_next(&text, word))
		words_set(b, word);
}

static inline const char *words_of_state(const struct txn *t, char out[static 128])
{
	size_t n = (size_t)snprintf(out, 128, "%s ", phase_name(t->phase));

	for (uint16_t i = 0; i < t->step_count; i++) {
		out[n++] = words_states[t->steps[i].state];
		if (t->steps[i].open_op)
			out[n++] = words_ops[t->steps[i].open_op - 1];
	}
	if (t->check.open_op) {
		out[n++] = ' ';
		out[n++] = '?';
	}
	if (t->paused)
		n += (size_t)snprintf(out + n, 128 - n, " paused");
	if (t->stuck)
		n += (size_t)snprintf(out + n, 128 - n, " %s", stuck_name(t->stuck));
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	return out;
}

/* ---- events ------------------------------------------------------------------- */

#define WORDS_FIND(what, count)                                             \
	static inline int words_##what(const char *word)                    \
	{                                                                   \
		for (int i = 0; i < (count); i++)                           \
			if (strcmp(word, what##_name((enum what)i)) == 0)   \
				return i;                                   \
		return -1;                                                  \
	}
#define event_kind_name event_name
WORDS_FIND(event_kind, EVENT_COUNT)
WORDS_FIND(op, OP_COUNT)
WORDS_FIND(outcome, OUTCOME_COUNT)

static inline void words_answer(struct event *ev, enum op op, const char *step, const char **text)
{
	char word[64];

	ev->kind = EV_ANSWER;
	ev->u.answer.op = op;
	ev->u.answer.step = strcmp(step, "check") == 0 || strcmp(step, "?") == 0
	                            ? (uint16_t)TXN_CHECK : words_step(step[0]);
	if (!words_next(text, word) || words_outcome(word) < 0)
		words_fail("outcome", *text);
	ev->u.answer.outcome = (enum outcome)words_outcome(word);
	while (words_next(text, word)) {
		if (strcmp(word, "bare") == 0)
			ev->u.answer.bare_conflict = true;
		else if (strcmp(word, "gone") == 0)
			ev->u.answer.gone = true;
		else if (strncmp(word, "after=", 6) == 0)
			ev->u.answer.retry_after_ms = atoll(word + 6);
		else
			words_fail("end of an answer", word);
	}
}

/* "put_off a try 1500 failing": the call was not made. */
static inline void words_put_off(struct event *ev, const char *step, const char **text)
{
	char word[64];

	ev->kind = EV_PUT_OFF;
	ev->u.put_off.step = strcmp(step, "check") == 0 ? (uint16_t)TXN_CHECK : words_step(step[0]);
	if (!words_next(text, word) || words_op(word) < 0)
		words_fail("op", *text);
	ev->u.put_off.op = (enum op)words_op(word);
	if (!words_next(text, word))
		words_fail("time", *text);
	ev->u.put_off.until = atoll(word);
	ev->u.put_off.failing = words_next(text, word);
}

/* A join adds a step that the coordinator calls, "join u" one that its caller calls. */
static inline void words_join(struct bench *b, struct event *ev, const char *how)
{
	struct plan_step *ps = &b->plan_steps[b->plan.step_count];

	b->grown = b->plan;
	*ps = words_plan_step(b);
	if (how[0] == 'u')
		ps->has &= ~(unsigned)HAS_TRY;
	b->grown.step_count++;
	ev->u.join.plan = &b->grown;
}

/* "patch a": its retries or time-out. */
static inline void words_patch(struct bench *b, struct event *ev, const char *how)
{
	b->grown = b->plan;
	ev->u.patch.plan = &b->grown;
	ev->u.patch.step = words_step(how[0]);
	ev->u.patch.moved = -1;
}

static inline void words_command(struct bench *b, struct event *ev, const char *first,
                                 const char *how)
{
	if (words_event_kind(first) < 0)
		words_fail("event", first);
	ev->kind = (enum event_kind)words_event_kind(first);
	if (ev->kind == EV_CONFIRM && how[0] != '\0')
		ev->u.confirm.start_at = b->now + 3000;
	else if (ev->kind == EV_CANCEL)
		ev->u.cancel.cause = how[0] == 'o' ? CAUSE_OPERATOR : CAUSE_CLIENT;
	else if (ev->kind == EV_STUCK)
		ev->u.stuck.stuck = how[0] == 'b' ? STUCK_BAD_ROW : STUCK_POISON;
	else if (ev->kind == EV_RESUME)
		ev->u.resume.adopted = how[0] == 'a';
	else if (ev->kind == EV_JOIN)
		words_join(b, ev, how);
	else if (ev->kind == EV_PATCH)
		words_patch(b, ev, how);
}

static inline void words_event(struct bench *b, const char *text)
{
	struct event *ev = &b->ev;
	char          first[64], second[64] = "";

	memset(ev, 0, sizeof *ev);
	words_next(&text, first);
	if (first[0] == '@') {
		b->now = atoll(first + 1);
		words_next(&text, first);
	}
	ev->now = b->now;
	if (strcmp(first, "callback") == 0 || strcmp(first, "person") == 0) {
		ev->u.answer.from = first[0] == 'c' ? FROM_CALLBACK : FROM_PERSON;
		words_next(&text, first);
	}
	words_next(&text, second);
	if (strcmp(first, "put_off") == 0)
		words_put_off(ev, second, &text);
	else if (words_op(first) >= 0 && second[0] != '\0' && strcmp(second, "operator") != 0 && strcmp(second, "later") != 0)
		words_answer(ev, (enum op)words_op(first), second, &text);
	else
		words_command(b, ev, first, second);
}

/* ---- updates -------------------------------------------------------------------- */

static inline bool words_has_verdict(const struct event *ev)
{
	switch (ev->kind) {
	case EV_ANSWER:
		return ev->u.answer.from != FROM_CALL;
	case EV_RESUME:
	case EV_TICK:
	case EV_PUT_OFF:
	case EV_ROOM:
	case EV_STUCK:
		return false;
	case EV_CONFIRM:
	case EV_CANCEL:
	case EV_JOIN:
	case EV_PAUSE:
	case EV_UNPAUSE:
	case EV_RETRY:
	case EV_PATCH:
	case EV_RELEASE:
	case EV_ABANDON:
		break;
	}
	return true;
}

static inline void words_of_update(struct bench *b)
{
	const struct update *up = &b->up;
	char                *p = b->text, *end = b->text + sizeof b->text;

	*p = '\0';
	if (up->flags & DO_COMMIT)
		p += snprintf(p, (size_t)(end - p), " commit");
	for (uint16_t k = 0; k < up->call_count; k++)
		p += snprintf(p, (size_t)(end - p), " %s(%c)", op_name(up->calls[k].op),
		              up->calls[k].step == TXN_CHECK ? '?' : 'a' + up->calls[k].step);
	if (up->flags & DO_RELEASE)
		p += snprintf(p, (size_t)(end - p), " release");
	if (up->flags & DO_FINISH)
		p += snprintf(p, (size_t)(end - p), " finish");
	if (words_has_verdict(&b->ev))
		p += snprintf(p, (size_t)(end - p), " %s", verdict_name(up->verdict));
	if (b->text[0] == ' ')
		memmove(b->text, b->text + 1, strlen(b->text));
}

/* The event happens; b->up and b->text say what follows. */
static inline void words_play(struct bench *b, const char *event)
{
	words_event(b, event);
	txn_step(&b->t, &b->ev, &b->up);
	words_of_update(b);
}

/* What the engine does once the commit is known to be done. */
static inline void words_apply(struct bench *b)
{
	if (b->t.plan != b->up.next.plan) {
		b->plan = b->grown;
		b->up.next.plan = &b->plan;
	}
	b->t = b->up.next;
	b->t.steps = b->steps;
	memcpy(b->steps, b->next_steps, sizeof b->steps);
}

#endif
