#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The table of actions against docs/actions.md.
src=${srcdir:-.}
tool=${builddir:-.}/tests/unit/actions.t
page=$src/docs/actions.md

want=$("$tool" --table) || { echo "Bail out! $tool does not run"; exit 99; }
have=$(grep '^|' "$page")
if [ -n "$have" ] && [ "$have" = "$want" ]; then
	echo 'ok 1 - docs/actions.md has the table of actions'
	bad=0
else
	echo "not ok 1 - docs/actions.md has the table of actions ($tool --table prints it)"
	bad=1
fi
echo 1..1
exit $bad
