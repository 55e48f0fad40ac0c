/* SPDX-License-Identifier: Apache-2.0
 * plain_internal.h - the plain client's parts: transfers and time (plain.c), connections (plain_conn.c) on sockets
 * of our own or on libcurl's (carrier.h), and the host:port pairs they go to (plain_site.c).
 */
#ifndef COORDINATOR_IO_PLAIN_INTERNAL_H
#define COORDINATOR_IO_PLAIN_INTERNAL_H

#include "coordinator/base/heap.h"
#include "coordinator/base/list.h"
#include "coordinator/base/table.h"
#include "coordinator/io/carrier.h"
#include "coordinator/io/http_internal.h"
#include "coordinator/io/plain_request.h"
#include "coordinator/io/resolver.h"
#include "coordinator/io/response.h"

#include <netinet/in.h>

enum {
	PLAIN_IN_BYTES = 64 << 10,
	/* Some connections are kept for long, what a burst left behind for a moment. */
	PLAIN_KEPT = 4,            /* of a site */
	PLAIN_KEPT_MS = 60 * 1000,
	PLAIN_SURPLUS_MS = 3 * 1000,
	PLAIN_WHY_MAX = 200,       /* libcurl's words about a connection */
	SITE_ADDRESSES = 8
};

struct site_address {
	union {
		struct sockaddr     any;
		struct sockaddr_in  v4;
		struct sockaddr_in6 v6;
	} is;
	socklen_t n;
};

struct site { /* a host:port as URLs write it, with the scheme if that is https */
	struct table_node   node;
	struct plain       *plain;
	char               *name;      /* authority, for errors */
	char               *host;
	uint16_t            port;
	bool                is_carried; /* libcurl connects, and looks the name up */
	unsigned            users;     /* transfers and connections */
	bool                is_asking; /* the resolver */
	int64_t             fresh_until;
	struct site_address addresses[SITE_ADDRESSES];
	size_t              n, first;  /* first: the one that answered last */
	struct list         waiting;   /* transfers: for addresses */
	struct list         idle;      /* connections, the last used at the end */
	unsigned            idle_count;
};

enum conn_state { CONN_CONNECTING, CONN_BUSY, CONN_IDLE, CONN_CLOSED };

struct conn {
	struct list            link;   /* CLOSED: on plain.closed; IDLE: on site.idle */
	struct list            age;    /* IDLE: on plain.idle */
	struct list            news;   /* on plain.news while it has events that nobody has dealt with */
	uint32_t               events;
	struct plain          *plain;
	struct site           *site;
	struct plain_transfer *transfer;
	enum conn_state        state;
	int                    fd;     /* -1: none */
	struct carrier        *carrier; /* whose socket it is; NULL: ours */
	enum guard_word        word;   /* under which its address was let through */
	bool                   reused; /* the request under way is not its first */
	size_t                 tried;  /* CONNECTING: addresses so far */
	size_t                 address;
	struct heap_node       step;   /* CONNECTING: when the next address is tried */
	int64_t                idle_since;
	struct buf             out;    /* what the kernel did not take of the head; all, if it is carried */
	size_t                 out_sent;
	struct str             body;   /* and of the body */
};

enum plain_end { /* why there is no answer */
	PLAIN_TIMED_OUT,
	PLAIN_NO_NAME,  /* error: EAI_ code */
	PLAIN_DENIED,
	PLAIN_WITHHELD,
	PLAIN_NO_CONN,  /* error: errno, or 0 and carrier_why */
	PLAIN_LOST,     /* the same */
	PLAIN_BAD       /* response.failure says why */
};

struct plain_transfer {
	struct transfer     base;
	struct list         link;     /* on plain.active, site.waiting, plain.ended or plain.pool */
	struct heap_node    deadline;
	struct plain       *plain;
	struct site        *site;
	struct conn        *conn;     /* NULL: waits for addresses, or has ended */
	struct http_request request;
	struct plain_url    url;
	struct response     response;
	enum guard_word     word;
	bool                denied, repeated;
	enum plain_end      end;
	int                 error;
	char                carrier_why[PLAIN_WHY_MAX];
	const char         *stage;    /* TIMED_OUT: what had not happened yet */
	uint64_t            started_ns;
	http_done          *done;
	void               *arg;
};

struct plain {
	uv_loop_t          *loop;
	const struct guard *guard;
	struct curl_loop   *curl;     /* makes connections that need TLS */
	struct http_config  config;   /* its deny list is not ours */
	int                 epoll_fd;
	uv_poll_t           poll;
	uv_timer_t          timer;
	uv_idle_t           tell;     /* runs while somebody has ended */
	struct resolver    *resolver;
	int64_t             timer_at; /* INT64_MAX: not armed */
	uint64_t            looked_at; /* uv_now: what the kernel had to tell was noted in this turn */
	uint64_t            read_ns;  /* when that was */
	bool                in_batch;
	struct heap         deadlines, steps;
	struct table        sites;
	struct list         active, ended, pool;
	struct list         idle;     /* connections, the oldest first */
	struct list         closed;   /* connections that whoever handles an event may still name */
	struct list         news;     /* connections with events */
	unsigned            idle_count, pooled;
	unsigned            closing;  /* handles still to be closed */
	http_closed        *on_closed;
	void               *closed_arg;
	struct buf          head;
	char                why[512];
	char                in[PLAIN_IN_BYTES];
};

/* ---- plain.c ----------------------------------------------------------------------- */
int64_t plain_now(void);
void    plain_arm(struct plain *p, int64_t at);
/* Every connection has noted what is known of it; it is dealt with later. Nothing is called back. */
void    plain_look(struct plain *p);
/* Tells of it in a later turn. The transfer's connection is gone already. */
void    plain_fail(struct plain_transfer *t, enum plain_end end, int error);
/* Tells of its response now. The same. */
void    plain_answered(struct plain_transfer *t);

/* ---- plain_site.c ------------------------------------------------------------------ */
struct site *site_of(struct plain *p, const struct plain_url *url); /* counts as a user of it */
void         site_leave(struct site *s);
/* A new connection, now or when the addresses are known. */
void         site_connect(struct plain_transfer *t);
void         site_forget_addresses(struct site *s);
void         site_free_all(struct plain *p); /* their idle connections, too */

/* ---- plain_conn.c ------------------------------------------------------------------ */
void conn_open(struct plain_transfer *t);        /* to one address of the site after the other */
void conn_carry(struct plain_transfer *t);       /* libcurl opens it */
bool conn_reuse(struct plain_transfer *t);       /* false: no idle connection */
void conn_close(struct conn *c);
void conn_note(struct conn *c, uint32_t events);
void conn_event(struct conn *c); /* deals with those that are noted */
void conn_next_address(struct conn *c);          /* this one took too long */
const char *conn_stage(const struct conn *c);    /* what has not happened yet */
void conn_free_closed(struct plain *p);

#endif
