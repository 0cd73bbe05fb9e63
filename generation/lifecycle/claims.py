"""Claims of due jobs: one short transaction that skips rows locked by other workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from django.db.models import Case, F, Value, When

from generation.lifecycle import dead_letters, settle
from generation.models import DeadKind, Job, Stage
from generation.providers.base import FailureReason, Unknown
from rendio.common.due import for_each_logged, lease_due
from rendio.common.observability import request_id

logger = structlog.get_logger(__name__)

# Longer than the work on one job takes, so that no other worker claims the job meanwhile.
LEASE = timedelta(seconds=120)
MAX_LOST_LEASES = 5

Item = TypeVar("Item")
Fetched = TypeVar("Fetched")


def claim(
    *, queue: str, stages: Iterable[Stage], now: datetime, limit: int, lease: timedelta = LEASE
) -> list[Job]:
    """Claim up to `limit` due jobs for `lease`. If the worker dies, they are due again afterwards.

    A job that kills its workers would be claimed forever. After MAX_LOST_LEASES claims in a row
    without a result, the job fails and a dead letter is kept.
    """
    until = now + lease
    jobs = lease_due(
        Job.objects.filter(queue=queue, stage__in=list(stages)),
        now=now,
        limit=limit,
        lease=lease,
        leased_until=until,
        lost_leases=Case(When(leased_until=None, then=Value(0)), default=F("lost_leases") + 1),
    )
    for job in jobs:
        job.lost_leases = job.lost_leases + 1 if job.leased_until else 0
        job.leased_until = until
    for_each_logged(
        [job for job in jobs if job.lost_leases >= MAX_LOST_LEASES],
        lambda job: _give_up(job, now=now),
    )
    return [job for job in jobs if job.lost_leases < MAX_LOST_LEASES]


def _give_up(job: Job, *, now: datetime) -> None:
    why = f"{job.lost_leases} workers in a row told nothing in the stage {job.stage}"
    dead_letters.record(DeadKind.JOB, str(job.id), why, now=now)
    settle.fail(job, FailureReason.WORKER_ERROR, now=now, error_type="broken", detail=why)


def run_concurrently(
    items: list[Item],
    fetch: Callable[[Item], Fetched],
    apply: Callable[[Item, Fetched | Unknown, datetime], object],
    *,
    job_of: Callable[[Item], Job],
    now: datetime,
    threads: int = 50,
) -> None:
    """Call `fetch` for all items in threads, and `apply` with each result in the calling thread.

    `fetch` calls other services and must not use the database. `apply` gets the time at which the
    result came. An exception in `fetch` is a bug: it is logged and its result is Unknown, so that
    deadlines are kept. An exception in `apply` is logged and does not stop the rest. Both log with
    the request id of the item's job.
    """
    if not items:
        return

    def fetch_for_job(item: Item) -> Fetched:
        with _bind_request_id(job_of(item)):
            return fetch(item)

    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=min(len(items), threads)) as pool:
        # A copy of the context for each thread: a new thread starts with an empty context.
        futures = {pool.submit(copy_context().run, fetch_for_job, item): item for item in items}
        for future in as_completed(futures):
            fetched: Fetched | Unknown
            try:
                fetched = future.result()
            except Exception:
                logger.exception("look_failed")
                fetched = Unknown("our own fault")
            moment = now + timedelta(seconds=time.monotonic() - started)
            with _bind_request_id(job_of(futures[future])):
                for_each_logged([futures[future]], lambda item: apply(item, fetched, moment))  # noqa: B023


def _bind_request_id(job: Job) -> AbstractContextManager[None]:
    return request_id.bind_request_id(job.request_id, job_id=str(job.id))
