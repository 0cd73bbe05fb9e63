"""The scheduler, which also says that it is there."""

from __future__ import annotations

import socket
from typing import Any

from celery.beat import PersistentScheduler


class Scheduler(PersistentScheduler):
    def tick(self, *args: Any, **kwargs: Any) -> float:
        # Not before Django is set up, which Celery does after it has read this module.
        from adminops.watch import heartbeats

        wait: float = super().tick(*args, **kwargs)
        heartbeats.beat(process=f"beat@{socket.gethostname()}", roles=[heartbeats.SCHEDULER])
        return wait
