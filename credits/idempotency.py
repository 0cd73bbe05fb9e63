"""Idempotency: the same key with the same body gets the same answer.

The record is written in the same transaction as what it answers, under the wallet's lock, so there
is never a half-done one: a request that fails leaves none, and the same key simply tries again.
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
from rendio.common.db import prepared_cursor
from rendio.common.purge import delete_batch


@dataclass(frozen=True)
class IdempotentRequest:
    """One user's one attempt at one operation."""

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

    The fingerprint is of the parsed body: white space and the order of names do not make it
    another.
    """
    try:
        parsed = UUID(key or "")
    except ValueError:
        raise IdempotencyKeyRequired from None
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return IdempotentRequest(user_id, operation, parsed, digest)


def find_response(request: IdempotentRequest, *, now: datetime) -> StoredResponse | None:
    """The kept answer to this attempt, or None. Raises IdempotencyKeyReused for another body."""
    record = IdempotencyRecord.objects.filter(
        user_id=request.user_id, operation=request.operation, key=request.key, expires_at__gt=now
    ).first()
    if record is None:
        return None
    if record.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused
    return StoredResponse(record.status, record.response, replayed=True)


# An expired record that the sweep has not met yet is overwritten; a live one leaves no row behind.
_SAVE = """
INSERT INTO credits_idempotencyrecord
    (user_id, operation, key, fingerprint, status, answer, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (user_id, operation, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status, answer = EXCLUDED.answer,
    expires_at = EXCLUDED.expires_at
WHERE credits_idempotencyrecord.expires_at <= %s
"""


def save_response(request: IdempotentRequest, response: StoredResponse, *, now: datetime) -> bool:
    """Keep the answer for replay; False where this attempt has one already.

    Joins the caller's transaction, which must hold the user's wallet lock: that is what makes two
    requests with one key wait for each other.
    """
    with prepared_cursor() as cursor:
        cursor.execute(
            _SAVE,
            [
                request.user_id,
                request.operation,
                request.key,
                request.fingerprint,
                response.status,
                json.dumps(response.body),
                now + timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS),
                now,
            ],
        )
        return bool(cursor.rowcount == 1)


def reassign(*, from_user_id: UUID, into_user_id: UUID) -> None:
    """Let one user's kept answers be replayed to another, where that one has none under the key.

    Joins the caller's transaction, which must hold both wallets' locks.
    """
    kept = IdempotencyRecord.objects.filter(user_id=into_user_id)
    same = kept.filter(operation=OuterRef("operation"), key=OuterRef("key"))
    IdempotencyRecord.objects.filter(~Exists(same), user_id=from_user_id).update(
        user_id=into_user_id
    )


def delete_for_user(*, user_id: UUID) -> None:
    """Delete all kept answers of a user. Joins the caller's transaction, which holds the wallet."""
    IdempotencyRecord.objects.filter(user_id=user_id).delete()


def purge_expired(*, now: datetime) -> int:
    """Delete expired records, at most a batch; returns how many."""
    return delete_batch(IdempotencyRecord.objects.filter(expires_at__lte=now), order="expires_at")
