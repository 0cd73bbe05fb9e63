"""Payloads that Apple signed and we cannot read are stored once, and their sender repeats them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import tasks
from billing.due_work import (
    APPLY_NOTIFICATIONS,
    CHECK_SUBSCRIPTIONS,
    CONFIRM_PURCHASES,
    REREAD_PAYLOADS,
)
from billing.models import (
    Notification,
    PayloadKind,
    Purchase,
    Subscription,
    UnconfirmedPurchase,
    UnreadablePayload,
)
from billing.services import dismiss_payload, unreadable
from tests.billing.conftest import (
    TEN,
    AppStore,
    deliver,
    deliver_and_apply,
    ledger_is_balanced,
    post_notification,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.billing.test_forgeries import FLAWS, contents
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone, assert_refused

ODD = {
    "no purchase date": {"purchaseDate": None},
    "no date of signing": {"signedDate": None},
    "a date of signing that is none": {"signedDate": "yesterday"},
    "a date of signing before the App Store": {"signedDate": 5},
    "no bundle": {"bundleId": None},
    "no environment": {"environment": None},
    "an environment that Apple adds later": {"environment": "Staging"},
    "no product": {"productId": None},
    "no transaction id": {"transactionId": None},
    "no type": {"type": None},
    "a transaction id that is too long": {"transactionId": "7" * 51},
    "a product with a NUL": {"productId": "com.rendio\0"},
    "a product of half a character": {"productId": "com.rendio\ud800"},
    "a purchase date that is no number": {"purchaseDate": "yesterday"},
    "a purchase date beyond all calendars": {"purchaseDate": 10**18},
    "a purchase date in the year 9999": {"purchaseDate": 253_402_300_799_000},
    "a quantity of nothing": {"quantity": 0},
    "a quantity that no column holds": {"quantity": 10**12},
    "a price that no column holds": {"price": 10**20},
    "a price below nothing": {"price": -1},
    "an offer of which nobody knows whether it was paid": {"offerType": 3, "price": None},
    "an ownership that is neither": {"inAppOwnershipType": "BORROWED"},
    "a revocation that is no date": {"revocationDate": 10**18},
}


@pytest.fixture(params=[*ODD])
def odd(request):
    return ODD[request.param]


def payload():
    return UnreadablePayload.objects.get()


# --- From a phone ---------------------------------------------------------------------------------


def test_a_phone_with_an_unreadable_purchase_is_told_to_retry(phone, store, odd):
    purchase = store.buy(TEN, phone=phone, override=odd)
    body = {"signed_transaction": purchase["signed_transaction"]}

    for _ in range(2):
        answer = phone.post("update-credits", body)
        assert_refused(answer, 503, "ERR_5005")

    assert answer.headers["Retry-After"]
    assert (payload().kind, payload().times) == (PayloadKind.TRANSACTION, 2)
    assert payload().user_id == phone.user_id
    assert payload().signed_payload == purchase["signed_transaction"]
    assert phone.balance() == 10


def test_an_unreadable_answer_is_stored_once(phone, store, odd):
    purchase = store.buy(TEN, phone=phone, override=odd)

    for _ in range(2):
        assert_refused(update_credits(phone, purchase), 503, "ERR_5005")

    assert (payload().transaction_id, payload().times) == (purchase["transaction_id"], 2)
    assert not Purchase.objects.exists()


def test_a_purchase_is_granted_once_apple_states_it_in_full(phone, store):
    whole = store.buy(TEN, phone=phone)
    cut = store.buy(TEN, override={"transactionId": whole["transaction_id"], "purchaseDate": None})
    body = {"signed_transaction": cut["signed_transaction"]}
    assert_refused(phone.post("update-credits", body), 503, "ERR_5005")

    CONFIRM_PURCHASES.run_batch(now=timezone.now())
    REREAD_PAYLOADS.run_batch(now=timezone.now())

    assert phone.balance() == 20
    assert payload().closed_at
    assert payload().outcome == "the purchase arrived in another payload"
    assert not UnconfirmedPurchase.objects.exists()


def test_an_unreadable_purchase_does_not_block_others(phone, store):
    odd = store.buy(TEN, phone=phone, override={"purchaseDate": None})
    assert_refused(update_credits(phone, odd), 503, "ERR_5005")
    store.set_outage(times=1)
    good = store.buy(TEN, phone=phone)
    assert_refused(update_credits(phone, good), 503, "ERR_5005")
    UnconfirmedPurchase.objects.filter(transaction_id=odd["transaction_id"]).update(
        due_at=timezone.now() - timedelta(hours=1)
    )

    CONFIRM_PURCHASES.run_batch(now=timezone.now())

    assert phone.balance() == 20
    assert [row.transaction_id for row in UnconfirmedPurchase.objects.all()] == [
        odd["transaction_id"]
    ]


def test_a_period_without_its_end_is_not_granted_without_the_tier(phone, store):
    purchase = store.subscribe(phone=phone, override={"expiresDate": None})

    assert_refused(update_credits(phone, purchase), 503, "ERR_5005")
    assert payload().problem == "expiresDate"


def test_concurrent_equal_payloads_are_one_row(committed, sandbox):
    store, phone = AppStore(sandbox), Phone().sign_in()
    purchase = store.buy(TEN, phone=phone, override={"bundleId": None})
    body = {"signed_transaction": purchase["signed_transaction"]}

    answers = at_once(*[lambda: phone.post("update-credits", body)] * 8)

    assert {answer.status_code for answer in answers} == {503}
    [row] = UnreadablePayload.objects.filter(transaction_id=purchase["transaction_id"])
    assert row.times == 8


# --- From Apple -----------------------------------------------------------------------------------


def test_a_notification_with_an_unreadable_purchase_is_stored_and_repeated(phone, store, odd):
    event = store.buy(TEN, phone=phone, override=odd)

    for _ in range(2):
        assert_refused(deliver(event), 503, "ERR_5005")

    assert (payload().kind, payload().times) == (PayloadKind.NOTIFICATION, 2)
    assert payload().key == f"notification {event['notification_uuid']}"
    assert payload().problem.startswith("signedTransactionInfo: ")
    assert payload().signed_payload == event["signed_payload"]
    assert not Notification.objects.exists()


@pytest.mark.parametrize(
    "odd",
    [
        {"signedDate": None},
        {"signedDate": "yesterday"},
        {"notificationType": None},
        {"data": None},
        {"data": None, "somethingNew": {"bundleId": "com.rendio.app"}},
        {"data": {"environment": "Production"}},
        {"data": {"environment": "Production", "bundleId": "com.rendio.app"}},
        {"data": {"bundleId": "com.rendio.app", "appAppleId": 1_234_567_890}},
        {"data": {"environment": ["Production"], "bundleId": "com.rendio.app"}},
        {"data": {"appAppleId": "none"}},
    ],
)
def test_an_unreadable_notification_is_stored(phone, store, odd):
    event = store.notify("REFUND_DECLINED", store.buy(TEN, phone=phone), override=odd)

    assert_refused(deliver(event), 503, "ERR_5005")
    assert payload().signed_payload == event["signed_payload"]


def test_an_unreadable_notification_without_an_id_is_stored_once(phone, store):
    odd = {"notificationUUID": "none"}
    purchase = store.buy(TEN, phone=phone)
    event = store.notify("REFUND_DECLINED", purchase, override=odd)
    other = store.notify("REFUND", purchase, override=odd)

    for one in [event, event, other]:
        assert_refused(deliver(one), 503, "ERR_5005")

    rows = UnreadablePayload.objects.order_by("id")
    assert [row.times for row in rows] == [2, 1]
    assert {row.transaction_id for row in rows} == {purchase["transaction_id"]}


def test_unreadable_renewal_info_is_stored(phone, store):
    event = store.subscribe(phone=phone, renewal_override={"signedDate": None})

    assert_refused(deliver(event), 503, "ERR_5005")
    assert payload().problem == "signedRenewalInfo: signedDate"


def test_an_unreadable_app_transaction_is_stored(phone, store, settings):
    purchase = store.buy(TEN, phone=phone)
    event = store.notify("RESCIND_CONSENT", purchase)
    about = contents(event["signed_payload"])["appData"]
    # A transaction in the place of an app transaction lacks what that must say.
    about["signedAppTransactionInfo"] = store.buy(TEN, override={"bundleId": None})[
        "signed_transaction"
    ]
    event = store.notify("RESCIND_CONSENT", purchase, override={"appData": about})

    assert_refused(deliver(event), 503, "ERR_5005")
    assert payload().problem == "signedAppTransactionInfo: bundleId"


def test_an_unreadable_subscription_does_not_block_the_worker(phone, store):
    began_at = (timezone.now() - timedelta(days=40)).isoformat()
    purchase = store.subscribe(phone=phone, at=began_at)
    deliver_and_apply(purchase)
    store.notify("DID_RENEW", purchase, at=began_at)
    renewed = store.notify("DID_RENEW", purchase)
    # From now on the last period is told without its end.
    again = store.subscribe(
        phone=phone,
        original_transaction_id=purchase["transaction_id"],
        override={"expiresDate": None},
    )
    Subscription.objects.update(due_at=timezone.now())

    CHECK_SUBSCRIPTIONS.run_batch(now=timezone.now())

    assert payload().transaction_id == again["transaction_id"] != renewed["transaction_id"]
    assert Subscription.objects.get().checked_at


# --- Read again -----------------------------------------------------------------------------------


def test_an_unreadable_payload_is_retried_until_it_can_be_read(phone, store, settings):
    """As after a release that knows more: here, the app had another number."""
    event = store.buy(TEN, phone=phone)
    now = timezone.now()
    row = UnreadablePayload.objects.create(
        key=f"notification {event['notification_uuid']}",
        kind=PayloadKind.NOTIFICATION,
        problem="data",
        signed_payload=event["signed_payload"],
        first_at=now,
        last_at=now,
        due_at=now,
    )
    settings.APPSTORE_APP_ID += 1
    REREAD_PAYLOADS.run_batch(now=now)
    row.refresh_from_db()
    assert row.closed_at is None
    assert row.due_at > now

    settings.APPSTORE_APP_ID -= 1
    REREAD_PAYLOADS.run_batch(now=row.due_at)
    APPLY_NOTIFICATIONS.run_batch(now=row.due_at)

    assert payload().outcome == "read and applied"
    assert phone.balance() == 20
    assert ledger_is_balanced()


@pytest.mark.parametrize("names_somebody", [True, False])
def test_a_purchase_that_becomes_readable_is_granted_to_the_sender(phone, store, names_somebody):
    purchase = store.buy(TEN, phone=phone if names_somebody else None)
    now = timezone.now()
    UnreadablePayload.objects.create(
        key=f"transaction {purchase['transaction_id']}",
        kind=PayloadKind.TRANSACTION,
        problem="purchaseDate",
        transaction_id=purchase["transaction_id"],
        signed_payload=purchase["signed_transaction"],
        user_id=phone.user_id,
        first_at=now,
        last_at=now,
        due_at=now,
    )

    REREAD_PAYLOADS.run_batch(now=now)

    assert purchase_of(purchase).user_id == phone.user_id
    assert phone.balance() == 20
    assert payload().outcome == "read and applied"


def test_a_renewal_that_becomes_readable_is_applied(phone, store):
    purchase = store.subscribe(phone=phone)
    deliver_and_apply(purchase)
    off = store.notify("DID_CHANGE_RENEWAL_STATUS", purchase, subtype="AUTO_RENEW_DISABLED")
    now = timezone.now()
    UnreadablePayload.objects.create(
        key="renewal 1",
        kind=PayloadKind.RENEWAL,
        problem="signedDate",
        signed_payload=contents(off["signed_payload"])["data"]["signedRenewalInfo"],
        first_at=now,
        last_at=now,
        due_at=now,
    )

    REREAD_PAYLOADS.run_batch(now=now)

    assert phone.get("subscription/status").json()["will_renew"] is False


def test_a_readable_repetition_closes_the_unreadable_payload(phone, store):
    event = store.buy(TEN, phone=phone)
    now = timezone.now()
    UnreadablePayload.objects.create(
        key=f"notification {event['notification_uuid']}",
        kind=PayloadKind.NOTIFICATION,
        problem="data",
        signed_payload="unreadable for ever",
        first_at=now,
        last_at=now,
        due_at=now,
    )
    deliver_and_apply(event)

    REREAD_PAYLOADS.run_batch(now=now)

    assert payload().outcome == "a readable copy arrived"


# --- What is not kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("odd", [{"bundleId": None}, {"signedDate": "x"}, {"purchaseDate": None}])
def test_a_forged_payload_is_not_stored(phone, store, flaw, odd):
    purchase = store.buy(TEN, phone=phone, override=odd)
    forged = store.sandbox.control(
        "apple/forge", flaw=flaw, transaction_id=purchase["transaction_id"]
    )
    within = store.sandbox.control(
        "apple/forge", flaw=flaw, notification_uuid=purchase["notification_uuid"], inner=True
    )

    assert_refused(phone.post("update-credits", forged), 400, "ERR_4013")
    assert_refused(post_notification(within["signed_payload"]), 401, "ERR_4005")
    assert not UnreadablePayload.objects.exists()


def test_another_apps_unreadable_payloads_are_not_stored(phone, store):
    other = store.buy(TEN, phone=phone, bundle_id="com.example.other", override={"type": None})
    body = {"signed_transaction": other["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")
    assert_refused(deliver(other), 401, "ERR_4005")
    assert not UnreadablePayload.objects.exists()


def test_unreadable_payloads_of_a_disabled_environment_are_not_stored(phone, store, settings):
    settings.APPSTORE_ENVIRONMENTS = ["Production"]
    odd = {"environment": "Sandbox", "override": {"purchaseDate": "yesterday"}}
    purchase = store.buy(TEN, phone=phone, **odd)
    body = {"signed_transaction": purchase["signed_transaction"]}

    assert_refused(phone.post("update-credits", body), 400, "ERR_4013")
    assert_refused(deliver(purchase), 401, "ERR_4005")
    assert not UnreadablePayload.objects.exists()


def test_the_number_of_unreadable_payloads_is_limited(phone, store, monkeypatch):
    monkeypatch.setattr(unreadable, "MAX_OPEN", 1)
    for _ in range(2):
        purchase = store.buy(TEN, phone=phone, override={"bundleId": None})
        assert_refused(deliver(purchase), 503, "ERR_5005")

    assert UnreadablePayload.objects.count() == 1


# --- Who has it -----------------------------------------------------------------------------------


@pytest.fixture
def sent(phone, store):
    """The phone has sent one, and is asked to again."""
    purchase = store.buy(TEN, phone=phone, override={"purchaseDate": None})
    assert_refused(update_credits(phone, purchase), 503, "ERR_5005")
    return payload()


def test_unreadable_payloads_move_in_a_merge(sent, phone, sandbox):
    account = Phone().sign_in()
    sign_in(phone, sandbox, sub=sign_in(account, sandbox))

    assert payload().user_id == account.user_id


def test_unreadable_payloads_are_exported(sent, phone):
    [row] = phone.get("export-user-data").json()["unreadable_purchases"]

    assert (row["transaction_id"], row["problem"]) == (sent.transaction_id, "purchaseDate")


def test_an_account_deletion_keeps_open_payloads_and_blanks_closed_ones(sent, phone):
    closed = UnreadablePayload.objects.create(
        key="transaction 1",
        kind=PayloadKind.TRANSACTION,
        problem="type",
        signed_payload="all that was said",
        user_id=phone.user_id,
        first_at=timezone.now(),
        last_at=timezone.now(),
        closed_at=timezone.now(),
    )
    assert phone.post("delete-account").status_code == 200

    sent.refresh_from_db()
    closed.refresh_from_db()
    assert sent.signed_payload
    assert closed.signed_payload == ""


def test_a_dismissed_payload_is_not_retried_and_is_purged(sent):
    now = timezone.now()
    dismiss_payload(sent.id, now=now)

    assert REREAD_PAYLOADS.run_batch(now=now + timedelta(days=1)) == 0
    tasks.purge(now=now + tasks.RETENTION - timedelta(days=1))
    assert payload().outcome == "dismissed"
    tasks.purge(now=now + tasks.RETENTION)
    assert not UnreadablePayload.objects.exists()
