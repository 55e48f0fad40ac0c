/* SPDX-License-Identifier: Apache-2.0
 * stub.h - a participant that costs next to nothing: HTTP/1.1 with keep-alive on one epoll set.
 */
#ifndef TESTS_BENCH_STUB_H
#define TESTS_BENCH_STUB_H

#include <stdint.h>

/* The first word of a path says what it answers:
 *   /refuse    422
 *   /delay/MS  200 after so many ms
 *   /hang      nothing, ever
 *   any other  200
 * 200 comes with an output of 38 bytes. */

enum { STUB_HOSTS = 10 };

/* Listens on this port of 127.0.0.1 to 127.0.0.10 and serves until it is killed. 1: it could not listen. */
int stub_run(uint16_t port);

#endif
