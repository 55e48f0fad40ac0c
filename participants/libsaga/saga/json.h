/* SPDX-License-Identifier: Apache-2.0
 * saga/json.h - members of a JSON text as slices of it, so that numbers stay as they were written.
 */
#ifndef SAGA_JSON_H
#define SAGA_JSON_H

#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct saga_slice { /* not terminated */
	const char *p;
	size_t n;
};

enum { SAGA_JSON_DEPTH = 64 };

/* The value of a member of the object that json is, as it stands there. False: json is no
 * JSON object, is nested deeper than SAGA_JSON_DEPTH, or has no such member. name is compared as
 * it is written, without escapes; of two members with one name the first counts. */
SAGA_API bool saga_json_find(struct saga_slice json, const char *name, struct saga_slice *value);
/* Is the text one JSON value? */
SAGA_API bool saga_json_valid(struct saga_slice json);
/* The text of a string, escapes resolved, terminated. False: no string, a zero byte in it, or
 * longer than size - 1 bytes. */
SAGA_API bool saga_json_text(struct saga_slice value, char *out, size_t size);
/* A whole number. False: something else, a fraction, or beyond 64 bits. */
SAGA_API bool saga_json_integer(struct saga_slice value, int64_t *out);
/* text as a JSON string with its quotes; free() it. NULL: out of memory, or not UTF-8. */
SAGA_API char *saga_json_quote(const char *text);

#ifdef __cplusplus
}
#endif
#endif
