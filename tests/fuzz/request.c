/* SPDX-License-Identifier: Apache-2.0
 * request.c - any bytes as a request: lines of method, path, query and headers, then a body.
 */
#include "api/problem.h"
#include "api/query.h"
#include "api/router.h"
#include "api/start.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Cuts what stands before the first `mark` off the front of *rest; p is NULL where there is none. */
static struct str cut(struct str *rest, char mark)
{
	const char *end = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
	struct str  head = *rest;

	if (!end) {
		*rest = (struct str){ 0 };
		return head;
	}
	head.n = (size_t)(end - rest->p);
	*rest = (struct str){ end + 1, rest->n - head.n - 1 };
	return head;
}

static struct str line(struct str *rest)
{
	return cut(rest, '\n');
}

/* What was decoded is text that may stand in a log line, and encodes to what decodes to it. */
static void check_decoded(struct str s, struct arena *arena)
{
	struct buf again = { 0 };
	struct str back;

	assert(text_is_utf8(s));
	for (size_t i = 0; i < s.n; i++)
		assert((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
	percent_encode(s, &again);
	assert(percent_decode(buf_view(&again), arena, &back) && str_eq(back, s));
	buf_fini(&again);
}

static void try_route(struct str method, struct str path, struct arena *arena)
{
	for (int at = LISTENER_MAIN; at <= LISTENER_OPS; at++) {
		struct route_match m;
		enum router_answer a = router_find((enum listener)at, method, path, arena, &m);

		assert((a != ROUTER_METHOD && a != ROUTER_OPTIONS) || m.allowed != 0);
		if (a != ROUTER_FOUND)
			continue;
		assert((unsigned)m.route < ROUTE_COUNT);
		for (unsigned i = 0; i < ROUTE_PARAMS_MAX; i++)
			check_decoded(m.params[i], arena);
	}
}

static void try_query(struct str text, struct arena *arena)
{
	struct query q = { 0 };
	struct str   after;

	while (text.n > 0 && q.n < QUERY_MAX) {
		struct str value = cut(&text, '&'), name = cut(&value, '=');

		if (!query_add(&q, arena, name, value))
			assert(!cursor_read(q.value[q.n - 1], 7, arena, &after) || after.n <= GID_MAX);
	}
	for (size_t i = 0; i < q.n; i++)
		check_decoded(q.name[i], arena);
}

static void try_header(struct str h, struct arena *arena)
{
	struct prefer p;
	struct etag   e;
	struct str    key;

	prefer_read(h, &p);
	assert(p.wait_ms >= 0 && p.wait_ms <= WAIT_MAX_MS && (p.wait || p.wait_ms == 0));
	if (etag_read(h, &e) && e.given && !e.any)
		assert(etag_fits(&e, e.version) && !etag_fits(&e, e.version + 1));
	if (idempotency_key_read(h, arena, &key))
		assert(key.n >= 1 && key.n <= IDEMPOTENCY_KEY_MAX);
	if (traceparent_is_valid(h))
		assert(h.n == 55);
	media_type_is_json(h);
	base_url_is_valid(h);
}

static void try_start(struct str body, struct arena *arena)
{
	struct json_error err;
	struct json      *tree = json_parse(body, arena, &err);
	struct buf        errors = { 0 }, problem = { 0 };
	struct start      s;

	if (!tree || tree->type != JSON_OBJECT)
		return;
	start_read(tree, 1700000000000, arena, &errors, &s);
	problem_write(&problem, PROBLEM_INVALID_REQUEST, &(struct problem_text){ .errors = buf_view(&errors) });
	assert(json_parse(buf_view(&problem), arena, &err));
	if (errors.n == 0) {
		assert(s.gid.n == 0 || gid_is_valid(s.gid));
		assert((s.definition.n > 0) != (s.document.n > 0));
		assert(s.document.n == 0 || json_parse(s.document, arena, &err));
		assert(s.input.n == 0 || json_parse(s.input, arena, &err));
	}
	buf_fini(&errors);
	buf_fini(&problem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str   rest = { (const char *)data, size };
	struct arena arena = { 0 };
	struct str   method = line(&rest), path = line(&rest);

	try_route(method, path, &arena);
	try_query(line(&rest), &arena);
	try_header(line(&rest), &arena);
	try_start(rest, &arena);
	arena_fini(&arena);
	return 0;
}

REPLAY("request", 10)
