/* SPDX-License-Identifier: Apache-2.0
 * httpd.c - libmicrohttpd in external epoll mode. A request that is not answered at once is suspended; answers
 * are collected, their connections resumed together, then the daemon is run once: each resume costs a walk.
 */
#include "api/httpd.h"

#include "api/tls.h"
#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What a connection is doing, for its time-out. Handled requests have none here:
 * whoever owes the answer has its own limit. */
enum stage { STAGE_GREET, STAGE_RECEIVE, STAGE_IDLE, STAGE_SEND, STAGE_COUNT, STAGE_HANDLE = STAGE_COUNT };

struct connection {
	struct list node;     /* on the list of its stage, oldest first */
	enum stage  stage;
	bool        in_body;  /* RECEIVE: headers are complete, so a raw answer cannot hit another request */
	bool        is_first; /* RECEIVE: no request has been answered on it */
	int         fd;
	int64_t     since_ms;
	struct peer peer;
	struct tls_keys *keys;     /* TLS; NULL: in the clear */
	void        *session;      /* until its names are known */
	struct arena names;
};

struct httpd_own { /* of an exchange */
	struct httpd          *httpd;
	struct MHD_Connection *mhd;
	struct connection     *connection;
	struct list            node;     /* on httpd.answered once answered while suspended */
	size_t                 thrown;   /* bytes of a body that is too big */
	struct list            unwatched; /* on httpd.unwatched until its client is watched */
	int64_t                watch_at;
	bool                   suspended, in_handler, queued, watched;
	void                 (*gone)(void *arg);
	void                  *gone_arg;
};

struct whole { /* one allocation per request */
	struct exchange  x;
	struct httpd_own own;
};

struct httpd {
	struct httpd_config config;
	struct MHD_Daemon  *daemon;
	int                 epoll_fd, watch_fd;
	struct list         stages[STAGE_COUNT];
	struct list         answered;
	struct list         open;      /* suspended exchanges, by own.node, until answered */
	struct list         unwatched; /* of these, who is to be watched, next one first */
	unsigned            connections, watched, greeting;
	int64_t             now_ms, expired_ms;
	bool                quiet;
};

/* A body longer than allowed is read to its end, so that the client reads our
 * answer and not a reset; up to this much. */
#define THROW_MAX ((size_t)64 << 20)
/* Most that wait have their answer in a few ms; being watched costs two system calls. */
enum { EXPIRE_EVERY_MS = 500, WATCH_AFTER_MS = 100, POOL_BYTES = 2 * HTTPD_HEAD_MAX,
       GREETING_MAX = 512, GREETING_EACH_MAX = 256 };

static int64_t monotonic_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- who is there ------------------------------------------------------------- */

static void read_address(struct MHD_Connection *mhd, uint8_t out[16])
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr          *any = info ? info->client_addr : NULL;

	if (any && any->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)(const void *)any)->sin6_addr, 16);
	} else if (any && any->sa_family == AF_INET) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &((const struct sockaddr_in *)(const void *)any)->sin_addr, 4);
	}
}

/* ---- connections and their time-outs ---------------------------------------- */

static void enter_stage(struct httpd *h, struct connection *c, enum stage stage)
{
	h->greeting -= c->stage == STAGE_GREET;
	h->greeting += stage == STAGE_GREET;
	list_remove(&c->node);
	c->stage = stage;
	c->since_ms = h->now_ms;
	if (stage != STAGE_HANDLE)
		list_push(&h->stages[stage], &c->node);
}

static void end_connection(struct httpd *h, struct connection *c)
{
	/* Both are safe here only because no answer of ours is on its way on it. */
	if (c->keys == NULL && c->stage == STAGE_RECEIVE && (c->in_body || c->is_first) && h->config.slow_response.n)
		(void)!send(c->fd, h->config.slow_response.p, h->config.slow_response.n,
		            MSG_DONTWAIT | MSG_NOSIGNAL);
	/* The daemon finds the end of file and does the rest. */
	shutdown(c->fd, SHUT_RDWR);
	enter_stage(h, c, STAGE_HANDLE);
}

/* What a client sent and its leaving may be one edge of the daemon's epoll: it reads the first, a part of
 * a request, and hears of the second only when the time for receiving is over. */
static bool has_left(const struct connection *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void expire(struct httpd *h)
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
			end_connection(h, c);
		}
	}
	list_each (it, after, &h->stages[STAGE_RECEIVE])
		if (has_left(list_entry(it, struct connection, node)))
			end_connection(h, list_entry(it, struct connection, node));
}

