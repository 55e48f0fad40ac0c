/* SPDX-License-Identifier: Apache-2.0
 * tape.h - every choice the world makes, as one list of small numbers.
 *
 * A run is a function of its tape. Zero is always the dull choice (no fault,
 * the shortest delay), so making a tape shorter or smaller makes the run simpler.
 */
#ifndef TESTS_SIM_TAPE_H
#define TESTS_SIM_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { TAPE_MAX = 1 << 16 };

struct tape {
	uint64_t rng;
	size_t   n, at;
	bool     replay; /* past its end a replay answers 0 */
	uint32_t choices[TAPE_MAX];
};

void     tape_record(struct tape *t, uint64_t seed);
void     tape_rewind(struct tape *t); /* from now on a replay */
uint32_t tape_choose(struct tape *t, uint32_t bound); /* 0 .. bound - 1 */
bool     tape_chance(struct tape *t, uint32_t one_in); /* 0 on the tape is "no" */

typedef int tape_fails(void *ctx, struct tape *t); /* 0: it does not; else which failure */
/* Makes t simpler as long as it fails in the same way, for at most max_runs. Returns the runs it took. */
unsigned tape_shrink(struct tape *t, tape_fails *fails, void *ctx, unsigned max_runs);

/* Text: numbers in decimal, # to the end of a line is a remark. */
bool tape_load(struct tape *t, const char *path);
void tape_print(const struct tape *t, FILE *to, const char *before_line);
bool tape_keep(const struct tape *t, const char *path, const char *name, const char *why);

#endif
