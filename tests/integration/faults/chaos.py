# SPDX-License-Identifier: Apache-2.0
"""./dev chaos: the faults registered with @fault, by a schedule drawn from a seed, for as long as one likes.

Chapters: each a cluster of its own, some faults one after the other under load, the books audited after each. What
failed is told with its seed and chapter; the schedule is drawn again from them, the timing is the machine's."""
import argparse
import collections
import importlib
import json
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

from lib.base import BIN
from lib.postgres import Pair, Postgres
from lib.proxy import Proxies, Proxy
from .test_clock import LIBRARY, OFFSETS, lying
from .world import FAULTS, World

FAULTS_A_CHAPTER = 10
# What a chapter stands on, and what its faults may ask for.
DATABASES = {"one": {"proxy", "postgres"}, "clock": {"proxy", "postgres", "clock"},
             "synchronous": {"proxy", "pair", "synchronous"}, "asynchronous": {"proxy", "pair", "asynchronous"}}
SPECIAL = {"pair", "clock", "clocks"}
GIVE_UP_AFTER = 5  # chapters that failed
JUDGED = 10        # of which on a median has to keep what is promised


def load_faults():
    here = pathlib.Path(__file__).parent
    for path in sorted([*here.glob("faults_*.py"), *here.glob("test_*.py")]):
        importlib.import_module(f"faults.{path.stem}")


class Tally:
    """What a run came to."""

    def __init__(self, seed):
        self.seed, self.began = seed, time.monotonic()
        self.figures = collections.defaultdict(list)
        self.faults, self.failures = collections.Counter(), []
        self.sums = collections.Counter()
        self.promises, self.commands = {}, collections.defaultdict(list)

    def took(self):
        return time.monotonic() - self.began

    def add(self, mode, name, figures, report, promised=(), since=0.0):
        """promised: {figure: what its median may be}; since: of the commands, those asked later."""
        self.faults[name] += 1
        for figure, number in figures.items():
            self.figures[f"{mode}: {figure}"].append(number)
            if figure in promised:
                self.promises[f"{mode}: {figure}"] = promised[figure]
        self.commands[name] += [c for c in report.commands if c[0] + c[2] >= since]
        for field in ("accepted", "ended", "stuck", "calls", "takeovers", "duplicates"):
            self.sums[field] += getattr(report, field)

    def judge(self):
        """A median of enough that is beyond what is promised is a failure of the run."""
        for figure, bound in sorted(self.promises.items()):
            got = self.figures[figure]
            if len(got) >= JUDGED and statistics.median(got) > bound:
                self.failures.append({"where": figure, "what": f"a median of {statistics.median(got):.3f} s of {len(got)}, and"
                                                               f" {bound:g} s are promised"})

    def as_json(self):
        return {"seed": self.seed, "minutes": round(self.took() / 60, 2), "faults": dict(self.faults), **self.sums,
                "figures": {f: {"n": len(n), "median": round(statistics.median(n), 3), "max": round(max(n), 3),
                                "promised": self.promises.get(f)} for f, n in sorted(self.figures.items())},
                "commands": {f: {"n": len(n), "median": round(statistics.median(c[1] for c in n), 4),
                                 "max": round(max(c[1] for c in n), 3), "settled_max": round(max(c[2] for c in n), 3)}
                             for f, n in [*sorted(self.commands.items()), ("all", sum(self.commands.values(), []))] if n},
                "failures": self.failures}

    def print(self):
        got = self.as_json()
        print(f"\n{'figure':<66} {'n':>4} {'median':>8} {'max':>8} {'promised':>8}")
        for name, f in got["figures"].items():
            print(f"{name:<66} {f['n']:>4} {f['median']:>8.3f} {f['max']:>8.3f} {f['promised'] or '':>8}")
        print(f"\n{'commands to open transactions, asked while the fault lasted, answered within, s':<82} {'n':>6} {'median':>7}"
              f" {'max':>7} {'settled':>8}")
        for name, f in got["commands"].items():
            print(f"{name:<82} {f['n']:>6} {f['median']:>7.3f} {f['max']:>7.3f} {f['settled_max']:>8.3f}")
        print(f"\n{sum(self.faults.values())} faults of {len(self.faults)} kinds in {got['minutes']} min, seed {self.seed}: "
              + ", ".join(f"{n} {what}" for what, n in self.sums.items()))
        print(f"Calls made again because of a take-over: {self.sums['duplicates']} for {self.sums['takeovers']} transactions taken"
              " over. Each was in flight: its outcome was not stored when the new owner made it again (audited).")
        print(f"{len(self.failures)} failures" + "".join(f"\n  {f['where']}: {f['what']}" for f in self.failures),
              flush=True)


