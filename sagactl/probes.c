/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/probes.h"
#include "sagactl/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_STEP "verify-second"

enum { AT_ONCE = 5, HANG_UP_MS = 2 };

#define DO_STEPS \
	"tell calls apart by Saga-Id, Saga-Step and Saga-Op, and keep what a try did under the " \
	"step, too: a transaction may have several steps with you"

#define REMEMBER \
	"remember calls as long as they can be repeated: until Saga-Deadline, or as long as you " \
	"keep your data (docs/barrier.md)"

#define COMPARE_ID \
	"answer 401 unless webhook-id is the one of Saga-Id, Saga-Step and Saga-Op: the " \
	"signature covers webhook-id, and not these headers (docs/participants.md)"

/* ---- probes ------------------------------------------------------------------------------ */

static void probe_first_try(struct trial *t)
{
	if (trial_try(t))
		trial_cancel(t);
}

/* A state that stands still shows neither what is done twice nor what is not undone: all other
 * probes would find it as it has to be. */
static void probe_state(struct trial *t)
{
	trial_look(t, &t->before);
	if (!trial_try(t))
		return;
	if (!trial_is_changed(t) && trial_is_fine(t))
		trial_find(t, PROBE_STATE_SKIPPED,
		     "point --state-url at a number that each try moves and its cancel moves back "
		     "(docs/verify.md)",
		     "a try did not change the state, %.100s: only answers are judged, and what is "
		     "done twice is not seen",
		     t->before.p ? t->before.p : "");
	trial_cancel(t);
}

static void probe_duplicate_try(struct trial *t)
{
	char text[280];

	if (!trial_try(t))
		return;
	trial_look(t, &t->before);
	const struct verify_call *c = trial_ask(t, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t, "answer a duplicate what the first one was answered; " DO_ONCE,
		      "a try that came twice was %s the second time", trial_answered(c, text));
	else if (!str_eq(c->lesson.output, buf_view(&t->output)))
		trial_wrong(t, "keep the answer and send it again; " DO_ONCE,
		            "a try that came twice was answered %.100s and then %.100s",
		            t->output.n ? t->output.p : "nothing",
		            c->lesson.output.n ? c->body.p : "nothing");
	trial_unchanged(t, DO_ONCE, "a try that came twice had an effect twice");
	trial_cancel(t);
}

static void look_at_one_of_many(struct trial *t, const struct verify_call *c)
{
	char text[280];

	if (c->lesson.outcome == OUTCOME_MISCONFIGURED ||
	    (trial_is_refusal(c) && !c->lesson.bare_conflict))
		trial_wrong(t,
		      "answer 409, 425 or 503 while another one is at work, or wait for it",
		      "one of %d tries at the same time was %s", AT_ONCE, trial_answered(c, text));
	else if (c->lesson.outcome == OUTCOME_OK && t->has_output &&
	         !str_eq(c->lesson.output, buf_view(&t->output)))
		trial_wrong(t, DO_ONCE, "tries at the same time were answered %.100s and %.100s",
		            t->output.n ? t->output.p : "nothing",
		            c->lesson.output.n ? c->body.p : "nothing");
	else if (c->lesson.outcome == OUTCOME_OK)
		trial_keep_output(t, c);
}

static void probe_tries_at_once(struct trial *t)
{
	struct verify_call many[AT_ONCE];
	char               text[280];

	trial_look(t, &t->before);
	for (size_t i = 0; i < AT_ONCE; i++)
		many[i] = trial_call_of(t, OP_TRY);
	verify_exchange(t->v, many, AT_ONCE);
	for (size_t i = 0; i < AT_ONCE; i++) {
		look_at_one_of_many(t, &many[i]);
		verify_call_fini(&many[i]);
	}
	const struct verify_call *c = trial_settle(t, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t, DO_ONCE, "after tries at the same time one more was %s",
		            trial_answered(c, text));
	else
		look_at_one_of_many(t, c);
	if (trial_cancel(t))
		trial_unchanged(t, DO_ONCE,
		                "tries at the same time, and then a cancel, left something");
}

static void probe_abandoned_try(struct trial *t)
{
	struct verify_call hung_up = trial_call_of(t, OP_TRY);
	char               text[280];

	trial_look(t, &t->before);
	hung_up.timeout_ms = HANG_UP_MS;
	trial_ask_call(t, hung_up);
	const struct verify_call *c = trial_settle(t, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t,
		      "a caller that has hung up calls again: finish the work or roll it back, and "
		      "let the next call have its answer",
		      "a try after one whose caller had hung up was %s", trial_answered(c, text));
	else
		trial_keep_output(t, c);
	if (trial_cancel(t))
		trial_unchanged(
			t, DO_ONCE,
			"a try whose caller hung up, the same again, and a cancel left something");
}

