/* SPDX-License-Identifier: Apache-2.0
 * explain.h - why a transaction does not move, in one true sentence and as data. Pure: facts in, words out.
 */
#ifndef API_EXPLAIN_H
#define API_EXPLAIN_H

#include "api/api.h"

/* Each way of not moving, once: code, and what a person can do. */
#define WHYS(X)                                                                                                    \
	X(ENDED,         "ended",         "")                                                                      \
	X(DATABASE,      "database_away", "Bring the database back; sagad goes on by itself.")                     \
	X(DOUBT,         "doubt",         "Wait: the row is read again as soon as the database answers.")          \
	X(FAILOVER,      "failover",      "Wait: it is compared with what the new primary has.")                   \
	X(SUSPENDED,     "suspended",     "Look at this replica's way to the database; if its lease ends, others take over.") \
	X(DRAINING,      "draining",      "Nothing to do: it is released for other replicas.")                     \
	X(COMMITTING,    "committing",    "Nothing to do; if it stays so, look at the database.")                  \
	X(OWNER_FENCED,  "owner_gone",    "Wait a few seconds; if it stays so, see whether live replicas have room (GET /v1/replicas).") \
	X(OWNER_SILENT,  "owner_silent",  "Wait for one lease-ttl: if it is dead, others take over. If not, look at that replica.") \
	X(NO_OWNER,      "no_owner",      "Wait: any live replica takes it up when it is due; retry makes it due now.") \
	X(PAUSED,        "paused",        "Resume it when the reason is gone (POST …/resume).")                    \
	X(UNREADABLE,    "unreadable",    "See whether its definition is there, and whether a newer replica wrote it.") \
	X(POISON,        "poison",        "Find out why replicas died (their logs), then retry; or abandon it.")   \
	X(BAD_ROW,       "bad_row",       "See the database's log for what it refused, then retry; or abandon it.") \
	X(ATTEMPTS,      "attempts",      "Put the participant right and retry; or resolve the step if you know what happened.") \
	X(MISCONFIGURED, "misconfigured", "Put the definition, the URL or the service right, then retry; or resolve the step.") \
	X(GONE,          "gone",          "The participant's hold has expired: find out what it did, and resolve the step.") \
	X(NOT_STARTED,   "not_started",   "Nothing to do: it begins by itself.")                                   \
	X(DECISION,      "decision",      "Its caller confirms or cancels; its deadline does it for him.")         \
	X(CALLING,       "calling",       "Wait for the answer or the time-out of the call.")                      \
	X(FULL,          "queue_full",    "Wait, or raise calls.per-participant if the service can take more.")    \
	X(PAUSED_PARTICIPANT, "participant_paused", "Resume the participant when the reason is gone.")             \
	X(BREAKER,       "breaker_open",  "Look at the participant; calls go on within a second or so of its return.") \
	X(THROTTLED,     "throttled",     "Nothing to do, or give the participant more room.")                     \
	X(BUDGET,        "retry_budget",  "Look at the participant: most retries to it fail.")                     \
	X(ONGOING,       "ongoing",       "The participant works on it; ask there if it takes too long.")          \
	X(BACK_OFF,      "back_off",      "Look at the last error; retry makes the next attempt now.")             \
	X(PARALLEL,      "max_parallel",  "Wait: as many calls of it are under way as its definition allows.")     \
	X(ABOUT,         "about_to_call", "Nothing to do: it is due.")                                             \
	X(NOTHING,       "nothing",       "Nothing that sagad knows of: if it stays so, report it with this answer.")

#define X(name, ...) WHY_##name,
enum why { WHYS(X) };
#undef X

enum owner_kind { OWNER_NOBODY, OWNER_US, OWNER_LIVE, OWNER_LEFT, OWNER_FENCED, OWNER_UNKNOWN };

struct explain_facts {
	struct view         view;
	int64_t             now;
	/* This replica, who tells. */
	struct uuid         me;
	enum engine_state   state;
	struct api_database database;
	/* If it owns it. */
	bool                is_owner;
	struct engine_inside inside;
	int64_t           (*call_ms)(void *ctx, uint16_t step);
	/* Its owner, as the log knows him. */
	enum owner_kind     owner;
	int64_t             owner_age_ms; /* since his last sign of life; -1: not known */
	bool                owner_silent; /* asked, and no answer came */
	/* What this replica has seen of participants, and what people have paused. */
	bool              (*target)(void *ctx, struct str name, struct api_target *out);
	const struct pause_row *(*pause)(void *ctx, enum pause_kind kind, struct str name);
	void               *ctx;
	const struct pause_row *paused; /* who paused it, as the audit has it (of a row: since, actor, reason); NULL: not known */
};

struct explanation {
	enum why    why;
	int         step;     /* -1: none in particular; or TXN_CHECK */
	int         op;       /* of it, or -1 */
	int64_t     until;    /* when something happens by itself, at the latest; 0: nobody knows */
	struct buf  sentence; /* the caller's to free */
};

void        explain(const struct explain_facts *f, struct explanation *out);
/* The whole answer, a JSON object. */
void        explain_show(const struct explain_facts *f, const struct explanation *x, struct buf *out);
const char *why_name(enum why w);
const char *why_hint(enum why w);

#endif
