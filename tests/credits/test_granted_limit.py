"""MAX_GRANTED_BALANCE: how much may be held that was not bought."""

from __future__ import annotations

import pytest

from credits import services
from credits.models import Kind
from credits.services import Source


@pytest.fixture
def purse(purse, settings):
    settings.MAX_GRANTED_BALANCE = 30
    return purse


@pytest.mark.parametrize(
    "source", [Source.WELCOME, Source.PROMOTION, Source.SUBSCRIPTION, Source.SUPPORT]
)
def test_what_a_grant_brings_above_the_limit_lapses_at_once_and_the_ledger_says_so(purse, source):
    purse.adjust(20)

    purse.grant(25, source=source)

    assert (purse.balance, purse.lots) == (30, [20, 10])
    came, lapsed = purse.entries[-2:]
    assert (came.kind, came.change) == (Kind.GRANT, 25)
    assert (lapsed.kind, lapsed.change, lapsed.reason) == (
        Kind.EXPIRY, -15, "above the maximum balance",
    )  # fmt: skip
    assert purse.adds_up()


def test_up_to_the_limit_all_of_a_grant_is_kept(purse):
    purse.grant(30, source=Source.PROMOTION)

    assert purse.balance == 30
    assert len(purse.entries) == 1


def test_purchases_neither_meet_the_limit_nor_count_against_it(purse):
    purse.buy(500)

    purse.grant(25, source=Source.PROMOTION)
    purse.buy(500)

    assert purse.balance == 1025


def test_supports_correction_is_not_held_back_and_counts(purse):
    purse.adjust(50)

    purse.grant(5, source=Source.PROMOTION)

    assert purse.balance == 50


def test_a_grant_that_repays_a_debt_keeps_its_rest_up_to_the_limit(purse):
    bought = purse.buy(10)
    purse.charge(10)
    purse.take_back(bought)

    purse.grant(45, source=Source.PROMOTION)

    assert (purse.balance, purse.debt) == (30, 0)
    assert purse.adds_up()


def test_an_allowance_above_the_limit_comes_once_and_is_not_owed_after_its_store_refund(purse):
    month = {"source": Source.SUBSCRIPTION, "transaction_id": "month-5"}
    first = purse.grant(50, **month)
    again = purse.grant(50, **month)
    assert again == first
    assert purse.balance == 30
    purse.charge(10)

    purse.take_back("month-5")

    assert (purse.balance, purse.debt) == (0, 10)
    assert purse.adds_up()


def test_without_a_limit_everything_is_kept(purse, settings):
    settings.MAX_GRANTED_BALANCE = 0

    purse.grant(1000, source=Source.PROMOTION)

    assert services.balance_of(purse.user_id).balance == 1000
