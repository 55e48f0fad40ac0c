/* SPDX-License-Identifier: Apache-2.0
 * targets.h - whom we call: what is known of each participant, and whether a call to it may be made now.
 */
#ifndef COORDINATOR_IO_TARGETS_H
#define COORDINATOR_IO_TARGETS_H

#include "coordinator/base/latency.h"
#include "coordinator/base/list.h"
#include "coordinator/base/table.h"
#include "coordinator/io/caller.h"

struct target {
	struct table_node    node;
	struct caller_target is;    /* name is a copy */
	struct list          queue; /* the caller's */
	struct breaker       breaker;
	struct latency       latency;
	uint64_t             line;  /* names it in what is put off */
};

struct targets {
	const struct caller_config *config;
	struct table                table;
	size_t                      shown_count;
	struct caller_target        forgotten; /* what those counted that are gone */
};

void targets_init(struct targets *ts, const struct caller_config *config); /* config outlives it */
void targets_fini(struct targets *ts);
/* Made if it is not there; stays while it has calls. */
struct target *targets_get(struct targets *ts, struct str name);
struct target *targets_next(const struct targets *ts, const struct target *t); /* of NULL: the first; in no order */
void           targets_each(const struct targets *ts, caller_each *each, void *arg);
/* Who stands behind a target's name; NULL: it is a host, or nobody knows it. */
const struct participant *targets_participant(const struct targets *ts, struct str name);

/* May a call be made now? 0: yes, and `pass` is to be ended or dropped. Else ms to wait; failing: because the participant
 * fails, not because somebody paused it. */
int64_t target_ask(struct targets *ts, struct target *t, bool retry, struct breaker_pass *pass, bool *failing);
/* Does one that was let pass and has waited since still go? If not, how long it waits. */
bool    target_may_go(const struct targets *ts, const struct target *t, struct breaker_pass pass);
int64_t target_turn(struct targets *ts, struct target *t, bool *failing);
/* Counts an answer, or its absence. True: some that were put off may go. */
bool    target_learn(struct targets *ts, struct target *t, struct breaker_pass pass, const struct http_result *result,
                     const struct call_lesson *lesson);

/* A call that was recorded: its latency, and the trace in which it stands. */
void    target_example(struct target *t, const char *trace, uint64_t took_us, int64_t now_ms);

#endif
