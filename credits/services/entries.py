"""Building blocks of every change to a locked wallet: add a lot, debit lots, expire credits, append
the ledger entry. Only the other modules of credits.services call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Sum

from credits.errors import LedgerBroken
from credits.models import PAID_SOURCES, Kind, LedgerEntry, Lot, Source, Wallet
from rendio.common.background import changes
from rendio.common.db import prepared_cursor
from rendio.common.errors import InvalidInput
from rendio.common.ids import uuid7
from rendio.common.observability import metrics


def add_lot(
    wallet: Wallet,
    *,
    kind: Kind,
    amount: int,
    source: Source,
    reason: str,
    now: datetime,
    expires_at: datetime | None = None,
    transaction_id: str | None = None,
    acting_user_id: UUID | None = None,
) -> LedgerEntry:
    """Repay debt from `amount`, add a lot with the rest, and append the entry.

    Granted credits that nobody paid for expire at once where they exceed MAX_GRANTED_BALANCE. The
    expiry is an entry of its own, so that the user sees both.
    """
    if amount <= 0:
        raise InvalidInput(fields={"amount": ["Must be more than 0."]})
    repaid = min(wallet.debt, amount)
    kept = amount - repaid
    lot = Lot.objects.create(
        wallet=wallet,
        source=source,
        amount=kept,
        remaining=kept,
        expires_at=expires_at,
        transaction_id=transaction_id,
    )
    entry = append_entry(
        wallet,
        kind=kind,
        change=kept,
        debt_change=-repaid,
        lots=[(lot.id, kept)] if kept else [],
        granted=amount,
        reason=reason,
        now=now,
        transaction_id=transaction_id,
        acting_user_id=acting_user_id,
    )
    if kind == Kind.GRANT and source not in PAID_SOURCES and settings.MAX_GRANTED_BALANCE:
        _expire_above_limit(wallet, lot, now=now)
    return entry


def _expire_above_limit(wallet: Wallet, lot: Lot, *, now: datetime) -> None:
    """Lots that were paid for neither count towards the limit nor expire because of it."""
    total = wallet.lots.exclude(source__in=PAID_SOURCES).aggregate(credits=Sum("remaining"))
    excess = min(total["credits"] - settings.MAX_GRANTED_BALANCE, lot.remaining)
    if excess > 0:
        expire(wallet, lot, amount=excess, reason="above the maximum balance", now=now)


def append_entry(
    wallet: Wallet,
    *,
    kind: Kind,
    change: int,
    lots: Iterable[tuple[UUID, int]],
    reason: str,
    now: datetime,
    debt_change: int = 0,
    granted: int = 0,
    job_id: UUID | None = None,
    transaction_id: str | None = None,
    acting_user_id: UUID | None = None,
) -> LedgerEntry:
    """Update the locked wallet and append the entry. The caller has changed the lots already."""
    wallet.balance += change
    wallet.debt += debt_change
    wallet.lifetime_total += granted
    wallet.entry_count += 1
    wallet.save(update_fields=["balance", "debt", "lifetime_total", "entry_count"])
    metrics.count_credits(kind, change)
    announce(wallet)
    return LedgerEntry.objects.create(
        wallet=wallet,
        number=wallet.entry_count,
        kind=kind,
        change=change,
        balance_after=wallet.balance,
        debt_change=debt_change,
        debt_after=wallet.debt,
        lots=[[str(lot_id), lot_change] for lot_id, lot_change in lots],
        reason=reason,
        job_id=job_id,
        transaction_id=transaction_id,
        actor_id=acting_user_id,
        created_at=now,
    )


def expire(wallet: Wallet, lot: Lot, *, amount: int, reason: str, now: datetime) -> None:
    """Expire `amount` of a lot's remainder."""
    lot.remaining -= amount
    lot.expired_amount += amount
    lot.save(update_fields=["remaining", "expired_amount"])
    append_entry(
        wallet,
        kind=Kind.EXPIRY,
        change=-amount,
        lots=[(lot.id, -amount)],
        reason=reason,
        now=now,
    )


def restore_expiry(lot: Lot, *, away_since: datetime, now: datetime) -> None:
    """Give a lot that has expired the time back that it had left at `away_since`. The caller saves
    the lot.

    No more than that: otherwise jobs that fail would extend a promotion.
    """
    if lot.expires_at and lot.expires_at <= now:
        lot.expires_at = now + max(lot.expires_at - away_since, timedelta(0))


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Raise LedgerBroken and ValueError for the errors of `credits_debit` and `credits_refund`
    (credits/sql)."""
    try:
        yield
    except DatabaseError as error:
        match getattr(error.__cause__, "sqlstate", None):
            case "RD001":
                raise LedgerBroken(str(error)) from error
            case "RD002":
                raise ValueError(str(error)) from error
        raise


def debit(
    wallet: Wallet,
    *,
    kind: Kind,
    amount: int,
    reason: str,
    now: datetime,
    job_id: UUID | None = None,
    acting_user_id: UUID | None = None,
) -> UUID:
    """Debit `amount` from a locked wallet's lots, earliest expiry first; return the entry's id."""
    entry_id = uuid7()
    wallet.balance -= amount
    wallet.entry_count += 1
    with ledger_errors(), prepared_cursor() as cursor:
        cursor.execute(
            "SELECT credits_debit(%s, %s, %s, %s, %s, %s, %s, %s)",
            [entry_id, wallet.id, kind.value, amount, reason, job_id, acting_user_id, now],
        )
    metrics.count_credits(kind, -amount)
    announce(wallet)
    return entry_id


def announce(wallet: Wallet) -> None:
    """Announce a change of the balance on commit."""
    # The wallet of a deleted account has no user.
    if wallet.user_id:
        changes.announce_on_commit(wallet.user_id)
