/* SPDX-License-Identifier: Apache-2.0
 * replica.c - a real engine in an unreliable process: its ports, its clocks, its crashes and freezes.
 */
#include "tests/sim/world.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MAX = 500 }; /* turns in one millisecond */

/* ---- clocks, chance, words ------------------------------------------------------- */

int64_t replica_latest(const struct replica *r)
{
	return world_latest(r->w) + r->skew;
}

static int64_t port_now(void *ctx)
{
	const struct replica *r = ctx;

	return world_now(r->w) + r->skew;
}

static int64_t port_boot(void *ctx)
{
	const struct replica *r = ctx;

	return r->w->loop.now + r->boot_offset;
}

static uint64_t port_random(void *ctx)
{
	return world_random(((struct replica *)ctx)->w);
}

static void port_line(void *ctx, enum trace_level level, const char *event, struct str gid,
                      const char *detail)
{
	struct replica *r = ctx;

	(void)level;
	if (strcmp(event, "live") == 0)
		r->live_since = r->w->loop.now;
	say(r->w, "r%u   %s %.*s %s", r->number, event, (int)gid.n, gid.p, detail != NULL ? detail : "");
}

/* ---- pokes -------------------------------------------------------------------------- */

struct poke {
	struct replica *r;
	struct str      gid;
};

static void drop_poke(void *arg)
{
	struct poke *p = arg;

	free((char *)(uintptr_t)p->gid.p);
	free(p);
}

static void deliver_poke(void *arg)
{
	struct poke *p = arg;

	engine_on_poke(p->r->engine, p->gid);
	drop_poke(p);
}

static void port_poke(void *ctx, struct str address, struct str gid)
{
	struct replica *from = ctx;
	struct world   *w = from->w;

	for (unsigned i = 0; i < REPLICAS; i++) {
		struct replica *r = &w->replicas[i];

		if (!str_is(address, r->address) || !r->up || fault(w, FAULT_LOST_CALLS, 4))
			continue;
		struct poke *p = mem_alloc(sizeof *p);
		*p = (struct poke){ r, str_dup(gid) };
		fake_loop_post(&w->loop, &r->end, wire_ms(w), deliver_poke, drop_poke, p);
	}
}

/* ---- the log's and the lease's moods -------------------------------------------------- */

bool replica_may_act(const struct replica *r)
{
	int64_t proven = fake_lease_proven_at(r->lease);

	return proven >= 0 && r->w->loop.now <= proven + TTL_MS - MARGIN_MS;
}

static void restore_log(void *arg)
{
	struct replica *r = arg;

	if (r->up && !r->log_cut)
		engine_on_log_back(r->engine);
}

/* It hears of a failover before it can ask the new server anything. */
static void reconnect(void *arg)
{
	struct replica *r = arg;

	if (!r->up || r->log_cut)
		return;
	if (r->failed_over)
		engine_on_failover(r->engine, 0, true);
	r->failed_over = false;
	fake_log_restore(r->log, FAKE_COMMITS | FAKE_OTHERS);
	fake_loop_post(&r->w->loop, &r->end, 1, restore_log, NULL, r);
}

static void end_log_cut(void *arg)
{
	struct replica *r = arg;

	r->log_cut = false;
	if (!r->up)
		return;
	say(r->w, "r%u has the log again", r->number);
	fake_loop_post(&r->w->loop, &r->end, 0, reconnect, NULL, r);
}

void replica_break_log(struct replica *r, unsigned channels, int64_t ms)
{
	if (!r->up || r->log_cut)
		return;
	say(r->w, "r%u loses the log for %lld ms%s", r->number, (long long)ms,
	    channels == FAKE_COMMITS ? " (commits only)" : "");
	r->log_cut = true;
	fake_log_break(r->log, channels);
	after(r->w, ms, end_log_cut, NULL, r);
}

void replica_break_commits(void *arg)
{
	struct replica *r = arg;

	if (r->up && !r->log_cut) {
		r->w->seen->commits_lost++;
		replica_break_log(r, FAKE_COMMITS, 50 + 100 * (int64_t)choose(r->w, 20));
	}
}

static void commit_fate(struct replica *r, struct fake_fate *f)
{
	struct world *w = r->w;

	if (!replica_may_act(r))
		violated(w, 1, "r%u sends a commit past its lease", r->number);
	f->arrive_ms = 1;
	f->answer_ms = 1;
	f->land_ms = choose(w, 4);
	if (w->loop.now < w->stalls_until)
		f->arrive_ms += w->stalls_until - w->loop.now;
	if (w->loop.now < r->silent_until)
		f->arrive_ms += r->silent_until - w->loop.now;
	if (w->loop.now < w->slow_until)
		f->land_ms += 100 * (int64_t)choose(w, 32);
	if (fault(w, FAULT_LATE_COMMITS, 12)) {
		f->land_ms += 50 * (int64_t)choose(w, 64);
		f->arrive_ms += 10 * (int64_t)choose(w, 16);
	}
	if (fault(w, FAULT_LOST_COMMITS, 12))
		after(w, (int64_t)choose(w, (uint32_t)(f->arrive_ms + f->land_ms + 3)), replica_break_commits, NULL, r);
	if (fault(w, FAULT_REFUSED_COMMITS, 12)) {
		f->refuse = choose(w, 2) ? LOG_AWAY : LOG_AGAIN;
		w->seen->refused_again += f->refuse == LOG_AGAIN;
		w->seen->refused_away += f->refuse == LOG_AWAY;
	}
}

