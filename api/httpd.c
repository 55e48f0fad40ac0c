/* SPDX-License-Identifier: Apache-2.0
 * httpd.c - what is the same whoever serves: connections and their time-outs, exchanges from
 * their headers to their answer. Answers that come late are collected and sent together in the
 * next run.
 */
#include "api/httpd_internal.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct whole { /* one allocation per request */
	struct exchange  x;
	struct httpd_own own;
};

/* A body longer than allowed is read to its end, so that the client reads our
 * answer and not a reset; up to this much. */
#define THROW_MAX ((size_t)64 << 20)
enum { EXPIRE_EVERY_MS = 500, POOL_MAX = 512, BODY_KEPT = 2048, REPLY_KEPT = 4096 };

static int64_t monotonic_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- connections and their time-outs ---------------------------------------- */

void peer_address(const struct sockaddr *from, uint8_t out[16])
{
	if (from->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
	} else if (from->sa_family == AF_INET) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
	}
}

void connection_enter(struct httpd *h, struct connection *c, enum stage stage)
{
	h->greeting -= c->stage == STAGE_GREET;
	h->greeting += stage == STAGE_GREET;
	list_remove(&c->node);
	c->stage = stage;
	c->since_ms = h->now_ms;
	if (stage != STAGE_HANDLE)
		list_push(&h->stages[stage], &c->node);
}

void connection_end(struct httpd *h, struct connection *c)
{
	/* Both are safe here only because no answer of ours is on its way on it. */
	if (h->config.tls == NULL && c->stage == STAGE_RECEIVE && (c->in_request || c->is_first) &&
	    h->config.slow_response.n)
		(void)!send(c->fd, h->config.slow_response.p, h->config.slow_response.n,
		            MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(c->fd, SHUT_RDWR);
	connection_enter(h, c, STAGE_HANDLE);
}

void connections_expire(struct httpd *h)
{
	const unsigned limit_ms[STAGE_COUNT] = {
		[STAGE_GREET] = h->config.greet_ms,
		[STAGE_RECEIVE] = h->config.receive_ms,
		[STAGE_IDLE] = h->config.idle_ms,
		[STAGE_SEND] = h->config.send_ms,
	};

	if (h->now_ms - h->expired_ms < EXPIRE_EVERY_MS)
		return;
	h->expired_ms = h->now_ms;
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		list_each (it, after, &h->stages[stage]) {
			struct connection *c = list_entry(it, struct connection, node);

			if (h->now_ms - c->since_ms < (int64_t)limit_ms[stage])
				break;
			connection_end(h, c);
		}
	}
}

void connection_admit(struct httpd *h, struct connection *c)
{
	list_init(&c->node);
	c->stage = STAGE_HANDLE;
	c->is_first = true;
	/* Idle keep-alive connections must not lock new clients out. */
	if (++h->connections * 10 > h->config.connections_max * 9 &&
	    !list_is_empty(&h->stages[STAGE_IDLE]))
		connection_end(h, list_entry(h->stages[STAGE_IDLE].next, struct connection, node));
}

void connection_gone(struct httpd *h, struct connection *c)
{
	connection_enter(h, c, STAGE_HANDLE);
	free(c->peer.memo);
	h->connections--;
}

/* ---- one exchange --------------------------------------------------------------- */

/* Under load each is used again at once, with the memory of its body, its answer and its arena. */
static struct whole *take_whole(struct httpd *h)
{
	struct list  *node = list_pop(&h->pool);
	struct whole *w;
	struct arena  arena;
	struct buf    body, reply;

	if (node == NULL)
		return mem_alloc(sizeof *w);
	h->pooled--;
	w = list_entry(node, struct whole, own.node);
	arena = w->x.arena;
	body = w->x.body;
	reply = w->x.reply;
	*w = (struct whole){ .x = { .arena = arena, .body = body, .reply = reply } };
	return w;
}

static void give_back(struct httpd *h, struct whole *w)
{
	if (h->pooled >= POOL_MAX || w->x.body.cap > BODY_KEPT || w->x.reply.cap > REPLY_KEPT) {
		buf_fini(&w->x.reply);
		buf_fini(&w->x.body);
		arena_fini(&w->x.arena);
		free(w);
		return;
	}
	buf_clear(&w->x.reply);
	buf_clear(&w->x.body);
	arena_clear(&w->x.arena);
	list_push_first(&h->pool, &w->own.node);
	h->pooled++;
}

