"""What the App Store refunds to its customer, taken back here, and given again where it thinks
better of it.

The transaction is what is named, and how much of it is refunded by now: a state, not a step. So
these may be called twice, late, or for a share that grows, and each call does what is missing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_DOWN, Decimal

from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services.entries import append_entry, expire, restore_expiry
from credits.services.superseded import expiry_reason
from credits.services.wallets import lock_merge_target
from rendio.common.errors import InvalidInput, NotFound

# All of a transaction, as Apple counts: in thousandths of a percent.
FULL_SHARE = 100_000


def claw_back(
    *, transaction_id: str, reason: str, now: datetime, share: int = FULL_SHARE
) -> LedgerEntry | None:
    """A store refund: take back `milli_percent` of what the transaction brought, all in all.

    What is left of its lot goes; what was spent of it becomes debt, which later grants repay. What
    had lapsed counts as gone already. A further refund of the same transaction tells the share of
    both together (Apple: revocationPercentage is what "the App Store has refunded"), and takes the
    difference; a share that is no more than before takes nothing, and gives nothing back.

    Apple rounds the share, 1 of 3 to 33333: we round to whole credits, a half to the customer. As
    it is the whole share that is rounded, and not each step, several add up to all of it.

    Returns the entry, or None where there was nothing to take. Raises NotFound where the
    transaction brought no lot, InvalidInput for a share outside 0 to 100000.
    """
    if not 0 <= share <= FULL_SHARE:
        raise InvalidInput(fields={"share": [f"Must be from 0 to {FULL_SHARE}."]})
    wallet, lot = lock_lot(transaction_id)
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    # Not lot.amount: part of the grant may have repaid a debt, and is spent all the same.
    brought = granted.change - granted.debt_change
    gone = lot.clawed_back + lot.debt_from_clawback + lot.expired_amount
    missing = _credits_of_share(brought, share) - gone
    if missing <= 0:
        return None
    taken = min(lot.remaining, missing)
    owed = missing - taken
    lot.remaining -= taken
    lot.clawed_back += taken
    lot.debt_from_clawback += owed
    lot.revoked_at = now
    lot.save(update_fields=["remaining", "clawed_back", "debt_from_clawback", "revoked_at"])
    return append_entry(
        wallet,
        kind=Kind.REVOCATION,
        change=-taken,
        debt_change=owed,
        lots=[(lot.id, -taken)] if taken else [],
        reason=reason,
        now=now,
        transaction_id=transaction_id,
    )


def reverse_clawback(*, transaction_id: str, reason: str, now: datetime) -> LedgerEntry | None:
    """A store refund was reversed: give back all that was taken for it.

    The lot gets what was taken out of it, and the debt goes that it made. What of that debt has
    been repaid meanwhile comes back into the lot too: the credits that repaid it need not have. A
    lot that has expired since lives on for the time that it had left when it was taken. Credits
    that come back into a superseded lot lapse at once.

    Returns the entry, or None where nothing is taken back (now): twice gives once. Raises NotFound
    where the transaction brought no lot.
    """
    wallet, lot = lock_lot(transaction_id)
    if lot.revoked_at is None:
        return None
    forgiven = min(lot.debt_from_clawback, wallet.debt)
    repaid = lot.debt_from_clawback - forgiven
    returned = lot.clawed_back + repaid
    restore_expiry(lot, away_since=lot.revoked_at, now=now)
    # It holds more than at first: what jobs spent of it may still be refunded into it.
    lot.amount += repaid
    lot.remaining += returned
    lot.clawed_back = lot.debt_from_clawback = 0
    lot.revoked_at = None
    lot.save(
        update_fields=[
            "amount",
            "remaining",
            "clawed_back",
            "debt_from_clawback",
            "revoked_at",
            "expires_at",
        ]
    )
    entry = append_entry(
        wallet,
        kind=Kind.REVERSAL,
        change=returned,
        debt_change=-forgiven,
        lots=[(lot.id, returned)] if returned else [],
        reason=reason,
        now=now,
        transaction_id=transaction_id,
    )
    if lot.superseded_at and returned:
        expire(wallet, lot, amount=returned, reason=expiry_reason(lot), now=now)
    return entry


def lock_lot(transaction_id: str) -> tuple[Wallet, Lot]:
    """The transaction's lot and the wallet that it is in by now, locked. Raises NotFound."""
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        raise NotFound
    wallet = lock_merge_target(Wallet.objects.select_for_update().get(id=lot.wallet_id))
    lot.refresh_from_db()
    return wallet, lot


def _credits_of_share(credits: int, share: int) -> int:
    exact = Decimal(credits) * share / FULL_SHARE
    return int(exact.to_integral_value(ROUND_HALF_DOWN))
