/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/json_internal.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_INLINE = 32, NAMES_QUADRATIC = 12 };

/* One container that is still open. */
struct frame {
	bool         object;
	bool         in_child; /* a child is being read: n - 1 is its index, key its name */
	uint32_t     n;
	struct str   key;
	size_t       names; /* where its names begin in scan.names */
	size_t       start;
	struct json *node, *last; /* NULL: none are made here */
};

struct scan {
	struct str         text;
	size_t             at;
	struct json_error *err;
	struct arena      *arena;
	unsigned           levels; /* of nodes */
	bool               loose;  /* the outermost names may stand twice */
	bool               escaped; /* the string read last has escapes */
	struct json       *root;
	unsigned           nodes, depth;
	struct str        *names; /* of all open objects, innermost last */
	size_t             names_n, names_cap;
	struct str         names_inline[NAMES_INLINE];
	struct frame       frames[JSON_DEPTH_MAX];
};

/* ---- errors ---------------------------------------------------------------- */

static bool fail(struct scan *s, size_t at, const char *text)
{
	struct buf where = { 0 };

	if (s->err == NULL)
		return false;
	for (unsigned i = 0; i < s->depth && s->frames[i].in_child; i++) {
		if (s->frames[i].object) {
			json_pointer_key(&where, s->frames[i].key);
		} else {
			buf_char(&where, '/');
			buf_u64(&where, s->frames[i].n - 1);
		}
	}
	s->err->at = at;
	snprintf(s->err->text, sizeof s->err->text, "%s", text);
	str_cstr(buf_view(&where), s->err->pointer, sizeof s->err->pointer);
	buf_fini(&where);
	return false;
}

/* ---- scanning ------------------------------------------------------------------ */

static char peek(const struct scan *s)
{
	return s->at < s->text.n ? s->text.p[s->at] : '\0';
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->text.n && (s->text.p[s->at] == ' ' || s->text.p[s->at] == '\n' ||
				     s->text.p[s->at] == '\t' || s->text.p[s->at] == '\r'))
		s->at++;
}

/* Mostly there is none. */
static inline void skip_space(struct scan *s)
{
	if (s->at >= s->text.n || s->text.p[s->at] <= ' ')
		skip_blanks(s);
}

static bool scan_escape(struct scan *s)
{
	size_t  used;
	int32_t c;

	if (s->at + 1 >= s->text.n)
		return fail(s, s->at, "the text ends inside a string");
	if (s->text.p[s->at + 1] != 'u') {
		if (json_unescaped(s->text.p[s->at + 1]) == '\0')
			return fail(s, s->at, "there is no such escape in JSON");
		s->at += 2;
		return true;
	}
	c = json_unicode_at(s->text, s->at, &used);
	if (c < 0)
		return fail(s, s->at, "\\u wants four hex digits, and surrogates come in pairs");
	if (c == 0)
		return fail(s, s->at, "the NUL character cannot be stored: remove \\u0000");
	s->at += used;
	return true;
}

/* How many bytes from here on are plain ASCII, without quote, backslash and control character; counted by eights, so
 * perhaps too few. A byte that is special gets its top bit set; a borrow only reaches bytes behind the first of them. */
