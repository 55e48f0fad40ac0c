#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The table of actions against docs/actions.md, the routes of the API and the commands of sagactl.
src=${srcdir:-.}
units=${builddir:-.}/tests/unit
page=$src/docs/actions.md
n=0 bad=0

same() { # same SENTENCE GOT WANTED
	n=$((n + 1))
	if [ -n "$3" ] && [ "$2" = "$3" ]; then
		echo "ok $n - $1"
		return
	fi
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# it says: /'
	echo "$3" | sed 's/^/# the table: /'
	bad=1
}

for tool in actions router ctl; do
	[ -x "$units/$tool.t" ] || { echo "Bail out! $units/$tool.t is not there"; exit 99; }
done
table=$("$units/actions.t" --table)
rows=$(echo "$table" | sed -n 's/^| `\([a-z]*\)` | \(a step\|the whole\) | \([a-z ]*\) |.*/\1:\2:\3/p')

same "docs/actions.md has the table ($units/actions.t --table prints it)" "$(grep '^|' "$page")" "$table"

# What participants report back, and steps that join, are no actions of this table.
same 'each has its route, of a step or of the whole, and no other route acts on one transaction' \
	"$("$units/router.t" --list | awk -F'\t' '
		$2 ~ /^\/v1\/transactions\/\{gid\}\// && $1 == "POST" && $2 !~ /\/(steps|complete|fail)$/ {
			name = $2; sub(/.*\//, "", name)
			print name ":" ($2 ~ /\/steps\// ? "a step" : "the whole") }
		$1 == "PATCH" && $2 == "/v1/transactions/{gid}/steps/{step}" { print "patch:a step" }' | sort)" \
	"$(echo "$rows" | cut -d: -f1,2 | sort)"

# To confirm is its caller's. --confirm: the gid typed again.
same 'each that is a person'"'"'s has its command in sagactl, which asks for the gid where the table does' \
	"$("$units/ctl.t" --man | awk '
		/^\\fBtxn / { name = $2; sub(/\\fR.*/, "", name); step = / STEP/ ? "a step" : "the whole" }
		/^Flags: / && name != "" {
			if (/\\-\\-reason/) print name ":" step ":" (/\\-\\-confirm/ ? "typed" : "no")
			name = "" }' | sort)" \
	"$(echo "$rows" | grep -v '^confirm:' | sed 's/:yes$/:typed/; s/:with a url$/:typed/' | sort)"

echo "1..$n"
exit $bad
