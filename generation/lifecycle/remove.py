"""Deletion of files, and of uploads that no job needs any longer.

At least once. One transaction replaces the row that names a file by a FileDeletion. That row is
deleted after the file. So a crash at any line leaves no file without a row.
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
    """Delete due files and unneeded uploads, up to BATCH each. Returns the larger number."""
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
    """Schedule the deletion of files, and of folders, whose names end in "/". Skips empty names.

    Joins the caller's transaction. The caller then calls `delete_now` outside the transaction.
    """
    return FileDeletion.objects.bulk_create(
        [FileDeletion(name=name, due_at=now) for name in names if name]
    )


def delete_now(rows: Iterable[FileDeletion]) -> None:
    """Delete scheduled files now. `delete_due_files` retries failures.

    Calls storage, so it must not run inside a transaction.
    """
    due.for_each_logged(rows, _delete_one)


def _delete_one(row: FileDeletion) -> None:
    if row.name.endswith("/"):
        delete_folder(row.name)
    else:
        default_storage.delete(row.name)
    row.delete()


def job_folder(job_id: UUID) -> str:
    """The folder of all files of a job."""
    return f"jobs/{job_id}/"


def delete_folder(folder: str) -> None:
    """Delete all files of a folder, and incomplete multipart uploads. `folder` ends in "/"."""
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
    """Abort multipart uploads of workers that died. Listings omit them, but they cost storage."""
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
        # The files are deleted. The operator's key may not allow more.
        code = error.response.get("Error", {}).get("Code", "")
        logger.warning("uploads_not_aborted", folder=folder, error=code)
