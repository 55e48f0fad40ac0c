/* SPDX-License-Identifier: Apache-2.0
 * fold.c - what sleeps in memory sleeps folded up: its struct packed, its texts once, and its seat.
 *
 * Nothing is forgotten, also not what no log knows (which attempt may still land): it is the same
 * struct, byte for byte, when it wakes. It keeps its places in table, list and heap, so that nobody
 * can tell that it slept.
 */
#include "coordinator/base/mem.h"
#include "coordinator/base/pack.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NAP_MS = 500 }; /* what wakes sooner stays as it is */

struct folded {
	struct seat   seat;   /* its key is the gid, the first of the texts */
	uint32_t      packed; /* bytes of struct owned, steps and notes; texts follow */
	unsigned char bytes[];
};

static struct folded *folded_of(struct seat *seat)
{
	assert(seat->is_folded);
	return (struct folded *)(void *)seat;
}

static struct owned *owned_of(struct seat *seat)
{
	assert(!seat->is_folded);
	return (struct owned *)(void *)seat;
}

/* ---- its texts ------------------------------------------------------------------------ */

/* Those that stand in owned.text, then those of the check, which are its own. */
static const size_t texts[] = {
	offsetof(struct owned, row.gid),         offsetof(struct owned, row.definition),
	offsetof(struct owned, row.document),    offsetof(struct owned, row.input),
	offsetof(struct owned, row.labels),      offsetof(struct owned, row.traceparent),
	offsetof(struct owned, check.output),    offsetof(struct owned, check.error)
};
enum { ROW_TEXTS = 6, TEXTS = sizeof texts / sizeof texts[0] };

static struct str *text_at(struct owned *o, size_t i)
{
	return (struct str *)(void *)((char *)o + texts[i]);
}

static void add_texts(struct owned *o, struct buf *out)
{
	for (size_t i = 0; i < TEXTS; i++)
		buf_str(out, *text_at(o, i));
	for (uint16_t i = 0; i < o->room; i++) {
		buf_str(out, o->notes[i].output);
		buf_str(out, o->notes[i].error);
	}
}

static const char *own_text(struct str *s, const char *from)
{
	s->p = NULL;
	if (s->n > 0)
		*s = str_dup((struct str){ from, s->n });
	return from + s->n;
}

static void take_texts(struct owned *o, const char *from)
{
	char *at = o->text;

	for (size_t i = 0; i < ROW_TEXTS; i++) {
		struct str *s = text_at(o, i);

		if (s->n > 0)
			memcpy(at, from, s->n);
		s->p = at;
		at += s->n;
		from += s->n;
	}
	for (size_t i = ROW_TEXTS; i < TEXTS; i++)
		from = own_text(text_at(o, i), from);
	for (uint16_t i = 0; i < o->room; i++) {
		from = own_text(&o->notes[i].output, from);
		from = own_text(&o->notes[i].error, from);
	}
}

/* ---- folding --------------------------------------------------------------------------- */

/* Nobody else holds it, and it waits for its time alone. */
static bool may_fold(const struct engine *e, const struct owned *o)
{
	bool waits = o->seat.timer.index == 0 || o->seat.timer.at > now_ms(e) + NAP_MS;
	bool busy = o->gone || o->unborn || o->doubt || o->unproven || o->behind ||
	            o->commit != COMMIT_NONE || o->deciding != NULL || o->open_calls > 0 ||
	            o->held || o->put_off || o->wary;
	bool wants = o->tick_due || o->room_due || o->resume_due || o->stuck_due != STUCK_NONE ||
	             !list_is_empty(&o->queue) || !list_is_empty(&o->waiters) ||
	             !list_is_empty(&o->begins);

	return e->acting && !e->draining && waits && !busy && !wants && o->readable;
}

static void add_packed(struct buf *out, const void *from, size_t n)
{
	buf_reserve(out, PACK_MAX(n));
	out->n += pack(out->p + out->n, from, n);
}

/* The struct without what is made anew when it wakes. */
static void add_struct(const struct owned *o, struct buf *out)
{
	struct owned image = *o;

	memset(&image.seat, 0, sizeof image.seat);
	memset(&image.next, 0, sizeof image.next);
	image.e = NULL;
	image.commit_link = image.held_link = image.put_off_link = image.drowsy_link =
		(struct list){ 0 };
	image.queue = image.waiters = image.begins = (struct list){ 0 };
	image.steps[0] = image.steps[1] = image.txn.steps = NULL;
	image.notes = NULL;
	image.calls = NULL;
	image.row.progress = (struct str){ 0 }; /* only of those that cannot be read */
	for (size_t i = 0; i < TEXTS; i++)
		text_at(&image, i)->p = NULL;
	add_packed(out, &image, sizeof image);
}

