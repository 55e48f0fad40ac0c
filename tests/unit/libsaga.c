/* SPDX-License-Identifier: Apache-2.0
 * libsaga.c - the shared vectors, and what is beyond them: signatures bound to their call, JSON,
 * answers.
 */
#include "participants/libsaga/saga/saga.h"
#include "tests/lib/tap.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 32 };

static json_t *load(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	json_t *root;

	snprintf(path, sizeof(path), "%s/participants/vectors/%s", srcdir ? srcdir : ".", name);
	root = json_load_file(path, 0, NULL);
	if (!root) {
		printf("Bail out! %s cannot be read\n", path);
		exit(1);
	}
	return root;
}

static const char *text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_slice(struct saga_slice s, const char *wanted)
{
	return wanted ? s.n == strlen(wanted) && !memcmp(s.p, wanted, s.n) : !s.n;
}

static enum saga_op op_of(const char *name)
{
	for (enum saga_op op = SAGA_TRY;; op++)
		if (op == SAGA_CHECK || same(saga_op_name(op), name))
			return op;
}

/* ---- signatures ---------------------------------------------------------------------------- */

static const char *verified(enum saga_fault fault)
{
	if (fault == SAGA_FAULT_NONE)
		return "ok";
	if (fault == SAGA_FAULT_UNSIGNED)
		return "missing";
	return fault == SAGA_FAULT_TIME ? "timestamp" : "signature";
}

static void verify_case(const json_t *c)
{
	const json_t *secrets = json_object_get(c, "secrets"),
		     *headers = json_object_get(c, "headers");
	const char *list[LIST_MAX], *body = text(c, "body");
	struct saga_trust trust = { .secrets = list };
	enum saga_fault fault;

	for (; trust.secret_count < json_array_size(secrets); trust.secret_count++)
		list[trust.secret_count] =
			json_string_value(json_array_get(secrets, trust.secret_count));
	fault = saga_verify(&trust, json_integer_value(json_object_get(c, "now_s")),
	                    text(headers, "webhook-id"), text(headers, "webhook-timestamp"),
	                    text(headers, "webhook-signature"), body, strlen(body));
	ok(same(verified(fault), text(c, "result")), "signature: %s: %s", text(c, "name"),
	   verified(fault));
}

static void test_signatures(void)
{
	json_t *root = load("signatures.json"), *c;
	char out[SAGA_SIGNATURE_MAX], id[SAGA_WEBHOOK_ID_MAX];
	size_t i;

	json_array_foreach(json_object_get(root, "secrets"), i, c)
		ok(saga_sign(text(c, "text"), "id", 1, "", 0, out) ==
	                   !json_is_null(json_object_get(c, "bytes")),
	           "secret \"%s\"", text(c, "text"));
	json_array_foreach(json_object_get(root, "ids"), i, c) {
		saga_webhook_id(text(c, "gid"), text(c, "step"), op_of(text(c, "op")), id);
		ok(same(id, text(c, "id")), "id %s", id);
	}
	json_array_foreach(json_object_get(root, "sign"), i, c) {
		bool made = saga_sign(text(c, "secret"), text(c, "id"),
		                      json_integer_value(json_object_get(c, "timestamp_s")),
		                      text(c, "body"), strlen(text(c, "body")), out);

		ok(made && same(out, text(c, "signature")), "signed: %s", out);
	}
	json_array_foreach(json_object_get(root, "verify"), i, c)
		verify_case(c);
	ok(i > 20, "%zu signatures", i);
	json_decref(root);
}

