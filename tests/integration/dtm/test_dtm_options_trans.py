# SPDX-License-Identifier: Apache-2.0
"""Every option of a global transaction, and what a call and its answer mean: sentence by sentence of the protocol."""
import base64
import datetime
import json
import string
import time

import pytest

from lib.base import until
from lib.dtm import SECOND, error, failure, params_of, path_of, success
from lib.stub import Reply

LONG = 30000  # seconds of the protocol: 10 minutes


def each(names, values):
    """Parametrized; gids are made of the ids, so that these are plain."""
    return pytest.mark.parametrize(names, values, ids=list(string.ascii_lowercase[:len(values)]))


def gaps(stub, path):
    at = [c.at for c in stub.calls if path_of(c) == path]
    return [b - a for a, b in zip(at, at[1:])]


# ---- what an answer means --------------------------------------------------------------------


@each("reply", [Reply(425, "FAILURE"), Reply(409, "it is ONGOING, no FAILURE"), Reply(200, "FAILURE ONGOING"),
                                   Reply(500, "ONGOING"), Reply(425, "")])
def test_ongoing_is_looked_for_first(dtm, stub, reply):
    stub.on("/a", reply, Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=1).add("/a", "/a-undo")
    success(saga.submit())
    assert saga.called() == ["/a action"] * 2


@each("reply", [Reply(409), Reply(500, "FAILURE"), Reply(201, "x" * 60000 + "FAILURE"), Reply(200, '{"result":"FAILURE"}')])
def test_then_failure(dtm, stub, reply):
    stub.on("/a", reply)
    failure(dtm("saga", wait_result=True).add("/a", "").submit(), "HTTP")


@each("text", ["failure", "Failure", "FAIL URE", "ongoing", "SUCCESS"])
def test_words_are_these_and_no_others(dtm, stub, text):
    stub.on("/a", Reply(200, text))
    success(dtm("saga", wait_result=True).add("/a", "").submit())


def test_ongoing_does_not_make_the_interval_longer(dtm, stub):
    stub.on("/a", *[Reply(425)] * 4, Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=10).add("/a", "/a-undo")
    success(saga.submit())
    assert min(gaps(stub, "/a")) >= 9 * SECOND and min(gaps(stub, "/a")[1:]) < 19 * SECOND  # else it would be 20, 40, 80


def test_errors_do_after_what_is_ongoing_as_well(dtm, stub):
    stub.on("/a", Reply(500), Reply(500), Reply(500), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=3).add("/a", "/a-undo")
    success(saga.submit())
    first, second, third = gaps(stub, "/a")
    assert first >= 2.5 * SECOND and second >= 5.5 * SECOND and third >= 11.5 * SECOND


def test_a_short_timeout_to_fail_is_the_interval(dtm, stub):
    stub.on("/committed", Reply(500), Reply(200))
    msg = dtm("msg", query_prepared=stub.url + "/committed", timeout_to_fail=2).add("/a")
    success(msg.prepare())
    assert msg.ended() == "succeed" and gaps(stub, "/committed")[0] >= 1.5 * SECOND
    assert msg.query()["transaction"]["next_cron_interval"] == 2


# ---- what a call looks like --------------------------------------------------------------------


@each("payload, method, body", [("", "GET", b""), (None, "GET", b""), ("null", "POST", b"null"), (" ", "POST", b" "),
                                                   ("{}", "POST", b"{}"), ("\u00e4", "POST", "\u00e4".encode())])
def test_the_payload_decides_the_method(dtm, stub, payload, method, body):
    stub.on("/b", Reply(409))
    saga = dtm("saga", wait_result=True).add("/a", "/a-undo", payload).add("/b", "/b-undo", payload)
    failure(saga.submit(), "")
    assert [c.method for c in stub.calls] == [method] * 4 and {c.body for c in stub.calls} == {body}  # compensations have it too
    assert {c.headers["Content-Type"] for c in stub.calls} == {"application/json"}


