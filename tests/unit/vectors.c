/* SPDX-License-Identifier: Apache-2.0
 * vectors.c - participants/vectors: what libraries for services are tested with holds for the
 * coordinator itself.
 */
#include "api/problem.h"
#include "coordinator/base/json.h"
#include "participants/call.h"
#include "participants/template.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

static struct arena arena;

/* ---- reading ----------------------------------------------------------------------------- */

static struct json *load(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char        path[4096];
	struct buf  text = { 0 };
	FILE       *f;
	size_t      n;

	snprintf(path, sizeof path, "%s/participants/vectors/%s", srcdir ? srcdir : ".", name);
	f = fopen(path, "r");
	if (f == NULL) {
		printf("Bail out! %s cannot be read\n", path);
		exit(1);
	}
	do {
		buf_reserve(&text, 1 << 16);
		n = fread(text.p + text.n, 1, 1 << 16, f);
		text.n += n;
	} while (n > 0);
	fclose(f);
	struct json *root = json_parse(arena_str(&arena, buf_view(&text)), &arena, NULL);
	buf_fini(&text);
	if (root == NULL) {
		printf("Bail out! %s is not JSON\n", path);
		exit(1);
	}
	return root;
}

/* The decoded text of a member; the empty slice where it is null or missing. */
static struct str text(const struct json *o, const char *name)
{
	const struct json *v = json_get(o, name);

	return v != NULL && v->type == JSON_STRING ? json_text(v, &arena) : (struct str){ 0 };
}

static int64_t number(const struct json *o, const char *name, int64_t missing)
{
	const struct json *v = json_get(o, name);
	int64_t            n;

	return v != NULL && json_i64(v, &n) ? n : missing;
}

static bool has(const struct json *o, const char *name)
{
	const struct json *v = json_get(o, name);

	return v != NULL && v->type != JSON_NULL;
}

static bool is_true(const struct json *o, const char *name)
{
	const struct json *v = json_get(o, name);

	return v != NULL && v->type == JSON_TRUE;
}

static const char *cstr(struct str s)
{
	return arena_str(&arena, s).p;
}

static enum op op_of(struct str name)
{
	static const enum op ops[] = { OP_TRY, OP_CONFIRM, OP_CANCEL, OP_CHECK };

	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
		if (str_is(name, op_name(ops[i])))
			return ops[i];
	printf("Bail out! %.*s is no op\n", (int)name.n, name.p);
	exit(1);
}

#define each(v, root, list) \
	const struct json *v = json_get(root, list)->first; v != NULL; v = v->next

/* ---- signatures.json ----------------------------------------------------------------------- */

static void check_secrets(const struct json *root)
{
	for (each(c, root, "secrets")) {
		struct buf bytes = { 0 };
		struct str want = text(c, "bytes");
		char       hex[512] = "";
		bool       good = webhook_secret(text(c, "text"), &bytes);

		if (good)
			digest_hex((const uint8_t *)bytes.p, bytes.n, hex);
		ok(good == has(c, "bytes") && (!good || str_is(want, hex)), "secret \"%s\"",
		   cstr(text(c, "text")));
		buf_fini(&bytes);
	}
}

static bool signs(struct str secret, struct str id, int64_t at_s, struct str body, struct str want)
{
	struct buf bytes = { 0 };
	char       sig[64];
	bool       good = webhook_secret(secret, &bytes);

	webhook_sign(buf_view(&bytes), id, at_s, body, sig);
	buf_fini(&bytes);
	return good && str_is(want, sig);
}

static void check_signatures(const struct json *root)
{
	for (each(c, root, "ids")) {
		char id[40];

		webhook_id(text(c, "gid"), text(c, "step"), op_of(text(c, "op")), id);
		ok(str_is(text(c, "id"), id), "webhook-id of %s", cstr(text(c, "gid")));
	}
	for (each(s, root, "sign"))
		ok(signs(text(s, "secret"), text(s, "id"), number(s, "timestamp_s", -1),
		         text(s, "body"), text(s, "signature")),
		   "signature of %s", cstr(text(s, "id")));
	for (each(b, root, "callbacks"))
		ok(callback_verify(text(b, "key"), text(b, "gid"), text(b, "step"),
		                   op_of(text(b, "op")), text(b, "sig")),
		   "callback of %s", cstr(text(b, "gid")));
}

