# SPDX-License-Identifier: Apache-2.0
"""The SQL barrier: its truth table, calls that race on two connections, the clean-up, and what it costs."""
import concurrent.futures
import contextlib
import functools
import itertools
import json
import os
import re
import sqlite3
import subprocess
import threading

import psycopg
import pymysql
import pytest

from lib.barrier import SCRIPTS, Caller, OnMariadb, OnPostgres, OnSqlite
from lib.base import ROOT, until

VECTORS = json.loads((ROOT / "participants/vectors/barrier.json").read_text())
CASES, WRONG = VECTORS["cases"], VECTORS["wrong"]
_gids = itertools.count(1)


@pytest.fixture(scope="module")
def dsn(postgres):
    made = postgres.new_database()
    # Thousands of commits, none of which has to survive a crash.
    quick = psycopg.conninfo.make_conninfo(made, options="-c synchronous_commit=off -c lock_timeout=30s")
    with psycopg.connect(quick) as db:
        db.execute(SCRIPTS["postgresql"])
        db.execute("CREATE TABLE effect (gid text, op text)")
    yield quick
    postgres.drop_database(made)


@pytest.fixture
def db(dsn):
    with psycopg.connect(dsn) as made:
        made.execute("TRUNCATE sagad_barrier_step; TRUNCATE effect; UPDATE sagad_barrier_mark SET swept = '-infinity'")
        made.commit()
        yield made


# ---- the truth table ----------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path):
    path = tmp_path / "service.db"
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as made:
        made.executescript(SCRIPTS["sqlite"])
        yield made


@pytest.fixture(scope="module")
def connect_maria(mariadb):
    """Connects to a MariaDB with the barrier."""
    name = mariadb.new_database(SCRIPTS["mariadb"] + "CREATE TABLE effect (gid varchar(128), op varchar(8));")
    return functools.partial(mariadb.connect, name)


@pytest.fixture
def maria(connect_maria):
    with connect_maria() as made:
        on = OnMariadb(made)
        for sql in ("DELETE FROM sagad_barrier_step", "DELETE FROM effect", "UPDATE sagad_barrier_mark SET swept = '1970-01-01'"):
            on.execute(sql)
        made.commit()
        yield made


KINDS = {"postgresql": (OnPostgres, "db"), "mariadb": (OnMariadb, "maria"), "sqlite": (OnSqlite, "lite")}


@pytest.fixture(params=KINDS)
def on(request):
    kind, name = KINDS[request.param]
    return kind(request.getfixturevalue(name))


def attempt(on, what, *arguments):
    try:
        return what(*arguments)
    except on.WRONG:
        on.db.rollback()
        return "error"


def do_call(on, gid, act):
    deadline = on.time(act["deadline_s"]) if "deadline_s" in act else None
    got = attempt(on, on.ask, gid, "a", act["op"], act.get("epoch"), deadline)
    if got == "error":
        assert act["answer"] == "error"
        return
    assert {f: got[f] for f in got if f in act} == {f: act[f] for f in got if f in act}, act
    assert (got["status"] is None) == (got["answer"] == "run"), got
    if got["answer"] in ("empty", "late"):
        assert isinstance(json.loads(got["body"]), dict)
    if "keep" in act:
        assert on.keep(gid, "a", act["op"], act["keep"]["status"], act["keep"]["body"]) is True
    on.db.rollback() if act.get("rollback") else on.db.commit()


def do_act(on, gid, act):
    if "op" in act:
        do_call(on, gid, act)
    elif "keep" in act:
        keep = act["keep"]
        assert attempt(on, on.keep, gid, "a", keep["op"], keep["status"], keep["body"]) == act["kept"], act
    elif "age_s" in act:
        on.age(act["age_s"])
    else:
        assert attempt(on, on.sweep, act["sweep_s"]) == act["deleted"], act
    on.db.commit()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_truth_table(on, case):
    gid = f"g-{next(_gids)}"
    for act in case["do"]:
        do_act(on, gid, act)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case["name"].replace(" ", "-"))
def test_what_cannot_be_is_an_error(on, case):
    call = {"gid": "g-1", "step": "a", "op": "try", "epoch": "1", **case}
    with pytest.raises((psycopg.DataError, *OnMariadb.WRONG, OnSqlite.WRONG)):
        on.ask(call["gid"], call["step"], call["op"], call["epoch"], call.get("deadline"))
    on.db.rollback()
    assert list(on.execute("SELECT count(*) FROM sagad_barrier_step")) == [(0,)]


