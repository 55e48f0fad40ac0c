# SPDX-License-Identifier: Apache-2.0
"""Who sent it: signatures as Standard Webhooks 1.0.0 has them, HMAC-SHA256."""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from typing import Iterable, Optional, Tuple

from .call import Headers, NotACall, lowered

TOLERANCE_S = 300


class BadSignature(Exception):
    """It was not sent by who knows our secret, or not now: answer 401. reason: missing, timestamp or signature."""

    def __init__(self, reason: str, why: str):
        super().__init__(why)
        self.reason = reason


def key_of(secret: str) -> bytes:
    """The bytes of a secret as written: whsec_ and base64, else the text itself."""
    if not secret.startswith("whsec_"):
        key = secret.encode()
    else:
        text = secret[len("whsec_"):].rstrip("=")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("what follows whsec_ in a secret is no base64") from None
    if not key:
        raise ValueError("a secret is empty")
    return key


def secrets_of(secrets: Iterable[str]) -> Tuple[str, ...]:
    """Raises TypeError for what is no list of texts: one text alone would come apart, and each of its letters be a secret."""
    if isinstance(secrets, (str, bytes, bytearray)):
        raise TypeError(f"secrets is a list of texts, as in secrets=[\"whsec_...\"], not one {type(secrets).__name__}")
    made = tuple(secrets)
    for secret in made:
        if not isinstance(secret, str):
            raise TypeError(f"a secret is text, not {type(secret).__name__}")
        key_of(secret)  # what is wrong with it is said now
    return made


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature: v1,BASE64."""
    text = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key_of(secret), text, hashlib.sha256).digest()).decode()


def message_id(gid: str, step: str, op: str) -> str:
    """webhook-id of a call: the same in every attempt."""
    return "msg_" + hashlib.sha256(f"{gid}:{step}:{op}".encode()).hexdigest()[:32]


def verify(headers: Headers, body: bytes, secrets: Iterable[str], *,
           now: Optional[float] = None, tolerance_s: float = TOLERANCE_S) -> None:
    """Raises BadSignature unless one of secrets signed these bytes within tolerance_s of now.

    Several secrets: while one is replaced both are good. The signature covers webhook-id, webhook-timestamp and
    the body; of the Saga headers webhook-id covers gid, step and op, so these three are compared with it.
    Raises TypeError or ValueError for secrets that are none.
    """
    secrets = secrets_of(secrets)
    try:
        low = lowered(headers)
    except NotACall as why:
        raise BadSignature("signature", str(why)) from why
    sent_id, stamp, given = (low.get("webhook-" + name) for name in ("id", "timestamp", "signature"))
    if sent_id is None or stamp is None or given is None:
        raise BadSignature("missing", "the request is not signed")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
        raise BadSignature("timestamp", "webhook-timestamp is no time")
    age = (time.time() if now is None else now) - int(stamp)
    if abs(age) > tolerance_s:
        raise BadSignature("timestamp", f"signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead of our clock'}")
    # Each with each, and no way out early: how long it takes tells nothing.
    good = False
    for secret in secrets:
        want = sign(secret, sent_id, int(stamp), body).encode()
        for signature in given.split():
            good |= hmac.compare_digest(want, signature.encode())
    if not good:
        raise BadSignature("signature", "no secret of ours made this signature")
    if "saga-id" in low:
        named = message_id(low["saga-id"], low.get("saga-step", ""), low.get("saga-op", ""))
        if not hmac.compare_digest(named.encode(), sent_id.encode()):
            raise BadSignature("signature", "webhook-id was made for another gid, step or op")
