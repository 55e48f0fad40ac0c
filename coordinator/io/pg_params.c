/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pg_params.h"

#include "coordinator/engine/port.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#define EPOCH_2000_MS 946684800000
#define TIME_MIN_MS   (-62135596800000) /* year 1 */
#define TIME_MAX_MS   253402300799999   /* year 9999 */

int64_t pg_time_of_ms(int64_t ms)
{
	if (ms == AT_NEVER)
		return INT64_MAX;
	if (ms < TIME_MIN_MS)
		ms = TIME_MIN_MS;
	if (ms > TIME_MAX_MS)
		ms = TIME_MAX_MS;
	return (ms - EPOCH_2000_MS) * 1000;
}

int64_t pg_time_to_ms(int64_t us)
{
	if (us == INT64_MAX)
		return AT_NEVER;
	/* Round down, before 2000 as well. */
	int64_t ms = us / 1000 - (us % 1000 < 0);
	return ms + EPOCH_2000_MS;
}

/* ---- bytes --------------------------------------------------------------- */

static void put16(struct pg_params *p, uint16_t v)
{
	v = htobe16(v);
	buf_add(&p->bytes, &v, sizeof v);
}

static void put32(struct pg_params *p, uint32_t v)
{
	v = htobe32(v);
	buf_add(&p->bytes, &v, sizeof v);
}

static void put64(struct pg_params *p, uint64_t v)
{
	v = htobe64(v);
	buf_add(&p->bytes, &v, sizeof v);
}

static void begin(struct pg_params *p, bool is_null)
{
	assert(p->n < PARAMS_MAX);
	p->at[p->n] = p->bytes.n;
	p->is_null[p->n] = is_null;
	p->n++;
}

void params_clear(struct pg_params *p)
{
	buf_clear(&p->bytes);
	p->n = 0;
}

void params_fini(struct pg_params *p)
{
	buf_fini(&p->bytes);
	p->n = 0;
}

void params_seal(struct pg_params *p)
{
	for (int i = 0; i < p->n; i++) {
		size_t end = i + 1 < p->n ? p->at[i + 1] : p->bytes.n;

		/* An empty text is a value; only a NULL pointer is a null. */
		p->values[i] = p->is_null[i] ? NULL : p->bytes.p ? p->bytes.p + p->at[i] : "";
		p->lengths[i] = (int)(end - p->at[i]);
		p->formats[i] = 1;
	}
}

/* ---- single values --------------------------------------------------------- */

void params_null(struct pg_params *p)
{
	begin(p, true);
}

void params_bool(struct pg_params *p, bool v)
{
	begin(p, false);
	buf_char(&p->bytes, v ? 1 : 0);
}

void params_i16(struct pg_params *p, int16_t v)
{
	begin(p, false);
	put16(p, (uint16_t)v);
}

void params_i32(struct pg_params *p, int32_t v)
{
	begin(p, false);
	put32(p, (uint32_t)v);
}

void params_i64(struct pg_params *p, int64_t v)
{
	begin(p, false);
	put64(p, (uint64_t)v);
}

void params_f64(struct pg_params *p, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	begin(p, false);
	put64(p, bits);
}

void params_uuid(struct pg_params *p, struct uuid v)
{
	begin(p, false);
	buf_add(&p->bytes, v.b, sizeof v.b);
}

void params_text(struct pg_params *p, struct str v)
{
	begin(p, false);
	buf_str(&p->bytes, v);
}

void params_optional(struct pg_params *p, struct str v)
{
	begin(p, v.n == 0);
	buf_str(&p->bytes, v);
}

void params_bytes(struct pg_params *p, const uint8_t *v, size_t n)
{
	begin(p, false);
	buf_add(&p->bytes, v, n);
}

void params_time(struct pg_params *p, int64_t ms)
{
	begin(p, ms == 0);
	if (ms != 0)
		put64(p, (uint64_t)pg_time_of_ms(ms));
}

/* ---- arrays ------------------------------------------------------------------ */

void params_array(struct pg_params *p, enum pg_type type, size_t n)
{
	begin(p, false);
	p->has_items = false;
	put32(p, n > 0 ? 1 : 0); /* dimensions */
	put32(p, 1);             /* there may be nulls */
	put32(p, (uint32_t)type);
	if (n > 0) {
		put32(p, (uint32_t)n);
		put32(p, 1);     /* counted from 1 */
	}
}

void params_no_nulls(struct pg_params *p)
{
	p->is_null[p->n - 1] = !p->has_items;
}

static void put_length(struct pg_params *p, size_t n)
{
	p->has_items = true;
	put32(p, (uint32_t)n);
}

void item_null(struct pg_params *p)
{
	put32(p, UINT32_MAX);
}

void item_bool(struct pg_params *p, bool v)
{
	put_length(p, 1);
	buf_char(&p->bytes, v ? 1 : 0);
}

void item_i16(struct pg_params *p, int16_t v)
{
	put_length(p, sizeof v);
	put16(p, (uint16_t)v);
}

void item_i32(struct pg_params *p, int32_t v)
{
	put_length(p, sizeof v);
	put32(p, (uint32_t)v);
}

void item_i64(struct pg_params *p, int64_t v)
{
	put_length(p, sizeof v);
	put64(p, (uint64_t)v);
}

void item_uuid(struct pg_params *p, struct uuid v)
{
	item_bytes(p, v.b, sizeof v.b);
}

void item_text(struct pg_params *p, struct str v)
{
	put_length(p, v.n);
	buf_str(&p->bytes, v);
}

void item_optional(struct pg_params *p, struct str v)
{
	if (v.n == 0)
		item_null(p);
	else
		item_text(p, v);
}

void item_bytes(struct pg_params *p, const uint8_t *v, size_t n)
{
	put_length(p, n);
	buf_add(&p->bytes, v, n);
}

void item_time(struct pg_params *p, int64_t ms)
{
	if (ms == 0)
		item_null(p);
	else
		item_i64(p, pg_time_of_ms(ms));
}

void params_texts(struct pg_params *p, const struct str *v, size_t n)
{
	params_array(p, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		item_text(p, v[i]);
}

void params_uuids(struct pg_params *p, const struct uuid *v, size_t n)
{
	params_array(p, PG_UUID, n);
	for (size_t i = 0; i < n; i++)
		item_uuid(p, v[i]);
}
