#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One word per idea: the tables of the core against SQL and ARCHITECTURE.md.
cd "${srcdir:-.}" || exit 99
n=0 bad=0

same() { # same SENTENCE GOT WANTED
	n=$((n + 1))
	if [ -n "$3" ] && [ "$2" = "$3" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "# got    $2"
		echo "# wanted $3"
		bad=1
	fi
}

# The texts of one X-macro table of txn.h: its second column.
words() {
	awk -v table="#define $1(X)" 'index($0, table) { on = 1; next }
		on && match($0, /X\([A-Z_]+, *"[a-z_]+"/) { s = substr($0, RSTART, RLENGTH); gsub(/.*, *"|"/, "", s); print s }
		on && !/\\$/ { on = 0 }' coordinator/core/txn.h
}
# The phases of that table whose third column is true.
ended() { sed -n 's/.*X([A-Z]*, *"\([a-z]*\)", *true,.*/\1/p' coordinator/core/txn.h; }
line() { paste -sd' ' -; }
# The words of a CHECK in the schema, as the last migration left it.
check_of() {
	cat sql/0*.sql | tr -d '\n' | grep -oE "CONSTRAINT $1 CHECK[^;]*" | tail -n 1 | sed "s/CONSTRAINT $1//; s/CONSTRAINT .*//" |
		grep -oE "'[{a-z_,}]+'" | tr -d "'{}" | tr ',' '\n'
}
# The phases in which a statement says that a row has ended.
ended_in_sql() { sed -n 's/^#define IS_ENDED(.*{\([a-z,]*\)}.*/\1/p' sql/statements.h | tr ',' '\n'; }
moves() { sed -n 's/.*X(\([A-Z]*\), *\([A-Z]*\), *".*/\1 \2/p' coordinator/core/txn.h | tr 'A-Z' 'a-z'; }

same 'the phases of the SQL schema are those of the core' "$(check_of phase_word | line)" "$(words TXN_PHASES | line)"
same 'so are the reasons to be stuck' "$(check_of stuck_word | line)" "$(words TXN_STUCKS | line)"
same 'so are the verdicts on commands' "$(check_of inbox_verdict | line)" "$(words TXN_VERDICTS | line)"
same 'a row has ended in exactly the phases that the core calls ended' "$(ended_in_sql | line)" "$(ended | line)"
for table in TXN_PHASES TXN_OPS STEP_KINDS TXN_OUTCOMES; do
	missing=$(for w in $(words $table); do grep -q "\`$w\`" ARCHITECTURE.md || echo "$w"; done)
	same "ARCHITECTURE.md explains the words of $table" "missing: $missing, of: $(words $table | line)" "missing: , of: $(words $table | line)"
done
undrawn=$(moves | while read -r from to; do
	grep -qE "\b$from\b.*\b$to\b" ARCHITECTURE.md || echo "$from->$to"
done)
same 'ARCHITECTURE.md has every legal move' "undrawn: $undrawn, of $(moves | wc -l)" "undrawn: , of $(moves | wc -l)"
echo "1..$n"
exit $bad
