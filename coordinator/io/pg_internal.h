/* SPDX-License-Identifier: Apache-2.0
 * pg_internal.h - what the files of the PostgreSQL adapter share.
 */
#ifndef COORDINATOR_IO_PG_INTERNAL_H
#define COORDINATOR_IO_PG_INTERNAL_H

#include "coordinator/base/table.h"
#include "coordinator/io/pg.h"
#include "coordinator/io/pg_conn.h"

enum {
	SERVER_VERSION_MIN = 140000, /* idle_session_timeout */
	DEFINITIONS_MAX = 4096,      /* compiled ones in memory */
	NEWEST_LIVES_MS = 1000,      /* how long "the newest version" is believed */
	LIST_EXAMINES = 1000,        /* rows a page of a list looks at */
	COUNTS_MAX = 50000,          /* rows of each index that counts look at */
	SWEEP_ROWS = 2000,
	SWEEPS_SPARED = 7,
	SWEEP_AUDIT_ROWS = 100,      /* people are slow */
	PARTICIPANTS_MAX = 10000,
	BEATS_MAX = 8
};

struct pg_lease {
	struct pg_link   link;
	struct pg_timer *timer;
	enum { LEASE_CLOSED, LEASE_OPENING, LEASE_OPEN } state;
	unsigned         step;         /* of opening: enum lease_step */
	int64_t          key;
	uint32_t         ttl_ms;
	int64_t          session;      /* of a row: made anew by each opening */
	char             name[40];     /* application_name: carries the key */
	lease_done      *done;         /* of open */
	void            *arg;
	struct {
		lease_done *done;
		void       *arg;
	} beats[BEATS_MAX];
	unsigned         beat_n;
	bool             beat_sent;
	int64_t          beat_at;      /* boot */
	bool             told_lost;
	int32_t          timeline;     /* of its server; 0: not known yet */
	int64_t          server_started; /* of a lock: when the server that gave it had started */
};

struct pg_grave { /* a replica that does not live any more */
	struct uuid id;
	int64_t     seen_at;           /* boot; so for the first time */
};

struct pg_told {
	struct uuid me;
	double      speed, load;
	int64_t     at;                /* boot; so for the last time; 0: it may have been lost */
};

struct pg_watch {
	struct pg_link   link;         /* waits for the lock */
	struct pg_timer *timer;
	int64_t          key;
	uint64_t         number;       /* of watches begun */
	bool             is_on, is_away, asked, granted;
	probe_done      *done;
	void            *arg;
};

enum { FAILOVERS_MAX = 16 }; /* that are remembered */

struct pg_scout {
	struct pg_link   link;
	struct pg_timer *timer;    /* NULL: the DSN names one host */
	struct pg_host  *hosts;
	size_t           host_n, at;
	bool             is_first; /* its first round is not over: no session is opened before */
	bool             asked;
};

struct pg_definitions {
	struct table names;   /* newest version of each name: struct newest */
	struct table compiled; /* by "name version": struct compiled */
	struct list  age;     /* of compiled ones, oldest first */
	size_t       n;
};

/* How rows are taken while one of them can be neither written nor read: a damaged one, or one that a trigger
 * guards. A page with it fails whole, and would for ever; so pages get smaller, then pass it over for a while. */
struct pg_page {
	unsigned limit;   /* 0: as asked */
	unsigned skip;    /* rows at the head */
	int64_t  skip_until; /* boot */
};

/* Where our rows are born (sql/0001_initial.sql). What the database has of it counts, not what is known here. */
struct pg_nursery {
	struct uuid me;       /* of which incarnation */
	bool        is_open;  /* we moved it, and have not shut it since */
	bool        is_over;  /* the database has said: shut and empty */
	int64_t     moved_at, born_at; /* boot */
	uint64_t    begins;   /* batches that were sent or answered */
	int64_t     until;    /* real: no row that we have sent is young behind it */
	int64_t     doubted;  /* its `until` when a fate was unknown or a session new; 0: never. Behind it we know of all rows */
};

