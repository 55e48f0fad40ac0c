#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# postgres.sh - a private PostgreSQL in a folder of its own, run by an unprivileged user.
#
#   postgres.sh start DIR           make it if it is not there, start it, print its DSN;
#                                   POSTGRES_CONNECTIONS: how many it lets in [200]
#   postgres.sh standby DIR OTHER   the same, as a hot standby of the one in OTHER
#   postgres.sh pair DIR OTHER      a new one in DIR and its hot standby in OTHER; prints both DSNs
#   postgres.sh promote DIR         that standby becomes a primary of its own
#   postgres.sh rejoin DIR OTHER    an old primary, stopped, follows the one in OTHER
#   postgres.sh stop DIR [MODE]     fast (default) or immediate: as if the power went
#   postgres.sh kill DIR            kill -9 of all its processes
#   postgres.sh dsn DIR             print its DSN
#   postgres.sh place DIR           print the folder it really lives in
#   postgres.sh remove DIR          stop it and delete the folder
#
# private.sh says as whom it runs, and when it lives in /var/tmp instead.
set -euo pipefail

# shellcheck disable=SC2034
server=postgres prefix=sagad
# shellcheck source=tools/private.sh
. "$(dirname "${BASH_SOURCE[0]}")/private.sh"

bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || die "no server under /usr/lib/postgresql: apt install postgresql"

dsn_of() { printf 'host=%s user=sagad dbname=postgres\n' "$1"; }

make_folder() {
	mkdir -p "$1"
	[ "$(id -u)" != 0 ] || chown "$owner" "$1"
	chmod 0750 "$1"
}

configure() { # configure PLACE
	as_owner tee -a "$1/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$1'
		unix_socket_permissions = 0700
		fsync = on
		max_connections = ${POSTGRES_CONNECTIONS:-200}
		shared_buffers = 128MB
		max_wal_size = 2GB
		wal_keep_size = 1GB # a rewound server asks for what came after the last checkpoint that both knew
		log_line_prefix = '%m [%p] %a '
		timezone = 'UTC'
		lc_messages = 'C'
	CONF
}

make_cluster() {
	as_owner "$bin/initdb" -D "$1/data" -U sagad -A trust -E UTF8 --locale=C.UTF-8 --no-instructions \
		--data-checksums --no-sync >"$1/initdb.log" 2>&1 || { cat "$1/initdb.log" >&2; die "initdb failed"; }
	configure "$1"
}

is_running() { as_owner "$bin/pg_ctl" -D "$1/data" status >/dev/null 2>&1; }

start() {
	is_running "$1" && return
	as_owner "$bin/pg_ctl" -D "$1/data" -l "$1/log" -w -t 60 -s start >&2 ||
		{ tail -n 5 "$1/log" >&2; die "the server did not start; its log is $1/log"; }
}

# A dead one stays in the table of processes until somebody asks how it ended.
is_process() { [[ $(ps -o stat= -p "$1" 2>/dev/null) == [!Z]* ]]; }

# The children too: left alone they would go on writing for a moment.
kill_all() {
	local pid all
	pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || return 0
	all="$pid $(ps -o pid= --ppid "$pid")"
	kill -9 $all 2>/dev/null || true
	for pid in $all; do
		while is_process "$pid"; do sleep 0.02; done
	done
	# pg_ctl, and the server that finds the lock of its socket, take those that nobody has asked for yet for alive.
	rm -f "$1/data/postmaster.pid" "$1"/.s.PGSQL.*
}

# What it wrote on its own is rewound; where that cannot be done it is made anew.
rejoin() { # rejoin PLACE OTHER
	# Until its first checkpoint the new primary's control file names the old timeline.
	as_owner "$bin/psql" -q -h "$2" -U sagad -d postgres -c CHECKPOINT >&2
	if as_owner "$bin/pg_rewind" -D "$1/data" --source-server="host=$2 user=sagad dbname=postgres" -R --no-sync \
		>"$1/rewind.log" 2>&1; then
		# The files came with the other's settings.
		as_owner sed -i "s|^unix_socket_directories.*|unix_socket_directories = '$1'|" "$1/data/postgresql.conf"
	else
		rm -rf "$1/data"
		as_owner "$bin/pg_basebackup" -h "$2" -U sagad -D "$1/data" -R -X stream -c fast --no-sync >&2
		configure "$1"
	fi
}

[ $# -ge 2 ] || { sed -n '3,15s/^# \{0,3\}//p' "$0" >&2; exit 2; }
verb=$1 place=$(place_of "$2")
caller=$PWD
cd / # the owner may not be able to stand where we stand
case $verb in
start)
	[ -d "$place/data" ] || { make_folder "$place"; make_cluster "$place"; }
	start "$place"
	dsn_of "$place"
	;;
standby)
	other=$(cd "$caller" && place_of "$3")
	make_folder "$place"
	as_owner "$bin/pg_basebackup" -h "$other" -U sagad -D "$place/data" -R -X stream -c fast --no-sync >&2
	configure "$place"
	start "$place"
	dsn_of "$place"
	;;
pair)
	other=$(cd "$caller" && place_of "$3")
	make_folder "$place"
	make_cluster "$place"
	make_folder "$other"
	# It never ran: a copy is as good as a backup.
	as_owner cp -a "$place/data" "$other/data"
	as_owner touch "$other/data/standby.signal"
	configure "$other"
	as_owner tee -a "$other/data/postgresql.auto.conf" >/dev/null <<<"primary_conninfo = 'host=$place user=sagad'"
	start "$place"
	start "$other"
	dsn_of "$place"
	dsn_of "$other"
	;;
promote)
	as_owner "$bin/pg_ctl" -D "$place/data" -w -t 60 -s promote >&2
	;;
rejoin)
	other=$(cd "$caller" && place_of "$3")
	rejoin "$place" "$other"
	start "$place"
	dsn_of "$place"
	;;
kill) kill_all "$place" ;;
stop)
	! is_running "$place" ||
		as_owner "$bin/pg_ctl" -D "$place/data" -w -t 60 -s -m "${3:-fast}" stop >&2
	;;
remove)
	! is_running "$place" || as_owner "$bin/pg_ctl" -D "$place/data" -w -s -m immediate stop >&2
	rm -rf "$place"
	;;
dsn) dsn_of "$place" ;;
place) printf '%s\n' "$place" ;;
*) die "no such verb: $verb" ;;
esac
