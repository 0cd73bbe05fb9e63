"""Queries about jobs for the phone: history, progress, queue position, time left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from generation.models import PROGRESS_STORING, Job, JobStatus, Stage
from rendio.common.ttl_cache import ttl_cache

ETA_SAMPLE_SIZE, ETA_MIN_SAMPLE = 50, 3
ETA_CACHE_SECONDS = 10
# Rows counted at most, on an index, however long the queue is.
MAX_QUEUE_POSITION = 1000


def list_jobs(
    *,
    user_id: UUID,
    limit: int,
    offset: int,
    after: UUID | None,
    status: str | None,
    kind: str | None = None,
    queue: str | None = None,
) -> list[Job]:
    """The user's jobs, newest first, each with its model, after the id `after`. `queue`: only
    videos, or only images."""
    jobs = Job.objects.owned_by(user_id).select_related("model").order_by("-id")
    if queue:
        jobs = jobs.filter(queue=queue)
    if kind:
        jobs = jobs.filter(model__kind=kind)
    if status:
        jobs = jobs.filter(status=status)
    if after is not None:
        jobs = jobs.filter(id__lt=after)
    return list(jobs[offset : offset + limit])


@dataclass(frozen=True)
class Eta:
    """Seconds left: the median and the 90th percentile."""

    low: int
    high: int


def eta(job: Job, *, now: datetime) -> Eta | None:
    """The time left, estimated from the model's recent jobs that ran longer than this job so far.

    None for an ended job, with fewer than ETA_MIN_SAMPLE completed jobs, and if no recent job took
    that long.
    """
    if job.is_terminal:
        return None
    age = (now - job.created_at).total_seconds()
    durations = _recent_durations(job.model_id)
    left = [took - age for took in durations if took > age]
    if len(durations) < ETA_MIN_SAMPLE or not left:
        return None
    low, high = (max(round(left[len(left) * percent // 100]), 1) for percent in (50, 90))
    return Eta(low, high)


def progress(job: Job, *, now: datetime) -> int:
    """Percent: the provider's value, or the share of the usual time that has passed, if larger.

    Stays below PROGRESS_STORING until the provider has finished.
    """
    if job.stage not in {Stage.QUEUED, Stage.RUNNING} or job.expected_at is None:
        return job.progress
    passed = (now - job.created_at) / max(job.expected_at - job.created_at, timedelta(seconds=1))
    return max(job.progress, int(min(passed, 1) * (PROGRESS_STORING - 1)))


def queue_position(job: Job) -> int | None:
    """The number of jobs ahead: in our queue, at most MAX_QUEUE_POSITION, or in the provider's
    queue, as the provider reported."""
    if job.stage == Stage.SUBMIT:
        until = job.due_at or job.created_at
        before = Job.objects.due(until, queue=job.queue, stages=[Stage.SUBMIT])
        return before.exclude(id=job.id)[:MAX_QUEUE_POSITION].count()
    if job.stage == Stage.SENT:
        return 0
    return job.queue_position if job.stage == Stage.QUEUED else None


@ttl_cache(lambda: ETA_CACHE_SECONDS)
def _recent_durations(model_id: UUID) -> list[float]:
    """Seconds from order to video of the model's last ETA_SAMPLE_SIZE jobs, shortest first."""
    recent = (
        Job.objects.filter(model_id=model_id, status=JobStatus.COMPLETED)
        .order_by("-completed_at")
        .values_list("created_at", "completed_at")
    )
    return sorted(
        (ended - began).total_seconds() for began, ended in recent[:ETA_SAMPLE_SIZE] if ended
    )
