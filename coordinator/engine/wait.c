/* SPDX-License-Identifier: Apache-2.0
 * wait.c - reading transactions and waiting for their end, wherever they are driven.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"
#include "coordinator/engine/progress.h"

#include <stdlib.h>
#include <string.h>

enum { REMOTE_EVERY_MS = 100 };

/* ---- reading -------------------------------------------------------------------------- */

/*
 * Nobody can have heard of more than what is in force here. While its commit is under way the log may have it
 * already, and whoever reads there, or gave the command it carries out, may have heard of it before us.
 */
static bool is_latest(struct engine *e, const struct owned *o)
{
	bool committing = o->sent;

#ifdef BUG_READS_OLD
	committing = false;
#endif
	return lease_may_act(e) && !o->unborn && !o->doubt && !committing;
}

/* Its commit is under way still, and what was read stands behind it: since a failover, or since it was read. */
static bool is_newer(struct engine *e, const struct owned *o, const struct row *rows, size_t n)
{
	return lease_may_act(e) && !o->unborn && !o->doubt && (n == 0 || rows[0].version < o->row.version);
}

static struct owned *find(struct engine *e, struct str gid)
{
	struct owned *o = owned_get(e, gid);

	return o != NULL ? o : failover_known(e, gid);
}

struct reading {
	struct asked   asked;
	struct engine *e;
	view_done     *done;
	void          *arg;
	struct str     gid;
	char           text[];
};

static void on_read(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct reading *r = arg;
	struct engine  *e = r->e;
	struct owned   *o, *loaded = NULL;

	turn_begin(e);
	o = find(e, r->gid);
	if (o != NULL && (is_latest(e, o) || (result == LOG_DONE && is_newer(e, o, rows, n))))
		result = LOG_DONE;
	else if (result == LOG_DONE && n > 0)
		o = loaded = owned_load(e, &rows[0]);
	else
		o = NULL;
	/* After a failover who knows of it may not have said so yet. */
	if (result == LOG_DONE && o == NULL && failover_holds(e))
		result = LOG_AWAY;
	reply_new(e, r->arg, (int)result, o)->view = r->done;
	if (loaded != NULL) {
		loaded->gone = true;
		owned_rest(e, loaded);
	}
	asked_free(&r->asked);
	turn_end(e);
}

void engine_read(struct engine *e, struct str gid, view_done *done, void *arg)
{
	struct owned   *o = find(e, gid);
	struct reading *r;

	if (o != NULL && is_latest(e, o)) {
		reply_new(e, arg, LOG_DONE, o)->view = done;
		return;
	}
	r = mem_alloc(sizeof *r + gid.n);
	*r = (struct reading){ .e = e, .done = done, .arg = arg, .gid = { r->text, gid.n } };
	memcpy(r->text, gid.p, gid.n);
	asked_put(e, &r->asked);
	e->ports.log.read(e->ports.log.ctx, &r->gid, 1, on_read, r);
}

