"""Celery's scheduler, with the schedule of all due work (rendio.common.background.due_work).

Each second one query finds the kinds of work that have a due row, and only for these a message is
sent: a system without due rows wakes no worker. Periodic work is sent at its interval as Celery
does. An exception in one round is logged and the next round begins: celery.beat would end with it.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from celery import beat
from celery.schedules import schedule
from django.db import Error as DatabaseFailure
from django.db import connection

from rendio.common.background import wakeup
from rendio.common.background.due_work import DueLookup, DueWork, kinds
from rendio.common.clock import monotonic_now
from rendio.common.postgresql.limits import at_most

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
# From one query for due rows to the next, and how long the query may take.
LOOKUP_SECONDS, LOOKUP_TIMEOUT_SECONDS = 1.0, 5.0
# In a long queue, work with a short interval leaves room for work with a longer one.
LONG_INTERVAL_SECONDS = 10
MAX_WAITING_LONG_INTERVAL = 10 * wakeup.MAX_WAITING


class Scheduler(beat.Scheduler):
    """Keeps its schedule in memory. Celery's default keeps it in a file by `shelve` and runs the
    pickle in that file: a user who can write to /tmp first could run code here. Nothing is lost
    with the memory, as all periodic work is due within a minute of a start.

    Intervals are counted by the monotonic clock: a clock that is set back does not stop them.
    A message is left out where its queue is long already.

    The file that `--schedule` names is touched at each tick, for the container's health check.
    """

    def __init__(self, *args: Any, schedule_filename: str, **kwargs: Any) -> None:
        self._file = Path(schedule_filename)
        self._lookup = DueLookup(kinds())
        self._next_lookup_at = float("-inf")
        self._sent_at: dict[tuple[DueWork, str], float] = {}
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        super().setup_schedule()
        periodic = [kind for kind in kinds() if kind.is_periodic]
        entries = [self._entry(kind, queue) for kind in periodic for queue in kind.queues]
        self.schedule.update({entry.name: entry for entry in entries})

    def _entry(self, kind: DueWork, queue: str) -> Any:
        return self.Entry(
            name=f"{kind.task} {queue}",
            task=kind.task,
            schedule=schedule(kind.every_seconds, nowfun=monotonic_now),
            kwargs=kind.arguments(queue),
            options={
                "queue": queue,
                "argsrepr": wakeup.REDACTED,
                "kwargsrepr": wakeup.REDACTED,
            },
            app=self.app,
        )

    def tick(self, *args: Any, **kwargs: Any) -> float:
        # Not before Django is set up, which Celery does after it has read this module.
        from adminops.monitoring import heartbeats

        try:
            wait: float = min(super().tick(*args, **kwargs), self._wake_workers())
        except Exception:
            # Without a heartbeat: a scheduler that always fails is missed in /statusz.
            logger.exception("scheduler_round_failed")
            return RETRY_SECONDS
        with suppress(OSError):
            self._file.touch()
        heartbeats.send(
            process=f"beat@{socket.gethostname()}",
            roles=[heartbeats.SCHEDULER],
            keeps_connection=True,
        )
        return wait

    def _wake_workers(self) -> float:
        """Send a message for each kind of work that has a due row; returns the seconds until the
        next lookup."""
        now = time.monotonic()
        if now < self._next_lookup_at:
            return self._next_lookup_at - now
        self._next_lookup_at = now + LOOKUP_SECONDS
        for kind, queue in self._find_due():
            if now - self._sent_at.get((kind, queue), float("-inf")) >= kind.every_seconds:
                self._sent_at[kind, queue] = now
                self.apply_entry(self._entry(kind, queue), producer=self.producer)
        return LOOKUP_SECONDS

    def _find_due(self) -> set[tuple[DueWork, str]]:
        """Nothing where PostgreSQL does not answer: no worker could do anything then."""
        try:
            with at_most(LOOKUP_TIMEOUT_SECONDS):
                return self._lookup.find()
        except DatabaseFailure as error:
            logger.warning("due_work_not_looked_up", error=type(error).__name__)
            connection.close()
            return set()

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        is_long = entry.schedule.seconds >= LONG_INTERVAL_SECONDS
        limit = MAX_WAITING_LONG_INTERVAL if is_long else wakeup.MAX_WAITING
        # Without a broker sending fails as well, and that is logged.
        with suppress(Exception):
            if not wakeup.has_room(entry.options["queue"], producer, limit=limit):
                return
        super().apply_entry(entry, producer=producer)
