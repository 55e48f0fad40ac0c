/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/otlp.h"

#include "coordinator/base/json.h"
#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BATCH_SPANS = 512,
	BATCH_BYTES = 1 << 20,
	BATCHES_MAX = 16,        /* 8192 spans, at most 16 MiB: a collector that is away costs no more */
	SEND_EVERY_MS = 1000,
	TIMEOUT_MS = 10000,
	BACKOFF_FIRST_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	TRIES_MAX = 10,
	RESPONSE_MAX = 64 << 10,
	HEADERS_MAX = 16
};

struct batch_of {
	struct list link;
	struct buf  text;        /* the request's body, from the head on */
	unsigned    spans, tries;
	char        instance[64];
	bool        closed;      /* the tail is written */
};

struct otlp {
	struct otlp_config config;
	struct http       *http;
	uv_timer_t         timer;
	char              *url, *header_text, host[256];
	const char        *headers[HEADERS_MAX];
	size_t             header_n;
	struct list        batches; /* oldest first; the last may take more */
	unsigned           batch_n;
	struct transfer   *transfer; /* of the oldest; NULL: none under way */
	uint32_t           backoff_ms;
	int64_t            not_before; /* uv_now */
	struct otlp_stats  stats;
	bool               complained, closing;
	uv_loop_t         *loop;
};

static void arm(struct otlp *o, uint64_t ms);

/* ---- what waits ---------------------------------------------------------------------------- */

static struct batch_of *oldest(const struct otlp *o)
{
	return list_is_empty(&o->batches) ? NULL : list_entry(o->batches.next, struct batch_of, link);
}

static void free_batch(struct otlp *o, struct batch_of *b)
{
	list_remove(&b->link);
	o->batch_n--;
	o->stats.queued -= b->spans;
	buf_fini(&b->text);
	free(b);
}

static struct batch_of *new_batch(struct otlp *o)
{
	struct batch_of *b = mem_alloc(sizeof *b);

	snprintf(b->instance, sizeof b->instance, "%s", o->config.instance);
	span_write_head(&b->text, &(struct span_resource){ str_of(b->instance), str_of(o->host), o->config.version,
	                                                   (long)getpid() });
	list_push(&o->batches, &b->link);
	o->batch_n++;
	arm(o, SEND_EVERY_MS);
	return b;
}

static void close_batch(struct batch_of *b)
{
	if (!b->closed)
		span_write_tail(&b->text);
	b->closed = true;
}

/* Where the next span goes; NULL: there is no room. */
static struct buf *room(struct otlp *o)
{
	struct batch_of *last = oldest(o) != NULL ? list_entry(o->batches.prev, struct batch_of, link) : NULL;

	if (last != NULL && (last->closed || last->spans >= BATCH_SPANS || last->text.n >= BATCH_BYTES ||
	                     strcmp(last->instance, o->config.instance) != 0)) {
		close_batch(last);
		last = NULL;
	}
	if (last == NULL && o->batch_n >= BATCHES_MAX) {
		o->stats.dropped++;
		return NULL;
	}
	if (last == NULL)
		last = new_batch(o);
	if (last->spans++ > 0)
		buf_char(&last->text, ',');
	o->stats.queued++;
	return &last->text;
}

/* NULL: this trace is not recorded, or there is no room. */
static struct buf *begin(struct otlp *o, struct str gid, struct str traceparent, struct trace *t)
{
	trace_of(gid, traceparent, t);
	return !o->closing && trace_is_recorded(t, &o->config.rules) ? room(o) : NULL;
}

void otlp_attempt(struct otlp *o, struct str traceparent, const struct span_attempt *a)
{
	struct trace t;
	struct buf  *out = begin(o, a->gid, traceparent, &t);

	if (out != NULL)
		span_write_attempt(out, &t, a);
}

void otlp_ended(struct otlp *o, const struct row *row, const struct txn *txn)
{
	struct trace t;
	struct buf  *out = begin(o, row->gid, row->traceparent, &t);

	if (out != NULL)
		span_write_ended(out, &t, row, txn);
}

