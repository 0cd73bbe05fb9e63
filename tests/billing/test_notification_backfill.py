"""The backfill finds missed notifications in Apple's history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.due_work import APPLY_NOTIFICATIONS, BACKFILL_NOTIFICATIONS
from billing.lifecycle import notification_backfill
from billing.models import BackfillCursor, Notification
from tests.billing.conftest import TEN, deliver_and_apply, ledger_is_balanced

DAY = timedelta(days=1)
# Apple leaves out what was signed in the millisecond in which a period ends.
SECOND = timedelta(seconds=1)


def walk(now=None):
    """All steps that are due, and what they found is applied; how many steps."""
    now = now or timezone.now() + SECOND
    steps = 0
    while BACKFILL_NOTIFICATIONS.run_batch(now=now):
        steps += 1
    while APPLY_NOTIFICATIONS.run_batch(now=now):
        pass
    return steps


@pytest.fixture
def production_only(db):
    """Of the four walks one, to look at closely."""
    BackfillCursor.objects.exclude(environment="Production", scope="recent").delete()


def test_a_backfill_applies_missed_purchases_and_refunds(phone, store):
    purchase = [store.buy(TEN, phone=phone) for _ in range(3)]
    store.notify("REFUND", purchase[0])
    deliver_and_apply(purchase[1])

    walk()

    assert phone.balance() == 10 + 20
    assert ledger_is_balanced()


def test_a_backfill_applies_purchases_of_apples_sandbox(phone, store):
    store.buy(TEN, phone=phone, environment="Sandbox")

    walk()

    assert phone.balance() == 20


def test_a_backfill_reads_all_pages(phone, store, production_only):
    for hours in range(45):
        store.buy(TEN, phone=phone, at=(timezone.now() - timedelta(hours=hours)).isoformat())

    assert walk() == 3
    assert Notification.objects.filter(from_history=True).count() == 45
    assert phone.balance() == 10 + 450


def test_a_backfill_continues_after_its_worker_died(phone, store, production_only):
    for _ in range(21):
        store.buy(TEN, phone=phone)
    now = timezone.now() + SECOND
    BACKFILL_NOTIFICATIONS.run_batch(now=now)

    walk(now)

    pages = store.requests_to("/notifications/history")
    assert len(pages) == 2
    assert "paginationToken" in pages[1]["path"] or "paginationToken" in str(pages[1])


def test_a_second_backfill_fetches_only_newer_notifications(phone, store, production_only):
    first, later = timezone.now(), timezone.now() + DAY
    walk(first)

    walk(later)

    asked = [one["body"]["startDate"] for one in store.requests_to("/notifications/history")]
    assert asked == [
        int((first - notification_backfill.KEPT_BY_APPLE).timestamp() * 1000),
        int((first - notification_backfill.OVERLAP).timestamp() * 1000),
    ]


def test_the_backfill_of_failures_covers_the_whole_history_daily(phone, store):
    BackfillCursor.objects.exclude(environment="Production", scope="failed").delete()
    long_ago = timezone.now() - timedelta(days=170)
    walk(timezone.now())
    store.buy(TEN, phone=phone, at=int(long_ago.timestamp() * 1000))

    walk(timezone.now() + DAY)

    assert [one["body"]["onlyFailures"] for one in store.requests_to("/notifications/history")] == [
        True,
        True,
    ]


def test_a_backfill_is_due_once_a_day(phone, store):
    walk(timezone.now())

    assert walk(timezone.now() + DAY / 2) == 0
    assert walk(timezone.now() + DAY) == 4


def test_an_outage_delays_a_backfill(phone, store):
    store.buy(TEN, phone=phone)
    store.set_outage(times=4)
    walk()
    assert phone.balance() == 10

    walk(timezone.now() + timedelta(minutes=2))

    assert phone.balance() == 20


def test_a_rejected_page_token_restarts_the_backfill(phone, store, production_only):
    store.buy(TEN, phone=phone)
    now = timezone.now()
    BackfillCursor.objects.update(from_at=now - DAY, until_at=now, pagination_token="stale")

    walk(now)
    assert phone.balance() == 10
    walk(timezone.now() + timedelta(minutes=2))

    assert phone.balance() == 20


@pytest.mark.parametrize("odd", [{"notificationUUID": "none"}, {"data": {"appAppleId": "none"}}])
def test_an_unreadable_notification_does_not_block_the_backfill(phone, store, production_only, odd):
    first = store.buy(TEN, phone=phone)
    store.notify("REFUND_DECLINED", first, override=odd)
    store.buy(TEN, phone=phone)

    walk()

    assert phone.balance() == 10 + 20
    assert BackfillCursor.objects.get().finished_at
