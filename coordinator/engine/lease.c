/* SPDX-License-Identifier: Apache-2.0
 * lease.c - the life of an incarnation: lease, enrolment, heartbeats, and when it may act.
 *
 *   new id --> open the lease --> enrol --> act --(deadline, session lost)--> suspended
 *     ^            ^                                                              |
 *     |            +------------- the same key again ------------------------------+
 *     +---- fenced: everything in memory belongs to others now
 */
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { OPEN_FIRST_MS = 50, OPEN_MAX_MS = 1000, TAKEN_MS = 100, ENROL_MS = 200, REFUSED_MS = 2000 };

static void open_lease(struct engine *e);

/* ---- may we act? ---------------------------------------------------------------- */

static void suspend(struct engine *e, const char *why)
{
	if (!e->acting)
		return;
	e->acting = false;
	chore_stop(e, CHORE_SUSPEND);
	chore_soon(e, CHORE_BEGINS, 0);
	say(e, TRACE_WARN, "suspended", (struct str){ 0 }, "why=\"%s\"", why);
}

/*
 * Asked before every call and every commit, by the clock: a process that was frozen wakes up in
 * the middle of anything, and the timer that should have stopped it fires later.
 */
bool lease_may_act(struct engine *e)
{
#ifdef BUG_ACT_WHEN_SUSPENDED
	if (e->was_live && !e->gone)
		return true;
#endif
	if (e->acting && boot_ms(e) >= e->act_until)
		suspend(e, "no heartbeat was answered in time");
	return e->acting;
}

bool engine_may_act(struct engine *e)
{
	return lease_may_act(e);
}

/*
 * A commit of an incarnation before this one is unanswered: its connection swallows what is sent, so
 * whatever we took on now would hang as well, and we would be given up for dead once more.
 */
static bool owes_answer(const struct engine *e)
{
#ifdef BUG_ACTS_WITH_SILENT_LOG
	return false;
#endif
	return commit_is_owed(e);
}

static void act(struct engine *e)
{
	if (e->acting || e->gone || owes_answer(e))
		return;
	e->acting = e->was_live = true;
#ifndef BUG_GRACE_FROM_OPENING
	e->sees_since = boot_ms(e); /* if the database stood still, those whom we judge did so with us */
#endif
	e->log_away = false;
	e->commit_at = 0;
	e->wanted_at = list_is_empty(&e->collecting) && !commit_is_under_way(e) ? 0 : boot_ms(e);
	chore_in(e, CHORE_SUSPEND, e->act_until - boot_ms(e));
	say(e, TRACE_INFO, "live", (struct str){ 0 }, "key=%lld", (long long)e->lock_key);
	chore_soon(e, CHORE_MEMBERS, 0);
	chore_soon(e, CHORE_DUE, 0);
	chore_soon(e, CHORE_INBOX, 0);
	doubt_mine_soon(e, 0);
	chore_soon(e, CHORE_RESTORE, 0);
	chore_soon(e, CHORE_COMMIT, 0);
	chore_soon(e, CHORE_REPORT, 0);
	chore_soon(e, CHORE_SWEEP, about(e, 2000));
	drive_all(e);
}

/* The lease was certainly ours at this time, and the server keeps it for a TTL from then on. */
static void heard(struct engine *e, int64_t sent_at)
{
	lease_may_act(e); /* an answer that comes too late ends a pause, it does not bridge it */
	e->answered_at = sent_at;
#ifdef BUG_SELF_FENCE_FROM_RECEIPT
	e->answered_at = boot_ms(e);
#endif
	e->act_until = e->answered_at + e->config.ttl_ms - e->config.margin_ms;
	if (e->acting)
		chore_in(e, CHORE_SUSPEND, e->act_until - boot_ms(e));
	else
		lease_try(e);
}

void lease_try(struct engine *e)
{
	if (e->enrolled && e->lease_open && boot_ms(e) < e->act_until)
		act(e);
}

/* ---- heartbeats --------------------------------------------------------------------- */

/* The lease of a silent one ends by then, and a TTL has passed in which others could fence it. */
static int64_t others_turn_ends(const struct engine *e)
{
	return e->answered_at + 2 * (int64_t)e->config.ttl_ms;
}

