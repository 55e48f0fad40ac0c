/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/stub.h"

#include "coordinator/base/heap.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/text.h"
#include "tests/bench/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 << 10, EVENTS = 256 };

struct peer {
	struct heap_node timer; /* armed while its answer is held back */
	int              fd;    /* -1: gone */
	bool             busy, is_listener;
	struct buf       in;
};

struct stub {
	int         epoll;
	struct heap timers;
};

static const char answer_ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n"
				"{\"id\":\"0123456789abcdef\",\"state\":\"ok\"}";
static const char answer_refused[] = "HTTP/1.1 422 Unprocessable Content\r\nContent-Type: application/json\r\n"
				     "Content-Length: 20\r\n\r\n{\"reason\":\"no room\"}";

static void drop(struct stub *s, struct peer *p)
{
	heap_remove(&s->timers, &p->timer);
	close(p->fd);
	buf_fini(&p->in);
	free(p);
}

/* Answers are small and each connection has one request at a time: the socket takes them whole. */
static bool reply(struct peer *p, const char *text, size_t n)
{
	p->busy = false;
	return send(p->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* False: it must be dropped. */
static bool serve(struct stub *s, struct peer *p)
{
	struct wire_message m;

	while (!p->busy && p->in.n > 0 && wire_read(buf_view(&p->in), &m)) {
		struct str path = wire_path(m.head);
		uint64_t   ms = 0;
		bool       refuse = str_starts(path, STR("/refuse"));
		bool       hang = str_starts(path, STR("/hang"));

		if (str_starts(path, STR("/delay/")))
			ms = strtoull(path.p + 7, NULL, 10);
		memmove(p->in.p, p->in.p + m.size, p->in.n - m.size);
		p->in.n -= m.size;
		p->busy = true;
		if (hang)
			return true;
		if (ms > 0)
			heap_put(&s->timers, &p->timer, wire_now_ns() + (int64_t)ms * 1000000);
		else if (refuse ? !reply(p, answer_refused, sizeof answer_refused - 1)
		                : !reply(p, answer_ok, sizeof answer_ok - 1))
			return false;
	}
	return true;
}

static void on_readable(struct stub *s, struct peer *p)
{
	ssize_t n;

	buf_reserve(&p->in, PIECE);
	n = recv(p->fd, p->in.p + p->in.n, PIECE, MSG_DONTWAIT);
	if (n > 0)
		p->in.n += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || !serve(s, p))
		drop(s, p);
}

static bool watch(struct stub *s, int fd, bool is_listener)
{
	struct peer       *p = mem_alloc(sizeof *p);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };

	p->fd = fd;
	p->is_listener = is_listener;
	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void on_connection(struct stub *s, int listener)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (!watch(s, fd, false))
			close(fd);
	}
}

static int listen_on(uint32_t host, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(host) } };
	int                fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 4096) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Sends what is due; how long to sleep. False: until something comes. */
static bool run_timers(struct stub *s, struct timespec *pause)
{
	struct heap_node *node;
	int64_t           now = wire_now_ns();

	while ((node = heap_first(&s->timers)) != NULL && node->at <= now) {
		struct peer *p = (struct peer *)(void *)node;

		heap_remove(&s->timers, node);
		if (!reply(p, answer_ok, sizeof answer_ok - 1) || !serve(s, p))
			drop(s, p);
	}
	if (node != NULL)
		*pause = (struct timespec){ .tv_sec = (node->at - now) / 1000000000,
			                    .tv_nsec = (node->at - now) % 1000000000 };
	return node != NULL;
}

int stub_run(uint16_t port)
{
	struct stub        s = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	struct epoll_event events[EVENTS];

	for (uint32_t i = 1; i <= STUB_HOSTS; i++) {
		int fd = listen_on(0x7f000000 + i, port);

		if (fd < 0 || !watch(&s, fd, true)) {
			fprintf(stderr, "bench: the stub cannot listen on 127.0.0.%u:%u: %s\n", i, port, strerror(errno));
			return 1;
		}
	}
	for (;;) {
		struct timespec pause;
		bool            is_short = run_timers(&s, &pause);
		int             n = epoll_pwait2(s.epoll, events, EVENTS, is_short ? &pause : NULL, NULL);

		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (p->is_listener)
				on_connection(&s, p->fd);
			else
				on_readable(&s, p);
		}
	}
}
