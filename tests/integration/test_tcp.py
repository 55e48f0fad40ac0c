# SPDX-License-Identifier: Apache-2.0
"""Sessions over TCP: whoever is gone without a word is given up by the other side, within seconds."""
import psycopg
import pytest

from lib.base import free_port, until
from lib.postgres import Postgres, value

ESTABLISHED, KEEPALIVE = 1, 2
HZ = 100  # in which /proc tells times, whatever the kernel's own


@pytest.fixture(scope="module")
def over_tcp(worker):
    """A server that listens on a port: the DSN of one of its databases, and the port."""
    port = free_port()
    server = Postgres(f"{worker}-tcp")
    try:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as db:
            db.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
            db.execute(f"ALTER SYSTEM SET port = {port}")
            for mode in ("lock", "row"):
                db.execute(f"CREATE DATABASE sagad_{mode}")
        server.stop()
        server.start()
        yield lambda database: f"host=127.0.0.1 port={port} user=sagad dbname={database}", port
    finally:
        server.close()


def sockets(port):
    """(is it the server's end, the kind of timer that runs, seconds until it fires) of each connection."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in list(f)[1:]:
            _, local, remote, state, _, timer, *_ = line.split()
            ports = [int(at.split(":")[1], 16) for at in (local, remote)]
            if port in ports and int(state, 16) == ESTABLISHED:
                kind, left = (int(part, 16) for part in timer.split(":"))
                yield ports[0] == port, kind, left / HZ


@pytest.mark.needs_server_control
@pytest.mark.parametrize("mode", ["lock", "row"])
def test_both_ends_of_every_session_ask_whether_the_other_is_there(over_tcp, make_cluster, mode):
    dsn, port = over_tcp[0](f"sagad_{mode}"), over_tcp[1]
    cluster = make_cluster(dsn=dsn, count=2, flags=[f"--lease.mode={mode}"])
    # Log, work, store and lease of each, and in mode lock the watch of the other's.
    number = 10 if mode == "lock" else 8
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sagad%%' AND client_port > 0"
    until(lambda: value(dsn, sessions) >= number, 15)

    def all_are_asked():
        seen = [(is_server, left) for is_server, kind, left in sockets(port) if kind == KEEPALIVE]
        return sum(s for s, _ in seen) >= number and sum(not s for s, _ in seen) >= number and max(left for _, left in seen) <= 10

    until(all_are_asked, 15, 0.02)
    assert {r["lease"] for r in cluster.client.get("/v1/replicas").json["items"] if r["state"] == "live"} == {mode}
