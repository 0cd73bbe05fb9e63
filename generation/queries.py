"""Reads about jobs, for the phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from generation import media
from generation.models import PROGRESS_STORING, Job, JobStatus, Offence, Quote, Stage, Upload
from generation.uploads import retention
from rendio.common.times import iso
from rendio.common.ttl_cache import ttl_cache

ETA_SAMPLE_SIZE, ETA_MIN_SAMPLE = 50, 3
ETA_CACHE_SECONDS = 10
# So many rows are counted at most, by their index, however long the queue is.
MAX_QUEUE_POSITION = 1000


def list_jobs(
    *, user_id: UUID, limit: int, offset: int, after: UUID | None, status: str | None
) -> list[Job]:
    """The user's jobs, newest first, each with its model; `after` is the last id already seen."""
    jobs = Job.objects.owned_by(user_id).select_related("model").order_by("-id")
    if status:
        jobs = jobs.filter(status=status)
    if after is not None:
        jobs = jobs.filter(id__lt=after)
    return list(jobs[offset : offset + limit])


@dataclass(frozen=True)
class Eta:
    """Seconds that are left: the median's and the 90th percentile's."""

    low: int
    high: int


def eta(job: Job, *, now: datetime) -> Eta | None:
    """What was left, at this job's age, to those of the model's recent jobs that took longer.

    None for an ended one, where fewer than ETA_MIN_SAMPLE have been completed, and where none took
    that long: then nobody knows.
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
    """Percent: as its provider tells, or as far as the time from its order to its usual end has
    passed. Never what only a finished job shows."""
    if job.stage not in {Stage.QUEUED, Stage.RUNNING} or job.expected_at is None:
        return job.progress
    passed = (now - job.created_at) / max(job.expected_at - job.created_at, timedelta(seconds=1))
    return max(job.progress, int(min(passed, 1) * (PROGRESS_STORING - 1)))


def queue_position(job: Job) -> int | None:
    """How many are before it: in our own queue, where MAX_QUEUE_POSITION stands for that many or
    more, or in the provider's as it told us."""
    if job.stage == Stage.SUBMIT:
        until = job.due_at or job.created_at
        before = Job.objects.due(until, queue=job.queue, stages=[Stage.SUBMIT])
        return before.exclude(id=job.id)[:MAX_QUEUE_POSITION].count()
    if job.stage == Stage.SENT:
        return 0
    return job.queue_position if job.stage == Stage.QUEUED else None


def jobs_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All jobs of the user, oldest first, for an export of everything held about them; of one that
    they deleted that is little."""
    jobs = Job.objects.filter(user_id=user_id).select_related("model").order_by("id")
    for job in jobs.prefetch_related("requests").iterator(chunk_size=500):
        yield {
            "job_id": job.id,
            "model_name": job.model.name,
            "theme_id": job.theme_id,
            "retry_of": job.retry_of,
            "prompt": job.prompt,
            "upload_id": job.upload_id,
            "settings": job.settings,
            "credits_used": job.credits,
            "refunded": job.credits_refunded > 0,
            "credits_refunded": job.credits_refunded,
            "cancel_fee_after_start": job.cancel_fee,
            "status": job.status,
            "error_code": job.error_code or None,
            "video_url": media.signed_url(job.media_name),
            "thumbnail_url": media.signed_url(job.thumbnail_name),
            "sent_to": [
                {"provider": request.provider, "sent_at": iso(request.sent_at)}
                for request in job.requests.all()
            ],
            "created_at": iso(job.created_at),
            "started_at": iso(job.started_at),
            "completed_at": iso(job.completed_at),
            "deleted_at": iso(job.deleted_at),
        }


def quotes_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's quotes that have not been swept yet, for an export."""
    for quote in Quote.objects.owned_by(user_id).order_by("id").iterator():
        yield {
            "quote_id": quote.id,
            "model_id": quote.model_id,
            "settings": quote.settings,
            "credits": quote.credits,
            "expires_at": iso(quote.expires_at),
        }


def uploads_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's pictures, for an export."""
    for upload in Upload.objects.owned_by(user_id).order_by("id").iterator():
        yield {**retention.as_json(upload), "created_at": iso(upload.created_at)}


def offences_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """What moderation refused of the user's, for an export."""
    for offence in Offence.objects.filter(user_id=user_id).order_by("at").iterator():
        yield {
            "input": offence.input,
            "categories": offence.categories,
            "step": offence.step,
            "held_until": iso(offence.held_until),
            "forgiven_at": iso(offence.forgiven_at),
            "at": iso(offence.at),
        }


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
