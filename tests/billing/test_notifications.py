"""Apple's notifications are verified, stored, and applied once, in any order."""

from __future__ import annotations

from datetime import timedelta

import pytest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from django.utils import timezone

from billing.appstore import verifier
from billing.due_work import APPLY_NOTIFICATIONS, SYNC_PURCHASES
from billing.lifecycle import notification_handlers
from billing.models import Notification, Purchase
from billing.services import receive, upsert_from_apple
from rendio.common.background.due_rows import claim_due
from tests.billing.conftest import (
    FIFTY,
    TEN,
    debt_of,
    deliver,
    deliver_and_apply,
    ledger_is_balanced,
    post_notification,
    purchase_of,
    update_credits,
)
from tests.helpers.phone import Phone, assert_refused


def test_a_purchase_reported_only_by_apple_is_granted(phone, store):
    assert deliver_and_apply(store.buy(TEN, phone=phone)).outcome == "granted"

    assert phone.balance() == 20


def test_a_phone_after_the_notification_gets_the_credits_added(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)

    answer = update_credits(phone, purchase).json()

    assert (answer["credits_added"], answer["already_processed"]) == (10, True)
    assert phone.balance() == 20


def test_a_notification_after_the_phone_changes_nothing(phone, store):
    purchase = store.buy(TEN, phone=phone)
    update_credits(phone, purchase)

    assert deliver_and_apply(purchase).outcome == "no change"
    assert phone.balance() == 20


def test_a_replayed_notification_is_answered_and_changes_nothing(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)

    assert deliver(purchase).status_code == 200
    assert APPLY_NOTIFICATIONS.run_batch(now=timezone.now()) == 0
    assert Notification.objects.count() == 1
    assert phone.balance() == 20


def test_the_same_refund_under_another_uuid_changes_nothing(phone, store):
    purchase = store.buy(FIFTY, phone=phone)
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("REFUND", purchase, revocation_percentage=40_000))

    deliver_and_apply(store.notify("REFUND", purchase, revocation_percentage=40_000))

    assert phone.balance() == 10 + 30


# --- Refunds ------------------------------------------------------------------------------------


def test_a_refund_claws_back_the_purchase(phone, store):
    purchase = store.buy(FIFTY, phone=phone)
    deliver_and_apply(purchase)

    assert deliver_and_apply(store.notify("REFUND", purchase)).outcome == "refunded 100 %"
    assert (phone.balance(), debt_of(phone)) == (10, 0)
    assert ledger_is_balanced()


def test_spent_credits_of_a_refunded_purchase_become_debt(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)
    assert phone.generate(settings={"duration": 12}).status_code == 200  # 12 credits

    deliver_and_apply(store.notify("REFUND", purchase))

    assert (phone.balance(), debt_of(phone)) == (0, 2)
    assert_refused(phone.generate(), 402, "ERR_4001")
    deliver_and_apply(store.buy(TEN, phone=phone))
    assert (phone.balance(), debt_of(phone)) == (8, 0)
    assert ledger_is_balanced()


def test_a_reversed_refund_restores_the_credits(phone, store):
    purchase = store.buy(FIFTY, phone=phone)
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("REFUND", purchase))

    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))
    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))

    assert (phone.balance(), debt_of(phone)) == (60, 0)
    assert ledger_is_balanced()


def test_a_refund_after_a_reversal_claws_back_again(phone, store):
    purchase = store.buy(FIFTY, phone=phone)
    for event in [
        purchase,
        store.notify("REFUND", purchase),
        store.notify("REFUND_REVERSED", purchase),
        store.notify("REFUND", purchase),
    ]:
        deliver_and_apply(event)

    assert phone.balance() == 10
    assert ledger_is_balanced()


def test_a_declined_refund_changes_nothing(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)

    assert (
        "no credits were clawed back"
        in deliver_and_apply(store.notify("REFUND_DECLINED", purchase)).outcome
    )
    assert phone.balance() == 20


def test_a_revoke_claws_back_the_purchase(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("REVOKE", purchase))

    assert phone.balance() == 10


def test_a_refund_applies_before_its_transaction_states_it(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)
    event = store.notify("REFUND_DECLINED", purchase, override={"notificationType": "REFUND"})

    deliver_and_apply(event)
    assert phone.balance() == 10
    store.notify("REFUND", purchase)
    event = store.notify(
        "REFUND_DECLINED", purchase, override={"notificationType": "REFUND_REVERSED"}
    )
    deliver_and_apply(event)

    assert phone.balance() == 20


# --- Out of order -------------------------------------------------------------------------------


def test_a_refund_before_its_purchase_leaves_no_credits(phone, store):
    purchase = store.buy(TEN, phone=phone)
    refund = store.notify("REFUND", purchase)

    deliver_and_apply(refund)
    deliver_and_apply(purchase)

    assert (purchase_of(purchase).credits, phone.balance()) == (None, 10)
    assert not Purchase.objects.pending().exists()


def test_a_reversal_before_its_refund_wins(phone, store):
    purchase = store.buy(TEN, phone=phone)
    refund = store.notify("REFUND", purchase)
    reversal = store.notify("REFUND_REVERSED", purchase)

    for event in [purchase, reversal, refund]:
        deliver_and_apply(event)

    assert phone.balance() == 20


