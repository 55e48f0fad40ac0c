/* SPDX-License-Identifier: Apache-2.0
 * owned.c - one transaction in memory: made, loaded from a row, shown, dropped, freed.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"
#include "coordinator/engine/progress.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- notes ---------------------------------------------------------------- */

static void str_free(struct str *s)
{
	free((char *)(uintptr_t)s->p);
	*s = (struct str){ 0 };
}

void note_free(struct note *note)
{
	str_free(&note->output);
	str_free(&note->error);
}

/* Calls are counted per op: a cancel is not the fourth attempt of a try. */
void note_count(struct note *kept, const struct note *from, enum op op, enum step_state state)
{
	if (from->answered_at != 0) {
		if (kept->op != op)
			kept->calls = 0;
		if (kept->calls < UINT32_MAX)
			kept->calls += from->calls;
		kept->op = op;
		kept->answered_at = from->answered_at;
	}
	progress_keep_try(kept, state);
}

/* An output stays until a better one comes; the last failure stays as history. */
void note_take(struct note *kept, struct note *from, enum op op, enum step_state state)
{
	note_count(kept, from, op, state);
	if (from->output.n > 0 && op == OP_TRY) {
		str_free(&kept->output);
		kept->output = from->output;
		from->output = (struct str){ 0 };
	}
	if (from->at != 0) {
		str_free(&kept->error);
		kept->error = from->error;
		kept->status = from->status;
		kept->at = from->at;
		from->error = (struct str){ 0 };
	}
}

void queued_free(struct queued *q)
{
	note_free(&q->note);
	free(q->call != NULL ? (void *)q->call : (void *)q);
}

struct step *txn_step_at(const struct txn *t, uint16_t step)
{
	if (step == TXN_CHECK)
		return (struct step *)(uintptr_t)&t->check;
	return &t->steps[step];
}

/* ---- memory ----------------------------------------------------------------- */

/* One piece for all that there is one of for each step. */
static size_t room_bytes(uint16_t steps)
{
	return steps * (sizeof(struct note) + 2 * sizeof(struct step) + sizeof(struct open_call *));
}

void owned_room(struct owned *o, uint16_t steps)
{
	struct note       *notes = o->notes;
	struct step       *first = o->steps[0], *other = o->steps[1];
	struct open_call **calls = o->calls;
	bool               second = o->txn.steps == other;

	if (steps <= o->room)
		return;
	o->notes = pool_take(&o->e->pool, room_bytes(steps));
	o->steps[0] = (struct step *)(o->notes + steps);
	o->steps[1] = o->steps[0] + steps;
	o->calls = (struct open_call **)(o->steps[1] + steps);
	if (o->room > 0) {
		memcpy(o->notes, notes, o->room * sizeof *notes);
		memcpy(o->steps[0], first, o->room * sizeof *first);
		memcpy(o->steps[1], other, o->room * sizeof *other);
		memcpy(o->calls, calls, o->room * sizeof(struct open_call *));
	}
	pool_give(&o->e->pool, notes, room_bytes(o->room));
	o->room = steps;
	o->txn.steps = o->steps[second];
}

struct owned *owned_alloc(struct engine *e, size_t text_bytes)
{
	struct owned *o = pool_take(&e->pool, sizeof *o + text_bytes);

	o->bytes = sizeof *o + text_bytes;
	return o;
}

static char *copy_str(char *at, struct str *s)
{
	if (s->n > 0)
		memcpy(at, s->p, s->n);
	s->p = at;
	return at + s->n;
}

void owned_lists(struct owned *o)
{
	list_init(&o->seat.link);
	list_init(&o->commit_link);
	list_init(&o->held_link);
	list_init(&o->put_off_link);
	list_init(&o->drowsy_link);
	list_init(&o->queue);
	list_init(&o->waiters);
	list_init(&o->begins);
}

/* The row's texts behind the struct; its definition held. */
static struct owned *make(struct engine *e, const struct row *row)
{
	struct str    gid = row->gid;
	size_t        size = gid.n + row->definition.n + row->document.n + row->input.n +
	                     row->labels.n + row->traceparent.n + row->progress.n;
	struct owned *o = owned_alloc(e, size);
	char         *at = o->text;

	o->e = e;
	o->row = *row;
	at = copy_str(at, &o->row.gid);
	at = copy_str(at, &o->row.definition);
	at = copy_str(at, &o->row.document);
	at = copy_str(at, &o->row.input);
	at = copy_str(at, &o->row.labels);
	at = copy_str(at, &o->row.traceparent);
	copy_str(at, &o->row.progress);
	if (row->def != NULL)
		o->row.def = e->ports.definition.hold(e->ports.definition.ctx, row->def);
	owned_lists(o);
	return o;
}

