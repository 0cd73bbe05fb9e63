"""Two wallets become one."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from uuid import UUID

from credits.errors import AccountSuspended
from credits.models import Kind, LedgerEntry, Lot, Source, Wallet, WalletState
from credits.services.charges import debt_repaid_from
from credits.services.clawbacks import lock_lot
from credits.services.entries import append_entry, expire
from credits.services.superseded import expiry_reason
from credits.services.wallets import lock_wallets
from rendio.common.errors import Unauthorized


def merge(*, from_user_id: UUID, into_user_id: UUID, now: datetime) -> None:
    """Everything of one wallet becomes the other's, and the first is closed. Twice is as once.

    All lots move, the empty ones too: a job that was paid from them may still be refunded. A debt
    moves as a debt. Two welcomes do not add up, nor does a code that both have redeemed: what is
    left of the first wallet's lapses, what it repaid of a debt is owed again, and what jobs return
    of it later is worth no more (credits.services.superseded). `lifetime_total` goes along, but for
    what lapsed. Raises NotFound, AccountSuspended, and Unauthorized where one of the two is closed
    for another reason.
    """
    wallets = lock_wallets(user_ids={from_user_id, into_user_id})
    source, target = wallets[from_user_id], wallets[into_user_id]
    if source.merged_into_id == target.id:
        return
    if WalletState.SUSPENDED in {source.state, target.state}:
        raise AccountSuspended
    if WalletState.CLOSED in {source.state, target.state} or source.id == target.id:
        raise Unauthorized
    expired = _supersede_welcome(source, target, now=now)
    expired += _supersede_codes(source, target, now=now)
    lots = [(lot.id, lot.remaining) for lot in source.lots.order_by("id")]
    held = [(lot_id, remaining) for lot_id, remaining in lots if remaining]
    balance, debt = source.balance, source.debt
    source.lots.update(wallet=target)
    source.redemptions.update(wallet=target)
    target.lifetime_total += source.lifetime_total - expired
    source.lifetime_total = expired
    if balance or debt:
        append_entry(
            source,
            kind=Kind.TRANSFER,
            change=-balance,
            debt_change=-debt,
            lots=[(lot_id, -remaining) for lot_id, remaining in held],
            reason="moved to the account",
            now=now,
        )
        append_entry(
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


def supersede_purchase(*, transaction_id: str, now: datetime) -> int:
    """Make what is left of the credits that a transaction brought worth nothing, after a merge.

    Joins the caller's transaction. Returns how many credits lapsed; a debt that the transaction had
    repaid is owed again. Raises NotFound where the transaction brought no lot.
    """
    wallet, lot = lock_lot(transaction_id)
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    reason = expiry_reason(lot)
    expired = _supersede(wallet, lot, reason=reason, now=now)
    _restore_debt(wallet, -granted.debt_change, reason=reason, now=now)
    return expired


def _supersede_welcome(source: Wallet, target: Wallet, *, now: datetime) -> int:
    """Lapse the source's welcome if the target has had one; returns how many credits lapsed."""
    welcome = {"source": Source.WELCOME, "superseded_at": None}
    lot = source.lots.filter(**welcome).first()
    if lot is None or not target.lots.filter(**welcome).exists():
        return 0
    return _supersede(source, lot, reason="second welcome", now=now)


def _supersede_codes(source: Wallet, target: Wallet, *, now: datetime) -> int:
    """Lapse what the source's redemptions brought that one person may not have had besides the
    target's; returns how many credits lapsed."""
    expired = 0
    used = Counter(target.redemptions.values_list("code_id", flat=True))
    for redemption in source.redemptions.select_related("code", "entry").order_by("id"):
        used[redemption.code_id] += 1
        if used[redemption.code_id] <= redemption.code.max_per_user:
            continue
        # Without the code: staff who may not know codes read it too.
        reason = "second promotion code"
        for lot in Lot.objects.filter(id__in=[lot_id for lot_id, _ in redemption.entry.lots]):
            expired += _supersede(source, lot, reason=reason, now=now)
        _restore_debt(source, -redemption.entry.debt_change, reason=reason, now=now)
    return expired


def _supersede(wallet: Wallet, lot: Lot, *, reason: str, now: datetime) -> int:
    """What is left of a lot lapses for good; returns how much it was."""
    expired = lot.remaining
    lot.superseded_at = now
    lot.save(update_fields=["superseded_at"])
    if expired:
        expire(wallet, lot, amount=expired, reason=reason, now=now)
    _restore_debt(wallet, debt_repaid_from(lot, wallet=wallet), reason=reason, now=now)
    return expired


def _restore_debt(wallet: Wallet, amount: int, *, reason: str, now: datetime) -> None:
    """A debt that superseded credits repaid. Else a store refund that is reversed later would give
    them back as bought ones."""
    if amount:
        append_entry(
            wallet,
            kind=Kind.EXPIRY,
            change=0,
            debt_change=amount,
            lots=[],
            reason=reason,
            now=now,
        )
