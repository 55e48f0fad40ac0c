# SPDX-License-Identifier: Apache-2.0
"""DTM's tcc and xa: open transactions whose branches join, nested ones too."""
import base64

import pytest

from lib.base import until
from lib.dtm import error, failure, params_of, path_of, success
from lib.stub import Reply

LONG = 30000  # seconds of the protocol: 10 minutes


def prepared(dtm, kind="tcc", branches=("01", "02"), **options):
    t = dtm(kind, timeout_to_fail=LONG, **options)
    success(t.prepare())
    for name in branches:
        success(t.branch(name))
    return t


def test_submit_confirms_every_branch(dtm, stub, gid):
    tcc = prepared(dtm)
    assert tcc.status() == "prepared"
    success(tcc.submit(wait_result=True))
    assert tcc.status() == "succeed" and sorted(tcc.called()) == ["/01/confirm confirm", "/02/confirm confirm"]
    call = next(c for c in stub.calls if path_of(c) == "/01/confirm")
    assert call.method == "POST" and call.body == b'{"amount":30}'
    assert params_of(call) == {"gid": gid, "trans_type": "tcc", "branch_id": "01", "op": "confirm"}


def test_abort_cancels_the_last_branch_first_and_tells_the_reason(dtm):
    tcc = prepared(dtm, branches=("01", "02", "0201"))
    success(tcc.abort(rollback_reason="user does not want it"))
    assert tcc.ended() == "failed"
    assert tcc.called() == ["/0201/cancel cancel", "/02/cancel cancel", "/01/cancel cancel"]
    got = tcc.query()
    assert got["transaction"]["rollback_reason"] == "user does not want it" and got["transaction"]["rollback_time"]
    assert [(b["branch_id"], b["op"], b["status"]) for b in got["branches"]] == [
        (i, op, status) for i in ("01", "02", "0201") for op, status in (("cancel", "succeed"), ("confirm", "prepared"))]


def test_prepare_again_is_the_same(dtm):
    tcc = prepared(dtm, branches=())
    success(tcc.prepare())
    success(tcc.submit(wait_result=True))
    failure(tcc.prepare(), "current status 'succeed', cannot prepare.")
    success(tcc.submit())
    failure(tcc.abort(), "trans type: 'tcc' current status 'succeed', cannot abort.")


def test_a_decision_stays(dtm):
    tcc = prepared(dtm)
    success(tcc.abort())
    tcc.ended()
    failure(tcc.submit(), "current status 'failed', cannot sumbmit.")
    failure(tcc.branch("03"), f"no trans with gid: {tcc.gid} status: prepared found")


def test_abort_while_it_is_aborting(dtm, stub):
    stub.on("/01/cancel", Reply(500), Reply(200))
    tcc = prepared(dtm, branches=["01"], retry_interval=20)
    success(tcc.abort())
    success(tcc.abort())
    assert tcc.ended() == "failed"


def test_a_failing_confirm_is_repeated(dtm, stub):
    stub.on("/01/confirm", Reply(409), Reply(200, "FAILURE"), Reply(425), Reply(500), Reply(200))
    tcc = prepared(dtm, branches=["01"], retry_interval=0.5)
    success(tcc.submit(wait_result=True))
    assert tcc.called() == ["/01/confirm confirm"] * 5


def test_branches_joined_twice(dtm):
    tcc = prepared(dtm, branches=["01"])
    success(tcc.branch("01"))  # a client that did not hear the answer asks again
    error(tcc.branch("01", data="other"), "UniqueKeyConflict")
    error(tcc.branch("0 1"), "a branch_id is")
    error(tcc.branch("01", trans_type="magic"), "unknow trans type: magic")
    error(tcc.branch("03", data={"n": 1}), "registered with strings alone")
    error(tcc.branch("03", confirm="http://169.254.169.254/"), "calls are refused")
    failure(tcc.branch("03", gid="nobody"), "no trans with gid: nobody status: prepared found")


