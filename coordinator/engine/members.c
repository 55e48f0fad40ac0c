/* SPDX-License-Identifier: Apache-2.0
 * members.c - the other replicas: who lives, who watches whom, and fencing the dead.
 *
 * A free lock is only a hint: a session may have flapped, the database may have restarted. So it
 * is seen free twice, by somebody whose own lease has held for a full TTL, and then the log decides.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MEMBERS_EVERY_MS = 1000 };

/* ---- the list ------------------------------------------------------------------------ */

static struct peer *peer_find(const struct engine *e, struct uuid id)
{
	for (size_t i = 0; i < e->peers_n; i++)
		if (uuid_eq(e->peers[i].id, id))
			return &e->peers[i];
	return NULL;
}

struct str members_address(const struct engine *e, struct uuid id)
{
	const struct peer *p = peer_find(e, id);

	return p != NULL ? str_of(p->address) : (struct str){ 0 };
}

static void free_peers(struct peer *peers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(peers[i].address);
	free(peers);
}

void members_fini(struct engine *e)
{
	free_peers(e->peers, e->peers_n);
	e->peers = NULL;
	e->peers_n = 0;
}

void members_forget(struct engine *e)
{
	if (e->watching)
		e->ports.lease.unwatch(e->ports.lease.ctx);
	e->watching = false;
	members_fini(e);
}

static int compare_peers(const void *a, const void *b)
{
	return memcmp(((const struct peer *)a)->id.b, ((const struct peer *)b)->id.b,
	              sizeof(struct uuid));
}

static void keep_members(struct engine *e, const struct member *m, size_t n)
{
	struct peer *peers = mem_array(n + 1, sizeof *peers);

	for (size_t i = 0; i < n; i++) {
		const struct peer *old = peer_find(e, m[i].id);
		struct str         address = str_dup(m[i].address);

		peers[i] = (struct peer){ .id = m[i].id, .lock_key = m[i].lock_key,
					  .state = m[i].state, .address = (char *)(uintptr_t)address.p,
					  .power = m[i].weight * (m[i].speed > 1 ? m[i].speed : 1),
					  .owns = m[i].owns, .rows = m[i].rows,
					  .swept_at = old != NULL ? old->swept_at : 0,
					  .free_since = old != NULL ? old->free_since : 0,
					  .look_at = old != NULL ? old->look_at
					                         : boot_ms(e) + e->config.ttl_ms / 2 };
	}
	qsort(peers, n, sizeof *peers, compare_peers);
	members_fini(e);
	e->peers = peers;
	e->peers_n = n;
}

static void on_members(void *arg, enum log_result result, const struct member *m, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->members_busy = false;
	chore_soon(e, CHORE_MEMBERS, about(e, MEMBERS_EVERY_MS));
	if (result == LOG_DONE && e->members_life == e->life && !e->gone) {
		keep_members(e, m, n);
		fence_watch(e);
		fence_looks(e);
		adopt_more(e);
	}
	turn_end(e);
}

void members_look(struct engine *e)
{
	if (e->members_busy || e->gone)
		return;
	e->members_busy = true;
	e->members_life = e->life;
	e->ports.log.members(e->ports.log.ctx, on_members, e);
}

/* ---- two looks --------------------------------------------------------------------------- */

static bool is_other(const struct engine *e, const struct peer *p)
{
	return p->state == MEMBER_LIVE && !uuid_eq(p->id, e->me);
}

/* When we may fence: after one full TTL of our own lease in one session. Else a
 * database restart makes everyone fence everyone. */
static int64_t grace_ends(const struct engine *e)
{
#ifdef BUG_NO_GRACE
	return 0;
#endif
	return e->held_since + e->config.ttl_ms;
}

static void suspect(struct engine *e, struct peer *p)
{
	int64_t now = boot_ms(e);

	p->free_since = now;
	p->look_at = now + e->config.fence_delay_ms;
	if (p->look_at < grace_ends(e))
		p->look_at = grace_ends(e);
}

