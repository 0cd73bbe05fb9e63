"""Merge two wallets."""

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
    """Move everything from one wallet to the other and close the first. A second call changes
    nothing.

    All lots move, also empty ones: a job that was paid from them may still be refunded. Debt moves
    too. Welcome grants do not add up, nor do redemptions of the same code above its limit per user:
    the first wallet's lot is superseded. What is left of a superseded lot expires, a debt that the
    lot repaid is owed again, and refunds into the lot are limited (credits.services.superseded).
    `lifetime_total` moves without what expired. Raises NotFound, AccountSuspended, and Unauthorized
    if a wallet is closed for another reason.
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
    nonempty = [(lot_id, remaining) for lot_id, remaining in lots if remaining]
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
            lots=[(lot_id, -remaining) for lot_id, remaining in nonempty],
            reason="moved to the account",
            now=now,
        )
        append_entry(
            target,
            kind=Kind.TRANSFER,
            change=balance,
            debt_change=debt,
            lots=nonempty,
            reason="moved from a guest",
            now=now,
        )
    source.state = WalletState.CLOSED
    source.merged_into = target
    source.save(update_fields=["state", "merged_into", "lifetime_total"])
    target.save(update_fields=["lifetime_total"])


def supersede_purchase(*, transaction_id: str, now: datetime) -> int:
    """Supersede the lot of a transaction after a merge; return how many credits expired.

    Joins the caller's transaction. A debt that the transaction repaid is owed again. Raises
    NotFound if the transaction granted no lot.
    """
    wallet, lot = lock_lot(transaction_id)
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    reason = expiry_reason(lot)
    expired = _supersede(wallet, lot, reason=reason, now=now)
    _restore_debt(wallet, -granted.debt_change, reason=reason, now=now)
    return expired


def _supersede_welcome(source: Wallet, target: Wallet, *, now: datetime) -> int:
    """Supersede the source's welcome lot if the target has one; return how many credits expired."""
    welcome = {"source": Source.WELCOME, "superseded_at": None}
    lot = source.lots.filter(**welcome).first()
    if lot is None or not target.lots.filter(**welcome).exists():
        return 0
    return _supersede(source, lot, reason="second welcome", now=now)


def _supersede_codes(source: Wallet, target: Wallet, *, now: datetime) -> int:
    """Supersede the lots of the source's redemptions that exceed a code's limit per user together
    with the target's; return how many credits expired.
    """
    expired = 0
    used = Counter(target.redemptions.values_list("code_id", flat=True))
    for redemption in source.redemptions.select_related("code", "entry").order_by("id"):
        used[redemption.code_id] += 1
        if used[redemption.code_id] <= redemption.code.max_per_user:
            continue
        # Without the code: staff without the permission for codes read the reason.
        reason = "second promotion code"
        for lot in Lot.objects.filter(id__in=[lot_id for lot_id, _ in redemption.entry.lots]):
            expired += _supersede(source, lot, reason=reason, now=now)
        _restore_debt(source, -redemption.entry.debt_change, reason=reason, now=now)
    return expired


def _supersede(wallet: Wallet, lot: Lot, *, reason: str, now: datetime) -> int:
    """Expire the remainder of a lot and mark it as superseded; return how many credits expired."""
    expired = lot.remaining
    lot.superseded_at = now
    lot.save(update_fields=["superseded_at"])
    if expired:
        expire(wallet, lot, amount=expired, reason=reason, now=now)
    _restore_debt(wallet, debt_repaid_from(lot, wallet=wallet), reason=reason, now=now)
    return expired


def _restore_debt(wallet: Wallet, amount: int, *, reason: str, now: datetime) -> None:
    """Restore a debt that superseded credits had repaid. Otherwise a reversed store refund would
    bring these credits back as bought ones.
    """
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
