#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# builds.t - what ./dev makes anew, and what it leaves: build_in() of tools/common.sh, on a tree whose configure is told by a tool.
here=$(cd "${srcdir:-.}" && pwd) || exit 99
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL # of who runs this
later() { sleep 0.02; } # than what was written before, by the clock of a file system
n=0 bad=0

check() { # check SENTENCE GOT WANTED
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		printf '# got    %s\n# wanted %s\n' "$2" "$3"
		bad=1
	fi
}

# Its object is the sentence in its source, and the Makefile names its folder as those of automake do.
make_tree() {
	mkdir -p "$1/tools"
	cp "$here/tools/common.sh" "$1/tools/"
	echo "$2" >"$1/source"
	touch -d '1 minute ago' "$1/configure.ac" "$1/Makefile.am" "$1/source"
	cat >"$1/configure" <<-'CONFIGURE'
		#!/bin/sh
		src=$(cd "$(dirname "$0")" && pwd)
		printf 'abs_builddir = %s\nall: object\nobject: %s/source\n\tcp $< $@\n' "$(pwd)" "$src" >Makefile
		echo "$*" >config.status
		echo . >>configured
	CONFIGURE
	chmod +x "$1/configure"
	touch "$1/Makefile.in"
	later
}

build() { # build TREE [ARGUMENTS…]: as ./dev does; how often was its folder configured, and what is in it?
	local tree=$1
	shift
	(root=$tree && cd "$root" && . tools/common.sh && build_in build/it all "$@") 2>>"$work/said" || echo failed
	echo "$(wc -l <"$tree/build/it/configured") $(cat "$tree/build/it/object")"
}

make_tree "$work/one" first
check 'a tree is configured and compiled' "$(build "$work/one")" '1 first'
check 'what stands there is used again' "$(build "$work/one")" '1 first'
later
echo changed >"$work/one/source"
check 'what has changed is compiled' "$(build "$work/one")" '1 changed'
later
touch "$work/one/configure"
check 'a newer configure runs in it again' "$(build "$work/one")" '2 changed'

cp -a "$work/one" "$work/two"
later
echo second >"$work/two/source"
check 'in a copy of the tree the folder is made anew: else the sources of the first would be compiled' \
	"$(build "$work/two" --quick)" '1 second'
check 'and with what it is to be configured' "$(cat "$work/two/build/it/config.status")" '-q --quick'
check 'the first is as it was' "$(build "$work/one")" '2 changed'
mv "$work/two" "$work/three"
check 'so in a tree that was moved' "$(build "$work/three")" '1 second'
mkdir "$work/linked" && ln -s "$work/one" "$work/linked/tree"
check 'another way to the same folder is no other tree' "$(build "$work/linked/tree")" '2 changed'
check 'both times it was said' "$(grep -c 'build/it was configured in another tree' "$work/said")" 2
echo "1..$n"
exit $bad
