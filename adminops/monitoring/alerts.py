"""Alerts: what a person has to hear of, once for each key.

The row and its log line are written once; the e-mail and the call are due until they have gone out,
at least once: who dies after sending and before saying so sends again.
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
from rendio.common.due import claim_due, for_each_logged, run_all
from rendio.common.outbound import http
from rendio.common.purge import delete_batch

logger = structlog.get_logger(__name__)

BATCH = 20
# Longer than the periods that their keys name.
KEPT = timedelta(days=400)


def sweep(*, now: datetime) -> int:
    """Delete alerts that went out long ago, at most a batch; returns how many."""
    return delete_batch(Alert.objects.filter(raised_at__lte=now - KEPT, due_at=None), order="id")


def look(*, now: datetime) -> None:
    """Raise what has come about. What cannot be looked at keeps back none of the others."""
    looks = (_look_at_spend, _look_at_pushes, _look_at_unreadable, _look_at_ledger, _look_at_clocks)
    run_all(*(partial(one, now=now) for one in looks))


def _look_at_spend(*, now: datetime) -> None:
    for one in spend.cap_statuses(now=now):
        for percent in settings.SPEND_ALERT_PERCENT:
            # A cap of 0 is reached by nothing, as it is meant to be.
            if one.spent_usd and one.spent_usd * 100 >= one.cap_usd * percent:
                _raise_spend(one, percent, now=now)


def _look_at_pushes(*, now: datetime) -> None:
    if reason := outbox.blocking_reason():
        _raise(
            f"push {reason} {now:%Y-%m-%d}",
            f"Apple refuses our key for pushes: {reason}. No iPhone is told anything.",
            now=now,
        )


def _look_at_unreadable(*, now: datetime) -> None:
    if unreadable := billing_queries.count_unreadable():
        _raise(
            f"apple unreadable {now:%Y-%m-%d}",
            f"Apple has signed {unreadable} payload{'s' if unreadable > 1 else ''} that we cannot"
            " read: customers may have paid without getting their credits. Look at Unreadable"
            " payloads in the admin.",
            now=now,
        )


def _look_at_ledger(*, now: datetime) -> None:
    last_check = ledger_check.get_last_check()
    if last_check.discrepancies:
        _raise(
            f"ledger {last_check.checked_at:%Y-%m-%d}",
            f"The ledger does not add up in {last_check.discrepancies} places:"
            " manage.py prove_ledger.",
            now=now,
        )


def _look_at_clocks(*, now: datetime) -> None:
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
        text += " Nothing is sent there until the period ends or the cap is raised."
    _raise(f"spend {one.provider} {one.period} {began} {percent}", text, now=now)


def _raise(key: str, text: str, *, now: datetime) -> None:
    _, is_new = Alert.objects.get_or_create(
        key=key, defaults={"text": text, "raised_at": now, "due_at": now}
    )
    if is_new:
        logger.error("alert", key=key, text=text)


def send_due(*, now: datetime) -> None:
    """Send what has not gone out yet; what cannot is tried again later and later."""
    for_each_logged(
        claim_due(Alert.objects.all(), now=now, limit=BATCH), lambda alert: _send(alert, now=now)
    )


def _send(alert: Alert, *, now: datetime) -> None:
    if settings.ALERT_EMAILS and not alert.mailed_at:
        send_mail(f"Rendio: {alert.key}", alert.text, None, settings.ALERT_EMAILS)
        _done(alert, mailed_at=now)
    if settings.ALERT_WEBHOOK_URL and not alert.called_at:
        answer = http.request("POST", settings.ALERT_WEBHOOK_URL, json={"text": alert.text})
        if not answer.ok:
            raise NotTaken(answer.status)
        _done(alert, called_at=now)
    _done(alert, due_at=None)


class NotTaken(Exception):
    """The address that alerts go to answered with this status."""


def _done(alert: Alert, **changes: datetime | None) -> None:
    Alert.objects.filter(id=alert.id).update(**changes)
