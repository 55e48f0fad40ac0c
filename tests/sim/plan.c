/* SPDX-License-Identifier: Apache-2.0
 * plan.c - definitions by number: drawn from the tape, found again by their text, grown by joins.
 */
#include "tests/sim/world.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct definition *new_definition(struct world *w)
{
	struct definition *d = mem_alloc(sizeof *d);

	assert(w->definition_n < DEFINITIONS_MAX);
	d->w = w;
	d->refs = 1; /* the world's */
	d->number = w->definition_n;
	d->plan.steps = d->steps;
	d->plan.edges = d->edges;
	snprintf(d->text, sizeof d->text, "{\"plan\":%u}", d->number);
	snprintf(d->name, sizeof d->name, "plan-%u", d->number);
	w->definitions[w->definition_n++] = d;
	return d;
}

static struct retry draw_retry(struct world *w)
{
	static const uint32_t attempts[] = { 0, 3, 5, 0 };
	struct retry          r = { .initial_ms = 50, .max_ms = 800, .factor_milli = 2000 };

	r.initial_ms += 50 * tape_choose(w->tape, 4);
	r.attempts = attempts[tape_choose(w->tape, 4)];
	r.jitter = tape_choose(w->tape, 2);
	return r;
}

/* In a line (the dull way), all at once, or some of the earlier ones. */
static void draw_edges(struct world *w, struct definition *d, uint16_t step, uint32_t shape)
{
	struct plan_step *s = &d->steps[step];
	uint16_t          n = 0;

	s->after_at = step == 0 ? 0 : (uint16_t)(d->steps[step - 1].after_at + d->steps[step - 1].after_n);
	for (uint16_t k = 0; k < step; k++) {
		const struct plan_step *other = &d->steps[k];
		bool take = shape == 0 ? k + 1 == step : shape == 2 && tape_choose(w->tape, 2) == 1;

		if (s->kind == KIND_COMPENSATABLE && other->kind != KIND_COMPENSATABLE)
			take = false;
		if (s->kind == KIND_PIVOT && other->kind == KIND_RETRIABLE)
			take = false;
		if (take)
			d->edges[s->after_at + n++] = k;
	}
	s->after_n = n;
}

static void draw_saga(struct world *w, struct definition *d, bool pivots)
{
	uint16_t n = (uint16_t)(1 + (1 + tape_choose(w->tape, 4)) % 4);
	uint16_t pivot = pivots ? (uint16_t)tape_choose(w->tape, n) : n;
	uint32_t shape = tape_choose(w->tape, 3);

	d->plan.mode = MODE_SAGA;
	d->plan.step_count = n;
	for (uint16_t i = 0; i < n; i++) {
		struct plan_step *s = &d->steps[i];

		s->kind = i < pivot ? KIND_COMPENSATABLE : i == pivot ? KIND_PIVOT : KIND_RETRIABLE;
		s->has = HAS_TRY;
		if (s->kind == KIND_COMPENSATABLE && !tape_chance(w->tape, 8))
			s->has |= HAS_CANCEL;
		if (s->kind == KIND_PIVOT && tape_choose(w->tape, 3) == 2)
			s->has |= HAS_CANCEL;
		draw_edges(w, d, i, shape);
	}
}

static void draw_tcc(struct world *w, struct definition *d)
{
	uint16_t n = (uint16_t)(1 + (1 + tape_choose(w->tape, 3)) % 3);
	uint32_t shape = tape_choose(w->tape, 3);

	d->plan.mode = MODE_TCC;
	d->plan.step_count = n;
	for (uint16_t i = 0; i < n; i++) {
		d->steps[i].kind = KIND_COMPENSATABLE;
		d->steps[i].has = HAS_TRY | HAS_CONFIRM | HAS_CANCEL;
		draw_edges(w, d, i, shape);
	}
}

static void draw_message(struct world *w, struct definition *d)
{
	uint16_t n = (uint16_t)(1 + tape_choose(w->tape, 2));
	uint32_t shape = tape_choose(w->tape, 2);

	d->plan.mode = MODE_MESSAGE;
	d->plan.open = true;
	d->plan.step_count = n;
	d->plan.check_retry = draw_retry(w);
	d->plan.check_retry.attempts = 0;
	d->plan.check_poll_ms = 100;
	for (uint16_t i = 0; i < n; i++) {
		d->steps[i].kind = KIND_RETRIABLE;
		d->steps[i].has = HAS_TRY;
		draw_edges(w, d, i, shape);
	}
}

