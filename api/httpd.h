/* SPDX-License-Identifier: Apache-2.0
 * httpd.h - inbound HTTP/1.1: one listener, run by the owner's loop. Behind it is a server of our own, and
 * libmicrohttpd for TLS.
 */
#ifndef API_HTTPD_H
#define API_HTTPD_H

#include "coordinator/base/arena.h"
#include "coordinator/base/err.h"
#include "coordinator/base/pollable.h"

struct httpd;
struct exchange; /* one request and its answer */
struct tls;

/* Request line and headers together. Beyond some 18 kB of headers, or 30 kB of URL, libmicrohttpd answers by
 * itself, in HTML; so it does to what is no HTTP. */
enum { HTTPD_HEAD_MAX = 16 * 1024 };
enum head { HEAD_FITS, HEAD_LONG_URL, HEAD_LONG_HEADERS, HEAD_MANY_HEADERS, HEAD_WRONG };

struct httpd_config {
	int      listen_fd;       /* listening; taken, also if opening fails */
	size_t   body_max;        /* a longer body is read, thrown away, and marked */
	unsigned connections_max; /* further clients wait in the kernel's queue */
	struct tls *tls;          /* NULL: in the clear; lives as long as this */
	bool     by_library;      /* libmicrohttpd serves in the clear, too */
	unsigned greet_ms;        /* TLS: from the connection to the first request */
	/* For a new connection to send a byte, and from a request's first to its last; by libmicrohttpd, which
	 * does not tell of the first, for the body alone: a head has it too, or after another request idle_ms. */
	unsigned receive_ms;
	unsigned idle_ms;         /* between two requests */
	unsigned send_ms;         /* for the client to take an answer */
	/* Once for a request whose headers are there and can be read. False: nothing of its body is kept, whoever
	 * handles it will refuse it. */
	bool   (*admit)(void *ctx, struct exchange *x);
	/* Once for every request: answers it before it returns, or later. A request
	 * with body_too_big, body_unclear or a head that does not fit must be answered before it returns. */
	void   (*handle)(void *ctx, struct exchange *x);
	/* Closing, and the answer is still owed: answers it at once. */
	void   (*cut_off)(void *ctx, struct exchange *x);
	/* The exchange is over and x->user is not used any more. */
	void   (*done)(void *ctx, struct exchange *x);
	void   (*log)(void *ctx, const char *line);
	void    *ctx;
	/* What a client that sends too slowly is told, as a whole HTTP response; may be empty. */
	struct str slow_response;
};

struct httpd *httpd_open(const struct httpd_config *config, struct err *err);
struct pollable httpd_pollable(struct httpd *h);
void     httpd_quiesce(struct httpd *h);            /* accepts no more; connections end after their answer */
unsigned httpd_connections(const struct httpd *h);
/* Unanswered requests are cut off; nobody may answer them afterwards. */
void     httpd_close(struct httpd *h);

/* ---- the exchange: slices live until it is answered ----------------------------- */

enum { EXCHANGE_HEADERS_MAX = 12 };

struct exchange_line {
	const char *name;  /* lives for ever */
	const char *value; /* in the arena, or for ever */
};

struct peer { /* who is at the other end of a connection */
	uint8_t           address[16]; /* IPv4 as ::ffff:a.b.c.d */
	const struct str *names;       /* proven by its certificate, see tls.h; live as long as the connection */
	size_t            name_count;
	void             *memo;        /* the handler's, NULL at first; free()d with the connection */
};

struct exchange {
	/* for everyone to read */
	struct str   method, path; /* path as sent: percent-encoded, without the query */
	struct buf   body;
	bool         unwelcome;    /* admit said so: its body was thrown away */
	bool         body_too_big;
	bool         body_unclear; /* its headers disagree about where it ends: nothing of it was read */
	enum head    head;         /* why nothing but it was read; of a wrong one nothing else may be known */
	const char  *wrong;        /* a wrong head: what is */
	struct arena arena;        /* freed when the exchange is over */
	void        *user;         /* the handler's */
	int64_t      since_us;     /* CLOCK_MONOTONIC when the request was complete; before that, when its headers were */
	struct peer *peer;

	/* httpd's own */
	struct httpd_own *own;
	unsigned             status; /* 0: not answered */
	const char          *content_type;
	struct buf           reply;
	struct exchange_line headers[EXCHANGE_HEADERS_MAX];
	size_t               header_count;
};

/* The first header of that name, or the empty slice. */
struct str exchange_header(const struct exchange *x, const char *name);
/* All headers of that name as one list, with commas between (RFC 9110, 5.3). */
struct str exchange_header_list(struct exchange *x, const char *name);
/* Each name=value of the query, percent-encoded as sent; value.p == NULL: no equals sign. */
void exchange_each_query(struct exchange *x, bool (*each)(void *arg, struct str name, struct str value), void *arg);

/* name lives for ever, value is copied; characters that no header may have become '?'. */
void exchange_set_header(struct exchange *x, const char *name, struct str value);
/* An empty buffer for its body, often with the memory of an earlier one; the caller's until it is answered. */
struct buf exchange_room(struct exchange *x);
/* Takes the body's memory; content_type lives for ever. Once. It is sent in the next run. */
void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct buf *body);
bool exchange_is_answered(const struct exchange *x);
/* Calls gone when the client has sent its last byte before the answer: most have left, but one that has shut down only
 * its side reads on. gone answers, or leaves that to who owes it. */
void exchange_watch(struct exchange *x, void (*gone)(void *arg), void *arg);

#endif
