/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/uuid.h"

#include <endian.h>
#include <string.h>

bool uuid_is_nil(struct uuid u)
{
	static const struct uuid nil;

	return memcmp(&u, &nil, sizeof u) == 0;
}

bool uuid_eq(struct uuid a, struct uuid b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static struct uuid stamp(struct uuid u, uint8_t version)
{
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | version << 4);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

struct uuid uuid_v4(uint64_t random_a, uint64_t random_b)
{
	struct uuid u;

	put64(u.b, random_a);
	put64(u.b + 8, random_b);
	return stamp(u, 4);
}

struct uuid uuid_v7(int64_t unix_ms, uint64_t random_a, uint64_t random_b)
{
	struct uuid u;

	put64(u.b, (uint64_t)unix_ms << 16 | (random_a & 0xffff));
	put64(u.b + 8, random_b);
	return stamp(u, 7);
}

struct uuid uuid_v5(const uint8_t hash[16])
{
	struct uuid u;

	memcpy(u.b, hash, sizeof u.b);
	return stamp(u, 5);
}

const char *uuid_text(struct uuid u, char out[UUID_TEXT + 1])
{
	char hex[2 * sizeof u.b];

	for (size_t i = 0; i < sizeof u.b; i += 4)
		text_put_hex((uint32_t)u.b[i] << 24 | (uint32_t)u.b[i + 1] << 16 | (uint32_t)u.b[i + 2] << 8 | u.b[i + 3],
		             hex + 2 * i);
	memcpy(out, hex, 8);
	memcpy(out + 9, hex + 8, 4);
	memcpy(out + 14, hex + 12, 4);
	memcpy(out + 19, hex + 16, 4);
	memcpy(out + 24, hex + 20, 12);
	out[8] = out[13] = out[18] = out[23] = '-';
	out[UUID_TEXT] = '\0';
	return out;
}

/* Eight digits at once, in capitals or not: no digit is what would not be written so. */
static bool read_hex(const char *p, uint8_t out[4])
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t       text, digits, lower, again;
	uint32_t       v;

	memcpy(&text, p, sizeof text);
	digits = be64toh(text);
	digits = ((digits & ones * 0x0f) + (digits >> 6 & ones) * 9) & ones * 0x0f;
	digits = (digits | digits >> 4) & 0x00ff00ff00ff00ffu;
	digits = (digits | digits >> 8) & 0x0000ffff0000ffffu;
	v = (uint32_t)(digits | digits >> 16);
	lower = text | (text & ones * 0x40) >> 1;
	text_put_hex(v, (char *)&again);
	v = htobe32(v);
	memcpy(out, &v, sizeof v);
	return lower == again;
}

bool uuid_parse(struct str text, struct uuid *out)
{
	const char *p = text.p;
	char        hex[2 * sizeof out->b];

	if (text.n != UUID_TEXT || p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-')
		return false;
	memcpy(hex, p, 8);
	memcpy(hex + 8, p + 9, 4);
	memcpy(hex + 12, p + 14, 4);
	memcpy(hex + 16, p + 19, 4);
	memcpy(hex + 20, p + 24, 12);
	return read_hex(hex, out->b) && read_hex(hex + 8, out->b + 4) && read_hex(hex + 16, out->b + 8) &&
	       read_hex(hex + 24, out->b + 12);
}
