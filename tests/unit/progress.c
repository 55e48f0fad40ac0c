/* SPDX-License-Identifier: Apache-2.0
 * progress.c - what is written of a transaction is read back as it was, and nothing else is accepted.
 */
#include "coordinator/engine/progress.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

#define BORN 1700000000000

static const struct plan_step plan_steps[] = {
	{ .kind = KIND_COMPENSATABLE, .has = HAS_TRY | HAS_CANCEL },
	{ .kind = KIND_COMPENSATABLE, .has = HAS_TRY | HAS_CONFIRM | HAS_CANCEL },
	{ .kind = KIND_RETRIABLE, .has = HAS_TRY },
};
static const struct plan two_steps = { .mode = MODE_SAGA, .step_count = 2, .max_parallel = 1,
				       .steps = plan_steps };
static const struct plan three_steps = { .mode = MODE_SAGA, .step_count = 3, .max_parallel = 1,
					 .steps = plan_steps };
static const struct plan_step message_step = { .kind = KIND_RETRIABLE, .has = HAS_TRY };
static const struct plan message = { .mode = MODE_MESSAGE, .open = true, .step_count = 1,
				     .max_parallel = 1, .steps = &message_step };
static const struct note no_note;

static bool same_step(const struct step *a, const struct step *b)
{
	return a->state == b->state && a->stuck == b->stuck && a->flags == b->flags &&
	       a->attempts == b->attempts && a->misconfigured == b->misconfigured &&
	       a->first_at == b->first_at && a->next_at == b->next_at && b->open_op == 0;
}

static bool same_note(const struct note *written, enum step_state state, const struct note *b)
{
	struct note want = *written, *a = &want;

	progress_keep_try(a, state);
	return str_eq(a->output, b->output) && str_eq(a->error, b->error) &&
	       a->status == b->status && a->at == b->at && a->answered_at == b->answered_at &&
	       a->calls == b->calls && (a->answered_at == 0 || a->op == b->op) &&
	       a->tried_at == b->tried_at && a->refused == b->refused && a->joined_at == b->joined_at;
}

static bool same(const struct txn *t, const struct note *notes, const struct note *check, struct str text)
{
	struct arena arena = { 0 };
	struct txn   back = { .plan = t->plan, .version = t->version, .phase = t->phase,
			      .stuck = t->stuck, .paused = t->paused };
	struct note *back_notes, back_check;
	struct err   err = { .text = "" };
	bool         good = progress_read(text, PROGRESS_FORMAT, BORN, &arena, &back, &back_notes, &back_check, &err);

	if (!good)
		printf("# %s\n", err.text);
	good = good && back.start_at == t->start_at && back.deadline_at == t->deadline_at &&
	       back.stuck_at == t->stuck_at && back.same_since == t->same_since && back.cause == t->cause &&
	       back.cause_step == t->cause_step && same_step(&t->check, &back.check) &&
	       same_note(check, t->check.state, &back_check) && back.step_count == t->step_count;
	for (uint16_t i = 0; good && i < t->step_count; i++)
		good = same_step(&t->steps[i], &back.steps[i]) && same_note(&notes[i], t->steps[i].state, &back_notes[i]);
	arena_fini(&arena);
	return good;
}

static void test_fresh(void)
{
	struct step steps[2];
	struct note notes[2] = { 0 };
	struct txn  t = { .steps = steps };
	struct buf  out = { 0 };

	txn_init(&t, &two_steps, 0, 0);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(str_is(buf_view(&out), "{\"steps\":[{},{}]}"), "a fresh saga is written in a few bytes: %s", out.p);
	ok(same(&t, notes, &no_note, buf_view(&out)), "and read back");
	buf_fini(&out);
}

