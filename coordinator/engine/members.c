/* SPDX-License-Identifier: Apache-2.0
 * members.c - the list of the replicas, as the log has it.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MEMBERS_EVERY_MS = 1000, MEMBERS_CALM_MS = 2000, MEMBERS_MS_EACH = 10, IDLE_BELOW = 10 };

/* ---- the list ------------------------------------------------------------------------ */

size_t peer_place(const struct engine *e, struct uuid id)
{
	size_t low = 0, high = e->peers_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(e->peers[mid].id.b, id.b, sizeof id.b) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct peer *peer_find(const struct engine *e, struct uuid id)
{
	size_t i = peer_place(e, id);

	return i < e->peers_n && uuid_eq(e->peers[i].id, id) ? &e->peers[i] : NULL;
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

/* From now on, and not from when it was written: how long ago that is only the database's clock could say. */
void peer_saw(const struct engine *e, struct peer *p, struct lease_sight sight)
{
	if (sight.mark != p->lease.mark)
		p->lease_since = boot_ms(e);
#ifdef BUG_ROW_SEEN_ONCE
	if (p->lease.mark != 0)
		p->lease_since = -(1 << 30);
#endif
	p->lease = sight;
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

static double speed_of(const struct member *m)
{
	return m->speed > 1 ? m->speed : 1;
}

/* Speed is what somebody was seen to do. Below a tenth of the fastest he was not asked for more, rather than slow:
 * after a day with all callers at one replica the others would be left out. So he counts as the mean of the rest. */
static bool was_idle(const struct member *m, double top)
{
	return speed_of(m) * IDLE_BELOW < top;
}

static double mean_speed(const struct member *m, size_t n, double top)
{
	double   sum = 0;
	unsigned busy = 0;

	for (size_t i = 0; i < n; i++)
		if (m[i].state == MEMBER_LIVE && !was_idle(&m[i], top)) {
			sum += speed_of(&m[i]);
			busy++;
		}
	return busy > 0 ? sum / busy : 1;
}

/* Whoever has no room takes nothing: K counts three quarters of it as full. */
void engine_shares(const struct member *m, size_t n, double *shares)
{
	double top = 0, all = 0, mean;

	for (size_t i = 0; i < n; i++)
		if (m[i].state == MEMBER_LIVE && speed_of(&m[i]) > top)
			top = speed_of(&m[i]);
	mean = mean_speed(m, n, top);
	for (size_t i = 0; i < n; i++) {
		bool takes = m[i].state == MEMBER_LIVE && m[i].load <= 1.3;

		shares[i] = takes ? m[i].weight * (was_idle(&m[i], top) ? mean : speed_of(&m[i])) : 0;
		all += shares[i];
	}
	for (size_t i = 0; i < n && all > 0; i++)
		shares[i] /= all;
}

static void keep_members(struct engine *e, const struct member *m, size_t n)
{
	struct peer *peers = mem_array(n + 1, sizeof *peers);
	double      *shares = mem_array(n, sizeof *shares);

	engine_shares(m, n, shares);
	for (size_t i = 0; i < n; i++) {
		const struct peer *old = peer_find(e, m[i].id);
		struct str         address = str_dup(m[i].address);

		peers[i] = (struct peer){ .id = m[i].id, .lock_key = m[i].lock_key,
					  .state = m[i].state, .address = (char *)(uintptr_t)address.p,
					  .share = shares[i], .has_room = m[i].load <= 1,
					  .owns = m[i].owns, .rows = m[i].rows, .look_at = AT_NEVER };
		if (old == NULL) {
			peer_saw(e, &peers[i], m[i].lease);
			continue;
		}
		peers[i].lease = old->lease;
		peers[i].lease_since = old->lease_since;
		peer_saw(e, &peers[i], m[i].lease);
		peers[i].swept_at = old->swept_at;
		peers[i].free_since = old->free_since;
		peers[i].look_at = old->look_at;
		peers[i].told = old->told;
	}
	free(shares);
	qsort(peers, n, sizeof *peers, compare_peers);
	members_fini(e);
	e->peers = peers;
	e->peers_n = n;
}

/* There is work for all: they need not find out by their next look. */
static void share_news(struct engine *e)
{
	for (size_t i = 0; i < e->peers_n; i++) {
		struct peer *dead = &e->peers[i];
		char         id[UUID_TEXT + 1];

		if (!dead->told || dead->state == MEMBER_LIVE)
			continue;
		dead->told = false;
		if (dead->rows < ADOPT_PAGE)
			continue;
		uuid_text(dead->id, id);
		for (size_t k = 0; k < e->peers_n; k++)
			if (peer_is_other(e, &e->peers[k]))
				e->ports.poke.poke(e->ports.poke.ctx, str_of(e->peers[k].address), str_of(id));
	}
}

bool members_poked(struct engine *e, struct str gid)
{
	struct uuid id;

	if (!uuid_parse(gid, &id) || peer_find(e, id) == NULL)
		return false;
	chore_soon(e, CHORE_MEMBERS, 0);
	return true;
}

/* All are well, and whoever dies frees a lock that somebody waits for. */
static bool is_calm(const struct engine *e)
{
	for (size_t i = 0; i < e->peers_n; i++) {
		const struct peer *p = &e->peers[i];

		if (p->state == MEMBER_LIVE ? p->lease.mark != 0 || p->free_since != 0 || !p->has_room : p->owns)
			return false;
	}
	return true;
}

/* Each asks for all of them: with 200 replicas every two seconds, or they alone would keep a core busy. */
static int64_t every_ms(const struct engine *e)
{
	int64_t least = is_calm(e) ? MEMBERS_CALM_MS : MEMBERS_EVERY_MS, ms = MEMBERS_MS_EACH * (int64_t)e->peers_n;

	if (ms > e->config.ttl_ms / 2)
		ms = e->config.ttl_ms / 2;
	return ms > least ? ms : least;
}

static void on_members(void *arg, enum log_result result, const struct member *m, size_t n)
{
	struct engine *e = arg;

	turn_begin(e);
	e->members_busy = false;
	chore_soon(e, CHORE_MEMBERS, about(e, every_ms(e)));
	if (result == LOG_DONE && e->members_life == e->life && !e->gone) {
		keep_members(e, m, n);
		share_news(e);
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
