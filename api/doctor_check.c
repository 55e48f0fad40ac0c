/* SPDX-License-Identifier: Apache-2.0 */
#include "api/doctor_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	SKEW_WARN_MS = 2000,
	XMIN_WARN = 1000000,         /* transactions that no row died for */
	LONG_WARN_S = 600,
	SYNCREP_BAD_S = 5,
	FILLFACTOR_MAX = 90,
	DEAD_ROWS_MIN = 200000,
	VERSIONS_MAX = 8
};

static const int64_t SLOT_WARN_BYTES = INT64_C(4) << 30;

const char *check_state_name(enum check_state s)
{
	static const char *const NAMES[] = { "ok", "warn", "bad" };

	return NAMES[s];
}

/* ---- facts --------------------------------------------------------------------------- */

static bool find(const struct facts *f, const char *name, struct str *value)
{
	for (size_t i = 0; i < f->n; i++) {
		if (str_is(f->facts[i].name, name)) {
			*value = f->facts[i].value;
			return true;
		}
	}
	*value = STR("");
	return false;
}

static bool find_number(const struct facts *f, const char *name, int64_t *out)
{
	struct str text;
	uint64_t   n;
	bool       negative;

	*out = 0;
	if (!find(f, name, &text))
		return false;
	negative = text.n > 0 && text.p[0] == '-';
	if (!text_to_u64(negative ? (struct str){ text.p + 1, text.n - 1 } : text, &n) || n > INT64_MAX)
		return false;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool is_on(const struct facts *f, const char *name)
{
	struct str text;

	return find(f, name, &text) && str_is(text, "on");
}

/* ---- findings ------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4)))
static void say(struct check *c, enum check_state state, const char *fmt, ...)
{
	char    text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->state = state;
	buf_cstr(&c->finding, text);
}

static void advise(struct check *c, const char *text)
{
	if (c->state != CHECK_OK)
		buf_cstr(&c->advice, text);
}

static void not_seen(struct check *c)
{
	say(c, CHECK_WARN, "the database did not say");
	advise(c, "look by hand, or ask again");
}

/* ---- the checks ------------------------------------------------------------------------- */

static void judge_version(const struct facts *f, struct check *c)
{
	struct str text;

	if (find(f, "setting.server_version", &text))
		say(c, CHECK_OK, "PostgreSQL %.*s", (int)text.n, text.p);
	else
		not_seen(c);
}

static void judge_schema(const struct facts *f, struct check *c)
{
	int64_t version;

	if (!find_number(f, "schema", &version))
		not_seen(c);
	else if (version < f->known_schema)
		say(c, CHECK_BAD, "the schema has version %lld, this replica wants %u", (long long)version, f->known_schema);
	else if (version > f->known_schema)
		say(c, CHECK_OK, "version %lld, newer than this replica's %u", (long long)version, f->known_schema);
	else
		say(c, CHECK_OK, "version %lld", (long long)version);
	advise(c, "run sagad migrate");
}

static struct str take_word(struct str *rest)
{
	struct str word = { rest->p, 0 };

	while (word.n < rest->n && rest->p[word.n] != ' ')
		word.n++;
	size_t used = word.n < rest->n ? word.n + 1 : word.n;
	*rest = (struct str){ rest->p + used, rest->n - used };
	return word;
}

/* The fact has a word for each that lives: its version, or "-" if it does not answer. */
static void judge_replicas(const struct facts *f, struct check *c)
{
	struct str words, versions[VERSIONS_MAX];
	unsigned   counts[VERSIONS_MAX] = { 0 }, n = 0, i;
	bool       silent = false;

	if (!find(f, "replicas", &words)) {
		not_seen(c);
		return;
	}
	for (struct str word; (word = take_word(&words)).n > 0;) {
		for (i = 0; i < n && !str_eq(versions[i], word); i++)
			;
		if (i == VERSIONS_MAX)
			continue;
		if (i == n)
			versions[n++] = word;
		counts[i]++;
		silent = silent || str_is(word, "-");
	}
	c->state = n == 1 && !silent ? CHECK_OK : CHECK_WARN;
	for (i = 0; i < n; i++) {
		buf_fmt(&c->finding, "%s%u ", i > 0 ? ", " : "", counts[i]);
		if (str_is(versions[i], "-"))
			buf_cstr(&c->finding, counts[i] == 1 ? "does not answer" : "do not answer");
		else
			buf_fmt(&c->finding, "%s %.*s", counts[i] == 1 ? "runs" : "run", (int)versions[i].n, versions[i].p);
	}
	advise(c, "in an upgrade go on until all run one version; see to those that do not answer");
}

static void judge_writable(const struct facts *f, struct check *c)
{
	struct str text;

	if (!find(f, "setting.transaction_read_only", &text))
		not_seen(c);
	else if (str_is(text, "on"))
		say(c, CHECK_BAD, "the database is read-only: nothing can be begun or decided");
	else
		say(c, CHECK_OK, "yes");
	advise(c, "name the primary in the DSN, or set default_transaction_read_only = off for the database and the role");
}

static void judge_switch(const struct facts *f, struct check *c, const char *name, enum check_state off,
                         const char *harm)
{
	struct str text;

	if (!find(f, name, &text))
		not_seen(c);
	else if (str_is(text, "on"))
		say(c, CHECK_OK, "on");
	else
		say(c, off, "%.*s: %s", (int)text.n, text.p, harm);
}

static void judge_fsync(const struct facts *f, struct check *c)
{
	judge_switch(f, c, "setting.fsync", CHECK_BAD, "a crash of the machine loses what was answered");
	advise(c, "set fsync = on and reload");
}

static void judge_full_page(const struct facts *f, struct check *c)
{
	judge_switch(f, c, "setting.full_page_writes", CHECK_BAD, "a crash of the machine can damage pages");
	advise(c, "set full_page_writes = on and reload, unless the file system cannot tear pages");
}

static void judge_commit(const struct facts *f, struct check *c)
{
	struct str text;

	if (!find(f, "setting.synchronous_commit", &text))
		not_seen(c);
	else if (str_is(text, "on") || str_is(text, "remote_apply"))
		say(c, CHECK_OK, "%.*s, in the sessions of sagad", (int)text.n, text.p);
	else
		say(c, CHECK_BAD, "%.*s: a crash loses what was answered", (int)text.n, text.p);
	advise(c, "something between sagad and the server changes its settings: take it away");
}

static void judge_standbys(const struct facts *f, struct check *c)
{
	struct str names;
	int64_t    n, waits_s;

	if (!find(f, "setting.synchronous_standby_names", &names) || !find_number(f, "standbys", &n) ||
	    !find_number(f, "syncrep_wait_s", &waits_s)) {
		not_seen(c);
	} else if (names.n > 0 && n == 0) {
		say(c, CHECK_BAD, "commits wait for a synchronous standby (%.*s), and none is connected", (int)names.n, names.p);
		advise(c, "start the standby; if it will not come back soon, empty synchronous_standby_names and reload: "
		          "until it is set again a failover can lose decisions");
	} else if (waits_s >= SYNCREP_BAD_S) {
		say(c, CHECK_BAD, "a commit has waited for its standby for %lld s", (long long)waits_s);
		advise(c, "look at the standby and at the network to it; pg_stat_replication says how far it is");
	} else if (names.n == 0 && n > 0) {
		say(c, CHECK_BAD, "%lld connected, none of them synchronous: a failover can lose decisions", (long long)n);
		advise(c, "set synchronous_standby_names");
	} else if (n == 0) {
		say(c, CHECK_OK, "none: what is lost with this server is lost");
	} else {
		say(c, CHECK_OK, "%lld connected, commits wait for %.*s", (long long)n, (int)names.n, names.p);
	}
}

static void judge_clock(const struct facts *f, struct check *c)
{
	int64_t at, skew;

	if (!find_number(f, "clock_ms", &at)) {
		not_seen(c);
		return;
	}
	skew = at - f->now;
	if (skew < SKEW_WARN_MS && skew > -SKEW_WARN_MS)
		say(c, CHECK_OK, "within %d s of this replica's", SKEW_WARN_MS / 1000);
	else
		say(c, CHECK_WARN, "%lld ms %s this replica's", (long long)(skew > 0 ? skew : -skew),
		    skew > 0 ? "ahead of" : "behind");
	advise(c, "let both keep time by NTP: deadlines and start times go by these clocks");
}

static void judge_connections(const struct facts *f, struct check *c)
{
	int64_t used, all;

	if (!find_number(f, "connections", &used) || !find_number(f, "setting.max_connections", &all) || all <= 0) {
		not_seen(c);
		return;
	}
	say(c, used * 100 > all * 95 ? CHECK_BAD : used * 100 > all * 80 ? CHECK_WARN : CHECK_OK, "%lld of %lld",
	    (long long)used, (long long)all);
	advise(c, "raise max_connections or find who holds them: each replica needs five sessions, and a new one none less");
}

static void judge_timeouts(const struct facts *f, struct check *c)
{
	int64_t statement, idle;

	if (!find_number(f, "setting.statement_timeout", &statement) ||
	    !find_number(f, "setting.idle_in_transaction_session_timeout", &idle))
		not_seen(c);
	else if (statement == 0 || idle == 0)
		say(c, CHECK_WARN, "the sessions of sagad have %s%s%s: a silent one can hold rows for ever",
		    statement ? "" : "no statement_timeout", statement || idle ? "" : " and ",
		    idle ? "" : "no idle_in_transaction_session_timeout");
	else
		say(c, CHECK_OK, "statements of sagad end after %lld ms", (long long)statement);
	advise(c, "something between sagad and the server resets its settings: take it away");
}

static void judge_autovacuum(const struct facts *f, struct check *c)
{
	struct str text;

	if (!find(f, "setting.autovacuum", &text))
		not_seen(c);
	else if (!is_on(f, "setting.autovacuum") || !is_on(f, "setting.track_counts"))
		say(c, CHECK_BAD, "off: the tables grow with every step, and get slower");
	else
		say(c, CHECK_OK, "on");
	advise(c, "set autovacuum = on and track_counts = on, and reload");
}

static void judge_snapshots(const struct facts *f, struct check *c)
{
	int64_t age;

	if (!find_number(f, "xmin_age", &age))
		not_seen(c);
	else
		say(c, age > XMIN_WARN ? CHECK_WARN : CHECK_OK, "the oldest is %lld transactions old", (long long)age);
	advise(c, "dead rows cannot be taken away: find the session in pg_stat_activity by its backend_xmin and end it");
}

static void judge_transactions(const struct facts *f, struct check *c)
{
	struct str text, sees_all = STR("");
	uint64_t   seconds;
	size_t     n = 0;

	find(f, "sees_all", &sees_all);
	if (!find(f, "long_transaction", &text)) {
		say(c, CHECK_OK, str_is(sees_all, "true") ? "none" : "none of this role's; others are not seen");
		return;
	}
	while (n < text.n && text.p[n] != ' ')
		n++;
	if (!text_to_u64((struct str){ text.p, n }, &seconds))
		not_seen(c);
	else if (seconds < LONG_WARN_S)
		say(c, CHECK_OK, "the oldest is %llu s old", (unsigned long long)seconds);
	else
		say(c, CHECK_WARN, "one is %llu s old (pid and name:%.*s)", (unsigned long long)seconds, (int)(text.n - n),
		    text.p + n);
	advise(c, "dead rows cannot be taken away while it is open: ask its owner, or SELECT pg_terminate_backend(pid)");
}

static void judge_prepared(const struct facts *f, struct check *c)
{
	int64_t seconds;

	if (!find_number(f, "prepared_s", &seconds))
		not_seen(c);
	else if (seconds > LONG_WARN_S)
		say(c, CHECK_WARN, "one was prepared %lld s ago and never decided", (long long)seconds);
	else
		say(c, CHECK_OK, "none is old");
	advise(c, "sagad prepares none: find it in pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED");
}

static void judge_slots(const struct facts *f, struct check *c)
{
	struct str text;
	uint64_t   bytes;
	size_t     n = 0;

	if (!find(f, "slot", &text)) {
		say(c, CHECK_OK, "none is idle");
		return;
	}
	while (n < text.n && text.p[n] != ' ')
		n++;
	if (n == 0) /* a standby cannot say */
		say(c, CHECK_OK, "an idle one:%.*s", (int)text.n, text.p);
	else if (!text_to_u64((struct str){ text.p, n }, &bytes))
		not_seen(c);
	else
		say(c, bytes > (uint64_t)SLOT_WARN_BYTES ? CHECK_WARN : CHECK_OK, "an idle one keeps %llu MiB of WAL:%.*s",
		    (unsigned long long)bytes >> 20, (int)(text.n - n), text.p + n);
	advise(c, "the disk fills up: bring its reader back, or SELECT pg_drop_replication_slot(name)");
}

static void judge_wraparound(const struct facts *f, struct check *c)
{
	int64_t age, max;

	if (!find_number(f, "freeze_age", &age) || !find_number(f, "setting.autovacuum_freeze_max_age", &max) || max <= 0)
		not_seen(c);
	else
		say(c, age > 4 * max ? CHECK_BAD : age > max + max / 2 ? CHECK_WARN : CHECK_OK,
		    "the oldest row is %lld transactions old, autovacuum begins at %lld", (long long)age, (long long)max);
	advise(c, "something keeps autovacuum from freezing: long transactions, prepared ones, slots; then VACUUM FREEZE");
}

static void judge_indexes(const struct facts *f, struct check *c)
{
	struct str missing, invalid;

	if (!find(f, "indexes_missing", &missing) || !find(f, "indexes_invalid", &invalid))
		not_seen(c);
	else if (missing.n + invalid.n > 0)
		say(c, CHECK_BAD, "%s%.*s%s%s%.*s", missing.n ? "missing: " : "", (int)missing.n, missing.p,
		    missing.n && invalid.n ? "; " : "", invalid.n ? "invalid: " : "", (int)invalid.n, invalid.p);
	else
		say(c, CHECK_OK, "all there, all valid");
	advise(c, "make a missing one again as sql/ has it; REINDEX INDEX CONCURRENTLY an invalid one");
}

static void judge_dead_rows(const struct facts *f, struct check *c)
{
	int64_t live, dead;

	if (!find_number(f, "rows_live", &live) || !find_number(f, "rows_dead", &dead))
		not_seen(c);
	else
		say(c, dead > DEAD_ROWS_MIN && dead > live ? CHECK_WARN : CHECK_OK, "%lld dead beside %lld live in sagad.transaction",
		    (long long)dead, (long long)live);
	advise(c, "autovacuum does not keep up: look at the checks above, then VACUUM sagad.transaction");
}

static void judge_fillfactor(const struct facts *f, struct check *c)
{
	int64_t percent;

	if (!find_number(f, "fillfactor", &percent))
		not_seen(c);
	else
		say(c, percent > FILLFACTOR_MAX ? CHECK_WARN : CHECK_OK, "%lld %% of a page of sagad.transaction", (long long)percent);
	advise(c, "every step then writes to every index: ALTER TABLE sagad.transaction SET (fillfactor = 50)");
}

void doctor_judge(const struct facts *f, struct check out[CHECK_COUNT])
{
	static const struct {
		const char *name;
		void      (*judge)(const struct facts *f, struct check *c);
	} ROWS[] = {
#define X(id, name) { name, judge_##id },
		CHECKS(X)
#undef X
	};

	for (size_t i = 0; i < CHECK_COUNT; i++) {
		out[i] = (struct check){ .name = ROWS[i].name };
		ROWS[i].judge(f, &out[i]);
	}
}
