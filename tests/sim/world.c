/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include "coordinator/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t epoch_ms = 1790000000000;

void world_mix(struct world *w, uint64_t v)
{
	w->story = (w->story ^ v ^ (uint64_t)w->loop.now << 20) * 0x9fb21c651e98df25u;
	w->story ^= w->story >> 29;
}

void world_say(struct world *w, const char *fmt, ...)
{
	va_list ap;

	printf("# [%6lld] ", (long long)w->loop.now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void violated(struct world *w, int code, const char *fmt, ...)
{
	va_list ap;

	if (w->code != 0 || w->adrift)
		return;
	w->code = code;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof w->why, fmt, ap);
	va_end(ap);
	say(w, "VIOLATION %d: %s", code, w->why);
}

/* Whoever is cut off or thrown out after a failover forgets what nobody else knows. */
static bool is_calm(const struct world *w, enum fault kind)
{
	const uint32_t kinds = 1u << FAULT_FREEZE | 1u << FAULT_LOST_COMMITS | 1u << FAULT_LATE_COMMITS |
	                       1u << FAULT_REFUSED_COMMITS | 1u << FAULT_LEASE_CUT | 1u << FAULT_SILENT_LOG;

	return w->loop.now < w->calm_until && (kinds & 1u << kind) != 0;
}

bool fault(struct world *w, enum fault kind, uint32_t one_in)
{
	return w->faults && !is_calm(w, kind) && (w->kinds & 1u << kind) != 0 && tape_chance(w->tape, one_in);
}

uint32_t choose(struct world *w, uint32_t bound)
{
	return w->faults ? tape_choose(w->tape, bound) : 0;
}

/* Nothing a replica draws for itself is a fault: it need not stand on the tape. */
uint64_t world_random(struct world *w)
{
	uint64_t z = w->chance += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int64_t world_now(void *world)
{
	const struct world *w = world;

	return epoch_ms + w->loop.now + w->clock_off;
}

int64_t world_latest(const struct world *w)
{
	return epoch_ms + w->loop.now + w->clock_max;
}

void world_set_clock(struct world *w, int64_t ms)
{
	w->clock_off += ms;
	if (w->clock_off > w->clock_max)
		w->clock_max = w->clock_off;
	w->seen->clock_forward += ms > 0;
	w->seen->clock_back += ms < 0;
	say(w, "the database's clock goes %lld ms %s", (long long)(ms < 0 ? -ms : ms), ms < 0 ? "back" : "forward");
}

int64_t wire_ms(struct world *w)
{
	static const int64_t delays[] = { 1, 1, 1, 2, 3, 5, 8, 20 };

	if (!w->faults)
		return 1;
	return fault(w, FAULT_SLOW_CALLS, 6) ? 50 * (int64_t)tape_choose(w->tape, 20) + 1
	                                     : delays[tape_choose(w->tape, 8)];
}

void after(struct world *w, int64_t delay_ms, fake_run *run, fake_run *drop, void *arg)
{
	fake_loop_post(&w->loop, NULL, delay_ms, run, drop, arg);
}

struct record *world_record(struct world *w, struct str gid)
{
	for (unsigned i = 0; i < w->record_n; i++)
		if (str_is(gid, w->records[i].gid))
			return &w->records[i];
	return NULL;
}

/* ---- the database -------------------------------------------------------------- */

static bool is_held(void *world, int64_t key, int64_t mark)
{
	return fake_locks_is_held(((struct world *)world)->locks, key, mark);
}

static struct lease_sight sight(void *world, int64_t key)
{
	return fake_locks_sight(((struct world *)world)->locks, key);
}

static void fenced(void *world, int64_t key)
{
	struct world *w = world;
	int64_t       silent = fake_locks_silent_ms(w->locks, key);

	if (silent >= 0 && silent < TTL_MS)
		violated(w, 109, "a replica is fenced %lld ms after it has renewed its row", (long long)silent);
	fake_locks_end(w->locks, key);
}

static void bad(void *world, const char *what)
{
	violated(world, 103, "the log is asked wrongly: %s", what);
}

/* Else one restart or pause of the database makes everyone fence everyone. A session that ended unknown to
 * its replica counts for nothing here: that is what the row and the lock are for. */
static void fences(void *world, struct uuid me, struct uuid dead)
{
	struct world        *w = world;
	const struct member *m = fake_db_member(w->db, me);
	int64_t              held = m == NULL ? -1 : fake_locks_held_ms(w->locks, m->lock_key);

	(void)dead;
	if (held >= 0 && held < TTL_MS)
		violated(w, 104, "a replica judges others %lld ms after it got its own lease", (long long)held);
	for (unsigned i = 0; i < REPLICAS; i++) {
		const struct replica *r = &w->replicas[i];

		if (uuid_eq(r->me, me) && w->loop.now - r->live_since < TTL_MS)
			violated(w, 111, "r%u judges others %lld ms after it stood still with them", i,
			         (long long)(w->loop.now - r->live_since));
	}
}

static void answered(void *world, enum fake_verb verb, enum log_result result, size_t n, bool heard)
{
	struct world *w = world;

	if (verb == FAKE_COMMIT) {
		w->seen->bad_data += result == LOG_BAD_DATA;
		w->seen->bisected += result == LOG_BAD_DATA && n > 1;
		w->seen->fenced_begins += result == LOG_FENCED;
		w->seen->landed_late += result == LOG_DONE && !heard;
	}
	w->seen->reloads += verb == FAKE_RELOAD && n > 0;
	w->seen->fences += verb == FAKE_FENCE && result == LOG_DONE;
	w->seen->commands_in_inbox += verb == FAKE_INBOX_PUT && result == LOG_DONE;
	w->seen->taken_due += verb == FAKE_TAKE_DUE ? n : 0;
	w->seen->claimed += verb == FAKE_CLAIM ? n : 0;
	world_mix(w, (uint64_t)verb << 8 | (uint64_t)result << 4 | n);
}

/* Somebody at a prompt has locked some of the rows, for a while, and others later. */
static bool is_blocked(void *world, struct str gid)
{
	struct world *w = world;
	uint64_t      when = (uint64_t)w->loop.now >> 11;

	if (!w->faults || (w->kinds & 1u << FAULT_REFUSED_COMMITS) == 0 || when % 4 == 0 ||
	    is_calm(w, FAULT_REFUSED_COMMITS))
		return false;
	bool blocked = ((unsigned char)gid.p[gid.n - 1] + when) % 5 == 0;
	w->seen->rows_blocked += blocked;
	return blocked;
}

static void open_database(struct world *w)
{
	struct fake_db_config c = { .ctx = w, .loop = &w->loop, .now_ms = world_now,
		                    .compile = plan_compile, .is_held = is_held,
		                    .sight = sight, .fenced = fenced, .bad = bad, .fences = fences,
		                    .wrote = invariant_wrote, .settled = invariant_settled,
		                    .restored = invariant_restored, .heard = failover_heard,
		                    .remembers = w->may_fail_over, .answered = answered, .is_blocked = is_blocked,
		                    .nursery_ms = 6000, .unstorable = STR("!unstorable!") };

	plan_port(w, &c.definition);
	w->definition_port = c.definition;
	w->db = fake_db_open(&c);
	w->locks = fake_locks_open(&w->loop);
	fake_locks_clock(w->locks, world_now, w);
}

/* ---- a run ------------------------------------------------------------------------ */

static void draw_faults(struct world *w)
{
	uint32_t n = 0;

#define X(name) n++;
	FAULTS(X)
#undef X
	/* A few kinds together find what all of them at once would hide. */
	uint32_t one_in = 2 + tape_choose(w->tape, 3);
	for (uint32_t i = 0; i < n; i++)
		if (tape_choose(w->tape, one_in) == one_in - 1)
			w->kinds |= 1u << i;
	w->small = tape_choose(w->tape, 4) == 3;
	w->rows = (enum lease_rows)tape_choose(w->tape, 4);
	/* Only where the database restarts and watches break, so that few tapes read one choice more. */
	if ((w->kinds & 1u << FAULT_RESTART) != 0 && (w->kinds & 1u << FAULT_WATCH) != 0)
		w->may_fail_over = tape_choose(w->tape, 3) > 0;
	if (w->rows == ROWS_ALL || w->rows == ROWS_SOME)
		w->clock_jumps = tape_choose(w->tape, 3) > 0;
	w->seen->leases_as_rows += w->rows == ROWS_ALL;
	w->seen->leases_mixed += w->rows == ROWS_SOME;
}

static void open_replica(struct world *w, unsigned i)
{
	struct replica *r = &w->replicas[i];

	r->w = w;
	r->number = i;
	r->boot_offset = 100000 * (i + 1);
	r->skew = (int64_t)tape_choose(w->tape, 3) * 7 * (i % 2 == 0 ? 1 : -1);
	snprintf(r->address, sizeof r->address, "http://r%u:1", i);
	list_init(&r->calls);
	list_init(&r->requests);
	replica_start(r);
}

/* A failover lost what nobody alive remembers: nothing exact can be asked of what follows. */
static bool is_over(const struct world *w)
{
	return w->code != 0 || w->adrift;
}

static void crank(struct world *w)
{
	while (!is_over(w) && w->loop.now < FAULTS_MS)
		fake_loop_step(&w->loop);
	if (is_over(w))
		return;
	say(w, "all is well from here on");
	w->faults = false;
	gremlin_heal(w);
	while (!is_over(w) && w->loop.now < FAULTS_MS + QUIET_MS) {
		if (invariant_all_ended(w))
			break;
		invariant_dead_are_fenced(w);
		for (int i = 0; i < 64 && !is_over(w); i++)
			fake_loop_step(&w->loop);
	}
	if (!is_over(w))
		invariant_end(w);
}

static void close_all(struct world *w)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (w->replicas[i].up)
			replica_stop(&w->replicas[i]);
	for (unsigned i = 0; i < REPLICAS; i++)
		fake_end_fini(&w->replicas[i].end);
	fake_loop_fini(&w->loop);
	w->seen->abreast += fake_db_abreast(w->db);
	fake_db_close(w->db);
	fake_locks_close(w->locks);
	for (unsigned i = 0; i < w->record_n; i++) {
		arena_fini(&w->records[i].memory);
		failover_forget(&w->records[i]);
	}
	plan_check_refs(w);
	plan_free_all(w);
}

int world_run(struct world *w, struct tape *tape, struct seen *seen, bool trace)
{
	memset(w, 0, sizeof *w);
	w->tape = tape;
	w->seen = seen;
	w->trace = trace;
	w->faults = true;
	fake_loop_init(&w->loop);
	draw_faults(w);
	open_database(w);
	for (unsigned i = 0; i < REPLICAS; i++)
		open_replica(w, i);
	client_start(w);
	gremlin_start(w);
	failover_start(w);
	crank(w);
	close_all(w);
	return w->code;
}
