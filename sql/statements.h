/* SPDX-License-Identifier: Apache-2.0
 * statements.h - every statement the coordinator prepares, once: name, connections that prepare it, text.
 *
 * Rules: parameters are cast, so that binary arguments need no type; an index, not a guess of the
 * planner, finds the rows (tests/integration/plans); whoever may have waited for a lock compares again.
 */
#ifndef SQL_STATEMENTS_H
#define SQL_STATEMENTS_H

enum { ON_LOG = 1, ON_WORK = 2, ON_STORE = 4 };

/* The phases that TXN_PHASES says are ended. */
#define IS_ENDED(phase) phase " = ANY ('{confirmed,cancelled,abandoned}'::text[])"
/* Who drives it: an ended one may still name who ended it. */
#define HOLDER "CASE WHEN t.ended_at IS NULL THEN t.owner END"
/* What the index of owners has. */
#define IS_GROWN "NOT t.young"
/* The open rows of a replica that the index of owners does not have. Bounds that are known before the scan begins. */
#define IN_NURSERY_OF(id)                                                                      \
	"t.gid >= (SELECT b.nursery_from FROM sagad.replica_beat b WHERE b.id = " id ") "      \
	"AND t.gid < (SELECT r.nursery_until FROM sagad.replica r WHERE r.id = " id ") "       \
	"AND t.young AND t.owner = " id " AND t.ended_at IS NULL"
/* The same of all replicas, each in its own bounds: the clock of one may be hours behind. Which rows, and how. */
#define OF_NURSERIES(columns, how)                                                             \
	"FROM sagad.replica r JOIN sagad.replica_beat b ON b.id = r.id AND b.nursery_from < r.nursery_until " \
	"CROSS JOIN LATERAL (SELECT " columns ", t.young AND t.owner = r.id AND t.ended_at IS NULL AS is_open " \
	"FROM sagad.transaction t WHERE t.gid >= b.nursery_from AND t.gid < r.nursery_until " how ") y"

/* In the order of pg_row.c. */
#define ROW_COLUMNS                                                                            \
	"t.gid, " HOLDER ", t.epoch, t.version, t.phase, t.stuck, t.paused, t.adoptions, "        \
	"t.created_at, t.ended_at, t.due_at, t.deadline_at, t.definition, t.definition_version, " \
	"t.document, t.input, t.labels, t.traceparent, t.hash, t.retention_ms, t.format, t.progress"

/* Epochs of a timeline that a failover began are above all that were given before it, those that were
 * lost with it included. Null without a failover: GREATEST leaves it out. */
#define FIRST_EPOCH "(SELECT max(l.timeline)::bigint << 24 FROM sagad.timeline l WHERE l.is_failover)"
#define NEXT_EPOCH "GREATEST(t.epoch + 1, " FIRST_EPOCH ")"
/* There are standbys, and none of them has to have a commit before we hear of it. */
#define UNSAFE_STANDBY "current_setting('synchronous_standby_names') = '' " \
	"AND EXISTS (SELECT 1 FROM pg_stat_replication)"
/* enum danger of engine/port.h. */
#define DANGER_OF "(CASE WHEN t.adoptions < 2 THEN 0 WHEN t.adoptions < 4 THEN 1 ELSE 2 END)"
/* Taking a row: whoever held it before is refused by the epoch from now on. */
#define TAKE "UPDATE sagad.transaction t SET owner = $1::uuid, young = false, due_at = NULL, " \
	"epoch = " NEXT_EPOCH ", version = t.version + 1"
/* A fenced replica takes nothing more. What slips in between is found by the sweep of its rows.
 * And nobody takes a row whose format is newer than what it reads. */
#define I_LIVE "EXISTS (SELECT 1 FROM sagad.replica r WHERE r.id = $1::uuid AND r.state = 'live')"

/* What a person did, in the statement that does it: $1 to $9 of each are put_deed()'s. */
#define DEED_COLUMNS "at, before, after, replica, kind, target, action, actor, role, reason, request_id, detail"
#define SAY_DEED(before, after, from)                                                          \
	"said AS (INSERT INTO sagad.audit (" DEED_COLUMNS ") SELECT now(), " before ", " after ", " \
	"$1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text FROM " from ")"

/* Are the least of the gids, $2, and the greatest, $3, in our nursery? Null, if there is no such row. */
#define IN_OUR_NURSERY "SELECT $2::text >= r.nursery_at AND $3::text < r.nursery_until FROM sagad.replica r WHERE r.id = $1::uuid"
#define INSERT_ROWS(young, columns, values)                                                    \
	"INSERT INTO sagad.transaction AS t (owner, epoch, version, stuck, paused, adoptions, young, " columns ") " \
	"SELECT $1::uuid, 1, 1, 'none', false, 0, " young ", " values " n "
#define INSERT_BEGINS(young) INSERT_ROWS(young,                                                \
	"gid, phase, created_at, deadline_at, definition, definition_version, document, input, " \
	"labels, traceparent, hash, retention_ms, format, progress",                           \
	"n.* FROM (SELECT unnest($4::text[]), unnest($5::text[]), unnest($6::timestamptz[]), " \
	"unnest($7::timestamptz[]), unnest($8::text[]), unnest($9::int[]), unnest($10::text[]), " \
	"unnest($11::text[]), unnest($12::text[]), unnest($13::text[]), unnest($14::bytea[]), " \
	"unnest($15::bigint[]), unnest($16::smallint[]), unnest($17::text[]))")
/* What is the same in all of them is sent once. */
#define INSERT_ALIKE(young) INSERT_ROWS(young,                                                 \
	"phase, definition, definition_version, retention_ms, format, progress, gid, created_at, input, hash", \
	"$4::sagad.phase, $5::text, $6::int, $7::bigint, $8::smallint, $9::text, "             \
	"n.* FROM (SELECT unnest($10::text[]), unnest($11::timestamptz[]), unnest($12::text[]), unnest($13::bytea[]))")

/* IS NOT DISTINCT FROM: with = an unanalysed table was scanned by owner. LIMIT: ten rows were expected of it, and
 * for so many a small table was read whole, by its key; a limit that is not known counts as a tenth. */
#define UPDATE_ROWS(sets, arrays, columns, epoch)                                              \
	"UPDATE sagad.transaction t SET version = n.version + 1, adoptions = 0, phase = n.phase, progress = n.progress, " sets \
	", ended_at = CASE WHEN " IS_ENDED("n.phase") " THEN COALESCE($7::timestamptz, now()) END " \
	"FROM (SELECT unnest($3::text[]), unnest($4::bigint[]), unnest($5::text[]), unnest($6::text[])" arrays \
	" LIMIT cardinality($3::text[])) AS n(gid, version, phase, progress" columns ") "      \
	"WHERE t.gid = n.gid AND t.owner IS NOT DISTINCT FROM $1::uuid "                       \
	"AND t.epoch = " epoch " AND t.version = n.version AND t.ended_at IS NULL"
#define CHANGE_ROWS UPDATE_ROWS(                                                               \
	"stuck = COALESCE(n.stuck, 'none'), paused = COALESCE(n.paused, false), "              \
	"document = COALESCE(n.document, t.document), "                                        \
	"owner = CASE WHEN n.due_at IS NOT NULL OR (" IS_GROWN " AND " IS_ENDED("n.phase") ") THEN NULL ELSE t.owner END, " \
	"young = t.young AND n.due_at IS NULL, due_at = n.due_at",                             \
	", unnest($2::bigint[]), unnest($8::text[]), unnest($9::boolean[]), unnest($10::text[]), unnest($11::timestamptz[])", \
	", epoch, stuck, paused, document, due_at", "n.epoch")
/* The same where none of them is stuck, paused, parked or has a new document, and all have the epoch $2. Each array
 * costs a commit 5,000 instructions, and 900 for each row. */
#define STEP_ROWS UPDATE_ROWS(                                                                 \
	"stuck = CASE WHEN t.stuck = 'none' THEN t.stuck ELSE 'none' END, paused = false, "    \
	"owner = CASE WHEN " IS_GROWN " AND " IS_ENDED("n.phase") " THEN NULL ELSE t.owner END", "", "", "$2::bigint")

#define TRANSACTION_STATEMENTS(X)                                                              \
/* Longer than a commit holds its rows, and a tenth of what a batch otherwise waits for a lock. Ends with the batch. */ \
X(HASTEN, ON_LOG, "SELECT set_config('lock_timeout', '20ms', true)")                           \
/* Fails on purpose when our row is not live; held until the commit, so that a fence waits. Says what CHANGED asks for. \
 * For INSERT, which must not wait for our row itself: then a lock that it waits for is that of a gid (pg_commit.c). */ \
X(STAND, ON_LOG,                                                                               \
	"SELECT (CASE count(*) WHEN 1 THEN pg_current_xact_id()::text ELSE 'this replica is not live' END)::bigint " \
	"FROM (SELECT 1 FROM sagad.replica WHERE id = $1::uuid AND state = 'live' FOR SHARE) held") \
