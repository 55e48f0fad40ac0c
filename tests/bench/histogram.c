/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/histogram.h"

/* Up to 128 each value has a bucket; from there on each power of two has 64. */
static unsigned bucket_of(uint64_t v)
{
	unsigned top, shift;

	if (v < 2u << HISTOGRAM_SUB_BITS)
		return (unsigned)v;
	top = 63 - (unsigned)__builtin_clzll(v);
	shift = top - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(v >> shift);
}

static uint64_t end_of(unsigned bucket)
{
	unsigned shift, sub;

	if (bucket < 2u << HISTOGRAM_SUB_BITS)
		return bucket;
	shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	sub = bucket - (shift << HISTOGRAM_SUB_BITS);
	return ((uint64_t)sub << shift) + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->counts[bucket_of(ns)]++;
	h->n++;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
	uint64_t rank = (uint64_t)(share * (double)h->n + 0.9999999), seen = 0;

	if (rank < 1)
		rank = 1;
	if (rank > h->n)
		rank = h->n;
	for (unsigned i = 0; h->n > 0 && i < HISTOGRAM_BUCKETS; i++) {
		seen += h->counts[i];
		if (seen >= rank)
			return end_of(i);
	}
	return 0;
}
