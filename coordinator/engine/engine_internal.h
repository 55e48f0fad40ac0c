/* SPDX-License-Identifier: Apache-2.0
 * engine_internal.h - the one struct engine, and what the files of this folder say to each other.
 */
#ifndef COORDINATOR_ENGINE_ENGINE_INTERNAL_H
#define COORDINATOR_ENGINE_ENGINE_INTERNAL_H

#include "coordinator/base/heap.h"
#include "coordinator/base/list.h"
#include "coordinator/base/pool.h"
#include "coordinator/base/table.h"
#include "coordinator/engine/engine.h"

enum {
	GID_MAX = 128,
	QUEUE_MAX = 64,         /* commands that wait for one transaction */
	ORDERS_MAX = 10000,     /* commands in this engine */
	WAITERS_MAX = 100000,
	ADOPT_PAGE = 500, DUE_PAGE = 256, MINE_PAGE = 1000, INBOX_PAGE = 200, RELOAD_PAGE = 300,
	ENDED_PAGE = 500, VERDICTS_PAGE = 200,
	ADOPTIONS_POISON = 7,   /* taken over so often without any progress: three times of them alone */
	LINGER_MS = 1000,       /* what may be parked is kept this long: commands come in bursts */
	BLOCKED_MS = 1000,      /* between two tries of rows that somebody else holds locked */
	BEGIN_DOUBT_MS = 2000,  /* how long a begin waits to learn whether it was done */
	ORDER_MS = 10000        /* how long a caller waits for a command */
};

/* ---- things to do at a time --------------------------------------------------- */

#define CHORES(X)                                                                      \
	X(BEAT,    "the heartbeat of the lease")                                       \
	X(LEASE,   "open the lease again, enrol, or start a new incarnation")          \
	X(SUSPEND, "the moment from which we may not act")                             \
	X(MEMBERS, "look at the other replicas")                                       \
	X(LOOKS,   "look at their locks")                                              \
	X(DUE,     "take parked transactions that are due")                            \
	X(HELD,    "make calls again for which there was no room")                     \
	X(ROOM,    "make calls again that were put off")                               \
	X(INBOX,   "read commands that other replicas left for ours")                  \
	X(MINE,    "find rows that are ours and not in memory")                        \
	X(RELOAD,  "read again what is in doubt")                                      \
	X(COMMIT,  "send the batch again after a pause")                               \
	X(BEGINS,  "tell begins that wait for a commit which does not come")           \
	X(RESTORE, "bring back what a failover has lost")                              \
	X(REPORT,  "tell speed and load")                                              \
	X(SWEEP,   "delete what is past its retention")                                \
	X(REMOTE,  "ask for the end of transactions that others drive")                \
	X(VERDICTS,"ask for the verdicts of commands that others apply")               \
	X(DRAIN,   "go on with leaving")

#define X(name, text) CHORE_##name,
enum chore { CHORES(X) };
#undef X
#define X(...) + 1
enum { CHORE_COUNT = 0 CHORES(X) };
#undef X

/* ---- one transaction in memory -------------------------------------------------- */

/* An event that waits for its turn, with what it brought. */
struct queued {
	struct list        link;
	struct event       ev;
	struct note        note;     /* of an answer; texts are its own */
	uint32_t           attempt;
	struct open_call  *call;     /* the call it ends and lives in; or */
	struct order      *order;    /* the command it carries out; or neither */
};

/* A call of ours, from its start until the event it ended with has been decided on. */
struct open_call {
	struct owned  *o;
	uint64_t       handle;       /* 0: answered */
	int64_t        started_at;   /* now_ms */
	uint16_t       step;
	enum op        op;
	struct queued  answer;
};

enum commit_kind {
	COMMIT_NONE,
	COMMIT_BEGIN,
	COMMIT_CHANGE,
	COMMIT_RELEASE, /* as it is, owner null */
	COMMIT_BAD_ROW  /* cannot be driven: released, its progress as it came; stuck, if nobody can */
};

/* Where one stands, awake or folded up (fold.c). */
struct seat {
	struct table_node node;        /* engine.by_gid */
	struct list       link;        /* engine.owned, while it is in the table */
	struct heap_node  timer;       /* engine.timers, on now_ms */
	bool              is_folded;   /* it is no struct owned now: fold_wake() */
};

