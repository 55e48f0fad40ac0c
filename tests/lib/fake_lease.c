/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_lease.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECT_TIMEOUT_MS = 1000, MARKS_KEPT = 8, ROW_LOOK_MS = 250 };

/* A row as a beat left it. */
struct mark {
	int64_t number, at; /* at: the loop's clock */
	int64_t seen_at;    /* the server's */
};

struct session {
	struct list        link;
	struct fake_locks *locks;
	struct fake_lease *lease; /* NULL: its process or connection is gone */
	int64_t            key, since, heard_at;
	uint32_t           ttl_ms;
	bool               row;   /* outlives its connection */
	struct mark        marks[MARKS_KEPT]; /* of a row, newest first */
};

struct fake_locks {
	struct fake_loop *loop;
	struct list       sessions, leases;
	bool              down;
	int64_t           marks, stalls_until;
	int64_t         (*now_ms)(void *ctx);
	void             *ctx;
};

enum ask { ASK_OPEN, ASK_BEAT, ASK_PROBE, ASK_WATCH };

struct wish {
	struct list        link; /* of the lease, until answered */
	struct fake_lease *lease;
	enum ask           ask;
	int64_t            key, sent_at;
	uint32_t           ttl_ms;
	enum lease_result  result;
	bool               is_free, waiting, dropped;
	struct lease_sight sight;
	unsigned           events;
	lease_done        *lease_done;
	probe_done        *probe_done;
	void              *arg;
};

struct fake_lease {
	struct list              link;
	struct fake_lease_config config;
	struct list              wishes;
	struct session          *session;
	bool                     cut;
	int64_t                  proven_at;
};

/* ---- the server: sessions and their locks -------------------------------------- */

static struct session *holder(const struct fake_locks *locks, int64_t key)
{
	list_each(it, after, &locks->sessions) {
		struct session *s = list_entry(it, struct session, link);

		if (s->key == key)
			return s;
	}
	return NULL;
}

static int64_t server_now(const struct fake_locks *locks)
{
	return locks->now_ms != NULL ? locks->now_ms(locks->ctx) : locks->loop->now;
}

#if defined BUG_ROW_OVER_BY_THE_CLOCK || defined BUG_ROW_HELD_BY_THE_CLOCK
/* What the row says by the server's clock. */
static bool looks_over(const struct session *s)
{
	return server_now(s->locks) - s->marks[0].seen_at > s->ttl_ms;
}
#endif

bool fake_locks_is_held(const struct fake_locks *locks, int64_t key, int64_t mark)
{
	const struct session *s = holder(locks, key);

	if (s == NULL || !s->row)
		return s != NULL;
#ifdef BUG_ROW_OVER_BY_THE_CLOCK
	if (looks_over(s))
		return false;
#endif
#ifdef BUG_ROW_HELD_BY_THE_CLOCK
	if (!looks_over(s))
		return true;
#endif
	return s->marks[0].number != mark;
}

struct lease_sight fake_locks_sight(const struct fake_locks *locks, int64_t key)
{
	const struct session *s = holder(locks, key);

	return s != NULL && s->row ? (struct lease_sight){ s->marks[0].number, s->ttl_ms } : (struct lease_sight){ 0 };
}

static void put_mark(struct session *s)
{
	memmove(s->marks + 1, s->marks, sizeof s->marks - sizeof s->marks[0]);
	s->marks[0] = (struct mark){ ++s->locks->marks, s->locks->loop->now, server_now(s->locks) };
}

int64_t fake_locks_silent_ms(const struct fake_locks *locks, int64_t key)
{
	const struct session *s = holder(locks, key);

	return s != NULL && s->row ? locks->loop->now - s->heard_at : -1;
}

int64_t fake_locks_held_ms(const struct fake_locks *locks, int64_t key)
{
	const struct session *s = holder(locks, key);

	return s == NULL ? -1 : locks->loop->now - s->since;
}

static void answer(struct wish *wish, int64_t delay_ms);

static void hear_lost(void *arg)
{
	struct fake_lease *lease = arg;

	lease->config.lost(lease->config.ctx);
}

