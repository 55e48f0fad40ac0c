/* SPDX-License-Identifier: Apache-2.0
 * response.c - any bytes as a server's answer: whole and cut at any places they must mean the same.
 */
#include "coordinator/io/response.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The first bytes say how the rest is read. */
enum { AT_HEAD, AT_MAX, AT_SEED, AT_STEP, AT_RAW };

static size_t feed(struct response *r, const uint8_t *data, size_t size, bool whole)
{
	const char *raw = (const char *)data + AT_RAW;
	uint32_t    seed = data[AT_SEED];
	size_t      n = size - AT_RAW, used = 0;

	response_begin(r, data[AT_MAX], data[AT_HEAD] & 1);
	for (size_t at = 0, piece; at < n; at += piece) {
		char  *exact;
		size_t got;

		seed = seed * 1103515245u + 12345u;
		piece = whole ? n : 1 + (seed >> 16) % (data[AT_STEP] + 1u);
		piece = piece < n - at ? piece : n - at;
		exact = malloc(piece);
		memcpy(exact, raw + at, piece);
		got = response_feed(r, exact, piece);
		free(exact);
		assert(got <= piece && (got == piece || r->state >= RESPONSE_DONE));
		used += got;
		if (r->state >= RESPONSE_DONE)
			break;
	}
	if (data[AT_HEAD] & 2)
		response_end(r);
	return used;
}

static void check(const struct response *r)
{
	assert(r->body.n <= r->body_max && r->line.n <= RESPONSE_LINE_MAX);
	assert((r->state == RESPONSE_FAILED) == (r->failure != NULL));
	assert(strlen(r->saga_outcome) < RESPONSE_VALUE_MAX);
	if (r->state != RESPONSE_DONE)
		return;
	assert(r->status >= 200 && r->status <= 999);
	assert(!r->too_big || (r->body.n == r->body_max && !r->keep_alive));
	assert(r->body.n == 0 || (!r->to_head && r->status != 204 && r->status != 304));
	/* A kept connection can only follow a body whose end was announced. */
	assert(!r->keep_alive || r->to_head || r->status == 204 || r->status == 304 || r->is_chunked ||
	       r->has_length);
	assert(!(r->is_chunked && r->has_length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct response whole = { 0 }, cut = { 0 };
	size_t          used, again;

	if (size < AT_RAW)
		return 0;
	used = feed(&whole, data, size, true);
	again = feed(&cut, data, size, false);
	check(&whole);
	check(&cut);
	assert(whole.state == cut.state && whole.status == cut.status && whole.too_big == cut.too_big);
	assert(whole.failure == cut.failure && whole.keep_alive == cut.keep_alive);
	assert(strcmp(whole.saga_outcome, cut.saga_outcome) == 0 && strcmp(whole.retry_after, cut.retry_after) == 0);
	assert(str_eq(buf_view(&whole.body), buf_view(&cut.body)));
	assert(whole.state != RESPONSE_DONE || whole.too_big || used == again);
	response_fini(&whole);
	response_fini(&cut);
	return 0;
}

REPLAY("response", 10)
