# SPDX-License-Identifier: Apache-2.0
"""The sender of a message, a process of its own, is killed between prepare and submit; its service answers for it by the barrier."""
import subprocess
import sys
import threading

import pytest

from lib.base import ROOT, until
from lib.dtm import Dtm, make_cluster, success
from lib.dtm_bank import Bank
from lib.stub import Reply

SENDER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import psycopg
from lib.client import Client
from lib.dtm import Dtm, success
from lib.dtm_bank import INSERT

_, _, at, dsn, service, gid, point = sys.argv


class Service:
    url = service


def die_if_at(where):
    if where == point:
        os.kill(os.getpid(), signal.SIGKILL)


t = Dtm(Client(lambda: [at]), Service, "msg", gid, query_prepared=service + "/committed", timeout_to_fail=5, retry_interval=2).add("/in")
success(t.prepare())
die_if_at("prepared")
with psycopg.connect(dsn) as db:
    assert db.execute(INSERT, ("msg", gid, "00", "msg", "01", "msg")).rowcount == 1
    db.execute("UPDATE account SET balance = balance - 30 WHERE name = 'out'")
    die_if_at("open")
die_if_at("committed")
success(t.submit())
die_if_at("submitted")
"""


@pytest.fixture(scope="module")
def own(postgres):
    """Three replicas that may be killed."""
    cluster, remove = make_cluster(postgres)
    yield cluster
    remove()


@pytest.fixture
def bank(postgres, stub, gid):
    dsn = postgres.new_database()
    made = Bank(dsn, stub)
    made.branch("/in", "in", 30)
    stub.on("/committed", lambda call: Reply(200, "SUCCESS") if made.query_prepared(gid) else Reply(409, "FAILURE"))
    yield made
    made.close()
    postgres.drop_database(dsn)


def send(cluster, bank, gid, point):
    """What the process says in the end; it talks to the replica with that number."""
    return subprocess.run([sys.executable, "-c", SENDER, str(ROOT / "tests/integration"), cluster.replicas[1].at, bank.dsn,
                           bank.stub.url, gid, point], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("owner_dies", [False, True], ids=["alone", "with-its-replica"])
@pytest.mark.parametrize("point, status", [("prepared", "failed"), ("open", "failed"), ("committed", "succeed"),
                                           ("submitted", "succeed")])
def test_a_sender_is_killed(own, bank, stub, gid, point, status, owner_dies):
    """With its replica: whoever was told of the message is dead as well, and comes back as somebody else."""
    done = send(own, bank, gid, point)
    assert done.returncode == -9, done
    if owner_dies:
        own.replicas[1].kill()
        own.replicas[1].start().ready()
    t = Dtm(own.client, stub, "msg", gid)
    assert t.ended() == status
    assert (bank.balance("out"), bank.balance("in")) == ((-30, 30) if status == "succeed" else (0, 0))
    assert bank.done(gid) == (["01 action"] if status == "succeed" else [])
    if point != "submitted":
        assert stub.seen("/committed", gid), "its service was asked"


def test_the_question_comes_while_its_commit_is_open(dtm_cluster, bank, stub, gid):
    """It waits for the barrier's row, and learns how that ended."""
    t = Dtm(dtm_cluster.client, stub, "msg", gid, query_prepared=stub.url + "/committed", timeout_to_fail=5, retry_interval=2).add("/in")
    success(t.prepare())
    asked = threading.Event()

    def business(db):
        db.execute("UPDATE account SET balance = balance - 30 WHERE name = 'out'")
        until(lambda: db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND transactionid = "
                                 "pg_current_xact_id()::xid").fetchone()[0])
        asked.set()

    assert bank.call({"trans_type": "msg", "gid": gid, "branch_id": "00", "op": "msg"}, business)
    assert t.ended() == "succeed" and asked.is_set()  # nobody has submitted it
    assert (bank.balance("out"), bank.balance("in")) == (-30, 30)
