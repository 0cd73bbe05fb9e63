"""Ownership, use and deletion of uploads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Source:
    """A source image of an order. `field` is its name in the order; `mask_of` the image that it has
    to be a mask of."""

    field: str
    upload_id: UUID
    mask_of: UUID | None = None


def get_usable(source: Source, *, user_id: UUID, now: datetime) -> Upload:
    """Raises NotFound for an unknown upload or another user's; InvalidInput for an expired one, for
    a mask in place of an image, and for a mask of another image."""
    upload = Upload.objects.owned_by(user_id).filter(id=source.upload_id).first()
    return _require_usable(upload, source, now=now)


_locked_upload = db.CompiledQuery(
    lambda user_id, upload_id: (
        Upload.objects.owned_by(user_id).select_for_update().filter(id=upload_id)
    )
)


def lock_for_job(source: Source, *, user_id: UUID, now: datetime | None) -> db.Statement[Upload]:
    """The statement that locks an upload for a new job, so that it stays until the transaction has
    inserted the job. Raises like `get_usable`.

    Without `now`, an expired upload is accepted, because another job of the user keeps it.
    """
    return _locked_upload.statement(
        user_id, source.upload_id, read=lambda upload: _require_usable(upload, source, now=now)
    )


def _require_usable(upload: Upload | None, source: Source, *, now: datetime | None) -> Upload:
    if upload is None:
        raise NotFound
    if upload.mask_of != source.mask_of:
        problem = _("Not a mask of this image.") if source.mask_of else _("This is a mask.")
        raise InvalidInput(fields={source.field: [problem]})
    if now is not None and upload.expires_at <= now:
        raise InvalidInput(fields={source.field: [_("This image has expired.")]})
    return upload


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


def signed_url(upload_id: UUID, *, seconds: int, is_mask: bool = False) -> str:
    """Return a URL that is valid for `seconds`. Signed locally, without a call to the storage."""
    return media.signed_url(Upload.name_of(upload_id, is_mask=is_mask), seconds=seconds) or ""
