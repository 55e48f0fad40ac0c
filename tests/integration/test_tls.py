# SPDX-License-Identifier: Apache-2.0
"""TLS at the API: certificates that change while it runs, clients that prove who they are, and handshakes that never end."""
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from lib.base import BIN, free_port, until
from lib.client import Client
from lib.cluster import Cluster
from lib.ctl import Ctl
from lib.stub import Reply, Stub


class Authority:
    """Signs certificates, with keys that cost little."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.cert, self.key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        self.run("req", "-x509", *self.new_key(self.key), "-subj", f"/CN={name}", "-days", "2", "-out", self.cert)

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def new_key(path):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    @staticmethod
    def run(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)

    def revoke(self, cert, name):
        """The path of a list that has this certificate; it replaces the one before."""
        base, config = self.path("index"), self.path("ca.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[ca]\ndefault_ca=own\n[own]\ndatabase={base}\ncertificate={self.cert}\nprivate_key={self.key}\n"
                       "default_md=sha256\ndefault_crl_days=2\n")
        open(base, "a", encoding="ascii").close()
        if cert:
            self.run("ca", "-config", config, "-revoke", cert)
        self.run("ca", "-config", config, "-gencrl", "-out", self.path(f"{name}.new"))
        os.replace(self.path(f"{name}.new"), self.path(name))
        return self.path(name)

    def sign(self, name, cn, alt=None, days="2"):
        """Paths of a certificate and its key."""
        cert, key, wish = (self.path(f"{name}.{kind}") for kind in ("pem", "key", "csr"))
        self.run("req", "-new", *self.new_key(key), "-subj", f"/CN={cn}", "-out", wish)
        more = self.path(f"{name}.ext")
        with open(more, "w", encoding="ascii") as file:
            file.write(f"subjectAltName={alt}\n" if alt else "")
        self.run("x509", "-req", "-in", wish, "-CA", self.cert, "-CAkey", self.key, "-days", days, "-extfile", more, "-out", cert)
        return cert, key


class Secured:
    def __init__(self, dsn):
        self.stub = Stub()
        self.cluster = Cluster(dsn, count=0)
        folder = self.cluster.folder
        self.ca, self.other = Authority(folder, "ca"), Authority(folder, "other")
        self.cert, self.key = self.ca.sign("server", "sagad", "IP:127.0.0.1,DNS:localhost")
        self.clients = {
            "billing": self.ca.sign("billing", "billing"),
            "shop": self.ca.sign("shop", "anything", "DNS:shop.internal,URI:spiffe://here/shop"),
            "stranger": self.ca.sign("stranger", "stranger"),
            "forger": self.other.sign("forger", "billing"),
            "expired": self.ca.sign("expired", "billing", days="-1"),
        }
        self.tokens = os.path.join(folder, "tokens")
        with open(self.tokens, "w", encoding="ascii") as file:
            file.write("billing service,reader cert:CN=billing\nshop admin cert:URI=spiffe://here/shop\n")
        self.token = subprocess.run([BIN / "sagad", "token", "ada", "--role=reader", f"--append={self.tokens}"],
                                    capture_output=True, text=True, check=True).stdout.strip()
        self.flags = [f"--tls.cert={self.cert}", f"--tls.key={self.key}", f"--tls.client-ca={self.ca.cert}"]
        self.replica = self.add([f"--tokens-file={self.tokens}", f"--calls.ca-file={self.ca.cert}"])

    def add(self, flags):
        port = free_port()
        replica = self.cluster.add(flags=[*self.flags, f"--listen=127.0.0.1:{port}", f"--advertise=https://127.0.0.1:{port}", *flags],
                                   ready=False)
        replica.at = f"127.0.0.1:{port}"
        return replica.ready()

    def add_ops(self, flags):
        replica = self.cluster.add(flags=[*self.flags, "--ops-tls=yes", *flags], ready=False)
        until(lambda: self.is_ready(replica), 20)
        return replica

    def is_ready(self, replica):
        try:
            return self.send("GET", "/readyz", at=replica.ops_at).status == 200
        except OSError:
            return False

    def context(self, client=None, ca=None):
        context = ssl.create_default_context(cafile=(ca or self.ca).cert)
        if client:
            context.load_cert_chain(*self.clients[client])
        return context

    def link(self, client=None, at=None):
        return http.client.HTTPSConnection(at or self.replica.at, timeout=30, context=self.context(client))

    def send(self, method, path, body=None, client=None, headers=None, at=None):
        link = self.link(client, at)
        try:
            link.request(method, path, None if body is None else json.dumps(body),
                         {"Content-Type": "application/json", **(headers or {})})
            raw = link.getresponse()
            raw.content = raw.read()
            is_json = "json" in (raw.headers["Content-Type"] or "")
            raw.json = json.loads(raw.content) if raw.content and is_json else None
            return raw
        finally:
            link.close()

    def close(self):
        self.cluster.stop()
        self.stub.close()
        shutil.rmtree(self.cluster.folder)


@pytest.fixture(scope="module")
def secured(postgres):
    dsn = postgres.new_database()
    made = Secured(dsn)
    yield made
    made.close()
    postgres.drop_database(dsn)


# ---- who ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("client,status", [("billing", 200), ("shop", 200), (None, 401), ("stranger", 401)])
def test_a_certificate_says_who_it_is(secured, client, status):
    answer = secured.send("GET", "/v1/transactions", client=client)
    assert answer.status == status, answer.content
    if client == "stranger":
        assert "names this certificate" in answer.json["detail"]
    if client == "billing":
        got = secured.send("PUT", "/v1/participants/x", {"base_url": "http://a.b"}, client)
        assert got.status == 403 and "billing has: service, reader." in got.json["detail"], got.content


@pytest.mark.parametrize("client", ["forger", "expired"])
def test_a_certificate_that_is_not_good_ends_the_handshake(secured, client):
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        secured.send("GET", "/v1/transactions", client=client)


def test_a_token_goes_before_a_certificate(secured):
    headers = {"Authorization": f"Bearer {secured.token}"}
    assert secured.send("GET", "/v1/transactions", headers=headers).status == 200
    assert secured.send("PUT", "/v1/participants/x", {"base_url": "http://a.b"}, "shop", headers).status == 403


def test_sagactl_proves_who_it_is(secured):
    """By a certificate or a token; and it believes nobody whom its authority did not sign."""
    ctl = Ctl(lambda: [f"https://{secured.replica.at}"])
    ca = ("--cacert", secured.ca.cert)
    card = lambda name: ("--cert", secured.clients[name][0], "--key", secured.clients[name][1])
    assert "GID" in ctl("txn", "list", *ca, *card("billing")).out
    assert "billing has: service, reader." in ctl("participant", "put", "x", "http://a.b", "-m", "x", *ca, *card("billing"), status=7).err
    file = os.path.join(secured.cluster.folder, "ada.token")
    with open(file, "w", encoding="ascii") as out:
        out.write(secured.token)
    assert Ctl(ctl.urls, {"SAGAD_CACERT": secured.ca.cert, "SAGAD_TOKEN_FILE": file})("replica", "list", "--json").json["items"]
    assert "unauthenticated" in ctl("txn", "list", *ca, status=7).err
    assert "names this certificate" in ctl("txn", "list", *ca, *card("stranger"), status=7).err
    for words in ((), ("--cacert", secured.other.cert), (*ca, *card("forger")), (*ca, *card("expired")),
                  (*ca, "--cert", secured.clients["billing"][0], "--key", secured.clients["shop"][1]),
                  ("--cacert", "/nowhere")):
        done = ctl("txn", "list", *words, status=3)
        assert "no answer from https://" in done.err and not done.out, done
    assert ctl("txn", "list", *card("billing"), status=3).err.count("certificate"), "it says that it is the certificate"


def test_without_a_tokens_file_a_certificate_is_all_it_takes(secured):
    replica = secured.add([])
    link = secured.link("stranger", replica.at)
    link.request("GET", "/v1/transactions")
    assert link.getresponse().status == 200
    link.close()
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        secured.send("GET", "/v1/transactions", at=replica.at)
    replica.stop()
    secured.cluster.remove(replica)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_and_clear_text_are_refused(secured):
    context = secured.context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(secured.replica.at.split(":"), timeout=10) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(secured.replica.at.split(":"), timeout=10) as plain:
        plain.sendall(b"GET /problems HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = secured.context()
        context.minimum_version = context.maximum_version = version
        link = http.client.HTTPSConnection(secured.replica.at, timeout=10, context=context)
        link.request("GET", "/problems")
        assert link.getresponse().status == 200, version
        link.close()


ENDED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)


def test_who_is_revoked_is_refused(secured):
    """By the authority's list, read again when it changes; or by its line alone, on open connections too."""
    lists, cards = secured.ca.revoke(None, "revoked.pem"), [secured.ca.sign(f"leaver{n}", f"leaver{n}") for n in range(2)]
    file = os.path.join(secured.cluster.folder, "leavers")
    lines = ["leaver0 reader cert:CN=leaver0\n", "leaver1 reader cert:CN=leaver1\n"]
    with open(file, "w", encoding="ascii") as out:
        out.write("".join(lines))
    secured.clients.update(leaver0=cards[0], leaver1=cards[1])
    replica = secured.add([f"--tls.client-crl={lists}", f"--tokens-file={file}"])
    ask = lambda who: secured.send("GET", "/v1/transactions", client=who, at=replica.at).status
    assert ask("leaver0") == ask("leaver1") == 200
    kept = secured.link("leaver1", replica.at)

    def on_kept():
        kept.request("GET", "/v1/transactions")
        answer = kept.getresponse()
        answer.read()
        return answer.status

    assert on_kept() == 200
    secured.ca.revoke(cards[0][0], "revoked.pem")
    until(lambda: replica.events("tls_read"))
    with pytest.raises(ENDED):
        ask("leaver0")
    assert ask("leaver1") == 200
    with open(lists, "w", encoding="ascii") as out:
        out.write("no list\n")
    until(lambda: replica.events("tls_kept"))
    with pytest.raises(ENDED):
        ask("leaver0")
    with open(file + ".new", "w", encoding="ascii") as out:
        out.write(lines[0])
    os.replace(file + ".new", file)
    until(lambda: on_kept() == 401)
    kept.close()
    replica.stop()
    secured.cluster.remove(replica)


