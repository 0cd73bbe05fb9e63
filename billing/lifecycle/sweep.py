"""Clearing away what has served its time, in bounded batches on indexes."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.models import Notification, UnreadablePayload
from rendio.common.purge import delete_batch
from rendio.common.purge import sweep as sweep_all

# Longer than Apple's history goes back (180 days): what is forgotten here would come again.
KEPT = timedelta(days=200)


def sweep(*, now: datetime) -> None:
    """Delete old notifications, and payloads that are closed. Harmless twice or late."""
    old = Notification.objects.filter(processed_at__lte=now - KEPT)
    sweep_all(lambda: delete_batch(old, order="processed_at"))
    closed = UnreadablePayload.objects.filter(closed_at__lte=now - KEPT)
    sweep_all(lambda: delete_batch(closed, order="closed_at"))
