# SPDX-License-Identifier: Apache-2.0
"""A service that takes part: paths and ops to functions, whatever the web framework."""
from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from . import xa
from .answer import Answer, failed, unavailable
from .barrier import Barrier, Connection
from .call import METHODS, OPS, Call, Headers, NotACall
from .run import Work, run
from .webhook import TOLERANCE_S, BadSignature, secrets_of, verify

log = logging.getLogger("sagad")

BODY_MAX = 1 << 20  # bytes

Reply = Tuple[int, Dict[str, str], bytes]  # status, headers, body


@dataclasses.dataclass(frozen=True)
class Job:
    """What is there to do for a path and an op."""

    work: Optional[Work]  # None: what Barrier.message() has left answers, or it has been prepared
    prepares: bool = False


@dataclasses.dataclass(frozen=True)
class Admitted:
    call: Call
    job: Job


def _fits(work: Work, wants_async: bool) -> Work:
    """Is it what its caller can call? To be said when it is registered, not in the first call."""
    own, name = getattr(work, "__call__", None), getattr(work, "__qualname__", work)
    if any(inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) for function in (work, own)):
        raise TypeError(f"{name} has a yield, and nobody would go on with it: use return")
    is_async = inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(own)
    if is_async and not wants_async:
        raise TypeError(f"{name} is async, and nobody would await it: use def, or sagad.aio.Participant")
    if wants_async and not is_async:
        raise TypeError(f"{name} would keep all others waiting: use async def, or sagad.Participant, which calls it in a thread")
    return work


def told(answer: Answer, op: Optional[str], more: Optional[Dict[str, str]] = None) -> Reply:
    return answer.status, {**answer.headers(op), **(more or {})}, answer.encoded() if answer.status != 204 else b""


def takes_connect(connect: Any) -> None:
    if not callable(connect):
        raise TypeError("connect is a function that gives a connection, as in Participant(lambda: sqlite3.connect(\"bank.db\")), "
                        f"not {type(connect).__name__}")


def _close(connection: Any) -> None:
    connection.close()


class Routes:
    """Which function is meant by a request, and whether it may be called."""

    _is_async = False

    def __init__(self, secrets: Iterable[str], tolerance_s: float, decimals: bool):
        self.secrets, self.tolerance_s, self.decimals = secrets_of(secrets), tolerance_s, decimals
        self._routes: List[Tuple["re.Pattern[str]", Dict[str, Job]]] = []

    def on(self, path: str, op: str = "try") -> Callable[[Work], Work]:
        """@participant.on("/rooms/{id}/cancel", "cancel"): {id} comes as call.params["id"]."""
        def take(work: Work) -> Work:
            works[op] = Job(_fits(work, self._is_async))
            return work
        works = self._works(path, op)
        return take

    def check(self, path: str) -> None:
        """The check of messages: whether their own transaction was committed, as Barrier.message() has left it."""
        self._works(path, "check")["check"] = Job(None)

    def _works(self, path: str, op: str) -> Dict[str, Job]:
        if op not in OPS:
            raise ValueError(f"no such op: {op}")
        if not (isinstance(path, str) and path.startswith("/")):
            raise ValueError(f'a path begins with a slash, as in @participant.on("/rooms"): {path!r:.100}')
        pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)) + r"\Z")
        found = [works for known, works in self._routes if known.pattern == pattern.pattern]
        works: Dict[str, Job] = found[0] if found else {}
        if not found:
            self._routes.append((pattern, works))
        if op in works:
            raise ValueError(f"{op} {path} has its function already")
        return works

    def _admit(self, path: str, headers: Headers, body: bytes, method: str) -> Union[Reply, Admitted]:
        """What to answer at once, or what to do."""
        op = None
        try:
            call = dataclasses.replace(Call.parse(headers, body), decimals=self.decimals)
            op = call.op
            if method not in METHODS[op]:
                return told(failed(405, f"a {op} is not called with {method}"), op, {"Allow": ", ".join(METHODS[op])})
            if self.secrets:
                verify(call.headers, body, self.secrets, tolerance_s=self.tolerance_s)
        except BadSignature as why:
            log.warning("a call of %s is not let in: %s", path, why)
            return told(failed(401, str(why)), op)
        except NotACall as why:
            return told(failed(400, str(why)), op)
        for pattern, works in self._routes:
            found = pattern.match(path)
            if found is not None and op in works:
                return Admitted(dataclasses.replace(call, params=found.groupdict()), works[op])
            if found is not None:
                return told(failed(400, f"there is no {op} here"), op)
        # Definitions take the 404 of a cancel for "there is nothing to undo": what was mistyped must not look like that.
        return told(failed(400, "there is nothing at this path"), op)


class Participant(Routes):
    """connect gives a DB-API connection for one call; release takes it back (default: it is closed). With a pool:
    Participant(pool.getconn, release=pool.putconn).

    secrets: if any are given every call has to be signed with one of them. decimals: call.json() gives Decimal for 1.10, as money wants.
    """

    def __init__(self, connect: Callable[[], Connection], *, release: Optional[Callable[[Any], None]] = None,
                 secrets: Iterable[str] = (), tolerance_s: float = TOLERANCE_S, dialect: Optional[str] = None, decimals: bool = False):
        super().__init__(secrets, tolerance_s, decimals)
        takes_connect(connect)
        self.connect, self.release, self.dialect = connect, release or _close, dialect

    def prepared(self, path: str, confirm: str, cancel: str) -> Callable[[Work], Work]:
        """@participant.prepared("/hold", confirm="/confirm", cancel="/cancel"): a try that PostgreSQL holds open (sagad.xa)."""
        def take(work: Work) -> Work:
            tries["try"] = Job(_fits(work, False), prepares=True)
            confirms["confirm"] = cancels["cancel"] = Job(None, prepares=True)
            return work
        tries, confirms, cancels = self._works(path, "try"), self._works(confirm, "confirm"), self._works(cancel, "cancel")
        return take

    def setup(self, *, prepares: bool = False) -> None:
        """Puts the barrier into the service's database; again is harmless. prepares: raises xa.NotReady where nothing can be."""
        connection = self.connect()
        try:
            Barrier(connection, self.dialect).setup()
            if prepares:
                xa.ready(connection)
        finally:
            self.release(connection)

    def serve(self, path: str, headers: Headers, body: bytes, method: str = "POST") -> Reply:
        """Status, headers and body to answer. path: decoded, without the query."""
        admitted = self._admit(path, headers, body, method)
        if not isinstance(admitted, Admitted):
            return admitted
        return told(self._run(admitted.call, admitted.job), admitted.call.op)

    def _run(self, call: Call, job: Job) -> Answer:
        try:
            connection = self.connect()
        except Exception:  # pylint: disable=broad-except
            log.exception("no connection to the database")
            return unavailable("no connection to the database; call again")
        try:
            return xa.run(connection, call, job.work) if job.prepares else run(connection, call, job.work, self.dialect)
        finally:
            try:
                self.release(connection)
            except Exception:  # pylint: disable=broad-except
                log.warning("a connection could not be released", exc_info=True)  # what was answered stands
