# SPDX-License-Identifier: Apache-2.0
"""Killed, frozen and leaving replicas; a database that goes away."""
import signal
import time

import pytest

from lib.base import until
from lib.client import problem
from lib.postgres import rows, value
from lib.stub import Reply


def steps(stub, delay_path="/slow"):
    return {
        "a": {"action": {"url": stub.url + delay_path, "timeout": "20s"}, "compensate": {"url": stub.url + "/undo"}},
        "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo"}},
    }


def begin_many(cluster, stub, count, at, delay):
    stub.on("/slow", Reply(200, delay=delay))
    cluster.client.define("many", mode="saga", steps=steps(stub))
    gids = [f"many-{i}" for i in range(count)]
    for g in gids:
        answer = cluster.client.post("/v1/transactions", {"gid": g, "definition": "many", "input": {}}, at=at)
        assert answer.status == 201, answer
    return gids


def all_end(cluster, count, timeout=30):
    until(lambda: value(cluster.dsn, "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL") == 0, timeout, 0.1)
    return dict(rows(cluster.dsn, "SELECT phase, count(*) FROM sagad.transaction GROUP BY phase"))


def owned_by(cluster, replica):
    return value(cluster.dsn, "SELECT count(*) FROM sagad.transaction t JOIN sagad.replica r ON r.id = t.owner"
                              " WHERE r.address = %s", replica.url)


def test_kill_9_is_adopted_within_3_seconds(make_cluster, stub):
    cluster = make_cluster()
    time.sleep(2.2)  # older than the time to live: only then may a replica fence others
    victim = cluster.replicas[0]
    begin_many(cluster, stub, 60, victim.at, delay=1.0)
    assert owned_by(cluster, victim) >= 50
    killed = victim.kill()
    cluster.remove(victim)
    until(lambda: owned_by(cluster, victim) == 0, 5)
    assert time.monotonic() - killed < 3.0
    assert all_end(cluster, 60) == {"confirmed": 60}
    assert value(cluster.dsn, "SELECT count(DISTINCT state) FROM sagad.replica WHERE address = %s AND state = 'fenced'",
                 victim.url) == 1
    assert value(cluster.dsn, "SELECT max(epoch) FROM sagad.transaction") == 2
    assert all(c.headers["Saga-Epoch"] in ("1", "2") for c in stub.calls)


def test_a_frozen_replica_loses_its_lease_and_comes_back_as_another(make_cluster, stub):
    cluster = make_cluster()
    time.sleep(2.2)
    frozen = cluster.replicas[0]
    begin_many(cluster, stub, 20, frozen.at, delay=1.5)
    frozen.signal(signal.SIGSTOP)
    until(lambda: owned_by(cluster, frozen) == 0, 10)
    assert all_end(cluster, 20) == {"confirmed": 20}
    frozen.signal(signal.SIGCONT)
    until(lambda: value(cluster.dsn, "SELECT count(*) FROM sagad.replica WHERE address = %s AND state = 'live'", frozen.url) == 1, 15)
    frozen.ready()
    answer = cluster.client.post("/v1/transactions?wait=10s", {"gid": "after", "definition": "many", "input": {}}, at=frozen.at)
    assert answer.status == 201, answer


def test_sigterm_drains(make_cluster, stub):
    cluster = make_cluster()
    leaving = cluster.replicas[0]
    begin_many(cluster, stub, 30, leaving.at, delay=1.0)
    began = time.monotonic()
    assert leaving.terminate() == 0
    assert time.monotonic() - began < 10
    cluster.remove(leaving)
    assert owned_by(cluster, leaving) == 0
    assert all_end(cluster, 30) == {"confirmed": 30}
    assert value(cluster.dsn, "SELECT state FROM sagad.replica WHERE address = %s", leaving.url) == "drained"


