/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/digest.h"
#include "coordinator/io/pg.h"
#include "coordinator/io/pg_internal.h"
#include "sql/migrations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool server_error(PGconn *db, const char *doing, struct err *err)
{
	const char *text = PQerrorMessage(db);

	/* "ERROR:  permission denied ...\n" and whatever detail follows: the first line. */
	return err_set(err, PQstatus(db) == CONNECTION_BAD ? ERR_UNAVAILABLE : ERR_REFUSED, "%s: %.*s", doing,
	               (int)strcspn(text, "\n"), text);
}

static size_t host_count(const char *text)
{
	struct pg_host *hosts;
	size_t          n = pg_dsn_hosts(text, &hosts);

	pg_dsn_hosts_free(hosts, n);
	return n;
}

/* libpq goes on to the next host when one refuses, but not when one takes us and hangs up. Blocks, in names as
 * well, for as long as this machine's resolver is told to wait: nothing else runs yet, nobody is served, and a
 * signal ends it. What connects later looks names up beside the loop (pg_resolve.c). */
static PGconn *connect_to_any(const struct pg_dsn *dsn, size_t host_n)
{
	PGconn *db = pg_dsn_connect(dsn, "sagad migrate", 0, NULL, true);

	for (unsigned turn = 1; turn < host_n && PQstatus(db) != CONNECTION_OK; turn++) {
		PQfinish(db);
		db = pg_dsn_connect(dsn, "sagad migrate", turn, NULL, true);
	}
	return db;
}

static PGconn *connect_to(const char *text, struct err *err)
{
	struct pg_dsn dsn;
	size_t        host_n = host_count(text);

	if (!pg_dsn_parse(&dsn, text, err))
		return NULL;
	PGconn *db = connect_to_any(&dsn, host_n);
	pg_dsn_fini(&dsn);
	if (PQstatus(db) == CONNECTION_OK)
		return db;
	const char *why = PQerrorMessage(db);
	/* A server that answers and says no will say no again. */
	bool refused = strstr(why, "does not exist") != NULL || strstr(why, "authentication failed") != NULL ||
		strstr(why, "no pg_hba.conf entry") != NULL || strstr(why, "password") != NULL;
	/* One of several may be promoted in a moment. */
	bool standby = host_n < 2 && (strstr(why, "read-only") != NULL || strstr(why, "hot standby") != NULL);
	err_set(err, refused || standby ? ERR_REFUSED : ERR_UNAVAILABLE, "%s%.*s",
	        standby ? "this server is a standby or read-only, name the primary in the DSN: " : "",
	        (int)strcspn(why, "\n"), why);
	PQfinish(db);
	return NULL;
}

static bool run(PGconn *db, const char *sql, const char *doing, struct err *err)
{
	PGresult      *r = PQexec(db, sql);
	ExecStatusType status = PQresultStatus(r);

	PQclear(r);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || server_error(db, doing, err);
}

static void checksum(const struct migration *m, char out[65])
{
	uint8_t hash[32];

	digest_sha256(str_of(m->sql), hash);
	digest_hex(hash, sizeof hash, out);
}

/* One row of what the database says it has. Known ones must be ours; newer ones must bear with us. */
static bool check_applied(int number, int wanted, const char *sum, int oldest, struct err *err)
{
	char want[65];

	if (number > (int)migration_count)
		return oldest <= (int)migration_count ||
			err_set(err, ERR_REFUSED,
			        "the database's schema has version %d, which a sagad that knows versions up to "
			        "%d or newer can use; this one knows %d: run a newer sagad", number, oldest,
			        (int)migration_count);
	checksum(&migrations[number - 1], want);
	return (number == wanted && strcmp(sum, want) == 0) ||
		err_set(err, ERR_REFUSED, "migration %d in the database is not the one this sagad knows: "
		        "they come from different builds", number);
}

