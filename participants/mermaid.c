/* SPDX-License-Identifier: Apache-2.0
 * mermaid.c - a definition as a flowchart in Mermaid's language (https://mermaid.js.org).
 */
#include "participants/definition_internal.h"

/* Rectangle: can be undone. Hexagon: no way back from here. Round: must succeed. */
static const char *const shapes[KIND_COUNT][2] = {
	[KIND_COMPENSATABLE] = { "[\"", "\"]" },
	[KIND_PIVOT] = { "{{\"", "\"}}" },
	[KIND_RETRIABLE] = { "([\"", "\"])" },
};

static const char *calls_text(const struct definition *d, uint16_t step)
{
	const struct step_calls *s = &d->steps[step];

	if (s->calls[OP_CONFIRM] != NULL)
		return s->calls[OP_CANCEL] != NULL ? "try, confirm, cancel" : "try, confirm";
	return s->calls[OP_CANCEL] != NULL ? "action, compensate" : "action";
}

/* Names never stand as ids: some, like `end`, are words of Mermaid. */
static void put_step(const struct definition *d, uint16_t step, struct buf *out)
{
	const struct plan_step *ps = &d->plan.steps[step];

	buf_fmt(out, "    s%u%s%.*s<br/>%s%s\n", step, shapes[ps->kind][0],
		(int)d->steps[step].name.n, d->steps[step].name.p, calls_text(d, step),
		shapes[ps->kind][1]);
}

void definition_mermaid(const struct definition *d, struct buf *out)
{
	buf_cstr(out, "flowchart LR\n");
	if (d->check != NULL)
		buf_cstr(out, "    check{\"check<br/>asks the sender\"}\n");
	for (uint16_t i = 0; i < d->plan.step_count; i++)
		put_step(d, i, out);
	for (uint16_t i = 0; i < d->plan.step_count; i++) {
		const struct plan_step *ps = &d->plan.steps[i];

		for (unsigned k = 0; k < ps->after_n; k++)
			buf_fmt(out, "    s%u --> s%u\n", d->plan.edges[ps->after_at + k], i);
		if (ps->after_n == 0 && d->check != NULL)
			buf_fmt(out, "    check --> s%u\n", i);
	}
}
