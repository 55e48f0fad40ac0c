#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test.sh - every test there is, in stages; stops at the first stage that fails. Those that only compute run beside
# those that also wait, on what these leave of the processors.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
. tools/common.sh

SIM_SEEDS=50000 SIM_SEEDS_ASAN=2000 FUZZ_SECONDS=${FUZZ_SECONDS:-8}
export SAGAD_SANITIZED="detect_leaks=1:abort_on_error=1"

# name             what it does
stages=(
	"build          compile with gcc, no warnings"
	"asan           compile with the address and undefined-behaviour sanitizers"
	"clang          compile with clang, no warnings"
	"fuzz           each fuzzer for $FUZZ_SECONDS seconds of a processor"
	"dist           the release tarball builds and installs outside the tree"
	"sim            $SIM_SEEDS simulator seeds, optimised"
	"sim-asan       $SIM_SEEDS_ASAN simulator seeds, sanitized"
	"bugs           every planted bug is found by the simulator"
	"check          make check: unit, style, conformance, 1,000 simulator seeds"
	"check-asan     the same, sanitized"
	"log            log, lease, store and plans against a real PostgreSQL"
	"faults         replicas, databases, participants and networks that break (pytest)"
	"sdk            the packages for Python and TypeScript: types, vectors, real databases, real replicas"
	"e2e            end to end: real processes, a real PostgreSQL (pytest)"
)

run_build() { build_in build/plain "check TESTS="; }
run_clang() { build_in build/clang "check TESTS=" CC=clang CFLAGS='-O0 -Werror'; } # for its warnings alone
run_asan() { build_in build/asan "check TESTS=" --enable-sanitize CFLAGS='-Og -g1 -Werror'; }

check_in() {
	make -C "$1" -s -j 2 check >"$1/check.log" 2>&1 || {
		grep -hE '^(not ok|ERROR|FAIL|XPASS)|not ok ' "$1/check.log" >&2 || true
		tail -n 30 "$1/check.log" >&2
		say "details: $1/test-suite.log"
		return 1
	}
	grep -E '^# (TOTAL|PASS|SKIP|FAIL)' "$1/check.log" >&2
}
run_check() { check_in build/plain; }
run_check-asan() { check_in build/asan; }

tap_quietly() { # the failed lines and the last ones
	local log=${TAP_LOG:-build/tap-$stage.log}
	"$@" >"$log" || { grep -A40 -m1 '^not ok' "$log" >&2; tail -n 5 "$log" >&2; return 1; }
	tail -n 2 "$log" >&2
}
unmet() { grep -o '[a-z_]*=0(!)' "$1" | sort; } # what a long run of the simulator should have seen, and did not
run_sim() { # one half on each of two processors
	local half=$((SIM_SEEDS / 2)) unmet
	tap_quietly build/plain/tests/sim/sim.t 1 $half --part &
	TAP_LOG=build/tap-2.log tap_quietly build/plain/tests/sim/sim.t $((half + 1)) $half --part && wait $! || return
	unmet=$(comm -12 <(unmet build/tap-$stage.log) <(unmet build/tap-2.log))
	[ -z "$unmet" ] || { say "neither half has met:" $unmet; return 1; }
}
run_sim-asan() { tap_quietly build/asan/tests/sim/sim.t 100001 $SIM_SEEDS_ASAN; }
run_bugs() { srcdir=$root tap_quietly tests/sim/bugs.t; }

log_tests() { # log_tests DSN TEST…: in one go
	local dsn=$1 test failed=0
	shift
	for test in "$@"; do
		TAP_LOG=build/tap-$(basename "$test").log SAGAD_TEST_DSN=$dsn tap_quietly "build/asan/tests/$test.t" || failed=1
	done
	return $failed
}
run_log() { # each test has a database of its own; the first two wait for leases to end
	local dsn failed=0
	dsn=$(tools/postgres.sh start .dev/pg-log)
	log_tests "$dsn" conformance/pg_lease conformance/pg &
	log_tests "$dsn" conformance/pg_store conformance/pg_operate conformance/pg_dtm conformance/pg_nursery \
		conformance/pg_commit conformance/libsaga integration/plans || failed=1
	wait $! || failed=1
	tools/postgres.sh remove .dev/pg-log
	return $failed
}

