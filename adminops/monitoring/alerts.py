"""Alerts to the operators, by e-mail and webhook.

Guarantee: one row and one log line per key. The e-mail and the webhook call are sent at least once:
a process that dies after sending, before the row is updated, sends again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.core.mail import send_mail

from accounts.push import outbox
from adminops.models import Alert
from adminops.monitoring import heartbeats
from billing import queries as billing_queries
from credits import ledger_check
from generation import spend
from rendio.common.background.due_rows import claim_due, for_each_logged, run_all
from rendio.common.background.purge import delete_batch
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

BATCH = 20
# Longer than the periods in the keys.
RETENTION = timedelta(days=400)


def purge(*, now: datetime) -> int:
    """Delete a batch of old alerts that were sent; returns the number deleted."""
    return delete_batch(
        Alert.objects.filter(raised_at__lte=now - RETENTION, due_at=None), order="id"
    )


def raise_alerts(*, now: datetime) -> None:
    """Run all checks and raise their alerts. An exception in one check does not stop the rest."""
    looks = (_check_spend, _check_pushes, _check_unreadable, _check_ledger, _check_clocks)
    run_all(*(partial(one, now=now) for one in looks))


def _check_spend(*, now: datetime) -> None:
    for one in spend.cap_statuses(now=now):
        for percent in settings.SPEND_ALERT_PERCENT:
            # A cap of 0 (nothing may be spent) raises no alert while nothing is spent.
            if one.spent_usd and one.spent_usd * 100 >= one.cap_usd * percent:
                _raise_spend(one, percent, now=now)


def _check_pushes(*, now: datetime) -> None:
    if reason := outbox.blocking_reason():
        _raise(
            f"push {reason} {now:%Y-%m-%d}",
            f"Apple refuses our key for pushes: {reason}. No push is sent.",
            now=now,
        )


def _check_unreadable(*, now: datetime) -> None:
    if unreadable := billing_queries.count_unreadable():
        _raise(
            f"apple unreadable {now:%Y-%m-%d}",
            f"Apple has signed {unreadable} payload{'s' if unreadable > 1 else ''} that we cannot"
            " read: customers may have paid without getting their credits. Look at Unreadable"
            " payloads in the admin.",
            now=now,
        )


def _check_ledger(*, now: datetime) -> None:
    last_check = ledger_check.get_last_check()
    if last_check.discrepancies:
        _raise(
            f"ledger {last_check.checked_at:%Y-%m-%d}",
            f"The ledger does not add up in {last_check.discrepancies} places:"
            " manage.py prove_ledger.",
            now=now,
        )


def _check_clocks(*, now: datetime) -> None:
    if wrong := heartbeats.wrong_clocks(now=now):
        _raise(
            f"clocks {now:%Y-%m-%d}",
            f"{'; '.join(wrong)}. Set the clocks of those machines by NTP."[:500],
            now=now,
        )


def _raise_spend(one: spend.CapStatus, percent: int, *, now: datetime) -> None:
    began = one.period.began_at(now).date()
    text = (
        f"{one.provider} has cost ${one.spent_usd:.2f} this {one.period}, {percent} % or more of"
        f" its cap of ${one.cap_usd:.2f}."
    )
    if percent == 100:
        text += " No jobs are submitted there until the period ends or the cap is raised."
    _raise(f"spend {one.provider} {one.period} {began} {percent}", text, now=now)


def _raise(key: str, text: str, *, now: datetime) -> None:
    _, is_new = Alert.objects.get_or_create(
        key=key, defaults={"text": text, "raised_at": now, "due_at": now}
    )
    if is_new:
        logger.error("alert", key=key, text=text)


def send_due(*, now: datetime) -> None:
    """Send due alerts. A failed alert is retried with growing delays."""
    for_each_logged(
        claim_due(Alert.objects.all(), now=now, limit=BATCH), lambda alert: _send(alert, now=now)
    )


def _send(alert: Alert, *, now: datetime) -> None:
    if settings.ALERT_EMAILS and not alert.mailed_at:
        send_mail(f"Rendio: {alert.key}", alert.text, None, settings.ALERT_EMAILS)
        _update(alert, mailed_at=now)
    if settings.ALERT_WEBHOOK_URL and not alert.called_at:
        answer = http.request("POST", settings.ALERT_WEBHOOK_URL, json={"text": alert.text})
        if not answer.ok:
            raise WebhookRejected(answer.status)
        _update(alert, called_at=now)
    _update(alert, due_at=None)


class WebhookRejected(Exception):
    """ALERT_WEBHOOK_URL responded with this status."""


def _update(alert: Alert, **changes: datetime | None) -> None:
    Alert.objects.filter(id=alert.id).update(**changes)
