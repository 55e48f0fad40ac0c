/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pg_link.h"

#include "coordinator/base/mem.h"
#include "coordinator/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- handles ------------------------------------------------------------------- */

struct pg_timer {
	uv_timer_t         uv;
	struct pg_handles *handles;
	void             (*fire)(void *arg);
	void              *arg;
};

struct pg_poll {
	uv_poll_t          uv;
	struct pg_handles *handles;
	struct pg_link    *link; /* NULL: closing */
	int                fd, events;
};

void pg_handle_closed(struct pg_handles *h)
{
	assert(h->open > 0);
	if (--h->open == 0 && h->closing)
		h->closed(h->arg);
}

static void on_timer(uv_timer_t *uv)
{
	struct pg_timer *t = uv->data;

	t->fire(t->arg);
}

static void on_timer_closed(uv_handle_t *uv)
{
	struct pg_timer   *t = uv->data;
	struct pg_handles *h = t->handles;

	free(t);
	pg_handle_closed(h);
}

struct pg_timer *pg_timer_open(struct pg_handles *handles, void (*fire)(void *arg), void *arg)
{
	struct pg_timer *t = mem_alloc(sizeof *t);

	*t = (struct pg_timer){ .handles = handles, .fire = fire, .arg = arg };
	uv_timer_init(handles->loop, &t->uv);
	t->uv.data = t;
	handles->open++;
	return t;
}

void pg_timer_start(struct pg_timer *t, uint64_t ms)
{
	uv_update_time(t->handles->loop);
	uv_timer_start(&t->uv, on_timer, ms, 0);
}

