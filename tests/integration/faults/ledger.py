# SPDX-License-Identifier: Apache-2.0
"""What must hold when a fault is over, as sentences about books, calls and rows. Pure: no process, no database."""
import collections
import json

Row = collections.namedtuple("Row", "phase stuck epoch version owner")
# One version of a row, as a trigger saw it. at: seconds of the database's clock; progress: its text.
Version = collections.namedtuple("Version", "gid version epoch phase owner at progress", defaults=("",))

STUCKS = ("overdue", "attempts", "misconfigured", "gone", "poison", "bad_row")
ENDS = {"confirmed": "confirm", "cancelled": "cancel"}
NEXT = {None: {"prepared", "trying", "confirming"}, "prepared": {"confirming", "cancelling", "cancelled", "trying", "confirmed"},
        "trying": {"confirming", "cancelling", "confirmed", "cancelled"}, "confirming": {"confirmed"},
        "cancelling": {"cancelled"}, "confirmed": set(), "cancelled": set(), "abandoned": set()}


class Audit:
    """told: {gid: load.Told}; kinds: {name: load.Kind}; rows: {gid: Row}; calls: [participant.Call];
    books: {(gid, step): participant.Book}; history: [Version] in order, or empty; gone: gids audited before, of which
    nothing more may be heard; lost: gids of which the database lost what nobody alive knew: with them anything may
    have happened but a change of a key; restored: it lost what others knew: histories may begin anywhere."""

    def __init__(self, told, kinds, rows, calls, books, history=(), gone=(), lost=(), restored=False):
        self.told, self.kinds, self.rows, self.calls, self.books = told, kinds, rows, calls, books
        self.gone, self.lost, self.restored = gone, lost, restored
        self.found = []
        self.versions = collections.defaultdict(list)
        for v in history:
            self.versions[v.gid].append(v)
        self.by_op = collections.defaultdict(list)
        for c in sorted(calls, key=lambda c: c.at):
            self.by_op[c.gid, c.step, c.op].append(c)

    def run(self):
        """The violations, as sentences."""
        for check in (self.ends, self.effects, self.keys, self.epochs, self.revisions, self.promises,
                      self.strangers, self.repeats):
            check()
        return self.found

    def wrong(self, gid, sentence, always=False):
        if always or gid not in self.lost:
            self.found.append(f"{gid}: {sentence}")

    def story(self, gid):
        """All that is known of a transaction, in the order of time."""
        calls = [f"call {c.op} of {c.step} epoch {c.epoch} attempt {c.attempt} from {c.replica} at {c.at:.4f}"
                 f" answered {c.status} at {c.answered}" for c in self.calls if c.gid == gid]
        versions = [f"version {v.version} epoch {v.epoch} {v.phase} owner {v.owner} at {v.at:.4f} {v.progress}"
                    for v in self.versions[gid]]
        return "\n    ".join([f"{gid}: {self.rows.get(gid)}", *versions, *calls])

    # ---- the sentences ------------------------------------------------------------------

    def ends(self):
        """What got a 2xx is there, and has ended or says why it is stuck."""
        for gid, told in self.told.items():
            row = self.rows.get(gid)
            if told.unknown:
                self.wrong(gid, "was acknowledged, and later nobody knew it")
            if row is None:
                if told.accepted_at is not None:
                    self.wrong(gid, "was acknowledged and is not in the log")
            elif row.phase == "abandoned":
                self.wrong(gid, "was abandoned, and nobody asked for it")
            elif row.phase not in ENDS and row.stuck not in STUCKS:
                self.wrong(gid, f"neither ended nor is it stuck: phase {row.phase}, owner {row.owner}")

    def effects(self):
        """Confirmed: every step done exactly once. Cancelled: nothing is left of any."""
        for (gid, step), book in self.books.items():
            for w in book.wrong:
                self.wrong(gid, f"step {step}: {w}")
            if book.effect not in (0, 1):
                self.wrong(gid, f"step {step} has {book.effect} effects")
        for gid, told in self.told.items():
            row = self.rows.get(gid)
            if row and row.phase in ENDS and told.kind in self.kinds:
                self._effects_of(gid, self.kinds[told.kind], row.phase)

    def _effects_of(self, gid, kind, phase):
        for step, ops in kind.steps.items():
            book = self.books.get((gid, step))
            if phase == "confirmed":
                wanted = "confirmed" if "confirm" in ops else "tried"
                if kind.closes and step not in self.told[gid].joined and not self._was(gid, step, "confirm"):
                    continue  # it may never have joined
                if book is None or book.effect != 1 or book.state != wanted:
                    self.wrong(gid, f"confirmed, but step {step} is {book}")
                if self._was(gid, step, "cancel"):
                    self.wrong(gid, f"confirmed, but step {step} was cancelled")
                continue
            if self._was(gid, step, "confirm"):
                self.wrong(gid, f"cancelled, but step {step} was confirmed")
            if book is not None and book.effect != 0:
                self.wrong(gid, f"cancelled, but step {step} is still {book.state}")
            if self._was(gid, step, "try") and "cancel" in ops and not self._was(gid, step, "cancel"):
                # An open one's caller may try what it could not register: that is his to undo.
                if not kind.closes or step in self.told[gid].joined:
                    self.wrong(gid, f"cancelled, but the try of {step} was never cancelled")

    def _was(self, gid, step, op):
        return bool(self.by_op.get((gid, step, op)))

    def keys(self):
        """Every call of an op carries the one key and the same bytes."""
        for (gid, step, op), calls in self.by_op.items():
            if {c.key for c in calls} != {f'"{gid}:{step}:{op}"'}:
                self.wrong(gid, f"{op} of {step} came with the keys {sorted({str(c.key) for c in calls})}", always=True)
            if len({c.sha for c in calls}) > 1:
                self.wrong(gid, f"{op} of {step} came {len(calls)} times with different bodies", always=True)

    def epochs(self):
        """No call of an older epoch arrives after one of a newer was answered."""
        newest = {}  # gid → the calls so far of the newest epoch
        for c in sorted(self.calls, key=lambda c: c.at):
            if c.epoch == 0:
                continue  # a client's own try
            epoch, answered = newest.get(c.gid, (0, None))
            if c.epoch > epoch:
                newest[c.gid] = (c.epoch, c.answered)
            elif c.epoch < epoch and answered is not None and answered < c.at:
                self.wrong(c.gid, f"{c.op} of {c.step} came with epoch {c.epoch} after one of {epoch} was answered")
            row = self.rows.get(c.gid)
            if row is not None and c.epoch > row.epoch:
                self.wrong(c.gid, f"{c.op} of {c.step} came with epoch {c.epoch}, but the row has {row.epoch}")

    def revisions(self):
        """Phases only move forward, and versions and epochs only grow."""
        for gid, versions in self.versions.items():
            before = None
            for v in versions:
                if before is not None and (v.version <= before.version or v.epoch < before.epoch):
                    self.wrong(gid, f"went from version {before.version} epoch {before.epoch}"
                                    f" to {v.version} epoch {v.epoch}")
                if before is None and self.restored:
                    pass
                elif v.phase != (before and before.phase) and v.phase not in NEXT[before and before.phase]:
                    self.wrong(gid, f"went from {before and before.phase} to {v.phase}")
                before = v

    def promises(self):
        """What a client was told is what the log says."""
        for gid, told in self.told.items():
            row = self.rows.get(gid)
            if len(told.decisions) > 1:
                self.wrong(gid, "answers told of both decisions")
            if row is None:
                continue
            end = ENDS.get(row.phase)
            if end and told.decisions - {end}:
                self.wrong(gid, f"a client was told {told.decisions}, and it ended {row.phase}")
            if told.ended_as and told.ended_as != row.phase:
                self.wrong(gid, f"a client was told it ended {told.ended_as}; it is {row.phase}")

    def strangers(self):
        """Nobody is called for a transaction that is not in the log, nor after it ended and was audited."""
        for gid, step, op in self.by_op:
            if gid in self.gone:
                self.wrong(gid, f"{op} of {step} came long after its end")
            elif gid not in self.rows and any(c.epoch for c in self.by_op[gid, step, op]):
                self.wrong(gid, f"{op} of {step} was called, and the log does not know it")

    # ---- calls that came more than once ---------------------------------------------------

    def repeats(self):
        """A call that a new owner makes again is one whose outcome nobody had stored."""
        for again, _ in self.duplicates():
            settled = self._settled_before(again)
            if settled:
                self.wrong(again.gid, f"{again.op} of {again.step} was called at epoch {again.epoch}"
                                      f" though version {settled.version} says it is {settled.state}")

    def duplicates(self):
        """(the call again, the one before), wherever the epoch changed in between."""
        return [(again, before) for calls in self.by_op.values() for before, again in zip(calls, calls[1:])
                if before.epoch and again.epoch > before.epoch]

    _Settled = collections.namedtuple("_Settled", "version state")

    def _settled_before(self, call):
        """The state that the op had when the row came to the call's epoch, if that settles it."""
        kind = self.kinds.get(self.told[call.gid].kind) if call.gid in self.told else None
        first = next((v for v in self.versions.get(call.gid, ()) if v.epoch == call.epoch), None)
        if kind is None or first is None or call.step not in kind.steps:
            return None
        steps = json.loads(first.progress).get("steps", [])
        number = list(kind.steps).index(call.step)
        step = steps[number] if number < len(steps) else {}
        state = step.get("state", "tried" if "output" in step else "pending")
        settled = {"try": state != "pending", "confirm": state == "confirmed", "cancel": state == "cancelled"}[call.op]
        return self._Settled(first.version, state) if settled else None
