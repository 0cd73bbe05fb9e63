"""Apple's own library reads what the sandbox tells an app's server."""

import json

import pytest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.RevocationType import RevocationType

from tests.helpers.storekit import APP_ID, BUNDLE_ID, PRODUCTION, SANDBOX


@pytest.fixture
def heard(sandbox, receiver):
    """The bodies that the app's webhook was sent, in order."""
    sandbox.control("apple/app", notification_url=receiver.url)
    return lambda: [json.loads(delivery["body"]) for delivery in receiver.deliveries]


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("environment", [PRODUCTION, SANDBOX])
def test_a_purchase_sends_a_notification_at_once(app_store, heard, environment, online):
    purchase = app_store.buy(deliver=True, environment=environment)

    assert purchase["delivered_status"] == 200
    assert heard() == [{"signedPayload": purchase["signed_payload"]}]
    told = app_store.notification(purchase, environment=environment, online=online)
    assert told.notificationType is NotificationTypeV2.ONE_TIME_CHARGE
    assert (told.subtype, told.version) == (None, "2.0")
    assert told.notificationUUID == purchase["notification_uuid"]
    assert (told.data.bundleId, told.data.environment) == (BUNDLE_ID, environment)
    assert told.data.appAppleId == (APP_ID if environment == PRODUCTION else None)
    inner = app_store.transaction(told.data.signedTransactionInfo, environment=environment)
    assert inner.transactionId == purchase["transaction_id"]
    assert told.data.signedRenewalInfo is told.data.status is None


@pytest.mark.parametrize(
    ("percentage", "kind"),
    [
        (None, RevocationType.REFUND_FULL),
        (100_000, RevocationType.REFUND_FULL),
        (33_333, RevocationType.REFUND_PRORATED),
    ],
)
def test_a_refund_is_visible_everywhere_until_reversed(app_store, percentage, kind):
    purchase = app_store.buy()["transaction_id"]
    given = {} if percentage is None else {"revocation_percentage": percentage}

    refunded = app_store.notify("REFUND", transaction_id=purchase, at=1_780_000_000_000, **given)
    then = app_store.fetch(purchase)
    reversed_ = app_store.notify("REFUND_REVERSED", transaction_id=purchase)
    now = app_store.fetch(purchase)

    told = app_store.notification(refunded)
    assert told.notificationType is NotificationTypeV2.REFUND
    inner = app_store.transaction(told.data.signedTransactionInfo)
    for read in (then, inner, app_store.transaction(refunded)):
        assert (read.revocationDate, read.revocationType) == (1_780_000_000_000, kind)
        assert (read.revocationPercentage, read.rawRevocationReason) == (percentage or 100_000, 0)
    told = app_store.notification(reversed_)
    assert told.notificationType is NotificationTypeV2.REFUND_REVERSED
    for read in (now, app_store.transaction(told.data.signedTransactionInfo)):
        assert read.revocationDate is read.revocationType is read.revocationPercentage is None
        assert read.revocationReason is None


def test_a_notification_can_be_repeated(app_store, sandbox, heard):
    purchase = app_store.buy(deliver=True)

    again = sandbox.control("apple/notify", again=purchase["notification_uuid"])

    assert again["signed_payload"] == purchase["signed_payload"]
    assert heard() == [{"signedPayload": purchase["signed_payload"]}] * 2


def test_a_purchase_sends_no_notification_unless_requested(app_store, sandbox, heard):
    purchase = app_store.buy()

    assert (purchase["delivered_status"], heard()) == (None, [])
    sandbox.control("apple/notify", again=purchase["notification_uuid"])
    assert heard() == [{"signedPayload": purchase["signed_payload"]}]


def test_lost_notifications_arrive_later_and_out_of_order(app_store, sandbox, heard):
    purchase = app_store.buy(deliver=False)
    assert heard() == []
    refunded = app_store.notify("REFUND", transaction_id=purchase["transaction_id"], deliver=True)

    sandbox.control("apple/notify", again=purchase["notification_uuid"])

    assert [one["signedPayload"] for one in heard()] == [
        refunded["signed_payload"],
        purchase["signed_payload"],
    ]


def test_a_hanging_receiver_does_not_delay_the_control(app_store, sandbox):
    sandbox.control("apple/app", notification_url="http://127.0.0.1:1/")

    purchase = app_store.buy(deliver=True)

    assert purchase["delivered_status"] is None
    assert app_store.fetch(purchase["transaction_id"]).productId == "credits_10"
