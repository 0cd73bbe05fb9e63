"""Reads about jobs, for the phone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from generation import media
from generation.models import Job, JobStatus, Quote, Stage
from rendio.common.times import iso

ETA_SAMPLE = 50
ETA_CACHE_SECONDS = 10


def history(
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
    """From how long this model's recent jobs took; None where too few have finished, or for an
    ended one."""
    if job.is_terminal:
        return None
    took = _durations.of(job.model_id)
    if took is None:
        return None
    age = (now - job.created_at).total_seconds()
    low, high = (max(round(seconds - age), 1) for seconds in took)
    return Eta(low, max(high, low))


def queue_position(job: Job) -> int | None:
    """How many are before it: in our own queue, or in the provider's as it told us."""
    if job.stage in {Stage.SUBMIT, Stage.SENT}:
        return (
            Job.objects.filter(
                queue=job.queue, stage=Stage.SUBMIT, due_at__lt=job.due_at or job.created_at
            ).count()
            if job.stage == Stage.SUBMIT
            else 0
        )
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
            "image_url": job.image_url or None,
            "settings": job.settings,
            "credits_used": job.credits,
            "refunded": job.refund_entry_id is not None,
            "status": job.status,
            "error_code": job.error_code or None,
            "video_url": media.url_for(job.media_name),
            "thumbnail_url": media.url_for(job.thumbnail_name),
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
    for quote in Quote.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "quote_id": quote.id,
            "model_id": quote.model_id,
            "settings": quote.settings,
            "credits": quote.credits,
            "expires_at": iso(quote.expires_at),
        }


class _Durations:
    """Median and 90th percentile of recent jobs, kept for some seconds in each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[UUID, tuple[float, tuple[float, float] | None]] = {}

    def of(self, model_id: UUID) -> tuple[float, float] | None:
        with self._lock:
            read_at, took = self._kept.get(model_id, (float("-inf"), None))
        if time.monotonic() - read_at > ETA_CACHE_SECONDS:
            took = self._read(model_id)
            with self._lock:
                self._kept[model_id] = (time.monotonic(), took)
        return took

    def _read(self, model_id: UUID) -> tuple[float, float] | None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
                    ORDER BY extract(epoch FROM completed_at - created_at)), count(*)
                FROM (
                    SELECT created_at, completed_at FROM generation_job
                    WHERE model_id = %s AND status = %s
                    ORDER BY completed_at DESC LIMIT %s
                ) recent""",
                [model_id, JobStatus.COMPLETED.value, ETA_SAMPLE],
            )
            percentiles, count = cursor.fetchone()
        return (percentiles[0], percentiles[1]) if count >= 3 else None


_durations = _Durations()
