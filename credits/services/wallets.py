"""Open, lock, suspend and close wallets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from credits.errors import AccountSuspended
from credits.models import Wallet, WalletState
from rendio.common.db import CompiledQuery, Statement, begin_with, prepared_cursor
from rendio.common.errors import NotFound, Unauthorized


@dataclass(frozen=True)
class Balance:
    """Amounts in credits. `lifetime_total`: all credits ever granted."""

    balance: int
    debt: int
    lifetime_total: int


def balance_of(user_id: UUID) -> Balance:
    """Return the user's balance without a lock. Raises NotFound if there is no wallet."""
    with prepared_cursor() as cursor:
        cursor.execute("SELECT balance, debt, lifetime_total FROM credits_balance(%s)", [user_id])
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return Balance(*row)


def open_wallet(*, user_id: UUID) -> UUID:
    """Open an empty wallet for a new user; return its id."""
    return Wallet.objects.create(user_id=user_id).id


_locked_wallet = CompiledQuery(
    lambda user_id: Wallet.objects.select_for_update().filter(user_id=user_id)
)


def lock_wallet(*, user_id: UUID, through_merge: bool = False) -> Wallet:
    """Lock the user's wallet until the transaction ends. Raises NotFound.

    `through_merge`, for incoming credits: a merged guest's wallet resolves to the account's, also
    if the merge has just committed while we waited for the lock. As the first of a transaction, it
    is one round trip with BEGIN.
    """
    [wallet] = begin_with(wallet_lock(user_id))
    return lock_merge_target(wallet) if through_merge else wallet


def wallet_lock(user_id: UUID) -> Statement[Wallet]:
    """The statement of `lock_wallet`, to be sent with others (rendio.common.db.begin_with)."""
    return _locked_wallet.statement(user_id, read=_require)


def _require(wallet: Wallet | None) -> Wallet:
    if wallet is None:
        raise NotFound
    return wallet


def lock_wallets(*, user_ids: Collection[UUID]) -> dict[UUID, Wallet]:
    """Lock several users' wallets in the order of their ids, so that concurrent merges cannot
    deadlock. Raises NotFound if one is missing.
    """
    wallets = Wallet.objects.select_for_update().filter(user_id__in=user_ids).order_by("id")
    found = {wallet.user_id: wallet for wallet in wallets if wallet.user_id}
    if len(found) < len(set(user_ids)):
        raise NotFound
    return found


def lock_merge_target(wallet: Wallet) -> Wallet:
    """Follow a locked wallet to the wallet that it was merged into, and lock that too.

    No deadlock: nobody who holds the target waits for the source. After the merge, the source is
    locked only on this path.
    """
    while wallet.merged_into_id:
        wallet = Wallet.objects.select_for_update().get(id=wallet.merged_into_id)
    return wallet


def check_can_spend(wallet: Wallet) -> None:
    """Raises AccountSuspended, or Unauthorized if the wallet is closed."""
    if wallet.state == WalletState.SUSPENDED:
        raise AccountSuspended
    if wallet.state == WalletState.CLOSED:
        raise Unauthorized


def suspend(*, user_id: UUID) -> None:
    """Stop a wallet from spending; refunds still arrive. No effect for staff: they have no
    wallet."""
    _set_state(user_id, expected=WalletState.OPEN, state=WalletState.SUSPENDED)


def resume(*, user_id: UUID) -> None:
    """Let a suspended wallet spend again."""
    _set_state(user_id, expected=WalletState.SUSPENDED, state=WalletState.OPEN)


def close(*, user_id: UUID) -> None:
    """Close the wallet of a deleted account: nothing is spent any more; refunds still arrive."""
    Wallet.objects.select_for_update().filter(user_id=user_id).first()
    Wallet.objects.filter(user_id=user_id).update(state=WalletState.CLOSED)


def _set_state(user_id: UUID, *, expected: WalletState, state: WalletState) -> None:
    wallet = Wallet.objects.select_for_update().filter(user_id=user_id).first()
    if wallet and wallet.state == expected:
        wallet.state = state
        wallet.save(update_fields=["state"])