static void test_full(void)
{
	struct step steps[3] = {
		{ .state = STEP_TRIED, .stuck = STUCK_ATTEMPTS, .flags = STEP_IS_ONGOING | STEP_IS_RESOLVED,
		  .misconfigured = 2, .attempts = 4000000000u, .first_at = 1700000000001, .next_at = 1700000000002 },
		{ .state = STEP_REFUSED },
		{ .state = STEP_UNTRIED },
	};
	struct note notes[3] = {
		{ .output = STR("{\"n\": 1.10000000000000000000000001 , \"s\":\",\\\"outputs\\\":[\"}"),
		  .answered_at = BORN + 5, .calls = 1, .op = OP_TRY },
		{ .error = STR("say \"no\" \\ \n \xc3\xa9,\"outputs\":["), .status = 422, .at = 1700000000003,
		  .answered_at = BORN, .calls = 7, .op = OP_CANCEL },
		{ .output = STR("[]") },
	};
	struct txn t = { .plan = &three_steps, .version = 9, .phase = PHASE_CANCELLING,
			 .stuck = STUCK_ATTEMPTS, .paused = true, .cause = CAUSE_REFUSED, .cause_step = 1,
			 .same_since = 4, .stuck_at = 5, .start_at = 0, .deadline_at = 7, .step_count = 3, .steps = steps };
	struct buf out = { 0 };

	progress_write(&out, &t, BORN, notes, &no_note);
	ok(same(&t, notes, &no_note, buf_view(&out)), "every member and both outputs come back: %s", out.p);
	ok(strstr(out.p, "1.10000000000000000000000001 ,") != NULL, "an output is kept as it was written");
	buf_fini(&out);
}

/* What nearly every row has is a few bytes a step. */
static void test_answered(void)
{
	struct step steps[2] = { { .state = STEP_TRIED }, { .state = STEP_CONFIRMED } };
	struct note notes[2] = { { .answered_at = BORN + 12, .calls = 1, .op = OP_TRY },
		                 { .answered_at = BORN + 30, .calls = 1, .op = OP_CONFIRM } };
	struct txn  t = { .plan = &two_steps, .version = 2, .phase = PHASE_CONFIRMING,
		          .step_count = 2, .steps = steps };
	struct buf  out = { 0 };

	progress_write(&out, &t, BORN, notes, &no_note);
	ok(str_is(buf_view(&out), "{\"steps\":[{\"state\":\"tried\",\"answered\":12},"
	                          "{\"state\":\"confirmed\",\"answered\":30}]}"),
	   "one call each that ended well tells its time alone: %s", out.p);
	notes[0].output = notes[1].output = STR("{}");
	steps[1].state = STEP_TRIED;
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(strstr(out.p, "state") == NULL && same(&t, notes, &no_note, buf_view(&out)),
	   "an output says that the try was ok: %s", out.p);
	t.phase = PHASE_TRYING;
	steps[0].state = STEP_PENDING;
	steps[1].state = STEP_PENDING;
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(same(&t, notes, &no_note, buf_view(&out)), "and where that is not so, the state does: %s", out.p);
	t.phase = PHASE_CONFIRMING;
	steps[0].state = STEP_TRIED;
	notes[0] = (struct note){ .answered_at = BORN + 40, .calls = 0, .op = OP_CONFIRM };
	steps[1].state = STEP_TRIED;
	notes[1] = (struct note){ .answered_at = BORN - 9, .calls = 3, .op = OP_CONFIRM };
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	notes[1].answered_at = BORN;
	ok(same(&t, notes, &no_note, buf_view(&out)),
	   "a callback without a call, and calls of another op than the state tells: %s", out.p);
	buf_fini(&out);
}

/* What the state does not tell any more is written only from then on. */
static void test_tried(void)
{
	struct step steps[2] = { { .state = STEP_CANCELLED }, { .state = STEP_TRIED } };
	struct note notes[2] = { { .answered_at = BORN + 30, .calls = 1, .op = OP_CANCEL,
		                   .tried_at = BORN + 12, .refused = true },
		                 { .answered_at = BORN + 31, .calls = 2, .op = OP_CANCEL,
		                   .tried_at = BORN + 9, .joined_at = BORN + 3 } };
	struct txn  t = { .plan = &two_steps, .version = 2, .phase = PHASE_CANCELLING,
		          .cause = CAUSE_REFUSED, .step_count = 2, .steps = steps };
	struct buf  out = { 0 };

	progress_write(&out, &t, BORN, notes, &no_note);
	ok(strstr(out.p, "\"steps\":[{\"state\":\"cancelled\",\"refused\":12,\"answered\":30},"
	                 "{\"state\":\"tried\",\"joined\":3,\"tried\":9,\"answered\":31,"
	                 "\"answered_op\":\"cancel\",\"calls\":2}]") != NULL &&
	           same(&t, notes, &no_note, buf_view(&out)),
	   "behind the answer to a cancel stands how its try ended: %s", out.p);
	notes[0] = (struct note){ .answered_at = BORN + 30, .calls = 1, .op = OP_CANCEL };
	notes[1].tried_at = BORN - 1;
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	notes[1].tried_at = BORN;
	ok(strstr(out.p, "\"refused\":") == NULL && same(&t, notes, &no_note, buf_view(&out)),
	   "nothing of a try that nobody answered, and no time before its birth: %s", out.p);
	steps[0].state = STEP_REFUSED;
	notes[0].op = OP_TRY;
	progress_keep_try(&notes[0], STEP_REFUSED);
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(notes[0].refused && notes[0].tried_at == BORN + 30 && strstr(out.p, "\"refused\":") == NULL &&
	           same(&t, notes, &no_note, buf_view(&out)),
	   "while the try was answered last, its state tells: %s", out.p);
	steps[0].state = STEP_CANCELLED;
	progress_keep_try(&notes[0], STEP_CANCELLED);
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(strstr(out.p, "\"refused\":30") != NULL && same(&t, notes, &no_note, buf_view(&out)),
	   "a person who says that it is cancelled does not make it forgotten: %s", out.p);
	buf_fini(&out);
}

