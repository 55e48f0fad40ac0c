/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/pool.h"

#include "coordinator/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A sanitizer shall see who uses what was given back. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
static const bool keeps = false;
#else
static const bool keeps = true;
#endif

struct pool_item {
	struct pool_item *next;
};

static size_t class_of(size_t size)
{
	return size > 0 ? (size - 1) / POOL_UNIT : 0;
}

void *pool_take(struct pool *p, size_t size)
{
	const size_t      class = class_of(size), whole = (class + 1) * POOL_UNIT;
	struct pool_item *item;

	if (class >= POOL_CLASSES || !keeps)
		return mem_alloc(size);
	item = p->first[class];
	if (item == NULL)
		return mem_alloc(whole);
	p->first[class] = item->next;
	p->bytes -= whole;
	return memset(item, 0, size);
}

void pool_give(struct pool *p, void *memory, size_t size)
{
	const size_t      class = class_of(size), whole = (class + 1) * POOL_UNIT;
	struct pool_item *item = memory;

	if (memory == NULL)
		return;
	if (class >= POOL_CLASSES || !keeps || p->bytes + whole > POOL_KEPT) {
		free(memory);
		return;
	}
	item->next = p->first[class];
	p->first[class] = item;
	p->bytes += whole;
}

void pool_fini(struct pool *p)
{
	for (size_t i = 0; i < POOL_CLASSES; i++)
		for (struct pool_item *item; (item = p->first[i]) != NULL;) {
			p->first[i] = item->next;
			free(item);
		}
	p->bytes = 0;
}