def test_payloads_beyond_the_steps_are_nobodys(dtm, stub):
    saga = dtm("saga", wait_result=True).add("/a", "")
    success(saga.submit(payloads=["one", "two"]))
    assert [c.body for c in stub.calls] == [b"one"]


def test_a_payload_for_some_steps_of_old_clients(dtm, stub):
    saga = dtm("saga", wait_result=True)
    steps = [{"action": stub.url + "/a", "data": "x"}, {"action": stub.url + "/b", "data": None}, {"action": stub.url + "/c"}]
    success(saga.submit(steps=steps, payloads=None))
    assert [(c.method, c.body) for c in stub.calls] == [("POST", b"x"), ("GET", b""), ("GET", b"")]


def test_parameters_are_encoded_and_stand_behind_those_of_the_url(dtm, stub, gid):
    odd = gid + "&a=b+c/%41?#\u003d"
    saga = dtm("saga", gid=odd, wait_result=True).add("/a?x=1&gid=theirs#part", "")
    success(saga.submit())
    raw = stub.calls[0].path
    assert raw.startswith("/a?x=1&gid=theirs&branch_id=01&gid=") and raw.endswith("&op=action&trans_type=saga") and "#" not in raw
    assert saga.query()["branches"][1]["url"].endswith("/a?x=1&gid=theirs")


def test_a_hundred_branches_have_three_digits(dtm, stub):
    saga = dtm("saga", wait_result=True)
    for _ in range(101):
        saga.add("", "", "")
    saga.add("/last", "")
    success(saga.submit())
    assert params_of(stub.calls[0])["branch_id"] == "102"
    assert [b["branch_id"] for b in saga.query()["branches"]][-6:] == ["100", "100", "101", "101", "102", "102"]


def test_http_is_spoken_to_urls_of_http_whatever_the_protocol(dtm, stub):
    saga = dtm("saga", wait_result=True, protocol="grpc").add("/a", "/a-undo")
    success(saga.submit())
    assert saga.query()["transaction"]["protocol"] == "grpc"
    error(dtm("msg", protocol="grpc", query_prepared="host:1/a.B/C").add("/a").prepare(), "gRPC is not spoken here")


@each("text", ['{"error":{"code":-32901}}', '{"error": {"code": -32901, "message": "no"}}', '{"result":null, "error" :\n{"code":"-32901"}}'])
def test_a_failure_in_json_rpc(dtm, stub, text):
    stub.on("/rpc", Reply(200, text), Reply(200, '{"error":null,"result":{}}'))
    failure(dtm("saga", wait_result=True, protocol="json-rpc").add("/rpc?method=A", "/rpc?method=B").submit(), "")
    assert [c.json["method"] for c in stub.calls] == ["A", "B"]


@each("text", ['{"error":{"code":1}}', '{"error": {"code":1}}', '{"error" :{"code":1}}', '{"error":\n  {"code":-329010}}', '{"error":"boom"}',
               '{"error":{}}', '{"code":-32901,"error":{}}', '{"error":{"code":-32901,"a":1,"a":2}}', '{"error":', "<html>"])
def test_an_error_in_json_rpc_is_asked_again(dtm, stub, text):
    stub.on("/rpc", Reply(200, text), Reply(200, '{"error":null,"result":{}}'))
    success(dtm("saga", wait_result=True, protocol="json-rpc", retry_interval=1).add("/rpc?method=A%20b").submit())
    assert [c.json["method"] for c in stub.calls] == ["A b"] * 2


@each("text", ['{"error":null,"result":{"bal":-32901}}', '{"result":"-32901 -32902"}', '{"result":{"error":{"code":-32901}}}',
               '[{"error":{"code":-32901}}]', '{"code":-32901}', "null", ""])
def test_what_is_no_error_in_json_rpc(dtm, stub, text):
    stub.on("/rpc", Reply(200, text))
    saga = dtm("saga", wait_result=True, protocol="json-rpc").add("/rpc?method=A", "/undo")
    success(saga.submit())
    assert len(stub.calls) == 1