X(INSERT, ON_LOG,                                                                              \
	INSERT_BEGINS("COALESCE((" IN_OUR_NURSERY "), false)") "ON CONFLICT (gid) DO NOTHING RETURNING t.gid") \
/* Of gids that we made: nothing needs to be looked for, taken back or told. One that exists all the same fails \
 * the batch, and is then begun as above. What STAND does, it does itself, which costs half of a statement less: if our \
 * row is not live, `young` is null, and that fails. */                                        \
X(INSERT_FRESH, ON_LOG, INSERT_BEGINS("(" IN_OUR_NURSERY " AND r.state = 'live' FOR SHARE)"))  \
/* The same of one definition, begun with an input and nothing else. */                        \
X(INSERT_ALIKE, ON_LOG, INSERT_ALIKE("(" IN_OUR_NURSERY " AND r.state = 'live' FOR SHARE)"))   \
X(CHANGE, ON_LOG, CHANGE_ROWS)                                                                 \
X(STEP, ON_LOG, STEP_ROWS)                                                                     \
/* The same, and which of them applied. To name all of them costs three hundredths of what a saga costs. */ \
X(CHANGE_TELL, ON_LOG, CHANGE_ROWS " RETURNING t.gid")                                         \
X(STEP_TELL, ON_LOG, STEP_ROWS " RETURNING t.gid")                                             \
/* Which of them applied, when it was not all: those whose newest version is of that transaction, whose number is $2 or \
 * stands in a row that it began, $3, and nothing has touched since. Whose row went on since then is not told so, and \
 * reads it again. */                                                                          \
X(CHANGED, ON_LOG, "SELECT t.gid FROM sagad.transaction t WHERE t.gid = ANY ($1::text[]) "     \
	"AND t.xmin::text::bigint = COALESCE($2::bigint & 4294967295, (SELECT b.xmin::text::bigint " \
	"FROM sagad.transaction b WHERE b.gid = $3::text AND b.young AND b.version = 1))")     \
/* Numbers grow by transaction, need no sequence, and stay exact in a double until 2037. */    \
/* Nothing is told of a change of this commit that did not apply. */                            \
X(JOURNAL, ON_LOG,                                                                             \
	"INSERT INTO sagad.journal (number, gid, at, what, step, op, outcome, attempt, status, " \
	"detail, actor, replica) "                                                             \
	"SELECT ((extract(epoch FROM now()) - 1577836800) * 1000000)::bigint * 16 + n.place, " \
	"n.gid, n.at, n.what, n.step, n.op, n.outcome, n.attempt, n.status, n.detail, n.actor, n.replica " \
	"FROM (SELECT unnest($1::text[]), unnest($2::timestamptz[]), unnest($3::text[]), unnest($4::text[]), " \
	"unnest($5::text[]), unnest($6::text[]), unnest($7::int[]), unnest($8::int[]), unnest($9::text[]), " \
	"unnest($10::text[]), unnest($11::uuid[]), unnest($12::bigint[]), unnest($13::bigint[]), " \
	"generate_subscripts($1::text[], 1)) "                                                 \
	"AS n(gid, at, what, step, op, outcome, attempt, status, detail, actor, replica, epoch, version, place) " \
	"WHERE n.epoch IS NULL OR (SELECT t.epoch = n.epoch AND t.version = n.version + 1 "    \
	"FROM sagad.transaction t WHERE t.gid = n.gid) IS DISTINCT FROM false")                \
X(AUDIT, ON_LOG,                                                                               \
	"INSERT INTO sagad.audit (at, kind, replica, target, action, actor, role, reason, step, op, request_id, " \
	"detail, before, after) SELECT now(), 'transaction', $1::uuid, n.* FROM unnest($2::text[], $3::text[], " \
	"$4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], " \
	"$12::bigint[]) AS n(gid, action, actor, role, reason, step, op, request_id, detail, before, after) " \
	"WHERE (SELECT t.epoch = c.epoch AND t.version = c.version + 1 FROM sagad.transaction t, " \
	"unnest($13::text[], $14::bigint[], $15::bigint[]) AS c(gid, epoch, version) "         \
	"WHERE t.gid = n.gid AND c.gid = n.gid)")                                              \
/* Not "verdict IS NULL": that would be found by inbox_open, row by row. \
 * A verdict stands only with what it speaks of: the change of this commit, or a row that is ours or \
 * nobody's. $4..$6 are the changes as sent; only the one that applied has this epoch and version + 1. */ \
X(SETTLE, ON_LOG,                                                                              \
	"UPDATE sagad.inbox i SET verdict = s.verdict, settled_at = now() "                    \
	"FROM unnest($2::uuid[], $3::text[]) AS s(id, verdict) "                               \
	"WHERE i.id = s.id AND i.settled_at IS NULL AND CASE WHEN i.gid = ANY ($4::text[]) "      \
	"THEN EXISTS (SELECT 1 FROM sagad.transaction t, "                                     \
	"unnest($4::text[], $5::bigint[], $6::bigint[]) AS c(gid, epoch, version) "            \
	"WHERE t.gid = i.gid AND c.gid = t.gid AND t.epoch = c.epoch AND t.version = c.version + 1) " \
	"ELSE (SELECT t.owner IS NULL OR t.ended_at IS NOT NULL OR t.owner = $1::uuid FROM sagad.transaction t " \
	"WHERE t.gid = i.gid) IS DISTINCT FROM false END")                                     \
X(RELOAD, ON_WORK,                                                                             \
	"UPDATE sagad.transaction t SET epoch = " NEXT_EPOCH ", version = t.version + 1 "      \
	"WHERE t.gid = ANY ($2::text[]) AND t.owner IS NOT DISTINCT FROM $1::uuid AND t.ended_at IS NULL " \
	"RETURNING " ROW_COLUMNS)                                                              \
/* Only forward, only over what nobody has taken since the failover, and never back on a decision. */ \
X(RESTORE, ON_WORK,                                                                            \
	"INSERT INTO sagad.transaction AS t (owner, gid, epoch, version, phase, stuck, paused, adoptions, " \
	"created_at, ended_at, due_at, deadline_at, definition, definition_version, document, input, " \
	"labels, traceparent, hash, retention_ms, format, progress) "                          \
	"SELECT CASE WHEN n.ended_at IS NULL AND n.due_at IS NULL THEN $1::uuid END, n.* "     \
	"FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::boolean[], " \
	"$8::int[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], " \
	"$13::text[], $14::int[], $15::text[], $16::text[], $17::text[], $18::text[], $19::bytea[], " \
	"$20::bigint[], $21::smallint[], $22::text[]) AS n(gid, epoch, version, phase, stuck, paused, " \
	"adoptions, created_at, ended_at, due_at, deadline_at, definition, definition_version, document, " \
	"input, labels, traceparent, hash, retention_ms, format, progress) "                   \
	"WHERE " I_LIVE " AND n.epoch < " FIRST_EPOCH " AND (n.ended_at IS NOT NULL) = (" IS_ENDED("n.phase") ") " \
	"ON CONFLICT (gid) DO UPDATE SET owner = excluded.owner, young = false, epoch = excluded.epoch, " \
	"version = excluded.version, phase = excluded.phase, stuck = excluded.stuck, paused = excluded.paused, " \
	"adoptions = excluded.adoptions, ended_at = excluded.ended_at, due_at = excluded.due_at, " \
	"deadline_at = excluded.deadline_at, document = excluded.document, format = excluded.format, " \
	"progress = excluded.progress, created_at = excluded.created_at "                      \
	"WHERE t.epoch < " FIRST_EPOCH " AND t.epoch <= excluded.epoch AND t.version < excluded.version " \
	"AND (t.phase IN ('prepared', 'trying') OR t.phase = excluded.phase "                  \
	"OR (t.phase = 'confirming' AND excluded.phase IN ('confirmed', 'abandoned')) "        \
	"OR (t.phase = 'cancelling' AND excluded.phase IN ('cancelled', 'abandoned'))) RETURNING t.gid") \
/* Of the young ones those below $4: who began the others has heard of it. */                    \
X(MINE, ON_WORK,                                                                               \
	"(SELECT t.gid, t.epoch, t.version FROM sagad.transaction t "                          \
	"WHERE t.owner = $1::uuid AND " IS_GROWN " AND t.gid > $2::text ORDER BY t.gid LIMIT $3::int) UNION ALL " \
	"(SELECT t.gid, t.epoch, t.version FROM sagad.transaction t "                          \
	"WHERE t.gid > $2::text AND t.gid < $4::text AND " IN_NURSERY_OF("$1::uuid") " ORDER BY t.gid LIMIT $3::int) " \
	"ORDER BY gid LIMIT $3::int")                                                          \
