/* SPDX-License-Identifier: Apache-2.0
 * fake_loop.h - virtual time: what happens when, in one queue, and ends of wires that freeze and die.
 */
#ifndef TESTS_LIB_FAKE_LOOP_H
#define TESTS_LIB_FAKE_LOOP_H

#include "coordinator/base/heap.h"
#include "coordinator/base/list.h"

typedef void fake_run(void *arg);

struct fake_loop {
	int64_t     now; /* virtual milliseconds */
	struct heap queue;
	struct list spare;
};

/* Where news for one process arrives. Frozen: kept until the thaw, in order. A
 * new life: what was addressed to the former one is dropped. */
struct fake_end {
	struct fake_loop *loop;
	unsigned          life;
	bool              frozen;
	struct list       kept;
	void            (*woken)(void *ctx); /* after each event that was run here; may be NULL */
	void             *ctx;
};

void fake_loop_init(struct fake_loop *loop);
void fake_loop_fini(struct fake_loop *loop); /* drops what is left */
/* Runs run(arg) after delay_ms; events of one instant in the order of posting. drop(arg)
 * instead if it can never run; NULL: nothing to drop. end NULL: nobody can freeze it. */
void fake_loop_post(struct fake_loop *loop, struct fake_end *end, int64_t delay_ms, fake_run *run,
                    fake_run *drop, void *arg);
bool fake_loop_step(struct fake_loop *loop); /* runs the earliest event; false: there is none */

void fake_end_init(struct fake_end *end, struct fake_loop *loop, void (*woken)(void *ctx), void *ctx);
void fake_end_thaw(struct fake_end *end);
void fake_end_die(struct fake_end *end); /* a new life begins, thawed */
void fake_end_fini(struct fake_end *end);

#endif
