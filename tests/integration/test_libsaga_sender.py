# SPDX-License-Identifier: Apache-2.0
"""saga_send(): a message and its sender's own commit, whatever dies between them."""
import os
import socket
import subprocess
import threading

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lib.base import ASAN_BIN, until
from lib.cluster import SANITIZER, Cluster
from lib.postgres import value
from test_libsaga import Service

SENDER = ASAN_BIN / "tests/integration/sender"
SENT = ("DONE", "ASKED", "REFUSED", "LATE", "FAILED", "UNKNOWN")


class Door:
    """To where; what is said through it can be listened to, and it can be shut."""

    def __init__(self, family, to, hears=lambda data: True):
        self.family, self.to, self.hears = family, to, hears
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.ends = self.listener.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            far = socket.socket(self.family)
            far.connect(self.to)
            self.ends += [near, far]
            threading.Thread(target=self.carry, args=(near, far, self.hears), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, lambda data: True), daemon=True).start()

    @staticmethod
    def carry(source, sink, hears):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                if not hears(data):
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def shut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class World:
    def __init__(self, cluster, service, data):
        self.cluster, self.service, self.data, self.senders = cluster, service, data, []

    def sender(self, gid, deadline="1m", dsn=None, urls=None, patience_ms=60_000):
        """Once its work is under way."""
        process = subprocess.Popen([SENDER, urls or self.cluster.replicas[0].url, dsn or self.data, self.service.url, gid, deadline, str(patience_ms)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **SANITIZER})
        self.senders.append(process)
        return process

    def working(self, *args, **more):
        process = self.sender(*args, **more)
        assert process.stdout.readline() == "working\n"
        return process

    @staticmethod
    def told(process, word=""):
        """Tells it what its work comes to, and gives what was sent and what it says of it."""
        said = process.communicate(word + "\n" if word else None, timeout=60)[0]
        assert 0 <= process.returncode < len(SENT), said
        return SENT[process.returncode], said

    def orders(self, gid):
        return value(self.data, "SELECT count(*) FROM orders WHERE gid = %s", gid)

    def held(self, gid):
        return value(self.data, "SELECT count(*) FROM effect WHERE gid = %s", gid)

    def phase(self, gid):
        return self.cluster.client.transaction(gid)["phase"]


@pytest.fixture(scope="module")
def world(postgres):
    log, data = postgres.new_database(), postgres.new_database()
    with psycopg.connect(data) as db:
        db.execute("CREATE TABLE orders (gid text)")
    cluster, service = Cluster(log, count=1), Service(data)
    made = World(cluster, service, data)
    yield made
    for process in made.senders:
        process.kill()
        process.wait()
    service.close()
    cluster.stop()
    for dsn in (log, data):
        postgres.drop_database(dsn)


def test_it_is_sent_once_however_often(world, gid):
    sent, said = world.told(world.working(gid), "done")
    assert sent == "DONE" and "phase confirm" in said and "1 runs; new" in said, said
    world.cluster.client.ended(gid)
    sent, said = world.told(world.sender(gid))
    assert sent == "DONE" and "phase confirmed; 0 runs; again" in said, said
    assert world.orders(gid) == 1 and world.held(gid) == 1


def test_a_refusal_is_final_at_once(world, gid):
    sent, said = world.told(world.working(gid), "refuse")
    assert sent == "REFUSED" and "phase cancel" in said, said
    sent, said = world.told(world.sender(gid))
    assert sent == "LATE" and "comes too late" in said, said
    assert world.orders(gid) == 0 and world.held(gid) == 0


def test_after_a_failure_the_same_again(world, gid):
    assert world.told(world.working(gid), "fail")[0] == "FAILED"
    assert world.phase(gid) == "prepared" and world.orders(gid) == 0
    assert world.told(world.working(gid), "end")[0] == "FAILED", "the work ended the transaction itself"
    assert world.told(world.working(gid), "done")[0] == "DONE"
    assert world.cluster.client.ended(gid)["phase"] == "confirmed"
    assert world.orders(gid) == 1 and world.held(gid) == 1


def test_work_that_commits_itself_is_told_so(world, gid):
    """Although it has begun another transaction. What it committed is the message all the same."""
    sent, said = world.told(world.working(gid), "commit")
    assert sent == "FAILED" and "ended by the work itself" in said and world.orders(gid) == 1, said
    assert world.told(world.sender(gid))[0] == "DONE"
    assert world.cluster.client.ended(gid)["phase"] == "confirmed" and world.orders(gid) == 1


def test_who_meets_somebody_else_begins_again(world, gid):
    sent, said = world.told(world.working(gid), "serial")
    assert sent == "DONE" and "2 runs" in said and world.orders(gid) == 1, said


def test_a_sender_that_dies_has_sent_nothing(world, gid):
    process = world.working(gid, deadline="300ms")
    process.kill()
    assert world.cluster.client.ended(gid)["phase"] == "cancelled"
    assert world.told(world.sender(gid, deadline="300ms"))[0] == "LATE"
    assert world.orders(gid) == 0 and world.held(gid) == 0


def test_the_answer_to_its_commit_is_lost(world, gid):
    """The session ends when the COMMIT is done, and nobody has told: it looks, and does not do it twice."""
    def hears(data):
        if b"COMMIT" not in data:
            return True
        until(lambda: world.orders(gid) == 1)
        return False

    at = conninfo_to_dict(world.data)
    host, port = at["host"], at.get("port", "5432")
    door = (Door(socket.AF_UNIX, f"{host}/.s.PGSQL.{port}", hears) if host.startswith("/")
            else Door(socket.AF_INET, (host, int(port)), hears))
    through = make_conninfo(world.data, host="127.0.0.1", port=door.port, sslmode="disable", gssencmode="disable")
    sent, said = world.told(world.working(gid, dsn=through), "done")
    door.shut()
    assert sent == "DONE" and "1 runs" in said, said
    assert world.cluster.client.ended(gid)["phase"] == "confirmed"
    assert world.orders(gid) == 1 and world.held(gid) == 1


def test_sagad_is_away_after_the_commit(world, gid):
    address = world.cluster.replicas[0].url.removeprefix("http://").split(":")
    door = Door(socket.AF_INET, (address[0], int(address[1])))
    process = world.working(gid, deadline="1s", urls=f"http://127.0.0.1:{door.port}", patience_ms=300)
    door.shut()
    assert world.told(process, "done")[0] == "ASKED"
    assert world.cluster.client.ended(gid)["phase"] == "confirmed"
    assert world.orders(gid) == 1 and world.held(gid) == 1


def test_two_senders_of_one_message(world, gid):
    """The second waits for the first, which says no. Whoever is quicker then: the second does it, and the first sees that; or it cannot any more."""
    for gid in [f"{gid}-{i}" for i in range(6)]:
        first = world.working(gid)
        second = world.sender(gid)
        until(lambda: value(world.data, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                                        "AND wait_event_type = 'Lock' AND query LIKE '%%sagad_message%%'") == 1)
        first.stdin.write("refuse\n")
        first.stdin.flush()
        done = world.told(second, "done")[0]
        assert (world.told(first)[0], done) == (("DONE", "DONE") if world.orders(gid) else ("REFUSED", "LATE"))
        assert world.cluster.client.ended(gid)["phase"] == ("confirmed" if world.orders(gid) else "cancelled")
        assert world.orders(gid) == world.held(gid) <= 1


def test_what_is_no_message(world, gid):
    """A deadline that is none is refused before anything is done."""
    sent, said = world.told(world.sender(gid, deadline="soon"))
    assert sent == "FAILED" and "0 runs" in said, said
