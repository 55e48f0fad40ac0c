# SPDX-License-Identifier: Apache-2.0
"""participants/python with async functions, on asyncpg and on psycopg's AsyncConnection, behind uvicorn and called by real replicas."""
import asyncio
import contextlib
import datetime
import re
import threading

import asyncpg
import psycopg
import psycopg.rows
import psycopg_pool
import pytest
import uvicorn

import sagad
from lib.base import ROOT, until
from sagad import aio, asgi
from test_barrier import CASES, do_act


class Loop:
    """One for all tests of the module, in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def __call__(self, awaitable, timeout=60):
        async def wait():
            return await awaitable
        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(timeout)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


@pytest.fixture(scope="module")
def wait():
    made = Loop()
    yield made
    made.close()


def url_of(dsn):
    """For asyncpg, which reads no list of words."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    return {"database" if name == "dbname" else name: text for name, text in given.items() if name in ("host", "port", "user", "dbname", "password")}


@pytest.fixture(params=["asyncpg", "psycopg", "psycopg-autocommit"])
def connect(request, dsn):
    """Connects through that driver."""
    if request.param == "asyncpg":
        return lambda: asyncpg.connect(**url_of(dsn), server_settings={"synchronous_commit": "off"})
    return lambda: psycopg.AsyncConnection.connect(f"{dsn} options='-c synchronous_commit=off'", row_factory=psycopg.rows.dict_row,
                                                   autocommit=request.param != "psycopg")


async def execute(db, sql, *arguments):
    if isinstance(db, psycopg.AsyncConnection):
        await db.execute(sql, arguments)
    else:
        await db.execute(sql.replace("%s", "$1"), *arguments)


def effects(dsn, gid):
    with psycopg.connect(dsn) as db:
        return [what for what, in db.execute("SELECT what FROM effect WHERE gid = %s ORDER BY what", (gid,))]


# ---- the barrier, through the drivers --------------------------------------------------------------


class OnAsync:
    """What test_barrier.py asks for."""

    WRONG = psycopg.errors.InvalidParameterValue, asyncpg.exceptions.InvalidParameterValueError

    def __init__(self, wait, made, admin):
        self.wait, self.barrier, self.admin, self.db, self.is_open = wait, aio.Barrier(made), admin, self, False

    def _do(self, what, *arguments):
        if not self.is_open:
            self.wait(self.barrier.begin())
        self.is_open = True
        return self.wait(what(*arguments))

    def _end(self, what):
        if self.is_open:
            self.wait(what())
        self.is_open = False

    def commit(self):
        self._end(self.barrier.commit)

    def rollback(self):
        self._end(self.barrier.roll_back)

    def time(self, from_now_s):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=from_now_s)
        return at.isoformat().replace("+00:00", "Z")

    def ask(self, gid, step, op, epoch, deadline):
        return self._do(self.barrier.ask, sagad.Call(gid, step, op, epoch=epoch, deadline=deadline))._asdict()

    def keep(self, gid, step, op, status, body):
        return self._do(self.barrier.keep_of, gid, step, op, sagad.Answer(status, body))

    def sweep(self, seconds):
        return self._do(self.barrier.sweep, seconds)

    def age(self, seconds):
        self.admin.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - make_interval(secs => %(s)s),"
                           " deadline = deadline - make_interval(secs => %(s)s)", {"s": seconds})

    def fresh(self):
        self.admin.execute("UPDATE sagad_barrier_mark SET swept = '-infinity'")
        self.admin.execute("DELETE FROM sagad_barrier_step")


def test_the_truth_table(wait, connect, dsn):
    made = wait(connect())
    with psycopg.connect(f"{dsn} options='-c synchronous_commit=off'", autocommit=True) as admin:
        on = OnAsync(wait, made, admin)
        for number, case in enumerate(CASES):
            on.fresh()
            for act in case["do"]:
                do_act(on, f"async-{number}", act)
    wait(made.close())


def test_the_barrier_is_not_asked_outside_of_a_transaction(wait, connect):
    async def play():
        db, call = await connect(), sagad.Call("open", "s", "try")
        if not isinstance(db, psycopg.AsyncConnection) or db.autocommit:
            with pytest.raises(RuntimeError, match="begin a transaction first"):
                await aio.Barrier(db).ask(call)
            await db.execute("BEGIN")
        assert (await aio.Barrier(db).ask(call)).answer == "run"  # nothing was remembered of what was refused
        await db.execute("ROLLBACK")
        await db.close()
    wait(play())


