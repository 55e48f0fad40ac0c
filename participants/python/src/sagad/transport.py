# SPDX-License-Identifier: Apache-2.0
"""HTTP to any of some replicas: connections kept per thread, the next replica if one does not answer."""
from __future__ import annotations

import http.client
import random
import socket
import ssl
import threading
import time
import urllib.parse
from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from .problem import Problem, Unreachable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
ATTEMPT_S = 5.0  # of one request, beside what it was asked to wait: then the next replica is asked


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class _Link:
    """One kept connection."""

    def __init__(self, base: str, context: Optional[ssl.SSLContext], timeout_s: float):
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {base}")
        self.path = parts.path.rstrip("/")
        self.http: http.client.HTTPConnection
        if parts.scheme == "https":
            self.http = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=context)
        else:
            self.http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def send(self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str], timeout_s: float) -> Reply:
        self.http.timeout = timeout_s
        if self.http.sock is not None:
            self.http.sock.settimeout(timeout_s)
        else:
            self.http.connect()  # sets TCP_NODELAY, too
        self.http.request(method, self.path + path, body=body, headers=dict(headers))
        answer = self.http.getresponse()
        content = answer.read()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)


class Transport:
    """Every request of ours may be sent twice: what begins has a gid, what decides is idempotent."""

    def __init__(self, bases: Sequence[str], *, headers: Optional[Mapping[str, str]] = None,
                 context: Optional[ssl.SSLContext] = None):
        if not bases:
            raise ValueError("the URL of at least one replica is needed")
        self._bases, self._headers, self._context = list(bases), dict(headers or {}), context
        for base in bases:
            _Link(base, None, 1)  # what is wrong with it is said now
        self._kept = threading.local()

    def send(self, method: str, path: str, body: Optional[bytes] = None, headers: Optional[Mapping[str, str]] = None, *,
             within_s: float, waits_s: float = 0) -> Reply:
        """A success. waits_s: how long sagad was asked to wait before it answers. Raises Problem or Unreachable."""
        end, pause = time.monotonic() + within_s + waits_s, _FIRST_PAUSE_S
        turn = random.randrange(len(self._bases))
        sent = {"Accept": "application/json", **self._headers, **(headers or {})}
        while True:
            why: Exception
            left = end - time.monotonic()
            try:
                reply = self._send_to(self._bases[turn % len(self._bases)], method, path, body, sent,
                                      max(min(left, ATTEMPT_S + waits_s), 0.1))
                if reply.status < 300:
                    return reply
                problem = Problem.decode(reply.status, reply.headers, reply.body)
                if not problem.again:
                    raise problem
                why, wait = problem, max(pause, float(problem.retry_after_s or 0))
            except (OSError, http.client.HTTPException) as failure:
                why, wait = failure, pause
            turn += 1
            # The others are asked at once, then all again after a pause.
            wait = 0.0 if turn % len(self._bases) and not isinstance(why, Problem) else wait * random.uniform(0.5, 1.0)
            if time.monotonic() + wait >= end:
                if isinstance(why, Problem):
                    raise why
                raise Unreachable(f"no answer within {within_s:g} s: {why}") from why
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _send_to(self, base: str, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str],
                 left_s: float) -> Reply:
        links: Dict[str, _Link] = self._kept.__dict__.setdefault("links", {})
        link = links.pop(base, None)
        if link is not None:
            try:
                reply = link.send(method, path, body, headers, left_s)
                links[base] = link
                return reply
            except socket.timeout:
                link.http.close()
                raise
            except (OSError, http.client.HTTPException):
                link.http.close()  # it was closed at the other end since: once more on a new one
        link = _Link(base, self._context, left_s)
        try:
            reply = link.send(method, path, body, headers, left_s)
        except BaseException:
            link.http.close()
            raise
        links[base] = link
        return reply

    def send_once(self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Whatever is answered. Raises OSError where nothing is."""
        try:
            return self._send_to(self._bases[0], method, path, body, {**self._headers, **headers}, timeout_s)
        except http.client.HTTPException as failure:
            raise OSError(f"not HTTP: {failure!r}") from failure

    @classmethod
    def to(cls, url: str, context: Optional[ssl.SSLContext] = None) -> Tuple["Transport", str]:
        """For one URL: who sends, and the path and query to send to."""
        parts = urllib.parse.urlsplit(url)
        return cls([f"{parts.scheme}://{parts.netloc}"], context=context), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def close(self) -> None:
        """This thread's connections."""
        for link in self._kept.__dict__.pop("links", {}).values():
            link.http.close()
