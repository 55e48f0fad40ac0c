/* SPDX-License-Identifier: Apache-2.0
 * call.c - what a call looks like: URL, headers, body; callback URLs; webhook signatures.
 */
#include "participants/call.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct arena      arena;
static struct call_rules rules = { .callback_base = STR("https://sagad.example"), .callback_key = STR("key") };

static struct definition *compile(const char *text)
{
	struct findings    findings = { .arena = &arena };
	struct definition *d = definition_compile(str_of(text), DEFINITION_INLINE, (struct str){ 0 }, &findings);

	for (size_t i = 0; d == NULL && i < findings.n; i++)
		printf("# %.*s: %.*s\n", (int)findings.items[i].pointer.n, findings.items[i].pointer.p,
		       (int)findings.items[i].detail.n, findings.items[i].detail.p);
	if (d == NULL)
		exit(1);
	return d;
}

static struct str outputs[8];

static struct call_spec spec_of(const struct definition *d, uint16_t step, enum op op)
{
	return (struct call_spec){
		.scope = { .def = d, .gid = STR("g-1"), .now = 1795423254123, .input = STR("{\"n\":1.10}"),
		           .outputs = outputs },
		.step = step, .op = op, .attempt = 1, .epoch = 2, .span = 0xab
	};
}

static struct str base_url(void *ctx, struct str name)
{
	return str_is(name, "hotels") ? str_of(ctx) : (struct str){ 0 };
}

static const char *value_of(const struct call_text *t, const char *name)
{
	const char *found = NULL;
	size_t      n = strlen(name);

	for (size_t i = 0; i < t->header_count; i++)
		if (strncasecmp(t->headers[i], name, n) == 0 && (t->headers[i][n] == ':' || t->headers[i][n] == ';')) {
			if (found != NULL)
				return "twice";
			found = t->headers[i] + n + (t->headers[i][n] == ':' ? 2 : 0);
		}
	return found;
}

