/* SPDX-License-Identifier: Apache-2.0
 * txn.h - what a transaction is, and the one function that decides about it.
 *
 * Nothing here does I/O, reads a clock, allocates or draws a random number.
 * The caller owns every struct; nothing keeps a pointer past its call, except
 * that a txn points at its plan and its steps.
 *
 * Times are milliseconds since the Unix epoch on the database's clock; 0 means "none".
 */
#ifndef COORDINATOR_CORE_TXN_H
#define COORDINATOR_CORE_TXN_H

#include <stdbool.h>
#include <stdint.h>

enum { TXN_STEPS_MAX = 256, TXN_EDGES_MAX = 4096 };

/* ---- words: each listed once, for enum, name, SQL, JSON and docs -------- */

/*        name        text          ended  decided */
#define TXN_PHASES(X)                                  \
	X(PREPARED,   "prepared",   false, false)      \
	X(TRYING,     "trying",     false, false)      \
	X(CONFIRMING, "confirming", false, true)       \
	X(CONFIRMED,  "confirmed",  true,  true)       \
	X(CANCELLING, "cancelling", false, true)       \
	X(CANCELLED,  "cancelled",  true,  true)       \
	X(ABANDONED,  "abandoned",  true,  true)

/*        name    text       */
#define TXN_MODES(X)                                   \
	X(SAGA,    "saga")                             \
	X(TCC,     "tcc")                              \
	X(MESSAGE, "message")

/* A saga's action is its try, its compensation is its cancel. `check` is the
 * question to the sender of a prepared message: did your commit happen? */
#define TXN_OPS(X)                                     \
	X(TRY,     "try")                              \
	X(CONFIRM, "confirm")                          \
	X(CANCEL,  "cancel")                           \
	X(CHECK,   "check")

#define STEP_KINDS(X)                                  \
	X(COMPENSATABLE, "compensatable")              \
	X(PIVOT,         "pivot")                      \
	X(RETRIABLE,     "retriable")

/* What one call taught us. Unknown is not a failure: the call may have had its
 * effect, may have it later, or never. */
#define TXN_OUTCOMES(X)                                \
	X(OK,            "ok")                         \
	X(REFUSED,       "refused")                    \
	X(ONGOING,       "ongoing")                    \
	X(UNKNOWN,       "unknown")                    \
	X(MISCONFIGURED, "misconfigured")

/* How far a step has come, as the log knows it. `untried` is set by the commit
 * that decides cancel, on steps that nobody can have tried. */
#define STEP_STATES(X)                                 \
	X(PENDING,   "pending")                        \
	X(TRIED,     "tried")                          \
	X(REFUSED,   "refused")                        \
	X(UNTRIED,   "untried")                        \
	X(CONFIRMED, "confirmed")                      \
	X(CANCELLED, "cancelled")

/* Why a person is needed. The first four belong to a step, the others to the row. */
#define TXN_STUCKS(X)                                              \
	X(NONE,          "none",          "not stuck")             \
	X(OVERDUE,       "overdue",       "no success within stuck_after; slow retries go on") \
	X(ATTEMPTS,      "attempts",                               \
	  "the attempts are used up and the step cannot be cancelled") \
	X(MISCONFIGURED, "misconfigured",                           \
	  "the call or its answer is not as the contract wants; last_error says what") \
	X(GONE,          "gone",          "the participant no longer has what must be confirmed") \
	X(POISON,        "poison",        "replicas died again and again while driving it") \
	X(BAD_ROW,       "bad_row",       "the database refused to store its progress")

/* Why cancel was decided. */
#define TXN_CAUSES(X)                                  \
	X(NONE,     "none")                            \
	X(REFUSED,  "refused")                         \
	X(ATTEMPTS, "attempts")                        \
	X(DEADLINE, "deadline")                        \
	X(CHECK,    "check")                           \
	X(CLIENT,   "client")                          \
	X(OPERATOR, "operator")