def test_an_older_copy_of_the_transaction_does_not_undo_a_refund(phone, store):
    purchase = store.buy(TEN, phone=phone)
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("REFUND", purchase))

    answer = phone.post("update-credits", {"signed_transaction": purchase["signed_transaction"]})

    assert_refused(answer, 400, "ERR_4013")
    assert phone.balance() == 10


# --- What has no effect, and what is none of Apple's ----------------------------------------------


def test_a_test_notification_is_stored(db, store):
    assert "test notification" in deliver_and_apply(store.notify("TEST")).outcome


def test_an_unknown_type_is_stored(phone, store):
    purchase = store.buy(TEN, phone=phone)
    event = store.notify("REFUND_DECLINED", purchase, override={"notificationType": "SURPRISE"})

    notification = deliver_and_apply(event)

    assert (notification.type, notification.outcome) == ("SURPRISE", "unknown type")


def test_each_notification_type_has_a_handler_or_a_reason_for_none():
    assert {one.value for one in NotificationTypeV2} <= notification_handlers.HANDLERS.keys()


@pytest.mark.parametrize(
    ("type_", "about"),
    [
        ("RENEWAL_EXTENSION", {"summary": {"environment": "Production", "succeededCount": 5}}),
        ("EXTERNAL_PURCHASE_TOKEN", {"externalPurchaseToken": {"externalPurchaseId": "b2f1"}}),
    ],
)
def test_a_notification_without_a_transaction_is_stored(phone, store, settings, type_, about):
    [(name, event)] = about.items()
    app = {"bundleId": settings.APPSTORE_BUNDLE_ID, "appAppleId": settings.APPSTORE_APP_ID}
    override = {"notificationType": type_, "data": None, name: event | app}

    notification = deliver_and_apply(
        store.notify("REFUND_DECLINED", store.buy(TEN, phone=phone), override=override)
    )

    assert notification.outcome == notification_handlers.HANDLERS[type_].reason
    assert phone.balance() == 10


@pytest.mark.parametrize("payload", ["", "x", "a.b.c", "e30.e30.e30", "é" * 10])
def test_a_forged_notification_is_refused(db, payload):
    assert_refused(post_notification(payload), 401, "ERR_4005")
    assert not Notification.objects.exists()


@pytest.mark.parametrize("payload", [None, 1, {}, [], True])
def test_a_body_without_a_payload_is_refused(db, payload):
    assert_refused(post_notification(payload), 400, "ERR_4008")


def test_internal_failure_is_5xx_so_that_apple_retries(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    settings.APPSTORE_ROOT_CERTIFICATE = "/nowhere/root.cer"

    assert_refused(deliver(purchase), 500, "ERR_6003")


# --- Waiting for somebody -----------------------------------------------------------------------


def test_a_purchase_without_a_token_waits_until_a_phone_claims_it(phone, store):
    purchase = store.buy(TEN)
    assert deliver_and_apply(purchase).outcome == "pending: No owner"
    assert Purchase.objects.pending().get() == purchase_of(purchase)

    assert update_credits(phone, purchase).json()["credits_added"] == 10
    assert not Purchase.objects.pending().exists()


def test_a_purchase_stored_before_a_crash_is_granted(phone, store):
    purchase = store.buy(TEN, phone=phone)
    upsert_from_apple(verifier.read_transaction(purchase["signed_transaction"]), now=timezone.now())

    SYNC_PURCHASES.run_batch(now=timezone.now())
    assert phone.balance() == 10, "whoever recorded it has it in hand"
    SYNC_PURCHASES.run_batch(now=timezone.now() + timedelta(minutes=1))

    assert phone.balance() == 20


def test_a_notification_is_applied_after_its_worker_died(phone, store):
    deliver(store.buy(TEN, phone=phone))
    claim_due(Notification.objects.all(), now=timezone.now(), limit=10)

    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())
    assert phone.balance() == 10
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now() + timedelta(minutes=1, seconds=1))

    assert phone.balance() == 20


# --- Apple's certificates -------------------------------------------------------------------------


@pytest.fixture
def _asks_anew():
    """Apple's library remembers for a quarter of an hour what it was told of a certificate."""
    verifier._verifier.cache_clear()
    yield
    verifier._verifier.cache_clear()


@pytest.mark.usefixtures("_asks_anew")
def test_backfilled_notifications_are_not_checked_online(phone, store):
    """It came from Apple's own server; and what is older than the certificates that are valid now
    would be refused."""
    store.sandbox.control("apple/ocsp", status="revoked")
    event = store.buy(TEN, phone=phone)

    receive(signed_payload=event["signed_payload"], now=timezone.now(), from_history=True)
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())

    assert phone.balance() == 20


@pytest.mark.usefixtures("_asks_anew")
def test_the_worker_finds_a_revoked_certificate(phone, store):
    store.sandbox.control("apple/ocsp", status="revoked")

    assert deliver_and_apply(store.buy(TEN, phone=phone)).outcome.startswith("refused")
    assert phone.balance() == 10


@pytest.mark.usefixtures("_asks_anew")
def test_a_notification_waits_while_the_certificate_check_fails(phone, store):
    store.sandbox.control("apple/ocsp", status="down")
    deliver(store.buy(TEN, phone=phone))
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())
    assert phone.balance() == 10

    store.sandbox.control("apple/ocsp", status="good")
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now() + timedelta(minutes=2))

    assert phone.balance() == 20


def test_a_stranger_sees_no_difference_between_stored_and_replayed(db, store):
    purchase = store.buy(TEN, phone=Phone().sign_in())

    assert deliver(purchase).content == deliver(purchase).content
