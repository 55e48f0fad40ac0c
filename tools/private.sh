# SPDX-License-Identifier: Apache-2.0
# private.sh - what private servers for tests share: who runs them and where they live. Sourced with
# $server set, its name in messages, and $prefix, that of its folder's name in /var/tmp.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&2; }
die() { say "$server: $*"; exit 1; }

# Servers refuse to run as root: root hands the work to the user postgres.
if [ "$(id -u)" = 0 ]; then
	owner=postgres
	id "$owner" >/dev/null 2>&1 || die "no user $owner: apt install postgresql"
	as_owner() { runuser -u "$owner" -- "$@"; }
else
	owner=$(id -un)
	as_owner() { "$@"; }
fi

# place_of DIR: where its server really lives. That is in /var/tmp when the owner cannot enter DIR (a checkout under
# /root), or the socket's path would be too long for the kernel (107 bytes).
place_of() {
	local dir up
	dir=$(realpath -m "$1")
	up=$dir
	while [ ! -d "$up" ]; do up=$(dirname "$up"); done
	if [ ${#dir} -le 80 ] && (cd / && as_owner test -x "$up"); then
		printf '%s\n' "$dir"
	else
		printf '/var/tmp/%s-%s-%s\n' "$prefix" "$(id -u)" "$(printf '%s' "$dir" | cksum | cut -d' ' -f1)"
	fi
}
