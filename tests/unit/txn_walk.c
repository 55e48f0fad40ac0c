/* SPDX-License-Identifier: Apache-2.0
 * txn_walk.c - whole lives of transactions, event by event.
 */
#include "tests/unit/txn_words.h"

enum { LINES_MAX = 24, NO_LOOK = -1 };

struct line {
	const char *event, *does;
	int64_t     timer_at; /* NO_LOOK: any */
	const char *after;    /* NULL: any */
};

struct walk {
	const char *why, *plan;
	int64_t     start_at, deadline_at;
	struct line lines[LINES_MAX];
};

static const struct walk orders[] = {
	{ "a saga tries in order, and in parallel where it may, up to its end",
	  "saga a b<a c<a d<b,c", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b) try(c)", NO_LOOK, NULL },
	    { "try c ok", "commit", NO_LOOK, NULL },
	    { "try b ok", "commit try(d)", NO_LOOK, NULL },
	    { "try d ok", "commit finish", 0, "confirmed tttt" } } },
	{ "cancel goes against the order: what stands behind goes first",
	  "saga a b<a c<a d<b", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b) try(c)", NO_LOOK, NULL },
	    { "try b ok", "commit try(d)", NO_LOOK, NULL },
	    { "try c refused", "commit cancel(c)", NO_LOOK, NULL },
	    { "cancel c ok", "commit", NO_LOOK, "cancelling ttx.T" },
	    { "try d unknown", "cancel(d)", NO_LOOK, NULL },
	    { "cancel d ok", "commit cancel(b)", NO_LOOK, NULL },
	    { "cancel b ok", "commit cancel(a)", NO_LOOK, NULL },
	    { "cancel a ok", "commit finish", 0, "cancelled xxxx" } } },
	{ "a step without cancel passes the order on",
	  "saga a b:n<a c:n<b d:p<c", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "try b ok", "commit try(c)", NO_LOOK, NULL },
	    { "try c ok", "commit try(d)", NO_LOOK, NULL },
	    { "try d refused", "commit cancel(d)", NO_LOOK, NULL },
	    { "cancel d ok", "commit cancel(a)", NO_LOOK, NULL },
	    { "cancel a ok", "commit finish", 0, "cancelled xttx" } } },
	{ "the pivot is undone before any compensatable step, said or not",
	  "saga a b c:p<a", 0, 0,
	  { { "resume", "try(a) try(b)", NO_LOOK, NULL },
	    { "try a ok", "commit", NO_LOOK, NULL },
	    { "try b ok", "commit try(c)", NO_LOOK, NULL },
	    { "try c refused", "commit cancel(c)", NO_LOOK, NULL },
	    { "cancel c ok", "commit cancel(b) cancel(a)", 0, "cancelling tXtXx" } } },
	{ "saga and tcc steps, a pivot and retriable ones stand in one definition",
	  "saga a:k b:p<a c:r<b d:r<a", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "try b ok", "commit confirm(a) try(c)", NO_LOOK, NULL },
	    { "try c ok", "commit", NO_LOOK, NULL },
	    { "confirm a ok", "commit try(d)", NO_LOOK, NULL },
	    { "try d ok", "commit finish", 0, "confirmed cttt" } } },
	{ "no more calls than max_parallel are open",
	  "saga parallel=2 a b c d", 0, 0,
	  { { "resume", "try(a) try(b)", 0, NULL },
	    { "try b unknown", "commit try(c)", 1100, NULL },
	    { "@1100 tick", "", 0, "trying .T..T." },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "try c refused", "commit cancel(d)", NO_LOOK, "cancelling t.Tr.X" },
	    { "cancel d ok", "commit cancel(c)", NO_LOOK, NULL } } },
	{ "an open tcc transaction is joined, and confirmed by its caller",
	  "open", 0, 9000,
	  { { "resume", "", 9000, "prepared" },
	    { "join u", "commit accepted", 9000, "prepared t" },
	    { "join", "commit try(b) accepted", NO_LOOK, NULL },
	    { "confirm", "not_ready", NO_LOOK, NULL },
	    { "try b ok", "commit", NO_LOOK, "prepared tt" },
	    { "confirm", "commit confirm(a) confirm(b) accepted", 0, NULL },
	    { "confirm b ok", "commit", NO_LOOK, NULL },
	    { "confirm a ok", "commit finish", 0, "confirmed cc" },
	    { "confirm", "finish already", 0, "confirmed cc" } } },
	{ "what joined last is cancelled first, one after the other",
	  "open", 0, 9000,
	  { { "join u", "commit accepted", NO_LOOK, NULL },
	    { "join u", "commit accepted", NO_LOOK, NULL },
	    { "join", "commit try(c) accepted", NO_LOOK, NULL },
	    { "@9000 tick", "commit", 0, "cancelling tt.T" },
	    { "try c refused", "commit cancel(c)", NO_LOOK, NULL },
	    { "cancel c ok", "commit cancel(b)", NO_LOOK, NULL },
	    { "cancel b ok", "commit cancel(a)", NO_LOOK, NULL },
	    { "cancel a ok", "commit finish", 0, "cancelled xxx" } } },
	{ "a message goes out when its caller says so",
	  "message a b<a", 0, 5000,
	  { { "resume", "", 5000, "prepared .." },
	    { "confirm", "commit try(a) accepted", 0, NULL },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "try b ok", "commit finish", 0, "confirmed tt" } } },
	{ "a message whose caller is silent asks its sender until it knows",
	  "message a", 0, 5000,
	  { { "resume", "", 5000, NULL },
	    { "@5000 tick", "check(?)", 0, "prepared . ?" },
	    { "@5010 check check unknown", "commit", 5110, "prepared ." },
	    { "@5110 tick", "check(?)", 0, NULL },
	    { "check check ongoing", "commit", 5410, NULL },
	    { "@5410 tick", "check(?)", 0, NULL },
	    { "check check ok", "commit try(a)", 0, "confirming .T" },
	    { "callback check ? ok", "already", 0, NULL },
	    { "callback check ? refused", "decided", 0, NULL } } },
	{ "a sender that did not commit may say so twice",
	  "message a", 0, 500,
	  { { "resume", "check(?)", 0, NULL },
	    { "check check refused", "commit finish", 0, "cancelled u" },
	    { "callback check ? refused", "finish already", 0, "cancelled u" } } },
	{ "a delayed message goes out at its time",
	  "message a", 5000, 7000,
	  { { "resume", "", 5000, NULL },
	    { "confirm", "commit accepted", 5000, "confirming ." },
	    { "@5000 tick", "commit try(a)", 0, NULL } } },
};