struct pg {
	struct pg_handles     handles;
	struct pg_config      config;
	struct pg_dsn         dsn;
	struct pg_conn        log, work, store;
	struct pg_lease       lease;
	struct pg_watch       watch;
	struct pg_definitions definitions;
	struct pg_page        adopting, due;
	struct pg_nursery     nursery;
	unsigned              sweeps_spared; /* so many of the next are not worth it, and are not sent */
	struct pg_told        reported;   /* what the database has of our speed and load */
	struct pg_grave      *graves;     /* of the last list of members */
	size_t                grave_n;
	struct list           later;      /* jobs that are over and whose done has not been called */
	struct pg_timer      *later_timer;
	struct pg_scout       scout;
	struct pg_timer      *timeline_timer;
	bool                  closing, was_up, work_was_up;
	int32_t               timeline;   /* the newest that any session has met; 0: none yet */
	int32_t               told;       /* config.on_failover has been told of this one */
	bool                  is_noted;   /* the timeline of the work session is in the table */
	int64_t               failover_unfinished; /* transactions, at the newest failover */
	bool                  unsafe_standby;
	int64_t               failovers[FAILOVERS_MAX]; /* newest first */
	size_t                failover_n;
	uint64_t              connects, breaks, statements;
	struct tally          batch_us, batch_rows;
	char                  last_error[256];
	void                (*closed)(void *ctx);
	void                 *closed_ctx;
};

