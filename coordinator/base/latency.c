/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/latency.h"

#include <string.h>

static unsigned bucket_of(uint64_t us)
{
	unsigned power = LATENCY_FIRST;

	if (us < 1u << LATENCY_FIRST)
		return 0;
	if (us >= 1u << LATENCY_LAST)
		return LATENCY_BUCKETS - 1;
	while (us >> (power + 1) != 0)
		power++;
	return (power - LATENCY_FIRST) * LATENCY_PARTS + (unsigned)(us >> (power - 2) & 3);
}

/* Its middle. */
static uint64_t time_of(unsigned bucket)
{
	const unsigned power = LATENCY_FIRST + bucket / LATENCY_PARTS;
	const uint64_t part = (uint64_t)1 << (power - 2);

	return ((uint64_t)1 << power) + bucket % LATENCY_PARTS * part + part / 2;
}

void latency_add(struct latency *l, int64_t now_ms, uint64_t us)
{
	const int64_t window = now_ms / LATENCY_WINDOW_MS;

	if (window != l->window) {
		memset(l->buckets[window & 1], 0, sizeof l->buckets[0]);
		if (window != l->window + 1)
			memset(l->buckets[~window & 1], 0, sizeof l->buckets[0]);
		l->window = window;
	}
	l->buckets[window & 1][bucket_of(us)]++;
}

uint64_t latency_at(const struct latency *l, int64_t now_ms, unsigned percent)
{
	const int64_t window = now_ms / LATENCY_WINDOW_MS;
	uint64_t      sum[LATENCY_BUCKETS], n = 0, seen = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		sum[i] = 0;
		if (window == l->window)
			sum[i] = (uint64_t)l->buckets[0][i] + l->buckets[1][i];
		else if (window == l->window + 1)
			sum[i] = l->buckets[l->window & 1][i];
		n += sum[i];
	}
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		seen += sum[i];
		if (n > 0 && seen * 100 >= n * percent)
			return time_of(i);
	}
	return 0;
}
