/* SPDX-License-Identifier: Apache-2.0
 * fence.c - who looks whether whom lives, and the fencing of the dead. A free lock is only a hint: a session may
 * have flapped, the database may have restarted. So it is seen free twice, by somebody whose own lease has held
 * for a full TTL; a row is seen unchanged for as long as it lasts; and then the log decides.
 */
#include "coordinator/engine/engine_internal.h"

/*
 * All that live stand in a ring, in the order of their ids. Each waits for the lease of the next one, and is
 * told when it ends; whoever is found dead makes us look at the one behind it at once, and so on to the first
 * that lives. So the dead are found by the nearest that lives before them, however many die together, and if
 * that one is frozen, by the one before it when its own lease has ended: a TTL and some round trips later.
 *
 * A watch may be deaf, and he who watches may not judge yet. So each also looks at the next two, and at one
 * of the others, another one each time and not the same as anybody else: each half TTL. Three looks of some
 * 60 us in 5 s are 30 a second for 50 replicas and 120 for 200, where all at all were 490 and 7,960.
 *
 * A lease that is a row cannot be waited for: that of the next one is looked at all the time. It is over when
 * its mark has not changed for its TTL by our own clock, since its holder stopped acting before that by his.
 * The database's clock has no say in it: it may be set, and a promoted server has another one.
 */
enum { LOOK_NEXT = 2, ASK_AGAIN_MS = 1000, ROW_LOOK_MIN_MS = 100, ROW_LOOK_MAX_MS = 1000 };

/* ---- leases that are rows ------------------------------------------------------------------ */

static bool is_row(const struct peer *p)
{
	return p->lease.mark != 0;
}

/* What we saw before we held our own lease counts for nothing: the database stood still, or was another. */
static int64_t row_ends(const struct engine *e, const struct peer *p)
{
	return (p->lease_since > e->sees_since ? p->lease_since : e->sees_since) + p->lease.ttl_ms;
}

static bool row_is_over(const struct engine *e, const struct peer *p, int64_t asked_at)
{
	return is_row(p) && asked_at >= row_ends(e, p);
}

static int64_t row_look_ms(const struct engine *e)
{
	int64_t ms = e->config.ttl_ms / 8;

	if (ms < ROW_LOOK_MIN_MS)
		return ROW_LOOK_MIN_MS;
	return ms > ROW_LOOK_MAX_MS ? ROW_LOOK_MAX_MS : ms;
}

/* ---- the ring ------------------------------------------------------------------------ */

bool peer_is_other(const struct engine *e, const struct peer *p)
{
	return p->state == MEMBER_LIVE && !uuid_eq(p->id, e->me);
}

/* The n-th place behind an id, all around. */
static struct peer *ring_at(const struct engine *e, struct uuid id, size_t n)
{
	size_t i = peer_place(e, id);

	if (i < e->peers_n && uuid_eq(e->peers[i].id, id))
		i++;
	return &e->peers[(i + n) % e->peers_n];
}

/* Behind an id, the first that lives; suspects count, unless it is for a watch. */
static struct peer *next_living(const struct engine *e, struct uuid id, bool unsuspected)
{
	for (size_t n = 0; n < e->peers_n; n++) {
		struct peer *p = ring_at(e, id, n);

		if (peer_is_other(e, p) && !uuid_eq(p->id, id) && !(unsuspected && p->free_since != 0))
			return p;
	}
	return NULL;
}

static int64_t half_ttl(const struct engine *e)
{
	return e->config.ttl_ms / 2;
}

/* When one that is regularly looked at is due again. */
static int64_t next_look_at(const struct engine *e, const struct peer *p)
{
	int64_t at = boot_ms(e) + half_ttl(e), soonest = boot_ms(e) + e->config.fence_delay_ms;

	if (is_row(p) && row_ends(e, p) < at)
		at = row_ends(e, p) > soonest ? row_ends(e, p) : soonest;
	return at;
}

