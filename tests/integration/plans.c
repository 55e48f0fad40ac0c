/* SPDX-License-Identifier: Apache-2.0
 * plans.c - on an empty, unanalysed schema every statement finds its rows by an index.
 *
 * That is the day a new installation takes its first load: the planner guessed a
 * scan by owner there, 408 ms a batch against 1.1.
 */
#include "coordinator/io/pg.h"
#include "sql/statements.h"
#include "tests/lib/pg_database.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

#define X(name, connections, text) { #name, text },
static const struct {
	const char *name, *text;
} statements[] = { STATEMENTS(X) };
#undef X

/* What each must show, and must not. One row per statement that looks for rows of a table that grows. */
static const struct {
	const char *name, *needs, *needs_too;
} wants[] = {
	{ "STAND", "Index Scan using replica_pkey", NULL },
	{ "INSERT", "Index Scan using replica_pkey", NULL },
	{ "INSERT_FRESH", "LockRows", "Index Scan using replica_pkey" },
	{ "INSERT_ALIKE", "LockRows", "Index Scan using replica_pkey" },
	{ "STEP", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "STEP_TELL", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "CHANGE", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "CHANGE_TELL", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "CHANGED", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "JOURNAL", "Index Scan using transaction_pkey", "Index Cond: ((gid)::text = " },
	{ "SETTLE", "Index Scan using inbox_pkey", "using transaction_pkey" },
	{ "RELOAD", "Index Scan using transaction_pkey", NULL },
	{ "MINE", "using transaction_owner", "Index Cond: (((gid)::text > $2) AND ((gid)::text < $4) AND ((gid)::text >= " },
	{ "ADOPT", "using transaction_owner", "Index Scan using transaction_pkey" },
	{ "LOOK", "using transaction_due", "using inbox_open" },
	{ "TAKE_DUE", "using transaction_due", "Index Scan using transaction_pkey" },
	{ "CLAIM", "Index Scan using transaction_pkey", NULL },
	{ "READ", "Index Scan using transaction_pkey", NULL },
	{ "READ_ENDED", "Index Scan using transaction_pkey", NULL },
	{ "INBOX_READ", "Index Scan using inbox_open", "Index Scan using transaction_pkey" },
	{ "INBOX_VERDICTS", "Index Scan using inbox_pkey", NULL },
	{ "INBOX_FORGET", "Index Scan using inbox_pkey", NULL },
	{ "MEMBERS", "using transaction_owner", NULL },
	{ "NURSERY_MOVE", "Index Scan using replica_pkey", "Index Scan using replica_beat_pkey" },
	{ "NURSERY_LEAVE", "Index Cond: (((gid)::text >= $1) AND ((gid)::text < $2))", "Index Cond: ((gid)::text = (free.gid)::text)" },
	{ "TIMELINE_NOTE", "Index Cond: (((gid)::text >= b.nursery_from) AND ((gid)::text < r.nursery_until))",
	  "using transaction_owner" },
	{ "PROBE", "Index Scan using lease_pkey", NULL },
	{ "FENCE_LEASE", "Conflict Arbiter Indexes: lease_pkey", NULL },
	{ "LEASE_FREE", "Index Scan using lease_pkey", NULL },
	{ "FENCE", "Index Scan using replica_pkey", "using transaction_owner" },
	{ "RETIRE", "Index Scan using replica_pkey", NULL },
	{ "SWEEP", "Index Scan using transaction_pkey", "using journal_pkey" },
	{ "SWEEP_INBOX", "using inbox_pkey", NULL },
	{ "SWEEP_REPLICA", "using transaction_owner", NULL },
	{ "DEFINITION_PUT", "using definition_pkey", NULL },
	{ "DEFINITION_ROW", "using definition_pkey", NULL },
	{ "DEFINITIONS_NAMED", "Index Scan using definition_pkey", NULL },
	{ "DEFINITION_LIST", "using definition_pkey", NULL },
	{ "LIST", "Index Scan using transaction_pkey", NULL },
	{ "JOURNAL_READ", "using journal_pkey", NULL },
	{ "STUCK", "using transaction_stuck", NULL },
	{ "COUNTS", "using transaction_owner", "Index Cond: (((gid)::text >= b.nursery_from) AND ((gid)::text < r.nursery_until))" },
	{ "DTM_LIST", "using transaction_dtm", "Index Scan using transaction_pkey" },
	{ "DTM_SLEEPERS", "using transaction_due", NULL },
	{ "DTM_KV_READ", "using dtm_kv_pkey", NULL },
};

