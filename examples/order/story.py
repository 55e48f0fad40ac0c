# SPDX-License-Identifier: Apache-2.0
"""Takes orders while the power goes off at every bad moment, and looks in the tables what came of them."""
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time

import psycopg

HERE = pathlib.Path(__file__).parent
ORDER = {"customer": "ann", "article": "lamp", "pieces": 2, "total": 40}


class World:
    """api: addresses of the replicas; kill(i): pulls the plug of that one; ports: three free ones; then three databases."""

    def __init__(self, api, kill, ports, log_dsn, shop_dsn, services_dsn, folder):
        self.api, self.kill, self.folder, self.processes, self.checks, self.wrong = list(api), kill, folder, {}, 0, 0
        self.shop, self.other_shop, self.services = (f"127.0.0.1:{port}" for port in ports)
        self.dsn = {"shop": log_dsn, "other-shop": shop_dsn, "services": services_dsn}
        self.commands = {
            "shop": ["shop.py", "--listen", self.shop, "--dsn", log_dsn],
            "other-shop": ["shop.py", "--listen", self.other_shop, "--dsn", shop_dsn, "--sagad", ",".join(f"http://{a}" for a in self.api)],
            "services": ["services.py", "--listen", self.services, "--dsn", services_dsn],
        }

    def start(self, name):
        at = self.commands[name][2]
        with open(os.path.join(self.folder, name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, HERE / self.commands[name][0], *self.commands[name][1:]], stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(HERE.parents[1] / "participants/python/src")})
        self.until(lambda: self.send(at, "POST", "/", {}) is not None, f"{name} to listen")

    def power_off(self, name):
        self.processes[name].kill()
        self.processes[name].wait(10)

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(10)

    def register(self):
        for name, at in ("shop", self.shop), ("other-shop", self.other_shop), ("services", self.services):
            status, answer = self.ask_sagad("PUT", f"/v1/participants/{name}", {"base_url": f"http://{at}"})
            assert status in (200, 201), answer
        for name in "order", "order-placed":
            status, answer = self.ask_sagad("PUT", f"/v1/definitions/{name}", json.loads((HERE / f"{name}.json").read_text()))
            assert status in (200, 201), answer

    @staticmethod
    def send(at, method, path, body=None, **headers):
        """Status and JSON; None: nobody answered."""
        link = http.client.HTTPConnection(at, timeout=30)
        try:
            link.request(method, path, json.dumps(body) if body is not None else None,
                         {"Content-Type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}})
            answer = link.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            link.close()

    def ask_sagad(self, method, path, body=None):
        """Any replica that answers."""
        return self.until(lambda: next((got for got in (self.send(at, method, path, body) for at in self.api) if got), None), "sagad to answer")

    @staticmethod
    def until(what, name, patience=30):
        end = time.monotonic() + patience
        while not (got := what()):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {patience} s for {name}")
            time.sleep(0.02)
        return got

    def ended(self, gid):
        answer = self.ask_sagad("GET", f"/v1/transactions/{gid}?wait=20s")
        return answer[1].get("phase") if answer[0] == 200 else "unknown"

    def owner_of_what_waits(self, gid, step):
        """Who drives that transaction, once that step was called in vain."""
        _, told = self.ask_sagad("GET", f"/v1/transactions/{gid}")
        tried = any(known["name"] == step and known["attempts"] for known in told.get("steps", ()))
        return tried and told["owner"]

    def ask(self, name, sql):
        with psycopg.connect(self.dsn[name], autocommit=True) as db:
            return db.execute(sql).fetchone()[0]

    def check(self, what, got, wanted):
        self.checks += 1
        self.wrong += got != wanted
        print(f"  {'✓' if got == wanted else '✗'} {what}: {got}" + ("" if got == wanted else f", wanted {wanted}"), flush=True)


def head_line(text):
    print(f"\n{text}", flush=True)


def order(order_id, **more):
    return {"id": order_id, **ORDER, **more}


def tell_in_commit(w):
    """The shop's tables are in the database of the log."""
    stock = "SELECT pieces FROM stock WHERE article = 'lamp'"

    head_line("1. An order is taken: the saga begins with its commit")
    w.check("the shop says", w.send(w.shop, "POST", "/orders", order("o-1"))[0], 200)
    w.check("the saga is", w.ended("o-1"), "confirmed")
    w.check("the order is", w.ask("shop", "SELECT state FROM shop.orders WHERE id = 'o-1'"), "shipped")
    w.check("lamps in stock", w.ask("services", stock), 98)

    head_line("2. The power goes off before the commit: no order, and no saga of it")
    w.check("the shop says", w.send(w.shop, "POST", "/orders", order("o-2"), Power_Off="before commit"), None)
    w.start("shop")
    w.check("orders", w.ask("shop", "SELECT count(*) FROM shop.orders WHERE id = 'o-2'"), 0)
    w.check("GET /v1/transactions/o-2", w.ask_sagad("GET", "/v1/transactions/o-2")[0], 404)

    head_line("3. The power goes off after the commit, before the customer is answered: the saga runs all the same")
    w.check("the shop says", w.send(w.shop, "POST", "/orders", order("o-3"), Power_Off="after commit"), None)
    w.check("the saga meanwhile", w.ask_sagad("GET", "/v1/transactions/o-3")[0], 200)
    w.start("shop")
    w.check("he sends it again", w.send(w.shop, "POST", "/orders", order("o-3"))[0], 200)
    w.check("the saga is", w.ended("o-3"), "confirmed")
    w.check("lamps in stock", w.ask("services", stock), 96)
    w.check("mails about it", w.ask("services", "SELECT count(*) FROM mail WHERE about = 'o-3'"), 1)

    head_line("4. Bob has not enough money: the lamps go back, the order is rejected")
    w.check("the shop says", w.send(w.shop, "POST", "/orders", order("o-4", customer="bob"))[0], 200)
    w.check("the saga is", w.ended("o-4"), "cancelled")
    w.check("the order is", w.ask("shop", "SELECT state FROM shop.orders WHERE id = 'o-4'"), "rejected")
    w.check("lamps in stock", w.ask("services", stock), 96)


def tell_by_message(w):
    """The shop has a database of its own, where the coordinator cannot look."""
    orders = "SELECT count(*) FROM shop.orders WHERE id = '%s'"
    mails = "SELECT count(*) FROM mail WHERE about = '%s'"

    head_line("5. Another database: the message is prepared, the order committed, the message confirmed")
    w.check("the shop says", w.send(w.other_shop, "POST", "/orders", order("m-1"))[0], 200)
    w.check("the message is", w.ended("placed-m-1"), "confirmed")

    head_line("6. The power goes off before the commit: sagad asks, and hears that it never happened")
    w.check("the shop says", w.send(w.other_shop, "POST", "/orders", order("m-2"), Power_Off="before commit"), None)
    w.start("other-shop")
    head_line("7. The power goes off after the commit, before the confirm: sagad asks, and hears that it did")
    w.check("the shop says", w.send(w.other_shop, "POST", "/orders", order("m-3"), Power_Off="after commit"), None)
    w.start("other-shop")
    w.check("the message of 6 is", w.ended("placed-m-2"), "cancelled")
    w.check("the message of 7 is", w.ended("placed-m-3"), "confirmed")
    for order_id, wanted in ("m-1", 1), ("m-2", 0), ("m-3", 1):
        w.check(f"orders {order_id}, and mails about it", (w.ask("other-shop", orders % order_id), w.ask("services", mails % order_id)),
                (wanted, wanted))

    head_line("8. The customer sends order m-2 again, long after that answer was given: it cannot be taken under the same name")
    w.check("the shop says", w.send(w.other_shop, "POST", "/orders", order("m-2"))[0], 409)
    w.check("orders m-2", w.ask("other-shop", orders % "m-2"), 0)


def tell_of_replicas(w):
    head_line("9. The services are down, orders wait in the midst of their sagas, and a replica loses power: the other one goes on with all of them")
    w.power_off("services")
    late, owners = [], set()
    while len(owners) < 2 and len(late) < 40:  # so that whichever of the two it is leaves something behind
        late.append(f"late-{len(late)}")
        assert w.send(w.shop, "POST", "/orders", order(late[-1]))[0] == 200
        owners.add(w.until(lambda: w.owner_of_what_waits(late[-1], "stock"), "the saga to wait for the warehouse"))
    w.check("replicas that have some of them", len(owners), 2)
    w.kill(0)
    w.start("services")
    w.check("the sagas are", {w.ended(gid) for gid in late}, {"confirmed"})
    lamps = 96 - 2 * len(late)
    w.check("lamps in stock", w.ask("services", "SELECT pieces FROM stock WHERE article = 'lamp'"), lamps)
    w.check("orders shipped", w.ask("shop", "SELECT count(*) FROM shop.orders WHERE id LIKE 'late-%' AND state = 'shipped'"), len(late))
    w.check("mails about them", w.ask("services", "SELECT count(*) FROM mail WHERE about LIKE 'late-%'"), len(late))


def tell(w):
    """True: all came as it should."""
    try:
        for name in w.commands:
            w.start(name)
        w.register()
        tell_in_commit(w)
        tell_by_message(w)
        tell_of_replicas(w)
    finally:
        w.stop()
    print(f"\n{w.checks - w.wrong} of {w.checks} checks hold", flush=True)
    return w.wrong == 0
