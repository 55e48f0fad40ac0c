# SPDX-License-Identifier: Apache-2.0
"""wait_result waits for the end: beyond the minute of our own API, and until its client or its replica leaves."""
import datetime
import itertools
import json
import pathlib
import shutil
import socket
import threading
import time

import pytest

from lib.base import until
from lib.client import problem
from lib.cluster import Cluster
from lib.dtm import Dtm, success
from lib.postgres import Postgres
from lib.stub import Reply

HOUR = 3600


@pytest.fixture(scope="module")
def clocked(worker):
    """A server whose clock the tests set: waits are measured by it."""
    server = Postgres(f"{worker}-dtm-wait", clock=True)
    yield server
    server.close()


@pytest.fixture(scope="module")
def cluster(clocked):
    dsn = clocked.new_database()
    made = Cluster(dsn, count=1)
    made.add(flags=["--listen.server=microhttpd"])
    yield made
    made.stop()
    shutil.rmtree(made.folder)


@pytest.fixture
def set_clock(cluster, clocked, stub, gid):
    """Sets the server's clock so many seconds ahead; back when each replica has heard of it."""
    def sees(at, n, ahead):
        saga = Dtm(cluster.client, stub, "saga", f"{gid}-{ahead}-{at[-5:].replace(':', '-')}-{n}")
        success(cluster.client.post("/api/dtmsvr/submit", saga.body(), at=at))
        made = datetime.datetime.fromisoformat(saga.query()["transaction"]["create_time"].replace("Z", "+00:00"))
        return abs(made.timestamp() - time.time() - ahead) < 60

    def change(ahead):
        clocked.set_clock(ahead)
        for r in cluster.replicas:
            n = itertools.count()
            until(lambda at=r.at, n=n: sees(at, next(n), ahead))
    return change


def waiters(cluster):
    lines = [line for r in cluster.replicas for line in r.ops("/metrics").text.splitlines()]
    return sum(float(line.split()[1]) for line in lines if line.startswith("sagad_waiters "))


class Waiter(threading.Thread):
    """Sends a request at a replica and waits for its answer, which is None where the connection ended without one."""

    def __init__(self, client, path, body, at, headers=None):
        super().__init__(daemon=True)
        self.send = lambda: client.send("POST" if body else "GET", path, body, at=at, headers=headers)
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = self.send()
        except OSError:
            pass

    def result(self):
        self.join(30)
        assert not self.is_alive()
        return self.answer


def held(cluster, stub, gid, **more):
    """A saga that goes on when /a has been told to answer, and an hour has passed, or somebody says so."""
    stub.on("/a", Reply(425))
    return Dtm(cluster.client, stub, "saga", gid, wait_result=True, retry_interval=HOUR, **more).add("/a", "/a-undo")


