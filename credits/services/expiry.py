"""What is left of a lot lapses when its time has come, which may be moved until then."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from credits.models import Lot, Wallet
from credits.services.entries import expire
from rendio.common.due import for_each_logged


def extend_expiry(*, transaction_id: str, until: datetime) -> None:
    """Let the lot that a transaction brought live until then, if that is later than it would. What
    has lapsed of it stays lapsed.

    Joins the caller's transaction, which has the wallet locked.
    """
    lots = Lot.objects.filter(transaction_id=transaction_id, expires_at__lt=until)
    lots.update(expires_at=until)


def expire_due_lots(*, now: datetime, limit: int = 100) -> int:
    """Take what is left of lots whose time has come; returns how many lots.

    A transaction for each lot, so that one that cannot lapse stops none of the others. Until it has
    run, an expired lot can still be spent: the balance is what the user was shown.
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

    # In one order for all: two sweeps that join a transaction wait for each other instead of
    # locking up.
    for_each_logged(sorted(due, key=lambda row: (row[1], row[0])), expire_one)
    return len(expired)


@transaction.atomic
def _expire_if_due(lot_id: UUID, wallet_id: UUID, *, now: datetime) -> bool:
    wallet = Wallet.objects.select_for_update().get(id=wallet_id)
    lot = Lot.objects.get(id=lot_id)
    if not lot.remaining or lot.wallet_id != wallet_id:
        return False  # spent meanwhile, or moved by a merge: the next sweep finds it there
    if lot.expires_at is None or lot.expires_at > now:
        return False  # a refund has prolonged it meanwhile
    reason = f"{lot.source} credits expired"
    expire(wallet, lot, amount=lot.remaining, reason=reason, now=now)
    return True
