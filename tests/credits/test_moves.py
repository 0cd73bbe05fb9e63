"""Each way in which credits move, as promised to users, support and the store."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from credits import services
from credits.errors import AccountSuspended, InsufficientCredits, LedgerBroken
from credits.models import Kind, WalletState
from credits.services import Source
from rendio.common.errors import InvalidInput, NotFound, Unauthorized
from tests.credits.purses import NOW, Purse

# --- Giving -----------------------------------------------------------------------------------


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


# --- Charging ---------------------------------------------------------------------------------


def test_a_charge_takes_the_soonest_expiring_credits_first(purse):
    purse.grant(10)
    purse.promote(5, days=9)
    purse.promote(5, days=2)

    purse.charge(7)

    assert purse.lots == [10, 3, 0]
    assert purse.balance == 13


def test_among_credits_that_never_expire_the_oldest_go_first(purse):
    purse.grant(4)
    purse.buy(4)

    purse.charge(5)

    assert purse.lots == [0, 3]


def test_a_charge_beyond_the_balance_takes_nothing_and_one_of_all_of_it_succeeds(purse):
    purse.grant(10)

    with pytest.raises(InsufficientCredits) as refused:
        purse.charge(11)
    assert refused.value.details == {"required": 11, "available": 10}
    assert (purse.balance, len(purse.entries)) == (10, 1)

    purse.charge(10)
    assert (purse.balance, purse.lots) == (0, [0])


def test_the_entry_of_a_charge_names_its_job_and_the_lots_it_touched(purse):
    purse.promote(3, days=1)
    purse.grant(10)

    job_id = purse.charge(5)

    entry = purse.entries[-1]
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.CHARGE, -5, 8)
    assert entry.job_id == job_id
    assert sorted(change for _, change in entry.lots) == [-3, -2]
    assert purse.adds_up()


def test_a_suspended_wallet_spends_nothing_until_it_is_resumed_and_still_gets_refunds(purse):
    purse.grant(10)
    job_id = purse.charge(4)
    services.suspend(user_id=purse.user_id)

    with pytest.raises(AccountSuspended):
        purse.charge(4)
    purse.refund(job_id)
    assert purse.balance == 10

    services.resume(user_id=purse.user_id)
    purse.charge(4)
    assert purse.balance == 6


def test_a_closed_wallet_spends_nothing_and_no_resume_opens_it(purse):
    purse.grant(10)
    wallet = purse.wallet
    wallet.state = WalletState.CLOSED
    wallet.save(update_fields=["state"])

    services.suspend(user_id=purse.user_id)
    services.resume(user_id=purse.user_id)

    with pytest.raises(Unauthorized):
        purse.charge(4)
    assert purse.balance == 10


def test_money_is_not_moved_outside_a_transaction(committed):
    user_id = Purse().user_id

    with pytest.raises(TransactionManagementError):
        services.grant(user_id=user_id, amount=1, source=Source.SUPPORT, reason="", now=NOW)

    with transaction.atomic():
        services.grant(user_id=user_id, amount=1, source=Source.SUPPORT, reason="", now=NOW)
    assert services.balance_of(user_id).balance == 1


def test_a_charge_refuses_when_the_lots_do_not_hold_the_balance(purse):
    purse.grant(10)
    lot = purse.wallet.lots.get()
    lot.remaining = 3
    lot.save(update_fields=["remaining"])

    with pytest.raises(LedgerBroken), transaction.atomic():
        purse.charge(4)

    assert (purse.balance, purse.lots) == (10, [3])


# --- Refunding --------------------------------------------------------------------------------


def test_a_refund_returns_to_the_lots_it_came_from(purse):
    purse.grant(10)
    purse.promote(5, days=2)
    job_id = purse.charge(8)
    assert purse.lots == [7, 0]

    entry = purse.refund(job_id)

    assert purse.lots == [10, 5]
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.REFUND, 8, 15)
    assert purse.adds_up()


def test_a_second_refund_of_a_job_gives_nothing_and_returns_the_first(purse):
    purse.grant(10)
    job_id = purse.charge(8)
    first = purse.refund(job_id)

    again = purse.refund(job_id)

    assert again == first
    assert (purse.balance, len(purse.entries)) == (10, 3)


def test_a_job_that_was_never_charged_is_not_refunded(purse):
    purse.grant(10)

    with pytest.raises(LedgerBroken):
        purse.refund(uuid4())

    assert (purse.balance, len(purse.entries)) == (10, 1)


def test_a_refund_does_not_count_as_granted(purse):
    purse.grant(10)
    purse.refund(purse.charge(8))

    assert services.balance_of(purse.user_id).lifetime_total == 10


# --- Support's corrections --------------------------------------------------------------------


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


# --- Store refunds ----------------------------------------------------------------------------


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


# --- Expiry -----------------------------------------------------------------------------------


def test_what_is_left_of_a_lot_lapses_when_its_time_has_come_and_not_before(purse):
    purse.grant(10)
    purse.promote(5, days=2)
    purse.charge(1)

    services.lapse_expired(now=NOW + timedelta(days=2, seconds=-1))
    assert purse.balance == 14

    services.lapse_expired(now=NOW + timedelta(days=2))
    assert (purse.balance, purse.lots) == (10, [10, 0])
    assert (purse.entries[-1].kind, purse.entries[-1].change) == (Kind.EXPIRY, -4)
    assert purse.adds_up()


def test_a_second_sweep_lapses_nothing_more(purse):
    purse.promote(5, days=2)
    services.lapse_expired(now=NOW + timedelta(days=3))

    services.lapse_expired(now=NOW + timedelta(days=3))

    assert [entry.kind for entry in purse.entries] == [Kind.GRANT, Kind.EXPIRY]


def test_a_sweep_takes_no_more_lots_than_its_limit(purse):
    for days in (1, 2, 3):
        purse.promote(5, days=days)

    assert services.lapse_expired(now=NOW + timedelta(days=9), limit=2) == 2

    assert purse.lots == [0, 0, 5]


def test_credits_refunded_to_an_expired_lot_lapse_with_the_next_sweep(purse):
    purse.promote(5, days=2)
    job_id = purse.charge(5)
    services.lapse_expired(now=NOW + timedelta(days=3))
    purse.refund(job_id)
    assert purse.balance == 5

    services.lapse_expired(now=NOW + timedelta(days=3))

    assert purse.balance == 0
    assert purse.adds_up()


# --- History ----------------------------------------------------------------------------------


def test_entries_are_numbered_without_a_gap(purse):
    bought = purse.buy(10)
    purse.refund(purse.charge(4))
    purse.adjust(-1)
    purse.take_back(bought)

    assert [entry.number for entry in purse.entries] == [1, 2, 3, 4, 5]
    assert purse.wallet.entry_count == 5
