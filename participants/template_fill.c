/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/template_internal.h"

#include <string.h>

/* ---- finding the values ------------------------------------------------------- */

static struct str json_of_text(struct str text, struct arena *arena)
{
	struct buf b = { 0 };
	struct str json;

	buf_json(&b, text);
	json = arena_str(arena, buf_view(&b));
	buf_fini(&b);
	return json;
}

static struct str find_root(const struct template_node    *node,
			    const struct template_sources *sources, struct arena *arena)
{
	char now[32];

	switch (node->root) {
	case ROOT_INPUT: return sources->input.n > 0 ? sources->input : STR("null");
	case ROOT_OUTPUT:
		if (node->step >= sources->output_n || sources->outputs[node->step].n == 0)
			break;
		return sources->outputs[node->step];
	case ROOT_GID: return json_of_text(sources->gid, arena);
	case ROOT_DEFINITION:
		return sources->definition.n > 0 ? json_of_text(sources->definition, arena)
						 : STR("null");
	case ROOT_NOW: return json_of_text(str_of(text_of_time(sources->now, now)), arena);
	case ROOT_NONE: break;
	}
	return (struct str){ 0 };
}

static void find_members(const struct template_paths *paths, unsigned parent, struct str *values)
{
	const struct template_node *nodes = paths->nodes;
	struct str                  name, value, object = values[parent];
	unsigned                    missing = nodes[parent].children;
	size_t                      at = 0;

	while (missing > 0 && json_name(object, &at, &name)) {
		value = json_next(object, &at);
		for (unsigned i = nodes[parent].child; i != 0; i = nodes[i].next) {
			if (nodes[i].by_index || !json_name_is(name, nodes[i].name))
				continue;
			values[i] = value;
			missing--;
			break;
		}
	}
}

static void find_elements(const struct template_paths *paths, unsigned parent, struct str *values)
{
	const struct template_node *nodes = paths->nodes;
	struct str                  value, array = values[parent];
	unsigned                    missing = nodes[parent].children;
	size_t                      at = 1;

	for (uint32_t index = 0; missing > 0; index++) {
		value = json_next(array, &at);
		if (value.n == 0)
			return;
		for (unsigned i = nodes[parent].child; i != 0; i = nodes[i].next) {
			if (!nodes[i].by_index || nodes[i].index != index)
				continue;
			values[i] = value;
			missing--;
			break;
		}
		if (at >= array.n || array.p[at] != ',')
			return;
		at++;
	}
}

struct str *template_find(const struct template_paths   *paths,
			  const struct template_sources *sources, struct arena *arena)
{
	struct str *values = arena_array(arena, paths->n, sizeof *values);

	for (unsigned i = 0; i < paths->n; i++) {
		if (paths->nodes[i].root != ROOT_NONE)
			values[i] = json_trim(find_root(&paths->nodes[i], sources, arena));
		if (values[i].n == 0) {
			values[i].p = NULL;
			continue;
		}
		if (paths->nodes[i].child == 0)
			continue;
		if (values[i].p[0] == '{')
			find_members(paths, i, values);
		else if (values[i].p[0] == '[')
			find_elements(paths, i, values);
	}
	return values;
}

/* ---- putting them in -------------------------------------------------------------- */

static bool is_null(struct str json)
{
	return str_is(json, "null");
}

static bool refuse(const struct template_part *part, struct err *err, const char *why)
{
	char source[100];

	return err_set(err, ERR_INVALID, "%s %s", str_cstr(part->text, source, sizeof source), why);
}

/* The first operand with a value; null gives way to what stands behind it. */
static struct str choose(const struct template_part *part, const struct str *values)
{
	struct str found = { 0 };

	for (uint8_t i = 0; i < part->n; i++) {
		const struct template_operand *o = &part->operands[i];
		struct str value = o->literal.p != NULL ? o->literal : values[o->node];

		if (value.p == NULL)
			continue;
		found = value;
		if (!is_null(value))
			break;
	}
	return found;
}

static bool put_in_string(const struct template_part *part, struct str json, struct buf *out,
			  struct err *err)
{
	struct buf escaped = { 0 };

	if (is_null(json))
		return refuse(part, err, "is null, which has no text: give a default with ??");
	if (json.p[0] == '"') {
		buf_add(out, json.p + 1, json.n - 2);
		return true;
	}
	if (json.p[0] != '{' && json.p[0] != '[') {
		buf_str(out, json);
		return true;
	}
	buf_json(&escaped, json);
	buf_add(out, escaped.p + 1, escaped.n - 2);
	buf_fini(&escaped);
	return true;
}

static void put_encoded(struct str text, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '.' || c == '_' || c == '~') {
			buf_char(out, (char)c);
			continue;
		}
		buf_char(out, '%');
		buf_char(out, hex[c >> 4]);
		buf_char(out, hex[c & 15]);
	}
}

