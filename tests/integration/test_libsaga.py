# SPDX-License-Identifier: Apache-2.0
"""Services and clients on libsaga, with real replicas: a service that dies before it answers, duplicates, cancels that overtake."""
import concurrent.futures
import http.client
import os
import subprocess
import threading

import pytest

from lib.base import ASAN_BIN, free_port, until
from lib.client import Client
from lib.cluster import SANITIZER, Cluster
from lib.postgres import rows, value

WORLD = ASAN_BIN / "tests/integration/libsaga_world"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Service:
    """libsaga_world serve; keep_alive starts it again when it dies."""

    def __init__(self, dsn, *more, keep_alive=False, host="127.0.0.1"):
        self.at = f"{host}:{free_port()}"
        self.url = f"http://{self.at}"
        self.command = [WORLD, "serve", self.at, dsn, *more]
        self.deaths, self.closing = 0, False
        self.client = Client(lambda: [self.at])
        self.process = None
        self.start()
        if keep_alive:
            self.keeper = threading.Thread(target=self.keep, daemon=True)
            self.keeper.start()

    def start(self):
        self.process = subprocess.Popen(self.command, env={**os.environ, **SANITIZER})
        until(self.answers, 30)

    def answers(self):
        try:
            return self.client.get("/").status == 200
        except OSError:
            return False

    def keep(self):
        while self.process.wait() == -9:
            self.deaths += 1
            self.start()

    def close(self):
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def world(postgres, tmp_path_factory):
    """A cluster that signs, a database for services, one of them signed."""
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "signed").write_text(SECRET)
    log, data = postgres.new_database(), postgres.new_database()
    cluster = Cluster(log, count=2, flags=[f"--secrets-dir={secrets}"])
    service, signed = Service(data), Service(data, SECRET)
    assert cluster.client.put("/v1/participants/signed", {"base_url": signed.url, "secret": "signed"}).status in (200, 201)
    yield cluster, service, data
    service.close()
    signed.close()
    cluster.stop()
    for dsn in (log, data):
        postgres.drop_database(dsn)


def steps(service, **more):
    call = {"timeout": "5s", **more}
    return {"a": {"action": {"url": service.url + "/hold", **call}, "compensate": {"url": service.url + "/hold/cancel"},
                  "retry": {"initial": "20ms", "max": "100ms"}}}


def effects(data, gid):
    return [op for op, in rows(data, "SELECT op FROM effect WHERE gid = %s ORDER BY n", gid)]


def test_the_client_against_a_cluster(world):
    """The first replica of the list is none: the client goes on to the next."""
    cluster, service, _ = world
    urls = ",".join(["http://127.0.0.1:9", *(r.url for r in cluster.replicas)])
    done = subprocess.run([WORLD, "client", urls, service.url], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **SANITIZER})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1..24" in done.stdout, done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_has_one_service(world, host):
    """Two that shared it would each get some of the calls, without a word."""
    _, _, data = world
    first = Service(data, host=host)
    try:
        second = subprocess.run(first.command, capture_output=True, text=True, timeout=20, env={**os.environ, **SANITIZER})
        assert second.returncode == 1 and f"cannot listen on {first.at}: is the port in use?" in second.stderr, second
        kept = http.client.HTTPConnection(host.strip("[]"), int(first.at.rpartition(":")[2]))
        kept.request("GET", "/")
        assert kept.getresponse().read() and kept.sock
        first.process.kill()
        first.process.wait()
        first.start()  # although a connection of the one before lingers
        kept.close()
    except BaseException:
        first.process.kill()
        raise
    first.close()


def test_duplicates_at_once_get_one_effect_and_one_answer(world, gid):
    _, service, data = world
    headers = {"Saga-Id": gid, "Saga-Step": "a", "Saga-Op": "try"}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(service.client.post("/hold", headers=headers)))
               for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {a.status for a in answers} == {200} and len({a.content for a in answers}) == 1, answers
    assert b'"price": 1.10' in answers[0].content and effects(data, gid) == ["try"]


