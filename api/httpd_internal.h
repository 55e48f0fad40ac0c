/* SPDX-License-Identifier: Apache-2.0
 * httpd_internal.h - what both HTTP servers share: connections and their time-outs, exchanges,
 * who left (httpd.c). Ours (httpd_clear.c) serves in the clear, libmicrohttpd (httpd_mhd.c) over
 * TLS.
 */
#ifndef API_HTTPD_INTERNAL_H
#define API_HTTPD_INTERNAL_H

#include "api/httpd.h"
#include "coordinator/base/list.h"

struct sockaddr;

/* What a connection is doing, for its time-out. Handled requests have none here:
 * whoever owes the answer has its own limit. */
enum stage {
	STAGE_GREET,
	STAGE_RECEIVE,
	STAGE_IDLE,
	STAGE_SEND,
	STAGE_COUNT,
	STAGE_HANDLE = STAGE_COUNT
};

struct connection {
	struct list node;       /* on the list of its stage, oldest first */
	enum stage  stage;
	bool        in_request; /* RECEIVE: a raw answer cannot hit another request */
	bool        is_first;   /* RECEIVE: no request has been answered on it */
	int         fd;
	int64_t     since_ms;
	struct peer peer;
};

struct httpd_own { /* of an exchange */
	struct exchange   *x;
	struct httpd      *httpd;
	void              *server;    /* of whoever serves it */
	struct connection *connection;
	struct list        node;      /* on httpd.open while suspended, then on .answered */
	size_t             thrown;    /* bytes of a body that is too big */
	struct list        watch;     /* its server's: on a list of those whose leaving is told */
	int64_t            watch_at;
	bool               suspended, in_handler, watched;
	void             (*gone)(void *arg);
	void              *gone_arg;
};

typedef bool exchange_each(void *arg, struct str name, struct str value);

/* One way to serve. */
struct httpd_kind {
	bool (*open)(struct httpd *h, struct err *err); /* sets server and fds */
	void (*run)(struct httpd *h);       /* also sends what is answered */
	bool (*is_due)(struct httpd *h);    /* has to run again at once */
	int  (*timeout_ms)(struct httpd *h); /* -1: none of its own */
	void (*quiesce)(struct httpd *h);
	void (*close)(struct httpd *h);
	struct str (*header)(const struct exchange *x, const char *name);
	void (*each_header)(const struct exchange *x, exchange_each *each, void *arg);
	void (*each_query)(const struct exchange *x, exchange_each *each, void *arg);
	void (*watch)(struct exchange *x);   /* gone is called once its client has left */
	void (*unwatch)(struct exchange *x); /* harmless on one that is not watched */
};

struct httpd {
	struct httpd_config      config;
	const struct httpd_kind *kind;
	void                    *server;
	int                      fds[POLLABLE_FDS];
	struct list              stages[STAGE_COUNT];
	struct list              answered, open;
	struct list              pool; /* exchanges that are over, by own.node */
	unsigned                 pooled;
	unsigned                 connections, greeting;
	int64_t                  now_ms, expired_ms;
	bool                     quiet;
};

extern const struct httpd_kind httpd_mhd, httpd_clear;

/* ---- connections ------------------------------------------------------------------- */
void connection_enter(struct httpd *h, struct connection *c, enum stage stage);
/* IPv4 as ::ffff:a.b.c.d; nothing where it is neither. */
void peer_address(const struct sockaddr *from, uint8_t out[16]);
/* A new one, its fd and peer known, on no stage yet: those who only rest make room. */
void connection_admit(struct httpd *h, struct connection *c);
void connection_gone(struct httpd *h, struct connection *c); /* frees what its peer has */
/* Shuts it down; its server finds the end of file and does the rest. */
void connection_end(struct httpd *h, struct connection *c);
/* The stages' times that are over; at most every half second. */
void connections_expire(struct httpd *h);

/* ---- exchanges --------------------------------------------------------------------- */
/* method, path: their memory lives as long as the exchange. */
struct exchange *exchange_new(struct httpd *h, struct connection *c, void *server,
                              struct str method, struct str path);
void exchange_free(struct exchange *x);
/* Its headers are complete. False: the body is not to be read, it is to be handled at once. */
bool exchange_begin(struct exchange *x, enum head head, bool is_unclear);
/* False: that was too much; the connection is not worth to be kept. */
bool exchange_take_body(struct exchange *x, const char *data, size_t n);
/* True: it is answered. Else it is open until it stands on httpd.answered. */
bool exchange_handle(struct exchange *x);

#endif
