# SPDX-License-Identifier: Apache-2.0
"""A request acts only on a transaction of the kind that it names, and on none that another protocol began."""
import pytest

from lib.base import until
from lib.dtm import error, failure, path_of, success
from lib.stub import Reply

LONG = 150000
OTHER = "the gid is that of another transaction"
NOBODY = "no TransGlobal with gid"


def begin(dtm, stub, kind, gid):
    """One that stands still: running, or prepared."""
    t = dtm(kind, gid=gid, timeout_to_fail=0 if kind == "saga" else LONG, retry_interval=LONG, query_prepared=stub.url + "/ask",
            custom_data={"name": "w", "data": ""} if kind == "workflow" else None)
    if kind in ("saga", "msg"):
        t.add("/a", "/a-undo")
    if kind == "saga":
        stub.on("/a", Reply(500))
        success(t.submit())
        until(lambda: t.client.transaction(gid)["steps"][0]["last_error"])
    else:
        success(t.prepare())
    return t


def seen(t):
    """What nobody may have changed. Who owns it is no matter: it is let go when it sleeps for long."""
    got = t.query()
    return got["transaction"]["status"], got["branches"], t.client.transaction(t.gid)["phase"]


def asks(t, kind):
    """All that a client of another kind may send."""
    for status in ("succeed", "failed"):
        yield t.submit(trans_type=kind, req_extra={"status": status})
    if kind != "saga":
        yield t.prepare(trans_type=kind, custom_data={"name": "w", "data": ""} if kind == "workflow" else None)
    if kind == "workflow":
        yield t.post("prepareWorkflow", trans_type=kind, custom_data={"name": "w", "data": ""})


@pytest.mark.parametrize("kind", ["saga", "tcc", "msg", "xa", "workflow"])
def test_what_is_of_another_kind_stays_as_it_is(dtm, stub, gid, kind):
    t = begin(dtm, stub, kind, gid)
    before, calls = seen(t), len(stub.calls)
    for other in {"saga", "tcc", "msg", "xa", "workflow"} - {kind}:
        if kind not in ("saga", "msg"):
            t.steps, t.payloads = [{"action": stub.url + "/x"}], ["x"]
        for answer in asks(t, other):
            error(answer, "NotFound" if other == "workflow" and "NotFound" in answer.text else OTHER)
    for other in {"tcc", "xa", "workflow"} - {kind}:
        failure(t.branch("07", trans_type=other, op="action", status="succeed", confirm=stub.url + "/c", cancel=stub.url + "/c",
                         url=stub.url + "/c"), f"no trans with gid: {gid} status: prepared found")
    assert seen(t) == before and len(stub.calls) == calls
    success(t.post("forceStop", {"gid": gid}))


def native(client, stub, gid, mode):
    body = {"gid": gid, "mode": mode, "input": {}, "deadline": "1h"}
    if mode == "saga":
        stub.on("/n", Reply(500, Retry_After=3600))
        body["steps"] = {"a": {"action": {"url": stub.url + "/n"}, "compensate": {"url": stub.url + "/undo"}}}
    answer = client.post("/v1/transactions", body)
    assert answer.status in (200, 201, 202), answer
    if mode == "saga":
        until(lambda: client.transaction(gid)["steps"][0]["last_error"])
    return client.transaction(gid)


@pytest.mark.parametrize("mode", ["saga", "tcc"])
def test_nothing_acts_on_what_this_protocol_did_not_begin(dtm_cluster, dtm, stub, gid, mode):
    client = dtm_cluster.client
    before = native(client, stub, gid, mode)
    calls = len(stub.calls)
    for kind in ("tcc", "xa"):
        error(dtm(kind).submit(), NOBODY)
        error(dtm(kind).prepare(), OTHER)
        error(dtm(kind).abort(), NOBODY)
        failure(dtm(kind).branch("01"), f"no trans with gid: {gid} status: prepared found")
    for kind in ("saga", "msg"):
        error(dtm(kind).add("/a", "").submit(), OTHER)
    message = dtm("msg", query_prepared=stub.url + "/ask").add("/a")
    error(message.submit(), OTHER)
    error(message.prepare(), OTHER)
    flow = dtm("workflow", query_prepared=stub.url + "/ask", custom_data={"name": "w", "data": ""})
    for status in ("succeed", "failed"):
        error(flow.submit(req_extra={"status": status}), "storage: NotFound")
    error(flow.post("prepareWorkflow"), OTHER)
    failure(flow.branch("01", op="action", status="succeed"), f"no trans with gid: {gid} status: prepared found")
    for route in ("forceStop", "resetNextCronTime"):
        error(flow.post(route, {"gid": gid}), NOBODY)
    after = client.transaction(gid)
    assert (after["phase"], after["steps"]) == (before["phase"], before["steps"])
    assert len(stub.calls) == calls
    assert client.get(f"/v1/audit?gid={gid}").json["items"] == []


@pytest.mark.parametrize("kind", ["saga", "msg"])
def test_other_steps_with_the_same_gid_are_refused(dtm, stub, gid, kind):
    """At every replica, whether the first goes on or has succeeded; how it is written and waited for makes no difference."""
    stub.on("/first", Reply(425), Reply(200))
    first = dtm(kind, retry_interval=LONG).add("/first", "")
    success(first.submit())
    until(lambda: stub.seen("/first"))
    others = [dtm(kind).add("/second", ""), dtm(kind).add("/first", "", "other"), dtm(kind).add("/first", "").add("/first", ""),
              dtm(kind, custom_data={"concurrent": True}).add("/first", ""), dtm(kind, protocol="json-rpc").add("/first", "")]
    for phase, waits in (("submitted", False), ("succeed", True)):
        for other in others:
            failure(other.submit(wait_result=waits), f"other steps; current status '{phase}', cannot sumbmit.")
        success(first.submit(timeout_to_fail=LONG, branch_headers={"traceparent": "x"}, Steps=first.steps))
        first.client.post("/api/dtmsvr/resetNextCronTime", {"gid": gid})
        assert first.ended() == "succeed"
    assert {path_of(c) for c in stub.calls} == {"/first"}
    success(first.submit(wait_result=True))


def test_a_message_counts_as_it_was_prepared(dtm, stub):
    message = dtm("msg", query_prepared=stub.url + "/ask", timeout_to_fail=LONG).add("/a", "")
    success(message.prepare())
    for steps, asked in ((None, message.options["query_prepared"]), (message.steps, None), ([{"action": stub.url + "/b"}], None)):
        success(message.submit(steps=steps, payloads=["x"] if steps else None, query_prepared=asked, wait_result=True))
    assert message.called() == ["/a action"]


@pytest.mark.parametrize("kind", ["saga", "tcc", "xa", "msg"])
@pytest.mark.parametrize("waits", [True, False])
def test_a_submit_that_has_succeeded_is_a_success_again(dtm, stub, gid, kind, waits):
    """At every replica: whoever lost the answer asks another one, and would undo its own side after 409."""
    t = dtm(kind, timeout_to_fail=0 if kind == "saga" else LONG, wait_result=True)
    if kind in ("saga", "msg"):
        t.add("/a", "")
    else:
        success(t.prepare())
        success(t.branch("01"))
    success(t.submit())
    calls = len(stub.calls)
    assert calls == 1
    for _ in range(3):
        success(t.submit(wait_result=waits))
    assert len(stub.calls) == calls and t.status() == "succeed"