/* The answer to a command. */
#define TXN_VERDICTS(X)                                                      \
	X(ACCEPTED,  "accepted",  "the transaction changed")                 \
	X(ALREADY,   "already",   "it was so before; nothing changed")       \
	X(DECIDED,   "decided",   "the other decision is already logged")    \
	X(IN_DOUBT,  "in_doubt",                                             \
	  "a pivot without cancel may have been done; its outcome decides")  \
	X(NOT_READY, "not_ready", "a step called by the coordinator is not ok yet") \
	X(NOT_OPEN,  "not_open",                                             \
	  "the transaction was not opened for its caller to decide or to add steps") \
	X(ENDED,     "ended",     "the transaction has ended")               \
	X(LIMIT,     "limit",     "a limit on steps is reached")             \
	X(NO_STEP,   "no_step",   "no such step, or it does not wait for this op") \
	X(CHANGED,   "changed",   "it is not at the version that was named") /* the engine's, not the core's */ \
	X(UNSAFE,    "unsafe",                                               \
	  "the step may have been tried: its cancel must go where the try went")

#define X(name, ...) PHASE_##name,
enum phase { TXN_PHASES(X) };
#undef X
#define X(name, ...) MODE_##name,
enum mode { TXN_MODES(X) };
#undef X
#define X(name, ...) OP_##name,
enum op { TXN_OPS(X) };
#undef X
#define X(name, ...) KIND_##name,
enum step_kind { STEP_KINDS(X) };
#undef X
#define X(name, ...) OUTCOME_##name,
enum outcome { TXN_OUTCOMES(X) };
#undef X
#define X(name, ...) STEP_##name,
enum step_state { STEP_STATES(X) };
#undef X
#define X(name, ...) STUCK_##name,
enum stuck { TXN_STUCKS(X) };
#undef X
#define X(name, ...) CAUSE_##name,
enum cause { TXN_CAUSES(X) };
#undef X
#define X(name, ...) VERDICT_##name,
enum verdict { TXN_VERDICTS(X) };
#undef X

/* Counted outside the enums, so that a switch needs no default. */
#define X(...) + 1
enum {
	PHASE_COUNT = 0 TXN_PHASES(X),
	MODE_COUNT = 0 TXN_MODES(X),
	OP_COUNT = 0 TXN_OPS(X),
	KIND_COUNT = 0 STEP_KINDS(X),
	OUTCOME_COUNT = 0 TXN_OUTCOMES(X),
	STEP_STATE_COUNT = 0 STEP_STATES(X),
	STUCK_COUNT = 0 TXN_STUCKS(X),
	CAUSE_COUNT = 0 TXN_CAUSES(X),
	VERDICT_COUNT = 0 TXN_VERDICTS(X)
};
#undef X

/* The legal moves, with the sentence an operator reads. Everything else is
 * asserted impossible; a decision once logged is never revised. */
#define TXN_MOVES(X)                                                                    \
	X(PREPARED,   CONFIRMING, "the caller, or the back-check, said confirm")        \
	X(PREPARED,   CONFIRMED,  "confirm was decided and nothing is left to do")      \
	X(PREPARED,   CANCELLING, "the caller, the deadline or the back-check said cancel") \
	X(PREPARED,   CANCELLED,  "cancel was decided and nothing may have been tried") \
	X(TRYING,     CONFIRMING, "every compensatable step and the pivot are ok")      \
	X(TRYING,     CONFIRMED,  "every step is ok and none has a second phase")       \
	X(TRYING,     CANCELLING,                                                       \
	  "a step was refused, the deadline passed, or somebody cancelled")             \
	X(TRYING,     CANCELLED,  "cancel was decided and there is nothing to undo")    \
	X(CONFIRMING, CONFIRMED,  "the last confirm or retriable step is done")         \
	X(CANCELLING, CANCELLED,  "the last cancel is done")                            \
	X(PREPARED,   ABANDONED,  "a person ended it without cancelling")               \
	X(TRYING,     ABANDONED,  "a person ended it without cancelling")               \
	X(CONFIRMING, ABANDONED,  "a person ended it without confirming the rest")      \
	X(CANCELLING, ABANDONED,  "a person ended it without cancelling the rest")

/* What can be asked of a transaction that is there: in which phases it can be accepted (whether it is, the state of
 * its steps says: txn_judge), whether it is about one step, and whether its gid has to be typed, because
 * it can make it inconsistent. Then what it does, and why not in other phases. */
#define TXN_LIVE_PHASES \
	(1u << PHASE_PREPARED | 1u << PHASE_TRYING | 1u << PHASE_CONFIRMING | 1u << PHASE_CANCELLING)
