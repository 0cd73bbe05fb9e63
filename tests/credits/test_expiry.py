"""Lots expire at their time."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from credits import services
from credits.models import Kind
from tests.helpers.wallet import NOW


def test_a_lot_expires_at_its_time_and_not_before(wallet):
    wallet.grant(10)
    wallet.promote(5, days=2)
    wallet.charge(1)

    services.expire_due_lots(now=NOW + timedelta(days=2, seconds=-1))
    assert wallet.balance == 14

    services.expire_due_lots(now=NOW + timedelta(days=2))
    assert (wallet.balance, wallet.lots) == (10, [10, 0])
    assert (wallet.entries[-1].kind, wallet.entries[-1].change) == (Kind.EXPIRY, -4)
    assert wallet.is_balanced()


def test_a_second_run_expires_nothing_more(wallet):
    wallet.promote(5, days=2)
    services.expire_due_lots(now=NOW + timedelta(days=3))

    services.expire_due_lots(now=NOW + timedelta(days=3))

    assert [entry.kind for entry in wallet.entries] == [Kind.GRANT, Kind.EXPIRY]


def test_a_run_expires_no_more_lots_than_its_limit(wallet):
    for days in (1, 2, 3):
        wallet.promote(5, days=days)

    assert services.expire_due_lots(now=NOW + timedelta(days=9), limit=2) == 2

    assert wallet.lots == [0, 0, 5]


def test_a_refund_extends_an_expired_lot_by_the_time_it_had_left(wallet):
    wallet.promote(5, days=2)
    job_id = wallet.charge(3)
    failed_at = NOW + timedelta(days=3)
    services.expire_due_lots(now=failed_at)
    assert wallet.balance == 0

    services.refund(user_id=wallet.user_id, job_id=job_id, reason="failed", now=failed_at)

    services.expire_due_lots(now=failed_at + timedelta(days=2, seconds=-1))
    assert wallet.balance == 3
    services.expire_due_lots(now=failed_at + timedelta(days=2))
    assert wallet.balance == 0
    assert wallet.is_balanced()


def test_a_refund_before_the_expiry_extends_nothing(wallet):
    wallet.promote(5, days=2)
    wallet.refund(wallet.charge(5))

    services.expire_due_lots(now=NOW + timedelta(days=2))

    assert wallet.balance == 0


def test_credits_spent_after_their_expiry_expire_when_refunded(wallet):
    wallet.promote(5, days=2)
    late = NOW + timedelta(days=2, seconds=1)
    job_id = uuid4()
    services.charge(
        wallet=services.lock_wallet(user_id=wallet.user_id), amount=5, job_id=job_id, now=late
    )
    services.refund(user_id=wallet.user_id, job_id=job_id, reason="failed", now=late)

    services.expire_due_lots(now=late)

    assert wallet.balance == 0
    assert wallet.is_balanced()
