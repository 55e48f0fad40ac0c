# SPDX-License-Identifier: Apache-2.0
"""A streaming standby is promoted; the old primary comes back; the standby that must confirm is away."""
import threading
import time

import pytest

from lib.base import until
from lib.cluster import Cluster
from lib.postgres import Pair, rows, value
from lib.stub import Reply

pytestmark = pytest.mark.needs_server_control


@pytest.fixture
def make_pair(worker):
    made = []

    def make(synchronous=True):
        made.append(Pair(worker, synchronous))
        return made[-1]

    yield make
    for pair in made:
        pair.close()


@pytest.fixture
def make_cluster():
    made = []

    def make(dsn, **more):
        made.append(Cluster(dsn, **more))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


class Load:
    """Clients that begin sagas of two steps, each gid again until somebody has taken it."""

    def __init__(self, cluster, stub, clients=4):
        self.cluster, self.accepted, self.wrong, self.begun_at = cluster, [], [], []
        self._stop = threading.Event()
        cluster.client.define("load", mode="saga", steps={
            "a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}},
            "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo"}},
        })
        self._threads = [threading.Thread(target=self._go, args=(n,)) for n in range(clients)]

    def _go(self, number):
        i = 0
        while not self._stop.is_set():
            gid = f"load-{number}-{i}"
            if self._begin(gid):
                self.accepted.append(gid)
                i += 1

    def _begin(self, gid):
        body = {"gid": gid, "definition": "load", "input": {}}
        try:
            answer = self.cluster.client.post("/v1/transactions", body, timeout=15)
        except OSError:
            return False
        if answer.status in (200, 201, 202):
            self.begun_at.append(time.monotonic())
            return True
        if answer.status not in (429, 503) or not answer.json["retryable"]:
            self.wrong.append(answer)
        time.sleep(0.05)
        return False

    def __enter__(self):
        for t in self._threads:
            t.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join()
        assert not self.wrong, self.wrong[:3]

    def flows(self, since, within=10):
        """Transactions are accepted after that moment."""
        until(lambda: self.begun_at and self.begun_at[-1] > since, within)
        return next(at for at in self.begun_at if at > since)


def all_end(pair, database, within=30):
    unfinished = "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL AND stuck = 'none'"
    until(lambda: value(pair.direct(database=database), unfinished) == 0, within, 0.1)


def phases(pair, database):
    return dict(rows(pair.direct(database=database), "SELECT gid, phase FROM sagad.transaction"))


def test_a_synchronous_standby_is_promoted_and_nothing_is_lost(make_pair, make_cluster, stub):
    pair = make_pair()
    database = pair.new_database()
    cluster = make_cluster(pair.dsn(database))
    with Load(cluster, stub) as load:
        time.sleep(2)
        pair.kill()
        pair.promote()
        promoted = time.monotonic()
        flows = load.flows(promoted)
        time.sleep(2.5)
    print(f"promotion to the first commit: {(flows - promoted) * 1000:.0f} ms")
    all_end(pair, database)
    there = phases(pair, database)
    assert len(load.accepted) > 50
    assert [g for g in load.accepted if there.get(g) != "confirmed"] == []
    for r in cluster.replicas:
        assert r.ops("/readyz").status == 200
        assert r.log().count('"incarnation_over"') == 0
    assert value(pair.direct(database=database), "SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
    assert rows(pair.direct(database=database), "SELECT timeline, is_failover FROM sagad.timeline ORDER BY 1") == [
        (1, False), (2, True)]


def tcc(client, stub, gid):
    """An open TCC with one step that has been tried by its caller."""
    assert client.begin(gid=gid, mode="tcc", deadline="10m", input={}).status == 201
    step = {"name": "s", "confirm": {"url": stub.url + "/confirm"}, "cancel": {"url": stub.url + "/cancel"}}
    assert client.post(f"/v1/transactions/{gid}/steps", step).status == 201


def saga(client, stub, gid):
    return client.begin(gid=gid, mode="saga", input={"n": 1.10}, steps={
        "a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}},
        "b": {"after": ["a"], "action": {"url": stub.url + "/slow", "timeout": "20s"},
              "compensate": {"url": stub.url + "/undo"}}})


def test_what_living_replicas_know_survives_an_asynchronous_standby(make_pair, make_cluster, stub):
    """Commits that were answered and never reached the standby come back from the memory of replicas."""
    pair = make_pair(synchronous=False)
    database = pair.new_database()
    cluster = make_cluster(pair.dsn(database), ttl="2s")
    client = cluster.client
    gate = threading.Event()
    stub.on("/slow", lambda call: Reply(200, hold=gate))
    stub.on("/confirm", lambda call: Reply(200, hold=gate))
    stub.on("/cancel", lambda call: Reply(200, hold=gate))
    for i in range(10):
        tcc(client, stub, f"yes-{i}")
        tcc(client, stub, f"no-{i}")
    quick = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}
    until(lambda: r_lag(pair) == 0, 10)
    pair.cut()
    for i in range(10):  # none of this reaches the standby
        assert client.post(f"/v1/transactions/yes-{i}/confirm").status in (200, 202)
        assert client.post(f"/v1/transactions/no-{i}/cancel").status in (200, 202)
        assert saga(client, stub, f"new-{i}").status == 201
        assert client.run(gid=f"over-{i}", mode="saga", input={}, steps=quick)["phase"] == "confirmed"
    until(lambda: len(stub.seen("/confirm")) == 10 and len(stub.seen("/slow")) == 10, 10)
    assert value(pair.direct(pair.standby, database),
                 "SELECT count(*) FROM sagad.transaction WHERE phase <> 'prepared'") == 0
    pair.kill()
    pair.promote()
    until(lambda: sum(metric(r, "sagad_restored_total") for r in cluster.replicas) >= 30, 15)
    for r in cluster.replicas:
        r.ready()
    assert client.transaction("yes-0")["attention"]["reason"] == "failover"
    gate.set()
    all_end(pair, database)
    there = phases(pair, database)
    for i in range(10):
        assert there[f"yes-{i}"] == "confirmed"
        assert there[f"no-{i}"] == "cancelled"
        assert there[f"new-{i}"] == "confirmed"
        assert there[f"over-{i}"] == "confirmed"
    assert not {c.gid for c in stub.seen("/cancel")} & {c.gid for c in stub.seen("/confirm")}
    assert [c for c in stub.seen("/undo")] == []
    assert sum(metric(r, "sagad_diverged_total") for r in cluster.replicas) == 0
    assert client.transaction("new-0")["input"] == {"n": 1.10}


def r_lag(pair):
    return value(pair.direct(), "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) FROM pg_stat_replication")


def metric(replica, name):
    for line in replica.ops("/metrics").text.splitlines():
        if line.split(" ")[0].split("{")[0] == name:
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")
