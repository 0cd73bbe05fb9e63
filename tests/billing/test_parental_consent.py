"""Withdrawn parental consent to a child's purchases (RESCIND_CONSENT)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import Purchase
from billing.services import release_purchase
from tests.billing.conftest import (
    TEN,
    deliver,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    update_credits,
)

CHILD = "child"
EARLIER = (timezone.now() - timedelta(days=2)).isoformat()


@pytest.fixture
def child(phone, store):
    """Bought once, when nobody minded."""
    update_credits(phone, store.buy(TEN, phone=phone, customer=CHILD, at=EARLIER))
    return phone


@pytest.fixture
def rescinded(child, store):
    purchase = {"transaction_id": Purchase.objects.get().transaction_id}
    at = (timezone.now() - timedelta(days=1)).isoformat()
    return store.notify("RESCIND_CONSENT", purchase, at=at)


def test_a_purchase_after_the_withdrawal_awaits_review(child, store, rescinded):
    assert deliver_and_apply(rescinded).outcome == "later purchases await review"

    purchase = store.buy(TEN, phone=child, customer=CHILD)
    answer = update_credits(child, purchase).json()

    assert (answer["credits_added"], answer["already_processed"]) == (0, False)
    assert (purchase_of(purchase).pending_reason, child.balance()) == ("guardian", 20)

    release_purchase(purchase_id=purchase_of(purchase).id, now=timezone.now())
    assert child.balance() == 30
    assert ledger_is_balanced()


def test_a_late_purchase_from_before_the_withdrawal_is_granted(child, store, rescinded):
    deliver_and_apply(rescinded)

    deliver_and_apply(
        store.notify("ONE_TIME_CHARGE", store.buy(TEN, phone=child, customer=CHILD, at=EARLIER))
    )

    assert child.balance() == 30


def test_a_withdrawal_does_not_affect_other_customers(child, store, rescinded):
    deliver_and_apply(rescinded)

    update_credits(child, store.buy(TEN, phone=child, customer="sister"))

    assert child.balance() == 30


def test_the_earliest_withdrawal_counts_in_any_order(child, store, rescinded):
    purchase = {"transaction_id": Purchase.objects.get().transaction_id}
    deliver_and_apply(store.notify("RESCIND_CONSENT", purchase))
    deliver_and_apply(rescinded)
    deliver_and_apply(rescinded)

    between = store.buy(
        TEN, phone=child, customer=CHILD, at=(timezone.now() - timedelta(hours=1)).isoformat()
    )
    deliver_and_apply(store.notify("ONE_TIME_CHARGE", between))

    assert purchase_of(between).pending_reason == "guardian"


def test_another_apps_withdrawal_is_refused(child, store):
    purchase = {"transaction_id": Purchase.objects.get().transaction_id}
    other = {"environment": "Production", "bundleId": "com.example.other", "appAppleId": 1}

    event = store.notify("RESCIND_CONSENT", purchase, override={"appData": other})

    assert deliver(event).status_code == 401
