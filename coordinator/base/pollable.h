/* SPDX-License-Identifier: Apache-2.0
 * pollable.h - a thing with descriptors of its own, run by whoever owns the loop.
 */
#ifndef COORDINATOR_BASE_POLLABLE_H
#define COORDINATOR_BASE_POLLABLE_H

#include <stdbool.h>

enum { POLLABLE_FDS = 2 };

struct pollable {
	void *ctx;
	int   fds[POLLABLE_FDS];        /* run when one is readable; -1: none */
	void (*run)(void *ctx);
	int  (*timeout_ms)(void *ctx);  /* run again after this; 0: at once; -1: not before a descriptor says so */
	bool (*is_ready)(void *ctx);    /* has work that no descriptor tells of: run it before the loop sleeps */
};

#endif
