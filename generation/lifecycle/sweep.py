"""Clearing away what has served its time, in bounded batches on indexes."""

from __future__ import annotations

from datetime import datetime, timedelta

from generation.models import Offence, Quote, WebhookDelivery

BATCH = 1000
DELIVERIES_KEPT = timedelta(days=30)
# They count for MODERATION_WINDOW_DAYS, which are no more.
OFFENCES_KEPT = timedelta(days=365)


def sweep(*, now: datetime) -> None:
    """Delete expired quotes, old deliveries and old offences, at most BATCH of each. Harmless twice
    or late."""
    expired = Quote.objects.filter(expires_at__lte=now).order_by("expires_at")
    Quote.objects.filter(id__in=expired.values("id")[:BATCH]).delete()
    old = WebhookDelivery.objects.filter(processed_at__lte=now - DELIVERIES_KEPT)
    WebhookDelivery.objects.filter(
        id__in=old.order_by("processed_at").values("id")[:BATCH]
    ).delete()
    past = Offence.objects.filter(at__lte=now - OFFENCES_KEPT).order_by("at")
    Offence.objects.filter(id__in=past.values("id")[:BATCH]).delete()
