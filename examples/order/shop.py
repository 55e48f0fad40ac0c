# SPDX-License-Identifier: Apache-2.0
"""The order service: POST /orders takes an order, and what follows begins with its own commit.

    shop.py --listen 127.0.0.1:8090 --dsn DSN                     # in the database of sagad's log
    shop.py --listen 127.0.0.1:8090 --dsn DSN --sagad URL[,URL]   # in another one: by message
"""
import argparse
import http.server
import json
import os

import psycopg

import sagad

TABLES = """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.orders (
	id text PRIMARY KEY, customer text NOT NULL, article text NOT NULL, pieces int NOT NULL CHECK (pieces > 0),
	total int NOT NULL, state text NOT NULL DEFAULT 'taken')"""


def order_of(db, order_id):
    """As the customer sees it; None: there is no such order."""
    row = db.execute("SELECT id, article, pieces, state FROM shop.orders WHERE id = %s", (order_id,)).fetchone()
    return row and dict(zip(("id", "article", "pieces", "state"), row))


def insert(db, order):
    db.execute("INSERT INTO shop.orders (id, customer, article, pieces, total) VALUES (%s, %s, %s, %s, %s)",
               [order[name] for name in ("id", "customer", "article", "pieces", "total")])


class InCommit:
    """The shop's tables are in the database that holds sagad's log: one commit for the order and for what follows."""

    def __init__(self, dsn):
        self.dsn = dsn

    def take(self, order, here):
        with psycopg.connect(self.dsn) as db:  # commits at its end, unless an exception leaves it
            if order_of(db, order["id"]) is None:
                insert(db, order)
                here("before commit")
                db.execute("SELECT sagad.start('order', %s::jsonb, gid => %s)", (json.dumps(order), order["id"]))
        here("after commit")


class ByMessage:
    """The shop has a database of its own: the message is prepared first, and its fate is that of the shop's commit."""

    def __init__(self, dsn, urls):
        self.dsn, self.sagad = dsn, sagad.Client(urls)

    def take(self, order, here):
        prepared = self.sagad.start("order-placed", order, gid="placed-" + order["id"])
        here("before commit")
        with psycopg.connect(self.dsn) as db:
            if db.execute("SELECT sagad_message(%s, %s)", (prepared.gid, prepared.data["deadline_at"])).fetchone()[0]:
                insert(db, order)
        here("after commit")
        self.sagad.confirm(prepared.gid)  # only sooner: without it sagad asks /saga/check at the deadline

    def check(self, call):
        with psycopg.connect(self.dsn) as db:
            return db.execute("SELECT status, body FROM sagad_message_check(%s, %s)", (call["Saga-Id"], call["Saga-Deadline"])).fetchone()


def participant(dsn):
    """What the saga calls of the shop itself."""
    shop = sagad.Participant(lambda: psycopg.connect(dsn))
    shop.setup()

    def set_state(state):
        def work(call, db):
            db.execute("UPDATE shop.orders SET state = %s WHERE id = %s", (state, call.json()["id"]))
        return work

    shop.on("/saga/orders/check")(set_state("being checked"))
    shop.on("/saga/orders/reject", "cancel")(set_state("rejected"))
    shop.on("/saga/orders/ship")(set_state("shipped"))
    return shop


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def here(self, where):
        """The power goes off exactly here, if the story wants it to."""
        if self.headers.get("Power-Off") == where:
            os._exit(1)

    def take_order(self, order):
        try:
            self.server.way.take(order, self.here)
        except psycopg.Error as why:  # SG…: what sagad.start() and sagad_message() refuse
            self.answer(409 if (why.sqlstate or "").startswith("SG") else 503, json.dumps({"error": str(why)}).encode())
            return
        with psycopg.connect(self.server.way.dsn) as db:
            self.answer(200, json.dumps(order_of(db, order["id"])).encode())

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/orders":
            self.take_order(json.loads(body))
        elif self.path == "/saga/check":
            status, text = self.server.way.check(self.headers)
            self.answer(status, text.encode())
        else:
            status, headers, text = self.server.shop.serve(self.path, self.headers, body)
            self.answer(status, text)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--listen", required=True)
    options.add_argument("--dsn", required=True)
    options.add_argument("--sagad")
    given = options.parse_args()
    with psycopg.connect(given.dsn) as db:
        db.execute(TABLES)
    host, port = given.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    server.way = ByMessage(given.dsn, given.sagad.split(",")) if given.sagad else InCommit(given.dsn)
    server.shop = participant(given.dsn)
    server.serve_forever()


if __name__ == "__main__":
    main()