static void end_connection(struct session *s, bool silent)
{
	struct fake_lease *lease = s->lease;

	s->lease = NULL;
	if (lease == NULL)
		return;
	lease->session = NULL;
	if (!silent && !lease->cut)
		fake_loop_post(s->locks->loop, lease->config.end, 1, hear_lost, NULL, lease);
}

static void end_session(struct session *s, bool silent)
{
	struct fake_locks *locks = s->locks;
	int64_t            key = s->key;

	end_connection(s, silent);
	list_remove(&s->link);
	s->locks = NULL; /* its timer frees it */
	list_each(it, after, &locks->leases)
		list_each(it2, after2, &list_entry(it, struct fake_lease, link)->wishes) {
			struct wish *wish = list_entry(it2, struct wish, link);

			if (wish->ask == ASK_WATCH && wish->waiting && wish->key == key) {
				wish->waiting = false;
				wish->is_free = true;
				answer(wish, s->row ? ROW_LOOK_MS : 2); /* nobody waits for a row: it is looked at */
			}
		}
}

/* The connection is gone: a lock goes with it. */
static void drop_session(struct session *s, bool silent)
{
	if (s->row)
		end_connection(s, silent);
	else
		end_session(s, silent);
}

static void forget_session(void *arg)
{
	struct session *s = arg;

	if (s->locks != NULL)
		list_remove(&s->link);
	free(s);
}

static void check_idle(void *arg)
{
	struct session *s = arg;

	if (s->locks == NULL) {
		free(s);
		return;
	}
	struct fake_loop *loop = s->locks->loop;
	int64_t           left = s->heard_at + s->ttl_ms - loop->now, stalled = s->locks->stalls_until - loop->now;
	if (stalled > 0) {
		fake_loop_post(loop, NULL, stalled, check_idle, forget_session, s);
		return;
	}
	if (s->row || left > 0) { /* a row has no session that could be idle */
		fake_loop_post(loop, NULL, left > 0 ? left : s->ttl_ms, check_idle, forget_session, s);
		return;
	}
	end_session(s, false);
	free(s);
}

static enum lease_result serve_open(struct wish *wish)
{
	struct fake_lease *lease = wish->lease;
	struct fake_locks *locks = lease->config.locks;
	struct session    *s = holder(locks, wish->key);

	if (s != NULL && s->row) { /* only its own incarnation knows the key: it goes on in a new session */
		end_connection(s, true);
		s->lease = lease;
		s->since = s->heard_at = locks->loop->now;
		put_mark(s);
		lease->session = s;
		return LEASE_HELD;
	}
	if (s != NULL && s->lease == lease)
		end_session(s, true);
	if (s != NULL)
		return LEASE_TAKEN;
	if (lease->session != NULL)
		drop_session(lease->session, true);
	s = mem_alloc(sizeof *s);
	*s = (struct session){ .locks = locks, .lease = lease, .key = wish->key,
		               .since = locks->loop->now, .heard_at = locks->loop->now, .ttl_ms = wish->ttl_ms,
		               .row = lease->config.row };
	list_push(&locks->sessions, &s->link);
	lease->session = s;
	if (s->row)
		put_mark(s);
	fake_loop_post(locks->loop, NULL, wish->ttl_ms, check_idle, forget_session, s);
	return LEASE_HELD;
}

/* ---- messages ----------------------------------------------------------------------- */

static void release(struct wish *wish)
{
	if (wish->events == 0 && wish->dropped)
		free(wish);
}

static void drop_wish(struct wish *wish)
{
	list_remove(&wish->link);
	wish->dropped = true;
	wish->waiting = false;
}

static void nobody_there(void *arg)
{
	struct wish *wish = arg;

	wish->events--;
	if (!wish->dropped)
		drop_wish(wish);
	release(wish);
}

