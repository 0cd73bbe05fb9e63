"""Conversion of videos that iPhones cannot play: the stage CONVERT.

May run twice: each attempt writes to a folder of its own. The provider's file is in our storage
already, so a failed conversion does not lose the file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog
from django.conf import settings
from django.core.files.storage import default_storage

from generation.due_work import CONVERT_LEASE, CONVERT_VIDEOS
from generation.lifecycle import attempts, failover, settle, signing, transitions
from generation.lifecycle.claims import claim
from generation.lifecycle.concurrency import run_concurrently
from generation.lifecycle.retry_delay import retry_delay
from generation.lifecycle.settle import StoredMedia
from generation.models import FileDeletion, Job, Stage
from generation.providers.base import FailureReason, Unknown
from generation.video_files import ai_mark, playability, process
from generation.video_files.media_info import UnusableFile
from generation.video_files.process import ProcessFailed
from rendio.common.background.due_work import due_batch

logger = structlog.get_logger(__name__)

BATCH = CONVERT_VIDEOS.batch
# The machine may have killed the process, not the file.
MAX_BROKEN_TRIES = 3


class _Item(NamedTuple):
    job: Job
    attempt: FileDeletion


@dataclass(frozen=True)
class _Converted:
    media: StoredMedia


@dataclass(frozen=True)
class _Failed:
    """`is_final`: a retry would fail in the same way."""

    reason: FailureReason
    error_type: str
    detail: str
    is_final: bool


@due_batch(CONVERT_VIDEOS)
def convert_due(*, queue: str, now: datetime) -> int:
    """Convert one due job of `queue`, unless FILM_CONVERSIONS conversions are running.

    The limit leaves workers free to submit and poll. Two workers that check at the same moment may
    exceed the limit by one. Returns the number of jobs.
    """
    busy = Job.objects.filter(queue=queue, stage=Stage.CONVERT, leased_until__gt=now).count()
    if busy >= settings.FILM_CONVERSIONS:
        return 0
    jobs = claim(queue=queue, stages=[Stage.CONVERT], now=now, limit=BATCH, lease=CONVERT_LEASE)
    begun = attempts.start(jobs, now=now)
    run_concurrently(
        [_Item(job, begun[job.id]) for job in jobs],
        _convert_and_store,
        _apply,
        job_of=lambda item: item.job,
        now=now,
    )
    return len(jobs)


def _convert_and_store(item: _Item) -> _Converted | _Failed:
    if item.job.deleted_at:
        return _Converted(StoredMedia("", ""))  # the user deleted the job
    with attempts.scratch_folder() as folder:
        original = folder / "original"
        try:
            with default_storage.open(item.job.original_name) as kept, original.open("wb") as into:
                shutil.copyfileobj(kept, into)
        except Exception as error:
            return _storage_failure(item.job, error)
        try:
            video = process.convert(original, folder)
            report = process.probe(video, folder, kind="video")
        except UnusableFile as error:
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", str(error), is_final=True)
        except ProcessFailed as error:
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", str(error), is_final=False)
        if (change := playability.required_change(report)) != playability.RequiredChange.NONE:
            why = f"still to {change.value}: {report.video}"
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", why, is_final=True)
        ai_mark.append_mark(video)
        signing.sign_files(
            folder,
            [video.name, report.thumbnail],
            original=original,
            source_type=report.source_type,
        )
        try:
            return _Converted(
                StoredMedia(
                    attempts.save_file(item.attempt, "video.mp4", video),
                    attempts.save_file(item.attempt, "thumbnail.jpg", folder / report.thumbnail),
                )
            )
        except Exception as error:
            return _storage_failure(item.job, error)


def _storage_failure(job: Job, error: Exception) -> _Failed:
    logger.warning("storage_error", job_id=str(job.id), error=type(error).__name__)
    return _Failed(FailureReason.STORAGE_ERROR, "not_stored", type(error).__name__, is_final=False)


def _apply(item: _Item, outcome: _Converted | _Failed | Unknown, now: datetime) -> None:
    job, attempt = item
    if isinstance(outcome, _Converted):
        if not settle.complete(job, outcome.media, now=now, attempt=attempt):
            attempts.discard(attempt, has_written=True)
        return
    attempts.discard(attempt, has_written=True)
    overdue = job.deadline_at is None or now >= job.deadline_at
    match outcome:
        case _Failed(reason, error_type, detail, is_final) if (
            is_final
            or overdue
            or (reason == FailureReason.UNUSABLE and job.tries + 1 >= MAX_BROKEN_TRIES)
        ):
            failover.try_next_or_fail(job, reason, now=now, error_type=error_type, detail=detail)
        case Unknown(detail) if overdue:
            failover.try_next_or_fail(job, FailureReason.TIMEOUT, now=now, detail=detail)
        case _:
            transitions.update_if_claimed(
                job, due_at=now + retry_delay(job.tries), tries=job.tries + 1
            )
