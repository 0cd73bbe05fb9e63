"""Expire the remainder of a lot at its expiry time, and extend that time."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from credits.models import Lot, Wallet
from credits.services.entries import expire
from rendio.common.background.due_rows import for_each_logged


def extend_expiry(*, transaction_id: str, until: datetime) -> None:
    """Move the expiry of a transaction's lot to `until`, if that is later. Credits that have
    expired stay expired.

    Joins the caller's transaction, which has locked the wallet.
    """
    lots = Lot.objects.filter(transaction_id=transaction_id, expires_at__lt=until)
    lots.update(expires_at=until)


def expire_due_lots(*, now: datetime, limit: int = 100) -> int:
    """Expire the remainder of up to `limit` due lots; return the number of lots.

    Each lot has a transaction of its own, so that a failure does not stop the rest. A lot can be
    spent until this has run: the balance includes it.
    """
    due = list(
        Lot.objects.filter(remaining__gt=0, expires_at__lte=now)
        .order_by("expires_at")
        .values_list("id", "wallet_id")[:limit]
    )
    expired: list[UUID] = []

    def expire_one(row: tuple[UUID, UUID]) -> None:
        if _expire_if_due(*row, now=now):
            expired.append(row[0])

    # Sorted by wallet: two concurrent runs lock in the same order, which avoids a deadlock.
    for_each_logged(sorted(due, key=lambda row: (row[1], row[0])), expire_one)
    return len(expired)


@transaction.atomic
def _expire_if_due(lot_id: UUID, wallet_id: UUID, *, now: datetime) -> bool:
    wallet = Wallet.objects.select_for_update().get(id=wallet_id)
    lot = Lot.objects.get(id=lot_id)
    if not lot.remaining or lot.wallet_id != wallet_id:
        return False  # spent meanwhile, or moved by a merge: the next run handles it
    if lot.expires_at is None or lot.expires_at > now:
        return False  # a refund has extended it meanwhile
    reason = f"{lot.source} credits expired"
    expire(wallet, lot, amount=lot.remaining, reason=reason, now=now)
    return True
