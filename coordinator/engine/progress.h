/* SPDX-License-Identifier: Apache-2.0
 * progress.h - the durable part of a transaction as text, and back.
 *
 * One compact JSON object, so that people can read it with psql and any
 * replica of a newer version can read an older format.
 */
#ifndef COORDINATOR_ENGINE_PROGRESS_H
#define COORDINATOR_ENGINE_PROGRESS_H

#include "coordinator/base/arena.h"
#include "coordinator/engine/engine.h"

/* Members of an object that this version does not know are ignored when it is read, and gone when it is
 * written again: what must survive that needs a new format. */
enum { PROGRESS_FORMAT = ROW_FORMAT };

/* Keeps how and when the try was answered, while the state of its step tells it. */
void progress_keep_try(struct note *note, enum step_state state);

/* created_at is that of the row: when answers came is told from there on. */
void progress_write(struct buf *out, const struct txn *t, int64_t created_at,
                    const struct note *notes, const struct note *check);

/* t->plan, phase, stuck, paused and version are set from the row first; all else comes from text. Memory from
 * the arena: t->steps, *notes; text in notes points into it too. False, with a
 * sentence, on anything that txn_check() or the format does not allow. */
bool progress_read(struct str text, uint16_t format, int64_t created_at, struct arena *arena,
                   struct txn *t, struct note **notes, struct note *check, struct err *err);

#endif
