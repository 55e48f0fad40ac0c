/* SPDX-License-Identifier: Apache-2.0
 * document.c - what the documents of all kinds have in common: calls, and how answers are read.
 */
#include "api/dtm/dtm.h"

#include "coordinator/base/table.h"
#include "participants/definition_call.h"

#include <string.h>
#include <strings.h>

enum {
	TIMEOUT_TO_FAIL_S = 35, /* DTM's default, in seconds of the protocol */
	/* By the wall clock: where the client sets none, but says that it is in a hurry. */
	REQUEST_TIMEOUT_MS = 30000,
	TIMEOUT_MIN_MS = 10,
	TIMEOUT_MAX_MS = 600000,
	USUAL_BYTES = 2000, /* a document with two steps has room */
	INTERVAL_MIN_MS = 10,
	INTERVAL_MAX_MS = 3600 * 1000,
	BACKOFF_MAX_MS = 60000,
	LIMITED_INITIAL_MS = 100 /* of retries that are counted: DTM makes no pause between them */
};

static int64_t between(int64_t v, int64_t min, int64_t max)
{
	return v < min ? min : v > max ? max : v;
}

/* ---- payloads ---------------------------------------------------------------------------- */

size_t dtm_payload_count(const struct dtm_trans *t)
{
	return t->steps != NULL ? t->steps->n : 0;
}

/* Old clients put it into the step. */
const struct json *dtm_payload(const struct dtm_trans *t, size_t i)
{
	return t->payloads != NULL ? json_at(t->payloads, i)
	                           : dtm_member(json_at(t->steps, i), "data");
}

/* What is no text goes out as JSON. */
static struct str payload_text(struct request *r, const struct json *payload)
{
	return payload->type == JSON_STRING ? json_text(payload, request_arena(r)) : payload->raw;
}

static bool is_empty(const struct json *payload)
{
	return payload == NULL || payload->type == JSON_NULL ||
	       (payload->type == JSON_STRING && payload->raw.n == 2);
}

struct str dtm_payload_text(struct request *r, size_t i)
{
	const struct json *payload = dtm_payload(&dtm_of(r)->trans, i);

	return is_empty(payload) ? (struct str){ 0 } : payload_text(r, payload);
}

/* ---- URLs -------------------------------------------------------------------------------- */

/* Brackets only around an address. */
static bool may_stand_in_url(unsigned char c, bool in_path)
{
	if (c == '[' || c == ']')
		return !in_path;
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("%-._~!$&'()*+,;=:@/?", c) != NULL);
}

static char lower_of(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without its fragment, its scheme in small letters; a byte that no URL has is encoded, a brace
 * of ours with it. */
static void write_plain_url(struct str url, struct buf *out)
{
	static const char HEX[] = "0123456789ABCDEF";
	unsigned          slashes = 0;

	for (size_t i = 0; i < url.n && url.p[i] != '#'; i++) {
		unsigned char c = (unsigned char)url.p[i];

		slashes += c == '/';
		if (may_stand_in_url(c, slashes > 2)) {
			buf_char(out, slashes == 0 ? lower_of((char)c) : (char)c);
			continue;
		}
		buf_char(out, '%');
		buf_char(out, HEX[c >> 4]);
		buf_char(out, HEX[c & 15]);
	}
}

static void write_param(const char *name, struct str value, struct buf *out)
{
	buf_cstr(out, name);
	percent_encode(value, out);
}

static void write_url(struct request *r, const struct dtm_call *call, struct buf *out)
{
	const char *kind = dtm_kind_name(dtm_of(r)->trans.kind);
	struct buf  url = { 0 };

	buf_reserve(&url, call->url.n + r->gid.n + 80);
	write_plain_url(call->url, &url);
	buf_char(&url, url.n > 0 && memchr(url.p, '?', url.n) ? '&' : '?');
	write_param("branch_id=", call->branch_id, &url);
	write_param("&gid=", r->gid, &url);
	write_param("&op=", call->op, &url);
	write_param("&trans_type=", str_of(kind), &url);
	buf_json(out, buf_view(&url));
	buf_fini(&url);
}

/* ---- bodies ------------------------------------------------------------------------------ */

/* A text in which nothing is a template of ours. */
static void write_literal(struct str text, struct buf *out)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '$' && i + 1 < text.n && text.p[i + 1] == '{')
			buf_char(&b, '$');
		buf_char(&b, text.p[i]);
	}
	buf_json(out, buf_view(&b));
	buf_fini(&b);
}

