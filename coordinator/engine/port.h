/* SPDX-License-Identifier: Apache-2.0
 * port.h - everything a replica asks of the world, as structs of verbs.
 *
 * One thread. No verb calls back before it returns; every verb given a `done`
 * calls it exactly once, in a later turn of the loop, unless the port was
 * closed. Slices in arguments live until the verb returns, unless it says
 * "until done"; slices in answers live only during the callback.
 * Adapters: coordinator/io/. Fakes: tests/lib/. Both pass tests/conformance/.
 */
#ifndef COORDINATOR_ENGINE_PORT_H
#define COORDINATOR_ENGINE_PORT_H

#include "coordinator/base/err.h"
#include "coordinator/base/text.h"
#include "coordinator/base/uuid.h"
#include "coordinator/core/txn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A compiled definition or inline document (participants/definition.h). The
 * engine only passes it on; it is immutable and counted. */
struct definition;

#define AT_NEVER INT64_MAX /* due_at of a row that only a person can move ('infinity') */

/* The newest format of progress that this version reads and the one it writes. During a rolling upgrade
 * rows of a newer one stand beside ours: the verbs that take rows leave them to replicas that read them. */
enum { ROW_FORMAT = 1 };

/* ---- clock and chance ------------------------------------------------------ */

struct clock_port {
	void    *ctx;
	int64_t (*now_ms)(void *ctx);  /* the database's clock as last heard, carried on by CLOCK_BOOTTIME */
	int64_t (*boot_ms)(void *ctx); /* CLOCK_BOOTTIME: counts through suspend, never steps */
	uint64_t (*random)(void *ctx);
};

/* ---- definitions ------------------------------------------------------------ */

enum join_result { JOIN_NEW, JOIN_SAME, JOIN_DIFFERS, JOIN_INVALID };

struct definition_port {
	void *ctx;
	const struct plan *(*plan)(void *ctx, struct definition *def);
	struct definition *(*hold)(void *ctx, struct definition *def); /* returns def */
	void (*drop)(void *ctx, struct definition *def);
	/* The definition plus the step that `document` describes (JSON object with
	 * "name"). JOIN_NEW: *grown is a new one, the caller's to drop, whose
	 * document text is `*text` (lives as long as it). JOIN_SAME: the same step is there. */
	enum join_result (*join)(void *ctx, struct definition *def, struct str document,
	                         struct definition **grown, struct str *text, struct err *err);
	/* The definition with one step called otherwise (participants/definition.h says how). JOIN_NEW: as in join.
	 * JOIN_INVALID: err says why. No other answer. */
	enum join_result (*patch)(void *ctx, struct definition *def, struct str step, struct str changes,
	                          struct definition **grown, struct str *text, struct err *err);
	/* Commands and journal name steps; the engine counts them. -1: no such step. */
	int (*step_find)(void *ctx, struct definition *def, struct str name);
	struct str (*step_name)(void *ctx, struct definition *def, uint16_t step); /* lives as long as def */
};

/* ---- the log ------------------------------------------------------------------ */

/* One row: everything needed to drive a transaction on. */
struct row {
	struct str         gid;                /* 1..128 printable ASCII */
	struct uuid        owner;              /* nil: nobody */
	uint64_t           epoch, version;     /* from 1 */
	enum phase         phase;
	enum stuck         stuck;
	bool               paused;
	uint32_t           adoptions;          /* taken over since its last progress */
	int64_t            created_at, ended_at; /* ended_at 0: not ended */
	int64_t            due_at;             /* 0: not parked. Ended: owner nil and due_at 0 */
	int64_t            deadline_at;        /* 0: none; also in progress; for lists */
	struct definition *def;                /* the adapter's reference: hold it to keep it. NULL: it could
	                                        * not be loaded or compiled; then the row is only for showing */
	struct str         definition;         /* name; empty for inline steps */
	uint32_t           definition_version;
	struct str         document;           /* inline steps and steps that joined (JSON), else empty */
	struct str         input;              /* JSON, verbatim as it came; never rewritten */
	struct str         labels;             /* JSON object of strings, or empty */
	struct str         traceparent;        /* of the starter, or empty */
	uint8_t            hash[16];           /* of what the starting request wants: the first half of its SHA-256 */
	int64_t            retention_ms;       /* how long to keep it once ended */
	uint16_t           format;             /* of progress */
	struct str         progress;           /* engine/progress.h */
	bool               fresh;              /* of a begin: its gid was made a moment ago and never sent, so that a
	                                        * log need not expect it. Never read back */
};