@each("text", ["x", '{"error":{"code":-32901}}'])
def test_without_a_method_a_json_rpc_branch_is_plain_http(dtm, stub, text):
    stub.on("/a", Reply(200, text))
    success(dtm("saga", wait_result=True, protocol="json-rpc").add("/a", "", "x").submit())
    assert stub.calls[0].body == b"x" and len(stub.calls) == 1


@each("kind", ["tcc", "xa"])
def test_branches_that_join_speak_json_rpc_as_their_transaction_does(dtm, stub, kind):
    """A registerBranch names no protocol."""
    stub.on("/rpc", Reply(200, {"error": {"code": -32603}}), Reply(200, {"error": {"code": -32901}}), Reply(200, {"result": {}}))
    t = dtm(kind, wait_result=True, protocol="json-rpc", retry_interval=1)
    success(t.prepare())
    where = {"url": stub.url + "/rpc?method=M"} if kind == "xa" else {op: stub.url + "/rpc?method=M" for op in ("confirm", "cancel")}
    success(t.branch("01", **where))
    success(t.branch("01", **where))
    success(t.submit())
    assert [(c.json["method"], c.json["params"]["op"]) for c in stub.calls] == [("M", "commit" if kind == "xa" else "confirm")] * 3


# ---- options -------------------------------------------------------------------------------------


def test_members_that_nobody_knows_are_taken(dtm, stub):
    saga = dtm("saga", wait_result=True).add("/a", "")
    success(saga.submit(passthrough_headers=["authorization"], magic={"a": [1]}, status="succeed", id=7, retry_count=3, ext=None))
    assert saga.called() == ["/a action"] and "authorization" not in stub.calls[0].headers


def test_a_header_that_cannot_be_is_named(dtm, stub):
    saga = dtm("saga").add("/a")
    for name, value, text in [
            ("a b", "x", '"a b": this is no header name'), ("", "x", '"": this is no header name'),
            ("a", "x\r\nevil: 1", '"a": a header\'s value has no control characters; byte 0x0d is one'),
            ("a:b", "x", '"a:b": this is no'), ("\u00e4" * 50, "x", '"' + "\u00e4" * 32 + '": this'), ("a~/", "\n", '"a~/": this is no'),
            ("x" * 500 + " ", "x", '"' + "x" * 64 + '": this is no')]:
        error(saga.submit(branch_headers={"X-Fine": "y", name: value}), "branch_headers " + text)
    assert saga.query()["transaction"] is None


def test_headers_beyond_ascii_and_names_in_any_case(dtm, stub):
    said = {"X-A": "\u00fc \u2713 \U0001f600", "x-dup": "1", "X-Dup": "2", "X-DUP": None, "CONTENT-type": "a", "Content-Type": "text/plain"}
    saga = dtm("saga", wait_result=True, branch_headers=said).add("/a", "")
    success(saga.submit())
    got = stub.calls[0].headers
    assert got["X-A"].encode("latin-1").decode() == said["X-A"]
    assert got["X-Dup"] == "2" and got["Content-Type"] == "text/plain"
    assert [sum(n.lower() == name for n in got.keys()) for name in ("x-dup", "content-type")] == [1, 1]
    for value in ("a\x7f", "a\tb", "\x1f", "\u00fc\r\nX-B: 1"):
        error(dtm("saga", gid=saga.gid + "-2", branch_headers={"X-A": value}).add("/a").submit(), "control characters")


SLOW = "/slow"


def begin_slowly(dtm, stub, kind, gid):
    """Its one branch is called, by the coordinator, and takes 3.5 s."""
    t = dtm(kind, gid=f"{gid}-{kind}", retry_interval=1, timeout_to_fail=LONG)
    if kind in ("saga", "msg"):
        success(t.add(SLOW, "").submit())
        return t
    success(t.prepare())
    success(t.branch("01", url=stub.url + SLOW) if kind == "xa" else t.branch("01", confirm=stub.url + SLOW))
    success(t.submit())
    return t


