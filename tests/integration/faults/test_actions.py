# SPDX-License-Identifier: Apache-2.0
"""Whatever a person asks of a transaction, whichever replica he asks and whichever dies on the way: what was answered with
a 2xx is done, and nothing is done twice. All actions of the program's table (TXN_ACTIONS), at once."""
import concurrent.futures
import http.client
import pathlib
import re
import signal
import threading

import psycopg
import pytest

from lib.base import ROOT, until
from lib.stub import Reply
from .modes import both_modes

SLOW = {"initial": "50s", "max": "50s", "jitter": "none"}  # less than what is parked
TABLE = pathlib.Path(ROOT / "docs/actions.md").read_text(encoding="utf-8")
ACTIONS = re.findall(r"^\| `(\w+)` \| (the whole|a step) \| ([\w ]+) \|", TABLE, re.M)


class Action:
    """One of the table, and a transaction that can take it."""

    def __init__(self, name, of, typed, stub):
        self.name, self.gid = name, f"to-{name}"
        self.path = f"/v1/transactions/{self.gid}" + ("/steps/a" if of == "a step" else "") + ("" if name == "patch" else f"/{name}")
        self.body = {"reason": f"reason of {name}", "actor": "ada"}
        self.body |= {"gid": self.gid} if typed == "yes" else {}
        self.body |= {"resolve": {"op": "try", "outcome": "ok"}, "skip": {"op": "try"}, "patch": {"retry": SLOW}}.get(name, {})
        self.document = {"gid": self.gid, "mode": "saga", "input": {}, "steps": {
            "a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}, "retry": SLOW},
            "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo"}}}}
        if name == "resume":  # what is paused and has a call under way is not parked
            self.document["steps"]["a"]["action"] = {"url": stub.url + "/hangs", "timeout": "50s"}
        if name == "confirm":
            self.document = {"gid": self.gid, "mode": "tcc", "deadline": "50s", "input": {}}

    def begin(self, client, at):
        assert client.send("POST", "/v1/transactions", self.document, at=at).status == 201
        if self.name == "resume":
            assert client.send("POST", f"/v1/transactions/{self.gid}/pause", {"reason": "to begin with"}, at=at).status == 200

    def ask(self, client, at):
        """The status, or None: who was asked died."""
        try:
            return client.send("PATCH" if self.name == "patch" else "POST", self.path, self.body, {"If-Match": "*"}, at=at).status
        except (OSError, http.client.HTTPException):
            return None

    def shows(self, got):
        """Is what it does to be seen?"""
        step = got["steps"][0] if got["steps"] else {}
        return {"confirm": got["phase"] == "confirmed", "cancel": got["phase"] in ("cancelling", "cancelled"), "pause": got["paused"],
                "resume": not got["paused"], "abandon": got["phase"] == "abandoned", "skip": step.get("skipped"),
                "resolve": step.get("state") == "tried", "retry": True, "release": True, "patch": True}[self.name]


class Scene:
    """One replica drives ten transactions, another is asked to do ten things to them; a third only lives."""

    def __init__(self, cluster, stub, db):
        self.cluster, self.client, self.db = cluster, cluster.client, db
        self.owner, self.asked, _ = cluster.replicas
        self.actions = [Action(*row, stub) for row in ACTIONS]
        self.pool = concurrent.futures.ThreadPoolExecutor(len(self.actions))
        list(self.pool.map(lambda a: a.begin(self.client, self.owner.at), self.actions))
        # Of all but the open one and the one that is paused; a time may have a 503 in it.
        failed = "SELECT count(*) FROM sagad.transaction WHERE progress LIKE '%%\"status\":503%%'"
        until(lambda: self.value(failed) == len(self.actions) - 2, 30)
        # Those that live may fence only when they have held their leases for a TTL.
        until(lambda: self.value("SELECT min(extract(epoch FROM now() - started_at)) > 2.3 FROM sagad.replica"), 30)

    def value(self, sql):
        return self.db.execute(sql).fetchone()[0]

    def ask_all(self):
        """All wait in the inbox for an owner who does not look."""
        self.owner.signal(signal.SIGSTOP)
        answers = [self.pool.submit(a.ask, self.client, self.asked.at) for a in self.actions]
        is_live = f"SELECT state = 'live' FROM sagad.replica WHERE address = '{self.owner.url}'"
        until(lambda: self.value("SELECT count(*) FROM sagad.inbox") == len(answers) or not self.value(is_live), 20)
        return answers  # all in the inbox; or a machine is so slow that its lease is over

    def kill(self, replica):
        replica.kill()
        self.cluster.remove(replica)

    def told(self):
        return dict(self.db.execute("SELECT action, count(*) FROM sagad.audit WHERE reason LIKE 'reason of %%' GROUP BY 1").fetchall())

    def each_once(self):
        wanted = {a.name: 1 for a in self.actions}
        until(lambda: self.told() == wanted or any(n > 1 for n in self.told().values()), 30)
        until(lambda: self.value("SELECT count(*) FROM sagad.inbox WHERE verdict IS NULL") == 0, 20)
        assert self.told() == wanted
        for a in self.actions:
            assert a.shows(self.client.transaction(a.gid)), a.name
            assert self.value(f"SELECT count(*) FROM sagad.journal WHERE detail = 'reason of {a.name}'") == 1, a.name


@pytest.fixture
def scene(make_cluster, stub, mode):
    assert len(ACTIONS) == 10, ACTIONS
    stub.on("/a", Reply(503))
    hold = threading.Event()
    stub.on("/hangs", Reply(200, hold=hold))
    cluster = make_cluster(count=3, flags=["--park-after=60s"] + ([] if mode == "lock" else [f"--lease.mode={mode}"]))
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        yield Scene(cluster, stub, db)
    hold.set()  # so that they leave at once


@both_modes
def test_whoever_takes_over_does_what_the_dead_owner_was_asked(scene, mode):
    answers = scene.ask_all()
    scene.kill(scene.owner)
    statuses = {a.result(90) for a in answers}
    scene.each_once()
    assert statuses <= {200, 202, 503}, statuses  # 503: the owner is late; what was asked is done all the same


@both_modes
def test_what_was_asked_of_a_replica_that_dies_is_done_once(scene, mode):
    answers = scene.ask_all()
    scene.kill(scene.asked)
    assert {a.result(90) for a in answers} <= {None, 200, 202}
    scene.owner.signal(signal.SIGCONT)
    scene.each_once()


@both_modes
def test_what_a_dead_owner_has_done_is_not_done_again(scene, mode):
    """It is killed when all is committed, and before anybody has heard of it."""
    answers = scene.ask_all()
    scene.asked.signal(signal.SIGSTOP)
    scene.owner.signal(signal.SIGCONT)
    until(lambda: len(scene.told()) == len(scene.actions), 30)
    scene.kill(scene.owner)
    scene.asked.signal(signal.SIGCONT)
    statuses = {a.result(90) for a in answers}
    scene.each_once()
    assert statuses <= {200, 202, 503, None}, statuses