/* Of a row just taken, parked as it was: nobody has driven it before. It was begun in SQL (sql/0004_start.sql). After a
 * failover epochs are higher: it may have been driven before that, and the log forgot. */
static inline bool is_first_taken(const struct row *row)
{
	return row->version == 2 && row->epoch == 2;
}

/* A wanted change of one row; applies only if owner, epoch and version match. */
struct change {
	struct str gid;
	uint64_t   epoch, version;      /* as read; the row's version grows by one */
	enum phase phase;
	enum stuck stuck;
	bool       paused;
	struct str progress;
	struct str document;            /* p == NULL: as it was */
	bool       ended;               /* phase is ended: owner and due_at become null, ended_at as the batch says */
	bool       release;             /* owner becomes null and due_at as given (AT_NEVER: infinity) */
	int64_t    due_at;
};

/* A line of the journal. Append-only; happy transactions write none. Not written when a change of its
 * gid in the same batch does not apply. */
struct entry {
	struct str   gid;
	int64_t      at;
	struct str   what;   /* "attempt", or the name of a command */
	struct str   step;   /* name, or empty */
	struct str   op, outcome; /* names, or empty */
	uint32_t     attempt;
	int          status; /* HTTP status, 0: none */
	struct str   detail; /* error text, or the reason a person gave */
	struct str   actor;  /* who, for commands of people */
	struct uuid  replica;
};

/* What a person did, for the audit: written in the same database transaction as the change, or not at all. */
struct deed {
	struct str  actor, role; /* who, and in which role */
	struct str  kind, target; /* "transaction" and its gid, "definition" and its name, … */
	struct str  action;
	struct str  step, op;    /* or empty */
	struct str  reason, request_id;
	struct str  detail;      /* JSON of what was given with it, or empty */
	uint64_t    before, after; /* versions; 0: none */
	struct uuid replica;     /* that applied it */
};

/* A command that was applied by a commit: its verdict becomes readable with it. */
struct settled {
	struct uuid  id;
	enum verdict verdict;
};

/* All commits wanted in one turn, as one database transaction. Never the same
 * gid twice among begins and changes. All memory lives until done. */
struct batch {
	struct uuid           me;
	const struct row     *begins;   /* owner me, epoch 1, version 1 */
	size_t                begin_count;
	const struct change  *changes;
	size_t                change_count;
	const struct entry   *entries;
	size_t                entry_count;
	const struct settled *settled;
	size_t                settled_count;
	const struct deed    *deeds;    /* of transactions, by gid; not written when the change does not apply */
	size_t                deed_count;
	int64_t               at;       /* ended_at of what ends in it, by the database's clock; 0: the log asks that clock */
	bool                  hasty;    /* others wait behind a lock that is looked for: rather LOG_AGAIN than a long wait */
};

#define LOG_RESULTS(X)                                                                                \
	X(DONE,     "done",     "done")                                                               \
	X(FENCED,   "fenced",   "not done: our replica row is not live; this incarnation is over")    \
	X(AGAIN,    "again",    "not done: serialisation failure, deadlock, a row that somebody else " \
	                        "holds locked, a fresh gid that exists; the same again, not fresh")   \
	X(BAD_DATA, "bad_data", "not done: a row in it cannot be stored; halve the batch")            \
	X(AWAY,     "away",     "not done, nothing was sent or the server refused (read-only, disk "  \
	                        "full, limit)")                                                       \
	X(LOST,     "lost",     "may or may not be done, now or later")