/* What is signed are id, time and body: a try that was overheard must not pass for a cancel. */
static void test_signature_is_of_this_call(void)
{
	const char *secrets[] = { "correct horse" };
	struct saga_trust trust = { .secrets = secrets, .secret_count = 1 };
	char id[SAGA_WEBHOOK_ID_MAX], signature[SAGA_SIGNATURE_MAX];
	struct saga_header headers[] = {
		{ "Saga-Id", "g" },
		{ "Saga-Step", "s" },
		{ "Saga-Op", "try" },
		{ "webhook-id", id },
		{ "webhook-timestamp", "1000" },
		{ "webhook-signature", signature },
	};
	struct saga_request request = { "POST", "/", headers, 6, "{}", 2, false };
	struct saga_call call;

	saga_webhook_id("g", "s", SAGA_TRY, id);
	ok(saga_sign(secrets[0], id, 1000, "{}", 2, signature), "a signature");
	ok(saga_call_read(&request, &trust, 1000, &call) == SAGA_FAULT_NONE, "a signed try");
	headers[2].value = "cancel";
	ok(saga_call_read(&request, &trust, 1000, &call) == SAGA_FAULT_OTHER_CALL, "is no cancel");
	headers[2].value = "try";
	headers[0].value = "h";
	ok(saga_call_read(&request, &trust, 1000, &call) == SAGA_FAULT_OTHER_CALL,
	   "nor of another transaction");
	request.header_count = 3;
	headers[0].value = "g";
	ok(saga_call_read(&request, &trust, 1000, &call) == SAGA_FAULT_UNSIGNED,
	   "a call must be signed");
	ok(saga_call_read(&request, NULL, 1000, &call) == SAGA_FAULT_NONE,
	   "unless nobody asks for it");
	trust.secret_count = 0;
	ok(saga_call_read(&request, &trust, 1000, &call) == SAGA_FAULT_UNSIGNED,
	   "no secret is no permission");
}

/* ---- headers ----------------------------------------------------------------------------- */

/* Those of the file under those of the case, unless the case's stand alone. */
static size_t merge(const json_t *base, const json_t *over, bool alone, struct saga_header *out)
{
	json_t *all = alone ? json_object() : json_copy((json_t *)(uintptr_t)base), *v;
	const char *name;
	size_t n = 0;

	json_object_update(all, (json_t *)(uintptr_t)over);
	/* Names and values have to outlive the union. */
	json_object_foreach(all, name, v) {
		const json_t *from = json_object_get(over, name) ? over : base;
		void *at = json_object_iter_at((json_t *)(uintptr_t)from, name);

		if (json_is_string(v))
			out[n++] = (struct saga_header){
				json_object_iter_key(at),
				json_string_value(json_object_iter_value(at)),
			};
	}
	json_decref(all);
	return n;
}

static const json_t *field(const json_t *call, const json_t *base, const char *name)
{
	const json_t *v = json_object_get(call, name);

	return v ? v : json_object_get(base, name);
}

static bool same_time(int64_t got, const json_t *wanted)
{
	return json_is_integer(wanted) ? got == json_integer_value(wanted) : got == SAGA_NO_TIME;
}

static bool same_call(const struct saga_call *got, const json_t *call, const json_t *base)
{
	const char *epoch = json_string_value(field(call, base, "epoch"));

	return same(got->gid, json_string_value(field(call, base, "gid"))) &&
	       same(got->step, json_string_value(field(call, base, "step"))) &&
	       same(saga_op_name(got->op), json_string_value(field(call, base, "op"))) &&
	       got->attempt == json_integer_value(field(call, base, "attempt")) &&
	       got->epoch == (epoch ? atoll(epoch) : -1) &&
	       same_time(got->accepted_ms, field(call, base, "accepted_ms")) &&
	       same_time(got->deadline_ms, field(call, base, "deadline_ms")) &&
	       same_slice(got->callback, json_string_value(field(call, base, "callback"))) &&
	       same_slice(got->key, json_string_value(field(call, base, "key"))) &&
	       same_slice(got->traceparent, json_string_value(field(call, base, "traceparent")));
}