static void draw_times(struct world *w, struct definition *d, struct record *rec)
{
	struct plan *p = &d->plan;

	p->max_parallel = (uint16_t)(tape_chance(w->tape, 4) ? 1 : 16);
	p->stuck_after_ms = tape_choose(w->tape, 2) ? 2000 : 0;
	for (uint16_t i = 0; i < p->step_count; i++) {
		d->steps[i].retry = draw_retry(w);
		d->steps[i].poll_ms = 100 + 100 * tape_choose(w->tape, 3);
	}
	if (p->open || tape_chance(w->tape, 3))
		rec->deadline_at = 800 + 400 * (int64_t)tape_choose(w->tape, 8);
	if (!p->open && tape_chance(w->tape, 8)) {
		rec->start_at = 500 + 300 * (int64_t)tape_choose(w->tape, 8);
		if (rec->deadline_at != 0)
			rec->deadline_at += rec->start_at;
		w->seen->started_later++;
	}
}

struct definition *plan_draw(struct world *w, struct record *rec)
{
	struct definition *d = new_definition(w);
	uint16_t           step;

	switch (tape_choose(w->tape, 6)) {
	case 1: draw_saga(w, d, true); break;
	case 2: draw_tcc(w, d); break;
	case 3: draw_message(w, d); break;
	case 4:
		d->plan.mode = MODE_TCC;
		d->plan.open = true;
		break;
	case 5: draw_saga(w, d, true); break;
	default: draw_saga(w, d, false); break;
	}
	d->named = !d->plan.open && tape_choose(w->tape, 2) == 1;
	for (uint16_t i = 0; i < d->plan.step_count; i++) {
		snprintf(d->names[i], sizeof d->names[i], "s%u", i);
		w->seen->pivots += d->steps[i].kind == KIND_PIVOT;
		w->seen->retriables += d->steps[i].kind == KIND_RETRIABLE;
	}
	draw_times(w, d, rec);
	w->seen->sagas += d->plan.mode == MODE_SAGA;
	w->seen->tccs += d->plan.mode == MODE_TCC && !d->plan.open;
	w->seen->messages += d->plan.mode == MODE_MESSAGE;
	w->seen->open_tccs += d->plan.mode == MODE_TCC && d->plan.open;
	const char *wrong = plan_check(&d->plan, &step);
	if (wrong != NULL)
		violated(w, 100, "the plan is wrong: %s", wrong);
	return d;
}

/* Its caller is asked when the deadline passes. No choice of its own: the tapes stay as they are. */
void plan_ask_caller(struct world *w, struct definition *d)
{
	if (d->plan.mode != MODE_TCC || !d->plan.open)
		return;
	d->plan.has_check = true;
	d->plan.check_retry = (struct retry){ .initial_ms = 50, .max_ms = 800, .factor_milli = 2000 };
	d->plan.check_poll_ms = 100;
	w->seen->checked_tccs++;
}

/* ---- the port ------------------------------------------------------------------ */

static struct definition *hold(void *ctx, struct definition *d)
{
	(void)ctx;
	d->refs++;
	return d;
}

static void drop(void *ctx, struct definition *d)
{
	(void)ctx;
	if (--d->refs < 1)
		violated(d->w, 101, "plan %u is dropped more often than it is held", d->number);
}

struct definition *plan_compile(void *world, struct str name, uint32_t version, struct str document)
{
	struct world *w = world;
	unsigned      number = DEFINITIONS_MAX;
	char          text[40];

	str_cstr(document.n > 0 ? document : name, text, sizeof text);
	if (sscanf(text, document.n > 0 ? "{\"plan\":%u}" : "plan-%u", &number) != 1 ||
	    number >= w->definition_n || (document.n == 0 && version != 1))
		return NULL;
	return hold(NULL, w->definitions[number]);
}

