# SPDX-License-Identifier: Apache-2.0
"""A try that PostgreSQL holds open: it prepares, confirm commits what was prepared, cancel rolls it back.

The try's row of the barrier is a part of what it prepares. So it is there exactly if the effect is, and as long as the
transaction is prepared nobody can have a row of that step: who wants one waits, and is made to give up soon.
"""
from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
from typing import Any, Iterator, Optional

from .answer import Answer, Outcome, Refused, answer_of, failed, outcome_of, unavailable
from .barrier import Barrier, Connection
from .call import GID, STEP, Call, NotACall
from .client import Client
from .problem import Problem
from .run import ENDED, Work, after_work

log = logging.getLogger("sagad")

_LIMIT = """SELECT current_setting('max_prepared_transactions')::int AS slots,
    to_regclass('sagad_barrier_step') IS NOT NULL AS has_barrier"""
_FIND = "SELECT count(*) AS found FROM pg_prepared_xacts WHERE gid = %s AND database = current_database()"
_OLD = """SELECT coalesce(json_agg(json_build_array(gid, extract(epoch FROM clock_timestamp() - prepared)::bigint) ORDER BY prepared),
    '[]')::text AS old FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'saga:%%:%%'
    AND prepared < clock_timestamp() - make_interval(secs => %s::float8)"""
_ID = re.compile("saga:(.+):([^:]+)", re.ASCII)  # a step has no colon, a gid may have some
_IDLE = 0  # transaction_status of both psycopgs is libpq's


class NotReady(Exception):
    """This database cannot serve steps that prepare; the text says what to change."""


@dataclasses.dataclass
class Swept:
    seen: int = 0  # prepared transactions of ours that were older than asked for
    rolled_back: int = 0  # sagad knows nothing of them, or has cancelled them
    committed: int = 0  # sagad has confirmed them
    left: int = 0  # still under way, abandoned by a person, or sagad could not be asked
    oldest_s: int = 0  # age of the oldest that is left


def ready(connection: Connection) -> None:
    """To be asked before a service starts: can the server prepare transactions, is the barrier there? Raises NotReady."""
    with _autocommit(connection) as barrier:
        slots, has_barrier = barrier.row(_LIMIT)
    if not slots:
        raise NotReady("max_prepared_transactions is 0, so that nothing can be prepared: set it to at least max_connections "
                       "and restart the server")
    if not has_barrier:
        raise NotReady("there is no sagad_barrier_step in the search_path: Barrier(connection).setup()")


def run(connection: Connection, call: Call, work: Optional[Work] = None) -> Answer:
    """As sagad.run(), for a step with try, confirm and cancel. work does what the try does and is not run for the others; it is
    prepared under "saga:GID:STEP". What it gives back is not sent, since a duplicate could not be told it.

    connection: of psycopg 2 or 3, outside of a transaction.
    """
    try:
        with _autocommit(connection) as barrier:
            try:
                return _OPS[call.op](barrier, call, _id_of(call), work)
            finally:
                _roll_back(barrier)
    except NotACall as why:
        return failed(400, str(why))
    except Exception as why:  # pylint: disable=broad-except
        met = _met_another(call, why)
        log.log(logging.INFO if met else logging.ERROR, "%s of step %s of %s is rolled back and answered 503",
                call.op, call.step, call.gid, exc_info=not met)
    return unavailable()


def sweep(connection: Connection, client: Client, older_than_s: float) -> Swept:
    """Presumed abort: asks sagad about each transaction prepared in this database that is older, and ends those of which it will not
    speak again. To be called now and then by one process."""
    with _autocommit(connection) as barrier:
        old = json.loads(barrier.row(_OLD, (older_than_s,))[0])
    swept = Swept(seen=len(old))
    for name, age_s in old:
        call = _call_of(name, client)
        # As if sagad had called: the barrier's row says it as well.
        if call is None or not 200 <= run(connection, call).status < 300:
            swept.left += 1
            swept.oldest_s = max(swept.oldest_s, age_s)
        elif call.op == "confirm":
            swept.committed += 1
        else:
            swept.rolled_back += 1
    return swept


# ---- the ops -------------------------------------------------------------------------------------


def _try(barrier: Barrier, call: Call, name: str, work: Optional[Work]) -> Answer:
    if work is None:
        raise TypeError("a try needs a function")
    if barrier.row(_FIND, (name,))[0]:
        return Answer(204)  # a duplicate
    earlier = _enter(barrier, call)
    if earlier:
        return _commit(barrier, earlier)
    barrier.execute("SAVEPOINT sagad_work")
    try:
        answer = answer_of(work(call, barrier.connection))
    except Refused as no:
        answer = no.answer
    try:
        barrier.execute(after_work(call, answer))
    except Exception as why:
        raise RuntimeError(ENDED) from why
    told = outcome_of("try", answer.status)
    if told is Outcome.OK:
        return _prepare(barrier, call, name)
    if told is Outcome.REFUSED:
        return _keep_refusal(barrier, call, answer)
    if told is Outcome.ONGOING:
        raise TypeError("what is prepared has ended: it cannot be ongoing")
    return answer


def _prepare(barrier: Barrier, call: Call, name: str) -> Answer:
    answer = Answer(204)
    _keep(barrier, call, answer)
    # A transaction that has failed "prepares" with the tag ROLLBACK and without an error.
    _command(barrier, "PREPARE TRANSACTION", name)
    return answer