/* Once a row is dangerous, only adoptions from a fenced incarnation count. */                 \
X(ADOPT, ON_WORK,                                                                              \
	"WITH dead AS MATERIALIZED (SELECT r.state FROM sagad.replica r "                      \
	"WHERE r.id = $2::uuid AND r.state <> 'live'), "                                       \
	"c AS MATERIALIZED (SELECT t.gid FROM sagad.transaction t "                            \
	"WHERE EXISTS (SELECT 1 FROM dead) AND " I_LIVE " AND t.owner = $2::uuid AND " IS_GROWN " AND t.gid > $3::text " \
	"AND " DANGER_OF " = $5::int AND t.format <= $6::int "                                 \
	"ORDER BY t.gid LIMIT $4::int OFFSET $7::int FOR UPDATE OF t SKIP LOCKED) "            \
	TAKE ", adoptions = t.adoptions + "                                                    \
	"CASE WHEN $5::int > 0 AND (SELECT state FROM dead) = 'drained' THEN 0 ELSE 1 END "    \
	"FROM c WHERE t.gid = c.gid AND t.owner IS NOT DISTINCT FROM $2::uuid RETURNING " ROW_COLUMNS) \
/* Is there anything to do? 80 us, where TAKE_DUE takes 140 to find nothing, and INBOX_READ 100. */ \
X(LOOK, ON_WORK,                                                                               \
	"SELECT EXISTS (SELECT FROM sagad.transaction t WHERE t.due_at <= now() AND t.format <= $1::int), " \
	"EXISTS (SELECT FROM sagad.inbox i WHERE i.verdict IS NULL)")                          \
X(TAKE_DUE, ON_WORK,                                                                           \
	"WITH c AS MATERIALIZED (SELECT t.gid FROM sagad.transaction t "                       \
	"WHERE t.due_at <= now() AND t.format <= $3::int AND " I_LIVE " ORDER BY t.due_at LIMIT $2::int " \
	"OFFSET $4::int FOR UPDATE OF t SKIP LOCKED) "                                         \
	TAKE " FROM c WHERE t.gid = c.gid AND t.owner IS NULL RETURNING " ROW_COLUMNS)         \
X(CLAIM, ON_WORK,                                                                              \
	TAKE " WHERE t.gid = $2::text AND t.owner IS NULL AND t.ended_at IS NULL "             \
	"AND t.format <= $3::int AND " I_LIVE " RETURNING " ROW_COLUMNS)                                                             \
X(READ, ON_WORK, "SELECT " ROW_COLUMNS " FROM sagad.transaction t WHERE t.gid = ANY ($1::text[])") \
X(READ_ENDED, ON_WORK, "SELECT " ROW_COLUMNS " FROM sagad.transaction t "                      \
	"WHERE t.gid = ANY ($1::text[]) AND t.ended_at IS NOT NULL")

#define INBOX_STATEMENTS(X)                                                                    \
X(INBOX_PUT, ON_WORK,                                                                          \
	"INSERT INTO sagad.inbox (id, created_at, gid, command, body) VALUES "                 \
	"($1::uuid, clock_timestamp(), $2::text, $3::text, $4::text) ON CONFLICT (id) DO NOTHING") \
X(INBOX_READ, ON_WORK,                                                                         \
	"SELECT i.id, i.gid, i.command, i.body FROM sagad.inbox i "                            \
	"LEFT JOIN sagad.transaction t ON t.gid = i.gid "                                      \
	"WHERE i.verdict IS NULL AND (t.owner IS NULL OR t.ended_at IS NOT NULL OR t.owner = $1::uuid) " \
	"AND (t.format <= $3::int) IS NOT FALSE "                                              \
	"ORDER BY i.created_at, i.id LIMIT $2::int")                                           \
X(INBOX_VERDICTS, ON_WORK,                                                                     \
	"SELECT i.id, i.verdict FROM sagad.inbox i WHERE i.id = ANY ($1::uuid[]) AND i.verdict IS NOT NULL") \
X(INBOX_FORGET, ON_WORK, "DELETE FROM sagad.inbox WHERE id = ANY ($1::uuid[])")

/* Another after each opening and each beat, whatever the clock says; never 0. Compared, and nothing else: how old
 * a row is nobody reads from it, since the server's clock may be set, or another server's. */
#define LEASE_MARK "((l.session # (extract(epoch FROM l.seen_at) * 1000000)::bigint) | 1)"

/* As it stands in pg_locks. */
#define HOLDS_LOCK(key, pid)                                                                   \
	"EXISTS (SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.pid = " pid      \
	" AND l.mode = 'ExclusiveLock' AND l.granted AND l.objsubid = 1 "                      \
	"AND l.classid = ((" key " >> 32) & 4294967295)::oid AND l.objid = (" key " & 4294967295)::oid " \
	"AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
/* In microseconds. A number: sessions may differ in how they write times. */
#define SERVER_STARTED "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"

#define REPLICA_STATEMENTS(X)                                                                  \
X(ENROLL, ON_WORK,                                                                             \
	"INSERT INTO sagad.replica AS r (id, lock_key, weight, state, address, started_at) "   \
	"VALUES ($1::uuid, $2::bigint, $3::int, 'live', $4::text, now()) "                     \
	"ON CONFLICT (id) DO UPDATE SET lock_key = excluded.lock_key, weight = excluded.weight, " \
	"address = excluded.address WHERE r.state = 'live' RETURNING 1")                       \
X(STILL_LIVE, ON_WORK,                                                                         \
	"SELECT 1 FROM sagad.replica WHERE id = $1::uuid AND state = 'live'")                  \
X(REPORT, ON_WORK,                                                                             \
	"INSERT INTO sagad.replica_beat AS b (id, speed, load, seen_at) "                      \
	"VALUES ($1::uuid, $2::float8, $3::float8, now()) "                                    \
	"ON CONFLICT (id) DO UPDATE SET speed = excluded.speed, load = excluded.load, "        \
	"seen_at = excluded.seen_at")                                                          \
/* LIMIT keeps the planner from reading every owned row into a hash. Whose nursery is open may have rows there. */ \
X(MEMBERS, ON_WORK,                                                                            \
	"SELECT r.id, r.lock_key, r.state, r.address, r.weight, b.speed, b.load, r.started_at, " \
	"b.seen_at, r.fenced_by, (b.nursery_from < r.nursery_until) IS TRUE OR " \
	"(SELECT true FROM sagad.transaction t WHERE t.owner = r.id AND " IS_GROWN " LIMIT 1), " \
	"r.left_rows, " LEASE_MARK ", l.ttl_ms "                                               \
	"FROM sagad.replica r LEFT JOIN sagad.replica_beat b ON b.id = r.id "                  \
	"LEFT JOIN sagad.lease l ON l.key = r.lock_key AND l.state = 'held' ORDER BY r.id")    \
/* The nursery begins at gid $2 and ends at $3 from now on; where it was closed, its rows are nowhere below. If all of it
 * is ahead of $3, the clock has been set back: it is shut, and opened here by a later move, when it is empty. Not while
 * another session of ours, which may be gone for us, still begins transactions: its lock on our row says so. Nor for a replica
 * without a beat, where nobody would find its rows. Held exclusively until the batch commits: the begins of our next
 * session wait for a batch that hangs, until statement_timeout or idle_in_transaction_session_timeout ends that. */ \
X(NURSERY_MOVE, ON_LOG,                                                                        \
	"WITH mine AS MATERIALIZED (SELECT r.id, r.nursery_until, $3::text < r.nursery_at AS is_ahead FROM sagad.replica r " \
	"WHERE r.id = $1::uuid AND r.state = 'live' "                                          \
	"AND EXISTS (SELECT 1 FROM sagad.replica_beat b WHERE b.id = $1::uuid) FOR NO KEY UPDATE OF r SKIP LOCKED), " \
	"opened AS (UPDATE sagad.replica_beat b SET nursery_from = $2::text FROM mine "        \
	"WHERE b.id = mine.id AND b.nursery_from >= mine.nursery_until RETURNING 1) "          \
	"UPDATE sagad.replica r SET "                                                          \
	"nursery_at = CASE WHEN EXISTS (SELECT 1 FROM opened) THEN $2::text WHEN mine.is_ahead THEN r.nursery_until " \
	"ELSE GREATEST(r.nursery_at, $2::text) END, "                                          \
	"nursery_until = CASE WHEN EXISTS (SELECT 1 FROM opened) THEN $3::text ELSE GREATEST(r.nursery_until, $3::text) END " \
	"FROM mine WHERE r.id = mine.id")                                                      \
/* No row of ours is young from now on. */                                                      \
X(NURSERY_SHUT, ON_WORK,                                                                       \
	"WITH mine AS MATERIALIZED (SELECT r.id FROM sagad.replica r "                         \
	"WHERE r.id = $1::uuid AND r.state = 'live' FOR NO KEY UPDATE SKIP LOCKED) "           \
	"UPDATE sagad.replica r SET nursery_at = r.nursery_until FROM mine WHERE r.id = mine.id") \
