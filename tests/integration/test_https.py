# SPDX-License-Identifier: Apache-2.0
"""Participants behind TLS: our own HTTP on connections that libcurl makes, and libcurl alone."""
import json
import shutil
import socket
import threading

import pytest

from faults.rude import Rude, answer, certificate, reset
from lib.client import step_of
from lib.cluster import Cluster

RETRY = {"initial": "10ms", "factor": 1, "max": "10ms", "jitter": "none", "attempts": 3}
REFUSAL = b"HTTP/1.1 409 X\r\nSaga-Outcome: refused\r\nContent-Length: 2\r\n\r\n{}"


class World:
    def __init__(self, folder, dsn, client):
        self.tls = certificate(folder, "shop.test")
        self.client_name = client
        self.reused = []
        self.server = Rude(self.behave, tls=self.tls)
        self.how = {}
        self.cluster = Cluster(dsn, count=1, flags=[
            f"--calls.client={client}", f"--calls.ca-file={folder / 'shop.test.pem'}"])

    def behave(self, link, request):
        self.reused.append(link.session_reused)
        return self.how.get(request.gid, lambda l, _: answer(l))(link, request)

    def run(self, gid, how=None, url=None, **more):
        if how:
            self.how[gid] = how
        call = {"url": f"{url or self.server.url}/{gid}", "timeout": "10s"}
        document = {"a": {"action": call, "compensate": {"url": self.server.url + "/undo"}, "retry": RETRY}}
        return self.cluster.client.run(gid=gid, mode="saga", steps=document, input=more.pop("input", {}), **more)

    def calls(self, gid, op="try"):
        return self.server.seen(gid, op)

    def close(self):
        self.cluster.stop()
        self.server.close()
        shutil.rmtree(self.cluster.folder)


@pytest.fixture(scope="module", params=["auto", "curl"])
def world(request, postgres, tmp_path_factory):
    dsn = postgres.new_database()
    made = World(tmp_path_factory.mktemp("tls"), dsn, request.param)
    yield made
    made.close()
    postgres.drop_database(dsn)


def test_calls_share_a_connection(world):
    world.run("first")
    before = world.server.accepted
    for i in range(5):
        assert world.run(f"shared-{i}")["phase"] == "confirmed"
    assert world.server.accepted == before


def test_a_later_connection_resumes_the_session(world):
    world.run("resumed-0", lambda link, _: answer(link) and False)
    del world.reused[:]
    world.run("resumed-1")
    assert world.reused == [True], world.reused


def test_what_is_large_goes_and_comes_whole(world):
    """Many records of TLS, and more than a socket takes at once."""
    out = json.dumps({"text": "x" * 300_000, "end": 7.10}).encode()
    got = world.run("large", lambda link, _: answer(link, body=out), input={"text": "y" * 500_000, "end": 1})
    assert got["phase"] == "confirmed" and step_of(got, "a")["output"] == json.loads(out)
    (call,) = world.calls("large")
    assert json.loads(call.body) == {"text": "y" * 500_000, "end": 1}, call.body[-100:]


def test_an_answer_in_pieces(world):
    """A byte a record."""
    def spell(link, _):
        for byte in b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n':
            link.send(bytes([byte]))
        return True

    assert step_of(world.run("pieces", spell), "a")["output"] == {"a": 1}


def test_a_connection_closed_between_two_calls_costs_no_attempt(world):
    """One says goodbye, the other is gone without a word of TLS."""
    for i, leave in enumerate((lambda link: link.unwrap(), lambda link: link.shutdown(socket.SHUT_RDWR), reset)):
        def behave(link, _, leave=leave):
            answer(link)
            leave(link)
            return False

        world.run(f"left-{i}", behave)
        assert step_of(world.run(f"after-{i}"), "a")["attempts"] == 1


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", b"HTTP/1.1 200 O",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"],
                         ids=["a-length", "the-head", "chunks"])
def test_who_is_cut_off_has_not_answered(world, gid, text):
    """Whoever sits between could cut an answer short."""
    def cut(link, request):
        if request.attempt > 1:
            return answer(link)
        link.sendall(text)
        link.shutdown(socket.SHUT_RDWR)
        return False

    got = world.run(gid, cut)
    assert got["phase"] == "confirmed" and step_of(got, "a")["attempts"] == 2, got


def test_what_follows_an_answer_is_not_the_next_one(world):
    """In a record of its own, which comes with the answer and is read only when the connection is used again."""
    if world.client_name == "curl":
        pytest.skip("libcurl takes what came by then for the answer")

    def say_more(link, _):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        answer(link)
        link.sendall(REFUSAL)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        return True

    world.run("more", say_more)
    assert world.run("next")["phase"] == "confirmed"


def test_many_at_once(world):
    """Calls that wait for each other's answers: nobody's bytes go to anybody else."""
    gids, there = [f"many-{i}" for i in range(20)], threading.Barrier(20)

    def meet(link, request):
        there.wait(20)
        return answer(link, body=json.dumps({"gid": request.gid}).encode())

    got = {}
    threads = [threading.Thread(target=lambda g=g: got.__setitem__(g, world.run(g, meet))) for g in gids]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {g: step_of(t, "a")["output"]["gid"] for g, t in got.items()} == {g: g for g in gids}


def test_nothing_is_sent_to_another_name(world, gid):
    """Its authority is believed, but the certificate is not for localhost."""
    got = world.run(gid, url=world.server.url.replace("127.0.0.1", "localhost"))
    assert got["phase"] == "cancelled" and world.server.seen(gid, "try") == [], got
    journal = world.cluster.client.get(f"/v1/transactions/{gid}/journal").json["items"]
    assert any("certificate" in (e.get("detail") or "").lower() for e in journal), journal
