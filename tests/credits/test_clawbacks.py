"""What the store refunds is taken back here: of its own lot, then as a debt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound
from tests.helpers.wallet import NOW, Purse


def test_a_store_refund_takes_an_untouched_lot_back_and_leaves_no_debt(purse):
    purse.grant(10)
    bought = purse.buy(50)

    entry = purse.claw_back(bought)

    assert (entry.kind, entry.change, entry.debt_change) == (Kind.REVOCATION, -50, 0)
    assert (purse.balance, purse.debt, purse.lots) == (10, 0, [10, 0])


def test_what_was_spent_of_a_taken_back_lot_becomes_debt(purse):
    bought = purse.buy(50)
    purse.charge(30)

    purse.claw_back(bought)

    assert (purse.balance, purse.debt) == (0, 30)
    assert purse.adds_up()


def test_a_second_store_refund_takes_nothing(purse):
    bought = purse.buy(50)
    purse.charge(30)
    purse.claw_back(bought)

    assert purse.claw_back(bought) is None

    assert (purse.balance, purse.debt, len(purse.entries)) == (0, 30, 3)


def test_a_store_refund_of_an_unknown_transaction_is_refused(db):
    with pytest.raises(NotFound):
        services.claw_back(transaction_id="never-sold", reason="store refund", now=NOW)


def test_part_of_a_purchase_can_be_taken_back(purse):
    bought = purse.buy(50)
    purse.charge(30)

    purse.claw_back(bought, share=50_000)

    assert (purse.balance, purse.debt) == (0, 5)
    assert purse.adds_up()


def test_later_grants_repay_the_debt_first(purse):
    bought = purse.buy(50)
    purse.charge(30)
    purse.claw_back(bought)

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
    purse.claw_back(bought)

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
    purse.claw_back(bought)

    entry = purse.refund(job_id)

    assert (entry.change, entry.debt_change) == (0, -30)
    assert (purse.balance, purse.debt) == (0, 0)
    assert purse.adds_up()


def test_a_refund_larger_than_the_debt_gives_back_the_rest(purse):
    purse.promote(10, days=1)
    bought = purse.buy(50)
    job_id = purse.charge(30)  # 10 of the promotion, 20 of the purchase
    purse.claw_back(bought)
    assert (purse.balance, purse.debt) == (0, 20)

    purse.refund(job_id)

    assert (purse.balance, purse.debt) == (10, 0)
    assert purse.adds_up()


def test_a_store_refund_of_a_purchase_that_repaid_a_debt_owes_it_again(purse):
    first = purse.buy(10)
    purse.charge(10)
    purse.claw_back(first)
    second = purse.buy(10)
    assert (purse.balance, purse.debt) == (0, 0)

    entry = purse.claw_back(second)

    assert (entry.change, entry.debt_change) == (0, 10)
    assert (purse.balance, purse.debt) == (0, 10)
    assert purse.adds_up()


def test_a_store_refund_of_a_purchase_that_repaid_part_of_a_debt_takes_all_of_it(purse):
    first = purse.buy(10)
    purse.charge(4)
    purse.claw_back(first)
    second = purse.buy(10)
    assert (purse.balance, purse.debt) == (6, 0)

    purse.claw_back(second)

    assert (purse.balance, purse.debt) == (0, 4)
    assert purse.adds_up()


def test_what_had_lapsed_of_a_subscription_is_not_owed_after_its_store_refund(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-1")
    purse.charge(30)
    services.expire_due_lots(now=NOW + timedelta(days=30))

    purse.claw_back("month-1")

    assert (purse.balance, purse.debt) == (0, 30)
    assert purse.adds_up()


def test_a_store_refund_of_what_has_lapsed_whole_changes_nothing(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-2")
    services.expire_due_lots(now=NOW + timedelta(days=30))

    assert purse.claw_back("month-2") is None

    assert (purse.balance, purse.debt, len(purse.entries)) == (0, 0, 2)


@pytest.mark.parametrize("share", [-1, 100_001])
def test_a_share_that_is_none_is_refused(purse, share):
    bought = purse.buy(50)

    with pytest.raises(InvalidInput):
        purse.claw_back(bought, share=share)

    assert purse.balance == 50


# --- In parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credits", "share", "taken"),
    [
        (50, 0, 0),
        (50, 15, 0),
        (50, 67_932, 34),
        (30, 33_333, 10),  # 1 of 3
        (30, 66_667, 20),
        (10, 25_000, 2),  # a half is the customer's
        (10, 25_001, 3),
        (10, 99_999, 10),
        (2_000_000_000, 100_000, 2_000_000_000),
    ],
)
def test_a_share_is_taken_to_the_nearest_credit(purse, credits, share, taken):
    bought = purse.buy(credits)

    purse.claw_back(bought, share=share)

    assert credits - purse.balance == taken
    assert purse.adds_up()


def test_several_store_refunds_of_a_purchase_take_no_more_than_the_last_one_says(purse):
    bought = purse.buy(10)
    shares = [33_333, 33_333, 66_667, 50_000, 100_000, 100_000]

    balances = [(purse.claw_back(bought, share=s), purse.balance)[1] for s in shares]

    assert balances == [7, 7, 3, 3, 0, 0]
    assert purse.adds_up()


def test_what_is_spent_between_two_store_refunds_becomes_debt(purse):
    bought = purse.buy(50)
    purse.claw_back(bought, share=50_000)
    purse.charge(20)

    entry = purse.claw_back(bought)

    assert (entry.change, entry.debt_change) == (-5, 20)
    assert (purse.balance, purse.debt) == (0, 20)
    assert purse.adds_up()


def test_what_had_lapsed_counts_as_taken_in_a_store_refund_of_a_part(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-3")
    purse.charge(30)
    services.expire_due_lots(now=NOW + timedelta(days=30))

    purse.claw_back("month-3", share=50_000)

    assert (purse.balance, purse.debt) == (0, 5)  # 25 were paid for, 30 used
    assert purse.adds_up()


# --- Reversed ---------------------------------------------------------------------------------


def test_a_reversal_gives_the_lot_and_the_debt_back_as_they_were(purse):
    purse.grant(10)
    bought = purse.buy(50)
    purse.charge(30)  # the welcome's 10, and 20 of what was bought
    purse.claw_back(bought, share=20_000)
    purse.claw_back(bought)
    assert (purse.balance, purse.debt, purse.lots) == (0, 20, [0, 0])

    entry = purse.reverse_clawback(bought)

    assert (entry.kind, entry.change, entry.debt_change) == (Kind.REVERSAL, 30, -20)
    assert (purse.balance, purse.debt, purse.lots) == (30, 0, [0, 30])
    assert purse.adds_up()


def test_a_second_reversal_gives_nothing(purse):
    bought = purse.buy(50)
    purse.claw_back(bought)
    purse.reverse_clawback(bought)

    assert purse.reverse_clawback(bought) is None

    assert (purse.balance, len(purse.entries)) == (50, 3)


def test_without_a_store_refund_there_is_nothing_to_reverse(purse):
    bought = purse.buy(50)

    assert purse.reverse_clawback(bought) is None
    with pytest.raises(NotFound):
        purse.reverse_clawback("never-sold")

    assert purse.balance == 50


def test_a_reversal_leaves_the_debt_of_another_store_refund(purse):
    first, second = purse.buy(10), purse.buy(10)
    purse.charge(20)
    purse.claw_back(first)
    purse.claw_back(second)

    purse.reverse_clawback(first)

    assert (purse.balance, purse.debt) == (0, 10)
    assert purse.adds_up()


def test_what_repaid_the_debt_comes_back_with_the_reversal(purse):
    bought = purse.buy(50)
    job_id = purse.charge(30)
    purse.claw_back(bought)
    purse.adjust(25)
    assert (purse.balance, purse.debt) == (0, 5)

    entry = purse.reverse_clawback(bought)

    assert (entry.change, entry.debt_change) == (20 + 25, -5)
    assert (purse.balance, purse.debt) == (45, 0)
    purse.refund(job_id)
    assert purse.balance == 75
    assert purse.adds_up()


def test_a_purchase_that_repaid_a_debt_is_given_back_whole(purse):
    first = purse.buy(10)
    purse.charge(10)
    purse.claw_back(first)
    second = purse.buy(10)
    purse.claw_back(second)
    purse.adjust(10)
    assert (purse.balance, purse.debt) == (0, 0)

    purse.reverse_clawback(second)

    assert (purse.balance, purse.debt) == (10, 0)
    assert purse.adds_up()


def test_a_store_refund_after_a_reversal_takes_all_of_it_again(purse):
    bought = purse.buy(50)
    purse.charge(30)
    purse.claw_back(bought)
    purse.adjust(30)
    purse.reverse_clawback(bought)
    assert (purse.balance, purse.debt) == (50, 0)

    purse.claw_back(bought)
    assert (purse.balance, purse.debt) == (0, 0)

    purse.reverse_clawback(bought)
    assert (purse.balance, purse.debt) == (50, 0)
    assert purse.adds_up()


def test_a_refunded_job_repays_the_debt_out_of_the_lot_that_the_store_refunded(purse):
    purse.promote(10, days=1)
    bought = purse.buy(50)
    job_id = purse.charge(30)  # 10 of the promotion, 20 of the purchase
    purse.claw_back(bought)

    purse.refund(job_id)

    assert purse.lots == [10, 0]
    purse.reverse_clawback(bought)
    assert (purse.balance, purse.lots) == (60, [10, 50])
    assert purse.adds_up()


def test_an_allowance_that_expired_while_it_was_taken_back_lives_on_for_the_time_it_had(purse):
    purse.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-4")
    purse.claw_back("month-4")
    back_at = NOW + timedelta(days=40)

    services.reverse_clawback(transaction_id="month-4", reason="reversed", now=back_at)

    services.expire_due_lots(now=back_at + timedelta(days=30, seconds=-1))
    assert purse.balance == 50
    services.expire_due_lots(now=back_at + timedelta(days=30))
    assert purse.balance == 0
    assert purse.adds_up()


def test_a_purchase_of_a_merged_guest_is_taken_and_given_back_at_the_account(purse):
    guest = Purse()
    bought = guest.buy(50)
    guest.charge(30)
    guest.claw_back(bought)
    services.merge(from_user_id=guest.user_id, into_user_id=purse.user_id, now=NOW)
    assert (purse.balance, purse.debt) == (0, 30)

    purse.reverse_clawback(bought)

    assert (purse.balance, purse.debt) == (20, 0)
    assert purse.adds_up()
    assert guest.adds_up()


def test_what_lapsed_is_not_owed_whatever_wallets_it_has_been_in(purse):
    guest, account = Purse(), Purse()
    guest.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-6")
    services.merge(from_user_id=guest.user_id, into_user_id=account.user_id, now=NOW)
    services.expire_due_lots(now=NOW + timedelta(days=30))
    services.merge(from_user_id=account.user_id, into_user_id=purse.user_id, now=NOW)

    assert purse.claw_back("month-6") is None

    assert (purse.balance, purse.debt) == (0, 0)
