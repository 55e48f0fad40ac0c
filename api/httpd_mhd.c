/* SPDX-License-Identifier: Apache-2.0
 * httpd_mhd.c - libmicrohttpd in external epoll mode. A request that is not answered at once is
 * suspended; those that are answered are resumed together, then the daemon is run once: each
 * resume costs a walk.
 */
#include "api/httpd_internal.h"

#include "api/head.h"
#include "api/tls.h"
#include "coordinator/base/mem.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct mhd { /* the server of a listener */
	struct MHD_Daemon *daemon;
	int                watch_fd;
	struct list        unwatched; /* exchanges to be watched, by own.watch, next one first */
	unsigned           watched;
	int64_t            looked_ms; /* when it was asked who has left in the midst of a request */
};

struct mhd_connection {
	struct connection is;
	struct tls_keys  *keys;    /* NULL: in the clear */
	void             *session; /* until its names are known */
	struct arena      names;
	bool              queued;  /* the answer of the request under way */
};

/* Most that wait have their answer in a few ms; being watched costs two system calls. */
enum { LOOK_EVERY_MS = 500, WATCH_AFTER_MS = 100, POOL_BYTES = 2 * HTTPD_HEAD_MAX,
       GREETING_MAX = 512, GREETING_EACH_MAX = 256 };

static struct mhd_connection *connection_of(const struct exchange *x)
{
	return (struct mhd_connection *)(void *)x->own->connection;
}

/* ---- connections -------------------------------------------------------------- */

static void read_address(struct MHD_Connection *mhd, uint8_t out[16])
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	if (info != NULL && info->client_addr != NULL)
		peer_address(info->client_addr, out);
}

/* What a client sent and its leaving may be one edge of the daemon's epoll: it reads the first,
 * a part of a request, and hears of the second only when the time for receiving is over. */
static bool has_left(const struct connection *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void end_who_left(struct httpd *h)
{
	struct mhd *m = h->server;

	if (h->now_ms - m->looked_ms < LOOK_EVERY_MS)
		return;
	m->looked_ms = h->now_ms;
	list_each (it, after, &h->stages[STAGE_RECEIVE])
		if (has_left(list_entry(it, struct connection, node)))
			connection_end(h, list_entry(it, struct connection, node));
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
		connection_end(h, oldest);
	else if (h->greeting > GREETING_MAX)
		connection_end(h, list_entry(h->stages[STAGE_GREET].next, struct connection, node));
}

/* A handshake waits for its client without stopping anyone; those that never end must not hold
 * all the places, and what may be worked on in one turn of the loop is bounded. */
static void begin_session(struct httpd *h, struct mhd_connection *c, struct MHD_Connection *mhd)
{
	if (h->config.tls == NULL) {
		connection_enter(h, &c->is, STAGE_RECEIVE);
		return;
	}
	c->session = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
	c->keys = tls_begin(h->config.tls, c->session);
	connection_enter(h, &c->is, STAGE_GREET);
	limit_greeting(h, &c->is);
}

/* The first request is there, so the handshake is over. */
static void read_names(struct mhd_connection *c)
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
	c->is.peer.names = kept;
	c->is.peer.name_count = n;
}

static void close_connection(struct httpd *h, struct mhd_connection *c)
{
	connection_gone(h, &c->is);
	if (c->keys)
		tls_end(c->keys);
	arena_fini(&c->names);
	free(c);
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
	struct httpd          *h = ctx;
	struct mhd_connection *c = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		*socket_context = NULL;
		if (c)
			close_connection(h, c);
		return;
	}
	c = mem_alloc(sizeof *c);
	c->is.fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	read_address(mhd, c->is.peer.address);
	*socket_context = c;
	connection_admit(h, &c->is);
	begin_session(h, c, mhd);
}

/* ---- one exchange --------------------------------------------------------------- */

static void unwatch(struct exchange *x)
{
	struct mhd *m = x->own->httpd->server;

	list_remove(&x->own->watch);
	if (!x->own->watched)
		return;
	x->own->watched = false;
	m->watched--;
	epoll_ctl(m->watch_fd, EPOLL_CTL_DEL, x->own->connection->fd, NULL);
}

struct header_walk {
	exchange_each *each;
	void          *arg;
};

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
	struct header_walk *w = ctx;

	(void)kind;
	return w->each(w->arg, str_of(name), str_of(value ? value : "")) ? MHD_YES : MHD_NO;
}

