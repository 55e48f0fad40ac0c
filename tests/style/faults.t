#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/faults.md names a test for every fault, each of them exists, and no fault test is left out.
cd "${srcdir:-.}" || exit 99
page=docs/faults.md folder=tests/integration/faults
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -oE 'test_[a-z0-9_]+\.py::test_[a-z0-9_]+' "$page" | sort -u >"$work/named"
tests_of() { # file
	sed -nE "s/^def (test_[a-z0-9_]+)\(.*/$(basename "$1")::\1/p" "$1"
}
for file in "$folder"/test_*.py; do
	case $file in */test_chaos.py | */test_ledger.py | */test_participant.py) continue ;; esac # of the suite itself
	tests_of "$file"
done | sort -u >"$work/there"
for file in "$folder"/test_*.py tests/integration/test_*.py; do tests_of "$file"; done | sort -u >"$work/any"

report() { # number, sentence, file of offenders
	if [ -s "$3" ] || [ ! -s "$work/there" ]; then
		echo "not ok $1 - $2"
		sed 's/^/# /' "$3"
		bad=1
	else
		echo "ok $1 - $2"
	fi
}
bad=0
comm -23 "$work/named" "$work/any" >"$work/gone"
comm -13 "$work/named" "$work/there" >"$work/unnamed"
report 1 'every test that docs/faults.md names exists' "$work/gone"
report 2 'every fault test is named in docs/faults.md' "$work/unnamed"
# A table whose last column is "test" is one of faults.
awk -F'|' '/^\|/ { last = $(NF - 1); gsub(/ /, "", last)
	if (!table) { table = 1; faults = last == "test" }
	else if (faults && $0 !~ /^\|[-| :]+$/ && last !~ /::test_/) print FNR ": " $0
	next } { table = 0 }' "$page" >"$work/untested"
report 3 'every row of a fault names its test' "$work/untested"
echo 1..3
exit $bad
