-- SPDX-License-Identifier: Apache-2.0
-- oldest: 1
-- How many transactions an action on many has looked at: who waits sees that it moves where little matches.

-- A program that does not know it leaves it as it is.
ALTER TABLE sagad.bulk ADD COLUMN examined bigint NOT NULL DEFAULT 0;
