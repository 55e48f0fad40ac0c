/* SPDX-License-Identifier: Apache-2.0
 * httpd_connection.c - a connection of our own server: from bytes to exchanges, and from answers
 * to bytes. A request costs one read, an answer one write.
 */
#include "api/httpd_clear_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	LINGER_MAX = 64 << 20,
	BODY_SMALL = 2048 /* one piece costs the kernel less than two, and copying so much next to nothing */
};

static struct clear_server *server_of(const struct clear_connection *c)
{
	return c->httpd->server;
}

/* ---- the end of a connection ----------------------------------------------------------- */

static void drop_exchange(struct clear_connection *c)
{
	if (c->x != NULL)
		exchange_free(c->x);
	c->x = NULL;
}

void clear_close(struct clear_connection *c)
{
	struct httpd *h = c->httpd;

	if (c->state == CLOSED)
		return;
	c->state = CLOSED;
	drop_exchange(c);
	close(c->is.fd); /* which takes it out of the epoll set */
	list_remove(&c->again);
	list_remove(&c->node);
	list_push(&server_of(c)->closed, &c->node);
	connection_gone(h, &c->is);
	clear_listen_again(h);
}

void clear_free_closed(struct clear_server *s)
{
	struct list *node;

	while ((node = list_pop(&s->closed)) != NULL) {
		struct clear_connection *c = list_entry(node, struct clear_connection, node);

		buf_fini(&c->kept);
		buf_fini(&c->out);
		free(c);
	}
}

static void read_soon(struct clear_connection *c)
{
	list_remove(&c->again);
	list_push(&server_of(c)->again, &c->again);
}

/* server.in is everybody's: what is not read yet has to stand elsewhere. */
static void keep_rest(struct clear_connection *c)
{
	struct buf kept = { 0 };

	if (c->rest.n > 0 && c->rest.n == c->kept.n)
		return;
	if (c->rest.n > 0)
		buf_add(&kept, c->rest.p, c->rest.n);
	buf_fini(&c->kept);
	c->kept = kept;
	c->rest = buf_view(&c->kept);
}

/* False: nothing is left to be read now, or the connection is closed. */
static bool receive(struct clear_connection *c)
{
	struct clear_server *s = server_of(c);
	ssize_t        n;

	keep_rest(c);
	do
		n = recv(c->is.fd, s->in, CLEAR_IN_BYTES, 0);
	while (n < 0 && errno == EINTR);
	/* A read that does not fill the buffer has emptied the socket; the next event tells of
	 * more. */
	if (n < CLEAR_IN_BYTES && !c->has_left)
		c->readable = false;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		c->readable = false;
		return false;
	}
	if (n <= 0) {
		clear_close(c);
		return false;
	}
	c->rest = (struct str){ s->in, (size_t)n };
	if (c->kept.n > 0) {
		buf_add(&c->kept, s->in, (size_t)n);
		c->rest = buf_view(&c->kept);
	}
	return true;
}

static void linger(struct clear_connection *c)
{
	struct clear_server *s = server_of(c);

	for (unsigned i = 0; i < CLEAR_STEPS; i++) {
		ssize_t n = recv(c->is.fd, s->in, CLEAR_IN_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0 || (c->lingered += (size_t)n) > LINGER_MAX) {
			clear_close(c);
			return;
		}
	}
	read_soon(c);
}

static void begin_lingering(struct clear_connection *c)
{
	shutdown(c->is.fd, SHUT_WR);
	buf_fini(&c->kept);
	c->rest = (struct str){ 0 };
	c->state = LINGERING;
	connection_enter(c->httpd, &c->is, STAGE_SEND);
	linger(c);
}

/* ---- answers --------------------------------------------------------------------------- */

static struct str body_of(const struct exchange *x)
{
	if (!reply_has_length(x->status) || str_is(x->method, "HEAD"))
		return STR("");
	return x->reply.n > 0 ? buf_view(&x->reply) : STR("");
}

