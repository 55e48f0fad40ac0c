/* SPDX-License-Identifier: Apache-2.0
 * engine.h - one replica: what it owns, its timers, commits, lease and adoption.
 *
 * Deterministic: the same answers of the ports in the same order give the same
 * run. One thread; no function calls back before it returns, except where it
 * says so: callbacks come from engine_tick() and from inside answers of ports. The shell's duties: call engine_flush() before the loop sleeps, arm
 * one timer for engine_next_at(), call engine_tick() when it fires.
 */
#ifndef COORDINATOR_ENGINE_ENGINE_H
#define COORDINATOR_ENGINE_ENGINE_H

#include "coordinator/base/tally.h"
#include "coordinator/engine/port.h"

/* What a call last taught us about a step; kept in progress. */
struct note {
	struct str output; /* JSON of an ok try; empty: none */
	struct str error;  /* of the last answer that was no success; empty: none */
	int        status; /* HTTP status of that answer */
	bool       refused;/* the try that tried_at tells of; else it was ok */
	int64_t    at;     /* when it came; 0: none yet. `ongoing` is no error */
	int64_t    answered_at; /* when the last call ended or the last callback came; 0: never */
	uint32_t   calls;  /* that ended, of the op that was answered last */
	enum op    op;     /* that op; with answered_at */
	int64_t    tried_at;    /* when the try was answered ok or refused; 0: never. Stays when its confirm or cancel is answered */
	int64_t    joined_at;   /* when it joined what ran already; 0: it was there from the start */
};

/* A transaction as it is in force. Borrowed: valid during the callback. */
struct view {
	struct row        row;     /* row.progress may be empty for an owned one */
	const struct txn *txn;     /* NULL: the row cannot be driven (row.def == NULL or progress unreadable) */
	const struct note *notes;  /* txn->step_count of them */
	const struct note *check;  /* of a message's back-check */
};

struct engine_config {
	uint32_t   ttl_ms;          /* 2000 .. 60000: lease */
	uint32_t   beat_ms;         /* heartbeat; at most ttl_ms / 4 */
	uint32_t   margin_ms;       /* we stop acting this much before the server can let the lease go */
	uint32_t   fence_delay_ms;  /* between two looks at a lock before fencing; 250 */
	uint32_t   park_after_ms;   /* release what sleeps longer than this; 5000 */
	uint32_t   transactions_max;/* in memory; begins beyond it are BEGIN_BUSY */
	uint32_t   batch_rows, batch_bytes; /* 300, 256 KiB */
	uint32_t   batch_behind;    /* so many rows make a second batch behind one under way; 0: there is none */
	uint32_t   weight;          /* 1 .. 1000 */
	size_t     keep_bytes;      /* of what ended or was parked lately, for a failover that loses it */
	struct str address;         /* how other replicas reach our API; lives as long as the engine */
};

struct engine;

struct engine *engine_open(const struct engine_config *config, const struct ports *ports);
/* Frees all. Ports must not call back afterwards. Does not release rows: see drain. */
void    engine_close(struct engine *e);
/* Enrols a new incarnation and takes its lease; goes on trying until it has one. */
void    engine_start(struct engine *e);
void    engine_tick(struct engine *e);
int64_t engine_next_at(const struct engine *e); /* on boot_ms; INT64_MAX: nothing to wait for */
void    engine_flush(struct engine *e);         /* sends what collects, if it is worth it while another batch is under way */
/* Stops accepting, lets open calls end for grace_ms, releases the rest, gives the lease back. done is the
 * last callback; it must not close the engine. */
typedef void drained_done(void *arg);
void    engine_drain(struct engine *e, uint32_t grace_ms, drained_done *done, void *arg);

/* Is the lease certainly ours at this moment, by the clock? Asked by whoever queues calls, right before one
 * leaves the process: a call may have been started while we might act, and wait. */
bool    engine_may_act(struct engine *e);

/* ---- news from the shell ---------------------------------------------------------- */

void engine_on_lease_lost(struct engine *e);     /* the lease session broke */
void engine_on_log_back(struct engine *e);       /* the log has a new connection; what was in doubt is read again */
/* The log's server was promoted ago_ms ago. lived: we have had answers of the one before it, so it may hold
 * less than we were told; then this comes before any answer of the new one. */
void engine_on_failover(struct engine *e, int64_t ago_ms, bool lived);
/* The participant that `line` names took no calls and takes them again: what it put off is looked at now. 0: all of them. */
void engine_on_room(struct engine *e, uint64_t line);
void engine_on_poke(struct engine *e, struct str gid); /* another replica put a command for us, or met a row of ours */

/* ---- transactions ------------------------------------------------------------------- */