/* The list it stands on is its state: engine.owned, or engine.resting until nobody looks at it any more, and
 * then perhaps engine.kept. */
struct owned {
	struct seat        seat;         /* first */
	struct engine     *e;
	struct list        commit_link;  /* engine.collecting, batch_work.members, engine.doubts, .reloading, .taken, .behind or .restoring */
	struct row         row;          /* texts in `text`, or in def */
	struct txn         txn;          /* in force */
	struct txn         next;         /* in the commit that is wanted or under way */
	size_t             bytes;        /* of this struct and its texts */
	struct step       *steps[2];     /* in one piece with notes and calls */
	struct note       *notes, check; /* in force; texts are their own */
	struct open_call **calls;        /* per step */
	struct open_call  *check_call;
	struct list        held_link;    /* engine.held, while held */
	struct list        drowsy_link;  /* engine.drowsy: perhaps to be folded up when the turn ends */
	bool               held;         /* a queue was full: no call of it is started for a while */
	struct list        put_off_link; /* engine.put_off or .waking, while put_off */
	bool               put_off;      /* a call of it was, and may be wanted before its time */
	uint64_t           put_off_line; /* by whom last */
	uint16_t           room;         /* of steps, notes, calls */
	uint16_t           open_calls;   /* not answered yet */
	uint16_t           queue_n;
	bool               readable;     /* txn and notes are set */
	bool               unborn;       /* the insert is not known to be done */
	bool               taken;        /* unborn, in doubt, on engine.taken */
	bool               given;        /* unborn, and its row came to us meanwhile: somebody else's insert */
	bool               doubt;        /* what the log holds is not known */
	int64_t            doubt_since;  /* boot_ms */
	bool               let_go;       /* in doubt, and perhaps parked: somebody else may have taken it up */
	bool               unproven;     /* since a failover: the log may stand behind us */
	bool               behind;       /* it does; commit_link is on engine.behind or .restoring */
	bool               restored;     /* it does not any more */
	bool               diverged;     /* and could not be brought up to us */
	bool               ending;       /* in doubt, and the change whose fate is unknown was its end */
	bool               apart;        /* in doubt, and it cannot be read: asked for alone */
	int64_t            apart_at;     /* boot_ms, not before */
	bool               keep;         /* for a failover, when nobody looks at it any more */
	bool               gone;         /* out of the table; a batch under way still needs its memory */
	bool               sent;         /* its commit is in a batch under way */
	bool               again;        /* it stood alone in a batch that was to be sent again */
	bool               blocked;      /* and once more: somebody else holds the row locked */
	bool               alone;        /* a begin whose gid was barred: in a batch of its own */
	bool               wary;         /* adopted as dangerous, no progress yet */
	bool               tick_due, room_due, resume_due, adopted; /* events that carry nothing; adopted: of the resume */
	enum stuck         stuck_due;    /* not NONE: to be said to the core */
	enum commit_kind   commit;
	struct list        queue;        /* struct queued */
	struct queued     *deciding;     /* what the commit is about; may be NULL */
	int64_t            timer_at, next_timer_at;
	int64_t            written_at;   /* by the commit: due_at of COMMIT_RELEASE, ended_at of a COMMIT_CHANGE that ends it */
	int64_t            idle_since;   /* now_ms */
	struct definition *grown;        /* of a join that is being committed */
	struct str         grown_text;
	struct list        waiters;      /* struct waiter */
	struct list        begins;       /* struct begin_waiter */
	uint64_t           inbox_seen;   /* inbox reads up to this number may show what is settled by now */
	unsigned           refused;      /* times the log would not store it */
	char               text[];
};

struct begin_waiter {
	struct list  link;
	bool         inserts;          /* the row is his; the others ask for the same gid, not for the same body */
	begin_done  *done;
	void        *arg;
};

/* ---- commands ---------------------------------------------------------------------- */

