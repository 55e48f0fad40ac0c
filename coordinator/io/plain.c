/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/plain_internal.h"

#include "coordinator/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	POOL_MAX = 256,           /* idle transfers kept */
	BODY_KEPT = 16 << 10      /* a body buffer larger than this is not kept */
};

static struct plain_transfer *plain_of(struct transfer *t)
{
	return (struct plain_transfer *)(void *)t;
}

/* ---- transfers --------------------------------------------------------------------- */

static struct plain_transfer *take_transfer(struct plain *p)
{
	struct list           *node = list_pop(&p->pool);
	struct plain_transfer *t;

	if (node != NULL) {
		p->pooled--;
		t = list_entry(node, struct plain_transfer, link);
	} else {
		t = mem_alloc(sizeof *t);
		t->base.is_plain = true;
		t->plain = p;
	}
	list_push(&p->active, &t->link);
	return t;
}

static void free_transfer(struct plain_transfer *t)
{
	response_fini(&t->response);
	free(t);
}

/* Off all lists, its connection gone. */
static void give_back(struct plain_transfer *t)
{
	struct plain *p = t->plain;

	list_remove(&t->link);
	heap_remove(&p->deadlines, &t->deadline);
	site_leave(t->site);
	if (p->pooled >= POOL_MAX) {
		free_transfer(t);
		return;
	}
	if (t->response.body.cap > BODY_KEPT)
		buf_fini(&t->response.body);
	list_push(&p->pool, &t->link);
	p->pooled++;
}

struct transfer *plain_start(struct plain *p, const struct http_request *r, enum guard_word word,
                             http_done *done, void *arg)
{
	struct plain_url       url;
	struct plain_transfer *t;

	if (!plain_url_read(r->url, &url))
		return NULL;
	t = take_transfer(p);
	t->request = *r;
	if (!plain_has_body(r))
		t->request.body = (struct str){ 0 };
	t->url = url;
	t->done = done;
	t->arg = arg;
	t->word = word;
	t->denied = t->repeated = false;
	t->started_ns = uv_hrtime();
	t->site = site_of(p, &url);
	response_begin(&t->response, p->config.response_max, strcmp(r->method, "HEAD") == 0);
	heap_put(&p->deadlines, &t->deadline, (int64_t)(t->started_ns / 1000000) + r->timeout_ms);
	plain_arm(p, t->deadline.at);
	if (word == GUARD_REFUSED)
		plain_fail(t, PLAIN_DENIED, 0);
	else if (!conn_reuse(t))
		site_connect(t);
	return &t->base;
}

void plain_abort(struct plain *p, struct transfer *base)
{
	struct plain_transfer *t = plain_of(base);

	(void)p;
	if (t->conn != NULL)
		conn_close(t->conn);
	give_back(t);
}

/* ---- ends -------------------------------------------------------------------------- */

static uint64_t took_us(const struct plain_transfer *t)
{
	return (uv_hrtime() - t->started_ns) / 1000;
}

/* Until it was seen that there is something to read: what waits for others that are read before it does not count. */
static uint64_t answered_us(const struct plain_transfer *t)
{
	return t->plain->read_ns > t->started_ns ? (t->plain->read_ns - t->started_ns) / 1000 : took_us(t);
}

static const char *reason(const struct plain_transfer *t)
{
	return t->error != 0 ? strerror(t->error) : t->carrier_why;
}

static void describe(const struct plain_transfer *t, struct http_result *out)
{
	const char  *name = t->site->name;
	char        *why = t->plain->why;
	const size_t n = sizeof t->plain->why;

	*out = (struct http_result){ .took_us = took_us(t), .unsendable = t->end == PLAIN_DENIED,
		                     .withheld = t->end == PLAIN_WITHHELD };
	switch (t->end) {
	case PLAIN_TIMED_OUT:
		snprintf(why, n, "timed out after %u ms: %s", t->request.timeout_ms, t->stage);
		break;
	case PLAIN_NO_NAME:
		snprintf(why, n, "the name %s cannot be resolved: %s", t->site->host,
		         gai_strerror(t->error));
		break;
	case PLAIN_DENIED:
		snprintf(why, n, "%s", HTTP_DENIED);
		break;
	case PLAIN_WITHHELD:
		snprintf(why, n, "%s", HTTP_WITHHELD);
		break;
	case PLAIN_NO_CONN:
		snprintf(why, n, "no connection to %s: %s", name, reason(t));
		break;
	case PLAIN_LOST:
		snprintf(why, n, "the connection to %s broke: %s", name, reason(t));
		break;
	case PLAIN_BAD:
		snprintf(why, n, "no valid answer from %s: %s", name, t->response.failure);
		break;
	}
	out->reply.failure = str_of(why);
}