def test_many_duplicates_while_the_database_ends_its_sessions(world, gid):
    """Sixty callers share four sessions, which are ended again and again: one effect, and what is answered 200 is one answer."""
    _, service, data = world
    headers = {"Saga-Id": gid, "Saga-Step": "a", "Saga-Op": "try"}
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        calls = [pool.submit(service.client.post, "/hold", headers=headers) for _ in range(120)]
        while not all(call.done() for call in calls):
            rows(data, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    answers = [call.result() for call in calls]
    assert {a.status for a in answers} <= {200, 503}, answers
    last = until(lambda: (lambda a: a if a.status == 200 else None)(service.client.post("/hold", headers=headers)))
    assert {a.content for a in answers if a.status == 200} <= {last.content} and effects(data, gid) == ["try"]


@pytest.fixture
def mortal(world):
    made = Service(world[2], keep_alive=True)
    yield made
    made.close()


def test_killed_between_its_commit_and_its_answer(world, mortal, gid):
    """Attempt 1 of every call ends with kill -9 of the service, behind the commit."""
    cluster, _, data = world
    got = cluster.client.run(gid=gid, mode="saga", steps=steps(mortal), input={"die": 1}, output={"n": "${steps.a.output.n}"})
    assert got["phase"] == "confirmed", got
    assert mortal.deaths >= 1 and effects(data, gid) == ["try"], effects(data, gid)
    assert got["output"]["n"] == value(data, "SELECT n FROM effect WHERE gid = %s", gid), "the answer of the first time"


def test_a_cancel_overtakes_its_try(world, gid):
    """The try is given up while it stalls, so the cancel comes first; when the try comes, it is refused. Half of them
    stall so briefly that it is anybody's race."""
    cluster, service, data = world
    gids = [f"{gid}-{i}" for i in range(12)]
    for i, one in enumerate(gids):
        call = steps(service, timeout="60ms")
        call["a"]["retry"]["attempts"] = 1
        answer = cluster.client.begin(gid=one, mode="saga", steps=call, input={"stall_ms": 300 if i % 2 else 58})
        assert answer.status == 201, answer
    phases = {one: cluster.client.ended(one)["phase"] for one in gids}
    assert all(phases[one] == "cancelled" for one in gids[1::2]), phases
    for one in gids:
        late = service.client.post("/hold", headers={"Saga-Id": one, "Saga-Step": "a", "Saga-Op": "try"})
        if phases[one] == "confirmed":
            assert effects(data, one) == ["try"] and late.status == 200
        else:
            assert effects(data, one) in ([], ["try", "cancel"]), effects(data, one)
            assert late.status == (200 if effects(data, one) else 422), late


def test_what_is_no_call(world, gid):
    _, service, data = world
    call = {"Saga-Id": gid, "Saga-Step": "a", "Saga-Op": "try"}
    post = service.client.post
    assert post("/nowhere", headers=call).status == 400, "not 404, which may be taken for nothing to undo"
    assert post("/hold/confirm", headers=call).status == 400, "a try at the URL of the confirm"
    assert "Saga-Op" in post("/hold", headers={**call, "Saga-Op": "TRY"}).json["error"]
    assert post("/hold", b"x" * (1 << 20 | 1), headers=call).status == 413
    assert post("/hold", headers={**call, "X-Big": "y" * 40_000}).status == 431
    assert effects(data, gid) == []
    for method in ("GET", "OPTIONS", "QUERY"):
        answer = service.client.send(method, "/hold", headers=call)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST, PUT, PATCH, DELETE"), answer
    for name, again in (("Saga-Id", gid), ("Saga-Op", "cancel"), ("saga-epoch", "1")):
        answer = doubled(service, {"Saga-Epoch": "2", **call}, name, again)
        assert answer[0] == 400 and name.lower() in answer[1].lower(), answer
    assert effects(data, gid) == []
    assert doubled(service, call, "X-Weather", "fair")[0] == 200


def doubled(service, headers, name, again):
    """One header more, in a line of its own."""
    link = http.client.HTTPConnection(service.at, timeout=30)
    try:
        link.putrequest("POST", "/hold")
        for line in [*headers.items(), ("X-Weather", "foul"), (name, again), ("Content-Length", "0")]:
            link.putheader(*line)
        link.endheaders()
        answer = link.getresponse()
        return answer.status, answer.read().decode()
    finally:
        link.close()


def test_a_call_may_have_many_headers(world, gid):
    """As many as a definition may give it, and what proxies add; other methods than POST as well."""
    _, service, data = world
    call = {"Saga-Id": gid, "Saga-Step": "a", "Saga-Op": "try", **{f"X-{i}": "y" * 50 for i in range(120)}}
    assert [service.client.send(method, "/hold", b"{}", headers=call).status for method in ("PUT", "DELETE", "PATCH")] == [200] * 3
    assert effects(data, gid) == ["try"]
