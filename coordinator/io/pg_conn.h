/* SPDX-License-Identifier: Apache-2.0
 * pg_conn.h - a session with prepared statements in pipeline mode that reconnects by itself, and its jobs.
 *
 * A job is some statements and one Sync, and so one transaction: there is no BEGIN. The Sync commits it, or
 * says why not.
 * Jobs of one session run in order; their dones come from the loop, never from
 * inside a verb.
 */
#ifndef COORDINATOR_IO_PG_CONN_H
#define COORDINATOR_IO_PG_CONN_H

#include "coordinator/base/list.h"
#include "coordinator/engine/port.h"
#include "coordinator/io/pg_link.h"
#include "coordinator/io/pg_params.h"
#include "sql/statements.h"

enum { JOB_STATEMENTS_MAX = 9 }; /* a batch with all that a batch can have */

struct pg;
struct pg_conn;
struct pg_job;
typedef void job_done(struct pg_job *job); /* job->result is set; ends with pg_job_free() */

struct pg_job {
	struct list     node;
	struct pg_conn *conn;
	job_done       *done;
	enum log_result result;
	bool            only_reads;  /* lost with its connection, nothing can have been done: AWAY */
	bool            sealed;      /* cannot be sent any more */
	bool            doubt;       /* the server warned that the commit may not be safe */
	unsigned        sent, got;
	int             failed_at;   /* the statement that failed, or -1 */
	bool            fatal;       /* it failed with the session */
	char            state[6];    /* its SQLSTATE */
	bool            fails_on_purpose; /* as a statement does that must not be followed by the next ones */
	int64_t         sent_at;     /* boot */
	PGresult       *results[JOB_STATEMENTS_MAX]; /* NULL where it failed */
};

enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_SETUP, CONN_READY };

struct pg_conn {
	struct pg       *pg;
	const char      *name;      /* application_name */
	unsigned         statements; /* ON_... */
	struct pg_link   link;
	enum conn_state  state;
	int32_t          timeline;   /* of the server it is at; 0: not known yet */
	struct list      flight;    /* jobs sent, oldest first */
	int64_t          heard_at;  /* boot, of the newest answer */
	struct pg_timer *timer;     /* reconnect; when ready: looks for jobs without an answer */
	uint32_t         backoff_ms;
	int64_t          replan_at; /* boot */
	uint32_t         replan_ms; /* between the last two times */
	struct pg_params params;    /* of the statement being built */
};

void pg_conn_open(struct pg_conn *c, struct pg *pg, const char *name, unsigned statements);
void pg_conn_close(struct pg_conn *c); /* jobs are dropped without done */

/* job is zeroed memory, first member of a larger allocation. */
void pg_job_begin(struct pg_job *job, struct pg_conn *c);
/* Clears and returns the parameters to fill for the next pg_job_add(). */
struct pg_params *pg_job_params(struct pg_job *job);
void pg_job_add(struct pg_job *job, enum statement statement);
void pg_job_send(struct pg_job *job, job_done *done);
/* Ends a job that was begun and not sent, with that result, in a later turn. */
void pg_job_refuse(struct pg_job *job, enum log_result result, job_done *done);
void pg_job_free(struct pg_job *job);  /* results and job */
/* What an error with that SQLSTATE means for a statement that has not been committed. */
enum log_result pg_state_result(const char state[6]);

#endif
