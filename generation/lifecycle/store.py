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

from generation.catalogue.kinds import num_outputs
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
from generation.lifecycle.settle import StoredImage, StoredMedia
from generation.lifecycle.submissions import open_submissions
from generation.models import FileDeletion, Job, Stage
from generation.moderation import screening
from generation.moderation.base import ModeratorUnavailable
from generation.providers import get_provider
from generation.providers.base import (
    Failed,
    FailureReason,
    Handle,
    Media,
    Provider,
    Running,
    Unknown,
)
from generation.providers.parsing import parse_json_object
from generation.training import weights
from generation.training.weights import StoredWeights
from generation.video_files import ai_mark, mp4_boxes, playability, process
from generation.video_files.media_info import MediaInfo, SourceType, SupplierMark, UnusableFile
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
    # An image that is missing or unusable now is delivered without.
    is_last_try: bool


@dataclass(frozen=True)
class _Stored:
    media: StoredMedia | StoredWeights
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
    return [
        Item(job, handles.get(job.id), begun[job.id], _is_last_try(job, now=now)) for job in jobs
    ]


def _is_last_try(job: Job, *, now: datetime) -> bool:
    return _is_overdue(job, now=now) or job.tries + 1 >= MAX_BROKEN_TRIES


def _is_overdue(job: Job, *, now: datetime) -> bool:
    return job.deadline_at is None or now >= job.deadline_at


def _fetch_and_store(
    item: Item,
) -> _Stored | _ToConvert | Failed | Running | Unknown | _Broken | _NotModerated | _NotStored:
    job, submission, attempt, _ = item
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
    if job.is_training:
        return _fetch_weights(item, provider, handle, result)
    with attempts.scratch_folder() as scratch:
        files: list[tuple[Path, MediaInfo]] = []
        problems: list[Failed | Unknown | _Broken | _NotModerated] = []
        for number, url in enumerate(_ordered_urls(job, result)):
            folder = scratch / str(number)
            folder.mkdir()
            fetched = _download_media(
                url,
                result,
                folder,
                allowed_hosts=provider.media_hosts,
                source_type=job.source_type,
            )
            if isinstance(fetched, MediaInfo):
                files.append((folder, fetched))
            else:
                problems.append(replace(fetched, raw=result.raw))
        # The others are delivered without an image that will not come any more.
        if passing := [problem for problem in problems if not _is_final(problem, item)]:
            return passing[0]
        if not files:
            return problems[0]
        try:
            return _save_files(attempt, files, result)
        except UnusableFile as error:
            return _Broken(str(error), result.raw)
        except Exception as error:
            logger.warning("storage_error", job_id=str(job.id), error=type(error).__name__)
            return _NotStored(type(error).__name__, result.raw)


def _fetch_weights(
    item: Item, provider: Provider, handle: Handle, result: Media
) -> _Stored | Failed | Unknown | _Broken | _NotStored:
    """Download, check and store the weights of a training. No phone ever gets the file, so it is
    neither converted nor moderated nor marked; the images made with it are."""
    with attempts.scratch_folder() as scratch:
        path = scratch / DOWNLOAD_NAME
        problem = _download(
            result.url,
            path,
            allowed_hosts=provider.media_hosts,
            max_bytes=settings.MAX_WEIGHTS_BYTES,
            headers=provider.weights_headers(handle),
        )
        if problem:
            return replace(problem, raw=result.raw)
        try:
            path = weights.unpack(path, scratch, max_bytes=settings.MAX_WEIGHTS_BYTES)
            size = weights.check(path)
            name = attempts.save_file(item.attempt, weights.FILE_NAME, path)
        except UnusableFile as error:
            return _Broken(str(error), result.raw)
        except Exception as error:
            logger.warning("storage_error", job_id=str(item.job.id), error=type(error).__name__)
            return _NotStored(type(error).__name__, result.raw)
    stored = StoredWeights(name, size, provider.name, handle.request_id, result.provider_model)
    return _Stored(stored, result.cost_usd)


def _ordered_urls(job: Job, result: Media) -> list[str]:
    """The URLs of the result, at most as many as were ordered."""
    return [result.url, *result.more_urls][: num_outputs(job.settings)]


def _is_final(problem: Failed | Unknown | _Broken | _NotModerated, item: Item) -> bool:
    """Whether one of several images will not come any more."""
    return isinstance(problem, Failed) or item.is_last_try