def test_setup_again_and_connections_that_are_none(wait, connect, dsn):
    async def play():
        db = await connect()
        await aio.Barrier(db).setup()
        await aio.Barrier(db).setup()
        await db.close()
    wait(play())
    with psycopg.connect(dsn) as db, pytest.raises(TypeError, match="AsyncConnection, and not psycopg"):
        aio.Barrier(db)
    with pytest.raises(TypeError, match="and not builtins.object"):
        aio.Barrier(object())


def test_a_role_that_may_use_the_barrier_need_not_make_it(wait, connect, dsn):
    async def play(more):
        db = await connect()
        try:
            for sql in (*more, "COMMIT"):
                await db.execute(sql)
            await aio.Barrier(db).setup()
            return (await aio.run(db, sagad.Call("g", "rights", "cancel"), nothing)).status
        finally:
            await db.close()
    forbid = "DO $$ BEGIN CREATE ROLE sdk_async; EXCEPTION WHEN duplicate_object THEN NULL; END $$", \
        "GRANT SELECT, INSERT, UPDATE, DELETE ON sagad_barrier_step, sagad_barrier_mark TO sdk_async"
    with psycopg.connect(dsn, autocommit=True) as admin:
        for sql in forbid:
            admin.execute(sql)
    assert wait(play(["SET ROLE sdk_async"])) == 200
    with pytest.raises(sagad.CannotSetUp, match="postgresql.sql as a role that may make it"):
        wait(play(["SET ROLE sdk_async", "SET search_path = nowhere"]))


# ---- functions in it -----------------------------------------------------------------------------------


@pytest.fixture
def run(wait, connect):
    """One call on a connection of its own."""
    def once(call, work):
        async def play():
            db = await connect()
            try:
                return await aio.run(db, call, work)
            finally:
                await db.close()
        return wait(play())
    return once


def test_a_transaction(run, dsn, gid, caplog):
    call = sagad.Call(gid, "s", "try")

    async def insert(db, what):
        await execute(db, "INSERT INTO effect VALUES (%s, 'half')" if what == "half" else "INSERT INTO effect VALUES (%s, 'all')", gid)

    async def fail(_, db):
        await insert(db, "half")
        return 1 / 0

    async def give_nan(_, db):
        await insert(db, "half")
        return float("nan")

    async def go_on(_, db):
        await insert(db, "half")
        with contextlib.suppress(Exception):
            await execute(db, "INSERT INTO nowhere VALUES (1)")

    async def roll_back(_, db):
        await insert(db, "half")
        await execute(db, "ROLLBACK")

    async def work(_, db):
        await insert(db, "all")
        return {"n": 1}
    for wrong in (fail, give_nan, go_on, roll_back):
        assert run(call, wrong).status == 503 and effects(dsn, gid) == []
    assert caplog.text.count("it may neither commit nor roll back") == 2 and "is no JSON" in caplog.text
    for _ in range(2):
        assert run(call, work).body == '{"n":1}' and effects(dsn, gid) == ["all"]
    assert run(sagad.Call(gid, "late", "cancel"), work).body == "{}"
    assert run(sagad.Call(gid, "late", "try"), work).status == 422 and effects(dsn, gid) == ["all"]


@pytest.mark.parametrize("raises", [True, False])
def test_a_refusal_is_kept_and_its_work_undone(run, dsn, gid, raises):
    async def refuse(call, db):
        await execute(db, "INSERT INTO effect VALUES (%s, 'half')", gid)
        if raises:
            raise sagad.Refused("sold out")
        return sagad.refused("sold out")

    async def give_way(call, db):
        await execute(db, "INSERT INTO effect VALUES (%s, 'half')", gid)
        try:
            await execute(db, "INSERT INTO nowhere VALUES (1)")
        except Exception as why:
            raise sagad.Refused("sold out") from why
    for step, work in (("a", refuse), ("b", give_way)):
        for _ in range(2):
            answer = run(sagad.Call(gid, step, "try"), work)
            assert (answer.status, answer.body, effects(dsn, gid)) == (422, '{"error":"sold out"}', [])

    async def confirm(call, db):
        raise sagad.Refused("no")
    assert run(sagad.Call(gid, "c", "try"), nothing).status == 204
    assert run(sagad.Call(gid, "c", "confirm"), confirm).status == 500


