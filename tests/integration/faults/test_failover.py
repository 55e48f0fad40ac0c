# SPDX-License-Identifier: Apache-2.0
"""A streaming standby is promoted; the old primary comes back; the standby that must confirm is away."""
import contextlib
import signal
import socket
import threading
import time

import psycopg
import pytest

from lib.base import until
from lib.client import problem
from lib.cluster import Cluster
from lib.postgres import Pair, rows, value
from lib.stub import Reply
from .faults_failover import OURS, promote
from .modes import both_modes

pytestmark = pytest.mark.needs_server_control
OURS_HERE = OURS + " AND datname = current_database()"


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
def make_cluster(make_pair):  # pylint: disable=unused-argument
    """After the pair, so that it leaves before it."""
    made = []

    def make(dsn, **more):
        made.append(Cluster(dsn, **more))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def make_paired(make_pair, make_cluster):
    """A pair, a database on it, and a cluster that knows both servers."""
    def make(synchronous=True, mode="lock", flags=(), **more):
        pair = make_pair(synchronous)
        database = pair.new_database()
        return pair, database, make_cluster(pair.dsn(database), flags=[f"--lease.mode={mode}", *flags], **more)

    return make


@pytest.fixture
def world_on(make_pair, make_world):  # pylint: disable=unused-argument
    def make(pair, **more):
        database = pair.new_database()
        return make_world(dsn=pair.dsn(database), direct=lambda: pair.direct(database=database), pair=pair, **more)

    return make


def quick(stub):
    return {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}


def metric(replica, name):
    for line in replica.ops("/metrics").text.splitlines():
        if line.split(" ")[0].split("{")[0] == name:
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


def all_met(cluster, times=1):
    """Every replica has met so many failovers and is ready again."""
    until(lambda: all(metric(r, "sagad_failovers_total") >= times for r in cluster.replicas), 20)
    for r in cluster.replicas:
        r.ready(20)


def phases(pair, database):
    return dict(rows(pair.direct(database=database), "SELECT gid, phase FROM sagad.transaction"))


def all_end(pair, database, within=30):
    unfinished = "SELECT count(*) FROM sagad.transaction WHERE ended_at IS NULL AND stuck = 'none'"
    until(lambda: value(pair.direct(database=database), unfinished) == 0, within, 0.1)


# ---- a synchronous standby ------------------------------------------------------------------------


@pytest.mark.parametrize("mode, times", [("lock", 2), ("row", 1)])
def test_a_synchronous_standby_is_promoted_and_nothing_is_lost(make_pair, world_on, mode, times):
    """And, once it follows, the old primary, under load."""
    pair = make_pair()
    w = world_on(pair, mode=mode)
    w.settled()
    took = []
    with w.load():
        for number in range(times):
            if number > 0:
                pair.mend()
            time.sleep(0.7)
            pair.kill()
            took.append(promote(w))
    w.verify()
    print(f"synchronous failovers ({mode}): {took}")
    for r in w.replicas:
        assert r.events("incarnation_over") == []
    assert w.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
    assert w.rows("SELECT timeline, is_failover FROM sagad.timeline ORDER BY 1") == [
        (1, False), (2, True), (3, True)][:1 + times]
    assert all(metric(r, "sagad_database_failovers") == times for r in w.replicas)
    assert sum(metric(r, "sagad_diverged_total") for r in w.replicas) == 0


@both_modes
def test_a_synchronous_standby_is_away_and_nothing_is_said_to_be_done(make_paired, stub, mode):
    pair, database, cluster = make_paired(mode=mode)
    client = cluster.client
    client.define("quick", mode="saga", steps=quick(stub))
    assert client.run(gid="before", definition="quick", input={})["phase"] == "confirmed"
    pair.stop(pair.standby)
    began = time.monotonic()
    answers = [client.post("/v1/transactions", {"gid": f"away-{i}", "definition": "quick", "input": {}}, at=r.at)
               for i, r in enumerate(cluster.replicas)]
    assert time.monotonic() - began < 3 * 3.5  # one after the other
    for answer in answers:
        assert answer.status == 503 and answer.json["retryable"] is True, answer
    assert {c.gid for c in stub.calls} == {"before"}  # nothing is called before it is durable
    pair.start(pair.standby)
    for i in range(3):
        got = until(lambda i=i: (a := client.post("/v1/transactions?wait=5s", {
            "gid": f"away-{i}", "definition": "quick", "input": {}})).status in (200, 201) and a, 20)
        assert got.json["gid"] == f"away-{i}"
    all_end(pair, database)
    assert set(phases(pair, database).values()) == {"confirmed"}


