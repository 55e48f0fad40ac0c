/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/table.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

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

/* Eight bytes a step: with FNV, one byte a step, finding a transaction by its gid was mostly hashing. */
static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint64_t word_at(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

static uint64_t hash_of(const struct table *t, struct str key)
{
	uint64_t h = t->seed ^ (key.n + 1) * 0x9e3779b97f4a7c15u, rest = 0;
	size_t   at = 0;

	for (; at + 8 < key.n; at += 8)
		h = mix(h, word_at(key.p + at));
	if (key.n >= 8) /* the last eight, some of them for the second time */
		rest = word_at(key.p + key.n - 8);
	for (; key.n < 8 && at < key.n; at++)
		rest = rest << 8 | (unsigned char)key.p[at];
	return mix(mix(h, rest), t->seed);
}

static struct table_node *find(const struct table *t, struct str key, uint64_t hash)
{
	for (struct table_node *n = t->cap > 0 ? *slot(t, hash) : NULL; n != NULL; n = n->next)
		if (n->hash == hash && str_eq(n->key, key))
			return n;
	return NULL;
}

struct table_node *table_get(const struct table *t, struct str key)
{
	return t->n > 0 ? find(t, key, hash_of(t, key)) : NULL;
}

void table_put(struct table *t, struct table_node *node, struct str key)
{
	node->key = key;
	node->hash = hash_of(t, key);
	assert(find(t, key, node->hash) == NULL);
	if (t->n >= t->cap)
		resize(t);
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
