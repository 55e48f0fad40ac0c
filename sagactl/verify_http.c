/* SPDX-License-Identifier: Apache-2.0
 * verify_http.c - several calls at once, by libcurl's multi interface; what an answer teaches is
 * participants/call.h's.
 */
#include "sagactl/verify.h"

#include "coordinator/base/json.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { BODY_MAX = 1 << 20, OLD_S = 3600 };

struct exchange {
	struct verify_call *call; /* NULL: of the state */
	struct buf         *body;
	CURL               *curl;
	struct curl_slist  *headers;
	struct call_text    text;
	bool                too_big;
};

int64_t verify_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- answers ------------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;

	if (x->body->n + size * n > BODY_MAX) {
		x->too_big = true;
		return 0;
	}
	buf_add(x->body, bytes, size * n);
	return size * n;
}

static void keep_value(const char *line, size_t n, const char *name, char *out, size_t size)
{
	const size_t m = strlen(name);

	if (n < m || strncasecmp(line, name, m) != 0)
		return;
	while (n > m && strchr(" \t\r\n", line[n - 1]) != NULL)
		n--;
	size_t at = m;
	while (at < n && (line[at] == ' ' || line[at] == '\t'))
		at++;
	str_cstr((struct str){ line + at, n - at }, out, size);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;

	if (x->call != NULL) {
		keep_value(line, size * n, "Saga-Outcome:", x->call->saga_outcome,
		           sizeof x->call->saga_outcome);
		keep_value(line, size * n, "Retry-After:", x->call->retry_after,
		           sizeof x->call->retry_after);
	}
	return size * n;
}

