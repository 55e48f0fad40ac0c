# SPDX-License-Identifier: Apache-2.0
"""The sender of a two-phase message: it is prepared, decided by his own commit, and told, or asked for."""
from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from .answer import Refused
from .barrier import Barrier, Connection, TooLate
from .call import Call
from .problem import Problem, Unreachable
from .run import ATTEMPTS, ENDED, is_passing

if TYPE_CHECKING:
    from .client import Client, Transaction

log = logging.getLogger("sagad")

Work = Callable[[Any, "Transaction"], Any]


class Sent(str, enum.Enum):
    DONE = "done"  # committed, and sagad knows
    ASKED = "asked"  # committed; sagad could not be told, and asks the check when it is due
    REFUSED = "refused"  # not committed, since the work raised Refused; nothing will run
    LATE = "late"  # not committed: the message was cancelled, or asked for, before
    UNKNOWN = "unknown"  # the commit was not answered: send the same again, or let sagad ask


class Delivery(NamedTuple):
    sent: Sent
    transaction: "Transaction"  # as it was last seen


def send(client: "Client", connection: Connection, work: Work, *, dialect: Optional[str] = None, wait_s: float = 0, **start: Any) -> Delivery:
    """What Client.send() does."""
    prepared = client.start(**start)
    if prepared.data.get("mode") != "message" or not prepared.data.get("deadline_at"):
        raise ValueError(f"{prepared.gid} is no message with a deadline")
    barrier = Barrier(connection, dialect)
    sent = _run(barrier, prepared, work)
    try:
        if sent is Sent.REFUSED:
            was_done = _forbid(barrier, prepared)
            if was_done is False:
                return Delivery(sent, client.cancel(prepared.gid, "its sender did not commit"))
            sent = Sent.DONE if was_done else sent
        if sent is Sent.DONE:
            return Delivery(sent, client.confirm(prepared.gid, wait_s=wait_s))
    except (Problem, Unreachable) as why:
        log.warning("sagad could not be told what became of %s, and will ask: %s", prepared.gid, why)
        sent = Sent.ASKED if sent is Sent.DONE else sent
    return Delivery(sent, prepared)


def _run(barrier: Barrier, prepared: "Transaction", work: Work) -> Sent:
    """What the work or the database raises is raised, and nothing is committed: the same again may do better."""
    for left in reversed(range(ATTEMPTS)):
        is_committing = False
        try:
            barrier.begin()
            if not barrier.message(prepared.gid, prepared.data["deadline_at"]):
                barrier.roll_back()
                return Sent.DONE  # before
            barrier.execute("SAVEPOINT sagad_work")
            work(barrier.connection, prepared)
            _release(barrier)
            is_committing = True
            barrier.commit()
            return Sent.DONE
        except (TooLate, Refused) as why:
            _roll_back(barrier)
            return Sent.LATE if isinstance(why, TooLate) else Sent.REFUSED
        except BaseException as why:
            _roll_back(barrier)
            if is_committing and isinstance(why, Exception):
                was_done = _look(barrier, prepared)
                if was_done is not False:
                    return Sent.DONE if was_done else Sent.UNKNOWN
            if not (left and isinstance(why, Exception) and is_passing(why)):
                raise
    raise AssertionError("the last attempt returns or raises")


def _release(barrier: Barrier) -> None:
    try:
        barrier.execute("RELEASE SAVEPOINT sagad_work")
    except Exception as why:
        raise RuntimeError(ENDED) from why


def _look(barrier: Barrier, prepared: "Transaction") -> Optional[bool]:
    """Was it committed? None: nobody says."""
    try:
        barrier.begin()
        return not barrier.message(prepared.gid, prepared.data["deadline_at"])
    except Exception:  # pylint: disable=broad-except
        return None
    finally:
        _roll_back(barrier)


def _forbid(barrier: Barrier, prepared: "Transaction") -> Optional[bool]:
    """After this nobody can commit it any more, not even another who sends the same at this moment. True: somebody has; None: it is not
    known, and sagad will hear when it asks."""
    try:
        barrier.begin()
        answer = barrier.message_check(Call(prepared.gid, "check", "check", deadline=prepared.data["deadline_at"]))
        barrier.commit()
    except Exception:  # pylint: disable=broad-except
        log.warning("the message %s is not sent, and will be asked for", prepared.gid, exc_info=True)
        _roll_back(barrier)
        return None
    return answer.status == 200


def _roll_back(barrier: Barrier) -> None:
    try:
        barrier.roll_back()
    except Exception:  # pylint: disable=broad-except
        log.warning("a rollback failed", exc_info=True)  # the connection is gone, and with it the transaction
