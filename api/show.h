/* SPDX-License-Identifier: Apache-2.0
 * show.h - a transaction as JSON.
 */
#ifndef API_SHOW_H
#define API_SHOW_H

#include "coordinator/engine/engine.h"

enum show {
	SHOW_MINIMAL, /* Prefer: return=minimal */
	SHOW_ROW,     /* in lists: no steps */
	SHOW_STATE,   /* every step, no input */
	SHOW_ALL
};

/* failover_at: the newest failover that met it unfinished; 0: none. */
void show_transaction(struct buf *out, const struct view *v, int64_t failover_at, enum show how);
/* ,"actions":[…]: what can be asked of it now. */
void show_actions(struct buf *out, const struct view *v);
/* The transaction's result, or NULL while it has not ended. */
const char *show_result(const struct view *v);
void show_entry(struct buf *out, const struct entry_row *e);

/* ,"name":… with the comma; times as RFC 3339, 0 and AT_NEVER as null; the nil UUID as null. */
void show_time(struct buf *out, const char *name, int64_t at);
void show_text(struct buf *out, const char *name, struct str value);
void show_uuid(struct buf *out, const char *name, struct uuid id);

#endif