struct owned *owned_make(struct engine *e, const struct row *row, int64_t start_at,
                         int64_t deadline_at)
{
	const struct plan *plan = e->ports.definition.plan(e->ports.definition.ctx, row->def);
	struct owned      *o = make(e, row);

	owned_room(o, plan->step_count > 0 ? plan->step_count : 1);
	o->txn.steps = o->steps[0];
	txn_init(&o->txn, plan, start_at, deadline_at);
	o->row.owner = e->me;
	o->row.epoch = o->row.version = 1;
	o->row.phase = o->txn.phase;
	o->row.stuck = STUCK_NONE;
	o->row.paused = false;
	o->row.adoptions = 0;
	o->row.created_at = now_ms(e);
	o->row.ended_at = o->row.due_at = 0;
	o->row.deadline_at = deadline_at;
	o->row.format = PROGRESS_FORMAT;
	o->row.progress = (struct str){ 0 };
	o->readable = true;
	return o;
}

static struct str own_str(struct str s)
{
	return s.n > 0 ? str_dup(s) : (struct str){ 0 };
}

static struct note own_note(const struct note *note)
{
	struct note own = *note;

	own.output = own_str(note->output);
	own.error = own_str(note->error);
	return own;
}

/* Of what was written since nothing tells it, but each adoption was one version, and a progress sets their number
 * back. What the log refused stands there as it came, and is stuck since. */
static void look_since(struct owned *o)
{
	if (o->row.stuck == STUCK_BAD_ROW)
		o->txn.same_since = 0;
	else if (o->txn.same_since == 0 && o->row.adoptions > 0 && o->row.adoptions < o->row.version)
		o->txn.same_since = o->row.version - o->row.adoptions;
}

static bool read_txn(struct engine *e, struct owned *o, struct arena *arena, struct note **notes,
                     struct note *check, struct err *err)
{
	if (o->row.def == NULL)
		return err_set(err, ERR_INVALID, "its definition is missing or cannot be compiled");
	o->txn.plan = e->ports.definition.plan(e->ports.definition.ctx, o->row.def);
	o->txn.version = o->row.version;
	o->txn.phase = o->row.phase;
	o->txn.stuck = o->row.stuck;
	o->txn.paused = o->row.paused;
	if (!progress_read(o->row.progress, o->row.format, o->row.created_at, arena, &o->txn, notes, check, err))
		return false;
	look_since(o);
	return true;
}

struct owned *owned_load(struct engine *e, const struct row *row)
{
	struct owned *o = make(e, row);
	struct arena  arena = { 0 };
	struct note  *notes;
	struct note   check;
	struct err    err;

	o->readable = read_txn(e, o, &arena, &notes, &check, &err);
	if (o->readable) {
		struct step *steps = o->txn.steps;

		owned_room(o, o->txn.step_count > 0 ? o->txn.step_count : 1);
		if (o->txn.step_count > 0)
			memcpy(o->steps[0], steps, o->txn.step_count * sizeof *steps);
		o->txn.steps = o->steps[0];
		for (uint16_t i = 0; i < o->txn.step_count; i++)
			o->notes[i] = own_note(&notes[i]);
		o->check = own_note(&check);
	} else {
		say(e, TRACE_ERROR, "unreadable", row->gid, "why=\"%s\"", err.text);
	}
	arena_fini(&arena);
	return o;
}

void owned_free(struct owned *o)
{
	const struct definition_port *d = &o->e->ports.definition;

	for (uint16_t i = 0; i < o->room; i++) {
		note_free(&o->notes[i]);
		if (o->calls[i] != NULL)
			queued_free(&o->calls[i]->answer);
	}
	if (o->check_call != NULL)
		queued_free(&o->check_call->answer);
	note_free(&o->check);
	if (o->deciding != NULL)
		queued_free(o->deciding);
	if (o->grown != NULL)
		d->drop(d->ctx, o->grown);
	if (o->row.def != NULL)
		d->drop(d->ctx, o->row.def);
	pool_give(&o->e->pool, o->notes, room_bytes(o->room));
	pool_give(&o->e->pool, o, o->bytes);
}

/* ---- in and out of the table ---------------------------------------------------- */

struct owned *owned_get(struct engine *e, struct str gid)
{
	struct table_node *node = table_get(&e->by_gid, gid);

