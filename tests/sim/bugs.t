#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bugs.t - every planted bug (a BUG_ macro each) is found: by the simulator, or by the core's own
# random walk where the engine would stand in its way.
cd "${srcdir:-.}" || exit 99
cc=${CC:-cc}
seeds=${BUG_SEEDS:-30000}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT INT TERM
flags='-std=c11 -D_GNU_SOURCE -O1 -w -I.'
n=0 bad=0

ok() {          # ok STATUS SENTENCE
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=1; fi
}

# Compiled once; only the files that know the macro are compiled again for it.
common='coordinator/base/*.c tests/lib/fake_*.c tests/sim/*.c coordinator/core/*.c coordinator/engine/*.c'
mkdir "$work/o"
objects=
for file in $common; do
	o=$work/o/$(echo "$file" | tr / _).o
	$cc $flags -c -o "$o" "$file" || exit 99
	objects="$objects $o"
done

simulator() {   # simulator MACRO: links $work/MACRO
	link=$objects
	for file in $(grep -l "$1" $common); do
		o=$work/o/$(echo "$file" | tr / _).o
		$cc $flags "-D$1" -c -o "$work/$1.$(basename "$file").o" "$file" || return 1
		link=$(echo "$link" | sed "s|$o||")
		link="$link $work/$1.$(basename "$file").o"
	done
	$cc -o "$work/$1" $link -lcrypto
}

walk() {        # walk MACRO: the random walk over the core
	$cc $flags "-D$1" -o "$work/$1" tests/unit/txn_random.c coordinator/core/*.c
}

crowd() {       # crowd MACRO: many replicas, whose bugs cost time and not correctness
	$cc $flags "-D$1" -o "$work/$1" tests/unit/crowd.c tests/lib/fake_*.c coordinator/engine/*.c \
		coordinator/core/*.c coordinator/base/*.c -lcrypto
}

# The engine never starts a second call on a step while one is open, whatever the core says.
for macro in BUG_CANCEL_WITH_OPEN_TRY; do
	walk "$macro" || exit 99
	"$work/$macro" >"$work/out" 2>&1
	[ $? != 0 ]; ok $? "$macro is found by the random walk"
	walked="$walked $macro"
done
for macro in BUG_LOOKS_ALONE BUG_HELPS_ITSELF_SOON; do
	crowd "$macro" || exit 99
	"$work/$macro" >"$work/out" 2>&1
	[ $? != 0 ]; ok $? "$macro is found among many replicas: $(sed -n 's/^not ok [0-9 ]*- //p' "$work/out" | head -n 1)"
	walked="$walked $macro"
done
for macro in $(grep -rho 'BUG_[A-Z_0-9]*' coordinator tests/sim/*.c | sort -u); do
	case " $walked " in *" $macro "*) continue ;; esac
	simulator "$macro" || exit 99
	"$work/$macro" 1 "$seeds" --no-shrink >"$work/out" 2>&1
	grep -qE '^not ok (1 )?- ' "$work/out"; found=$?
	ok $found "$macro is found: $(sed -n 's/^not ok [0-9 ]*- //p' "$work/out" | head -n 1)"
done
simulator NO_BUG_AT_ALL || exit 99
"$work/NO_BUG_AT_ALL" 1 "$seeds" --no-shrink >"$work/out" 2>&1
grep -q '^ok 1 ' "$work/out"; ok $? "and nothing is found where there is none"
echo "1..$n"
exit $bad
