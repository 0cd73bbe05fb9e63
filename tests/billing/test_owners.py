"""The owner of a purchase when its guest becomes an account, or its account is deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.due_work import UPDATE_ACCOUNT_TOKENS
from billing.models import AppAccountTokenUpdate, Notification, Purchase, UnconfirmedPurchase
from tests.billing.conftest import (
    TEN,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.helpers.phone import Phone, assert_refused


@pytest.fixture
def account(phone, sandbox):
    """Who signs in to it now, and the name to sign in to it again."""
    return sign_in(Phone().sign_in(), sandbox)


def token_at_apple(store, purchase):
    [call] = store.requests_to(f"/{purchase['original_transaction_id']}/appAccountToken")
    return call["method"], call["body"]["appAccountToken"]


def test_a_guests_purchases_move_to_the_account_and_apples_token_is_updated(
    phone, account, store, sandbox
):
    purchase = store.buy(TEN, phone=phone)
    update_credits(phone, purchase)

    sign_in(phone, sandbox, sub=account)
    UPDATE_ACCOUNT_TOKENS.run_batch(now=timezone.now())

    assert purchase_of(purchase).user_id == phone.user_id
    assert token_at_apple(store, purchase) == ("PUT", str(phone.user_id))
    assert not AppAccountTokenUpdate.objects.exists()


def test_a_purchase_without_a_token_needs_no_token_update(phone, account, store, sandbox):
    update_credits(phone, store.buy(TEN))

    sign_in(phone, sandbox, sub=account)

    assert not AppAccountTokenUpdate.objects.exists()


def test_a_token_update_is_retried_until_apple_accepts(phone, account, store, sandbox):
    update_credits(phone, store.buy(TEN, phone=phone))
    sign_in(phone, sandbox, sub=account)
    store.set_outage(times=1)

    UPDATE_ACCOUNT_TOKENS.run_batch(now=timezone.now())
    assert AppAccountTokenUpdate.objects.get().tries == 1
    UPDATE_ACCOUNT_TOKENS.run_batch(now=timezone.now() + timedelta(minutes=2))

    assert not AppAccountTokenUpdate.objects.exists()


def test_a_closed_guests_purchase_is_granted_to_the_account(phone, account, store, sandbox):
    purchase = store.buy(TEN, phone=phone)
    sign_in(phone, sandbox, sub=account)

    assert deliver_and_apply(purchase).outcome == "granted"
    assert purchase_of(purchase).user_id == phone.user_id


def test_a_closed_guests_token_counts_as_the_accounts(phone, account, store, sandbox):
    purchase = store.buy(TEN, phone=phone)
    sign_in(phone, sandbox, sub=account)

    answer = update_credits(phone, purchase)

    assert answer.json()["credits_added"] == 10
    assert answer.json()["credits_remaining"] == phone.balance()


def test_a_merged_purchase_is_refunded_from_the_account(phone, account, store, sandbox):
    purchase = store.buy(TEN, phone=phone)
    update_credits(phone, purchase)
    sign_in(phone, sandbox, sub=account)
    before = phone.balance()

    deliver_and_apply(store.notify("REFUND", purchase))

    assert phone.balance() == before - 10
    assert ledger_is_balanced()


def test_unconfirmed_purchases_move_in_a_merge(phone, account, store, sandbox):
    store.set_outage(times=1)
    update_credits(phone, store.buy(TEN, phone=phone))

    sign_in(phone, sandbox, sub=account)

    assert UnconfirmedPurchase.objects.get().user_id == phone.user_id


# --- Accounts that are gone -----------------------------------------------------------------------


def test_a_deleted_accounts_purchase_waits_for_support(phone, store):
    purchase = store.buy(TEN, phone=phone)
    phone.post("delete-account")

    assert deliver_and_apply(purchase).outcome.startswith("pending")
    assert purchase_of(purchase).pending_reason == "closed"
    assert ledger_is_balanced()


def test_a_deleted_accounts_purchase_is_not_granted_to_the_phones_next_guest(phone, store):
    purchase = store.buy(TEN, phone=phone)
    phone.post("delete-account")
    phone.session = {}

    assert_refused(update_credits(phone.sign_in(), purchase), 409, "ERR_4014")


def test_a_refund_after_an_account_deletion_claws_back_from_the_closed_wallet(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)
    phone.post("delete-account")

    assert deliver_and_apply(store.notify("REFUND", purchase)).outcome == "refunded 100 %"
    assert ledger_is_balanced()


def test_an_account_deletion_keeps_purchases_and_deletes_signed_payloads(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)
    store.set_outage(times=1)
    update_credits(phone, store.buy(TEN, phone=phone))

    phone.post("delete-account")

    assert purchase_of(purchase).credits == 10
    assert Notification.objects.get().signed_payload == ""
    assert not UnconfirmedPurchase.objects.exists()


def test_an_export_contains_purchases(phone, store):
    purchase = store.buy(TEN, phone=phone, customer="jo")
    update_credits(phone, purchase)

    [exported] = phone.get("export-user-data").json()["purchases"]

    assert exported["transaction_id"] == purchase["transaction_id"]
    assert exported["app_transaction_id"] == purchase_of(purchase).app_transaction_id != ""
    assert (exported["product_id"], exported["credits"]) == (TEN, 10)
    assert Purchase.objects.count() == 1
