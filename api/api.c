/* SPDX-License-Identifier: Apache-2.0 */
#include "api/bulk.h"
#include "api/request.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* How long a client may take. A waiting request has none of these limits: its own is shorter. */
enum { GREET_MS = 10000, RECEIVE_MS = 30000, IDLE_MS = 75000, SEND_MS = 60000, OPS_BODY_MAX = 64 * 1024, OPS_CONNECTIONS = 64,
       CALLERS_MAX = 20000 };

static void serve_main(void *ctx, struct exchange *x)
{
	request_serve(ctx, LISTENER_MAIN, x);
}

static void serve_ops(void *ctx, struct exchange *x)
{
	request_serve(ctx, LISTENER_OPS, x);
}

static bool admit_main(void *ctx, struct exchange *x)
{
	return request_admit(ctx, LISTENER_MAIN, x);
}

static bool admit_ops(void *ctx, struct exchange *x)
{
	return request_admit(ctx, LISTENER_OPS, x);
}

static void cut_off(void *ctx, struct exchange *x)
{
	(void)ctx;
	request_cut_off(x->user);
}

static void exchange_done(void *ctx, struct exchange *x)
{
	(void)ctx;
	request_over(x);
}

static void log_httpd(void *ctx, const char *line)
{
	struct api *a = ctx;
	char        detail[300];

	snprintf(detail, sizeof detail, "detail=\"%s\"", line);
	a->ports.trace.line(a->ports.trace.ctx, TRACE_DEBUG, "http_listener", (struct str){ 0 }, detail);
}

/* Written raw by the listener on a connection whose request never became whole. */
static struct str slow_response(void)
{
	struct buf body = { 0 }, whole = { 0 };

	problem_write(&body, PROBLEM_TOO_SLOW, &(struct problem_text){ 0 });
	buf_fmt(&whole, "HTTP/1.1 %u Request Timeout\r\nContent-Type: application/problem+json\r\n"
	                "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
	        problem_fact(PROBLEM_TOO_SLOW)->status, body.n, body.p);
	buf_fini(&body);
	size_t n = whole.n;
	return (struct str){ buf_take(&whole), n };
}

static bool open_listeners(struct api *a, struct err *err)
{
	struct httpd_config c = {
		.listen_fd = a->config.listen_fd,
		.body_max = a->config.body_max,
		.connections_max = a->config.connections_max,
		.tls = a->config.tls,
		.by_library = a->config.by_library,
		.greet_ms = GREET_MS,
		.receive_ms = RECEIVE_MS,
		.idle_ms = IDLE_MS,
		.send_ms = SEND_MS,
		.admit = admit_main,
		.handle = serve_main,
		.cut_off = cut_off,
		.done = exchange_done,
		.log = log_httpd,
		.ctx = a,
		.slow_response = a->slow_response,
	};

	a->httpd = httpd_open(&c, err);
	if (!a->httpd) {
		if (a->config.ops_fd >= 0)
			close(a->config.ops_fd);
		return false;
	}
	if (a->config.ops_fd < 0)
		return true;
	c.listen_fd = a->config.ops_fd;
	c.body_max = OPS_BODY_MAX;
	c.connections_max = OPS_CONNECTIONS;
	c.tls = a->config.ops_tls ? a->config.tls : NULL;
	c.admit = admit_ops;
	c.handle = serve_ops;
	a->ops = httpd_open(&c, err);
	return a->ops != NULL;
}

static void open_limiter(struct api *a)
{
	const struct limiter_config config = {
		.rate = a->config.rate,
		.burst = a->config.burst > 0 ? a->config.burst : 1,
		.waiters = a->config.waiters_each,
		.callers = CALLERS_MAX,
		.seed = a->ports.clock.random(a->ports.clock.ctx),
	};

	if (config.rate > 0 || config.waiters > 0)
		a->limiter = limiter_open(&config);
}

struct api *api_open(const struct api_config *config, struct engine *engine, const struct ports *ports,
                     const struct store_port *store, struct err *err)
{
	struct api *a = mem_alloc(sizeof *a);

	a->config = *config;
	a->engine = engine;
	a->ports = *ports;
	a->store = *store;
	a->request_seed = ports->clock.random(ports->clock.ctx);
	a->slow_response = slow_response();
	a->bulk = bulk_run_open(a);
	open_limiter(a);
	if (open_listeners(a, err))
		return a;
	api_close(a);
	return NULL;
}

struct api_database api_database(const struct api *a)
{
	struct api_database db = { .up = true, .last_error = "" };

	if (a->config.database)
		a->config.database(a->config.ctx, &db);
	return db;
}

struct pollable api_pollable(struct api *a)
{
	return httpd_pollable(a->httpd);
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static int never(void *ctx)
{
	(void)ctx;
	return -1;
}

static bool no(void *ctx)
{
	(void)ctx;
	return false;
}

struct pollable api_ops_pollable(struct api *a)
{
	if (a->ops)
		return httpd_pollable(a->ops);
	return (struct pollable){ a, { -1, -1 }, nothing, never, no };
}

void api_set_tokens(struct api *a, struct token_set *tokens)
{
	tokens_free(a->tokens);
	a->tokens = tokens;
	a->generation++;
}

int64_t api_next_at(const struct api *a)
{
	return bulk_run_next_at(a->bulk);
}

void api_tick(struct api *a)
{
	bulk_run_tick(a->bulk);
}

void api_drain(struct api *a)
{
	a->draining = true;
	httpd_quiesce(a->httpd);
}

unsigned api_connections(const struct api *a)
{
	return httpd_connections(a->httpd);
}

void api_close(struct api *a)
{
	if (a->httpd)
		httpd_close(a->httpd);
	if (a->ops)
		httpd_close(a->ops);
	tokens_free(a->tokens);
	limiter_close(a->limiter);
	free((char *)a->slow_response.p);
	bulk_run_close(a->bulk);
	free(a);
}