/* An IPv6 network is one client. */
static bool is_same_client(const uint8_t a[16], const uint8_t b[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

	return memcmp(a, b, memcmp(a, mapped, sizeof mapped) == 0 ? 16 : 8) == 0;
}

/* Whose handshakes hold more than half of the places loses his own oldest, not that of others. */
static void limit_greeting(struct httpd *h, const struct connection *newest)
{
	struct connection *oldest = NULL;
	unsigned           n = 0;

	if (h->greeting <= GREETING_EACH_MAX)
		return;
	list_each (it, after, &h->stages[STAGE_GREET]) {
		struct connection *c = list_entry(it, struct connection, node);

		if (!is_same_client(c->peer.address, newest->peer.address))
			continue;
		oldest = oldest ? oldest : c;
		n++;
	}
	if (n > GREETING_EACH_MAX)
		end_connection(h, oldest);
	else if (h->greeting > GREETING_MAX)
		end_connection(h, list_entry(h->stages[STAGE_GREET].next, struct connection, node));
}

/* A handshake waits for its client without stopping anyone; those that never end must not hold all the places, and
 * what may be worked on in one turn of the loop is bounded. */
static void begin_session(struct httpd *h, struct connection *c, struct MHD_Connection *mhd)
{
	if (h->config.tls == NULL) {
		enter_stage(h, c, STAGE_RECEIVE);
		return;
	}
	c->session = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
	c->keys = tls_begin(h->config.tls, c->session);
	enter_stage(h, c, STAGE_GREET);
	limit_greeting(h, c);
}

/* The first request is there, so the handshake is over. */
static void read_names(struct connection *c)
{
	struct str names[TLS_NAMES_MAX], *kept;
	size_t     n;

	if (c->session == NULL)
		return;
	n = tls_names(c->session, &c->names, names);
	c->session = NULL;
	if (n == 0)
		return;
	kept = arena_array(&c->names, n, sizeof *kept);
	memcpy(kept, names, n * sizeof *kept);
	c->peer.names = kept;
	c->peer.name_count = n;
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
	struct httpd      *h = ctx;
	struct connection *c = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (!c)
			return;
		enter_stage(h, c, STAGE_HANDLE);
		if (c->keys)
			tls_end(c->keys);
		arena_fini(&c->names);
		free(c->peer.memo);
		free(c);
		*socket_context = NULL;
		h->connections--;
		return;
	}
	c = mem_alloc(sizeof *c);
	list_init(&c->node);
	c->stage = STAGE_HANDLE;
	c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	c->is_first = true;
	read_address(mhd, c->peer.address);
	*socket_context = c;
	begin_session(h, c, mhd);
	/* Idle keep-alive connections must not lock new clients out. */
	if (++h->connections * 10 > h->config.connections_max * 9 &&
	    !list_is_empty(&h->stages[STAGE_IDLE]))
		end_connection(h, list_entry(h->stages[STAGE_IDLE].next, struct connection, node));
}

/* ---- one exchange --------------------------------------------------------------- */

static struct exchange *exchange_new(struct httpd *h, struct MHD_Connection *mhd, const char *path,
                                     const char *method)
{
	struct whole *w = mem_alloc(sizeof *w);

	w->x.own = &w->own;
	w->x.method = str_of(method);
	w->x.path = str_of(path);
	w->own.httpd = h;
	w->own.mhd = mhd;
	w->own.connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	read_names(w->own.connection);
	w->x.peer = &w->own.connection->peer;
	list_init(&w->own.node);
	list_init(&w->own.unwatched);
	return &w->x;
}

static void unwatch(struct exchange *x)
{
	struct httpd *h = x->own->httpd;

	list_remove(&x->own->unwatched);
	if (!x->own->watched)
		return;
	x->own->watched = false;
	h->watched--;
	epoll_ctl(h->watch_fd, EPOLL_CTL_DEL, x->own->connection->fd, NULL);
}

static void exchange_free(struct exchange *x)
{
	struct httpd *h = x->own->httpd;

	unwatch(x);
	h->config.done(h->config.ctx, x);
	list_remove(&x->own->node);
	buf_fini(&x->body);
	buf_fini(&x->reply);
	arena_fini(&x->arena);
	free(list_entry(x, struct whole, x));
}

