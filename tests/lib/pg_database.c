/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/pg_database.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The DSN as key = 'value' pairs, with another database. */
static bool with_database(const char *dsn, const char *name, char *out, size_t size)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	size_t            n = 0;

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL && n < size; o++) {
		const char *value = strcmp(o->keyword, "dbname") == 0 ? name : o->val;

		if (value != NULL)
			n += (size_t)snprintf(out + n, size - n, "%s='%s' ", o->keyword, value);
	}
	PQconninfoFree(options);
	return n > 0 && n < size;
}

static bool in_home(const struct pg_database *d, const char *before, const char *after)
{
	char    sql[200];
	PGconn *db = PQconnectdb(d->home);
	bool    good = PQstatus(db) == CONNECTION_OK;

	if (good) {
		snprintf(sql, sizeof sql, "%s %s %s", before, d->name, after);
		PGresult *r = PQexec(db, sql);
		good = PQresultStatus(r) == PGRES_COMMAND_OK;
		PQclear(r);
	}
	if (!good)
		printf("# %s", PQerrorMessage(db));
	PQfinish(db);
	return good;
}

static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

bool pg_database_make(struct pg_database *d, const char *prefix, const char **why)
{
	const char *home = getenv("SAGAD_TEST_DSN");

	memset(d, 0, sizeof *d);
	*why = "SAGAD_TEST_DSN is not set";
	if (home == NULL || home[0] == '\0')
		return false;
	*why = "no database can be made where SAGAD_TEST_DSN leads";
	snprintf(d->home, sizeof d->home, "%s", home);
	snprintf(d->name, sizeof d->name, "%s_%ld", prefix, (long)getpid());
	if (!with_database(home, d->name, d->dsn, sizeof d->dsn) ||
	    !in_home(d, "CREATE DATABASE", "ENCODING 'UTF8' TEMPLATE template0"))
		return false;
	d->db = PQconnectdb(d->dsn);
	PQsetNoticeReceiver(d->db, ignore_notice, NULL);
	return PQstatus(d->db) == CONNECTION_OK;
}

void pg_database_drop(struct pg_database *d)
{
	PQfinish(d->db);
	d->db = NULL;
	in_home(d, "DROP DATABASE IF EXISTS", "WITH (FORCE)");
}

__attribute__((format(printf, 2, 0)))
static PGresult *run(struct pg_database *d, const char *format, va_list ap)
{
	char sql[4096];

	vsnprintf(sql, sizeof sql, format, ap);
	PGresult *r = PQexec(d->db, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		printf("# %s: %s", sql, PQerrorMessage(d->db));
	return r;
}

bool pg_database_run(struct pg_database *d, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	PGresult *r = run(d, format, ap);
	va_end(ap);
	bool good = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;
	PQclear(r);
	return good;
}

const char *pg_database_ask(struct pg_database *d, const char *format, ...)
{
	static char cell[4096];
	va_list     ap;

	va_start(ap, format);
	PGresult *r = run(d, format, ap);
	va_end(ap);
	bool has = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0;
	snprintf(cell, sizeof cell, "%s", has ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return cell;
}
