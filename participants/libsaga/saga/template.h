/* SPDX-License-Identifier: Apache-2.0
 * saga/template.h - what ${…} of a definition becomes, to test definitions with.
 */
#ifndef SAGA_TEMPLATE_H
#define SAGA_TEMPLATE_H

#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, "as the vectors call it"): a body of JSON, path and query of a URL, a header's value, any
 * other body. */
#define SAGA_PLACES(X)     \
	X(JSON, "json")     \
	X(PATH, "path")     \
	X(HEADER, "header") \
	X(TEXT, "text")

enum saga_place {
#define X(name, text) SAGA_PLACE_##name,
	SAGA_PLACES(X)
#undef X
};

struct saga_output {
	const char *step;
	const char *json; /* NULL: it has none */
};

struct saga_sources { /* what templates read */
	const char *input; /* JSON; NULL: null */
	const struct saga_output *outputs; /* of all steps: a reference to another is wrong */
	size_t output_count;
	const char *gid;
	const char *definition; /* NULL: it has no name */
	int64_t now_ms;         /* since 1970 */
};

/* X(NAME, "what it means"). */
#define SAGA_FILLS(X)                                                                \
	X(DONE, "that is what is sent")                                              \
	X(BAD_TEMPLATE, "no definition may hold it")                                 \
	X(NO_VALUE, "a value is missing or does not fit: the call cannot be made")   \
	X(ERROR, "the sources are not JSON, or there is no memory")

enum saga_filled {
#define X(name, text) SAGA_FILL_##name,
	SAGA_FILLS(X)
#undef X
};

/* The bytes that sagad makes of it: values go in as they were written. source: of a JSON body the
 * JSON text, of the others their text. DONE: *out is terminated, free() it; else it is NULL, and
 * error says in one sentence what is wrong. */
SAGA_API enum saga_filled saga_fill(const char *source, enum saga_place place,
				    const struct saga_sources *sources, char **out,
				    struct saga_error *error) SAGA_USE;

#ifdef __cplusplus
}
#endif
#endif
