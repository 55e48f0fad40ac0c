# SPDX-License-Identifier: Apache-2.0
"""Faults of the network between one replica, or all of them, and the database. Each ends with all restored.

They take a world whose replicas stand behind a proxy (world.proxy; the doors are the replicas' numbers)."""
import time

import psycopg

from lib.proxy import KINDS
from .world import fault


def healed(world, what, **more):
    """Restores the network; the figure: how long until every client is served again."""
    world.proxy.restore(**more)
    return {f"{what} → flowing, s": world.flowing(within=4 * world.ttl + 10)}


@fault("flap", needs=["proxy"])
def flap(world, rng):
    """A kind of session is reset everywhere, and may come back at once."""
    world.proxy.cut(rng.choice(KINDS))
    return healed(world, "flap")


def terminate(world, kind):
    """pg_terminate_backend of every session of that kind; their number."""
    return world.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                       "WHERE application_name LIKE %s AND datname = current_database()", f"sagad {kind}%")


@fault("terminate sessions")
def terminate_sessions(world, rng):
    try:
        terminate(world, rng.choice(KINDS))
    except psycopg.OperationalError:
        pass  # the database is away just now


@fault("lease cut, log lives", needs=["proxy"])
def lease_cut(world, rng):
    world.proxy.refuse("lease", rng.choice(world.living).number)
    time.sleep(world.ttl * rng.uniform(0.3, 2.5))
    return healed(world, "lease cut")


@fault("log cut, lease lives", needs=["proxy"])
def log_cut(world, rng):
    world.proxy.refuse("log", rng.choice(world.living).number)
    time.sleep(world.ttl * rng.uniform(0.3, 2.5))
    return healed(world, "log cut")


@fault("black hole of one session", needs=["proxy"])
def black_hole(world, rng):
    """Of any kind, in any direction, for any time."""
    world.proxy.black_hole(rng.choice(KINDS), rng.choice(world.living).number, rng.choice(["both", "up", "down"]))
    time.sleep(world.ttl * rng.uniform(0.3, 3))
    return healed(world, "black hole of one session", forget=rng.random() < 0.3)


def occupy(world, victim):
    """It drives transactions whose calls outlast its lease: one without a lease may end what it can until then."""
    call = {"url": world.participant.url + f"/slow/long?ms={1250 * world.ttl:.0f}", "timeout": f"{2 * world.ttl:.0f}s"}
    for i in range(3):
        answer = world.client.post("/v1/transactions", {
            "gid": f"long-{time.monotonic_ns()}-{i}", "mode": "saga", "input": {},
            "steps": {"a": {"action": call, "compensate": {**call, "url": world.participant.url + "/ok/long"}}}}, at=victim.at)
        assert answer.status == 201, answer
    time.sleep(0.1)


def _hole_until_adopted(world, rng, kind, what):
    victim = rng.choice(world.living)
    occupy(world, victim)
    at = time.monotonic()
    world.proxy.black_hole(kind, victim.number)
    first = world.first_adopted(at, within=world.ttl + 6)
    time.sleep(world.ttl * rng.random())
    return {f"{what} → first adopted call, s": first, **healed(world, what, forget=rng.random() < 0.3)}


def hole_bound(world):
    return world.ttl + 1.5


@fault("black hole of the lease", needs=["proxy"], promises={"black hole of the lease → first adopted call, s": hole_bound})
def black_hole_of_the_lease(world, rng):
    return _hole_until_adopted(world, rng, "lease", "black hole of the lease")


@fault("one replica cut off", needs=["proxy"], promises={"black hole of a replica → first adopted call, s": hole_bound})
def one_cut_off(world, rng):
    return _hole_until_adopted(world, rng, None, "black hole of a replica")


@fault("all replicas cut off", needs=["proxy"])
def all_cut_off(world, rng):
    world.proxy.black_hole()
    time.sleep(world.ttl * rng.uniform(0.5, 2.5))
    return healed(world, "all cut off", forget=rng.random() < 0.3)


@fault("lost session", needs=["proxy"])
def lost_session(world, rng):
    """A firewall forgets it; new ones pass."""
    world.proxy.lose(rng.choice(KINDS), rng.choice(world.living).number)
    time.sleep(world.ttl * rng.uniform(1, 4))
    return healed(world, "lost session", forget=True)


@fault("commits land, nobody is told", needs=["proxy"])
def answers_lost(world, rng):
    for _ in range(5):
        number = rng.choice(world.living).number
        world.proxy.black_hole("log", number, "down")
        time.sleep(rng.uniform(0.05, 0.5))
        world.proxy.cut("log", number)
        world.proxy.restore()
        time.sleep(rng.uniform(0.05, 0.5))
    return healed(world, "answers lost")


@fault("slow database", needs=["proxy"])
def slow_database(world, rng):
    world.proxy.slow(None, rng.choice([50, 200]))
    time.sleep(rng.uniform(2, 6))
    return healed(world, "slow database")