#define ORDER_STATES(X)                                                           \
	X(ROUTE,   "waits to look for its transaction again")                    \
	X(READING, "its row is being read")                                      \
	X(CLAIMING,"its parked row is being taken")                              \
	X(PUTTING, "is being put into the inbox")                                \
	X(ASKING,  "in the inbox: its verdict is asked for")                     \
	X(SHOWING, "has its verdict; the row is being read for the answer")      \
	X(QUEUED,  "waits for, or is in, a commit of its transaction here")

#define X(name, text) ORDER_##name,
enum order_state { ORDER_STATES(X) };
#undef X

struct order {
	struct engine   *e;
	struct list      link;         /* engine.orders */
	struct heap_node timer;        /* boot_ms; engine.order_timers */
	struct command   c;            /* texts in `text` */
	struct uuid      id;           /* of its inbox row; nil: none */
	bool             from_inbox;   /* nobody here waits for it */
	bool             asked;        /* its verdict is being asked for at this moment */
	bool             put_again;    /* a failover may have lost it, or what its verdict speaks of */
	bool             maybe_put;    /* an answer was lost: it may stand in the inbox */
	bool             doubt;        /* its commit was lost, and the row was not read again since */
	int64_t          asked_at;     /* boot_ms */
	char            *address;      /* of the owner, to poke; or NULL */
	enum order_state state;
	command_done    *done;         /* NULL: answered, or from the inbox */
	void            *arg;
	int64_t          until, ask_at; /* boot_ms */
	uint32_t         ask_ms;
	enum verdict     verdict;
	struct owned    *o;            /* QUEUED */
	char             text[];
};

/* A verdict that is written without a change. */
struct settle {
	struct list    link;           /* engine.settles or batch_work.settles */
	struct settled s;
};

/* ---- who waits ------------------------------------------------------------------------ */

struct waiter {
	struct list       link;        /* owned.waiters or remote.waiters */
	struct table_node node;        /* engine.waits, by handle */
	struct heap_node  timer;       /* engine.wait_timers, on now_ms */
	uint64_t          handle;
	view_done        *done;
	void             *arg;
	struct owned     *o;           /* on whose list: one in memory, or */
	struct remote    *remote;      /* one driven elsewhere; or neither, while the last look is under way */
};

/* A transaction that is not in memory here and that somebody here waits for. */
struct remote {
	struct table_node node;        /* engine.remotes */
	struct list       link;        /* engine.remote_ring */
	struct list       waiters;
	struct str        gid;
	char              text[];
};

/* An answer to somebody outside, given when no structure is in hand. */
struct reply {
	struct list      link;
	begin_done      *begin;        /* one of three */
	command_done    *command;
	view_done       *view;
	uint64_t         handle;       /* of the wait it ends; 0: none */
	void            *arg;
	int              result;
	enum verdict     verdict;
	struct err      *err;          /* its own, or NULL */
	struct owned    *o;            /* NULL: no view; memory that rests outlives the replies */
};

/* ---- the others -------------------------------------------------------------------------- */

struct peer {
	struct uuid       id;
	int64_t           lock_key;
	enum member_state state;
	char             *address;
	double            share;       /* of a dead one's rows: engine_shares() */
	bool              has_room;    /* not crowded when it last said so */
	bool              owns;
	uint32_t          rows;        /* that it left, as far as they were counted */
	int64_t           swept_at;    /* boot_ms when we took our share of them; 0: not yet */
	struct lease_sight lease;      /* as last seen; mark 0: a lock, or not held */
	int64_t           lease_since; /* boot_ms when it was first seen so */
	int64_t           free_since;  /* boot_ms of the first look at a free lease; 0: held */
	int64_t           look_at;     /* boot_ms; AT_NEVER: others do */
	bool              near;        /* one of the next in the ring, which we look at regularly */
	bool              told;        /* we fenced it: the others are to be told if there is much to adopt */
};

/* ---- the commit ---------------------------------------------------------------------------- */

/*
 * Two may be under way, on one session of the log: while it works on the first, the second is there already, and it need
 * not wait until we have taken the answer and sent more. No transaction is in both: it wants no commit before it has
 * learned of its last. So each has its own fate, and their answers may come in either order.
 */
enum { BATCHES_MAX = 2 };

