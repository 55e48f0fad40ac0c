# SPDX-License-Identifier: Apache-2.0
"""A Participant as a WSGI application (PEP 3333)."""
from __future__ import annotations

from http import HTTPStatus
from typing import Any, Callable, Dict, Iterable, List, Tuple

from .answer import failed
from .participant import BODY_MAX, Participant

_StartResponse = Callable[[str, List[Tuple[str, str]]], Any]


def application(participant: Participant, body_max: int = BODY_MAX) -> Callable[[Dict[str, Any], _StartResponse], Iterable[bytes]]:
    """To be served on its own, or mounted below a prefix of another application (which moves it to SCRIPT_NAME)."""

    def serve(environ: Dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = body_max + 1
        if length > body_max:
            answer = failed(413, f"the body has more than {body_max} bytes")
            status, headers, body = answer.status, answer.headers(), answer.encoded()
        else:
            # WSGI hands out the bytes of the path as if they were Latin-1.
            path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace") or "/"
            content = environ["wsgi.input"].read(length)
            if len(content) < length:
                raise ConnectionError("the caller has gone")
            status, headers, body = participant.serve(path, _headers(environ), content, environ.get("REQUEST_METHOD", "POST"))
        start_response(f"{status} {_phrase(status)}", [*headers.items(), ("Content-Length", str(len(body)))]
                       if status != 204 else list(headers.items()))
        return [body]

    return serve


def _headers(environ: Dict[str, Any]) -> Dict[str, str]:
    return {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Answer"
