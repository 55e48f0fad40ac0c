/* SPDX-License-Identifier: Apache-2.0
 * engine.c - the frame: opening, time, answers to the outside, begins, and what it tells of itself.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- clock and chance ------------------------------------------------------------------ */

int64_t now_ms(const struct engine *e)
{
	return e->ports.clock.now_ms(e->ports.clock.ctx);
}

int64_t boot_ms(const struct engine *e)
{
	return e->ports.clock.boot_ms(e->ports.clock.ctx);
}

uint64_t random_u64(const struct engine *e)
{
	return e->ports.clock.random(e->ports.clock.ctx);
}

int64_t about(const struct engine *e, int64_t ms)
{
	return ms - (int64_t)(random_u64(e) % (uint64_t)(ms / 2 + 1));
}

/* ---- chores ------------------------------------------------------------------------------ */

static void suspend_late(struct engine *e)
{
	(void)lease_may_act(e);
}

static void (*const chores[])(struct engine *e) = {
	[CHORE_BEAT] = lease_beat,       [CHORE_LEASE] = lease_work,
	[CHORE_SUSPEND] = suspend_late,  [CHORE_MEMBERS] = members_look,
	[CHORE_LOOKS] = fence_looks,     [CHORE_DUE] = adopt_due,
	[CHORE_INBOX] = inbox_look,      [CHORE_MINE] = doubt_mine,
	[CHORE_RELOAD] = doubt_reload,   [CHORE_COMMIT] = commit_retry,
	[CHORE_BEGINS] = commit_begins,  [CHORE_HELD] = calls_held,
	[CHORE_ROOM] = calls_wake,
	[CHORE_RESTORE] = failover_restore, [CHORE_REPORT] = report_speed,   [CHORE_SWEEP] = sweep_old,
	[CHORE_REMOTE] = wait_remote,    [CHORE_VERDICTS] = inbox_ask,
	[CHORE_DRAIN] = drain_work
};

void chore_in(struct engine *e, enum chore c, int64_t ms)
{
	e->chore_at[c] = boot_ms(e) + (ms > 0 ? ms : 0);
}

void chore_soon(struct engine *e, enum chore c, int64_t ms)
{
	int64_t at = boot_ms(e) + ms;

	if (at < e->chore_at[c])
		e->chore_at[c] = at;
}

void chore_stop(struct engine *e, enum chore c)
{
	e->chore_at[c] = INT64_MAX;
}

/* ---- log lines ------------------------------------------------------------------------------ */

