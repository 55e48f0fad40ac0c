/* SPDX-License-Identifier: Apache-2.0
 * adopt.c - taking over: rows of dead incarnations, and parked rows whose time has come.
 *
 * A standing sweep, not an event: a zombie may have inserted rows after its death.
 */
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>

enum {
	OTHERS_FIRST_MS = 1000, /* all look more often, but for the crowded */
	DUE_EVERY_MS = 60, DUE_HELD_MS = 250, DUE_CROWDED_MS = 1000, DUE_COST = 10,
	OTHERS_LOOK_MS = 1500, SWEEP_ROWS_PER_MS = 20, REPORT_MS = 2000, SWEEP_MS = 1000, SWEEP_ALL = 8, ALONE_MS = 5000,
	GROUP_MS = 1000, GROUP_FIRST = 16, GROUP_MAX = 128
};

static bool has_room(const struct engine *e)
{
	return e->acting && !e->draining && e->owned_n < e->config.transactions_max;
}

/* ---- rows of the dead --------------------------------------------------------------- */

/* Of what all that live have; 1 before the list of them is there. */
static double my_share(const struct engine *e)
{
	const struct peer *me = peer_find(e, e->me);

	return me != NULL && me->share > 0 ? me->share : 1;
}

/* Time for all who live to look, and to take what is theirs: a slow machine does so many rows in a millisecond,
 * for all of us together. */
static int64_t others_ms(const struct peer *p)
{
#ifdef BUG_HELPS_ITSELF_SOON
	return OTHERS_LOOK_MS;
#endif
	return OTHERS_LOOK_MS + p->rows / SWEEP_ROWS_PER_MS;
}

/* The first sweep over a dead one takes our share of its rows and no more: a little more, since the others may
 * have read other speeds, and what nobody thinks his own would wait. When all have had their time, whoever sees
 * rows takes them: some survivor may have no room, or have died as well. */
static uint32_t sweep_limit(const struct engine *e, const struct peer *p)
{
	if (p->swept_at == 0)
		return 1 + (uint32_t)(my_share(e) * 1.03 * p->rows);
	return boot_ms(e) - p->swept_at < others_ms(p) ? 0 : UINT32_MAX;
}

static void on_adopt(void *arg, enum log_result result, const struct row *rows, size_t n);

static uint32_t page_limit(const struct engine *e)
{
	switch (e->adopt_danger) {
	case DANGER_NONE: return e->adopt_left < ADOPT_PAGE ? e->adopt_left : ADOPT_PAGE;
	case DANGER_SOME: return e->adopt_group;
	case DANGER_HIGH: return 1;
	}
	abort();
}

static void ask_page(struct engine *e)
{
	e->adopt_busy = true;
	e->adopt_life = e->life;
	e->adopt_limit = page_limit(e);
	e->ports.log.adopt(e->ports.log.ctx, e->me, e->adopt_from, str_of(e->adopt_after),
	                   e->adopt_limit, e->adopt_danger, on_adopt, e);
}

/* The next dead one with rows, in the order of ids, from the one in hand on. */
static struct peer *next_dead(const struct engine *e, const struct uuid *behind)
{
	const struct peer *in_hand = NULL;

	for (size_t i = 0; i < e->peers_n; i++) {
		struct peer *p = &e->peers[i];

		if (behind != NULL && uuid_eq(p->id, *behind)) {
			in_hand = p;
			continue;
		}
		if (behind != NULL && in_hand == NULL)
			continue;
		if (p->state != MEMBER_LIVE && p->owns && !uuid_eq(p->id, e->me) &&
		    sweep_limit(e, p) > 0)
			return p;
	}
	return NULL;
}

static void start_pass(struct engine *e, const struct uuid *behind)
{
	struct peer *p = next_dead(e, behind);

	if (p == NULL)
		return;
	e->adopt_left = sweep_limit(e, p);
	if (p->swept_at == 0)
		p->swept_at = boot_ms(e);
	e->adopt_from = p->id;
	e->adopt_danger = DANGER_NONE;
	e->adopt_after[0] = '\0';
	ask_page(e);
}

/* Of what may have killed its owners. Some danger: in groups, which grow while they do no harm; else a few
 * deaths in a row would make a slow queue of everything that had no time for progress. If a group does harm, its
 * rows were taken over once more and come alone in the end. */