def test_health_and_metrics_may_have_tls(secured):
    """The same certificate and the same clients; nothing in the clear."""
    replica = secured.add_ops([f"--tokens-file={secured.tokens}"])
    link = lambda who=None: secured.send("GET", "/metrics", client=who, at=replica.ops_at)
    assert link("shop").status == 200 and b"sagad_live 1" in link("shop").content
    assert secured.send("GET", "/readyz", at=replica.ops_at).status == 200
    with pytest.raises(ENDED):
        link("forger")
    with socket.create_connection(replica.ops_at.split(":"), timeout=10) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)
    replica.stop()
    secured.cluster.remove(replica)


# ---- the same as in the clear --------------------------------------------------------------------


def test_requests_bodies_and_waiting(secured, gid):
    secured.stub.on("/a", Reply(200, delay=0.3))
    link = secured.link("billing")
    headers = {"Content-Type": "application/json"}
    for n in range(3):
        steps = {"a": {"action": {"url": secured.stub.url + "/a"}}}
        link.request("POST", "/v1/transactions?wait=20s", json.dumps(
            {"gid": f"{gid}-{n}", "mode": "saga", "steps": steps, "input": {"text": "x" * 700_000 if n == 1 else ""}}), headers)
        answer = link.getresponse()
        got = json.loads(answer.read())
        assert answer.status == 201 and got["phase"] == "confirmed", got
        assert answer.headers["Preference-Applied"] == "wait=20"
    link.request("GET", f"/v1/transactions/{gid}-1")
    assert len(link.getresponse().read()) > 0
    link.close()


