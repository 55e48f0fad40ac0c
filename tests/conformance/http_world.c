/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/http_world.h"

#include <stdlib.h>
#include <string.h>

/* ---- the server --------------------------------------------------------------------------------- */

#define SMALL "Content-Length: 2\r\n"

static const struct {
	const char *path, *raw;
	bool        close, reset;
} scripts[] = {
	{ "/ok", "HTTP/1.1 200 OK\r\n" SMALL "\r\nhi", false, false },
	{ "/says-close", "HTTP/1.1 200 OK\r\nConnection: close\r\n" SMALL "\r\nhi", false, false },
	{ "/closes", "HTTP/1.1 200 OK\r\n" SMALL "\r\nhi", true, false },
	{ "/old", "HTTP/1.0 200 OK\r\n\r\nuntil the end", true, false },
	{ "/old-length", "HTTP/1.0 200 OK\r\n" SMALL "\r\nhi", false, false },
	{ "/old-keep", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" SMALL "\r\nhi", false, false },
	{ "/more", "HTTP/1.1 200 OK\r\n" SMALL "\r\nhiHTTP/1.1 200 OK\r\nSaga-Outcome: refused\r\n" SMALL "\r\nno", false, false },
	{ "/chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nh\r\n1\r\ni\r\n0\r\nSaga-Outcome: refused\r\n\r\n", false, false },
	{ "/hints", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" SMALL "\r\nhi", false, false },
	{ "/204", "HTTP/1.1 204 No Content\r\n\r\n", false, false },
	{ "/304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", false, false },
	{ "/head", "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", false, false },
	{ "/outcome", "HTTP/1.1 409 No\r\nSaga-Outcome: refused\r\n" SMALL "\r\nhi", false, false },
	{ "/reset", "", false, true },
	{ "/close", "", true, false },
	{ "/half", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", true, false },
	{ "/half-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", true, false },
	{ "/half-head", "HTTP/1.1 200 OK\r\nContent-", true, false },
	{ "/garbage", "220 mail.example.com ESMTP\r\n", false, false },
	{ "/http2", "HTTP/2 200\r\n\r\n", true, false },
};

/* ?fail: without an answer as long as w->failing lasts. */
static void handle(void *arg, const struct stub_request *r, struct stub_answer *out)
{
	struct world *w = arg;
	struct str    path = r->path;

	buf_clear(&w->seen);
	buf_str(&w->seen, r->method);
	buf_char(&w->seen, ' ');
	buf_str(&w->seen, r->path);
	buf_char(&w->seen, '\n');
	buf_str(&w->seen, r->head);
	buf_char(&w->seen, '\n');
	buf_str(&w->seen, r->body);
	w->held = w->held || w->holding;
	if (w->failing > 0) {
		w->failing--;
		out->close = !(out->reset = w->failing % 2 != 0);
		return;
	}
	if (str_is(path, "/hang")) {
		out->never = true;
		return;
	}
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
		if (str_is(path, scripts[i].path)) {
			buf_cstr(&out->raw, scripts[i].raw);
			out->close = scripts[i].close;
			out->reset = scripts[i].reset;
			return;
		}
	buf_fmt(&out->raw, "HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n", str_is(path, "/large") ? RESPONSE_MAX + 1 : 0);
	for (int i = 0; str_is(path, "/large") && i <= RESPONSE_MAX; i++)
		buf_char(&out->raw, 'x');
	out->close = str_is(path, "/early");
}

/* ---- calls ------------------------------------------------------------------------------------------ */

void world_done(void *arg, const struct http_result *r)
{
	struct got *got = arg;

	if (got->done)
		abort(); /* twice */
	got->done = true;
	got->status = r->reply.status;
	got->unsendable = r->unsendable;
	got->withheld = r->withheld;
	got->too_big = r->reply.body_too_big;
	if (r->reply.body.n > 0)
		buf_str(&got->body, r->reply.body);
	str_cstr(r->reply.failure, got->failure, sizeof got->failure);
	str_cstr(r->reply.saga_outcome, got->outcome, sizeof got->outcome);
}

static void on_tick(uv_timer_t *t)
{
	(void)t;
}

void world_turns(struct world *w, const struct got *got, unsigned ms)
{
	const uint64_t end = uv_hrtime() + ms * UINT64_C(1000000);
	uv_timer_t     tick;

	uv_timer_init(w->loop, &tick);
	uv_timer_start(&tick, on_tick, 2, 2);
	while (uv_hrtime() < end && (got == NULL || !got->done))
		uv_run(w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(w->loop, UV_RUN_NOWAIT);
}

/* Our ends of connections to this port whose other end has said nothing of closing. */
static unsigned connected_to(int port)
{
	FILE    *f = fopen("/proc/self/net/tcp", "r");
	char     line[256];
	unsigned to, state, n = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		n += sscanf(line, " %*u: %*x:%*x %*x:%x %x", &to, &state) == 2 && to == (unsigned)port && state == 1; /* ESTABLISHED */
	if (f != NULL)
		fclose(f);
	return n;
}

void world_drop_connections(struct world *w)
{
	const uint64_t end = uv_hrtime() + UINT64_C(10000000000);

	stub_drop_all(&w->stub);
	do
		world_turns(w, NULL, 5);
	while (connected_to(w->relay.port ? w->relay.port : w->stub.port) > 0 && uv_hrtime() < end);
}

const char *world_url(const struct world *w, const char *host, const char *path)
{
	static char url[200];

	snprintf(url, sizeof url, "%s://%s:%d%s", w->relay.port ? "https" : "http", host,
	         w->relay.port ? w->relay.port : w->stub.port, path);
	return url;
}

struct got world_ask(struct world *w, const char *method, const char *url, struct str body, unsigned timeout_ms)
{
	struct got got = { 0 };

	http_start(w->http, &(struct http_request){ .url = url, .method = method, .body = body,
	                                            .timeout_ms = timeout_ms }, world_done, &got);
	if (got.done)
		abort(); /* too early */
	world_turns(w, &got, timeout_ms + 3000);
	return got;
}

struct got world_get(struct world *w, const char *path)
{
	return world_ask(w, "GET", world_url(w, "127.0.0.1", path), (struct str){ 0 }, 500);
}

bool got_is_hi(struct got got)
{
	bool hi = got.status == 200 && got.failure[0] == '\0' && str_is(buf_view(&got.body), "hi");

	buf_fini(&got.body);
	return hi;
}

bool got_is_failure(const struct got *got)
{
	return got->done && got->status == 0 && got->failure[0] != '\0' && !got->unsendable;
}

static bool may_send(void *ctx)
{
	return !((struct world *)ctx)->held;
}

void world_open(struct world *w, uv_loop_t *loop, enum http_client client, const char *deny)
{
	*w = (struct world){ .loop = loop };
	w->http = http_open(loop, &(struct http_config){ .response_max = RESPONSE_MAX, .deny = str_of(deny),
	                                                 .client = client, .may_send = may_send,
	                                                 .may_send_ctx = w }, NULL);
	if (w->http == NULL || !stub_open(&w->stub, loop, handle, w))
		abort();
}

static void on_closed(void *arg)
{
	((struct world *)arg)->closed++;
}

void world_close(struct world *w)
{
	http_close(w->http, on_closed, w);
	stub_close(&w->stub);
	for (int i = 0; i < 200 && w->closed == 0; i++)
		uv_run(w->loop, UV_RUN_NOWAIT);
	buf_fini(&w->seen);
}
