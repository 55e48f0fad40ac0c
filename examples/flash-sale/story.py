# SPDX-License-Identifier: Apache-2.0
"""A flash sale while services, replicas and the shop itself are killed, and the books afterwards."""
import json
import subprocess
import threading
import time
import urllib.request

PRICE = 30


class Service:
    """A holds process, and somebody who starts it again whenever it dies."""

    def __init__(self, program, name, port, dsn, folder):
        self.url, self.deaths, self._stopping = f"http://127.0.0.1:{port}", 0, False
        self._command = [program, f"127.0.0.1:{port}", dsn, name]
        self._log = open(f"{folder}/{name}.log", "ab")  # pylint: disable=consider-using-with
        self._start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _start(self):
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def _watch(self):
        while True:
            self.process.wait()
            if self._stopping:
                return
            self.deaths += 1
            self._start()

    def wait(self):
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(self.url + "/livez", timeout=5):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def stop(self):
        self._stopping = True
        self.process.kill()
        self._watcher.join(30)
        self._log.close()


class World:
    """urls: of the replicas; sql: runs a statement where the services keep their tables and gives its rows."""

    def __init__(self, programs, urls, kill_replica, warehouse, cashier, sql):
        self.buyers, self.urls, self.kill_replica = f"{programs}/buyers", urls, kill_replica
        self.warehouse, self.cashier, self.sql = warehouse, cashier, sql
        self.checks = self.wrong = 0

    def check(self, what, got, wanted):
        self.checks += 1
        self.wrong += got != wanted
        print(f"  ✓ {what}: {got}" if got == wanted else f"  ✗ {what}: {got}, wanted {wanted}", flush=True)

    def wares(self, product, pieces):
        self.sql("INSERT INTO warehouse.stock (name, amount) VALUES (%s, %s)", product, pieces)

    def wallets(self, first, last, money):
        self.sql("INSERT INTO cashier.stock (name, amount) SELECT 'buyer-' || n, %s FROM generate_series(%s::int, %s::int) n", money, first, last)

    def rush(self, sale, product, first, last):
        return subprocess.Popen(
            [self.buyers, ",".join(self.urls), self.warehouse.url, self.cashier.url, sale, product, str(PRICE), str(first), str(last)],
            stdout=subprocess.PIPE, text=True)

    def over(self, rush):
        out, _ = rush.communicate(timeout=120)
        return json.loads(out)

    def settled(self):
        """Waits until nothing is held any more, and says whether that came about."""
        until = time.monotonic() + 60
        while self.sql("SELECT (SELECT sum(held) FROM warehouse.stock) + (SELECT sum(held) FROM cashier.stock)")[0][0]:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def left(self, product):
        return self.sql("SELECT amount::int, held::int FROM warehouse.stock WHERE name = %s", product)[0]

    def paid(self, first, last, money):
        return int(self.sql("SELECT sum(%s - amount) FROM cashier.stock WHERE name IN (SELECT 'buyer-' || n FROM generate_series(%s::int, %s::int) n)",
                            money, first, last)[0][0])

    def sold_twice(self):
        return self.sql("SELECT count(*)::int FROM (SELECT split_part(gid, '-', 2) FROM warehouse.hold WHERE state = 'gone'"
                        " GROUP BY split_part(gid, '-', 1), split_part(gid, '-', 2) HAVING count(*) > 1) x")[0][0]


def calm(world):
    print("1. Two buyers and a lamp; the first one has no money")
    world.wares("lamp", 1)
    world.wallets(1, 1, PRICE - 1)
    world.wallets(2, 2, PRICE)
    world.check("the first goes home", world.over(world.rush("calm", "lamp", 1, 1)), {"bought": 0, "sold_out": 0, "no_money": 1, "gave_up": 0})
    world.check("the lamp is back on its shelf", world.settled() and world.left("lamp"), (1, 0))
    world.check("the second buys it", world.over(world.rush("calm", "lamp", 2, 2)), {"bought": 1, "sold_out": 0, "no_money": 0, "gave_up": 0})
    world.check("it is gone", world.left("lamp"), (0, 0))
    world.check("and paid", world.paid(2, 2, PRICE), PRICE)


def storm(world, buyers=80, pieces=30):
    print(f"2. {buyers} buyers and {pieces} phones; every fourth has no money; kill -9 for the warehouse, the cashier and a replica")
    first, last = 1001, 1000 + buyers
    world.wares("phone", pieces)
    poor = len(range(first, last + 1, 4))
    world.wallets(first, last, 2 * PRICE)
    for n in range(first, last + 1, 4):
        world.sql("UPDATE cashier.stock SET amount = 0 WHERE name = %s", f"buyer-{n}")
    rush = world.rush("storm", "phone", first, last)
    for number, victim in enumerate((world.warehouse.process.kill, world.cashier.process.kill, world.kill_replica)):
        sold = pieces * (number + 1) // 5
        while world.left("phone")[0] > pieces - sold and rush.poll() is None:
            time.sleep(0.002)
        victim()
    fates = world.over(rush)
    world.check("as many have bought as there were phones", fates["bought"], pieces)
    world.check("everybody knows how it ended for him", (sum(fates.values()), fates["gave_up"]), (buyers, 0))
    world.check("services died on the way", (world.warehouse.deaths, world.cashier.deaths), (1, 1))
    world.check("nothing is left, nothing is held", world.settled() and world.left("phone"), (0, 0))
    world.check("nobody has bought two", world.sold_twice(), 0)
    rich = world.sql("SELECT coalesce(sum(%s - amount), 0)::int FROM cashier.stock WHERE name ~ '^buyer-1[0-9]{3}$' AND amount > 0", 2 * PRICE)
    world.check("each was paid once", rich[0][0], pieces * PRICE)
    world.check("and the poor have paid nothing", world.sql("SELECT count(*)::int FROM cashier.stock WHERE name ~ '^buyer-1[0-9]{3}$' AND amount = 0")[0][0], poor)


def power_cut(world, buyers=120, pieces=80):
    print("3. The shop loses power in the middle of a rush: nobody is left who could confirm or cancel")
    world.wares("watch", pieces)
    world.wallets(2001, 2000 + buyers, PRICE)
    rush = world.rush("cut", "watch", 2001, 2000 + buyers)
    while world.left("watch")[0] > pieces * 3 // 4:
        time.sleep(0.002)
    rush.kill()
    rush.communicate()
    held = world.left("watch")[1]
    print(f"  kill -9 of the shop: {held} watches are held at that moment")
    world.check("their deadline gives them all back", world.settled() and world.left("watch")[1], 0)
    gone = pieces - world.left("watch")[0]
    world.check(f"{gone} were sold, and as many are paid", world.paid(2001, 2000 + buyers, PRICE), gone * PRICE)
    again = world.over(world.rush("again", "watch", 2001 + buyers // 2, 2000 + buyers))
    world.check("the sale goes on with the rest", again["bought"] + again["no_money"] + again["sold_out"], buyers // 2)
    world.check("and the books are right", world.settled() and world.paid(2001, 2000 + buyers, PRICE),
                (pieces - world.left("watch")[0]) * PRICE)


def tell(world):
    """True: everything was as it has to be."""
    try:
        for service in (world.warehouse, world.cashier):
            service.wait()
        calm(world)
        storm(world)
        power_cut(world)
    finally:
        world.warehouse.stop()
        world.cashier.stop()
    print(f"{world.checks - world.wrong} of {world.checks} checks are true", flush=True)
    return world.wrong == 0
