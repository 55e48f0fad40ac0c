/* SPDX-License-Identifier: Apache-2.0
 * mhd.c - a library of its own: it has what libsaga's headers have, and nothing from inside.
 */
#include "participants/libsaga/saga/mhd.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 400, IDLE_S = 60, HEAD_MEMORY = 32768 };

/* ---- one request ------------------------------------------------------------------------- */

struct incoming { /* while its body comes in */
	char *body;
	size_t n, room;
	bool too_big, no_memory;
};

static void add(struct incoming *in, const char *data, size_t size)
{
	size_t room = in->room ? in->room : 1024;

	while (room < in->n + size)
		room *= 2;
	if (room != in->room) {
		char *body = realloc(in->body, room);

		in->no_memory |= !body;
		if (!body)
			return;
		in->body = body;
		in->room = room;
	}
	memcpy(in->body + in->n, data, size);
	in->n += size;
}

struct headers {
	struct saga_header *list;
	size_t n, room;
};

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
	struct headers *h = ctx;

	(void)kind;
	if (h->n == h->room)
		return MHD_NO;
	h->list[h->n++] = (struct saga_header){ name, value ? value : "" };
	return MHD_YES;
}

/* How many there may be follows from the memory that the daemon gives a connection: beyond it
 * libmicrohttpd itself answers 431. */
static bool take_headers(struct MHD_Connection *conn, struct headers *h)
{
	int n = MHD_get_connection_values(conn, MHD_HEADER_KIND, NULL, NULL);

	h->n = 0;
	h->room = n > 0 ? (size_t)n : 0;
	h->list = calloc(h->room + 1, sizeof(*h->list));
	if (h->list)
		MHD_get_connection_values(conn, MHD_HEADER_KIND, on_header, h);
	return h->list;
}

static enum MHD_Result send_answer(struct MHD_Connection *conn, struct saga_answer *answer)
{
	const char *outcome = saga_answer_outcome(answer);
	enum MHD_Result sent = MHD_NO;
	struct MHD_Response *r;
	char seconds[16];

	r = answer->body_size ? MHD_create_response_from_buffer(answer->body_size, answer->body,
	                                                        MHD_RESPMEM_MUST_COPY)
	                      : MHD_create_response_from_buffer(0, (void *)(uintptr_t) "",
	                                                        MHD_RESPMEM_PERSISTENT);
	if (r) {
		if (answer->body_size)
			MHD_add_response_header(r, "Content-Type", "application/json");
		if (outcome)
			MHD_add_response_header(r, "Saga-Outcome", outcome);
		if (answer->allow)
			MHD_add_response_header(r, "Allow", answer->allow);
		if (answer->retry_after_s > 0) {
			snprintf(seconds, sizeof(seconds), "%d", answer->retry_after_s);
			MHD_add_response_header(r, "Retry-After", seconds);
		}
		sent = MHD_queue_response(conn, (unsigned)answer->status, r);
		MHD_destroy_response(r);
	}
	saga_answer_fini(answer);
	return sent;
}

static enum MHD_Result send_error(struct MHD_Connection *conn, int status, const char *text)
{
	struct saga_answer answer = { .status = status };

	saga_answer_error(&answer, text);
	return send_answer(conn, &answer);
}

