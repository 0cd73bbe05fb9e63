"""Credits that come, and support's corrections: as promised to users and support."""

from __future__ import annotations

from uuid import uuid4

import pytest

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound
from tests.helpers.wallet import NOW


def test_a_grant_fills_the_wallet_and_says_so_in_one_entry(purse):
    entry = purse.grant(10)

    assert (purse.balance, purse.lots) == (10, [10])
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.GRANT, 10, 10)
    assert services.balance_of(purse.user_id).lifetime_total == 10
    assert purse.adds_up()


def test_a_second_grant_for_one_transaction_gives_nothing_and_returns_the_first(purse):
    first = purse.grant(50, source=Source.PURCHASE, transaction_id="t-1")

    again = purse.grant(50, source=Source.PURCHASE, transaction_id="t-1")

    assert again == first
    assert (purse.balance, len(purse.entries)) == (50, 1)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_grant_of_nothing_is_refused(purse, amount):
    with pytest.raises(InvalidInput):
        purse.grant(amount)

    assert (purse.balance, purse.entries) == (0, [])


def test_nothing_moves_for_a_user_without_a_wallet(db):
    with pytest.raises(NotFound):
        services.grant(user_id=uuid4(), amount=1, source=Source.SUPPORT, reason="", now=NOW)


def test_an_adjustment_goes_up_as_a_lot_and_down_from_the_lots(purse):
    purse.grant(10)

    up = purse.adjust(5)
    assert (up.kind, up.change, purse.balance, purse.lots) == (Kind.ADJUSTMENT, 5, 15, [10, 5])

    down = purse.adjust(-12)
    assert (down.kind, down.change, purse.balance) == (Kind.ADJUSTMENT, -12, 3)
    assert up.actor_id
    assert down.actor_id
    assert purse.adds_up()


def test_an_adjustment_below_zero_is_refused_and_one_to_zero_is_not(purse):
    purse.grant(10)

    with pytest.raises(InsufficientCredits):
        purse.adjust(-11)
    assert purse.balance == 10

    purse.adjust(-10)
    assert purse.balance == 0


def test_an_adjustment_by_nothing_is_refused(purse):
    with pytest.raises(InvalidInput):
        purse.adjust(0)


def test_entries_are_numbered_without_a_gap(purse):
    bought = purse.buy(10)
    purse.refund(purse.charge(4))
    purse.adjust(-1)
    purse.claw_back(bought)

    assert [entry.number for entry in purse.entries] == [1, 2, 3, 4, 5]
    assert purse.wallet.entry_count == 5
