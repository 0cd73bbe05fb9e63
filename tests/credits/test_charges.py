"""A job takes its price once, and gives it back once."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from credits import services
from credits.errors import AccountSuspended, InsufficientCredits, LedgerBroken
from credits.models import Kind, WalletState
from credits.services import Source
from rendio.common.errors import Unauthorized
from tests.helpers.wallet import NOW, Purse


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


def test_among_credits_that_expire_together_the_oldest_go_first(purse):
    purse.promote(4, days=2)
    purse.grant(4, source=Source.SUBSCRIPTION, days=2)
    purse.promote(4, days=2)

    purse.charge(6)

    assert purse.lots == [0, 2, 4]


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