/* By Saga-Id alone the second step is a duplicate of the first. Told by the state, where it shows
 * tries, and by the answers: the first step's cancel must not be the second's. */
static void probe_two_steps(struct trial *t)
{
	struct buf first = { 0 }, with_one = { 0 };
	char       text[280];
	bool       shows;

	trial_look(t, &t->before);
	if (!trial_try(t))
		return;
	shows = trial_is_changed(t);
	buf_str(&with_one, buf_view(&t->after));
	buf_str(&first, buf_view(&t->output));
	t->step = SECOND_STEP;
	const struct verify_call *c = trial_settle(t, OP_TRY);
	struct buf                second = { 0 };

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t, DO_STEPS, "the try of a second step of the same transaction was %s",
		            trial_answered(c, text));
	buf_str(&second, c->lesson.output);
	if (shows && !trial_is_changed_since(t, buf_view(&with_one)))
		trial_wrong(t, DO_STEPS,
		      "the try of a second step of the same transaction had no effect: the state "
		      "stayed %.100s",
		      with_one.p ? with_one.p : "");
	t->step = NULL;
	trial_use_output(t, buf_view(&first));
	trial_cancel(t);
	if (shows && !trial_is_changed(t))
		trial_wrong(t, DO_STEPS,
		            "the cancel of one step undid the other one of its transaction");
	t->step = SECOND_STEP;
	trial_use_output(t, buf_view(&second));
	c = trial_ask(t, OP_TRY);
	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t, DO_STEPS,
		      "after the cancel of one step a duplicate of the other one's try was %s",
		      trial_answered(c, text));
	trial_cancel(t);
	trial_unchanged(t, DO_STEPS,
	                "two steps of a transaction, and their cancels, left something");
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&with_one);
}

static void probe_cancel(struct trial *t)
{
	char text[280];

	trial_look(t, &t->before);
	if (!trial_try(t) || !trial_cancel(t))
		return;
	trial_unchanged(t, "undo what the try did", "a cancel did not undo its try");
	const struct verify_call *c = trial_ask(t, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t,
		      "answer 2xx to a cancel that was done: sagad repeats it until you do",
		      "a cancel that came twice was %s the second time", trial_answered(c, text));
	trial_unchanged(t, DO_ONCE, "a cancel that came twice had an effect twice");
}

static void probe_abandoned_cancel(struct trial *t)
{
	struct verify_call hung_up;
	char               text[280];

	trial_look(t, &t->before);
	if (!trial_try(t))
		return;
	hung_up = trial_call_of(t, OP_CANCEL);
	hung_up.timeout_ms = HANG_UP_MS;
	trial_ask_call(t, hung_up);
	const struct verify_call *c = trial_settle(t, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t,
		      "answer 2xx to a cancel that was done: sagad repeats it until you do",
		      "a cancel after one whose caller had hung up was %s",
		      trial_answered(c, text));
	trial_unchanged(t, DO_ONCE,
	                "a try, and a cancel whose caller hung up and came again, left something");
}

static void probe_try_after_cancel(struct trial *t)
{
	trial_look(t, &t->before);
	if (!trial_try(t) || !trial_cancel(t))
		return;
	trial_nothing_new(t, trial_settle(t, OP_TRY), "after its cancel");
	trial_unchanged(t, "a step that was cancelled is over: " DO_ONCE,
	                "a try that came after its cancel had an effect");
}

static void probe_cancel_first(struct trial *t)
{
	char text[280];

	trial_look(t, &t->before);
	const struct verify_call *c = trial_settle(t, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t,
		      c->status == 404
		              ? "answer 2xx and refuse the try that comes later; \"outcomes\": "
		                "{\"404\": \"ok\"} in the definition helps with the first half "
		                "alone"
		              : "answer 2xx and refuse the try that comes later",
		      "a cancel that came before its try was %s", trial_answered(c, text));
	c = trial_settle(t, OP_TRY);
	if (!trial_is_refusal(c))
		trial_wrong(t, "remember the cancel, and refuse the try (422)",
		            "a try that came after a cancel that found nothing was %s",
		            trial_answered(c, text));
	trial_unchanged(t, "remember the cancel, and refuse the try (422)",
	                "a try that came after its cancel had an effect");
	if (!trial_is_fine(t))
		trial_settle(t, OP_CANCEL);
}

