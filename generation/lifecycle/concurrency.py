"""Concurrent calls to other services for many jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import structlog

from generation.models import Job
from generation.providers.base import Unknown
from rendio.common.background.due_rows import for_each_logged
from rendio.common.observability import request_id

logger = structlog.get_logger(__name__)

Item = TypeVar("Item")
Fetched = TypeVar("Fetched")


@dataclass(frozen=True)
class Answer(Generic[Item, Fetched]):
    item: Item
    result: Fetched | Unknown
    at: datetime


def fetch_concurrently(
    items: list[Item],
    fetch: Callable[[Item], Fetched],
    *,
    job_of: Callable[[Item], Job],
    now: datetime,
    threads: int = 50,
) -> Iterator[list[Answer[Item, Fetched]]]:
    """Call `fetch` for all items in threads. Yields the answers that have arrived meanwhile, until
    all have: those that arrive while the caller works on a list are the next list.

    `fetch` calls other services and must not use the database. It logs with the request id of the
    item's job. An exception in `fetch` is a bug: it is logged and its result is Unknown, so that
    deadlines are kept.
    """
    if not items:
        return
    started = time.monotonic()
    arrived: SimpleQueue[Answer[Item, Fetched]] = SimpleQueue()

    def fetch_for_job(item: Item) -> None:
        result: Fetched | Unknown
        with bind_request_id(job_of(item)):
            try:
                result = fetch(item)
            except Exception:
                logger.exception("fetch_failed")
                result = Unknown("our own fault")
        at = now + timedelta(seconds=time.monotonic() - started)
        arrived.put(Answer(item, result, at))

    with ThreadPoolExecutor(max_workers=min(len(items), threads)) as pool:
        for item in items:
            # A copy of the context for each thread: a new thread starts with an empty context.
            pool.submit(copy_context().run, fetch_for_job, item)
        missing = len(items)
        while missing:
            answers = _take_all(arrived)
            missing -= len(answers)
            yield answers


def _take_all(arrived: SimpleQueue[Answer[Item, Fetched]]) -> list[Answer[Item, Fetched]]:
    """Wait for an answer, and take all that have arrived."""
    answers = [arrived.get()]
    try:
        while True:
            answers.append(arrived.get_nowait())
    except Empty:
        return answers


def run_concurrently(
    items: list[Item],
    fetch: Callable[[Item], Fetched],
    apply: Callable[[Item, Fetched | Unknown, datetime], object],
    *,
    job_of: Callable[[Item], Job],
    now: datetime,
    threads: int = 50,
) -> None:
    """Call `fetch` for all items in threads (`fetch_concurrently`), and `apply` with each result in
    the calling thread.

    `apply` gets the time at which the result came. An exception in `apply` is logged and does not
    stop the rest. It logs with the request id of the item's job.
    """
    for answers in fetch_concurrently(items, fetch, job_of=job_of, now=now, threads=threads):
        for answer in answers:
            with bind_request_id(job_of(answer.item)):
                for_each_logged([answer], lambda one: apply(one.item, one.result, one.at))


def bind_request_id(job: Job) -> AbstractContextManager[None]:
    """Log and send the job's request id within the block."""
    return request_id.bind_request_id(job.request_id, job_id=str(job.id))
