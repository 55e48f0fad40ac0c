/* SPDX-License-Identifier: Apache-2.0
 * world.h - replicas, database, network, services and clients on one thread, one clock and one tape of choices.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "coordinator/base/arena.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/progress.h"
#include "tests/lib/fake_lease.h"
#include "tests/lib/fake_log.h"
#include "tests/sim/seen.h"
#include "tests/sim/tape.h"

enum {
	REPLICAS = 3,
	TXNS_MAX = 4,
	STEPS_MAX = 8,        /* joined ones included */
	DEFINITIONS_MAX = 256,
	TTL_MS = 2000, BEAT_MS = 400, MARGIN_MS = 300,
	FAULTS_MS = 6000,     /* then all is well again */
	QUIET_MS = 20000,     /* by then all must have ended */
	FENCED_MS = 4 * TTL_MS, /* by then nobody dead counts as live */
	CALL_TIMEOUT_MS = 400,
	BEGIN_MAX_MS = 2 * TTL_MS + 2500, /* in which a begin is answered: its commit waits, is sent, is in doubt */
	PAST_ROWS = 32,       /* versions of a row that are remembered */
	SKEW_MAX_MS = 14      /* between the clocks of a replica and the database */
};

/* Which kinds of faults a run has: each run draws its own few. */
#define FAULTS(X)                                                                 \
	X(CRASH) X(FREEZE) X(DRAIN) X(LOST_CALLS) X(TWICE) X(SLOW_CALLS)          \
	X(REFUSE) X(ODD_ANSWERS) X(ASYNC) X(STALE) X(LOST_COMMITS) X(LATE_COMMITS) \
	X(REFUSED_COMMITS) X(RESTART) X(SLOW_DB) X(LEASE_DROP) X(LEASE_CUT)       \
	X(WATCH) X(BAD_TEXT) X(COMMANDS) X(OPERATORS) X(CLIENTS) X(SILENT_LOG) X(NEWER) X(SQL)

#define X(name) FAULT_##name,
enum fault { FAULTS(X) };
#undef X

struct world;

/* A compiled definition: a plan by number. */
struct definition {
	struct world    *w;
	int              refs;
	unsigned         number;
	bool             named;
	char             name[16], text[40];
	struct plan      plan;
	struct plan_step steps[STEPS_MAX];
	uint16_t         edges[STEPS_MAX * STEPS_MAX];
	char             names[STEPS_MAX][8];
	unsigned         moved[STEPS_MAX]; /* ops whose calls a person sent elsewhere */
};

/* What really happened at a service for one step. */
struct effect {
	bool     tried, confirmed, cancelled, refused;
	bool     pending;        /* works on `pending_op`, said 202 */
	enum op  pending_op;
	uint64_t pending_epoch;  /* of the request that it works on */
	uint32_t pending_attempt;
	bool     asked[OP_COUNT];/* a request was started */
	char     output[48];
	unsigned output_n;
};

#define UNSENT "no room" /* what is said of a call that never left */

enum decision { DECISION_NONE, DECISION_CONFIRM, DECISION_CANCEL };

/* One transaction as the outside knows it, beside what the log says. */
struct record {
	struct world      *w;
	unsigned           number, asked_last; /* a replica */
	char               gid[24];
	struct definition *first_def, *def; /* as begun; as the log has it */
	struct str         input;
	int64_t            start_at, deadline_at;
	int64_t            newer_at;    /* since when its row is of a newer format */
	bool               by_sql;      /* its caller begins it in a commit of his own */
	bool               wanted;      /* its caller asks for it from some moment on */
	bool               acked;       /* its caller was told that it is durable */
	bool               unsure;      /* a begin of it was lost: it may land at any time */
	struct uuid        born_by, away_by; /* said that it has not begun, and was not asked since */
	bool               sender_ok;   /* message: did the sender's own commit happen? */
	bool               caller_done; /* open: the caller has said what he wants */
	bool               spoilt;      /* its input cannot be stored */
	bool               anyone_cancels; /* somebody but the sender has said cancel */
	unsigned           joins, join_n; /* of the caller's script: done, wanted */
	/* as the log says, after its last write */
	bool               exists, ended, resolved;
	bool               skipped[STEPS_MAX]; /* an op of the step, once */
	uint64_t           version, epoch, created_at;
	enum decision      decision;
	struct arena       memory;
	struct txn         txn;         /* decoded */
	struct note       *notes, check_note;
	struct effect      effects[STEPS_MAX];
	uint64_t           epoch_seen;  /* by the services */
	struct row         past[PAST_ROWS]; /* by version */
	uint64_t           heard;       /* the newest version that a replica was told of */
	struct uuid        heard_by;
	uint64_t           told;        /* the newest version that anybody outside was shown */
	bool               echo;        /* begun again, before who knows it better was back */
	struct uuid        echo_by;
	bool               check_asked;
};

