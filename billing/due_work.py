"""The background work of billing: due rows, queues, and how often beat looks."""

from __future__ import annotations

from django.conf import settings

from billing.models import (
    AppAccountTokenUpdate,
    BackfillCursor,
    ConsumptionRequest,
    Notification,
    Purchase,
    Subscription,
    UnconfirmedPurchase,
    UnreadablePayload,
)
from rendio.common.background.due_work import DueRows, DueWork

APPLY_NOTIFICATIONS = DueWork(
    "billing.apply_notifications",
    DueRows("notifications", Notification.objects.all),
    every_seconds=1,
    batch=20,
)
SYNC_PURCHASES = DueWork(
    "billing.settle_purchases",
    DueRows("purchases", Purchase.objects.all),
    every_seconds=10,
    batch=50,
)
CONFIRM_PURCHASES = DueWork(
    "billing.confirm_purchases",
    DueRows("unconfirmed purchases", UnconfirmedPurchase.objects.all),
    every_seconds=10,
    batch=20,
)
UPDATE_ACCOUNT_TOKENS = DueWork(
    "billing.change_tokens",
    DueRows("token changes", AppAccountTokenUpdate.objects.all),
    every_seconds=60,
    batch=20,
)
CHECK_SUBSCRIPTIONS = DueWork(
    "billing.ask_subscriptions",
    DueRows("subscriptions", Subscription.objects.all),
    every_seconds=60,
    batch=20,
)
ANSWER_CONSUMPTION = DueWork(
    "billing.answer_consumption",
    DueRows("consumption requests", ConsumptionRequest.objects.all),
    every_seconds=60,
    batch=20,
)
BACKFILL_NOTIFICATIONS = DueWork(
    "billing.walk_history",
    DueRows(
        "history walks",
        lambda: BackfillCursor.objects.filter(environment__in=settings.APPSTORE_ENVIRONMENTS),
    ),
    # Beat looks every minute. A run begins once in BACKFILL_INTERVAL
    # (lifecycle/notification_backfill.py).
    every_seconds=60,
)
REREAD_PAYLOADS = DueWork(
    "billing.read_payloads",
    DueRows("unreadable payloads", UnreadablePayload.objects.open),
    every_seconds=60,
    batch=20,
)
PURGE = DueWork("billing.sweep", every_seconds=60, is_periodic=True)
