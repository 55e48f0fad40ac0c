/* SPDX-License-Identifier: Apache-2.0
 * http.c - all HTTP clients against servers that close, reset, hang or lie, and names with several addresses.
 */
#include "coordinator/base/mem.h"
#include "tests/conformance/http_world.h"
#include "tests/lib/tap.h"
#include "tests/lib/test_names.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- answers ------------------------------------------------------------------------------------------ */

static void check_answers(struct world *w)
{
	static const struct {
		const char *method, *path, *body, *why;
		int         status;
		unsigned    opened; /* connections, by it and by a call behind it */
	} rows[] = {
		{ "GET", "/ok", "hi", "a length", 200, 0 },
		{ "GET", "/chunks", "hi", "chunks with an extension and trailers", 200, 0 },
		{ "GET", "/hints", "hi", "two interim answers", 200, 0 },
		{ "GET", "/204", "", "204", 204, 0 },
		{ "GET", "/304", "", "304", 304, 0 },
		{ "HEAD", "/head", "", "HEAD", 200, 0 },
		{ "GET", "/outcome", "hi", "a refusal", 409, 0 },
		{ "GET", "/old-keep", "hi", "HTTP/1.0 that keeps the connection", 200, 0 },
		{ "GET", "/old-length", "hi", "HTTP/1.0 that does not", 200, 1 },
		{ "GET", "/old", "until the end", "HTTP/1.0 without a length", 200, 1 },
		{ "GET", "/says-close", "hi", "Connection: close", 200, 1 },
		{ "GET", "/closes", "hi", "closed behind the answer", 200, 1 },
		{ "GET", "/more", "hi", "bytes behind the answer", 200, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned   before = (got_is_hi(world_get(w, "/ok")), w->stub.connections);
		struct got got = world_ask(w, rows[i].method, world_url(w, "127.0.0.1", rows[i].path), (struct str){ 0 }, 1000);
		bool       right = got.status == rows[i].status && str_is(buf_view(&got.body), rows[i].body);

		ok(right && strcmp(got.outcome, got.status == 409 ? "refused" : "") == 0, "%s: %d \"%s\" %s", rows[i].why,
		   got.status, got.body.p ? got.body.p : "", got.failure);
		world_turns(w, NULL, 5);
		ok(got_is_hi(world_get(w, "/ok")) && w->stub.connections == before + rows[i].opened,
		   "%s: the next call %s", rows[i].why, rows[i].opened ? "opens a new connection" : "uses the same connection");
		buf_fini(&got.body);
	}
}

static void check_failures(struct world *w, enum http_client client)
{
	static const char *const paths[] = { "/reset", "/close", "/half", "/half-chunk", "/half-head", "/garbage", "/http2", "/hang" };

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		unsigned   requests;
		struct got got;

		if (client == HTTP_CURL && strcmp(paths[i], "/http2") == 0)
			continue; /* it takes that for HTTP/1.1 */
		world_drop_connections(w);
		requests = w->stub.requests;
		got = world_get(w, paths[i]);
		ok(got_is_failure(&got) && w->stub.requests == requests + 1, "%s on a new connection: %s", paths[i], got.failure);
		buf_fini(&got.body);
	}
}

static void check_repeat(struct world *w)
{
	unsigned   requests;
	struct got got;

	for (unsigned failing = 1; failing <= 2; failing++) {
		world_drop_connections(w);
		got_is_hi(world_get(w, "/ok"));
		w->failing = failing;
		requests = w->stub.requests;
		/* The last of them closes, the one before resets. */
		if (failing == 1)
			ok(got_is_hi(world_get(w, "/ok")) && w->stub.requests == requests + 2,
			   "an old connection that breaks before it answers: once more on a new one");
	}
	got = world_get(w, "/ok");
	ok(got_is_failure(&got) && w->stub.requests == requests + 2, "but not again and again: %s", got.failure);
	w->failing = 0;
	requests = (got_is_hi(world_get(w, "/ok")), w->stub.requests);
	got = world_get(w, "/half");
	ok(got_is_failure(&got) && w->stub.requests == requests + 1, "nor when a part was answered: %s", got.failure);
}

