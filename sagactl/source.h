/* SPDX-License-Identifier: Apache-2.0
 * source.h - a JSON or YAML document from a file, standard input or the command line, that knows its lines.
 */
#ifndef SAGACTL_SOURCE_H
#define SAGACTL_SOURCE_H

#include "coordinator/base/arena.h"
#include "sagactl/yaml.h"

enum { SOURCE_BYTES_MAX = 16 << 20 };

/* Zeroed memory is an empty source. */
struct source {
	const char       *name; /* for messages */
	struct buf        text; /* as read */
	struct buf        made; /* JSON made of YAML */
	struct str        json; /* JSON as it was written, or `made` */
	struct json      *root; /* of coordinator/base/json.h, which knows where a value stands and jansson does not */
	struct yaml_marks marks;
	struct arena      arena;
};

/* "-" is standard input. By its name's end it is JSON or YAML; else what it looks like. */
bool source_read(struct source *s, const char *path, struct err *err) __attribute__((warn_unused_result));
/* JSON itself, or @FILE, or -. */
bool source_value(struct source *s, const char *value, struct err *err) __attribute__((warn_unused_result));
/* One line for every value that differs from an older document: "  + /steps/visa/action/url \"http://…\"", - or ~. */
void source_compare(struct source *s, struct str older, struct buf *out);
/* Line and column of the value that a JSON Pointer names, or of the innermost one above it that there is. */
void source_locate(struct source *s, struct str pointer, unsigned *line, unsigned *column);
/* The decoded text of a member, appended; false: the document is no object, or has no such text. */
bool source_text(struct source *s, const char *name, struct buf *out);
bool source_is_object(const struct source *s);
void source_fini(struct source *s);

#endif