/* Rows that are open where the nursery has moved on, or all of it if its replica is dead: the index gets $2 of them, $3
 * rows of anybody's are looked at, and nursery_from follows up to the first that is locked or the last that was seen.
 * Are there more (not behind one that is locked)? And is nothing left, so that it is shut and empty? */ \
X(NURSERY_LEAVE, ON_WORK,                                                                      \
	"WITH n AS MATERIALIZED (SELECT r.id, b.nursery_from AS low, r.nursery_until AS until, " \
	"CASE r.state WHEN 'live' THEN r.nursery_at ELSE r.nursery_until END AS high "         \
	"FROM sagad.replica r JOIN sagad.replica_beat b ON b.id = r.id WHERE r.id = $1::uuid), " \
	"seen AS MATERIALIZED (SELECT t.gid, t.young AND t.owner = $1::uuid AND t.ended_at IS NULL AS is_open " \
	"FROM sagad.transaction t WHERE t.gid >= (SELECT n.low FROM n) AND t.gid < (SELECT n.high FROM n) " \
	"ORDER BY t.gid LIMIT $3::int), "                                                      \
	"page AS MATERIALIZED (SELECT s.gid FROM seen s WHERE s.is_open ORDER BY s.gid LIMIT $2::int), " \
	"free AS MATERIALIZED (SELECT t.gid FROM page p JOIN sagad.transaction t ON t.gid = p.gid " \
	"WHERE t.young AND t.owner = $1::uuid AND t.ended_at IS NULL FOR NO KEY UPDATE OF t SKIP LOCKED), " \
	"grown AS (UPDATE sagad.transaction t SET young = false FROM free WHERE t.gid = free.gid RETURNING t.gid), " \
	"rest AS MATERIALIZED (SELECT p.gid FROM page p EXCEPT SELECT g.gid FROM grown g), "   \
	"place AS MATERIALIZED (SELECT (SELECT min(rest.gid) FROM rest) AS stop, "             \
	"CASE WHEN (SELECT count(*) FROM page) = $2::int THEN (SELECT max(p.gid) FROM page p) " \
	"WHEN (SELECT count(*) FROM seen) = $3::int THEN (SELECT max(s.gid) FROM seen s) END AS last), " \
	"moved AS (UPDATE sagad.replica_beat b SET nursery_from = COALESCE(p.stop, p.last, n.high) FROM n, place p " \
	"WHERE b.id = n.id AND b.nursery_from = n.low AND n.low < n.high RETURNING b.nursery_from) " \
	"SELECT p.stop IS NULL AND p.last IS NOT NULL AND EXISTS (SELECT 1 FROM moved), "      \
	"COALESCE((SELECT m.nursery_from FROM moved m), n.low) >= n.until FROM n, place p")    \
/* The first timeline met is no failover. A row comes back from whoever is the first to see a new one. */ \
X(TIMELINE_NOTE, ON_WORK,                                                                      \
	"INSERT INTO sagad.timeline (since, timeline, is_failover, unfinished) "               \
	"SELECT now(), n.timeline, n.is_failover, CASE WHEN n.is_failover THEN "               \
	"(SELECT count(*) FROM sagad.transaction t WHERE t.owner IS NOT NULL AND " IS_GROWN ") + " \
	"(SELECT count(*) " OF_NURSERIES("t.gid", "") " WHERE y.is_open) + "                   \
	"(SELECT count(*) FROM sagad.transaction t WHERE t.due_at IS NOT NULL) ELSE 0 END "    \
	"FROM (SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline, " \
	"(SELECT true FROM sagad.timeline t ORDER BY t.timeline LIMIT 1) IS NOT NULL AS is_failover) n " \
	"WHERE (SELECT true FROM sagad.timeline t WHERE t.timeline = n.timeline) IS NULL "     \
	"ON CONFLICT (timeline) DO NOTHING RETURNING timeline, is_failover, unfinished")       \
/* Fails on purpose until the timeline of this server is in the table: FIRST_EPOCH is that of the one before. */ \
X(TIMELINE_NOTED, ON_WORK,                                                                     \
	"SELECT (CASE WHEN (SELECT true FROM sagad.timeline t WHERE t.timeline = n.timeline) THEN '1' " \
	"ELSE 'this timeline is not noted' END)::int FROM (SELECT " SERVER_TIMELINE " AS timeline) n") \
X(TIMELINE_READ, ON_WORK,                                                                      \
	"SELECT t.since, t.unfinished FROM sagad.timeline t WHERE t.is_failover "              \
	"ORDER BY t.timeline DESC LIMIT $1::int")                                              \
X(STANDBYS, ON_WORK, "SELECT " UNSAFE_STANDBY)                                                 \
/* A lease is a row or a lock. Is the row not held (null: there is none) and else, is the lock free? \
 * Shared is enough to shut its owner out, and two who look at once do not see each other. */  \
X(PROBE, ON_WORK,                                                                              \
	"SELECT COALESCE(l.state <> 'held', pg_try_advisory_xact_lock_shared($1::bigint)), "   \
	"CASE l.state WHEN 'held' THEN " LEASE_MARK " END, l.ttl_ms "                          \
	"FROM (SELECT 1) one LEFT JOIN sagad.lease l ON l.key = $1::bigint")                   \
/* Fails on purpose unless whoever judges holds his own lease, a lock, on the server that gave it to him: one that \
 * crashed and is back has forgotten all locks, those of the living too, and he may not have heard of it. $1 and $2 are \
 * when it started and his key. */                                                             \
X(FENCE_RIGHT, ON_WORK,                                                                        \
	"SELECT (CASE WHEN " SERVER_STARTED " = $1::bigint AND " HOLDS_LOCK("$2::bigint", "l.pid") \
	" THEN '1' ELSE 'who judges holds no lease here' END)::int")                           \
/* Fails on purpose while the lock is held: the next statement then does not run. */           \
X(FENCE_LOCK, ON_WORK,                                                                         \
	"SELECT (CASE WHEN pg_try_advisory_xact_lock_shared($1::bigint) THEN '1' "             \
	"ELSE 'that replica lives' END)::int")                                                 \
/* Fails the same way while the row is held, unless it still has the mark that the judge has looked at for its \
 * time. The lock on this row shuts out the beat of one who is only late: it waits, compares again and finds \
 * the row ended. The row is made if it is not there, since a failover may have lost it and its holder may be \
 * about to open it again. */                                                                  \
X(FENCE_LEASE, ON_WORK,                                                                        \
	"WITH ended AS (INSERT INTO sagad.lease AS l (key, session, ttl_ms, seen_at, state) "  \
	"VALUES ($1::bigint, 0, 0, clock_timestamp(), 'ended') ON CONFLICT (key) DO UPDATE SET state = 'ended' " \
	"WHERE l.state <> 'held' OR " LEASE_MARK " = $2::bigint RETURNING 1) "                 \
	"SELECT (CASE count(*) WHEN 1 THEN '1' ELSE 'that replica lives' END)::int FROM ended") \
X(FENCE, ON_WORK,                                                                              \
	"UPDATE sagad.replica r SET state = 'fenced', left_at = now(), fenced_by = $1::uuid, " \
	"left_rows = (SELECT count(*) FROM (SELECT 1 FROM sagad.transaction t WHERE t.owner = $2::uuid AND " IS_GROWN " " \
	"ORDER BY t.gid LIMIT $3::int) c) + (SELECT count(*) FROM sagad.transaction t WHERE " IN_NURSERY_OF("$2::uuid") ") " \
	"WHERE r.id = $2::uuid AND r.state = 'live'") \
X(LEASE_FREE, ON_WORK,                                                                         \
	"UPDATE sagad.lease l SET state = 'free' WHERE l.key = $1::bigint AND l.session = $2::bigint " \
	"AND l.state = 'held'")                                                                \
X(RETIRE, ON_WORK,                                                                             \
	"UPDATE sagad.replica SET state = 'drained', left_at = now() WHERE id = $1::uuid AND state = 'live'") \
/* Whoever holds the position sweeps; the others find nothing to do. If it moved: how many rows went, and how large is \
 * the table? */                                                                               \
X(SWEEP, ON_WORK,                                                                              \
	"WITH place AS MATERIALIZED (SELECT s.position FROM sagad.sweep s "                    \
	"WHERE s.name = 'transaction' FOR UPDATE SKIP LOCKED), "                               \
	"page AS MATERIALIZED (SELECT t.gid, t.ended_at + t.retention_ms * interval '1 ms' <= now() AS over " \
	"FROM sagad.transaction t WHERE t.gid > (SELECT position FROM place) ORDER BY t.gid LIMIT $1::int), " \
	"gone AS (DELETE FROM sagad.transaction t USING page p WHERE p.over AND t.gid = p.gid " \
	"AND t.ended_at IS NOT NULL RETURNING t.gid), "                                        \
	"lines AS (DELETE FROM sagad.journal j USING gone WHERE j.gid = gone.gid), "           \
	"following AS MATERIALIZED (SELECT CASE WHEN count(*) < $1::int THEN '' ELSE max(gid) END AS gid FROM page) " \
	"UPDATE sagad.sweep s SET position = f.gid FROM following f "                          \
	"WHERE s.name = 'transaction' AND EXISTS (SELECT 1 FROM place) AND s.position <> f.gid " \
	"RETURNING (SELECT count(*) FROM gone), pg_relation_size('sagad.transaction')") \
