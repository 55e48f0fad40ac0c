# SPDX-License-Identifier: Apache-2.0
"""A bank of one table on the package for Python, as a process to be killed: xa_service.py DSN HOST:PORT."""
import pathlib
import socketserver
import sys
import time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "participants/python/src"))

import sagad  # noqa: E402
from sagad import wsgi  # noqa: E402


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def main(dsn, at):
    bank = sagad.Participant(lambda: psycopg.connect(dsn))
    bank.setup(prepares=True)

    @bank.prepared("/hold", confirm="/confirm", cancel="/cancel")
    def hold(call, db):
        db.execute("INSERT INTO booked VALUES (%s)", (call.gid,))
        if b"sleep" in call.body:
            time.sleep(60)  # killed meanwhile
    host, _, port = at.rpartition(":")
    server = make_server(host, int(port), wsgi.application(bank), server_class=Server, handler_class=Quiet)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