/* Is one of the signatures what we would sign with one of these secrets? */
static bool any_signs(const struct json *c, const struct json *headers, int64_t at_s)
{
	struct str   list = text(headers, "webhook-signature");
	const char  *end = list.p + list.n;

	for (const char *p = list.p; p < end;) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		struct str  one = { p, (size_t)((space ? space : end) - p) };

		for (each(secret, c, "secrets"))
			if (signs(json_text(secret, &arena), text(headers, "webhook-id"), at_s,
			          text(c, "body"), one))
				return true;
		p += one.n + 1;
	}
	return false;
}

static const char *verify(const struct json *c)
{
	const struct json *headers = json_get(c, "headers");
	const int64_t      now_s = number(c, "now_s", 0);
	uint64_t           at_s;

	if (!has(headers, "webhook-id") || !has(headers, "webhook-timestamp") ||
	    !has(headers, "webhook-signature"))
		return "missing";
	if (!text_to_u64(text(headers, "webhook-timestamp"), &at_s) || at_s > INT64_MAX ||
	    llabs((int64_t)at_s - now_s) > 300)
		return "timestamp";
	return any_signs(c, headers, (int64_t)at_s) ? "ok" : "signature";
}

static void check_verify(const struct json *root)
{
	for (each(c, root, "verify"))
		ok(str_is(text(c, "result"), verify(c)), "%s: %s", cstr(text(c, "name")),
		   verify(c));
}

/* ---- headers.json ---------------------------------------------------------------------------- */

/* A case's own, else the one that all have; false: it has none. */
static bool wanted(const struct json *root, const struct json *c, const char *part,
                   const char *name, struct str *out)
{
	const struct json *own = json_get(json_get(c, part), name);
	const struct json *v = own != NULL ? own : json_get(json_get(root, part), name);

	if (v == NULL || v->type == JSON_NULL)
		return false;
	*out = v->type == JSON_STRING ? json_text(v, &arena) : v->raw;
	return true;
}

static struct definition *one_step(struct str step, enum op op)
{
	struct findings findings = { .arena = &arena };
	struct buf      doc = { 0 };

	if (op == OP_CHECK)
		buf_cstr(&doc, "{\"mode\":\"message\",\"deadline\":\"1m\","
		               "\"check\":{\"url\":\"http://a/\"},\"steps\":{\"a\":"
		               "{\"kind\":\"retriable\",\"action\":{\"url\":\"http://a/\"}}}}");
	else
		buf_fmt(&doc,
		        "{\"mode\":\"saga\",\"steps\":{\"%.*s\":{\"try\":{\"url\":\"http://a/\"},"
		        "\"confirm\":{\"url\":\"http://a/\"},\"cancel\":{\"url\":\"http://a/\"}}}}",
		        (int)step.n, step.p);
	struct str         kept = arena_str(&arena, buf_view(&doc));
	struct definition *d =
		definition_compile(kept, DEFINITION_INLINE, (struct str){ 0 }, &findings);

	buf_fini(&doc);
	if (d == NULL)
		printf("# %.*s does not compile\n", (int)kept.n, kept.p);
	return d;
}

static bool sends(const struct call_text *t, const char *name, bool some, struct str want)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < t->header_count; i++)
		if (strncmp(t->headers[i], name, n) == 0 && t->headers[i][n] == ':') {
			if (some && str_is(want, t->headers[i] + n + 2))
				return true;
			printf("# %s\n", t->headers[i]);
			return false;
		}
	if (some)
		printf("# no %s\n", name);
	return !some;
}

