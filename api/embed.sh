#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh OPENAPI SCHEMA - writes both documents as C arrays (api/public.h).
set -eu
array() {
	printf '\nconst char %s[] = {' "$1"
	od -An -v -td1 "$2" | sed -e 's/^ */\n\t/' -e 's/  */, /g' -e 's/$/,/'
	printf '\t0\n};\nconst size_t %s_size = sizeof %s - 1;\n' "$1" "$1"
}
echo '/* Made by api/embed.sh. */'
echo '#include "api/public.h"'
array api_openapi "$1"
array api_schema "$2"
