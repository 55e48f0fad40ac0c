/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/yaml.h"

#include "coordinator/base/arena.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/table.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct key {
	struct table_node node;
};

struct level {
	bool         is_mapping, wants_key;
	size_t       n;    /* values so far */
	struct table keys;
};

struct reader {
	struct level       levels[YAML_DEPTH_MAX];
	size_t             depth, nodes;
	bool               has_document;
	struct arena       arena; /* keys */
	struct buf        *out;
	struct yaml_marks *marks;
	struct err        *err;
};

void yaml_marks_fini(struct yaml_marks *m)
{
	free(m->marks);
	*m = (struct yaml_marks){ 0 };
}

static bool fail_at(struct reader *r, yaml_mark_t at, const char *what)
{
	return err_set(r->err, ERR_INVALID, "%zu:%zu: %s", at.line + 1, at.column + 1, what);
}

/* ---- scalars ------------------------------------------------------------------------ */

static bool is_one_of(struct str s, const char *const *words)
{
	for (; *words; words++)
		if (str_is(s, *words))
			return true;
	return false;
}

static size_t count_digits(struct str s, size_t from, const char *digits)
{
	size_t n = 0;

	while (from + n < s.n && s.p[from + n] && strchr(digits, s.p[from + n]))
		n++;
	return n;
}

/* 0o17 and 0x1f: JSON has neither, so they are the one thing that is converted. */
static int read_other_base(struct str s, struct buf *out)
{
	bool        hex = s.n > 2 && s.p[0] == '0' && s.p[1] == 'x', octal = s.n > 2 && s.p[0] == '0' && s.p[1] == 'o';
	const char *digits = hex ? "0123456789abcdefABCDEF" : "01234567";
	uint64_t    value = 0;

	if ((!hex && !octal) || count_digits(s, 2, digits) != s.n - 2)
		return 0;
	for (size_t i = 2; i < s.n; i++) {
		if (value >> (hex ? 60 : 61))
			return -1;
		value = value << (hex ? 4 : 3) | (unsigned)text_hex(s.p[i]);
	}
	buf_u64(out, value);
	return 1;
}

/* [-+]? (.digits | digits (.digits?)?) ([eE][-+]?digits)?, written as JSON wants it: no plus, no leading zeros, a
 * digit on both sides of the point. The digits themselves stay. */
static bool read_decimal(struct str s, struct buf *out)
{
	static const char DIGITS[] = "0123456789";
	size_t            at = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
	size_t            whole = count_digits(s, at, DIGITS), whole_at = at, fraction = 0, exponent_at;
	bool              point;

	at += whole;
	point = at < s.n && s.p[at] == '.';
	if (point)
		fraction = count_digits(s, ++at, DIGITS);
	if (whole + fraction == 0)
		return false;
	exponent_at = at += fraction;
	if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
		at++;
		at += at < s.n && (s.p[at] == '-' || s.p[at] == '+');
		size_t n = count_digits(s, at, DIGITS);
		if (n == 0)
			return false;
		at += n;
	}
	if (at != s.n)
		return false;
	for (; whole > 1 && s.p[whole_at] == '0'; whole--)
		whole_at++;
	buf_cstr(out, s.p[0] == '-' ? "-" : "");
	buf_str(out, whole ? (struct str){ s.p + whole_at, whole } : STR("0"));
	if (point) {
		buf_char(out, '.');
		buf_str(out, fraction ? (struct str){ s.p + exponent_at - fraction, fraction } : STR("0"));
	}
	buf_add(out, s.p + exponent_at, s.n - exponent_at);
	return true;
}

bool yaml_scalar(struct str plain, struct buf *out)
{
	static const char *const NULLS[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const TRUES[] = { "true", "True", "TRUE", NULL };
	static const char *const FALSES[] = { "false", "False", "FALSE", NULL };
	static const char *const NO_NUMBERS[] = { ".inf", ".Inf", ".INF", "-.inf", "-.Inf", "-.INF", "+.inf", "+.Inf",
		                                  "+.INF", ".nan", ".NaN", ".NAN", NULL };
	int                      other;

	if (is_one_of(plain, NULLS))
		buf_cstr(out, "null");
	else if (is_one_of(plain, TRUES))
		buf_cstr(out, "true");
	else if (is_one_of(plain, FALSES))
		buf_cstr(out, "false");
	else if (is_one_of(plain, NO_NUMBERS) || (other = read_other_base(plain, out)) < 0)
		return false;
	else if (other == 0 && !read_decimal(plain, out))
		buf_json(out, plain);
	return true;
}

/* ---- events --------------------------------------------------------------------------- */

static void note_mark(struct reader *r, yaml_mark_t at)
{
	struct yaml_marks *m = r->marks;

	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 64;
		m->marks = mem_grow(m->marks, m->cap, sizeof *m->marks);
	}
	m->marks[m->n++] = (struct yaml_mark){ r->out->n, (unsigned)at.line + 1, (unsigned)at.column + 1 };
}

/* In front of a value: the comma, if one is due. A mapping's value stands behind its key's colon. */
static bool begin_value(struct reader *r, yaml_mark_t at, const yaml_char_t *anchor)
{
	struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;

	if (anchor)
		return fail_at(r, at, "anchors are not taken: write it out where it is needed");
	if (l && l->is_mapping && l->wants_key)
		return fail_at(r, at, "a key has to be one word or a text in quotes");
	if (++r->nodes > YAML_NODES_MAX)
		return fail_at(r, at, "there are too many values");
	if (l && !l->is_mapping && l->n > 0)
		buf_char(r->out, ',');
	note_mark(r, at);
	return true;
}