static void each_header(const struct exchange *x, exchange_each *each, void *arg)
{
	struct header_walk w = { each, arg };

	MHD_get_connection_values(x->own->server, MHD_HEADER_KIND, on_header, &w);
}

static struct str header(const struct exchange *x, const char *name)
{
	return str_of(MHD_lookup_connection_value(x->own->server, MHD_HEADER_KIND, name));
}

static enum MHD_Result on_query(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_n,
                                const char *value, size_t value_n)
{
	struct header_walk *w = ctx;

	(void)kind;
	return w->each(w->arg, (struct str){ name, name_n },
	               (struct str){ value, value ? value_n : 0 })
	               ? MHD_YES
	               : MHD_NO;
}

static void each_query(const struct exchange *x, exchange_each *each, void *arg)
{
	struct header_walk w = { each, arg };

	MHD_get_connection_values_n(x->own->server, MHD_GET_ARGUMENT_KIND, on_query, &w);
}

static enum MHD_Result queue_answer(struct exchange *x)
{
	struct httpd        *h = x->own->httpd;
	size_t               n = x->reply.n;
	struct MHD_Response *response;

	response =
		n ? MHD_create_response_from_buffer(n, buf_take(&x->reply), MHD_RESPMEM_MUST_FREE)
		  : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!response)
		abort();
	if (x->content_type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->content_type);
	for (size_t i = 0; i < x->header_count; i++)
		MHD_add_response_header(response, x->headers[i].name, x->headers[i].value);
	if (h->quiet)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result queued = MHD_queue_response(x->own->server, x->status, response);
	MHD_destroy_response(response);
	connection_of(x)->queued = true;
	connection_enter(h, x->own->connection, STAGE_SEND);
	return queued;
}

static enum MHD_Result handle(struct exchange *x)
{
	if (exchange_handle(x))
		return queue_answer(x);
	MHD_suspend_connection(x->own->server);
	return MHD_YES;
}

struct lengths {
	unsigned lengths, codings, fields;
	size_t   bytes;
};

