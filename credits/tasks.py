"""Sweeps of credits: late is harmless, twice is harmless."""

from __future__ import annotations

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from credits import idempotency, services


@shared_task(name="credits.sweep")
def sweep() -> None:
    now = timezone.now()
    with transaction.atomic(durable=True):
        services.lapse_expired(now=now)
    idempotency.sweep(now=now)
