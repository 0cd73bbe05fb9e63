"""Expiry concurrent with charges, refunds and merges, with real commits."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from tests.helpers.concurrency import at_once, waiting_for_locks
from tests.helpers.wait import wait_for
from tests.helpers.wallet import NOW, TestWallet

LATER = NOW + timedelta(days=3)


@pytest.fixture
def wallet(committed):
    """10 credits that never expire, and 5 whose time has come at LATER."""
    with transaction.atomic():
        wallet = TestWallet(credits=10)
        wallet.promote(5, days=2)
    return wallet


def sweep():
    with transaction.atomic():
        services.expire_due_lots(now=LATER)


def charge(wallet, amount):
    """The job's id, or None where less was there."""
    try:
        with transaction.atomic():
            return wallet.charge(amount)
    except InsufficientCredits:
        return None


def refund(wallet, job_id):
    with transaction.atomic():
        services.refund(user_id=wallet.user_id, job_id=job_id, reason="failed", now=LATER)


def lapsed(wallet):
    return -sum(entry.change for entry in wallet.entries if entry.kind == Kind.EXPIRY)


def test_concurrent_charges_and_expiry_never_count_a_credit_twice(wallet):
    paid = at_once(*[lambda: charge(wallet, 4)] * 3, *[sweep] * 3)[:3]

    sweep()
    assert wallet.balance == 15 - 4 * len(list(filter(None, paid))) - lapsed(wallet)
    assert 0 <= lapsed(wallet) <= 5
    assert wallet.balance == sum(wallet.lots)
    assert wallet.is_balanced()


def test_concurrent_runs_expire_a_lot_once(wallet):
    at_once(*[sweep] * 6)

    assert (wallet.balance, lapsed(wallet)) == (10, 5)
    assert wallet.is_balanced()


def test_a_refund_concurrent_with_expiry_returns_everything(wallet):
    job_id = charge(wallet, 3)

    at_once(lambda: refund(wallet, job_id), *[sweep] * 4)

    # The refund prolongs its lot: what was not spent of it lapses if a sweep came first.
    assert (wallet.balance, lapsed(wallet)) in {(15, 0), (13, 2)}
    assert wallet.is_balanced()


def test_expiry_that_waited_for_a_refund_respects_the_extended_time(wallet):
    job_id = charge(wallet, 3)

    def sweep_beside():
        try:
            sweep()
        finally:
            connection.close()

    sweeping = threading.Thread(target=sweep_beside)

    with transaction.atomic():
        refund(wallet, job_id)
        sweeping.start()
        wait_for(lambda: waiting_for_locks("credits_wallet") > 0)
    sweeping.join(timeout=30)

    assert (wallet.balance, lapsed(wallet)) == (15, 0)
    assert wallet.is_balanced()


def test_a_lot_moved_by_a_merge_expires_at_the_account(wallet):
    with transaction.atomic():
        account = TestWallet()

    def merge():
        with transaction.atomic():
            services.merge(from_user_id=wallet.user_id, into_user_id=account.user_id, now=LATER)

    at_once(merge, *[sweep] * 3)

    sweep()
    assert (wallet.balance, account.balance) == (0, 10)
    assert lapsed(wallet) + lapsed(account) == 5
    assert wallet.is_balanced()
    assert account.is_balanced()