def test_a_cancelled_wait_for_the_standby_is_an_unknown_fate(make_paired, stub):
    """The server calls it a success, with a warning: committed here, perhaps not there."""
    pair, database, cluster = make_paired(count=1)
    client, replica = cluster.client, cluster.replicas[0]
    client.define("quick", mode="saga", steps=quick(stub))
    pair.stop(pair.standby)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.post(
        "/v1/transactions", {"gid": "doubt", "definition": "quick", "input": {}})))
    asking.start()
    waiting = ("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
               " WHERE application_name LIKE 'sagad log%%' AND wait_event = 'SyncRep'")
    until(lambda: rows(pair.direct(), waiting), 5)
    until(lambda: replica.events("commit_lost"), 5)
    asking.join()
    assert answers[0].status == 503 and answers[0].json["retryable"] is True, answers[0]
    assert stub.calls == []
    pair.start(pair.standby)
    until(lambda: client.post("/v1/transactions", {"gid": "doubt", "definition": "quick", "input": {}}).status
          in (200, 201), 20)
    assert client.ended("doubt")["phase"] == "confirmed"


# ---- an asynchronous one ------------------------------------------------------------------------------


def test_an_asynchronous_standby_is_warned_of(make_paired):
    """Noticed while the sessions live on."""
    pair, _, cluster = make_paired(count=1)
    replica = cluster.replicas[0]
    assert metric(replica, "sagad_database_unsafe_standby") == 0
    pair.set_synchronous(False)
    until(lambda: metric(replica, "sagad_database_unsafe_standby") == 1, 15)
    assert "synchronous" in replica.ops("/readyz").json["warning"]
    assert replica.events("unsafe_standby")
    pair.set_synchronous(True)
    until(lambda: metric(replica, "sagad_database_unsafe_standby") == 0, 15)
    assert "warning" not in replica.ops("/readyz").json


@both_modes
def test_an_asynchronous_standby_is_promoted_under_load(make_pair, world_on, mode):
    """What the database loses comes back from the replicas: while they live, nothing that was answered is lost."""
    pair = make_pair(synchronous=False)
    w = world_on(pair, mode=mode)
    w.settled()
    client = w.cluster.client
    assert client.begin(gid="stays-open", mode="tcc", deadline="1h", input={}).status == 201  # unfinished, whatever the others are
    with w.load() as load:
        time.sleep(1)
        pair.cut()
        time.sleep(0.4)
        pair.kill()
        took = promote(w)
    until(lambda: client.post("/v1/transactions/stays-open/cancel", {}).status == 200, 20)
    there = {g for g, in w.rows("SELECT gid FROM sagad.transaction")}
    assert [g for g, t in load.told.items() if t.accepted_at is not None and g not in there] == []
    restored = sum(metric(r, "sagad_restored_total") for r in w.replicas)
    report = w.verify()
    print(f"asynchronous failover ({mode}): {restored:.0f} unfinished transactions restored, {report.accepted} accepted,"
          f" {took}")
    assert sum(metric(r, "sagad_diverged_total") for r in w.replicas) == 0
    assert metric(w.replicas[0], "sagad_failover_unfinished") > 0


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


def caught_up(pair):
    """Blocks until the standby has all that is committed now."""
    now = value(pair.direct(), "SELECT pg_current_wal_lsn()::text")
    until(lambda: value(pair.direct(), "SELECT replay_lsn >= %s::pg_lsn FROM pg_stat_replication", now), 10)