X(SWEEP_INBOX, ON_WORK,                                                                        \
	"WITH old AS MATERIALIZED (SELECT i.id FROM sagad.inbox i "                            \
	"WHERE i.settled_at < now() - $2::bigint * interval '1 ms' "                           \
	/* Whoever takes over a bulk action must find what was applied. */                    \
	"AND (SELECT true FROM sagad.bulk b WHERE b.ended_at IS NULL AND b.created_at <= i.created_at LIMIT 1) IS NULL " \
	"ORDER BY i.id LIMIT $1::int "                                                         \
	"FOR UPDATE SKIP LOCKED) "                                                             \
	"DELETE FROM sagad.inbox i USING old WHERE i.id = old.id")                             \
X(SWEEP_AUDIT, ON_WORK,                                                                        \
	"WITH old AS MATERIALIZED (SELECT a.number FROM sagad.audit a ORDER BY a.number LIMIT $1::int) " \
	"DELETE FROM sagad.audit a USING old WHERE a.number = old.number "                     \
	"AND a.at < now() - $2::bigint * interval '1 ms'")                                     \
/* Those of replicas that have left; a bulk action that is over. */                            \
X(SWEEP_BULK, ON_WORK, "DELETE FROM sagad.bulk b WHERE b.id IN (SELECT o.id FROM sagad.bulk o " \
	"ORDER BY o.id LIMIT 100) AND b.ended_at < now() - interval '30 days'")                \
X(SWEEP_PAUSE, ON_WORK,                                                                        \
	"DELETE FROM sagad.pause p WHERE p.kind = 'replica' AND p.since < now() - interval '1 hour' " \
	"AND (SELECT true FROM sagad.replica r WHERE r.id = p.name::uuid) IS NULL")            \
/* Those that whoever sweeps has seen dead for long enough, by his own clock: a statement of a fenced replica may still \
 * be giving it rows. */                                                                       \
X(SWEEP_REPLICA, ON_WORK,                                                                      \
	"WITH gone AS (DELETE FROM sagad.replica r WHERE r.state <> 'live' AND r.id = ANY ($1::uuid[]) " \
	"AND (SELECT 1 FROM sagad.transaction t WHERE t.owner = r.id AND " IS_GROWN " LIMIT 1) IS NULL " \
	"AND (SELECT b.nursery_from < r.nursery_until FROM sagad.replica_beat b WHERE b.id = r.id) IS NOT TRUE " \
	"RETURNING r.id, r.lock_key), " \
	"leases AS (DELETE FROM sagad.lease l USING gone WHERE l.key = gone.lock_key) "        \
	"DELETE FROM sagad.replica_beat b USING gone WHERE b.id = gone.id")                    \
/* Of those that never came so far as to enrol. */                                             \
X(SWEEP_LEASE, ON_WORK,                                                                        \
	"DELETE FROM sagad.lease l WHERE l.seen_at < now() - ($1::bigint + l.ttl_ms) * interval '1 ms' " \
	"AND (SELECT 1 FROM sagad.replica r WHERE r.lock_key = l.key AND r.state = 'live' LIMIT 1) IS NULL")

#define STORE_STATEMENTS(X)                                                                    \
/* Identical to the newest: nothing new. No row at all: another replica was faster, ask again. */ \
X(DEFINITION_PUT, ON_STORE,                                                                    \
	"WITH newest AS MATERIALIZED (SELECT d.version, d.hash FROM sagad.definition d "       \
	"WHERE d.name = $10::text ORDER BY d.version DESC LIMIT 1), "                          \
	"made AS (INSERT INTO sagad.definition AS d (version, created_at, name, hash, document) " \
	"SELECT COALESCE((SELECT version FROM newest), 0) + 1, now(), $10::text, $11::bytea, $12::text " \
	"WHERE NOT EXISTS (SELECT 1 FROM newest WHERE hash = $11::bytea) "                     \
	"ON CONFLICT (name, version) DO NOTHING RETURNING d.version), "                        \
	SAY_DEED("NULLIF(made.version - 1, 0)", "made.version", "made") " "                    \
	"SELECT true, version FROM made UNION ALL "                                            \
	"SELECT false, version FROM newest WHERE hash = $11::bytea")                           \
X(DEFINITION_ROW, ON_WORK | ON_STORE,                                                          \
	"SELECT d.name, d.version, d.hash, d.document, d.created_at FROM sagad.definition d "  \
	"WHERE d.name = $1::text AND ($2::int = 0 OR d.version = $2::int) "                    \
	"ORDER BY d.version DESC LIMIT 1")                                                     \
X(DEFINITIONS_NAMED, ON_WORK | ON_STORE,                                                       \
	"SELECT d.name, d.version, d.document FROM unnest($1::text[], $2::int[]) AS n(name, version) " \
	"JOIN sagad.definition d ON d.name = n.name AND d.version = n.version")                \
/* Jumps from name to name along the key instead of reading every version. */                  \
X(DEFINITION_LIST, ON_STORE,                                                                   \
	"WITH RECURSIVE names(name, place) AS ("                                               \
	"(SELECT d.name, 1 FROM sagad.definition d WHERE d.name > $1::text ORDER BY d.name LIMIT 1) " \
	"UNION ALL SELECT (SELECT d.name FROM sagad.definition d WHERE d.name > n.name "       \
	"ORDER BY d.name LIMIT 1), n.place + 1 FROM names n WHERE n.name IS NOT NULL AND n.place < $2::int) " \
	"SELECT d.name, d.version, d.hash, d.document, d.created_at FROM names n "             \
	"CROSS JOIN LATERAL (SELECT * FROM sagad.definition d WHERE d.name = n.name "          \
	"ORDER BY d.version DESC LIMIT 1) d ORDER BY d.name")                                  \
/* $16: the version that is expected; 0: any or none, -1: any. No row: it is another. */      \
X(PARTICIPANT_PUT, ON_STORE,                                                                   \
	"WITH was AS MATERIALIZED (SELECT p.version FROM sagad.participant p WHERE p.name = $10::text), " \
	"made AS (INSERT INTO sagad.participant AS p (version, name, base_url, max_in_flight, secret, " \
	"breaker_percent, retry_percent) "                                                     \
	"SELECT 1, $10::text, $11::text, $12::int, $13::text, $14::int, $15::int "             \
	"WHERE $16::bigint = 0 OR EXISTS (SELECT 1 FROM was) ON CONFLICT (name) DO UPDATE "    \
	"SET version = p.version + 1, base_url = excluded.base_url, "                          \
	"max_in_flight = excluded.max_in_flight, secret = excluded.secret, "                   \
	"breaker_percent = excluded.breaker_percent, retry_percent = excluded.retry_percent "  \
	"WHERE $16::bigint <= 0 OR p.version = $16::bigint RETURNING p.version), "             \
	SAY_DEED("NULLIF(made.version - 1, 0)", "made.version", "made") " "                    \
	"SELECT version FROM made")                                                            \
X(PARTICIPANT_LIST, ON_STORE,                                                                  \
	"SELECT p.name, p.base_url, p.max_in_flight, p.secret, p.version, p.breaker_percent, p.retry_percent " \
	"FROM sagad.participant p "                                                            \
	"ORDER BY p.name LIMIT $1::int")                                                       \
/* Examines a bounded page of the key and says how far it came, even if nothing matched. */    \
X(LIST, ON_STORE,                                                                              \
	"WITH page AS MATERIALIZED (SELECT t.gid, t.phase, t.stuck, t.definition, t.created_at, t.labels, " \
	"row_number() OVER (ORDER BY t.gid) AS place " \
	"FROM sagad.transaction t WHERE t.gid > $1::text ORDER BY t.gid LIMIT $2::int), "      \
	"bound AS MATERIALIZED (SELECT max(p.gid) AS last, count(*) AS n FROM page p), "       \
	"hit AS MATERIALIZED (SELECT p.gid, p.place FROM page p WHERE ($4::text IS NULL OR p.phase = $4::text) " \
	"AND ($5::boolean IS NULL OR (p.stuck <> 'none') = $5::boolean) "                      \
	"AND ($6::text IS NULL OR p.definition = $6::text) "                                   \
	"AND ($7::timestamptz IS NULL OR p.created_at < $7::timestamptz) "                     \
	"AND ($8::text IS NULL OR (CASE WHEN p.labels LIKE '{%' THEN p.labels END)::jsonb ->> $8::text = $9::text) " \
	"ORDER BY p.gid LIMIT $3::int) "                                                       \
	"SELECT " ROW_COLUMNS ", b.last, b.n, h.place FROM bound b LEFT JOIN "                 \
	"(hit h JOIN sagad.transaction t ON t.gid = h.gid) ON true ORDER BY t.gid")            \
