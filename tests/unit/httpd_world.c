/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/httpd_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct server server;

/* ---- the server's side ------------------------------------------------------------ */

static void answer(struct exchange *x, unsigned status)
{
	struct buf body = { 0 };

	buf_fmt(&body, "%.*s %zu%s", (int)x->path.n, x->path.p, x->body.n, x->body_too_big ? " too big" : "");
	exchange_set_header(x, "X-Line", STR("one\r\ntwo: three"));
	exchange_answer(x, status, "text/plain", &body);
}

/* Megabytes of it: more than the kernel takes at once. */
static void answer_big(struct exchange *x)
{
	struct buf body = { 0 };

	for (size_t i = 0; i < BIG_BYTES; i++)
		buf_char(&body, (char)('a' + i % 23));
	exchange_answer(x, 200, "text/plain", &body);
}

static bool note_query(void *arg, struct str name, struct str value)
{
	buf_fmt(arg, "<%.*s|%.*s%s>", (int)name.n, name.p, (int)value.n, value.n ? value.p : "", value.p ? "" : "none");
	return true;
}

static void answer_with_query(struct exchange *x)
{
	struct buf body = { 0 };
	struct str list = exchange_header_list(x, "x-list");

	exchange_each_query(x, note_query, &body);
	buf_fmt(&body, " [%.*s] [%s]", (int)list.n, list.p, exchange_header(x, "X-LIST").n ? exchange_header(x, "X-LIST").p : "");
	exchange_answer(x, 200, "text/plain", &body);
}

static void forget(struct exchange *x)
{
	for (size_t i = 0; i < server.held_n; i++)
		if (server.held[i] == x)
			server.held[i] = server.held[--server.held_n];
}

static void on_gone(void *arg)
{
	struct exchange *x = arg;

	server.gone++;
	forget(x);
	answer(x, 202);
}

static void handle(void *ctx, struct exchange *x)
{
	(void)ctx;
	server.handled++;
	if (x->head == HEAD_LONG_URL || x->head == HEAD_LONG_HEADERS) {
		answer(x, x->head == HEAD_LONG_URL ? 414 : 431);
		return;
	}
	if (x->head == HEAD_MANY_HEADERS) {
		answer(x, 431);
		return;
	}
	if (x->head == HEAD_WRONG) {
		answer(x, 400);
		return;
	}
	if (x->body_too_big || x->body_unclear) {
		answer(x, x->body_unclear ? 400 : 413);
		return;
	}
	if (str_is(x->path, "/big-answer")) {
		answer_big(x);
		return;
	}
	if (str_is(x->path, "/query")) {
		answer_with_query(x);
		return;
	}
	if (str_is(x->path, "/nothing")) {
		exchange_answer(x, 204, NULL, NULL);
		return;
	}
	if (!str_starts(x->path, STR("/hold")) && !str_starts(x->path, STR("/watch"))) {
		answer(x, 200);
		return;
	}
	server.held[server.held_n++] = x;
	if (str_starts(x->path, STR("/watch")))
		exchange_watch(x, on_gone, x);
}

void let_go(void)
{
	while (server.held_n > 0)
		answer(server.held[--server.held_n], 200);
}

static void cut_off(void *ctx, struct exchange *x)
{
	(void)ctx;
	forget(x);
	answer(x, 503);
}

static void over(void *ctx, struct exchange *x)
{
	(void)ctx;
	server.over++;
	server.body_cap = x->body.cap;
	forget(x);
}

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	server.logged++;
	printf("# listener: %s\n", line);
}

static int listening_socket(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t          n = sizeof at;
	int                fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, 128) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		abort();
	*port = ntohs(at.sin_port);
	return fd;
}

void open_server(bool by_library)
{
	struct httpd_config c = {
		.by_library = by_library,
		.body_max = BODY_MAX,
		.connections_max = CONNECTIONS_MAX,
		.receive_ms = RECEIVE_MS,
		.idle_ms = IDLE_MS,
		.send_ms = 1000,
		.handle = handle,
		.cut_off = cut_off,
		.done = over,
		.log = log_line,
		.slow_response = STR("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
	};
	struct err      err;
	struct pollable p;

	server = (struct server){ 0 };
	c.listen_fd = listening_socket(&server.port);
	uv_loop_init(&server.loop);
	server.httpd = httpd_open(&c, &err);
	if (!server.httpd)
		abort();
	p = httpd_pollable(server.httpd);
	server.glue = httpd_loop_open(&server.loop, &p);
}

static void on_closed(void *arg)
{
	(void)arg;
	server.closed = true;
}

void close_server(void)
{
	httpd_loop_close(server.glue, on_closed, NULL);
	while (!server.closed)
		uv_run(&server.loop, UV_RUN_ONCE);
	httpd_close(server.httpd);
	uv_loop_close(&server.loop);
}

/* One turn, as the daemon does it; sleeps at most until the next time-out. */
void turn(void)
{
	httpd_loop_flush(server.glue);
	uv_run(&server.loop, UV_RUN_NOWAIT);
}

void turns(unsigned ms)
{
	uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000;

	while (uv_hrtime() < end) {
		turn();
		usleep(500);
	}
}

/* ---- the client's side ----------------------------------------------------------------- */

int dial(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(server.port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		abort();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

void push(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return;
		text += sent > 0 ? sent : 0;
		n -= sent > 0 ? (size_t)sent : 0;
		turn();
	}
}

/* Without a turn of the loop. */
void push_blind(int fd, const char *text)
{
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

void say(int fd, const char *text)
{
	push(fd, text, strlen(text));
}

/* What came within ms, or until `want` came or the server closed. */
const char *hear(int fd, const char *want, unsigned ms)
{
	static char got[1 << 20];
	size_t      n = 0;
	uint64_t    end = uv_hrtime() + (uint64_t)ms * 1000000;

	got[0] = '\0';
	while (uv_hrtime() < end && !(want && strstr(got, want))) {
		turn();
		ssize_t r = recv(fd, got + n, sizeof got - 1 - n, 0);
		if (r == 0) {
			strcpy(got + n, "<closed>");
			break;
		}
		if (r < 0 && errno == ECONNRESET) {
			strcpy(got + n, "<reset>");
			break;
		}
		if (r > 0)
			got[n += (size_t)r] = '\0';
		else
			usleep(200);
	}
	return got;
}