@both_modes
def test_what_living_replicas_know_survives_an_asynchronous_standby(make_paired, stub, mode):
    """Decisions that were answered and acted upon, and never reached the standby, are not turned round."""
    pair, database, cluster = make_paired(synchronous=False, mode=mode)
    client = cluster.client
    gate = threading.Event()
    for path in ("/slow", "/confirm", "/cancel"):
        stub.on(path, lambda call: Reply(200, hold=gate))
    for i in range(10):
        tcc(client, stub, f"yes-{i}")
        tcc(client, stub, f"no-{i}")
    caught_up(pair)
    pair.cut()
    for i in range(10):  # none of this reaches the standby
        assert client.post(f"/v1/transactions/yes-{i}/confirm").status in (200, 202)
        assert client.post(f"/v1/transactions/no-{i}/cancel").status in (200, 202)
        assert saga(client, stub, f"new-{i}").status == 201
        assert client.run(gid=f"over-{i}", mode="saga", input={}, steps=quick(stub))["phase"] == "confirmed"
    until(lambda: len(stub.seen("/confirm")) >= 10 and len(stub.seen("/slow")) >= 10, 10)
    assert value(pair.direct(pair.standby, database),
                 "SELECT count(*) FROM sagad.transaction WHERE phase <> 'prepared'") == 0
    pair.kill()
    pair.promote()
    until(lambda: sum(metric(r, "sagad_restored_total") for r in cluster.replicas) >= 30, 15)
    all_met(cluster)
    until(lambda: (a := client.get("/v1/transactions/yes-0")).status == 200
          and a.json["attention"]["reason"] == "failover", 10)
    gate.set()
    all_end(pair, database)
    there = phases(pair, database)
    for i in range(10):
        assert there[f"yes-{i}"] == "confirmed"
        assert there[f"no-{i}"] == "cancelled"
        assert there[f"new-{i}"] == "confirmed"
        assert there[f"over-{i}"] == "confirmed"
    assert not {c.gid for c in stub.seen("/cancel")} & {c.gid for c in stub.seen("/confirm")}
    assert stub.seen("/undo") == []
    assert sum(metric(r, "sagad_diverged_total") for r in cluster.replicas) == 0
    assert client.transaction("new-0")["input"] == {"n": 1.10}


def test_a_failover_that_cannot_be_noted_is_not_as_if_there_was_none(make_paired, stub):
    """Nothing tells what may be restored until it is: replicas wait, and forget nothing meanwhile."""
    pair, database, cluster = make_paired(synchronous=False, count=2, flags=["--park-after=1h"])
    client = cluster.client
    gate = threading.Event()
    stub.on("/confirm", lambda call: Reply(200, hold=gate))
    for i in range(5):
        tcc(client, stub, f"yes-{i}")
    with psycopg.connect(pair.direct(database=database), autocommit=True) as db:
        db.execute("""CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                          RAISE EXCEPTION 'refused by the test' USING ERRCODE = '57014';
                      END $$;
                      CREATE TRIGGER refuse BEFORE INSERT ON sagad.timeline FOR EACH ROW EXECUTE FUNCTION public.refuse()""")
    caught_up(pair)
    pair.cut()
    for i in range(5):  # none of this reaches the standby
        assert client.post(f"/v1/transactions/yes-{i}/confirm").status in (200, 202)
    until(lambda: len(stub.seen("/confirm")) >= 5, 10)
    pair.kill()
    pair.promote()
    all_met(cluster)
    time.sleep(3)
    with psycopg.connect(pair.direct(database=database), autocommit=True) as db:
        db.execute("DROP TRIGGER refuse ON sagad.timeline")
    until(lambda: sum(metric(r, "sagad_restored_total") for r in cluster.replicas) == 5, 15)
    gate.set()
    all_end(pair, database)
    assert phases(pair, database) == {f"yes-{i}": "confirmed" for i in range(5)}
    assert stub.seen("/cancel") == []