static void deal_with_news(struct plain *p)
{
	struct list turn, *node;

	list_init(&turn);
	list_move(&turn, &p->news);
	p->in_batch = true;
	while ((node = list_pop(&turn)) != NULL)
		conn_event(list_entry(node, struct conn, news));
	p->in_batch = false;
	p->looked_at = UINT64_MAX; /* some time has passed */
	conn_free_closed(p);
}

static void on_tell(uv_idle_t *idle)
{
	struct plain *p = idle->data;
	struct list   turn, *node;

	uv_idle_stop(idle);
	deal_with_news(p);
	/* Whoever is told may abort others that wait here. */
	list_init(&turn);
	list_move(&turn, &p->ended);
	while ((node = list_pop(&turn)) != NULL) {
		struct plain_transfer *t = list_entry(node, struct plain_transfer, link);
		struct http_result     result;

		describe(t, &result);
		t->done(t->arg, &result);
		give_back(t);
	}
}

void plain_fail(struct plain_transfer *t, enum plain_end end, int error)
{
	struct plain *p = t->plain;

	t->end = end;
	t->error = error;
	heap_remove(&p->deadlines, &t->deadline);
	list_remove(&t->link);
	list_push(&p->ended, &t->link);
	uv_idle_start(&p->tell, on_tell);
}

void plain_answered(struct plain_transfer *t)
{
	const struct response *r = &t->response;

	list_remove(&t->link);
	heap_remove(&t->plain->deadlines, &t->deadline);
	t->done(t->arg, &(struct http_result){
		.took_us = answered_us(t),
		.reply = { .status = r->status, .saga_outcome = str_of(r->saga_outcome),
		           .retry_after = str_of(r->retry_after), .body = buf_view(&r->body),
		           .body_too_big = r->too_big } });
	give_back(t);
}

/* ---- time -------------------------------------------------------------------------- */

int64_t plain_now(void)
{
	return (int64_t)(uv_hrtime() / 1000000);
}

static void on_timer(uv_timer_t *timer);

/* The timer is moved only to an earlier time: most calls end long before their time-out, and it
 * may as well wake up for nothing. */
