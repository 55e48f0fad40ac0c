/* SPDX-License-Identifier: Apache-2.0
 * fake_past.c - what the fake database was like some writes ago, and the failover that goes back there.
 */
#include "tests/lib/fake_log_internal.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

static void free_past(struct fake_db *db, struct fake_past *p)
{
	const struct definition_port *d = &db->config.definition;

	for (size_t i = 0; i < p->row_n; i++) {
		if (p->rows[i].def != NULL)
			d->drop(d->ctx, p->rows[i].def);
		fake_free_row(&p->rows[i]);
	}
	for (size_t i = 0; i < p->member_n; i++)
		free((char *)(uintptr_t)p->members[i].address.p);
	free(p->rows);
	free(p->members);
	free(p->settled);
	*p = (struct fake_past){ 0 };
}

static void copy(struct fake_db *db, struct fake_past *p)
{
	const struct definition_port *d = &db->config.definition;

	*p = (struct fake_past){ .rows = mem_array(db->row_n + 1, sizeof *p->rows),
		                 .members = mem_array(db->member_n + 1, sizeof *p->members),
		                 .settled = mem_array(db->inbox_n + 1, sizeof *p->settled),
		                 .row_n = db->row_n, .member_n = db->member_n };
	for (size_t i = 0; i < db->inbox_n; i++)
		if (db->inbox[i].settled)
			p->settled[p->settled_n++] = db->inbox[i].row.id;
	for (size_t i = 0; i < db->row_n; i++) {
		p->rows[i] = fake_keep_row(&db->rows[i]);
		if (p->rows[i].def != NULL)
			d->hold(d->ctx, p->rows[i].def);
	}
	for (size_t i = 0; i < db->member_n; i++) {
		p->members[i] = db->members[i];
		p->members[i].address = str_dup(db->members[i].address);
	}
}

static bool writes(enum fake_verb verb)
{
	return verb == FAKE_COMMIT || verb == FAKE_RELOAD || verb == FAKE_ADOPT || verb == FAKE_TAKE_DUE ||
	       verb == FAKE_CLAIM || verb == FAKE_ENROLL || verb == FAKE_FENCE || verb == FAKE_RETIRE;
}

/* Many of them find nothing to write: those are no past of their own. */
static bool is_new(const struct fake_db *db)
{
	const struct fake_past *p = db->past_n > 0 ? &db->past[db->past_n - 1] : NULL;

	if (p == NULL || p->row_n != db->row_n || p->member_n != db->member_n)
		return true;
	for (size_t i = 0; i < db->row_n; i++)
		if (p->rows[i].version != db->rows[i].version)
			return true;
	for (size_t i = 0; i < db->member_n; i++)
		if (p->members[i].state != db->members[i].state)
			return true;
	return false;
}

void fake_past_note(struct fake_db *db, enum fake_verb verb)
{
	if (!db->config.remembers || !writes(verb) || !is_new(db))
		return;
	if (db->past_n == FAKE_PAST) {
		free_past(db, &db->past[0]);
		db->past_n--;
		memmove(db->past, db->past + 1, db->past_n * sizeof db->past[0]);
	}
	copy(db, &db->past[db->past_n++]);
}

void fake_past_free(struct fake_db *db)
{
	while (db->past_n > 0)
		free_past(db, &db->past[--db->past_n]);
}

/* Verdicts go with what they speak of. That commands are lost as well is not played: their senders, who
 * would put them again, may be gone. */
static void unsettle(struct fake_db *db, const struct fake_past *p)
{
	for (size_t i = 0; i < db->inbox_n; i++) {
		bool was = false;

		for (size_t k = 0; k < p->settled_n; k++)
			was = was || uuid_eq(p->settled[k], db->inbox[i].row.id);
		db->inbox[i].settled = db->inbox[i].settled && was;
	}
}

static void swap(struct fake_db *db, struct fake_past *p)
{
	struct fake_past now = { .rows = db->rows, .members = db->members, .row_n = db->row_n,
		                 .member_n = db->member_n };

	unsettle(db, p);
	free(p->settled);
	db->rows = p->rows;
	db->members = p->members;
	db->row_n = p->row_n;
	db->member_n = p->member_n;
	db->row_cap = p->row_n + 1;
	db->member_cap = p->member_n + 1;
	*p = now;
}

size_t fake_db_failover(struct fake_db *db, size_t lost)
{
	fake_db_restart(db);
	return fake_db_fall_back(db, lost);
}

size_t fake_db_fall_back(struct fake_db *db, size_t lost)
{
	if (lost > db->past_n)
		lost = db->past_n;
	if (lost > 0)
		swap(db, &db->past[db->past_n - lost]);
	fake_past_free(db);
	db->first_epoch += 1u << 24;
	db->acted_n = 0; /* its row may be among what was lost: it enrols anew */
	return lost;
}

void fake_db_first_epoch(struct fake_db *db, uint64_t epoch)
{
	db->first_epoch = epoch;
}
