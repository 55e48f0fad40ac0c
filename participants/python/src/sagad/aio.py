# SPDX-License-Identifier: Apache-2.0
"""Async functions inside the barrier, on PostgreSQL: connections of asyncpg, and of psycopg 3 (AsyncConnection)."""
from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import re
from typing import Any, Awaitable, Callable, Iterable, Mapping, Optional, Set, Tuple

from .answer import Answer, Refused, answer_of, failed, unavailable
from .barrier import (
    ALONE, ASK, HAS_VERSION, KEEP, OPEN, SWEEP, VERSION, Cancelled, TooLate, Verdict, asked, cannot_set_up, check_call, check_kept, checked,
    message_call, script_of, version_of)
from .call import Call, Headers, NotACall
from .participant import Admitted, Reply, Routes, takes_connect, told
from .run import ATTEMPTS, ENDED, KEPT, after_work, is_passing, judged, remedy
from .webhook import TOLERANCE_S

log = logging.getLogger("sagad")

Work = Callable[[Call, Any], Awaitable[Any]]


class _Psycopg:
    """It begins a transaction with the first statement, unless it commits each on its own."""

    def __init__(self, connection: Any):
        self._connection = connection

    def is_open(self) -> bool:
        return bool(self._connection.autocommit) and int(self._connection.info.transaction_status) == 0

    async def begin(self) -> None:
        if int(self._connection.info.transaction_status) != 0:
            raise RuntimeError("the connection has a transaction, or is broken")
        if self._connection.autocommit:
            await self._connection.execute("BEGIN")

    async def row(self, sql: str, arguments: Tuple[Any, ...]) -> Tuple[Any, ...]:
        row = await (await self._connection.execute(sql, arguments or None)).fetchone()
        return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql)

    async def commit(self) -> None:
        await self._connection.commit()

    async def roll_back(self) -> None:
        await self._connection.rollback()


class _Asyncpg:
    """Its own transaction objects, so that those of a function are savepoints in ours."""

    def __init__(self, connection: Any):
        self._connection = connection
        self._transaction: Any = None

    def is_open(self) -> bool:
        return not self._connection.is_in_transaction()

    async def begin(self) -> None:
        if self._connection.is_in_transaction():
            raise RuntimeError("the connection has a transaction")
        self._transaction = self._connection.transaction()
        await self._transaction.start()

    async def row(self, sql: str, arguments: Tuple[Any, ...]) -> Tuple[Any, ...]:
        numbers = itertools.count(1)
        # Of a time it would want an object, and PostgreSQL reads ours itself.
        text = re.sub("%s", lambda _: f"${next(numbers)}", sql.replace("%s::timestamptz", "%s::text::timestamptz"))
        return tuple((await self._connection.fetchrow(text, *arguments)).values())

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql)

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


def _link_to(connection: Any) -> Any:
    modules = [kind.__module__.partition(".")[0] for kind in type(connection).__mro__]
    if "asyncpg" in modules:
        return _Asyncpg(connection)
    if "psycopg" in modules and inspect.iscoroutinefunction(connection.commit):
        return _Psycopg(connection)
    raise TypeError(f"connections of asyncpg, or psycopg.AsyncConnection, and not {type(connection).__module__}.{type(connection).__qualname__}")


class Barrier:
    """As sagad.Barrier, in the caller's transaction: nothing but setup() commits or rolls back."""

    def __init__(self, connection: Any):
        self.connection, self._link = connection, _link_to(connection)

    async def ask(self, call: Call) -> Verdict:
        if self._link.is_open():
            raise RuntimeError(OPEN)
        return Verdict(*await self._link.row(ASK["postgresql"], asked(call)))

    async def keep(self, call: Call, answer: Answer) -> bool:
        return await self.keep_of(call.gid, call.step, call.op, answer)

    async def keep_of(self, gid: str, step: str, op: str, answer: Answer) -> bool:
        check_kept(op, answer)
        return bool((await self._link.row(KEEP["postgresql"], (gid, step, op, answer.status, answer.body)))[0])

    async def finish(self, gid: str, step: str, op: str, answer: Answer) -> None:
        if not await self.keep_of(gid, step, op, answer):
            raise Cancelled(f"step {step} of {gid} was cancelled, or ended before")

    async def message(self, gid: str, deadline: str) -> bool:
        verdict = await self.ask(message_call(gid, deadline))
        if verdict.answer == "late":
            raise TooLate(f"sagad was told that {gid} never happened, or may have been")
        return verdict.answer == "run"

    async def message_check(self, call: Call) -> Answer:
        await self.execute("SAVEPOINT sagad_check")
        verdict = await self.ask(check_call(call))
        if verdict.answer == "run":
            await self.execute("ROLLBACK TO SAVEPOINT sagad_check")
        return checked(verdict)

    async def sweep(self, retention_s: float) -> int:
        return int((await self._link.row(SWEEP["postgresql"], (float(retention_s),)))[0])

    async def setup(self) -> None:
        """Raises sagad.CannotSetUp."""
        script = script_of("postgresql")
        await self.begin()
        try:
            if await self._version() != version_of(script):
                await self.execute(ALONE)
                await self.execute(script)
            await self.commit()
        except BaseException as why:
            await self.roll_back()
            raise (isinstance(why, Exception) and cannot_set_up(why, "postgresql")) or why

    async def _version(self) -> Optional[str]:
        has = (await self._link.row(HAS_VERSION, ()))[0]
        return str((await self._link.row(VERSION["postgresql"], ()))[0]) if has else None

    async def execute(self, sql: str) -> None:
        await self._link.execute(sql)

    async def begin(self) -> None:
        await self._link.begin()

    async def commit(self) -> None:
        await self._link.commit()

    async def roll_back(self) -> None:
        await self._link.roll_back()