def test_a_row_that_cannot_be_restored_takes_no_other_with_it(make_paired, stub):
    """The new primary refuses one row of a page (a trigger, a damaged block): the others of it come back."""
    pair, database, cluster = make_paired(synchronous=False, count=1, flags=["--park-after=1h"])
    client = cluster.client
    gate = threading.Event()
    stub.on("/confirm", lambda call: Reply(200, hold=gate))
    for i in range(10):
        tcc(client, stub, f"yes-{i}")
    with psycopg.connect(pair.direct(database=database), autocommit=True) as db:
        db.execute("""CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                          IF pg_walfile_name(pg_current_wal_lsn()) LIKE '00000002%' THEN RAISE EXCEPTION 'refused by the test'; END IF;
                          RETURN NEW;
                      END $$;
                      CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON sagad.transaction FOR EACH ROW
                      WHEN (NEW.gid = 'yes-3') EXECUTE FUNCTION public.refuse()""")
    caught_up(pair)
    pair.cut()
    for i in range(10):  # none of this reaches the standby
        assert client.post(f"/v1/transactions/yes-{i}/confirm").status in (200, 202)
    until(lambda: len(stub.seen("/confirm")) >= 10, 10)
    pair.kill()
    pair.promote()
    until(lambda: metric(cluster.replicas[0], "sagad_restored_total") == 9, 20)
    gate.set()
    until(lambda: set(phases(pair, database).values()) == {"confirmed", "prepared"}, 15)
    assert {g for g, p in phases(pair, database).items() if p == "prepared"} == {"yes-3"}
    with psycopg.connect(pair.direct(database=database), autocommit=True) as db:
        db.execute("DROP TRIGGER refuse ON sagad.transaction")
    # What was known of it is lost, and that is counted though nobody else has taken it.
    until(lambda: metric(cluster.replicas[0], "sagad_diverged_total") == 1, 15)
    assert client.transaction("yes-3")["phase"] == "prepared"

# ---- hosts that are no primary ---------------------------------------------------------------------------


