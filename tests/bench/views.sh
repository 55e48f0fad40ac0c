#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# views.sh - how long /v1/stuck, /v1/overview and …/explain take next to a million finished transactions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
port=${SAGAD_PORT:-7070} folder=.dev/views
sagad=build/plain/sagad

dsn=$(tools/postgres.sh start "$folder")
daemon=
leave() {
	[ -z "$daemon" ] || { kill "$daemon"; wait "$daemon" || true; }
	tools/postgres.sh remove "$folder"
}
trap leave EXIT
"$sagad" migrate --dsn="$dsn"

# COUNT PREFIX PHASE STUCK END PROGRESS
rows() {
	psql "$dsn" -q -v ON_ERROR_STOP=1 -c "INSERT INTO sagad.transaction (created_at, retention_ms, definition_version, format,
		gid, hash, definition, input, epoch, $5, adoptions, paused, phase, stuck, version, progress)
		SELECT now(), 604800000, 1, 1, '$2-' || lpad(i::text, 8, '0'), '\x00', 'book', '{\"order\":\"A-1\",\"nights\":3}', 1, $6, 0,
		false, '$3', '$4', 3, '$7' FROM generate_series(1, $1) i"
}
psql "$dsn" -q -c "INSERT INTO sagad.definition (version, created_at, name, hash, document) VALUES (1, now(), 'book', '\x00',
	'{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://hotel:8080/r\"},\"compensate\":{\"url\":\"http://hotel:8080/u\"}}}}')"
rows 1000000 done confirmed none ended_at 'now()' '{"steps":[{"state":"tried","answered":12}]}'
rows 100000 sleep trying none due_at "now() + interval '1 day'" '{"steps":[{}]}'
rows 6000 stuck trying misconfigured due_at "'infinity'" '{"stuck_at":1795000000000,"steps":[{"stuck":"misconfigured","misconfigured":3,"first_at":1795000000000,"answered":12,"calls":3,"status":404,"at":1795000000000,"error":"HTTP 404"}]}'
psql "$dsn" -q -c 'ANALYZE sagad.transaction'

"$sagad" --dsn="$dsn" --listen="127.0.0.1:$port" --ops-listen="127.0.0.1:$((port + 1))" --log.level=error &
daemon=$!
until curl -sf "http://127.0.0.1:$((port + 1))/readyz" >/dev/null; do sleep 0.1; done
for what in stuck overview transactions/stuck-00000007/explain; do
	for _ in $(seq 21); do
		curl -sf -o /dev/null -w '%{time_total}\n' "http://127.0.0.1:$port/v1/$what"
	done | sort -n | awk -v what="$what" '{ t[NR] = $1 * 1000 } END { printf "%-40s median %.1f ms, longest %.1f ms\n", what, t[11], t[21] }'
done