async def run(connection: Any, call: Call, work: Optional[Work]) -> Answer:
    """As sagad.run(), on a connection that has no transaction."""
    barrier = Barrier(connection)
    for left in reversed(range(ATTEMPTS)):
        try:
            return await _run_once(barrier, call, work)
        except NotACall as why:
            await _roll_back(barrier)
            return failed(400, str(why))
        except Exception as why:  # pylint: disable=broad-except
            await _roll_back(barrier)
            if left and is_passing(why):
                continue
            log.exception("%s of step %s of %s is rolled back and answered 503%s", call.op, call.step, call.gid, remedy(why))
            break
        except BaseException:
            await _roll_back(barrier)
            raise
    return unavailable()


async def _run_once(barrier: Barrier, call: Call, work: Optional[Work]) -> Answer:
    await barrier.begin()
    commits = True
    if call.op == "check":
        answer = await _asked(barrier, call, work) if work else await barrier.message_check(call)
    else:
        verdict = await barrier.ask(call)
        if verdict.answer == "run":
            if work is None:
                raise TypeError(f"a {call.op} needs a function")
            answer, commits = await _worked(barrier, call, work)
        else:
            answer = Answer(verdict.status or 204, verdict.body)
    if commits:
        await barrier.commit()
    else:
        await _roll_back(barrier)
    return answer


async def _asked(barrier: Barrier, call: Call, work: Work) -> Answer:
    try:
        return answer_of(await work(call, barrier.connection))
    except Refused as no:
        return no.answer


async def _worked(barrier: Barrier, call: Call, work: Work) -> Tuple[Answer, bool]:
    """The answer, and whether to commit it."""
    await barrier.execute("SAVEPOINT sagad_work")
    answer, keeps = judged(call, await _asked(barrier, call, work))
    if not keeps:
        return answer, False
    try:
        await barrier.execute(after_work(call, answer))
    except Exception as why:
        raise RuntimeError(ENDED) from why
    if not await barrier.keep(call, answer):
        raise RuntimeError(KEPT)
    return answer, True


async def _roll_back(barrier: Barrier) -> None:
    try:
        await barrier.roll_back()
    except Exception:  # pylint: disable=broad-except
        log.warning("a rollback failed", exc_info=True)  # the connection is gone, and with it the transaction


async def _close(connection: Any) -> None:
    await connection.close()


class Participant(Routes):
    """As sagad.Participant, for async functions: connect and release are awaited. With a pool of asyncpg:
    aio.Participant(pool.acquire, release=pool.release); of psycopg: aio.Participant(pool.getconn, release=pool.putconn).
    """

    _is_async = True

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, release: Optional[Callable[[Any], Awaitable[Any]]] = None,
                 secrets: Iterable[str] = (), tolerance_s: float = TOLERANCE_S, decimals: bool = False):
        super().__init__(secrets, tolerance_s, decimals)
        takes_connect(connect)
        self.connect, self.release = connect, release or _close
        self._running: Set["asyncio.Task[Answer]"] = set()

    async def setup(self) -> None:
        """Puts the barrier into the service's database; again is harmless."""
        connection = await self.connect()
        try:
            await Barrier(connection).setup()
        finally:
            await self.release(connection)

    async def serve(self, path: str, headers: Headers, body: bytes, method: str = "POST") -> Reply:
        """Status, headers and body to answer. path: decoded, without the query."""
        admitted = self._admit(path, headers, body, method)
        if not isinstance(admitted, Admitted):
            return admitted
        # A server that gives up a request shall not tear a transaction apart: what has begun ends, and a duplicate finds it.
        task = asyncio.ensure_future(self._run(admitted))
        self._running.add(task)  # the loop itself would forget it
        task.add_done_callback(self._running.discard)
        return told(await asyncio.shield(task), admitted.call.op)

    async def _run(self, admitted: Admitted) -> Answer:
        try:
            connection = await self.connect()
        except Exception:  # pylint: disable=broad-except
            log.exception("no connection to the database")
            return unavailable("no connection to the database; call again")
        try:
            return await run(connection, admitted.call, admitted.job.work)
        finally:
            try:
                await self.release(connection)
            except Exception:  # pylint: disable=broad-except
                log.warning("a connection could not be released", exc_info=True)  # what was answered stands