/* Which of them we look at regularly, and how many others there are. */
static size_t mark_near(struct engine *e)
{
	size_t near = 0, others = 0;

	for (size_t n = 0; n < e->peers_n; n++) {
		struct peer *p = ring_at(e, e->me, n);

		if (!peer_is_other(e, p))
			continue;
		p->near = near < LOOK_NEXT;
		others += !p->near;
		near += p->free_since == 0;
		if (p->near && p->look_at == AT_NEVER)
			p->look_at = next_look_at(e, p);
	}
	return others;
}

/* One of the others. In the same half TTL each replica skips as many places as all do: no two look at the
 * same one. Begun at a moment of one's own, so that not all look at once. */
static void rotate(struct engine *e, size_t others)
{
	int64_t phase = (e->me.b[14] << 8 | e->me.b[15]) % half_ttl(e);
	int64_t turn = (now_ms(e) + phase) / half_ttl(e);

	if (others == 0 || turn == e->look_turn)
		return;
	e->look_turn = turn;
	size_t skip = (size_t)turn % others;
	for (size_t n = 0; n < e->peers_n; n++) {
		struct peer *p = ring_at(e, e->me, n);

		if (!peer_is_other(e, p) || p->near || skip-- > 0)
			continue;
		if (p->look_at == AT_NEVER)
			p->look_at = boot_ms(e);
		return;
	}
}

/* ---- two looks --------------------------------------------------------------------------- */

/* When we may fence: after one full TTL of our own lease in one session. Else a
 * database restart makes everyone fence everyone. */
static int64_t grace_ends(const struct engine *e)
{
#ifdef BUG_NO_GRACE
	return 0;
#endif
	return e->sees_since + e->config.ttl_ms;
}

static void look_again(struct engine *e, struct peer *p)
{
	p->look_at = boot_ms(e) + e->config.fence_delay_ms;
	if (p->look_at < grace_ends(e))
		p->look_at = grace_ends(e);
}

/* Whoever should have watched the one behind it may be this one. */
static void suspect(struct engine *e, struct peer *p)
{
	struct peer *behind = next_living(e, p->id, false);

	p->free_since = boot_ms(e);
	look_again(e, p);
#ifdef BUG_LOOKS_ALONE
	return;
#endif
	if (behind != NULL && behind->free_since == 0)
		behind->look_at = boot_ms(e);
}

static void trust(struct engine *e, struct peer *p)
{
	p->free_since = 0;
	p->look_at = p->near ? next_look_at(e, p) : AT_NEVER;
}

/* The database does not say: it may have restarted meanwhile, and then every lease was free for a moment. */
static void ask_again(struct engine *e, struct peer *p)
{
	p->free_since = 0;
	p->look_at = boot_ms(e) + ASK_AGAIN_MS;
}

static void on_fence(void *arg, enum log_result result)
{
	struct engine *e = arg;
	struct peer   *p;
	char           id[UUID_TEXT + 1];

	turn_begin(e);
	e->fence_busy = false;
	p = peer_find(e, e->probed);
	if (result == LOG_DONE) {
		e->stats.fenced++;
		say(e, TRACE_WARN, "fenced", (struct str){ 0 }, "replica=%s", uuid_text(e->probed, id));
		if (p != NULL) {
			p->state = MEMBER_FENCED;
			p->told = true;
		}
		chore_soon(e, CHORE_MEMBERS, 0);
	} else if (p != NULL && result == LOG_AGAIN) {
		trust(e, p);
	} else if (p != NULL) {
		ask_again(e, p);
	}
	chore_soon(e, CHORE_LOOKS, 0);
	turn_end(e);
}

