# SPDX-License-Identifier: Apache-2.0
"""DTM's workflows: they run in their client; the server keeps what was done and calls it again."""
import base64
import json

import pytest

from lib.base import until
from lib.dtm import error, failure, params_of, path_of, success
from lib.stub import Reply

LONG = 150000


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Workflow:
    """A client as DTM's are: it asks how far it is, does what is missing, registers it, and says how it ended."""

    def __init__(self, dtm, stub, data='{"n": 1.10}', **options):
        self.stub, self.done = stub, []
        self.t = dtm("workflow", query_prepared=stub.url + "/resume", custom_data={"name": "trip", "data": b64(data)}, **options)

    def prepare(self):
        answer = self.t.post("prepareWorkflow")
        assert answer.status == 200 and set(answer.json) == {"transaction", "progresses"}, answer
        return answer.json

    def branch(self, branch_id, op="action", status="succeed", data="", **more):
        return self.t.post("registerBranch", {"gid": self.t.gid, "trans_type": "workflow", "branch_id": branch_id, "op": op,
                                              "status": status, "data": data, **more})

    def submit(self, status, **extra):
        return self.t.submit(req_extra={"status": status, **extra})

    def run(self, upto=2, end="succeed"):
        known = {p["branch_id"] for p in self.prepare()["progresses"]}
        for n in range(1, upto + 1):
            if f"{n:02d}" not in known:
                self.done.append(n)
                success(self.branch(f"{n:02d}", data=f"result {n}"))
        if end:
            success(self.submit(end, result=b64("all is well")))


def test_it_goes_on_from_what_was_done(dtm, stub, gid):
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.run(upto=1, end=None)  # and dies
    flow.run(upto=3)
    assert flow.done == [1, 2, 3]
    got = flow.prepare()
    assert got["transaction"]["status"] == "succeed" and got["transaction"]["result"] == b64("all is well")
    assert [(p["branch_id"], p["op"], p["status"], base64.b64decode(p["bin_data"]).decode()) for p in got["progresses"]] == [
        (f"{n:02d}", "action", "succeed", f"result {n}") for n in (1, 2, 3)]
    assert not stub.calls  # nobody but its client calls branches
    asked = flow.t.query()
    assert asked["transaction"]["result"] == b64("all is well") and len(asked["branches"]) == 3


def test_the_server_calls_it_until_it_has_ended(dtm, stub, gid):
    flow = Workflow(dtm, stub, retry_interval=3)

    def resume(call):
        if len([c for c in stub.calls if path_of(c) == "/resume"]) == 4:
            flow.run()
        return Reply(200)

    stub.on("/resume", Reply(500), Reply(409), Reply(200, "ONGOING"), resume)
    flow.prepare()
    assert flow.t.ended() == "succeed"
    calls = [c for c in stub.calls if path_of(c) == "/resume"]
    assert len(calls) == 4 and calls[0].method == "POST" and calls[0].body == b'{"n": 1.10}'
    assert params_of(calls[0]) == {"gid": gid, "trans_type": "workflow", "branch_id": "00", "op": "trip"}


def test_no_answer_decides_for_it(dtm, dtm_cluster, stub, gid):
    stub.on("/resume", Reply(409), Reply(200), Reply(200, "FAILURE"), Reply(200))
    flow = Workflow(dtm, stub, retry_interval=1)
    flow.prepare()
    until(lambda: len(stub.calls) >= 5)
    assert flow.t.status() == "prepared"
    assert dtm_cluster.client.transaction(gid)["check"]["attempts"] >= 1
    success(flow.submit("failed", rollback_reason="no seats"))
    assert flow.t.ended() == "failed"
    assert flow.prepare()["transaction"]["rollback_reason"] == "no seats"


def test_no_time_is_over_for_it(dtm, stub, gid):
    flow = Workflow(dtm, stub, timeout_to_fail=1)  # which is the interval, too
    flow.prepare()
    until(lambda: len(stub.calls) >= 3)
    assert flow.t.status() == "prepared"
    success(flow.submit("succeed"))
    assert flow.t.ended() == "succeed"


def test_without_data_it_is_called_by_get(dtm, stub):
    flow = Workflow(dtm, stub, data="", retry_interval=1)
    flow.prepare()
    until(lambda: stub.calls)
    assert stub.calls[0].method == "GET" and stub.calls[0].body == b""
    success(flow.submit("succeed"))


