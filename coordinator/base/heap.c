/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/heap.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>

static bool before(const struct heap_node *a, const struct heap_node *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void place(struct heap *h, size_t i, struct heap_node *node)
{
	h->nodes[i] = node;
	node->index = i + 1;
}

static void rise(struct heap *h, size_t i, struct heap_node *node)
{
	while (i > 0 && before(node, h->nodes[(i - 1) / 2])) {
		place(h, i, h->nodes[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, node);
}

static void sink(struct heap *h, size_t i, struct heap_node *node)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && before(h->nodes[child + 1], h->nodes[child]))
			child++;
		if (!before(h->nodes[child], node))
			break;
		place(h, i, h->nodes[child]);
		i = child;
	}
	place(h, i, node);
}

void heap_put(struct heap *h, struct heap_node *node, int64_t at)
{
	heap_remove(h, node);
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->nodes = mem_grow(h->nodes, h->cap, sizeof(struct heap_node *));
	}
	node->at = at;
	node->seq = h->seq++;
	rise(h, h->n++, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	size_t i = node->index;

	if (i-- == 0)
		return;
	node->index = 0;
	struct heap_node *last = h->nodes[--h->n];
	if (last == node)
		return;
	if (i > 0 && before(last, h->nodes[(i - 1) / 2]))
		rise(h, i, last);
	else
		sink(h, i, last);
}

void heap_replace(struct heap *h, struct heap_node *node, struct heap_node *by)
{
	*by = *node;
	if (node->index == 0)
		return;
	h->nodes[node->index - 1] = by;
	node->index = 0;
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->n ? h->nodes[0] : NULL;
}

void heap_fini(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){ 0 };
}