static void write_head(const struct clear_connection *c, struct buf *out)
{
	const char *connection = c->head.is_1_0 ? "Keep-Alive" : NULL;

	reply_head_write(c->x, reply_date_now(&server_of(c)->date),
	                 c->keep_alive ? connection : "close", out);
}

/* -1: the client is gone. */
static ssize_t write_out(int fd, struct str head, struct str body)
{
	struct iovec  iov[2] = { { (char *)(uintptr_t)head.p, head.n },
		                 { (char *)(uintptr_t)body.p, body.n } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t       n;

	do
		n = body.n > 0 ? sendmsg(fd, &msg, MSG_NOSIGNAL) : send(fd, head.p, head.n, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

/* All of it is sent. */
static void end_exchange(struct clear_connection *c)
{
	drop_exchange(c);
	buf_fini(&c->out);
	c->is.in_request = c->is.is_first = false;
	if (c->keep_alive) {
		c->state = READING_HEAD;
		connection_enter(c->httpd, &c->is, STAGE_IDLE);
	} else if (c->is_unread || c->rest.n > 0 || c->readable) {
		begin_lingering(c);
	} else {
		clear_close(c);
	}
}

static void send_rest(struct clear_connection *c)
{
	const struct str body = body_of(c->x);
	const size_t of_head = c->sent < c->out.n ? c->sent : c->out.n, of_body = c->sent - of_head;
	const struct str head = { c->out.p + of_head, c->out.n - of_head };
	ssize_t n = write_out(c->is.fd, head, (struct str){ body.p + of_body, body.n - of_body });

	if (n < 0) {
		clear_close(c);
		return;
	}
	c->sent += (size_t)n;
	if (c->sent == c->out.n + body.n)
		end_exchange(c);
}

void clear_answer(struct clear_connection *c)
{
	struct buf      *head = &server_of(c)->head;
	const struct str body = body_of(c->x);
	size_t           head_n;
	ssize_t          n;

	/* Of a request that was not read to its end nobody knows where the next one begins. */
	c->is_unread = c->state != HANDLING;
	if (c->httpd->quiet || c->is_unread)
		c->keep_alive = false;
	write_head(c, head);
	c->state = SENDING;
	connection_enter(c->httpd, &c->is, STAGE_SEND);
	head_n = head->n;
	if (body.n <= BODY_SMALL)
		buf_str(head, body);
	n = write_out(c->is.fd, buf_view(head), body.n > BODY_SMALL ? body : STR(""));
	if (n < 0) {
		clear_close(c);
	} else if ((size_t)n == head_n + body.n) {
		end_exchange(c);
	} else {
		buf_add(&c->out, head->p, head_n);
		c->sent = (size_t)n;
	}
}

/* ---- requests -------------------------------------------------------------------------- */

/* from: HANDLING, or the state in which it is answered although more of it would come. */
static void handle(struct clear_connection *c, enum clear_state from)
{
	c->state = from;
	if (exchange_handle(c->x))
		clear_answer(c);
	else
		c->state = HANDLING;
}

/* Its headers are read. */
static void begin_body(struct clear_connection *c)
{
	const struct request_head *head = &c->head;

	c->left = head->is_chunked ? 0 : head->length;
	c->chunks = (struct chunks){ 0 };
	if (!head->is_chunked && head->length == 0) {
		handle(c, HANDLING);
		return;
	}
	c->state = READING_BODY;
	if (head->says_expect && c->rest.n == 0) {
		const struct str go_on = STR("HTTP/1.1 100 Continue\r\n\r\n");

		(void)!send(c->is.fd, go_on.p, go_on.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/* A head that is whole, or too long to become it. */
static void begin_exchange(struct clear_connection *c, struct str bytes, bool is_whole)
{
	struct httpd *h = c->httpd;
	enum head     head;
	bool          in_url;

	c->x = exchange_new(h, &c->is, c, STR(""), STR(""));
	if (!is_whole || bytes.n > HTTPD_HEAD_MAX) {
		head_glance(bytes, &c->x->arena, &c->head, &in_url);
		head = in_url ? HEAD_LONG_URL : HEAD_LONG_HEADERS;
	} else {
		c->x->wrong = head_read(bytes, &c->x->arena, &c->head);
		head = c->x->wrong != NULL ? HEAD_WRONG
		       : c->head.has_many  ? HEAD_MANY_HEADERS
		                           : HEAD_FITS;
	}
	c->x->method = c->head.method;
	c->x->path = c->head.path;
	c->keep_alive = c->head.keep_alive;
	if (exchange_begin(c->x, head, c->head.is_unclear))
		begin_body(c);
	else
		handle(c, READING_BODY);
}

/* False: more bytes are needed. */
static bool read_head(struct clear_connection *c)
{
	size_t n = head_end(c->rest, &c->scanned);

	if (n == 0 && c->rest.n <= HTTPD_HEAD_MAX) {
		if (!c->is.in_request && c->scanned < c->rest.n) {
			c->is.in_request = true;
			connection_enter(c->httpd, &c->is, STAGE_RECEIVE);
		}
		return false;
	}
	const struct str bytes = { c->rest.p, n > 0 ? n : c->rest.n };

	c->scanned = 0;
	c->rest = (struct str){ c->rest.p + bytes.n, c->rest.n - bytes.n };
	begin_exchange(c, bytes, n > 0);
	return true;
}

/* False: that was too much. */
static bool take_some(struct clear_connection *c)
{
	struct str data;

	if (c->head.is_chunked) {
		data = chunks_take(&c->chunks, &c->rest);
	} else {
		data = (struct str){ c->rest.p, c->rest.n < c->left ? c->rest.n : (size_t)c->left };
		c->rest = (struct str){ c->rest.p + data.n, c->rest.n - data.n };
		c->left -= data.n;
	}
	return data.n == 0 || exchange_take_body(c->x, data.p, data.n);
}

static void read_body(struct clear_connection *c)
{
	while (c->rest.n > 0 && c->state == READING_BODY) {
		if (!take_some(c)) {
			clear_close(c);
			return;
		}
		if (c->chunks.state == CHUNKS_BROKEN) {
			c->x->head = HEAD_WRONG;
			c->x->wrong = "a chunk of its body is none";
			handle(c, READING_BODY);
		} else if (c->head.is_chunked ? c->chunks.state == CHUNKS_DONE : c->left == 0)
			handle(c, HANDLING);
	}
}

static bool is_reading(const struct clear_connection *c)
{
	return c->state == READING_HEAD || c->state == READING_BODY;
}

/* One thing that can be done now. False: there is none, or the connection is closed. */
static bool read_step(struct clear_connection *c)
{
	if (c->rest.n > 0 && c->state == READING_BODY) {
		read_body(c);
		return c->state != CLOSED;
	}
	if (c->rest.n > 0 && read_head(c))
		return c->state != CLOSED;
	return c->readable && receive(c);
}

/* What is there, as far as it goes. */
static void read_on(struct clear_connection *c)
{
	unsigned i = 0;

	while (is_reading(c) && i < CLEAR_STEPS && read_step(c))
		i++;
	if (c->state == CLOSED)
		return;
	keep_rest(c);
	if (is_reading(c) && i == CLEAR_STEPS)
		read_soon(c);
}

/* ---- events ---------------------------------------------------------------------------- */

void clear_tell_later(struct exchange *x)
{
	struct clear_server *s = x->own->httpd->server;

	list_remove(&x->own->watch);
	list_push(&s->left, &x->own->watch);
}

void clear_go_on(struct clear_connection *c)
{
	if (c->state == LINGERING)
		linger(c);
	else if (is_reading(c))
		read_on(c);
}

void clear_event(struct clear_connection *c, uint32_t events)
{
	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		c->readable = true;
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		c->has_left = true;
	switch (c->state) {
	case READING_HEAD:
	case READING_BODY:
		if (c->readable)
			read_on(c);
		break;
	case HANDLING:
		if (c->has_left && c->x->own->watched)
			clear_tell_later(c->x);
		break;
	case SENDING:
		send_rest(c);
		if (is_reading(c))
			read_on(c);
		break;
	case LINGERING:
		linger(c);
		break;
	case CLOSED:
		break;
	}
}
