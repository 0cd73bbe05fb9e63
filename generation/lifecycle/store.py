"""Fetching a result and keeping it: retried by itself, never by generating again.

May run twice: the names in storage are the job's, so a second run writes the same files. Results
live an hour at fal, so a job gets here as soon as its provider has finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from PIL import Image

from generation.lifecycle import failover, files, pace, settle
from generation.lifecycle.claims import claim, record, side_by_side
from generation.lifecycle.poll import Claimed, live_handles
from generation.lifecycle.settle import StoredMedia
from generation.models import Job, Stage
from generation.moderation import screening
from generation.moderation.base import OutOfReach
from generation.providers import get_provider
from generation.providers.base import Failed, Media, Reason, Running, Unknown
from generation.providers.reading import object_in
from rendio.common import http

logger = structlog.get_logger(__name__)

BATCH = 8
# Asking for the result, the download, judging and keeping it take less than this together.
LEASE = timedelta(seconds=300)
DOWNLOAD_SECONDS = 180
# A file that is missing or broken is asked for so often; all other trouble lasts until the
# deadline, and is not counted in `tries`.
BROKEN_TRIES = 4
# The file is fetched anew each time, which is much for a question.
JUDGED_AGAIN = timedelta(seconds=60)


@dataclass(frozen=True)
class _Stored:
    media: StoredMedia
    cost_usd: Decimal | None


@dataclass(frozen=True)
class _Broken:
    """The provider says it is done, but what it offers cannot be used (so far).

    `raw` here and below: what the provider said of it.
    """

    detail: str
    raw: str = ""


@dataclass(frozen=True)
class _NotJudged:
    """Moderation is out of reach, and nothing is shown unjudged."""

    detail: str
    raw: str = ""


@dataclass(frozen=True)
class _NotStored:
    """Our storage failed."""

    detail: str
    raw: str = ""


def store_due(*, queue: str, now: datetime) -> int:
    """Fetch and keep what is due in `queue`, up to BATCH side by side; returns how many."""
    jobs = claim(queue=queue, stages=[Stage.STORE], now=now, limit=BATCH, lease=LEASE)
    handles = live_handles(jobs)
    side_by_side(
        [(job, handles.get(job.id)) for job in jobs],
        _fetch_and_keep,
        _apply,
        job_of=itemgetter(0),
        now=now,
    )
    return len(jobs)


def _fetch_and_keep(
    item: Claimed,
) -> _Stored | Failed | Running | Unknown | _Broken | _NotJudged | _NotStored:
    job, submission = item
    if submission is None:
        return Failed(Reason.PROVIDER_ERROR, "", "no submission to fetch from")
    provider_name, handle = submission
    provider = get_provider(provider_name)
    result = provider.result(handle, kind=job.media_kind)
    if handle.raw_result and not isinstance(result, Media):
        # A person has it fetched again, which the provider may have forgotten meanwhile.
        kept = provider.read_result(object_in(handle.raw_result.encode()), kind=job.media_kind)
        result = kept if isinstance(kept, Media) else result
    if isinstance(result, Failed | Running | Unknown):
        return result
    with TemporaryDirectory(prefix="rendio-") as folder:
        path = Path(folder) / "media"
        fetched = _fetch(result, path, allowed_hosts=provider.media_hosts)
        if not isinstance(fetched, files.Inspected):
            return replace(fetched, raw=result.raw)
        try:
            media = _keep(job, path, fetched, kind=result.kind)
            return _Stored(media, result.cost_usd)
        except Exception as error:
            logger.warning("storage_error", job_id=str(job.id), error=type(error).__name__)
            return _NotStored(type(error).__name__, result.raw)


def _fetch(
    result: Media, path: Path, *, allowed_hosts: list[str]
) -> files.Inspected | Failed | Unknown | _Broken | _NotJudged:
    """What lies in `path` then: a file that plays, and that moderation lets through."""
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
            # The host's trouble says nothing about the file.
            return Unknown(f"status {answer.status} of the file")
        if answer.status != 200:
            return _Broken(f"status {answer.status}")
        inspected = files.inspect(path, kind=result.kind)
        return _judge(path, result) or inspected
    except http.NotSent as error:
        return Unknown(str(error))
    except http.NoAnswer as error:
        return _Broken(str(error))
    except http.Refused as error:
        return Failed(Reason.UNUSABLE, "address_refused", str(error))
    except http.TooLarge:
        return Failed(Reason.UNUSABLE, "media_too_large", "")
    except files.Unusable as error:
        return _Broken(str(error))


def _judge(path: Path, result: Media) -> Failed | _NotJudged | None:
    """What keeps it from being shown; None: nothing, or results are not judged."""
    count = settings.MODERATION_OUTPUT_FRAMES
    if not (count and screening.is_on()):
        return None
    try:
        objection = screening.judge_result(files.pictures(path, kind=result.kind, count=count))
    except OutOfReach as problem:
        return _NotJudged(str(problem))
    if objection is None:
        return None
    found = ", ".join(objection.categories)
    return Failed(Reason.OBJECTED, "content_rejected", found, result.cost_usd)


def _keep(job: Job, path: Path, inspected: files.Inspected, *, kind: str) -> StoredMedia:
    folder = f"jobs/{job.id}"
    media_name = f"{folder}/{kind}.{inspected.extension}"
    if kind == "image":
        # Whatever came, a JPEG without anyone's metadata is kept.
        with Image.open(path) as image:
            image.convert("RGB").save(path, "JPEG", quality=92)
    with path.open("rb") as content:
        _replace(media_name, File(content))
    thumbnail_name = f"{folder}/thumbnail.jpg"
    _replace(thumbnail_name, ContentFile(inspected.thumbnail))
    return StoredMedia(media_name, thumbnail_name)


def _replace(name: str, content: File[Any]) -> None:
    """Save under exactly this name; Django's storage would else find a free one beside it."""
    if default_storage.exists(name):
        default_storage.delete(name)
    default_storage.save(name, content)