@pytest.mark.parametrize("wrong", ["now", "12:00", "2026-02-03", "2026-02-03T10:00", "2026-02-03T10:00:00+02:00", "2026-02-03T10:00:00-02:00",
                                   "2026-02-03T10:00:00ZZ", "2026-02-03T10:00:00.Z", " 2026-02-03T10:00:00Z", "2026-02-03T10:00:00Z "])
@pytest.mark.parametrize("kind", ["mariadb", "sqlite"])
def test_a_deadline_is_as_in_the_header(request, kind, wrong):
    """Where it comes as text; PostgreSQL has a type for it."""
    on = KINDS[kind][0](request.getfixturevalue(KINDS[kind][1]))
    with pytest.raises(on.WRONG):
        on.ask("g-1", "a", "try", 1, wrong)
    on.db.rollback()
    for right in ("2026-02-03T23:59:59.999999Z", "2026-02-03 10:00:00", "2028-02-29T10:00:00.5Z"):
        on.ask("g-1", "a", "try", 1, right)
    on.db.rollback()


@pytest.mark.parametrize("gid, step, deadline", [(b"g-1", "a", None), ("g-1", b"a", None), (7, "a", None), ("g-1", "a", b"2026-02-03T10:00:00Z"), ("g-1", "a", 2460000.5)])
def test_sqlite_takes_no_bytes_and_no_numbers_for_text(lite, gid, step, deadline):
    """A blob and the same text would be two rows."""
    with pytest.raises(sqlite3.IntegrityError):
        OnSqlite(lite).ask(gid, step, "try", 1, deadline)


def test_the_widest_that_can_be(on):
    for epoch in ("0", "9223372036854775807"):
        assert on.ask("~" * 128, "=" * 64, "try", epoch, None)["answer"] == ("run" if epoch == "0" else "duplicate")
    on.db.commit()
    assert list(on.execute("SELECT epoch FROM sagad_barrier_step")) == [(2**63 - 1,)]


def test_truth_table_has_every_answer_of_every_op():
    seen = {(act["op"], act["answer"]) for case in CASES for act in case["do"] if "op" in act}
    possible = set(itertools.product(("try", "confirm", "cancel"), ("run", "duplicate", "empty", "late")))
    assert possible - seen == {("try", "empty")}


def test_script_of_sqlite_may_run_again_and_keeps_what_is_there(lite):
    OnSqlite(lite).ask("again", "a", "try", 1, None)
    lite.commit()
    lite.executescript(SCRIPTS["sqlite"])
    assert OnSqlite(lite).ask("again", "a", "try", 1, None)["answer"] == "duplicate"


def test_sqlite_lets_one_in_at_a_time(lite, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "service.db", timeout=0)) as other:
        for end, answer in ((lite.rollback, "empty"), (lite.commit, "run")):
            gid = answer
            assert OnSqlite(lite).ask(gid, "a", "try", 1, None)["answer"] == "run"
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                OnSqlite(other).ask(gid, "a", "cancel", 1, None)
            end()
            assert OnSqlite(other).ask(gid, "a", "cancel", 1, None)["answer"] == answer
            other.commit()


def test_sqlite_takes_a_deadline_that_is_no_time_for_an_error(lite):
    with pytest.raises(sqlite3.IntegrityError, match="deadline"):
        OnSqlite(lite).ask("g", "a", "try", 1, "soon")


def test_sqlite_sweeps_in_batches(lite):
    on = OnSqlite(lite)
    for number in range(5):
        on.ask(f"old-{number}", "a", "try", 1, on.time(60))
    on.age(100000)
    sizes = []
    for _ in range(3):
        lite.execute("INSERT INTO sagad_barrier_sweep VALUES (1, 3)")
        sizes.append(on.state("deleted")[0])
    assert sizes == [3, 2, 0]


def test_script_may_run_again_and_keeps_what_is_there(db):
    OnPostgres(db).ask("again", "a", "try", 1, None)
    db.commit()
    db.execute(SCRIPTS["postgresql"])
    db.commit()
    assert OnPostgres(db).ask("again", "a", "try", 1, None)["answer"] == "duplicate"