static const struct plan *get_plan(void *ctx, struct definition *d)
{
	(void)ctx;
	return &d->plan;
}

static int step_find(void *ctx, struct definition *d, struct str name)
{
	(void)ctx;
	for (uint16_t i = 0; i < d->plan.step_count; i++)
		if (str_is(name, d->names[i]))
			return i;
	return -1;
}

static struct str step_name(void *ctx, struct definition *d, uint16_t step)
{
	(void)ctx;
	return step == TXN_CHECK ? STR("check") : str_of(d->names[step]);
}

static enum join_result join(void *ctx, struct definition *d, struct str document,
                             struct definition **grown, struct str *text, struct err *err)
{
	char     line[80], name[8];
	unsigned has;

	(void)ctx;
	str_cstr(document, line, sizeof line);
	if (sscanf(line, "{\"name\":\"%7[a-z0-9]\",\"has\":%u}", name, &has) != 2) {
		err_set(err, ERR_INVALID, "that is no step");
		return JOIN_INVALID;
	}
	int known = step_find(NULL, d, str_of(name));
	if (known >= 0)
		return d->steps[known].has == has ? JOIN_SAME : JOIN_DIFFERS;
	if (d->plan.step_count == STEPS_MAX || d->w->definition_n == DEFINITIONS_MAX) {
		err_set(err, ERR_LIMIT, "no more steps");
		return JOIN_INVALID;
	}
	struct definition *g = new_definition(d->w);
	uint16_t           n = d->plan.step_count;
	g->plan = d->plan;
	g->plan.steps = g->steps;
	g->plan.edges = g->edges;
	memcpy(g->steps, d->steps, sizeof g->steps);
	memcpy(g->edges, d->edges, sizeof g->edges);
	memcpy(g->names, d->names, sizeof g->names);
	memcpy(g->moved, d->moved, sizeof g->moved);
	g->plan.step_count++;
	g->steps[n] = (struct plan_step){ .kind = KIND_COMPENSATABLE, .has = has, .joined = true,
		                          .retry = { 100, 800, 2000, 0, true }, .poll_ms = 100 };
	snprintf(g->names[n], sizeof g->names[n], "%s", name);
	*grown = hold(NULL, g);
	*text = str_of(g->text);
	return JOIN_NEW;
}

/* "moved N": the call of op N goes elsewhere from now on; "slower": it is only retried otherwise. */
static enum join_result patch(void *ctx, struct definition *d, struct str step, struct str changes,
                              struct definition **grown, struct str *text, struct err *err)
{
	char     line[80];
	unsigned op;
	int      i = step_find(ctx, d, step);

	str_cstr(changes, line, sizeof line);
	if (i < 0 || d->w->definition_n == DEFINITIONS_MAX) {
		err_set(err, ERR_LIMIT, "no more plans");
		return JOIN_INVALID;
	}
	struct definition *g = new_definition(d->w);
	g->plan = d->plan;
	g->plan.steps = g->steps;
	g->plan.edges = g->edges;
	memcpy(g->steps, d->steps, sizeof g->steps);
	memcpy(g->edges, d->edges, sizeof g->edges);
	memcpy(g->names, d->names, sizeof g->names);
	memcpy(g->moved, d->moved, sizeof g->moved);
	if (sscanf(line, "\"moved %u\"", &op) == 1 && op < OP_COUNT)
		g->moved[i] |= 1u << op;
	else
		g->steps[i].retry.initial_ms = 150;
	*grown = hold(NULL, g);
	*text = str_of(g->text);
	return JOIN_NEW;
}

void plan_port(struct world *w, struct definition_port *port)
{
	*port = (struct definition_port){ .ctx = w, .plan = get_plan, .hold = hold, .drop = drop,
		                          .join = join, .patch = patch, .step_find = step_find, .step_name = step_name };
}

void plan_check_refs(struct world *w)
{
	for (unsigned i = 0; i < w->definition_n; i++)
		if (w->definitions[i]->refs != 1)
			violated(w, 102, "plan %u is held %d times at the end", i, w->definitions[i]->refs - 1);
}

void plan_free_all(struct world *w)
{
	while (w->definition_n > 0)
		free(w->definitions[--w->definition_n]);
}
