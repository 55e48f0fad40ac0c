/* SPDX-License-Identifier: Apache-2.0
 * failover.c - a standby was promoted that may lack the last commits: what living replicas know comes back.
 *
 *   met --> nothing is decided or called for a row of ours --> ours in the log are listed
 *                                                                |              |
 *                                        it stands where we do   |              | older, or not there
 *                                                                v              v
 *                                                              proven <------ restored
 *
 * A transaction whose last commits were answered may have been acted upon: a confirm may be on its way. Were
 * the older row driven on, it could decide the other way. So whoever lives writes what it knows over the older
 * row, version by version the same as before, and only forward: the log becomes what it was. Two who knew the
 * same row at different times restore it in any order, since the newer version stays. Meanwhile nobody takes a
 * row of somebody else, nor a parked one, for a TTL: who has not come back by then has lost its lease.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"
#include "coordinator/engine/progress.h"

#include <stdlib.h>

enum { RESTORE_PAGE = 200, RESTORE_BYTES = 1 << 18, AGAIN_MS = 100, AGAIN_LATE_MS = 500 };

/* ---- rows that ended or were parked lately ------------------------------------------- */

static size_t size_of(const struct owned *o)
{
	size_t n = sizeof *o + o->room * (2 * sizeof(struct step) + sizeof(struct note)) + o->row.gid.n +
	           o->row.definition.n + o->row.document.n + o->row.input.n + o->row.labels.n +
	           o->row.traceparent.n + o->row.progress.n;

	for (uint16_t i = 0; i < o->room; i++)
		n += o->notes[i].output.n + o->notes[i].error.n;
	return n;
}

static void forget(struct engine *e, struct owned *o)
{
	table_remove(&e->kept_gids, &o->seat.node);
	list_remove(&o->seat.link);
	e->kept_bytes -= size_of(o);
	owned_free(o);
}

static void forget_oldest(struct engine *e, struct list *list)
{
	forget(e, list_entry(list->next, struct owned, seat.link));
}

/* It was parked, taken up and has ended or was parked again: the older state is of no use. */
static void forget_older(struct engine *e, struct str gid)
{
	struct table_node *node = table_get(&e->kept_gids, gid);

	if (node != NULL)
		forget(e, table_entry(node, struct owned, seat.node));
}

/* Nothing drives it any more, and nobody looks at it: only a failover asks for it. */
void failover_keep(struct engine *e, struct owned *o)
{
	size_t size = size_of(o);

	forget_older(e, o->row.gid);
	if (size > e->config.keep_bytes) {
		owned_free(o);
		return;
	}
	while (e->kept_bytes + size > e->config.keep_bytes && !list_is_empty(&e->kept))
		forget_oldest(e, &e->kept);
	while (e->kept_bytes + size > e->config.keep_bytes && !list_is_empty(&e->recalled))
		forget_oldest(e, &e->recalled);
	e->kept_bytes += size;
	table_put(&e->kept_gids, &o->seat.node, o->row.gid);
	list_push(o->unproven ? &e->recalled : &e->kept, &o->seat.link);
	if (o->unproven) /* an old server's last answer: the new one does not know */
		chore_soon(e, CHORE_RESTORE, 0);
}

struct owned *failover_known(struct engine *e, struct str gid)
{
	bool               none = list_is_empty(&e->recalled) && list_is_empty(&e->recalling);
	struct table_node *node = none ? NULL : table_get(&e->kept_gids, gid);
	struct owned      *o = node != NULL ? table_entry(node, struct owned, seat.node) : NULL;

	return o != NULL && o->unproven ? o : NULL;
}

bool failover_has_seen(const struct engine *e, const struct row *row)
{
	const struct table_node *node = table_get(&e->kept_gids, row->gid);

	return node != NULL && row->epoch <= table_entry(node, struct owned, seat.node)->row.epoch;
}

void failover_fini(struct engine *e)
{
	while (!list_is_empty(&e->kept))
		forget_oldest(e, &e->kept);
	while (!list_is_empty(&e->recalled))
		forget_oldest(e, &e->recalled);
	while (!list_is_empty(&e->recalling))
		forget_oldest(e, &e->recalling);
	table_fini(&e->kept_gids);
}

/* ---- it is met ------------------------------------------------------------------------ */

