/* SPDX-License-Identifier: Apache-2.0
 * start.h - what POST /v1/transactions says: which definition or steps, with what, and when.
 */
#ifndef API_START_H
#define API_START_H

#include "coordinator/base/arena.h"
#include "coordinator/base/json.h"

struct start { /* slices of the body, or of the arena */
	struct str gid;         /* empty: not given */
	struct str definition;  /* empty: inline */
	uint32_t   version;     /* 0: the newest */
	struct str document;    /* inline: the members that make a definition, as one object */
	struct str input;       /* JSON as it came; empty: none */
	struct str labels;      /* JSON as it came; empty: none */
	int64_t    start_at;    /* 0: now */
	int64_t    deadline_at; /* 0: the definition's */
	bool       is_too_late; /* the deadline has passed: fine only if this was begun before */
};

enum { START_LABELS_MAX = 32, START_LABEL_BYTES_MAX = 256 };

/* body is an object. Appends to errors (see problem.h) what is wrong with it;
 * *out makes sense only if nothing was. */
void start_read(const struct json *body, int64_t now_ms, struct arena *arena, struct buf *errors,
                struct start *out);

#endif
