/* SPDX-License-Identifier: Apache-2.0
 * gremlin.c - what befalls replicas and the database from outside, until all is healed.
 */
#include "tests/sim/world.h"

static void restart(void *arg)
{
	struct replica *r = arg;

	if (!r->up)
		replica_start(r);
}

static int64_t draw_ms(struct world *w, int64_t unit)
{
	return unit + unit * (int64_t)choose(w, 24);
}

/* It may have been what it drove that killed it, and others before it. */
static void burden(struct replica *r)
{
	struct world *w = r->w;

	for (unsigned i = 0; i < w->record_n; i++) {
		const struct row *row = fake_db_row(w->db, str_of(w->records[i].gid));

		if (row != NULL && uuid_eq(row->owner, r->me) && choose(w, 4) == 1)
			fake_db_burden(w->db, row->gid, 2 + choose(w, 3));
	}
}

static void crash(struct replica *r)
{
	struct world *w = r->w;

	w->seen->crashes++;
	say(w, "r%u crashes", r->number);
	burden(r);
	replica_stop(r);
	after(w, draw_ms(w, 100), restart, NULL, r);
}

static void gone(void *arg)
{
	struct replica *r = arg;

	say(r->w, "r%u has left", r->number);
	replica_stop(r);
	after(r->w, draw_ms(r->w, 50), restart, NULL, r);
}

static void drained(void *arg)
{
	struct replica *r = arg;

	r->w->seen->drains++;
	/* Not from inside its own callback. */
	fake_loop_post(&r->w->loop, &r->end, 0, gone, NULL, r);
}

static void drain(void *arg)
{
	struct replica *r = arg;

	say(r->w, "r%u is told to leave", r->number);
	engine_drain(r->engine, 500, drained, r);
}

static void start_database(void *arg)
{
	struct world *w = arg;

	say(w, "the database is back");
	fake_locks_start(w->locks);
}

/* Its machine is paused: every session lives, and nothing is answered. */
static void stall_database(struct world *w)
{
	int64_t ms = draw_ms(w, 100);

	say(w, "the database stands still for %lld ms", (long long)ms);
	w->seen->stalls++;
	w->stalls_until = w->loop.now + ms;
	fake_locks_stall(w->locks, ms);
}

static void restart_database(struct world *w)
{
	int64_t ms = draw_ms(w, 50);

	if (choose(w, 3) == 2) {
		stall_database(w);
		return;
	}
	say(w, "the database restarts");
	w->seen->restarts++;
	fake_locks_stop(w->locks, 100 * (int64_t)choose(w, 7)); /* what was not on disk yet */
	for (unsigned i = 0; i < REPLICAS; i++)
		replica_break_log(&w->replicas[i], FAKE_COMMITS | FAKE_OTHERS, ms + 10 * (int64_t)choose(w, 30));
	fake_db_restart(w->db);
	after(w, ms, start_database, NULL, w);
}

static void end_lease_cut(void *arg)
{
	struct replica *r = arg;

	if (r->up)
		fake_lease_cut(r->lease, false);
}

static void cut_lease(struct replica *r)
{
	struct world *w = r->w;

	say(w, "r%u's lease is cut off", r->number);
	w->seen->lease_cut++;
	fake_lease_cut(r->lease, true);
	after(w, draw_ms(w, 200), end_lease_cut, NULL, r);
}

/* Told at once, by its next beat, or not before its own clock says so: then it goes on for a while
 * beside those who have fenced it, and only epochs and versions stand between them. */
static void drop_lease(struct replica *r)
{
	struct world *w = r->w;
	uint32_t      how = choose(w, 4);

	say(w, "r%u's lease is dropped%s", r->number, how > 0 ? ", and nobody tells it" : "");
	w->seen->lease_dropped++;
	w->seen->lease_dropped_silently += how > 0;
	fake_lease_drop(r->lease, how > 0);
	if (how > 1)
		cut_lease(r);
}

/* A black hole: what is sent gets there when it ends, or never. */
static void silence_log(struct replica *r)
{
	struct world *w = r->w;
	int64_t       ms = draw_ms(w, 200);

	say(w, "r%u's log session swallows everything for %lld ms", r->number, (long long)ms);
	w->seen->silent_logs++;
	r->silent_until = w->loop.now + ms;
	if (choose(w, 2))
		after(w, ms, replica_break_commits, NULL, r);
}

/* A replica of a newer version had it for a while: ours must leave it alone until it is what they know. */
static void understand(void *arg)
{
	struct record *rec = arg;

	fake_db_format(rec->w->db, str_of(rec->gid), ROW_FORMAT);
}

