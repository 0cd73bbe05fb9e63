"""The sweep of expired credits beside those who use them, with real commits."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from credits import services
from credits.errors import InsufficientCredits
from credits.models import Kind
from tests.conftest import at_once, waiting_for_locks
from tests.helpers.wait import eventually
from tests.helpers.wallet import NOW, Purse

LATER = NOW + timedelta(days=3)


@pytest.fixture
def purse(committed):
    """10 credits that never expire, and 5 whose time has come at LATER."""
    with transaction.atomic():
        purse = Purse(credits=10)
        purse.promote(5, days=2)
    return purse


def sweep():
    with transaction.atomic():
        services.expire_due_lots(now=LATER)


def charge(purse, amount):
    """The job's id, or None where less was there."""
    try:
        with transaction.atomic():
            return purse.charge(amount)
    except InsufficientCredits:
        return None


def refund(purse, job_id):
    with transaction.atomic():
        services.refund(user_id=purse.user_id, job_id=job_id, reason="failed", now=LATER)


def lapsed(purse):
    return -sum(entry.change for entry in purse.entries if entry.kind == Kind.EXPIRY)


def test_what_a_charge_takes_does_not_lapse_and_what_has_lapsed_is_not_charged(purse):
    paid = at_once(*[lambda: charge(purse, 4)] * 3, *[sweep] * 3)[:3]

    sweep()
    assert purse.balance == 15 - 4 * len(list(filter(None, paid))) - lapsed(purse)
    assert 0 <= lapsed(purse) <= 5
    assert purse.balance == sum(purse.lots)
    assert purse.adds_up()


def test_many_sweeps_at_once_lapse_a_lot_once(purse):
    at_once(*[sweep] * 6)

    assert (purse.balance, lapsed(purse)) == (10, 5)
    assert purse.adds_up()


def test_a_refund_beside_sweeps_gives_back_all_and_lapses_only_what_was_left(purse):
    job_id = charge(purse, 3)

    at_once(lambda: refund(purse, job_id), *[sweep] * 4)

    # The refund prolongs its lot: what was not spent of it lapses if a sweep came first.
    assert (purse.balance, lapsed(purse)) in {(15, 0), (13, 2)}
    assert purse.adds_up()


def test_a_sweep_that_waited_for_a_refund_leaves_what_the_refund_prolonged(purse):
    job_id = charge(purse, 3)

    def sweep_beside():
        try:
            sweep()
        finally:
            connection.close()

    sweeping = threading.Thread(target=sweep_beside)

    with transaction.atomic():
        refund(purse, job_id)
        sweeping.start()
        eventually(lambda: waiting_for_locks("credits_wallet") > 0)
    sweeping.join(timeout=30)

    assert (purse.balance, lapsed(purse)) == (15, 0)
    assert purse.adds_up()


def test_a_lot_that_a_merge_has_moved_lapses_at_the_account(purse):
    with transaction.atomic():
        account = Purse()

    def merge():
        with transaction.atomic():
            services.merge(from_user_id=purse.user_id, into_user_id=account.user_id, now=LATER)

    at_once(merge, *[sweep] * 3)

    sweep()
    assert (purse.balance, account.balance) == (0, 10)
    assert lapsed(purse) + lapsed(account) == 5
    assert purse.adds_up()
    assert account.adds_up()