/* A full TTL on the new server: by then every replica that was alive has said what it knows. */
bool failover_holds(struct engine *e)
{
#ifdef BUG_NO_FAILOVER_HOLD
	return false;
#endif
	if (!e->holding)
		return false;
	if (!e->acting || boot_ms(e) < e->hold_until ||
	    boot_ms(e) < e->sees_since + (int64_t)e->config.ttl_ms)
		return true;
	e->holding = false;
	if (e->slept)
		chore_soon(e, CHORE_MINE, 0);
	e->slept = false;
	say(e, TRACE_INFO, "failover_over", (struct str){ 0 }, "restored=%llu diverged=%llu",
	    (unsigned long long)e->stats.restored, (unsigned long long)e->stats.diverged);
	return false;
}

/* Silent for a TTL before the failover: others may have fenced us and gone on with our rows, and fence and rows
 * may be among what was lost. Until all who live have said what they know, that the log stands where we do
 * proves nothing. */
bool failover_doubts_us(struct engine *e)
{
	return e->slept && failover_holds(e);
}

static void recall(struct engine *e)
{
	for (struct list *l; (l = list_pop(&e->kept)) != NULL;) {
		list_entry(l, struct owned, seat.link)->unproven = true;
		list_push(&e->recalled, l);
	}
}

/* The inbox has lost its last rows, too, and verdicts with what they speak of. The same id twice is one command. */
static void put_orders_again(struct engine *e)
{
	list_each(l, after, &e->orders) {
		struct order *order = list_entry(l, struct order, link);

		if (order->done == NULL || (order->state != ORDER_ASKING && order->state != ORDER_SHOWING))
			continue;
		if (order->state == ORDER_ASKING && !order->asked)
			order_put(e, order);
		else
			order->put_again = true;
	}
}

static void live_through(struct engine *e)
{
	e->slept = boot_ms(e) < e->slept_until || boot_ms(e) - e->answered_at >= (int64_t)e->config.ttl_ms;
	/* What is still under way was asked of the old server. */
	e->mine_life = e->reload_life = e->adopt_life = e->due_life = e->members_life = 0;
	e->mine_after[0] = '\0';
#ifndef BUG_NO_RESTORE
	fold_wake_all(e);
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		o->unproven = !o->unborn;
	}
	list_each(l, after, &e->resting)
		list_entry(l, struct owned, seat.link)->unproven = true;
	recall(e);
#endif
	commit_unblock(e); /* who held rows locked is gone */
	put_orders_again(e);
	doubt_forget(e);
	lease_anew(e);
	chore_soon(e, CHORE_MINE, 0);
}

void engine_on_failover(struct engine *e, int64_t ago_ms, bool lived)
{
	int64_t left = (int64_t)e->config.ttl_ms - ago_ms;

	turn_begin(e);
	e->failovers++;
	e->stats.failovers++;
	if (left > 0) {
		e->holding = true;
		e->hold_until = boot_ms(e) + left;
	}
	say(e, TRACE_WARN, "failover", (struct str){ 0 }, "owned=%zu ago_ms=%lld lived=%d", e->owned_n,
	    (long long)ago_ms, lived);
	if (lived)
		live_through(e);
	turn_end(e);
}

/* ---- does the log stand where we do? ---------------------------------------------------- */

static void prove(struct engine *e, struct owned *o)
{
	o->unproven = false;
	if (o->doubt || o->commit != COMMIT_NONE)
		return;
	if (o->readable)
		calls_start(e, o, &o->txn);
	drive_run(e, o);
}

/* One of ours as the log lists it. */
void failover_look(struct engine *e, const struct row *key)
{
	struct owned *o = owned_awake(e, key->gid); /* who sleeps is not in question */

	if (failover_doubts_us(e))
		return;
	if (o != NULL && o->unproven && !o->behind && key->epoch == o->row.epoch && key->version == o->row.version)
		prove(e, o);
}

/* All of ours have been listed since the failover: what is not proven now is older there, or missing. */
void failover_listed(struct engine *e)
{
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		if (o != NULL && o->unproven && !o->doubt && !o->behind && o->commit == COMMIT_NONE)
			failover_behind(e, o);
	}
}

void failover_behind(struct engine *e, struct owned *o)
{
	o->behind = true;
	list_push(&e->behind, &o->commit_link);
	chore_soon(e, CHORE_RESTORE, 0);
}

/* ---- restoring ------------------------------------------------------------------------------ */

static void leave_behind(struct engine *e, struct owned *o, bool restored)
{
	o->behind = false;
	o->unproven = failover_doubts_us(e);
	if (restored) {
		e->stats.restored++;
		say(e, TRACE_INFO, "restored", o->row.gid, "version=%llu", (unsigned long long)o->row.version);
	}
	if (o->doubt && o->unproven) { /* until the others have spoken, and then it is read */
		list_push(&e->doubts, &o->commit_link);
		chore_soon(e, CHORE_RELOAD, AGAIN_LATE_MS);
	} else if (o->doubt) { /* more may have been done than we know */
		doubt_reread(e, o);
	} else if (o->unproven) {
		return; /* listed and looked at again */
	} else if (restored) {
		prove(e, o);
	} else {
		o->diverged = true;
		doubt_add(e, o);
	}
}

