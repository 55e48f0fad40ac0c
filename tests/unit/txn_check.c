/* SPDX-License-Identifier: Apache-2.0
 * txn_check.c - plans and rows that are refused, words, back-off, limits.
 */
#include "coordinator/core/txn_internal.h"
#include "tests/unit/txn_words.h"

/* ---- plans ------------------------------------------------------------------ */

static const struct {
	const char *plan, *why; /* why it is refused, or NULL */
	int         step;       /* -1: it is about none */
} plans[] = {
	{ "saga a", NULL, 0 },
	{ "saga a b<a c:p<a,b d:r<c e:r<d", NULL, 0 },
	{ "saga a:r b:r<a c", NULL, 0 },
	{ "saga a<b b", NULL, 0 },
	{ "tcc a b:pn c:r", NULL, 0 },
	{ "open", NULL, 0 },
	{ "open a b:u", NULL, 0 },
	{ "message a b<a", NULL, 0 },
	{ "saga initial=3600000 max=86400000 factor=100000 parallel=256 a", NULL, 0 },
	{ "saga", "the plan has no steps", -1 },
	{ "tcc", "the plan has no steps", -1 },
	{ "saga a b<c", "after names a step that does not exist", 1 },
	{ "saga a b<b", "the step stands behind itself", 1 },
	{ "saga a<d b<a c<a d<b e<d f", "the step stands behind itself", 0 },
	{ "saga a b<c c<b,a d<c", "the step stands behind itself", 1 },
	{ "saga a b<a c<b,e d<c e<d", "the step stands behind itself", 2 },
	{ "saga a:p b:p", "the plan has more than one pivot", 1 },
	{ "saga a:p b<a", "a compensatable step stands behind a pivot or a retriable one", 1 },
	{ "saga a:r b<a", "a compensatable step stands behind a pivot or a retriable one", 1 },
	{ "saga a:r b:p<a", "the pivot stands behind a retriable step", 1 },
	{ "saga a b:u", "a step of a definition has a try", 1 },
	{ "saga a b:rk", "a retriable step has an action and nothing else", 1 },
	{ "open a b:p", "a step that joins is compensatable", 1 },
	{ "open a b<a", "a step that joins has no after", 1 },
	{ "message a b:k", "a retriable step has an action and nothing else", 1 },
	{ "saga parallel=0 a", "max_parallel must be 1 to the limit of steps", -1 },
	{ "saga parallel=257 a", "max_parallel must be 1 to the limit of steps", -1 },
	{ "saga a initial=0 b", "the first delay of a retry must be 1 ms to 1 h", 1 },
	{ "saga initial=3600001 a", "the first delay of a retry must be 1 ms to 1 h", 0 },
	{ "saga max=99 a", "the longest delay of a retry must be its first delay to 1 d", 0 },
	{ "saga max=86400001 a", "the longest delay of a retry must be its first delay to 1 d", 0 },
	{ "saga factor=999 a", "the factor of a retry must be 1 to 100", 0 },
	{ "saga factor=100001 a", "the factor of a retry must be 1 to 100", 0 },
	{ "message a factor=999", "the factor of a retry must be 1 to 100", -1 },
};

static bool is_refused(const struct plan *plan, const char *why, int step)
{
	uint16_t    about = 1234;
	const char *said = plan_check(plan, &about);

	if (why == NULL)
		return said == NULL;
	if (said == NULL || strcmp(said, why) != 0) {
		printf("# it said: %s\n", said ? said : "nothing");
		return false;
	}
	return about == (step < 0 ? TXN_CHECK : step);
}

static void check_plans(void)
{
	struct bench b;

	for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
		words_plan(&b, plans[i].plan);
		ok(is_refused(&b.plan, plans[i].why, plans[i].step), "plan \"%s\": %s",
		   plans[i].plan, plans[i].why ? plans[i].why : "is good");
	}
}