class Clocks:
    """Of the replicas, by number: hours apart, and files that say how many."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sagad-clocks-"))

    def __getitem__(self, number):
        return self.folder / str(number)

    def environment(self, number):
        self[number].write_text(f"{OFFSETS[number % 3]}\n")
        env = lying(number)
        del env["FAKETIME"]
        return {**env, "FAKETIME_TIMESTAMP_FILE": str(self[number]), "FAKETIME_CACHE_DURATION": "1"}

    def close(self):
        shutil.rmtree(self.folder)


class Chapter:
    """One cluster, and the faults it goes through."""

    def __init__(self, options, number, tally):
        self.options, self.number, self.tally = options, number, tally
        self.rng = random.Random(f"{options.seed}-{number}")
        self.mode = self.rng.choice(["lock", "row"]) if options.mode == "both" else options.mode
        self.count = options.replicas or self.rng.choice([3, 4, 5])
        wanted = any("clocks" in FAULTS[name].needs for name in options.only or () if name in FAULTS)
        self.lying = LIBRARY is not None and (self.rng.random() < 0.25 or wanted) and not options.sanitized
        self.database = self.rng.choice(self.databases())
        self.doing, self.done = "starting", set()

    def databases(self):
        """Those on which there is something to do."""
        wanted = {"any": ["one", "one", "clock", "synchronous", "asynchronous"], "pair": ["synchronous", "asynchronous"]}
        found = [d for d in wanted.get(self.options.database, [self.options.database]) if self.eligible(d)]
        if not found:
            raise SystemExit("no such fault: ./dev chaos --list names those there are")
        return ["one"] if self.options.overload else found

    def where(self):
        return f"seed {self.options.seed} chapter {self.number} ({self.mode}, {self.count} replicas" + (
            ", clocks hours apart" if self.lying else "") + f", database {self.database}), {self.doing}"

    def say(self, text):
        print(f"[{self.tally.took():6.0f} s] {self.number:>3} {self.mode:<4} {self.count}{'~' if self.lying else ' '}"
              f" {self.database:<12} {text}", flush=True)

    def run(self, server, until):
        """server: gives the one of that kind."""
        if self.database in ("one", "clock"):
            postgres = server(self.database)
            postgres.set_clock(0)
            database = postgres.new_database()
            try:
                self.play(until, Proxy(database), database, database, postgres=postgres)
            finally:
                postgres.drop_database(database)
            return
        pair = Pair(f"chaos-{self.options.seed}", self.database == "synchronous")
        try:
            name = pair.new_database()
            proxies = Proxies([pair.direct(folder, name) for folder in pair.folders])
            self.play(until, proxies, pair.dsn(name), lambda: pair.direct(database=name), pair=pair)
        finally:
            pair.close()

    def play(self, until, proxy, dsn, direct, **on):
        world, clocks = None, Clocks() if self.lying else None
        try:
            world = World(lambda number: proxy.dsn(dsn, number), direct=direct, replicas=self.count,
                          mode=self.mode, ttl=self.options.ttl, seed=f"{self.options.seed}-{self.number}",
                          sanitized=self.options.sanitized,
                          env_of=clocks and clocks.environment, **on)
            world.proxy, world.clocks = proxy, clocks
            if self.lying:  # each session starts in a zone that is nobody else's
                world.execute(f"ALTER DATABASE {world.value('SELECT current_database()')} SET timezone = 'Asia/Kathmandu'")
            if self.options.overload:
                self.calm(world, until)
            else:
                self.faults(world, until)
            world.close()
        except BaseException:
            if world:
                self.abandon(world)
            raise
        finally:
            proxy.close()
            if clocks:
                clocks.close()
        shutil.rmtree(world.cluster.folder)

    def abandon(self, world):
        """After a failure: nothing more is learnt from how it ends."""
        world.cluster.kill()
        world.close()
        for folder in world.pair.folders if world.pair else []:
            shutil.copy(world.pair.log(folder), pathlib.Path(world.cluster.folder) / f"{folder.name}.log")
        print(f"logs: {world.cluster.folder}", flush=True)

    def has(self, database):
        return DATABASES[database] | ({"clocks"} if self.lying else set())

    def eligible(self, database):
        return [name for name, f in sorted(FAULTS.items())
                if self.mode in f.modes and self.has(database).issuperset(f.needs)
                and (not self.options.only or name in self.options.only)]

    def draw(self):
        """None twice before all have been; where the database is special, every other one is special to it."""
        names = self.eligible(self.database)
        special = [n for n in names if SPECIAL.intersection(FAULTS[n].needs)]
        names = special if special and self.rng.random() < 0.5 else names
        drawn = self.rng.choice([n for n in names if n not in self.done] or names)
        self.done.add(drawn)
        return drawn

    def faults(self, world, until):
        for done in range(FAULTS_A_CHAPTER):
            if done > 0 and time.monotonic() > until:
                return
            name = self.draw()
            self.doing = name
            self.one(world, name, FAULTS[name])

    def one(self, world, name, fault):
        if fault.whole or len(world.living) < 2:
            world.restore()
        world.settled()
        began, mode = time.monotonic(), world.mode
        with world.load(self.options.clients, pause=0.01):
            time.sleep(self.rng.random())
            promised = {figure: bound(world) for figure, bound in fault.promises.items()}
            since = time.monotonic()
            figures = fault(world, self.rng) or {}
            if world.living:
                world.flowing(within=4 * world.ttl + 10)
            if fault.whole or self.rng.random() < 0.6:
                world.restore()
                world.flowing(within=4 * world.ttl + 10)
        report = world.verify()
        self.tally.add(mode, name, figures, report, promised, since)
        told = ", ".join(f"{figure} {number:.3f}" for figure, number in figures.items())
        self.say(f"{name:<40} {time.monotonic() - began:5.1f} s  {report.accepted:>5} accepted {report.takeovers:>4} taken"
                 f" over {report.duplicates:>4} called again  {told}")

    def calm(self, world, until):
        """A machine with far too much to do, and no fault: nobody may be taken for dead."""
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(self.options.overload)]
        try:
            world.settled(timeout=120)
            lives = {r.url: world.incarnation(r) for r in world.living}
            while time.monotonic() < until:
                self.doing = "overload"
                with world.load(self.options.clients, pause=0.01):
                    time.sleep(20)
                report = world.verify(timeout=120)
                fenced = world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'")
                assert fenced == 0 and lives == {r.url: world.incarnation(r) for r in world.living}, (
                    f"{fenced} replicas were taken for dead")
                self.tally.add(self.mode, "overload", {"slowest answer, s": report.slowest}, report)
                self.say(f"{self.options.overload} busy loops: {report.accepted} accepted, nobody fenced,"
                         f" slowest answer {report.slowest:.2f} s")
        finally:
            for b in busy:
                b.kill()
                b.wait()


def read_options():
    p = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.split("\n")[0])
    p.add_argument("minutes", nargs="?", type=float, default=10)
    p.add_argument("seed", nargs="?", type=int, default=random.SystemRandom().randrange(10**6))
    p.add_argument("--mode", choices=["lock", "row", "both"], default="both")
    p.add_argument("--chapter", type=int, default=1, help="begin with this one")
    p.add_argument("--replicas", type=int, help="3, 4 or 5, drawn for each chapter, if not given")
    p.add_argument("--database", choices=["any", "pair", *DATABASES], default="any",
                   help="one server, or a primary and its standby; drawn for each chapter, if not given")
    p.add_argument("--clients", type=int, default=10)
    p.add_argument("--ttl", default="2s")
    p.add_argument("--only", action="append", metavar="FAULT", help="these alone; may be repeated")
    p.add_argument("--overload", type=int, nargs="?", const=8, default=0, metavar="LOOPS",
                   help="no fault, but busy loops beside it: nobody may be fenced")
    p.add_argument("--sanitized", action="store_true")
    p.add_argument("--json", metavar="FILE", help="the figures, for machines")
    p.add_argument("--list", action="store_true", help="the names of the faults")
    return p.parse_args()


def interrupted(*_):
    raise KeyboardInterrupt


def play(options, tally):
    servers = {}

    def server(kind):
        if kind not in servers:
            servers[kind] = Postgres(f"chaos-{options.seed}-{kind}", clock=kind == "clock")
        servers[kind].start()
        return servers[kind]

    until = time.monotonic() + 60 * options.minutes
    number, failed = options.chapter, 0
    try:
        while time.monotonic() < until and failed < GIVE_UP_AFTER:
            chapter = Chapter(options, number, tally)
            try:
                chapter.run(server, until)
            except Exception as e:  # told, counted, and the next chapter has a world of its own
                failed += 1
                tally.failures.append({"where": chapter.where(), "what": f"{type(e).__name__}: {e}".splitlines()[0][:300]})
                print(f"FAILED: {chapter.where()}\n{traceback.format_exc()}", flush=True)
            number += 1
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        for postgres in servers.values():
            postgres.close()


def main():
    load_faults()
    options = read_options()
    if options.list:
        print("\n".join(sorted(FAULTS)))
        return 0
    assert (BIN / "sagad").exists(), f"{BIN}/sagad is not there: ./dev chaos builds it"
    print(f"seed {options.seed}: again with ./dev chaos {options.minutes:g} {options.seed}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # a script's background job would ignore the first
        signal.signal(number, interrupted)
    tally = Tally(options.seed)
    play(options, tally)
    tally.judge()
    tally.print()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(tally.as_json(), indent=1) + "\n", encoding="utf-8")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    # Faults register themselves with the module that others import, not with __main__.
    from faults import chaos

    sys.exit(chaos.main())
