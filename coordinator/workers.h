/* SPDX-License-Identifier: Apache-2.0
 * workers.h - `--workers N`: one parent that only starts, restarts and stops N replicas.
 */
#ifndef COORDINATOR_WORKERS_H
#define COORDINATOR_WORKERS_H

enum {
	WORKERS_MAX = 128,
	EXIT_SETTINGS = 78 /* a worker that ends so would end so again: all stop */
};

typedef int worker_main(void *ctx, unsigned index); /* gives the exit status */

/* Forks count workers and watches over them: one that dies is started again
 * (after a second, if it did not live longer than ten); SIGTERM and SIGINT go
 * to all, a second one kills. Returns the exit status. Call it before there
 * is any thread, loop or connection. */
int workers_run(unsigned count, worker_main *run, void *ctx);

#endif
