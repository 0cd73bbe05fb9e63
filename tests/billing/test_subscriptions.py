"""Subscriptions: allowances, tiers and their ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from billing.due_work import CHECK_SUBSCRIPTIONS, SYNC_PURCHASES
from billing.models import Product, ProductKind, Subscription
from billing.services import assign_purchase
from credits import services as credit_services
from tests.billing.conftest import (
    PREMIUM,
    debt_of,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.helpers.phone import Phone, assert_refused

PLUS = "com.rendio.plus.monthly"
DAY = timedelta(days=1)
MONTH = 30 * DAY
ALLOWANCE, PLUS_ALLOWANCE = 60, 150


@pytest.fixture
def plus(db):
    return Product.objects.create(
        product_id=PLUS,
        kind=ProductKind.SUBSCRIPTION,
        name="Plus",
        credits=PLUS_ALLOWANCE,
        period="P1M",
    )


def ago(**span):
    return (timezone.now() - timedelta(**span)).isoformat()


def status(phone):
    answer = phone.get("subscription/status")
    assert answer.status_code == 200, answer.content
    return answer.json()


def subscription_state(phone):
    """Status, tier in both calls, and whether it goes on."""
    found = status(phone)
    assert phone.get("get-user-profile").json()["tier"] == found["tier"]
    return found["status"], found["tier"], found["will_renew"]


def days_left(phone):
    expires_at = datetime.fromisoformat(status(phone)["expires_at"])
    return round((expires_at - datetime.now(UTC)) / DAY)


def test_a_user_without_a_subscription_has_status_none(phone):
    assert status(phone) == {
        "tier": "free",
        "status": "none",
        "product_id": None,
        "expires_at": None,
        "will_renew": False,
    }


def test_a_subscription_grants_its_allowance_and_the_tier(phone, store):
    purchase = store.subscribe(phone=phone)

    assert deliver_and_apply(purchase).outcome == "granted; the subscription is active"

    assert phone.balance() == 10 + ALLOWANCE
    assert status(phone) == {
        "tier": "premium",
        "status": "active",
        "product_id": PREMIUM,
        "expires_at": purchase_of(purchase).expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "will_renew": True,
    }
    assert phone.get("get-user-profile").json()["tier"] == "premium"
    assert Phone().sign_in().get("get-user-profile").json()["tier"] == "free"


def test_an_allowance_is_exempt_from_the_maximum_balance(phone, store, settings):
    settings.MAX_GRANTED_BALANCE = 10

    deliver_and_apply(store.subscribe(phone=phone))

    assert phone.balance() == 10 + ALLOWANCE


def test_a_period_that_the_phone_sends_first_is_granted_once(phone, store):
    purchase = store.subscribe(phone=phone)
    update(phone, purchase)

    assert deliver_and_apply(purchase).outcome.startswith("no change")
    assert phone.balance() == 10 + ALLOWANCE


def test_a_period_that_apple_sends_first_is_granted_once(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    assert update(phone, purchase)["already_processed"] is True
    assert phone.balance() == 10 + ALLOWANCE
    assert ledger_is_balanced()


def update(phone, purchase):
    answer = update_credits(phone, purchase)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_phone_alone_starts_a_subscription(phone, store):
    purchase = store.subscribe(phone=phone)

    answer = phone.post("update-credits", {"signed_transaction": purchase["signed_transaction"]})

    assert answer.json()["credits_added"] == ALLOWANCE
    assert subscription_state(phone) == ("active", "premium", True)


# --- Renewals -----------------------------------------------------------------------------------


def test_each_renewal_grants_its_allowance_once(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    renewed = store.notify("DID_RENEW", purchase)

    deliver_and_apply(renewed)
    answer = update(phone, renewed)

    assert (answer["credits_added"], answer["already_processed"]) == (ALLOWANCE, True)
    assert phone.balance() == 10 + 2 * ALLOWANCE
    assert subscription_state(phone) == ("active", "premium", True)
    assert days_left(phone) == 29


def test_a_subscription_ends_on_time_without_a_notification(phone, store):
    deliver_and_apply(store.subscribe(phone=phone, at=ago(days=30, seconds=1)))

    assert subscription_state(phone) == ("expired", "free", False)
    assert phone.balance() == 10 + ALLOWANCE, "what was paid for is kept"


def test_a_tier_ends_by_itself(phone, store):
    deliver_and_apply(store.subscribe(phone=phone))
    assert subscription_state(phone) == ("active", "premium", True)

    an_hour_ago = timezone.now() - timedelta(hours=1)
    Subscription.objects.update(ends_at=an_hour_ago)
    User.objects.filter(id=phone.user_id).update(tier_until=an_hour_ago)

    assert subscription_state(phone) == ("expired", "free", False)


def test_an_early_renewal_claws_back_nothing_of_the_period_before(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=29))
    deliver_and_apply(purchase)

    early = store.subscribe(
        phone=phone,
        original_transaction_id=purchase["original_transaction_id"],
        override={"transactionReason": "RENEWAL"},
    )
    deliver_and_apply(early)
    update(phone, purchase)

    assert phone.balance() == 10 + 2 * ALLOWANCE


def test_a_failed_charge_ends_the_tier_and_a_recovery_restores_it(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("DID_FAIL_TO_RENEW", purchase, at=ago(days=1)))
    assert subscription_state(phone) == ("billing_retry", "free", True)
    assert phone.balance() == 10 + ALLOWANCE

    deliver_and_apply(store.notify("DID_RENEW", purchase, subtype="BILLING_RECOVERY"))
    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10 + 2 * ALLOWANCE


def test_billing_retry_ends(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=91))
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("DID_FAIL_TO_RENEW", purchase, at=ago(days=61)))

    assert subscription_state(phone) == ("expired", "free", False)


def test_grace_keeps_the_tier_without_credits_until_its_date(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)

    failed = store.notify("DID_FAIL_TO_RENEW", purchase, subtype="GRACE_PERIOD", at=ago(days=1))
    assert deliver_and_apply(failed).outcome == "no change; the subscription is grace period"

    assert subscription_state(phone) == ("grace", "premium", True)
    assert days_left(phone) == 15
    assert phone.balance() == 10 + ALLOWANCE


def test_grace_ends_when_apple_says_so(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    deliver_and_apply(
        store.notify("DID_FAIL_TO_RENEW", purchase, subtype="GRACE_PERIOD", at=ago(days=1))
    )

    deliver_and_apply(store.notify("GRACE_PERIOD_EXPIRED", purchase))

    assert subscription_state(phone) == ("billing_retry", "free", True)


def test_grace_of_an_earlier_period_does_not_affect_a_paid_one(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=8), expires_in=7 * 86_400)
    deliver_and_apply(purchase)
    deliver_and_apply(
        store.notify("DID_FAIL_TO_RENEW", purchase, subtype="GRACE_PERIOD", at=ago(hours=20))
    )
    assert days_left(phone) == 15

    recovered = store.notify("DID_RENEW", purchase, subtype="BILLING_RECOVERY")
    update(phone, recovered)  # which tells nothing of the grace

    assert subscription_state(phone) == ("active", "premium", True)
    assert days_left(phone) == 7


@pytest.mark.parametrize(
    "subtype", ["VOLUNTARY", "BILLING_RETRY", "PRICE_INCREASE", "PRODUCT_NOT_FOR_SALE", None]
)
def test_expiry_ends_the_tier_and_keeps_the_credits(phone, store, subtype):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    ended = store.notify("EXPIRED", purchase, **({"subtype": subtype} if subtype else {}))
    assert deliver_and_apply(ended).outcome == "no change; the subscription is expired"

    assert subscription_state(phone) == ("expired", "free", False)
    assert status(phone)["product_id"] == PREMIUM
    assert phone.balance() == 10 + ALLOWANCE


def test_a_subscription_that_will_not_renew_runs_to_its_end(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    change = "DID_CHANGE_RENEWAL_STATUS"

    deliver_and_apply(store.notify(change, purchase, subtype="AUTO_RENEW_DISABLED"))
    assert subscription_state(phone) == ("active", "premium", False)

    deliver_and_apply(store.notify(change, purchase, subtype="AUTO_RENEW_ENABLED"))
    assert subscription_state(phone) == ("active", "premium", True)


@pytest.mark.parametrize("subtype", ["PENDING", "ACCEPTED"])
def test_a_price_increase_changes_nothing_before_the_renewal(phone, store, subtype):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("PRICE_INCREASE", purchase, subtype=subtype, price=12_990))

    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10 + ALLOWANCE


def test_a_returning_subscriber_is_premium_again(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=60))
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("EXPIRED", purchase, subtype="VOLUNTARY", at=ago(days=30)))

    resubscribed = store.subscribe(
        phone=phone, original_transaction_id=purchase["original_transaction_id"]
    )
    deliver_and_apply(resubscribed)

    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10 + 2 * ALLOWANCE


def test_an_extension_moves_the_end(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    expires_at = (timezone.now() + 40 * DAY).isoformat()
    deliver_and_apply(store.notify("RENEWAL_EXTENDED", purchase, expires_date=expires_at))

    assert days_left(phone) == 40
    assert phone.balance() == 10 + ALLOWANCE


# --- What becomes of unspent credits --------------------------------------------------------------


@pytest.fixture
def lapsing(db):
    Product.objects.filter(product_id=PREMIUM).update(rollover="lapse")


def expire_lots(now):
    credit_services.expire_due_lots(now=now)


def test_an_allowance_rolls_over_if_its_product_says_so(phone, store):
    deliver_and_apply(store.subscribe(phone=phone))

    expire_lots(timezone.now() + 2 * MONTH)

    assert phone.balance() == 10 + ALLOWANCE


@pytest.mark.usefixtures("lapsing")
def test_an_allowance_expires_at_the_renewal_if_its_product_says_so(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("DID_RENEW", purchase))
    assert phone.balance() == 10 + 2 * ALLOWANCE

    expire_lots(timezone.now() + MONTH - DAY)
    assert phone.balance() == 10 + 2 * ALLOWANCE
    expire_lots(timezone.now() + MONTH)

    assert phone.balance() == 10 + ALLOWANCE


@pytest.mark.usefixtures("lapsing")
def test_an_extension_prolongs_the_credits_too(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    expires_at = (timezone.now() + 40 * DAY).isoformat()
    deliver_and_apply(store.notify("RENEWAL_EXTENDED", purchase, expires_date=expires_at))

    expire_lots(timezone.now() + 39 * DAY)
    assert phone.balance() == 10 + ALLOWANCE
    expire_lots(timezone.now() + 40 * DAY)

    assert phone.balance() == 10


# --- Another product ------------------------------------------------------------------------------


def upgrade(store, purchase, **fields):
    return store.notify(
        "DID_CHANGE_RENEWAL_PREF", purchase, subtype="UPGRADE", product_id=PLUS, **fields
    )


@pytest.mark.usefixtures("plus")
def test_an_upgrade_grants_its_allowance_and_claws_back_the_unused_share(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=10))
    deliver_and_apply(purchase)

    deliver_and_apply(upgrade(store, purchase))

    assert phone.balance() == 10 + 20 + PLUS_ALLOWANCE, "a third of the month was used"
    assert status(phone)["product_id"] == PLUS
    assert days_left(phone) == 30
    assert ledger_is_balanced()


@pytest.mark.usefixtures("plus")
def test_an_upgrade_repays_spent_credits_of_the_old_period_from_the_new(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    for _ in range(5):
        assert phone.generate(settings={"duration": 12}).status_code == 200  # 12 credits

    deliver_and_apply(upgrade(store, purchase))

    assert (phone.balance(), debt_of(phone)) == (10 + PLUS_ALLOWANCE - 60, 0)
    assert ledger_is_balanced()


@pytest.mark.usefixtures("plus")
def test_an_upgraded_period_that_is_refunded_is_clawed_back_once(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=10))
    deliver_and_apply(purchase)
    deliver_and_apply(upgrade(store, purchase))

    refunded = store.notify("REFUND", purchase, revocation_percentage=66_667)
    deliver_and_apply(refunded)
    assert phone.balance() == 10 + 20 + PLUS_ALLOWANCE

    deliver_and_apply(store.notify("REFUND", purchase))
    assert phone.balance() == 10 + PLUS_ALLOWANCE
    assert subscription_state(phone) == ("active", "premium", True)

    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))
    assert phone.balance() == 10 + 20 + PLUS_ALLOWANCE
    assert ledger_is_balanced()


@pytest.mark.usefixtures("plus")
def test_an_upgrades_clawback_stays_after_further_periods(phone, store):
    replaced = store.subscribe(phone=phone, at=ago(days=1000))
    deliver_and_apply(replaced)
    upgraded = upgrade(store, replaced, at=ago(days=990))
    deliver_and_apply(upgraded)
    period = purchase_of(upgraded)
    for number in range(24):
        period.pk, period.transaction_id, period.is_renewal = uuid4(), f"later{number}", True
        period.purchased_at, period.expires_at = period.expires_at, period.expires_at + MONTH
        period.save(force_insert=True)

    update(phone, replaced)

    assert phone.balance() == 10 + 20 + PLUS_ALLOWANCE


@pytest.mark.usefixtures("plus")
def test_a_refunded_upgrade_does_not_restore_the_old_period(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=10))
    deliver_and_apply(purchase)
    upgraded = upgrade(store, purchase)
    deliver_and_apply(upgraded)

    deliver_and_apply(store.notify("REFUND", upgraded))

    assert subscription_state(phone) == ("revoked", "free", False)
    assert phone.balance() == 10 + 20


@pytest.mark.usefixtures("plus")
def test_a_downgrade_takes_effect_at_the_renewal(phone, store):
    purchase = store.subscribe(phone=phone, product_id=PLUS, at=ago(days=31))
    deliver_and_apply(purchase)

    chosen = {"subtype": "DOWNGRADE", "product_id": PREMIUM}
    deliver_and_apply(store.notify("DID_CHANGE_RENEWAL_PREF", purchase, **chosen, at=ago(days=2)))
    assert phone.balance() == 10 + PLUS_ALLOWANCE
    assert status(phone)["product_id"] == PLUS

    deliver_and_apply(store.notify("DID_RENEW", purchase))
    assert phone.balance() == 10 + PLUS_ALLOWANCE + ALLOWANCE
    assert status(phone)["product_id"] == PREMIUM


@pytest.mark.usefixtures("plus")
def test_a_cancelled_downgrade_does_not_take_effect(phone, store):
    purchase = store.subscribe(phone=phone, product_id=PLUS, at=ago(days=31))
    deliver_and_apply(purchase)
    change = "DID_CHANGE_RENEWAL_PREF"
    chosen = {"subtype": "DOWNGRADE", "product_id": PREMIUM}
    deliver_and_apply(store.notify(change, purchase, **chosen, at=ago(days=3)))
    deliver_and_apply(store.notify(change, purchase, at=ago(days=2)))

    deliver_and_apply(store.notify("DID_RENEW", purchase))

    assert status(phone)["product_id"] == PLUS


@pytest.mark.usefixtures("plus")
@pytest.mark.parametrize("subtype", ["UPGRADE", "DOWNGRADE", None])
def test_only_an_upgrade_offer_changes_the_product(phone, store, subtype):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    fields = {"subtype": subtype, "product_id": PLUS} if subtype else {}

    deliver_and_apply(store.notify("OFFER_REDEEMED", purchase, **fields))

    expected = PLUS if subtype == "UPGRADE" else PREMIUM
    assert status(phone)["product_id"] == expected
    assert phone.balance() == 10 + (PLUS_ALLOWANCE if subtype == "UPGRADE" else ALLOWANCE)


# --- Refunds --------------------------------------------------------------------------------------


def test_a_refunded_period_loses_credits_and_tier_and_a_reversal_restores_them(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("REFUND", purchase))
    assert subscription_state(phone) == ("revoked", "free", False)
    assert phone.balance() == 10

    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))
    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10 + ALLOWANCE
    assert ledger_is_balanced()


def test_a_subscription_after_a_refund_is_no_upgrade(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=10))
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("REFUND", purchase, revocation_percentage=20_000))
    line = purchase["original_transaction_id"]
    deliver_and_apply(store.subscribe(phone=phone, original_transaction_id=line))
    assert phone.balance() == 10 + 48 + ALLOWANCE

    deliver_and_apply(store.notify("REFUND_REVERSED", purchase))

    assert phone.balance() == 10 + 2 * ALLOWANCE
    assert subscription_state(phone) == ("active", "premium", True)
    assert ledger_is_balanced()


def test_a_refund_of_an_earlier_period_keeps_the_current_one(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("DID_RENEW", purchase))

    deliver_and_apply(store.notify("REFUND", purchase))

    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10 + ALLOWANCE


def test_a_refund_of_an_early_renewal_keeps_the_current_period(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    renewed = store.notify("DID_RENEW", purchase)
    deliver_and_apply(renewed)

    deliver_and_apply(store.notify("REFUND", renewed))

    assert subscription_state(phone) == ("active", "premium", True)
    assert days_left(phone) == 30
    assert phone.balance() == 10 + ALLOWANCE


# --- Whose it is ----------------------------------------------------------------------------------


def test_a_family_shares_the_tier_and_not_the_credits(phone, store):
    shared = store.subscribe(in_app_ownership_type="FAMILY_SHARED")

    answer = update(phone, shared)

    assert (answer["credits_added"], answer["already_processed"]) == (0, False)
    assert update(phone, shared)["already_processed"] is True
    assert subscription_state(phone) == ("active", "premium", True)
    assert phone.balance() == 10


def test_the_end_of_family_sharing_ends_the_tier(phone, store):
    shared = store.subscribe(in_app_ownership_type="FAMILY_SHARED")
    update(phone, shared)

    deliver_and_apply(store.notify("REVOKE", shared))

    assert subscription_state(phone) == ("revoked", "free", False)
    assert (phone.balance(), debt_of(phone)) == (10, 0)
    assert ledger_is_balanced()


def test_a_renewal_without_a_token_belongs_to_the_subscriber(phone, store):
    purchase = store.subscribe(at=ago(days=31))
    update(phone, purchase)

    deliver_and_apply(store.notify("DID_RENEW", purchase))

    assert phone.balance() == 10 + 2 * ALLOWANCE


def test_a_subscription_of_somebody_else_is_refused(phone, store):
    purchase = store.subscribe(phone=phone)

    refused = update_credits(Phone().sign_in(), purchase)

    assert_refused(refused, 409, "ERR_4014")
    assert subscription_state(phone) == ("active", "premium", True)


def test_a_guests_subscription_moves_to_the_account(phone, store, sandbox):
    sub = sign_in(Phone().sign_in(), sandbox)
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    deliver_and_apply(store.notify("DID_RENEW", purchase))

    sign_in(phone, sandbox, sub=sub)

    assert subscription_state(phone) == ("active", "premium", True)
    deliver_and_apply(store.notify("EXPIRED", purchase, subtype="VOLUNTARY"))
    assert subscription_state(phone) == ("expired", "free", False)


def test_the_tier_follows_a_new_subscriber(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    other = Phone().sign_in()

    resubscribed = store.subscribe(
        phone=other,
        original_transaction_id=purchase["original_transaction_id"],
        at=(timezone.now() + timedelta(seconds=1)).isoformat(),
    )
    deliver_and_apply(resubscribed)
    SYNC_PURCHASES.run_batch(now=timezone.now())

    assert subscription_state(other) == ("active", "premium", True)
    assert subscription_state(phone) == ("none", "free", False)


def test_a_merged_guest_is_not_treated_as_deleted(phone, store, sandbox):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    line = purchase["original_transaction_id"]
    guest = Phone().sign_in()
    resubscribed = store.subscribe(phone=guest, original_transaction_id=line)
    sign_in(guest, sandbox, sub=sign_in(Phone().sign_in(), sandbox))

    deliver_and_apply(resubscribed)

    assert purchase_of(resubscribed).user_id == guest.user_id
    assert subscription_state(guest) == ("active", "premium", True)
    assert phone.balance() == 10 + ALLOWANCE


def test_a_deleted_accounts_renewal_waits_for_support(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    phone.post("delete-account")

    renewed = store.notify("DID_RENEW", purchase)
    deliver_and_apply(renewed)

    assert purchase_of(renewed).pending_reason == "closed"
    assert ledger_is_balanced()


def test_the_assignee_of_a_deleted_accounts_period_owns_the_next_ones(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=61))
    deliver_and_apply(purchase)
    phone.post("delete-account")
    renewed = store.notify("DID_RENEW", purchase, at=ago(days=31))
    deliver_and_apply(renewed)
    other = Phone().sign_in()

    assign_purchase(purchase_id=purchase_of(renewed).id, user_id=other.user_id, now=timezone.now())
    deliver_and_apply(store.notify("DID_RENEW", purchase))

    assert other.balance() == 10 + 2 * ALLOWANCE
    assert subscription_state(other) == ("active", "premium", True)
    assert ledger_is_balanced()


def test_a_sandbox_subscription_works_and_is_marked(phone, store):
    purchase = store.subscribe(phone=phone, environment="Sandbox")

    deliver_and_apply(purchase)

    assert subscription_state(phone) == ("active", "premium", True)
    assert Subscription.objects.get().environment == "Sandbox"
    assert phone.balance() == 10 + ALLOWANCE


def test_a_deleted_users_token_reads_no_subscription(phone, store):
    phone.post("delete-account")

    assert_refused(phone.get("subscription/status"), 401, "ERR_4005")


def test_an_export_has_the_subscription(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    [exported] = phone.get("export-user-data").json()["subscriptions"]

    assert exported["original_transaction_id"] == purchase["original_transaction_id"]


# --- When nobody tells ----------------------------------------------------------------------------


def ask(now):
    CHECK_SUBSCRIPTIONS.run_batch(now=now)
    return Subscription.objects.get()


def test_a_renewal_without_a_notification_is_fetched(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    store.notify("DID_RENEW", purchase)

    ask(timezone.now() + timedelta(minutes=11))

    assert phone.balance() == 10 + 2 * ALLOWANCE
    assert subscription_state(phone) == ("active", "premium", True)


def test_apple_is_called_once_for_each_end(phone, store):
    deliver_and_apply(store.subscribe(phone=phone, at=ago(days=29, hours=23, minutes=59)))
    end = Subscription.objects.get().ends_at

    assert ask(end).checked_at is None, "Apple's own word may still come"
    assert ask(end + timedelta(minutes=11)).due_at is None

    assert len(store.requests_to("/v1/subscriptions/")) == 1


def test_apple_is_called_again_after_an_outage(phone, store):
    purchase = store.subscribe(phone=phone, at=ago(days=31))
    deliver_and_apply(purchase)
    store.notify("DID_RENEW", purchase)
    store.set_outage(times=1)

    assert ask(timezone.now() + timedelta(minutes=11)).checked_at is None
    ask(timezone.now() + timedelta(minutes=13))

    assert phone.balance() == 10 + 2 * ALLOWANCE


def test_apple_is_not_called_after_an_end_with_a_notification(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)

    deliver_and_apply(store.notify("EXPIRED", purchase, subtype="VOLUNTARY"))

    assert Subscription.objects.get().due_at is None
