# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong in every way: each has DTM's shape of an error, none breaks anything or is half done."""
import itertools
import json
import urllib.parse

import pytest

from lib.dtm import error, success

DEEP = b'{"a":' * 100 + b"1" + b"}" * 100
TEXTS = [None, "", " ", "a b", "x" * 129, "x" * 70000, "\u00e4\u00f6", "\U0001f600", "a\"b", "a\\b", "a'b", "${gid}", "../..", "%00", "a\tb"]
VALUES = [None, True, 0, -1, 1.5, 1e300, 10 ** 30, "", "x", "\u00e4", [], [[]], [None], [1], ["x"], {}, {"a": {}}, [{}], [{"a": []}]]
BODIES = [b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"true", b"{}x", b'{"gid":1,"gid":2}', b'{"gid":"\x00"}', b'{"gid":"\\u0000"}',
          b'{"gid":"\xff\xfe"}', b'{"gid":"\\ud800"}', b"\xef\xbb\xbf{}", DEEP, b"[" * 5000, b'{"gid"}', b'{gid:"x"}', b"{'gid':'x'}",
          b'{"gid":"x","gid":"x"}', b'{"gid":"x",}', b"gid=x&trans_type=saga", b"<gid/>"]
POSTS = ["prepare", "submit", "abort", "forceStop", "registerBranch", "registerTccBranch", "registerXaBranch", "prepareWorkflow",
         "resetNextCronTime"]


def is_refused(answer):
    """As DTM says no: a status and a message, or a result that is a failure."""
    assert answer.status in (409, 500), answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert isinstance(answer.json["message"], str) and answer.json["message"], answer
    assert set(answer.json) == ({"message"} if answer.status == 500 else {"dtm_result", "message"})


@pytest.mark.parametrize("route", POSTS)
def test_bodies_that_are_no_object(dtm_cluster, route):
    for body in BODIES:
        is_refused(dtm_cluster.client.post("/api/dtmsvr/" + route, body))


TRANS = ["steps", "payloads", "query_prepared", "custom_data", "protocol", "wait_result", "timeout_to_fail", "request_timeout",
         "retry_interval", "retry_limit", "branch_headers", "concurrent", "rollback_reason", "req_extra"]


def is_taken(name, value):
    """What is right although it looks odd."""
    if value is None or name == "rollback_reason" and isinstance(value, str):
        return True
    if name in ("wait_result", "concurrent"):
        return value is True
    if name in ("timeout_to_fail", "request_timeout", "retry_interval"):
        return value in (0, 1.5) and value is not True
    if name == "retry_limit":
        return value == 0
    return False


@pytest.mark.parametrize("name", TRANS)
def test_every_member_with_every_type(dtm, stub, gid, name):
    """Of a saga with one step: it is refused and unknown then, or it is right and runs."""
    types = {"steps": list, "payloads": list, "branch_headers": dict, "req_extra": dict, "custom_data": (str, dict)}  # the client's
    for n, value in enumerate(VALUES):
        saga = dtm("saga", gid=f"{gid}-{n}", retry_interval=1).add("/a", "/a-undo")
        answer = saga.submit(**{name: value})
        if answer.status == 200:
            assert is_taken(name, value) or isinstance(value, types.get(name, str)), (name, value, answer)
            assert saga.query()["transaction"]
        else:
            is_refused(answer)
            assert answer.status == 500 and not is_taken(name, value), (name, value, answer)
            assert saga.query() == {"transaction": None, "branches": []}


@pytest.mark.parametrize("name", ["gid", "trans_type"])
def test_names_that_are_none(dtm, name):
    for value in VALUES + TEXTS:
        if name == "gid" and value in ("x", "${gid}", "../..", "%00"):
            continue  # these are fine
        is_refused(dtm("saga").add("/a", "/b").submit(**{name: value}))