async def nothing(call, db):
    pass


def test_a_function_may_have_savepoints_of_its_own(run, dsn, gid):
    async def work(call, db):
        with contextlib.suppress(ZeroDivisionError):
            async with db.transaction():
                await execute(db, "INSERT INTO effect VALUES (%s, 'half')", gid)
                raise ZeroDivisionError
        async with db.transaction():
            await execute(db, "INSERT INTO effect VALUES (%s, 'all')", gid)
    assert run(sagad.Call(gid, "s", "try"), work).status == 204 and effects(dsn, gid) == ["all"]


def test_a_deadlock_begins_again_and_the_body_may_be_wrong(run, dsn, gid):
    left = [type("Deadlock", (Exception,), {"sqlstate": "40P01"})] * 2

    async def work(call, db):
        await execute(db, "INSERT INTO effect VALUES (%s, 'once')", gid)
        if left:
            raise left.pop()()
        return call.json()
    assert run(sagad.Call(gid, "s", "try", body=b"{"), work).status == 400 and effects(dsn, gid) == []
    assert run(sagad.Call(gid, "s", "try", body=b"7"), work).body == "7" and effects(dsn, gid) == ["once"]


LATER = "2126-11-23T10:40:54.123Z"


def test_messages(wait, connect, run, dsn, gid):
    async def play(own, ends):
        db = await connect()
        barrier = aio.Barrier(db)
        try:
            await barrier.begin()
            return await barrier.message(own, LATER)
        finally:
            await getattr(barrier, ends)()
            await db.close()
    check = {own: sagad.Call(own, "check", "check", deadline=LATER) for own in (gid, gid + "-never")}
    assert [wait(play(gid, ends)) for ends in ("roll_back", "commit", "commit")] == [True, True, False]
    assert [run(check[own], None).status for own in (gid, gid + "-never") * 2] == [200, 422] * 2
    with pytest.raises(sagad.TooLate):
        wait(play(gid + "-never", "roll_back"))


def test_work_that_goes_on_ends_in_a_transaction_of_its_own(wait, connect, run, dsn, gid):
    async def begin(call, db):
        return sagad.ongoing({"at": 1}, retry_after_s=9)

    async def end(step):
        db = await connect()
        barrier = aio.Barrier(db)
        try:
            await barrier.begin()
            await barrier.finish(gid, step, "try", sagad.ok({"n": 7}))
            await barrier.commit()
        finally:
            await db.close()
    assert run(sagad.Call(gid, "a", "try"), begin).status == run(sagad.Call(gid, "b", "try"), begin).status == 202
    wait(end("a"))
    assert run(sagad.Call(gid, "a", "try"), begin).body == '{"n":7}'
    assert run(sagad.Call(gid, "b", "cancel"), nothing).status == 204
    with pytest.raises(sagad.Cancelled):
        wait(end("b"))


# ---- a service, called by sagad ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def serve(wait):
    """Serves ASGI applications with uvicorn; gives their URL."""
    servers = []

    def start(app):
        made = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
        made.install_signal_handlers = lambda: None
        servers.append((made, asyncio.run_coroutine_threadsafe(made.serve(), wait.loop)))
        until(lambda: made.started)
        return f"http://127.0.0.1:{made.servers[0].sockets[0].getsockname()[1]}"
    yield start
    for made, done in servers:
        made.should_exit = True
        done.result(30)


@pytest.fixture(scope="module", params=["asyncpg", "psycopg"])
def pool(request, wait, dsn):
    if request.param == "asyncpg":
        async def create_pool():
            return await asyncpg.create_pool(**url_of(dsn), min_size=1, max_size=4)
        made = wait(create_pool())
        yield made.acquire, made.release
    else:
        async def open_pool():
            pool = psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=4, open=False)
            await pool.open()
            return pool
        made = wait(open_pool())
        yield made.getconn, made.putconn
    wait(made.close())


@pytest.fixture
def service(pool, wait):
    connect, release = pool
    made = aio.Participant(connect, release=release, decimals=True)
    wait(made.setup())
    return made


