# SPDX-License-Identifier: Apache-2.0
"""Waiting for the end, on any replica."""
import json
import socket
import time

import pytest

from lib.base import until
from lib.client import problem
from lib.postgres import rows
from lib.stub import Reply


def begin(client, stub, gid, delay, **more):
    stub.on("/slow", Reply(200, delay=delay))
    steps = {"a": {"action": {"url": stub.url + "/slow", "timeout": "30s"}, "compensate": {"url": stub.url + "/undo"}}}
    return client.begin(gid=gid, mode="saga", steps=steps, input={}, **more)


def test_wait_on_every_replica(client, cluster, stub, gid):
    begin(client, stub, gid, 1.0)
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(
            lambda i: client.get(f"/v1/transactions/{gid}?wait=20s", at=cluster.replicas[i % 3].at), range(6)))
    for a in answers:
        assert a.status == 200 and a.json["phase"] == "confirmed", a


def test_wait_elapsed_is_202_on_begin_and_200_on_get(client, stub, gid):
    began = time.monotonic()
    answer = begin(client, stub, gid, 3.0, wait="500ms")
    assert answer.status == 202 and answer.json["phase"] == "trying", answer
    assert 0.4 < time.monotonic() - began < 2.0
    answer = client.get(f"/v1/transactions/{gid}?wait=300ms")
    assert answer.status == 200 and answer.json["phase"] == "trying", answer
    assert client.ended(gid)["phase"] == "confirmed"


def test_prefer_header(client, stub, gid):
    steps = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}
    answer = client.begin(gid=gid, mode="saga", steps=steps, input={}, headers={"Prefer": "respond-async, wait=20"})
    assert answer.status == 201 and answer.json["phase"] == "confirmed", answer
    assert answer.headers["Preference-Applied"] == "wait=20"


def test_prefer_on_two_lines_is_one_list(cluster, stub, gid):
    begin(cluster.client, stub, gid, 0.5)
    with socket.create_connection(("127.0.0.1", cluster.replicas[0].port), timeout=10) as link:
        link.sendall(f"GET /v1/transactions/{gid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     "Prefer: return=minimal\r\nPrefer: wait=5\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(4096), b""))
    assert b"wait=5" in answer and b"return=minimal" in answer and b"\"confirmed\"" in answer, answer


def test_bad_waits(client, gid):
    for wait in ("soon", "-1s", "1.5s", "20", ""):
        answer = client.get(f"/v1/transactions/{gid}?wait={wait}")
        problem(answer, 400, "bad_request")


def test_a_waiter_whose_client_left_is_let_go(cluster, stub, gid):
    client = cluster.client
    begin(client, stub, gid, 4.0)
    links = []
    for r in cluster.replicas:
        link = socket.create_connection(("127.0.0.1", r.port))
        link.sendall(f"GET /v1/transactions/{gid}?wait=50s HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        links.append(link)

    def waiters():
        return [metric(r, "sagad_waiters") for r in cluster.replicas]

    until(lambda: all(n >= 1 for n in waiters()), 5)
    for link in links:
        link.close()
    until(lambda: sum(waiters()) == 0, 2)
    assert client.ended(gid)["phase"] == "confirmed"


@pytest.mark.parametrize("server", ["own", "microhttpd"])
def test_who_waits_and_will_say_no_more_is_answered_at_once(cluster, make_cluster, stub, gid, server):
    if server == "microhttpd":
        cluster = make_cluster(count=1, flags=["--listen.server=microhttpd"])
    stub.on("/slow", Reply(200, delay=3))
    step = {"action": {"url": stub.url + "/slow", "timeout": "30s"}, "compensate": {"url": stub.url + "/undo"}}
    body = json.dumps({"gid": gid, "mode": "saga", "input": {}, "steps": {"a": step}}).encode()
    begin_and_wait = (b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Prefer: wait=30\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    for request, status in ((begin_and_wait, 202),
                            (f"GET /v1/transactions/{gid}?wait=30s HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 200)):
        with socket.create_connection(("127.0.0.1", cluster.replicas[0].port), timeout=10) as link:
            link.sendall(request)
            link.shutdown(socket.SHUT_WR)
            head, _, view = b"".join(iter(lambda: link.recv(4096), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        assert json.loads(view)["gid"] == gid and json.loads(view)["phase"] == "trying", view
    assert metric(cluster.replicas[0], "sagad_waiters") == 0
    assert cluster.client.ended(gid)["phase"] == "confirmed"


def metric(replica, name):
    for line in replica.ops("/metrics").text.splitlines():
        if line.split("{")[0].split(" ")[0] == name:
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


def test_who_waited_is_told_the_end_that_everybody_reads_later(client, cluster, stub, gid):
    """Three times, by each replica: what was answered at the end, what is read then, and what the row says."""
    steps = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}
    for i, replica in enumerate(cluster.replicas):
        document = {"gid": f"{gid}-{i}", "mode": "saga", "steps": steps, "input": {}}
        told = client.send("POST", "/v1/transactions?wait=20s", document, at=replica.at).json
        read = [client.get(f"/v1/transactions/{gid}-{i}", at=r.at).json["ended_at"] for r in cluster.replicas]
        assert told["phase"] == "confirmed" and read == [told["ended_at"]] * 3, (told, read)
        row = "SELECT to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), ended_at >= created_at FROM sagad.transaction"
        assert rows(cluster.dsn, f"{row} WHERE gid = %s", f"{gid}-{i}") == [(told["ended_at"], True)]
