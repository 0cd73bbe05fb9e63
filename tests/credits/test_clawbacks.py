"""A store refund claws back credits from the purchase's lot, and the rest as debt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound
from tests.helpers.wallet import NOW, TestWallet


def test_a_store_refund_of_an_unspent_lot_claws_it_back_without_debt(wallet):
    wallet.grant(10)
    bought = wallet.buy(50)

    entry = wallet.claw_back(bought)

    assert (entry.kind, entry.change, entry.debt_change) == (Kind.REVOCATION, -50, 0)
    assert (wallet.balance, wallet.debt, wallet.lots) == (10, 0, [10, 0])


def test_spent_credits_of_a_clawed_back_lot_become_debt(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)

    wallet.claw_back(bought)

    assert (wallet.balance, wallet.debt) == (0, 30)
    assert wallet.is_balanced()


def test_a_second_store_refund_changes_nothing(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)
    wallet.claw_back(bought)

    assert wallet.claw_back(bought) is None

    assert (wallet.balance, wallet.debt, len(wallet.entries)) == (0, 30, 3)


def test_a_store_refund_of_an_unknown_transaction_is_refused(db):
    with pytest.raises(NotFound):
        services.claw_back(transaction_id="never-sold", reason="store refund", now=NOW)


def test_a_partial_store_refund_claws_back_its_share(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)

    wallet.claw_back(bought, share=50_000)

    assert (wallet.balance, wallet.debt) == (0, 5)
    assert wallet.is_balanced()


def test_later_grants_repay_the_debt_first(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)
    wallet.claw_back(bought)

    first = wallet.grant(20)
    assert (first.change, first.debt_change, wallet.balance, wallet.debt) == (0, -20, 0, 10)

    second = wallet.buy(50)
    assert (wallet.balance, wallet.debt) == (40, 0)
    assert second
    assert services.balance_of(wallet.user_id).lifetime_total == 120
    assert wallet.is_balanced()


def test_a_wallet_that_owes_spends_nothing_until_the_debt_is_repaid(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)
    wallet.grant(10)
    wallet.claw_back(bought)

    with pytest.raises(InsufficientCredits) as refused:
        wallet.charge(4)
    assert refused.value.details["debt"] == 30
    assert wallet.balance == 10

    wallet.buy(30)
    wallet.charge(4)
    assert (wallet.balance, wallet.debt) == (6, 0)


def test_a_job_refund_to_a_clawed_back_lot_repays_the_debt(wallet):
    bought = wallet.buy(50)
    job_id = wallet.charge(30)
    wallet.claw_back(bought)

    entry = wallet.refund(job_id)

    assert (entry.change, entry.debt_change) == (0, -30)
    assert (wallet.balance, wallet.debt) == (0, 0)
    assert wallet.is_balanced()


def test_a_job_refund_larger_than_the_debt_returns_the_rest(wallet):
    wallet.promote(10, days=1)
    bought = wallet.buy(50)
    job_id = wallet.charge(30)  # 10 of the promotion, 20 of the purchase
    wallet.claw_back(bought)
    assert (wallet.balance, wallet.debt) == (0, 20)

    wallet.refund(job_id)

    assert (wallet.balance, wallet.debt) == (10, 0)
    assert wallet.is_balanced()


def test_a_store_refund_of_a_purchase_that_repaid_a_debt_owes_it_again(wallet):
    first = wallet.buy(10)
    wallet.charge(10)
    wallet.claw_back(first)
    second = wallet.buy(10)
    assert (wallet.balance, wallet.debt) == (0, 0)

    entry = wallet.claw_back(second)

    assert (entry.change, entry.debt_change) == (0, 10)
    assert (wallet.balance, wallet.debt) == (0, 10)
    assert wallet.is_balanced()


def test_a_store_refund_of_a_purchase_that_repaid_debt_claws_back_all_of_it(wallet):
    first = wallet.buy(10)
    wallet.charge(4)
    wallet.claw_back(first)
    second = wallet.buy(10)
    assert (wallet.balance, wallet.debt) == (6, 0)

    wallet.claw_back(second)

    assert (wallet.balance, wallet.debt) == (0, 4)
    assert wallet.is_balanced()


def test_expired_credits_do_not_become_debt_after_a_store_refund(wallet):
    wallet.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-1")
    wallet.charge(30)
    services.expire_due_lots(now=NOW + timedelta(days=30))

    wallet.claw_back("month-1")

    assert (wallet.balance, wallet.debt) == (0, 30)
    assert wallet.is_balanced()


def test_a_store_refund_of_a_fully_expired_lot_changes_nothing(wallet):
    wallet.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-2")
    services.expire_due_lots(now=NOW + timedelta(days=30))

    assert wallet.claw_back("month-2") is None

    assert (wallet.balance, wallet.debt, len(wallet.entries)) == (0, 0, 2)


@pytest.mark.parametrize("share", [-1, 100_001])
def test_an_invalid_share_is_refused(wallet, share):
    bought = wallet.buy(50)

    with pytest.raises(InvalidInput):
        wallet.claw_back(bought, share=share)

    assert wallet.balance == 50


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
def test_a_share_is_rounded_to_the_nearest_credit(wallet, credits, share, taken):
    bought = wallet.buy(credits)

    wallet.claw_back(bought, share=share)

    assert credits - wallet.balance == taken
    assert wallet.is_balanced()


def test_several_partial_refunds_claw_back_no_more_than_the_last_total(wallet):
    bought = wallet.buy(10)
    shares = [33_333, 33_333, 66_667, 50_000, 100_000, 100_000]

    balances = [(wallet.claw_back(bought, share=s), wallet.balance)[1] for s in shares]

    assert balances == [7, 7, 3, 3, 0, 0]
    assert wallet.is_balanced()


def test_credits_spent_between_two_partial_refunds_become_debt(wallet):
    bought = wallet.buy(50)
    wallet.claw_back(bought, share=50_000)
    wallet.charge(20)

    entry = wallet.claw_back(bought)

    assert (entry.change, entry.debt_change) == (-5, 20)
    assert (wallet.balance, wallet.debt) == (0, 20)
    assert wallet.is_balanced()


def test_expired_credits_count_as_clawed_back_in_a_partial_refund(wallet):
    wallet.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-3")
    wallet.charge(30)
    services.expire_due_lots(now=NOW + timedelta(days=30))

    wallet.claw_back("month-3", share=50_000)

    assert (wallet.balance, wallet.debt) == (0, 5)  # 25 were paid for, 30 used
    assert wallet.is_balanced()


# --- Reversed ---------------------------------------------------------------------------------


def test_a_reversal_restores_lot_and_debt(wallet):
    wallet.grant(10)
    bought = wallet.buy(50)
    wallet.charge(30)  # the welcome's 10, and 20 of what was bought
    wallet.claw_back(bought, share=20_000)
    wallet.claw_back(bought)
    assert (wallet.balance, wallet.debt, wallet.lots) == (0, 20, [0, 0])

    entry = wallet.reverse_clawback(bought)

    assert (entry.kind, entry.change, entry.debt_change) == (Kind.REVERSAL, 30, -20)
    assert (wallet.balance, wallet.debt, wallet.lots) == (30, 0, [0, 30])
    assert wallet.is_balanced()


def test_a_second_reversal_changes_nothing(wallet):
    bought = wallet.buy(50)
    wallet.claw_back(bought)
    wallet.reverse_clawback(bought)

    assert wallet.reverse_clawback(bought) is None

    assert (wallet.balance, len(wallet.entries)) == (50, 3)


def test_without_a_store_refund_there_is_nothing_to_reverse(wallet):
    bought = wallet.buy(50)

    assert wallet.reverse_clawback(bought) is None
    with pytest.raises(NotFound):
        wallet.reverse_clawback("never-sold")

    assert wallet.balance == 50


def test_a_reversal_leaves_the_debt_of_another_store_refund(wallet):
    first, second = wallet.buy(10), wallet.buy(10)
    wallet.charge(20)
    wallet.claw_back(first)
    wallet.claw_back(second)

    wallet.reverse_clawback(first)

    assert (wallet.balance, wallet.debt) == (0, 10)
    assert wallet.is_balanced()


def test_a_reversal_returns_credits_that_repaid_the_debt(wallet):
    bought = wallet.buy(50)
    job_id = wallet.charge(30)
    wallet.claw_back(bought)
    wallet.adjust(25)
    assert (wallet.balance, wallet.debt) == (0, 5)

    entry = wallet.reverse_clawback(bought)

    assert (entry.change, entry.debt_change) == (20 + 25, -5)
    assert (wallet.balance, wallet.debt) == (45, 0)
    wallet.refund(job_id)
    assert wallet.balance == 75
    assert wallet.is_balanced()


def test_a_reversal_restores_a_purchase_that_repaid_debt_in_full(wallet):
    first = wallet.buy(10)
    wallet.charge(10)
    wallet.claw_back(first)
    second = wallet.buy(10)
    wallet.claw_back(second)
    wallet.adjust(10)
    assert (wallet.balance, wallet.debt) == (0, 0)

    wallet.reverse_clawback(second)

    assert (wallet.balance, wallet.debt) == (10, 0)
    assert wallet.is_balanced()


def test_a_store_refund_after_a_reversal_claws_back_everything_again(wallet):
    bought = wallet.buy(50)
    wallet.charge(30)
    wallet.claw_back(bought)
    wallet.adjust(30)
    wallet.reverse_clawback(bought)
    assert (wallet.balance, wallet.debt) == (50, 0)

    wallet.claw_back(bought)
    assert (wallet.balance, wallet.debt) == (0, 0)

    wallet.reverse_clawback(bought)
    assert (wallet.balance, wallet.debt) == (50, 0)
    assert wallet.is_balanced()


def test_a_refunded_job_repays_the_debt_out_of_the_lot_that_the_store_refunded(wallet):
    wallet.promote(10, days=1)
    bought = wallet.buy(50)
    job_id = wallet.charge(30)  # 10 of the promotion, 20 of the purchase
    wallet.claw_back(bought)

    wallet.refund(job_id)

    assert wallet.lots == [10, 0]
    wallet.reverse_clawback(bought)
    assert (wallet.balance, wallet.lots) == (60, [10, 50])
    assert wallet.is_balanced()


def test_an_allowance_that_expired_while_clawed_back_keeps_its_remaining_time(wallet):
    wallet.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-4")
    wallet.claw_back("month-4")
    back_at = NOW + timedelta(days=40)

    services.reverse_clawback(transaction_id="month-4", reason="reversed", now=back_at)

    services.expire_due_lots(now=back_at + timedelta(days=30, seconds=-1))
    assert wallet.balance == 50
    services.expire_due_lots(now=back_at + timedelta(days=30))
    assert wallet.balance == 0
    assert wallet.is_balanced()


def test_a_merged_guests_purchase_is_clawed_back_and_restored_at_the_account(wallet):
    guest = TestWallet()
    bought = guest.buy(50)
    guest.charge(30)
    guest.claw_back(bought)
    services.merge(from_user_id=guest.user_id, into_user_id=wallet.user_id, now=NOW)
    assert (wallet.balance, wallet.debt) == (0, 30)

    wallet.reverse_clawback(bought)

    assert (wallet.balance, wallet.debt) == (20, 0)
    assert wallet.is_balanced()
    assert guest.is_balanced()


def test_expired_credits_do_not_become_debt_after_merges(wallet):
    guest, account = TestWallet(), TestWallet()
    guest.grant(50, source=Source.SUBSCRIPTION, days=30, transaction_id="month-6")
    services.merge(from_user_id=guest.user_id, into_user_id=account.user_id, now=NOW)
    services.expire_due_lots(now=NOW + timedelta(days=30))
    services.merge(from_user_id=account.user_id, into_user_id=wallet.user_id, now=NOW)

    assert wallet.claw_back("month-6") is None

    assert (wallet.balance, wallet.debt) == (0, 0)
