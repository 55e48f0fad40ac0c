# SPDX-License-Identifier: Apache-2.0
"""An honest participant in a process of its own: what it is asked it does once, and it remembers every call.

It does what sagad's documentation asks of participants: the same op twice has one effect, a cancel without a try is
fine and remembered, a try after its cancel is refused. Its books are what the ledger audits."""
import asyncio
import collections
import hashlib
import http
import itertools
import json
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl, urlsplit

Call = collections.namedtuple(
    "Call", "at answered gid step op epoch attempt key sha status replica path")
Call.__doc__ = """One call. at, answered: monotonic seconds (answered None: not yet); key: Idempotency-Key as it came;
sha: of the body; replica: base URL that the caller gave for callbacks."""

# What one step came to. effect: 0, or 1 while something is done; a second one would be 2.
Book = collections.namedtuple("Book", "effect state wrong")


class Reply:
    """A scripted answer. drop: hang up in place of an answer; do: have the effect all the same.

    raw: these bytes and no others; then it hangs up, or with hang says nothing more until the caller does so. more:
    sent behind them again and again, FLOOD bytes of it."""

    def __init__(self, status=200, body=None, delay=0.0, headers=None, drop=False, do=None, raw=None, hang=False, more=b""):
        self.status, self.delay, self.drop = status, delay, drop
        self.body = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.headers = headers or {}
        self.raw, self.hang, self.more = raw, hang, more
        self.do = raw is None and 200 <= status < 300 if do is None else do


FLOOD = 100 << 20


class Participant:
    """The handle that a test holds; the server runs in a child."""

    def __init__(self, seed=0):
        ours, theirs = socket.socketpair()
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "faults.participant", str(theirs.fileno()), str(seed)], cwd=here,
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._line = Connection(ours.detach())
        self._lock = threading.Lock()
        self._known = []
        self.port = self._line.recv()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def _ask(self, *question):
        with self._lock:
            self._line.send_bytes(pickle.dumps(question))
            return pickle.loads(self._line.recv_bytes())

    def answer(self, path, *replies):
        """Answers of that path in place of its behaviour: Reply objects in order, the last for ever; or one function
        of a module, asked in the child with the Call, which gives a Reply, or None for its behaviour. None of them:
        as before. The path "*" is all that have no answers of their own."""
        self._ask("answer", path, replies)
        return self.url + path

    def latency(self, seconds):
        """Every answer takes that much longer."""
        self._ask("latency", seconds)

    def down(self):
        """Connections are reset, and new ones refused, as if the process had died."""
        self._ask("down")

    def up(self):
        self._ask("up")

    def links(self):
        """How many connections there are to it."""
        return self._ask("links")

    def calls(self, gid=None, since=0.0):
        """All calls, or those of a transaction, or those that came since then. Each with its answer, if it has one."""
        fresh = [Call(*c) for c in self._ask("calls", len(self._known))]
        every = self._known + fresh
        self._known += itertools.takewhile(lambda c: c.answered is not None, fresh)
        return [c for c in every if (gid is None or c.gid == gid) and c.at >= since]

    def tail(self, start):
        """The calls from number `start` on, as far as they have got."""
        return [Call(*c) for c in self._ask("calls", start)]

    def books(self):
        """{(gid, step): Book}"""
        return {k: Book(*b) for k, b in self._ask("books").items()}

    def open_calls(self):
        return self._ask("open")

    def forget(self):
        """Drops calls and books: they were audited."""
        self._ask("forget")
        self._known = []

    @property
    def pid(self):
        return self._child.pid

    def signal(self, number):
        self._child.send_signal(number)

    def close(self):
        self._line.close()
        self._child.terminate()
        self._child.wait()


# ---- the child ------------------------------------------------------------------------