static void judge(struct engine *e, struct peer *p)
{
	if (!is_row(p) && e->probe_at - p->free_since < e->config.fence_delay_ms) {
		p->look_at = p->free_since + e->config.fence_delay_ms; /* a watch fired meanwhile */
	} else if (e->acting && boot_ms(e) >= grace_ends(e)) {
		e->fence_busy = true;
		p->look_at = boot_ms(e) + e->config.ttl_ms;
		e->ports.log.fence(e->ports.log.ctx, e->me, p->id, p->lock_key, p->lease.mark, on_fence, e);
	} else { /* what we saw before we may judge counts for nothing */
		p->free_since = boot_ms(e);
		look_again(e, p);
	}
}

static void saw(struct engine *e, struct peer *p, bool is_free)
{
	if (!is_free && !row_is_over(e, p, e->probe_at)) {
		trust(e, p);
		return;
	}
	if (p->free_since != 0) {
		judge(e, p);
		return;
	}
	suspect(e, p);
	if (is_row(p)) /* seen often enough */
		judge(e, p);
}

static void on_probe(void *arg, enum log_result result, bool is_free, struct lease_sight sight)
{
	struct engine *e = arg;
	struct peer   *p;

	turn_begin(e);
	e->probe_busy = false;
	p = peer_find(e, e->probed);
	if (p != NULL && peer_is_other(e, p)) {
		if (result == LOG_DONE) {
			peer_saw(e, p, sight);
			saw(e, p, is_free);
		} else {
			ask_again(e, p);
		}
	}
	chore_soon(e, CHORE_LOOKS, 0);
	turn_end(e);
}

/* ---- the watch --------------------------------------------------------------------------- */

static void on_watch(void *arg, enum log_result result, bool is_free, struct lease_sight sight)
{
	struct engine *e = arg;
	struct peer   *p;

	(void)sight;
	turn_begin(e);
	e->watching = false;
	p = peer_find(e, e->watched);
	if (result == LOG_DONE && is_free && p != NULL && peer_is_other(e, p) && p->free_since == 0) {
		suspect(e, p);
		chore_soon(e, CHORE_LOOKS, 0);
	}
	turn_end(e);
}

static void watch(struct engine *e)
{
	struct peer *p = next_living(e, e->me, true);

	if (p != NULL && is_row(p)) {
		if (p->look_at > boot_ms(e) + row_look_ms(e))
			p->look_at = boot_ms(e) + row_look_ms(e);
		p = NULL;
	}
	if (e->watching && (p == NULL || !uuid_eq(p->id, e->watched))) {
		e->ports.lease.unwatch(e->ports.lease.ctx);
		e->watching = false;
	}
	if (e->watching || p == NULL || e->draining)
		return;
	e->watching = true;
	e->watched = p->id;
	e->ports.lease.watch(e->ports.lease.ctx, p->lock_key, on_watch, e);
}

/* ---- one look at a time -------------------------------------------------------------------- */

static struct peer *most_due(const struct engine *e)
{
	struct peer *due = NULL;

	for (size_t i = 0; i < e->peers_n; i++)
		if (peer_is_other(e, &e->peers[i]) && (due == NULL || e->peers[i].look_at < due->look_at))
			due = &e->peers[i];
	return due;
}

void fence_looks(struct engine *e)
{
	struct peer *due;

	if (e->gone)
		return;
	rotate(e, mark_near(e));
	due = most_due(e);
	if (due == NULL || due->look_at > boot_ms(e)) { /* it has come to the first that lives */
		watch(e);
		due = most_due(e);
	}
	chore_soon(e, CHORE_LOOKS, half_ttl(e));
	if (e->probe_busy || e->fence_busy || due == NULL)
		return;
	if (due->look_at > boot_ms(e)) {
		if (due->look_at != AT_NEVER)
			chore_soon(e, CHORE_LOOKS, due->look_at - boot_ms(e));
	} else if (!e->acting) { /* who may not act does not judge */
		chore_soon(e, CHORE_LOOKS, e->config.fence_delay_ms);
	} else {
		e->probe_busy = true;
		e->probed = due->id;
		e->probe_at = boot_ms(e);
		e->ports.lease.probe(e->ports.lease.ctx, due->lock_key, on_probe, e);
	}
}
