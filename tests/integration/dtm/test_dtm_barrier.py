# SPDX-License-Identifier: Apache-2.0
"""Participants with the barrier table of DTM's clients: repeated, empty and late calls have the effect of none."""
import threading

import pytest

from lib.base import until
from lib.dtm import failure, params_of, success
from lib.dtm_bank import Bank
from lib.stub import Reply


@pytest.fixture
def bank(postgres, stub):
    dsn = postgres.new_database()
    made = Bank(dsn, stub)
    yield made
    made.close()
    postgres.drop_database(dsn)


def test_an_answer_that_is_lost_is_no_second_effect(dtm, bank):
    """Done, and answered with 500: the same call again does nothing."""
    saga = dtm("saga", wait_result=True, retry_interval=1)
    saga.add(bank.branch("/out", "out", -30, [500, 500, 200]), bank.branch("/out-undo", "out", 30))
    success(saga.submit())
    assert bank.balance("out") == -30 and bank.done(saga.gid) == ["01 action"]


def test_a_rollback_undoes_what_was_done_and_nothing_else(dtm, bank, stub):
    stub.on("/in", Reply(409))
    saga = dtm("saga", wait_result=True)
    saga.add(bank.branch("/out", "out", -30), bank.branch("/out-undo", "out", 30, [500, 200]))
    saga.options["retry_interval"] = 1
    saga.add("/in", bank.branch("/in-undo", "in", -30))
    failure(saga.submit(), "HTTP 409")
    assert bank.balance("out") == bank.balance("in") == 0
    assert bank.done(saga.gid) == ["01 action", "01 compensate"]  # the compensation of 02 was an empty one


def test_an_action_that_comes_after_its_compensation_is_refused_by_the_barrier(dtm, bank, stub):
    go = threading.Event()

    def late(call):
        go.wait(20)
        assert not bank.call(params_of(call), lambda db: db.execute("UPDATE account SET balance = 1"))
        late.came = True
        return Reply(200)

    late.came = False
    stub.on("/in", late)
    saga = dtm("saga", wait_result=True, request_timeout=5, retry_limit=1, retry_interval=1)  # 100 ms
    saga.add(bank.branch("/out", "out", -30), bank.branch("/out-undo", "out", 30)).add("/in", bank.branch("/in-undo", "in", -30))
    failure(saga.submit(), "RetryCount is greater than RetryLimit")
    go.set()
    until(lambda: late.came)
    assert bank.balance("out") == bank.balance("in") == 0 and bank.done(saga.gid) == ["01 action", "01 compensate"]


def test_tcc_with_a_try_that_never_was(dtm, bank, gid):
    """Registered, its try failed before it was sent: the cancel is an empty one."""
    tcc = dtm("tcc", timeout_to_fail=30000)
    success(tcc.prepare())
    for branch in ("01", "02"):
        success(tcc.branch(branch, confirm=bank.stub.url + bank.branch(f"/{branch}/confirm", "out", -30),
                           cancel=bank.stub.url + bank.branch(f"/{branch}/cancel", "out", 1000)))
    bank.call({"trans_type": "tcc", "gid": gid, "branch_id": "01", "op": "try"}, lambda db: None)
    success(tcc.abort())
    assert tcc.ended() == "failed" and bank.done(gid) == ["01 try", "01 cancel"]
    assert not bank.call({"trans_type": "tcc", "gid": gid, "branch_id": "02", "op": "try"}, lambda db: None)


@pytest.mark.parametrize("commits", [True, False])
def test_a_message_whose_sender_dies(dtm, bank, stub, gid, commits):
    stub.on("/committed", lambda call: Reply(200 if bank.query_prepared(gid) else 409))
    msg = dtm("msg", query_prepared=stub.url + "/committed", timeout_to_fail=5, retry_interval=1)
    msg.add(bank.branch("/in", "in", 30))
    success(msg.prepare())
    if commits:
        bank.call({"trans_type": "msg", "gid": gid, "branch_id": "00", "op": "msg"}, lambda db: db.execute(
            "UPDATE account SET balance = balance - 30 WHERE name = 'out'"))
    assert msg.ended() == ("succeed" if commits else "failed")
    assert (bank.balance("out"), bank.balance("in")) == ((-30, 30) if commits else (0, 0))
    if not commits:  # and now it cannot happen any more
        assert not bank.call({"trans_type": "msg", "gid": gid, "branch_id": "00", "op": "msg"}, lambda db: None)