static void deliver(void *arg)
{
	struct wish *wish = arg;

	wish->events--;
	if (!wish->dropped) {
		drop_wish(wish);
		if (wish->ask == ASK_OPEN || wish->ask == ASK_BEAT) {
			if (wish->result == LEASE_HELD && wish->sent_at > wish->lease->proven_at)
				wish->lease->proven_at = wish->sent_at;
			wish->lease_done(wish->arg, wish->result, NULL);
		} else {
			bool done = wish->result == LEASE_HELD;

			wish->probe_done(wish->arg, done ? LOG_DONE : LOG_AWAY, done && wish->is_free,
			                 done ? wish->sight : (struct lease_sight){ 0 });
		}
	}
	release(wish);
}

static void answer(struct wish *wish, int64_t delay_ms)
{
	struct fake_lease *lease = wish->lease;

	if (wish->dropped)
		return;
	if (lease->cut && wish->result != LEASE_LOST) {
		wish->result = LEASE_LOST;
		delay_ms = CONNECT_TIMEOUT_MS;
	}
	wish->events++;
	fake_loop_post(lease->config.locks->loop, lease->config.end, delay_ms, deliver, nobody_there, wish);
}

static void vanish(void *arg)
{
	nobody_there(arg);
}

static void arrive(void *arg)
{
	struct wish *wish = arg;

	wish->events--;
	if (wish->dropped) {
		release(wish);
		return;
	}
	struct fake_lease *lease = wish->lease;
	struct fake_locks *locks = lease->config.locks;
	if (locks->stalls_until > locks->loop->now) {
		wish->events++;
		fake_loop_post(locks->loop, NULL, locks->stalls_until - locks->loop->now, arrive, vanish, wish);
		return;
	}
	wish->result = LEASE_LOST;
	if (!locks->down && !lease->cut) {
		switch (wish->ask) {
		case ASK_OPEN: wish->result = serve_open(wish); break;
		case ASK_BEAT:
			if (lease->session == NULL)
				break;
			lease->session->heard_at = locks->loop->now;
			if (lease->session->row)
				put_mark(lease->session);
			wish->result = LEASE_HELD;
			break;
		case ASK_PROBE:
		case ASK_WATCH:
			wish->result = LEASE_HELD;
			wish->is_free = !fake_locks_is_held(locks, wish->key, 0);
			wish->waiting = wish->ask == ASK_WATCH && !wish->is_free;
			wish->sight = fake_locks_sight(locks, wish->key);
			break;
		}
	}
	if (!wish->waiting)
		answer(wish, lease->cut ? CONNECT_TIMEOUT_MS : lease->config.delay(lease->config.ctx));
}

static struct wish *ask(struct fake_lease *lease, enum ask what, int64_t key)
{
	struct wish *wish = mem_alloc(sizeof *wish);

	wish->lease = lease;
	wish->ask = what;
	wish->key = key;
	wish->sent_at = lease->config.locks->loop->now;
	list_push(&lease->wishes, &wish->link);
	wish->events++;
	fake_loop_post(lease->config.locks->loop, NULL, lease->config.delay(lease->config.ctx), arrive,
	               vanish, wish);
	return wish;
}

static void port_open(void *ctx, int64_t key, uint32_t ttl_ms, lease_done *done, void *arg)
{
	struct wish *wish = ask(ctx, ASK_OPEN, key);

	wish->ttl_ms = ttl_ms;
	wish->lease_done = done;
	wish->arg = arg;
}

static void port_beat(void *ctx, lease_done *done, void *arg)
{
	struct wish *wish = ask(ctx, ASK_BEAT, 0);

	wish->lease_done = done;
	wish->arg = arg;
}

static void drop_wishes(struct fake_lease *lease, unsigned kinds)
{
	list_each(it, after, &lease->wishes) {
		struct wish *wish = list_entry(it, struct wish, link);

		if ((kinds & 1u << wish->ask) == 0)
			continue;
		drop_wish(wish);
		release(wish);
	}
}

static void port_close(void *ctx)
{
	struct fake_lease *lease = ctx;

	drop_wishes(lease, 1u << ASK_OPEN | 1u << ASK_BEAT);
	lease->proven_at = -1;
	if (lease->session == NULL)
		return;
	if (lease->session->row && lease->cut)
		end_connection(lease->session, true); /* nobody hears that it is free: it ends by itself */
	else
		end_session(lease->session, true);
}

