/* SPDX-License-Identifier: Apache-2.0
 * doubt.c - what the log holds is not known: read it again, with the epoch moved on so that
 * nothing sent before can still apply. And rows that are ours without our knowing.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	MINE_EVERY_MS = 30000,
	MINE_AGAIN_MS = 3000,  /* after a loss: what was lost may land late */
	MINE_AGAIN = 2,        /* so often */
	RETRY_FIRST_MS = 50, RETRY_MAX_MS = 1000,
	STRANDED_MS = 500,     /* an owner who knows of it has done something by then, mostly */
	STRANGERS_MAX = 4000   /* those of a page, and those that we were told of */
};

/* ---- into doubt -------------------------------------------------------------------- */

static void requeue_order(struct owned *o)
{
	struct queued *q = o->deciding;

	o->deciding = NULL;
	if (q == NULL)
		return;
	if (q->order == NULL) {
		queued_free(q); /* its call will be made again */
		return;
	}
	if (q->order->from_inbox) { /* if it is not done, it is still there */
		order_free(o->e, q->order);
		queued_free(q);
		return;
	}
	note_free(&q->note);
	q->note = (struct note){ 0 };
	q->order->doubt = true;
	list_push(o->queue.next, &q->link); /* first */
	o->queue_n++;
}

void doubt_reread(struct engine *e, struct owned *o)
{
	list_push(&e->doubts, &o->commit_link);
	chore_soon(e, CHORE_RELOAD, 0);
}

void doubt_add(struct engine *e, struct owned *o)
{
	assert(!o->gone && !o->sent);
	o->ending = o->commit == COMMIT_CHANGE && phase_is_ended(o->next.phase);
	o->let_go = o->let_go || o->commit == COMMIT_RELEASE || o->commit == COMMIT_BAD_ROW;
	o->commit = COMMIT_NONE;
	o->doubt = true;
	o->doubt_since = boot_ms(e);
	if (o->grown != NULL)
		e->ports.definition.drop(e->ports.definition.ctx, o->grown);
	o->grown = NULL;
	o->tick_due = o->resume_due = false;
	o->stuck_due = STUCK_NONE;
	owned_abort_calls(e, o);
	requeue_order(o);
	heap_remove(&e->timers, &o->seat.timer);
#ifdef BUG_STRANDED
	owned_drop(e, o, BEGIN_LOST);
	return;
#endif
	doubt_reread(e, o);
	chore_soon(e, CHORE_BEGINS, BEGIN_DOUBT_MS);
}

static void tell_begins(struct engine *e, struct list *doubts)
{
	for (struct list *l = doubts->next; l != doubts; l = l->next) {
		struct owned *o = list_entry(l, struct owned, commit_link);
		int64_t       left = o->doubt_since + BEGIN_DOUBT_MS - boot_ms(e);

		if (left <= 0)
			owned_answer_begins(e, o, BEGIN_LOST, BEGIN_LOST);
		else
			chore_soon(e, CHORE_BEGINS, left);
	}
}

/* A broken connection is back soon, and then we know. But the database may be away for an hour. */
void doubt_begins(struct engine *e)
{
	tell_begins(e, &e->doubts);
	tell_begins(e, &e->reloading);
	tell_begins(e, &e->taken);
}

/* ---- a begin whose gid is taken ------------------------------------------------------ */

struct taken {
	struct asked   asked;
	struct engine *e;
	char           gid[GID_MAX + 1];
};

static void on_taken(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct taken  *t = arg;
	struct engine *e = t->e;
	struct owned  *o = owned_get(e, str_of(t->gid)), *shown = NULL;

	turn_begin(e);
	if (o != NULL && o->taken) { /* else its row came to us meanwhile, or this life is over */
		if (result == LOG_DONE && n > 0) {
			shown = owned_load(e, &rows[0]);
			shown->gone = true;
			owned_show_begins(e, o, shown);
		}
		owned_drop(e, o, BEGIN_LOST);
	}
	if (shown != NULL) {
		doubt_tell_owner(e, &rows[0]);
		owned_rest(e, shown);
	}
	asked_free(&t->asked);
	turn_end(e);
}

