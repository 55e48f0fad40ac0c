# SPDX-License-Identifier: Apache-2.0
"""The ledger itself: an honest history passes, and each way to break it is noticed."""
import json

import pytest

from .ledger import Audit, Row, Version
from .load import Told, kinds
from .participant import Book, Call

KINDS = kinds("http://p")


class Story:
    """One saga of two steps that was adopted half way, one TCC confirmed, one refused saga, one open TCC cancelled."""

    def __init__(self):
        self.told, self.rows, self.books, self.calls, self.history = {}, {}, {}, [], []
        self.gone, self.lost, self.restored = (), (), False
        self.clock = 0.0
        saga = self.told_of("saga", "sequence")
        saga.ended_as, saga.decisions = "confirmed", {"confirm"}
        self.call("saga", "a", "try", 1)
        self.call("saga", "b", "try", 1)
        self.call("saga", "b", "try", 2)  # in flight when its owner died
        self.row("saga", "confirmed", 2, ["trying", "trying", "trying", "confirmed"], [1, 1, 2, 2],
                 [["pending", "pending"], ["tried", "pending"], ["tried", "pending"], ["tried", "tried"]])
        self.book("saga", {"a": "tried", "b": "tried"})
        self.told_of("tcc", "tcc").decisions = {"confirm"}
        for op in ("try", "confirm"):
            for step in "ab":
                self.call("tcc", step, op, 1)
        self.row("tcc", "confirmed", 1, ["trying", "confirming", "confirmed"], [1, 1, 1])
        self.book("tcc", {"a": "confirmed", "b": "confirmed"})
        self.told_of("refused", "refused")
        for step, op in (("a", "try"), ("b", "try"), ("b", "cancel"), ("a", "cancel")):
            self.call("refused", step, op, 1)
        self.row("refused", "cancelled", 1, ["trying", "cancelling", "cancelled"], [1, 1, 1])
        self.book("refused", {"a": "cancelled", "b": "cancelled"})
        self.told_of("open", "open-cancel").joined = {"a"}
        self.call("open", "a", "try", 0)
        self.call("open", "a", "cancel", 1)
        self.row("open", "cancelled", 1, ["prepared", "cancelling", "cancelled"], [1, 1, 1])
        self.book("open", {"a": "cancelled"})

    def told_of(self, gid, kind):
        told = self.told[gid] = Told(gid, kind)
        told.accepted_at = 1.0
        return told

    def call(self, gid, step, op, epoch, **more):
        self.clock += 1
        self.calls.append(Call(self.clock, self.clock + 0.5, gid, step, op, epoch, 1, f'"{gid}:{step}:{op}"', "sha", 200,
                               "http://r", "/ok")._replace(**more))

    def row(self, gid, phase, epoch, phases, epochs, states=()):
        self.rows[gid] = Row(phase, "none", epoch, len(phases), None)
        for n, (p, e) in enumerate(zip(phases, epochs)):
            steps = [{"state": s} if s != "pending" else {} for s in (states[n] if states else [])]
            self.history.append(Version(gid, n + 1, e, p, "me", float(n), json.dumps({"steps": steps})))

    def book(self, gid, states):
        for step, state in states.items():
            self.books[gid, step] = Book(int(state in ("tried", "confirmed")), state, [])

    def audit(self):
        return Audit(self.told, KINDS, self.rows, self.calls, self.books, self.history, self.gone, self.lost,
                     self.restored).run()


def change(rows, at, **more):
    rows[at] = rows[at]._replace(**more)


def lost(s):
    del s.rows["saga"]


def unknown_later(s):
    s.told["open"].unknown = True


def began_in_the_middle(s):
    """As when it was restored after a failover, where nothing can be lost."""
    s.history = [v for v in s.history if v.gid != "tcc" or v.version > 2]


def another_key_of_a_lost_one(s):
    s.lost = {"saga"}
    another_key(s)


def unfinished(s):
    change(s.rows, "saga", phase="trying")


def stuck_for_no_reason(s):
    change(s.rows, "saga", phase="trying", stuck="because")


def abandoned(s):
    change(s.rows, "saga", phase="abandoned")


def done_twice(s):
    change(s.books, ("saga", "a"), effect=2)


def never_done(s):
    del s.books["saga", "b"]


def not_confirmed(s):
    change(s.books, ("tcc", "a"), state="tried")


def lost_compensation(s):
    s.calls = [c for c in s.calls if (c.gid, c.step, c.op) != ("refused", "a", "cancel")]


def effect_left(s):
    change(s.books, ("refused", "a"), effect=1, state="tried")


def refused_step_not_cancelled(s):
    s.calls = [c for c in s.calls if (c.gid, c.step, c.op) != ("refused", "b", "cancel")]