struct batch_work {
	struct engine  *e;
	bool            busy;
	uint64_t        life, failovers; /* when it was sent */
	uint32_t        row_limit;     /* the same */
	int64_t         sent_at;       /* boot_ms */
	struct list     members;       /* owned.commit_link, begins and changes mixed */
	struct list     settles;
	struct row     *begins;
	struct change  *changes;
	struct entry   *entries;
	struct deed    *deeds;
	struct settled *settled;
	size_t         *text_at;       /* where each progress begins in text */
	struct buf      text;
	size_t          room;          /* of each array */
	struct batch    wire;
};

struct engine {
	struct engine_config config;
	struct ports         ports;
	struct engine_stats  stats;
	struct engine_counts counts;
	struct table         endings;  /* by definition, counts.c */

	/* this incarnation */
	uint64_t    life;              /* counts incarnations: answers to an earlier one are ignored */
	struct uuid me;
	int64_t     lock_key;
	bool        acting, was_live, draining, gone;
	bool        known;             /* this incarnation's row was made: from then on it is only asked about */
	int64_t     act_until;         /* boot_ms */
	bool        lease_open, lease_opening, enrolled, enrolling, beating;
	bool        silent;            /* no heartbeats: the log is dead, others shall take over */
	int64_t     beat_sent_at, answered_at;
	int64_t     sees_since;        /* boot_ms; what was seen before, of others' leases or of this server, counts for
	                                * nothing: we got our lease then, or began to act on it after a pause */
	uint32_t    lease_pause_ms;
	uint64_t    lease_session;     /* counts leases got: a look at our row counts only if the lease is older */
	uint64_t    enroll_session, enroll_life;

	/* transactions */
	struct table by_gid;
	struct list  owned, resting;   /* seat.link; of owned perhaps folded up */
	struct list  drowsy;           /* owned.drowsy_link */
	struct buf   fold_text;        /* scratch */
	struct pool  pool;             /* of what is made and freed with every transaction */
	size_t       owned_n;
	struct heap  timers;
	struct str  *outputs;          /* scratch: TXN_STEPS_MAX */
	struct call *call_scratch;
	struct list  held;             /* owned.held_link, first come first served */
	size_t       held_n, held_page; /* so many at a time */
	size_t       held_refused;     /* of the last page */
	struct list  put_off, waking;  /* owned.put_off_link; waking: there is room again */
	uint32_t     wary_n;           /* adopted so, no progress yet */
	int64_t      wary_until;       /* boot_ms */

	/* commits */
	struct list       collecting, settles;
	struct list       settled_lately; /* since the inbox read under way was sent */
	size_t            collecting_n;
	struct batch_work batches[BATCHES_MAX];
	uint32_t          row_limit;   /* halved while a bad row is looked for */
	bool              log_away;
	uint32_t          commit_pause_ms;
	int64_t           commit_at;   /* not before; 0: at once */
	int64_t           blocked_at;  /* boot_ms of the next try of a blocked row; INT64_MAX: there is none */
	struct list       barred;      /* struct barred: their gids are begun by an open transaction of somebody else */
	struct table      barred_gids;
	int64_t           barred_at;   /* boot_ms: none of them is tried before */
	int64_t           wanted_at;   /* boot_ms since when commits want to be done; 0: none */

	/* doubt */
	struct list doubts, reloading;
	struct list taken;             /* not inserted, the gid is taken: by whom is being read */
	struct list  strangers, asking; /* struct stranger: ours in the log, not in memory; of the page under way */
	struct table strange;          /* the same, by gid */
	size_t       reload_n, reload_max; /* rows of the page under way; of the next one, 0: as many as fit */
	bool        reload_busy, mine_busy, mine_again;
	unsigned    mine_left;         /* passes that come soon, because something was lost */
	uint32_t    reload_pause_ms;
	char        mine_after[GID_MAX + 1];

