/* SPDX-License-Identifier: Apache-2.0
 * statements.h - what the server says of each statement that sagad prepares, by its name (pg_stat_statements).
 */
#ifndef TESTS_BENCH_STATEMENTS_H
#define TESTS_BENCH_STATEMENTS_H

#include <libpq-fe.h>
#include <stdbool.h>

enum { STATEMENTS_SHOWN = 16 };

struct statement_use {
	const char *name;        /* as in sql/statements.h; NULL: no more */
	double      calls, rows; /* per saga */
	double      us;          /* a call, without its parameters' reading and its answer's sending */
	double      share;       /* of the time in all statements */
};

bool statements_forget(PGconn *db);
/* Since then, the dearest first. False: the server does not keep them. */
bool statements_read(PGconn *db, double sagas, struct statement_use out[STATEMENTS_SHOWN]);

#endif
