/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/loop.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct loop {
	uv_loop_t         uv;
	uv_prepare_t      prepare;
	uv_timer_t        timer;
	uv_signal_t       term, intr;
	struct loop_hooks hooks;
	int64_t           timer_at; /* what the timer is armed for */
	uint64_t          lag_us, turns;
	bool              stopping;
	unsigned          open_handles;
};

static struct timespec boot_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts;
}

int64_t loop_boot_ms(void)
{
	struct timespec ts = boot_time();

	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void on_timer(uv_timer_t *timer)
{
	struct loop    *l = timer->data;
	struct timespec ts = boot_time();
	int64_t         late_us = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 - l->timer_at * 1000;

	l->lag_us = (l->lag_us * 7 + (uint64_t)(late_us > 0 ? late_us : 0)) / 8;
	l->timer_at = INT64_MAX;
	l->hooks.tick(l->hooks.ctx);
}

static void arm(struct loop *l, int64_t at)
{
	if (at == l->timer_at)
		return;
	l->timer_at = at;
	if (at == INT64_MAX) {
		uv_timer_stop(&l->timer);
		return;
	}
	int64_t delay = at - loop_boot_ms();
	uv_update_time(&l->uv);
	uv_timer_start(&l->timer, on_timer, delay > 0 ? (uint64_t)delay : 0, 0);
}

/* Everything that happened in this turn is known now: send what it wants, then
 * sleep until the next thing is due. A flush may start work that is due at once. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct loop *l = prepare->data;

	l->hooks.flush(l->hooks.ctx);
	arm(l, l->hooks.next_at(l->hooks.ctx));
	l->turns++;
}

static void on_signal(uv_signal_t *sig, int number)
{
	struct loop *l = sig->data;

	l->hooks.stop(l->hooks.ctx, number);
}

struct loop *loop_open(void)
{
	struct loop *l = mem_alloc(sizeof *l);

	/* uv_loop_init fails only without memory or file descriptors: nothing can follow. */
	if (uv_loop_init(&l->uv) != 0)
		abort();
	l->timer_at = INT64_MAX;
	uv_prepare_init(&l->uv, &l->prepare);
	uv_timer_init(&l->uv, &l->timer);
	uv_signal_init(&l->uv, &l->term);
	uv_signal_init(&l->uv, &l->intr);
	l->prepare.data = l->timer.data = l->term.data = l->intr.data = l;
	l->open_handles = 4;
	signal(SIGPIPE, SIG_IGN);
	return l;
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

void loop_run(struct loop *l, const struct loop_hooks *hooks)
{
	l->hooks = *hooks;
	l->stopping = false;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_signal_start(&l->term, on_signal, SIGTERM);
	uv_signal_start(&l->intr, on_signal, SIGINT);
	while (!l->stopping)
		uv_run(&l->uv, UV_RUN_ONCE);
	uv_prepare_stop(&l->prepare);
	uv_timer_stop(&l->timer);
	uv_signal_stop(&l->term);
	uv_signal_stop(&l->intr);
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

static void on_closed(uv_handle_t *handle)
{
	struct loop *l = handle->data;

	l->open_handles--;
}

static void on_settle_timeout(uv_timer_t *timer)
{
	loop_stop(timer->data);
}

void loop_settle(struct loop *l, unsigned ms)
{
	l->stopping = false;
	uv_timer_start(&l->timer, on_settle_timeout, ms, 0);
	uv_unref((uv_handle_t *)&l->timer);
	while (!l->stopping && uv_run(&l->uv, UV_RUN_ONCE) != 0)
		continue;
	uv_timer_stop(&l->timer);
}

bool loop_close(struct loop *l)
{
	uv_close((uv_handle_t *)&l->prepare, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
	uv_close((uv_handle_t *)&l->term, on_closed);
	uv_close((uv_handle_t *)&l->intr, on_closed);
	while (l->open_handles > 0)
		uv_run(&l->uv, UV_RUN_NOWAIT);
	int rc = uv_loop_close(&l->uv);
	if (rc != 0 && l->uv.active_reqs.count > 0)
		return false;
	assert(rc == 0 && "a handle was left open");
	(void)rc;
	free(l);
	return true;
}

uint64_t loop_turns(const struct loop *l)
{
	return l->turns;
}

uint64_t loop_lag_us(const struct loop *l)
{
	return l->lag_us;
}