static bool put_in_header(const struct template_part *part, struct str text, struct buf *out,
			  struct err *err)
{
	for (size_t i = 0; i < text.n; i++)
		if (!template_header_char((unsigned char)text.p[i]))
			return refuse(part, err, "has a character that cannot stand in a header");
	buf_str(out, text);
	return true;
}

/* URLs and headers take texts, numbers and booleans. */
static bool put_as_text(const struct template *t, const struct template_part *part, struct str json,
			struct arena *arena, struct buf *out, struct err *err)
{
	struct str text = json;

	if (is_null(json))
		return refuse(part, err, "is null, which has no text: give a default with ??");
	if (json.p[0] == '{' || json.p[0] == '[')
		return refuse(part, err,
			      "is an object or array, which fits neither a URL nor a header");
	if (json.p[0] == '"')
		text = json_text(&(struct json){ .type = JSON_STRING, .raw = json }, arena);
	if (t->place == TEMPLATE_HEADER)
		return put_in_header(part, text, out, err);
	if (t->place == TEMPLATE_TEXT)
		buf_str(out, text);
	else
		put_encoded(text, out);
	return true;
}

static bool put_hole(const struct template *t, const struct template_part *part,
		     const struct str *values, struct arena *arena, struct buf *out,
		     struct err *err)
{
	struct str json = choose(part, values);

	if (json.p == NULL)
		return refuse(
		    part, err,
		    "has no value: there is no such member or output; give a default with ??");
	if (out->n + json.n > TEMPLATE_OUTPUT_MAX)
		return err_set(err, ERR_LIMIT, "the call became larger than %d bytes",
			       TEMPLATE_OUTPUT_MAX);
	if (t->place == TEMPLATE_TEXT && json.p[0] != '"') {
		buf_str(out, json);
		return true;
	}
	if (t->place != TEMPLATE_JSON)
		return put_as_text(t, part, json, arena, out, err);
	if (!part->whole)
		return put_in_string(part, json, out, err);
	buf_str(out, json);
	return true;
}

/* ---- path segments ------------------------------------------------------------------ */

/* A value may neither be empty where it is all of a path segment, nor make one a dot
 * segment: the next hop would call another resource. */
struct segments {
	bool   watch;   /* path only, up to the query */
	bool   touched; /* a value stands in the segment at hand */
	size_t start;
};

static bool end_segment(struct segments *s, struct str url, struct err *err)
{
	struct str segment = { 0 };

	if (!s->touched)
		return true;
	if (url.n > s->start)
		segment = (struct str){ url.p + s->start, url.n - s->start };
	s->touched = false;
	if (segment.n == 0 || str_is(segment, ".") || str_is(segment, ".."))
		return err_set(err, ERR_INVALID,
			       "a value made a path segment empty, \".\" or \"..\"");
	return true;
}

static bool put_literal(struct segments *s, struct str text, struct buf *out, struct err *err)
{
	size_t done = 0;

	for (size_t i = 0; s->watch && i < text.n; i++) {
		if (text.p[i] != '/' && text.p[i] != '?')
			continue;
		buf_add(out, text.p + done, i - done);
		if (!end_segment(s, buf_view(out), err))
			return false;
		buf_char(out, text.p[i]);
		done = i + 1;
		s->start = out->n;
		s->watch = text.p[i] != '?';
	}
	buf_add(out, text.p + done, text.n - done);
	return true;
}

bool template_fill(const struct template *t, const struct str *values, struct arena *arena,
		   struct buf *out, struct err *err)
{
	bool            is_body = t->place == TEMPLATE_JSON || t->place == TEMPLATE_TEXT;
	bool            is_verbatim = t->place == TEMPLATE_HEADER && template_is_constant(t);
	size_t          limit = is_body ? TEMPLATE_OUTPUT_MAX
		       : is_verbatim ? TEMPLATE_HEADERS_MAX
				     : TEMPLATE_LINE_MAX;
	size_t          start = out->n;
	struct segments segments = { .watch = t->place == TEMPLATE_PATH, .start = start };

	for (size_t i = 0; i < t->n; i++) {
		const struct template_part *part = &t->parts[i];

		if (part->operands == NULL ? !put_literal(&segments, part->text, out, err)
					   : !put_hole(t, part, values, arena, out, err))
			return false;
		segments.touched |= part->operands != NULL && segments.watch;
		if (out->n - start > limit)
			return err_set(err, ERR_LIMIT, "a %s became larger than %zu bytes",
				       is_body                     ? "body"
				       : t->place == TEMPLATE_PATH ? "URL"
								   : "header",
				       limit);
	}
	return end_segment(&segments, buf_view(out), err);
}
