"""Claw back credits when the App Store refunds a purchase; restore them when the refund is
reversed.

Callers pass the total share that is refunded so far: a state, not a step. Calls may therefore
repeat, arrive late, or pass a growing share. Each call books only the difference. Which share:
billing/services/grants.py.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_DOWN, Decimal

from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services.entries import append_entry, expire, restore_expiry
from credits.services.superseded import expiry_reason
from credits.services.wallets import lock_merge_target
from rendio.common.errors import InvalidInput, NotFound

# 100 %, in Apple's unit: thousandths of a percent.
FULL_SHARE = 100_000


def claw_back(
    *, transaction_id: str, reason: str, now: datetime, share: int = FULL_SHARE
) -> LedgerEntry | None:
    """Claw back a share of what the transaction granted, less what has been clawed back before.

    `share` is the total refunded so far, in thousandths of a percent (Apple: revocationPercentage
    is what "the App Store has refunded"). What is left of the lot is removed. What was spent
    becomes debt, which later grants repay. Expired credits count as removed already. A share that
    is no larger than before changes nothing.

    Apple rounds the share, 1 of 3 to 33333. We round to whole credits, a half in the customer's
    favour. The total is rounded, not each step, so that several partial refunds add up to the whole
    amount.

    Return the entry, or None if nothing was missing. Raises NotFound if the transaction granted no
    lot, InvalidInput for a share outside 0 to 100000.
    """
    if not 0 <= share <= FULL_SHARE:
        raise InvalidInput(fields={"share": [f"Must be from 0 to {FULL_SHARE}."]})
    wallet, lot = lock_lot(transaction_id)
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    # Not lot.amount: the part of the grant that repaid a debt counts as spent.
    brought = granted.change - granted.debt_change
    booked = lot.clawed_back + lot.debt_from_clawback + lot.expired_amount
    missing = _credits_of_share(brought, share) - booked
    if missing <= 0:
        return None
    removed = min(lot.remaining, missing)
    debt = missing - removed
    lot.remaining -= removed
    lot.clawed_back += removed
    lot.debt_from_clawback += debt
    lot.revoked_at = now
    lot.save(update_fields=["remaining", "clawed_back", "debt_from_clawback", "revoked_at"])
    return append_entry(
        wallet,
        kind=Kind.REVOCATION,
        change=-removed,
        debt_change=debt,
        lots=[(lot.id, -removed)] if removed else [],
        reason=reason,
        now=now,
        transaction_id=transaction_id,
    )


def reverse_clawback(*, transaction_id: str, reason: str, now: datetime) -> LedgerEntry | None:
    """Restore everything that was clawed back for a transaction.

    The lot gets back what was removed from it, and the debt from the clawback is cancelled. Where
    that debt has been repaid meanwhile, the repaid credits go into the lot too. A lot that has
    expired since gets the time back that it had left at the clawback. Credits that return to a
    superseded lot expire at once.

    Return the entry, or None if nothing is clawed back, so that a second call changes nothing.
    Raises NotFound if the transaction granted no lot.
    """
    wallet, lot = lock_lot(transaction_id)
    if lot.revoked_at is None:
        return None
    forgiven = min(lot.debt_from_clawback, wallet.debt)
    repaid = lot.debt_from_clawback - forgiven
    returned = lot.clawed_back + repaid
    restore_expiry(lot, away_since=lot.revoked_at, now=now)
    # The lot may now hold more than its grant: refunds of jobs may still return credits to it.
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
    """Lock the transaction's lot and the wallet that holds it after merges. Raises NotFound."""
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        raise NotFound
    wallet = lock_merge_target(Wallet.objects.select_for_update().get(id=lot.wallet_id))
    lot.refresh_from_db()
    return wallet, lot


def _credits_of_share(credits: int, share: int) -> int:
    exact = Decimal(credits) * share / FULL_SHARE
    return int(exact.to_integral_value(ROUND_HALF_DOWN))
