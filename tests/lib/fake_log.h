/* SPDX-License-Identifier: Apache-2.0
 * fake_log.h - a log in memory behind log_port, whose every delay and fault somebody else decides.
 *
 * One struct fake_db is the database and survives every crash; one struct
 * fake_log is a replica's connection to it. A commit has three moments: it
 * arrives (and takes its row locks), it lands (others see it), it is answered.
 * Between them connections break, and the rest still happens or does not.
 */
#ifndef TESTS_LIB_FAKE_LOG_H
#define TESTS_LIB_FAKE_LOG_H

#include "coordinator/engine/port.h"
#include "tests/lib/fake_loop.h"

/*        name            channel  text              lost */
#define FAKE_VERBS(X)                                          \
	X(COMMIT,         COMMITS, "commit",         true)     \
	X(RELOAD,         OTHERS,  "reload",         true)     \
	X(MINE,           OTHERS,  "mine",           false)    \
	X(RESTORE,        OTHERS,  "restore",        true)     \
	X(ADOPT,          OTHERS,  "adopt",          true)     \
	X(LOOK,           OTHERS,  "look",           false)    \
	X(TAKE_DUE,       OTHERS,  "take_due",       true)     \
	X(CLAIM,          OTHERS,  "claim",          true)     \
	X(READ,           OTHERS,  "read",           false)    \
	X(ENDED,          OTHERS,  "ended",          false)    \
	X(INBOX_PUT,      OTHERS,  "inbox_put",      true)     \
	X(INBOX_READ,     OTHERS,  "inbox_read",     false)    \
	X(INBOX_VERDICTS, OTHERS,  "inbox_verdicts", false)    \
	X(INBOX_FORGET,   OTHERS,  "inbox_forget",   true)     \
	X(ENROLL,         OTHERS,  "enroll",         true)     \
	X(STILL_LIVE,     OTHERS,  "still_live",     false)    \
	X(REPORT,         OTHERS,  "report",         true)     \
	X(MEMBERS,        OTHERS,  "members",        false)    \
	X(FENCE,          OTHERS,  "fence",          true)     \
	X(RETIRE,         OTHERS,  "retire",         true)     \
	X(SWEEP,          OTHERS,  "sweep",          true)

#define X(name, ...) FAKE_##name,
enum fake_verb { FAKE_VERBS(X) };
#undef X

const char *fake_verb_name(enum fake_verb verb);

enum { FAKE_COMMITS = 1 << 0, FAKE_OTHERS = 1 << 1 }; /* the two connections of a log_port */

struct fake_db_config {
	void                  *ctx;
	struct fake_loop      *loop;
	int64_t              (*now_ms)(void *ctx); /* the database's clock */
	struct definition_port definition;         /* hold and drop */
	/* A reference of the caller's, or NULL if it cannot be compiled. */
	struct definition   *(*compile)(void *ctx, struct str name, uint32_t version, struct str document);
	/* Is this lease held, as a lock or as a row without this mark? */
	bool                 (*is_held)(void *ctx, int64_t key, int64_t mark);
	/* A lease is fenced. What it looks like, in the list of members. May be NULL, both. */
	void                 (*fenced)(void *ctx, int64_t key);
	struct lease_sight   (*sight)(void *ctx, int64_t key);
	/* A replica asks to fence another. May be NULL. */
	void                 (*fences)(void *ctx, struct uuid me, struct uuid dead);
	void                 (*bad)(void *ctx, const char *what);  /* an argument breaks port.h */
	/* Every write of a row as it lands: before NULL: inserted; after NULL: deleted. May be NULL. */
	void                 (*wrote)(void *ctx, struct uuid by, const struct row *before, const struct row *after);
	/* A row is brought back as it once was; before NULL: it was missing. May be NULL. */
	void                 (*restored)(void *ctx, struct uuid by, const struct row *before, const struct row *after);
	/* An answer has reached who asked: this version of the row is known there. May be NULL. */
	void                 (*heard)(void *ctx, struct uuid by, struct str gid, uint64_t version);
	bool                   remembers;          /* what it was like some writes ago, for a failover */
	void                 (*settled)(void *ctx, const struct inbox_row *row, enum verdict verdict, bool again); /* may be NULL */
	/* Every request the server has done with; n: rows found or in the batch; heard: somebody still waits. May be NULL. */
	void                 (*answered)(void *ctx, enum fake_verb verb, enum log_result result, size_t n, bool heard);
	/* Somebody else holds that row locked, or is about to begin it: a commit with it is LOG_AGAIN, and nobody takes it
	 * over. May be NULL. */
	bool                 (*is_blocked)(void *ctx, struct str gid);
	bool                 (*is_unreadable)(void *ctx, struct str gid); /* a reload with it is LOG_BAD_DATA. May be NULL */
	/* For so long the list of `mine` leaves out what was begun there, whenever port.h lets it. 0: never. */
	int64_t                nursery_ms;
	struct str             unstorable;         /* a text with this in it is LOG_BAD_DATA; empty: none */
};

