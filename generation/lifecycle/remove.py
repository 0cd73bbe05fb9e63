"""Removing pictures that nobody needs any longer, and files that are due to go.

At least once. What names a file gives way to the row of its removal in one transaction, and that
one goes after the file: a crash at any line leaves no file that nothing names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction

from generation.due_work import DELETE_FILES
from generation.models import FileDeletion, Job, Upload
from generation.uploads import retention
from rendio.common import due
from rendio.common.due_work import due_batch

logger = structlog.get_logger(__name__)

BATCH = DELETE_FILES.batch


@due_batch(DELETE_FILES)
def delete_due_files(*, now: datetime) -> int:
    """Remove what is due, up to BATCH; returns how many pictures or files were looked at."""
    looked_at = _release_unused_uploads(now=now)
    rows = due.claim_due(FileDeletion.objects.all(), now=now, limit=BATCH)
    due.for_each_logged(rows, _delete_one)
    return max(looked_at, len(rows))


def _release_unused_uploads(*, now: datetime) -> int:
    """Under the lock of each picture, so that no order takes it meanwhile (retention)."""
    with transaction.atomic(durable=True):
        uploads = list(
            Upload.objects.filter(remove_at__lte=now)
            .order_by("remove_at")
            .select_for_update(skip_locked=True)[:BATCH]
        )
        needed = set(
            Job.objects.filter(upload__in=uploads).values_list("upload_id", flat=True).distinct()
        )
        # Until the last of these jobs is deleted (retention).
        Upload.objects.filter(id__in=needed).update(remove_at=None)
        retention.delete_uploads([upload for upload in uploads if upload.id not in needed], now=now)
    return len(uploads)


def schedule_deletion(names: Iterable[str], *, now: datetime) -> list[FileDeletion]:
    """These files are due to go, and folders, whose names end in "/"; empty names are none. Joins
    the caller's transaction, which lets go of them, and which is followed by `delete_now`."""
    return FileDeletion.objects.bulk_create(
        [FileDeletion(name=name, due_at=now) for name in names if name]
    )


def delete_now(rows: Iterable[FileDeletion]) -> None:
    """Remove what was noted, at once; what fails is left to `delete_due_files`. Asks storage, so it
    must not run inside a transaction."""
    due.for_each_logged(rows, _delete_one)


def _delete_one(row: FileDeletion) -> None:
    if row.name.endswith("/"):
        delete_folder(row.name)
    else:
        default_storage.delete(row.name)
    row.delete()


def job_folder(job_id: UUID) -> str:
    """Where all files of a job lie."""
    return f"jobs/{job_id}/"


def delete_folder(folder: str) -> None:
    """All that lies there, and what was not sent to its end. `folder` ends in "/"."""
    try:
        folders, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for inner in folders:
        delete_folder(f"{folder}{inner}/")
    for name in names:
        default_storage.delete(f"{folder}{name}")
    if settings.MEDIA_BUCKET:
        _abort_uploads(folder)
    else:
        default_storage.delete(folder.removesuffix("/"))  # the folder itself; a bucket has none


def _abort_uploads(folder: str) -> None:
    """A large file goes to a bucket in parts. Those of a worker that died are in no list of files,
    and are paid for."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    client = default_storage.connection.meta.client  # type: ignore[attr-defined]
    bucket = settings.MEDIA_BUCKET
    try:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=folder
        )
        for upload in (one for page in pages for one in page.get("Uploads", [])):
            client.abort_multipart_upload(
                Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
    except ClientError as error:
        # The files are gone. Whoever runs this may not have let us do more.
        code = error.response.get("Error", {}).get("Code", "")
        logger.warning("uploads_not_aborted", folder=folder, error=code)
