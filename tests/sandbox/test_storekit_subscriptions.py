"""What can happen to a subscription, read with Apple's own library from both sides.

After each event the notification and the server API say the same.
"""

import pytest
from appstoreserverlibrary.models.AutoRenewStatus import AutoRenewStatus
from appstoreserverlibrary.models.ExpirationIntent import ExpirationIntent
from appstoreserverlibrary.models.OfferDiscountType import OfferDiscountType
from appstoreserverlibrary.models.OfferType import OfferType
from appstoreserverlibrary.models.PriceIncreaseStatus import PriceIncreaseStatus
from appstoreserverlibrary.models.Status import Status
from appstoreserverlibrary.models.TransactionReason import TransactionReason
from appstoreserverlibrary.models.Type import Type

from tests.helpers.storekit import PRODUCTION, SANDBOX

HOUR, DAY = 3_600_000, 86_400_000
MONTH = 30 * DAY


class Subscriber:
    """Somebody who has just subscribed for a month."""

    def __init__(self, app_store, **fields):
        self.app_store = app_store
        self.first = app_store.subscribe(price=9_990, **fields)
        self.id = self.first["original_transaction_id"]
        self.environment = fields.get("environment", PRODUCTION)
        self.began_at = self.read(self.first)[1].purchaseDate

    def notify(self, notification_type, subtype=None, **fields):
        """The notification as sent, its transaction and its renewal info."""
        told = self.app_store.notify(
            notification_type, subtype, **{"transaction_id": self.id} | fields
        )
        notification, transaction, renewal = self.read(told)
        assert (notification.rawNotificationType, notification.rawSubtype) == (
            notification_type,
            subtype,
        )
        assert told["transaction_id"] == transaction.transactionId
        assert self.id == told["original_transaction_id"] == transaction.originalTransactionId
        return notification, transaction, renewal

    def read(self, told):
        verifier = self.app_store.verifier(self.environment)
        notification = verifier.verify_and_decode_notification(told["signed_payload"])
        data = notification.data
        return (
            notification,
            verifier.verify_and_decode_signed_transaction(data.signedTransactionInfo),
            verifier.verify_and_decode_renewal_info(data.signedRenewalInfo),
        )

    def now(self):
        """Status, transaction and renewal info as the API tells them."""
        client, verifier = (
            self.app_store.client(self.environment),
            self.app_store.verifier(self.environment),
        )
        (group,) = client.get_all_subscription_statuses(self.id).data
        (last,) = group.lastTransactions
        assert last.originalTransactionId == self.id
        return (
            last.status,
            verifier.verify_and_decode_signed_transaction(last.signedTransactionInfo),
            verifier.verify_and_decode_renewal_info(last.signedRenewalInfo),
        )

    def stands(self):
        """The same, without when it was told."""
        status, transaction, renewal = self.now()
        transaction.signedDate = renewal.signedDate = None
        return status, transaction, renewal


@pytest.fixture
def subscriber(app_store):
    return Subscriber(app_store)


@pytest.mark.parametrize("environment", [PRODUCTION, SANDBOX])
def test_a_subscription_sends_a_notification_with_its_renewal_info(app_store, environment):
    somebody = Subscriber(app_store, environment=environment)

    notification, transaction, renewal = somebody.read(somebody.first)

    assert (notification.rawNotificationType, notification.rawSubtype) == (
        "SUBSCRIBED",
        "INITIAL_BUY",
    )
    assert notification.data.status is Status.ACTIVE
    assert transaction.type is Type.AUTO_RENEWABLE_SUBSCRIPTION
    assert transaction.transactionReason is TransactionReason.PURCHASE
    assert transaction.expiresDate == transaction.purchaseDate + MONTH
    assert transaction.webOrderLineItemId
    assert renewal.autoRenewStatus is AutoRenewStatus.ON
    assert renewal.autoRenewProductId == renewal.productId == "premium_monthly"
    assert (renewal.renewalDate, renewal.renewalPrice) == (transaction.expiresDate, 9_990)
    assert renewal.recentSubscriptionStartDate == transaction.purchaseDate
    status, latest, _ = somebody.now()
    assert (status, latest.transactionId) == (Status.ACTIVE, transaction.transactionId)


