#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# functions.sh PAGE… - each function in the synopsis of a man page, with the name of that page.
set -eu
for page in "$@"; do
	sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$page" | grep -oE '\bsaga_[a-z_]+\(' | tr -d '(' |
		grep -vxE "saga_handler|saga_work" | sort -u | sed "s|\$| $(basename "$page")|"
done