#define X(name, ...) LOG_##name,
enum log_result { LOG_RESULTS(X) };
#undef X
#define X(...) + 1
enum { LOG_RESULT_COUNT = 0 LOG_RESULTS(X) };
#undef X

struct batch_result {
	const bool *begun;   /* per begin: inserted; false: the gid exists */
	const bool *changed; /* per change: applied; false: owner, epoch or version differ */
	bool        barred;  /* LOG_AGAIN: somebody else's open transaction has begun one of the gids */
};

/* r may be NULL unless LOG_DONE or LOG_AGAIN. */
typedef void batch_done(void *arg, enum log_result result, const struct batch_result *r);
/* rows is the adapter's and dies with the callback; n == 0 unless LOG_DONE. */
typedef void rows_done(void *arg, enum log_result result, const struct row *rows, size_t n);
typedef void log_done(void *arg, enum log_result result);

/* A command for a transaction that another replica owns. */
struct inbox_row {
	struct uuid id;      /* chosen by the sender; the same id twice is one command */
	struct str  gid;
	struct str  command; /* name, engine/command.h */
	struct str  body;    /* JSON, engine/command.h */
};
typedef void inbox_done(void *arg, enum log_result result, const struct inbox_row *rows, size_t n);
typedef void verdicts_done(void *arg, enum log_result result, const struct settled *rows, size_t n);

/* Shares are of what was there at the fence, so it is counted, index only and within the fence: some 0.1 to
 * 1 us a row, and nobody holds more than this by far (max-transactions is 200,000). */
enum { MEMBER_ROWS_MAX = 1000000 };

enum member_state { MEMBER_LIVE, MEMBER_DRAINED, MEMBER_FENCED };
enum { MEMBER_STATE_COUNT = 3 };

/* What can be seen of a lease from outside. One that is a row ends by no clock of the database: it is over
 * when whoever looks has seen the same mark for as long as the lease lasts. */
struct lease_sight {
	int64_t  mark;   /* 0: a lock, or nothing is held; else of a row: another after each opening and each beat */
	uint32_t ttl_ms; /* of a row */
};

struct member {
	struct uuid       id;
	int64_t           lock_key;
	enum member_state state;
	struct str        address;      /* http://host:port for pokes and people */
	uint32_t          weight;       /* 1 .. 1000, priority of this machine */
	double            speed;        /* steps per second it could do, as it last said */
	double            load;         /* K = load / capacity */
	int64_t           started_at, seen_at;
	struct uuid       fenced_by;
	struct lease_sight lease;       /* mark 0: its lease is a lock, or was let go */
	bool              owns;         /* unfinished rows name it; or may, of rows that it began in the last seconds */
	uint32_t          rows;         /* how many did when it was fenced; counted to MEMBER_ROWS_MAX */
};
typedef void members_done(void *arg, enum log_result result, const struct member *m, size_t n);

/* A row that was taken over so often without any progress may have been what killed its owners. */
enum danger { DANGER_NONE, DANGER_SOME, DANGER_HIGH };
enum { ADOPTIONS_SOME = 2, ADOPTIONS_HIGH = 4 };

static inline enum danger danger_of(uint32_t adoptions)
{
	return adoptions < ADOPTIONS_SOME   ? DANGER_NONE
	       : adoptions < ADOPTIONS_HIGH ? DANGER_SOME
	                                    : DANGER_HIGH;
}

struct look {
	bool due, commands;
};
typedef void look_done(void *arg, enum log_result result, struct look found);

