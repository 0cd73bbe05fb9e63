"""The Celery tasks of generation: importing the handlers makes them
(rendio.common.background.due_work).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from celery.signals import task_failure
from django.db import connections

from generation import cleanup
from generation.due_work import PURGE
from generation.lifecycle import (  # noqa: F401
    cancel,
    convert,
    dead_letters,
    poll,
    store,
    submit,
    webhooks,
)
from generation.models import DeadKind
from generation.training import deletion  # noqa: F401
from rendio.common import clock
from rendio.common.background.due_work import due_batch
from rendio.common.postgresql.limits import is_out_of_reach

logger = structlog.get_logger(__name__)


@due_batch(PURGE)
def purge(*, now: datetime) -> None:
    cleanup.purge_expired(now=now)


@task_failure.connect
def keep_dead_letter(
    *,
    sender: Any,
    exception: BaseException,
    kwargs: dict[str, Any] | None = None,
    **_: Any,
) -> None:
    """A task of any app that raised, ran out of time or died with its process. The next message
    looks again anyway; the dead letter shows why the last one failed.

    No letter for a database that was out of reach: nothing about the task failed.
    """
    if is_out_of_reach(exception):
        logger.warning("task_without_database", task=sender.name)
        connections.close_all()
        return
    subject = " ".join(filter(None, [sender.name, str((kwargs or {}).get("queue", ""))]))
    why = f"{type(exception).__name__}: {exception}"
    try:
        dead_letters.record(DeadKind.TASK, subject, why, now=clock.now())
    finally:
        # Told by the worker's main process where a child was killed: the children that it makes
        # next must not inherit a connection.
        connections.close_all()
