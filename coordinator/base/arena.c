/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/arena.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* A first block small enough for the allocator's quickest lists: most arenas need no more. And a call that waits
 * in a queue holds what it says in one: it shall not pay for a block that it hardly uses. */
enum { FIRST_BLOCK_SIZE = 960, SECOND_BLOCK_SIZE = 1960, BLOCK_SIZE = 4000 };

static size_t usual_size(const struct arena *a)
{
	if (a->blocks == NULL)
		return FIRST_BLOCK_SIZE;
	return a->used <= FIRST_BLOCK_SIZE ? SECOND_BLOCK_SIZE : BLOCK_SIZE;
}

struct arena_block {
	struct arena_block *next;
	size_t              n, cap;
	alignas(max_align_t) char bytes[];
};

__attribute__((noinline)) static struct arena_block *grow(struct arena *a, size_t size)
{
	size_t              usual = usual_size(a);
	size_t              cap = size > usual ? size : usual;
	struct arena_block *b = mem_grow(NULL, 1, sizeof *b + cap);

	b->n = 0;
	b->cap = cap;
	/* A big block goes behind the first, which still has room for small things. */
	if (a->blocks != NULL && size > BLOCK_SIZE) {
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		b->next = a->blocks;
		a->blocks = b;
	}
	return b;
}

/* Not cleared. */
static void *take(struct arena *a, size_t size)
{
	const size_t        unit = alignof(max_align_t);
	struct arena_block *b = a->blocks;

	assert(size < (size_t)1 << 40);
	size = (size + unit - 1) & ~(unit - 1);
	if (b == NULL || b->cap - b->n < size)
		b = grow(a, size);
	void *p = b->bytes + b->n;
	b->n += size;
	a->used += size;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return memset(take(a, size), 0, size);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	assert(size == 0 || n < ((size_t)1 << 40) / size);
	return arena_alloc(a, n * size);
}

char *arena_text(struct arena *a, size_t n)
{
	char *p = take(a, n + 1);

	p[n] = '\0';
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_text(a, s.n);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct str){ p, s.n };
}

static void free_blocks(struct arena_block *b)
{
	while (b != NULL) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
}

/* The newest is the largest of the usual sizes: whoever needed it will need as much again. */
void arena_clear(struct arena *a)
{
	struct arena_block *b = a->blocks;

	if (b == NULL || b->cap > BLOCK_SIZE) {
		arena_fini(a);
		return;
	}
	free_blocks(b->next);
	b->next = NULL;
	b->n = 0;
	a->used = 0;
}

void arena_fini(struct arena *a)
{
	free_blocks(a->blocks);
	*a = (struct arena){ 0 };
}
