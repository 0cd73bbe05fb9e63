"""Apple is unavailable: no purchase is lost, and we retry."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from billing.due_work import CONFIRM_PURCHASES
from billing.lifecycle import purchases
from billing.models import UnconfirmedPurchase
from tests.billing.conftest import TEN, update_credits
from tests.helpers.phone import Phone, assert_refused


@pytest.mark.parametrize("status", [500, 503, 429])
def test_the_same_call_succeeds_once_apple_is_back(phone, store, status):
    purchase = store.buy(TEN, phone=phone)
    store.set_outage(status=status, times=1)
    first = update_credits(phone, purchase)
    assert_refused(first, 503, "ERR_5005")
    assert int(first.headers["Retry-After"]) > 0

    assert update_credits(phone, purchase).json()["credits_added"] == 10


def test_a_refused_connection_is_an_outage(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    settings.APPSTORE_URL = "http://127.0.0.1:1"

    assert_refused(update_credits(phone, purchase), 503, "ERR_5005")


def test_a_wrong_address_does_not_make_a_purchase_unknown(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    settings.APPSTORE_URL = settings.APPSTORE_SANDBOX_URL = f"{settings.SANDBOX_URL}/nothing-here"

    assert_refused(update_credits(phone, purchase), 503, "ERR_5005")


def test_a_key_that_apple_refuses_is_store_unavailable(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    store.set_outage(status=401)

    assert_refused(update_credits(phone, purchase), 503, "ERR_5005")
    assert UnconfirmedPurchase.objects.exists()


def test_a_purchase_is_granted_by_a_worker_after_an_outage(phone, store):
    purchase = store.buy(TEN, phone=phone)
    store.set_outage(status=503)
    update_credits(phone, purchase)
    CONFIRM_PURCHASES.run_batch(now=timezone.now())
    assert phone.balance() == 10

    store.set_outage(times=0)
    CONFIRM_PURCHASES.run_batch(now=timezone.now() + timedelta(minutes=2))

    assert phone.balance() == 20
    assert not UnconfirmedPurchase.objects.exists()


@contextmanager
def locked_wallet_of(phone):
    """Somebody else has it in hand, for longer than we wait."""
    query = "SELECT 1 FROM credits_wallet WHERE user_id = %s FOR UPDATE"
    holder = psycopg.connect(**connection.get_connection_params())
    with holder, connection.cursor() as cursor:
        holder.execute(query, [phone.user_id])
        cursor.execute("SET lock_timeout = '100ms'")
        try:
            yield
        finally:
            cursor.execute("RESET lock_timeout")


@pytest.mark.usefixtures("committed")
def test_a_purchase_of_a_locked_wallet_is_granted_later(sandbox, store):
    phone, purchase = Phone().sign_in(), store.buy(TEN)
    store.set_outage(times=1)
    update_credits(phone, purchase)

    with locked_wallet_of(phone):
        CONFIRM_PURCHASES.run_batch(now=timezone.now())
    CONFIRM_PURCHASES.run_batch(now=timezone.now() + timedelta(minutes=2))

    assert phone.balance() == 20, "which names nobody, and is who asked for it"
    assert not UnconfirmedPurchase.objects.filter(user_id=phone.user_id).exists()


def test_an_outage_costs_one_call_and_not_one_for_each_purchase(phone, store):
    store.set_outage(status=503)
    for _ in range(3):
        update_credits(phone, store.buy(TEN, phone=phone))
    before = len(store.requests_to("/inApps/"))

    CONFIRM_PURCHASES.run_batch(now=timezone.now())

    assert len(store.requests_to("/inApps/")) == before + 1


def test_an_unconfirmed_purchase_that_apple_does_not_know_is_dropped(phone, store):
    store.set_outage(status=503, times=1)
    update_credits(phone, {"transaction_id": "2000000999999999"})

    CONFIRM_PURCHASES.run_batch(now=timezone.now())

    assert not UnconfirmedPurchase.objects.exists()


def test_retries_end(phone, store):
    store.set_outage(status=503)
    update_credits(phone, store.buy(TEN, phone=phone))

    end = timezone.now() + purchases.GIVE_UP_AFTER

    CONFIRM_PURCHASES.run_batch(now=end - timedelta(days=1))
    assert UnconfirmedPurchase.objects.exists()
    CONFIRM_PURCHASES.run_batch(now=end)

    assert not UnconfirmedPurchase.objects.exists()


def test_repeated_calls_store_one_unconfirmed_purchase(phone, store):
    purchase = store.buy(TEN, phone=phone)
    store.set_outage(status=503)

    for _ in range(3):
        update_credits(phone, purchase)

    assert UnconfirmedPurchase.objects.count() == 1


def test_the_first_claimant_of_a_purchase_without_owner_keeps_it(phone, store):
    purchase, other = store.buy(TEN), Phone().sign_in()
    store.set_outage(status=503, times=1)
    update_credits(phone, purchase)
    update_credits(other, purchase)

    CONFIRM_PURCHASES.run_batch(now=timezone.now())

    assert (phone.balance(), other.balance()) == (10, 20)
