/* SPDX-License-Identifier: Apache-2.0
 * saga/xa.h - a step whose try is held open by PostgreSQL itself: prepared, then committed or
 * rolled back.
 */
#ifndef SAGA_XA_H
#define SAGA_XA_H

#include "client.h"
#include "service.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Nobody sees what a prepared transaction wrote, and its locks are held, until the confirm. Choose
 * it where that is what you need and transactions are short; everywhere else saga_serve() is faster
 * and locks nothing.
 *
 * To be asked before a service starts: can the server prepare transactions, is the barrier there?
 * False: error says what to change. */
SAGA_API bool saga_xa_ready(PGconn *db, struct saga_error *error) SAGA_USE;

/* As saga_serve(), for a step with try, confirm and cancel. handler does the try's work and is not
 * run for the others.
 *   SAGA_DONE     prepared under "saga:GID:STEP"; answered 204. There is no body, since a duplicate
 *                 could not be told it
 *   SAGA_REFUSED  (and SAGA_GONE) rolled back, the refusal kept
 *   else          rolled back, nothing kept, 503: sagad calls again
 * What may not stand in a prepared transaction (temporary tables, NOTIFY, …) may not stand in a
 * handler. */
SAGA_API void saga_xa_serve(PGconn *db, const struct saga_call *call, saga_handler *handler,
                            void *ctx, struct saga_answer *answer);

struct saga_xa_swept {
	unsigned seen;        /* prepared transactions of ours that were older than asked for */
	unsigned rolled_back; /* sagad knows nothing of them, or has cancelled them */
	unsigned committed;   /* sagad has confirmed them, and ended */
	unsigned left;        /* under way, abandoned by a person, or sagad could not be asked */
	int64_t oldest_s;     /* age of the oldest that is left */
};

/* Presumed abort: asks sagad about each transaction prepared in this database that is older than
 * older_than_s, and ends those of which it will not speak again. To be called now and then by
 * one process. False: see error; out says how far it came. */
SAGA_API bool saga_xa_sweep(PGconn *db, struct saga_client *client, int older_than_s,
                            struct saga_xa_swept *out, struct saga_error *error) SAGA_USE;

#ifdef __cplusplus
}
#endif
#endif