#define TXN_OPEN_PHASES (1u << PHASE_PREPARED | 1u << PHASE_TRYING)
#define TXN_ACTIONS(X)                                                                                 \
	X(CONFIRM, "confirm", 1u << PHASE_PREPARED, false, false, "decides confirm",                   \
	  "only what is open waits for its caller to confirm")                                         \
	X(CANCEL,  "cancel",  TXN_OPEN_PHASES,      false, false, "decides cancel: what may have been tried is undone", \
	  "a decision is never revised")                                                               \
	X(PAUSE,   "pause",   TXN_LIVE_PHASES,      false, false, "nothing is called and nothing decided until it is resumed", \
	  "it has ended")                                                                              \
	X(RESUME,  "resume",  TXN_LIVE_PHASES,      false, false, "lets a paused one go on", "it has ended") \
	X(RETRY,   "retry",   TXN_LIVE_PHASES,      false, false,                                      \
	  "every call that waits is made now, and attempts are counted anew; also what is stuck", "it has ended") \
	X(RELEASE, "release", TXN_LIVE_PHASES,      false, false,                                      \
	  "another replica drives it on; calls under way are cut off and made again", "it has ended")  \
	X(ABANDON, "abandon", TXN_LIVE_PHASES,      false, true,                                       \
	  "ends it as it is, without undoing or finishing anything", "it has ended")                   \
	X(RESOLVE, "resolve", TXN_LIVE_PHASES,      true,  true,                                       \
	  "tells what really became of the call that the step waits for", "it has ended")              \
	X(SKIP,    "skip",    TXN_LIVE_PHASES,      true,  true,                                       \
	  "goes on as if the call that the step waits for had been done", "it has ended")              \
	X(PATCH,   "patch",   TXN_LIVE_PHASES,      true,  true,                                       \
	  "changes the URL, time-out or retries of a step for this transaction", "it has ended")

#define X(name, ...) ACTION_##name,
enum action { TXN_ACTIONS(X) };
#undef X
#define X(...) + 1
enum { ACTION_COUNT = 0 TXN_ACTIONS(X) };
#undef X

struct action_fact {
	const char *name, *effect, *why_not;
	unsigned    phases;             /* set of 1 << enum phase */
	bool        of_step, is_typed;
};

enum { TXN_CHECK = 0xffff }; /* the step number of a message's back-check */

/* ---- the plan: what the definition says; never changes while shared ------ */

struct retry {
	uint32_t initial_ms;   /* 1 .. 1 h */
	uint32_t max_ms;       /* initial_ms .. 1 d */
	uint32_t factor_milli; /* 1000 .. 100000: 2000 doubles */
	uint32_t attempts;     /* 0: no limit */
	bool     jitter;       /* full jitter: a random part of the delay */
};

enum { /* plan_step.has: the calls that exist */
	HAS_TRY = 1u << OP_TRY,         /* not set: the caller tries it himself before it counts */
	HAS_CONFIRM = 1u << OP_CONFIRM,
	HAS_CANCEL = 1u << OP_CANCEL
};

struct plan_step {
	enum step_kind kind;
	unsigned       has;
	bool           joined;     /* registered while the transaction ran */
	struct retry   retry;
	uint32_t       poll_ms;    /* ask again after `ongoing` */
	uint16_t       after_at;   /* plan.edges[after_at .. after_at + after_n) */
	uint16_t       after_n;    /* steps that must be ok before this one; each < step_count */
};

/* Invariants (plan_check): acyclic; at most one pivot; no compensatable step
 * behind a pivot or a retriable one, no pivot behind a retriable one; retriable steps
 * have HAS_TRY alone, others have it unless they joined; joined steps are compensatable
 * and have no after; an open tcc has no others, and nothing else has any;
 * a message has only retriable steps; only an open plan may have none, and only an open plan a check. */
struct plan {
	enum mode               mode;
	bool                    open;         /* born prepared, its caller decides: a tcc that
	                                       * steps join, or a message */
	uint16_t                step_count;
	uint16_t                max_parallel; /* 1 .. TXN_STEPS_MAX */
	uint32_t                stuck_after_ms; /* 0: never overdue */
	bool                    has_check;    /* open tcc: its caller is asked when the deadline passes; a message always has one */
	struct retry            check_retry;  /* of a check */
	uint32_t                check_poll_ms;
	const struct plan_step *steps;
	const uint16_t         *edges;
};

static inline bool plan_is_checked(const struct plan *plan)
{
	return plan->mode == MODE_MESSAGE || plan->has_check;
}

/* Says what is wrong with a plan, or NULL. *step is the step it is about, TXN_CHECK
 * when it is about none. */
const char *plan_check(const struct plan *plan, uint16_t *step);