/* It stays where it is until then: whoever asks for the gid meanwhile waits with the others. */
void begin_taken(struct engine *e, struct owned *o)
{
	struct taken *t = mem_alloc(sizeof *t);

	t->e = e;
	str_cstr(o->row.gid, t->gid, sizeof t->gid);
	asked_put(e, &t->asked);
	o->commit = COMMIT_NONE;
	o->taken = o->doubt = true;
	o->doubt_since = boot_ms(e);
	list_push(&e->taken, &o->commit_link);
	chore_soon(e, CHORE_BEGINS, BEGIN_DOUBT_MS);
	e->ports.log.read(e->ports.log.ctx, &o->row.gid, 1, on_taken, t);
}

/* ---- reading again --------------------------------------------------------------------- */

/* The row as it is now replaces what was thought; who waits stays. */
static struct owned *replace(struct engine *e, struct owned *old, const struct row *row)
{
	struct owned *o = owned_load(e, row);

	for (struct list *l; (l = list_pop(&old->queue)) != NULL;) {
		struct queued *q = list_entry(l, struct queued, link);

		if (q->order == NULL)
			continue;
		q->order->o = o;
		q->order->doubt = false; /* the epoch has moved on: what was lost cannot land any more */
		list_push(&o->queue, l);
		o->queue_n++;
	}
	old->queue_n = 0;
	for (struct list *l; (l = list_pop(&old->waiters)) != NULL;) {
		list_entry(l, struct waiter, link)->o = o;
		list_push(&o->waiters, l);
	}
	for (struct list *l; (l = list_pop(&old->begins)) != NULL;)
		list_push(&o->begins, l);
	owned_drop(e, old, BEGIN_LOST);
	return o;
}

static void take(struct engine *e, struct owned *o, bool adopted)
{
	if (o->txn.same_since == 0) /* but for this, which was one version */
		o->txn.same_since = o->row.version - 1;
	o->inbox_seen = e->inbox_reads;
	owned_put(e, o);
	if (o->row.adoptions >= ADOPTIONS_POISON && o->readable && o->row.stuck == STUCK_NONE) {
		o->resume_due = true;
		o->adopted = adopted;
		drive_stuck(e, o, STUCK_POISON);
		return;
	}
	drive_resume(e, o, adopted);
}

/* Only a failover asks for it. */
static void remember(struct engine *e, const struct row *row)
{
	struct owned *o = owned_load(e, row);

	o->gone = true;
	o->keep = o->readable;
	owned_rest(e, o);
}

static void diverged(struct engine *e, const struct owned *o)
{
	e->stats.diverged++;
	say(e, TRACE_ERROR, "diverged", o->row.gid, "version=%llu phase=%s", (unsigned long long)o->row.version,
	    phase_name(o->row.phase));
}

/* It could not be restored and is ours all the same: older than what we knew, or decided the other way. Reading
 * it again has counted its version up. */
static bool tells_otherwise(const struct owned *o, const struct row *row)
{
	return row->version <= o->row.version ||
	       (o->row.phase != row->phase && (phase_is_ended(o->row.phase) || !txn_may_move(o->row.phase, row->phase)));
}

