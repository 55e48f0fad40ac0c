/* SPDX-License-Identifier: Apache-2.0
 * resolver.h - names to addresses off the loop, one short-lived thread for each question.
 *
 * libuv's pool answers two questions at a time: two names whose server hangs would stop all
 * others, and its questions cannot be left behind when the loop closes.
 */
#ifndef COORDINATOR_IO_RESOLVER_H
#define COORDINATOR_IO_RESOLVER_H

#include <netdb.h>
#include <stdint.h>
#include <uv.h>

enum { RESOLVER_THREADS = 256, RESOLVER_NAME_MAX = 255 };

struct resolver;

/* status: 0, or an EAI_ code. The list dies with the callback. */
typedef void resolver_done(void *arg, int status, const struct addrinfo *list);
/* NULL: the system refuses. */
struct resolver *resolver_open(uv_loop_t *loop);
/* Done comes in a later turn, once, unless the resolver is closed before. */
void resolver_ask(struct resolver *r, const char *name, resolver_done *done, void *arg);

/* Waits for nobody: questions under way end on their own. */
typedef void resolver_closed(void *arg);
void resolver_close(struct resolver *r, resolver_closed *closed, void *arg);

#endif
