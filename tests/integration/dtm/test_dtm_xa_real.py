# SPDX-License-Identifier: Apache-2.0
"""DTM's xa with PREPARE TRANSACTION on a real PostgreSQL: services, applications and replicas die between the phases; nothing
stays prepared, and no money is lost."""
import itertools

import pytest

from lib.base import until
from lib.dtm import Dtm, make_cluster, success

LONG = 30000
_gids = itertools.count(1)


@pytest.fixture(scope="module")
def own(xa_server):
    """Three replicas that may be killed."""
    cluster, remove = make_cluster(xa_server)
    yield cluster
    remove()


@pytest.fixture
def banks(xa_banks):
    """Whatever a test does, in the end nothing is prepared and the sum is what it was."""
    yield xa_banks
    assert [bank.prepared() for bank in xa_banks] == [0, 0]
    assert sum(bank.balance() for bank in xa_banks) == 0


class Transfer:
    def __init__(self, cluster, banks, **options):
        self.cluster, self.banks, self.gid = cluster, banks, f"xa-{next(_gids)}"
        self.before = banks[1].balance()
        self.t = Dtm(cluster.client, banks[0], "xa", self.gid, **{"timeout_to_fail": LONG, "retry_interval": 5, **options})
        success(self.t.prepare())

    def decide(self, how):
        """As applications do: asked again until there is an answer."""
        success(until(lambda: (lambda a: a if a.status != 500 else None)(getattr(self.t, how)()), 20))

    def act(self, amount=30, die=(None, None)):
        """The two branches, until one fails: what they answered."""
        answers = []
        for number, (bank, sign) in enumerate(zip(self.banks, (-1, 1))):
            answers.append(bank.call(self.cluster.replicas[0], self.gid, f"{number + 1:02d}", sign * amount, die[number]))
            if answers[-1] != 200:
                break
        return answers

    def prepared(self):
        return [bank.prepared(self.gid) for bank in self.banks]

    def ended(self, status, moved=30):
        assert self.t.ended() == status
        effects, moved = ([1, 1], moved) if status == "succeed" else ([0, 0], 0)
        assert [bank.effects(self.gid) for bank in self.banks] == effects and self.prepared() == [0, 0]
        assert self.banks[1].balance() == self.before + moved


@pytest.fixture
def transfer(own, banks):
    return lambda **options: Transfer(own, banks, **options)


def owner_of(cluster, gid):
    """The replica that drives it."""
    def found():
        ids = {r["id"]: r["address"] for r in cluster.client.get("/v1/replicas").json["items"]}
        owner = cluster.client.transaction(gid)["owner"]
        return next((r for r in cluster.replicas if r.url == ids.get(owner)), None)

    return until(found)


def until_asked(cluster, gid):
    """Until a call of the second phase has found nobody."""
    until(lambda: any(s["last_error"] for s in cluster.client.transaction(gid)["steps"]), 20)


# ---- nobody dies -----------------------------------------------------------------------


def test_commit(transfer):
    it = transfer()
    assert it.act() == [200, 200] and it.prepared() == [1, 1]
    assert it.banks[1].balance() == it.before, "nobody sees it before the decision"
    success(it.t.submit(wait_result=True))
    it.ended("succeed")


def test_rollback(transfer):
    it = transfer()
    assert it.act() == [200, 200] and it.prepared() == [1, 1]
    success(it.t.abort(rollback_reason="not today"))
    it.ended("failed")
    assert it.t.query()["transaction"]["rollback_reason"] == "not today"


def test_a_branch_that_refuses(transfer):
    it = transfer()
    assert it.act(amount=10**7) == [409]  # more than there is
    success(it.t.abort())
    it.ended("failed")


def test_an_action_after_its_rollback_is_not_prepared(transfer):
    it = transfer()
    success(it.t.branch("01", url=it.banks[0].url + "/move"))
    success(it.t.abort())
    it.ended("failed")
    assert it.act() == [409] and it.prepared() == [0, 0]


# ---- the service dies ---------------------------------------------------------------------


@pytest.mark.parametrize("point", ["registered", "prepared"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_service_dies_in_its_action(transfer, point, number):
    """The application hears nothing, and rolls back."""
    it = transfer()
    assert it.act(die=(point, None) if number == 0 else (None, point)) == [200] * number + [0]
    assert it.prepared() == [number, 0] if point == "registered" else [1, number]
    success(it.t.abort(rollback_reason="no answer"))
    it.ended("failed")
    assert it.banks[number].died(it.gid)


@pytest.mark.parametrize("decision", ["submit", "abort"])
def test_a_service_dies_after_its_second_phase(transfer, decision):
    """Done, and its answer is lost: asked again, there is nothing left to do."""
    it = transfer()
    assert it.act(die=(None, "ended")) == [200, 200]
    it.decide(decision)
    it.ended("succeed" if decision == "submit" else "failed")
    assert it.banks[1].died(it.gid)


@pytest.mark.parametrize("decision", ["submit", "abort"])
def test_a_service_is_killed_between_the_phases(own, transfer, decision):
    it = transfer()
    assert it.act() == [200, 200]
    it.banks[1].kill(stay_down=True)
    it.decide(decision)
    until_asked(own, it.gid)
    assert it.t.status() == ("submitted" if decision == "submit" else "aborting") and it.prepared()[1] == 1
    it.banks[1].start()
    it.ended("succeed" if decision == "submit" else "failed")


def test_its_database_crashes_between_the_phases(xa_server, own, transfer):
    """What is prepared outlives it."""
    it = transfer()
    assert it.act() == [200, 200]
    xa_server.stop("immediate")
    xa_server.start()
    until(lambda: it.prepared() == [1, 1])
    for r in own.replicas:
        r.ready(30)
    it.decide("submit")
    it.ended("succeed")


# ---- the application dies ---------------------------------------------------------------------


def test_an_application_that_never_decides(transfer):
    it = transfer(timeout_to_fail=50)  # 1 s
    assert it.act() == [200, 200] and it.prepared() == [1, 1]
    it.ended("failed")
    assert it.t.query()["transaction"]["rollback_reason"] == "Timeout after 50 seconds"


# ---- a replica dies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["submit", "abort"])
def test_the_owner_is_killed_between_the_phases(own, transfer, decision):
    it = transfer()
    victim = owner_of(own, it.gid)
    assert it.act() == [200, 200]
    victim.kill()
    victim.start().ready()
    it.decide(decision)
    it.ended("succeed" if decision == "submit" else "failed")


@pytest.mark.parametrize("decision", ["submit", "abort"])
def test_the_owner_is_killed_behind_the_decision(own, transfer, decision):
    """Nobody has heard of it but the log."""
    it = transfer()
    assert it.act() == [200, 200]
    it.banks[0].kill(stay_down=True)
    it.decide(decision)
    until_asked(own, it.gid)
    victim, epoch = owner_of(own, it.gid), own.client.transaction(it.gid)["epoch"]
    victim.kill()
    it.banks[0].start()
    victim.start().ready()
    it.ended("succeed" if decision == "submit" else "failed")
    assert own.client.transaction(it.gid)["epoch"] > epoch, "another one has ended it"