static char plan[20000];

/* The generic plan, as the coordinator's sessions use it. */
static bool explain(struct pg_database *d, const char *name, const char *text)
{
	char sql[8000];
	int  n = atoi(pg_database_ask(d, "SELECT 0"));

	snprintf(sql, sizeof sql, "PREPARE p_%s AS %s", name, text);
	PGresult *r = PQexec(d->db, sql);
	bool      prepared = PQresultStatus(r) == PGRES_COMMAND_OK;
	PQclear(r);
	if (!prepared)
		return false;
	n = atoi(pg_database_ask(d, "SELECT coalesce(array_length(parameter_types, 1), 0) "
	                         "FROM pg_prepared_statements WHERE name = lower('p_%s')", name));
	size_t at = (size_t)snprintf(sql, sizeof sql, "EXPLAIN (COSTS off) EXECUTE p_%s", name);
	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(sql + at, sizeof sql - at, "%sNULL%s", i == 0 ? "(" : ", ", i + 1 == n ? ")" : "");
	r = PQexec(d->db, sql);
	plan[0] = '\0';
	for (int i = 0; i < PQntuples(r); i++)
		snprintf(plan + strlen(plan), sizeof plan - strlen(plan), "%s\n", PQgetvalue(r, i, 0));
	bool good = PQresultStatus(r) == PGRES_TUPLES_OK;
	PQclear(r);
	return good;
}

/* What the lease's session sends as it is. */
static void check_lease_row(struct pg_database *d)
{
	char open[1000], beat[600];

	snprintf(open, sizeof open, SQL_LEASE_ROW_OPEN, 1LL, 2LL, 2000u);
	snprintf(beat, sizeof beat, SQL_LEASE_ROW_BEAT, 1LL, 2LL);
	ok(explain(d, "row_open", open) && strstr(plan, "Conflict Arbiter Indexes: lease_pkey") != NULL,
	   "a lease that is a row is opened by its key");
	ok(explain(d, "row_beat", beat) && strstr(plan, "Index Scan using lease_pkey") != NULL &&
	   strstr(plan, "Seq Scan") == NULL, "and a beat finds it by its key");
}

