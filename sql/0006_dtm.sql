-- SPDX-License-Identifier: Apache-2.0
-- oldest: 1
-- What api/dtm/ lists and keeps: its transactions by their age, and the subscribers of topics.

-- Only rows of that protocol are in it. Labels never change, so that the commit of a step stays a HOT update.
CREATE INDEX transaction_dtm ON sagad.transaction (created_at, gid) WHERE labels LIKE '{"dtm":%';

CREATE TABLE sagad.dtm_kv (
	version    bigint      NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	cat        text COLLATE "C" NOT NULL,
	k          text COLLATE "C" NOT NULL,
	v          text        NOT NULL,
	CONSTRAINT dtm_kv_pkey PRIMARY KEY (cat, k)
);
