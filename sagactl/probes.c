/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/probes.h"
#include "sagactl/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_STEP "verify-second"

enum { SETTLE_MAX = 30, SETTLE_MS = 100, RETRY_AFTER_MAX_MS = 2000, AT_ONCE = 5, HANG_UP_MS = 2 };

#define DO_ONCE \
	"remember each call by Saga-Id, Saga-Step and Saga-Op in the transaction of its effect " \
	"(docs/barrier.md)"

#define DO_STEPS \
	"tell calls apart by Saga-Id, Saga-Step and Saga-Op, and keep what a try did under the " \
	"step, too: a transaction may have several steps with you"

#define REMEMBER \
	"remember calls as long as they can be repeated: until Saga-Deadline, or as long as you " \
	"keep your data (docs/barrier.md)"

#define COMPARE_ID \
	"answer 401 unless webhook-id is the one of Saga-Id, Saga-Step and Saga-Op: the " \
	"signature covers webhook-id, and not these headers (docs/participants.md)"

struct run { /* of one probe */
	struct verify       *v;
	struct probe_result *result;
	char                 gid[129];
	const char          *step; /* NULL: the one of all probes */
	uint64_t             epoch;
	uint32_t             attempts;
	struct verify_call   last; /* the one asked last */
	struct buf           output, before, after; /* kept texts */
	bool                 has_output;
};

/* ---- words ----------------------------------------------------------------------------------- */

/* The first finding counts: what follows from it would only confuse. */
__attribute__((format(printf, 4, 5)))
static void find(struct run *r, enum probe_state state, const char *advice, const char *fmt, ...)
{
	va_list ap;

	if (r->result->state == PROBE_STATE_WRONG ||
	    (r->result->state == PROBE_STATE_HINT && state == PROBE_STATE_HINT))
		return;
	r->result->state = state;
	r->result->advice = advice;
	va_start(ap, fmt);
	vsnprintf(r->result->finding, sizeof r->result->finding, fmt, ap);
	va_end(ap);
}
#define wrong(r, advice, ...) find(r, PROBE_STATE_WRONG, advice, __VA_ARGS__)

static bool is_fine(const struct run *r)
{
	return r->result->state != PROBE_STATE_WRONG;
}

static const char *answered(const struct verify_call *c, char out[280])
{
	if (c->status == 0)
		snprintf(out, 280, "not answered (%s)", c->lesson.error);
	else if (c->lesson.outcome == OUTCOME_OK || strlen(c->lesson.error) <= strlen("HTTP 500"))
		snprintf(out, 280, "answered %d", c->status);
	else
		snprintf(out, 280, "answered %d (%s)", c->status,
		         c->lesson.error + strlen("HTTP "));
	return out;
}

/* ---- calls ------------------------------------------------------------------------------- */

static struct verify_call call_of(struct run *r, enum op op)
{
	return (struct verify_call){ .op = op,
		                     .gid = r->gid,
		                     .step = r->step,
		                     .epoch = r->epoch,
		                     .attempt = ++r->attempts };
}

static const struct verify_call *ask_call(struct run *r, struct verify_call call)
{
	verify_call_fini(&r->last);
	r->last = call;
	verify_exchange(r->v, &r->last, 1);
	return &r->last;
}

static const struct verify_call *ask(struct run *r, enum op op)
{
	return ask_call(r, call_of(r, op));
}