void take_row(struct engine *e, const struct row *row, bool adopted)
{
	struct owned *old = owned_get(e, row->gid);
	struct owned *o;

	if (!uuid_eq(row->owner, e->me))
		return;
	if (old == NULL) {
#ifndef BUG_TAKES_LATE
		if (failover_has_seen(e, row)) /* an answer that comes late: what it says is over */
			return;
#endif
		take(e, owned_load(e, row), adopted);
		return;
	}
	if (row->epoch <= old->row.epoch && !old->doubt)
		return; /* an answer that comes late */
	if (old->commit == COMMIT_BEGIN && old->sent)
		old->given = true;
	if (old->commit != COMMIT_NONE && (old->commit != COMMIT_BEGIN || old->sent)) {
		remember(e, row); /* that commit misses, and then it is read again */
		return;
	}
	bool unborn = old->unborn, doubt = old->doubt;
	if (old->diverged && tells_otherwise(old, row))
		diverged(e, old);
	bool same = row->created_at == old->row.created_at &&
	            memcmp(row->hash, old->row.hash, sizeof row->hash) == 0;
	o = replace(e, old, row);
	owned_answer_begins(e, o, unborn && same ? BEGIN_DONE : BEGIN_EXISTS, BEGIN_EXISTS);
	if (unborn && same) { /* nobody has called anything for it yet */
		e->stats.begun++;
		adopted = false;
	}
	e->stats.reloaded += doubt;
	take(e, o, adopted);
}

static void retry_later(struct engine *e)
{
	e->reload_pause_ms = e->reload_pause_ms == 0 ? RETRY_FIRST_MS : 2 * e->reload_pause_ms;
	if (e->reload_pause_ms > RETRY_MAX_MS)
		e->reload_pause_ms = RETRY_MAX_MS;
	chore_in(e, CHORE_RELOAD, about(e, e->reload_pause_ms));
}

/* Was it our own end that had landed, and not another's? Then it is counted and told of, as it would have been. */
struct end_asked {
	struct asked   asked;
	struct engine *e;
	uint64_t       epoch, version;
};

static void on_end_read(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct end_asked *a = arg;
	struct engine    *e = a->e;
	struct owned     *o;

	turn_begin(e);
	if (result == LOG_DONE && n > 0 && rows[0].epoch == a->epoch && rows[0].version == a->version &&
	    phase_is_ended(rows[0].phase)) {
		o = owned_load(e, &rows[0]);
		o->gone = true;
		count_end(e, &o->row, o->row.phase);
		if (o->readable)
			tell_ended(e, &o->row, &o->txn);
		owned_rest(e, o);
	}
	asked_free(&a->asked);
	turn_end(e);
}

static void look_for_end(struct engine *e, const struct owned *o)
{
	struct end_asked *a = mem_alloc(sizeof *a);

	a->e = e;
	a->epoch = o->row.epoch;
	a->version = o->row.version + 1;
	asked_put(e, &a->asked);
	e->ports.log.read(e->ports.log.ctx, &o->row.gid, 1, on_end_read, a);
}

static void not_mine(struct engine *e, struct owned *o)
{
	if (o->diverged)
		diverged(e, o);
	if (o->ending)
		look_for_end(e, o);
	if (o->unborn) {
		doubt_mine_soon(e, MINE_AGAIN_MS); /* an insert that has not landed is seen by nobody */
		begin_taken(e, o);
	} else {
		o->keep = o->readable; /* it has ended, or others have it: a failover may lose that */
		owned_drop(e, o, BEGIN_LOST);
	}
}

static void forget_strangers(struct engine *e, struct list *list)
{
	for (struct list *l; (l = list_pop(list)) != NULL;) {
		struct stranger *s = list_entry(l, struct stranger, link);

		table_remove(&e->strange, &s->node);
		free(s);
	}
}

/* First in the other list, in the same order. */
static void put_before(struct list *these, struct list *those)
{
	for (struct list *l; (l = list_pop(those)) != NULL;)
		list_push(these, l);
	for (struct list *l; (l = list_pop(these)) != NULL;)
		list_push(those, l);
}

/* One of the page can be neither written nor read: a damaged block, a trigger of the database's owner. Fewer at
 * a time, until it stands alone; and then all others come first. */
static void narrow(struct engine *e)
{
	if (e->reload_n > 1) {
		e->reload_max = e->reload_n / 2;
		return;
	}
	forget_strangers(e, &e->asking); /* found again among ours, sooner or later */
	list_each(l, after, &e->reloading) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (!o->apart)
			say(e, TRACE_ERROR, "row_passed_over", o->row.gid,
			    "advice=\"it cannot be read again, and waits until it can: see statement_failed\"");
		o->apart = true;
		o->apart_at = boot_ms(e) + RETRY_MAX_MS;
	}
}

