/* SPDX-License-Identifier: Apache-2.0
 * pg.h - PostgreSQL behind the ports of the log, the lease and the store.
 *
 * Five sessions a replica: commits, other work of the engine, lists and definitions, the lease, and (where
 * leases are locks) a watch on another replica's lease; with several hosts in the DSN, now and then one that
 * looks at the others. Each reconnects by itself; while it is away its verbs answer AWAY.
 * Nothing blocks the loop: host names are looked up beside it.
 */
#ifndef COORDINATOR_IO_PG_H
#define COORDINATOR_IO_PG_H

#include "coordinator/base/tally.h"
#include "coordinator/engine/port.h"
#include "coordinator/io/clock.h"

struct uv_loop_s;
struct pg;

/* How an incarnation shows that it lives: a lock of a session, or a row that it writes again and again.
 * Each kind sees, watches and fences both. */
enum pg_lease_mode { PG_LEASE_LOCK, PG_LEASE_ROW };

struct pg_config {
	const char       *dsn;      /* conninfo or URI; several hosts are tried in turn; copied */
	enum pg_lease_mode lease_mode;
	uint32_t          lease_ttl_ms;    /* how patient to be with a server that is silent; 0: 10000 */
	uint32_t          statement_timeout_ms; /* 0: 3/2 of the TTL, at most 10000 */
	uint32_t          keep_inbox_ms;   /* settled commands; 0: 60000 */
	int64_t           keep_audit_ms;   /* what people did; 0: a year */
	uint32_t          keep_replica_ms; /* rows of dead replicas; 0: a minute, and longer than any statement takes */
	struct clock     *clock;    /* kept right by every beat and connect; outlives pg */
	struct trace_port trace;
	/* News, each in a turn of its own: commits and reads work (again); the lease's session broke. */
	void            (*on_back)(void *ctx);
	void            (*on_lease_lost)(void *ctx);
	/* The server is one that was promoted ago_ms ago. lived: we have had answers of the one before it; then
	 * this comes before any answer of the new one but to the look that told it. May close the lease. */
	void            (*on_failover)(void *ctx, int64_t ago_ms, bool lived);
	void             *ctx;
};

/* NULL: the DSN cannot be read; err says where. Connecting goes on behind. */
struct pg *pg_open(struct uv_loop_s *loop, const struct pg_config *config, struct err *err);
void       pg_ports(struct pg *pg, struct log_port *log, struct lease_port *lease, struct store_port *store);
/* Pending dones are dropped. `closed` (may be NULL) comes from the loop when the last handle is closed
 * and pg is freed. */
void       pg_close(struct pg *pg, void (*closed)(void *ctx), void *ctx);

struct pg_stats {
	bool        log_up, work_up, store_up, lease_held;
	bool        unsafe_standby; /* there are standbys and none of them is synchronous */
	uint64_t    connects, breaks, statements;
	const struct tally *batch_us, *batch_rows; /* TALLY_BATCH_US, TALLY_ROWS: of commits that were sent; pg's */
	int32_t     timeline;       /* the newest met; 0: none yet */
	uint64_t    failovers;      /* that replicas have met on this database, as far as remembered */
	uint64_t    failover_unfinished; /* transactions that were unfinished at the newest of them */
	const char *last_error;     /* of the newest failed connection; empty: none */
};
void pg_stats(const struct pg *pg, struct pg_stats *out);

/* A schema may be newer than the program (version > known), if it says that programs as old as this one
 * can work with it (sql/README.md). */
struct pg_schema {
	int version, known;
};

/* Does a password stand in it? One that cannot be read has none; pg_migrate() and pg_check() say so. */
bool pg_dsn_has_password(const char *dsn);
/* Brings the schema up to this program's version; any number of replicas may try at once. Blocks: use
 * it before the loop runs. ERR_UNAVAILABLE: no server; ERR_REFUSED: err says what a person must change. */
bool pg_migrate(const char *dsn, struct pg_schema *schema, struct err *err) __attribute__((warn_unused_result));
/* Could a replica run here? Schema, server version, encoding, a lease that works. Changes nothing. Blocks. */
bool pg_check(const char *dsn, enum pg_lease_mode mode, struct pg_schema *schema, struct err *err)
	__attribute__((warn_unused_result));

#endif
