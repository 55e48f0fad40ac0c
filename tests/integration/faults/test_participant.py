# SPDX-License-Identifier: Apache-2.0
"""The participant of the fault suite is honest, and fast enough not to be what a test measures."""
import http.client
import os
import socket

import pytest

from lib.base import until
from .manners import MANNERS, Moody
from .participant import FLOOD, Participant, Reply
from .process import cpu_seconds, descriptors


@pytest.fixture
def participant():
    made = Participant()
    yield made
    made.close()


def ask(participant, op, path="/ok/s", gid="g", step="s"):
    link = http.client.HTTPConnection(participant.host, timeout=5)
    try:
        link.request("POST", path, body="{}", headers={
            "Saga-Id": gid, "Saga-Step": step, "Saga-Op": op, "Saga-Epoch": "1", "Idempotency-Key": "k"})
        return link.getresponse().status
    finally:
        link.close()


@pytest.mark.parametrize("ops, statuses, effect, wrong", [
    (["try", "try"], [200, 200], 1, []),
    (["try", "cancel", "cancel", "try"], [200, 200, 200, 422], 0, []),
    (["cancel", "try"], [200, 422], 0, []),
    (["try", "confirm", "confirm"], [200, 200, 200], 1, []),
    (["confirm"], [200], 0, ["confirm of what was never tried"]),
    (["try", "confirm", "cancel"], [200, 200, 200], 1, ["cancel after confirm"]),
])
def test_an_op_has_one_effect(participant, ops, statuses, effect, wrong):
    assert [ask(participant, op) for op in ops] == statuses
    book = participant.books()["g", "s"]
    assert book.effect == effect and book.wrong == wrong
    assert [c.status for c in participant.calls()] == statuses and participant.open_calls() == 0


def silent(_call):
    return Reply(drop=True)


def test_scripts(participant):
    participant.answer("/ok/s", Reply(503), Reply(200))
    assert [ask(participant, "try") for _ in range(3)] == [503, 200, 200]
    assert participant.books()["g", "s"].effect == 1
    participant.answer("/ok/s", silent)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(participant, "try")
    participant.answer("/ok/s")
    assert ask(participant, "try") == 200


def raw(participant, op="try", path="/ok/s"):
    """All that it says to one request, and whether it closed then."""
    with socket.create_connection(("127.0.0.1", participant.port), timeout=0.5) as link:
        link.sendall(f"POST {path} HTTP/1.1\r\nSaga-Id: g\r\nSaga-Step: s\r\nSaga-Op: {op}\r\nContent-Length: 0\r\n\r\n".encode())
        said = b""
        try:
            while more := link.recv(1 << 20):
                said += more
        except TimeoutError:
            return said, False
        except ConnectionResetError:
            pass
        return said, True


@pytest.mark.parametrize("name", [m for m in MANNERS if m != "is late"])
def test_bad_manners(participant, name):
    """Each says what its name says; whoever began with a 2xx has done it."""
    participant.answer("*", Moody(1, [name]))
    said, closed = raw(participant)
    assert closed == (name not in ("hangs", "hangs in the headers", "gives half an answer and hangs", "redirects", "is not there",
                                   "says 503")), said[:300]
    done = participant.books().get(("g", "s"))
    if said.startswith(b"HTTP/1.1 2"):
        assert done.effect == 1
        assert len(said) > FLOOD or not said.endswith(b"}"), said[:300]
    until(lambda: participant.open_calls() == 0, 5)
    participant.answer("*")
    assert ask(participant, "try") == 200 and participant.books()["g", "s"].effect == 1


def test_down_and_up(participant):
    with socket.create_connection(("127.0.0.1", participant.port), timeout=5) as link:
        until(lambda: participant.links() == 1, 5)
        participant.down()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with pytest.raises(ConnectionRefusedError):
        ask(participant, "try")
    participant.up()
    assert ask(participant, "try") == 200


def test_connections_to_it_are_told_from_other_descriptors(participant):
    others, none = descriptors(os.getpid(), participant.port)
    links = [socket.create_connection(("127.0.0.1", participant.port)) for _ in range(3)]
    assert none == 0 and descriptors(os.getpid(), participant.port) == (others, 3)
    links.pop().close()
    assert descriptors(os.getpid(), participant.port) == (others, 2)
    for link in links:
        link.close()


def test_it_answers_thousands_of_calls_a_second(participant):
    count, head = 4000, "POST /ok/s HTTP/1.1\r\nSaga-Id: g{0}\r\nSaga-Step: s\r\nSaga-Op: try\r\nContent-Length: 2\r\n\r\n{{}}"
    with socket.create_connection(("127.0.0.1", participant.port)) as link:
        began, got = cpu_seconds(participant.pid), b""  # what others do with this machine does not count
        for chunk in range(0, count, 100):
            link.sendall("".join(head.format(chunk + i) for i in range(100)).encode())
            while got.count(b"HTTP/1.1 200") < 100 or not got.endswith(b"}"):
                got += link.recv(1 << 16)
            got = b""
        took = cpu_seconds(participant.pid) - began
    print(f"{count / took:.0f} calls/s")
    assert len(participant.calls()) == count and count / took > 2000
