# SPDX-License-Identifier: Apache-2.0
"""The primary of a pair is replaced by its standby. Each fault ends with a pair as it was before."""
import signal
import time

from lib.base import until
from lib.postgres import value
from lib.proxy import KINDS
from .faults_mixed import all_at_once, harms
from .faults_sessions import terminate
from .world import fault

COMMITTED, CALLED = "promotion → first commit, s", "promotion → first call, s"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^sagad (log|work|store|lease)'"


def fall(world, rng):
    """The primary dies, or is ended in order."""
    rng.choice([world.pair.kill, world.pair.stop, lambda: world.pair.stop(mode="fast")])()


def moved(world, within=30):
    """Every living replica holds its sessions at the new primary, and is ready."""
    until(lambda: world.value(OURS) == 4 * len(world.living), within, 0.05)
    for r in world.living:
        r.ready(within)


def first_work(world, read, promoted, clock, within=30):
    """The figures: the first row that the new primary took, and the first call that followed from one."""
    took = {}

    def first_call():
        took.update(world.rows("SELECT gid, extract(epoch FROM min(at))::float8 - %s FROM witness.history"
                               " WHERE at > to_timestamp(%s) GROUP BY gid", clock, clock))
        return min((c.at - promoted for c in world.participant.tail(read)
                    if c.epoch and c.at - promoted > took.get(c.gid, within)), default=None)

    called = until(first_call, within, 0.05)
    return {COMMITTED: min(took.values()), CALLED: called}


def promote(world, meanwhile=lambda: None):
    """The standby takes over, and every living replica finds it. Gives the figures."""
    read = len(world.participant.tail(0))
    world.pair.promote()
    promoted, clock = time.monotonic(), time.time()
    meanwhile()
    figures = first_work(world, read, promoted, clock)
    moved(world)
    return figures


def lag(world, rng):
    """From now on an asynchronous standby has nothing of what is answered."""
    if not world.pair.synchronous:
        world.pair.cut()
        time.sleep(rng.random())


@fault("failover, synchronous", needs=["pair", "synchronous"])
def failover_synchronous(world, rng):
    fall(world, rng)
    time.sleep(rng.choice([0, 1.5 * world.ttl]) * rng.random())
    figures = promote(world)
    world.pair.mend()
    return figures


@fault("failover, asynchronous, commits lost", needs=["pair", "asynchronous"])
def failover_asynchronous(world, rng):
    """All replicas live, so all that was answered comes back."""
    lag(world, rng)
    world.pair.kill()
    time.sleep(rng.choice([0, 1.5 * world.ttl]) * rng.random())
    figures = promote(world)
    world.pair.mend()
    return figures


@fault("failover beside a living primary", needs=["pair"])
def failover_beside(world, rng):
    """Nobody tells the replicas, and no session of theirs ends. Without synchronous replication those who have not yet
    seen the new one go on with the old one for seconds: two writable primaries promise different things."""
    del rng
    figures = promote(world)
    if not world.pair.synchronous:
        world.lost |= {gid for load in world.loads for gid in list(load.told)}
    world.pair.mend()
    return {f"beside a living primary: {what}": took for what, took in figures.items()}


@fault("failover, the old primary comes back", needs=["pair"])
def old_primary_comes_back(world, rng):
    """Writable, on its old timeline; every session is made anew while it stands in the DSN beside the new one."""
    lag(world, rng)
    world.pair.kill()
    figures = promote(world)
    old = world.pair.direct(world.pair.standby)
    world.pair.start(world.pair.standby)
    terminate(world, "")
    time.sleep(world.ttl * rng.uniform(0.5, 2))
    moved(world)
    assert value(old, OURS) == 0, "a replica believes the old primary"
    world.pair.mend()
    return {f"the old primary comes back: {what}": took for what, took in figures.items()}


def known_to(world, replicas):
    """The gids that they have had a hand in since the last audit."""
    return {g for g, in world.rows(
        "SELECT DISTINCT h.gid FROM witness.history h JOIN sagad.replica r ON r.id = h.owner"
        " WHERE r.address = ANY(%s) AND h.number > %s", [r.url for r in replicas], world.history_from)}


@fault("failover, replicas die with the primary", needs=["pair"])
def failover_and_kill(world, rng):
    """Some or all. What only the dead knew is lost with an asynchronous standby."""
    victims = rng.sample(world.living, rng.choice([1, len(world.living) - 1, len(world.living)]))
    world.busy(*victims)
    lag(world, rng)
    blows = [v.kill for v in victims]
    if world.pair.synchronous:
        blows.insert(rng.randrange(len(blows) + 1), lambda: fall(world, rng))
    for blow in blows:
        blow()
        time.sleep(0.1 * rng.random())
    if not world.pair.synchronous:
        world.lost |= known_to(world, victims)
        fall(world, rng)
    figures = promote(world, world.restore if len(victims) == world.count else lambda: None)
    world.pair.mend()
    return {f"beside dead replicas: {what}": took for what, took in figures.items()}


def mild(world):
    """Harms in which nobody forgets anything: functions of a random source."""
    def stand_still(rng):
        victim = rng.choice(world.replicas)
        victim.signal(signal.SIGSTOP)
        time.sleep(world.ttl * 0.4 * rng.random())
        victim.signal(signal.SIGCONT)

    def cut(rng):
        world.proxy.cut(rng.choice([*KINDS, None]), rng.randrange(len(world.replicas)))

    return [stand_still, cut]


@fault("failover amid everything", needs=["pair", "proxy"])
def failover_amid_everything(world, rng):
    """Processes stand still and sessions break, before, while and after the primary is replaced; if nothing can be
    lost with it, processes die, too."""
    def replace():
        time.sleep(4 * rng.random())
        lag(world, rng)
        fall(world, rng)
        time.sleep(rng.choice([0, world.ttl]) * rng.random())
        world.pair.promote()

    all_at_once(world, rng, (harms if world.pair.synchronous else mild)(world), meanwhile=replace)
    moved(world)
    world.pair.mend()


@fault("synchronous standby away", needs=["pair", "synchronous"])
def standby_away(world, rng):
    """Commits wait for it."""
    world.pair.stop(world.pair.standby)
    time.sleep(rng.uniform(0.5, 3) * world.ttl)
    world.pair.start(world.pair.standby)
    return {"standby away → flowing, s": world.flowing(within=4 * world.ttl + 10)}