static void probe_cancel_overtakes(struct trial *t)
{
	struct verify_call both[2] = { trial_call_of(t, OP_TRY), trial_call_of(t, OP_CANCEL) };
	bool               undone;

	trial_look(t, &t->before);
	verify_exchange(t->v, both, 2);
	undone = both[1].lesson.outcome == OUTCOME_OK; /* sagad would not ask again */
	if (both[0].lesson.outcome == OUTCOME_OK)
		trial_keep_output(t, &both[0]);
	verify_call_fini(&both[0]);
	verify_call_fini(&both[1]);
	if (!undone && !trial_cancel(t))
		return;
	trial_nothing_new(t, trial_settle(t, OP_TRY), "after a cancel that had met it");
	trial_unchanged(t, "let try and cancel of one step wait for each other (docs/barrier.md)",
	                "a try and a cancel at the same time left something");
	if (!trial_is_fine(t))
		trial_settle(t, OP_CANCEL);
}

static void probe_old_epoch(struct trial *t)
{
	char text[280];

	t->epoch = 7;
	if (!trial_try(t))
		return;
	t->epoch = 3;
	const struct verify_call *c = trial_ask(t, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK && !c->lesson.stale_epoch)
		trial_wrong(t, "answer a duplicate as before, or 412",
		            "a duplicate with an older Saga-Epoch was %s", trial_answered(c, text));
	c = trial_ask(t, OP_CANCEL);
	if (c->lesson.outcome == OUTCOME_OK)
		trial_find(t, PROBE_STATE_HINT,
		     "answer 412 to an op that has not run and comes with an older Saga-Epoch than "
		     "you have heard: its sender is no longer in charge",
		     "a cancel with an older Saga-Epoch than its try was done");
	else if (!c->lesson.stale_epoch)
		trial_wrong(t, "answer 412, or do it", "a cancel with an older Saga-Epoch was %s",
		            trial_answered(c, text));
	t->epoch = 8;
	trial_cancel(t);
}

static void probe_refusal(struct trial *t)
{
	struct verify_call        call = trial_call_of(t, OP_TRY);
	const struct verify_call *c;
	char                      text[280];

	trial_look(t, &t->before);
	call.input = t->v->refused;
	c = trial_settle_call(t, call);
	if (!trial_is_refusal(c)) {
		trial_wrong(t,
		      "answer 422 to what cannot be done (--refused has to be such an input)",
		      "a try that has to be refused was %s", trial_answered(c, text));
		trial_settle(t, OP_CANCEL);
		return;
	}
	call.attempt = ++t->attempts;
	c = trial_ask_call(t, call);
	if (!trial_is_refusal(c))
		trial_wrong(t, "keep the refusal: what was refused once stays refused",
		      "a try that was refused was %s the second time", trial_answered(c, text));
	else if (c->lesson.bare_conflict && c->saga_outcome[0] == '\0')
		trial_find(t, PROBE_STATE_HINT, "answer 422, or send Saga-Outcome: refused with it",
		           "a refusal was answered 409 alone, which after an "
		           "attempt without an answer means \"still in progress\"");
	trial_cancel(t);
	trial_unchanged(t, "roll back what the try wrote before it was refused",
	                "a try that was refused left something");
}

static bool confirm_it(struct trial *t)
{
	const struct verify_call *c = trial_settle(t, OP_CONFIRM);
	char                      text[280];

	if (c->lesson.outcome == OUTCOME_OK)
		return true;
	trial_wrong(t, "a confirm has no \"no\": answer 2xx, or 503 to be called again",
	            "a confirm was %s", trial_answered(c, text));
	return false;
}

static void probe_confirm(struct trial *t)
{
	char text[280];

	if (!trial_try(t) || !confirm_it(t))
		return;
	trial_look(t, &t->before);
	const struct verify_call *c = trial_ask(t, OP_CONFIRM);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t,
		      "answer 2xx to a confirm that was done: sagad repeats it until you do",
		      "a confirm that came twice was %s the second time", trial_answered(c, text));
	trial_unchanged(t, DO_ONCE, "a confirm that came twice had an effect twice");
}

