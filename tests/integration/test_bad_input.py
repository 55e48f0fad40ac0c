# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: a problem+json that says what is wrong and where, never a crash, hang or leak.

Runs on the sanitized build; the sanitizers' verdict is read when the replica has left in order.
"""
import json
import socket
import time

import pytest

from lib.client import problem
from lib.cluster import Cluster

CALL = {"url": "http://127.0.0.1:9/x"}


@pytest.fixture(scope="module")
def replica(postgres):
    dsn = postgres.new_database()
    cluster = Cluster(dsn, count=1, sanitized=True)
    yield cluster
    for _ in range(3):  # it still works after all that
        assert cluster.client.get("/v1/definitions").status == 200
    cluster.stop()
    postgres.drop_database(dsn)


@pytest.fixture
def client(replica):
    return replica.client


def saga(**more):
    return {"mode": "saga", "input": {}, "steps": {"a": {"action": CALL, "compensate": CALL}}, **more}


# ---- bodies -----------------------------------------------------------------------------

BROKEN = {
    "nothing": b"",
    "white space": b"  \n",
    "cut off": b'{"definition": "x", "inp',
    "single quotes": b"{'a': 1}",
    "trailing comma": b'{"a": 1,}',
    "two values": b'{"a": 1} {"b": 2}',
    "comment": b'{"a": 1 /* no */}',
    "leading zero": b'{"input": 01}',
    "infinity": b'{"input": Infinity}',
    "a NUL byte": b'{"gid": "a\x00b", "definition": "x"}',
    "an escaped NUL": b'{"gid": "a\\u0000b", "definition": "x", "input": {}}',
    "a lone surrogate": b'{"input": "\\ud800"}',
    "bad UTF-8": b'{"input": "\xff\xfe"}',
    "overlong UTF-8": b'{"input": "\xc0\xaf"}',
    "UTF-16": '{"input": 1}'.encode("utf-16"),
    "duplicate keys": b'{"definition": "x", "definition": "y", "input": {}}',
    "duplicate keys, escaped": b'{"definition": "x", "d\\u0065finition": "y", "input": {}}',
    "duplicate keys deep in the input": b'{"definition": "x", "input": {"a": [{"b": 1, "b": 2}]}}',
    "control character in a string": b'{"input": "a\nb"}',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("path", ["/v1/transactions", "/v1/definitions/validate"])
def test_broken_json(client, path, body):
    got = problem(client.post(path, body), 400, "invalid_json")
    assert got["detail"] and got["errors"], got
    assert "pointer" in got["errors"][0] and got["errors"][0]["detail"], got


def test_broken_json_says_where(client):
    got = problem(client.post("/v1/transactions", b'{"input": {"a": [1, 2, tru]}}'), 400, "invalid_json")
    assert got["errors"][0]["pointer"].startswith("/input/a"), got


@pytest.mark.parametrize("opening,closing", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [70, 5000, 200000])
def test_deep_json(client, opening, closing, depth):
    body = b'{"definition": "x", "input": ' + opening * depth + b"1" + closing * depth + b"}"
    answer = client.post("/v1/transactions", body)
    if len(body) > 1 << 20:
        problem(answer, 413, "body_too_large")
    else:
        problem(answer, 400, "json_too_deep")


@pytest.mark.parametrize("size", [1 << 20, 5_000_000, 20_000_000])
def test_big_bodies_are_answered_not_reset(client, size):
    body = b'{"definition": "x", "input": "' + b"x" * size + b'"}'
    problem(client.post("/v1/transactions", body), 413, "body_too_large")


def test_big_body_in_chunks(replica):
    with socket.create_connection(("127.0.0.1", replica.replicas[0].port), timeout=20) as link:
        link.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                link.sendall(chunk)
            link.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b" 413 " in link.recv(4096).split(b"\r\n")[0]


SHAPES = {
    "an array": ([1, 2], ""),
    "a number": (5, ""),
    "an unknown field": (saga(colour="red"), "/colour"),
    "a gid with a space": (saga(gid="a b"), "/gid"),
    "an empty gid": (saga(gid=""), "/gid"),
    "a gid that is too long": (saga(gid="x" * 129), "/gid"),
    "a gid that is no text": (saga(gid=7), "/gid"),
    "labels that are no texts": (saga(labels={"a": 1}), "/labels/a"),
    "labels that are an array": (saga(labels=["a"]), "/labels"),
    "a bad deadline": (saga(deadline="whenever"), "/deadline"),
    "a bad start": (saga(start_at="tomorrow"), "/start_at"),
    "a version of inline steps": (saga(version=1), "/version"),
    "a version that is no number": ({"definition": "x", "version": "1", "input": {}}, "/version"),
    "neither definition nor steps": ({"input": {}}, ""),
    "both": ({**saga(), "definition": "x"}, "/definition"),
}


@pytest.mark.parametrize("document,pointer", SHAPES.values(), ids=SHAPES.keys())
def test_wrong_shapes_say_where(client, document, pointer):
    answer = client.post("/v1/transactions", document)
    assert answer.status in (400, 422), answer
    errors = problem(answer, answer.status, answer.json["code"])["errors"]
    assert any(e["pointer"].startswith(pointer) for e in errors), errors


# ---- definitions ---------------------------------------------------------------------------


def errors_of(client, document):
    return {e["pointer"]: e["detail"] for e in client.post("/v1/definitions/validate", document).json["errors"]}


def test_ten_thousand_steps(client):
    steps = {f"s{i}": {"action": CALL} for i in range(10_000)}
    body = {"mode": "saga", "steps": steps}
    answer = client.post("/v1/definitions/validate", body)
    assert answer.status == 200 and not answer.json["valid"], answer
    assert any("256" in e["detail"] for e in answer.json["errors"]), answer.json["errors"][:3]
    answer = client.post("/v1/transactions", {**body, "input": {}})
    assert answer.status in (400, 422), answer
    assert len(answer.content) < 100_000, "the answer is bounded too"


def test_cycles(client):
    ring = {f"s{i}": {"after": [f"s{(i + 1) % 200}"], "action": CALL, "compensate": CALL} for i in range(200)}
    assert errors_of(client, {"mode": "saga", "steps": ring})
    assert errors_of(client, {"mode": "saga", "steps": {"a": {"after": ["a"], "action": CALL, "compensate": CALL}}})


def test_template_errors_point_at_the_template(client):
    bad = {"a": "${", "b": "${nowhere.x}", "c": "${steps.zzz.output}", "d": "${input.a[}", "e": "${input..a}",
           "f": "${input.a ?? }", "g": "${" + "a" * 100_000 + "}"}
    doc = {"mode": "saga", "steps": {"s": {"action": {**CALL, "body": bad}, "compensate": CALL}}}
    errors = errors_of(client, doc)
    for name in bad:
        assert f"/steps/s/action/body/{name}" in errors, (name, list(errors))


@pytest.mark.parametrize("url", [
    "http://", "https:///x", "file:///etc/passwd", "http://user:pw@host/x", "http://h/x#frag", "http://${input.host}/x",
    "http://h:${input.port}/", "${input.url}", "http://h:99999/", "//h/x", "http://h /x", "http://h\\x/", "http://h/\r\nX: y", ""])
def test_bad_urls(client, url):
    errors = errors_of(client, {"mode": "saga", "steps": {"s": {"action": {"url": url}, "compensate": CALL}}})
    assert "/steps/s/action/url" in errors, errors


@pytest.mark.parametrize("headers", [
    {"Saga-Id": "x"}, {"Host": "x"}, {"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}, {"X\r\nY": "1"},
    {"X": "a\r\nb"}, {"": "x"}, {"a b": "x"}, {"X": 1}])
def test_bad_headers_of_a_call(client, headers):
    errors = errors_of(client, {"mode": "saga", "steps": {"s": {"action": {**CALL, "headers": headers}, "compensate": CALL}}})
    assert any(p.startswith("/steps/s/action/headers") for p in errors), errors


# ---- HTTP ---------------------------------------------------------------------------------------


def raw(replica, data, wait=10.0, close=False):
    with socket.create_connection(("127.0.0.1", replica.replicas[0].port), timeout=wait) as link:
        got = b""
        try:  # a server that has read enough may hang up before all of it is sent
            link.sendall(data)
            if close:
                link.shutdown(socket.SHUT_WR)
            while not got.endswith(b"}") and len(got) < 1 << 20:
                piece = link.recv(65536)
                if not piece:
                    break
                got += piece
        except OSError:
            pass
        return got


def test_half_requests(replica):
    for half in (b"", b"P", b"POST /v1/transactions HT", b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\n",
                 b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"input\":"):
        raw(replica, half, close=True)
    assert replica.client.get("/v1/definitions").status == 200


def test_rubbish(replica):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300, b"\x00" * 5000, b"GET\r\n\r\n", b"\r\n" * 1000,
                 b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/x" * 50_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * 20_000 + b"\r\n",
                 b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                 b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"):
        raw(replica, data, wait=2.0, close=True)
    assert replica.client.get("/v1/definitions").status == 200


@pytest.mark.parametrize("data,says", [
    (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "not HTTP/1.1"),
    (b"GET /v1/definitions HTTP/1.1\r\n\r\n", "Host"),
    (b"GET /v1/definitions HTTP/1.1\r\nHost: x\r\nX-Y : z\r\n\r\n", "name of a header"),
    (b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "Content-Length"),
    (b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", "chunk"),
])
def test_what_is_no_http_is_told_why(replica, data, says):
    head, _, body = raw(replica, data).partition(b"\r\n\r\n")
    assert b" 400 " in head.split(b"\r\n")[0] and b"application/problem+json" in head and b"Connection: close" in head, head
    told = json.loads(body)
    assert told["code"] == "bad_request" and says in told["detail"], told


def test_libmicrohttpd_may_serve_all(make_cluster):
    cluster = make_cluster(count=1, flags=["--listen.server=microhttpd"])
    assert cluster.client.post("/v1/definitions/validate", saga()).status == 200
    assert b"<html>" in raw(cluster, b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", close=True)


def test_slow_senders_do_not_hold_up_others(replica):
    slow = []
    for _ in range(50):
        link = socket.create_connection(("127.0.0.1", replica.replicas[0].port))
        link.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        slow.append(link)
    began = time.monotonic()
    for link in slow:
        link.sendall(b" ")
    assert replica.client.get("/v1/definitions").status == 200
    assert time.monotonic() - began < 2
    for link in slow:
        link.close()


def test_a_slow_sender_is_shown_the_door(replica):
    with socket.create_connection(("127.0.0.1", replica.replicas[0].port)) as link:
        link.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        link.settimeout(60)
        began = time.monotonic()
        got = link.recv(65536)  # 408, or just closed
        assert time.monotonic() - began < 45
        assert got == b"" or b" 408 " in got, got


def test_unknown_paths_and_methods(client):
    problem(client.get("/v2/transactions"), 404, "not_found")
    problem(client.get("/v1/transactions/"), 404, "not_found")
    problem(client.get("/"), 404, "not_found")
    answer = client.send("DELETE", "/v1/transactions")
    problem(answer, 405, "method_not_allowed")
    assert {m.strip() for m in answer.headers["Allow"].split(",")} >= {"GET", "POST"}
    options = client.send("OPTIONS", "/v1/transactions")
    assert options.status in (200, 204) and "POST" in options.headers["Allow"], options
    head = client.send("HEAD", "/v1/definitions")
    assert head.status == 200 and head.content == b"", head


def test_bad_paths(client):
    for path in ("/v1/transactions/%", "/v1/transactions/%zz", "/v1/transactions/%00", "/v1/transactions/%ff", "/v1/transactions/a%20b",
                 "/v1/transactions/" + "x" * 300, "/v1/definitions/a%2Fb", "/v1/definitions/" + "%41" * 2000):
        answer = client.get(path)
        assert answer.status in (400, 404), answer
        problem(answer, answer.status, answer.json["code"])


def test_media_type(client):
    answer = client.post("/v1/transactions", "a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    problem(answer, 415, "media_type")


def test_bad_headers(client):
    for headers in ({"Idempotency-Key": ""}, {"Idempotency-Key": "x" * 5000}, {"Prefer": "wait=soon"},
                    {"Prefer": "wait=" + "9" * 400}, {"traceparent": "rubbish"}):
        answer = client.post("/v1/transactions", saga(), headers=headers)
        assert answer.status in (201, 400), answer
    answer = client.get("/v1/definitions", headers={"X-Request-Id": "my-id-7"})
    assert answer.headers["X-Request-Id"] == "my-id-7"
    answer = client.get("/nowhere", headers={"X-Request-Id": "my-id-8"})
    assert answer.json["request_id"] == "my-id-8", answer


def test_every_problem_type_is_served(client):
    codes = client.get("/problems").json
    listed = codes["items"] if isinstance(codes, dict) else codes
    assert len(listed) > 10
    for entry in listed:
        page = client.get(f"/problems/{entry['code']}")
        assert page.status == 200 and page.json["title"] == entry["title"], page


def test_many_waiters_and_connections(replica, request):
    """Reaching a limit is a visible event, not a hang."""
    client = replica.client
    client.begin(gid="waited-for", mode="tcc", deadline="30s", input={})
    links = []
    for _ in range(200):
        link = socket.create_connection(("127.0.0.1", replica.replicas[0].port))
        link.sendall(b"GET /v1/transactions/waited-for?wait=40s HTTP/1.1\r\nHost: x\r\n\r\n")
        links.append(link)
    assert client.get("/v1/definitions").status == 200
    assert replica.replicas[0].ops("/livez").status == 200
    assert client.post("/v1/transactions/waited-for/cancel").status in (200, 202)
    for link in links:
        link.settimeout(10)
        assert b" 200 " in link.recv(65536).split(b"\r\n")[0]
        link.close()


def test_large_but_legal(client):
    """At the limits, not beyond them."""
    steps = {f"s{i}": {"action": CALL, "compensate": CALL} for i in range(256)}
    answer = client.post("/v1/definitions/validate", {"mode": "saga", "steps": steps})
    assert answer.json["valid"], answer.json["errors"][:3]
    deep = json.loads("[" * 60 + "]" * 60)
    assert client.post("/v1/transactions", {"definition": "nobody", "input": deep}).status == 404


def test_long_heads_are_told_so(client):
    problem(client.get("/v1/transactions?label=" + "x" * 20_000), 414, "uri_too_long")
    problem(client.get("/v1/transactions", headers={f"X-{i}": "x" * 1000 for i in range(17)}), 431, "headers_too_large")
    assert client.get("/v1/transactions", headers={f"X-{i}": "x" * 1000 for i in range(15)}).status == 200
    told = problem(client.get("/v1/transactions", headers={f"X-{i}": "x" for i in range(101)}), 431, "headers_too_large")
    assert "100 header lines" in told["detail"], told
    assert client.get("/v1/transactions", headers={f"X-{i}": "x" for i in range(90)}).status == 200


def test_a_request_as_to_a_proxy_is_served(replica):
    head, _, body = raw(replica, b"GET http://x/v1/definitions?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0] and "items" in json.loads(body), (head, body)
