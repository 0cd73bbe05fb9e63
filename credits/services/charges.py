"""Charge the price of a job at its order and refund it if the job ends without its video."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from credits.errors import InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services import superseded
from credits.services.entries import append_entry, debit, expire, restore_expiry
from credits.services.wallets import check_can_spend, lock_wallet
from rendio.common.observability import metrics


def charge(*, wallet: Wallet, amount: int, job_id: UUID, now: datetime) -> UUID:
    """Charge a job's price to a locked wallet; return the id of the ledger entry.

    Lots are spent in the order of their expiry, the earliest first. A second charge for the same
    job raises IntegrityError. Raises like `check_can_charge`.
    """
    check_can_charge(wallet, amount)
    return debit(
        wallet, kind=Kind.CHARGE, amount=amount, reason="generation", now=now, job_id=job_id
    )


def check_can_charge(wallet: Wallet, amount: int) -> None:
    """Raises InsufficientCredits (amounts in credits; `debt` is set while the wallet owes),
    AccountSuspended, Unauthorized.

    For a locked wallet, after which `credits_debit` may be called (credits/sql).
    """
    check_can_spend(wallet)
    if wallet.debt:
        raise InsufficientCredits(required=amount, available=wallet.balance, debt=wallet.debt)
    if wallet.balance < amount:
        raise InsufficientCredits(required=amount, available=wallet.balance)


def count_charge(amount: int) -> None:
    """Count a charge that a function of the database has made, after its commit."""
    metrics.count_credits(Kind.CHARGE, -amount)


def refund(
    *,
    user_id: UUID,
    job_id: UUID,
    reason: str,
    now: datetime,
    acting_user_id: UUID | None = None,
    fee: int = 0,
    cancelled: bool = False,
) -> LedgerEntry:
    """Refund a job's price, less `fee` credits. A second call returns the first refund.

    The credits return to the lots that they were charged to, also after a merge has moved these
    lots. A lot that has expired since the charge gets the time back that it had left then. If the
    wallet owes, the refund repays the debt first. The fee is taken from the lots that were spent
    first.

    `cancelled`: the user cancelled the job. Credits that return to superseded lots then expire at
    once (credits.services.superseded). Raises ValueError for a fee above the price.
    """
    wallet = lock_wallet(user_id=user_id, through_merge=True)
    if entry := LedgerEntry.objects.filter(job_id=job_id, kind=Kind.REFUND).first():
        return entry
    charged = LedgerEntry.objects.filter(job_id=job_id, kind=Kind.CHARGE).first()
    if charged is None:
        raise LedgerBroken(f"no charge for job {job_id}")
    parts = refundable_parts(charged, fee=fee)
    repaid = owed = min(wallet.debt, sum(part for lot, part in parts if lot.superseded_at is None))
    changed: list[tuple[UUID, int]] = []
    # Lots that were clawed back repay first: the debt may be for their own credits.
    for lot, part in sorted(parts, key=lambda item: (not item[0].debt_from_clawback, item[0].id)):
        paid = min(owed, part) if lot.superseded_at is None else 0
        owed -= paid
        if back := part - paid:
            lot.remaining += back
            restore_expiry(lot, away_since=charged.created_at, now=now)
            lot.save(update_fields=["remaining", "expires_at"])
            changed.append((lot.id, back))
    entry = append_entry(
        wallet,
        kind=Kind.REFUND,
        change=-charged.change - fee - repaid,
        debt_change=-repaid,
        lots=changed,
        reason=reason,
        now=now,
        job_id=job_id,
        acting_user_id=acting_user_id,
    )
    if cancelled:
        for lot, part in parts:
            if lot.superseded_at and part:
                expire(wallet, lot, amount=part, reason=superseded.expiry_reason(lot), now=now)
    superseded.expire_excess(wallet, now=now)
    return entry


def refundable_parts(charged: LedgerEntry, *, fee: int) -> list[tuple[Lot, int]]:
    """Return (lot, amount to refund) in the order in which lots are spent. The first lots bear the
    fee, as if only the fee had been charged.
    """
    if not 0 <= fee <= -charged.change:
        raise ValueError(f"a fee of {fee} credits for a price of {-charged.change}")
    taken = {UUID(lot_id): -change for lot_id, change in charged.lots}
    never = datetime.max.replace(tzinfo=UTC)
    lots = Lot.objects.filter(id__in=taken)
    parts = []
    for lot in sorted(lots, key=lambda lot: (lot.expires_at or never, lot.id)):
        kept = min(fee, taken[lot.id])
        fee -= kept
        parts.append((lot, taken[lot.id] - kept))
    return parts


def debt_repaid_from(lot: Lot, *, wallet: Wallet) -> int:
    """Return how much of the wallet's debt job refunds have repaid with credits of this lot."""
    repaid = 0
    for entry in wallet.entries.filter(kind=Kind.REFUND, debt_change__lt=0):
        charged = LedgerEntry.objects.get(job_id=entry.job_id, kind=Kind.CHARGE)
        fee = -charged.change - entry.change + entry.debt_change
        due = {part.id: amount for part, amount in refundable_parts(charged, fee=fee)}
        returned = {UUID(lot_id): change for lot_id, change in entry.lots}
        repaid += due.get(lot.id, 0) - returned.get(lot.id, 0)
    return repaid
