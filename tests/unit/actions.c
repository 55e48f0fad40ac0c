/* SPDX-License-Identifier: Apache-2.0
 * actions.c - the table of actions against what the core does; with --table it prints the one of docs/actions.md.
 */
#include "tests/unit/txn_words.h"

#include <stdio.h>

static void print_table(void)
{
	printf("| action | of | gid typed |");
	for (int p = 0; p < PHASE_COUNT; p++)
		if (!phase_is_ended((enum phase)p))
			printf(" %s |", phase_name((enum phase)p));
	printf(" ended | what it does | why not elsewhere |\n|---|---|---|---|---|---|---|---|---|---|\n");
	for (int a = 0; a < ACTION_COUNT; a++) {
		const struct action_fact *f = action_fact((enum action)a);

		printf("| `%s` | %s | %s |", f->name, f->of_step ? "a step" : "the whole",
		       a == ACTION_PATCH ? "with a url" : f->is_typed ? "yes" : "no");
		for (int p = 0; p < PHASE_COUNT; p++)
			if (!phase_is_ended((enum phase)p))
				printf(" %s |", f->phases & 1u << p ? "●" : "–");
		printf(" – | %s | %s |\n", f->effect, f->why_not);
	}
}

/* Plans and states as txn_words.h writes them. */
static const char *const STATES[][2] = {
	{ "saga a b<a", "trying .." },        { "saga a b<a", "trying t." },
	{ "saga a b<a", "trying .T." },       { "saga a b<a", "cancelling tu" },
	{ "saga a b<a", "cancelled xu" }, { "saga a b<a", "confirmed tt" },
	{ "saga a b<a", "abandoned t." },     { "saga a b<a", "trying t. paused" },
	{ "tcc a b<a", "confirming tt" },     { "tcc a b<a", "confirming ct" },
	{ "tcc a b<a", "cancelling tt" }, { "open a b", "prepared .t" },
	{ "open a:u", "prepared t" },         { "saga a b:pn<a", "trying t." },
	{ "saga a b:r<a", "confirming t." },  { "message a:r", "prepared ." },
	{ "open a", "prepared . paused" },    { "open a", "prepared . a.next=5000" },
	{ "tcc a", "trying . a.next=5000" },  { "tcc a", "confirming t a.next=5000" },
	{ "tcc a", "cancelling t a.next=5000" }, { "tcc a", "confirming t paused" },
	{ "tcc a", "cancelling t paused" },
};

enum { STATES_N = sizeof STATES / sizeof STATES[0] };

static unsigned accepted_in(struct bench *b, enum action a)
{
	const struct action_fact *f = action_fact(a);
	unsigned                  n = 0;

	for (uint16_t i = 0; i < (f->of_step ? b->t.step_count : 1); i++)
		for (int op = f->of_step ? -1 : 0; op <= (f->of_step ? OP_CANCEL : 0); op++) {
			if (op < 0 && a != ACTION_PATCH)
				continue;
			n += txn_judge(&b->t, WORDS_NOW, a, i, op) == VERDICT_ACCEPTED;
		}
	return n;
}

static void test_table(void)
{
	unsigned seen[ACTION_COUNT] = { 0 };

	for (size_t k = 0; k < STATES_N; k++) {
		struct bench b = { 0 };

		words_plan(&b, STATES[k][0]);
		words_state(&b, STATES[k][1]);
		for (int a = 0; a < ACTION_COUNT; a++) {
			const struct action_fact *f = action_fact((enum action)a);
			unsigned                  n = accepted_in(&b, (enum action)a);

			if (n > 0)
				seen[a] |= 1u << b.t.phase;
			if (n > 0 && !(f->phases & 1u << b.t.phase))
				ok(false, "%s is accepted in \"%s\", against the table", f->name, STATES[k][1]);
		}
	}
	for (int a = 0; a < ACTION_COUNT; a++)
		ok(seen[a] == action_fact((enum action)a)->phases, "%s is accepted in the phases of the table and in no other (%x, %x)",
		   action_fact((enum action)a)->name, seen[a], action_fact((enum action)a)->phases);
}

static enum verdict judge(const char *plan, const char *state, enum action a, uint16_t step, int op)
{
	struct bench b = { 0 };

	words_plan(&b, plan);
	words_state(&b, state);
	return txn_judge(&b.t, WORDS_NOW, a, step, op);
}