/* ---- the state ------------------------------------------------------------ */

enum { /* step.flags */
	STEP_IS_ONGOING = 1 << 0,  /* durable: the participant said 202 to the current op */
	STEP_IS_RESOLVED = 1 << 1, /* durable: a person, not an answer, settled an op */
	STEP_IN_DOUBT = 1 << 2,    /* volatile: an earlier attempt of this op may still land */
	STEP_IS_SKIPPED = 1 << 3,  /* durable: the op settled last was not done; a person said to go on */
	STEP_IS_PATCHED = 1 << 4   /* volatile: since its open call went out a person changed how it is called */
};

struct step {
	enum step_state state;
	enum stuck      stuck;         /* ATTEMPTS, MISCONFIGURED, GONE: no automatic attempts */
	uint8_t         flags;
	uint8_t         open_op;       /* volatile: 1 + op of our call under way; 0 none */
	uint16_t        misconfigured; /* answers of that kind to the current op, in a row */
	uint32_t        attempts;      /* attempts of the current op that taught us nothing */
	int64_t         first_at;      /* first failure of the current op; for stuck_after */
	int64_t         next_at;       /* not called before; while ONGOING not worth a commit */
	int64_t         put_off_until; /* volatile: its participant takes no calls before */
};

/* Durable except where marked. */
struct txn {
	const struct plan *plan;
	uint64_t           version;    /* grows by one with every commit */
	uint64_t           same_since; /* at this version it was as it is now, but for who drives it; 0: it is new
	                                * with `version`. See txn_is_as_at */
	enum phase         phase;
	enum stuck         stuck;
	bool               paused;
	enum cause         cause;      /* of a cancel */
	uint16_t           cause_step; /* with CAUSE_REFUSED and CAUSE_ATTEMPTS */
	int64_t            stuck_at;
	int64_t            start_at;   /* nothing is called before it; 0 once started */
	int64_t            deadline_at;
	struct step        check;      /* plan_is_checked() */
	uint16_t           step_count; /* == plan->step_count */
	struct step       *steps;
};

/* ---- events ---------------------------------------------------------------- */

#define TXN_EVENTS(X)                                                                        \
	X(RESUME,  "resume",  "the owner has it in memory: born, adopted, or read again")    \
	X(TICK,    "tick",    "time has passed")                                             \
	X(ANSWER,  "answer",  "a call of ours ended, a callback came, or a person knows")    \
	X(PUT_OFF, "put_off", "a call of ours was not made: its participant takes none now") \
	X(ROOM,    "room",    "participants take calls again: what was put off is due now")  \
	X(CONFIRM, "confirm", "the caller decides confirm")                                  \
	X(CANCEL,  "cancel",  "the caller or an operator decides cancel")                    \
	X(JOIN,    "join",    "a step joins; the plan has grown by one")                     \
	X(PAUSE,   "pause",   "a person stops it")                                           \
	X(UNPAUSE, "unpause", "a person lets it go on")                                      \
	X(RETRY,   "retry",   "a person wants every waiting call made now, counters cleared") \
	X(STUCK,   "stuck",   "the engine found the row unfit to be driven")                 \
	X(PATCH,   "patch",   "a person changes where or how one step is called")            \
	X(RELEASE, "release", "a person wants another replica to drive it")                  \
	X(ABANDON, "abandon", "a person ends it without cancelling")

#define X(name, ...) EV_##name,
enum event_kind { TXN_EVENTS(X) };
#undef X
#define X(...) + 1
enum { EVENT_COUNT = 0 TXN_EVENTS(X) };
#undef X

enum source { FROM_CALL, FROM_CALLBACK, FROM_PERSON };

