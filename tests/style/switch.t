#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Form that a compiler does not check: no default: over our enums, whole files, long lines.
cd "${srcdir:-.}" || exit 99
n=0 bad=0
files=$(find api coordinator participants sagactl examples -name '*.[ch]' | sort)

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

[ -n "$files" ] || exit 99
# With a default: the compiler no longer says which value was forgotten. Over characters and numbers
# it is right: those switches begin with case 'x' or case 200.
none 'no default: over our enums' "$(awk '
	/switch \(/ { ours = 0 }
	/^[[:space:]]*case [A-Z]/ { ours = 1 }
	/^[[:space:]]*default:/ && ours { print FILENAME ":" FNR ":" $0 }' $files)"
none 'structs are not typedefs' "$(grep -nE '^typedef (struct|union|enum) [a-z_0-9]+ ?(\{|[a-z_0-9]+;)' $files)"
none 'every file names its licence' "$(for f in $files; do
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f"
done)"
none 'no file is longer than 800 lines' "$(wc -l $files | awk '$2 != "total" && $1 > 800')"
none 'no function is longer than 100 lines' "$(awk '
	/^\{/ { start = FNR }
	/^\}/ && start { if (FNR - start > 100) print FILENAME ":" start ": " FNR - start " lines"; start = 0 }' $files)"
none 'nothing is left to do' "$(grep -nE 'TODO|FIXME|XXX' $files)"
echo "1..$n"
exit $bad
