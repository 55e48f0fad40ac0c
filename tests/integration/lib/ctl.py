# SPDX-License-Identifier: Apache-2.0
"""sagactl as a person, or a script, runs it."""
import json
import os
import subprocess

from .base import BIN

PROGRAM = str(BIN / "sagactl/sagactl")
# What a shell may have set must not speak for the test.
_OURS = {name: value for name, value in os.environ.items() if not name.startswith("SAGAD_") and name != "NO_COLOR"}


class Done:
    def __init__(self, words, raw):
        self.words, self.status = words, raw.returncode
        self.out, self.err = raw.stdout.decode(), raw.stderr.decode()

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"<sagactl {' '.join(self.words)} → {self.status}\n{self.out}{self.err}>"


class Ctl:
    """urls: a callable, as replicas come and go."""

    def __init__(self, urls, env=None):
        self.urls, self.env = urls, env or {}

    def __call__(self, *words, stdin="", status=0, cwd=None):
        """Asserts the exit status; None: any."""
        words = [str(w) for w in words]
        raw = subprocess.run([PROGRAM, *words], input=stdin.encode(), capture_output=True, timeout=120, check=False, cwd=cwd,
                             env={**_OURS, "SAGAD_URL": ",".join(self.urls()), "SAGAD_ACTOR": "pytest", **self.env})
        done = Done(words, raw)
        assert status is None or done.status == status, done
        return done