struct log_port {
	void *ctx;
	/* Two at a time at most, with no gid in both; never cancelled once sent. Each has its own fate, and the answers may come
	 * in either order. */
	void (*commit)(void *ctx, const struct batch *batch, batch_done *done, void *arg);
	/* After an unknown fate: epoch + 1 and version + 1 on those of the gids that
	 * are still mine (waits for the old session's row locks), and the rows as they are then. */
	void (*reload)(void *ctx, struct uuid me, const struct str *gids, size_t n, rows_done *done, void *arg);
	/* After a failover: rows as they were last known here, of owner me, ended or parked, with the epoch and
	 * version they had. Each becomes exactly so if the log has an older version of it that nobody has taken
	 * since the failover, or none; it never goes back on a decision. Answers the gids that became so.
	 * LOG_FENCED: our replica row is not live. */
	void (*restore)(void *ctx, struct uuid me, const struct row *rows, size_t n, rows_done *done, void *arg);
	/* A page of the gids with owner == me, gid > after, in order; only gid, epoch and version are filled. It may leave out
	 * what was begun here lately, as long as every commit with begins was answered LOG_DONE and no session broke since. */
	void (*mine)(void *ctx, struct uuid me, struct str after, unsigned limit, rows_done *done, void *arg);
	/* The three that take rows give none to a replica whose own row is not live: a zombie must not take
	 * what nobody would look for there. And only rows with format <= ROW_FORMAT. */
	/* Take rows of a fenced or drained incarnation: owner me, epoch + 1, version + 1, adoptions + 1.
	 * Rows of that danger only, of HIGH one at most; in danger and from a drained one, adoptions stay. Disjoint
	 * between replicas. */
	void (*adopt)(void *ctx, struct uuid me, struct uuid dead, struct str after, unsigned limit,
	              enum danger danger, rows_done *done, void *arg);
	/* Is there anything for take_due, or a command without verdict, whosever? A plain read, made so often that it has
	 * to cost nothing: it may count what somebody else has locked or what is another's. */
	void (*look)(void *ctx, look_done *done, void *arg);
	/* Take parked rows whose due_at has passed: owner me, due_at null, epoch + 1, version + 1. */
	void (*take_due)(void *ctx, struct uuid me, unsigned limit, rows_done *done, void *arg);
	/* The same for one gid that is parked, due or not; n == 0 if it is not parked now. */
	void (*claim)(void *ctx, struct uuid me, struct str gid, rows_done *done, void *arg);
	/* Plain reads: nothing is locked. `ended` gives only those that have ended. */
	void (*read)(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg);
	void (*ended)(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg);

	void (*inbox_put)(void *ctx, const struct inbox_row *row, log_done *done, void *arg);
	/* Commands without verdict whose transaction is mine or nobody's, and of a format <= ROW_FORMAT, or not there. */
	void (*inbox_read)(void *ctx, struct uuid me, unsigned limit, inbox_done *done, void *arg);
	/* Those of the ids that have a verdict. The sender asks, then forgets. */
	void (*inbox_verdicts)(void *ctx, const struct uuid *ids, size_t n, verdicts_done *done, void *arg);
	void (*inbox_forget)(void *ctx, const struct uuid *ids, size_t n, log_done *done, void *arg);

	/* This incarnation's row, state live. LOG_FENCED: the id exists and is not live. */
	void (*enroll)(void *ctx, const struct member *me, log_done *done, void *arg);
	/* LOG_DONE: our row is there and live; LOG_FENCED: it is not, or was swept long ago. Ask it of a row that
	 * was enrolled: enrolling again would raise from the dead whoever slept longer than dead rows are kept. */
	void (*still_live)(void *ctx, struct uuid me, log_done *done, void *arg);
	void (*report)(void *ctx, struct uuid me, double speed, double load, log_done *done, void *arg);
	void (*members)(void *ctx, members_done *done, void *arg);
	/* One transaction: the dead one's lock is free (xact try-lock), its row lease is not held or still has that
	 * mark and is ended, and its state goes from live to fenced. LOG_DONE: fenced, by us or before; LOG_AGAIN:
	 * its lease is held, it lives. */
	void (*fence)(void *ctx, struct uuid me, struct uuid dead, int64_t lock_key, int64_t mark, log_done *done,
	              void *arg);
	/* live -> drained, when it owns nothing any more. */
	void (*retire)(void *ctx, struct uuid me, log_done *done, void *arg);
	/* Delete, in one small batch under a try-lock, finished rows past their retention; if all is asked for also settled
	 * inbox rows older than a minute, dead replicas that nothing names and that members() has shown dead for a while, and what
	 * else is seldom. */
	void (*sweep)(void *ctx, bool all, log_done *done, void *arg);
};

