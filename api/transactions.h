/* SPDX-License-Identifier: Apache-2.0
 * transactions.h - the answer to every request about one transaction.
 */
#ifndef API_TRANSACTIONS_H
#define API_TRANSACTIONS_H

#include "api/request.h"
#include "api/show.h"

/* The newest failover of the database that met it unfinished; 0: none. */
int64_t transaction_failover(const struct request *r, const struct row *row);
/* The transaction as it is, with its ETag; `how` gives way to Prefer: return=minimal. */
void transaction_answer(struct request *r, unsigned status, const struct view *view, enum show how);
/* Waits if the request wants to and there is something to wait for: 200 when it has ended, else
 * `running`. */
void transaction_answer_or_wait(struct request *r, const struct view *view, unsigned ended, unsigned running);
/* Answers a problem unless there is a view. */
bool transaction_is_there(struct request *r, enum log_result result, const struct view *view);

#endif
