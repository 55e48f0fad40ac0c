#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# barrier: the version that a script of the barrier gives itself follows from what is in it, so that
# nobody can change one and forget that databases have the old one.
cd "${srcdir:-.}" || exit 99
n=0 bad=0
for file in sql/barrier/postgresql.sql sql/barrier/mariadb.sql; do
	n=$((n + 1))
	says=$(sed -n "s/.*sagad_barrier_version().*SELECT '\([0-9a-f]*\)'.*/\1/p" "$file")
	is=$(grep -v 'sagad_barrier_version()' "$file" | sha256sum | cut -c 1-8)
	if [ "$says" = "$is" ]; then
		echo "ok $n - $file knows its version"
	else
		echo "not ok $n - $file says $says, its version is $is"
		bad=1
	fi
done
echo "1..$n"
exit $bad
