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

# A service of somebody else's, with nothing but what was installed.
mkdir "$work/elsewhere"
cd "$work/elsewhere"
export PKG_CONFIG_PATH=$work/installed/lib/pkgconfig
read -ra flags <<<"$(pkg-config --cflags saga-mhd)"
read -ra libs <<<"$(pkg-config --libs saga-mhd)"
cp "$source/examples/smallest.c" .
run cc -std=gnu11 -Wall -Wextra -Werror "${flags[@]}" -o shared smallest.c "${libs[@]}"
run cc -std=gnu11 -Wall -Wextra -Werror "${flags[@]}" -o static smallest.c -l:libsaga-mhd.a -l:libsaga.a \
	"${libs[@]}" -lcurl -lcrypto
for kind in shared static; do # no arguments: it says so, and so it was linked
	said=$(LD_LIBRARY_PATH=$work/installed/lib ./$kind 2>&1) && exit 1
	[[ $said == usage:* ]] || { echo "a $kind service says: $said" >&2; exit 1; }
done
ldd ./static | grep -q libsaga && { echo "the static service is not" >&2; exit 1; }
printf '#include <saga/saga.h>\n#include <saga/mhd.h>\nint main(void)\n{\n\treturn 0;\n}\n' >headers.c
run cc -std=c99 -Wall -Wextra -pedantic -Werror "${flags[@]}" -o headers headers.c
run c++ -x c++ -std=c++17 -Wall -Wextra -pedantic -Werror "${flags[@]}" -o headers headers.c
# Each function of the installed headers has a page of its name, which leads to one that speaks of it.
man=$work/installed/share/man functions=0
for name in $(cat "$work"/installed/include/saga/*.h | grep -oE '^SAGA_API [^(]*\(' | grep -oE 'saga_[a-z_]+\($' | tr -d '('); do
	functions=$((functions + 1))
	page=$(sed -n 's/^\.so //p' "$man/man3/$name.3") && grep -q "$name(" "$man/$page" || { echo "no man page of $name" >&2; exit 1; }
done
[ "$functions" -ge 45 ] || { echo "the headers declare $functions functions" >&2; exit 1; }
cd "$work/out"

run make -s uninstall
left=$(find "$work/installed" -type f -o -type l)
[ -z "$left" ] || { echo "uninstall left: $left" >&2; exit 1; }