/* ---- the lease ---------------------------------------------------------------- */

enum lease_result {
	LEASE_HELD,    /* open: the lock is ours, in a fresh session; beat: answered */
	LEASE_TAKEN,   /* open: another session holds that key (our own stale one was terminated: ask again) */
	LEASE_LOST,    /* the session is gone */
	LEASE_REFUSED  /* this database or pooler cannot carry a lease; err says what to change */
};

typedef void lease_done(void *arg, enum lease_result result, const struct err *err);
typedef void probe_done(void *arg, enum log_result result, bool is_free, struct lease_sight sight);

struct lease_port {
	void *ctx;
	/* A dedicated session with idle_session_timeout = ttl_ms holds the advisory lock `key`; or the lease is a
	 * row, which each beat writes, and which is held until it is closed or fenced. */
	void (*open)(void *ctx, int64_t key, uint32_t ttl_ms, lease_done *done, void *arg);
	void (*beat)(void *ctx, lease_done *done, void *arg);
	void (*close)(void *ctx); /* lets the lock go; pending dones are dropped */
	/* Is this key free? (ordinary session, try and release at once.) A row that is held is not, however old. */
	void (*probe)(void *ctx, int64_t key, probe_done *done, void *arg);
	/* A second session waits in shared mode for the key and lets it go at once: done(DONE, true) within
	 * milliseconds of the holder's death, or (AWAY, false) when the session breaks. One watch at a time. Of a
	 * row it tells only that it was let go. */
	void (*watch)(void *ctx, int64_t key, probe_done *done, void *arg);
	void (*unwatch)(void *ctx); /* done of the watch is dropped */
};

/* ---- participants ----------------------------------------------------------------- */

struct call_request {
	struct definition *def;
	struct str         gid;
	uint16_t           step;        /* or TXN_CHECK */
	enum op            op;
	uint32_t           attempt;     /* from 1 */
	uint32_t           call;        /* calls of this op that we know to have ended before it */
	uint64_t           epoch;
	int64_t            created_at;  /* ${now} */
	int64_t            deadline_at; /* 0: none */
	struct str         input;
	const struct str  *outputs;     /* per step; empty: none */
	struct str         traceparent;
};

struct call_answer {
	enum outcome outcome;
	bool         bare_conflict, gone;
	bool         stale_epoch;       /* 412: no outcome; read the row again */
	bool         unsent;            /* our own queue for it was full: nothing left, no attempt is used up */
	int64_t      put_off_ms;        /* not 0: nothing left, the participant takes no calls for so long; no attempt is used up */
	bool         failing;           /* with put_off_ms: because it fails, not because somebody paused it */
	uint64_t     line;              /* with put_off_ms: names the participant, for engine_on_room() */
	int          status;            /* HTTP status; 0: no answer */
	int64_t      retry_after_ms;
	struct str   output;            /* of an ok: valid JSON within the size cap, or empty */
	struct str   error;             /* one short line of valid UTF-8, or empty */
};
typedef void call_done(void *arg, const struct call_answer *answer);

struct caller_port {
	void *ctx;
	/* Renders and queues; request memory may go when it returns. Time in our queue counts towards no
	 * time-out. The handle is never 0. */
	uint64_t (*start)(void *ctx, const struct call_request *request, call_done *done, void *arg);
	/* Forget it: done is never called. The request may have been sent all the same. */
	void (*abort)(void *ctx, uint64_t handle);
};

struct poke_port {
	void *ctx;
	void (*poke)(void *ctx, struct str address, struct str gid); /* fire and forget */
};

/* ---- log lines --------------------------------------------------------------------- */

enum trace_level { TRACE_DEBUG, TRACE_INFO, TRACE_WARN, TRACE_ERROR };

/* A call by what makes its span (participants/trace.h), but for the epoch. */
struct trace_call {
	uint16_t step;
	enum op  op;
	uint32_t attempt, call;
};

