/* SPDX-License-Identifier: Apache-2.0
 * pg_harness.h - two replicas' adapters on one loop and one database, and waiting for their answers.
 */
#ifndef TESTS_CONFORMANCE_PG_HARNESS_H
#define TESTS_CONFORMANCE_PG_HARNESS_H

#include "coordinator/io/pg.h"
#include "tests/lib/pg_database.h"

#include <uv.h>

struct end { /* one replica */
	struct pg        *pg;
	struct clock      clock;
	struct log_port   log;
	struct lease_port lease;
	struct store_port store;
	unsigned          backs, losses;
};

struct harness {
	struct pg_database database;
	uv_loop_t          loop;
	struct end         a, b;
	enum pg_lease_mode mode;
	uint32_t           ttl_ms;  /* of ends opened from now on; 0: the default */
	struct err         err;
};

/* False: nothing to test against; why says so. Migrates and connects both ends. */
bool harness_open(struct harness *h, const char *prefix, const char **why);
void harness_close(struct harness *h);
/* Both ends anew, with leases of that kind. */
bool harness_switch(struct harness *h, enum pg_lease_mode mode);
bool end_open(struct harness *h, struct end *e, const char *dsn);
void end_close(struct harness *h, struct end *e);

/* Runs the loop until *done or ten seconds have passed; returns *done. */
bool harness_wait(struct harness *h, const bool *done);
/* How many rows are not owned, parked or ended, or more than one of it, or ended otherwise than their phase says. No
 * check of the table tells. */
int harness_misplaced(struct harness *h);
void harness_sleep(struct harness *h, int64_t ms);
/* Until the condition holds, for at most ms. */
#define harness_until(h, condition, ms)                                             \
	do {                                                                        \
		for (int left_ = (ms) / 5; left_ > 0 && !(condition); left_--)      \
			harness_sleep(h, 5);                                        \
	} while (0)

/* ---- answers -------------------------------------------------------------------- */

struct answer {
	size_t            begins, changes; /* of the batch that is asked for */
	bool              done;
	unsigned          times;
	enum log_result   result;
	enum lease_result lease;
	struct err        err;
	bool              flag;     /* is_free, created, begun[0] */
	bool              changed;  /* changed[0] */
	struct lease_sight sight;
	size_t            n;
	uint64_t          examined; /* rows that a page of a list has looked at */
	uint32_t          version;
	bool              def;
	struct row        row;      /* the first; texts are gone */
	char              gid[129]; /* of the first row */
	char              next[129];
	char              gids[4096]; /* all, each followed by a space */
};

/* Whose changes nobody reads about. */
extern const struct deed somebody;

batch_done   on_batch;
rows_done    on_rows;
log_done     on_done;
lease_done   on_lease;
probe_done   on_probe;
definition_put_done on_definition_put;
definition_done     on_definition;
list_done    on_list;

/* Begins row gid (phase trying) for `me`, who must be enrolled. */
struct row   make_row(struct uuid me, struct str gid);
struct uuid  make_id(void);
bool         enroll(struct harness *h, struct end *e, struct uuid me, int64_t key);
enum log_result begin_row(struct harness *h, struct end *e, struct row *row);
enum log_result commit_batch(struct harness *h, struct end *e, const struct batch *b, struct answer *a);

#endif
