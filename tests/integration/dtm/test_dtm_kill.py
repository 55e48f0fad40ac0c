# SPDX-License-Identifier: Apache-2.0
"""kill -9 of replica after replica while clients of DTM's kinds work: what was promised comes to one end, once."""
import itertools
import threading
import time

import psycopg

from lib.base import until
from lib.dtm import Dtm, make_cluster, success
from lib.dtm_bank import Bank
from lib.stub import Reply, Stub

CLIENTS, KILLS = 4, 4
HOUR = 180000  # in seconds of the protocol: no tcc outlives it here


class Clients:
    """Each begins one transaction after the other, and asks again until it hears an answer, as its users do."""

    KINDS = ("saga", "tcc", "msg")

    def __init__(self, cluster, bank, stub):
        self.cluster, self.bank, self.stub = cluster, bank, stub
        self.numbers, self.stop, self.promised, self.problems = itertools.count(), threading.Event(), {}, []
        self.conflicts = {}  # gids that were answered 409, and how they must have ended: it was a second request then
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(CLIENTS)]

    def until_heard(self, ask):
        """Connections that break and 500s are asked again; anything else is an answer."""
        while True:
            try:
                answer = ask()
                if answer.status != 500:
                    return answer
            except OSError:
                pass
            time.sleep(0.05)

    def must(self, answer, *statuses):
        if answer.status not in (200, *statuses):
            self.problems.append(answer)
        return answer.status

    def saga(self, gid, fails):
        t = Dtm(self.cluster.client, self.stub, "saga", gid, retry_interval=5)
        t.add("/out", "/out-undo").add("/refuse" if fails else "/in", "/in-undo")
        if self.must(self.until_heard(t.submit), 409) == 409:
            self.conflicts[gid] = "failed" if fails else "succeed"

    def tcc(self, gid, fails):
        t = Dtm(self.cluster.client, self.stub, "tcc", gid, timeout_to_fail=HOUR, retry_interval=5)
        self.must(self.until_heard(t.prepare))
        for branch, path in (("01", "/out"), ("02", "/in")):
            urls = {"confirm": t.url(path), "cancel": t.url(path + "-cancel")}
            self.must(self.until_heard(lambda: t.branch(branch, **urls)))
            self.bank.call({"trans_type": "tcc", "gid": gid, "branch_id": branch, "op": "try"}, lambda db: None)
        if self.must(self.until_heard(t.abort if fails else t.submit), 409) == 409:
            self.conflicts[gid] = "failed" if fails else "succeed"

    def msg(self, gid, fails):
        t = Dtm(self.cluster.client, self.stub, "msg", gid, query_prepared=self.stub.url + "/committed", timeout_to_fail=50,
                retry_interval=5)
        t.add("/in")
        self.must(self.until_heard(t.prepare))
        if not fails:  # the sender's own commit; then it may die before it submits
            done = self.bank.call({"trans_type": "msg", "gid": gid, "branch_id": "00", "op": "msg"}, lambda db: db.execute(
                "UPDATE account SET balance = balance - 30 WHERE name = 'out'"))
            if done and gid.endswith("0"):
                if self.must(self.until_heard(t.submit), 409) == 409:
                    self.conflicts[gid] = "succeed"

    def start(self):
        for t in self.threads:
            t.start()

    def go_on(self, count):
        """Until so many more are done."""
        before = len(self.promised)
        until(lambda: self.problems or len(self.promised) >= before + count, 60)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60)
        assert not self.problems, self.problems[:3]

    def work(self, n):
        try:
            while not self.stop.is_set():
                number = next(self.numbers)
                kind, fails = self.KINDS[number % len(self.KINDS)], number % 5 == 0
                gid = f"{kind}-{n}-{number}"
                self.promised[gid] = (kind, bool(getattr(self, kind)(gid, fails) or fails))
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append(repr(e))


def test_kill_nine(postgres):
    stub = Stub()
    dsn = postgres.new_database()
    bank = Bank(dsn, stub)
    cluster, remove = make_cluster(postgres)
    # Every fifth answer is lost on the way: done, and 500.
    for path, account, amount in (("/out", "out", -30), ("/out-undo", "out", 30), ("/in", "in", 30), ("/in-undo", "in", -30),
                                  ("/out-cancel", "out", 0), ("/in-cancel", "in", 0)):
        bank.branch(path, account, amount, [200, 200, 200, 200, 500])
    stub.on("/refuse", Reply(409))
    stub.on("/committed", lambda call: Reply(200 if bank.query_prepared(call.gid) else 409))
    clients = Clients(cluster, bank, stub)
    try:
        clients.start()
        for n in range(KILLS):
            clients.go_on(15)
            victim = cluster.replicas[n % len(cluster.replicas)]
            victim.kill()
            victim.start().ready()
        clients.end()
        verify(clients, bank, cluster)
    finally:
        clients.stop.set()
        remove()
        bank.close()
        stub.close()
        postgres.drop_database(dsn)


def verify(clients, bank, cluster):
    moved = 0
    for gid, (kind, fails) in clients.promised.items():
        t = Dtm(cluster.client, bank.stub, kind, gid)
        status = t.ended()
        assert status in ("succeed", "failed"), (gid, status)
        done = sorted(bank.done(gid))
        assert len(done) == len(set(done)), (gid, done)
        if status == "failed":
            assert kind != "saga" or done in ([], ["01 action", "01 compensate"]), (gid, done)
            assert kind != "tcc" or not [d for d in done if d.endswith("confirm")], (gid, done)
            assert kind != "msg" or done == [], (gid, done)
        else:
            wanted = {"saga": ["01 action", "02 action"], "tcc": ["01 confirm", "01 try", "02 confirm", "02 try"],
                      "msg": ["00 msg", "01 action"]}[kind]
            assert done == wanted, (gid, done)
            moved += 30
        assert (status == "failed") == fails, (gid, status, fails)
        assert clients.conflicts.get(gid, status) == status, (gid, status)
    # Those that were begun and whose client was stopped before it heard: they end as well, and move as much.
    assert bank.balance("out") + bank.balance("in") == 0
    assert moved > 0 and bank.balance("in") >= moved, (moved, bank.balance("in"))
    assert {kind for kind, _ in clients.promised.values()} == {"saga", "tcc", "msg"}


def test_a_slow_call_of_a_dead_replica_is_made_again_when_its_lease_is_over(postgres):
    """While its driver lives nobody else calls; a call that a dead one made may still be under way, and nobody can stop it."""
    stub, seen, freed = Stub(), [], threading.Event()
    cluster, remove = make_cluster(postgres)
    victim = cluster.replicas[0]

    def slow(call):
        with psycopg.connect(cluster.dsn) as db:
            [(state,)] = db.execute("SELECT state FROM sagad.replica WHERE address = %s", (victim.url,)).fetchall()
        seen.append((state, int(call.headers["Saga-Epoch"])))
        return Reply(200, hold=freed if len(seen) == 1 else None)

    stub.on("/a", slow)
    try:
        saga = Dtm(cluster.client, stub, "saga", "slow-and-killed", retry_interval=1).add("/a", "")
        success(cluster.client.post("/api/dtmsvr/submit", saga.body(), at=victim.at))  # who begins it drives it
        until(lambda: seen)
        victim.kill()
        cluster.remove(victim)
        assert saga.ended() == "succeed" and len(seen) == 2
        assert [state for state, _ in seen] == ["live", "fenced"] and seen[1][1] > seen[0][1]
    finally:
        freed.set()
        remove()
        stub.close()
