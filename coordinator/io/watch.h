/* SPDX-License-Identifier: Apache-2.0
 * watch.h - libcurl's sockets in an epoll set of our own, which the loop watches as one descriptor.
 *
 * libcurl says "no more interest" after every request and "interest" before the
 * next on the same connection. Told to the kernel, that costs some 13 us a call
 * (six epoll_ctl and more); here the registration simply stays.
 */
#ifndef COORDINATOR_IO_WATCH_H
#define COORDINATOR_IO_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct watched;
typedef void watch_ready(void *arg, int fd, bool in, bool out, bool broken);

struct watch {
	uv_poll_t       poll;
	int             epoll_fd;
	struct watched *table;  /* by descriptor */
	size_t          cap;
	uint64_t        epoll_ctls; /* for the benchmark */
	watch_ready    *ready;
	void           *arg;
};

/* False: no descriptor left. ready is called from the loop. */
bool watch_open(struct watch *w, uv_loop_t *loop, watch_ready *ready, void *arg);
void watch_set(struct watch *w, int fd, bool in, bool out); /* neither: no interest now */
void watch_opened(struct watch *w, int fd); /* a socket that watch_closing() will be told about */
void watch_closing(struct watch *w, int fd); /* just before close(fd) */
void watch_close(struct watch *w, uv_close_cb closed); /* of w->poll; then watch_free() */
void watch_free(struct watch *w);

#endif