static void test_doubled(const json_t *root)
{
	json_t *c, *v;
	const char *name;
	size_t i;

	json_array_foreach(json_object_get(root, "doubled"), i, c) {
		struct saga_header headers[LIST_MAX];
		struct saga_request request = { "POST", "/", headers, 0, "", 0, false };
		struct saga_call call;
		enum saga_fault fault;

		request.header_count = merge(json_object_get(root, "headers"),
		                             json_object_get(c, "headers"), false, headers);
		json_object_foreach(json_object_get(c, "again"), name, v)
			headers[request.header_count++] =
				(struct saga_header){ name, json_string_value(v) };
		fault = saga_call_read(&request, NULL, 0, &call);
		ok(same(saga_fault_header(fault), text(c, "wrong") ? text(c, "wrong") : "") &&
		           saga_fault_status(fault) == (text(c, "wrong") ? 400 : 200),
		   "headers: %s: %s %s", text(c, "name"), saga_fault_header(fault),
		   saga_fault_text(fault));
	}
	ok(i > 15, "%zu sets of headers with some of them doubled", i);
}

static void test_times(const json_t *root)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(root, "times"), i, c) {
		struct saga_header headers[] = { { "Saga-Id", "g" },
			                         { "Saga-Step", "a" },
			                         { "Saga-Op", "try" },
			                         { "Saga-Accepted", text(c, "text") },
			                         { "Saga-Deadline", "1970-01-01T00:00:00Z" } };
		struct saga_request request = { "POST", "/", headers, 5, "", 0, false };
		const json_t *ms = json_object_get(c, "ms");
		struct saga_call call;
		enum saga_fault fault = saga_call_read(&request, NULL, 0, &call);

		if (json_is_integer(ms))
			ok(fault == SAGA_FAULT_NONE && call.accepted_ms == json_integer_value(ms),
			   "times: %s: %lld", text(c, "name"), (long long)call.accepted_ms);
		else
			ok(fault == SAGA_FAULT_ACCEPTED, "times: %s is none", text(c, "name"));
	}
	ok(i > 40, "%zu times", i);
}

static void test_methods(const json_t *root)
{
	static const char *const methods[] = { "GET",   "HEAD",    "POST",  "PUT",  "PATCH",
		                               "DELETE", "OPTIONS", "TRACE", "post", "POST,",
		                               "POST, PUT", "P", "", NULL };
	struct saga_header headers[] = { { "Saga-Id", "g" },
		                         { "Saga-Step", "a" },
		                         { "Saga-Op", NULL } };
	const char *op;
	json_t *list, *v;
	size_t i;

	json_object_foreach(json_object_get(root, "methods"), op, list) {
		char allow[100] = "";

		headers[2].value = op;
		json_array_foreach(list, i, v)
			snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
			         i ? ", " : "", json_string_value(v));
		ok(same(saga_op_methods(op_of(op)), allow), "%s by %s", op, allow);
		for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
			struct saga_request request = { methods[m], "/", headers, 3, "", 0, false };
			struct saga_call call;
			bool among = false;

			json_array_foreach(list, i, v)
				among |= same(methods[m], json_string_value(v));
			ok(saga_call_read(&request, NULL, 0, &call) ==
			           (among ? SAGA_FAULT_NONE : SAGA_FAULT_METHOD),
			   "a %s by %s: %s", op, methods[m] ? methods[m] : "nothing",
			   among ? "yes" : "no");
		}
	}
}

