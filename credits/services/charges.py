"""A job's price: taken at its order, given back where it ends without its video."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from credits.errors import InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services import superseded
from credits.services.entries import append_entry, debit, expire, restore_expiry
from credits.services.wallets import check_can_spend, lock_wallet


def charge(*, wallet: Wallet, amount: int, job_id: UUID, now: datetime) -> UUID:
    """Take a job's price from a locked wallet, soonest-expiring lots first; returns the entry's id.

    One SQL statement. Once for a job: the database refuses a second charge (IntegrityError). Raises
    InsufficientCredits (numbers in credits; `debt` stands in it while the wallet owes),
    AccountSuspended, Unauthorized.
    """
    check_can_spend(wallet)
    if wallet.debt:
        raise InsufficientCredits(required=amount, available=wallet.balance, debt=wallet.debt)
    if wallet.balance < amount:
        raise InsufficientCredits(required=amount, available=wallet.balance)
    return debit(
        wallet, kind=Kind.CHARGE, amount=amount, reason="generation", now=now, job_id=job_id
    )


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
    """Give a job's price back but for `fee` credits, once: a second call returns the first refund.

    It returns to the lots that it came from, which a merge has moved with everything else; one that
    has expired meanwhile lives on for the time that it had left at the charge. Where the wallet
    owes, the debt is repaid first. A fee stays with the lots that were spent first.

    `cancelled` says that the job's user took it back: then the credits of superseded lots lapse at
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
    touched: list[tuple[UUID, int]] = []
    # The debt may be for these very credits: a lot that the store has refunded repays it first.
    for lot, part in sorted(parts, key=lambda item: (not item[0].debt_from_clawback, item[0].id)):
        paid = min(owed, part) if lot.superseded_at is None else 0
        owed -= paid
        if back := part - paid:
            lot.remaining += back
            restore_expiry(lot, away_since=charged.created_at, now=now)
            lot.save(update_fields=["remaining", "expires_at"])
            touched.append((lot.id, back))
    entry = append_entry(
        wallet,
        kind=Kind.REFUND,
        change=-charged.change - fee - repaid,
        debt_change=-repaid,
        lots=touched,
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
    """What goes back to each lot, in the order in which lots are spent. The first bear the fee, as
    if the fee alone had been charged."""
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
    """How much of the wallet's debt was repaid by job refunds with credits of this lot."""
    repaid = 0
    for entry in wallet.entries.filter(kind=Kind.REFUND, debt_change__lt=0):
        charged = LedgerEntry.objects.get(job_id=entry.job_id, kind=Kind.CHARGE)
        fee = -charged.change - entry.change + entry.debt_change
        due = {part.id: amount for part, amount in refundable_parts(charged, fee=fee)}
        returned = {UUID(lot_id): change for lot_id, change in entry.lots}
        repaid += due.get(lot.id, 0) - returned.get(lot.id, 0)
    return repaid
