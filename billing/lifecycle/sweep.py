"""Clearing away what has served its time, in bounded batches on indexes."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.models import Notification

BATCH = 1000
# Longer than Apple's history goes back (180 days): what is forgotten here would come again.
KEPT = timedelta(days=200)


def sweep(*, now: datetime) -> None:
    """Delete old notifications, at most BATCH. Harmless twice or late."""
    old = Notification.objects.filter(processed_at__lte=now - KEPT).order_by("processed_at")
    Notification.objects.filter(id__in=old.values("id")[:BATCH]).delete()
