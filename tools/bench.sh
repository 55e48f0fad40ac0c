#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench.sh - the benchmark on a private PostgreSQL; `bench.sh --help` says what it takes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
. tools/common.sh

usage() {
	cat <<-HELP
		usage: ./dev bench [--quick] [--json | --markdown] [--rounds N] [--seconds S] [--scenario NAME]...

		  --quick          one short round, fewer rows: under a minute
		  --json           one JSON object on stdout instead of a table
		  --markdown       the table as docs/performance.md has it
		  --rounds N       medians of N rounds            [3]
		  --seconds S      how long each is measured      [5]
		  --scenario NAME  only this one; may be repeated
		  --by-statement   what each statement costs the server, by its name (pg_stat_statements, which costs as well)
		  --list           the scenarios

		SAGAD_BENCH_PORT is the first of 20 ports [7470], SAGAD_BENCH_DIR where the database is [.dev/bench],
		SAGAD_BENCH_BUILD another build to measure.
	HELP
}

build=${SAGAD_BENCH_BUILD:-$root/build/plain}
folder=${SAGAD_BENCH_DIR:-$root/.dev/bench}/pg
logs=${folder%/pg}/logs

case ${1:-} in
--help | -h) usage; exit 0 ;;
--list) exec "$build/tests/bench/bench" list ;;
esac

# Ctrl-C ends the benchmark, whose children die with it; what is left is PostgreSQL.
clean_up() {
	tools/postgres.sh remove "$folder-standby" >/dev/null 2>&1 || true
	tools/postgres.sh remove "$folder" >/dev/null 2>&1 || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM
clean_up
rm -rf "$logs"
mkdir -p "$logs"

# Sizes as a server with 8 GiB would have them; all that is about durability is the default: fsync, full_page_writes,
# synchronous_commit on, and data checksums.
place=$(tools/postgres.sh place "$folder")
tools/postgres.sh start "$folder" >/dev/null
psql -XAtq "$(tools/postgres.sh dsn "$folder")" -c "ALTER SYSTEM SET shared_buffers = '1GB'" \
	-c "ALTER SYSTEM SET max_wal_size = '8GB'" -c "ALTER SYSTEM SET checkpoint_timeout = '15min'"
case " $* " in *" --by-statement "*)
	psql -XAtq "$(tools/postgres.sh dsn "$folder")" -c "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'" \
		-c "CREATE EXTENSION pg_stat_statements" ;;
esac
tools/postgres.sh stop "$folder"
dsn=$(tools/postgres.sh start "$folder")
# A server that has run for a while writes its WAL into old segments. A new one fills each with zeros first, in the midst
# of a commit, every 16 MB: 10,000 sagas. So there are some before anything is measured.
psql -XAtq "$dsn" -c "ALTER SYSTEM SET min_wal_size = '2GB'" -c "ALTER SYSTEM SET wal_keep_size = 0" -c "SELECT pg_reload_conf()" >/dev/null
for _ in $(seq "${segments:-48}"); do echo "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal();"; done | psql -XAtq "$dsn" >/dev/null
psql -XAtq "$dsn" -c "CHECKPOINT"

say "PostgreSQL in $place: fsync on, shared_buffers 1GB, max_wal_size 8GB, checkpoint_timeout 15min"

"$build/tests/bench/bench" run --sagad "$build/sagad" --dsn "$dsn" --postmaster "$(head -n 1 "$place/data/postmaster.pid")" \
	--logs "$logs" --tool "$root/tools/postgres.sh" --folder "$folder" --port "${SAGAD_BENCH_PORT:-7470}" "$@"