def test_a_renewal_is_a_new_transaction_after_the_last(subscriber):
    _, second, _ = subscriber.notify("DID_RENEW")
    _, third, renewal = subscriber.notify("DID_RENEW")

    assert len({subscriber.id, second.transactionId, third.transactionId}) == 3
    assert second.transactionReason is TransactionReason.RENEWAL
    assert second.purchaseDate == subscriber.began_at + MONTH
    assert third.purchaseDate == second.expiresDate
    assert third.originalPurchaseDate == subscriber.began_at
    assert renewal.renewalDate == third.expiresDate == subscriber.began_at + 3 * MONTH
    assert subscriber.now()[1].transactionId == third.transactionId


def test_a_period_can_be_any_length_and_begin_at_any_time(app_store):
    somebody = Subscriber(app_store, at=1_780_000_000_000, expires_in=3_600)

    assert somebody.now()[0] is Status.EXPIRED
    _, renewed, _ = somebody.notify("DID_RENEW", at="2026-05-28T21:26:40Z")
    assert (renewed.purchaseDate, renewed.signedDate) == (1_780_003_600_000, 1_780_003_600_000)
    assert renewed.expiresDate - renewed.purchaseDate == HOUR


def test_a_failed_renewal_is_retried_and_recovers_in_a_new_period(subscriber):
    failed_at = subscriber.began_at + MONTH + HOUR
    failed, transaction, renewal = subscriber.notify("DID_FAIL_TO_RENEW", at=failed_at)
    assert failed.data.status is Status.BILLING_RETRY
    assert transaction.transactionId == subscriber.id
    assert transaction.expiresDate == subscriber.began_at + MONTH
    assert renewal.isInBillingRetryPeriod is True
    assert renewal.expirationIntent is ExpirationIntent.BILLING_ERROR

    recovered, transaction, renewal = subscriber.notify(
        "DID_RENEW", "BILLING_RECOVERY", at=failed_at + DAY
    )

    assert recovered.data.status is Status.ACTIVE
    assert transaction.purchaseDate == failed_at + DAY
    assert renewal.isInBillingRetryPeriod is renewal.expirationIntent is None


def test_an_early_failed_renewal_ends_the_period(subscriber):
    notification, transaction, _ = subscriber.notify("DID_FAIL_TO_RENEW")

    assert transaction.expiresDate == notification.signedDate < subscriber.began_at + MONTH
    assert subscriber.now()[0] is Status.BILLING_RETRY


def test_grace_lasts_until_its_date_or_its_end(subscriber):
    begun, _, renewal = subscriber.notify("DID_FAIL_TO_RENEW", "GRACE_PERIOD")
    assert begun.data.status is Status.BILLING_GRACE_PERIOD
    assert renewal.gracePeriodExpiresDate == begun.signedDate + 16 * DAY
    assert subscriber.now()[0] is Status.BILLING_GRACE_PERIOD

    over, _, _ = subscriber.notify("GRACE_PERIOD_EXPIRED")

    assert over.data.status is Status.BILLING_RETRY
    assert subscriber.now()[0] is Status.BILLING_RETRY


def test_grace_ends_by_itself(subscriber):
    subscriber.notify(
        "DID_FAIL_TO_RENEW",
        "GRACE_PERIOD",
        at=subscriber.began_at,
        grace_period_expires_date=subscriber.began_at + 1,
    )

    assert subscriber.now()[0] is Status.BILLING_RETRY


