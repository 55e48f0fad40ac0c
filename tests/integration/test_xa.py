# SPDX-License-Identifier: Apache-2.0
"""XA: a try that prepares, in libsaga's C and as the guide has it in Python; services that are killed between the phases."""
import itertools
import json
import re
import select
import subprocess
import threading
import time

import psycopg
import pytest

from lib.barrier import SCRIPTS
from lib.base import BIN, ROOT, free_port, until
from lib.client import Client
from lib.cluster import Cluster
from lib.postgres import Postgres, rows, value
from lib.stub import Reply, Stub

PROGRAM = BIN / "tests/integration/xa_service"
CODE = re.search(r"^```python\n(.*?)^```$", (ROOT / "docs/xa.md").read_text(), re.M | re.S).group(1)
GUIDE = {}
exec(CODE, GUIDE)  # pylint: disable=exec-used
_gids = itertools.count(1)
TABLE = "CREATE TABLE IF NOT EXISTS booked (gid text)"
ACCEPTED = "2026-11-23T08:40:54.123Z"


class Service:
    """The C service as a process."""

    def __init__(self, dsn):
        self.at = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.at}"
        self.dsn = dsn
        self.start()

    def start(self):
        self.process = subprocess.Popen([PROGRAM, self.dsn, self.at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said, _, _ = select.select([self.process.stdout], [], [], 20)
        assert said and self.process.stdout.readline() == "ready\n"

    def call(self, gid, op, body="{}", timeout=20):
        path = {"try": "/hold", "confirm": "/confirm", "cancel": "/cancel"}[op]
        return Client(lambda: [self.at]).send("POST", path, json.loads(body), {
            "Saga-Id": gid, "Saga-Step": "debit", "Saga-Op": op, "Saga-Epoch": "1", "Saga-Accepted": ACCEPTED}, timeout=timeout).status

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Guide:
    """The same in Python, as the guide has it."""

    def __init__(self, dsn):
        self.dsn = dsn

    def call(self, gid, op, body="{}"):
        def work(db):
            db.execute("INSERT INTO booked VALUES (%s)", (gid,))
            if "break" in body:
                try:
                    db.execute("SELECT 1 / 0")
                except psycopg.Error:
                    pass  # an error that nobody looks at
            if "fail" in body:
                raise RuntimeError("the work fails")
            return "refuse" not in body
        with psycopg.connect(self.dsn, autocommit=True) as db:
            return GUIDE["serve"](db, {"Saga-Id": gid, "Saga-Step": "debit", "Saga-Op": op, "Saga-Epoch": "1", "Saga-Accepted": ACCEPTED}, work)

    def close(self):
        pass


@pytest.fixture(scope="module")
def server(worker):
    """A PostgreSQL that can prepare: first it cannot."""
    made = Postgres(f"xa-{worker}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def dsn(server):
    dsn = server.new_database()
    refused = subprocess.run([PROGRAM, dsn, "127.0.0.1:1"], capture_output=True, text=True, check=False)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER SYSTEM SET max_prepared_transactions = 50")
        db.execute(SCRIPTS["postgresql"])
        db.execute(TABLE)
    server.stop()
    server.start()
    assert refused.returncode == 1 and "max_prepared_transactions is 0" in refused.stderr, refused
    return dsn


@pytest.fixture(params=[Service, Guide])
def service(request, dsn):
    made = request.param(dsn)
    yield made
    made.close()
    with psycopg.connect(dsn, autocommit=True) as db:
        for name, in db.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            db.execute(psycopg.sql.SQL("ROLLBACK PREPARED ") + psycopg.sql.Literal(name))


@pytest.fixture
def gid():
    return f"xa:{next(_gids)}"


def prepared(dsn, gid):
    return value(dsn, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = %s", f"saga:{gid}:debit")


def booked(dsn, gid):
    return value(dsn, "SELECT count(*) FROM booked WHERE gid = %s", gid)


def play(service, dsn, gid, *acts):
    """(op, status, prepared, booked) in their order."""
    for op, *want in acts:
        op, _, body = op.partition(" ")
        got = service.call(gid, op, body or "{}")
        assert [got, prepared(dsn, gid), booked(dsn, gid)] == want, (op, body)


def test_try_prepares_and_confirm_commits_each_once(service, dsn, gid):
    play(service, dsn, gid, ("try", 204, 1, 0), ("try", 204, 1, 0), ("confirm", 204, 0, 1), ("confirm", 204, 0, 1), ("try", 204, 0, 1),
         ("cancel", 409, 0, 1))


def test_cancel_rolls_back_and_forbids_the_try(service, dsn, gid):
    play(service, dsn, gid, ("try", 204, 1, 0), ("cancel", 200, 0, 0), ("cancel", 200, 0, 0), ("try", 422, 0, 0), ("confirm", 410, 0, 0))


def test_cancel_before_its_try(service, dsn, gid):
    play(service, dsn, gid, ("cancel", 200, 0, 0), ("try", 422, 0, 0), ("cancel", 200, 0, 0))


def test_confirm_without_a_try_finds_nothing(service, dsn, gid):
    play(service, dsn, gid, ("confirm", 410, 0, 0), ("try", 204, 1, 0))


def test_refusal_is_kept_and_what_was_written_is_not(service, dsn, gid):
    play(service, dsn, gid, ('try {"refuse": 1}', 422, 0, 0), ("try", 422, 0, 0), ("cancel", 200, 0, 0), ("try", 422, 0, 0))


def test_work_that_failed_is_called_again(service, dsn, gid):
    play(service, dsn, gid, ('try {"fail": 1}', 503, 0, 0), ("try", 204, 1, 0))


def test_transaction_that_failed_is_not_taken_for_prepared(service, dsn, gid):
    """PREPARE TRANSACTION says ROLLBACK then, and no error."""
    play(service, dsn, gid, ('try {"break": 1}', 503, 0, 0), ("try", 204, 1, 0), ("confirm", 204, 0, 1))


def test_confirm_that_died_after_the_commit_is_done(service, dsn, gid):
    """Between COMMIT PREPARED and the note of it."""
    play(service, dsn, gid, ("try", 204, 1, 0))
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(psycopg.sql.SQL("COMMIT PREPARED ") + psycopg.sql.Literal(f"saga:{gid}:debit"))
    play(service, dsn, gid, ("confirm", 204, 0, 1), ("cancel", 409, 0, 1))


def test_cancel_after_a_commit_that_nobody_noted_is_told_so(service, dsn, gid):
    play(service, dsn, gid, ("try", 204, 1, 0))
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(psycopg.sql.SQL("COMMIT PREPARED ") + psycopg.sql.Literal(f"saga:{gid}:debit"))
    play(service, dsn, gid, ("cancel", 409, 0, 1), ("confirm", 204, 0, 1))


def test_cancel_that_meets_a_try_at_work_comes_again(service, dsn, gid):
    """The try has its row and is not prepared: nothing can be rolled back, and the cancel must not wait for ever."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("BEGIN")
        db.execute("SELECT sagad_barrier(%s, 'debit', 'try', 1)", (gid,))
        db.execute("INSERT INTO booked VALUES (%s)", (gid,))
        began = time.monotonic()
        play(service, dsn, gid, ("cancel", 503, 0, 0))
        assert 0.9 < time.monotonic() - began
        play(service, dsn, gid, ("try", 503, 0, 0))  # nor must a duplicate
        db.execute(psycopg.sql.SQL("PREPARE TRANSACTION ") + psycopg.sql.Literal(f"saga:{gid}:debit"))
        play(service, dsn, gid, ("try", 204, 1, 0), ("cancel", 200, 0, 0), ("try", 422, 0, 0))


# ---- with sagad, and death ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(server, dsn):
    made = Cluster(server.new_database(), count=1)
    yield made
    made.stop()


def begin(client, gid, service, other, **input_):
    def op(url, path):
        return {"url": f"{url}{path}", "body": input_}
    steps = {"debit": {name: op(service.url, path) for name, path in (("try", "/hold"), ("confirm", "/confirm"), ("cancel", "/cancel"))},
             "credit": {**{name: op(other.url, f"/{name}") for name in ("try", "confirm", "cancel")}, "after": ["debit"]}}
    retry = {"initial": "50ms", "max": "200ms", "jitter": "none"}
    answer = client.send("POST", "/v1/transactions", {"gid": gid, "mode": "saga", "deadline": "1m", "input": {}, "steps": steps,
                                                      "defaults": {"timeout": "2s", "retry": retry}})
    assert answer.status in (201, 202), answer.json


@pytest.fixture
def other():
    made = Stub()
    yield made
    made.close()


@pytest.mark.parametrize("decision", ["confirmed", "cancelled"])
def test_service_killed_between_the_phases(dsn, cluster, other, gid, decision):
    """kill -9 when its try is prepared; it comes back at the same place, and the second phase finds what it left."""
    service = Service(dsn)
    gate = threading.Event()
    other.on("/try", Reply(200 if decision == "confirmed" else 422, hold=gate))
    try:
        begin(cluster.client, gid, service, other)
        until(lambda: prepared(dsn, gid) and other.seen("/try"))
        service.close()
        gate.set()
        until(lambda: cluster.client.get(f"/v1/transactions/{gid}").json["phase"] in ("confirming", "cancelling"))
        assert (prepared(dsn, gid), booked(dsn, gid)) == (1, 0)
        service.start()
        until(lambda: cluster.client.get(f"/v1/transactions/{gid}").json["phase"] == decision)
        assert (prepared(dsn, gid), booked(dsn, gid)) == (0, int(decision == "confirmed"))
    finally:
        gate.set()
        service.close()


def test_service_killed_in_its_try(dsn, gid):
    """What was not prepared is gone with it, and the next attempt does it once."""
    service = Service(dsn)
    calls = threading.Thread(target=lambda: pytest.raises(Exception, service.call, gid, "try", '{"work": "sleep"}'))
    calls.start()
    try:
        until(lambda: rows(dsn, "SELECT 1 FROM pg_locks WHERE relation = 'booked'::regclass"))
    finally:
        service.close()
        calls.join()
    until(lambda: not rows(dsn, "SELECT 1 FROM pg_locks WHERE relation = 'booked'::regclass"))
    service = Service(dsn)
    try:
        play(service, dsn, gid, ("try", 204, 1, 0), ("confirm", 204, 0, 1))
    finally:
        service.close()


def test_service_starts_while_something_is_prepared(dsn, gid):
    """What sets the barrier up must not wait for a transaction that nobody ends."""
    service = Guide(dsn)
    play(service, dsn, gid, ("try", 204, 1, 0))
    Service(dsn).close()
    play(service, dsn, gid, ("cancel", 200, 0, 0))


def sweep(dsn, url, age_s=0):
    done = subprocess.run([PROGRAM, dsn, "sweep", url, str(age_s)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_sweep_presumes_abort_and_nothing_without_sagads_word(dsn, cluster, other, gid):
    service = Guide(dsn)
    play(service, dsn, gid, ("try", 204, 1, 0))
    nobody = f"http://127.0.0.1:{free_port()}"
    assert sweep(dsn, nobody) == {"seen": 1, "rolled_back": 0, "committed": 0, "left": 1}
    other.on(f"/v1/transactions/{gid}", Reply(404, {"code": "not_found"}))
    assert sweep(dsn, other.url)["left"] == 1, "some other 404 is not sagad's word"
    url = cluster.replicas[0].url
    assert sweep(dsn, url, age_s=3600)["seen"] == 0, "too young"
    assert sweep(dsn, url) == {"seen": 1, "rolled_back": 1, "committed": 0, "left": 0}
    play(service, dsn, gid, ("try", 422, 0, 0), ("confirm", 410, 0, 0))


@pytest.mark.parametrize("phase,end,want", [("trying", False, "left"), ("confirming", False, "left"), ("cancelling", False, "left"),
                                            ("confirmed", True, "committed"), ("cancelled", True, "rolled_back"), ("abandoned", True, "left")])
def test_sweep_does_what_was_decided(dsn, other, gid, phase, end, want):
    service = Guide(dsn)
    other.on(f"/v1/transactions/{gid}", Reply(200, {"gid": gid, "phase": phase, "ended": end, "version": 7,
                                                    "result": "succeeded" if phase == "confirmed" else "cancelled" if end else None}))
    play(service, dsn, gid, ("try", 204, 1, 0))
    swept = sweep(dsn, other.url)
    assert {name: n for name, n in swept.items() if n} == {"seen": 1, want: 1}
    assert (prepared(dsn, gid), booked(dsn, gid)) == {"left": (1, 0), "committed": (0, 1), "rolled_back": (0, 0)}[want]
    service.call(gid, "cancel")
