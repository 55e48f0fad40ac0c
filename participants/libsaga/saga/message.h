/* SPDX-License-Identifier: Apache-2.0
 * saga/message.h - the sender of a two-phase message: prepared, decided by his own commit, told
 * or asked for.
 */
#ifndef SAGA_MESSAGE_H
#define SAGA_MESSAGE_H

#include "client.h"
#include "service.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, "what it means"). */
#define SAGA_MESSAGES(X)                                                                    \
	X(RUN, "do what the message stands for, then commit")                               \
	X(DUPLICATE, "it was done before: commit, or roll back, and confirm")               \
	X(LATE, "sagad was told that it never happened: roll back")                         \
	X(ERROR, "the database failed: roll back")

enum saga_messaged {
#define X(name, text) SAGA_MESSAGE_##name,
	SAGA_MESSAGES(X)
#undef X
};

/* In the transaction that the message stands for, which the caller has open on db, before its
 * work. deadline: that of the prepared message, as sagad tells it. A check of the message waits
 * until this transaction has ended. */
SAGA_API enum saga_messaged saga_message(PGconn *db, const char *gid, const char *deadline,
					 struct saga_error *error) SAGA_USE;

/* The work of a message, in the transaction that is open on db; saga_send() begins, commits and
 * rolls back. It may be run again from the start (serialization failure, deadlock). SAGA_DONE:
 * commit. Anything else: roll back, and the message is cancelled. */
typedef enum saga_result saga_work(void *ctx, PGconn *db, const struct saga_transaction *prepared);

/* X(NAME, "what it means"). */
#define SAGA_SENDS(X)                                                                        \
	X(DONE, "committed, and sagad knows")                                                \
	X(ASKED, "committed; sagad could not be told, and asks the check when it is due")    \
	X(REFUSED, "not committed, since the work did not say SAGA_DONE; nothing will run")  \
	X(LATE, "not committed: the message was cancelled, or asked for, before")            \
	X(FAILED, "not committed; the same again may do better")                             \
	X(UNKNOWN, "nobody here knows: send the same again, or let sagad ask")

enum saga_sent {
#define X(name, text) SAGA_SENT_##name,
	SAGA_SENDS(X)
#undef X
};

SAGA_API const char *saga_sent_meaning(enum saga_sent sent);

/* Prepares the message, runs work in a transaction of its own on db, and confirms. message: of a
 * definition of mode message, or a document of one, with a gid that stands for what it is about:
 * the same again, years later too, is the same message, its work is done once. out: as sagad told
 * it last, for saga_transaction_fini(). error says why, but for DONE. */
SAGA_API enum saga_sent saga_send(struct saga_client *client, PGconn *db,
				  const struct saga_start *message, saga_work *work, void *ctx,
				  struct saga_transaction *out, struct saga_error *error) SAGA_USE;

#ifdef __cplusplus
}
#endif
#endif
