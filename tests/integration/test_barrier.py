# SPDX-License-Identifier: Apache-2.0
"""The SQL barrier: its truth table, calls that race on two connections, the clean-up, and what it costs."""
import contextlib
import itertools
import json
import re
import sqlite3
import threading

import psycopg
import pytest

from lib.base import ROOT, until

SCRIPT = (ROOT / "sql/barrier/postgresql.sql").read_text()
SQLITE_SCRIPT = (ROOT / "sql/barrier/sqlite.sql").read_text()
CASES = json.loads((ROOT / "participants/vectors/barrier.json").read_text())["cases"]
CALL = "SELECT answer, status, body FROM sagad_barrier(%s, %s, %s, %s, %s)"
KEEP = "SELECT sagad_barrier_keep(%s, %s, %s, %s, %s)"
FROM_NOW = "SELECT clock_timestamp() + make_interval(secs => %s)"
_gids = itertools.count(1)


@pytest.fixture(scope="module")
def dsn(postgres):
    made = postgres.new_database()
    # Thousands of commits, none of which has to survive a crash.
    quick = psycopg.conninfo.make_conninfo(made, options="-c synchronous_commit=off -c lock_timeout=30s")
    with psycopg.connect(quick) as db:
        db.execute(SCRIPT)
        db.execute("CREATE TABLE effect (gid text, op text)")
    yield quick
    postgres.drop_database(made)


@pytest.fixture
def db(dsn):
    with psycopg.connect(dsn) as made:
        made.execute("TRUNCATE sagad_barrier_step; TRUNCATE effect; UPDATE sagad_barrier_mark SET swept = '-infinity'")
        made.commit()
        yield made


def ask(db, *arguments):
    return dict(zip(("answer", "status", "body"), db.execute(CALL, arguments).fetchone()))


# ---- the truth table ----------------------------------------------------------------------------


class OnPostgres:
    WRONG = psycopg.errors.InvalidParameterValue

    def __init__(self, db):
        self.db = db

    def time(self, from_now_s):
        return self.db.execute(FROM_NOW, (from_now_s,)).fetchone()[0]

    def ask(self, *arguments):
        return ask(self.db, *arguments)

    def keep(self, *arguments):
        return self.db.execute(KEEP, arguments).fetchone()[0]

    def age(self, seconds):
        self.db.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - make_interval(secs => %(s)s),"
                        " deadline = deadline - make_interval(secs => %(s)s)", {"s": seconds})

    def sweep(self, seconds):
        return self.db.execute("SELECT sagad_barrier_sweep(make_interval(secs => %s))", (seconds,)).fetchone()[0]


class OnSqlite:
    WRONG = sqlite3.IntegrityError

    def __init__(self, db):
        self.db = db

    def time(self, from_now_s):
        sql = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"
        return self.db.execute(sql, (f"{from_now_s} seconds",)).fetchone()[0]

    def state(self, columns):
        return self.db.execute(f"SELECT {columns} FROM sagad_barrier_state").fetchone()

    def ask(self, *arguments):
        self.db.execute("INSERT INTO sagad_barrier VALUES (?, ?, ?, ?, ?)", arguments)
        return dict(zip(("answer", "status", "body"), self.state("answer, status, body")))

    def keep(self, *arguments):
        self.db.execute("INSERT INTO sagad_barrier_keep VALUES (?, ?, ?, ?, ?)", arguments)
        return bool(self.state("kept")[0])

    def age(self, seconds):
        self.db.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - :s / 86400.0,"
                        " deadline = iif(deadline < 1e9, deadline - :s / 86400.0, 1e9)", {"s": seconds})

    def sweep(self, seconds):
        self.db.execute("INSERT INTO sagad_barrier_sweep (retention_days) VALUES (? / 86400.0)", (seconds,))
        return self.state("deleted")[0]


@pytest.fixture
def lite(tmp_path):
    path = tmp_path / "service.db"
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as made:
        made.executescript(SQLITE_SCRIPT)
        yield made