static void probe_cancel_confirmed(struct trial *t)
{
	if (!trial_try(t) || !confirm_it(t))
		return;
	trial_look(t, &t->before);
	const struct verify_call *c = trial_ask(t, OP_CANCEL);

	if (c->lesson.outcome == OUTCOME_OK)
		trial_wrong(t,
		      "answer 409: sagad never decides both, so somebody has made a mistake and "
		      "has to hear of it",
		      "a cancel after the confirm was answered %d, as if it were undone",
		      c->status);
	trial_unchanged(t, "what is confirmed stays", "a cancel after the confirm had an effect");
}

static void probe_confirm_cancelled(struct trial *t)
{
	if (!trial_try(t) || !trial_cancel(t))
		return;
	trial_look(t, &t->before);
	const struct verify_call *c = trial_ask(t, OP_CONFIRM);

	if (c->lesson.outcome == OUTCOME_OK)
		trial_wrong(t, "answer 410: what was held is gone",
		      "a confirm after the cancel was answered %d, as if it were done", c->status);
	trial_unchanged(t, "what is cancelled stays so",
	                 "a confirm after the cancel had an effect");
}

static void probe_confirm_first(struct trial *t)
{
	trial_look(t, &t->before);
	const struct verify_call *c = trial_ask(t, OP_CONFIRM);

	if (c->lesson.outcome == OUTCOME_OK)
		trial_wrong(t, "answer 410: there is nothing to confirm",
		      "a confirm without a try was answered %d, as if it were done", c->status);
	trial_unchanged(t, "there is nothing to confirm", "a confirm without a try had an effect");
}

/* Answered 4xx, and nothing done. */
static void want_refused_outright(struct trial *t, enum verify_flaw flaw, const char *what,
                                  const char *advice)
{
	struct verify_call call = trial_call_of(t, OP_TRY);
	char               text[280];

	if (!trial_is_fine(t))
		return;
	trial_look(t, &t->before);
	call.flaw = flaw;
	const struct verify_call *c = trial_ask_call(t, call);

	if (c->status < 400 || c->status > 499)
		trial_wrong(t, advice, "%s was %s", what, trial_answered(c, text));
	trial_unchanged(t, advice, what);
}

static void probe_no_call(struct trial *t)
{
	want_refused_outright(t, FLAW_NO_ID, "a call without Saga-Id",
	                      "answer 400: without it nobody can tell a duplicate");
	want_refused_outright(t, FLAW_OP, "a call with a Saga-Op that does not exist",
	                      "answer 400 to an op that is not try, confirm or cancel");
}

/* Two readers, as a proxy and a service, or the check of a signature and the barrier, would each take
 * another. Some servers join the two before a service sees them: a hint, since a gid may hold a comma. */
static void probe_two_words(struct trial *t)
{
	struct verify_call two = trial_call_of(t, OP_TRY);
	char               text[280];

	want_refused_outright(t, FLAW_TWO_OPS, "a call with two Saga-Op, try and cancel",
	                      "answer 400 to a header of a call that stands there twice");
	want_refused_outright(t, FLAW_TWO_EPOCHS, "a call with two Saga-Epoch",
	                      "answer 400 to a header of a call that stands there twice");
	want_refused_outright(t, FLAW_TIME, "a call with a Saga-Deadline of 30 February",
	                      "answer 400 to a time that is none");
	if (!trial_is_fine(t))
		return;
	two.flaw = FLAW_TWO_IDS;
	const struct verify_call *c = trial_ask_call(t, two);

	if (c->status < 400 || c->status > 499) {
		trial_find(t, PROBE_STATE_HINT,
		     "answer 400 to a header of a call that stands there twice, where the server "
		     "tells them apart",
		     "a call with two Saga-Id was %s", trial_answered(c, text));
		trial_settle(t, OP_CANCEL);
	}
}

#define NO_GET "answer 405 to methods that your definitions do not call with"

/* What may be fetched ahead, cached and repeated by everybody on the way has no effect. A page at the
 * same URL is fine: it is not what the try is answered with. */
static void probe_method(struct trial *t)
{
	struct verify_call get = trial_call_of(t, OP_TRY);
	struct buf         said = { 0 };

	trial_look(t, &t->before);
	get.flaw = FLAW_METHOD;
	const struct verify_call *c = trial_ask_call(t, get);
	const int                 status = c->status;

	buf_str(&said, buf_view(&c->body));
	trial_unchanged(t, NO_GET, "a try by GET had an effect");
	c = trial_settle(t, OP_TRY);
	if (status >= 200 && status <= 299 && status == c->status && said.n > 0 &&
	    str_eq(buf_view(&said), buf_view(&c->body)))
		trial_wrong(t, NO_GET, "a try by GET was answered %d, as the try is", status);
	buf_fini(&said);
	trial_settle(t, OP_CANCEL);
}

