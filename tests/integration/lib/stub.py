# SPDX-License-Identifier: Apache-2.0
"""A participant whose answers a test writes, and which remembers what it was asked."""
import http.server
import json
import socketserver
import threading
import time


class Call:
    def __init__(self, handler, body):
        self.at = time.monotonic()
        self.method, self.path, self.headers, self.body = (
            handler.command, handler.path, handler.headers, body)
        self.gid, self.step, self.op = (
            handler.headers.get(name) for name in ("Saga-Id", "Saga-Step", "Saga-Op"))

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.op} {self.step} {self.method} {self.path}"


class Reply:
    """status, body (JSON unless bytes or str), headers, delay in seconds. hold: an Event to wait for."""

    def __init__(self, status=200, body=None, delay=0, hold=None, **headers):
        self.status, self.delay, self.hold = status, delay, hold
        self.body = body if isinstance(body, bytes) else (
            body.encode() if isinstance(body, str) else json.dumps(body or {}).encode())
        self.headers = {name.replace("_", "-"): str(text) for name, text in headers.items()}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.stub.answer(Call(self, body))
        if reply.hold:
            reply.hold.wait(30)
        time.sleep(reply.delay)
        try:
            self.send_response(reply.status)
            for name, text in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(0 if reply.status == 204 else len(reply.body)))
            self.end_headers()
            if reply.status != 204:
                self.wfile.write(reply.body)
        except OSError:
            self.close_connection = True  # the caller had gone

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


class Stub:
    def __init__(self):
        self._lock = threading.Lock()
        self._scripts = {}
        self.calls = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, daemon=True, args=(0.05,)).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def on(self, path, *replies):
        """Answers of this path, in order; the last one for ever. A function is asked with the Call."""
        with self._lock:
            self._scripts[path] = list(replies)
        return self.url + path

    def answer(self, call):
        with self._lock:
            self.calls.append(call)
            script = self._scripts.get(call.path.split("?")[0]) or [Reply(200)]
            reply = script.pop(0) if len(script) > 1 else script[0]
        return reply(call) if callable(reply) else reply

    def seen(self, path=None, gid=None, op=None):
        with self._lock:
            return [c for c in self.calls if (not path or c.path.split("?")[0] == path)
                    and (not gid or c.gid == gid) and (not op or c.op == op)]
