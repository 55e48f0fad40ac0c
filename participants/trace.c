/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/trace.h"

#include "coordinator/base/digest.h"

#include <string.h>

enum { SEED_ROOT = 1, SEED_ATTEMPT, SEED_TAKEOVER };

static bool is_hex(struct str s, size_t at, size_t n, bool may_be_zero)
{
	bool zero = true;

	for (size_t i = at; i < at + n; i++) {
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
		zero = zero && s.p[i] == '0';
	}
	return !zero || may_be_zero;
}

bool traceparent_is_good(struct str s)
{
	if (s.n < 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
		return false;
	if (s.n > 55 && (str_starts(s, STR("00")) || s.p[55] != '-'))
		return false;
	return is_hex(s, 0, 2, true) && !str_starts(s, STR("ff")) && is_hex(s, 3, 32, false) &&
	       is_hex(s, 36, 16, false) && is_hex(s, 53, 2, true);
}

/* ---- spans ----------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

static uint64_t not_zero(uint64_t v)
{
	return v != 0 ? v : 1;
}

uint64_t trace_attempt_span(struct str gid, uint16_t step, enum op op, uint32_t attempt, uint32_t call, uint64_t epoch)
{
	uint64_t h = str_hash(gid, SEED_ATTEMPT);

	h = mix(h, (uint64_t)step << 8 | (uint64_t)op);
	h = mix(h, (uint64_t)attempt << 32 | call);
	return not_zero(mix(h, epoch));
}

uint64_t trace_takeover_span(struct str gid, uint64_t epoch)
{
	return not_zero(mix(str_hash(gid, SEED_TAKEOVER), epoch));
}

const char *trace_span_hex(uint64_t span, char out[SPAN_HEX + 1])
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(span >> (56 - 8 * i));
	digest_hex(bytes, sizeof bytes, out);
	return out;
}

/* ---- the trace --------------------------------------------------------------------------------- */

void trace_id_of(struct str gid, struct str traceparent, struct trace *out)
{
	uint8_t     hash[32];
	char        hex[65];
	struct uuid id;

	out->root[0] = '\0';
	out->parent = (struct str){ 0 };
	out->sampled = true;
	if (traceparent_is_good(traceparent)) {
		memcpy(out->id, traceparent.p + 3, TRACE_HEX);
		out->id[TRACE_HEX] = '\0';
		out->parent = (struct str){ traceparent.p + 36, SPAN_HEX };
		out->sampled = text_hex(traceparent.p[54]) & 1;
	} else if (uuid_parse(gid, &id) && !uuid_is_nil(id)) {
		digest_hex(id.b, sizeof id.b, out->id);
	} else {
		digest_sha256(gid, hash);
		digest_hex(hash, sizeof hash, hex);
		memcpy(out->id, hex, TRACE_HEX);
		out->id[TRACE_HEX] = '\0';
	}
}

void trace_of(struct str gid, struct str traceparent, struct trace *out)
{
	trace_id_of(gid, traceparent, out);
	trace_span_hex(not_zero(mix(str_hash(gid, SEED_ROOT), 0)), out->root);
}

/* W3C Trace Context level 2 says that the last seven bytes are the random ones. */
bool trace_is_recorded(const struct trace *t, const struct trace_rules *rules)
{
	uint64_t random = 0;

	if (rules->parent_based && t->parent.n > 0)
		return t->sampled;
	for (int i = TRACE_HEX - 14; i < TRACE_HEX; i++)
		random = random << 4 | (uint64_t)text_hex(t->id[i]);
	return random < rules->threshold;
}

bool trace_threshold(struct str ratio, uint64_t *out)
{
	uint64_t millionths = 0, unit = 1000000;
	bool     dot = false;

	for (size_t i = 0; i < ratio.n; i++) {
		char c = ratio.p[i];

		if (c == '.' && i == 1) {
			dot = true;
			continue;
		}
		if (c < '0' || c > '9' || (i > 0 && !dot) || unit == 0)
			return false;
		millionths += (uint64_t)(c - '0') * unit;
		unit /= 10;
	}
	*out = TRACE_ALL / 1000000 * millionths;
	if (millionths == 1000000)
		*out = TRACE_ALL;
	return ratio.n > 0 && ratio.p[ratio.n - 1] != '.' && millionths <= 1000000;
}
