"""The time for all processes: PostgreSQL's.

Due times and leases are written by one process and compared by another, possibly on another
machine, whose clock may be wrong by hours. So each process measures the offset of its own clock
from the database's. Between two measurements it counts by the monotonic clock, which cannot be set.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

SYNC_INTERVAL_SECONDS = 10


@dataclass(frozen=True)
class _Reading:
    time: datetime  # the database's
    monotonic: float


_measured: _Reading | None = None


def now() -> datetime:
    """PostgreSQL's time, extrapolated from the last measurement; this process's own time before the
    first.

    No query.
    """
    if _measured is None:
        return timezone.now()
    return _measured.time + timedelta(seconds=time.monotonic() - _measured.monotonic)


_started = _Reading(datetime.now(UTC), time.monotonic())


def monotonic_now() -> datetime:
    """The start time of this process plus the elapsed monotonic time, for intervals only: nobody
    sets it forward or back."""
    return _started.time + timedelta(seconds=time.monotonic() - _started.monotonic)


def reset() -> None:
    """The state before the first measurement."""
    global _measured
    _measured = None


def skew() -> timedelta:
    """How far this process's clock is ahead of PostgreSQL's; negative if behind."""
    return timezone.now() - now()


def synchronize() -> None:
    """Measure the offset to PostgreSQL's clock, unless measured within SYNC_INTERVAL_SECONDS.

    One query. Raises Django's database errors.
    """
    global _measured
    if _measured and time.monotonic() - _measured.monotonic < SYNC_INTERVAL_SECONDS:
        return
    with connection.cursor() as cursor:
        # Excludes the time to connect.
        began = time.monotonic()
        cursor.execute("SELECT clock_timestamp()")
        [answer] = cursor.fetchone()
    ended = time.monotonic()
    # The middle between query and response.
    _measured = _Reading(answer, (began + ended) / 2)