static void test_message(void)
{
	struct step step;
	struct note note = { 0 }, check = { .error = STR("away"), .status = 503, .at = 8,
					   .answered_at = BORN + 8, .calls = 2, .op = OP_CHECK };
	struct txn  t = { .steps = &step };
	struct buf  out = { 0 };

	txn_init(&t, &message, 0, 99);
	t.check.attempts = 3;
	t.check.next_at = 12;
	t.check.first_at = 11;
	progress_write(&out, &t, BORN, &note, &check);
	ok(same(&t, &note, &check, buf_view(&out)), "the back-check of a message comes back: %s", out.p);
	buf_fini(&out);
}

/* As deep as an output may be, it is still read when it stands in a row. */
static void test_deep(void)
{
	enum { DEPTH = 60, ITEMS = 60000 };
	struct step steps[2];
	struct note notes[2] = { 0 };
	struct txn  t = { .steps = steps };
	struct buf  out = { 0 }, deep = { 0 }, wide = { 0 };

	for (int i = 0; i < DEPTH; i++)
		buf_char(&deep, '[');
	for (int i = 0; i < DEPTH; i++)
		buf_char(&deep, ']');
	buf_cstr(&wide, "[1");
	for (int i = 0; i < ITEMS; i++)
		buf_cstr(&wide, ",1");
	buf_char(&wide, ']');
	txn_init(&t, &two_steps, 0, 0);
	t.steps[0].state = t.steps[1].state = STEP_TRIED;
	t.phase = PHASE_CONFIRMING;
	notes[0].output = buf_view(&deep);
	notes[1].output = buf_view(&wide);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(same(&t, notes, &no_note, buf_view(&out)), "deep and wide outputs count for themselves only");
	notes[0].output = notes[1].output;
	buf_clear(&out);
	progress_write(&out, &t, BORN, notes, &no_note);
	ok(same(&t, notes, &no_note, buf_view(&out)), "and not together");
	buf_fini(&out);
	buf_fini(&deep);
	buf_fini(&wide);
}

static bool reads(struct str text, uint16_t format, char why[256])
{
	struct arena arena = { 0 };
	struct txn   t = { .plan = &two_steps, .version = 1, .phase = PHASE_TRYING };
	struct note *notes, check;
	struct err   err = { .text = "" };
	/* On the heap, to the byte: so that a sanitizer sees a read beyond it. */
	char        *copy = malloc(text.n > 0 ? text.n : 1);
	bool         good;

	if (text.n > 0)
		memcpy(copy, text.p, text.n);
	good = progress_read((struct str){ copy, text.n }, format, BORN, &arena, &t, &notes,
	                     &check, &err);
	memcpy(why, err.text, 256);
	arena_fini(&arena);
	free(copy);
	return good;
}

