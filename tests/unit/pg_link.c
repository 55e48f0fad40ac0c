/* SPDX-License-Identifier: Apache-2.0
 * pg_link.c - a session is seen to end, however the server ends it.
 */
#include "coordinator/io/pg_link.h"
#include "tests/lib/tap.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct session {
	struct pg_link link;
	bool           is_up;
	unsigned       downs;
};

/* ---- a server that lets everybody in, and then resets the connection -------------- */

static const char welcome[] = { 'R', 0, 0, 0, 8, 0, 0, 0, 0, 'Z', 0, 0, 0, 5, 'I' };
static const char notice[] = { 'N', 0, 0, 0, 9, 'M', 'b', 'y', 'e', 0 };

/* With last words it waits for a question, which it does not answer. */
static void serve(int listener, bool last_words)
{
	struct linger reset = { .l_onoff = 1 };
	char          ignored[4096];
	int           fd = accept(listener, NULL, NULL);
	bool          good = fd >= 0 && read(fd, ignored, sizeof ignored) > 0 &&
		write(fd, welcome, sizeof welcome) > 0;

	if (good && last_words)
		good = read(fd, ignored, sizeof ignored) > 0 && write(fd, notice, sizeof notice - 1) > 0;
	else if (good)
		usleep(50000);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
	_exit(!good);
}

static int listen_somewhere(unsigned *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t          n = sizeof at;
	int                fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, 4) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		return -1;
	*port = ntohs(at.sin_port);
	return fd;
}

/* ---- the session -------------------------------------------------------------------- */

static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static void on_up(void *arg)
{
	struct session *s = arg;

	PQsetNoticeReceiver(s->link.db, ignore_notice, NULL);
	s->is_up = true;
}

static void on_input(void *arg)
{
	struct session *s = arg;

	PQisBusy(s->link.db);
}

static void on_down(void *arg, const char *why)
{
	struct session *s = arg;

	printf("# down: %s\n", why);
	s->downs++;
}

static void on_closed(void *arg)
{
	(void)arg;
}

static void wake(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Until it is up, or until it is down; for two seconds at most. */
static void run(uv_loop_t *loop, const struct session *s, bool until_up)
{
	uv_timer_t timer;
	bool       late = false;

	uv_update_time(loop);
	uv_timer_init(loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, wake, 2000, 0);
	while (!late && s->downs == 0 && !(until_up && s->is_up))
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
}

/* The loop stands still while the server goes, so that all of its end is found at once. */
static void test_end(bool last_words, const char *what)
{
	uv_loop_t         loop;
	struct pg_handles handles = { .loop = &loop, .closed = on_closed };
	struct session    s = { .is_up = false };
	struct pg_dsn     dsn;
	struct err        err;
	char              text[120];
	unsigned          port = 0;
	int               status = 1, listener = listen_somewhere(&port);
	pid_t             server = fork();

	if (server == 0)
		serve(listener, last_words);
	snprintf(text, sizeof text, "host=127.0.0.1 port=%u user=x sslmode=disable gssencmode=disable "
	         "target_session_attrs=any", port);
	ok(listener >= 0 && server > 0 && pg_dsn_parse(&dsn, text, &err), "there is a server");
	uv_loop_init(&loop);
	pg_link_init(&s.link, &handles, &dsn);
	s.link.on_up = on_up;
	s.link.on_input = on_input;
	s.link.on_down = on_down;
	s.link.arg = &s;
	pg_link_open(&s.link, "test");
	run(&loop, &s, true);
	ok(s.is_up, "it lets us in");
	if (last_words)
		ok(PQsendQuery(s.link.db, "SELECT 1") == 1, "a question is sent");
	waitpid(server, &status, 0);
	ok(status == 0, "the server has reset the connection");
	if (!last_words) {
		PQsendQuery(s.link.db, "SELECT 1");
		PQconsumeInput(s.link.db); /* as libpq does when it sends again */
		pg_link_flush(&s.link);
		ok(s.downs == 0 && PQsocket(s.link.db) < 0, "who sends is not called back");
	}
	run(&loop, &s, false);
	ok(s.downs == 1, "%s", what);
	handles.closing = true;
	pg_link_fini(&s.link);
	uv_run(&loop, UV_RUN_DEFAULT);
	ok(handles.open == 0 && uv_loop_close(&loop) == 0, "and nothing is left open");
	pg_dsn_fini(&dsn);
	close(listener);
}

/* ---- names ---------------------------------------------------------------------------- */

/* The resolver that libuv finds before that of the C library. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node != NULL && strcmp(node, "slow.test") == 0) {
		usleep(1500000);
		return EAI_AGAIN;
	}
	if (node != NULL && strcmp(node, "nobody.test") == 0)
		return EAI_NONAME;
	return real(node != NULL && strcmp(node, "here.test") == 0 ? "127.0.0.1" : node, service, hints, list);
}

struct beat {
	uv_timer_t timer;
	uint64_t   last, gap; /* the longest time in which the loop stood still */
};

static void on_beat(uv_timer_t *timer)
{
	struct beat *b = timer->data;
	uint64_t     now = uv_hrtime() / 1000000;

	b->gap = now - b->last > b->gap ? now - b->last : b->gap;
	b->last = now;
}

