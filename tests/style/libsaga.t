#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libsaga: every function has a man page, every page is right about it, the service in the docs is one that compiles,
# and no line is too wide.
cd "${srcdir:-.}" || exit 99
n=0 bad=0

# none SENTENCE FOUND: nothing may have been found
none() {
	n=$((n + 1))
	if [ -n "$2" ]; then
		echo "not ok $n - $1"
		echo "$2" | sed 's/^/# /'
		bad=1
	else
		echo "ok $n - $1"
	fi
}

headers=$(ls participants/libsaga/saga/*.h)
pages='docs/libsaga.3 docs/saga_call.3 docs/saga_client.3 docs/saga_service.3'
api=$(mktemp) said=$(mktemp)
trap 'rm -f "$api" "$said"' EXIT
# Names declared with SAGA_API; a declaration may go on in the next line.
# shellcheck disable=SC2086
cat $headers | grep -oE '^SAGA_API [^(]*\(' | grep -oE 'saga_[a-z_]+\($' | tr -d '(' | sort >"$api"
# shellcheck disable=SC2086
sh docs/functions.sh $pages | cut -d ' ' -f 1 | sort >"$said"
n=$((n + 1))
if [ "$(wc -l <"$api")" -ge 45 ]; then echo "ok $n - there are functions"; else echo "not ok $n - there are functions"; bad=1; fi
none 'every function is in the synopsis of a page' "$(comm -23 "$api" "$said")"
none 'every function of a page is there' "$(comm -13 "$api" "$said")"
# shellcheck disable=SC2086
none 'every result, error and end is explained' "$(for word in SAGA_DONE SAGA_REFUSED SAGA_ONGOING SAGA_GONE SAGA_FAILED SAGA_SETTLED_KEPT SAGA_SETTLED_FORBIDDEN \
		SAGA_SETTLED_ERROR $(sed -n '/define SAGA_ERRORS/,/[^\\]$/s/^\tX(\([A-Z]*\),.*/SAGA_E_\1/p' \
			participants/libsaga/saga/error.h | grep -vx SAGA_E_NONE); do
		cat $pages | grep -q "$word" || echo "$word"
	done)"
none 'the service in docs/participants.md is examples/smallest.c' "$(
	sed -n '/^```c$/,/^```$/p' docs/participants.md | sed '1d;$d' >"$said"
	sed -n '/^#include <saga/,$p' examples/smallest.c | diff - "$said")"
# shellcheck disable=SC2086
none 'pages name the version' "$(for page in $pages; do
	grep -q "\"sagad $(sed -n 's/^AC_INIT(\[sagad\], \[\(.*\)\])/\1/p' configure.ac)\"" "$page" || echo "$page"
done)"
# With tabs of 8, and characters, not bytes.
none 'no line is wider than 100 columns' "$(find participants/libsaga examples tests/*/libsaga*.c \
	-name '*.[ch]' | sort | while read -r file; do
	expand "$file" | LC_ALL=C.UTF-8 grep -nE '.{101}' | sed "s|^|$file:|"
done)"
echo "1..$n"
exit $bad