def test_postgresql_needs_the_rights_that_the_guide_names(db):
    part = (ROOT / "docs/barrier.md").read_text().split("## Rights on PostgreSQL")[1].split("\n## ")[0]
    grants = re.findall(r"^    (GRANT .*);$", part, re.M)
    assert len(grants) == 2
    db.execute("CREATE ROLE service")
    for grant in grants:
        db.execute(grant)
    db.execute("SET LOCAL ROLE service")
    service = OnPostgres(db)
    assert service.ask("least", "a", "try", 1, None)["answer"] == "run"
    assert service.keep("least", "a", "try", 201, "{}")
    assert service.ask("least", "a", "cancel", 1, None)["answer"] == "run"
    assert service.ask("old", "a", "try", 1, "2020-01-01T00:00:00Z")["answer"] == "run"
    assert service.sweep(86400) == 0
    with db.transaction(force_rollback=True), pytest.raises(psycopg.errors.InsufficientPrivilege):
        with db.transaction():
            db.execute("SELECT count(*) FROM effect")
    db.rollback()  # the role as well


# ---- the sender of a message, in the way of docs/start-in-your-commit.md ---------------------------


def send(on, gid, deadline):
    """True: it goes on. It commits behind this."""
    told = on.ask(gid, "=message", "try", None, deadline)
    assert told["answer"] in ("run", "duplicate", "late"), told
    return told["answer"]


def check(on, gid, deadline):
    told = on.ask(gid, "=message", "cancel", None, deadline)
    if told["answer"] == "run":
        on.db.rollback()
        return 200
    on.db.commit()
    return told["status"] if told["answer"] == "late" else 422


def test_a_message_that_was_committed(on):
    gid, deadline = f"m-{next(_gids)}", on.time(60)
    assert send(on, gid, deadline) == "run"
    on.db.commit()
    assert [check(on, gid, deadline) for _ in range(3)] == [200] * 3, "however often it is asked"
    assert send(on, gid, deadline) == "duplicate"
    on.db.commit()
    assert check(on, gid, deadline) == 200


def test_a_message_that_was_rolled_back(on):
    gid, deadline = f"m-{next(_gids)}", on.time(60)
    assert send(on, gid, deadline) == "run"
    on.db.rollback()
    assert [check(on, gid, deadline) for _ in range(3)] == [422] * 3
    assert send(on, gid, deadline) == "late", "what was denied cannot happen any more"
    on.db.rollback()
    assert check(on, gid, deadline) == 422


def test_a_message_that_nobody_can_tell_of(on):
    gid, deadline = f"m-{next(_gids)}", on.time(60)
    assert send(on, gid, deadline) == "run"
    on.db.commit()
    on.age(100_000)
    on.db.commit()
    assert on.sweep(86_400) == 1
    on.db.commit()
    assert check(on, gid, on.time(-99_940)) == 400, "swept: neither yes nor no"


def test_a_check_waits_for_the_sender(connect_maria):
    """Too long for this one, so that its call is not answered, and asked again."""
    with connect_maria() as one, connect_maria() as other:
        sender, asked = OnMariadb(one), OnMariadb(other)
        asked.execute("SET SESSION innodb_lock_wait_timeout = 1")
        gid, deadline = f"m-{next(_gids)}", sender.time(60)
        assert send(sender, gid, deadline) == "run"
        with pytest.raises(pymysql.err.OperationalError) as told:
            check(asked, gid, deadline)
        assert told.value.args[0] == 1205
        other.rollback()
        one.commit()
        assert check(asked, gid, deadline) == 200


# ---- MariaDB alone ------------------------------------------------------------------------------


def test_script_of_mariadb_may_run_again_and_keeps_what_is_there(mariadb, maria):
    on = OnMariadb(maria)
    on.begin()
    on.ask("again", "a", "try", 1, None)
    maria.commit()
    mariadb.run_script(maria.db.decode(), SCRIPTS["mariadb"])
    on.begin()
    assert on.ask("again", "a", "try", 1, None)["answer"] == "duplicate"


def test_mariadb_is_set_up_by_several_at_once_while_others_call(mariadb):
    """Services run the script when they start, and their replicas are at work."""
    name, ended = mariadb.new_database(""), threading.Event()

    def setup():
        mariadb.run_script(name, SCRIPTS["mariadb"])

    def call(service):
        with mariadb.connect(name) as db:
            on, calls = OnMariadb(db), 0
            while not ended.is_set() or not calls:
                on.begin()
                assert on.ask(f"{service}-{calls}", "a", "try", 1, None)["answer"] == "run"
                assert on.keep(f"{service}-{calls}", "a", "try", 201, "{}")
                db.commit()
                calls += 1
            return calls

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(setup) for _ in range(2)]:
            done.result()
        services = [pool.submit(call, f"service{i}") for i in range(2)]
        try:
            for _ in range(5):
                for done in [pool.submit(setup) for _ in range(2)]:
                    done.result()
        finally:
            ended.set()
        made = sum(service.result() for service in services)
    with mariadb.connect(name) as db:
        assert OnMariadb(db).execute("SELECT count(*) FROM sagad_barrier_step WHERE try_status = 201") == [(made,)]


