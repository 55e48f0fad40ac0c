/* SPDX-License-Identifier: Apache-2.0
 * database.h - what is asked of PostgreSQL by all that stand behind the barrier.
 */
#ifndef LIBSAGA_DATABASE_H
#define LIBSAGA_DATABASE_H

#include "participants/libsaga/saga/service.h"

#define db_query       saga_own_db_query
#define db_command     saga_own_db_command
#define db_roll_back   saga_own_db_roll_back
#define db_ask         saga_own_db_ask
#define db_ms          saga_own_db_ms
#define watch_begin    saga_own_watch_begin
#define watch_end      saga_own_watch_end
#define watch_is_retry saga_own_watch_is_retry
#define watch_is_down  saga_own_watch_is_down
#define watch_is_ended saga_own_watch_is_ended

/* NULL: it failed. */
PGresult *db_query(PGconn *db, const char *sql, int n, const char *const *params);
/* Did the server do that, or something else? COMMIT and PREPARE TRANSACTION of a transaction that
 * has failed roll it back and say so in the tag alone. state: the SQLSTATE where it failed, 6
 * bytes, or NULL. */
bool db_command(PGconn *db, const char *sql, const char *tag, char *state);
void db_roll_back(PGconn *db); /* whatever is open */
/* As a parameter; NULL: no time. */
const char *db_ms(int64_t ms, char out[24]);

enum entry { ENTRY_RUN, ENTRY_ANSWERED, ENTRY_FAILED };

/* Asks the barrier, in the transaction that is open. ANSWERED: what answer says is sent. */
enum entry db_ask(PGconn *db, const struct saga_call *call, struct saga_answer *answer);

struct watch {
	char state[6];  /* the SQLSTATE of the last statement that failed, ours or the handler's */
	bool committed; /* a transaction was */
};

/* On a session that may have been made anew; ends what an earlier one has seen. */
void watch_begin(struct watch *w, PGconn *db);
void watch_end(PGconn *db);
/* Nothing is wrong with the work: it met somebody else's. */
bool watch_is_retry(const struct watch *w);
/* The database could not do its work, so that what it failed at says nothing about the work. */
bool watch_is_down(const struct watch *w, PGconn *db);
/* The handler has ended the transaction that it was given; perhaps it has begun another. One that
 * was rolled back and begun anew has no row of the barrier: of it no answer can be kept. */
bool watch_is_ended(const struct watch *w, PGconn *db);

#endif
