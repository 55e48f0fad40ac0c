/* SPDX-License-Identifier: Apache-2.0
 * batch.c - the next batch is made of what is wanted: begins, changes, their lines of the journal, verdicts.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"
#include "coordinator/engine/progress.h"

#include <assert.h>
#include <stdlib.h>

static void make_room(struct batch_work *b)
{
	if (b->room >= b->e->config.batch_rows)
		return;
	b->room = b->e->config.batch_rows;
	b->begins = mem_array(b->room, sizeof *b->begins);
	b->changes = mem_array(b->room, sizeof *b->changes);
	b->entries = mem_array(b->room, sizeof *b->entries);
	b->deeds = mem_array(b->room, sizeof *b->deeds);
	b->settled = mem_array(2 * b->room, sizeof *b->settled);
	b->text_at = mem_array(b->room, sizeof *b->text_at);
}

static const struct note no_note;

/* The notes as they will be: what the answer brought stands in its place while they are written. */
static void write_next(struct batch_work *b, struct owned *o)
{
	struct queued *q = o->deciding;
	bool           answer = q != NULL && q->ev.kind == EV_ANSWER;
	struct note   *slot = NULL, kept;

	if (answer) {
		uint16_t step = q->ev.u.answer.step;

		slot = step == TXN_CHECK ? &o->check : &o->notes[step];
		kept = *slot;
		note_count(slot, &q->note, q->ev.u.answer.op, txn_step_at(&o->next, step)->state);
		if (q->note.output.n > 0 && q->ev.u.answer.op == OP_TRY)
			slot->output = q->note.output;
		if (q->note.at != 0) {
			slot->error = q->note.error;
			slot->status = q->note.status;
			slot->at = q->note.at;
		}
	}
	if (q != NULL && q->ev.kind == EV_JOIN && o->next.step_count > o->txn.step_count)
		o->notes[o->txn.step_count].joined_at = q->ev.now;
	progress_write(&b->text, &o->next, o->row.created_at, o->notes, &o->check);
	if (answer)
		*slot = kept;
}

/* The second refusal of a row by the log: nothing from outside goes into it any more. */
static void write_bare(struct batch_work *b, struct owned *o)
{
	struct note *bare = mem_array((size_t)o->next.step_count + 1, sizeof *bare);

	progress_write(&b->text, &o->next, o->row.created_at, bare, &no_note);
	free(bare);
}

static struct entry entry_of(const struct engine *e, const struct owned *o, const struct queued *q)
{
	const struct definition_port *d = &e->ports.definition;
	struct entry entry = { .gid = o->row.gid, .at = q->ev.now, .replica = e->me };

	if (q->order != NULL) {
		entry.what = str_of(command_name(q->order->c.kind));
		entry.actor = q->order->c.actor;
		entry.detail = q->order->c.kind == COMMAND_FAIL ? q->note.error : q->order->c.reason;
	} else {
		entry.what = STR("attempt");
		entry.attempt = q->attempt;
		entry.status = q->note.status;
		entry.detail = q->note.error;
	}
	if (q->ev.kind == EV_ANSWER) {
		entry.step = d->step_name(d->ctx, o->row.def, q->ev.u.answer.step);
		entry.op = str_of(op_name(q->ev.u.answer.op));
		entry.outcome = str_of(outcome_name(q->ev.u.answer.outcome));
	}
	return entry;
}

/* What people did, the reasons that services gave, and every answer that was no success. */
static bool wants_entry(const struct queued *q)
{
	if (q == NULL)
		return false;
	if (q->order != NULL)
		return q->order->c.actor.n > 0 || q->order->c.reason.n > 0 || q->order->c.kind == COMMAND_FAIL;
	return q->ev.kind == EV_ANSWER && q->ev.u.answer.outcome != OUTCOME_OK;
}

/* What was given with it, beyond what has a column. */
static struct str detail_of(const struct command *c)
{
	if (c->kind == COMMAND_RESOLVE)
		return c->outcome == OUTCOME_OK ? STR("{\"outcome\":\"ok\"}") : STR("{\"outcome\":\"refused\"}");
	return c->kind == COMMAND_PATCH ? c->body : (struct str){ 0 };
}

static struct deed deed_of(const struct engine *e, const struct owned *o, const struct queued *q)
{
	const struct command *c = &q->order->c;
	bool                  of_op = c->kind == COMMAND_RESOLVE || c->kind == COMMAND_SKIP;

	return (struct deed){ .kind = STR("transaction"), .target = o->row.gid, .action = str_of(command_name(c->kind)),
		              .actor = c->actor, .role = c->role, .reason = c->reason, .request_id = c->request_id,
		              .step = c->step, .op = of_op ? str_of(op_name(c->op)) : (struct str){ 0 },
		              .detail = detail_of(c), .before = o->row.version, .after = o->row.version + 1,
		              .replica = e->me };
}

/* What the deciding event leaves beside the row: its line of the journal, the verdict of its command, and if that
 * is a person's the line of the audit. */
static void add_traces(struct batch_work *b, const struct owned *o)
{
	const struct queued *q = o->deciding;

	if (wants_entry(q))
		b->entries[b->wire.entry_count++] = entry_of(b->e, o, q);
	if (q == NULL || q->order == NULL)
		return;
#ifndef BUG_NO_AUDIT
	if (q->order->c.actor.n > 0)
		b->deeds[b->wire.deed_count++] = deed_of(b->e, o, q);
#endif
#ifndef BUG_INBOX_TWICE
	if (q->order->from_inbox)
		b->settled[b->wire.settled_count++] =
			(struct settled){ .id = q->order->id, .verdict = q->order->verdict };
#endif
}

