# SPDX-License-Identifier: Apache-2.0
"""Every call once: sagad's SQL barrier over a DB-API connection of the service's own database."""
from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import sys
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Protocol, Tuple

from .answer import ANSWER_MAX, Answer, Outcome, failed, outcome_of
from .call import Call

_MESSAGE = "=message"  # no step has such a name; sagad_message() of PostgreSQL uses the same
DIALECTS = ("postgresql", "mariadb", "sqlite")
_DIALECT_OF = {
    "psycopg": "postgresql", "psycopg2": "postgresql",
    "pymysql": "mariadb", "MySQLdb": "mariadb", "mariadb": "mariadb", "sqlite3": "sqlite",
}
ASK = {
    "postgresql": "SELECT answer, status, body FROM sagad_barrier(%s::text, %s::text, %s::text, %s::bigint, %s::timestamptz)",
    "mariadb": "CALL sagad_barrier(%s, %s, %s, %s, %s)",
    "sqlite": "INSERT INTO sagad_barrier VALUES (%s, %s, %s, %s, %s)",
}
KEEP = {
    "postgresql": "SELECT sagad_barrier_keep(%s::text, %s::text, %s::text, %s::int, %s::text) AS kept",
    "mariadb": "CALL sagad_barrier_keep(%s, %s, %s, %s, %s)",
    "sqlite": "INSERT INTO sagad_barrier_keep VALUES (%s, %s, %s, %s, %s)",
}
SWEEP = {
    "postgresql": "SELECT sagad_barrier_sweep(make_interval(secs => %s::float8)) AS deleted",
    "mariadb": "CALL sagad_barrier_sweep(%s / 86400, NULL)",
    "sqlite": "INSERT INTO sagad_barrier_sweep (retention_days) VALUES (%s / 86400.0)",
}


def asked(call: Call) -> Tuple[Any, ...]:
    """What ASK wants to know of a call."""
    # Where there is no deadline, the acceptance says how old a call is.
    until = call.deadline_at or call.accepted_at
    text = until and until.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return call.gid, call.step, call.op, call.epoch, text


def message_call(gid: str, deadline: str) -> Call:
    return Call(gid, _MESSAGE, "try", deadline=deadline)


def check_call(call: Call) -> Call:
    """A cancel of the message: if it was not done, it must not be done any more."""
    return dataclasses.replace(call, step=_MESSAGE, op="cancel", epoch=None)


def checked(verdict: "Verdict") -> Answer:
    if verdict.answer == "run":  # it was done, and nothing undoes it
        return Answer(200, "{}")
    if verdict.answer == "late":
        return Answer(verdict.status or 400, verdict.body)
    return failed(422, "it was not committed, and will not be")


def check_kept(op: str, answer: Answer) -> None:
    body = answer.encoded()
    if len(body) > ANSWER_MAX:
        raise ValueError(f"the answer has {len(body)} bytes, and sagad reads {ANSWER_MAX} at most")
    if outcome_of(op, answer.status) is Outcome.OK and outcome_of(op, answer.status, body=body) is Outcome.MISCONFIGURED:
        raise ValueError(f"the answer's body is no JSON, it cannot be an output: {(answer.body or '')[:100]}")


HAS_VERSION = "SELECT to_regprocedure(quote_ident(current_schema()) || '.sagad_barrier_version()') IS NOT NULL AS there"
VERSION = {"postgresql": "SELECT sagad_barrier_version() AS version", "mariadb": "CALL sagad_barrier_version()"}
_FORBIDDEN = ("42501", "3F000", 1142, 1370, 1044)  # insufficient privilege, no schema that may be used; the same of MariaDB
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('sagad_barrier', 0))"


def script_of(dialect: str) -> str:
    return (pathlib.Path(__file__).parent / "sql" / f"{dialect}.sql").read_text(encoding="utf-8")


def version_of(script: str) -> Optional[str]:
    found = re.search(r"sagad_barrier_version\(\).*SELECT '([0-9a-f]+)'", script)
    return found[1] if found else None


OPEN = ("begin a transaction first: this connection commits each statement on its own, and the barrier would remember the call as done "
        "even if its work fails")


