/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/breaker.h"

#include <string.h>

enum {
	TOKEN = 1000,
	TURN_MS = 10,        /* those that are put off come back a hundred a second, */
	TURN_BUDGET_MS = 100 /* or as fast as the floor of the budget pays for them */
};

/* ---- the window ---------------------------------------------------------------------- */

static void count(struct breaker *b, int64_t now, bool taught)
{
	const int64_t        number = now / BREAKER_SLOT_MS;
	struct breaker_slot *s = &b->slots[number % BREAKER_SLOTS];

	if (s->number != number)
		*s = (struct breaker_slot){ .number = number };
	s->calls++;
	s->nothing += !taught;
}

void breaker_window(const struct breaker *b, int64_t now, uint32_t *calls, uint32_t *nothing)
{
	*calls = *nothing = 0;
	for (unsigned i = 0; i < BREAKER_SLOTS; i++)
		if (b->slots[i].number > now / BREAKER_SLOT_MS - BREAKER_SLOTS) {
			*calls += b->slots[i].calls;
			*nothing += b->slots[i].nothing;
		}
}

static bool is_failing(const struct breaker *b, const struct breaker_rules *r, int64_t now)
{
	uint32_t calls, nothing;

	if (r->percent == 0)
		return false;
	breaker_window(b, now, &calls, &nothing);
	return calls >= r->calls && (uint64_t)nothing * 100 >= (uint64_t)calls * r->percent;
}

static void move(struct breaker *b, enum breaker_state state, int64_t now)
{
	b->state = state;
	b->since = now;
}

static void open(struct breaker *b, const struct breaker_rules *r, int64_t now)
{
	b->opened++;
	b->opened_at = now;
	b->probe_at = now + r->probe_ms;
	b->probes = 0;
	move(b, BREAKER_OPEN, now);
}

/* What failed before it is over and proves nothing any more. */
static void close_again(struct breaker *b, int64_t now)
{
	memset(b->slots, 0, sizeof b->slots);
	b->probes = 0;
	b->opened_at = 0;
	move(b, BREAKER_CLOSED, now);
}

/* ---- the budget ------------------------------------------------------------------------ */

static int64_t budget_max(const struct breaker_rules *r)
{
	return (int64_t)r->burst * TOKEN;
}

static void add_tokens(struct breaker *b, const struct breaker_rules *r, int64_t n)
{
	b->tokens += n;
	if (b->tokens > budget_max(r))
		b->tokens = budget_max(r);
}

static void refill(struct breaker *b, const struct breaker_rules *r, int64_t now)
{
	if (b->tokens_at == 0)
		b->tokens = budget_max(r);
	else if (now - b->tokens_at < 3600 * 1000)
		add_tokens(b, r, (now - b->tokens_at) * BREAKER_FLOOR * TOKEN / 1000);
	else
		b->tokens = budget_max(r);
	b->tokens_at = now > 0 ? now : 1;
}

/* ---- asking ----------------------------------------------------------------------------- */

enum breaker_word breaker_look(const struct breaker *b, int64_t now)
{
	if (b->state != BREAKER_CLOSED)
		return BREAKER_SAYS_OPEN;
	return now < b->quiet_until ? BREAKER_SAYS_QUIET : BREAKER_SAYS_GO;
}

/* The end of the line, but not before `from`. A long line has no end: whoever stands there asks again within
 * half a minute, at a time of his own. */
static int64_t take_turn(struct breaker *b, int64_t from, int64_t step_ms, int64_t now, uint32_t random)
{
	int64_t wait;

	b->refuses = true;
	b->put_off++;
	if (b->turn_at < from)
		b->turn_at = from;
	wait = b->turn_at - now;
	if (wait - (from - now) > BREAKER_WAIT_MAX_MS)
		return from - now + BREAKER_WAIT_MAX_MS / 2 + (int64_t)((uint64_t)BREAKER_WAIT_MAX_MS / 2 * random >> 32);
	b->turn_at += step_ms;
	return wait > 0 ? wait : 1;
}

int64_t breaker_turn(struct breaker *b, const struct breaker_rules *r, int64_t now, uint32_t random)
{
	int64_t from = b->state != BREAKER_CLOSED ? b->probe_at : b->quiet_until;

	(void)r;
	return take_turn(b, from > now ? from : now, TURN_MS, now, random);
}

static enum breaker_word ask_open(struct breaker *b, const struct breaker_rules *r, int64_t now)
{
	if (now < b->probe_at || now < b->quiet_until)
		return BREAKER_SAYS_OPEN;
	b->probe_at = now + r->probe_ms;
	b->probes++;
	if (b->state == BREAKER_OPEN)
		move(b, BREAKER_HALF_OPEN, now);
	return BREAKER_SAYS_PROBE;
}

