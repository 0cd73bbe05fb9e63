"""Ownership, use and deletion of uploads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from generation import media
from generation.due_work import DELETE_FILES
from generation.models import FileDeletion, Upload
from rendio.common import db
from rendio.common.errors import InvalidInput, NotFound


def require_usable(*, user_id: UUID, upload_id: UUID, now: datetime) -> None:
    """Raises NotFound for an unknown upload or another user's; InvalidInput for an expired one."""
    _require_usable(Upload.objects.owned_by(user_id).filter(id=upload_id).first(), now=now)


_locked_upload = db.CompiledQuery(
    lambda user_id, upload_id: (
        Upload.objects.owned_by(user_id).select_for_update().filter(id=upload_id)
    )
)


def lock_for_job(*, user_id: UUID, upload_id: UUID, now: datetime | None) -> db.Statement[None]:
    """The statement that locks an upload for a new job, so that it stays until the transaction has
    inserted the job. Raises like `require_usable`.

    Without `now`, an expired upload is accepted, because another job of the user keeps it.
    """
    return _locked_upload.statement(
        user_id, upload_id, read=lambda upload: _require_usable(upload, now=now)
    )


def _require_usable(upload: Upload | None, *, now: datetime | None) -> None:
    if upload is None:
        raise NotFound
    if now is not None and upload.expires_at <= now:
        raise InvalidInput(fields={"upload_id": [_("This image has expired.")]})


def release(*, upload_id: UUID, now: datetime) -> None:
    """Schedule the deletion check of an upload after one of its jobs was deleted. Joins the
    caller's transaction."""
    Upload.objects.filter(id=upload_id).update(remove_at=Greatest(F("expires_at"), now))
    DELETE_FILES.wake_workers()


def delete_uploads(uploads: Iterable[Upload], *, now: datetime) -> None:
    """Delete uploads: the rows at once, the files after the caller's transaction has committed. No
    job may refer to them."""
    deleted = list(uploads)
    FileDeletion.objects.bulk_create(
        [FileDeletion(name=upload.name, due_at=now) for upload in deleted], batch_size=1000
    )
    Upload.objects.filter(id__in=[upload.id for upload in deleted]).delete()
    DELETE_FILES.wake_workers()


def signed_url(upload_id: UUID, *, seconds: int) -> str:
    """Return a URL that is valid for `seconds`. Signed locally, without a call to the storage."""
    return media.signed_url(Upload.name_of(upload_id), seconds=seconds) or ""