void engine_view(struct engine *e, const struct row *row,
                 void (*show)(void *arg, const struct view *view), void *arg)
{
	const struct definition_port *d = &e->ports.definition;
	struct view  view = { .row = *row };
	struct arena arena = { 0 };
	struct txn   txn;
	struct note *notes, check;

	if (row->def != NULL) {
		txn = (struct txn){ .plan = d->plan(d->ctx, row->def), .version = row->version,
				    .phase = row->phase, .stuck = row->stuck, .paused = row->paused };
		if (progress_read(row->progress, row->format, row->created_at, &arena, &txn, &notes, &check,
		                  NULL)) {
			view.txn = &txn;
			view.notes = notes;
			view.check = &check;
		}
	}
	show(arg, &view);
	arena_fini(&arena);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static struct remote *remote_of(struct engine *e, struct str gid)
{
	struct table_node *node = table_get(&e->remotes, gid);
	struct remote     *r;

	if (node != NULL)
		return table_entry(node, struct remote, node);
	r = mem_alloc(sizeof *r + gid.n);
	memcpy(r->text, gid.p, gid.n);
	r->gid = (struct str){ r->text, gid.n };
	list_init(&r->waiters);
	table_put(&e->remotes, &r->node, r->gid);
	list_push(&e->remote_ring, &r->link);
	return r;
}

static void forget_remote(struct engine *e, struct remote *r)
{
	table_remove(&e->remotes, &r->node);
	list_remove(&r->link);
	free(r);
}

static void wait_remotely(struct engine *e, struct waiter *w, struct remote *r)
{
	w->o = NULL;
	w->remote = r;
	list_push(&r->waiters, &w->link);
	chore_soon(e, CHORE_REMOTE, REMOTE_EVERY_MS);
}

static void free_waiter(struct engine *e, struct waiter *w)
{
	struct remote *r = w->remote;

	heap_remove(&e->wait_timers, &w->timer);
	table_remove(&e->waits, &w->node);
	list_remove(&w->link);
	e->stats.waiters--;
	pool_give(&e->pool, w, sizeof *w);
	if (r != NULL && list_is_empty(&r->waiters))
		forget_remote(e, r);
}

static void answer(struct engine *e, struct waiter *w, enum log_result result, struct owned *o)
{
	struct reply *r = reply_new(e, w->arg, (int)result, o);

	r->view = w->done;
	r->handle = w->handle;
	free_waiter(e, w);
}

uint64_t engine_wait(struct engine *e, struct str gid, int64_t until, view_done *done, void *arg)
{
	struct owned  *o = owned_get(e, gid);
	struct waiter *w;

	if (e->gone || e->stats.waiters >= WAITERS_MAX || gid.n > GID_MAX) {
		struct reply *r = reply_new(e, arg, LOG_AWAY, NULL);

		r->view = done;
		return r->handle = ++e->last_handle;
	}
	w = pool_take(&e->pool, sizeof *w);
	w->handle = ++e->last_handle;
	w->done = done;
	w->arg = arg;
	e->stats.waiters++;
	table_put(&e->waits, &w->node, (struct str){ (const char *)&w->handle, sizeof w->handle });
	heap_put(&e->wait_timers, &w->timer, until);
	list_init(&w->link);
	if (o != NULL) {
		w->o = o;
		list_push(&o->waiters, &w->link);
	} else {
		wait_remotely(e, w, remote_of(e, gid));
		chore_soon(e, CHORE_REMOTE, 0);
	}
	return w->handle;
}

void engine_unwait(struct engine *e, uint64_t handle)
{
	struct table_node *node = table_get(&e->waits,
		(struct str){ (const char *)&handle, sizeof handle });

	if (node != NULL) {
		free_waiter(e, table_entry(node, struct waiter, node));
		return;
	}
	/* Answered already, but not told yet. */
	list_each(l, after, &e->replies) {
		struct reply *r = list_entry(l, struct reply, link);

		if (r->handle != handle)
			continue;
		list_remove(l);
		reply_free(e, r);
		return;
	}
}

void wait_move(struct engine *e, struct owned *o)
{
	struct remote *r;

	if (list_is_empty(&o->waiters))
		return;
	r = remote_of(e, o->row.gid);
	for (struct list *l; (l = list_pop(&o->waiters)) != NULL;)
		wait_remotely(e, list_entry(l, struct waiter, link), r);
}

void wait_ended(struct engine *e, struct owned *o)
{
	struct table_node *node = table_get(&e->remotes, o->row.gid);

	for (struct list *l = o->waiters.next; l != &o->waiters; l = o->waiters.next)
		answer(e, list_entry(l, struct waiter, link), LOG_DONE, o);
	if (node == NULL)
		return;
	struct remote *r = table_entry(node, struct remote, node);
	list_each(l, after, &r->waiters) {
		bool last = after == &r->waiters;

		answer(e, list_entry(l, struct waiter, link), LOG_DONE, o);
		if (last)
			return; /* r is gone with its last waiter */
	}
}

/* ---- time is up ---------------------------------------------------------------------------- */

struct last_look {
	struct asked   asked;
	struct engine *e;
	uint64_t       handle;
};

static void on_last_look(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct last_look  *look = arg;
	struct engine     *e = look->e;
	struct table_node *node = table_get(&e->waits,
		(struct str){ (const char *)&look->handle, sizeof look->handle });

	turn_begin(e);
	if (node != NULL) {
		struct owned *o = result == LOG_DONE && n > 0 ? owned_load(e, &rows[0]) : NULL;

		if (result == LOG_DONE && n == 0 && failover_holds(e))
			result = LOG_AWAY; /* who knows of it may not have said so yet */
		answer(e, table_entry(node, struct waiter, node), result, o);
		if (o != NULL) {
			o->gone = true;
			owned_rest(e, o);
		}
	}
	asked_free(&look->asked);
	turn_end(e);
}

/* The view as it is now, from wherever it is. */
static void give_up(struct engine *e, struct waiter *w)
{
	struct owned     *o = w->o;
	struct remote    *r = w->remote;
	struct last_look *look;
	struct str        gid = o != NULL ? o->row.gid : r->gid;

	if (o != NULL && is_latest(e, o)) {
		answer(e, w, LOG_DONE, o);
		return;
	}
	look = mem_alloc(sizeof *look);
	*look = (struct last_look){ .e = e, .handle = w->handle };
	asked_put(e, &look->asked);
	e->ports.log.read(e->ports.log.ctx, &gid, 1, on_last_look, look);
	list_remove(&w->link);
	w->o = NULL;
	w->remote = NULL;
	if (r != NULL && list_is_empty(&r->waiters))
		forget_remote(e, r);
}

void wait_timers(struct engine *e)
{
	int64_t now = now_ms(e);

	for (struct heap_node *n; (n = heap_first(&e->wait_timers)) != NULL && n->at <= now;) {
		heap_remove(&e->wait_timers, n);
		give_up(e, list_entry(n, struct waiter, timer));
	}
}

/* ---- those that others drive: one question for all ------------------------------------------- */

static void on_ended(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->ended_busy = false;
	for (size_t i = 0; result == LOG_DONE && i < n; i++) {
		struct owned *o;

		if (table_get(&e->remotes, rows[i].gid) == NULL)
			continue;
		o = owned_load(e, &rows[i]);
		o->gone = true;
		wait_ended(e, o);
		owned_rest(e, o);
	}
	if (!list_is_empty(&e->remote_ring))
		chore_soon(e, CHORE_REMOTE, e->remotes.n > ENDED_PAGE ? REMOTE_EVERY_MS / 10
		                                                      : REMOTE_EVERY_MS);
	turn_end(e);
}

void wait_remote(struct engine *e)
{
	struct str gids[ENDED_PAGE];
	size_t     n = 0;

	if (e->ended_busy || list_is_empty(&e->remote_ring))
		return;
	while (n < ENDED_PAGE && n < e->remotes.n) { /* who was asked for goes to the end */
		struct list *l = list_pop(&e->remote_ring);

		gids[n++] = list_entry(l, struct remote, link)->gid;
		list_push(&e->remote_ring, l);
	}
	e->ended_busy = true;
	e->ports.log.ended(e->ports.log.ctx, gids, n, on_ended, e);
}

void wait_away(struct engine *e)
{
	struct heap_node  *timer;
	struct table_node *node;

	while ((timer = heap_first(&e->wait_timers)) != NULL)
		answer(e, list_entry(timer, struct waiter, timer), LOG_AWAY, NULL);
	while ((node = table_next(&e->waits, NULL)) != NULL) /* the few whose last look is under way */
		answer(e, table_entry(node, struct waiter, node), LOG_AWAY, NULL);
}