@pytest.mark.parametrize("route", ["registerTccBranch", "registerBranch"])
def test_old_clients_name_no_type(dtm, route):
    tcc = prepared(dtm, branches=())
    success(tcc.branch("01", route=route, trans_type=None))
    success(tcc.submit(wait_result=True))
    assert tcc.called() == ["/01/confirm confirm"]


def test_empty_urls_and_empty_data(dtm, stub):
    tcc = prepared(dtm, branches=())
    success(tcc.branch("01", confirm=""))
    success(tcc.branch("02", data=""))
    success(tcc.submit(wait_result=True))
    assert tcc.called() == ["/02/confirm confirm"] and stub.calls[0].method == "GET"


def test_data_is_no_template(dtm, stub):
    tcc = prepared(dtm, branches=())
    success(tcc.branch("01", data="${input} $${gid}"))
    success(tcc.submit(wait_result=True))
    assert stub.calls[0].body == b"${input} $${gid}"
    assert base64.b64decode(tcc.query()["branches"][0]["bin_data"]) == b"${input} $${gid}"


def test_prepared_for_too_long_is_rolled_back(dtm):
    tcc = dtm("tcc", timeout_to_fail=50)  # 1 s
    success(tcc.prepare())
    success(tcc.branch("01"))
    assert tcc.ended() == "failed"
    assert tcc.query()["transaction"]["rollback_reason"] == "Timeout after 50 seconds"
    assert tcc.called() == ["/01/cancel cancel"]


def test_by_default_after_35_seconds(dtm):
    tcc = dtm("tcc")
    success(tcc.prepare())
    assert tcc.ended() == "failed"
    assert tcc.query()["transaction"]["rollback_reason"] == "Timeout after 35 seconds"


def test_branch_headers_are_those_of_prepare(dtm, stub):
    tcc = prepared(dtm, branch_headers={"test_header": "${x}"})
    success(tcc.submit(wait_result=True))
    assert [c.headers["test_header"] for c in stub.calls] == ["${x}"] * 2


def test_xa_commits_and_rolls_back_by_post_without_a_body(dtm, stub, gid):
    xa = prepared(dtm, "xa")
    success(xa.submit(wait_result=True))
    assert sorted(xa.called()) == ["/01/xa commit", "/02/xa commit"]
    assert {c.method for c in stub.calls} == {"POST"} and {c.body for c in stub.calls} == {b""}
    assert params_of(stub.calls[0])["trans_type"] == "xa"
    assert [(b["op"], b["status"]) for b in xa.query()["branches"]] == [("rollback", "prepared"), ("commit", "succeed")] * 2
    other = dtm("xa", gid=gid + "-2", timeout_to_fail=LONG)
    success(other.prepare())
    success(other.branch("01", route="registerXaBranch", trans_type=None))
    success(other.abort())
    assert other.ended() == "failed" and other.called()[-1] == "/01/xa rollback"


def test_nobody_prepared_it(dtm):
    error(dtm("tcc").submit(), "no TransGlobal with gid")
    error(dtm("tcc").abort(), "no TransGlobal with gid")
    error(dtm("saga").add("/a").prepare(), "a saga is not prepared")


def test_a_branch_of_a_saga(dtm, stub):
    stub.on("/a", Reply(425), Reply(200))
    saga = dtm("saga", retry_interval=5).add("/a", "/a-undo")
    success(saga.submit())
    failure(saga.branch("02", trans_type="tcc", confirm=stub.url, cancel=stub.url), "status: prepared found")
    assert saga.ended() == "succeed"


@pytest.mark.parametrize("kind", ["tcc", "xa"])
def test_submit_while_it_is_submitted(dtm, stub, kind):
    """As clients do that did not hear the first answer."""
    path = "/01/confirm" if kind == "tcc" else "/01/xa"
    stub.on(path, Reply(425))
    t = prepared(dtm, kind, branches=["01"], retry_interval=1)
    success(t.submit())
    until(lambda: stub.calls)
    success(t.submit())
    stub.on(path, Reply(200))
    assert t.ended() == "succeed" and set(t.called()) == {f"{path} {'confirm' if kind == 'tcc' else 'commit'}"}
