/* SPDX-License-Identifier: Apache-2.0
 * http.h - outbound HTTP on the loop: our own client, on connections of libcurl where TLS is
 * wanted, and libcurl for whatever else URLs may say.
 */
#ifndef COORDINATOR_IO_HTTP_H
#define COORDINATOR_IO_HTTP_H

#include "participants/call.h"

#include <uv.h>

struct http;
struct transfer;

enum http_client {
	HTTP_AUTO,    /* our own client; libcurl connects for https:// */
	HTTP_CONNECT, /* our own client; libcurl connects for http://, too */
	HTTP_CURL     /* libcurl makes all calls */
};

struct http_config {
	size_t     response_max; /* bytes of a body; beyond it body_too_big */
	struct str deny, allow;  /* where calls may go, as guard.h reads them; both empty: everywhere */
	const char *ca_file;     /* PEM, beside what the system believes; NULL or empty: none */
	enum http_client client;
	uint32_t   rest_ms;      /* how long libcurl keeps connections that only a burst has needed; 0: 60000 */
	/* Asked at the last moment before the bytes of a request leave, a repetition's as well: this
	 * process may have stood still since the request was started. NULL: always. */
	bool     (*may_send)(void *ctx);
	void      *may_send_ctx;
};

struct http_request { /* all memory stays the caller's and lives until done or abort */
	const char   *url;            /* http:// or https:// */
	const char   *method;
	const char  **headers;        /* "Name: value" */
	size_t        header_count;
	struct str    body;           /* p == NULL: none */
	uint32_t      timeout_ms;     /* of the whole exchange, not 0 */
	bool          to_replica;     /* not to a participant: need not be allowed, but may be denied */
};

struct http_result {
	struct call_reply reply;      /* dies with the callback */
	bool              unsendable; /* it will not work until a person changes something */
	bool              withheld;   /* may_send said no: no whole request has left, nothing was asked */
	uint64_t          took_us;
};
typedef void http_done(void *arg, const struct http_result *result);

/* NULL with a sentence: a list cannot be read, or the system refuses. */
struct http *http_open(uv_loop_t *loop, const struct http_config *config, struct err *err);
/* Done is called once, in a later turn of the loop. It may start and abort others. */
struct transfer *http_start(struct http *h, const struct http_request *request, http_done *done,
                            void *arg);
/* "host:port" of a URL: is it called at all? True also where only its addresses will tell. */
bool             http_may_call(const struct http *h, struct str target);
void             http_abort(struct http *h, struct transfer *t); /* done is not called */

/* Pending transfers are dropped; frees all some turns later, then calls closed. */
typedef void http_closed(void *arg);
void http_close(struct http *h, http_closed *closed, void *arg);

#endif