static void broken(struct engine *e)
{
	if (!e->lease_open && !e->lease_opening)
		return;
	suspend(e, "the lease session broke");
	e->lease_open = e->lease_opening = e->beating = false;
	e->enrolled = false; /* somebody may have fenced us by now: asked again */
	e->ports.lease.close(e->ports.lease.ctx);
	chore_stop(e, CHORE_BEAT);
	/* Silent on purpose: come back at once, and nobody could take over. They have had their chance once. */
	int64_t pause = about(e, e->lease_pause_ms), chance = others_turn_ends(e) - boot_ms(e);
	chore_in(e, CHORE_LEASE, e->silent && chance > pause ? chance : pause);
	e->lease_pause_ms = e->lease_pause_ms == 0 ? OPEN_FIRST_MS : 2 * e->lease_pause_ms;
	if (e->lease_pause_ms > OPEN_MAX_MS)
		e->lease_pause_ms = OPEN_MAX_MS;
}

/* Our own row may be among what the failover lost, so we enrol anew. If it is there and not live, that fails
 * as asking would; and should we have been swept long ago: nothing of ours is acted upon before it is proven. */
void lease_anew(struct engine *e)
{
	e->known = false;
	e->enrolled = false;
	broken(e);
}

static void on_beat(void *arg, enum lease_result result, const struct err *err)
{
	struct engine *e = arg;

	(void)err;
	turn_begin(e);
	e->beating = false;
	if (result == LEASE_HELD) {
		e->lease_pause_ms = 0;
		heard(e, e->beat_sent_at);
		if (!e->acting)
			chore_soon(e, CHORE_BEAT, 0); /* that one came late: the next may not */
	} else {
		broken(e);
	}
	turn_end(e);
}

/* A wanted commit has been unanswered for a TTL: the log is dead for us, so
 * others shall take over. They can only do so when our lease ends. */
static bool log_is_dead(const struct engine *e)
{
	return e->wanted_at != 0 && boot_ms(e) - e->wanted_at > e->config.ttl_ms;
}

void lease_heard(struct engine *e)
{
	if (!e->silent)
		return;
	e->silent = false;
	chore_soon(e, CHORE_BEAT, 0);
}

static void go_silent(struct engine *e)
{
	e->silent = true;
	say(e, TRACE_ERROR, "log_dead", (struct str){ 0 }, "unanswered_ms=%lld",
	    (long long)(boot_ms(e) - e->wanted_at));
	/* Time enough for the others to take over, then we ask whether they did. */
	chore_in(e, CHORE_LEASE, others_turn_ends(e) - boot_ms(e));
}

void lease_beat(struct engine *e)
{
	if (!e->lease_open || e->gone)
		return;
	chore_in(e, CHORE_BEAT, e->config.beat_ms);
	if (!e->silent && e->acting && log_is_dead(e))
		go_silent(e);
	if (e->beating || e->silent)
		return;
	e->beating = true;
	e->beat_sent_at = boot_ms(e);
	e->ports.lease.beat(e->ports.lease.ctx, on_beat, e);
}

/* ---- enrolment ---------------------------------------------------------------------- */

static void on_enroll(void *arg, enum log_result result)
{
	struct engine *e = arg;

	turn_begin(e);
	e->enrolling = false;
	if (e->gone) {
		turn_end(e);
		return;
	}
	if (e->enroll_life == e->life && result == LOG_FENCED) {
		lease_over(e, "another replica fenced it");
	} else if (e->enroll_life != e->life || result != LOG_DONE) {
		chore_soon(e, CHORE_LEASE, ENROL_MS);
	} else if (!e->lease_open || e->enroll_session != e->lease_session) {
		chore_soon(e, CHORE_LEASE, 0);
	} else {
		if (e->silent) /* the log is back, and nobody took over */
			e->wanted_at = 0;
		e->silent = false;
		e->enrolled = e->known = true;
		heard(e, e->answered_at);
		chore_soon(e, CHORE_BEAT, 0);
	}
	turn_end(e);
}

/* Our row says whether we are still live; only read while we hold the lock does it stay so. */
static void enroll(struct engine *e)
{
	struct member me = { .id = e->me, .lock_key = e->lock_key, .state = MEMBER_LIVE,
			     .address = e->config.address, .weight = e->config.weight,
			     .speed = e->stats.speed, .load = e->stats.load,
			     .started_at = now_ms(e), .seen_at = now_ms(e) };

	if (e->enrolling) {
		chore_soon(e, CHORE_LEASE, ENROL_MS);
		return;
	}
	e->enrolling = true;
	e->enroll_life = e->life;
	e->enroll_session = e->lease_session;
#ifdef BUG_ENROLS_AGAIN
	e->known = false;
#endif
	if (e->known)
		e->ports.log.still_live(e->ports.log.ctx, e->me, on_enroll, e);
	else
		e->ports.log.enroll(e->ports.log.ctx, &me, on_enroll, e);
}