/* ---- pg.c ------------------------------------------------------------------------- */
void pg_later(struct pg *pg, struct pg_job *job); /* its done in a later turn */
void pg_run_later(struct pg *pg);                 /* only from a callback of the loop */
void pg_trace(struct pg *pg, enum trace_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The first line of what the server or libpq said, fit to stand in double quotes. */
enum { PG_SAID_MAX = 200 };
const char *pg_said(const char *text, char out[PG_SAID_MAX]);
uint32_t pg_patience_ms(const struct pg *pg);     /* with a session that does not answer */
void pg_conn_changed(struct pg *pg);              /* a connection became ready or broke */

/* ---- pg_timeline.c ------------------------------------------------------------------ */
void    pg_timeline_init(struct pg *pg);
void    pg_timeline_fini(struct pg *pg);
/* A session has asked its server. NULL: good; else why it must not stay there. */
const char *pg_timeline_meet(struct pg *pg, int32_t timeline);
void    pg_timeline_look(struct pg *pg); /* the first job of every work session */
int64_t pg_timeline_failover_at(void *pg, int64_t created_at, int64_t ended_at);

/* ---- pg_scout.c --------------------------------------------------------------------- */
void    pg_scout_init(struct pg *pg, const char *dsn);
bool    pg_scout_is_first(const struct pg *pg);
void    pg_scout_close(struct pg *pg);
void    pg_scout_free(struct pg *pg); /* behind the last handle */

/* ---- pg_row.c ------------------------------------------------------------------------ */
/* Verbs that give rows. */
struct rows_job {
	struct pg_job   job;
	rows_done      *done;
	void           *arg;
	struct pg_page *page;         /* of those that take; else NULL */
	unsigned        asked, limit; /* rows: by the caller, and as sent */
};
void rows_finish(struct pg_job *job); /* a job_done: fetches definitions, then delivers */
/* Decodes row i of r; false: it is not what this program writes. def is borrowed or NULL. */
bool row_decode(struct pg *pg, const PGresult *r, int i, struct row *row);
/* Gives back what row_decode compiled for this row alone. */
void row_release(struct row *row);
/* If definitions that rows of r name are not in memory: sends for them, then calls next(job), and returns true. */
bool rows_fetch_definitions(struct pg *pg, struct pg_job *job, const PGresult *r, struct pg_conn *c, job_done *next);

bool        cell_is_null(const PGresult *r, int i, int column);
struct str  cell_text(const PGresult *r, int i, int column); /* null: empty */
int64_t     cell_i64(const PGresult *r, int i, int column);
int32_t     cell_i32(const PGresult *r, int i, int column);
int64_t     cell_time(const PGresult *r, int i, int column); /* null: 0 */
bool        cell_bool(const PGresult *r, int i, int column);
double      cell_f64(const PGresult *r, int i, int column);
struct uuid cell_uuid(const PGresult *r, int i, int column); /* null: nil */
struct lease_sight cell_sight(const PGresult *r, int i, int column); /* mark and, behind it, ttl_ms; null: no row */
bool        is_storable(struct str text); /* UTF-8 without NUL */

/* Of a job's first answer; none if it is not done. */
static inline size_t rows_of(const struct pg_job *job)
{
	return job->result == LOG_DONE && job->results[0] != NULL ? (size_t)PQntuples(job->results[0]) : 0;
}

/* ---- pg_definition.c -------------------------------------------------------------------- */
struct definition *definitions_get(struct pg_definitions *d, struct str name, uint32_t version);
/* Compiles and keeps it; NULL: it does not compile. */
struct definition *definitions_put(struct pg *pg, struct str name, uint32_t version, struct str document);
/* 0: not known, or known for longer than NEWEST_LIVES_MS. */
uint32_t           definitions_newest(const struct pg_definitions *d, struct str name);
void               definitions_note_newest(struct pg_definitions *d, struct str name, uint32_t version);
struct definition *definitions_compile_own(struct str name, struct str document); /* of one row */
void               definitions_fini(struct pg_definitions *d);

/* ---- the ports ----------------------------------------------------------------------------- */
void pg_log_port(struct pg *pg, struct log_port *port);       /* pg_log.c */
void pg_commit(void *ctx, const struct batch *batch, batch_done *done, void *arg); /* pg_commit.c */
void pg_restore(void *ctx, struct uuid me, const struct row *rows, size_t n, rows_done *done, void *arg);
void pg_member_verbs(struct log_port *port);                  /* pg_member.c */
/* ---- pg_nursery.c */
void pg_nursery_move(struct pg_job *job, struct uuid me);     /* into a batch with begins, when it is time */
void pg_nursery_answered(struct pg *pg);                      /* that batch was */
void pg_nursery_doubt(struct pg *pg);                         /* we may not know of all that was begun here so far */
void pg_nursery_put_doubts(const struct pg *pg, struct pg_params *p); /* the gid that is above all of that */
void pg_nursery_tick(struct pg *pg, struct uuid me);          /* every few seconds */
/* A page of rows of a dead one that somebody wants to take. */
struct pg_adoption {
	struct uuid me, dead;
	unsigned    limit;
	rows_done  *done;
	void       *arg;
};
typedef void pg_adopt_next(struct pg *pg, const struct pg_adoption *a);
/* Calls next when all that the dead one left in its nursery is in the index of owners. */
void pg_nursery_clear(struct pg *pg, const struct pg_adoption *a, pg_adopt_next *next);
void pg_inbox_verbs(struct log_port *port);                   /* pg_inbox.c */
void pg_lease_port(struct pg *pg, struct lease_port *port);   /* pg_lease.c */
void pg_lease_init(struct pg *pg);
void pg_lease_fini(struct pg *pg);
void pg_watch_verbs(struct lease_port *port);                 /* pg_watch.c */
void pg_watch_init(struct pg *pg);
void pg_watch_fini(struct pg *pg);
void pg_store_port(struct pg *pg, struct store_port *port);   /* pg_store.c */
void pg_store_definition_verbs(struct store_port *port);      /* pg_store_definition.c */
void pg_operate_verbs(struct store_port *port);               /* pg_operate.c */
void pg_bulk_verbs(struct store_port *port);                  /* pg_bulk.c */
bool deed_is_storable(const struct deed *d);
void put_deed(struct pg_params *p, const struct deed *d);     /* the first nine parameters of SAY_DEED */
void pg_doctor_verb(struct store_port *port);                 /* pg_doctor.c */
void pg_dtm_verbs(struct store_port *port);                   /* pg_dtm.c */

#endif
