# SPDX-License-Identifier: Apache-2.0
"""The database dies, restarts, stays away, is full, crowded, locked, read-only, or will not store one row."""
import time

import pytest

from lib.base import until
from . import faults_database as db
from .faults_sessions import terminate
from .modes import both_modes
from .participant import Reply
from .probe import ANSWER_S, MACHINE_S, probed
from .test_kill import bound

pytestmark = pytest.mark.needs_server_control


def lives(world):
    """The incarnations there are, by replica."""
    return sorted(world.rows("SELECT address, id::text, state FROM sagad.replica"))


def refuses_at_once(world):
    """No replica lets anybody wait for a database that is known to be away."""
    for r in world.replicas:
        began = time.monotonic()
        answer = world.client.post("/v1/transactions", {"mode": "tcc", "deadline": "1m", "input": {}}, at=r.at)
        assert answer.status == 503 and answer.headers["Retry-After"] and answer.json["retryable"] is True, answer
        assert time.monotonic() - began < 1.0 + MACHINE_S, r.at
        assert r.ops("/livez").status == 200 and r.ops("/readyz").status == 503


# ---- it goes ---------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("kind", ["log", "lease"])
def test_kill_9_of_a_backend(make_world, mode, kind):
    """The server throws everybody out and recovers. No replica takes that for the death of another."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        db.kill_backend(w, kind)
        seconds = probe.back(time.monotonic(), within=3.0)
    assert lives(w) == before
    print(f"kill -9 of a {kind} backend ({mode}): back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_what_was_acknowledged_survives_restarts_under_load(make_world, mode):
    """pg_ctl stop -m immediate, as if the power went; three times."""
    w = make_world(mode=mode).settled()
    with probed(w, clients=10, pace=0.04) as probe:
        before = lives(w)
        for _ in range(3):
            with db.server_away(w):
                pass
            seconds = probe.back(time.monotonic(), within=3.0)
            time.sleep(0.3)
    assert lives(w) == before
    print(f"restarted three times ({mode}): back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_the_database_is_away_for_longer_than_leases_last(make_world, mode):
    """Every lease ends, and nobody is there to judge. Whoever is back first leaves the others their time."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        with db.server_away(w):
            time.sleep(1.0)
            refuses_at_once(w)
            time.sleep(3 * w.ttl - 1.0)
            refuses_at_once(w)
        seconds = probe.back(time.monotonic(), within=4.0)
    assert lives(w) == before
    print(f"away for {3 * w.ttl:.0f} s ({mode}): back after {seconds:.2f} s; {w.verify()}")


# ---- it says no --------------------------------------------------------------------------------------


