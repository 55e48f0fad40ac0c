#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: ARCHITECTURE.md's table as a test.
cd "${srcdir:-.}" || exit 99
n=0 bad=0

# rule SENTENCE REGEX FILE…: no such include in those files, and there are such files
rule() {
	what=$1 regex=$2
	shift 2
	n=$((n + 1))
	if [ ! -e "$1" ]; then
		echo "not ok $n - $what # no file $1"
		bad=1
	elif out=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($regex)" "$@" /dev/null); then
		echo "not ok $n - $what"
		echo "$out" | sed 's/^/# /'
		bad=1
	else
		echo "ok $n - $what"
	fi
}

# others NAME…: all C files of the project outside the given paths
others() {
	find api coordinator participants sagactl -name '*.[ch]' | sort >"$list"
	for but in "$@"; do
		grep -v "^$but" "$list" >"$list.x"
		mv "$list.x" "$list"
	done
	cat "$list"
}
list=$(mktemp)
trap 'rm -f "$list" "$list.x"' EXIT

core=$(grep -nE '^[[:space:]]*#[[:space:]]*include' coordinator/core/*.[ch] |
	grep -vE '<(assert|limits|stdbool|stddef|stdint|string)\.h>|"coordinator/core/')
n=$((n + 1))
if [ -e coordinator/core/txn.c ] && [ -z "$core" ]; then
	echo "ok $n - the core includes nothing but itself and plain C"
else
	echo "not ok $n - the core includes nothing but itself and plain C"
	echo "$core" | sed 's/^/# /'
	bad=1
fi
rule 'base knows nothing of sagas' '(api|participants|sql)/|coordinator/(core|engine|io)/' coordinator/base/*.[ch]
rule 'the engine talks only to ports' \
	'(api|participants|sql)/|coordinator/io/|(uv|libpq-fe|microhttpd|curl/.*|jansson|time|sys/time|pthread)\.h' coordinator/engine/*.[ch]
rule 'participants know base and the words of the core' \
	'(api|sql)/|coordinator/(engine|io)/|(uv|libpq-fe|microhttpd|curl/.*)\.h' participants/*.[ch]
rule 'adapters know the ports, not the engine behind them nor the API' \
	'coordinator/engine/(engine|engine_internal|progress)\.h|coordinator/core/txn_internal\.h' coordinator/io/*.[ch]
rule 'adapters know nothing of the API but its HTTP server, which they watch' \
	'api/(router|request|problem|query|show|metrics|api)\.h' coordinator/io/*.[ch]
rule 'who may do what is decided without I/O' 'api/(httpd|request|api|tls)\.h|(uv|microhttpd|time|unistd|stdio)\.h|coordinator/(engine|io)/' \
	api/access.[ch] api/tokens.[ch] api/limiter.[ch]
rule 'the API talks to the engine and participants, not to adapters' \
	'(sql|coordinator/io)/|(uv|libpq-fe|curl/.*|jansson)\.h' api/*.[ch] api/dtm/*.[ch]
rule 'a façade speaks through the API and sees nothing behind the engine' \
	'coordinator/engine/engine_internal\.h|coordinator/core/txn_internal\.h|participants/[a-z_]*_internal\.h' api/dtm/*.[ch]
# shellcheck disable=SC2046
rule 'libuv only in the adapters and the wiring' 'uv\.h' $(others coordinator/io/ coordinator/main.c)
# shellcheck disable=SC2046
rule 'libpq only in the adapters and libsaga' 'libpq' $(others coordinator/io/ participants/libsaga/)
# shellcheck disable=SC2046
rule 'GnuTLS in one file of the API' 'gnutls' $(others api/tls.c)
# shellcheck disable=SC2046
rule 'libmicrohttpd in one file of the API, and the glue of libsaga' 'microhttpd\.h' \
	$(others api/httpd_mhd.c participants/libsaga/mhd.c participants/libsaga/saga/mhd.h)
# shellcheck disable=SC2046
rule 'libcurl only in the adapters, the wiring, the client of sagactl and that of libsaga' 'curl/' \
	$(others coordinator/io/ coordinator/main.c sagactl/client.c sagactl/verify_http.c participants/libsaga/client_http.c)
# shellcheck disable=SC2046
rule 'libyaml in one file of sagactl' 'yaml\.h' $(others sagactl/yaml.c)
# shellcheck disable=SC2046
rule 'sagactl knows base and the API as it is spoken, nothing else of the project; but verify calls participants as they are called' \
	'(api|participants|sql)/|coordinator/(core|engine|io)/|coordinator/[a-z_]*\.h|(uv|libpq-fe|microhttpd)\.h' \
	$(find sagactl -name '*.[ch]' ! -name verify.h | sort)
# shellcheck disable=SC2046
rule 'no jansson in the daemon: it cannot carry numbers verbatim; in sagactl in one header' 'jansson\.h' $(others sagactl/client.h)
rule 'libsaga is a library of its own: it knows itself and the calls of the barrier' \
	'(api|coordinator|sagactl)/|participants/[a-z_]*\.h|sql/[a-z_]*\.h|(uv|jansson)\.h' \
	participants/libsaga/*.[ch] participants/libsaga/saga/*.h
rule 'its headers know only each other and what a service has anyway' \
	'(api|coordinator|participants|sagactl|sql)/|(uv|jansson|openssl/.*|curl/.*|pthread)\.h' participants/libsaga/saga/*.h
echo "1..$n"
exit $bad
