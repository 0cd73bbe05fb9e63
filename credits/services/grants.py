"""Grants, and corrections by support, up or down."""

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
    """Grant `amount` credits as a new lot, after repaying the wallet's debt from them.

    With Apple's `transaction_id`, a second call returns the first entry. A grant to a merged guest
    goes to the account. The returned entry is the whole grant; a part above MAX_GRANTED_BALANCE has
    expired in an entry after it.
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
    """Correct a balance for support: up by a new lot, down from the lots, never below zero.

    MAX_GRANTED_BALANCE does not apply. Raises InvalidInput for 0, InsufficientCredits if the
    balance is lower than the deduction.
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
