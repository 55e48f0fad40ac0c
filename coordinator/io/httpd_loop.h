/* SPDX-License-Identifier: Apache-2.0
 * httpd_loop.h - an HTTP listener (any pollable) on the libuv loop.
 */
#ifndef COORDINATOR_IO_HTTPD_LOOP_H
#define COORDINATOR_IO_HTTPD_LOOP_H

#include "coordinator/base/pollable.h"

#include <uv.h>

struct httpd_loop;

/* The pollable lives until closed has been called. */
struct httpd_loop *httpd_loop_open(uv_loop_t *loop, const struct pollable *source);
/* Before every sleep, in front of what sends the work that requests make: runs the
 * source if it is ready, and arms its timer. */
void httpd_loop_flush(struct httpd_loop *l);
/* closed (may be NULL) comes in a later turn. */
void httpd_loop_close(struct httpd_loop *l, void (*closed)(void *arg), void *arg);

#endif