static void add_begin(struct batch_work *b, struct owned *o, size_t i)
{
	b->text_at[i] = b->text.n;
	progress_write(&b->text, &o->txn, o->row.created_at, o->notes, &o->check);
	b->begins[b->wire.begin_count] = o->row;
	b->begins[b->wire.begin_count++].progress.n = b->text.n - b->text_at[i];
	o->row.fresh = false; /* whatever becomes of it, the second time it may be there */
}

static void add_next(struct batch_work *b, struct owned *o, struct change *c)
{
	c->phase = o->next.phase;
	c->stuck = o->next.stuck;
	c->paused = o->next.paused;
	c->ended = phase_is_ended(o->next.phase);
	if (c->ended)
		o->written_at = b->wire.at;
	if (o->grown != NULL)
		c->document = o->grown_text;
	if (o->refused > 1)
		write_bare(b, o);
	else
		write_next(b, o);
	add_traces(b, o);
}

static void add_change(struct batch_work *b, struct owned *o, size_t i)
{
	struct change *c = &b->changes[b->wire.change_count++];

	*c = (struct change){ .gid = o->row.gid, .epoch = o->row.epoch, .version = o->row.version,
		              .phase = o->row.phase, .stuck = o->row.stuck, .paused = o->row.paused };
	b->text_at[i] = b->text.n;
	switch (o->commit) {
	case COMMIT_CHANGE:
		add_next(b, o, c);
		break;
	case COMMIT_RELEASE:
		progress_write(&b->text, &o->txn, o->row.created_at, o->notes, &o->check);
		add_traces(b, o);
		c->release = true;
		c->due_at = o->written_at;
		break;
	case COMMIT_BAD_ROW:
		buf_str(&b->text, o->row.progress);
		c->release = true;
		c->due_at = AT_NEVER;
		if (o->row.format > ROW_FORMAT)
			c->due_at = now_ms(b->e); /* for a replica that can read it */
		else
			c->stuck = STUCK_BAD_ROW;
		break;
	case COMMIT_NONE:
	case COMMIT_BEGIN:
		assert(0 && "this is no change");
	}
	c->progress.n = b->text.n - b->text_at[i];
}

/* The buffer may have moved while it grew: slices are set when it is whole. */
static void set_slices(struct batch_work *b)
{
	size_t i = 0, begins = 0, changes = 0;

	for (struct list *l = b->members.next; l != &b->members; l = l->next, i++) {
		const char *p = b->text.p + b->text_at[i];

		if (list_entry(l, struct owned, commit_link)->commit == COMMIT_BEGIN)
			b->begins[begins++].progress.p = p;
		else
			b->changes[changes++].progress.p = p;
	}
}

static void add_member(struct batch_work *b, struct owned *o, size_t n)
{
	list_remove(&o->commit_link);
	if (o->commit == COMMIT_BEGIN)
		add_begin(b, o, n);
	else
		add_change(b, o, n);
	o->sent = true;
	list_push(&b->members, &o->commit_link);
	b->e->collecting_n--;
}

/* A row that somebody else holds locked is tried alone, one a second and in turn, or all would wait with it. */
static struct owned *blocked_in_turn(struct engine *e)
{
	if (boot_ms(e) < e->blocked_at)
		return NULL;
	e->blocked_at = INT64_MAX;
	list_each(l, after, &e->collecting) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (o->blocked) {
			e->blocked_at = boot_ms(e) + BLOCKED_MS;
			return o;
		}
	}
	return NULL;
}

static bool stands_again(const struct batch_work *b)
{
	return list_entry(b->members.next, struct owned, commit_link)->again;
}

void batch_fill(struct batch_work *b)
{
	struct engine *e = b->e;
	struct owned  *blocked = blocked_in_turn(e);
	bool           lone = false;
	size_t         n = 0;

	make_room(b);
	buf_clear(&b->text);
	b->wire = (struct batch){ .me = e->me, .at = now_ms(e) };
	if (blocked != NULL)
		add_member(b, blocked, n++);
	list_each(l, after, &e->collecting) {
		struct owned *o = list_entry(l, struct owned, commit_link);

		if (blocked != NULL || n == e->row_limit || (n > 0 && b->text.n >= e->config.batch_bytes))
			break;
		if (o->alone && n > 0)
			break;
		if (!o->blocked)
			add_member(b, o, n++);
		lone = o->alone;
		if (lone)
			break;
	}
	set_slices(b);
	/* Halved rows, and those that have not got through before: what they wait for has been waited for. */
	b->wire.hasty = blocked != NULL || lone || e->row_limit < e->config.batch_rows || (n == 1 && stands_again(b));
	for (n = 0; n < b->room; n++) {
		struct list *l = list_pop(&e->settles);

		if (l == NULL)
			break;
		b->settled[b->wire.settled_count++] = list_entry(l, struct settle, link)->s;
		list_push(&b->settles, l);
	}
	b->wire.begins = b->begins;
	b->wire.changes = b->changes;
	b->wire.entries = b->entries;
	b->wire.deeds = b->deeds;
	b->wire.settled = b->settled;
}

void batch_fini(struct batch_work *b)
{
	free(b->begins);
	free(b->changes);
	free(b->entries);
	free(b->deeds);
	free(b->settled);
	free(b->text_at);
	buf_fini(&b->text);
}
