#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/metrics.md, the alert rules, their runbook pages and the dashboard against the table of metrics.
src=${srcdir:-.}
tool=${builddir:-.}/tests/unit/metrics.t
page=$src/docs/metrics.md rules=$src/deploy/prometheus/sagad.rules.yml board=$src/deploy/grafana/sagad.json
n=0 bad=0

say() { # say STATUS SENTENCE [FILE WITH WHY]
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		[ -z "$3" ] || sed 's/^/# /' "$3"
		bad=1
	fi
}

tmp=$(mktemp)
trap 'rm -f "$tmp" "$tmp.have" "$tmp.want" "$tmp.why"' EXIT
"$tool" --list >"$tmp" || { echo "Bail out! $tool does not run"; exit 99; }

"$tool" --markdown >"$tmp.want"
sed -n '/^<!-- made by tests\/unit\/metrics.t --markdown -->$/,/^<!-- end -->$/p' "$page" | sed -e 1d -e '$d' >"$tmp.have"
diff "$tmp.have" "$tmp.want" >"$tmp.why"
say $? "docs/metrics.md has every metric of the table and no other (tests/unit/metrics.t --markdown prints it)" "$tmp.why"
say $(($(wc -l <"$tmp") < 50)) "there are $(wc -l <"$tmp") of them"

# Each reason that the core knows.
sed -n '/^#define TXN_STUCKS(X)/,/^$/p' "$src/coordinator/core/txn.h" | tr -d '\n\t\\' | grep -o 'X([A-Z_]*, *"[a-z_]*"' |
	sed 's/.*"\(.*\)"/`\1`/; /`none`/d' | sort >"$tmp.want"
tr '\n' ' ' <"$page" | grep -o 'is the `stuck` of those transactions: .*The counter grows' | grep -oE '`[a-z_]+` \(' | tr -d ' (' | sort >"$tmp.have"
diff "$tmp.have" "$tmp.want" >"$tmp.why" && [ -s "$tmp.want" ]
say $? "docs/metrics.md says what each of $(wc -l <"$tmp.want") reasons to be stuck means" "$tmp.why"

# Names as samples have them: a histogram gives three.
{
	cut -f 1 "$tmp"
	awk -F '\t' '$2 == "histogram" { print $1 "_bucket"; print $1 "_sum"; print $1 "_count" }' "$tmp"
} | sort >"$tmp.want"

used() { # used SENTENCE FILE: each metric that stands in it exists
	grep -v '^ *\(#\|- alert:\|runbook_url:\|- name:\|- record:\)' "$2" | grep -oE '\b(sagad|process)_[a-z_]+\b' | sort -u >"$tmp.have"
	comm -23 "$tmp.have" "$tmp.want" >"$tmp.why"
	[ -s "$tmp.have" ] && [ ! -s "$tmp.why" ]
	say $? "$1" "$tmp.why"
}
if [ -e "$rules" ]; then
	used 'alert rules ask for metrics that exist' "$rules"
	sed -n 's/^ *- alert: //p' "$rules" | sort >"$tmp.have"
	sort -u "$tmp.have" | cmp -s - "$tmp.have"
	say $? "each of $(wc -l <"$tmp.have") alerts has a name of its own"
	find "$src/docs/runbooks" -name '[A-Z]*.md' -not -name README.md | sed 's|.*/||; s|\.md$||' | sort >"$tmp.want.pages"
	diff "$tmp.have" "$tmp.want.pages" >"$tmp.why"
	say $? 'each alert has a runbook page, and each page an alert' "$tmp.why"
	rm -f "$tmp.want.pages"
	for part in 'runbook_url: .*docs/runbooks/[A-Za-z]*\.md' 'summary: .*' 'description: .*' 'severity: \(page\|ticket\)'; do
		[ "$(grep -c "^ *$part" "$rules")" = "$(wc -l <"$tmp.have")" ]
		say $? "each alert has: ${part%%:*}"
	done
	awk '/- alert:/ { name = $3 } /^ *runbook_url:/ { sub(/.*\//, ""); sub(/\.md.*/, ""); if ($0 != name) print name }' "$rules" >"$tmp.why"
	[ ! -s "$tmp.why" ]
	say $? 'and leads to its own page' "$tmp.why"
	: >"$tmp.why"
	for file in "$src"/docs/runbooks/[A-Z]*.md; do
		[ "${file##*/}" = README.md ] && continue
		for part in '# ' '## Meaning' '## Impact' '## Look' '## Do' '## Verify'; do
			grep -q "^$part" "$file" || echo "${file##*/}: $part" >>"$tmp.why"
		done
	done
	[ ! -s "$tmp.why" ]
	say $? 'each page says what it means, what it does to whom, where to look, what to do and how to see that it is well' "$tmp.why"
fi
ctl=${builddir:-.}/sagactl/sagactl
if [ -x "$ctl" ]; then
	"$ctl" --help >"$tmp.have"
	: >"$tmp.why"
	grep -ohE '\bsagactl [a-z]+( [a-z]+)?( [A-Z]+)*( --?[a-z-]+)*' "$src"/docs/runbooks/*.md | sort -u >"$tmp.want.said"
	while read -r _ noun rest; do
		verb=${rest%% *}
		case $verb in '' | [A-Z-]*) verb= ;; esac
		grep -qE "^  $noun${verb:+ $verb}( |\$)" "$tmp.have" || echo "no command: $noun $verb" >>"$tmp.why"
		for flag in $(echo "$rest" | grep -oE -e '--[a-z-]+'); do
			# shellcheck disable=SC2086
			"$ctl" $noun $verb --help 2>&1 | grep -q -e "$flag" || echo "$noun $verb has no $flag" >>"$tmp.why"
		done
	done <"$tmp.want.said"
	[ "$(wc -l <"$tmp.want.said")" -gt 15 ] && [ ! -s "$tmp.why" ]
	say $? 'their pages name commands of sagactl that exist, with flags that they take' "$tmp.why"
	rm -f "$tmp.want.said"
fi
[ ! -e "$board" ] || used 'the dashboard asks for metrics that exist' "$board"

echo "1..$n"
exit $bad