# Two at a time: this machine may have no more than two processors.
run_fuzz() {
	local target
	mkdir -p build/fuzz
	for target in tests/fuzz/*.c; do basename "$target" .c; done | grep -v '^replay$' |
		xargs -P 2 -I{} tools/fuzz.sh {} "$FUZZ_SECONDS"
}

run_dist() {
	make -C build/plain -s dist >build/dist.log 2>&1 || { tail -n 20 build/dist.log >&2; return 1; }
	tools/dist.sh build/plain/sagad-*.tar.xz
}

run_pytest() { # its cache only remembers what failed
	local python=/usr/bin/python3 # the one that Debian's packages belong to
	SAGAD_BIN=$root/build/plain SAGAD_ASAN_BIN=${asan:-$root/build/asan} $python -m pytest -q -o cache_dir="$root/build/pytest" "$@"
}
# Tests of real processes wait for each other; a machine that is busy with something else can be too slow for one of
# them. What failed is told, and has to pass without neighbours.
run_pytest_twice() {
	rm -rf build/pytest
	run_pytest "$@" && return
	say "once more, without neighbours, what failed"
	run_pytest "$@" -n 0 --last-failed --last-failed-no-failures none
}
run_faults() { # mostly asleep: they wait for leases to end
	build_in build/plain tests/integration/sagad-next
	run_pytest_twice -n "${FAULT_WORKERS:-10}" tests/integration/faults
}
run_sdk() {
	local asan=$root/build/plain # nothing here runs the sanitized one
	build_plain
	{ npm_build participants/typescript compile && npm_build examples/trip; } &
	(cd participants/python && mypy --cache-dir "$root/build/mypy" >&2) && run_pytest participants/python/tests || return
	wait $! && run_pytest_twice -n 2 tests/integration/sdk
}
run_e2e() {
	tools/promtool.sh >/dev/null # fetched once, not by each worker
	tools/dtmcli.sh >/dev/null
	run_pytest_twice -n "${E2E_WORKERS:-4}" --ignore=tests/integration/faults --ignore=tests/integration/sdk tests/integration |
		tee build/e2e.out
}

if [ "${1:-}" = list ]; then
	printf '%s\n' "${stages[@]}"
	exit 0
fi
need_packages build run test node
is_wanted() { [ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " == *" $1 "* ]]; }
fail() { die "stage $1 failed; again with: ./dev test $1"; }
head_of() { head_line "$1: $(printf '%s\n' "${stages[@]}" | sed -n "s/^$1  *//p")"; }

# ---- beside others ----
beside=(clang fuzz dist sim sim-asan bugs)
waiting=(check check-asan log faults sdk e2e)
waits_for_any() { for name in log faults sdk e2e; do if is_wanted "$name"; then return; fi; done; false; }
is_of() { [[ " ${*:2} " == *" $1 "* ]]; }
start_beside() { # build/beside-NAME: what it says; NAME.end: its seconds, or that it failed
	chrt --idle -p 0 "$BASHPID" 2>/dev/null || true # whoever has waited and wakes up goes first
	for stage in "${beside[@]}"; do
		is_wanted "$stage" || continue
		local began=$SECONDS end=failed
		if (run_"$stage") >"build/beside-$stage" 2>&1; then
			end=$((SECONDS - began))
		else
			say "stage $stage has failed beside this one: told when this one is over"
		fi
		echo $end >"build/beside-$stage.end"
	done
}
tell_beside() { # those that have ended since; the argument: wait for all
	local name end
	for name in "${beside[@]}"; do
		is_wanted "$name" && ! is_of "$name" "${told[@]}" || continue
		until [ -s "build/beside-$name.end" ]; do
			[ "${1:-}" = all ] && kill -0 "$company" 2>/dev/null || break
			sleep 0.2
		done
		[ -s "build/beside-$name.end" ] || { [ "${1:-}" != all ] && return || fail "$name"; }
		head_of "$name"
		cat "build/beside-$name" >&2
		end=$(cat "build/beside-$name.end")
		[ "$end" != failed ] || fail "$name"
		told+=("$name")
		times+=("$(printf '%-12s %4d s beside others' "$name" "$end")")
	done
}
company=
stop_beside() { # a group of its own: its children with it
	if [ -n "$company" ]; then kill -- "-$company" 2>/dev/null || true; fi
}
trap stop_beside EXIT

wanted=("$@") times=() told=()
for row in "${stages[@]}"; do
	stage=${row%% *}
	is_wanted "$stage" || continue
	if is_of "$stage" "${beside[@]}" "${waiting[@]}" && [ -z "$company" ] && waits_for_any; then
		make_configure # not two at a time
		mkdir -p build && rm -f build/beside-*
		set -m
		start_beside &
		set +m
		company=$!
	fi
	if [ -n "$company" ] && is_of "$stage" "${beside[@]}"; then continue; fi
	head_of "$stage"
	began=$SECONDS
	run_"$stage" || fail "$stage"
	times+=("$(printf '%-12s %4d s' "$stage" $((SECONDS - began)))")
	[ -z "$company" ] || tell_beside
done
[ -z "$company" ] || tell_beside all
head_line "times"
printf '%s\n' "${times[@]}" >&2
printf '%-12s %4d s\n' "all" "$SECONDS" >&2
# What pytest said last closes the run.
if is_wanted e2e; then tail -n 1 build/e2e.out; fi
