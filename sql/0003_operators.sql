-- SPDX-License-Identifier: Apache-2.0
-- oldest: 1
-- What people do: the audit of it, what they have paused, and actions on many transactions at once. Programs
-- that do not know these tables neither read nor miss them; they do not obey a pause.

-- Every change that a person made, written in the database transaction of the change. Numbers come from a sequence:
-- a row each, seldom, and kept longer than what it speaks of.
CREATE TABLE sagad.audit (
	number     bigint      GENERATED ALWAYS AS IDENTITY,
	at         timestamptz NOT NULL,
	before     bigint,     -- version of what was changed; null: it has none, or was not there
	after      bigint,
	replica    uuid,
	kind       text        NOT NULL,
	target     text COLLATE "C" NOT NULL,
	action     text        NOT NULL,
	actor      text        NOT NULL,
	role       text        NOT NULL,
	reason     text,
	step       text,
	op         text,
	request_id text,
	detail     text,       -- JSON: what was given with the action
	CONSTRAINT audit_pkey PRIMARY KEY (number),
	CONSTRAINT audit_kind CHECK (kind IN ('transaction', 'definition', 'participant', 'replica', 'bulk'))
);
CREATE INDEX audit_target ON sagad.audit (target, number);

-- What is stopped until somebody resumes it: starts of a definition, calls to a participant (participant:NAME or
-- host:port), a replica that shall leave. A few rows, read whole by every replica each second.
CREATE TABLE sagad.pause (
	since  timestamptz NOT NULL,
	kind   text        NOT NULL,
	name   text COLLATE "C" NOT NULL,
	actor  text        NOT NULL,
	reason text        NOT NULL,
	CONSTRAINT pause_pkey PRIMARY KEY (kind, name),
	CONSTRAINT pause_kind CHECK (kind IN ('definition', 'participant', 'replica'))
);

-- An action on every transaction that a filter matches. One live replica at a time runs it, page by page: the page
-- is written before it is applied, so that whoever takes over goes on with the same transactions, and each command
-- has an id made of this id and the gid, so that none is applied twice. epoch: grows with every runner.
CREATE TABLE sagad.bulk (
	id         uuid        NOT NULL,
	created_at timestamptz NOT NULL,
	ended_at   timestamptz,
	seen_at    timestamptz NOT NULL,
	epoch      bigint      NOT NULL,
	matched    bigint      NOT NULL,
	done       bigint      NOT NULL,
	refused    bigint      NOT NULL,
	failed     bigint      NOT NULL,
	rate       integer     NOT NULL, -- actions per second
	runner     uuid,
	state      text        NOT NULL,
	action     text        NOT NULL,
	filter     text        NOT NULL, -- JSON, as it was sent
	actor      text        NOT NULL,
	role       text        NOT NULL,
	reason     text        NOT NULL,
	request_id text,
	position   text COLLATE "C" NOT NULL, -- looked at up to this gid
	page       text        NOT NULL, -- JSON: gids that are being applied
	refusals   text        NOT NULL, -- JSON: how many by verdict
	CONSTRAINT bulk_pkey PRIMARY KEY (id),
	CONSTRAINT bulk_state CHECK (state IN ('running', 'done', 'cancelled')),
	CONSTRAINT bulk_ended CHECK ((ended_at IS NULL) = (state = 'running'))
) WITH (fillfactor = 50);
CREATE INDEX bulk_running ON sagad.bulk (created_at) WHERE ended_at IS NULL;

-- Stuck transactions are few and must be found among millions. Only a commit that makes one stuck, or not, touches
-- this index: `stuck` does not change with a step.
CREATE INDEX transaction_stuck ON sagad.transaction (gid) WHERE stuck <> 'none';

-- What a participant is given in place of the daemon's options for its circuit breaker. Null: those.
ALTER TABLE sagad.participant ADD COLUMN breaker_percent integer, ADD COLUMN retry_percent integer;

-- A new answer to a command; who does not know it asks on and is told late.
ALTER TABLE sagad.inbox DROP CONSTRAINT inbox_verdict;
ALTER TABLE sagad.inbox ADD CONSTRAINT inbox_verdict CHECK (verdict IN
	('accepted', 'already', 'decided', 'in_doubt', 'not_ready', 'not_open', 'ended', 'limit', 'no_step', 'changed',
	'unsafe')) NOT VALID;
