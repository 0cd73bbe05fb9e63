"""The Celery tasks of billing: importing the handlers makes them
(rendio.common.background.due_work).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.due_work import PURGE
from billing.lifecycle import (  # noqa: F401
    consumption,
    notification_backfill,
    notifications,
    purchases,
    subscriptions,
    unreadable,
)
from billing.models import Notification, UnreadablePayload
from rendio.common.background.due_work import due_batch
from rendio.common.background.purge import delete_batch, run_deletes

# Longer than Apple's history goes back (180 days): a deleted notification would be fetched again.
RETENTION = timedelta(days=200)


@due_batch(PURGE)
def purge(*, now: datetime) -> None:
    """Delete old notifications, and payloads that were closed long ago. Harmless twice or late."""
    old = Notification.objects.filter(processed_at__lte=now - RETENTION)
    closed = UnreadablePayload.objects.filter(closed_at__lte=now - RETENTION)
    run_deletes(
        lambda: delete_batch(old, order="processed_at"),
        lambda: delete_batch(closed, order="closed_at"),
    )
