# SPDX-License-Identifier: Apache-2.0
"""Clients that keep starting transactions of all kinds, and remember what they were told."""
import http.client
import itertools
import json
import random
import threading
import time

from lib.base import until

ENDED = ("confirmed", "cancelled", "abandoned")
DECISION = {"confirming": "confirm", "confirmed": "confirm", "cancelling": "cancel", "cancelled": "cancel"}


class Kind:
    """steps: {name: ops it has besides try}. refused: the step whose participant says no."""

    def __init__(self, steps, document, refused=None, closes=None):
        self.steps, self.document, self.refused, self.closes = steps, document, refused, closes


def call(url, way, step, **more):
    return {"url": f"{url}/{way}/{step}", "timeout": "3s", **more}


def saga_step(url, way, step, undo="ok", **more):
    return {"action": call(url, way, step), "compensate": call(url, undo, step), **more}


def tcc_step(url, way, step, **more):
    return {op: call(url, way if op == "try" else "ok", step) for op in ("try", "confirm", "cancel")} | more


def kinds(url):
    """Every shape of transaction. Steps stand in the order in which sagad numbers them."""
    def inline(**steps):
        return {"mode": "saga", "deadline": "60s", "defaults": {"retry": {"initial": "100ms", "max": "1s"}}, "steps": steps}

    undo = ("cancel",)
    both = ("confirm", "cancel")
    return {
        "sequence": Kind({"a": undo, "b": undo}, inline(
            a=saga_step(url, "ok", "a"), b=saga_step(url, "ok", "b", after=["a"]))),
        "parallel": Kind({"a": undo, "b": undo, "c": undo}, inline(
            a=saga_step(url, "ok", "a"), b=saga_step(url, "slow", "b?ms=50"), c=saga_step(url, "ok", "c"))),
        "refused": Kind({"a": undo, "b": undo}, inline(
            a=saga_step(url, "ok", "a"), b=saga_step(url, "refuse", "b", after=["a"])), refused="b"),
        "flapping": Kind({"a": undo, "b": undo}, inline(
            a=saga_step(url, "flap", "a?p=0.2"), b=saga_step(url, "flap", "b?p=0.2", after=["a"]))),
        "pivot": Kind({"a": undo, "p": (), "r": ()}, inline(
            a=saga_step(url, "ok", "a"),
            p={"kind": "pivot", "after": ["a"], "action": call(url, "ok", "p")},
            r={"kind": "retriable", "after": ["p"], "action": call(url, "slow", "r?ms=20")})),
        "tcc": Kind({"a": both, "b": both}, inline(
            a=tcc_step(url, "ok", "a"), b=tcc_step(url, "slow", "b?ms=20")) | {"mode": "tcc"}),
        "open-confirm": Kind({"a": both, "b": both}, {"mode": "tcc", "deadline": "20s"}, closes="confirm"),
        "open-cancel": Kind({"a": both, "b": both}, {"mode": "tcc", "deadline": "20s"}, closes="cancel"),
    }


class Told:
    """What a client knows of one transaction."""

    def __init__(self, gid, kind):
        self.gid, self.kind = gid, kind
        self.asked_at = time.time()
        self.accepted_at = None   # a 2xx came
        self.ended_as = None      # a phase an answer showed, if it was an end
        self.decisions = set()    # confirm, cancel: whatever answers ever said or showed
        self.joined = set()       # steps whose joining was answered 2xx (open ones only)
        self.unknown = False      # accepted, and later answered 404


class Violation(Exception):
    """An answer that no fault excuses."""


class GaveUp(Exception):
    """The load was stopped, and this client has tried for long enough since."""


def try_it(url, gid, step, pause=time.sleep):
    """The caller tries, as TCC wants it, until it has an answer. False: it was cancelled before."""
    headers = {"Saga-Id": gid, "Saga-Step": step, "Saga-Op": "try", "Content-Type": "application/json",
               "Idempotency-Key": f'"{gid}:{step}:try"'}
    while True:
        link = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        try:
            link.request("POST", f"/ok/{step}", body="{}", headers=headers)
            answer = link.getresponse()
            answer.read()
            if answer.status in (200, 422):
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            pass  # it may be done: the same again
        finally:
            link.close()
        pause(0.2)


GRACE = 4.0  # seconds after the stop in which clients bring to an end what they have begun