def test_steps_that_are_none(dtm, stub):
    saga = dtm("saga")
    for value in VALUES[1:]:
        if isinstance(value, str):
            continue
        error(saga.submit(steps=[{"action": value}], payloads=["x"]), "action of a step is a string")
        error(saga.submit(steps=[{"action": "", "compensate": value}], payloads=["x"]), "compensate of a step is a string")
    for url in ("x", "#", "#x", "/path", "//host/path", "ftp://host/", "http://", "http:///x", "http://:80/", "http://host:99999/", "HTTP", "http://h\u00e4/",
                "http://a b/", "http://host\n/", "file:///etc/passwd", "http://user:pass@169.254.169.254/"):
        is_refused(saga.submit(steps=[{"action": url}], payloads=["x"]))
    is_refused(saga.submit(steps=[{"action": stub.url + "/a"}] * 257, payloads=["x"] * 257))
    assert saga.query()["transaction"] is None and not stub.calls


def test_custom_data_that_is_none(dtm, stub):
    saga = dtm("saga").add("/a").add("/b")
    for text in ("{", "x", '{"concurrent":1}', '{"concurrent":"true"}', '{"concurrent":true,"orders":[]}', '{"concurrent":true,"orders":{"1":0}}',
                 '{"concurrent":true,"orders":{"1":{"a":0}}}', '{"concurrent":true,"orders":{"1":["0"]}}', '{"concurrent":true,"orders":{"1":[-1]}}',
                 '{"concurrent":true,"orders":{"1":[2]}}', '{"concurrent":true,"orders":{"1":[1]}}',
                 '{"concurrent":true,"orders":{"9":[0]}}', '{"concurrent":true,"orders":{"2":[]}}', '{"concurrent":true,"orders":{"01":[0]}}',
                 '{"concurrent":true,"orders":{"":[0]}}', '{"concurrent":true,"orders":{"-1":[0]}}', '{"concurrent":true,"orders":{"1.0":[0]}}',
                 '{"concurrent":true,"orders":{" 1":[0]}}', '{"concurrent":true,"orders":{"x":[0]}}', '{"orders":{"9":[0]}}',
                 '{"concurrent":true,"orders":{"0":[1],"1":[0]}}', '{"concurrent":true,"orders":{"1":[0.5]}}', "\u0000"):
        is_refused(saga.submit(custom_data=text))
    msg = dtm("msg").add("/a")
    for text in ("{", '{"delay":"1"}', '{"delay":-1}', '{"delay":1.5}', '{"delay":1e9}', '{"delay":99999999999999999999}', '{"delay":[]}'):
        is_refused(msg.submit(custom_data=text))
    flow = dtm("workflow", query_prepared=stub.url + "/go")
    for text in ("{", "[]", "1", '{"name":""}', '{"name":1}', '{"data":"eA=="}', '{"name":"x","data":"%"}', '{"name":"x","data":"//8="}',
                 '{"name":"x","data":"AA=="}'):
        is_refused(flow.post("prepareWorkflow", custom_data=text))
        is_refused(flow.prepare(custom_data=text))
    assert saga.query()["transaction"] is None and not stub.calls


def test_branches_that_are_none(dtm):
    tcc = dtm("tcc", timeout_to_fail=30000)
    success(tcc.prepare())
    for name, value in itertools.product(("gid", "branch_id", "trans_type", "data", "confirm", "cancel"), VALUES):
        body = {"gid": tcc.gid, "branch_id": "01", "trans_type": "tcc", "data": "x", "confirm": tcc.url("/c"), "cancel": tcc.url("/c")}
        answer = tcc.post("registerBranch", {**body, name: value})
        if answer.status == 200:  # null is absent, any text is data, no URL is no call
            assert value in (None, "") and name in ("data", "trans_type", "confirm", "cancel") or (
                isinstance(value, str) and name in ("data", "branch_id")), (name, value)
            success(tcc.abort())
            tcc.gid += "-"
            success(tcc.prepare())
        else:
            is_refused(answer)
    for text in ("a b", "x" * 58, "\u00e4", "${x}", "1/2", "a\"b", "1;2"):
        error(tcc.branch(text), "a branch_id is")
    for url, why in [("ftp://x", "a URL begins with http"), ("http://h/" + "x" * 8000, "a URL has at most 8000 bytes")]:
        for member in ("confirm", "cancel"):
            assert tcc.branch("01", **{member: url}).json["message"].startswith(f"{member}: {why}")
    assert tcc.query()["branches"] == []
    success(tcc.abort())
    xa = dtm("xa", gid=tcc.gid + "-xa", timeout_to_fail=30000)
    success(xa.prepare())
    assert xa.branch("01", url="ftp://x").json["message"].startswith("url: a URL begins with http")
    success(xa.abort())


