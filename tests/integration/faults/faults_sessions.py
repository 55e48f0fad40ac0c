# SPDX-License-Identifier: Apache-2.0
"""Faults of the network between one replica, or all of them, and the database. Each ends with all restored.

Each takes a world whose replicas stand behind a proxy (world.proxy, doors by replica number) and a random.Random."""
import time

import psycopg

from lib.proxy import KINDS
from .world import fault


# ---- the faults --------------------------------------------------------------------------------


def _victim(world, random):
    number = random.randrange(len(world.replicas))
    return number, world.replicas[number]


@fault("a kind of session cut everywhere", needs=["proxy"])
def fault_flap(world, random):
    world.proxy.cut(random.choice(KINDS))


def terminate(world, kind):
    """pg_terminate_backend of every session of that kind; their number."""
    return world.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                       "WHERE application_name LIKE %s AND datname = current_database()", f"sagad {kind}%")


@fault("a kind of session terminated by the server")
def fault_terminate(world, random):
    try:
        terminate(world, random.choice(KINDS))
    except psycopg.OperationalError:
        pass  # the database is away just now


@fault("lease cut for longer than its time, the log lives", needs=["proxy"])
def fault_lease_cut(world, random):
    _cut_for(world, random, "lease")


@fault("log cut for longer than the lease, which lives", needs=["proxy"])
def fault_log_cut(world, random):
    _cut_for(world, random, "log")


def _cut_for(world, random, kind):
    world.proxy.refuse(kind, _victim(world, random)[0])
    time.sleep(world.ttl * random.uniform(0.3, 2.5))
    world.proxy.restore()


@fault("black hole of one kind of session of one replica", needs=["proxy"])
def fault_black_hole(world, random):
    world.proxy.black_hole(random.choice(KINDS), _victim(world, random)[0], random.choice(["both", "up", "down"]))
    time.sleep(world.ttl * random.uniform(0.3, 3))
    world.proxy.restore(forget=random.random() < 0.3)


@fault("a session is forgotten on the way", needs=["proxy"])
def fault_lost_session(world, random):
    world.proxy.lose(random.choice(KINDS), _victim(world, random)[0])
    time.sleep(world.ttl * random.uniform(1, 4))
    world.proxy.restore(forget=True)


@fault("one replica cut off from the database", needs=["proxy"])
def fault_partition(world, random):
    world.proxy.black_hole(None, _victim(world, random)[0])
    time.sleep(world.ttl * random.uniform(0.5, 3))
    world.proxy.restore(forget=random.random() < 0.3)


@fault("all replicas cut off from the database", needs=["proxy"])
def fault_all_cut_off(world, random):
    world.proxy.black_hole()
    time.sleep(world.ttl * random.uniform(0.5, 2.5))
    world.proxy.restore(forget=random.random() < 0.3)


@fault("commits land and nobody is told", needs=["proxy"])
def fault_answers_lost(world, random):
    number, _ = _victim(world, random)
    world.proxy.black_hole("log", number, "down")
    time.sleep(random.uniform(0.05, 0.5))
    world.proxy.cut("log", number)
    world.proxy.restore()


@fault("a slow database: 200 ms a round trip", needs=["proxy"])
def fault_slow(world, random):
    world.proxy.slow(None, random.choice([50, 200]))
    time.sleep(random.uniform(2, 6))
    world.proxy.restore()