def test_a_saga_with_async_functions(service, serve, sdk, dsn, gid):
    @service.on("/rooms/{kind}")
    async def book(call, db):
        await execute(db, "INSERT INTO effect VALUES (%s, 'book')", call.gid)
        if call.params["kind"] == "none":
            raise sagad.Refused("sold out")
        return {"kind": call.params["kind"], "price": call.json()["price"] * 2}

    @service.on("/rooms/{kind}", "cancel")
    async def cancel(call, db):
        await execute(db, "INSERT INTO effect VALUES (%s, 'cancel')", call.gid)
    url = serve(asgi.application(service))

    def step(kind):
        return {"action": {"url": f"{url}/rooms/{kind}"}, "compensate": {"url": f"{url}/rooms/{kind}"}}
    done = sdk.start(gid=gid, steps={"a": step("double")}, input={"price": 7}, wait_s=20)
    assert done.succeeded and done.step("a")["output"] == {"kind": "double", "price": 14} and effects(dsn, gid) == ["book"]
    poor = sdk.start(gid=gid + "-2", steps={"a": step("single"), "b": {**step("none"), "after": ["a"]}}, input={"price": 1}, wait_s=20)
    assert poor.phase == "cancelled" and effects(dsn, gid + "-2") == ["book", "cancel"]


def test_the_service_of_the_page_works(serve, sdk, dsn, gid, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "participants/python/README.md").read_text(), re.M | re.S)
    block, = [text for text in blocks if "aio.Participant" in text]
    made, world = asyncpg.create_pool, {}
    monkeypatch.setattr(asyncpg, "create_pool", lambda url: made(**url_of(dsn), min_size=1, max_size=2))
    with psycopg.connect(dsn) as db:
        db.execute("CREATE TABLE account (name text PRIMARY KEY, balance int)")
        db.execute("INSERT INTO account VALUES ('carl', 10)")
    exec(block, world)  # pylint: disable=exec-used
    url = serve(world["application"])
    steps = {"out": {"kind": "retriable", "action": {"url": url + "/withdrawals"}}}
    done = sdk.start(gid=gid, steps=steps, input={"account": "carl", "amount": 7}, wait_s=20)
    assert done.succeeded, done
    with psycopg.connect(dsn) as db:
        assert db.execute("SELECT balance FROM account").fetchone() == (3,)


def test_who_gives_up_a_request_tears_no_transaction_apart(service, wait, dsn, gid):
    async def play():
        began, go_on, calls = asyncio.Event(), asyncio.Event(), []

        @service.on("/rooms")
        async def book(call, db):
            calls.append(call.gid)
            await execute(db, "INSERT INTO effect VALUES (%s, 'book')", call.gid)
            began.set()
            await go_on.wait()
            return {"n": 1}
        headers = {"Saga-Id": gid, "Saga-Step": "a", "Saga-Op": "try"}
        first = asyncio.ensure_future(service.serve("/rooms", headers, b""))
        await began.wait()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        again = asyncio.ensure_future(service.serve("/rooms", headers, b""))
        go_on.set()
        return (await again)[2], calls
    assert wait(play()) == (b'{"n":1}', [gid]) and effects(dsn, gid) == ["book"]


def test_who_is_stopped_leaves_no_transaction_behind(wait, connect, dsn, gid):
    async def play():
        db = await connect()

        async def work(call, used):
            await execute(used, "INSERT INTO effect VALUES (%s, 'half')", gid)
            await asyncio.sleep(600)
        task = asyncio.ensure_future(aio.run(db, sagad.Call(gid, "a", "try"), work))
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        answer = await aio.run(db, sagad.Call(gid, "a", "try"), nothing)
        await db.close()
        return task.cancelled(), answer.status
    assert wait(play()) == (True, 204) and effects(dsn, gid) == []


def test_what_does_not_fit_is_said_at_once(service):
    def plain(call, db):
        pass

    async def yields(call, db):
        yield 1
    with pytest.raises(TypeError, match="keep all others waiting"):
        service.on("/plain")(plain)
    with pytest.raises(TypeError, match="has a yield"):
        service.on("/yields")(yields)
    assert not hasattr(service, "prepared")


def test_no_connection_is_no_answer(wait):
    async def connect():
        raise OSError("no")
    service = aio.Participant(connect, secrets=[])
    service.on("/rooms")(nothing)
    headers = {"Saga-Id": "g", "Saga-Step": "a", "Saga-Op": "try"}
    assert wait(service.serve("/rooms", headers, b""))[0] == 503
    assert wait(service.serve("/rooms", headers, b"", "GET"))[0] == 405
    assert wait(service.serve("/elsewhere", headers, b""))[0] == 400
