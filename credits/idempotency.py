"""Idempotency: the same key with the same body gets the same response.

The record is written in the transaction of the request, under the wallet's lock. A request that
fails leaves no record, and the client may repeat it with the same key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef

from credits.errors import IdempotencyKeyRequired, IdempotencyKeyReused
from credits.models import IdempotencyRecord
from rendio.common.background.purge import delete_batch
from rendio.common.db import prepared_cursor


@dataclass(frozen=True)
class IdempotentRequest:
    """A user's request for one operation, identified by its Idempotency-Key."""

    user_id: UUID
    operation: str
    key: UUID
    fingerprint: str


@dataclass(frozen=True)
class StoredResponse:
    status: int
    body: dict[str, Any]
    replayed: bool = False


def parse_request(
    *, user_id: UUID, operation: str, key: str | None, body: dict[str, Any]
) -> IdempotentRequest:
    """Read the Idempotency-Key header. Raises IdempotencyKeyRequired unless it is a UUID.

    The fingerprint is that of the parsed body: white space and the order of names make no
    difference.
    """
    try:
        parsed = UUID(key or "")
    except ValueError:
        raise IdempotencyKeyRequired from None
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return IdempotentRequest(user_id, operation, parsed, digest)


def find_response(request: IdempotentRequest, *, now: datetime) -> StoredResponse | None:
    """Return the stored response, or None. Raises IdempotencyKeyReused if the body differs."""
    record = IdempotencyRecord.objects.filter(
        user_id=request.user_id, operation=request.operation, key=request.key, expires_at__gt=now
    ).first()
    if record is None:
        return None
    if record.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused
    return StoredResponse(record.status, record.response, replayed=True)


def save_response(request: IdempotentRequest, response: StoredResponse, *, now: datetime) -> bool:
    """Store the response for replay; return False if there is one already.

    Joins the caller's transaction, which must hold the user's wallet lock: the lock serializes two
    requests with the same key.
    """
    with prepared_cursor() as cursor:
        cursor.execute(
            "SELECT credits_save_response(%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                request.user_id,
                request.operation,
                request.key,
                request.fingerprint,
                response.status,
                json.dumps(response.body),
                expiry(now),
                now,
            ],
        )
        [is_new] = cursor.fetchone()
        return bool(is_new)


def expiry(now: datetime) -> datetime:
    """When a response that is stored now expires."""
    return now + timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)


def reassign(*, from_user_id: UUID, into_user_id: UUID) -> None:
    """Move a user's stored responses to another user, except under keys that the other has used.

    Joins the caller's transaction, which must hold both wallets' locks.
    """
    kept = IdempotencyRecord.objects.filter(user_id=into_user_id)
    same = kept.filter(operation=OuterRef("operation"), key=OuterRef("key"))
    IdempotencyRecord.objects.filter(~Exists(same), user_id=from_user_id).update(
        user_id=into_user_id
    )


def delete_for_user(*, user_id: UUID) -> None:
    """Delete all stored responses of a user. Joins the caller's transaction, which holds the
    wallet's lock.
    """
    IdempotencyRecord.objects.filter(user_id=user_id).delete()


def purge_expired(*, now: datetime) -> int:
    """Delete one batch of expired records; return how many."""
    return delete_batch(IdempotencyRecord.objects.filter(expires_at__lte=now), order="expires_at")
