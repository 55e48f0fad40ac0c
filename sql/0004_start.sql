-- SPDX-License-Identifier: Apache-2.0
-- oldest: 1
-- sagad.start(): a transaction that begins with the caller's own commit. A replica of any version takes up what it
-- leaves: a parked row that is due, in the format that all of them read. docs/start-in-your-commit.md.

-- 1h30m as milliseconds; null: it is no duration. The forms and limits of text_to_ms() in coordinator/base/text.c.
CREATE FUNCTION sagad.duration_ms(duration text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	parts CONSTANT text[] := regexp_match(duration, '^(?:0*(\d{1,18})d)?(?:0*(\d{1,18})h)?(?:0*(\d{1,18})m(?!s))?(?:0*(\d{1,18})s)?(?:0*(\d{1,18})ms)?$');
	ms    numeric;
BEGIN
	IF parts IS NULL OR length(duration) NOT BETWEEN 1 AND 64 THEN
		RETURN NULL;
	END IF;
	ms := coalesce(parts[1]::numeric, 0) * 86400000 + coalesce(parts[2]::numeric, 0) * 3600000
		+ coalesce(parts[3]::numeric, 0) * 60000 + coalesce(parts[4]::numeric, 0) * 1000 + coalesce(parts[5]::numeric, 0);
	RETURN CASE WHEN ms <= 316224000000 THEN ms::bigint END;
END $$;

-- A duration from base on, or a time as RFC 3339 writes it. What is neither, or more than ten years ahead, is refused.
CREATE FUNCTION sagad.moment(name text, moment text, base timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ms    CONSTANT bigint := sagad.duration_ms(moment);
	parts text[];
	at    timestamptz;
BEGIN
	IF ms IS NOT NULL THEN
		RETURN base + ms * interval '1 ms';
	END IF;
	parts := regexp_match(moment,
		'^(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:(\.\d{1,3})\d*)?(?:[Zz]|([+-])((?:[01]\d|2[0-3]):[0-5]\d))$');
	IF parts IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = format('sagad.start: %s is neither a duration nor a time: %L', name, moment),
			HINT = 'A duration like 10m, or a time like 2026-01-31T12:00:00Z.';
	END IF;
	BEGIN -- an offset of its own, since those of a timestamptz end at 15:59
		at := (parts[1] || ' ' || parts[2] || coalesce(parts[3], ''))::timestamp AT TIME ZONE 'UTC'
			- CASE parts[4] WHEN '-' THEN -1 ELSE 1 END * coalesce(parts[5], '00:00')::interval;
	EXCEPTION WHEN data_exception THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = format('sagad.start: there is no such time: %s = %L', name, moment),
			HINT = 'A time like 2026-01-31T12:00:00Z, of a day that the calendar has, from the year 1 on.';
	END;
	IF at < '0001-01-01Z' THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = format('sagad.start: there is no such time: %s = %L', name, moment),
			HINT = 'A time like 2026-01-31T12:00:00Z, of a day that the calendar has, from the year 1 on.';
	ELSIF at > base + interval '87600 hours' THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = format('sagad.start: %s is more than ten years ahead: %L', name, moment),
			HINT = 'Give an earlier time, or a shorter duration.';
	END IF;
	RETURN at;
END $$;

-- What a transaction of this definition is before its first step, as txn_init() and progress_write() of the daemon
-- make it: its phase, the rest of its progress, its deadline and its retention in ms. Null: it cannot be read.
CREATE FUNCTION sagad.birth(document text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	plan          record;
	n             integer;
	all_retriable boolean;
BEGIN
	SELECT * INTO STRICT plan FROM json_to_record(document::json) AS p(mode text, deadline text, retention text, steps json);
	SELECT count(*), coalesce(bool_and(coalesce(s.value ->> 'kind', 'compensatable') = 'retriable'), true)
		INTO STRICT n, all_retriable FROM json_each(plan.steps) s;
	RETURN ARRAY[
		CASE WHEN plan.mode = 'message' THEN 'prepared' WHEN all_retriable THEN 'confirming' ELSE 'trying' END,
		CASE plan.mode WHEN 'message' THEN '"check":{},' ELSE '' END || '"steps":[' || rtrim(repeat('{},', n), ',') || ']}',
		sagad.duration_ms(plan.deadline)::text, coalesce(sagad.duration_ms(plan.retention), 604800000)::text];
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END $$;

-- Once per version, by whoever registers it, an older program as well. The table is small.
ALTER TABLE sagad.definition ADD COLUMN birth text[] GENERATED ALWAYS AS (sagad.birth(document)) STORED;

-- Begins a transaction of a registered definition in the caller's own database transaction: it exists exactly if that
-- commits. What is given means what it means in POST /v1/transactions. The same gid with the same content again changes
-- nothing. Errors: SG400 what is given does not fit, SG404 no such definition, SG409 it is paused, SG413 too large,
-- SG422 the gid stands for other content.
CREATE FUNCTION sagad.start(
	definition text, input jsonb DEFAULT NULL, gid text DEFAULT NULL, labels jsonb DEFAULT NULL, deadline text DEFAULT NULL,
	start_at text DEFAULT NULL, version integer DEFAULT NULL, traceparent text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	created  CONSTANT timestamptz := date_trunc('milliseconds', clock_timestamp());
	id       text := gid;
	-- What a POST of the same content says; its hash tells same from other.
	body     text := ',"definition":' || coalesce(to_json(definition)::text, 'null')
		|| coalesce(',"version":' || version::text, '') || coalesce(',"input":' || input::text, '')
		|| coalesce(',"labels":' || labels::text, '') || coalesce(',"deadline":' || to_json(deadline)::text, '')
		|| coalesce(',"start_at":' || to_json(start_at)::text, '') || '}';
	content  bytea;
	-- What comes from a tracer must not fail an order; a POST passes over it, too.
	parent   CONSTANT text := substring(traceparent FROM '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$');
	random   bytea;
	begins   timestamptz; -- null: at once
	ends     timestamptz; -- null: no deadline
	chosen   record;      -- the definition; later the row that has this gid
	reason   text;        -- of the pause
	why_not  text;        -- it may not begin, unless it has begun before
	state    text;        -- the SQLSTATE of that
	advice   text;        -- and its hint
BEGIN
	IF id IS NULL THEN -- a UUIDv7, as replicas make them: gids that grow with time fill pages one after the other
		random := uuid_send(gen_random_uuid());
		random := overlay(random PLACING substr(int8send((extract(epoch FROM created) * 1000)::bigint), 3) FROM 1 FOR 6);
		id := encode(set_byte(random, 6, get_byte(random, 6) & 15 | 112), 'hex')::uuid::text;
	END IF;
	body := '{"gid":' || to_json(id)::text || body;
	content := substr(sha256(convert_to(body, 'UTF8')), 1, 16);
	IF id !~ '^[!#-&(-\[\]-~]{1,128}$' THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = format('sagad.start: %L is no gid', left(id, 200)),
			HINT = 'A gid is 1 to 128 printable ASCII characters without space, quotes and backslash.';
	END IF;
	IF octet_length(body) > 1048576 THEN
		RAISE EXCEPTION USING ERRCODE = 'SG413', MESSAGE = 'sagad.start: input and labels are larger than 1 MiB',
			HINT = 'Keep big payloads elsewhere and give a reference.';
	END IF;
	IF jsonb_path_exists(input, 'strict $.**{63} ? (@.type() == "object" || @.type() == "array")') THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = 'sagad.start: input is nested deeper than 63',
			HINT = 'Give what is so deep as a text: a string of JSON counts as one level.';
	END IF;
	IF labels IS NOT NULL THEN -- an expression with a query in it costs as much as a statement
		IF jsonb_typeof(labels) <> 'object' THEN
			RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = 'sagad.start: labels are an object of strings',
				HINT = 'Labels like {"tenant": "acme"}.';
		ELSIF (SELECT count(*) > 32 OR coalesce(bool_or(jsonb_typeof(l.value) <> 'string'
				OR octet_length(l.key) NOT BETWEEN 1 AND 256 OR octet_length(l.value #>> '{}') > 256), false)
				FROM jsonb_each(labels) l) THEN
			RAISE EXCEPTION USING ERRCODE = 'SG400',
				MESSAGE = 'sagad.start: at most 32 labels, each a string; name and value have at most 256 bytes each',
				HINT = 'Labels like {"tenant": "acme"}: what is larger, or no string, belongs into input.';
		ELSIF labels ? 'dtm' THEN
			RAISE EXCEPTION USING ERRCODE = 'SG400',
				MESSAGE = 'sagad.start: the label dtm is for what comes by /api/dtmsvr',
				HINT = 'Give that label another name.';
		END IF;
	END IF;
	IF version < 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'SG400', MESSAGE = 'sagad.start: a version is a whole number from 1',
			HINT = 'Without a version the newest one begins.';
	END IF;
	IF start_at IS NOT NULL THEN
		begins := sagad.moment('start_at', start_at, created);
		IF begins <= created THEN
			begins := NULL; -- as good as now
		END IF;
	END IF;
	IF deadline IS NOT NULL THEN
		ends := sagad.moment('deadline', deadline, coalesce(begins, created));
	END IF;

	SELECT d.version, d.birth INTO chosen FROM sagad.definition d
		WHERE d.name = start.definition AND (start.version IS NULL OR d.version = start.version)
		ORDER BY d.version DESC LIMIT 1;
	IF NOT FOUND OR chosen.birth IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SG404',
			MESSAGE = format('sagad.start: there is no definition %L%s', left(definition, 200), ' of version ' || version::text),
			HINT = 'PUT /v1/definitions/{name} registers it.';
	END IF;
	SELECT p.reason INTO reason FROM sagad.pause p WHERE p.kind = 'definition' AND p.name = start.definition;
	IF FOUND THEN
		state := 'SG409';
		why_not := format('starts of %s are paused: %s', definition, reason);
		advice := 'Try again when it is resumed: POST /v1/definitions/{name}/resume, or sagactl definition resume NAME.';
	ELSIF ends <= coalesce(begins, created) THEN
		state := 'SG400';
		why_not := 'the deadline must be after the start';
		advice := 'A duration counts from the start on: a deadline like 10m, or a time that is later than start_at.';
	END IF;
	ends := coalesce(ends, coalesce(begins, created) + chosen.birth[3]::bigint * interval '1 ms');

	IF why_not IS NULL THEN
		INSERT INTO sagad.transaction AS t (gid, owner, due_at, epoch, version, stuck, paused, adoptions, created_at, deadline_at,
			definition, definition_version, input, labels, traceparent, hash, retention_ms, format, phase, progress)
		VALUES (id, NULL, coalesce(begins, created), 1, 1, 'none', false, 0, created, ends,
			definition, chosen.version, input::text, labels::text, parent, content, chosen.birth[4]::bigint, 1,
			-- Nothing is decided before its start.
			CASE WHEN chosen.birth[1] = 'confirming' AND begins IS NOT NULL THEN 'trying' ELSE chosen.birth[1] END,
			'{' || coalesce('"start_at":' || (extract(epoch FROM begins) * 1000)::bigint || ',', '')
			|| coalesce('"deadline_at":' || (extract(epoch FROM ends) * 1000)::bigint || ',', '') || chosen.birth[2])
		ON CONFLICT ON CONSTRAINT transaction_pkey DO NOTHING;
		IF FOUND THEN
			RETURN id;
		END IF;
	END IF;
	SELECT t.hash INTO chosen FROM sagad.transaction t WHERE t.gid = id;
	IF FOUND AND chosen.hash = content THEN
		RETURN id;
	ELSIF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SG422', MESSAGE = format('sagad.start: the gid %L stands for other content', id),
			HINT = 'A gid stands for one content; choose a new one for new content.';
	ELSIF why_not IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = 'sagad.start: ' || why_not, HINT = advice;
	END IF;
	RAISE serialization_failure USING MESSAGE = format('sagad.start: %L was swept away this very moment', id),
		HINT = 'Begin your transaction again.';
END $$;

-- The others read and write nothing, and whoever registers a definition calls birth().
REVOKE ALL ON FUNCTION sagad.start FROM PUBLIC;
