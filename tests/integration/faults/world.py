# SPDX-License-Identifier: Apache-2.0
"""A cluster under load, its participants and its clients; and what must hold when a fault is over."""
import collections
import http.client
import re
import signal
import statistics
import time

import psycopg

from lib.base import until
from lib.client import Client
from lib.cluster import Cluster
from lib.postgres import rows
from .ledger import Audit, Row, Version
from .load import Load, kinds
from .participant import Participant
from .process import descriptors, pss

FAULTS = {}


def fault(name, modes=("lock", "row"), needs=(), whole=True, promises=None):
    """Registers fault(world, random) for ./dev chaos. needs: what the world must have: postgres, clock, proxy, pair, synchronous,
    asynchronous. whole: every replica must be there when it begins. promises: {figure: function of the world that gives
    what its median may be}.

    It hurts the world, waits until that has shown, and leaves it as it may be: hurt replicas come back by
    world.restore(), everything else the fault mends itself. It may return figures: {name: seconds or number}."""
    def register(function):
        FAULTS[name] = function
        function.modes, function.needs, function.whole, function.promises = modes, needs, whole, promises or {}
        return function
    return register


class Commands(list):
    """load.Load.commands of several loads."""

    def __repr__(self):
        return (f"{len(self)}: median {statistics.median(c[1] for c in self):.3f} s, max {max(c[1] for c in self):.3f} s"
                if self else "none")


# duplicates: calls made again by a new owner; that each was in flight (nobody had stored its outcome) is audited.
Report = collections.namedtuple(
    "Report", "accepted ended confirmed cancelled stuck calls takeovers duplicates slowest commands excused")

# Every version of every row, written by the database in the transaction of the change itself: what
# sagad's own log forgets. Not in sagad's schema: sagad must not know.
HISTORY = """
CREATE SCHEMA IF NOT EXISTS witness;
CREATE TABLE IF NOT EXISTS witness.history (
	number bigint GENERATED ALWAYS AS IDENTITY, gid text, version bigint, epoch bigint, phase text, owner uuid,
	at timestamptz, progress text);
CREATE OR REPLACE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO witness.history (gid, version, epoch, phase, owner, at, progress)
	VALUES (NEW.gid, NEW.version, NEW.epoch, NEW.phase, NEW.owner, clock_timestamp(), NEW.progress);
	RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER note AFTER INSERT OR UPDATE ON sagad.transaction
	FOR EACH ROW EXECUTE FUNCTION witness.note();
"""
# What died or was settled just now may still stand there.
LEFT_BEHIND = (
    ("commands wait in the inbox, and nothing is left to do",
     "SELECT count(*) FROM sagad.inbox WHERE verdict IS NULL AND created_at < clock_timestamp() - interval '30 s'"),
    ("rows of replicas that died long ago",
     "SELECT count(*) FROM sagad.replica WHERE left_at < clock_timestamp() - interval '5 min'"),
    ("settled commands that nobody swept",
     "SELECT count(*) FROM sagad.inbox WHERE settled_at < clock_timestamp() - interval '3 min'"),
    ("lease rows without a replica",
     "SELECT count(*) FROM sagad.lease l WHERE l.seen_at < clock_timestamp() - interval '3 min'"
     " AND NOT EXISTS (SELECT FROM sagad.replica r WHERE r.lock_key = l.key)"),
)
CALL_SOCKETS_MAX = 80  # kept alive to one participant, of which 64 may be called at once
FDS_MAX = 60           # everything else: sessions, listeners, the loop's, clients that have just gone
MEMORY_MAX = 12 << 20
LATE = 10.0            # seconds; beyond the retries of a participant that is well again


