# SPDX-License-Identifier: Apache-2.0
"""No fault but a leave in order: nobody waits for a lease to run out."""
import http.client
import time

from lib.base import until
from .modes import both_modes
from .participant import Reply
from .test_kill import MACHINE, pick, run
from .world import fault


@fault("drain", whole=False)
def drain(world, rng):
    victim, = pick(world, rng, 1)
    world.busy(victim)
    began = time.monotonic()
    assert victim.terminate() == 0, victim.log()[-3000:]
    return {"drain, s": time.monotonic() - began}


@both_modes
def test_a_leave_in_order_under_load(make_world, mode):
    world = make_world(mode=mode)
    figures, _ = run(world, drain)
    assert figures["drain, s"] < 5 + MACHINE
    states = [s for s, in world.rows("SELECT state FROM sagad.replica")]
    assert states.count("drained") == 1 and "fenced" not in states


@both_modes
def test_what_a_leaving_replica_owned_is_released(make_world, mode):
    """Longer calls than it may wait for: they are left to others, who ask again."""
    world = make_world(mode=mode, flags=["--drain.grace=500ms"])
    world.settled()
    leaving = world.replicas[0]
    world.participant.answer("/slow/a", Reply(200, delay=1.5))
    gids = [f"left-{i}" for i in range(30)]
    for gid in gids:
        answer = world.client.post("/v1/transactions", one_step(world, gid), at=leaving.at)
        assert answer.status == 201, answer
    old, began = world.incarnation(leaving), time.monotonic()
    assert leaving.terminate() == 0
    assert time.monotonic() - began < 3 and world.owned_by(old) == 0
    until(lambda: world.value("SELECT count(*) FROM sagad.transaction WHERE phase = 'confirmed'") == 30, 15)
    world.verify()


def one_step(world, gid):
    return {"gid": gid, "mode": "saga", "input": {}, "steps": {
        "a": {"action": {"url": world.participant.url + "/slow/a", "timeout": "20s"},
              "compensate": {"url": world.participant.url + "/ok/a"}}}}


def test_a_draining_replica_is_not_ready_and_takes_nothing_new(make_world):
    world = make_world(replicas=2)
    leaving = world.replicas[0]
    world.participant.answer("/slow/a", Reply(200, delay=2.0))
    assert world.client.post("/v1/transactions", one_step(world, "open"), at=leaving.at).status == 201
    leaving.process.terminate()
    time.sleep(0.3)
    try:
        assert leaving.ops("/readyz").status == 503
        assert leaving.ops("/livez").status == 200
        answer = world.client.post("/v1/transactions", one_step(world, "late"), at=leaving.at)
        assert answer.status == 503 and answer.headers["Retry-After"], answer
    except (OSError, http.client.HTTPException):
        assert leaving.process.wait(20) == 0  # gone already
    assert leaving.process.wait(20) == 0
    world.verify()
