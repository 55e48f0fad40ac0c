/* SPDX-License-Identifier: Apache-2.0
 * loop.h - the one event loop of a process: signals, one timer, and a hook before it sleeps.
 */
#ifndef COORDINATOR_IO_LOOP_H
#define COORDINATOR_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop;

struct loop_hooks {
	void   *ctx;
	void  (*flush)(void *ctx);   /* before every sleep */
	int64_t (*next_at)(void *ctx); /* CLOCK_BOOTTIME ms, INT64_MAX: nothing; asked after flush */
	void  (*tick)(void *ctx);    /* next_at has come */
	void  (*stop)(void *ctx, int signal_number); /* SIGTERM, SIGINT */
};

struct loop *loop_open(void);
uv_loop_t   *loop_uv(struct loop *l);
/* Hooks are called from loop_run only. */
void         loop_run(struct loop *l, const struct loop_hooks *hooks);
void         loop_stop(struct loop *l);  /* loop_run returns after this turn */
/* Turns the loop without hooks until all handles that others close are closed, at most ms. */
void         loop_settle(struct loop *l, unsigned ms);
/* False: a thread still looks up a host name and cannot be called back. The loop stays, and exit() would wait
 * for that thread: the process ends by _exit(). */
bool         loop_close(struct loop *l) __attribute__((warn_unused_result));
int64_t      loop_boot_ms(void);
uint64_t     loop_turns(const struct loop *l); /* grows by one before each sleep */
uint64_t     loop_lag_us(const struct loop *l); /* how late the timer was, smoothed */

#endif