struct header_walk {
	const char *name;
	struct buf *joined; /* or NULL */
	unsigned    n;
};

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct header_walk *w = ctx;

	(void)kind;
	if (strcasecmp(name, w->name) != 0)
		return MHD_YES;
	if (w->n++ > 0 && w->joined)
		buf_cstr(w->joined, ", ");
	if (w->joined)
		buf_cstr(w->joined, value ? value : "");
	return MHD_YES;
}

static unsigned count_headers(const struct exchange *x, const char *name, struct buf *joined)
{
	struct header_walk w = { name, joined, 0 };

	MHD_get_connection_values(x->own->mhd, MHD_HEADER_KIND, on_header, &w);
	return w.n;
}

static enum MHD_Result queue_answer(struct exchange *x)
{
	struct httpd        *h = x->own->httpd;
	size_t               n = x->reply.n;
	struct MHD_Response *response;

	response = n ? MHD_create_response_from_buffer(n, buf_take(&x->reply), MHD_RESPMEM_MUST_FREE)
	             : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!response)
		abort();
	if (x->content_type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->content_type);
	for (size_t i = 0; i < x->header_count; i++)
		MHD_add_response_header(response, x->headers[i].name, x->headers[i].value);
	if (h->quiet)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result queued = MHD_queue_response(x->own->mhd, x->status, response);
	MHD_destroy_response(response);
	x->own->queued = true;
	enter_stage(h, x->own->connection, STAGE_SEND);
	return queued;
}

static enum MHD_Result handle(struct exchange *x)
{
	struct httpd *h = x->own->httpd;

	enter_stage(h, x->own->connection, STAGE_HANDLE);
	x->since_us = monotonic_us(CLOCK_MONOTONIC);
	x->own->in_handler = true;
	h->config.handle(h->config.ctx, x);
	x->own->in_handler = false;
	if (x->status)
		return queue_answer(x);
	assert(!x->body_too_big && !x->body_unclear && x->head == HEAD_FITS);
	x->own->suspended = true;
	list_push(&h->open, &x->own->node);
	MHD_suspend_connection(x->own->mhd);
	return MHD_YES;
}

/* What a proxy before us may read as another end of the body than we do could
 * smuggle a request past it (RFC 9112, 6.3). */
static bool is_unclear(const struct exchange *x)
{
	unsigned lengths = count_headers(x, MHD_HTTP_HEADER_CONTENT_LENGTH, NULL);

	return lengths > 1 || (lengths == 1 && count_headers(x, MHD_HTTP_HEADER_TRANSFER_ENCODING, NULL) > 0);
}

static enum MHD_Result add_size(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
	size_t *n = ctx;

	(void)kind;
	*n += strlen(name) + (value ? strlen(value) : 0) + sizeof ": \r\n" - 1;
	return MHD_YES;
}

static enum head judge_head(const struct exchange *x)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(x->own->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	size_t headers = 0;

	if (!info || info->header_size <= HTTPD_HEAD_MAX)
		return HEAD_FITS;
	MHD_get_connection_values(x->own->mhd, MHD_HEADER_KIND, add_size, &headers);
	return headers > info->header_size / 2 ? HEAD_LONG_HEADERS : HEAD_LONG_URL;
}

/* Headers are complete. What can be refused without its body is refused now
 * where the client waits for 100 Continue, or means to send for ever. */
static enum MHD_Result begin_exchange(struct exchange *x)
{
	struct httpd *h = x->own->httpd;
	struct str    length = exchange_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t      n = 0;

	x->own->connection->in_body = true;
	enter_stage(h, x->own->connection, STAGE_RECEIVE);
	x->head = judge_head(x);
	x->body_unclear = is_unclear(x);
	if (x->head != HEAD_FITS || x->body_unclear)
		return handle(x);
	x->since_us = h->now_ms * 1000;
	x->unwelcome = h->config.admit && !h->config.admit(h->config.ctx, x);
	if (length.n == 0 || !text_to_u64(length, &n))
		return MHD_YES;
	if (n > h->config.body_max || x->unwelcome) {
		x->body_too_big = n > h->config.body_max;
		if (n > THROW_MAX || exchange_header(x, MHD_HTTP_HEADER_EXPECT).n)
			return handle(x);
	} else if (n > 0) {
		buf_reserve(&x->body, (size_t)n);
	}
	return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t n)
{
	if (x->body.n + n > x->own->httpd->config.body_max)
		x->body_too_big = true;
	if (!x->body_too_big && !x->unwelcome) {
		buf_add(&x->body, data, n);
		return MHD_YES;
	}
	buf_clear(&x->body);
	x->own->thrown += n;
	return x->own->thrown > THROW_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **user)
{
	struct exchange *x = *user;

	(void)version;
	if (!x) {
		*user = x = exchange_new(ctx, mhd, path, method);
		return begin_exchange(x);
	}
	if (*n > 0) {
		size_t got = *n;

		*n = 0;
		return x->own->queued ? MHD_YES : take_body(x, data, got);
	}
	if (x->own->queued)
		return MHD_YES;
	return x->status ? queue_answer(x) : handle(x);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **user,
                         enum MHD_RequestTerminationCode code)
{
	struct httpd      *h = ctx;
	struct exchange   *x = *user;
	struct connection *c;

