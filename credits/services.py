"""Every change of credits.

Each function takes the wallet's row lock first (Django refuses the lock where no transaction is
open), changes balance and lots, and appends the entry that says so. All join the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from credits.errors import AccountSuspended, InsufficientCredits, LedgerBroken
from credits.models import Kind, LedgerEntry, Lot, Source, Wallet, WalletState
from rendio.common.db import CompiledQuery, prepared_cursor
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
    "close",
    "grant",
    "lapse_expired",
    "lock_wallet",
    "lock_wallets",
    "merge",
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


_locked_wallet = CompiledQuery(
    lambda user_id: Wallet.objects.select_for_update().filter(user_id=user_id)
)


def lock_wallet(*, user_id: UUID, through_merge: bool = False) -> Wallet:
    """The user's wallet, locked until the transaction ends. Raises NotFound.

    `through_merge` is for credits that arrive: of a guest who was merged it gives the account's
    wallet, also where the merge was only just waited for.
    """
    wallet = _locked_wallet.first(user_id)
    if wallet is None:
        raise NotFound
    return _through_merge(wallet) if through_merge else wallet


def lock_wallets(*, user_ids: Collection[UUID]) -> dict[UUID, Wallet]:
    """Several users' wallets, locked in the order of their ids: merges at once then wait for each
    other instead of locking up. Raises NotFound where one is missing."""
    wallets = Wallet.objects.select_for_update().filter(user_id__in=user_ids).order_by("id")
    found = {wallet.user_id: wallet for wallet in wallets if wallet.user_id}
    if len(found) < len(set(user_ids)):
        raise NotFound
    return found


def _through_merge(wallet: Wallet) -> Wallet:
    """From a locked wallet to the one that it was merged into, locked too.

    Nobody holds the latter and waits for the former: after the merge the former is only ever
    locked on this way.
    """
    while wallet.merged_into_id:
        wallet = Wallet.objects.select_for_update().get(id=wallet.merged_into_id)
    return wallet


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

    With a `transaction_id` (Apple's) a second call returns the first entry. What is given to a
    guest who was merged arrives at the account.
    """
    wallet = lock_wallet(user_id=user_id, through_merge=True)
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

    It returns to the lots that it came from, which a merge has moved with everything else; where
    the wallet owes, the debt is repaid first (the debt may be for these very credits, after a store
    refund of the lot that the job had spent).
    """
    wallet = lock_wallet(user_id=user_id, through_merge=True)
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
    wallet = lock_wallet(user_id=user_id, through_merge=True)
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
    wallet = _through_merge(Wallet.objects.select_for_update().get(id=lot.wallet_id))
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
    return _append(
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
        if not lot.remaining or lot.wallet_id != wallet_id:
            continue  # spent meanwhile, or moved by a merge: the next sweep finds it there
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


def merge(*, from_user_id: UUID, into_user_id: UUID, now: datetime) -> None:
    """Everything of one wallet becomes the other's, and the first is closed. Twice is as once.

    All lots move, the empty ones too: a job that was paid from them may still be refunded. A debt
    moves as a debt. Two welcomes do not add up: where both wallets had one, what is left of the
    first's lapses; what was spent of it and is refunded later comes back. `lifetime_total` goes
    along, but for what lapsed. Raises NotFound, AccountSuspended, and Unauthorized where one of
    the two is closed for another reason.
    """
    wallets = lock_wallets(user_ids={from_user_id, into_user_id})
    source, target = wallets[from_user_id], wallets[into_user_id]
    if source.merged_into_id == target.id:
        return
    if WalletState.SUSPENDED in {source.state, target.state}:
        raise AccountSuspended
    if WalletState.CLOSED in {source.state, target.state} or source.id == target.id:
        raise Unauthorized
    lapsed = _supersede_welcome(source, target, now=now)
    lots = [(lot.id, lot.remaining) for lot in source.lots.order_by("id")]
    held = [(lot_id, remaining) for lot_id, remaining in lots if remaining]
    balance, debt = source.balance, source.debt
    source.lots.update(wallet=target)
    target.lifetime_total += source.lifetime_total - lapsed
    source.lifetime_total = lapsed
    if balance or debt:
        _append(
            source,
            kind=Kind.TRANSFER,
            change=-balance,
            debt_change=-debt,
            lots=[(lot_id, -remaining) for lot_id, remaining in held],
            reason="moved to the account",
            now=now,
        )
        _append(
            target,
            kind=Kind.TRANSFER,
            change=balance,
            debt_change=debt,
            lots=held,
            reason="moved from a guest",
            now=now,
        )
    source.state = WalletState.CLOSED
    source.merged_into = target
    source.save(update_fields=["state", "merged_into", "lifetime_total"])
    target.save(update_fields=["lifetime_total"])


def _supersede_welcome(source: Wallet, target: Wallet, *, now: datetime) -> int:
    """Lapse the source's welcome if the target has had one; returns how many credits lapsed."""
    welcome = {"source": Source.WELCOME, "superseded_at": None}
    lot = source.lots.filter(**welcome).first()
    if lot is None or not target.lots.filter(**welcome).exists():
        return 0
    lapsed, lot.remaining, lot.superseded_at = lot.remaining, 0, now
    lot.save(update_fields=["remaining", "superseded_at"])
    if lapsed:
        _append(
            source,
            kind=Kind.EXPIRY,
            change=-lapsed,
            lots=[(lot.id, -lapsed)],
            reason="second welcome",
            now=now,
        )
    return lapsed


def suspend(*, user_id: UUID) -> None:
    """From now on the wallet spends nothing; refunds still arrive. Staff have none to suspend."""
    _set_state(user_id, expected=WalletState.OPEN, state=WalletState.SUSPENDED)


def resume(*, user_id: UUID) -> None:
    """A suspended wallet spends again."""
    _set_state(user_id, expected=WalletState.SUSPENDED, state=WalletState.OPEN)


def close(*, user_id: UUID) -> None:
    """The owner has left: nothing is spent any more; refunds still arrive, and are nobody's."""
    Wallet.objects.select_for_update().filter(user_id=user_id).first()
    Wallet.objects.filter(user_id=user_id).update(state=WalletState.CLOSED)


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
    with prepared_cursor() as cursor:
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
