# SPDX-License-Identifier: Apache-2.0
"""Begin transactions, wait for them, decide them."""
from __future__ import annotations

import dataclasses
import decimal
import json
import secrets
import ssl
import time
import urllib.parse
import uuid
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from .answer import json_text
from .barrier import Connection
from .message import Delivery, Work, send
from .problem import Problem, Unreachable
from .tcc import Tcc
from .transport import Reply, Transport

Target = Union[str, Mapping[str, Any]]  # a URL, or a call as definitions have it: {"participant": …, "path": …}

_WAIT_MAX_S = 60  # sagad's own limit of one wait


@dataclasses.dataclass(frozen=True)
class Transaction:
    """As it is. data: everything sagad tells (GET /v1/transactions/{gid} in its API)."""

    gid: str
    phase: str  # prepared, trying, confirming, confirmed, cancelling, cancelled, abandoned
    result: Optional[str]  # succeeded, cancelled, mixed; None: not ended
    replayed: bool  # it had begun before
    data: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        return self.phase in ("confirmed", "cancelled", "abandoned")

    @property
    def succeeded(self) -> bool:
        return self.result == "succeeded"

    @property
    def output(self) -> Any:
        return self.data.get("output")

    @property
    def cause(self) -> Optional[Mapping[str, Any]]:
        """Why cancel was decided."""
        return self.data.get("cause")

    @property
    def stuck(self) -> Optional[Mapping[str, Any]]:
        """It needs a person."""
        return self.data.get("stuck")

    def step(self, name: str) -> Mapping[str, Any]:
        for step in self.data.get("steps", ()):
            if step["name"] == name:
                return dict(step)
        raise KeyError(name)


