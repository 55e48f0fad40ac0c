/* SPDX-License-Identifier: Apache-2.0
 * saga/service.h - a service's calls, each done once: the barrier and the work in one transaction
 * of libpq.
 */
#ifndef SAGA_SERVICE_H
#define SAGA_SERVICE_H

#include "call.h"

#include <libpq-fe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Does the work of a call in the transaction that is open on db; libsaga begins, commits and
 * rolls back. It may be run again from the start (serialization failure, deadlock), so it does
 * nothing that a rollback does not undo.
 *   SAGA_DONE     committed and answered; so is every duplicate, byte for byte
 *   SAGA_REFUSED  of a try: what it wrote is rolled back and the refusal kept, then sagad
 *                 cancels. Also after a constraint has failed; but where the database could
 *                 not do its work (SQLSTATE classes 08, 40, 53, 55, 57, 58, XX) it counts as
 *                 SAGA_FAILED
 *   SAGA_ONGOING  committed and answered 202; saga_settle() later
 *   SAGA_GONE     what was held is no longer there. Of a try a refusal; of a cancel that is fine;
 *                 of a confirm a person has to look
 *   SAGA_FAILED   rolled back, nothing kept, 503: sagad calls again
 * It may set answer->status to another one that says the same (201), a body and retry_after_s. */
typedef enum saga_result saga_handler(void *ctx, PGconn *db, const struct saga_call *call,
				      struct saga_answer *answer);

/* One call, one transaction, and the answer to send, in every case: release it with
 * saga_answer_fini(). db is the calling thread's for that long, has no transaction open, and
 * finds sagad_barrier() in its search_path. A SAGA_CHECK asks no barrier: the handler
 * is run each time (done or refused), or if it is NULL sagad_message_check() answers. */
SAGA_API void saga_serve(PGconn *db, const struct saga_call *call, saga_handler *handler, void *ctx,
			 struct saga_answer *answer);

/* X(NAME, "what it means"). */
#define SAGA_SETTLES(X)                                                              \
	X(KEPT, "kept: commit")                                                      \
	X(FORBIDDEN, "cancelled meanwhile, or settled before: roll back")            \
	X(ERROR, "the database failed, or the answer settles nothing: roll back")

enum saga_settled {
#define X(name, text) SAGA_SETTLED_##name,
	SAGA_SETTLES(X)
#undef X
};

/* The end of what was SAGA_ONGOING, in the transaction that the caller has open on db and ends.
 * answer: what duplicates get from now on; its status, if 0, as the result says. */
SAGA_API enum saga_settled saga_settle(PGconn *db, const char *gid, const char *step,
                                       enum saga_op op, enum saga_result result,
                                       struct saga_answer *answer) SAGA_USE;

/* Creates the barrier in the first schema of db's search_path. Where this version of it is, it does
 * nothing, and needs no right to. In a transaction of its own unless one is open. */
SAGA_API bool saga_barrier_setup(PGconn *db, struct saga_error *error) SAGA_USE;

/* Forgets steps whose deadline and last change are longer ago than retention_s, at most 10,000
 * of them; *deleted may be NULL. docs/barrier.md says what that means for a call that comes
 * later still. */
SAGA_API bool saga_barrier_sweep(PGconn *db, int64_t retention_s, int64_t *deleted,
				 struct saga_error *error) SAGA_USE;

/* ---- sessions ------------------------------------------------------------------------------- */

/* A few database sessions for many threads. */
struct saga_pool;

/* size sessions to dsn, opened when needed first and again when lost. schema: letters, digits
 * and _, their search_path; NULL: as the DSN says. NULL: see error. */
SAGA_API struct saga_pool *saga_pool_open(const char *dsn, const char *schema, unsigned size,
					  struct saga_error *error) SAGA_USE;
/* All sessions have been given back. */
SAGA_API void saga_pool_close(struct saga_pool *pool);
/* Waits for a free one. Perhaps without a connection, which PQstatus() says: then give it back
 * all the same. */
SAGA_API PGconn *saga_pool_take(struct saga_pool *pool);
SAGA_API void saga_pool_give(struct saga_pool *pool, PGconn *db);

/* ---- a service ------------------------------------------------------------------------------ */

/* Before a session is taken: to look at what needs no database. False: do not run the handler,
 * send the answer. */
typedef bool saga_before(void *ctx, const struct saga_call *call, struct saga_answer *answer);
/* A request that is no route's, and no call: 404 if it says false. */
typedef bool saga_other(void *ctx, const struct saga_request *request, struct saga_answer *answer);
/* Each answer to a call before it is sent, for logs and metrics; call is NULL
 * where none could be read. */
typedef void saga_after(void *ctx, const struct saga_call *call, const struct saga_answer *answer);

struct saga_route {
	/* Each segment to the letter, or "{name}" or "*" for any that is not empty; what is there
	 * for a name saga_call_param() tells. The first route that fits is taken. */
	const char *path;
	enum saga_op op;
	saga_handler *handler;
	saga_before *before; /* or NULL */
	void *ctx;           /* of both */
	bool prepared;       /* by saga_xa_serve() (saga/xa.h); only a try has a handler */
};

struct saga_service { /* the caller's; nothing of it changes while requests are under way */
	struct saga_pool *pool;
	struct saga_trust trust;
	const struct saga_route *routes;
	size_t route_count;
	saga_other *other; /* or NULL */
	saga_after *after; /* or NULL */
	void *ctx;         /* of both */
};

/* Is every path one, has every route its handler, none of them twice? To be asked before it
 * starts, as saga_mhd_open() does. */
SAGA_API bool saga_service_check(const struct saga_service *service,
				 struct saga_error *error) SAGA_USE;

/* One request, from any thread. Release the answer with saga_answer_fini(). */
SAGA_API void saga_service_handle(const struct saga_service *service,
                                  const struct saga_request *request, struct saga_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