static bool render(const struct json *root, const struct json *c, struct call_text *out)
{
	const struct call_rules rules = { .callback_base = STR("https://sagad.example"),
		                          .callback_key = STR("key") };
	struct str              gid, step, op, v;
	struct err              err = { 0 };
	uint64_t                attempt = 0, epoch = 0;
	int64_t                 accepted = 0, deadline = 0;

	wanted(root, c, "call", "gid", &gid);
	wanted(root, c, "call", "step", &step);
	wanted(root, c, "call", "op", &op);
	if (wanted(root, c, "headers", "Saga-Accepted", &v) && !text_to_time(v, &accepted))
		return false;
	if (wanted(root, c, "headers", "Saga-Deadline", &v) && !text_to_time(v, &deadline))
		return false;
	wanted(root, c, "call", "attempt", &v);
	text_to_u64(v, &attempt);
	wanted(root, c, "call", "epoch", &v);
	text_to_u64(v, &epoch);
	struct definition *d = one_step(step, op_of(op));
	struct str         no_output = { 0 };
	struct call_spec   spec = {
		  .scope = { .def = d, .gid = gid, .now = accepted, .outputs = &no_output },
		  .step = op_of(op) == OP_CHECK ? TXN_CHECK : 0,
		  .op = op_of(op),
		  .attempt = (uint32_t)attempt,
		  .epoch = epoch,
		  .deadline_at = deadline,
		  .span = 0xab
	};
	bool good = d != NULL && call_render(&spec, &rules, NULL, NULL, &arena, out, &err);

	if (d != NULL)
		definition_drop(d);
	return good;
}

static void check_times(const struct json *root)
{
	for (each(c, root, "times")) {
		int64_t ms = 0;
		bool    good = text_to_time(text(c, "text"), &ms);

		ok(good == has(c, "ms") && (!good || ms == number(c, "ms", 0)), "times: %s: %s",
		   cstr(text(c, "name")), good ? "read" : "refused");
	}
}

static void check_headers(const struct json *root)
{
	struct call_text t;

	for (each(c, root, "cases")) {
		unsigned wrong = 0;

		if (!is_true(c, "sent"))
			continue;
		bool good = render(root, c, &t);
		for (const struct json *h = json_get(root, "headers")->first; good && h != NULL;
		     h = h->next) {
			struct str want = { 0 };
			bool       some = wanted(root, c, "headers", cstr(h->key), &want);

			if (!str_is(h->key, "traceparent") ||
			    !has(json_get(c, "headers"), "Saga-Id"))
				wrong += !sends(&t, cstr(h->key), some, want);
		}
		ok(good && wrong == 0, "we send: %s", cstr(text(c, "name")));
	}
}

/* ---- outcomes.json ----------------------------------------------------------------------- */

static struct definition *asked;

static bool learns(const struct json *c, enum op op, const struct call_reply *reply, int64_t now_ms)
{
	struct call_lesson l;

	call_learn(asked, op == OP_CHECK ? TXN_CHECK : 0, op, reply, now_ms, &l);
	bool good =
		str_is(text(c, "outcome"), outcome_name(l.outcome)) &&
		l.gone == is_true(c, "gone") && l.bare_conflict == is_true(c, "bare_conflict") &&
		l.stale_epoch == is_true(c, "stale_epoch") && str_eq(l.output, text(c, "output")) &&
		(!has(c, "error") || str_is(text(c, "error"), l.error)) &&
		(!has(c, "retry_after_ms") || l.retry_after_ms == number(c, "retry_after_ms", -1));

	if (!good)
		printf("# %s, output %.*s, %lld ms, \"%s\"\n", outcome_name(l.outcome),
		       (int)l.output.n, l.output.p, (long long)l.retry_after_ms, l.error);
	return good;
}

static void check_outcomes(const struct json *root)
{
	const int64_t now_ms = number(root, "now_ms", 0);

	asked = one_step(STR("a"), OP_TRY);
	for (each(c, root, "cases")) {
		struct call_reply reply = { .status = (int)number(c, "status", -1),
			                    .body = text(c, "body"),
			                    .saga_outcome = text(c, "saga_outcome"),
			                    .retry_after = text(c, "retry_after") };

		ok(learns(c, op_of(text(c, "op")), &reply, now_ms), "%s", cstr(text(c, "name")));
	}
	for (each(a, root, "answers")) {
		const struct json *body = json_get(a, "body");
		struct call_reply  reply = { .status = (int)number(a, "status", -1),
			                     .retry_after =
			                             text(json_get(a, "headers"), "Retry-After") };
		struct call_lesson l;

		if (body != NULL)
			reply.body =
				body->type == JSON_STRING ? json_text(body, &arena) : body->raw;
		call_learn(asked, 0, op_of(text(a, "op")), &reply, now_ms, &l);
		ok(str_is(text(a, "outcome"), outcome_name(l.outcome)) &&
		           (!has(a, "retry_after_s") ||
		            l.retry_after_ms == 1000 * number(a, "retry_after_s", -1)),
		   "an answer teaches: %s: %s", cstr(text(a, "name")), outcome_name(l.outcome));
	}
	definition_drop(asked);
}

