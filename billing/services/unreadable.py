"""Payloads that Apple signed for our app and we cannot read: kept for a person, and read again.

Guarantee: nothing that a customer may have paid for is dropped because a field of it is missing or
odd. The payload is stored once, however often it comes, its sender is asked to repeat it (503), and
a worker reads it again until it can (lifecycle.unreadable).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from billing.appstore import payloads, verifier
from billing.appstore.payloads import Unreadable
from billing.models import PayloadKind, UnreadablePayload
from rendio.common.errors import InvalidState, NotFound

logger = structlog.get_logger(__name__)

# Only Apple can sign one, so this is reached by a change at Apple's that concerns every purchase.
# What is above it is logged and not kept, and comes again.
MAX_OPEN = 1000


@transaction.atomic
def store_unreadable(
    problem: Unreadable,
    *,
    kind: PayloadKind,
    now: datetime,
    transaction_id: str = "",
    user_id: UUID | None = None,
) -> None:
    """Store a payload for a person, once; one that is known is counted.

    Joins the caller's transaction or opens its own. `transaction_id`: the one that Apple was asked
    for, which the payload may not name. `user_id`: whose phone sent it.
    """
    key = _deduplication_key(kind, problem.claims, transaction_id)
    logger.error("apple_payload_unreadable", kind=kind.value, problem=str(problem))
    known = UnreadablePayload.objects.filter(key=key)
    again = {"times": F("times") + 1, "last_at": now, "problem": str(problem)[:120]}
    if known.update(**again):
        return
    if UnreadablePayload.objects.open()[:MAX_OPEN].count() >= MAX_OPEN:
        logger.error("apple_payload_not_kept", most=MAX_OPEN)
        return
    _, is_new = UnreadablePayload.objects.get_or_create(
        key=key,
        defaults={
            "kind": kind,
            "problem": str(problem)[:120],
            "transaction_id": transaction_id or find_transaction_id(problem.claims),
            "signed_payload": problem.signed,
            "user_id": user_id,
            "first_at": now,
            "last_at": now,
            "due_at": now,
        },
    )
    if not is_new:  # somebody else was first
        known.update(**again)


@transaction.atomic
def close(payload_id: UUID, *, outcome: str, now: datetime) -> None:
    """It was read and applied, or is none of ours. Joins the caller's transaction or opens its
    own."""
    UnreadablePayload.objects.filter(id=payload_id).update(
        closed_at=now, due_at=None, outcome=outcome[:120]
    )


def dismiss_payload(payload_id: UUID, *, now: datetime) -> UnreadablePayload:
    """A person has dealt with it. Joins the caller's transaction. Raises NotFound, and InvalidState
    for one that is closed."""
    payload = UnreadablePayload.objects.select_for_update().filter(id=payload_id).first()
    if payload is None:
        raise NotFound
    if payload.closed_at:
        raise InvalidState(problem="This payload is closed.")
    close(payload.id, outcome="dismissed", now=now)
    return payload


def find_transaction_id(claims: Mapping[str, Any]) -> str:
    """The transaction that a payload is about, as far as it says so."""
    about = claims.get("data")
    if isinstance(about, dict):  # a notification
        claims = verifier.decode_unverified(str(about.get("signedTransactionInfo")))
    return _find_id(claims, "transactionId") or _find_id(claims, "originalTransactionId")


def _deduplication_key(kind: PayloadKind, claims: Mapping[str, Any], transaction_id: str) -> str:
    """The same for the same news: each time that Apple is asked for a transaction, it signs it
    anew."""
    named = ""
    match kind:
        case PayloadKind.NOTIFICATION:
            named = _find_uuid(claims, "notificationUUID")
        case PayloadKind.TRANSACTION:
            named = transaction_id or _find_id(claims, "transactionId")
        case PayloadKind.RENEWAL:
            named = _find_id(claims, "originalTransactionId")
    return f"{kind} {named or _hash(claims)}"


def _hash(claims: Mapping[str, Any]) -> str:
    """Of what is stated, not of the text: one signature can be written in more than one way."""
    canonical = json.dumps(claims, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _find_id(claims: Mapping[str, Any], name: str) -> str:
    try:
        return payloads.require_id(claims.get(name), name)
    except (Unreadable, TypeError):
        return ""


def _find_uuid(claims: Mapping[str, Any], name: str) -> str:
    try:
        return str(UUID(claims[name]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return ""
