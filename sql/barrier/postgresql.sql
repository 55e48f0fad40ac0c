-- SPDX-License-Identifier: Apache-2.0
-- The barrier of a service that keeps its data in PostgreSQL; docs/barrier.md says how it is used. Run it
-- once in the schema where it shall live (psql -1 -f postgresql.sql); to run it again is harmless.

-- One row per step, so that its try, confirm and cancel wait for each other whoever comes first.
CREATE TABLE IF NOT EXISTS sagad_barrier_step (
	gid            text NOT NULL,
	step           text NOT NULL,
	epoch          bigint,                       -- the newest Saga-Epoch that was heard
	deadline       timestamptz NOT NULL,         -- the latest Saga-Deadline; infinity: none, never swept
	seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
	tried          boolean NOT NULL DEFAULT false,
	confirmed      boolean NOT NULL DEFAULT false,
	cancelled      boolean NOT NULL DEFAULT false, -- without tried: the cancel came first
	try_status     smallint,                     -- the answers to replay
	try_body       text,
	confirm_status smallint,
	confirm_body   text,
	cancel_status  smallint,
	cancel_body    text,
	PRIMARY KEY (gid, step)
) WITH (fillfactor = 80);
-- With IF NOT EXISTS alone it would wait for whoever writes to the table, and for what is prepared, before it looks.
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = 'sagad_barrier_step'::regclass AND NOT indisprimary) THEN
		CREATE INDEX IF NOT EXISTS sagad_barrier_step_deadline ON sagad_barrier_step (deadline);
	END IF;
END $$;

-- Steps whose deadline is before this may have been swept: that there is no row says nothing about them.
CREATE TABLE IF NOT EXISTS sagad_barrier_mark (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	swept    timestamptz NOT NULL
);
INSERT INTO sagad_barrier_mark (swept) VALUES ('-infinity') ON CONFLICT DO NOTHING;