	return node != NULL ? fold_wake(e, table_entry(node, struct seat, node)) : NULL;
}

bool owned_has(const struct engine *e, struct str gid)
{
	return table_get(&e->by_gid, gid) != NULL;
}

struct owned *owned_awake(const struct engine *e, struct str gid)
{
	struct table_node *node = table_get(&e->by_gid, gid);

	return node != NULL ? fold_awake(&table_entry(node, struct seat, node)->link) : NULL;
}

/* Who wakes it to have a look changes nothing that anybody could tell. */
const struct owned *owned_look(const struct engine *e, struct str gid)
{
	return owned_get((struct engine *)(uintptr_t)e, gid);
}

void owned_put(struct engine *e, struct owned *o)
{
	table_put(&e->by_gid, &o->seat.node, o->row.gid);
	list_push(&e->owned, &o->seat.link);
	e->owned_n++;
}

static void abort_call(struct engine *e, struct owned *o, struct open_call **slot)
{
	struct open_call *c = *slot;

	if (c == NULL)
		return;
	if (c->handle != 0) {
		e->ports.caller.abort(e->ports.caller.ctx, c->handle);
		o->open_calls--;
		e->calls_aborted++;
	} else {
		list_remove(&c->answer.link); /* it waited in the queue */
	}
	*slot = NULL;
	queued_free(&c->answer);
}

void owned_abort_calls(struct engine *e, struct owned *o)
{
	for (uint16_t i = 0; i < o->room; i++)
		abort_call(e, o, &o->calls[i]);
	abort_call(e, o, &o->check_call);
	assert(o->open_calls == 0);
}

void owned_answer_begins(struct engine *e, struct owned *o, enum begin_result his,
                         enum begin_result others)
{
	for (struct list *l; (l = list_pop(&o->begins)) != NULL;) {
		struct begin_waiter *b = list_entry(l, struct begin_waiter, link);
		enum begin_result    result = b->inserts ? his : others;
		bool shown = result == BEGIN_DONE || result == BEGIN_EXISTS;

		reply_new(e, b->arg, (int)result, shown ? o : NULL)->begin = b->done;
		pool_give(&e->pool, b, sizeof *b);
	}
}

void owned_show_begins(struct engine *e, struct owned *o, struct owned *shown)
{
	for (struct list *l; (l = list_pop(&o->begins)) != NULL;) {
		struct begin_waiter *b = list_entry(l, struct begin_waiter, link);

		reply_new(e, b->arg, BEGIN_EXISTS, shown)->begin = b->done;
		pool_give(&e->pool, b, sizeof *b);
	}
}

/* Commands go and look where the transaction is now; those of the inbox are still there. */
static void drop_queue(struct engine *e, struct owned *o)
{
	for (struct list *l; (l = list_pop(&o->queue)) != NULL;) {
		struct queued *q = list_entry(l, struct queued, link);
		struct order  *order = q->order;

		if (q->call != NULL)
			continue; /* lives in o->calls */
		queued_free(q);
		if (order != NULL)
			order_route(e, order);
	}
	o->queue_n = 0;
}

void owned_rest(struct engine *e, struct owned *o)
{
	list_remove(&o->seat.link);
	list_push(&e->resting, &o->seat.link);
}

void owned_drop(struct engine *e, struct owned *o, enum begin_result begins)
{
	struct order *order = o->deciding != NULL ? o->deciding->order : NULL;

	table_remove(&e->by_gid, &o->seat.node);
	e->owned_n--;
	heap_remove(&e->timers, &o->seat.timer);
	list_remove(&o->drowsy_link);
	owned_abort_calls(e, o);
	calls_release(e, o);
	drop_queue(e, o);
	wait_move(e, o);
	if (o->wary)
		e->wary_n--;
	o->wary = false;
	o->gone = true;
	if (o->given)
		doubt_hint(e, o->row.gid);
	if (o->sent) { /* the batch settles with its callers and lets it rest */
		list_remove(&o->seat.link);
		return;
	}
	if (o->commit != COMMIT_NONE)
		e->collecting_n--;
	list_remove(&o->commit_link);
	if (order != NULL) {
		o->deciding->order = NULL;
		order_route(e, order);
	}
	owned_answer_begins(e, o, begins, begins);
	owned_rest(e, o);
}

void owned_view(const struct owned *o, struct view *view)
{
	*view = (struct view){ .row = o->row };
	if (!o->readable)
		return;
	view->txn = &o->txn;
	view->notes = o->notes;
	view->check = &o->check;
}