@pytest.fixture(params=["postgresql", "sqlite"])
def on(request):
    return OnPostgres(request.getfixturevalue("db")) if request.param == "postgresql" else OnSqlite(
        request.getfixturevalue("lite"))


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


def test_truth_table_has_every_answer_of_every_op():
    seen = {(act["op"], act["answer"]) for case in CASES for act in case["do"] if "op" in act}
    possible = set(itertools.product(("try", "confirm", "cancel"), ("run", "duplicate", "empty", "late")))
    assert possible - seen == {("try", "empty")}


def test_script_of_sqlite_may_run_again_and_keeps_what_is_there(lite):
    OnSqlite(lite).ask("again", "a", "try", 1, None)
    lite.commit()
    lite.executescript(SQLITE_SCRIPT)
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
    ask(db, "again", "a", "try", 1, None)
    db.commit()
    db.execute(SCRIPT)
    db.commit()
    assert ask(db, "again", "a", "try", 1, None)["answer"] == "duplicate"


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


# ---- two connections ----------------------------------------------------------------------------

LEVELS = {"read committed": psycopg.IsolationLevel.READ_COMMITTED,
          "repeatable read": psycopg.IsolationLevel.REPEATABLE_READ,
          "serializable": psycopg.IsolationLevel.SERIALIZABLE}

class Caller:
    """A service's handler of one call: the barrier, the effect, the end. Each of them when told to, on a thread of its
    own, since it may have to wait for the other one."""

    STATEMENTS = 3

    def __init__(self, dsn, watcher, isolation, op):
        self.db = psycopg.connect(dsn)
        self.db.isolation_level = LEVELS[isolation]
        self.watcher, self.op = watcher, op
        self.pid = self.db.info.backend_pid
        self.thread = None

    def begin(self, gid, end):
        self.gid, self.end = gid, end
        self.answer, self.failed, self.left = None, None, self.STATEMENTS

    def next(self):
        """Its next statement, until it is done or waits for the other."""
        at, self.left = self.STATEMENTS - self.left, self.left - 1
        if self.failed:
            return
        statement = (self.enter, self.work, self.finish)[at]
        self.thread = threading.Thread(target=self.run, args=(statement,))
        self.thread.start()
        self.rest()

    def rest(self):
        """Until what it is at is done, or waits for the other. Locks are given on before a COMMIT is answered."""
        until(lambda: not self.is_waiting() or self.is_blocked(), every=0.0005)

    def is_blocked(self):
        return self.watcher.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (self.pid,)).fetchone()[0]

    def is_waiting(self):
        return self.thread is not None and self.thread.is_alive()

    def settle(self):
        self.thread.join()

    def run(self, statement):
        try:
            statement()
        except psycopg.errors.SerializationFailure as error:
            self.failed = error
            self.db.rollback()

    def enter(self):
        # The first statement takes the snapshot: what is not seen in it would be a lie above read committed.
        self.answer = ask(self.db, self.gid, "a", self.op, 1, None)

    def work(self):
        if self.answer["answer"] == "run":
            self.db.execute("INSERT INTO effect VALUES (%s, %s)", (self.gid, self.op))
            kept = self.db.execute(KEEP, (self.gid, "a", self.op, 201, f'{{"{self.op}": 1}}')).fetchone()[0]
            assert kept

    def finish(self):
        self.db.commit() if self.end == "commit" else self.db.rollback()

    def close(self):
        self.db.close()


def play(first, second, order):
    """Steps both in that order; whose turn comes while he waits is stepped when he goes on. True: somebody waited."""
    waited, queue = False, list(order)
    while queue:
        at = next((i for i, who in enumerate(queue) if not who.is_waiting()), None)
        assert at is not None, "both wait: a deadlock"
        queue.pop(at).next()
        waited = waited or first.is_waiting() or second.is_waiting()
        first.rest()
        second.rest()
    first.settle()
    second.settle()
    return waited


def orders(first, second):
    """All there are; of two equal calls those that the first one begins."""
    for places in itertools.combinations(range(6), 3):
        if first.op != second.op or 0 in places:
            yield [first if i in places else second for i in range(6)]