static void fate(void *ctx, enum fake_verb verb, struct fake_fate *f)
{
	struct replica *r = ctx;
	struct world   *w = r->w;

	*f = (struct fake_fate){ .arrive_ms = 1, .answer_ms = 1 };
	if (verb == FAKE_COMMIT) {
		commit_fate(r, f);
		return;
	}
	if (w->loop.now < w->stalls_until)
		f->arrive_ms += w->stalls_until - w->loop.now;
	/* Polls are many and mostly empty: they take no place on the tape. */
	if (verb == FAKE_LOOK || verb == FAKE_TAKE_DUE || verb == FAKE_INBOX_READ || verb == FAKE_MEMBERS || verb == FAKE_REPORT ||
	    verb == FAKE_ENDED || verb == FAKE_INBOX_VERDICTS || verb == FAKE_SWEEP)
		return;
	if (w->loop.now < w->slow_until)
		f->arrive_ms += 50 * (int64_t)choose(w, 16);
	if (fault(w, FAULT_LATE_COMMITS, 12)) {
		f->arrive_ms += 20 * (int64_t)choose(w, 16);
		f->answer_ms += 20 * (int64_t)choose(w, 16);
	}
	if (fault(w, FAULT_REFUSED_COMMITS, 12))
		f->refuse = LOG_AWAY;
}

static bool survives(void *ctx, enum fake_verb verb)
{
	struct replica *r = ctx;
	bool            yes = choose(r->w, 2) == 0;

	r->w->seen->never_landed += verb == FAKE_COMMIT && !yes;
	return yes;
}

static int64_t lease_delay(void *ctx)
{
	struct world *w = ((struct replica *)ctx)->w;

	if (!fault(w, FAULT_LEASE_CUT, 6))
		return 1;
	return 1 + (choose(w, 4) == 3 ? 250 : 50) * (int64_t)choose(w, 12); /* perhaps past the end of the lease */
}

static void lease_lost(void *ctx)
{
	struct replica *r = ctx;

	if (r->up)
		engine_on_lease_lost(r->engine);
}

/* ---- the shell: flush before the loop sleeps, one timer ------------------------------ */

static void arm(struct replica *r);

static void look_around(struct replica *r)
{
	struct engine_stats s;
	struct world       *w = r->w;

	engine_stats(r->engine, &s);
	if (!uuid_eq(s.me, r->me)) {
		w->seen->incarnations++;
		world_mix(w, s.me.b[0]);
		r->me = s.me;
	}
	w->seen->missed_changes += s.missed_rows - r->missed;
	w->seen->found_stranded += s.found - r->found;
	w->seen->folded += s.folded - r->folded;
	w->seen->crowded += s.load > 1;
	r->missed = s.missed_rows;
	r->folded = s.folded;
	r->found = s.found;
	if (s.state == ENGINE_SUSPENDED && !r->was_fenced)
		w->seen->self_fences++;
	r->was_fenced = s.state == ENGINE_SUSPENDED;
	if (s.state == ENGINE_LIVE && fake_log_owes(r->log, s.me))
		violated(w, 105, "r%u acts while the log owes it the answer of an earlier life", r->number);
}

static void turn_ends(void *arg)
{
	struct replica *r = arg;

	r->flush_posted = false;
	r->skip_wake = true;
	engine_flush(r->engine);
	look_around(r);
	arm(r);
}

static void tick(void *arg)
{
	struct replica *r = arg;

	if (r->tick_at == 0 || r->tick_at > r->w->loop.now)
		return; /* armed anew since */
	r->tick_at = 0;
	engine_tick(r->engine);
}

static void arm(struct replica *r)
{
	struct world *w = r->w;
	int64_t       next = engine_next_at(r->engine);

	if (next == INT64_MAX)
		return;
	int64_t at = next - r->boot_offset;
	if (at < w->loop.now)
		at = w->loop.now;
	if (at == w->loop.now) {
		r->busy_n = r->busy_at == at ? r->busy_n + 1 : 0;
		r->busy_at = at;
		if (r->busy_n > BUSY_MAX)
			violated(w, 2, "r%u never sleeps", r->number);
	}
	if (r->tick_at != 0 && r->tick_at <= at)
		return;
	r->tick_at = at;
	fake_loop_post(&w->loop, &r->end, at - w->loop.now, tick, NULL, r);
}

