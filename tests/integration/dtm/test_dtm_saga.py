# SPDX-License-Identifier: Apache-2.0
"""DTM's sagas: in a chain, side by side, with every option, and what their branches see."""
import base64
import threading

import pytest

from lib.base import until
from lib.dtm import SECOND, error, failure, params_of, path_of, success
from lib.stub import Reply


def test_a_saga_succeeds_and_its_branches_are_called_in_order(dtm, stub, gid):
    saga = dtm("saga", wait_result=True).add("/out", "/out-undo", '{"amount": 30}').add("/in?a=b", "/in-undo", "")
    success(saga.submit())
    assert saga.status() == "succeed"
    first, second = stub.calls
    assert first.method == "POST" and first.body == b'{"amount": 30}' and first.headers["Content-Type"] == "application/json"
    assert params_of(first) == {"gid": gid, "trans_type": "saga", "branch_id": "01", "op": "action"}
    assert first.headers["Saga-Id"] == gid and first.headers["Idempotency-Key"]
    assert second.method == "GET" and second.body == b"" and path_of(second) == "/in"  # no payload: a GET
    assert params_of(second) == {"a": "b", "gid": gid, "trans_type": "saga", "branch_id": "02", "op": "action"}


@pytest.mark.parametrize("reply", [Reply(409), Reply(200, "it is a FAILURE"), Reply(500, {"dtm_result": "FAILURE"})])
def test_a_failure_rolls_back_in_reverse_order_the_failing_branch_too(dtm, stub, reply):
    stub.on("/b", reply)
    saga = dtm("saga", wait_result=True)
    saga.add("/a", "/a-undo").add("/b", "/b-undo").add("/c", "/c-undo")
    failure(saga.submit(), f"HTTP {reply.status}" + (": it is a FAILURE" if b"it is" in reply.body else ""))
    assert saga.called() == ["/a action", "/b action", "/b-undo compensate", "/a-undo compensate"]
    got = saga.query()
    assert got["transaction"]["status"] == "failed" and got["transaction"]["rollback_reason"].startswith("HTTP")
    assert [(b["branch_id"], b["op"], b["status"]) for b in got["branches"]] == [
        ("01", "compensate", "succeed"), ("01", "action", "succeed"),
        ("02", "compensate", "succeed"), ("02", "action", "failed"),
        ("03", "compensate", "prepared"), ("03", "action", "prepared")]


@pytest.mark.parametrize("reply", [Reply(425), Reply(200, "ONGOING"), Reply(409, "ONGOING, no FAILURE"), Reply(201), Reply(204),
                                   Reply(202), Reply(404), Reply(503)])
def test_what_is_no_clear_answer_is_asked_again(dtm, stub, reply):
    stub.on("/a", reply, Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=1).add("/a", "/a-undo")
    success(saga.submit())
    assert saga.called() == ["/a action", "/a action"]


def test_a_compensation_has_no_failure(dtm, stub):
    stub.on("/a", Reply(409))
    stub.on("/a-undo", Reply(409), Reply(200, "FAILURE"), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=1).add("/a", "/a-undo")
    failure(saga.submit(), "HTTP 409")
    assert saga.called() == ["/a action"] + ["/a-undo compensate"] * 3


def test_an_empty_url_is_a_branch_without_a_call(dtm, stub):
    stub.on("/c", Reply(409))
    saga = dtm("saga", wait_result=True).add("", "/a-undo").add("/b", "").add("/c", "/c-undo")
    failure(saga.submit(), "")
    assert saga.called() == ["/b action", "/c action", "/c-undo compensate", "/a-undo compensate"]
    assert [b.get("url", "") for b in saga.query()["branches"]] == [
        stub.url + "/a-undo", "", "", stub.url + "/b", stub.url + "/c-undo", stub.url + "/c"]


def test_a_saga_without_steps_succeeds(dtm):
    saga = dtm("saga", wait_result=True)
    success(saga.submit())
    assert saga.query()["branches"] == [] and saga.status() == "succeed"


