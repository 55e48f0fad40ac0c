# SPDX-License-Identifier: Apache-2.0
"""XA with participants/typescript: what test_xa.py asks of the others. Stage sdk has compiled it."""
import inspect
import json
import os
import select
import subprocess
import urllib.parse

import psycopg
import pytest

import test_xa
from lib.base import ROOT, free_port
from lib.stub import Reply
from test_xa import booked, cluster, dsn, gid, other, play, prepared, server  # noqa: F401  pylint: disable=unused-import

PROGRAM = ROOT / "participants/typescript/build/xa_service.js"


def env(dsn):
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    return {**os.environ, **{f"PG{name.upper().replace('DBNAME', 'DATABASE')}": str(text) for name, text in given.items()}}


class TypeScript(test_xa.Service):
    def start(self):
        self.process = subprocess.Popen(["node", PROGRAM, "serve", self.at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env=env(self.dsn))
        said, _, _ = select.select([self.process.stdout], [], [], 30)
        assert said and self.process.stdout.readline() == "ready\n"


@pytest.fixture(scope="module")
def running(dsn):
    made = TypeScript(dsn)
    yield made
    made.close()


@pytest.fixture
def service(running, dsn):
    yield running
    with psycopg.connect(dsn, autocommit=True) as db:
        for name, in db.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            db.execute(psycopg.sql.SQL("ROLLBACK PREPARED ") + psycopg.sql.Literal(name))


@pytest.fixture(autouse=True)
def in_typescript(monkeypatch):
    """For the tests that start a service of their own, to kill it."""
    monkeypatch.setattr(test_xa, "Service", TypeScript)


SAME = {name: test for name, test in vars(test_xa).items() if name.startswith("test_") and "service" in inspect.signature(test).parameters}
assert len(SAME) >= 10
globals().update(SAME)
test_service_killed_between_the_phases = test_xa.test_service_killed_between_the_phases
test_service_killed_in_its_try = test_xa.test_service_killed_in_its_try
test_service_starts_while_something_is_prepared = test_xa.test_service_starts_while_something_is_prepared


def test_work_that_is_no_try_to_prepare(service, dsn, gid):
    play(service, dsn, gid, ('try {"ongoing": 1}', 503, 0, 0), ("try", 204, 1, 0), ("cancel", 200, 0, 0))
    play(service, dsn, f"{gid}-2", ('try {"commit": 1}', 503, 0, 1), ("cancel", 409, 0, 1))


def test_server_that_cannot_prepare_is_refused(postgres):
    made = postgres.new_database()
    done = subprocess.run(["node", PROGRAM, "serve", "127.0.0.1:1"], env=env(made), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "max_prepared_transactions is 0" in done.stderr, done
    postgres.drop_database(made)


def sweep(dsn, url, age_s=0):
    done = subprocess.run(["node", PROGRAM, "sweep", url, str(age_s)], env=env(dsn), capture_output=True, text=True, check=True, timeout=60)
    return {name: n for name, n in json.loads(done.stdout).items() if n and name != "oldestS"}


def path_of(gid):
    return f"/v1/transactions/{urllib.parse.quote(gid, safe='')}"


def test_sweep_presumes_abort_and_nothing_without_sagads_word(service, dsn, cluster, other, gid):
    play(service, dsn, gid, ("try", 204, 1, 0))
    assert sweep(dsn, f"http://127.0.0.1:{free_port()}") == {"seen": 1, "left": 1}
    other.on(path_of(gid), Reply(404, {"code": "not_found"}))
    assert sweep(dsn, other.url) == {"seen": 1, "left": 1} and other.seen(path_of(gid)), "some other 404 is not sagad's word"
    url = cluster.replicas[0].url
    assert not sweep(dsn, url, age_s=3600), "too young"
    assert sweep(dsn, url) == {"seen": 1, "rolledBack": 1}
    play(service, dsn, gid, ("try", 422, 0, 0), ("confirm", 410, 0, 0))


def test_sweep_does_what_was_decided(service, dsn, other, gid):
    phases = {"trying": 0, "confirming": 0, "cancelling": 0, "abandoned": 0, "confirmed": 1, "cancelled": 0}
    for phase in phases:
        play(service, dsn, f"{gid}:{phase}", ("try", 204, 1, 0))
        other.on(path_of(f"{gid}:{phase}"), Reply(200, {"gid": f"{gid}:{phase}", "phase": phase, "version": 7, "result": None}))
    assert sweep(dsn, other.url) == {"seen": 6, "left": 4, "committed": 1, "rolledBack": 1}
    left = {phase: (int(phase not in ("confirmed", "cancelled")), done) for phase, done in phases.items()}
    assert {phase: (prepared(dsn, f"{gid}:{phase}"), booked(dsn, f"{gid}:{phase}")) for phase in phases} == left
