/* SPDX-License-Identifier: Apache-2.0
 * histogram.c - the benchmark's latencies: never told too small, never by more than a sixty-fourth too large.
 */
#include "tests/bench/histogram.h"
#include "tests/lib/tap.h"

#include <string.h>

static struct histogram h;

static void empty(void)
{
	memset(&h, 0, sizeof h);
}

int main(void)
{
	bool close = true;

	ok(histogram_at(&h, 0.5) == 0, "nothing counted is 0");
	for (unsigned shift = 0; shift < 63; shift++)
		for (uint64_t v = (uint64_t)1 << shift; v < (uint64_t)2 << shift; v += ((uint64_t)1 << shift) / 97 + 1) {
			uint64_t got;

			empty();
			histogram_add(&h, v);
			got = histogram_at(&h, 0.99);
			close &= got >= v && got - v <= v / 64;
		}
	ok(close, "a value comes back, at most a sixty-fourth larger");
	empty();
	for (uint64_t v = 1; v <= 1000; v++)
		histogram_add(&h, v * 1000);
	ok(histogram_at(&h, 0.5) >= 500000 && histogram_at(&h, 0.5) < 508000, "half of 1 to 1000 us is at most 500 us");
	ok(histogram_at(&h, 0.99) >= 990000 && histogram_at(&h, 0.99) < 1006000, "99 %% are at most 990 us");
	ok(histogram_at(&h, 0) >= 1000 && histogram_at(&h, 0) < 1016, "the smallest is found");
	ok(histogram_at(&h, 1) >= 1000000, "and so is the largest");
	empty();
	histogram_add(&h, UINT64_MAX);
	ok(histogram_at(&h, 1) == UINT64_MAX, "nothing is too large");
	return tap_done();
}
