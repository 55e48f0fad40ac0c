/* SPDX-License-Identifier: Apache-2.0
 * definition_check.c - compiles a document from standard input, prints its findings as JSON:
 * {"valid": true, "errors": [{"pointer", "detail"}], "warnings": […]}. Arguments: named, inline or
 * joined; the name it is registered under.
 */
#include "participants/definition.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put_findings(const struct findings *f, bool warnings, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->items[i].warning != warnings)
			continue;
		buf_cstr(out, n++ ? ", {\"pointer\": " : "{\"pointer\": ");
		buf_json(out, f->items[i].pointer);
		buf_cstr(out, ", \"detail\": ");
		buf_json(out, f->items[i].detail);
		buf_char(out, '}');
	}
}

static struct definition *join(struct str step, struct findings *f)
{
	struct definition *open, *grown;

	open =
	    definition_compile(STR("{\"mode\":\"tcc\"}"), DEFINITION_INLINE, (struct str){ 0 }, f);
	definition_join(open, step, &grown, f);
	definition_drop(open);
	return grown;
}

int main(int argc, char **argv)
{
	const char        *use = argc > 1 ? argv[1] : "named";
	struct arena       arena = { 0 };
	struct findings    f = { .arena = &arena };
	struct buf         in = { 0 }, out = { 0 };
	struct definition *d;
	char               block[65536];
	ssize_t            n;

	while ((n = read(STDIN_FILENO, block, sizeof block)) > 0)
		buf_add(&in, block, (size_t)n);
	if (strcmp(use, "joined") == 0)
		d = join(buf_view(&in), &f);
	else
		d = definition_compile(buf_view(&in),
				       strcmp(use, "inline") ? DEFINITION_NAMED : DEFINITION_INLINE,
				       str_of(argc > 2 ? argv[2] : NULL), &f);
	buf_fmt(&out, "{\"valid\": %s, \"errors\": [", d != NULL ? "true" : "false");
	put_findings(&f, false, &out);
	buf_cstr(&out, "], \"warnings\": [");
	put_findings(&f, true, &out);
	buf_cstr(&out, "]}");
	puts(out.p);
	definition_drop(d);
	arena_fini(&arena);
	buf_fini(&in);
	buf_fini(&out);
	return 0;
}
