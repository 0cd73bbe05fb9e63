"""Deletion of expired rows, in bounded batches on indexes."""

from __future__ import annotations

from datetime import datetime, timedelta

from generation.models import DeadLetter, Offence, Quote, WebhookDelivery
from rendio.common.purge import delete_batch
from rendio.common.purge import run_deletes as sweep_all

DELIVERY_RETENTION = timedelta(days=30)
# They count for MODERATION_WINDOW_DAYS, which are no more.
VIOLATION_RETENTION = timedelta(days=365)
# Counted from the closing of the letter.
DEAD_LETTER_RETENTION = timedelta(days=365)


def purge_expired(*, now: datetime) -> None:
    """Delete expired quotes, old deliveries, old offences and dead letters that were closed long
    ago. Harmless twice or late."""
    deliveries = WebhookDelivery.objects.filter(processed_at__lte=now - DELIVERY_RETENTION)
    letters = DeadLetter.objects.filter(closed_at__lte=now - DEAD_LETTER_RETENTION)
    sweep_all(
        lambda: delete_batch(Quote.objects.filter(expires_at__lte=now), order="expires_at"),
        lambda: delete_batch(deliveries, order="processed_at"),
        lambda: delete_batch(Offence.objects.filter(at__lte=now - VIOLATION_RETENTION), order="at"),
        lambda: delete_batch(letters, order="closed_at"),
    )