/* A process that stood still must not go on with what it had begun: others have taken over. */
static void check_withheld(struct world *w)
{
	unsigned   requests;
	struct got got = { 0 };

	world_drop_connections(w);
	requests = w->stub.requests;
	http_start(w->http, &(struct http_request){ .url = world_url(w, "127.0.0.1", "/ok"), .method = "GET",
	                                            .timeout_ms = 500 }, world_done, &got);
	w->held = true;
	world_turns(w, &got, 1000);
	ok(got.withheld && got_is_failure(&got) && w->stub.requests == requests,
	   "what was started while it might be sent, and not written yet: %s", got.failure);
	w->held = false;
	got_is_hi(world_get(w, "/ok"));
	requests = w->stub.requests;
	w->failing = 1;
	w->holding = true;
	got = world_get(w, "/ok");
	ok(got.withheld && got_is_failure(&got) && w->stub.requests == requests + 1,
	   "nor is it repeated when the old connection breaks: %s", got.failure);
	w->held = w->holding = false;
	ok(got_is_hi(world_get(w, "/ok")), "and all goes on when it may");
}

/* Bytes that nobody asked for are on a resting connection, and the loop has not seen them yet. */
static void check_unasked(struct world *w)
{
	struct got got = { 0 };
	unsigned   opened;

	got_is_hi(world_get(w, "/ok"));
	opened = w->stub.connections;
	stub_speak(&w->stub, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
	http_start(w->http, &(struct http_request){ .url = world_url(w, "127.0.0.1", "/ok"), .method = "GET",
	                                            .timeout_ms = 500 }, world_done, &got);
	world_turns(w, &got, 1000);
	ok(got_is_hi(got) && w->stub.connections == opened + 1, "what came before the question is not its answer: %d", got.status);
}

/* The look that finds those bytes also finds the answer of a call that is under way, which is told of later. */
static void check_unasked_beside(struct world *w)
{
	struct http_request r = { .method = "GET", .timeout_ms = 5000 };
	struct got          first = { 0 }, second = { 0 }, late[2] = { { 0 }, { 0 } };
	char                hang[200];
	unsigned            requests = w->stub.requests, opened;

	snprintf(hang, sizeof hang, "%s", world_url(w, "127.0.0.1", "/hang"));
	r.url = hang;
	http_start(w->http, &r, world_done, &first);
	r.url = world_url(w, "127.0.0.1", "/ok");
	http_start(w->http, &r, world_done, &second);
	world_turns(w, &second, 5000);
	while (w->stub.requests < requests + 2)
		uv_run(w->loop, UV_RUN_ONCE);
	opened = w->stub.connections;
	stub_speak(&w->stub, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	for (int i = 0; i < 2; i++)
		http_start(w->http, &r, world_done, &late[i]);
	world_turns(w, &late[1], 5000);
	world_turns(w, &late[0], 5000);
	world_turns(w, &first, 5000);
	ok(got_is_hi(first) && got_is_hi(second), "an answer that is seen because another call begins is not lost: %d", first.status);
	ok(got_is_hi(late[0]) && got_is_hi(late[1]) && w->stub.connections >= opened + 1,
	   "and no call begun in that moment takes the bytes on a resting connection: %d, %d", late[0].status, late[1].status);
	stub_drop_all(&w->stub); /* where it was to hang it still does */
	world_turns(w, NULL, 5);
}

static void check_large(struct world *w)
{
	static char big[8 << 20];
	struct got  got = world_get(w, "/large");

	ok(got.status == 413 && got.too_big && got.body.n <= RESPONSE_MAX, "an answer over the limit is cut");
	buf_fini(&got.body);
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)('a' + i * 7 / 5 % 26);
	w->stub.answer_early = 1000;
	got = world_ask(w, "POST", world_url(w, "127.0.0.1", "/early"), (struct str){ big, sizeof big }, 3000);
	ok(got.status == 413 || got_is_failure(&got), "answered and closed while the body is sent: %d %s", got.status, got.failure);
	w->stub.answer_early = 0;
	got = world_ask(w, "POST", world_url(w, "127.0.0.1", "/ok"), (struct str){ big, sizeof big }, 3000);
	ok(got_is_hi(got) && w->seen.n > sizeof big && memcmp(w->seen.p + w->seen.n - sizeof big, big, sizeof big) == 0,
	   "8 MiB are sent in pieces");
}

/* ---- names and addresses ---------------------------------------------------------------------------------- */

/* Listens where nobody can connect: its queue is full. */
static void open_hole(int port, int fds[4])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	inet_pton(AF_INET, "127.0.0.3", &a.sin_addr);
	for (int i = 0; i < 4; i++)
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(fds[0], (struct sockaddr *)&a, sizeof a) != 0 || listen(fds[0], 0) != 0)
		abort();
	for (int i = 1; i < 4; i++)
		connect(fds[i], (struct sockaddr *)&a, sizeof a);
}