enum begin_result {
	BEGIN_DONE,   /* inserted, durable */
	BEGIN_EXISTS, /* the gid is taken; view is that transaction (compare hashes) */
	BEGIN_BUSY,   /* a limit of this replica */
	BEGIN_AWAY,   /* no log, or no lease: not inserted */
	BEGIN_BARRED, /* somebody else's open transaction has begun that gid: not inserted here */
	BEGIN_LOST,   /* fate unknown: asking again with the same gid is safe */
	BEGIN_REFUSED /* the log cannot store this row, now or later */
};
typedef void begin_done(void *arg, enum begin_result result, const struct view *view); /* view NULL unless DONE, EXISTS */

/* row: gid, def, definition, definition_version, document, input, labels, traceparent,
 * hash, retention_ms are used; copied before it returns. */
void engine_begin(struct engine *e, const struct row *row, int64_t start_at, int64_t deadline_at,
                  begin_done *done, void *arg);

/* What people and programs can ask of a running transaction. Listed once:
 * names serve the inbox, the journal and the API. */
#define COMMANDS(X)                \
	X(CONFIRM,  "confirm")     \
	X(CANCEL,   "cancel")      \
	X(JOIN,     "join")        \
	X(COMPLETE, "complete")    \
	X(FAIL,     "fail")        \
	X(PAUSE,    "pause")       \
	X(UNPAUSE,  "resume")      \
	X(RETRY,    "retry")       \
	X(RESOLVE,  "resolve")     \
	X(ABANDON,  "abandon")     \
	X(SKIP,     "skip")        \
	X(PATCH,    "patch")       \
	X(RELEASE,  "release")

#define X(name, ...) COMMAND_##name,
enum command_kind { COMMANDS(X) };
#undef X
#define X(...) + 1
enum { COMMAND_COUNT = 0 COMMANDS(X) };
#undef X

struct command {
	enum command_kind kind;
	struct str        gid;
	struct str        step;    /* COMPLETE, FAIL, RESOLVE, SKIP, PATCH: its name */
	enum op           op;      /* of those; PATCH: what `moves` speaks of */
	enum outcome      outcome; /* RESOLVE */
	bool              moves;   /* PATCH: the call of `op` goes to another URL */
	struct str        body;    /* JOIN: step document; COMPLETE, RESOLVE: output; FAIL: error text (plain);
	                            * PATCH: what changes (participants/definition.h) */
	struct str        actor;   /* empty: the calling service; else a person, and it is journalled */
	struct str        reason;
	struct str        role, request_id; /* of the actor, for the audit */
	struct uuid       id;      /* not nil: the same id is one command, however often and wherever it is given; it
	                            * takes the way through the inbox, and its verdict stays there */
	int64_t           start_at; /* CONFIRM: nothing is called before it; 0: now */
	uint64_t          if_version; /* not 0: only while it is as it was at this version (txn_is_as_at), else VERDICT_CHANGED */
};

enum command_result {
	COMMAND_APPLIED, /* verdict says how; durable */
	COMMAND_UNKNOWN, /* no such transaction */
	COMMAND_INVALID, /* err says why (a step document that does not compile) */
	COMMAND_DIFFERS, /* JOIN: the name is taken by another content */
	COMMAND_AWAY,    /* nothing happened */
	COMMAND_LATE,    /* queued for its owner, which has not applied it within 10 s; it will be */
	COMMAND_LOST     /* fate unknown: its commit may still land. Sent on, it could be done twice */
};
typedef void command_done(void *arg, enum command_result result, enum verdict verdict,
                          const struct view *view, const struct err *err); /* view with APPLIED */
/* Any replica: applied here if owned here or parked, else through the inbox. */
void engine_command(struct engine *e, const struct command *c, command_done *done, void *arg);

/* What a command would do to a transaction as this view shows it, and then, if every call were a success. */
struct foreseen {
	uint16_t step;
	enum op  op;
	bool     at_once; /* by the command itself; the others follow, in this order */
};
struct foresight { /* borrowed */
	enum verdict           verdict;
	struct definition     *def;           /* with what the command changes in it */
	const struct txn      *before, *after; /* NULL where the core was not asked; after: at once */
	const struct foreseen *calls;         /* those under way before are not among them */
	size_t                 call_n;
	bool                   has_end;       /* it would end, in phase `end` */
	enum phase             end;
};
typedef void foresight_show(void *arg, const struct foresight *f);
/* Calls show before it returns, unless the result is another than COMMAND_APPLIED; err then says why. */
enum command_result engine_foresee(struct engine *e, const struct view *view, const struct command *c,
                                   foresight_show *show, void *arg, struct err *err);

/* view NULL with LOG_DONE: no such transaction. What is owned and has no commit under way is
 * answered from memory (still later), all else from the log: who has heard of a version is shown no earlier one. */
typedef void view_done(void *arg, enum log_result result, const struct view *view);
void engine_read(struct engine *e, struct str gid, view_done *done, void *arg);

