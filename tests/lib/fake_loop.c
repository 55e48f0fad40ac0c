/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_loop.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct event {
	struct heap_node node;
	struct list      link; /* spare, or kept by a frozen end */
	struct fake_end *end;
	unsigned         life;
	fake_run        *run, *drop;
	void            *arg;
};

void fake_loop_init(struct fake_loop *loop)
{
	*loop = (struct fake_loop){ 0 };
	list_init(&loop->spare);
}

static void spare(struct fake_loop *loop, struct event *ev)
{
	list_push(&loop->spare, &ev->link);
}

static void drop(struct fake_loop *loop, struct event *ev)
{
	fake_run *run = ev->drop;
	void     *arg = ev->arg;

	spare(loop, ev);
	if (run != NULL)
		run(arg);
}

void fake_loop_fini(struct fake_loop *loop)
{
	struct heap_node *first;
	struct list      *link;

	while ((first = heap_first(&loop->queue)) != NULL) {
		heap_remove(&loop->queue, first);
		drop(loop, list_entry(first, struct event, node));
	}
	heap_fini(&loop->queue);
	while ((link = list_pop(&loop->spare)) != NULL)
		free(list_entry(link, struct event, link));
}

void fake_loop_post(struct fake_loop *loop, struct fake_end *end, int64_t delay_ms, fake_run *run,
                    fake_run *drop_run, void *arg)
{
	struct list  *link = list_pop(&loop->spare);
	struct event *ev = link != NULL ? list_entry(link, struct event, link) : mem_alloc(sizeof *ev);

	assert(delay_ms >= 0);
	list_init(&ev->link);
	ev->end = end;
	ev->life = end != NULL ? end->life : 0;
	ev->run = run;
	ev->drop = drop_run;
	ev->arg = arg;
	heap_put(&loop->queue, &ev->node, loop->now + delay_ms);
}

bool fake_loop_step(struct fake_loop *loop)
{
	struct heap_node *first = heap_first(&loop->queue);

	if (first == NULL)
		return false;
	struct event    *ev = list_entry(first, struct event, node);
	struct fake_end *end = ev->end;
	loop->now = first->at;
	heap_remove(&loop->queue, first);
	if (end != NULL && ev->life != end->life) {
		drop(loop, ev);
	} else if (end != NULL && end->frozen) {
		list_push(&end->kept, &ev->link);
	} else {
		fake_run *run = ev->run;
		void     *arg = ev->arg;
		unsigned  life = ev->life;

		spare(loop, ev);
		run(arg);
		if (end != NULL && end->woken != NULL && end->life == life)
			end->woken(end->ctx);
	}
	return true;
}

void fake_end_init(struct fake_end *end, struct fake_loop *loop, void (*woken)(void *ctx), void *ctx)
{
	*end = (struct fake_end){ .loop = loop, .woken = woken, .ctx = ctx };
	list_init(&end->kept);
}

void fake_end_thaw(struct fake_end *end)
{
	struct list *link;

	end->frozen = false;
	while ((link = list_pop(&end->kept)) != NULL)
		heap_put(&end->loop->queue, &list_entry(link, struct event, link)->node, end->loop->now);
}

void fake_end_die(struct fake_end *end)
{
	struct list *link;

	end->life++;
	end->frozen = false;
	while ((link = list_pop(&end->kept)) != NULL)
		drop(end->loop, list_entry(link, struct event, link));
}

void fake_end_fini(struct fake_end *end)
{
	fake_end_die(end);
}
