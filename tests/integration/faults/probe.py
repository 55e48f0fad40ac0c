# SPDX-License-Identifier: Apache-2.0
"""A patient stranger at each replica: is every request answered, in time, and as the contract says?"""
import collections
import contextlib
import itertools
import threading
import time

from lib.base import until
from lib.client import Client
from lib.postgres import rows
from lib.stub import Stub

ANSWER_S = 6.0    # no request is answered later, whatever the database does
MACHINE_S = 1.5   # what a busy machine may add
FINAL = ("confirmed", "cancelled", "abandoned")

Asked = collections.namedtuple("Asked", "replica at seconds gid status code")

_numbers = itertools.count(1)


@contextlib.contextmanager
def probed(world, count=40, clients=6, **more):
    """A world under load, with a probe at each replica, that has accepted so many; more: for the Probe."""
    with world.load(clients) as load, Probe(world, **more) as probe:
        load.warm(count)
        yield probe


class Probe:
    """Begins one small saga after the other at each replica, and beside it asks for those of another replica.

    What is asserted at its end: every answer came within ANSWER_S; it was a 2xx, or a 503 (or 429) that says retryable
    and Retry-After; whatever got a 2xx is in the database. Replicas that the test kills must be named in `gone`."""

    def __init__(self, world, pace=0.1):
        self.world, self.pace = world, pace
        self.replicas = list(world.replicas)
        self.stub = Stub()
        self.name = f"probe{next(_numbers)}"
        self.asked, self.wrong, self.gone = [], [], set()
        self._stop = threading.Event()
        self._begun = [f"{self.name}-none"] * len(self.replicas)  # the latest gid of each
        self._threads = [threading.Thread(target=self._go, args=(n, r, ask), daemon=True)
                         for n, r in enumerate(self.replicas) for ask in (self._begin, self._read)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        try:
            if kind is None:
                assert not self.wrong, self.wrong[:5]
                late = [a for a in self.asked if a.seconds > ANSWER_S + MACHINE_S]
                assert not late, late[:5]
                assert self.accepted(), "nothing was accepted at all"
                self._nothing_lost()
        finally:
            self.stub.close()

    def accepted(self, replica=None, since=0.0):
        return [a for a in list(self.asked) if a.gid and a.status in (200, 201, 202) and a.at >= since
                and replica in (None, a.replica)]

    def refused(self, replica=None, since=0.0):
        return [a for a in list(self.asked) if a.gid and a.status == 503 and a.at >= since
                and replica in (None, a.replica)]

    def slowest(self, since=0.0):
        return max((a.seconds for a in list(self.asked) if a.at >= since), default=0.0)

    def back(self, since, within, replica=None):
        """Seconds from then until each replica (or that one) took a request again; asserts that it was in time."""
        def first():
            found = [self.accepted(r, since)[:1] for r in ([replica] if replica else self.replicas)]
            return max(f[0].at + f[0].seconds for f in found) - since if all(found) else None
        seconds = until(first, max(0.1, since + within - time.monotonic()) + ANSWER_S)
        assert seconds <= within, f"took requests again after {seconds:.1f} s, not {within:.1f}"
        return seconds

    def _go(self, number, replica, ask):
        client = Client(lambda: [replica.at])
        for i in itertools.count():
            if self._stop.wait(self.pace):
                return
            began = time.monotonic()
            try:
                gid, answer = ask(client, number, i)
            except OSError as e:
                if replica not in self.gone:
                    self.wrong.append((replica.at, repr(e), round(time.monotonic() - began, 1)))
                continue
            self._judge(replica, began, gid, answer)

    def _begin(self, client, number, i):
        gid = f"{self.name}-{number}-{i}"
        answer = client.post("/v1/transactions", self._saga(gid), timeout=ANSWER_S + 10)
        self._begun[number] = gid
        return gid, answer

    def _read(self, client, number, _):
        gid = self._begun[(number + 1) % len(self._begun)]
        return None, client.get(f"/v1/transactions/{gid}", timeout=ANSWER_S + 10)

    def _saga(self, gid):
        call = {"url": self.stub.url + "/ok", "timeout": "5s"}
        return {"gid": gid, "mode": "saga", "input": {}, "steps": {"a": {"action": call, "compensate": call}}}

    def _judge(self, replica, began, gid, answer):
        """gid None: it was a read."""
        code = answer.json.get("code") if answer.status >= 400 else None
        if answer.status in (429, 503):
            if answer.json.get("retryable") is not True or not answer.headers["Retry-After"]:
                self.wrong.append(answer)
        elif answer.status not in (200, 201, 202) and not (gid is None and answer.status == 404):
            self.wrong.append(answer)
        self.asked.append(Asked(replica, began, time.monotonic() - began, gid, answer.status, code))

    def _nothing_lost(self):
        """Whatever was promised is there, and ends."""
        def open_ones():
            there = dict(rows(self.world.direct, "SELECT gid, phase FROM sagad.transaction WHERE gid LIKE %s",
                              self.name + "-%"))
            lost = [a for a in self.accepted() if a.gid not in there]
            assert not lost, lost[:5]
            return [(a.gid, there[a.gid]) for a in self.accepted() if there[a.gid] not in FINAL]
        try:
            until(lambda: not open_ones(), 20, 0.1)
        except AssertionError:
            raise AssertionError(f"accepted and not ended: {open_ones()[:5]}") from None