/* request: method and path. */
static enum MHD_Result take(const struct saga_service *service, size_t body_max,
			    struct MHD_Connection *conn, struct saga_request request,
			    const char *data, size_t *size, void **state)
{
	struct saga_answer answer;
	struct incoming *in = *state;
	struct headers headers;

	if (!in) {
		*state = in = calloc(1, sizeof(*in));
		return in ? MHD_YES : MHD_NO;
	}
	if (*size) {
		in->too_big |= *size > body_max - in->n;
		if (!in->too_big && !in->no_memory)
			add(in, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (in->too_big)
		return send_error(conn, 413, "the body is too big");
	if (in->no_memory || !take_headers(conn, &headers))
		return send_error(conn, 503, "out of memory");
	request.headers = headers.list;
	request.header_count = headers.n;
	request.body = in->body ? in->body : "";
	request.body_size = in->n;
	saga_service_handle(service, &request, &answer);
	free(headers.list);
	return send_answer(conn, &answer);
}

enum MHD_Result saga_mhd_request(const struct saga_service *service, size_t body_max,
				 struct MHD_Connection *conn, const char *path, const char *method,
				 const char *data, size_t *size, void **state)
{
	struct saga_request request = { .method = method, .path = path };

	return take(service, body_max, conn, request, data, size, state);
}

void saga_mhd_completed(void *ctx, struct MHD_Connection *conn, void **state,
			enum MHD_RequestTerminationCode why)
{
	struct incoming *in = *state;

	(void)ctx;
	(void)conn;
	(void)why;
	if (in)
		free(in->body);
	free(in);
	*state = NULL;
}

/* ---- a server ---------------------------------------------------------------------------- */

struct saga_mhd {
	const struct saga_service *service;
	size_t body_max;
	struct MHD_Daemon *daemon;
};

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct saga_request request = { .method = method, .path = path, .path_encoded = true };
	struct saga_mhd *mhd = ctx;

	(void)version;
	return take(mhd->service, mhd->body_max, conn, request, data, size, state);
}

/* A %2F in a gid is no end of a segment: who reads the segment decodes it. */
static size_t keep_encoded(void *ctx, struct MHD_Connection *conn, char *path)
{
	(void)ctx;
	(void)conn;
	return strlen(path);
}

SAGA_FORMAT(3, 4)
static void fail(struct saga_error *error, enum saga_errno code, const char *format, ...)
{
	va_list ap;

	if (!error)
		return;
	memset(error, 0, sizeof(*error));
	error->code = code;
	va_start(ap, format);
	vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
}

/* HOST:PORT, [IPV6]:PORT, :PORT. */
static struct addrinfo *address_of(const char *listen, struct saga_error *error)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		                        .ai_socktype = SOCK_STREAM };
	const char *colon = listen ? strrchr(listen, ':') : NULL;
	struct addrinfo *found = NULL;
	char host[256];
	size_t n;
	int rc;

	n = colon ? (size_t)(colon - listen) : 0;
	if (!colon || !colon[1] || n >= sizeof(host)) {
		fail(error, SAGA_E_ARGUMENT, "%s is no ADDRESS:PORT", listen ? listen : "nothing");
		return NULL;
	}
	memcpy(host, listen, n);
	host[n] = '\0';
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	rc = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
	if (rc)
		fail(error, SAGA_E_ARGUMENT, "%s: %s", listen, gai_strerror(rc));
	return rc ? NULL : found;
}

/* Ours, since libmicrohttpd would ask for SO_REUSEPORT, with which two services share a port
 * without a word. The daemon takes it over. */
static int listen_at(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (at->ai_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, SOMAXCONN)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool start(struct saga_mhd *mhd, const struct saga_mhd_options *options,
                  const struct addrinfo *at)
{
	unsigned flags =
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;
	int fd = listen_at(at);

	if (fd < 0)
		return false;
	if (at->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	mhd->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, mhd, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_NOTIFY_COMPLETED, saga_mhd_completed, NULL,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_LIMIT,
		options->connections ? options->connections : CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		options->head_memory ? options->head_memory : (size_t)HEAD_MEMORY, MHD_OPTION_END);
	return mhd->daemon;
}

struct saga_mhd *saga_mhd_open(const struct saga_service *service,
                               const struct saga_mhd_options *options, struct saga_error *error)
{
	struct addrinfo *at = saga_service_check(service, error)
	                              ? address_of(options->listen, error)
	                              : NULL;
	struct saga_mhd *mhd = at ? calloc(1, sizeof(*mhd)) : NULL;

	if (!at)
		return NULL;
	if (!mhd) {
		fail(error, SAGA_E_MEMORY, "out of memory");
		freeaddrinfo(at);
		return NULL;
	}
	mhd->service = service;
	mhd->body_max = options->body_max ? options->body_max : SAGA_MHD_BODY_MAX;
	if (!start(mhd, options, at)) {
		fail(error, SAGA_E_SYSTEM, "cannot listen on %s: is the port in use?",
		     options->listen);
		free(mhd);
		mhd = NULL;
	}
	freeaddrinfo(at);
	return mhd;
}

void saga_mhd_close(struct saga_mhd *mhd)
{
	if (!mhd)
		return;
	MHD_stop_daemon(mhd->daemon);
	free(mhd);
}