static void end_restore(struct engine *e)
{
	for (struct list *l; (l = list_pop(&e->restoring)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, commit_link);
		bool          restored = o->restored;

		o->restored = false;
		leave_behind(e, o, restored);
	}
	for (struct list *l; (l = list_pop(&e->recalling)) != NULL;) {
		list_entry(l, struct owned, seat.link)->unproven = false;
		list_push(&e->kept, l);
	}
}

static void put_back(struct engine *e)
{
	for (struct list *l; (l = list_pop(&e->restoring)) != NULL;)
		list_push(&e->behind, l);
	for (struct list *l; (l = list_pop(&e->recalling)) != NULL;)
		list_push(&e->recalled, l);
	chore_soon(e, CHORE_RESTORE, AGAIN_MS);
}

static void on_restore(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->restore_busy = false;
	if (result == LOG_DONE && e->restore_failovers == e->failovers) {
		for (size_t i = 0; i < n; i++) {
			struct owned *o = owned_get(e, rows[i].gid);

			if (o != NULL && o->behind)
				o->restored = true;
		}
		end_restore(e);
		e->restore_max = 2 * e->restore_max < RESTORE_PAGE ? 2 * e->restore_max : 0;
		chore_soon(e, CHORE_RESTORE, 0);
	} else if (result == LOG_BAD_DATA && e->restore_n > 1) {
		put_back(e);
		e->restore_max = e->restore_n / 2; /* until the bad one stands alone */
	} else if (result == LOG_BAD_DATA) {
		/* It was stored before; now it is not. The log's own row goes on. */
		end_restore(e);
		chore_soon(e, CHORE_RESTORE, 0);
	} else {
		put_back(e);
		if (result == LOG_FENCED && e->restore_life == e->life && !e->gone)
			lease_over(e, "the log does not take back what it knew");
	}
	turn_end(e);
}

struct page {
	struct row *rows;
	size_t     *text_at;
	struct buf  text;
	size_t      n, n_max, bytes;
};

static bool has_room(const struct page *p)
{
	return p->n < p->n_max && p->bytes + p->text.n < RESTORE_BYTES;
}

static void add(struct page *p, const struct owned *o)
{
	size_t      at = p->text.n;
	struct row *row = &p->rows[p->n];

	*row = o->row;
	if (!uuid_is_nil(row->owner)) /* perhaps of an earlier life: where we left it, it is ours to go on with */
		row->owner = o->e->me;
	progress_write(&p->text, &o->txn, o->row.created_at, o->notes, &o->check);
	row->format = PROGRESS_FORMAT;
	row->progress.n = p->text.n - at;
	p->text_at[p->n++] = at;
	p->bytes += o->row.input.n + o->row.document.n;
}

static void fill(struct engine *e, struct page *p)
{
	for (struct list *l; has_room(p) && (l = list_pop(&e->behind)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (!o->readable) { /* nothing is known that the log does not know better */
			leave_behind(e, o, false);
			continue;
		}
		add(p, o);
		list_push(&e->restoring, l);
	}
	for (struct list *l; has_room(p) && (l = list_pop(&e->recalled)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, seat.link);
		struct owned *again = owned_get(e, o->row.gid);

		list_push(&e->recalling, l);
		if (again == NULL || again->unborn) /* else it is ours again, and newer */
			add(p, o);
	}
}

void failover_restore(struct engine *e)
{
	struct page p = { .n_max = e->restore_max > 0 ? e->restore_max : RESTORE_PAGE };

	if (e->restore_busy || !e->acting) /* acting again asks again */
		return;
	if (list_is_empty(&e->behind) && list_is_empty(&e->recalled))
		return;
	p.rows = mem_array(RESTORE_PAGE, sizeof *p.rows);
	p.text_at = mem_array(RESTORE_PAGE, sizeof *p.text_at);
	fill(e, &p);
	for (size_t i = 0; i < p.n; i++)
		p.rows[i].progress.p = p.text.p + p.text_at[i];
	if (p.n == 0) {
		end_restore(e);
	} else {
		e->restore_busy = true;
		e->restore_life = e->life;
		e->restore_failovers = e->failovers;
		e->restore_n = p.n;
		e->ports.log.restore(e->ports.log.ctx, e->me, p.rows, p.n, on_restore, e);
	}
	free(p.rows);
	free(p.text_at);
	buf_fini(&p.text);
}