def test_concurrent_branches_keep_their_orders(dtm, stub):
    stub.on("/a", Reply(200, delay=0.2))
    stub.on("/b", Reply(200, delay=0.2))
    stub.on("/c", Reply(409))
    saga = dtm("saga", wait_result=True, concurrent=True, custom_data={"concurrent": True, "orders": {"2": [0, 1, 1]}})
    for name in "abc":
        saga.add("/" + name, f"/{name}-undo")
    failure(saga.submit(), "HTTP 409")
    order = saga.called()
    assert set(order[:2]) == {"/a action", "/b action"} and order[2:4] == ["/c action", "/c-undo compensate"]
    assert set(order[4:]) == {"/a-undo compensate", "/b-undo compensate"}
    at = {path_of(c): c.at for c in stub.calls}
    assert abs(at["/a"] - at["/b"]) < 0.2, "they were called one after the other"


def test_only_custom_data_makes_a_saga_concurrent(dtm, stub):
    stub.on("/a", Reply(409))
    saga = dtm("saga", wait_result=True, concurrent=True).add("/a", "/a-undo").add("/b", "/b-undo")
    failure(saga.submit(), "HTTP 409")
    assert saga.called() == ["/a action", "/a-undo compensate"]


def test_orders_that_name_no_step_are_refused(dtm):
    saga = dtm("saga", custom_data={"concurrent": True, "orders": {"0": [7]}}).add("/a", "/b")
    error(saga.submit(), "orders of step 0: there is no step 7")
    error(dtm("saga", custom_data="{").add("/a", "/b").submit(), "custom_data is not JSON")
    assert saga.query() == {"transaction": None, "branches": []}


def test_old_clients_put_payloads_into_steps(dtm, stub):
    saga = dtm("saga", wait_result=True)
    success(saga.submit(steps=[{"action": stub.url + "/a", "compensate": "", "data": "{\"n\": 1.10}"}], payloads=None))
    assert stub.calls[0].body == b'{"n": 1.10}'


def test_payloads_are_sent_byte_for_byte(dtm, stub):
    texts = ["not JSON: ${input} $${x} \u00e4\n", "null", ' { "a" : 1.10 } ', "<x/>"]
    saga = dtm("saga", wait_result=True)
    for n, text in enumerate(texts):
        saga.add(f"/{n}", "", text)
    success(saga.submit())
    assert [c.body.decode() for c in stub.calls] == texts
    rows = [b for b in saga.query()["branches"] if b["op"] == "action"]
    assert [base64.b64decode(b["bin_data"]).decode() for b in rows] == texts


def test_a_second_submit_executes_nothing_again(dtm, stub):
    stub.on("/a", Reply(200, delay=0.3))
    saga = dtm("saga").add("/a", "/a-undo")
    success(saga.submit())
    success(saga.submit(wait_result=True))
    success(saga.submit())
    assert saga.called() == ["/a action"]


def test_wait_result_waits_for_the_end_of_retries(dtm, stub):
    stub.on("/a", Reply(500), Reply(500), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=2).add("/a", "/a-undo")
    success(saga.submit())
    gaps = [b.at - a.at for a, b in zip(stub.calls, stub.calls[1:])]
    assert gaps[0] >= 1.9 * SECOND and gaps[1] >= 3.9 * SECOND, gaps  # it doubles


def test_retry_interval_may_be_a_part_of_a_second(dtm, stub):
    stub.on("/a", Reply(500), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=0.5).add("/a", "/a-undo")
    success(saga.submit())
    assert saga.query()["transaction"]["options"] == '{"concurrent":false,"wait_result":true,"retry_interval":0.5}'


@pytest.mark.parametrize("options, wanted", [({}, ["200ms", "1m", "10m"]), ({"retry_interval": 50}, ["1s", "1m", "10m"]),
                                             ({"retry_interval": 6000}, ["2m", "2m", "10m"]), ({"retry_limit": 3}, ["100ms", "1m", "30s"]),
                                             ({"request_timeout": 40}, ["200ms", "1m", "1s"]),
                                             ({"request_timeout": 45, "retry_limit": 3}, ["100ms", "1m", "1s"])])
def test_back_off_doubles_up_to_an_end_and_a_call_is_waited_for(dtm, dtm_cluster, stub, gid, options, wanted):
    """As our own API shows it: DTM doubles for ever."""
    success(dtm("saga", wait_result=True, **options).add("/a").submit())
    made = dtm_cluster.client.transaction(gid)["document"]["defaults"]
    retry = made["retry"]
    assert [retry["initial"], retry["max"], made["timeout"], retry["factor"]] == [*wanted, 2] and retry["jitter"] == "none"


