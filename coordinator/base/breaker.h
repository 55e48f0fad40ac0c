/* SPDX-License-Identifier: Apache-2.0
 * breaker.h - may a call to one service be made now? A circuit breaker, its Retry-After and a budget for retries.
 *
 * Pure: the caller brings the time (ms of a clock that never steps back) and chance.
 *
 *              of the last 10 s at least `calls` ended, `percent` of them taught nothing
 *     closed -------------------------------------------------------------------------> open <--+
 *       ^                                                              each `probe_ms`   |      | the probe
 *       |      a probe taught something                               one call may go    v      | taught nothing
 *       +---------------------------------------------------------------------------- half open-+
 */
#ifndef COORDINATOR_BASE_BREAKER_H
#define COORDINATOR_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_STATES(X)           \
	X(CLOSED,    "closed")      \
	X(OPEN,      "open")        \
	X(HALF_OPEN, "half_open")

/*        name     text         sentence for people */
#define BREAKER_WORDS(X)                                                                          \
	X(GO,      "go",         "calls are made")                                                \
	X(PROBE,   "probe",      "the breaker is open, and this call asks whether the service is back") \
	X(OPEN,    "breaker",    "the breaker is open: the service does not answer as it should") \
	X(QUIET,   "throttled",  "the service said 429 and when to come back")                    \
	X(BUDGET,  "retry_budget", "too many retries fail: the next ones wait for their share")

#define X(name, text) BREAKER_##name,
enum breaker_state { BREAKER_STATES(X) };
#undef X
#define X(name, ...) BREAKER_SAYS_##name,
enum breaker_word { BREAKER_WORDS(X) };
#undef X

enum {
	BREAKER_SLOTS = 10, BREAKER_SLOT_MS = 1000, /* the window in which outcomes count */
	BREAKER_WAIT_MAX_MS = 30000,  /* nobody is put off for longer, but by a 429 */
	BREAKER_QUIET_MAX_MS = 60000, /* a Retry-After of one call stops the others no longer than this */
	BREAKER_FLOOR = 10            /* retries a second that are always allowed */
};

struct breaker_rules {
	uint32_t percent;       /* 1 .. 100; 0: never opens */
	uint32_t calls;         /* fewer in the window prove nothing */
	uint32_t probe_ms;      /* between two probes */
	uint32_t retry_percent; /* failing retries are at most this part of the first calls, and the floor */
	uint32_t burst;         /* retries that may be saved up; 0: no budget */
};

struct breaker_slot {
	int64_t  number;
	uint32_t calls, nothing;
};

struct breaker {
	enum breaker_state  state;
	int64_t             since;      /* of this state; 0: ever since */
	int64_t             opened_at;  /* half open: since when it is not closed */
	int64_t             probe_at;   /* not before */
	uint32_t            probes;     /* under way */
	int64_t             quiet_until;
	int64_t             turn_at;    /* until when those put off stand in line */
	bool                refuses;    /* somebody was put off since there was room last */
	int64_t             tokens;     /* thousandths of a retry */
	int64_t             tokens_at;  /* 0: never used */
	uint64_t            opened, put_off; /* counters */
	struct breaker_slot slots[BREAKER_SLOTS];
};

/* How a call went out; kept by the caller until its end. */
struct breaker_pass {
	bool probe, retry;
};

/* GO, PROBE: the call may go, and breaker_end() or breaker_drop() follows. Else *wait_ms, at least 1, says when to
 * ask again: those that wait get turns, so that they do not all come at once. */
enum breaker_word breaker_ask(struct breaker *b, const struct breaker_rules *r, int64_t now, bool retry, uint32_t random,
                              struct breaker_pass *pass, int64_t *wait_ms);
/* Would a call that has waited for its place go out now? Takes no share of the budget. */
enum breaker_word breaker_look(const struct breaker *b, int64_t now);
/* When one that was let pass and did not leave may ask again. */
int64_t breaker_turn(struct breaker *b, const struct breaker_rules *r, int64_t now, uint32_t random);

/* An answer taught something: any outcome but `unknown`. slow_down_ms: from a 429; 0: none. True: there is room again
 * for those that were put off. */
bool breaker_end(struct breaker *b, const struct breaker_rules *r, int64_t now, struct breaker_pass pass, bool taught,
                 int64_t slow_down_ms);
/* It was given up, or never left. */
void breaker_drop(struct breaker *b, struct breaker_pass pass);

/* Of the window, for people. */
void breaker_window(const struct breaker *b, int64_t now, uint32_t *calls, uint32_t *nothing);

const char *breaker_state_name(enum breaker_state s);
const char *breaker_word_name(enum breaker_word w);
const char *breaker_word_text(enum breaker_word w);

#endif