static void sleep_ms(int64_t ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* As sagad does: again, while an answer settles nothing. */
static const struct verify_call *settle_call(struct run *r, struct verify_call call)
{
	const struct verify_call *c = ask_call(r, call);

	for (int i = 1; i < SETTLE_MAX; i++) {
		const enum outcome o = c->lesson.outcome;
		int64_t            wait = c->lesson.retry_after_ms;

		/* After an attempt without an answer a bare 409 means that it goes on. */
		if (o != OUTCOME_UNKNOWN && o != OUTCOME_ONGOING &&
		    !(o == OUTCOME_REFUSED && c->lesson.bare_conflict))
			break;
		if (c->lesson.stale_epoch || *verify_failure(r->v) != '\0')
			break;
		sleep_ms(wait > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS
		         : wait > 0                ? wait
		                                   : SETTLE_MS);
		call.attempt = ++r->attempts;
		c = ask_call(r, call);
	}
	return c;
}

static const struct verify_call *settle(struct run *r, enum op op)
{
	return settle_call(r, call_of(r, op));
}

static bool is_refusal(const struct verify_call *c)
{
	return c->lesson.outcome == OUTCOME_REFUSED;
}

/* Its output counts for the URLs of what comes next, as it does for sagad. */
static void use_output(struct run *r, struct str output)
{
	buf_clear(&r->output);
	buf_str(&r->output, output);
	buf_clear(&r->v->output_text);
	buf_str(&r->v->output_text, output);
	r->v->output = buf_view(&r->v->output_text);
	r->has_output = true;
}

static void keep_output(struct run *r, const struct verify_call *c)
{
	use_output(r, c->lesson.output);
}

static bool try_it(struct run *r)
{
	const struct verify_call *c = settle(r, OP_TRY);
	char                      text[280];

	if (c->lesson.outcome != OUTCOME_OK) {
		wrong(r, "give an input that the service accepts (--input); every probe needs one",
		      "a try was %s", answered(c, text));
		return false;
	}
	keep_output(r, c);
	return true;
}

static bool cancel_it(struct run *r)
{
	const struct verify_call *c = settle(r, OP_CANCEL);
	char                      text[280];

	if (c->lesson.outcome == OUTCOME_OK)
		return true;
	wrong(r,
	      !r->v->has_cancel
	              ? "it went to the URL of the try: give --cancel-url, or have that URL answer "
	                "cancels (Saga-Op: cancel) with 2xx"
	      : c->status == 404
	              ? "answer 2xx, or say \"outcomes\": {\"404\": \"ok\"} in the definition"
	              : "a cancel cannot be refused: answer 2xx, or 503 to be called again",
	      "a cancel was %s", answered(c, text));
	return false;
}

/* ---- the state --------------------------------------------------------------------------- */

static void look(struct run *r, struct buf *out)
{
	if (r->v->state_url != NULL && !verify_state(r->v, out))
		wrong(r,
		      "GET of --state-url has to answer 200, and what it points at has to be there",
		      "the state cannot be read");
}

static bool is_changed_since(struct run *r, struct str then)
{
	look(r, &r->after);
	return r->v->state_url != NULL && !str_eq(then, buf_view(&r->after));
}

static bool is_changed(struct run *r)
{
	return is_changed_since(r, buf_view(&r->before));
}

/* Since the last look. */
static void want_unchanged(struct run *r, const char *advice, const char *what)
{
	if (is_fine(r) && is_changed(r) && is_fine(r))
		wrong(r, advice, "%s: the state went from %.100s to %.100s", what,
		      r->before.p ? r->before.p : "", r->after.p ? r->after.p : "");
}

/* A try again may be told what the first one was told, or refused; and it does nothing. */
static void want_nothing_new(struct run *r, const struct verify_call *c, const char *when)
{
	char text[280];

	if (c->lesson.outcome == OUTCOME_OK && r->has_output &&
	    str_eq(c->lesson.output, buf_view(&r->output)))
		return;
	if (!is_refusal(c))
		wrong(r,
		      "refuse it (422): a try that was held up in the network must not bring back "
		      "what was undone",
		      "a try that came %s was %s", when, answered(c, text));
}

/* ---- probes ------------------------------------------------------------------------------ */

static void probe_first_try(struct run *r)
{
	if (try_it(r))
		cancel_it(r);
}

/* A state that stands still shows neither what is done twice nor what is not undone: all other
 * probes would find it as it has to be. */
static void probe_state(struct run *r)
{
	look(r, &r->before);
	if (!try_it(r))
		return;
	if (!is_changed(r) && is_fine(r))
		find(r, PROBE_STATE_SKIPPED,
		     "point --state-url at a number that each try moves and its cancel moves back "
		     "(docs/verify.md)",
		     "a try did not change the state, %.100s: only answers are judged, and what is "
		     "done twice is not seen",
		     r->before.p ? r->before.p : "");
	cancel_it(r);
}

static void probe_duplicate_try(struct run *r)
{
	char text[280];

	if (!try_it(r))
		return;
	look(r, &r->before);
	const struct verify_call *c = ask(r, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, "answer a duplicate what the first one was answered; " DO_ONCE,
		      "a try that came twice was %s the second time", answered(c, text));
	else if (!str_eq(c->lesson.output, buf_view(&r->output)))
		wrong(r, "keep the answer and send it again; " DO_ONCE,
		      "a try that came twice was answered %.100s and then %.100s",
		      r->output.n ? r->output.p : "nothing",
		      c->lesson.output.n ? c->body.p : "nothing");
	want_unchanged(r, DO_ONCE, "a try that came twice had an effect twice");
	cancel_it(r);
}

static void look_at_one_of_many(struct run *r, const struct verify_call *c)
{
	char text[280];

	if (c->lesson.outcome == OUTCOME_MISCONFIGURED ||
	    (is_refusal(c) && !c->lesson.bare_conflict))
		wrong(r, "answer 409, 425 or 503 while another one is at work, or wait for it",
		      "one of %d tries at the same time was %s", AT_ONCE, answered(c, text));
	else if (c->lesson.outcome == OUTCOME_OK && r->has_output &&
	         !str_eq(c->lesson.output, buf_view(&r->output)))
		wrong(r, DO_ONCE, "tries at the same time were answered %.100s and %.100s",
		      r->output.n ? r->output.p : "nothing",
		      c->lesson.output.n ? c->body.p : "nothing");
	else if (c->lesson.outcome == OUTCOME_OK)
		keep_output(r, c);
}

static void probe_tries_at_once(struct run *r)
{
	struct verify_call many[AT_ONCE];
	char               text[280];

	look(r, &r->before);
	for (size_t i = 0; i < AT_ONCE; i++)
		many[i] = call_of(r, OP_TRY);
	verify_exchange(r->v, many, AT_ONCE);
	for (size_t i = 0; i < AT_ONCE; i++) {
		look_at_one_of_many(r, &many[i]);
		verify_call_fini(&many[i]);
	}
	const struct verify_call *c = settle(r, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, DO_ONCE, "after tries at the same time one more was %s",
		      answered(c, text));
	else
		look_at_one_of_many(r, c);
	if (cancel_it(r))
		want_unchanged(r, DO_ONCE,
		               "tries at the same time, and then a cancel, left something");
}

static void probe_abandoned_try(struct run *r)
{
	struct verify_call hung_up = call_of(r, OP_TRY);
	char               text[280];

	look(r, &r->before);
	hung_up.timeout_ms = HANG_UP_MS;
	ask_call(r, hung_up);
	const struct verify_call *c = settle(r, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r,
		      "a caller that has hung up calls again: finish the work or roll it back, and "
		      "let the next call have its answer",
		      "a try after one whose caller had hung up was %s", answered(c, text));
	else
		keep_output(r, c);
	if (cancel_it(r))
		want_unchanged(
			r, DO_ONCE,
			"a try whose caller hung up, the same again, and a cancel left something");
}

/* By Saga-Id alone the second step is a duplicate of the first. Told by the state, where it shows
 * tries, and by the answers: the first step's cancel must not be the second's. */
static void probe_two_steps(struct run *r)
{
	struct buf first = { 0 }, with_one = { 0 };
	char       text[280];
	bool       shows;

	look(r, &r->before);
	if (!try_it(r))
		return;
	shows = is_changed(r);
	buf_str(&with_one, buf_view(&r->after));
	buf_str(&first, buf_view(&r->output));
	r->step = SECOND_STEP;
	const struct verify_call *c = settle(r, OP_TRY);
	struct buf                second = { 0 };

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, DO_STEPS, "the try of a second step of the same transaction was %s",
		      answered(c, text));
	buf_str(&second, c->lesson.output);
	if (shows && !is_changed_since(r, buf_view(&with_one)))
		wrong(r, DO_STEPS,
		      "the try of a second step of the same transaction had no effect: the state "
		      "stayed %.100s",
		      with_one.p ? with_one.p : "");
	r->step = NULL;
	use_output(r, buf_view(&first));
	cancel_it(r);
	if (shows && !is_changed(r))
		wrong(r, DO_STEPS, "the cancel of one step undid the other one of its transaction");
	r->step = SECOND_STEP;
	use_output(r, buf_view(&second));
	c = ask(r, OP_TRY);
	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, DO_STEPS,
		      "after the cancel of one step a duplicate of the other one's try was %s",
		      answered(c, text));
	cancel_it(r);
	want_unchanged(r, DO_STEPS,
	               "two steps of a transaction, and their cancels, left something");
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&with_one);
}