static void add_notes(const struct owned *o, struct buf *out)
{
	for (uint16_t i = 0; i < o->room; i++) {
		struct note note = o->notes[i];

		note.output.p = note.error.p = NULL;
		add_packed(out, &note, sizeof note);
	}
}

static void change_places(struct engine *e, struct seat *from, struct seat *to)
{
	table_replace(&e->by_gid, &from->node, &to->node);
	list_replace(&from->link, &to->link);
	heap_replace(&e->timers, &from->timer, &to->timer);
}

/* As owned_free(), but for the definition, which the folded one holds on to. */
static void free_shell(struct owned *o)
{
	o->row.def = NULL;
	owned_free(o);
}

static void fold(struct engine *e, struct owned *o)
{
	struct buf    *b = &e->fold_text;
	struct folded *f;
	size_t         packed;

	buf_clear(b);
	add_struct(o, b);
#ifdef BUG_FOLDS_OTHER_STATE
	o->txn.steps = o->steps[0];
#endif
	add_packed(b, o->txn.steps, o->room * sizeof *o->txn.steps);
	add_notes(o, b);
	packed = b->n;
	add_texts(o, b);
	f = mem_alloc(sizeof *f + b->n);
	f->packed = (uint32_t)packed;
	memcpy(f->bytes, b->p, b->n);
	f->seat.is_folded = true;
	change_places(e, &o->seat, &f->seat);
	f->seat.node.key = (struct str){ (char *)f->bytes + packed, o->row.gid.n };
#ifdef BUG_SLEEPS_ON
	heap_remove(&e->timers, &f->seat.timer);
#endif
	e->stats.folded++;
	free_shell(o);
}

void fold_want(struct engine *e, struct owned *o)
{
	list_remove(&o->drowsy_link);
	if (may_fold(e, o))
		list_push(&e->drowsy, &o->drowsy_link);
}

/* Whoever had one in hand has let it go by the end of the turn; but an answer that waits to be
 * given shows it. */
void fold_drowsy(struct engine *e)
{
	if (!list_is_empty(&e->replies))
		return;
	for (struct list *l; (l = list_pop(&e->drowsy)) != NULL;) {
		struct owned *o = list_entry(l, struct owned, drowsy_link);

		if (may_fold(e, o))
			fold(e, o);
	}
}

/* ---- waking ------------------------------------------------------------------------------ */

static struct owned *unfold(struct engine *e, struct folded *f)
{
	const unsigned char *from = f->bytes;
	struct owned         image;
	size_t               size = 0;

	from += unpack(&image, sizeof image, from);
	for (size_t i = 0; i < ROW_TEXTS; i++)
		size += text_at(&image, i)->n;
	struct owned *o = owned_alloc(e, size);
	image.bytes = o->bytes;
	memcpy(o, &image, sizeof image);
	o->e = e;
	o->room = 0;
	owned_lists(o);
	owned_room(o, image.room);
	o->txn.steps = o->steps[0];
	from += unpack(o->steps[0], image.room * sizeof *o->steps[0], from);
	for (uint16_t i = 0; i < image.room; i++)
		from += unpack(&o->notes[i], sizeof o->notes[i], from);
	take_texts(o, (const char *)from);
	return o;
}

struct owned *fold_wake(struct engine *e, struct seat *seat)
{
	struct owned *o;

	if (!seat->is_folded)
		return owned_of(seat);
	o = unfold(e, folded_of(seat));
	change_places(e, seat, &o->seat);
	o->seat.node.key = o->row.gid;
	free(folded_of(seat));
	list_push(&e->drowsy, &o->drowsy_link);
	return o;
}

void fold_wake_all(struct engine *e)
{
	list_each(l, after, &e->owned)
		fold_wake(e, list_entry(l, struct seat, link));
}

struct owned *fold_awake(struct list *link)
{
	struct seat *seat = list_entry(link, struct seat, link);

	return seat->is_folded ? NULL : owned_of(seat);
}
