/* SPDX-License-Identifier: Apache-2.0
 * head.c - any bytes as what a client sends: whole and cut at any places they must mean the same.
 */
#include "api/head.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { AT_SEED, AT_STEP, AT_RAW };

static void check_slice(struct str s)
{
	assert(s.p != NULL && s.p[s.n] == '\0' && memchr(s.p, '\0', s.n + 1) == s.p + s.n);
	assert(memchr(s.p, '\n', s.n + 1) == NULL && memchr(s.p, '\r', s.n + 1) == NULL);
}

static void check_head(struct str bytes)
{
	struct arena        arena = { 0 };
	struct request_head h;
	const char         *wrong = head_read(bytes, &arena, &h);
	bool                in_url;

	for (size_t i = 0; i < h.field_count; i++) {
		check_slice(h.fields[i].name);
		check_slice(h.fields[i].value);
	}
	if (wrong == NULL) {
		assert(h.method.n > 0 && h.path.n > 0);
		assert(!h.keep_alive || !h.is_1_0 || h.field_count > 0);
		assert(h.is_unclear || !(h.is_chunked && h.has_length));
		assert(h.has_length || h.length == 0);
	}
	head_glance(bytes, &arena, &h, &in_url);
	assert(h.field_count == 0 && !h.keep_alive);
	arena_fini(&arena);
}

/* Where the head ends, asked again after each piece. */
static size_t end_in_pieces(struct str raw, uint32_t seed, uint8_t step)
{
	size_t scanned = 0, n = 0, end = 0;

	while (end == 0 && n < raw.n) {
		seed = seed * 1103515245u + 12345u;
		n += 1 + (seed >> 16) % (step + 1u);
		n = n < raw.n ? n : raw.n;
		end = head_end((struct str){ raw.p, n }, &scanned);
	}
	return end;
}

static enum chunks_state unchunk(struct str raw, uint32_t seed, uint8_t step, struct buf *data,
                                 size_t *used)
{
	struct chunks c = { 0 };
	size_t        at = 0;

	while (at < raw.n && c.state < CHUNKS_DONE) {
		seed = seed * 1103515245u + 12345u;
		size_t     n = 1 + (seed >> 16) % (step + 1u);
		struct str in;

		n = n < raw.n - at ? n : raw.n - at;
		in = (struct str){ raw.p + at, n };
		while (in.n > 0 && c.state < CHUNKS_DONE)
			buf_str(data, chunks_take(&c, &in));
		at += n - in.n;
	}
	*used = at;
	assert(c.excess <= CHUNKS_EXCESS_MAX + 1);
	return c.state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, cut = { 0 };
	size_t     scanned = 0, end, used, again;
	struct str raw;

	if (size < AT_RAW)
		return 0;
	raw = (struct str){ (const char *)data + AT_RAW, size - AT_RAW };
	end = head_end(raw, &scanned);
	assert(end <= raw.n && end == end_in_pieces(raw, data[AT_SEED], data[AT_STEP]));
	check_head((struct str){ raw.p, end > 0 ? end : raw.n });
	raw = (struct str){ raw.p + end, raw.n - end };
	enum chunks_state state = unchunk(raw, 0, 255, &whole, &used);
	enum chunks_state same = unchunk(raw, data[AT_SEED], data[AT_STEP], &cut, &again);
	assert(state == same && used == again && str_eq(buf_view(&whole), buf_view(&cut)));
	buf_fini(&whole);
	buf_fini(&cut);
	return 0;
}

REPLAY("head", 10)