struct fake_db;

struct fake_db    *fake_db_open(const struct fake_db_config *config);
void               fake_db_close(struct fake_db *db); /* after its logs, and after the loop has dropped its events */
/* The server stops and starts: what has not landed never will, every session dies. */
void               fake_db_restart(struct fake_db *db);
/* A standby is promoted that lacks the last writes of transactions and members (at most that many, and what
 * is remembered): all sessions die as in a restart. Returns how many were lost. */
void               fake_db_first_epoch(struct fake_db *db, uint64_t epoch); /* as it says, and no session dies */
size_t             fake_db_failover(struct fake_db *db, size_t writes);
size_t             fake_db_fall_back(struct fake_db *db, size_t writes); /* the same, and what the old server answered still arrives */
/* A caller's own commit begins it, parked. False: the gid is there. */
bool               fake_db_start(struct fake_db *db, const struct row *row);
/* For invariants, not for replicas. */
const struct row  *fake_db_row(const struct fake_db *db, struct str gid); /* or NULL */
/* As if so many replicas had taken it over and died before it made any progress. */
void               fake_db_burden(struct fake_db *db, struct str gid, uint32_t adoptions);
/* As if a replica of another version had written it. */
void               fake_db_format(struct fake_db *db, struct str gid, uint16_t format);
const struct row  *fake_db_row_at(const struct fake_db *db, size_t i);    /* in order of gid; NULL behind the last */
const struct member *fake_db_member(const struct fake_db *db, struct uuid id);
const struct member *fake_db_member_at(const struct fake_db *db, size_t i); /* NULL behind the last */
size_t             fake_db_inbox(const struct fake_db *db, bool settled); /* how many */
size_t             fake_db_long_waits(const struct fake_db *db); /* commits for a gid that somebody has begun, and not hasty */
size_t             fake_db_abreast(const struct fake_db *db); /* commits sent while another of the same replica was under way */
size_t             fake_db_entries(const struct fake_db *db);             /* lines of the journal */
const struct entry *fake_db_entry_at(const struct fake_db *db, size_t i); /* or NULL; gid, what, detail and actor are kept */

/* What becomes of one request. Zeroes: at once, and answered at once. */
struct fake_fate {
	int64_t         arrive_ms;
	int64_t         land_ms;   /* FAKE_COMMIT only: holds its row locks so long */
	int64_t         answer_ms;
	enum log_result refuse;    /* LOG_AGAIN, LOG_AWAY: the server refuses it whole; LOG_DONE: it does not */
};

struct fake_log_config {
	struct fake_db  *db;
	struct fake_end *end;    /* where answers arrive */
	void            *ctx;
	void           (*fate)(void *ctx, enum fake_verb verb, struct fake_fate *fate);
	/* The connection broke with this request on its way: does it still reach the server? */
	bool           (*survives)(void *ctx, enum fake_verb verb);
};

struct fake_log;

struct fake_log *fake_log_open(const struct fake_log_config *config, struct log_port *port);
void             fake_log_close(struct fake_log *log); /* the process is gone; nobody is answered */
/* What is under way is answered LOG_LOST, or LOG_AWAY if it was a read. Until restored, all is LOG_AWAY. */
void             fake_log_break(struct fake_log *log, unsigned channels);
void             fake_log_restore(struct fake_log *log, unsigned channels);
/* A commit of another incarnation than this is unanswered. */
bool             fake_log_owes(const struct fake_log *log, struct uuid me);
bool             fake_log_is_up(const struct fake_log *log, unsigned channels);

#endif