/* What the words cannot say. */
static void check_odd_plans(void)
{
	struct bench b;

	words_plan(&b, "saga a b");
	b.plan.open = true;
	ok(is_refused(&b.plan, "a saga is never open", -1), "a saga is never open");
	words_plan(&b, "saga a b");
	b.plan.mode = (enum mode)MODE_COUNT;
	ok(is_refused(&b.plan, "the mode is saga, tcc or message", -1), "a mode of its own");
	words_plan(&b, "saga a b");
	b.plan_steps[1].kind = (enum step_kind)KIND_COUNT;
	ok(is_refused(&b.plan, "a step is compensatable, pivot or retriable", 1),
	   "a kind of its own");
	words_plan(&b, "saga a b");
	b.plan_steps[1].has |= 1u << OP_CHECK;
	ok(is_refused(&b.plan, "a step has a try, a confirm and a cancel, nothing else", 1),
	   "a step with a check");
	words_plan(&b, "message a b");
	b.plan_steps[1].kind = KIND_COMPENSATABLE;
	ok(is_refused(&b.plan, "a message has only retriable steps", 1), "a message with a saga");
	words_plan(&b, "saga a b");
	b.plan_steps[0].joined = true;
	ok(is_refused(&b.plan, "a step joins an open tcc transaction only", 0), "a joined saga");
	words_plan(&b, "tcc a b");
	b.plan_steps[1].joined = true;
	ok(is_refused(&b.plan, "a step joins an open tcc transaction only", 1), "a joined tcc");
	words_plan(&b, "open a b");
	b.plan_steps[1].joined = false;
	ok(is_refused(&b.plan, "an open tcc transaction has only steps that joined", 1),
	   "an open tcc that is defined");
	words_plan(&b, "saga a b");
	b.plan_steps[1].after_at = TXN_EDGES_MAX;
	b.plan_steps[1].after_n = 1;
	ok(is_refused(&b.plan, "the plan has too many edges", 1), "an edge beyond the last");
	b.plan.step_count = TXN_STEPS_MAX + 1;
	ok(is_refused(&b.plan, "the plan has too many steps", -1), "a step beyond the last");
}

/* ---- rows --------------------------------------------------------------------- */

static const struct {
	const char *plan, *row;
	bool        good;
} rows[] = {
	{ "open a b:u", "prepared .t", true },
	{ "open a b:u", "prepared ..", false },
	{ "open a b:u", "prepared rt", false },
	{ "saga a", "prepared .", false },
	{ "open a", "trying .", false },
	{ "message a", "prepared .", true },
	{ "message a", "prepared t", false },
	{ "saga a b<a c:r", "trying t..", true },
	{ "saga a b<a c:r", "trying .t.", false },
	{ "saga a b<a c:r", "trying t.t", false },
	{ "saga a b:p", "trying .t", false },
	{ "saga a b:p", "trying tt", true },
	{ "saga a", "trying t start=5", false },
	{ "saga a", "trying . start=5", true },
	{ "tcc a b:r", "confirming c.", true },
	{ "tcc a b:r", "confirming tt", true },
	{ "tcc a b:r", "confirming .t", false },
	{ "saga a", "confirming c", false },
	{ "tcc a b:r", "confirmed ct", true },
	{ "tcc a b:r", "confirmed tt", false },
	{ "tcc a b:r", "confirmed c.", false },
	{ "saga a", "confirmed t", true },
	{ "tcc a b c d e:r", "cancelling .tru"  "u", true },
	{ "tcc a b c d e:r", "cancelling xxxxu", true },
	{ "tcc a b", "cancelling tc", false },
	{ "tcc a b:r", "cancelling t.", false },
	{ "saga a:n", "cancelling x", false },
	{ "open a:u", "cancelling u", false },
	{ "open a:u", "cancelling t", true },
	{ "tcc a b", "cancelled xu", true },
	{ "tcc a b", "cancelled xt", false },
	{ "saga a b:n c:n d:n", "cancelled x.tr", true },
	{ "open a:u b:u", "cancelled xu", false },
	{ "tcc a b c d e f", "abandoned .trucx", true },
	{ "saga a", "abandoned . a.stuck=4", true },
	{ "saga a", "trying .T", false },
	{ "saga a", "trying . ?", false },
	{ "saga a", "trying . a.stuck=5", false },
	{ "saga a", "trying . a.first=-1", false },
	{ "saga a", "trying . a.next=9000000000000000000", false },
	{ "saga a", "trying . ?.next=-1", false },
	{ "saga a", "trying . start=-1", false },
	{ "saga a", "trying . deadline=-1", false },
};

