-- SPDX-License-Identifier: Apache-2.0
-- The barrier of a service that keeps its data in SQLite (3.24 or newer); docs/barrier.md says how it is used. SQLite has no
-- procedures: one inserts into a view and reads what came of it. Run it once; to run it again is harmless.

CREATE TABLE IF NOT EXISTS sagad_barrier_step (
	gid            TEXT NOT NULL,
	step           TEXT NOT NULL,
	epoch          INTEGER,          -- the newest Saga-Epoch that was heard
	deadline       REAL NOT NULL,    -- the latest Saga-Deadline, as Julian day; 1e9: none, never swept
	seen_at        REAL NOT NULL,
	tried          INTEGER NOT NULL DEFAULT 0,
	confirmed      INTEGER NOT NULL DEFAULT 0,
	cancelled      INTEGER NOT NULL DEFAULT 0, -- without tried: the cancel came first
	try_status     INTEGER,          -- the answers to replay
	try_body       TEXT,
	confirm_status INTEGER,
	confirm_body   TEXT,
	cancel_status  INTEGER,
	cancel_body    TEXT,
	PRIMARY KEY (gid, step)
);
CREATE INDEX IF NOT EXISTS sagad_barrier_step_deadline ON sagad_barrier_step (deadline);

-- swept: steps whose deadline is before this may have been swept: that there is no row says nothing about them.
-- The other columns are what the last statement of the barrier came to. Who reads them in the same transaction reads his own.
CREATE TABLE IF NOT EXISTS sagad_barrier_state (
	only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
	swept    REAL NOT NULL,
	answer   TEXT,
	status   INTEGER,
	body     TEXT,
	kept     INTEGER,
	deleted  INTEGER
);
INSERT INTO sagad_barrier_state (only_one, swept) VALUES (1, -1e9) ON CONFLICT DO NOTHING;

CREATE VIEW IF NOT EXISTS sagad_barrier AS
	SELECT NULL AS gid, NULL AS step, NULL AS op, NULL AS epoch, NULL AS deadline WHERE 0;