def test_retry_limit_ends_in_a_rollback(dtm, stub):
    stub.on("/a", Reply(500))
    saga = dtm("saga", wait_result=True, retry_limit=2, retry_interval=1).add("/a", "/a-undo")
    failure(saga.submit(), "RetryCount is greater than RetryLimit, RetryLimit: 2")
    assert saga.called() == ["/a action"] * 3 + ["/a-undo compensate"]
    assert [(b["op"], b["status"]) for b in saga.query()["branches"]] == [("compensate", "succeed"), ("action", "prepared")]


def test_what_is_ongoing_in_json_rpc_uses_up_no_retries(dtm, stub):
    stub.on("/rpc", *[Reply(200, {"error": {"code": -32902, "message": "busy"}})] * 3, Reply(200, {"error": None, "result": {}}))
    saga = dtm("saga", wait_result=True, protocol="json-rpc", retry_limit=1, retry_interval=1).add("/rpc?method=A", "")
    success(saga.submit())
    assert len(stub.calls) == 4


def test_timeout_to_fail_rolls_back(dtm, stub):
    stub.on("/b", Reply(425))
    saga = dtm("saga", wait_result=True, timeout_to_fail=20, retry_interval=5).add("/a", "/a-undo").add("/b", "/b-undo")
    failure(saga.submit(), "Timeout after 20 seconds")
    assert saga.called()[-2:] == ["/b-undo compensate", "/a-undo compensate"]


def test_of_a_concurrent_saga_what_no_order_ties_to_an_open_call_is_undone_at_once(dtm, stub):
    answered = threading.Event()
    stub.on("/b", Reply(200, hold=answered))
    saga = dtm("saga", timeout_to_fail=20, custom_data={"concurrent": True}).add("/a", "/a-undo").add("/b", "/b-undo")
    success(saga.submit())
    until(lambda: stub.seen("/a-undo"))
    assert not stub.seen("/b-undo")
    answered.set()
    assert saga.ended() == "failed" and saga.called()[-2:] == ["/a-undo compensate", "/b-undo compensate"]


def test_timeout_to_fail_decides_while_a_call_is_open_and_undoes_behind_it(dtm, stub):
    """Nobody can stop a call that was made: what undoes it comes after its answer, and its success is too late."""
    answered = threading.Event()
    stub.on("/b", Reply(200, hold=answered))
    saga = dtm("saga", timeout_to_fail=20).add("/a", "/a-undo").add("/b", "/b-undo").add("/c", "/c-undo")
    success(saga.submit())
    until(lambda: saga.status() == "aborting")
    assert saga.called() == ["/a action", "/b action"]
    answered.set()
    assert saga.ended() == "failed" and saga.query()["transaction"]["rollback_reason"] == "Timeout after 20 seconds"
    assert saga.called() == ["/a action", "/b action", "/b-undo compensate", "/a-undo compensate"]


def test_request_timeout_is_that_of_a_call(dtm, stub):
    stub.on("/a", Reply(200, delay=1.5), Reply(200))
    saga = dtm("saga", wait_result=True, request_timeout=5, retry_interval=1).add("/a", "/a-undo")  # 100 ms
    success(saga.submit())
    assert saga.called() == ["/a action"] * 2


def test_branch_headers_go_to_every_branch(dtm, stub):
    stub.on("/b", Reply(409))
    long = "x" * 3000
    saga = dtm("saga", wait_result=True, branch_headers={"test_header": "test", "X-Long": long, "Content-Type": "text/x",
                                                        "Host": "evil", "Saga-Id": "forged"})
    failure(saga.add("/a", "/a-undo").add("/b", "/b-undo").submit(), "")
    assert len(stub.calls) == 4
    for c in stub.calls:
        assert c.headers["test_header"] == "test" and c.headers["X-Long"] == long and c.headers["Content-Type"] == "text/x"
        assert c.headers["Saga-Id"] == saga.gid and "evil" not in c.headers["Host"]