def test_mariadb_wants_a_transaction(maria):
    maria.autocommit(True)
    with pytest.raises(pymysql.err.OperationalError, match="begin a transaction first"):
        OnMariadb(maria).ask("open", "a", "try", 1, None)


@pytest.mark.parametrize("arguments", [
    ("g" * 129, "a", "try", 1, None), ("g" * 300, "a", "try", 1, None), ("g", "s" * 65, "try", 1, None),
    ("g", "a", "try", 2 ** 63, None),  ("g\u00e9", "a", "try", 1, None), ("g", "a", "try", "one", None),
    ("g", "a", "try", 1, "soon"), ("g", "a", "try", 1, "2026-11-23T10:50:54+02:00"), ("g", "a", "try", 1, "2026-02-31T10:50:54Z")])
def test_mariadb_cuts_nothing_to_fit_whatever_the_sql_mode(maria, arguments):
    on = OnMariadb(maria)
    on.execute("SET SESSION sql_mode = ''")
    on.begin()
    with pytest.raises(pymysql.err.Error):
        on.ask(*arguments)
    maria.rollback()
    assert on.execute("SELECT count(*) FROM sagad_barrier_step") == [(0,)]


def test_mariadb_needs_the_rights_that_the_guide_names(mariadb, connect_maria, maria):
    database, on = maria.db.decode(), OnMariadb(maria)
    guide = (ROOT / "docs/barrier.md").read_text().split("## MariaDB and MySQL")[1]
    on.execute("CREATE OR REPLACE USER service@localhost")
    grants = re.findall(r"^    (GRANT .*);$", guide, re.M)
    assert len(grants) >= 3
    for grant in grants:
        on.execute(grant.replace("shop.", f"{database}."))
    with mariadb.connect(database, user="service") as db:
        service = OnMariadb(db)
        service.begin()
        assert service.ask("least", "a", "try", 1, None)["answer"] == "run"
        assert service.keep("least", "a", "try", 201, "{}")
        assert service.sweep(86400) == 0
        db.commit()
        with pytest.raises(pymysql.err.OperationalError):
            service.execute("SELECT count(*) FROM effect")


def work_on(on, gid, op="try"):
    """What a service does in its transaction, but for the end."""
    if on.ask(gid, "a", op, 1, None)["answer"] == "run":
        on.execute("INSERT INTO effect VALUES (%s, %s)", gid, op)
        assert on.keep(gid, "a", op, 201, "{}")


def test_mariadb_deadlock_undoes_all_and_the_next_call_does_it_once(connect_maria, maria):
    """Two transactions with two steps each, in opposite orders. Error 1213, and nothing of that transaction is left."""
    watcher = OnMariadb(maria)
    watcher.each_alone()
    pair = [OnMariadb(connect_maria()), OnMariadb(connect_maria())]
    for on, gid in zip(pair, ("one", "two")):
        on.begin()
        work_on(on, gid)
    failed = []

    def go_on(on, gid):
        try:
            work_on(on, gid)
            on.db.commit()
        except pymysql.err.OperationalError as error:
            failed.append((on, error.args[0]))
    first = threading.Thread(target=go_on, args=(pair[0], "two"))
    first.start()
    until(lambda: watcher.is_blocked(pair[0]))
    go_on(pair[1], "one")
    first.join()
    assert [code for _, code in failed] == [1213]
    on = failed[0][0]
    assert on.execute("SELECT @@in_transaction") == [(0,)]
    for gid in ("two", "one"):
        on.begin()
        work_on(on, gid)
        on.db.commit()
    assert sorted(watcher.execute("SELECT gid FROM effect")) == [("one",), ("two",)]
    for on in pair:
        on.db.close()


def test_mariadb_lock_wait_undoes_one_statement_and_wants_a_rollback(connect_maria, maria):
    """Error 1205 leaves the transaction open: the guide says to roll back whatever fails."""
    with connect_maria() as holder:
        on, other = OnMariadb(maria), OnMariadb(holder)
        other.begin()
        work_on(other, "held")
        on.execute("SET SESSION innodb_lock_wait_timeout = 0")
        on.begin()
        with pytest.raises(pymysql.err.OperationalError) as error:
            work_on(on, "held", "cancel")
        assert error.value.args[0] == 1205
        assert on.execute("SELECT @@in_transaction") == [(1,)]
        maria.rollback()
        holder.commit()
        on.begin()
        assert on.ask("held", "a", "cancel", 1, None)["answer"] == "run"