static void upgrade(struct world *w)
{
	struct record    *rec = &w->records[choose(w, w->record_n)];
	const struct row *row = fake_db_row(w->db, str_of(rec->gid));

	if (row == NULL || !uuid_is_nil(row->owner))
		return;
	say(w, "%s is written by a newer version", rec->gid);
	w->seen->newer_rows++;
	rec->newer_at = world_latest(w);
	fake_db_format(w->db, row->gid, ROW_FORMAT + 1);
	command_draw(w, rec); /* somebody wants something of it */
	after(w, draw_ms(w, 100), understand, NULL, rec);
}

/* Somebody sets the clock of the database's machine, or another machine takes over. Around the time that leases
 * last, since that is what they must not depend on, and by more. */
void gremlin_set_clock(struct world *w)
{
	static const int64_t by[] = { 0, TTL_MS + 100, TTL_MS - 300, TTL_MS / 4 + 50, 4 * TTL_MS };
	int64_t              ms = by[choose(w, sizeof by / sizeof by[0])];
	/* What waits for a time waits for it by this clock: not for longer than the run lasts. */
	bool                 back = choose(w, 2) == 1 && w->clock_off - ms >= w->clock_max - FAULTS_MS - TTL_MS;

	if (ms != 0)
		world_set_clock(w, back ? -ms : ms);
}

static void set_clock(void *arg)
{
	struct world *w = arg;

	if (!w->faults)
		return;
	gremlin_set_clock(w);
	after(w, 500 + 100 * (int64_t)choose(w, 40), set_clock, NULL, w);
}

static void strike(struct world *w, enum fault kind, struct replica *r)
{
	switch (kind) {
	case FAULT_CRASH: crash(r); break;
	case FAULT_FREEZE: replica_freeze(r, draw_ms(w, 200)); break;
	case FAULT_DRAIN: fake_loop_post(&w->loop, &r->end, 0, drain, NULL, r); break;
	case FAULT_LOST_COMMITS: replica_break_log(r, FAKE_COMMITS | FAKE_OTHERS, draw_ms(w, 50)); break;
	case FAULT_RESTART: restart_database(w); break;
	case FAULT_SLOW_DB:
		w->slow_until = w->loop.now + draw_ms(w, 200);
		w->seen->slow_times++;
		break;
	case FAULT_LEASE_DROP: drop_lease(r); break;
	case FAULT_LEASE_CUT: cut_lease(r); break;
	case FAULT_NEWER: upgrade(w); break;
	case FAULT_SILENT_LOG: silence_log(r); break;
	case FAULT_WATCH:
		fake_lease_break_watch(r->lease);
		w->seen->watch_broken++;
		break;
	case FAULT_LOST_CALLS:
	case FAULT_TWICE:
	case FAULT_SLOW_CALLS:
	case FAULT_REFUSE:
	case FAULT_ODD_ANSWERS:
	case FAULT_ASYNC:
	case FAULT_STALE:
	case FAULT_LATE_COMMITS:
	case FAULT_REFUSED_COMMITS:
	case FAULT_BAD_TEXT:
	case FAULT_COMMANDS:
	case FAULT_OPERATORS:
	case FAULT_SQL:
	case FAULT_CLIENTS: break; /* not at a time of their own */
	}
}

static void prowl(void *arg)
{
	static const enum fault kinds[] = { FAULT_CRASH, FAULT_FREEZE, FAULT_DRAIN, FAULT_LOST_COMMITS,
		                            FAULT_RESTART, FAULT_SLOW_DB, FAULT_LEASE_DROP,
		                            FAULT_LEASE_CUT, FAULT_WATCH, FAULT_SILENT_LOG, FAULT_NEWER };
	struct world *w = arg;
	enum fault    open[sizeof kinds / sizeof kinds[0]];
	uint32_t      n = 0;

	if (!w->faults)
		return;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if ((w->kinds & 1u << kinds[i]) != 0)
			open[n++] = kinds[i];
	if (n == 0)
		return;
	if (w->loop.now < w->calm_until) {
		after(w, 200, prowl, NULL, w);
		return;
	}
	uint32_t        what = choose(w, n + 1); /* 0: nothing */
	struct replica *r = &w->replicas[choose(w, REPLICAS)];
	if (what > 0 && r->up)
		strike(w, open[what - 1], r);
	after(w, 50 + 50 * (int64_t)choose(w, 24), prowl, NULL, w);
}

void gremlin_start(struct world *w)
{
	after(w, 100, prowl, NULL, w);
	if (w->clock_jumps)
		after(w, 300 + 100 * (int64_t)choose(w, 40), set_clock, NULL, w);
}

void gremlin_heal(struct world *w)
{
	fake_locks_start(w->locks);
	fake_locks_stall(w->locks, 0);
	w->slow_until = w->stalls_until = 0;
	for (unsigned i = 0; i < w->record_n; i++)
		understand(&w->records[i]);
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct replica *r = &w->replicas[i];

		if (!r->up)
			replica_start(r);
		replica_thaw(r);
		fake_lease_cut(r->lease, false);
	}
}