	/* failover */
	uint64_t    failovers, restore_failovers, restore_life;
	bool        holding;           /* rows of others, and parked ones, are left alone for a while */
	int64_t     hold_until;        /* boot_ms, at least */
	bool        slept;             /* silent for a TTL before it: others may have taken over */
	int64_t     slept_until;       /* boot_ms: the news of a failover may come a moment after the lease */
	bool        restore_busy;
	size_t      restore_n, restore_max; /* rows of the page under way; of the next one, 0: as many as fit */
	struct list behind, restoring; /* the log stands behind them */
	struct list kept;              /* ended or parked lately, oldest first; */
	struct list recalled, recalling; /* since a failover, until they are restored */
	struct table kept_gids;        /* of all three */
	size_t      kept_bytes;

	/* members, fence, adoption */
	struct peer *peers;
	size_t       peers_n;
	unsigned     sweeps;
	bool         members_busy, report_busy, sweep_busy, probe_busy, fence_busy, watching;
	struct uuid  watched, probed;
	int64_t      probe_at;
	int64_t      look_turn;        /* counts half TTLs */
	bool         adopt_busy;
	struct uuid  adopt_from;
	enum danger  adopt_danger;
	uint32_t     adopt_group; /* of rows of some danger: how many at once; it grows */
	char         adopt_after[GID_MAX + 1];
	unsigned     adopt_limit;
	uint32_t     adopt_left;       /* of our share; only the first sweep has one */
	int64_t      due_not_before;   /* boot_ms; a person gave one of ours away */
	uint64_t     adopt_life, due_life, inbox_life, mine_life, reload_life, members_life;
	int64_t      due_asked_at;     /* boot_ms */
	bool         due_busy, inbox_busy, inbox_again;
	uint64_t     inbox_reads;

	/* commands, waiters, answers */
	struct list  orders;
	size_t       orders_n;
	struct heap  order_timers;
	bool         verdicts_busy;
	struct table waits, remotes;
	struct list  remote_ring;
	struct heap  wait_timers;
	uint64_t     last_handle;
	bool         ended_busy;
	struct list  replies;
	struct list  asked;            /* struct asked: what waits for a read, only to be freed with us */

	/* leaving */
	int64_t       drain_until, drain_give_up;
	bool          retiring;
	drained_done *drained;
	void         *drained_arg;

	/* speed */
	uint64_t steps_done, steps_reported, calls_aborted;
	int64_t  reported_at;
	double   rate;

	int64_t chore_at[CHORE_COUNT]; /* boot_ms; INT64_MAX: not wanted */
};

struct stranger {
	struct list       link;
	struct table_node node;        /* engine.strange */
	char              gid[GID_MAX + 1];
};

/* Memory that a port's answer would free. Stands first in what it is part of. */
struct asked {
	struct list link;
};

/* ---- engine.c ------------------------------------------------------------------------- */

int64_t now_ms(const struct engine *e);
void     asked_put(struct engine *e, struct asked *a);
void     asked_free(struct asked *a);
int64_t boot_ms(const struct engine *e);
uint64_t random_u64(const struct engine *e);
/* Some part of ms between the half and the whole, so that replicas do not march in step. */
int64_t  about(const struct engine *e, int64_t ms);
void     chore_in(struct engine *e, enum chore c, int64_t ms);
void     chore_soon(struct engine *e, enum chore c, int64_t ms); /* not later than that */
void     chore_stop(struct engine *e, enum chore c);
/* Every answer of a port begins and ends with these: the clock may have jumped
 * since the last turn, and what was dropped in it is freed behind it. */
void     turn_begin(struct engine *e);
void     turn_end(struct engine *e);
void     say(struct engine *e, enum trace_level level, const char *event, struct str gid,
             const char *fmt, ...) __attribute__((format(printf, 5, 6)));
struct reply *reply_new(struct engine *e, void *arg, int result, struct owned *o);
void     reply_free(struct engine *e, struct reply *r);

/* ---- owned.c --------------------------------------------------------------------------- */

