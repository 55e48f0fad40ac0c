/* SPDX-License-Identifier: Apache-2.0
 * failover.c - a standby is promoted that lacks the last writes: what a living replica knows must come back.
 *
 * Only while all replicas live, and then nothing else befalls them for a while: what nobody remembers may be
 * lost, and then nothing could be asked of the rest.
 */
#include "tests/sim/world.h"

#include "tests/lib/fake_log_internal.h"

#include <string.h>

enum { AGAIN_MS = 300, LOST_MAX = 10, CALM_MS = 2 * TTL_MS + 1500 };

/* ---- what was written, and who knows of it ------------------------------------------- */

void failover_note(struct record *rec, const struct row *row)
{
	const struct definition_port *d = &rec->w->definition_port;
	struct row *slot = &rec->past[row->version % PAST_ROWS];

	if (slot->def != NULL)
		d->drop(d->ctx, slot->def);
	fake_free_row(slot);
	*slot = fake_keep_row(row);
	if (slot->def != NULL)
		d->hold(d->ctx, slot->def);
}

void failover_forget(struct record *rec)
{
	const struct definition_port *d = &rec->w->definition_port;

	for (unsigned i = 0; i < PAST_ROWS; i++) {
		if (rec->past[i].def != NULL)
			d->drop(d->ctx, rec->past[i].def);
		fake_free_row(&rec->past[i]);
	}
}

void failover_heard(void *world, struct uuid by, struct str gid, uint64_t version)
{
	struct record *rec = world_record(world, gid);

	if (rec == NULL || version < rec->heard)
		return;
	rec->heard = version;
	rec->heard_by = by;
}

static bool lives(const struct world *w, struct uuid id)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (w->replicas[i].up && uuid_eq(w->replicas[i].me, id))
			return true;
	return false;
}

/* ---- the records go back to what somebody knows ---------------------------------------- */

static void settle_record(struct record *rec)
{
	struct world     *w = rec->w;
	const struct row *row = fake_db_row(w->db, str_of(rec->gid));
	const struct row *known = &rec->past[rec->heard % PAST_ROWS];
	uint64_t          stands = row != NULL ? row->version : 0;

	/* A format that was understood is back: what was judged meanwhile was judged rightly. */
	if (row != NULL && row->format > ROW_FORMAT)
		rec->newer_at = world_latest(w);
	if (!rec->exists || stands == rec->version)
		return;
	w->seen->lost_writes++;
	if (rec->heard > stands && known->version == rec->heard && lives(w, rec->heard_by)) {
		w->seen->known_writes++;
		invariant_rebase(rec, known);
	} else if (rec->by_sql && row == NULL && rec->heard == 0) {
		invariant_rebase(rec, NULL);
		client_begin_again(rec);
	} else if (rec->heard > stands || (rec->acked && row == NULL)) {
		w->adrift = true; /* who knew it is gone; or it was shown to others before its owner heard of it */
	} else {
		invariant_rebase(rec, row);
	}
}

/* ---- the strike --------------------------------------------------------------------------- */

static bool is_fit(const struct world *w)
{
	struct engine_stats s;

	for (unsigned i = 0; i < REPLICAS; i++) {
		const struct replica *r = &w->replicas[i];

		if (!r->up || r->log_cut || r->freezing || r->end.frozen)
			return false;
		engine_stats(r->engine, &s);
		if (s.state != ENGINE_LIVE || !uuid_eq(s.me, r->me))
			return false;
	}
	return true;
}

static void start_database(void *arg)
{
	struct world *w = arg;

	say(w, "the new primary is there");
	fake_locks_start(w->locks);
}

static bool is_fenced(const struct replica *r)
{
	const struct member *m = fake_db_member(r->w->db, r->me);

	return m == NULL || m->state != MEMBER_LIVE;
}

static void promote(struct world *w)
{
	int64_t ms = 50 + 20 * (int64_t)choose(w, 16);
	bool    fenced[REPLICAS];

	w->seen->failovers++;
	w->promoted_at = w->loop.now + ms;
	w->slow_until = 0;
	fake_locks_stop(w->locks, w->clock_jumps ? 100 * (int64_t)choose(w, 7) : 0);
	if (w->clock_jumps)
		gremlin_set_clock(w); /* it is another machine */
	for (unsigned i = 0; i < REPLICAS; i++) {
		fenced[i] = is_fenced(&w->replicas[i]);
		w->replicas[i].failed_over = true;
		w->replicas[i].silent_until = 0;
		fake_lease_cut(w->replicas[i].lease, false);
		replica_break_log(&w->replicas[i], FAKE_COMMITS | FAKE_OTHERS, ms + 20 * (int64_t)choose(w, 16));
	}
	size_t lost = fake_db_failover(w->db, choose(w, LOST_MAX));
	say(w, "a standby is promoted, %zu writes are lost", lost);
	for (unsigned i = 0; i < REPLICAS; i++)
		w->replicas[i].unfenced = fenced[i] && !is_fenced(&w->replicas[i]);
	for (unsigned i = 0; i < w->record_n; i++)
		settle_record(&w->records[i]);
	after(w, ms, start_database, NULL, w);
}

static void strike(void *arg)
{
	struct world *w = arg;

	if (!w->faults)
		return;
	if (is_fit(w)) {
		w->calm_until = w->loop.now + CALM_MS;
		promote(w);
	} else {
		after(w, AGAIN_MS, strike, NULL, w);
	}
}

void failover_start(struct world *w)
{
	if (w->may_fail_over)
		after(w, 600 + 50 * (int64_t)tape_choose(w->tape, 60), strike, NULL, w);
}
