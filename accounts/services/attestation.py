"""App Attest: issue challenges, register keys, and check calls that a key has signed.

A challenge is a text that we sign for one device; an unanswered challenge is not stored. Its name
is stored in the transaction that answers it, so that it counts once, for any number of concurrent
calls. A key's counter grows under the lock of its row.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core import signing
from django.db import transaction

from accounts import installations
from accounts.apple import app_attest
from accounts.errors import InvalidDevice
from accounts.models import AttestedKey, UsedToken
from accounts.services.installations import check_stored_secret
from rendio.common.background.purge import delete_batch

logger = structlog.get_logger(__name__)

CHALLENGE = "app attest challenge"
# Keys of one installation. A phone uses one; a restored backup brings another.
MAX_KEYS = 5
# One phone can make keys for any number of device_ids.
UNUSED_RETENTION = timedelta(days=1)


@dataclass(frozen=True)
class AssertedCall:
    """A phone's proof of a call: the key, the challenge, and the key's assertion."""

    key_id: bytes
    challenge: str
    assertion: bytes


def issue_challenge(*, device_id: UUID) -> str:
    """A new challenge for this device, valid for settings.APP_ATTEST_CHALLENGE_SECONDS."""
    return signing.dumps([str(device_id), secrets.token_urlsafe(16)], salt=CHALLENGE)


def attest_device(
    *,
    device_id: UUID,
    installation_secret: str,
    key_id: bytes,
    challenge: str,
    attestation: bytes,
    now: datetime,
) -> None:
    """Register the key that Apple attests for this challenge (its UTF-8 is the client data).

    The key counts for device checks with the same secret. Opens its own transaction. A repeated
    call, after a lost response, changes nothing. Raises InvalidDevice.
    """
    check_stored_secret(device_id=device_id, secret=installation_secret)
    try:
        vouched = app_attest.verify_attestation(
            attestation, key_id=key_id, client_data=challenge.encode(), now=now
        )
    except app_attest.NotGenuine as problem:
        raise _refused(str(problem)) from problem
    name = _name(key_id)
    secret_hash = installations.hash_secret(device_id=device_id, secret=installation_secret)
    with transaction.atomic(durable=True):
        if _consume_challenge(challenge, device_id=device_id, now=now):
            AttestedKey.objects.get_or_create(
                key_id=name,
                defaults={
                    "device_id": device_id,
                    "secret_hash": secret_hash,
                    "app_id": vouched.app_id,
                    "public_key": vouched.public_key,
                    "receipt": vouched.receipt,
                    "created_at": now,
                },
            )
            _delete_surplus_keys(device_id, secret_hash)
        key = AttestedKey.objects.filter(key_id=name, device_id=device_id).first()
        if key is None or not _is_of_installation(key, installation_secret):
            raise _refused("challenge of another key, or key of another installation")


def _delete_surplus_keys(device_id: UUID, secret_hash: str) -> None:
    """Keep the newest MAX_KEYS keys of the installation: a genuine phone can make any number. Keys
    that came with another secret are not touched."""
    keys = AttestedKey.objects.filter(device_id=device_id, secret_hash=secret_hash)
    surplus = keys.order_by("-created_at").values_list("key_id", flat=True)[MAX_KEYS:]
    keys.filter(key_id__in=list(surplus)).delete()


def purge_unused_keys(*, now: datetime) -> int:
    """Delete a batch of keys that signed no device check for UNUSED_RETENTION; returns how many. A
    phone that uses such a key later gets `unknown_key` and makes another."""
    unused = AttestedKey.objects.filter(last_used_at=None, created_at__lt=now - UNUSED_RETENTION)
    return delete_batch(unused, order="created_at")


def check_assertion(
    *,
    device_id: UUID,
    device_token: str,
    installation_secret: str,
    signed: AssertedCall | None,
    now: datetime,
) -> None:
    """Check that a key of the installation signed the device check; its client data is the
    challenge and then the bytes of the device token.

    Without `signed` it passes unless settings.REQUIRE_APP_ATTEST. Opens its own transaction. Raises
    InvalidDevice.
    """
    if signed is None:
        if settings.REQUIRE_APP_ATTEST:
            raise InvalidDevice(app_attest="required")
        return
    client_data = signed.challenge.encode() + base64.b64decode(device_token)
    with transaction.atomic(durable=True):
        key = (
            AttestedKey.objects.select_for_update()
            .filter(key_id=_name(signed.key_id), device_id=device_id)
            .first()
        )
        if key is None or not _is_of_installation(key, installation_secret):
            raise InvalidDevice(app_attest="unknown_key")
        try:
            counter = app_attest.verify_assertion(
                signed.assertion,
                client_data=client_data,
                app_id=key.app_id,
                public_key=bytes(key.public_key),
            )
        except app_attest.NotGenuine as problem:
            raise _refused(str(problem)) from problem
        if counter <= key.counter:
            raise _refused("counter")
        if not _consume_challenge(signed.challenge, device_id=device_id, now=now):
            raise _refused("challenge was answered before")
        key.counter = counter
        key.last_used_at = now
        if not installations.has_current_key(key.secret_hash):
            key.secret_hash = installations.hash_secret(
                device_id=device_id, secret=installation_secret
            )
        key.save(update_fields=["counter", "last_used_at", "secret_hash"])


def _consume_challenge(challenge: str, *, device_id: UUID, now: datetime) -> bool:
    """Use the challenge; False if it was used before. Joins the caller's transaction. Raises
    InvalidDevice for any other text, and for an expired challenge."""
    lifetime = settings.APP_ATTEST_CHALLENGE_SECONDS
    try:
        asked_of, _ = signing.loads(challenge, salt=CHALLENGE, max_age=lifetime)
    except signing.BadSignature as problem:
        raise _refused("challenge") from problem
    if asked_of != str(device_id):
        raise _refused("challenge to another device")
    # Twice the lifetime: the clock of the purging process may be ahead.
    until = {"expires_at": now + timedelta(seconds=2 * lifetime)}
    name = hashlib.sha256(f"challenge {challenge}".encode()).hexdigest()
    return UsedToken.objects.get_or_create(name=name, defaults=until)[1]


def _is_of_installation(key: AttestedKey, secret: str) -> bool:
    return installations.secret_matches(key.secret_hash, device_id=key.device_id, secret=secret)


def _name(key_id: bytes) -> str:
    return base64.b64encode(key_id).decode()


def _refused(problem: str) -> InvalidDevice:
    """The log gets the problem, the client does not."""
    logger.warning("app_attest_refused", problem=problem)
    return InvalidDevice(app_attest="refused")
