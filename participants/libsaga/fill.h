/* SPDX-License-Identifier: Apache-2.0
 * fill.h - one template on its way; a ${…} is read, and its value found, in one go.
 */
#ifndef LIBSAGA_FILL_H
#define LIBSAGA_FILL_H

#include "participants/libsaga/internal.h"
#include "participants/libsaga/saga/template.h"

#define fill_hole   saga_own_fill_hole
#define fill_wrong  saga_own_fill_wrong
#define fill_decode saga_own_fill_decode

struct filling {
	const struct saga_sources *sources;
	enum saga_place place;
	struct text out;
	struct saga_error *error;
	enum saga_filled state; /* DONE: so far */
	struct text value;      /* JSON: of the hole that was read last */
};

/* Always false, for return. */
bool fill_wrong(struct filling *f, enum saga_filled state, const char *format, ...)
	SAGA_FORMAT(3, 4);
/* *at stands at ${, afterwards behind the }. */
bool fill_hole(struct filling *f, const char **at);
/* The text of a JSON string; free() it. NULL: see state. */
char *fill_decode(struct filling *f, struct saga_slice string);

#endif
