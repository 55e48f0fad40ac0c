# SPDX-License-Identifier: Apache-2.0
"""The network between replicas and the database: cut, deaf, mute and slow, session by session."""
import shutil
import subprocess
import time

import pytest

from lib.base import until
from lib.proxy import KINDS, Proxy
from .faults_sessions import occupy, terminate
from .modes import both_modes
from .probe import MACHINE_S, Probe, probed


@pytest.fixture
def network(database):
    made = Proxy(database)
    yield made
    made.close()


@pytest.fixture
def make_split(network, make_world, database):
    """A world whose replicas reach the database through doors of their own: its proxy can close each."""
    def make(mode, **more):
        world = make_world(dsn=lambda number: network.dsn(database, number), direct=database, mode=mode, **more)
        world.proxy = network
        return world.settled()

    yield make
    network.restore()  # they leave in order


def lives(world):
    """{address: [(id, state), …]}: every incarnation of each replica, oldest first."""
    found = {}
    for address, *life in world.rows("SELECT address, id::text, state FROM sagad.replica ORDER BY started_at"):
        found.setdefault(address, []).append(tuple(life))
    return found


def over(world, incarnation, since, within):
    """Waits until that incarnation is fenced and owns nothing; seconds it took."""
    def is_over():
        state = world.rows("SELECT state FROM sagad.replica WHERE id = %s::uuid", incarnation)
        return state != [("live",)] and world.owned_by(incarnation) == 0
    until(is_over, max(0.1, since + within + MACHINE_S - time.monotonic()))
    return time.monotonic() - since


def silent(world, replica, since, until_at):
    """Asserts that this replica called nobody in between."""
    found = [c for c in world.participant.calls(since=since) if c.replica == replica.url and c.at < until_at]
    assert not found, f"it called without a lease: {found[:3]}"


# ---- a mere flap -------------------------------------------------------------------------------


@both_modes
def test_a_flap_of_connections_costs_no_incarnation(make_split, mode):
    """Each kind of session is reset, then ended by the server, on all replicas at once."""
    w = make_split(mode)
    before = lives(w)
    with w.load(), Probe(w) as probe:
        for kind in KINDS:
            assert w.proxy.cut(kind) or kind == "watch"
            time.sleep(0.5)
            assert terminate(w, kind) or kind == "watch"
            time.sleep(0.5)
        at = time.monotonic()
        probe.back(at, within=1.0)
    assert lives(w) == before
    w.verify()


# ---- one of two lives on -------------------------------------------------------------------------


@both_modes
def test_the_lease_is_cut_while_the_log_lives(make_split, mode):
    """A lock is free at once, a row at its end; the replica is told, calls nobody, and is fenced by others."""
    w = make_split(mode)
    victim = w.replicas[0]
    old = w.incarnation(victim)
    with probed(w) as probe:
        cut = time.monotonic()
        w.proxy.refuse("lease", 0)
        over(w, old, cut, within=1.5 if mode == "lock" else w.ttl + 1.5)
        time.sleep(0.5)
        silent(w, victim, cut + 0.1, time.monotonic())
        assert probe.refused(victim, cut + 0.1) and not probe.accepted(victim, cut + 0.1)
        healed = time.monotonic()
        w.proxy.restore()
        probe.back(healed, within=3.0)
    assert w.incarnation(victim) != old
    w.verify()


@both_modes
def test_the_log_is_cut_while_the_lease_lives(make_split, mode):
    """After a TTL without a commit that was wanted it falls silent, so that others may take over."""
    w = make_split(mode)
    victim = w.replicas[0]
    old = w.incarnation(victim)
    with probed(w) as probe:
        cut = time.monotonic()
        w.proxy.refuse("log", 0)
        over(w, old, cut, within=2 * w.ttl + 1.5)
        assert not probe.accepted(victim, cut + 0.1)
        healed = time.monotonic()
        w.proxy.restore()
        probe.back(healed, within=4.0)
    w.verify()


# ---- black holes -----------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("kind", ["lease", None], ids=["lease", "all"])
def test_a_black_hole_is_adopted_within_a_ttl_and_a_half_second_more(make_split, mode, kind):
    """No reset, no end: only silence. What the replica had sent arrives after the heal, and must not count."""
    w = make_split(mode)
    victim = w.replicas[0]
    old = w.incarnation(victim)
    with probed(w) as probe:
        occupy(w, victim)
        hole = time.monotonic()
        w.proxy.black_hole(kind, 0)
        first = w.first_adopted(hole, within=w.ttl + 1.5 + MACHINE_S)
        assert first is not None and first <= w.ttl + 1.5, first
        over(w, old, hole, within=w.ttl + 2.5)
        time.sleep(0.7)
        silent(w, victim, hole + w.ttl + 0.1, time.monotonic())
        healed = time.monotonic()
        w.proxy.restore()
        probe.back(healed, within=4.0)
    print(f"black hole of {kind or 'all'} ({mode}) → first adopted call: {first:.2f} s; {w.verify()}")
    assert w.incarnation(victim) != old


@both_modes
def test_a_silent_log_session_costs_one_incarnation(make_split, mode):
    """Forgotten by a firewall: the session says nothing more, new ones pass. At most one life, not a chain of them."""
    w = make_split(mode)
    victim = w.replicas[0]
    with probed(w) as probe:
        hole = time.monotonic()
        assert w.proxy.lose("log", 0) == 1
        # Whether others adopt before the session is given up is a race that either may win.
        seconds = probe.back(hole + 0.5, within=2 * w.ttl + 1.5, replica=victim)
        time.sleep(2 * w.ttl)
        assert probe.accepted(victim, time.monotonic() - 0.5), "it takes nothing, again"
        found = lives(w)[victim.url]
        assert len(found) <= 2, found
        w.proxy.restore(forget=True)
    print(f"log session silent ({mode}): takes begins after {seconds:.1f} s, lives {len(found)}; {w.verify()}")


