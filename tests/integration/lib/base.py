# SPDX-License-Identifier: Apache-2.0
"""Places, ports and patience."""
import itertools
import os
import pathlib
import socket
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("SAGAD_BIN", ROOT / "build/plain"))
ASAN_BIN = pathlib.Path(os.environ.get("SAGAD_ASAN_BIN", ROOT / "build/asan"))

# Below the kernel's own range for outgoing connections, and a range per worker.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_base = int(os.environ.get("SAGAD_TEST_PORTS", "20000")) + 500 * _worker
_ports = itertools.cycle(range(_base, _base + 500))
_claims = {}


def _is_ours(port):
    """A name per hundred ports, ours until this process ends: ranges of two runs may overlap (ten workers are 5,000 ports wide), and
    what is free while we look may be another's before our service listens."""
    hundred = port // 100
    if hundred not in _claims:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sagad-tests-ports-{hundred}")
        except OSError:
            claim.close()
            return False
        _claims[hundred] = claim
    return True


def free_port():
    for port in filter(_is_ours, itertools.islice(_ports, 500)):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def until(what, timeout=10.0, every=0.02):
    """Calls what() until it gives something true, and returns that."""
    end = time.monotonic() + timeout
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(every)
