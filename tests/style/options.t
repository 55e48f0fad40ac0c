#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The man page against the option table: the OPTIONS section is what the table says, word for word.
page=${srcdir:-.}/docs/sagad.8
tool=${builddir:-.}/tests/unit/options.t
n=0 bad=0
say() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		bad=1
	fi
}

want=$("$tool" --man) || { echo "Bail out! $tool does not run"; exit 99; }
have=$(sed -n '/^\.\\" The list is made/,/^\\fB\\-\\-help/p' "$page" | sed -e 1d -e '$d' | sed '$d')
[ -n "$have" ] && [ "$have" = "$want" ]
say $? "the OPTIONS section of docs/sagad.8 is the option table ($tool --man prints it)"

lines=$(echo "$want" | grep -c '^\.TP')
[ "$lines" -ge 20 ]
say $? "there are $lines options in it"

echo "1..$n"
exit $bad