static void probe_cancel(struct run *r)
{
	char text[280];

	look(r, &r->before);
	if (!try_it(r) || !cancel_it(r))
		return;
	want_unchanged(r, "undo what the try did", "a cancel did not undo its try");
	const struct verify_call *c = ask(r, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, "answer 2xx to a cancel that was done: sagad repeats it until you do",
		      "a cancel that came twice was %s the second time", answered(c, text));
	want_unchanged(r, DO_ONCE, "a cancel that came twice had an effect twice");
}

static void probe_abandoned_cancel(struct run *r)
{
	struct verify_call hung_up;
	char               text[280];

	look(r, &r->before);
	if (!try_it(r))
		return;
	hung_up = call_of(r, OP_CANCEL);
	hung_up.timeout_ms = HANG_UP_MS;
	ask_call(r, hung_up);
	const struct verify_call *c = settle(r, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, "answer 2xx to a cancel that was done: sagad repeats it until you do",
		      "a cancel after one whose caller had hung up was %s", answered(c, text));
	want_unchanged(r, DO_ONCE,
	               "a try, and a cancel whose caller hung up and came again, left something");
}

static void probe_try_after_cancel(struct run *r)
{
	look(r, &r->before);
	if (!try_it(r) || !cancel_it(r))
		return;
	want_nothing_new(r, settle(r, OP_TRY), "after its cancel");
	want_unchanged(r, "a step that was cancelled is over: " DO_ONCE,
	               "a try that came after its cancel had an effect");
}

