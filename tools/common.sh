# SPDX-License-Identifier: Apache-2.0
# common.sh - what dev and the scripts beside it share: words, packages, builds. Sourced with $root set.
# shellcheck shell=bash

jobs=${JOBS:-$(nproc)}
if [ -t 2 ]; then bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; else bold= red= green= plain=; fi

say() { printf '%s\n' "$*" >&2; }
head_line() { printf '\n%s── %s ──%s\n' "$bold" "$*" "$plain" >&2; }
die() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; exit 1; }

# ---- Debian packages ---------------------------------------------------------------

packages_of() {
	case $1 in
	build) echo gcc make autoconf automake pkgconf libuv1-dev libpq-dev libmicrohttpd-dev libjansson-dev \
		libcurl4-openssl-dev libgnutls28-dev libssl-dev libyaml-dev ;;
	run) echo postgresql curl jq openssl ;;
	test) echo clang g++ libclang-rt-dev zsh valgrind xz-utils pgbouncer faketime python3-pytest python3-pytest-xdist \
		python3-psycopg python3-psycopg-pool python3-psycopg2 python3-asyncpg python3-uvicorn mariadb-server-core mariadb-client-core python3-pymysql python3-jsonschema python3-yaml \
		python3-prometheus-client python3-requests python3-pip python3-setuptools python3-wheel mypy nftables ;;
	node) echo nodejs npm ;;
	bank) echo mariadb-server-core mariadb-client-core python3-pymysql ;;
	examples) echo python3 python3-psycopg ;;
	format) echo clang-format ;;
	esac
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return
	# Other names for the same thing.
	case $1 in
	libclang-rt-dev) compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null ;;
	npm) command -v npm >/dev/null ;; # others bring it with node
	pkgconf) command -v pkg-config >/dev/null ;;
	libcurl4-openssl-dev) pkg-config --exists libcurl 2>/dev/null ;;
	*) return 1 ;;
	esac
}

need_packages() {
	local missing=() p sudo=()
	for p in $(for set in "$@"; do packages_of "$set"; done); do
		is_installed "$p" || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${#missing[@]} missing Debian packages: ${missing[*]}"
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null ||
			die "install them as root, then try again: apt install ${missing[*]}"
		sudo=(sudo)
	fi
	# The lists may be old or absent: try without, then with an update.
	local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
		-o Dpkg::Use-Pty=0 "${missing[@]}")
	if ! "${sudo[@]}" "${install[@]}" >&2; then
		say "trying again with fresh package lists"
		"${sudo[@]}" apt-get update >&2 && "${sudo[@]}" "${install[@]}" >&2 ||
			die "apt could not install them: see its lines above"
	fi
}

# ---- builds ----------------------------------------------------------------------------

make_configure() {
	[ -x configure ] && [ configure -nt configure.ac ] && [ Makefile.in -nt Makefile.am ] && return
	say "making configure (autoreconf)"
	mkdir -p m4 build-aux
	autoreconf -i 2>build-aux/autoreconf.log >&2 || { cat build-aux/autoreconf.log >&2; die "autoreconf failed"; }
}

# build_in FOLDER TARGET [configure arguments…]: output goes to FOLDER/build.log
build_in() {
	local folder=$1 target=$2
	shift 2
	make_configure
	# In a tree that was copied or moved every path in it leads to the old one, whose sources would be compiled.
	if [ -f "$folder/Makefile" ] && ! [ "$(sed -n "s/^abs_builddir = //p" "$folder/Makefile")" -ef "$folder" ]; then
		say "$folder was configured in another tree: beginning anew"
		rm -rf "$folder"
	fi
	mkdir -p "$folder"
	if [ ! -f "$folder/config.status" ] || [ configure -nt "$folder/config.status" ]; then
		say "configuring $folder"
		(cd "$folder" && "$root/configure" -q "$@") >"$folder/configure.log" 2>&1 ||
			{ tail -n 20 "$folder/configure.log" >&2; die "configure failed: $folder/config.log says why"; }
	fi
	say "compiling $folder"
	# shellcheck disable=SC2086
	make -C "$folder" -j "$jobs" -s $target >"$folder/build.log" 2>&1 ||
		{ tail -n 40 "$folder/build.log" >&2; die "compiling failed: $folder/build.log"; }
	grep -E 'warning:' "$folder/build.log" >&2 || true
}

build_plain() { build_in build/plain all; }

# npm_build FOLDER: its dependencies as its lock file has them, then its script "build"
npm_build() (
	cd "$1"
	[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-fund --no-audit >&2 ||
		die "npm could not install what $1 is built with"
	npm run --silent "${2:-build}" >&2
)