static enum breaker_word ask_budget(struct breaker *b, const struct breaker_rules *r, int64_t now, bool retry)
{
	refill(b, r, now);
	if (!retry) {
		add_tokens(b, r, (int64_t)r->retry_percent * TOKEN / 100);
		return BREAKER_SAYS_GO;
	}
	if (r->burst == 0)
		return BREAKER_SAYS_GO;
	if (b->tokens < TOKEN)
		return BREAKER_SAYS_BUDGET;
	b->tokens -= TOKEN;
	return BREAKER_SAYS_GO;
}

enum breaker_word breaker_ask(struct breaker *b, const struct breaker_rules *r, int64_t now, bool retry, uint32_t random,
                              struct breaker_pass *pass, int64_t *wait_ms)
{
	enum breaker_word word;

	*pass = (struct breaker_pass){ .retry = retry };
	if (b->state != BREAKER_CLOSED)
		word = ask_open(b, r, now);
	else if (now < b->quiet_until)
		word = BREAKER_SAYS_QUIET;
	else
		word = ask_budget(b, r, now, retry);
	switch (word) {
	case BREAKER_SAYS_GO:
		break;
	case BREAKER_SAYS_PROBE:
		*pass = (struct breaker_pass){ .probe = true };
		break;
	case BREAKER_SAYS_OPEN:
	case BREAKER_SAYS_QUIET:
		*wait_ms = breaker_turn(b, r, now, random);
		break;
	case BREAKER_SAYS_BUDGET:
		*wait_ms = take_turn(b, now + TURN_BUDGET_MS, TURN_BUDGET_MS, now, random);
		break;
	}
	return word;
}

/* ---- ends -------------------------------------------------------------------------------- */

/* One answer is enough: if it was chance, the window says so again soon. */
static bool end_probe(struct breaker *b, int64_t now, bool taught)
{
	if (b->state == BREAKER_CLOSED)
		return false;
	if (taught) {
		close_again(b, now);
		return true;
	}
	breaker_drop(b, (struct breaker_pass){ .probe = true });
	return false;
}

bool breaker_end(struct breaker *b, const struct breaker_rules *r, int64_t now, struct breaker_pass pass, bool taught,
                 int64_t slow_down_ms)
{
	bool room = false;

	if (slow_down_ms > BREAKER_QUIET_MAX_MS)
		slow_down_ms = BREAKER_QUIET_MAX_MS;
	if (slow_down_ms > 0 && b->quiet_until < now + slow_down_ms)
		b->quiet_until = now + slow_down_ms;
	if (slow_down_ms > 0)
		taught = true; /* it is there, and it has had enough */
	if (pass.probe)
		room = end_probe(b, now, taught);
	else if (b->state == BREAKER_CLOSED)
		count(b, now, taught);
	/* A retry that went well has cost nothing, and pays for a part of the next one. */
	if (pass.retry && taught && slow_down_ms == 0)
		add_tokens(b, r, TOKEN + (int64_t)r->retry_percent * TOKEN / 100);
	if (b->state == BREAKER_CLOSED && is_failing(b, r, now))
		open(b, r, now);
	room = room || (b->refuses && b->state == BREAKER_CLOSED && taught && slow_down_ms == 0 &&
	                b->tokens >= budget_max(r) / 2);
	if (!room || now < b->quiet_until)
		return false;
	b->refuses = false;
	b->turn_at = 0;
	return true;
}

void breaker_drop(struct breaker *b, struct breaker_pass pass)
{
	if (!pass.probe || b->probes == 0)
		return;
	if (--b->probes == 0 && b->state == BREAKER_HALF_OPEN)
		b->state = BREAKER_OPEN;
}

/* ---- words ------------------------------------------------------------------------------- */

const char *breaker_state_name(enum breaker_state s)
{
#define X(name, text) [BREAKER_##name] = text,
	static const char *const names[] = { BREAKER_STATES(X) };
#undef X

	return names[s];
}

const char *breaker_word_name(enum breaker_word w)
{
#define X(name, text, sentence) [BREAKER_SAYS_##name] = text,
	static const char *const names[] = { BREAKER_WORDS(X) };
#undef X

	return names[w];
}

const char *breaker_word_text(enum breaker_word w)
{
#define X(name, text, sentence) [BREAKER_SAYS_##name] = sentence,
	static const char *const texts[] = { BREAKER_WORDS(X) };
#undef X

	return texts[w];
}
