/* SPDX-License-Identifier: Apache-2.0
 * world.h - what a scenario runs in: replicas, the stub, the database, clients; and what all of them used.
 */
#ifndef TESTS_BENCH_WORLD_H
#define TESTS_BENCH_WORLD_H

#include "tests/bench/load.h"
#include "tests/bench/meter.h"

#include <libpq-fe.h>

enum { REPLICAS_MAX = 4, FLAGS_MAX = 4 };

struct world_config {
	const char *sagad;      /* the program */
	const char *dsn;        /* of a database that is ours alone */
	const char *logs;       /* a folder for what replicas say */
	pid_t       postmaster;
	uint16_t    port;       /* and the 19 after it */
};

struct world {
	struct world_config config;
	PGconn             *db;
	pid_t               stub, replicas[REPLICAS_MAX];
	unsigned            replica_count;
};

/* What was used so far; two of them make a difference. */
struct usage {
	int64_t  at_ns;
	uint64_t coordinator_ns, postgres_ns, stub_ns;
	double   ended, commits, rows, statements, wal_bytes, page_images;
};

/* All of them print a sentence to stderr and end the program if they fail: a benchmark of a broken
 * world says nothing. Children die with their parent. */
__attribute__((noreturn, format(printf, 1, 2))) void world_die(const char *format, ...);
void     world_open(struct world *w, const struct world_config *c); /* migrates, starts the stub */
void     world_close(struct world *w);
void     world_sql(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
double   world_number(struct world *w, const char *sql);
/* Starts that many replicas, with these flags (ended by NULL) on top of the usual ones, and waits
 * until they are ready. Milliseconds until the last of them was. */
double   world_start(struct world *w, unsigned replicas, const char *const flags[]);
void     world_stop(struct world *w);
void     world_kill(struct world *w); /* for what would take long to drain */
void     world_empty(struct world *w); /* no transactions are left in the database; no replica runs */
void     world_define(struct world *w, const char *name, const char *document);
void     world_post(struct world *w, const char *path, const char *body); /* at the first replica; wants 2xx */
double   world_metric(const struct world *w, const char *name); /* summed over the replicas */
void     world_usage(struct world *w, struct usage *u);
void     world_memory(const struct world *w, struct meter_memory *m);
uint16_t world_stub_port(const struct world *w);
/* Clients in a process of their own; what it used on CPU, in ns. Points them at the replicas unless
 * the hosts are set. */
uint64_t world_load(struct world *w, struct load_config *c, struct load_result *r);

#endif
