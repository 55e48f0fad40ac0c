/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/trial.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SETTLE_MAX = 30, SETTLE_MS = 100, RETRY_AFTER_MAX_MS = 2000 };

/* ---- words ----------------------------------------------------------------------------------- */

/* The first finding counts: what follows from it would only confuse. */
void trial_find(struct trial *t, enum probe_state state, const char *advice, const char *fmt,
                ...)
{
	va_list ap;

	if (t->result->state == PROBE_STATE_WRONG ||
	    (t->result->state == PROBE_STATE_HINT && state == PROBE_STATE_HINT))
		return;
	t->result->state = state;
	t->result->advice = advice;
	va_start(ap, fmt);
	vsnprintf(t->result->finding, sizeof t->result->finding, fmt, ap);
	va_end(ap);
}

bool trial_is_fine(const struct trial *t)
{
	return t->result->state != PROBE_STATE_WRONG;
}

const char *trial_answered(const struct verify_call *c, char out[280])
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

struct verify_call trial_call_of(struct trial *t, enum op op)
{
	return (struct verify_call){ .op = op,
		                     .gid = t->gid,
		                     .step = t->step,
		                     .epoch = t->epoch,
		                     .attempt = ++t->attempts };
}

const struct verify_call *trial_ask_call(struct trial *t, struct verify_call call)
{
	verify_call_fini(&t->last);
	t->last = call;
	verify_exchange(t->v, &t->last, 1);
	return &t->last;
}

const struct verify_call *trial_ask(struct trial *t, enum op op)
{
	return trial_ask_call(t, trial_call_of(t, op));
}

void trial_sleep(int64_t ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* As sagad does: again, while an answer settles nothing. */
const struct verify_call *trial_settle_call(struct trial *t, struct verify_call call)
{
	const struct verify_call *c = trial_ask_call(t, call);

	for (int i = 1; i < SETTLE_MAX; i++) {
		const enum outcome o = c->lesson.outcome;
		int64_t            wait = c->lesson.retry_after_ms;

		/* After an attempt without an answer a bare 409 means that it goes on. */
		if (o != OUTCOME_UNKNOWN && o != OUTCOME_ONGOING &&
		    !(o == OUTCOME_REFUSED && c->lesson.bare_conflict))
			break;
		if (c->lesson.stale_epoch || *verify_failure(t->v) != '\0')
			break;
		trial_sleep(wait > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS
		            : wait > 0                ? wait
		                                      : SETTLE_MS);
		call.attempt = ++t->attempts;
		c = trial_ask_call(t, call);
	}
	return c;
}

const struct verify_call *trial_settle(struct trial *t, enum op op)
{
	return trial_settle_call(t, trial_call_of(t, op));
}

bool trial_is_refusal(const struct verify_call *c)
{
	return c->lesson.outcome == OUTCOME_REFUSED;
}

/* Its output counts for the URLs of what comes next, as it does for sagad. */
void trial_use_output(struct trial *t, struct str output)
{
	buf_clear(&t->output);
	buf_str(&t->output, output);
	buf_clear(&t->v->output_text);
	buf_str(&t->v->output_text, output);
	t->v->output = buf_view(&t->v->output_text);
	t->has_output = true;
}

void trial_keep_output(struct trial *t, const struct verify_call *c)
{
	trial_use_output(t, c->lesson.output);
}

bool trial_try(struct trial *t)
{
	const struct verify_call *c = trial_settle(t, OP_TRY);
	char                      text[280];

	if (c->lesson.outcome != OUTCOME_OK) {
		trial_wrong(t,
		      "give an input that the service accepts (--input); every probe needs one",
		      "a try was %s", trial_answered(c, text));
		return false;
	}
	trial_keep_output(t, c);
	return true;
}

bool trial_cancel(struct trial *t)
{
	const struct verify_call *c = trial_settle(t, OP_CANCEL);
	char                      text[280];

	if (c->lesson.outcome == OUTCOME_OK)
		return true;
	trial_wrong(t,
	      !t->v->has_cancel
	              ? "it went to the URL of the try: give --cancel-url, or have that URL answer "
	                "cancels (Saga-Op: cancel) with 2xx"
	      : c->status == 404
	              ? "answer 2xx, or say \"outcomes\": {\"404\": \"ok\"} in the definition"
	              : "a cancel cannot be refused: answer 2xx, or 503 to be called again",
	      "a cancel was %s", trial_answered(c, text));
	return false;
}

/* ---- the state --------------------------------------------------------------------------- */

void trial_look(struct trial *t, struct buf *out)
{
	if (t->v->state_url != NULL && !verify_state(t->v, out))
		trial_wrong(t,
		      "GET of --state-url has to answer 200, and what it points at has to be there",
		      "the state cannot be read");
}

bool trial_is_changed_since(struct trial *t, struct str then)
{
	trial_look(t, &t->after);
	return t->v->state_url != NULL && !str_eq(then, buf_view(&t->after));
}

bool trial_is_changed(struct trial *t)
{
	return trial_is_changed_since(t, buf_view(&t->before));
}

/* Since the last look. */
void trial_unchanged(struct trial *t, const char *advice, const char *what)
{
	if (trial_is_fine(t) && trial_is_changed(t) && trial_is_fine(t))
		trial_wrong(t, advice, "%s: the state went from %.100s to %.100s", what,
		            t->before.p ? t->before.p : "", t->after.p ? t->after.p : "");
}

/* A try again may be told what the first one was told, or refused; and it does nothing. */
void trial_nothing_new(struct trial *t, const struct verify_call *c, const char *when)
{
	char text[280];

	if (c->lesson.outcome == OUTCOME_OK && t->has_output &&
	    str_eq(c->lesson.output, buf_view(&t->output)))
		return;
	if (!trial_is_refusal(c))
		trial_wrong(t,
		      "refuse it (422): a try that was held up in the network must not bring back "
		      "what was undone",
		      "a try that came %s was %s", when, trial_answered(c, text));
}
