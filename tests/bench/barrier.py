#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a call of the barrier costs on PostgreSQL, MariaDB and SQLite: barrier.py [CALLS]. In microseconds that the caller waits,
with the way to the server and back; the empty statement tells what of it is the way. Medians; the commit is not in them."""
import pathlib
import sqlite3
import statistics
import sys
import tempfile
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from lib.barrier import SCRIPTS, OnMariadb, OnPostgres, OnSqlite  # noqa: E402
from lib.mariadb import Mariadb  # noqa: E402
from lib.postgres import Postgres  # noqa: E402

DEADLINE = "2126-01-01T00:00:00.000Z"
BODY = '{"id": "o-17", "amount": 1.10}'


def measure(on, calls):
    """In an order that a service would see: each step tried, asked again, cancelled; a commit after each round."""
    times = {"empty statement": [], "try": [], "keep": [], "duplicate": [], "cancel": []}
    rounds = (("empty statement", lambda gid: on.db.execute("SELECT 1").fetchone() if hasattr(on.db, "execute") else on.execute("SELECT 1")),
              ("try", lambda gid: on.ask(gid, "a", "try", 1, DEADLINE)),
              ("keep", lambda gid: on.keep(gid, "a", "try", 201, BODY)),
              ("duplicate", lambda gid: on.ask(gid, "a", "try", 1, DEADLINE)),
              ("cancel", lambda gid: on.ask(gid, "a", "cancel", 1, DEADLINE)))
    getattr(on, "begin", lambda: None)()
    for number in range(calls):
        for name, call in rounds:
            start = time.perf_counter()
            call(f"01a2084d-9d50-7c2b-b3a1-{number:012}")
            times[name].append(time.perf_counter() - start)
        if number % 100 == 99:
            on.db.commit()
            getattr(on, "begin", lambda: None)()
    on.db.commit()
    return {name: 1e6 * statistics.median(those) for name, those in times.items()}


def on_postgres(calls):
    server = Postgres("bench-barrier")
    try:
        with psycopg.connect(server.new_database()) as db:
            db.execute(SCRIPTS["postgresql"])
            db.commit()
            return measure(OnPostgres(db), calls)
    finally:
        server.close()


def on_mariadb(calls):
    server = Mariadb("bench")
    try:
        with server.connect(server.new_database(SCRIPTS["mariadb"])) as db:
            return measure(OnMariadb(db), calls)
    finally:
        server.close()


def on_sqlite(calls):
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(f"{folder}/service.db")
        db.executescript(SCRIPTS["sqlite"])
        got = measure(OnSqlite(db), calls)
        db.close()
        return got


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    rows = {"PostgreSQL": on_postgres(calls), "MariaDB": on_mariadb(calls), "SQLite": on_sqlite(calls)}
    names = list(rows["SQLite"])
    print("| µs | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[n]:.0f}" for n in names) + " |")


if __name__ == "__main__":
    main()