static const struct walk doubts[] = {
	{ "nothing but its outcome decides about a pivot that may be done",
	  "saga a b:pn<a c:r<b", 0, 2000,
	  { { "resume", "try(a)", 2000, NULL },
	    { "try a ok", "commit try(b)", 0, NULL },
	    { "@2000 tick", "", 0, "trying t.T." },
	    { "cancel", "in_doubt", 0, "trying t.T." },
	    { "try b unknown", "commit", 2100, "trying t.." },
	    { "cancel", "in_doubt", 2100, "trying t.." },
	    { "@2100 tick", "try(b)", 0, NULL },
	    { "try b refused", "commit cancel(a)", 0, "cancelling tXru" } } },
	{ "a pivot in doubt that is done confirms long after the deadline",
	  "saga a b:pn<a c:r<b", 0, 2000,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "@9000 person try b ok", "commit try(c) accepted", 0, "confirming ttT.T" } } },
	{ "a pivot in doubt whose attempts are used up needs a person",
	  "saga attempts=2 a:pn", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a unknown", "commit", 1100, NULL },
	    { "@1100 tick", "try(a)", NO_LOOK, NULL },
	    { "try a unknown", "commit", 0, "trying . attempts" },
	    { "@9000 tick", "", 0, NULL },
	    { "resume adopted", "", 0, NULL },
	    { "retry", "commit try(a) accepted", 0, "trying .T" },
	    { "try a refused bare", "commit", 9100, "trying ." },
	    { "person try a refused", "commit finish accepted", 0, "cancelled r" } } },
	{ "a late ok is recorded first, then cancelled",
	  "saga a b", 0, 2000,
	  { { "resume", "try(a) try(b)", NO_LOOK, NULL },
	    { "@2000 tick", "commit", 0, "cancelling .T.T" },
	    { "try a ok", "commit cancel(a)", 0, "cancelling tX.T" },
	    { "try b unknown", "cancel(b)", 0, "cancelling tX.X" },
	    { "cancel a ok", "commit", NO_LOOK, NULL },
	    { "cancel b ok", "commit finish", 0, "cancelled xx" } } },
	{ "what was adopted may have been tried, and is asked again",
	  "saga a", 0, 0,
	  { { "resume adopted", "try(a)", 0, NULL },
	    { "try a refused bare", "commit", 1100, "trying ." },
	    { "@1100 tick", "try(a)", 0, NULL },
	    { "try a refused", "commit cancel(a)", 0, "cancelling rX" } } },
	{ "what was not sent before is not in doubt",
	  "saga a", 2000, 0,
	  { { "resume adopted", "", 2000, NULL },
	    { "@2000 resume adopted", "commit try(a)", 0, NULL },
	    { "try a refused bare", "commit cancel(a)", 0, "cancelling rX" } } },
	{ "a delayed saga starts at its time, and its deadline counts before",
	  "saga a", 2000, 1500,
	  { { "resume", "", 1500, NULL },
	    { "@1500 tick", "commit finish", 0, "cancelled u" } } },
};

