# SPDX-License-Identifier: Apache-2.0
"""A bank that takes part in transfers. The same code runs on PostgreSQL and on MariaDB.

    bank.py --listen 127.0.0.1:8091 --postgresql DSN
    bank.py --listen 127.0.0.1:8092 --mariadb SOCKET DATABASE
"""
import argparse
import io
import json
import os
import socketserver
import wsgiref.simple_server

import sagad
from sagad import wsgi

TABLES = (
    """CREATE TABLE IF NOT EXISTS account (
        name varchar(64) PRIMARY KEY,
        balance bigint NOT NULL CHECK (balance >= 0),
        held bigint NOT NULL CHECK (held >= 0),     -- out of the balance, on its way
        coming bigint NOT NULL CHECK (coming >= 0)  -- promised by another bank
    )""",
    "CREATE TABLE IF NOT EXISTS statement (gid varchar(128), account varchar(64) NOT NULL, amount bigint NOT NULL)",
)


def execute(db, sql, values=None):
    cursor = db.cursor()
    cursor.execute(sql, values)
    return cursor


def changes(db, sql, order):
    """Does it change the one row that it is about?"""
    return execute(db, sql, order).rowcount == 1


def read(call):
    order = call.json()
    if not isinstance(order.get("amount"), int) or order["amount"] <= 0:
        raise sagad.Refused("an amount is a whole number of cents, and more than none")
    return {**order, "gid": call.gid}


def make_bank(connect):
    bank = sagad.Participant(connect)
    bank.setup()

    @bank.on("/outgoing")
    def hold(call, db):
        order = read(call)
        power_may_fail(call, "before commit")
        if not changes(db, "UPDATE account SET balance = balance - %(amount)s, held = held + %(amount)s"
                           " WHERE name = %(account)s AND balance >= %(amount)s", order):
            raise sagad.Refused("there is no such account, or not enough money in it")

    @bank.on("/outgoing", "confirm")
    def pay(call, db):
        order = read(call)
        execute(db, "UPDATE account SET held = held - %(amount)s WHERE name = %(account)s", order)
        execute(db, "INSERT INTO statement VALUES (%(gid)s, %(account)s, -%(amount)s)", order)

    @bank.on("/outgoing", "cancel")
    def let_go(call, db):
        execute(db, "UPDATE account SET balance = balance + %(amount)s, held = held - %(amount)s WHERE name = %(account)s", read(call))

    @bank.on("/incoming")
    def expect(call, db):
        if not changes(db, "UPDATE account SET coming = coming + %(amount)s WHERE name = %(account)s", read(call)):
            raise sagad.Refused("there is no such account")

    @bank.on("/incoming", "confirm")
    def receive(call, db):
        order = read(call)
        power_may_fail(call, "before commit")
        execute(db, "UPDATE account SET balance = balance + %(amount)s, coming = coming - %(amount)s WHERE name = %(account)s", order)
        execute(db, "INSERT INTO statement VALUES (%(gid)s, %(account)s, %(amount)s)", order)

    @bank.on("/incoming", "cancel")
    def forget(call, db):
        execute(db, "UPDATE account SET coming = coming - %(amount)s WHERE name = %(account)s", read(call))

    return bank


# ---- what a bank does not have: a switch that turns it off at a given moment of the first attempt -----------


def power_may_fail(call, moment):
    """power_off: as in "from try before commit"."""
    if call.attempt == 1 and (call.json() or {}).get("power_off") == f"{call.step} {call.op} {moment}":
        os._exit(1)  # as if the plug was pulled: nothing is flushed, closed or answered


def with_switch(application):
    def serve(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        answer = application(environ, start_response)
        sent = {name[5:].replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_SAGA_")}
        if sent:
            power_may_fail(sagad.Call.parse(sent, body), "after commit")
        return answer
    return serve


# ---- the process ----------------------------------------------------------------------------------------------


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def connector(given):
    if given.postgresql:
        import psycopg
        return lambda: psycopg.connect(given.postgresql)
    import pymysql
    socket, database = given.mariadb
    return lambda: pymysql.connect(unix_socket=socket, user="root", database=database)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--listen", required=True)
    options.add_argument("--postgresql", metavar="DSN")
    options.add_argument("--mariadb", nargs=2, metavar=("SOCKET", "DATABASE"))
    options.add_argument("--accounts", type=json.loads, default={}, help='as in {"ada": 1000}, where they are not there')
    given = options.parse_args()
    connect = connector(given)
    bank = make_bank(connect)
    db = connect()
    for table in TABLES:
        execute(db, table)
    for name, balance in given.accounts.items():
        execute(db, "INSERT INTO account SELECT %s, %s, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM account WHERE name = %s)", (name, balance, name))
    db.commit()
    db.close()
    host, port = given.listen.rsplit(":", 1)
    application = with_switch(wsgi.application(bank))
    wsgiref.simple_server.make_server(host, int(port), application, server_class=Server, handler_class=Quiet).serve_forever()


if __name__ == "__main__":
    main()