struct exchange *exchange_new(struct httpd *h, struct connection *c, void *server,
                              struct str method, struct str path)
{
	struct whole *w = take_whole(h);

	w->own.x = &w->x;
	w->x.own = &w->own;
	w->x.method = method;
	w->x.path = path;
	w->x.peer = &c->peer;
	w->own.httpd = h;
	w->own.server = server;
	w->own.connection = c;
	list_init(&w->own.node);
	list_init(&w->own.watch);
	return &w->x;
}

void exchange_free(struct exchange *x)
{
	struct httpd *h = x->own->httpd;

	h->kind->unwatch(x);
	h->config.done(h->config.ctx, x);
	list_remove(&x->own->node);
	give_back(h, list_entry(x, struct whole, x));
}

bool exchange_handle(struct exchange *x)
{
	struct httpd *h = x->own->httpd;

	connection_enter(h, x->own->connection, STAGE_HANDLE);
	x->since_us = monotonic_us(CLOCK_MONOTONIC);
	x->own->in_handler = true;
	h->config.handle(h->config.ctx, x);
	x->own->in_handler = false;
	if (x->status)
		return true;
	assert(!x->body_too_big && !x->body_unclear && x->head == HEAD_FITS);
	x->own->suspended = true;
	list_push(&h->open, &x->own->node);
	return false;
}

/* What can be refused without its body is refused now where the client waits for 100 Continue,
 * or means to send for ever. What a proxy before us may read as another end of the body than we
 * do could smuggle a request past it (RFC 9112, 6.3): that is unclear. */
bool exchange_begin(struct exchange *x, enum head head, bool is_unclear)
{
	struct httpd      *h = x->own->httpd;
	struct connection *c = x->own->connection;
	struct str         length;
	uint64_t           n = 0;

	/* Where it was seen to begin, its time runs since then. */
	if (!c->in_request || c->stage != STAGE_RECEIVE)
		connection_enter(h, c, STAGE_RECEIVE);
	c->in_request = true;
	x->head = head;
	x->body_unclear = is_unclear;
	if (head != HEAD_FITS || is_unclear)
		return false;
	x->since_us = h->now_ms * 1000;
	x->unwelcome = h->config.admit && !h->config.admit(h->config.ctx, x);
	length = exchange_header(x, "Content-Length");
	if (length.n == 0 || !text_to_u64(length, &n))
		return true;
	if (n > h->config.body_max || x->unwelcome) {
		x->body_too_big = n > h->config.body_max;
		return n <= THROW_MAX && exchange_header(x, "Expect").n == 0;
	}
	return true; /* memory for it is taken as it comes, whatever length is announced */
}

bool exchange_take_body(struct exchange *x, const char *data, size_t n)
{
	if (x->body.n + n > x->own->httpd->config.body_max)
		x->body_too_big = true;
	if (!x->body_too_big && !x->unwelcome) {
		buf_add(&x->body, data, n);
		return true;
	}
	buf_clear(&x->body);
	x->own->thrown += n;
	return x->own->thrown <= THROW_MAX;
}

/* ---- what handlers use -------------------------------------------------------------- */

struct str exchange_header(const struct exchange *x, const char *name)
{
	return x->own->httpd->kind->header(x, name);
}

struct join {
	struct str name, first;
	struct buf joined; /* of more than one */
	bool       found;
};

static bool join_header(void *arg, struct str name, struct str value)
{
	struct join *j = arg;

	if (name.n != j->name.n || strncasecmp(name.p, j->name.p, name.n) != 0)
		return true;
	if (!j->found) {
		j->found = true;
		j->first = value;
		return true;
	}
	if (j->joined.n == 0)
		buf_str(&j->joined, j->first);
	buf_cstr(&j->joined, ", ");
	buf_str(&j->joined, value);
	return true;
}

struct str exchange_header_list(struct exchange *x, const char *name)
{
	struct join j = { .name = str_of(name) };
	struct str  list;

	x->own->httpd->kind->each_header(x, join_header, &j);
	list = arena_str(&x->arena, j.joined.n > 0 ? buf_view(&j.joined) : j.first);
	buf_fini(&j.joined);
	return list;
}

void exchange_each_query(struct exchange *x,
                         bool (*each)(void *arg, struct str name, struct str value), void *arg)
{
	x->own->httpd->kind->each_query(x, each, arg);
}

