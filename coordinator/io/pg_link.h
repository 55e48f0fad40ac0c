/* SPDX-License-Identifier: Apache-2.0
 * pg_link.h - one non-blocking session on the loop: connects, tells of input, tells of its end.
 */
#ifndef COORDINATOR_IO_PG_LINK_H
#define COORDINATOR_IO_PG_LINK_H

#include "coordinator/base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { LINK_CONNECT_MS = 5000, PEER_SILENT_MS = 10000 };

/* ---- what the server is told at the start ------------------------------------ */

/* The DSN taken apart, with our defaults for what it leaves out. */
struct pg_dsn {
	PQconninfoOption *options;
	uint32_t          connect_ms;      /* how long one try to connect may take */
	char              user_timeout[12], keepalives_idle[12];
};

bool pg_dsn_parse(struct pg_dsn *dsn, const char *text, struct err *err);
/* Gives a server up in proportion to the lease: within a TTL, never later than by default. */
void pg_dsn_pace(struct pg_dsn *dsn, uint32_t ttl_ms);
void pg_dsn_fini(struct pg_dsn *dsn);
struct pg_lookup;
/* Starts connecting under that name to the hosts that were found, or, without a lookup (NULL), to those of
 * the DSN from the `turn`-th on. Never NULL. */
PGconn *pg_dsn_connect(const struct pg_dsn *dsn, const char *name, unsigned turn, const struct pg_lookup *found,
                       bool block);

/* Each host of the DSN alone, whatever it is: for a look at it. */
struct pg_host {
	struct pg_dsn dsn;
	const char   *name, *port; /* as PQhost() and PQport() say them */
};
size_t pg_dsn_hosts(const char *text, struct pg_host **hosts); /* 0 and NULL: the text cannot be read */
void   pg_dsn_hosts_free(struct pg_host *hosts, size_t n);

/* ---- handles that outlive their owner by a turn ---------------------------------- */

/* Counts the loop handles of one pg, so that it is freed after the last is closed. */
struct pg_handles {
	uv_loop_t *loop;
	unsigned   open;
	bool       closing;
	void     (*closed)(void *arg);
	void      *arg;
};

void pg_handle_closed(struct pg_handles *handles);

struct pg_timer;
struct pg_timer *pg_timer_open(struct pg_handles *handles, void (*fire)(void *arg), void *arg);
void             pg_timer_start(struct pg_timer *t, uint64_t ms); /* at least a turn later */
void             pg_timer_stop(struct pg_timer *t);
bool             pg_timer_is_on(const struct pg_timer *t);
void             pg_timer_close(struct pg_timer *t); /* NULL is harmless */

/* ---- host names ---------------------------------------------------------------------- */

struct buf;

/* Looks up the names among the hosts, from the `turn`-th on. NULL: there is no name to look up, or none can
 * be. Else `done` comes from the loop, once, unless the lookup is dropped before. */
struct pg_lookup *pg_lookup_start(struct pg_handles *handles, const struct pg_dsn *dsn, unsigned turn,
                                  void (*done)(void *arg), void *arg);
void              pg_lookup_drop(struct pg_lookup *lookup); /* NULL is harmless */
/* The hosts whose addresses are known by now, as lists for libpq; how many. */
size_t            pg_lookup_found(const struct pg_lookup *lookup, struct buf *hosts, struct buf *addresses,
                                  struct buf *ports);

/* ---- the session -------------------------------------------------------------------- */

struct pg_poll;

struct pg_link {
	struct pg_handles   *handles;
	const struct pg_dsn *dsn;
	PGconn              *db;      /* NULL: closed, or its host is being looked up */
	struct pg_lookup    *lookup;
	const char          *name;
	struct pg_poll      *poll;
	struct pg_timer     *timer;   /* of connecting */
	bool                 up;
	unsigned             turn;
	uint64_t             life;    /* counts sessions: has it changed while a callback ran? */
	/* All from the loop. After on_down the link is closed and may be opened again. */
	void               (*on_up)(void *arg);
	void               (*on_input)(void *arg); /* something was read */
	void               (*on_down)(void *arg, const char *why);
	void                *arg;
};

void pg_link_init(struct pg_link *l, struct pg_handles *handles, const struct pg_dsn *dsn);
void pg_link_open(struct pg_link *l, const char *name); /* the name lives as long as the link */
bool pg_link_is_open(const struct pg_link *l);          /* at least trying to */
void pg_link_flush(struct pg_link *l);  /* after anything was sent */
void pg_link_close(struct pg_link *l);  /* the end of the session; no callback follows */
void pg_link_break(struct pg_link *l, const char *why); /* close, then on_down before it returns */
void pg_link_fini(struct pg_link *l);

#endif
