"""Deletion of files and rows that are no longer needed.

At least once, in three kinds of background work:

- Files, and uploads that no job needs. One transaction replaces the row that names a file by a
  FileDeletion. That row is deleted after the file. So a crash at any line leaves no file without a
  row.
- Files of deleted accounts, and provider texts about their jobs. The row is written in the
  transaction that deletes the account, so a crash delays the deletion and loses no row. A job that
  still runs ends on its own and stores no media (settle.complete), but its worker may still write
  files. So the folder is emptied until the job has ended, and once more when no download can run
  any longer.
- Expired rows, in bounded batches on indexes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction

from generation.due_work import (
    CONVERT_LEASE,
    DELETE_ACCOUNT_MEDIA,
    DELETE_FILES,
    JOB_LEASE,
    STORE_LEASE,
)
from generation.models import (
    AccountMediaDeletion,
    DeadLetter,
    FileDeletion,
    Job,
    ProviderRequest,
    Quote,
    Stage,
    Upload,
    Violation,
    WebhookDelivery,
)
from generation.uploads import retention
from rendio.common.background.due_rows import claim_due, for_each_logged, lease_due
from rendio.common.background.due_work import due_batch
from rendio.common.background.purge import delete_batch, run_deletes

logger = structlog.get_logger(__name__)

BATCH = DELETE_FILES.batch
# Until a folder of a running job is emptied again.
RUNNING_JOB_DELAY = timedelta(seconds=60)
FINAL_CHECK_DELAY = max(STORE_LEASE, CONVERT_LEASE) * 2
DELIVERY_RETENTION = timedelta(days=30)
# At least MODERATION_WINDOW_DAYS, during which violations count.
VIOLATION_RETENTION = timedelta(days=365)
# Counted from the closing of the letter.
DEAD_LETTER_RETENTION = timedelta(days=365)


@due_batch(DELETE_FILES)
def delete_due_files(*, now: datetime) -> int:
    """Delete due files and unneeded uploads, up to BATCH each. Returns the larger number."""
    looked_at = _release_unused_uploads(now=now)
    rows = claim_due(FileDeletion.objects.all(), now=now, limit=BATCH)
    for_each_logged(rows, _delete_one)
    return max(looked_at, len(rows))


def _release_unused_uploads(*, now: datetime) -> int:
    """Delete due uploads that no job needs, under the lock of each upload: no order can use one
    meanwhile (uploads.retention)."""
    with transaction.atomic(durable=True):
        uploads = list(
            Upload.objects.filter(remove_at__lte=now)
            .order_by("remove_at")
            .select_for_update(skip_locked=True)[:BATCH]
        )
        needed = {
            upload_id
            for column in ("upload", "second_upload")
            for upload_id in Job.objects.filter(**{f"{column}__in": uploads})
            .values_list(f"{column}_id", flat=True)
            .distinct()
        }
        # uploads.retention sets `remove_at` again when the last of these jobs is deleted.
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
    for_each_logged(rows, _delete_one)


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


@due_batch(DELETE_ACCOUNT_MEDIA)
def delete_account_media_due(*, now: datetime) -> int:
    """Delete the files of due jobs, up to a batch. Returns how many."""
    rows = lease_due(
        AccountMediaDeletion.objects.all(),
        now=now,
        limit=DELETE_ACCOUNT_MEDIA.batch,
        lease=JOB_LEASE,
    )
    for_each_logged(rows, lambda row: _delete_job_media(row, now=now))
    return len(rows)


def _delete_job_media(row: AccountMediaDeletion, *, now: datetime) -> None:
    # The stage before the files: the next run finds files that are written after this query.
    stage = Job.objects.values_list("stage", flat=True).get(id=row.job_id)
    delete_folder(job_folder(row.job_id))
    if stage != Stage.DONE:
        AccountMediaDeletion.objects.filter(id=row.id).update(due_at=now + RUNNING_JOB_DELAY)
    elif row.ended_at is None:
        _clear_provider_texts(row.job_id)
        AccountMediaDeletion.objects.filter(id=row.id).update(
            ended_at=now, due_at=now + FINAL_CHECK_DELAY
        )
    else:
        row.delete()


def _clear_provider_texts(job_id: UUID) -> None:
    """Delete webhook bodies, error texts and result URLs that providers sent."""
    requests = ProviderRequest.objects.filter(job_id=job_id)
    tokens = list(requests.values_list("webhook_token", flat=True))
    if tokens:
        WebhookDelivery.objects.filter(webhook_token__in=tokens).delete()
    requests.update(error_detail="", raw_result="", status_url="", response_url="", cancel_url="")


def purge_expired(*, now: datetime) -> None:
    """Delete expired quotes, and old deliveries, violations and closed dead letters. May run late
    or twice."""
    deliveries = WebhookDelivery.objects.filter(processed_at__lte=now - DELIVERY_RETENTION)
    letters = DeadLetter.objects.filter(closed_at__lte=now - DEAD_LETTER_RETENTION)
    run_deletes(
        lambda: delete_batch(Quote.objects.filter(expires_at__lte=now), order="expires_at"),
        lambda: delete_batch(deliveries, order="processed_at"),
        lambda: delete_batch(
            Violation.objects.filter(at__lte=now - VIOLATION_RETENTION), order="at"
        ),
        lambda: delete_batch(letters, order="closed_at"),
    )
