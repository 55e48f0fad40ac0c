/* SPDX-License-Identifier: Apache-2.0
 * pg_database.h - a database of a test's own on the server that SAGAD_TEST_DSN names.
 */
#ifndef TESTS_LIB_PG_DATABASE_H
#define TESTS_LIB_PG_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>

struct pg_database {
	char   dsn[1024];  /* leads to it */
	PGconn *db;        /* a plain blocking session in it */
	char   name[64];
	char   home[1024]; /* the given DSN */
};

/* False: SAGAD_TEST_DSN is not set (`*why` says so) or nothing can be made there. */
bool pg_database_make(struct pg_database *d, const char *prefix, const char **why);
void pg_database_drop(struct pg_database *d);

/* One statement in the plain session; false and a TAP comment if it fails. */
bool pg_database_run(struct pg_database *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Its first cell, in a buffer that the next call uses again; empty: none. */
const char *pg_database_ask(struct pg_database *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
