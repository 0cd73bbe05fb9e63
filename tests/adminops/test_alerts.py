"""Alerts: each is raised once, and sent until it is delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adminops.models import Alert
from adminops.monitoring import alerts, heartbeats
from billing.models import UnreadablePayload
from billing.services import dismiss_payload
from credits.models import LedgerCheck
from generation.models import SpendDay
from tests.billing.conftest import AppStore, deliver
from tests.helpers.job_driver import StubServer

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def stub_server():
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def spent(settings):
    """fal has cost this much today, with a cap of 100 dollars."""
    settings.PROVIDER_SPEND_CAPS = {"day": {"fal": Decimal(100)}, "month": {}}

    def spent(usd, *, at=NOON):
        SpendDay.objects.update_or_create(
            provider="fal", date=at.date(), defaults={"usd": usd, "counted_until": at}
        )
        alerts.raise_alerts(now=at)

    return spent


def keys():
    return list(Alert.objects.order_by("id").values_list("key", flat=True))


def test_each_spend_threshold_alerts_once_per_period(spent):
    spent(49)
    assert keys() == []

    spent(81)
    spent(82)

    assert keys() == ["spend fal day 2026-11-21 50", "spend fal day 2026-11-21 80"]
    assert Alert.objects.last().text == (
        "fal has cost $81.00 this day, 80 % or more of its cap of $100.00."
    )
    spent(101)
    spent(60, at=NOON + timedelta(days=1))
    assert keys()[2:] == ["spend fal day 2026-11-21 100", "spend fal day 2026-11-22 50"]


def test_cap_of_zero_without_spending_raises_no_alert(spent, settings):
    settings.PROVIDER_SPEND_CAPS = {"day": {"fal": Decimal(0)}, "month": {}}

    spent(0)
    assert keys() == []
    spent(1)

    assert keys()[-1] == "spend fal day 2026-11-21 100"


def test_unbalanced_ledger_alerts_once_a_day():
    LedgerCheck.objects.update(discrepancies=2, checked_at=NOON)

    alerts.raise_alerts(now=NOON)
    alerts.raise_alerts(now=NOON)

    assert keys() == ["ledger 2026-11-21"]


def test_wrong_clock_alerts_once_a_day():
    for name, seconds in [("low@one", 4), ("low@two", -3600)]:
        heartbeats.write(process=name, roles=["low"], now=NOON, skew_seconds=seconds)

    alerts.raise_alerts(now=NOON)
    alerts.raise_alerts(now=NOON + timedelta(seconds=5))

    [alert] = Alert.objects.all()
    assert alert.key == "clocks 2026-11-21"
    assert alert.text == (
        "the clock of low@two is 3600 s behind PostgreSQL's. Set the clocks of those machines by"
        " NTP."
    )


def test_alert_is_sent_once_by_mail_and_webhook(spent, settings, stub_server, mailoutbox):
    settings.ALERT_EMAILS = ["ops@example.com"]
    settings.ALERT_WEBHOOK_URL = f"{stub_server.url}/hook"
    stub_server.otherwise = (200, {}, b"ok")
    spent(50)

    alerts.send_due(now=NOON)
    alerts.send_due(now=NOON + timedelta(hours=2))

    [mail] = mailoutbox
    assert (mail.to, mail.subject) == (["ops@example.com"], "Rendio: spend fal day 2026-11-21 50")
    assert b'"text": "fal has cost $50.00' in stub_server.bodies[0]
    assert len(stub_server.asked) == 1


def test_failed_delivery_of_an_alert_is_retried_alone(spent, settings, stub_server, mailoutbox):
    settings.ALERT_EMAILS = ["ops@example.com"]
    settings.ALERT_WEBHOOK_URL = f"{stub_server.url}/hook"
    stub_server.answers = [(500, {}, b""), (200, {}, b"ok")]
    spent(50)

    alerts.send_due(now=NOON)
    assert Alert.objects.get().due_at > NOON
    alerts.send_due(now=NOON + timedelta(hours=2))

    assert (len(mailoutbox), len(stub_server.asked)) == (1, 2)
    assert Alert.objects.get().due_at is None


def test_staff_see_alerts_and_daily_costs(spent, root):
    spent(50)

    assert "fal has cost $50.00" in root.see("adminops_alert_changelist").content.decode()
    page = root.see("generation_spendday_changelist", q="fal")
    assert (page.status_code, "50.0000" in page.content.decode()) == (200, True)


def test_unreadable_payload_alerts_daily_until_dismissed(phone, sandbox):
    store = AppStore(sandbox)
    bought = store.buy(phone=phone, override={"bundleId": None})
    assert deliver(bought).status_code == 503

    alerts.raise_alerts(now=NOON)
    alerts.raise_alerts(now=NOON + timedelta(hours=1))
    alerts.raise_alerts(now=NOON + timedelta(days=1))
    dismiss_payload(UnreadablePayload.objects.get().id, now=NOON)
    alerts.raise_alerts(now=NOON + timedelta(days=2))

    assert keys() == ["apple unreadable 2026-11-21", "apple unreadable 2026-11-22"]
    assert "Apple has signed 1 payload that we cannot read" in Alert.objects.first().text
