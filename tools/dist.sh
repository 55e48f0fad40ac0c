#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dist.sh TARBALL - does the release build and install in a read-only, out-of-tree place?
set -euo pipefail
tarball=$(realpath "$1")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
tar xJf "$tarball"
source=$(echo "$work"/sagad-*)
chmod -R a-w "$source"
mkdir out
cd out
run() { "$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; echo "failed: $*" >&2; exit 1; }; }
run "$source/configure" -q --prefix="$work/installed" CFLAGS=-O0
run make -s -j "$(nproc)"
run make -s install
"$work/installed/bin/sagad" --version >&2
run make -s uninstall
left=$(find "$work/installed" -type f)
[ -z "$left" ] || { echo "uninstall left: $left" >&2; exit 1; }