struct owned *owned_get(struct engine *e, struct str gid); /* awake; or NULL */
struct owned *owned_awake(const struct engine *e, struct str gid); /* NULL also if it sleeps folded up */
bool          owned_has(const struct engine *e, struct str gid);
const struct owned *owned_look(const struct engine *e, struct str gid);
/* A copy of a row with its progress read; not in the table. Never NULL; check readable. */
struct owned *owned_load(struct engine *e, const struct row *row);
/* One that is about to be born. */
struct owned *owned_make(struct engine *e, const struct row *row, int64_t start_at, int64_t deadline_at);
void          owned_put(struct engine *e, struct owned *o);
void          owned_lists(struct owned *o);  /* it stands on none, and nothing on its own */
struct owned *owned_alloc(struct engine *e, size_t text_bytes); /* zeroed but for its size */
void          owned_room(struct owned *o, uint16_t steps);
/* Out of the table; its memory rests until the turn ends (or its batch). Calls are
 * aborted, callers and waiters looked after: `begins` is what waiting begins are told. */
void          owned_drop(struct engine *e, struct owned *o, enum begin_result begins);
void          owned_rest(struct engine *e, struct owned *o);
void          owned_free(struct owned *o);
void          owned_abort_calls(struct engine *e, struct owned *o);
void          owned_view(const struct owned *o, struct view *view);
/* Whose row it is, and whoever else asked for the gid meanwhile. */
void          owned_answer_begins(struct engine *e, struct owned *o, enum begin_result his,
                                  enum begin_result others);
/* All are told that it exists. */
void          owned_show_begins(struct engine *e, struct owned *o, struct owned *shown);
/* The texts of the note become the step's, which the answer has brought into that state. */
void          note_take(struct note *kept, struct note *from, enum op op, enum step_state state);
/* Only that it came. */
void          note_count(struct note *kept, const struct note *from, enum op op, enum step_state state);
void          note_free(struct note *note);
void          queued_free(struct queued *q);
struct step  *txn_step_at(const struct txn *t, uint16_t step); /* also TXN_CHECK */

/* ---- fold.c ------------------------------------------------------------------------------ */

void          fold_want(struct engine *e, struct owned *o);  /* if nothing is to be done with it for a while */
void          fold_drowsy(struct engine *e);                 /* at the end of a turn */
struct owned *fold_wake(struct engine *e, struct seat *seat);
void          fold_wake_all(struct engine *e);
struct owned *fold_awake(struct list *link);                 /* of engine.owned; NULL: it sleeps folded up */

/* ---- drive.c ----------------------------------------------------------------------------- */

void drive_resume(struct engine *e, struct owned *o, bool adopted);
void drive_run(struct engine *e, struct owned *o);   /* decides on what waits */
void drive_applied(struct engine *e, struct owned *o); /* its commit is done */
void drive_learned(struct engine *e, struct owned *o); /* the same of one that is gone */
void drive_timer(struct engine *e, struct owned *o);
void drive_tick(struct engine *e, struct owned *o);
void drive_room(struct engine *e, struct owned *o); /* what was put off is wanted now */
void drive_queue(struct engine *e, struct owned *o, struct queued *q);
void drive_stuck(struct engine *e, struct owned *o, enum stuck stuck);
void drive_release(struct engine *e, struct owned *o, int64_t due_at);
void drive_crowded(struct engine *e);                /* K > 1: what sleeps may be parked sooner */
void drive_all(struct engine *e);                    /* after a time without acting */

/* ---- calls.c ----------------------------------------------------------------------------- */

void calls_start(struct engine *e, struct owned *o, const struct txn *t); /* those that are due and not under way */
void calls_close(struct engine *e, struct owned *o, struct open_call *c); /* answered and about to be decided on */

uint32_t calls_ended(const struct owned *o, uint16_t step, enum op op); /* calls of that op that ended */
void calls_held(struct engine *e);    /* chore */
void calls_release(struct engine *e, struct owned *o); /* is neither held nor put off any longer */
void calls_wake(struct engine *e);    /* chore */
void calls_give_up(struct engine *e, struct open_call *c); /* as if its answer had taught nothing */

/* ---- batch.c, commit.c, flush.c ------------------------------------------------------------ */

void batch_fill(struct batch_work *b); /* from what collects */
void batch_fini(struct batch_work *b);
void commit_answered(void *batch, enum log_result result, const struct batch_result *r);
bool commit_is_under_way(const struct engine *e);
bool commit_is_owed(const struct engine *e); /* to an incarnation before this one */