struct replica {
	struct world      *w;
	unsigned           number;
	bool               up, was_fenced;
	int64_t            live_since; /* it said that it may act, the last time */
	uint64_t           missed, found, folded; /* as its engine last counted them */
	struct engine     *engine;
	struct fake_end    end;
	struct fake_log   *log;
	struct fake_lease *lease;
	struct ports       ports;
	struct list        calls;    /* open ones */
	struct list        requests; /* of clients, not yet answered */
	uint64_t           handle;
	int64_t            boot_offset, skew;
	int64_t            tick_at;  /* the loop's clock; 0: none armed */
	unsigned           tick_number;
	bool               flush_posted, skip_wake;
	int64_t            busy_at;
	unsigned           busy_n;
	bool               log_cut, freezing;
	bool               failed_over; /* and its engine has not been told */
	bool               unfenced;    /* at a failover it was fenced, did not know, and the fence was lost */
	int64_t            thawed_at;
	int64_t            silent_until; /* its log session swallows what it is sent */
	struct uuid        me;       /* as last seen */
	char               address[16];
};

/* A cluster changes its mode replica by replica. */
enum lease_rows { ROWS_NONE, ROWS_NO, ROWS_ALL, ROWS_SOME };

struct world {
	struct tape       *tape;
	struct seen       *seen;
	struct fake_loop   loop;
	struct fake_db    *db;
	struct fake_locks *locks;
	struct replica     replicas[REPLICAS];
	struct record      records[TXNS_MAX];
	unsigned           reasons;     /* people have given */
	enum lease_rows    rows;        /* whose leases are rows */
	bool               small;       /* replicas have room for two transactions */
	unsigned           record_n;
	struct definition *definitions[DEFINITIONS_MAX];
	unsigned           definition_n;
	uint32_t           kinds;      /* of faults in this run */
	bool               faults;     /* not yet quiet */
	bool               may_fail_over;
	bool               clock_jumps; /* the database's */
	int64_t            clock_off, clock_max; /* of the database's clock now, and at most so far */
	bool               adrift;     /* a failover lost what nobody remembers: the run proves nothing from here on */
	int64_t            calm_until; /* after a failover */
	int64_t            promoted_at; /* the new primary is there, or will be; 0: none */
	struct definition_port definition_port;
	bool               trace;
	uint64_t           chance;     /* random numbers that matter to no fault: jitter, ids */
	int64_t            slow_until; /* the database is */
	int64_t            stalls_until; /* it stands still */
	uint64_t           story;      /* two runs of one tape must tell the same */
	int                code;       /* the first thing that went wrong; 0: nothing */
	char               why[240];
};

/* Runs one tape to its end. 0, or the number of what was violated. */
int  world_run(struct world *w, struct tape *tape, struct seen *seen, bool trace);

/* One line of the trace; always part of the story. */
#define say(w, ...)                                                            \
	do {                                                                   \
		world_mix((w), (uint64_t)__LINE__);                            \
		if ((w)->trace)                                                \
			world_say((w), __VA_ARGS__);                           \
	} while (0)