@pytest.mark.parametrize("size", [1000, 30000, 300000])
def test_a_long_result_comes_back_whole(dtm, stub, size):
    flow = Workflow(dtm, stub, retry_interval=LONG)
    success(flow.t.prepare())  # the older name of prepareWorkflow, as far as it goes
    success(flow.submit("succeed", result=b64("x" * size)))
    assert flow.prepare()["transaction"]["result"] == b64("x" * size)


def test_a_long_reason_comes_back(dtm, stub):
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.prepare()
    success(flow.submit("failed", rollback_reason="\u00e4" * 5000))
    assert flow.t.query()["transaction"]["rollback_reason"] == "\u00e4" * 5000


def test_what_has_ended_stays(dtm, stub, gid):
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.run()
    error(flow.submit("failed"), "storage: NotFound")
    failure(flow.branch("09"), f"no trans with gid: {gid} status: prepared found")
    failure(flow.t.abort(), "trans type: 'workflow' current status 'succeed', cannot abort.")


@pytest.mark.parametrize("end, other", [("succeed", "failed"), ("failed", "succeed")])
def test_the_same_end_again_is_a_success(dtm, stub, end, other):
    """The answer to the first may have been lost."""
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.run(end=None)
    said = {"result": b64("fine")} if end == "succeed" else {"rollback_reason": "no seats"}
    for _ in range(3):  # at every replica
        success(flow.submit(end, **said))
    error(flow.submit(other), "storage: NotFound")
    got = flow.prepare()["transaction"]
    assert got["status"] == end and (got.get("result"), got.get("rollback_reason")) == (said.get("result"), said.get("rollback_reason"))


def test_branches_of_a_workflow(dtm, stub):
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.prepare()
    success(flow.branch("01", op="action", sync="1"))
    success(flow.branch("01", op="rollback", status="failed", data="\u00e4 \"quoted\" ${x}"))
    success(flow.branch("01", op="rollback", status="failed", data="\u00e4 \"quoted\" ${x}"))
    error(flow.branch("01", op="rollback", status="succeed"), "UniqueKeyConflict")
    error(flow.branch("01", op=""), "a branch_id and an op are")
    got = flow.prepare()["progresses"]
    assert [(p["op"], p["status"]) for p in got] == [("action", "succeed"), ("rollback", "failed")]
    assert base64.b64decode(got[1]["bin_data"]).decode() == "\u00e4 \"quoted\" ${x}" and "bin_data" not in got[0]
    success(flow.submit("succeed"))


def test_what_cannot_be_prepared(dtm, stub, gid):
    flow = Workflow(dtm, stub)
    error(flow.t.post("prepareWorkflow", trans_type="saga"), "trans_type must be workflow")
    error(flow.t.post("prepareWorkflow", query_prepared=None), "query_prepared is empty")
    error(flow.t.post("prepareWorkflow", custom_data=None), "custom_data must be")
    error(flow.t.post("prepareWorkflow", custom_data={"name": "x", "data": "%%%"}), "the base64 of a text")
    error(flow.t.prepare(custom_data=None), "custom_data must be")
    error(flow.submit("maybe"), "req_extra.status must be")
    error(flow.submit("succeed"), "storage: NotFound")
    success(dtm("tcc", timeout_to_fail=LONG).prepare())
    error(flow.t.post("prepareWorkflow"), "UniqueKeyConflict")


def test_operators_see_it_as_any_other(dtm, dtm_cluster, stub, gid):
    client = dtm_cluster.client
    flow = Workflow(dtm, stub, retry_interval=LONG)
    flow.run(upto=1, end=None)
    got = client.transaction(gid)
    assert got["phase"] == "prepared" and got["labels"] == {"dtm": "workflow"} and got["steps"][0]["name"] == "branch-01_action"
    stub.on("/resume", lambda call: flow.run() or Reply(200))
    assert client.post(f"/v1/transactions/{gid}/cancel", {"reason": "not today", "actor": "ann"}).status in (200, 202)
    assert flow.prepare()["transaction"]["rollback_reason"] == "not today"
    assert json.dumps(flow.t.query()["branches"]).count("result 1") == 0  # it is base64 there
