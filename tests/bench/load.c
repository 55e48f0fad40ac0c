/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/load.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "tests/bench/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Who was turned away rests, or a server that is down would be asked a million times. */
#define REST_NS  ((int64_t)10000000)
#define DRAIN_NS ((int64_t)90000000000)
enum { PIECE = 16 << 10, EVENTS = 256 };

struct client {
	struct list      link; /* on idle, or on resting */
	struct load_host host;
	int              fd;   /* -1: not connected */
	bool             wants_room;
	unsigned         call;
	size_t           sent;
	char             gid[sizeof LOAD_GID];
	int64_t          meant_at, rest_until;
	struct buf       in;
};

struct load {
	const struct load_config *config;
	struct load_result       *result;
	struct buf                requests[LOAD_CALLS_MAX];
	size_t                    gid_at[LOAD_CALLS_MAX]; /* 0: there is none */
	struct client            *clients;
	struct list               idle, resting;
	unsigned                  open;    /* operations under way */
	uint64_t                  begun;
	int64_t                   start, end;
	int                       epoll;
};

/* ---- connections ------------------------------------------------------------------ */

static bool connect_client(struct load *l, struct client *c)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(c->host.port),
		                  .sin_addr = { htonl(c->host.address) } };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	int                one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c->wants_room = false;
	buf_clear(&c->in);
	if (c->fd < 0)
		return false;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, (struct sockaddr *)&at, sizeof at) == 0 &&
	    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) == 0)
		return true;
	close(c->fd);
	c->fd = -1;
	return false;
}

static void want_room(struct load *l, struct client *c, bool wants)
{
	struct epoll_event ev = { .events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c };

	if (c->wants_room == wants)
		return;
	c->wants_room = wants;
	epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* ---- operations ---------------------------------------------------------------------- */

/* With a rate, what was meant to begin before the end is begun late rather than never. */
static bool may_begin(const struct load *l, int64_t at)
{
	return at < l->end && (l->config->count == 0 || l->begun < l->config->count);
}

static void end_failed(struct load *l, struct client *c, unsigned status)
{
	if (l->result->failed++ == 0)
		l->result->first_failure = status;
	l->open--;
	c->rest_until = wire_now_ns() + REST_NS;
	list_push(&l->resting, &c->link);
}

static void lose(struct load *l, struct client *c)
{
	close(c->fd);
	c->fd = -1;
	end_failed(l, c, 0);
}

static void make_gid(struct load *l, struct client *c)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	const uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;

	snprintf(c->gid, sizeof c->gid, "%08x-%04x%09u", (unsigned)(ms >> 16), (unsigned)(ms & 0xffff),
	         (unsigned)(l->begun % 1000000000));
}

