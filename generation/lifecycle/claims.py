"""Taking due jobs: one short transaction, skipping what others hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

from generation.models import Job, Stage

LEASE = timedelta(seconds=120)

Item = TypeVar("Item")
Found = TypeVar("Found")


def claim(*, queue: str, stages: Iterable[Stage], now: datetime, limit: int) -> list[Job]:
    """Take up to `limit` due jobs for `LEASE`. A worker that dies leaves them due again after
    it."""
    with transaction.atomic(durable=True):
        jobs = list(
            Job.objects.due(now, queue=queue, stages=stages).select_for_update(
                skip_locked=True, of=("self",)
            )[:limit]
        )
        until = now + LEASE
        Job.objects.filter(id__in=[job.id for job in jobs]).update(due_at=until, leased_until=until)
    for job in jobs:
        job.due_at = job.leased_until = until
    return jobs


def record(job: Job, **changes: Any) -> bool:
    """Write what was found out, if the job still is as it was claimed. One statement.

    False: another worker, a webhook or a cancellation was quicker, and there is nothing to do.
    """
    if "stage" in changes and changes["stage"] != job.stage:
        changes.setdefault("tries", 0)
    updated = Job.objects.filter(id=job.id, stage=job.stage, leased_until=job.leased_until).update(
        leased_until=None, **changes
    )
    return updated == 1


def side_by_side(
    items: list[Item], look: Callable[[Item], Found], *, threads: int = 16
) -> Iterator[tuple[Item, Found]]:
    """Run `look`, which talks to the outside and not to the database, on all items at once.

    Yields each with what was found as soon as it is known, in the calling thread.
    """
    if not items:
        return
    with ThreadPoolExecutor(max_workers=min(len(items), threads)) as pool:
        futures = {pool.submit(look, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()


def backoff(tries: int) -> timedelta:
    """2, 4, 8, 16, 30, 30 … seconds, as the settings have it."""
    seconds = min(settings.POLL_FIRST_SECONDS * 2 ** min(tries, 10), settings.POLL_LONGEST_SECONDS)
    return timedelta(seconds=seconds)
