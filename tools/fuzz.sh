#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh TARGET SECONDS - builds tests/fuzz/TARGET.c with libFuzzer and lets it run from its corpus, for so many
# seconds of a processor: what else the machine does takes nothing away.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target=$1 seconds=$2
out=build/fuzz/$target
mkdir -p "$out/found"
flags="-std=c11 -D_GNU_SOURCE -DFUZZ_WITH_LIBFUZZER -O1 -g -I. -fno-sanitize-recover=all"

# All that a fuzz target may reach: no I/O in it, so no library but libcrypto. Compiled once for all targets,
# as an archive: what a target defines itself takes the place of ours.
common=build/fuzz/common
compile_common() {
	local sources=(coordinator/base/*.c coordinator/core/*.c participants/*.c
		participants/libsaga/answer.c participants/libsaga/call.c participants/libsaga/fill.c participants/libsaga/fill_hole.c participants/libsaga/json.c
		participants/libsaga/problem.c participants/libsaga/sign.c participants/libsaga/text.c
		coordinator/io/response.c api/actions.c api/head.c api/problem.c api/query.c api/router.c api/show.c api/start.c api/dtm/*.c)
	if [ -e $common/made ] && [ -z "$(find coordinator participants api sql -newer $common/made -name '*.[ch]')" ]; then return; fi
	rm -rf $common
	mkdir -p $common
	printf '%s\n' "${sources[@]}" | xargs -P 2 -I{} sh -c \
		'clang '"$flags"' -fsanitize=fuzzer-no-link,address,undefined -c -o '$common'/"$(echo {} | tr / _)".o {} 2>>'$common'/log' &&
		rm -f $common/all.a && ar rcs $common/all.a $common/*.o && touch $common/made
}
exec 9>build/fuzz/lock
flock 9 # targets run side by side
compile_common && clang $flags -fsanitize=fuzzer,address,undefined -o "$out/run" "tests/fuzz/$target.c" $common/all.a \
	-lcrypto -lm 2>"$out/build.log" || { cat $common/log "$out/build.log" >&2; exit 1; }
exec 9>&-
ticks=$((seconds * $(getconf CLK_TCK)))
"$out/run" -timeout=30 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
	-artifact_prefix="$out/" "$out/found" "tests/fuzz/corpus/$target" >"$out/run.log" 2>&1 &
fuzzer=$!
trap 'kill $fuzzer 2>/dev/null || true' EXIT
while read -ra stat <"/proc/$fuzzer/stat" && ((stat[13] + stat[14] < ticks)) && [ "${stat[2]}" != Z ]; do sleep 0.2; done 2>/dev/null
kill -USR1 $fuzzer 2>/dev/null || true # it says what it did, and ends
if ! wait $fuzzer; then
	tail -n 40 "$out/run.log" >&2
	echo "fuzz $target: found something; the input is in $out/, the corpus in tests/fuzz/corpus/$target" >&2
	exit 1
fi
printf 'fuzz %-12s %s\n' "$target" "$(grep -E 'number_of_executed_units' "$out/run.log" | tr -s ' ')" >&2
