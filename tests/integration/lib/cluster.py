# SPDX-License-Identifier: Apache-2.0
"""Replicas as real processes."""
import json
import os
import signal
import subprocess
import tempfile
import time

from .base import ASAN_BIN, BIN, free_port, until
from .client import Client

SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Replica:
    def __init__(self, dsn, folder, flags=(), sanitized=False, wrapper=(), env=None):
        self.env = env or {}
        self.port = free_port()
        self.at = f"127.0.0.1:{self.port}"
        self.ops_at = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.at}"
        self.log_path = os.path.join(folder, f"replica-{self.port}.log")
        self.program = str((ASAN_BIN if sanitized else BIN) / "sagad")
        self.command = [
            *wrapper, self.program, f"--dsn={dsn}", f"--listen={self.at}", f"--ops-listen={self.ops_at}",
            f"--advertise={self.url}", "--log.level=debug", *flags,
        ]
        self.process = None
        self.killed = False  # by the test, on purpose

    def start(self):
        self.killed = False
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **SANITIZER, **self.env})
        return self

    def ready(self, timeout=30.0):
        def is_ready():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log()[-3000:]}"
            try:
                return Client(lambda: [self.ops_at]).get("/readyz", timeout=5).status == 200
            except OSError:
                return False

        until(is_ready, timeout)
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def events(self, name):
        """The attributes of its log lines of that event."""
        found = []
        for line in self.log().splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("EventName") == name:
                    found.append(entry)
        return found

    def ops(self, path):
        return Client(lambda: [self.ops_at]).get(path)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and the time of it."""
        self.killed = True
        self.process.kill()
        at = time.monotonic()
        self.process.wait()
        return at

    def terminate(self, timeout=30):
        """SIGTERM; its exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def stop(self):
        """The end of a test: it must leave in order, and a sanitizer must have found nothing."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within 30 s of SIGTERM: {self.log()[-3000:]}") from None
        assert self.process.returncode == 0, f"exit {self.process.returncode}: {self.log()[-4000:]}"
        assert "Sanitizer" not in self.log(), self.log()[-4000:]


class Cluster:
    """count replicas on one database. dsn_of: the DSN of replica number n, when each has its own way to it;
    env_of: what is special in its environment; wrapper: of each."""

    def __init__(self, dsn, count=3, flags=(), sanitized=False, ttl="2s", dsn_of=None, env_of=None, wrapper=()):
        self.dsn, self.wrapper = dsn, wrapper
        self.dsn_of = dsn_of or (lambda number: dsn)
        self.env_of = env_of or (lambda number: {})
        self.folder = tempfile.mkdtemp(prefix="sagad-test-")
        self.flags = [f"--lease.ttl={ttl}", f"--callback-key-file={self._key()}", "--drain.grace=5s", *flags]
        self.sanitized = sanitized
        self.replicas, self.made = [], 0
        self.client = Client(lambda: [r.at for r in self.replicas])
        subprocess.run([str(BIN / "sagad"), "migrate", f"--dsn={dsn}"], check=True, timeout=60)
        try:
            for _ in range(count):
                self.add(ready=False)
            for r in self.replicas:
                r.ready()
        except BaseException:  # an interrupt, too: nobody has us yet who could stop them
            self.kill()
            raise

    def kill(self):
        """Of all that run; nothing is learnt from how they end."""
        for r in self.replicas:
            if r.process and r.process.poll() is None:
                r.kill()

    def _key(self):
        path = os.path.join(self.folder, "callback.key")
        with open(path, "w", encoding="ascii") as key:
            key.write("the key of this test cluster, long enough\n")
        return path

    def add(self, ready=True, flags=()):
        number, self.made = self.made, self.made + 1
        r = Replica(self.dsn_of(number), self.folder, [*self.flags, *flags], self.sanitized, self.wrapper,
                    self.env_of(number))
        r.number = number
        self.replicas.append(r)
        r.start()
        return r.ready() if ready else r

    def remove(self, replica):
        """From now on no request is sent to it."""
        self.replicas.remove(replica)

    def stop(self):
        for r in self.replicas:  # all at once: draining takes a moment
            if r.process.poll() is None:
                r.process.send_signal(signal.SIGCONT)
                r.process.terminate()
        failed = None
        for r in self.replicas:
            if r.killed:
                continue
            ended_before = r.process.poll() not in (None, 0)
            try:
                r.process.wait(30)
                assert r.process.returncode == 0, (
                    f"exit {r.process.returncode} (before the end: {ended_before}): {r.log()[-4000:]}")
                assert "Sanitizer" not in r.log(), r.log()[-4000:]
            except (AssertionError, subprocess.TimeoutExpired) as e:
                failed = e
                r.process.kill()
                r.process.wait()
        if failed:
            raise failed
