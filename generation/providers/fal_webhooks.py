"""Verification of fal's webhooks: Ed25519 signatures with a published key set."""

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
    """Verify a webhook and return its request id.

    Raises BadSignature; NotSent or NoAnswer if the public keys cannot be fetched.
    """
    try:
        request_id = headers["X-Fal-Webhook-Request-Id"]
        user_id = headers["X-Fal-Webhook-User-Id"]
        timestamp = headers["X-Fal-Webhook-Timestamp"]
        signature = bytes.fromhex(headers["X-Fal-Webhook-Signature"])
        # Integers, because float overflows for a timestamp of 400 digits.
        age = abs(int(time.time()) - int(timestamp))
    except (KeyError, ValueError):
        raise BadSignature("headers") from None
    if age > TOLERANCE_SECONDS:
        raise BadSignature("timestamp")
    # Any customer of fal can make fal sign a webhook to our URL.
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
    """Return None for other key types and for invalid keys."""
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
