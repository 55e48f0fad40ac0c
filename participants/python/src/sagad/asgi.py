# SPDX-License-Identifier: Apache-2.0
"""A Participant as an ASGI application (version 3): of functions that block, which run in threads, or of async ones (sagad.aio)."""
from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncContextManager, AsyncIterator, Awaitable, Callable, Dict, Optional, Union

from .aio import Participant as AsyncParticipant
from .answer import failed
from .participant import BODY_MAX, Participant, Reply

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Dict[str, Any]], Awaitable[None]]
_Lifespan = Callable[[], AsyncContextManager[Any]]
_Either = Union[Participant, AsyncParticipant]


def application(participant: _Either, body_max: int = BODY_MAX, *,
                lifespan: Optional[_Lifespan] = None) -> Callable[[Any, _Receive, _Send], Awaitable[None]]:
    """To be served on its own, or mounted below a prefix of another application (which says so in root_path).

    lifespan: what it gives is entered before the first request, as an async context, and left after the last.
    """

    async def serve(scope: Any, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, lifespan)
        elif scope["type"] == "http":
            body = await _body(receive, body_max)
            if body is not None:
                await _answer(send, await _served(participant, scope, body))
            else:
                too_big = failed(413, f"the body has more than {body_max} bytes")
                await _answer(send, (too_big.status, too_big.headers(), too_big.encoded()))
        else:
            raise ValueError(f"not HTTP: {scope['type']}")

    return serve


async def _served(participant: _Either, scope: Any, body: bytes) -> Reply:
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root + "/"):
        path = path[len(root):]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    method = scope.get("method", "POST")
    if isinstance(participant, AsyncParticipant):
        return await participant.serve(path, headers, body, method)
    return await asyncio.get_running_loop().run_in_executor(None, participant.serve, path, headers, body, method)


async def _body(receive: _Receive, body_max: int) -> Optional[bytes]:
    """None: more than body_max bytes."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the caller has gone")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > body_max:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


async def _answer(send: _Send, answer: Reply) -> None:
    status, headers, body = answer
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


async def _live(receive: _Receive, send: _Send, lifespan: Optional[_Lifespan]) -> None:
    phase = (await receive())["type"]
    try:
        async with (lifespan or _nothing)():
            await send({"type": f"{phase}.complete"})
            phase = (await receive())["type"]
    except Exception as why:
        await send({"type": f"{phase}.failed", "message": str(why)})
        raise
    await send({"type": f"{phase}.complete"})