static void check_rows(void)
{
	struct bench b;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		words_plan(&b, rows[i].plan);
		words_state(&b, rows[i].row);
		ok((txn_check(&b.t) == NULL) == rows[i].good, "row \"%s\" of \"%s\" is %s",
		   rows[i].row, rows[i].plan, rows[i].good ? "good" : "refused");
	}
}

/* Each line breaks one thing of a good row. */
#define REFUSED(what, why)                                                   \
	do {                                                                 \
		words_plan(&b, "saga a b");                                  \
		words_state(&b, "cancelling t.");                            \
		ok(txn_check(&b.t) == NULL, "without that it is good");      \
		what;                                                        \
		ok(txn_check(&b.t) != NULL, "%s is refused", why);           \
	} while (0)

static void check_odd_rows(void)
{
	struct bench b;

	REFUSED(b.t.plan = NULL, "a row without a plan");
	REFUSED(b.t.step_count = 1, "another number of steps");
	REFUSED(b.t.step_count = b.plan.step_count = 257, "a number of steps beyond the limit");
	REFUSED(b.t.version = 0, "a row that was never written");
	REFUSED(b.t.phase = (enum phase)PHASE_COUNT, "a phase of its own");
	REFUSED(b.t.stuck = (enum stuck)STUCK_COUNT, "a reason of its own");
	REFUSED(b.t.cause = (enum cause)CAUSE_COUNT, "a cause of its own");
	REFUSED(b.t.cause = CAUSE_NONE, "a cancel without a cause");
	REFUSED((b.t.phase = PHASE_ABANDONED, b.t.cause = CAUSE_ATTEMPTS, b.t.cause_step = 2),
	        "a cause in no step");
	REFUSED((b.t.cause = CAUSE_REFUSED, b.t.cause_step = 2), "a refusal of no step");
	REFUSED(b.t.stuck_at = -1, "a time before time");
	REFUSED(b.steps[1].state = (enum step_state)STEP_STATE_COUNT, "a state of its own");
	REFUSED(b.steps[1].flags = 16, "a flag of its own");
	REFUSED((b.t.phase = PHASE_CONFIRMING, b.steps[1].state = STEP_TRIED),
	        "a confirm with a cause");
}

/* ---- words ---------------------------------------------------------------------- */

