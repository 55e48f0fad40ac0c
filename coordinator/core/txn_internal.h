/* SPDX-License-Identifier: Apache-2.0
 * txn_internal.h - what the files of the core share; nobody else includes it.
 */
#ifndef COORDINATOR_CORE_TXN_INTERNAL_H
#define COORDINATOR_CORE_TXN_INTERNAL_H

#include "coordinator/core/txn.h"

/* One txn_step under way. */
struct work {
	const struct txn   *old;
	const struct event *ev;
	struct update      *up;
	struct txn         *t; /* up->next */
	bool                told; /* written down also where the log has nothing to learn but that */
};

enum { STEP_DURABLE_FLAGS = STEP_IS_ONGOING | STEP_IS_RESOLVED | STEP_IS_SKIPPED };

/* ---- order.c: which step may go on ---------------------------------------- */

/* Every compensatable step and the pivot are ok: confirm can be decided. */
bool order_all_tried(const struct txn *t);
/* Pending, and startable from what is durable: somebody may have called it. */
bool order_may_be_tried(const struct txn *t, uint16_t i);
bool order_is_confirmed(const struct txn *t, uint16_t i);
/* Nothing is left to cancel; independent of the phase. */
bool order_is_cancelled(const struct txn *t, uint16_t i);
/* Lists the steps whose work may go on now, open calls and back-offs included.
 * ready has room for step_count. */
uint16_t order_ready(const struct txn *t, uint16_t *ready);
/* The op of a step that order_ready listed. */
enum op order_op(const struct txn *t, uint16_t i);
/* The step, or TXN_CHECK, may go on with this op, and no other op of it is open. */
bool order_expects(const struct txn *t, uint16_t i, enum op op);

/* ---- attempt.c: attempts of one op ---------------------------------------- */

/* The next op of this step starts afresh. */
void attempt_reset(struct step *s);
/* A person wants it called now: as reset, but what was sent may still land. */
void attempt_retry(struct step *s);
void attempt_ongoing(struct step *s, uint32_t poll_ms, const struct event *ev);
void attempt_unknown(struct step *s, const struct retry *r, const struct event *ev);
void attempt_misconfigured(struct step *s, const struct retry *r, const struct event *ev);
void attempt_put_off(struct step *s, const struct event *ev);
/* Marks a step that has failed for too long. */
void attempt_overdue(struct step *s, uint32_t stuck_after_ms, int64_t now);
/* Only a person makes this step be called again. */
bool attempt_is_stopped(const struct step *s);
/* The log would not say the same of a and b. */
bool attempt_differs(const struct step *a, const struct step *b);

/* ---- decide.c: the decisions, and those of the clock ----------------------- */

/* Nothing goes on by itself: a person, or the engine, stopped it. */
bool decide_is_held(const struct txn *t);
bool decide_deadline_can_cancel(const struct txn *t);
void decide_confirm(struct txn *t);
void decide_cancel(struct work *w, enum cause cause, uint16_t step);
void decide_end(struct txn *t, enum phase phase);
/* Confirm when all is tried, the end when nothing is left. */
void decide_settle(struct txn *t);
void decide_by_time(struct work *w);

/* ---- answer.c ---------------------------------------------------------------- */

enum verdict answer_take(struct work *w);
void         answer_put_off(struct work *w);

#endif
