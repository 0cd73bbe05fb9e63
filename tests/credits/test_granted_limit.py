"""MAX_GRANTED_BALANCE: how much may be held that nobody paid for."""

from __future__ import annotations

import pytest

from credits import services
from credits.models import Kind
from credits.services import Source


@pytest.fixture
def purse(purse, settings):
    settings.MAX_GRANTED_BALANCE = 30
    return purse


@pytest.mark.parametrize("source", [Source.WELCOME, Source.PROMOTION, Source.SUPPORT])
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


@pytest.mark.parametrize("source", [Source.PURCHASE, Source.SUBSCRIPTION])
def test_what_was_paid_for_neither_meets_the_limit_nor_counts_against_it(purse, source):
    purse.grant(500, source=source, transaction_id="first")

    purse.grant(25, source=Source.PROMOTION)
    purse.grant(500, source=source, transaction_id="second")

    assert purse.balance == 1025
    assert purse.adds_up()


def test_supports_correction_is_not_held_back_and_counts(purse):
    purse.adjust(50)

    purse.grant(5, source=Source.PROMOTION)

    assert purse.balance == 50


def test_a_grant_that_repays_a_debt_keeps_its_rest_up_to_the_limit(purse):
    bought = purse.buy(10)
    purse.charge(10)
    purse.claw_back(bought)

    purse.grant(45, source=Source.PROMOTION)

    assert (purse.balance, purse.debt) == (30, 0)
    assert purse.adds_up()


def test_without_a_limit_everything_is_kept(purse, settings):
    settings.MAX_GRANTED_BALANCE = 0

    purse.grant(1000, source=Source.PROMOTION)

    assert services.balance_of(purse.user_id).balance == 1000