static void probe_signature(struct trial *t)
{
	want_refused_outright(t, FLAW_UNSIGNED, "a call without a signature",
	                      "answer 401 to what is not signed");
	want_refused_outright(t, FLAW_SIGNATURE, "a call that somebody else has signed",
	                      "answer 401 to what is signed with another secret");
	want_refused_outright(t, FLAW_OLD, "a call that was signed an hour ago",
	                      "answer 401 to a webhook-timestamp more than five minutes off");
	want_refused_outright(t, FLAW_OF_GID, "a call under the signature of another gid",
	                      COMPARE_ID);
	want_refused_outright(t, FLAW_OF_STEP, "a call under the signature of another step",
	                      COMPARE_ID);
	want_refused_outright(t, FLAW_OF_OP, "a try under the signature of a cancel", COMPARE_ID);
}

/* What is kept for seconds only holds while a network is well: sagad repeats calls for hours. */
static void probe_memory(struct trial *t)
{
	const double       seconds = (double)t->v->remember_ms / 1000;
	char               other[140], text[280];
	struct verify_call early = trial_call_of(t, OP_CANCEL);

	snprintf(other, sizeof other, "%s-early", t->gid);
	early.gid = other;
	const bool forbids = trial_ask_call(t, early)->lesson.outcome == OUTCOME_OK;

	if (!trial_try(t))
		return;
	trial_look(t, &t->before);
	trial_sleep(t->v->remember_ms);
	const struct verify_call *c = trial_ask(t, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		trial_wrong(t, REMEMBER, "a try that came again %g s later was %s", seconds,
		            trial_answered(c, text));
	else if (!str_eq(c->lesson.output, buf_view(&t->output)))
		trial_wrong(t, REMEMBER, "a try was answered %.100s and %g s later %.100s",
		            t->output.n ? t->output.p : "nothing", seconds,
		            c->lesson.output.n ? c->body.p : "nothing");
	trial_unchanged(t, REMEMBER, "a try that came again later had an effect twice");
	trial_cancel(t);
	early.op = OP_TRY;
	if (!forbids || trial_is_refusal(trial_settle_call(t, early)))
		return;
	trial_wrong(t, REMEMBER,
	            "a try that came %g s after a cancel that found nothing was %s", seconds,
	            trial_answered(&t->last, text));
	early.op = OP_CANCEL;
	trial_settle_call(t, early);
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct {
	const char *name, *says;
	unsigned    needs;
	void      (*run)(struct trial *t);
} FACTS[] = {
#define X(name, needs, says) { #name, says, needs, probe_##name },
	PROBES(X)
#undef X
};

const char *probe_name(enum probe p)
{
	return FACTS[p].name;
}

const char *probe_says(enum probe p)
{
	return FACTS[p].says;
}

const char *probe_state_name(enum probe_state s)
{
	switch (s) {
#define X(name, text) case PROBE_STATE_##name: return text;
	PROBE_STATES(X)
#undef X
	}
	abort();
}

/* What has to be given for it, and is not; NULL: all is there. */
static const char *missing(const struct verify *v, unsigned needs)
{
	if ((needs & NEED_CONFIRM) && !v->has_confirm)
		return "--confirm-url is not given";
	if ((needs & NEED_REFUSED) && v->refused == NULL)
		return "--refused is not given";
	if ((needs & NEED_STATE) && v->state_url == NULL)
		return "--state-url is not given: only answers are judged";
	return (needs & NEED_SECRET) && v->secret.n == 0 ? "--secret-file is not given" : NULL;
}

void probe_make(struct verify *v, enum probe p, const char *run, struct probe_result *out)
{
	const char *why = missing(v, FACTS[p].needs);
	struct trial  t = { .v = v, .result = out, .epoch = 1 };

	*out = (struct probe_result){ .state = why ? PROBE_STATE_SKIPPED : PROBE_STATE_OK };
	if (why != NULL) {
		snprintf(out->finding, sizeof out->finding, "%s", why);
		return;
	}
	snprintf(t.gid, sizeof t.gid, "%s-%s", run, FACTS[p].name);
	v->output = (struct str){ 0 };
	FACTS[p].run(&t);
	verify_call_fini(&t.last);
	buf_fini(&t.output);
	buf_fini(&t.before);
	buf_fini(&t.after);
}