static const struct walk failures[] = {
	{ "attempts of a compensatable step that are used up decide cancel",
	  "saga attempts=2 a b<a", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a ok", "commit try(b)", NO_LOOK, NULL },
	    { "try b unknown", "commit", 1100, NULL },
	    { "@1100 tick", "try(b)", NO_LOOK, NULL },
	    { "try b unknown", "commit cancel(b)", 0, "cancelling t.X" } } },
	{ "attempts of a pivot with cancel that are used up decide cancel",
	  "saga attempts=1 a:p", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a unknown", "commit cancel(a)", 0, "cancelling .X" } } },
	{ "attempts of a retriable step that are used up need a person",
	  "saga attempts=1 a:r", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a unknown", "commit", 0, "confirming . attempts" },
	    { "retry", "commit try(a) accepted", 0, "confirming .T" },
	    { "try a ok", "commit finish", 0, "confirmed t" } } },
	{ "attempts of a check that are used up need a person",
	  "message attempts=1 a", 0, 500,
	  { { "resume", "check(?)", NO_LOOK, NULL },
	    { "check check unknown", "commit", 0, "prepared . attempts" },
	    { "cancel", "commit finish accepted", 0, "cancelled u" } } },
	{ "and its sender may still say confirm: that was not what it was stuck for",
	  "message attempts=1 a", 0, 500,
	  { { "resume", "check(?)", NO_LOOK, NULL },
	    { "check check unknown", "commit", 0, "prepared . attempts" },
	    { "confirm", "commit try(a) accepted", 0, "confirming .T" } } },
	{ "a cancel has no limit of attempts",
	  "saga attempts=1 a", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a refused", "commit cancel(a)", NO_LOOK, NULL },
	    { "cancel a unknown", "commit", 1100, "cancelling r" },
	    { "@1100 tick", "cancel(a)", NO_LOOK, NULL },
	    { "cancel a refused", "commit", 1300, "cancelling r" },
	    { "@1300 tick", "cancel(a)", NO_LOOK, NULL },
	    { "cancel a ok", "commit finish", 0, "cancelled x" } } },
	{ "the third answer in a row outside the contract needs a person",
	  "saga a", 0, 5000,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 1100, "trying ." },
	    { "@1100 tick", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 1300, "trying ." },
	    { "@1300 tick", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 5000, "trying . misconfigured" },
	    { "@2000 tick", "", 5000, NULL },
	    { "@5000 tick", "commit cancel(a)", 0, "cancelling .X" } } },
	{ "another answer between them starts the count again",
	  "saga a", 0, 0,
	  { { "resume", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 1100, NULL },
	    { "@1100 tick", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 1300, NULL },
	    { "@1300 tick", "try(a)", NO_LOOK, NULL },
	    { "try a unknown", "commit", 1400, NULL },
	    { "@1400 tick", "try(a)", NO_LOOK, NULL },
	    { "try a misconfigured", "commit", 1500, "trying ." } } },
	{ "a step that fails for too long is overdue, and slow retries go on",
	  "tcc overdue=1000 max=800 a", 0, 0,
	  { { "resume", "try(a)", 0, NULL },
	    { "try a ok", "commit confirm(a)", 0, NULL },
	    { "confirm a unknown", "commit", 1100, NULL },
	    { "@1900 tick", "confirm(a)", 2000, NULL },
	    { "@2000 tick", "commit", 0, "confirming tC overdue" },
	    { "confirm a unknown", "commit", 2200, "confirming t overdue" },
	    { "@2200 tick", "confirm(a)", 0, NULL },
	    { "confirm a ok", "commit finish", 0, "confirmed c" } } },
	{ "a sign of life is no success, but not overdue either",
	  "saga overdue=1000 a", 0, 0,
	  { { "resume", "try(a)", 0, NULL },
	    { "try a unknown", "commit", 1100, NULL },
	    { "@2100 tick", "commit try(a)", 0, "trying .T overdue" },
	    { "try a ongoing", "commit", 2400, "trying ." },
	    { "@2400 tick", "try(a)", 0, NULL },
	    { "try a ongoing after=2000", "", 4400, "trying ." },
	    { "@4400 tick", "try(a)", 0, NULL } } },
	{ "a check is overdue like any call",
	  "message overdue=1000 a", 0, 1000,
	  { { "resume", "check(?)", 0, NULL },
	    { "check check unknown", "commit", 1100, NULL },
	    { "@2000 tick", "commit check(?)", 0, "prepared . ? overdue" } } },
	{ "what is gone stays unconfirmed until a person retries or knows",
	  "tcc a", 0, 0,
	  { { "resume", "try(a)", 0, NULL },
	    { "try a ok", "commit confirm(a)", 0, NULL },
	    { "confirm a misconfigured gone", "commit", 0, "confirming t gone" },
	    { "@99999 tick", "", 0, NULL },
	    { "person confirm a ok", "commit finish accepted", 0, "confirmed c" } } },
	{ "the worst of its steps is what it is stuck for",
	  "tcc a b attempts=1 c:r", 0, 0,
	  { { "resume", "try(a) try(b)", 0, NULL },
	    { "try a ok", "commit", 0, NULL },
	    { "try b ok", "commit confirm(a) confirm(b) try(c)", 0, NULL },
	    { "try c unknown", "commit", 0, "confirming tCtC. attempts" },
	    { "confirm b refused gone", "commit", 0, "confirming tCt. gone" },
	    { "confirm a ok", "commit", 0, "confirming ct. gone" },
	    { "person confirm b ok", "commit accepted", 0, "confirming cc. attempts" },
	    { "callback try c ok", "commit finish accepted", 0, "confirmed cct" } } },
	{ "a paused transaction calls nobody and lets no time decide, but answers count",
	  "saga a b<a", 0, 3000,
	  { { "resume", "try(a)", 3000, NULL },
	    { "pause", "commit accepted", 0, "trying .T. paused" },
	    { "@4000 tick", "", 0, NULL },
	    { "try a refused", "commit", 0, "cancelling ru paused" },
	    { "unpause", "commit cancel(a) accepted", 0, "cancelling rXu" } } },
	{ "a poisoned row calls nobody until a person retries",
	  "saga a b<a", 0, 3000,
	  { { "resume", "try(a)", 3000, NULL },
	    { "stuck poison", "commit", 0, "trying .T. poison" },
	    { "@4000 try a ok", "commit", 0, "trying t. poison" },
	    { "unpause", "already", 0, NULL },
	    { "stuck bad_row", "commit", 0, "trying t. bad_row" },
	    { "retry", "commit cancel(b) accepted", 0, "cancelling t.X" } } },
};

