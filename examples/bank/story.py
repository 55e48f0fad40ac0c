# SPDX-License-Identifier: Apache-2.0
"""Transfers money while banks and replicas die, and counts it."""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "participants/python/src"
sys.path.insert(0, str(PACKAGE))

import sagad  # noqa: E402

NORTH, SOUTH = {"ada": 10000, "bob": 50}, {"cleo": 0, "dan": 700}
TOTAL = sum(NORTH.values()) + sum(SOUTH.values())


class Bank:
    """A process, and somebody who starts it again whenever it dies."""

    def __init__(self, name, port, database, connect, accounts, folder):
        self.name, self.at, self.connect, self.deaths = name, f"127.0.0.1:{port}", connect, 0
        self._command = [sys.executable, HERE / "bank.py", "--listen", self.at, *database, "--accounts", json.dumps(accounts)]
        self._log = open(os.path.join(folder, name + ".log"), "ab")  # pylint: disable=consider-using-with
        self._stopping = False
        self._start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _start(self):
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log,
                                        env={**os.environ, "PYTHONPATH": str(PACKAGE)})

    def _watch(self):
        while not self._stopping:
            self.process.wait()
            if not self._stopping:
                self.deaths += 1
                self._start()

    def stop(self):
        self._stopping = True
        self.process.kill()
        self._watcher.join(10)
        self.process.wait(10)
        self._log.close()

    def ask(self, sql):
        db = self.connect()
        try:
            cursor = db.cursor()
            cursor.execute(sql)
            return [tuple(int(n) if not isinstance(n, str) else n for n in row) for row in cursor.fetchall()]
        finally:
            db.close()

    def is_up(self):
        try:
            with urllib.request.urlopen(f"http://{self.at}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True  # an answer is an answer
        except OSError:
            return False


class World:
    """urls: of the replicas; kill_replica(): pulls the plug of one."""

    def __init__(self, urls, kill_replica, north, south):
        self.client, self.url, self.kill_replica = sagad.Client(urls, timeout_s=60), urls[-1], kill_replica
        self.north, self.south = north, south
        self.checks = self.wrong = 0

    def check(self, what, got, wanted):
        self.checks += 1
        self.wrong += got != wanted
        print(f"  {'✓' if got == wanted else '✗'} {what}: {got}" + ("" if got == wanted else f", wanted {wanted}"), flush=True)

    def put(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def open(self):
        for bank in self.north, self.south:
            until(bank.is_up, f"{bank.name} to listen")
            self.put(f"/v1/participants/{bank.name}", {"base_url": f"http://{bank.at}"})
        self.client.define("transfer", json.loads((HERE / "transfer.json").read_text()))

    def transfer(self, gid, amount, to="cleo", **more):
        order = {"from": more.pop("of", "ada"), "to": to, "amount": amount, **more}
        return self.client.start("transfer", order, gid=gid, wait_s=60)

    def money(self):
        """What is in both banks, what is on its way, and what the statements of both say that was moved."""
        (north,), (south,) = (bank.ask("SELECT sum(balance), sum(held), sum(coming) FROM account") for bank in (self.north, self.south))
        moved = [bank.ask("SELECT coalesce(sum(amount), 0) FROM statement")[0][0] for bank in (self.north, self.south)]
        return {"in accounts": north[0] + south[0], "on its way": north[1] + south[1] + north[2] + south[2], "in the statements": sum(moved)}

    def balance(self, bank, name):
        return bank.ask(f"SELECT balance FROM account WHERE name = '{name}'")[0][0]


NOTHING_LOST = {"in accounts": TOTAL, "on its way": 0, "in the statements": 0}


def until(what, name, patience=60):
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {patience} s for {name}")
        time.sleep(0.02)


def head_line(text):
    print(f"\n{text}", flush=True)


def tell_of_customers(w):
    head_line("1. Ada sends 25.00 from the bank north (PostgreSQL) to Cleo at the bank south (MariaDB)")
    w.check("the transfer is", w.transfer("t-1", 2500).phase, "confirmed")
    w.check("ada, cleo", (w.balance(w.north, "ada"), w.balance(w.south, "cleo")), (7500, 2500))

    head_line("2. She was not sure, and sends it again")
    w.check("it is the same one", w.transfer("t-1", 2500).replayed, True)
    w.check("ada, cleo", (w.balance(w.north, "ada"), w.balance(w.south, "cleo")), (7500, 2500))

    head_line("3. Bob has not enough; then Ada mistypes the name: what was held is let go")
    poor = w.transfer("t-3", 51, of="bob")
    w.check("the transfer is", (poor.phase, poor.cause["step"]), ("cancelled", "from"))
    nobody = w.transfer("t-4", 100, to="clio")
    w.check("the transfer is", (nobody.phase, nobody.cause["step"]), ("cancelled", "to"))
    w.check("the money", w.money(), NOTHING_LOST)


def tell_of_plugs(w):
    for number, (bank, moment) in enumerate([(w.north, "from try before commit"), (w.north, "from try after commit"),
                                             (w.south, "to confirm before commit"), (w.south, "to confirm after commit")]):
        head_line(f"{4 + number}. The bank {bank.name} dies: {moment}, and before it has answered")
        deaths = bank.deaths
        w.check("the transfer is", w.transfer(f"plug-{number}", 100, power_off=moment).phase, "confirmed")
        w.check("the bank died", bank.deaths - deaths, 1)
        w.check("it was paid once", w.south.ask(f"SELECT amount FROM statement WHERE gid = 'plug-{number}'"), [(100,)])
    w.check("the money", w.money(), NOTHING_LOST)


def tell_of_a_bad_day(w, transfers):
    head_line(f"8. {transfers} transfers, and meanwhile a replica and both banks lose power")
    done = threading.Semaphore(0)

    def one(number):
        ended = w.transfer(f"many-{number}", 10 + number, to="dan" if number % 3 else "nobody")
        done.release()
        return ended.phase
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(one, number) for number in range(transfers)]
        for victim in w.north.process.kill, w.kill_replica, w.south.process.kill:
            for _ in range(transfers // 5):
                done.acquire()
            victim()
        phases = [future.result() for future in begun]
    w.check("confirmed, cancelled", (phases.count("confirmed"), phases.count("cancelled")), (transfers - transfers // 3, transfers // 3))
    w.check("dan", w.balance(w.south, "dan"), 700 + sum(10 + number for number in range(transfers) if number % 3))
    w.check("the money", w.money(), NOTHING_LOST)


def tell(w, transfers=60):
    """True: all came as it should."""
    try:
        w.open()
        tell_of_customers(w)
        tell_of_plugs(w)
        tell_of_a_bad_day(w, transfers)
    finally:
        w.north.stop()
        w.south.stop()
    print(f"\n{w.checks - w.wrong} of {w.checks} checks hold", flush=True)
    return w.wrong == 0
