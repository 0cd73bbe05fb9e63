"""Keyed hashes of an installation: of its secret, and of its device_id.

The keys are settings.INSTALLATION_KEYS. The first one makes new hashes. A stored secret hash names
its key, so that a key can be rotated without signing anybody out. Removing a key invalidates the
hashes made with it: those installations must register as new ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from uuid import UUID

from django.conf import settings

PUBLIC_ID_LENGTH = 16  # hex digits
_PUBLIC_ID = re.compile(rf"[0-9a-f]{{{PUBLIC_ID_LENGTH}}}")


def hash_secret(*, device_id: UUID, secret: str) -> str:
    """The stored form of an installation's secret: key id, colon, HMAC."""
    key_id, key = _current_key()
    return f"{key_id}:{_secret_hmac(key, device_id=device_id, secret=secret)}"


def secret_matches(stored: str, *, device_id: UUID, secret: str) -> bool:
    """Whether `stored` is the hash of this secret and device_id."""
    key_id, _, expected = stored.rpartition(":")
    key = settings.INSTALLATION_KEYS.get(key_id)
    if key is None:
        return False
    return hmac.compare_digest(_secret_hmac(key, device_id=device_id, secret=secret), expected)


def has_current_key(stored: str) -> bool:
    """Whether `stored` was made with the first key."""
    return stored.rpartition(":")[0] == _current_key()[0]


def public_id(device_id: UUID) -> str:
    """The short keyed hash that is shown instead of a device_id in logs, lists, exports and the
    admin."""
    return _hmac(_current_key()[1], f"device id {device_id}")[:PUBLIC_ID_LENGTH]


def is_public_id(text: str) -> bool:
    """Whether the text has the form of a public id."""
    return _PUBLIC_ID.fullmatch(text) is not None


def _current_key() -> tuple[str, str]:
    key_id, key = next(iter(settings.INSTALLATION_KEYS.items()))
    return key_id, key


def _secret_hmac(key: str, *, device_id: UUID, secret: str) -> str:
    return _hmac(key, f"installation secret {device_id} {secret}")


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
