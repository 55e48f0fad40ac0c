# SPDX-License-Identifier: Apache-2.0
"""sagad --chaos: a service that is right stands it, one that is wrong does not, and the same seed does the same."""
import collections

import pytest

from lib.base import until
from lib.ctl import Ctl
from lib.fickle import SECRET, Fickle

COUNT = 24


@pytest.fixture
def fickle():
    made = Fickle()
    yield made
    made.close()


def run(make_cluster, fickle, tmp_path, seed, prefix="chaos", **more):
    """COUNT transactions of two steps on that service; of every fourth the second is refused."""
    (tmp_path / "fickle").write_text(SECRET + "\n")
    cluster = make_cluster(count=1, flags=[f"--chaos={seed}", f"--secrets-dir={tmp_path}"], **more)
    client = cluster.client
    assert client.send("PUT", "/v1/participants/fickle", {"base_url": fickle.url, "secret": "fickle"}).status == 200
    fickle.signed = True

    def calls(input_):
        return {op: {"participant": "fickle", "path": f"/{op}", "body": input_} for op in ("try", "confirm", "cancel")}
    for number in range(COUNT):
        steps = {"a": calls({}), "b": calls({"refuse": number % 4 == 0})}
        answer = client.send("POST", "/v1/transactions", {
            "gid": f"{prefix}-{number}", "mode": "saga", "steps": steps, "input": {},
            "defaults": {"retry": {"initial": "50ms", "max": "200ms"}}})
        assert answer.status in (201, 202), answer.json
    for number in range(COUNT):
        want = "cancelled" if number % 4 == 0 else "confirmed"
        until(lambda n=number, w=want: client.get(f"/v1/transactions/{prefix}-{n}").json["phase"] == w, 30)
    return cluster


def strangers(fickle, op="cancel"):
    """Those of first attempts: whether there is another one depends on how fast the service is."""
    return {(gid, step) for gid, step, op_, attempt, _ in fickle.calls if gid.endswith("~chaos") and (op_, attempt) == (op, "1")}


def deeds(fickle):
    calls = [call for call in fickle.calls if not call[0].endswith("~chaos")]
    first = {}
    for at, call in enumerate(calls):
        first.setdefault(call[:4], at)
    return {"twice": any(n > 1 for n in collections.Counter(calls).values()), "stale": any(epoch == "0" for *_, epoch in calls),
            "held back": any(first.get(key[:3] + ("2",), len(calls)) < at for key, at in first.items() if key[3] == "1"),
            "again": any(int(attempt) > 1 for *_, attempt, _ in calls), "strangers": bool(strangers(fickle))}


def test_service_that_is_right_stands_it(make_cluster, fickle, tmp_path):
    fickle.slow = 0.01  # so that some are given up early
    cluster = run(make_cluster, fickle, tmp_path, 7)
    until(lambda: all(deeds(fickle).values()))
    until(lambda: strangers(fickle) == strangers(fickle, "try"))
    until(lambda: (fickle.held, fickle.taken) == (0, 2 * COUNT * 3 // 4))
    warned = cluster.replicas[0].events("chaos")
    assert len(warned) == 1 and warned[0]["SeverityText"] == "WARN" and warned[0]["Attributes"]["seed"] == 7
    shown = cluster.client.get("/v1/overview").json
    assert shown["here"]["chaos"] == 7 and shown["everywhere"]["chaos"] == [shown["here"]["replica"]]
    said = Ctl(lambda: [cluster.replicas[0].url])("overview").out
    assert f"chaos       calls go wrong on purpose at {shown['here']['replica']}; the seed of the one that answers is 7\n" in said, said


@pytest.mark.parametrize("fault", ["empty_cancel_forgotten", "done_twice_answered_once"])
def test_service_that_is_wrong_is_found_out(make_cluster, fickle, tmp_path, fault):
    fickle.faults = {fault}
    run(make_cluster, fickle, tmp_path, 7)
    until(lambda: fickle.held > 0)


def test_same_seed_does_the_same(make_cluster, fickle, tmp_path, postgres):
    seen = []
    for seed in (7, 7, 8):
        fickle.calls.clear()
        dsn = postgres.new_database()
        fickle.steps.clear()
        run(make_cluster, fickle, tmp_path, seed, dsn=dsn).stop()
        until(lambda: strangers(fickle) == strangers(fickle, "try"))
        seen.append(strangers(fickle))
        postgres.drop_database(dsn)
    assert seen[0] == seen[1] != seen[2]
