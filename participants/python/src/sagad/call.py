# SPDX-License-Identifier: Apache-2.0
"""What sagad sends: the headers of a call, read and checked."""
from __future__ import annotations

import dataclasses
import datetime
import json
import re
from decimal import Decimal
from typing import Any, Dict, Iterable, Mapping, Optional, Protocol, Tuple, Union

OPS = ("try", "confirm", "cancel", "check")
_DO = ("POST", "PUT", "PATCH", "DELETE")  # what definitions may call with; GET asks, and changes nothing
METHODS = {"try": _DO, "confirm": _DO, "cancel": _DO, "check": (*_DO, "GET")}

GID = re.compile(r"[!#-&(-\[\]-~]{1,128}\Z")  # printable ASCII without space, quotes and backslash
STEP = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_NUMBER = re.compile(r"[0-9]{1,19}\Z")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:[0-5]\d)\Z", re.ASCII)  # RFC 3339
_ATTEMPT_MAX, _EPOCH_MAX = 2**32 - 1, 2**63 - 1


_SINGLE = {name.lower(): name for name in (
    "Saga-Id", "Saga-Step", "Saga-Op", "Saga-Attempt", "Saga-Epoch", "Saga-Accepted", "Saga-Deadline", "Saga-Callback",
    "Idempotency-Key", "webhook-id", "webhook-timestamp", "webhook-signature")}
_TWO_URLS = re.compile(r"\s|,https?://", re.ASCII)  # as servers join two headers of one name


class _HasItems(Protocol):
    def items(self) -> Iterable[Tuple[str, str]]: ...


Headers = Union[_HasItems, Iterable[Tuple[str, str]]]  # a mapping, or pairs of which a name may be in several


class NotACall(ValueError):
    """The request does not carry the headers of a call, or its body cannot be read: answer 400. header: what is wrong."""

    def __init__(self, header: str, why: str):
        super().__init__(f"{header} {why}")
        self.header = header


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of one op of one step. The same call may come twice, late, or after its cancel."""

    gid: str
    step: str
    op: str  # try, confirm, cancel or check; a saga's action is its try, its compensation its cancel
    attempt: Optional[int] = None  # from 1
    epoch: Optional[int] = None  # None: none was sent, none is compared
    accepted: Optional[str] = None  # when the transaction began, as it was sent: 2026-11-23T08:40:54.123Z
    deadline: Optional[str] = None  # of the transaction; None: it has none
    callback: Optional[str] = None  # where to report the end of what was answered 202
    idempotency_key: Optional[str] = None  # "gid:step:op" without the quotes: the same in every attempt
    traceparent: Optional[str] = None
    body: bytes = b""
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the route's {names}
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # names in lower case
    decimals: bool = False  # json() makes Decimal of 1.10, not a float

    def json(self, **options: Any) -> Any:
        """The body; None if there is none. options: of json.loads, as in parse_float=decimal.Decimal. Raises NotACall."""
        if self.decimals:
            options.setdefault("parse_float", Decimal)
        options.setdefault("parse_constant", _no_number)
        try:
            return json.loads(self.body, **options) if self.body.strip() else None
        except (ValueError, RecursionError) as why:
            raise NotACall("the body", "is no JSON") from why

    @property
    def accepted_at(self) -> Optional[datetime.datetime]:
        return None if self.accepted is None else _time(self.accepted)

    @property
    def deadline_at(self) -> Optional[datetime.datetime]:
        return None if self.deadline is None else _time(self.deadline)

    @classmethod
    def parse(cls, headers: Headers, body: bytes = b"") -> "Call":
        """headers: names in any case. Raises NotACall."""
        low = lowered(headers)
        op = low.get("saga-op", "")
        if op not in OPS:
            raise NotACall("Saga-Op", f"is not one of {', '.join(OPS)}")
        gid, step = _match(low, "Saga-Id", GID), _match(low, "Saga-Step", STEP)
        key = low["idempotency-key"].strip('"') if "idempotency-key" in low else None
        # A server that joins two gids by a comma makes one of them: that is told by the key, which holds the gid.
        if "," in gid and key is not None and key != f"{gid}:{step}:{op}":
            raise NotACall("Saga-Id", "does not belong to the Idempotency-Key")
        if _TWO_URLS.search(low.get("saga-callback", "")):
            raise NotACall("Saga-Callback", "is no URL")
        return cls(
            gid=gid, step=step, op=op,
            attempt=_number(low, "Saga-Attempt", 1, _ATTEMPT_MAX), epoch=_number(low, "Saga-Epoch", 0, _EPOCH_MAX),
            accepted=_time_text(low, "Saga-Accepted"), deadline=_time_text(low, "Saga-Deadline"),
            callback=low.get("saga-callback"),
            idempotency_key=key,
            traceparent=low.get("traceparent"), body=body, headers=low,
        )


def lowered(headers: Headers) -> Dict[str, str]:
    """Names in lower case, values without white space around them. Raises NotACall if a header that says what to do came twice."""
    low: Dict[str, str] = {}
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        own = name.lower()
        if own in low and own in _SINGLE:
            raise NotACall(_SINGLE[own], "stands there twice")
        low[own] = value.strip() if own not in low else f"{low[own]}, {value.strip()}"
    return low


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _match(headers: Mapping[str, str], name: str, pattern: "re.Pattern[str]") -> str:
    value = headers.get(name.lower(), "")
    if not pattern.match(value):
        raise NotACall(name, "cannot be read" if value else "is missing: this is no call of sagad")
    return value


def _number(headers: Mapping[str, str], name: str, least: int, most: int) -> Optional[int]:
    value = headers.get(name.lower())
    if value is None:
        return None
    if not (_NUMBER.match(value) and least <= int(value) <= most):
        raise NotACall(name, f"is no number from {least} on")
    return int(value)


def _time_text(headers: Mapping[str, str], name: str) -> Optional[str]:
    value = headers.get(name.lower())
    if value is not None:
        try:
            _time(value)
        except ValueError:
            raise NotACall(name, "is no time") from None
    return value


def _time(text: str) -> datetime.datetime:
    found = _TIME.match(text)
    if found is None:
        raise ValueError("no time")
    day, clock, fraction, zone = found.groups()
    at = datetime.datetime.fromisoformat(f"{day}T{clock}.{((fraction or '') + '000000')[:6]}{'+00:00' if zone in 'Zz' else zone}")
    try:
        at.astimezone(datetime.timezone.utc)
    except OverflowError:
        raise ValueError("no time that can be had in UTC") from None
    return at
