"""Whose a picture is, who may start from it, and what lets it go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from generation import media
from generation.models import FileDeletion, Upload
from rendio.common import wakeup
from rendio.common.errors import InvalidInput, NotFound
from rendio.common.times import iso


def require_usable(*, user_id: UUID, upload_id: UUID, now: datetime) -> None:
    """Raises NotFound, for a stranger's too, and InvalidInput for one that has expired."""
    _require_usable(Upload.objects.owned_by(user_id), upload_id, now=now)


def lock_for_job(*, user_id: UUID, upload_id: UUID, now: datetime | None) -> None:
    """See that a job can be given this picture, and that it stays until the caller's transaction
    has done so. Joins that transaction; raises as `require_usable` does.

    Without `now`, one that has expired will do: another job of the user keeps it.
    """
    _require_usable(Upload.objects.owned_by(user_id).select_for_update(), upload_id, now=now)


def _require_usable(owned: QuerySet[Upload], upload_id: UUID, *, now: datetime | None) -> None:
    upload = owned.filter(id=upload_id).first()
    if upload is None:
        raise NotFound
    if now is not None and upload.expires_at <= now:
        raise InvalidInput(fields={"upload_id": [_("This picture has expired.")]})


def release(*, upload_id: UUID, now: datetime) -> None:
    """A job of it is no longer there: see whether anything else needs it. Joins the caller's
    transaction."""
    Upload.objects.filter(id=upload_id).update(remove_at=Greatest(F("expires_at"), now))
    wakeup.enqueue_on_commit("generation.remove_due", queue="high")


def delete_uploads(uploads: Iterable[Upload], *, now: datetime) -> None:
    """The rows at once, the files as soon as the caller's transaction has committed. No job may
    name them any longer."""
    deleted = list(uploads)
    FileDeletion.objects.bulk_create(
        [FileDeletion(name=upload.name, due_at=now) for upload in deleted], batch_size=1000
    )
    Upload.objects.filter(id__in=[upload.id for upload in deleted]).delete()
    wakeup.enqueue_on_commit("generation.remove_due", queue="high")


def signed_url(upload_id: UUID, *, seconds: int) -> str:
    """Where whoever has this address may fetch the picture, for so long. Signed here: the storage
    is not asked."""
    return media.signed_url(Upload.name_of(upload_id), seconds=seconds) or ""


def as_json(upload: Upload) -> dict[str, Any]:
    """In the words of the API."""
    return {
        "upload_id": upload.id,
        "image_url": media.signed_url(upload.name),
        "width": upload.width,
        "height": upload.height,
        "expires_at": iso(upload.expires_at),
    }