def test_a_call_slower_than_three_seconds_is_not_made_again(dtm, dtm_cluster, stub, gid):
    """After 3 s DTM's server, whose scans of its table know nothing of calls, makes it a second time while the first still runs. Here neither
    the interval makes it again (20 ms), nor who wants everything to be made now."""
    stub.on(SLOW, Reply(200, delay=3.5))
    begun = [begin_slowly(dtm, stub, kind, gid) for kind in ("saga", "msg", "tcc", "xa")]
    until(lambda: len(stub.seen(SLOW)) == len(begun))
    for t in begun:
        for replica in dtm_cluster.replicas:
            success(dtm_cluster.client.post("/api/dtmsvr/resetNextCronTime", {"gid": t.gid}, at=replica.at))
            assert dtm_cluster.client.get("/api/dtmsvr/resetCronTime?timeout=0", at=replica.at).status == 200
    assert [t.ended() for t in begun] == ["succeed"] * 4
    assert sorted(c.gid for c in stub.seen(SLOW)) == sorted(t.gid for t in begun)


@each("kind", ["saga", "msg"])
def test_an_answer_in_the_pause_counts(dtm, stub, kind):
    """Behind the request_timeout (20 ms) and before the interval after it is over (10 s): DTM would call it again."""
    stub.on("/a", Reply(200, delay=0.3))
    t = dtm(kind, wait_result=True, request_timeout=1, retry_interval=500).add("/a", "")
    success(t.submit())
    assert t.called() == ["/a action"]


@each("number, options", [("1e1", '"timeout":"400ms"'), ("0.1E2", '"timeout":"400ms"'), ("25e-1", '"timeout":"250ms"')])
def test_numbers_with_an_exponent(dtm, dtm_cluster, gid, number, options):
    saga = dtm("saga").add("", "", "")
    body = json.dumps(saga.body(request_timeout="NUMBER")).replace('"NUMBER"', number)
    success(saga.post("submit", body.encode()))
    assert options in json.dumps(dtm_cluster.client.transaction(gid)["document"], separators=(",", ":"))


@each("scheme", ["HTTP://", "Http://"])
def test_a_scheme_in_capitals(dtm, stub, scheme):
    saga = dtm("saga", wait_result=True).add(scheme + stub.host + "/A", "")
    success(saga.submit())
    assert saga.called() == ["/A action"]


def test_a_time_limit_of_half_a_second_is_told(dtm, stub):
    stub.on("/a", Reply(500))
    saga = dtm("saga", wait_result=True, timeout_to_fail=12.5, retry_interval=1000).add("/a", "")
    failure(saga.submit(), "Timeout after 12.5 seconds")


def test_a_member_that_is_misspelt_is_not_looked_at(dtm, stub):
    """As in DTM: a saga without steps succeeds."""
    saga = dtm("saga", wait_result=True)
    success(saga.submit(step=[{"action": stub.url + "/a"}]))
    assert saga.query()["branches"] == [] and not stub.calls


def test_custom_data_is_kept_as_it_came(dtm):
    text = '{"any": "thing", "n": 1.10, "long": "' + "x" * 3000 + '"}'
    tcc = dtm("tcc", timeout_to_fail=LONG)
    success(tcc.prepare(custom_data=text))
    assert tcc.query()["transaction"]["custom_data"] == text
    success(tcc.submit(wait_result=True, custom_data="not kept: it is no more a preparation"))
    assert tcc.query()["transaction"]["custom_data"] == text


@each("reason", ["", "x" * 990, "\u00e4" * 700, "xx" + "\u20ac" * 500, "a \"quoted\" \\ ${x} line\nbreak"])
def test_the_reason_of_a_rollback(dtm, reason):
    tcc = dtm("tcc", timeout_to_fail=LONG)
    success(tcc.prepare())
    success(tcc.abort(rollback_reason=reason))
    assert tcc.ended() == "failed"
    shown = tcc.query()["transaction"].get("rollback_reason", "")
    assert reason.startswith(shown) and len(shown.encode()) >= min(len(reason.encode()), 990)


