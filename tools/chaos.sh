#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# chaos.sh - the long run of the fault suite: a schedule of faults drawn from a seed. --help tells the rest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
. tools/common.sh

need_packages build run test
build_plain
build_in build/plain tests/integration/sagad-next
[[ " $* " != *" --sanitized "* ]] || build_in build/asan all --enable-sanitize CFLAGS='-O1 -g -Werror'
export SAGAD_BIN=$root/build/plain SAGAD_ASAN_BIN=$root/build/asan SAGAD_TEST_PORTS=${SAGAD_TEST_PORTS:-19000}
cd tests/integration
exec /usr/bin/python3 -m faults.chaos "$@"