static void probe_cancel_first(struct run *r)
{
	char text[280];

	look(r, &r->before);
	const struct verify_call *c = settle(r, OP_CANCEL);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r,
		      c->status == 404
		              ? "answer 2xx and refuse the try that comes later; \"outcomes\": "
		                "{\"404\": \"ok\"} in the definition helps with the first half "
		                "alone"
		              : "answer 2xx and refuse the try that comes later",
		      "a cancel that came before its try was %s", answered(c, text));
	c = settle(r, OP_TRY);
	if (!is_refusal(c))
		wrong(r, "remember the cancel, and refuse the try (422)",
		      "a try that came after a cancel that found nothing was %s",
		      answered(c, text));
	want_unchanged(r, "remember the cancel, and refuse the try (422)",
	               "a try that came after its cancel had an effect");
	if (!is_fine(r))
		settle(r, OP_CANCEL);
}

static void probe_cancel_overtakes(struct run *r)
{
	struct verify_call both[2] = { call_of(r, OP_TRY), call_of(r, OP_CANCEL) };
	bool               undone;

	look(r, &r->before);
	verify_exchange(r->v, both, 2);
	undone = both[1].lesson.outcome == OUTCOME_OK; /* sagad would not ask again */
	if (both[0].lesson.outcome == OUTCOME_OK)
		keep_output(r, &both[0]);
	verify_call_fini(&both[0]);
	verify_call_fini(&both[1]);
	if (!undone && !cancel_it(r))
		return;
	want_nothing_new(r, settle(r, OP_TRY), "after a cancel that had met it");
	want_unchanged(r, "let try and cancel of one step wait for each other (docs/barrier.md)",
	               "a try and a cancel at the same time left something");
	if (!is_fine(r))
		settle(r, OP_CANCEL);
}

static void probe_old_epoch(struct run *r)
{
	char text[280];

	r->epoch = 7;
	if (!try_it(r))
		return;
	r->epoch = 3;
	const struct verify_call *c = ask(r, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK && !c->lesson.stale_epoch)
		wrong(r, "answer a duplicate as before, or 412",
		      "a duplicate with an older Saga-Epoch was %s", answered(c, text));
	c = ask(r, OP_CANCEL);
	if (c->lesson.outcome == OUTCOME_OK)
		find(r, PROBE_STATE_HINT,
		     "answer 412 to an op that has not run and comes with an older Saga-Epoch than "
		     "you have heard: its sender is no longer in charge",
		     "a cancel with an older Saga-Epoch than its try was done");
	else if (!c->lesson.stale_epoch)
		wrong(r, "answer 412, or do it", "a cancel with an older Saga-Epoch was %s",
		      answered(c, text));
	r->epoch = 8;
	cancel_it(r);
}

static void probe_refusal(struct run *r)
{
	struct verify_call        call = call_of(r, OP_TRY);
	const struct verify_call *c;
	char                      text[280];

	look(r, &r->before);
	call.input = r->v->refused;
	c = settle_call(r, call);
	if (!is_refusal(c)) {
		wrong(r, "answer 422 to what cannot be done (--refused has to be such an input)",
		      "a try that has to be refused was %s", answered(c, text));
		settle(r, OP_CANCEL);
		return;
	}
	call.attempt = ++r->attempts;
	c = ask_call(r, call);
	if (!is_refusal(c))
		wrong(r, "keep the refusal: what was refused once stays refused",
		      "a try that was refused was %s the second time", answered(c, text));
	else if (c->lesson.bare_conflict && c->saga_outcome[0] == '\0')
		find(r, PROBE_STATE_HINT, "answer 422, or send Saga-Outcome: refused with it",
		     "a refusal was answered 409 alone, which after an "
		     "attempt without an answer means \"still in progress\"");
	cancel_it(r);
	want_unchanged(r, "roll back what the try wrote before it was refused",
	               "a try that was refused left something");
}

