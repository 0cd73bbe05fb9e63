"""Every change of credits.

Each function takes the wallet's row lock first (Django refuses the lock where no transaction is
open), changes balance and lots, and appends the entry that says so. All join the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from credits.errors import AccountSuspended, InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Source, Wallet, WalletState
from rendio.common.errors import InvalidInput, NotFound, Unauthorized
from rendio.common.ids import uuid7

__all__ = [
    "AccountSuspended",
    "Balance",
    "InsufficientCredits",
    "LedgerBroken",
    "Source",
    "adjust",
    "balance_of",
    "charge",
    "grant",
    "lapse_expired",
    "lock_wallet",
    "open_wallet",
    "refund",
    "resume",
    "suspend",
    "take_back",
]


@dataclass(frozen=True)
class Balance:
    """All in credits; `lifetime_total` is what was ever granted."""

    balance: int
    debt: int
    lifetime_total: int


def balance_of(user_id: UUID) -> Balance:
    """What the user has now, without a lock. Raises NotFound where there is no wallet."""
    row = (
        Wallet.objects.filter(user_id=user_id)
        .values_list("balance", "debt", "lifetime_total")
        .first()
    )
    if row is None:
        raise NotFound
    return Balance(*row)


def open_wallet(*, user_id: UUID) -> UUID:
    """Give a new user an empty wallet; returns its id."""
    return Wallet.objects.create(user_id=user_id).id


def lock_wallet(*, user_id: UUID) -> Wallet:
    """The user's wallet, locked until the transaction ends. Raises NotFound."""
    try:
        return Wallet.objects.select_for_update().get(user_id=user_id)
    except Wallet.DoesNotExist:
        raise NotFound from None


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

    With a `transaction_id` (Apple's) a second call returns the first entry.
    """
    wallet = lock_wallet(user_id=user_id)
    if transaction_id and (
        entry := LedgerEntry.objects.filter(transaction_id=transaction_id, kind=Kind.GRANT).first()
    ):
        return entry
    return _give(
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


def charge(*, wallet: Wallet, amount: int, job_id: UUID, now: datetime) -> UUID:
    """Take a job's price from a locked wallet, soonest-expiring lots first; returns the entry's id.

    One SQL statement. Once for a job: the database refuses a second charge (IntegrityError). Raises
    InsufficientCredits (numbers in credits; `debt` stands in it while the wallet owes),
    AccountSuspended.
    """
    if wallet.state == WalletState.SUSPENDED:
        raise AccountSuspended
    if wallet.state == WalletState.CLOSED:
        raise Unauthorized
    if wallet.debt:
        raise InsufficientCredits(required=amount, available=wallet.balance, debt=wallet.debt)
    if wallet.balance < amount:
        raise InsufficientCredits(required=amount, available=wallet.balance)
    return _take(
        wallet, kind=Kind.CHARGE, amount=amount, reason="generation", now=now, job_id=job_id
    )


def refund(*, user_id: UUID, job_id: UUID, reason: str, now: datetime) -> LedgerEntry:
    """Give a job's price back, once: a second call returns the first refund.

    It returns to the lots that it came from; where the wallet owes, the debt is repaid first (the
    debt may be for these very credits, after a store refund of the lot that the job had spent).
    """
    wallet = lock_wallet(user_id=user_id)
    if entry := LedgerEntry.objects.filter(job_id=job_id, kind=Kind.REFUND).first():
        return entry
    charged = LedgerEntry.objects.filter(job_id=job_id, kind=Kind.CHARGE).first()
    if charged is None:
        raise LedgerBroken(f"no charge for job {job_id}")
    repaid = min(wallet.debt, -charged.change)
    owed = repaid
    touched: list[tuple[UUID, int]] = []
    for lot_id, change in charged.lots:
        kept = min(owed, -change)
        owed -= kept
        if back := -change - kept:
            touched.append((UUID(lot_id), back))
    for lot in Lot.objects.filter(id__in=[lot_id for lot_id, _ in touched]):
        lot.remaining += dict(touched)[lot.id]
        lot.save(update_fields=["remaining"])
    return _append(
        wallet,
        kind=Kind.REFUND,
        change=-charged.change - repaid,
        debt_change=-repaid,
        lots=touched,
        reason=reason,
        now=now,
        job_id=job_id,
    )


def adjust(
    *, user_id: UUID, change: int, reason: str, acting_user_id: UUID, now: datetime
) -> LedgerEntry:
    """Support's correction: up as a lot of its own, down from the lots, never below zero.

    Raises InvalidInput for 0, InsufficientCredits where less is there than should be taken.
    """
    if change == 0:
        raise InvalidInput(fields={"amount": ["Must not be 0."]})
    wallet = lock_wallet(user_id=user_id)
    if change > 0:
        return _give(
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
    entry_id = _take(
        wallet,
        kind=Kind.ADJUSTMENT,
        amount=-change,
        reason=reason,
        now=now,
        acting_user_id=acting_user_id,
    )
    return LedgerEntry.objects.get(id=entry_id)


def take_back(
    *, transaction_id: str, reason: str, now: datetime, amount: int | None = None
) -> LedgerEntry:
    """A store refund: take the transaction's lot back, `amount` of it or all, once.

    What is left of the lot goes; what was spent of it becomes debt, which later grants repay. A
    second call returns the first entry. Raises NotFound where the transaction brought no lot.
    """
    lot = Lot.objects.select_related("wallet").filter(transaction_id=transaction_id).first()
    if lot is None:
        raise NotFound
    wallet = Wallet.objects.select_for_update().get(id=lot.wallet_id)
    if entry := LedgerEntry.objects.filter(
        transaction_id=transaction_id, kind=Kind.REVOCATION
    ).first():
        return entry
    lot.refresh_from_db()
    wanted = lot.amount if amount is None else min(amount, lot.amount)
    taken = min(lot.remaining, wanted)
    lot.remaining -= taken
    lot.revoked_at = now
    lot.save(update_fields=["remaining", "revoked_at"])
    return _append(
        wallet,
        kind=Kind.REVOCATION,
        change=-taken,
        debt_change=wanted - taken,
        lots=[(lot.id, -taken)] if taken else [],
        reason=reason,
        now=now,
        transaction_id=transaction_id,
    )


def lapse_expired(*, now: datetime, limit: int = 100) -> int:
    """Take what is left of lots whose time has come; returns how many lots.

    Until it has run, an expired lot can still be spent: the balance is what the user was shown.
    """
    due = list(
        Lot.objects.filter(remaining__gt=0, expires_at__lte=now)
        .order_by("expires_at")
        .values_list("id", "wallet_id")[:limit]
    )
    lapsed = 0
    # In one order for all: two sweeps at once then wait for each other instead of locking up.
    for lot_id, wallet_id in sorted(due, key=lambda row: (row[1], row[0])):
        wallet = Wallet.objects.select_for_update().get(id=wallet_id)
        lot = Lot.objects.get(id=lot_id)
        if not lot.remaining:
            continue
        taken, lot.remaining = lot.remaining, 0
        lot.save(update_fields=["remaining"])
        _append(
            wallet,
            kind=Kind.EXPIRY,
            change=-taken,
            lots=[(lot.id, -taken)],
            reason=f"{lot.source} credits expired",
            now=now,
        )
        lapsed += 1
    return lapsed


def suspend(*, user_id: UUID) -> None:
    """From now on the wallet spends nothing; refunds still arrive. Staff have none to suspend."""
    _set_state(user_id, expected=WalletState.OPEN, state=WalletState.SUSPENDED)


def resume(*, user_id: UUID) -> None:
    """A suspended wallet spends again."""
    _set_state(user_id, expected=WalletState.SUSPENDED, state=WalletState.OPEN)


def _set_state(user_id: UUID, *, expected: WalletState, state: WalletState) -> None:
    wallet = Wallet.objects.select_for_update().filter(user_id=user_id).first()
    if wallet and wallet.state == expected:
        wallet.state = state
        wallet.save(update_fields=["state"])


def _give(
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
    """A new lot of what is left of `amount` after debt, and its entry."""
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
    return _append(
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


def _append(
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
    """Move the locked wallet's numbers and write the entry; the lots have been changed already."""
    wallet.balance += change
    wallet.debt += debt_change
    wallet.lifetime_total += granted
    wallet.entry_count += 1
    wallet.save(update_fields=["balance", "debt", "lifetime_total", "entry_count"])
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


# One trip to the database instead of five: on the hot path trips are what costs. The wallet is
# locked by an earlier statement, so this one's snapshot sees every lot as the lock's last holder
# left it.
_TAKE = """
WITH spendable AS (
    SELECT id, remaining,
           sum(remaining) OVER (ORDER BY expires_at NULLS LAST, id) - remaining AS before
    FROM credits_lot
    WHERE wallet_id = %(wallet_id)s AND remaining > 0
), taken AS (
    UPDATE credits_lot lot
    SET remaining = lot.remaining - LEAST(s.remaining, %(amount)s - s.before)
    FROM spendable s
    WHERE lot.id = s.id AND s.before < %(amount)s
    RETURNING lot.id, LEAST(s.remaining, %(amount)s - s.before) AS amount
), wallet AS (
    UPDATE credits_wallet
    SET balance = balance - %(amount)s, entry_count = entry_count + 1
    WHERE id = %(wallet_id)s
)
INSERT INTO credits_ledgerentry (
    id, wallet_id, number, kind, change, balance_after, debt_change, debt_after,
    lots, reason, job_id, transaction_id, actor_id, created_at
)
SELECT %(id)s, %(wallet_id)s, %(number)s, %(kind)s, -%(amount)s, %(balance_after)s, 0, %(debt)s,
       all_taken.lots, %(reason)s, %(job_id)s, NULL, %(actor_id)s, %(now)s
FROM (
    SELECT jsonb_agg(jsonb_build_array(id, -amount)) AS lots, sum(amount) AS total FROM taken
) all_taken
WHERE all_taken.total = %(amount)s
"""


def _take(
    wallet: Wallet,
    *,
    kind: Kind,
    amount: int,
    reason: str,
    now: datetime,
    job_id: UUID | None = None,
    acting_user_id: UUID | None = None,
) -> UUID:
    """Take `amount` from a locked wallet's lots, soonest-expiring first; returns the entry's id."""
    entry_id = uuid7()
    wallet.balance -= amount
    wallet.entry_count += 1
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE,
            {
                "id": entry_id,
                "wallet_id": wallet.id,
                "number": wallet.entry_count,
                "kind": kind.value,
                "amount": amount,
                "balance_after": wallet.balance,
                "debt": wallet.debt,
                "reason": reason,
                "job_id": job_id,
                "actor_id": acting_user_id,
                "now": now,
            },
        )
        if cursor.rowcount != 1:
            raise LedgerBroken(f"the lots of wallet {wallet.id} do not add up to its balance")
    return entry_id
