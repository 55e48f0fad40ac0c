-- SPDX-License-Identifier: Apache-2.0
-- The log: one row per transaction carries everything needed to drive it on.
--
-- No triggers, sequences or volatile defaults; payloads as text, not jsonb (4.8 us and 160 bytes of
-- WAL each); gids in collation "C", so that pages follow bytes.
--
-- What hardly ever changes stands first, what changes with every step last: the WAL of an update leaves out
-- what the old and the new row have in common at both ends (300 bytes a transaction).

-- Domains, because a server keeps their checks in memory. Those of a table are read and planned anew by every INSERT
-- and UPDATE, 25 us each and commit: this table has none. The words as one constant, not as IN (...), for the same reason.
CREATE DOMAIN sagad.gid AS text COLLATE "C"
	CONSTRAINT gid_length CHECK (octet_length(VALUE) BETWEEN 1 AND 128);
CREATE DOMAIN sagad.phase AS text
	CONSTRAINT phase_word CHECK (VALUE = ANY
		('{prepared,trying,confirming,confirmed,cancelling,cancelled,abandoned}'::text[]));
CREATE DOMAIN sagad.stuck AS text
	CONSTRAINT stuck_word CHECK (VALUE = ANY
		('{none,overdue,attempts,misconfigured,gone,poison,bad_row}'::text[]));

CREATE TABLE sagad.transaction (
	created_at         timestamptz NOT NULL,
	retention_ms       bigint      NOT NULL,
	epoch              bigint      NOT NULL,
	adoptions          integer     NOT NULL,
	format             smallint    NOT NULL,
	paused             boolean     NOT NULL,
	young              boolean     NOT NULL DEFAULT false,
	owner              uuid,
	gid                sagad.gid   NOT NULL,
	stuck              sagad.stuck NOT NULL,
	labels             text,
	deadline_at        timestamptz,
	definition_version integer,
	hash               bytea       NOT NULL,
	definition         text COLLATE "C",
	traceparent        text,
	input              text,
	document           text,
	ended_at           timestamptz,
	due_at             timestamptz,
	phase              sagad.phase NOT NULL,
	version            bigint      NOT NULL,
	progress           text        NOT NULL,
	-- Owned, parked or ended: nobody looks for a row that is none of them, (owner IS NULL AND ended_at IS NULL) =
	-- (due_at IS NOT NULL). One that ends young keeps the name of who ended it. Statements that write these columns make
	-- it so, and that ended_at goes with the phase. It is no check, since each INSERT and UPDATE would read its text anew.
	CONSTRAINT transaction_pkey PRIMARY KEY (gid)
) WITH (fillfactor = 40);

-- Neither names a column that changes with a step: a commit of a step must stay a HOT update.
-- A column in a partial index's WHERE counts as indexed.
-- Most transactions are over seconds after they began, and to put each into an index of owners and to take it out again
-- was a quarter of what a commit costs. So rows are born young where their gid is between nursery_at and nursery_until of
-- their owner's replica, and found there by their gids; who is still open when the nursery has moved on is in the index.
CREATE INDEX transaction_owner ON sagad.transaction (owner, gid) WHERE owner IS NOT NULL AND NOT young;
CREATE INDEX transaction_due ON sagad.transaction (due_at) WHERE due_at IS NOT NULL;

-- Attempts that did not succeed and what people did. Append-only; deleted with its transaction.
CREATE TABLE sagad.journal (
	number  bigint      NOT NULL,
	at      timestamptz NOT NULL,
	replica uuid        NOT NULL,
	attempt integer     NOT NULL,
	status  integer     NOT NULL,
	gid     text COLLATE "C" NOT NULL,
	what    text        NOT NULL,
	step    text,
	op      text,
	outcome text,
	detail  text,
	actor   text,
	CONSTRAINT journal_pkey PRIMARY KEY (gid, number)
);

-- Commands for transactions that another replica owns.
CREATE TABLE sagad.inbox (
	id         uuid        NOT NULL,
	created_at timestamptz NOT NULL,
	settled_at timestamptz,
	gid        text COLLATE "C" NOT NULL,
	command    text        NOT NULL,
	verdict    text,
	body       text,
	CONSTRAINT inbox_pkey PRIMARY KEY (id),
	CONSTRAINT inbox_verdict CHECK (verdict IN
		('accepted', 'already', 'decided', 'in_doubt', 'not_ready', 'not_open', 'ended', 'limit', 'no_step', 'changed')),
	CONSTRAINT inbox_settled CHECK ((verdict IS NULL) = (settled_at IS NULL))
);
CREATE INDEX inbox_open ON sagad.inbox (created_at, id) WHERE verdict IS NULL;

-- One row per incarnation. What changes with every beat has a table of its own, since begins hold
-- this row FOR SHARE. left_rows: how many it owned when it was fenced, for the survivors' shares.
CREATE TABLE sagad.replica (
	id         uuid        NOT NULL,
	lock_key   bigint      NOT NULL,
	weight     integer     NOT NULL,
	state      text        NOT NULL,
	address    text        NOT NULL,
	started_at timestamptz NOT NULL,
	left_at    timestamptz,
	left_rows  integer,
	fenced_by  uuid,
	-- Its rows are young if their gid is in here. Changed under the lock that begins share.
	nursery_at    text COLLATE "C" NOT NULL DEFAULT '',
	nursery_until text COLLATE "C" NOT NULL DEFAULT '',
	CONSTRAINT replica_pkey PRIMARY KEY (id),
	CONSTRAINT replica_state CHECK (state IN ('live', 'drained', 'fenced')),
	CONSTRAINT replica_left CHECK ((left_at IS NULL) = (state = 'live')),
	CONSTRAINT replica_fenced CHECK ((fenced_by IS NOT NULL) = (state = 'fenced'))
);

CREATE TABLE sagad.replica_beat (
	id      uuid             NOT NULL,
	speed   double precision NOT NULL,
	load    double precision NOT NULL,
	seen_at timestamptz      NOT NULL,
	-- No young row of this replica is open below this gid. The same as nursery_until: none at all.
	nursery_from text COLLATE "C" NOT NULL DEFAULT '',
	CONSTRAINT replica_beat_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- Immutable: a changed document is a new version.
CREATE TABLE sagad.definition (
	version    integer     NOT NULL,
	created_at timestamptz NOT NULL,
	name       text COLLATE "C" NOT NULL,
	hash       bytea       NOT NULL,
	document   text        NOT NULL,
	CONSTRAINT definition_pkey PRIMARY KEY (name, version)
);

CREATE TABLE sagad.participant (
	version       bigint  NOT NULL,
	max_in_flight integer NOT NULL,
	name          text COLLATE "C" NOT NULL,
	base_url      text    NOT NULL,
	secret        text,
	CONSTRAINT participant_pkey PRIMARY KEY (name)
);

-- Timelines of the server that replicas have met. A new one means a failover: what was unfinished at that
-- moment may have lost its last commits, unless a synchronous standby was promoted.
CREATE TABLE sagad.timeline (
	since       timestamptz NOT NULL,
	unfinished  bigint      NOT NULL,
	timeline    integer     NOT NULL,
	is_failover boolean     NOT NULL,
	CONSTRAINT timeline_pkey PRIMARY KEY (timeline)
);

-- How far the sweep of finished transactions has come; its row lock keeps sweeps apart.
CREATE TABLE sagad.sweep (
	name     text NOT NULL,
	position text COLLATE "C" NOT NULL,
	CONSTRAINT sweep_pkey PRIMARY KEY (name)
);
INSERT INTO sagad.sweep (name, position) VALUES ('transaction', '');
