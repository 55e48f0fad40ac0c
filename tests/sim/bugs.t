#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bugs.t - every planted bug (a BUG_ macro each) is found: by the simulator, or by the core's own
# random walk where the engine would stand in its way. A kept tape fails where its bug is planted.
#
# Whatever changes what a choice means makes tapes tell other stories: ./dev tapes makes those anew.
cd "${srcdir:-.}" || exit 99
cc=${CC:-cc}
seeds=${BUG_SEEDS:-400000}
few=400  # seeds, from the first known one on
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT INT TERM
flags='-std=c11 -D_GNU_SOURCE -O1 -w -I.'
said=$work/said # what is to be told of one bug
n=0 bad=0

say() {         # say STATUS SENTENCE
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; fi >>"$said"
}

tell() {        # tell FILE...: numbered
	while read -r line; do
		case $line in
		ok*) n=$((n + 1)) && echo "ok $n ${line#ok }" ;;
		not*) n=$((n + 1)) bad=1 && echo "not ok $n ${line#not ok }" ;;
		*) echo "$line" ;;
		esac
	done <<-SAID
		$(cat "$@")
	SAID
}

# Compiled once; only the files that know the macro are compiled again for it.
common='coordinator/base/*.c tests/lib/fake_*.c tests/sim/*.c coordinator/core/*.c coordinator/engine/*.c'
mkdir "$work/o"
for file in $common; do
	echo "$work/o/$(echo "$file" | tr / _).o $file"
done >"$work/list"
objects=$(cut -d ' ' -f 1 "$work/list")
xargs -P 2 -n 2 $cc $flags -c -o <"$work/list" || exit 99

# Rare bugs, and the first seed that finds each. When the world of the simulator changes, so does what a seed
# means: then all seeds are tried, which takes longer, and the new number is told, to be written down here.
first_seed() {  # first_seed MACRO
	case $1 in
	BUG_FIRST_BEGIN_IS_HIS) echo 1449 ;;
	BUG_MOVES_CANCEL) echo 251 ;;
	BUG_NO_HINTS) echo 2244 ;;
	BUG_OWES_FOR_ONE) echo 1677 ;;
	BUG_READS_OLD) echo 11548 ;;
	BUG_ROW_HELD_BY_THE_CLOCK) echo 139 ;;
	BUG_SECOND_BEGIN_AWAY) echo 2010 ;;
	BUG_TAKES_LATE) echo 123200 ;;
	*) echo 1 ;;
	esac
}

finds() {       # finds MACRO SEED COUNT, without the tapes
	srcdir=$work "$work/$1" "$2" "$3" --no-shrink >"$work/$1.out" 2>&1
	grep -qE '^not ok (1 )?- ' "$work/$1.out"
}

# tapes/some-thing.tape shows BUG_SOME_THING.
tape_of() {     # tape_of MACRO
	echo "tests/sim/tapes/$(echo "${1#BUG_}" | tr A-Z_ a-z-).tape"
}

shows() {       # shows MACRO: its tape fails in the program of that bug
	! srcdir=$work "$work/$1" --tape "$(tape_of "$1")" >"$work/$1.told" 2>&1
}

renew() {       # renew MACRO: its tape, from the seed that was found just now
	srcdir=$work "$work/$1" "$(sed -n 's/^not ok 1 - seed \([0-9]*\):.*/\1/p' "$work/$1.out")" 1 \
		--keep "$work/$1.kept" >/dev/null 2>&1
	sed "1s/\$/ ($1)/" "$work/$1.kept" >"$(tape_of "$1")"
}

simulator() {   # simulator MACRO: links $work/MACRO
	link=$objects
	for file in $(grep -l "$1" $common); do
		o=$work/o/$(echo "$file" | tr / _).o
		$cc $flags "-D$1" -c -o "$work/$1.$(basename "$file").o" "$file" || return 1
		link=$(echo "$link" | grep -vxF "$o")
		link="$link
$work/$1.$(basename "$file").o"
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

hunt() {        # hunt MACRO
	local macro=$1 first found
	simulator "$macro" || exit 99
	first=$(first_seed "$macro")
	finds "$macro" "$first" "$few" || { echo "# $macro: not from seed $first on" >>"$said"; finds "$macro" 1 "$seeds"; }
	found=$?
	say $found "$macro is found: $(sed -n 's/^not ok [0-9 ]*- //p' "$work/$macro.out" | head -n 1)"
	[ -f "$(tape_of "$macro")" ] || return 0
	shows "$macro" || { [ -n "$RENEW" ] && renew "$macro"; }
	shows "$macro"; say $? "and $(tape_of "$macro") shows it; if it does not: ./dev tapes"
}

# The engine never starts a second call on a step while one is open, whatever the core says.
for macro in BUG_CANCEL_WITH_OPEN_TRY; do
	walk "$macro" || exit 99
	"$work/$macro" >"$work/out" 2>&1
	[ $? != 0 ]; say $? "$macro is found by the random walk"
	walked="$walked $macro"
done
for macro in BUG_LOOKS_ALONE BUG_HELPS_ITSELF_SOON; do
	crowd "$macro" || exit 99
	"$work/$macro" >"$work/out" 2>&1
	[ $? != 0 ]; say $? "$macro is found among many replicas: $(sed -n 's/^not ok [0-9 ]*- //p' "$work/out" | head -n 1)"
	walked="$walked $macro"
done
tell "$said"
hunts=
for macro in $(grep -rho 'BUG_[A-Z_0-9]*' coordinator tests/sim/*.c tests/lib | sort -u); do
	case " $walked " in *" $macro "*) continue ;; esac
	hunts="$hunts $macro"
	firsts=$(printf '%s\n' $firsts "$(first_seed "$macro")" | sort -nu)
	if [ -f "$(tape_of "$macro")" ]; then kept=$((kept + 1)); fi
done
# Two at a time: each other one of the list.
for half in 1 2; do
	(
		turn=1
		for macro in $hunts; do
			said=$work/$macro.said
			[ $turn != $half ] || hunt "$macro"
			turn=$((3 - turn))
		done
	) &
	halves="$halves $!"
done
for pid in $halves; do wait "$pid" || exit 99; done
for macro in $hunts; do tell "$work/$macro.said"; done
said=$work/end
[ "$kept" = "$(ls tests/sim/tapes/*.tape | wc -l)" ]; say $? "every tape names a bug that is there"
simulator NO_BUG_AT_ALL || exit 99
# The same seeds, or what was found above may have been something else.
clean=0
for first in $firsts; do
	finds NO_BUG_AT_ALL "$first" "$few"
	grep -q '^ok 1 ' "$work/NO_BUG_AT_ALL.out" || clean=1
done
say $clean "and nothing is found where there is none"
tell "$said"
echo "1..$n"
exit $bad
