"""Files that a provider needs and that are written for one submission, just before it is sent.

The scheduled deletion of a file is committed before the file is written, for a time at which no
provider needs it.
"""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from generation.catalogue import cache
from generation.models import FileDeletion

logger = structlog.get_logger(__name__)

# A submission has JOB_SUBMIT_DEADLINE_SECONDS. After that, another route may have the job.
MAX_WRITE_SECONDS = 45


@dataclass(frozen=True)
class NotPrepared:
    """The file could not be written, and nothing was sent. `is_final`: nor will it be."""

    error_type: str
    detail: str
    is_final: bool = False


@dataclass(frozen=True)
class SubmissionFile(ABC):
    """`name` is the one in storage."""

    name: str
    delete_at: datetime

    @abstractmethod
    def write(self, into: BinaryIO) -> None:
        """Calls storage, no database. Raises FileNotFoundError for a source that is deleted, and
        the errors of the storage."""


def needed_seconds(model_id: UUID) -> int:
    """For how long from now a provider may fetch files: it does so when it starts the job, at the
    latest at the run deadline."""
    return settings.JOB_START_DEADLINE_SECONDS + cache.run_deadline_seconds(model_id)


def deletion_time(model_id: UUID, *, now: datetime) -> datetime:
    """For a file of a submission that is claimed now."""
    return now + timedelta(seconds=needed_seconds(model_id) + settings.JOB_SUBMIT_DEADLINE_SECONDS)


def schedule_deletions(files: Iterable[SubmissionFile]) -> None:
    """Before the files are written. Joins the caller's transaction."""
    FileDeletion.objects.bulk_create(
        [FileDeletion(name=file.name, due_at=file.delete_at) for file in files]
    )


def store(submission_file: SubmissionFile) -> NotPrepared | None:
    """Write the file into storage. None if it is there. Calls storage, no database."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryFile() as file:
            submission_file.write(file)
            file.seek(0)
            default_storage.save(submission_file.name, File(file))
    except FileNotFoundError:
        return NotPrepared("images_missing", "an image is deleted", is_final=True)
    except Exception as error:
        logger.warning("storage_error", file=submission_file.name, error=type(error).__name__)
        return NotPrepared("not_stored", type(error).__name__)
    if time.monotonic() - began > MAX_WRITE_SECONDS:
        return NotPrepared("not_stored", "the storage is too slow")
    return None
