/* SPDX-License-Identifier: Apache-2.0
 * httpd_world.h - a listener on a real loop, handlers that do what their paths say, and clients on real sockets.
 */
#ifndef TESTS_UNIT_HTTPD_WORLD_H
#define TESTS_UNIT_HTTPD_WORLD_H

#include "api/httpd.h"
#include "coordinator/io/httpd_loop.h"

enum { BODY_MAX = 1000, CONNECTIONS_MAX = 8, RECEIVE_MS = 600, IDLE_MS = 1500, BIG_BYTES = 8 << 20, MANY = 3000 };

struct server {
	uv_loop_t          loop;
	struct httpd      *httpd;
	struct httpd_loop *glue;
	uint16_t           port;
	struct exchange   *held[64];  /* of GET /hold and /watch, until let go */
	size_t             held_n;
	unsigned           handled, over, gone, logged;
	bool               closed;
	size_t             body_cap;  /* of the exchange that was over last */
};

extern struct server server;

/* One server at a time; by_library: libmicrohttpd. What cannot be set up aborts. */
void open_server(bool by_library);
void close_server(void);
void turn(void);              /* one run of the loop, without waiting */
void turns(unsigned ms);
void let_go(void);            /* answers all that are held */

/* ---- clients ----------------------------------------------------------------------- */
int dial(void);
void push(int fd, const char *text, size_t n);
void push_blind(int fd, const char *text); /* whether or not anybody takes it */
void say(int fd, const char *text);
/* All that came until want is in it, ms have passed, or the end: "<closed>" or "<reset>" behind it then. Stays until
 * the next call. */
const char *hear(int fd, const char *want, unsigned ms);

#endif