/* The schema's version, which may be newer than what this program knows. -1: err says why not. */
static int read_version(PGconn *db, struct err *err)
{
	PGresult *r = PQexec(db, SQL_MIGRATE_HAS_HOME);
	bool      has_home = PQresultStatus(r) == PGRES_TUPLES_OK && PQgetvalue(r, 0, 0)[0] == 't';
	int       version = 0;

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		version = server_error(db, "the schema's version cannot be read", err) - 1;
	PQclear(r);
	if (!has_home)
		return version;
	r = PQexec(db, SQL_MIGRATE_READ);
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		version = server_error(db, "the schema's version cannot be read", err) - 1;
	for (int i = 0; version >= 0 && i < PQntuples(r); i++) {
		int number = atoi(PQgetvalue(r, i, 0));

		if (number < 1)
			version = err_set(err, ERR_REFUSED, "the schema says it has a migration %d", number) - 1;
		else
			version = check_applied(number, i + 1, PQgetvalue(r, i, 1), atoi(PQgetvalue(r, i, 2)), err)
				? number : -1;
	}
	PQclear(r);
	return version;
}

/* One migration, in one transaction, with its record: all of it or nothing. */
static bool apply(PGconn *db, const struct migration *m, struct err *err)
{
	char        number[16], oldest[16], sum[65], doing[80];
	const char *values[4] = { number, m->name, sum, oldest };

	snprintf(number, sizeof number, "%d", m->version);
	snprintf(oldest, sizeof oldest, "%d", m->oldest);
	snprintf(doing, sizeof doing, "migration %.60s", m->name);
	checksum(m, sum);
	if (!run(db, m->sql, doing, err))
		return false;
	PGresult *r = PQexecParams(db, SQL_MIGRATE_RECORD, 4, NULL, values, NULL, NULL, 0);
	bool      recorded = PQresultStatus(r) == PGRES_COMMAND_OK || server_error(db, doing, err);
	PQclear(r);
	return recorded;
}

/* The lock first, the version in the next statement: one that waited sees what the other has done. */
static bool migrate_one(PGconn *db, bool *finished, struct err *err)
{
	if (!run(db, "BEGIN ISOLATION LEVEL READ COMMITTED", "a migration cannot begin", err) ||
	    !run(db, SQL_MIGRATE_LOCK, "another replica has been migrating for 30 s", err) ||
	    !run(db, SQL_MIGRATE_HOME, "the schema sagad cannot be made", err))
		return false;
	int version = read_version(db, err);
	if (version < 0)
		return false;
	*finished = version >= (int)migration_count;
	if (!*finished && !apply(db, &migrations[version], err))
		return false;
	return run(db, "COMMIT", "a migration cannot be committed", err);
}

bool pg_migrate(const char *dsn, struct pg_schema *schema, struct err *err)
{
	PGconn *db = connect_to(dsn, err);
	bool    good, finished = false;

	if (db == NULL)
		return false;
	/* Without a lock first, so that a role without the right to create can run. */
	int version = read_version(db, err);
	good = version >= 0;
	finished = version >= (int)migration_count;
	while (good && !finished)
		good = migrate_one(db, &finished, err);
	PQfinish(db);
	*schema = (struct pg_schema){ version < (int)migration_count ? (int)migration_count : version,
		                      (int)migration_count };
	return good;
}

/* ---- could a replica run here? --------------------------------------------------------- */

static bool ask(PGconn *db, const char *sql, int columns, PGresult **out, struct err *err)
{
	*out = PQexec(db, sql);
	if (PQresultStatus(*out) == PGRES_TUPLES_OK && PQntuples(*out) == 1 && PQnfields(*out) >= columns)
		return true;
	server_error(db, "the database does not answer as PostgreSQL 14 or newer does", err);
	PQclear(*out);
	return false;
}