def test_two_requests_in_one_record(secured):
    """What GnuTLS holds back is no event of the kernel's."""
    with socket.create_connection(secured.replica.at.split(":"), timeout=10) as plain:
        with secured.context().wrap_socket(plain, server_hostname="127.0.0.1") as link:
            link.sendall(b"GET /problems/decided HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            got = b""
            while got.count(b"HTTP/1.1 200") < 3 or not got.endswith(b"}\n"):
                more = link.recv(65536)
                assert more, got
                got += more


def test_a_waiting_client_that_leaves_is_let_go(secured, gid):
    secured.stub.on("/held", Reply(202, Retry_After=3600))
    steps = {"a": {"action": {"url": secured.stub.url + "/held"}, "compensate": {"url": secured.stub.url + "/undo"}}}
    assert secured.send("POST", "/v1/transactions", {"gid": gid, "mode": "saga", "steps": steps, "input": {}}, "billing").status == 201

    def waiters():
        return next(line for line in secured.replica.ops("/metrics").text.splitlines() if line.startswith("sagad_waiters "))

    link = secured.link("billing")
    link.request("GET", f"/v1/transactions/{gid}?wait=50s")
    until(lambda: waiters() == "sagad_waiters 1")
    link.close()
    until(lambda: waiters() == "sagad_waiters 0")


def test_pokes_reach_a_replica_with_tls(secured, gid):
    """By libcurl, which has to believe the cluster's own authority."""
    def pokes():
        headers = {"Authorization": f"Bearer {secured.token}"}
        raw = Client(lambda: [secured.replica.ops_at]).get("/metrics", headers=headers).text
        return int((re.search(r'route="replica_poke",status="2xx"} (\d+)', raw) or [0, 0])[1])

    other = secured.add([f"--tokens-file={secured.tokens}", f"--calls.ca-file={secured.ca.cert}"])
    before = pokes()
    secured.stub.on("/held", Reply(202, Retry_After=3600))
    steps = {"a": {"action": {"url": secured.stub.url + "/held"}, "compensate": {"url": secured.stub.url + "/undo"}}}
    assert secured.send("POST", "/v1/transactions", {"gid": gid, "mode": "saga", "steps": steps, "input": {}}, "billing").status == 201
    answer = secured.send("POST", f"/v1/transactions/{gid}/cancel?wait=20s", {}, "billing", at=other.at)
    assert answer.status == 200 and answer.json["phase"] == "cancelled", answer.json
    until(lambda: pokes() > before)
    other.stop()
    secured.cluster.remove(other)


# ---- files that change -----------------------------------------------------------------------------


def served(secured):
    with socket.create_connection(secured.replica.at.split(":"), timeout=10) as plain:
        with secured.context().wrap_socket(plain, server_hostname="127.0.0.1") as link:
            return link.getpeercert()["serialNumber"]


def test_a_new_certificate_is_used_without_a_restart(secured):
    old = served(secured)
    kept = secured.link("billing")
    kept.request("GET", "/v1/transactions")
    kept.getresponse().read()
    cert, key = secured.ca.sign("server2", "sagad", "IP:127.0.0.1")
    os.replace(cert, secured.cert)  # for a moment it does not fit its key
    until(lambda: secured.replica.events("tls_kept"))
    assert served(secured) == old
    os.replace(key, secured.key)
    until(lambda: served(secured) != old)
    kept.request("GET", "/v1/transactions")
    assert kept.getresponse().status == 200, "what is connected stays"
    kept.close()


# ---- handshakes that never end ------------------------------------------------------------------------


def test_half_open_handshakes_stop_nobody(secured):
    """Hundreds that say nothing, or half a greeting: others are served at once, and the oldest make room."""
    lazy = []
    try:
        for n in range(700):
            link = socket.create_connection(secured.replica.at.split(":"), timeout=10)
            lazy.append(link)
            if n % 2:
                link.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            if n % 100 == 99:
                began = time.monotonic()
                assert secured.send("GET", "/problems").status == 200
                assert time.monotonic() - began < 5
        assert secured.replica.ops("/readyz").status == 200

        def gone():
            count = 0
            for link in lazy[:188]:
                link.settimeout(0.001)
                try:
                    count += link.recv(100) == b""
                except TimeoutError:
                    pass
                except OSError:
                    count += 1
            return count >= 180

        until(gone)
    finally:
        for link in lazy:
            link.close()
    assert secured.send("GET", "/problems").status == 200


def test_nobody_drives_out_the_handshakes_of_others(secured):
    """Six hundred from one address and ten from another, which came first."""
    def call(host):
        return socket.create_connection(secured.replica.at.split(":"), timeout=10, source_address=(host, 0))

    def is_open(link):
        link.settimeout(0.001)
        try:
            return link.recv(100) != b""
        except TimeoutError:
            return True
        except OSError:
            return False

    few, many = [call("127.0.0.2") for _ in range(10)], []
    try:
        many += [call("127.0.0.1") for _ in range(600)]
        until(lambda: not any(is_open(link) for link in many[:300]))
        assert all(is_open(link) for link in few)
        assert all(is_open(link) for link in many[-200:])
    finally:
        for link in few + many:
            link.close()


# ---- settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words,says", [
    (["--tls.cert=/nowhere"], "belong together"), (["--tls.client-ca=/nowhere"], "needs tls.cert"),
    (["--tls.cert=/a", "--tls.key=/b", "--tls.client-crl=/c"], "needs tls.client-ca"), (["--ops-tls=yes"], "ops-tls needs"),
    (["--listen=0.0.0.0:{}", "--tls.cert=/a", "--tls.key=/b"], "--tokens-file")])
def test_settings_that_do_not_fit(database, words, says):
    flags = [f"--dsn={database}", f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"]
    done = subprocess.run([BIN / "sagad", *flags, *(w.format(free_port()) for w in words)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 78 and says in done.stderr, done


def test_a_certificate_that_cannot_be_read_is_told(database, tmp_path):
    done = subprocess.run([BIN / "sagad", f"--dsn={database}", f"--listen=127.0.0.1:{free_port()}",
                           f"--ops-listen=127.0.0.1:{free_port()}", f"--tls.cert={tmp_path}/none", f"--tls.key={tmp_path}/none"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "start_failed" in done.stderr and "cannot be used" in done.stderr, done
