# SPDX-License-Identifier: Apache-2.0
"""DTM's own client for Python, as PyPI has it, with its URL changed and nothing else; its barrier stands in a MariaDB."""
import json
import subprocess
import sys

import pytest

from lib.base import ROOT
from lib.dtm import Dtm, params_of
from lib.stub import Reply

BARRIER = """
CREATE DATABASE IF NOT EXISTS dtm_barrier;
CREATE TABLE IF NOT EXISTS dtm_barrier.barrier (
    id bigint AUTO_INCREMENT PRIMARY KEY, trans_type varchar(45) DEFAULT '', gid varchar(128) DEFAULT '', branch_id varchar(128) DEFAULT '',
    op varchar(45) DEFAULT '', barrier_id varchar(45) DEFAULT '', reason varchar(45) DEFAULT '', create_time datetime DEFAULT now(),
    update_time datetime DEFAULT now(), UNIQUE KEY (gid, branch_id, op, barrier_id));
CREATE TABLE account (name varchar(20) PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO account VALUES ('out', 0), ('in', 0);
"""


@pytest.fixture(scope="module")
def dtmcli():
    folder = subprocess.run([ROOT / "tools/dtmcli.sh"], check=True, capture_output=True, text=True).stdout.strip()
    sys.path.insert(0, folder)
    import dtmcli as found  # pylint: disable=import-error, import-outside-toplevel
    from dtmcli import barrier, msg, saga, tcc, utils  # noqa: F401  pylint: disable=import-error, import-outside-toplevel, unused-import

    yield found
    sys.path.remove(folder)


class Bank:
    """Services whose every change goes through that client's barrier."""

    def __init__(self, dtmcli, mariadb, stub):
        self.dtmcli, self.mariadb, self.stub = dtmcli, mariadb, stub
        self.name = mariadb.new_database(BARRIER)

    def cursor(self):
        return self.mariadb.connect(self.name).cursor()

    def move(self, of, name, amount):
        barrier = self.dtmcli.barrier.BranchBarrier(of["trans_type"], of["gid"], of["branch_id"], of["op"])
        with self.dtmcli.barrier.AutoCursor(self.cursor()) as cursor:
            barrier.call(cursor, lambda c: self.change(c, name, amount))

    @staticmethod
    def change(cursor, name, amount):
        cursor.execute("UPDATE account SET balance = balance + %s WHERE name = %s", (amount, name))

    def branch(self, path, name, amount, *answers):
        """Does it each time, and answers as it is told: what is lost on its way was done."""
        rest = list(answers) or [200]

        def act(call):
            self.move(params_of(call), name, amount * json.loads(call.body or b'{"amount":1}')["amount"])
            return Reply(rest.pop(0) if len(rest) > 1 else rest[0])

        return self.stub.on(path, act)

    def query_prepared(self, call):
        of = params_of(call)
        barrier = self.dtmcli.barrier.BranchBarrier(of["trans_type"], of["gid"], of["branch_id"], of["op"])
        try:
            with self.dtmcli.barrier.AutoCursor(self.cursor()) as cursor:
                barrier.query_prepared(cursor)
        except self.dtmcli.utils.DTMFailureError:
            return Reply(409)
        return Reply(200)

    def balances(self):
        with self.mariadb.connect(self.name) as db:
            cursor = db.cursor()
            cursor.execute("SELECT balance FROM account ORDER BY name DESC")
            return [n for (n,) in cursor.fetchall()]  # out, in


@pytest.fixture
def bank(dtmcli, mariadb, stub):
    return Bank(dtmcli, mariadb, stub)


@pytest.fixture
def url(dtm_cluster):
    return dtm_cluster.replicas[0].url + "/api/dtmsvr"


@pytest.fixture
def seen(dtm_cluster, stub):
    """A transaction of that client's, as the other tests look at them."""
    return lambda kind, gid: Dtm(dtm_cluster.client, stub, kind, gid)


def begin_saga(dtmcli, url):
    gid = dtmcli.utils.gen_gid(url)
    saga = dtmcli.saga.Saga(url, gid)
    # In these clusters its 8 s for a call would be 160 ms.
    saga.trans_base.wait_result, saga.trans_base.retry_interval, saga.trans_base.request_timeout = True, 1, 3000
    return gid, saga