class Client:
    """One for all threads. urls: the replicas, or what stands before them; any replica serves any request.

    timeout_s: how long a request is repeated while nobody answers or sagad says 429 or 503. Requests can be repeated because a transaction
    begins under a gid that is chosen here, and deciding twice is deciding once.

    context: whom to trust. decimals: outputs have Decimal for 1.10, as money wants; a Decimal is sent with its digits in any case.
    """

    def __init__(self, urls: Union[str, Sequence[str]], *, token: Optional[str] = None, timeout_s: float = 15,
                 context: Optional[ssl.SSLContext] = None, decimals: bool = False):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._transport = Transport([urls] if isinstance(urls, str) else urls, headers=headers, context=context)
        self.timeout_s, self.context = timeout_s, context
        self._parse_float = decimal.Decimal if decimals else None

    # ---- transactions ----------------------------------------------------------------------------

    def start(self, definition: Optional[str] = None, input: Any = None, *,  # pylint: disable=redefined-builtin
              gid: Optional[str] = None, steps: Optional[Mapping[str, Any]] = None, mode: Optional[str] = None,
              wait_s: float = 0, version: Optional[int] = None, labels: Optional[Mapping[str, str]] = None,
              deadline: Optional[str] = None, start_at: Optional[str] = None, traceparent: Optional[str] = None,
              **more: Any) -> Transaction:
        """Begins one, by the name of a definition or with steps of its own; wait_s: until it has ended, at most so long.

        The same gid and content again is the same transaction (replayed); with another content it is a Problem with code
        idempotency_key_reused. So take a gid that stands for what it is about, as in f"order-{order.id}".
        """
        gid = gid or new_gid()
        body = {"gid": gid, "definition": definition, "steps": steps, "mode": mode, "input": input, "version": version,
                "labels": labels, "deadline": deadline, "start_at": start_at, **more}
        headers = {"traceparent": traceparent} if traceparent else {}
        try:
            reply = self._ask("POST", "/v1/transactions", {n: v for n, v in body.items() if v is not None}, headers=headers, wait_s=wait_s)
        except (Unreachable, Problem) as why:
            why.gid = why.gid or gid  # to start it again, or to look for it
            raise
        return self._until_ended(reply, wait_s)

    def get(self, gid: str) -> Transaction:
        return self._told(self._ask("GET", _path(gid)))

    def wait(self, gid: str, wait_s: float = 60) -> Transaction:
        """Until it has ended, at most so long: look at .ended."""
        return self._until_ended(self._ask("GET", _path(gid), wait_s=wait_s), wait_s)

    def join(self, gid: str, name: str, *, confirm: Optional[Target] = None, cancel: Optional[Target] = None,
             try_: Optional[Target] = None, data: Any = None, **more: Any) -> Transaction:
        """Adds a step to an open TCC, before its try is called. With try_ sagad calls that, too. data: the body of its calls."""
        step = {"name": name, "confirm": _target(confirm), "cancel": _target(cancel), "data": data, **more}
        if try_ is not None:
            step.update({"try": _target(try_), "call_try": True})
        return self._told(self._ask("POST", _path(gid, "/steps"), {n: v for n, v in step.items() if v is not None}))

    def confirm(self, gid: str, wait_s: float = 0) -> Transaction:
        """Raises Problem with code decided if it is cancelled, not_ready if a step that sagad tries is not ok yet."""
        return self._until_ended(self._ask("POST", _path(gid, "/confirm"), {}, wait_s=wait_s), wait_s)

    def cancel(self, gid: str, reason: Optional[str] = None, wait_s: float = 0) -> Transaction:
        """Raises Problem with code decided if it is confirmed, in_doubt while a pivot's outcome is not known."""
        return self._until_ended(self._ask("POST", _path(gid, "/cancel"), {"reason": reason} if reason else {}, wait_s=wait_s), wait_s)

    def tcc(self, deadline: str = "1m", *, gid: Optional[str] = None, wait_s: float = 20,
            secrets: Sequence[str] = (), **more: Any) -> Tcc:
        """with client.tcc() as tcc: confirmed at the end, cancelled if it is left by an exception."""
        return Tcc(self, gid or new_gid(), deadline, wait_s, secrets, more)

    def send(self, connection: Connection, work: Work, definition: Optional[str] = None, input: Any = None, *,  # pylint: disable=redefined-builtin
             wait_s: float = 0, dialect: Optional[str] = None, **start: Any) -> Delivery:
        """Prepares a two-phase message, runs work(connection, prepared) in a transaction of its own, and confirms. What it stands for
        tells the gid: the same again, years later too, is the same message, and its work is done once.

        work neither commits nor rolls back; it raises Refused where there shall be no message, and may be run again from its start after a
        deadlock. connection: without a transaction. start: as for start(). Raises what the work or the database raises: nothing was committed.
        """
        return send(self, connection, work, dialect=dialect, wait_s=wait_s, definition=definition, input=input, **start)

    # ---- definitions, participants' reports --------------------------------------------------------

    def define(self, name: str, document: Mapping[str, Any]) -> int:
        """Registers a definition; the version it has. The same content again changes nothing."""
        reply = self._ask("PUT", "/v1/definitions/" + urllib.parse.quote(name, safe=""), document)
        return int(json.loads(reply.body)["version"])

    # ---- requests -----------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Any = None, *, headers: Optional[Mapping[str, str]] = None,
             wait_s: float = 0) -> Reply:
        sent: Dict[str, str] = dict(headers or {})
        content = None
        if body is not None:
            content = json_text(body).encode()
            sent["Content-Type"] = "application/json"
        waits = min(wait_s, _WAIT_MAX_S)
        if waits > 0:
            path += f"?wait={int(waits * 1000)}ms"
        return self._transport.send(method, path, content, sent, within_s=self.timeout_s, waits_s=waits)

    def _until_ended(self, reply: Reply, wait_s: float) -> Transaction:
        """A wait may be longer than one request can."""
        end = time.monotonic() + wait_s - min(wait_s, _WAIT_MAX_S)
        now = self._told(reply)
        while not now.ended and time.monotonic() < end:
            left = end - time.monotonic()
            again = self._told(self._ask("GET", _path(now.gid), wait_s=left))
            now = dataclasses.replace(again, replayed=now.replayed)
        return now

    def output_of(self, body: bytes) -> Any:
        """What that JSON says; None if there is none."""
        return json.loads(body, parse_float=self._parse_float) if body.strip() else None

    def _told(self, reply: Reply) -> Transaction:
        data = self.output_of(reply.body)
        return Transaction(data["gid"], data["phase"], data.get("result"), "saga-replayed" in reply.headers, data)

    def close(self) -> None:
        self._transport.close()


def new_gid() -> str:
    """A UUIDv7: those of one moment stand side by side in the index of the log."""
    bits = (int(time.time() * 1000) & (1 << 48) - 1) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def complete(callback: str, output: Any = None, *, timeout_s: float = 15, context: Optional[ssl.SSLContext] = None) -> None:
    """Reports the success of a call that was answered 202: callback is its call.callback. Again is harmless.

    context: whom to trust, as Client takes it."""
    _report(callback, output, timeout_s, context)


def fail(callback: str, why: str, *, timeout_s: float = 15, context: Optional[ssl.SSLContext] = None) -> None:
    """Reports its refusal."""
    head, _, query = callback.partition("?")
    if not head.endswith("/complete"):
        raise ValueError("not a callback URL of sagad")
    _report(f"{head[:-len('complete')]}fail?{query}", {"error": why}, timeout_s, context)


def _report(url: str, body: Any, timeout_s: float, context: Optional[ssl.SSLContext]) -> None:
    content = b"" if body is None else json_text(body).encode()
    transport, path = Transport.to(url, context)
    try:
        transport.send("POST", path, content,
                       {"Content-Type": "application/json"} if content else {}, within_s=timeout_s)
    finally:
        transport.close()


def _path(gid: str, rest: str = "") -> str:
    return "/v1/transactions/" + urllib.parse.quote(gid, safe="") + rest


def _target(target: Optional[Target]) -> Any:
    return {"url": target} if isinstance(target, str) else target
