-- SPDX-License-Identifier: Apache-2.0
-- oldest: 1
-- Leases as rows, for databases behind a pooler or without advisory locks; and what an older program
-- must know of a schema that is newer than itself (sql/README.md).

-- The newest migration that the oldest program able to work with this one knows. Null: none older can.
ALTER TABLE sagad.schema_version ADD COLUMN IF NOT EXISTS oldest integer;

-- One row per incarnation that keeps its lease here. A table of its own, since every beat writes it.
-- held: until ttl_ms after seen_at; free: its holder let it go; ended: fenced, no beat counts any more.
-- session: made anew by every opening, so that what an earlier one of the holder still has on its way
-- changes nothing.
CREATE TABLE sagad.lease (
	key     bigint      NOT NULL,
	session bigint      NOT NULL,
	ttl_ms  bigint      NOT NULL,
	seen_at timestamptz NOT NULL,
	state   text        NOT NULL,
	CONSTRAINT lease_pkey PRIMARY KEY (key),
	CONSTRAINT lease_state CHECK (state IN ('held', 'free', 'ended'))
) WITH (fillfactor = 50);
