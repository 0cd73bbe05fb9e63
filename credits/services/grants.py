"""Credits that come: grants, and support's corrections up and down."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from credits.errors import InsufficientCredits
from credits.models import Kind, LedgerEntry, Source
from credits.services.entries import add_lot, debit
from credits.services.wallets import lock_wallet
from rendio.common.errors import InvalidInput


def grant(
    *,
    user_id: UUID,
    amount: int,
    source: Source,
    reason: str,
    now: datetime,
    expires_at: datetime | None = None,
    transaction_id: str | None = None,
    acting_user_id: UUID | None = None,
) -> LedgerEntry:
    """Give `amount` credits as a new lot. What the wallet owes is repaid from them first.

    With a `transaction_id` (Apple's) a second call returns the first entry. What is given to a
    guest who was merged arrives at the account. The returned entry is the whole grant; what of it
    is above MAX_GRANTED_BALANCE has lapsed in an entry after it.
    """
    wallet = lock_wallet(user_id=user_id, through_merge=True)
    if transaction_id and (
        entry := LedgerEntry.objects.filter(transaction_id=transaction_id, kind=Kind.GRANT).first()
    ):
        return entry
    return add_lot(
        wallet,
        kind=Kind.GRANT,
        amount=amount,
        source=source,
        reason=reason,
        now=now,
        expires_at=expires_at,
        transaction_id=transaction_id,
        acting_user_id=acting_user_id,
    )


def adjust(
    *, user_id: UUID, change: int, reason: str, acting_user_id: UUID, now: datetime
) -> LedgerEntry:
    """Support's correction: up as a lot of its own, down from the lots, never below zero.

    MAX_GRANTED_BALANCE does not hold it back. Raises InvalidInput for 0, InsufficientCredits where
    less is there than should be taken.
    """
    if change == 0:
        raise InvalidInput(fields={"amount": ["Must not be 0."]})
    wallet = lock_wallet(user_id=user_id, through_merge=True)
    if change > 0:
        return add_lot(
            wallet,
            kind=Kind.ADJUSTMENT,
            amount=change,
            source=Source.SUPPORT,
            reason=reason,
            now=now,
            acting_user_id=acting_user_id,
        )
    if wallet.balance < -change:
        raise InsufficientCredits(required=-change, available=wallet.balance)
    entry_id = debit(
        wallet,
        kind=Kind.ADJUSTMENT,
        amount=-change,
        reason=reason,
        now=now,
        acting_user_id=acting_user_id,
    )
    return LedgerEntry.objects.get(id=entry_id)