def test_the_longest_gid(dtm, stub, gid):
    long = gid + "x" * (128 - len(gid))
    saga = dtm("saga", gid=long, wait_result=True).add("/a", "")
    success(saga.submit())
    assert params_of(stub.calls[0])["gid"] == long and saga.status() == "succeed"


def test_wait_result_may_be_short(dtm, stub):
    stub.on("/a", Reply(425), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=LONG).add("/a", "")
    began = time.monotonic()
    answer = saga.client.post("/api/dtmsvr/submit", saga.body(), headers={"Prefer": "wait=0"})
    assert time.monotonic() - began < 30  # else it would be 60
    assert answer.status == 425 and answer.json["dtm_result"] == "ONGOING" and "submitted" in answer.json["message"]
    until(lambda: saga.client.transaction(saga.gid)["owner"] is None)  # it sleeps
    success(saga.post("resetNextCronTime", {"gid": saga.gid}))
    assert saga.ended() == "succeed"


def test_wait_result_of_every_kind(dtm, stub, gid):
    stub.on("/no", Reply(409))
    failure(dtm("saga", gid=gid + "-s", wait_result=True).add("/no", "").submit(), "HTTP 409")
    for kind in ("tcc", "xa"):
        t = dtm(kind, gid=gid + "-" + kind, timeout_to_fail=LONG, retry_interval=1)
        stub.on("/slow", Reply(500), Reply(425), Reply(409), Reply(200))
        success(t.prepare())
        success(t.branch("01", **({"url": stub.url + "/slow"} if kind == "xa" else {"confirm": stub.url + "/slow"})))
        success(t.submit(wait_result=True))
        assert t.status() == "succeed"
    stub.on("/slow", Reply(500), Reply(425), Reply(409), Reply(200))
    msg = dtm("msg", gid=gid + "-m", wait_result=True, retry_interval=1).add("/slow")
    success(msg.submit())
    assert msg.status() == "succeed"


def test_retries_are_counted_for_each_branch(dtm, stub):
    stub.on("/a", Reply(500), Reply(500), Reply(200))
    stub.on("/b", Reply(500), Reply(425), Reply(425), Reply(500), Reply(200))  # what goes on is no try
    saga = dtm("saga", wait_result=True, retry_limit=2, retry_interval=1).add("/a", "").add("/b", "")
    success(saga.submit())
    assert saga.called() == ["/a action"] * 3 + ["/b action"] * 5


def test_one_retry(dtm, stub):
    stub.on("/a", Reply(500))
    saga = dtm("saga", wait_result=True, retry_limit=1).add("/a", "/a-undo")
    failure(saga.submit(), "RetryCount is greater than RetryLimit, RetryLimit: 1")
    assert saga.called() == ["/a action"] * 2 + ["/a-undo compensate"]


@each("options, texts", [({"retry_interval": 10 ** 7}, ['"initial":"1h"', '"poll":"1h"']), ({"retry_interval": 0.1}, ['"initial":"10ms"']),
                         ({"request_timeout": 10 ** 6}, ['"timeout":"10m"']), ({"request_timeout": 0.1}, ['"timeout":"202ms"']),
                         ({"request_timeout": 0.1, "retry_interval": 0.1}, ['"timeout":"12ms"']),
                         ({"request_timeout": 5, "retry_limit": 3}, ['"timeout":"200ms"', '"initial":"100ms"']),
                         ({}, ['"timeout":"10m"', '"initial":"200ms"', '"max":"1m"', '"factor":2']),
                         ({"retry_limit": 3}, ['"timeout":"30s"']), ({"timeout_to_fail": 20}, ['"timeout":"30s"']),
                         ({"timeout_to_fail": 3000}, ['"timeout":"1m"']), ({"timeout_to_fail": 10 ** 5}, ['"timeout":"10m"']),
                         ({"retry_interval": 6000}, ['"initial":"2m"', '"max":"2m"'])])
