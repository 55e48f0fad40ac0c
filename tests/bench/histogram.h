/* SPDX-License-Identifier: Apache-2.0
 * histogram.h - latencies counted in buckets whose width is at most 1/64 of their value, as HdrHistogram does.
 */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 6, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS };

/* Zeroed memory is an empty histogram. */
struct histogram {
	uint64_t n;
	uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The latency that this share (0 to 1) of all did not exceed: the upper end of its bucket, so never
 * too small. 0 if nothing was counted. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
