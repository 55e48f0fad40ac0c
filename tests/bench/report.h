/* SPDX-License-Identifier: Apache-2.0
 * report.h - medians of rounds, as a table for people and as JSON for machines.
 */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include "tests/bench/scenario.h"

enum { ROUNDS_MAX = 25 };

struct rounds {
	unsigned       n;
	struct floors  floors[ROUNDS_MAX];
	struct figures (*figures)[ROUNDS_MAX]; /* of each scenario */
	bool          *was_run;                /* of each scenario */
};

void report_table(const struct rounds *r, FILE *out);
void report_markdown(const struct rounds *r, FILE *out); /* as docs/performance.md has it */
void report_json(const struct rounds *r, FILE *out);

#endif