static void port_probe(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct wish *wish = ask(ctx, ASK_PROBE, key);

	wish->probe_done = done;
	wish->arg = arg;
}

static void port_watch(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct wish *wish;

	drop_wishes(ctx, 1u << ASK_WATCH);
	wish = ask(ctx, ASK_WATCH, key);
	wish->probe_done = done;
	wish->arg = arg;
}

static void port_unwatch(void *ctx)
{
	drop_wishes(ctx, 1u << ASK_WATCH);
}

/* ---- handles ------------------------------------------------------------------------- */

struct fake_locks *fake_locks_open(struct fake_loop *loop)
{
	struct fake_locks *locks = mem_alloc(sizeof *locks);

	locks->loop = loop;
	list_init(&locks->sessions);
	list_init(&locks->leases);
	return locks;
}

void fake_locks_close(struct fake_locks *locks)
{
	free(locks);
}

void fake_locks_end(struct fake_locks *locks, int64_t key)
{
	struct session *s = holder(locks, key);

	if (s != NULL && s->row)
		end_session(s, false);
}

void fake_locks_clock(struct fake_locks *locks, int64_t (*now_ms)(void *ctx), void *ctx)
{
	locks->now_ms = now_ms;
	locks->ctx = ctx;
}

/* Beats are not flushed: the row is again as one before them has left it, or not there yet. */
static void forget_marks(struct session *s, int64_t lost_ms)
{
	while (s->marks[0].number != 0 && s->marks[0].at > s->locks->loop->now - lost_ms) {
		memmove(s->marks, s->marks + 1, sizeof s->marks - sizeof s->marks[0]);
		s->marks[MARKS_KEPT - 1] = (struct mark){ 0 };
	}
}

void fake_locks_stop(struct fake_locks *locks, int64_t lost_ms)
{
	locks->down = true;
	list_each(it, after, &locks->sessions) {
		struct session *s = list_entry(it, struct session, link);

		forget_marks(s, s->row && lost_ms > 0 ? lost_ms : 0);
		if (s->row && s->marks[0].number == 0)
			end_session(s, false);
		else
			drop_session(s, false);
	}
	list_each(it, after, &locks->leases)
		fake_lease_break_watch(list_entry(it, struct fake_lease, link));
}

void fake_locks_start(struct fake_locks *locks)
{
	locks->down = false;
}

void fake_locks_stall(struct fake_locks *locks, int64_t ms)
{
	locks->stalls_until = locks->loop->now + ms;
}

struct fake_lease *fake_lease_open(const struct fake_lease_config *config, struct lease_port *port)
{
	struct fake_lease *lease = mem_alloc(sizeof *lease);

	lease->config = *config;
	lease->proven_at = -1;
	list_init(&lease->wishes);
	list_push(&config->locks->leases, &lease->link);
	*port = (struct lease_port){ .ctx = lease, .open = port_open, .beat = port_beat,
		                     .close = port_close, .probe = port_probe,
		                     .watch = port_watch, .unwatch = port_unwatch };
	return lease;
}

void fake_lease_close(struct fake_lease *lease)
{
	drop_wishes(lease, ~0u);
	list_remove(&lease->link);
	if (lease->session != NULL)
		drop_session(lease->session, true);
	free(lease);
}

void fake_lease_drop(struct fake_lease *lease, bool silent)
{
	if (lease->session != NULL)
		drop_session(lease->session, silent);
}

void fake_lease_cut(struct fake_lease *lease, bool cut)
{
	lease->cut = cut;
}

void fake_lease_break_watch(struct fake_lease *lease)
{
	list_each(it, after, &lease->wishes) {
		struct wish *wish = list_entry(it, struct wish, link);

		if (wish->ask != ASK_WATCH || !wish->waiting)
			continue;
		wish->waiting = false;
		wish->result = LEASE_LOST;
		answer(wish, 1);
	}
}

int64_t fake_lease_proven_at(const struct fake_lease *lease)
{
	return lease->proven_at;
}
