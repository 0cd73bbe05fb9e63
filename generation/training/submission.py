"""What a trainer gets: the inputs of its route, and the zip file with the images.

The file is written just before the submission, because captions depend on the route.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

from generation import cleanup, media, submission_files
from generation.catalogue.specs import RouteSpec
from generation.models import Job, TrainedModel, TrainingKind
from generation.submission_files import SubmissionFile
from generation.training.zip_file import write_zip

# What each image shows, for trainers that do not describe images by themselves.
CAPTIONS = {
    TrainingKind.PERSON: "a photo of {} person",
    TrainingKind.STYLE: "an image in the style of {}",
    TrainingKind.OBJECT: "a photo of {}",
}


@dataclass(frozen=True)
class TrainingArchive(SubmissionFile):
    """The zip file with these images, by their names in storage."""

    images: tuple[str, ...]
    caption: str

    def write(self, into: BinaryIO) -> None:
        if not self.images:
            raise FileNotFoundError
        write_zip(into, self.images, caption=self.caption)


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
    caption = CAPTIONS[kind].format(trained.trigger_word)
    archive = TrainingArchive(
        name=f"{cleanup.job_folder(job.id)}{request_id}.zip",
        delete_at=submission_files.deletion_time(job.model_id, now=now),
        images=tuple(image.name for image in images),
        caption=caption if route.training.get("captions") else "",
    )
    seconds = submission_files.needed_seconds(job.model_id)
    inputs = {
        **job.settings,
        "images_zip_url": media.signed_url(archive.name, seconds=seconds),
        "trigger_word": trained.trigger_word,
        "default_caption": caption,
        "destination": destination(job.id),
    }
    return inputs, archive
