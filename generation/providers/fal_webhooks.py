"""fal's webhooks: who signed them, by fal's own scheme (Ed25519 over a published key set).

https://docs.fal.ai/model-apis/model-endpoints/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from generation.providers.parsing import dict_or_empty
from generation.providers.signatures import BadSignature
from rendio.common import http

TOLERANCE_SECONDS = 300
KEYS_MAX_AGE_SECONDS = 24 * 3600
KEYS_REFETCH_SECONDS = 30
KEYS_RETRY_SECONDS = 5


def verify(headers: Mapping[str, str], body: bytes) -> str:
    """The id of the request that it tells of. Raises BadSignature; NotSent or NoAnswer where the
    keys that would tell cannot be had."""
    try:
        request_id = headers["X-Fal-Webhook-Request-Id"]
        user_id = headers["X-Fal-Webhook-User-Id"]
        timestamp = headers["X-Fal-Webhook-Timestamp"]
        signature = bytes.fromhex(headers["X-Fal-Webhook-Signature"])
        # Whole numbers: a fraction has no room for one of 400 digits.
        age = abs(int(time.time()) - int(timestamp))
    except (KeyError, ValueError):
        raise BadSignature("headers") from None
    if age > TOLERANCE_SECONDS:
        raise BadSignature("timestamp")
    # Any customer of fal can have fal sign a call to our address.
    if settings.FAL_USER_ID and user_id != settings.FAL_USER_ID:
        raise BadSignature("not our account")
    digest = hashlib.sha256(body).hexdigest()
    message = "\n".join([request_id, user_id, timestamp, digest]).encode()
    if not _keys.verify(message, signature):
        raise BadSignature("signature")
    return request_id


class _KeySet:
    """fal's public keys: kept a day, and fetched again when none of them fits.

    Whoever forges calls must not make us ask fal more than every 30 seconds (5 after a failure),
    nor keep genuine ones waiting: with a key that fits no lock is taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[Ed25519PublicKey] = []
        self._fetched_at = self._failed_at = float("-inf")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Raises NotSent or NoAnswer where the keys that would tell cannot be had."""
        if _seconds_since(self._fetched_at) <= KEYS_MAX_AGE_SECONDS and _matches_any(
            self._keys, message, signature
        ):
            return True
        with self._lock:
            if _seconds_since(self._fetched_at) > KEYS_REFETCH_SECONDS:
                self._fetch()
        return _matches_any(self._keys, message, signature)

    def _fetch(self) -> None:
        if _seconds_since(self._failed_at) < KEYS_RETRY_SECONDS:
            raise http.NoAnswer("key set: could not be had a moment ago")
        self._failed_at = time.monotonic()
        response = http.request("GET", settings.FAL_JWKS_URL, timeout=(3, 5))
        listed = dict_or_empty(response.json()).get("keys")
        keys = [
            key for jwk in (listed if isinstance(listed, list) else []) if (key := _parse_key(jwk))
        ]
        if not (response.ok and keys):
            raise http.NoAnswer(f"key set: status {response.status}, {len(keys)} keys")
        self._keys, self._fetched_at, self._failed_at = keys, time.monotonic(), float("-inf")


def _seconds_since(moment: float) -> float:
    return time.monotonic() - moment


def _matches_any(keys: list[Ed25519PublicKey], message: bytes, signature: bytes) -> bool:
    for key in keys:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def _parse_key(jwk: Any) -> Ed25519PublicKey | None:
    """None for a key of another kind, and for what is no key."""
    if not (isinstance(jwk, dict) and jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519"):
        return None
    try:
        raw = base64.urlsafe_b64decode(str(jwk.get("x", "")) + "==")
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        return None


_keys = _KeySet()
