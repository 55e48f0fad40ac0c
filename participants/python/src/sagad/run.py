# SPDX-License-Identifier: Apache-2.0
"""One call in one local transaction: barrier, work, what is kept, commit."""
from __future__ import annotations

import logging
from typing import Any, Callable, Optional, Tuple

from .answer import Answer, Outcome, Refused, answer_of, failed, outcome_of, unavailable
from .barrier import Barrier, Connection
from .call import Call, NotACall

log = logging.getLogger("sagad")

Work = Callable[[Call, Any], Any]

ENDED = "the function has ended the transaction it was given, or left it failed: it may neither commit nor roll back, nor go on after an error of the database"
KEPT = "the function kept an answer of its own"
ATTEMPTS = 3
_AGAIN = ("40001", "40P01", 1213, 1020)  # serialization failure, deadlock; of MariaDB: deadlock, changed since the snapshot


def run(connection: Connection, call: Call, work: Optional[Work], dialect: Optional[str] = None) -> Answer:
    """The answer to send; it is given after the commit was answered. work(call, connection) gives back a JSON value
    or an Answer, or raises Refused; it may be run again from its start, and does nothing that a rollback does not undo.

    Whatever fails is rolled back and answered 503, which makes sagad call again. A check has no barrier:
    work alone is run, or, if it is None, what message() has left in the database answers.
    """
    barrier = Barrier(connection, dialect)
    for left in reversed(range(ATTEMPTS)):
        try:
            return _run_once(barrier, call, work)
        except NotACall as why:
            _roll_back(barrier)
            return failed(400, str(why))
        except Exception as why:  # pylint: disable=broad-except
            _roll_back(barrier)
            if left and is_passing(why):
                continue
            log.exception("%s of step %s of %s is rolled back and answered 503%s", call.op, call.step, call.gid, remedy(why))
            break
        except BaseException:
            _roll_back(barrier)  # who stops the thread shall not leave a transaction in a connection that others get
            raise
    return unavailable()


def _run_once(barrier: Barrier, call: Call, work: Optional[Work]) -> Answer:
    barrier.begin()
    if call.op == "check":
        answer, commits = _asked(barrier, call, work) if work else barrier.message_check(call), True
    else:
        verdict = barrier.ask(call)
        if verdict.answer == "run":
            if work is None:
                raise TypeError(f"a {call.op} needs a function")
            answer, commits = _worked(barrier, call, work)
        else:
            answer, commits = Answer(verdict.status or 204, verdict.body), True
    if commits:
        barrier.commit()
    else:
        _roll_back(barrier)
    return answer


def _asked(barrier: Barrier, call: Call, work: Work) -> Answer:
    try:
        return answer_of(work(call, barrier.connection))
    except Refused as no:
        return no.answer


def _worked(barrier: Barrier, call: Call, work: Work) -> Tuple[Answer, bool]:
    """The answer, and whether to commit it."""
    barrier.execute("SAVEPOINT sagad_work")
    try:
        answer = answer_of(work(call, barrier.connection))
    except Refused as no:
        answer = no.answer
    answer, keeps = judged(call, answer)
    if not keeps:
        return answer, False
    try:
        barrier.execute(after_work(call, answer))
    except Exception as why:
        raise RuntimeError(ENDED) from why
    if not barrier.keep(call, answer):
        raise RuntimeError(KEPT)
    return answer, True


def judged(call: Call, answer: Answer) -> Tuple[Answer, bool]:
    """What to answer for what the work gave back, and whether it is for keeping."""
    if outcome_of(call.op, answer.status) is Outcome.REFUSED and call.op != "try" and answer.status != 410:
        log.error("%s of step %s of %s cannot be refused: %s", call.op, call.step, call.gid, answer.body)
        return failed(500, f"a {call.op} cannot be refused"), False
    return answer, answer.settles(call.op)


def after_work(call: Call, answer: Answer) -> str:
    """A refusal that were rolled back as a whole could be overtaken by the same try, held up in the network."""
    is_refusal = outcome_of(call.op, answer.status) is Outcome.REFUSED
    return "ROLLBACK TO SAVEPOINT sagad_work" if is_refusal else "RELEASE SAVEPOINT sagad_work"


def remedy(why: BaseException) -> str:
    """What to do about a barrier that is missing, or may not be used; else nothing."""
    text = str(why)
    if "sagad_barrier" not in text:
        return ""
    if "denied" in text:
        return ": this role may not use the barrier; docs/barrier.md lists what to grant"
    if "no such table" in text or "does not exist" in text or "doesn't exist" in text:
        return ": the barrier is not in this database; call setup() when the service starts"
    return ""


def is_passing(why: BaseException) -> bool:
    """Of two that met in the database this one was told to begin again."""
    state = getattr(why, "sqlstate", None) or getattr(why, "pgcode", None)
    return (state or (why.args[0] if why.args else None)) in _AGAIN


def _roll_back(barrier: Barrier) -> None:
    try:
        barrier.roll_back()
    except Exception:  # pylint: disable=broad-except
        # The connection is gone, and with it the transaction.
        log.warning("a rollback failed", exc_info=True)
