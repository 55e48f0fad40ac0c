/* SPDX-License-Identifier: Apache-2.0
 * internal.h - what the files of libsaga share and nobody else sees.
 */
#ifndef LIBSAGA_INTERNAL_H
#define LIBSAGA_INTERNAL_H

#include "participants/libsaga/saga/call.h"

#include <string.h>

/* In a program that is linked with libsaga.a these names are those of everybody. */
#define text_add     saga_own_text_add
#define text_cstr    saga_own_text_cstr
#define text_printf  saga_own_text_printf
#define text_json    saga_own_text_json
#define text_free    saga_own_text_free
#define slice_trim   saga_own_slice_trim
#define slice_number saga_own_slice_number
#define slice_time   saga_own_slice_time
#define is_utf8      saga_own_is_utf8
#define json_next    saga_own_json_next
#define uuid_make    saga_own_uuid_make
#define one_line     saga_own_one_line

/* ---- text that grows: failed, once set, stays, and is asked for at the end --------------- */

struct text {
	char *p; /* terminated; NULL: nothing was written */
	size_t n, room;
	bool failed;
};

void text_add(struct text *t, const char *bytes, size_t n);
void text_cstr(struct text *t, const char *s);
void text_printf(struct text *t, const char *format, ...) SAGA_FORMAT(2, 3);
void text_json(struct text *t, const char *s); /* as a JSON string with its quotes */
void text_free(struct text *t);

static inline struct saga_slice slice(const char *s)
{
	return (struct saga_slice){ s, s ? strlen(s) : 0 };
}

/* ---- small readers ----------------------------------------------------------------------- */

struct saga_slice slice_trim(struct saga_slice s); /* of blanks and tabs */
/* A whole number without sign, of digits only. */
bool slice_number(struct saga_slice s, uint64_t max, uint64_t *out);
/* RFC 3339, as text_to_time() of the coordinator reads it: T and Z of either case, a fraction of
 * any length cut to ms, years 1 to 9999 in UTC, no second 60. */
bool slice_time(struct saga_slice s, int64_t *ms);
bool is_utf8(const char *p, size_t n);

/* The next member of the object, or element of the array, that json is; at: 0 before the first.
 * False: there is none, or json is broken. name may be NULL. */
bool json_next(struct saga_slice json, size_t *at, struct saga_slice *name,
               struct saga_slice *value);

/* Libraries end their messages with line feeds, and put some into them. */
void one_line(char *text);
/* Always false, for return. */
bool saga_fail(struct saga_error *error, enum saga_errno code, const char *format, ...)
	SAGA_FORMAT(3, 4);

/* 16 bytes as a UUIDv7. False: no randomness. */
bool uuid_make(char out[37]);

#endif
