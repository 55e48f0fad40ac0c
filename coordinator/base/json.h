/* SPDX-License-Identifier: Apache-2.0
 * json.h - reads JSON (RFC 8259) into a tree of slices of the text itself.
 *
 * Why our own: payload numbers must travel as they were written, and the usual
 * libraries go through a double or an int64. Nothing is converted here; every
 * node keeps its raw text. No recursion; total on any bytes.
 */
#ifndef COORDINATOR_BASE_JSON_H
#define COORDINATOR_BASE_JSON_H

#include "coordinator/base/arena.h"

enum { JSON_DEPTH_MAX = 64, JSON_NODES_MAX = 100000 };

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json {
	enum json_type type;
	uint32_t       n;   /* children */
	struct str     raw; /* the whole value as written, quotes and brackets included */
	struct str     key; /* in an object: the decoded name */
	struct json   *first, *next, *parent; /* children in order; siblings */
};

struct json_error {
	size_t at;         /* byte offset */
	char   text[120];  /* what is wrong there */
	char pointer[256]; /* JSON Pointer of the innermost value that was being read; may be cut */
};

/* NULL on anything but exactly one JSON value in valid UTF-8 without NUL (also none as \u0000),
 * with no name twice in one object, within the depth and node limits. Nodes and decoded text come
 * from the arena; slices point into text. */
struct json *json_parse(struct str text, struct arena *arena, struct json_error *err);
/* The outermost object alone may have a name twice, as some writers make it; whoever looks for it takes the last. */
struct json *json_parse_loose(struct str text, struct arena *arena, struct json_error *err);
/* As strict about all of it, but builds nodes for so many levels only (1: the value itself). What is deeper
 * costs no memory; n and raw of its parents say how many and what. */
struct json *json_outline(struct str text, unsigned levels, struct arena *arena, struct json_error *err);

struct json *json_get(const struct json *object, const char *key); /* NULL if absent or no object */
struct json *json_find(const struct json *object, struct str key);
struct json *json_at(const struct json *array, size_t index);
/* The decoded text of a JSON_STRING; a slice of raw where it has no escapes. */
struct str json_text(const struct json *string, struct arena *arena);
/* Whole numbers only (no fraction, no exponent); false if out of range or no number. */
bool        json_u64(const struct json *number, uint64_t *out);
bool        json_i64(const struct json *number, int64_t *out);
const char *json_type_name(enum json_type type);
/* Appends /key or /index (escaped as RFC 6901 says) of every step from the root to node. */
void json_pointer(const struct json *node, struct buf *out);

/* Is this one JSON value within the limits? Without building a tree. */
bool json_is_valid(struct str text);
/* For hot paths, without a tree: the raw value of a top-level member in text known to be valid;
 * false if absent. */
bool json_member(struct str valid_object, const char *key, struct str *raw);

/* Stepping over valid text; bounded on any other. json_next: the value at *at, which
 * then stands behind it. json_name: the next name of an object, *at in front of it, its
 * comma or the brace (false: there is none), and then in front of the value; inner is
 * the name as written, without quotes. json_name_is compares it decoded. */
struct str json_next(struct str valid, size_t *at);
struct str json_trim(struct str valid); /* one value, without the space around it */
bool       json_name(struct str valid, size_t *at, struct str *inner);
bool       json_name_is(struct str inner, struct str key);

#endif
