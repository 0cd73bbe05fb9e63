"""Where one attempt at keeping a result writes: a folder of its own in our storage.

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

from generation.lifecycle import remove
from generation.models import FileDeletion, Job

# Longer than an attempt can take: FILM_CONVERT_SECONDS are half an hour at most.
MAX_ATTEMPT_AGE = timedelta(hours=2)
# Of folders on this machine.
SCRATCH_PREFIX = "rendio-result-"


def start(jobs: Iterable[Job], *, now: datetime) -> dict[UUID, FileDeletion]:
    """By job, the removal of the folder that this attempt writes to."""
    rows = {job.id: FileDeletion(name=_folder(job), due_at=now + MAX_ATTEMPT_AGE) for job in jobs}
    FileDeletion.objects.bulk_create(rows.values())
    return rows


def _folder(job: Job) -> str:
    return f"{remove.job_folder(job.id)}{secrets.token_hex(4)}/"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this machine, for as long as it is used. Those that killed workers have left are
    removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > MAX_ATTEMPT_AGE.total_seconds():
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as name:
        yield Path(name)


def save_file(attempt: FileDeletion, name: str, path: Path) -> str:
    """Returns the name in storage, which is this attempt's alone."""
    with path.open("rb") as content:
        return default_storage.save(f"{attempt.name}{name}", File(content))


def keep_files(attempt: FileDeletion) -> bool:
    """Its files stay: joins the transaction that names them. False where their removal has begun,
    as the attempt took so long."""
    return bool(FileDeletion.objects.filter(id=attempt.id, due_at=attempt.due_at).delete()[0])


def discard(attempt: FileDeletion, *, has_written: bool) -> None:
    """It came to nothing. Asks storage where something may lie there."""
    if has_written:
        remove.delete_now([attempt])
    else:
        attempt.delete()
