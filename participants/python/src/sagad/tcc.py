# SPDX-License-Identifier: Apache-2.0
"""An open TCC as a with block: confirmed at its end, cancelled if an exception leaves it or a step of it has failed."""
from __future__ import annotations

import contextlib
import json
import random
import ssl
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional, Sequence, Type

from .answer import Outcome, Refused, json_text, outcome_of, retry_after_ms
from .problem import Problem, Unreachable
from .transport import ATTEMPT_S, Reply, Transport
from .webhook import message_id, secrets_of, sign

if TYPE_CHECKING:
    from .client import Client, Target, Transaction

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


def _why(reply: Reply) -> str:
    """What the participant says, where it says it in one of the usual members."""
    try:
        said = json.loads(reply.body)
    except ValueError:
        said = None
    for member in ("detail", "title", "message", "error") if isinstance(said, dict) else ():
        if isinstance(said.get(member), str):
            return str(said[member])
    return f"HTTP {reply.status}"


class NotConfirmed(Exception):
    """The block ended well and yet the transaction is cancelled: its deadline had passed, a try of sagad's was refused, or a join or a
    call of the block had failed (__cause__), although the block went on."""

    def __init__(self, transaction: "Transaction", failure: Optional[BaseException] = None):
        cause = _told(failure) if failure else (transaction.cause or {}).get("kind", "another decision")
        super().__init__(f"{transaction.gid} is {transaction.phase}: {cause}")
        self.transaction = transaction


def _told(failure: BaseException) -> str:
    return f"a step of it has failed: {type(failure).__name__}: {failure}"