CREATE TRIGGER IF NOT EXISTS sagad_barrier_call INSTEAD OF INSERT ON sagad_barrier BEGIN
	SELECT RAISE(ABORT, 'sagad_barrier needs a gid, a step and an op')
		WHERE NOT coalesce(typeof(NEW.gid) = 'text' AND typeof(NEW.step) = 'text'
			AND NEW.gid NOT GLOB '*[^!-~]*' AND length(NEW.gid) BETWEEN 1 AND 128
			AND NEW.step NOT GLOB '*[^!-~]*' AND length(NEW.step) BETWEEN 1 AND 64
			AND NEW.op IN ('try', 'confirm', 'cancel'), 0);
	SELECT RAISE(ABORT, 'sagad_barrier: the epoch is no number')
		WHERE NEW.epoch = '' OR NEW.epoch GLOB '*[^0-9]*' OR length(NEW.epoch) > 19
			OR length(NEW.epoch) = 19 AND CAST(NEW.epoch AS TEXT) > '9223372036854775807';
	-- As in a header: what else julianday() reads (now, a bare time of day, a number) is a mistake.
	SELECT RAISE(ABORT, 'sagad_barrier: the deadline is no time in UTC')
		WHERE NEW.deadline IS NOT NULL AND NOT coalesce(typeof(NEW.deadline) = 'text' AND julianday(NEW.deadline) IS NOT NULL
			AND NEW.deadline GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'
			AND substr(NEW.deadline, 20) NOT GLOB '*[^0-9.Z]*'
			AND date(substr(NEW.deadline, 1, 10), '+0 days') = substr(NEW.deadline, 1, 10), 0);
	-- What it is, in a word of ours; what is answered comes of that.
	UPDATE sagad_barrier_state SET body = NULL, status = NULL, answer = (
		SELECT CASE
			WHEN s.gid IS NULL AND julianday(NEW.deadline) < swept THEN 'forgotten'
			WHEN s.gid IS NULL AND NEW.op = 'try' THEN 'run'
			WHEN s.gid IS NULL AND NEW.op = 'cancel' THEN 'nothing'
			WHEN s.gid IS NULL THEN 'untried'
			WHEN NEW.op = 'try' AND s.tried AND NOT (s.cancelled AND coalesce(s.try_status, 204) IN (202, 425))
				OR NEW.op = 'confirm' AND s.confirmed OR NEW.op = 'cancel' AND s.cancelled THEN 'duplicate'
			WHEN CAST(NEW.epoch AS INTEGER) < s.epoch THEN 'stale'
			WHEN NEW.op = 'try' THEN 'cancelled first'
			WHEN NEW.op = 'confirm' AND s.cancelled THEN 'cancelled'
			WHEN NEW.op = 'cancel' AND s.confirmed THEN 'confirmed'
			WHEN coalesce(s.try_status, 204) NOT IN (409, 410, 422, 424) THEN 'run'
			WHEN NEW.op = 'confirm' THEN 'refused'
			ELSE 'nothing' END
		FROM (SELECT 1) LEFT JOIN sagad_barrier_step s ON s.gid = NEW.gid AND s.step = NEW.step);
	INSERT INTO sagad_barrier_step (gid, step, epoch, deadline, seen_at, tried, cancelled)
		SELECT NEW.gid, NEW.step, CAST(NEW.epoch AS INTEGER), coalesce(julianday(NEW.deadline), 1e9), julianday('now'), 0, 0
		FROM sagad_barrier_state WHERE answer IN ('run', 'nothing')
		ON CONFLICT DO NOTHING;
	UPDATE sagad_barrier_step
		SET epoch = max(coalesce(epoch, CAST(NEW.epoch AS INTEGER)), coalesce(CAST(NEW.epoch AS INTEGER), epoch)),
			deadline = max(deadline, coalesce(julianday(NEW.deadline), 1e9))
		WHERE gid = NEW.gid AND step = NEW.step
			AND (SELECT answer FROM sagad_barrier_state) IN ('run', 'nothing', 'duplicate');
	UPDATE sagad_barrier_step
		SET seen_at = julianday('now'), tried = max(tried, NEW.op = 'try'), confirmed = max(confirmed, NEW.op = 'confirm'),
			cancelled = max(cancelled, NEW.op = 'cancel')
		WHERE gid = NEW.gid AND step = NEW.step AND (SELECT answer FROM sagad_barrier_state) IN ('run', 'nothing');
	UPDATE sagad_barrier_step SET cancel_status = 200, cancel_body = '{}'
		WHERE gid = NEW.gid AND step = NEW.step AND (SELECT answer FROM sagad_barrier_state) = 'nothing';
	UPDATE sagad_barrier_state
		SET status = coalesce((SELECT CASE NEW.op WHEN 'try' THEN try_status WHEN 'confirm' THEN confirm_status
				ELSE cancel_status END FROM sagad_barrier_step WHERE gid = NEW.gid AND step = NEW.step), 204),
			body = (SELECT CASE NEW.op WHEN 'try' THEN try_body WHEN 'confirm' THEN confirm_body
				ELSE cancel_body END FROM sagad_barrier_step WHERE gid = NEW.gid AND step = NEW.step)
		WHERE answer = 'duplicate';
	UPDATE sagad_barrier_state SET
		status = CASE answer WHEN 'forgotten' THEN 400 WHEN 'nothing' THEN 200 WHEN 'untried' THEN 410 WHEN 'stale' THEN 412
			WHEN 'cancelled first' THEN 422 WHEN 'cancelled' THEN 410 WHEN 'confirmed' THEN 409 WHEN 'refused' THEN 410 END,
		body = CASE answer
			WHEN 'forgotten' THEN '{"error": "its deadline is so long ago that what was done may be forgotten"}'
			WHEN 'nothing' THEN '{}'
			WHEN 'untried' THEN '{"error": "there was no try"}'
			WHEN 'stale' THEN '{"error": "an older epoch"}'
			WHEN 'cancelled first' THEN '{"error": "its cancel came first"}'
			WHEN 'cancelled' THEN '{"error": "it was cancelled"}'
			WHEN 'confirmed' THEN '{"error": "it was confirmed"}'
			WHEN 'refused' THEN '{"error": "its try was refused"}' END,
		answer = CASE WHEN answer IN ('nothing', 'untried', 'refused') THEN 'empty' WHEN answer = 'run' THEN 'run' ELSE 'late' END
		WHERE answer <> 'duplicate';
