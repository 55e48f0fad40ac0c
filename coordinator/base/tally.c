/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/tally.h"

static const struct {
	size_t   n;
	uint64_t unit;
	uint64_t bounds[TALLY_BOUNDS_MAX];
} scales[] = {
#define X(name, unit, ...)                                                                      \
	[TALLY_##name] = { sizeof (uint64_t[]){ __VA_ARGS__ } / sizeof(uint64_t), unit, { __VA_ARGS__ } },
	TALLY_SCALES(X)
#undef X
};

size_t tally_bucket(enum tally_scale scale, uint64_t value)
{
	size_t i = 0;

	while (i < scales[scale].n && value > scales[scale].bounds[i])
		i++;
	return i;
}

void tally_add(struct tally *t, enum tally_scale scale, uint64_t value)
{
	t->counts[tally_bucket(scale, value)]++;
	t->sum += value;
}

size_t tally_bounds(enum tally_scale scale)
{
	return scales[scale].n;
}

double tally_bound(enum tally_scale scale, size_t i)
{
	return (double)scales[scale].bounds[i] / (double)scales[scale].unit;
}

double tally_unit(enum tally_scale scale)
{
	return (double)scales[scale].unit;
}
