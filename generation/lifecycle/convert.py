"""Making a film that iPhones play of one that came otherwise, in a stage of its own.

May run twice: each attempt writes to a folder of its own. What came from the provider is in our
storage already, so neither it nor its price is lost, whatever becomes of this.
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
from generation.lifecycle import attempts, failover, route_timing, settle, transitions
from generation.lifecycle.claims import claim, run_concurrently
from generation.lifecycle.settle import StoredMedia
from generation.models import FileDeletion, Job, Stage
from generation.providers.base import FailureReason, Unknown
from generation.video_files import playability, process
from generation.video_files.media_info import UnusableFile
from generation.video_files.process import ProcessFailed
from rendio.common.due_work import due_batch

logger = structlog.get_logger(__name__)

BATCH = CONVERT_VIDEOS.batch
# A process that was ended may have been ended by the machine and not by the film.
MAX_BROKEN_TRIES = 3


class _Item(NamedTuple):
    job: Job
    attempt: FileDeletion


@dataclass(frozen=True)
class _Converted:
    media: StoredMedia


@dataclass(frozen=True)
class _Failed:
    """`is_final`: another try would come to the same."""

    reason: FailureReason
    error_type: str
    detail: str
    is_final: bool


@due_batch(CONVERT_VIDEOS)
def convert_due(*, queue: str, now: datetime) -> int:
    """Convert what is due in `queue`, one film, unless FILM_CONVERSIONS are being converted;
    returns how many.

    The rest of the workers go on to submit and look. Two that ask in the same instant may both find
    room for the last one.
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
        return _Converted(StoredMedia("", ""))  # nobody is to see it
    with attempts.scratch_folder() as folder:
        original = folder / "original"
        try:
            with default_storage.open(item.job.original_name) as kept, original.open("wb") as into:
                shutil.copyfileobj(kept, into)
        except Exception as error:
            return _storage_failure(item.job, error)
        try:
            film = process.convert(original, folder)
            report = process.probe(film, folder, kind="video")
        except UnusableFile as error:
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", str(error), is_final=True)
        except ProcessFailed as error:
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", str(error), is_final=False)
        if (change := playability.required_change(report)) != playability.RequiredChange.NONE:
            why = f"still to {change.value}: {report.video}"
            return _Failed(FailureReason.UNUSABLE, "film_not_converted", why, is_final=True)
        try:
            return _Converted(
                StoredMedia(
                    attempts.save_file(item.attempt, "video.mp4", film),
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
                job, due_at=now + route_timing.backoff(job.tries), tries=job.tries + 1
            )