def test_mariadb_three_duplicates_and_a_rollback_make_one_effect(connect_maria, maria):
    """Who waits for a row that is rolled back may be told 1213; he comes again."""
    watcher = OnMariadb(maria)
    watcher.each_alone()
    first, *others = [OnMariadb(connect_maria()) for _ in range(3)]
    codes = []

    def whole_call(on):
        while True:
            try:
                on.begin()
                work_on(on, "thrice")
                on.db.commit()
                return
            except pymysql.err.OperationalError as error:
                codes.append(error.args[0])
                on.db.rollback()
    first.begin()
    work_on(first, "thrice")
    threads = [threading.Thread(target=whole_call, args=(on,)) for on in others]
    for thread in threads:
        thread.start()
    until(lambda: all(watcher.is_blocked(on) for on in others))
    first.db.rollback()
    for thread in threads:
        thread.join()
    assert set(codes) <= {1213}
    assert watcher.execute("SELECT gid FROM effect") == [("thrice",)]
    for on in (first, *others):
        on.db.close()


# ---- PostgreSQL alone ---------------------------------------------------------------------------


def test_whoever_calls_needs_no_search_path(db):
    db.execute("SET search_path = pg_catalog")
    assert db.execute("SELECT answer FROM public.sagad_barrier('path', 'a', 'try')").fetchone() == ("run",)
    assert db.execute("SELECT public.sagad_barrier_keep('path', 'a', 'try', 204)").fetchone() == (True,)
    assert db.execute("SELECT public.sagad_barrier_sweep('1 day')").fetchone() == (0,)


def test_ten_lines_of_the_guide_work(db):
    guide = (ROOT / "docs/barrier.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", guide, re.M | re.S).group(1)
    world = {}
    exec(code, world)  # pylint: disable=exec-used
    headers = {"Saga-Id": "guide", "Saga-Step": "pay", "Saga-Op": "try", "Saga-Epoch": "1",
               "Saga-Deadline": "2126-01-01T00:00:00.000Z"}
    done = []

    def work(db, op):
        done.append(op)
        if op == "confirm":
            raise RuntimeError("the work fails")
        return 201, f'{{"done": "{op}"}}'
    db.commit()
    assert world["serve"](db, headers, work) == (201, '{"done": "try"}')
    assert world["serve"](db, headers, work) == (201, '{"done": "try"}')
    with pytest.raises(RuntimeError):
        world["serve"](db, {**headers, "Saga-Op": "confirm"}, work)
    assert world["serve"](db, {**headers, "Saga-Op": "cancel"}, work) == (201, '{"done": "cancel"}')
    assert world["serve"](db, {**headers, "Saga-Op": "confirm"}, work)[0] == 410
    assert done == ["try", "confirm", "cancel"]


def test_sqlite_lines_of_the_guide_work(lite):
    guide = (ROOT / "docs/barrier.md").read_text()
    lines = re.search(r"^```sql\n(.*?)^```$", guide, re.M | re.S).group(1).splitlines()
    call = {"gid": "g", "step": "a", "op": "try", "epoch": "1", "deadline": "2126-01-01T00:00:00.000Z",
            "status": 201, "body": "{}"}
    got = [lite.execute(line, call).fetchone() for line in lines]
    assert got == [None, ("run", None, None), None, (1,), None, (0,)]


def test_no_order_of_calls_has_an_effect_twice_or_both_decisions(on):
    """Every sequence of four calls, without a word on what each should be answered."""
    for sequence in itertools.product(("try", "confirm", "cancel"), repeat=4):
        gid, ran = "-".join(sequence), []
        for op in sequence:
            if on.ask(gid, "a", op, None, None)["answer"] == "run":
                ran.append(op)
        tried = sequence.index("try") if "try" in sequence else 4
        cancelled = sequence.index("cancel") if "cancel" in sequence else 4
        decided = [op for op in sequence[tried:] if op != "try"][:1]
        assert ran == ([] if tried == 4 or cancelled < tried else ["try", *decided]), sequence


# ---- the clean-up -------------------------------------------------------------------------------


