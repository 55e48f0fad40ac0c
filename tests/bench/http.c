/* SPDX-License-Identifier: Apache-2.0
 * http.c - CPU per outbound call, of libcurl, our own client and that on libcurl's connections:
 * bare, behind the caller port, over TLS: `http [calls [rounds [way [in flight]]]]`, medians in
 * turns, against a server in a process of its own. One way and number alone is what to profile.
 */
#include "coordinator/io/caller.h"
#include "participants/definition.h"
#include "tests/lib/http_stub.h"
#include "tests/lib/tls_relay.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 31, INPUT_BYTES = 500 };

static const unsigned in_flight[] = { 1, 16, 64, 256, 1000 };

struct way {
	const char      *name;
	enum http_client client;
	bool             with_caller, tls;
};

static const struct way ways[] = {
	{ "plain", HTTP_AUTO, false, false },
	{ "connect", HTTP_CONNECT, false, false },
	{ "curl", HTTP_CURL, false, false },
	{ "caller+plain", HTTP_AUTO, true, false },
	{ "caller+connect", HTTP_CONNECT, true, false },
	{ "caller+curl", HTTP_CURL, true, false },
	{ "tls", HTTP_AUTO, false, true },
	{ "tls+curl", HTTP_CURL, false, true },
};

enum { WAYS = sizeof ways / sizeof ways[0] };

struct place { /* where the server is */
	int              port;
	struct tls_relay relay; /* in front of it */
};

struct run {
	uv_loop_t          *loop;
	struct http        *http;
	struct caller      *caller;  /* NULL: bare */
	struct caller_port  port;
	struct definition  *definition;
	char                url[64], input[INPUT_BYTES + 1];
	unsigned            left, ended, failed;
};

static void answer(void *arg, const struct stub_request *r, struct stub_answer *out)
{
	(void)arg;
	(void)r;
	stub_reply(out, 200, "Content-Type: application/json\r\n", STR("{\"id\":\"0123456789\",\"ok\":true}"));
}

