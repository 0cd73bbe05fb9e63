"""Polling of jobs at their providers: the fallback for lost webhooks.

A poll only reads at the provider, so it may run twice or late. Polling also enforces deadlines: a
job of these stages is due at its deadline at the latest.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from generation.catalogue import cache
from generation.due_work import POLL_JOBS
from generation.lifecycle import failover, transitions
from generation.lifecycle.claims import claim
from generation.lifecycle.concurrency import run_concurrently
from generation.lifecycle.retry_delay import retry_delay
from generation.lifecycle.submissions import open_submissions
from generation.models import (
    PROGRESS_QUEUED,
    PROGRESS_RUNNING,
    PROGRESS_STORING,
    Job,
    Stage,
)
from generation.providers import get_provider
from generation.providers.base import Done, FailureReason, Handle, Running, Unknown
from rendio.common.background.due_work import due_batch

BATCH = POLL_JOBS.batch
STAGES = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]

PollResult = Running | Done | Unknown
# A job with the provider name and the handle of its submission; None without a handle.
PollItem = tuple[Job, tuple[str, Handle] | None]


@due_batch(POLL_JOBS)
def poll_due(*, queue: str, now: datetime) -> int:
    """Poll due jobs of `queue`, up to BATCH concurrently. Returns how many."""
    jobs = claim(queue=queue, stages=STAGES, now=now, limit=BATCH)
    handles = open_submissions(jobs)
    run_concurrently(
        [(job, handles.get(job.id)) for job in jobs],
        _fetch_status,
        _apply,
        job_of=itemgetter(0),
        now=now,
    )
    return len(jobs)


def _fetch_status(item: PollItem) -> PollResult:
    _, submission = item
    if submission is None:
        # The submission had no answer: only a webhook or the deadline can end the wait.
        return Unknown("no handle")
    provider, handle = submission
    return get_provider(provider).status(handle)


def _apply(item: PollItem, result: PollResult, now: datetime) -> None:
    job, _ = item
    deadline = job.deadline_at or now
    if isinstance(result, Done):
        transitions.to_store(job, now=now)
        return
    is_starting = isinstance(result, Running) and result.is_started and job.stage != Stage.RUNNING
    if is_starting:
        # The run deadline counts from the first poll that reports a start.
        deadline = now + timedelta(seconds=cache.run_deadline_seconds(job.model_id))
    if now >= deadline:
        failover.try_next_or_fail(
            job, FailureReason.TIMEOUT, now=now, detail=f"deadline of {job.stage}"
        )
        return
    changes: dict[str, Any] = {
        "tries": job.tries + 1,
        "due_at": min(now + retry_delay(job.tries + 1), deadline),
    }
    if isinstance(result, Running):
        changes |= {"queue_position": result.queue_position, "progress": _progress(job, result)}
    if is_starting:
        transitions.to_running(job, started_at=now, deadline_at=deadline, **changes)
    else:
        transitions.update_if_claimed(job, **changes)


def _progress(job: Job, result: Running) -> int:
    """Percent. Never falls."""
    if not result.is_started:
        return max(job.progress, PROGRESS_QUEUED)
    share = (PROGRESS_STORING - PROGRESS_RUNNING) * (result.progress or 0) // 100
    return max(job.progress, PROGRESS_RUNNING + share)