/* ---- templates.json ---------------------------------------------------------------------- */

static int find_step(void *ctx, struct str name)
{
	int i = 0;

	for (each(step, (const struct json *)ctx, "outputs"), i++)
		if (str_eq(step->key, name))
			return i;
	return -1;
}

static struct buf said;

static void report(void *ctx, const struct json *node, const char *sentence)
{
	(void)ctx, (void)node;
	buf_fmt(&said, "%s%s", said.n ? "; " : "", sentence);
}

static void reads(void *ctx, const struct json *node, int step, bool defaulted)
{
	(void)ctx, (void)node, (void)step, (void)defaulted;
}

static struct template *compile(struct json *root, const struct json *c,
                                struct template_paths *paths)
{
	struct template_compiler compiler = { .arena = &arena,
		                              .paths = paths,
		                              .step = find_step,
		                              .report = report,
		                              .reads = reads,
		                              .ctx = root };
	struct str               place = text(c, "place"), source = text(c, "template");

	buf_clear(&said);
	if (str_is(place, "json"))
		return template_of_json(&compiler, json_parse(source, &arena, NULL));
	return template_of_text(&compiler, NULL, source,
	                        str_is(place, "path") ? TEMPLATE_PATH : TEMPLATE_HEADER);
}

static void check_fill(struct json *root, const struct json *c)
{
	struct template_paths paths = { 0 };
	struct str            outputs[8] = { 0 };
	struct buf            out = { 0 };
	struct err            err = { 0 };
	size_t                n = 0;

	for (each(step, root, "outputs"))
		outputs[n++] =
			step->type == JSON_STRING ? json_text(step, &arena) : (struct str){ 0 };
	struct template_sources sources = { .input = text(root, "input"),
		                            .outputs = outputs,
		                            .output_n = n,
		                            .gid = text(root, "gid"),
		                            .definition = text(root, "definition"),
		                            .now = number(root, "now_ms", 0) };
	struct template *t = compile(root, c, &paths);
	bool             filled = said.n == 0 &&
	              template_fill(t, template_find(&paths, &sources, &arena), &arena, &out, &err);

	if (is_true(c, "fails"))
		ok(said.n == 0 && !filled && err.kind == ERR_INVALID, "no: %s: %s",
		   cstr(text(c, "name")), err.text);
	else
		ok(filled && str_eq(buf_view(&out), text(c, "becomes")), "%s: %s",
		   cstr(text(c, "name")),
		   filled   ? (out.p ? out.p : "")
		   : said.n ? said.p
		            : err.text);
	buf_fini(&out);
}

static void check_templates(struct json *root)
{
	for (each(c, root, "cases"))
		check_fill(root, c);
	for (each(w, root, "wrong")) {
		struct template_paths paths = { 0 };

		compile(root, w, &paths);
		ok(said.n > 0 && strstr(said.p, cstr(text(w, "says"))) != NULL, "refused: %s: %s",
		   cstr(text(w, "name")), said.n > 0 ? said.p : "it compiled");
	}
}

/* ---- problems.json ----------------------------------------------------------------------- */

static void check_problems(const struct json *root)
{
	const struct json *codes = json_get(root, "codes");

	ok(codes->n == PROBLEM_COUNT, "%u codes, we have %u", codes->n, (unsigned)PROBLEM_COUNT);
	for (each(c, root, "codes")) {
		enum problem p;
		bool         known = problem_find(text(c, "code"), &p);

		ok(known && problem_fact(p)->status == number(c, "status", 0) &&
		           problem_fact(p)->retryable == is_true(c, "retryable"),
		   "%s", cstr(text(c, "code")));
	}
}

int main(void)
{
	struct json *signatures = load("signatures.json");

	check_secrets(signatures);
	check_signatures(signatures);
	check_verify(signatures);
	check_headers(load("headers.json"));
	check_times(load("headers.json"));
	check_outcomes(load("outcomes.json"));
	check_templates(load("templates.json"));
	check_problems(load("problems.json"));
	buf_fini(&said);
	arena_fini(&arena);
	return tap_done();
}