static void serve(int port_fd)
{
	uv_loop_t   loop;
	struct stub stub;

	uv_loop_init(&loop);
	if (!stub_open(&stub, &loop, answer, NULL) ||
	    write(port_fd, &stub.port, sizeof stub.port) != sizeof stub.port)
		_exit(1);
	uv_run(&loop, UV_RUN_DEFAULT);
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void start_one(struct run *r);

static void on_end(struct run *r, bool is_ok)
{
	r->ended++;
	r->failed += !is_ok;
	if (r->left > 0)
		start_one(r);
}

static void on_result(void *arg, const struct http_result *result)
{
	on_end(arg, result->reply.status == 200);
}

static void on_answer(void *arg, const struct call_answer *a)
{
	on_end(arg, a->outcome == OUTCOME_OK);
}

static void start_one(struct run *r)
{
	static const char *headers[] = { "Content-Type: application/json", "Accept: application/json",
		                         "Saga-Id: 0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f", "Saga-Step: hotel",
		                         "Saga-Op: try", "Saga-Attempt: 1", "Saga-Epoch: 1",
		                         "Idempotency-Key: \"0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f:hotel:try\"",
		                         "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
	struct str outputs[1] = { { 0 } };

	r->left--;
	if (r->caller == NULL)
		http_start(r->http, &(struct http_request){ .url = r->url, .method = "POST", .headers = headers,
		                                            .header_count = sizeof headers / sizeof headers[0],
		                                            .body = { r->input, INPUT_BYTES }, .timeout_ms = 20000 },
		           on_result, r);
	else
		r->port.start(r->port.ctx, &(struct call_request){
			.def = r->definition, .gid = STR("0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f"), .step = 0, .op = OP_TRY,
			.attempt = 1, .epoch = 1, .created_at = 1795423254123, .input = { r->input, INPUT_BYTES },
			.outputs = outputs }, on_answer, r);
}

/* ---- opening and closing ------------------------------------------------------------------------ */

static int64_t wall_ms(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t counting(void *ctx)
{
	static uint64_t n = 88172645463325252u;

	(void)ctx;
	return n++;
}

static struct definition *compile(int port)
{
	struct arena       arena = { 0 };
	struct findings    findings = { .arena = &arena };
	struct definition *d;
	char               text[200];

	snprintf(text, sizeof text, "{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":"
	         "\"http://127.0.0.1:%d/reservations\"}}}}", port);
	d = definition_compile(str_of(text), DEFINITION_INLINE, (struct str){ 0 }, &findings);
	arena_fini(&arena);
	if (d == NULL)
		abort();
	return d;
}

static void open_run(struct run *r, uv_loop_t *loop, const struct place *place, const struct way *way, unsigned limit)
{
	*r = (struct run){ .loop = loop };
	snprintf(r->url, sizeof r->url, "%s://127.0.0.1:%d/reservations", way->tls ? "https" : "http",
	         way->tls ? place->relay.port : place->port);
	memset(r->input, 'x', INPUT_BYTES);
	memcpy(r->input, "{\"order\":\"", 10);
	memcpy(r->input + INPUT_BYTES - 2, "\"}", 2);
	r->definition = compile(place->port);
	r->http = http_open(loop, &(struct http_config){ .response_max = 1 << 20, .deny = STR("169.254.0.0/16"),
	                                                 .client = way->client, .ca_file = place->relay.ca_file }, NULL);
	if (!way->with_caller)
		return;
	r->caller = caller_open(loop, &(struct caller_config){
		.http = r->http, .clock = { NULL, wall_ms, wall_ms, counting },
		.rules = { .callback_base = STR("http://127.0.0.1:7070"), .callback_key = STR("key") },
		.per_participant = limit, .queue_max = limit });
	caller_ports(r->caller, &r->port);
}

static void close_run(struct run *r)
{
	if (r->caller != NULL)
		caller_close(r->caller, NULL, NULL);
	http_close(r->http, NULL, NULL);
	uv_run(r->loop, UV_RUN_DEFAULT);
	definition_drop(r->definition);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_calls(struct run *r, unsigned n, unsigned at_once)
{
	r->left = n;
	r->ended = 0;
	for (unsigned i = 0; i < at_once && r->left > 0; i++)
		start_one(r);
	while (r->ended < n)
		uv_run(r->loop, UV_RUN_ONCE);
}

/* Microseconds of CPU for a call; the connections are there before the clock runs. */
static double measure(uv_loop_t *loop, const struct place *place, const struct way *way, unsigned at_once,
                      unsigned calls)
{
	struct run r;
	double     before, us;

	open_run(&r, loop, place, way, at_once);
	make_calls(&r, 2 * at_once, at_once);
	before = cpu_s();
	make_calls(&r, calls, at_once);
	us = (cpu_s() - before) * 1e6 / calls;
	if (r.failed > 0) {
		fprintf(stderr, "%u of %u calls failed\n", r.failed, calls);
		exit(1);
	}
	close_run(&r);
	return us;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof v[0], by_size);
	return v[n / 2];
}

static bool is_asked(const struct way *way, const char *only)
{
	return only == NULL || strcmp(way->name, only) == 0;
}

static void measure_all(uv_loop_t *loop, const struct place *place, const char *only, unsigned at_once, unsigned calls,
                        unsigned rounds)
{
	double us[WAYS][ROUNDS_MAX];

	for (unsigned k = 0; k < rounds; k++)
		for (unsigned i = 0; i < WAYS; i++)
			if (is_asked(&ways[i], only))
				us[i][k] = measure(loop, place, &ways[i], at_once, calls);
	printf("%14u", at_once);
	for (unsigned i = 0; i < WAYS; i++)
		if (is_asked(&ways[i], only))
			printf("%16.1f", median(us[i], rounds));
	putchar('\n');
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned     calls = argc > 1 ? (unsigned)atoi(argv[1]) : 50000, rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
	const char  *only = argc > 3 ? argv[3] : NULL;
	unsigned     at_once = argc > 4 ? (unsigned)atoi(argv[4]) : 0; /* 0: each number in turn */
	struct place place;
	uv_loop_t    loop;
	int          fds[2];
	pid_t        child;

	if (calls == 0 || rounds == 0 || rounds > ROUNDS_MAX || pipe(fds) != 0 || (child = fork()) < 0)
		return 1;
	if (child == 0)
		serve(fds[1]);
	if (read(fds[0], &place.port, sizeof place.port) != sizeof place.port || !tls_relay_start(&place.relay, place.port))
		return 1;
	uv_loop_init(&loop);
	printf("us of CPU a call, median of %u\n%14s", rounds, "in flight");
	for (unsigned i = 0; i < WAYS; i++)
		if (is_asked(&ways[i], only))
			printf("%16s", ways[i].name);
	putchar('\n');
	for (size_t i = 0; i < sizeof in_flight / sizeof in_flight[0]; i++)
		if (at_once == 0 || at_once == in_flight[i])
			measure_all(&loop, &place, only, in_flight[i], calls, rounds);
	tls_relay_stop(&place.relay);
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	return 0;
}