static void check_addresses(struct world *w, enum http_client client)
{
	int        fds[4];
	struct got got;
	unsigned   before;
	uint64_t   began;

	ok(got_is_hi(world_ask(w, "GET", world_url(w, "two.test", "/ok"), (struct str){ 0 }, 1000)), "the second address answers");
	got = world_ask(w, "GET", world_url(w, "none.test", "/ok"), (struct str){ 0 }, 1000);
	ok(got_is_failure(&got), "none answers: %s", got.failure);
	got = world_ask(w, "GET", "http://missing.test/ok", (struct str){ 0 }, 1000);
	ok(got_is_failure(&got), "no such name: %s", got.failure);
	got = world_ask(w, "GET", "http://127.0.0.1:1/ok", (struct str){ 0 }, 1000);
	ok(got_is_failure(&got), "nobody listens: %s", got.failure);
	open_hole(w->stub.port, fds);
	ok(client != HTTP_AUTO || got_is_hi(world_ask(w, "GET", world_url(w, "hole.test", "/ok"), (struct str){ 0 }, 1000)),
	   "the first does not even refuse");
	began = uv_hrtime();
	stub_drop_all(&w->stub);
	ok(client != HTTP_AUTO || (got_is_hi(world_ask(w, "GET", world_url(w, "hole.test", "/ok"), (struct str){ 0 }, 1000)) &&
	                 uv_hrtime() - began < 300000000u), "next time the address that answered comes first");
	began = uv_hrtime();
	got = world_ask(w, "GET", world_url(w, "127.0.0.3", "/ok"), (struct str){ 0 }, 200);
	ok(got_is_failure(&got) && strstr(got.failure, "timed out") != NULL && uv_hrtime() - began < 600000000u,
	   "time-out while it connects: %s", got.failure);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	before = test_names_asked();
	for (int i = 0; i < 5; i++) {
		got_is_hi(world_ask(w, "GET", world_url(w, "here.test", "/says-close"), (struct str){ 0 }, 1000));
		world_turns(w, NULL, 2);
	}
	ok(test_names_asked() <= before + 1, "a name is asked for once a minute");
	got = world_ask(w, "GET", world_url(w, "denied.test", "/ok"), (struct str){ 0 }, 1000);
	ok(got.unsendable && strstr(got.failure, "deny") != NULL, "a name for a denied address: %s", got.failure);
	ok(got_is_hi(world_ask(w, "GET", world_url(w, "half-denied.test", "/ok"), (struct str){ 0 }, 1000)),
	   "of two addresses the one that may be called is");
}

static struct got ask_replica(struct world *w, const char *url)
{
	struct got got = { 0 };

	http_start(w->http, &(struct http_request){ .url = url, .method = "GET", .timeout_ms = 1000, .to_replica = true },
	           world_done, &got);
	world_turns(w, &got, 4000);
	return got;
}