def confirmed_and_cancelled(s):
    s.call("tcc", "a", "cancel", 1)


def confirm_of_a_cancelled(s):
    s.call("open", "a", "confirm", 1)


def the_participant_complains(s):
    change(s.books, ("tcc", "a"), wrong=["cancel after confirm"])


def another_key(s):
    s.call("saga", "a", "try", 2, key='"saga:a:try-2"')


def no_key(s):
    change(s.calls, 0, key=None)


def another_body(s):
    change(s.calls, 2, sha="other")


def an_older_epoch(s):
    s.call("saga", "b", "try", 1)


def an_epoch_nobody_had(s):
    s.call("tcc", "b", "confirm", 7)


def revised(s):
    at = next(i for i, v in enumerate(s.history) if v.gid == "refused" and v.phase == "cancelling")
    s.history.insert(at, s.history[at]._replace(phase="confirming", version=1.5))


def ended_twice(s):
    s.history.append(s.history[3]._replace(version=9, phase="cancelling"))


def version_back(s):
    change(s.history, 3, version=2)


def epoch_back(s):
    change(s.history, 3, epoch=1)


def told_otherwise(s):
    s.told["tcc"].decisions = {"cancel"}


def told_both(s):
    s.told["tcc"].decisions = {"confirm", "cancel"}


def told_another_end(s):
    s.told["saga"].ended_as = "cancelled"


def a_stranger(s):
    s.call("nobody", "a", "try", 1)


def called_after_its_audit(s):
    s.gone = {"old"}
    s.call("old", "a", "try", 1)


def called_though_settled(s):
    s.call("saga", "a", "try", 2)


BROKEN = {
    lost: "saga: was acknowledged and is not in the log",
    unfinished: "saga: neither ended nor",
    unknown_later: "open: was acknowledged, and later nobody knew it",
    began_in_the_middle: "tcc: went from None to confirmed",
    another_key_of_a_lost_one: "saga: try of a came with the keys",
    stuck_for_no_reason: "saga: neither ended nor",
    abandoned: "saga: was abandoned",
    done_twice: "saga: step a has 2 effects",
    never_done: "saga: confirmed, but step b is None",
    not_confirmed: "tcc: confirmed, but step a",
    lost_compensation: "refused: cancelled, but the try of a was never cancelled",
    effect_left: "refused: cancelled, but step a is still tried",
    refused_step_not_cancelled: "refused: cancelled, but the try of b was never cancelled",
    confirmed_and_cancelled: "tcc: confirmed, but step a was cancelled",
    confirm_of_a_cancelled: "open: cancelled, but step a was confirmed",
    the_participant_complains: "tcc: step a: cancel after confirm",
    another_key: "saga: try of a came with the keys",
    no_key: "saga: try of a came with the keys",
    another_body: "saga: try of b came 2 times with different bodies",
    an_older_epoch: "saga: try of b came with epoch 1 after one of 2",
    an_epoch_nobody_had: "tcc: confirm of b came with epoch 7, but the row has 1",
    revised: "refused: went from confirming to cancelling",
    ended_twice: "saga: went from confirmed to cancelling",
    version_back: "saga: went from version 3 epoch 2 to 2",
    epoch_back: "saga: went from version 3 epoch 2 to 4 epoch 1",
    told_otherwise: "tcc: a client was told {'cancel'}",
    told_both: "tcc: answers told of both decisions",
    told_another_end: "saga: a client was told it ended cancelled",
    a_stranger: "nobody: try of a was called, and the log does not know it",
    called_after_its_audit: "old: try of a came long after its end",
    called_though_settled: "saga: try of a was called at epoch 2 though version 3 says it is tried",
}


def test_an_honest_history_passes():
    story = Story()
    assert story.audit() == []
    assert len(Audit(story.told, KINDS, story.rows, story.calls, story.books).duplicates()) == 1


@pytest.mark.parametrize("breach", BROKEN, ids=lambda f: f.__name__)
def test_the_ledger_notices(breach):
    story = Story()
    breach(story)
    assert any(f.startswith(BROKEN[breach]) for f in story.audit()), story.audit()


@pytest.mark.parametrize("breach", [lost, unknown_later, told_both, the_participant_complains], ids=lambda f: f.__name__)
def test_what_a_database_lost_excuses_that_transaction_alone(breach):
    story = Story()
    breach(story)
    story.lost = {BROKEN[breach].split(":")[0]}
    assert story.audit() == []
    story.lost = {"another"}
    assert story.audit() != []


def test_what_was_restored_comes_back_in_one_step():
    story = Story()
    began_in_the_middle(story)
    story.restored = True
    assert story.audit() == []
