"""fal's webhooks: who signed them, by fal's own scheme (Ed25519 over a published key set).

https://docs.fal.ai/model-apis/model-endpoints/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from generation.providers.signatures import BadSignature
from rendio.common.outbound.jwks import KeySet

TOLERANCE_SECONDS = 300
KEYS_MAX_AGE_SECONDS = 24 * 3600
KEYS_REFETCH_SECONDS = 30
KEYS_RETRY_SECONDS = 5


def verify(headers: Mapping[str, str], body: bytes) -> str:
    """The id of the request that it tells of. Raises BadSignature; NoAnswer where the keys
    that would tell cannot be had."""
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
    if keys.find(lambda key: _has_signed(key, message, signature)) is None:
        raise BadSignature("signature")
    return request_id


def _has_signed(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _parse_key(jwk: dict[str, Any]) -> Ed25519PublicKey | None:
    """None for a key of another kind, and for what is no key."""
    if not (jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519"):
        return None
    try:
        raw = base64.urlsafe_b64decode(str(jwk.get("x", "")) + "==")
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        return None


keys = KeySet(
    "fal",
    url=lambda: settings.FAL_JWKS_URL,
    parse=_parse_key,
    timeout=(3, 5),
    fresh_seconds=KEYS_MAX_AGE_SECONDS,
    usable_seconds=KEYS_MAX_AGE_SECONDS,
    pause_seconds=KEYS_REFETCH_SECONDS,
    # A forged call must not keep genuine ones waiting for fal's answer.
    retry_seconds=KEYS_RETRY_SECONDS,
    empty_retry_seconds=KEYS_RETRY_SECONDS,
)