/* The same server by other names: only what is allowed is called, on connections that are there already, too. */
static void check_allowed(struct world *w, enum http_client client)
{
	static const char *const REFUSED[] = { "127.0.0.1", "127.1", "0x7f000001", "two.test" };
	struct http *before = w->http;
	char         allow[64], target[32];
	unsigned     connections;
	struct got   got;

	snprintf(allow, sizeof allow, "here.test:%d 127.0.0.2 *.good.test", w->stub.port);
	w->http = http_open(w->loop, &(struct http_config){ .response_max = RESPONSE_MAX, .allow = str_of(allow),
	                                                    .client = client }, NULL);
	ok(got_is_hi(world_ask(w, "GET", world_url(w, "here.test", "/ok"), (struct str){ 0 }, 1000)), "a host that is allowed is called");
	connections = w->stub.connections;
	for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
		got = world_ask(w, "GET", world_url(w, REFUSED[i], "/ok"), (struct str){ 0 }, 1000);
		ok(got.unsendable && strstr(got.failure, "allow") != NULL, "%s is not: %s", REFUSED[i], got.failure);
	}
	got = world_ask(w, "GET", "http://here.test:1/ok", (struct str){ 0 }, 1000);
	ok(got.unsendable, "nor another port: %s", got.failure);
	got = world_ask(w, "GET", "https://127.0.0.1/ok", (struct str){ 0 }, 1000);
	ok(got.unsendable && strstr(got.failure, "allow") != NULL, "nor https: %s", got.failure);
	world_turns(w, NULL, 10);
	ok(w->stub.connections == connections, "no connection was opened");
	ok(got_is_hi(ask_replica(w, world_url(w, "two.test", "/ok"))), "a replica may stand elsewhere");
	got = world_ask(w, "GET", world_url(w, "two.test", "/ok"), (struct str){ 0 }, 1000);
	ok(got.unsendable, "its connection is no way for a call: %s", got.failure);
	snprintf(target, sizeof target, "here.test:%d", w->stub.port);
	ok(http_may_call(w->http, str_of(target)) && http_may_call(w->http, STR("127.0.0.2:9")) &&
	   http_may_call(w->http, STR("what.it.is:80")), "what may be called, or must be looked up first");
	ok(!http_may_call(w->http, STR("[::1]:80")) && !http_may_call(w->http, STR("127.0.0.1:80")) &&
	   !http_may_call(w->http, STR("here.test")), "and what may not");
	http_close(w->http, NULL, NULL);
	w->http = before;
}

static void check_hung_names(struct world *w)
{
	enum { HUNG = 12 };
	static char urls[HUNG][64];
	struct got  hung[HUNG] = { 0 }, got;
	unsigned    timed_out = 0;

	for (int i = 0; i < HUNG; i++) {
		snprintf(urls[i], sizeof urls[i], "http://hung%d.test/", i);
		http_start(w->http, &(struct http_request){ .url = urls[i], .method = "GET", .timeout_ms = 300 }, world_done, &hung[i]);
	}
	got = world_ask(w, "GET", world_url(w, "two.test", "/ok"), (struct str){ 0 }, 250);
	ok(got_is_hi(got), "a dozen names whose server hangs do not stop another name");
	for (int i = 0; i < HUNG; i++) {
		world_turns(w, &hung[i], 1000);
		timed_out += got_is_failure(&hung[i]);
	}
	ok(timed_out == HUNG, "they end at their time-out: %s", hung[0].failure);
}

static void check_unusual(struct world *w)
{
	static const char *const wrong[] = { "http://", "http:///x", "http://a b/", "http://[::1/", "ftp://127.0.0.1/", "127.0.0.1/", "" };
	unsigned bad = 0;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint64_t   began = uv_hrtime();
		struct got got = world_ask(w, "GET", wrong[i], (struct str){ 0 }, 300);

		bad += !got.done || got.status != 0 || got.failure[0] == '\0' || uv_hrtime() - began > 600000000u;
	}
	ok(bad == 0, "URLs that are none fail, each in its time");
	ok(got_is_hi(world_ask(w, "GET", world_url(w, "127.1", "/ok"), (struct str){ 0 }, 500)), "127.1 is 127.0.0.1");
	ok(got_is_hi(world_ask(w, "GET", world_url(w, "user:secret@127.0.0.1", "/ok"), (struct str){ 0 }, 500)) &&
	   memmem(w->seen.p, w->seen.n, "Authorization: Basic ", 21) != NULL, "names and passwords in URLs");
}

