# SPDX-License-Identifier: Apache-2.0
"""sagad for Python: be a correct participant of its sagas and TCC transactions, and start them."""
from .answer import Answer, Outcome, Refused, failed, gone, ok, ongoing, outcome_of, refused, unavailable
from .barrier import Barrier, CannotSetUp, Cancelled, TooLate, Verdict
from .call import Call, NotACall
from .client import Client, Transaction, complete, fail
from .message import Delivery, Sent
from .participant import Participant
from .problem import Fault, Problem, Unreachable
from .run import run
from .tcc import NotConfirmed, Tcc
from .webhook import BadSignature, sign, verify

__all__ = [
    "Answer", "BadSignature", "Barrier", "Call", "Cancelled", "CannotSetUp", "Client", "Delivery", "Fault", "NotACall", "NotConfirmed", "Outcome",
    "Participant", "Problem", "Refused", "Sent", "Tcc", "TooLate", "Transaction", "Unreachable", "Verdict", "complete", "fail", "failed",
    "gone", "ok", "ongoing", "outcome_of", "refused", "run", "sign", "unavailable", "verify",
]
