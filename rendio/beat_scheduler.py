"""The scheduler, which also says that it is there.

An exception in one round is logged and the next round begins: celery.beat would end with it.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from celery import beat

from rendio.common import nudge

logger = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0
# What is told every second stops first where a queue is long, and leaves room for what is told once
# a minute.
RARE_SECONDS = 10
ENOUGH_OF_RARE = 10 * nudge.ENOUGH


class Scheduler(beat.Scheduler):
    """Keeps its schedule in memory. Celery's own default keeps it in a file by `shelve`, and runs
    what a pickle in there says: whoever can write to /tmp first would run code here. Nothing is
    lost with it, as each entry is due within a minute of a start.

    Intervals are counted by the monotonic clock (rendio.celery): a clock that is set back does not
    stop it. A message is left out where its queue is long already.

    The file that `--schedule` names is touched at each tick, for the container's health check.
    """

    def __init__(self, *args: Any, schedule_filename: str, **kwargs: Any) -> None:
        self._file = Path(schedule_filename)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        # Not before Django is set up, which Celery does after it has read this module.
        from adminops.monitoring import heartbeats

        try:
            wait: float = super().tick(*args, **kwargs)
        except Exception:
            # Without a heartbeat: who fails each time is missed in /statusz.
            logger.exception("scheduler_round_failed")
            return AGAIN_SECONDS
        with suppress(OSError):
            self._file.touch()
        heartbeats.send(process=f"beat@{socket.gethostname()}", roles=[heartbeats.SCHEDULER])
        return wait

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        rare = entry.schedule.seconds >= RARE_SECONDS
        most = ENOUGH_OF_RARE if rare else nudge.ENOUGH
        # Without a broker sending fails as well, and that is logged.
        with suppress(Exception):
            if not nudge.has_room(entry.options["queue"], producer, most=most):
                return
        super().apply_entry(entry, producer=producer)
