"""Charge the price of a job at its order and refund it if the job ends without its video."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

from django.db.models import F

from credits.errors import InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Wallet
from credits.services import superseded
from credits.services.entries import announce, debit, expire, ledger_errors
from credits.services.wallets import check_can_spend, lock_wallet
from rendio.common.db import prepared_cursor
from rendio.common.ids import uuid7
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
    entry_id = uuid7()
    parameters = [entry_id, wallet.id, job_id, fee, reason, acting_user_id, now]
    with ledger_errors():
        [entry] = LedgerEntry.objects.raw(_REFUND, parameters)
    if entry.id is None:
        raise LedgerBroken(f"no charge for job {job_id}")
    if entry.id != entry_id:
        return entry
    metrics.count_credits(Kind.REFUND, entry.change)
    announce(wallet)
    if vars(entry)["has_superseded"]:
        wallet.refresh_from_db()
        if cancelled:
            _expire_superseded(wallet, entry, now=now)
        superseded.expire_excess(wallet, now=now)
    return entry


_REFUND = """
SELECT (refund.entry).*, refund.has_superseded
FROM credits_refund(%s, %s, %s, %s, %s, %s, %s) refund
"""


def _expire_superseded(wallet: Wallet, refunded: LedgerEntry, *, now: datetime) -> None:
    """Expire what a cancelled job has returned to superseded lots."""
    returned = {UUID(lot_id): part for lot_id, part in refunded.lots}
    for lot in (
        Lot.objects.filter(id__in=returned)
        .exclude(superseded_at=None)
        .order_by(F("expires_at").asc(nulls_last=True), "id")
    ):
        expire(wallet, lot, amount=returned[lot.id], reason=superseded.expiry_reason(lot), now=now)


def debt_repaid_from(lot: Lot, *, wallet: Wallet) -> int:
    """Return how much of the wallet's debt job refunds have repaid with credits of this lot."""
    repaid = 0
    for entry in wallet.entries.filter(kind=Kind.REFUND, debt_change__lt=0):
        charged = LedgerEntry.objects.get(job_id=entry.job_id, kind=Kind.CHARGE)
        fee = -charged.change - entry.change + entry.debt_change
        due = _refundable_parts(charged, fee=fee)
        returned = {UUID(lot_id): change for lot_id, change in entry.lots}
        repaid += due.get(lot.id, 0) - returned.get(lot.id, 0)
    return repaid


def _refundable_parts(charged: LedgerEntry, *, fee: int) -> dict[UUID, int]:
    """Lot ids, and the credits that a refund of the charge gives back to each, less the fee."""
    with prepared_cursor() as cursor:
        cursor.execute(
            "SELECT lot_id, part FROM credits_refundable_parts(%s, %s)",
            [json.dumps(charged.lots), fee],
        )
        return dict(cursor.fetchall())
