# SPDX-License-Identifier: Apache-2.0
"""The packages for services, as they stand in the tree."""
import socketserver
import sys
import threading
import wsgiref.simple_server

import psycopg
import pytest

from lib.base import ROOT

sys.path.insert(0, str(ROOT / "participants/python/src"))

import sagad  # noqa: E402


class _Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def serve():
    """Serves WSGI applications; gives their URL."""
    servers = []

    def start(app):
        made = wsgiref.simple_server.make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet)
        servers.append(made)
        threading.Thread(target=made.serve_forever, daemon=True, args=(0.05,)).start()
        return f"http://127.0.0.1:{made.server_port}"

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


@pytest.fixture(scope="module")
def dsn(postgres):
    """A service's own database, with the barrier in it."""
    made = postgres.new_database()
    with psycopg.connect(made) as db:
        sagad.Barrier(db).setup()
        sagad.Barrier(db).setup()
        db.execute("CREATE TABLE effect (gid text, what text)")
    yield made
    postgres.drop_database(made)


@pytest.fixture
def sdk(cluster):
    """A client of the package, to replicas that nobody hurts."""
    made = sagad.Client([replica.url for replica in cluster.replicas])
    yield made
    made.close()