class Server:
    """PostgreSQL or MariaDB: as many connections as a test wants, closed in the end."""

    def __init__(self, kind, connect):
        self.kind, self.connect, self.made = kind, connect, []

    def on(self, isolation=None):
        made = self.kind(self.connect(), **({"isolation": isolation} if isolation else {}))
        self.made.append(made.db)
        return made

    def close(self):
        for db in self.made:
            db.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request):
    request.getfixturevalue(KINDS[request.param][1])  # empty
    connect = (functools.partial(psycopg.connect, request.getfixturevalue("dsn")) if request.param == "postgresql"
               else request.getfixturevalue("connect_maria"))
    made = Server(KINDS[request.param][0], connect)
    yield made
    made.close()


@pytest.fixture
def old(server):
    """The deadline of a step that was tried and is old enough to be swept."""
    on = server.on()
    on.ask("old", "a", "try", 1, on.time(-99940))
    on.age(100000)
    deadline = on.time(-199940)
    on.db.commit()
    return deadline


DAY = 86400


@pytest.mark.parametrize("op", ["try", "cancel", "confirm"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_sweep_under_way_lets_nothing_old_through(server, old, op, isolation):
    """The row is deleted by somebody who has not committed yet, when the call comes."""
    watcher, sweeper = server.on(), server.on()
    watcher.each_alone()
    caller = Caller(server.on(isolation), watcher, op)
    caller.begin("old", "commit")
    caller.deadline = old
    caller.on.begin()
    caller.on.begin = lambda: None
    caller.on.execute("SELECT 1 FROM sagad_barrier_mark")  # its snapshot, if it has one, is from before
    sweeper.begin()
    assert sweeper.sweep(DAY) == 1
    caller.next()
    assert caller.is_waiting()
    sweeper.db.commit()
    caller.settle()
    if isolation == "repeatable read" and server.kind is OnPostgres:
        assert caller.failed
    else:
        assert (caller.answer["answer"], caller.answer["status"]) == ("late", 400)
        caller.finish()
    assert watcher.execute("SELECT count(*) FROM sagad_barrier_step")[0][0] == 0


def test_sweep_leaves_what_somebody_works_on(server, old):
    on, sweeper = server.on(), server.on()
    on.begin()
    assert on.ask("old", "a", "cancel", 1, old)["answer"] == "run"
    sweeper.begin()
    assert sweeper.sweep(DAY) == 0
    sweeper.db.commit()
    on.db.commit()
    assert sweeper.sweep(DAY) == 0
    on.begin()
    assert on.ask("old", "a", "cancel", 1, old)["answer"] == "duplicate"


def test_sweep_goes_in_batches(server, old):
    on = server.on()
    on.begin()
    for number in range(5):
        on.ask(f"old-{number}", "a", "try", 1, old)
    on.db.commit()
    on.age(100000)
    on.db.commit()
    sizes = []
    for _ in range(3):
        sizes.append(on.sweep(DAY, 4))
        on.db.commit()
    assert sizes == [4, 2, 0]


def test_transaction_without_deadline_is_swept_by_its_acceptance(on):
    """A service gives Saga-Accepted where there is no Saga-Deadline. A step that is tried for the first time long after
    is refused aloud, as nobody can tell it from one that was swept."""
    begin = getattr(on, "begin", lambda: None)
    begin()
    accepted = on.time(0)
    on.ask("undated", "a", "try", 1, accepted)
    on.ask("kept", "a", "try", 1, None)
    on.db.commit()
    on.age(2 * DAY)
    on.db.commit()
    begin()
    assert on.sweep(DAY) == 1
    on.db.commit()
    begin()
    longer_ago = on.time(-2 * DAY)
    for op in ("try", "confirm", "cancel"):
        assert on.ask("undated", "a", op, 1, longer_ago)["status"] == 400
    assert on.ask("other", "a", "try", 1, on.time(0))["answer"] == "run"
    assert on.ask("kept", "a", "try", 1, None)["answer"] == "duplicate"


# ---- the cost -----------------------------------------------------------------------------------


def test_cost_is_measured():
    """As the guide says it is; a few calls tell that it works, not what it costs."""
    told = re.search(r"`(tests/bench/barrier.py)", (ROOT / "docs/barrier.md").read_text()).group(1)
    done = subprocess.run(["/usr/bin/python3", ROOT / told, "20"], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert rows[0] == ["µs", "empty statement", "try", "keep", "duplicate", "cancel"]
    assert [row[0] for row in rows[2:]] == ["PostgreSQL", "MariaDB", "SQLite"]
    assert all(0 < float(cell) < 50000 for row in rows[2:] for cell in row[2:]), rows
