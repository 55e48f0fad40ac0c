/* SPDX-License-Identifier: Apache-2.0
 * json.c - any bytes into the JSON reader; what it takes must hold together.
 */
#include "coordinator/base/json.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct json *next_node(const struct json *node)
{
	if (node->first != NULL)
		return node->first;
	while (node->parent != NULL && node->next == NULL)
		node = node->parent;
	return node->next;
}

/* A string survives decoding, encoding and decoding. */
static void check_string(const struct json *node, struct arena *arena)
{
	struct str   text = json_text(node, arena);
	struct buf   again = { 0 };
	struct json *copy;

	assert(text_is_utf8(text) && (text.n == 0 || memchr(text.p, '\0', text.n) == NULL));
	buf_json(&again, text);
	copy = json_parse(buf_view(&again), arena, NULL);
	assert(copy != NULL && str_eq(json_text(copy, arena), text));
	buf_fini(&again);
}

static void check_number(const struct json *node)
{
	uint64_t u;
	int64_t  i;

	if (json_u64(node, &u) && u <= INT64_MAX)
		assert(json_i64(node, &i) && (uint64_t)i == u);
	if (json_i64(node, &i) && i < 0)
		assert(!json_u64(node, &u));
}

static void check_members(const struct json *object)
{
	struct str raw, name;
	size_t     at = 0;

	for (const struct json *it = object->first; it != NULL; it = it->next) {
		assert(json_find(object, it->key) == it);
		assert(json_name(object->raw, &at, &name) && json_name_is(name, it->key));
		assert(str_eq(json_next(object->raw, &at), it->raw));
	}
	assert(!json_name(object->raw, &at, &name));
	if (object->first != NULL) {
		char *key =
		    strndup(object->first->key.p ? object->first->key.p : "", object->first->key.n);

		assert(json_member(object->raw, key, &raw) && raw.p == object->first->raw.p);
		free(key);
	}
}

static void check_tree(const struct json *root, struct str text, struct arena *arena)
{
	struct buf pointer = { 0 };
	unsigned   budget = 300; /* nodes looked at closely */
	size_t     at = 0;

	assert(str_eq(json_next(text, &at), root->raw) && at == text.n);
	for (const struct json *node = root; node != NULL && budget > 0;
	     node = next_node(node), budget--) {
		uint32_t n = 0;

		assert(node->raw.p >= text.p && node->raw.p + node->raw.n <= text.p + text.n &&
		       node->raw.n > 0);
		for (const struct json *it = node->first; it != NULL; it = it->next, n++)
			assert(it->parent == node);
		assert(n == node->n);
		json_pointer(node, &pointer);
		if (node->type == JSON_STRING)
			check_string(node, arena);
		else if (node->type == JSON_NUMBER)
			check_number(node);
		else if (node->type == JSON_OBJECT && node->n < 100)
			check_members(node);
		if (node->raw.n < 200)
			assert(json_is_valid(node->raw));
		buf_clear(&pointer);
	}
	buf_fini(&pointer);
}

/* What is meant for valid text must at least end on any other. */
static void check_stepping(struct str text)
{
	struct str raw;
	size_t     at = 0, before = 1;

	json_member(text, "a", &raw);
	for (unsigned i = 0; i < 100 && at < text.n && at != before; i++) {
		before = at;
		raw = json_next(text, &at);
		assert(at <= text.n && raw.n <= text.n);
		at += at < text.n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str        text = { (const char *)data, size };
	struct arena      arena = { 0 };
	struct json_error err = { .at = SIZE_MAX };
	struct json      *root = json_parse(text, &arena, &err);

	assert((root != NULL) == json_is_valid(text));
	assert(root == NULL || json_parse_loose(text, &arena, NULL) != NULL);
	if (root != NULL)
		check_tree(root, text, &arena);
	else
		assert(err.at <= size && err.text[0] != '\0' &&
		       memchr(err.pointer, '\0', sizeof err.pointer));
	check_stepping(text);
	arena_fini(&arena);
	return 0;
}

REPLAY("json", 20)
