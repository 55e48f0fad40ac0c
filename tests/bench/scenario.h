/* SPDX-License-Identifier: Apache-2.0
 * scenario.h - what is measured, and the figures it gives.
 */
#ifndef TESTS_BENCH_SCENARIO_H
#define TESTS_BENCH_SCENARIO_H

#include "tests/bench/statements.h"
#include "tests/bench/world.h"

/* Per saga where that can be; NAN where a figure makes no sense.
 *        field            name                  in the table  decimals */
#define FIGURES(X) \
	X(per_s,           "per_s",              "sagas/s",    0) \
	X(best_per_s,      "best_per_s",         "best",       0) /* of all rounds: what it can, when nobody else runs */ \
	X(direct_per_s,    "direct_per_s",       "direct/s",   0) /* the floor, right before and behind this scenario */ \
	X(of_direct,       "of_direct",          "x direct",   3) /* of that floor */ \
	X(of_log,          "of_log",             "x log",      3) \
	X(p50_ms,          "p50_ms",             "p50 ms",     2) \
	X(p99_ms,          "p99_ms",             "p99 ms",     2) \
	X(p999_ms,         "p999_ms",            "p99.9 ms",   2) \
	X(coordinator_us,  "coordinator_cpu_us", "coord us",   1) \
	X(postgres_us,     "postgres_cpu_us",    "pg us",      1) \
	X(stub_us,         "stub_cpu_us",        "stub us",    1) \
	X(generator_us,    "generator_cpu_us",   "gen us",     1) \
	X(wal_bytes,       "wal_bytes",          "WAL B",      0) \
	X(commits,         "commits",            "commits",    3) \
	X(statements,      "statements",         "statements", 3) \
	X(rows,            "rows",               "rows",       3) /* written, journal and inbox not counted */ \
	X(rows_a_commit,   "rows_a_commit",      "rows/commit", 1) \
	X(page_images,     "page_images",        "images",     3) /* in the WAL, for the first change since a checkpoint */ \
	X(rss_mib,         "rss_mib",            "RSS MiB",    1) \
	X(pss_mib,         "pss_mib",            "PSS MiB",    1)

enum { MORE_MAX = 4, PAIRS = 5 };

struct figures {
#define X(field, ...) double field;
	FIGURES(X)
#undef X
	struct more { /* what only this scenario has */
		const char *name; /* NULL: none */
		double      value;
	} more[MORE_MAX];
	struct statement_use by_statement[STATEMENTS_SHOWN]; /* of the first round, if it was asked for */
};

enum { FIGURE_COUNT = 0
#define X(...) + 1
	FIGURES(X)
#undef X
};

struct bench {
	struct world w;
	double       seconds, warm_seconds;
	bool         by_statement; /* ask the server what each statement costs */
	unsigned     many;    /* rows where a scenario speaks of a million */
	unsigned     backlog;
	unsigned     known;   /* transactions begun to see what one takes in memory */
	const char  *postgres_tool, *postgres_folder;
	double       wait_64_per_s; /* of this round; 0: not run */
};

struct scenario {
	const char *name, *what;
	void      (*run)(struct bench *b, const struct scenario *s, struct figures *f);
	const char *definition;
	unsigned    clients, replicas;
	size_t      input_bytes;
	bool        wait;
};

extern const struct scenario scenarios[];
extern const size_t          scenario_count;

struct floors {
	double direct_per_s; /* two calls of the stub an operation, 64 clients */
	double direct_1_ms;  /* p50 of the same with one client */
	double log_per_s;    /* row writes of sagas, in the best batch */
	double commit_ms;    /* p50 of the smallest commit */
};

void floors_run(struct bench *b, struct floors *f);

/* The first floor once more, in a quarter of the time: machines that are shared change within a minute. */
double floors_direct(struct bench *b);

#endif