void plain_arm(struct plain *p, int64_t at)
{
	int64_t delay = at - (int64_t)uv_now(p->loop);

	if (at >= p->timer_at)
		return;
	p->timer_at = at;
	uv_timer_start(&p->timer, on_timer, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void time_out(struct plain_transfer *t)
{
	t->stage = conn_stage(t->conn);
	if (t->conn != NULL)
		conn_close(t->conn);
	plain_fail(t, PLAIN_TIMED_OUT, 0);
}

/* The oldest come first: behind one that may not even be surplus yet all others may not. */
static void close_idle(struct plain *p, int64_t now)
{
	list_each(it, after, &p->idle) {
		struct conn  *c = list_entry(it, struct conn, age);
		const bool    is_surplus = c->site->idle_count > PLAIN_KEPT;
		const int64_t at = c->idle_since + (is_surplus ? PLAIN_SURPLUS_MS : PLAIN_KEPT_MS);

		if (at <= now) {
			conn_close(c);
			continue;
		}
		if (c->idle_since + PLAIN_SURPLUS_MS > now) {
			plain_arm(p, c->idle_since + PLAIN_SURPLUS_MS);
			break;
		}
		plain_arm(p, at);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct plain     *p = timer->data;
	const int64_t     now = plain_now();
	struct heap_node *node;

	p->timer_at = INT64_MAX;
	while ((node = heap_first(&p->deadlines)) != NULL && node->at <= now)
		time_out(list_entry(node, struct plain_transfer, deadline));
	while ((node = heap_first(&p->steps)) != NULL && node->at <= now)
		conn_next_address(list_entry(node, struct conn, step));
	close_idle(p, now);
	if ((node = heap_first(&p->deadlines)) != NULL)
		plain_arm(p, node->at);
	if ((node = heap_first(&p->steps)) != NULL)
		plain_arm(p, node->at);
}

/* ---- events ------------------------------------------------------------------------ */

/* Those that had something to tell come before those that have something again: when a round finds
 * nobody new, all of them are known. */
static void note_all(struct plain *p)
{
	struct epoll_event events[EVENTS];
	int                n, new_ones;

	do {
		n = epoll_wait(p->epoll_fd, events, EVENTS, 0);
		new_ones = 0;
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			new_ones += c->events == 0;
			conn_note(c, events[i].events);
		}
	} while (n == EVENTS && new_ones > 0);
	p->looked_at = uv_now(p->loop);
	p->read_ns = uv_hrtime();
}

void plain_look(struct plain *p)
{
	note_all(p);
	if (!list_is_empty(&p->news))
		uv_idle_start(&p->tell, on_tell);
}

static void on_poll(uv_poll_t *poll, int status, int uv_events)
{
	struct plain *p = poll->data;

	(void)status;
	(void)uv_events;
	note_all(p);
	deal_with_news(p);
	if (list_is_empty(&p->ended) && list_is_empty(&p->news))
		uv_idle_stop(&p->tell);
}

/* ---- opening and closing ----------------------------------------------------------- */

static void init_lists(struct plain *p)
{
	list_init(&p->active);
	list_init(&p->ended);
	list_init(&p->pool);
	list_init(&p->idle);
	list_init(&p->closed);
	list_init(&p->news);
}

static void on_part_closed(void *arg)
{
	struct plain *p = arg;

	if (--p->closing > 0)
		return;
	close(p->epoll_fd);
	heap_fini(&p->deadlines);
	heap_fini(&p->steps);
	buf_fini(&p->head);
	if (p->on_closed != NULL)
		p->on_closed(p->closed_arg);
	free(p);
}

static void on_handle_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

struct plain *plain_open(uv_loop_t *loop, struct curl_loop *curl, const struct guard *guard,
                         const struct http_config *config, struct err *err)
{
	struct plain *p = mem_alloc(sizeof *p);

	p->loop = loop;
	p->curl = curl;
	p->guard = guard;
	p->config = *config;
	p->timer_at = INT64_MAX;
	p->looked_at = UINT64_MAX;
	p->sites.seed = uv_hrtime() ^ (uintptr_t)p;
	init_lists(p);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0 || uv_poll_init(loop, &p->poll, p->epoll_fd) != 0)
		goto no_poll;
	p->resolver = resolver_open(loop);
	if (p->resolver == NULL)
		goto no_resolver;
	uv_timer_init(loop, &p->timer);
	uv_idle_init(loop, &p->tell);
	p->poll.data = p->timer.data = p->tell.data = p;
	uv_poll_start(&p->poll, UV_READABLE, on_poll);
	return p;
no_resolver:
	err_set(err, ERR_UNAVAILABLE, "outbound HTTP cannot start: no descriptor left");
	p->closing = 1; /* the loop frees it */
	p->poll.data = p;
	uv_close((uv_handle_t *)&p->poll, on_handle_closed);
	return NULL;
no_poll:
	err_set(err, ERR_UNAVAILABLE, "outbound HTTP cannot start: no descriptor left");
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	free(p);
	return NULL;
}

static void drop_all(struct list *transfers)
{
	list_each(it, after, transfers) {
		struct plain_transfer *t = list_entry(it, struct plain_transfer, link);

		plain_abort(t->plain, &t->base);
	}
}

static void drop_waiting(struct plain *p)
{
	struct table_node *node = table_next(&p->sites, NULL);

	for (; node != NULL; node = table_next(&p->sites, node))
		drop_all(&table_entry(node, struct site, node)->waiting);
}

void plain_close(struct plain *p, http_closed *closed, void *arg)
{
	drop_all(&p->active);
	drop_all(&p->ended);
	drop_waiting(p);
	list_each(it, after, &p->pool)
		free_transfer(list_entry(it, struct plain_transfer, link));
	site_free_all(p);
	p->closing = 4;
	p->on_closed = closed;
	p->closed_arg = arg;
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, on_handle_closed);
	uv_close((uv_handle_t *)&p->timer, on_handle_closed);
	uv_close((uv_handle_t *)&p->tell, on_handle_closed);
	resolver_close(p->resolver, on_part_closed, p);
}
