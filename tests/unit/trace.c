/* SPDX-License-Identifier: Apache-2.0
 * trace.c - ids of traces and spans, sampling, and spans as a collector reads them.
 */
#include "coordinator/base/json.h"
#include "coordinator/io/span.h"
#include "tests/lib/tap.h"

#include <stdio.h>
#include <string.h>

static const char STARTER[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
static const char QUIET[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

static void test_ids(void)
{
	struct trace a, b, c;

	trace_of(STR("order-1"), str_of(STARTER), &a);
	ok(strcmp(a.id, "0af7651916cd43dd8448eb211c80319c") == 0 && str_is(a.parent, "b7ad6b7169203331") && a.sampled,
	   "a starter's trace goes on");
	trace_of(STR("order-1"), str_of(QUIET), &b);
	ok(!b.sampled && strcmp(a.root, b.root) == 0, "his flag is heard");
	trace_of(STR("order-1"), (struct str){ 0 }, &b);
	trace_of(STR("order-1"), STR("rubbish"), &c);
	ok(b.parent.n == 0 && strlen(b.id) == 32 && strcmp(b.id, c.id) == 0 && strcmp(a.root, b.root) == 0,
	   "without one its trace follows from the gid");
	trace_of(STR("order-2"), (struct str){ 0 }, &c);
	ok(strcmp(b.id, c.id) != 0 && strcmp(b.root, c.root) != 0, "each transaction has its own");
	trace_of(STR("01a2084d-9d50-7c2b-b3a1-b1bc5139b70b"), (struct str){ 0 }, &c);
	ok(strcmp(c.id, "01a2084d9d507c2bb3a1b1bc5139b70b") == 0, "of a UUID it is that UUID");
}

static void test_spans(void)
{
	const struct str gid = STR("order-1");
	uint64_t         one = trace_attempt_span(gid, 0, OP_TRY, 1, 0, 1);
	uint64_t         others[] = {
		trace_attempt_span(STR("order-2"), 0, OP_TRY, 1, 0, 1), trace_attempt_span(gid, 1, OP_TRY, 1, 0, 1),
		trace_attempt_span(gid, 0, OP_CANCEL, 1, 0, 1),         trace_attempt_span(gid, 0, OP_TRY, 2, 0, 1),
		trace_attempt_span(gid, 0, OP_TRY, 1, 1, 1),            trace_attempt_span(gid, 0, OP_TRY, 1, 0, 2),
		trace_takeover_span(gid, 1),                            trace_takeover_span(gid, 2),
	};
	bool             differ = true;

	ok(one == trace_attempt_span(gid, 0, OP_TRY, 1, 0, 1), "whoever drives it knows the span of the same call");
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		differ &= others[i] != one && others[i] != 0;
		for (size_t k = 0; k < i; k++)
			differ &= others[i] != others[k];
	}
	ok(differ, "another transaction, step, op, attempt, question, epoch or takeover is another span");
}

static void test_sampling(void)
{
	struct trace_rules rules = { .parent_based = true };
	struct trace       t;
	unsigned           recorded = 0, same = 0;
	char               gid[20];
	uint64_t           none;

	ok(trace_threshold(STR("0"), &none) && none == 0 && trace_threshold(STR("1"), &none) && none == TRACE_ALL &&
	   trace_threshold(STR("1.0"), &none) && none == TRACE_ALL && trace_threshold(STR("0.5"), &none) &&
	   none > TRACE_ALL / 2 - 1000000 && none <= TRACE_ALL / 2, "ratios are read");
	static const char *const wrong[] = { "", "1.1", "2", ".5", "0.", "1e-3", "-1", "0.0000001", "00.5", "0..5", "abc" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		ok(!trace_threshold(str_of(wrong[i]), &none), "\"%s\" is none", wrong[i]);
	trace_threshold(STR("0.25"), &rules.threshold);
	for (int i = 0; i < 4000; i++) {
		snprintf(gid, sizeof gid, "order-%d", i);
		trace_of(str_of(gid), (struct str){ 0 }, &t);
		recorded += trace_is_recorded(&t, &rules);
		same += trace_is_recorded(&t, &rules) == trace_is_recorded(&t, &rules);
	}
	ok(recorded > 850 && recorded < 1150 && same == 4000, "a quarter of them: %u of 4000, the same everywhere", recorded);
	rules.threshold = 0;
	trace_of(STR("x"), str_of(STARTER), &t);
	ok(trace_is_recorded(&t, &rules), "a starter who records is followed, whatever the ratio");
	rules.parent_based = false;
	ok(!trace_is_recorded(&t, &rules), "unless the ratio alone decides");
	rules = (struct trace_rules){ true, TRACE_ALL };
	trace_of(STR("x"), str_of(QUIET), &t);
	ok(!trace_is_recorded(&t, &rules), "one who does not, too");
}

/* ---- what is written ------------------------------------------------------------------------- */

static const struct json *attribute(const struct json *span, const char *name)
{
	const struct json *all = json_get(span, "attributes");
	char               quoted[80];

	snprintf(quoted, sizeof quoted, "\"%s\"", name);
	for (const struct json *a = all ? all->first : NULL; a != NULL; a = a->next)
		if (str_is(json_get(a, "key")->raw, quoted))
			return json_get(a, "value")->first;
	return NULL;
}

static bool has(const struct json *span, const char *name, const char *raw)
{
	const struct json *v = attribute(span, name);

	return v != NULL && str_is(v->raw, raw);
}

static const struct json *member(const struct json *object, const char *key, const char *raw)
{
	const struct json *v = object ? json_get(object, key) : NULL;

	return v != NULL && (raw == NULL || str_is(v->raw, raw)) ? v : NULL;
}

static void test_attempt(void)
{
	struct arena        arena = { 0 };
	struct json_error   err;
	struct buf          out = { 0 };
	struct trace        t;
	struct span_attempt a = {
		.gid = STR("o\"1"), .definition = STR("order"), .step = STR("charge"), .method = STR("POST"),
		.url = STR("http://pay.example:8080/charge?token=secret#x"), .error = STR("503 Service \x01"),
		.op = OP_CANCEL, .outcome = OUTCOME_UNKNOWN, .status = 503, .attempt = 3, .epoch = 7, .span = 0xab,
		.end_ms = 1700000000123, .took_us = 1500,
	};

	trace_of(a.gid, str_of(STARTER), &t);
	span_write_attempt(&out, &t, &a);
	const struct json *span = json_parse(buf_view(&out), &arena, &err);
	ok(span != NULL, "an attempt is a JSON object");
	ok(member(span, "traceId", "\"0af7651916cd43dd8448eb211c80319c\"") && member(span, "spanId", "\"00000000000000ab\"") &&
	   strncmp(member(span, "parentSpanId", NULL)->raw.p + 1, t.root, SPAN_HEX) == 0, "a child of the transaction's span");
	ok(member(span, "name", "\"cancel charge\"") && member(span, "kind", "3"), "of a client, named after op and step");
	ok(member(span, "startTimeUnixNano", "\"1700000000121500000\"") &&
	   member(span, "endTimeUnixNano", "\"1700000000123000000\""), "times are nanoseconds in strings");
	ok(has(span, "sagad.gid", "\"o\\\"1\"") && has(span, "sagad.outcome", "\"unknown\"") && has(span, "sagad.attempt", "\"3\"") &&
	   has(span, "sagad.epoch", "\"7\"") && has(span, "http.response.status_code", "\"503\"") &&
	   has(span, "http.request.method", "\"POST\"") && has(span, "http.request.resend_count", "\"2\"") &&
	   has(span, "error.type", "\"unknown\""), "it says what was asked and what came of it");
	ok(has(span, "url.full", "\"http://pay.example:8080/charge\"") && has(span, "server.address", "\"pay.example\"") &&
	   has(span, "server.port", "\"8080\"") && strstr(out.p, "secret") == NULL, "of the URL no query, in which secrets may stand");
	ok(member(member(span, "status", NULL), "code", "2") != NULL, "what taught nothing is an error");
	buf_clear(&out);
	a.url = STR("https://user:secret@[::1]/x");
	a.outcome = OUTCOME_OK;
	a.status = 200;
	a.attempt = 1;
	span_write_attempt(&out, &t, &a);
	span = json_parse(buf_view(&out), &arena, &err);
	ok(has(span, "server.address", "\"[::1]\"") && has(span, "server.port", "\"443\"") && !attribute(span, "url.full") &&
	   strstr(out.p, "secret") == NULL, "nor a user and his password");
	ok(member(span, "status", "{}") && !attribute(span, "error.type") && !attribute(span, "http.request.resend_count"),
	   "an ok first attempt has nothing of an error");
	buf_fini(&out);
	arena_fini(&arena);
}

static void test_transaction(void)
{
	struct arena      arena = { 0 };
	struct json_error err;
	struct buf        out = { 0 };
	struct trace      t;
	struct plan       plan = { .mode = MODE_SAGA };
	struct txn        txn = { .plan = &plan, .phase = PHASE_CANCELLED, .cause = CAUSE_DEADLINE };
	struct row        row = { .gid = STR("o-1"), .epoch = 5, .version = 9, .created_at = 1000, .ended_at = 2500,
		                  .definition = STR("order"), .definition_version = 2 };
	struct trace_call calls[] = { { 0, OP_TRY, 2, 1 }, { 3, OP_CANCEL, 1, 0 } };
	char              hex[SPAN_HEX + 1];

	trace_of(row.gid, str_of(STARTER), &t);
	span_write_ended(&out, &t, &row, &txn);
	const struct json *span = json_parse(buf_view(&out), &arena, &err);
	ok(span != NULL && member(span, "parentSpanId", "\"b7ad6b7169203331\"") && member(span, "name", "\"saga order\""),
	   "a transaction is a child of its starter's span");
	ok(member(span, "startTimeUnixNano", "\"1000000000\"") && member(span, "endTimeUnixNano", "\"2500000000\"") &&
	   has(span, "sagad.phase", "\"cancelled\"") && has(span, "sagad.cause", "\"deadline\"") &&
	   has(span, "sagad.definition.version", "\"2\""), "from its begin to its end, and how");
	ok(member(member(span, "status", NULL), "code", "2") != NULL, "one that was cancelled has failed");
	buf_clear(&out);
	span_write_adopted(&out, &t, &row, (struct uuid){ { 1 } }, 3000, calls, 2);
	span = json_parse(buf_view(&out), &arena, &err);
	const struct json *links = span ? json_get(span, "links") : NULL;
	ok(links != NULL && links->n == 2 && member(span, "name", "\"take over\""), "a takeover links to the calls of before");
	trace_span_hex(trace_attempt_span(row.gid, 0, OP_TRY, 2, 1, 4), hex);
	ok(strncmp(member(json_at(links, 0), "spanId", NULL)->raw.p + 1, hex, SPAN_HEX) == 0,
	   "by the spans that the owner of the epoch before gave them");
	buf_clear(&out);
	span_write_head(&out, &(struct span_resource){ STR("r-1"), STR("host"), "1.0", 42 });
	span_write_tail(&out);
	ok(json_parse(buf_view(&out), &arena, &err) != NULL && strstr(out.p, "\"service.instance.id\"") != NULL,
	   "head and tail make a request");
	buf_fini(&out);
	arena_fini(&arena);
}

int main(void)
{
	test_ids();
	test_spans();
	test_sampling();
	test_attempt();
	test_transaction();
	return tap_done();
}