static void ask_dangerous(struct engine *e, enum danger danger)
{
	e->adopt_danger = danger;
	if (danger == DANGER_SOME)
		e->adopt_group = e->adopt_group == 0 ? GROUP_FIRST : 2 * e->adopt_group;
	if (e->adopt_group > GROUP_MAX)
		e->adopt_group = GROUP_MAX;
	e->adopt_after[0] = '\0';
	ask_page(e);
}

/* A page was not the last, or the ordinary rows are done and the dangerous ones follow, a few at a
 * time; else the next dead one. The members are looked at again while rows are left: what is missed now comes then. */
static void go_on(struct engine *e, const struct row *rows, size_t n)
{
	bool ordinary = e->adopt_danger == DANGER_NONE;

	if (!has_room(e))
		return;
	if (ordinary && n > 0 && n >= e->adopt_limit && e->adopt_left > 0 && rows[n - 1].gid.n <= GID_MAX) {
		str_cstr(rows[n - 1].gid, e->adopt_after, sizeof e->adopt_after);
		ask_page(e);
	} else if (ordinary && e->wary_n == 0) {
		ask_dangerous(e, DANGER_SOME);
	} else if (e->adopt_danger == DANGER_SOME && n == 0) {
		ask_dangerous(e, DANGER_HIGH);
	} else {
		start_pass(e, &e->adopt_from);
	}
}

static void mark_wary(struct engine *e, struct str gid)
{
	struct owned *o = owned_get(e, gid);

	if (o == NULL || o->wary)
		return;
	o->wary = true;
	e->wary_n++;
	e->wary_until = boot_ms(e) + (e->adopt_danger == DANGER_HIGH ? ALONE_MS : GROUP_MS);
}

static void on_adopt(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;
	char           from[UUID_TEXT + 1];

	turn_begin(e);
	e->adopt_busy = false;
	if (e->adopt_life != e->life || e->gone) {
		turn_end(e);
		return;
	}
	if (result == LOG_LOST)
		doubt_mine_soon(e, 0);
	if (result == LOG_DONE) {
		for (size_t i = 0; i < n; i++) {
			take_row(e, &rows[i], true);
			tell_adopted(e, owned_get(e, rows[i].gid));
			if (e->adopt_danger != DANGER_NONE)
				mark_wary(e, rows[i].gid);
		}
		e->stats.adopted += n;
		if (n > 0)
			say(e, TRACE_INFO, "adopted", (struct str){ 0 }, "from=%s rows=%zu danger=%d",
			    uuid_text(e->adopt_from, from), n, (int)e->adopt_danger);
		if (e->adopt_left != UINT32_MAX && e->adopt_danger == DANGER_NONE)
			e->adopt_left -= n < e->adopt_left ? (uint32_t)n : e->adopt_left;
		go_on(e, rows, n);
	}
	turn_end(e);
}

/* What has done no harm for a while is not in the way of the next. */
static void forgive(struct engine *e)
{
	if (e->wary_n == 0 || boot_ms(e) < e->wary_until)
		return;
	list_each(l, after, &e->owned) {
		struct owned *o = fold_awake(l);

		if (o != NULL)
			o->wary = false;
	}
	e->wary_n = 0;
}

void adopt_more(struct engine *e)
{
	forgive(e);
	if (!e->adopt_busy && has_room(e) && !failover_holds(e))
		start_pass(e, NULL);
}

/* ---- parked rows --------------------------------------------------------------------------- */

/*
 * Someone looks every DUE_EVERY_MS: those who live and have room take turns, in the order of their ids and by the
 * database's clock, so that it costs the same however many they are. One who is gone leaves a gap of one turn until
 * the list of members says so. Before the list is there, whoever looks does so alone.
 */
static int64_t my_turn_ms(const struct engine *e)
{
	int64_t place = 0, n = 0, wait;

	for (size_t i = 0; i < e->peers_n; i++) {
		const struct peer *p = &e->peers[i];

		if (uuid_eq(p->id, e->me))
			place = n++;
		else if (p->state == MEMBER_LIVE && p->has_room)
			n++;
	}
	if (n == 0)
		return DUE_EVERY_MS;
	wait = n * DUE_EVERY_MS - (now_ms(e) - place * DUE_EVERY_MS) % (n * DUE_EVERY_MS);
	return wait < DUE_EVERY_MS / 2 ? wait + n * DUE_EVERY_MS : wait; /* a timer may fire a little early */
}

