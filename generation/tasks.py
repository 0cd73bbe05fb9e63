"""Celery's way into the life of a job: each task looks at what is due, and says so again if there
is more.

At least once; a lost, doubled or late message changes nothing (see generation.lifecycle).
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task
from celery.signals import task_failure
from django.db import connections

from generation.lifecycle import (
    cancel,
    convert,
    dead_letters,
    erase,
    poll,
    remove,
    stop,
    store,
    submit,
    webhooks,
)
from generation.lifecycle import sweep as sweeping
from generation.models import DeadKind
from rendio.common import clock
from rendio.common.due import DRAIN_SECONDS, drain
from rendio.common.postgresql.limits import is_out_of_reach

logger = structlog.get_logger(__name__)

# A download may take minutes; killed at this age, its lease is over too.
STORE_TIME_LIMIT_SECONDS = int(store.LEASE.total_seconds()) + DRAIN_SECONDS
CONVERT_TIME_LIMIT_SECONDS = int(convert.LEASE.total_seconds()) + DRAIN_SECONDS


@shared_task(name="generation.submit_due")
def submit_due(*, queue: str) -> None:
    drain(lambda: submit.submit_due(queue=queue, now=clock.now()), batch=submit.BATCH)


@shared_task(name="generation.poll_due")
def poll_due(*, queue: str) -> None:
    drain(lambda: poll.poll_due(queue=queue, now=clock.now()), batch=poll.BATCH)


@shared_task(name="generation.store_due", time_limit=STORE_TIME_LIMIT_SECONDS)
def store_due(*, queue: str) -> None:
    drain(lambda: store.store_due(queue=queue, now=clock.now()), batch=store.BATCH)


@shared_task(name="generation.convert_due", time_limit=CONVERT_TIME_LIMIT_SECONDS)
def convert_due(*, queue: str) -> None:
    drain(lambda: convert.convert_due(queue=queue, now=clock.now()), batch=convert.BATCH)


@shared_task(name="generation.apply_deliveries")
def apply_deliveries() -> None:
    drain(lambda: webhooks.process_due(now=clock.now()), batch=webhooks.BATCH)


@shared_task(name="generation.cancel_due")
def cancel_due() -> None:
    cancel.cancel_due(now=clock.now())


@shared_task(name="generation.stop_due")
def stop_due() -> None:
    drain(lambda: stop.cancel_abandoned_due(now=clock.now()), batch=stop.BATCH)


@shared_task(name="generation.erase_due")
def erase_due() -> None:
    drain(lambda: erase.delete_account_media_due(now=clock.now()), batch=erase.BATCH)


@shared_task(name="generation.remove_due")
def remove_due() -> None:
    drain(lambda: remove.delete_due_files(now=clock.now()), batch=remove.BATCH)


@shared_task(name="generation.sweep")
def sweep() -> None:
    sweeping.purge_expired(now=clock.now())


@task_failure.connect
def keep_dead_letter(
    *,
    sender: Any,
    exception: BaseException,
    kwargs: dict[str, Any] | None = None,
    **_: Any,
) -> None:
    """A task of any app that raised, ran out of time or died with its process. The next message
    looks again by itself; whoever reads the letter learns why the last one did not.

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
