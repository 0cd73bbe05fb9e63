"""Heartbeats: each worker and the scheduler writes down, every few seconds, that it is there.

Late or lost ones harm nobody. They are rows, so that Redis, whose loss they are to show, cannot
take them away; a worker without its broker sends none, since it does no work either. That a worker
lives and all the same does nothing, they do not show: `due` does.
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
from rendio.common import background, clock
from rendio.common.background import BackgroundThread
from rendio.common.postgresql.limits import at_most

logger = structlog.get_logger(__name__)

QUEUES = ("high", "medium", "low")
SCHEDULER = "scheduler"
WEB = "web"
KEPT = timedelta(days=1)

# A beat that waits longer for PostgreSQL is given up.
WAIT_SECONDS = 5
LATE_SECONDS = 60

_beaten_at = float("-inf")


def send(*, process: str, roles: Iterable[str], keeps_connection: bool = False) -> None:
    """Write this process's heartbeat for these roles, if the last is HEARTBEAT_SECONDS old.

    Never raises: a process that is alive must not end because it cannot say so. The database
    connection is closed unless `keeps_connection`, which is for a process that never forks.
    """
    global _beaten_at
    if time.monotonic() - _beaten_at < settings.HEARTBEAT_SECONDS:
        return
    _beaten_at = time.monotonic()
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
    """What is wrong with the background threads of this process; empty where nothing is."""
    return "; ".join(background.problems())[:500]


def start_for_web() -> None:
    """Write heartbeats of this web process in a thread; call it after the process has forked."""
    _web_ends.clear()
    _web_thread.start()


def stop_for_web() -> None:
    """End the thread, and have this process missed from now on."""
    _web_ends.set()
    _web_thread.join(timeout=2)
    stop(process=_web_process())


def _web_process() -> str:
    return f"{WEB}@{socket.gethostname()}:{os.getpid()}"


_web_ends = threading.Event()
_web_thread = BackgroundThread(
    "heartbeat",
    wait=lambda: not _web_ends.wait(settings.HEARTBEAT_SECONDS),
    turn=lambda: send(process=_web_process(), roles=[WEB]),
    late_seconds=LATE_SECONDS,
)


def write(
    *,
    process: str,
    roles: Iterable[str],
    now: datetime,
    problem: str = "",
    skew_seconds: float = 0,
) -> None:
    said = {"beaten_at": now, "problem": problem, "skew_seconds": skew_seconds}
    Heartbeat.objects.bulk_create(
        [Heartbeat(process=process, role=role, **said) for role in roles],
        update_conflicts=True,
        unique_fields=["process", "role"],
        update_fields=list(said),
    )


def delete(*, process: str) -> None:
    Heartbeat.objects.filter(process=process).delete()


@dataclass(frozen=True)
class AliveCount:
    """How many processes are there for one role, and when the last one was seen."""

    count: int
    last_at: datetime | None


def alive_counts(*, now: datetime) -> dict[str, AliveCount]:
    """For each queue, and for the scheduler."""
    since = now - timedelta(seconds=settings.HEARTBEAT_LATE_SECONDS)
    rows = Heartbeat.objects.values_list("role").annotate(
        count=Count("process", filter=Q(beaten_at__gt=since)), last_at=Max("beaten_at")
    )
    found = {role: AliveCount(count, last_at) for role, count, last_at in rows.order_by()}
    return {role: found.get(role, AliveCount(0, None)) for role in (*QUEUES, SCHEDULER)}


def problems(*, now: datetime) -> list[str]:
    """What is wrong with the processes that are there: their background threads, as they say
    themselves, and their clocks."""
    there = _there(now=now)
    said = [f"{process}: {problem}" for process, problem, _ in there if problem]
    return said + _wrong_clocks(there)


def wrong_clocks(*, now: datetime) -> list[str]:
    """The clocks that differ from PostgreSQL's by more than CLOCK_SKEW_LIMIT_SECONDS."""
    return _wrong_clocks(_there(now=now))


def skews(*, now: datetime) -> dict[str, float]:
    """By how many seconds the clock of each process that is there is ahead of PostgreSQL's;
    negative where it is behind."""
    return {process: seconds for process, _, seconds in _there(now=now)}


def _wrong_clocks(there: list[tuple[str, str, float]]) -> list[str]:
    return [
        f"the clock of {process} is {abs(seconds):.0f} s"
        f" {'ahead of' if seconds > 0 else 'behind'} PostgreSQL's"
        for process, _, seconds in there
        if abs(seconds) > settings.CLOCK_SKEW_LIMIT_SECONDS
    ]


def _there(*, now: datetime) -> list[tuple[str, str, float]]:
    """Name, problem and clock skew of each process that is there. One query."""
    since = now - timedelta(seconds=settings.HEARTBEAT_LATE_SECONDS)
    rows = Heartbeat.objects.filter(beaten_at__gt=since).order_by("process")
    return list(rows.values_list("process", "problem", "skew_seconds").distinct())


def purge(*, now: datetime) -> None:
    """Forget processes that have not been there for a day."""
    Heartbeat.objects.filter(beaten_at__lte=now - KEPT).delete()