void world_mix(struct world *w, uint64_t v);
void world_say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The run is over; code tells violations apart while shrinking. */
void violated(struct world *w, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool fault(struct world *w, enum fault kind, uint32_t one_in); /* now, by the tape */
uint32_t choose(struct world *w, uint32_t bound); /* 0 once all is quiet */
uint64_t world_random(struct world *w);
int64_t  world_now(void *world);                  /* the database's clock */
int64_t  world_latest(const struct world *w);     /* the same, had nobody ever set it back */
void     world_set_clock(struct world *w, int64_t ms); /* by so much, forward or back */
int64_t  wire_ms(struct world *w);                /* one message between two machines */
void     after(struct world *w, int64_t delay_ms, fake_run *run, fake_run *drop, void *arg);
struct record *world_record(struct world *w, struct str gid); /* or NULL */

/* plan.c */
struct definition *plan_draw(struct world *w, struct record *rec);
void plan_ask_caller(struct world *w, struct definition *d);
struct definition *plan_compile(void *world, struct str name, uint32_t version, struct str document);
void plan_port(struct world *w, struct definition_port *port);
void plan_check_refs(struct world *w);
void plan_free_all(struct world *w);

/* replica.c */
void replica_start(struct replica *r);
void replica_stop(struct replica *r);   /* at once: a crash, or the end */
void replica_freeze(struct replica *r, int64_t ms);
void replica_thaw(struct replica *r);
void replica_break_log(struct replica *r, unsigned channels, int64_t ms);
void replica_break_commits(void *replica); /* its connection for commits, for a moment */
bool replica_may_act(const struct replica *r);
int64_t replica_latest(const struct replica *r); /* its clock, had nobody ever set it back */

/* service.c */
void service_port(struct replica *r, struct caller_port *port);
void service_drop_calls(struct replica *r);
unsigned service_open_calls(const struct replica *r, const struct record *rec);
bool service_is_open(const struct replica *r, const struct record *rec, uint16_t step, enum op op);
bool service_try_by_caller(struct record *rec, uint16_t step);

/* client.c: requests to replicas, and begins */
struct request;
typedef void request_send(struct request *q); /* on the replica's end: calls the engine */
struct request {
	struct list    link;      /* replica.requests, once sent */
	struct replica *r;
	struct record *rec;
	request_send  *send;
	bool           scripted;  /* the caller needs an answer, and asks again */
	bool           existed;   /* when it was sent, the row had landed */
	bool           begins;
	struct command c;
	char           step[8], body[64], line[24];
	int64_t        until, sent_at;
	uint64_t       told;      /* by then */
	bool           again;     /* a read that follows another one */
	uint8_t        variant;   /* of the body: another request for the same gid */
};
struct request *request_new(struct record *rec, request_send *send);
void request_post(struct request *q, int64_t delay_ms); /* to a replica of the tape's choice */
void request_post_to(struct request *q, struct replica *r); /* at once; not to one that is down */
void request_end(struct request *q);                    /* answered */
void client_start(struct world *w);
void client_begin(struct record *rec, int64_t delay_ms);
void client_begin_again(struct record *rec);           /* his commit is lost, and he has begun it in that */
void client_drop_requests(struct replica *r);
void client_check_birth(struct record *rec, struct uuid by);
bool client_waits(const struct world *w);

/* An answer shows it: never less than anybody was shown before he was asked. */
void client_is_shown(struct request *q, const struct row *row);

/* command.c: what callers, services and operators do with a running transaction */
void command_script(struct record *rec, int64_t delay_ms); /* the next thing its caller does */
void command_again(struct request *q);                     /* its replica died first */
void command_draw(struct world *w, struct record *rec);
void command_repair(struct record *rec);
/* A service tells the end of an operation it had said 202 to. */
void command_callback(struct record *rec, uint16_t step, enum op op, bool ok, struct str output);
void request_send_command(struct request *q);

/* gremlin.c */
void gremlin_start(struct world *w);
void gremlin_heal(struct world *w);
void gremlin_set_clock(struct world *w);

/* failover.c */
void failover_start(struct world *w);
void failover_note(struct record *rec, const struct row *row);
void failover_heard(void *world, struct uuid by, struct str gid, uint64_t version);
void failover_forget(struct record *rec);

/* invariant.c */
void invariant_rebase(struct record *rec, const struct row *row); /* NULL: it is not there */
void invariant_restored(void *world, struct uuid by, const struct row *before, const struct row *after);
void invariant_wrote(void *world, struct uuid by, const struct row *before, const struct row *after);
void invariant_settled(void *world, const struct inbox_row *row, enum verdict verdict, bool again);
void invariant_call(struct replica *r, const struct call_request *req, struct record *rec);
bool invariant_all_ended(const struct world *w);
void invariant_dead_are_fenced(struct world *w);
void invariant_end(struct world *w);

#endif
