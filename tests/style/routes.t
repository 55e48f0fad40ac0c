#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tables of routes and errors against openapi.yaml and docs/api.md.
src=${srcdir:-.}
tool=${builddir:-.}/tests/unit/router.t
openapi=$src/api/openapi.yaml page=$src/docs/api.md
n=0 bad=0

same() { # same SENTENCE GOT WANTED
	n=$((n + 1))
	if [ -n "$3" ] && [ "$2" = "$3" ]; then
		echo "ok $n - $1"
		return
	fi
	echo "not ok $n - $1"
	echo "$2" >"$tmp.got"
	echo "$3" >"$tmp.want"
	diff "$tmp.got" "$tmp.want" | sed 's/^/# /' # < is what it says, > what the table has
	bad=1
}

tmp=$(mktemp)
trap 'rm -f "$tmp" "$tmp.got" "$tmp.want"' EXIT
"$tool" --list >"$tmp" || { echo "Bail out! $tool does not run"; exit 99; }
tab=$(printf '\t')

same 'openapi.yaml has every route and no other, with its name, role and summary' \
	"$(awk '
		/^components:/ { exit }
		/^  \/.*:$/ { path = $1; sub(/:$/, "", path) }
		/^    (get|put|post|patch|delete):$/ { method = toupper($1); sub(/:$/, "", method) }
		/^      operationId: / { name = $2 }
		/^      summary: / { summary = $0; sub(/^      summary: /, "", summary) }
		/^      x-sagad-role: / { print method "\t" path "\t" name "\t" $2 "\t" summary }' "$openapi" | sort)" \
	"$(grep -v "^problem$tab" "$tmp" | cut -f 1-4,6 | sort)"

same 'and asks, by its security, for that role' \
	"$(awk '
		/^components:/ { exit }
		/^      operationId: / { name = $2 }
		/^      security: / { sub(/^      security: /, ""); print name "\t" $0 }' "$openapi" | sort)" \
	"$(grep -v "^problem$tab" "$tmp" | awk -F'\t' '{
		n = split($4, roles, "/")
		out = ""
		for (s = 1; s <= 2; s++)
			for (i = 1; i <= n; i++)
				out = out (out ? ", " : "") "{ " (s == 1 ? "bearer" : "certificate") ": [" roles[i] "] }"
		if ($4 == "public") out = ""
		if ($4 == "replica") out = "{ replica: [] }"
		print $3 "\t[" out "]" }' | sort)"

same 'the codes of its Problem are those of the table' \
	"$(awk '/^    Code:$/ { on = 1 } on && /^        - / { print $2 }' "$openapi" | sort)" \
	"$(sed -n "s/^problem$tab\([a-z_]*\)$tab.*/\1/p" "$tmp" | sort)"

same 'docs/api.md lists every route' \
	"$(sed -n 's/^| \([A-Z]*\) | `\([^`]*\)` | \([a-z/]*\) | \(.*\) |$/\1 \2 \3 \4/p' "$page" | sort)" \
	"$(grep -v "^problem$tab" "$tmp" | awk -F'\t' '{ print $1, $2, $4, $6 }' | sort)"

same 'and every error' \
	"$(sed -n 's/^| `\([a-z_]*\)` | \([0-9]*\) | \(.*\) |$/\1 \2 \3/p' "$page" | sort)" \
	"$(awk -F'\t' '$1 == "problem" { print $2, $3, $4 }' "$tmp" | sort)"

echo "1..$n"
exit $bad