/* done once: when it has ended, or at until (now_ms clock; AT_NEVER: not before its end) with the view as it is then (NULL if
 * unreadable). The handle is never 0. */
uint64_t engine_wait(struct engine *e, struct str gid, int64_t until, view_done *done, void *arg);
void     engine_unwait(struct engine *e, uint64_t handle); /* the client left; done is not called */

/* A row as the log or a list gave it, decoded for showing. Calls `show` before it returns. */
void engine_view(struct engine *e, const struct row *row, void (*show)(void *arg, const struct view *view), void *arg);

/* What only its owner knows. Borrowed: valid until the next call of the engine. False: it is not in memory here. The
 * view is what is in force, also while the database is away. */
struct engine_inside {
	struct view view;
	bool        unborn;     /* its insert is not known to be done */
	bool        doubt;      /* the fate of its last commit is not known */
	bool        unproven;   /* since a failover: the log may stand behind */
	bool        held;       /* a queue was full: its calls wait for a place */
	bool        committing; /* a commit of it is wanted or under way */
	unsigned    open_calls, queued; /* queued: commands */
	int64_t     doubt_ms;   /* since when it is in doubt */
};
bool    engine_inside(const struct engine *e, struct str gid, struct engine_inside *out);
/* How long the call of this step (or TXN_CHECK) has been under way, in our queue or at the participant; -1: none is. */
int64_t engine_call_ms(const struct engine *e, struct str gid, uint16_t step);

/* ---- what it can tell about itself ---------------------------------------------------- */

enum engine_state { ENGINE_STARTING, ENGINE_LIVE, ENGINE_SUSPENDED, ENGINE_DRAINING, ENGINE_GONE };

struct engine_stats {
	enum engine_state state;      /* SUSPENDED: the lease is in doubt; nothing is called or sent */
	struct uuid       me;
	int64_t           lease_age_ms; /* since the last answered beat was sent; -1: no lease */
	uint64_t          owned, open_calls, waiters, queued_changes;
	uint32_t          lease_ttl_ms, weight;
	uint64_t          held_calls;  /* transactions with calls for which there was no room */
	uint64_t          orders;      /* commands in hand */
	uint64_t          inbox_depth; /* those that the last look at the inbox found, at most a page */
	uint64_t          oldest_runnable_ms, schedule_lag_ms; /* how long the most belated work here has been due */
	uint32_t          members[MEMBER_STATE_COUNT]; /* by enum member_state, as this replica last saw them */
	double            share;       /* of a dead one's work that this one would take; 0 .. 1 */
	/* counters since start */
	uint64_t folded;             /* went to sleep in memory, for longer than a moment */
	uint64_t begun, adopted, parked, taken_due, reloaded;
	uint64_t failovers, restored; /* met; rows brought back that a failover had lost or set back */
	uint64_t diverged; /* rows known here that others had gone on with, differently perhaps */
	uint64_t found; /* rows of ours that were not in memory: after a lost answer */
	uint64_t calls_put_off; /* not made, since the participant takes none: no attempt is used up */
	uint64_t calls, calls_answered;
	uint64_t missed_rows;
	uint64_t fenced, incarnations, commands, inbox_commands;
	double   speed, load;
};
void engine_stats(const struct engine *e, struct engine_stats *out);
/* Of one in memory here, for log lines; false: it is not. */
bool engine_traceparent(const struct engine *e, struct str gid, struct str *out);

struct engine_counts { /* by what they were; since start */
	uint64_t     moves[PHASE_COUNT][PHASE_COUNT]; /* from, to; durable */
	uint64_t     ended[PHASE_COUNT];
	uint64_t     stuck[STUCK_COUNT];              /* became so */
	uint64_t     calls[OP_COUNT][OUTCOME_COUNT];  /* answered */
	uint64_t     commits[LOG_RESULT_COUNT];
	struct tally command_ms[COMMAND_COUNT];       /* TALLY_WAIT_MS; asked here and answered */
	uint64_t     deeds[COMMAND_COUNT];            /* lines of the audit, durable */
};
const struct engine_counts *engine_counts(const struct engine *e);
const char *log_result_name(enum log_result r);

struct ended { /* borrowed */
	struct str   definition;                      /* or _inline, or _other */
	struct tally ms[PHASE_COUNT];                 /* TALLY_TXN_MS, from its begin to its end, by how it ended */
};
/* In no order; a bounded number. */
void engine_each_ended(const struct engine *e, void (*each)(void *arg, const struct ended *ended), void *arg);
/* The part of a dead one's rows that each takes: weight × speed, but who was idle counts as the mean of the others. Their
 * sum is 1, or 0 if nobody lives who has room. */
void engine_shares(const struct member *m, size_t n, double *shares);
struct uuid engine_incarnation(const struct engine *e);
const char *engine_state_name(enum engine_state s);
const char *command_name(enum command_kind k);
bool        command_parse(struct str name, enum command_kind *out);

#endif
