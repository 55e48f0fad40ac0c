#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One version: configure.ac says it, and everything else that is released names the same.
cd "${srcdir:-.}" || exit 99
n=0 bad=0
version=$(sed -n 's/^AC_INIT(\[sagad\], \[\(.*\)\])/\1/p' configure.ac)

names() { # names FILE SED: what that prints of FILE is the version, and nothing else
	n=$((n + 1))
	told=$(sed -n "$2" "$1" | sort -u | paste -sd' ' -)
	if [ -n "$version" ] && [ "$told" = "$version" ]; then
		echo "ok $n - $1 names the version of configure.ac"
	else
		echo "not ok $n - $1 names the version of configure.ac"
		echo "# got    $told"
		echo "# wanted $version"
		bad=1
	fi
}

names participants/python/pyproject.toml 's/^version = "\(.*\)"$/\1/p'
names participants/typescript/package.json 's/^  "version": "\(.*\)",$/\1/p'
names participants/typescript/README.md 's/.*sagad-\([0-9.]*\)\.tgz.*/\1/p'
# Of the file and of the package in it; those of others are indented further, or below another name.
names participants/typescript/package-lock.json '1,12s/^ *"version": "\(.*\)",$/\1/p'
names CHANGELOG.md '/^## /{s/^## \([0-9.]*\).*/\1/p;q}'
for page in docs/*.[1-8]; do
	names "$page" 's/^\.TH .*"sagad \([0-9.]*\)".*/\1/p'
done
echo "1..$n"
exit $bad
