# SPDX-License-Identifier: Apache-2.0
"""Warehouse, bank and mail room: what an order sets going. Each call has its effect once, by the barrier."""
import argparse
import http.server

import psycopg

import sagad

TABLES = """
CREATE TABLE IF NOT EXISTS stock (article text PRIMARY KEY, pieces int NOT NULL CHECK (pieces >= 0));
CREATE TABLE IF NOT EXISTS account (customer text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
CREATE TABLE IF NOT EXISTS mail (id bigint GENERATED ALWAYS AS IDENTITY, customer text NOT NULL, about text NOT NULL);
INSERT INTO stock VALUES ('lamp', 100) ON CONFLICT DO NOTHING;
INSERT INTO account VALUES ('ann', 10000), ('bob', 5) ON CONFLICT DO NOTHING"""


def make(dsn):
    services = sagad.Participant(lambda: psycopg.connect(dsn))
    services.setup()

    @services.on("/reservations")
    def reserve(call, db):
        order = call.json()
        done = db.execute("UPDATE stock SET pieces = pieces - %(pieces)s WHERE article = %(article)s AND pieces >= %(pieces)s", order)
        if done.rowcount == 0:
            raise sagad.Refused("sold out")

    @services.on("/reservations/undo", "cancel")
    def put_back(call, db):
        db.execute("UPDATE stock SET pieces = pieces + %(pieces)s WHERE article = %(article)s", call.json())

    @services.on("/charges")
    def charge(call, db):
        done = db.execute("UPDATE account SET balance = balance - %(total)s WHERE customer = %(customer)s AND balance >= %(total)s",
                          call.json())
        if done.rowcount == 0:
            raise sagad.Refused("not enough money")

    @services.on("/mails")
    def send(call, db):
        order = call.json()
        db.execute("INSERT INTO mail (customer, about) VALUES (%s, %s)", (order["customer"], order["id"]))

    return services


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, body = self.server.services.serve(self.path, self.headers, body)
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--listen", required=True)
    options.add_argument("--dsn", required=True)
    given = options.parse_args()
    with psycopg.connect(given.dsn) as db:
        db.execute(TABLES)
    host, port = given.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    server.services = make(given.dsn)
    server.serve_forever()


if __name__ == "__main__":
    main()
