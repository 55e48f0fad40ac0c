/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <stdarg.h>
#include <stdio.h>

/* Warnings take half of the room at most: a hint per step must not hide the one error. */
static bool has_room(const struct findings *f, bool warning)
{
	size_t warnings = 0;

	for (size_t i = 0; warning && i < f->n; i++)
		warnings += f->items[i].warning;
	return f->n < DEFINITION_FINDINGS_MAX && warnings < DEFINITION_FINDINGS_MAX / 2;
}

void finding_put(struct findings *f, struct str pointer, bool warning, struct str detail)
{
	if (!warning)
		f->errors++;
	if (!has_room(f, warning))
		return;
	f->items[f->n++] = (struct finding){ .pointer = arena_str(f->arena, pointer),
					       .detail = arena_str(f->arena, detail),
					       .warning = warning };
}

__attribute__((format(printf, 4, 0))) static void put(struct compiler *c, const struct json *node,
						      bool warning, const char *fmt, va_list ap)
{
	struct buf pointer = { 0 };
	char       detail[400];

	/* Beyond the maximum only counted: a pointer each would make a bad document costly. */
	if (has_room(c->findings, warning)) {
		vsnprintf(detail, sizeof detail, fmt, ap);
		json_pointer(node, &pointer);
		finding_put(c->findings, buf_view(&pointer), warning, str_of(detail));
		buf_fini(&pointer);
	} else if (!warning) {
		c->findings->errors++;
	}
}

void finding_add(struct compiler *c, const struct json *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(c, node, false, fmt, ap);
	va_end(ap);
}

void finding_warn(struct compiler *c, const struct json *node, const char *fmt, ...)
{
	va_list ap;

	if (c->quiet)
		return;
	va_start(ap, fmt);
	put(c, node, true, fmt, ap);
	va_end(ap);
}
