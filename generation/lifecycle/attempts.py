"""The storage folder of one attempt to store a result.

At least once. The folder's `FileDeletion` row is committed before the first file is written, and
deleted in the transaction that stores the files' names in the job. After any crash or race, each
file is therefore named by its job or by a `FileDeletion`. Temporary files on the worker's machine
lie in a folder that the next attempt there removes.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.core.files.base import File
from django.core.files.storage import default_storage

from generation import cleanup
from generation.models import FileDeletion, Job

# Longer than an attempt takes: FILM_CONVERT_SECONDS is half an hour at most.
MAX_ATTEMPT_AGE = timedelta(hours=2)
# Of temporary folders on this machine.
SCRATCH_PREFIX = "rendio-result-"


def start(jobs: Iterable[Job], *, now: datetime) -> dict[UUID, FileDeletion]:
    """Schedule the deletion of each attempt's folder. Returns the scheduled deletions by job id."""
    rows = {job.id: FileDeletion(name=_folder(job), due_at=now + MAX_ATTEMPT_AGE) for job in jobs}
    FileDeletion.objects.bulk_create(rows.values())
    return rows


def _folder(job: Job) -> str:
    return f"{cleanup.job_folder(job.id)}{secrets.token_hex(4)}/"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder on this machine. Deletes old folders that killed workers have left."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > MAX_ATTEMPT_AGE.total_seconds():
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as name:
        yield Path(name)


def save_file(attempt: FileDeletion, name: str, path: Path) -> str:
    """Upload a file to the attempt's folder. Returns its name in storage."""
    with path.open("rb") as content:
        return default_storage.save(f"{attempt.name}{name}", File(content))


def keep_files(attempt: FileDeletion) -> bool:
    """Cancel the deletion of the attempt's files. Joins the transaction that stores their names.

    False if the deletion has begun because the attempt took too long.
    """
    return bool(FileDeletion.objects.filter(id=attempt.id, due_at=attempt.due_at).delete()[0])


def discard(attempt: FileDeletion, *, has_written: bool) -> None:
    """End a failed attempt. Calls storage only if the attempt may have written files."""
    if has_written:
        cleanup.delete_now([attempt])
    else:
        attempt.delete()
