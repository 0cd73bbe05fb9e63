"""What a trainer gets: the inputs of its route, and the zip file with the images.

The file is written just before the submission, because captions depend on the route. Its scheduled
deletion is committed before the file is written, for a time at which no provider needs it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from generation import cleanup, media
from generation.catalogue import cache
from generation.catalogue.specs import RouteSpec
from generation.models import FileDeletion, Job, TrainedModel, TrainingKind
from generation.training.zip_file import write_zip

logger = structlog.get_logger(__name__)

# What each image shows, for trainers that do not describe images by themselves.
CAPTIONS = {
    TrainingKind.PERSON: "a photo of {} person",
    TrainingKind.STYLE: "an image in the style of {}",
    TrainingKind.OBJECT: "a photo of {}",
}
# A submission has JOB_SUBMIT_DEADLINE_SECONDS. After that, another route may have the job.
MAX_WRITE_SECONDS = 45


@dataclass(frozen=True)
class NotPrepared:
    """The file could not be written, and nothing was sent. `is_final`: nor will it be."""

    error_type: str
    detail: str
    is_final: bool = False


@dataclass(frozen=True)
class TrainingArchive:
    """The zip file of one submission. Names in storage."""

    name: str
    images: tuple[str, ...]
    caption: str
    delete_at: datetime


def destination(job_id: UUID) -> str:
    """The name of the provider's copy, for providers that keep one under a name that we choose."""
    return f"training-{job_id}"


def prepare(
    job: Job, route: RouteSpec, request_id: UUID, *, now: datetime
) -> tuple[dict[str, Any], TrainingArchive]:
    """The inputs of the route for a training, and the file to write before the submission. Queries;
    calls nothing."""
    trained = TrainedModel.objects.select_related("training_set").get(job_id=job.id)
    kind = TrainingKind(trained.kind)
    images = trained.training_set.usable_pictures(kind) if trained.training_set else []
    seconds = settings.JOB_START_DEADLINE_SECONDS + cache.run_deadline_seconds(job.model_id)
    caption = CAPTIONS[kind].format(trained.trigger_word)
    archive = TrainingArchive(
        name=f"{cleanup.job_folder(job.id)}{request_id}.zip",
        images=tuple(image.name for image in images),
        caption=caption if route.training.get("captions") else "",
        delete_at=now + timedelta(seconds=seconds + settings.JOB_SUBMIT_DEADLINE_SECONDS),
    )
    inputs = {
        **job.settings,
        "images_zip_url": media.signed_url(archive.name, seconds=seconds),
        "trigger_word": trained.trigger_word,
        "default_caption": caption,
        "destination": destination(job.id),
    }
    return inputs, archive


def schedule_deletions(archives: list[TrainingArchive]) -> None:
    """Before the files are written. Joins the caller's transaction."""
    FileDeletion.objects.bulk_create(
        [FileDeletion(name=archive.name, due_at=archive.delete_at) for archive in archives]
    )


def store_archive(archive: TrainingArchive) -> NotPrepared | None:
    """Write the zip file. None if it is there. Calls storage, no database."""
    if not archive.images:
        return NotPrepared("images_missing", "the images are deleted", is_final=True)
    began = time.monotonic()
    try:
        with tempfile.TemporaryFile() as file:
            write_zip(file, archive.images, caption=archive.caption)
            file.seek(0)
            default_storage.save(archive.name, File(file))
    except FileNotFoundError:
        return NotPrepared("images_missing", "an image is deleted", is_final=True)
    except Exception as error:
        logger.warning("storage_error", file=archive.name, error=type(error).__name__)
        return NotPrepared("not_stored", type(error).__name__)
    if time.monotonic() - began > MAX_WRITE_SECONDS:
        return NotPrepared("not_stored", "the storage is too slow")
    return None
