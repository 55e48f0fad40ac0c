# SPDX-License-Identifier: Apache-2.0
"""A service that takes part: paths and ops to functions, whatever the web framework."""
from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from . import xa
from .answer import Answer, failed
from .barrier import Barrier, Connection
from .call import METHODS, OPS, Call, Headers, NotACall
from .run import Work, run
from .webhook import TOLERANCE_S, BadSignature, key_of, verify

log = logging.getLogger("sagad")

BODY_MAX = 1 << 20  # bytes

_Job = Tuple[Optional[Work], bool]  # the function, and whether PostgreSQL prepares what it does


def _plain(work: Work) -> Work:
    """Functions are called in threads, with a connection that blocks."""
    for function in (work, getattr(work, "__call__", None)):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{getattr(work, '__qualname__', work)} is async, and nobody would await it: use def, or sagad.aio")
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{getattr(work, '__qualname__', work)} has a yield, and nobody would go on with it: use return")
    return work


def _told(answer: Answer, op: Optional[str], more: Optional[Dict[str, str]] = None) -> Tuple[int, Dict[str, str], bytes]:
    return answer.status, {**answer.headers(op), **(more or {})}, answer.encoded() if answer.status != 204 else b""


def _close(connection: Any) -> None:
    connection.close()


class Participant:
    """connect gives a DB-API connection for one call; release takes it back (default: it is closed). With a pool:
    Participant(pool.getconn, release=pool.putconn).

    secrets: if any are given every call has to be signed with one of them. decimals: call.json() gives Decimal for 1.10, as money wants.
    """

    def __init__(self, connect: Callable[[], Connection], *, release: Optional[Callable[[Any], None]] = None,
                 secrets: Iterable[str] = (), tolerance_s: float = TOLERANCE_S, dialect: Optional[str] = None, decimals: bool = False):
        self.connect, self.release, self.dialect, self.decimals = connect, release or _close, dialect, decimals
        self.secrets, self.tolerance_s = tuple(secrets), tolerance_s
        for secret in self.secrets:
            key_of(secret)  # what is wrong with it is said now
        self._routes: List[Tuple["re.Pattern[str]", Dict[str, _Job]]] = []

    def on(self, path: str, op: str = "try") -> Callable[[Work], Work]:
        """@participant.on("/rooms/{id}/cancel", "cancel"): {id} comes as call.params["id"]."""
        def take(work: Work) -> Work:
            works[op] = _plain(work), False
            return work
        works = self._works(path, op)
        return take

    def check(self, path: str) -> None:
        """The check of messages: whether their own transaction was committed, as Barrier.message() has left it."""
        self._works(path, "check")["check"] = None, False

    def prepared(self, path: str, confirm: str, cancel: str) -> Callable[[Work], Work]:
        """@participant.prepared("/hold", confirm="/confirm", cancel="/cancel"): a try that PostgreSQL holds open (sagad.xa)."""
        def take(work: Work) -> Work:
            tries["try"] = _plain(work), True
            confirms["confirm"] = cancels["cancel"] = None, True
            return work
        tries, confirms, cancels = self._works(path, "try"), self._works(confirm, "confirm"), self._works(cancel, "cancel")
        return take

    def _works(self, path: str, op: str) -> Dict[str, _Job]:
        if op not in OPS:
            raise ValueError(f"no such op: {op}")
        if not (isinstance(path, str) and path.startswith("/")):
            raise ValueError(f'a path begins with a slash, as in @participant.on("/rooms"): {path!r:.100}')
        pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)) + r"\Z")
        found = [works for known, works in self._routes if known.pattern == pattern.pattern]
        works: Dict[str, _Job] = found[0] if found else {}
        if not found:
            self._routes.append((pattern, works))
        if op in works:
            raise ValueError(f"{op} {path} has its function already")
        return works

    def setup(self, *, prepares: bool = False) -> None:
        """Puts the barrier into the service's database; again is harmless. prepares: raises xa.NotReady where nothing can be."""
        connection = self.connect()
        try:
            Barrier(connection, self.dialect).setup()
            if prepares:
                xa.ready(connection)
        finally:
            self.release(connection)

    def serve(self, path: str, headers: Headers, body: bytes, method: str = "POST") -> Tuple[int, Dict[str, str], bytes]:
        """Status, headers and body to answer. path: decoded, without the query."""
        op = None
        try:
            call = dataclasses.replace(Call.parse(headers, body), decimals=self.decimals)
            op = call.op
            if method not in METHODS[op]:
                return _told(failed(405, f"a {op} is not called with {method}"), op, {"Allow": ", ".join(METHODS[op])})
            if self.secrets:
                verify(call.headers, body, self.secrets, tolerance_s=self.tolerance_s)
            answer = self._route(path, call)
        except BadSignature as why:
            log.warning("a call of %s is not let in: %s", path, why)
            answer = failed(401, str(why))
        except NotACall as why:
            answer = failed(400, str(why))
        return _told(answer, op)

    def _route(self, path: str, call: Call) -> Answer:
        for pattern, works in self._routes:
            found = pattern.match(path)
            if found is None:
                continue
            if call.op not in works:
                return failed(400, f"there is no {call.op} here")
            return self._run(dataclasses.replace(call, params=found.groupdict()), *works[call.op])
        # Definitions take the 404 of a cancel for "there is nothing to undo": what was mistyped must not look like that.
        return failed(400, "there is nothing at this path")

    def _run(self, call: Call, work: Optional[Work], prepares: bool) -> Answer:
        try:
            connection = self.connect()
        except Exception:  # pylint: disable=broad-except
            log.exception("no connection to the database")
            return failed(503, "no connection to the database; call again")
        try:
            return xa.run(connection, call, work) if prepares else run(connection, call, work, self.dialect)
        finally:
            try:
                self.release(connection)
            except Exception:  # pylint: disable=broad-except
                log.warning("a connection could not be released", exc_info=True)  # what was answered stands