END;

CREATE VIEW IF NOT EXISTS sagad_barrier_keep AS
	SELECT NULL AS gid, NULL AS step, NULL AS op, NULL AS status, NULL AS body WHERE 0;
CREATE TRIGGER IF NOT EXISTS sagad_barrier_kept INSTEAD OF INSERT ON sagad_barrier_keep BEGIN
	SELECT RAISE(ABORT, 'sagad_barrier_keep: that status of that op settles nothing: roll back')
		WHERE NOT coalesce(CASE NEW.op
			WHEN 'try' THEN NEW.status IN (200, 201, 202, 204, 409, 410, 422, 424, 425)
			WHEN 'confirm' THEN NEW.status IN (200, 201, 202, 204, 425)
			WHEN 'cancel' THEN NEW.status IN (200, 201, 202, 204, 410, 425) END, 0);
	UPDATE sagad_barrier_state SET kept = EXISTS (SELECT 1 FROM sagad_barrier_step s
		WHERE s.gid = NEW.gid AND s.step = NEW.step AND CASE NEW.op
			WHEN 'try' THEN s.tried AND NOT s.cancelled AND coalesce(s.try_status, 202) IN (202, 425)
			WHEN 'confirm' THEN s.confirmed AND coalesce(s.confirm_status, 202) IN (202, 425)
			ELSE s.cancelled AND coalesce(s.cancel_status, 202) IN (202, 425) END);
	UPDATE sagad_barrier_step SET seen_at = julianday('now'),
			try_status = CASE NEW.op WHEN 'try' THEN NEW.status ELSE try_status END,
			try_body = CASE NEW.op WHEN 'try' THEN NEW.body ELSE try_body END,
			confirm_status = CASE NEW.op WHEN 'confirm' THEN NEW.status ELSE confirm_status END,
			confirm_body = CASE NEW.op WHEN 'confirm' THEN NEW.body ELSE confirm_body END,
			cancel_status = CASE NEW.op WHEN 'cancel' THEN NEW.status ELSE cancel_status END,
			cancel_body = CASE NEW.op WHEN 'cancel' THEN NEW.body ELSE cancel_body END
		WHERE gid = NEW.gid AND step = NEW.step AND (SELECT kept FROM sagad_barrier_state);
END;

CREATE VIEW IF NOT EXISTS sagad_barrier_sweep AS SELECT NULL AS retention_days, NULL AS batch WHERE 0;
CREATE TRIGGER IF NOT EXISTS sagad_barrier_swept INSTEAD OF INSERT ON sagad_barrier_sweep BEGIN
	SELECT RAISE(ABORT, 'sagad_barrier_sweep: a retention of at least an hour')
		WHERE NOT coalesce(NEW.retention_days >= 1 / 24.0, 0);
	UPDATE sagad_barrier_state SET swept = max(swept, julianday('now') - NEW.retention_days);
	DELETE FROM sagad_barrier_step WHERE rowid IN (SELECT rowid FROM sagad_barrier_step
		WHERE deadline < (SELECT swept FROM sagad_barrier_state) AND seen_at < julianday('now') - NEW.retention_days
		ORDER BY deadline LIMIT coalesce(NEW.batch, 10000));
	UPDATE sagad_barrier_state SET deleted = changes();
END;