static void check_words(void)
{
#define X(name, text, ended, decided)                                                         \
	ok(strcmp(phase_name(PHASE_##name), text) == 0 &&                                     \
	   phase_is_ended(PHASE_##name) == ended && phase_is_decided(PHASE_##name) == decided, \
	   "phase %s", text);
	TXN_PHASES(X)
#undef X
#define X(name, text) ok(strcmp(mode_name(MODE_##name), text) == 0, "mode %s", text);
	TXN_MODES(X)
#undef X
#define X(name, text) ok(strcmp(op_name(OP_##name), text) == 0, "op %s", text);
	TXN_OPS(X)
#undef X
#define X(name, text) ok(strcmp(step_kind_name(KIND_##name), text) == 0, "kind %s", text);
	STEP_KINDS(X)
#undef X
#define X(name, text) ok(strcmp(outcome_name(OUTCOME_##name), text) == 0, "outcome %s", text);
	TXN_OUTCOMES(X)
#undef X
#define X(name, text) ok(strcmp(step_state_name(STEP_##name), text) == 0, "state %s", text);
	STEP_STATES(X)
#undef X
#define X(name, text, sentence)                                                               \
	ok(strcmp(stuck_name(STUCK_##name), text) == 0 &&                                     \
	   strcmp(stuck_text(STUCK_##name), sentence) == 0, "stuck %s", text);
	TXN_STUCKS(X)
#undef X
#define X(name, text) ok(strcmp(cause_name(CAUSE_##name), text) == 0, "cause %s", text);
	TXN_CAUSES(X)
#undef X
#define X(name, text, sentence)                                                               \
	ok(strcmp(verdict_name(VERDICT_##name), text) == 0 &&                                 \
	   strcmp(verdict_text(VERDICT_##name), sentence) == 0, "verdict %s", text);
	TXN_VERDICTS(X)
#undef X
#define X(name, text, sentence) ok(strcmp(event_name(EV_##name), text) == 0, "event %s", text);
	TXN_EVENTS(X)
#undef X
}

static void check_moves(void)
{
	int moves = 0, listed = 0;

#define X(from, to, text) listed++;
	TXN_MOVES(X)
#undef X
	for (int from = 0; from < PHASE_COUNT; from++)
		for (int to = 0; to < PHASE_COUNT; to++) {
			bool may = txn_may_move((enum phase)from, (enum phase)to);

			moves += may;
			if (may && (phase_is_ended((enum phase)from) ||
			            (phase_is_decided((enum phase)from) &&
			             !phase_is_ended((enum phase)to))))
				ok(false, "%s must not become %s", phase_name((enum phase)from),
				   phase_name((enum phase)to));
		}
	ok(moves == listed, "the table has each legal move once, and no other move is legal");
	ok(!txn_may_move(PHASE_CONFIRMING, PHASE_CANCELLED), "a confirm does not end cancelled");
	ok(!txn_may_move(PHASE_CANCELLING, PHASE_CONFIRMED), "a cancel does not end confirmed");
	ok(txn_move_text(PHASE_CONFIRMED, PHASE_TRYING) == NULL, "no move, no sentence");
}

/* ---- back-off --------------------------------------------------------------------- */

struct delay {
	const char *why, *plan, *step; /* the state of step a before an unknown try */
	const char *answer;
	uint32_t    random;
	int64_t     delay_ms;
};

static const struct delay delays[] = {
	{ "the first delay", "saga a", "", "try a unknown", 0, 100 },
	{ "the second is its double", "saga a", "a.attempts=1", "try a unknown", 0, 200 },
	{ "the fourth", "saga a", "a.attempts=3", "try a unknown", 0, 800 },
	{ "the fifth is capped", "saga a", "a.attempts=4", "try a unknown", 0, 1000 },
	{ "the last that can be counted", "saga a", "a.attempts=4294967295", "try a unknown", 0,
	  1000 },
	{ "a factor of one never grows", "saga factor=1000 a", "a.attempts=4000000000",
	  "try a unknown", 0, 100 },
	{ "a small factor grows slowly", "saga factor=1001 initial=1 max=1000 a",
	  "a.attempts=1000", "try a unknown", 0, 2 },
	{ "a small factor reaches the cap", "saga factor=1001 initial=1 max=86400000 a",
	  "a.attempts=4000000000", "try a unknown", 0, 86400000 },
	{ "full jitter may be next to nothing", "saga jitter=1 a", "", "try a unknown", 0, 1 },
	{ "full jitter may be half of it", "saga jitter=1 a", "", "try a unknown", 1u << 31, 51 },
	{ "full jitter may be all", "saga jitter=1 a", "", "try a unknown", UINT32_MAX, 100 },
	{ "Retry-After is honoured", "saga a", "", "try a unknown after=700", 0, 700 },
	{ "a shorter one does not hurry us", "saga a", "", "try a unknown after=7", 0, 100 },
	{ "a Retry-After of a day is an hour", "saga a", "", "try a unknown after=86400000", 0,
	  3600000 },
	{ "a Retry-After before now is none", "saga a", "", "try a unknown after=-9", 0, 100 },
	{ "ongoing asks again after its interval", "saga a", "", "try a ongoing", 0, 300 },
	{ "ongoing honours Retry-After", "saga a", "", "try a ongoing after=900", 0, 900 },
	{ "ongoing never asks again at once", "saga poll=0 a", "", "try a ongoing", 0, 1 },
	{ "misconfigured counts for itself", "saga a", "a.attempts=3 a.misconfigured=1",
	  "try a misconfigured", 0, 200 },
	{ "misconfigured can be counted to the end", "saga a", "a.misconfigured=65535",
	  "try a misconfigured", 0, 1000 },
};

static void check_delays(void)
{
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		struct bench b;
		char         state[64];

		words_plan(&b, delays[i].plan);
		snprintf(state, sizeof state, "trying .T %s", delays[i].step);
		words_state(&b, state);
		words_event(&b, delays[i].answer);
		b.ev.random = delays[i].random;
		txn_step(&b.t, &b.ev, &b.up);
		if (!ok(b.next_steps[0].next_at == b.now + delays[i].delay_ms, "%s", delays[i].why))
			printf("# it was %lld\n", (long long)(b.next_steps[0].next_at - b.now));
	}
}

/* ---- what rows and walks do not show ------------------------------------------------- */

static void check_fields(void)
{
	struct bench b;

	words_plan(&b, "saga a");
	words_state(&b, "trying .T a.attempts=2 a.misconfigured=1 a.first=900");
	words_play(&b, "try a unknown");
	ok(b.next_steps[0].attempts == 3 && b.next_steps[0].misconfigured == 0 &&
	   b.next_steps[0].first_at == 900, "an unknown counts, and keeps the first failure");
	words_play(&b, "try a ongoing");
	ok(b.next_steps[0].attempts == 2 && b.next_steps[0].misconfigured == 0 &&
	   b.next_steps[0].first_at == 0 && (b.next_steps[0].flags & STEP_IS_ONGOING),
	   "ongoing uses up no attempt and is a sign of life");
	words_play(&b, "try a refused");
	ok(b.up.next.cause == CAUSE_REFUSED && b.up.next.cause_step == 0 &&
	   b.next_steps[0].attempts == 0 && b.next_steps[0].first_at == 0,
	   "the cancel starts with counters of its own");
	words_play(&b, "person try a refused");
	ok(b.next_steps[0].flags == STEP_IS_RESOLVED, "what a person settled is marked");
	words_play(&b, "callback try a refused");
	ok(b.next_steps[0].flags == 0, "what a callback settled is not");
	words_play(&b, "cancel operator");
	ok(b.up.next.cause == CAUSE_OPERATOR, "an operator's cancel says so");
	words_state(&b, "cancelling t");
	words_play(&b, "person cancel a refused");
	ok(b.next_steps[0].flags == 0 && b.next_steps[0].attempts == 1,
	   "a person cannot settle a cancel with a no");
	words_state(&b, "trying .T a.attempts=2");
	words_play(&b, "retry");
	ok(b.next_steps[0].attempts == 0 && b.next_steps[0].flags == STEP_IN_DOUBT,
	   "a retry forgets the count, not the doubt");
	words_state(&b, "trying .T");
	words_play(&b, "retry");
	ok(b.next_steps[0].flags == 0, "a retry makes no doubt");
	words_state(&b, "trying .T a.ongoing a.misconfigured=2");
	words_play(&b, "cancel");
	ok(b.next_steps[0].flags == 0 && b.next_steps[0].misconfigured == 0,
	   "the cancel was not said to be ongoing, nor misconfigured");
	words_state(&b, "trying . ");
	words_play(&b, "stuck poison");
	ok(b.up.next.stuck_at == WORDS_NOW, "since when it is stuck");
	words_apply(&b);
	words_play(&b, "abandon");
	ok(b.up.next.stuck_at == 0 && b.up.next.stuck == STUCK_NONE, "not after the end");
	words_play(&b, "@2000 retry");
	ok(b.up.next.stuck_at == 0 && b.up.next.stuck == STUCK_NONE, "and that it is no more");
}

static void check_causes(void)
{
	struct bench b;

	words_plan(&b, "saga attempts=1 a b");
	words_state(&b, "trying t.T");
	words_play(&b, "try b refused");
	ok(b.up.next.cause == CAUSE_REFUSED && b.up.next.cause_step == 1, "who refused");
	words_play(&b, "try b unknown");
	ok(b.up.next.cause == CAUSE_ATTEMPTS && b.up.next.cause_step == 1, "who never answered");
	words_play(&b, "cancel");
	ok(b.up.next.cause == CAUSE_CLIENT && b.up.next.cause_step == 0, "the client, no step");
	words_plan(&b, "message a");
	words_state(&b, "prepared . ?");
	words_play(&b, "check check refused");
	ok(b.up.next.cause == CAUSE_CHECK && b.up.next.cause_step == 0, "the sender, no step");
	words_plan(&b, "open a:u");
	words_state(&b, "prepared t deadline=1000");
	words_play(&b, "tick");
	ok(b.up.next.cause == CAUSE_DEADLINE && b.up.next.cause_step == 0, "the deadline, no step");
}

/* Nobody may send these, but a row of an inbox may hold them. */
static void check_nonsense(void)
{
	struct bench b;

	words_plan(&b, "saga a");
	words_state(&b, "trying .T");
	words_event(&b, "try a ok");
	b.ev.u.answer.outcome = (enum outcome)OUTCOME_COUNT;
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.next_steps[0].attempts == 1 && b.next_steps[0].state == STEP_PENDING,
	   "an outcome of its own teaches nothing");
	words_event(&b, "callback try a ok");
	b.ev.u.answer.op = (enum op)OP_COUNT;
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.up.verdict == VERDICT_NO_STEP && b.up.flags == 0, "an op of its own is no op");
	words_event(&b, "callback check ? ok");
	b.ev.u.answer.step = 0;
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.up.verdict == VERDICT_NO_STEP && b.up.flags == 0, "a step has no check");
	words_plan(&b, "message a");
	words_state(&b, "prepared . ?");
	words_event(&b, "callback try ? ok");
	txn_step(&b.t, &b.ev, &b.up);
	ok(b.up.verdict == VERDICT_NO_STEP && b.up.flags == 0, "a check has no try");
}

/* What the log must not lose. */
static void check_differs(void)
{
	const struct step old = { .flags = STEP_IS_ONGOING };
	struct step       s = old;

	s.flags |= STEP_IN_DOUBT;
	s.open_op = 1;
	s.next_at = 5;
	ok(!attempt_differs(&old, &s), "doubt, open calls and the next poll are not logged");
	s = (struct step){ .flags = STEP_IS_ONGOING, .state = STEP_TRIED };
	ok(attempt_differs(&old, &s), "the state is");
	s = (struct step){ .flags = STEP_IS_ONGOING, .stuck = STUCK_OVERDUE };
	ok(attempt_differs(&old, &s), "what it is stuck for is");
	s = (struct step){ .flags = 0 };
	ok(attempt_differs(&old, &s), "that it is ongoing is");
	s = (struct step){ .flags = STEP_IS_ONGOING | STEP_IS_RESOLVED };
	ok(attempt_differs(&old, &s), "that a person settled it is");
	s = (struct step){ .flags = STEP_IS_ONGOING, .misconfigured = 1 };
	ok(attempt_differs(&old, &s), "its misconfigured answers are");
	s = (struct step){ .flags = STEP_IS_ONGOING, .attempts = 1 };
	ok(attempt_differs(&old, &s), "its attempts are");
	s = (struct step){ .flags = STEP_IS_ONGOING, .first_at = 1 };
	ok(attempt_differs(&old, &s), "its first failure is");
	s = (struct step){ .next_at = 1 };
	ok(attempt_differs(&(struct step){ .next_at = 0 }, &s), "a back-off is");
}

static void check_wanted(void)
{
	struct bench b;

	words_plan(&b, "tcc a b<a");
	words_state(&b, "trying .T.");
	ok(txn_wanted(&b.t, 0) == OP_TRY && txn_wanted(&b.t, 1) == -1, "a try is waited for");
	ok(txn_wanted(&b.t, 2) == -1 && txn_wanted(&b.t, TXN_CHECK) == -1, "no step, no wait");
	words_state(&b, "trying .. start=5000");
	ok(txn_wanted(&b.t, 0) == -1, "nothing is waited for before the start");
	words_state(&b, "confirming ct paused b.next=9000");
	ok(txn_wanted(&b.t, 0) == -1 && txn_wanted(&b.t, 1) == OP_CONFIRM,
	   "a confirm, paused or not");
	words_state(&b, "cancelling ttT");
	ok(txn_wanted(&b.t, 0) == -1 && txn_wanted(&b.t, 1) == OP_TRY, "an open try comes first");
	words_state(&b, "cancelled xx");
	ok(txn_wanted(&b.t, 1) == -1, "nothing is waited for after the end");
	words_plan(&b, "message a");
	words_state(&b, "prepared . deadline=5000");
	ok(txn_wanted(&b.t, TXN_CHECK) == OP_CHECK && txn_wanted(&b.t, 0) == -1, "a check");
	words_plan(&b, "saga a b:pn");
	words_state(&b, "trying t.");
	ok(txn_in_doubt(&b.t), "a pivot without cancel that may be done is in doubt");
	words_state(&b, "trying t. start=5000");
	ok(!txn_in_doubt(&b.t), "not before the start");
	words_state(&b, "trying ..");
	ok(!txn_in_doubt(&b.t), "not before what it stands behind is ok");
}

/* ---- the largest ------------------------------------------------------------------------ */

static struct plan_step large_steps[TXN_STEPS_MAX + 1];
static struct step      large_old[TXN_STEPS_MAX + 1], large_new[TXN_STEPS_MAX + 1];
static struct call      large_calls[TXN_STEPS_MAX];
static uint16_t         large_edges[TXN_STEPS_MAX];

static struct plan large_plan(uint16_t steps, bool open)
{
	for (uint16_t i = 0; i < steps; i++) {
		large_edges[i] = (uint16_t)(i - 1);
		large_steps[i] = (struct plan_step){ .has = HAS_TRY | HAS_CANCEL, .joined = open,
			.after_at = i, .after_n = i > 0 && !open,
			.retry = { .initial_ms = 1, .max_ms = 1, .factor_milli = 1000 } };
	}
	return (struct plan){ .mode = open ? MODE_TCC : MODE_SAGA, .open = open,
			      .step_count = steps, .max_parallel = 256, .steps = large_steps,
			      .edges = large_edges };
}

static void check_largest(void)
{
	struct plan   plan = large_plan(TXN_STEPS_MAX, true);
	struct txn    t = { .steps = large_old };
	struct update up = { .next.steps = large_new, .calls = large_calls };
	struct event  ev = { .kind = EV_JOIN, .now = WORDS_NOW };
	uint16_t      step, turns = 0;

	txn_init(&t, &plan, 0, 5000);
	txn_step(&t, &ev, &up);
	ok(plan_check(&plan, &step) == NULL && up.verdict == VERDICT_LIMIT && up.call_count == 256,
	   "a transaction with all its steps lets nobody join");

	plan = large_plan(TXN_STEPS_MAX, false);
	txn_init(&t, &plan, 0, 0);
	for (uint16_t i = 0; i < TXN_STEPS_MAX - 1; i++)
		t.steps[i].state = STEP_TRIED;
	ev = (struct event){ .kind = EV_CANCEL, .now = WORDS_NOW,
			     .u.cancel.cause = CAUSE_CLIENT };
	for (txn_step(&t, &ev, &up); up.call_count == 1; txn_step(&t, &ev, &up)) {
		memcpy(large_old, large_new, sizeof large_old);
		t = up.next;
		t.steps = large_old;
		ev = (struct event){ .kind = EV_ANSWER, .now = WORDS_NOW };
		ev.u.answer.step = up.calls[0].step;
		ev.u.answer.op = OP_CANCEL;
		turns = (uint16_t)(turns + (up.calls[0].step == TXN_STEPS_MAX - 1 - turns));
	}
	ok(plan_check(&plan, &step) == NULL && turns == TXN_STEPS_MAX &&
	   up.next.phase == PHASE_CANCELLED, "a chain of all steps is cancelled one by one");
	plan.steps = large_steps;
	large_steps[0].after_n = 1;
	large_edges[0] = TXN_STEPS_MAX - 1;
	ok(is_refused(&plan, "the step stands behind itself", 0), "a ring of all steps is refused");
}

int main(void)
{
	check_plans();
	check_odd_plans();
	check_rows();
	check_odd_rows();
	check_words();
	check_moves();
	check_delays();
	check_fields();
	check_causes();
	check_nonsense();
	check_differs();
	check_wanted();
	check_largest();
	return tap_done();
}
