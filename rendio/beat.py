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

logger = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


class Scheduler(beat.Scheduler):
    """Keeps its schedule in memory. Celery's own default keeps it in a file by `shelve`, and runs
    what a pickle in there says: whoever can write to /tmp first would run code here. Nothing is
    lost with it, as each entry is due within a minute of a start.

    The file that `--schedule` names is touched at each tick, for the container's health check.
    """

    def __init__(self, *args: Any, schedule_filename: str, **kwargs: Any) -> None:
        self._file = Path(schedule_filename)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        # Not before Django is set up, which Celery does after it has read this module.
        from adminops.watch import heartbeats

        try:
            wait: float = super().tick(*args, **kwargs)
        except Exception:
            # Without a heartbeat: who fails each time is missed in /statusz.
            logger.exception("scheduler_round_failed")
            return AGAIN_SECONDS
        with suppress(OSError):
            self._file.touch()
        heartbeats.beat(process=f"beat@{socket.gethostname()}", roles=[heartbeats.SCHEDULER])
        return wait
