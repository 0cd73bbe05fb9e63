"""Notifications in any order, and concurrent ones, leave the same subscription and credits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from billing.appstore import verifier
from billing.lifecycle import notification_handlers
from billing.models import Product, ProductKind
from tests.billing.conftest import debt_of, ledger_is_balanced, update_credits
from tests.helpers import budget, recorded_sign_in
from tests.helpers.budget import budgeted
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone

PLUS = "com.rendio.plus.monthly"
# Each is what happens, and on which day since the first period began, 65 days ago.
STORIES = {
    "renewed twice": [("DID_RENEW", None, 30), ("DID_RENEW", None, 60)],
    "recovered after grace": [
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", 30),
        ("GRACE_PERIOD_EXPIRED", None, 46),
        ("DID_RENEW", "BILLING_RECOVERY", 50),
    ],
    "in grace": [("DID_RENEW", None, 30), ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", 60)],
    "not charged": [
        ("DID_RENEW", None, 30),
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", 60),
        ("GRACE_PERIOD_EXPIRED", None, 62),
    ],
    "cancelled": [
        ("DID_RENEW", None, 30),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED", 40),
        ("EXPIRED", "VOLUNTARY", 60),
    ],
    "thought better of it": [
        ("DID_RENEW", None, 30),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED", 40),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED", 41),
        ("DID_RENEW", None, 60),
    ],
    "upgraded": [("DID_RENEW", None, 30), ("DID_CHANGE_RENEWAL_PREF", "UPGRADE", 45)],
    "upgraded and refunded": [
        ("DID_CHANGE_RENEWAL_PREF", "UPGRADE", 10),
        ("REFUND", None, 12),
        ("DID_RENEW", None, 40),
    ],
    "upgrade refunded": [
        ("DID_CHANGE_RENEWAL_PREF", "UPGRADE", 20),
        ("REFUND_LAST", None, 25),
    ],
    "refunded and given back": [
        ("DID_RENEW", None, 30),
        ("REFUND", None, 40),
        ("REFUND_REVERSED", None, 41),
    ],
    "renewal refunded": [("DID_RENEW", None, 60), ("REFUND_LAST", None, 64)],
}


@pytest.fixture
def plus(db):
    return Product.objects.create(
        product_id=PLUS, kind=ProductKind.SUBSCRIPTION, name="Plus", credits=150, period="P1M"
    )


class Teller:
    """Tells stories, each time of another subscriber, and in an order of its own."""

    def __init__(self, store):
        self.store = store
        self.began_at = timezone.now().replace(microsecond=0) - timedelta(days=65)

    def _at(self, day):
        return (self.began_at + timedelta(days=day)).isoformat()

    def news(self, story, phone):
        """What Apple signs of it, oldest first."""
        first = last = self.store.subscribe(phone=phone, at=self._at(0))
        event = [first]
        for what, subtype, day in STORIES[story]:
            fields = {"subtype": subtype} if subtype else {}
            if subtype == "UPGRADE":
                fields["product_id"] = PLUS
            about = last if what == "REFUND_LAST" else first
            last = self.store.notify(what.removesuffix("_LAST"), about, **fields, at=self._at(day))
            event.append(last)
        return [verifier.read_notification(one["signed_payload"]) for one in event]

    def outcome_in_a_savepoint(self, story, order):
        """The same, of a repeated sign-in. All rows are removed afterwards."""
        phone = Phone()
        before = transaction.savepoint()
        if not recorded_sign_in.sign_in(phone, phone.sign_in):
            self.store.sandbox.mark_device(phone.device_token)
        outcome = self.outcome(phone, story, order)
        assert ledger_is_balanced()
        transaction.savepoint_rollback(before)
        return outcome

    def outcome(self, phone, story, order):
        """The state of the phone's user after the notifications, handled in this order."""
        news = self.news(story, phone)
        for number in order:
            notification_handlers.handle(news[number], now=timezone.now())
        status = phone.get("subscription/status").json()
        tier = phone.get("get-user-profile").json()["tier"]
        return phone.balance(), debt_of(phone), tier, status


def orders(length):
    """Backwards, with the first before the others or after them, the latest before the others, the
    first after them, and all of it twice."""
    first, *others = range(length)
    return [
        [*reversed(others), first],
        [first, *reversed(others)],
        [*others[-1:], first, *others[:-1]],
        [*others, first],
        [first, *others, *reversed(others), first],
    ]


@budgeted
@pytest.mark.usefixtures("plus", "sandbox")
@pytest.mark.parametrize("story", STORIES)
def test_the_order_of_notifications_makes_no_difference(db, store, story):
    teller = Teller(store)
    in_order = teller.outcome_in_a_savepoint(story, range(len(STORIES[story]) + 1))

    found = orders(len(STORIES[story]) + 1)
    if not budget.is_thorough:
        # One order for each story, and each of them for some story.
        found = [found[list(STORIES).index(story) % len(found)]]
    for order in found:
        assert teller.outcome_in_a_savepoint(story, order) == in_order, order


@pytest.mark.usefixtures("committed")
def test_eight_concurrent_reports_of_a_renewal_grant_it_once(sandbox, store):
    phone = Phone().sign_in()
    purchase = store.subscribe(phone=phone)
    update_credits(phone, purchase)
    renewed = store.notify("DID_RENEW", purchase)
    notice = verifier.read_notification(renewed["signed_payload"])

    results = at_once(
        *[lambda: update_credits(phone, renewed)] * 4,
        *[lambda: notification_handlers.handle(notice, now=timezone.now())] * 4,
    )

    answers = results[:4]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["credits_added"] for answer in answers} == {60}
    granted = sum(not answer.json()["already_processed"] for answer in answers)
    assert granted + sum("granted" in outcome for outcome in results[4:]) == 1
    assert phone.balance() == 10 + 60 + 60
    assert ledger_is_balanced()


@pytest.mark.usefixtures("committed")
def test_concurrent_notifications_have_the_result_of_ordered_ones(sandbox, store):
    teller = Teller(store)
    for story in ("renewed twice", "recovered after grace", "refunded and given back"):
        in_order = teller.outcome(Phone().sign_in(), story, range(len(STORIES[story]) + 1))
        phone = Phone().sign_in()
        news = teller.news(story, phone)

        at_once(
            *[
                lambda notice=notice: notification_handlers.handle(notice, now=timezone.now())
                for notice in news
            ]
        )

        assert phone.balance() == in_order[0]
        assert phone.get("subscription/status").json() == in_order[-1]
    assert ledger_is_balanced()


@pytest.mark.usefixtures("committed")
def test_a_refund_during_a_change_of_subscriber_does_not_deadlock(sandbox, store):
    def applying(event):
        notice = verifier.read_notification(event["signed_payload"])
        return lambda: notification_handlers.handle(notice, now=timezone.now())

    before, after = Phone().sign_in(), Phone().sign_in()
    for times in range(1, 9):
        first = store.subscribe(phone=before)
        applying(first)()
        line = first["original_transaction_id"]
        second = store.subscribe(
            phone=after,
            original_transaction_id=line,
            override={"transactionReason": "RENEWAL"},
        )

        at_once(applying(second), applying(store.notify("REFUND", first)))

        assert (before.balance(), after.balance()) == (10, 10 + 60 * times)
    assert ledger_is_balanced()
