#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# up.sh - a cluster left running, and its end.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
. tools/common.sh
. tools/cluster.sh

show() {
	local i
	cat <<-TEXT

		The cluster is up.  Logs: .dev/up/*.log  Stop it: ./dev down
		  replicas  ${api[0]/#/http://}  ${api[1]/#/http://}  ${api[2]/#/http://}
		  health    http://${ops[0]}/readyz  /livez  /metrics (and on ${ops[1]}, ${ops[2]})
		  services  hotel http://${service_at[0]}  payment http://${service_at[1]}  stock http://${service_at[2]}
		  database  psql '$dsn'

		Try:
		  export SAGAD_URL=http://${api[0]},http://${api[1]},http://${api[2]} PATH=\$PATH:$root/build/plain/sagactl
		  sagactl txn start book-trip --gid a-trip --wait 5s --input '{"hotel": "grand", "nights": 2, "account": "ada", "amount": 120}'
		  sagactl txn get a-trip
		  sagactl replica list
		Or:
		  curl -s 'http://${api[0]}/v1/transactions?wait=5s' --json '{"gid": "my-first", "definition": "book-trip", "input": {"hotel": "grand", "nights": 2, "account": "ada", "amount": 120}}'
		  curl -s http://${api[1]}/v1/transactions/my-first
		  curl -s http://${service_at[1]}/
	TEXT
}

cluster_plan up "${SAGAD_PORT:-7070}"
case $1 in
up)
	if pid_of replica1 >/dev/null; then
		say "it is running already"
		dsn=$(tools/postgres.sh dsn .dev/pg)
		dsn=${dsn/dbname=postgres/dbname=$name}
		show
		exit 0
	fi
	trap '[ -n "${is_up:-}" ] || { say "stopping what was started"; cluster_stop; }' EXIT
	cluster_start
	register_examples
	is_up=yes
	show
	;;
down)
	say "stopping replicas and services (transactions under way are finished or released first)"
	cluster_stop
	say "stopping PostgreSQL"
	[ ! -d .dev ] || tools/postgres.sh stop .dev/pg
	;;
esac