static void woken(void *ctx)
{
	struct replica *r = ctx;

	if (r->skip_wake) {
		r->skip_wake = false;
		return;
	}
	if (!r->up || r->flush_posted)
		return;
	r->flush_posted = true;
	/* What one turn takes in goes out at its end; a freeze may come between. */
	fake_loop_post(&r->w->loop, &r->end, 0, turn_ends, NULL, r);
	if (fault(r->w, FAULT_FREEZE, 400)) {
		r->w->seen->frozen_mid_batch++;
		replica_freeze(r, 100 + 100 * (int64_t)choose(r->w, 40));
	}
}

/* ---- life and death --------------------------------------------------------------------- */

/* It meets the new server as the first that it knows, and reads there that it was promoted and when. */
static void read_timelines(void *arg)
{
	struct replica *r = arg;
	int64_t         ago = r->w->loop.now - r->w->promoted_at;

	r->w->seen->came_after_failover++;
	engine_on_failover(r->engine, ago > 0 ? ago : 0, false);
}

static bool has_row(const struct replica *r)
{
	return r->w->rows == ROWS_ALL || (r->w->rows == ROWS_SOME && choose(r->w, 2));
}

void replica_start(struct replica *r)
{
	struct world        *w = r->w;
	struct engine_config c = { .ttl_ms = TTL_MS, .beat_ms = BEAT_MS, .margin_ms = MARGIN_MS,
		                   .fence_delay_ms = 250, .keep_bytes = 1 << 16, .transactions_max = r->w->small ? 2 : 100,
		                   .batch_rows = 2 + tape_choose(w->tape, 3), .batch_bytes = 1 << 16,
		                   .weight = 1 + 50 * r->number, .address = str_of(r->address) };

	c.batch_behind = c.batch_rows % 3; /* 2, none, or 1 */
	c.park_after_ms = tape_choose(w->tape, 2) ? 300 : 1500;
	if (r->end.loop == NULL)
		fake_end_init(&r->end, &w->loop, woken, r);
	r->log = fake_log_open(&(struct fake_log_config){ w->db, &r->end, r, fate, survives }, &r->ports.log);
	r->lease = fake_lease_open(
		&(struct fake_lease_config){ w->locks, &r->end, r, lease_delay, lease_lost, has_row(r) }, &r->ports.lease);
	r->ports.clock = (struct clock_port){ r, port_now, port_boot, port_random };
	r->ports.poke = (struct poke_port){ r, port_poke };
	r->ports.trace = (struct trace_port){ .ctx = r, .line = port_line };
	plan_port(w, &r->ports.definition);
	service_port(r, &r->ports.caller);
	r->up = true;
	r->flush_posted = false;
	r->tick_at = 0;
	say(w, "r%u starts", r->number);
	r->engine = engine_open(&c, &r->ports);
	r->missed = r->found = 0;
	engine_start(r->engine);
	r->failed_over = false;
	if (w->promoted_at != 0)
		fake_loop_post(&w->loop, &r->end, 1, read_timelines, NULL, r);
	turn_ends(r);
	r->skip_wake = false;
}

void replica_stop(struct replica *r)
{
	say(r->w, "r%u stops", r->number);
	r->up = false;
	r->log_cut = false;
	engine_close(r->engine);
	r->engine = NULL;
	service_drop_calls(r);
	client_drop_requests(r);
	fake_log_close(r->log);
	fake_lease_close(r->lease);
	fake_end_die(&r->end);
	r->me = (struct uuid){ 0 };
}

struct thaw {
	struct replica *r;
	unsigned        life;
};

static void thaw(void *arg)
{
	struct thaw *t = arg;

	if (t->r->up && t->r->end.life == t->life)
		replica_thaw(t->r);
	free(t);
}

void replica_freeze(struct replica *r, int64_t ms)
{
	struct world *w = r->w;

	if (!r->up || r->end.frozen)
		return;
	say(w, "r%u freezes for %lld ms", r->number, (long long)ms);
	w->seen->freezes++;
	w->seen->frozen_past_lease += ms > TTL_MS;
	r->end.frozen = true;
	struct thaw *t = mem_alloc(sizeof *t);
	*t = (struct thaw){ r, r->end.life };
	after(w, ms, thaw, free, t);
}

void replica_thaw(struct replica *r)
{
	const struct member *m = fake_db_member(r->w->db, r->me);

	if (!r->end.frozen)
		return;
	say(r->w, "r%u thaws", r->number);
	r->thawed_at = r->w->loop.now;
	r->w->seen->thawed_zombies += m != NULL && m->state != MEMBER_LIVE;
	fake_end_thaw(&r->end);
}