struct event {
	enum event_kind kind;
	int64_t         now;
	uint32_t        random;        /* for jitter */
	union {
		struct {               /* EV_RESUME */
			bool adopted;  /* calls of an earlier owner, or of ours before a lost
			                * commit, may still land */
		} resume;
		struct {               /* EV_ANSWER */
			uint16_t     step;
			enum op      op;
			enum source  from;     /* FROM_CALL closes the step's open call */
			enum outcome outcome;
			bool         bare_conflict; /* a 409 that may mean "still in progress" */
			bool         gone;     /* a 410 to a confirm */
			bool         skip;     /* FROM_PERSON, ok: it was not done, go on as if */
			int64_t      retry_after_ms; /* 0: the participant named none */
		} answer;
		struct {               /* EV_PUT_OFF; closes the step's open call */
			uint16_t step;
			enum op  op;
			int64_t  until;
			bool     failing; /* for a failure of the participant: the step counts as failing from here */
		} put_off;
		struct {               /* EV_CONFIRM */
			int64_t start_at; /* nothing is called before it; 0: now */
		} confirm;
		struct {               /* EV_CANCEL */
			enum cause cause; /* CLIENT or OPERATOR */
		} cancel;
		struct {               /* EV_JOIN */
			const struct plan *plan; /* as before, with one joined step more */
		} join;
		struct {               /* EV_STUCK */
			enum stuck stuck; /* POISON or BAD_ROW */
		} stuck;
		struct {               /* EV_PATCH */
			const struct plan *plan; /* as before, but for how this step is called */
			uint16_t     step;
			int          moved;    /* the op that goes elsewhere from now on; -1: none */
		} patch;
	} u;
};

/* ---- the update ------------------------------------------------------------- */

enum { /* update.flags: what the engine must do, in this order */
	DO_COMMIT = 1u << 0, /* write next; the old state stays in force until that is known */
	DO_CALLS = 1u << 1,  /* start the calls; next already counts them as open */
	DO_FINISH = 1u << 2, /* ended: answer who waits, let go */
	DO_RELEASE = 1u << 3 /* as it is, for another replica, now; calls under way are cut off */
};

struct call {
	uint16_t step;           /* or TXN_CHECK */
	enum op  op;
};

/* The caller gives memory: next.steps for TXN_STEPS_MAX steps (or at least
 * step_count + 1), calls for as many. Without DO_COMMIT, next differs from the
 * old state only in volatile parts and takes its place at once. */
struct update {
	unsigned     flags;
	enum verdict verdict;    /* of CONFIRM, CANCEL, JOIN, PAUSE, UNPAUSE, RETRY, PATCH, RELEASE, ABANDON,
	                          * and of an ANSWER that is not FROM_CALL */
	struct txn   next;
	uint16_t     call_count;
	struct call *calls;
	int64_t      timer_at;   /* send EV_TICK at this time; 0: no timer */
};

/* A transaction as it is born, to be inserted with version 1; then EV_RESUME.
 * t->steps has room for plan->step_count steps. With nothing to try and no
 * start_at it is born confirming. A plan that is open is born prepared. */
void txn_init(struct txn *t, const struct plan *plan, int64_t start_at, int64_t deadline_at);

/* Pure: reads *t and *ev, fills *up. Rows and answers from outside may be wrong
 * in any way and never trip an assertion; our own state may not. */
void txn_step(const struct txn *t, const struct event *ev, struct update *up);

/* Was this row read back from the log, and is it one that txn_step can take?
 * Says what is wrong, or NULL. For rows only; our own state is asserted. */
const char *txn_check(const struct txn *t);

/* A pivot without cancel may have been sent and has no outcome yet. */
bool txn_in_doubt(const struct txn *t);
/* What the transaction waits for on this step (or TXN_CHECK) now: the op, or -1. Pause, back-off
 * and max_parallel do not count. Where an open try has to be answered before: OP_TRY. */
int  txn_wanted(const struct txn *t, uint16_t step);
/* Was it at that version as it is now? To be parked, taken up or taken over is counted, since whoever writes
 * compares versions, but changes nothing that a person has seen. */
bool txn_is_as_at(const struct txn *t, uint64_t version);
const struct action_fact *action_fact(enum action a);
/* What txn_step would say to it now. step, op: of those about one; of PATCH the op that would go elsewhere, or -1. */
enum verdict txn_judge(const struct txn *t, int64_t now, enum action a, uint16_t step, int op);
bool txn_may_move(enum phase from, enum phase to);
/* The operator's sentence of a legal move, else NULL. */
const char *txn_move_text(enum phase from, enum phase to);

const char *phase_name(enum phase v);
const char *mode_name(enum mode v);
const char *op_name(enum op v);
const char *step_kind_name(enum step_kind v);
const char *outcome_name(enum outcome v);
const char *step_state_name(enum step_state v);
const char *stuck_name(enum stuck v);
const char *stuck_text(enum stuck v);
const char *cause_name(enum cause v);
const char *verdict_name(enum verdict v);
const char *verdict_text(enum verdict v);
const char *event_name(enum event_kind v);
bool        phase_is_ended(enum phase v);
bool        phase_is_decided(enum phase v);

#endif
