"""The time, the same for all processes: PostgreSQL's.

What is due, leased or late is written by one process and judged by another, which may run on
another machine. The clock of a machine can be wrong by hours. So each process measures how far its
own is from the database's, and tells the time by the database's. Between two measurements it counts
by the monotonic clock, which nobody sets.
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
    """PostgreSQL's time, as counted from the last measurement; this process's own before the first.

    Asks nobody.
    """
    if _measured is None:
        return timezone.now()
    return _measured.time + timedelta(seconds=time.monotonic() - _measured.monotonic)


_started = _Reading(datetime.now(UTC), time.monotonic())


def monotonic_now() -> datetime:
    """The time as it was when this process started, and as long since then as has passed: for
    whoever only counts intervals. Nobody sets it forward or back."""
    return _started.time + timedelta(seconds=time.monotonic() - _started.monotonic)


def reset() -> None:
    """As before the first measurement."""
    global _measured
    _measured = None


def skew() -> timedelta:
    """How far this process's own clock is ahead of PostgreSQL's; negative where it is behind."""
    return timezone.now() - now()


def synchronize() -> None:
    """Ask PostgreSQL for its time, unless it was asked in the last MEASURED_AGAIN_SECONDS.

    One query. Raises what Django raises.
    """
    global _measured
    if _measured and time.monotonic() - _measured.monotonic < SYNC_INTERVAL_SECONDS:
        return
    with connection.cursor() as cursor:
        # Not the time that it takes to connect.
        began = time.monotonic()
        cursor.execute("SELECT clock_timestamp()")
        [answer] = cursor.fetchone()
    ended = time.monotonic()
    # Somewhere between question and answer.
    _measured = _Reading(answer, (began + ended) / 2)