static void test_headers(void)
{
	json_t *root = load("headers.json"), *c;
	size_t i, wrong = 0;

	json_array_foreach(json_object_get(root, "cases"), i, c) {
		struct saga_header headers[LIST_MAX];
		struct saga_request request = { "POST", "/", headers, 0, "", 0, false };
		struct saga_call call;
		enum saga_fault fault;

		request.header_count =
			merge(json_object_get(root, "headers"), json_object_get(c, "headers"),
		              json_is_true(json_object_get(c, "alone")), headers);
		fault = saga_call_read(&request, NULL, 0, &call);
		if (text(c, "wrong")) {
			wrong++;
			ok(same(saga_fault_header(fault), text(c, "wrong")) &&
			           saga_fault_status(fault) == 400,
			   "headers: %s: %s %s", text(c, "name"), saga_fault_header(fault),
			   saga_fault_text(fault));
		} else {
			ok(fault == SAGA_FAULT_NONE && same_call(&call, json_object_get(c, "call"),
			                                         json_object_get(root, "call")),
			   "headers: %s", text(c, "name"));
		}
	}
	ok(i > 40 && wrong > 20, "%zu sets of headers, %zu of them wrong", i, wrong);
	test_doubled(root);
	test_times(root);
	test_methods(root);
	json_decref(root);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void answer_case(const json_t *c)
{
	static const char *const results[] = { "ok", "refused", "ongoing", "gone", "failed" };
	const char *result = text(c, "result"), *body = text(c, "body");
	const json_t *object = json_object_get(c, "body");
	struct saga_answer answer = { 0 };
	bool fits;
	int i = 0;

	if (same(result, "stale"))
		return; /* the barrier says that, no handler */
	if (same(result, "bad_call")) {
		saga_answer_fault(&answer, SAGA_FAULT_ID);
	} else if (same(result, "bad_signature")) {
		saga_answer_fault(&answer, SAGA_FAULT_SIGNATURE);
	} else {
		while (!same(results[i], result))
			i++;
		if (text(c, "output"))
			saga_answer_body(&answer, text(c, "output"), strlen(text(c, "output")));
		if (text(c, "reason"))
			saga_answer_error(&answer, text(c, "reason"));
		answer.retry_after_s = (int)json_integer_value(json_object_get(c, "retry_after_s"));
		saga_answer_result(&answer, op_of(text(c, "op")), (enum saga_result)i);
	}
	fits = answer.status == json_integer_value(json_object_get(c, "status"));
	if (body)
		fits &= answer.body && same(answer.body, body);
	if (json_is_object(object)) {
		json_t *got = json_loadb(answer.body, answer.body_size, 0, NULL);

		fits &= got && json_equal(got, object);
		json_decref(got);
	}
	ok(fits, "answer: %s: %d %s", text(c, "name"), answer.status,
	   answer.body ? answer.body : "");
	saga_answer_fini(&answer);
}

static void test_answers(void)
{
	json_t *root = load("outcomes.json"), *c;
	struct saga_answer answer = { .status = 409 };
	size_t i;

	json_array_foreach(json_object_get(root, "answers"), i, c)
		answer_case(c);
	ok(i > 20, "%zu answers", i);
	json_decref(root);

	saga_answer_result(&answer, SAGA_TRY, SAGA_REFUSED);
	ok(answer.status == 409 && same(saga_answer_outcome(&answer), "refused"),
	   "a 409 of ours is a refusal, and says so");
	saga_answer_fini(&answer);
	answer.status = 200;
	saga_answer_result(&answer, SAGA_TRY, SAGA_REFUSED);
	ok(answer.status == 422 && answer.log[0],
	   "a status cannot say something else than the result: %s", answer.log);
	saga_answer_fini(&answer);
	answer.status = 201;
	saga_answer_result(&answer, SAGA_TRY, SAGA_DONE);
	ok(answer.status == 201 && !answer.log[0], "but it can be more precise");
	saga_answer_fini(&answer);
	ok(saga_answer_error(&answer, "\"\n\\") &&
	           same(answer.body, "{\"error\": \"\\\"\\u000a\\\\\"}"),
	   "%s", answer.body);
	saga_answer_fini(&answer);
	ok(!saga_answer_error(&answer, "\xff") && !answer.body, "what is not UTF-8 cannot be said");
}

/* ---- problems ---------------------------------------------------------------------------- */

static bool same_errors(const struct saga_problem *got, const json_t *wanted)
{
	bool fits = got->error_count == json_array_size(wanted);
	json_t *e;
	size_t i;

	json_array_foreach(wanted, i, e)
		fits = fits && same(got->errors[i].pointer, text(e, "pointer")) &&
		       same(got->errors[i].detail, text(e, "detail"));
	return fits;
}

static bool same_word(const char *got, const json_t *o, const char *name)
{
	return same(got, text(o, name) ? text(o, name) : "");
}

static void test_problems(void)
{
	json_t *root = load("problems.json"), *c;
	struct saga_problem got;
	char big[2000];
	size_t i;

	json_array_foreach(json_object_get(root, "cases"), i, c) {
		const json_t *p = json_object_get(c, "problem"),
			     *after = json_object_get(p, "retry_after_s");

		saga_problem_read((int)json_integer_value(json_object_get(c, "status")),
		                  text(json_object_get(c, "headers"), "Retry-After"),
		                  text(c, "body"), strlen(text(c, "body")), &got);
		ok(got.status == json_integer_value(json_object_get(p, "status")) &&
		           same_word(got.code, p, "code") && same_word(got.title, p, "title") &&
		           same_word(got.detail, p, "detail") && same_word(got.gid, p, "gid") &&
		           same_word(got.request_id, p, "request_id") &&
		           got.retryable == json_is_true(json_object_get(p, "retryable")) &&
		           got.retry_after_s ==
		                   (json_is_integer(after) ? json_integer_value(after) : -1) &&
		           same_errors(&got, json_object_get(p, "errors")),
		   "problem: %s", text(c, "name"));
	}
	ok(i > 15, "%zu problems", i);
	json_decref(root);

	snprintf(big, sizeof(big), "{\"title\": \"%0127d\u00eb\", \"detail\": \"%0900d\"}", 0, 0);
	saga_problem_read(500, NULL, big, strlen(big), &got);
	ok(strlen(got.title) == 127 && strlen(got.detail) == sizeof(got.detail) - 1,
	   "long texts are cut, not in the middle of a character");
}

/* ---- JSON -------------------------------------------------------------------------------- */

static struct saga_slice slice_of(const char *s)
{
	return (struct saga_slice){ s, strlen(s) };
}

static void test_json(void)
{
	static const char *const good[] = {
		"{}", " [ ] ", "0", "-0.5e+10", "\"\\ud83d\\ude00\"", "[[],{},[{\"a\":[1]}]]",
		"{\"a\":{\"b\":[1,2,{}]},\"c\":null}", "true", "1E5",
	};
	static const char *const bad[] = {
		"",          "{",     "}",   "[1,]",     "{\"a\":1,}",
		"{\"a\" 1}", "{a:1}", "01",  "-",        "1.",
		".5",        "1e",    "\"",  "\"\\x\"",  "\"\\u12g4\"",
		"\"\n\"",    "[}",    "{]",  "[1}",      "tru",
		"nul",       "[] []", "1 2", "\"\xff\"", "\"\xed\xa0\x80\"",
		"[,]",       "{,}",   "\"\\"
	};
	const char *o =
		" {\"a\": 1.10, \"b\": {\"a\": [9223372036854775808]},"
		" \"n\": -9223372036854775808, "
		"\"t\": \"\\u00eb\\n\\ud83d\\ude00\", \"a\": 2, \"z\": \"\\u0000\"} ";
	struct saga_slice v;
	char out[16], deep[200];
	int64_t n;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ok(saga_json_valid(slice_of(good[i])), "JSON: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!saga_json_valid(slice_of(bad[i])), "no JSON: %zu", i);
	memset(deep, '[', 64);
	memset(deep + 64, ']', 64);
	ok(saga_json_valid((struct saga_slice){ deep, 128 }), "64 deep");
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	ok(!saga_json_valid((struct saga_slice){ deep, 130 }), "65 are too deep");

	ok(saga_json_find(slice_of(o), "a", &v) && same_slice(v, "1.10"),
	   "a number as it was written, the first of two");
	ok(saga_json_find(slice_of(o), "b", &v) && same_slice(v, "{\"a\": [9223372036854775808]}"),
	   "an object whole");
	ok(!saga_json_find(slice_of(o), "c", &v) && !saga_json_find(slice_of("[1]"), "a", &v),
	   "what is not there");
	ok(saga_json_find(slice_of(o), "n", &v) && saga_json_integer(v, &n) && n == INT64_MIN,
	   "the least integer");
	ok(!saga_json_integer(slice_of("9223372036854775808"), &n) &&
	           !saga_json_integer(slice_of("1.0"), &n) &&
	           !saga_json_integer(slice_of("\"1\""), &n) &&
	           !saga_json_integer(slice_of("-"), &n),
	   "what is no integer");
	ok(saga_json_find(slice_of(o), "t", &v) && saga_json_text(v, out, sizeof(out)) &&
	           same(out, "\u00eb\n\U0001f600"),
	   "escapes");
	ok(saga_json_find(slice_of(o), "z", &v) && !saga_json_text(v, out, sizeof(out)),
	   "a zero byte is no text");
	ok(saga_json_text(slice_of("\"abc\""), out, 4) &&
	           !saga_json_text(slice_of("\"abc\""), out, 3) && !*out,
	   "as much as fits, or nothing");
	ok(saga_json_text(slice_of("\"\\ud83dx\""), out, sizeof(out)) && same(out, "\ufffdx"),
	   "half a pair");
}

/* ---- routes ------------------------------------------------------------------------------ */

static const struct {
	const char *route, *path, *id; /* NULL: it does not fit */
	bool decoded;
} paths[] = {
	{ "/", "/", "", false },
	{ "/hold", "/hold", "", false },
	{ "/hold", "/hold?a=b/c", "", false },
	{ "/hold", "/hold/", NULL, false },
	{ "/hold", "/Hold", NULL, false },
	{ "/hold", "/hol", NULL, false },
	{ "/hold", "/hold/x", NULL, false },
	{ "/hold/", "/hold/", "", false },
	{ "/hold", "/%68old", "", false },
	{ "/rooms/{id}/cancel", "/rooms/7/cancel", "7", false },
	{ "/rooms/{id}/cancel", "/rooms/7/cancel/", NULL, false },
	{ "/rooms/{id}/cancel", "/rooms//cancel", NULL, false },
	{ "/rooms/{id}/cancel", "/rooms/7/8/cancel", NULL, false },
	{ "/rooms/{id}", "/rooms/order:17%2F%23%25%2C%3B%3d~", "order:17/#%,;=~", false },
	{ "/rooms/{id}", "/rooms/a%2Fb", "a%2Fb", true },
	{ "/rooms/{id}", "/rooms/a%3Fb?c", "a?b", false },
	{ "/rooms/{id}", "/rooms/Zo%C3%AB", "Zo\xc3\xab", false },
	{ "/rooms/{id}", "/rooms/a%2", NULL, false },
	{ "/rooms/{id}", "/rooms/a%2x", NULL, false },
	{ "/rooms/{id}", "/rooms/a%00", NULL, false },
	{ "/rooms/{id}", "/rooms/", NULL, false },
	{ "/rooms/{id}", "/rooms/%ff", "NOT TEXT", false },
	{ "/rooms/{id}", "/rooms/12345678901234567890123456789012", "NOT TEXT", false },
	{ "/*/{id}", "/x/y", "y", false },
	{ "/*", "/x", "", false },
	{ "/*", "/", NULL, false },
	{ "/{step}/{id}/{op}", "/a/b/c", "b", false },
};

/* Instead of a handler, so that no database is needed. */
static bool note_param(void *ctx, const struct saga_call *call, struct saga_answer *answer)
{
	char id[32] = "";

	(void)ctx;
	answer->status = 200;
	if (strstr(call->route, "{id}") && !saga_call_param(call, "id", id, sizeof(id)))
		snprintf(id, sizeof(id), "NOT TEXT");
	ok(!saga_call_param(call, "i", id + 31, 1) && !saga_call_param(call, "", id + 31, 1),
	   "no other name");
	saga_answer_body(answer, id, strlen(id));
	return false;
}

static enum saga_result never(void *ctx, PGconn *db, const struct saga_call *call,
                              struct saga_answer *answer)
{
	(void)ctx;
	(void)db;
	(void)call;
	(void)answer;
	return SAGA_FAILED;
}

static void test_routes(void)
{
	struct saga_header headers[] = { { "Saga-Id", "g" },
		                         { "Saga-Step", "a" },
		                         { "Saga-Op", "try" } };
	struct saga_route route = { .op = SAGA_TRY, .before = note_param, .handler = never };
	struct saga_service service = { .routes = &route, .route_count = 1 };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct saga_request request = { "POST", paths[i].path, headers, 3, "", 0,
			                        !paths[i].decoded };
		struct saga_answer answer;

		route.path = paths[i].route;
		saga_service_handle(&service, &request, &answer);
		if (paths[i].id)
			ok(answer.status == 200 &&
			           same(answer.body ? answer.body : "", paths[i].id),
			   "%s at %s: %d \"%s\"", paths[i].path, paths[i].route, answer.status,
			   answer.body ? answer.body : "");
		else
			ok(answer.status == 400, "%s is not %s", paths[i].path, paths[i].route);
		saga_answer_fini(&answer);
	}
}

static void test_service_check(void)
{
	static const char *const wrong[] = { "",       "hold",       "/{",   "/}",      "/{}",
		                             "/{id",   "/a{id}",     "/**",  "/{a b}",  "/a*",
		                             "/{1}",   "/{id}.json", "/a?b" };
	struct saga_route routes[] = { { .path = "/{id}", .op = SAGA_TRY, .handler = never },
		                       { .path = "/{id}", .op = SAGA_CANCEL, .handler = never },
		                       { .path = "/check", .op = SAGA_CHECK },
		                       { .path = "/c", .op = SAGA_CONFIRM, .prepared = true },
		                       { .path = "/*/{a_1}", .op = SAGA_TRY, .handler = never } };
	struct saga_service service = { .routes = routes, .route_count = 5 };
	struct saga_error error;

	ok(!saga_service_check(&service, &error) && error.code == SAGA_E_ARGUMENT, "%s",
	   error.text);
	service.pool = saga_pool_open("", NULL, 1, &error);
	ok(saga_service_check(&service, &error), "that is how routes look");
	routes[1].op = SAGA_TRY;
	ok(!saga_service_check(&service, &error), "%s", error.text);
	routes[1].op = SAGA_CANCEL;
	routes[3].op = SAGA_TRY;
	ok(!saga_service_check(&service, &error), "%s", error.text);
	routes[3].op = SAGA_CONFIRM;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		routes[4].path = wrong[i];
		ok(!saga_service_check(&service, &error), "%s", error.text);
	}
	saga_pool_close(service.pool);
}

