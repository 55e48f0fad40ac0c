#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh - writes the migrations given as arguments, in their order, as a C table (sql/migrations.h).
set -eu
echo '/* Made by sql/embed.sh. */'
echo '#include "sql/migrations.h"'
echo
echo 'const struct migration migrations[] = {'
n=0
for file in "$@"; do
	n=$((n + 1))
	name=$(basename "$file" .sql)
	case $name in
	"$(printf '%04d' "$n")"_*) ;;
	*) echo "embed.sh: $file is not migration number $n" >&2; exit 1 ;;
	esac
	oldest=$(sed -n 's/^-- oldest: \([0-9]\{1,4\}\)$/\1/p' "$file")
	if [ $n = 1 ]; then oldest=1; fi # nothing is older
	if [ -z "$oldest" ] || [ "$oldest" -gt $n ]; then
		echo "embed.sh: $file needs a line \"-- oldest: N\" (sql/README.md)" >&2
		exit 1
	fi
	printf '\t{ %d, %d, "%s",\n' "$n" "$oldest" "$name"
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t  "/' -e 's/$/\\n"/' "$file"
	printf '\t},\n'
done
echo '};'
echo
echo 'const size_t migration_count = sizeof migrations / sizeof migrations[0];'
