/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/httpd_loop.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct httpd_loop {
	struct pollable source;
	uv_poll_t       polls[POLLABLE_FDS];
	uv_timer_t      timer;
	unsigned        open_handles;
	void          (*closed)(void *arg);
	void           *arg;
};

/* A source that is never done in one turn must not starve the rest of the loop. */
enum { RUNS_PER_TURN = 4 };

static void run_source(struct httpd_loop *l)
{
	struct pollable *s = &l->source;

	for (unsigned i = 0; i < RUNS_PER_TURN; i++) {
		s->run(s->ctx);
		if (!s->is_ready(s->ctx) && s->timeout_ms(s->ctx) != 0)
			return;
	}
}

/* Also an error of the poll ends here: running the source is how it is found out. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run_source(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
	run_source(timer->data);
}

struct httpd_loop *httpd_loop_open(uv_loop_t *loop, const struct pollable *source)
{
	struct httpd_loop *l = mem_alloc(sizeof *l);

	l->source = *source;
	for (unsigned i = 0; i < POLLABLE_FDS; i++) {
		if (source->fds[i] < 0)
			continue;
		/* Fails only for what is no epoll descriptor or without memory: a mistake of ours. */
		int rc = uv_poll_init(loop, &l->polls[i], source->fds[i]);
		assert(rc == 0);
		(void)rc;
		l->polls[i].data = l;
		uv_poll_start(&l->polls[i], UV_READABLE, on_poll);
		l->open_handles++;
	}
	uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	l->open_handles++;
	return l;
}

void httpd_loop_flush(struct httpd_loop *l)
{
	struct pollable *s = &l->source;

	if (s->is_ready(s->ctx))
		run_source(l);
	int ms = s->timeout_ms(s->ctx);
	if (ms < 0) {
		uv_timer_stop(&l->timer);
		return;
	}
	/* A running timer that is early enough stays: every turn of the loop comes here. */
	if (ms > 0 && uv_is_active((uv_handle_t *)&l->timer) &&
	    uv_timer_get_due_in(&l->timer) <= (uint64_t)ms)
		return;
	uv_timer_start(&l->timer, on_timer, (uint64_t)ms, 0);
}

static void on_closed(uv_handle_t *handle)
{
	struct httpd_loop *l = handle->data;

	if (--l->open_handles > 0)
		return;
	if (l->closed)
		l->closed(l->arg);
	free(l);
}

void httpd_loop_close(struct httpd_loop *l, void (*closed)(void *arg), void *arg)
{
	l->closed = closed;
	l->arg = arg;
	for (unsigned i = 0; i < POLLABLE_FDS; i++)
		if (l->source.fds[i] >= 0)
			uv_close((uv_handle_t *)&l->polls[i], on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