void pg_timer_stop(struct pg_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool pg_timer_is_on(const struct pg_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

void pg_timer_close(struct pg_timer *t)
{
	if (t == NULL)
		return;
	uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

/* ---- the socket ------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *uv)
{
	struct pg_poll    *p = uv->data;
	struct pg_handles *h = p->handles;

	free(p);
	pg_handle_closed(h);
}

static void unwatch(struct pg_link *l)
{
	if (l->poll == NULL)
		return;
	/* Stopped now, not only when closed: libuv aborts on a closed descriptor that it still watches. */
	uv_poll_stop(&l->poll->uv);
	l->poll->link = NULL;
	uv_close((uv_handle_t *)&l->poll->uv, on_poll_closed);
	l->poll = NULL;
}

static void on_poll(uv_poll_t *uv, int status, int events);

static bool watch(struct pg_link *l, int events)
{
	int fd = PQsocket(l->db);

	if (l->poll != NULL && l->poll->fd != fd)
		unwatch(l);
	if (l->poll == NULL) {
		struct pg_poll *p = mem_alloc(sizeof *p);

		*p = (struct pg_poll){ .handles = l->handles, .link = l, .fd = fd };
		if (fd < 0 || uv_poll_init(l->handles->loop, &p->uv, fd) != 0) {
			free(p);
			return false;
		}
		p->uv.data = p;
		l->handles->open++;
		l->poll = p;
	}
	if (l->poll->events != events)
		uv_poll_start(&l->poll->uv, events, on_poll);
	l->poll->events = events;
	return true;
}

void pg_link_close(struct pg_link *l)
{
	unwatch(l);
	pg_timer_stop(l->timer);
	pg_lookup_drop(l->lookup);
	l->lookup = NULL;
	PQfinish(l->db);
	l->db = NULL;
	l->up = false;
	l->life++;
}

void pg_link_break(struct pg_link *l, const char *why)
{
	char text[300];

	/* `why` may live in what is freed now. Lines of libpq end with a newline. */
	snprintf(text, sizeof text, "%s", why);
	text[strcspn(text, "\n")] = '\0';
	pg_link_close(l);
	l->on_down(l->arg, text);
}

static void go_on_connecting(struct pg_link *l)
{
	/* libpq may close this socket and open another: it must not be watched meanwhile. */
	unwatch(l);
	PostgresPollingStatusType step = PQconnectPoll(l->db);

	if (step == PGRES_POLLING_READING || step == PGRES_POLLING_WRITING) {
		if (!watch(l, step == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE))
			pg_link_break(l, "no descriptor for the connection");
		return;
	}
	if (step != PGRES_POLLING_OK) {
		/* libpq goes on to the next host when one refuses, but not when one takes us and hangs up, as a
		 * proxy does whose server is dead. */
		l->turn++;
		pg_link_break(l, PQerrorMessage(l->db));
		return;
	}
	pg_timer_stop(l->timer);
	if (PQsetnonblocking(l->db, 1) != 0 || !watch(l, UV_READABLE)) {
		pg_link_break(l, "the connection cannot be watched");
		return;
	}
	l->up = true;
	l->on_up(l->arg);
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
	struct pg_poll *p = uv->data;
	struct pg_link *l = p->link;

	if (l == NULL)
		return;
	if (!l->up) {
		go_on_connecting(l);
		return;
	}
	uint64_t life = l->life;
	if (events & UV_WRITABLE)
		pg_link_flush(l);
	if (life != l->life || !((events & UV_READABLE) || status < 0))
		return;
	bool alive = PQconsumeInput(l->db) == 1;
	/* Answers that came before the end still count. */
	l->on_input(l->arg);
	if (life != l->life)
		return;
	if (!alive || PQstatus(l->db) == CONNECTION_BAD) {
		pg_link_break(l, PQerrorMessage(l->db));
	} else if (status < 0) {
		/* libuv has stopped watching a socket with an error (the server reset it), but what was
		 * read now need not be all: the end is behind it. */
		p->events = 0;
		pg_link_flush(l);
	}
}

/* The time for connecting begins anew when a name has been found. */
static void start_connecting(struct pg_link *l)
{
	l->db = pg_dsn_connect(l->dsn, l->name, l->turn, l->lookup, false);
	pg_lookup_drop(l->lookup);
	l->lookup = NULL;
	if (PQstatus(l->db) == CONNECTION_BAD || !watch(l, UV_WRITABLE))
		pg_timer_start(l->timer, 0);
	else
		pg_timer_start(l->timer, l->dsn->connect_ms);
}

static void connect_to_found(struct pg_link *l)
{
	struct buf hosts = { 0 }, addresses = { 0 }, ports = { 0 };
	size_t     n = pg_lookup_found(l->lookup, &hosts, &addresses, &ports);

	buf_fini(&hosts);
	buf_fini(&addresses);
	buf_fini(&ports);
	if (n > 0)
		start_connecting(l);
	else
		pg_link_break(l, "the name of the database's host cannot be looked up");
}

static void on_looked_up(void *arg)
{
	connect_to_found(arg);
}

/* Either the start failed at once, or the time for connecting is over, or a write met the end. */
static void on_connect_timer(void *arg)
{
	struct pg_link *l = arg;
	uint64_t        life = l->life;

	if (l->db == NULL) { /* names are still being looked up: go on with those that are known */
		connect_to_found(l);
		return;
	}
	if (l->up)
		l->on_input(l->arg); /* answers that came before the end still count */
	if (life != l->life)
		return;
	if (l->up || PQstatus(l->db) == CONNECTION_BAD) {
		pg_link_break(l, PQerrorMessage(l->db));
		return;
	}
	/* A host that swallows packets: begin with the next one. */
	l->turn++;
	pg_link_break(l, "connecting took too long");
}

void pg_link_init(struct pg_link *l, struct pg_handles *handles, const struct pg_dsn *dsn)
{
	*l = (struct pg_link){ .handles = handles, .dsn = dsn };
	l->timer = pg_timer_open(handles, on_connect_timer, l);
}

void pg_link_open(struct pg_link *l, const char *name)
{
	assert(!pg_link_is_open(l));
	l->life++;
	l->name = name;
	l->lookup = pg_lookup_start(l->handles, l->dsn, l->turn, on_looked_up, l);
	if (l->lookup == NULL)
		start_connecting(l);
	else
		pg_timer_start(l->timer, l->dsn->connect_ms);
}

bool pg_link_is_open(const struct pg_link *l)
{
	return l->db != NULL || l->lookup != NULL;
}

/*
 * A failed write shows as a broken connection when the rest of the input has been read. libpq may
 * read that rest itself, here: then the socket is gone already, and no poll will ever tell. Not
 * broken at once: whoever flushes does not expect to be called back.
 */
void pg_link_flush(struct pg_link *l)
{
	int rest = PQflush(l->db);

	if (!watch(l, rest > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE))
		pg_timer_start(l->timer, 0);
}

void pg_link_fini(struct pg_link *l)
{
	pg_link_close(l);
	pg_timer_close(l->timer);
}
