"""Grants, and adjustments by support."""

from __future__ import annotations

from uuid import uuid4

import pytest

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound
from tests.helpers.wallet import NOW


def test_a_grant_adds_a_lot_and_one_entry(wallet):
    entry = wallet.grant(10)

    assert (wallet.balance, wallet.lots) == (10, [10])
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.GRANT, 10, 10)
    assert services.balance_of(wallet.user_id).lifetime_total == 10
    assert wallet.is_balanced()


def test_a_second_grant_for_a_transaction_returns_the_first(wallet):
    first = wallet.grant(50, source=Source.PURCHASE, transaction_id="t-1")

    again = wallet.grant(50, source=Source.PURCHASE, transaction_id="t-1")

    assert again == first
    assert (wallet.balance, len(wallet.entries)) == (50, 1)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_grant_of_nothing_is_refused(wallet, amount):
    with pytest.raises(InvalidInput):
        wallet.grant(amount)

    assert (wallet.balance, wallet.entries) == (0, [])


def test_changes_for_a_user_without_a_wallet_are_refused(db):
    with pytest.raises(NotFound):
        services.grant(user_id=uuid4(), amount=1, source=Source.SUPPORT, reason="", now=NOW)


def test_an_adjustment_adds_a_lot_or_debits_lots(wallet):
    wallet.grant(10)

    up = wallet.adjust(5)
    assert (up.kind, up.change, wallet.balance, wallet.lots) == (Kind.ADJUSTMENT, 5, 15, [10, 5])

    down = wallet.adjust(-12)
    assert (down.kind, down.change, wallet.balance) == (Kind.ADJUSTMENT, -12, 3)
    assert up.actor_id
    assert down.actor_id
    assert wallet.is_balanced()


def test_an_adjustment_below_zero_is_refused(wallet):
    wallet.grant(10)

    with pytest.raises(InsufficientCredits):
        wallet.adjust(-11)
    assert wallet.balance == 10

    wallet.adjust(-10)
    assert wallet.balance == 0


def test_an_adjustment_by_nothing_is_refused(wallet):
    with pytest.raises(InvalidInput):
        wallet.adjust(0)


def test_entries_are_numbered_without_a_gap(wallet):
    bought = wallet.buy(10)
    wallet.refund(wallet.charge(4))
    wallet.adjust(-1)
    wallet.claw_back(bought)

    assert [entry.number for entry in wallet.entries] == [1, 2, 3, 4, 5]
    assert wallet.row.entry_count == 5
