/* SPDX-License-Identifier: Apache-2.0
 * yaml.h - YAML 1.2 (core schema) to JSON text, numbers as they were written; by libyaml.
 *
 * What JSON cannot say is refused with its line: anchors and aliases, tags other than !!str, keys that are
 * no text, several documents, .inf and .nan.
 */
#ifndef SAGACTL_YAML_H
#define SAGACTL_YAML_H

#include "coordinator/base/err.h"
#include "coordinator/base/text.h"

enum { YAML_DEPTH_MAX = 64, YAML_NODES_MAX = 100000 };

/* Which value of the JSON text came from which line and column; both count from 1. In order of `at`. */
struct yaml_mark {
	size_t   at;
	unsigned line, column;
};

struct yaml_marks {
	struct yaml_mark *marks;
	size_t            n, cap;
};

/* False with "LINE:COLUMN: sentence". */
bool yaml_to_json(struct str yaml, struct buf *json, struct yaml_marks *marks, struct err *err)
	__attribute__((warn_unused_result));
void yaml_marks_fini(struct yaml_marks *m);

/* A plain scalar by the core schema: its JSON into out; false: JSON has no such number. */
bool yaml_scalar(struct str plain, struct buf *out);

#endif