def test_a_draining_replica_is_not_ready_and_takes_nothing_new(make_cluster, stub):
    cluster = make_cluster(count=2)
    leaving = cluster.replicas[0]
    begin_many(cluster, stub, 1, leaving.at, delay=2.0)
    leaving.process.terminate()
    time.sleep(0.3)
    try:
        assert leaving.ops("/readyz").status == 503
        assert leaving.ops("/livez").status == 200
        answer = cluster.client.post("/v1/transactions", {"definition": "many", "input": {}}, at=leaving.at)
        assert answer.status == 503 and answer.headers["Retry-After"], answer
    except ConnectionError:
        pass  # gone already
    leaving.process.wait(20)
    assert all_end(cluster, 1) == {"confirmed": 1}


@pytest.mark.needs_server_control
def test_database_away_is_503_at_once_and_goes_on_by_itself(make_cluster, postgres, stub):
    cluster = make_cluster()
    gids = begin_many(cluster, stub, 30, None, delay=0.8)
    postgres.stop("immediate")
    try:
        time.sleep(0.3)
        for r in cluster.replicas:
            began = time.monotonic()
            answer = cluster.client.post("/v1/transactions", {"definition": "many", "input": {}}, at=r.at)
            assert time.monotonic() - began < 1.0
            assert problem(answer, 503, answer.json["code"])["retryable"] is True
            assert answer.headers["Retry-After"] == "1"
            assert r.ops("/livez").status == 200
            assert r.ops("/readyz").status == 503
        time.sleep(1.0)
    finally:
        postgres.start()
    for r in cluster.replicas:
        r.ready()
    assert all_end(cluster, 30) == {"confirmed": len(gids)}
    assert cluster.client.run(definition="many", input={})["phase"] == "confirmed"


@pytest.mark.needs_server_control
def test_nothing_acknowledged_is_lost_while_the_database_restarts(make_cluster, postgres, stub):
    """Starts go on through two restarts; each that got a 2xx is there and ends, each exactly once."""
    import threading
    cluster = make_cluster()
    cluster.client.define("quick", mode="saga", steps=steps(stub, "/quick"))
    accepted, stop = [], threading.Event()

    def go(number):
        i = 0
        while not stop.is_set():
            gid = f"t{number}-{i}"
            i += 1
            try:
                answer = cluster.client.post("/v1/transactions", {"gid": gid, "definition": "quick", "input": {}}, timeout=20)
            except OSError:
                continue
            if answer.status in (200, 201, 202):
                accepted.append(gid)
            else:
                assert answer.status == 503, answer
                time.sleep(0.05)

    threads = [threading.Thread(target=go, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for _ in range(2):
        time.sleep(0.7)
        postgres.stop("immediate")
        time.sleep(0.3)
        postgres.start()
        for r in cluster.replicas:
            r.ready()
    time.sleep(0.5)
    stop.set()
    for t in threads:
        t.join()
    assert len(accepted) > 50
    all_end(cluster, 0)
    there = dict(rows(cluster.dsn, "SELECT gid, phase FROM sagad.transaction"))
    assert [g for g in accepted if there.get(g) != "confirmed"] == []


def test_sleeping_transactions_are_parked_and_taken_up_again(make_cluster, stub):
    cluster = make_cluster(flags=["--park-after=500ms"])
    stub.on("/a", Reply(202, Retry_After=3), Reply(200))
    client = cluster.client
    client.begin(gid="sleeper", mode="saga", input={},
                 steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}})
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL AND due_at IS NOT NULL FROM sagad.transaction WHERE gid = 'sleeper'"), 3)
    assert client.transaction("sleeper")["phase"] == "trying"
    assert client.ended("sleeper")["phase"] == "confirmed"


def test_commands_on_a_parked_transaction(make_cluster, stub):
    cluster = make_cluster(flags=["--park-after=200ms"])
    client = cluster.client
    client.begin(gid="open", mode="tcc", deadline="10m", input={})
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL FROM sagad.transaction WHERE gid = 'open'"), 5)
    joined = client.post("/v1/transactions/open/steps",
                         {"name": "s", "confirm": {"url": stub.url + "/c"}, "cancel": {"url": stub.url + "/u"}})
    assert joined.status == 201, joined
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL FROM sagad.transaction WHERE gid = 'open'"), 5)
    assert client.post("/v1/transactions/open/confirm").status in (200, 202)
    assert client.ended("open")["phase"] == "confirmed"
    assert [c.path for c in stub.calls] == ["/c"]