def _keep_refusal(barrier: Barrier, call: Call, answer: Answer) -> Answer:
    """Rolled back is what it wrote; that it was refused stays."""
    _command(barrier, "ROLLBACK")
    earlier = _enter(barrier, call)
    if earlier:
        return _commit(barrier, earlier)  # somebody came in between: that is what happened
    return _commit(barrier, _keep(barrier, call, answer))


def _confirm(barrier: Barrier, call: Call, name: str, _: Optional[Work]) -> Answer:
    _second_phase(barrier, "COMMIT PREPARED", name)
    return _commit(barrier, _enter(barrier, call) or _keep(barrier, call, Answer(204)))


def _cancel(barrier: Barrier, call: Call, name: str, _: Optional[Work]) -> Answer:
    _second_phase(barrier, "ROLLBACK PREPARED", name)
    # Forbids the try that may still come. One that is at work now is waited for a moment.
    earlier = _enter(barrier, call)
    if earlier:
        return _commit(barrier, earlier)
    return failed(409, "it was confirmed")  # the row was committed with the effect


_OPS = {"try": _try, "confirm": _confirm, "cancel": _cancel}


# ---- small words -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _autocommit(connection: Any) -> Iterator[Barrier]:
    """COMMIT PREPARED cannot stand in a transaction, and a driver must not begin one that we do not know of."""
    barrier = Barrier(connection)
    if not hasattr(connection, "info"):
        raise TypeError("preparing needs a connection of psycopg 2 or 3")
    if not _is_idle(barrier):
        raise RuntimeError("the connection has a transaction, or is broken")
    before = connection.autocommit
    connection.autocommit = True
    try:
        yield barrier
    finally:
        if not connection.closed:
            connection.autocommit = before


def _enter(barrier: Barrier, call: Call) -> Optional[Answer]:
    """In a transaction that it begins. None: do it."""
    _command(barrier, "BEGIN")
    # Who waits for a row of the barrier may wait for one that is prepared, which no COMMIT of a session ends.
    barrier.execute("SET LOCAL lock_timeout = '1s'")
    verdict = barrier.ask(call)
    barrier.execute("SET LOCAL lock_timeout TO DEFAULT")
    return None if verdict.answer == "run" else Answer(verdict.status or 204, verdict.body)


def _keep(barrier: Barrier, call: Call, answer: Answer) -> Answer:
    if not barrier.keep(call, answer):
        raise RuntimeError("the work kept an answer of its own")
    return answer


def _commit(barrier: Barrier, answer: Answer) -> Answer:
    _command(barrier, "COMMIT")
    return answer


def _second_phase(barrier: Barrier, words: str, name: str) -> None:
    try:
        _command(barrier, words, name)
    except Exception as why:  # pylint: disable=broad-except
        # 42704, undefined_object: ended by an earlier call, or never there. The barrier's row tells which.
        if _state_of(why) != "42704":
            raise


def _met_another(call: Call, why: Exception) -> bool:
    """A try at work or prepared holds the barrier's row (55P03, lock_not_available), or another session prepares or ends the same
    transaction at this moment (55000, "is busy"): nothing to worry about. The 55000 of a try says that nothing can be prepared."""
    return _state_of(why) == "55P03" or (call.op != "try" and _state_of(why) == "55000")


def _command(barrier: Barrier, words: str, name: str = "") -> None:
    """Did the server do that, or something else? Of a transaction that has failed only the tag says that it was rolled back."""
    cursor = barrier.connection.cursor()
    try:
        cursor.execute(f"{words} '{name}'" if name else words)
        if cursor.statusmessage != words:
            raise RuntimeError(f"{words} became {cursor.statusmessage}: the transaction had failed")
    finally:
        cursor.close()


def _state_of(why: Exception) -> Optional[str]:
    return getattr(why, "sqlstate", None) or getattr(why, "pgcode", None)


def _is_idle(barrier: Barrier) -> bool:
    return int(barrier.connection.info.transaction_status) == _IDLE  # type: ignore[attr-defined]


def _roll_back(barrier: Barrier) -> None:
    try:
        if not _is_idle(barrier):
            _command(barrier, "ROLLBACK")
    except Exception:  # pylint: disable=broad-except
        log.warning("a rollback failed", exc_info=True)  # the connection is gone, and with it the transaction


def _id_of(call: Call) -> str:
    """It stands between quotes as it is: neither a gid nor a step has any."""
    if not (GID.match(call.gid) and STEP.match(call.step)):
        raise ValueError("no gid or no step of sagad's")
    return f"saga:{call.gid}:{call.step}"


def _call_of(name: str, client: Client) -> Optional[Call]:
    """What sagad would call to end it, if it is the one to say. What a person has abandoned a person has to end."""
    found = _ID.fullmatch(name)
    if not (found and GID.match(found[1]) and STEP.match(found[2])):
        return None
    try:
        op = {"confirmed": "confirm", "cancelled": "cancel"}.get(client.get(found[1]).phase)
    except Problem as why:
        # Presumed: what was decided otherwise would still be confirming.
        op = "cancel" if why.code == "transaction_unknown" else None
    except Exception as why:  # pylint: disable=broad-except
        log.warning("nobody says what became of %s: %s", found[1], why)
        op = None
    return Call(found[1], found[2], op) if op else None
