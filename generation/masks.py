"""Masks for providers that read them in another way than ours, which are white where the image may
change.

A route's parameter `mask_url` says what the provider changes: {"changes": "black"} or
{"changes": "transparent"}. The converted mask is a file of one submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import BinaryIO
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from PIL import Image, ImageChops

from generation import cleanup, media, submission_files
from generation.images import open_image
from generation.models import Job, Upload
from generation.submission_files import SubmissionFile

WHITE, BLACK, TRANSPARENT = "white", "black", "transparent"


@dataclass(frozen=True)
class ConvertedMask(SubmissionFile):
    """The mask `source` in storage, with `changes` where the image may change: BLACK or
    TRANSPARENT."""

    source: str
    changes: str

    def write(self, into: BinaryIO) -> None:
        with default_storage.open(self.source) as file:
            content = BytesIO(file.read())
        with open_image(content, formats=("PNG",), max_pixels=settings.MAX_UPLOAD_PIXELS) as mask:
            kept = ImageChops.invert(mask.convert("L"))
        if self.changes == TRANSPARENT:
            kept = Image.merge("LA", (kept, kept))
        kept.save(into, "PNG")


def convert(
    job: Job, mask_id: UUID, request_id: UUID, *, changes: str, now: datetime
) -> tuple[str, ConvertedMask]:
    """The signed URL of the job's mask for one submission, and the file to write before it."""
    mask = ConvertedMask(
        name=f"{cleanup.job_folder(job.id)}{request_id}.png",
        delete_at=submission_files.deletion_time(job.model_id, now=now),
        source=Upload.name_of(mask_id, is_mask=True),
        changes=changes,
    )
    seconds = submission_files.needed_seconds(job.model_id)
    return media.signed_url(mask.name, seconds=seconds) or "", mask
