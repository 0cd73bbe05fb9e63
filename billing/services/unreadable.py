"""Payloads that Apple signed for our app and we cannot read: stored for staff and read again later.

Guarantee: a purchase is not lost because a field is missing or unexpected. The payload is stored
once, its sender is asked to repeat it (503), and a worker reads it again until it can
(lifecycle.unreadable).
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

# Only Apple can sign a payload, so only a change at Apple that affects every purchase reaches this
# limit. Payloads above it are logged, not stored; Apple sends them again.
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
    """Store a payload for staff, once. A repeated one is counted.

    Joins the caller's transaction or opens its own. `transaction_id`: the one that Apple was asked
    for, which the payload may lack. `user_id`: the user whose phone sent it.
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
    if not is_new:  # a concurrent request was first
        known.update(**again)


@transaction.atomic
def close(payload_id: UUID, *, outcome: str, now: datetime) -> None:
    """Close a payload that was applied or is not for us. Joins the caller's transaction or opens
    its own.
    """
    UnreadablePayload.objects.filter(id=payload_id).update(
        closed_at=now, due_at=None, outcome=outcome[:120]
    )


def dismiss_payload(payload_id: UUID, *, now: datetime) -> UnreadablePayload:
    """Close a payload that staff have handled. Joins the caller's transaction. Raises NotFound, and
    InvalidState if it is closed.
    """
    payload = UnreadablePayload.objects.select_for_update().filter(id=payload_id).first()
    if payload is None:
        raise NotFound
    if payload.closed_at:
        raise InvalidState(problem="This payload is closed.")
    close(payload.id, outcome="dismissed", now=now)
    return payload


def find_transaction_id(claims: Mapping[str, Any]) -> str:
    """Return the transaction that a payload is about, or ""."""
    about = claims.get("data")
    if isinstance(about, dict):  # a notification
        claims = verifier.decode_unverified(str(about.get("signedTransactionInfo")))
    return _find_id(claims, "transactionId") or _find_id(claims, "originalTransactionId")


def _deduplication_key(kind: PayloadKind, claims: Mapping[str, Any], transaction_id: str) -> str:
    """Equal for equal content: Apple signs a transaction again at each request."""
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
    """Hash the claims, not the text: one signature can be encoded in several ways."""
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