class World:
    """dsn: as the replicas see it; or a function that gives that of replica number n. Then, or when it leads through
    something that may break, direct is the DSN for the test's own questions and for sagad migrate, or a function
    that gives it. pair: the lib.postgres.Pair it is on, if it is. lost: the gids of which the database may lose what
    no living replica knows; a fault that does so fills it, and it holds until the next verify(). clock: how far the database's is ahead of ours.
    more: for lib.cluster.Cluster."""

    def __init__(self, dsn, replicas=3, mode="lock", ttl="2s", flags=(), direct=None, sanitized=False,
                 seed=0, history=True, postgres=None, pair=None, **more):
        self.dsn, self.mode, self.postgres, self.pair = dsn, mode, postgres, pair
        self.lost, self.clock = set(), 0.0
        self._direct = direct or dsn
        dsn_of = dsn if callable(dsn) else lambda number: dsn
        self.ttl = float(ttl.removesuffix("s"))
        self.seed = seed
        self.sanitized = sanitized
        self.participant = Participant(seed)
        self._session, self._session_at = None, None
        self.loads, self.gone = [], set()
        self.told, self.history_from = {}, 0
        self.kinds = kinds(self.participant.url)
        self.mode_flags = [] if mode == "lock" else [f"--lease.mode={mode}"]
        try:
            self.cluster = Cluster(self.direct, count=replicas, ttl=ttl, sanitized=sanitized, dsn_of=dsn_of,
                                   flags=["--drain.grace=5s", *self.mode_flags, *flags], **more)
            if history:
                self.execute(HISTORY)
        except BaseException:
            if hasattr(self, "cluster"):
                self.cluster.kill()
            self.participant.close()
            raise
        self.count = replicas
        self.client = Client(lambda: [r.at for r in self.living])
        self.history = history

    # ---- questions --------------------------------------------------------------------------

    @property
    def direct(self):
        return self._direct() if callable(self._direct) else self._direct

    @property
    def replicas(self):
        return self.cluster.replicas

    @property
    def living(self):
        """Those whose process runs; a frozen one counts."""
        return [r for r in list(self.replicas) if r.process is not None and r.process.poll() is None]

    def rows(self, sql, *params):
        """Over one session for all that is asked, as long as it lives. Of several hosts the primary may be another one
        since: there each question looks for it."""
        if "," in psycopg.conninfo.conninfo_to_dict(self.direct).get("host", ""):
            return rows(self.direct, sql, *params)
        at = self.direct  # another server since its promotion, though the old one may live
        if self._session is not None and self._session_at == at:
            try:
                return self._session.execute(sql, params).fetchall()
            except psycopg.OperationalError:
                pass
        if self._session is not None:
            self._session.close()
        self._session_at, self._session = at, psycopg.connect(at, autocommit=True, application_name="test")
        return self._session.execute(sql, params).fetchall()

    def value(self, sql, *params):
        return self.rows(sql, *params)[0][0]

    def execute(self, sql):
        with psycopg.connect(self.direct, autocommit=True) as db:
            db.execute(sql)

    def incarnation(self, replica):
        """The id of the live incarnation at that address, or None."""
        got = self.rows("SELECT id::text FROM sagad.replica WHERE address = %s AND state = 'live'", replica.url)
        return got[0][0] if got else None

    def owned_by(self, incarnation):
        return self.value("SELECT count(*) FROM sagad.transaction WHERE owner = %s::uuid", incarnation)

    def counter(self, replica, name):
        return counter(replica.ops("/metrics").text, name)

    # ---- what a test does ------------------------------------------------------------------------

    def settled(self, timeout=30):
        """Blocks until every living replica has been ready for a TTL without a break: only then may it fence others."""
        since = {}

        def all_old_enough():
            for r in self.living:
                try:
                    ready = r.ops("/readyz").status == 200
                except OSError:
                    ready = False
                if not ready:
                    since.pop(r.port, None)
                else:
                    since.setdefault(r.port, time.monotonic())
            return all(time.monotonic() - since.get(r.port, time.monotonic()) > self.ttl + 0.3 for r in self.living)

        until(all_old_enough, timeout, 0.1)
        return self

    def load(self, clients=6, **more):
        made = Load(lambda: [r.at for r in self.living], self.participant.url, clients,
                    seed=more.pop("seed", self.seed), **more)
        self.loads.append(made)
        return made

    def insist(self, path, body, at=None, within=60):
        """The same request, to that replica at first and then to any that lives, until an answer settles it."""
        end = time.monotonic() + within
        while True:
            try:
                answer = self.client.post(path, body, at=at, timeout=15)
                if answer.status != 429 and not (answer.status == 503 and answer.json.get("retryable") is True):
                    return answer
            except (OSError, http.client.HTTPException) as e:
                answer = e
            assert time.monotonic() < end, f"no answer that settles it within {within} s, but {answer}"
            at = None
            time.sleep(0.03)

    def flowing(self, within=10, count=6):
        """Transactions begun from now on end. Gives how long that took."""
        began = time.monotonic()
        with self.load(clients=count, only=["sequence", "tcc"], pause=0.2) as probe:
            def ended():
                ours = [g for g, t in list(probe.told.items()) if t.accepted_at is not None]
                return len(ours) >= count and self.value(
                    "SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND ended_at IS NOT NULL",
                    ours) >= count
            until(ended, within, 0.05)
        return time.monotonic() - began

    def busy(self, *victims, rows_each=3):
        """Blocks until each of them drives transactions whose calls are open: there is something to take over. The longer a
        call takes the more are open, so what does not come about soon is helped."""
        latency, raised_at = 0.15, time.monotonic()
        self.participant.latency(latency)

        def is_busy(r):
            nonlocal latency, raised_at
            if latency < 1 and time.monotonic() > raised_at + 1:
                latency, raised_at = latency * 2, time.monotonic()
                self.participant.latency(latency)
            return len({c.gid for c in self.participant.calls() if c.answered is None and c.replica == r.url}) >= rows_each

        for r in victims or self.living:
            until(lambda r=r: is_busy(r), 15, 0.02)

    def freeze(self, replica):
        """SIGSTOP, and the time of it."""
        at = time.monotonic()
        replica.signal(signal.SIGSTOP)
        until(lambda: _state(replica.process.pid) == "T", 5, 0.001)
        return at

    def restore(self):
        """Starts what was killed and thaws what was frozen, and waits until all are ready."""
        for r in self.replicas:
            if r.process.poll() is None:
                r.signal(signal.SIGCONT)
            else:
                r.start()
        for r in self.replicas:
            r.ready(30)

    def first_adopted(self, at, within, gids=None):
        """Seconds from `at` to the first call of a transaction that changed hands after it."""
        seen, read = collections.defaultdict(int), 0
        end = time.monotonic() + within
        while time.monotonic() < end:
            fresh = self.participant.tail(read)
            read += len(fresh)
            for c in fresh:
                if c.at > at and 0 < seen[c.gid] < c.epoch and (gids is None or c.gid in gids):
                    return c.at - at
                seen[c.gid] = max(seen[c.gid], c.epoch)
            time.sleep(0.02)
        raise AssertionError(f"no transaction was called by another owner within {within} s")

    # ---- what must hold -------------------------------------------------------------------------

    def verify(self, timeout=60):
        """After the load: waits for the end of everything, audits it, and forgets it. Gives a Report."""
        for load in self.loads:
            load.stop()
            self.told.update(load.told)
        late = self._all_ended(timeout)
        audit = self._audit()
        if late:
            print(f"{len(late)} ended more than {LATE} s after the load; the first:", audit.story(late[0]), flush=True)
        found = [f"client: {v}" for load in self.loads for v in load.violations] + audit.run() \
            + self._leaks() + self._misplaced()
        if found:
            stories = [audit.story(g) for g in sorted({f.split(": ")[0] for f in found} & set(audit.told))[:3]]
            raise AssertionError(f"{len(found)} violations, of which the first: " + "\n".join(found[:20] + stories)
                                 + f"\nclocks: monotonic {time.monotonic():.3f} is {time.time():.3f}; logs in"
                                 f" {self.cluster.folder}")
        report = self._report(audit)
        self._forget(audit)
        return report

    def _open(self):
        return self.rows("SELECT gid, phase, owner::text, stuck, progress FROM sagad.transaction"
                         " WHERE ended_at IS NULL AND stuck NOT IN ('attempts', 'misconfigured', 'gone')")

    def _all_ended(self, timeout):
        """Gives the gids of those that came late: some were alone with their bad luck, and for how long?"""
        began, late = time.monotonic(), []
        while True:
            left = self._open()
            took = time.monotonic() - began
            if not left and not self.participant.open_calls():
                return late
            if took > LATE and not late:
                late = [gid for gid, *_ in left]
            if took > timeout:
                raise AssertionError(f"{len(left)} have not ended within {timeout} s: {left[:5]}")
            time.sleep(0.05)

    def _audit(self):
        there = {g: Row(*r) for g, *r in self.rows(
            "SELECT gid, phase, stuck, epoch, version, owner::text FROM sagad.transaction")}
        history = [Version(*v) for v in self.rows(
            "SELECT gid, version, epoch, phase, owner::text, extract(epoch FROM at)::float8, progress"
            " FROM witness.history WHERE number > %s ORDER BY number", self.history_from)] if self.history else []
        calls = [c for c in self.participant.calls() if c.gid]
        fresh = {g: r for g, r in there.items() if g not in self.gone}
        return Audit({g: t for g, t in self.told.items() if g not in self.gone}, self.kinds, fresh, calls,
                     self.participant.books(), history, self.gone, self.lost, restored=self._may_restore())

    def _misplaced(self):
        """Each row is owned, parked or ended. No check of the table says so."""
        return [f"{gid}: is none, or more than one, of owned, parked and ended" for gid, in self.rows(
            "SELECT gid FROM sagad.transaction WHERE (owner IS NULL AND ended_at IS NULL) <> (due_at IS NOT NULL)")]

    def _may_restore(self):
        """After a failover rows may come back in one step."""
        return self.pair is not None and not self.pair.synchronous

    def _report(self, audit):
        duplicates = audit.duplicates()
        ends = collections.Counter(r.phase for r in audit.rows.values())
        return Report(
            accepted=sum(t.accepted_at is not None for t in audit.told.values()),
            ended=ends["confirmed"] + ends["cancelled"], confirmed=ends["confirmed"], cancelled=ends["cancelled"],
            stuck=sum(r.stuck != "none" for r in audit.rows.values()), calls=len(audit.calls),
            takeovers=sum(r.epoch > 1 for r in audit.rows.values()), duplicates=len(duplicates),
            slowest=max([load.slowest for load in self.loads], default=0.0),
            commands=Commands(c for load in self.loads for c in load.commands),
            excused=dict(sum((collections.Counter(load.excused) for load in self.loads), collections.Counter())))

    def _forget(self, audit):
        self.gone |= set(audit.rows)
        self.loads, self.told, self.lost = [], {}, set()
        self.participant.forget()
        self.participant.latency(0)
        if self.history:
            self.history_from = self.value("SELECT coalesce(max(number), 0) FROM witness.history")

    # ---- nothing leaks --------------------------------------------------------------------------

    def _leaks(self):
        found = [sentence for sentence, query in LEFT_BEHIND if not self._none_of(query)]
        for r in self.living:
            if _state(r.process.pid) != "T":
                found += [f"replica at {r.at}: {w}" for w in self._leaks_of(r)]
        return found

    def _none_of(self, query):
        """When the database's clock was set, a moment ago all was young."""
        try:
            until(lambda: not self.value(query), 10 if self.clock else 0, 0.5)
        except AssertionError:
            return False
        return True

    def _leaks_of(self, replica):
        def nothing_open():
            said = replica.ops("/metrics").text
            return all(counter(said, f"sagad_{n}") == 0 for n in ("owned_transactions", "open_calls", "queued_changes", "waiters"))
        try:
            until(nothing_open, 10, 0.05)
        except AssertionError:
            yield "transactions, calls, changes or waiters are left: " + " ".join(
                line for line in replica.ops("/metrics").text.splitlines()
                if re.match(r"sagad_(owned_transactions|open_calls|queued_changes|waiters) ", line))
        except OSError as e:
            yield f"does not answer: {e}"
        ours, calls = descriptors(replica.process.pid, self.participant.port)
        if ours > FDS_MAX or calls > CALL_SOCKETS_MAX:
            yield f"{ours} file descriptors, and {calls} connections to its participant"
        if not self.sanitized and (memory := pss(replica.process.pid)) > MEMORY_MAX:
            yield f"{memory >> 10} KiB of memory (PSS)"

    def close(self):
        for load in self.loads:
            load.stop()
        try:
            self.cluster.stop()
        finally:
            self.participant.close()
            if self._session is not None:
                self._session.close()


def counter(metrics, name):
    found = re.search(rf"^{name}(?:{{[^}}]*}})? ([-\d.e+]+)$", metrics, re.M)
    return float(found.group(1)) if found else 0.0


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0]