	(void)mhd;
	(void)code;
	if (!x)
		return;
	*user = NULL;
	c = x->own->connection;
	exchange_free(x);
	c->in_body = c->is_first = false;
	enter_stage(h, c, STAGE_IDLE);
}

/* ---- what handlers use -------------------------------------------------------------- */

struct str exchange_header(const struct exchange *x, const char *name)
{
	return str_of(MHD_lookup_connection_value(x->own->mhd, MHD_HEADER_KIND, name));
}

struct str exchange_header_list(struct exchange *x, const char *name)
{
	struct buf joined = { 0 };
	struct str list;

	count_headers(x, name, &joined);
	list = arena_str(&x->arena, buf_view(&joined));
	buf_fini(&joined);
	return list;
}

struct query_walk {
	bool (*each)(void *arg, struct str name, struct str value);
	void  *arg;
};

static enum MHD_Result on_query(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_n,
                                const char *value, size_t value_n)
{
	struct query_walk *w = ctx;

	(void)kind;
	return w->each(w->arg, (struct str){ name, name_n }, (struct str){ value, value ? value_n : 0 })
	               ? MHD_YES
	               : MHD_NO;
}

void exchange_each_query(struct exchange *x, bool (*each)(void *arg, struct str name, struct str value),
                         void *arg)
{
	struct query_walk w = { each, arg };

	MHD_get_connection_values_n(x->own->mhd, MHD_GET_ARGUMENT_KIND, on_query, &w);
}

void exchange_set_header(struct exchange *x, const char *name, struct str value)
{
	char *copy;

	assert(x->header_count < EXCHANGE_HEADERS_MAX);
	copy = arena_alloc(&x->arena, value.n + 1);
	for (size_t i = 0; i < value.n; i++)
		copy[i] = value.p[i] >= ' ' && value.p[i] < 0x7f ? value.p[i] : '?';
	x->headers[x->header_count++] = (struct exchange_line){ name, copy };
}

void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct buf *body)
{
	struct httpd *h = x->own->httpd;

	assert(!x->status && status);
	x->status = status;
	x->content_type = content_type;
	if (body) {
		x->reply = *body;
		*body = (struct buf){ 0 };
	}
	unwatch(x);
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
	struct httpd *h = x->own->httpd;

	if (x->status || x->own->watched)
		return;
	x->own->gone = gone;
	x->own->gone_arg = arg;
	x->own->watch_at = h->now_ms + WATCH_AFTER_MS;
	list_remove(&x->own->unwatched);
	list_push(&h->unwatched, &x->own->unwatched);
}

/* ---- running ------------------------------------------------------------------------- */

static void watch(struct exchange *x)
{
	struct httpd      *h = x->own->httpd;
	struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLONESHOT, .data.ptr = x };

	/* Without a watch the request only stays until its answer. */
	if (epoll_ctl(h->watch_fd, EPOLL_CTL_ADD, x->own->connection->fd, &ev) != 0)
		return;
	x->own->watched = true;
	h->watched++;
}

static void see_who_left(struct httpd *h)
{
	struct epoll_event events[64];
	int                n;

	while (!list_is_empty(&h->unwatched)) {
		struct httpd_own *own = list_entry(h->unwatched.next, struct httpd_own, unwatched);

		if (own->watch_at > h->now_ms)
			break;
		list_remove(&own->unwatched);
		watch(&list_entry(own, struct whole, own)->x);
	}
	n = h->watched ? epoll_wait(h->watch_fd, events, 64, 0) : 0;
	for (int i = 0; i < n; i++) {
		struct exchange *x = events[i].data.ptr;

		unwatch(x);
		x->own->gone(x->own->gone_arg);
	}
}