/* A look that took long, past rows that are dead or locked, is not repeated at once: a tenth of the time at most. */
static int64_t next_look_ms(const struct engine *e, size_t n)
{
	int64_t turn = my_turn_ms(e), cost = DUE_COST * (boot_ms(e) - e->due_asked_at);

	if (e->stats.load > 1)
		return DUE_CROWDED_MS;
	if (n == DUE_PAGE)
		return 0;
	return turn > cost ? turn : cost;
}

static void on_due(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->due_busy = false;
	if (result == LOG_DONE && e->due_life == e->life && !e->gone) {
		for (size_t i = 0; i < n; i++)
			take_row(e, &rows[i], !is_first_taken(&rows[i])); /* who let it go may have cut off calls */
		e->stats.taken_due += n;
	} else {
		n = 0;
	}
	if (result == LOG_LOST)
		doubt_mine_soon(e, 0);
	chore_soon(e, CHORE_DUE, next_look_ms(e, n));
	turn_end(e);
}

/* Most looks find nothing. */
static void on_look(void *arg, enum log_result result, struct look found)
{
	struct engine *e = arg;

	turn_begin(e);
	if (result == LOG_DONE)
		inbox_told(e, found.commands);
	if (result == LOG_DONE && found.due && e->due_life == e->life && has_room(e) && !failover_holds(e)) {
		e->ports.log.take_due(e->ports.log.ctx, e->me, DUE_PAGE, on_due, e);
	} else {
		e->due_busy = false;
		chore_soon(e, CHORE_DUE, next_look_ms(e, 0));
	}
	turn_end(e);
}

void adopt_later(struct engine *e)
{
	e->due_not_before = boot_ms(e) + OTHERS_FIRST_MS;
}

void adopt_due(struct engine *e)
{
	if (boot_ms(e) < e->due_not_before) {
		chore_soon(e, CHORE_DUE, e->due_not_before - boot_ms(e));
		return;
	}
	if (e->due_busy)
		return;
	if (!has_room(e) || failover_holds(e)) {
		chore_soon(e, CHORE_DUE, DUE_HELD_MS);
		return;
	}
	e->due_busy = true;
	e->due_asked_at = boot_ms(e);
	e->due_life = e->life;
	e->ports.log.look(e->ports.log.ctx, on_look, e);
}

/* ---- what the others should know, and what nobody needs any more ------------------------------ */

static void on_report(void *arg, enum log_result result)
{
	struct engine *e = arg;

	(void)result;
	e->report_busy = false;
}

/* Transactions in memory: beyond it a replica is crowded (K > 1), long before begins are refused. */
static double capacity(const struct engine *e)
{
	double three_quarters = e->config.transactions_max * 0.75;

	return three_quarters > 1 ? three_quarters : 1;
}

/* Speed is what it has shown it can do, forgotten slowly; load is the larger of two parts: of that
 * speed, what it does now; of its capacity, what it holds. Honest enough for shares: those who did
 * more before get more. */
static void measure(struct engine *e)
{
	int64_t now = boot_ms(e), ms = now - e->reported_at;

	if (ms <= 0)
		return;
	double rate = (double)(e->steps_done - e->steps_reported) * 1000 / (double)ms;

	e->rate = e->rate * 0.5 + rate * 0.5;
	e->stats.speed = e->rate > e->stats.speed * 0.999 ? e->rate : e->stats.speed * 0.999;
	if (e->stats.speed < 1)
		e->stats.speed = 1;
	e->stats.load = e->rate / e->stats.speed;
	if (e->stats.load < (double)e->owned_n / capacity(e))
		e->stats.load = (double)e->owned_n / capacity(e);
	e->steps_reported = e->steps_done;
	e->reported_at = now;
}

void report_speed(struct engine *e)
{
	chore_in(e, CHORE_REPORT, REPORT_MS);
	measure(e);
	if (e->stats.load > 1)
		drive_crowded(e);
	if (e->report_busy || !e->acting)
		return;
	e->report_busy = true;
	e->ports.log.report(e->ports.log.ctx, e->me, e->stats.speed, e->stats.load, on_report, e);
}

static void on_sweep(void *arg, enum log_result result)
{
	struct engine *e = arg;

	(void)result;
	e->sweep_busy = false;
}

void sweep_old(struct engine *e)
{
	chore_in(e, CHORE_SWEEP, about(e, SWEEP_MS));
	if (e->sweep_busy || !e->acting)
		return;
	e->sweep_busy = true;
	e->ports.log.sweep(e->ports.log.ctx, e->sweeps++ % SWEEP_ALL == 0, on_sweep, e);
}
