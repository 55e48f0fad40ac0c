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
	const char  *start;
	struct json *node, *last; /* NULL: none are made here */
};

/* Where it reads is no member: each function is given the place and returns the one behind what it read, or NULL
 * where it failed, so that the place stays in a register. */
struct scan {
	struct str         text;
	const char        *end; /* of text */
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

static const char *fail(struct scan *s, const char *p, const char *text)
{
	struct buf where = { 0 };

	if (s->err == NULL)
		return NULL;
	for (unsigned i = 0; i < s->depth && s->frames[i].in_child; i++) {
		if (s->frames[i].object) {
			json_pointer_key(&where, s->frames[i].key);
		} else {
			buf_char(&where, '/');
			buf_u64(&where, s->frames[i].n - 1);
		}
	}
	s->err->at = (size_t)(p - s->text.p);
	snprintf(s->err->text, sizeof s->err->text, "%s", text);
	str_cstr(buf_view(&where), s->err->pointer, sizeof s->err->pointer);
	buf_fini(&where);
	return NULL;
}

/* ---- scanning ------------------------------------------------------------------ */

static inline char peek(const struct scan *s, const char *p)
{
	return p < s->end ? *p : '\0';
}

static const char *skip_blanks(const struct scan *s, const char *p)
{
	while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* Mostly there is none. */
static inline const char *skip_space(const struct scan *s, const char *p)
{
	return p < s->end && (unsigned char)*p > ' ' ? p : skip_blanks(s, p);
}

static const char *scan_escape(struct scan *s, const char *p)
{
	const size_t at = (size_t)(p - s->text.p);
	size_t       used;
	int32_t      c;

	if (p + 1 >= s->end)
		return fail(s, p, "the text ends inside a string");
	if (p[1] != 'u') {
		if (json_unescaped(p[1]) == '\0')
			return fail(s, p, "there is no such escape in JSON");
		return p + 2;
	}
	c = json_unicode_at(s->text, at, &used);
	if (c < 0)
		return fail(s, p, "\\u wants four hex digits, and surrogates come in pairs");
	if (c == 0)
		return fail(s, p, "the NUL character cannot be stored: remove \\u0000");
	return p + used;
}

/* Behind what is plain ASCII from here on, without quote, backslash and control character; counted by eights, so
 * perhaps too early. A byte that is special gets its top bit set; a borrow only reaches bytes behind the first of them. */
static inline const char *plain_end(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones << 7;

	for (; end - p >= 8; p += 8) {
		uint64_t v, quote, slash, special;

		memcpy(&v, p, sizeof v);
		v = le64toh(v); /* the first byte lowest */
		quote = v ^ ones * '"';
		slash = v ^ ones * '\\';
		special = (v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & tops;
		if (special != 0)
			return p + __builtin_ctzll(special) / 8;
	}
	return p;
}

/* From p on it is not plain, or too short to tell. */
static const char *scan_odd_string(struct scan *s, const char *start, const char *p)
{
	bool ascii = true;

	while (p < s->end && *p != '"') {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20)
			return fail(s, p, "a control character in a string must be escaped");
		ascii &= c < 0x80;
		if (c != '\\') {
			p++;
			continue;
		}
		s->escaped = true;
		p = scan_escape(s, p);
		if (p == NULL)
			return NULL;
		p = plain_end(p, s->end);
	}
	if (p >= s->end)
		return fail(s, p, "the text ends inside a string");
	if (!ascii && !text_is_utf8((struct str){ start, (size_t)(p - start) }))
		return fail(s, start, "this string is not valid UTF-8");
	return p + 1;
}

/* p: its opening quote. */
static inline const char *scan_string(struct scan *s, const char *p)
{
	const char *start = p + 1, *stop = plain_end(start, s->end);

	return stop < s->end && *stop == '"' ? stop + 1 : scan_odd_string(s, start, stop);
}

static inline const char *scan_digits(const struct scan *s, const char *p)
{
	while (p < s->end && (unsigned char)(*p - '0') < 10)
		p++;
	return p;
}

/* What stands behind the whole part. */
static const char *scan_fraction(struct scan *s, const char *p)
{
	const char *digits = p;

	if (peek(s, p) == '.') {
		digits = p + 1;
		p = scan_digits(s, digits);
		if (p == digits)
			return fail(s, p, "digits are expected behind the decimal point");
	}
	if (peek(s, p) == 'e' || peek(s, p) == 'E') {
		digits = p + 1;
		digits += peek(s, digits) == '+' || peek(s, digits) == '-';
		p = scan_digits(s, digits);
		if (p == digits)
			return fail(s, p, "digits are expected in the exponent");
	}
	return p;
}

static inline const char *scan_number(struct scan *s, const char *start)
{
	const char *first = start + (peek(s, start) == '-'), *p = scan_digits(s, first);

	if (p == first)
		return fail(s, start, "a value is expected here");
	if (p - first > 1 && *first == '0')
		return fail(s, start, "a number has no leading zeros");
	return p < s->end && (*p == '.' || *p == 'e' || *p == 'E') ? scan_fraction(s, p) : p;
}

static const char *scan_word(struct scan *s, const char *p, struct str word)
{
	struct str rest = { p, (size_t)(s->end - p) };

	return str_starts(rest, word) ? p + word.n : fail(s, p, "a value is expected here");
}

static inline const char *scan_scalar(struct scan *s, const char *p, enum json_type *type)
{
	switch (peek(s, p)) {
	case '"': *type = JSON_STRING; return scan_string(s, p);
	case 'n': *type = JSON_NULL; return scan_word(s, p, STR("null"));
	case 't': *type = JSON_TRUE; return scan_word(s, p, STR("true"));
	case 'f': *type = JSON_FALSE; return scan_word(s, p, STR("false"));
	}
	*type = JSON_NUMBER;
	return scan_number(s, p);
}

/* ---- the tree, and what is remembered without one -------------------------------- */

static struct json *add_node(struct scan *s, enum json_type type, const char *start, const char *end)
{
	struct frame *top = s->depth ? &s->frames[s->depth - 1] : NULL;
	struct json  *node;

	if (s->depth >= s->levels)
		return NULL;
	node = arena_alloc(s->arena, sizeof *node);
	node->type = type;
	node->raw = (struct str){ start, (size_t)(end - start) };
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

static const char *open_container(struct scan *s, const char *p, bool object)
{
	struct json *node = NULL;

	if (s->depth == JSON_DEPTH_MAX)
		return fail(s, p, "arrays and objects are nested too deep: 64 is the limit");
	if (s->depth < s->levels)
		node = add_node(s, object ? JSON_OBJECT : JSON_ARRAY, p, p);
	s->frames[s->depth++] =
	    (struct frame){ .object = object, .names = s->names_n, .start = p, .node = node };
	return p + 1;
}

/* Where it stands for the second time: not remembered for the sake of those who do it right. */
static const char *find_second(struct str object, struct str name)
{
	struct str inner;
	size_t     at = 0;
	bool       seen = false;

	while (json_name(object, &at, &inner)) {
		if (json_name_is(inner, name)) {
			if (seen)
				return inner.p - 1;
			seen = true;
		}
		json_next(object, &at);
	}
	return object.p;
}

static const char *close_container(struct scan *s, const char *p)
{
	struct frame *top = &s->frames[s->depth - 1];
	struct str    whole = { top->start, (size_t)(p + 1 - top->start) }, twice;

	if (top->object && !(s->depth == 1 && s->loose) &&
	    !names_differ(s->names + top->names, s->names_n - top->names, &twice)) {
		top->in_child = true;
		top->key = twice;
		return fail(s, find_second(whole, twice), "this name stands twice in one object");
	}
	if (top->node != NULL) {
		top->node->raw = whole;
		top->node->n = top->n;
	}
	s->names_n = top->names;
	s->depth--;
	return p + 1;
}

/* ---- the grammar: a member's name, a value, what may follow ---------------------- */

static const char *read_name(struct scan *s, const char *p)
{
	struct frame *top = &s->frames[s->depth - 1];
	struct str    inner;
	const char   *quote;

	quote = skip_space(s, p);
	if (peek(s, quote) != '"')
		return fail(s, quote, "a name in double quotes is expected here");
	s->escaped = false;
	p = scan_string(s, quote);
	if (p == NULL)
		return NULL;
	inner = (struct str){ quote + 1, (size_t)(p - quote) - 2 };
	top->key = s->escaped ? json_decode(inner, s->arena) : inner;
	add_name(s, top->key);
	p = skip_space(s, p);
	return peek(s, p) == ':' ? p + 1 : fail(s, p, "a colon is expected behind the name");
}

/* Reads a scalar, or opens a container and says so. */
static inline const char *read_value(struct scan *s, const char *p, bool *opened)
{
	enum json_type type;
	const char    *start;

	if (s->depth > 0) {
		s->frames[s->depth - 1].in_child = true;
		s->frames[s->depth - 1].n++;
	}
	start = skip_space(s, p);
	if (s->nodes++ == JSON_NODES_MAX)
		return fail(s, start, "too many values: 100000 is the limit");
	*opened = peek(s, start) == '{' || peek(s, start) == '[';
	if (*opened)
		return open_container(s, start, *start == '{');
	p = scan_scalar(s, start, &type);
	if (p != NULL && s->depth < s->levels)
		add_node(s, type, start, p);
	return p;
}

/* Behind a value: closes what ends here, takes the comma. *more: another value comes. */
static inline const char *read_rest(struct scan *s, const char *p, bool *more)
{
	while (p != NULL) {
		struct frame *top;

		p = skip_space(s, p);
		if (s->depth == 0) {
			*more = false;
			return p == s->end ? p : fail(s, p, "nothing may follow behind the value");
		}
		top = &s->frames[s->depth - 1];
		top->in_child = false;
		if (peek(s, p) == ',')
			return top->object ? read_name(s, p + 1) : p + 1;
		if (peek(s, p) != (top->object ? '}' : ']'))
			return fail(s, p,
				    top->object ? "a comma or } is expected here"
						: "a comma or ] is expected here");
		p = close_container(s, p);
	}
	return NULL;
}

static bool scan_text(struct scan *s)
{
	const char *p = s->text.p;
	bool        opened = false, more = true;

	while (more) {
		p = read_value(s, p, &opened);
		if (p == NULL)
			return false;
		if (opened) {
			bool object = s->frames[s->depth - 1].object;

			p = skip_space(s, p);
			if (peek(s, p) != (object ? '}' : ']')) {
				if (object && (p = read_name(s, p)) == NULL)
					return false;
				continue;
			}
		}
		p = read_rest(s, p, &more);
		if (p == NULL)
			return false;
	}
	return true;
}

static bool scan_run(struct scan *s)
{
	bool fine;

	if (s->text.p == NULL) /* the empty slice: places are counted from something */
		s->text = STR("");
	s->end = s->text.p + s->text.n;
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
