/* SPDX-License-Identifier: Apache-2.0
 * httpd_clear.c - our own server, for requests in the clear. Each connection is registered with
 * epoll once, for all its life. Memory is held only by what is under way.
 */
#include "api/httpd_clear_internal.h"

#include "coordinator/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	ACCEPTS = 64, /* in one run */
	DEAF_MS = 100 /* when there is no descriptor for a client */
};

/* ---- new clients ------------------------------------------------------------------------ */

static void set_listening(struct httpd *h, bool listens)
{
	struct clear_server     *s = h->server;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = NULL };

	if (s->listens == listens || h->quiet)
		return;
	if (epoll_ctl(s->epoll_fd, listens ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, h->config.listen_fd,
	              &ev) == 0)
		s->listens = listens;
}

void clear_listen_again(struct httpd *h)
{
	struct clear_server *s = h->server;

	if (h->connections < h->config.connections_max && h->now_ms >= s->deaf_until)
		set_listening(h, true);
}

static void admit(struct httpd *h, int fd, const struct sockaddr *from)
{
	struct clear_server           *s = h->server;
	struct clear_connection *c = mem_alloc(sizeof *c);
	struct epoll_event             ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		                              .data.ptr = c };
	const int                on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* an answer is one write */
	c->httpd = h;
	c->is.fd = fd;
	list_init(&c->again);
	list_init(&c->node);
	peer_address(from, c->is.peer.address);
	connection_admit(h, &c->is);
	connection_enter(h, &c->is, STAGE_RECEIVE);
	list_push(&s->all, &c->node);
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		clear_close(c);
}

/* The kernel would go on telling of a client for whom there is no descriptor. */
static void be_deaf(struct httpd *h)
{
	struct clear_server *s = h->server;
	char           line[128];

	snprintf(line, sizeof line, "clients have to wait: %s", strerror(errno));
	h->config.log(h->config.ctx, line);
	s->deaf_until = h->now_ms + DEAF_MS;
	set_listening(h, false);
}

