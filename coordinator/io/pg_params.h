/* SPDX-License-Identifier: Apache-2.0
 * pg_params.h - binary parameters of a prepared statement, arrays included, in one buffer.
 *
 * Binary arrays cost the client a fifth of text arrays and the server a third
 * less. The forms are those of the server's array_recv, uuid_recv and so on.
 */
#ifndef COORDINATOR_IO_PG_PARAMS_H
#define COORDINATOR_IO_PG_PARAMS_H

#include "coordinator/base/text.h"
#include "coordinator/base/uuid.h"

enum { PARAMS_MAX = 24 }; /* RESTORE has 22 */

/* Element types, numbers of the server's catalogue. */
enum pg_type {
	PG_BOOL = 16, PG_BYTEA = 17, PG_INT8 = 20, PG_INT2 = 21, PG_INT4 = 23, PG_TEXT = 25,
	PG_TIMESTAMPTZ = 1184, PG_UUID = 2950
};

/* Zeroed memory is an empty list. */
struct pg_params {
	struct buf  bytes;
	int         n;
	size_t      at[PARAMS_MAX];
	bool        is_null[PARAMS_MAX];
	bool        has_items; /* the newest array: not only nulls */
	/* as libpq wants them, filled by params_seal */
	const char *values[PARAMS_MAX];
	int         lengths[PARAMS_MAX];
	int         formats[PARAMS_MAX];
};

void params_clear(struct pg_params *p); /* keeps the memory */
void params_fini(struct pg_params *p);
void params_seal(struct pg_params *p);  /* call it last; valid until the next change */

void params_null(struct pg_params *p);
void params_bool(struct pg_params *p, bool v);
void params_i16(struct pg_params *p, int16_t v);
void params_i32(struct pg_params *p, int32_t v);
void params_i64(struct pg_params *p, int64_t v);
void params_f64(struct pg_params *p, double v);
void params_uuid(struct pg_params *p, struct uuid v);
void params_text(struct pg_params *p, struct str v);     /* empty: an empty text */
void params_optional(struct pg_params *p, struct str v); /* empty: null */
void params_bytes(struct pg_params *p, const uint8_t *v, size_t n);
void params_time(struct pg_params *p, int64_t ms);       /* 0: null; AT_NEVER: infinity */

/* Begins a parameter that is an array of n elements; exactly n item calls follow. */
void params_array(struct pg_params *p, enum pg_type type, size_t n);
/* If all items of the array were nulls it is null itself: unnest() fills up with nulls, and has nothing to read. */
void params_no_nulls(struct pg_params *p);
void item_null(struct pg_params *p);
void item_bool(struct pg_params *p, bool v);
void item_i16(struct pg_params *p, int16_t v);
void item_i32(struct pg_params *p, int32_t v);
void item_i64(struct pg_params *p, int64_t v);
void item_uuid(struct pg_params *p, struct uuid v);
void item_text(struct pg_params *p, struct str v);
void item_optional(struct pg_params *p, struct str v);   /* empty: null */
void item_bytes(struct pg_params *p, const uint8_t *v, size_t n);
void item_time(struct pg_params *p, int64_t ms);         /* as params_time */

void params_texts(struct pg_params *p, const struct str *v, size_t n);
void params_uuids(struct pg_params *p, const struct uuid *v, size_t n);

/* The server counts microseconds from 2000-01-01. Times beyond its range become its nearest. */
int64_t pg_time_of_ms(int64_t ms);
int64_t pg_time_to_ms(int64_t us);

#endif