X(JOURNAL_READ, ON_STORE,                                                                      \
	"SELECT j.number, j.gid, j.at, j.what, j.step, j.op, j.outcome, j.attempt, j.status, " \
	"j.detail, j.actor, j.replica FROM sagad.journal j "                                   \
	"WHERE j.gid = $1::text AND j.number > $2::bigint ORDER BY j.number LIMIT $3::int")    \
/* Unfinished rows only, by the two small indexes, and no more than $1 of each. */             \
/* Payloads are left out: what is stuck is grouped, not shown. Only a commit that makes a row stuck, or not, touches the \
 * index: `stuck` does not change with a step. */ \
X(STUCK, ON_STORE,                                                                             \
	"SELECT " ROW_COLUMNS " FROM (SELECT x.gid, x.owner, x.epoch, x.version, x.phase, x.stuck, x.paused, x.adoptions, " \
	"x.created_at, x.ended_at, x.due_at, x.deadline_at, x.definition, x.definition_version, x.document, " \
	"NULL::text AS input, NULL::text AS labels, NULL::text AS traceparent, x.hash, x.retention_ms, x.format, x.progress " \
	"FROM sagad.transaction x WHERE x.stuck <> 'none' AND x.gid > $1::text ORDER BY x.gid LIMIT $2::int) t " \
	"ORDER BY t.gid") \
/* Of each nursery the newest $1 rows and one more are looked at. Those that are over are one row without a phase, if that was not all. */ \
X(COUNTS, ON_STORE,                                                                            \
	"SELECT u.phase, u.stuck, u.parked, sum(u.n)::bigint, "                                \
	"coalesce(max((extract(epoch FROM now() - u.due_at) * 1000)::bigint) FILTER (WHERE u.due_at < now()), 0) FROM (" \
	"(SELECT t.phase, t.stuck, false AS parked, NULL::timestamptz AS due_at, 1 AS n FROM sagad.transaction t " \
	"WHERE t.owner IS NOT NULL AND " IS_GROWN " ORDER BY t.owner, t.gid LIMIT $1::int) UNION ALL " \
	"SELECT COALESCE(c.phase, ''), COALESCE(c.stuck, 'none'), false, NULL, CASE WHEN c.phase IS NULL THEN 0 ELSE c.n END " \
	"FROM (SELECT g.*, sum(g.n) OVER (PARTITION BY g.id) > $1::int AS is_cut FROM ("       \
	"SELECT r.id, CASE WHEN y.is_open THEN y.phase END AS phase, CASE WHEN y.is_open THEN y.stuck END AS stuck, count(*) AS n " \
	OF_NURSERIES("t.phase, t.stuck", "ORDER BY t.gid DESC LIMIT $1::int + 1") " GROUP BY 1, 2, 3) g) c " \
	"WHERE c.phase IS NOT NULL OR c.is_cut UNION ALL "                                     \
	"(SELECT t.phase, t.stuck, true, t.due_at, 1 FROM sagad.transaction t "                \
	"WHERE t.due_at IS NOT NULL ORDER BY t.due_at LIMIT $1::int)) u GROUP BY 1, 2, 3")

/* A host may be paused before anybody calls it. */
#define IS_KNOWN(kind, name)                                                                   \
	"known AS MATERIALIZED (SELECT CASE " kind " "                                         \
	"WHEN 'definition' THEN EXISTS (SELECT 1 FROM sagad.definition d WHERE d.name = " name ") " \
	"WHEN 'replica' THEN EXISTS (SELECT 1 FROM sagad.replica r WHERE r.id = CASE WHEN " kind " = 'replica' " \
	"THEN " name "::uuid END AND r.state = 'live') " \
	"ELSE " name " NOT LIKE 'participant:%' OR "                                           \
	"EXISTS (SELECT 1 FROM sagad.participant p WHERE 'participant:' || p.name = " name ") END AS it)"
#define AUDIT_PAGE(rows)                                                                       \
	"WITH page AS MATERIALIZED (SELECT a.* FROM sagad.audit a WHERE " rows " "             \
	"AND a.number < $1::bigint ORDER BY a.number DESC LIMIT $2::int), "                    \
	"bound AS MATERIALIZED (SELECT min(p.number) AS last, count(*) AS n, min(p.at) AS oldest FROM page p), " \
	"hit AS MATERIALIZED (SELECT p.* FROM page p WHERE ($4::text IS NULL OR p.target = $4::text) " \
	"AND ($5::text IS NULL OR p.kind = $5::text) AND ($6::text IS NULL OR p.actor = $6::text) " \
	"AND ($7::text IS NULL OR p.action = $7::text) "                                       \
	"AND ($8::timestamptz IS NULL OR p.at >= $8::timestamptz) "                            \
	"AND ($9::timestamptz IS NULL OR p.at < $9::timestamptz) ORDER BY p.number DESC LIMIT $3::int) " \
	"SELECT h.number, h.at, h.before, h.after, h.replica, h.kind, h.target, h.action, h.actor, h.role, " \
	"h.reason, h.step, h.op, h.request_id, h.detail, b.last, b.n, "                        \
	"($8::timestamptz IS NULL OR b.oldest >= $8::timestamptz) "                            \
	"FROM bound b LEFT JOIN hit h ON true ORDER BY h.number DESC"

/* In the order of pg_bulk.c. */
#define BULK_COLUMNS                                                                           \
	"b.id, b.state, b.action, b.filter, b.actor, b.role, b.reason, b.request_id, b.rate, b.created_at, " \
	"b.ended_at, b.runner, b.epoch, b.matched, b.done, b.refused, b.failed, b.position, b.page, b.refusals, b.examined"

#define OPERATOR_STATEMENTS(X)                                                                 \
X(PAUSE, ON_STORE,                                                                             \
	"WITH " IS_KNOWN("$10::text", "$11::text") ", made AS (INSERT INTO sagad.pause (since, kind, name, actor, reason) " \
	"SELECT now(), $10::text, $11::text, $5::text, $7::text FROM known WHERE known.it "    \
	"ON CONFLICT (kind, name) DO NOTHING RETURNING 1), " SAY_DEED("NULL", "NULL", "made") " " \
	"SELECT it, EXISTS (SELECT 1 FROM made) FROM known")                                   \
X(UNPAUSE, ON_STORE,                                                                           \
	"WITH " IS_KNOWN("$10::text", "$11::text") ", made AS (DELETE FROM sagad.pause p "                               \
	"WHERE p.kind = $10::text AND p.name = $11::text RETURNING 1), "                       \
	SAY_DEED("NULL", "NULL", "made") " "                                                   \
	"SELECT it OR EXISTS (SELECT 1 FROM made), EXISTS (SELECT 1 FROM made) FROM known")    \
X(PAUSE_LOOK, ON_STORE,                                                                        \
	"WITH " IS_KNOWN("$1::text", "$2::text") " SELECT it, EXISTS (SELECT 1 FROM sagad.pause p "                    \
	"WHERE p.kind = $1::text AND p.name = $2::text) FROM known")                         \
X(PAUSES, ON_STORE,                                                                            \
	"SELECT p.kind, p.name, p.since, p.actor, p.reason FROM sagad.pause p "                \
	"ORDER BY p.kind, p.name LIMIT $1::int")                                               \
X(BULK_PUT, ON_STORE,                                                                          \
	"WITH made AS (INSERT INTO sagad.bulk (id, created_at, seen_at, epoch, matched, done, refused, failed, rate, " \
	"state, action, filter, actor, role, reason, request_id, position, page, refusals) "   \
	"VALUES ($10::uuid, now(), now(), 0, 0, 0, 0, 0, $11::int, 'running', $12::text, $13::text, $5::text, $6::text, " \
	"$7::text, $8::text, '', '[]', '{}') RETURNING 1), " SAY_DEED("NULL", "1", "made") " SELECT 1 FROM made") \
X(BULK_ONE, ON_STORE, "SELECT " BULK_COLUMNS " FROM sagad.bulk b WHERE b.id = $1::uuid")       \
X(BULK_LIST, ON_STORE,                                                                         \
	"SELECT " BULK_COLUMNS " FROM sagad.bulk b WHERE b.id < $1::uuid ORDER BY b.id DESC LIMIT $2::int") \
/* The lock keeps two who look at once apart; whoever comes second finds a live runner. What names the asker is \
 * from a claim whose answer was lost: he has none in hand. */                                 \
X(BULK_CLAIM, ON_STORE,                                                                        \
	"WITH c AS MATERIALIZED (SELECT b.id FROM sagad.bulk b WHERE b.ended_at IS NULL AND " I_LIVE " " \
	"AND (b.runner = $1::uuid OR (SELECT true FROM sagad.replica r WHERE r.id = b.runner AND r.state = 'live') IS NULL) " \
	"AND b.id <> ALL ($2::uuid[]) ORDER BY b.created_at LIMIT 1 FOR UPDATE SKIP LOCKED) "  \
	"UPDATE sagad.bulk b SET runner = $1::uuid, epoch = b.epoch + 1, seen_at = now() FROM c " \
	"WHERE b.id = c.id AND b.ended_at IS NULL RETURNING " BULK_COLUMNS)                     \