void commit_want(struct engine *e, struct owned *o, enum commit_kind kind);
void commit_settle(struct engine *e, struct uuid id, enum verdict verdict);
bool commit_settles(const struct engine *e, struct uuid id); /* is that being settled, or was it since the inbox was read? */
void commit_forget_settled(struct engine *e);
void commit_retry(struct engine *e);  /* chore */
void commit_unblock(struct engine *e); /* tries those with the others again that stood alone */
void commit_begins(struct engine *e); /* chore */
void begins_away(struct engine *e);   /* those that were not sent: whoever waits is told at once and may ask another replica */
void commit_fini(struct engine *e);

/* ---- barred.c ------------------------------------------------------------------------------ */

void barred_add(struct engine *e, struct str gid);
/* True: it is turned away at once. False with *alone: it is its turn, apart from the others. */
bool barred_refuses(struct engine *e, struct str gid, bool *alone);
void barred_forget(struct engine *e, struct str gid); /* it got through, or is there */
void barred_fini(struct engine *e);

/* ---- doubt.c ------------------------------------------------------------------------------ */

void doubt_add(struct engine *e, struct owned *o);
/* Not inserted, the gid is taken: its callers are shown by whom. */
void begin_taken(struct engine *e, struct owned *o);
void doubt_reread(struct engine *e, struct owned *o); /* one that is in doubt already */
void doubt_reload(struct engine *e);  /* chore */
void doubt_mine(struct engine *e);    /* chore */
void doubt_mine_soon(struct engine *e, int64_t ms);
void doubt_hint(struct engine *e, struct str gid); /* that row may be ours, and not in memory */
void doubt_tell_owner(struct engine *e, const struct row *row); /* that it is his, if he does not know */
void doubt_begins(struct engine *e);  /* those that wait in doubt for too long are told so */
void doubt_forget(struct engine *e);  /* strangers of an incarnation that is over */
/* A row that a verb made ours just now. */
void take_row(struct engine *e, const struct row *row, bool adopted);

/* ---- failover.c ------------------------------------------------------------------------------ */

bool failover_holds(struct engine *e); /* may not yet take what may be another's */
bool failover_doubts_us(struct engine *e); /* nor trust what may have been ours */
void failover_look(struct engine *e, const struct row *key);
void failover_listed(struct engine *e);
void failover_behind(struct engine *e, struct owned *o);
void failover_restore(struct engine *e); /* chore */
void failover_keep(struct engine *e, struct owned *o); /* takes it */
struct owned *failover_known(struct engine *e, struct str gid); /* not back in the log yet; or NULL */
/* It was driven here lately, in this life of the row or a later one, and has ended or was parked since. */
bool failover_has_seen(const struct engine *e, const struct row *row);
void failover_fini(struct engine *e);

/* ---- lease.c ------------------------------------------------------------------------------- */

bool lease_may_act(struct engine *e);
void lease_try(struct engine *e);     /* acts if nothing stands in the way any more */
void lease_over(struct engine *e, const char *why); /* this incarnation is; starts the next */
void lease_anew(struct engine *e);    /* the server that granted it counts no more */
void lease_work(struct engine *e);    /* chore */
void lease_beat(struct engine *e);    /* chore */
void lease_heard(struct engine *e);   /* the log answered a commit */

/* ---- members.c, fence.c, adopt.c ---------------------------------------------------------------------- */

void members_look(struct engine *e);  /* chore */
void members_fini(struct engine *e);
void members_forget(struct engine *e);
struct str members_address(const struct engine *e, struct uuid id);
bool members_poked(struct engine *e, struct str gid); /* it is a dead replica that is told of */
size_t peer_place(const struct engine *e, struct uuid id); /* where it is or would be */
struct peer *peer_find(const struct engine *e, struct uuid id); /* or NULL */
void peer_saw(const struct engine *e, struct peer *p, struct lease_sight sight);
bool peer_is_other(const struct engine *e, const struct peer *p); /* lives, and is not us */
void fence_looks(struct engine *e);   /* chore; also after every look at the members */
void adopt_more(struct engine *e);
void adopt_due(struct engine *e);     /* chore */
void adopt_later(struct engine *e);   /* others take what is due now */
void report_speed(struct engine *e);  /* chore */
void sweep_old(struct engine *e);     /* chore */

