/* SPDX-License-Identifier: Apache-2.0
 * http.c - CPU per outbound call: `http [in-flight] [calls]`, against a server in a process of its own.
 */
#include "coordinator/io/http.h"
#include "tests/lib/http_stub.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char        url[64];
static unsigned    left, ended, failed;
static struct http *http;
static char        body[501];

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

static void start_one(void);

static void on_done(void *arg, const struct http_result *result)
{
	(void)arg;
	ended++;
	failed += result->reply.status != 200;
	if (left > 0)
		start_one();
}

static void start_one(void)
{
	static const char *headers[] = { "Content-Type: application/json", "Accept: application/json",
		                         "Saga-Id: 0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f", "Saga-Step: hotel",
		                         "Saga-Op: try", "Saga-Attempt: 1", "Saga-Epoch: 1",
		                         "Idempotency-Key: \"0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f:hotel:try\"",
		                         "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };

	left--;
	http_start(http, &(struct http_request){ .url = url, .method = "POST", .headers = headers,
	                                         .header_count = sizeof headers / sizeof headers[0],
	                                         .body = { body, 500 }, .timeout_ms = 5000 },
	           on_done, NULL);
}

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned   in_flight = argc > 1 ? (unsigned)atoi(argv[1]) : 64;
	unsigned   calls = argc > 2 ? (unsigned)atoi(argv[2]) : 200000;
	uv_loop_t  loop;
	struct err err;
	int        port, fds[2];
	pid_t      child;

	if (pipe(fds) != 0 || (child = fork()) < 0)
		return 1;
	if (child == 0)
		serve(fds[1]);
	if (read(fds[0], &port, sizeof port) != sizeof port)
		return 1;
	snprintf(url, sizeof url, "http://127.0.0.1:%d/reservations", port);
	memset(body, ' ', 500);
	memcpy(body, "{}", 2);
	uv_loop_init(&loop);
	http = http_open(&loop, &(struct http_config){ .response_max = 1 << 20, .deny = STR("169.254.0.0/16") }, &err);
	left = calls;
	for (unsigned i = 0; i < in_flight; i++)
		start_one();
	double   cpu0 = cpu();
	uint64_t wall0 = uv_hrtime();
	while (ended < calls)
		uv_run(&loop, UV_RUN_ONCE);
	printf("%u in flight: %.1f us of CPU a call, %.0f calls/s, %u failed\n", in_flight,
	       (cpu() - cpu0) * 1e6 / calls, calls / ((double)(uv_hrtime() - wall0) / 1e9), failed);
	http_close(http, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	return failed != 0;
}