static void play_line(struct bench *b, const struct line *l, bool *passed)
{
	char after[128];

	words_play(b, l->event);
	words_of_state(&b->up.next, after);
	if (strcmp(b->text, l->does) != 0 || (l->after && strcmp(after, l->after) != 0) ||
	    (l->timer_at != NO_LOOK && b->up.timer_at != l->timer_at)) {
		printf("# %s: does \"%s\", timer %lld, is \"%s\"\n", l->event, b->text,
		       (long long)b->up.timer_at, after);
		*passed = false;
	}
	words_apply(b);
}

static void play_walks(const struct walk *walks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct bench b;
		bool         passed = true;
		uint16_t     step;

		words_plan(&b, walks[i].plan);
		b.t.steps = b.steps;
		txn_init(&b.t, &b.plan, walks[i].start_at, walks[i].deadline_at);
		passed = plan_check(&b.plan, &step) == NULL && txn_check(&b.t) == NULL;
		for (int k = 0; k < LINES_MAX && walks[i].lines[k].event; k++)
			play_line(&b, &walks[i].lines[k], &passed);
		ok(passed, "%s", walks[i].why);
	}
}

int main(void)
{
	play_walks(orders, sizeof orders / sizeof orders[0]);
	play_walks(doubts, sizeof doubts / sizeof doubts[0]);
	play_walks(failures, sizeof failures / sizeof failures[0]);
	return tap_done();
}
