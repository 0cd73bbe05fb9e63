"""What the App Store refunds to its customer, taken back here."""

from __future__ import annotations

from datetime import datetime

from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services.entries import append
from credits.services.wallets import follow_merges
from rendio.common.errors import InvalidInput, NotFound


def take_back(
    *, transaction_id: str, reason: str, now: datetime, amount: int | None = None
) -> LedgerEntry | None:
    """A store refund: take what the transaction brought back, `amount` of it or all, once.

    What is left of its lot goes; what was spent of it becomes debt, which later grants repay. What
    had lapsed is owed by nobody. A second call returns the first entry, None where there was
    nothing to take. Raises NotFound where the transaction brought no lot.
    """
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        raise NotFound
    if amount is not None and amount <= 0:
        raise InvalidInput(fields={"amount": ["Must be more than 0."]})
    wallet = follow_merges(Wallet.objects.select_for_update().get(id=lot.wallet_id))
    if entry := LedgerEntry.objects.filter(
        transaction_id=transaction_id, kind=Kind.REVOCATION
    ).first():
        return entry
    lot.refresh_from_db()
    # Not lot.amount: part of the grant may have repaid a debt, and is spent all the same.
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    brought = granted.change - granted.debt_change
    spent = brought - lot.remaining - _lapsed_of(lot, granted=granted)
    wanted = brought if amount is None else min(amount, brought)
    taken = min(lot.remaining, wanted)
    owed = min(wanted - taken, spent)
    lot.remaining -= taken
    lot.revoked_at = now
    lot.save(update_fields=["remaining", "revoked_at"])
    if not (taken or owed):
        return None
    return append(
        wallet,
        kind=Kind.REVOCATION,
        change=-taken,
        debt_change=owed,
        lots=[(lot.id, -taken)] if taken else [],
        reason=reason,
        now=now,
        transaction_id=transaction_id,
    )


def _lapsed_of(lot: Lot, *, granted: LedgerEntry) -> int:
    """How much of a lot has expired unspent, where it is now or where it was granted."""
    lapses = LedgerEntry.objects.filter(
        wallet_id__in={lot.wallet_id, granted.wallet_id},
        kind=Kind.EXPIRY,
        lots__contains=[[str(lot.id)]],
    )
    return -sum(lapses.values_list("change", flat=True))
