/* SPDX-License-Identifier: Apache-2.0
 * definition_patch.c - a document in which one step is called otherwise: for one transaction that runs.
 *
 * The result is a document like any other, so that older versions can drive the transaction as well.
 */
#include "participants/definition_internal.h"

#include <stdio.h>

struct patch {
	const struct json *op, *url, *timeout, *retry; /* of the changes; NULL: not changed */
	enum op            which;
};

/* ---- what is wanted --------------------------------------------------------------- */

static bool find_op(const struct json *node, struct arena *arena, enum op *out)
{
	struct str text;

	if (node == NULL || node->type != JSON_STRING)
		return false;
	text = json_text(node, arena);
	for (int i = 0; i < STEP_OPS; i++)
		if (str_is(text, op_name((enum op)i))) {
			*out = (enum op)i;
			return true;
		}
	return false;
}

static bool read_patch(const struct json *changes, struct arena *arena, struct findings *f, struct patch *p)
{
	size_t known = 0;

	*p = (struct patch){ json_get(changes, "op"), json_get(changes, "url"), json_get(changes, "timeout"),
		             json_get(changes, "retry"), OP_TRY };
	known = (size_t)((p->op != NULL) + (p->url != NULL) + (p->timeout != NULL) + (p->retry != NULL));
	if (changes->type != JSON_OBJECT || changes->n != known)
		finding_put(f, STR(""), false, STR("op, url, timeout and retry can be changed, nothing else"));
	else if (p->url == NULL && p->timeout == NULL && p->retry == NULL)
		finding_put(f, STR(""), false, STR("nothing is to be changed: give url, timeout or retry"));
	else if ((p->url != NULL || p->timeout != NULL) && !find_op(p->op, arena, &p->which))
		finding_put(f, STR("/op"), false, STR("of which call? try, confirm or cancel is wanted"));
	else
		return true;
	return false;
}

/* ---- texts, from the inside out ------------------------------------------------------ */

static void put_member(struct buf *out, struct str key, struct str value)
{
	if (out->p[out->n - 1] != '{')
		buf_char(out, ',');
	buf_json(out, key);
	buf_char(out, ':');
	buf_str(out, value);
}

static bool is_one_of(struct str key, const char *const *names)
{
	for (; names != NULL && *names != NULL; names++)
		if (str_is(key, *names))
			return true;
	return false;
}

/* The object without some members, and with `key` in its place, or at the end. */
static void edit(const struct json *object, const char *const *without, struct str key, struct str value,
		 struct buf *out)
{
	bool done = value.p == NULL;

	buf_char(out, '{');
	for (const struct json *m = object->first; m != NULL; m = m->next) {
		if (is_one_of(m->key, without))
			continue;
		if (value.p != NULL && str_eq(m->key, key)) {
			put_member(out, key, value);
			done = true;
		} else {
			put_member(out, m->key, m->raw);
		}
	}
	if (!done)
		put_member(out, key, value);
	buf_char(out, '}');
}

static const char *name_of_call(const struct json *step, enum op op)
{
	bool saga = json_get(step, "action") != NULL || json_get(step, "compensate") != NULL;

	switch (op) {
	case OP_TRY:
		return saga ? "action" : "try";
	case OP_CONFIRM:
		return "confirm";
	case OP_CANCEL:
		return saga ? "compensate" : "cancel";
	case OP_CHECK:
		break;
	}
	return "";
}

static bool edit_call(const struct json *step, const struct patch *p, struct findings *f, struct buf *out)
{
	static const char *const place[] = { "url", "participant", "path", "nothing", NULL };
	const struct json       *call = json_get(step, name_of_call(step, p->which));
	struct buf               text = { 0 };
	struct arena             arena = { 0 };
	struct json_error        err;

	if (call == NULL || call->type != JSON_OBJECT) {
		finding_put(f, STR("/op"), false, STR("the step has no such call"));
		return false;
	}
	if (p->url != NULL)
		edit(call, place, STR("url"), p->url->raw, &text);
	else
		buf_str(&text, call->raw);
	if (p->timeout != NULL)
		edit(json_parse(buf_view(&text), &arena, &err), NULL, STR("timeout"), p->timeout->raw, out);
	else
		buf_str(out, buf_view(&text));
	arena_fini(&arena);
	buf_fini(&text);
	return true;
}

