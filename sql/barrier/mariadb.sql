-- SPDX-License-Identifier: Apache-2.0
-- The barrier of a service that keeps its data in MariaDB (10.6 or newer); docs/barrier.md says how it is used. Feed it to the
-- client once (mariadb DATABASE < mariadb.sql); to run it again is harmless, also for services at work.
-- Kept to what MySQL 8.0.20 understands as well; what stands in /*M! */ is for MariaDB alone, and without OR REPLACE MySQL makes the
-- procedures once.

-- One row per step, so that its try, confirm and cancel wait for each other whoever comes first. A row that is neither
-- tried nor cancelled is one that its own transaction has just made.
CREATE TABLE IF NOT EXISTS sagad_barrier_step (
	gid            varchar(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	step           varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	epoch          bigint,                        -- the newest Saga-Epoch that was heard
	deadline       datetime(6) NOT NULL,          -- the latest Saga-Deadline, UTC; year 9999: none, never swept
	seen_at        datetime(6) NOT NULL,
	tried          boolean NOT NULL DEFAULT false,
	confirmed      boolean NOT NULL DEFAULT false,
	cancelled      boolean NOT NULL DEFAULT false, -- without tried: the cancel came first
	try_status     smallint,                      -- the answers to replay
	try_body       mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	confirm_status smallint,
	confirm_body   mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	cancel_status  smallint,
	cancel_body    mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	PRIMARY KEY (gid, step),
	KEY sagad_barrier_step_deadline (deadline)
) ENGINE = InnoDB;

-- Steps whose deadline is before this may have been swept: that there is no row says nothing about them.
CREATE TABLE IF NOT EXISTS sagad_barrier_mark (
	only_one tinyint PRIMARY KEY,
	swept    datetime(6) NOT NULL
) ENGINE = InnoDB;
INSERT INTO sagad_barrier_mark (only_one, swept) VALUES (1, '1970-01-01') ON DUPLICATE KEY UPDATE only_one = 1;

-- Procedures run in the mode that they were made in: what does not fit is an error and not cut.
SET @sagad_sql_mode = @@sql_mode;
SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

DELIMITER //

-- Called first in the service's transaction. Gives one row; its answer is
--   run        do it, then sagad_barrier_keep() what is answered, in this transaction
--   duplicate  it was done: answer status and body, which are those of the first time
--   empty      there is nothing to undo or to confirm: answer status and body
--   late       what came before forbids it: answer status and body
-- In each case commit before the answer goes out. in_deadline is the header as it came, or NULL.
-- What is given is wider than what may be given, as parameters are cut to fit by the sql_mode of the caller.
-- Replaced in one go: a DROP before it would be seen by whoever calls meanwhile.
CREATE /*M! OR REPLACE */ PROCEDURE sagad_barrier(
	given_gid varchar(255) CHARACTER SET utf8mb4, given_step varchar(255) CHARACTER SET utf8mb4, in_op varchar(16) CHARACTER SET utf8mb4,
	given_epoch varchar(32) CHARACTER SET utf8mb4, in_deadline varchar(40) CHARACTER SET utf8mb4)
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	DECLARE in_gid varchar(128) CHARACTER SET ascii COLLATE ascii_bin;
	DECLARE in_step varchar(64) CHARACTER SET ascii COLLATE ascii_bin;
	DECLARE in_epoch bigint;
	DECLARE answer varchar(16) DEFAULT 'late';
	DECLARE status, s_try, s_confirm, s_cancel smallint;
	DECLARE body, b_try, b_confirm, b_cancel mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
	DECLARE is_tried, is_confirmed, is_cancelled, refused, goes_on boolean DEFAULT false;
	DECLARE heard bigint;
	DECLARE ends, until_ datetime(6) DEFAULT '9999-12-31';
	DECLARE forgot boolean DEFAULT false;
	DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

	-- \z and not $, which a line feed may follow; the collation of the database may take TRY for try.
	IF NOT coalesce(given_gid REGEXP '^[!-~]{1,128}\\z' AND given_step REGEXP '^[!-~]{1,64}\\z'
			AND in_op COLLATE utf8mb4_bin IN ('try', 'confirm', 'cancel'), false) THEN
		SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'sagad_barrier needs a gid, a step and an op';
	END IF;
	IF given_epoch NOT REGEXP '^[0-9]{1,19}\\z' THEN
		SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'sagad_barrier: the epoch is no number';
	END IF;
	SET in_gid = given_gid, in_step = given_step, in_epoch = given_epoch;
	IF in_deadline IS NOT NULL THEN
		IF in_deadline NOT REGEXP '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z?\\z' THEN
			SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'sagad_barrier: the deadline is no time in UTC';
		END IF;
		SET until_ = replace(replace(in_deadline, 'T', ' '), 'Z', '');
	END IF;
	-- Each statement of a procedure is a transaction of its own where there is none: the barrier would be open.
	/*M! IF @@autocommit = 1 AND @@in_transaction = 0 THEN
		SIGNAL SQLSTATE '25000' SET MESSAGE_TEXT = 'sagad_barrier: begin a transaction first';
	END IF; */

	-- Waits for whoever is at work on the first call of the same step, until he commits or rolls back. A confirm leaves
	-- no row where there is none: its try would find it.
	IF in_op <> 'confirm' THEN
		INSERT INTO sagad_barrier_step (gid, step, epoch, deadline, seen_at)
			VALUES (in_gid, in_step, in_epoch, until_, utc_timestamp(6)) ON DUPLICATE KEY UPDATE gid = in_gid;
	END IF;
	-- A read that locks sees what was committed last, whatever the snapshot.
	SELECT epoch, deadline, tried, confirmed, cancelled, try_status, try_body, confirm_status, confirm_body, cancel_status, cancel_body
		INTO heard, ends, is_tried, is_confirmed, is_cancelled, s_try, b_try, s_confirm, b_confirm, s_cancel, b_cancel
		FROM sagad_barrier_step WHERE gid = in_gid AND step = in_step FOR UPDATE;
	SET refused = coalesce(s_try IN (409, 410, 422, 424), false), goes_on = coalesce(s_try IN (202, 425), false);

	IF NOT is_tried AND NOT is_cancelled THEN
		-- A sweep may be under way: this waits for it.
		IF until_ < utc_timestamp(6) THEN
			SELECT until_ < swept INTO forgot FROM sagad_barrier_mark WHERE only_one = 1 LOCK IN SHARE MODE;
		END IF;
		IF forgot THEN
			DELETE FROM sagad_barrier_step WHERE gid = in_gid AND step = in_step;
			SET status = 400, body = '{"error": "its deadline is so long ago that what was done may be forgotten"}';
		ELSEIF in_op = 'try' THEN
			SET answer = 'run';
			UPDATE sagad_barrier_step SET tried = true WHERE gid = in_gid AND step = in_step;
		ELSEIF in_op = 'cancel' THEN
			SET answer = 'empty', status = 200, body = '{}';
			UPDATE sagad_barrier_step SET cancelled = true, cancel_status = 200, cancel_body = '{}'
				WHERE gid = in_gid AND step = in_step;
		ELSE
			SET answer = 'empty', status = 410, body = '{"error": "there was no try"}';
		END IF;
	ELSEIF (in_op = 'try' AND is_tried AND NOT (is_cancelled AND goes_on)) OR (in_op = 'confirm' AND is_confirmed)
		OR (in_op = 'cancel' AND is_cancelled) THEN
		IF coalesce(in_epoch > coalesce(heard, 0), false) OR until_ > ends THEN
			UPDATE sagad_barrier_step
				SET epoch = greatest(coalesce(epoch, in_epoch), coalesce(in_epoch, epoch)), deadline = greatest(deadline, until_)
				WHERE gid = in_gid AND step = in_step;
		END IF;
		SET answer = 'duplicate';
		-- 204: nothing was kept.
		SET status = coalesce(CASE in_op WHEN 'try' THEN s_try WHEN 'confirm' THEN s_confirm ELSE s_cancel END, 204);
		SET body = CASE in_op WHEN 'try' THEN b_try WHEN 'confirm' THEN b_confirm ELSE b_cancel END;
	ELSEIF in_epoch < heard THEN
		-- Who sent it is no longer in charge. He may not know what was decided since.
		SET status = 412, body = '{"error": "an older epoch"}';
	ELSEIF in_op = 'try' THEN
		SET status = 422, body = '{"error": "its cancel came first"}';
	ELSEIF in_op = 'confirm' AND is_cancelled THEN
		SET status = 410, body = '{"error": "it was cancelled"}';
	ELSEIF in_op = 'cancel' AND is_confirmed THEN
		SET status = 409, body = '{"error": "it was confirmed"}';
	ELSEIF in_op = 'confirm' AND refused THEN
		SET answer = 'empty', status = 410, body = '{"error": "its try was refused"}';
	ELSE
		SET answer = 'run';
		IF in_op = 'cancel' AND refused THEN
			SET answer = 'empty', status = 200, body = '{}';
		END IF;
		UPDATE sagad_barrier_step
			SET epoch = greatest(coalesce(epoch, in_epoch), coalesce(in_epoch, epoch)), deadline = greatest(deadline, until_),
				seen_at = utc_timestamp(6), confirmed = confirmed OR in_op = 'confirm', cancelled = cancelled OR in_op = 'cancel',
				cancel_status = status, cancel_body = body
			WHERE gid = in_gid AND step = in_step;
	END IF;
	SELECT answer, status, body;
END //

-- Keeps what a duplicate shall be answered. 202 and 425 (it goes on) may be followed by the end of it, in a later transaction.
-- kept is 0, and nothing was, if there was no run, an answer is kept already, or the step was cancelled meanwhile: roll back.
-- An answer that settles nothing (5xx, 429, …) is not for keeping: roll back.
CREATE /*M! OR REPLACE */ PROCEDURE sagad_barrier_keep(
	in_gid varchar(128) CHARACTER SET ascii COLLATE ascii_bin, in_step varchar(64) CHARACTER SET ascii COLLATE ascii_bin,
	in_op varchar(16) CHARACTER SET ascii, in_status integer, in_body mediumtext CHARACTER SET utf8mb4)
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	DECLARE kept boolean DEFAULT false;
	DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

	IF NOT coalesce(CASE in_op
		WHEN 'try' THEN in_status IN (200, 201, 202, 204, 409, 410, 422, 424, 425)
		WHEN 'confirm' THEN in_status IN (200, 201, 202, 204, 425)
		WHEN 'cancel' THEN in_status IN (200, 201, 202, 204, 410, 425) END, false) THEN
		SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'sagad_barrier_keep: that status of that op settles nothing: roll back';
	END IF;
	-- Asked first: how many rows an update says it has changed depends on how the client connected.
	SELECT CASE in_op
			WHEN 'try' THEN tried AND NOT cancelled AND coalesce(try_status, 202) IN (202, 425)
			WHEN 'confirm' THEN confirmed AND coalesce(confirm_status, 202) IN (202, 425)
			ELSE cancelled AND coalesce(cancel_status, 202) IN (202, 425) END
		INTO kept FROM sagad_barrier_step WHERE gid = in_gid AND step = in_step FOR UPDATE;
	IF kept AND in_op = 'try' THEN
		UPDATE sagad_barrier_step SET try_status = in_status, try_body = in_body, seen_at = utc_timestamp(6)
			WHERE gid = in_gid AND step = in_step;
	ELSEIF kept AND in_op = 'confirm' THEN
		UPDATE sagad_barrier_step SET confirm_status = in_status, confirm_body = in_body, seen_at = utc_timestamp(6)
			WHERE gid = in_gid AND step = in_step;
	ELSEIF kept THEN
		UPDATE sagad_barrier_step SET cancel_status = in_status, cancel_body = in_body, seen_at = utc_timestamp(6)
			WHERE gid = in_gid AND step = in_step;
	END IF;
	SELECT kept;
END //

-- Deletes up to in_batch (NULL: 10000) steps whose deadline and last change are longer ago than in_days, and says how many. From
-- then on a call of a step with so old a deadline that is not known is answered late: nobody can tell whether it was done.
CREATE /*M! OR REPLACE */ PROCEDURE sagad_barrier_sweep(in_days double, in_batch integer)
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
	DECLARE past, found_one boolean DEFAULT false;
	DECLARE deleted integer DEFAULT 0;
	DECLARE at_most integer DEFAULT coalesce(in_batch, 10000);
	DECLARE old_gid varchar(128) CHARACTER SET ascii COLLATE ascii_bin;
	DECLARE old_step varchar(64) CHARACTER SET ascii COLLATE ascii_bin;
	DECLARE before_, mark datetime(6);
	-- Reads without locking: a range that is locked would keep others from inserting into it.
	DECLARE old CURSOR FOR SELECT gid, step FROM sagad_barrier_step WHERE deadline < mark AND seen_at < before_
		ORDER BY deadline LIMIT at_most;
	DECLARE CONTINUE HANDLER FOR NOT FOUND SET past = true;

	IF NOT coalesce(in_days >= 1 / 24, false) THEN
		SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = 'sagad_barrier_sweep: a retention of at least an hour';
	END IF;
	SET before_ = utc_timestamp(6) - INTERVAL cast(in_days * 86400000000 AS signed) MICROSECOND;
	UPDATE sagad_barrier_mark SET swept = greatest(swept, before_) WHERE only_one = 1;
	SELECT swept INTO mark FROM sagad_barrier_mark WHERE only_one = 1 FOR UPDATE;
	OPEN old;
	sweeping: LOOP
		FETCH old INTO old_gid, old_step;
		IF past THEN
			LEAVE sweeping;
		END IF;
		-- As it is now, unless somebody works on it.
		SET found_one = false;
		SELECT true INTO found_one FROM sagad_barrier_step
			WHERE gid = old_gid AND step = old_step AND deadline < mark AND seen_at < before_ FOR UPDATE SKIP LOCKED;
		SET past = false;
		IF found_one THEN
			DELETE FROM sagad_barrier_step WHERE gid = old_gid AND step = old_step;
			SET deleted = deleted + 1;
		END IF;
	END LOOP;
	CLOSE old;
	SELECT deleted;
END //

-- Who sets up the barrier asks first: a service that may use it, but not make it, need not be able to if this is what it knows.
-- The first digits of the SHA-256 of all other lines (tests/style/barrier.t).
CREATE /*M! OR REPLACE */ PROCEDURE sagad_barrier_version() SQL SECURITY INVOKER SELECT 'b8b2182e' AS version //

DELIMITER ;
SET sql_mode = @sagad_sql_mode;
