"""Delays that double from POLL_FIRST_SECONDS to POLL_LONGEST_SECONDS."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings


def retry_delay(tries: int) -> timedelta:
    """Before the next poll, and before a retry of submit, store (a broken file) and convert:
    2, 4, 8, 16, 30, 30 … seconds with the default settings."""
    seconds = min(settings.POLL_FIRST_SECONDS * 2 ** min(tries, 10), settings.POLL_LONGEST_SECONDS)
    return timedelta(seconds=seconds)
