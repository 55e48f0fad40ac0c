# SPDX-License-Identifier: Apache-2.0
"""A participant with TCP and no manners: what it sends is bytes, when it likes, or never."""
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time

NO_LINGER = struct.pack("ii", 1, 0)


class Request:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        pairs = (line.split(": ", 1) for line in lines[1:])
        self.headers = {name.lower(): text for name, text in pairs}
        self.body = body
        self.at = time.monotonic()
        self.gid, self.step, self.op = (self.headers.get(f"saga-{what}") for what in ("id", "step", "op"))
        self.attempt = int(self.headers.get("saga-attempt", 0))
        self.key = self.headers.get("idempotency-key")

    def __repr__(self):
        return f"{self.op} {self.gid}:{self.step} attempt {self.attempt} {self.path}"


class Rude:
    """behave(link, request) is called for each request that was read; what it gives says whether the
    connection stays open for another one. With reads=False it is called once, at the accept."""

    def __init__(self, behave, tls=None, reads=True, port=0):
        self.behave, self.tls, self.reads = behave, tls, reads
        self.requests, self.accepted, self.hangups = [], 0, 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._links = set()
        self._listener = None
        self.port = port
        self.up()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    # ---- there, or not ---------------------------------------------------------

    def up(self):
        assert self._listener is None
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self):
        """Connections are refused and those there are reset, as if the process had died."""
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            reset(link)

    def close(self):
        self.over.set()
        self.down()

    # ---- the wire --------------------------------------------------------------

    def _accept(self, listener):
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        try:
            if self.tls:
                with self._lock:
                    self._links.discard(link)
                link = self.tls.wrap_socket(link, server_side=True)
                with self._lock:
                    self._links.add(link)
            if not self.reads:
                self.behave(link, None)
                return
            while (request := self._read(link)) is not None:
                if not self.behave(link, request):
                    return
        except OSError:
            self.hangups += 1  # the other side left, or there was no handshake
        finally:
            with self._lock:
                self._links.discard(link)
            with contextlib.suppress(OSError):
                link.close()

    def _read(self, link):
        got = b""
        while b"\r\n\r\n" not in got:
            more = link.recv(65536)
            if not more:
                return None
            got += more
        head, body = got.split(b"\r\n\r\n", 1)
        request = Request(head, b"")
        length = int(request.headers.get("content-length", 0))
        while len(body) < length:
            more = link.recv(65536)
            if not more:
                return None
            body += more
        request.body = body
        with self._lock:
            self.requests.append(request)
        return request

    def seen(self, gid=None, op=None):
        with self._lock:
            return [r for r in self.requests if gid in (None, r.gid) and op in (None, r.op)]


def reset(link):
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    with contextlib.suppress(OSError):
        link.close()


def answer(link, status=200, body=b"{}", more=b""):
    """A proper answer; the connection stays."""
    link.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"
                 % (status, len(body), more, body))
    return True


def says(text):
    """Sends that, and closes."""
    def behave(link, _):
        link.sendall(text)
        return False
    return behave


def for_ever(text, head=b""):
    """Sends that until the other side has enough."""
    def behave(link, _):
        link.sendall(head)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            link.sendall(text)
        return False
    return behave


def certificate(folder, name):
    """A server's TLS context with a certificate that nobody has reason to trust."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
