# SPDX-License-Identifier: Apache-2.0
"""What sagad says when it does not do it: RFC 9457 problems, decoded."""
from __future__ import annotations

import dataclasses
import json
from typing import Any, List, Mapping, Optional, Sequence

_AGAIN = (408, 429, 502, 503, 504)


@dataclasses.dataclass(frozen=True)
class Fault:
    pointer: str  # JSON Pointer into the body that was sent
    detail: str


class Problem(Exception):
    """An answer that is no success. code is stable (docs/api.md has all); None if something in front of sagad answered."""

    def __init__(self, status: int, code: Optional[str] = None, title: Optional[str] = None, detail: Optional[str] = None,
                 retryable: bool = False, retry_after_s: Optional[int] = None, gid: Optional[str] = None,
                 request_id: Optional[str] = None, errors: Sequence[Fault] = ()):
        super().__init__(": ".join(part for part in (code or f"HTTP {status}", detail or title) if part))
        self.status, self.code, self.title, self.detail, self.retryable = status, code, title, detail, retryable
        self.retry_after_s, self.gid, self.request_id, self.errors = retry_after_s, gid, request_id, list(errors)

    @property
    def again(self) -> bool:
        """May the same request simply be sent again?"""
        return self.retryable and self.status in _AGAIN

    @classmethod
    def decode(cls, status: int, headers: Mapping[str, str], body: bytes) -> "Problem":
        """Whatever came: a body that is no problem document is no reason to fail."""
        low = {name.lower(): value for name, value in headers.items()}
        wait = low.get("retry-after", "")
        retry_after_s = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
        said = _object(body)
        return cls(
            status, code=_text(said, "code"), title=_text(said, "title"), detail=_text(said, "detail"),
            retryable=said["retryable"] if isinstance(said.get("retryable"), bool) else status in _AGAIN,
            retry_after_s=retry_after_s, gid=_text(said, "gid"), request_id=_text(said, "request_id"),
            errors=_faults(said.get("errors")))


class Unreachable(Exception):
    """No replica gave an answer in time. It may or may not have been done: ask again, with this gid."""

    def __init__(self, why: str, gid: Optional[str] = None):
        super().__init__(why)
        self.gid = gid


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> Optional[str]:
    value = said.get(name)
    return value if isinstance(value, str) else None


def _faults(errors: Any) -> List[Fault]:
    found = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            pointer, detail = _text(error, "pointer"), _text(error, "detail")
            if pointer is not None and detail is not None:
                found.append(Fault(pointer, detail))
    return found