@pytest.mark.parametrize(
    ("subtype", "intent"),
    [
        ("VOLUNTARY", ExpirationIntent.CUSTOMER_CANCELLED),
        ("BILLING_RETRY", ExpirationIntent.BILLING_ERROR),
        ("PRICE_INCREASE", ExpirationIntent.CUSTOMER_DID_NOT_CONSENT_TO_PRICE_INCREASE),
        ("PRODUCT_NOT_FOR_SALE", ExpirationIntent.PRODUCT_NOT_AVAILABLE),
        (None, ExpirationIntent.OTHER),
    ],
)
def test_an_expiry_states_its_reason(subscriber, subtype, intent):
    notification, transaction, renewal = subscriber.notify("EXPIRED", subtype)

    assert notification.data.status is Status.EXPIRED
    assert transaction.expiresDate == notification.signedDate
    assert (renewal.expirationIntent, renewal.autoRenewStatus) == (intent, AutoRenewStatus.OFF)
    assert renewal.isInBillingRetryPeriod is False
    assert subscriber.now()[0] is Status.EXPIRED


def test_a_renewal_after_the_end_restores_auto_renewal(subscriber):
    subscriber.notify("EXPIRED", "BILLING_RETRY")

    _, _, renewal = subscriber.notify("DID_RENEW", "BILLING_RECOVERY")

    assert renewal.autoRenewStatus is AutoRenewStatus.ON
    assert renewal.expirationIntent is None


def test_a_resubscription_keeps_the_original_transaction(app_store, subscriber):
    subscriber.notify("EXPIRED", "VOLUNTARY")

    again = app_store.subscribe(original_transaction_id=subscriber.id)

    notification, transaction, renewal = subscriber.read(again)
    assert (notification.rawNotificationType, notification.rawSubtype) == (
        "SUBSCRIBED",
        "RESUBSCRIBE",
    )
    assert transaction.originalTransactionId == subscriber.id != transaction.transactionId
    assert transaction.originalPurchaseDate == subscriber.began_at
    assert renewal.autoRenewStatus is AutoRenewStatus.ON
    assert subscriber.now()[0] is Status.ACTIVE


def test_auto_renewal_is_turned_off_and_on(subscriber):
    for subtype, status in (
        ("AUTO_RENEW_DISABLED", AutoRenewStatus.OFF),
        ("AUTO_RENEW_ENABLED", AutoRenewStatus.ON),
    ):
        notification, _, renewal = subscriber.notify("DID_CHANGE_RENEWAL_STATUS", subtype)

        assert notification.data.status is Status.ACTIVE
        assert renewal.autoRenewStatus is subscriber.now()[2].autoRenewStatus is status


def test_an_upgrade_is_at_once(app_store, subscriber):
    notification, transaction, renewal = subscriber.notify(
        "DID_CHANGE_RENEWAL_PREF", "UPGRADE", product_id="premium_yearly", price=99_990
    )

    assert transaction.transactionId != subscriber.id
    assert (transaction.productId, transaction.price) == ("premium_yearly", 99_990)
    assert transaction.purchaseDate == notification.signedDate
    assert transaction.isUpgraded is None
    assert renewal.autoRenewProductId == renewal.productId == "premium_yearly"
    assert app_store.fetch(subscriber.id).isUpgraded is True
    assert subscriber.now()[1].transactionId == transaction.transactionId


def test_a_downgrade_waits_for_the_renewal(subscriber):
    _, transaction, renewal = subscriber.notify(
        "DID_CHANGE_RENEWAL_PREF", "DOWNGRADE", product_id="basic_monthly", price=4_990
    )
    assert (transaction.transactionId, transaction.productId) == (subscriber.id, "premium_monthly")
    assert (renewal.autoRenewProductId, renewal.renewalPrice) == ("basic_monthly", 4_990)

    _, transaction, _ = subscriber.notify("DID_RENEW")

    assert (transaction.productId, transaction.price) == ("basic_monthly", 4_990)


def test_a_downgrade_can_be_undone(subscriber):
    subscriber.notify("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE", product_id="basic", price=4_990)

    _, _, renewal = subscriber.notify("DID_CHANGE_RENEWAL_PREF")

    assert (renewal.autoRenewProductId, renewal.renewalPrice) == ("premium_monthly", 9_990)