/* ---- what must not add up --------------------------------------------------------------------------------- */

enum { BURST = 150 }; /* more than two groups of curl_loop.c hold */

/* So many calls at once; how many connections did they open? */
static unsigned burst(struct world *w)
{
	const unsigned before = w->stub.connections;
	const char    *url = world_url(w, "127.0.0.1", "/ok");
	struct got     got[BURST] = { 0 };

	for (int i = 0; i < BURST; i++)
		http_start(w->http, &(struct http_request){ .url = url, .method = "GET", .timeout_ms = 20000 }, world_done, &got[i]);
	for (int i = 0; i < BURST; i++) {
		world_turns(w, &got[i], 21000);
		got_is_hi(got[i]);
	}
	return w->stub.connections - before;
}

static void check_bursts(struct world *w)
{
	unsigned opened[2];

	world_drop_connections(w);
	opened[0] = burst(w);
	got_is_hi(world_get(w, "/ok"));
	opened[1] = burst(w);
	ok(opened[0] == BURST && opened[1] == 0, "150 calls at once use 150 connections (%u), 150 more the same ones (%u)",
	   opened[0], opened[1]);
}

/* Connections that a burst left behind go soon, some stay. */
static void check_rest_of_burst(struct world *w)
{
	unsigned opened;

	for (int i = 0; i < 60 && w->stub.open > 8; i++)
		world_turns(w, NULL, 100);
	ok(w->stub.open >= 1 && w->stub.open <= 8, "then %u are left", w->stub.open);
	opened = w->stub.connections;
	ok(got_is_hi(world_get(w, "/ok")) && w->stub.connections == opened, "for the next call");
}

/* libcurl's are closed in groups, one with each call: the last ones first, and never the first. */
static void check_rest_of_groups(struct world *w)
{
	struct http *before = w->http;
	unsigned     left[3];

	ok(got_is_hi(world_get(w, "/ok")) && w->stub.open == BURST, "what a burst has needed stays for another: %u", w->stub.open);
	w->http = http_open(w->loop, &(struct http_config){ .response_max = RESPONSE_MAX, .client = HTTP_CURL, .rest_ms = 20 }, NULL);
	stub_drop_all(&w->stub);
	burst(w);
	for (int i = 0; i < 3; i++) {
		world_turns(w, NULL, 40);
		got_is_hi(world_get(w, "/ok"));
		world_turns(w, NULL, 40);
		left[i] = w->stub.open;
	}
	ok(left[0] > left[1] && left[1] == left[2] && left[2] > 1 && left[2] <= BURST / 2,
	   "what nobody needs again is closed in time: %u, %u, %u connections", left[0], left[1], left[2]);
	http_close(w->http, NULL, NULL);
	w->http = before;
}

/* Takes every descriptor that is left, under a limit that allows no more. */
static void take_descriptors(int any, int *taken, int max)
{
	struct rlimit limit;
	int           n = 0, highest = 0;
	DIR          *d = opendir("/proc/self/fd");

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		highest = atoi(e->d_name) > highest ? atoi(e->d_name) : highest;
	closedir(d);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)highest + 1;
	setrlimit(RLIMIT_NOFILE, &limit);
	while (n < max - 1 && (taken[n] = dup(any)) >= 0)
		n++;
	taken[n] = -1;
}

static void give_descriptors(const struct rlimit *before, const int *taken)
{
	for (; *taken >= 0; taken++)
		close(*taken);
	setrlimit(RLIMIT_NOFILE, before);
}

