/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <stdio.h>
#include <string.h>

/* The same text without blanks between its tokens: a repetition may be laid out anew. */
static void minify(struct str json, struct buf *out)
{
	bool in_string = false;

	buf_reserve(out, json.n);
	for (size_t i = 0; i < json.n; i++) {
		char ch = json.p[i];

		if (!in_string && (ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t'))
			continue;
		buf_char(out, ch);
		if (ch == '"')
			in_string = !in_string;
		else if (in_string && ch == '\\' && i + 1 < json.n)
			buf_char(out, json.p[++i]);
	}
}

/* The document with the step at the end of "joined". */
static void grow_document(struct str document, struct str step, struct buf *out)
{
	struct str joined, first;
	size_t     cut = document.n, inside = 1;

	if (json_member(document, "joined", &joined)) {
		cut = (size_t)(joined.p - document.p) + joined.n - 1; /* its bracket */
		first = json_next(joined, &inside);
		buf_add(out, document.p, cut);
		if (first.n > 0)
			buf_char(out, ',');
		buf_str(out, step);
	} else {
		while (document.p[cut - 1] != '}')
			cut--;
		cut--;
		buf_add(out, document.p, cut);
		buf_cstr(out, ",\"joined\":[");
		buf_str(out, step);
		buf_char(out, ']');
	}
	buf_add(out, document.p + cut, document.n - cut);
}

/* Pointers into the step document, not into the grown one. */
static void strip_pointers(struct findings *f, size_t from, unsigned index)
{
	char   prefix[32];
	size_t n = (size_t)snprintf(prefix, sizeof prefix, "/joined/%u", index);

	for (size_t i = from; i < f->n; i++) {
		struct str *pointer = &f->items[i].pointer;

		if (str_starts(*pointer, (struct str){ prefix, n }))
			*pointer = (struct str){ pointer->p + n, pointer->n - n };
	}
}

/* The name of the step, if it is an object with one; findings say what is wrong. */
static bool read_name(struct str document, struct arena *arena, struct findings *f,
		      struct str *name)
{
	struct json_error  syntax;
	const struct json *root = json_parse(document, arena, &syntax), *node;
	char               detail[200];

	if (root == NULL) {
		snprintf(detail, sizeof detail, "not JSON: %s (byte %zu)", syntax.text, syntax.at);
		finding_put(f, str_of(syntax.pointer), false, str_of(detail));
		return false;
	}
	node = json_get(root, "name");
	if (node == NULL || node->type != JSON_STRING) {
		finding_put(f, STR(""), false, STR("a step that joins is an object with a name"));
		return false;
	}
	*name = json_text(node, arena);
	return true;
}

static int join(struct definition *d, struct str step, struct definition **grown,
		struct findings *f)
{
	struct buf document = { 0 };
	size_t     before = f->n;

	grow_document(d->document, step, &document);
	*grown = definition_compile(buf_view(&document), DEFINITION_INLINE, (struct str){ 0 }, f);
	strip_pointers(f, before, d->plan.step_count);
	buf_fini(&document);
	return *grown != NULL ? 1 : -2;
}

int definition_join(struct definition *d, struct str step_document, struct definition **grown,
		    struct findings *findings)
{
	struct arena scratch = { 0 };
	struct buf   step = { 0 };
	struct str   name;
	int          found, result = -2;

	*grown = NULL;
	if (!d->plan.open || d->plan.mode != MODE_TCC) {
		finding_put(findings, STR(""), false,
			    STR("steps join a tcc transaction without steps only"));
		return -2;
	}
	if (read_name(step_document, &scratch, findings, &name)) {
		minify(step_document, &step);
		found = definition_step_find(d, name);
		if (found >= 0)
			result = str_eq(d->steps[found].document, buf_view(&step)) ? 0 : -1;
		else
			result = join(d, buf_view(&step), grown, findings);
	}
	buf_fini(&step);
	arena_fini(&scratch);
	return result;
}