@both_modes
def test_a_full_disk(make_world, mode):
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        with db.disk_full(w):
            until(lambda: "53100" in "".join(r.log() for r in w.replicas), 10)
            at = time.monotonic()
            time.sleep(2 * w.ttl)
            assert probe.slowest(at) < ANSWER_S
        seconds = probe.back(time.monotonic(), within=4.0)
    print(f"disk full for {2 * w.ttl:.0f} s: back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_too_many_connections(make_world, mode):
    """Others took every place that the server has while the replicas had lost theirs."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        with db.no_connections(w):
            time.sleep(w.ttl)
            refuses_at_once(w)
        seconds = probe.back(time.monotonic(), within=4.0)
    assert lives(w) == before
    print(f"no connections ({mode}): back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_read_only_for_longer_than_leases_last(make_world, mode):
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        with db.read_only(w):
            at = time.monotonic() + 0.5
            time.sleep(2 * w.ttl)
            assert not probe.accepted(since=at) and probe.refused(since=at)
            assert probe.slowest(at) < ANSWER_S
        seconds = probe.back(time.monotonic(), within=4.0)
    print(f"read-only for {2 * w.ttl:.0f} s ({mode}): back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_statements_that_fail_for_reasons_that_pass(make_world, mode):
    """Out of memory, a lost serialization, an error of the disk: now and then one row of a batch. Nobody is parked for it."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        for sqlstate, when in (("40001", "BEFORE UPDATE"), ("53200", "BEFORE INSERT"), ("58030", "BEFORE UPDATE"), ("57014", "BEFORE UPDATE")):
            with db.refused(w, "random() < 0.1", sqlstate, when):
                time.sleep(0.5)
        probe.back(time.monotonic(), within=3.0)
    assert lives(w) == before
    report = w.verify()
    assert report.stuck == 0 and report.accepted > 0, report


@pytest.mark.parametrize("sqlstate", ["23514", "54000", "P0001", "XX001"])
def test_a_row_that_cannot_be_stored_hurts_nobody_else(make_world, sqlstate):
    """A data error is the row's own fault: it is parked as stuck with a reason, and a person can let it go on."""
    w = make_world().settled()
    call = {"url": w.participant.url + "/slow/a?ms=400", "timeout": "3s"}
    bad = "NEW.gid = 'bad' AND NEW.stuck = 'none' AND NEW.progress <> OLD.progress"
    with w.load() as load:
        load.warm()
        with db.refused(w, bad, sqlstate):
            answer = w.client.post("/v1/transactions", {"gid": "bad", "mode": "saga", "input": {}, "steps": {
                "a": {"action": call, "compensate": call}}})
            assert answer.status == 201, answer
            until(lambda: w.value("SELECT stuck FROM sagad.transaction WHERE gid = 'bad'") == "bad_row", 5)
            shown = w.client.transaction("bad")
            assert shown["stuck"]["reason"], shown
            w.flowing(within=4)
        assert w.value("SELECT count(*) FROM sagad.transaction WHERE stuck <> 'none'") == 1
        retry = w.client.post("/v1/transactions/bad/retry", {"reason": "the row can be stored again"})
        assert retry.status in (200, 202), retry
        assert w.client.ended("bad", wait="10s")["phase"] == "confirmed"
    w.verify()


def test_a_row_that_nobody_may_write_hurts_nobody_else(make_world):
    """Not even that it is stuck can be stored. The others go on all the same."""
    w = make_world().settled()
    call = {"url": w.participant.url + "/slow/a?ms=400", "timeout": "3s"}
    with probed(w) as probe:
        with db.refused(w, "NEW.gid = 'bad'", "23514"):
            answer = w.client.post("/v1/transactions", {"gid": "bad", "mode": "saga", "input": {}, "steps": {
                "a": {"action": call, "compensate": call}}})
            assert answer.status == 201, answer
            time.sleep(1.0)
            at = time.monotonic()
            w.flowing(within=4)
            time.sleep(max(0.0, at + 2 * w.ttl - time.monotonic()))
            assert probe.slowest(at) < 2.0
            assert all(probe.accepted(r, time.monotonic() - 1.0) for r in w.replicas)
        terminate(w, "log")  # it was let go, and is read again each half minute and after every break
        assert w.client.ended("bad", wait="10s")["phase"] == "confirmed"
    w.verify()


@both_modes
def test_rows_that_nobody_can_take_over_hurt_nobody_else(make_world, mode):
    """One among those of a dead replica, and one among the parked ones: whole pages failed with them, for ever."""
    w = make_world(mode=mode, flags=["--park-after=200ms"]).settled()
    victim, sleepers = w.replicas[0], ("sleeps-badly", "sleeps-well")
    w.participant.answer("/sleep", Reply(202, headers={"Retry-After": "2"}, do=False))
    call = {"url": w.participant.url + "/sleep", "timeout": "3s"}
    with w.load() as load:
        load.warm()
        for gid in sleepers:
            assert w.client.begin(gid=gid, mode="saga", input={}, steps={
                "a": {"action": call, "compensate": call}}).status == 201
        w.busy(victim)
        old = w.incarnation(victim)
        # They wake every two seconds, are told to wait, and are parked again.
        until(lambda: w.value("SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND owner IS NULL",
                              list(sleepers)) == 2, 15)
        bad = until(lambda: w.value(
            "SELECT min(gid) FROM sagad.transaction WHERE owner = %s::uuid AND phase <> 'prepared' AND gid <> ALL(%s)", old,
            list(sleepers)), 5)
        with db.refused(w, f"NEW.gid IN ('{bad}', 'sleeps-badly')", "P0001"):
            w.participant.answer("/sleep")
            victim.kill()
            until(lambda: w.value("SELECT state FROM sagad.replica WHERE id = %s::uuid", old) == "fenced", 5)
            until(lambda: w.owned_by(old) <= 1, 15)
            assert w.client.ended("sleeps-well", wait="20s")["phase"] == "confirmed"
            assert w.client.transaction("sleeps-badly")["phase"] == "trying"
        assert w.client.ended("sleeps-badly", wait="30s")["phase"] == "confirmed"
    w.verify()


# ---- others are in the way ------------------------------------------------------------------------------


@both_modes
def test_the_table_is_locked_by_somebody_else(make_world, mode):
    """ALTER TABLE, VACUUM FULL: no commit is done for longer than a lease lasts. That is no dead log, and costs nobody his life."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        with db.held(w, db.LOCK_TABLE):
            time.sleep(1.5 * w.ttl)
        seconds = probe.back(time.monotonic(), within=3.0)
        w.execute("VACUUM FULL sagad.transaction")
        time.sleep(0.5)
    assert lives(w) == before
    print(f"table locked ({mode}): back after {seconds:.2f} s; {w.verify()}")


def test_leases_that_are_rows_are_locked_by_somebody_else(make_world):
    """No beat gets through: all fall silent, none is judged, all come back."""
    w = make_world(mode="row").settled()
    with probed(w) as probe:
        before = lives(w)
        with db.held(w, "LOCK TABLE sagad.lease IN ACCESS EXCLUSIVE MODE"):
            time.sleep(1.5 * w.ttl)
            at = time.monotonic()
            time.sleep(0.5)
            assert not probe.accepted(since=at)
        seconds = probe.back(time.monotonic(), within=4.0)
    assert lives(w) == before
    print(f"leases locked: back after {seconds:.2f} s; {w.verify()}")


@both_modes
def test_rows_are_locked_by_somebody_else(make_world, mode):
    """A person's SELECT … FOR UPDATE, and then lunch. Those rows wait; nothing else does."""
    w = make_world(mode=mode).settled()
    with probed(w) as probe:
        before = lives(w)
        w.busy()
        with db.held(w, db.LOCK_ROWS) as locked:
            assert locked
            time.sleep(1.3 * w.ttl)
            at = time.monotonic()
            w.flowing(within=6)
            assert all(probe.accepted(r, at) for r in w.replicas) and probe.slowest(at) < 4.0
            waiting = w.value("SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND ended_at IS NULL",
                              [g for g, in locked])
            assert waiting == len(locked)
        until(lambda: w.value("SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND ended_at IS NULL "
                              "AND phase <> 'prepared'", [g for g, in locked]) == 0, 6)
    assert lives(w) == before
    print(f"{len(locked)} rows locked ({mode}): {w.verify()}")


@both_modes
def test_an_old_snapshot_delays_no_adoption(make_world, mode):
    """Nor does it hold back what a beat writes again and again."""
    w = make_world(mode=mode).settled()
    with db.held(w, "SELECT count(*) FROM sagad.transaction", "REPEATABLE READ"), \
            probed(w, count=200, clients=10) as probe:
        probe.gone.add(w.replicas[0])
        w.busy(w.replicas[0])
        killed = w.replicas[0].kill()
        first = w.first_adopted(killed, within=5)
        w.flowing()
    print(f"kill -9 beside an old snapshot → first adopted call: {first:.2f} s; {w.verify()}")
    assert first < bound(w) + MACHINE_S
