/* SPDX-License-Identifier: Apache-2.0
 * floor.h - what the database alone allows: the row writes of two-step sagas, by a loop that does nothing else.
 */
#ifndef TESTS_BENCH_FLOOR_H
#define TESTS_BENCH_FLOOR_H

#include "tests/bench/histogram.h"

#include <stdbool.h>

struct floor_result {
	double           per_s;   /* sagas */
	double           seconds; /* of CPU and of the clock */
	struct histogram commit;  /* ns */
};

/* Each saga is an insert, an update, and an update that ends it; in every commit as many of each as
 * `batch` says. One connection, pipelined, binary arrays. False: a sentence is on stderr. */
bool floor_run(const char *dsn, unsigned batch, double seconds, struct floor_result *r)
	__attribute__((warn_unused_result));

#endif