def test_queries_that_are_none(dtm_cluster):
    client = dtm_cluster.client
    for text in ["", " ", "a b", "x" * 129, "x" * 3000, "\u00e4\u00f6", "\U0001f600", "\"", "\\"]:
        answer = client.get("/api/dtmsvr/query?" + urllib.parse.urlencode({"gid": text}))
        assert answer.status == 500 and set(answer.json) == {"message"}, answer
    for route, names in {"all": ["limit", "createTimeStart", "createTimeEnd"], "resetCronTime": ["timeout", "limit"], "scanKV": ["limit"]}.items():
        for name, value in itertools.product(names, ["x", "-1", "1.5", "99999999999999999999", " ", "0x10", "1e3", "%00", "%ff", "\u0661"]):
            answer = client.get(f"/api/dtmsvr/{route}?{name}=" + (value if "%" in value else urllib.parse.quote(value)))
            assert answer.status == (400 if value in ("%00", "%ff") else 500) and answer.json["message"], (route, name, value, answer)


def test_what_is_refused_before_it_is_read_has_a_message_too(dtm_cluster):
    client = dtm_cluster.client
    big = client.post("/api/dtmsvr/submit", b'{"gid":"' + b"x" * (5 << 20) + b'"}')
    for answer, status in [(client.get("/api/dtmsvr/nothing"), 404), (client.get("/api/dtmsvr/submit"), 405), (big, 413),
                           (client.get("/api/dtmsvr/all?a=%ff"), 400), (client.post("/api/nothing"), 404)]:
        assert answer.status == status and answer.json["message"] == answer.json["detail"] and "FAILURE" not in answer.text, answer
    assert "message" not in client.get("/v1/nothing").json


def test_the_label_is_for_this_protocol(dtm_cluster, stub, gid):
    """What another API begins is never read as if this one had written it."""
    answer = dtm_cluster.client.post("/v1/transactions", {"gid": gid, "labels": {"dtm": "saga"}, "definition": {
        "mode": "saga", "steps": {"a": {"action": {"url": stub.url + "/a"}}}}})
    assert answer.status in (400, 422) and "the label dtm is for" in answer.text, answer


def test_a_topic_takes_no_subscriber_that_would_break_it(dtm_cluster, gid):
    for url in ("grpc://x", "x", "host:1/a.B/C", "/a"):
        answer = dtm_cluster.client.get("/api/dtmsvr/subscribe?" + urllib.parse.urlencode({"topic": gid, "url": url}))
        error(answer, "a subscriber's url begins with http")
    for url in ("http://[bad", "http://", "http:///x", "http://host:99999/", "http://user:pass@host/", "http://a/../b"):
        answer = dtm_cluster.client.get("/api/dtmsvr/subscribe?" + urllib.parse.urlencode({"topic": gid, "url": url}))
        assert answer.status == 500 and set(answer.json) == {"message"} and answer.json["message"].startswith("url: "), answer
    for query in ("topic=%00&url=http://a/", "topic=%ff&url=http://a/", f"topic={gid}&url=http://a/&remark=%0a"):
        answer = dtm_cluster.client.get("/api/dtmsvr/subscribe?" + query)
        assert answer.status == 400 and answer.json["message"], answer
    long = "t" * 3000
    answer = dtm_cluster.client.get("/api/dtmsvr/subscribe?" + urllib.parse.urlencode({"topic": long, "url": "http://a/"}))
    assert answer.status in (200, 500) and json.loads(answer.text)
