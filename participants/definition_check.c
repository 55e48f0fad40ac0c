/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <string.h>

enum { WORDS = TXN_STEPS_MAX / 64 };

/* Who stands before whom, through any number of steps. */
struct graph {
	uint64_t (*before)[WORDS];
	bool      *placed; /* not on a cycle, nor behind one */
};

static bool is_before(const struct graph *g, unsigned first, unsigned second)
{
	return g->before[second][first / 64] >> first % 64 & 1;
}

static void add_before(struct graph *g, unsigned first, unsigned second)
{
	for (unsigned w = 0; w < WORDS; w++)
		g->before[second][w] |= g->before[first][w];
	g->before[second][first / 64] |= (uint64_t)1 << first % 64;
}

static const uint16_t *after_of(const struct compiler *c, unsigned step)
{
	return c->edges + c->d->plan_steps[step].after_at;
}

static bool is_ready(const struct compiler *c, const struct graph *g, unsigned step)
{
	for (unsigned k = 0; k < c->d->plan_steps[step].after_n; k++)
		if (!g->placed[after_of(c, step)[k]])
			return false;
	return !g->placed[step];
}

/* Places step after step behind what stands before it; 256 steps need no cleverness. */
static bool build(const struct compiler *c, struct graph *g)
{
	unsigned n = c->d->plan.step_count, placed = 0;

	for (bool more = true; more;) {
		more = false;
		for (unsigned i = 0; i < n; i++) {
			if (!is_ready(c, g, i))
				continue;
			for (unsigned k = 0; k < c->d->plan_steps[i].after_n; k++)
				add_before(g, after_of(c, i)[k], i);
			g->placed[i] = more = true;
			placed++;
		}
	}
	return placed == n;
}

static unsigned unplaced_before(const struct compiler *c, const struct graph *g, unsigned step,
				unsigned *edge)
{
	for (*edge = 0; g->placed[after_of(c, step)[*edge]]; ++*edge)
		;
	return after_of(c, step)[*edge];
}

static const struct json *edge_node(const struct compiler *c, unsigned step, unsigned edge)
{
	const struct json *after = json_get(c->nodes[step], "after");
	struct arena       scratch = { 0 };
	struct str         wanted = c->d->steps[after_of(c, step)[edge]].name;
	struct json       *it = after->first;

	/* Wrong entries of `after` have no edge: look the name up. */
	while (it->next != NULL &&
	       (it->type != JSON_STRING || !str_eq(json_text(it, &scratch), wanted)))
		it = it->next;
	arena_fini(&scratch);
	return it;
}

/* Whoever goes back from a step that could not be placed ends on a cycle: its first
 * step in the order of the document. */
static unsigned find_cycle(const struct compiler *c, const struct graph *g, unsigned step)
{
	unsigned edge, at = step, first;

	for (unsigned k = 0; k < c->d->plan.step_count; k++)
		at = unplaced_before(c, g, at, &edge);
	first = at;
	for (unsigned it = unplaced_before(c, g, at, &edge); it != at;
	     it = unplaced_before(c, g, it, &edge))
		first = it < first ? it : first;
	return first;
}

static void report_cycle(struct compiler *c, const struct graph *g, unsigned first)
{
	struct buf names = { 0 };
	unsigned   at = first, edge;

	do {
		buf_fmt(&names, "%.*s stands after ", (int)c->d->steps[at].name.n,
			c->d->steps[at].name.p);
		at = unplaced_before(c, g, at, &edge);
	} while (at != first && names.n < 200);
	unplaced_before(c, g, first, &edge);
	finding_add(c, edge_node(c, first, edge), "a cycle: %s%.*s", names.p,
		    (int)c->d->steps[at].name.n, c->d->steps[at].name.p);
	buf_fini(&names);
}

static void report_cycles(struct compiler *c, struct graph *g)
{
	for (unsigned i = 0; i < c->d->plan.step_count; i++) {
		unsigned first;

		if (g->placed[i])
			continue;
		first = find_cycle(c, g, i);
		report_cycle(c, g, first);
		/* Done with this cycle; what leads to it and stands behind it says nothing new. */
		g->placed[first] = true;
		build(c, g);
	}
}

/* ---- the point of no return ---------------------------------------------------------- */

static void check_edges(struct compiler *c, unsigned i)
{
	const struct plan_step *steps = c->d->plan_steps;

	for (unsigned k = 0; k < steps[i].after_n; k++) {
		enum step_kind before = steps[after_of(c, i)[k]].kind;

		if (before == KIND_COMPENSATABLE || steps[i].kind == KIND_RETRIABLE)
			continue;
		if (steps[i].kind == KIND_COMPENSATABLE)
			finding_add(c, edge_node(c, i, k),
				    "a compensatable step cannot stand behind a %s one: there is "
				    "no way back from there",
				    step_kind_name(before));
		else if (before == KIND_RETRIABLE)
			finding_add(c, edge_node(c, i, k),
				    "the pivot cannot stand behind a retriable step: those run "
				    "when it is ok");
	}
}

static void check_kinds(struct compiler *c)
{
	int pivot = -1;

	for (unsigned i = 0; i < c->d->plan.step_count; i++) {
		check_edges(c, i);
		if (c->d->plan_steps[i].kind != KIND_PIVOT)
			continue;
		if (pivot < 0)
			pivot = (int)i;
		else
			finding_add(c, json_get(c->nodes[i], "kind"),
				    "there is one point of no return: %.*s is the pivot already",
				    (int)c->d->steps[pivot].name.n, c->d->steps[pivot].name.p);
	}
}

/* ---- who may read whose output ------------------------------------------------------------ */

static void check_read(struct compiler *c, const struct graph *g, const struct output_read *r)
{
	struct str name = c->d->steps[r->step].name;

	if (r->reader == TXN_CHECK && r->op == OP_CHECK)
		finding_add(c, r->node,
			    "a back-check comes before every step: it can read input, gid, "
			    "definition and now");
	if (r->reader == TXN_CHECK)
		return;
	if (r->reader == r->step) {
		if (r->op == OP_TRY)
			finding_add(c, r->node, "a step has no output before it was called");
		else if (!r->defaulted && (r->op == OP_CANCEL || c->d->plan_steps[r->step].joined))
			finding_add(c, r->node,
				    "a refused step is cancelled too and has no output: give a "
				    "default, as in ${steps.%.*s.output.id ?? gid}",
				    (int)name.n, name.p);
	} else if (!is_before(g, r->step, r->reader)) {
		finding_add(c, r->node,
			    "%.*s does not stand before this step: name it in after, or what it "
			    "depends on",
			    (int)name.n, name.p);
	}
}

void check_graph(struct compiler *c)
{
	const size_t n = c->d->plan.step_count;
	struct graph g = { .before = arena_array(&c->scratch, n, sizeof *g.before),
			   .placed = arena_array(&c->scratch, n, sizeof *g.placed) };
	bool         acyclic = build(c, &g);

	check_kinds(c);
	if (!acyclic)
		report_cycles(c, &g);
	for (size_t i = 0; acyclic && i < c->read_n; i++)
		check_read(c, &g, &c->reads[i]);
}