static void test_client_arguments(void)
{
	struct saga_client_options options = { .urls = "ftp://a" };
	struct saga_error error;
	struct saga_client *client;
	struct saga_start start = { 0 };
	struct saga_transaction txn;

	ok(!saga_client_open(&options, &error) && error.code == SAGA_E_ARGUMENT, "%s", error.text);
	options.urls = "";
	ok(!saga_client_open(&options, &error) && error.code == SAGA_E_ARGUMENT, "no URL at all");
	options.urls = "http://127.0.0.1:1/, http://127.0.0.1:1";
	options.patience_ms = 150;
	client = saga_client_open(&options, &error);
	ok(client != NULL, "two replicas");
	ok(!saga_start(client, &start, &txn, &error) && error.code == SAGA_E_ARGUMENT, "%s",
	   error.text);
	start.definition = "d";
	start.input = "{";
	ok(!saga_start(client, &start, &txn, &error) && error.code == SAGA_E_ARGUMENT, "%s",
	   error.text);
	start.input = NULL;
	ok(!saga_start(client, &start, &txn, &error) && error.code == SAGA_E_UNKNOWN &&
	           error.retryable,
	   "%s", error.text);
	ok(strlen(txn.gid) == 36 && txn.gid[14] == '7', "the gid to ask again under: %s", txn.gid);
	ok(!saga_report(client, "http://x/y", "{}", NULL, &error) && error.code == SAGA_E_ARGUMENT,
	   "%s", error.text);
	saga_client_close(client);
	ok(!saga_pool_open("", "a b", 1, &error) && !saga_pool_open("", NULL, 0, &error), "%s",
	   error.text);
}

int main(void)
{
	test_signatures();
	test_signature_is_of_this_call();
	test_headers();
	test_answers();
	test_problems();
	test_json();
	test_routes();
	test_service_check();
	test_client_arguments();
	return tap_done();
}