static void accept_some(struct httpd *h)
{
	struct sockaddr_storage from;

	for (unsigned i = 0; i < ACCEPTS; i++) {
		socklen_t n = sizeof from;
		int       fd;

		if (h->connections >= h->config.connections_max) {
			set_listening(h, false);
			return;
		}
		fd = accept4(h->config.listen_fd, (struct sockaddr *)&from, &n,
		             SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(h, fd, (struct sockaddr *)&from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			be_deaf(h);
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- running ---------------------------------------------------------------------------- */

static void send_answers(struct httpd *h)
{
	struct list *node;

	while ((node = list_pop(&h->answered)) != NULL) {
		struct httpd_own        *own = list_entry(node, struct httpd_own, node);
		struct clear_connection *c = own->server;

		own->suspended = false;
		clear_answer(c);
		clear_go_on(c);
	}
}

static void go_on(struct clear_server *s)
{
	struct list turn, *node;

	list_init(&turn);
	list_move(&turn, &s->again);
	while ((node = list_pop(&turn)) != NULL)
		clear_go_on(list_entry(node, struct clear_connection, again));
}

static void tell_who_left(struct clear_server *s)
{
	struct list turn, *node;

	list_init(&turn);
	list_move(&turn, &s->left);
	while ((node = list_pop(&turn)) != NULL) {
		struct httpd_own *own = list_entry(node, struct httpd_own, watch);

		own->watched = false;
		own->gone(own->gone_arg);
	}
}

static void run(struct httpd *h)
{
	struct clear_server     *s = h->server;
	struct epoll_event events[EVENTS];
	int                n;

	send_answers(h);
	go_on(s);
	clear_listen_again(h);
	n = epoll_wait(s->epoll_fd, events, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == NULL)
			accept_some(h);
		else
			clear_event(events[i].data.ptr, events[i].events);
	}
	tell_who_left(s);
	clear_free_closed(s);
}

static bool is_due(struct httpd *h)
{
	struct clear_server *s = h->server;

	return !list_is_empty(&s->again) || !list_is_empty(&s->left);
}

static int timeout_ms(struct httpd *h)
{
	struct clear_server *s = h->server;

	return !s->listens && !h->quiet && h->connections < h->config.connections_max ? DEAF_MS
	                                                                              : -1;
}

/* ---- what handlers use -------------------------------------------------------------------- */

static const struct request_head *head_of(const struct exchange *x)
{
	const struct clear_connection *c = x->own->server;

	return &c->head;
}

static struct str header(const struct exchange *x, const char *name)
{
	const struct request_head *head = head_of(x);
	const size_t               n = strlen(name);

	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].name.n == n &&
		    strncasecmp(head->fields[i].name.p, name, n) == 0)
			return head->fields[i].value;
	return (struct str){ 0 };
}

static void each_header(const struct exchange *x, exchange_each *each, void *arg)
{
	const struct request_head *head = head_of(x);

	for (size_t i = 0; i < head->field_count; i++)
		if (!each(arg, head->fields[i].name, head->fields[i].value))
			return;
}

static struct str cut(struct str *rest, char mark)
{
	const char *end = rest->n > 0 ? memchr(rest->p, mark, rest->n) : NULL;
	struct str  part = *rest;

	*rest = (struct str){ 0 };
	if (end != NULL) {
		*rest = (struct str){ end + 1, part.n - (size_t)(end - part.p) - 1 };
		part.n = (size_t)(end - part.p);
	}
	return part;
}

/* As forms write it: a plus is a space, a percent sign stays (it is decoded by whoever knows
 * what it is). */
static void each_query(const struct exchange *x, exchange_each *each, void *arg)
{
	struct str rest = arena_str(&x->own->x->arena, head_of(x)->query);

	for (char *p = (char *)(uintptr_t)rest.p; p < rest.p + rest.n; p++)
		*p = *p == '+' ? ' ' : *p;
	while (rest.n > 0) {
		struct str value = cut(&rest, '&'), name = cut(&value, '=');

		if (!each(arg, name, value))
			return;
	}
}

static void watch(struct exchange *x)
{
	const struct clear_connection *c = x->own->server;

	x->own->watched = true;
	if (c->has_left)
		clear_tell_later(x);
}

static void unwatch(struct exchange *x)
{
	x->own->watched = false;
	list_remove(&x->own->watch);
}

/* ---- open and close ------------------------------------------------------------------------ */

static bool open_server(struct httpd *h, struct err *err)
{
	struct clear_server *s = mem_alloc(sizeof *s);

	h->server = s;
	list_init(&s->all);
	list_init(&s->closed);
	list_init(&s->again);
	list_init(&s->left);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->fds[0] = s->epoll_fd;
	if (s->epoll_fd >= 0)
		set_listening(h, true);
	if (s->epoll_fd >= 0 && s->listens)
		return true;
	err_set(err, ERR_UNAVAILABLE, "the HTTP listener cannot be started: %s", strerror(errno));
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	free(s);
	return false;
}

static void stop_listening(struct httpd *h)
{
	struct clear_server *s = h->server;

	/* The socket may be other workers', too: closing it would not take it out of our set. */
	if (s->listens)
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, h->config.listen_fd, NULL);
	s->listens = false;
	if (h->config.listen_fd >= 0)
		close(h->config.listen_fd);
	h->config.listen_fd = -1;
}

static void close_server(struct httpd *h)
{
	struct clear_server *s = h->server;

	list_each (it, after, &s->all)
		clear_close(list_entry(it, struct clear_connection, node));
	clear_free_closed(s);
	stop_listening(h);
	close(s->epoll_fd);
	buf_fini(&s->head);
	free(s);
}

const struct httpd_kind httpd_clear = {
	.open = open_server,
	.run = run,
	.is_due = is_due,
	.timeout_ms = timeout_ms,
	.quiesce = stop_listening,
	.close = close_server,
	.header = header,
	.each_header = each_header,
	.each_query = each_query,
	.watch = watch,
	.unwatch = unwatch,
};