static bool confirm_it(struct run *r)
{
	const struct verify_call *c = settle(r, OP_CONFIRM);
	char                      text[280];

	if (c->lesson.outcome == OUTCOME_OK)
		return true;
	wrong(r, "a confirm has no \"no\": answer 2xx, or 503 to be called again",
	      "a confirm was %s", answered(c, text));
	return false;
}

static void probe_confirm(struct run *r)
{
	char text[280];

	if (!try_it(r) || !confirm_it(r))
		return;
	look(r, &r->before);
	const struct verify_call *c = ask(r, OP_CONFIRM);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, "answer 2xx to a confirm that was done: sagad repeats it until you do",
		      "a confirm that came twice was %s the second time", answered(c, text));
	want_unchanged(r, DO_ONCE, "a confirm that came twice had an effect twice");
}

static void probe_cancel_confirmed(struct run *r)
{
	if (!try_it(r) || !confirm_it(r))
		return;
	look(r, &r->before);
	const struct verify_call *c = ask(r, OP_CANCEL);

	if (c->lesson.outcome == OUTCOME_OK)
		wrong(r,
		      "answer 409: sagad never decides both, so somebody has made a mistake and "
		      "has to hear of it",
		      "a cancel after the confirm was answered %d, as if it were undone",
		      c->status);
	want_unchanged(r, "what is confirmed stays", "a cancel after the confirm had an effect");
}

static void probe_confirm_cancelled(struct run *r)
{
	if (!try_it(r) || !cancel_it(r))
		return;
	look(r, &r->before);
	const struct verify_call *c = ask(r, OP_CONFIRM);

	if (c->lesson.outcome == OUTCOME_OK)
		wrong(r, "answer 410: what was held is gone",
		      "a confirm after the cancel was answered %d, as if it were done", c->status);
	want_unchanged(r, "what is cancelled stays so", "a confirm after the cancel had an effect");
}

static void probe_confirm_first(struct run *r)
{
	look(r, &r->before);
	const struct verify_call *c = ask(r, OP_CONFIRM);

	if (c->lesson.outcome == OUTCOME_OK)
		wrong(r, "answer 410: there is nothing to confirm",
		      "a confirm without a try was answered %d, as if it were done", c->status);
	want_unchanged(r, "there is nothing to confirm", "a confirm without a try had an effect");
}

/* Answered 4xx, and nothing done. */
static void want_refused_outright(struct run *r, enum verify_flaw flaw, const char *what,
                                  const char *advice)
{
	struct verify_call call = call_of(r, OP_TRY);
	char               text[280];

	if (!is_fine(r))
		return;
	look(r, &r->before);
	call.flaw = flaw;
	const struct verify_call *c = ask_call(r, call);

	if (c->status < 400 || c->status > 499)
		wrong(r, advice, "%s was %s", what, answered(c, text));
	want_unchanged(r, advice, what);
}

static void probe_no_call(struct run *r)
{
	want_refused_outright(r, FLAW_NO_ID, "a call without Saga-Id",
	                      "answer 400: without it nobody can tell a duplicate");
	want_refused_outright(r, FLAW_OP, "a call with a Saga-Op that does not exist",
	                      "answer 400 to an op that is not try, confirm or cancel");
}

/* Two readers, as a proxy and a service, or the check of a signature and the barrier, would each take
 * another. Some servers join the two before a service sees them: a hint, since a gid may hold a comma. */
static void probe_two_words(struct run *r)
{
	struct verify_call two = call_of(r, OP_TRY);
	char               text[280];

	want_refused_outright(r, FLAW_TWO_OPS, "a call with two Saga-Op, try and cancel",
	                      "answer 400 to a header of a call that stands there twice");
	want_refused_outright(r, FLAW_TWO_EPOCHS, "a call with two Saga-Epoch",
	                      "answer 400 to a header of a call that stands there twice");
	want_refused_outright(r, FLAW_TIME, "a call with a Saga-Deadline of 30 February",
	                      "answer 400 to a time that is none");
	if (!is_fine(r))
		return;
	two.flaw = FLAW_TWO_IDS;
	const struct verify_call *c = ask_call(r, two);

	if (c->status < 400 || c->status > 499) {
		find(r, PROBE_STATE_HINT,
		     "answer 400 to a header of a call that stands there twice, where the server "
		     "tells them apart",
		     "a call with two Saga-Id was %s", answered(c, text));
		settle(r, OP_CANCEL);
	}
}

