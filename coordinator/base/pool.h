/* SPDX-License-Identifier: Apache-2.0
 * pool.h - memory that is used again: the allocator's quick lists hold seven of a size, and a batch frees a hundred.
 */
#ifndef COORDINATOR_BASE_POOL_H
#define COORDINATOR_BASE_POOL_H

#include <stddef.h>

enum {
	POOL_UNIT = 64,       /* sizes are rounded up to it */
	POOL_CLASSES = 48,    /* what is larger goes to the allocator */
	POOL_KEPT = 1 << 20   /* bytes at most */
};

struct pool_item;

/* Zeroed memory is an empty pool. */
struct pool {
	struct pool_item *first[POOL_CLASSES];
	size_t            bytes;
};

void *pool_take(struct pool *p, size_t size); /* zeroed, aligned for anything */
void  pool_give(struct pool *p, void *memory, size_t size); /* size: as it was taken; harmless on NULL */
void  pool_fini(struct pool *p); /* frees what was given back */

#endif
