#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dist.t - Makefile.am keeps the list of what is released by hand: it has all that git has, and nothing that git ignores.
# DIST_WITHOUT=name: as if that line were missing in the list.
srcdir=${srcdir:-.}
git() { command git -c safe.directory='*' -C "$srcdir" "$@"; }
if [ ! -e "$srcdir/.git" ] || ! git ls-files >/dev/null 2>&1; then
	echo "1..0 # SKIP no checkout of git"
	exit 0
fi
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

# What make dist would copy: files, and folders with all that is in them.
${MAKE:-make} -s --no-print-directory --eval='tell-distfiles: ; @printf "%s\n" $(DISTFILES) srcdir=$(srcdir)' tell-distfiles \
	>"$work/make" || exit 99
top=$(sed -n 's/^srcdir=//p' "$work/make")
sed "/^srcdir=/d; s|^$top/||" "$work/make" | grep -vxF "${DIST_WITHOUT:-srcdir}" | sort -u >"$work/dist"
git ls-files | grep -v '^\.git' >"$work/git"

left=$(awk 'NR == FNR { released[$0] = 1; next }
	{ for (path = $0; path != "" && !(path in released);) if (!sub("/[^/]*$", "", path)) path = "" }
	path == ""' "$work/dist" "$work/git")
if [ -z "$left" ]; then
	echo "ok 1 - each file of git is in the release: $(wc -l <"$work/git") files"
else
	echo "not ok 1 - each file of git is in the release: a list of Makefile.am has to name"
	echo "$left" | sed 's/^/#   /'
fi
junk=$(while read -r path; do
	[ ! -d "$srcdir/$path" ] || git ls-files --others --ignored --exclude-standard "$path"
done <"$work/dist" | grep -v '/__pycache__/') # dist-hook throws that away
if [ -z "$junk" ]; then
	echo "ok 2 - folders that are released whole have nothing else in them"
else
	echo "not ok 2 - folders that are released whole have nothing else in them, but here"
	echo "$junk" | sed 's/^/#   /'
fi
echo "1..2"
[ -z "$left$junk" ]