def test_a_price_increase_is_notified_and_accepted(subscriber):
    _, _, pending = subscriber.notify("PRICE_INCREASE", "PENDING", price=12_990)
    _, _, accepted = subscriber.notify("PRICE_INCREASE", "ACCEPTED")
    _, renewed, _ = subscriber.notify("DID_RENEW")

    assert pending.priceIncreaseStatus is PriceIncreaseStatus.CUSTOMER_HAS_NOT_RESPONDED
    assert (
        accepted.priceIncreaseStatus
        is PriceIncreaseStatus.CUSTOMER_CONSENTED_OR_WAS_NOTIFIED_WITHOUT_NEEDING_CONSENT
    )
    assert pending.renewalPrice == accepted.renewalPrice == renewed.price == 12_990


def test_a_period_can_be_extended(subscriber):
    later = subscriber.began_at + 2 * MONTH

    _, transaction, renewal = subscriber.notify("RENEWAL_EXTENDED", expires_date=later)

    assert transaction.expiresDate == renewal.renewalDate == later


def test_a_refund_revokes_the_period_and_a_reversal_restores_it(subscriber):
    refunded, transaction, _ = subscriber.notify("REFUND", revocation_percentage=50_000)
    assert (refunded.data.status, transaction.revocationPercentage) == (Status.REVOKED, 50_000)
    assert subscriber.now()[0] is Status.REVOKED

    restored, transaction, _ = subscriber.notify("REFUND_REVERSED")

    assert (restored.data.status, transaction.revocationDate) == (Status.ACTIVE, None)


def test_a_refund_of_an_earlier_period_keeps_the_current_one(app_store, subscriber):
    subscriber.notify("DID_RENEW")

    _, transaction, _ = subscriber.notify("REFUND")

    assert transaction.transactionId == subscriber.id
    assert app_store.fetch(subscriber.id).revocationDate
    assert subscriber.now()[0] is Status.ACTIVE


def test_a_renewal_after_a_refund_is_not_refunded(subscriber):
    subscriber.notify("REFUND")

    _, transaction, _ = subscriber.notify("DID_RENEW")

    assert transaction.revocationDate is transaction.revocationType is None
    assert transaction.revocationPercentage is None


def test_family_sharing_ends(app_store):
    member = Subscriber(app_store, in_app_ownership_type="FAMILY_SHARED")

    notification, transaction, _ = member.notify("REVOKE")

    assert notification.data.status is Status.REVOKED
    assert (transaction.rawRevocationType, transaction.rawInAppOwnershipType) == (
        "FAMILY_REVOKE",
        "FAMILY_SHARED",
    )


@pytest.mark.parametrize(
    ("notification_type", "subtype"),
    [
        ("REFUND_DECLINED", None),
        ("CONSUMPTION_REQUEST", None),
        ("OFFER_REDEEMED", None),
        ("SUBSCRIBED", "INITIAL_BUY"),
    ],
)
def test_a_notification_alone_changes_nothing(subscriber, notification_type, subtype):
    before = subscriber.stands()

    subscriber.notify(notification_type, subtype)

    assert subscriber.stands() == before