def _apply(item: Claimed, outcome: object, now: datetime) -> None:
    job, _ = item
    overdue = job.deadline_at is None or now >= job.deadline_at
    match outcome:
        case _Stored(media, cost_usd):
            settle.complete(job, media, now=now, cost_usd=cost_usd)
        case Failed(reason, error_type, detail, cost_usd, raw):
            _fail(job, reason, error_type, detail, raw, now=now, cost_usd=cost_usd)
        case _Broken(detail, raw) if overdue or job.tries + 1 >= BROKEN_TRIES:
            _fail(job, Reason.UNUSABLE, "media_unusable", detail, raw, now=now)
        case _NotStored(detail, raw) if overdue:
            _fail(job, Reason.NOT_STORED, "not_stored", detail, raw, now=now)
        case _NotJudged(detail, raw) if overdue:
            _fail(job, Reason.NOT_JUDGED, "not_judged", detail, raw, now=now)
        case Unknown(detail, raw) if overdue:
            _fail(job, Reason.TIMEOUT, "", detail, raw, now=now)
        case Running() if overdue:
            failover.fail(job, Reason.TIMEOUT, now=now, detail="finished, but no result")
        case _NotJudged():
            record(job, due_at=min(now + JUDGED_AGAIN, job.deadline_at or now))
        case _Broken():
            record(job, due_at=now + pace.backoff(job.tries), tries=job.tries + 1)
        case _:
            record(job, due_at=now + _pause(job, now=now))


def _fail(
    job: Job,
    reason: Reason,
    error_type: str,
    detail: str,
    raw: str,
    *,
    now: datetime,
    cost_usd: Decimal | None = None,
) -> None:
    failover.fail(
        job, reason, now=now, error_type=error_type, detail=detail, cost_usd=cost_usd, raw=raw
    )


def _pause(job: Job, *, now: datetime) -> timedelta:
    """Half as long again as it has been waiting already, within the bounds of polling."""
    deadline = job.deadline_at or now
    waited = now - (deadline - timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS))
    longest = timedelta(seconds=settings.POLL_LONGEST_SECONDS)
    return min(max(waited / 2, timedelta(seconds=settings.POLL_FIRST_SECONDS)), longest)