@both_modes
def test_a_silent_work_session_is_given_up(make_split, mode):
    """It commits and calls as before; what it cannot read meanwhile is said, and it recovers by itself."""
    w = make_split(mode)
    with probed(w) as probe:
        hole = time.monotonic()
        assert w.proxy.lose("work", 0) == 1
        time.sleep(2 * w.ttl + 1.5)
        assert probe.accepted(w.replicas[0], hole + 0.5)
        until(lambda: len(w.proxy.sessions("work", 0)) == 2, 4)
        w.proxy.restore(forget=True)
        probe.back(time.monotonic(), within=1.0)
    w.verify()


def test_a_replica_that_can_look_nothing_up_is_not_ready(make_split):
    """Also when it has just begun: commits were possible already, and who registered a participant was told 503."""
    w = make_split("lock", replicas=2)
    away, client = w.replicas[0], w.client
    w.proxy.refuse("store", 0)
    until(lambda: away.ops("/readyz").status == 503, 5)
    assert client.get("/v1/definitions", at=away.at).status == 503
    assert w.replicas[1].ops("/readyz").status == 200
    away.kill()
    away.start()
    until(lambda: w.proxy.sessions("log", 0) and w.incarnation(away), 10)
    time.sleep(0.3)
    assert away.ops("/readyz").status == 503
    w.proxy.restore()
    away.ready()
    assert client.get("/v1/definitions", at=away.at).status == 200


@both_modes
def test_all_replicas_are_cut_off_and_come_back(make_split, mode):
    """Nobody can tell who is dead: whoever comes back first must not fence the others."""
    w = make_split(mode)
    with probed(w) as probe:
        before = lives(w)
        w.proxy.black_hole()
        time.sleep(w.ttl + 1.0)
        cut = time.monotonic()
        time.sleep(0.5)
        for r in w.replicas:
            silent(w, r, cut, time.monotonic())
        healed = time.monotonic()
        w.proxy.restore()
        seconds = probe.back(healed, within=5.0)
    assert lives(w) == before
    print(f"all cut off for {w.ttl + 1.5:.1f} s ({mode}): back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_commits_land_and_nobody_is_told(make_split, mode):
    """The answers are lost, then the session: each fate is unknown, and found out by reading again."""
    w = make_split(mode)
    with w.load(), Probe(w) as probe:
        before = lives(w)
        for number in (0, 1, 2, 0, 1, 2):
            w.proxy.black_hole("log", number, "down")
            time.sleep(0.2)
            w.proxy.cut("log", number)
            w.proxy.restore("log", number)
            time.sleep(0.5)
        at = time.monotonic()
        probe.back(at, within=1.0)
        reloaded = sum(w.counter(r, "sagad_transactions_reloaded_total") for r in w.replicas)
    assert reloaded > 0, "no fate was ever unknown: the test tested nothing"
    assert lives(w) == before
    w.verify()


# ---- slow --------------------------------------------------------------------------------------------


@both_modes
def test_a_slow_database_costs_nobody_its_lease(make_split, mode):
    """200 ms a round trip, for all sessions of all replicas."""
    w = make_split(mode)
    before = lives(w)
    w.proxy.slow(None, 200)
    with w.load(clients=12), Probe(w) as probe:
        at = time.monotonic()
        time.sleep(5.0)
        assert len(probe.accepted(since=at)) >= 15
        assert probe.slowest(at) < 3.0
        assert lives(w) == before
        w.proxy.restore()
    w.verify()


# ---- packets really dropped ---------------------------------------------------------------------------


class Filter:
    """nftables of our own: drops what two local ports say to each other."""

    def __init__(self):
        self.table = f"sagad_test_{time.monotonic_ns()}"
        self._nft(f"add table inet {self.table}")
        self._nft(f"add chain inet {self.table} in {{ type filter hook input priority 0; }}")

    @staticmethod
    def _nft(command):
        subprocess.run(["nft", command], check=True, capture_output=True)

    def drop(self, one, other):
        for a, b in ((one, other), (other, one)):
            self._nft(f"add rule inet {self.table} in iifname lo tcp sport {a} tcp dport {b} drop")

    def remove(self):
        self._nft(f"delete table inet {self.table}")


@pytest.fixture
def packets():
    if not shutil.which("nft"):
        pytest.skip("nft is not here: apt install nftables")
    try:
        made = Filter()
    except subprocess.CalledProcessError as e:
        pytest.skip(f"nft is not allowed here: {e.stderr.decode(errors='replace').splitlines()[:1]}")
    yield made
    made.remove()


@both_modes
def test_packets_of_the_lease_are_dropped(make_split, packets, mode):
    """A real black hole: the kernel resends, and nobody says no."""
    w = make_split(mode)
    victim = w.replicas[0]
    old = w.incarnation(victim)
    lease = w.proxy.sessions("lease", 0)[0]
    with probed(w) as probe:
        hole = time.monotonic()
        packets.drop(lease["port"], w.proxy.port(0))
        # It opens a new session, and that one passes: fenced or not, it acts again soon, and never in between.
        time.sleep(w.ttl + 1.5)
        gap = [a for a in probe.refused(victim, hole)]
        assert gap, "the lease was silent, and nothing was refused"
        probe.back(time.monotonic(), within=3.0)
    w.verify()
    assert old in [i for i, _ in lives(w)[victim.url]]