def test_names_of_members_in_any_case(dtm, dtm_cluster, stub, gid):
    answer = dtm_cluster.client.post("/api/dtmsvr/submit", {
        "Gid": gid, "Trans_Type": "saga", "WAIT_RESULT": True, "Steps": [{"Action": stub.url + "/a"}], "PayLoads": ["x"]})
    success(answer)
    assert len(stub.calls) == 1


def test_json_rpc_participants(dtm, stub, gid):
    stub.on("/rpc", Reply(200, {"jsonrpc": "2.0", "id": "01", "error": {"code": -32603, "message": "later"}}),
            Reply(200, {"jsonrpc": "2.0", "id": "01", "error": {"code": -32902, "message": "busy"}}),
            Reply(200, {"jsonrpc": "2.0", "id": "01", "error": None, "result": {}}),
            Reply(200, {"jsonrpc": "2.0", "id": "02", "error": {"code": -32901, "message": "no"}}), Reply(200))
    saga = dtm("saga", wait_result=True, protocol="json-rpc", retry_interval=1)
    saga.add("/rpc?method=TransOut", "/rpc?method=Undo", '{"op":"mine","gid":"mine","amount":1.10,"trans_type":"mine","branch_id":"mine"}').add("/rpc?method=In", "/rpc?method=UndoIn")
    failure(saga.submit(), "HTTP 200: no FAILURE")  # the error's own message
    assert saga.query()["transaction"]["rollback_reason"] == "HTTP 200: no"
    assert stub.calls[0].json == {"jsonrpc": "2.0", "id": "01", "method": "TransOut", "params": {
        "amount": 1.1, "gid": gid, "trans_type": "saga", "branch_id": "01", "op": "action"}}
    assert [stub.calls[0].body.count(b'"%s":' % name) for name in (b"gid", b"trans_type", b"branch_id", b"op")] == [1] * 4
    assert [c.json["method"] for c in stub.calls] == ["TransOut"] * 3 + ["In", "UndoIn", "Undo"]


@pytest.mark.parametrize("more, text", [
    ({"gid": ""}, "no gid specified"), ({"gid": "a b"}, "printable ASCII"), ({"trans_type": "magic"}, "unknown trans_type"),
    ({"payloads": []}, "there are 1 steps and 0 payloads"), ({"steps": "x"}, "steps must be an array"),
    ({"steps": [1], "payloads": ["x"]}, "a step is an object"), ({"payloads": [{}]}, "a payload is a string"),
    ({"retry_interval": "1"}, "retry_interval must be a number"), ({"timeout_to_fail": -1}, "timeout_to_fail must be a number"),
    ({"wait_result": "yes"}, "wait_result must be true or false"), ({"retry_limit": 0.5}, "retry_limit must be a whole number"),
    ({"branch_headers": []}, "branch_headers must be"), ({"protocol": "grpc", "steps": [{"action": "host:1/a.B/C"}]}, "gRPC"), ({"query_prepared": 1}, "query_prepared must be"),
    ({"steps": [{"action": "ftp://x"}]}, "action of branch 01: a URL begins with http"),
    ({"steps": [{"action": "", "compensate": "ftp://x"}]}, "compensate of branch 01: a URL begins with http"),
    ({"custom_data": '{"concurrent":true,"orders":{"0":[0]}}'}, "orders of branch 01: "),
    ({"branch_headers": {"a b": "x"}}, "branch_headers"), ({"retry_limit": 1000000}, "retry_limit must be a whole number up to 999999"),
    ({"steps": [{"action": "http://169.254.169.254/latest"}]}, "calls are refused")])
def test_what_cannot_be_submitted(dtm, more, text):
    error(dtm("saga").add("/a", "/b").submit(**more), text)


def test_a_gid_is_cleaned_as_dtm_does(dtm, stub, gid):
    saga = dtm("saga", wait_result=True).add("/a", "")
    success(saga.submit(gid=gid[:4] + "\n;" + gid[4:] + "\r"))
    assert saga.status() == "succeed"


def test_a_body_that_is_not_json(dtm_cluster):
    error(dtm_cluster.client.post("/api/dtmsvr/submit", b"{"), "at byte")
    error(dtm_cluster.client.post("/api/dtmsvr/submit", b"[]"), "an object is wanted")