/* ---- the lease ------------------------------------------------------------------------ */

static void on_open(void *arg, enum lease_result result, const struct err *err)
{
	struct engine *e = arg;

	turn_begin(e);
	e->lease_opening = false;
	switch (result) {
	case LEASE_HELD:
		e->lease_open = true;
		e->lease_session++;
		e->sees_since = boot_ms(e);
		if (e->was_live && e->beat_sent_at - e->answered_at >= (int64_t)e->config.ttl_ms)
			e->slept_until = boot_ms(e) + e->config.ttl_ms / 2;
		e->answered_at = e->beat_sent_at;
		chore_in(e, CHORE_BEAT, e->config.beat_ms);
		enroll(e);
		break;
	case LEASE_TAKEN:
		chore_in(e, CHORE_LEASE, TAKEN_MS);
		break;
	case LEASE_LOST:
		e->lease_opening = true;
		broken(e);
		break;
	case LEASE_REFUSED:
		say(e, TRACE_ERROR, "lease_refused", (struct str){ 0 }, "why=\"%s\"",
		    err != NULL ? err->text : "");
		chore_in(e, CHORE_LEASE, REFUSED_MS);
		break;
	}
	turn_end(e);
}

static void open_lease(struct engine *e)
{
	e->lease_opening = true;
	e->beat_sent_at = boot_ms(e);
	e->ports.lease.open(e->ports.lease.ctx, e->lock_key, e->config.ttl_ms, on_open, e);
}

void lease_work(struct engine *e)
{
	if (e->gone || e->lease_opening)
		return;
	if (!e->lease_open)
		open_lease(e);
	else if (e->silent && commit_is_under_way(e))
		chore_in(e, CHORE_LEASE, ENROL_MS); /* the log still owes an answer */
	else if (e->silent || !e->enrolled)
		enroll(e);
}

/* ---- incarnations --------------------------------------------------------------------- */

static void new_incarnation(struct engine *e)
{
	e->life++;
	e->stats.incarnations++;
	e->known = e->slept = false;
	e->slept_until = 0;
	e->me = uuid_v4(random_u64(e), random_u64(e));
	do
		e->lock_key = (int64_t)random_u64(e);
	while (e->lock_key == 0);
	e->lease_pause_ms = 0;
	open_lease(e);
}

void lease_over(struct engine *e, const char *why)
{
	char me[UUID_TEXT + 1];

	say(e, TRACE_WARN, "incarnation_over", (struct str){ 0 }, "replica=%s why=\"%s\" dropped=%zu",
	    uuid_text(e->me, me), why, e->owned_n);
	suspend(e, why);
	if (e->lease_open || e->lease_opening)
		e->ports.lease.close(e->ports.lease.ctx);
	e->lease_open = e->lease_opening = e->beating = e->enrolled = e->silent = false;
	for (int c = 0; c < CHORE_COUNT; c++)
		if (c != CHORE_REMOTE && c != CHORE_VERDICTS && c != CHORE_DRAIN && c != CHORE_BEGINS)
			chore_stop(e, (enum chore)c);
	for (struct list *l = e->owned.next; l != &e->owned; l = e->owned.next) {
		struct owned *o = fold_wake(e, list_entry(l, struct seat, link));

		o->keep = o->readable && !o->unborn; /* a failover may lose it, and nobody else has read it yet */
		owned_drop(e, o, o->doubt ? BEGIN_LOST : BEGIN_AWAY);
	}
	e->wary_n = 0;
	e->wanted_at = 0;
	e->row_limit = e->config.batch_rows;
	doubt_forget(e);
	members_forget(e);
	new_incarnation(e);
}

void engine_start(struct engine *e)
{
	assert(e->life == 0);
	new_incarnation(e);
}

void engine_on_lease_lost(struct engine *e)
{
	turn_begin(e);
	if (e->lease_open)
		broken(e);
	turn_end(e);
}