/* The parameter `method` of a URL's query, as it stands there. */
static bool find_method(struct str url, struct str *method)
{
	static const char NAME[] = "method=";

	for (size_t i = 1; i + sizeof NAME - 1 <= url.n; i++) {
		if ((url.p[i - 1] != '?' && url.p[i - 1] != '&') ||
		    memcmp(url.p + i, NAME, sizeof NAME - 1) != 0)
			continue;
		size_t start = i + sizeof NAME - 1, end = start;

		while (end < url.n && url.p[end] != '&' && url.p[end] != '#')
			end++;
		*method = (struct str){ url.p + start, end - start };
		return true;
	}
	return false;
}

static bool is_json_rpc(struct request *r, const struct dtm_call *call, struct str *method)
{
	struct str encoded;

	return str_is(dtm_of(r)->trans.protocol, "json-rpc") && find_method(call->url, &encoded) &&
	       percent_decode(encoded, request_arena(r), method);
}

static void write_rpc_params(struct request *r, const struct dtm_call *call, struct buf *out)
{
	struct json_error  err;
	struct str text = is_empty(call->payload) ? STR("{}") : payload_text(r, call->payload);
	const struct json *params = json_parse(text, request_arena(r), &err);

	buf_char(out, '{');
	for (const struct json *m = params && params->type == JSON_OBJECT ? params->first : NULL; m;
	     m = m->next) {
		if (str_is(m->key, "gid") || str_is(m->key, "trans_type") ||
		    str_is(m->key, "branch_id") || str_is(m->key, "op"))
			continue;
		buf_json(out, m->key);
		buf_char(out, ':');
		buf_str(out, m->raw);
		buf_char(out, ',');
	}
	buf_cstr(out, "\"gid\":");
	buf_json(out, r->gid);
	buf_fmt(out, ",\"trans_type\":\"%s\",\"branch_id\":", dtm_kind_name(dtm_of(r)->trans.kind));
	buf_json(out, call->branch_id);
	buf_cstr(out, ",\"op\":");
	buf_json(out, call->op);
	buf_char(out, '}');
}

static void write_rpc(struct request *r, const struct dtm_call *call, struct str method,
                      struct buf *out)
{
	struct buf b = { 0 };

	buf_cstr(&b, "{\"jsonrpc\":\"2.0\",\"id\":");
	buf_json(&b, call->branch_id);
	buf_cstr(&b, ",\"method\":");
	buf_json(&b, method);
	buf_cstr(&b, ",\"params\":");
	write_rpc_params(r, call, &b);
	buf_char(&b, '}');
	buf_cstr(out, ",\"body_text\":");
	write_literal(buf_view(&b), out);
	buf_fini(&b);
}

static void write_body(struct request *r, const struct dtm_call *call, struct buf *out)
{
	struct str method;

	if (is_json_rpc(r, call, &method))
		write_rpc(r, call, method, out);
	else if (is_empty(call->payload))
		buf_cstr(out, call->post ? ",\"body_text\":\"\"" : ",\"method\":\"GET\"");
	else if (call->payload_at >= 0) {
		buf_cstr(out, ",\"body_text\":\"${input.payloads[");
		buf_u64(out, (uint64_t)call->payload_at);
		buf_cstr(out, "]}\"");
	} else {
		buf_cstr(out, ",\"body_text\":");
		write_literal(payload_text(r, call->payload), out);
	}
}

void dtm_write_call(struct request *r, const struct dtm_call *call, struct buf *out)
{
	struct str method;

	if (call->url.n == 0) {
		buf_cstr(out, "{\"nothing\":true}");
		return;
	}
	buf_cstr(out, "{\"url\":");
	write_url(r, call, out);
	write_body(r, call, out);
	if (str_is(dtm_of(r)->trans.protocol, "json-rpc") && !call->reads_own &&
	    !is_json_rpc(r, call, &method))
		buf_cstr(out, ",\"members\":{}"); /* plain HTTP: its answers are texts */
	buf_char(out, '}');
}

/* ---- the head ---------------------------------------------------------------------------- */

struct named { /* by its name in small letters */
	struct table_node  node;
	const struct json *header; /* NULL: one that came later counts */
};

/* Names differ by more than the case of letters; of those that do not the last one counts, as of all
 * members. */
