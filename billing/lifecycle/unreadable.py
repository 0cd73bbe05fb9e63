"""Read unreadable payloads again (services.unreadable).

In the end hourly: a new release or another setting may make a payload readable. It is then applied
as if it had just arrived, and closed.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from billing.appstore import verifier
from billing.appstore.payloads import Unreadable
from billing.due_work import REREAD_PAYLOADS
from billing.models import (
    Notification,
    PayloadKind,
    Purchase,
    Subscription,
    UnreadablePayload,
)
from billing.services import notifications, purchases, subscriptions, unreadable
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)


@due_work(REREAD_PAYLOADS)
def reread_payload(row: UnreadablePayload, *, now: datetime) -> None:
    try:
        outcome = _find_known(row) or _apply(row, now=now)
    except (Unreadable, verifier.NotGenuine) as problem:
        logger.info("apple_payload_still_unreadable", problem=str(problem), tries=row.tries)
        return
    unreadable.close(row.id, outcome=outcome, now=now)
    logger.info("apple_payload_read", kind=row.kind, outcome=outcome)


def _find_known(row: UnreadablePayload) -> str:
    """Return the outcome if the same content has arrived in a readable form since; else ""."""
    kind, _, named = row.key.partition(" ")
    if kind == PayloadKind.TRANSACTION and row.transaction_id:
        known = Purchase.objects.filter(transaction_id=row.transaction_id)
        return "the purchase arrived in another payload" if known.exists() else ""
    if kind == PayloadKind.NOTIFICATION and len(named) == len(str(row.id)):
        came_again = Notification.objects.filter(notification_uuid=named)
        return "a readable copy arrived" if came_again.exists() else ""
    return ""


def _apply(row: UnreadablePayload, *, now: datetime) -> str:
    match PayloadKind(row.kind):
        case PayloadKind.NOTIFICATION:
            notifications.store(signed_payload=row.signed_payload, now=now)
        case PayloadKind.TRANSACTION:
            purchase = purchases.upsert_from_apple(
                verifier.read_transaction(row.signed_payload), now=now
            )
            purchases.sync_ledger(purchase.id, now=now, claimant_id=row.user_id)
        case PayloadKind.RENEWAL:
            renewal = verifier.read_renewal(row.signed_payload)
            subscriptions.upsert_from_apple(renewal)
            subscription = Subscription.objects.get(
                environment=renewal.environment,
                original_transaction_id=renewal.original_transaction_id,
            )
            if subscription.current_period_id:
                purchases.sync_ledger(subscription.current_period_id, now=now)
    return "read and applied"
