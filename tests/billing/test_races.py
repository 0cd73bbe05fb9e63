"""Concurrent reports of one transaction lead to one grant."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing.appstore import verifier
from billing.due_work import APPLY_NOTIFICATIONS
from billing.lifecycle import notification_handlers
from billing.models import Notification
from tests.billing.conftest import (
    TEN,
    deliver,
    ledger_is_balanced,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone


@pytest.fixture
def guest(committed, sandbox):
    return Phone().sign_in()


def test_thirty_concurrent_calls_and_a_notification_grant_a_purchase_once(guest, store):
    purchase = store.buy(TEN, phone=guest)
    assert deliver(purchase).status_code == 200

    *answers, _ = at_once(
        *[lambda: update_credits(guest, purchase)] * 30,
        lambda: APPLY_NOTIFICATIONS.run_batch(now=timezone.now()),
    )

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["credits_added"] for answer in answers} == {10}
    assert sum(not answer.json()["already_processed"] for answer in answers) <= 1
    assert guest.balance() == 20
    assert ledger_is_balanced()


def test_concurrent_claims_of_one_purchase_grant_it_to_one_phone(guest, store):
    other, purchase = Phone().sign_in(), store.buy(TEN)

    answers = at_once(
        *[lambda: update_credits(guest, purchase), lambda: update_credits(other, purchase)] * 5
    )

    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert guest.balance() + other.balance() == 30
    assert ledger_is_balanced()


def test_a_notification_delivered_concurrently_is_stored_once(guest, store):
    purchase = store.buy(TEN, phone=guest)

    answers = at_once(*[lambda: deliver(purchase)] * 10)
    at_once(*[lambda: APPLY_NOTIFICATIONS.run_batch(now=timezone.now())] * 4)

    assert {answer.status_code for answer in answers} == {200}
    uuid = purchase["notification_uuid"]
    assert Notification.objects.filter(notification_uuid=uuid).count() == 1
    assert guest.balance() == 20


def test_a_refund_concurrent_with_its_purchase_leaves_no_credits(guest, store):
    for _ in range(5):
        purchase = store.buy(TEN, phone=guest)
        event = [purchase, store.notify("REFUND", purchase)]
        notices = [verifier.read_notification(one["signed_payload"]) for one in event]

        at_once(
            *[
                lambda notice=notice: notification_handlers.handle(notice, now=timezone.now())
                for notice in notices
            ]
        )

        assert purchase_of(purchase).is_refunded
        assert guest.balance() == 10
    assert ledger_is_balanced()


def test_a_purchase_concurrent_with_a_merge_is_granted(guest, store, sandbox):
    account, purchase = Phone().sign_in(), store.buy(TEN, phone=guest)
    sub = sign_in(account, sandbox)

    at_once(
        lambda: sign_in(guest, sandbox, sub=sub),
        lambda: notification_handlers.handle(
            verifier.read_notification(purchase["signed_payload"]), now=timezone.now()
        ),
    )

    assert account.balance() == 20
    assert purchase_of(purchase).user_id == account.user_id
    assert ledger_is_balanced()