def test_times_have_bounds(dtm, gid, options, texts):
    saga = dtm("saga", wait_result=True, **options).add("/a", "")
    success(saga.submit())
    document = saga.client.get(f"/v1/transactions/{gid}").text
    assert [t for t in texts if t not in document.replace(": ", ":")] == []


# ---- again, and too late ---------------------------------------------------------------------------


def test_a_submit_while_it_is_rolled_back(dtm, stub):
    stub.on("/a", Reply(409))
    stub.on("/a-undo", Reply(500), Reply(200))
    saga = dtm("saga", retry_interval=LONG).add("/a", "/a-undo")
    success(saga.submit())
    until(lambda: saga.status() == "aborting")
    failure(saga.submit(), "current status 'aborting', cannot sumbmit.")
    assert [(b["op"], b["status"]) for b in saga.query()["branches"]] == [("compensate", "prepared"), ("action", "failed")]
    success(saga.post("resetNextCronTime", {"gid": saga.gid}))
    assert saga.ended() == "failed"
    failure(saga.submit(), "current status 'failed', cannot sumbmit.")


def test_who_waits_and_asks_again_hears_the_reason(dtm, dtm_cluster, stub):
    """DTM tells him no more than that it cannot be submitted; also while it is rolled back it is waited for."""
    stub.on("/a", Reply(409, "no seats"))
    stub.on("/a-undo", Reply(500), Reply(200))
    saga = dtm("saga", retry_interval=1).add("/a", "/a-undo")
    success(saga.submit())
    for replica in dtm_cluster.replicas:
        answer = dtm_cluster.client.post("/api/dtmsvr/submit", saga.body(wait_result=True), at=replica.at)
        failure(answer, "HTTP 409: no seats")
        assert "sumbmit" not in answer.text
    assert saga.called() == ["/a action"] + ["/a-undo compensate"] * 2


@each("kind", ["tcc", "xa", "msg", "workflow"])
def test_prepare_of_every_kind_may_be_repeated(dtm, stub, gid, kind):
    t = dtm(kind, timeout_to_fail=LONG, retry_interval=LONG, query_prepared=stub.url + "/ask",
            custom_data={"name": "w", "data": ""} if kind == "workflow" else None)
    for _ in range(3):
        success(t.prepare())
    assert t.status() == "prepared" and t.query()["transaction"]["trans_type"] == kind
    success(t.post("forceStop", {"gid": gid}))
    failure(t.prepare(), "current status 'failed', cannot prepare.")
    failure(t.post("forceStop", {"gid": gid}), "global transaction force stop error. status: failed. error: FAILURE")
    success(t.post("resetNextCronTime", {"gid": gid}))  # of what has ended, too
    assert t.status() == "failed" and not stub.calls


@each("kind, upto", [("saga", "submitted"), ("saga", "aborting"), ("msg", "submitted"), ("tcc", "submitted"), ("tcc", "aborting"),
                                        ("xa", "submitted"), ("xa", "aborting")])
def test_force_stop_at_every_status(dtm, stub, gid, kind, upto):
    """Nothing is undone: what was called stays as it is."""
    stub.on("/a", Reply(409 if upto == "aborting" else 500))
    stub.on("/a-undo", Reply(500))
    t = dtm(kind, timeout_to_fail=LONG, retry_interval=LONG)
    if kind in ("saga", "msg"):
        success(t.add("/a", "/a-undo").submit())
    else:
        success(t.prepare())
        success(t.branch("01", url=stub.url + "/a") if kind == "xa" else t.branch("01", confirm=stub.url + "/a", cancel=stub.url + "/a-undo"))
        success(t.abort() if upto == "aborting" else t.submit())
    until(lambda: t.status() == upto and len(stub.calls) == (2 if (kind, upto) == ("saga", "aborting") else 1))
    n = len(stub.calls)
    success(t.post("forceStop", {"gid": gid}))
    got = t.query()["transaction"]
    assert got["status"] == "failed" and got["rollback_time"] and "finish_time" not in got and "next_cron_time" not in got
    failure(t.submit(), "current status 'failed'")
    assert len(stub.calls) == n