static bool check_server(PGconn *db, struct err *err)
{
	PGresult *r;
	bool      good = true;

	if (PQserverVersion(db) < SERVER_VERSION_MIN)
		return err_set(err, ERR_REFUSED, "the server is older than PostgreSQL 14");
	if (!ask(db, SQL_SERVER, 6, &r, err))
		return false;
	if (PQgetvalue(r, 0, 0)[0] == 't')
		good = err_set(err, ERR_REFUSED, "this server is a standby: name the primary in the DSN");
	else if (strcmp(PQgetvalue(r, 0, 1), "UTF8") != 0)
		good = err_set(err, ERR_REFUSED, "the database's encoding is %s: create it with ENCODING 'UTF8'",
		               PQgetvalue(r, 0, 1));
	PQclear(r);
	return good;
}

static bool check_lease(PGconn *db, struct err *err)
{
	uint64_t  key;
	char      sql[1024];
	PGresult *r;

	digest_random(&key, sizeof key);
	snprintf(sql, sizeof sql, SQL_LEASE_SESSION, 5000u, 10000u, 10000u);
	if (!ask(db, sql, 4, &r, err))
		return false;
	bool direct = atoi(PQgetvalue(r, 0, 3)) == PQbackendPID(db);
	PQclear(r);
	snprintf(sql, sizeof sql, SQL_LEASE_TAKE, (long long)key);
	if (!ask(db, sql, 4, &r, err))
		return false;
	bool set = strcmp(PQgetvalue(r, 0, 1), "10000") == 0;
	direct = direct && atoi(PQgetvalue(r, 0, 0)) == PQbackendPID(db);
	PQclear(r);
	snprintf(sql, sizeof sql, SQL_LEASE_PROOF, (long long)key, (long long)key);
	if (!ask(db, sql, 3, &r, err))
		return false;
	bool visible = PQgetvalue(r, 0, 1)[0] == 't';
	PQclear(r);
	if (!direct)
		return err_set(err, ERR_REFUSED, "a connection pooler answers instead of PostgreSQL: "
		               "name the database server itself in the DSN, or run every replica with "
		               "lease.mode=row and the pooler with pool_mode = session");
	if (!set)
		return err_set(err, ERR_REFUSED, "idle_session_timeout cannot be set for a session");
	return visible || err_set(err, ERR_REFUSED, "advisory locks do not work as in PostgreSQL here");
}

/* 0: err says why there is none. */
static int backend_of(PGconn *db, const char *sql, struct err *err)
{
	PGresult *r;
	int       pid;

	if (!ask(db, sql, 1, &r, err))
		return 0;
	pid = atoi(PQgetvalue(r, 0, 0));
	PQclear(r);
	return pid;
}

/*
 * A pooler in session mode gives each of our sessions a backend of its own. One that gives them out by
 * the transaction either hands ours to the second session, which holds on to it, or gives us another.
 */
static bool check_sessions(const char *dsn, PGconn *db, struct err *err)
{
	int     first = backend_of(db, SQL_BACKEND, err), other = 0, again = 0;
	PGconn *second = first != 0 ? connect_to(dsn, err) : NULL;

	if (second == NULL)
		return false;
	if (run(second, "BEGIN", "a second session cannot be used", err))
		other = backend_of(second, SQL_BACKEND, err);
	if (other != 0 && other != first)
		again = backend_of(db, SQL_BACKEND, err);
	PQfinish(second);
	if (other == 0 || (again == 0 && other != first))
		return false;
	return (other != first && again == first) ||
		err_set(err, ERR_REFUSED, "a connection pooler gives out backends by the transaction: sagad needs "
		        "sessions; set its pool_mode = session, or name the database server itself in the DSN");
}

bool pg_check(const char *dsn, enum pg_lease_mode mode, struct pg_schema *schema, struct err *err)
{
	PGconn *db = connect_to(dsn, err);

	if (db == NULL)
		return false;
	int  version = read_version(db, err);
	bool good = version >= 0 && check_server(db, err) &&
		(mode == PG_LEASE_LOCK ? check_lease(db, err) : check_sessions(dsn, db, err));
	if (good && version < (int)migration_count)
		good = err_set(err, ERR_REFUSED, "the schema has version %d of %d: run sagad migrate", version,
		               (int)migration_count);
	PQfinish(db);
	*schema = (struct pg_schema){ version, (int)migration_count };
	return good;
}