static size_t plain_run(const char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
	size_t         at = 0;

	for (; at + 8 <= n; at += 8) {
		uint64_t v, quote, slash, special;

		memcpy(&v, p + at, sizeof v);
		v = le64toh(v); /* the first byte lowest */
		quote = v ^ ones * '"';
		slash = v ^ ones * '\\';
		special = (v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & tops;
		if (special != 0)
			return at + (size_t)__builtin_ctzll(special) / 8;
	}
	return at;
}

/* Leaves s->at behind the closing quote; *inner is what stands between the quotes. */
static bool scan_string(struct scan *s, struct str *inner)
{
	size_t start = ++s->at;
	bool   ascii = true;

	s->escaped = false;
	s->at += plain_run(s->text.p + s->at, s->text.n - s->at);
	while (s->at < s->text.n && s->text.p[s->at] != '"') {
		unsigned char c = (unsigned char)s->text.p[s->at];

		if (c < 0x20)
			return fail(s, s->at, "a control character in a string must be escaped");
		ascii &= c < 0x80;
		if (c != '\\') {
			s->at++;
			continue;
		}
		s->escaped = true;
		if (!scan_escape(s))
			return false;
		s->at += plain_run(s->text.p + s->at, s->text.n - s->at);
	}
	if (s->at >= s->text.n)
		return fail(s, s->at, "the text ends inside a string");
	*inner = (struct str){ s->text.p + start, s->at - start };
	s->at++;
	if (!ascii && !text_is_utf8(*inner))
		return fail(s, start, "this string is not valid UTF-8");
	return true;
}

static size_t scan_digits(struct scan *s)
{
	size_t at = s->at, n;

	while (at < s->text.n && s->text.p[at] >= '0' && s->text.p[at] <= '9')
		at++;
	n = at - s->at;
	s->at = at;
	return n;
}

static bool scan_number(struct scan *s)
{
	size_t start = s->at;

	if (peek(s) == '-')
		s->at++;
	size_t first = s->at, whole = scan_digits(s);
	if (whole == 0)
		return fail(s, start, "a value is expected here");
	if (whole > 1 && s->text.p[first] == '0')
		return fail(s, start, "a number has no leading zeros");
	if (peek(s) == '.') {
		s->at++;
		if (scan_digits(s) == 0)
			return fail(s, s->at, "digits are expected behind the decimal point");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (scan_digits(s) == 0)
			return fail(s, s->at, "digits are expected in the exponent");
	}
	return true;
}

static bool scan_word(struct scan *s, struct str word)
{
	struct str rest = { s->text.p + s->at, s->text.n - s->at };

	if (!str_starts(rest, word))
		return fail(s, s->at, "a value is expected here");
	s->at += word.n;
	return true;
}

static bool scan_scalar(struct scan *s, enum json_type *type)
{
	struct str inner;

	switch (peek(s)) {
	case '"': *type = JSON_STRING; return scan_string(s, &inner);
	case 'n': *type = JSON_NULL; return scan_word(s, STR("null"));
	case 't': *type = JSON_TRUE; return scan_word(s, STR("true"));
	case 'f': *type = JSON_FALSE; return scan_word(s, STR("false"));
	}
	*type = JSON_NUMBER;
	return scan_number(s);
}

/* ---- the tree, and what is remembered without one -------------------------------- */

static struct json *add_node(struct scan *s, enum json_type type, size_t start)
{
	struct frame *top = s->depth ? &s->frames[s->depth - 1] : NULL;
	struct json  *node;

	if (s->depth >= s->levels)
		return NULL;
	node = arena_alloc(s->arena, sizeof *node);
	node->type = type;
	node->raw = (struct str){ s->text.p + start, s->at - start };
	if (top == NULL) {
		s->root = node;
		return node;
	}
	node->parent = top->node;
	node->key = top->key;
	if (top->last == NULL)
		top->node->first = node;
	else
		top->last->next = node;
	top->last = node;
	return node;
}

static void add_name(struct scan *s, struct str name)
{
	if (s->names_n == s->names_cap) {
		bool inlined = s->names == s->names_inline;

		s->names_cap *= 2;
		s->names = mem_grow(inlined ? NULL : s->names, s->names_cap, sizeof *s->names);
		if (inlined)
			memcpy(s->names, s->names_inline, sizeof s->names_inline);
	}
	s->names[s->names_n++] = name;
}

static int name_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Sorted, not compared each with each: an object may have 100,000 names. */
static bool names_differ(struct str *names, size_t n, struct str *twice)
{
	if (n > NAMES_QUADRATIC) {
		qsort(names, n, sizeof *names, name_cmp);
		for (size_t i = 1; i < n; i++)
			if (str_eq(names[i - 1], names[i]))
				return *twice = names[i], false;
		return true;
	}
	for (size_t i = 1; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(names[k], names[i]))
				return *twice = names[i], false;
	return true;
}

static bool open_container(struct scan *s, bool object)
{
	struct json *node = NULL;

	if (s->depth == JSON_DEPTH_MAX)
		return fail(s, s->at, "arrays and objects are nested too deep: 64 is the limit");
	node = add_node(s, object ? JSON_OBJECT : JSON_ARRAY, s->at);
	s->frames[s->depth++] =
	    (struct frame){ .object = object, .names = s->names_n, .start = s->at, .node = node };
	s->at++;
	return true;
}

/* Where it stands for the second time: not remembered for the sake of those who do it right. */
static size_t find_second(const struct scan *s, size_t start, struct str name)
{
	struct str object = { s->text.p + start, s->at - start + 1 }, inner;
	size_t     at = 0;
	bool       seen = false;

	while (json_name(object, &at, &inner)) {
		if (json_name_is(inner, name)) {
			if (seen)
				return (size_t)(inner.p - s->text.p) - 1;
			seen = true;
		}
		json_next(object, &at);
	}
	return start;
}

static bool close_container(struct scan *s)
{
	struct frame *top = &s->frames[s->depth - 1];
	struct str    twice;

	if (top->object && !(s->depth == 1 && s->loose) &&
	    !names_differ(s->names + top->names, s->names_n - top->names, &twice)) {
		top->in_child = true;
		top->key = twice;
		return fail(s, find_second(s, top->start, twice), "this name stands twice in one object");
	}
	s->at++;
	if (top->node != NULL) {
		top->node->raw.n = s->at - top->start;
		top->node->n = top->n;
	}
	s->names_n = top->names;
	s->depth--;
	return true;
}

/* ---- the grammar: a member's name, a value, what may follow ---------------------- */

static bool read_name(struct scan *s)
{
	struct frame *top = &s->frames[s->depth - 1];
	struct str    inner;

	skip_space(s);
	if (peek(s) != '"')
		return fail(s, s->at, "a name in double quotes is expected here");
	if (!scan_string(s, &inner))
		return false;
	top->key = s->escaped ? json_decode(inner, s->arena) : inner;
	add_name(s, top->key);
	skip_space(s);
	if (peek(s) != ':')
		return fail(s, s->at, "a colon is expected behind the name");
	s->at++;
	return true;
}

/* Reads a scalar, or opens a container and says so. */
static bool read_value(struct scan *s, bool *opened)
{
	enum json_type type;
	size_t         start;

	if (s->depth > 0) {
		s->frames[s->depth - 1].in_child = true;
		s->frames[s->depth - 1].n++;
	}
	skip_space(s);
	if (s->nodes++ == JSON_NODES_MAX)
		return fail(s, s->at, "too many values: 100000 is the limit");
	*opened = peek(s) == '{' || peek(s) == '[';
	if (*opened)
		return open_container(s, peek(s) == '{');
	start = s->at;
	if (!scan_scalar(s, &type))
		return false;
	add_node(s, type, start);
	return true;
}

/* Behind a value: closes what ends here, takes the comma. *more: another value comes. */
static bool read_rest(struct scan *s, bool *more)
{
	for (;;) {
		struct frame *top;

		skip_space(s);
		if (s->depth == 0) {
			*more = false;
			return s->at == s->text.n ||
			       fail(s, s->at, "nothing may follow behind the value");
		}
		top = &s->frames[s->depth - 1];
		top->in_child = false;
		if (peek(s) == ',') {
			s->at++;
			*more = true;
			return !top->object || read_name(s);
		}
		if (peek(s) != (top->object ? '}' : ']'))
			return fail(s, s->at,
				    top->object ? "a comma or } is expected here"
						: "a comma or ] is expected here");
		if (!close_container(s))
			return false;
	}
}

static bool scan_text(struct scan *s)
{
	bool opened = false, more = true;

	while (more) {
		if (!read_value(s, &opened))
			return false;
		if (opened) {
			bool object = s->frames[s->depth - 1].object;

			skip_space(s);
			if (peek(s) != (object ? '}' : ']')) {
				if (object && !read_name(s))
					return false;
				continue;
			}
		}
		if (!read_rest(s, &more))
			return false;
	}
	return true;
}

static bool scan_run(struct scan *s)
{
	bool fine;

	s->names = s->names_inline;
	s->names_cap = NAMES_INLINE;
	fine = scan_text(s);
	if (s->names != s->names_inline)
		free(s->names);
	return fine;
}

struct json *json_parse(struct str text, struct arena *arena, struct json_error *err)
{
	return json_outline(text, JSON_DEPTH_MAX + 1, arena, err);
}

static struct json *parse(struct str text, unsigned levels, bool loose, struct arena *arena,
			  struct json_error *err)
{
	struct scan s;

	/* The frames are filled as they open: clearing 64 of them would cost more than a small
	 * body. */
	memset(&s, 0, offsetof(struct scan, names_inline));
	s.text = text;
	s.err = err;
	s.arena = arena;
	s.levels = levels;
	s.loose = loose;
	return scan_run(&s) ? s.root : NULL;
}

struct json *json_outline(struct str text, unsigned levels, struct arena *arena, struct json_error *err)
{
	return parse(text, levels, false, arena, err);
}

struct json *json_parse_loose(struct str text, struct arena *arena, struct json_error *err)
{
	return parse(text, JSON_DEPTH_MAX + 1, true, arena, err);
}

bool json_is_valid(struct str text)
{
	struct arena scratch = { 0 }; /* for names with escapes */
	struct scan  s;
	bool         fine;

	memset(&s, 0, offsetof(struct scan, names_inline));
	s.text = text;
	s.arena = &scratch;
	fine = scan_run(&s);
	arena_fini(&scratch);
	return fine;
}