/* What a cancelled one had on its way is counted when it is over: then its page is empty. */  \
X(BULK_SAVE, ON_STORE,                                                                         \
	"UPDATE sagad.bulk b SET seen_at = now(), matched = $3::bigint, done = $4::bigint, refused = $5::bigint, " \
	"failed = $6::bigint, position = $7::text, page = $8::text, refusals = $9::text, "     \
	"examined = $11::bigint, "                                                             \
	"state = CASE WHEN $10::boolean AND b.state = 'running' THEN 'done' ELSE b.state END, " \
	"ended_at = CASE WHEN $10::boolean AND b.state = 'running' THEN now() ELSE b.ended_at END " \
	"WHERE b.id = $1::uuid AND b.epoch = $2::bigint "                                      \
	"AND (b.state = 'running' OR (b.state = 'cancelled' AND $8::text = '[]')) RETURNING b.state <> 'cancelled'") \
X(BULK_CANCEL, ON_STORE,                                                                       \
	"WITH made AS (UPDATE sagad.bulk b SET state = 'cancelled', ended_at = now() "         \
	"WHERE b.id = $10::uuid AND b.state = 'running' RETURNING 1), "                        \
	SAY_DEED("1", "2", "made") " "                                                         \
	"SELECT EXISTS (SELECT 1 FROM sagad.bulk b WHERE b.id = $10::uuid), EXISTS (SELECT 1 FROM made)") \
X(AUDIT_ALL, ON_STORE, AUDIT_PAGE("true"))                                                     \
X(AUDIT_OF, ON_STORE, AUDIT_PAGE("a.target = $4::text"))

/* What GET /v1/doctor judges, as names and values. $1: the text of all migrations, which says what indexes there
 * should be. Of sessions of other roles nothing is seen without pg_read_all_stats. */
#define DOCTOR_STATEMENTS(X)                                                                   \
X(DOCTOR, ON_STORE,                                                                            \
	"SELECT 'setting.' || s.name, s.setting FROM pg_settings s WHERE s.name IN "            \
	"('server_version', 'fsync', 'full_page_writes', 'synchronous_commit', "                \
	"'synchronous_standby_names', 'max_connections', 'statement_timeout', "                 \
	"'idle_in_transaction_session_timeout', 'idle_session_timeout', 'autovacuum', "         \
	"'track_counts', 'autovacuum_freeze_max_age', 'transaction_read_only') UNION "          \
	"ALL "                                                                                  \
	"SELECT 'clock_ms', ((extract(epoch FROM clock_timestamp()) * "                         \
	"1000)::bigint)::text UNION ALL "                                                       \
	"SELECT 'schema', max(v.version)::text FROM sagad.schema_version v UNION ALL "          \
	"SELECT 'connections', count(*)::text FROM pg_stat_activity a WHERE "                   \
	"a.backend_type = 'client backend' UNION ALL "                                          \
	"SELECT 'sees_all', pg_has_role('pg_read_all_stats', 'USAGE')::text UNION ALL "         \
	"SELECT 'xmin_age', coalesce(max(age(a.backend_xmin)), 0)::text FROM "                  \
	"pg_stat_activity a UNION ALL "                                                         \
	"(SELECT 'long_transaction', format('%s %s %s', (extract(epoch FROM now() - "           \
	"a.xact_start))::bigint, a.pid, a.application_name) FROM pg_stat_activity a "           \
	"WHERE a.backend_type = 'client backend' AND a.application_name NOT LIKE "              \
	"'sagad%' AND a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid() ORDER BY "         \
	"a.xact_start LIMIT 1) UNION ALL "                                                      \
	"SELECT 'syncrep_wait_s', coalesce(max((extract(epoch FROM now() - "                    \
	"a.state_change))::bigint), 0)::text FROM pg_stat_activity a WHERE "                    \
	"a.wait_event = 'SyncRep' UNION ALL "                                                   \
	"SELECT 'standbys', count(*)::text FROM pg_stat_replication UNION ALL "                 \
	"SELECT 'prepared_s', coalesce(max((extract(epoch FROM now() - "                        \
	"p.prepared))::bigint), 0)::text FROM pg_prepared_xacts p UNION ALL "                   \
	"(SELECT 'slot', format('%s %s', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() "        \
	"THEN NULL ELSE pg_current_wal_lsn() END, s.restart_lsn)::bigint, s.slot_name) "        \
	"FROM pg_replication_slots s WHERE s.restart_lsn IS NOT NULL AND NOT s.active "         \
	"ORDER BY s.restart_lsn LIMIT 1) UNION ALL "                                            \
	"SELECT 'freeze_age', age(d.datfrozenxid)::text FROM pg_database d WHERE "              \
	"d.datname = current_database() UNION ALL "                                             \
	"SELECT 'indexes_invalid', coalesce(string_agg(c.relname, ', ' ORDER BY "               \
	"c.relname), '') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN "         \
	"pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'sagad' AND NOT "           \
	"(i.indisvalid AND i.indisready) UNION ALL "                                            \
	"SELECT 'indexes_missing', coalesce(string_agg(w.name, ', ' ORDER BY w.name), "         \
	"'') FROM (SELECT DISTINCT coalesce(m.found[1], m.found[2]) AS name FROM "              \
	"regexp_matches($1::text, 'CREATE (?:UNIQUE )?INDEX ([a-z_]+)|CONSTRAINT "              \
	"([a-z_]+) PRIMARY KEY', 'g') AS m(found)) w WHERE to_regclass('sagad.' || "            \
	"w.name) IS NULL AND position('DROP INDEX sagad.' || w.name IN $1::text) = 0 "          \
	"UNION ALL "                                                                            \
	"SELECT x.name, x.value::text FROM pg_stat_user_tables t CROSS JOIN LATERAL "           \
	"(VALUES ('rows_live', t.n_live_tup), ('rows_dead', t.n_dead_tup)) AS x(name, "         \
	"value) WHERE t.schemaname = 'sagad' AND t.relname = 'transaction' UNION ALL "          \
	"SELECT 'fillfactor', coalesce((SELECT substr(o.text, 12) FROM "                        \
	"unnest(c.reloptions) AS o(text) WHERE o.text LIKE 'fillfactor=%'), '100') "            \
	"FROM pg_class c WHERE c.oid = 'sagad.transaction'::regclass")

/* Of api/dtm/. The predicate of transaction_dtm, word for word. */
#define IS_DTM "t.labels LIKE '{\"dtm\":%'"
#define DTM_STATEMENTS(X)                                                                      \
/* Newest first, below microsecond $1 and gid $2. Examines a bounded page, and says how far it came. */ \
X(DTM_LIST, ON_STORE,                                                                          \
	"WITH page AS MATERIALIZED (SELECT t.gid, t.created_at, t.phase, t.labels FROM sagad.transaction t " \
	"WHERE " IS_DTM " AND (t.created_at, t.gid) < ('epoch'::timestamptz + $1::bigint * interval '1 us', $2::text) " \
	"ORDER BY t.created_at DESC, t.gid DESC LIMIT $3::int), "                               \
	"bound AS MATERIALIZED (SELECT count(*) AS n, (SELECT (extract(epoch FROM p.created_at) * 1000000)::bigint || '-' || p.gid " \
	"FROM page p ORDER BY p.created_at, p.gid LIMIT 1) AS last FROM page), "               \
	"hit AS MATERIALIZED (SELECT p.gid FROM page p WHERE p.phase = ANY ($5::text[]) "      \
	"AND ($6::text IS NULL OR starts_with(p.labels, '{\"dtm\":\"' || $6::text || '\"')) "  \
	"AND ($7::timestamptz IS NULL OR p.created_at >= $7::timestamptz) "                    \
	"AND ($8::timestamptz IS NULL OR p.created_at <= $8::timestamptz) "                    \
	"ORDER BY p.created_at DESC, p.gid DESC LIMIT $4::int) "                               \
	"SELECT " ROW_COLUMNS ", b.last, b.n, (extract(epoch FROM t.created_at) * 1000000)::bigint || '-' || t.gid " \
	"FROM bound b LEFT JOIN (hit h JOIN sagad.transaction t ON t.gid = h.gid) ON true "    \
	"ORDER BY t.created_at DESC, t.gid DESC")                                              \
/* Those that sleep for longer than so many milliseconds. */                                   \
X(DTM_SLEEPERS, ON_STORE,                                                                      \
	"SELECT t.gid FROM sagad.transaction t WHERE t.due_at IS NOT NULL AND t.due_at > now() + $1::bigint * interval '1 ms' " \
	"AND t.due_at < 'infinity' AND " IS_DTM " ORDER BY t.due_at LIMIT $2::int")            \