def test_force_stop_of_what_succeeded(dtm, stub, gid):
    saga = dtm("saga", wait_result=True).add("/a", "")
    success(saga.submit())
    failure(saga.post("forceStop", {"gid": gid}), "status: succeed. error: FAILURE")


@each("claimed", [None, "", "saga", "workflow", "magic"])
def test_abort_needs_a_kind_that_can_be_aborted(dtm, claimed):
    tcc = dtm("tcc", timeout_to_fail=LONG)
    success(tcc.prepare())
    failure(tcc.abort(trans_type=claimed), f"trans type: '{claimed or ''}' current status 'prepared', cannot abort.")
    success(tcc.abort())


def test_abort_of_a_message_only_before_it_goes_out(dtm, stub):
    stub.on("/a", Reply(500), Reply(200))
    msg = dtm("msg", query_prepared=stub.url + "/q", timeout_to_fail=LONG, retry_interval=LONG).add("/a")
    success(msg.prepare())
    success(msg.submit())
    until(lambda: stub.calls)
    failure(msg.abort(), "trans type: 'msg' current status 'submitted', cannot abort.")
    success(msg.post("resetNextCronTime", {"gid": msg.gid}))
    assert msg.ended() == "succeed"


def test_a_branch_joins_no_message(dtm, stub):
    msg = dtm("msg", timeout_to_fail=LONG, query_prepared=stub.url + "/ask").add("/a")
    success(msg.prepare())
    failure(msg.branch("09", trans_type="tcc", confirm=stub.url + "/c", cancel=stub.url + "/c"), "status: prepared found")
    assert [b["branch_id"] for b in msg.query()["branches"]] == ["01"]
    success(msg.abort())


def test_a_record_of_a_workflow_joins_no_tcc(dtm, stub):
    tcc = dtm("tcc", timeout_to_fail=LONG)
    success(tcc.prepare())
    success(tcc.branch("01"))
    failure(tcc.branch("02", trans_type="workflow", op="action", status="succeed"), "status: prepared found")
    success(tcc.submit(wait_result=True))
    assert tcc.called() == ["/01/confirm confirm"]


# ---- what is shown ---------------------------------------------------------------------------------


def test_times_are_rfc_3339_and_in_order(dtm, stub):
    stub.on("/b", Reply(409, delay=0.05))
    saga = dtm("saga", wait_result=True).add("/a", "/a-undo").add("/b", "/b-undo").add("/c", "/c-undo")
    failure(saga.submit(), "")
    got = saga.query()
    for row in [got["transaction"], *got["branches"]]:
        for name in ("create_time", "update_time", "finish_time", "rollback_time"):
            if name in row:
                datetime.datetime.fromisoformat(row[name].replace("Z", "+00:00"))
    t = got["transaction"]
    assert t["create_time"] <= t["rollback_time"] <= t["update_time"] and "finish_time" not in t
    done = {(b["branch_id"], b["op"]): b for b in got["branches"]}
    assert t["create_time"] < done["02", "compensate"]["finish_time"] <= done["01", "compensate"]["finish_time"]
    # Behind the delay of /b; the row's times and those of answers may be a few ms beside each other.
    made, ended = (datetime.datetime.fromisoformat(t[name].replace("Z", "+00:00")) for name in ("create_time", "rollback_time"))
    assert (ended - made).total_seconds() > 0.025
    # Each row keeps the time of its own answer, the action's as well when its compensation was answered.
    order = [done[row] for row in (("01", "action"), ("02", "action"), ("02", "compensate"), ("01", "compensate"))]
    for b in order:
        assert b["update_time"] == b["finish_time"] and b["create_time"] == t["create_time"]
    assert [b["finish_time"] for b in order] == sorted(b["finish_time"] for b in order)
    assert order[0]["finish_time"] < order[1]["finish_time"], "/b answered 50 ms later"
    for b in (done["03", "action"], done["03", "compensate"]):
        assert "finish_time" not in b and b["update_time"] == t["create_time"]
    ids = [t["id"]] + [b["id"] for b in got["branches"]]
    assert ids == sorted(set(ids)) and all(isinstance(i, int) for i in ids)
    assert [base64.b64decode(b["bin_data"]) for b in got["branches"]] == [b'{"amount":30}'] * 6