static bool edit_step(const struct json *step, const struct patch *p, struct findings *f, struct buf *out)
{
	struct buf        call = { 0 }, text = { 0 };
	struct arena      arena = { 0 };
	struct json_error err;
	bool              fine = true;

	if (p->url != NULL || p->timeout != NULL) {
		fine = edit_call(step, p, f, &call);
		if (fine)
			edit(step, NULL, str_of(name_of_call(step, p->which)), buf_view(&call), &text);
	} else {
		buf_str(&text, step->raw);
	}
	if (fine && p->retry != NULL)
		edit(json_parse(buf_view(&text), &arena, &err), NULL, STR("retry"), p->retry->raw, out);
	else
		buf_str(out, buf_view(&text));
	arena_fini(&arena);
	buf_fini(&call);
	buf_fini(&text);
	return fine;
}

static void edit_joined(const struct json *joined, const struct json *old, struct str step, struct buf *out)
{
	buf_char(out, '[');
	for (const struct json *it = joined->first; it != NULL; it = it->next) {
		if (it != joined->first)
			buf_char(out, ',');
		buf_str(out, it == old ? step : it->raw);
	}
	buf_char(out, ']');
}

/* The name stands in the row, beside the document. */
static void edit_document(const struct json *root, const struct json *step, struct str text, struct buf *out)
{
	static const char *const name[] = { "name", NULL };
	const struct json       *home = step->parent;
	struct buf               steps = { 0 };

	if (home->type == JSON_ARRAY)
		edit_joined(home, step, text, &steps);
	else
		edit(home, NULL, step->key, text, &steps);
	edit(root, name, home->key, buf_view(&steps), out);
	buf_fini(&steps);
}

static const struct json *find_step(const struct json *root, struct str name, struct arena *arena)
{
	const struct json *joined = json_get(root, "joined"), *steps = json_get(root, "steps");
	const struct json *step = steps != NULL ? json_find(steps, name) : NULL;

	for (const struct json *it = joined != NULL ? joined->first : NULL; it != NULL && step == NULL; it = it->next) {
		const struct json *its = json_get(it, "name");

		if (its != NULL && its->type == JSON_STRING && str_eq(json_text(its, arena), name))
			step = it;
	}
	return step;
}

/* ---- the whole --------------------------------------------------------------------------- */

static struct definition *compile(const struct definition *d, struct str document, struct findings *f)
{
	enum definition_use use = d->name.n > 0 ? DEFINITION_NAMED : DEFINITION_INLINE;
	struct definition  *made = definition_compile(document, use, d->name, f);

	if (made == NULL || made->plan.step_count == d->plan.step_count)
		return made;
	definition_drop(made);
	return NULL;
}

struct definition *definition_patch(const struct definition *d, struct str step_name, struct str changes,
				    struct findings *f)
{
	struct arena       arena = { 0 };
	struct buf         step = { 0 }, document = { 0 };
	struct json_error  err;
	struct json       *root = json_parse(d->document, &arena, &err), *wanted = json_parse(changes, &arena, &err);
	const struct json *node = root != NULL ? find_step(root, step_name, &arena) : NULL;
	struct definition *made = NULL;
	struct patch       p;

	if (wanted == NULL || node == NULL)
		finding_put(f, STR(""), false, STR("there is no such step, or the changes are not JSON"));
	else if (read_patch(wanted, &arena, f, &p) && edit_step(node, &p, f, &step)) {
		edit_document(root, node, buf_view(&step), &document);
		made = compile(d, buf_view(&document), f);
	}
	buf_fini(&step);
	buf_fini(&document);
	arena_fini(&arena);
	return made;
}
