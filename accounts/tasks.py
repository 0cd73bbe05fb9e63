"""Sweeps of accounts: late is harmless, twice is harmless."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from accounts import services


@shared_task(name="accounts.revoke_at_apple")
def revoke_at_apple() -> None:
    services.revoke_due_at_apple(now=timezone.now())


@shared_task(name="accounts.sweep")
def sweep() -> None:
    services.sweep_sessions(now=timezone.now())
    services.sweep_spent_tokens(now=timezone.now())
