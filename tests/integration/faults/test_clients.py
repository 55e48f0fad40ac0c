# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, ask twice at once, contradict each other, dawdle, or stay for ever."""
import collections
import contextlib
import json
import random
import resource
import socket
import time

import pytest

from faults.faults_clients import at_once
from faults.process import MIB, Flat, fds
from faults.world import fault
from lib.base import until
from lib.client import Client, problem
from lib.postgres import value
from lib.stub import Reply


def saga(stub, path="/a", **more):
    return {"mode": "saga", "input": {"n": 1},
            "steps": {"a": {"action": {"url": stub.url + path, "timeout": "20s"}, "compensate": {"url": stub.url + "/undo"}}}, **more}


def waiters(cluster):
    found = 0
    for r in cluster.replicas:
        found += sum(float(line.rsplit(" ", 1)[1]) for line in r.ops("/metrics").text.splitlines()
                     if line.startswith("sagad_waiters "))
    return found


def open_links(replica, count):
    return [socket.create_connection(("127.0.0.1", replica.port), timeout=10) for _ in range(count)]


def close_all(links):
    for link in links:
        link.close()


# ---- who leaves -----------------------------------------------------------------------------


def test_clients_that_leave_while_they_wait(cluster, stub, gid):
    """Each waiter is let go at once, on the owner and elsewhere; what they waited for ends all the same."""
    stub.on("/slow", Reply(200, delay=4))
    begins = [json.dumps(saga(stub, "/slow", gid=f"{gid}-{i}")).encode() for i in range(3)]
    with Flat(cluster.replicas):
        links = []
        for body, r in zip(begins, cluster.replicas):
            beginner, = open_links(r, 1)
            beginner.sendall(b"POST /v1/transactions?wait=50s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                             b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            links.append(beginner)
        for i in range(3):
            until(lambda i=i: cluster.client.get(f"/v1/transactions/{gid}-{i}").status == 200, 10)
            for r in cluster.replicas:
                for link in open_links(r, 20):
                    link.sendall(f"GET /v1/transactions/{gid}-{i}?wait=50s HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    links.append(link)
        until(lambda: waiters(cluster) == len(links), 5)
        close_all(links)
        until(lambda: waiters(cluster) == 0, 3)  # of the 46 they still wanted to wait
        for i in range(3):
            assert cluster.client.ended(f"{gid}-{i}")["phase"] == "confirmed"


# ---- who asks twice -------------------------------------------------------------------------


def test_the_same_gid_from_ten_connections_at_once(cluster, stub, gid):
    """One is told 201; the others get the same transaction, and who meant another one is told so."""
    rounds, tried = 20, 0
    for i in range(rounds):
        one, other = saga(stub, gid=f"{gid}-{i}"), saga(stub, gid=f"{gid}-{i}", input={"n": 2})
        places = [cluster.replicas[n % 3].at for n in range(10)]
        answers = at_once([
            lambda at=at, n=n: cluster.client.post("/v1/transactions?wait=20s", other if n >= 8 else one, at=at)
            for n, at in enumerate(places)])
        made = [n for n, a in enumerate(answers) if a.status == 201]
        assert len(made) == 1, answers
        for n, a in enumerate(answers):
            if (n >= 8) != (made[0] >= 8):
                problem(a, 422, "idempotency_key_reused")
            elif n != made[0]:
                assert a.status == 200 and a.headers["Saga-Replayed"] == "true", a
                assert a.json["phase"] == "confirmed" and a.json["gid"] == one["gid"], a
        tried += len(stub.seen("/a", f"{gid}-{i}"))
        assert value(cluster.dsn, "SELECT count(*) FROM sagad.transaction WHERE gid = %s", one["gid"]) == 1
    assert tried == rounds, "each was called once"


# ---- who contradicts -----------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [50])
def test_confirm_and_cancel_at_the_same_moment(cluster, stub, gid, rounds):
    """On two replicas, of which neither may be the owner: one decision, and the loser is told."""
    won = collections.Counter()
    for i in range(rounds):
        g, client = f"{gid}-{i}", cluster.client
        assert client.post("/v1/transactions", {"gid": g, "mode": "tcc", "deadline": "10m", "input": {}},
                           at=cluster.replicas[i % 3].at).status == 201
        joined = client.post(f"/v1/transactions/{g}/steps",
                             {"name": "s", "confirm": {"url": stub.url + "/c"}, "cancel": {"url": stub.url + "/u"}})
        assert joined.status == 201, joined
        places = (cluster.replicas[(i // 3) % 3].at, cluster.replicas[(i // 9 + 1) % 3].at)
        confirm, cancel = at_once([
            lambda g=g, p=places[0]: client.post(f"/v1/transactions/{g}/confirm", at=p),
            lambda g=g, p=places[1]: client.post(f"/v1/transactions/{g}/cancel", at=p)])
        winner, loser, op = (confirm, cancel, "confirm") if confirm.status < 300 else (cancel, confirm, "cancel")
        assert winner.status in (200, 202), (confirm, cancel)
        problem(loser, 409, "decided")
        assert client.ended(g)["phase"] == ("confirmed" if op == "confirm" else "cancelled")
        assert {c.op for c in stub.seen(gid=g)} == {op}
        won[op] += 1
    print(f"of {rounds} rounds confirm won {won['confirm']}, cancel {won['cancel']}")


# ---- who dawdles ----------------------------------------------------------------------------


def test_requests_that_break_off(cluster, stub, gid):
    """Half a head, half a body, a body cut in the middle: nothing is begun, and nothing is left."""
    body = json.dumps(saga(stub, gid=gid)).encode()
    whole = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body), body)
    with Flat(cluster.replicas):
        for cut in (1, 10, 60, len(whole) - len(body), len(whole) - 50, len(whole) - 1):
            for r in cluster.replicas:
                for link in open_links(r, 5):
                    link.sendall(whole[:cut])
                    link.close()
        assert cluster.client.get(f"/v1/transactions/{gid}").status == 404
    assert cluster.client.post("/v1/transactions?wait=20s", body).status == 201
    assert len(stub.seen("/a")) == 1


def test_slow_requests_hold_up_nobody_else(cluster, stub, gid):
    """Two hundred clients a replica that send a byte now and then, in head and body; the others are served as ever."""
    with Flat(cluster.replicas, memory=16 * MIB):
        slow = [link for r in cluster.replicas for link in open_links(r, 200)]
        head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        for i, link in enumerate(slow):
            link.sendall(head[:20] if i % 2 else head)
        for i in range(10):
            for n, link in enumerate(slow):
                if n % 2 == 0:
                    link.sendall(b"{")
            began = time.monotonic()
            answer = cluster.client.post("/v1/transactions?wait=20s", saga(stub, gid=f"{gid}-{i}"))
            assert answer.status == 201 and answer.json["phase"] == "confirmed", answer
            assert time.monotonic() - began < 5
        close_all(slow)


def test_a_thousand_idle_connections(make_cluster, stub):
    """They cost little, stand in nobody's way, and are gone when their clients are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"no more than {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        cluster = make_cluster(count=1)
        replica, = cluster.replicas
        client = Client(lambda: [replica.at])
        client.run(**saga(stub))
        with Flat([replica], memory=40 * MIB), contextlib.ExitStack() as stack:
            before = fds(replica.process.pid)
            links = open_links(replica, 1000)
            stack.callback(close_all, links)
            for link in links:
                link.sendall(b"GET /v1/transactions/none HTTP/1.1\r\nHost: x\r\n\r\n")
            for link in links:
                assert link.recv(4096).startswith(b"HTTP/1.1 404")
            assert fds(replica.process.pid) >= before + 990
            began = time.monotonic()
            assert client.run(**saga(stub))["phase"] == "confirmed"
            assert replica.ops("/readyz").status == 200 and time.monotonic() - began < 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@fault("clients leave, break off and come back", whole=False)
def clients_come_and_go(world, rng):
    """Waiters that leave, requests cut anywhere; what was begun by somebody who did not wait for his answer may be there."""
    world.busy()
    gids = [g for g, in world.rows("SELECT gid FROM sagad.transaction WHERE ended_at IS NULL LIMIT 20")]
    end = time.monotonic() + 2 + 2 * rng.random()
    while time.monotonic() < end:
        links = []
        for r in world.living:
            for gid in gids:
                link, = open_links(r, 1)
                text = f"GET /v1/transactions/{gid}?wait=50s HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                link.sendall(text[:rng.choice([rng.randrange(1, len(text)), len(text)])])
                links.append(link)
        time.sleep(0.3 * rng.random())
        close_all(links)
    left = time.monotonic()
    for r in world.living:
        until(lambda r=r: world.counter(r, "sagad_waiters") <= 6 + 12, 5)  # the load's own clients wait, too
    return {"clients left → let go, s": time.monotonic() - left}


def test_clients_come_and_go_under_load(make_world):
    w = make_world()
    w.settled()
    with w.load():
        clients_come_and_go(w, random.Random(1))
        w.flowing()
    w.verify()