static void not_reloaded(struct engine *e, enum log_result result)
{
	bool bad = result == LOG_BAD_DATA;

	if (bad)
		narrow(e);
	put_before(&e->reloading, &e->doubts);
	put_before(&e->asking, &e->strangers);
	if (bad)
		chore_soon(e, CHORE_RELOAD, 0);
	else if (result != LOG_DONE)
		retry_later(e);
}

static void on_reload(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;
	bool           current = e->reload_life == e->life;

	turn_begin(e);
	e->reload_busy = false;
	if (result == LOG_DONE && current) {
		e->reload_pause_ms = 0;
		e->reload_max = 2 * e->reload_max < RELOAD_PAGE ? 2 * e->reload_max : 0;
		forget_strangers(e, &e->asking);
		for (size_t i = 0; i < n; i++) {
			e->stats.found += !owned_has(e, rows[i].gid);
			take_row(e, &rows[i], true);
		}
		for (struct list *l; (l = list_pop(&e->reloading)) != NULL;)
			not_mine(e, list_entry(l, struct owned, commit_link));
	} else {
		not_reloaded(e, result);
	}
	if (result == LOG_DONE && (!list_is_empty(&e->doubts) || !list_is_empty(&e->strangers)))
		chore_soon(e, CHORE_RELOAD, 0);
	turn_end(e);
}

/* Of a begin we know nothing: what stands there after a failover may be an older state of a transaction that
 * somebody else knows to have ended. And what we may have parked may have been taken up. */
static bool others_know_more(struct engine *e, const struct owned *o)
{
	return (o->unborn || o->let_go) && failover_holds(e);
}

