"""Watching the service: late is harmless, twice is harmless."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from adminops import refusals
from adminops.watch import alerts, heartbeats
from generation.lifecycle import counting


@shared_task(name="adminops.watch")
def watch() -> None:
    now = timezone.now()
    counting.count(now=now)
    alerts.look(now=now)
    alerts.send_due(now=now)


@shared_task(name="adminops.sweep")
def sweep() -> None:
    heartbeats.sweep(now=timezone.now())
    refusals.sweep(now=timezone.now())