struct trace_port {
	void *ctx;
	/* event is one word, e.g. "adopted"; detail is key=value text without secrets or payloads; gid may be empty. */
	void (*line)(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail);
	/* Traces; NULL: nobody wants them. A transaction has ended, and we have committed that. */
	void (*ended)(void *ctx, const struct row *row, const struct txn *txn);
	/* We took it over from that incarnation, which may have made these calls. */
	void (*adopted)(void *ctx, const struct row *row, struct uuid from, const struct trace_call *calls, size_t n);
};

struct ports {
	struct clock_port      clock;
	struct definition_port definition;
	struct log_port        log;
	struct lease_port      lease;
	struct caller_port     caller;
	struct poke_port       poke;
	struct trace_port      trace;
};

/* ---- the store: what the API keeps and lists, no business of the engine ------------- */

struct definition_row {
	struct str name;
	uint32_t   version;
	uint8_t    hash[32];
	struct str document;
	int64_t    created_at;
};
/* n == 0 with LOG_DONE: there is none. */
typedef void definitions_done(void *arg, enum log_result result, const struct definition_row *rows, size_t n);
/* created: a new version was made; else the identical one that was there. */
typedef void definition_put_done(void *arg, enum log_result result, bool created, uint32_t version);
/* def is the adapter's: hold it. NULL with LOG_DONE: unknown name or version. */
typedef void definition_done(void *arg, enum log_result result, struct definition *def, uint32_t version);

struct participant_row {
	struct str name, base_url;
	uint32_t   max_in_flight; /* 0: the daemon's default */
	int        breaker_percent, retry_percent; /* 0 .. 100 in place of the daemon's options; -1: those */
	struct str secret;        /* name of a secret file each replica is given; the secret itself is never stored */
	uint64_t   version;
};
/* What a put expects to find, in place of a version. */
enum { PARTICIPANT_PUT_ALWAYS = 0, PARTICIPANT_PUT_KNOWN = -1 /* any version of it */ };
/* version: the new one; 0: nothing was written, it is not at the expected one. */
typedef void participant_put_done(void *arg, enum log_result result, uint64_t version);
typedef void participants_done(void *arg, enum log_result result, const struct participant_row *rows, size_t n);

/* What people have stopped until somebody resumes it. */
#define PAUSE_KINDS(X)                        \
	X(DEFINITION,  "definition")  /* starts of it; the name of the definition */ \
	X(PARTICIPANT, "participant") /* calls to it; "participant:NAME" or "host:port" */ \
	X(REPLICA,     "replica")     /* it leaves; the text of its id */

#define X(name, ...) PAUSE_##name,
enum pause_kind { PAUSE_KINDS(X) };
#undef X
#define X(...) + 1
enum { PAUSE_KIND_COUNT = 0 PAUSE_KINDS(X) };
#undef X

static inline const char *pause_kind_name(enum pause_kind v)
{
#define X(name, text) [PAUSE_##name] = text,
	static const char *const names[PAUSE_KIND_COUNT] = { PAUSE_KINDS(X) };
#undef X

	return names[v];
}

struct pause_row {
	enum pause_kind kind;
	struct str      name;
	int64_t         since;
	struct str      actor, reason;
};
typedef void pauses_done(void *arg, enum log_result result, const struct pause_row *rows, size_t n);
/* is_known: what is to be paused is there (of a host nobody knows; a replica must be live). changed: it was not so
 * before. */
typedef void pause_done(void *arg, enum log_result result, bool is_known, bool changed);

struct deed_row {
	uint64_t    number;
	int64_t     at;
	struct deed deed;
};
/* next: go on below that number; 0: there is nothing more. */
typedef void deeds_done(void *arg, enum log_result result, const struct deed_row *rows, size_t n, uint64_t next);

struct deed_filter { /* empty or zero: not filtered */
	struct str kind, target;
	struct str actor, action;
	int64_t    since, until;
	uint64_t   below;            /* number; 0: from the newest */
};

/* An action on all transactions that a filter matches. */
#define BULK_STATES(X) X(RUNNING, "running") X(DONE, "done") X(CANCELLED, "cancelled")