static void learn(struct verify *v, struct exchange *x, CURLcode result)
{
	struct verify_call *c = x->call;
	long                status = 0;

	if (result == CURLE_OK || x->too_big)
		curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	c->status = (int)status;
	if (result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST)
		snprintf(v->failure, sizeof v->failure, "%.*s: %s", (int)x->text.url.n,
		         x->text.url.p, curl_easy_strerror(result));
	const struct call_reply reply = { .status = c->status,
		                          .saga_outcome = str_of(c->saga_outcome),
		                          .retry_after = str_of(c->retry_after),
		                          .body = buf_view(x->body),
		                          .body_too_big = x->too_big,
		                          .failure = str_of(curl_easy_strerror(result)) };
	call_learn(v->def, 0, c->op, &reply, verify_now_ms(), &c->lesson);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void add_header(struct exchange *x, const char *line)
{
	struct curl_slist *longer = curl_slist_append(x->headers, line);

	if (longer == NULL)
		abort();
	x->headers = longer;
}

static const char *step_of(const struct verify_call *c)
{
	return c->step != NULL ? c->step : "verify";
}

/* The webhook-id of the call, or of the one that its signature is taken from. */
static void signed_id(const struct verify_call *c, char out[40])
{
	char gid[140];

	snprintf(gid, sizeof gid, "%s%s", c->gid, c->flaw == FLAW_OF_GID ? "-other" : "");
	webhook_id(str_of(gid), c->flaw == FLAW_OF_STEP ? STR("other") : str_of(step_of(c)),
	           c->flaw == FLAW_OF_OP ? OP_CANCEL : c->op, out);
}

static void add_signature(struct verify *v, struct exchange *x, struct str body)
{
	const struct verify_call *c = x->call;
	int64_t                   at_s = verify_now_ms() / 1000 - (c->flaw == FLAW_OLD ? OLD_S : 0);
	char                      id[40], signature[64], line[128];

	if (v->secret.n == 0 || c->flaw == FLAW_UNSIGNED)
		return;
	signed_id(c, id);
	webhook_sign(c->flaw == FLAW_SIGNATURE ? STR("nobody has this secret")
	                                       : buf_view(&v->secret),
	             str_of(id), at_s, body, signature);
	snprintf(line, sizeof line, "webhook-id: %s", id);
	add_header(x, line);
	snprintf(line, sizeof line, "webhook-timestamp: %lld", (long long)at_s);
	add_header(x, line);
	snprintf(line, sizeof line, "webhook-signature: %s", signature);
	add_header(x, line);
}

static bool is_header(const char *line, const char *name)
{
	return strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
}

/* A second step is called by the definition of the first, since URLs name steps.verify.output. */
static const char *of_step(const struct verify_call *c, const char *line, char out[400])
{
	if (c->step != NULL && is_header(line, "Saga-Step"))
		snprintf(out, 400, "Saga-Step: %s", c->step);
	else if (c->step != NULL && is_header(line, "Idempotency-Key"))
		snprintf(out, 400, "Idempotency-Key: \"%s:%s:%s\"", c->gid, c->step,
		         op_name(c->op));
	else
		return line;
	return out;
}

static void add_headers(struct verify *v, struct exchange *x)
{
	for (size_t i = 0; i < x->text.header_count; i++) {
		char        other[400];
		const char *line = of_step(x->call, x->text.headers[i], other);

		if (x->call->flaw == FLAW_NO_ID &&
		    (is_header(line, "Saga-Id") || is_header(line, "Idempotency-Key")))
			continue;
		if (x->call->flaw == FLAW_OP && is_header(line, "Saga-Op"))
			line = "Saga-Op: explode";
		if (x->call->flaw == FLAW_TIME && is_header(line, "Saga-Deadline"))
			line = "Saga-Deadline: 2099-02-30T24:00:60Z";
		add_header(x, line);
	}
	if (x->call->flaw == FLAW_TWO_IDS)
		add_header(x, "Saga-Id: verify-other");
	if (x->call->flaw == FLAW_TWO_OPS)
		add_header(x, "Saga-Op: cancel");
	if (x->call->flaw == FLAW_TWO_EPOCHS)
		add_header(x, "Saga-Epoch: 9");
	add_header(x, "Expect:");
	if (x->call->flaw == FLAW_METHOD) {
		x->text.method = STR("GET");
		x->text.body = STR("");
	}
	add_signature(v, x, x->text.body);
}

static bool render(struct verify *v, struct exchange *x)
{
	const struct verify_call *c = x->call;
	const struct call_rules   rules = { 0 };
	const struct call_spec    spec = { .scope = { .def = v->def,
		                                      .gid = str_of(c->gid),
		                                      .now = v->accepted_ms,
		                                      .input = str_of(c->input != NULL ? c->input
		                                                                       : v->input),
		                                      .outputs = &v->output },
		                           .op = c->op,
		                           .attempt = c->attempt,
		                           .epoch = c->epoch,
		                           .deadline_at = v->accepted_ms + 600000,
		                           .span = 1 };
	struct err                err;

	if (call_render(&spec, &rules, NULL, NULL, &v->arena, &x->text, &err))
		return true;
	snprintf(x->call->lesson.error, sizeof x->call->lesson.error, "%.199s", err.text);
	x->call->lesson.outcome = OUTCOME_MISCONFIGURED;
	return false;
}

static void set_up(struct verify *v, struct exchange *x, const char *url, uint32_t timeout_ms)
{
	x->curl = curl_easy_init();
	if (x->curl == NULL)
		abort();
	curl_easy_setopt(x->curl, CURLOPT_URL, url);
	curl_easy_setopt(x->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(x->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(x->curl, CURLOPT_NOSIGNAL, 1L);
	if (v->cacert != NULL)
		curl_easy_setopt(x->curl, CURLOPT_CAINFO, v->cacert);
	curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(x->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(x->curl, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(x->curl, CURLOPT_PRIVATE, x);
}

static void begin(struct verify *v, struct exchange *x)
{
	add_headers(v, x);
	set_up(v, x, x->text.url.p, x->call->timeout_ms != 0 ? x->call->timeout_ms : v->timeout_ms);
	curl_easy_setopt(x->curl, CURLOPT_CUSTOMREQUEST, x->text.method.p);
	curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, x->headers);
	curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->text.body.n);
	curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, x->text.body.n > 0 ? x->text.body.p : "");
	curl_multi_add_handle(v->multi, x->curl);
	v->calls++;
}

static void end(struct verify *v, struct exchange *x)
{
	if (x->curl != NULL) {
		curl_multi_remove_handle(v->multi, x->curl);
		curl_easy_cleanup(x->curl);
	}
	curl_slist_free_all(x->headers);
}

void verify_exchange(struct verify *v, struct verify_call *calls, size_t n)
{
	struct exchange x[VERIFY_AT_ONCE_MAX] = { 0 };
	int             running = 1, left;
	CURLMsg        *msg;

	for (size_t i = 0; i < n; i++) {
		x[i].call = &calls[i];
		x[i].body = &calls[i].body;
		if (render(v, &x[i]))
			begin(v, &x[i]);
	}
	while (running > 0) {
		curl_multi_perform(v->multi, &running);
		while ((msg = curl_multi_info_read(v->multi, &left)) != NULL) {
			struct exchange *done;

			curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&done);
			learn(v, done, msg->data.result);
		}
		if (running > 0)
			curl_multi_poll(v->multi, NULL, 0, 1000, NULL);
	}
	for (size_t i = 0; i < n; i++)
		end(v, &x[i]);
}

/* The part of the document that a JSON Pointer names. Names with ~ or / in them cannot be told. */
static const struct json *part(const struct json *node, const char *pointer)
{
	while (node != NULL && *pointer == '/') {
		const size_t     n = strcspn(++pointer, "/");
		const struct str name = { pointer, n };
		uint64_t         index;

		if (node->type == JSON_ARRAY)
			node = text_to_u64(name, &index) ? json_at(node, index) : NULL;
		else
			node = json_find(node, name);
		pointer += n;
	}
	return node;
}

/* Of a URL with a fragment only the part that the fragment points at. */
static bool cut_state(struct buf *out, const char *pointer)
{
	struct arena       arena = { 0 };
	struct buf         copy = { 0 };
	const struct json *node;

	buf_str(&copy, buf_view(out));
	node = part(json_parse(buf_view(&copy), &arena, NULL), pointer);
	buf_clear(out);
	if (node != NULL)
		buf_str(out, node->raw);
	buf_fini(&copy);
	arena_fini(&arena);
	return node != NULL;
}

bool verify_state(struct verify *v, struct buf *out)
{
	const char     *pointer = strchr(v->state_url, '#');
	struct exchange x = { .body = out };
	long            status = 0;

	buf_clear(out);
	set_up(v, &x, v->state_url, v->timeout_ms); /* libcurl sends no fragment */
	bool got = curl_easy_perform(x.curl) == CURLE_OK;
	curl_easy_getinfo(x.curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(x.curl);
	return got && status >= 200 && status <= 299 &&
	       (pointer == NULL || cut_state(out, pointer + 1));
}

bool verify_http_open(struct verify *v)
{
	v->multi = curl_multi_init();
	return v->multi != NULL;
}

void verify_http_close(struct verify *v)
{
	if (v->multi != NULL)
		curl_multi_cleanup(v->multi);
}