def test_query_has_the_shape_that_clients_read(dtm, stub, gid):
    saga = dtm("saga", wait_result=True, timeout_to_fail=300, custom_data={"concurrent": True}).add("/a", "/a-undo", "x")
    success(saga.submit())
    got = saga.query()
    t, (undo, act) = got["transaction"], got["branches"]
    assert t["gid"] == gid and t["trans_type"] == "saga" and t["concurrent"] is False and t["custom_data"] == '{"concurrent": true}'
    assert 0 < t["id"] < 2 ** 31 and t["create_time"] <= t["finish_time"] <= t["update_time"]
    assert t["protocol"] == "http" and t["next_cron_interval"] == 10
    assert not {"query_prepared", "rollback_reason", "rollback_time", "owner", "next_cron_time"} & set(t)
    assert act["url"] == stub.url + "/a" and base64.b64decode(act["bin_data"]) == b"x" and act["finish_time"]
    assert undo["op"] == "compensate" and undo["status"] == "prepared" and "rollback_time" not in undo
    assert {act["gid"], undo["gid"]} == {gid} and act["id"] > undo["id"] > t["id"]


def test_query_knows_only_what_this_protocol_began(dtm, dtm_cluster, stub, gid):
    dtm_cluster.client.run(gid=gid, mode="saga", input={}, steps={"a": {"action": {"url": stub.url + "/a"}}})
    assert dtm("saga").query() == {"transaction": None, "branches": []}
    error(dtm_cluster.client.get("/api/dtmsvr/query"), "no gid specified")


def test_a_saga_cannot_be_aborted(dtm, stub):
    stub.on("/a", Reply(425), Reply(200))
    saga = dtm("saga", retry_interval=5).add("/a", "/a-undo")
    success(saga.submit())
    failure(saga.abort(), "trans type: 'saga' current status 'submitted', cannot abort.")
    failure(saga.abort(trans_type="tcc"), "cannot abort.")
    assert saga.ended() == "succeed"


def test_it_is_a_transaction_like_any_other(dtm, dtm_cluster, stub, gid):
    """Our own API shows it, and what operators do holds for it."""
    stub.on("/a", Reply(500))
    client = dtm_cluster.client
    saga = dtm("saga", retry_interval=30000).add("/a", "/a-undo")
    success(saga.submit())
    until(lambda: client.transaction(gid)["steps"][0].get("failed_attempts"))
    listed = client.get("/v1/transactions?label.dtm=saga&limit=200").json["items"]
    assert gid in [t["gid"] for t in listed]
    assert saga.query()["transaction"]["next_cron_time"] > saga.query()["transaction"]["create_time"]
    explained = client.get(f"/v1/transactions/{gid}/explain").json
    assert "branch-01" in explained["sentence"], explained
    answer = client.post(f"/v1/transactions/{gid}/cancel", {"reason": "an operator says so", "actor": "ann"})
    assert answer.status in (200, 202), answer
    assert saga.ended() == "failed"
    assert saga.query()["transaction"]["rollback_reason"] == "an operator says so"
    assert saga.called() == ["/a action", "/a-undo compensate"]


def test_force_stop_ends_it_without_compensation(dtm, stub, gid):
    stub.on("/b", Reply(425))
    saga = dtm("saga").add("/a", "/a-undo").add("/b", "/b-undo")
    success(saga.submit())
    until(lambda: len(stub.calls) >= 2)
    success(saga.post("forceStop", {"gid": gid}))
    assert saga.status() == "failed" and "/a-undo compensate" not in saga.called()
    failure(saga.post("forceStop", {"gid": gid}), "global transaction force stop error. status: failed. error:")
    error(saga.post("forceStop", {"gid": "nobody"}), "no TransGlobal with gid: nobody found")


def test_reset_next_cron_time_makes_the_call_now(dtm, stub, gid):
    stub.on("/a", Reply(500), Reply(200))
    saga = dtm("saga", retry_interval=150000).add("/a", "/a-undo")
    success(saga.submit())
    until(lambda: saga.query()["transaction"].get("next_cron_time"))
    success(saga.post("resetNextCronTime", {"gid": gid}))
    assert saga.ended() == "succeed"
    error(saga.post("resetNextCronTime", {"gid": "nobody"}), "no TransGlobal")
