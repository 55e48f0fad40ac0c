#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh TARGET SECONDS - builds tests/fuzz/TARGET.c with libFuzzer and lets it run from its corpus.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target=$1 seconds=$2
out=build/fuzz/$target
mkdir -p "$out/found"
# All that a fuzz target may reach: no I/O in it, so no library but libcrypto.
clang -std=c11 -D_GNU_SOURCE -DFUZZ_WITH_LIBFUZZER -O1 -g -I. -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	-o "$out/run" "tests/fuzz/$target.c" coordinator/base/*.c coordinator/core/*.c coordinator/engine/*.c \
	participants/*.c coordinator/io/response.c \
	api/problem.c api/query.c api/router.c api/start.c -lcrypto -lm 2>"$out/build.log" || { cat "$out/build.log" >&2; exit 1; }
if ! "$out/run" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
	-artifact_prefix="$out/" "$out/found" "tests/fuzz/corpus/$target" >"$out/run.log" 2>&1; then
	tail -n 40 "$out/run.log" >&2
	echo "fuzz $target: found something; the input is in $out/, the corpus in tests/fuzz/corpus/$target" >&2
	exit 1
fi
printf 'fuzz %-12s %s\n' "$target" "$(grep -E 'number_of_executed_units' "$out/run.log" | tr -s ' ')" >&2
