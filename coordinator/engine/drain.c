/* SPDX-License-Identifier: Apache-2.0
 * drain.c - leaving: open calls may end, the rest is released for others, then the lease is given back.
 */
#include "coordinator/engine/engine_internal.h"

enum { DRAIN_EVERY_MS = 20 };

/* Work that was not begun is for whoever takes it, now; else when its time comes. */
static int64_t due_of(struct engine *e, const struct owned *o)
{
	bool waits = o->resume_due || o->tick_due || o->held || o->txn.check.open_op != 0;

	for (uint16_t i = 0; i < o->txn.step_count; i++)
		waits = waits || o->txn.steps[i].open_op != 0;
	if (waits)
		return now_ms(e);
	return o->timer_at != 0 ? o->timer_at : AT_NEVER;
}

static void release_idle(struct engine *e)
{
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		if (o->commit == COMMIT_NONE && !o->unborn && !o->doubt && !o->unproven && o->readable &&
		    o->open_calls == 0 && list_is_empty(&o->queue))
			drive_release(e, o, due_of(e, o));
	}
}

/* Their answers are not waited for: that they may have arrived is written down as an
 * attempt that taught nothing. */
static void end_calls(struct engine *e)
{
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		for (uint16_t i = 0; i < o->room; i++)
			if (o->calls[i] != NULL)
				calls_give_up(e, o->calls[i]);
		if (o->check_call != NULL)
			calls_give_up(e, o->check_call);
	}
}

static void leave(struct engine *e)
{
	e->gone = true;
	e->acting = false;
	e->ports.lease.close(e->ports.lease.ctx);
	members_forget(e);
	orders_away(e);
	wait_away(e);
	for (int c = 0; c < CHORE_COUNT; c++)
		chore_stop(e, (enum chore)c);
	say(e, TRACE_INFO, "gone", (struct str){ 0 }, "left=%zu", e->owned_n);
}

static void on_retire(void *arg, enum log_result result)
{
	struct engine *e = arg;

	turn_begin(e);
	e->retiring = false;
	if (result == LOG_DONE || result == LOG_FENCED)
		leave(e);
	else
		chore_soon(e, CHORE_DRAIN, DRAIN_EVERY_MS);
	turn_end(e);
}

void drain_work(struct engine *e)
{
	int64_t boot = boot_ms(e);

	if (e->gone || e->retiring)
		return;
	if (boot >= e->drain_give_up || e->life == 0) {
		leave(e); /* what is left is adopted: the lease ends with us */
		return;
	}
	chore_in(e, CHORE_DRAIN, DRAIN_EVERY_MS);
	fold_wake_all(e);
	if (boot >= e->drain_until)
		end_calls(e);
	release_idle(e);
	if (e->owned_n > 0 || commit_is_under_way(e) || !e->enrolled)
		return;
	e->retiring = true;
	e->ports.log.retire(e->ports.log.ctx, e->me, on_retire, e);
}

void engine_drain(struct engine *e, uint32_t grace_ms, drained_done *done, void *arg)
{
	if (e->draining)
		return;
	e->draining = true;
	e->drained = done;
	e->drained_arg = arg;
	e->drain_until = boot_ms(e) + grace_ms;
	e->drain_give_up = e->drain_until + e->config.ttl_ms;
	say(e, TRACE_INFO, "draining", (struct str){ 0 }, "owned=%zu grace_ms=%u", e->owned_n, grace_ms);
	chore_in(e, CHORE_DRAIN, 0);
}
