/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/plain_internal.h"

#include "coordinator/base/mem.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	IDLE_MAX = 1024,     /* connections kept for later */
	OUT_KEPT = 16 << 10, /* a buffer for what is sent larger than this is not kept */
	BODY_SMALL = 2048,   /* one piece costs the kernel less than two, and copying so much next to nothing */
	STEP_MS = 1000       /* for one address, while there are others */
};

/* ---- opening and closing ----------------------------------------------------------- */

static void drop_fd(struct conn *c)
{
	/* Closing a socket takes it out of the epoll set. */
	if (c->carrier != NULL)
		carrier_close(c->carrier);
	else if (c->fd >= 0)
		close(c->fd);
	c->carrier = NULL;
	c->fd = -1;
}

void conn_free_closed(struct plain *p)
{
	struct list *node;

	while ((node = list_pop(&p->closed)) != NULL)
		free(list_entry(node, struct conn, link));
}

static void leave_idle(struct conn *c)
{
	list_remove(&c->link);
	list_remove(&c->age);
	c->plain->idle_count--;
	c->site->idle_count--;
}

/* Its memory rests while one of them is being dealt with. */
void conn_close(struct conn *c)
{
	struct plain *p = c->plain;

	drop_fd(c);
	heap_remove(&p->steps, &c->step);
	list_remove(&c->news);
	if (c->state == CONN_IDLE)
		leave_idle(c);
	if (c->transfer != NULL)
		c->transfer->conn = NULL;
	c->transfer = NULL;
	site_leave(c->site);
	buf_fini(&c->out);
	c->state = CONN_CLOSED;
	list_push(&p->closed, &c->link);
	if (!p->in_batch)
		conn_free_closed(p);
}

static void end_with(struct conn *c, enum plain_end end, int error)
{
	struct plain_transfer *t = c->transfer;

	if (c->carrier != NULL && error == 0)
		str_cstr(str_of(carrier_failure(c->carrier)), t->carrier_why,
		         sizeof t->carrier_why);
	conn_close(c);
	plain_fail(t, end, error);
}

/* A registration for everything, made once, told of changes only: no system call is spent on
 * it again, however many requests the connection carries. */
static bool watch(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		                  .data = { .ptr = c } };

	return epoll_ctl(c->plain->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) == 0;
}

static void set_options(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not needed for an answer */
	http_keep_alive(fd);
}

