"""MAX_GRANTED_BALANCE: the limit on credits that nobody paid for."""

from __future__ import annotations

import pytest

from credits import services
from credits.models import Kind
from credits.services import Source


@pytest.fixture
def wallet(wallet, settings):
    settings.MAX_GRANTED_BALANCE = 30
    return wallet


@pytest.mark.parametrize("source", [Source.WELCOME, Source.PROMOTION, Source.SUPPORT])
def test_a_grant_above_the_limit_expires_at_once_in_its_own_entry(wallet, source):
    wallet.adjust(20)

    wallet.grant(25, source=source)

    assert (wallet.balance, wallet.lots) == (30, [20, 10])
    grant, lapsed = wallet.entries[-2:]
    assert (grant.kind, grant.change) == (Kind.GRANT, 25)
    assert (lapsed.kind, lapsed.change, lapsed.reason) == (
        Kind.EXPIRY, -15, "above the maximum balance",
    )  # fmt: skip
    assert wallet.is_balanced()


def test_a_grant_up_to_the_limit_stays_whole(wallet):
    wallet.grant(30, source=Source.PROMOTION)

    assert wallet.balance == 30
    assert len(wallet.entries) == 1


@pytest.mark.parametrize("source", [Source.PURCHASE, Source.SUBSCRIPTION])
def test_paid_lots_are_exempt_from_the_limit(wallet, source):
    wallet.grant(500, source=source, transaction_id="first")

    wallet.grant(25, source=Source.PROMOTION)
    wallet.grant(500, source=source, transaction_id="second")

    assert wallet.balance == 1025
    assert wallet.is_balanced()


def test_an_adjustment_ignores_the_limit_but_counts_towards_it(wallet):
    wallet.adjust(50)

    wallet.grant(5, source=Source.PROMOTION)

    assert wallet.balance == 50


def test_a_grant_that_repays_a_debt_keeps_its_rest_up_to_the_limit(wallet):
    bought = wallet.buy(10)
    wallet.charge(10)
    wallet.claw_back(bought)

    wallet.grant(45, source=Source.PROMOTION)

    assert (wallet.balance, wallet.debt) == (30, 0)
    assert wallet.is_balanced()


def test_without_a_limit_nothing_expires(wallet, settings):
    settings.MAX_GRANTED_BALANCE = 0

    wallet.grant(1000, source=Source.PROMOTION)

    assert services.balance_of(wallet.user_id).balance == 1000