class CannotSetUp(Exception):
    """The barrier is missing, or another version of it is there, and this role may not make it."""


def cannot_set_up(why: Exception, dialect: str) -> Optional[CannotSetUp]:
    """None: it is some other trouble."""
    state = getattr(why, "sqlstate", None) or getattr(why, "pgcode", None) or (why.args[0] if why.args else None)
    if state not in _FORBIDDEN:
        return None
    text = (str(why).splitlines() or [""])[0]  # drivers show the statement below it
    return CannotSetUp(f"cannot set up the barrier: {text}; it is missing here, or another version of it is there: run sql/barrier/{dialect}.sql "
                       "as a role that may make it, and give this one the rights that docs/barrier.md lists")


def _statements(script: str) -> Iterator[str]:
    """What the client of MariaDB would send: DELIMITER is a word of its own, and it sends one statement at a time."""
    end, lines = ";", []  # type: str, list[str]
    for line in script.splitlines():
        if line.startswith("DELIMITER "):
            end = line.split()[1]
        elif line.strip() and not (line.startswith("--") and not lines):
            lines.append(line)
            if line.rstrip().endswith(end):
                yield "\n".join(lines).rstrip()[:-len(end)]
                lines = []


class Connection(Protocol):
    """What we need of a DB-API connection (PEP 249)."""

    def cursor(self) -> Any: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Verdict(NamedTuple):
    """answer: run (do the work), duplicate, empty or late (send status and body instead)."""

    answer: str
    status: Optional[int] = None
    body: Optional[str] = None


class Cancelled(Exception):
    """The end of a call that went on cannot be kept any more: its step was cancelled. Roll back."""


class TooLate(Exception):
    """A message was checked before its transaction came: it must not be done any more."""


