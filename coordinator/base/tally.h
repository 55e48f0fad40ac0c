/* SPDX-License-Identifier: Apache-2.0
 * tally.h - how often something was how large: counts in buckets, for /metrics.
 */
#ifndef COORDINATOR_BASE_TALLY_H
#define COORDINATOR_BASE_TALLY_H

#include <stddef.h>
#include <stdint.h>

enum { TALLY_BOUNDS_MAX = 16 };

/* Each scale once: what is counted, how many of it make one base unit, and the upper ends of its buckets.
 * TXN reaches a day, since a transaction may; CALL ends where time-outs do. */
#define TALLY_SCALES(X)                                                                                           \
	X(CALL_US,  1000000, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,     \
	  5000000, 10000000, 30000000, 60000000)                                                                  \
	X(BATCH_US, 1000000, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000,       \
	  1000000, 2000000, 5000000, 10000000)                                                                    \
	X(TXN_MS,   1000, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 3600000,   \
	  86400000)                                                                                               \
	X(WAIT_MS,  1000, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)              \
	X(ROWS,     1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

#define X(name, ...) TALLY_##name,
enum tally_scale { TALLY_SCALES(X) };
#undef X

/* Zeroed memory is an empty one. */
struct tally {
	uint64_t counts[TALLY_BOUNDS_MAX + 1]; /* not cumulative; the one behind the last bound: larger */
	uint64_t sum;
};

/* The newest of a bucket's, so that whoever wonders at a slow one finds its trace. */
struct tally_example {
	char     trace[33]; /* hex; empty: there is none */
	uint64_t value;     /* as counted */
	int64_t  at_ms;     /* since the Unix epoch */
};

void   tally_add(struct tally *t, enum tally_scale scale, uint64_t value);
size_t tally_bucket(enum tally_scale scale, uint64_t value); /* its place in counts */
size_t tally_bounds(enum tally_scale scale);                 /* how many buckets have an upper end */
double tally_bound(enum tally_scale scale, size_t i);        /* in base units */
double tally_unit(enum tally_scale scale);                   /* so many counted units make one base unit */

#endif