/* ---- counts.c --------------------------------------------------------------------------------- */

void count_move(struct engine *e, const struct owned *o, const struct txn *next); /* durable, not yet taken */
void count_end(struct engine *e, const struct row *row, enum phase phase); /* of one that has just ended */
void count_command(struct engine *e, const struct order *order); /* its caller is being told */
void counts_lags(const struct engine *e, struct engine_stats *out);
void counts_members(const struct engine *e, struct engine_stats *out);
void counts_fini(struct engine *e);
/* For traces. */
void tell_ended(struct engine *e, const struct row *row, const struct txn *t);
void tell_adopted(struct engine *e, const struct owned *o);

/* ---- ask.c ---------------------------------------------------------------------------------------------- */

enum ask_result {
	ASK_EVENT,   /* ev and note are filled; note's texts are the caller's to free */
	ASK_VERDICT, /* known without the core */
	ASK_REFUSED  /* result and err say why */
};
struct ask {
	enum verdict        verdict;
	enum command_result result;
	struct err          err;
	struct definition  *grown;      /* with ASK_EVENT of a join or patch: the new one, the caller's to drop */
	struct str          grown_text;
};
/* asked is zeroed memory. */
enum ask_result ask_event(struct engine *e, const struct command *c, struct definition *def, const struct txn *t,
                          struct event *ev, struct note *note, struct ask *asked);
bool ask_takes_steps(const struct plan *plan);

/* ---- order.c, command.c, inbox.c ------------------------------------------------------------------------ */

void order_wake_at(struct engine *e, struct order *order, int64_t at); /* boot_ms; or when its caller gives up */
/* Its caller is told; it goes on. */
void order_answer(struct engine *e, struct order *order, enum command_result result, enum verdict verdict,
                  struct owned *o, const struct err *err);
/* Its verdict, when nothing is to be committed. */
void order_conclude(struct engine *e, struct order *order, enum verdict verdict, struct owned *o);
/* It cannot be carried out; always false. */
bool order_refuse(struct engine *e, struct order *order, enum command_result result, const struct err *err);
void order_applied(struct engine *e, struct order *order, enum verdict verdict, struct owned *o);
void order_fail(struct engine *e, struct order *order, enum command_result result, const struct err *err);
void order_route(struct engine *e, struct order *order); /* look again, soon */
void order_queue(struct engine *e, struct order *order, struct owned *o);
void order_free(struct engine *e, struct order *order);
void order_timers(struct engine *e);
struct order *order_new(struct engine *e, const struct command *c);
/* Fills ev from the order for this transaction. False: it is answered already. */
bool order_event(struct engine *e, struct order *order, struct owned *o, struct queued *q);
void order_look(struct engine *e, struct order *order);  /* for its transaction */
void order_put(struct engine *e, struct order *order);   /* into the inbox, perhaps again */
void order_show(struct engine *e, struct order *order);  /* its verdict is known */
void order_ask_in(struct engine *e, struct order *order, int64_t ms);
/* Was it said of a transaction that was not as this one? */
bool order_is_changed(const struct order *order, const struct txn *t);
/* Could a row like this take it? False: it is answered already. */
bool order_is_fit(struct engine *e, struct order *order, const struct row *row);
void orders_away(struct engine *e);   /* all, on leaving */
void inbox_look(struct engine *e);    /* chore */
void inbox_told(struct engine *e, bool commands); /* by a look: is there any, whosever? */
void inbox_ask(struct engine *e);     /* chore: verdicts */
void inbox_write(const struct command *c, struct buf *out);
struct order *inbox_parse(struct engine *e, const struct inbox_row *row);

/* ---- drain.c ---------------------------------------------------------------------------------------- */

void drain_work(struct engine *e);    /* chore */

/* ---- wait.c --------------------------------------------------------------------------------------- */

void wait_move(struct engine *e, struct owned *o);  /* its waiters become remote ones */
void wait_ended(struct engine *e, struct owned *o);
void wait_timers(struct engine *e);
void wait_remote(struct engine *e);   /* chore */
void wait_away(struct engine *e);     /* all, on leaving */

#endif