def repeat(db, gid, op):
    """As a coordinator does with what was rolled back: the same call again, with effect."""
    got = ask(db, gid, "a", op, 1, None)
    if got["answer"] == "run":
        db.execute("INSERT INTO effect VALUES (%s, %s)", (gid, op))
        assert db.execute(KEEP, (gid, "a", op, 201, f'{{"{op}": 1}}')).fetchone()[0]
    db.commit()
    return got


def effects(db, gid):
    return sorted(op for op, in db.execute("SELECT op FROM effect WHERE gid = %s", (gid,)))


def race(dsn, isolation, ops, before=()):
    """All interleavings of two calls, each committed or rolled back; what failed or was rolled back is called again, as
    a coordinator does. Yields what each was answered in the end."""
    seen = set()
    with psycopg.connect(dsn, autocommit=True) as watcher, psycopg.connect(dsn) as db:
        pair = [Caller(dsn, watcher, isolation, op) for op in ops]
        try:
            endings = itertools.product(("commit", "rollback"), repeat=2)
            for number, (order, ends) in enumerate(itertools.product(orders(*pair), endings)):
                gid = f"{isolation}-{'-'.join(ops)}-{number}"
                for op in before:
                    repeat(db, gid, op)
                for caller, end in zip(pair, ends):
                    caller.begin(gid, end)
                if play(*pair, order):
                    seen.add("waited")
                done = []
                for caller in pair:
                    committed = caller.end == "commit" and not caller.failed
                    seen.add("failed" if caller.failed else caller.answer["answer"])
                    done.append(caller.answer if committed else repeat(db, gid, caller.op))
                yield db, gid, done
        finally:
            for caller in pair:
                caller.close()
    assert "waited" in seen, "nobody ever waited: these were no races"
    # Above read committed who waited in vain starts again; at it nobody has to.
    assert ("failed" in seen) == (isolation != "read committed"), seen


@pytest.mark.parametrize("isolation", LEVELS)
def test_try_and_cancel_race(dsn, db, isolation):
    words = set()
    for db_, gid, (tried, cancelled) in race(dsn, isolation, ("try", "cancel")):
        words.add((tried["answer"], cancelled["answer"]))
        assert effects(db_, gid) in ([], ["cancel", "try"]), (gid, tried, cancelled)
        assert repeat(db_, gid, "try")["answer"] == ("duplicate" if tried["answer"] == "run" else "late")
        assert repeat(db_, gid, "cancel")["answer"] == "duplicate"
    assert words == {("run", "run"), ("late", "empty")}


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_confirm_and_cancel_race(dsn, db, isolation):
    words = set()
    for db_, gid, (confirmed, cancelled) in race(dsn, isolation, ("confirm", "cancel"), before=["try"]):
        words.add((confirmed["answer"], cancelled["answer"]))
        assert effects(db_, gid) in (["confirm", "try"], ["cancel", "try"]), (gid, confirmed, cancelled)
    assert words == {("run", "late"), ("late", "run")}


@pytest.mark.parametrize("isolation,op,before", [
    ("read committed", "try", ()), ("repeatable read", "try", ()),
    ("read committed", "cancel", ("try",)), ("read committed", "confirm", ("try",))])
def test_duplicates_race(dsn, db, isolation, op, before):
    for db_, gid, answers in race(dsn, isolation, (op, op), before):
        assert sorted(a["answer"] for a in answers) == ["duplicate", "run"], gid
        replayed = next(a for a in answers if a["answer"] == "duplicate")
        assert (replayed["status"], replayed["body"]) == (201, f'{{"{op}": 1}}')
        assert effects(db_, gid) == sorted((op, *before))


# ---- the clean-up -------------------------------------------------------------------------------