def test_it_waits_longer_than_our_own_api(cluster, set_clock, stub, gid):
    one, two = cluster.replicas
    saga = held(cluster, stub, gid)
    post = lambda at, **headers: Waiter(cluster.client, "/api/dtmsvr/submit", saga.body(), at, headers)  # noqa: E731
    endless = [post(one.at)]
    until(lambda: stub.calls and waiters(cluster) == 1)
    endless.append(post(two.at))  # which does not drive it
    hours = post(two.at, Prefer="wait=7200")
    ours = Waiter(cluster.client, f"/v1/transactions/{gid}?wait=60s", None, one.at)
    until(lambda: waiters(cluster) == 4)
    set_clock(HOUR // 2)
    assert ours.result().json["phase"] == "trying"  # the clock is seen to have gone on
    until(lambda: waiters(cluster) == 3)
    set_clock(HOUR * 9 // 10)
    assert waiters(cluster) == 3 and all(w.is_alive() for w in [*endless, hours])
    stub.on("/a", Reply(200))
    success(cluster.client.post("/api/dtmsvr/resetNextCronTime", {"gid": gid}))
    for waiter in [*endless, hours]:
        success(waiter.result())
    assert hours.result().headers["Preference-Applied"] == "wait=7200"
    assert "Preference-Applied" not in endless[0].result().headers
    assert waiters(cluster) == 0


def test_a_client_may_say_how_long(cluster, set_clock, stub, gid):
    saga = held(cluster, stub, gid)
    waiter = Waiter(cluster.client, "/api/dtmsvr/submit", saga.body(), cluster.replicas[0].at, {"Prefer": "wait=600"})
    until(lambda: stub.calls and waiters(cluster) == 1)
    set_clock(HOUR * 9 // 10 + 300)
    assert cluster.client.transaction(gid)["phase"] == "trying" and waiter.is_alive()
    set_clock(HOUR * 9 // 10 + 700)
    answer = waiter.result()
    assert answer.status == 425 and answer.json["dtm_result"] == "ONGOING" and "submitted" in answer.json["message"]
    assert answer.headers["Preference-Applied"] == "wait=600"
    success(cluster.client.post("/api/dtmsvr/forceStop", {"gid": gid}))


def test_by_json_rpc_as_well(cluster, stub, gid):
    saga = held(cluster, stub, gid)
    body = {"jsonrpc": "2.0", "id": "x", "method": "submit", "params": saga.body()}
    waiter = Waiter(cluster.client, "/api/json-rpc", body, cluster.replicas[1].at)
    until(lambda: stub.calls and waiters(cluster) == 1)
    success(cluster.client.post("/api/dtmsvr/forceStop", {"gid": gid}))
    answer = waiter.result()
    assert answer.status == 200 and answer.json["error"]["code"] == -32901, answer


def keeps_alive(port, peer):
    """Does the kernel look now and then whether the peer of that connection is there? (proc_net_tcp.txt: tr is 2.)"""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[2].endswith(f":{peer:04X}") and row[5].startswith("02:") for row in rows)


@pytest.mark.parametrize("server", [0, 1], ids=["own", "microhttpd"])
def test_who_leaves_is_let_go(cluster, stub, gid, server):
    replica = cluster.replicas[server]
    body = json.dumps(held(cluster, stub, gid).body()).encode()
    head = b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", replica.port)) as link:
        link.sendall(head + body)
        until(lambda: stub.calls and waiters(cluster) == 1)
        # Who vanishes without a word, a machine without power, is found out by the kernel.
        until(lambda: keeps_alive(replica.port, link.getsockname()[1]))
    until(lambda: waiters(cluster) == 0)
    assert cluster.client.transaction(gid)["phase"] == "trying"
    success(cluster.client.post("/api/dtmsvr/forceStop", {"gid": gid}))


def test_a_replica_that_leaves_says_so_and_another_waits_on(cluster, stub, gid):
    leaving = cluster.add()
    saga = held(cluster, stub, gid)
    waiter = Waiter(cluster.client, "/api/dtmsvr/submit", saga.body(), leaving.at)
    until(lambda: stub.calls and waiters(cluster) == 1)
    cluster.remove(leaving)
    assert leaving.terminate() == 0
    answer = waiter.result()
    assert answer.status == 425 and answer.json["dtm_result"] == "ONGOING" and "leaves" in answer.json["message"], answer
    again = Waiter(cluster.client, "/api/dtmsvr/submit", saga.body(), cluster.replicas[0].at)
    until(lambda: waiters(cluster) == 1)
    stub.on("/a", Reply(200))
    success(cluster.client.post("/api/dtmsvr/resetNextCronTime", {"gid": gid}))
    success(again.result())
    assert saga.called() == ["/a action"] * 2


def test_who_waits_takes_a_place(clocked, stub, gid):
    dsn = clocked.new_database()
    cluster = Cluster(dsn, count=1, flags=["--max-waiters=1"])
    try:
        first = Waiter(cluster.client, "/api/dtmsvr/submit", held(cluster, stub, gid).body(), None)
        until(lambda: stub.calls and waiters(cluster) == 1)
        problem(held(cluster, stub, gid + "-2").submit(), 429, "too_many_waiters")
        success(cluster.client.post("/api/dtmsvr/forceStop", {"gid": gid}))
        assert first.result().status == 409
        until(lambda: waiters(cluster) == 0)
        second = Waiter(cluster.client, "/api/dtmsvr/submit", held(cluster, stub, gid + "-2").body(), None)
        until(lambda: waiters(cluster) == 1)
        success(cluster.client.post("/api/dtmsvr/forceStop", {"gid": gid + "-2"}))
        assert second.result().status == 409
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder)