static void test_patch(void)
{
	const char *saga = "saga a b<a", *tcc = "tcc a";

	ok(judge(saga, "trying ..", ACTION_PATCH, 0, OP_CANCEL) == VERDICT_UNSAFE, "what can be called may have been tried");
	ok(judge(saga, "trying ..", ACTION_PATCH, 1, OP_CANCEL) == VERDICT_ACCEPTED, "what stands behind it cannot");
	ok(judge(saga, "trying .. start=5000", ACTION_PATCH, 0, OP_CANCEL) == VERDICT_ACCEPTED, "before its start nothing can");
	ok(judge(saga, "trying t.", ACTION_PATCH, 0, OP_CANCEL) == VERDICT_UNSAFE, "what was tried keeps its cancel");
	ok(judge(saga, "cancelling r.", ACTION_PATCH, 0, OP_CANCEL) == VERDICT_UNSAFE, "so does what was refused");
	ok(judge(saga, "cancelling tu", ACTION_PATCH, 1, OP_CANCEL) == VERDICT_ACCEPTED,
	   "what nobody can have tried does not matter");
	ok(judge(saga, "cancelling t.", ACTION_PATCH, 1, OP_CANCEL) == VERDICT_UNSAFE, "an open try counts");
	ok(judge(saga, "cancelling xu", ACTION_PATCH, 0, OP_CANCEL) == VERDICT_NO_STEP, "a cancel that is done");
	ok(judge(saga, "trying t.", ACTION_PATCH, 0, OP_TRY) == VERDICT_NO_STEP, "a try that is done");
	ok(judge(saga, "trying t.", ACTION_PATCH, 1, OP_TRY) == VERDICT_ACCEPTED, "a try that waits may go elsewhere");
	ok(judge(saga, "trying t.", ACTION_PATCH, 1, OP_CONFIRM) == VERDICT_NO_STEP, "a saga's step has no confirm");
	ok(judge(tcc, "trying .", ACTION_PATCH, 0, OP_CONFIRM) == VERDICT_ACCEPTED, "the confirm of a step may go elsewhere");
	ok(judge(tcc, "cancelling t", ACTION_PATCH, 0, OP_CONFIRM) == VERDICT_NO_STEP, "but not after cancel");
	ok(judge(saga, "trying ..", ACTION_PATCH, 7, -1) == VERDICT_NO_STEP, "a step that is not there");
	ok(judge(saga, "confirmed tt", ACTION_PATCH, 0, -1) == VERDICT_ENDED, "an end is an end");
}

static void test_skip(void)
{
	const char *saga = "saga a b<a";

	ok(judge(saga, "trying t.", ACTION_SKIP, 1, OP_TRY) == VERDICT_ACCEPTED, "the call that is waited for can be skipped");
	ok(judge(saga, "trying t.", ACTION_SKIP, 0, OP_TRY) == VERDICT_ALREADY, "what is done is not skipped");
	ok(judge(saga, "trying ..", ACTION_SKIP, 1, OP_TRY) == VERDICT_NO_STEP, "nor one whose turn has not come");
	ok(judge(saga, "trying t.", ACTION_SKIP, 1, OP_CANCEL) == VERDICT_NO_STEP, "nor one that nobody wants");
	ok(judge(saga, "confirmed tt", ACTION_SKIP, 1, OP_CANCEL) == VERDICT_ENDED, "nor anything of what has ended");
	ok(judge("message a:r", "prepared .", ACTION_SKIP, TXN_CHECK, OP_CHECK) == VERDICT_NO_STEP,
	   "a back-check is a decision: confirm or cancel");
}

static void test_events(void)
{
	struct bench b = { 0 };

	words_plan(&b, "saga a b<a");
	words_state(&b, "trying t.");
	b.ev = (struct event){ .kind = EV_ANSWER, .now = WORDS_NOW };
	b.ev.u.answer.step = 1;
	b.ev.u.answer.from = FROM_PERSON;
	b.ev.u.answer.skip = true;
	b.up = (struct update){ .next = { .steps = b.next_steps }, .calls = b.calls };
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.up.next.phase == PHASE_CONFIRMED && b.next_steps[1].flags == STEP_IS_SKIPPED, "a skip is remembered, and is no resolve");
	words_state(&b, "trying t.");
	b.ev = (struct event){ .kind = EV_RELEASE, .now = WORDS_NOW };
	b.up = (struct update){ .next = { .steps = b.next_steps }, .calls = b.calls };
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.up.flags == DO_RELEASE && b.up.call_count == 0 && b.up.next.version == b.t.version,
	   "who gives it away decides and calls nothing more");
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--table") == 0) {
		print_table();
		return 0;
	}
	test_table();
	test_patch();
	test_skip();
	test_events();
	return tap_done();
}