class Tcc:
    """What tcc() of a Client gives. transaction: as it was last seen."""

    def __init__(self, client: "Client", gid: str, deadline: str, wait_s: float, secrets: Sequence[str], more: Mapping[str, Any]):
        self.gid, self.transaction = gid, None  # type: str, Optional[Transaction]
        self._client, self._deadline, self._wait_s, self._secrets, self._more = client, deadline, wait_s, secrets_of(secrets), more
        self._failure: Optional[BaseException] = None  # the first: whatever comes after it, nothing is confirmed

    def __enter__(self) -> "Tcc":
        self.transaction = self._client.start(gid=self.gid, mode="tcc", deadline=self._deadline, **self._more)
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], why: Optional[BaseException], where: Optional[TracebackType]) -> None:
        if why is not None:
            self._cancel(f"{type(why).__name__}: {why}")  # what the caller has to see is his own exception
        elif self._failure is not None:
            self._cancel(_told(self._failure))
            assert self.transaction is not None  # __enter__ has started it
            raise NotConfirmed(self.transaction, self._failure) from self._failure
        else:
            self._confirm()

    @contextlib.contextmanager
    def _remembering(self) -> Iterator[None]:
        """A step that is registered and was not tried well cannot be confirmed, whoever has caught the exception."""
        try:
            yield
        except BaseException as why:
            self._failure = self._failure or why
            raise

    def join(self, name: str, *, confirm: Optional["Target"] = None, cancel: Optional["Target"] = None,
             try_: Optional["Target"] = None, data: Any = None, **more: Any) -> None:
        """A step whose try sagad calls (try_), or which is tried in some way of your own after this. data: the body of its calls."""
        with self._remembering():
            self.transaction = self._client.join(self.gid, name, confirm=confirm, cancel=cancel, try_=try_, data=data, **more)

    def call(self, name: str, url: str, data: Any = None, *, confirm: "Target", cancel: "Target", timeout_s: Optional[float] = None,
             context: Optional[ssl.SSLContext] = None, headers: Optional[Mapping[str, str]] = None, **more: Any) -> Any:
        """Joins, then calls the step's try from here: its output. Raises Refused; Unreachable when nobody can tell.

        It is called again while its outcome is unknown, for timeout_s. timeout_s and context (whom to trust): those of the client, unless
        given. headers: of your own, for this call; the client's token is for sagad alone. After a failure nothing is confirmed, also if
        it is caught: what may do instead is tried in a block of its own.
        """
        with self._remembering():
            self.join(name, confirm=confirm, cancel=cancel, data=data, **more)
            return self._call(name, url, data, timeout_s, context or self._client.context, headers or {})

    def _call(self, name: str, url: str, data: Any, timeout_s: Optional[float], context: Optional[ssl.SSLContext],
              headers: Mapping[str, str]) -> Any:
        timeout_s = self._client.timeout_s if timeout_s is None else timeout_s
        body = b"" if data is None else json_text(data).encode()
        end, attempt, pause = time.monotonic() + timeout_s, 1, _FIRST_PAUSE_S
        link, path = Transport.to(url, context)
        try:
            while True:
                reply, what = self._try(link, path, {**headers, **self._headers(name, attempt, body)}, body, end)
                if what is Outcome.OK:
                    return self._client.output_of(reply.body)
                if what is Outcome.REFUSED:
                    raise Refused(_why(reply))
                if what is Outcome.MISCONFIGURED:
                    raise Problem.decode(reply.status, reply.headers, reply.body)
                rest = max(pause, retry_after_ms(reply.headers.get("retry-after"), time.time()) / 1000)
                if time.monotonic() + rest >= end:
                    raise Unreachable(f"the try of {name} gave no outcome within {timeout_s:g} s", self.gid)
                time.sleep(rest * random.uniform(0.8, 1.0))
                attempt, pause = attempt + 1, min(2 * pause, _LONGEST_PAUSE_S)
        finally:
            link.close()

    @staticmethod
    def _try(link: Transport, path: str, headers: Mapping[str, str], body: bytes, end: float) -> "tuple[Reply, Outcome]":
        try:
            reply = link.send_once("POST", path, body, headers, max(min(end - time.monotonic(), ATTEMPT_S), 0.1))
        except OSError:
            return Reply(0, {}, b""), Outcome.UNKNOWN
        bare_conflict = reply.status == 409 and headers["Saga-Attempt"] != "1" and "saga-outcome" not in reply.headers
        what = outcome_of("try", reply.status, reply.headers.get("saga-outcome"), reply.body)
        return reply, Outcome.UNKNOWN if bare_conflict else what

    def _headers(self, name: str, attempt: int, body: bytes) -> Dict[str, str]:
        made = {"Content-Type": "application/json", "Saga-Id": self.gid, "Saga-Step": name, "Saga-Op": "try",
                "Saga-Attempt": str(attempt), "Idempotency-Key": f'"{self.gid}:{name}:try"'}
        if self._more.get("traceparent"):
            made["traceparent"] = self._more["traceparent"]
        for header, member in (("Saga-Accepted", "created_at"), ("Saga-Deadline", "deadline_at")):
            if self.transaction and self.transaction.data.get(member):
                made[header] = self.transaction.data[member]
        if self._secrets:
            own, now = message_id(self.gid, name, "try"), int(time.time())
            made.update({"webhook-id": own, "webhook-timestamp": str(now),
                         "webhook-signature": " ".join(sign(secret, own, now, body) for secret in self._secrets)})
        return made

    def _cancel(self, reason: str) -> None:
        try:
            self.transaction = self._client.cancel(self.gid, reason[:1000], wait_s=self._wait_s)
        except (Problem, Unreachable):
            pass  # its deadline cancels it

    def _confirm(self) -> None:
        """Never followed by a cancel: whether a confirm that was not answered has been heard, nobody here knows."""
        end, pause = time.monotonic() + max(self._wait_s, 1), _FIRST_PAUSE_S
        while True:
            try:
                self.transaction = self._client.confirm(self.gid, wait_s=self._wait_s)
                break
            except Problem as problem:
                if problem.code == "decided":
                    self.transaction = self._client.wait(self.gid, self._wait_s)
                    break
                if problem.code != "not_ready" or time.monotonic() + pause >= end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        if self.transaction.phase not in ("confirming", "confirmed"):
            raise NotConfirmed(self.transaction)