static void test_hostile(void)
{
	static const char *const texts[] = {
		"", "{}", "[]", "null", "{", "{\"steps\":[]}", "{\"steps\":[{}]}", "{\"steps\":[{},{},{}]}",
		"{\"steps\":[{},{}],\"steps\":[{},{}]}", "{\"steps\":{}}", "{\"steps\":[1,2]}",
		"{\"steps\":[{\"state\":\"done\"},{}]}", "{\"steps\":[{\"state\":1},{}]}",
		"{\"steps\":[{\"stuck\":\"glue\"},{}]}", "{\"steps\":[{\"ongoing\":1},{}]}",
		"{\"steps\":[{\"resolved\":false},{}]}",
		"{\"steps\":[{\"attempts\":-1},{}]}", "{\"steps\":[{\"attempts\":4294967296},{}]}",
		"{\"steps\":[{\"attempts\":1e3},{}]}", "{\"steps\":[{\"misconfigured\":65536},{}]}",
		"{\"steps\":[{\"next_at\":9223372036854775808},{}]}", "{\"steps\":[{\"status\":1000},{}]}",
		"{\"steps\":[{\"answered\":-1},{}]}", "{\"steps\":[{\"answered\":9223372036854775807},{}]}",
		"{\"steps\":[{\"answered_op\":\"ask\"},{}]}", "{\"steps\":[{\"calls\":4294967296},{}]}",
		"{\"steps\":[{\"error\":7},{}]}", "{\"steps\":[{\"output\":\"x\"},{}]}",
		"{\"steps\":[{\"output\":2},{}]}", "{\"steps\":[{\"output\":2},{}],\"outputs\":[{}}",
		"{\"steps\":[{\"output\":2},{}],\"outputs\":[{}]", "{\"steps\":[{\"output\":2},{}],\"outputs\":[{}",
		"{\"steps\":[{\"output\":2},{}],\"outputs\":[", "{\"steps\":[{\"output\":3},{}],\"outputs\":[{}]}",
		"{\"steps\":[{\"output\":2147483647},{}],\"outputs\":[{}]}",
		"{\"steps\":[{\"output\":2},{}],\"outputs\":[xx]}",
		"{\"steps\":[{\"output\":1},{\"output\":1}],\"outputs\":[1]}",
		"{\"steps\":[{\"output\":1},{\"output\":1}],\"outputs\":[1;2]}",
		"{\"steps\":[{},{}],\"outputs\":[1]}", "{\"steps\":[{},{}],\"outputs\":[]}",
		"{\"steps\":[{\"state\":\"tried\",\"output\":1},{}],\"outputs\":[1]}x",
		"{\"steps\":[{},{}]}x", "{\"deadline_at\":-1,\"steps\":[{},{}]}",
		"{\"cause\":\"weather\",\"steps\":[{},{}]}", "{\"check\":1,\"steps\":[{},{}]}",
		"{\"check\":{\"output\":1},\"steps\":[{},{}],\"outputs\":[1]}",
		"{\"cause\":\"refused\",\"cause_step\":7,\"steps\":[{},{}]}",
		"{\"steps\":[{\"state\":\"cancelled\"},{}]}",
	};
	char why[256];
	bool quiet = false;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		bool good = reads(str_of(texts[i]), PROGRESS_FORMAT, why);

		quiet = quiet || (!good && why[0] == '\0');
		ok(!good, "refused: %s (%s)", texts[i], why);
	}
	ok(!quiet, "each time with a sentence");
	ok(!reads(STR("{\"steps\":[{},{}]}"), PROGRESS_FORMAT + 1, why), "a newer format is refused: %s", why);
	ok(reads(STR("{\"steps\":[{},{}],\"more\":1}"), PROGRESS_FORMAT, why) &&
	   reads(STR("{\"steps\":[{\"more\":{\"deep\":[1]},\"attempts\":1},{}]}"), PROGRESS_FORMAT, why),
	   "what a newer version adds to the same format is passed over");
	ok(reads(STR("{\"steps\":[{\"state\":\"tried\",\"output\":1},{}],\"outputs\":[1]}"), PROGRESS_FORMAT, why),
	   "and what is right is read");
}

/* Every text cut short or with one byte changed: never a crash, whatever it says. */
static void test_damage(void)
{
	static const char text[] = "{\"deadline_at\":5,\"steps\":[{\"state\":\"tried\",\"output\":9},"
	                           "{\"attempts\":2,\"error\":\"no\"}],\"outputs\":[{\"a\":[1]}]}";
	char damaged[sizeof text], why[256];
	int  accepted = 0;

	for (size_t n = 0; n < sizeof text - 1; n++)
		accepted += reads((struct str){ text, n }, PROGRESS_FORMAT, why);
	ok(accepted == 0, "no beginning of a progress is a progress");
	for (size_t at = 0; at < sizeof text - 1; at++)
		for (int c = 0; c < 256; c++) {
			memcpy(damaged, text, sizeof text);
			damaged[at] = (char)c;
			accepted += reads((struct str){ damaged, sizeof text - 1 }, PROGRESS_FORMAT, why);
		}
	ok(accepted > 0, "of those with one byte changed, %d are still one", accepted);
}

int main(void)
{
	test_fresh();
	test_full();
	test_answered();
	test_tried();
	test_message();
	test_deep();
	test_hostile();
	test_damage();
	return tap_done();
}
