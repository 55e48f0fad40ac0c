# SPDX-License-Identifier: Apache-2.0
"""Participants in a process of their own that answer 200 at once, for load that a thread of the test could not
take. `python quick.py COUNT` prints that many ports; GET /calls tells how many calls each has had."""
import asyncio
import collections
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import threading

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Conversation(asyncio.Protocol):
    def __init__(self, place, calls):
        self.place, self.calls, self.rest, self.out = place, calls, b"", None

    def connection_made(self, transport):
        self.out = transport

    def data_received(self, data):
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            head = self.rest[:end].lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16:].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.rest) < end + 4 + length:
                return
            self.rest = self.rest[end + 4 + length:]
            if head.startswith(b"get /calls"):
                body = json.dumps(self.calls).encode()
                self.out.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            else:
                self.calls[self.place] += 1
                self.out.write(OK)


async def serve(count):
    calls = collections.Counter()
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda i=i: Conversation(i, calls), "127.0.0.1", 0, backlog=1024)
               for i in range(count)]
    print(*(s.sockets[0].getsockname()[1] for s in servers), flush=True)
    await asyncio.Event().wait()


class Quick:
    """The other side of it: starts the process."""

    def __init__(self, count):
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__), str(count)], stdout=subprocess.PIPE, text=True)
        self.ports = [int(p) for p in self.process.stdout.readline().split()]
        self.urls = [f"http://127.0.0.1:{p}" for p in self.ports]

    def calls(self):
        link = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=10)
        try:
            link.request("GET", "/calls")
            return {int(place): n for place, n in json.loads(link.getresponse().read()).items()}
        finally:
            link.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def flood(at, bodies, connections=8):
    """Begins a transaction per body, pipelined; all must be accepted. Few system calls, little Python."""
    host, port = at.rsplit(":", 1)
    texts = [json.dumps(body).encode() for body in bodies]
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    links = [socket.create_connection((host, int(port)), timeout=30) for _ in range(connections)]
    try:
        for i, link in enumerate(links):
            threading.Thread(  # who only sends may wait for who does not yet read
                target=link.sendall, args=(b"".join(head % (len(t), t) for t in texts[i::connections]),), daemon=True).start()
        for i, link in enumerate(links):
            wanted, got = len(texts[i::connections]), b""
            while got.count(b"HTTP/1.1 201 ") < wanted:
                more = link.recv(1 << 20)
                assert more and b"HTTP/1.1 4" not in more and b"HTTP/1.1 5" not in more, got[-2000:] + more
                got += more
    finally:
        for link in links:
            link.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