static bool is(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static void check_plain(void)
{
	struct definition *d = compile("{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://a:8080/x/${input.n}\"},"
	                               "\"compensate\":{\"url\":\"http://a:8080/c\",\"method\":\"DELETE\",\"timeout\":\"7s\"}}}}");
	struct call_spec spec = spec_of(d, 0, OP_TRY);
	struct call_text t;
	struct err       err;

	ok(call_render(&spec, &rules, NULL, NULL, &arena, &t, &err), "a plain call is rendered");
	ok(str_is(t.url, "http://a:8080/x/1.10") && t.url.p[t.url.n] == '\0' && str_is(t.method, "POST"), "URL and method");
	ok(str_is(t.body, "{\"n\":1.10}") && t.body.p != spec.scope.input.p, "the body is a copy of the input");
	ok(t.timeout_ms == 3000 && str_is(t.target, "a:8080"), "time-out and target");
	ok(is(value_of(&t, "Saga-Op"), "try") && is(value_of(&t, "Idempotency-Key"), "\"g-1:a:try\"") &&
	   is(value_of(&t, "Content-Type"), "application/json") && is(value_of(&t, "Saga-Attempt"), "1") &&
	   is(value_of(&t, "Saga-Epoch"), "2") && is(value_of(&t, "Saga-Accepted"), "2026-11-23T08:40:54.123Z"), "headers");
	ok(value_of(&t, "Saga-Deadline") == NULL, "no deadline, no header");
	ok(strstr(value_of(&t, "traceparent"), "-00000000000000ab-01") != NULL, "the span is the one given");
	spec.scope.gid = STR("01A2084D-9d50-7c2b-b3a1-b1bc5139b70b");
	ok(call_render(&spec, &rules, NULL, NULL, &arena, &t, &err) &&
	   is(value_of(&t, "traceparent"), "00-01a2084d9d507c2bb3a1b1bc5139b70b-00000000000000ab-01"),
	   "a gid that is a UUID is the trace");
	spec = spec_of(d, 0, OP_CANCEL);
	ok(call_render(&spec, &rules, NULL, NULL, &arena, &t, &err) && str_is(t.method, "DELETE") && t.timeout_ms == 7000 &&
	   is(value_of(&t, "Saga-Op"), "cancel") && is(value_of(&t, "Idempotency-Key"), "\"g-1:a:cancel\"") &&
	   strstr(value_of(&t, "Saga-Callback"), "/g-1/steps/a/complete?op=cancel&sig=") != NULL,
	   "a compensation is the cancel");
	spec = spec_of(d, 0, OP_CONFIRM);
	ok(!call_render(&spec, &rules, NULL, NULL, &arena, &t, &err) && strstr(err.text, "no confirm") != NULL,
	   "a call that is not there: %s", err.text);
	spec = spec_of(d, 77, OP_TRY);
	ok(!call_render(&spec, &rules, NULL, NULL, &arena, &t, &err), "a step that is not there");
	definition_drop(d);
}

static void check_headers(void)
{
	struct definition *d = compile("{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://a/\",\"headers\":{"
	                               "\"content-type\":\"application/vnd.x+json\",\"Accept\":\"text/plain\",\"X-Gid\":\"${gid}!\","
	                               "\"X-Empty\":\"\"}}}}}");
	struct call_spec  spec = spec_of(d, 0, OP_TRY);
	struct call_rules none = { 0 };
	struct call_text  t;
	struct err        err;

	ok(call_render(&spec, &none, NULL, NULL, &arena, &t, &err), "headers of the document");
	ok(is(value_of(&t, "Content-Type"), "application/vnd.x+json") && is(value_of(&t, "Accept"), "text/plain"),
	   "they replace what we would say");
	ok(is(value_of(&t, "X-Gid"), "g-1!"), "and are templates");
	ok(is(value_of(&t, "X-Empty"), ";"), "an empty one is sent");
	ok(value_of(&t, "Saga-Callback") == NULL, "without a key there is no callback URL");
	definition_drop(d);
}

static void check_names(void)
{
	struct definition *d = compile("{\"mode\":\"saga\",\"steps\":{\"a\":{\"action\":{\"participant\":\"hotels\",\"path\":\"/r?q=${gid}\"}},"
	                               "\"b\":{\"action\":{\"participant\":\"planes\",\"path\":\"/\"}}}}");
	char             base[] = "https://hotels.example/v2";
	struct call_spec spec = spec_of(d, 0, OP_TRY);
	struct call_text t;
	struct err       err;

	ok(call_render(&spec, &rules, base_url, base, &arena, &t, &err) &&
	   str_is(t.url, "https://hotels.example/v2/r?q=g-1") && str_is(t.target, "participant:hotels"),
	   "a participant by name");
	spec = spec_of(d, 1, OP_TRY);
	ok(!call_render(&spec, &rules, base_url, base, &arena, &t, &err) && err.kind == ERR_NOT_FOUND, "an unknown name: %s",
	   err.text);
	strcpy(base, "ftp://x");
	spec = spec_of(d, 0, OP_TRY);
	ok(!call_render(&spec, &rules, base_url, base, &arena, &t, &err) && err.kind == ERR_INVALID,
	   "a base URL of another kind: %s", err.text);
	strcpy(base, "http://x\r\ny");
	ok(!call_render(&spec, &rules, base_url, base, &arena, &t, &err) && err.kind == ERR_INVALID,
	   "a base URL with a line break: %s", err.text);
	definition_drop(d);
}

static void check_back_check(void)
{
	struct definition *d = compile("{\"mode\":\"message\",\"deadline\":\"1m\",\"check\":{\"url\":\"http://sender/check\"},"
	                               "\"steps\":{\"a\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://a/\"}}}}");
	struct call_spec spec = spec_of(d, TXN_CHECK, OP_CHECK);
	struct call_text t;
	struct err       err;

	ok(call_render(&spec, &rules, NULL, NULL, &arena, &t, &err) && str_is(t.url, "http://sender/check") &&
	   is(value_of(&t, "Saga-Step"), "check") && is(value_of(&t, "Saga-Op"), "check") &&
	   value_of(&t, "Saga-Callback") == NULL, "the back-check is a call without callback");
	definition_drop(d);
}

static void check_callback(void)
{
	char a[65], b[65];

	callback_sign(STR("key"), STR("g"), STR("s"), OP_TRY, a);
	ok(callback_verify(STR("key"), STR("g"), STR("s"), OP_TRY, str_of(a)), "a callback's signature is found right");
	ok(is(a, "acada3fbfc14c703905ad6d7a468832a94426708ce4f14eab1c3551bd8a12d46"),
	   "it is the HMAC-SHA256 of g:s:try, in hex");
	callback_sign(STR("key"), STR("g"), STR("s"), OP_CANCEL, b);
	ok(!callback_verify(STR("key"), STR("g"), STR("s"), OP_TRY, str_of(b)), "not for another op");
	ok(!callback_verify(STR("key"), STR("h"), STR("s"), OP_TRY, str_of(a)), "nor another transaction");
	ok(!callback_verify(STR("kez"), STR("g"), STR("s"), OP_TRY, str_of(a)), "nor another key");
	ok(!callback_verify(STR("key"), STR("g"), STR("s"), OP_TRY, (struct str){ a, 63 }) &&
	   !callback_verify(STR("key"), STR("g"), STR("s"), OP_TRY, (struct str){ 0 }), "nor a part of it");
	callback_sign((struct str){ 0 }, STR("g"), STR("s"), OP_TRY, a);
	ok(!callback_verify((struct str){ 0 }, STR("g"), STR("s"), OP_TRY, str_of(a)), "without a key nothing is right");
}

static void check_webhook(void)
{
	struct buf secret = { 0 };
	char       sig[64], id[40], other[40];

	/* The example of the specification's reference libraries. */
	ok(webhook_secret(STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &secret) && secret.n == 24, "a secret in base64");
	webhook_sign(buf_view(&secret), STR("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330, STR("{\"test\": 2432232314}"), sig);
	ok(is(sig, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "Standard Webhooks: %s", sig);
	ok(webhook_secret(STR("plain"), &secret) && str_is(buf_view(&secret), "plain"), "a secret as it is");
	ok(webhook_secret(STR("whsec_QUI="), &secret) && str_is(buf_view(&secret), "AB"), "with padding");
	ok(!webhook_secret(STR("whsec_Q*I="), &secret) && !webhook_secret(STR("whsec_A"), &secret) &&
	   !webhook_secret(STR("whsec_"), &secret) && !webhook_secret((struct str){ 0 }, &secret), "no secret at all");
	webhook_id(STR("a.b"), STR("c"), OP_TRY, id);
	webhook_id(STR("a.b"), STR("c"), OP_CANCEL, other);
	ok(strlen(id) == 36 && strncmp(id, "msg_", 4) == 0 && strchr(id, '.') == NULL && strcmp(id, other) != 0,
	   "an id per step and op, without full stop");
	buf_fini(&secret);
}

static size_t errors_of(const char *text, enum definition_use use, const char *pointer)
{
	struct findings    f = { .arena = &arena };
	struct definition *d = definition_compile(str_of(text), use, STR("x"), &f);

	if (d == NULL && !str_is(f.items[0].pointer, pointer))
		printf("# %.*s\n", (int)f.items[0].pointer.n, f.items[0].pointer.p);
	definition_drop(d);
	return d == NULL && str_is(f.items[0].pointer, pointer) ? f.errors : 0;
}

static void check_literal(void)
{
#define LITERAL(headers) "{\"mode\":\"saga\",\"literal_headers\":" headers ",\"steps\":{\"a\":{\"action\":{\"url\":\"http://a\"}}}}"
	struct definition *d = compile(LITERAL("{\"X-A\":\"${gid} $${x\",\"x-empty\":\"\",\"X-Blank\":\"  \","
	                                       "\"accept\":\"text/x\",\"Content-TYPE\":\"\\u00fc\"}"));
	struct call_spec   spec = spec_of(d, 0, OP_TRY);
	struct call_text   t;
	struct err         err;

	ok(call_render(&spec, &rules, NULL, NULL, &arena, &t, &err), "a call with literal headers is rendered");
	ok(is(value_of(&t, "X-A"), "${gid} $${x"), "what looks like a template is none there");
	ok(is(value_of(&t, "x-empty"), ";") && is(value_of(&t, "X-Blank"), ";"), "empty ones are sent, as libcurl knows them");
	ok(is(value_of(&t, "Accept"), "text/x") && is(value_of(&t, "Content-Type"), "\xc3\xbc"),
	   "and take the place of the usual ones");
	definition_drop(d);
	ok(errors_of(LITERAL("{\"Saga-Id\":\"x\",\"a b\":\"\",\"c\":1,\"d\":\"\\n\"}"), DEFINITION_INLINE,
	             "/literal_headers/Saga-Id") == 4, "those of the coordinator, wrong names and values are errors");
	ok(errors_of(LITERAL("[]"), DEFINITION_INLINE, "/literal_headers") == 1, "and what is no object");
	ok(errors_of(LITERAL("{}"), DEFINITION_NAMED, "/literal_headers") == 1, "a definition that is registered has none");
#undef LITERAL
}

/* A document has 1 MiB, and what it says literally of headers is not counted. */
static void check_literal_room(void)
{
	struct buf         text = { 0 };
	struct findings    f = { .arena = &arena };
	struct definition *d;

	for (int long_is = 0; long_is < 2; long_is++) {
		buf_clear(&text);
		buf_fmt(&text, "{\"mode\":\"saga\",\"description\":\"%s", long_is == 0 ? "" : "x");
		while (long_is == 1 && text.n < DEFINITION_BYTES_MAX)
			buf_char(&text, 'x');
		buf_cstr(&text, "\",\"literal_headers\":{\"X-A\":\"");
		for (int i = 0; i <= DEFINITION_BYTES_MAX; i++)
			buf_char(&text, 'v');
		buf_cstr(&text, "\"},\"steps\":{\"a\":{\"action\":{\"url\":\"http://a\"}}}}");
		d = definition_compile(buf_view(&text), DEFINITION_INLINE, (struct str){ 0 }, &f);
		ok((d != NULL) == (long_is == 0), "%s", long_is == 0 ? "headers alone may be longer than that"
		                                                      : "all else may not");
		definition_drop(d);
	}
	buf_fini(&text);
}

int main(void)
{
	check_plain();
	check_headers();
	check_literal();
	check_literal_room();
	check_names();
	check_back_check();
	check_callback();
	check_webhook();
	arena_fini(&arena);
	return tap_done();
}
