"""Purchases with web, worker and beat as separate processes, and calls from Apple."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.due_work import BACKFILL_NOTIFICATIONS
from billing.models import BackfillCursor, Notification
from tests.billing.conftest import TEN, AppStore, ledger_is_balanced
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")


def check_appstore(patience):
    out = StringIO()
    call_command("check_appstore", patience=patience, stdout=out)
    return out.getvalue().splitlines()


def test_a_purchase_reported_by_apple_reaches_the_phone(running, sandbox):
    phone = running.phone(credits=1)
    before = phone.balance()

    purchase = AppStore(sandbox).buy(TEN, phone=phone, deliver=True)

    assert purchase["delivered_status"] == 200
    wait_for(lambda: phone.balance() == before + 10)


def test_a_purchase_whose_notification_was_lost_reaches_the_phone(running, sandbox):
    phone = running.phone(credits=1)
    before = phone.balance()
    AppStore(sandbox).buy(TEN, phone=phone)

    BackfillCursor.objects.update(due_at="2026-01-01T00:00:00Z", covered_until=None)

    # Beat looks at the history once a minute; nothing wakes a worker for it.
    BACKFILL_NOTIFICATIONS.wake_workers()
    wait_for(lambda: phone.balance() == before + 10)
    assert ledger_is_balanced()


def test_check_appstore_proves_key_webhook_and_certificates(running, sandbox):
    lines = check_appstore(patience=20)

    assert len(lines) == 1 + 2 * 4
    assert all(line.startswith("ok") for line in lines), lines
    assert Notification.objects.filter(type="TEST").count() >= 2


def test_check_appstore_names_the_failing_check(running, sandbox):
    sandbox.control("apple/app", notification_url="http://127.0.0.1:1/webhooks/app-store")

    with pytest.raises(CommandError):
        check_appstore(patience=20)


def test_check_appstore_reports_a_wrong_key_without_a_server(sandbox):
    sandbox.control("apple/outage", service="storekit", status=401)
    out = StringIO()

    with pytest.raises(CommandError, match="2 of these failed"):
        call_command("check_appstore", stdout=out)

    assert "FAILED  Production: key" in out.getvalue()