def _download_media(
    url: str,
    result: Media,
    folder: Path,
    *,
    allowed_hosts: list[str],
    source_type: SourceType,
) -> MediaInfo | Failed | Unknown | _Broken | _NotModerated:
    """Download the file to `folder` as DOWNLOAD_NAME, probe and moderate it."""
    path = folder / DOWNLOAD_NAME
    problem = _download(
        url, path, allowed_hosts=allowed_hosts, max_bytes=settings.MAX_VIDEO_BYTES, headers={}
    )
    if problem:
        return problem
    count = settings.MODERATION_OUTPUT_FRAMES if screening.is_enabled() else 0
    try:
        report = process.probe(
            path, folder, kind=result.kind, frame_count=count, source_type=source_type
        )
    except (UnusableFile, ProcessFailed) as error:
        return _Broken(str(error))
    return _moderate(report, folder, result) or report


def _download(
    url: str,
    path: Path,
    *,
    allowed_hosts: list[str],
    max_bytes: int,
    headers: dict[str, str],
) -> Failed | Unknown | _Broken | None:
    """Why the file could not be downloaded to `path`. None if it was."""
    try:
        with path.open("wb") as into:
            answer = http.download(
                url,
                into,
                allowed_hosts=allowed_hosts,
                max_bytes=max_bytes,
                headers=headers,
                timeout_seconds=DOWNLOAD_SECONDS,
            )
    except http.NotSent as error:
        return Unknown(str(error))
    except http.NoAnswer as error:
        return _Broken(str(error))
    except http.Refused as error:
        return Failed(FailureReason.UNUSABLE, "address_refused", str(error))
    except http.TooLarge:
        return Failed(FailureReason.UNUSABLE, "media_too_large", "")
    if answer.status >= 500 or answer.status in {408, 429}:
        # The host failed. That says nothing about the file.
        return Unknown(f"status {answer.status} of the file")
    return None if answer.status == 200 else _Broken(f"status {answer.status}")


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
    attempt: FileDeletion, files: list[tuple[Path, MediaInfo]], result: Media
) -> _Stored | _ToConvert:
    if result.kind == "image":
        images = [_save_image(attempt, number, *file) for number, file in enumerate(files, start=1)]
        return _Stored(StoredMedia.of_images(images), result.cost_usd)
    [(folder, report)] = files
    path = folder / DOWNLOAD_NAME
    change = playability.required_change(report)
    if change == RequiredChange.CONVERT:
        name = attempts.save_file(attempt, f"original.{EXTENSIONS[report.container]}", path)
        return _ToConvert(name, result.cost_usd)
    if change == RequiredChange.RETAG:
        mp4_boxes.retag(path)
    path = path.rename(folder / "video.mp4")
    if report.supplier_mark == SupplierMark.NONE:
        ai_mark.append_mark(path)
    _sign(folder, report, path.name, original=path)
    media = StoredMedia(
        attempts.save_file(attempt, path.name, path),
        attempts.save_file(attempt, "thumbnail.jpg", folder / report.thumbnail),
    )
    return _Stored(media, result.cost_usd)


def _save_image(attempt: FileDeletion, number: int, folder: Path, report: MediaInfo) -> StoredImage:
    _sign(folder, report, report.image, original=folder / DOWNLOAD_NAME)
    name = f"image-{number}{Path(report.image).suffix}"
    return StoredImage(
        attempts.save_file(attempt, name, folder / report.image),
        attempts.save_file(attempt, f"thumbnail-{number}.jpg", folder / report.thumbnail),
        report.width,
        report.height,
    )


def _sign(folder: Path, report: MediaInfo, name: str, *, original: Path) -> None:
    """Sign the thumbnail, and the file unless its supplier has signed it."""
    is_suppliers = report.supplier_mark == SupplierMark.CREDENTIALS
    signing.sign_files(
        folder,
        [report.thumbnail, *([] if is_suppliers else [name])],
        original=original,
        source_type=report.source_type,
    )


def _apply(item: Item, outcome: object, now: datetime) -> None:
    job, attempt = item.job, item.attempt
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
    overdue = _is_overdue(job, now=now)
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
    current = Job.objects.get(id=job.id)
    if settle.is_cancel_requested(current, settle.unended_submissions(current)):
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
