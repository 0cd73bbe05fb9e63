"""Fraud signals add up to a score; above a limit, new purchases await review."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Device
from billing.due_work import SYNC_PURCHASES
from billing.models import FraudScore, Purchase
from billing.services import release_purchase
from rendio.common.errors import InvalidState
from tests.billing.conftest import (
    TEN,
    debt_of,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone


@pytest.fixture
def strict(settings):
    """One purchase an hour is usual, and the next is too many."""
    settings.FRAUD_PURCHASES_PER_HOUR = 1
    settings.FRAUD_HOLD_SCORE = 10


def signals(phone):
    found = FraudScore.objects.filter(user_id=phone.user_id).first()
    return {mark["what"]: mark["points"] for mark in found.signals} if found else {}


def buy(store, phone, **fields):
    purchase = store.buy(TEN, phone=phone, **fields)
    deliver_and_apply(purchase)
    return purchase


def test_an_ordinary_customer_has_no_signals(phone, store):
    buy(store, phone)

    assert signals(phone) == {}
    assert phone.balance() == 20


def test_a_burst_of_purchases_is_a_signal(phone, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 2

    for _ in range(4):
        buy(store, phone)

    assert signals(phone) == {"purchases within an hour": 20}
    assert FraudScore.objects.get().score == 20


def test_a_burst_signal_ends_after_an_hour(phone, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 1
    buy(store, phone)
    buy(store, phone)
    assert signals(phone)

    Purchase.objects.update(purchased_at=timezone.now() - timedelta(minutes=61))
    buy(store, phone)

    assert signals(phone) == {}


def test_purchases_delivered_together_after_an_outage_are_no_burst(phone, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 1

    for hours in range(2, 6):
        buy(store, phone, at=(timezone.now() - timedelta(hours=hours)).isoformat())

    assert signals(phone) == {}


def test_renewals_are_no_burst(phone, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 1
    began_at = (timezone.now() - timedelta(minutes=10)).isoformat()
    purchase = store.subscribe(phone=phone, at=began_at, expires_in=60)
    deliver_and_apply(purchase)

    for _ in range(3):
        deliver_and_apply(store.notify("DID_RENEW", purchase))

    assert signals(phone) == {}


def test_a_refund_of_spent_credits_is_a_signal_until_reversed(phone, store):
    purchase = buy(store, phone)
    assert phone.generate(settings={"duration": 12}).status_code == 200

    deliver_and_apply(store.notify("REFUND", purchase))
    assert signals(phone) == {"refunds of what had been spent": 30}

    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))
    buy(store, phone)
    assert signals(phone) == {}


def test_a_refund_of_unspent_credits_is_no_signal(phone, store):
    purchase = buy(store, phone)

    deliver_and_apply(store.notify("REFUND", purchase))

    assert signals(phone) == {}


def test_many_devices_of_one_account_are_a_signal(phone, store, settings):
    settings.FRAUD_DEVICES = 2
    now = timezone.now()
    for seen in [now, now, now - timedelta(days=91)]:
        Device.objects.create(
            device_id=uuid4(), user_id=phone.user_id, created_at=now, last_seen_at=seen
        )

    buy(store, phone)

    assert signals(phone) == {"devices of one Apple account": 10}


def test_a_new_guest_with_the_same_apple_account_is_recognized(phone, store):
    purchase = store.buy(TEN, phone=phone, customer="somebody")
    deliver_and_apply(purchase)
    assert phone.generate(settings={"duration": 12}).status_code == 200
    deliver_and_apply(store.notify("REFUND", purchase))

    again, stranger = Phone().sign_in(), Phone().sign_in()
    deliver_and_apply(store.buy(TEN, phone=again, customer="somebody"))
    buy(store, stranger)

    assert signals(again) == {"refunds of what had been spent": 30}
    assert signals(stranger) == {}


# --- What waits -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("strict")
def test_a_purchase_above_the_fraud_limit_awaits_review(phone, store):
    buy(store, phone)

    pending_purchase = store.buy(TEN, phone=phone)
    assert deliver_and_apply(pending_purchase).outcome == "pending: Fraud review"

    assert phone.balance() == 20
    assert Purchase.objects.pending().get() == purchase_of(pending_purchase)
    assert purchase_of(pending_purchase).user_id == phone.user_id


@pytest.mark.usefixtures("strict")
def test_the_phone_gets_200_without_credits_while_a_purchase_awaits_review(phone, store):
    buy(store, phone)
    pending_purchase = store.buy(TEN, phone=phone)
    key = str(uuid4())

    answer = update_credits(phone, pending_purchase, Idempotency_Key=key)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "success": True,
            "credits_added": 0,
            "credits_remaining": 20,
            "already_processed": False,
        },
    )

    release(pending_purchase)
    again = update_credits(phone, pending_purchase, Idempotency_Key=key)
    assert (again.json()["credits_added"], again.json()["already_processed"]) == (10, True)


def release(purchase):
    return release_purchase(purchase_id=purchase_of(purchase).id, now=timezone.now())


@pytest.mark.usefixtures("strict")
def test_a_purchase_stays_in_review_when_the_limit_is_lifted(phone, store, settings):
    buy(store, phone)
    pending_purchase = buy(store, phone)

    settings.FRAUD_HOLD_SCORE = 0
    update_credits(phone, pending_purchase)
    Purchase.objects.update(due_at=timezone.now())
    SYNC_PURCHASES.run_batch(now=timezone.now())

    assert purchase_of(pending_purchase).pending_reason == "held"
    assert phone.balance() == 20


@pytest.mark.usefixtures("strict")
def test_a_released_purchase_is_granted_once(phone, store):
    buy(store, phone)
    pending_purchase = buy(store, phone)

    release(pending_purchase)
    update_credits(phone, pending_purchase)
    deliver_and_apply(store.notify("ONE_TIME_CHARGE", pending_purchase))

    assert phone.balance() == 30
    assert not Purchase.objects.pending().exists()
    assert ledger_is_balanced()


@pytest.mark.usefixtures("strict")
def test_a_refund_of_a_pending_purchase_leaves_nothing_to_do(phone, store):
    buy(store, phone)
    pending_purchase = buy(store, phone)

    deliver_and_apply(store.notify("REFUND", pending_purchase))

    assert not Purchase.objects.pending().exists()
    assert (phone.balance(), debt_of(phone)) == (20, 0)


@pytest.mark.usefixtures("strict")
def test_a_pending_period_has_its_tier(phone, store):
    buy(store, phone)
    pending_purchase = store.subscribe(phone=phone)
    deliver_and_apply(pending_purchase)

    assert phone.get("subscription/status").json()["tier"] == "premium"
    assert phone.balance() == 20
    release(pending_purchase)
    assert phone.balance() == 80


@pytest.mark.usefixtures("strict")
def test_a_pending_purchase_moves_with_its_guest(phone, store, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    buy(store, phone)
    pending_purchase = buy(store, phone)
    before = phone.balance()

    sign_in(phone, sandbox, sub=sub)
    release(pending_purchase)

    assert purchase_of(pending_purchase).user_id == phone.user_id
    assert phone.balance() == before + 10


@pytest.mark.usefixtures("strict")
def test_signals_move_with_a_guest_and_are_deleted_with_an_account(phone, store, sandbox):
    guest_id = phone.user_id
    sub = sign_in(Phone().sign_in(), sandbox)
    buy(store, phone)
    buy(store, phone)

    sign_in(phone, sandbox, sub=sub)
    assert signals(phone)
    assert not FraudScore.objects.filter(user_id=guest_id).exists()

    phone.post("delete-account")
    assert not FraudScore.objects.exists()


def test_no_purchase_awaits_review_without_a_limit(phone, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 0
    settings.FRAUD_HOLD_SCORE = 0

    buy(store, phone)

    assert signals(phone)
    assert phone.balance() == 20


def test_query_count_does_not_grow_with_earlier_purchases(phone, store):
    def queries():
        purchase = store.buy(TEN, phone=phone)
        with CaptureQueriesContext(connection) as captured:
            assert update_credits(phone, purchase).status_code == 200
        return len(captured)

    queries()  # fills what is cached

    assert len({queries() for _ in range(5)}) == 1


@pytest.mark.usefixtures("committed")
def test_concurrent_releases_grant_a_purchase_once(sandbox, store, settings):
    settings.FRAUD_PURCHASES_PER_HOUR = 0
    settings.FRAUD_HOLD_SCORE = 10
    phone = Phone().sign_in()
    pending_purchase = store.buy(TEN, phone=phone)
    assert update_credits(phone, pending_purchase).json()["credits_added"] == 0

    def let_through():
        try:
            with transaction.atomic():
                release(pending_purchase)
        except InvalidState:
            return "refused"
        return "released"

    outcomes = at_once(*[let_through] * 4, *[lambda: update_credits(phone, pending_purchase)] * 4)

    assert sorted(outcomes[:4]) == ["refused"] * 3 + ["released"]
    assert phone.balance() == 20
    assert ledger_is_balanced()