class Hangup:
    """A port where everybody is taken and let go at once, as by a proxy whose server is dead."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def test_a_host_that_takes_sessions_and_drops_them_is_passed_over(database, make_cluster, stub):
    """libpq goes on to the next host only when one refuses."""
    there = psycopg.conninfo.conninfo_to_dict(database)
    with contextlib.closing(Hangup()) as first:
        cluster = make_cluster(psycopg.conninfo.make_conninfo(
            database, host=f"127.0.0.1,{there['host']}", port=f"{first.port},{there.get('port', 5432)}"), count=2)
        until(lambda: value(database, OURS_HERE) == 4 * 2, 10)
        for r in cluster.replicas:
            r.ready()
        assert cluster.client.run(gid="here", mode="saga", input={}, steps=quick(stub))["phase"] == "confirmed"


def test_a_replica_that_starts_before_the_promotion_waits_for_it(make_paired):
    """No server of its DSN is a primary: not yet."""
    pair, _, cluster = make_paired(count=0)
    pair.kill()
    early = cluster.add(ready=False)
    until(lambda: "trying again" in early.log(), 10)
    pair.promote()
    early.ready(20)


# ---- the old primary -------------------------------------------------------------------------------------


@both_modes
def test_an_old_primary_that_comes_back_first_in_the_dsn_is_not_believed(make_paired, stub, mode):
    """Nor is a lease that somebody takes there."""
    pair, database, cluster = make_paired(synchronous=False, mode=mode)
    cluster.client.define("quick", mode="saga", steps=quick(stub))
    caught_up(pair)  # else nobody knows the definition any more
    pair.kill()
    pair.promote()
    all_met(cluster)
    pair.start(pair.standby)  # writable, on its old timeline, and the first that libpq tries
    assert value(pair.direct(pair.standby), "SELECT pg_is_in_recovery()") is False
    fresh = cluster.add()     # knows nothing of the failover but what the servers say
    rows(pair.direct(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sagad %%'")
    for r in cluster.replicas:
        body = {"gid": f"at-{r.port}", "definition": "quick", "input": {}}
        got = until(lambda r=r, body=body: (
            a := cluster.client.post("/v1/transactions?wait=10s", body, at=r.at)).status in (200, 201) and a, 20)
        assert got.json["phase"] == "confirmed", got
    until(lambda: value(pair.direct(), OURS) == 4 * len(cluster.replicas), 10)
    assert value(pair.direct(pair.standby), OURS) == 0
    assert value(pair.direct(pair.standby, database), "SELECT count(*) FROM sagad.transaction") == 0
    assert metric(fresh, "sagad_live") == 1
    pair.stop(pair.standby)


@both_modes
def test_an_old_primary_that_still_runs_is_left_when_another_is_promoted(make_paired, stub, mode):
    """Nobody tells the replicas, and every session to the old one lives: they find the new one by themselves."""
    pair, database, cluster = make_paired(synchronous=False, mode=mode)
    cluster.client.define("quick", mode="saga", steps=quick(stub))
    caught_up(pair)
    pair.promote()
    began = time.monotonic()
    all_met(cluster)
    print(f"promotion beside a living primary → all replicas at the new one: {time.monotonic() - began:.1f} s")
    body = {"gid": "after", "definition": "quick", "input": {}}
    got = until(lambda: (a := cluster.client.post("/v1/transactions?wait=10s", body)).status in (200, 201) and a, 20)
    assert got.json["phase"] == "confirmed", got
    assert value(pair.direct(pair.standby), OURS) == 0
    assert value(pair.direct(pair.standby, database), "SELECT count(*) FROM sagad.transaction") == 0
    pair.stop(pair.standby)


@both_modes
def test_a_replica_that_sees_only_the_old_primary_can_promise_nothing(make_pair, make_cluster, stub, mode):
    """Synchronous replication is what stops it: its commits wait for a standby that has left."""
    pair = make_pair()
    database = pair.new_database()
    cut_off = make_cluster(pair.direct(database=database), count=1, flags=[f"--lease.mode={mode}"])  # knows of no other host
    cut_off.client.define("quick", mode="saga", steps=quick(stub))
    pair.promote()
    answer = cut_off.client.post("/v1/transactions", {"gid": "lost", "definition": "quick", "input": {}})
    problem(answer, 503, answer.json["code"])
    time.sleep(3)
    assert stub.calls == []
    assert value(pair.direct(database=database), "SELECT count(*) FROM sagad.transaction") == 0
    for r in cut_off.replicas:
        r.kill()
        cut_off.remove(r)
    pair.stop(pair.standby)


def begin_open(client, stub, gid, at, deadline):
    answer = client.post("/v1/transactions", {"gid": gid, "mode": "tcc", "deadline": deadline, "input": {}}, at=at)
    assert answer.status == 201, answer
    step = {"name": "s", "confirm": {"url": stub.url + "/confirm"}, "cancel": {"url": stub.url + "/cancel"}}
    answer = client.post(f"/v1/transactions/{gid}/steps", step, at=at)
    assert answer.status == 201, answer


@both_modes
def test_frozen_fenced_and_the_fence_is_lost(make_paired, stub, mode):
    """One is frozen, the other fences it, adopts, and is told to confirm; then all of that is lost. Thawed, the first
    finds the log just as it left it, and its deadline passed: it must wait for what the other knows."""
    pair, database, cluster = make_paired(synchronous=False, mode=mode, count=2, flags=["--park-after=1h"])
    frozen, other = cluster.replicas
    gids = [f"z-{i}" for i in range(10)]
    gate = threading.Event()
    stub.on("/confirm", lambda call: Reply(200, hold=gate))
    time.sleep(2.3)
    for gid in gids:
        begin_open(cluster.client, stub, gid, frozen.at, "6s")
    began = time.monotonic()
    caught_up(pair)
    pair.cut()
    frozen.signal(signal.SIGSTOP)
    until(lambda: value(pair.direct(database=database),
                        "SELECT count(*) FROM sagad.transaction WHERE epoch > 1") == len(gids), 15)
    for gid in gids:
        answer = cluster.client.post(f"/v1/transactions/{gid}/confirm", at=other.at)
        assert answer.status in (200, 202), answer
    until(lambda: len(stub.seen("/confirm")) >= len(gids), 10)
    time.sleep(max(0, began + 6.5 - time.monotonic()))
    pair.kill()
    pair.promote()
    assert value(pair.direct(database=database), "SELECT count(*) FROM sagad.transaction WHERE phase = 'prepared'") == len(gids)
    frozen.signal(signal.SIGCONT)
    gate.set()
    until(lambda: phases(pair, database) == {gid: "confirmed" for gid in gids}, 20)
    assert stub.seen("/cancel") == []
