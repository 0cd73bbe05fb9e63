"""A wallet, its lock and its standing: whether it spends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from credits.errors import AccountSuspended
from credits.models import Wallet, WalletState
from rendio.common.db import CompiledQuery
from rendio.common.errors import NotFound, Unauthorized


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
    return lock_merge_target(wallet) if through_merge else wallet


def lock_wallets(*, user_ids: Collection[UUID]) -> dict[UUID, Wallet]:
    """Several users' wallets, locked in the order of their ids: merges at once then wait for each
    other instead of locking up. Raises NotFound where one is missing."""
    wallets = Wallet.objects.select_for_update().filter(user_id__in=user_ids).order_by("id")
    found = {wallet.user_id: wallet for wallet in wallets if wallet.user_id}
    if len(found) < len(set(user_ids)):
        raise NotFound
    return found


def lock_merge_target(wallet: Wallet) -> Wallet:
    """From a locked wallet to the one that it was merged into, locked too.

    Nobody holds the latter and waits for the former: after the merge the former is only ever
    locked on this way.
    """
    while wallet.merged_into_id:
        wallet = Wallet.objects.select_for_update().get(id=wallet.merged_into_id)
    return wallet


def check_can_spend(wallet: Wallet) -> None:
    """Raises AccountSuspended, or Unauthorized where its owner has left or was merged."""
    if wallet.state == WalletState.SUSPENDED:
        raise AccountSuspended
    if wallet.state == WalletState.CLOSED:
        raise Unauthorized


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
