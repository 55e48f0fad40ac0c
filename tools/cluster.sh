# SPDX-License-Identifier: Apache-2.0
# cluster.sh - three replicas and three services on one private PostgreSQL. Sourced after common.sh.
# shellcheck shell=bash

# cluster_plan NAME FIRST-PORT: where everything of this cluster is
cluster_plan() {
	name=$1 first=$2
	state=$root/.dev/$name
	bin=${SAGAD_BUILD:-$root/build/plain}
	api=("127.0.0.1:$first" "127.0.0.1:$((first + 2))" "127.0.0.1:$((first + 4))")
	ops=("127.0.0.1:$((first + 1))" "127.0.0.1:$((first + 3))" "127.0.0.1:$((first + 5))")
	services=(hotel payment stock)
	service_at=("127.0.0.1:$((first + 11))" "127.0.0.1:$((first + 12))" "127.0.0.1:$((first + 13))")
}

# ---- database -------------------------------------------------------------------------

database_start() {
	say "starting a private PostgreSQL in $(tools/postgres.sh place .dev/pg)"
	server=$(tools/postgres.sh start .dev/pg) || die "PostgreSQL did not start"
	dsn=${server/dbname=postgres/dbname=$name}
}

database_make() { # fresh: empties one of the same name
	psql -XAtq "$server" -v ON_ERROR_STOP=1 -c "SET client_min_messages = warning" \
		-c "DROP DATABASE IF EXISTS \"$name\" WITH (FORCE)" -c "CREATE DATABASE \"$name\"" >&2
}

sql() { psql -XAtq "$dsn" -v ON_ERROR_STOP=1 -c "$1"; }

# ---- processes --------------------------------------------------------------------------

port_is_free() { ! (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

check_ports() {
	local at
	for at in "${api[@]}" "${ops[@]}" "${service_at[@]}"; do
		port_is_free "$at" ||
			die "$at is in use: stop what listens there (./dev down?), or set SAGAD_PORT to another number"
	done
}

# launch LABEL COMMAND…: in a session of its own, so that Ctrl-C reaches the script alone
launch() {
	local label=$1
	shift
	setsid "$@" >"$state/$label.log" 2>&1 </dev/null &
	echo $! >"$state/$label.pid"
}

# The process of this label, if it still runs and is ours (numbers come round again).
pid_of() {
	local pid
	pid=$(cat "$state/$1.pid" 2>/dev/null) && [[ $(readlink "/proc/$pid/exe") == "$bin"/* ]] && echo "$pid"
}

start_service() {
	launch "${services[$1]}" "$bin/examples/${services[$1]}" --listen="${service_at[$1]}" --dsn="$dsn"
}

start_replica() { # start_replica INDEX [flags…]
	local i=$1
	shift
	launch "replica$((i + 1))" "$bin/sagad" --dsn="$dsn" --listen="${api[$i]}" --ops-listen="${ops[$i]}" \
		--advertise="http://${api[$i]}" --callback-key-file="$state/callback.key" --log.format=json "$@"
}

# wait_for LABEL URL: until it answers 2xx; fails at once if the process is gone
wait_for() {
	local until=$((SECONDS + 30))
	until curl -fs -o /dev/null --max-time 2 "$2"; do
		if ! pid_of "$1" >/dev/null || [ $SECONDS -ge $until ]; then
			tail -n 5 "$state/$1.log" >&2
			die "$1 is not ready; its log is $state/$1.log"
		fi
		sleep 0.05
	done
}

cluster_start() {
	local i
	check_ports
	rm -rf "$state"
	mkdir -p "$state"
	(umask 077 && head -c 32 /dev/urandom | base64 >"$state/callback.key")
	database_start
	database_make
	say "migrating its database $name"
	"$bin/sagad" migrate --dsn="$dsn" >"$state/migrate.log" 2>&1 ||
		{ cat "$state/migrate.log" >&2; die "the migration failed"; }
	say "starting three replicas and the services ${services[*]}"
	for i in 0 1 2; do
		start_service "$i"
		start_replica "$i" "$@"
	done
	for i in 0 1 2; do
		wait_for "${services[$i]}" "http://${service_at[$i]}/livez"
		wait_for "replica$((i + 1))" "http://${ops[$i]}/readyz"
	done
}

cluster_stop() {
	local f label pid until=$((SECONDS + 25))
	for f in "$state"/*.pid; do
		pid=$(pid_of "$(basename "$f" .pid)") && kill "$pid"
	done
	for f in "$state"/*.pid; do
		label=$(basename "$f" .pid)
		while pid=$(pid_of "$label"); do
			if [ $SECONDS -ge $until ]; then
				say "$label does not stop: killing it"
				kill -9 "$pid"
			fi
			sleep 0.05
		done
		rm -f "$f"
	done
	return 0
}

# ---- the API -----------------------------------------------------------------------------

# call METHOD PATH [BODY]: to a random replica (or $to); the answer's body; fails unless 2xx
call() {
	local at=${to:-${api[$((RANDOM % 3))]}} out status
	out=$(curl -sS --max-time 70 -X "$1" -H 'Content-Type: application/json' -w '\n%{http_code}' \
		${3:+--data-binary "$3"} "http://$at$2") || die "$1 http://$at$2 got no answer"
	status=${out##*$'\n'}
	printf '%s\n' "${out%$'\n'*}"
	case $status in
	2*) ;;
	*) say "$1 http://$at$2 → $status ${out%$'\n'*}"; return 1 ;;
	esac
}

register_examples() {
	local i f
	for i in 0 1 2; do
		call PUT "/v1/participants/${services[$i]}" \
			"{\"base_url\": \"http://${service_at[$i]}\"}" >/dev/null || die "cannot register ${services[$i]}"
	done
	for f in examples/definitions/*.json; do
		call PUT "/v1/definitions/$(basename "$f" .json)" "$(cat "$f")" >/dev/null ||
			die "cannot register $f"
	done
	say "registered the services, and the definitions $(cd examples/definitions && echo *.json)"
}