static void end_value(struct reader *r)
{
	struct level *l = r->depth ? &r->levels[r->depth - 1] : NULL;

	if (!l)
		return;
	l->n++;
	l->wants_key = l->is_mapping;
}

static bool take_key(struct reader *r, const yaml_event_t *e, struct str text)
{
	struct level *l = &r->levels[r->depth - 1];
	struct key   *key = arena_alloc(&r->arena, sizeof *key);

	if (e->data.scalar.anchor)
		return fail_at(r, e->start_mark, "anchors are not taken: write it out where it is needed");
	if (str_is(text, "<<") && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return fail_at(r, e->start_mark, "<< is not taken: write it out where it is needed");
	if (++r->nodes > YAML_NODES_MAX)
		return fail_at(r, e->start_mark, "there are too many values");
	if (table_get(&l->keys, text))
		return fail_at(r, e->start_mark, "this key stands here for the second time");
	table_put(&l->keys, &key->node, arena_str(&r->arena, text));
	if (l->n > 0)
		buf_char(r->out, ',');
	buf_json(r->out, text);
	buf_char(r->out, ':');
	l->wants_key = false;
	return true;
}

static bool take_scalar(struct reader *r, const yaml_event_t *e)
{
	struct str  text = { (const char *)e->data.scalar.value, e->data.scalar.length };
	const char *tag = (const char *)e->data.scalar.tag;
	bool        is_text = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

	if (tag && strcmp(tag, "tag:yaml.org,2002:str") != 0 && strcmp(tag, "!") != 0)
		return fail_at(r, e->start_mark, "of the tags only !!str is taken");
	if (text.n && memchr(text.p, '\0', text.n))
		return fail_at(r, e->start_mark, "a NUL is not taken");
	if (r->depth && r->levels[r->depth - 1].is_mapping && r->levels[r->depth - 1].wants_key)
		return take_key(r, e, text);
	if (!begin_value(r, e->start_mark, e->data.scalar.anchor))
		return false;
	if (is_text || tag)
		buf_json(r->out, text);
	else if (!yaml_scalar(text, r->out))
		return fail_at(r, e->start_mark, "JSON has no such number");
	end_value(r);
	return true;
}

static bool open_level(struct reader *r, yaml_mark_t at, bool is_mapping, const yaml_char_t *anchor,
                       const yaml_char_t *tag)
{
	if (!begin_value(r, at, anchor))
		return false;
	if (tag)
		return fail_at(r, at, "of the tags only !!str is taken");
	if (r->depth == YAML_DEPTH_MAX)
		return fail_at(r, at, "it is nested too deep");
	r->levels[r->depth++] = (struct level){ .is_mapping = is_mapping, .wants_key = is_mapping };
	buf_char(r->out, is_mapping ? '{' : '[');
	return true;
}

static void close_level(struct reader *r)
{
	struct level *l = &r->levels[--r->depth];

	table_fini(&l->keys);
	buf_char(r->out, l->is_mapping ? '}' : ']');
	end_value(r);
}

static bool open_document(struct reader *r, yaml_mark_t at)
{
	if (r->has_document)
		return fail_at(r, at, "a second document begins here: one is wanted");
	r->has_document = true;
	return true;
}

static bool take_event(struct reader *r, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return open_document(r, e->start_mark);
	case YAML_SCALAR_EVENT:
		return take_scalar(r, e);
	case YAML_ALIAS_EVENT:
		return fail_at(r, e->start_mark, "aliases are not taken: write it out where it is needed");
	case YAML_MAPPING_START_EVENT:
		return open_level(r, e->start_mark, true, e->data.mapping_start.anchor, e->data.mapping_start.tag);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(r, e->start_mark, false, e->data.sequence_start.anchor, e->data.sequence_start.tag);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		close_level(r);
		return true;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return true;
	}
	return true;
}

static bool fail_parser(struct reader *r, const yaml_parser_t *p)
{
	const char *problem = p->problem ? p->problem : "this is no YAML";
	/* What the reader cannot decode has an offset and no mark. */
	yaml_mark_t at = p->error == YAML_READER_ERROR ? p->mark : p->problem_mark;

	return fail_at(r, at, problem);
}

bool yaml_to_json(struct str yaml, struct buf *json, struct yaml_marks *marks, struct err *err)
{
	struct reader r = { .out = json, .marks = marks, .err = err };
	yaml_parser_t parser;
	bool          fine = true, over = false;

	if (!yaml_parser_initialize(&parser))
		abort();
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.p, yaml.n);
	while (fine && !over) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			fine = fail_parser(&r, &parser);
			break;
		}
		over = event.type == YAML_STREAM_END_EVENT;
		fine = take_event(&r, &event);
		yaml_event_delete(&event);
	}
	if (fine && !r.has_document)
		fine = err_set(err, ERR_INVALID, "1:1: there is nothing in it");
	while (r.depth > 0)
		table_fini(&r.levels[--r.depth].keys);
	arena_fini(&r.arena);
	yaml_parser_delete(&parser);
	return fine;
}
