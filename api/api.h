/* SPDX-License-Identifier: Apache-2.0
 * api.h - the HTTP API of one replica: two listeners over an engine and a store.
 */
#ifndef API_API_H
#define API_API_H

#include "coordinator/base/pollable.h"
#include "coordinator/engine/engine.h"

struct api;
struct tls;

struct api_target { /* numbers about one participant, as whoever calls it counts them; borrowed */
	struct str name;           /* host:port or participant:NAME; empty: the sum of those forgotten */
	uint32_t   in_flight, limit;
	uint64_t   queued;
	uint64_t   calls, failures, rejected; /* since start */
	const struct tally *latency_us;       /* TALLY_CALL_US */
	const struct tally_example *examples; /* of its buckets, or NULL */
	bool       shown;          /* has figures of its own in /metrics */
	uint64_t   p50_us, p99_us; /* of the last half minute or whole one; 0: there were none */
	const char *breaker;       /* closed, open, half_open */
	int64_t    breaker_ms;     /* since it opened; 0 while closed */
	int64_t    quiet_ms;       /* left of what a 429 asked for */
	uint32_t   recent, recent_unknown; /* calls of the last 10 s, and those that taught nothing */
	uint64_t   opened, put_off; /* how often the breaker did, and calls not made, since start */
};
typedef void api_each_target(void *arg, const struct api_target *target);

struct api_database { /* what whoever talks to the database knows without asking it */
	bool        up;             /* commits and reads would be sent */
	bool        unsafe_standby; /* there are standbys and none of them is synchronous */
	uint64_t    connects, breaks, statements;
	const char *last_error;     /* of the newest failed connection; empty: none */
	uint64_t    failovers;      /* that replicas have met on this database */
	uint64_t    failover_unfinished; /* transactions, at the newest of them */
	const struct tally *batch_us, *batch_rows; /* TALLY_BATCH_US, TALLY_ROWS: commits sent and answered; may be NULL */
};

/* Another replica answered; status 0: it did not. body dies with the callback. */
typedef void api_answered(void *arg, int status, struct str body);

struct api_traces { /* spans, since start; and those that wait */
	uint64_t sent, dropped, refused, queued, failures;
};

struct api_config {
	int        listen_fd;      /* the API; taken, also if opening fails */
	int        ops_fd;         /* health and metrics; taken; -1: none */
	size_t     body_max;
	unsigned   connections_max;
	unsigned   waiters_max;    /* requests that wait for an end */
	struct str callback_key;   /* of callback URLs; lives as long as the api */
	struct str replica_key;    /* of what replicas tell each other; the same; empty: none is believed once tokens are set */
	struct tls *tls;           /* of the first listener; NULL: in the clear; outlives the api */
	bool       ops_tls;        /* the second listener has it, too */
	bool       by_library;     /* libmicrohttpd serves in the clear, too */
	bool       ops_is_local;   /* health and numbers are open: only this machine reaches them */
	/* What one caller may ask; see limiter.h. Both 0: no limits. */
	uint32_t   rate, burst, waiters_each;
	uint32_t   chaos;          /* the seed by which calls go wrong on purpose; 0: they do not */
	int64_t    dtm_second_ms;  /* how long a second of DTM's protocol is: 1000, but in tests */
	/* About participants, for /v1/participants and /metrics; may be NULL. */
	void     (*targets)(void *ctx, api_each_target *each, void *arg);
	/* May calls go to this host:port? NULL: everywhere. */
	bool     (*may_call)(void *ctx, struct str target);
	/* One of them was registered; may be NULL. */
	void     (*participants_changed)(void *ctx);
	/* Is it paused? NULL: no. Borrowed until the next turn of the loop. May be NULL. */
	const struct pause_row *(*pause_of)(void *ctx, enum pause_kind kind, struct str name);
	/* One was written: done (once) when pause_of knows it, or cannot be told. May be NULL. */
	void     (*pauses_changed)(void *ctx, void (*done)(void *arg), void *arg);
	/* Asks another replica: GET address + path + name. done once, perhaps at once. NULL: nobody is asked. */
	void     (*ask)(void *ctx, struct str address, const char *path, struct str name, uint32_t timeout_ms,
	                api_answered *done, void *arg);
	/* For /readyz and /metrics; may be NULL: then it counts as up. */
	void     (*database)(void *ctx, struct api_database *out);
	/* How the export of traces does; may be NULL. */
	void     (*traces)(void *ctx, struct api_traces *out);
	/* How late the loop is, for /metrics; may be NULL. */
	uint64_t (*loop_lag_us)(void *ctx);
	void      *ctx;            /* of these */
};

/* The ports must outlive the api; of `log` only members() is used. */
struct api *api_open(const struct api_config *config, struct engine *engine, const struct ports *ports,
                     const struct store_port *store, struct err *err);
struct pollable api_pollable(struct api *a);
struct pollable api_ops_pollable(struct api *a); /* fds of -1 without ops_fd */
/* From now on these come in, each with his roles; taken, and freed with the next. Before the first call nobody is
 * asked who he is. */
struct token_set;
void api_set_tokens(struct api *a, struct token_set *tokens);
/* SIGTERM: no new connections, readyz says so, connections end after their answer. */
void api_drain(struct api *a);
/* Actions on many transactions go on by the clock: ask when the loop sleeps. boot_ms. */
int64_t api_next_at(const struct api *a);
void    api_tick(struct api *a);
unsigned api_connections(const struct api *a);   /* open on the first listener */
/* After this neither engine nor store may answer what this api asked of them: close
 * it behind them, or see to it that no loop turn follows. */
void api_close(struct api *a);

#endif