/* Without a descriptor a connection that rests gives way to one that is needed. */
static void check_no_descriptor(struct world *w)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct rlimit      before;
	socklen_t          n = sizeof a;
	struct got         got;
	char               url[64];
	int                taken[1000], listener = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	if (bind(listener, (struct sockaddr *)&a, n) != 0 || listen(listener, 8) != 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &n) != 0 || getrlimit(RLIMIT_NOFILE, &before) != 0)
		abort();
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port)); /* connects, and nobody answers */
	for (int resting = 0; resting < 2; resting++) {
		world_drop_connections(w);
		if (resting)
			got_is_hi(world_get(w, "/ok"));
		take_descriptors(listener, taken, 1000);
		got = world_ask(w, "GET", url, (struct str){ 0 }, 100);
		give_descriptors(&before, taken);
		ok(strstr(got.failure, resting ? "timed out" : "open files") != NULL, "no descriptor left, %s: %s",
		   resting ? "but one that rests" : "and none that rests", got.failure);
	}
	close(listener);
}

static unsigned open_fds(void)
{
	DIR     *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void check_alive(struct world *w)
{
	struct sockaddr_in to;
	unsigned           n = 0, alive = 0;

	for (int fd = 0, idle_s, ms; fd < 1024; fd++) {
		socklen_t size = sizeof to, len = sizeof ms;

		if (getpeername(fd, (struct sockaddr *)&to, &size) != 0 || ntohs(to.sin_port) != w->stub.port)
			continue;
		n++;
		alive += getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &len) == 0 && idle_s == 15 &&
		         getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len) == 0 && ms == 30000;
	}
	ok(n > 0 && n == alive, "%u of %u connections are probed: a machine that has gone is noticed", alive, n);
}

static void check_hygiene(struct world *w, enum http_client client)
{
	static const char *const paths[] = { "/ok", "/closes", "/reset", "/half", "/garbage", "/more", "/old", "/close", "/says-close", "/chunks" };
	enum { CALLS = 10000, AT_ONCE = 20 };
	char     urls[AT_ONCE][64];
	unsigned before, answered = 0;

	world_drop_connections(w);
	before = open_fds();
	for (int round = 0; round < CALLS / AT_ONCE; round++) {
		struct got       got[AT_ONCE] = { 0 };
		struct transfer *t[AT_ONCE];

		for (int i = 0; i < AT_ONCE; i++) {
			snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%d%s", i == 7 ? 1 : w->stub.port, paths[(i + round) % 10]);
			t[i] = http_start(w->http, &(struct http_request){ .url = urls[i], .method = "POST", .body = STR("hello"),
			                                                   .timeout_ms = 2000 }, world_done, &got[i]);
		}
		if (round % 5 == 0)
			uv_run(w->loop, UV_RUN_NOWAIT);
		if (!got[3].done)
			http_abort(w->http, t[3]);
		for (int i = 0; i < AT_ONCE; i++) {
			if (i != 3)
				world_turns(w, &got[i], 3000);
			answered += got[i].done;
			buf_fini(&got[i].body);
		}
	}
	world_drop_connections(w);
	ok(answered >= CALLS - CALLS / AT_ONCE, "10,000 calls of all kinds are told of: %u", answered);
	/* libcurl finds out that a pooled connection is gone when it looks for one to use. */
	ok(open_fds() <= before + (client == HTTP_CURL ? AT_ONCE : 0), "and no descriptor is left: %u, %u before", open_fds(), before);
}

/* ---- the same bytes ------------------------------------------------------------------------------------------ */

