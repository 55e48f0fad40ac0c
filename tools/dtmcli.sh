#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dtmcli.sh - says where DTM's client for Python is, as PyPI has it, fetching it the first time.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=1.7.7.0
folder=$root/.dev/dtmcli-$version
if [ ! -d "$folder" ]; then
	mkdir -p "$root/.dev"
	work=$(mktemp -d "$root/.dev/dtmcli.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	echo "dtmcli==$version --hash=sha256:e022087826dff3a6c0086bd0860c95768a54dc4f313ab292ae70b38f3ca03c52" >"$work/wanted"
	/usr/bin/python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --no-compile \
		--require-hashes --target "$work/packages" -r "$work/wanted" >&2 ||
		{ echo "pip could not install dtmcli $version" >&2; exit 1; }
	mv -T "$work/packages" "$folder" 2>/dev/null || [ -d "$folder" ] # several may look for it at once
fi
echo "$folder"
