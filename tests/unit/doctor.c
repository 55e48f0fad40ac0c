/* SPDX-License-Identifier: Apache-2.0
 * doctor.c - what the doctor says of each fact: one row per check and way to be ill.
 */
#include "api/doctor_check.h"
#include "tests/lib/tap.h"

#include <string.h>

enum { NOW = 1000000, FACTS_MAX = 40 };

/* A healthy database. */
static const struct { const char *name, *value; } WELL[] = {
	{ "setting.server_version", "15.4" }, { "setting.fsync", "on" }, { "setting.full_page_writes", "on" },
	{ "setting.synchronous_commit", "on" }, { "setting.synchronous_standby_names", "" },
	{ "setting.max_connections", "100" }, { "setting.statement_timeout", "10000" },
	{ "setting.idle_in_transaction_session_timeout", "10000" }, { "setting.autovacuum", "on" },
	{ "setting.track_counts", "on" }, { "setting.autovacuum_freeze_max_age", "200000000" },
	{ "setting.transaction_read_only", "off" }, { "clock_ms", "1000500" }, { "schema", "3" }, { "replicas", "0.1.0 0.1.0 0.1.0" },
	{ "connections", "15" }, { "sees_all", "true" }, { "xmin_age", "5" }, { "syncrep_wait_s", "0" },
	{ "standbys", "0" }, { "prepared_s", "0" }, { "freeze_age", "7000" }, { "indexes_invalid", "" },
	{ "indexes_missing", "" }, { "rows_live", "100" }, { "rows_dead", "199999" }, { "fillfactor", "50" },
};

struct ill {
	const char      *fact, *value; /* in the place of the healthy one; value NULL: it is missing */
	const char      *check;
	enum check_state state;
	const char      *says;
	const char      *too, *too_value; /* one more */
};

static const struct ill ROWS[] = {
	{ "schema", "2", "schema", CHECK_BAD, "wants 3", NULL, NULL },
	{ "schema", "4", "schema", CHECK_OK, "newer", NULL, NULL },
	{ "replicas", "0.1.0", "replica versions", CHECK_OK, "1 runs 0.1.0", NULL, NULL },
	{ "replicas", "0.1.0 0.2.0 0.1.0", "replica versions", CHECK_WARN, "2 run 0.1.0, 1 runs 0.2.0", NULL, NULL },
	{ "replicas", "0.1.0 - 0.1.0 -", "replica versions", CHECK_WARN, "2 run 0.1.0, 2 do not answer", NULL, NULL },
	{ "replicas", "-", "replica versions", CHECK_WARN, "1 does not answer", NULL, NULL },
	{ "replicas", "a b c d e f g h i a", "replica versions", CHECK_WARN, "2 run a, 1 runs b", NULL, NULL },
	{ "setting.transaction_read_only", "on", "writable", CHECK_BAD, "read-only", NULL, NULL },
	{ "setting.fsync", "off", "fsync", CHECK_BAD, "loses", NULL, NULL },
	{ "setting.full_page_writes", "off", "full_page_writes", CHECK_BAD, "damage", NULL, NULL },
	{ "setting.synchronous_commit", "off", "synchronous_commit", CHECK_BAD, "loses", NULL, NULL },
	{ "setting.synchronous_commit", "local", "synchronous_commit", CHECK_BAD, "loses", NULL, NULL },
	{ "setting.synchronous_commit", "remote_apply", "synchronous_commit", CHECK_OK, "remote_apply", NULL, NULL },
	{ "standbys", "2", "standbys", CHECK_BAD, "none of them synchronous", NULL, NULL },
	{ "standbys", "2", "standbys", CHECK_OK, "wait for s1", "setting.synchronous_standby_names", "s1" },
	{ "standbys", "0", "standbys", CHECK_BAD, "none is connected", "setting.synchronous_standby_names", "s1" },
	{ "syncrep_wait_s", "4", "standbys", CHECK_OK, "none", NULL, NULL },
	{ "syncrep_wait_s", "5", "standbys", CHECK_BAD, "for 5 s", "standbys", "1" },
	{ "clock_ms", "1002000", "database clock", CHECK_WARN, "2000 ms ahead", NULL, NULL },
	{ "clock_ms", "998000", "database clock", CHECK_WARN, "2000 ms behind", NULL, NULL },
	{ "connections", "80", "connections", CHECK_OK, "80 of 100", NULL, NULL },
	{ "connections", "81", "connections", CHECK_WARN, "81 of 100", NULL, NULL },
	{ "connections", "96", "connections", CHECK_BAD, "96 of 100", NULL, NULL },
	{ "setting.max_connections", "0", "connections", CHECK_WARN, "did not say", NULL, NULL },
	{ "setting.statement_timeout", "0", "time-outs", CHECK_WARN, "no statement_timeout:", NULL, NULL },
	{ "setting.statement_timeout", "0", "time-outs", CHECK_WARN, "statement_timeout and no idle",
	  "setting.idle_in_transaction_session_timeout", "0" },
	{ "setting.autovacuum", "off", "autovacuum", CHECK_BAD, "grow", NULL, NULL },
	{ "setting.track_counts", "off", "autovacuum", CHECK_BAD, "grow", NULL, NULL },
	{ "xmin_age", "1000001", "old snapshots", CHECK_WARN, "1000001", NULL, NULL },
	{ "sees_all", "false", "long transactions", CHECK_OK, "others are not seen", NULL, NULL },
	{ "sees_all", "true", "long transactions", CHECK_OK, "599 s", "long_transaction", "599 42 psql" },
	{ "sees_all", "true", "long transactions", CHECK_WARN, "600 s old (pid and name: 42 psql)", "long_transaction",
	  "600 42 psql" },
	{ "sees_all", "true", "long transactions", CHECK_WARN, "did not say", "long_transaction", "soon" },
	{ "prepared_s", "601", "prepared transactions", CHECK_WARN, "601 s", NULL, NULL },
	{ "sees_all", "true", "replication slots", CHECK_OK, "keeps 1 MiB of WAL: old", "slot", "1048576 old" },
	{ "sees_all", "true", "replication slots", CHECK_WARN, "keeps 4097 MiB of WAL: old", "slot", "4296015872 old" },
	{ "sees_all", "true", "replication slots", CHECK_OK, "an idle one: old", "slot", " old" },
	{ "freeze_age", "300000001", "wraparound", CHECK_WARN, "300000001", NULL, NULL },
	{ "freeze_age", "800000001", "wraparound", CHECK_BAD, "800000001", NULL, NULL },
	{ "indexes_missing", "transaction_due", "indexes", CHECK_BAD, "missing: transaction_due", NULL, NULL },
	{ "indexes_invalid", "a, b", "indexes", CHECK_BAD, "missing: c; invalid: a, b", "indexes_missing", "c" },
	{ "rows_dead", "200001", "dead rows", CHECK_WARN, "200001 dead", NULL, NULL },
	{ "rows_dead", "200001", "dead rows", CHECK_OK, "200001 dead", "rows_live", "200001" },
	{ "fillfactor", "100", "fillfactor", CHECK_WARN, "100 %", NULL, NULL },
};

