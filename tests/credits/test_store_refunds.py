"""What the store refunds is taken back here: of its own lot, then as a debt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound
from tests.credits.purses import NOW


def test_a_store_refund_takes_an_untouched_lot_back_and_leaves_no_debt(purse):
    purse.grant(10)
    bought = purse.buy(50)

    entry = purse.take_back(bought)

    assert (entry.kind, entry.change, entry.debt_change) == (Kind.REVOCATION, -50, 0)
    assert (purse.balance, purse.debt, purse.lots) == (10, 0, [10, 0])


def test_what_was_spent_of_a_taken_back_lot_becomes_debt(purse):
    bought = purse.buy(50)
    purse.charge(30)

    purse.take_back(bought)

    assert (purse.balance, purse.debt) == (0, 30)
    assert purse.adds_up()


def test_a_second_store_refund_takes_nothing_and_returns_the_first(purse):
    bought = purse.buy(50)
    purse.charge(30)
    first = purse.take_back(bought)

    again = purse.take_back(bought)

    assert again == first
    assert (purse.balance, purse.debt) == (0, 30)


def test_a_store_refund_of_an_unknown_transaction_is_refused(db):
    with pytest.raises(NotFound):
        services.take_back(transaction_id="never-sold", reason="store refund", now=NOW)


def test_part_of_a_purchase_can_be_taken_back(purse):
    bought = purse.buy(50)
    purse.charge(30)

    purse.take_back(bought, amount=25)

    assert (purse.balance, purse.debt) == (0, 5)
    assert purse.adds_up()


def test_later_grants_repay_the_debt_first(purse):
    bought = purse.buy(50)
    purse.charge(30)
    purse.take_back(bought)

    first = purse.grant(20)
    assert (first.change, first.debt_change, purse.balance, purse.debt) == (0, -20, 0, 10)

    second = purse.buy(50)
    assert (purse.balance, purse.debt) == (40, 0)
    assert second
    assert services.balance_of(purse.user_id).lifetime_total == 120
    assert purse.adds_up()


def test_a_wallet_that_owes_spends_nothing_until_the_debt_is_repaid(purse):
    bought = purse.buy(50)
    purse.charge(30)
    purse.grant(10)
    purse.take_back(bought)

    with pytest.raises(InsufficientCredits) as refused:
        purse.charge(4)
    assert refused.value.details["debt"] == 30
    assert purse.balance == 10

    purse.buy(30)
    purse.charge(4)
    assert (purse.balance, purse.debt) == (6, 0)


def test_the_refund_of_a_job_that_spent_a_taken_back_lot_repays_the_debt(purse):
    bought = purse.buy(50)
    job_id = purse.charge(30)
    purse.take_back(bought)

    entry = purse.refund(job_id)

    assert (entry.change, entry.debt_change) == (0, -30)
    assert (purse.balance, purse.debt) == (0, 0)
    assert purse.adds_up()


def test_a_refund_larger_than_the_debt_gives_back_the_rest(purse):
    purse.promote(10, days=1)
    bought = purse.buy(50)
    job_id = purse.charge(30)  # 10 of the promotion, 20 of the purchase
    purse.take_back(bought)
    assert (purse.balance, purse.debt) == (0, 20)

    purse.refund(job_id)

    assert (purse.balance, purse.debt) == (10, 0)
    assert purse.adds_up()


def test_a_store_refund_of_a_purchase_that_repaid_a_debt_owes_it_again(purse):
    first = purse.buy(10)
    purse.charge(10)
    purse.take_back(first)
    second = purse.buy(10)
    assert (purse.balance, purse.debt) == (0, 0)

    entry = purse.take_back(second)

    assert (entry.change, entry.debt_change) == (0, 10)
    assert (purse.balance, purse.debt) == (0, 10)
    assert purse.adds_up()


def test_a_store_refund_of_a_purchase_that_repaid_part_of_a_debt_takes_all_of_it(purse):
    first = purse.buy(10)
    purse.charge(4)
    purse.take_back(first)
    second = purse.buy(10)
    assert (purse.balance, purse.debt) == (6, 0)

    purse.take_back(second)

    assert (purse.balance, purse.debt) == (0, 4)
    assert purse.adds_up()


def test_what_had_lapsed_of_a_subscription_is_not_owed_after_its_store_refund(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-1")
    purse.charge(30)
    services.lapse_expired(now=NOW + timedelta(days=30))

    purse.take_back("month-1")

    assert (purse.balance, purse.debt) == (0, 30)
    assert purse.adds_up()


def test_a_store_refund_of_what_has_lapsed_whole_changes_nothing(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-2")
    services.lapse_expired(now=NOW + timedelta(days=30))

    assert purse.take_back("month-2") is None

    assert (purse.balance, purse.debt, len(purse.entries)) == (0, 0, 2)


@pytest.mark.parametrize("amount", [0, -5])
def test_a_store_refund_of_nothing_is_refused(purse, amount):
    bought = purse.buy(50)

    with pytest.raises(InvalidInput):
        purse.take_back(bought, amount=amount)

    assert purse.balance == 50
