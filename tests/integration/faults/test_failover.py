# SPDX-License-Identifier: Apache-2.0
"""A streaming standby is promoted; the old primary comes back; the standby that must confirm is away."""
import threading
import time

import pytest

from lib.base import until
from lib.cluster import Cluster
from lib.postgres import Pair, rows, value

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
