#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mariadb.sh - a private MariaDB for tests, reachable through a Unix socket only.
#
#   mariadb.sh start DIR            make it if need be, start it; prints its socket
#   mariadb.sh kill DIR             kill -9
#   mariadb.sh stop DIR
#   mariadb.sh remove DIR           stop it and delete the folder
#
# private.sh says as whom it runs, and when it lives in /var/tmp instead.
set -euo pipefail

# shellcheck disable=SC2034
server=mariadb prefix=sagad-mariadb
# shellcheck source=tools/private.sh
. "$(dirname "${BASH_SOURCE[0]}")/private.sh"

PATH=$PATH:/usr/sbin
command -v mariadbd >/dev/null || die "no mariadbd: apt install mariadb-server-core"

# Real InnoDB with real commits; small, and without what only a server that is shared needs.
settings() { # settings PLACE
	cat <<-CONF
		[mariadbd]
		datadir = $1/data
		socket = $1/socket
		pid-file = $1/pid
		log-error = $1/log.err
		skip-networking
		skip-name-resolve
		performance-schema = off
		character-set-server = utf8mb4
		innodb-buffer-pool-size = 32M
		innodb-log-file-size = 16M
		innodb-data-file-path = ibdata1:4M:autoextend
		innodb-temp-data-file-path = ibtmp1:4M:autoextend
		innodb-flush-method = ${MARIADB_FLUSH:-nosync} # a killed process loses nothing by it
		innodb-lock-wait-timeout = 30
	CONF
}

make_server() { # make_server PLACE
	mkdir -p "$1"
	settings "$1" >"$1/conf"
	[ "$(id -u)" != 0 ] || chown -R "$owner" "$1"
	chmod 0750 "$1"
	as_owner mariadb-install-db --defaults-file="$1/conf" --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >"$1/install.log" 2>&1 ||
		{ cat "$1/install.log" >&2; die "mariadb-install-db failed"; }
}

# A dead one stays in the table of processes until somebody asks how it ended.
is_running() { [[ -f $1/pid && $(ps -o stat= -p "$(<"$1/pid")" 2>/dev/null) == [!Z]* ]]; }

start() { # start PLACE
	local end=$((SECONDS + 60))
	is_running "$1" && return
	rm -f "$1/pid" "$1/socket"
	as_owner setsid mariadbd --defaults-file="$1/conf" >/dev/null 2>&1 </dev/null &
	until [ -S "$1/socket" ] && mariadb --no-defaults -u root -S "$1/socket" -e 'SELECT 1' >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { tail -n 5 "$1/log.err" >&2; die "the server did not start; its log is $1/log.err"; }
		sleep 0.05
	done
}

end_it() { # end_it PLACE SIGNAL
	local pid
	is_running "$1" || return 0
	pid=$(<"$1/pid")
	kill "-$2" "$pid"
	while [[ $(ps -o stat= -p "$pid" 2>/dev/null) == [!Z]* ]]; do sleep 0.02; done
}

[ $# = 2 ] || { sed -n '3,9s/^# \{0,3\}//p' "$0" >&2; exit 2; }
place=$(place_of "$2")
cd / # the owner may not be able to stand where we stand
case $1 in
start)
	[ -d "$place/data" ] || make_server "$place"
	start "$place"
	printf '%s\n' "$place/socket"
	;;
kill) end_it "$place" KILL ;;
stop) end_it "$place" TERM ;;
remove)
	end_it "$place" KILL
	rm -rf "$place"
	;;
*) die "no such verb: $1" ;;
esac
