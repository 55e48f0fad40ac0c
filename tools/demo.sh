#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh - shows what sagad promises, and checks each promise in the services' own tables.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
. tools/common.sh
. tools/cluster.sh

exec 2>&1 # one story, in one order
COUNT=200 NEEDED=50 ADOPT_MS=3000
checks=0 failures=0 server_was_up=

now_ms() { date +%s%3N; }

# check WHAT QUERY WANTED: one line that says what is true, and the query that proves it
check() {
	local got
	got=$(sql "$2") || got="(the query failed)"
	checks=$((checks + 1))
	if [ "$got" = "$3" ]; then
		printf '  %s✓%s %s\n      proved by: %s → %s\n' "$green" "$plain" "$1" "$2" "$got"
	else
		failures=$((failures + 1))
		printf '  %s✗ %s%s\n      %s → %s, expected %s\n' "$red" "$1" "$plain" "$2" "$got" "$3"
	fi
}

# expect WHAT GOT WANTED: the same for what the API answered or a clock measured
expect() {
	checks=$((checks + 1))
	if [ "$2" = "$3" ]; then
		printf '  %s✓%s %s: %s\n' "$green" "$plain" "$1" "$2"
	else
		failures=$((failures + 1))
		printf '  %s✗ %s: %s, expected %s%s\n' "$red" "$1" "$2" "$3" "$plain"
	fi
}

begin() { # begin GID DEFINITION INPUT: waits until it has ended
	printf '  POST /v1/transactions {"gid": "%s", "definition": "%s", "input": %s}\n' "$1" "$2" "$3" >&2
	call POST '/v1/transactions?wait=20s' "{\"gid\": \"$1\", \"definition\": \"$2\", \"input\": $3}"
}

ledger() { # ledger SERVICE GID: the lines of one transaction, in order
	printf "SELECT string_agg(op || ' ' || item || ' ' || quantity || ' ' || held, ', ' ORDER BY line) FROM %s.ledger WHERE gid = '%s'" "$1" "$2"
}

finish() {
	local rc=$?
	trap - EXIT INT TERM
	say "stopping the demo's processes"
	cluster_stop
	[ -n "$server_was_up" ] || tools/postgres.sh stop .dev/pg
	if [ $rc -ne 0 ]; then say "${red}the demo failed${plain}; logs: $state/*.log"; fi
	exit $rc
}

show_saga() {
	local answer
	head_line "1. A saga that succeeds: hotel, then payment"
	answer=$(begin trip-1 book-trip '{"hotel": "grand", "nights": 2, "account": "ada", "amount": 240}')
	expect "the coordinator says" "$(jq -r '.phase + ", " + .result' <<<"$answer")" "confirmed, succeeded"
	check "the hotel has 2 nights less (op, item, quantity, held)" "$(ledger hotel trip-1)" "try grand -2 0"
	check "ada has paid 240" "$(ledger payment trip-1)" "try ada -240 0"
}

show_undo() {
	local answer
	head_line "2. A saga whose last step is refused: bob has 100 and shall pay 500"
	answer=$(begin trip-2 book-trip '{"hotel": "grand", "nights": 3, "account": "bob", "amount": 500}')
	expect "the coordinator says" "$(jq -r '.phase + ", " + .result' <<<"$answer")" "cancelled, cancelled"
	check "the hotel gave 3 nights and got them back" "$(ledger hotel trip-2)" "try grand -3 0, cancel grand 3 0"
	check "no money moved" "SELECT count(*) FROM payment.ledger WHERE gid = 'trip-2'" 0
	check "bob still has all of it" "SELECT quantity FROM payment.item WHERE name = 'bob'" 100
}

show_tcc() {
	local answer
	head_line "3. A TCC transaction, confirmed: stock and payment hold, then both confirm"
	answer=$(begin order-1 order '{"article": "lamp", "pieces": 4, "account": "ada", "amount": 60}')
	expect "the coordinator says" "$(jq -r '.phase + ", " + .result' <<<"$answer")" "confirmed, succeeded"
	check "4 lamps were set aside, then sent" "$(ledger stock order-1)" "try lamp 0 4, confirm lamp -4 -4"
	check "60 were held, then paid" "$(ledger payment order-1)" "try ada 0 60, confirm ada -60 -60"

	head_line "4. A TCC transaction, cancelled: the stock holds, the payment refuses"
	answer=$(begin order-2 order '{"article": "lamp", "pieces": 1, "account": "bob", "amount": 900, "delay_ms": 200}')
	expect "the coordinator says" "$(jq -r '.phase + ", " + .result' <<<"$answer")" "cancelled, cancelled"
	check "1 lamp was set aside and put back" "$(ledger stock order-2)" "try lamp 0 1, cancel lamp 0 -1"
	check "nothing is held of bob's money" "SELECT held FROM payment.item WHERE name = 'bob'" 0
}

# One curl process starts them all, a third at each replica; every tenth asks for more than there is.
start_many() {
	local i amount
	for ((i = 1; i <= COUNT; i++)); do
		amount=$((i % 10 == 0 ? 1000 : 10))
		account=$([ $amount = 10 ] && echo ada || echo bob)
		[ $i = 1 ] || echo next
		cat <<-REQUEST
			url = "http://${api[$((i % 3))]}/v1/transactions"
			header = "Content-Type: application/json"
			data = "{\"gid\": \"many-$i\", \"definition\": \"book-trip\", \"input\": {\"hotel\": \"grand\", \"nights\": 1, \"account\": \"$account\", \"amount\": $amount, \"delay_ms\": 1200}}"
			output = "/dev/null"
			write-out = "%{http_code}\n"
			silent
		REQUEST
	done >"$state/many.curl"
	curl --parallel --parallel-immediate --parallel-max 60 --no-progress-meter -K "$state/many.curl" |
		sort | uniq -c | awk '{ print $2 " × " $1 }' | paste -sd' '
}

