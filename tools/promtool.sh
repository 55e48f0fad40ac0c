#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# promtool.sh - says where promtool is. If this machine has none it takes the one program out of Debian's package:
# to install that would start a Prometheus server here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if command -v promtool; then exit; fi
tool=$root/.dev/promtool
if [ ! -x "$tool" ]; then
	mkdir -p "$root/.dev"
	work=$(mktemp -d "$root/.dev/promtool.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	cd "$work"
	chmod 755 . # apt drops its rights
	apt-get -q download prometheus >&2 ||
		{ echo "promtool is missing: install Debian's package prometheus, or put promtool into the PATH" >&2; exit 1; }
	dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
	mv usr/bin/promtool "$tool.$$"
	mv "$tool.$$" "$tool" # several may look for it at once
fi
echo "$tool"