static void trust(struct engine *e, struct peer *p)
{
	p->free_since = 0;
	p->look_at = boot_ms(e) + e->config.ttl_ms / 2;
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
		if (p != NULL)
			p->state = MEMBER_FENCED;
		chore_soon(e, CHORE_MEMBERS, 0);
	} else if (p != NULL) {
		trust(e, p);
	}
	chore_soon(e, CHORE_LOOKS, 0);
	turn_end(e);
}

static void on_probe(void *arg, enum log_result result, bool is_free)
{
	struct engine *e = arg;
	struct peer   *p;

	turn_begin(e);
	e->probe_busy = false;
	p = peer_find(e, e->probed);
	if (p != NULL && is_other(e, p)) {
		if (result != LOG_DONE || !is_free) {
			trust(e, p);
		} else if (p->free_since == 0) {
			suspect(e, p);
		} else if (e->probe_at - p->free_since < e->config.fence_delay_ms) {
			p->look_at = p->free_since + e->config.fence_delay_ms; /* a watch fired meanwhile */
		} else if (e->acting && boot_ms(e) >= grace_ends(e)) {
			e->fence_busy = true;
			p->look_at = boot_ms(e) + e->config.ttl_ms;
			e->ports.log.fence(e->ports.log.ctx, e->me, p->id, p->lock_key, on_fence, e);
		} else {
			suspect(e, p);
		}
	}
	chore_soon(e, CHORE_LOOKS, 0);
	turn_end(e);
}

void fence_looks(struct engine *e)
{
	struct peer *due = NULL;

	if (e->probe_busy || e->fence_busy || e->gone)
		return;
	for (size_t i = 0; i < e->peers_n; i++)
		if (is_other(e, &e->peers[i]) && (due == NULL || e->peers[i].look_at < due->look_at))
			due = &e->peers[i];
	if (due == NULL)
		return;
	if (due->look_at > boot_ms(e)) {
		chore_in(e, CHORE_LOOKS, due->look_at - boot_ms(e));
	} else if (!e->acting) { /* who may not act does not judge */
		chore_in(e, CHORE_LOOKS, e->config.fence_delay_ms);
	} else {
		e->probe_busy = true;
		e->probed = due->id;
		e->probe_at = boot_ms(e);
		e->ports.lease.probe(e->ports.lease.ctx, due->lock_key, on_probe, e);
	}
}

/* ---- the ring: each watches the next live one ------------------------------------------------ */

static void on_watch(void *arg, enum log_result result, bool is_free)
{
	struct engine *e = arg;
	struct peer   *p;

	turn_begin(e);
	e->watching = false;
	p = peer_find(e, e->watched);
	if (result == LOG_DONE && is_free && p != NULL && is_other(e, p) && p->free_since == 0) {
		suspect(e, p);
		chore_soon(e, CHORE_LOOKS, 0);
	}
	turn_end(e);
}

static struct peer *next_in_ring(const struct engine *e)
{
	struct peer *first = NULL;

	for (size_t i = 0; i < e->peers_n; i++) {
		struct peer *p = &e->peers[i];

		if (!is_other(e, p))
			continue;
		if (memcmp(p->id.b, e->me.b, sizeof e->me.b) > 0)
			return p;
		if (first == NULL)
			first = p;
	}
	return first;
}

void fence_watch(struct engine *e)
{
	struct peer *p = next_in_ring(e);

	if (e->watching && (p == NULL || !uuid_eq(p->id, e->watched))) {
		e->ports.lease.unwatch(e->ports.lease.ctx);
		e->watching = false;
	}
	if (e->watching || p == NULL || p->free_since != 0 || e->draining)
		return;
	e->watching = true;
	e->watched = p->id;
	e->ports.lease.watch(e->ports.lease.ctx, p->lock_key, on_watch, e);
}
