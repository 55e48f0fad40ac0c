/* SPDX-License-Identifier: Apache-2.0
 * httpd.c - the listener on a real loop with real sockets: late answers, people who leave, slow and endless senders.
 */
#include "tests/unit/httpd_world.h"

#include "tests/lib/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- tests ------------------------------------------------------------------------------ */

static void test_plain(void)
{
	int         fd = dial();
	const char *got;

	say(fd, "GET /a%2Fb?c=d HTTP/1.1\r\nHost: x\r\n\r\n");
	got = hear(fd, "/a%2Fb 0", 2000);
	ok(strstr(got, "200 OK") && strstr(got, "\r\n\r\n/a%2Fb 0"), "a request is answered, its path as it was sent");
	ok(strstr(got, "X-Line: one??two: three\r\n"), "line breaks cannot get into a header");
	say(fd, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
	ok(strstr(hear(fd, "/b 5", 2000), "/b 5"), "so is the next on the same connection, with a body");
	say(fd, "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
	ok(strstr(hear(fd, "/c 7", 2000), "/c 7"), "so is one in chunks");
	say(fd, "GET /d HTTP/1.1\r\nHost: x\r\n\r\nGET /e HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fd, "/e 0", 2000), "/e 0"), "so are two sent at once");
	say(fd, "HEAD /f HTTP/1.1\r\nHost: x\r\n\r\n");
	got = hear(fd, "\r\n\r\n", 2000);
	ok(strstr(got, "Content-Length: 4\r\n") && !strstr(got, "\r\n\r\n/f"), "HEAD gets no body");
	close(fd);
	turns(20);
	ok(server.handled == 6 && server.over == 6, "every exchange is over: %u", server.over);
	ok(httpd_connections(server.httpd) == 0, "and the connection is forgotten");
}

static void test_late_answers(void)
{
	int fds[3] = { dial(), dial(), dial() };

	for (size_t i = 0; i < 3; i++)
		say(fds[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	ok(server.held_n == 3, "three requests are held");
	ok(!strstr(hear(fds[0], "HTTP", 100), "HTTP"), "and not answered");
	let_go();
	for (size_t i = 0; i < 3; i++)
		ok(strstr(hear(fds[i], "/hold 0", 1000), "/hold 0"), "answer %zu comes when it is given", i);
	say(fds[0], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fds[0], "/a 0", 1000), "/a 0"), "the connection goes on after a late answer");
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	turns(20);
}

static void test_who_leaves(void)
{
	int fd = dial(), other = dial();

	say(fd, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	say(other, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	ok(server.held_n == 2 && server.gone == 0, "two wait");
	close(fd);
	turns(250);
	ok(server.gone == 1 && server.held_n == 1, "that one left is noticed soon");
	let_go();
	ok(strstr(hear(other, "/watch 0", 1000), "/watch 0"), "the other gets its answer");
	say(other, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(200);
	close(other);
	turns(50);
	ok(server.gone == 2 && server.held_n == 0, "and at once by who has waited for longer");
	fd = dial();
	say(fd, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	shutdown(fd, SHUT_WR);
	const char *got = hear(fd, "<closed>", 1000);
	ok(server.gone == 3 && strstr(got, " 202 ") && strstr(got, "/watch 0") && strstr(got, "<closed>"),
	   "who will say no more reads what is answered then");
	close(fd);
	fd = dial();
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	close(fd);
	turns(20);
	let_go();
	turns(20);
	ok(server.over == server.handled, "an answer to somebody who left is dropped");
	ok(httpd_connections(server.httpd) == 0, "and nobody is left");
}

static void test_big_bodies(bool by_library)
{
	static char data[1 << 20];
	char        head[128];
	int         fd = dial();

	memset(data, 'x', sizeof data);
	snprintf(head, sizeof head, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 5 << 20);
	say(fd, head);
	for (int i = 0; i < 5; i++)
		push(fd, data, sizeof data);
	ok(strstr(hear(fd, "too big", 2000), " 413 "), "5 MB are read to the end and answered");
	say(fd, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fd, "/after 0", 1000), "/after 0"), "the connection goes on");
	say(fd, "POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		say(fd, "1000\r\n");
		push(fd, data, 0x1000);
		say(fd, "\r\n");
	}
	say(fd, "0\r\n\r\n");
	ok(strstr(hear(fd, "too big", 1000), " 413 "), "the same without a length");
	close(fd);
	fd = dial();
	snprintf(head, sizeof head, "POST /big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
	         BODY_MAX + 1);
	say(fd, head);
	const char *got = hear(fd, "too big", 1000);
	ok(strstr(got, " 413 ") && !strstr(got, "100 Continue"), "who asks first is told at once");
	close(fd);
	fd = dial();
	say(fd, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
	ok(strstr(hear(fd, "too big", 1000), " 413 "), "so is who means to send for ever");
	close(fd);
	fd = dial();
	struct buf all = { 0 };
	buf_cstr(&all, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
	buf_add(&all, data, 400000);
	ok(send(fd, all.p, all.n, MSG_NOSIGNAL) > 300000, "much of it is there already");
	const char *heard = hear(fd, "<closed>", 1000);
	ok(by_library || (strstr(heard, " 413 ") && strstr(heard, "<closed>")), "and it hears the answer, not a reset");
	buf_fini(&all);
	close(fd);
	fd = dial();
	snprintf(head, sizeof head, "POST /fits HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BODY_MAX);
	say(fd, head);
	push(fd, data, BODY_MAX);
	ok(strstr(hear(fd, "/fits 1000", 1000), "/fits 1000"), "the longest body is taken");
	close(fd);
	turns(20);
}

/* The second request below is a body to one reader, and a request to the other. */
static void test_bodies_without_a_clear_end(void)
{
	static const char *const HEADERS[] = {
		"Content-Length: 2\r\nContent-Length: 37\r\n",
		"Content-Length: 37\r\ncontent-length: 2\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
	};

	for (size_t i = 0; i < sizeof HEADERS / sizeof *HEADERS; i++) {
		int fd = dial();

		say(fd, "POST /unclear HTTP/1.1\r\nHost: x\r\n");
		say(fd, HEADERS[i]);
		say(fd, "\r\n{}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
		const char *got = hear(fd, "<closed>", 1000);
		ok(strstr(got, " 400 ") && strstr(got, "/unclear 0"), "an unclear end %zu is refused", i);
		ok(strstr(got, "<closed>") && !strstr(got, "smuggled"), "and nothing behind it is read");
		close(fd);
	}
	turns(20);
}

/* A whole head of about n bytes, most of it in the URL or in headers; the status it gets. */
static int status_of_head(size_t n, bool in_url)
{
	struct buf  head = { 0 };
	int         fd = dial(), status = 0;

	buf_cstr(&head, "GET /head?");
	while (in_url && head.n < n)
		buf_char(&head, 'u');
	buf_cstr(&head, " HTTP/1.1\r\nHost: x\r\n");
	while (!in_url && head.n < n)
		buf_cstr(&head, "X-Header: and a value of a hundred and eighty bytes, as tokens and cookies are, or "
		                "what they carry is longer, since there may be no more than a hundred header lines "
		                "in all\r\n");
	buf_cstr(&head, "\r\n");
	push(fd, head.p, head.n);
	const char *got = hear(fd, "/head 0", 2000);
	if (strstr(got, "/head 0"))
		sscanf(got, "HTTP/1.1 %d", &status);
	close(fd);
	buf_fini(&head);
	turns(20);
	return status;
}

static void test_long_heads(bool by_library)
{
	ok(status_of_head(HTTPD_HEAD_MAX - 100, true) == 200, "a long URL is served");
	ok(status_of_head(HTTPD_HEAD_MAX - 200, false) == 200, "and so are many headers");
	ok(status_of_head(HTTPD_HEAD_MAX + 100, true) == 414, "a URL that is too long gets our own answer");
	ok(status_of_head(HTTPD_HEAD_MAX + 100, false) == 431, "and so do headers");
	ok(status_of_head(29000, true) == 414, "up to 29 kB of URL");
	ok(status_of_head(18000, false) == 431, "and 18 kB of headers, which take more memory");
	ok(status_of_head(200000, true) == (by_library ? 0 : 414), "beyond that only from our own server");
}

/* With a Host, and n in all. */
static void say_headers(int fd, const char *path, unsigned n)
{
	struct buf head = { 0 };

	buf_fmt(&head, "GET %s HTTP/1.1\r\nHost: x\r\n", path);
	while (--n > 0)
		buf_cstr(&head, "a:\n");
	buf_cstr(&head, "\r\n");
	push(fd, head.p, head.n);
	buf_fini(&head);
}

static void test_many_headers(bool by_library)
{
	int         fd = dial();
	const char *got;

	say_headers(fd, "/many", 100);
	ok(strstr(hear(fd, "/many 0", 1000), " 200 "), "a hundred headers");
	say_headers(fd, "/many", 101);
	got = hear(fd, "/many 0", 1000);
	ok(strstr(got, " 431 ") && strstr(got, "/many 0"), "one more is too many");
	close(fd);
	if (by_library)
		return;
	fd = dial();
	say_headers(fd, "/thousands", 5000);
	got = hear(fd, "<closed>", 1000);
	ok(strstr(got, " 431 ") && strstr(got, "/thousands 0"), "and so are thousands within 16 kB");
	close(fd);
	turns(20);
}

static void test_a_host_before_the_path(void)
{
	int         fd = dial();
	const char *got;

	say(fd, "GET http://x:80/query?a=b HTTP/1.1\r\nHost: x:80\r\n\r\n");
	ok(strstr(hear(fd, "]", 1000), "<a|b>"), "a request as to a proxy");
	say(fd, "GET HTTPS://x HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fd, "/ 0", 1000), "\r\n\r\n/ 0"), "without a path it is for the root");
	say(fd, "GET http://u@x/a HTTP/1.1\r\nHost: x\r\n\r\n");
	got = hear(fd, " 0", 1000);
	ok(strstr(got, " 0") && !strstr(got, "\r\n\r\n/a 0"), "with a user it is for nobody");
	close(fd);
	turns(20);
}

static void test_query_and_headers(void)
{
	int         fd = dial();
	const char *got;

	say(fd, "GET /query?a=1%202+3&b&&=c&d==&e= HTTP/1.1\r\nHost: x\r\nX-List: one\r\nx-LIST:  two\r\n\r\n");
	got = hear(fd, "]\n", 300);
	ok(strstr(got, "\r\n\r\n<a|1%202 3><b|none><|none><|c><d|=><e|>"), "names and values of a query");
	ok(strstr(got, " [one, two] [one]"), "headers of one name are a list");
	say(fd, "GET /query HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fd, "[] []", 1000), "\r\n\r\n [] []"), "there may be neither");
	say(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
	got = hear(fd, "\r\n\r\n", 1000);
	ok(strstr(got, " 204 No Content\r\n") && !strstr(got, "Content-Length"), "204 has no length");
	close(fd);
	turns(20);
}

/* Bytes of one answer that came until nothing more did. */
static size_t hear_all(int fd, unsigned ms)
{
	static char piece[65536];
	uint64_t    end = uv_hrtime() + (uint64_t)ms * 1000000;
	size_t      n = 0;

	while (uv_hrtime() < end && n < BIG_BYTES) {
		ssize_t got = recv(fd, piece, sizeof piece, 0);

		if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
		turn();
	}
	return n;
}

static void test_big_answers(void)
{
	int fd = dial(), other = dial();

	say(fd, "GET /big-answer HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	say(other, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(other, "/a 0", 1000), "/a 0"), "others are served while one does not take its answer");
	ok(hear_all(fd, 5000) > BIG_BYTES, "that one gets all of it");
	say(fd, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(fd, "/b 0", 1000), "/b 0"), "and its connection goes on");
	say(fd, "GET /big-answer HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	close(fd);
	close(other);
	turns(50);
	ok(server.over == server.handled && httpd_connections(server.httpd) == 0, "who leaves in the midst of it is forgotten");
}

static void test_how_bytes_come(void)
{
	const char *post = "POST /one-by-one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
	int         fd = dial();
	unsigned    handled;
	struct buf  many = { 0 };

	for (const char *p = post; *p; p++)
		push(fd, p, 1);
	ok(strstr(hear(fd, "/one-by-one 3", 1000), "/one-by-one 3"), "one by one");
	for (unsigned i = 0; i < 100; i++)
		buf_fmt(&many, "POST /%u. HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", i);
	push(fd, many.p, many.n);
	ok(strstr(hear(fd, "/99. 3", 2000), "/99. 3"), "a hundred requests in one write");
	/* More than is read at once, and no read ends where a request does. */
	handled = server.handled;
	say(fd, "GET /first HTTP/1.1\r\nHo");
	turns(5);
	buf_clear(&many);
	buf_cstr(&many, "st: x\r\n\r\n");
	for (unsigned i = 0; i < MANY; i++)
		buf_fmt(&many, "GET /%u HTTP/1.1\r\nHost: x\r\nX-Fill: %.*s\r\n\r\n", i, (int)(i % 37), "0123456789012345678901234567890123456");
	ok(send(fd, many.p, many.n, MSG_NOSIGNAL) == (ssize_t)many.n, "%zu bytes at once", many.n);
	for (uint64_t end = uv_hrtime() + 5000000000u; uv_hrtime() < end && server.handled < handled + MANY + 1;)
		hear(fd, NULL, 1);
	ok(server.handled == handled + MANY + 1, "thousands of requests in one write: %u", server.handled - handled);
	hear(fd, NULL, 50);
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /behind HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	ok(server.held_n == 1 && !strstr(hear(fd, "HTTP", 50), "HTTP"), "who stands behind a held one waits");
	let_go();
	const char *got = hear(fd, "/behind 0", 1000);
	ok(strstr(got, "/hold 0") && strstr(got, "/behind 0"), "and is served after it");
	say(fd, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n");
	shutdown(fd, SHUT_WR);
	got = hear(fd, "<closed>", 1000);
	ok(strstr(got, "/last 0") && strstr(got, "<closed>"), "who will say no more still gets an answer");
	close(fd);
	buf_fini(&many);
	turns(20);
}

static void test_versions_and_asking(void)
{
	int         fd = dial();
	const char *got;

	say(fd, "GET /old HTTP/1.0\r\n\r\n");
	got = hear(fd, "<closed>", 1000);
	ok(strstr(got, "/old 0") && strstr(got, "<closed>"), "HTTP/1.0: an answer, and the door");
	close(fd);
	fd = dial();
	say(fd, "GET /close HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	got = hear(fd, "<closed>", 1000);
	ok(strstr(got, "/close 0") && strstr(got, "<closed>"), "who asks for it is let go");
	close(fd);
	fd = dial();
	say(fd, "POST /ask HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	ok(strstr(hear(fd, "100 Continue\r\n\r\n", 1000), " 100 Continue\r\n\r\n"), "who asks first is told to go on");
	say(fd, "hi");
	ok(strstr(hear(fd, "/ask 2", 1000), "/ask 2"), "and is answered");
	close(fd);
	turns(20);
}

/* libmicrohttpd has answers of its own for these. */
static void test_what_is_no_http(void)
{
	static const char *const wrong[] = {
		"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
		"\x16\x03\x01\x02\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
	};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		int         fd = dial();
		const char *got;

		say(fd, wrong[i]);
		say(fd, "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
		got = hear(fd, "<closed>", 1000);
		ok(strstr(got, " 400 ") && strstr(got, "Connection: close") && strstr(got, "<closed>") && !strstr(got, "smuggled"),
		   "what is no HTTP %zu gets our answer and the door", i);
		close(fd);
	}
	turns(20);
	ok(httpd_connections(server.httpd) == 0, "nothing is left of them");
}

static void test_slow_senders(void)
{
	int body = dial(), head = dial(), idle = dial();

	say(body, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	say(head, "GET /slow HT");
	say(idle, "GET /idle HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(strstr(hear(idle, "/idle 0", 1000), "/idle 0"), "others are served meanwhile");
	const char *got = hear(body, "<closed>", 3000);
	ok(strstr(got, " 408 ") && strstr(got, "<closed>"), "half a body: 408, and the door");
	got = hear(head, "<closed>", 3000);
	ok(strstr(got, " 408 ") && strstr(got, "<closed>"), "half a head: the same");
	got = hear(idle, "<closed>", 4000);
	ok(!strstr(got, " 408 ") && strstr(got, "<closed>"), "who is idle for long is let go without a word");
	close(body);
	close(head);
	close(idle);
	turns(20);
	ok(httpd_connections(server.httpd) == 0 && server.over >= server.handled, "nothing is left of them");
}

/* Two stop: one in its body, after a slow head, the other, which began later, in its head. */
static void test_slow_from_the_first_byte(void)
{
	char    answer[256] = "";
	ssize_t n;
	int     first = dial(), second = dial();

	say(first, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-");
	turns(10);
	say(second, "GET /slow HT");
	turns(RECEIVE_MS - 100);
	say(first, "Length: 9\r\n\r\nabc");
	hear(second, "<closed>", 5000);
	n = recv(first, answer, sizeof answer - 1, 0);
	ok(n > 0 ? strstr(answer, " 408 ") != NULL : n == 0 || errno == ECONNRESET, "time runs from the first byte of a request, not of its body");
	close(first);
	close(second);
	turns(20);
}

static void test_memory_comes_with_the_body(bool by_library)
{
	uint64_t end = uv_hrtime() + 5000000000u;
	int      fd;

	open_server(by_library);
	fd = dial();
	say(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nab");
	turns(20);
	close(fd);
	while (server.over == 0 && uv_hrtime() < end)
		turn();
	ok(server.over == 1 && server.body_cap > 2 && server.body_cap < 200, "2 of 900 bytes have taken %zu", server.body_cap);
	close_server();
}

static void test_idle_ones_make_room(void)
{
	int fds[CONNECTIONS_MAX + 2];

	for (size_t i = 0; i < CONNECTIONS_MAX + 2; i++) {
		fds[i] = dial();
		say(fds[i], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
		ok(strstr(hear(fds[i], "/a 0", 500), "/a 0"), "client %zu is served", i);
	}
	for (size_t i = 0; i < CONNECTIONS_MAX + 2; i++)
		close(fds[i]);
	turns(20);
}

static void test_no_descriptor_left(void)
{
	int           fd = dial(), next = dup(fd);
	struct rlimit limit, low;

	close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = (struct rlimit){ (rlim_t)next, limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	push_blind(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	ok(!strstr(hear(fd, "/a 0", 150), "/a 0") && httpd_connections(server.httpd) == 0,
	   "without a descriptor a client waits");
	setrlimit(RLIMIT_NOFILE, &limit);
	ok(server.logged > 0 && server.logged < 10, "which is not asked for all the time: %u", server.logged);
	ok(strstr(hear(fd, "/a 0", 2000), "/a 0"), "and is served when there is one");
	close(fd);
	turns(20);
}

static void test_the_end(void)
{
	int fd = dial(), idle = dial();

	say(idle, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(idle, "/a 0", 1000);
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	httpd_quiesce(server.httpd);
	ok(strstr(hear(idle, "<closed>", 500), "<closed>"), "leaving: who is idle is let go");
	let_go();
	const char *got = hear(fd, "<closed>", 1000);
	ok(strstr(got, "/hold 0") && strstr(got, "onnection: close") && strstr(got, "<closed>"),
	   "who waits gets its answer, then the door");
	close(fd);
	close(idle);
}

static void test_closing_with_open_requests(bool by_library)
{
	int fd;

	close_server();
	open_server(by_library);
	fd = dial();
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	turns(20);
	close_server();
	ok(server.held_n == 0 && server.over == 1, "closing frees what was never answered");
	char got[4096] = "";
	ok(recv(fd, got, sizeof got - 1, 0) > 0 && strstr(got, " 503 "), "and says so to its client");
	close(fd);
}

/* What both servers do; they differ in what is too long or no HTTP at all. */
static void test_server(bool by_library)
{
	printf("# by %s\n", by_library ? "libmicrohttpd" : "our own server");
	open_server(by_library);
	test_plain();
	test_late_answers();
	test_who_leaves();
	test_big_bodies(by_library);
	test_bodies_without_a_clear_end();
	test_long_heads(by_library);
	test_many_headers(by_library);
	test_a_host_before_the_path();
	test_query_and_headers();
	test_big_answers();
	test_how_bytes_come();
	test_versions_and_asking();
	if (!by_library) {
		test_what_is_no_http();
		test_no_descriptor_left();
	}
	test_slow_senders();
	if (!by_library)
		test_slow_from_the_first_byte();
	test_idle_ones_make_room();
	test_the_end();
	test_closing_with_open_requests(by_library);
	test_memory_comes_with_the_body(by_library);
}

int main(void)
{
	test_server(true);
	test_server(false);
	return tap_done();
}
