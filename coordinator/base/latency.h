/* SPDX-License-Identifier: Apache-2.0
 * latency.h - how long things took lately: a small histogram of this window and the one before it.
 */
#ifndef COORDINATOR_BASE_LATENCY_H
#define COORDINATOR_BASE_LATENCY_H

#include <stdint.h>

enum {
	LATENCY_WINDOW_MS = 30000, /* what is told covers one window at least and two at most */
	LATENCY_FIRST = 6,         /* below 2^6 us nothing is told apart, */
	LATENCY_LAST = 27,         /* nor from 2^27 us (134 s) on; */
	LATENCY_PARTS = 4,         /* in between by an eighth, up or down */
	LATENCY_BUCKETS = (LATENCY_LAST - LATENCY_FIRST) * LATENCY_PARTS + 1
};

/* Zeroed memory is an empty one. */
struct latency {
	int64_t  window;
	uint32_t buckets[2][LATENCY_BUCKETS];
};

void     latency_add(struct latency *l, int64_t now_ms, uint64_t us);
/* The time that `percent` of them did not exceed, in us; 0: there were none. */
uint64_t latency_at(const struct latency *l, int64_t now_ms, unsigned percent);

#endif