@pytest.fixture
def old(dsn, db):
    """A step that was tried and is old enough to be swept; its deadline."""
    deadline = db.execute(FROM_NOW, (-99940,)).fetchone()[0]
    ask(db, "old", "a", "try", 1, deadline)
    db.commit()
    OnPostgres(db).age(100000)
    db.commit()
    return db.execute(FROM_NOW, (-199940,)).fetchone()[0]


@pytest.mark.parametrize("op", ["try", "cancel", "confirm"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_sweep_under_way_lets_nothing_old_through(dsn, db, old, op, isolation):
    """The row is deleted by somebody who has not committed yet, when the call comes."""
    with psycopg.connect(dsn, autocommit=True) as watcher, psycopg.connect(dsn) as sweeper:
        caller = Caller(dsn, watcher, isolation, op)
        caller.begin("old", "commit")
        caller.enter = lambda: setattr(caller, "answer", ask(caller.db, "old", "a", op, 1, old))
        caller.db.execute("SELECT 1 FROM sagad_barrier_mark")  # its snapshot, if it has one, is from before
        assert sweeper.execute("SELECT sagad_barrier_sweep('1 day')").fetchone() == (1,)
        caller.next()
        assert caller.is_waiting()
        sweeper.commit()
        caller.settle()
        if isolation == "repeatable read":
            assert caller.failed
        else:
            assert (caller.answer["answer"], caller.answer["status"]) == ("late", 400)
            caller.finish()
        caller.close()
    assert db.execute("SELECT count(*) FROM sagad_barrier_step").fetchone() == (0,)


def test_sweep_leaves_what_somebody_works_on(dsn, db, old):
    with psycopg.connect(dsn) as sweeper:
        assert ask(db, "old", "a", "cancel", 1, old)["answer"] == "run"
        assert sweeper.execute("SELECT sagad_barrier_sweep('1 day')").fetchone() == (0,)
        sweeper.commit()
        db.commit()
        assert sweeper.execute("SELECT sagad_barrier_sweep('1 day')").fetchone() == (0,)
    assert ask(db, "old", "a", "cancel", 1, old)["answer"] == "duplicate"


def test_sweep_goes_in_batches(db, old):
    for number in range(5):
        ask(db, f"old-{number}", "a", "try", 1, old)
    db.commit()
    OnPostgres(db).age(100000)
    db.commit()
    sizes = [db.execute("SELECT sagad_barrier_sweep('1 day', 4)").fetchone()[0] for _ in range(3)]
    assert sizes == [4, 2, 0]


# ---- the cost -----------------------------------------------------------------------------------

COST = """
DO $$ DECLARE i integer; at timestamptz := clock_timestamp(); n CONSTANT integer := 2000; BEGIN
	FOR i IN 1..n LOOP {statement} END LOOP;
	PERFORM set_config('test.cost', (extract(epoch FROM clock_timestamp() - at) * 1e6 / n)::text, false);
END $$"""


def test_cost_of_a_call(db, capsys):
    """In microseconds of a session's time, without the commit and the way there. Run with -s to see them."""
    of = "'cost-' || i, 'a', '{op}'"
    costs = {}
    for name, statement in {
            "try": f"PERFORM sagad_barrier({of}, 1, now() + interval '1 hour');",
            "keep": f"PERFORM sagad_barrier_keep({of}, 201, '{{{{\"id\": 1}}}}');",
            "duplicate": f"PERFORM sagad_barrier({of}, 1, now() + interval '1 hour');"}.items():
        db.execute(COST.format(statement=statement.format(op="try")))
        costs[name] = float(db.execute("SELECT current_setting('test.cost')").fetchone()[0])
    db.execute(COST.format(statement=f"PERFORM sagad_barrier({of.format(op='cancel')}, 1, now());"))
    costs["cancel"] = float(db.execute("SELECT current_setting('test.cost')").fetchone()[0])
    with capsys.disabled():
        print("\nbarrier: " + ", ".join(f"{name} {cost:.1f} us" for name, cost in costs.items()))
    assert db.execute("SELECT count(*) FROM sagad_barrier_step WHERE tried AND cancelled").fetchone() == (2000,)
    assert max(costs.values()) < 5000, costs
