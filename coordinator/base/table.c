/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/table.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdlib.h>

static struct table_node **slot(const struct table *t, uint64_t hash)
{
	return &t->slots[hash & (t->cap - 1)];
}

static void resize(struct table *t)
{
	struct table_node **old = t->slots;
	size_t              old_cap = t->cap;

	t->cap = old_cap ? 2 * old_cap : 64;
	t->slots = mem_array(t->cap, sizeof(struct table_node *));
	for (size_t i = 0; i < old_cap; i++)
		for (struct table_node *n = old[i], *next; n != NULL; n = next) {
			struct table_node **s = slot(t, n->hash);

			next = n->next;
			n->next = *s;
			*s = n;
		}
	free(old);
}

struct table_node *table_get(const struct table *t, struct str key)
{
	uint64_t hash = str_hash(key, t->seed);

	if (t->cap == 0)
		return NULL;
	for (struct table_node *n = *slot(t, hash); n != NULL; n = n->next)
		if (n->hash == hash && str_eq(n->key, key))
			return n;
	return NULL;
}

void table_put(struct table *t, struct table_node *node, struct str key)
{
	assert(table_get(t, key) == NULL);
	if (t->n >= t->cap)
		resize(t);
	node->key = key;
	node->hash = str_hash(key, t->seed);
	struct table_node **s = slot(t, node->hash);
	node->next = *s;
	*s = node;
	t->n++;
}

void table_remove(struct table *t, struct table_node *node)
{
	struct table_node **s = slot(t, node->hash);

	while (*s != node) {
		assert(*s != NULL);
		s = &(*s)->next;
	}
	*s = node->next;
	node->next = NULL;
	t->n--;
}

void table_replace(struct table *t, struct table_node *node, struct table_node *by)
{
	struct table_node **s = slot(t, node->hash);

	while (*s != node) {
		assert(*s != NULL);
		s = &(*s)->next;
	}
	*by = *node;
	*s = by;
	node->next = NULL;
}

struct table_node *table_next(const struct table *t, const struct table_node *node)
{
	size_t i = 0;

	if (node != NULL) {
		if (node->next != NULL)
			return node->next;
		i = (node->hash & (t->cap - 1)) + 1;
	}
	for (; i < t->cap; i++)
		if (t->slots[i] != NULL)
			return t->slots[i];
	return NULL;
}

void table_fini(struct table *t)
{
	free(t->slots);
	t->slots = NULL;
	t->n = t->cap = 0;
}
