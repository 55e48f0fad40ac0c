#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh FILE - the barrier's script as C text, without its comments.
set -eu
echo '/* Made by sql/barrier/embed.sh. */'
echo '#include "participants/libsaga/barrier.h"'
echo
echo '#include <stddef.h>'
echo
echo "const char barrier_lock[] = \"SELECT pg_advisory_xact_lock(hashtextextended('sagad_barrier', 0));\";"
echo
echo 'const char *const barrier_script[] = {'
sed -e '/^[[:space:]]*--/d' -e '/^$/d' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t"/' -e 's/$/\\n",/' "$1"
echo '	NULL'
echo '};'
echo
sed -n "s/.*sagad_barrier_version().*SELECT '\([0-9a-f]*\)'.*/const char barrier_version[] = \"\1\";/p" "$1"