class Load:
    """Context manager: the clients run from its beginning to its end. commands: what each asked for an open transaction
    took (a join, a decision): (when it was first asked, the longest wait for any answer, seconds until one that settled it)."""

    _numbers = itertools.count(1)

    def __init__(self, addresses, url, clients=6, seed=0, pause=0.15, only=None, timeout=15.0):
        self.addresses, self.url, self.timeout, self.pause = addresses, url, timeout, pause
        self.kinds = {n: k for n, k in kinds(url).items() if not only or n in only}
        self.told = {}
        self.violations, self.excused = [], {}
        self.slowest, self.commands = 0.0, []
        self._stop, self._stopped_at = threading.Event(), None
        run = next(self._numbers)
        self._threads = [threading.Thread(target=self._client, args=(f"l{run}c{n}", random.Random(f"{seed}-{run}-{n}")))
                         for n in range(clients)]

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stopped_at = self._stopped_at or time.monotonic()
        self._stop.set()
        for t in self._threads:
            t.join(self.timeout + 10)
            if t.is_alive():
                self.violations.append("a client hangs: no answer and no error within its time-out")

    def warm(self, count=40):
        """Blocks until so many were accepted."""
        until(lambda: self.accepted() >= count, 15)

    def accepted(self):
        return sum(t.accepted_at is not None for t in list(self.told.values()))

    # ---- one client ---------------------------------------------------------------------

    def _client(self, name, rng):
        for i in itertools.count():
            if self._stop.is_set():
                return
            kind = rng.choice(list(self.kinds))
            told = self.told[f"{name}-{i}-{kind}"] = Told(f"{name}-{i}-{kind}", kind)
            try:
                self._one(told, self.kinds[kind], rng)
            except GaveUp:
                return
            except Violation as e:
                self.violations.append(f"{told.gid}: {e}")
            except Exception as e:  # a bug of the test must not look like silence
                self.violations.append(f"{told.gid}: the client failed: {e!r}")
            self._stop.wait(self.pause * rng.random())

    def _one(self, told, kind, rng):
        body = json.dumps({"gid": told.gid, "input": {"order": told.gid}, **kind.document})
        wait = rng.choice(["", "", "?wait=5s"])
        status, answer = self._insist(rng, "/v1/transactions" + (wait if not kind.closes else ""), body, told)
        if status not in (200, 201, 202):
            raise Violation(f"a start was answered {status}: {answer}")
        told.accepted_at = told.accepted_at or time.time()
        if kind.closes:
            self._close(told, kind, rng)

    def _close(self, told, kind, rng):
        """The caller's side of an open TCC: join, try, decide. It may be too late: then the deadline cancelled it."""
        path = f"/v1/transactions/{told.gid}"
        for step in kind.steps:
            body = {"name": step, **{op: call(self.url, "ok", step) for op in ("confirm", "cancel")}}
            status, answer = self._insist(rng, path + "/steps", json.dumps(body), told)
            told.unknown = status == 404
            if status in (404, 409):
                return
            if status not in (200, 201):
                raise Violation(f"joining was answered {status}: {answer}")
            told.joined.add(step)
            if not self._try_it(told, step):
                return
        status, answer = self._insist(rng, f"{path}/{kind.closes}", "", told)
        if status in (200, 202):
            told.decisions.add(kind.closes)
        elif status == 404:
            told.unknown = True
        elif status != 409:
            raise Violation(f"{kind.closes} was answered {status}: {answer}")

    def _try_it(self, told, step):
        return try_it(self.url, told.gid, step, self._pause)

    def _pause(self, seconds):
        """Between two attempts."""
        if self._stopped_at and time.monotonic() > self._stopped_at + GRACE:
            raise GaveUp
        time.sleep(seconds)

    def _insist(self, rng, path, body, told):
        """The same request to any replica until it has an answer that settles it."""
        first, longest = time.monotonic(), 0.0
        for attempt in itertools.count():
            if attempt:
                self._pause(min(0.02 * 2 ** min(attempt, 5), 0.5) * rng.random())
            addresses = self.addresses()
            if not addresses:
                continue
            began = time.monotonic()
            try:
                status, answer = self._send(rng.choice(addresses), path, body)
            except (OSError, http.client.HTTPException) as e:
                self._excuse(type(e).__name__)
                continue
            finally:
                longest = max(longest, time.monotonic() - began)
                self.slowest = max(self.slowest, longest)
            self._hear(told, answer)
            if status == 429 or (status == 503 and answer.get("retryable") is True):
                self._excuse(f"{status} {answer.get('code')}")
                continue
            if path.startswith(f"/v1/transactions/{told.gid}/"):
                self.commands.append((first, longest, time.monotonic() - first))
            return status, answer

    def _send(self, at, path, body):
        link = http.client.HTTPConnection(at, timeout=self.timeout)
        try:
            link.request("POST", path, body=body, headers={"Content-Type": "application/json"})
            raw = link.getresponse()
            return raw.status, json.loads(raw.read() or b"{}")
        except ValueError as e:
            raise Violation(f"an answer that is not JSON: {e}") from e
        finally:
            link.close()

    def _hear(self, told, answer):
        phase = answer.get("phase")
        if phase in DECISION:
            told.decisions.add(DECISION[phase])
        if phase in ENDED:
            told.ended_as = phase

    def _excuse(self, why):
        self.excused[why] = self.excused.get(why, 0) + 1
