/* SPDX-License-Identifier: Apache-2.0
 * list.h - an intrusive doubly linked ring. A node stands on at most one list.
 */
#ifndef COORDINATOR_BASE_LIST_H
#define COORDINATOR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

/* The body may remove `it`, nothing else. */
#define list_each(it, after, head) \
	for (struct list *it = (head)->next, *after = it->next; it != (head); \
	     it = after, after = it->next)

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

/* On a head: at the end. Also: in front of a given node. */
static inline void list_push(struct list *head, struct list *node)
{
	node->next = head;
	node->prev = head->prev;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_push_first(struct list *head, struct list *node)
{
	list_push(head->next, node);
}

/* Harmless on a node that stands on no list, if it was initialised. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

/* Another node takes the place of one that stands on a list. */
static inline void list_replace(struct list *node, struct list *by)
{
	list_push(node, by);
	list_remove(node);
}

/* All that stands on `from` goes to the end of `head`, in order. */
static inline void list_move(struct list *head, struct list *from)
{
	for (struct list *node; (node = list_pop(from)) != NULL;)
		list_push(head, node);
}

#endif
