/* SPDX-License-Identifier: Apache-2.0
 * table.h - an intrusive hash table keyed by text. The caller keeps key bytes and node alive.
 */
#ifndef COORDINATOR_BASE_TABLE_H
#define COORDINATOR_BASE_TABLE_H

#include "coordinator/base/text.h"

struct table_node {
	struct table_node *next;
	uint64_t           hash;
	struct str         key;
};

/* Zeroed memory is an empty table; set seed to a random number where keys come from outside. */
struct table {
	struct table_node **slots;
	size_t              n, cap;
	uint64_t            seed;
};

#define table_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

struct table_node *table_get(const struct table *t, struct str key); /* or NULL */
void               table_put(struct table *t, struct table_node *node, struct str key); /* key is new */
void               table_remove(struct table *t, struct table_node *node);
/* Of the same key, whose bytes may now be others: the caller sets by->key. */
void               table_replace(struct table *t, struct table_node *node, struct table_node *by);
/* Walks in no order: NULL gives the first node, the last gives NULL. Removing
 * the node in hand is allowed only after asking for the next. */
struct table_node *table_next(const struct table *t, const struct table_node *node);
void               table_fini(struct table *t); /* frees the slots, not the nodes */

#endif
