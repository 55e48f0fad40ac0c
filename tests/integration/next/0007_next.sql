-- SPDX-License-Identifier: Apache-2.0
-- oldest: 6
-- What a next version might add: a member of each replica that the version before does not write.

ALTER TABLE sagad.replica ADD COLUMN next_zone text;
CREATE TABLE sagad.next_zone (
	name text NOT NULL,
	CONSTRAINT next_zone_pkey PRIMARY KEY (name)
);
