# SPDX-License-Identifier: Apache-2.0
"""kill -9 of replica after replica, and of the services, while clients of DTM's xa and workflows work; some of them die as well."""
import base64

from lib.dtm import Dtm, make_cluster, params_of
from lib.dtm_bank import Bank
from lib.stub import Reply, Stub

from .test_dtm_kill import Clients

KILLS = 4
FLOW = {"01": ("out", -30), "02": ("in", 30)}


class MoreClients(Clients):
    KINDS = ("xa", "workflow")

    def __init__(self, cluster, bank, stub, banks):
        super().__init__(cluster, bank, stub)
        self.banks = banks
        self.left = 0  # workflows whose client died

    # ---- xa -----------------------------------------------------------------------------

    def xa(self, gid, fails):
        """True: it was rolled back, since a branch gave no answer."""
        t = Dtm(self.cluster.client, self.stub, "xa", gid, timeout_to_fail=6000, retry_interval=5)
        self.must(self.until_heard(t.prepare))
        for branch, bank, amount in (("01", self.banks[0], -30), ("02", self.banks[1], 30)):
            replica = self.cluster.replicas[len(self.promised) % 3]  # which may be dead
            fails = fails or bank.call(replica, gid, branch, amount) != 200
        self.must(self.until_heard(t.abort if fails else t.submit), 409)
        return fails

    # ---- workflows ------------------------------------------------------------------------

    def workflow(self, gid, fails):
        """Every third client dies when it has done its first branch and told nobody."""
        self.left += gid.endswith("3")
        self.flow(gid, fails, dies=gid.endswith("3"))

    def resume(self, call):
        """The server calls: goes on wherever it was left, perhaps beside its first client."""
        gid = params_of(call)["gid"]
        try:
            self.flow(gid, int(gid.rsplit("-", 1)[1]) % 5 == 0)
        except OSError:
            return Reply(500)
        return Reply(200)

    def flow(self, gid, fails, dies=False):
        t = Dtm(self.cluster.client, self.stub, "workflow", gid, retry_interval=10, query_prepared=self.stub.url + "/resume",
                custom_data={"name": "transfer", "data": base64.b64encode(b"{}").decode()})
        made = self.until_heard(lambda: t.post("prepareWorkflow")).json
        known = {(p["branch_id"], p["op"]) for p in made["progresses"]}
        todo = [("01", "action", "succeed"), ("02", "action", "failed" if fails else "succeed")]
        for branch, op, status in todo + ([("01", "rollback", "succeed")] if fails else []):
            if made["transaction"]["status"] != "prepared":
                return
            if (branch, op) in known:
                continue
            if status == "succeed":
                account, amount = FLOW[branch]
                self.bank.call({"trans_type": "workflow", "gid": gid, "branch_id": branch, "op": op}, lambda db: db.execute(
                    "UPDATE account SET balance = balance + %s WHERE name = %s", (-amount if op == "rollback" else amount, account)))
            if dies:
                return
            registered = self.until_heard(lambda: t.post("registerBranch", {
                "gid": gid, "trans_type": "workflow", "branch_id": branch, "op": op, "status": status, "data": f"{branch} is done"}))
            if registered.status == 409:
                return  # it has been ended meanwhile
            self.must(registered)
        self.submit(t, "failed" if fails else "succeed")

    def submit(self, t, status):
        """Who ended it before has answered it, or another one of us: storage: NotFound is an answer here."""
        while True:
            try:
                answer = t.submit(req_extra={"status": status})
                if answer.status == 200 or "NotFound" in answer.text:
                    return
            except OSError:
                pass


def test_kill_nine(xa_server, xa_banks):
    stub = Stub()
    dsn = xa_server.new_database()
    bank = Bank(dsn, stub)
    cluster, remove = make_cluster(xa_server)
    clients = MoreClients(cluster, bank, stub, xa_banks)
    stub.on("/resume", clients.resume)
    before = [b.balance() for b in xa_banks]
    try:
        clients.start()
        for n in range(KILLS):
            clients.go_on(15)
            victim = cluster.replicas[n % len(cluster.replicas)]
            victim.kill()
            xa_banks[n % 2].kill()  # it comes back by itself
            victim.start().ready()
            xa_banks[n % 2].ready()
        clients.go_on(10)
        clients.end()
        assert clients.left > 3
        verify(clients, cluster, before)
    finally:
        clients.stop.set()
        remove()
        bank.close()
        stub.close()
        xa_server.drop_database(dsn)


def verify(clients, cluster, before):
    ends = {"xa": [], "workflow": []}
    for gid, (kind, fails) in clients.promised.items():
        status = Dtm(cluster.client, clients.stub, kind, gid).ended()
        assert status == ("failed" if fails else "succeed"), (gid, status)
        ends[kind].append(status)
        if kind == "xa":
            effects = [bank.effects(gid) for bank in clients.banks]
            assert effects == ([0, 0] if fails else [1, 1]), (gid, effects)
        else:
            done = sorted(clients.bank.done(gid))
            assert done == (["01 action", "01 rollback"] if fails else ["01 action", "02 action"]), (gid, done)
    assert [bank.prepared() for bank in clients.banks] == [0, 0]
    moved = {kind: 30 * ended.count("succeed") for kind, ended in ends.items()}
    assert [bank.balance() - b for bank, b in zip(clients.banks, before)] == [-moved["xa"], moved["xa"]]
    assert (clients.bank.balance("out"), clients.bank.balance("in")) == (-moved["workflow"], moved["workflow"])
    assert all({"succeed", "failed"} == set(ended) for ended in ends.values()), ends
