# SPDX-License-Identifier: Apache-2.0
"""XA: a try that prepares, in libsaga's C, in the package for Python, and as the guide has it; services that are killed between the phases."""
import dataclasses
import itertools
import json
import re
import select
import socketserver
import subprocess
import sys
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg
import psycopg.rows
import psycopg2
import pytest

from lib.barrier import SCRIPTS
from lib.base import BIN, ROOT, free_port, until
from lib.client import Client
from lib.cluster import Cluster
from lib.postgres import Postgres, rows, value
from lib.stub import Reply, Stub

sys.path.insert(0, str(ROOT / "participants/python/src"))

import sagad  # noqa: E402
from sagad import wsgi, xa  # noqa: E402

PROGRAM = BIN / "tests/integration/xa_service"
IN_PYTHON, IN_ANY = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/xa.md").read_text(), re.M | re.S)
GUIDE = {}
exec(IN_ANY, GUIDE)  # pylint: disable=exec-used
_gids = itertools.count(1)
TABLE = "CREATE TABLE IF NOT EXISTS booked (gid text)"
ACCEPTED = "2026-11-23T08:40:54.123Z"


class Service:
    """The C service as a process."""

    PROGRAM = [PROGRAM]

    def __init__(self, dsn):
        self.at = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.at}"
        self.dsn = dsn
        self.start()

    def start(self):
        self.process = subprocess.Popen([*self.PROGRAM, self.dsn, self.at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
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


class ServiceInPython(Service):
    """The same with participants/python."""

    PROGRAM = [sys.executable, ROOT / "tests/integration/lib/xa_service.py"]


def headers(gid, op):
    return {"Saga-Id": gid, "Saga-Step": "debit", "Saga-Op": op, "Saga-Epoch": "1", "Saga-Accepted": ACCEPTED}


def hold(db, gid, body):
    """The work of a try. False: refused."""
    cursor = db.cursor()
    cursor.execute("INSERT INTO booked VALUES (%s)", (gid,))
    if "break" in body:
        try:
            cursor.execute("SELECT 1 / 0")
        except (psycopg.Error, psycopg2.Error):
            pass  # an error that nobody looks at
    if "fail" in body:
        raise RuntimeError("the work fails")
    return "refuse" not in body


class Guide:
    """The same in Python, as the guide has it."""

    def __init__(self, dsn):
        self.dsn = dsn

    def call(self, gid, op, body="{}"):
        with psycopg.connect(self.dsn, autocommit=True) as db:
            return GUIDE["serve"](db, headers(gid, op), lambda used: hold(used, gid, body))

    def close(self):
        pass


class Package:
    """The same with participants/python, on connections that begin transactions on their own."""

    def __init__(self, dsn):
        self.db = self.connect(dsn)
        self.bank = sagad.Participant(lambda: self.db, release=lambda used: None)
        self.bank.setup(prepares=True)
        self.bank.prepared("/try", confirm="/confirm", cancel="/cancel")(self.work)

    def connect(self, dsn):
        return psycopg.connect(dsn, row_factory=psycopg.rows.dict_row)

    @staticmethod
    def work(call, db):
        if "ongoing" in call.json():
            return sagad.ongoing()
        done = hold(db, call.gid, call.body.decode())
        for word in ("commit", "begin"):
            if word in call.json():
                db.cursor().execute(word)
        if not done:
            raise sagad.Refused("sold out")
        return {"nobody": "hears this"}

    def call(self, gid, op, body="{}"):
        status, _, content = self.bank.serve(f"/{op}", headers(gid, op), body.encode())
        assert self.db.info.transaction_status == 0 and not self.db.autocommit, "it is left as it came"
        assert (status == 204) == (content == b"")
        return status

    def close(self):
        self.db.close()


class PackageOnPsycopg2(Package):
    def connect(self, dsn):
        return psycopg2.connect(dsn)


class ManyAtOnce(socketserver.ThreadingMixIn, WSGIServer):
    request_queue_size = 128


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
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
    with psycopg.connect(dsn) as db, pytest.raises(xa.NotReady, match="max_prepared_transactions is 0"):
        xa.ready(db)
    refused = subprocess.run([PROGRAM, dsn, "127.0.0.1:1"], capture_output=True, text=True, check=False)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER SYSTEM SET max_prepared_transactions = 50")
        db.execute(SCRIPTS["postgresql"])
        db.execute(TABLE)
    server.stop()
    server.start()
    with psycopg.connect(server.new_database()) as db, pytest.raises(xa.NotReady, match="no sagad_barrier_step"):
        xa.ready(db)
    assert refused.returncode == 1 and "max_prepared_transactions is 0" in refused.stderr, refused
    return dsn


@pytest.fixture(params=[Service, Guide, Package, PackageOnPsycopg2])
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


@pytest.mark.parametrize("word", ["commit", "refuse"])
def test_work_that_commits_and_begins_anew_is_not_taken_for_prepared(service, dsn, gid, word):
    """What it committed stays, with the try's row, so that a cancel is told."""
    if isinstance(service, Guide):
        pytest.skip("the guide's is too short to look")
    body = json.dumps({"commit": 1, "begin": 1, word: 1})
    play(service, dsn, gid, (f"try {body}", 503, 0, 1), ("cancel", 409, 0, 1))


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


def test_package_refuses_what_cannot_be_prepared(dsn, gid):
    service = PackageOnPsycopg2(dsn)
    play(service, dsn, gid, ('try {"ongoing": 1}', 503, 0, 0), ('try {"commit": 1}', 503, 0, 1), ("cancel", 409, 0, 1))
    service.db.cursor().execute("SELECT 1")  # somebody's transaction
    assert xa.run(service.db, sagad.Call(gid, "debit", "confirm")).status == 503
    service.db.rollback()
    for call in (sagad.Call(gid, "debit", "check"), sagad.Call("a'b", "debit", "confirm"), sagad.Call(f"{gid}-new", "debit", "try")):
        assert xa.run(service.db, call).status == 503, call
    service.close()
    assert xa.run(service.db, sagad.Call(gid, "debit", "cancel")).status == 503


def test_package_reports_no_error_where_another_session_ends_the_same(dsn, gid, caplog, monkeypatch):
    """PostgreSQL says 55000, "is busy". To a try it says the same where nothing can be prepared, and that is one."""
    service = Package(dsn)
    done = xa._command  # pylint: disable=protected-access

    def busy(barrier, words, name=""):
        if "PREPARE" in words:
            raise psycopg.errors.ObjectNotInPrerequisiteState("it is busy")
        done(barrier, words, name)
    monkeypatch.setattr(xa, "_command", busy)
    play(service, dsn, gid, ("confirm", 503, 0, 0), ("cancel", 503, 0, 0))
    assert not caplog.records
    play(service, dsn, gid, ("try", 503, 0, 0))
    assert "try of step debit" in caplog.text


def test_package_looks_at_what_became_of_its_commands(dsn, gid, monkeypatch):
    """What is kept last fails in a transaction that has failed. If it did not, only the tag would tell."""
    service = Package(dsn)
    def fails(barrier, *_):
        with pytest.raises(psycopg.errors.DivisionByZero):
            barrier.connection.cursor().execute("SELECT 1 / 0")
        return True
    with monkeypatch.context() as without:
        without.setattr(sagad.Barrier, "keep", fails)
        play(service, dsn, gid, ("try", 503, 0, 0))
    play(service, dsn, gid, ("try", 204, 1, 0), ("cancel", 200, 0, 0))
    service.close()


def test_service_of_the_package_passes_the_probes_of_verify(dsn, caplog):
    bank = sagad.Participant(lambda: psycopg.connect(dsn))
    bank.prepared("/hold", confirm="/confirm", cancel="/cancel")(Package.work)
    with make_server("127.0.0.1", 0, wsgi.application(bank), server_class=ManyAtOnce, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = subprocess.run([BIN / "sagactl/sagactl", "verify", f"{url}/hold", "--confirm-url", f"{url}/confirm", "--cancel-url", f"{url}/cancel",
                               "--refused", '{"refuse": 1}', "--json"], capture_output=True, text=True, check=False, timeout=120)
        server.shutdown()
        thread.join()
    states = {probe["name"]: probe["state"] for probe in json.loads(done.stdout)["probes"]}
    assert done.returncode == 0 and [states.pop(name) for name in ("signature", "state")] == ["skipped"] * 2, done.stdout
    assert states.pop("old_epoch") == "hint", "the epoch that the try had is in what is prepared"
    assert set(states.values()) == {"ok"}, done.stdout
    assert not [line for line in caplog.records if line.name == "sagad"], "to meet another call is no error"
    assert not rows(dsn, "SELECT 1 FROM pg_prepared_xacts"), "each was ended"


def test_package_as_the_guide_has_it(dsn, gid):
    with psycopg.connect(dsn) as db:
        db.execute("CREATE TABLE account (name text, balance int)")
        db.execute("INSERT INTO account VALUES ('ann', 5)")
    bank = sagad.Participant(lambda: psycopg.connect(dsn))
    exec(IN_PYTHON, {"bank": bank, "sagad": sagad})  # pylint: disable=exec-used

    def does(op, name, amount=3):
        body = json.dumps({"account": "ann", "amount": amount}).encode()
        status, sent, _ = bank.serve(name, headers(f"{gid}:{amount}", op), body)
        return status, sent.get("Saga-Outcome"), value(dsn, "SELECT balance FROM account")
    assert [does("try", "/hold"), does("confirm", "/confirm")] == [(204, None, 5), (204, None, 2)]
    assert [does("try", "/hold", 9), does("cancel", "/cancel", 9)] == [(422, "refused", 2), (200, None, 2)]


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


@pytest.fixture
def in_python(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Service", ServiceInPython)


@pytest.mark.parametrize("decision", ["confirmed", "cancelled"])
def test_service_in_python_killed_between_the_phases(in_python, dsn, cluster, other, gid, decision):
    test_service_killed_between_the_phases(dsn, cluster, other, gid, decision)


def test_service_in_python_killed_in_its_try(in_python, dsn, gid):
    test_service_killed_in_its_try(dsn, gid)


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
    Package(dsn).close()
    play(service, dsn, gid, ("cancel", 200, 0, 0))


def sweep_in_c(dsn, url, age_s=0):
    done = subprocess.run([PROGRAM, dsn, "sweep", url, str(age_s)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def sweep_in_python(dsn, url, age_s=0):
    client = sagad.Client(url, timeout_s=0.5)
    with psycopg.connect(dsn) as db:
        swept = dataclasses.asdict(xa.sweep(db, client, age_s))
    client.close()
    assert (swept.pop("oldest_s") < 60) and swept.keys() == {"seen", "rolled_back", "committed", "left"}
    return swept


def tells(other, gid, reply):
    """What it answers when asked for gid, whose colon the client in Python escapes. Gives who asked."""
    paths = [f"/v1/transactions/{name}" for name in (gid, gid.replace(":", "%3A"))]
    for path in paths:
        other.on(path, reply)
    return lambda: [call for path in paths for call in other.seen(path)]


@pytest.fixture(params=[sweep_in_c, sweep_in_python])
def sweep(request):
    return request.param


def test_sweep_presumes_abort_and_nothing_without_sagads_word(dsn, cluster, other, gid, sweep):
    service = Guide(dsn)
    play(service, dsn, gid, ("try", 204, 1, 0))
    nobody = f"http://127.0.0.1:{free_port()}"
    assert sweep(dsn, nobody) == {"seen": 1, "rolled_back": 0, "committed": 0, "left": 1}
    asked = tells(other, gid, Reply(404, {"code": "not_found"}))
    assert sweep(dsn, other.url)["left"] == 1 and asked(), "some other 404 is not sagad's word"
    url = cluster.replicas[0].url
    assert sweep(dsn, url, age_s=3600)["seen"] == 0, "too young"
    assert sweep(dsn, url) == {"seen": 1, "rolled_back": 1, "committed": 0, "left": 0}
    play(service, dsn, gid, ("try", 422, 0, 0), ("confirm", 410, 0, 0))


@pytest.mark.parametrize("phase,end,want", [("trying", False, "left"), ("confirming", False, "left"), ("cancelling", False, "left"),
                                            ("confirmed", True, "committed"), ("cancelled", True, "rolled_back"), ("abandoned", True, "left")])
def test_sweep_does_what_was_decided(dsn, other, gid, sweep, phase, end, want):
    service = Guide(dsn)
    asked = tells(other, gid, Reply(200, {"gid": gid, "phase": phase, "ended": end, "version": 7,
                                          "result": "succeeded" if phase == "confirmed" else "cancelled" if end else None}))
    play(service, dsn, gid, ("try", 204, 1, 0))
    swept = sweep(dsn, other.url)
    assert asked() and {name: n for name, n in swept.items() if n} == {"seen": 1, want: 1}
    assert (prepared(dsn, gid), booked(dsn, gid)) == {"left": (1, 0), "committed": (0, 1), "rolled_back": (0, 0)}[want]
    service.call(gid, "cancel")
