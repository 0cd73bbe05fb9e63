"""Direct uploads to the bucket: a presigned form first, the check afterwards.

An unchecked object is not shown and not given to a provider. Its deletion is scheduled before the
form is returned, for a time well after the form's expiry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.storage import default_storage

from generation.due_work import DELETE_FILES
from generation.errors import StorageUnavailable
from generation.models import FileDeletion, Upload
from generation.uploads import ingest, quota
from rendio.common.errors import InvalidState, NotFound
from rendio.common.ids import uuid7

logger = structlog.get_logger(__name__)

FORM_LIFETIME = timedelta(minutes=10)
UNCHECKED_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True)
class UploadForm:
    """The form that the app posts to `url`, with the image as the last field, `file`."""

    direct_id: UUID
    url: str
    fields: dict[str, str]
    expires_at: datetime


def create_form(*, user_id: UUID, now: datetime) -> UploadForm:
    """Create a presigned form for one image.

    Raises InvalidState if no bucket is configured, and what `quota.require_space` raises.
    """
    if not settings.MEDIA_BUCKET:
        raise InvalidState
    quota.require_space(user_id=user_id, size_bytes=0, now=now)
    direct_id = uuid7()
    name = _object_name(user_id, direct_id)
    FileDeletion.objects.create(name=name, due_at=now + UNCHECKED_LIFETIME)
    # S3Storage's client. Django's base class has no such attribute.
    client: Any = default_storage.connection.meta.client  # type: ignore[attr-defined]
    signed = client.generate_presigned_post(
        settings.MEDIA_BUCKET,
        name,
        Conditions=[["content-length-range", 1, settings.MAX_UPLOAD_BYTES]],
        ExpiresIn=int(FORM_LIFETIME.total_seconds()),
    )
    return UploadForm(direct_id, signed["url"], signed["fields"], now + FORM_LIFETIME)


def complete_upload(*, user_id: UUID, direct_id: UUID, now: datetime) -> Upload:
    """Check the uploaded object and ingest it.

    Raises as `ingest.ingest_bytes`, and NotFound if nothing was uploaded or the form belongs to
    another user.
    """
    name = _object_name(user_id, direct_id)
    upload = ingest.ingest_bytes(user_id=user_id, content=_read_object(name), now=now)
    # In addition to the deletion scheduled by `create_form`: the form may be posted again until it
    # expires.
    FileDeletion.objects.create(name=name, due_at=now)
    DELETE_FILES.wake_workers()
    return upload


def _object_name(user_id: UUID, direct_id: UUID) -> str:
    """Contains the user id, so that no other user can complete the upload."""
    return f"{quota.INCOMING_PREFIX}{user_id}/{direct_id}"


def _read_object(name: str) -> bytes:
    """Read the object, up to MAX_UPLOAD_BYTES even if the bucket accepted more."""
    try:
        if default_storage.size(name) <= settings.MAX_UPLOAD_BYTES:
            with default_storage.open(name) as file:
                return bytes(file.read())
    except FileNotFoundError:
        raise NotFound from None
    except Exception as error:
        logger.exception("storage_error")
        raise StorageUnavailable from error
    raise RequestDataTooBig
