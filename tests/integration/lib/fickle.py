# SPDX-License-Identifier: Apache-2.0
"""A participant that does everything right, but for the faults it is told to have."""
import base64
import collections
import hashlib
import hmac
import http.server
import json
import select
import socket
import threading
import time

from .stub import _Server

SECRET = "a secret of the tests"
FORGETS_S = 0.05


class Step:
    def __init__(self):
        self.lock = threading.Lock()
        self.tried = self.confirmed = self.cancelled = self.refused = self.busy = False
        self.answer, self.epoch, self.at = None, 0, time.monotonic()


class Fickle:
    """FAULTS: what can be wrong with it, each with the probe that has to find it and what it has to say."""

    FAULTS = {
        "not_json": ("first_try", "answered 200 .*not JSON"),
        "cancel_refused": ("first_try", "a cancel was answered 422"),
        "state_503": ("state", "the state cannot be read"),
        "done_twice": ("duplicate_try", r"answered \{\"id\": \d+\} and then \{\"id\": \d+\}"),
        "done_twice_answered_once": ("duplicate_try", "an effect twice: the state went from"),
        "duplicate_409": ("duplicate_try", "a try that came twice was answered 409"),
        "no_lock": ("tries_at_once", "tries at the same time"),
        "hung_up_for_ever": ("abandoned_try", "whose caller had hung up was answered 425"),
        "step_ignored": ("two_steps", "a second step of the same transaction had no effect"),
        "cancels_all_steps": ("two_steps", "the cancel of one step undid the other one"),
        "cancels_no_second_step": ("two_steps", "two steps of a transaction, and their cancels, left something"),
        "cancel_once": ("cancel", "a cancel that came twice was answered 404"),
        "cancel_undoes_nothing": ("cancel", "a cancel did not undo its try"),
        "cancel_undoes_twice": ("cancel", "a cancel that came twice had an effect twice"),
        "try_after_cancel": ("try_after_cancel", "a try that came after its cancel was answered 201"),
        "empty_cancel_404": ("cancel_first", "a cancel that came before its try was answered 404"),
        "empty_cancel_500": ("cancel_first", "a cancel that came before its try was answered 500"),
        "empty_cancel_forgotten": ("cancel_first", "a cancel that found nothing was answered 201"),
        "cancel_does_not_wait": ("cancel_overtakes", "left something"),
        "epoch_400": ("old_epoch", "an older Saga-Epoch was answered 400"),
        "refusal_forgotten": ("refusal", "a try that was refused was answered 201 the second time"),
        "refusal_leaves_something": ("refusal", "a try that was refused left something"),
        "refuses_nothing": ("refusal", "a try that has to be refused was answered 201"),
        "confirm_once": ("confirm", "a confirm that came twice was answered 404"),
        "cancel_confirmed": ("cancel_confirmed", "a cancel after the confirm was answered 200"),
        "confirm_cancelled": ("confirm_cancelled", "a confirm after the cancel was answered 200"),
        "confirm_nothing": ("confirm_first", "a confirm without a try was answered 200"),
        "no_id": ("no_call", "a call without Saga-Id was answered 201"),
        "any_op": ("no_call", "a Saga-Op that does not exist was answered 200"),
        "cancel_for_nobody": ("abandoned_cancel", "a cancel after one whose caller had hung up was answered 404"),
        "first_of_two": ("two_words", "two Saga-Op, try and cancel was answered 201"),
        "first_epoch_of_two": ("two_words", "two Saga-Epoch was answered 201"),
        "any_deadline": ("two_words", "a Saga-Deadline of 30 February was answered 201"),
        "any_method": ("method", "a try by GET (had an effect|was answered 201, as the try is)"),
        "unsigned": ("signature", "a call without a signature was answered 201"),
        "any_signature": ("signature", "somebody else has signed was answered 201"),
        "any_time": ("signature", "signed an hour ago was answered 201"),
        "any_gid": ("signature", "under the signature of another gid was answered 201"),
        "any_step": ("signature", "under the signature of another step was answered 201"),
        "any_op_signed": ("signature", "a try under the signature of a cancel was answered 201"),
        "forgets": ("memory", r"a try was answered \{\"id\": \d+\} and 0.1 s later \{\"id\": \d+\}"),
        "forgets_answered_alike": ("memory", "a try that came again later had an effect twice"),
        "forgets_cancels": ("memory", "a try that came 0.1 s after a cancel that found nothing was answered 201"),
    }

    def __init__(self):
        self.lock, self.faults, self.signed = threading.Lock(), set(), False
        self.steps = collections.defaultdict(Step)
        self.calls, self.slow = [], 0
        self.ids = self.held = self.taken = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fickle = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True, args=(0.05,)).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def has(self, fault):
        assert fault in self.FAULTS, fault
        return fault in self.faults

    def move(self, held=0, taken=0):
        with self.lock:
            self.held += held
            self.taken += taken

    # ---- calls: (status, body) ---------------------------------------------------------------------

    def call(self, headers, body, gone):
        gid, op = headers.get("Saga-Id"), headers.get("Saga-Op")
        if any(len(headers.get_all(name, [])) > 1 and not self.has(fault)
               for name, fault in (("Saga-Id", "first_of_two"), ("Saga-Op", "first_of_two"), ("Saga-Epoch", "first_epoch_of_two"))):
            return 400, "{}"
        if "-02-30T" in headers.get("Saga-Deadline", "") and not self.has("any_deadline"):
            return 400, "{}"
        if self.signed and not self.is_signed(headers, body):
            return 401, "{}"
        if gid is None:
            if not self.has("no_id"):
                return 400, "{}"
            gid = f"nameless-{time.monotonic()}"
        with self.lock:
            key = gid, None if self.has("step_ignored") else headers.get("Saga-Step")
            if self.has_forgotten(self.steps[key]):
                del self.steps[key]
            step = self.steps[key]
            self.calls.append((gid, headers.get("Saga-Step"), op, headers["Saga-Attempt"], headers["Saga-Epoch"]))
        work = {"try": self.do_try, "confirm": self.do_confirm, "cancel": self.do_cancel}.get(op)
        if work is None:
            return (200 if self.has("any_op") else 400), "{}"
        if self.has("no_lock") and op == "try":
            return work(step, json.loads(body or "{}"), gone)
        if self.has("cancel_does_not_wait") and op == "cancel" and not step.tried:
            return 200, "{}"
        if op == "cancel":
            self.cancel_others(gid, step)
        with step.lock:
            if int(headers["Saga-Epoch"]) < step.epoch and self.has("epoch_400"):
                return 400, "{}"
            if int(headers["Saga-Epoch"]) < step.epoch and not getattr(step, {"try": "tried", "confirm": "confirmed", "cancel": "cancelled"}[op]):
                return 412, "{}"
            step.epoch = max(step.epoch, int(headers["Saga-Epoch"]))
            return work(step, json.loads(body or "{}"), gone)

    def has_forgotten(self, step):
        of_all = self.has("forgets") or self.has("forgets_answered_alike")
        return (of_all or self.has("forgets_cancels") and step.cancelled) and time.monotonic() - step.at > FORGETS_S

    def cancel_others(self, gid, step):
        """With a fault; under no lock, since nothing else is asked of them meanwhile."""
        others = [other for (of, _), other in self.steps.items() if of == gid and other is not step and other.tried]
        if self.has("cancels_all_steps"):
            for other in others:
                self.do_cancel(other, None, None)
        if self.has("cancels_no_second_step") and any(other.cancelled for other in others):
            step.cancelled = True

    def is_signed(self, headers, body):
        if "webhook-signature" not in headers:
            return self.has("unsigned")
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
        right = "v1," + base64.b64encode(hmac.new(SECRET.encode(), text, hashlib.sha256).digest()).decode()
        if abs(time.time() - int(headers["webhook-timestamp"])) > 300 and not self.has("any_time"):
            return False
        if not self.is_of_this_call(headers):
            return False
        return right == headers["webhook-signature"] or self.has("any_signature")

    def is_of_this_call(self, headers):
        """Was webhook-id made for it? With a fault also the one that sagactl takes from another call."""
        gid, step, op = (headers.get(name) for name in ("Saga-Id", "Saga-Step", "Saga-Op"))
        if gid is None or op not in ("try", "confirm", "cancel"):
            return True  # no call of sagad, and refused as that
        good = [(gid, step, op)]
        good += [(f"{gid}-other", step, op)] if self.has("any_gid") else []
        good += [(gid, "other", op)] if self.has("any_step") else []
        good += [(gid, step, "cancel")] if self.has("any_op_signed") else []
        return headers["webhook-id"] in ["msg_" + hashlib.sha256(":".join(of).encode()).hexdigest()[:32] for of in good]

    def do_try(self, step, order, gone):
        if step.busy:
            return 425, "{}"
        if step.cancelled and not (self.has("try_after_cancel") and step.tried):
            return 422, '{"error": "cancelled"}'
        if step.refused and not self.has("refusal_forgotten"):
            return 422, '{"error": "sold out"}'
        if step.tried and not step.cancelled:
            if self.has("duplicate_409"):
                return 409, "{}"
            if self.has("done_twice_answered_once"):
                self.move(held=1)
            if not self.has("done_twice"):
                return 201, step.answer
        if order.get("refuse") and not step.refused and not self.has("refuses_nothing"):
            step.refused = True
            if self.has("refusal_leaves_something"):
                self.move(held=1)
            return 422, '{"error": "sold out"}'
        return self.work(step, gone)

    def work(self, step, gone):
        time.sleep(self.slow)
        if self.has("no_lock") or self.has("cancel_does_not_wait"):
            time.sleep(0.05)
        if self.has("hung_up_for_ever"):
            time.sleep(0.02)
            step.busy = gone()
        with self.lock:
            self.ids += 1
            number = self.ids
        self.move(held=1)
        step.tried, step.cancelled = True, False
        step.answer = "{}" if self.has("forgets_answered_alike") else f'{{"id": {number}}}'
        return (200, "<html>") if self.has("not_json") else (201, step.answer)

    def do_confirm(self, step, _, __):
        if step.confirmed:
            return (404, "{}") if self.has("confirm_once") else (200, "{}")
        if step.cancelled and step.tried:
            return (200 if self.has("confirm_cancelled") else 410), "{}"
        if not step.tried or step.cancelled:
            return (200 if self.has("confirm_nothing") else 410), "{}"
        step.confirmed = True
        self.move(held=-1, taken=1)
        return 200, "{}"

    def do_cancel(self, step, _, gone):
        if self.has("cancel_refused"):
            return 422, "{}"
        if step.confirmed:
            return (200 if self.has("cancel_confirmed") else 409), "{}"
        if self.has("cancel_for_nobody"):
            time.sleep(0.02)
            if step.cancelled == "for nobody":
                return 404, "{}"
            step.cancelled = "for nobody" if gone() else step.cancelled
            if step.cancelled and step.tried:
                self.move(held=-1)
                return 200, "{}"
        if step.cancelled:
            if self.has("cancel_undoes_twice") and step.tried:
                self.move(held=-1)
            return (404, "{}") if self.has("cancel_once") else (200, "{}")
        step.busy = False
        if not step.tried and not step.refused:
            for fault, status in (("empty_cancel_404", 404), ("empty_cancel_500", 500), ("empty_cancel_forgotten", 200)):
                if self.has(fault):
                    return status, "{}"
        step.cancelled = True
        if step.tried and not self.has("cancel_undoes_nothing"):
            self.move(held=-1)
        return 200, "{}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def is_gone(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body.encode())
        except OSError:
            self.close_connection = True

    def do_GET(self):
        fickle = self.server.fickle
        if "Saga-Id" in self.headers:
            self.answer(*(fickle.call(self.headers, "", self.is_gone) if fickle.has("any_method") else (405, "{}")))
            return
        self.answer(503 if fickle.has("state_503") else 200, json.dumps({"held": fickle.held, "taken": fickle.taken}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.answer(*self.server.fickle.call(self.headers, body, self.is_gone))
