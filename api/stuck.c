/* SPDX-License-Identifier: Apache-2.0 */
#include "api/stuck.h"

#include "api/explain.h"
#include "api/request.h"
#include "api/show.h"
#include "participants/definition.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 250, EXAMINES = 5000 };

/* ---- groups ----------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "order 4711 is closed" and "order 4712 is closed" are one error: a word with a digit in it becomes #. */
static struct str without_numbers(struct arena *arena, struct str s)
{
	char  *out = arena_alloc(arena, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n;) {
		size_t end = i;
		bool   digit = false;

		while (end < s.n && is_alnum(s.p[end])) {
			digit = digit || (s.p[end] >= '0' && s.p[end] <= '9');
			end++;
		}
		if (end == i) {
			out[n++] = s.p[i++];
			continue;
		}
		if (digit)
			out[n++] = '#';
		for (; !digit && i < end; i++)
			out[n++] = s.p[i];
		i = end;
	}
	return (struct str){ out, n };
}

/* The step that needs a person most, or -1: the row as a whole does. */
static int worst_step(const struct view *v)
{
	int worst = -1;

	if (v->txn == NULL || v->row.stuck >= STUCK_POISON)
		return -1;
	for (int i = 0; i < v->txn->step_count; i++)
		if (v->txn->steps[i].stuck != STUCK_NONE &&
		    (worst < 0 || v->txn->steps[i].stuck > v->txn->steps[worst].stuck))
			worst = i;
	if (v->txn->check.stuck != STUCK_NONE && (worst < 0 || v->txn->check.stuck > v->txn->steps[worst].stuck))
		return TXN_CHECK;
	return worst;
}

static void describe(const struct view *v, struct stuck_group *g)
{
	const int          step = worst_step(v);
	const struct note *n;
	const struct step *s;

	*g = (struct stuck_group){ .reason = v->row.stuck, .definition = v->row.definition, .op = -1, .sample = v->row.gid,
		                   .since = v->txn != NULL ? v->txn->stuck_at : 0, .count = 1 };
	if (step < 0)
		return;
	n = step == TXN_CHECK ? v->check : &v->notes[step];
	s = step == TXN_CHECK ? &v->txn->check : &v->txn->steps[step];
	g->reason = s->stuck;
	g->step = definition_step_name(v->row.def, (uint16_t)step);
	g->op = txn_wanted(v->txn, (uint16_t)step);
	if (g->op < 0)
		g->op = (int)n->op;
	g->participant = definition_target(v->row.def, (uint16_t)step, (enum op)g->op);
	g->status = n->status;
	g->error = n->error;
}

static bool is_same(const struct stuck_group *a, const struct stuck_group *b)
{
	return a->reason == b->reason && a->op == b->op && a->status == b->status && str_eq(a->step, b->step) &&
	       str_eq(a->definition, b->definition) && str_eq(a->participant, b->participant) && str_eq(a->alike, b->alike);
}

static void keep_texts(struct arena *arena, struct stuck_group *g)
{
	g->definition = arena_str(arena, g->definition);
	g->step = arena_str(arena, g->step);
	g->participant = arena_str(arena, g->participant);
	g->error = arena_str(arena, g->error);
	g->sample = arena_str(arena, g->sample);
}

void stuck_add(struct stuck_groups *g, const struct view *view)
{
	struct stuck_group one;

	g->examined++;
	describe(view, &one);
	one.alike = without_numbers(g->arena, one.error);
	for (size_t i = 0; i < g->n; i++) {
		struct stuck_group *it = &g->items[i];

		if (!is_same(it, &one))
			continue;
		it->count++;
		if (one.since != 0 && (it->since == 0 || one.since < it->since)) {
			it->since = one.since;
			it->sample = arena_str(g->arena, one.sample);
			it->error = arena_str(g->arena, one.error);
		}
		return;
	}
	if (g->n == STUCK_GROUPS_MAX) {
		g->others++;
		return;
	}
	keep_texts(g->arena, &one);
	g->items[g->n++] = one;
}

static int by_count(const void *a, const void *b)
{
	const struct stuck_group *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return x->since < y->since ? -1 : x->since > y->since;
}

void stuck_sort(struct stuck_groups *g)
{
	qsort(g->items, g->n, sizeof g->items[0], by_count);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void show_or_null(struct buf *out, const char *name, struct str s)
{
	if (s.n > 0)
		show_text(out, name, s);
	else
		buf_fmt(out, ",\"%s\":null", name);
}

static void show_group(const struct stuck_group *g, struct buf *out)
{
	buf_fmt(out, "{\"count\":%llu,\"reason\":\"%s\"", (unsigned long long)g->count, stuck_name(g->reason));
	show_or_null(out, "definition", g->definition);
	show_or_null(out, "step", g->step);
	show_or_null(out, "op", g->op < 0 ? (struct str){ 0 } : str_of(op_name((enum op)g->op)));
	show_or_null(out, "participant", g->participant);
	buf_fmt(out, ",\"status\":%d", g->status);
	show_text(out, "error", g->error);
	show_text(out, "meaning", str_of(stuck_text(g->reason)));
	show_time(out, "oldest_at", g->since);
	show_text(out, "sample", g->sample);
	buf_char(out, '}');
}

void stuck_show(const struct stuck_groups *g, size_t max, struct buf *out)
{
	buf_char(out, '[');
	for (size_t i = 0; i < g->n && i < max; i++) {
		if (i > 0)
			buf_cstr(out, ",\n");
		show_group(&g->items[i], out);
	}
	buf_char(out, ']');
}

/* ---- GET /v1/stuck ----------------------------------------------------------------------------- */

static void add_view(void *arg, const struct view *view)
{
	stuck_add(arg, view);
}

static void answer(struct request *r, struct stuck_groups *g, bool complete)
{
	struct buf body = { 0 };

	stuck_sort(g);
	buf_cstr(&body, "{\"items\":");
	stuck_show(g, STUCK_GROUPS_MAX, &body);
	buf_fmt(&body, ",\n\"examined\":%llu,\"others\":%llu,\"complete\":%s}\n", (unsigned long long)g->examined,
	        (unsigned long long)g->others, complete ? "true" : "false");
	request_answer(r, 200, &body);
}

static void on_page(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct request      *r = arg;
	struct stuck_groups *g = r->own;
	struct store_port   *store = &r->api->store;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		engine_view(r->api->engine, &rows[i], add_view, g);
	if (page->next.n == 0 || g->examined >= EXAMINES)
		answer(r, g, page->next.n == 0);
	else /* page by page, so that others have their turn */
		store->stuck(store->ctx, page->next, PAGE, on_page, r);
}

void handle_stuck_list(struct request *r)
{
	static const char *const NOTHING[] = { NULL };
	struct store_port       *store = &r->api->store;
	struct stuck_groups     *g = arena_alloc(request_arena(r), sizeof *g);

	if (!request_only(r, NOTHING))
		return;
	g->arena = request_arena(r);
	r->own = g;
	store->stuck(store->ctx, STR(""), PAGE, on_page, r);
}
