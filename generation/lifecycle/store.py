"""Download of a result, moderation and storage: the stage STORE.

A failed attempt is repeated without generating again. May run twice: each attempt writes to a
folder of its own (`attempts`). fal keeps results for an hour, so a job enters the stage as soon as
its provider has finished. A video that iPhones cannot play is stored as it is and converted next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import structlog
from django.conf import settings

from generation.due_work import STORE_LEASE, STORE_RESULTS
from generation.lifecycle import (
    attempts,
    failover,
    missing_results,
    settle,
    signing,
    transitions,
)
from generation.lifecycle.claims import claim
from generation.lifecycle.concurrency import run_concurrently
from generation.lifecycle.retry_delay import retry_delay
from generation.lifecycle.settle import StoredMedia
from generation.lifecycle.submissions import open_submissions
from generation.models import FileDeletion, Job, Stage
from generation.moderation import screening
from generation.moderation.base import ModeratorUnavailable
from generation.providers import get_provider
from generation.providers.base import Failed, FailureReason, Handle, Media, Running, Unknown
from generation.providers.parsing import parse_json_object
from generation.video_files import ai_mark, mp4_boxes, playability, process
from generation.video_files.media_info import MediaInfo, SupplierMark, UnusableFile
from generation.video_files.playability import RequiredChange
from generation.video_files.process import ProcessFailed
from rendio.common.background.due_work import due_batch
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

BATCH = STORE_RESULTS.batch
DOWNLOAD_SECONDS = 180
# Of the downloaded file in the temporary folder.
DOWNLOAD_NAME = "media"
# File extension by container, for videos that are stored as they are.
EXTENSIONS = {"mp4": "mp4", "mov": "mov", "matroska": "webm"}
# Attempts for a missing or broken file. Other failures are retried until the deadline and do not
# count in `tries`.
MAX_BROKEN_TRIES = 4
# Each retry downloads the file again.
MODERATION_RETRY_DELAY = timedelta(seconds=60)


class Item(NamedTuple):
    job: Job
    submission: tuple[str, Handle] | None  # the provider's name and the handle
    attempt: FileDeletion


@dataclass(frozen=True)
class _Stored:
    media: StoredMedia
    cost_usd: Decimal | None


@dataclass(frozen=True)
class _ToConvert:
    """The file is stored as it is."""

    original_name: str
    cost_usd: Decimal | None


@dataclass(frozen=True)
class _Broken:
    """The provider has finished, but its file is missing or unusable so far.

    `raw` here and below: the provider's answer about the result.
    """

    detail: str
    raw: str = ""


@dataclass(frozen=True)
class _NotModerated:
    """Moderation is unavailable. No result is delivered without moderation."""

    detail: str
    raw: str = ""


@dataclass(frozen=True)
class _NotStored:
    """Our storage failed."""

    detail: str
    raw: str = ""


@due_batch(STORE_RESULTS)
def store_due(*, queue: str, now: datetime) -> int:
    """Store the results of due jobs of `queue`, up to BATCH concurrently. Returns how many."""
    jobs = claim(queue=queue, stages=[Stage.STORE], now=now, limit=BATCH, lease=STORE_LEASE)
    run_concurrently(
        start_items(jobs, now=now), _fetch_and_store, _apply, job_of=lambda item: item.job, now=now
    )
    return len(jobs)


def start_items(jobs: list[Job], *, now: datetime) -> list[Item]:
    """Start an attempt for each of these claimed jobs."""
    handles, begun = open_submissions(jobs), attempts.start(jobs, now=now)
    return [Item(job, handles.get(job.id), begun[job.id]) for job in jobs]


def _fetch_and_store(
    item: Item,
) -> _Stored | _ToConvert | Failed | Running | Unknown | _Broken | _NotModerated | _NotStored:
    job, submission, attempt = item
    if submission is None:
        return Failed(FailureReason.PROVIDER_ERROR, "", "no submission to fetch from")
    provider_name, handle = submission
    provider = get_provider(provider_name)
    result = provider.result(handle, kind=job.media_kind)
    if handle.raw_result and not isinstance(result, Media):
        # Use the stored answer: staff retry a result that the provider may have deleted, or the
        # webhook carried a result that the provider cannot give now.
        kept = provider.parse_result(
            parse_json_object(handle.raw_result.encode()), kind=job.media_kind
        )
        result = kept if isinstance(kept, Media) else result
    if isinstance(result, Failed | Running | Unknown):
        return result
    with attempts.scratch_folder() as folder:
        fetched = _download(result, folder, allowed_hosts=provider.media_hosts)
        if not isinstance(fetched, MediaInfo):
            return replace(fetched, raw=result.raw)
        try:
            return _save_files(attempt, folder, fetched, result)
        except UnusableFile as error:
            return _Broken(str(error), result.raw)
        except Exception as error:
            logger.warning("storage_error", job_id=str(job.id), error=type(error).__name__)
            return _NotStored(type(error).__name__, result.raw)


def _download(
    result: Media, folder: Path, *, allowed_hosts: list[str]
) -> MediaInfo | Failed | Unknown | _Broken | _NotModerated:
    """Download the file to `folder` as DOWNLOAD_NAME, probe and moderate it."""
    path = folder / DOWNLOAD_NAME
    try:
        with path.open("wb") as into:
            answer = http.download(
                result.url,
                into,
                allowed_hosts=allowed_hosts,
                max_bytes=settings.MAX_VIDEO_BYTES,
                timeout_seconds=DOWNLOAD_SECONDS,
            )
        if answer.status >= 500 or answer.status in {408, 429}:
            # The host failed. That says nothing about the file.
            return Unknown(f"status {answer.status} of the file")
        if answer.status != 200:
            return _Broken(f"status {answer.status}")
        count = settings.MODERATION_OUTPUT_FRAMES if screening.is_enabled() else 0
        report = process.probe(path, folder, kind=result.kind, frame_count=count)
        return _moderate(report, folder, result) or report
    except http.NotSent as error:
        return Unknown(str(error))
    except http.NoAnswer as error:
        return _Broken(str(error))
    except http.Refused as error:
        return Failed(FailureReason.UNUSABLE, "address_refused", str(error))
    except http.TooLarge:
        return Failed(FailureReason.UNUSABLE, "media_too_large", "")
    except (UnusableFile, ProcessFailed) as error:
        return _Broken(str(error))


def _moderate(report: MediaInfo, folder: Path, result: Media) -> Failed | _NotModerated | None:
    """Why the result must not be delivered. None if moderation allows it, or is off."""
    try:
        flag = screening.check_result((folder / name).read_bytes() for name in report.frames)
    except ModeratorUnavailable as problem:
        return _NotModerated(str(problem))
    if flag is None:
        return None
    found = ", ".join(flag.categories)
    return Failed(FailureReason.RESULT_FLAGGED, "content_rejected", found, result.cost_usd)


def _save_files(
    attempt: FileDeletion, folder: Path, report: MediaInfo, result: Media
) -> _Stored | _ToConvert:
    path = folder / DOWNLOAD_NAME
    change = playability.required_change(report)
    if change == RequiredChange.CONVERT:
        name = attempts.save_file(attempt, f"original.{EXTENSIONS[report.container]}", path)
        return _ToConvert(name, result.cost_usd)
    if change == RequiredChange.RETAG:
        mp4_boxes.retag(path)
    name = report.image
    if not name:
        path = path.rename(folder / "video.mp4")
        name = path.name
        if report.supplier_mark == SupplierMark.NONE:
            ai_mark.append_mark(path)
    is_suppliers = report.supplier_mark == SupplierMark.CREDENTIALS
    signing.sign_files(folder, [report.thumbnail, *([] if is_suppliers else [name])], original=path)
    media = StoredMedia(
        attempts.save_file(attempt, name, folder / name),
        attempts.save_file(attempt, "thumbnail.jpg", folder / report.thumbnail),
    )
    return _Stored(media, result.cost_usd)


def _apply(item: Item, outcome: object, now: datetime) -> None:
    job, _, attempt = item
    is_kept = False
    if isinstance(outcome, _Stored):
        is_kept = settle.complete(
            job, outcome.media, now=now, cost_usd=outcome.cost_usd, attempt=attempt
        )
    elif isinstance(outcome, _ToConvert):
        is_kept = settle.convert_next(
            job, outcome.original_name, attempt, now=now, cost_usd=outcome.cost_usd
        )
    else:
        _retry_or_fail(job, outcome, now=now)
    if not is_kept:
        wrote = isinstance(outcome, _Stored | _ToConvert | _NotStored)
        attempts.discard(attempt, has_written=wrote)


def _retry_or_fail(job: Job, outcome: object, *, now: datetime) -> None:
    overdue = job.deadline_at is None or now >= job.deadline_at
    match outcome:
        case Failed(reason, error_type, detail, cost_usd, raw):
            _fail(job, reason, error_type, detail, raw, now=now, cost_usd=cost_usd)
        case _Broken(detail, raw) if overdue or job.tries + 1 >= MAX_BROKEN_TRIES:
            _fail(job, FailureReason.UNUSABLE, "media_unusable", detail, raw, now=now)
        case _NotStored(detail, raw) if overdue:
            _fail(job, FailureReason.STORAGE_ERROR, "not_stored", detail, raw, now=now)
        case _NotModerated(detail, raw) if overdue:
            _fail(job, FailureReason.RESULT_NOT_MODERATED, "not_judged", detail, raw, now=now)
        case Unknown(detail, raw) if overdue:
            _fail(job, FailureReason.TIMEOUT, "", detail, raw, now=now)
        case Running() if overdue:
            failover.try_next_or_fail(
                job, FailureReason.TIMEOUT, now=now, detail="finished, but no result"
            )
        case _NotModerated():
            transitions.update_if_claimed(
                job, due_at=min(now + MODERATION_RETRY_DELAY, job.deadline_at or now)
            )
        case _Broken():
            transitions.update_if_claimed(
                job, due_at=now + retry_delay(job.tries), tries=job.tries + 1
            )
        case Unknown() | Running() if not job.is_terminal:
            _wait_for_missing_result(job, now=now)
        case _:
            transitions.update_if_claimed(job, due_at=now + _delay_by_elapsed_time(job, now=now))


def _wait_for_missing_result(job: Job, *, now: datetime) -> None:
    """The provider cannot give the finished result. Try again, and refund when patience ends."""
    # Recorded before the cancellation is read: services.cancel_job does both in the other order.
    failed_at = missing_results.record(job, now=now)
    refund_at = failed_at + timedelta(seconds=settings.JOB_STORE_PATIENCE_SECONDS)
    due_at = now + _delay_by_elapsed_time(job, now=now)
    if settle.is_cancel_requested(Job.objects.get(id=job.id)):
        settle.cancel_missing_result(job.id, user_id=job.user_id, now=now)
    elif now >= refund_at:
        settle.refund_missing_result(job, now=now, due_at=due_at)
    else:
        transitions.update_if_claimed(job, due_at=min(due_at, refund_at))


def _fail(
    job: Job,
    reason: FailureReason,
    error_type: str,
    detail: str,
    raw: str,
    *,
    now: datetime,
    cost_usd: Decimal | None = None,
) -> None:
    failover.try_next_or_fail(
        job, reason, now=now, error_type=error_type, detail=detail, cost_usd=cost_usd, raw=raw
    )


def _delay_by_elapsed_time(job: Job, *, now: datetime) -> timedelta:
    """Half the time since the stage began, within the limits of the poll interval."""
    deadline = job.deadline_at or now
    waited = now - (deadline - timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS))
    longest = timedelta(seconds=settings.POLL_LONGEST_SECONDS)
    return min(max(waited / 2, timedelta(seconds=settings.POLL_FIRST_SECONDS)), longest)
