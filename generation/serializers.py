"""Job fields of API responses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from generation import media, queries
from generation.models import Job
from rendio.common.errors import describe
from rendio.common.times import iso

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 2, 30


def job_status(job: Job, *, now: datetime) -> dict[str, Any]:
    """The response of get-video-status."""
    eta = queries.eta(job, now=now)
    return {
        "job_id": job.id,
        "status": job.status,
        "progress": queries.progress(job, now=now),
        "queue_position": queries.queue_position(job),
        "eta_seconds": {"low": eta.low, "high": eta.high} if eta else None,
        "video_url": media.signed_url(job.media_name),
        "thumbnail_url": media.signed_url(job.thumbnail_name),
        "credits_used": job.credits,
        **refund_fields(job),
        "error": _error(job),
        "poll_after_seconds": poll_after_seconds(job, now=now),
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
    }


def history_item(job: Job) -> dict[str, Any]:
    """One job of get-video-jobs."""
    return {
        "job_id": job.id,
        "prompt": job.prompt,
        "model_name": job.model.name,
        "credits_used": job.credits,
        "status": job.status,
        "video_url": media.signed_url(job.media_name),
        "thumbnail_url": media.signed_url(job.thumbnail_name),
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
        "error": _error(job),
    }


def refund_fields(job: Job) -> dict[str, Any]:
    """Whether credits were refunded, and how many if a fee was kept."""
    amount = {"credits_refunded": job.credits_refunded} if job.fee_kept else {}
    return {"refunded": job.credits_refunded > 0, **amount}


def poll_after_seconds(job: Job, *, now: datetime) -> int:
    """Seconds until the phone should poll again: a sixth of the job's age, within 2 to 30."""
    age = (now - job.created_at).total_seconds()
    return int(min(max(age / 6, MIN_POLL_SECONDS), MAX_POLL_SECONDS))


def _error(job: Job) -> dict[str, Any] | None:
    return describe(job.error_code) if job.error_code else None