def test_statuses_can_be_filtered_and_are_grouped(app_store):
    me = {"customer": "me"}
    live = app_store.subscribe(**me)["transaction_id"]
    over = app_store.subscribe(**me, subscription_group_identifier="7")["transaction_id"]
    app_store.notify("EXPIRED", "VOLUNTARY", transaction_id=over)
    ask = app_store.client().get_all_subscription_statuses

    def found(*statuses):
        return {
            group.subscriptionGroupIdentifier: [
                one.originalTransactionId for one in group.lastTransactions
            ]
            for group in ask(live, list(statuses) or None).data
        }

    assert found() == {"20000001": [live], "7": [over]}
    assert found(Status.ACTIVE, Status.BILLING_RETRY) == {"20000001": [live]}
    assert found(Status.REVOKED) == {}


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({"type": "REFUNDED"}, "type"),
        ({"type": "DID_CHANGE_RENEWAL_STATUS"}, "subtype"),
        ({"type": "EXPIRED", "subtype": "UPGRADE"}, "subtype"),
        ({"type": "REFUND", "subtype": "PARTIAL"}, "subtype"),
        ({"type": "DID_RENEW", "deliver": "no"}, "deliver"),
        ({"type": "DID_RENEW", "override": 1}, "override"),
        ({"type": "CONSUMPTION_REQUEST", "consumption_request_reason": "WHIM"}, "WHIM"),
        ({"type": "DID_RENEW", "revocation_percentage": 1}, "revocation_percentage"),
        ({"type": "REFUND", "revocation_percentage": 100_001}, "revocation_percentage"),
        ({"type": "REFUND", "transaction_id": "12345"}, "transaction_id"),
        ({"type": "RENEWAL_EXTENDED"}, "expires_date"),
        ({"type": "DID_CHANGE_RENEWAL_PREF", "subtype": "UPGRADE"}, "product_id"),
        ({"type": "TEST", "subtype": "SUMMARY", "transaction_id": None}, "subtype"),
        ({"again": "12345", "transaction_id": None, "deliver": None}, "12345"),
    ],
)
def test_an_impossible_event_is_refused_and_changes_nothing(subscriber, event, problem):
    before = subscriber.stands()
    body = {"transaction_id": subscriber.id, "deliver": False} | event

    answer = subscriber.app_store.sandbox.http.post(
        "/control/apple/notify", json={k: v for k, v in body.items() if v is not None}
    )

    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert subscriber.stands() == before


def test_a_consumable_does_not_renew(app_store, sandbox):
    purchase = app_store.buy()["transaction_id"]

    refused = sandbox.http.post(
        "/control/apple/notify", json={"type": "DID_RENEW", "transaction_id": purchase}
    )

    assert (refused.status_code, app_store.fetch(purchase).expiresDate) == (400, None)


def test_an_offer_is_on_the_transaction_and_not_on_its_renewal(app_store):
    trial = {
        "offer_type": 1,
        "offer_discount_type": "FREE_TRIAL",
        "offer_identifier": "spring",
        "offer_period": "P1W",
    }
    purchase = app_store.subscribe(**trial, at="2026-01-01T00:00:00Z", renewal_price=9_990)

    read = app_store.fetch(purchase["transaction_id"])
    renewed = app_store.notify("DID_RENEW", transaction_id=purchase["transaction_id"])
    later = app_store.fetch(renewed["transaction_id"])

    assert (read.offerType, read.offerDiscountType) == (
        OfferType.INTRODUCTORY_OFFER,
        OfferDiscountType.FREE_TRIAL,
    )
    assert (read.offerIdentifier, read.offerPeriod, read.price) == ("spring", "P1W", 0)
    assert (later.offerType, later.offerDiscountType, later.price) == (None, None, 9_990)


def test_a_renewal_is_made_with_the_offer_that_the_caller_names(app_store):
    purchase = app_store.subscribe(price=9_990, at="2026-01-01T00:00:00Z")

    offer = {"offer_type": 2, "offer_discount_type": "PAY_AS_YOU_GO", "price": 4_990}
    renewed = app_store.notify("DID_RENEW", transaction_id=purchase["transaction_id"], **offer)
    usual = app_store.notify("DID_RENEW", transaction_id=purchase["transaction_id"])

    reads = [app_store.fetch(told["transaction_id"]) for told in (renewed, usual)]
    assert [(read.rawOfferType, read.price) for read in reads] == [(2, 4_990), (None, 9_990)]


def test_a_renewal_has_the_overridden_fields(app_store):
    purchase = app_store.subscribe(renewal_override={"signedDate": None})

    told = app_store.notification(
        app_store.notify("SUBSCRIBED", "INITIAL_BUY", transaction_id=purchase["transaction_id"])
    )

    renewal = app_store.verifier().verify_and_decode_renewal_info(told.data.signedRenewalInfo)
    assert (renewal.signedDate, renewal.autoRenewProductId) == (None, "premium_monthly")
