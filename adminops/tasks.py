"""Watching the service: late is harmless, twice is harmless."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from adminops import refusals
from adminops.watch import heartbeats


@shared_task(name="adminops.sweep")
def sweep() -> None:
    heartbeats.sweep(now=timezone.now())
    refusals.sweep(now=timezone.now())
