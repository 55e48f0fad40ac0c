# SPDX-License-Identifier: Apache-2.0
"""Clients that ask twice at once, contradict each other, and leave; while a replica dies, or none."""
import concurrent.futures
import itertools
import threading
import time

from .load import Told, call, try_it
from .world import fault

_numbers = itertools.count(1)


def at_once(jobs):
    """Runs them in threads that start at the same moment; their results."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        gate.wait(10)
        return job()

    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def beside(world, rng, jobs, kill):
    """At once, and if so half of the time a replica is killed at that moment. Gives the results, and whether one was."""
    living = world.living
    victim = rng.choice(living) if kill and len(living) > 1 and rng.random() < 0.5 else None

    def die():
        time.sleep(0.02 * rng.random())
        victim.kill()

    got = at_once([*jobs, die] if victim else jobs)
    return got[:len(jobs)], victim is not None


@fault("the same gid from ten connections at once", whole=False)
def the_same_gid(world, rng, alone=True):
    """On all replicas; eight mean the same transaction, two another one. alone: nothing else is wrong now."""
    document = world.kinds["sequence"].document
    for _ in range(5):
        gid = f"twice-{next(_numbers)}-{time.monotonic_ns()}"
        bodies = [{"gid": gid, "input": {"n": n // 8}, **document} for n in range(10)]
        places = [r.at for r in world.living]
        answers, killed = beside(world, rng, [
            lambda b=b, n=n: world.insist("/v1/transactions", b, at=places[n % len(places)]) for n, b in enumerate(bodies)], kill=alone)
        meant = 0 if answers[0].status < 300 else 1  # whose transaction it is
        for n, a in enumerate(answers):
            if n // 8 == meant:
                assert a.status in (200, 201, 202) and a.json["gid"] == gid, a
            else:
                assert a.status == 422 and a.json["code"] == "idempotency_key_reused", a
        made = sum(a.status == 201 for a in answers)  # its answer may have died with the replica
        assert made == 1 or (made == 0 and (killed or not alone)), answers
        told = world.told[gid] = Told(gid, "sequence")
        told.accepted_at = time.time()


@fault("confirm and cancel at the same moment", whole=False)
def contradiction(world, rng, alone=True):
    """On two replicas, of which neither may be the owner: one decision, and the loser gets 409."""
    for _ in range(5):
        gid = f"both-{next(_numbers)}-{time.monotonic_ns()}"
        told = world.told[gid] = Told(gid, "open-confirm")
        path = f"/v1/transactions/{gid}"
        begun = world.insist("/v1/transactions", {"gid": gid, "mode": "tcc", "deadline": "60s", "input": {}})
        assert begun.status < 300, begun
        told.accepted_at = time.time()
        url = world.participant.url
        joined = world.insist(path + "/steps", {
            "name": "a", "confirm": call(url, "ok", "a"), "cancel": call(url, "ok", "a")})
        assert joined.status < 300, joined
        told.joined.add("a")
        assert try_it(url, gid, "a")
        places = [r.at for r in rng.sample(world.living, 2)] if len(world.living) > 1 else [None, None]
        (confirm, cancel), _ = beside(world, rng, [
            lambda p=p, op=op: world.insist(f"{path}/{op}", {}, at=p) for op, p in zip(("confirm", "cancel"), places)], kill=alone)
        winner, loser, op = (confirm, cancel, "confirm") if confirm.status < 300 else (cancel, confirm, "cancel")
        assert winner.status in (200, 202), (confirm, cancel)
        assert loser.status == 409 and loser.json["code"] == "decided", (confirm, cancel)
        told.decisions.add(op)