static void judge(const struct ill *row, struct check out[CHECK_COUNT])
{
	struct doctor_fact facts[FACTS_MAX];
	size_t             n = 0;

	for (size_t i = 0; i < sizeof WELL / sizeof *WELL; i++) {
		const char *value = WELL[i].value;

		if (row && strcmp(row->fact, WELL[i].name) == 0)
			value = row->value;
		if (row && row->too && strcmp(row->too, WELL[i].name) == 0)
			continue;
		if (value)
			facts[n++] = (struct doctor_fact){ str_of(WELL[i].name), str_of(value) };
	}
	if (row && row->too)
		facts[n++] = (struct doctor_fact){ str_of(row->too), str_of(row->too_value) };
	doctor_judge(&(struct facts){ facts, n, 3, NOW }, out);
}

static void fini(struct check *checks)
{
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		buf_fini(&checks[i].finding);
		buf_fini(&checks[i].advice);
	}
}

static void test_rows(void)
{
	struct check checks[CHECK_COUNT];

	for (size_t r = 0; r < sizeof ROWS / sizeof *ROWS; r++) {
		unsigned found = 0, others = 0;

		judge(&ROWS[r], checks);
		for (size_t i = 0; i < CHECK_COUNT; i++) {
			bool here = strcmp(checks[i].name, ROWS[r].check) == 0;

			others += !here && checks[i].state != CHECK_OK;
			found += here && checks[i].state == ROWS[r].state && strstr(checks[i].finding.p, ROWS[r].says) &&
			         (checks[i].advice.n > 0) == (checks[i].state != CHECK_OK);
			if (here)
				printf("# %s\n", checks[i].finding.p);
		}
		ok(found == 1 && others == 0, "%s = %s: %s says %s, and no other check minds", ROWS[r].fact, ROWS[r].value,
		   ROWS[r].check, check_state_name(ROWS[r].state));
		fini(checks);
	}
}

static void test_well_and_silent(void)
{
	struct check checks[CHECK_COUNT];
	unsigned     well = 0, silent = 0;

	judge(NULL, checks);
	for (size_t i = 0; i < CHECK_COUNT; i++)
		well += checks[i].state == CHECK_OK && checks[i].advice.n == 0 && checks[i].finding.n > 0;
	fini(checks);
	doctor_judge(&(struct facts){ NULL, 0, 3, NOW }, checks);
	for (size_t i = 0; i < CHECK_COUNT; i++)
		silent += checks[i].state == CHECK_WARN && checks[i].advice.n > 0;
	fini(checks);
	ok(well == CHECK_COUNT, "a healthy database has nothing to hear");
	ok(silent == CHECK_COUNT - 2, "what was not said was not looked at, but for what there may be none of: %u", silent);
	for (size_t i = 0; i < sizeof WELL / sizeof *WELL; i++) {
		struct ill   row = { .fact = WELL[i].name };
		unsigned     warned = 0;

		if (strcmp(WELL[i].name, "sees_all") == 0)
			continue;
		judge(&row, checks);
		for (size_t c = 0; c < CHECK_COUNT; c++)
			warned += checks[c].state != CHECK_OK;
		fini(checks);
		ok(warned == 1, "without %s one check cannot be made", WELL[i].name);
	}
}

int main(void)
{
	test_rows();
	test_well_and_silent();
	return tap_done();
}
