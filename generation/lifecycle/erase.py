"""Deletion of a deleted account's files, and of provider texts about its jobs.

At least once. The row is written in the transaction that deletes the account, so a crash delays the
deletion and loses no row. A job that still runs ends by itself and stores no media
(settle.complete), but its worker may still write files. So the folder is emptied until the job has
ended, and once more when no download can run any longer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from generation.due_work import CONVERT_LEASE, DELETE_ACCOUNT_MEDIA, STORE_LEASE
from generation.lifecycle import remove
from generation.lifecycle.claims import LEASE
from generation.models import AccountMediaDeletion, Job, ProviderRequest, Stage, WebhookDelivery
from rendio.common.due import for_each_logged, lease_due
from rendio.common.due_work import due_batch

# While a job still runs.
RETRY_DELAY = timedelta(seconds=60)
FINAL_CHECK_DELAY = max(STORE_LEASE, CONVERT_LEASE) * 2


@due_batch(DELETE_ACCOUNT_MEDIA)
def delete_account_media_due(*, now: datetime) -> int:
    """Delete the files of due jobs, up to a batch. Returns how many."""
    rows = lease_due(
        AccountMediaDeletion.objects.all(), now=now, limit=DELETE_ACCOUNT_MEDIA.batch, lease=LEASE
    )
    for_each_logged(rows, lambda row: _delete_job_media(row, now=now))
    return len(rows)


def _delete_job_media(row: AccountMediaDeletion, *, now: datetime) -> None:
    # The stage before the files: the next run finds files that are written after this query.
    stage = Job.objects.values_list("stage", flat=True).get(id=row.job_id)
    remove.delete_folder(remove.job_folder(row.job_id))
    if stage != Stage.DONE:
        AccountMediaDeletion.objects.filter(id=row.id).update(due_at=now + RETRY_DELAY)
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