#define X(name, text) BULK_##name,
enum bulk_state { BULK_STATES(X) };
#undef X

struct bulk_row {
	struct uuid     id;
	enum bulk_state state;
	struct str      action;
	struct str      filter;     /* JSON, as it was sent */
	struct str      actor, role, reason, request_id;
	uint32_t        rate;       /* actions a second */
	int64_t         created_at, ended_at; /* 0: it runs */
	struct uuid     runner;     /* nil: nobody yet */
	uint64_t        epoch;      /* grows with every runner */
	uint64_t        examined, matched, done, refused, failed;
	struct str      position;   /* looked at up to this gid */
	struct str      page;       /* JSON array: gids that are being acted on */
	struct str      refusals;   /* JSON object: how many by verdict */
};
typedef void bulks_done(void *arg, enum log_result result, const struct bulk_row *rows, size_t n);
/* saved: it runs on, and nobody else has taken it over. */
typedef void bulk_saved(void *arg, enum log_result result, bool saved);

struct entry_row {
	uint64_t     number;
	struct entry entry;
};
typedef void entries_done(void *arg, enum log_result result, const struct entry_row *rows, size_t n);

struct list_filter { /* empty or zero: not filtered */
	int        phase;         /* -1: any */
	int        stuck;         /* -1: any, 0 not, 1 stuck */
	struct str definition;
	struct str label_name, label_value;
	int64_t    created_before;
	struct str participant;   /* host[:port] that a step of it calls */
};
struct list_page {
	struct str next;     /* examine on from here; empty: the end was reached. A page may be short or empty */
	uint64_t   examined; /* rows that were looked at for it */
};
typedef void list_done(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page);

/* What api/dtm/ lists and keeps: its protocol knows transactions by their age, and topics. */
struct dtm_filter {
	unsigned   phases;          /* set of 1 << enum phase */
	struct str kind;            /* empty: any */
	int64_t    since, until;    /* when they were created; 0: any time */
};
struct dtm_kv_row {
	struct str cat, k, v;
	uint64_t   version;
	int64_t    created_at, updated_at;
};
typedef void dtm_kvs_done(void *arg, enum log_result result, const struct dtm_kv_row *rows, size_t n);
/* changed: it was there as expected, and is otherwise now. */
typedef void dtm_kv_done(void *arg, enum log_result result, bool changed);

struct counts {
	uint64_t by_phase[PHASE_COUNT]; /* unfinished phases only */
	uint64_t stuck, parked;
	uint64_t by_stuck[STUCK_COUNT];
	bool     complete;   /* all were counted */
	int64_t  overdue_ms; /* how long the parked one that has been due for longest has been due */
};
typedef void counts_done(void *arg, enum log_result result, const struct counts *c);

struct doctor_fact { /* what the database says of itself: sql/statements.h lists the names */
	struct str name, value;
};
/* known: the newest migration this program knows. */
typedef void doctor_done(void *arg, enum log_result result, const struct doctor_fact *facts, size_t n, unsigned known);