def test_saga(dtmcli, bank, url, seen):
    gid, saga = begin_saga(dtmcli, url)
    saga.add({"amount": 30}, bank.branch("/out", "out", -1, 500, 200), bank.branch("/out-undo", "out", 1))
    saga.add({"amount": 30}, bank.branch("/in", "in", 1), bank.branch("/in-undo", "in", -1))
    saga.submit()
    assert seen("saga", gid).called() == ["/out action", "/out action", "/in action"] and bank.balances() == [-30, 30]


def test_saga_that_is_refused(dtmcli, bank, url, stub, seen):
    gid, saga = begin_saga(dtmcli, url)
    saga.add({"amount": 30}, bank.branch("/out", "out", -1), bank.branch("/out-undo", "out", 1, 500, 200))
    saga.add({"amount": 30}, stub.on("/in", Reply(409)), bank.branch("/in-undo", "in", -1))
    for _ in range(2):  # asked again, it is told the same
        with pytest.raises(dtmcli.utils.DTMFailureError):
            saga.submit()
    t = seen("saga", gid)
    assert t.status() == "failed" and t.called()[2:] == ["/in-undo compensate", "/out-undo compensate", "/out-undo compensate"]
    assert bank.balances() == [0, 0], "the empty compensation of /in did nothing"


@pytest.mark.parametrize("refused", [False, True])
def test_nested_tcc(dtmcli, bank, url, stub, seen, refused):
    """The second branch's try registers one of its own, and is refused where that is."""
    fine = stub.on("/fine", Reply(200))
    fee = stub.on("/fee", Reply(409 if refused else 200))

    def nested(call):
        of = params_of(call)
        try:
            dtmcli.tcc.tcc_from_req(url, of["gid"], of["branch_id"]).call_branch(
                {"amount": 10}, fee, bank.branch("/fee-confirm", "in", -1), fine)
        except dtmcli.utils.DTMFailureError:
            return Reply(409)
        return Reply(200)

    def work(tcc):
        tcc.call_branch({"amount": 30}, fine, bank.branch("/out-confirm", "out", -1, 500, 200), fine)
        tcc.call_branch({"amount": 30}, stub.on("/in", nested), bank.branch("/in-confirm", "in", 1), fine)

    gid = dtmcli.utils.gen_gid(url)
    assert dtmcli.tcc.tcc_global_transaction(url, gid, work) == ("" if refused else gid)
    assert seen("tcc", gid).ended() == ("failed" if refused else "succeed")
    assert bank.balances() == ([0, 0] if refused else [-30, 20])
    assert {params_of(c)["branch_id"] for c in stub.calls} == {"01", "02", "0201"}


@pytest.mark.parametrize("how", ["done", "no", "dies before", "dies behind"])
def test_message(dtmcli, bank, url, stub, seen, how):
    """Its sender's own commit decides, whatever becomes of the sender."""
    gid = dtmcli.utils.gen_gid(url)
    msg = dtmcli.msg.Msg(url, gid).add({"amount": 30}, bank.branch("/in", "in", 1))
    msg.trans_base.timeout_to_fail, msg.trans_base.request_timeout = (2 if how.startswith("dies") else 3000), 3000
    ask = stub.on("/ask", bank.query_prepared)

    def own(cursor):
        if how == "no":
            raise dtmcli.utils.DTMFailureError("not enough")
        bank.change(cursor, "out", -30)

    def work(barrier):
        with dtmcli.barrier.AutoCursor(bank.cursor()) as cursor:
            if how != "dies before":
                barrier.call(cursor, own)
        if how.startswith("dies"):
            raise SystemExit

    if how == "done":
        msg.do_and_submit(ask, work)
    else:
        with pytest.raises(SystemExit if how.startswith("dies") else dtmcli.utils.DTMFailureError):
            msg.do_and_submit(ask, work)
    went = how in ("done", "dies behind")
    assert seen("msg", gid).ended() == ("succeed" if went else "failed") and bank.balances() == ([-30, 30] if went else [0, 0])
    assert len(stub.seen("/ask")) == (1 if how.startswith("dies") else 0)