static int open_socket(const struct site_address *a)
{
	return socket(a->is.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Sooner a connection that rests than one that is needed. */
static bool make_room(struct plain *p, int error)
{
	if ((error != EMFILE && error != ENFILE) || p->idle_count == 0)
		return false;
	conn_close(list_entry(p->idle.next, struct conn, age));
	return true;
}

/* 0: under way, or an errno. */
static int begin_connect(struct conn *c, const struct site_address *a)
{
	struct plain *p = c->plain;
	int           error = 0;

	c->fd = open_socket(a);
	if (c->fd < 0 && make_room(p, errno))
		c->fd = open_socket(a);
	if (c->fd < 0)
		return errno;
	set_options(c->fd);
	if ((connect(c->fd, &a->is.any, a->n) != 0 && errno != EINPROGRESS) || !watch(c))
		error = errno;
	if (error != 0)
		drop_fd(c);
	return error;
}

/* An address gets half of the time that is left, a second at most; the last one gets all of it. */
static void set_step(struct conn *c)
{
	const int64_t now = plain_now();
	int64_t       half = (c->transfer->deadline.at - now) / 2;

	if (c->tried >= c->site->n)
		return;
	half = now + (half < STEP_MS ? half : STEP_MS);
	heap_put(&c->plain->steps, &c->step, half);
	plain_arm(c->plain, half);
}

/* Tries the addresses that are left, until one does not refuse at once. */
static void try_addresses(struct conn *c, int error)
{
	struct plain_transfer *t = c->transfer;
	struct site           *s = c->site;

	while (c->tried < s->n) {
		const struct site_address *a;

		c->address = (s->first + c->tried++) % s->n;
		a = &s->addresses[c->address];
		/* Connections kept for later need no second look: the lists never change. */
		if (guard_denies(c->plain->guard, c->word, &a->is.any)) {
			t->denied = true;
			continue;
		}
		error = begin_connect(c, a);
		if (error == 0) {
			set_step(c);
			return;
		}
	}
	site_forget_addresses(s);
	end_with(c, t->denied ? PLAIN_DENIED : PLAIN_NO_CONN, error);
}

static struct conn *new_conn(struct plain_transfer *t)
{
	struct conn *c = mem_alloc(sizeof *c);

	c->plain = t->plain;
	c->site = t->site;
	c->site->users++;
	c->transfer = t;
	c->word = t->word;
	c->state = CONN_CONNECTING;
	c->fd = -1;
	list_init(&c->link);
	list_init(&c->age);
	list_init(&c->news);
	t->conn = c;
	return c;
}

void conn_open(struct plain_transfer *t)
{
	try_addresses(new_conn(t), 0);
}

static void start_sending(struct conn *c);
static void carry(struct conn *c);

static void on_carried(void *arg, int fd)
{
	struct conn *c = arg;
	const int    error = carrier_no_socket(c->carrier);

	c->fd = fd;
	if (fd >= 0 && watch(c)) {
		start_sending(c);
	} else if (fd < 0 && make_room(c->plain, error)) {
		drop_fd(c);
		carry(c);
	} else {
		end_with(c, carrier_was_denied(c->carrier) ? PLAIN_DENIED : PLAIN_NO_CONN,
		         fd < 0 ? error : errno);
	}
}

static void carry(struct conn *c)
{
	struct plain_transfer *t = c->transfer;
	const int64_t          left_ms = t->deadline.at - plain_now();

	c->carrier = carrier_open(c->plain->curl, t->request.url, c->word,
	                          left_ms > 1 ? (uint32_t)left_ms : 1, on_carried, c);
}

void conn_carry(struct plain_transfer *t)
{
	carry(new_conn(t));
}

void conn_next_address(struct conn *c)
{
	drop_fd(c);
	heap_remove(&c->plain->steps, &c->step);
	try_addresses(c, ETIMEDOUT);
}

/* ---- connections kept for later ---------------------------------------------------- */

static void keep(struct conn *c)
{
	struct plain *p = c->plain;

	c->transfer->conn = NULL;
	c->transfer = NULL;
	c->state = CONN_IDLE;
	if (c->out.cap > OUT_KEPT)
		buf_fini(&c->out);
	c->idle_since = (int64_t)uv_now(p->loop);
	list_push(&c->site->idle, &c->link);
	list_push(&p->idle, &c->age);
	c->site->idle_count++;
	if (++p->idle_count > IDLE_MAX)
		conn_close(list_entry(p->idle.next, struct conn, age));
	plain_arm(p, c->idle_since + PLAIN_SURPLUS_MS);
}

/* Closed, or bytes that nobody asked for? They would be taken for the next answer. The event that
 * tells may not have been read yet: one look a turn finds those of all connections, where asking
 * each socket would cost a system call every time. */
static bool is_quiet(const struct conn *c)
{
	char byte;

	if (c->carrier != NULL) /* within it there may be more than the kernel knows of */
		return carrier_recv(c->carrier, &byte, 1) < 0 && errno == EAGAIN;
	if (c->plain->looked_at != uv_now(c->plain->loop))
		plain_look(c->plain);
	return (c->events & ~(uint32_t)EPOLLOUT) == 0;
}

static struct conn *newest_idle(struct site *s)
{
	return list_is_empty(&s->idle) ? NULL : list_entry(s->idle.prev, struct conn, link);
}

static void send_request(struct conn *c);

bool conn_reuse(struct plain_transfer *t)
{
	struct conn *c = newest_idle(t->site);

	while (c != NULL && !is_quiet(c)) {
		conn_close(c);
		c = newest_idle(t->site);
	}
	/* A replica may stand where no participant is allowed. */
	if (c == NULL || c->word != t->word)
		return false;
	leave_idle(c);
	c->transfer = t;
	t->conn = c;
	c->state = CONN_BUSY;
	c->reused = true;
	send_request(c);
	return true;
}

/* ---- answers ----------------------------------------------------------------------- */

static ssize_t read_some(struct conn *c)
{
	struct plain *p = c->plain;

	return c->carrier != NULL ? carrier_recv(c->carrier, p->in, PLAIN_IN_BYTES)
	                          : recv(c->fd, p->in, PLAIN_IN_BYTES, 0);
}

static bool has_sent_all(const struct conn *c)
{
	return c->out.n == 0 && c->body.n == 0;
}

/* A server may close a connection at the moment we use it again. If nothing was answered, the
 * request goes out once more on a new one: every call may arrive twice anyway, its idempotency
 * key says which it is. What was answered in part is told as it is. */
static bool repeat(struct conn *c)
{
	struct plain_transfer *t = c->transfer;

	if (!c->reused || t->response.begun || t->repeated)
		return false;
	t->repeated = true;
	conn_close(c);
	site_connect(t);
	return true;
}

static void lose(struct conn *c, int error)
{
	if (!repeat(c))
		end_with(c, PLAIN_LOST, error);
}

static void finish(struct conn *c, bool may_keep)
{
	struct plain_transfer *t = c->transfer;

	if (may_keep && t->response.keep_alive && has_sent_all(c))
		keep(c);
	else
		conn_close(c);
	plain_answered(t);
}

static void take_close(struct conn *c)
{
	struct plain_transfer *t = c->transfer;

	if (repeat(c))
		return;
	response_end(&t->response);
	if (t->response.state == RESPONSE_DONE)
		finish(c, false);
	else
		end_with(c, PLAIN_BAD, 0);
}

/* False: the connection is done with. */
static bool take_bytes(struct conn *c, size_t n, bool may_keep)
{
	struct plain_transfer *t = c->transfer;
	size_t                 used = response_feed(&t->response, c->plain->in, n);

	if (t->response.state == RESPONSE_FAILED)
		end_with(c, PLAIN_BAD, 0);
	else if (t->response.state == RESPONSE_DONE) /* what follows an answer is nobody's */
		finish(c, may_keep && used == n);
	else
		return true;
	return false;
}

/* Until nothing is left: there will be no second event for what stays. A read that does not fill
 * the buffer has emptied the socket, unless the server closed behind it. One by a carrier ends with a
 * record of TLS; what may follow an answer is looked for when the connection is used again. */
static void read_all(struct conn *c, bool is_closed)
{
	for (;;) {
		ssize_t n = read_some(c);
		bool    may_keep = !is_closed && (c->carrier != NULL || n < PLAIN_IN_BYTES);
		bool    is_empty = may_keep && c->carrier == NULL;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			lose(c, errno);
			return;
		}
		if (n == 0) {
			take_close(c);
			return;
		}
		if (!take_bytes(c, (size_t)n, may_keep) || is_empty)
			return;
	}
}

/* ---- requests ---------------------------------------------------------------------- */

/* A broken pipe may hide an answer: a server that refuses a body early says so and closes. */
static void lose_writing(struct conn *c)
{
	if (!repeat(c))
		read_all(c, true);
}

static ssize_t write_out(struct conn *c, struct str head, struct str body)
{
	struct iovec  iov[2] = { { (char *)(uintptr_t)head.p, head.n },
		                 { (char *)(uintptr_t)body.p, body.n } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t       n;

	do
		n = body.n > 0 ? sendmsg(c->fd, &msg, MSG_NOSIGNAL) : send(c->fd, head.p, head.n, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		n = 0;
	return n;
}

/* One write is one record of TLS or more; one that was begun has to be ended with the same bytes. */
static void send_by_carrier(struct conn *c)
{
	while (c->out_sent < c->out.n) {
		ssize_t n = carrier_send(c->carrier, c->out.p + c->out_sent, c->out.n - c->out_sent);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			lose_writing(c);
			return;
		}
		c->out_sent += (size_t)n;
	}
	buf_clear(&c->out);
	c->out_sent = 0;
}

static void send_request(struct conn *c)
{
	struct plain_transfer *t = c->transfer;
	struct buf            *head = c->carrier != NULL ? &c->out : &c->plain->head;
	struct str             body = t->request.body;
	ssize_t                n;
	size_t                 sent;

	buf_clear(head);
	plain_head_write(&t->request, &t->url, head);
	if (body.n <= BODY_SMALL) {
		buf_str(head, body);
		body.n = 0;
	}
	if (c->carrier != NULL) {
		buf_str(&c->out, body);
		send_by_carrier(c);
		return;
	}
	n = write_out(c, buf_view(head), body);
	sent = n > 0 ? (size_t)n : 0;
	if (sent == head->n + body.n)
		return;
	if (sent < head->n) {
		buf_add(&c->out, head->p + sent, head->n - sent);
		sent = head->n;
	}
	sent -= head->n;
	if (sent < body.n)
		c->body = (struct str){ body.p + sent, body.n - sent };
	if (n < 0)
		lose_writing(c);
}

/* Since it was started this process may have stood still, and others have taken over. What has
 * left of it is no whole request. */
static bool withhold(struct conn *c)
{
	const struct http_config *config = &c->plain->config;

	if (config->may_send == NULL || config->may_send(config->may_send_ctx))
		return false;
	end_with(c, PLAIN_WITHHELD, 0);
	return true;
}

static void send_rest(struct conn *c)
{
	if (c->carrier != NULL) {
		send_by_carrier(c);
		return;
	}
	const struct str head = { c->out.p + c->out_sent, c->out.n - c->out_sent };
	ssize_t          n = write_out(c, head, c->body);
	size_t           sent = (size_t)n;

	if (n < 0) {
		lose_writing(c);
	} else if (sent < head.n) {
		c->out_sent += sent;
	} else {
		buf_fini(&c->out);
		c->out_sent = 0;
		c->body = (struct str){ c->body.p + (sent - head.n), c->body.n - (sent - head.n) };
	}
}

/* ---- events ------------------------------------------------------------------------ */

static void start_sending(struct conn *c)
{
	c->state = CONN_BUSY;
	if (!withhold(c))
		send_request(c);
}

static void on_connected(struct conn *c, uint32_t events)
{
	int       error = 0;
	socklen_t n = sizeof error;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (error == 0 && (events & EPOLLOUT) == 0)
		return;
	heap_remove(&c->plain->steps, &c->step);
	if (error != 0) {
		drop_fd(c);
		try_addresses(c, error);
		return;
	}
	c->site->first = c->address;
	start_sending(c);
}

static void on_busy(struct conn *c, uint32_t events)
{
	/* TLS may have to read before it can write. */
	if (((events & EPOLLOUT) != 0 || c->carrier != NULL) && !has_sent_all(c) && !withhold(c))
		send_rest(c);
	if (c->state == CONN_BUSY && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		read_all(c, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
}

void conn_note(struct conn *c, uint32_t events)
{
	c->events |= events;
	list_remove(&c->news);
	list_push(&c->plain->news, &c->news);
}

void conn_event(struct conn *c)
{
	const uint32_t events = c->events;

	c->events = 0;
	switch (c->state) {
	case CONN_CONNECTING:
		on_connected(c, events);
		break;
	case CONN_BUSY:
		on_busy(c, events);
		break;
	case CONN_IDLE: /* closed by the server, or bytes that nobody asked for */
		if ((events & ~(uint32_t)EPOLLOUT) != 0 && (c->carrier == NULL || !is_quiet(c)))
			conn_close(c);
		break;
	case CONN_CLOSED:
		break;
	}
}

const char *conn_stage(const struct conn *c)
{
	if (c == NULL)
		return "its name is not resolved yet";
	if (c->state == CONN_CONNECTING)
		return "there is no connection yet";
	if (c->transfer->response.begun)
		return "the answer is not complete";
	return has_sent_all(c) ? "there is no answer" : "the request is not sent yet";
}