#define NO_GET "answer 405 to methods that your definitions do not call with"

/* What may be fetched ahead, cached and repeated by everybody on the way has no effect. A page at the
 * same URL is fine: it is not what the try is answered with. */
static void probe_method(struct run *r)
{
	struct verify_call get = call_of(r, OP_TRY);
	struct buf         said = { 0 };

	look(r, &r->before);
	get.flaw = FLAW_METHOD;
	const struct verify_call *c = ask_call(r, get);
	const int                 status = c->status;

	buf_str(&said, buf_view(&c->body));
	want_unchanged(r, NO_GET, "a try by GET had an effect");
	c = settle(r, OP_TRY);
	if (status >= 200 && status <= 299 && status == c->status && said.n > 0 &&
	    str_eq(buf_view(&said), buf_view(&c->body)))
		wrong(r, NO_GET, "a try by GET was answered %d, as the try is", status);
	buf_fini(&said);
	settle(r, OP_CANCEL);
}

static void probe_signature(struct run *r)
{
	want_refused_outright(r, FLAW_UNSIGNED, "a call without a signature",
	                      "answer 401 to what is not signed");
	want_refused_outright(r, FLAW_SIGNATURE, "a call that somebody else has signed",
	                      "answer 401 to what is signed with another secret");
	want_refused_outright(r, FLAW_OLD, "a call that was signed an hour ago",
	                      "answer 401 to a webhook-timestamp more than five minutes off");
	want_refused_outright(r, FLAW_OF_GID, "a call under the signature of another gid",
	                      COMPARE_ID);
	want_refused_outright(r, FLAW_OF_STEP, "a call under the signature of another step",
	                      COMPARE_ID);
	want_refused_outright(r, FLAW_OF_OP, "a try under the signature of a cancel", COMPARE_ID);
}

/* What is kept for seconds only holds while a network is well: sagad repeats calls for hours. */
static void probe_memory(struct run *r)
{
	const double       seconds = (double)r->v->remember_ms / 1000;
	char               other[140], text[280];
	struct verify_call early = call_of(r, OP_CANCEL);

	snprintf(other, sizeof other, "%s-early", r->gid);
	early.gid = other;
	const bool forbids = ask_call(r, early)->lesson.outcome == OUTCOME_OK;

	if (!try_it(r))
		return;
	look(r, &r->before);
	sleep_ms(r->v->remember_ms);
	const struct verify_call *c = ask(r, OP_TRY);

	if (c->lesson.outcome != OUTCOME_OK)
		wrong(r, REMEMBER, "a try that came again %g s later was %s", seconds,
		      answered(c, text));
	else if (!str_eq(c->lesson.output, buf_view(&r->output)))
		wrong(r, REMEMBER, "a try was answered %.100s and %g s later %.100s",
		      r->output.n ? r->output.p : "nothing", seconds,
		      c->lesson.output.n ? c->body.p : "nothing");
	want_unchanged(r, REMEMBER, "a try that came again later had an effect twice");
	cancel_it(r);
	early.op = OP_TRY;
	if (!forbids || is_refusal(settle_call(r, early)))
		return;
	wrong(r, REMEMBER,
	      "a try that came %g s after a cancel that found nothing was %s", seconds,
	      answered(&r->last, text));
	early.op = OP_CANCEL;
	settle_call(r, early);
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct {
	const char *name, *says;
	unsigned    needs;
	void      (*run)(struct run *r);
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
	struct run  r = { .v = v, .result = out, .epoch = 1 };

	*out = (struct probe_result){ .state = why ? PROBE_STATE_SKIPPED : PROBE_STATE_OK };
	if (why != NULL) {
		snprintf(out->finding, sizeof out->finding, "%s", why);
		return;
	}
	snprintf(r.gid, sizeof r.gid, "%s-%s", run, FACTS[p].name);
	v->output = (struct str){ 0 };
	FACTS[p].run(&r);
	verify_call_fini(&r.last);
	buf_fini(&r.output);
	buf_fini(&r.before);
	buf_fini(&r.after);
}
