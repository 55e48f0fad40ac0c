/* SPDX-License-Identifier: Apache-2.0
 * pauses.h - what people have stopped: a copy of the table of pauses, a second old at most while the database answers.
 */
#ifndef COORDINATOR_IO_PAUSES_H
#define COORDINATOR_IO_PAUSES_H

#include "coordinator/engine/port.h"
#include "coordinator/io/participants.h"

#include <uv.h>

enum { PAUSES_REFRESH_MS = 1000 };

struct pauses;

/* changed: something was paused or resumed since the last look, here or elsewhere; comes from the loop. */
struct pauses *pauses_open(uv_loop_t *loop, const struct store_port *store, void (*changed)(void *ctx), void *ctx);
/* NULL: it is not paused. Borrowed until the next turn of the loop. */
const struct pause_row *pauses_find(const struct pauses *p, enum pause_kind kind, struct str name);
/* Of a call's target, "participant:NAME" or "host:port". Who pauses a host stops those names, too, whose base URL is
 * there; `participants` may be NULL. */
const struct pause_row *pauses_target(const struct pauses *p, const struct participants *participants,
                                      struct str target);
/* The table has changed: looks at once; done (once, in a later turn) when that is answered, or failed. */
void pauses_look(struct pauses *p, void (*done)(void *arg), void *arg);
/* The store must not call back after it. Frees itself some turns later. */
void pauses_close(struct pauses *p);

#endif
