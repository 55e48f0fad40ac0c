# SPDX-License-Identifier: Apache-2.0
"""A bank as a service of DTM's xa, in a process of its own that can be killed: PREPARE TRANSACTION on a real PostgreSQL.

As a program: python3 dtm_xa.py DSN PORT. What its clients do in Go and Python, from the protocol's description."""
import http.client
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import urllib.parse

import psycopg

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from lib.base import free_port, until  # noqa: E402
from lib.dtm_bank import INSERT, SCHEMA  # noqa: E402

# died: who was to be killed where, so that it happens once.
TABLES = SCHEMA + "CREATE TABLE died (gid text, branch_id text, point text, PRIMARY KEY (gid, branch_id, point));" \
    "ALTER TABLE account ADD CHECK (balance >= -1000000);"
# Who waits for a branch that is prepared lets go, so that its ROLLBACK PREPARED comes through when it is asked again.
OPTIONS = "-c lock_timeout=300ms"


# ---- the service ------------------------------------------------------------------------


class Branch:
    """One call of it. of: the parameters that DTM's clients and server send."""

    def __init__(self, dsn, of, body):
        self.db = psycopg.connect(dsn, autocommit=True, options=OPTIONS)
        self.of, self.body = of, body
        self.name = psycopg.sql.Literal(f"{of['gid']}-{of['branch_id']}")

    def die_if_at(self, point):
        if self.of.get("die") != point:
            return
        with psycopg.connect(self.db.info.dsn, autocommit=True) as db:
            if db.execute("INSERT INTO died VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                          (self.of["gid"], self.of["branch_id"], point)).rowcount:
                os.kill(os.getpid(), signal.SIGKILL)

    def mark(self, reason):
        """Whoever comes first, the action or its rollback, is the only one who finds nothing there."""
        return self.db.execute(INSERT, ("xa", self.of["gid"], self.of["branch_id"], "action", "01", reason)).rowcount

    def register(self):
        at = urllib.parse.urlsplit(self.of["dtm"])
        link = http.client.HTTPConnection(at.netloc, timeout=5)
        link.request("POST", at.path + "/registerBranch", json.dumps({
            "gid": self.of["gid"], "trans_type": "xa", "branch_id": self.of["branch_id"], "url": self.of["phase2_url"]}))
        if (answer := link.getresponse()).status != 200:
            raise RuntimeError(f"not registered: {answer.status} {answer.read()!r}")

    def action(self):
        """Registered before it is prepared: one that is prepared and that nobody knows of would stay for ever."""
        self.db.execute("BEGIN")
        if not self.mark("action"):
            return 409
        try:
            self.db.execute("UPDATE account SET balance = balance + %s WHERE name = %s", (self.body["amount"], self.body["account"]))
        except psycopg.errors.CheckViolation:
            return 409
        self.db.execute("INSERT INTO done (gid, branch_id, op) VALUES (%s, %s, 'action')", (self.of["gid"], self.of["branch_id"]))
        self.register()
        self.die_if_at("registered")
        self.db.execute(psycopg.sql.SQL("PREPARE TRANSACTION {}").format(self.name))
        self.die_if_at("prepared")
        return 200

    def end(self, verb):
        try:
            self.db.execute(psycopg.sql.SQL(verb + " PREPARED {}").format(self.name))
        except psycopg.errors.UndefinedObject:
            pass  # done before, or never prepared

    def commit(self):
        self.end("COMMIT")
        self.die_if_at("ended")
        return 200

    def rollback(self):
        self.end("ROLLBACK")
        self.mark("rollback")
        self.die_if_at("ended")
        return 200

    def answer(self):
        with self.db:  # not closed it would hold what it has locked
            try:
                return getattr(self, self.of["op"])()
            finally:
                if self.db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self.db.execute("ROLLBACK")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        of = {k: v[-1] for k, v in urllib.parse.parse_qs(self.path.partition("?")[2]).items()}
        try:
            status = Branch(self.server.dsn, of, json.loads(body or b"{}")).answer()
        except Exception as e:  # pylint: disable=broad-except
            print(of, repr(e), file=sys.stderr, flush=True)
            status = 500
        said = {200: b"SUCCESS", 409: b"FAILURE"}.get(status, b"")
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        except OSError:
            self.close_connection = True


# ---- its handle ----------------------------------------------------------------------------


class XaBank:
    """It is started again when it dies, as services are, unless it is held down."""

    def __init__(self, dsn, account, folder):
        self.dsn, self.account = dsn, account
        self.at = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.at}"
        self._up, self._closed = threading.Event(), False
        self.deaths = 0
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute(TABLES)
        self._log = open(pathlib.Path(folder) / f"bank-{account}.log", "ab")
        self.process = None
        self._up.set()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        self.ready()

    def _keep(self):
        while self._up.wait() and not self._closed:
            self.process = subprocess.Popen([sys.executable, __file__, self.dsn, self.at.split(":")[1]],
                                            stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
            self.process.wait()
            self.deaths += 1

    def ready(self):
        def answers():
            try:
                link = http.client.HTTPConnection(self.at, timeout=5)
                link.request("GET", "/")
                return link.getresponse().status == 501
            except OSError:
                return False

        until(answers, 30)

    def kill(self, stay_down=False):
        if stay_down:
            self._up.clear()
        if self.process:
            self.process.kill()

    def start(self):
        self._up.set()
        self.ready()

    def close(self):
        self._closed = True
        self.kill()
        self._up.set()
        self._keeper.join(20)
        self._log.close()

    def value(self, sql, *values):
        with psycopg.connect(self.dsn, autocommit=True) as db:
            return db.execute(sql, values).fetchone()[0]

    def balance(self):
        return self.value("SELECT balance FROM account WHERE name = %s", self.account)

    def effects(self, gid):
        return self.value("SELECT count(*) FROM done WHERE gid = %s", gid)

    def prepared(self, gid=""):
        return self.value("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, %s)", gid)

    def died(self, gid):
        return self.value("SELECT count(*) FROM died WHERE gid = %s", gid) > 0

    # ---- what an application does ---------------------------------------------------------

    def call(self, replica, gid, branch_id, amount, die=None):
        """The action of a branch; 0: no answer came."""
        url = "/move" + (f"?die={die}" if die else "")
        of = urllib.parse.urlencode({"gid": gid, "trans_type": "xa", "branch_id": branch_id, "op": "action",
                                     "dtm": replica.url + "/api/dtmsvr", "phase2_url": self.url + url})
        link = http.client.HTTPConnection(self.at, timeout=20)
        try:
            link.request("POST", url + ("&" if die else "?") + of, json.dumps({"account": self.account, "amount": amount}),
                         {"Content-Type": "application/json"})
            return link.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            link.close()


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    server.dsn = sys.argv[1]
    server.daemon_threads = True
    server.serve_forever()