MINE="FROM sagad.transaction t JOIN sagad.replica r ON r.id = t.owner WHERE t.ended_at IS NULL AND r.address"

show_kill() {
	local answers victim killed_at owned left took until at
	head_line "5. $COUNT transactions under way, and kill -9 for the replica that owns most of them"
	answers=$(start_many)
	expect "$COUNT requests, a third to each replica, answered" "$answers" "201 × $COUNT"
	at=$(sql "SELECT r.address $MINE IS NOT NULL GROUP BY r.address ORDER BY count(*) DESC LIMIT 1")
	for victim in 0 1 2; do [ "http://${api[$victim]}" != "$at" ] || break; done
	disown "$(pid_of "replica$((victim + 1))")" 2>/dev/null || true
	killed_at=$(now_ms)
	kill -9 "$(pid_of "replica$((victim + 1))")"
	owned=$(sql "SELECT count(*) $MINE = '$at'")
	say "  kill -9 replica $((victim + 1)) ($at), which owned $owned unfinished transactions at that moment"
	printf '      proved by: %s → %s\n' "SELECT count(*) $MINE = '$at'" "$owned"
	expect "at least $NEEDED unfinished transactions were the victim's" \
		"$([ "$owned" -ge $NEEDED ] && echo yes || echo "no, $owned")" yes
	until=$((SECONDS + 30))
	while left=$(sql "SELECT count(*) $MINE = '$at'") && [ "$left" -gt 0 ] && [ $SECONDS -lt $until ]; do
		sleep 0.01
	done
	took=$(($(now_ms) - killed_at))
	say "  adopted by the others after ${bold}$took ms${plain}"
	expect "adopted within $ADOPT_MS ms of the kill" \
		"$([ "$left" = 0 ] && [ $took -lt $ADOPT_MS ] && echo yes || echo "no, $took ms, $left left")" yes
	say "  who has them now: $(sql "SELECT string_agg(address || ' ' || n, ', ') FROM (SELECT r.address, count(*) n FROM sagad.transaction t JOIN sagad.replica r ON r.id = t.owner WHERE t.epoch > 1 GROUP BY 1) x")"
	check "the dead replica is fenced for good" \
		"SELECT state FROM sagad.replica WHERE address = '$at' ORDER BY started_at DESC LIMIT 1" fenced
	until=$((SECONDS + 60))
	while [ "$(sql "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL")" -gt 0 ] &&
		[ $SECONDS -lt $until ]; do sleep 0.1; done
}

show_balance() {
	local good=$((COUNT - COUNT / 10)) bad=$((COUNT / 10))
	head_line "6. All of them ended, each exactly once, and the ledgers balance"
	check "every transaction has ended" "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL" 0
	check "those that could be paid are confirmed, the others cancelled" \
		"SELECT string_agg(phase || ' ' || n, ', ' ORDER BY phase) FROM (SELECT phase, count(*) n FROM sagad.transaction WHERE gid LIKE 'many-%' GROUP BY phase) p" \
		"cancelled $bad, confirmed $good"
	check "no effect twice: one night per confirmed trip, none for the others" \
		"SELECT count(*) || ' ' || min(s) || ' ' || max(s) FROM (SELECT t.gid, coalesce(sum(quantity), 0) s FROM sagad.transaction t LEFT JOIN hotel.ledger l USING (gid) WHERE t.gid LIKE 'many-%' AND phase = 'confirmed' GROUP BY t.gid) x" \
		"$good -1 -1"
	check "and nothing is left of the cancelled" \
		"SELECT coalesce(sum(abs(s)), 0) FROM (SELECT gid, sum(quantity) s FROM hotel.ledger JOIN sagad.transaction USING (gid) WHERE phase = 'cancelled' GROUP BY gid) x" 0
	check "ada paid 10 for each confirmed trip, no more and no less" \
		"SELECT sum(quantity) FROM payment.ledger WHERE gid LIKE 'many-%'" "-$((good * 10))"
	check "every account is its opening plus its ledger, and nothing is held" \
		"SELECT count(*) FROM (SELECT i.quantity - opening - coalesce(sum(l.quantity), 0) d, i.held - coalesce(sum(l.held), 0) h, i.held FROM (TABLE hotel.item UNION ALL TABLE payment.item UNION ALL TABLE stock.item) i LEFT JOIN (TABLE hotel.ledger UNION ALL TABLE payment.ledger UNION ALL TABLE stock.ledger) l ON l.item = i.name GROUP BY i.name, i.opening, i.quantity, i.held) x WHERE d <> 0 OR h <> 0" 0
}

mkdir -p .dev
exec 9>.dev/demo.lock
flock -n 9 || die "another demo is running in this checkout"
cluster_plan demo "$((${SAGAD_PORT:-7070} + 100))"
[ ! -d "$(tools/postgres.sh place .dev/pg)/data" ] || ! psql -XAtqc 'SELECT 1' "$(tools/postgres.sh dsn .dev/pg)" >/dev/null 2>&1 || server_was_up=yes
trap finish EXIT
trap 'exit 130' INT TERM
cluster_start
began=$SECONDS
register_examples
show_saga
show_undo
show_tcc
# A replica fences others only when its own lease is older than the time to live (10 s).
wait_s=$((began + 11 - SECONDS))
if [ $wait_s -gt 0 ]; then
	say "  (waiting ${wait_s} s: a replica younger than its lease's 10 s declares nobody dead)"
	sleep $wait_s
fi
show_kill
show_balance
printf '\n%d of %d checks are true\n' $((checks - failures)) $checks
[ $failures = 0 ]