class Barrier:
    """The barrier's statements on one connection, in the caller's transaction: nothing here commits or rolls back.

    dialect: told by the connection's module unless given.
    """

    def __init__(self, connection: Connection, dialect: Optional[str] = None):
        modules = [kind.__module__.partition(".")[0] for kind in type(connection).__mro__]  # it may be of a class of the service's own
        module = next((name for name in modules if name in _DIALECT_OF), modules[0])
        known = dialect or _DIALECT_OF.get(module)
        if known not in DIALECTS:
            raise ValueError(f"say dialect=: one of {', '.join(DIALECTS)}; nobody knows {module}")
        self.connection, self.dialect = connection, known
        style = getattr(sys.modules.get(module), "paramstyle", "qmark" if known == "sqlite" else "pyformat")
        self._mark = "?" if style == "qmark" else "%s"

    def ask(self, call: Call) -> Verdict:
        """May this call be worked on? Waits for others that work on the same step. Raises RuntimeError outside of a transaction."""
        if self._is_open():
            raise RuntimeError(OPEN)
        return Verdict(*self._told(ASK, asked(call), "answer, status, body"))

    def keep(self, call: Call, answer: Answer) -> bool:
        """Keeps what duplicates of this call shall be answered. False: cancelled meanwhile, or kept already: roll back."""
        return self.keep_of(call.gid, call.step, call.op, answer)

    def keep_of(self, gid: str, step: str, op: str, answer: Answer) -> bool:
        """Raises ValueError for what sagad could not read: every duplicate would be told it again."""
        check_kept(op, answer)
        return bool(self._told(KEEP, (gid, step, op, answer.status, answer.body), "kept")[0])

    def finish(self, gid: str, step: str, op: str, answer: Answer) -> None:
        """In the transaction that does the rest of what was answered 202. Raises Cancelled: roll back."""
        if not self.keep_of(gid, step, op, answer):
            raise Cancelled(f"step {step} of {gid} was cancelled, or ended before")

    def message(self, gid: str, deadline: str) -> bool:
        """In the transaction that a message stands for, before its work; deadline: deadline_at of the prepared message.

        True: do it. False: it was done before. Raises TooLate: sagad was told that it never happened, so it must not.
        """
        verdict = self.ask(message_call(gid, deadline))
        if verdict.answer == "late":
            raise TooLate(f"sagad was told that {gid} never happened, or may have been")
        return verdict.answer == "run"

    def message_check(self, call: Call) -> Answer:
        """What to answer to the check of a message, once this is committed. Waits for a transaction that has asked and not
        ended. If there was none, there will be none."""
        self.execute("SAVEPOINT sagad_check")
        verdict = self.ask(check_call(call))
        if verdict.answer == "run":
            self.execute("ROLLBACK TO SAVEPOINT sagad_check")
        return checked(verdict)

    def sweep(self, retention_s: float) -> int:
        """Forgets steps whose deadline and last change are longer ago; at most 10,000 at once. How many it were."""
        return int(self._told(SWEEP, (retention_s,), "deleted")[0])

    def _told(self, statement: Mapping[str, str], arguments: Tuple[Any, ...], columns: str) -> Tuple[Any, ...]:
        if self.dialect != "sqlite":
            return self.row(statement[self.dialect], arguments)
        self.execute(statement[self.dialect], arguments)
        return self.row(f"SELECT {columns} FROM sagad_barrier_state")

    def setup(self) -> None:
        """Puts the barrier into the service's database, if this version of it is not there; commits. Raises CannotSetUp."""
        script = script_of(self.dialect)
        if self.dialect == "sqlite":
            self.connection.executescript(script)  # type: ignore[attr-defined]
            return
        self.begin()
        try:
            # Who may use the barrier need not be allowed to make it.
            if self._version() != version_of(script):
                if self.dialect == "postgresql":  # two that replace one function at once disturb each other
                    self.execute(ALONE)
                for statement in _statements(script) if self.dialect == "mariadb" else [script]:
                    self.execute(statement)
            self.commit()
        except Exception as why:
            self.roll_back()
            raise cannot_set_up(why, self.dialect) or why

    def _version(self) -> Optional[str]:
        if self.dialect == "postgresql" and not self.row(HAS_VERSION)[0]:
            return None
        try:
            return str(self.row(VERSION[self.dialect])[0])
        except Exception:  # pylint: disable=broad-except
            if self.dialect == "postgresql":
                raise
            return None  # MariaDB goes on after an error

    # ---- statements --------------------------------------------------------------------------

    def execute(self, sql: str, arguments: Tuple[Any, ...] = ()) -> None:
        cursor = self.connection.cursor()
        try:
            if arguments:
                cursor.execute(sql.replace("%s", self._mark), arguments)
            else:
                cursor.execute(sql)
        finally:
            cursor.close()

    def row(self, sql: str, arguments: Tuple[Any, ...] = ()) -> Tuple[Any, ...]:
        cursor = self.connection.cursor()
        try:
            if arguments:
                cursor.execute(sql.replace("%s", self._mark), arguments)
            else:
                cursor.execute(sql)
            row = cursor.fetchone()
        finally:
            cursor.close()
        # A connection may have been told to give rows as mappings; our columns have names of their own.
        return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)

    # ---- the transaction -----------------------------------------------------------------------

    def is_autocommit(self) -> bool:
        ask = getattr(self.connection, "get_autocommit", None)
        if callable(ask):
            return bool(ask())
        if self.dialect == "sqlite" and getattr(self.connection, "isolation_level", "") is None:
            return True
        return getattr(self.connection, "autocommit", False) is True

    def _is_open(self) -> bool:
        """Would what is asked now be committed at once? MariaDB says so itself."""
        if self.dialect == "mariadb" or not self.is_autocommit():
            return False
        if self.dialect == "sqlite":
            return getattr(self.connection, "in_transaction", None) is False
        status = getattr(getattr(self.connection, "info", None), "transaction_status", None)
        return status is not None and int(status) == 0

    def begin(self) -> None:
        """Of a connection that commits each statement on its own, or of SQLite, where the first write may come too late."""
        if self.dialect == "sqlite":
            if not getattr(self.connection, "in_transaction", False):
                self.execute("BEGIN IMMEDIATE")
        elif self.is_autocommit():
            self.execute("BEGIN")

    def commit(self) -> None:
        if self.is_autocommit():
            self.execute("COMMIT")
        else:
            self.connection.commit()

    def roll_back(self) -> None:
        if self.is_autocommit():
            self.execute("ROLLBACK")
        else:
            self.connection.rollback()