-- May the row of a step with this deadline have been swept? To be asked after the row was found missing.
CREATE OR REPLACE FUNCTION sagad_barrier_forgot(deadline timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	-- A sweep may be under way. This waits for it, and above read committed, where the mark
	-- that it leaves could not be seen, fails with serialization_failure.
	IF deadline < clock_timestamp() THEN
		PERFORM FROM sagad_barrier_mark FOR SHARE;
	END IF;
	RETURN EXISTS (SELECT FROM sagad_barrier_mark m WHERE deadline < m.swept);
END $$;

-- Called first in the service's transaction. answer is
--   run        do it, then sagad_barrier_keep() what is answered, in this transaction
--   duplicate  it was done: answer status and body, which are those of the first time
--   empty      there is nothing to undo or to confirm: answer status and body
--   late       what came before forbids it: answer status and body
-- In each case commit before the answer goes out.
CREATE OR REPLACE FUNCTION sagad_barrier(
	gid text, step text, op text, epoch bigint DEFAULT NULL, deadline timestamptz DEFAULT NULL,
	OUT answer text, OUT status integer, OUT body text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	until CONSTANT timestamptz := coalesce(deadline, 'infinity');
	held  sagad_barrier_step%ROWTYPE;
BEGIN
	IF NOT coalesce(gid ~ '^[!-~]{1,128}$' AND step ~ '^[!-~]{1,64}$' AND op IN ('try', 'confirm', 'cancel'), false) THEN
		RAISE invalid_parameter_value USING MESSAGE = 'sagad_barrier needs a gid, a step and an op';
	END IF;
	IF epoch < 0 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'sagad_barrier: the epoch is below none';
	END IF;
	LOOP
		-- Waits for whoever is at work on the first call of the same step, until he commits or
		-- rolls back. A confirm leaves no row where there is none: its try would find it.
		IF op <> 'confirm' THEN
			INSERT INTO sagad_barrier_step AS s (gid, step, epoch, deadline, tried, cancelled, cancel_status, cancel_body)
				SELECT sagad_barrier.gid, sagad_barrier.step, sagad_barrier.epoch, until, op = 'try', op = 'cancel',
					CASE op WHEN 'cancel' THEN 200 END, CASE op WHEN 'cancel' THEN '{}' END
				ON CONFLICT DO NOTHING;
			EXIT WHEN FOUND;
		END IF;
		SELECT * INTO held FROM sagad_barrier_step s
			WHERE s.gid = sagad_barrier.gid AND s.step = sagad_barrier.step FOR UPDATE;
		-- A sweep may have taken it in between.
		EXIT WHEN FOUND OR op = 'confirm';
	END LOOP;

	IF held.gid IS NULL THEN
		IF sagad_barrier_forgot(until) THEN
			DELETE FROM sagad_barrier_step s WHERE s.gid = sagad_barrier.gid AND s.step = sagad_barrier.step;
			answer := 'late'; status := 400;
			body := '{"error": "its deadline is so long ago that what was done may be forgotten"}';
		ELSIF op = 'try' THEN
			answer := 'run';
		ELSIF op = 'cancel' THEN
			answer := 'empty'; status := 200; body := '{}';
		ELSE
			answer := 'empty'; status := 410; body := '{"error": "there was no try"}';
		END IF;
		RETURN;
	END IF;

	IF (op = 'try' AND held.tried AND NOT (held.cancelled AND coalesce(held.try_status, 204) IN (202, 425)))
		OR (op = 'confirm' AND held.confirmed) OR (op = 'cancel' AND held.cancelled) THEN
		IF epoch > coalesce(held.epoch, 0) OR until > held.deadline THEN
			UPDATE sagad_barrier_step s
				SET epoch = greatest(s.epoch, sagad_barrier.epoch), deadline = greatest(s.deadline, until)
				WHERE s.gid = sagad_barrier.gid AND s.step = sagad_barrier.step;
		END IF;
		answer := 'duplicate';
		status := CASE op WHEN 'try' THEN held.try_status WHEN 'confirm' THEN held.confirm_status ELSE held.cancel_status END;
		body := CASE op WHEN 'try' THEN held.try_body WHEN 'confirm' THEN held.confirm_body ELSE held.cancel_body END;
		status := coalesce(status, 204); -- nothing was kept
	ELSIF epoch < held.epoch THEN
		-- Who sent it is no longer in charge. He may not know what was decided since.
		answer := 'late'; status := 412; body := '{"error": "an older epoch"}';
	ELSIF op = 'try' THEN
		answer := 'late'; status := 422; body := '{"error": "its cancel came first"}';
	ELSIF op = 'confirm' AND held.cancelled THEN
		answer := 'late'; status := 410; body := '{"error": "it was cancelled"}';
	ELSIF op = 'cancel' AND held.confirmed THEN
		answer := 'late'; status := 409; body := '{"error": "it was confirmed"}';
	ELSIF op = 'confirm' AND held.try_status IN (409, 410, 422, 424) THEN
		answer := 'empty'; status := 410; body := '{"error": "its try was refused"}';
	ELSE
		answer := 'run';
		IF op = 'cancel' AND held.try_status IN (409, 410, 422, 424) THEN
			answer := 'empty'; status := 200; body := '{}';
		END IF;
		UPDATE sagad_barrier_step s
			SET epoch = greatest(s.epoch, sagad_barrier.epoch), deadline = greatest(s.deadline, until),
				seen_at = clock_timestamp(), confirmed = s.confirmed OR op = 'confirm',
				cancelled = s.cancelled OR op = 'cancel',
				cancel_status = sagad_barrier.status, cancel_body = sagad_barrier.body
			WHERE s.gid = sagad_barrier.gid AND s.step = sagad_barrier.step;
	END IF;
END $$;

-- Keeps what a duplicate shall be answered. 202 and 425 (it goes on) may be followed by the end of it, in a
-- later transaction. False, and nothing is kept: there was no run, an answer is kept already, or the step was
-- cancelled meanwhile: roll back. An answer that settles nothing (5xx, 429, …) is not for keeping: roll back.
CREATE OR REPLACE FUNCTION sagad_barrier_keep(
	gid text, step text, op text, status integer, body text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	IF coalesce(CASE op
		WHEN 'try' THEN status IN (200, 201, 202, 204, 409, 410, 422, 424, 425)
		WHEN 'confirm' THEN status IN (200, 201, 202, 204, 425)
		WHEN 'cancel' THEN status IN (200, 201, 202, 204, 410, 425) END, false) IS FALSE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('sagad_barrier_keep: status %s of op %s settles nothing: roll back', status, op);
	END IF;
	IF op = 'try' THEN
		UPDATE sagad_barrier_step s
			SET try_status = sagad_barrier_keep.status, try_body = sagad_barrier_keep.body, seen_at = clock_timestamp()
			WHERE s.gid = sagad_barrier_keep.gid AND s.step = sagad_barrier_keep.step AND s.tried
				AND NOT s.cancelled AND coalesce(s.try_status, 202) IN (202, 425);
	ELSIF op = 'confirm' THEN
		UPDATE sagad_barrier_step s
			SET confirm_status = sagad_barrier_keep.status, confirm_body = sagad_barrier_keep.body, seen_at = clock_timestamp()
			WHERE s.gid = sagad_barrier_keep.gid AND s.step = sagad_barrier_keep.step AND s.confirmed
				AND coalesce(s.confirm_status, 202) IN (202, 425);
	ELSE
		UPDATE sagad_barrier_step s
			SET cancel_status = sagad_barrier_keep.status, cancel_body = sagad_barrier_keep.body, seen_at = clock_timestamp()
			WHERE s.gid = sagad_barrier_keep.gid AND s.step = sagad_barrier_keep.step AND s.cancelled
				AND coalesce(s.cancel_status, 202) IN (202, 425);
	END IF;
	RETURN FOUND;
END $$;

-- In the transaction that a message stands for, with the deadline that the coordinator answered when it was prepared. True: go
-- on. False: it was done before. An error (SG410): a check was told that it never happened, so it must not.
CREATE OR REPLACE FUNCTION sagad_message(gid text, deadline timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	asked record;
BEGIN
	IF deadline IS NULL THEN
		RAISE invalid_parameter_value USING MESSAGE = 'sagad_message needs the deadline of the message';
	END IF;
	-- No step has such a name.
	SELECT * INTO STRICT asked FROM sagad_barrier(gid, '=message', 'try', NULL, deadline);
	IF asked.answer = 'late' THEN
		RAISE EXCEPTION USING ERRCODE = 'SG410', MESSAGE = format('sagad_message: %s comes too late', gid),
			DETAIL = 'Its deadline has passed, and the coordinator was told that it never happened, or may have been.';
	END IF;
	RETURN asked.answer = 'run';
END $$;

-- What to answer to the check of a message, once this is committed. Waits for a transaction that has asked and not ended.
-- If there was none, there will be none.
CREATE OR REPLACE FUNCTION sagad_message_check(
	gid text, deadline timestamptz, OUT status integer, OUT body text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	asked record;
BEGIN
	BEGIN
		SELECT * INTO STRICT asked FROM sagad_barrier(gid, '=message', 'cancel', NULL, coalesce(deadline, 'infinity'));
		IF asked.answer = 'run' THEN -- it was done, and nothing undoes it
			RAISE EXCEPTION USING ERRCODE = 'SG200';
		END IF;
	EXCEPTION WHEN SQLSTATE 'SG200' THEN
		status := 200;
		body := '{}';
		RETURN;
	END;
	status := CASE asked.answer WHEN 'late' THEN asked.status ELSE 422 END;
	body := CASE asked.answer WHEN 'late' THEN asked.body ELSE '{"error": "it was not committed, and will not be"}' END;
END $$;

-- Deletes up to batch steps whose deadline and last change are longer ago than retention, and says how many. From then on
-- a call of a step with so old a deadline that is not known is answered late: nobody can tell whether it was done.
CREATE OR REPLACE FUNCTION sagad_barrier_sweep(retention interval, batch integer DEFAULT 10000) RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	before CONSTANT timestamptz := clock_timestamp() - retention;
	mark   timestamptz;
	gone   integer;
BEGIN
	IF retention IS NULL OR retention < interval '1 hour' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'sagad_barrier_sweep: a retention of at least an hour';
	END IF;
	UPDATE sagad_barrier_mark m SET swept = greatest(m.swept, before) RETURNING m.swept INTO STRICT mark;
	DELETE FROM sagad_barrier_step WHERE ctid = ANY (ARRAY(
		SELECT s.ctid FROM sagad_barrier_step s WHERE s.deadline < mark AND s.seen_at < before
		ORDER BY s.deadline LIMIT batch FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN gone;
END $$;

-- Who sets up the barrier asks first: a service that may use it, but not make it, need not be able to if this is what it knows.
-- The first digits of the SHA-256 of all other lines (tests/style/barrier.t).
CREATE OR REPLACE FUNCTION sagad_barrier_version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '1ddbc77d' $$;