/* Connects to these hosts; what is said of them stands in the answer. */
static void test_hosts(const char *hosts, bool comes_up, int most_ms, const char *what)
{
	uv_loop_t         loop;
	struct pg_handles handles = { .loop = &loop, .closed = on_closed };
	struct session    s = { .is_up = false };
	struct beat       beat = { .last = uv_hrtime() / 1000000 };
	struct pg_dsn     dsn;
	struct err        err;
	char              text[200];
	unsigned          port = 0;
	int               listener = listen_somewhere(&port);
	pid_t             server = comes_up ? fork() : 0;

	if (comes_up && server == 0)
		serve(listener, false);
	snprintf(text, sizeof text, "host=%s port=%u user=x sslmode=disable gssencmode=disable "
	         "target_session_attrs=any", hosts, port);
	ok(pg_dsn_parse(&dsn, text, &err), "hosts %s", hosts);
	pg_dsn_pace(&dsn, 400);
	uv_loop_init(&loop);
	beat.timer.data = &beat;
	uv_timer_init(&loop, &beat.timer);
	uv_timer_start(&beat.timer, on_beat, 10, 10);
	pg_link_init(&s.link, &handles, &dsn);
	s.link.on_up = on_up;
	s.link.on_input = on_input;
	s.link.on_down = on_down;
	s.link.arg = &s;
	uint64_t began = uv_hrtime() / 1000000;
	pg_link_open(&s.link, "test");
	run(&loop, &s, true);
	int took = (int)(uv_hrtime() / 1000000 - began);
	ok(s.is_up == comes_up && s.downs == !comes_up, "%s", what);
	ok(took <= most_ms && beat.gap < 250, "in %d ms, in which the loop never stood still for long: %d ms", took,
	   (int)beat.gap);
	if (comes_up)
		ok(strcmp(PQhost(s.link.db), "here.test") == 0 && strcmp(PQhostaddr(s.link.db), "127.0.0.1") == 0,
		   "by the address of its name, which stays");
	pg_link_fini(&s.link);
	handles.closing = true;
	uv_close((uv_handle_t *)&beat.timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	ok(handles.open == 0 && uv_loop_close(&loop) == 0, "and nothing is left open");
	pg_dsn_fini(&dsn);
	close(listener);
	if (comes_up)
		waitpid(server, NULL, 0);
}

/* Whoever closes does not wait; the answer that comes later finds nobody. */
static void test_closed_while_asking(void)
{
	uv_loop_t         loop;
	struct pg_handles handles = { .loop = &loop, .closed = on_closed };
	struct session    s = { .is_up = false };
	struct pg_dsn     dsn;
	struct err        err;

	uv_loop_init(&loop);
	ok(pg_dsn_parse(&dsn, "host=slow.test,slow.test,slow.test,slow.test", &err), "several slow names");
	pg_link_init(&s.link, &handles, &dsn);
	s.link.on_down = on_down;
	s.link.arg = &s;
	pg_link_open(&s.link, "test");
	ok(pg_link_is_open(&s.link), "are looked up");
	uv_run(&loop, UV_RUN_NOWAIT);
	uint64_t began = uv_hrtime() / 1000000;
	pg_link_close(&s.link);
	ok(!pg_link_is_open(&s.link) && uv_hrtime() / 1000000 - began < 250, "and let go of at once");
	pg_link_open(&s.link, "test"); /* and again, while the first still hang */
	pg_link_fini(&s.link);
	handles.closing = true;
	uv_run(&loop, UV_RUN_DEFAULT);
	ok(s.downs == 0 && handles.open == 0 && uv_loop_close(&loop) == 0, "nothing is left open when they are through");
	pg_dsn_fini(&dsn);
}

/* ---- each host of a DSN alone --------------------------------------------------------- */

static const char *option_of(const struct pg_dsn *dsn, const char *name)
{
	for (const PQconninfoOption *o = dsn->options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, name) == 0)
			return o->val != NULL ? o->val : "";
	return "";
}

static void test_taken_apart(void)
{
	struct pg_host *hosts;
	size_t          n = pg_dsn_hosts("host=one,/two port=5433,5434 dbname=d target_session_attrs=read-write", &hosts);

	ok(n == 2 && strcmp(hosts[0].name, "one") == 0 && strcmp(hosts[0].port, "5433") == 0 &&
	   strcmp(hosts[1].name, "/two") == 0 && strcmp(hosts[1].port, "5434") == 0, "two hosts, each with its port");
	ok(n == 2 && strcmp(option_of(&hosts[1].dsn, "host"), "/two") == 0 &&
	   strcmp(option_of(&hosts[1].dsn, "dbname"), "d") == 0 &&
	   strcmp(option_of(&hosts[1].dsn, "target_session_attrs"), "any") == 0,
	   "alone, whatever it is, and with everything else");
	pg_dsn_hosts_free(hosts, n);
	n = pg_dsn_hosts("postgres://one,two,three/d", &hosts);
	ok(n == 3 && strcmp(hosts[2].name, "three") == 0 && strcmp(hosts[2].port, "5432") == 0,
	   "a URI; who names no port means the usual one");
	pg_dsn_hosts_free(hosts, n);
	ok(pg_dsn_hosts("dbname=d", &hosts) == 0 && hosts == NULL, "none");
	ok(pg_dsn_hosts("host=a,b,c port=1,2", &hosts) == 0, "lists that do not fit are libpq's to complain of");
	ok(pg_dsn_hosts("host", &hosts) == 0, "nor can what is no DSN be taken apart");
}

int main(void)
{
	test_taken_apart();
	test_hosts("here.test", true, 400, "a name is looked up");
	test_hosts("nobody.test,here.test", true, 400, "a name that does not exist is left out");
	test_hosts("slow.test,here.test", true, 800, "one that hangs is not waited for any longer than a connect may take");
	test_hosts("slow.test", false, 800, "without any other, that is the end of this try");
	test_hosts("nobody.test", false, 200, "and one that does not exist, at once");
	test_closed_while_asking();
	test_end(true, "an end behind last words is seen");
	test_end(false, "an end that libpq met by itself is seen");
	return tap_done();
}
