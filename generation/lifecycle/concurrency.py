"""Concurrent calls to other services for many jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from generation.models import Job
from generation.providers.base import Unknown
from rendio.common.background.due_rows import for_each_logged
from rendio.common.observability import request_id

logger = structlog.get_logger(__name__)

Item = TypeVar("Item")
Fetched = TypeVar("Fetched")


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
                logger.exception("fetch_failed")
                fetched = Unknown("our own fault")
            moment = now + timedelta(seconds=time.monotonic() - started)
            with _bind_request_id(job_of(futures[future])):
                for_each_logged([futures[future]], lambda item: apply(item, fetched, moment))  # noqa: B023


def _bind_request_id(job: Job) -> AbstractContextManager[None]:
    return request_id.bind_request_id(job.request_id, job_id=str(job.id))
