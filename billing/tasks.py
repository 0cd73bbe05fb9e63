"""Celery's way into billing: each task looks at what is due.

At least once; a lost, doubled or late message changes nothing (see billing.lifecycle).
"""

from __future__ import annotations

from celery import shared_task

from billing.lifecycle import (
    account_tokens,
    consumption,
    notification_backfill,
    notifications,
    purchases,
    subscriptions,
    unconfirmed,
    unreadable,
)
from billing.lifecycle import sweep as sweeping
from rendio.common import clock
from rendio.common.due import drain


@shared_task(name="billing.apply_notifications")
def apply_notifications() -> None:
    drain(lambda: notifications.apply_due(now=clock.now()), batch=notifications.BATCH)


@shared_task(name="billing.settle_purchases")
def settle_purchases() -> None:
    drain(lambda: purchases.settle_due(now=clock.now()), batch=purchases.BATCH)


@shared_task(name="billing.confirm_purchases")
def confirm_purchases() -> None:
    drain(lambda: unconfirmed.confirm_due(now=clock.now()), batch=unconfirmed.BATCH)


@shared_task(name="billing.change_tokens")
def change_tokens() -> None:
    drain(lambda: account_tokens.change_due(now=clock.now()), batch=account_tokens.BATCH)


@shared_task(name="billing.ask_subscriptions")
def ask_subscriptions() -> None:
    drain(lambda: subscriptions.ask_due(now=clock.now()), batch=subscriptions.BATCH)


@shared_task(name="billing.answer_consumption")
def answer_consumption() -> None:
    drain(lambda: consumption.answer_due(now=clock.now()), batch=consumption.BATCH)


@shared_task(name="billing.walk_history")
def walk_history() -> None:
    drain(lambda: notification_backfill.walk_due(now=clock.now()), batch=1)


@shared_task(name="billing.read_payloads")
def read_payloads() -> None:
    drain(lambda: unreadable.read_due(now=clock.now()), batch=unreadable.BATCH)


@shared_task(name="billing.sweep")
def sweep() -> None:
    sweeping.sweep(now=clock.now())