/* After a failover what we know comes first, then what we do not. */
static size_t take_doubts(struct engine *e, struct str gids[RELOAD_PAGE], size_t most)
{
	struct list later;
	size_t      n = 0;

	list_init(&later);
	for (struct list *l; n < most && (l = list_pop(&e->doubts)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (o->unproven) {
			failover_behind(e, o);
		} else if (others_know_more(e, o)) {
			list_push(&later, l);
			chore_soon(e, CHORE_RELOAD, RETRY_MAX_MS);
		} else if (o->apart && (n > 0 || boot_ms(e) < o->apart_at)) {
			list_push(&later, l);
			chore_soon(e, CHORE_RELOAD, boot_ms(e) < o->apart_at ? o->apart_at - boot_ms(e) : 0);
		} else {
			most = o->apart ? 1 : most;
			gids[n++] = o->row.gid;
			list_push(&e->reloading, l);
		}
	}
	for (struct list *l; (l = list_pop(&later)) != NULL;)
		list_push(&e->doubts, l);
	return n;
}

void doubt_reload(struct engine *e)
{
	struct str  gids[RELOAD_PAGE];
	struct list known;
	size_t      n, most = e->reload_max > 0 ? e->reload_max : RELOAD_PAGE;

	if (e->reload_busy)
		return;
	list_init(&known);
	n = take_doubts(e, gids, most);
	if (n > 0 && list_entry(e->reloading.next, struct owned, commit_link)->apart)
		most = n;
	for (struct list *l; n < most && (l = list_pop(&e->strangers)) != NULL;) {
		struct stranger *s = list_entry(l, struct stranger, link);

		if (owned_has(e, str_of(s->gid))) {
			list_push(&known, l);
			continue;
		}
		list_push(&e->asking, l);
		gids[n++] = str_of(s->gid);
	}
	forget_strangers(e, &known);
	if (n > 0) {
		e->reload_busy = true;
		e->reload_n = n;
		e->reload_life = e->life;
		e->ports.log.reload(e->ports.log.ctx, e->me, gids, n, on_reload, e);
	}
}

/* ---- ours, and not in memory --------------------------------------------------------------- */

static void add_stranger(struct engine *e, struct str gid)
{
	struct stranger *s;

	if (failover_holds(e)) /* who took it from us may live and know more of it */
		return;
	if (gid.n == 0 || gid.n > GID_MAX || owned_has(e, gid) ||
	    table_get(&e->strange, gid) != NULL || e->strange.n >= STRANGERS_MAX)
		return;
	s = mem_alloc(sizeof *s);
	str_cstr(gid, s->gid, sizeof s->gid);
	list_push(&e->strangers, &s->link);
	table_put(&e->strange, &s->node, str_of(s->gid));
}

/* Somebody has met a row of ours, says he. A begin that was lost may have landed behind our back: its row
 * would wait for the next look at all of ours. Asked for in a moment, since it may be in an answer on its way. */
void doubt_hint(struct engine *e, struct str gid)
{
#ifdef BUG_NO_HINTS
	return;
#endif
	add_stranger(e, gid);
	chore_soon(e, CHORE_RELOAD, RETRY_FIRST_MS);
}

/* Whoever does not know of a row has never written it. */
static bool may_be_stranded(const struct engine *e, const struct row *row)
{
	return !uuid_is_nil(row->owner) && row->version == 1 &&
	       now_ms(e) - row->created_at >= STRANDED_MS;
}

void doubt_tell_owner(struct engine *e, const struct row *row)
{
	struct str address = members_address(e, row->owner);

	if (uuid_eq(row->owner, e->me)) /* it came to us while our own insert of it was on its way */
		doubt_hint(e, row->gid);
	else if (may_be_stranded(e, row) && address.n > 0)
		e->ports.poke.poke(e->ports.poke.ctx, address, row->gid);
}

void doubt_forget(struct engine *e)
{
	forget_strangers(e, &e->strangers);
	forget_strangers(e, &e->asking);
	table_fini(&e->strange);
	e->mine_after[0] = '\0';
}

/* All were looked at. What was lost since, or may land late, asks for another pass soon. */
static void pass_ends(struct engine *e)
{
	bool soon = e->mine_left > 0 || failover_holds(e);

	e->mine_after[0] = '\0';
	failover_listed(e);
	if (e->mine_again)
		chore_soon(e, CHORE_MINE, 0);
	else
		chore_soon(e, CHORE_MINE, about(e, soon ? MINE_AGAIN_MS : MINE_EVERY_MS));
	e->mine_again = false;
	if (e->mine_left > 0)
		e->mine_left--;
}

static void on_mine(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->mine_busy = false;
	if (e->mine_life == e->life && result == LOG_DONE) {
		for (size_t i = 0; i < n; i++) {
			failover_look(e, &rows[i]);
			add_stranger(e, rows[i].gid);
		}
		if (!list_is_empty(&e->strangers))
			chore_soon(e, CHORE_RELOAD, 0);
		if (n == MINE_PAGE && rows[n - 1].gid.n <= GID_MAX) {
			str_cstr(rows[n - 1].gid, e->mine_after, sizeof e->mine_after);
			chore_soon(e, CHORE_MINE, 0);
		} else {
			pass_ends(e);
		}
	} else {
		chore_soon(e, CHORE_MINE, e->mine_life == 0 ? 0 : about(e, RETRY_MAX_MS));
	}
	turn_end(e);
}

void doubt_mine_soon(struct engine *e, int64_t ms)
{
	e->mine_left = MINE_AGAIN;
	if (e->mine_busy || e->mine_after[0] != '\0')
		e->mine_again = true; /* the pass under way may be past it */
	else
		chore_soon(e, CHORE_MINE, ms);
}

void doubt_mine(struct engine *e)
{
#ifdef BUG_STRANDED
	return;
#endif
	if (e->mine_busy)
		return;
	if (e->strange.n > 0) { /* one page at a time in memory */
		chore_in(e, CHORE_MINE, RETRY_FIRST_MS);
		return;
	}
	e->mine_busy = true;
	e->mine_life = e->life;
	e->ports.log.mine(e->ports.log.ctx, e->me, str_of(e->mine_after), MINE_PAGE, on_mine, e);
}
