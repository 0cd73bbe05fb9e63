"""A job's price: taken at its order, given back where it ends without its video."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from credits.errors import InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services.entries import append, give_time_back, take
from credits.services.wallets import lock_wallet, refuse_unless_open


def charge(*, wallet: Wallet, amount: int, job_id: UUID, now: datetime) -> UUID:
    """Take a job's price from a locked wallet, soonest-expiring lots first; returns the entry's id.

    One SQL statement. Once for a job: the database refuses a second charge (IntegrityError). Raises
    InsufficientCredits (numbers in credits; `debt` stands in it while the wallet owes),
    AccountSuspended, Unauthorized.
    """
    refuse_unless_open(wallet)
    if wallet.debt:
        raise InsufficientCredits(required=amount, available=wallet.balance, debt=wallet.debt)
    if wallet.balance < amount:
        raise InsufficientCredits(required=amount, available=wallet.balance)
    return take(
        wallet, kind=Kind.CHARGE, amount=amount, reason="generation", now=now, job_id=job_id
    )


def refund(
    *,
    user_id: UUID,
    job_id: UUID,
    reason: str,
    now: datetime,
    acting_user_id: UUID | None = None,
) -> LedgerEntry:
    """Give a job's price back, once: a second call returns the first refund.

    It returns to the lots that it came from, which a merge has moved with everything else; one that
    has expired meanwhile lives on for the time that it had left at the charge. Where the wallet
    owes, the debt is repaid first.
    """
    wallet = lock_wallet(user_id=user_id, through_merge=True)
    if entry := LedgerEntry.objects.filter(job_id=job_id, kind=Kind.REFUND).first():
        return entry
    charged = LedgerEntry.objects.filter(job_id=job_id, kind=Kind.CHARGE).first()
    if charged is None:
        raise LedgerBroken(f"no charge for job {job_id}")
    repaid = owed = min(wallet.debt, -charged.change)
    parts = {UUID(lot_id): -change for lot_id, change in charged.lots}
    touched: list[tuple[UUID, int]] = []
    # The debt may be for these very credits: a lot that the store has refunded repays it first.
    for lot in sorted(Lot.objects.filter(id__in=parts), key=lambda lot: (not lot.owed, lot.id)):
        kept = min(owed, parts[lot.id])
        owed -= kept
        if back := parts[lot.id] - kept:
            lot.remaining += back
            give_time_back(lot, away_since=charged.created_at, now=now)
            lot.save(update_fields=["remaining", "expires_at"])
            touched.append((lot.id, back))
    return append(
        wallet,
        kind=Kind.REFUND,
        change=-charged.change - repaid,
        debt_change=-repaid,
        lots=touched,
        reason=reason,
        now=now,
        job_id=job_id,
        acting_user_id=acting_user_id,
    )