class _Service:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.scripts, self.calls, self.books = {}, [], {}
        self.open, self.delay = 0, 0.0
        self.server, self.port, self.links = None, 0, set()

    # There, or not

    async def up(self):
        if self.server is None:
            loop = asyncio.get_running_loop()
            self.server = await loop.create_server(
                lambda: _Link(self, loop), "127.0.0.1", self.port, backlog=1024, reuse_address=True)
            self.port = self.server.sockets[0].getsockname()[1]

    def down(self):
        if self.server is not None:
            self.server.close()
            self.server = None
        for link in list(self.links):
            peer = link.transport.get_extra_info("socket")
            if peer.fileno() >= 0:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.transport.abort()

    # What it does for a try, cancel or confirm: gives the status of its answer.

    def perform(self, gid, step, op):
        book = self.books.setdefault((gid, step), [0, "none", []])
        return {"try": self._try, "cancel": self._cancel, "confirm": self._confirm}.get(op, self._strange)(book)

    @staticmethod
    def _strange(book):
        book[2].append("an op that is none")
        return 400

    @staticmethod
    def _try(book):
        if book[1] == "cancelled":
            return 422  # too late: it was cancelled before it came
        if book[1] == "none":
            book[0], book[1] = book[0] + 1, "tried"
        return 200

    @staticmethod
    def _cancel(book):
        if book[1] == "confirmed":
            book[2].append("cancel after confirm")
        elif book[1] == "tried":
            book[0] -= 1
        if book[1] != "confirmed":
            book[1] = "cancelled"
        return 200

    @staticmethod
    def _confirm(book):
        if book[1] in ("none", "cancelled"):
            book[2].append("confirm of what was " + {"none": "never tried"}.get(book[1], book[1]))
        else:
            book[1] = "confirmed"
        return 200

    # How it answers: by the first part of the path, as /slow/hotel?ms=200

    def reply(self, call, path, query):
        script = self.scripts.get(path) or self.scripts.get("*")
        if script:
            made = script.pop(0) if len(script) > 1 else script[0]
            made = made if isinstance(made, Reply) else made(call)
            if made is not None:
                if made.do:
                    self.perform(call.gid, call.step, call.op)
                return made
        way = path.split("/")[1]
        delay = self.delay + float(query.get("ms", 200 if way == "slow" else 0)) / 1000
        if way == "refuse" and call.op == "try":
            return Reply(422, {"why": "refused"}, delay)
        if way == "flap" and self.random.random() < float(query.get("p", 0.3)):
            return self._flap(call, delay)
        return Reply(self.perform(call.gid, call.step, call.op), {"step": call.step}, delay)

    def _flap(self, call, delay):
        """No good answer; what was asked may be done all the same."""
        if self.random.random() < 0.5:
            self.perform(call.gid, call.step, call.op)
        return Reply(503, delay=delay, drop=self.random.random() < 0.3)

    def control(self, line, loop):
        """A thread: answers the test's questions, each within the loop, so that nothing moves meanwhile."""
        while True:
            try:
                verb, *rest = pickle.loads(line.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            done = asyncio.run_coroutine_threadsafe(self._asked(verb, rest), loop)
            line.send_bytes(pickle.dumps(done.result()))

    async def _asked(self, verb, rest):
        if verb == "calls":
            return [tuple(c) for c in self.calls[rest[0]:]]
        if verb == "books":
            return self.books
        if verb == "open":
            return self.open
        if verb == "links":
            return len(self.links)
        if verb == "answer":
            self.scripts.pop(rest[0], None)
            if rest[1]:
                self.scripts[rest[0]] = list(rest[1])
        elif verb == "latency":
            self.delay = rest[0]
        elif verb == "down":
            self.down()
        elif verb == "up":
            await self.up()
        elif verb == "forget":
            self.calls, self.books = [], {}
        return None


class _Link(asyncio.Protocol):
    """HTTP/1.1 as far as sagad speaks it: requests with Content-Length, one after the other."""

    def __init__(self, service, loop):
        self.service, self.loop = service, loop
        self.buffer, self.transport = b"", None
        self.hung = []          # calls that will never be answered
        self.flood = (b"", 0)   # what is still to be sent: a piece, and how many bytes of it

    def connection_made(self, transport):
        self.transport = transport
        self.service.links.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, _):
        self.service.links.discard(self)
        for call in self.hung:
            self.done(call, 0)

    def resume_writing(self):
        """The caller has read some of it."""
        if self.flood[1] > 0:
            self.loop.call_soon(self.pour)

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            length = end + 4 + int(headers.get("content-length", 0))
            if len(self.buffer) < length:
                return
            body, self.buffer = self.buffer[end + 4:length], self.buffer[length:]
            self.asked(first.split(" ")[1], headers, body)

    def asked(self, target, headers, body):
        at = urlsplit(target)
        callback = urlsplit(headers.get("saga-callback", ""))
        call = [time.monotonic(), None, headers.get("saga-id"), headers.get("saga-step"), headers.get("saga-op"),
                int(headers.get("saga-epoch", 0)), int(headers.get("saga-attempt", 0)), headers.get("idempotency-key"),
                hashlib.sha256(body).hexdigest()[:16], None, f"{callback.scheme}://{callback.netloc}", target]
        self.service.calls.append(call)
        self.service.open += 1
        reply = self.service.reply(Call(*call), at.path, dict(parse_qsl(at.query)))
        if reply.delay:
            self.loop.call_later(reply.delay, self.give, call, reply)
        else:
            self.give(call, reply)

    def done(self, call, status):
        self.service.open -= 1
        call[1], call[9] = time.monotonic(), status

    def babble(self, call, reply):
        self.transport.write(reply.raw)
        if reply.hang and not self.transport.is_closing():
            self.hung.append(call)
            return
        self.done(call, 0)
        self.flood = (reply.more, FLOOD if reply.more else 0)
        self.pour()

    def pour(self):
        """As much as the caller takes now; behind the last of it nothing comes."""
        piece, left = self.flood
        while left > 0 and not self.transport.is_closing():
            if self.transport.get_write_buffer_size() > 1 << 16:
                self.flood = (piece, left)
                return
            self.transport.write(piece)
            left -= len(piece)
        self.flood = (b"", 0)
        self.transport.close()

    def give(self, call, reply):
        if reply.raw is not None:
            self.babble(call, reply)
            return
        self.done(call, 0 if reply.drop else reply.status)
        if reply.drop:
            self.transport.abort()
            return
        lines = [f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}", "Content-Type: application/json",
                 *(f"{n}: {v}" for n, v in reply.headers.items()),
                 *([] if reply.status == 204 else [f"Content-Length: {len(reply.body)}"]), "", ""]
        self.transport.write("\r\n".join(lines).encode() + (b"" if reply.status == 204 else reply.body))


async def _serve(fd, seed):
    line, loop, service = Connection(fd), asyncio.get_running_loop(), _Service(seed)
    await service.up()
    line.send(service.port)
    threading.Thread(target=service.control, args=(line, loop), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    # Reply objects are pickled by name: of this module as others import it.
    from faults import participant

    asyncio.run(participant._serve(int(sys.argv[1]), sys.argv[2]))