@each("options, seconds", [({}, 10), ({"retry_interval": 7}, 7), ({"retry_interval": 0.2}, 1), ({"timeout_to_fail": 4}, 4),
                                              ({"timeout_to_fail": 400}, 10), ({"retry_interval": 2.5, "timeout_to_fail": 4}, 3)])
def test_the_interval_is_a_whole_number_of_seconds(dtm, options, seconds):
    saga = dtm("saga", wait_result=True, **options).add("", "", "")
    success(saga.submit())
    assert saga.query()["transaction"]["next_cron_interval"] == seconds


def test_an_action_keeps_its_time_at_every_replica_while_its_compensation_is_repeated(dtm, stub, dtm_cluster):
    stub.on("/b", Reply(409))
    stub.on("/a-undo", Reply(500), Reply(500), Reply(200))
    saga = dtm("saga", retry_interval=3, timeout_to_fail=LONG).add("/a", "/a-undo").add("/b", "/b-undo")
    success(saga.submit())
    rows = lambda: {(b["branch_id"], b["op"]): b for b in saga.query()["branches"]}  # noqa: E731
    first = until(lambda: (r := rows())["02", "compensate"]["status"] == "succeed" and r)["01", "action"]
    assert first["status"] == "succeed" and first["finish_time"]
    assert saga.ended() == "failed"
    for replica in dtm_cluster.replicas:
        answer = dtm_cluster.client.send("GET", f"/api/dtmsvr/query?gid={saga.gid}", at=replica.at)
        got = {(b["branch_id"], b["op"]): b for b in answer.json["branches"]}
        assert got["01", "action"] == first
        assert got["02", "action"]["status"] == "failed" and got["02", "action"]["finish_time"] > first["finish_time"]
        assert got["01", "compensate"]["finish_time"] > got["02", "compensate"]["finish_time"]


def test_an_action_that_nobody_answered_is_not_said_to_be_done(dtm, stub):
    stub.on("/a", Reply(500))
    saga = dtm("saga", wait_result=True, retry_limit=1).add("/a", "/a-undo")
    failure(saga.submit(), "RetryCount")
    undo, act = saga.query()["branches"]
    assert (undo["status"], act["status"]) == ("succeed", "prepared") and "finish_time" not in act


def test_two_branches_that_fail_side_by_side_are_both_failed(dtm, stub):
    stub.on("/a", Reply(409, delay=0.2))
    stub.on("/b", Reply(409))
    saga = dtm("saga", wait_result=True, custom_data={"concurrent": True}).add("/a", "/a-undo").add("/b", "/b-undo")
    failure(saga.submit(), "HTTP 409")
    assert [(b["op"], b["status"]) for b in saga.query()["branches"]] == [("compensate", "succeed"), ("action", "failed")] * 2


def test_a_branch_that_joins_has_a_creation_of_its_own(dtm, stub):
    tcc = dtm("tcc", timeout_to_fail=LONG)
    success(tcc.prepare())
    for branch_id in ("01", "02"):
        time.sleep(0.005)  # times are shown in ms
        success(tcc.branch(branch_id))
    success(tcc.submit(wait_result=True))
    got = tcc.query()
    by = {(b["branch_id"], b["op"]): b for b in got["branches"]}
    assert got["transaction"]["create_time"] < by["01", "confirm"]["create_time"] < by["02", "confirm"]["create_time"]
    for branch_id in ("01", "02"):
        confirm, cancel = by[branch_id, "confirm"], by[branch_id, "cancel"]
        assert cancel["create_time"] == cancel["update_time"] == confirm["create_time"] <= confirm["finish_time"]
        assert "finish_time" not in cancel
