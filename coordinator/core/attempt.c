/* SPDX-License-Identifier: Apache-2.0
 * attempt.c - attempts of one op of one step: counting, back-off, giving up.
 */
#include "coordinator/core/txn_internal.h"

enum {
	RETRY_AFTER_MAX_MS = 3600 * 1000, /* a participant cannot send us to sleep for a year */
	MISCONFIGURED_MAX = 3
};

void attempt_reset(struct step *s)
{
	s->stuck = STUCK_NONE;
	s->flags &= STEP_IS_RESOLVED | STEP_IS_SKIPPED;
	s->misconfigured = 0;
	s->attempts = 0;
	s->first_at = 0;
	s->next_at = 0;
	s->put_off_until = 0;
}

void attempt_retry(struct step *s)
{
	uint8_t flags = s->flags;

	/* The count goes, what it told does not: a bare conflict still proves nothing. */
	if (s->attempts > 0)
		flags |= STEP_IN_DOUBT;
	attempt_reset(s);
	s->flags = flags;
}

/* The delay before attempt n + 1, in thousandths so that small factors count.
 * A factor above one grows it by one at least: at most some 18,000 rounds, for 1.001. */
static int64_t backoff_ms(const struct retry *r, uint32_t n, uint32_t random)
{
	const int64_t max = (int64_t)r->max_ms * 1000;
	int64_t       delay = (int64_t)r->initial_ms * 1000;

	if (r->factor_milli > 1000)
		for (; n > 1 && delay < max; n--)
			delay = delay * r->factor_milli / 1000;
	if (delay > max)
		delay = max;
	delay /= 1000;
	if (r->jitter)
		delay = 1 + (int64_t)((uint64_t)delay * random >> 32);
	return delay;
}

static int64_t at_least(int64_t delay_ms, int64_t retry_after_ms)
{
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	return delay_ms > retry_after_ms ? delay_ms : retry_after_ms;
}

static void fail(struct step *s, const struct retry *r, uint32_t n, const struct event *ev)
{
	int64_t delay = backoff_ms(r, n, ev->random);

	if (s->first_at == 0)
		s->first_at = ev->now;
	s->next_at = ev->now + at_least(delay, ev->u.answer.retry_after_ms);
}

void attempt_unknown(struct step *s, const struct retry *r, const struct event *ev)
{
	if (s->attempts < UINT32_MAX)
		s->attempts++;
	s->misconfigured = 0;
	fail(s, r, s->attempts, ev);
}

void attempt_misconfigured(struct step *s, const struct retry *r, const struct event *ev)
{
	if (s->misconfigured < UINT16_MAX)
		s->misconfigured++;
	fail(s, r, s->misconfigured, ev);
	if (s->misconfigured >= MISCONFIGURED_MAX)
		s->stuck = STUCK_MISCONFIGURED;
}

/* A sign of life: no attempt is used up, and the step is not overdue any more. */
void attempt_ongoing(struct step *s, uint32_t poll_ms, const struct event *ev)
{
	s->flags |= STEP_IS_ONGOING;
	s->misconfigured = 0;
	s->first_at = 0;
	if (s->stuck == STUCK_OVERDUE)
		s->stuck = STUCK_NONE;
	s->next_at = ev->now + at_least(poll_ms > 0 ? poll_ms : 1, ev->u.answer.retry_after_ms);
}

/* Nothing was sent: no attempt is used up. But a service that is down from the beginning on makes it overdue. */
void attempt_put_off(struct step *s, const struct event *ev)
{
	s->put_off_until = ev->u.put_off.until;
	if (ev->u.put_off.failing && s->first_at == 0)
		s->first_at = ev->now;
}

void attempt_overdue(struct step *s, uint32_t stuck_after_ms, int64_t now)
{
	if (s->first_at != 0 && s->stuck == STUCK_NONE && stuck_after_ms > 0 &&
	    now - s->first_at >= stuck_after_ms)
		s->stuck = STUCK_OVERDUE;
}

bool attempt_is_stopped(const struct step *s)
{
	return s->stuck > STUCK_OVERDUE;
}

bool attempt_differs(const struct step *a, const struct step *b)
{
	/* While a participant says "ongoing", the time of the next question is not worth a
	 * commit each: lost with its replica, it makes the next owner ask early. */
	bool polls = a->flags & b->flags & STEP_IS_ONGOING;

	return a->state != b->state || a->stuck != b->stuck ||
	       ((a->flags ^ b->flags) & STEP_DURABLE_FLAGS) != 0 ||
	       a->misconfigured != b->misconfigured || a->attempts != b->attempts ||
	       a->first_at != b->first_at || (a->next_at != b->next_at && !polls);
}