struct store_port {
	void *ctx;
	/* deed: for the audit, if it makes a version; its `after` is filled in. */
	void (*definition_put)(void *ctx, struct str name, struct str document, const uint8_t hash[32],
	                       const struct deed *deed, definition_put_done *done, void *arg);
	void (*definition_rows)(void *ctx, struct str name, uint32_t version, definitions_done *done, void *arg); /* 0: the newest */
	void (*definition_list)(void *ctx, struct str after, unsigned limit, definitions_done *done, void *arg);  /* newest of each */
	/* Compiled and cached: may answer from memory (still later). version 0: the newest, at most 1 s old. */
	void (*definition)(void *ctx, struct str name, uint32_t version, definition_done *done, void *arg);
	/* The same from memory alone, at once; NULL: ask `definition`. Borrowed: hold it to keep it. */
	struct definition *(*definition_cached)(void *ctx, struct str name, uint32_t version, uint32_t *found_version);
	void (*participant_put)(void *ctx, const struct participant_row *row, int64_t expected, const struct deed *deed,
	                        participant_put_done *done, void *arg);
	void (*participant_list)(void *ctx, participants_done *done, void *arg);
	void (*list)(void *ctx, const struct list_filter *filter, struct str after, unsigned limit, list_done *done, void *arg);
	void (*journal)(void *ctx, struct str gid, uint64_t after, unsigned limit, entries_done *done, void *arg);
	/* Of those driven and of those parked, at most so many each (0: as many as may be): then they are at least so many. */
	void (*counts)(void *ctx, unsigned limit, counts_done *done, void *arg);
	/* Those that are stuck, in the order of their gids, without input and labels. */
	void (*stuck)(void *ctx, struct str after, unsigned limit, list_done *done, void *arg);
	/* row: kind, name, actor, reason. Nothing is written, nor audited, if it is so already. */
	void (*pause)(void *ctx, const struct pause_row *row, const struct deed *deed, pause_done *done, void *arg);
	void (*unpause)(void *ctx, const struct pause_row *row, const struct deed *deed, pause_done *done, void *arg);
	/* Writes nothing; its `changed` says whether it is paused. */
	void (*pause_look)(void *ctx, const struct pause_row *row, pause_done *done, void *arg);
	void (*pauses)(void *ctx, pauses_done *done, void *arg); /* all of them */
	/* Born running, with nobody to run it. */
	void (*bulk_put)(void *ctx, const struct bulk_row *row, const struct deed *deed, log_done *done, void *arg);
	/* One of that id; with a nil id newest first, those with smaller ids than `below` (nil: all). */
	void (*bulk_rows)(void *ctx, struct uuid id, struct uuid below, unsigned limit, bulks_done *done, void *arg);
	/* Takes one whose runner is not live, or is who asks: the answer to an earlier claim of his may have been lost, so
	 * ask only with none in hand. Not those that were passed by. n == 0: there is none, or we are not live. */
	void (*bulk_claim)(void *ctx, struct uuid me, const struct uuid *passed, size_t n, bulks_done *done, void *arg);
	/* What its runner knows: id, epoch, counts, position, page, refusals; state DONE ends it. Of one that was cancelled
	 * meanwhile the counts are taken when its page is over (empty), and it is not `saved`. */
	void (*bulk_save)(void *ctx, const struct bulk_row *row, bulk_saved *done, void *arg);
	/* is_known, changed: as of pauses. */
	void (*bulk_cancel)(void *ctx, struct uuid id, const struct deed *deed, pause_done *done, void *arg);
	/* Newest first. A page examines a bounded number, and may be short or empty. */
	void (*audit)(void *ctx, const struct deed_filter *filter, unsigned limit, deeds_done *done, void *arg);
	void (*doctor)(void *ctx, doctor_done *done, void *arg);
	/* Newest first, behind `after` (a `next` of before; empty: from the newest). A page examines a bounded number. */
	void (*dtm_list)(void *ctx, const struct dtm_filter *filter, struct str after, unsigned limit, list_done *done, void *arg);
	/* Parked ones that nobody would look at for so long; only the gids are filled. */
	void (*dtm_sleepers)(void *ctx, int64_t longer_ms, unsigned limit, list_done *done, void *arg);
	/* One, or with an empty k those behind `after`, in order. */
	void (*dtm_kv_read)(void *ctx, struct str cat, struct str k, struct str after, unsigned limit, dtm_kvs_done *done, void *arg);
	/* row: cat, k, v, and the version that is expected; 0: there is none. */
	void (*dtm_kv_write)(void *ctx, const struct dtm_kv_row *row, dtm_kv_done *done, void *arg);
	void (*dtm_kv_delete)(void *ctx, struct str cat, struct str k, dtm_kv_done *done, void *arg);
	/* The newest failover of the database that met a transaction while it was unfinished, as far as known in
	 * memory, at once; 0: none. ended_at 0: it still is. */
	int64_t (*failover_at)(void *ctx, int64_t created_at, int64_t ended_at);
};

#endif
