/* SPDX-License-Identifier: Apache-2.0
 * template.h - ${…} in texts and JSON values: compiled at registration, filled once per call.
 *
 *	hole      = "${" reference *( "??" ( reference | literal ) ) "}"
 *	reference = root *( "." name | "[" n "]" )
 *	root      = "input" | "steps." NAME ".output" | "gid" | "definition" | "now"
 *	literal   = a JSON string, number, true, false or null, or 'text'
 *
 * Total: no loops, no calls, no arithmetic. A value is a slice of the JSON text it
 * comes from and is put in as it was written. "$${" stands for "${".
 */
#ifndef PARTICIPANTS_TEMPLATE_H
#define PARTICIPANTS_TEMPLATE_H

#include "coordinator/base/err.h"
#include "coordinator/base/json.h"

enum {
	TEMPLATE_DEPTH_MAX = 32,   /* names and indexes in one reference */
	TEMPLATE_NODES_MAX = 1024, /* different names and indexes in the templates of one call */
	TEMPLATE_OPERANDS_MAX = 8, /* of one hole */
	TEMPLATE_OUTPUT_MAX = 1 << 20, /* bytes that a template may become */
	TEMPLATE_LINE_MAX = 8000,      /* a URL, or a header's value with holes */
	TEMPLATE_HEADERS_MAX = 256 << 10 /* names and values as written, of one call */
};

enum template_place {
	TEMPLATE_JSON,  /* whole strings keep the value's type; inside a string it becomes text */
	TEMPLATE_PATH,  /* path and query of a URL: values are percent-encoded */
	TEMPLATE_HEADER, /* values without control characters, in UTF-8 */
	TEMPLATE_TEXT /* a body that need be no JSON: texts as they are, other values as JSON */
};

/* What the templates of one call read, as a forest of names: each source text is
 * walked once per level, however many holes there are. Zeroed memory is none. */
struct template_paths {
	struct template_node *nodes;
	unsigned              n, cap;
};

struct template_compiler {
	struct arena          *arena; /* keeps the templates; the texts must live as long */
	struct template_paths *paths;
	int (*step)(void *ctx, struct str name); /* its index, or -1 */
	void (*report)(void *ctx, const struct json *node, const char *sentence);
	/* A hole reads the output of a step; defaulted: something else stands in if it is missing.
	 */
	void (*reads)(void *ctx, const struct json *node, int step, bool defaulted);
	void *ctx;
};

struct template;

/* Of the text of a string, or a part of it (text lives as long as the arena). Errors
 * go to report() about node; the result is never NULL. */
struct template *template_of_text(struct template_compiler *c, const struct json *node,
				  struct str text, enum template_place place);
/* Of a whole JSON value. */
struct template *template_of_json(struct template_compiler *c, const struct json *root);
/* The same bytes whatever the sources? */
bool template_is_constant(const struct template *t);

struct template_sources {
	struct str        input;   /* JSON text; empty: null */
	const struct str *outputs; /* per step, JSON text; empty: none */
	size_t            output_n;
	struct str        gid;
	struct str        definition; /* its name; empty: null */
	int64_t           now;
};

/* Finds every value that the paths name: one slice per node, p == NULL where there
 * is none. They live as long as the sources and the arena. */
struct str *template_find(const struct template_paths   *paths,
			  const struct template_sources *sources, struct arena *arena);
/* Appends to out. False and a sentence: a value is missing, does not fit, or it all is too long. */
bool template_fill(const struct template *t, const struct str *values, struct arena *arena,
		   struct buf *out, struct err *err);

#endif