void otlp_adopted(struct otlp *o, const struct row *row, struct uuid from, const struct trace_call *calls, size_t n)
{
	struct trace t;
	struct buf  *out = begin(o, row->gid, row->traceparent, &t);

	if (out != NULL)
		span_write_adopted(out, &t, row, from, o->config.clock.now_ms(o->config.clock.ctx), calls, n);
}

/* ---- sending ---------------------------------------------------------------------------------- */

static bool may_succeed_later(int status)
{
	return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* One line when it begins to fail and one when it is over. */
static void complain(struct otlp *o, const struct call_reply *reply, const char *what)
{
	struct buf b = { 0 };

	if (o->complained)
		return;
	o->complained = true;
	buf_fmt(&b, "endpoint=%s status=%d error=\"%.*s\"", o->url, reply->status, (int)reply->failure.n,
	        reply->failure.p != NULL ? reply->failure.p : "");
	o->config.trace.line(o->config.trace.ctx, TRACE_WARN, what, (struct str){ 0 }, b.p);
	buf_fini(&b);
}

/* What was taken may be less than all of it. */
static uint64_t rejected_spans(struct str body)
{
	struct arena       arena = { 0 };
	struct json_error  err;
	const struct json *root = json_parse(body, &arena, &err), *partial = root ? json_get(root, "partialSuccess") : NULL;
	const struct json *n = partial ? json_get(partial, "rejectedSpans") : NULL;
	uint64_t           v = 0;

	if (n != NULL && n->type == JSON_STRING)
		text_to_u64(json_text(n, &arena), &v);
	else if (n != NULL)
		json_u64(n, &v);
	arena_fini(&arena);
	return v;
}

static void put_off(struct otlp *o, const struct call_reply *reply)
{
	uint64_t seconds;
	uint64_t ms;

	o->backoff_ms = o->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * o->backoff_ms;
	if (o->backoff_ms > BACKOFF_MAX_MS)
		o->backoff_ms = BACKOFF_MAX_MS;
	/* Not all replicas at once. */
	ms = o->backoff_ms / 2 + o->config.clock.random(o->config.clock.ctx) % (o->backoff_ms / 2 + 1);
	if (text_to_u64(reply->retry_after, &seconds) && seconds * 1000 > ms)
		ms = seconds < BACKOFF_MAX_MS / 1000 ? seconds * 1000 : BACKOFF_MAX_MS;
	o->not_before = (int64_t)(uv_now(o->loop) + ms);
	arm(o, ms);
}

static void learn(struct otlp *o, struct batch_of *b, const struct call_reply *reply)
{
	bool     taken = reply->status >= 200 && reply->status < 300;
	uint64_t rejected = taken ? rejected_spans(reply->body) : b->spans;

	if (!taken && may_succeed_later(reply->status) && ++b->tries < TRIES_MAX) {
		o->stats.failures++;
		complain(o, reply, "traces_away");
		put_off(o, reply);
		return;
	}
	if (rejected > b->spans)
		rejected = b->spans;
	o->stats.failures += !taken;
	o->stats.refused += rejected;
	o->stats.sent += b->spans - rejected;
	if (rejected > 0)
		complain(o, reply, "traces_refused");
	else if (o->complained)
		o->config.trace.line(o->config.trace.ctx, TRACE_INFO, "traces_back", (struct str){ 0 }, "");
	o->complained = o->complained && rejected > 0;
	o->backoff_ms = 0;
	free_batch(o, b);
}

static void on_result(void *arg, const struct http_result *result)
{
	struct otlp *o = arg;

	o->transfer = NULL;
	learn(o, oldest(o), &result->reply);
	if (oldest(o) != NULL && o->backoff_ms == 0)
		arm(o, oldest(o)->closed ? 0 : SEND_EVERY_MS);
}

static void send_oldest(struct otlp *o)
{
	struct batch_of *b = oldest(o);

	if (b == NULL || o->transfer != NULL)
		return;
	if ((int64_t)uv_now(o->loop) < o->not_before) {
		arm(o, (uint64_t)(o->not_before - (int64_t)uv_now(o->loop)));
		return;
	}
	close_batch(b);
	o->stats.requests++;
	o->transfer = http_start(o->http, &(struct http_request){ .url = o->url, .method = "POST", .headers = o->headers,
	                                                          .header_count = o->header_n, .body = buf_view(&b->text),
	                                                          .timeout_ms = TIMEOUT_MS }, on_result, o);
}

static void on_timer(uv_timer_t *timer)
{
	send_oldest(timer->data);
}

static void arm(struct otlp *o, uint64_t ms)
{
	if (!o->closing && (!uv_is_active((uv_handle_t *)&o->timer) || uv_timer_get_due_in(&o->timer) > ms))
		uv_timer_start(&o->timer, on_timer, ms, 0);
}

/* ---- open and close ----------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Lines of "Name: value"; # begins a comment. */
static bool read_headers(struct otlp *o, struct err *err)
{
	char *at = o->header_text;

	o->headers[o->header_n++] = "Content-Type: application/json";
	for (char *line; (line = strsep(&at, "\n")) != NULL;) {
		size_t n = strlen(line);

		while (n > 0 && is_blank(line[n - 1]))
			line[--n] = '\0';
		while (is_blank(*line))
			line++;
		if (*line == '\0' || *line == '#')
			continue;
		if (strchr(line, ':') == NULL || strpbrk(line, "\r\t") != NULL || o->header_n == HEADERS_MAX)
			return err_set(err, ERR_INVALID, "--otlp.headers-file: lines are `Name: value`, at most %d",
			               HEADERS_MAX - 1);
		o->headers[o->header_n++] = line;
	}
	return true;
}

/* As the exporters of others read OTEL_EXPORTER_OTLP_ENDPOINT: the path of the signal is appended. */
static char *traces_url(const char *endpoint)
{
	struct buf b = { 0 };
	size_t     n = strlen(endpoint);

	while (n > 0 && endpoint[n - 1] == '/')
		n--;
	buf_add(&b, endpoint, n);
	if (n < 10 || strncmp(endpoint + n - 10, "/v1/traces", 10) != 0)
		buf_cstr(&b, "/v1/traces");
	return buf_take(&b);
}

static bool is_url(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

struct otlp *otlp_open(uv_loop_t *loop, const struct otlp_config *config, struct err *err)
{
	/* A door of its own: replicas that may not act still say what they did, and no call waits behind spans. */
	const struct http_config http = { .response_max = RESPONSE_MAX, .ca_file = config->ca_file };
	struct otlp             *o;

	if (!is_url(config->endpoint)) {
		err_set(err, ERR_INVALID, "--otlp.endpoint is no http:// or https:// URL: \"%s\"", config->endpoint);
		return NULL;
	}
	o = mem_alloc(sizeof *o);
	o->config = *config;
	o->loop = loop;
	o->url = traces_url(config->endpoint);
	o->header_text = mem_copy(config->headers, strlen(config->headers) + 1);
	list_init(&o->batches);
	gethostname(o->host, sizeof o->host - 1);
	o->http = http_open(loop, &http, err);
	uv_timer_init(loop, &o->timer);
	uv_unref((uv_handle_t *)&o->timer);
	o->timer.data = o;
	if (o->http != NULL && read_headers(o, err))
		return o;
	otlp_close(o);
	return NULL;
}

const struct trace_rules *otlp_rules(const struct otlp *o)
{
	return &o->config.rules;
}

void otlp_stats(const struct otlp *o, struct otlp_stats *out)
{
	*out = o->stats;
}

void otlp_flush(struct otlp *o)
{
	if (oldest(o) != NULL)
		arm(o, 0);
}

bool otlp_is_idle(const struct otlp *o)
{
	return oldest(o) == NULL || (o->transfer == NULL && o->backoff_ms > 0);
}

static void on_closed(uv_handle_t *handle)
{
	struct otlp *o = handle->data;

	free(o->url);
	free(o->header_text);
	free(o);
}

void otlp_close(struct otlp *o)
{
	o->closing = true;
	if (o->transfer != NULL)
		http_abort(o->http, o->transfer);
	o->transfer = NULL;
	for (struct batch_of *b; (b = oldest(o)) != NULL;)
		free_batch(o, b);
	if (o->http != NULL)
		http_close(o->http, NULL, NULL);
	uv_close((uv_handle_t *)&o->timer, on_closed);
}
