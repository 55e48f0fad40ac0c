/* SPDX-License-Identifier: Apache-2.0
 * heap.h - an intrusive binary min-heap over (at, seq): timers, earliest first, ties in order of arming.
 */
#ifndef COORDINATOR_BASE_HEAP_H
#define COORDINATOR_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory is a node on no heap. */
struct heap_node {
	int64_t  at;
	uint64_t seq;
	size_t   index; /* 1 + place in the heap; 0: on none */
};

/* Zeroed memory is an empty heap. */
struct heap {
	struct heap_node **nodes;
	size_t             n, cap;
	uint64_t           seq;
};

void              heap_put(struct heap *h, struct heap_node *node, int64_t at); /* adds or moves */
void              heap_remove(struct heap *h, struct heap_node *node);          /* harmless if on none */
void              heap_replace(struct heap *h, struct heap_node *node, struct heap_node *by); /* in its place, if it has one */
struct heap_node *heap_first(const struct heap *h);                             /* or NULL */
void              heap_fini(struct heap *h);

#endif
