# SPDX-License-Identifier: Apache-2.0
"""What a participant answers, and what sagad learns from it."""
from __future__ import annotations

import dataclasses
import decimal
import email.utils
import enum
import json
import math
import re
import secrets
from typing import Any, Dict, List, Mapping, Optional, Tuple


class Outcome(str, enum.Enum):
    OK = "ok"
    REFUSED = "refused"  # a clear no
    ONGOING = "ongoing"  # ask again later
    UNKNOWN = "unknown"  # it may have had its effect: try again
    MISCONFIGURED = "misconfigured"  # a person must look


ANSWER_MAX = 1 << 20  # bytes of a body that sagad reads, unless its calls.response-max says otherwise
_DAY_S = 86400.0
_ASCTIME = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\Z", re.ASCII)
KEPT_REFUSALS = (409, 410, 422, 424)
_SETTLES = {
    "try": (200, 201, 202, 204, 409, 410, 422, 424, 425),
    "confirm": (200, 201, 202, 204, 425),
    "cancel": (200, 201, 202, 204, 410, 425),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """status and body (JSON text, sent byte for byte as it is)."""

    status: int
    body: Optional[str] = None
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.status, int) and 200 <= self.status <= 599):
            raise ValueError(f"no status of an answer: {self.status!r}")
        if not (self.body is None or isinstance(self.body, str)):
            raise TypeError(f"the body of an answer is a text of JSON, not {type(self.body).__name__}")

    def headers(self, op: Optional[str] = None) -> Dict[str, str]:
        """What to send along, as an answer to that op."""
        made = dict(self.extra)
        if self.body is not None:
            made.setdefault("Content-Type", "application/json")
        if op == "try" and self.status in KEPT_REFUSALS:
            # A bare 409 after an attempt without answer would count as "still in progress".
            made.setdefault("Saga-Outcome", Outcome.REFUSED.value)
        return made

    def settles(self, op: str) -> bool:
        """Is it for keeping? What settles nothing (5xx, 429, …) is rolled back."""
        return self.status in _SETTLES.get(op, ())

    def encoded(self) -> bytes:
        return (self.body or "").encode()


def ok(output: Any = None, status: int = 200) -> Answer:
    """output: any JSON value; for a try it is the step's output, which later steps can read."""
    return Answer(204) if output is None else Answer(status, _text(output))


def refused(why: str = "refused", status: int = 422) -> Answer:
    if status not in KEPT_REFUSALS:
        raise ValueError(f"{status} is no refusal")
    return failed(status, why)


def ongoing(output: Any = None, retry_after_s: Optional[float] = None) -> Answer:
    """It goes on: sagad asks again, or waits for complete() or fail() at call.callback."""
    return Answer(202, _text({} if output is None else output),
                  {} if retry_after_s is None else {"Retry-After": str(max(math.ceil(retry_after_s), 0))})


def gone(why: str = "gone") -> Answer:
    """What was held is no more: fine for a cancel. After a confirm the transaction is stuck at once and a person looks."""
    return failed(410, why)


def unavailable(why: str = "it failed here; call again") -> Answer:
    """Nothing was done, or nobody knows: call again."""
    return failed(503, why)


def failed(status: int, why: str) -> Answer:
    # What cannot be sent of a reason is no reason to fail.
    return Answer(status, _text({"error": str(why).encode("utf-8", "replace").decode()}))


class Refused(Exception):
    """Raised by the work of a try: it is undone, the refusal is kept, the transaction is cancelled."""

    def __init__(self, why: str = "refused", status: int = 422):
        super().__init__(why)
        self.answer = refused(why, status)


def answer_of(value: Any) -> Answer:
    """What a handler gave back: an Answer, or a JSON value that says ok."""
    return value if isinstance(value, Answer) else ok(value)


def outcome_of(op: str, status: int, saga_outcome: Optional[str] = None, body: bytes = b"") -> Outcome:
    """What an answer means (status 0: there was none), as sagad reads it.

    To a confirm or cancel there is no "no": sagad takes a refusal of these for unknown and calls again. A bare 409 after an attempt
    that was never answered is unknown, too.
    """
    if status and saga_outcome and saga_outcome.lower() in [known.value for known in Outcome]:
        told = Outcome(saga_outcome.lower())
    else:
        told = _conventional(op, status)
    if told is Outcome.OK and op == "try" and body.strip() and not _is_json(body):
        return Outcome.MISCONFIGURED
    return told


def _conventional(op: str, status: int) -> Outcome:
    if status in (200, 201, 204):
        return Outcome.OK
    if status in (202, 425):
        return Outcome.ONGOING
    if status in (409, 422, 424):
        return Outcome.REFUSED
    if status == 410:
        return Outcome.OK if op == "cancel" else Outcome.REFUSED
    if status in (0, 408, 412, 429) or 500 <= status <= 599:
        return Outcome.UNKNOWN
    return Outcome.MISCONFIGURED


def retry_after_ms(text: Optional[str], now_s: float) -> int:
    """Of the header Retry-After: seconds or a date (RFC 9110, 10.2.3); 0 if it cannot be read, at most a day."""
    text = (text or "").strip()
    wait = 0.0
    if text.isascii() and text.isdigit():
        wait = float(text[:9]) if len(text) < 9 else _DAY_S
    elif text.endswith(" GMT") or _ASCTIME.match(text):
        parsed = email.utils.parsedate_tz(text)
        wait = email.utils.mktime_tz((*parsed[:9], 0)) - now_s if parsed else 0
    return int(min(max(wait, 0), _DAY_S) * 1000)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _object(members: List[Tuple[str, Any]]) -> List[Tuple[str, Any]]:
    if len({name for name, _ in members}) < len(members):
        raise ValueError("a name twice")
    return members


_ESCAPED = re.compile(rb"\\(?:u0000|.)", re.DOTALL)


def _is_json(body: bytes) -> bool:
    """As sagad reads it, which takes no name twice, no NUL and no half of a surrogate pair."""
    try:
        value = json.loads(body, parse_constant=_no_number, object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return b"\\u0000" not in _ESCAPED.findall(body)


def json_text(value: Any) -> str:
    """JSON of value, in which a Decimal is a number with exactly its digits."""
    mark = secrets.token_hex(16)  # nobody's text has it

    def number(found: Any) -> str:
        if not isinstance(found, decimal.Decimal):
            raise TypeError(f"{type(found).__name__} has no form in JSON: {found!r:.100}")
        if not found.is_finite():
            raise ValueError(f"a Decimal {found}")
        return f"{mark}{found}"
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=number)
    text = re.sub(f'"{mark}([^"]+)"', r"\1", text) if mark in text else text
    text.encode()  # half a surrogate pair is no text
    return text


def _text(value: Any) -> str:
    try:
        return json_text(value)
    except ValueError as why:
        raise ValueError(f"the answer is no JSON, which has no NaN, no Infinity and no half characters: give back None or a text instead ({why})") from why