static struct named *find_last(struct request *r, const struct json *headers)
{
	struct clock_port *clock = &r->api->ports.clock;
	struct table       names = { .seed = clock->random(clock->ctx) };
	struct named      *all = arena_array(request_arena(r), headers->n, sizeof *all), *next = all;

	for (const struct json *h = headers->first; h != NULL; h = h->next) {
		char              *key = arena_alloc(request_arena(r), h->key.n);
		struct str         name = { key, h->key.n };
		struct table_node *before;

		if (h->type != JSON_STRING || definition_header_is_ours(h->key))
			continue;
		for (size_t i = 0; i < name.n; i++)
			key[i] = lower_of(h->key.p[i]);
		before = table_get(&names, name);
		if (before != NULL) {
			table_remove(&names, before);
			table_entry(before, struct named, node)->header = NULL;
		}
		next->header = h;
		table_put(&names, &next++->node, name);
	}
	table_fini(&names);
	return all;
}

/* The coordinator's own are left out; DTM's clients send none of them. */
static void write_headers(struct request *r, const struct dtm_trans *t, struct buf *out)
{
	const size_t  n = t->headers != NULL ? t->headers->n : 0;
	struct named *all = n > 0 ? find_last(r, t->headers) : NULL;
	bool          has_type = false;

	buf_cstr(out, ",\"literal_headers\":{");
	for (size_t i = 0; i < n; i++) {
		const struct json *h = all[i].header;

		if (h == NULL)
			continue;
		has_type |= h->key.n == 12 && strncasecmp(h->key.p, "content-type", 12) == 0;
		buf_json(out, h->key);
		buf_char(out, ':');
		buf_str(out, h->raw);
		buf_char(out, ',');
	}
	if (has_type)
		out->n--;
	else
		buf_cstr(out, "\"Content-Type\":\"application/json\"");
	buf_char(out, '}');
}

static void write_duration(const char *name, int64_t ms, struct buf *out)
{
	char text[32];

	buf_cstr(out, ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":\"");
	buf_cstr(out, text_of_ms(ms, text));
	buf_char(out, '"');
}

/* Only of a saga are retries counted: the others have no way back, and would wait for a person. */
static uint64_t retries_of(const struct dtm_trans *t)
{
	return t->kind == DTM_SAGA ? t->retry_limit : 0;
}

/* Between a call that taught nothing and the next one. */
static int64_t first_pause_ms(const struct dtm_trans *t, int64_t base)
{
	return retries_of(t) > 0 && base > LIMITED_INITIAL_MS ? LIMITED_INITIAL_MS : base;
}

/* How long an answer is waited for at most, while the connection lives. DTM gives up after 3 s and
 * calls again beside the call that still runs; nobody can stop one, so that ours are waited for:
 * long, unless retries are counted, or a saga is to be rolled back when its time is over, for which
 * its calls have to end. DTM's pause behind a call that was too slow for the client's own limit is
 * twice the interval, and what is answered in it is lost. Here its first half is waited for the
 * answer, too: a call that takes so much longer than the client thought is made once, and where it
 * must be made again that is no later than there. */
static int64_t patience_of_call_ms(const struct dtm_trans *t, int64_t base)
{
	if (t->request_timeout > 0)
		return between(t->request_timeout + first_pause_ms(t, base), TIMEOUT_MIN_MS,
		               TIMEOUT_MAX_MS);
	if (retries_of(t) > 0)
		return REQUEST_TIMEOUT_MS;
	if (t->kind == DTM_SAGA && t->timeout_to_fail > 0)
		return between(t->timeout_to_fail, REQUEST_TIMEOUT_MS, TIMEOUT_MAX_MS);
	return TIMEOUT_MAX_MS;
}

/* DTM doubles without end; we stop at a minute, or at the interval that was asked for. */
static void write_retry(const struct dtm_trans *t, int64_t base, struct buf *out)
{
	const uint64_t limit = retries_of(t);
	char           text[32];

	buf_cstr(out, ",\"retry\":{\"initial\":\"");
	buf_cstr(out, text_of_ms(first_pause_ms(t, base), text));
	buf_cstr(out, "\",\"factor\":2,\"max\":\"");
	buf_cstr(out, text_of_ms(base > BACKOFF_MAX_MS ? base : BACKOFF_MAX_MS, text));
	buf_cstr(out, "\",\"jitter\":\"none\"");
	if (limit > 0)
		buf_fmt(out, ",\"attempts\":%llu", (unsigned long long)limit + 1);
	buf_char(out, '}');
}

