# SPDX-License-Identifier: Apache-2.0
"""A network between replicas and PostgreSQL that a test can break, session by session.

Each replica has a door of its own (a port). A session is known by the application_name of its start-up
packet: "sagad log" is of the kind "log". The proxy is a process of its own: `Proxy` steers it by lines.
"""
import asyncio
import collections
import itertools
import json
import socket
import struct
import subprocess
import sys
import threading

KINDS = ("log", "work", "store", "lease", "watch")
HELD_MAX = 8 << 20  # beyond it we stop reading, as a full window would
CANCEL, TLS, GSS = 80877102, 80877103, 80877104


class Proxy:
    """What a test says: dsn(), cut(), black_hole(), slow(), refuse(), restore(). replica None: each one."""

    def __init__(self, server_dsn):
        from psycopg.conninfo import conninfo_to_dict
        at = conninfo_to_dict(server_dsn)
        self._doors, self._lock = {}, threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__, at.get("host", "127.0.0.1"), str(at.get("port", 5432))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _ask(self, verb, **more):
        with self._lock:
            self._process.stdin.write(json.dumps({"verb": verb, **more}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, f"the proxy died when told to {verb}"
        return json.loads(line)

    def dsn(self, dsn, replica):
        """The same database, through the door of that replica (any number or name)."""
        from psycopg.conninfo import make_conninfo
        if replica not in self._doors:
            self._doors[replica] = self._ask("door", door=replica)
        return make_conninfo(dsn, host="127.0.0.1", port=self._doors[replica],
                             sslmode="disable", gssencmode="disable")

    def port(self, replica):
        return self._doors[replica]

    def cut(self, kind=None, replica=None):
        """Ends those sessions with a reset on both sides, and gives their number. They may come back at once."""
        return self._ask("cut", kind=kind, door=replica)

    def refuse(self, kind=None, replica=None):
        """Cuts, and hangs up on whoever comes back, until restore()."""
        self._ask("rule", kind=kind, door=replica, refuse=True)
        return self.cut(kind, replica)

    def black_hole(self, kind=None, replica=None, way="both"):
        """Nothing passes, not even the end of a session; new ones connect and hear nothing. What was sent
        arrives after restore(), as TCP would have it. way: "up" only what the replica says is lost, "down"
        only what it should hear: commits land and nobody is told."""
        self._ask("rule", kind=kind, door=replica, way=way)

    def lose(self, kind=None, replica=None):
        """A black hole for the sessions that are open now, as when a firewall forgets them: new ones pass."""
        return self._ask("lose", kind=kind, door=replica)

    def slow(self, kind=None, ms=200, replica=None):
        """Each answer takes that much longer."""
        self._ask("rule", kind=kind, door=replica, slow=ms / 1000)

    def restore(self, kind=None, replica=None, forget=False):
        """Ends what rules of that kind and replica did. forget: sessions that lost something are reset
        instead of being told late, as by a firewall that has forgotten them."""
        self._ask("restore", kind=kind, door=replica, forget=forget)

    def sessions(self, kind=None, replica=None):
        """The open ones: dicts of kind, door, name, port (the replica's), up and down (bytes)."""
        return [s for s in self._ask("sessions")
                if kind in (None, s["kind"]) and replica in (None, s["door"])]

    def opened(self, kind=None, replica=None):
        """How many sessions there have been."""
        return sum(n for door, k, n in self._ask("opened") if kind in (None, k) and replica in (None, door))

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Proxies:
    """One before each server; what is said to them is said to all. servers: their DSNs."""

    def __init__(self, servers):
        self._each = [Proxy(s) for s in servers]

    def dsn(self, dsn, replica):
        """All of them as hosts of one DSN."""
        from psycopg.conninfo import make_conninfo
        for proxy in self._each:
            proxy.dsn(dsn, replica)
        return make_conninfo(dsn, host=",".join("127.0.0.1" for _ in self._each), sslmode="disable",
                             gssencmode="disable", port=",".join(str(p.port(replica)) for p in self._each))

    def cut(self, kind=None, replica=None):
        return sum(p.cut(kind, replica) for p in self._each)

    def refuse(self, kind=None, replica=None):
        return sum(p.refuse(kind, replica) for p in self._each)

    def black_hole(self, kind=None, replica=None, way="both"):
        for p in self._each:
            p.black_hole(kind, replica, way)

    def lose(self, kind=None, replica=None):
        return sum(p.lose(kind, replica) for p in self._each)

    def slow(self, kind=None, ms=200, replica=None):
        for p in self._each:
            p.slow(kind, ms, replica)

    def restore(self, kind=None, replica=None, forget=False):
        for p in self._each:
            p.restore(kind, replica, forget)

    def close(self):
        for p in self._each:
            p.close()


# ---- the process -----------------------------------------------------------------------------


class Rule:
    def __init__(self, way=None, slow=0.0, refuse=False, **_):
        self.up = way in ("both", "up")
        self.down = way in ("both", "down")
        self.slow, self.refuse = slow, refuse


NO_RULE = Rule()


class Pipe:
    """One direction of a session. What is late or held waits in order, the end of the session too."""

    def __init__(self, session, is_up):
        self.session, self.is_up = session, is_up
        self.waiting, self.size, self.passed = collections.deque(), 0, 0
        self.alarm = None
        self.ended = False

    def is_held(self):
        rule = self.session.rule
        return (rule.up if self.is_up else rule.down) or self.session.sides[not self.is_up] is None

    def feed(self, data):
        """data None: the end."""
        late = self.session.rule.slow if not self.is_up else 0
        due = asyncio.get_running_loop().time() + late
        if self.waiting:
            due = max(due, self.waiting[-1][0])
        self.waiting.append((due, data))
        self.size += len(data or b"")
        if self.size > HELD_MAX:
            self._source("pause_reading")
        self.pump()

    def _source(self, verb):
        source = self.session.sides[self.is_up]
        if source is not None and not source.is_closing():
            getattr(source, verb)()

    def pump(self):
        if self.alarm:
            self.alarm.cancel()
            self.alarm = None
        loop = asyncio.get_running_loop()
        while self.waiting and not self.is_held():
            due, data = self.waiting[0]
            if due > loop.time():
                self.alarm = loop.call_at(due, self.pump)
                return
            self.waiting.popleft()
            target = self.session.sides[not self.is_up]
            if data is None:
                self.ended = True
                target.close()
                continue
            self.size -= len(data)
            self.passed += len(data)
            if not target.is_closing():
                target.write(data)
            if self.size <= HELD_MAX // 2:
                self._source("resume_reading")


class Side(asyncio.Protocol):
    """One socket of a session: the replica's (is_up: what it says goes up), or the server's."""

    def __init__(self, session, is_up):
        self.session, self.is_up = session, is_up

    def connection_made(self, transport):
        self.session.on_made(self.is_up, transport)

    def data_received(self, data):
        self.session.on_data(self.is_up, data)

    def connection_lost(self, _):
        self.session.on_lost(self.is_up)

    def pause_writing(self):
        self.session.pipes[not self.is_up]._source("pause_reading")

    def resume_writing(self):
        self.session.pipes[not self.is_up]._source("resume_reading")


class Session:
    def __init__(self, network, door):
        self.network, self.door = network, door
        self.kind, self.name, self.start = None, None, b""
        self.sides = {True: None, False: None}  # True: the replica's
        self.lost = {True: False, False: False}
        self.pipes = {True: Pipe(self, True), False: Pipe(self, False)}
        self.connecting = None
        self.own = None  # a rule for this one alone
        self.rule = network.rule_of(door, None)
        network.sessions.add(self)

    def on_made(self, is_up, transport):
        self.sides[is_up] = transport
        peer = transport.get_extra_info("socket")
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not is_up:
            self.pipes[True].pump()

    def on_data(self, is_up, data):
        if is_up and self.name is None:
            self.start += data
            self.read_start()
        else:
            self.pipes[is_up].feed(data)

    def read_start(self):
        """The first packets: a wish for encryption is declined, then the session says who it is."""
        while self.name is None and len(self.start) >= 8:
            if self.rule.up:
                return
            length, code = struct.unpack_from("!II", self.start)
            if code in (TLS, GSS):
                self.start = self.start[8:]
                self.sides[True].write(b"N")
                continue
            if len(self.start) < length:
                return
            words = self.start[8:length].split(b"\0")
            said = dict(zip(words[::2], words[1::2])) if code != CANCEL else {}
            self.name = said.get(b"application_name", b"").decode("utf-8", "replace")
            self.kind = self.name.split()[1] if self.name.startswith("sagad ") else "other"
            self.network.opened[self.door, self.kind] += 1
            self.pipes[True].feed(self.start)
            self.start = b""
            self.obey()

    def obey(self):
        """The rules have changed, or are looked up for the first time."""
        self.rule = self.own or self.network.rule_of(self.door, self.kind)
        if self.name is None:
            self.read_start()
        if self.rule.refuse:
            self.reset()
            return
        if self.name is not None and self.connecting is None and not self.rule.up:
            self.connecting = asyncio.ensure_future(self.connect())
        for pipe in self.pipes.values():
            pipe.pump()

    async def connect(self):
        loop = asyncio.get_running_loop()
        try:
            if self.network.host.startswith("/"):
                path = f"{self.network.host}/.s.PGSQL.{self.network.port}"
                await loop.create_unix_connection(lambda: Side(self, False), path)
            else:
                await loop.create_connection(lambda: Side(self, False), self.network.host, self.network.port)
        except OSError:
            self.reset()

    def on_lost(self, is_up):
        self.lost[is_up] = True
        if all(self.lost.values()) or (is_up and self.connecting is None):
            self.network.sessions.discard(self)
        elif not self.pipes[is_up].ended:
            self.pipes[is_up].feed(None)

    def is_hurt(self):
        return any(p.waiting and p.is_held() for p in self.pipes.values())

    def reset(self):
        self.network.sessions.discard(self)
        for transport in self.sides.values():
            if transport is None:
                continue
            peer = transport.get_extra_info("socket")
            if peer.fileno() >= 0:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        for pipe in self.pipes.values():
            pipe.waiting.clear()


class Network:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.sessions, self.rules, self.doors = set(), {}, {}
        self.opened = collections.Counter()

    def rule_of(self, door, kind):
        """The most particular one."""
        for key in itertools.product((kind, None), (door, None)):
            if key in self.rules:
                return self.rules[key]
        return NO_RULE

    def matching(self, kind, door):
        return [s for s in self.sessions if kind in (None, s.kind) and door in (None, s.door)]

    async def do_door(self, door, **_):
        listener = await asyncio.get_running_loop().create_server(
            lambda: Side(Session(self, door), True), "127.0.0.1", 0, backlog=256)
        self.doors[door] = listener
        return listener.sockets[0].getsockname()[1]

    async def do_cut(self, kind, door, **_):
        found = self.matching(kind, door)
        for session in found:
            session.reset()
        return len(found)

    async def do_rule(self, kind, door, **more):
        self.rules[kind, door] = Rule(**more)
        for session in list(self.sessions):
            session.obey()

    async def do_lose(self, kind, door, **_):
        found = self.matching(kind, door)
        for session in found:
            session.own = Rule("both")
            session.obey()
        return len(found)

    async def do_restore(self, kind, door, forget, **_):
        hurt = [s for s in self.matching(kind, door) if s.is_hurt()]
        for session in self.matching(kind, door):
            session.own = None
        for key in list(self.rules):
            if kind in (None, key[0]) and door in (None, key[1]):
                del self.rules[key]
        for session in hurt if forget else []:
            session.reset()
        for session in list(self.sessions):
            session.obey()

    async def do_sessions(self, **_):
        found = []
        for s in self.sessions:
            client = s.sides[True]
            if client is not None:
                found.append({"kind": s.kind, "door": s.door, "name": s.name, "port": client.get_extra_info("peername")[1],
                              "up": s.pipes[True].passed, "down": s.pipes[False].passed})
        return found

    async def do_opened(self, **_):
        return [[door, kind, n] for (door, kind), n in self.opened.items()]


async def serve(host, port):
    network = Network(host, port)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        wish = json.loads(line)
        answer = await getattr(network, "do_" + wish.pop("verb"))(**wish)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