static void send_more(struct load *l, struct client *c)
{
	const struct buf *request = &l->requests[c->call];

	if (l->gid_at[c->call] > 0) /* clients share the request, and one may have sent a half of it */
		memcpy(request->p + l->gid_at[c->call], c->gid, sizeof c->gid - 1);
	while (c->sent < request->n) {
		ssize_t n = send(c->fd, request->p + c->sent, request->n - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN) {
			lose(l, c);
			return;
		}
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	want_room(l, c, c->sent < request->n);
}

static void begin(struct load *l, struct client *c, int64_t meant_at)
{
	l->open++;
	l->begun++;
	c->meant_at = meant_at;
	make_gid(l, c);
	c->call = 0;
	c->sent = 0;
	if (c->fd < 0 && !connect_client(l, c))
		end_failed(l, c, 0);
	else
		send_more(l, c);
}

static struct str member(struct str body, const char *name)
{
	const char *p = memmem(body.p, body.n, name, strlen(name)), *end;

	if (p == NULL)
		return STR("?");
	p += strlen(name);
	end = memchr(p, '"', body.n - (size_t)(p - body.p));
	return (struct str){ p, end != NULL ? (size_t)(end - p) : 0 };
}

static void note_accepted(FILE *f, struct str body)
{
	struct str gid = member(body, "\"gid\":\""), phase = member(body, "\"phase\":\"");

	fprintf(f, "%.*s %.*s\n", (int)gid.n, gid.p, (int)phase.n, phase.p);
}

static void end_done(struct load *l, struct client *c)
{
	int64_t now = wire_now_ns();

	l->result->done++;
	l->result->in_time += now <= l->end;
	histogram_add(&l->result->latency, (uint64_t)(now - c->meant_at));
	l->open--;
	if (l->config->rate > 0 || !may_begin(l, now))
		list_push(&l->idle, &c->link);
	else
		begin(l, c, now);
}

static void on_answer(struct load *l, struct client *c, const struct wire_message *m)
{
	unsigned status = wire_status(m->head);

	if (status / 100 == 2 && l->config->accepted != NULL)
		note_accepted(l->config->accepted, m->body);
	c->in.n = 0; /* one request at a time: nothing can stand behind it */
	if (status / 100 != 2) {
		end_failed(l, c, status);
	} else if (++c->call == l->config->calls) {
		end_done(l, c);
	} else {
		c->sent = 0;
		send_more(l, c);
	}
}

static void on_event(struct load *l, struct client *c, uint32_t events)
{
	struct wire_message m;
	bool                is_busy = list_is_empty(&c->link);
	ssize_t             n;

	if (events & EPOLLOUT && is_busy)
		send_more(l, c);
	if (c->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return;
	buf_reserve(&c->in, PIECE);
	n = recv(c->fd, c->in.p + c->in.n, PIECE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->in.n += (size_t)n;
	if (n <= 0 && is_busy) {
		lose(l, c);
	} else if (n <= 0) { /* a server may close what is idle */
		close(c->fd);
		c->fd = -1;
	} else if (is_busy && wire_read(buf_view(&c->in), &m)) {
		on_answer(l, c, &m);
	}
}

/* ---- time ------------------------------------------------------------------------------ */

static int64_t meant_at(const struct load *l, uint64_t number)
{
	return l->start + (int64_t)((double)number * 1e9 / l->config->rate);
}

static bool is_over(const struct load *l)
{
	int64_t now = wire_now_ns();

	return (l->open == 0 && !may_begin(l, l->config->rate > 0 ? meant_at(l, l->begun) : now)) ||
	       now >= l->end + DRAIN_NS;
}

/* Begins what is due; the moment at which to look again. */
static int64_t begin_due(struct load *l)
{
	int64_t      now = wire_now_ns(), next = now + 100000000;
	struct list *node;

	while (!list_is_empty(&l->resting)) {
		struct client *c = list_entry(l->resting.next, struct client, link);

		if (c->rest_until > now) {
			next = c->rest_until < next ? c->rest_until : next;
			break;
		}
		list_remove(&c->link);
		list_push(&l->idle, &c->link);
	}
	while (!list_is_empty(&l->idle)) {
		int64_t at = l->config->rate > 0 ? meant_at(l, l->begun) : now;

		if (!may_begin(l, at))
			return now + 100000000;
		if (at > now)
			return at < next ? at : next;
		node = list_pop(&l->idle);
		begin(l, list_entry(node, struct client, link), at);
	}
	return next;
}

static void wait_until(struct load *l, int64_t at)
{
	struct epoll_event events[EVENTS];
	int64_t            ns = at - wire_now_ns();
	struct timespec    ts = { .tv_sec = ns > 0 ? ns / 1000000000 : 0, .tv_nsec = ns > 0 ? ns % 1000000000 : 0 };
	int                n = epoll_pwait2(l->epoll, events, EVENTS, &ts, NULL);

	for (int i = 0; i < n; i++)
		on_event(l, events[i].data.ptr, events[i].events);
}

/* ---- all of it ------------------------------------------------------------------------- */

static void make_requests(struct load *l)
{
	const struct load_config *c = l->config;

	for (unsigned i = 0; i < c->calls; i++) {
		buf_fmt(&l->requests[i], "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
		                         "%sContent-Length: %zu\r\n\r\n",
		        c->paths[i], c->hosts[0].port, c->headers != NULL ? c->headers : "", c->body.n);
		const size_t start = l->requests[i].n;
		const char  *gid = memmem(c->body.p, c->body.n, LOAD_GID, sizeof LOAD_GID - 1);

		buf_str(&l->requests[i], c->body);
		l->gid_at[i] = gid != NULL ? start + (size_t)(gid - c->body.p) : 0;
	}
}

static bool open_clients(struct load *l)
{
	const struct load_config *config = l->config;

	l->clients = mem_array(config->clients, sizeof *l->clients);
	for (unsigned i = 0; i < config->clients; i++) {
		struct client *c = &l->clients[i];

		c->host = config->hosts[i % config->host_count];
		c->fd = -1;
		list_init(&c->link);
		list_push(&l->idle, &c->link);
	}
	for (unsigned i = 0; i < config->clients; i++)
		if (!connect_client(l, &l->clients[i]))
			return false;
	return true;
}

static void close_clients(struct load *l)
{
	for (unsigned i = 0; i < l->config->clients; i++) {
		if (l->clients[i].fd >= 0)
			close(l->clients[i].fd);
		buf_fini(&l->clients[i].in);
	}
	for (unsigned i = 0; i < l->config->calls; i++)
		buf_fini(&l->requests[i]);
	free(l->clients);
	close(l->epoll);
}

bool load_run(const struct load_config *c, struct load_result *r)
{
	struct load l = { .config = c, .result = r, .epoll = epoll_create1(EPOLL_CLOEXEC) };
	bool        opened;

	memset(r, 0, sizeof *r);
	r->seconds = c->seconds;
	list_init(&l.idle);
	list_init(&l.resting);
	make_requests(&l);
	opened = open_clients(&l);
	l.start = wire_now_ns();
	l.end = l.start + (int64_t)(c->seconds * 1e9);
	while (opened && !is_over(&l))
		wait_until(&l, begin_due(&l));
	r->failed += l.open; /* never answered */
	close_clients(&l);
	return opened;
}
