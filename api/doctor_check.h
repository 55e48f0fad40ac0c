/* SPDX-License-Identifier: Apache-2.0
 * doctor_check.h - judges what the database says of itself, and what replicas do: one row per check. Pure.
 */
#ifndef API_DOCTOR_CHECK_H
#define API_DOCTOR_CHECK_H

#include "coordinator/engine/port.h"

/* BAD: a promise of sagad's does not hold, or soon nothing will work. WARN: somebody should look. */
enum check_state { CHECK_OK, CHECK_WARN, CHECK_BAD };

/* In the order in which they are shown: name, as people read it. */
#define CHECKS(X) \
	X(version,      "server version") \
	X(schema,       "schema") \
	X(replicas,     "replica versions") \
	X(writable,     "writable") \
	X(fsync,        "fsync") \
	X(full_page,    "full_page_writes") \
	X(commit,       "synchronous_commit") \
	X(standbys,     "standbys") \
	X(clock,        "database clock") \
	X(connections,  "connections") \
	X(timeouts,     "time-outs") \
	X(autovacuum,   "autovacuum") \
	X(snapshots,    "old snapshots") \
	X(transactions, "long transactions") \
	X(prepared,     "prepared transactions") \
	X(slots,        "replication slots") \
	X(wraparound,   "wraparound") \
	X(indexes,      "indexes") \
	X(dead_rows,    "dead rows") \
	X(fillfactor,   "fillfactor")

#define X(...) + 1
enum { CHECK_COUNT = 0 CHECKS(X) };
#undef X

struct facts {
	const struct doctor_fact *facts;
	size_t                    n;
	unsigned                  known_schema;
	int64_t                   now;  /* ms, this replica's clock at the answer */
};

struct check {
	const char      *name;
	enum check_state state;
	struct buf       finding, advice; /* sentences; advice is empty where all is well */
};

/* Fills all; the caller frees the texts. A fact that is missing makes its check a warning: it was not looked at. */
void        doctor_judge(const struct facts *f, struct check out[CHECK_COUNT]);
const char *check_state_name(enum check_state s);

#endif