static void check_bytes(struct world *plain, struct world *curl)
{
	static const char *const hosts[] = { "127.0.0.1", "here.test" };
	static const char *const paths[] = { "", "/", "/ok", "/a/../b//c?x=%20&y#", "?q" };
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD" };
	static const char *headers[] = { "Content-Type: application/json", "Saga-Id: a b", "X-Empty;", "X-Gone:", "X-Blank:  ",
		                         "Accept: text/plain", "X-Long:   spaces  " };
	static const struct str bodies[] = { { NULL, 0 }, { "", 0 }, { "{\"a\":1}", 7 } };
	unsigned wrong = 0, n = 0;

	plain->stub.port = curl->stub.port; /* both ask the same */
	for (unsigned i = 0; i < 2 * 5 * 6 * 3 * 3; i++) {
		struct http_request r = { .url = world_url(curl, hosts[i % 2], paths[i / 2 % 5]), .method = methods[i / 10 % 6],
			                  .body = bodies[i / 60 % 3], .headers = headers, .timeout_ms = 1000,
			                  .header_count = (size_t[]){ 0, 5, 7 }[i / 180] };
		struct buf seen[2] = { 0 };

		for (int k = 0; k < 2; k++) {
			struct got got = { 0 };

			buf_clear(&curl->seen);
			http_start(k ? curl->http : plain->http, &r, world_done, &got);
			world_turns(curl, &got, 2000);
			buf_str(&seen[k], buf_view(&curl->seen));
			buf_fini(&got.body);
		}
		n += seen[0].n > 0;
		if (!str_eq(buf_view(&seen[0]), buf_view(&seen[1])))
			printf("# %s %s\n# plain %s\n# curl  %s\n", r.method, r.url, seen[0].p, seen[1].p), wrong++;
		buf_fini(&seen[0]);
		buf_fini(&seen[1]);
	}
	ok(wrong == 0 && n == 540, "both send the same bytes: %u requests", n);
}

static const char *const client_names[] = { [HTTP_AUTO] = "the plain client", [HTTP_CONNECT] = "it on connections of libcurl",
	                                    [HTTP_CURL] = "libcurl" };

static void check_all(uv_loop_t *loop, enum http_client client)
{
	static struct world w;

	printf("# %s\n", client_names[client]);
	world_open(&w, loop, client, "127.0.0.9");
	check_answers(&w);
	check_failures(&w, client);
	check_withheld(&w);
	check_alive(&w);
	check_repeat(&w);
	if (client != HTTP_CURL) { /* libcurl takes it for the answer, unless the loop has seen it by then */
		check_unasked(&w);
		check_unasked_beside(&w);
	}
	check_large(&w);
	check_addresses(&w, client);
	check_allowed(&w, client);
	check_hung_names(&w);
	check_bursts(&w);
	if (client == HTTP_CURL) {
		check_rest_of_groups(&w);
	} else {
		check_rest_of_burst(&w);
		check_no_descriptor(&w);
	}
	check_unusual(&w);
	check_hygiene(&w, client);
	world_close(&w);
}

/* What comes through a relay comes a little later, so nothing here depends on when. */
static void check_tls(uv_loop_t *loop, enum http_client client)
{
	static struct world w;

	printf("# TLS, %s\n", client_names[client]);
	world_open(&w, loop, client, "none");
	http_close(w.http, NULL, NULL);
	if (!tls_relay_start(&w.relay, w.stub.port))
		abort();
	w.http = http_open(loop, &(struct http_config){ .response_max = RESPONSE_MAX, .client = client,
	                                                .ca_file = w.relay.ca_file }, NULL);
	check_answers(&w);
	check_failures(&w, client);
	check_repeat(&w);
	check_large(&w);
	check_bursts(&w);
	world_close(&w);
	tls_relay_stop(&w.relay);
}

int main(void)
{
	static struct world plain, curl;
	uv_loop_t           loop;

	signal(SIGPIPE, SIG_IGN); /* as in sagad; here it is the stub that writes to who has left */
	uv_loop_init(&loop);
	check_all(&loop, HTTP_AUTO);
	check_all(&loop, HTTP_CONNECT);
	check_all(&loop, HTTP_CURL);
	check_tls(&loop, HTTP_AUTO);
	check_tls(&loop, HTTP_CURL);
	world_open(&plain, &loop, HTTP_AUTO, "none");
	world_open(&curl, &loop, HTTP_CURL, "none");
	check_bytes(&plain, &curl);
	world_close(&plain);
	world_close(&curl);
	ok(uv_loop_close(&loop) == 0, "nothing is left on the loop");
	return tap_done();
}
