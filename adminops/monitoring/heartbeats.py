"""Heartbeats: every few seconds each process of ours writes a row that says it is alive.

A late or lost heartbeat is harmless. Heartbeats are rows because they have to show the loss of
Redis. A worker without its broker sends none, since it does no work. A worker that is alive but
does nothing shows in the backlog only (adminops.monitoring.backlog).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Q

from adminops.models import Heartbeat
from rendio.common import clock
from rendio.common.background import threads
from rendio.common.background.threads import BackgroundThread
from rendio.common.postgresql.limits import at_most

logger = structlog.get_logger(__name__)

QUEUES = ("high", "medium", "low")
SCHEDULER = "scheduler"
WEB = "web"
EVENTS = "events"
RETENTION = timedelta(days=1)

# A heartbeat that waits longer for PostgreSQL is given up.
WAIT_SECONDS = 5
LATE_SECONDS = 60

_sent_at = float("-inf")


def send(*, process: str, roles: Iterable[str], keeps_connection: bool = False) -> None:
    """Write this process's heartbeat for these roles, if the last is HEARTBEAT_SECONDS old.

    Never raises: a process that is alive must not end because it cannot say so. The database
    connection is closed unless `keeps_connection`, which is for a process that never forks.
    """
    global _sent_at
    if time.monotonic() - _sent_at < settings.HEARTBEAT_SECONDS:
        return
    _sent_at = time.monotonic()
    with _logged(keeps_connection=keeps_connection):
        clock.synchronize()
        write(
            process=process,
            roles=roles,
            now=clock.now(),
            problem=own_problem(),
            skew_seconds=clock.skew().total_seconds(),
        )


def stop(*, process: str) -> None:
    """Delete the process's heartbeats, since it ends on purpose: from now on it is missing."""
    with _logged():
        delete(process=process)


@contextmanager
def _logged(*, keeps_connection: bool = False) -> Iterator[None]:
    try:
        with at_most(WAIT_SECONDS):
            yield
    except Exception as error:
        logger.warning("heartbeat_not_written", error=type(error).__name__)
        keeps_connection = False
    finally:
        if not keeps_connection:
            # A worker's main process forks its children: they must not inherit a connection.
            connection.close()


def own_problem() -> str:
    """The problems of this process's background threads, in words; empty if there is none."""
    return "; ".join(threads.problems())[:500]


class HeartbeatThread:
    """Writes the heartbeats of a process that serves requests, and has one role."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._stopping = threading.Event()
        self._thread = BackgroundThread(
            "heartbeat",
            wait=lambda: not self._stopping.wait(settings.HEARTBEAT_SECONDS),
            turn=lambda: send(process=self._process, roles=[role]),
            late_seconds=LATE_SECONDS,
        )

    def start(self) -> None:
        """Call it after the process has forked."""
        self._stopping.clear()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and delete the heartbeats of this process."""
        self._stopping.set()
        self._thread.join(timeout=2)
        stop(process=self._process)

    @property
    def _process(self) -> str:
        return f"{self._role}@{socket.gethostname()}:{os.getpid()}"


for_web, for_events = HeartbeatThread(WEB), HeartbeatThread(EVENTS)


def write(
    *,
    process: str,
    roles: Iterable[str],
    now: datetime,
    problem: str = "",
    skew_seconds: float = 0,
) -> None:
    values = {"beaten_at": now, "problem": problem, "skew_seconds": skew_seconds}
    Heartbeat.objects.bulk_create(
        [Heartbeat(process=process, role=role, **values) for role in roles],
        update_conflicts=True,
        unique_fields=["process", "role"],
        update_fields=list(values),
    )


def delete(*, process: str) -> None:
    Heartbeat.objects.filter(process=process).delete()


@dataclass(frozen=True)
class AliveCount:
    """The number of live processes of a role, and the time of the role's last heartbeat."""

    count: int
    last_at: datetime | None


def alive_counts(*, now: datetime) -> dict[str, AliveCount]:
    """By role: each queue, the scheduler, and the processes of event streams."""
    since = now - timedelta(seconds=settings.HEARTBEAT_LATE_SECONDS)
    rows = Heartbeat.objects.values_list("role").annotate(
        count=Count("process", filter=Q(beaten_at__gt=since)), last_at=Max("beaten_at")
    )
    found = {role: AliveCount(count, last_at) for role, count, last_at in rows.order_by()}
    return {role: found.get(role, AliveCount(0, None)) for role in (*QUEUES, SCHEDULER, EVENTS)}


def problems(*, now: datetime) -> list[str]:
    """The problems of live processes: background threads, as each process reports them, and
    clocks."""
    live = _live_processes(now=now)
    reported = [f"{process}: {problem}" for process, problem, _ in live if problem]
    return reported + _wrong_clocks(live)


def wrong_clocks(*, now: datetime) -> list[str]:
    """The live processes whose clock differs from PostgreSQL's by more than
    CLOCK_SKEW_LIMIT_SECONDS, in words."""
    return _wrong_clocks(_live_processes(now=now))


def skews(*, now: datetime) -> dict[str, float]:
    """Seconds that each live process's clock is ahead of PostgreSQL's; negative if behind."""
    return {process: seconds for process, _, seconds in _live_processes(now=now)}


def _wrong_clocks(live: list[tuple[str, str, float]]) -> list[str]:
    return [
        f"the clock of {process} is {abs(seconds):.0f} s"
        f" {'ahead of' if seconds > 0 else 'behind'} PostgreSQL's"
        for process, _, seconds in live
        if abs(seconds) > settings.CLOCK_SKEW_LIMIT_SECONDS
    ]


def _live_processes(*, now: datetime) -> list[tuple[str, str, float]]:
    """Name, problem and clock skew of each live process. One query."""
    since = now - timedelta(seconds=settings.HEARTBEAT_LATE_SECONDS)
    rows = Heartbeat.objects.filter(beaten_at__gt=since).order_by("process")
    return list(rows.values_list("process", "problem", "skew_seconds").distinct())


def purge(*, now: datetime) -> None:
    """Delete the heartbeats of processes that ended a day ago."""
    Heartbeat.objects.filter(beaten_at__lte=now - RETENTION).delete()