static void httpd_run(void *ctx)
{
	struct httpd *h = ctx;
	struct list  *node;

	h->now_ms = monotonic_us(CLOCK_MONOTONIC_COARSE) / 1000;
	see_who_left(h);
	while ((node = list_pop(&h->answered)) != NULL) {
		struct httpd_own *own = list_entry(node, struct httpd_own, node);

		own->suspended = false;
		MHD_resume_connection(own->mhd);
	}
	bool was_full = h->connections >= h->config.connections_max;
	MHD_run(h->daemon);
	/* At the limit it stops listening, and begins again only in the run after a place is free. */
	if (was_full && h->connections < h->config.connections_max)
		MHD_run(h->daemon);
	expire(h);
}

static int httpd_timeout_ms(void *ctx)
{
	struct httpd      *h = ctx;
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms == 0)
		return 0;
	if (!list_is_empty(&h->unwatched))
		return WATCH_AFTER_MS;
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
		.fds = { h->epoll_fd, h->watch_fd },
		.run = httpd_run,
		.timeout_ms = httpd_timeout_ms,
		.is_ready = httpd_is_ready,
	};
}

/* ---- open and close --------------------------------------------------------------------- */

/* %2F in a path segment is data: paths are decoded after they were split. */
static size_t unescape_nothing(void *ctx, struct MHD_Connection *mhd, char *text)
{
	(void)ctx;
	(void)mhd;
	return strlen(text);
}

__attribute__((format(printf, 2, 0)))
static void on_log(void *ctx, const char *format, va_list ap)
{
	struct httpd *h = ctx;
	char          line[256];

	vsnprintf(line, sizeof line, format, ap);
	line[strcspn(line, "\r\n")] = '\0';
	h->config.log(h->config.ctx, line);
}

static bool start_daemon(struct httpd *h, struct err *err)
{
	const struct MHD_OptionItem clear[] = { { MHD_OPTION_END, 0, NULL } };
	/* A daemon with TLS wants a certificate at its start; each session gets ours before it begins. */
	struct MHD_OptionItem secret[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)tls_no_keys },
		{ MHD_OPTION_END, 0, NULL },
	};
	const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	h->daemon = MHD_start_daemon(
		h->config.tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL,
		on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, (void *)h,
		MHD_OPTION_LISTEN_SOCKET, h->config.listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, h->config.connections_max,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape_nothing, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, (void *)h,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, (void *)h,
		MHD_OPTION_ARRAY, h->config.tls ? secret : clear,
		MHD_OPTION_END);
	if (!h->daemon)
		return err_set(err, ERR_UNAVAILABLE,
		               "the HTTP listener cannot be started: %s", strerror(errno));
	h->epoll_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	return true;
}

struct httpd *httpd_open(const struct httpd_config *config, struct err *err)
{
	struct httpd *h = mem_alloc(sizeof *h);

	h->config = *config;
	list_init(&h->answered);
	list_init(&h->open);
	list_init(&h->unwatched);
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		list_init(&h->stages[i]);
	h->now_ms = monotonic_us(CLOCK_MONOTONIC_COARSE) / 1000;
	h->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->watch_fd < 0) {
		err_set(err, ERR_UNAVAILABLE, "no epoll descriptor is left: %s", strerror(errno));
		goto close_listener;
	}
	if (!start_daemon(h, err))
		goto close_watch;
	return h;
close_watch:
	close(h->watch_fd);
close_listener:
	close(config->listen_fd);
	free(h);
	return NULL;
}

void httpd_quiesce(struct httpd *h)
{
	if (h->quiet)
		return;
	h->quiet = true;
	MHD_socket fd = MHD_quiesce_daemon(h->daemon);
	if (fd != MHD_INVALID_SOCKET)
		close(fd);
	/* Who waits for nothing is let go; the others after their answer. */
	list_each (it, after, &h->stages[STAGE_IDLE])
		end_connection(h, list_entry(it, struct connection, node));
}

unsigned httpd_connections(const struct httpd *h)
{
	return h->connections;
}

void httpd_close(struct httpd *h)
{
	struct list *node;

	/* The daemon refuses to stop while a connection is suspended. */
	while ((node = list_pop(&h->open)) != NULL) {
		struct httpd_own *own = list_entry(node, struct httpd_own, node);

		h->config.cut_off(h->config.ctx, &list_entry(own, struct whole, own)->x);
	}
	h->quiet = true;
	httpd_run(h);
	MHD_stop_daemon(h->daemon);
	close(h->watch_fd);
	free(h);
}