void say(struct engine *e, enum trace_level level, const char *event, struct str gid,
         const char *fmt, ...)
{
	char    detail[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	e->ports.trace.line(e->ports.trace.ctx, level, event, gid, detail);
}

/* ---- answers to the outside -------------------------------------------------------------------- */

struct reply *reply_new(struct engine *e, void *arg, int result, struct owned *o)
{
	struct reply *r = pool_take(&e->pool, sizeof *r);

	r->arg = arg;
	r->result = result;
	r->o = o;
	list_push(&e->replies, &r->link);
	return r;
}

void reply_free(struct engine *e, struct reply *r)
{
	free(r->err);
	pool_give(&e->pool, r, sizeof *r);
}

static void give(struct engine *e, struct reply *r)
{
	struct view        view;
	const struct view *shown = NULL;

	if (r->o != NULL) {
		owned_view(r->o, &view);
		shown = &view;
	}
	if (r->begin != NULL)
		r->begin(r->arg, (enum begin_result)r->result, shown);
	else if (r->command != NULL)
		r->command(r->arg, (enum command_result)r->result, r->verdict, shown, r->err);
	else
		r->view(r->arg, (enum log_result)r->result, shown);
	reply_free(e, r);
}

void turn_begin(struct engine *e)
{
	(void)lease_may_act(e);
}

/*
 * Who is told may ask for more at once: that is answered in a later turn. What rests now is freed
 * behind the answers that show it; what begins to rest meanwhile waits for the next turn.
 */
void turn_end(struct engine *e)
{
	size_t       n = 0;
	struct list *last = e->resting.prev;

	for (struct list *l = e->replies.next; l != &e->replies; l = l->next)
		n++;
	for (; n > 0 && !list_is_empty(&e->replies); n--)
		give(e, list_entry(list_pop(&e->replies), struct reply, link));
	for (struct list *l = NULL; last != &e->resting && l != last;) {
		l = list_pop(&e->resting);
		struct owned *o = list_entry(l, struct owned, seat.link);
		if (o->keep)
			failover_keep(e, o);
		else
			owned_free(o);
	}
	fold_drowsy(e);
	if (e->gone && e->drained != NULL) {
		drained_done *done = e->drained;

		e->drained = NULL;
		done(e->drained_arg);
	}
}

/* ---- time -------------------------------------------------------------------------------------- */

static void transaction_timers(struct engine *e)
{
	int64_t now = now_ms(e);

	for (struct heap_node *n; e->acting && (n = heap_first(&e->timers)) != NULL && n->at <= now;)
		drive_timer(e, fold_wake(e, list_entry(n, struct seat, timer)));
}

void engine_tick(struct engine *e)
{
	turn_begin(e);
	for (int c = 0; c < CHORE_COUNT; c++) {
		if (e->chore_at[c] > boot_ms(e))
			continue;
		e->chore_at[c] = INT64_MAX;
		chores[c](e);
	}
	transaction_timers(e);
	order_timers(e);
	wait_timers(e);
	turn_end(e);
	engine_flush(e);
}

static int64_t sooner(int64_t at, const struct heap *h, int64_t offset)
{
	const struct heap_node *n = heap_first(h);

	if (n == NULL || (offset > 0 && n->at > INT64_MAX - offset))
		return at;
	return n->at + offset < at ? n->at + offset : at;
}

int64_t engine_next_at(const struct engine *e)
{
	int64_t boot = boot_ms(e), at = INT64_MAX;
	int64_t offset = boot - now_ms(e);

	if (!list_is_empty(&e->replies))
		return boot;
	for (int c = 0; c < CHORE_COUNT; c++)
		if (e->chore_at[c] < at)
			at = e->chore_at[c];
	if (e->acting)
		at = sooner(at, &e->timers, offset);
	at = sooner(at, &e->order_timers, 0);
	return sooner(at, &e->wait_timers, offset);
}

void engine_on_log_back(struct engine *e)
{
	turn_begin(e);
	e->log_away = false;
	e->commit_pause_ms = e->reload_pause_ms = 0;
	e->commit_at = 0;
	commit_unblock(e);
	if (e->silent) {
		e->silent = false;
		e->wanted_at = 0;
		chore_soon(e, CHORE_BEAT, 0);
	}
	if (!e->gone) {
		chore_soon(e, CHORE_COMMIT, 0);
		chore_soon(e, CHORE_RELOAD, 0);
		doubt_mine_soon(e, 0);
		if (!e->lease_open || !e->enrolled)
			chore_soon(e, CHORE_LEASE, 0);
	}
	turn_end(e);
}

/* ---- begin ---------------------------------------------------------------------------------------- */

static bool begin_refused(struct engine *e, const struct row *row, bool *alone, enum begin_result *why)
{
	*why = BEGIN_AWAY;
	if (!lease_may_act(e) || e->draining || e->log_away)
		return true;
	*why = BEGIN_BUSY;
	if (e->owned_n >= e->config.transactions_max)
		return true;
	*why = BEGIN_REFUSED;
	if (row->gid.n == 0 || row->gid.n > GID_MAX || row->def == NULL)
		return true;
	*why = BEGIN_BARRED;
	return barred_refuses(e, row->gid, alone);
}

void engine_begin(struct engine *e, const struct row *row, int64_t start_at, int64_t deadline_at,
                  begin_done *done, void *arg)
{
	struct owned        *o = owned_get(e, row->gid);
	bool                 joins = o != NULL && (o->unborn || o->doubt) && !e->gone;
	struct begin_waiter *b;
	enum begin_result    why;
	bool                 alone = false;

#ifdef BUG_SECOND_BEGIN_AWAY
	joins = joins && lease_may_act(e) && !e->draining && !e->log_away;
#endif
	struct owned *known = o == NULL ? failover_known(e, row->gid) : !o->unborn && !o->doubt ? o : NULL;
	if (known != NULL && lease_may_act(e)) {
		reply_new(e, arg, BEGIN_EXISTS, known)->begin = done;
		return;
	}
	/* While its insert is under way, or its fate unknown, whoever asks again learns what becomes of it:
	 * "unavailable" would be a promise that it is not there. */
	if (!joins && begin_refused(e, row, &alone, &why)) {
		reply_new(e, arg, (int)why, NULL)->begin = done;
		return;
	}
	b = pool_take(&e->pool, sizeof *b);
	b->done = done;
	b->arg = arg;
	b->inserts = o == NULL;
#ifdef BUG_FIRST_BEGIN_IS_HIS
	b->inserts = o == NULL || list_is_empty(&o->begins);
#endif
	if (joins)
		chore_soon(e, CHORE_BEGINS, BEGIN_DOUBT_MS);
	if (o == NULL) {
		o = owned_make(e, row, start_at, deadline_at);
		o->unborn = true;
		owned_put(e, o);
		commit_want(e, o, COMMIT_BEGIN);
		o->alone = o->again = alone;
	}
	list_push(&o->begins, &b->link);
#ifdef BUG_2XX_BEFORE_COMMIT
	owned_answer_begins(e, o, BEGIN_DONE, BEGIN_EXISTS);
#endif
}

/* ---- open and close --------------------------------------------------------------------------------- */

struct engine *engine_open(const struct engine_config *config, const struct ports *ports)
{
	struct engine *e = mem_alloc(sizeof *e);

	assert(config->batch_rows > 0 && config->beat_ms > 0);
	e->config = *config;
	e->ports = *ports;
	e->by_gid.seed = e->remotes.seed = e->strange.seed = random_u64(e); /* gids come from outside */
	e->row_limit = config->batch_rows;
	e->outputs = mem_array(TXN_STEPS_MAX + 1, sizeof *e->outputs);
	e->call_scratch = mem_array(TXN_STEPS_MAX + 1, sizeof *e->call_scratch);
	list_init(&e->owned);
	list_init(&e->resting);
	list_init(&e->drowsy);
	list_init(&e->collecting);
	list_init(&e->settles);
	list_init(&e->settled_lately);
	list_init(&e->barred);
	for (size_t i = 0; i < BATCHES_MAX; i++) {
		e->batches[i].e = e;
		list_init(&e->batches[i].members);
		list_init(&e->batches[i].settles);
	}
	list_init(&e->doubts);
	list_init(&e->reloading);
	list_init(&e->taken);
	list_init(&e->held);
	list_init(&e->put_off);
	list_init(&e->waking);
	list_init(&e->strangers);
	list_init(&e->asking);
	list_init(&e->behind);
	list_init(&e->restoring);
	list_init(&e->kept);
	list_init(&e->recalled);
	list_init(&e->recalling);
	list_init(&e->orders);
	list_init(&e->remote_ring);
	list_init(&e->replies);
	list_init(&e->asked);
	e->stats.speed = 1;
	e->reported_at = boot_ms(e);
	for (int c = 0; c < CHORE_COUNT; c++)
		e->chore_at[c] = INT64_MAX;
	return e;
}

static void free_begins(struct owned *o)
{
	for (struct list *l; (l = list_pop(&o->begins)) != NULL;)
		free(list_entry(l, struct begin_waiter, link));
}

static void free_queue(struct owned *o)
{
	for (struct list *l; (l = list_pop(&o->queue)) != NULL;) {
		struct queued *q = list_entry(l, struct queued, link);

		if (q->call == NULL)
			queued_free(q);
	}
}

static void free_list(struct list *list)
{
	for (struct list *l; (l = list_pop(list)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, seat.link);

		free_begins(o);
		free_queue(o);
		owned_free(o);
	}
}

void asked_put(struct engine *e, struct asked *a)
{
	list_push(&e->asked, &a->link);
}

void asked_free(struct asked *a)
{
	list_remove(&a->link);
	free(a);
}

void engine_close(struct engine *e)
{
	wait_away(e); /* they stand on the lists of what is freed next */
	commit_fini(e);
	fold_wake_all(e);
	free_list(&e->owned);
	free_list(&e->resting);
	failover_fini(e);
	doubt_forget(e);
	members_fini(e);
	for (struct list *l = e->orders.next; l != &e->orders; l = e->orders.next)
		order_free(e, list_entry(l, struct order, link));
	for (struct list *l; (l = list_pop(&e->replies)) != NULL;)
		reply_free(e, list_entry(l, struct reply, link));
	for (struct list *l = e->asked.next; l != &e->asked; l = e->asked.next)
		asked_free(list_entry(l, struct asked, link));
	counts_fini(e);
	table_fini(&e->by_gid);
	table_fini(&e->waits);
	table_fini(&e->remotes);
	heap_fini(&e->timers);
	heap_fini(&e->order_timers);
	heap_fini(&e->wait_timers);
	buf_fini(&e->fold_text);
	pool_fini(&e->pool);
	free(e->outputs);
	free(e->call_scratch);
	free(e);
}

/* ---- what it tells ------------------------------------------------------------------------------------ */

static enum engine_state state_of(const struct engine *e)
{
	if (e->gone)
		return ENGINE_GONE;
	if (e->draining)
		return ENGINE_DRAINING;
	if (!e->acting)
		return e->was_live ? ENGINE_SUSPENDED : ENGINE_STARTING;
	return boot_ms(e) < e->act_until ? ENGINE_LIVE : ENGINE_SUSPENDED;
}

void engine_stats(const struct engine *e, struct engine_stats *out)
{
	*out = e->stats;
	out->state = state_of(e);
	out->me = e->me;
	out->lease_age_ms = e->lease_open ? boot_ms(e) - e->answered_at : -1;
	out->owned = e->owned_n;
	out->queued_changes = e->collecting_n;
	out->open_calls = e->stats.calls - e->stats.calls_answered - e->calls_aborted;
	out->lease_ttl_ms = e->config.ttl_ms;
	out->weight = e->config.weight;
	out->held_calls = e->held_n;
	out->orders = e->orders_n;
	counts_lags(e, out);
	counts_members(e, out);
}

const char *engine_state_name(enum engine_state s)
{
	switch (s) {
	case ENGINE_STARTING:
		return "starting";
	case ENGINE_LIVE:
		return "live";
	case ENGINE_SUSPENDED:
		return "suspended";
	case ENGINE_DRAINING:
		return "draining";
	case ENGINE_GONE:
		return "gone";
	}
	return "unknown";
}

static const char *const commands[] = {
#define X(name, text) [COMMAND_##name] = text,
	COMMANDS(X)
#undef X
};

const char *command_name(enum command_kind k)
{
	assert((size_t)k < sizeof commands / sizeof commands[0]);
	return commands[k];
}

bool command_parse(struct str name, enum command_kind *out)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (str_is(name, commands[i])) {
			*out = (enum command_kind)i;
			return true;
		}
	return false;
}