static bool count_lengths(void *arg, struct str name, struct str value)
{
	struct lengths *l = arg;

	l->fields++;
	l->bytes += name.n + value.n + sizeof ": \r\n" - 1;
	l->lengths += strcasecmp(name.p, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
	l->codings += strcasecmp(name.p, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
	return true;
}

static enum head judge_head(const struct exchange *x, const struct lengths *l)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(x->own->server, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	if (!info || info->header_size <= HTTPD_HEAD_MAX)
		return l->fields > HEAD_FIELDS_MAX ? HEAD_MANY_HEADERS : HEAD_FITS;
	return l->bytes > info->header_size / 2 ? HEAD_LONG_HEADERS : HEAD_LONG_URL;
}

/* Headers are complete. */
static enum MHD_Result begin(struct exchange *x)
{
	struct lengths l = { 0 };

	each_header(x, count_lengths, &l);
	if (exchange_begin(x, judge_head(x, &l),
	                   l.lengths > 1 || (l.lengths == 1 && l.codings > 0)))
		return MHD_YES;
	return handle(x);
}

/* Of a target that names a host in vain there is no such path. */
static struct str path_of(const char *target)
{
	struct str path = str_of(target);

	return head_strip_host(&path) && path.n == 0 ? STR("/") : path;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **user)
{
	struct exchange       *x = *user;
	struct mhd_connection *c;

	(void)version;
	if (!x) {
		c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		            ->socket_context;
		read_names(c);
		*user = x = exchange_new(ctx, &c->is, mhd, str_of(method), path_of(path));
		c->queued = false;
		return begin(x);
	}
	c = connection_of(x);
	if (*n > 0) {
		size_t got = *n;

		*n = 0;
		return c->queued || exchange_take_body(x, data, got) ? MHD_YES : MHD_NO;
	}
	if (c->queued)
		return MHD_YES;
	return x->status ? queue_answer(x) : handle(x);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **user,
                         enum MHD_RequestTerminationCode code)
{
	struct httpd          *h = ctx;
	struct exchange       *x = *user;
	struct mhd_connection *c;

	(void)mhd;
	(void)code;
	if (!x)
		return;
	*user = NULL;
	c = connection_of(x);
	exchange_free(x);
	c->is.in_request = c->is.is_first = false;
	connection_enter(h, &c->is, STAGE_IDLE);
}

/* ---- who left ------------------------------------------------------------------------ */

static void watch_later(struct exchange *x)
{
	struct httpd *h = x->own->httpd;
	struct mhd   *m = h->server;

	x->own->watch_at = h->now_ms + WATCH_AFTER_MS;
	list_remove(&x->own->watch);
	list_push(&m->unwatched, &x->own->watch);
}

static void watch(struct exchange *x)
{
	struct mhd        *m = x->own->httpd->server;
	struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLONESHOT,
		                  .data.ptr = x };

	/* Without a watch the request only stays until its answer. */
	if (epoll_ctl(m->watch_fd, EPOLL_CTL_ADD, x->own->connection->fd, &ev) != 0)
		return;
	x->own->watched = true;
	m->watched++;
}

static void see_who_left(struct httpd *h)
{
	struct mhd        *m = h->server;
	struct epoll_event events[64];
	int                n;

	while (!list_is_empty(&m->unwatched)) {
		struct exchange *x = list_entry(m->unwatched.next, struct httpd_own, watch)->x;

		if (x->own->watch_at > h->now_ms)
			break;
		list_remove(&x->own->watch);
		watch(x);
	}
	n = m->watched ? epoll_wait(m->watch_fd, events, 64, 0) : 0;
	for (int i = 0; i < n; i++) {
		struct exchange *x = events[i].data.ptr;

		unwatch(x);
		x->own->gone(x->own->gone_arg);
	}
}

/* ---- running ------------------------------------------------------------------------- */

static void run(struct httpd *h)
{
	struct mhd  *m = h->server;
	struct list *node;

	see_who_left(h);
	while ((node = list_pop(&h->answered)) != NULL) {
		struct httpd_own *own = list_entry(node, struct httpd_own, node);

		own->suspended = false;
		MHD_resume_connection(own->server);
	}
	bool was_full = h->connections >= h->config.connections_max;
	MHD_run(m->daemon);
	/* At the limit it stops listening, and begins again only in the run after a place is
	 * free. */
	if (was_full && h->connections < h->config.connections_max)
		MHD_run(m->daemon);
	end_who_left(h);
}

static bool is_due(struct httpd *h)
{
	struct mhd            *m = h->server;
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(m->daemon, &ms) == MHD_YES && ms == 0;
}

static int timeout_ms(struct httpd *h)
{
	struct mhd *m = h->server;

	return list_is_empty(&m->unwatched) ? -1 : WATCH_AFTER_MS;
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
	struct mhd                 *m = h->server;
	const struct MHD_OptionItem clear[] = { { MHD_OPTION_END, 0, NULL } };
	/* A daemon with TLS wants a certificate at its start; each session gets ours before it
	 * begins. */
	struct MHD_OptionItem secret[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)tls_no_keys },
		{ MHD_OPTION_END, 0, NULL },
	};
	const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	m->daemon = MHD_start_daemon(
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
	if (!m->daemon)
		return err_set(err, ERR_UNAVAILABLE,
		               "the HTTP listener cannot be started: %s", strerror(errno));
	h->fds[0] = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	h->fds[1] = m->watch_fd;
	return true;
}

static bool open_server(struct httpd *h, struct err *err)
{
	struct mhd *m = mem_alloc(sizeof *m);

	h->server = m;
	list_init(&m->unwatched);
	m->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (m->watch_fd < 0) {
		err_set(err, ERR_UNAVAILABLE, "no epoll descriptor is left: %s", strerror(errno));
		goto free_server;
	}
	if (start_daemon(h, err))
		return true;
	close(m->watch_fd);
free_server:
	free(m);
	return false;
}

static void quiesce(struct httpd *h)
{
	struct mhd *m = h->server;
	MHD_socket  fd = MHD_quiesce_daemon(m->daemon);

	if (fd != MHD_INVALID_SOCKET)
		close(fd);
}

/* The daemon refuses to stop while a connection is suspended: all are answered by now. */
static void close_server(struct httpd *h)
{
	struct mhd *m = h->server;

	MHD_stop_daemon(m->daemon);
	close(m->watch_fd);
	free(m);
}

const struct httpd_kind httpd_mhd = {
	.open = open_server,
	.run = run,
	.is_due = is_due,
	.timeout_ms = timeout_ms,
	.quiesce = quiesce,
	.close = close_server,
	.header = header,
	.each_header = each_header,
	.each_query = each_query,
	.watch = watch_later,
	.unwatch = unwatch,
};