void exchange_set_header(struct exchange *x, const char *name, struct str value)
{
	char *copy;

	assert(x->header_count < EXCHANGE_HEADERS_MAX);
	copy = (char *)(uintptr_t)arena_str(&x->arena, value).p;
	for (size_t i = text_is_printable(value) ? value.n : 0; i < value.n; i++)
		copy[i] = value.p[i] >= ' ' && value.p[i] < 0x7f ? value.p[i] : '?';
	x->headers[x->header_count++] = (struct exchange_line){ name, copy };
}

struct buf exchange_room(struct exchange *x)
{
	struct buf room = x->reply;

	x->reply = (struct buf){ 0 };
	return room;
}

void exchange_answer(struct exchange *x, unsigned status, const char *content_type,
                     struct buf *body)
{
	struct httpd *h = x->own->httpd;

	assert(!x->status && status);
	x->status = status;
	x->content_type = content_type;
	if (body) {
		buf_fini(&x->reply);
		x->reply = *body;
		*body = (struct buf){ 0 };
	}
	h->kind->unwatch(x);
	if (x->own->in_handler)
		return;
	list_remove(&x->own->node);
	list_push(&h->answered, &x->own->node);
}

bool exchange_is_answered(const struct exchange *x)
{
	return x->status != 0;
}

void exchange_watch(struct exchange *x, void (*gone)(void *arg), void *arg)
{
	if (x->status || x->own->watched)
		return;
	x->own->gone = gone;
	x->own->gone_arg = arg;
	x->own->httpd->kind->watch(x);
}

/* ---- running ------------------------------------------------------------------------- */

static void httpd_run(void *ctx)
{
	struct httpd *h = ctx;

	h->now_ms = monotonic_us(CLOCK_MONOTONIC_COARSE) / 1000;
	h->kind->run(h);
	connections_expire(h);
}

static int httpd_timeout_ms(void *ctx)
{
	struct httpd *h = ctx;
	int           ms;

	if (h->kind->is_due(h))
		return 0;
	ms = h->kind->timeout_ms(h);
	if (ms >= 0)
		return ms;
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
		if (!list_is_empty(&h->stages[stage]))
			return EXPIRE_EVERY_MS;
	return -1;
}

static bool httpd_is_ready(void *ctx)
{
	struct httpd *h = ctx;

	return !list_is_empty(&h->answered);
}

struct pollable httpd_pollable(struct httpd *h)
{
	return (struct pollable){
		.ctx = h,
		.fds = { h->fds[0], h->fds[1] },
		.run = httpd_run,
		.timeout_ms = httpd_timeout_ms,
		.is_ready = httpd_is_ready,
	};
}

/* ---- open and close --------------------------------------------------------------------- */

struct httpd *httpd_open(const struct httpd_config *config, struct err *err)
{
	struct httpd *h = mem_alloc(sizeof *h);

	h->config = *config;
	h->kind = config->tls != NULL || config->by_library ? &httpd_mhd : &httpd_clear;
	h->fds[0] = h->fds[1] = -1;
	list_init(&h->answered);
	list_init(&h->open);
	list_init(&h->pool);
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		list_init(&h->stages[i]);
	h->now_ms = monotonic_us(CLOCK_MONOTONIC_COARSE) / 1000;
	if (h->kind->open(h, err))
		return h;
	close(config->listen_fd);
	free(h);
	return NULL;
}

void httpd_quiesce(struct httpd *h)
{
	if (h->quiet)
		return;
	h->quiet = true;
	h->kind->quiesce(h);
	/* Who waits for nothing is let go; the others after their answer. */
	list_each (it, after, &h->stages[STAGE_IDLE])
		connection_end(h, list_entry(it, struct connection, node));
}

unsigned httpd_connections(const struct httpd *h)
{
	return h->connections;
}

void httpd_close(struct httpd *h)
{
	struct list *node;

	while ((node = list_pop(&h->open)) != NULL)
		h->config.cut_off(h->config.ctx, list_entry(node, struct httpd_own, node)->x);
	h->quiet = true;
	httpd_run(h);
	h->kind->close(h);
	h->pooled = POOL_MAX; /* none is kept any more */
	while ((node = list_pop(&h->pool)) != NULL)
		give_back(h, list_entry(node, struct whole, own.node));
	free(h);
}
