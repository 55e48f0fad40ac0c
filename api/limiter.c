/* SPDX-License-Identifier: Apache-2.0 */
#include "api/limiter.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 72 };

struct quota {
	struct table_node node;
	struct list       age;      /* on limiter.age, who asked last at the end */
	int64_t           level;    /* thousandths of a request */
	int64_t           at_ms;    /* when level was right */
	uint32_t          requests; /* that name it */
	uint32_t          waiters;  /* of these */
	char              key[KEY_MAX];
};

struct limiter {
	struct limiter_config config;
	struct table          table;
	struct list           age;
	struct quota          others; /* who finds no room shares it, so that many addresses are no way round */
};

static int64_t full(const struct limiter *l)
{
	return (int64_t)l->config.burst * 1000;
}

static void refill(const struct limiter *l, struct quota *q, int64_t now_ms)
{
	int64_t passed = now_ms - q->at_ms, room = full(l) - q->level;

	q->at_ms = now_ms;
	if (passed <= 0)
		return;
	if (passed > room / (l->config.rate ? l->config.rate : 1))
		q->level = full(l);
	else
		q->level += passed * l->config.rate;
}

static void forget(struct limiter *l, struct quota *q)
{
	table_remove(&l->table, &q->node);
	list_remove(&q->age);
	free(q);
}

/* Whoever asked longest ago may be forgotten when that makes no difference to him. */
static bool make_room(struct limiter *l, int64_t now_ms)
{
	struct quota *oldest;

	if (l->table.n < l->config.callers)
		return true;
	if (list_is_empty(&l->age))
		return false;
	oldest = list_entry(l->age.next, struct quota, age);
	refill(l, oldest, now_ms);
	if (oldest->requests > 0 || oldest->level < full(l))
		return false;
	forget(l, oldest);
	return true;
}

static struct quota *quota_of(struct limiter *l, struct str caller, int64_t now_ms)
{
	struct table_node *node = table_get(&l->table, caller);
	struct quota      *q;

	if (node != NULL) {
		q = table_entry(node, struct quota, node);
		list_remove(&q->age);
		list_push(&l->age, &q->age);
		return q;
	}
	if (!make_room(l, now_ms))
		return &l->others;
	q = mem_alloc(sizeof *q);
	assert(caller.n <= sizeof q->key);
	memcpy(q->key, caller.p, caller.n);
	q->level = full(l);
	q->at_ms = now_ms;
	list_init(&q->age);
	list_push(&l->age, &q->age);
	table_put(&l->table, &q->node, (struct str){ q->key, caller.n });
	return q;
}

int64_t limiter_take(struct limiter *l, struct str caller, int64_t now_ms, struct quota **out)
{
	struct quota *q = *out = quota_of(l, caller, now_ms);

	q->requests++;
	if (l->config.rate == 0)
		return 0;
	refill(l, q, now_ms);
	if (q->level < 1000)
		return (1000 - q->level + l->config.rate - 1) / l->config.rate;
	q->level -= 1000;
	return 0;
}

bool limiter_wait(struct limiter *l, struct quota *q)
{
	if (l->config.waiters > 0 && q->waiters >= l->config.waiters)
		return false;
	q->waiters++;
	return true;
}

void limiter_leave(struct quota *q, bool waited)
{
	assert(q->requests > 0 && q->waiters >= waited);
	q->requests--;
	q->waiters -= waited;
}

size_t limiter_callers(const struct limiter *l)
{
	return l->table.n;
}

struct limiter *limiter_open(const struct limiter_config *config)
{
	struct limiter *l = mem_alloc(sizeof *l);

	l->config = *config;
	l->table.seed = config->seed;
	list_init(&l->age);
	list_init(&l->others.age);
	l->others.level = full(l);
	return l;
}

void limiter_close(struct limiter *l)
{
	if (l == NULL)
		return;
	while (!list_is_empty(&l->age))
		forget(l, list_entry(l->age.next, struct quota, age));
	table_fini(&l->table);
	free(l);
}
