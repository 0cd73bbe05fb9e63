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


def token_at_apple(store, bought):
    [asked] = store.requests_to(f"/{bought['original_transaction_id']}/appAccountToken")
    return asked["method"], asked["body"]["appAccountToken"]


def test_a_guests_purchases_move_to_the_account_and_apples_token_is_updated(
    phone, account, store, sandbox
):
    bought = store.buy(TEN, phone=phone)
    update_credits(phone, bought)

    sign_in(phone, sandbox, sub=account)
    UPDATE_ACCOUNT_TOKENS.run_batch(now=timezone.now())

    assert purchase_of(bought).user_id == phone.user_id
    assert token_at_apple(store, bought) == ("PUT", str(phone.user_id))
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
    bought = store.buy(TEN, phone=phone)
    sign_in(phone, sandbox, sub=account)

    assert deliver_and_apply(bought).outcome == "granted"
    assert purchase_of(bought).user_id == phone.user_id


def test_a_closed_guests_token_counts_as_the_accounts(phone, account, store, sandbox):
    bought = store.buy(TEN, phone=phone)
    sign_in(phone, sandbox, sub=account)

    answer = update_credits(phone, bought)

    assert answer.json()["credits_added"] == 10
    assert answer.json()["credits_remaining"] == phone.balance()


def test_a_merged_purchase_is_refunded_from_the_account(phone, account, store, sandbox):
    bought = store.buy(TEN, phone=phone)
    update_credits(phone, bought)
    sign_in(phone, sandbox, sub=account)
    before = phone.balance()

    deliver_and_apply(store.notify("REFUND", bought))

    assert phone.balance() == before - 10
    assert ledger_is_balanced()


def test_unconfirmed_purchases_move_in_a_merge(phone, account, store, sandbox):
    store.set_outage(times=1)
    update_credits(phone, store.buy(TEN, phone=phone))

    sign_in(phone, sandbox, sub=account)

    assert UnconfirmedPurchase.objects.get().user_id == phone.user_id


# --- Accounts that are gone -----------------------------------------------------------------------


def test_a_deleted_accounts_purchase_waits_for_support(phone, store):
    bought = store.buy(TEN, phone=phone)
    phone.post("delete-account")

    assert deliver_and_apply(bought).outcome.startswith("pending")
    assert purchase_of(bought).pending_reason == "closed"
    assert ledger_is_balanced()


def test_a_deleted_accounts_purchase_is_not_granted_to_the_phones_next_guest(phone, store):
    bought = store.buy(TEN, phone=phone)
    phone.post("delete-account")
    phone.session = {}

    assert_refused(update_credits(phone.sign_in(), bought), 409, "ERR_4014")


def test_a_refund_after_an_account_deletion_claws_back_from_the_closed_wallet(phone, store):
    bought = store.buy(TEN, phone=phone)
    deliver_and_apply(bought)
    phone.post("delete-account")

    assert deliver_and_apply(store.notify("REFUND", bought)).outcome == "refunded 100 %"
    assert ledger_is_balanced()


def test_an_account_deletion_keeps_purchases_and_deletes_signed_payloads(phone, store):
    bought = store.buy(TEN, phone=phone)
    deliver_and_apply(bought)
    store.set_outage(times=1)
    update_credits(phone, store.buy(TEN, phone=phone))

    phone.post("delete-account")

    assert purchase_of(bought).credits == 10
    assert Notification.objects.get().signed_payload == ""
    assert not UnconfirmedPurchase.objects.exists()


def test_an_export_contains_purchases(phone, store):
    bought = store.buy(TEN, phone=phone, customer="jo")
    update_credits(phone, bought)

    [held] = phone.get("export-user-data").json()["purchases"]

    assert held["transaction_id"] == bought["transaction_id"]
    assert held["app_transaction_id"] == purchase_of(bought).app_transaction_id != ""
    assert (held["product_id"], held["credits"]) == (TEN, 10)
    assert Purchase.objects.count() == 1
