/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/resolver.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The threads see nothing but their question and this. It lives until the last of them has
 * left, which may be long after the loop has gone. */
struct mailbox {
	pthread_mutex_t lock;
	struct list     answered;
	unsigned        users;   /* the resolver, and a thread each */
	uv_async_t     *wake;    /* NULL: nobody waits any more */
};

struct question {
	struct list      link;
	struct mailbox  *mailbox;
	char             name[RESOLVER_NAME_MAX + 1];
	resolver_done   *done;
	void            *arg;
	int              status;
	struct addrinfo *list;
};

struct resolver {
	uv_async_t       wake;
	struct mailbox  *mailbox;
	struct list      waiting; /* for a thread */
	unsigned         threads;
	resolver_closed *closed;
	void            *closed_arg;
};

/* ---- in the threads ---------------------------------------------------------------- */

static void free_question(struct question *q)
{
	if (q->list != NULL)
		freeaddrinfo(q->list);
	free(q);
}

/* Unlocks, and frees what nobody uses any more. */
static void leave(struct mailbox *m)
{
	bool last = --m->users == 0;

	pthread_mutex_unlock(&m->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static void *answer(void *arg)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct question      *q = arg;
	struct mailbox       *m = q->mailbox;

	q->status = getaddrinfo(q->name, NULL, &hints, &q->list);
	if (q->status != 0)
		q->list = NULL;
	pthread_mutex_lock(&m->lock);
	if (m->wake != NULL) {
		list_push(&m->answered, &q->link);
		uv_async_send(m->wake);
	} else {
		free_question(q);
	}
	leave(m);
	return NULL;
}

/* ---- on the loop ------------------------------------------------------------------- */

static bool start_thread(struct question *q)
{
	sigset_t       all, before;
	pthread_attr_t attr;
	pthread_t      thread;
	bool           started;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals are the loop's. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, &attr, answer, q) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return started;
}

static void start_waiting(struct resolver *r)
{
	struct mailbox *m = r->mailbox;

	while (r->threads < RESOLVER_THREADS && !list_is_empty(&r->waiting)) {
		struct question *q = list_entry(list_pop(&r->waiting), struct question, link);

		r->threads++;
		pthread_mutex_lock(&m->lock);
		m->users++;
		pthread_mutex_unlock(&m->lock);
		if (start_thread(q))
			continue;
		q->status = EAI_AGAIN;
		pthread_mutex_lock(&m->lock);
		list_push(&m->answered, &q->link);
		uv_async_send(&r->wake);
		leave(m);
	}
}

static void on_wake(uv_async_t *wake)
{
	struct resolver *r = wake->data;
	struct mailbox  *m = r->mailbox;
	struct list      turn, *node;

	list_init(&turn);
	pthread_mutex_lock(&m->lock);
	while ((node = list_pop(&m->answered)) != NULL)
		list_push(&turn, node);
	pthread_mutex_unlock(&m->lock);
	while ((node = list_pop(&turn)) != NULL) {
		struct question *q = list_entry(node, struct question, link);

		r->threads--;
		q->done(q->arg, q->status, q->list);
		free_question(q);
	}
	start_waiting(r);
}

void resolver_ask(struct resolver *r, const char *name, resolver_done *done, void *arg)
{
	struct question *q = mem_alloc(sizeof *q);

	q->mailbox = r->mailbox;
	strncpy(q->name, name, RESOLVER_NAME_MAX);
	q->done = done;
	q->arg = arg;
	list_push(&r->waiting, &q->link);
	start_waiting(r);
}

struct resolver *resolver_open(uv_loop_t *loop)
{
	struct resolver *r = mem_alloc(sizeof *r);

	if (uv_async_init(loop, &r->wake, on_wake) != 0) {
		free(r);
		return NULL;
	}
	r->wake.data = r;
	list_init(&r->waiting);
	r->mailbox = mem_alloc(sizeof *r->mailbox);
	pthread_mutex_init(&r->mailbox->lock, NULL);
	list_init(&r->mailbox->answered);
	r->mailbox->users = 1;
	r->mailbox->wake = &r->wake;
	return r;
}

static void free_all(struct list *questions)
{
	struct list *node;

	while ((node = list_pop(questions)) != NULL)
		free_question(list_entry(node, struct question, link));
}

static void on_closed(uv_handle_t *handle)
{
	struct resolver *r = handle->data;
	resolver_closed *closed = r->closed;
	void            *arg = r->closed_arg;

	free(r);
	closed(arg);
}

void resolver_close(struct resolver *r, resolver_closed *closed, void *arg)
{
	struct mailbox *m = r->mailbox;

	free_all(&r->waiting);
	pthread_mutex_lock(&m->lock);
	m->wake = NULL;
	free_all(&m->answered);
	leave(m);
	r->closed = closed;
	r->closed_arg = arg;
	uv_close((uv_handle_t *)&r->wake, on_closed);
}
