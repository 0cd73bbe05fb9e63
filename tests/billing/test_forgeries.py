"""Payloads that Apple did not sign, or not for us, are refused without effect."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from django.core.checks import run_checks
from django.utils import timezone

from billing.appstore import verifier
from billing.due_work import APPLY_NOTIFICATIONS
from billing.models import Environment, Notification, Purchase
from tests.billing.conftest import TEN, deliver, post_notification, update_credits
from tests.helpers.phone import assert_refused

FLAWS = [
    "foreign_root",
    "chain_of_two",
    "chain_of_four",
    "leaf_without_oid",
    "intermediate_without_oid",
    "expired_chain",
    "bad_signature",
    "xcode",
    "local_testing",
    "algorithm_none",
    "algorithm_hs256",
]


@pytest.fixture
def forged(store):
    """The same as Apple says, but for one flaw."""
    return lambda flaw, **what: store.sandbox.control("apple/forge", flaw=flaw, **what)


@pytest.mark.parametrize("flaw", FLAWS)
def test_forged_transaction_is_refused(phone, store, forged, flaw):
    purchase = store.buy(TEN, phone=phone)
    body = forged(flaw, transaction_id=purchase["transaction_id"])

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")
    assert not Purchase.objects.exists()

    genuine = {"signed_transaction": purchase["signed_transaction"]}
    assert phone.post("update-credits", genuine).json()["credits_remaining"] == 20


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_forged_notification_is_refused(phone, store, forged, flaw, inner):
    event = store.buy(TEN, phone=phone)
    body = forged(flaw, notification_uuid=event["notification_uuid"], inner=inner)

    assert_refused(post_notification(body["signed_payload"]), 401, "ERR_4005")
    assert not Notification.objects.exists()

    assert deliver(event).status_code == 200
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())
    assert phone.balance() == 20


def contents(signed):
    """What is signed, unverified."""
    return jwt.decode(signed, options={"verify_signature": False})


def test_payload_that_apple_signed_for_another_purpose_is_refused(phone, store):
    purchase = store.subscribe(phone=phone)
    about = contents(purchase["signed_payload"])["data"]
    withdrawn = contents(store.notify("RESCIND_CONSENT", purchase)["signed_payload"])
    download = withdrawn["appData"]["signedAppTransactionInfo"]

    for signed in (about["signedRenewalInfo"], purchase["signed_payload"], download):
        answer = phone.post("update-credits", {"signed_transaction": signed})
        assert_refused(answer, 400, "ERR_4013")
    for signed in (about["signedRenewalInfo"], about["signedTransactionInfo"], download):
        assert_refused(post_notification(signed), 401, "ERR_4005")

    assert deliver(purchase).status_code == 200
    genuine = {"signed_transaction": about["signedTransactionInfo"]}
    assert phone.post("update-credits", genuine).json()["credits_added"] == 60


def test_another_apps_transaction_is_refused(phone, store):
    purchase = store.buy(TEN, phone=phone, bundle_id="com.example.other")
    body = {"signed_transaction": purchase["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")
    assert_refused(update_credits(phone, purchase), 400, "ERR_4013")
    assert phone.balance() == 10


def test_response_without_apples_signature_is_refused(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    settings.APPSTORE_ROOT_CERTIFICATE = ""

    assert_refused(update_credits(phone, purchase), 400, "ERR_4013")


def test_another_apps_notification_is_refused(phone, store, settings):
    event = store.buy(TEN, phone=phone)
    settings.APPSTORE_APP_ID += 1

    assert_refused(deliver(event), 401, "ERR_4005")


def test_disabled_environment_is_refused(phone, store, settings):
    settings.APPSTORE_ENVIRONMENTS = [Environment.PRODUCTION.value]
    purchase = store.buy(TEN, phone=phone, environment="Sandbox")
    body = {"signed_transaction": purchase["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")
    assert_refused(update_credits(phone, purchase), 400, "ERR_4013")
    assert_refused(deliver(purchase), 401, "ERR_4005")


def test_default_root_is_apples_and_refuses_our_sandbox(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    settings.APPSTORE_ROOT_CERTIFICATE = ""
    body = {"signed_transaction": purchase["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")


def test_modified_root_certificate_is_refused(phone, store, settings, tmp_path, monkeypatch):
    """Whoever can change the file cannot change what the code knows of it."""
    purchase = store.buy(TEN, phone=phone)
    swapped = tmp_path / "AppleRootCA-G3.cer"
    swapped.write_bytes(Path(settings.APPSTORE_ROOT_CERTIFICATE).read_bytes())
    monkeypatch.setattr(verifier, "APPLE_ROOT", swapped)
    settings.APPSTORE_ROOT_CERTIFICATE = ""

    assert_refused(deliver(purchase), 500, "ERR_6003")
    errors = [found.id for found in run_checks() if not found.is_silenced()]
    assert errors == ["billing.E001"]
