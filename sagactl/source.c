/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/source.h"

#include "coordinator/base/json.h"
#include "sagactl/grid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void source_fini(struct source *s)
{
	buf_fini(&s->text);
	buf_fini(&s->made);
	yaml_marks_fini(&s->marks);
	arena_fini(&s->arena);
	*s = (struct source){ 0 };
}

static bool read_all(struct source *s, FILE *from, struct err *err)
{
	char   chunk[65536];
	size_t n;

	while ((n = fread(chunk, 1, sizeof chunk, from)) > 0) {
		buf_add(&s->text, chunk, n);
		if (s->text.n > SOURCE_BYTES_MAX)
			return err_set(err, ERR_LIMIT, "%s: more than %d MiB is not read", s->name, SOURCE_BYTES_MAX >> 20);
	}
	return !ferror(from) || err_set(err, ERR_INVALID, "%s: %s", s->name, strerror(errno));
}

static bool read_file(struct source *s, const char *path, struct err *err)
{
	FILE *file = fopen(path, "rb");
	bool  fine;

	if (!file)
		return err_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
	fine = read_all(s, file, err);
	fclose(file);
	return fine;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

static void place_of(struct str text, size_t at, unsigned *line, unsigned *column)
{
	*line = *column = 1;
	for (size_t i = 0; i < at && i < text.n; i++) {
		if (text.p[i] == '\n') {
			++*line;
			*column = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			++*column;
		}
	}
}

static bool fail_json(const struct source *s, const struct json_error *e, struct err *err)
{
	unsigned line, column;

	place_of(buf_view(&s->text), e->at, &line, &column);
	return err_set(err, ERR_INVALID, "%s:%u:%u: %s", s->name, line, column, e->text);
}

static bool looks_like_json(struct str text)
{
	size_t i = 0;

	while (i < text.n && strchr(" \t\r\n", text.p[i]))
		i++;
	return i < text.n && (text.p[i] == '{' || text.p[i] == '[');
}

static bool take_yaml(struct source *s, struct err *err)
{
	struct json_error e;
	struct err        found;

	if (!yaml_to_json(buf_view(&s->text), &s->made, &s->marks, &found))
		return err_set(err, ERR_INVALID, "%s:%s", s->name, found.text);
	s->json = buf_view(&s->made);
	s->root = json_parse(s->json, &s->arena, &e);
	return s->root || err_set(err, ERR_INVALID, "%s: %s", s->name, e.text);
}

static bool understand(struct source *s, bool only_json, struct err *err)
{
	struct json_error e;

	if (!only_json && (ends_in(s->name, ".yaml") || ends_in(s->name, ".yml")))
		return take_yaml(s, err);
	s->json = buf_view(&s->text);
	s->root = json_parse(s->json, &s->arena, &e);
	if (s->root)
		return true;
	if (only_json || ends_in(s->name, ".json") || looks_like_json(s->json))
		return fail_json(s, &e, err);
	return take_yaml(s, err);
}

bool source_read(struct source *s, const char *path, struct err *err)
{
	bool is_stdin = strcmp(path, "-") == 0;

	s->name = is_stdin ? "standard input" : path;
	return (is_stdin ? read_all(s, stdin, err) : read_file(s, path, err)) && understand(s, false, err);
}

bool source_value(struct source *s, const char *value, struct err *err)
{
	if (strcmp(value, "-") == 0)
		return source_read(s, value, err);
	if (value[0] == '@')
		return source_read(s, value + 1, err);
	s->name = "the value given";
	buf_cstr(&s->text, value);
	return understand(s, true, err);
}

/* The next token of a pointer, with ~1 and ~0 decoded; false: there is none. */
static bool next_token(struct str *pointer, struct buf *token)
{
	size_t i = 1;

	if (pointer->n == 0 || pointer->p[0] != '/')
		return false;
	buf_clear(token);
	for (; i < pointer->n && pointer->p[i] != '/'; i++) {
		char c = pointer->p[i];

		if (c == '~' && i + 1 < pointer->n)
			c = pointer->p[++i] == '1' ? '/' : '~';
		buf_char(token, c);
	}
	*pointer = (struct str){ pointer->p + i, pointer->n - i };
	return true;
}

/* The innermost value on its way; *whole: it is the one that is named. */
static struct json *follow(struct json *node, struct str pointer, bool *whole)
{
	struct buf token = { 0 };

	*whole = true;

	while (node && next_token(&pointer, &token)) {
		struct json *child = json_find(node, buf_view(&token));
		uint64_t     index;

		if (!child && node->type == JSON_ARRAY && text_to_u64(buf_view(&token), &index))
			child = json_at(node, (size_t)index);
		*whole = child != NULL;
		if (!child)
			break;
		node = child;
	}
	buf_fini(&token);
	return node;
}

void source_locate(struct source *s, struct str pointer, unsigned *line, unsigned *column)
{
	bool         whole;
	struct json *node = follow(s->root, pointer, &whole);
	size_t       at = node ? (size_t)(node->raw.p - s->json.p) : 0;

	if (s->marks.n == 0) {
		place_of(s->json, at, line, column);
		return;
	}
	for (size_t i = 0; i < s->marks.n && s->marks.marks[i].at <= at; i++) {
		*line = s->marks.marks[i].line;
		*column = s->marks.marks[i].column;
	}
}

bool source_text(struct source *s, const char *name, struct buf *out)
{
	const struct json *member = json_get(s->root, name);

	if (!member || member->type != JSON_STRING)
		return false;
	buf_str(out, json_text(member, &s->arena));
	return true;
}

bool source_is_object(const struct source *s)
{
	return s->root->type == JSON_OBJECT;
}

static bool is_leaf(const struct json *node)
{
	return (node->type != JSON_ARRAY && node->type != JSON_OBJECT) || node->n == 0;
}

/* The next leaf in the order of the text; NULL: that was the last. */
static struct json *next_leaf(struct json *node, const struct json *root)
{
	while (node != root && !node->next)
		node = node->parent;
	node = node == root ? NULL : node->next;
	while (node && !is_leaf(node))
		node = node->first;
	return node;
}

static struct json *first_leaf(struct json *node)
{
	while (!is_leaf(node))
		node = node->first;
	return node;
}

static void add_difference(struct buf *out, char sign, struct str pointer, struct str value)
{
	buf_fmt(out, "  %c ", sign);
	text_clean(out, pointer);
	buf_char(out, ' ');
	text_clean(out, value);
	buf_char(out, '\n');
}

/* Leaves of one that the other lacks, or has otherwise where `changed` is asked for. */
static void add_differences(struct buf *out, struct json *of, struct json *against, char sign, bool changed)
{
	struct buf pointer = { 0 };

	for (struct json *leaf = first_leaf(of); leaf; leaf = next_leaf(leaf, of)) {
		bool         whole;
		struct json *other;

		buf_clear(&pointer);
		json_pointer(leaf, &pointer);
		other = follow(against, buf_view(&pointer), &whole);
		if (!whole)
			add_difference(out, sign, buf_view(&pointer), leaf->raw);
		else if (changed && !(is_leaf(other) && str_eq(other->raw, leaf->raw)))
			add_difference(out, '~', buf_view(&pointer), leaf->raw);
	}
	buf_fini(&pointer);
}

void source_compare(struct source *s, struct str older, struct buf *out)
{
	struct json_error e;
	struct json      *root = json_parse(older, &s->arena, &e);

	if (!root)
		return;
	add_differences(out, s->root, root, '+', true);
	add_differences(out, root, s->root, '-', false);
}