X(DTM_KV_READ, ON_STORE,                                                                       \
	"SELECT v.k, v.v, v.version, v.created_at, v.updated_at FROM sagad.dtm_kv v "          \
	"WHERE v.cat = $1::text AND ($2::text IS NULL OR v.k = $2::text) AND v.k > $3::text ORDER BY v.k LIMIT $4::int") \
/* $4: the version that is expected, 0: there is none. No row: it is another. */               \
X(DTM_KV_INSERT, ON_STORE,                                                                     \
	"INSERT INTO sagad.dtm_kv (version, created_at, updated_at, cat, k, v) SELECT 1, now(), now(), $1::text, $2::text, $3::text " \
	"ON CONFLICT (cat, k) DO NOTHING RETURNING 1")                                         \
X(DTM_KV_UPDATE, ON_STORE,                                                                     \
	"UPDATE sagad.dtm_kv v SET v = $3::text, version = v.version + 1, updated_at = now() " \
	"WHERE v.cat = $1::text AND v.k = $2::text AND v.version = $4::bigint RETURNING 1")    \
X(DTM_KV_DELETE, ON_STORE,                                                                     \
	"DELETE FROM sagad.dtm_kv v WHERE v.cat = $1::text AND v.k = $2::text RETURNING 1")

#define STATEMENTS(X) \
	TRANSACTION_STATEMENTS(X) INBOX_STATEMENTS(X) REPLICA_STATEMENTS(X) STORE_STATEMENTS(X) OPERATOR_STATEMENTS(X) \
	DOCTOR_STATEMENTS(X) DTM_STATEMENTS(X)

#define X(name, ...) SQL_##name,
enum statement { STATEMENTS(X) };
#undef X
#define X(...) + 1
enum { STATEMENT_COUNT = 0 STATEMENTS(X) };
#undef X

/* ---- texts that are sent as they are ------------------------------------------------- */

/* What the server does about a client whose machine is gone, or who stands still and takes no answers: as long as
 * it waits to be rid of one, the rows stay locked that were changed for it, and no statement_timeout counts then.
 * For sessions over TCP; what the client does is in the DSN (pg_dsn.c). */
#define GIVE_UP_CLIENT                                                                         \
	"set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false), " \
	"set_config('tcp_keepalives_count', '3', false), "
/* The session of a prepared connection: $1 statement time-out, $2 lock time-out in ms. With the planner
 * free, an unanalysed table is read whole and hashed (408 ms a batch against 1.1). Inputs beyond 2 kB are
 * stored compressed: lz4, where the server has it, takes a seventh of the time of what is the default. */
#define SQL_SESSION                                                                            \
	"SELECT set_config('statement_timeout', $1::text, false), "                            \
	"set_config('idle_in_transaction_session_timeout', $1::text, false), "                 \
	"set_config('lock_timeout', $2::text, false), "                                        \
	GIVE_UP_CLIENT "set_config('tcp_user_timeout', $1::text, false), "                     \
	"set_config('TimeZone', 'UTC', false), "                                               \
	"set_config('default_transaction_isolation', 'read committed', false), "               \
	"set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false), " \
	"set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false), " \
	"set_config('plan_cache_mode', 'force_generic_plan', false), "                         \
	"set_config('jit', 'off', false), "                                                    \
	"set_config('synchronous_commit', CASE current_setting('synchronous_commit') "         \
	"WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), "                      \
	"(SELECT set_config(s.name, 'lz4', false) FROM pg_settings s "                         \
	"WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals))"
#define SQL_REPLAN "DISCARD PLANS"
/* 0: a standby, whose word does not count. */
#define SERVER_TIMELINE \
	"CASE WHEN pg_is_in_recovery() THEN 0 ELSE " \
	"('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"
#define SQL_SERVER                                                                             \
	"SELECT pg_is_in_recovery(), current_setting('server_encoding'), "                     \
	"current_setting('server_version_num')::int, "                                         \
	"(extract(epoch FROM clock_timestamp()) * 1000)::bigint, "                             \
	UNSAFE_STANDBY ", "                                                                    \
	"current_setting('transaction_read_only')::boolean, " SERVER_TIMELINE
/* On a host of the DSN that no session of ours is at: was another one promoted? */
#define SQL_SCOUT "SELECT " SERVER_TIMELINE

#define SQL_BACKEND "SELECT pg_backend_pid()"

/* The lease's own session: simple protocol, one statement at a time, small answers. */
#define SQL_LEASE_SESSION \
	"SELECT set_config('statement_timeout', '%u', false), " \
	"set_config('idle_session_timeout', '%u', false), set_config('TimeZone', 'UTC', false), " \
	"pg_backend_pid(), " GIVE_UP_CLIENT "set_config('tcp_user_timeout', '%u', false)"
#define SQL_LEASE_TAKE \
	"SELECT pg_backend_pid(), (SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'), " \
	"pg_is_in_recovery(), pg_try_advisory_lock('%lld'::bigint), " SERVER_TIMELINE
#define SQL_LEASE_PROOF \
	"SELECT pg_backend_pid(), " HOLDS_LOCK("'%lld'::bigint", "pg_backend_pid()") ", " \
	"(extract(epoch FROM clock_timestamp()) * 1000)::bigint, " SERVER_STARTED
/* Only a session that carries this key in its name is a stale one of our own. */
#define SQL_LEASE_CLEAR \
	"SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a " \
	"WHERE a.application_name = '%s' AND a.pid <> pg_backend_pid() AND a.datname = current_database()"
#define SQL_LEASE_BEAT "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
/* The same as a row: nothing of it is bound to the session but that a statement that hangs must not outlast
 * the lease. A beat that a crash forgets leaves the mark of one before it, and after a crash nobody may fence for
 * a TTL: it need not be on disk. */
#define SQL_LEASE_ROW_SESSION \
	"SELECT set_config('statement_timeout', '%u', false), set_config('lock_timeout', '0', false), " \
	"set_config('default_transaction_isolation', 'read committed', false), " \
	"set_config('synchronous_commit', 'off', false), set_config('enable_seqscan', 'off', false), " \
	"set_config('enable_bitmapscan', 'off', false), set_config('TimeZone', 'UTC', false), " SERVER_TIMELINE ", " \
	GIVE_UP_CLIENT "set_config('tcp_user_timeout', '%u', false)"
/* One that was ended is opened again, as a lock would be granted again: the row of the replica says whether
 * its incarnation is over, and it is asked before anything is done. */
#define SQL_LEASE_ROW_OPEN \
	"INSERT INTO sagad.lease AS l (key, session, ttl_ms, seen_at, state) " \
	"VALUES ('%lld'::bigint, '%lld'::bigint, %u, clock_timestamp(), 'held') ON CONFLICT (key) DO UPDATE SET " \
	"session = excluded.session, ttl_ms = excluded.ttl_ms, seen_at = clock_timestamp(), state = 'held' " \
	"RETURNING (extract(epoch FROM l.seen_at) * 1000)::bigint"
/* However late it comes: as long as nobody has ended the row, nobody has taken over. */
#define SQL_LEASE_ROW_BEAT \
	"UPDATE sagad.lease l SET seen_at = clock_timestamp() WHERE l.key = '%lld'::bigint " \
	"AND l.session = '%lld'::bigint AND l.state = 'held' " \
	"RETURNING (extract(epoch FROM l.seen_at) * 1000)::bigint"
/* A transaction's lock goes as soon as it has come: a frozen watcher blocks nobody. */
#define SQL_WATCH_SESSION \
	"SET statement_timeout = 0; SET lock_timeout = 0; SET client_connection_check_interval = '1s'; " \
	"SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
#define SQL_WATCH "SELECT pg_advisory_xact_lock_shared('%lld'::bigint)"

/* Migrations. The key is "sagad" in ASCII. */
#define SQL_MIGRATE_LOCK "SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock(495555404132)"
#define SQL_MIGRATE_HOME \
	"CREATE SCHEMA IF NOT EXISTS sagad; " \
	"CREATE TABLE IF NOT EXISTS sagad.schema_version (version integer PRIMARY KEY, name text NOT NULL, " \
	"checksum text NOT NULL, applied_at timestamptz NOT NULL, oldest integer)"
#define SQL_MIGRATE_HAS_HOME "SELECT to_regclass('sagad.schema_version') IS NOT NULL"
/* As JSON, since the first version has no such column. Without it no older program can run. */
#define SQL_MIGRATE_READ \
	"SELECT v.version, v.checksum, COALESCE((to_jsonb(v) ->> 'oldest')::int, v.version) " \
	"FROM sagad.schema_version v ORDER BY v.version"
#define SQL_MIGRATE_RECORD \
	"INSERT INTO sagad.schema_version (version, name, checksum, applied_at, oldest) " \
	"VALUES ($1::int, $2, $3, now(), $4::int)"

#endif
