"""Webhook signatures with a shared secret.

A signature may match any of several secrets, so that a secret can be rotated without a gap.
Signatures are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Iterable, Mapping

STANDARD_PREFIX = "whsec_"
STANDARD_TOLERANCE_SECONDS = 300


class BadSignature(Exception):
    """The webhook was not signed by the provider, or not for us."""


def verify_hex_hmac(signature: str, body: bytes, *, secrets: Iterable[str]) -> None:
    """Verify `X-Webhook-Signature`, the hex HMAC-SHA256 of the raw body. Raises BadSignature."""
    try:
        signatures = bytes.fromhex(signature)
    except ValueError:
        raise BadSignature("not hexadecimal") from None
    if not _any_matches([signatures], body, keys=[secret.encode() for secret in secrets]):
        raise BadSignature("signature")


def verify_standard_webhook(
    headers: Mapping[str, str], body: bytes, *, secrets: Iterable[str]
) -> None:
    """Verify the scheme of standardwebhooks.com: base64 HMAC-SHA256 over `id.timestamp.body`. The
    key is the base64 text after `whsec_` in the secret. Raises BadSignature."""
    try:
        name, timestamp = headers["Webhook-Id"], headers["Webhook-Timestamp"]
        # Integers, because float overflows for a timestamp of 400 digits.
        age = abs(int(time.time()) - int(timestamp))
        signatures = [
            base64.b64decode(signature.removeprefix("v1,"), validate=True)
            for signature in headers["Webhook-Signature"].split()
            if signature.startswith("v1,")
        ]
        keys = [base64.b64decode(secret.removeprefix(STANDARD_PREFIX)) for secret in secrets]
    except (KeyError, ValueError, binascii.Error):
        raise BadSignature("headers") from None
    if age > STANDARD_TOLERANCE_SECONDS:
        raise BadSignature("timestamp")
    if not _any_matches(signatures, f"{name}.{timestamp}.".encode() + body, keys=keys):
        raise BadSignature("signature")


def _any_matches(signatures: list[bytes], message: bytes, *, keys: list[bytes]) -> bool:
    expected = [hmac.digest(key, message, "sha256") for key in keys]
    return any(
        hmac.compare_digest(signature, other) for signature in signatures for other in expected
    )