static void show(void)
{
	for (char *line = strtok(plan, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
}

static void check(struct pg_database *d, const char *name, const char *text)
{
	size_t i = 0;

	if (strncmp(text, "BEGIN", 5) == 0 || strncmp(text, "COMMIT", 6) == 0 || strncmp(text, "ROLLBACK", 8) == 0 ||
	    strncmp(text, "SET ", 4) == 0)
		return;
	if (!ok(explain(d, name, text), "%s can be prepared", name)) {
		printf("# %s", PQerrorMessage(d->db));
		return;
	}
	while (i < sizeof wants / sizeof wants[0] && strcmp(wants[i].name, name) != 0)
		i++;
	bool has = i == sizeof wants / sizeof wants[0] ||
		(strstr(plan, wants[i].needs) != NULL && (wants[i].needs_too == NULL || strstr(plan, wants[i].needs_too)));
	/* The small tables that are read whole on purpose. */
	bool whole = strcmp(name, "SWEEP") == 0 || strcmp(name, "MEMBERS") == 0 || strcmp(name, "SWEEP_REPLICA") == 0 ||
		strcmp(name, "SWEEP_LEASE") == 0 || strcmp(name, "PARTICIPANT_LIST") == 0;
	bool hashes = strstr(plan, "Hash Join") != NULL || strstr(plan, "Merge Join") != NULL ||
		strstr(plan, "hashed SubPlan") != NULL;
	bool scans = strstr(plan, "Seq Scan on transaction") != NULL || strstr(plan, "Seq Scan on journal") != NULL ||
		strstr(plan, "Seq Scan on inbox") != NULL || (!whole && strstr(plan, "Seq Scan") != NULL);
	if (!ok(has && !hashes && !scans, "%s goes by an index", name))
		show();
}

/* Reading an empty table whole is as good as any other way, by its size as the last vacuum found it. Then it
 * grows, and nobody has counted it yet. */
static void check_growth(struct pg_database *d, const char *name, const char *condition)
{
	size_t i = 0;
	char   again[40];

	while (strcmp(statements[i].name, name) != 0)
		i++;
	snprintf(again, sizeof again, "%s_young", name);
	bool asked = explain(d, again, statements[i].text), whole = strstr(plan, condition) == NULL;
	pg_database_run(d, "INSERT INTO sagad.transaction (gid, created_at, retention_ms, format, hash, epoch, due_at, "
	                   "adoptions, paused, phase, stuck, version, progress) SELECT 'g' || i, now(), 1, 1, '', 1, now(), "
	                   "0, false, 'trying', 'none', 1, '{}' FROM generate_series(1, 1000) i");
	pg_database_run(d, SQL_REPLAN);
	snprintf(again, sizeof again, "%s_grown", name);
	asked = asked && explain(d, again, statements[i].text);
	if (!ok(asked && strstr(plan, condition) != NULL, "%s goes by an index when an empty table has grown%s", name,
	        whole ? " (not before)" : ""))
		show();
	pg_database_run(d, "DELETE FROM sagad.transaction");
}

int main(void)
{
	struct pg_database d;
	struct pg_schema   schema;
	struct err         err = { 0 };
	const char        *why;

	if (!pg_database_make(&d, "sagad_plans", &why) || !pg_migrate(d.dsn, &schema, &err)) {
		printf("1..0 # SKIP %s %s\n", why, err.text);
		return getenv("SAGAD_TEST_DSN") != NULL;
	}
	PGresult *r = PQexecParams(d.db, SQL_SESSION, 2, NULL, (const char *const[]){ "10000", "200" }, NULL, NULL, 0);
	ok(PQresultStatus(r) == PGRES_TUPLES_OK, "the session is set as the coordinator's");
	PQclear(r);
	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
		check(&d, statements[i].name, statements[i].text);
	check_lease_row(&d);
	for (size_t i = 0; i < sizeof wants / sizeof wants[0]; i++) {
		size_t k = 0;
		while (k < STATEMENT_COUNT && strcmp(statements[k].name, wants[i].name) != 0)
			k++;
		ok(k < STATEMENT_COUNT, "%s is still a statement", wants[i].name);
	}
	pg_database_run(&d, "VACUUM sagad.transaction");
	check_growth(&d, "CHANGE", "Index Cond: ((gid)::text = ");
	check_growth(&d, "STEP", "Index Cond: ((gid)::text = ");
	check_growth(&d, "ADOPT", "Index Cond: ((gid)::text = (c.gid)::text");
	check_growth(&d, "TAKE_DUE", "Index Cond: ((gid)::text = (c.gid)::text");
	/* The test can fail: without its settings the planner does what it must not. */
	pg_database_run(&d, "RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_seqscan; RESET enable_bitmapscan");
	size_t k = 0;
	while (strcmp(statements[k].name, "DEFINITIONS_NAMED") != 0)
		k++;
	ok(explain(&d, "again", statements[k].text) && strstr(plan, "Index Scan using definition_pkey") == NULL,
	   "a session without the settings would plan otherwise");
	pg_database_drop(&d);
	return tap_done();
}
