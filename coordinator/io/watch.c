/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/watch.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct watched {
	uint8_t wanted;     /* EPOLLIN | EPOLLOUT as libcurl wants now */
	uint8_t registered; /* as the kernel knows */
	bool    announced;  /* watch_closing() will come */
};

enum { EVENTS = 64, THROWN_MAX = 64 };

static struct watched *entry(struct watch *w, int fd)
{
	if ((size_t)fd >= w->cap) {
		size_t cap = w->cap ? w->cap : 64;

		while (cap <= (size_t)fd)
			cap *= 2;
		w->table = mem_grow(w->table, cap, sizeof w->table[0]);
		memset(w->table + w->cap, 0, (cap - w->cap) * sizeof w->table[0]);
		w->cap = cap;
	}
	return &w->table[fd];
}

static void tell_kernel(struct watch *w, int fd, struct watched *it, uint8_t mask)
{
	struct epoll_event ev = { .events = mask, .data = { .fd = fd } };
	int op = mask == 0 ? EPOLL_CTL_DEL : it->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	w->epoll_ctls++;
	/* An error means that the kernel knows it after all, or no more: then the other way. */
	if (epoll_ctl(w->epoll_fd, op, fd, &ev) != 0 && mask != 0) {
		op = op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
		epoll_ctl(w->epoll_fd, op, fd, &ev);
	}
	it->registered = mask;
}

void watch_set(struct watch *w, int fd, bool in, bool out)
{
	struct watched *it = entry(w, fd);

	it->wanted = (uint8_t)((in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0));
	if (it->wanted == 0) {
		/* The resolver's wake-up pipe is closed without a word: it must not stay. */
		if (!it->announced && it->registered != 0)
			tell_kernel(w, fd, it, 0);
		return;
	}
	/* A registration for reading may stay while only writing is wanted, never the
	 * other way round: a socket is writable nearly always. */
	if ((it->wanted & ~it->registered) != 0 || (it->registered & EPOLLOUT & ~it->wanted) != 0)
		tell_kernel(w, fd, it, it->wanted);
}

void watch_opened(struct watch *w, int fd)
{
	*entry(w, fd) = (struct watched){ .announced = true };
}

void watch_closing(struct watch *w, int fd)
{
	struct watched *it = entry(w, fd);

	if (it->registered != 0)
		tell_kernel(w, fd, it, 0);
	*it = (struct watched){ 0 };
}

/* A resting connection that can be read: its server closed it, or sent bytes that nobody asked for. libcurl
 * looks for the first only and would take the second for the answer to its next request. */
static void end_resting(int fd)
{
	char thrown[4096];

	shutdown(fd, SHUT_RDWR);
	for (int i = 0; i < THROWN_MAX && recv(fd, thrown, sizeof thrown, MSG_DONTWAIT) > 0; i++)
		continue;
}

static void on_poll(uv_poll_t *poll, int status, int uv_events)
{
	struct watch      *w = poll->data;
	struct epoll_event events[EVENTS];
	int                n = epoll_wait(w->epoll_fd, events, EVENTS, 0);

	(void)status;
	(void)uv_events;
	for (int i = 0; i < n; i++) {
		int             fd = events[i].data.fd;
		struct watched *it = entry(w, fd);
		bool            broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;

		if (it->announced && it->wanted == 0 && it->registered != 0)
			end_resting(fd);
		/* A resting connection, or one closed in this very batch. */
		if ((it->wanted & events[i].events) == 0 && !(broken && it->wanted != 0)) {
			if (it->registered != 0)
				tell_kernel(w, fd, it, it->wanted);
			continue;
		}
		w->ready(w->arg, fd, (events[i].events & EPOLLIN) != 0,
		         (events[i].events & EPOLLOUT) != 0, broken);
	}
}

bool watch_open(struct watch *w, uv_loop_t *loop, watch_ready *ready, void *arg)
{
	*w = (struct watch){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .ready = ready, .arg = arg };
	if (w->epoll_fd < 0)
		return false;
	if (uv_poll_init(loop, &w->poll, w->epoll_fd) != 0) {
		close(w->epoll_fd);
		return false;
	}
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_poll);
	return true;
}

void watch_close(struct watch *w, uv_close_cb closed)
{
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, closed);
}

void watch_free(struct watch *w)
{
	close(w->epoll_fd);
	free(w->table);
}
