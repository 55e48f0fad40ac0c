/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_log_internal.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct row fake_copy_row(struct arena *a, const struct row *r)
{
	struct row copy = *r;

	copy.gid = arena_str(a, r->gid);
	copy.definition = arena_str(a, r->definition);
	copy.document = arena_str(a, r->document);
	copy.input = arena_str(a, r->input);
	copy.labels = arena_str(a, r->labels);
	copy.traceparent = arena_str(a, r->traceparent);
	copy.progress = arena_str(a, r->progress);
	return copy;
}

struct row fake_keep_row(const struct row *r)
{
	struct row copy = *r;

	copy.gid = str_dup(r->gid);
	copy.definition = str_dup(r->definition);
	copy.document = str_dup(r->document);
	copy.input = str_dup(r->input);
	copy.labels = str_dup(r->labels);
	copy.traceparent = str_dup(r->traceparent);
	copy.progress = str_dup(r->progress);
	return copy;
}

void fake_free_row(struct row *r)
{
	const struct str texts[] = { r->gid,    r->definition,  r->document, r->input,
		                     r->labels, r->traceparent, r->progress };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		free((char *)(uintptr_t)texts[i].p);
	*r = (struct row){ 0 };
}

struct member fake_copy_member(struct arena *a, const struct member *m)
{
	struct member copy = *m;

	copy.address = arena_str(a, m->address);
	return copy;
}

static struct change copy_change(struct arena *a, const struct change *c)
{
	struct change copy = *c;

	copy.gid = arena_str(a, c->gid);
	copy.progress = arena_str(a, c->progress);
	if (c->document.p != NULL)
		copy.document = arena_str(a, c->document);
	return copy;
}

static struct entry copy_entry(struct arena *a, const struct entry *e)
{
	struct entry copy = *e;

	copy.gid = arena_str(a, e->gid);
	copy.what = arena_str(a, e->what);
	copy.step = arena_str(a, e->step);
	copy.op = arena_str(a, e->op);
	copy.outcome = arena_str(a, e->outcome);
	copy.detail = arena_str(a, e->detail);
	copy.actor = arena_str(a, e->actor);
	return copy;
}

static struct deed copy_deed(struct arena *a, const struct deed *d)
{
	struct deed copy = *d;

	copy.actor = arena_str(a, d->actor);
	copy.role = arena_str(a, d->role);
	copy.kind = arena_str(a, d->kind);
	copy.target = arena_str(a, d->target);
	copy.action = arena_str(a, d->action);
	copy.step = arena_str(a, d->step);
	copy.op = arena_str(a, d->op);
	copy.reason = arena_str(a, d->reason);
	copy.request_id = arena_str(a, d->request_id);
	copy.detail = arena_str(a, d->detail);
	return copy;
}

struct batch fake_copy_batch(struct arena *a, const struct batch *b)
{
	struct row     *begins = arena_array(a, b->begin_count, sizeof *begins);
	struct change  *changes = arena_array(a, b->change_count, sizeof *changes);
	struct entry   *entries = arena_array(a, b->entry_count, sizeof *entries);
	struct deed    *deeds = arena_array(a, b->deed_count, sizeof *deeds);
	struct settled *settled = arena_array(a, b->settled_count, sizeof *settled);
	struct batch    copy = *b;

	for (size_t i = 0; i < b->begin_count; i++)
		begins[i] = fake_copy_row(a, &b->begins[i]);
	for (size_t i = 0; i < b->change_count; i++)
		changes[i] = copy_change(a, &b->changes[i]);
	for (size_t i = 0; i < b->entry_count; i++)
		entries[i] = copy_entry(a, &b->entries[i]);
	for (size_t i = 0; i < b->deed_count; i++)
		deeds[i] = copy_deed(a, &b->deeds[i]);
	if (b->settled_count > 0)
		memcpy(settled, b->settled, b->settled_count * sizeof *settled);
	copy.begins = begins;
	copy.changes = changes;
	copy.entries = entries;
	copy.deeds = deeds;
	copy.settled = settled;
	return copy;
}

void fake_op_free(struct fake_op *op)
{
	const struct definition_port *d = &op->db->config.definition;

	for (size_t i = 0; op->known != NULL && i < op->n; i++)
		if (op->known[i].def != NULL)
			d->drop(d->ctx, op->known[i].def);
	for (size_t i = 0; op->rows != NULL && i < op->found; i++)
		if (op->rows[i].def != NULL)
			d->drop(d->ctx, op->rows[i].def);
	arena_fini(&op->arena);
	free(op);
}
