#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sagactl's man page against its table of commands: from COMMANDS on it is what the table says, word for word.
page=${srcdir:-.}/docs/sagactl.1
tool=${builddir:-.}/tests/unit/ctl.t
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
have=$(sed -n '/^\.SH COMMANDS$/,/^\.\\" The end of what is made/p' "$page" | sed '$d')
[ -n "$have" ] && [ "$have" = "$want" ]
say $? "docs/sagactl.1 has the table of commands ($tool --man prints it)"

lines=$(echo "$want" | grep -c '^\.TP')
[ "$lines" -ge 80 ]
say $? "there are $lines entries in it"

echo "1..$n"
exit $bad
