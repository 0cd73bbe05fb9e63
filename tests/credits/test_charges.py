"""A job is charged once and refunded once."""

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
from tests.helpers.wallet import NOW, TestWallet


def test_a_charge_debits_the_earliest_expiring_credits_first(wallet):
    wallet.grant(10)
    wallet.promote(5, days=9)
    wallet.promote(5, days=2)

    wallet.charge(7)

    assert wallet.lots == [10, 3, 0]
    assert wallet.balance == 13


def test_among_credits_that_never_expire_the_oldest_go_first(wallet):
    wallet.grant(4)
    wallet.buy(4)

    wallet.charge(5)

    assert wallet.lots == [0, 3]


def test_among_credits_that_expire_together_the_oldest_go_first(wallet):
    wallet.promote(4, days=2)
    wallet.grant(4, source=Source.SUBSCRIPTION, days=2)
    wallet.promote(4, days=2)

    wallet.charge(6)

    assert wallet.lots == [0, 2, 4]


def test_a_charge_succeeds_up_to_the_balance(wallet):
    wallet.grant(10)

    with pytest.raises(InsufficientCredits) as refused:
        wallet.charge(11)
    assert refused.value.details == {"required": 11, "available": 10}
    assert (wallet.balance, len(wallet.entries)) == (10, 1)

    wallet.charge(10)
    assert (wallet.balance, wallet.lots) == (0, [0])


def test_the_entry_of_a_charge_names_its_job_and_the_lots_it_touched(wallet):
    wallet.promote(3, days=1)
    wallet.grant(10)

    job_id = wallet.charge(5)

    entry = wallet.entries[-1]
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.CHARGE, -5, 8)
    assert entry.job_id == job_id
    assert sorted(change for _, change in entry.lots) == [-3, -2]
    assert wallet.is_balanced()


def test_a_suspended_wallet_spends_nothing_until_it_is_resumed_and_still_gets_refunds(wallet):
    wallet.grant(10)
    job_id = wallet.charge(4)
    services.suspend(user_id=wallet.user_id)

    with pytest.raises(AccountSuspended):
        wallet.charge(4)
    wallet.refund(job_id)
    assert wallet.balance == 10

    services.resume(user_id=wallet.user_id)
    wallet.charge(4)
    assert wallet.balance == 6


def test_a_closed_wallet_spends_nothing_and_no_resume_opens_it(wallet):
    wallet.grant(10)
    row = wallet.row
    row.state = WalletState.CLOSED
    row.save(update_fields=["state"])

    services.suspend(user_id=wallet.user_id)
    services.resume(user_id=wallet.user_id)

    with pytest.raises(Unauthorized):
        wallet.charge(4)
    assert wallet.balance == 10


def test_changes_outside_a_transaction_are_refused(committed):
    user_id = TestWallet().user_id

    with pytest.raises(TransactionManagementError):
        services.grant(user_id=user_id, amount=1, source=Source.SUPPORT, reason="", now=NOW)

    with transaction.atomic():
        services.grant(user_id=user_id, amount=1, source=Source.SUPPORT, reason="", now=NOW)
    assert services.balance_of(user_id).balance == 1


def test_a_charge_refuses_when_the_lots_do_not_hold_the_balance(wallet):
    wallet.grant(10)
    lot = wallet.row.lots.get()
    lot.remaining = 3
    lot.save(update_fields=["remaining"])

    with pytest.raises(LedgerBroken), transaction.atomic():
        wallet.charge(4)

    assert (wallet.balance, wallet.lots) == (10, [3])


def test_a_refund_returns_to_the_lots_it_came_from(wallet):
    wallet.grant(10)
    wallet.promote(5, days=2)
    job_id = wallet.charge(8)
    assert wallet.lots == [7, 0]

    entry = wallet.refund(job_id)

    assert wallet.lots == [10, 5]
    assert (entry.kind, entry.change, entry.balance_after) == (Kind.REFUND, 8, 15)
    assert wallet.is_balanced()


def test_a_second_refund_of_a_job_returns_the_first(wallet):
    wallet.grant(10)
    job_id = wallet.charge(8)
    first = wallet.refund(job_id)

    again = wallet.refund(job_id)

    assert again == first
    assert (wallet.balance, len(wallet.entries)) == (10, 3)


def test_a_job_that_was_never_charged_is_not_refunded(wallet):
    wallet.grant(10)

    with pytest.raises(LedgerBroken):
        wallet.refund(uuid4())

    assert (wallet.balance, len(wallet.entries)) == (10, 1)


def test_a_refund_does_not_count_as_granted(wallet):
    wallet.grant(10)
    wallet.refund(wallet.charge(8))

    assert services.balance_of(wallet.user_id).lifetime_total == 10