/* Words count before members, and both before the status; what stands first here before what comes
 * behind it. JSON-RPC has its own "no" in the body, with status 200. */
static void write_answers(const struct dtm_trans *t, struct buf *out)
{
	buf_cstr(out, ",\"outcomes\":{\"200\":\"ok\",\"425\":\"ongoing\",\"409\":\"refused\","
	              "\"*\":\"unknown\"},\"words\":{");
	buf_cstr(out, "\"ONGOING\":\"ongoing\",\"FAILURE\":\"refused\"}");
	if (str_is(t->protocol, "json-rpc"))
		buf_cstr(out, ",\"members\":{\"/error/code\":{\"-32901\":\"refused\","
		              "\"-32902\":\"ongoing\"},\"/error\":{\"*\":\"unknown\"}}");
}

int64_t dtm_interval_ms(const struct request *r, const struct dtm_trans *t)
{
	int64_t base = t->retry_interval;

	if (base == 0) {
		base = DTM_RETRY_INTERVAL_S * r->api->config.dtm_second_ms;
		if (t->timeout_to_fail > 0 && t->timeout_to_fail < base)
			base = t->timeout_to_fail;
	}
	return between(base, INTERVAL_MIN_MS, INTERVAL_MAX_MS);
}

int64_t dtm_patience_ms(const struct request *r, const struct dtm_trans *t)
{
	return t->timeout_to_fail > 0 ? t->timeout_to_fail
	                              : TIMEOUT_TO_FAIL_S * r->api->config.dtm_second_ms;
}

void dtm_write_head(struct request *r, const char *mode, int64_t deadline_ms, struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const int64_t           base = dtm_interval_ms(r, t);
	char                    poll[32];

	buf_reserve(out, USUAL_BYTES);
	buf_cstr(out, "{\"mode\":\"");
	buf_cstr(out, mode);
	buf_char(out, '"');
	if (deadline_ms > 0)
		write_duration("deadline", deadline_ms, out);
	buf_cstr(out, ",\"max_parallel\":");
	buf_u64(out, TXN_STEPS_MAX);
	buf_cstr(out, ",\"defaults\":{\"poll\":\"");
	buf_cstr(out, text_of_ms(base, poll));
	buf_char(out, '"');
	write_duration("timeout", patience_of_call_ms(t, base), out);
	write_retry(t, base, out);
	write_answers(t, out);
	buf_char(out, '}');
	write_headers(r, t, out);
}

/* ---- the input --------------------------------------------------------------------------- */

static void write_raw(const char *name, const struct json *value, struct buf *out)
{
	if (value == NULL)
		return;
	buf_cstr(out, out->p[out->n - 1] == '{' ? "\"" : ",\"");
	buf_cstr(out, name);
	buf_cstr(out, "\":");
	buf_str(out, value->raw);
}

/* In the order in which DTM's own answers have them; `concurrent` is always among them. */
static void write_options(struct request *r, struct buf *out)
{
	static const char *const NAMES[] = { "wait_result",    "timeout_to_fail", "request_timeout",
		                             "retry_interval", "branch_headers",  "retry_limit" };

	buf_cstr(out, ",\"options\":{\"concurrent\":");
	buf_cstr(out, dtm_of(r)->trans.concurrent ? "true" : "false");
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		write_raw(NAMES[i], dtm_member(r->body, NAMES[i]), out);
	buf_char(out, '}');
}

void dtm_write_input(struct request *r, struct buf *out)
{
	static const char *const NAMES[] = { "query_prepared", "custom_data", "protocol" };
	const struct dtm_trans  *t = &dtm_of(r)->trans;
	size_t                   n = dtm_payload_count(t);

	buf_reserve(out, r->x->body.n);
	buf_cstr(out, "{\"payloads\":[");
	for (size_t i = 0; i < n; i++) {
		const struct json *payload = dtm_payload(t, i);

		if (i > 0)
			buf_char(out, ',');
		if (is_empty(payload))
			buf_cstr(out, "\"\"");
		else if (payload->type == JSON_STRING)
			buf_str(out, payload->raw);
		else
			buf_json(out, payload->raw);
	}
	buf_char(out, ']');
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		write_raw(NAMES[i], dtm_member(r->body, NAMES[i]), out);
	write_options(r, out);
	buf_char(out, '}');
}
