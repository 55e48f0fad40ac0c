/* SPDX-License-Identifier: Apache-2.0
 * arena.h - memory that lives and dies together: one arena per request or per compiled definition.
 */
#ifndef COORDINATOR_BASE_ARENA_H
#define COORDINATOR_BASE_ARENA_H

#include "coordinator/base/text.h"

struct arena_block;

/* Zeroed memory is an empty arena. */
struct arena {
	struct arena_block *blocks;
	size_t              used; /* bytes handed out, for limits */
};

void      *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for anything */
void      *arena_array(struct arena *a, size_t n, size_t size);
char      *arena_text(struct arena *a, size_t n);     /* room for n bytes, not cleared, and a NUL behind them */
struct str arena_str(struct arena *a, struct str s);  /* a copy, NUL-terminated behind its end */
void       arena_fini(struct arena *a);               /* frees all; the arena is empty again */
void       arena_clear(struct arena *a);              /* the same, but one small block stays for what comes next */

#endif
